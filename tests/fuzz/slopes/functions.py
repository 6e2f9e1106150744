"""Functions: recursion, closures, function values, enums and what walks over them, parallel loops, models."""

from __future__ import annotations

from tests.fuzz.slopes.data import Data


class Functions(Data):
    def recursion(self) -> None:
        self.uses("recursion")
        f = self.typed("rec")
        with self.function(f"fn {f}(n: int, a: f64, b: f64) -> f64:", ["a", "b"], ["n"]):
            self.line("if n <= 0:")
            self.line(f"    return {self.real(1)} + a * 0.5")
            if self.chance(0.4):
                self.line(f"if a * b > {self.constant()}:")
                self.line(f"    return {self.real(1)} * 0.5 + b")
            r = self.let(f"{f}(n - 1, {self.calm(1)}, {self.leaf()})", "r")
            two = f" + 0.4 * {f}(n - 2, {self.leaf()}, {r})" if self.chance(0.4) else ""
            self.line(f"return {self.calm()}{two}")
        self.let(f"{f}({self.one('p % 4', '3', 'q', '2')}, {self.real(1)}, {self.leaf()})")

    def mutual(self) -> None:
        self.uses("mutual recursion")
        f, g = self.typed("even"), self.typed("odd")
        for one, other in ((f, g), (g, f)):
            with self.function(f"fn {one}(n: int, a: f64) -> f64:", ["a"], ["n"]):
                self.line(f"return {self.real(1)} + a if n <= 0 else {other}(n - 1, {self.calm()}) * {self.constant()}")
        self.let(f"{f}({self.one('p % 5', '3', 'q')}, {self.real(1)})")

    def over_list(self) -> None:
        """A recursion along a list, by place or by what is left of it."""
        self.uses("recursion along a list")
        f = self.typed("along")
        if self.chance(0.5):
            with self.function(f"fn {f}(xs: list[f64], i: int, a: f64) -> f64:", ["a", "xs[i]"], ["i"]):
                self.line("if i >= len(xs):")
                self.line("    return a")
                self.line(f"return {f}(xs, i + 1, {self.calm()}) + 0.3 * {self.real(1)}")
            self.let(f"{f}(xs, 0, {self.leaf()})")
        else:
            with self.function(f"fn {f}(xs: list[f64], a: f64) -> f64:", ["a"]):
                self.line("match xs:")
                self.line("    case [e, *rest]:")
                self.line(f"        return {f}(rest, {self.expression(['e'])} * 0.5) + e * {self.constant()}")
                self.line("    case _:")
                self.line(f"        return {self.real(1)}")
            self.let(f"{f}({self.one('xs', 'xs[::-1]')}, {self.leaf()})")

    def changed(self) -> None:
        """`mut` parameters."""
        self.uses("mut parameter")
        f, ys = self.typed("put"), self.a_list()
        with self.function(f"fn {f}(mut ys: list[f64], mut s: f64, k: f64) -> f64:", ["k", "ys[0]", "ys[-1]"], variables=["s"]):
            self.line("for i in range(len(ys)):")
            self.line(f"    ys[i] {self.one('*=', '= 0.5 *', '+=')} {self.expression(['ys[i]'], ['i'])}")
            self.line(f"    s {self.one('+= 0.3 *', '-= 0.2 *', '= 0.6 *')} {self.expression(['ys[i]'], depth=1)}")
            if self.chance(0.4):
                self.line("ys.push(s)")
            self.line(f"return {self.real(1)} * k")
        v = self.variable()
        k = self.rng.choice([r for r in self.reals if r != v] or ["x"])
        r = self.let(f"{f}(mut {ys}, mut {v}, {k})", "r")
        if self.chance(0.4):
            self.let(f"{f}(mut {ys}, mut {v}, {r})", "r")
        self.let(f"{ys}[-1] * {v}")

    def closure(self) -> None:
        self.uses("closure")
        g, z = self.name("g"), self.name("z")
        self.line(f"let {g} = fn({z}: f64): {self.expression([z, z])}")
        v = self.variable()
        self.line(f"{v} = {self.calm(1)}")  # what it captured stays
        self.let(f"{g}({self.real(1)})" if self.chance(0.5) else f"{g}({g}({self.leaf()}) * 0.5)")

    def function_values(self) -> None:
        self.uses("list of functions")
        fs, f, z, h = self.name("fs"), self.name("f"), self.name("z"), self.name("h")
        self.line(f"let {fs}: list[fn(f64) -> f64] = [fn({z}): {self.expression([z])}, fn({z}): {self.expression([z])}]")
        s = self.var(self.leaf(), "s")
        if self.chance(0.6):
            self.line(f"for {f} in {fs}:")
            self.line(f"    {s} = {f}({s}) * 0.7")
        else:
            self.line(f"let {h} = {fs}[{self.integer()} % 2]")
            self.line(f"{s} = {h}({self.leaf()}) * {h}({s})")

    def higher(self) -> None:
        """A function that is given one, or gives one."""
        self.uses("function of a function")
        f, z = self.typed("twice"), self.name("z")
        if self.chance(0.5):
            with self.function(f"fn {f}(f: fn(f64) -> f64, a: f64) -> f64:", ["a", "f(a)"]):
                self.line(f"return f({self.calm()}) * {self.constant()} + {self.leaf()}")
            self.let(f"{f}(fn({z}): {self.expression([z])}, {self.leaf()})")
        else:
            with self.function(f"fn {f}(f: fn(f64) -> f64, k: f64) -> fn(f64) -> f64:", ["k", "f(z)", "z"]):
                self.line(f"return fn(z): {self.real()}")
            h = self.name("h")
            self.line(f"let {h} = {f}(fn({z}): {self.expression([z])}, {self.leaf()})")
            self.let(f"{h}({h}({self.leaf()}) * 0.3)")

    def nested_fn(self) -> None:
        self.uses("nested function")
        g, a, n = self.name("g"), self.name("a"), self.name("n")
        self.line(f"fn {g}({n}: int, {a}: f64) -> f64:")
        with self.local([a, a], [n]):
            self.nested(1)
            self.line(f"return {self.real()} + {a} * 0.5")
        self.let(f"{g}({self.integer()}, {self.leaf()}) * {g}(1, {self.leaf()})")

    def generic(self) -> None:
        self.uses("generic function")
        f = self.typed("last")
        self.declare(f"fn {f}[T](xs: list[T], d: T, c: bool) -> T:", "    var r = d", "    for x in xs:", "        if c or len(xs) > 2:", "            r = x",
                     "    return r")  # fmt: skip
        self.let(f"{f}([{self.real(1)}, {self.real(1)}], {self.leaf()}, {self.cond()})")
        if self.chance(0.5):
            self.let(f"sum({f}([xs, [{self.leaf()}]], xs, {self.cond()})) * 0.4")

    def defaults(self) -> None:
        self.uses("defaults")
        f = self.typed("given")
        with self.function(f"fn {f}(a: f64, k: f64 = 0.7, n: int = 2) -> f64:", ["a", "k"], ["n"]):
            self.line(f"return {self.real()} * k + a ** n")
        self.let(f"{f}({self.leaf()}) + {f}(k={self.leaf()}, a={self.leaf()}, n=3)")

    def parallel(self) -> None:
        self.uses("parallel")
        xs, e, i = self.name("l"), self.name("e"), self.name("i")
        self.line(f"let {xs} = parallel [{self.expression([e], [i])} for {i}, {e} in enumerate(xs)]")
        self.let(f"sum({xs}) * 0.4 + {self.read(xs)} * {self.leaf()}")

    def custom(self) -> None:
        self.uses("custom_grad")
        f = self.typed("mul")
        self.declare(f"fn back_{f}(a: f64, b: f64, r: f64, d: f64) -> (f64, f64):", "    return (d * (b + 2.0 * a * b), d * (a + a * a))", "",
                     f"@custom_grad(back_{f})", f"fn {f}(a: f64, b: f64) -> f64:", "    return a * b + a * a * b")  # fmt: skip
        self.let(f"{f}({self.leaf()}, {self.real(1)})")

    def model(self) -> None:
        self.uses("model")
        m, w = self.typed("M"), self.name("m")
        with self.function(f"model {m}(n: int):", ["sum(x * self.w)", "x[0]", "self.w[-1]"], ["k"]):
            self.line("param w: f64[n] = constant(0.4)")
            self.lines.append("")
            self.line("fn forward(x: f64[n], k: int) -> f64:")
            self.line(f"    return {self.real()} + sum(x * self.w)")
        self.line(f"let {w} = {m}(2)")
        given = f"tensor([{self.real(1)}, {self.leaf()}])"
        self.let(f"with_params({w}, {given})(tensor([{self.leaf()}, {self.leaf()}]), {self.integer()})")

    # ---- enums
    def tree(self) -> None:
        """A recursive enum: built by recursion, changed, walked over."""
        self.uses("recursion over an enum")
        t = self.typed("T")
        a, b = f"L{t}", f"N{t}"
        if self.chance(0.7):
            self.declare(f"enum {t}:", f"    {a}(v: f64)", f"    {b}(l: {t}, r: {t}, w: f64)", f"    Z{t}")
            with self.function(f"fn total_{t}(t: {t}, k: f64) -> f64:", ["k", "v"]):
                self.line("match t:")
                guard = f" if v < {self.constant()}" if self.chance(0.4) else ""
                if guard:
                    self.line(f"    case {a}(v){guard}:")
                    self.line(f"        return {self.real(1)}")
                self.line(f"    case {a}(v):")
                self.line(f"        return {self.real()} + v")
                self.line(f"    case {b}(l, r, w):")
                self.line(f"        let a = total_{t}(l, k * w)")
                self.reals = ["k", "w", "a", f"total_{t}(r, {self.one('a', 'k', 'w')} * 0.5)"]
                self.line(f"        return {self.calm()} + a * {self.leaf()}")
                self.line(f"    case Z{t}:")
                self.line("        return k")
            build = self.chance(0.6)
            if build:
                with self.function(f"fn build_{t}(n: int, a: f64) -> {t}:", ["a"], ["n"]):
                    self.line(f"if n <= 0 or a > {self.rng.uniform(0.8, 1.8):.3f}:")
                    self.line(f"    return {self.one(f'Z{t}', f'{a}(a)', f'{a}(a)', f'{a}({self.real(1)})')}")
                    self.line(f"return {b}(build_{t}(n - 1, {self.calm(1)}), build_{t}(n - 2, {self.real(1)}), {self.leaf()})")
            made = f"build_{t}({self.one('3', 'p % 4', 'q')}, {self.leaf()})" if build else (
                f"{b}({a}({self.real(1)}), {b}({a}({self.leaf()}), Z{t}, {self.leaf()}), {self.real(1)})")
            v = self.name("t")
            self.line(f"var {v} = {made}")
            if self.chance(0.8):
                self.uses("enum rebuilt")
                with self.function(f"fn map_{t}(t: {t}, k: f64) -> {t}:", ["v", "k"]):
                    self.line("match t:")
                    self.line(f"    case {a}(v):")
                    self.line(f"        return {a}({self.real()})")
                    self.line(f"    case {b}(l, r, w):")
                    self.line(f"        return {b}(map_{t}(r, k * w), map_{t}(l, k), w * 0.5)")
                    self.line("    case _:")
                    self.line("        return t")
                self.line(f"{v} = map_{t}({v}, {self.leaf()})")
            self.let(f"total_{t}({v}, {self.leaf()})")
        else:
            self.declare(f"enum {t}:", f"    {a}(v: f64, n: int)", f"    {b}(kids: list[{t}], w: f64)")
            with self.function(f"fn total_{t}(t: {t}) -> f64:", ["s", "w"]):
                self.line("match t:")
                self.line(f"    case {a}(v=v, n=n):")
                self.line(f"        return {self.one('sin(v) * n', 'v * v + n', 'tanh(v * n)')}")
                self.line(f"    case {b}(kids, w):")
                self.line("        var s: f64 = 0.5")
                self.line("        for k in kids:")
                self.line(f"            s = s * {self.constant()} + {self.expression([f'total_{t}(k)'], depth=1)} * 0.5")
                self.line(f"        return {self.calm()} + s * w")
            v, e = self.name("t"), self.name("e")
            self.line(f"let {v} = {b}([{a}({self.real(1)}, {self.integer()}), {b}([{a}({e}, 2) for {e} in xs], {self.leaf()})], {self.leaf()})")
            self.let(f"total_{t}({v})")

    def cases(self) -> None:
        """Values of an enum in a list, replaced while a loop walks over them."""
        self.uses("enum in a list")
        t = self.typed("C")
        a, b = f"A{t}", f"B{t}"
        self.declare(f"enum {t}:", f"    {a}(r: f64)", f"    {b}(w: f64, h: f64)", f"    O{t}")
        ts, i, e, m, k = (self.name(s) for s in "tiemk")
        self.line(f"var {ts} = [{a}({self.expression([e], depth=1)}) if {e} > {self.constant()} else {b}({e}, {self.leaf()}) for {e} in xs]")
        if self.chance(0.5):
            self.line(f"{ts}.push(O{t})")
        s = self.var(self.leaf(), "s")
        self.line(f"for {i} in range(len({ts})):")
        with self.within(ints=[i]):
            self.line(f"match {ts}[{i}]:")
            self.at.blocks += 1
            self.line(f"case {a}({m}):")
            with self.within([m]):
                self.line(f"{ts}[{i}] = {b}({self.real(1)}, {s})")
            self.line(f"case {b}({m}, {k}):")
            with self.within([m, k]):
                self.line(f"{s} += 0.3 * {self.calm()}")
            self.line("case _:")
            self.line(f"    {self.one('pass', 'break', 'continue', f'{s} *= 0.5')}")
            self.at.blocks -= 1
        self.line(f"match {ts}[0]:")
        self.line(f"    case {b}({m}, {k}):")
        self.line(f"        {s} += {m} * {k}")
        self.line("    case _:")
        self.line(f"        {s} = {s} * {s}")

    def handed_on(self) -> None:
        """Lists that turns and functions make of lists and hand on, read in loops within, changed later or not."""
        self.uses("list handed on")
        f, h, m, other = self.typed("made"), self.a_list(), self.name("l"), self.name("l")
        i, j, e = self.name("i"), self.name("j"), self.name("e")
        with self.function(f"fn {f}(ys: list[f64], k: f64) -> list[f64]:", ["k"]):
            if self.chance(0.3):
                self.line("if k > 0.4:")
                self.line("    return ys")
            self.line(f"var made = [{self.expression([e], depth=1)} for {e} in ys]")
            if self.chance(0.3):
                self.line(f"made[0] = {self.calm(1)}")
            self.line("return made")
        self.line(f"for {i} in range({self.rng.randint(2, 4)}):")
        self.loops += 2
        with self.within(ints=[i]):
            new = f"[{self.expression([e], [i], 1)} for {e} in {h}]"
            self.line(f"var {m} = " + self.one(f"{f}({h}, {self.leaf()})", new, f"{new} if {i} % 2 == 0 else {h}", f"{h}[1:] + [{self.leaf()}]", h))
            self.line(f"for {j} in range(len({m})):")
            with self.within([f"{m}[{j}]", f"{h}[{j} % len({h})]", f"{m}[({j} + 1) % len({m})]"], [j]):
                self.line(f"{self.variable()} += 0.2 * sin({m}[{j}] * {self.real(1)})")
            for _ in range(self.rng.randint(0, 2)):
                self.line(self.one(f"{h} = {m}", f"{h}[0] = {self.calm(1)}", f"{m}[0] = {self.calm(1)}", f"{h} = {f}({m}, {self.leaf()})",
                                   f"{h}, {m} = {m}, {h}"))  # fmt: skip
            if self.chance(0.3):
                self.line(f"var {other} = {m}")
                self.line(f"{other}[-1] *= {self.calm(1)}")
                self.line(f"{h} = {self.one(m, other)}")
        self.loops -= 2
        self.let(f"sum({h}) * 0.3 + {self.read(h)} * {self.leaf()}")
