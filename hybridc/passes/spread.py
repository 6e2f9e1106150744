"""A tensor that is only spread to the sizes of another operand of the same `map` is not made: a map spreads its
operands itself, and compares the sizes that the broadcast would have compared. Such broadcasts come with the
derivatives of sums; where sizes are open, one could stop the program, and so is no part of the kernel that follows."""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.base.immutable import replace
from hybridc.core.ir import Atom, Block, Fn, Op, Program, Stmt, Var
from hybridc.core.ops import is_pure
from hybridc.core.walk import map_blocks, rebuilt, uses, with_body
from hybridc.passes.agreed import Agreed
from hybridc.passes.each import each
from hybridc.passes.simplify import simplify_fn


def run(program: Program) -> Program:
    return each(program, "spread", lambda fn: _unspread(fn, program), needs=["broadcast"])


def _unspread(fn: Fn, program: Program) -> Fn:
    """What is then a product with 1 is simplified."""
    better = _Spread(fn).run()
    return fn if better is fn else simplify_fn(better, program)


class _Spread:
    def __init__(self, fn: Fn):
        self.fn = fn
        self.uses = uses(fn.body)
        self.made: dict[int, Op] = {}
        self.sizes = Agreed()

    def run(self) -> Fn:
        return with_body(self.fn, self.block(self.fn.body))

    def block(self, b: Block) -> Block:
        out: list[Stmt] = []
        for stmt in b.stmts:
            if isinstance(stmt, Op):
                if stmt.op == "map":
                    stmt = self.unspread(stmt, out)
                if len(stmt.outs) == 1:
                    self.made[stmt.outs[0].id] = stmt
            else:
                stmt = map_blocks(stmt, self.inner)
            self.sizes.after(stmt)
            out.append(stmt)
        return rebuilt(b, out, b.tail)

    def inner(self, b: Block) -> Block:
        with self.sizes.within():
            return self.block(b)

    def unspread(self, op: Op, out: list[Stmt]) -> Op:
        """A map of what its broadcast operands were made from; broadcasts that nothing else needs are taken out of the
        block so far."""
        for k, a in enumerate(op.args):
            spread = self.made.get(a.id) if isinstance(a, Var) else None
            if spread is None or spread.op != "broadcast" or not self.needless(op, k, spread):
                continue
            at = next((i for i, s in enumerate(out) if s is spread), -1)
            if at < 0 or self.uses[a] == 1 and not _quiet(out[at + 1 :]):  # type: ignore[index]
                continue
            self.uses[a] -= 1  # type: ignore[index]
            if not self.uses[a]:  # type: ignore[index]
                del out[at]
            args, axes = list(op.args), list(op.attr("axes"))  # type: ignore[call-overload]
            args[k] = spread.args[0]
            axes[k] = tuple(None if i is None else spread.attr("axes")[i] for i in axes[k])  # type: ignore[index]
            attrs = tuple((name, tuple(axes) if name == "axes" else value) for name, value in op.attrs)
            op = replace(op, args=tuple(args), attrs=attrs)
        return op

    def needless(self, op: Op, k: int, spread: Op) -> bool:
        """Has each axis of operand k, by another operand, the size to which it was spread?"""
        axes, sizes = op.attr("axes"), self.sizes
        assert isinstance(axes, tuple)

        def is_shown(i: int, size: Atom) -> bool:
            return any(j != k and named[i] is not None and sizes.same(sizes.number(size), sizes.size(a, named[i]))
                       for j, (a, named) in enumerate(zip(op.args, axes, strict=True)))

        shown = {at for i, at in enumerate(axes[k]) if at is not None and is_shown(i, spread.args[1 + at])}
        return len(shown) == len(spread.args) - 1


def _quiet(stmts: Sequence[Stmt]) -> bool:
    """Can none of them stop the program or be seen from outside?"""
    return all(isinstance(s, Op) and is_pure(s) for s in stmts)
