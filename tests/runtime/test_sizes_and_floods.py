"""Bad input for containers: sizes that overflow, negative ones, keys that collide, more than there is memory for."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

import hybridc

SOURCE = '''
fn repeated(xs: list[int], n: int) -> int:
    return len(xs * n)

fn text(s: str, n: int) -> int:
    return len(s * n)

fn wide(n: int) -> int:
    return len("x".ljust(n))

fn different(keys: list[int]) -> int:
    var seen: map[int, int] = {}
    for k in keys:
        seen[k] = (seen.get(k) ?? 0) + 1
    return len(seen)

fn words(keys: list[str]) -> int:
    return len(set(keys))

fn zeros_of(n: int) -> int:
    let zeros = [0 for i in range(n)]
    return len(zeros)

fn grown(n: int) -> (int, int):
    """A list, a map and what was before the list grew on."""
    var xs: list[int] = []
    var before: list[int] = []
    var m: map[int, (int, int)] = {}
    for i in range(n):
        if i == n // 2:
            before = xs
        xs.push(i)
        m[i * i % 1000003] = (i, -i)
    xs[0] = 7
    var total = 0
    for i in range(len(before)):
        total += before[i] - xs[i]
    for k in m:
        let (a, b) = m[k]
        total += a + b + k - a * a % 1000003
    return (total, sum(xs) + len(m))

fn compared(n: int) -> int:
    """By keys that have no order: nan is neither before nor after anything."""
    let xs = sorted([i for i in range(n)], key=fn(i): (nan if i % 3 == 0 else f64(i % 7), str(i)))
    return sum(xs)
'''


@pytest.fixture(scope="module")
def mod(tmp_path_factory):
    path = tmp_path_factory.mktemp("sizes") / "sizes.hyb"
    path.write_text(SOURCE)
    return hybridc.load(path)


def test_sizes_that_overflow(mod):
    for n in (2**62, 2**61 + 1, 2**63 - 1):
        with pytest.raises(MemoryError):
            mod.repeated([1, 2, 3, 4], n)
        with pytest.raises(MemoryError):
            mod.text("abcd", n)
    with pytest.raises(MemoryError):
        mod.wide(2**62)
    assert mod.repeated([], 2**63 - 1) == 0 and mod.text("", 2**63 - 1) == 0
    assert mod.repeated([1], -(2**63)) == 0 and mod.repeated([1, 2], 3) == 6


def test_keys_that_collide_without_a_seed(mod):
    """All equal in the lower half of the hash that multiplies by the golden ratio."""
    inverse = pow(0x9E3779B97F4A7C15, -1, 1 << 64)
    signed = [k - (1 << 64) if k >> 63 else k for k in ((h << 32 | h) * inverse % (1 << 64) for h in range(1_000_000))]
    start = time.process_time()
    assert mod.different(signed) == 1_000_000
    assert mod.different([h << 40 for h in range(300_000)]) == 300_000
    assert time.process_time() - start < 10
    assert mod.words([f"{'x' * 8}{i:08d}" for i in range(100_000)]) == 100_000


def test_what_is_no_order_is_sorted_to_an_end(mod):
    assert mod.compared(1000) == 999 * 1000 // 2


def test_more_than_there_is_memory_for(tmp_path):
    path = tmp_path / "sizes.hyb"
    path.write_text(SOURCE)
    program = f"""
import resource, hybridc
mod = hybridc.load({str(path)!r})
assert mod.zeros_of(1000) == 1000
resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))
try:
    mod.zeros_of(10**8)
except MemoryError:
    print("no memory")
assert mod.zeros_of(1000) == 1000
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stdout) == (0, "no memory\n"), run.stderr


def test_growth_beyond_what_lies_in_the_heap(mod):
    n = 5_000_000
    assert mod.grown(n) == (-7, n * (n - 1) // 2 + 7 + len({i * i % 1000003 for i in range(1000003)}))
