"""Containers beside Python's: random steps on each, all in one call and one call a step, whose `mut` arguments are
changed in place, or stay as they were where the step is a fault."""

# ruff: noqa: E701

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hybridc

MODULE = hybridc.load(Path(__file__).parent / "containers.hyb")
FAULTS = (IndexError, KeyError, ValueError)
SMALL = st.integers(-3, 8)
Step = tuple[int, int, int]


def steps(kinds: int) -> st.SearchStrategy[list[Step]]:
    return st.lists(st.tuples(st.integers(0, kinds), SMALL, SMALL), max_size=24)


check = settings(max_examples=250, deadline=None, derandomize=True, database=None,
                 suppress_health_check=[HealthCheck.too_slow])


# ---- what Python does
def list_step(xs: list[int], log: list[int], kind: int, a: int, b: int) -> None:
    match kind:
        case 0: xs.append(a)
        case 1: xs.insert(a, b)
        case 2: log.append(xs.pop(a))
        case 3: xs.remove(a)
        case 4: xs[a] = b
        case 5: log += xs[a:b]
        case 6: xs[a:b] = [b, a, b]
        case 7: log += xs[a:b:-2]
        case 8: xs.sort()
        case 9: xs.reverse()
        case 10:
            for x in list(xs):
                if x % 2 == 0:
                    xs.remove(x)
                else:
                    log.append(x)
        case 11: xs[a], xs[b] = xs[b], xs[a]
        case 12: xs[::2] = list(range(a))
        case 13:
            copy = [*xs, a]
            copy[0] = b
            log.append(len(copy) - len(xs))
        case 14: xs += xs[1:]
        case 15: xs[a] += xs[b]
        case 16: log += [xs.index(a), xs.count(a)]
        case _: xs[:] = sorted(xs)[:12]


def deque_step(xs: deque[str], log: list[str], kind: int, a: int, b: int) -> None:
    match kind:
        case 0: xs.append(f"{a}")
        case 1: xs.appendleft(f"{b} left")
        case 2: log.append(xs.pop())
        case 3: log.append(xs.popleft())
        case 4: xs[a] = f"{b}"
        case 5: log.append(xs[a])
        case 6: xs.extend(f"{i}" for i in range(a))
        case 7:
            for x in list(xs):
                log.append(x)
                xs.appendleft(x)
                log.append(xs.pop())
        case 8: log.append("yes" if f"{a}" in xs else "no")
        case 9: log += ["copy", f"{len(xs)}"]
        case _:
            if len(xs) > 9:
                xs.clear()


def map_step(m: dict[str, int], log: list[str], kind: int, a: int, b: int) -> None:
    k = f"k{a % 5}"
    match kind:
        case 0: m[k] = b
        case 1: m[k] += b
        case 2: del m[k]
        case 3: log.append(f"{m.pop(k)}")
        case 4: log.append(f"{m.get(k, -1)} {'true' if k in m else 'false'}")
        case 5: log.append(f"{m.setdefault(k, b)}")
        case 6:
            for key, value in list(m.items()):
                if value % 2 == 0:
                    del m[key]
                m[f"{key}+"] = value
        case 7: log += m
        case 8: log.append(f"{sum(m.values())}")
        case 9: m.update({k: a, "other": b})
        case 10: log.append(f"{len({**m, k: -7})} -7")
        case 11:
            log += m
            m.clear()
        case _:
            if len(m) > 9:
                m.clear()


def set_step(s: set[int], log: list[int], kind: int, a: int, b: int) -> None:
    match kind:
        case 0: s.add(a)
        case 1: s.remove(a)
        case 2: s.discard(b)
        case 3: log.append(int(a in s))
        case 4: s |= {a, b, a * 31}
        case 5:
            even = {x for x in s if x % 2 == 0}
            s -= even
            s |= {x + 1 for x in even}
        case 6: s |= {a, b}
        case 7: s -= {a, b}
        case 8: s ^= {a, b}
        case 9: log.append(len(s & {a, b, 0, 1}))
        case 10: log.append(len(s) + 1)
        case 11: log += [int(s <= {a, b}), int(s >= {a}), int(s.isdisjoint({b}))]
        case _:
            if len(s) > 9:
                s.clear()


class Heap:
    """By priority, nan last, then by arrival."""

    def __init__(self) -> None:
        self.items: list[tuple[tuple[bool, float], int, float, str]] = []
        self.arrivals = itertools.count()

    def push(self, priority: float, item: str) -> None:
        key = (True, 0.0) if math.isnan(priority) else (False, priority)
        heapq.heappush(self.items, (key, next(self.arrivals), priority, item))

    def peek(self) -> tuple[float, str] | None:
        return self.items[0][2:] if self.items else None

    def pop(self) -> tuple[float, str] | None:
        return heapq.heappop(self.items)[2:] if self.items else None


def heap_step(h: Heap, log: list[tuple[float, str] | None], kind: int, a: int, b: int) -> None:
    match kind:
        case 0 | 1 | 2: h.push(a / 2, f"{b}")
        case 3 | 4: log.append(h.pop())
        case 5 | 7: log.append(h.peek())
        case 6: h.push(math.nan if a % 2 == 0 else -math.inf, f"{b}")
        case _: log.append((float(len(h.items)), "length"))


class Graph:
    def __init__(self) -> None:
        self.nodes: list[str] = []
        self.out: list[dict[int, int]] = []

    def at(self, u: int) -> int:
        if not 0 <= u < len(self.nodes):
            raise IndexError
        return u


def graph_step(g: Graph, log: list[str], kind: int, a: int, b: int) -> None:
    match kind:
        case 0 | 1:
            log.append(f"{len(g.nodes)}")
            g.nodes.append(f"n{a}")
            g.out.append({})
        case 2 | 3 | 4: g.out[g.at(a)][g.at(b)] = a * 10 + b
        case 5: g.nodes[g.at(a)] = f"m{b}"
        case 6: log.append(g.nodes[g.at(a)])
        case 7: log.append(f"{g.out[g.at(a)].get(g.at(b), -1)}")
        case 8: log.append(f"{list(g.out[g.at(a)])}")
        case 9: log.append(f"{list(g.out[g.at(a)].items())}")
        case 10: log.append(f"{len(g.nodes) + 1} [{len(g.nodes)}]")
        case _:
            for v in list(g.out[g.at(a)]):
                g.out[v][a] = b
                log.append(g.nodes[v])


# ---- both
def outcome(f: Callable[..., Any], *args: Any) -> Any:
    """What it gives, or the kind of its fault."""
    try:
        return f(*args)
    except FAULTS as e:
        return next(kind for kind in FAULTS if isinstance(e, kind))


def alone(name: str, model: Callable[..., None], start: Any, todo: list[Step]) -> None:
    """A call a step. What Python cannot do leaves Hyb's arguments as they were."""
    step = getattr(MODULE, name)
    mine, theirs, log, wanted = start, start.copy(), [], []
    for kind, a, b in todo:
        before = theirs.copy(), wanted.copy()
        found, want = outcome(step, mine, log, kind, a, b), outcome(model, theirs, wanted, kind, a, b)
        assert found == want, (kind, a, b)
        if want is not None:
            theirs, wanted = before
        assert list(mine) == list(theirs) if not isinstance(mine, set) else mine == theirs
        assert log == wanted


def together(name: str, model: Callable[..., None], start: Any, todo: list[Step]) -> None:
    """All in one call: the same in the end, or the same fault."""

    def whole(start: Any, todo: list[Step]) -> Any:
        log: list[Any] = []
        for one in todo:
            model(start, log, *one)
        return start, log

    found, want = outcome(getattr(MODULE, name), start.copy(), todo), outcome(whole, start.copy(), todo)
    if isinstance(found, tuple) and isinstance(want, tuple):
        assert list(found[0]) == list(want[0]) if not isinstance(want[0], set) else found[0] == want[0]
        assert found[1] == want[1] and (not isinstance(want[0], dict) or list(found[0].items()) == list(want[0].items()))
    else:
        assert found == want


@check
@given(st.lists(SMALL, max_size=6), steps(17))
def test_list(start: list[int], todo: list[Step]) -> None:
    together("list_steps", list_step, start, todo)
    alone("list_step", list_step, start, todo)


@check
@given(st.lists(st.sampled_from(["a", "bc", ""]), max_size=6).map(deque), steps(10))
def test_deque(start: deque[str], todo: list[Step]) -> None:
    together("deque_steps", deque_step, start, todo)
    alone("deque_step", deque_step, start, todo)


@check
@given(st.dictionaries(st.sampled_from(["k0", "k3", "other", "z"]), SMALL), steps(12))
def test_map(start: dict[str, int], todo: list[Step]) -> None:
    together("map_steps", map_step, start, todo)
    alone("map_step", map_step, start, todo)


@check
@given(st.sets(SMALL, max_size=6), steps(12))
def test_set(start: set[int], todo: list[Step]) -> None:
    together("set_steps", set_step, start, todo)
    alone("set_step", set_step, start, todo)


@check
@given(steps(8))
def test_heap(todo: list[Step]) -> None:
    heap, wanted = Heap(), []
    for one in todo:
        heap_step(heap, wanted, *one)
    while heap.items:
        wanted.append(heap.pop())
    assert str(MODULE.heap_steps(todo)) == str(wanted)  # nan is itself in text


@check
@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 4), st.integers(0, 4)), max_size=24))
def test_graph(todo: list[Step]) -> None:
    todo = [(0, i, 0) for i in range(5)] + todo
    g, wanted = Graph(), []

    def whole() -> Any:
        for one in todo:
            graph_step(g, wanted, *one)
        return g.nodes, [list(out.items()) for out in g.out], wanted

    assert outcome(MODULE.graph_steps, todo) == outcome(whole)


@check
@given(steps(11))
def test_a_graph_of_python(todo: list[Step]) -> None:
    """It stays native: each step changes it in place, or is a fault and changes nothing."""
    native, g, log, wanted = MODULE.native((["a", "b"], [(0, 1, 7)]), "graph[str, int]"), Graph(), [], []
    g.nodes, g.out = ["a", "b"], [{1: 7}, {}]
    for one in todo:
        found, want = outcome(MODULE.graph_step, native, log, *one), outcome(graph_step, g, wanted, *one)
        assert found == want, one
        edges = [(u, v, e) for u, out in enumerate(g.out) for v, e in out.items()]
        assert native.to_python() == (g.nodes, edges) and log == wanted


def test_what_is_empty() -> None:
    for name, kinds, start in (("deque_step", (2, 3, 4, 5), deque()), ("list_step", (2, 4), [])):
        for kind in kinds:
            with pytest.raises(IndexError):
                getattr(MODULE, name)(start, [], kind, 0, 0)
            assert not start
