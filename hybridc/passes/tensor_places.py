"""Indices of a tensor's elements, in loops, as `place` and an element that is there: so bounds.py takes their checks
out of counted loops as it does with lists.

How long an axis is must be known before the loop. It is, if the tensor is one from before it, or one that the loop
carries and only changes elements of.
"""

from __future__ import annotations

from hybridc.base.immutable import replace
from hybridc.core.ir import (
    INT,
    Atom,
    Block,
    Const,
    Fn,
    If,
    Loop,
    Match,
    Op,
    Parallel,
    Program,
    Stmt,
    TensorT,
    Var,
    Yield,
)
from hybridc.core.walk import (
    Freshener,
    blocks_of,
    highest_id,
    highest_label,
    map_blocks,
    outs_of,
    rebuilt,
    statements,
    with_body,
)
from hybridc.passes.counted import counted, innermost, within
from hybridc.passes.each import each

FIRST = {"index": 1, "update": 2}
"""Where the indices begin among the arguments."""


def run(program: Program) -> Program:
    return each(program, "tensor_places", lambda fn: _Places(fn).run(), needs=["index", "update"])


class _Places:
    def __init__(self, fn: Fn):
        self.fn = fn
        self.fresh = Freshener(highest_id(fn) + 1, highest_label(fn) + 1)

    def run(self) -> Fn:
        return with_body(self.fn, self.block(self.fn.body))

    def block(self, b: Block) -> Block:
        out: list[Stmt] = []
        for stmt in b.stmts:
            if isinstance(stmt, Loop) and innermost(stmt, (Parallel,)):
                stmt = self.loop(stmt, out)
            else:
                stmt = map_blocks(stmt, self.block)
            out.append(stmt)
        return rebuilt(b, out, b.tail)

    def loop(self, loop: Loop, out: list[Stmt]) -> Loop:
        """The loop, and before it the lengths of the axes."""
        if counted(loop) is None:
            return loop
        self.of = _tensors(loop)
        self.lengths: dict[tuple[Atom, int], Atom] = {}
        self.before = out
        body = self.elements(loop.body)
        return replace(loop, body=body) if self.lengths else loop

    def elements(self, b: Block) -> Block:
        out: list[Stmt] = []
        for stmt in b.stmts:
            whole = self.of.get(stmt.args[0]) if isinstance(stmt, Op) and _of_element(stmt) else None
            out.append(map_blocks(stmt, self.elements) if whole is None else self.placed(stmt, whole, out))  # type: ignore[arg-type]
        return rebuilt(b, out, b.tail)

    def placed(self, op: Op, whole: Atom, out: list[Stmt]) -> Op:
        first = FIRST[op.op]
        args, kinds = list(op.args), list(op.attr("kinds"))  # type: ignore[call-overload]
        for axis, kind in enumerate(kinds):
            index = args[first + axis]
            if kind == "i" and isinstance(index, Var):
                at = self.fresh.var(index)
                out.append(Op((at,), "place", (index, self.length(whole, axis, op)), (), op.span))
                args[first + axis], kinds[axis] = at, "p"
        attrs = tuple((name, tuple(kinds) if name == "kinds" else value) for name, value in op.attrs)
        return replace(op, args=tuple(args), attrs=attrs)

    def length(self, whole: Atom, axis: int, op: Op) -> Atom:
        assert isinstance(whole.type, TensorT)
        static = whole.type.dims[axis]
        if static is not None:
            return Const(static, INT)
        if (whole, axis) not in self.lengths:
            found = self.lengths[whole, axis] = self.fresh.var(Var(0, INT))
            self.before.append(Op((found,), "dim", (whole,), (("axis", axis),), op.span))
        return self.lengths[whole, axis]


def _of_element(op: Op) -> bool:
    """Does it read or write one element?"""
    if op.op not in FIRST or not isinstance(op.args[0].type, TensorT) or op.args[0].type.device:
        return False
    return all(k == "i" for k in op.attr("kinds"))  # type: ignore[attr-defined]


def _tensors(loop: Loop) -> dict[Atom, Atom]:
    """What has the shape of a tensor from before the loop, and that tensor."""
    inside = within(loop)
    found: dict[Atom, Atom] = {}
    for s in statements(loop.body):
        if isinstance(s, Op) and _of_element(s) and s.args[0].id not in inside:  # type: ignore[union-attr]
            found[s.args[0]] = s.args[0]
    if isinstance(loop.body.tail, Yield):
        for param, start, last in zip(loop.params, loop.inits, loop.body.tail.values, strict=True):
            if isinstance(param.type, TensorT):
                chain = _changed(loop.body, param)
                if last in chain:
                    found |= dict.fromkeys(chain, start)
    return found


def _changed(b: Block, param: Var) -> set[Atom]:
    """A tensor, and what it is after elements of it have changed, by a block or a branch of it."""
    found: set[Atom] = {param}

    def look(b: Block) -> None:
        for s in b.stmts:
            if isinstance(s, Op):
                if s.op == "update" and s.args[0] in found:
                    found.add(s.outs[0])
                continue
            for inner in blocks_of(s):
                look(inner)
            if isinstance(s, If | Match):
                ends = [inner.tail for inner in blocks_of(s)]
                for i, out in enumerate(outs_of(s)):
                    if all(not isinstance(end, Yield) or end.values[i] in found for end in ends):
                        found.add(out)

    look(b)
    return found
