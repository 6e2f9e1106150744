"""An elementwise operator of a reshaped product becomes the reshape of its result: the reshape after a convolution does
not part it from its activation. (A reshape that leaves the columns as they are needs none of this.)"""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.base.immutable import replace
from hybridc.core.ir import Atom, Block, Fn, Op, Program, Stmt, TensorT, Var
from hybridc.core.tensor_faults import element_faults
from hybridc.core.types import rank
from hybridc.core.walk import highest_id, map_blocks, rebuilt, uses, with_body
from hybridc.passes.each import each


def run(program: Program) -> Program:
    return each(program, ("sink",), lambda fn: _Sink(fn).run(), needs=["matmul"])


class _Sink:
    def __init__(self, fn: Fn):
        self.fn = fn
        self.next_id = highest_id(fn) + 1
        self.products: set[int] = set()
        """Products, and what is computed from them elementwise."""
        self.reshapes: dict[int, Op] = {}
        """Of such, by result."""
        self.done: set[int] = set()
        """Results of reshapes that have moved."""
        self.like: dict[int, int] = {}
        """Of what was made here: another variable that has its shape."""

    def run(self) -> Fn:
        body = self.block(self.fn.body)
        while self.done:
            needed = uses(body)
            # What one that moved would have said of its sizes the one that stands later says.
            gone = {i for i in self.done if i not in {v.id for v in needed}}
            if not gone:
                break
            body, self.done = _without(body, gone), self.done - gone
        return with_body(self.fn, body)

    def block(self, b: Block) -> Block:
        out: list[Stmt] = []
        for stmt in b.stmts:
            stmt = map_blocks(stmt, self.block)
            moved: list[Op] | None = None
            if isinstance(stmt, Op):
                moved = self.moved(stmt) if stmt.op == "map" else None
                for op in moved or [stmt]:
                    self.note(op)
            out += moved or [stmt]
        return rebuilt(b, out, b.tail)

    def note(self, op: Op) -> None:
        of = {a.id for a in op.args if isinstance(a, Var)}
        if op.op == "matmul" or op.op == "map" and of & self.products:
            self.products.add(op.outs[0].id)
        elif op.op == "reshape" and of & self.products and not _same_columns(op):
            self.reshapes[op.outs[0].id] = op

    def moved(self, op: Op) -> list[Op] | None:
        """The operator on what is reshaped, and the reshape of its result."""
        result = op.outs[0]
        sources: list[Op] = []
        args: list[Atom] = []
        for a, axes in zip(op.args, op.attr("axes"), strict=True):  # type: ignore[call-overload]
            if not isinstance(a, Var) or not isinstance(a.type, TensorT):
                args.append(a)
                continue
            reshape = self.reshapes.get(a.id)
            if reshape is None or axes != tuple(range(rank(result.type))) or not isinstance(reshape.args[0], Var):
                return None
            sources.append(reshape)
            args.append(reshape.args[0])
        if not sources or element_faults(op):
            return None
        if any(s.args[1:] != sources[0].args[1:] for s in sources) or not self.alike([s.args[0] for s in sources]):
            return None
        first = sources[0].args[0]
        assert isinstance(first, Var) and isinstance(first.type, TensorT) and isinstance(result.type, TensorT)
        inner = Var(self.next_id, TensorT(result.type.elem, first.type.dims, result.type.device), result.name)
        self.next_id += 1
        self.like[inner.id] = self.like.get(first.id, first.id)
        whole, none = tuple(range(rank(first.type))), (None,) * rank(first.type)
        axes = tuple(whole if isinstance(a, Var) and isinstance(a.type, TensorT) else none for a in args)
        attrs = tuple((n, axes if n == "axes" else v) for n, v in op.attrs)
        made = replace(op, outs=(inner,), args=tuple(args), attrs=attrs)
        self.done |= {s.outs[0].id for s in sources}
        shaped = replace(sources[0], outs=(result,), args=(inner, *sources[0].args[1:]), span=op.span)
        return [made, shaped]

    def alike(self, tensors: Sequence[Atom]) -> bool:
        """Do they have one shape, by their types or by how they were made?"""
        roots = {self.like.get(t.id, t.id) for t in tensors if isinstance(t, Var)}
        dims = {t.type.dims for t in tensors if isinstance(t, Var) and isinstance(t.type, TensorT)}
        return len(roots) == 1 or len(dims) == 1 and None not in next(iter(dims))


def _without(b: Block, gone: set[int]) -> Block:
    kept = [s for s in b.stmts if not (isinstance(s, Op) and s.op == "reshape" and s.outs[0].id in gone)]
    return Block(tuple(map_blocks(s, lambda inner: _without(inner, gone)) for s in kept), b.tail)


def _same_columns(reshape: Op) -> bool:
    """Does a reshape leave the last axis as it was? (One to or from a number counts as such.)"""
    last = [a.type.dims[-1] for a in (*reshape.args[:1], *reshape.outs) if isinstance(a.type, TensorT) and a.type.dims]
    return len(last) < 2 or last[0] == last[1] is not None
