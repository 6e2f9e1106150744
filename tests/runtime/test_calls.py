"""Faults, interrupts, services of the host, function values, parallel loops."""

from __future__ import annotations

import ctypes
import io
import os
import pickle
import signal
import threading
import time
import traceback
from contextlib import redirect_stdout

import pytest
from core_module import INT, STR, TEXT, entry, interface, live, module
from hybridc_runtime import RuntimeFault

from hybridc.core import ir
from hybridc.core.interface import Kind

pytestmark = pytest.mark.usefixtures("unoptimised")

FN = ir.EnumT("fn(int) -> int")
CODE = STR + """
enum `fn(int) -> int` { times(n: int) Host(id: int) }

fn div "div"(a%1: int, b%2: int) -> (int) { %3: int = floordiv(a%1, b%2) yield %3 }
fn outer "outer"(a%1: int, b%2: int) -> (int) { %3: int = call div(a%1, b%2) yield %3 }
fn index "index"(a%1: int) -> (int) { fault IndexError a%1, 3 }
fn raise "raise"(s%1: str) -> (int) { fault HybError s%1 }
fn deep "deep"(n%1: int) -> (int) {
  %2: int = call deep(n%1)
  %3: int = add(%2, n%1)
  yield %3
}
fn spin "spin"(n%1: int) -> (int) {
  %9: int = loop 1 (i%2: int = n%1) {
    %3: bool = eq(i%2, 0)
    if %3 { exit 1 i%2 } else { yield }
    %4: int = add(i%2, 2)
    %5: int = bit_or(%4, 1)
    yield %5
  }
  yield %9
}
fn changed(xs%1: str) -> (int, str) { %2: int = call spin(1) yield %2, xs%1 }
fn say(s%1: str) -> () { host[name="print"](s%1) yield }
fn twice(x%1: int) -> (int) { %2: int = host[name="extern double"](x%1) %3: int = add(%2, %2) yield %3 }
fn make(n%1: int) -> (`fn(int) -> int`) { %2: `fn(int) -> int` = enum[case="times"](n%1) yield %2 }
fn `apply fn(int) -> int`(f%1: `fn(int) -> int`, x%2: int) -> (int) {
  %6: int = match f%1 {
    times(n%3: int) { %4: int = mul(n%3, x%2) yield %4 }
    Host(id%5: int) { %7: int = host[name="call"](id%5, x%2) yield %7 }
  }
  yield %6
}
fn use(f%1: `fn(int) -> int`, x%2: int) -> (int) {
  %3: int = call `apply fn(int) -> int`(f%1, x%2)
  yield %3
}
fn each(n%1: int, d%2: int) -> (int) {
  %9: buffer[int] = parallel i%3: int < n%1 {
    %4: int = sub(i%3, d%2)
    %6: str = str[text="turn"]()
    host[name="print"](%6)
    %5: int = floordiv(100, %4)
    yield %5
  }
  %10: int = buffer_len(%9)
  yield %10
}
fn many(n%1: int) -> (int) {
  %9: buffer[int] = parallel i%3: int < n%1 { %4: int = add(i%3, 1) %5: int = call spin(%4) yield %5 }
  %10: int = buffer_len(%9)
  yield %10
}
"""


def build(**options):
    two = [("a", INT), ("b", INT)]
    made = interface(
        div=entry("div", *two, result=INT), outer=entry("outer", *two, result=INT), index=entry("index", ("a", INT), result=INT),
        raises=entry("raise", ("s", TEXT), result=INT), deep=entry("deep", ("n", INT), result=INT),
        spin=entry("spin", ("n", INT), result=INT), changed=entry("changed", ("xs", TEXT), result=INT, mut=""),
        say=entry("say", ("s", TEXT)), twice=entry("twice", ("x", INT), result=INT), make=entry("make", ("n", INT), result=FN),
        use=entry("use", ("f", FN), ("x", INT), result=INT), each=entry("each", ("n", INT), ("d", INT), result=INT),
        many=entry("many", ("n", INT), result=INT),
    )
    made.fns.pop("changed")
    made.kinds["fn(int) -> int"] = Kind("fn", [INT, INT], helpers={"apply": "apply fn(int) -> int"}, muts=[False])
    made.externs = ["double"]
    return module(CODE, made, **{"externs": {"double": lambda x: 2 * x}} | options)


@pytest.fixture(scope="module")
def mod():
    return build()


def test_faults(mod):
    before = live(mod)
    for site in mod._parts[0].program.sites:
        site[:2] = ["prog.hyb", 7]
    with pytest.raises(ZeroDivisionError) as e:
        mod.outer(1, 0)
    assert isinstance(e.value, RuntimeFault)
    assert [name for _, _, name in e.value.frames] == ["outer", "div"]
    text = "".join(traceback.format_exception(e.value))
    assert 'File "prog.hyb", line 7, in div' in text and "^^^" not in text.split("prog.hyb")[-1]
    again = pickle.loads(pickle.dumps(e.value))
    assert type(again) is type(e.value) and again.frames == e.value.frames
    with pytest.raises(IndexError, match="index 5 is out of range for length 3"):
        mod.index(5)
    with pytest.raises(RuntimeFault, match="naïve"):
        mod.raises("naïve")
    with pytest.raises(RecursionError):
        mod.deep(1)
    assert mod.div(7, 2) == 3 and live(mod) == before


def test_recursion_in_a_thread(mod):
    found = []

    def run():
        try:
            mod.deep(1)
        except RecursionError as e:
            found.append(e)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found and mod.div(8, 2) == 4


@pytest.mark.parametrize("name", ["spin", "many"])
def test_interrupt(mod, name):
    for _ in range(2):
        sent = []
        timer = threading.Timer(0.3, lambda: (sent.append(time.monotonic()), os.kill(os.getpid(), signal.SIGINT)))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            getattr(mod, name)(4)
        assert time.monotonic() - sent[0] < 1
    assert mod.div(9, 3) == 3


def test_print_and_externs(mod):
    out = io.StringIO()
    with redirect_stdout(out):
        mod.say("é")
    assert out.getvalue() == "é\n" and mod.twice(4) == 16
    with pytest.raises(ValueError, match="double"):
        build(externs={})
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
    assert build(externs={"double": kind(lambda x: x + 1)}).twice(1) == 4

    def fails(x):
        raise LookupError("mine")

    other = build(externs={"double": fails})
    with pytest.raises(LookupError, match="mine") as e:
        other.twice(1)
    assert "in fails" in "".join(traceback.format_exception(e.value))
    with pytest.raises(ValueError, match="result of extern double: expected int, found str"):
        build(externs={"double": lambda x: "no"}).twice(1)


def test_function_values(mod):
    before = live(mod)
    f = mod.make(7)
    assert f(6) == 42 and mod.use(f, 5) == 35
    assert mod.use(lambda x: x - 1, 5) == 4 and mod.use(abs, -5) == 5

    def fails(x):
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        mod.use(fails, 1)
    assert mod.use(lambda x: mod.use(f, x) + 1, 2) == 15  # noqa: F821 (ruff does not see that it runs before `del`)
    with pytest.raises(ValueError):
        mod.use(3, 1)
    del f
    assert live(mod) == before and not mod._parts[0].codec.callables


def test_parallel(mod):
    before = live(mod)
    out = io.StringIO()
    with redirect_stdout(out):
        assert mod.each(50, 100) == 50
    assert out.getvalue() == "turn\n" * 50
    out = io.StringIO()
    with redirect_stdout(out), pytest.raises(ZeroDivisionError):
        mod.each(50, 10)
    assert out.getvalue() == "turn\n" * 11 and live(mod) == before


def test_many_threads(mod):
    found = []

    def run(k):
        found.extend(mod.div(k * i, 2) == k * i // 2 for i in range(200))

    threads = [threading.Thread(target=run, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 1600 and all(found)
