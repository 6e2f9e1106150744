"""Places inside a model's native value, where its state is: found by a route of fields and indices."""

from __future__ import annotations

from typing import Any

from hybridc_runtime.linking import jit
from hybridc_runtime.manifest import Type
from hybridc_runtime.memory import HEADER, MEMORY, allocate, copy_bytes, set_word, word
from hybridc_runtime.values import Owned


def spill(owned: Owned) -> int:
    """The value in memory of its own (no share is taken)."""
    layout = owned.codec.layouts.of(owned.type)
    address = allocate(layout.size)
    layout.struct.pack_into(MEMORY, address, *owned.leaves)
    return address


def step_to(codec: Any, t: Type, address: int, step: Any) -> tuple[Type, int]:
    layouts = codec.layouts
    if t[0] == "option":
        return step_to(codec, t[1], address + layouts.offsets(["bool", t[1]])[1], step)
    if t[0] == "buffer":
        if not word(address) or not 0 <= int(step) < word(word(address) + 8):
            raise IndexError(f"the model has no element {step} on the way to its state")
        return t[1], word(address) + HEADER + int(step) * layouts.of(t[1]).size
    if t[0] == "struct" and codec.kind(t).kind == "list" and not isinstance(step, str):
        fields = layouts.structs[t[1]]
        offsets = layouts.offsets([ft for _, ft in fields])
        at = next(o for (n, _), o in zip(fields, offsets, strict=True) if n == "data")
        return step_to(codec, ("buffer", codec.kind(t).args[0]), address + at, step)
    types = layouts.fields(t)
    index = step if isinstance(step, int) else [n for n, _ in layouts.structs[t[1]]].index(step)
    return types[index], address + layouts.offsets(types)[index]


def put(codec: Any, t: Type, address: int, route: list[Any], item: Type, leaves: tuple[Any, ...]) -> None:
    """Replace the value at the end of a route; blocks on the way that others share are copied first."""
    for step in route:
        if t[0] == "buffer" or t[0] == "struct" and codec.kind(t).kind == "list" and not isinstance(step, str):
            _own_block(codec, t, address)
        t, address = step_to(codec, t, address, step)
    codec.release_at(item, address)
    codec.layouts.of(item).struct.pack_into(MEMORY, address, *leaves)


def _own_block(codec: Any, t: Type, address: int) -> None:
    if t[0] == "struct":
        fields = codec.layouts.structs[t[1]]
        offsets = codec.layouts.offsets([ft for _, ft in fields])
        address += next(o for (n, _), o in zip(fields, offsets, strict=True) if n == "data")
        t = ("buffer", codec.kind(t).args[0])
    block = word(address)
    if not block or word(block) == 1:
        return
    layout = codec.layouts.of(t[1])
    count = word(block + 8)
    new = allocate(HEADER + layout.size * count)
    copy_bytes(new, block, HEADER + layout.size * count)
    set_word(new, 1)
    for i in range(count):
        codec.retain(t[1], layout.struct.unpack_from(MEMORY, new + HEADER + i * layout.size))
    codec.program.count_live(1)
    jit().drop(block)
    set_word(address, new)

