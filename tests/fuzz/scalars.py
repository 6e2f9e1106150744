"""Expressions of scalar types."""

from __future__ import annotations

from tests.fuzz.base import Base, Production
from tests.fuzz.types import BF16, BOOL, F16, F32, F64, FLOATS, I32, INT, INTS, R32, R64, STR, U8, T, bound

SMALL = (0, 1, 2, 3, 4, 5, 7, 8, 10, 13, 64, 100)
SMOOTH = "sin cos tanh sigmoid silu softplus erf gelu exp log sqrt rsqrt"
LARGE = (255, 256, 1000, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**62, 2**63 - 1)


class Scalars(Base):
    def productions_of(self, t: T, depth: int) -> list[tuple[float, Production]]:
        found = super().productions_of(t, depth)
        match t.kind:
            case "int" | "i32" | "u8":
                found.append((1.5, lambda d: self.int_literal(t)))
                if depth > 0:
                    found += self.integers(t)
            case "bool":
                found.append((0.5, lambda d: self.rng.choice(("true", "false"))))
                if depth > 0:
                    found += self.bools()
            case "f64" | "f32" | "f16" | "bf16":
                found.append((1.5, lambda d: self.float_literal(t)))
                if depth > 0:
                    found += self.exact_floats(t)
            case "r64" | "r32":
                found.append((1, lambda d: f"{t}({self.rng.uniform(-4, 4):.3f})"))
                if depth > 0:
                    found += self.reals(t)
        return found

    def int_literal(self, t: T) -> str:
        n = self.rng.choice(SMALL)
        if t == U8:
            return f"u8({self.rng.choice((*SMALL, 255))})"
        if t == INT and self.chance(0.08):
            n = self.rng.choice(LARGE)
        if self.chance(0.25):
            n = -n
        if t == I32:
            return f"i32({n if abs(n) < 2**31 else 77})"
        return str(n) if n >= 0 else f"({n})"

    def integers(self, t: T) -> list[tuple[float, Production]]:
        e = self.expr

        def binary(d: int) -> str:
            op = self.rng.choice("+ - * + - * & | ^".split())
            return f"({e(t, d)} {op} {e(t, d)})"

        def divide(d: int) -> str:
            op = self.rng.choice(("//", "%"))
            if self.risky():
                return f"({e(t, d)} {op} {e(t, d)})"
            if self.chance(0.5):
                n = self.rng.choice((1, 2, 3, 5, 8, 10, 97)) * (1 if t == U8 or self.chance(0.7) else -1)
                return f"({e(t, d)} {op} {f'{t}({n})' if t != INT else n if n > 0 else f'({n})'})"
            return f"({e(t, d)} {op} ({e(t, d)} | {self.one(t)}))"

        def shift(d: int) -> str:
            by = e(t, d) if self.risky() else f"({e(t, d)} & {self.typed(t, self.rng.choice((3, 7, 63, 127)))})"
            return f"({e(t, d)} {self.rng.choice(('<<', '>>'))} {by})"

        def power(d: int) -> str:
            by = e(t, d) if self.risky() and self.risky() else f"({e(t, d)} & {self.typed(t, 3)})"
            return f"({e(t, d)} ** {by})"

        def unary(d: int) -> str:
            return f"(~{e(t, d)})" if t == U8 or self.chance(0.5) else f"(-{e(t, d)})"

        def call(d: int) -> str:
            f = self.rng.choice(("min", "max", "abs" if t != U8 else "max"))
            return f"abs({e(t, d)})" if f == "abs" else f"{f}({e(t, d)}, {e(t, d)})"

        def cast(d: int) -> str:
            other = self.rng.choice([x for x in (*INTS, F64, F32, F16, BF16) if x != t])
            if self.risky():
                return f"{t}({e(other, d)})"
            if t == U8:
                return f"u8({e(INT, d)} & 255)" if other in FLOATS else f"u8({e(other, d)} & {self.typed(other, 127)})"
            if other in INTS:
                return f"{t}({e(other, d)} & {self.typed(other, 127)})" if t == I32 and other == INT else f"{t}({e(other, d)})"
            low, high = f"{other}(-{bound(other)})", f"{other}({bound(other)})"
            return f"{t}(min(max({self.finite(other, d)}, {low}), {high}))"

        found: list[tuple[float, Production]] = [
            (8, binary), (2, divide), (1, shift), (0.7, power), (1, unary), (1.5, call), (1, cast)]  # fmt: skip
        if t == INT:
            found.append((0.5, lambda d: f"int({e(BOOL, d)})"))
        return found

    def one(self, t: T) -> str:
        return self.typed(t, 1)

    def typed(self, t: T, n: int) -> str:
        """A literal that is positive and fits."""
        return str(n) if t == INT else f"{t}({n})"

    def bools(self) -> list[tuple[float, Production]]:
        e = self.expr

        def compare(d: int) -> str:
            t = self.rng.choice((INT, INT, INT, I32, U8, F64, F32, STR, F16, BF16))
            return f"({e(t, d)} {self.rng.choice('< <= > >= == !='.split())} {e(t, d)})"

        def chained(d: int) -> str:
            t = self.rng.choice((INT, F64, INT))
            a, b = (self.rng.choice(("<", "<=")) for _ in "ab")
            return f"({e(t, d)} {a} {e(t, d)} {b} {e(t, d)})"

        def logic(d: int) -> str:
            return f"({e(BOOL, d)} {self.rng.choice(('and', 'or', 'and', 'or', '&', '|', '^', '==', '!='))} {e(BOOL, d)})"

        return [(6, compare), (1, chained), (3, logic), (1, lambda d: f"(not {e(BOOL, d)})")]

    # ---- floats whose bits are the same everywhere
    def float_literal(self, t: T) -> str:
        if self.chance(0.03):
            return f"{t}({self.rng.choice(('inf', '-inf', 'nan', '-0.0'))})"
        x = self.rng.randint(-40, 40) / 4
        text = f"{t}({x})" if t != F32 or self.chance(0.5) else f"{x}"
        return f"({text})" if text.startswith("-") else text

    def finite(self, t: T, d: int) -> str:
        """One that is a number, so that it may be made an int."""
        v = self.expr(t, d)
        return f"({v} if {v} - {v} == {t}(0.0) else {t}(1.0))" if len(v) < 30 else self.float_literal(t).replace(
            "nan", "1.0").replace("-inf", "2.0").replace("inf", "3.0")

    def exact_floats(self, t: T) -> list[tuple[float, Production]]:
        e = self.expr

        def sums(d: int) -> str:
            return f"(({e(t, d)} {self.rng.choice(('+', '-'))} {e(t, d)}) % {t}({bound(t)}))"

        def product(d: int) -> str:
            n = self.rng.choice(("2.0", "3.0", "(-1.0)", "4.0"))
            return f"(({e(t, d)} * {n}) % {t}({bound(t)}))"

        def quotient(d: int) -> str:
            op = self.rng.choice(("/", "//", "%"))
            text = f"({e(t, d)} {op} {e(t, d)})"
            return f"(floor{text} % {t}({bound(t)}))" if op == "/" else f"({text} % {t}({bound(t)}))"

        def call(d: int) -> str:
            f = self.rng.choice(("min", "max", "abs", "floor", "round", "clamp", "-"))
            if f == "-":
                return f"(-{e(t, d)})"
            if f in ("min", "max"):
                return f"{f}({e(t, d)}, {e(t, d)})"
            if f == "clamp":
                return f"clamp({e(t, d)}, {t}(-8.0), {t}(8.5))"
            return f"{f}({e(t, d)})"

        def cast(d: int) -> str:
            other = self.rng.choice((*(x for x in (F64, F32, F16, BF16) if x != t), INT, I32, U8))
            if other in INTS:
                return f"{t}({e(other, d)} & {self.typed(other, 15 if t == BF16 else 31)})"
            return f"({t}({e(other, d)}) % {t}(16.0))" if t == BF16 else f"{t}({e(other, d)})"

        def mixed(d: int) -> str:
            return f"(({e(t, d)} {self.rng.choice('+-')} int({e(INT, d)} & {15 if t == BF16 else 31})) % {t}({bound(t)}))"

        return [(4, sums), (2, product), (2, quotient), (3, call), (2, cast), (1, mixed)]

    # ---- floats that may differ in their last bits
    def reals(self, t: T) -> list[tuple[float, Production]]:
        e = self.expr

        def binary(d: int) -> str:
            return f"({e(t, d)} {self.rng.choice('+-*')} {e(t, d)})"

        def divide(d: int) -> str:
            return f"({e(t, d)} / ({e(t, d)} * {e(t, d)} + 0.5))" if self.chance(0.3) else f"({e(t, d)} / {t}(3.0))"

        def call(d: int) -> str:
            f = self.rng.choice((SMOOTH if self.smooth else f"{SMOOTH} relu abs").split())
            x = e(t, d)
            if f == "exp":
                return f"exp(tanh({x}))"
            if f in ("log", "sqrt", "rsqrt"):
                return f"{f}({x} * {x} + {t}(0.25))" if len(x) < 25 else f"{f}(sigmoid({x}) + {t}(0.25))"
            return f"{f}({x})"

        def cast(d: int) -> str:
            other = self.rng.choice((R64 if t == R32 or self.smooth else R32, INT, *(() if self.smooth else FLOATS)))
            return f"{t}({e(other, d)} & 15)" if other == INT else f"{t}({e(other, d)})" if str(other) != str(t) else e(other, d)

        def fold(d: int) -> str:
            return f"sin({e(t, d)})"

        return [(5, binary), (1, divide), (3, call), (1.5, cast), (1, fold)]
