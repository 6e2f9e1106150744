"""What maps make only to replace a part of a tensor, or to be added to one, is computed there: a kernel that ends with
the update. Before, it was written to memory of its own and read again, at each turn of a loop over slices, say.

The part has to lie side by side, as the kernel's result would. What is moved to the update may not stop the program
before something else does, and what it reads may not be written in between."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import dropwhile

from hybridc.base.immutable import replace
from hybridc.core.ir import Atom, Block, Fn, Fused, Op, Program, Stmt, TensorT, Var, Yield
from hybridc.core.ops import OPS, is_pure, may_fault
from hybridc.core.types import rank
from hybridc.core.walk import highest_id, map_blocks, rebuilt, uses, with_body
from hybridc.kernels.graph import Unfit, build
from hybridc.passes.each import each


def run(program: Program) -> Program:
    return each(program, "into_part", lambda fn: _Into(fn, uses(fn.body), highest_id(fn) + 1).run(), needs=["update"])


@dataclass
class _Into:
    fn: Fn
    uses: dict[Var, int]
    next_id: int

    def run(self) -> Fn:
        return with_body(self.fn, self.block(self.fn.body))

    def block(self, b: Block) -> Block:
        out: list[Stmt] = []
        made: dict[Atom, Op | Fused] = {}
        """By kernels of maps in this block, for one use each."""
        for stmt in b.stmts:
            if isinstance(stmt, (Op, Fused)):
                if _maps(stmt) and self.uses.get(stmt.outs[0]) == 1:
                    made[stmt.outs[0]] = stmt
                source = made.get(stmt.args[1]) if isinstance(stmt, Op) and stmt.op == "update" else None
                if source is not None and _fits(stmt, source) and _can_wait(source, out):  # type: ignore[arg-type]
                    out = [s for s in out if s is not source]
                    stmt = self.joined(stmt, source)  # type: ignore[arg-type]
            else:
                stmt = map_blocks(stmt, self.block)
            out.append(stmt)
        return rebuilt(b, out, b.tail)

    def joined(self, update: Op, source: Op | Fused) -> Fused:
        ops, value = _kernel(source)
        inner = Var(self.next_id, update.outs[0].type, update.outs[0].name)
        self.next_id += 1
        last = replace(update, outs=(inner,), args=(update.args[0], value, *update.args[2:]))
        return Fused(update.outs, Block((*ops, last), Yield((inner,))), update.span)


def _kernel(source: Op | Fused) -> tuple[tuple[Op, ...], Var]:
    """The maps, and what the last one makes."""
    if isinstance(source, Op):
        return (source,), source.outs[0]
    (value,) = source.body.tail.values
    assert isinstance(value, Var)
    return source.ops, value


def _maps(stmt: Op | Fused) -> bool:
    if isinstance(stmt, Op):
        return stmt.op == "map"
    return len(stmt.outs) == 1 and all(op.op == "map" for op in stmt.ops)


def _fits(update: Op, source: Op | Fused) -> bool:
    """Can the value be made where the part lies?"""
    kinds, axes = update.attr("kinds"), update.attr("axes")
    assert isinstance(kinds, tuple) and isinstance(axes, tuple)
    rest = list(dropwhile(lambda kind: kind == "i", kinds))
    ops, value = _kernel(source)
    if not rest or "c" in rest[0] or any(rest[1:]) or axes != tuple(range(rank(value.type))):
        return False
    if update.args[0] in source.args or isinstance(value.type, TensorT) and value.type.device:
        return False
    try:
        return build(ops, [value]).outputs[0].space is not None
    except Unfit:
        return False


def _can_wait(source: Op | Fused, out: list[Stmt]) -> bool:
    """Does nothing that stands after it care whether it has been done?"""
    faults = any(map(may_fault, _kernel(source)[0]))
    reads = set(source.args)
    for s in out[next(i for i, s in enumerate(out) if s is source) + 1 :]:
        if not isinstance(s, (Op, Fused)):
            return False
        taken = s.taken if isinstance(s, Fused) else [a for i, a in enumerate(s.args) if OPS[s.op].mode(i) == "c"]
        if not reads.isdisjoint(taken):
            return False
        if faults and not all(map(is_pure, s.ops if isinstance(s, Fused) else [s])):
            return False
    return True
