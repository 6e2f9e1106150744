"""Structs with methods, enums and `match`, generic ones too; recursive enums, and functions over them."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.fuzz.base import Place, Production, Var
from tests.fuzz.graphs import GRAPHS
from tests.fuzz.stores import STORES, Stores
from tests.fuzz.types import BF16, BOOL, F16, F64, INT, STR, Data, T, list_of, map_of, option, tuple_of


class DataTypes(Stores):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.methods: dict[str, list[tuple[str, T | None, bool]]] = {}
        """Of each struct: name, result, whether it changes it; each takes an int."""
        self.pool: list[T] = []

    # ---- declarations
    def common_types(self, rng: random.Random) -> list[T]:
        return [
            list_of(INT), list_of(INT), list_of(STR), map_of(STR, INT), map_of(INT, list_of(INT)), T("set", (INT,)),
            T("heap", (INT, STR)), T("deque", (INT,)), list_of(list_of(INT)), tuple_of(INT, STR), option(INT), option(STR),
            list_of(tuple_of(INT, STR)), map_of(tuple_of(INT, BOOL), STR), list_of(option(INT)), T("set", (STR,)),
            option(tuple_of(INT, list_of(INT))), list_of(F64), T("deque", (STR,)), list_of(BOOL), tuple_of(BOOL, list_of(STR), F64),
            T("fn", (INT, INT)), T("fn", (INT, STR, INT)), T("fn", (list_of(INT), INT)), list_of(T("fn", (INT, INT))), list_of(T("r64")),
            map_of(INT, T("r32")), *GRAPHS[:2], rng.choice(GRAPHS), list_of(F16), map_of(INT, BF16),
        ]  # fmt: skip

    def choose_types(self, among: list[T] | None = None) -> None:
        """What this case uses beside scalars; `among` makes it a small one."""
        small = among is not None
        common = self.common_types(self.rng) if among is None else among
        self.pool = self.rng.sample(common, self.rng.randint(1, 2 if small else 5))
        if self.chance(self.limits.store):
            self.store = self.rng.choice(STORES)
        for _ in range(self.rng.choice((0, 0, 0, 1) if small else (0, 0, 1, 1, 2))):
            self.declare_struct() if self.chance(0.5) else self.declare_enum()
        if not small and self.chance(0.3):
            made = self.composed(2)
            if made.kind not in ("set", "heap"):
                self.pool.append(made)

    def composed(self, depth: int) -> T:
        """Any type."""
        inner = [t for t in self.pool if t.kind != "fn"]
        if depth == 0 or self.chance(0.3):
            return self.rng.choice(inner) if inner and self.chance(0.5) else self.plain()
        kind = self.rng.choice(("list", "list", "option", "tuple", "map", "deque"))
        match kind:
            case "tuple":
                return tuple_of(*(self.composed(depth - 1) for _ in range(self.rng.randint(1, 3))))
            case "map":
                return map_of(self.rng.choice((INT, STR, BOOL, tuple_of(INT, STR))), self.composed(depth - 1))
            case "option":
                item = self.composed(depth - 1)
                return item if item.kind == "option" else option(item)
        return T(kind, (self.composed(depth - 1),))

    def some_type(self) -> T:
        if self.pool and self.chance(0.5):
            return self.rng.choice(self.pool)
        return super().some_type()

    def declare_struct(self) -> None:
        name = self.name(f"S{self.prefix}_")
        generic = self.chance(0.25)
        fields = [("n", INT)] + [(f"f{i}", self.field_type()) for i in range(self.rng.randint(1, 3))]
        if generic:
            fields[-1] = (fields[-1][0], self.rng.choice((T("param", name="0"), list_of(T("param", name="0")))))
        self.types.data[name] = Data(name, [(name, fields)], True)
        t = T("data", (self.rng.choice((INT, STR, list_of(INT))),) if generic else (), name)
        head = f"struct {name}{'[T0]' if generic else ''}:"
        shown = [f"    {f}: {'T0' if k.kind == 'param' else 'list[T0]' if 'param' in [a.kind for a in k.args] else k}" for f, k in fields]
        text = [head, *shown]
        self.methods[name] = []
        if not generic:
            for i in range(self.rng.randint(0, 2)):
                text += self.method(t, f"m{i}")
        self.decls.append("\n".join(text))
        self.pool += [t, t]
        if self.chance(0.3):
            self.pool.append(list_of(t))

    def field_type(self) -> T:
        usable = [t for t in self.pool if t.kind != "fn" and not any(p.kind == "fn" for p in self.types.parts(t))]
        return self.rng.choice(usable) if usable and self.chance(0.5) else self.plain()

    def method(self, t: T, name: str) -> list[str]:
        changes = self.chance(0.5)
        result = self.rng.choice((INT, STR, BOOL, *([t] if not changes else [])))
        saved = self.scope, self.at, self.lines, self.budget
        self.lines, self.at, self.budget = [], Place(result=result, blocks=1), 12
        k = self.name("a")
        self.scope = [Var("self", t, changes), Var(k, INT)]
        for _ in range(self.rng.randint(1, 3)):
            self.statement()
        self.line(f"return {self.expr(result, 2)}")
        body = self.lines
        cost = self.at.cost[0]
        self.scope, self.at, self.lines, self.budget = saved
        if cost < 60:
            self.methods[t.name].append((name, result, changes))
            return ["", f"    {'mut ' if changes else ''}fn {name}({k}: int) -> {result}:", *body]
        return []

    def declare_enum(self) -> None:
        name = self.name(f"E{self.prefix}_")
        recursive = self.chance(0.5)
        t = T("data", (), name)
        cases: list[tuple[str, list[tuple[str, T]]]] = [(f"{name}A", [])]
        for letter in "BCD"[: self.rng.randint(1, 3)]:
            fields = [(f"x{i}", self.field_type()) for i in range(self.rng.randint(0, 2))]
            cases.append((f"{name}{letter}", fields))
        data = Data(name, cases, False, recursive, f"trim_{name}")
        if recursive:
            kind = self.rng.randint(0, 2)
            more = [("l", t), ("r", t)] if kind == 0 else [("n", INT), ("tail", t)] if kind == 1 else [("kids", list_of(t))]
            cases.append((f"{name}R", more))
            if kind == 2:
                self.pool.append(list_of(t))
        self.types.data[name] = data
        lines = [f"enum {name}:"]
        for case, fields in cases:
            lines.append(f"    {case}" + (f"({', '.join(f'{n}: {f}' for n, f in fields)})" if fields else ""))
        self.decls.append("\n".join(lines))
        if recursive:
            self.decls.append(self._trim(data, t))
        self.pool += [t, t]

    def _trim(self, data: Data, t: T) -> str:
        """A function that cuts a value to a depth, so that values do not grow."""
        lines = [f"fn {data.trim}(t: {data.name}, d: int) -> {data.name}:", "    if d <= 0:", f"        return {data.cases[0][0]}", "    match t:"]
        case, fields = data.cases[-1]
        names = [n for n, _ in fields]

        def cut(n: str, f: T) -> str:
            if f == t:
                return f"{data.trim}({n}, d - 1)"
            return f"[{data.trim}(k, d - 1) for k in {n}[:3]]" if f == list_of(t) else n

        lines.append(f"        case {case}({', '.join(names)}):")
        lines.append(f"            return {case}({', '.join(cut(n, f) for n, f in fields)})")
        lines.append("        case _:")
        lines.append("            return t")
        return "\n".join(lines)

    # ---- expressions
    def productions_of(self, t: T, depth: int) -> list[tuple[float, Production]]:
        found = super().productions_of(t, depth)
        if t.kind == "data":
            data = self.types.data[t.name]
            found.append((2, lambda d: self.struct(t, d) if data.struct else self.enum(t, d)))
        if depth > 0:
            for v in self.scope:
                if v.type.kind == "data" and not self.at.pure:
                    for name, result, changes in self.methods.get(v.type.name, ()):
                        if result == t and (v.mutable or not changes) and self.at.turns < 200:
                            found.append((2, lambda d, v=v, name=name: f"{v.name}.{name}({self.expr(INT, d)})"))
        return found

    def struct(self, t: T, d: int) -> str:
        fields = self.fields(t, 0)
        values = [self.expr(f, max(d - 1, 0)) for _, f in fields]
        if self.chance(0.5):
            return f"{t}({', '.join(values)})" if t.args else f"{t.name}({', '.join(values)})"
        return f"{t}({', '.join(f'{n}={v}' for (n, _), v in zip(fields, values))})"

    def enum(self, t: T, d: int) -> str:
        data = self.types.data[t.name]
        cases = data.cases[:-1] if data.recursive and d <= 0 else data.cases
        case, fields = self.rng.choice(cases)
        text = f"{t.name}.{case}" if self.chance(0.3) else case
        if not fields:
            return text

        def value(f: T) -> str:
            inner = self.expr(f, max(d - 1, 0))
            if f == t and inner not in (data.cases[0][0],):
                return f"{data.trim}({inner}, 2)"
            return f"[{data.trim}(k, 2) for k in {inner}[:3]]" if data.recursive and f == list_of(t) else inner

        return f"{text}({', '.join(value(f) for _, f in fields)})"

    # ---- statements
    def statements(self) -> list[tuple[float, Callable[[], None]]]:
        found = super().statements()
        if self.at.blocks < self.limits.depth and any(v.type.kind == "data" for v in self.scope):
            found.append((3, self.match_enum))
        return found

    def match_enum(self) -> None:
        found = [v for v in self.scope if v.type.kind == "data" and not self.types.data[v.type.name].struct]
        if not found:
            return self.branch()
        t = self.rng.choice(found).type
        data = self.types.data[t.name]
        subject = self.rng.choice(found).name if self.chance(0.7) else self.expr(t, 1)
        if subject not in [v.name for v in found if v.type == t]:
            subject = self.expr(t, 1)
        self.line(f"match {subject}:")
        self.at.blocks += 1
        order = list(range(len(data.cases)))
        self.rng.shuffle(order)
        every = self.chance(0.6)
        for i in order if every else order[:-1]:
            self.arm(data, t, i)
        if not every:
            self.line("case _:")
            self.block(self.size())
        self.at.blocks -= 1

    def arm(self, data: Data, t: T, i: int) -> None:
        case, _ = data.cases[i]
        fields = self.fields(t, i)
        if not fields:
            self.line(f"case {case}:")
            return self.block(self.size())
        bound: list[Var] = []
        parts = []
        by_name = self.chance(0.3)
        for n, f in fields:
            if self.chance(0.2):
                if not by_name:
                    parts.append("_")
                continue
            v = self.name("m")
            bound.append(Var(v, f))
            parts.append(f"{n}={v}" if by_name else v)
        if by_name and not parts:
            parts = ["_"] * len(fields)
        if self.chance(0.2):
            self.line(f"case {case}({', '.join(parts)}) if {self.cond_with(bound)}:")
            self.block(self.size(), also=bound)
            parts = ["_"] * len(fields)
            bound = []
        self.line(f"case {case}({', '.join(parts)}):")
        self.block(self.size(), also=bound)

    def cond_with(self, bound: list[Var]) -> str:
        saved = list(self.scope)
        self.scope += bound
        text = self.cond(1)
        self.scope = saved
        return text
