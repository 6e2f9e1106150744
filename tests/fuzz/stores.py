"""Stores: a file that lasts from call to call, passed on as `mut`; what the reference interpreter's host does with one.

A store is only used where it may be: as a variable of the driver and as `mut` parameter, not in a lambda, a local
function or a comprehension.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hybridc.core.interp import print_host, str_text
from hybridc.core.ir import StructT, Type
from hybridc.core.values import Buffer, Some
from tests.fuzz.base import Production, Var
from tests.fuzz.graphs import Graphs
from tests.fuzz.types import BOOL, F64, INT, STR, T, list_of, option, tuple_of

STORES = tuple(T("store", pair) for pair in ((INT, INT), (STR, INT), (STR, list_of(INT)), (tuple_of(INT, STR), STR), (INT, tuple_of(F64, BOOL)),
                                             (STR, option(INT))))  # fmt: skip
SUFFIX = ".store"


class Stores(Graphs):
    store: T | None = None
    """The type of the store of this case, if it has one."""

    def usable_stores(self) -> list[Var]:
        return [] if self.at.pure else [v for v in self.scope if v.type.kind == "store"]

    def productions_of(self, t: T, depth: int) -> list[tuple[float, Production]]:
        found = super().productions_of(t, depth)
        if depth > 0:
            for v in self.usable_stores():
                found += self.store_reads(v.name, v.type, t)
        return found

    def store_reads(self, m: str, of: T, t: T) -> list[tuple[float, Production]]:
        key, value = of.args
        e = self.expr
        found: list[tuple[float, Production]] = []
        if t == value:
            found.append((2, lambda d: self.looked_up(m, of, d)))
        if t == option(value):
            found.append((2, lambda d: f"{m}.get({e(key, d)})"))
        if t == INT:
            found.append((1, lambda d: f"len({m})"))
        if t == BOOL:
            found.append((1, lambda d: f"({e(key, d)} {self.rng.choice(('in', 'not in'))} {m})"))
        if t == list_of(key):
            found.append((2, lambda d: f"{m}.keys()"))
        if t == list_of(value):
            found.append((2, lambda d: f"{m}.values()"))
        return found

    def statements(self) -> list[tuple[float, Callable[[], None]]]:
        found = super().statements()
        if self.usable_stores():
            found.append((5, self.change_store))
        return found

    def change_store(self) -> None:
        v = self.rng.choice(self.usable_stores())
        m, (key, value) = v.name, v.type.args
        match self.rng.randint(0, 7):
            case 0:
                self.line(f"{m}.commit()")
            case 1:
                self.guarded(f"{m}.remove", m, key)
            case 2:
                self.guarded(f"{m}.pop", m, key)
            case 3 if value == INT:
                k = self.name()
                self.line(f"let {k} = {self.expr(key, 1)}")
                self.line(f"if {k} in {m}:")
                self.line(f"    {m}[{k}] += {self.expr(INT, 1)}")
            case _:
                self.line(f"{m}[{self.expr(key, 1)}] = {self.bounded(value)}")

    def open_store(self) -> str:
        """Opens the store of the case; a line that shows it."""
        assert self.store is not None
        m = self.name("mem")
        self.line(f'var {m} = {self.store}("{self.prefix}{SUFFIX}")')
        self.add(m, self.store, True)
        return m


class StoreHost:
    """The host of the reference interpreter, with stores: dictionaries that last from call to call."""

    def __init__(self) -> None:
        self.files: dict[str, dict[object, tuple[object, object]]] = {}
        """What was committed, by path: by a key's text the key and its value."""
        self.open: dict[str, dict[object, tuple[object, object]]] = {}

    def begin(self) -> None:
        """A call from outside begins: what an earlier one did not commit is gone."""
        self.open = {}

    def __call__(self, name: str, args: tuple[object, ...], types: tuple[Type, ...]) -> Sequence[object]:
        if not name.startswith("_store_"):
            return print_host(name, args, types)
        if name == "_store_open":
            path = str_text(args[0])
            self.open[path] = dict(self.files.get(path, {}))
            return (Buffer([ord(c) for c in path]),)
        path = "".join(map(chr, args[0].items()))  # type: ignore[attr-defined, arg-type]
        held = self.open[path]
        k = _name(args[1]) if len(args) > 1 else ""
        match name:
            case "_store_get":
                return (Some(held[k][1]) if k in held else None,)
            case "_store_put":
                held[k] = (args[1], args[2])
                return ()
            case "_store_remove":
                return (held.pop(k, None) is not None,)
            case "_store_has":
                return (k in held,)
            case "_store_len":
                return (len(held),)
            case "_store_keys":
                assert isinstance(types[0], StructT)
                return ((Buffer([key for key, _ in held.values()]), len(held)),)
        assert name == "_store_commit"
        self.files[path] = dict(held)
        return ()


def _name(key: object) -> str:
    """Alike for equal keys: a text's buffer may have more room than it needs."""
    if isinstance(key, tuple):
        return repr(str_text(key)) if isinstance(key[0], Buffer) else f"({', '.join(map(_name, key))})"
    return repr(key)
