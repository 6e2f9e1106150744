"""Containers and structs of floats that carry derivatives: made, changed in place, read."""

from __future__ import annotations

from tests.fuzz.slopes.control import Control


class Data(Control):
    # ---- lists
    def a_list(self) -> str:
        """A list of floats that is not empty, in a variable."""
        xs, e, j = self.name("l"), self.name("e"), self.name("j")
        match self.rng.randint(0, 5):
            case 0:
                self.line(f"var {xs} = xs")
            case 1:
                self.uses("comprehension")
                with_e = self.expression([e])
                self.line(f"var {xs} = [{with_e} for {e} in xs]")
            case 2:
                self.uses("comprehension")
                self.line(f"var {xs} = [{self.expression([e], [j])} for {j}, {e} in enumerate(xs)]")
            case 3:
                self.line(f"var {xs}: list[f64] = [{', '.join(self.real(1) for _ in range(self.rng.randint(2, 4)))}]")
            case 4:
                self.line(f"var {xs}: list[f64] = [{self.leaf()}]")
                self.line(f"for {j} in range({self.rng.randint(1, 4)}):")
                with self.within([f"{xs}[-1]"], [j]):
                    self.line(f"{xs}.push({self.calm(1)})")
            case _:
                self.line(f"var {xs} = xs + [{self.real(1)}]")
        return xs

    def expression(self, reals=(), ints=(), depth: int | None = None) -> str:
        """One of more floats than are in scope."""
        saved = list(self.reals), list(self.ints)
        self.reals += [*reals, *reals]
        self.ints += ints
        text = self.real(depth)
        self.reals, self.ints = saved
        return text

    def built(self) -> None:
        self.uses("list")
        xs = self.a_list()
        self.let(self.one(f"sum({xs}) * 0.3", f"{self.read(xs)} * {self.read(xs)}", f"max({xs}) * {self.read(xs)}", f"min({xs}) + {self.read(xs)}"))

    def in_place(self) -> None:
        """Elements that a loop changes."""
        self.uses("update in place")
        xs, i = self.a_list(), self.name("i")
        self.line(f"for {i} in range({self.one(f'len({xs})', f'len({xs})', '3')}):")
        self.loops += 1
        with self.within([self.read(xs), f"{xs}[{i} % len({xs})]", f"{xs}[{i} - 1]" if self.chance(0.3) else f"{xs}[0]"], [i]):
            at = self.one(f"{i} % len({xs})", f"({i} + 1) % len({xs})", f"{i} * 2 % len({xs})", "0")
            self.line(f"{xs}[{at}] {self.one('= 0.8 *', '+= 0.2 *', '-= 0.2 *')} {self.calm()}" if self.chance(0.7) else f"{xs}[{at}] *= {self.real(1)}")
            if self.chance(0.3):
                self.update()
        self.loops -= 1
        self.let(f"sum({xs}) * 0.4" if self.chance(0.5) else f"{self.read(xs)} * {self.read(xs)}")

    def slices(self) -> None:
        self.uses("slice of a list")
        xs, ys = self.a_list(), self.name("l")
        cut = self.one(":2", "1:", "::-1", "::2", "-2:", f":{self.integer()} % 3 + 1")
        if self.chance(0.5):
            self.line(f"{xs}[{self.one('0:1', '1:2', '0:2', ':0')}] = [{self.real(1)}, {self.real(1)}]")
        self.line(f"let {ys} = {xs}[{cut}]")
        self.let(f"sum({ys}) * {self.leaf()} + {self.read(xs)}")

    def list_methods(self) -> None:
        self.uses("methods of lists")
        xs = self.a_list()
        for _ in range(self.rng.randint(1, 3)):
            self.line(self.one(
                f"{xs}.insert({self.rng.randint(0, 2)}, {self.calm(1)})", f"{xs}.push({self.real(1)})", f"{xs}.reverse()", f"{xs}.extend(xs[:1])",
                f"{xs}.sort()", f"{xs}.sort(key=fn(z): -z * z)", f"{xs}.insert(0, {xs}.pop() * {self.leaf()})", f"{xs}[0], {xs}[-1] = {xs}[-1], {xs}[0]"))  # fmt: skip
        self.let(f"{xs}[0] * {self.constant()} + {xs}[-1] * {xs}[len({xs}) // 2]")

    def folds(self) -> None:
        self.uses("map, filter, fold")
        xs, z, a = self.a_list(), self.name("z"), self.name("a")
        kind = self.rng.randint(0, 2)
        if kind == 0:
            self.let(f"{xs}.fold({self.leaf()}, fn({a}: f64, {z}: f64): {self.expression([a, z], depth=1)} * 0.5)")
        elif kind == 1:
            self.let(f"sum({xs}.map(fn({z}: f64): {self.expression([z])})) * 0.5")
        else:
            self.let(f"sum({xs}.filter(fn({z}: f64): {z} < {self.constant()})) * {self.leaf()}")

    def grid(self) -> None:
        """Lists in a list."""
        self.uses("list of lists")
        g, i, j, e = self.name("g"), self.name("i"), self.name("j"), self.name("e")
        self.line(f"var {g} = [[{self.expression([e], [i], 1)} for {e} in xs] for {i} in range({self.rng.randint(2, 3)})]")
        read = [f"{g}[{i}][{j}]", f"{g}[{i} - 1][{j}]", f"{g}[0][{j}]", f"{g}[{i}][0]"]
        self.line(f"for {i} in range({self.one('1, ', '')}len({g})):")
        self.loops += 2
        with self.within(ints=[i]):
            if self.chance(0.25):
                self.line(f"{g}[{i}] = {g}[0]")
            self.line(f"for {j} in range(len({g}[{i}])):")
            with self.within(read, [j]):
                if self.chance(0.3):
                    jumps, returns, self.jumps, self.returns = self.jumps, self.returns, True, False
                    self.leave()
                    self.jumps, self.returns = jumps, returns
                self.line(f"{g}[{i}][{j}] {self.one('=', '+= 0.3 *', '=')} {self.calm()}")
        self.loops -= 2
        self.let(f"sum([sum(row) for row in {g}]) * 0.2 + {g}[-1][0] * {g}[0][-1]")

    def table(self) -> None:
        """Dynamic programming."""
        self.uses("table")
        d, i, j = self.name("d"), self.name("i"), self.name("j")
        self.line(f"var {d}: list[f64] = [{self.real(1)}] * (len(xs) + 1)")
        self.line(f"for {i} in range(1, len(xs) + 1):")
        with self.within(ints=[i]):
            self.line(f"for {j} in range({i}):")
            with self.within([f"{d}[{j}]", f"xs[{i} - 1]", f"xs[{j}]"], [j]):
                f = self.one("min", "max", "")
                self.line(f"{d}[{i}] = {f}({d}[{i}], {d}[{j}] * 0.9 + {self.real(1)})" if f else f"{d}[{i}] += 0.2 * {self.calm()}")
        self.let(f"{d}[-1] * {d}[1]")

    # ---- other containers
    def mapping(self) -> None:
        self.uses("map")
        m, i, e = self.name("d"), self.name("i"), self.name("e")
        text = self.chance(0.35)
        key = f'f"k{{{i} % 2}}"' if text else f"{i} % {self.one(2, 3)}"
        first, second = ('"k0"', '"k1"') if text else ("0", "1")
        kind = "str" if text else "int"
        if self.chance(0.7):
            self.line(f"var {m}: map[{kind}, f64] = {{}}")
            self.line(f"for {i}, {e} in enumerate(xs):")
            with self.within([e], [i]):
                self.line(f"{m}[{key}] = ({m}.get({key}) ?? {self.leaf()}) * {self.expression([e], depth=1)}")
        else:
            self.line(f"var {m} = {{{key}: {self.expression([e], [i], 1)} for {i}, {e} in enumerate(xs)}}")
        match self.rng.randint(0, 4):
            case 0:
                self.line(f"{m}[{first}] {self.one('+=', '*=')} {self.real(1)}")
            case 1:
                self.line(f"{m}.remove({second})")
                self.line(f"{m}[{second}] = {m}[{first}] * {self.leaf()}")
            case 2:
                self.line(f"{m}[{second}] = {m}.pop({first}) * {self.real(1)}")
            case 3:
                self.line(f"{m}.setdefault({second}, {self.real(1)})")
        a, k = self.name("a"), self.name("k")
        if self.chance(0.5):
            self.var(self.leaf(), "s")
            v = self.vars[-1]
            self.line(f"for {k}, {a} in {m}.items():")
            with self.within([a], [] if text else [k]):
                self.line(f"{v} += 0.3 * {self.calm()}")
        else:
            self.let(f"sum([{self.expression([a], depth=1)} for {a} in {m}.values()]) * 0.4 + ({m}.get({first}) ?? {self.leaf()})")

    def heap(self) -> None:
        self.uses("heap")
        h, e, t = self.name("h"), self.name("e"), self.name("t")
        self.line(f"var {h} = heap[f64, f64]()")
        self.line(f"for {e} in xs:")
        with self.within([e]):
            self.line(f"{h}.push({self.real(1)}, {self.expression([e], depth=1)})")
        s = self.var(self.leaf(), "s")
        self.line(f"while len({h}) > {self.one(0, 0, 1)}:")
        with self.within([s]):
            self.line(f"let {t} = {h}.pop()")
            self.line(f"if {t} != none:")
            with self.within([f"{t}[0]", f"{t}[1]"]):
                self.line(f"{s} = {s} * 0.6 + {self.real(1)} * {t}[{self.rng.randint(0, 1)}]")
                if self.chance(0.4):
                    self.uses("break")
                    self.line(f"if {s} > {self.constant()}:")
                    self.line("    break")
        if self.chance(0.5):
            self.line(f"let {t}p = {h}.peek()")
            self.let(f"{s} if {t}p == none else {s} + {t}p[0] * {t}p[1]")

    def deque(self) -> None:
        self.uses("deque")
        d, e = self.name("q"), self.name("e")
        self.line(f"var {d} = deque[f64]()")
        self.line(f"for {e} in xs:")
        with self.within([e]):
            self.line(f"{d}.push({self.calm(1)})")
            self.line(f"{d}.appendleft({self.expression([e], depth=1)})")
        a, b = self.let(f"{d}.popleft()"), self.let(f"{d}.pop()")
        self.line(f"{d}[0] = {d}[1] * {self.one(a, b)}")
        s = self.var(self.leaf(), "s")
        self.line(f"for {e} in {d}:")
        with self.within([e]):
            self.line(f"{s} = 0.7 * {s} + {e} * {self.leaf()}")

    def seen(self) -> None:
        """Integers of a set decide which floats go in."""
        self.uses("set")
        m, e, k = self.name("s"), self.name("e"), self.name("k")
        s = self.var(self.leaf(), "s")
        self.line(f"var {m} = set[int]()")
        self.line(f"for {e} in xs:")
        with self.within([e]):
            self.line(f"let {k} = int(stop_gradient(sin({e})) * 2.0)")
            self.line(f"if {k} {self.one('in', 'not in')} {m}:")
            self.line(f"    {s} += {self.calm(1)} * {e}")
            self.line(f"{m}.add({k})")
        self.let(f"{s} * len({m})")

    def options(self) -> None:
        self.uses("option")
        o, e = self.name("o"), self.name("e")
        match self.rng.randint(0, 2):
            case 0:
                self.line(f"var {o}: f64? = none")
                self.line(f"for {e} in xs:")
                with self.within([e]):
                    self.line(f"if {o} == none or {e} > {o}:")
                    self.line(f"    {o} = {self.expression([e], depth=1)}")
                self.let(f"({o} ?? {self.leaf()}) * {self.leaf()}")
            case 1:
                self.line(f"let {o}: (f64, int)? = ({self.real(1)}, {self.integer()}) if {self.cond()} else none")
                v = self.variable()
                self.line(f"if {o} != none:")
                with self.within([f"{o}[0]"]):
                    self.line(f"{v} = {self.calm()}")
            case _:
                self.line(f"var {o}: list[f64?] = [none, {self.real(1)}, {self.real(1)}]")
                self.line(f"{o}[{self.integer()} % 3] = {self.real(1)}")
                v, m = self.variable(), self.name("m")
                self.line(f"match {o}[{self.integer()} % 3]:")
                self.at.blocks += 1
                self.line("case none:")
                self.line(f"    {v} *= 0.5")
                self.line(f"case {m}:")
                with self.within([m]):
                    self.line(f"{v} = {self.calm()}")
                self.at.blocks -= 1

    def tuples(self) -> None:
        self.uses("tuple")
        t, a, b, c = (self.name(s) for s in "tabc")
        self.line(f"var {t} = ({self.real(1)}, ({self.real(1)}, [{self.leaf()}, {self.leaf()}]))")
        self.line(f"let {a}, ({b}, {c}) = {t}")
        with_all = self.expression([a, b, f"{c}[0]", f"{t}[1][1][1]", f"{t}[0]"])
        self.let(f"{with_all} + {a} * {b}")

    def graph(self) -> None:
        self.uses("graph")
        g, i, e = self.name("g"), self.name("i"), self.name("e")
        self.line(f"var {g} = graph[f64, f64]()")
        self.line(f"for {e} in xs:")
        self.line(f"    {g}.add_node({self.expression([e], depth=1)})")
        self.line(f"for {i} in range(len(xs)):")
        with self.within([f"xs[{i}]"], [i]):
            self.line(f"{g}.add_edge({i}, ({i} + {self.rng.randint(1, 2)}) % len(xs), {self.real(1)})")
        if self.chance(0.4):
            self.line(f"{g}.set_node(0, {g}.node(1) * {self.leaf()})")
        s, k = self.var(self.leaf(), "s"), self.name("k")
        self.line(f"for {k}, {e} in {g}.edges({self.one('0', 'p % len(xs)')}):")
        self.line(f"    {s} += {e} * {g}.node({k})")

    # ---- structs
    def struct(self) -> None:
        self.uses("struct")
        name, s = self.typed("S"), self.name("s")
        with self.function(f"struct {name}:", ["self.a", "self.b"], ["self.n"]):
            self.line("a: f64")
            self.line("b: f64")
            self.line("n: int")
            self.line("more: list[f64]")
            self.at.blocks = 1
            d = self.name("d")
            self.lines.append(f"\n    mut fn push({d}: f64):")
            self.reals += [d, "self.more[-1]"]
            self.line(f"self.a {self.one('+=', '-=', '*=')} {self.calm(1)}")
            self.line(f"self.{self.one('b', 'more[0]')} = {self.calm(1)}")
            if self.chance(0.4):
                self.line(f"self.more.push({self.real(1)})")
            self.reals.pop(-2)
            self.lines.append("\n    fn total() -> f64:")
            self.line(f"return {self.real()} + self.a * self.b")
        self.line(f"var {s} = {name}({self.real(1)}, {self.leaf()}, {self.integer()}, {self.one('xs', f'[{self.leaf()}]')})")
        if self.chance(0.5):
            many, i = self.name("l"), self.name("i")
            self.uses("list of structs")
            self.line(f"var {many} = [{s}, {s}, {name}(a={self.leaf()}, b={self.leaf()}, n=q, more=[{self.leaf()}])]")
            self.line(f"for {i} in range({self.rng.randint(2, 4)}):")
            with self.within([f"{many}[{i} - 1].a", f"{many}[{i} % 3].b"], [i]):
                self.line(f"{many}[{i} % {self.one(2, 3)}].{self.one('a', 'b', 'more[0]')} {self.one('=', '+=', '*=')} {self.calm(1)}")
                if self.chance(0.5):
                    self.line(f"{many}[{self.one(0, 1)}].push({self.leaf()})")
            e = self.name("e")
            self.let(f"sum([{e}.total() for {e} in {many}]) * 0.3")
        else:
            self.line(f"{s}.push({self.real(1)})")
            if self.chance(0.5):
                self.line(f"{s}.{self.one('a', 'more[0]')} *= {s}.b")
            self.let(f"{s}.total() * {self.leaf()} + {s}.more[0]")

    def held_in_maps(self) -> None:
        """Lists within a map, and pairs as keys."""
        self.uses("map of lists")
        m, i, e, k = (self.name(s) for s in "diek")
        self.line(f"var {m}: map[(int, bool), list[f64]] = {{}}")
        self.line(f"for {i}, {e} in enumerate(xs):")
        with self.within([e], [i]):
            self.line(f"let {k} = ({i} % 2, {e} < {self.constant()})")
            self.line(f"{m}.setdefault({k}, [{self.leaf()}])")
            self.line(f"{m}[{k}].push({self.real(1)})")
            self.line(f"{m}[{k}][0] {self.one('+=', '*=')} {self.calm(1)}")
        self.let(f"sum([{e}[0] * {e}[-1] for {e} in {m}.values()]) * 0.3")
