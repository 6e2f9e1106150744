"""Structs and enums as Python classes: fields, constructors, `repr`, `==`, `hash`, pattern matching.

Values may be nested a million deep, so nothing here recurses over them.
"""

from __future__ import annotations

import copy
import keyword
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hybridc_runtime.pickling import Home, reduced, rows_of, value_of


class Record:
    """Base of every struct and enum class. The fields are the instance's `__dict__`, in order of declaration."""

    __match_args__: tuple[str, ...] = ()
    _hyb_name = ""
    """As repr begins: "Point", "Shape.Circle"."""
    _hyb_frozen = False
    _hyb_fields: tuple[str, ...]
    _hyb_key: tuple[Any, ...]
    """What a module finds the class by."""
    _hyb_home: Home | None = None
    """The module that it is of."""

    def __eq__(self, other: object) -> bool:
        return equal(self, other) if isinstance(other, Record) else NotImplemented

    def __hash__(self) -> int:
        return hash_of(self)

    def __repr__(self) -> str:
        return text_of(self)

    def __copy__(self) -> Record:
        if self._hyb_frozen:
            return self
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        return new

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return value_of(*rows_of(self), lambda x: copy.deepcopy(x, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        return reduced(self)

    @classmethod
    def _hyb_of(cls, parts: Sequence[Any]) -> Record:
        """The value with these fields, in order."""
        if cls._hyb_frozen and not cls._hyb_fields:
            return getattr(cls.__base__, cls.__name__)  # type: ignore[no-any-return]  # a case without fields is one value
        new = object.__new__(cls)
        new.__dict__.update(zip(cls._hyb_fields, parts, strict=True))
        return new


def _set_frozen(self: Record, name: str, value: object) -> None:
    raise AttributeError(f"{self._hyb_name} values cannot be changed")


def python_name(name: str) -> str:
    """A name that Python can say: `class_` for `class`."""
    return name + "_" if keyword.iskeyword(name) else name


def spoken(names: Iterable[str]) -> dict[str, str]:
    """What Python may say for each of these names."""
    names = list(names)
    return {python_name(n): n for n in names} | {n: n for n in names}


def _attributes(fields: Sequence[str]) -> dict[str, property]:
    """Attributes for the fields that Python has no word for."""

    def attribute(field: str) -> property:
        def get(self: Record) -> object:
            return self.__dict__[field]

        def change(self: Record, value: object) -> None:
            setattr(self, field, value)

        return property(get, change)

    return {said: attribute(f) for said, f in spoken(fields).items() if said not in fields}


def _constructor(fields: Sequence[str], defaults: Mapping[str, Callable[[], object]], name: str) -> Callable[..., None]:
    names = spoken(fields)

    def __init__(self: Record, *args: object, **kwargs: object) -> None:
        if len(args) > len(fields):
            raise TypeError(f"{name}() takes {len(fields)} arguments, {len(args)} were given")
        own = self.__dict__
        if len(args) == len(fields) and not kwargs:
            own.update(zip(fields, args, strict=True))
            return
        given = dict(zip(fields, args, strict=False))
        for key, value in kwargs.items():
            field = names.get(key)
            if field is None:
                raise TypeError(f"{name}() has no field {key!r}")
            if field in given:
                raise TypeError(f"{name}() got field {key!r} twice")
            given[field] = value
        for field in fields:
            if field in given:
                own[field] = given[field]
            elif field in defaults:
                own[field] = defaults[field]()
            else:
                raise TypeError(f"{name}() needs field {field!r}")

    return __init__


def struct_class(
    title: str, fields: Sequence[str], defaults: Mapping[str, Callable[[], object]], doc: str | None = None
) -> type[Record]:
    return type(title, (Record,), {
        **_attributes(fields),
        "__init__": _constructor(fields, defaults, title), "__match_args__": tuple(fields), "__doc__": doc,
        "_hyb_name": title, "_hyb_fields": tuple(fields), "_hyb_key": (title, tuple(fields)),
    })


def enum_class(title: str, cases: Sequence[tuple[str, Sequence[str]]],
               defaults: Mapping[str, Mapping[str, Callable[[], object]]], doc: str | None = None) -> type[Record]:
    """The class, with an attribute for each case: a class where it has fields, else its only value. `defaults` are by
    case and field."""

    def refuse(self: Record, *args: object, **kwargs: object) -> None:
        names = ", ".join(f"{title}.{case}" for case, _ in cases)
        raise TypeError(f"{title} is made by one of its cases: {names}")

    base = type(title, (Record,), {
        "__init__": refuse, "__doc__": doc, "_hyb_name": title, "_hyb_frozen": True, "__setattr__": _set_frozen,
        "_hyb_cases": tuple(case for case, _ in cases),
    })
    table = tuple((case, tuple(fields)) for case, fields in cases)
    classes = []
    for tag, (case, fields) in enumerate(cases):
        name = f"{title}.{case}"
        cls = type(case, (base,), {
            **_attributes(fields),
            "__init__": _constructor(fields, defaults.get(case, {}), name), "__match_args__": tuple(fields),
            "__qualname__": name, "_hyb_name": name, "_hyb_fields": tuple(fields), "_hyb_tag": tag,
            "_hyb_key": (title, table, tag),
        })
        classes.append(cls)
        type.__setattr__(base, case, cls if fields else object.__new__(cls))
    base._hyb_classes = tuple(classes)  # type: ignore[attr-defined]
    return base


def fixed(x: object) -> bool:
    """Is it a value that nobody can change: a scalar, text, none, a case without fields, or a tuple of these?"""
    if isinstance(x, tuple):
        return all(map(fixed, x))
    return x is None or isinstance(x, (bool, int, float, str)) or (
        isinstance(x, Record) and x._hyb_frozen and not x._hyb_fields
    )


# ---- whole values, without recursion
def _is_array(x: object) -> bool:
    return hasattr(x, "shape") and hasattr(x, "dtype") and not isinstance(x, Record)


def equal(a: Any, b: Any) -> bool:
    """Are two values the same as Hyb sees it: whole values, NaN different from itself?"""
    todo = [(a, b)]
    while todo:
        x, y = todo.pop()
        if isinstance(x, Record):
            if type(x) is not type(y):
                return False
            mine, theirs = x.__dict__, y.__dict__
            todo += [(v, theirs.get(k)) for k, v in mine.items()]
        elif isinstance(x, (list, tuple)):
            if type(x) is not type(y) or len(x) != len(y):
                return False
            todo += zip(x, y, strict=True)
        elif isinstance(x, dict):
            if not isinstance(y, dict) or len(x) != len(y):
                return False
            for k, v in x.items():
                if k not in y:
                    return False
                todo.append((v, y[k]))
        elif _is_array(x) or _is_array(y):
            if not (_is_array(x) and _is_array(y) and tuple(x.shape) == tuple(y.shape) and bool((x == y).all())):
                return False
        elif not x == y:
            return False
    return True


def hash_of(value: object) -> int:
    """A hash that agrees with `equal`, of values made of hashable parts."""
    todo: list[Any] = [value]
    parts: list[Any] = []
    while todo:
        x = todo.pop()
        if isinstance(x, Record):
            parts.append(x._hyb_name)
            todo += x.__dict__.values()
        elif isinstance(x, tuple):
            parts.append(len(x))
            todo += x
        else:
            parts.append(hash(x))
    return hash(tuple(parts))


class _Text:
    """Text to be written as it is, among values to be shown."""

    __slots__ = ("text",)

    def __init__(self, text: str):
        self.text = text


def text_of(value: object) -> str:
    """As `repr`, for values nested to any depth."""
    out: list[str] = []
    todo: list[object] = [value]

    def push(opening: str, items: Sequence[tuple[str, object]], closing: str) -> None:
        todo.append(_Text(closing))
        for i in range(len(items) - 1, -1, -1):
            label, item = items[i]
            todo.append(item)
            todo.append(_Text((", " if i else "") + label))
        todo.append(_Text(opening))

    while todo:
        x = todo.pop()
        if type(x) is _Text:
            out.append(x.text)
        elif isinstance(x, Record):
            if x.__dict__:
                push(f"{x._hyb_name}(", [(f"{k}=", v) for k, v in x.__dict__.items()], ")")
            else:
                out.append(x._hyb_name + ("" if x._hyb_frozen else "()"))
        elif type(x) is list:
            push("[", [("", v) for v in x], "]")
        elif type(x) is tuple:
            push("(", [("", v) for v in x], ",)" if len(x) == 1 else ")")
        elif type(x) is dict:
            items: list[tuple[str, object]] = []
            for k, v in x.items():
                items.append((f"{k!r}: ", v))
            push("{", items, "}")
        else:
            out.append(repr(x))
    return "".join(out)
