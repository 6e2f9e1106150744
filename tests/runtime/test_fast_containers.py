"""Maps, sets, deques and heaps in fast calls: the same as on the slow way, and nothing is left behind."""

from __future__ import annotations

import gc
import sys
from collections import OrderedDict, deque

import numpy as np
import pytest

import hybridc
from tests.runtime.test_fastvalues import Counted, awake, outcome

SOURCE = """
struct Shop:
    stock: map[str, int]
    seen: set[(int, str)]

fn numbers(m: map[int, f64]) -> map[int, f64]:
    return m

fn words(m: map[str, list[str]]) -> map[str, list[str]]:
    return m

fn members(s: set[str]) -> set[str]:
    return s

fn queue(d: deque[int]) -> deque[int]:
    return d

fn ranked(h: heap[int, str]) -> heap[int, str]:
    return h

fn nested(m: map[(int, bool), map[str, set[int]]]) -> map[(int, bool), map[str, set[int]]]:
    return m

fn shop(s: Shop) -> Shop:
    return s

fn maybe(m: map[str, int]?) -> map[str, int]?:
    return m

fn arrays(m: map[str, f32[N]]) -> map[str, f32[N]]:
    return m

fn total(xs: list[map[str, int]], n: int) -> int:
    var sum = 0
    for m in xs:
        for k, v in m.items():
            sum += v // n
    return sum
"""


@pytest.fixture(scope="module")
def mod(tmp_path_factory):
    path = tmp_path_factory.mktemp("containers") / "containers.hyb"
    path.write_text(SOURCE)
    return hybridc.load(path)


def values(mod):
    """By function: what a fast call serves, and what it leaves to the slow way."""
    ordered = OrderedDict([("b", ["x"]), ("a", [])])
    return {
        "numbers": ([{}, {1: 0.5, -3: float("nan")}, {i: i * 0.5 for i in range(1000)}],
                    [{1.0: 1.0}, {1: "x"}, [(1, 2.0)], None, {2**63: 1.0}]),
        "words": ([{}, {"": [], "é": ["日本", "a" * 1000]}], [ordered, {"a": "b"}, {1: ["a"]}, {"\ud800": []}]),
        "members": ([set(), {"a", "é"}, frozenset(["x"])], [["a"], {"a": 1}, {1}, ("a",)]),
        "queue": ([deque(), deque([3, 1, 2]), [1, 2]], [deque(["x"]), (1, 2), {1}]),
        "ranked": ([[], [(2, "b"), (1, "a"), (1, "c")]], [[(1,)], [("a", 1)], {1: "a"}, ((1, "a"),)]),
        "nested": ([{}, {(1, True): {"a": {1, 2}, "b": set()}, (2, False): {}}],
                   [{(1, True): {"a": {1}, "b": {"x"}}}, {(1, True): {"a": {1}}, (1, 0): {}}, {(1, True): [1]}]),
        "shop": ([mod.Shop({"apple": 1}, {(1, "x")})], [mod.Shop({"apple": 1}, {(1, 2)}), mod.Shop({"apple": "x"}, set())]),
        "maybe": ([None, {}, {"a": 1}], [{"a": None}, 3]),
        "arrays": ([{}, {"a": np.ones(3, np.float32), "b": np.zeros(3, np.float32)}], [{"a": np.ones(3)}, {"a": [1.0]}]),
    }


@pytest.mark.parametrize(
    "name", ["numbers", "words", "members", "queue", "ranked", "nested", "shop", "maybe", "arrays"])
def test_values_as_on_the_slow_way(mod, name):
    awake()
    f = Counted(mod, name)
    good, others = values(mod)[name]
    for v in good:
        awake()
        fast, slow = f.fast(v), f.slow(v)
        assert type(fast) is type(slow)
        if name == "arrays":
            assert fast.keys() == slow.keys() and all(np.array_equal(fast[k], slow[k]) for k in fast)
        elif name == "numbers":
            assert repr(fast) == repr(slow)
        else:
            assert fast == slow
    assert not f.declined
    for i, v in enumerate(others):
        assert outcome(f.fast, v) == outcome(f.slow, v), i
        assert f.declined == i + 1, i


def test_entries_keep_their_order(mod):
    awake()
    f = Counted(mod, "numbers")
    given = {i * 7919 % 1009: float(i) for i in range(500)}
    assert list(f.fast(given)) == list(given) and list(f.slow(given)) == list(given) and not f.declined


def test_a_fault_of_the_program(mod):
    awake()
    f = Counted(mod, "total")
    given = [{"a": 4, "b": 6}, {}, {"c": 2}]
    assert f.fast(given, 2) == 6 and not f.declined
    assert outcome(f.fast, given, 0) == outcome(f.slow, given, 0)
    assert f.fast(given, 1) == 12 and not f.declined


def test_nothing_leaks(mod):
    awake()
    calls = [(Counted(mod, name), v) for name, (good, others) in values(mod).items() for v in (*good, *others)]
    faulty, given = Counted(mod, "total"), [{"a": 4}, {"b": 1}]
    program = mod._parts[0].program

    def work():
        for f, v in calls:
            outcome(f.fast, v)
        outcome(faulty.fast, given, 0)
        outcome(faulty.fast, [*given, {"c": "x"}], 1)
        faulty.fast(given, 1)

    for _ in range(3):
        work()
    gc.collect()
    live, counts = program.live_blocks(), [sys.getrefcount(v) for _, v in calls if isinstance(v, dict | set | deque)]
    for _ in range(20):
        work()
    gc.collect()
    assert program.live_blocks() == live
    assert [sys.getrefcount(v) for _, v in calls if isinstance(v, dict | set | deque)] == counts
