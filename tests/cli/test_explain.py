"""`hybridc explain`."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybridc.explaining import explain

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = '''\
fn layer(x: f32[N, 64], w: f32[64, 32]) -> f32[N, 32]:
    return relu(x @ w) + 1.0

fn two(x: f32[N, 64], w: f32[64, 512], v: f32[512, 32]) -> f32[N, 32]:
    return relu(x @ w) @ v
'''


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "p.hyb").write_text(SOURCE)
    return str(tmp_path / "p.hyb")


def test_cpu(file: str) -> None:
    text = explain(file, "layer")
    assert "two(" not in text and f"kernel 1 ({file}:2): product" in text
    # 2·64·32 for each row and three operators on its 32 columns.
    assert "bytes: 256·x.0 + 8 192 read, 128·x.0 written" in text and "operations: 4 192·x.0" in text


def test_gpu(file: str) -> None:
    text = explain(file, "two", target="cuda:sm_90")
    assert text.count("transfer to the GPU") == 3 and text.count("transfer to the host") == 1
    assert "not in one kernel:" in text and ": a product of a product" in text


def test_no_such_function(file: str) -> None:
    with pytest.raises(LookupError, match="no function three"):
        explain(file, "three")


COPYING = '''\
fn both(xs: list[int]) -> (list[int], list[int]):
    var ys = xs
    ys[0] = 1
    return ys, xs

fn row(mut grid: list[list[int]]) -> int:
    var first = grid[0]
    first[1] = 7
    return first[1] + grid[0][1]

fn filled(n: int) -> list[int]:
    var xs: list[int] = []
    for i in range(n):
        xs.push(i)
    xs[0] = 5
    return xs

fn nested(mut grid: list[list[int]]):
    for i in range(len(grid)):
        grid[i][0] += 1
        grid[i].push(3)
'''


def test_copies(tmp_path: Path) -> None:
    (tmp_path / "c.hyb").write_text(COPYING)
    lines = [line for line in explain(str(tmp_path / "c.hyb")).splitlines() if line]
    assert [(line.split(":")[0], line.partition("): ")[2]) for line in lines if line.startswith("  ")] == [
        ("  copies xs", "it is written, and needed as it was"),
        (lines[-1].split(":")[0], "it is written, and stays where it was read"),
    ]
    assert lines[0].startswith("both(") and lines[2].startswith("row(")
    assert "`list[int]`" in lines[-1] and f"({tmp_path / 'c.hyb'}:7)" in lines[-1]


def test_sizes_that_are_compared_when_it_runs(tmp_path: Path) -> None:
    (tmp_path / "q.hyb").write_text("fn f(x: f32[N, 8], y: f32[?, 8]) -> f32[N, 8]:\n    return x + y\n")
    text = explain(str(tmp_path / "q.hyb"), "f")
    assert f"checked when it runs:\n    the operands of add agree ({tmp_path}/q.hyb:2)" in text
