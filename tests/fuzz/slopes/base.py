"""What all small differentiable programs share: floats that carry derivatives, expressions of them, conditions, blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager

from tests.fuzz.base import Base as Random

SMOOTH = "sin cos tanh sigmoid silu softplus erf gelu".split()
KINKED = "abs relu floor round".split()


class Base(Random):
    """`reals` are floats in scope, `vars` those that may be assigned, `ints` integers; `used` counts constructs."""

    def __init__(self, seed: str, prefix: str):
        super().__init__(seed, prefix)
        self.reals: list[str] = []
        self.vars: list[str] = []
        self.ints: list[str] = ["p", "q"]
        self.used: Counter[str] = Counter()
        self.loops = 0
        self.returns = True
        """Whether a `return` may stand here: of a float."""
        self.jumps = False
        """Whether `break` and `continue` may."""

    def uses(self, construct: str) -> None:
        self.used[construct] += 1

    def typed(self, stem: str) -> str:
        """A name of this program's for a declaration of the file."""
        return f"{self.name(stem)}_{self.prefix}"

    def declare(self, *lines: str) -> None:
        self.decls.append("\n".join(lines))

    def one(self, *options: str) -> str:
        return self.rng.choice(options)

    # ---- expressions
    def constant(self) -> str:
        return f"{self.rng.uniform(0.1, 1.9):.3f}" if self.chance(0.7) else f"(-{self.rng.uniform(0.1, 1.9):.3f})"

    def leaf(self) -> str:
        """A float in scope; the newest are taken most often."""
        if self.chance(0.5):
            return self.rng.choice(self.reals[-3:])
        return self.rng.choice(self.reals)

    def real(self, depth: int | None = None) -> str:
        """A float that carries derivatives."""
        if depth is None:
            depth = self.rng.choice((1, 1, 2))
        if depth <= 0 or self.chance(0.15):
            return self.leaf()
        e = self.real
        kind = self.rng.random()
        if kind < 0.35:
            return f"({e(depth - 1)} {self.rng.choice('+-**')} {e(depth - 1)})"
        if kind < 0.5:
            return f"({e(depth - 1)} {self.rng.choice('+-**')} {self.constant()})"
        if kind < 0.75:
            return f"{self.rng.choice(SMOOTH)}({e(depth - 1)})"
        if kind < 0.82:
            return f"({e(depth - 1)} / ({self.square()} + 0.5))"
        if kind < 0.88:
            return self.one(f"exp(tanh({e(depth - 1)}))", f"log({self.square()} + 0.3)", f"sqrt({self.square()} + 0.2)",
                                    f"rsqrt({self.square()} + 0.4)", f"({e(depth - 1)} ** 2)", f"({e(depth - 1)} ** 3.0)")  # fmt: skip
        if kind < 0.92:
            self.uses("kinks")
            return self.one(f"max({e(depth - 1)}, {self.constant()})", f"min({e(depth - 1)}, {e(depth - 1)})", f"clamp({e(depth - 1)}, -0.517, 0.683)",
                                    f"({e(depth - 1)} % 0.771)", *(f"{k}({e(depth - 1)})" for k in KINKED))  # fmt: skip
        if kind < 0.96:
            return f"({e(depth - 1)} * {self.integer()} * 0.25)"
        self.uses("ternary")
        return f"({e(depth - 1)} if {self.cond()} else {e(depth - 1)})"

    def square(self) -> str:
        a = self.leaf()
        return f"{a} * {a}"

    def calm(self, depth: int | None = None) -> str:
        """One that stays small where it is assigned again and again."""
        e = self.real(depth)
        return self.one(f"sin({e})", f"tanh({e})", f"0.6 * sin({e})", f"{e} / ({self.square()} + 1.5)")

    def integer(self) -> str:
        """A small integer."""
        kind = self.rng.random()
        if kind < 0.6:
            return self.rng.choice(self.ints)
        if kind < 0.8:
            return f"({self.rng.choice(self.ints)} {self.rng.choice('+*')} {self.rng.randint(1, 3)})"
        return str(self.rng.randint(1, 3))

    def cond(self) -> str:
        """A condition; one on floats is far from equality with what others compute."""
        kind = self.rng.random()
        if kind < 0.4:
            self.uses("condition on floats")
            return f"{self.real(1)} {self.rng.choice('<>')} {self.constant()}"
        if kind < 0.7:
            return f"{self.integer()} % {self.one(2, 3)} {self.one('==', '!=')} {self.one(0, 1)}"
        if kind < 0.9:
            return f"{self.integer()} {self.one('<', '>', '<=', '!=')} {self.rng.randint(1, 4)}"
        return f"({self.rng.choice(self.ints)} > 1 {self.one('and', 'or')} {self.leaf()} < {self.constant()})"

    def at_of(self, xs: str) -> str:
        """An index within a list that is not empty."""
        return self.one("0", "-1", f"{self.integer()} % len({xs})")

    def read(self, xs: str = "xs") -> str:
        return f"{xs}[{self.at_of(xs)}]"

    # ---- statements
    @contextmanager
    def within(self, reals: Sequence[str] = (), ints: Sequence[str] = (), variables: Sequence[str] = ()):
        """An indented block, where these can be read too; what it declares is gone after it."""
        saved = list(self.reals), list(self.ints), list(self.vars)
        self.reals += [*reals, *variables]
        self.ints += ints
        self.vars += variables
        self.at.blocks += 1
        start = len(self.lines)
        yield
        if len(self.lines) == start:
            self.line("pass")
        self.at.blocks -= 1
        self.reals, self.ints, self.vars = saved

    @contextmanager
    def function(self, head: str, reals: Sequence[str], ints: Sequence[str] = (), variables: Sequence[str] = ()):
        """A function of the file: its own scope and text."""
        saved = self.lines, self.reals, self.ints, self.vars, self.at.blocks, self.loops, self.jumps, self.returns
        self.lines, self.reals, self.ints, self.vars = [], [*reals, *variables], [*ints], [*variables]
        self.at.blocks, self.loops, self.jumps, self.returns = 0, 1, False, True
        self.ints = self.ints or ["1", "2"]
        yield
        body = self.lines
        self.lines, self.reals, self.ints, self.vars, self.at.blocks, self.loops, self.jumps, self.returns = saved
        self.declare(head, *body)

    @contextmanager
    def local(self, reals: Sequence[str], ints: Sequence[str] = ()):
        """The body of a function within, which captures what is around it."""
        saved = self.vars, self.loops, self.jumps, self.returns
        self.vars, self.loops, self.jumps, self.returns = [], self.loops + 1, False, True
        with self.within(reals, ints):
            yield
        self.vars, self.loops, self.jumps, self.returns = saved

    def let(self, value: str, stem: str = "v") -> str:
        """A new float."""
        name = self.name(stem)
        self.line(f"let {name}: f64 = {value}")
        self.reals.append(name)
        return name

    def var(self, value: str, stem: str = "v") -> str:
        name = self.name(stem)
        self.line(f"var {name}: f64 = {value}")
        self.reals.append(name)
        self.vars.append(name)
        return name

    def variable(self) -> str:
        """One that may be assigned."""
        return self.rng.choice(self.vars) if self.vars else self.var(self.calm(1))

    def update(self) -> None:
        """Assigns a variable."""
        kind = self.rng.random()
        if kind < 0.08 and len(set(self.vars)) > 1:
            self.uses("several at once")
            a, b = self.rng.sample(sorted(set(self.vars)), 2)
            return self.line(f"{a}, {b} = {b}, {self.calm(1)}")
        v = self.variable()
        if kind < 0.5:
            self.line(f"{v} = {self.calm()}")
        elif kind < 0.75:
            self.line(f"{v} += {self.rng.uniform(0.1, 0.6):.2f} * {self.real(1)}" if not self.loops else f"{v} += 0.3 * {self.calm(1)}")
        else:
            self.line(f"{v} *= {self.one('cos', 'tanh', 'sigmoid')}({self.real(1)})")

    def body(self, inner: Sequence[Callable[[], None]] = (), most: int = 2) -> None:
        """A few statements of a block: assignments, and sometimes something else."""
        for _ in range(self.rng.choice((1, 1, most))):
            if inner and self.at.blocks < 3 and self.loops < 3 and self.chance(0.2):
                self.rng.choice(inner)()
            else:
                self.update()


__all__ = ["Base"]
