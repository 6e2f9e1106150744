"""What runs where: tensor operators become GPU kernels, and transfers between the two memories become operators.

Within a function, a variable that a kernel makes lies on the device, and everything else on the host. Where the host
needs what lies on the device a `to_host` stands before the first statement that does, once for a block and the blocks
within; and the other way round a `to_device`. What a branch or a loop gives, and what a loop carries from turn to turn,
lies on the device where kernels make it in every way that leads there and nothing on the host asks for it within; this
is found by trying. What crosses from a function to another one does so on the host.

The host keeps what it decides by: operators whose only use is one number, tiny tensors beside it, and the bodies of
`parallel`, which run on many threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hybridc.base.immutable import replace
from hybridc.core import tensor_build as tb
from hybridc.core.builder import Builder, integer
from hybridc.core.ir import (
    INT,
    Atom,
    Block,
    Const,
    Exit,
    Fault,
    Fn,
    Fused,
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
from hybridc.core.ir import Scope as InnerScope
from hybridc.core.tensor_ops import ANYWHERE, TENSOR_ROWS
from hybridc.core.types import elem, rank
from hybridc.core.walk import (
    args_of,
    blocks_of,
    bound_in,
    free_vars,
    highest_id,
    map_atoms,
    map_blocks,
    map_outs,
    outs_of,
    substitute,
    tail_values,
)
from hybridc.kernels.device import HOST_ONLY, launch_of, refusal

TINY = 4096
"""Elements up to which a tensor of known size is not worth a kernel."""
TRIES, DEEP = 5, 3
"""Of a loop; and loops within each other that are tried."""
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


@dataclass
class Landing:
    """Where values arrive that tails give: results of a construct, or the parameters of a loop."""

    device: set[int] = field(default_factory=set)
    """Those that lie on the device, by position."""
    host: set[int] = field(default_factory=set)
    """Those that came from the host, or that something there asked for."""

    def wrong(self) -> set[int]:
        return self.device & self.host


class _Placer:
    def __init__(self, fn: Fn, everything: bool):
        self.fn, self.everything = fn, everything
        self.next_id = highest_id(fn) + 1
        self.placed: dict[int, Var] = {}
        """By id: what a variable that a kernel made is now."""
        self.views: dict[int, Op] = {}
        """Parts of vectors that lie on the host."""
        self.notes: list[Placed] = []
        self.exits: dict[int, Landing] = {}
        """By label."""
        self.carried: dict[int, tuple[Landing, int]] = {}
        """Parameters of the loops around, by id: their places."""
        self.names: dict[int, int] = {}
        """Sizes and views of variables of the host: of which."""
        self.sent: set[int] = set()
        """Variables of the host that kernels read."""
        self.depth = 0
        """Loops around that are being tried."""

    def run(self) -> Fn:
        return replace(self.fn, body=self.block(self.fn.body, None))

    def fresh(self, v: Var, device: bool) -> Var:
        self.next_id += 1
        t = v.type
        assert isinstance(t, TensorT)
        return Var(self.next_id - 1, TensorT(t.elem, t.dims, device), v.name)

    # ---- blocks
    def block(self, b: Block, outer: Scope | None, turns: bool = False, defined: Sequence[Var] = (),
              landing: Landing | None = None) -> Block:
        scope = self.statements(b, outer, turns, defined)
        return self.end(b, scope, landing)

    def statements(self, b: Block, outer: Scope | None, turns: bool = False, defined: Sequence[Var] = ()) -> Scope:
        scope = Scope(outer, turns)
        scope.defined.update(v.id for v in defined)
        for stmt in b.stmts:
            self.statement(stmt, scope)
            scope.defined.update(v.id for v in outs_of(stmt))
        return scope

    def end(self, b: Block, scope: Scope, landing: Landing | None) -> Block:
        """With its tail, whose values arrive at `landing` if it yields."""
        target = self.exits.get(b.tail.label) if isinstance(b.tail, Exit) else landing
        values = tail_values(b.tail)
        there: dict[int, Var] = {}
        if target is not None and not isinstance(b.tail, Fault):
            for i, v in enumerate(values):
                if not (isinstance(v, Var) and v.id in self.placed):
                    target.host.add(i)
                elif i in target.device:
                    there[i] = self.placed[v.id]
        # A loop is left once: what goes to the host then need not lie there at every turn.
        here = self.hosts([v for i, v in enumerate(values) if i not in there], scope, once=isinstance(b.tail, Exit))
        given = tuple(there[i] if i in there else here(v) for i, v in enumerate(values))
        return Block(tuple(scope.out), replace(b.tail, values=given))

    def statement(self, stmt: Stmt, scope: Scope) -> None:
        match stmt:
            case Op() | Fused():
                if isinstance(stmt, Op) and self.row(stmt, scope):
                    return
                if self.kernel(stmt, scope) or isinstance(stmt, Op) and self.view(stmt, scope):
                    return
                names = isinstance(stmt, Op) and stmt.op in ANYWHERE
                if names and isinstance(stmt.args[0], Var):
                    self.names[stmt.outs[0].id] = self.whole(stmt.args[0])
                scope.out.append(map_atoms(stmt, self.hosts(args_of(stmt), scope, once=names)))
            case Parallel():
                # Its turns run on many threads, which share the copies that they need.
                inside = list(free_vars(stmt.body))
                here = self.hosts([*args_of(stmt), *inside], scope)
                body = substitute(stmt.body, {v: here(v) for v in inside})
                scope.out.append(replace(stmt, count=here(stmt.count), body=body))
            case If() | Match():
                self.branches(map_atoms(stmt, self.hosts(args_of(stmt), scope)), scope)
            case Loop() | InnerScope():
                self.tried(stmt, scope)
            case _:
                scope.out.append(map_atoms(stmt, self.hosts(args_of(stmt), scope)))

    def branches(self, stmt: Stmt, scope: Scope) -> None:
        """An `if` or a `match`, and where its results lie."""
        begun = [(b, self.statements(b, scope, defined=bound_in(stmt))) for b in blocks_of(stmt)]
        landing = Landing(_tensors_among(outs_of(stmt)))
        for b, _ in begun:
            if isinstance(b.tail, Yield):
                landing.host |= {i for i, v in enumerate(b.tail.values)
                                 if not (isinstance(v, Var) and v.id in self.placed)}
        landing.device -= landing.host
        if not any(isinstance(b.tail, Yield) for b, _ in begun):
            landing.device.clear()
        ended = iter([self.end(b, inner, landing) for b, inner in begun])
        stmt = map_blocks(stmt, lambda _: next(ended))
        scope.out.append(map_outs(stmt, self.landed(outs_of(stmt), landing)))

    def landed(self, outs: Sequence[Var], landing: Landing) -> Callable[[Var], Var]:
        """From results to those that they are now."""
        for i, v in enumerate(outs):
            if i in landing.device:
                self.placed[v.id] = self.fresh(v, True)
        return lambda v: self.placed.get(v.id, v)

    # ---- loops, and scopes, which are left by exits
    def tried(self, stmt: Loop | InnerScope, scope: Scope) -> None:
        """First with all that it carries and gives on the host; then as the kernels that were found suggest, until all
        agrees."""
        carried, given, never = set[int](), set[int](), (set[int](), set[int]())
        before = self.state(scope)
        self.depth += 1
        for tries in reversed(range(TRIES)):
            if not tries:
                carried, given = set(), set()
            again, out = Landing(set(carried)), Landing(set(given))
            self.around(stmt, scope, again, out)
            wrong = again.wrong(), out.wrong()
            more: tuple[set[int], set[int]] = set(), set()
            if tries > 1 and self.depth <= DEEP and not any(wrong):
                more = (self.suggested(stmt, again) - never[0] - carried,
                        _tensors_among(stmt.outs) - out.host - never[1] - given)
            if not any(wrong) and not any(more):
                break
            self.restore(before, scope)
            for kind, is_wrong in zip(never, wrong, strict=True):
                kind |= is_wrong
            carried, given = (carried | more[0]) - never[0], (given | more[1]) - never[1]
        self.depth -= 1

    def suggested(self, stmt: Loop | InnerScope, again: Landing) -> set[int]:
        """Parameters that kernels read and make, and nobody else asks for."""
        params = stmt.params if isinstance(stmt, Loop) else ()
        return {i for i in _tensors_among(params) if params[i].id in self.sent} - again.host

    def around(self, stmt: Loop | InnerScope, scope: Scope, again: Landing, out: Landing) -> None:
        """Write it with those of its values on the device."""
        self.exits[stmt.label] = out
        if isinstance(stmt, Loop):
            here = self.hosts([a for i, a in enumerate(stmt.inits) if i not in again.device], scope)
            inits = tuple(self.on_device(a, scope) if i in again.device and isinstance(a, Var) else here(a)
                          for i, a in enumerate(stmt.inits))
            for i, p in enumerate(stmt.params):
                self.carried[p.id] = again, i
            now = self.landed(stmt.params, again)
            body = self.block(stmt.body, scope, True, stmt.params, again)
            for p in stmt.params:
                del self.carried[p.id]
            stmt = replace(stmt, params=tuple(map(now, stmt.params)), inits=inits, body=body)
        else:
            stmt = replace(stmt, body=self.block(stmt.body, scope, landing=out))
        del self.exits[stmt.label]
        scope.out.append(map_outs(stmt, self.landed(stmt.outs, out)))

    def state(self, scope: Scope) -> tuple:
        """What an attempt changes."""
        chain: list[Scope] = []
        at: Scope | None = scope
        while at is not None:
            chain.append(at)
            at = at.parent
        landings = [*self.exits.values(), *(landing for landing, _ in self.carried.values())]
        return (self.next_id, dict(self.placed), dict(self.views), len(self.notes), set(self.sent),
                [(len(s.out), dict(s.on_host), dict(s.on_device)) for s in chain],
                [(landing, set(landing.host)) for landing in landings])

    def restore(self, state: tuple, scope: Scope) -> None:
        self.next_id, placed, views, notes, sent, scopes, landings = state
        for landing, host in landings:
            landing.host = set(host)
        self.placed, self.views, self.sent = dict(placed), dict(views), set(sent)
        del self.notes[notes:]
        at: Scope | None = scope
        for length, on_host, on_device in scopes:
            assert at is not None
            del at.out[length:]
            at.on_host, at.on_device = dict(on_host), dict(on_device)
            at = at.parent

    # ---- the host
    def whole(self, v: Var) -> int:
        """The id of the variable whose elements it names."""
        return self.names.get(v.id, v.id)

    def hosts(self, atoms: Sequence[Atom], scope: Scope, once: bool = False) -> Callable[[Atom], Atom]:
        """From variables to the host's copies of these, which are made where they do not exist yet. `once`: not at
        every turn of a loop, or for their names only."""
        for a in dict.fromkeys(atoms):
            if isinstance(a, Var) and self.whole(a) in self.carried and not once:
                landing, place = self.carried[self.whole(a)]
                landing.host.add(place)
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

    def row(self, stmt: Op, scope: Scope) -> bool:
        """What lies at a known index of the first axis of a tensor on the device is a part of that."""
        x, at = stmt.args if stmt.op == "index" and len(stmt.args) == 2 else (None, None)
        if not isinstance(x, Var) or x.id not in self.placed or not isinstance(at, Const) or rank(x.type) < 2:
            return False
        size = tb.static(x)[0]
        if stmt.attr("kinds") != ("i", *[""] * (rank(x.type) - 1)) or size is None or not 0 <= at.value < size:
            return False
        b = Builder(self.next_id)
        b.span = stmt.span
        b.open()
        sizes = tb.dims(b, self.placed[x.id])
        each = tb.product(b, sizes[1:])
        start, total = tb.mul(b, integer(int(at.value)), each), tb.mul(b, sizes[0], each)
        scope.out += b.close(Yield()).stmts
        self.next_id = b.var(INT).id + 1
        flat = self.fresh(replace(x, type=TensorT(elem(x.type), (None,))), True)
        made = self.placed[stmt.outs[0].id] = self.fresh(stmt.outs[0], True)
        scope.out.append(Op((flat,), "reshape", (self.placed[x.id], total), span=stmt.span))
        scope.out.append(Op((made,), "tensor_view", (flat, start, *sizes[1:]), span=stmt.span))
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
        self.sent.add(self.whole(a))
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


def _tensors_among(vs: Sequence[Var]) -> set[int]:
    """Their places."""
    return {i for i, v in enumerate(vs) if isinstance(v.type, TensorT)}


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
