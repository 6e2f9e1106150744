"""Forward mode: a function that also takes the tangents of its active arguments, and gives those of active results.

A tangent has the form of an adjoint (tangent.py): its leaves, kept apart. It is computed beside its value, so nothing
is kept and control flow stays as it is. The rules are in push_rules.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hybridc.autodiff import push_rules
from hybridc.autodiff.absent import at_host
from hybridc.autodiff.activity import Mask
from hybridc.autodiff.tangent import Adjoint, Adjoints
from hybridc.base.immutable import replace
from hybridc.core import tensor_build as t
from hybridc.core.builder import Builder
from hybridc.core.ir import (
    RETURN,
    Arm,
    Atom,
    Block,
    BufferT,
    Call,
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
    TupleT,
    Type,
    Var,
    Yield,
)
from hybridc.core.walk import diverges, highest_id, highest_label

if TYPE_CHECKING:
    from hybridc.autodiff.driver import Driver


class Push:
    """Of one function and set of active arguments."""

    def __init__(self, driver: Driver, fn: Fn, mask: Mask):
        self.driver = driver
        self.tangents = driver.tangents
        self.fn = fn
        self.mask = mask
        self.b = Builder(highest_id(fn) + 1, highest_label(fn) + 1)
        self.active = driver.activity.variables(fn.name, mask)
        self.env: dict[int, Adjoints] = {}
        """The leaves of the tangent of each active variable."""
        self.given: dict[int, Sequence[bool]] = {RETURN: driver.activity.results(fn.name, mask)}
        """Which values of an exit to each label are active."""

    def build(self, name: str) -> Fn:
        params = list(self.fn.params)
        for p, a in zip(self.fn.params, self.mask, strict=True):
            if a:
                leaves = [self.b.var(k, p.name) for k in self.tangents.leaves(p.type)]
                self.env[p.id] = [Adjoint(v) for v in leaves]
                params += leaves
        given = self.given[RETURN]
        kinds = [k for r, a in zip(self.fn.results, given, strict=True) if a for k in self.tangents.leaves(r)]
        body = self.block(self.fn.body, given)
        return replace(self.fn, name=name, params=tuple(params), results=(*self.fn.results, *kinds), adjoint="",
                       checkpoint=False, body=body)

    # ---- tangents
    def is_active(self, a: Atom) -> bool:
        return isinstance(a, Var) and a.id in self.active

    def need(self, a: Atom) -> Atom:
        """Everything is at hand here."""
        return a

    def twin(self, op: Op, name: str) -> Atom | None:
        """Both would stand in one block, where passes find them."""
        return None

    def sizes(self, x: Atom) -> list[Atom]:
        return t.dims(self.b, x) if isinstance(x.type, TensorT) else []

    def of(self, a: Atom) -> Adjoints:
        """The leaves of the tangent of an atom."""
        found = self.env.get(a.id) if isinstance(a, Var) else None
        return [None] * len(self.tangents.leaves(a.type)) if found is None else found

    def filled(self, a: Atom) -> list[Atom]:
        """The same with zeros written out."""
        return [self.tangents.zero(self.b, k) if d is None else d.atom
                for d, k in zip(self.of(a), self.tangents.leaves(a.type), strict=True)]

    def tensor(self, a: Atom) -> Atom:
        """The tangent of a float or tensor, of its shape."""
        (d,) = self.of(a)
        if not isinstance(a.type, TensorT):
            return self.tangents.zero(self.b, a.type) if d is None else d.atom
        if d is not None and d.sure:
            return d.atom
        start = self.tangents.zero(self.b, self.tangents.leaves(a.type)[0]) if d is None else d.atom
        return self.b.op("shaped", [start, *self.sizes(a)], a.type)

    def set(self, v: Var, leaves: Adjoints) -> None:
        if v.id in self.active:
            self.env[v.id] = leaves

    def bind(self, vs: Sequence[Var]) -> list[Var]:
        """New variables for the tangents of those that are active."""
        made: list[Var] = []
        for v in vs:
            if v.id in self.active:
                leaves = [self.b.var(k, v.name) for k in self.tangents.leaves(v.type)]
                self.env[v.id] = [Adjoint(x) for x in leaves]
                made += leaves
        return made

    def flat(self, values: Sequence[Atom], active: Sequence[bool]) -> list[Atom]:
        return [x for v, a in zip(values, active, strict=True) if a for x in self.filled(v)]

    def which(self, vs: Sequence[Var]) -> list[bool]:
        return [v.id in self.active for v in vs]

    # ---- blocks
    def block(self, block: Block, yields: Sequence[bool]) -> Block:
        """`yields` says which of the values that the block yields have tangents."""
        self.b.open()
        for s in block.stmts:
            self.stmt(s)
            if diverges(s):
                return self.b.close(Yield())
        tail: Tail = block.tail
        match tail:
            case Yield(values):
                tail = Yield((*values, *self.flat(values, yields))) if values else tail
            case Exit(label, values):
                tail = Exit(label, (*values, *self.flat(values, self.given[label])))
        return self.b.close(tail)

    def stmt(self, s: Stmt) -> None:
        self.b.span = s.span
        match s:
            case Op():
                at_host(self.b, s, self.tangents, self.is_active)
                self.b.add(s)
                if any(v.id in self.active for v in s.outs):
                    push_rules.apply(self, s)
            case Call():
                self.call(s)
            case If():
                outs = self.which(s.outs)
                then, orelse = self.block(s.then, outs), self.block(s.orelse, outs)
                self.b.add(replace(s, outs=(*s.outs, *self.bind(s.outs)), then=then, orelse=orelse))
            case Match():
                outs = self.which(s.outs)
                arms = tuple(self.arm(s, a, outs) for a in s.arms)
                self.b.add(replace(s, outs=(*s.outs, *self.bind(s.outs)), arms=arms))
            case Scope():
                outs = self.given[s.label] = self.which(s.outs)
                body = self.block(s.body, outs)
                self.b.add(replace(s, outs=(*s.outs, *self.bind(s.outs)), body=body))
            case Loop():
                self.given[s.label] = self.which(s.outs)
                turning = self.which(s.params)
                inits = self.flat(s.inits, turning)
                params = self.bind(s.params)
                body = self.block(s.body, turning)
                self.b.add(replace(s, outs=(*s.outs, *self.bind(s.outs)), params=(*s.params, *params),
                                   inits=(*s.inits, *inits), body=body))
            case Parallel():
                self.parallel(s)

    def arm(self, s: Match, arm: Arm, outs: Sequence[bool]) -> Arm:
        self.b.open()
        if self.is_active(s.subject):
            (d,) = self.filled(s.subject)
            leaves = self.tangents.split(self.b, d, s.subject.type, arm.case)  # type: ignore[arg-type]
            for i, f in enumerate(arm.fields):
                part = self.tangents.case_part(s.subject.type, arm.case, i)  # type: ignore[arg-type]
                self.set(f, [Adjoint(x) for x in leaves[part]])
        head = self.b.close(Yield())
        body = self.block(arm.body, outs)
        return replace(arm, body=Block((*head.stmts, *body.stmts), body.tail))

    def parallel(self, s: Parallel) -> None:
        if s.out.id not in self.active:
            self.b.add(s)
            return
        assert isinstance(s.out.type, BufferT)
        item = s.out.type.item
        packed = self.tangents.packed(item)
        self.b.open()
        for inner in s.body.stmts:
            self.stmt(inner)
        tail = s.body.tail
        if isinstance(tail, Yield) and tail.values:
            beside = self.tangents.pack(self.b, item, self.filled(tail.values[0]))
            tail = Yield((self.b.op("tuple", [tail.values[0], beside], TupleT((item, packed))),))
        body = self.b.close(tail)
        pairs = self.b.parallel(BufferT(TupleT((item, packed))), s.index, s.count, body)
        tangent = self.b.var(BufferT(packed))
        name = self.tangents.pairs_apart(item, packed)
        self.b.add(Call((s.out, tangent), name, (pairs,), s.span))
        self.env[s.out.id] = [Adjoint(tangent)]

    # ---- calls
    def call(self, s: Call) -> None:
        mask = self.driver.activity.mask(s.fn, [self.is_active(a) for a in s.args])
        results = self.driver.activity.results(s.fn, mask)
        if not any(results):
            self.b.add(s)
            return
        name = self.driver.push(s.fn, mask)
        given = self.flat(s.args, mask)
        tangents: list[Var] = []
        for o, active in zip(s.outs, results, strict=True):
            leaves = [self.b.var(k) for k in self.tangents.leaves(o.type)] if active else []
            tangents += leaves
            if active:
                self.set(o, [Adjoint(x) for x in leaves])
        self.b.add(replace(s, fn=name, outs=(*s.outs, *tangents), args=(*s.args, *given)))


def custom(driver: Driver, fn: Fn, mask: Mask, name: str) -> Fn:
    """Of a function with a derivative of its own, `back`, which is linear in the adjoint u of the result: what u adds
    to the arguments' adjoints, transposed, takes their tangents to that of the result."""
    tangents = driver.tangents
    back = driver.program.fns[fn.adjoint]
    b = Builder(highest_id(fn) + 1)
    b.open()
    params = list(fn.params)
    given: list[Var] = []
    for p, a in zip(fn.params, mask, strict=True):
        given += [b.var(k, p.name) for k in tangents.leaves(p.type)] if a else []
    b.span = fn.span
    results = b.call(fn.name, params, fn.results)
    own = tuple(i == len(back.params) - 1 for i in range(len(back.params)))
    by = driver.activity.mask(back.name, own)
    kinds = list(tangents.leaves(fn.results[0]))
    if not driver.activity.results(back.name, by)[0]:
        found: Sequence[Atom] = [tangents.zero(b, k) for k in kinds]
    else:
        derived = driver.derive(back.name, by)
        start = push_rules.nothing(tangents, b, results[0])
        outs = [b.var(k) for k in (*back.results, *derived.tape)]
        taken = (*params, results[0], start)
        b.add(Call(tuple(outs), derived.forward, taken, fn.span))
        seeds: list[Atom] = []
        rest = iter(given)
        for p, a in zip(fn.params, mask, strict=True):
            for k in tangents.leaves(p.type):
                seeds.append(next(rest) if a else tangents.zero(b, k))
        args = [*derived.kept(outs[len(back.results):], taken), *seeds, *(tangents.zero(b, k) for k in kinds)]
        found = b.call(derived.reverse, args, kinds)
    body = b.close(Exit(RETURN, (*results, *found)))
    types: tuple[Type, ...] = (*fn.results, *kinds)
    return Fn(name, (*params, *given), types, body, fn.title, fn.hidden, fn.span)
