"""Sizes that are known flow on: what is computed of tensors of known sizes has known sizes.

A function over `f64[N]` is written for any N. Where it stands in the place of its call, N is a number, and the types of
all that it computes say so; so of what is computed of a window (passes/slices.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from hybridc.base.immutable import replace
from hybridc.core.ir import (
    INT,
    Atom,
    Block,
    Const,
    Exit,
    Fn,
    If,
    Loop,
    Match,
    Op,
    Program,
    Scope,
    Stmt,
    TensorT,
    Type,
    Var,
    Yield,
)
from hybridc.core.tensor_build import known, part_length, static
from hybridc.core.walk import map_atoms, map_blocks, map_tail, outs_of, rebuilt, statements_in, with_body
from hybridc.passes.each import each

Dims = tuple["int | None", ...]


def run(program: Program) -> Program:
    return each(program, "shapes", lambda fn: _Shapes().run(fn), needs=ROWS)


# ---- one row for each operator: the sizes of its result --------------------------------------------------------------
def _map(op: Op) -> Dims:
    axes: Sequence[Dims] = op.attr("axes")  # type: ignore[assignment]
    pairs = list(zip(op.args, axes, strict=True))
    return tuple(
        next((n for a, at in pairs if at[i] is not None and (n := static(a)[at[i]]) is not None), None)  # type: ignore[index]
        for i in range(len(static(op.outs[0])))
    )


def _reduce(op: Op) -> Dims:
    return tuple(n for i, n in enumerate(static(op.args[0])) if i not in op.attr("axes"))  # type: ignore[operator]


def _reshape(op: Op) -> Dims:
    sizes = [known(a) for a in op.args[1:]]
    dims = static(op.args[0])
    open_ = [i for i, a in enumerate(op.args[1:]) if a == Const(-1, INT)]
    left = prod(n for n in sizes if n is not None)
    if len(open_) == 1 and sizes.count(None) == 1 and None not in dims and left and prod(dims) % left == 0:  # type: ignore[arg-type]
        sizes[open_[0]] = prod(dims) // left  # type: ignore[arg-type]
    return tuple(sizes)


def _transpose(op: Op) -> Dims:
    return tuple(static(op.args[0])[i] for i in op.attr("perm"))  # type: ignore[attr-defined]


def _sizes(op: Op) -> Dims:
    return tuple(map(known, op.args[1:]))


def _matmul(op: Op) -> Dims:
    x, y = map(static, op.args)
    batch = x[:-2] if len(x) >= len(y) else y[:-2]
    return (*batch, x[-1] if op.attr("ta") else x[-2], y[-2] if op.attr("tb") else y[-1])


def _index(op: Op) -> Dims:
    numbers = iter(op.args[1:])
    found: list[int | None] = []
    for n, kind in zip(static(op.args[0]), op.attr("kinds"), strict=True):  # type: ignore[call-overload]
        bounds = [next(numbers) for _ in kind]
        if kind != "i":
            found.append(part_length(n, kind, bounds))
    return tuple(found)


def _same(op: Op) -> Dims:
    return static(op.args[0])


def _concat(op: Op) -> Dims:
    axis = op.attr("axis")
    columns = list(zip(*map(static, op.args), strict=True))
    return tuple(
        (None if None in ns else sum(ns)) if i == axis else next((n for n in ns if n is not None), None)  # type: ignore[arg-type]
        for i, ns in enumerate(columns)
    )


ROWS: dict[str, Callable[[Op], Dims]] = {
    "map": _map, "reduce": _reduce, "reshape": _reshape, "transpose": _transpose, "broadcast": _sizes,
    "matmul": _matmul, "index": _index, "update": _same, "cumsum": _same, "stop_gradient": _same, "concat": _concat,
}
"""Not those whose operands may be zeros without elements, as adjoints are."""


# ---- where they flow -------------------------------------------------------------------------------------------------
class _Shapes:
    def __init__(self) -> None:
        self.value: dict[int, Atom] = {}
        """What stands for variables of which more is known."""
        self.given: dict[int, list[tuple[Atom, ...]]] = {}
        """Of each label what its exits give."""

    def run(self, fn: Fn) -> Fn:
        if not any(self.open(v.type) for s in statements_in(fn) for v in outs_of(s)):
            return fn
        return with_body(fn, self.block(fn.body))

    @staticmethod
    def open(t: Type) -> bool:
        return isinstance(t, TensorT) and None in t.dims

    def atom(self, a: Atom) -> Atom:
        return self.value.get(a.id, a) if isinstance(a, Var) else a

    def block(self, b: Block) -> Block:
        out: list[Stmt] = []
        for stmt in b.stmts:
            made = self.statement(map_atoms(stmt, self.atom))
            out += () if made is None else (made,)
        tail = map_tail(b.tail, self.atom)
        if isinstance(tail, Exit):
            self.given.setdefault(tail.label, []).append(tail.values)
        return rebuilt(b, out, tail)

    def statement(self, stmt: Stmt) -> Stmt | None:
        match stmt:
            case Op((out,), "dim", args):
                n = static(args[0])[stmt.attr("axis")]  # type: ignore[call-overload]
                if n is None:
                    return stmt
                self.value[out.id] = Const(n, INT)
                return None
            case Op((out,), name) if name in ROWS and self.open(out.type):
                return replace(stmt, outs=(self.better(out, ROWS[name](stmt)),))
            case If() | Match():
                new = map_blocks(stmt, self.block)
                blocks = (new.then, new.orelse) if isinstance(new, If) else [a.body for a in new.arms]  # type: ignore[union-attr]
                return self.merged(new, [b.tail.values for b in blocks if isinstance(b.tail, Yield)])
            case Scope(_, label, _, _):
                new = map_blocks(stmt, self.block)
                assert isinstance(new, Scope)
                ends = [new.body.tail.values] if isinstance(new.body.tail, Yield) else []
                return self.merged(new, [*ends, *self.given.pop(label, [])])
            case Loop():
                return self.loop(stmt)
        return map_blocks(stmt, self.block)

    def better(self, v: Var, dims: Dims) -> Var:
        """The variable with these sizes where its type leaves them open."""
        t = v.type
        assert isinstance(t, TensorT)
        both = tuple(n if n is not None else m for n, m in zip(t.dims, dims, strict=True))
        if both == t.dims:
            return v
        self.value[v.id] = new = replace(v, type=replace(t, dims=both))
        return new

    def merged(self, stmt: Stmt, ways: Sequence[tuple[Atom, ...]]) -> Stmt:
        """A branch, scope or loop; `ways`: what arrives at its end."""
        outs = outs_of(stmt)
        new = tuple(self.agreed(o, [w[i] for w in ways if w]) for i, o in enumerate(outs))
        return stmt if new == outs else replace(stmt, outs=new)  # type: ignore[arg-type]

    def agreed(self, v: Var, values: Sequence[Atom]) -> Var:
        if not self.open(v.type) or not values:
            return v
        columns = zip(*map(static, values), strict=True)
        return self.better(v, tuple(ns[0] if len(set(ns)) == 1 else None for ns in columns))

    def loop(self, loop: Loop) -> Stmt:
        """Sizes that every turn leaves as they were before the first."""
        before, given = dict(self.value), {k: list(v) for k, v in self.given.items()}
        params = tuple(self.agreed(p, [a]) for p, a in zip(loop.params, loop.inits, strict=True))
        while True:
            new = replace(loop, params=params, body=self.block(loop.body))
            again = new.body.tail.values
            fitting = tuple(
                p if not again or p is old or static(again[i]) == static(p) else old
                for i, (p, old) in enumerate(zip(params, loop.params, strict=True)))
            if fitting == params:
                break
            self.value, self.given, params = dict(before), {k: list(v) for k, v in given.items()}, fitting
            self.value.update((p.id, p) for p, old in zip(params, loop.params, strict=True) if p is not old)
        if params == loop.params and new.body is loop.body:
            new = loop
        return self.merged(new, self.given.pop(loop.label, []))


