"""What every generator of programs shares: random choices, names, what is in scope, finding values and places."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from tests.fuzz.types import BF16, BOOL, F16, F32, F64, I32, INT, R32, R64, STR, U8, T, Types

Production = Callable[[int], str]


@dataclass(frozen=True)
class Var:
    name: str
    type: T
    mutable: bool = False


@dataclass
class Fn:
    """A function that the program declares. `cost`: about how many statements a call runs."""

    name: str
    params: list[tuple[T, bool]]
    result: T | None
    cost: int


@dataclass
class Limits:
    """How large programs get (`items`: of a container that is written out), and how often something is done that may
    fault, a function calls itself, or there is a store."""

    statements: int = 7
    depth: int = 3
    expression: int = 3
    fault: float = 0.06
    recursion: float = 0.3
    store: float = 0.12
    items: int = 4


@dataclass
class Place:
    """Where the statement being written stands."""

    loops: int = 0
    turns: int = 1
    """How often it runs at most, for one call."""
    pure: int = 0
    """Within a lambda or comprehension, where nothing outside may be changed."""
    result: T | None = None
    in_loop: bool = False
    recursion: Fn | None = None
    fuel: str = ""
    blocks: int = 0
    cost: list[int] = field(default_factory=lambda: [0])


class Base:
    def __init__(self, seed: int | str, prefix: str, limits: Limits | None = None, style: random.Random | None = None):
        self.rng = random.Random(seed)
        self.style = style
        self.prefix = prefix
        self.limits = limits or Limits()
        self.types = Types()
        self.scope: list[Var] = []
        self.fns: list[Fn] = []
        self.decls: list[str] = []
        self.at = Place()
        self.count = 0
        self.restyled_count = 0
        self.lines: list[str] = []
        self.budget = 0
        self.tensor_fns: list[Fn] = []
        self.models: list[str] = []
        self.scalars: tuple[T, ...] = (INT, INT, INT, INT, INT, INT, BOOL, BOOL, F64, F64, STR, STR, I32, I32, U8, U8, F32, F32, F16, BF16, R64, R64, R32, R32)
        """The scalar types of variables, as often as they stand here."""
        self.smooth = False
        """Whether floats only go through what has a derivative everywhere."""

    # ---- choices
    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def pick(self, options: Sequence[tuple[float, Callable]]) -> Callable:
        return self.rng.choices([f for _, f in options], [w for w, _ in options])[0]

    def plain(self) -> T:
        """A scalar type."""
        return self.rng.choice(self.scalars)

    def name(self, stem: str = "v") -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def risky(self) -> bool:
        """Whether to do what may fault without looking first."""
        return self.chance(self.limits.fault)

    # ---- what is in scope
    def known(self, t: T) -> list[str]:
        """Expressions without calls that are a value of the type: variables and what is in them."""
        found = []
        seen = set()
        for v in reversed(self.scope[-14:]):
            if v.name in seen or v.type.kind == "store":
                continue  # what narrows or shadows stands later
            seen.add(v.name)
            self._reach(v.name, v.type, t, found, 2)
        return found

    def _reach(self, text: str, have: T, want: T, found: list[str], depth: int) -> None:
        if have == want or (want in (R64, R32) and str(have) == str(want)):
            found.append(text)
        if depth == 0:
            return
        if have.kind == "tuple":
            for i, item in enumerate(have.args):
                self._reach(f"{text}[{i}]", item, want, found, depth - 1)
        elif have.kind == "data" and self.types.data[have.name].struct:
            for field_, item in self.fields(have, 0):
                self._reach(f"{text}.{field_}", item, want, found, depth - 1)

    def fields(self, t: T, case: int) -> list[tuple[str, T]]:
        """The fields of a case, type parameters replaced."""
        data = self.types.data[t.name]
        return [(n, self._instance(f, t)) for n, f in data.cases[case][1]]

    def _instance(self, f: T, owner: T) -> T:
        if f.kind == "param":
            return owner.args[int(f.name)]
        return replace(f, args=tuple(self._instance(a, owner) for a in f.args)) if f.args else f

    def places(self, t: T) -> list[str]:
        """Places of the type that may be assigned: variables, fields of structs, at most two deep."""
        found: list[str] = []
        for v in self.scope:
            if v.mutable:
                self._places(v.name, v.type, t, found, 2)
        return found

    def _places(self, text: str, have: T, want: T, found: list[str], depth: int) -> None:
        if have == want and text != "self":
            found.append(text)
        if depth and have.kind == "data" and self.types.data[have.name].struct:
            for field_, item in self.fields(have, 0):
                self._places(f"{text}.{field_}", item, want, found, depth - 1)

    def mutables(self, kinds: Sequence[str]) -> list[tuple[str, T]]:
        """Places that hold a value of one of the kinds: (text, type)."""
        found: list[tuple[str, T]] = []
        for v in self.scope:
            if v.mutable:
                self._all_places(v.name, v.type, kinds, found, 2)
        return found

    def _all_places(self, text: str, have: T, kinds: Sequence[str], found: list[tuple[str, T]], depth: int) -> None:
        if have.kind in kinds:
            found.append((text, have))
        if depth and have.kind == "data" and self.types.data[have.name].struct:
            for field_, item in self.fields(have, 0):
                self._all_places(f"{text}.{field_}", item, kinds, found, depth - 1)

    # ---- text
    def line(self, text: str) -> None:
        self.lines.append("    " * (self.at.blocks + 1) + text)

    def expr(self, t: T, depth: int | None = None) -> str:
        """An expression of the type, in brackets where it needs them."""
        depth = self.limits.expression if depth is None else depth
        options = self.productions(t, depth)
        return self.pick(options)(depth - 1)

    def productions(self, t: T, depth: int) -> list[tuple[float, Production]]:
        found: list[tuple[float, Production]] = []
        known = self.known(t)
        if known:
            found.append((6.0 if depth > 0 else 30.0, lambda d: self.rng.choice(known[-8:])))
        found += self.productions_of(t, depth)
        return found

    def productions_of(self, t: T, depth: int) -> list[tuple[float, Production]]:
        """More of them, by subject; at depth 0 at least one that ends."""
        return []

    def cond(self, depth: int | None = None) -> str:
        return self.expr(BOOL, depth)
