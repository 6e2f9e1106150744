"""Small tensors: kernels, products, updates of elements and slices, loops over rows, tensors within other values."""

from __future__ import annotations

from tests.fuzz.slopes.derivatives import Derivatives

MAPS = "sin cos tanh sigmoid silu softplus erf gelu relu abs".split()


class Tensors(Derivatives):
    def vector(self) -> str:
        """A vector as long as `xs`, in a variable."""
        t = self.name("t")
        given = ["stack(xs)", "stack(xs)", "w", "w * 1.0"] if self.kind == "tensor" else ["stack(xs)"]
        self.line(f"var {t} = {self.along(self.rng.choice(given), 1)}")
        return t

    kind = ""
    """What the function is differentiated by, beside a float."""

    def along(self, t: str, depth: int | None = None) -> str:
        """A vector of the same length, element by element."""
        if depth is None:
            depth = self.rng.choice((1, 1, 2))
        if depth <= 0:
            return t
        a = self.along(t, depth - 1)
        return self.one(
            f"{self.rng.choice(MAPS)}({a})", f"{self.rng.choice(MAPS)}({a} * {self.leaf()})", f"({a} * {self.leaf()} + {t})", f"({a} * {t})", f"({a} - {self.constant()})",
            f"({a} / ({t} * {t} + 0.6))", f"where({t} > {self.constant()}, {a}, {t} * {self.leaf()})", f"maximum({a}, {t} * 0.5)", f"clamp({a}, -0.617, 0.813)",
            f"exp(tanh({a}))", f"sqrt({a} * {a} + 0.3)", f"flip({a}, 0)", f"softmax({a})", f"cumsum({a}, axis=0)", f"({a} ** 2)")  # fmt: skip

    def whole(self, t: str) -> str:
        """A float of a vector."""
        return self.one(f"sum({t})", f"sum({t} * {t}) * 0.3", f"mean({t})", f"max({t})", f"min({t})", f"logsumexp({t})", f"dot({t}, {t}) * 0.3", f"norm({t} + 0.1)",
                                f"{t}[0]", f"{t}[-1] * {t}[0]", f"prod({t} * 0.5 + 1.0)")  # fmt: skip

    def kernel(self) -> None:
        self.uses("kernel")
        t, u = self.vector(), self.name("t")
        self.line(f"let {u} = {self.along(t)}")
        self.let(f"{self.whole(u)} + {self.whole(t)}")

    def product(self) -> None:
        self.uses("matrix product")
        t, m, u = self.vector(), self.name("m"), self.name("t")
        self.line(f"let {m} = outer({t}, {self.along(t, 1)}) * {self.leaf()}")
        made = (f"{m} @ {t}", f"{t} @ {m}", f"{m}.T @ {self.along(t, 1)}", f'einsum("ij,jk->ik", {m}, {m}.T)[0]', f"({m} @ {m})[-1]")
        self.line(f"let {u} = {self.one(*made)}")
        self.let(self.one(self.whole(u), f"sum({u} * {t})", f'einsum("ii->", {m}) * {u}[0]'))

    def matrix(self) -> None:
        """Rows, columns, and sums along an axis."""
        self.uses("axes")
        t, m, u = self.vector(), self.name("m"), self.name("t")
        self.line(f"let {m} = {self.one(f'outer({t}, {self.along(t, 1)})', f'stack([{t}, {self.along(t, 1)}])', f'unsqueeze({t}, 0) + unsqueeze({t} * {self.leaf()}, 1)')}")
        a = self.one("0", "1")
        made = (f"sum({m}, axis={a})", f"max({m}, axis={a})", f"mean(sin({m}), axis={a})", f"softmax({m}, axis={a})[0]", f"logsumexp({m}, axis={a})", f"{m}[:, 0]", f"{m}[-1]",
                f"{m}.T[0]", f"sort({m}, axis=1)[0]", f"cumsum({m}, axis={a})[-1]", f"({m} + {m}[0])[1]", f"({m} * unsqueeze(sum({m}, axis=1), 1))[0]")  # fmt: skip
        self.line(f"let {u} = {self.rng.choice(made)}")
        self.let(f"{self.whole(u)} + sum({m}) * {self.leaf()}")

    def elements(self) -> None:
        """Elements that a loop reads and changes."""
        self.uses("tensor updated in place")
        t, i = self.vector(), self.name("i")
        self.line(f"for {i} in range(len({t})):")
        self.loops += 1
        with self.within([f"{t}[{i}]", f"{t}[{i} - 1]", f"{t}[0]"], [i]):
            if self.chance(0.25):
                jumps, returns, self.jumps, self.returns = self.jumps, self.returns, True, False
                self.leave()
                self.jumps, self.returns = jumps, returns
            at = self.one(i, i, "-1", f"({i} + 1) % len({t})")
            self.line(f"{t}[{at}] {self.one('=', '+= 0.3 *', '*= 0.5 +')} {self.calm()}")
            if self.chance(0.3):
                self.update()
        self.loops -= 1
        self.let(self.whole(t))

    def slices_of_tensors(self) -> None:
        self.uses("slice of a tensor")
        t = self.vector()
        for _ in range(self.rng.randint(1, 2)):
            self.line(self.one(
                f"{t}[1:] += {t}[:-1] * {self.leaf()}", f"{t}[:-1] -= {t}[1:] * 0.5", f"{t}[:1] = {t}[-1:] * {self.leaf()}", f"{t}[1:] *= {t}[0] + {self.leaf()}",
                f"{t}[tensor([0, 0, 1])] += stack([{self.leaf()}, {self.leaf()}, {t}[0]])", f"{t} = concat({t}[1:], {t}[:1])", f"{t} = {t}[argsort(stop_gradient({t}))]",
                f"{t}[{self.integer()} % len({t})] = {self.real(1)}", f"{t}[1:] = {t}[:-1]"))  # fmt: skip
        self.let(f"{self.whole(t)} + {t}[0] * {t}[1]")

    def matrix_in_place(self) -> None:
        self.uses("matrix updated in place")
        t, m, i = self.vector(), self.name("m"), self.name("i")
        self.line(f"var {m} = outer({t}, {t} * {self.leaf()})")
        if self.chance(0.5):
            self.line(f"for {i} in range(len({t})):")
            with self.within([f"{m}[{i}, 0]", f"{t}[{i}]"], [i]):
                self.line(self.one(f"{m}[{i}] = {m}[{i} - 1] * {self.leaf()}", f"{m}[{i}, 1:] += {t}[1:] * {self.calm(1)}", f"{m}[:, {i}] -= {m}[:, 0] * {t}[{i}]",
                                           f"{m}[{i}, {i}] = {self.calm()}", f"{m}[0] += {m}[{i}] * 0.5"))  # fmt: skip
        else:
            self.line(self.one(f"{m}[0] = {t} * {self.leaf()}", f"{m}[:, 1] = {t} * {t}", f"{m}[1:, :1] += {self.leaf()}", f"{m}[0, 1] *= {self.leaf()}",
                                       f"{m}[tensor([1, 0])] += stack([{t}, {t} * {self.leaf()}])"))  # fmt: skip
        self.let(self.one(f"sum({m} * {m}) * 0.2", f"sum({m} @ {t}) + {m}[0, 1]", f"{m}[1, 0] * {m}[0, -1] + sum({m}[:, 0])"))

    def rows(self) -> None:
        """A loop over rows or elements."""
        self.uses("for over a tensor")
        t, e, i = self.vector(), self.name("e"), self.name("i")
        s = self.var(self.leaf(), "s")
        if self.chance(0.5):
            self.line(f"for {i}, {e} in enumerate({t}):")
            self.loops += 1
            with self.within([e, e], [i]):
                self.nested(1)
                self.line(f"{s} = 0.5 * {s} + {self.calm(1)} * {e}")
            self.loops -= 1
        else:
            self.line(f"for {e} in outer({t}, {self.along(t, 1)}):")
            with self.within([f"sum({e})", f"{e}[0]"]):
                self.line(f"{s} = 0.5 * {s} + {self.calm()} * {self.whole(e)}")

    def many(self) -> None:
        """Tensors in a list, a map, an option, a struct."""
        self.uses("tensors in containers")
        t, c, i = self.vector(), self.name("c"), self.name("i")
        match self.rng.randint(0, 3):
            case 0:
                self.line(f"var {c} = [{t}]")
                self.line(f"for {i} in range({self.one('2', 'p % 3', '3')}):")
                self.line(f"    {c}.push({self.along(f'{c}[-1]', 1)} * {self.leaf()} + {c}[0])")
                if self.chance(0.5):
                    self.line(f"{c}[0][{self.one('0', '1')}] = {c}[-1][0] * {self.leaf()}")
                self.let(self.one(f"sum(stack({c})) * 0.3", f"{self.whole(f'{c}[-1]')} + {c}[0][1]", f"sum({c}.fold({t}, fn(a, h): a * 0.5 + h))"))
            case 1:
                self.line(f"var {c} = {{0: {t}, 1: {self.along(t, 1)}}}")
                self.line(f"{c}[{self.integer()} % 2] {self.one('+=', '*=')} {t} * {self.leaf()}")
                self.line(f"{c}[0][1] = {self.leaf()}")
                self.let(f"sum({c}[0] * {c}[1])")
            case 2:
                self.line(f"var {c}: f64[?]? = none")
                self.line(f"if {self.cond()}:")
                self.line(f"    {c} = {self.along(t, 1)}")
                self.let(self.whole(f"({c} ?? {t})"))
            case _:
                s = self.typed("V")
                self.declare(f"struct {s}[N]:", "    h: f64[N]", "    c: f64[N]")
                with self.function(f"fn step_{s}(s: {s}[N], k: f64) -> {s}[N]:", ["k", "s.c[0]"]):
                    self.line(f"let h = {self.along('s.h', 1)} * 0.7 + s.c * k")
                    self.line(f"return {s}(h=h, c={self.along('h', 1)})")
                self.line(f"var {c} = {s}(h={t}, c={t} * 0.5)")
                self.line(f"for {i} in range({self.one('2', 'q')}):")
                self.line(f"    {c} = step_{s}({c}, {self.leaf()})")
                self.let(self.whole(f"({c}.h * {c}.c)"))

    def named_sizes(self) -> None:
        """A function whose parameters' sizes have names."""
        self.uses("sizes by name")
        f, t = self.typed("layer"), self.vector()
        with self.function(f"fn {f}(a: f64[N], m: f64[N, M], k: f64) -> f64[M]:", ["k", "a[0]", "m[0, 0]"], ["N", "M"]):
            self.line(f"var h = {self.along('a', 1)} @ m")
            if self.chance(0.5):
                self.line(f"h[M - 1] = {self.real(1)}")
            self.line(f"return {self.along('h', 1)}")
        u = self.name("t")
        self.line(f"let {u} = {f}({t}, outer({t}, {self.one(t, f'{t}[1:]', f'tensor([{self.leaf()}, {self.leaf()}])')}), {self.leaf()})")
        self.let(self.whole(u))

    def layers(self) -> None:
        self.uses("layers")
        t = self.vector()
        u = self.name("t")
        made = (f"layer_norm({t}, {t} * {self.leaf()}, {t}, eps=0.1)", f"rms_norm({t}, {t} + 1.0, eps=0.2)", f"log_softmax({t} * {self.leaf()})",
                f"softmax({t}) * {self.leaf()}", f"pad({t}, [1, 1]) * {self.leaf()}", f"gather({t}, 0, tensor([0, 0, 1]))", f"sort({t}, axis=0)", f"topk({t}, 2)[0]",
                f"{t}[{t} < {self.constant()}]", f"concat({t}, {t} * {self.leaf()})", f"split(concat({t}, {t} * {t}), 2)[1]",
                f"f64(one_hot({self.integer()} % 2, len({t}))) * {t}")  # fmt: skip
        self.line(f"let {u} = {self.one(*made)}")
        self.let(f"sum({u} * {u}) * 0.3 + sum({u})")
