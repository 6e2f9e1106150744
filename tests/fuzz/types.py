"""The types of generated values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class T:
    """A type. `r64` and `r32` are f64 and f32 whose bits may differ between engines (contraction, elementary
    functions): they never reach an integer, a condition or text. `f64`, `f32`, `f16` and `bf16` hold multiples of 1/4 within their
    `bound`, or inf and nan, and only what is exact is done to them. A struct, enum or model has its name in `name`; a tensor its
    dimensions."""

    kind: str
    args: tuple[T, ...] = ()
    name: str = ""

    def __str__(self) -> str:
        a = [str(t) for t in self.args]
        match self.kind:
            case "r64" | "r32":
                return "f" + self.kind[1:]
            case "tuple":
                return f"({', '.join(a)}{',' if len(a) == 1 else ''})"
            case "option":
                return f"({a[0]})?" if self.args[0].kind == "fn" else f"{a[0]}?"
            case "list" | "map" | "set" | "heap" | "deque" | "graph" | "store":
                return f"{self.kind}[{', '.join(a)}]"
            case "fn":
                return f"fn({', '.join(a[:-1])}) -> {a[-1]}"
            case "data":
                return self.name + (f"[{', '.join(a)}]" if a else "")
            case "tensor":
                return f"{a[0]}[{self.name}]"
        return self.kind


BOOL, INT, I32, U8, F64, F32, F16, BF16, R64, R32, STR = (T(k) for k in "bool int i32 u8 f64 f32 f16 bf16 r64 r32 str".split())
INTS = (INT, I32, U8)
FLOATS = (F64, F32, F16, BF16)
FLOAT_KINDS = ("f64", "f32", "f16", "bf16", "r64", "r32")
REALS = (R64, R32)
SCALARS = (BOOL, *INTS, *FLOATS, *REALS)


def bound(t: T) -> str:
    """What exact floats of the type stay within: sums of two and four times one are still exact in it."""
    return "16.0" if t == BF16 else "64.0"


def tuple_of(*items: T) -> T:
    return T("tuple", items)


def option(item: T) -> T:
    return T("option", (item,))


def list_of(item: T) -> T:
    return T("list", (item,))


def map_of(key: T, value: T) -> T:
    return T("map", (key, value))


def fn_of(*args: T) -> T:
    """The last is the result."""
    return T("fn", args)


@dataclass
class Data:
    """A struct (one case) or enum that a program declares."""

    name: str
    cases: list[tuple[str, list[tuple[str, T]]]]
    struct: bool
    recursive: bool = False
    trim: str = ""
    """The function that cuts a value of a recursive enum to a depth."""


class Types:
    """What a case may use: its declarations, and a pool of types that are used again, so that a file of cases needs
    few instances of the library."""

    def __init__(self) -> None:
        self.data: dict[str, Data] = {}

    def parts(self, t: T, seen: frozenset[str] = frozenset()) -> list[T]:
        """The type and all types in it."""
        found = [t]
        inner = list(t.args)
        if t.kind == "data" and t.name not in seen:
            seen |= {t.name}
            inner += [f for _, fields in self.data[t.name].cases for _, f in fields]
        for a in inner:
            found += self.parts(a, seen)
        return found

    def exact(self, t: T) -> bool:
        """Whether it may be compared, hashed and shown within the program."""
        return not any(p.kind in ("r64", "r32", "fn", "tensor", "store") for p in self.parts(t))

    def comparable(self, t: T) -> bool:
        return self.exact(t)

    def key(self, t: T) -> bool:
        """Whether it may be a key."""
        allowed = ("bool", "int", "str", "tuple", "data", "i32", "u8")
        return all(p.kind in allowed for p in self.parts(t))

    def ordered(self, t: T) -> bool:
        return all(p.kind in ("int", "str", "i32", "u8", "tuple") for p in self.parts(t))

    def is_recursive(self, t: T) -> bool:
        return any(p.kind == "data" and self.data[p.name].recursive for p in self.parts(t))
