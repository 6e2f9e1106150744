"""Differentiable programs: a loss through whatever there is, its derivative beside central differences."""

from __future__ import annotations

from tests.fuzz.base import Place, Var
from tests.fuzz.functions import Functions
from tests.fuzz.types import BOOL, INT, R64, STR, T, fn_of, list_of, map_of, option, tuple_of

XS = list_of(R64)
CLOSE = """fn close(a: f64, b: f64) -> bool:
    return abs(a - b) <= 1e-4 * (1.0 + max(abs(a), abs(b))) or not (abs(a) < 1e9) or not (abs(b) < 1e9)"""


class Gradients(Functions):
    def loss(self, name: str) -> None:
        """Declares `name(p, x, xs, w, q)`, differentiable by x, xs and w."""
        self.smooth = True
        self.scalars = (R64, R64, R64, R64, INT, INT, BOOL)
        common = [XS, XS, map_of(INT, R64), tuple_of(R64, INT), option(R64), list_of(XS), fn_of(R64, R64), fn_of(R64, INT, R64), T("deque", (R64,)),
                  list_of(tuple_of(INT, R64)), map_of(INT, XS), option(XS), map_of(STR, R64), tuple_of(R64, XS)]  # fmt: skip
        self.pool = self.rng.sample(common, self.rng.randint(1, 4))
        for _ in range(self.rng.choice((0, 1, 1, 2))):
            self.declare_struct() if self.chance(0.5) else self.declare_enum()
        self.functions(self.rng.choice((0, 1, 1, 2)))
        if self.chance(0.5):
            self.tensor_loss(name)
        else:
            self.general_loss(name)

    def general_loss(self, name: str) -> None:
        self.lines, self.at, self.budget = [], Place(result=R64), 30
        self.scope = [Var("p", INT), Var("x", R64), Var("xs", XS), Var("q", INT)]
        self.line("var y = x * 0.5")
        self.add("y", R64, True)
        self.line("var total = 0.0 * x")
        self.line("for each in xs:")
        self.line("    total += each * each * 0.25")
        self.add("total", R64, True)
        self.line_budget(self.limits.statements + 2)
        self.finish(name, "total + y")

    def tensor_loss(self, name: str) -> None:
        self.dims = self.rng.choice((("N",), ("N", "2"), ("N", "3")))
        self.lines, self.at, self.budget = [], Place(result=R64), 20
        vector = T("tensor", (R64,), "N")
        self.scope = [Var("p", INT), Var("x", R64), Var("t", vector), Var("q", INT)]
        self.line("var y = x * 0.5")
        self.add("y", R64, True)
        self.line("let t: f64[N] = w * 2.0")
        self.line_budget(self.limits.statements + 1)
        self.finish(name, "sum(w * w) * 0.5 + y")
        self.dims = ()

    def finish(self, name: str, rest: str) -> None:
        tensors = bool(self.dims)
        self.line(f"return {self.expr(R64, 3)} + {rest} + x * 0.125 + sum({'w' if tensors else 'xs'}) * 0.25")
        second = "w: f64[N]" if tensors else "xs: list[f64]"
        self.decls.append("\n".join([f"fn {name}(p: int, x: f64, {second}, q: int) -> f64:", *self.lines]))
        self.second = "w" if tensors else "xs"

    def slopes(self, driver: str, name: str) -> None:
        """The function that is called from outside: derivatives, and whether central differences agree."""
        second = self.second
        made = "[0.3, -0.7, x * 0.5]" if second == "xs" else "sin(f64(arange((q & 1) + 2)) * 0.7 + 0.3)"
        order = ("x", second) if self.chance(0.7) else (second, "x")
        found = {"x": "gx", second: "gs"}
        lines = [
            f"fn {driver}(p: int, q: int, x0: f64, s: str) -> str:",
            "    let x = f64(p % 7) * 0.13 + f64(q % 5) * 0.2 - 0.4",
            f"    let {second}{': list[f64]' if second == 'xs' else ''} = {made}",
            f"    let v, ({', '.join(found[n] for n in order)}) = value_and_grad({name}, wrt=({', '.join(repr(n) for n in order)}))(p, x, {second}, q)".replace("'", '"'),
            "    var good = false",
            "    let widths: list[f64] = [1e-5, 1e-7, 1e-8, 1e-10]",  # narrower where it bends much
            "    for h in widths:",
            "        if not good:",
            f"            good = close(gx, ({name}(p, x + h, {second}, q) - {name}(p, x - h, {second}, q)) / (2.0 * h))",
            f"            for i in range(len({second})):",
            f"                var up = {second}",
            f"                var down = {second}",
            "                up[i] += h",
            "                down[i] -= h",
            f"                if not close(gs[i], ({name}(p, x, up, q) - {name}(p, x, down, q)) / (2.0 * h)):",
            "                    good = false",
            "    let text = f\"{v} {gx} {gs}\"",
            "    return text if good else f\"WRONG SLOPE {text}\"",
        ]  # fmt: skip
        if not any(d == CLOSE for d in self.decls):
            self.decls.append(CLOSE.replace("close(", f"close_{self.prefix}("))
        self.decls.append("\n".join(lines).replace("close(", f"close_{self.prefix}("))
