"""Scalars and control flow, compiled and called through ctypes."""

from __future__ import annotations

import ctypes

import pytest

from hybridc.core.builder import Builder, integer
from hybridc.core.ir import BOOL, INT, Const, Exit, Fault, Fn, Program, Span, Yield
from hybridc.llvm.compile import compile_program
from hybridc.llvm.jit import Context, Loaded, NativeFault

I64 = ctypes.c_int64


def program(*fns: Fn) -> Program:
    return Program(fns={fn.name: fn for fn in fns})


def load(*fns: Fn) -> Loaded:
    p = program(*fns)
    return Loaded(compile_program(p, list(p.fns)))


def fact() -> Fn:
    """n! by a loop."""
    b = Builder()
    n = b.var(INT, "n")
    label = b.label()
    i, acc = b.var(INT, "i"), b.var(INT, "acc")
    b.open()
    b.open()
    done = b.op("gt", (i, n), BOOL)
    b.open()
    leave = b.close(Exit(label, (acc,)))
    b.open()
    go_on = b.close(Yield())
    b.if_(done, leave, go_on)
    following = b.op("add", (i, integer(1)), INT)
    product = b.op("mul", (acc, i), INT)
    body = b.close(Yield((following, product)))
    (result,) = b.loop(label, (i, acc), (integer(1), integer(1)), body, (INT,))
    return Fn("fact", (n,), (INT,), b.close(Yield((result,))), "fact")


def test_a_loop():
    jit = load(fact())
    assert jit.scalars("fact", [(I64, 10)], [I64]) == [3628800]
    assert jit.scalars("fact", [(I64, 0)], [I64]) == [1]


def fib() -> Fn:
    b = Builder()
    n = b.var(INT, "n")
    b.open()
    small = b.op("lt", (n, integer(2)), BOOL)
    b.open()
    base = b.close(Exit(0, (n,)))
    b.open()
    rest = b.close(Yield())
    b.if_(small, base, rest)
    (x,) = b.call("fib", (b.op("sub", (n, integer(1)), INT),), (INT,))
    (y,) = b.call("fib", (b.op("sub", (n, integer(2)), INT),), (INT,))
    return Fn("fib", (n,), (INT,), b.close(Yield((b.op("add", (x, y), INT),))), "fib")


def test_recursion():
    jit = load(fib())
    assert jit.scalars("fib", [(I64, 20)], [I64]) == [6765]
    ctx = Context(depth_limit=10)
    with pytest.raises(NativeFault) as fault:
        jit.scalars("fib", [(I64, 20)], [I64], ctx)
    assert fault.value.kind == "RecursionError"
    assert ctx.get("trace_len") == 11
    assert ctx.get("depth") == 0


@pytest.mark.parametrize("limit", range(1, 23))
def test_the_depth_is_exact_where_functions_are_unfolded(limit):
    ctx = Context(depth_limit=limit)
    jit = load(fib())
    if limit < 20:  # fib(20) calls fib(1) at depth 19
        with pytest.raises(NativeFault) as fault:
            jit.scalars("fib", [(I64, 20)], [I64], ctx)
        assert fault.value.kind == "RecursionError"
        assert ctx.get("trace_len") == limit + 1
    else:
        assert jit.scalars("fib", [(I64, 20)], [I64], ctx) == [6765]


def test_an_interrupt():
    ctx = Context()
    ctx.flag.value = 1
    with pytest.raises(NativeFault) as fault:
        load(fact()).scalars("fact", [(I64, 10)], [I64], ctx)
    assert fault.value.kind == "KeyboardInterrupt"
    ctx.interrupt = False
    assert load(fact()).scalars("fact", [(I64, 5)], [I64], ctx) == [120]


def test_an_interrupt_of_recursion_without_a_loop():
    ctx = Context()
    ctx.flag.value = 1
    with pytest.raises(NativeFault) as fault:
        load(fib()).scalars("fib", [(I64, 10)], [I64], ctx)
    assert fault.value.kind == "KeyboardInterrupt"


def test_a_fault_tells_its_place():
    b = Builder()
    x, y = b.var(INT, "x"), b.var(INT, "y")
    b.span = Span("a.hyb", 3, 9)
    b.open()
    q = b.op("floordiv", (x, y), INT)
    fn = Fn("div", (x, y), (INT,), b.close(Yield((q,))), "div")
    compiled = compile_program(program(fn), ["div"])
    jit = Loaded(compiled)
    assert jit.scalars("div", [(I64, -7), (I64, 2)], [I64]) == [-4]
    assert jit.scalars("div", [(I64, -(2**63)), (I64, -1)], [I64]) == [-(2**63)]
    with pytest.raises(NativeFault) as fault:
        jit.scalars("div", [(I64, 1), (I64, 0)], [I64])
    assert fault.value.kind == "ZeroDivisionError"
    assert [compiled.tables.sites[i] for i in fault.value.trace] == [(Span("a.hyb", 3, 9), "div", False)]


def test_an_index_fault():
    b = Builder()
    i = b.var(INT, "i")
    b.open()
    fn = Fn("at", (i,), (INT,), b.close(Fault("IndexError", (i, Const(3, INT)))), "at")
    with pytest.raises(NativeFault) as fault:
        load(fn).scalars("at", [(I64, 5)], [I64])
    assert (fault.value.kind, fault.value.index, fault.value.message) == ("IndexError", (5, 3), None)


def test_the_same_program_gives_the_same_bytes():
    assert (
        compile_program(program(fib(), fact()), ["fib"]).objects
        == compile_program(program(fib(), fact()), ["fib"]).objects
    )


def endless() -> Fn:
    """f(n) = f(n + 1) + 1"""
    b = Builder()
    n = b.var(INT, "n")
    b.open()
    (x,) = b.call("endless", (b.op("add", (n, integer(1)), INT),), (INT,))
    return Fn("endless", (n,), (INT,), b.close(Yield((b.op("add", (x, n), INT),))), "endless")


def where() -> Fn:
    """Calls the host, which gets an address on the stack."""
    b = Builder()
    n = b.var(INT, "n")
    b.open()
    b.ops("host", (n,), (), name="where")
    return Fn("where", (n,), (), b.close(Yield()), "where")


def test_the_stack_is_never_overrun():
    jit = load(endless(), where())
    found: list[int] = []
    ctx = Context(depth_limit=2**60)
    ctx.host = lambda number, args, results: found.append(args) or 0
    jit.scalars("where", [(I64, 0)], [], ctx)
    ctx.set("stack_limit", found[0] - 400_000)
    with pytest.raises(NativeFault) as fault:
        jit.scalars("endless", [(I64, 0)], [I64], ctx)
    assert fault.value.kind == "RecursionError"
    assert ctx.get("trace_len") > 1000
    assert len(fault.value.trace) == 64
