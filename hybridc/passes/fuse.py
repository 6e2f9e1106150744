"""Neighbouring tensor operators become one `fused` statement where they can be one kernel (kernels/graph.py says when).

Statements of a block are looked at in order. An operator joins the groups that made its operands if all of them
together still are one kernel; the group then stands where its last member stood. So nothing in between may use what a
member makes, write in place what a member reads, or stop the program when a member moved past it could have done so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hybridc.base.immutable import replace
from hybridc.base.types import F32, F64
from hybridc.core.ir import Atom, Block, Const, Fn, Fused, Op, Program, Stmt, TensorT, Var, Yield
from hybridc.core.ops import OPS, is_pure, may_fault
from hybridc.core.tensor_faults import element_faults, sizes_agree
from hybridc.core.types import elem, rank
from hybridc.core.walk import (
    args_of,
    blocks_of,
    free_vars,
    highest_id,
    map_blocks,
    outs_of,
    rebuilt,
    uses,
    with_body,
)
from hybridc.kernels.graph import FUSIBLE, Unfit, build, in_vectors, pooling
from hybridc.passes import sizes
from hybridc.passes.agreed import Agreed
from hybridc.passes.each import each

LARGEST = 48
"""Operators in one kernel."""
SMALL = 4096
"""Elements below which a map that stands alone is no kernel of its own."""


Judge = Callable[[Sequence[Op], Sequence[Var]], "str | None"]
"""Why operators, of which these results are needed, are not one kernel."""


def on_cpu(ops: Sequence[Op], results: Sequence[Var]) -> str | None:
    try:
        in_vectors(build(ops, results))
    except Unfit as unfit:
        return None if _pools(ops, results) else str(unfit)
    return None


def _pools(ops: Sequence[Op], results: Sequence[Var]) -> bool:
    """Pooling with known windows, in vectors."""
    return pooling(ops, results) and elem(results[0].type) in (F32, F64) and all(
        isinstance(a, Const) for a in ops[0].args[1:9])


def run(program: Program, judge: Judge = on_cpu, refusals: dict[str, list[Refusal]] | None = None) -> Program:
    """Every function with its kernels fused; by function the `refusals`, if they are asked for."""
    program = sizes.run(program)
    if refusals is None:
        return each(program, ("fuse", judge), lambda fn: _Fuser(fn, None, judge).run(), needs=FUSIBLE)
    fns = {name: _Fuser(fn, refusals.setdefault(name, []), judge).run() for name, fn in program.fns.items()}
    return Program(program.structs, program.enums, fns)


@dataclass
class Refusal:
    """Why an operator did not join the kernel that made its operand."""

    op: Op
    before: Op
    reason: str


@dataclass
class Group:
    members: list[int]
    made: set[int] = field(default_factory=set)


class _Fuser:
    def __init__(self, fn: Fn, refusals: list[Refusal] | None = None, judge: Judge = on_cpu):
        self.fn, self.judge = fn, judge
        self.next_id = highest_id(fn) + 1
        self.uses = uses(fn.body)
        self.refusals = refusals
        self.sizes = Agreed()
        self.fitting: set[int] = set()
        """Results of maps whose operands are known to agree."""

    def run(self) -> Fn:
        return with_body(self.fn, self.block(self.fn.body))

    def block(self, b: Block) -> Block:
        with self.sizes.within():
            stmts = [self.within(s) for s in b.stmts]
        groups: list[Group] = []
        for i, stmt in enumerate(stmts):
            if isinstance(stmt, Op) and stmt.op in FUSIBLE:
                self.place(stmts, i, stmt, groups)
        at: dict[int, Stmt | None] = {}
        for g in groups:
            ops = [stmts[i] for i in g.members]
            if sum(op.op != "reshape" for op in ops) >= 2 or self.judge is on_cpu and _moves_on(ops[0]):  # type: ignore[union-attr, arg-type]
                at.update(dict.fromkeys(g.members))
                at[g.members[-1]] = self.fused(ops)  # type: ignore[arg-type]
        kept = [at.get(i, s) for i, s in enumerate(stmts)]
        return rebuilt(b, [s for s in kept if s is not None], b.tail)

    def within(self, stmt: Stmt) -> Stmt:
        """A statement with what is within it fused."""
        if isinstance(stmt, Op) and stmt.op == "map" and self.sizes.fits(stmt):
            self.fitting.add(stmt.outs[0].id)
        new = map_blocks(stmt, self.block)
        self.sizes.after(stmt)
        return new

    def place(self, stmts: Sequence[Stmt], i: int, op: Op, groups: list[Group]) -> None:
        wanted = {a.id for a in op.args if isinstance(a, Var)}
        makers = [g for g in groups if g.made & wanted]
        attempts = [makers] if len(makers) < 2 else [makers, *([g] for g in reversed(makers))]
        attempts[:0] = [*self.scores(stmts, op, groups), *self.windows(stmts, i, op)]
        for chosen in attempts:
            reason = self.unfit(stmts, i, chosen)
            if reason is None:
                joined = Group(sorted(m for g in chosen for m in g.members) + [i])
                joined.made = {o.id for m in joined.members for o in stmts[m].outs}  # type: ignore[union-attr]
                groups[:] = [g for g in groups if not {*g.members} & {*joined.members}] + [joined]
                return
            if self.refusals is not None and all(g in makers for g in chosen):
                for g in chosen:
                    self.refusals.append(Refusal(op, stmts[g.members[-1]], reason))  # type: ignore[arg-type]
        if makers and self.unfit(stmts, i, []) is None:
            groups.append(Group([i], {o.id for o in op.outs}))

    def scores(self, stmts: Sequence[Stmt], op: Op, groups: list[Group]) -> list[list[Group]]:
        """For a product, the groups that made its left side, and those that made what these read: attention is one
        kernel on a GPU, though a softmax of a product may be none."""
        if op.op != "matmul" or self.judge is on_cpu:
            return []
        left, right = (a.id if isinstance(a, Var) else -1 for a in op.args)
        near = [g for g in groups if left in g.made and right not in g.made]
        wanted = {a.id for g in near for m in g.members for a in args_of(stmts[m]) if isinstance(a, Var)}
        both = [g for g in groups if g in near or g.made & wanted and right not in g.made]
        return [both] if len(both) > len(near) else []

    def windows(self, stmts: Sequence[Stmt], i: int, op: Op) -> list[list[Group]]:
        """For a reduction of windows these, and for a product whose right side is a reshape of windows these two:
        neither joins anything by itself."""
        made = _maker(stmts, i, op.args[-1] if op.op == "matmul" else op.args[0] if op.op == "reduce" else None)
        chain = [made]
        if op.op == "matmul" and made >= 0:
            shaped = stmts[made]
            if not isinstance(shaped, Op) or shaped.op != "reshape":
                return []
            chain.insert(0, _maker(stmts, made, shaped.args[0]))
        first = stmts[chain[0]]
        if chain[0] < 0 or not isinstance(first, Op) or first.op != "windows":
            return []
        return [[Group(chain, {o.id for k in chain for o in outs_of(stmts[k])})]]

    def unfit(self, stmts: Sequence[Stmt], i: int, chosen: Sequence[Group]) -> str | None:
        """Why these groups and the operator at i are not one kernel."""
        members = sorted(m for g in chosen for m in g.members) + [i]
        if len(members) > LARGEST:
            return "the kernel is large enough"
        ops = [stmts[m] for m in members]
        inside = set(members)
        made: set[int] = set()
        read: set[int] = set()
        faulting = False
        for k in range(members[0], i):
            stmt = stmts[k]
            if k in inside:
                made.update(o.id for o in stmt.outs)  # type: ignore[union-attr]
                read.update(a.id for a in args_of(stmt) if isinstance(a, Var))
                faulting = faulting or self.faults(stmt)  # type: ignore[arg-type]
                continue
            if _used(stmt) & made:
                return "what is between them needs a result"
            if faulting and not self.quiet(stmt):
                return "what is between them could stop the program first"
            if _written(stmt) & read:
                return "what is between them writes an operand in place"
        return self.judge(ops, self.results(ops))  # type: ignore[arg-type]

    def faults(self, op: Op) -> bool:
        """May it stop the program otherwise than for lack of memory, as far as is known where it stands?"""
        return _faults(op) and not (op.outs and op.outs[0].id in self.fitting and not element_faults(op))

    def quiet(self, stmt: Stmt) -> bool:
        if isinstance(stmt, Fused):
            return not any(map(self.faults, stmt.ops))
        return isinstance(stmt, Op) and (is_pure(stmt) or not self.faults(stmt) and not OPS[stmt.op].effect)

    def results(self, ops: Sequence[Op]) -> list[Var]:
        """What is needed outside."""
        within: dict[int, int] = {}
        for op in ops:
            for a in op.args:
                if isinstance(a, Var):
                    within[a.id] = within.get(a.id, 0) + 1
        return [o for op in ops for o in op.outs if self.uses.get(o, 0) > within.get(o.id, 0)]

    def fused(self, ops: Sequence[Op]) -> Fused:
        """The results keep their names outside; within they get new ones."""
        fresh: dict[int, Var] = {}
        results = self.results(ops)
        for o in results:
            fresh[o.id] = Var(self.next_id, o.type, o.name)
            self.next_id += 1
        inner = []
        for op in ops:
            args = tuple(fresh.get(a.id, a) if isinstance(a, Var) else a for a in op.args)
            inner.append(replace(op, outs=tuple(fresh.get(o.id, o) for o in op.outs), args=args))
        body = Block(tuple(inner), Yield(tuple(fresh[o.id] for o in results)))
        return Fused(tuple(results), body, ops[-1].span)


def _maker(stmts: Sequence[Stmt], before: int, a: Atom | None) -> int:
    """The statement that makes it, or -1."""
    if not isinstance(a, Var):
        return -1
    return next((k for k in reversed(range(before)) if any(o.id == a.id for o in outs_of(stmts[k]))), -1)


def _used(stmt: Stmt) -> set[int]:
    found = {a.id for a in args_of(stmt) if isinstance(a, Var)}
    for b in blocks_of(stmt):
        found.update(v.id for v in free_vars(b))
    return found


def _written(stmt: Stmt) -> set[int]:
    """What a statement may write in place when it is the last to need it."""
    match stmt:
        case Op():
            row = OPS[stmt.op]
            return {a.id for k, a in enumerate(stmt.args) if isinstance(a, Var) and row.mode(k) == "c"} - (
                {a.id for a in stmt.args if isinstance(a, Var)} if stmt.op in ("reshape", "tuple", "struct") else set()
            )
        case Fused():
            return set()
    return {v for v in _used(stmt)} if blocks_of(stmt) else set()


def checks_sizes(op: Op) -> bool:
    """Does it compare sizes that types leave open?"""
    if op.op == "map":
        return not sizes_agree(op)
    if op.op == "concat":
        return any(None in a.type.dims[:-1] for a in op.args if isinstance(a.type, TensorT))
    return op.op in ("matmul", "reshape") and _faults(op)


def _moves_on(op: Op) -> bool:
    """Is it a large tensor, computed from another one place by place? As a kernel it may take that one's memory, which
    mostly is needed no more: so derivatives are added up."""
    out = op.outs[0].type
    if op.op != "map" or not isinstance(out, TensorT) or not out.dims or (_product(out.dims) or SMALL) < SMALL:
        return False
    whole = tuple(range(len(out.dims)))
    return any(own == whole and elem(a.type) == out.elem for a, own in zip(op.args, op.attr("axes"), strict=True))  # type: ignore[call-overload]


def _faults(op: Op) -> bool:
    """May it stop the program otherwise than for lack of memory?"""
    dims = [a.type.dims for a in op.args if isinstance(a, Var) and isinstance(a.type, TensorT)]
    match op.op:
        case "map":
            return may_fault(op)
        case "matmul":
            k = dims[0][-2 if op.attr("ta") else -1], dims[1][-1 if op.attr("tb") else -2]
            lead = len(dims[0]) > 2 and len(dims[1]) > 2 and (dims[0][:-2] != dims[1][:-2] or None in dims[0][:-2])
            return k[0] is None or k[0] != k[1] or lead
        case "concat":
            return rank(op.outs[0].type) > 1
        case "iota":
            return not (isinstance(op.args[0], Const) and op.args[0].value >= 0)
        case "reshape":
            if op.attr("fits"):
                return False
            made = op.outs[0].type
            count = [_product(d) for d in (*dims, made.dims if isinstance(made, TensorT) else ())]
            return None in count or len(set(count)) > 1
        case "broadcast":
            return bool(dims)
    return may_fault(op)


def _product(dims: Sequence[int | None]) -> int | None:
    total = 1
    for d in dims:
        if d is None:
            return None
        total *= d
    return total


__all__ = ["Refusal", "checks_sizes", "run"]
