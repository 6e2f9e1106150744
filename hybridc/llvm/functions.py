"""Whole functions: parameters, the depth of calls, and small recursive functions unfolded into themselves.

A function that calls itself counts its depth, asks for interrupts and looks at the stack, which costs as much as the
call itself. So a small one is written several times over: `f` looks whether there is room for as many levels as are
unfolded, once for all of them, and goes on in `f.0`, whose calls of itself are `f.1` and so on; the last level calls
`f` again. LLVM puts each level into the one before. Where there is no room, or somebody asks for an interrupt,
`f.careful` does one level with all checks. Each level keeps its call sites, so that traces are as they were.
"""

from __future__ import annotations

from hybridc.core.ir import RETURN, Call, Fn
from hybridc.core.walk import count, statements
from hybridc.llvm.code import Leaves
from hybridc.llvm.control import Join, Unit, Writer, fn_symbol, leaf_types
from hybridc.llvm.emitter import FnEmitter

UNFOLDED = 384
"""Statements that a function may have after it was unfolded."""
LEVELS = 8


def levels(unit: Unit, fn: Fn) -> int:
    """How often a function is unfolded into itself."""
    sites = sum(isinstance(s, Call) and s.fn == fn.name for s in statements(fn.body))
    if not sites or fn.name in unit.once:
        return 0
    found, copies, last = 0, 1, 1
    while found < LEVELS:
        last *= sites
        copies += last
        if copies * count(fn.body) > UNFOLDED:
            break
        found += 1
    return found


def emit_fn(unit: Unit, fn: Fn) -> None:
    """Write one Core function."""
    usual = "nounwind cold minsize optsize" if fn.name in unit.once else "nounwind"
    name, depth = fn_symbol(fn.name), levels(unit, fn)
    if not depth:
        _emit(unit, fn, name, name, usual)
        return
    steps = [fn_symbol(f"{fn.name}${i}") for i in range(depth + 1)]
    careful = fn_symbol(fn.name + "$careful")
    unit.module.defined.update((*steps, careful))
    for step, following in zip(steps, [*steps[1:], name], strict=True):
        _emit(unit, fn, step, following, "nounwind alwaysinline", checked=False)
    _emit(unit, fn, careful, name, "nounwind noinline")
    _emit_choice(unit, fn, name, steps[0], careful, depth)


def _emit(unit: Unit, fn: Fn, name: str, again: str, attributes: str, checked: bool = True) -> None:
    """Write the function under a name. That a buffer carried by a loop has one owner in every turn, if it has at
    first, is assumed; where the loop's body turns out to share it, the function is written once more without."""
    while True:
        before = len(unit.doubtful)
        e = _written(unit, fn, name, again, attributes, checked)
        if len(unit.doubtful) == before:
            e.finish()
            return


def _written(unit: Unit, fn: Fn, name: str, again: str, attributes: str, checked: bool) -> FnEmitter:
    """Calls of itself go to `again`. Not `checked`: the caller has looked at the depth."""
    e, values = _begun(unit, fn, name, attributes)
    e.lent = unit.lent[fn.name]
    for var, value in zip(fn.params, values, strict=True):
        e.bind(var, value)
    if unit.facts.is_recursive(fn.name):
        e.depth = "%depth"
        if checked:
            lent = unit.borrowed[fn.name]
            e.owned = tuple(p for p, keeps in zip(fn.params, lent, strict=True) if not keeps)
            _check_depth(e)
    writer = Writer(unit, e, again)
    end = Join(e.label("return"), e.results)
    writer.targets[RETURN] = end
    writer.block(fn.body, end)
    value = writer.meet(end)
    if not e.dead:
        e.leave(value)
    return e


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


def _emit_choice(unit: Unit, fn: Fn, name: str, quick: str, careful: str, levels: int) -> None:
    """`name` itself: all levels at once where nothing is in the way."""
    e, _ = _begun(unit, fn, name, "nounwind noinline")
    rest = e.label("careful")
    straight = e.label("straight")
    e.branch(e.op2("or", "i1", _exhausted(e, levels), e.interrupted()), rest, straight)
    for label, target in ((rest, careful), (straight, quick)):
        e.start(label)
        params = ", ".join(f"{t} {v}" for t, v in e.params)
        call = f"call {e.result} {target}({params})"
        if e.result == "void":
            e.do(call)
            e.ret()
        else:
            e.ret(e.ins(call))
    e.finish()
