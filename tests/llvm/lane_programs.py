"""Random functions of numbers with loops that end when they will, and loops over lists that call them; the same for the
same seed. No product is added to anything, so that nothing can be contracted."""

from __future__ import annotations

import random

INTS = ("m", "k", "n", "3", "7", "-5", "(1 << 40)")
FLOATS = ("a", "b", "x", "f64(0.5)", "f64(-0.75)", "f64(m % 16)", "f64(k)")
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")


class Source:
    """Of one function, f(x: f64, k: int) -> f64."""

    def __init__(self, seed: int):
        self.some = random.Random(seed)
        self.lines: list[str] = []
        self.loops = 0
        self.put(0, "fn f(x: f64, k: int) -> f64:")
        self.put(1, "var a: f64 = x", "var b: f64 = 0.5", "var m = k", "var n = 0")
        self.put(1, f"while n < {self.some.choice(['20', 'k % 32'])} and ({self.condition()}):")
        self.put(2, "n += 1")
        self.block(2, 0)
        self.put(1, "return a + b + f64(m % 1024) + f64(n)")

    def put(self, depth: int, *lines: str) -> None:
        self.lines += ["    " * depth + line for line in lines]

    def integer(self, depth: int = 0) -> str:
        some = self.some
        if depth > 2 or some.random() < 0.3:
            return some.choice(INTS)
        a, b = self.integer(depth + 1), self.integer(depth + 1)
        return some.choice((
            f"({a} {some.choice('+-*&|^')} {b})", f"({a} % {some.choice((2, 8))})", f"({a} // 4)",
            f"({a} >> {some.choice((1, 70))})", f"max({a}, {b})", f"abs({a})",
            f"({a} if {self.condition(depth + 1)} else {b})",
        ))

    def number(self, depth: int = 0) -> str:
        some = self.some
        if depth > 2 or some.random() < 0.3:
            return some.choice(FLOATS)
        a, b = self.number(depth + 1), self.number(depth + 1)
        return some.choice((
            f"({a} + {b})", f"({a} - {b})", f"({a} / {b})", f"abs({a})", f"sqrt(abs({a}))", f"min({a}, {b})",
            f"floor({a})", f"({a} if {self.condition(depth + 1)} else {b})",
        ))

    def condition(self, depth: int = 0) -> str:
        kind = self.integer if self.some.random() < 0.5 else self.number
        first = f"{kind(depth + 1)} {self.some.choice(COMPARISONS)} {kind(depth + 1)}"
        if depth < 2 and self.some.random() < 0.2:
            return f"({first}) {self.some.choice(('and', 'or'))} ({self.condition(depth + 1)})"
        return first

    def block(self, depth: int, inner: int) -> None:
        for _ in range(self.some.randint(1, 3)):
            if self.statement(depth, inner):
                return

    def statement(self, depth: int, inner: int) -> bool:
        """Does it end the block?"""
        some, kind = self.some, self.some.random()
        if kind < 0.5 or inner > 3:
            target = some.choice("abm")
            self.put(depth, f"{target} = {self.integer() if target == 'm' else self.number()}")
        elif kind < 0.75:
            self.put(depth, f"if {self.condition()}:")
            self.block(depth + 1, inner + 1)
            self.put(depth, "else:")
            self.block(depth + 1, inner + 1)
        elif kind < 0.86:
            self.put(depth, some.choice(("break", "continue", "return a")))
            return True
        elif inner < 2:
            self.loops += 1
            name = f"j{self.loops}"
            if some.random() < 0.5:
                self.put(depth, f"for {name} in range({some.choice(('3', '18', 'm % 8'))}):")
            else:
                self.put(depth, f"var {name} = 0", f"while {name} < 9 and ({self.condition()}):")
                self.put(depth + 1, f"{name} += 1")
            self.block(depth + 1, inner + 1)
        else:
            self.put(depth, "m += 1")
        return False


def program(seed: int) -> str:
    return "\n".join(Source(seed).lines) + """

fn one(x: f64, k: int) -> f64:
    return f(x, k)

fn many(xs: list[f64], ks: list[int]) -> list[f64]:
    return [f(x, ks[j]) for j, x in enumerate(xs)]

fn first(xs: list[f64], start: int, least: f64) -> int:
    for i in range(start, 1 << 50):
        if f(xs[i & 31], i) >= least:
            return i
    return -1
"""
