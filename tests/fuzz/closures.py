"""Function values, local functions that capture, and generic functions."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz.base import Fn, Place, Production, Var
from tests.fuzz.data import DataTypes
from tests.fuzz.types import BOOL, FLOAT_KINDS, INT, STR, T, fn_of, list_of, option

GENERIC = {
    "pick": ("fn {name}[T](a: T, b: T, c: bool) -> T:\n    return a if c else b", 0),
    "wrap": ("fn {name}[T](a: T) -> list[T]:\n    return [a, a]", 1),
    "last": ("fn {name}[T](xs: list[T], d: T) -> T:\n    var r = d\n    for x in xs:\n        r = x\n    return r", 2),
    "largest": ("fn {name}[T: order](xs: list[T], d: T) -> T:\n    var r = d\n    for x in xs:\n        if r < x:\n            r = x\n    return r", 3),
    "twice": ("fn {name}[T: number](a: T, b: T) -> T:\n    return a + b * a", 4),
    "swap": ("fn {name}[T](mut a: T, mut b: T):\n    let t = a\n    a = b\n    b = t", 5),
    "apply": ("fn {name}[A, B](f: fn(A) -> B, xs: list[A]) -> list[B]:\n    return [f(x) for x in xs]", 6),
}  # fmt: skip


class Closures(DataTypes):
    generic: set[str]

    def use(self, kind: str) -> str:
        """The name of a generic function, declared when first used."""
        name = f"{kind}_{self.prefix}"
        decl = GENERIC[kind][0].format(name=name)
        if decl not in self.decls:
            self.decls.insert(0, decl)
        return name

    def productions_of(self, t: T, depth: int) -> list[tuple[float, Production]]:
        found = super().productions_of(t, depth)
        if t.kind == "fn":
            found.append((2, lambda d: self.closure(t, max(d, 0))))
            for fn in self.fns:
                if fn_of(*(p for p, _ in fn.params), fn.result) == t and not any(m for _, m in fn.params) and fn.cost < 20 and not fn.name.startswith("rec"):
                    found.append((1, lambda d, fn=fn: fn.name))
        if depth > 0 and t.kind != "fn":
            e = self.expr
            found.append((0.4, lambda d: f"{self.use('pick')}({self.firm(t, d)}, {self.firm(t, d)}, {self.cond(d)})"))
            if t.kind == "list" and t.args[0].kind not in ("fn", "option"):
                found.append((0.4, lambda d: f"{self.use('wrap')}({self.firm(t.args[0], d)})"))
                found.append((0.6, lambda d: self.mapped(t, d)))
            if t.kind not in ("option", "tuple"):
                found.append((0.4, lambda d: f"{self.use('last')}({self.firm(list_of(t), d)}, {self.firm(t, d)})"))
            if t in (INT, STR):
                found.append((0.4, lambda d: f"{self.use('largest')}({self.firm(list_of(t), d)}, {e(t, d)})"))
            if t == INT:
                found.append((0.4, lambda d: f"{self.use('twice')}({e(t, d)}, {e(t, d)})"))
        return found

    def mapped(self, t: T, d: int) -> str:
        source = self.rng.choice((INT, STR))
        f = self.lambda_of(source, t.args[0], d)
        xs = self.firm(list_of(source), d)
        if t.args[0].kind in ("option", "tuple", *FLOAT_KINDS):
            f = self.typed_value(fn_of(source, t.args[0]), f)
        return f"{self.use('apply')}({f}, {xs})" if self.chance(0.5) else f"{xs}.map({f})"

    def closure(self, t: T, d: int) -> str:
        saved = list(self.scope)
        names = [self.name("z") for _ in t.args[:-1]]
        self.scope += [Var(n, a) for n, a in zip(names, t.args)]
        self.at.pure += 1
        turns, self.at.turns = self.at.turns, self.at.turns * 20
        body = self.expr(t.args[-1], min(d, 2))
        self.at.turns = turns
        self.at.pure -= 1
        self.scope = saved
        return f"(fn({', '.join(f'{n}: {a}' for n, a in zip(names, t.args))}): {body})"

    def statements(self) -> list[tuple[float, Callable[[], None]]]:
        found = super().statements()
        if self.at.blocks < self.limits.depth and not self.at.recursion:
            found.append((0.7, self.local_fn))
        found.append((0.4, self.swap))
        return found

    def local_fn(self) -> None:
        """A function inside, which captures what is around it by value."""
        name, k = self.name("g"), self.name("a")
        result = self.rng.choice((INT, STR, BOOL, option(INT)))
        self.line(f"fn {name}({k}: int) -> {result}:")
        saved, at, budget = list(self.scope), self.at, self.budget
        self.at = Place(result=result, blocks=at.blocks + 1, turns=at.turns, cost=[0], pure=at.pure)
        self.scope = [Var(v.name, v.type, False) for v in self.scope if v.type.kind != "store"] + [Var(k, INT)]
        self.budget = min(budget, 5)
        fns = self.fns
        self.fns = [f for f in fns if f.cost * at.turns < 100]
        for _ in range(self.rng.randint(1, 2)):
            if self.budget > 0:
                self.statement()
        self.line(f"return {self.expr(result, 2)}")
        self.fns = fns
        cost = self.at.cost[0]
        self.at, self.scope, self.budget = at, saved, budget - 3
        self.at.cost[0] += cost
        if cost < 100 * at.turns:
            self.add(name, fn_of(INT, result), False)

    def swap(self) -> None:
        t = self.some_type()
        places = list(dict.fromkeys(self.places(t)))
        if len(places) < 2 or t.kind == "fn":
            return self.let()
        a, b = self.rng.sample(places, 2)
        if a.split(".")[0] == b.split(".")[0]:
            return self.let()
        self.line(f"{self.use('swap')}(mut {a}, mut {b})")


__all__ = ["Closures", "Fn"]
