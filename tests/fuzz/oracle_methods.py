"""Built-in functions and methods of the oracle: Python's own wherever there is one."""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Callable
from typing import Any

from tests.fuzz.oracle_values import (
    I32,
    U8,
    Fault,
    Graph,
    Heap,
    Obj,
    Set,
    Store,
    Unknown,
    binary,
    cast,
    compare,
    dup,
    equal,
    shown,
    unary,
)


def joined(items: list[Any]) -> list[Any]:
    """A list literal: an int literal beside a float is one."""
    return [float(i) if type(i) is int else i for i in items] if any(isinstance(i, float) for i in items) else items


def element(owner: Any, key: Any) -> Any:
    if isinstance(owner, dict):
        if key not in owner:
            raise Fault("KeyError")
        return owner[key]
    if not -len(owner) <= key < len(owner):
        raise Fault("IndexError")
    return owner[key]


def sliced(v: Any, a: Any, b: Any, step: Any) -> Any:
    if step == 0:
        raise Fault("ValueError")
    return v[slice(a, b, step)]


def formatted(v: Any, spec: str) -> str:
    if not spec:
        return shown(v)
    if isinstance(v, bool) or not isinstance(v, int | float | str):
        raise Unknown("format")
    return format(int(v) if isinstance(v, int) else v, spec)


def _key(v: Any) -> Any:
    return functools.cmp_to_key(lambda a, b: -1 if compare("<", a, b) else 1 if compare("<", b, a) else 0)(v)


def _largest(items: list[Any], least: bool, signs: bool = False) -> Any:
    """The first of the largest or least; by `signs` -0.0 is less than 0.0 (IEEE 754's minimum and maximum)."""
    best = items[0]
    for x in items[1:]:
        if isinstance(x, float) and (math.isnan(x) or math.isnan(best)):
            best = math.nan
        elif signs and x == best == 0 and isinstance(x, float):
            best = x if (math.copysign(1, x) < 0) == least else best
        elif compare("<", x, best) if least else compare("<", best, x):
            best = x
    return best


def function(name: str, args: list[Any]) -> Any:
    first = args[0] if args else None
    match name:
        case "len":
            return len(first)
        case "int" | "i32" | "u8":
            if isinstance(first, str):
                try:
                    return cast(name, int(first))
                except ValueError:
                    raise Fault("ValueError") from None
            return cast(name, int(first) if isinstance(first, bool) else first)
        case "f64" | "f32" | "f16" | "bf16":
            return float(first)
        case "bool":
            return bool(first)
        case "str":
            return shown(first)
        case "abs":
            return abs(first) if isinstance(first, float) else first if first >= 0 else unary("-", first)
        case "min" | "max":
            if len(args) == 1:
                if not first:
                    raise Fault("ValueError")
                return _largest(list(first), name == "min")
            if any(isinstance(a, float) for a in args):
                args = [float(a) for a in args]
            elif any(hasattr(a, "kind") for a in args):
                kind = next(a.kind for a in args if hasattr(a, "kind"))
                args = [cast(kind, int(a)) for a in args]
            return _largest(args, name == "min", signs=True)
        case "sum":
            total: Any = 0
            for x in first:
                total = binary("+", total, x)
            return total
        case "floor":
            return first if not isinstance(first, float) or not math.isfinite(first) else float(math.floor(first)) if first != 0 else first
        case "round":
            return first if not isinstance(first, float) or not math.isfinite(first) else math.copysign(float(round(first)), first)
        case "clamp":
            return first if math.isnan(first) else min(max(first, float(args[1])), float(args[2]))
        case "sqrt":
            return math.sqrt(first) if first >= 0 else math.nan
        case "sin" | "cos":
            return getattr(math, name)(first) if math.isfinite(first) else math.nan
        case "tanh" | "erf":
            return getattr(math, name)(first)
        case "exp" | "log":
            return getattr(math, name)(first)
        case "rsqrt":
            return 1 / math.sqrt(first)
        case "relu":
            return first if math.isnan(first) else max(first, 0.0)
        case "sigmoid" | "silu":
            one = 1 / (1 + math.exp(-first)) if not first <= -700 else 0.0
            return one if name == "sigmoid" else first * one
        case "softplus":
            return first if first > 30 else math.log1p(math.exp(first))
        case "gelu":
            return 0.5 * first * (1 + math.erf(first / math.sqrt(2)))
        case "chr":
            return chr(first)
        case "ord":
            return ord(first)
        case "range":
            return list(range(*args))
        case "enumerate":
            return list(enumerate(first))
        case "zip":
            return list(zip(*args))
        case "sorted":
            return sorted(first, key=_key)
        case "reversed":
            return list(reversed(first))
        case "bfs":
            first.check(args[1])
            order, waiting = [args[1]], deque([args[1]])
            while waiting:
                for v, _ in first.of(waiting.popleft()):
                    if v not in order:
                        order.append(v)
                        waiting.append(v)
            return order
    raise Unknown(name)


def _graph(g: Graph, name: str, args: list[Any]) -> Any:
    if name == "add_node":
        g.nodes.append(args[0])
        return len(g) - 1
    for u in args[: 2 if name in ("add_edge", "edge") else 1]:
        g.check(u)
    match name:
        case "add_edge":
            g.edges[args[0], args[1]] = args[2]
            return None
        case "node":
            return dup(g.nodes[args[0]])
        case "set_node":
            g.nodes[args[0]] = args[1]
            return None
        case "edge":
            return dup(g.edges.get((args[0], args[1])))
        case "neighbors":
            return [v for v, _ in g.of(args[0])]
        case "edges":
            return dup(g.of(args[0]))
    raise Unknown(f"graph.{name}")


def method(owner: Any, name: str, args: list[Any], named: dict[str, Any], apply: Callable[..., Any]) -> Any:
    if isinstance(owner, str):
        return _text(owner, name, args)
    if isinstance(owner, list):
        return _list(owner, name, args, named, apply)
    if isinstance(owner, Set):
        return _set(owner, name, args)
    if isinstance(owner, Store) and name == "commit":
        return owner.commit()
    if isinstance(owner, dict):
        return _map(owner, name, args)
    if isinstance(owner, Graph):
        return _graph(owner, name, args)
    if isinstance(owner, deque):
        if name in ("pop", "popleft") and not owner:
            raise Fault("IndexError")
        return {"push": owner.append, "append": owner.append, "appendleft": owner.appendleft, "pop": owner.pop, "popleft": owner.popleft}[name](*args)
    if isinstance(owner, Heap):
        if name == "push":
            return owner.push(*args)
        if not owner.held:
            return None
        p, _, x = owner.held.pop(0) if name == "pop" else owner.held[0]
        return p, dup(x)
    raise Unknown(f"{type(owner).__name__}.{name}")


def _text(t: str, name: str, args: list[Any]) -> Any:
    match name:
        case "chars":
            return list(t)
        case "bytes":
            return [U8(b) for b in t.encode()]
        case "join":
            return t.join(args[0])
        case "isdigit" | "isalpha" | "isalnum" | "isspace" | "lower" | "upper" | "strip" | "lstrip" | "rstrip" | "replace" | "removeprefix":
            return getattr(t, name)(*args)
        case "removesuffix" | "ljust" | "rjust" | "center" | "zfill" | "partition" | "find" | "rfind" | "count" | "startswith" | "endswith":
            return getattr(t, name)(*args)
        case "split" | "splitlines" | "capitalize" | "title" | "swapcase" | "islower" | "isupper":
            return getattr(t, name)(*args)
    raise Unknown(f"str.{name}")


def _list(xs: list[Any], name: str, args: list[Any], named: dict[str, Any], apply: Callable[..., Any]) -> Any:
    match name:
        case "push" | "append":
            return xs.append(args[0])
        case "insert" | "extend" | "reverse" | "clear":
            return getattr(xs, name)(*args)
        case "pop":
            if not xs or args and not -len(xs) <= args[0] < len(xs):
                raise Fault("IndexError")
            return xs.pop(*args)
        case "remove" | "index":
            at = next((i for i, x in enumerate(xs) if equal(x, args[0])), None)
            if at is None:
                raise Fault("ValueError")
            return xs.pop(at) if name == "remove" else at
        case "count":
            return sum(equal(x, args[0]) for x in xs)
        case "reversed":
            return xs[::-1]
        case "sort" | "sorted":
            backwards = named.get("reverse", False)
            key = named.get("key")
            made = sorted(xs, key=lambda x: _key(apply(key, dup(x)) if key is not None else x), reverse=backwards)
            if name == "sorted":
                return made
            xs[:] = made
            return None
        case "map":
            return [apply(args[0], dup(x)) for x in xs]
        case "filter":
            return [x for x in xs if apply(args[0], dup(x))]
        case "fold":
            made = args[0]
            for x in xs:
                made = apply(args[1], made, dup(x))
            return made
    raise Unknown(f"list.{name}")


def _map(m: dict[Any, Any], name: str, args: list[Any]) -> Any:
    match name:
        case "get":
            return dup(m.get(args[0]))
        case "keys":
            return list(m)
        case "values":
            return [dup(v) for v in m.values()]
        case "items":
            return [(k, dup(v)) for k, v in m.items()]
        case "remove" | "pop":
            if args[0] not in m:
                raise Fault("KeyError")
            found = m.pop(args[0])
            return found if name == "pop" else None
        case "setdefault":
            return dup(m.setdefault(*args))
        case "update" | "clear":
            return getattr(m, name)(*args)
    raise Unknown(f"map.{name}")


def _set(m: Set, name: str, args: list[Any]) -> Any:
    match name:
        case "add":
            m.setdefault(args[0])
            return None
        case "discard":
            m.pop(args[0], None)
            return None
        case "remove":
            if args[0] not in m:
                raise Fault("KeyError")
            del m[args[0]]
            return None
        case "update":
            for x in args[0]:
                m.setdefault(x)
            return None
    raise Unknown(f"set.{name}")


__all__ = ["I32", "Obj", "element", "formatted", "function", "joined", "method", "sliced"]
