"""Places of the oracle: variables, fields, elements and parts, read and written in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hybridc.front.parse import syntax as s
from tests.fuzz import oracle_methods as methods
from tests.fuzz import oracle_tensors as tensors
from tests.fuzz.oracle_tensors import Array
from tests.fuzz.oracle_values import Obj, Unknown, cast


class Places:
    scopes: list[dict[str, Any]]

    def eval(self, e: Any) -> Any:
        raise NotImplementedError

    def find(self, name: str) -> dict[str, Any] | None:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope
        return None

    def ref(self, e: Any) -> Any:
        """The object of a place itself, not a copy."""
        match e:
            case s.Name(id=n):
                scope = self.find(n)
                if scope is not None:
                    return scope[n]
            case s.Attribute(value=v, name=n):
                owner = self.ref(v)
                if isinstance(owner, Obj) and n in owner.fields:
                    return owner.fields[n]
            case s.Index(value=v, items=(i,)) if not isinstance(i, s.Slice):
                owner = self.ref(v)
                if not isinstance(owner, Array):
                    return methods.element(owner, self.eval(i))
        return self.eval(e)

    def places(self, items: Sequence[Any]) -> tuple[Any, ...]:
        """What stands between the brackets of a tensor."""
        found = []
        for i in items:
            parts = (i.start, i.stop, i.step) if isinstance(i, s.Slice) else ()
            found.append(slice(*(None if x is None else self.eval(x) for x in parts)) if parts else self.eval(i))
        return tuple(found)

    def store(self, target: Any, value: Any) -> None:
        match target:
            case s.Name(id=n):
                scope = self.find(n)
                if scope is None:
                    raise Unknown(n)
                scope[n] = like(scope[n], value)
            case s.Attribute(value=v, name=n):
                owner = self.ref(v)
                owner.fields[n] = like(owner.fields[n], value)
            case s.Index(value=v, items=items) if isinstance(self.ref(v), Array):
                tensors.put(self.ref(v), self.places(items), value, None)
            case s.Index(value=v, items=(s.Slice() as i,)):
                owner = self.ref(v)
                a, b, step = (None if x is None else self.eval(x) for x in (i.start, i.stop, i.step))
                owner[slice(a, b, step)] = value
            case s.Index(value=v, items=(i,)):
                owner = self.ref(v)
                key = self.eval(i)
                if not isinstance(owner, dict):
                    methods.element(owner, key)
                owner[key] = value
            case s.Tuple(items=items):
                for t, x in zip(items, value, strict=True):
                    self.store(t, x)
            case _:
                raise Unknown("target")


def like(old: Any, new: Any) -> Any:
    """A number literal assigned to a place takes the place's type."""
    return float(new) if type(old) is float and type(new) is int else cast(old.kind, new) if hasattr(old, "kind") and type(new) is int else new
