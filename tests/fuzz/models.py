"""Models with parameters, submodels and state, and functions that build and use them."""

from __future__ import annotations

from tests.fuzz.base import Place, Var
from tests.fuzz.tensors import Tensors, tensor
from tests.fuzz.types import BOOL, INT, R32, T

INITS = ("zeros()", "ones()", "glorot()", "normal(0.5)", "uniform(-1.0, 1.0)", "constant(0.25)", "he()")


class Models(Tensors):
    def model(self) -> str:
        """Declares a model over a width `n`: forward, a method that changes state, sometimes a submodel."""
        name = self.name(f"M{self.prefix}_")
        lines = [f"model {name}(n: int, flag: bool = true):"]
        params: list[tuple[str, T]] = []
        for i in range(self.rng.randint(1, 3)):
            t = self.rng.choice((tensor(R32, "n"), tensor(R32, "n", "n"), tensor(R32, "2", "n")))
            init = self.rng.choice(INITS[:2] + INITS[3:6] if t.name == "n" else INITS)
            lines.append(f"    param w{i}: {t} = {init}")
            params.append((f"w{i}", t))
        inner = self.chance(0.5)
        if inner:
            lines.append(f"    let inner = {self.rng.choice(('Linear(n, n)', 'Linear(n, n, bias=false)', 'LayerNorm(n)', 'MLP(n, 3, n, depth=2)', 'GRUCell(n, n)'))}")
        cell = inner and "GRU" in lines[-1]
        lines += ["    state s: f32[n] = zeros()", "    state count: int = 0", "    state seen: list[int] = []"]
        saved = self.scope, self.at, self.lines, self.budget, self.dims
        self.dims = ("n", "2")
        vector = tensor(R32, "n")
        scope = [Var(f"self.{p}", t) for p, t in params] + [Var("self.s", vector), Var("self.count", INT)]
        for head, result, changes in ((f"fn forward(x: f32[n]) -> {vector}:", vector, False), (f"fn score(x: f32[n], k: int) -> {R32}:", R32, False),
                                      (f"mut fn step(x: f32[n], k: int) -> {INT}:", INT, True)):  # fmt: skip
            self.lines, self.at, self.budget = [], Place(result=result, blocks=1), 6
            self.scope = [*scope, Var("x", vector)] + ([Var("k", INT)] if "k: int" in head else [])
            if inner:
                h = self.name("h")
                self.line(f"let {h} = self.inner(x{', tanh(self.s)' if cell else ''})")
                self.add(h, vector, False)
            for _ in range(self.rng.randint(0, 3)):
                self.statement()
            if changes:
                self.line("self.count += 1")
                self.line(f"if {self.cond(2)}:")
                self.line(f"    self.s = {self.bounded(vector)}")
                self.line("self.seen.push(self.count)")
            self.line(f"return {self.expr(result, 3)}")
            lines += ["", f"    {head}", *self.lines]
        self.scope, self.at, self.lines, self.budget, self.dims = saved
        self.decls.append("\n".join(lines))
        return name

    def call_model(self, name: str) -> list[tuple[str, T]]:
        """Lines that build one and use it; what to show."""
        n = self.rng.choice((1, 2, 3, 5))
        m, x = self.name("model"), self.name("w")
        shown: list[tuple[str, T]] = []
        vector = tensor(R32, str(n))
        self.line(f"var {m} = {name}({n}, seed={self.rng.choice(('0', '3', 'p & 7'))})")
        self.line(f"var {x} = f32(arange({n}) * (q & 3)) * 0.25 - 0.5")
        for _ in range(self.rng.randint(1, 5)):
            r = self.name("r")
            match self.rng.randint(0, 7):
                case 0:
                    self.line(f"let {r} = {m}({x})")
                    shown.append((r, vector))
                case 1:
                    self.line(f"let {r} = {m}.score({x}, {self.expr(INT, 1)})")
                    shown.append((r, R32))
                case 2 | 3:
                    self.line(f"let {r} = {m}.step({x}, {self.expr(INT, 1)})")
                    shown.append((r, INT))
                case 4:
                    self.line(f"set_params(mut {m}, tanh(params({m}) * 0.5))")
                case 5:
                    self.line(f"let {r} = [with_params({m}, params({m}) * f32(i)).score({x}, i) for i in range(3)]")
                    shown.append((r, T("list", (R32,))))
                case 6:
                    self.line(f"let {r} = {m}")
                    self.line(f"let {r}b = {m}.step({x}, 1)")
                    self.line(f"let {r}c = {r} == {m}")
                    shown += [(f"{r}b", INT), (f"{r}c", BOOL)]
                case _:
                    self.line(f"{x} = {x} * 0.5 + {m}({x})")
                    self.line(f"{x} = tanh({x})")
        r = self.name("r")
        self.line(f"let {r} = (sum(params({m})), num_params({m}), {m}.s, {m}.count, {m}.seen)")
        return [*shown, (r, R32)]
