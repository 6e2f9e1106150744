"""Tuples, structs, enums, options, text constants, counts: operators that put values together and take them apart."""

from __future__ import annotations

from hybridc.core.ir import EnumT, Op, OptionT, Var
from hybridc.core.walk import DERIVATIVES
from hybridc.llvm.emitter import FnEmitter
from hybridc.llvm.layout import HEADER
from hybridc.llvm.module import Leaves

Results = tuple[Leaves, ...]


def _together(e: FnEmitter, op: Op) -> Results:
    return (tuple(leaf for a in op.args for leaf in e.leaves(a)),)


def _get(e: FnEmitter, op: Op) -> Results:
    start, stop = e.layouts.leaf_range(op.args[0].type, int(op.attr("index")))  # type: ignore[call-overload]
    return (e.leaves(op.args[0])[start:stop],)


def _destruct(e: FnEmitter, op: Op) -> Results:
    value = e.leaves(op.args[0])
    t = op.args[0].type
    ranges = [e.layouts.leaf_range(t, i) for i in range(len(e.layouts.fields(t)))]
    return tuple(value[start:stop] for start, stop in ranges)


def _enum(e: FnEmitter, op: Op) -> Results:
    t = op.outs[0].type
    assert isinstance(t, EnumT)
    tag, fields = e.layouts.case(t, str(op.attr("case")))
    if e.module.program.enums[t.name].plain:
        return ((str(tag),),)
    if not fields:
        return ((static_case(e, t, tag),),)
    payload = e.layouts.payload(fields)
    with e.giving_up(op.args):
        block, mark = e.alloc_node(payload.size)
    e.store("i64", str(tag | mark), e.ptr_add(block, 8))
    operands = [leaf for a in op.args for leaf in e.leaves(a)]
    for leaf, operand in zip(payload.leaves, operands, strict=True):
        e.store(leaf.llvm, operand, e.ptr_add(block, HEADER + leaf.offset))
    return ((block,),)


def static_case(e: FnEmitter, t: EnumT, tag: int) -> str:
    """A case without fields is one immortal block."""
    return e.module.constant("{ i64, i64 }", f"{{ i64 -1, i64 {tag} }}", 16, "case")


def tag_of(e: FnEmitter, t: EnumT, operand: str) -> str:
    if e.module.program.enums[t.name].plain:
        return operand
    return e.convert("zext", "i32", e.load("i32", e.ptr_add(operand, 8)), "i64")


def _tag(e: FnEmitter, op: Op) -> Results:
    t = op.args[0].type
    assert isinstance(t, EnumT)
    return ((tag_of(e, t, e.one(op.args[0])),),)


def _made(e: FnEmitter, op: Op) -> Results:
    t = op.args[0].type
    assert isinstance(t, EnumT)
    plain = e.module.program.enums[t.name].plain
    return (("true" if plain else e.icmp("ne", e.one(op.args[0]), "null", "ptr"),),)


def _some(e: FnEmitter, op: Op) -> Results:
    return (("true", *e.leaves(op.args[0])),)


def _zero(e: FnEmitter, op: Op) -> Results:
    return (e.zero(op.outs[0].type),)


def _gone(e: FnEmitter, op: Op) -> Results:
    raise AssertionError(f"autodiff has replaced every {op.op}")


def _is_some(e: FnEmitter, op: Op) -> Results:
    assert isinstance(op.args[0].type, OptionT)
    return ((e.leaves(op.args[0])[0],),)


def _unwrap(e: FnEmitter, op: Op) -> Results:
    return (e.leaves(op.args[0])[1:],)


def _str(e: FnEmitter, op: Op) -> Results:
    return (e.module.text_leaves(str(op.attr("text"))),)


def _select(e: FnEmitter, op: Op) -> Results:
    """Of any type without counted memory."""
    cond = e.one(op.args[0])
    types = e.layouts.types(op.outs[0].type)
    pairs = zip(types, e.leaves(op.args[1]), e.leaves(op.args[2]), strict=True)
    return (tuple(e.select(cond, t, a, b) for t, a, b in pairs),)


def _retain(e: FnEmitter, op: Op) -> Results:
    e.retain(op.args[0].type, e.leaves(op.args[0]))
    return ()


def _release(e: FnEmitter, op: Op) -> Results:
    if isinstance(op.args[0], Var) and op.args[0].id in e.lent:
        return ()
    e.release(op.args[0].type, e.leaves(op.args[0]))
    return ()


ROWS = {
    "tuple": _together,
    "struct": _together,
    "get": _get,
    "destruct": _destruct,
    "enum": _enum,
    "tag": _tag,
    "made": _made,
    "some": _some,
    "none": _zero,
    "zero": _zero,
    "stop_gradient": _gone,
    **dict.fromkeys(DERIVATIVES, _gone),
    "is_some": _is_some,
    "unwrap": _unwrap,
    "str": _str,
    "select": _select,
    "retain": _retain,
    "release": _release,
}
