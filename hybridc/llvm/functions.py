"""Whole functions: parameters, the depth of calls, and small recursive functions unfolded into themselves.

A function that calls itself counts its depth, asks for interrupts and looks at the stack, which costs as much as the
call itself. So a small one is written several times over: it looks whether there is room for as many levels as are
unfolded, once for all of them, and its calls of itself are written in place, level within level. Of what the last level
calls, the beginning still stands in place, as far as it costs nothing: `fib(1)` needs no call to give 1. So does that
of a call in tail position, which would go on for ever. Where there is no room, or somebody asks for an interrupt,
`f.careful` does one level with all checks. Each level keeps its call sites, so that traces are as they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile

from hybridc.core.ir import RETURN, Arm, Block, Call, EnumT, Exit, Fn, If, Match, Op, Parallel, Stmt, Var, Yield
from hybridc.core.ops import may_fault
from hybridc.core.walk import all_blocks, blocks_of, outs_of, statements, statements_in
from hybridc.llvm.control import Writer
from hybridc.llvm.emitter import FnEmitter
from hybridc.llvm.module import Leaves
from hybridc.llvm.scalar_ops import SCALAR_ROWS
from hybridc.llvm.unit import Join, Unit, fn_symbol, leaf_types

UNFOLDED = 384
"""Statements that a function may have after it was unfolded."""
LEVELS = 8
FREE = frozenset(SCALAR_ROWS) | {"tuple", "struct", "get", "destruct", "tag", "some", "none", "is_some", "unwrap"}
"""Operators that may be done once more by the call for which they were done."""
BEGINNING = 16
"""Statements of a function that may stand in place of a call."""


def emit_fn(unit: Unit, fn: Fn) -> None:
    """Write one Core function."""
    usual = "nounwind cold minsize optsize" if fn.name in unit.once else "nounwind"
    name, unfolding = fn_symbol(fn.name), Unfolding(fn, unit.sizes[fn.name])
    if fn.name in unit.once or not unfolding.levels:
        _emit(unit, fn, name, usual)
        return
    careful = fn_symbol(fn.name + "$careful")
    unit.module.defined.add(careful)
    _emit(unit, fn, careful, "nounwind noinline")
    _emit(unit, fn, name, "nounwind noinline", unfolding, careful)


class Unfolding:
    """How a function is unfolded into itself."""

    def __init__(self, fn: Fn, size: int):
        sites = [s for s in statements_in(fn) if isinstance(s, Call) and s.fn == fn.name]
        ends = {id(s) for s in _tail_calls(fn.body, True) if s.fn == fn.name}
        self.ends = ends if len(ends) < len(sites) else set()
        """Calls in tail position, unless all are."""
        self.levels = _levels(fn.body, size, len(sites) - len(self.ends))
        """How many levels are written below the first."""
        self.begins = _ends_early(fn.body)

    @property
    def room(self) -> int:
        """How many calls deeper than the function itself its code goes without looking."""
        return self.levels + self.begins


def _levels(body: Block, size: int, sites: int) -> int:
    if not sites or any(isinstance(s, Parallel) for s in statements(body)):
        return 0
    found, copies, last = 0, 1, 1
    while found < LEVELS:
        last *= sites
        copies += last
        if copies * size > UNFOLDED:
            break
        found += 1
    return found


def _tail_calls(block: Block, last: bool) -> Iterator[Call]:
    """Calls whose results are at once what the function returns. `last`: it returns what this block yields."""
    tail = block.tail
    ends = isinstance(tail, Yield) and last or isinstance(tail, Exit) and tail.label == RETURN
    for i, stmt in enumerate(block.stmts):
        at_end = ends and i == len(block.stmts) - 1 and tail.values == outs_of(stmt)
        if at_end and isinstance(stmt, Call):
            yield stmt
        for inner in blocks_of(stmt):
            yield from _tail_calls(inner, at_end and isinstance(stmt, If | Match))


def _free(stmt: Stmt) -> bool:
    """May it be executed once more, by the call in whose place it stands? If it has blocks: as far as these may."""
    return isinstance(stmt, If | Match) or isinstance(stmt, Op) and stmt.op in FREE and not may_fault(stmt)


def _ends_early(body: Block) -> bool:
    """Does a way over few free statements lead to the function's end?"""
    few = sum(len(list(takewhile(_free, b.stmts))) for b in all_blocks(body)) <= BEGINNING
    return few and any(_ways(body))


def _ways(block: Block) -> tuple[bool, bool]:
    """Does a way over free statements lead to what follows the block, and does one to the function's end?"""
    returns = False
    for stmt in block.stmts:
        if not _free(stmt):
            return False, returns
        inner = [_ways(b) for b in blocks_of(stmt)]
        returns = returns or any(r for _, r in inner)
        if inner and not any(through for through, _ in inner):
            return False, returns
    return (True, returns) if isinstance(block.tail, Yield) else (False, True)


def _emit(
    unit: Unit, fn: Fn, name: str, attributes: str, unfolding: Unfolding | None = None, careful: str = ""
) -> None:
    """Write the function under a name, unfolded into itself if it says how; then `careful` is for what needs checks.
    That a buffer carried by a loop has one owner in every turn, if it has at first, is assumed; where the loop's body
    turns out to share it, the function is written once more without."""
    while True:
        before = len(unit.doubtful)
        e = _written(unit, fn, name, attributes, unfolding, careful)
        if len(unit.doubtful) == before:
            e.finish()
            return


def _written(
    unit: Unit, fn: Fn, name: str, attributes: str, unfolding: Unfolding | None, careful: str
) -> FnEmitter:
    e, values = _begun(unit, fn, name, attributes)
    e.lent = unit.lent(fn.name)
    for var, value in zip(fn.params, values, strict=True):
        e.bind(var, value)
    writer = Writer(unit, e)
    if unit.facts.is_recursive(fn.name):
        e.depth = "%depth"
        if unfolding is not None:
            _give_up_to(e, careful, unfolding.room)
            writer.itself = _Level(unit, e, unfolding, unfolding.levels).call
        else:
            lent = unit.borrowed[fn.name]
            e.owned = tuple(p for p, keeps in zip(fn.params, lent, strict=True) if not keeps)
            _check_depth(e)
    value = writer.body(fn)
    if not e.dead:
        e.leave(value)
    return e


class _Level:
    """Writes a function's calls of itself in place; `left` levels of them."""

    def __init__(self, unit: Unit, e: FnEmitter, unfolding: Unfolding, left: int):
        self.unit, self.e, self.unfolding, self.left = unit, e, unfolding, left

    def call(self, stmt: Call) -> Leaves:
        """What the call returns."""
        if self.left and id(stmt) not in self.unfolding.ends:
            writer = Writer(self.unit, self.e)
            writer.itself = _Level(self.unit, self.e, self.unfolding, self.left - 1).call
            with self._level(stmt):
                return writer.body(self.e.fn)
        if self.unfolding.begins:
            return self._beginning(stmt)
        return Writer(self.unit, self.e).called(stmt)

    @contextmanager
    def _level(self, stmt: Call) -> Iterator[None]:
        e = self.e
        values = [e.leaves(a) for a in stmt.args]
        e.share(leaf for value in values for leaf in value)
        with e.level(e.fn, e.lent, e.next_depth()):
            for var, value in zip(e.fn.params, values, strict=True):
                e.bind(var, value)
            yield

    def _beginning(self, stmt: Call) -> Leaves:
        """The function is called where what is free ends."""
        e, fn = self.e, self.e.fn
        end = Join(e.label("return"), leaf_types(self.unit, fn.results))
        writer = _Beginning(self.unit, e)
        writer.targets[RETURN] = end
        with self._level(stmt):
            writer.block(fn.body, end)
        if writer.rest.arrivals:
            writer.meet(writer.rest)
            writer.bring(end, writer.called(stmt))
            e.jump(end.label)
        return writer.meet(end)


class _Beginning(Writer):
    """Writes what a function does before the first statement that is not free, which is `rest`."""

    def __init__(self, unit: Unit, e: FnEmitter):
        super().__init__(unit, e)
        self.rest = Join(e.label("rest"), [])

    def stmt(self, stmt: Stmt, over: Var | None = None) -> None:
        if _free(stmt):
            super().stmt(stmt, over)
        else:
            self.arrive(self.rest, ())

    def opened(self, t: EnumT, subject: str, arm: Arm) -> int:
        """Nothing: the call that does the rest takes the value apart itself."""
        return 0


def _begun(unit: Unit, fn: Fn, name: str, attributes: str) -> tuple[FnEmitter, list[Leaves]]:
    """A function with its parameters' leaves."""
    names: list[tuple[str, str]] = []
    values: list[Leaves] = []
    for var in fn.params:
        types = unit.module.layouts.types(var.type)
        leaves = tuple(f"%p{len(names) + i}" for i in range(len(types)))
        names += zip(types, leaves, strict=True)
        values.append(leaves)
    if unit.facts.is_recursive(fn.name):
        names.append(("i64", "%depth"))
    faults = unit.facts.may_fault(fn.name)
    results = leaf_types(unit, fn.results)
    return FnEmitter(unit.module, fn, name, names, results, faults=faults, attributes=attributes), values


def _exhausted(e: FnEmitter, levels: int) -> str:
    """i1: `levels` more calls are too many, or the stack is about to end."""
    last = e.add("%depth", str(levels))
    deep = e.icmp("sge", last, e.load("i64", e.field("depth_limit")))
    stack = e.convert("ptrtoint", "ptr", e.call("ptr", "@llvm.stacksave.p0", []), "i64")
    return e.op2("or", "i1", deep, e.icmp("ult", stack, e.load("i64", e.field("stack_limit"))))


def _check_depth(e: FnEmitter) -> None:
    """RecursionError beyond the depth allowed, or when the stack is about to end. Functions that can call themselves
    pass the depth on as their last parameter; the context's is where the outermost of them begins."""
    fine = e.op2("xor", "i1", _exhausted(e, 0), "true")
    with e.unless(fine, "deep"):
        e.fault("RecursionError", "maximum call depth exceeded")
    e.poll()  # recursion without a loop lasts as long as a loop


def _give_up_to(e: FnEmitter, careful: str, levels: int) -> None:
    """Go to the function with all checks where there is no room for `levels` more calls, or somebody asks for an
    interrupt."""
    rest, straight = e.label("careful"), e.label("straight")
    e.branch(e.op2("or", "i1", _exhausted(e, levels), e.interrupted()), rest, straight)
    with e.out_of_line(rest):
        value = e.call(e.result, careful, e.params, e.convention)
        e.ret(value)
    e.start(straight)
