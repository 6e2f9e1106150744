"""Sizes that overflow or are negative, and lists beyond what memory there is: exceptions, at once, and the module goes
on."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

import hybridc

SOURCE = """
fn filled(n: int) -> int:
    return len([0 for i in range(n)])

fn pairs(n: int) -> int:
    return len([(i, x) for i, x in enumerate(range(n))])

fn grown(n: int) -> int:
    var xs: list[int] = []
    for i in range(n):
        xs.append(i)
    return len(xs)

fn repeated(n: int) -> int:
    return len([1, 2, 3] * n)

fn text(n: int) -> int:
    return len("abc" * n)

fn zeroes(a: int, b: int) -> int:
    let x: f64[?, ?] = zeros(a, b)
    return shape(x)[0] * shape(x)[1]

fn reshaped(x: f32[N], a: int, b: int) -> int:
    return shape(reshape(x, a, b))[0]

fn ordered(xs: list[f64]) -> list[f64]:
    return sorted(xs)
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("sizes") / "sizes.hyb"
    found.write_text(SOURCE)
    return found


@pytest.fixture(scope="module")
def mod(path: Path):
    return hybridc.load(str(path))


@pytest.mark.parametrize("name", ["filled", "pairs", "repeated", "text"])
def test_sizes_that_overflow(mod, name: str) -> None:
    f = getattr(mod, name)
    assert f(-5) == 0 and f(2) == {"repeated": 6, "text": 6}.get(name, 2)
    for n in (2**60, 2**61, 2**62, 2**63 - 1):
        start = time.process_time()
        with pytest.raises(MemoryError):
            f(n)
        assert time.process_time() - start < 1


def test_sizes_of_tensors(mod) -> None:
    for a, b, error in ((2**40, 2**40, MemoryError), (2**61, 1, MemoryError), (-1, 3, ValueError), (3, -1, ValueError)):
        with pytest.raises(error):
            mod.zeroes(a, b)
    assert mod.zeroes(0, 2**62) == 0
    for a, b in ((2**32, 2**32), (2**63 - 1, 2), (3, 1)):
        with pytest.raises(ValueError, match="does not fit in shape"):
            mod.reshaped([1, 2], a, b)


def test_an_order_that_is_none(mod) -> None:
    """nan is beyond all; the others are in order."""
    nan = float("nan")
    got = mod.ordered([nan if i % 3 == 0 else float(-i) for i in range(10_000)])
    assert got[:6666] == sorted(-i for i in range(10_000) if i % 3) and all(x != x for x in got[6666:])


LITTLE = """
import resource, sys
import hybridc
mod = hybridc.load(sys.argv[1])
for f in (mod.filled, mod.grown, mod.text):
    f(10)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 512_000_000,) * 2)
for f, n in ((mod.filled, 10**8), (mod.grown, 10**8), (mod.text, 10**9)):
    try:
        f(n)
    except MemoryError as e:
        print(isinstance(e, hybridc.RuntimeFault))
print(mod.filled(1000), mod.grown(1000))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_a_hundred_million_items_in_512_mb(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LITTLE, str(path)], capture_output=True, text=True, timeout=300)
    assert done.stdout == "True\nTrue\nTrue\n1000 1000\n", done.stderr
