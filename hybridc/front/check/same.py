"""Whether two typed trees are the same to the last detail: 1, 1.0 and true are three things here, as are 0.0 and -0.0,
though Python's `==` finds them equal."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cache
from operator import attrgetter
from typing import Any

_SIMPLE = frozenset({str, int, bool, type(None)})


def same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    kind = type(a)
    if kind is not type(b):
        return False
    if kind in _SIMPLE:
        return bool(a == b)
    if kind is float:
        return repr(a) == repr(b)
    if kind is tuple or kind is list:
        return len(a) == len(b) and all(map(same, a, b))
    if kind is dict:
        return same([*a.items()], [*b.items()])
    parts = _parts(kind)  # type: ignore[arg-type]
    return all(map(same, parts(a), parts(b))) if parts is not None else bool(a == b)


@cache
def _parts(kind: type) -> Any:
    """What gives the fields of a node; None if it is none."""
    if not is_dataclass(kind):
        return None
    names = [f.name for f in fields(kind)]
    match names:
        case []:
            return lambda node: ()
        case [name]:
            only = attrgetter(name)
            return lambda node: (only(node),)
    return attrgetter(*names)
