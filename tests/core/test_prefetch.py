"""Slots of tables are asked for ahead where a loop foretells its keys (passes/prefetch.py), which changes nothing."""

from __future__ import annotations

import random

import pytest

import hybridc
from hybridc import driver
from hybridc.passes import prefetch

SOURCE = """
struct Place:
    row: int
    name: i32

fn mixed(i: int) -> int:
    return (i * 7919 + 13) % 251

fn counts(keys: list[int]) -> list[(int, int)]:
    var m: map[int, int] = {}
    for k in keys:
        m[k] = (m.get(k) ?? 0) + 1
    return m.items()

fn computed(n: int) -> list[(int, int)]:
    var m: map[int, int] = {}
    for i in range(n):
        m[mixed(i)] = i
    return m.items()

fn pairs(keys: list[(int, int)], n: int) -> int:
    let seen = set(keys)
    var found = 0
    for i in range(n):
        if (mixed(i), keys[i][1]) in seen:
            found += 1
    return found

fn structs(keys: list[Place]) -> int:
    var m: map[Place, int] = {}
    for i in range(len(keys)):
        m[keys[len(keys) - 1 - i]] = i
    return len(m)

fn both(keys: list[int], others: list[int]) -> int:
    let seen = set(others)
    var m: map[int, int] = {}
    for k in keys:
        if k in seen and k not in m:
            m[k] = k * 2
    return sum(m.values())

fn changing(keys: list[int]) -> list[int]:
    var ks = keys
    var m: map[int, int] = {}
    for i in range(len(keys)):
        ks[(i + 3) % len(keys)] = ks[i] + 1
        m[ks[i]] = i
    return m.keys()

fn carried(n: int) -> int:
    var m: map[int, int] = {}
    var k = 1
    for i in range(n):
        k = k * 48271 % 2147483647
        m[k % 97] = i
    return len(m)

fn words(keys: list[str]) -> list[(str, int)]:
    var m: map[str, int] = {}
    for k in keys:
        m[k] = (m.get(k) ?? 0) + 1
    return m.items()

export counts
export computed
export pairs
export structs
export both
export changing
export carried
export words
"""
ASKING = {"counts": 1, "computed": 1, "pairs": 3, "structs": 1, "both": 2, "changing": 0, "carried": 0, "words": 0}
"""How many slots its loops ask for: making a set of a list is one too, and that of `pairs` is in two versions."""


@pytest.fixture(scope="module")
def mod(tmp_path_factory):
    """With slots asked for in small tables too."""
    folder = tmp_path_factory.mktemp("prefetch")
    path = folder / "keys.hyb"
    path.write_text(SOURCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYB_CACHE_DIR", str(folder / "cache"))
        patch.setattr(prefetch, "LARGE", 8)
        yield hybridc.load(str(path))


def counted(keys):
    found: dict = {}
    for k in keys:
        found[k] = found.get(k, 0) + 1
    return list(found.items())


def mixed(i: int) -> int:
    return (i * 7919 + 13) % 251


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 300])
def test_the_results_stay(mod, n: int) -> None:
    rng = random.Random(n)
    keys = [rng.randrange(-50, 50) for _ in range(n)]
    others = [rng.randrange(-50, 50) for _ in range(n)]
    assert mod.counts(keys) == counted(keys)
    assert mod.words([str(k) for k in keys]) == counted([str(k) for k in keys])
    assert mod.computed(n) == list({mixed(i): i for i in range(n)}.items())
    both = list(zip([mixed(i) if i % 2 else 0 for i in range(n)], others, strict=True))
    assert mod.pairs(both, n) == sum((mixed(i), both[i][1]) in set(both) for i in range(n))
    assert mod.structs([mod.Place(k % 7, k % 5) for k in keys]) == len({(k % 7, k % 5) for k in keys})
    assert mod.both(keys, others) == sum(2 * k for k in set(keys) & set(others))
    ks = list(keys)
    seen = {}
    for i in range(n):
        ks[(i + 3) % n] = ks[i] + 1
        seen[ks[i]] = i
    assert mod.changing(keys) == list(seen)


def test_what_lies_ahead_is_not_read_beyond_a_list(mod) -> None:
    with pytest.raises(IndexError):
        mod.pairs([(1, 2)] * 20, 25)


def test_where_slots_are_asked_for(tmp_path) -> None:
    path = tmp_path / "keys.hyb"
    path.write_text(SOURCE)
    parts = driver.emit(str(path), "core").split("\nfn ")
    text = {part.split(" ", 1)[0]: part.split("\n}\n")[0] for part in parts}
    assert {name: text[name].count("buffer_prefetch(") for name in ASKING} == ASKING
