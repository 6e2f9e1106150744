"""Statements: variables, branches, loops with early exits, faults on purpose, prints."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from tests.fuzz.base import Base, Var
from tests.fuzz.types import BF16, BOOL, F16, F32, F64, FLOAT_KINDS, I32, INT, INTS, REALS, STR, U8, T, bound


def hash_of(text: str) -> int:
    found = 0
    for c in text:
        found = (found * 31 + ord(c)) & (2**61 - 1)
    return found


class Statements(Base):
    def block(self, size: int, *, also: list[Var] | None = None, may_end: bool = True) -> None:
        """An indented block of statements."""
        scope = list(self.scope)
        if also:
            names = {v.name for v in also}
            self.scope = [v for v in self.scope if v.name not in names] + also
        self.at.blocks += 1
        start = len(self.lines)
        for _ in range(self.rng.randint(1, max(1, size))):
            if self.budget <= 0:
                break
            self.statement()
        if may_end and self.chance(0.12):
            self.leave()
        if len(self.lines) == start:
            self.line("pass")
        self.at.blocks -= 1
        self.scope = scope

    def statement(self) -> None:
        self.budget -= 1
        self.at.cost[0] += self.at.turns
        if self.style is not None and self.style.random() < 0.15:
            self.dead_code()
        self.pick(self.statements())()

    def statements(self) -> list[tuple[float, Callable[[], None]]]:
        found: list[tuple[float, Callable[[], None]]] = [
            (3, self.let), (3, self.var), (5, self.assign), (3, self.augmented), (0.6, self.say), (0.5, self.check),
            (0.7, self.several),
        ]  # fmt: skip
        if self.at.blocks < self.limits.depth:
            found += [(4, self.branch), (1, self.match_scalar)]
            if self.at.loops < 2:
                found += [(2.5, self.for_range), (1.2, self.while_), (0.8, self.for_text)]
        if self.at.blocks and self.at.in_loop:
            found.append((0.8, self.leave_if))
        elif self.at.blocks == 0:
            found.append((0.5, self.leave_if))
        return found

    def dead_code(self) -> None:
        """Statements that change nothing: made with random choices of their own, so that the program around is the
        same without them."""
        assert self.style is not None
        saved = self.rng, self.count, self.budget, list(self.scope), self.limits, self.at.cost[0]
        self.rng, self.style, style = random.Random(self.style.random()), None, self.style
        fault, self.limits.fault = self.limits.fault, 0.0
        t = self.plain()
        self.count += 1000
        if self.chance(0.5):
            self.line(f"let {self.name('dead')} = {self.expr_of_known(t)}")
        else:
            self.line(f"if false and {self.cond(1)}:")
            self.at.blocks += 1
            self.budget = 3
            self.line(f"print({self.expr_of_known(t)})")
            self.at.blocks -= 1
        self.limits.fault = fault
        self.rng, self.count, self.budget, self.scope, self.limits, self.at.cost[0] = saved
        self.style = style

    def expr_of_known(self, t: T) -> str:
        known = self.known(t)
        return self.rng.choice(known) if known else self.expr(t, 0)

    # ---- variables
    def some_type(self) -> T:
        return self.plain()

    def add(self, name: str, t: T, mutable: bool) -> None:
        self.scope = [v for v in self.scope if v.name != name]
        self.scope.append(Var(name, t, mutable))

    def new_name(self) -> str:
        """Mostly new; sometimes one that is shadowed."""
        if self.scope and self.chance(0.06):
            name = self.rng.choice(self.scope).name
            if name.isalnum() and name[-1].isdigit() or name in ("p", "q", "s"):
                return name
        return self.name()

    def let(self) -> None:
        self.declare("let")

    def var(self) -> None:
        self.declare("var")

    def declare(self, word: str) -> None:
        t = self.some_type()
        value = self.expr(t)
        value = self.restyled(value, t)
        name = self.new_name()
        ascribed = f": {t}" if self.needs_type(t) or self.chance(0.2) else ""
        self.line(f"{word} {name}{ascribed} = {value}")
        self.add(name, t, word == "var")

    def needs_type(self, t: T) -> bool:
        return t.kind in ("option", "list", "map", "set", "heap", "deque", "graph", "fn", "tuple", *FLOAT_KINDS, "tensor", "data")

    def assign(self) -> None:
        places = [(v.name, v.type) for v in self.scope if v.mutable and v.type.kind != "store"]
        if not places:
            return self.var()
        name, t = self.rng.choice(places)
        inner = [x for x in self.types.parts(t) if x.kind in ("int", "bool", "str", "f64", "list")]
        if t.kind == "data" and inner and self.chance(0.6):
            want = self.rng.choice(inner)
            found = [p for p in self.places(want) if p.startswith(name + ".")]
            if found:
                return self.line(f"{self.rng.choice(found)} = {self.bounded(want)}")
        if name != "self":
            self.line(f"{name} = {self.restyled(self.bounded(t), t)}")

    def bounded(self, t: T) -> str:
        """An expression for a place that may be assigned many times: it does not grow."""
        e = self.expr(t)
        if t in REALS:
            return f"{self.rng.choice(('sin', 'tanh'))}({e})"
        return e

    def augmented(self) -> None:
        t = self.rng.choice((INT, INT, INT, I32, U8, STR, F64, F32, F16, BF16))
        places = self.places(t)
        if not places:
            return self.assign()
        place = self.rng.choice(places)
        if t in INTS:
            op = self.rng.choice(("+", "-", "*", "^", "|", "&", "+", "-"))
            if self.chance(0.15):
                return self.line(f"{place} {self.rng.choice(('//', '%'))}= {self.expr(t, 2) if self.risky() else f'({self.expr(t, 2)} | {t}(1))'}")
            if self.chance(0.1):
                return self.line(f"{place} {self.rng.choice(('<<', '>>'))}= {self.expr(t, 1)} & {t}(7)")
            return self.line(f"{place} {op}= {self.expr(t, 2)}")
        if t == STR:
            self.line(f"{place} += {self.expr(STR, 1)}[:4]")
            return self.line(f"{place} = {place}[{self.rng.choice(('-12:', ':12'))}]")
        self.line(f"{place} {self.rng.choice('+-')}= {self.expr(t, 2)}")
        self.line(f"{place} %= {bound(t)}")

    def several(self) -> None:
        t = self.some_type()
        places = list(dict.fromkeys(self.places(t)))
        if len(places) < 2:
            a, b = self.name(), self.name()
            self.line(f"var {a}, {b} = {self.expr(INT, 1)}, {self.expr(STR, 1)}")
            self.add(a, INT, True)
            return self.add(b, STR, True)
        a, b = self.rng.sample(places, 2)
        if a.startswith(b) or b.startswith(a):
            return self.assign()
        self.line(f"{a}, {b} = {b}, {a}")

    def restyled(self, value: str, t: T) -> str:
        """The same value; in a variant of the program by way of a variable, a function, or a function value."""
        dims = [d for p in self.types.parts(t) if p.kind == "tensor" for d in p.name.split(", ")]
        if self.style is None or self.style.random() > 0.25 or t.kind == "fn" or any(d.islower() for d in dims):
            return value
        self.restyled_count += 1
        name = f"s{self.restyled_count}"  # not numbered as others are: names of types are shown
        stores = [v.name for v in self.scope if v.type.kind == "store"]
        changes = re.search("|".join([r"\bmut |\.pop|\.m\d+\(|\bself\b|\b[rf]\w*k\w*\(", *(rf"\b{s}\b" for s in stores)]), value)
        match self.style.randint(0, 3):
            case 0:
                self.line(f"let {name}: {t} = {value}")
                return name
            case 1 if not changes:
                self.line(f"fn {name}() -> {t}:")
                self.line(f"    return {value}")
                return f"{name}()"
            case 2 if not changes:
                self.line(f"let {name}: fn(int) -> {t} = fn(unused: int): {value}")
                return f"{name}(0)"
        return self.identity(t, value)

    def identity(self, t: T, value: str) -> str:
        """The value through a function."""
        name = f"same_{self.prefix}_{hash_of(str(t)) % 10**8}"
        decl = f"fn {name}(x: {t}) -> {t}:\n    let y = x\n    return y"
        if decl not in self.decls:
            self.decls.insert(0, decl)
        return f"{name}({value})"

    # ---- branches
    def size(self) -> int:
        return max(1, self.limits.statements // (self.at.blocks + 1) - 1)

    def branch(self) -> None:
        self.line(f"if {self.cond()}:")
        self.block(self.size())
        while self.chance(0.2):
            self.line(f"elif {self.cond()}:")
            self.block(self.size())
        if self.chance(0.5):
            self.line("else:")
            self.block(self.size())

    def match_scalar(self) -> None:
        t = self.rng.choice((INT, INT, STR, BOOL))
        self.line(f"match {self.expr(t, 2) if t != INT else f'({self.expr(t, 2)} % 5)'}:")
        self.at.blocks += 1
        if t == BOOL:
            for v in ("true", "false"):
                self.line(f"case {v}:")
                self.block(self.size())
        else:
            literals = ["0", "1", "2", "3", "4", "-1"] if t == INT else ['"a"', '""', '"é"', '"ab"', '"12"']
            self.rng.shuffle(literals)
            while len(literals) > 1 and self.chance(0.7):
                guard = f" if {self.cond(1)}" if self.chance(0.25) else ""
                text = literals.pop()
                if self.chance(0.3):
                    text += f" | {literals.pop()}"
                self.line(f"case {text}{guard}:")
                self.block(self.size())
            if self.chance(0.5):
                self.line("case _:")
                self.block(self.size())
            else:
                name = self.name("m")
                self.line(f"case {name}:")
                self.block(self.size(), also=[Var(name, t)])
        self.at.blocks -= 1

    # ---- loops
    def loop(self, header: str, also: list[Var], turns: int, first: list[str] | None = None) -> None:
        self.line(header)
        saved = self.at.turns, self.at.in_loop
        self.at.turns, self.at.in_loop = self.at.turns * turns, True
        self.at.loops += 1
        if first:
            self.at.blocks += 1
            for text in first:
                self.line(text)
            self.at.blocks -= 1
        self.block(self.size(), also=also)
        self.at.loops -= 1
        self.at.turns, self.at.in_loop = saved

    def for_range(self) -> None:
        name = self.name("j")
        match self.rng.randint(0, 3):
            case 0:
                header = f"range({self.rng.randint(0, 5)})"
            case 1:
                header = f"range({self.rng.randint(-3, 2)}, {self.rng.randint(0, 4)})"
            case 2:
                a, b, step = self.rng.choice(((0, 9, 2), (5, 0, -1), (3, -4, -3), (0, 5, 7), (2, 2, -1)))
                header = f"range({a}, {b}, {step})"
            case _:
                header = f"range({self.expr(INT, 1)} % 5)"
        self.loop(f"for {name} in {header}:", [Var(name, INT)], 5)

    def while_(self) -> None:
        fuel = self.name("n")
        self.line(f"var {fuel} = {self.rng.randint(1, 6)}")
        cond = f"{fuel} > 0" + (f" and {self.cond(2)}" if self.chance(0.6) else "")
        if self.chance(0.2):
            self.loop("while true:", [Var(fuel, INT)], 6, [f"{fuel} -= 1", f"if {fuel} < 0{f' or {self.cond(1)}' if self.chance(0.4) else ''}:", "    break"])
        else:
            self.loop(f"while {cond}:", [Var(fuel, INT)], 6, [f"{fuel} -= 1"])

    def for_text(self) -> None:
        name = self.name("c")
        self.loop(f"for {name} in {self.expr(STR, 2)}[:5]:", [Var(name, STR)], 5)

    def leave_if(self) -> None:
        self.line(f"if {self.cond(2)}:")
        self.at.blocks += 1
        self.leave()
        self.at.blocks -= 1

    def leave(self) -> None:
        """A statement after which nothing of the block runs."""
        kinds = ["return"] * 2 + (["break", "continue"] * 3 if self.at.in_loop else [])
        if self.risky():
            kinds = ["raise"]
        kind = self.rng.choice(kinds)
        match kind:
            case "raise":
                self.line(f"raise {self.expr(STR, 1)}")
            case "return":
                self.line(f"return {self.expr(self.at.result, 2)}" if self.at.result is not None else "return")
            case _:
                self.line(kind)

    # ---- effects
    def say(self) -> None:
        what = [self.expr(self.rng.choice((INT, STR, BOOL, F64)), 2) for _ in range(self.rng.randint(1, 2))]
        self.line(f"print({', '.join(what)})")

    def check(self) -> None:
        cond = self.cond(2)
        if not self.risky():
            cond = f"({cond} or true)" if self.chance(0.5) else "0 <= 1"
        self.line(f"assert {cond}" + (f", {self.quoted_text()}" if self.chance(0.5) else ""))

    def quoted_text(self) -> str:
        return self.rng.choice(('"why"', '"é"'))
