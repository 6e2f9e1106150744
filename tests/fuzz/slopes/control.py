"""Control flow between floats that carry derivatives."""

from __future__ import annotations

from tests.fuzz.slopes.base import Base


class Control(Base):
    def nested(self, most: int = 2) -> None:
        """The statements of a block: assignments, or control flow once more."""
        self.body((self.branch, self.for_range, self.while_, self.leave, self.match_int), most)

    # ---- branches
    def branch(self) -> None:
        self.uses("if")
        self.line(f"if {self.cond()}:")
        with self.within():
            self.nested()
        if self.chance(0.25):
            self.line(f"elif {self.cond()}:")
            with self.within():
                self.nested(1)
        if self.chance(0.6):
            self.line("else:")
            with self.within():
                self.nested(1)

    def match_int(self) -> None:
        self.uses("match")
        self.line(f"match {self.integer()} % 4:")
        self.at.blocks += 1
        for i, text in enumerate(("0", "1 | 2")):
            guard = f" if {self.cond()}" if self.chance(0.3) else ""
            self.line(f"case {text}{guard}:")
            with self.within():
                self.nested(1)
            if i == 0 and self.chance(0.4):
                break
        n = self.name("m")
        self.line(f"case {n}:")
        with self.within(ints=[n]):
            self.nested(1)
        self.at.blocks -= 1

    def match_list(self) -> None:
        self.uses("match of a list")
        a, b, rest = self.name("m"), self.name("m"), self.name("m")
        v = self.variable()
        xs = self.one("xs", f"[z for z in xs if z < {self.constant()}]", "xs[1:]")
        self.line(f"match {xs}:")
        self.at.blocks += 1
        if self.chance(0.5):
            self.line(f"case [{a}, {b}]:")
            with self.within([a, b]):
                self.line(f"{v} = {self.calm()}")
        self.line(f"case [{a}, *{rest}]{f' if {a} < {self.constant()}' if self.chance(0.3) else ''}:")
        with self.within([a]):
            self.line(f"{v} += {a} * sum({rest}) * 0.3" if self.chance(0.5) else f"{v} = {self.calm(1)}")
        self.line("case _:")
        with self.within():
            self.line(f"{v} = {self.calm()}")
        self.at.blocks -= 1

    def match_tuple(self) -> None:
        self.uses("match of a tuple")
        a, b = self.name("m"), self.name("m")
        v = self.variable()
        self.line(f"match ({self.integer()} % 2, {self.real(1)}, {self.cond()}):")
        self.at.blocks += 1
        self.line(f"case (0, {a}, true):")
        with self.within([a]):
            self.line(f"{v} = {a} * {self.calm(1)}")
        self.line(f"case ({b}, {a}, _) if {a} < {self.constant()}:")
        with self.within([a], [b]):
            self.line(f"{v} += 0.5 * {self.calm()}")
        self.line("case _:")
        with self.within():
            self.update()
        self.at.blocks -= 1

    # ---- loops
    def loop(self, head: str, reals=(), ints=(), first: tuple[str, ...] = (), last: tuple[str, ...] = ()) -> None:
        saved = self.jumps
        self.loops, self.jumps = self.loops + 1, not last
        self.line(head)
        with self.within(reals, ints):
            for text in first:
                self.line(text)
            self.nested()
            if self.chance(0.25):
                self.leave()
            for text in last:
                self.line(text)
        self.loops, self.jumps = self.loops - 1, saved

    def for_range(self) -> None:
        self.uses("for over a range")
        j = self.name("j")
        n = self.one("3", f"({self.integer()} % 3) + 1", "1, 4", "len(xs)" if self.reads_xs() else "2", "4, 0, -1", f"{self.integer()} % 4")
        self.loop(f"for {j} in range({n}):", ints=[j])

    def reads_xs(self) -> bool:
        return self.reals[:3] == ["x", "a", "b"]

    def for_list(self) -> None:
        self.uses("for over a list")
        e, j, f = self.name("e"), self.name("j"), self.name("e")
        match self.rng.randint(0, 4):
            case 0:
                self.loop(f"for {e} in xs:", [e])
            case 1:
                self.loop(f"for {j}, {e} in enumerate(xs):", [e], [j])
            case 2:
                self.loop(f"for {e}, {f} in zip(xs, xs.reversed()):", [e, f])
            case 3:
                self.loop(f"for {e} in xs[{self.one(':2', '1:', '::-1', '::2')}]:", [e])
            case _:
                self.loop(f"for {e} in [{self.real(1)}, {self.real(1)}]:", [e])

    def for_text(self) -> None:
        self.uses("for over text")
        c, v = self.name("c"), self.variable()
        text, letter = self.one('"abca"', '"xyé"', "str(p * 37)"), self.one('"a"', '"é"', '"7"')
        self.line(f"for {c} in {text}:")
        with self.within():
            self.line(f"{v} = {self.calm(1)} if {c} == {letter} else {v} * {self.constant()}")

    def while_(self) -> None:
        """Where it ends is decided by floats, and by a count in any case."""
        self.uses("while")
        n, v = self.name("n"), self.variable()
        self.line(f"var {n} = {self.one('0', '1')}")
        most = self.rng.randint(3, 6)
        kind = self.rng.random()
        if kind < 0.3:
            self.uses("break")
            self.loop("while true:", ints=[n], first=(f"{n} += 1", f"if {n} > {most} or {v} > {self.constant()}:", "    break"))
        elif kind < 0.7:
            c = self.constant()
            self.loop(f"while {self.one(f'{v} < {c}', f'abs({v}) > {self.rng.uniform(0.05, 0.4):.3f}', f'{v} * {v} < {c}')} and {n} < {most}:",
                      ints=[n], first=(f"{n} += 1", f"{v} = {self.one('0.7 *', '1.3 *', '0.21 +', '-0.19 +')} {v}"))  # fmt: skip
        else:
            self.loop(f"while {n} < {most} and {self.cond()}:", ints=[n], last=(f"{n} += {self.one(1, 2)}",))

    def leave(self) -> None:
        """The end of a turn, of a loop, or of everything, if something holds."""
        kinds = ["break", "continue", "break", "continue"] * self.jumps + ["return"] * self.returns
        if not kinds:
            return self.update()
        kind = self.rng.choice(kinds)
        self.uses("early return" if kind == "return" else kind)
        self.line(f"if {self.cond()}:")
        with self.within():
            if self.chance(0.4):
                self.update()
            self.line(f"return {self.real()} + {self.reals[0]} * 0.3" if kind == "return" else kind)

    def nest(self) -> None:
        """A loop in a loop, and a place that both reach."""
        self.uses("loop in a loop")
        i, j, v = self.name("i"), self.name("j"), self.variable()
        self.line(f"for {i} in range({self.one('2', '3', 'len(xs)')}):")
        self.loops += 2
        with self.within(ints=[i]):
            if self.chance(0.5):
                self.update()
            self.line(f"for {j} in range({self.one(i, '2', f'{i} + 1', 'q % 3')}):")
            jumps, self.jumps = self.jumps, True
            with self.within(ints=[j]):
                if self.chance(0.4):
                    self.leave()
                self.line(f"{v} = {self.calm()}")
            self.jumps = jumps
        self.loops -= 2

    def several_at_once(self) -> None:
        """Variables change places, again and again."""
        self.uses("several at once")
        a, b, i = self.var(self.calm(1)), self.variable(), self.name("i")
        self.line(f"for {i} in range({self.integer()} % 4):")
        with self.within(ints=[i]):
            if a == b:
                self.line(f"{a}, y = y, {self.calm(1)}")
            else:
                self.line(f"{a}, {b} = {b}, {self.calm()}")

    def assertion(self) -> None:
        self.uses("assert and raise")
        self.line(f"assert {self.leaf()} < 1e30, \"too large\"")
        self.line(f"if {self.leaf()} > 1e30:")
        self.line('    raise "too large"')
        self.update()
