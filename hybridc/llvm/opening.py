"""An enum value that is taken apart and needed no more: where nobody else owns it, its parts change hands, and its
block is free. So they need not be counted up, to be counted down when the block goes.

Ownership says it as `retain(part) ... release(value)` at the head of a match's arm (passes/ownership.py).
"""

from __future__ import annotations

from hybridc.core.ir import Arm, EnumT, Op, Var
from hybridc.core.ops import OPS
from hybridc.llvm import refcount
from hybridc.llvm.code import Code
from hybridc.llvm.emitter import FnEmitter
from hybridc.llvm.layout import HEADER
from hybridc.llvm.module import Module
from hybridc.llvm.support import CTX


def opening(arm: Arm) -> int:
    """The place in an arm of a release before which its head only names parts and retains some; or -1."""
    for i, s in enumerate(arm.body.stmts):
        if not isinstance(s, Op) or s.op not in ("retain", "release") and not OPS[s.op].alias:
            return -1
        if s.op == "release":
            return i
    return -1


def opened(e: FnEmitter, kind: EnumT, subject: str, arm: Arm, at: int) -> bool:
    """Do what the arm's head does up to the release at `at`, whose aliases have been named; False if it releases
    something else, or retains more than parts of the value."""
    release = arm.body.stmts[at].args[0]  # type: ignore[union-attr]
    retained = [s.args[0] for s in arm.body.stmts[:at] if isinstance(s, Op) and s.op == "retain"]
    if not isinstance(release, Var) or release.id in e.lent:
        return False
    if [operand for _, operand in refcount.release_plan(e.module, release.type, e.leaves(release))] != [subject]:
        return False
    payload = e.layouts.payload(tuple(f.type for f in arm.fields))
    held = [operand for f in arm.fields for operand in e.leaves(f)]
    kept = [operand for v in retained for _, operand in refcount.release_plan(e.module, v.type, e.leaves(v))]
    places = [i for i, leaf in enumerate(payload.leaves) if leaf.counted is not None and held[i] in kept]
    if len(places) != len(kept):
        return False
    for v in retained:
        e.share(e.leaves(v))
    e.call("void", _helper(e.module, kind, arm.case, tuple(places)), [CTX, ("ptr", subject)])
    return True


def _helper(module: Module, kind: EnumT, case: str, kept: tuple[int, ...]) -> str:
    """void (ctx, block): one owner less of a block of this case, and one more of these of its leaves."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("ptr", "%block")], "void", attributes="noinline nounwind")
        fields = next(fs for name, fs in module.program.enums[kind.name].cases if name == case)
        payload = module.layouts.payload(tuple(t for _, t in fields))
        parts = [(i, leaf.counted, code.load("ptr", code.ptr_add("%block", HEADER + leaf.offset)))
                 for i, leaf in enumerate(payload.leaves) if leaf.counted is not None]
        with code.when(refcount.unique(code, "%block")):
            refcount.free_enum(code, payload)
            for i, counted, operand in parts:
                if i not in kept:
                    code.call("void", refcount.release_helper(module, counted), [CTX, ("ptr", operand)])
            code.ret()
        for i, _, operand in parts:
            if i in kept:
                refcount.retain_here(code, operand)
        code.call("void", refcount.release_helper(module, kind), [CTX, ("ptr", "%block")])
        code.ret()
        code.finish()

    return module.helper(("hyb.open", kind, case, kept), make)
