"""What an object exports: C-ABI entries of functions, and releases of values.

i32 "hyb.NAME"(ctx, args, results)       arguments and results as C structs; takes the arguments over
void "hyb release KEY"(ctx, value)       releases a value in memory
i64 "hyb live"                           counted blocks alive

Names with a space are of no function in a program.
"""

from __future__ import annotations

from hybridc.core.ir import Fn, Type
from hybridc.core.types import type_key
from hybridc.llvm import refcount
from hybridc.llvm.abi import OFFSET
from hybridc.llvm.code import Code
from hybridc.llvm.definitions import symbol
from hybridc.llvm.emitter import call_fn, load_results
from hybridc.llvm.module import Module
from hybridc.llvm.support import CTX
from hybridc.llvm.unit import Unit, fn_symbol, leaf_types


def entry_name(fn: str) -> str:
    return "hyb." + fn


def release_name(t: Type) -> str:
    """The key in the name is the type as Core's text has it."""
    return "hyb release " + type_key(t)


def emit_entry(unit: Unit, fn: Fn) -> None:
    """Parameters that the function leaves to its caller are released here."""
    module = unit.module
    code = Code(module, symbol(entry_name(fn.name)), [CTX, ("ptr", "%args"), ("ptr", "%results")], "i32", exported=True)
    layouts = module.layouts
    given = layouts.struct([v.type for v in fn.params])
    operands = [code.load(leaf.llvm, code.ptr_add("%args", leaf.offset)) for leaf in given.leaves]
    args = [("ptr", "%ctx"), *zip([leaf.llvm for leaf in given.leaves], operands, strict=True)]
    if unit.facts.is_recursive(fn.name):
        args.append(("i64", code.load("i64", code.ptr_add("%ctx", OFFSET["depth"]))))
    faults = unit.facts.may_fault(fn.name)
    results = leaf_types(unit, fn.results)
    status, found = call_fn(code, fn_symbol(fn.name), args, results, faults)
    at = 0
    for var, keeps in zip(fn.params, unit.borrowed[fn.name], strict=True):
        count = len(layouts.leaves(var.type))
        if keeps:
            refcount.release_leaves(code, var.type, tuple(operands[at : at + count]))
        at += count
    if faults:
        with code.when(code.icmp("ne", status, "0", "i32")):
            code.ret(status)
    wanted = layouts.struct(fn.results)
    for leaf, operand in zip(wanted.leaves, load_results(code, found, results), strict=True):
        code.store(leaf.llvm, operand, code.ptr_add("%results", leaf.offset))
    code.ret("0")
    code.finish()


def emit_release(module: Module, t: Type) -> None:
    code = Code(module, symbol(release_name(t)), [CTX, ("ptr", "%value")], "void", exported=True)
    refcount.release_leaves_at(code, t, "%value")
    code.ret()
    code.finish()
