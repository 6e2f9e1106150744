"""Buffers, enums, counting: everything that is allocated is freed, in place where nobody else looks."""

from __future__ import annotations

import ctypes

import pytest

from hybridc.core.builder import Builder, integer
from hybridc.core.ir import (
    BOOL,
    INT,
    STR,
    U8,
    UNIT,
    Arm,
    BufferT,
    EnumDef,
    EnumT,
    Exit,
    Fault,
    Fn,
    OptionT,
    Program,
    StructDef,
    TupleT,
    Yield,
)
from hybridc.llvm.compile import Compiled, compile_program
from hybridc.llvm.jit import Context, Loaded, NativeFault

I64 = ctypes.c_int64
STR_DEF = StructDef("str", (("bytes", BufferT(U8)), ("size", INT), ("count", INT)))
CHAIN = EnumT("Chain")
CHAIN_DEF = EnumDef("Chain", (("End", ()), ("Link", (("value", INT), ("next", CHAIN)))))


def compiled(*fns: Fn, release: tuple = ()) -> tuple[Compiled, Loaded]:
    p = Program({"str": STR_DEF}, {"Chain": CHAIN_DEF}, {fn.name: fn for fn in fns})
    made = compile_program(p, [fn.name for fn in fns], release)
    return made, Loaded(made)


def counting_loop(b: Builder, count, carried, step):
    """for i in range(count): carried = step(i, carried)"""
    label = b.label()
    i = b.var(INT, "i")
    params = tuple(b.var(v.type) for v in carried)
    b.open()
    done = b.op("ge", (i, count), BOOL)
    b.open()
    leave = b.close(Exit(label, params))
    b.open()
    go_on = b.close(Yield())
    b.if_(done, leave, go_on)
    new = step(i, params)
    following = b.op("add", (i, integer(1)), INT)
    body = b.close(Yield((following, *new)))
    return b.loop(label, (i, *params), (integer(0), *carried), body, tuple(v.type for v in carried))


def squares() -> Fn:
    """buffer of i * i, then its sum"""
    b = Builder()
    n = b.var(INT, "n")
    b.open()
    data = b.op("buffer_new", (n,), BufferT(INT))

    def step(i, carried):
        return (b.op("buffer_set", (carried[0], i, b.op("mul", (i, i), INT)), BufferT(INT)),)

    (data,) = counting_loop(b, n, (data,), step)
    total = b.op("add", (integer(0), integer(0)), INT)

    def add(i, carried):
        return (b.op("add", (carried[0], b.op("buffer_get", (data, i), INT)), INT),)

    (total,) = counting_loop(b, n, (total,), add)
    return Fn("squares", (n,), (INT,), b.close(Yield((total,))), "squares")


def test_a_buffer_is_written_in_place_and_freed():
    _, jit = compiled(squares())
    assert jit.scalars("squares", [(I64, 1000)], [I64]) == [332833500]
    assert jit.live == 0
    ctx = Context()
    ctx.flag.value = 1
    with pytest.raises(NativeFault):
        jit.scalars("squares", [(I64, 10)], [I64], ctx)
    assert jit.live == 0


@pytest.mark.parametrize("n, kind", [(-1, "ValueError"), (2**61, "MemoryError"), (2**45, "MemoryError")])
def test_too_much_memory(n, kind):
    b = Builder()
    v = b.var(INT, "n")
    b.open()
    data = b.op("buffer_new", (v,), BufferT(INT))
    length = b.op("buffer_len", (data,), INT)
    fn = Fn("new", (v,), (INT,), b.close(Yield((length,))), "new")
    _, jit = compiled(fn)
    with pytest.raises(NativeFault) as fault:
        jit.scalars("new", [(I64, n)], [I64])
    assert fault.value.kind == kind
    assert jit.scalars("new", [(I64, 7)], [I64]) == [7]
    assert jit.live == 0


def chain_of() -> Fn:
    b = Builder()
    n = b.var(INT, "n")
    b.open()
    end = b.op("enum", (), CHAIN, case="End")
    (chain,) = counting_loop(b, n, (end,), lambda i, c: (b.op("enum", (i, c[0]), CHAIN, case="Link"),))
    return Fn("chain_of", (n,), (CHAIN,), b.close(Yield((chain,))), "chain_of")


def chain_sum() -> Fn:
    b = Builder()
    chain = b.var(CHAIN, "chain")
    label = b.label()
    at, total = b.var(CHAIN), b.var(INT)
    b.open()
    b.open()
    b.open()
    end = b.close(Exit(label, (total,)))
    value, rest = b.var(INT), b.var(CHAIN)
    b.open()
    more = b.op("add", (total, value), INT)
    link = b.close(Yield((rest, more)))
    following = b.match(at, [Arm("End", (), end), Arm("Link", (value, rest), link)], (CHAIN, INT))
    body = b.close(Yield(following))
    (result,) = b.loop(label, (at, total), (chain, integer(0)), body, (INT,))
    return Fn("chain_sum", (chain,), (INT,), b.close(Yield((result,))), "chain_sum")


def test_a_million_links_are_freed_without_recursion():
    _, jit = compiled(chain_of(), chain_sum(), release=(CHAIN,))
    ctx = Context()
    n = 1_000_000
    (chain,) = jit.scalars("chain_of", [(I64, n)], [ctypes.c_void_p], ctx)
    assert jit.live == n
    ctypes.c_int64.from_address(chain).value += 1
    assert jit.scalars("chain_sum", [(ctypes.c_void_p, chain)], [I64], ctx) == [n * (n - 1) // 2]
    assert jit.live == n
    value = ctypes.c_void_p(chain)
    jit.release("hyb release Chain", ctypes.addressof(value), ctx)
    assert jit.live == 0
    assert ctx.get("pending") == 0 and ctx.get("draining") == 0


def buffers_of_buffers() -> Fn:
    """A buffer of n buffers, one of them taken, changed and put back; a copy taken before keeps what it had."""
    b = Builder()
    n = b.var(INT, "n")
    inner, outer = BufferT(INT), BufferT(BufferT(INT))
    b.open()
    rows = b.op("buffer_new", (n,), outer)

    def fill(i, carried):
        return (b.op("buffer_set", (carried[0], i, b.op("buffer_new", (integer(3),), inner)), outer),)

    (rows,) = counting_loop(b, n, (rows,), fill)
    before = b.op("buffer_get", (rows, integer(1)), inner)
    rows, row = b.ops("buffer_take", (rows, integer(1)), (outer, inner))
    row = b.op("buffer_set", (row, integer(2), integer(42)), inner)
    rows = b.op("buffer_set", (rows, integer(1), row), outer)
    old = b.op("buffer_get", (before, integer(2)), INT)
    new = b.op("buffer_get", (b.op("buffer_get", (rows, integer(1)), inner), integer(2)), INT)
    other = b.op("buffer_resize", (rows, b.op("add", (n, integer(2)), INT)), outer)
    other = b.op("buffer_move", (other, integer(0), integer(1), n), outer)
    moved = b.op("buffer_get", (b.op("buffer_get", (other, integer(0)), inner), integer(2)), INT)
    shorter = b.op("buffer_resize", (other, integer(1)), outer)
    size = b.op("buffer_len", (shorter,), INT)
    copied = b.op(
        "buffer_copy", (b.op("buffer_new", (integer(4),), outer), integer(3), rows, integer(1), integer(1)), outer
    )
    third = b.op("buffer_get", (b.op("buffer_get", (copied, integer(3)), inner), integer(2)), INT)
    return Fn("nested", (n,), (INT,) * 5, b.close(Yield((old, new, moved, size, third))), "nested")


def test_nested_buffers():
    _, jit = compiled(buffers_of_buffers())
    assert jit.scalars("nested", [(I64, 5)], [I64] * 5) == [0, 42, 42, 1, 42]
    assert jit.live == 0


def resized_twice() -> Fn:
    """The sum of a buffer of n sevens after it had two other lengths."""
    b = Builder()
    n, second, third = (b.var(INT, name) for name in ("n", "second", "third"))
    kind = BufferT(INT)
    b.open()

    def fill(i, carried):
        return (b.op("buffer_set", (carried[0], i, integer(7)), kind),)

    def add(i, carried):
        return carried[0], b.op("add", (carried[1], b.op("buffer_get", (carried[0], i), INT)), INT)

    (data,) = counting_loop(b, n, (b.op("buffer_new", (n,), kind),), fill)
    data = b.op("buffer_resize", (b.op("buffer_resize", (data, second), kind), third), kind)
    _, total = counting_loop(b, third, (data, integer(0)), add)
    return Fn("resized", (n, second, third), (INT,), b.close(Yield((total,))), "resized")


@pytest.mark.parametrize("sizes", [
    (5_000_000, 4_500_001, 9_000_000), (5_000_000, 5_000_001, 5_000_513), (5_000_000, 100, 6_000_000),
    (3_000_000, 4_500_000, 9_000_000), (5_000_000, 4_000_000, 4_300_000), (100, 6_000_000, 70)])
def test_what_grows_has_zeros_behind(sizes):
    """Of blocks that are mapped on their own, whose pages the kernel moves, and of others."""
    _, jit = compiled(resized_twice())
    assert jit.scalars("resized", [(I64, n) for n in sizes], [I64]) == [7 * min(sizes)]
    assert jit.live == 0


def test_a_raised_message_and_the_host():
    b = Builder()
    n = b.var(INT, "n")
    b.open()
    text = b.op("str", (), STR, text="né")
    b.ops("host", (text, n), (), name="print")
    (answer,) = b.ops("host", (n,), (INT,), name="ask")
    b.open()
    bad = b.close(Fault("HybError", (text,)))
    b.open()
    good = b.close(Yield())
    b.if_(b.op("eq", (answer, integer(0)), BOOL), bad, good)
    fn = Fn("talk", (n,), (INT,), b.close(Yield((answer,))), "talk")
    made, jit = compiled(fn)
    assert made.tables.hosts == [("ask", (INT,), (INT,)), ("print", (STR, INT), ())]
    heard = []

    def host(number: int, args: int, results: int) -> int:
        if number == 1:
            block, size, count, given = (I64 * 4).from_address(args)
            heard.append((ctypes.string_at(block + 16, size).decode(), count, given))
        else:
            I64.from_address(results).value = I64.from_address(args).value * 2
        return 0

    ctx = Context()
    ctx.host = host
    assert jit.scalars("talk", [(I64, 4)], [I64], ctx) == [8]
    with pytest.raises(NativeFault) as fault:
        jit.scalars("talk", [(I64, 0)], [I64], ctx)
    assert (fault.value.kind, fault.value.message) == ("HybError", "né")
    assert heard == [("né", 2, 4), ("né", 2, 0)]


def test_parallel():
    b = Builder()
    n, bad = b.var(INT, "n"), b.var(INT, "bad")
    pair = TupleT((INT, BufferT(INT)))
    b.open()
    shared = b.op("buffer_new", (integer(2),), BufferT(INT))
    index = b.var(INT, "i")
    b.open()
    mine = b.op(
        "buffer_set",
        (shared, integer(0), b.op("floordiv", (integer(100), b.op("sub", (index, bad), INT)), INT)),
        BufferT(INT),
    )
    item = b.op("tuple", (index, mine), pair)
    body = b.close(Yield((item,)))
    out = b.parallel(BufferT(pair), index, n, body)
    first = b.op("buffer_get", (out, integer(0)), pair)
    element = b.op("buffer_get", (b.op("get", (first,), BufferT(INT), index=1), integer(0)), INT)
    fn = Fn("spread", (n, bad), (INT, INT), b.close(Yield((element, b.op("buffer_len", (out,), INT)))), "spread")
    _, jit = compiled(fn)
    assert jit.scalars("spread", [(I64, 5), (I64, 7)], [I64, I64]) == [-15, 5]
    assert jit.live == 0
    ctx = Context()
    with pytest.raises(NativeFault) as fault:
        jit.scalars("spread", [(I64, 5), (I64, 3)], [I64, I64], ctx)
    assert fault.value.kind == "ZeroDivisionError"
    assert len(fault.value.trace) == 1
    assert jit.live == 0


def test_options_and_units():
    b = Builder()
    n = b.var(INT, "n")
    maybe = OptionT(TupleT((BufferT(INT), UNIT, INT)))
    b.open()
    b.open()
    unit = b.op("tuple", (), UNIT)
    some = b.op("some", (b.op("tuple", (b.op("buffer_new", (n,), BufferT(INT)), unit, n), maybe.item),), maybe)
    then = b.close(Yield((some,)))
    b.open()
    orelse = b.close(Yield((b.op("none", (), maybe),)))
    (value,) = b.if_(b.op("gt", (n, integer(2)), BOOL), then, orelse, (maybe,))
    b.open()
    got = b.op("get", (b.op("unwrap", (value,), maybe.item),), INT, index=2)
    yes = b.close(Yield((got,)))
    b.open()
    no = b.close(Yield((integer(-1),)))
    (result,) = b.if_(b.op("is_some", (value,), BOOL), yes, no, (INT,))
    fn = Fn("maybe", (n,), (INT,), b.close(Yield((result,))), "maybe")
    _, jit = compiled(fn)
    assert jit.scalars("maybe", [(I64, 9)], [I64]) == [9]
    assert jit.scalars("maybe", [(I64, 1)], [I64]) == [-1]
    assert jit.live == 0


def test_an_element_that_is_only_looked_at_is_not_counted():
    b = Builder()
    table, i, j = b.var(BufferT(BufferT(INT))), b.var(INT), b.var(INT)
    b.open()
    row = b.op("buffer_get", (table, i), BufferT(INT))
    value = b.op("buffer_get", (row, j), INT)
    made, _ = compiled(Fn("at", (table, i, j), (INT,), b.close(Yield((value,))), "at"))
    assert "hyb.retain" not in made.llvm


def test_a_buffer_that_a_loop_carries_is_written_without_asking():
    made, _ = compiled(squares())
    assert "hyb.unique" not in made.llvm
