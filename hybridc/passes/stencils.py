"""What is computed of parts of one matrix, each moved by some rows and columns, is computed in one run.

`x[:-2, 1:-1] + x[2:, 1:-1]` copied both parts, since a kernel goes over rows that lie side by side. But the elements
that go together are always as far apart in the matrix, so the parts are runs of its elements, from each one's first to
its last: a kernel over these computes what is between the rows too, which is then left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hybridc.base.types import FLOATS
from hybridc.core.builder import Builder, FreshBuilder, integer
from hybridc.core.ir import BOOL, INT, Atom, Block, Const, Exit, Fn, If, Op, Program, Stmt, TensorT, Var, Yield
from hybridc.core.tensor_faults import element_faults
from hybridc.core.walk import Freshener, highest_id, highest_label, map_blocks, rebuilt, uses, with_body
from hybridc.passes.each import each

FEWEST = 2
"""Parts that are worth it."""


@dataclass(frozen=True)
class Part:
    """Of a matrix: from which row and column on, and how many fewer rows and columns it has."""

    x: Var
    start: tuple[int, int]
    less: tuple[int, int]


def run(program: Program) -> Program:
    return each(program, "stencils", lambda fn: _Stencils(fn).run(), needs=["index"])


class _Stencils:
    def __init__(self, fn: Fn):
        self.fn = fn
        self.fresh = Freshener(highest_id(fn) + 1, highest_label(fn) + 1)

    def run(self) -> Fn:
        self.uses = uses(self.fn.body)
        return with_body(self.fn, self.block(self.fn.body))

    def block(self, b: Block) -> Block:
        b = rebuilt(b, [map_blocks(s, self.block) for s in b.stmts], b.tail)
        groups: dict[tuple[Var, tuple[int, int]], list[Op]] = {}
        for s in b.stmts:
            part = part_of(s)
            if part is not None:
                groups.setdefault((part.x, part.less), []).append(s)  # type: ignore[arg-type]
        for parts in groups.values():
            if len(parts) >= FEWEST:
                b = self.group(b, parts)
        return b

    def group(self, b: Block, parts: Sequence[Op]) -> Block:
        """With one run for what is computed of these parts, if their results are fewer than they are."""
        inside = {p.outs[0] for p in parts}
        maps: list[Op] = []
        for s in b.stmts:
            if isinstance(s, Op) and _computes(s, inside):
                maps.append(s)
                inside.add(s.outs[0])
        members = {*map(id, parts), *map(id, maps)}
        left = dict.fromkeys(inside, 0)
        for s in (*parts, *maps):
            for a in s.args:
                if isinstance(a, Var) and a in left:
                    left[a] += 1
        results = [v for v in inside if self.uses.get(v, 0) > left[v]]
        if not maps or len(results) >= len(parts) or any(v in {p.outs[0] for p in parts} for v in results):
            return b
        at = [i for i, s in enumerate(b.stmts) if id(s) in members]
        between = [s for s in b.stmts[at[0] : at[-1]] if id(s) not in members]
        x = parts[0].args[0]
        if any(v in results or v == x for s in between for v in uses(Block((s,), Yield()))):
            return b
        new = self.written(parts, maps, results)
        kept = [s for s in b.stmts[: at[-1] + 1] if id(s) not in members]
        return rebuilt(b, [*kept, *new, *b.stmts[at[-1] + 1 :]], b.tail)

    def written(self, parts: Sequence[Op], maps: Sequence[Op], results: Sequence[Var]) -> Sequence[Stmt]:
        b = FreshBuilder(self.fresh)
        b.span = parts[0].span
        b.open()
        whole = part_of(parts[0])
        assert whole is not None
        n, m = (b.op("dim", [whole.x], INT, axis=i) for i in (0, 1))
        height, width = (b.op("sub", [size, integer(less)], INT) for size, less in zip((n, m), whole.less, strict=True))
        some = [b.op("ge", [size, integer(1)], BOOL) for size in (height, width)]
        both = b.op("bit_and", some, BOOL)
        b.open()
        flat = b.op("reshape", [whole.x, b.op("mul", [n, m], INT)], _row(whole.x), fits=True)
        length = b.op("add", [b.op("mul", [b.op("sub", [height, integer(1)], INT), m], INT), width], INT)
        run: dict[Atom, Var] = {}
        for op in parts:
            part = part_of(op)
            assert part is not None
            start = b.op("add", [b.op("mul", [m, integer(part.start[0])], INT), integer(part.start[1])], INT)
            run[op.outs[0]] = b.op("tensor_view", [flat, start, length], _row(op.outs[0]))
        for op in maps:
            b.span = op.span
            args = tuple(run.get(a, a) for a in op.args)
            axes = tuple((0,) if isinstance(a.type, TensorT) else (None,) for a in args)
            attrs = tuple((k, axes if k == "axes" else v) for k, v in op.attrs)
            run[op.outs[0]] = made = b.var(_row(op.outs[0]))
            b.add(Op((made,), "map", args, attrs, op.span))
        lines = tuple(_lines(b, run[v], height, width, m) for v in results)
        then = b.close(Yield(lines))
        orelse = self.fresh.copy(Block((*parts, *maps), Yield(tuple(results))), {}, {})
        b.add(If(tuple(results), both, then, orelse, parts[0].span))
        return b.close(Yield()).stmts


def part_of(s: Stmt) -> Part | None:
    """What a statement takes of a matrix, if it is a part whose lines do not lie side by side."""
    if not isinstance(s, Op) or s.op != "index":
        return None
    x, *numbers = s.args
    kinds: tuple[str, ...] = s.attr("kinds")  # type: ignore[assignment]
    if not isinstance(x, Var) or len(kinds) != 2 or not all(isinstance(n, Const) for n in numbers):
        return None
    starts, less = [], []
    for kind in kinds:
        given = {letter: int(numbers.pop(0).value) for letter in kind}  # type: ignore[union-attr]
        start, end = given.get("a", 0), given.get("b", 0)
        if not set(kind) <= {"a", "b"} or start < 0 or "b" in kind and end >= 0:
            return None
        starts.append(start)
        less.append(start - end)
    return Part(x, (starts[0], starts[1]), (less[0], less[1])) if less[1] else None


def _computes(op: Op, inside: set[Var]) -> bool:
    """Is it elementwise, of what is computed in the same run and of numbers, and cannot stop the program?"""
    if op.op != "map" or element_faults(op):
        return False
    pairs = list(zip(op.args, op.attr("axes"), strict=True))  # type: ignore[call-overload]
    tensors = [(a, axes) for a, axes in pairs if isinstance(a.type, TensorT)]
    return bool(tensors) and all(a in inside and axes == (0, 1) for a, axes in tensors)


def _row(v: Var) -> TensorT:
    assert isinstance(v.type, TensorT)
    return TensorT(v.type.elem, (None,))


def _lines(b: Builder, run: Var, height: Atom, width: Atom, m: Atom) -> Var:
    """The matrix whose lines begin m elements after one another in a run."""
    elem = _row(run).elem
    zero = Const(False if elem == BOOL else 0.0 if elem in FLOATS else 0, elem)
    t = TensorT(elem, (None, None))
    made = b.op("broadcast", [zero, height, width], t, axes=(None, None))
    label, so_far, i = b.label(), b.var(t), b.var(INT)
    b.open()
    more = b.op("lt", [i, height], BOOL)
    b.add(If((), more, Block((), Yield()), Block((), Exit(label, (so_far,))), b.span))
    line = b.op("tensor_view", [run, b.op("mul", [i, m], INT), width], _row(run))
    put = b.op("update", [so_far, line, i], t, axes=(0,), kinds=("i", ""))
    again = b.op("add", [i, integer(1)], INT)
    body = b.close(Yield((put, again)))
    return b.loop(label, (so_far, i), (made, integer(0)), body, (t,))[0]
