"""Expressions of strings, and what they give."""

from __future__ import annotations

from tests.fuzz.base import Base, Production
from tests.fuzz.types import BF16, BOOL, F16, F32, F64, FLOATS, I32, INT, STR, U8, T, list_of

WORDS = ("", "a", "ab", "aba", "b c", "é", "naïve", "🦊x", "12", "-7", "a,b,,c", " x ", "Zz", "0.5", "x\\ty", "\\n", "'", "ß")
CHARS = ("a", "b", "é", ",", " ", "🦊", "")


class Text(Base):
    def quoted(self, words: tuple[str, ...] = WORDS) -> str:
        return f'"{self.rng.choice(words)}"'

    def productions_of(self, t: T, depth: int) -> list[tuple[float, Production]]:
        found = super().productions_of(t, depth)
        if t == STR:
            found.append((1.5, lambda d: self.quoted()))
            if depth > 0:
                found += self.texts()
        elif depth > 0 and t == INT:
            found.append((0.7, lambda d: self.text_int(d)))
        elif depth > 0 and t == BOOL:
            found.append((0.7, lambda d: self.text_bool(d)))
        elif depth > 0 and t == list_of(STR):
            found.append((2, lambda d: self.text_list(d)))
        return found

    def texts(self) -> list[tuple[float, Production]]:
        e = self.expr

        def add(d: int) -> str:
            return f"({e(STR, d)} + {e(STR, d)})[:12]"

        def repeat(d: int) -> str:
            return f"({e(STR, d)}[:6] * ({e(INT, d)} % 3))"

        def index(d: int) -> str:
            s = e(STR, d)
            if self.risky():
                return f"{s}[{e(INT, d)}]"
            return f"({s} + \"!\")[{self.rng.choice(('0', '-1'))}]" if self.chance(0.5) else f"{s}[{e(INT, d)} % 4:]"

        def cut(d: int) -> str:
            parts = [self.rng.choice(("", e(INT, 0), str(self.rng.randint(-3, 5)))) for _ in "ab"]
            step = self.rng.choice(("", "", ":2", ":-1", ":-2", ":"))
            return f"{e(STR, d)}[{parts[0]}:{parts[1]}{step}]"

        def method(d: int) -> str:
            s = e(STR, d)
            w = self.quoted(CHARS[:-1])
            f = self.rng.choice((
                "lower()", "upper()", "strip()", f"strip({w})", f"lstrip({w})", f"rstrip({w})", f"replace({w}, {self.quoted(CHARS)})",
                f"removeprefix({w})", f"removesuffix({w})", f"ljust({self.rng.randint(0, 6)})", "rjust(5, \"*\")", "center(5, \"-\")",
                "zfill(4)", f"partition({w})[{self.rng.randint(0, 2)}]", f"replace({w}, {w}, 1)",
            ))  # fmt: skip
            return f"{s}.{f}[:12]"

        def shown(d: int) -> str:
            t = self.rng.choice((INT, INT, BOOL, F64, F32, I32, U8, STR, F16, BF16))
            spec = self.spec(t)
            if spec:
                value = e(t, d)
                # A hole uses the other kind of quote.
                return f"f\"<{{{value}:{spec}}}>\"[:14]" if '"' not in value else f"str({value})[:12]"
            value = e(t, d)
            return f"f\"{{{value}}}\"[:14]" if '"' not in value else f"str({value})[:12]"

        def join(d: int) -> str:
            return f"{self.quoted(CHARS)}.join({e(list_of(STR), d)})[:14]"

        def char(d: int) -> str:
            return f"chr(({e(INT, d)} & 63) + {self.rng.choice((48, 200, 8000))})"

        return [(3, add), (1, repeat), (1.5, index), (2, cut), (3, method), (3, shown), (1, join), (0.5, char)]

    def spec(self, t: T) -> str:
        if self.chance(0.5):
            return ""
        if t in FLOATS:
            return self.rng.choice((".2f", "8.3f", ".3e", "g", "+.1f", "08.2f", ".0f", "<9.1f", ".4g", "%"))
        if t in (INT, I32, U8):
            return self.rng.choice(("5", "<5", "05", "+", "x", "b", ",", "^7", "o", "X", "*>6", " ", "08b"))
        if t == STR:
            return self.rng.choice(("5", ">6", "^7", "*<5", ".2", "8.3"))
        return ""

    def text_int(self, d: int) -> str:
        s = self.expr(STR, d)
        if self.risky():
            return f"int({s})"
        w = self.quoted(CHARS)
        f = self.rng.choice((f"find({w})", f"rfind({w})", f"count({w})", f"find({w}, {self.rng.randint(0, 3)})", "len", "ord"))
        return f"len({s})" if f == "len" else f'ord(({s} + "?")[0])' if f == "ord" else f"{s}.{f}"

    def text_bool(self, d: int) -> str:
        s = self.expr(STR, d)
        f = self.rng.choice(("isdigit()", "isalpha()", "isspace()", "isalnum()", "in", "not in", f"startswith({self.quoted(CHARS)})",
                             f"endswith({self.quoted(CHARS)})"))  # fmt: skip
        return f"({self.quoted(CHARS)} {f} {s})" if "in" in f.split() else f"{s}.{f}"

    def text_list(self, d: int) -> str:
        s = self.expr(STR, d)
        f = self.rng.choice(("split()", 'split(",")', 'split(" ", 1)', "chars()", "splitlines()", 'split("é")'))
        return f"{s}.{f}"
