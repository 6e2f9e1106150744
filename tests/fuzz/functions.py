"""Functions: with `mut` parameters, recursion with fuel; calls of them."""

from __future__ import annotations

from tests.fuzz.base import Base, Fn, Place, Production, Var
from tests.fuzz.types import BOOL, INT, STR, T

MOST_TURNS = 1500


class Functions(Base):
    def productions_of(self, t: T, depth: int) -> list[tuple[float, Production]]:
        found = super().productions_of(t, depth)
        if depth > 0:
            for fn in self.fns:
                if fn.result == t and self.affordable(fn):
                    muts = [p for p, mut in fn.params if mut]
                    if muts and (self.at.pure or any(not self.places(p) for p in muts)):
                        continue
                    found.append((2, lambda d, fn=fn: self.call(fn, d)))
            found.append((0.8, lambda d: f"({self.expr(t, d)} if {self.cond(d)} else {self.expr(t, d)})"))
        return found

    def affordable(self, fn: Fn) -> bool:
        return self.at.turns * fn.cost < MOST_TURNS

    def call(self, fn: Fn, depth: int, fuel: str = "") -> str:
        """A call; every `mut` argument is another variable."""
        self.at.cost[0] += self.at.turns * fn.cost
        args, used = [], set()
        for i, (t, mut) in enumerate(fn.params):
            if fuel and i == 0:
                args.append(fuel)
            elif mut:
                free = [p for p in self.places(t) if p.split(".")[0] not in used]
                if not free:
                    return self.expr(fn.result, 0) if fn.result is not None else "pass"
                place = self.rng.choice(free)
                used.add(place.split(".")[0])
                args.append(f"mut {place}")
            elif fn.name.startswith("rec") and i == 0:
                args.append(str(self.rng.randint(0, 3)))
            else:
                args.append(self.expr(t, depth))
        return f"{fn.name}({', '.join(args)})"

    def calls(self) -> None:
        """A call as a statement."""
        usable = [f for f in self.fns if self.affordable(f) and all(self.places(t) for t, mut in f.params if mut)]
        if not usable:
            return self.let()
        self.line(self.call(self.rng.choice(usable), 2))

    def statements(self):
        return [*super().statements(), (1.5, self.calls)]

    def function(self, name: str, params: list[tuple[T, bool]], result: T | None, statements: int) -> Fn:
        """Declares a function; one whose name begins with `rec` takes its fuel first and calls itself."""
        saved = self.scope, self.at, self.lines, self.budget
        self.lines, self.at, self.budget = [], Place(result=result), statements * 4
        recursive = name.startswith("rec")
        shown = []
        self.scope = []
        for t, mut in params:
            p = "fuel" if recursive and not shown else self.name("a")
            self.scope.append(Var(p, t, mut))
            shown.append(f"{'mut ' if mut else ''}{p}: {t}")
        fn = Fn(self.prefix + name if not recursive else name, params, result, 0)
        fn.name = name
        if recursive:
            self.at.recursion, self.at.fuel = fn, "fuel"
            self.line("if fuel <= 0:")
            self.line(f"    return {self.expr(result, 1)}" if result is not None else "    return")
        self.line_budget(statements)
        if recursive:
            for _ in range(self.rng.randint(1, 2)):
                self.recurse(fn)
        if result is not None:
            self.line(f"return {self.expr(result, 2)}")
        body, cost = self.lines, self.at.cost[0]
        self.scope, self.at, self.lines, self.budget = saved
        head = f"fn {name}({', '.join(shown)}){f' -> {result}' if result is not None else ''}:"
        self.decls.append("\n".join([head, *(body or ["    pass"])]))
        fn.cost = cost * 14 + 10 if recursive else cost + 1
        self.fns.append(fn)
        return fn

    def line_budget(self, statements: int) -> None:
        for _ in range(self.rng.randint(1, statements)):
            if self.budget > 0:
                self.statement()

    def recurse(self, fn: Fn) -> None:
        if any(mut and not self.places(t) for t, mut in fn.params):
            return
        text = self.call(fn, 1, "fuel - 1")
        if fn.result is None or not text.startswith(fn.name):
            return self.line(text)
        name = self.name("r")
        self.line(f"let {name} = {text}")
        self.add(name, fn.result, False)

    def parameter_types(self) -> list[tuple[T, bool]]:
        found = [(INT, self.chance(0.3))]
        for _ in range(self.rng.randint(1, 3)):
            t = self.some_type()
            found.append((t, self.chance(0.25) and t.kind != "fn"))
        if self.store is not None and self.chance(0.8):
            found.append((self.store, True))
        return found

    def functions(self, count: int) -> None:
        for i in range(count):
            recursive = self.chance(self.limits.recursion)
            params = ([(INT, False)] if recursive else []) + self.parameter_types()
            result = self.some_type() if self.chance(0.9) else None
            self.function(f"{'rec' if recursive else 'f'}{self.prefix}_{i}", params, result, self.limits.statements)

    def statements_of(self, name: str, count: int) -> None:
        """A function that is called from outside and does everything itself: a condition, a variable or two, statements,
        a text that shows the variables."""
        self.begin()
        self.budget = 3 * count
        if self.store is not None:
            self.open_store()
        self.line(f"let b = {self.rng.choice(('p < q', 'q > 0', 'x >= 0.0', 'x == x', 'len(s) > 3', 's < str(p)'))}")
        self.add("b", BOOL, False)
        given = [v for v in self.scope if v.type.kind != "store"]
        for _ in range(self.rng.choice((1, 1, 2))):
            self.var()
        for _ in range(count):
            self.statement()
        self.end(name, [(v.name, v.type) for v in self.scope if v not in given])

    def begin(self) -> None:
        """A function that is called from outside: inputs of every kind."""
        self.lines, self.budget = [], 100
        self.at = Place(result=STR)
        self.scope = [Var("p", INT), Var("q", INT), Var("s", STR), Var("x", self.input_float())]

    def end(self, name: str, shown: list[tuple[str, T]]) -> None:
        """The end of one: a text that shows all results."""
        parts = " | ".join(f"{{{v}.items()}}" if t.kind == "store" else f"{{{v}}}" for v, t in shown if self.showable(t))
        self.line(f'return f"{parts}"')
        self.decls.append("\n".join([f"fn {name}(p: int, q: int, x: f64, s: str) -> str:", *self.lines]))

    def driver(self, name: str) -> str:
        """A function that is called from outside and calls what the case declares."""
        self.begin()
        shown: list[tuple[str, T]] = []
        stores = [self.open_store()] if self.store is not None else []
        for fn in self.fns[-2:]:
            places = []
            for t, _ in fn.params:
                if t.kind == "store":
                    places.append(stores[0])
                    continue
                v = self.name("w")
                if fn.name.startswith("rec") and not places:  # its fuel, which nothing may change
                    self.line(f"let {v} = {self.rng.randint(0, 3)}")
                    self.add(v, t, False)
                else:
                    self.line(f"var {v}{f': {t}' if self.needs_type(t) else ''} = {self.expr(t, 2)}")
                    self.add(v, t, True)
                places.append(v)
            args = ", ".join(("mut " if mut else "") + v for v, (_, mut) in zip(places, fn.params))
            if fn.result is None:
                self.line(f"{fn.name}({args})")
            else:
                r = self.name("r")
                self.line(f"let {r} = {fn.name}({args})")
                shown.append((r, fn.result))
            shown += [(v, t) for v, (t, mut) in zip(places, fn.params) if mut and t.kind != "store"]
        for tensors in self.tensor_fns:
            shown += self.call_tensors(tensors)
        for model in self.models:
            shown += self.call_model(model)
        shown += [(m, T("store")) for m in stores]
        self.end(name, shown)
        return name

    def input_float(self) -> T:
        return T("f64")

    def showable(self, t: T) -> bool:
        return not any(p.kind == "fn" for p in self.types.parts(t))
