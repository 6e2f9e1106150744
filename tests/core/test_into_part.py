"""What maps make only for a part of a tensor is computed there (passes/into_part.py): what it means stays, faults too."""

from __future__ import annotations

import numpy as np
import pytest

import hybridc
from hybridc import checking, driver, pipeline
from hybridc.core.interp import Interpreter
from hybridc.core.printer import print_program
from hybridc.core.values import InterpFault
from hybridc.core.verify import check_after
from hybridc.passes import into_part
from tests.core.texts import parsed

HEAD = "fn f(v%1: f64[?], a%2: f64[?], b%3: f64[2]) -> (f64[?]) {\n"
SQUARE = "  %4: f64[2] = map[axes=((0,), (0,),), `fn`=\"mul\"](b%3, b%3)\n"
OPEN = "  %4: f64[?] = map[axes=((0,), (0,),), `fn`=\"mul\"](a%2, b%3)\n"
PUT = "  %6: f64[?] = update[axes=(0,), `fn`=\"add\", kinds=(\"ab\",)](v%1, %4, 1, 3)\n"
END = "  yield %6\n}\n"
SUM = "  %8: f64 = reduce[axes=(0,), `fn`=\"sum\"](a%2)\n"
TAKEN = {
    "one after the other": HEAD + SQUARE + PUT + END,
    "set, not added": HEAD + SQUARE + PUT.replace("add", "set") + END,
    "past a sum": HEAD + OPEN + SUM + PUT + END,
    "past what may stop, being safe": HEAD + SQUARE + "  %8: f64 = index[kinds=(\"i\",)](a%2, 1)\n" + PUT + END,
}
LEFT = {
    "used twice": HEAD + SQUARE + PUT.replace("(v%1", "(%8").replace("%6:", "  %8: f64[?] = map[axes=((0,),), "
                  "`fn`=\"neg\"](%4)\n  %6:", 1) + END,
    "past what may stop": HEAD + OPEN + "  %8: f64 = index[kinds=(\"i\",)](a%2, 1)\n" + PUT + END,
    "past a write to what it reads": HEAD + OPEN + "  %8: f64[?] = update[axes=(), kinds=(\"i\",)](a%2, 0.0, 0)\n"
        + PUT.replace("v%1", "%8") + END,
    "its own target": HEAD + OPEN.replace("a%2", "v%1") + PUT + END,
    "in steps": HEAD + SQUARE + PUT.replace("(\"ab\",)", "(\"abc\",)").replace("1, 3)", "1, 4, 2)") + END,
    "past a call": "fn g() -> () {\n  yield\n}\n\n" + HEAD + SQUARE + "  call g()\n" + PUT + END,
}


def values(text):
    program = parsed(text)
    after = into_part.run(program)
    check_after("into_part", after)
    return program, after


@pytest.mark.parametrize("name", TAKEN)
def test_computed_where_it_goes(name):
    before, after = values(TAKEN[name])
    shown = print_program(after)
    assert shown.index("fused") < shown.index("map") < shown.index("update") < shown.rindex("yield")
    args = [np.arange(5.0), np.array([7.0, 3.0]), np.array([2.0, 5.0])]
    want, got = (Interpreter(p).call("f", [x.copy() for x in args])[0] for p in (before, after))
    assert got.tolist() == want.tolist() and got[1] != 1 and got[0] == 0


@pytest.mark.parametrize("name", LEFT)
def test_left_as_it_is(name):
    before, after = values(LEFT[name])
    assert print_program(after) == print_program(before) and after.fns["f"] is before.fns["f"]


PARTS = """
fn part(x: f64[N], v: f64[M], i: int) -> f64[N]:
    var y = x
    y[i:] += v * v
    return y

fn row(x: f64[N, 20], v: f64[20], i: int) -> f64[N, 20]:
    var y = x
    y[i] -= v * v
    return y

fn ordered(x: f64[N], v: f64[M], w: f64[K], i: int) -> f64[N]:
    var y = x
    y[i:i + 1] += v[i:i + 1] * w[i]
    return y
"""
ODD = [
    ("part", (np.zeros(4), np.zeros(3), 2)), ("part", (np.zeros(4), np.zeros(1), 3)),
    ("part", (np.ones(4), np.ones(3), 1)),
    ("row", (np.zeros((3, 20)), np.ones(20), 3)), ("row", (np.zeros((3, 20)), np.ones(20), -3)),
    ("row", (np.zeros((3, 20)), np.ones(20), -4)), ("ordered", (np.zeros(3), np.zeros(2), np.zeros(2), 2)),
    ("ordered", (np.zeros(3), np.zeros(2), np.zeros(3), 2)), ("ordered", (np.zeros(3), np.ones(3), np.ones(3), 2)),
]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory):
    file = tmp_path_factory.mktemp("parts") / "parts.hyb"
    file.write_text(PARTS)
    checked = checking.check(str(file))
    core, interface = driver.lower(checked)
    after = pipeline.optimise(core, interface, checked.sources)
    assert print_program(after).count("update") == 3 == print_program(after).count("fused")
    return [Interpreter(core), Interpreter(after)], hybridc.load(str(file))


def outcome(f, *args):
    """What a call gives, or of which kind its fault is and what it says."""
    try:
        return np.asarray(f(*args)).tolist()
    except InterpFault as fault:
        return str(fault)
    except (ValueError, IndexError) as fault:
        return f"{type(fault).__name__}: {fault.args[0]}"


def test_faults_are_the_same(engines):
    machines, mod = engines
    faults = 0
    for name, args in ODD:
        first, *others = (outcome(lambda *xs, m=m, name=name: m.call(name, xs)[0], *args) for m in machines)
        assert [*others, outcome(getattr(mod, name), *args)] == [first, first]
        faults += isinstance(first, str)
    assert faults == 5
