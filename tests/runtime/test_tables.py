"""Faults in tables whose rows are known to have one length: as before, where they were."""

from __future__ import annotations

import itertools

import pytest
from test_counted_loops import at, outcome

import hybridc

SOURCE = """
fn read(n: int, m: int, i: int, j: int) -> int:
    let t = [[a * 100 + b for b in range(m)] for a in range(n)]
    return t[i][j]

fn column(n: int, m: int, a: int, b: int, j: int) -> int:
    var t = [[1] * m for _ in range(n)]
    t[0][0] = 5
    var total = 0
    for i in range(a, b):
        total += t[i + 1][j]
    return total

fn written(n: int, m: int, i: int, j: int) -> int:
    var t = [[0] * m for _ in range(n)]
    for k in range(3):
        t[i][j + k] = k
    return t[i][j]
"""


@pytest.fixture(scope="module")
def mod(tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / "tables.hyb"
    path.write_text(SOURCE)
    return hybridc.load(str(path))


def table(n, m):
    return [[1] * max(m, 0) for _ in range(n)]


def read(n, m, i, j):
    return at(at([[a * 100 + b for b in range(m)] for a in range(n)], i), j)


def column(n, m, a, b, j):
    t = table(n, m)
    at(at(t, 0), 0)
    t[0][0] = 5
    return sum([at(at(t, i + 1), j) for i in range(a, b)])


def written(n, m, i, j):
    t = table(n, m)
    for k in range(3):
        at(at(t, i), j + k)
        t[i][j + k] = k
    return t[i][j]


SIZES = [-1, 0, 1, 3]
PLACES = [-4, -3, -1, 0, 2, 3]


def test_faults_stay_where_they_are(mod):
    for n, m, i, j in itertools.product(SIZES, SIZES, PLACES, PLACES):
        assert outcome(mod.read, n, m, i, j) == outcome(read, n, m, i, j), (n, m, i, j)
        assert outcome(mod.written, n, m, i, j) == outcome(written, n, m, i, j), (n, m, i, j)
    for n, m, a, b, j in itertools.product(SIZES[1:], SIZES[1:], [-4, -1, 0, 1], [0, 2, 3], PLACES):
        assert outcome(mod.column, n, m, a, b, j) == outcome(column, n, m, a, b, j), (n, m, a, b, j)
