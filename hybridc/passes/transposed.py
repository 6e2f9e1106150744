"""Transposes go behind what is computed element by element, until two undo each other or a reduction needs none: so
where derivatives of what was turned are turned back, nothing is turned at all. Only where fewer are left than there
were."""

from __future__ import annotations

from hybridc.base.immutable import replace
from hybridc.core.ir import Atom, Block, Fn, Op, Program, Stmt, TensorT, Var
from hybridc.core.types import rank
from hybridc.core.walk import (
    highest_id,
    map_atoms,
    map_blocks,
    map_tail,
    outs_of,
    rebuilt,
    statements_in,
    uses,
    with_body,
)
from hybridc.passes.each import each

Perm = tuple[int, ...]
FOLDS = ("sum", "prod", "max", "min", "all", "any")
"""Reductions that give the same in whatever order they go, but for rounding."""


def run(program: Program) -> Program:
    return each(program, "transposed", _fewer, needs=["transpose"])


def _fewer(fn: Fn) -> Fn:
    better = with_body(fn, _Turned(highest_id(fn) + 1).block(fn.body))
    while True:
        needed = uses(better.body)
        unused = {o.id for s in statements_in(better) if _is_transpose(s) for o in outs_of(s) if o not in needed}
        if not unused:
            break
        better = with_body(better, _without(better.body, unused))
    return better if _count(better) < _count(fn) else fn


def _is_transpose(s: Stmt) -> bool:
    return isinstance(s, Op) and s.op == "transpose"


def _count(fn: Fn) -> int:
    return sum(map(_is_transpose, statements_in(fn)))


def _without(b: Block, unused: set[int]) -> Block:
    kept = [s for s in b.stmts if not (_is_transpose(s) and s.outs[0].id in unused)]  # type: ignore[union-attr]
    return rebuilt(b, [map_blocks(s, lambda inner: _without(inner, unused)) for s in kept], b.tail)


class _Turned:
    def __init__(self, next_id: int):
        self.next_id = next_id
        self.made: dict[int, tuple[Var, Perm]] = {}
        """Of what is a transpose: of what, and how its axes lie in that."""
        self.value: dict[int, Atom] = {}

    def atom(self, a: Atom) -> Atom:
        return self.value.get(a.id, a) if isinstance(a, Var) else a

    def block(self, b: Block) -> Block:
        out: list[Stmt] = []
        for stmt in b.stmts:
            stmt = map_atoms(stmt, self.atom)
            if isinstance(stmt, Op):
                out += self.operator(stmt)
            else:
                out.append(map_blocks(stmt, self.block))
        return rebuilt(b, out, map_tail(b.tail, self.atom))

    def operator(self, op: Op) -> list[Stmt]:
        source = self.made.get(op.args[0].id) if op.args and isinstance(op.args[0], Var) else None
        match op.op:
            case "transpose":
                return self.transpose(op, source)
            case "map":
                return self.map(op)
            case "dim" if source is not None:
                axis = source[1][op.attr("axis")]  # type: ignore[call-overload]
                return [replace(op, args=(source[0],), attrs=(("axis", axis),))]
            case "reduce" if source is not None and op.attr("fn") in FOLDS:
                x, perm = source
                gone = {perm[i] for i in op.attr("axes")}  # type: ignore[attr-defined]
                left = [axis for axis in perm if axis not in gone]
                if left == sorted(left):
                    attrs = tuple((n, tuple(sorted(gone)) if n == "axes" else v) for n, v in op.attrs)
                    return [replace(op, args=(x,), attrs=attrs)]
        return [op]

    def transpose(self, op: Op, source: tuple[Var, Perm] | None) -> list[Stmt]:
        """At once from what was transposed before."""
        x, perm = op.args[0], op.attr("perm")
        assert isinstance(x, Var) and isinstance(perm, tuple)
        if source is not None:
            x, perm = source[0], tuple(source[1][i] for i in perm)
        if perm == tuple(range(len(perm))) and x.type == op.outs[0].type:
            self.value[op.outs[0].id] = x
            return []
        self.made[op.outs[0].id] = x, perm
        return [replace(op, args=(x,), attrs=(("perm", perm),))]

    def map(self, op: Op) -> list[Stmt]:
        """The map of what its whole operands are transposes of, if they are all turned in one way, and the transpose of
        its result."""
        out, axes = op.outs[0], op.attr("axes")
        assert isinstance(axes, tuple) and isinstance(out.type, TensorT)
        n = rank(out.type)
        whole = [a for a in op.args if isinstance(a, Var) and isinstance(a.type, TensorT) and rank(a.type) == n]
        turned = [self.made.get(a.id) for a in whole]
        if not n or not turned or any(t is None or t[1] != turned[0][1] for t in turned):  # type: ignore[index]
            return [op]
        perm = turned[0][1]  # type: ignore[index]
        args: list[Atom] = []
        named: list[tuple[int | None, ...]] = []
        for a, own in zip(op.args, axes, strict=True):
            if any(a == w for w in whole):
                if own != tuple(range(n)):
                    return [op]
                args.append(self.made[a.id][0])  # type: ignore[union-attr]
                named.append(own)
                continue
            moved: list[int | None] = [None] * n
            for i, axis in enumerate(own):
                moved[perm[i]] = axis
            given = [axis for axis in moved if axis is not None]
            if given != sorted(given):
                return [op]
            args.append(a)
            named.append(tuple(moved))
        dims: list[int | None] = [None] * n
        for i, size in enumerate(out.type.dims):
            dims[perm[i]] = size
        inner = Var(self.next_id, replace(out.type, dims=tuple(dims)), out.name)
        self.next_id += 1
        self.made[out.id] = inner, perm
        attrs = tuple((key, tuple(named) if key == "axes" else v) for key, v in op.attrs)
        return [replace(op, outs=(inner,), args=tuple(args), attrs=attrs),
                Op((out,), "transpose", (inner,), (("perm", perm),), op.span)]
