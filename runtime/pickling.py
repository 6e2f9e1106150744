"""Copies and pickles of what a module gives: values, models, functions, and the module itself.

A pickle says how the module was loaded, and the process that reads it loads it again, unless it has it already. Values
may be nested a million deep, so they are written out as rows, parts before what they are part of.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hybridc_runtime.classes import Record
    from hybridc_runtime.module import Module

Again = tuple[Callable[..., "Module"], str, tuple[tuple[str, Any], ...]]
"""How a module is loaded: by which function, which file, and its other arguments by name."""
Row = tuple[int, Any]
"""A leaf and itself; a list, tuple or dict, or FIRST + the number of a class, and the rows of its parts."""
LEAF, LIST, TUPLE, DICT, FIRST = range(5)
_KINDS: dict[type, int] = {list: LIST, tuple: TUPLE, dict: DICT}

_loaded: weakref.WeakValueDictionary[object, Module] = weakref.WeakValueDictionary()
"""Modules by number, which a forked process has too, and by how they were loaded."""


# ---- modules
class Home:
    """Where objects of a module come from. It is pickled as the module."""

    def __init__(self, module: Module, again: Again | None):
        self.name, self.number, self.again = module._name, os.urandom(16).hex(), again
        _loaded[self.number] = module
        if again is not None:
            _loaded[again] = module

    def __reduce__(self) -> tuple[Any, ...]:
        if self.again is None:
            raise TypeError(f"the module {self.name} was not loaded from a file, so nothing of it can be pickled")
        return (_module, (self.number, self.again))


def _module(number: str, again: Again) -> Module:
    found = _loaded.get(number) or _loaded.get(again)
    if found is not None:
        return found
    load, path, options = again
    try:
        return load(path, **dict(options))
    except ValueError as e:
        raise ValueError(f"what is unpickled needs {path}, which has to be loaded first: {e}") from None


# ---- values
def rows_of(value: Record) -> tuple[list[type[Record]], list[Row]]:
    """The classes in a value of a struct or enum, and its rows, itself last."""
    classes: dict[type, int] = {}
    rows: list[Row] = []
    places: dict[int, int] = {}
    """Of each object its row, -1 while its parts are written."""
    todo: list[tuple[Any, Sequence[Any] | None]] = [(value, None)]
    while todo:
        x, parts = todo.pop()
        if parts is not None:
            kind = _KINDS.get(type(x)) or FIRST + classes.setdefault(type(x), len(classes))
            places[id(x)] = len(rows)
            rows.append((kind, tuple(places[id(p)] for p in parts)))
        elif places.get(id(x)) == -1:
            raise ValueError("a value that contains itself cannot be copied")
        elif id(x) not in places:
            parts = _parts(x)
            if parts is None:
                places[id(x)] = len(rows)
                rows.append((LEAF, x))
            else:
                places[id(x)] = -1
                todo.append((x, parts))
                todo += [(p, None) for p in parts]
    return list(classes), rows


def _parts(x: Any) -> Sequence[Any] | None:
    """What it is made of; None for a leaf: what holds no value of a struct or enum, at whatever distance."""
    if hasattr(type(x), "_hyb_fields"):
        return list(x.__dict__.values())
    if type(x) not in _KINDS:
        return None
    parts = [*x.keys(), *x.values()] if type(x) is dict else x
    return parts if any(type(p) in _KINDS or hasattr(type(p), "_hyb_fields") for p in parts) else None


def value_of(classes: Sequence[Any], rows: Sequence[Row], leaf: Callable[[Any], Any]) -> Any:
    """The value of these rows, with leaves that `leaf` makes of theirs."""
    made: list[Any] = []
    for kind, content in rows:
        if kind == LEAF:
            made.append(leaf(content))
            continue
        parts = [made[i] for i in content]
        if kind == LIST:
            made.append(parts)
        elif kind == TUPLE:
            made.append(tuple(parts))
        elif kind == DICT:
            half = len(parts) // 2
            made.append(dict(zip(parts[:half], parts[half:], strict=True)))
        else:
            made.append(classes[kind - FIRST]._hyb_of(parts))
    return made[-1]


def reduced(value: Record) -> tuple[Any, ...]:
    """For `__reduce__` of a struct or enum."""
    home = type(value)._hyb_home
    if home is None:
        raise TypeError(f"{type(value)._hyb_name} belongs to no module that is loaded, so it cannot be pickled")
    classes, rows = rows_of(value)
    return (_value, (home, [cls._hyb_key for cls in classes], rows))


def _value(module: Module, keys: Sequence[Any], rows: Sequence[Row]) -> Any:
    return value_of([module._class_of(*key) for key in keys], rows, lambda x: x)


def model(module: Module, key: str, config: list[Any], contents: bytes) -> Any:
    """For `__reduce__` of a model."""
    return module._models.classes[key]._restore(config, contents)
