"""The reverse part of a function: its statements from last to first, each taking the adjoints of its results and adding
to those of its arguments.

The adjoints under way are in `env`, by variable and leaf (tangent.py). What is not there is zero. An adjoint is *sure*
if it is a tensor that has the shape of its variable; else it may be without elements, which stands for zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence, Set
from functools import partial
from typing import TYPE_CHECKING

from hybridc.autodiff import elements
from hybridc.autodiff.activity import Mask
from hybridc.autodiff.calls import reverse_call
from hybridc.autodiff.late_views import into_arms
from hybridc.autodiff.loops import Turn, reverse_loop
from hybridc.autodiff.parallel import reverse_parallel
from hybridc.autodiff.products import Kept
from hybridc.autodiff.region import Region, Regions
from hybridc.autodiff.structure import ends, exits, leaving
from hybridc.autodiff.tangent import Adjoint, Adjoints
from hybridc.base.immutable import immutable
from hybridc.base.names import unused
from hybridc.core import tensor_build as t
from hybridc.core.builder import Builder, integer
from hybridc.core.ir import (
    BOOL,
    INT,
    RETURN,
    Arm,
    Atom,
    Block,
    BufferT,
    Call,
    Const,
    EnumDef,
    EnumT,
    Exit,
    Fn,
    If,
    Loop,
    Match,
    Op,
    Parallel,
    Scope,
    Stmt,
    Tail,
    TensorT,
    Type,
    Var,
    Yield,
)
from hybridc.core.walk import (
    free_vars,
    highest_id,
    highest_label,
    map_atoms,
    map_blocks,
    map_tail,
    outs_of,
    statements,
)

if TYPE_CHECKING:
    from hybridc.autodiff.driver import Driver
    from hybridc.autodiff.recursion import Stack

Key = tuple[int, int]
TAPE = "Tape"
"""The case of a block of what is kept."""


@immutable(frozen=True, slots=True)
class Context:
    """What `exit label` gives: the adjoints of those values."""

    label: int
    exits: list[Adjoints]


class Reverse:
    """Of one function and set of active arguments."""

    def __init__(
        self, driver: Driver, fn: Fn, mask: Mask, held: Set[Var], lasting: Set[Var],
        stack: Stack | None = None,
    ):
        """`held` are tensors and buffers that are there until the reverse part is done, `lasting` lists that may be
        (lasting.py); `stack` is there for a function that calls itself."""
        self.driver = driver
        self.tangents = driver.tangents
        self.fn = fn
        self.mask = mask
        self.b = Builder(highest_id(fn) + 1, highest_label(fn) + 1)
        self.stack = stack
        if stack is not None:
            stack.open(self.b)
        self.regions = Regions(fn, self.b, self.block_of, held, lasting, None if stack is None else stack.at_hand)
        self.offered = held | lasting | driver.read_only.made(fn)
        """What tapes of functions that are called may hold."""
        self.active = driver.activity.variables(fn.name, mask)
        self.env: dict[Key, Adjoint] = {}
        self.tapes: dict[int, list[Var]] = {}
        """What the forward part of a called function returns beside its results, by the identity of the call."""
        self.forwards: dict[int, str] = {}
        """The forward part that takes the place of the called function."""
        self.turn: Turn | None = None
        """Of the innermost loop whose turn is under way."""
        self._marked: list[Region] = []
        self._whole = elements.wholes(fn, self.tangents)
        self.kept = Kept(self)

    def block_of(self, kinds: Sequence[Type]) -> EnumT:
        enums = self.driver.program.enums
        name = unused(f"tape {self.fn.name} arm", enums)
        enums[name] = EnumDef(name, ((TAPE, tuple((f"v{i}", kind) for i, kind in enumerate(kinds))),))
        return EnumT(name)

    # ---- the function
    def build(self) -> None:
        """Its statements; after it, `regions` says what the forward part saves."""
        b = self.b
        b.open()
        if self.stack is not None:
            self.env[self.stack.key] = Adjoint(self.stack.top)
        self.mark(self.regions.root)
        given = [list(map(b.var, self.tangents.leaves(r))) if a else []
                 for r, a in zip(self.fn.results, self.driver.activity.results(self.fn.name, self.mask), strict=True)]
        sums: list[Var] = []
        for p, a in zip(self.fn.params, self.mask, strict=True):
            for k, kind in enumerate(self.tangents.leaves(p.type) if a else ()):
                sums.append(b.var(kind, p.name))
                self.env[p.id, k] = Adjoint(sums[-1])
        lists = [b.var(kind) for _, _, kind in self.kept.keys()]
        for (p, leaf, _), v in zip(self.kept.keys(), lists, strict=True):
            self.env[p.id, leaf] = Adjoint(v)
        exits: list[Adjoints] = [[Adjoint(v) for v in leaves] for leaves in given]
        self.sequence(self.fn.body.stmts, self.fn.body.tail, Context(RETURN, exits), exits)
        results: list[Atom] = []
        for p, a in zip(self.fn.params, self.mask, strict=True):
            if a:
                results += self.filled(self.pop(p), p.type)
        if self.stack is not None:
            results.append(self.env[self.stack.key].atom)
        results += [self.pop_or_zero(*key) for key in self.kept.keys()]
        self.body = b.close(Exit(RETURN, tuple(results)))
        self.regions.settle(self.body, self._marked)
        self.adjoints = (*(v for leaves in given for v in leaves), *sums, *lists)
        """The parameters that are no tape."""
        self.results = (*(v.type for v in sums), *([] if self.stack is None else [INT]), *(v.type for v in lists))

    def built(self, name: str, tape: Sequence[Var]) -> Fn:
        """The reverse part, complete, with these first parameters."""
        body = self.restored(self.body)
        return Fn(name, (*tape, *self.adjoints), self.results, body, self.fn.title, True, self.fn.span)

    def mark(self, region: Region, *args: Atom) -> None:
        """Here the region's variables are made available; how is known at the end."""
        self._marked.append(region)
        outs: tuple[Var, ...] = ()
        if region.pushed and self.stack is not None:
            args, outs = (self.env[self.stack.key].atom,), (self.b.var(INT),)
            self.env[self.stack.key] = Adjoint(outs[0])
        self.b.add(Op(outs, "restore", args, (("region", len(self._marked) - 1),)))

    def restored(self, block: Block) -> Block:
        def atom(a: Atom) -> Atom:
            while isinstance(a, Var) and a in self.regions.instead:
                a = self.regions.instead[a]
            return a

        def inner(block: Block) -> Block:
            out: list[Stmt] = []
            for s in block.stmts:
                if isinstance(s, Op) and s.op == "restore":
                    region = self._marked[s.attr("region")]  # type: ignore[call-overload]
                    out += [map_atoms(r, atom) for r in self.loads(region, s)]
                else:
                    out.append(map_blocks(map_atoms(s, atom), inner))
            return Block(tuple(out), map_tail(block.tail, atom))

        undone = {o for r in self._marked if not r.complete for op in r.again for o in op.outs}
        return into_arms(inner(block), undone, lambda v: self.b.var(v.type, v.name)) if undone else inner(block)

    def loads(self, region: Region, mark: Op) -> list[Stmt]:
        loads: list[Stmt] = []
        args = mark.args
        if region.pushed and self.stack is not None:
            loads += self.stack.popped(region, mark)
        if region.stack is not None:
            stack = region.stack
            if len(region.saved) == 1:
                loads.append(Op((region.saved[0],), "buffer_get", (stack, *args)))
            else:
                record = self.b.var(region.record)
                loads.append(Op((record,), "buffer_get", (stack, *args)))
                loads.append(Op(tuple(region.saved), "destruct", (record,)))
        if region.box is not None:
            fields = tuple(self.b.var(v.type) for v in region.saved)
            loads.append(Match(tuple(region.saved), region.box, (Arm(TAPE, fields, Block((), Yield(fields))),)))
        for v in region.counted:
            self.b.open()
            place = region.steps[v].at(self.b, args[0])
            loads += [*self.b.close(Yield()).stmts, Op((v,), "add", (place, integer(0)))]
        return [*loads, *region.again]

    # ---- adjoints
    def is_active(self, a: Atom) -> bool:
        return isinstance(a, Var) and a.id in self.active

    def key(self, v: Var, leaf: int) -> Key:
        """Where a leaf of the adjoint is: that of a part is in that of the whole."""
        return self.place(v, leaf)[:2]

    def place(self, v: Var, leaf: int) -> tuple[int, int, Var]:
        while v.id in self._whole:
            v, start = self._whole[v.id]
            leaf += start
        return v.id, leaf, v

    def need(self, a: Atom) -> Atom:
        return self.regions.need(a)

    def twin(self, op: Op, name: str) -> Atom | None:
        found = self.regions.twin(op, name)
        return None if found is None else self.need(found)

    def sizes(self, x: Atom) -> list[Atom]:
        """The sizes of a tensor of the forward part."""
        if not isinstance(x.type, TensorT):
            return []
        assert isinstance(x, Var)
        return [self.regions.size(x, i) for i in range(len(x.type.dims))]

    def add(self, a: Atom, leaf: int, adjoint: Adjoint | None) -> None:
        """Add to a leaf of the adjoint of a variable."""
        if adjoint is None or not self.is_active(a):
            return
        assert isinstance(a, Var)
        key = self.key(a, leaf)
        old = self.env.get(key)
        if old is None:
            self.env[key] = adjoint
            return
        kind = self.tangents.leaves(a.type)[leaf]
        sure = old.sure or adjoint.sure
        if not isinstance(kind, TensorT):
            self.env[key] = Adjoint(self.tangents.add(self.b, old.atom, adjoint.atom, kind), sure)
        elif old.sure and adjoint.sure:
            self.env[key] = Adjoint(t.map(self.b, "add", [old.atom, adjoint.atom]), True)
        else:
            sized = (e.atom.type for e in (old, adjoint) if e.sure and None not in t.static(e.atom))
            out = next(sized, kind)
            self.env[key] = Adjoint(self.b.op("accumulate", [old.atom, adjoint.atom], out), sure)

    def add_all(self, a: Atom, leaves: Sequence[Adjoint | None]) -> None:
        for k, adjoint in enumerate(leaves):
            self.add(a, k, adjoint)

    def give(self, a: Atom, atom: Atom) -> None:
        """Add to the adjoint of a float or tensor."""
        self.add(a, 0, Adjoint(atom, True))

    def add_leaf(self, a: Atom, leaf: int, atom: Atom) -> None:
        """Add what may be without elements."""
        self.add(a, leaf, Adjoint(atom))

    def into(self, a: Atom, f: Callable[[Atom], Atom]) -> None:
        """Change the adjoint of a tensor in place; `f` is given one of the tensor's shape."""
        if self.is_active(a):
            assert isinstance(a, Var)
            key = self.key(a, 0)
            old = self.env.pop(key, None) or Adjoint(self.tangents.zero(self.b, self.tangents.leaves(a.type)[0]))
            self.env[key] = Adjoint(f(self.shaped(old, a)), True)

    def pop(self, v: Var) -> Adjoints:
        """The adjoint of a variable, at its definition."""
        if v.id not in self.active or v.id in self._whole:
            return [None] * len(self.tangents.leaves(v.type))
        return [self.env.pop((v.id, k), None) for k in range(len(self.tangents.leaves(v.type)))]

    def filled(self, leaves: Sequence[Adjoint | None], type: Type) -> list[Atom]:
        """With zeros written out."""
        return [self.tangents.zero(self.b, k) if d is None else d.atom
                for d, k in zip(leaves, self.tangents.leaves(type), strict=True)]

    def shaped(self, d: Adjoint, v: Atom) -> Atom:
        """The adjoint of a tensor, with its shape."""
        if d.sure or not isinstance(v.type, TensorT):
            return d.atom
        return self.b.op("shaped", [d.atom, *self.sizes(v)], v.type)

    # ---- blocks
    def sequence(self, stmts: Sequence[Stmt], tail: Tail, context: Context | None, yields: list[Adjoints]) -> None:
        """A block from its end: `yields` are the adjoints of what it yields; a block that never leaves its context
        needs none."""
        at = next((i for i, s in enumerate(stmts) if leaving(s)), None)
        if at is not None:

            def rest() -> None:
                following = self.regions.following.get(id(stmts[at]))
                if following is not None:
                    self.mark(following)
                self.sequence(stmts[at + 1 :], tail, context, yields)

            self.branch(stmts[at], context, rest)
        else:
            match tail:
                case Yield(values) if values:
                    for v, d in zip(values, yields, strict=True):
                        self.add_all(v, d)
                case Exit(_, values):
                    assert context is not None
                    for v, d in zip(values, context.exits, strict=True):
                        self.add_all(v, d)
        for s in reversed(stmts[:at]):
            self.stmt(s)

    def stmt(self, s: Stmt) -> None:
        if not any(v.id in self.active for v in outs_of(s)):
            return
        self.b.span = s.span
        match s:
            case Op():
                self.driver.apply(self, s)
            case Call():
                reverse_call(self, s)
            case If() | Match():
                self.branch(s, None, None)
            case Loop():
                reverse_loop(self, s, Context)
            case Scope():
                outs = [self.pop(o) for o in s.outs]
                if any(d is not None for leaves in outs for d in leaves):
                    self.mark(self.regions.within[id(s.body)])
                    self.sequence(s.body.stmts, s.body.tail, Context(s.label, outs), outs)
            case Parallel():
                reverse_parallel(self, s)

    # ---- branches
    def branch(self, s: Stmt, context: Context | None, rest: Callable[[], None] | None) -> None:
        """`rest`: what comes after, in the arms that do not leave, where some do."""
        assert isinstance(s, (If, Match))
        outs: list[Adjoints] = []
        if rest is None:
            outs = [self.pop(o) for o in s.outs]
            if not any(d is not None for leaves in outs for d in leaves):
                return

        def arm(body: Block, fields: Sequence[Var], case: str) -> None:
            yields = outs
            if rest is not None and ends(body):
                rest()
                yields = [self.pop(o) for o in s.outs]
            region = self.regions.within[id(body)]
            if region.pushed or not exits(body):
                self.mark(region)
            self.sequence(body.stmts, body.tail, context, yields)
            if isinstance(s, Match) and self.is_active(s.subject):
                leaves = [(f, self.pop(f)) for f in fields]
                if any(d is not None for _, ds in leaves for d in ds):
                    assert isinstance(s.subject.type, EnumT)
                    packed = [x for f, ds in leaves for x in self.filled(ds, f.type)]
                    self.add(s.subject, 0, Adjoint(self.tangents.join(self.b, s.subject.type, case, packed)))

        if isinstance(s, If):
            if isinstance(s.cond, Const):
                arm(s.then if s.cond.value else s.orelse, (), "")
                return
            cond = self.need(s.cond)
            self.alternatives([(lambda: cond, lambda: arm(s.then, (), "")), (None, lambda: arm(s.orelse, (), ""))])
            return
        assert isinstance(s.subject, Var)
        runs = [lambda a=a: arm(a.body, a.fields, a.case) for a in s.arms]  # type: ignore[misc]
        if self.stack is not None and id(s) in self.stack.matched:
            subject = self.need(s.subject)
            self.joined(runs, lambda blocks, kinds: self.b.match(subject, [
                Arm(a.case, a.fields, block) for a, block in zip(s.arms, blocks, strict=True)], kinds))
            return
        tag = self.regions.look(s.subject, "tag", INT) if len(s.arms) > 1 else None

        def is_case(i: int) -> Atom:
            assert tag is not None
            return self.b.op("eq", [tag, integer(i)], BOOL)

        conds = [partial(is_case, i) for i in range(len(s.arms) - 1)]
        self.alternatives(list(zip([*conds, None], runs, strict=True)))

    def alternatives(self, arms: Sequence[tuple[Callable[[], Atom] | None, Callable[[], None]]]) -> None:
        """`if cond: arm elif ...`, the adjoints that an arm changes being results."""
        if len(arms) == 1:
            arms[0][1]()
            return
        self.joined([run for _, run in arms], lambda blocks, kinds: self._nested([c for c, _ in arms], blocks, kinds))

    def joined(
        self, runs: Sequence[Callable[[], None]],
        build: Callable[[Sequence[Block], Sequence[Type]], tuple[Var, ...]],
    ) -> None:
        """A statement of whose blocks one is done; the adjoints that they change are its results."""
        base = self.env
        found: list[tuple[Block, dict[Key, Adjoint]]] = []
        for run in runs:
            self.env = dict(base)
            self.b.open()
            run()
            found.append((self.b.close(Yield()), self.env))
        keys = {key: None for _, env in found for key in (*env, *base)
                if any(e.get(key) is not base.get(key) for _, e in found)}
        kinds: list[Type] = []
        sure: list[bool] = []
        for key in keys:
            each = [env.get(key) for _, env in found]
            first = next(d for d in each if d is not None)
            alike = all(d is not None and d.sure and d.atom.type == first.atom.type for d in each)
            sure.append(all(d is not None and d.sure for d in each))
            kinds.append(first.atom.type if alike else self.leaf_type(first.atom.type))
        blocks = []
        for block, env in found:
            self.b.open()
            for s in block.stmts:
                self.b.add(s)
            values = [env[key].atom if key in env else self.tangents.zero(self.b, kind)
                      for key, kind in zip(keys, kinds, strict=True)]
            blocks.append(self.b.close(Yield(tuple(values))))
        self.env = base
        outs = build(blocks, kinds)
        for key, v, certain in zip(keys, outs, sure, strict=True):
            self.env[key] = Adjoint(v, certain)

    def _nested(self, conds: Sequence[Callable[[], Atom] | None], blocks: Sequence[Block], kinds: Sequence[Type]
                ) -> tuple[Var, ...]:
        first = conds[0]
        assert first is not None
        cond = first()
        if len(blocks) == 2:
            return self.b.if_(cond, blocks[0], blocks[1], kinds)
        self.b.open()
        others = self.b.close(Yield(self._nested(conds[1:], blocks[1:], kinds)))
        return self.b.if_(cond, blocks[0], others, kinds)

    @staticmethod
    def leaf_type(kind: Type) -> Type:
        return TensorT(kind.elem, (None,) * len(kind.dims)) if isinstance(kind, TensorT) else kind

    # ---- loops
    def outside(self, body: Block, params: Sequence[Var] = ()) -> list[tuple[Var, int, Type]]:
        """The leaves of active variables from outside that a body uses; of a view also those of the vector, to which
        its adjoint may be added at once."""
        found: dict[Key, tuple[Var, int, Type]] = {}
        free = list(free_vars(body))
        views = [op for v in free if (op := self.regions.makers.get(v.id)) is not None and op.op == "tensor_view"]
        for v in dict.fromkeys([*free, *(op.args[0] for op in views if isinstance(op.args[0], Var))]):
            if v in params or self.place(v, 0)[2] in params:
                continue
            for k, kind in enumerate(self.tangents.leaves(v.type)) if v.id in self.active else ():
                number, leaf, whole = self.place(v, k)
                found[number, leaf] = (whole, leaf, kind)
        within = list(statements(body))
        if self.kept.within(within):
            found.update(((p.id, leaf), (p, leaf, kind)) for p, leaf, kind in self.kept.keys())
        if self.stack is not None and self.stack.within(within):
            found[self.stack.key] = self.stack.place
        return list(found.values())

    def pop_or_zero(self, v: Var, leaf: int, kind: Type) -> Atom:
        return self.so_far(v, leaf, kind).atom

    def so_far(self, v: Var, leaf: int, kind: Type) -> Adjoint:
        """A leaf of an adjoint, for who adds to it."""
        key = self.key(v, leaf)
        if key not in self.env and isinstance(kind, BufferT):
            elements.take(self, v, leaf)
        return self.env.pop(key, None) or Adjoint(self.tangents.zero(self.b, kind))

    def grouped(self, vs: Sequence[Var], atoms: Sequence[Atom], sure: Container[Var] = ()) -> list[Adjoints]:
        """Atoms as the leaves of these variables; inactive ones have none."""
        rest = iter(atoms)
        return [[Adjoint(next(rest), v in sure) if v.id in self.active else None for _ in self.tangents.leaves(v.type)]
                for v in vs]

    def leaf_types(self, vs: Sequence[Var]) -> list[Type]:
        return [k for v in vs if v.id in self.active for k in self.tangents.leaves(v.type)]
