"""Which compiled helpers a call uses besides the entry: of a program whose code is made as it is called, they are made
with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from hybridc_runtime.layout import type_key
from hybridc_runtime.manifest import Type

if TYPE_CHECKING:
    from hybridc_runtime.codec import Codec

CROSSING = ("to_wire", "from_wire", "apply")
"""Compiled helpers of types that a value needs on its way."""


def release_name(t: Type) -> str:
    """The name of the compiled release of a type."""
    return "hyb release " + type_key(t)


def needs(codec: Codec, types: Iterable[Type]) -> list[str]:
    """The helpers that calls with arguments and results of these types use, where the program has them."""
    found: dict[str, None] = {}
    seen: set[Type] = set()
    todo = list(types)
    while todo:
        t = todo.pop()
        if isinstance(t, str) or t in seen:
            continue
        seen.add(t)
        found[release_name(t)] = None
        kind = codec.kind_or_none(t)
        if kind is not None and kind.helpers:
            crossing = [kind.helpers[name] for name in CROSSING if name in kind.helpers]
            found.update(("hyb." + name, None) for name in crossing)
            todo += [codec.wire_type(t)] if "to_wire" in kind.helpers else []
        elif t[0] in ("tuple", "struct"):
            todo += codec.layouts.fields(t)
        elif t[0] in ("option", "buffer"):
            todo.append(t[1])
        elif t[0] == "enum":
            todo += [ft for _, fields in codec.layouts.enums[t[1]] for _, ft in fields]
    return list(found)
