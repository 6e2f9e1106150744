"""What runs where: tensor operators become GPU kernels, and transfers between the two memories become operators.

Within a function, a variable that a kernel makes lies on the device, and everything else on the host. Where the host
needs what lies on the device a `to_host` stands before the first statement that does, once for a block and the blocks
within; and the other way round a `to_device`. Values that cross from a block, loop or function to another one do so on
the host, but for those that a loop carries from kernel to kernel.

The host keeps what it decides by: operators whose only use is one number, tiny tensors beside it, and the bodies of
`parallel`, which run on many threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from hybridc.core.ir import Atom, Block, Fn, Fused, Loop, Op, Parallel, Program, Stmt, TensorT, Var, Yield
from hybridc.core.tensor_ops import ANYWHERE, TENSOR_ROWS
from hybridc.core.walk import (
    args_of,
    bound_in,
    free_vars,
    highest_id,
    map_atoms,
    map_blocks,
    map_tail,
    outs_of,
    substitute,
    tail_values,
)
from hybridc.kernels.device import HOST_ONLY, launch_of, refusal

TINY = 4096
"""Elements up to which a tensor of known size is not worth a kernel."""
TENSOR_OPS = frozenset(r.name for r in TENSOR_ROWS)


@dataclass
class Placed:
    """Why an operator stayed on the host."""

    stmt: Op | Fused
    reason: str


def run(program: Program, everything: bool = False, notes: dict[str, list[Placed]] | None = None) -> Program:
    """Every function with its kernels placed. `everything`: what can be a kernel is one, however small it is."""
    fns = {}
    for name, fn in program.fns.items():
        placer = _Placer(fn, everything)
        fns[name] = placer.run()
        if notes is not None and placer.notes:
            notes[name] = placer.notes
    return Program(program.structs, program.enums, fns)


@dataclass
class Scope:
    """A block that is being written: its statements, what it defines, and copies in the other memory that it holds."""

    parent: Scope | None
    turns: bool
    """Is it the body of a loop?"""
    out: list[Stmt] = field(default_factory=list)
    defined: set[int] = field(default_factory=set)
    on_host: dict[int, Var] = field(default_factory=dict)
    on_device: dict[int, Var] = field(default_factory=dict)

    def copy(self, v: Var, device: bool) -> Var | None:
        scope: Scope | None = self
        while scope is not None:
            found = (scope.on_device if device else scope.on_host).get(v.id)
            if found is not None:
                return found
            scope = scope.parent
        return None

    def holder(self, v: Var) -> Scope:
        """Where a copy of a variable is made: here, but before the loops that it stays the same in."""
        best = scope = self
        while v.id not in scope.defined and scope.parent is not None:
            if scope.turns:
                best = scope.parent
            scope = scope.parent
        return best


class _Placer:
    def __init__(self, fn: Fn, everything: bool):
        self.fn, self.everything = fn, everything
        self.next_id = highest_id(fn) + 1
        self.placed: dict[int, Var] = {}
        """By id: what a variable that a kernel made is now."""
        self.views: dict[int, Op] = {}
        """Parts of vectors that lie on the host."""
        self.notes: list[Placed] = []

    def run(self) -> Fn:
        return replace(self.fn, body=self.block(self.fn.body, None))

    def fresh(self, v: Var, device: bool) -> Var:
        self.next_id += 1
        t = v.type
        assert isinstance(t, TensorT)
        return Var(self.next_id - 1, TensorT(t.elem, t.dims, device), v.name)

    # ---- blocks
    def block(self, b: Block, outer: Scope | None, turns: bool = False, defined: Sequence[Var] = ()) -> Block:
        scope = Scope(outer, turns)
        scope.defined.update(v.id for v in defined)
        for stmt in b.stmts:
            self.statement(stmt, scope)
            scope.defined.update(v.id for v in outs_of(stmt))
        tail = map_tail(b.tail, self.hosts(tail_values(b.tail), scope))
        return Block(tuple(scope.out), tail)

    def statement(self, stmt: Stmt, scope: Scope) -> None:
        match stmt:
            case Op() | Fused():
                if self.kernel(stmt, scope) or isinstance(stmt, Op) and self.view(stmt, scope):
                    return
                scope.out.append(map_atoms(stmt, self.hosts(args_of(stmt), scope)))
            case Parallel():
                # Its turns run on many threads, which share the copies that they need.
                inside = list(free_vars(stmt.body))
                here = self.hosts([*args_of(stmt), *inside], scope)
                body = substitute(stmt.body, {v: here(v) for v in inside})
                scope.out.append(replace(stmt, count=here(stmt.count), body=body))
            case _:
                stmt = map_atoms(stmt, self.hosts(args_of(stmt), scope))
                bound = bound_in(stmt)
                turns = isinstance(stmt, Loop)
                scope.out.append(map_blocks(stmt, lambda b: self.block(b, scope, turns, bound)))

    # ---- the host
    def hosts(self, atoms: Sequence[Atom], scope: Scope) -> Callable[[Atom], Atom]:
        """From variables to the host's copies of these, which are made where they do not exist yet."""
        for a in dict.fromkeys(atoms):
            if isinstance(a, Var) and a.id in self.placed and scope.copy(a, False) is None:
                at = scope.holder(a)
                at.on_host[a.id] = self.fresh(a, False)
                at.out.append(Op((at.on_host[a.id],), "to_host", (self.placed[a.id],)))

        def here(a: Atom) -> Atom:
            return scope.copy(a, False) or a if isinstance(a, Var) and a.id in self.placed else a

        return here

    def view(self, stmt: Op, scope: Scope) -> bool:
        """Sizes, and other names for the same elements, of what lies on the device."""
        if stmt.op not in ANYWHERE:
            return False
        first, result = stmt.args[0], stmt.outs[0]
        if stmt.op == "tensor_view":
            self.views[result.id] = stmt
        if not isinstance(first, Var) or first.id not in self.placed:
            return False
        if stmt.op == "dim":
            scope.out.append(replace(stmt, args=(self.placed[first.id],)))
            return True
        if not isinstance(result.type, TensorT):
            return False
        self.placed[result.id] = made = self.fresh(result, True)
        scope.out.append(replace(stmt, args=(self.placed[first.id], *stmt.args[1:]), outs=(made,)))
        return True

    # ---- the device
    def kernel(self, stmt: Op | Fused, scope: Scope) -> bool:
        """Place a statement on the device if it belongs there."""
        if isinstance(stmt, Op) and (stmt.op not in TENSOR_OPS or stmt.op in HOST_ONLY):
            return False
        fused = stmt if isinstance(stmt, Fused) else self.alone(stmt)
        reason = self.why_not(fused)
        if reason is not None:
            self.notes.append(Placed(stmt, reason))
            return False
        there: dict[int, Var] = {}
        for a in fused.args:
            if isinstance(a, Var) and isinstance(a.type, TensorT):
                there[a.id] = self.on_device(a, scope)
        body = substitute(fused.body, {a: there[a.id] for a in fused.args if isinstance(a, Var) and a.id in there})
        outs = []
        for v in fused.outs:
            if isinstance(v.type, TensorT):
                made = self.fresh(v, True)
                self.placed[v.id] = made
                outs.append(made)
            else:
                outs.append(v)
        scope.out.append(replace(fused, outs=tuple(outs), body=body, device=True))
        return True

    def alone(self, op: Op) -> Fused:
        inner = []
        for v in op.outs:
            inner.append(Var(self.next_id, v.type, v.name))
            self.next_id += 1
        body = Block((replace(op, outs=tuple(inner)),), Yield(tuple(inner)))
        return Fused(op.outs, body, op.span)

    def on_device(self, a: Var, scope: Scope) -> Var:
        """What a variable is on the device. A vector goes there whole, and its parts are parts of that."""
        if a.id in self.placed:
            return self.placed[a.id]
        found = scope.copy(a, True)
        if found is not None:
            return found
        made = self.fresh(a, True)
        view = self.views.get(a.id)
        if view is not None and isinstance(view.args[0], Var):
            vector = self.on_device(view.args[0], scope)
            scope.out.append(replace(view, args=(vector, *view.args[1:]), outs=(made,)))
            scope.on_device[a.id] = made
            return made
        at = scope.holder(a)
        at.out.append(Op((made,), "to_device", (a,)))
        at.on_device[a.id] = made
        return made

    def why_not(self, fused: Fused) -> str | None:
        results = [v for v in fused.body.tail.values if isinstance(v, Var)]
        reason = refusal(fused.ops, results)
        if reason is not None:
            return reason
        tensors = [a for a in fused.args if isinstance(a, Var) and isinstance(a.type, TensorT)]
        there = any(a.id in self.placed for a in tensors)
        element = len(fused.ops) == 1 and fused.ops[0].op in ("index", "take") and not _tensors(fused.outs)
        if element and not there:
            return "one element, which is on the host"
        if self.everything or there and not element:
            return None
        known = [_count(v.type) for v in (*tensors, *fused.outs)]
        graph = launch_of(fused).graph
        if graph is not None:
            classes = [*graph.rows, *(c for s in graph.spaces for c in s)]
            known = [_total([graph.axes.size(c) for c in classes])]
        if all(n is not None and n <= TINY for n in known):
            return "too little work for a kernel"
        return None


def _tensors(vs: Sequence[Var]) -> list[Var]:
    return [v for v in vs if isinstance(v.type, TensorT)]


def _count(t: object) -> int | None:
    """Elements, if that is known."""
    return _total(t.dims) if isinstance(t, TensorT) else 1


def _total(sizes: Sequence[int | None]) -> int | None:
    total = 1
    for d in sizes:
        if d is None:
            return None
        total *= d
    return total


__all__ = ["Placed", "run"]
