"""Values of the oracle, and what operators mean."""

from __future__ import annotations

import math
import operator
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


class Unknown(Exception):
    """What the oracle does not know."""


class Fault(Exception):
    def __init__(self, kind: str, message: str = ""):
        super().__init__(kind, message)
        self.kind, self.message = kind, message


class I32(int):
    kind = "i32"


class U8(int):
    kind = "u8"


@dataclass
class Obj:
    """A struct or a case of an enum."""

    type: str
    case: str
    fields: dict[str, Any]

    def __hash__(self) -> int:
        return hash((self.case, tuple(self.fields.values())))


@dataclass(eq=False)
class Closure:
    fn: Any
    scopes: list[dict[str, Any]]


class Set(dict):
    """In the order of insertion."""

    def __init__(self, items: Any = ()):
        super().__init__((i, None) for i in items)


class Graph:
    """Nodes, and by pair of them the edges in the order added."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.edges: dict[tuple[int, int], Any] = {}

    def __len__(self) -> int:
        return len(self.nodes)

    def of(self, u: int) -> list[tuple[int, Any]]:
        """The edges from a node: where each leads, and what it carries."""
        self.check(u)
        return [(v, e) for (a, v), e in self.edges.items() if a == u]

    def check(self, u: int) -> None:
        if not 0 <= u < len(self.nodes):
            raise Fault("IndexError")


class Store(dict):
    """What one call sees of a file; it is not copied."""

    def __init__(self, file: dict[Any, Any]):
        super().__init__(file)
        self.file = file

    def commit(self) -> None:
        self.file.clear()
        self.file.update({k: dup(v) for k, v in self.items()})


class Heap:
    def __init__(self) -> None:
        self.held: list[tuple[Any, int, Any]] = []
        self.count = 0

    def push(self, priority: Any, item: Any) -> None:
        self.held.append((priority, self.count, item))
        self.count += 1
        self.held.sort(key=lambda h: h[:2])

    def __len__(self) -> int:
        return len(self.held)


def dup(v: Any) -> Any:
    if isinstance(v, Store):
        return v
    if isinstance(v, np.ndarray):
        return v.copy()
    if isinstance(v, Graph):
        copy = Graph()
        copy.nodes, copy.edges = dup(v.nodes), dup(v.edges)
        return copy
    if isinstance(v, list):
        return [dup(x) for x in v]
    if isinstance(v, Set):
        return Set(v)
    if isinstance(v, dict):
        return {k: dup(x) for k, x in v.items()}
    if isinstance(v, tuple):
        return tuple(dup(x) for x in v)
    if isinstance(v, deque):
        return deque(dup(x) for x in v)
    if isinstance(v, Obj):
        return replace(v, fields={n: dup(x) for n, x in v.fields.items()})
    if isinstance(v, Heap):
        made = Heap()
        made.held, made.count = list(v.held), v.count
        return made
    return v


def wrap(like: Any, n: int) -> Any:
    if isinstance(like, U8):
        return U8(n & 255)
    if isinstance(like, I32):
        return I32(((n + (1 << 31)) & 0xFFFFFFFF) - (1 << 31))
    return ((n + (1 << 63)) & ((1 << 64) - 1)) - (1 << 63)


def cast(kind: str, v: Any) -> Any:
    """`kind(v)`, checked."""
    low, high = {"int": (-(2**63), 2**63 - 1), "i32": (-(2**31), 2**31 - 1), "u8": (0, 255)}[kind]
    if isinstance(v, float):
        if math.isnan(v) or math.isinf(v):
            raise Fault("ValueError")
        v = math.trunc(v)
    if not low <= v <= high:
        raise Fault("ValueError")
    return {"int": int, "i32": I32, "u8": U8}[kind](v)


def unary(op: str, v: Any) -> Any:
    if isinstance(v, bool):
        return not v
    if isinstance(v, float):
        return -v if op == "-" else v
    return wrap(v, -int(v) if op == "-" else ~int(v) if op == "~" else int(v))


def binary(op: str, a: Any, b: Any) -> Any:
    if isinstance(a, bool) and isinstance(b, bool):
        return {"&": operator.and_, "|": operator.or_, "^": operator.xor}[op](a, b)
    if isinstance(a, Set):
        match op:
            case "|":
                return Set([*a, *b])
            case "&":
                return Set(x for x in a if x in b)
            case "-":
                return Set(x for x in a if x not in b)
        return Set([*(x for x in a if x not in b), *(x for x in b if x not in a)])
    if isinstance(a, str | list):
        return a + b if op == "+" else a * b
    if isinstance(a, float) or isinstance(b, float):
        return _floats(op, float(a), float(b))
    return _ints(op, a, b)


def _floats(op: str, a: float, b: float) -> float:
    match op:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "**":
            return math.pow(a, b)
        case "/":
            if b == 0:
                return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1, b)
            return a / b
        case "//":
            if b == 0 or math.isinf(a):
                return _floats("/", a, b) if b == 0 else math.nan
            return a // b
        case "%":
            return math.nan if b == 0 or math.isinf(a) else a % b
    raise Unknown(op)


def _ints(op: str, a: Any, b: Any) -> Any:
    like = a if hasattr(a, "kind") else b
    x, y = int(a), int(b)
    match op:
        case "+":
            return wrap(like, x + y)
        case "-":
            return wrap(like, x - y)
        case "*":
            return wrap(like, x * y)
        case "//" | "%":
            if y == 0:
                raise Fault("ZeroDivisionError")
            return wrap(like, x // y if op == "//" else x % y)
        case "**":
            if y < 0:
                raise Fault("ValueError")
            return wrap(like, pow(x, y, 1 << 64))
        case "&":
            return wrap(like, x & y)
        case "|":
            return wrap(like, x | y)
        case "^":
            return wrap(like, x ^ y)
        case "<<" | ">>":
            if y < 0:
                raise Fault("ValueError")
            if y >= 64:
                return wrap(like, 0 if op == "<<" or x >= 0 else -1)
            return wrap(like, x << y if op == "<<" else x >> y)
    raise Unknown(op)


def compare(op: str, a: Any, b: Any) -> bool:
    match op:
        case "==":
            return equal(a, b)
        case "!=":
            return not equal(a, b)
        case "in" | "not in":
            held = b in (None,) or (a in b if isinstance(b, str | dict) else any(equal(a, x) for x in b))
            return held == (op == "in")
    return {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}[op](a, b)


def equal(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    if isinstance(a, float):
        return bool(a == b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, list | tuple | deque):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, Set):
        return set(a) == set(b)
    if isinstance(a, dict):
        return len(a) == len(b) and all(k in b and equal(v, b[k]) for k, v in a.items())
    if isinstance(a, Heap):
        return equal([(p, x) for p, _, x in a.held], [(p, x) for p, _, x in b.held])
    if isinstance(a, Graph):
        return equal(a.nodes, b.nodes) and all(equal(a.of(u), b.of(u)) for u in range(len(a)))
    if isinstance(a, Obj):
        return a.case == b.case and all(equal(x, y) for x, y in zip(a.fields.values(), b.fields.values(), strict=True))
    return bool(a == b)


def shown(v: Any, inner: bool = False) -> str:
    if v is None:
        return "none"
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, np.ndarray):
        return shown(v.tolist())
    if isinstance(v, str):
        return repr(v) if inner else v
    if isinstance(v, list):
        return f"[{', '.join(shown(x, True) for x in v)}]"
    if isinstance(v, tuple):
        return f"({', '.join(shown(x, True) for x in v)}{',' if len(v) == 1 else ''})"
    if isinstance(v, Set):
        return f"{{{', '.join(shown(x, True) for x in v)}}}" if v else "set()"
    if isinstance(v, dict):
        return f"{{{', '.join(f'{shown(k, True)}: {shown(x, True)}' for k, x in v.items())}}}"
    if isinstance(v, deque):
        return f"deque([{', '.join(shown(x, True) for x in v)}])"
    if isinstance(v, Heap):
        return f"heap([{', '.join(shown((p, x), True) for p, _, x in v.held)}])"
    if isinstance(v, Graph):
        edges = [(u, w, e) for u in range(len(v)) for w, e in v.of(u)]
        return f"graph({shown(v.nodes, True)}, {shown(edges, True)})"
    if isinstance(v, Obj):
        return v.case + (f"({', '.join(f'{n}={shown(x, True)}' for n, x in v.fields.items())})" if v.fields else "")
    if isinstance(v, float):
        return repr(v)
    if isinstance(v, int):
        return str(int(v))
    raise Unknown(f"showing {type(v).__name__}")
