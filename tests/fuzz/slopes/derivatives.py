"""Derivatives within what is differentiated, and what is computed again."""

from __future__ import annotations

from tests.fuzz.slopes.functions import Functions


class Derivatives(Functions):
    def checkpointed(self) -> None:
        self.uses("checkpoint")
        f = self.typed("again")
        with self.function(f"fn {f}(xs: list[f64], a: f64, n: int) -> f64:", ["a", "xs[0]", "xs[-1]"], ["n"], ["s"]):
            self.line("var s = a * 0.5")
            self.nested()
            self.line("for e in xs:")
            self.line(f"    s = {self.expression(['e'])} * 0.4 + s")
            self.line(f"return {self.real(1)} + s")
        self.let(f"checkpoint({f})(xs, {self.leaf()}, {self.integer()})")

    def second(self) -> None:
        """A derivative of a function of a float, which captures others."""
        self.uses("grad in grad")
        z = self.name("z")
        f = f"fn({z}: f64): {self.expression([z, z])} + {z} * {z} * {self.leaf()}"
        match self.rng.randint(0, 3):
            case 0:
                self.let(f"grad({f})({self.leaf()})")
            case 1:
                v, g = self.name("v"), self.name("g")
                self.line(f"let {v}, {g} = value_and_grad({f})({self.leaf()})")
                self.let(f"{v} * {g}")
            case 2:
                h, i = self.name("h"), self.name("i")
                v = self.var(self.calm(1), "z")
                self.line(f"let {h} = {f}")
                self.line(f"for {i} in range({self.one('2', '3', 'p % 3')}):")
                self.line(f"    {v} -= 0.2 * tanh(grad({h})({v}))")
            case _:
                h = self.name("h")
                self.line(f"let {h} = {f}")
                self.let(f"grad(fn({z}: f64): grad({h})({z}) * {z})({self.leaf()})")

    def second_of_function(self) -> None:
        """Of a function of the file, with control flow of its own, by one or two of its parameters."""
        self.uses("grad of a function")
        f = self.typed("inner")
        with self.function(f"fn {f}(a: f64, b: f64, n: int) -> f64:", ["a", "b"], ["n"], ["s"]):
            self.line("var s = a * b")
            self.nested()
            self.line(f"return {self.real()} + s * a * b")
        given = f"({self.leaf()}, {self.leaf()}, {self.integer()})"
        kind = self.rng.randint(0, 2)
        if kind == 0:
            self.let(f'grad({f}, wrt="{self.rng.choice("ab")}"){given}')
        elif kind == 1:
            v, a, b = self.name("v"), self.name("a"), self.name("b")
            self.line(f'let {v}, ({a}, {b}) = value_and_grad({f}, wrt=("a", "b")){given}')
            self.let(f"{v} * {a} + {b}")
        else:
            self.uses("jvp")
            self.let(f"jvp({f}){given[:-1]}, {self.leaf()})[1]")

    def second_by_container(self) -> None:
        """The derivative by a list, a map, a struct, or an option."""
        self.uses("grad by a container")
        g, z, k = self.name("g"), self.name("z"), self.name("k")
        match self.rng.randint(0, 2):
            case 0:
                f = f"fn({z}: list[f64]): {self.expression([f'{z}[0]', f'{z}[-1]', f'sum({z})'])} + {z}[0] * {z}[-1] * {self.leaf()}"
                self.line(f"let {g} = grad({f})(xs)")
                self.let(f"sum({g}) * {g}[0]")
            case 1:
                f = f"fn({z}: map[int, f64]): {self.expression([f'{z}[0]', f'{z}[1]'])} + {z}[0] * {z}[1] * {self.leaf()}"
                self.line(f"let {g} = grad({f})({{0: {self.leaf()}, 1: {self.leaf()}}})")
                self.let(f"sum([{k} * {k} for {k} in {g}.values()])")
            case _:
                s = self.typed("P")
                self.declare(f"struct {s}:", "    a: f64", "    n: int", "    b: (f64, f64)")
                f = f"fn({z}: {s}): {self.expression([f'{z}.a', f'{z}.b[0]', f'{z}.b[1]'], [f'{z}.n'])} + {z}.a * {z}.b[1]"
                self.line(f"let {g} = grad({f})({s}({self.leaf()}, 2, ({self.leaf()}, {self.leaf()})))")
                self.let(f"{g}.a * {g}.b[1] + {g}.b[0]")

    def second_of_tensor(self) -> None:
        self.uses("grad by a tensor")
        g, z = self.name("g"), self.name("z")
        f = f"fn({z}: f64[?]): {self.expression([f'sum({z} * {z})', f'{z}[0]', f'sum(sin({z}))'])} * {self.leaf()} + sum({z} * {z} * {z})"
        kind = self.rng.randint(0, 2)
        if kind == 0:
            self.line(f"let {g} = grad({f})(stack(xs))")
        else:
            self.uses("hvp")
            self.line(f"let {g} = hvp({f})(stack(xs), stack(xs) * {self.leaf()})")
        self.let(f"sum({g} * {g}) * 0.1 + {g}[0]")

    def forward(self) -> None:
        self.uses("jvp")
        z = self.name("z")
        f = f"fn({z}: f64): [{self.expression([z, z])}, {z} * {self.leaf()}]"
        v, d = self.name("v"), self.name("d")
        self.line(f"let {v}, {d} = jvp({f})({self.leaf()}, {self.real(1)})")
        self.let(f"{v}[0] * {d}[1] + {d}[0]")

    def jacobians(self) -> None:
        self.uses("jacobian")
        j, z = self.name("j"), self.name("z")
        f = f"fn({z}: f64[?]): {self.one(f'{z} * sum({z})', f'sin({z}) * {z}[0]', f'{z} * {z}')} * {self.leaf()}"
        self.line(f"let {j} = jacobian({f})(stack(xs))")
        self.let(f"sum({j} * {j}) * 0.1 + {j}[0, 0] * {j}[-1, 0]")

    def second_by_enum(self) -> None:
        self.uses("grad by an enum")
        t, g = self.typed("H"), self.name("g")
        self.declare(f"enum {t}:", f"    F{t}(x: f64)", f"    X{t}(l: {t}, x: f64)")
        with self.function(f"fn value_{t}(e: {t}) -> f64:", ["x"]):
            self.line("match e:")
            self.line(f"    case F{t}(x):")
            self.line(f"        return {self.real()} + x * x")
            self.line(f"    case X{t}(l, x):")
            self.reals = ["x", f"value_{t}(l)"]
            self.line(f"        return {self.real()} + value_{t}(l) * x * x")
        self.line(f"let {g} = grad(value_{t})(X{t}(X{t}(F{t}({self.leaf()}), {self.leaf()}), {self.real(1)}))")
        self.let(f"value_{t}({g}) * 0.3")
