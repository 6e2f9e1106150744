"""A small tensor of known size that is only computed with is its elements, which are scalars.

Points, directions, angles and 2 x 2 matrices are tensors in a program. As tensors each of them would be a block of
memory, and what is computed of them a loop of two or three turns; and in a derivative's tape each would be a block
again. As scalars they live in registers, through branches, loops and calls, and tapes hold them side by side.

A value is taken apart where some use wants its elements (passes/elements.py says which operators do) and, if it comes
from a branch, a loop or a parameter, no use wants the whole; what an operator made is put together again for such uses.
The greatest set of values for which that holds is found for the whole program: whether a parameter or a result of a
function is one of them depends on both sides.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import is_

import numpy as np

from hybridc.base.immutable import replace
from hybridc.core.ir import (
    INT,
    RETURN,
    Arm,
    Atom,
    Attrs,
    Block,
    Call,
    Const,
    Exit,
    Fn,
    If,
    Loop,
    Match,
    Op,
    Parallel,
    Prim,
    Program,
    Scope,
    Stmt,
    Tail,
    TensorT,
    Type,
    Var,
    Yield,
)
from hybridc.core.types import elem, shape, small
from hybridc.core.walk import (
    args_of,
    bound_in,
    calls,
    gradients,
    highest_id,
    map_atoms,
    map_blocks,
    map_tail,
    once,
    outs_of,
    rebuilt,
    statements_in,
    unchanged,
    with_body,
)
from hybridc.passes.each import each
from hybridc.passes.elements import Elements, New, Row, count, one_by_one, row, zero_of

Flags = tuple[bool, ...]


@dataclass(frozen=True)
class Split:
    """Which parameters and results of a function are passed as elements."""

    params: Flags
    results: Flags


def run(program: Program, roots: Iterable[str] = ()) -> Program:
    """`roots` are called from outside, so their signatures stay as they are."""
    kept = set(roots)
    for fn in program.fns.values():
        kept.update(str(op.attr("fn")) for op in gradients(fn))
        if fn.adjoint or fn.checkpoint:
            kept.update((fn.name, fn.adjoint))
    found = _found(program, kept)
    if found is None:
        return program

    changed = {name for name, split in found.items() if any(split.params) or any(split.results)}

    def looked_at(fn: Fn) -> Hashable:
        signatures = ((name, found[name], program.fns[name]) for name in (fn.name, *calls(fn)) if name in found)
        return tuple((name, split, tuple(p.type for p in f.params), f.results) for name, split, f in signatures)

    def one(fn: Fn) -> Fn:
        concerned = uses_of(fn).small or not changed.isdisjoint(calls(fn))
        return _Splitter(fn, program, found).run() if concerned else fn

    return each(program, "scalars", one, looked_at)


def _found(program: Program, kept: set[str]) -> dict[str, Split] | None:
    """The signatures that change; None if there is no small tensor in the program."""
    concerned = [fn for fn in program.fns.values() if uses_of(fn).small]
    if not concerned:
        return None
    found = {
        fn.name: Split(tuple(small(p.type) for p in fn.params), tuple(map(small, fn.results)))
        for fn in concerned if fn.name not in kept
    }
    changed = True
    while changed:
        wanted: set[tuple[str, int]] = set()
        new = {}
        for fn in concerned:
            split, _ = solved(fn, found)
            wanted.update((callee, i) for callee, i, o in uses_of(fn).results if o in split)
            if fn.name in found:
                new[fn.name] = tuple(p.id in split for p in fn.params)
        after = {
            name: Split(new[name], tuple(s and (name, i) in wanted for i, s in enumerate(old.results)))
            for name, old in found.items()
        }
        changed = after != found
        found = after
    return found


# ---- which values ----------------------------------------------------------------------------------------------------
@dataclass
class Uses:
    """How a function uses its small tensors, by the numbers of variables."""

    small: set[int] = field(default_factory=set)
    made: set[int] = field(default_factory=set)
    """By operators and calls."""
    views: set[int] = field(default_factory=set)
    """Of a model's parameters."""
    zeros: set[int] = field(default_factory=set)
    """Made by `zero`; as whole tensors these have no elements."""
    held: set[int] = field(default_factory=set)
    """Read out of aggregates."""
    built: set[int] = field(default_factory=set)
    """Made of scalars, or elementwise of what is."""
    computing: list[tuple[int, set[int]]] = field(default_factory=list)
    """Elementwise or products: of which values."""
    apart: set[int] = field(default_factory=set)
    """Used element by element."""
    whole: set[int] = field(default_factory=set)
    follows: list[tuple[int, int]] = field(default_factory=list)
    """Used as another value is."""
    args: list[tuple[int, str, int]] = field(default_factory=list)
    """Given to functions, as which parameter."""
    returned: list[tuple[int, int]] = field(default_factory=list)
    """As which result."""
    results: list[tuple[str, int, int]] = field(default_factory=list)
    """Of functions: whose, which, and what it is here."""


@once
def uses_of(fn: Fn) -> Uses:
    """What is known of a function by itself."""
    found = Uses()
    found.small.update(p.id for p in fn.params if small(p.type))
    for stmt in statements_in(fn):
        found.small.update(v.id for v in (*outs_of(stmt), *bound_in(stmt)) if small(v.type))
        if isinstance(stmt, (Op, Call)):
            found.made.update(v.id for v in stmt.outs if small(v.type))
        if isinstance(stmt, Op) and stmt.op == "tensor_view":
            found.views.add(stmt.outs[0].id)
    if found.small:
        _Looking(found).block(fn.body, None, {RETURN: None})
    return found


def way_of(op: Op, uses: Uses) -> Row | None:
    """How an operator is written out, if it is. A layer's product stays one, so that it gives the same bits wherever it
    stands."""
    layer = op.op == "matmul" and any(isinstance(a, Var) and a.id in uses.views for a in op.args)
    return None if layer else row(op, any(isinstance(a, Var) and a.id in uses.built for a in op.args))


class _Looking:
    def __init__(self, found: Uses):
        self.found = found

    def of(self, atoms: Iterable[Atom]) -> list[tuple[int, int]]:
        """The small tensors among atoms, with their places."""
        return [(i, a.id) for i, a in enumerate(atoms) if isinstance(a, Var) and small(a.type)]

    def block(self, b: Block, yields: Sequence[Var] | None, labels: dict[int, Sequence[Var] | None]) -> None:
        """`yields` and `labels` say what the values of tails become; None: the function's results."""
        for stmt in b.stmts:
            self.statement(stmt, labels)
        match b.tail:
            case Yield(values):
                self.handed(values, yields)
            case Exit(label, values):
                self.handed(values, labels[label])

    def handed(self, values: Sequence[Atom], to: Sequence[Var] | None) -> None:
        for i, v in self.of(values):
            if to is None:
                self.found.returned.append((v, i))
            else:
                self.found.follows.append((v, to[i].id))
        for a, o in zip(values, to or (), strict=False):
            if isinstance(a, Var) and small(o.type) and not small(a.type) and a.id not in self.found.zeros:
                self.found.whole.add(o.id)  # it may be a zero that came out of something

    def statement(self, stmt: Stmt, labels: dict[int, Sequence[Var] | None]) -> None:
        match stmt:
            case Op():
                self.operator(stmt)
            case Call(outs, fn, args, _):
                self.found.args += [(v, fn, i) for i, v in self.of(args)]
                self.found.results += [(fn, i, v) for i, v in self.of(outs)]
            case If(outs, _, then, orelse, _):
                self.block(then, outs, labels)
                self.block(orelse, outs, labels)
            case Match(outs, _, arms, _):
                self.found.whole.update(f.id for arm in arms for f in arm.fields)  # as they lie in the enum
                for arm in arms:
                    self.block(arm.body, outs, labels)
            case Loop(outs, label, params, inits, body, _):
                self.handed(inits, params)
                self.block(body, params, {**labels, label: outs})
            case Scope(outs, label, body, _):
                self.block(body, outs, {**labels, label: outs})
            case Parallel(_, _, _, body, _):
                self.block(Block(body.stmts, Yield()), (), labels)
                self.found.whole.update(v for _, v in self.of(body.tail.values))
            case _:
                self.found.whole.update(v for _, v in self.of(args_of(stmt)))

    def operator(self, op: Op) -> None:
        if op.attr("fits"):
            self.found.held.add(op.outs[0].id)
        if op.op == "tensor":
            self.found.built.add(op.outs[0].id)
        if op.op == "zero":
            self.found.zeros.add(op.outs[0].id)
        if way_of(op, self.found) is not None:
            if op.op in ("map", "matmul"):
                args = {v for _, v in self.of(op.args)}
                self.found.computing.append((op.outs[0].id, args))
                if not args.isdisjoint(self.found.built):
                    self.found.built.add(op.outs[0].id)
            if small(op.outs[0].type):
                self.found.follows += [(v, op.outs[0].id) for _, v in self.of(op.args)]
            else:
                self.found.apart.update(v for _, v in self.of(op.args))
        elif one_by_one(op) is not None:
            self.found.apart.update(v for _, v in self.of(op.args[1:2]))
        else:
            self.found.whole.update(v for _, v in self.of(op.args))


def solved(fn: Fn, found: dict[str, Split]) -> tuple[set[int], set[int]]:
    """The values that are taken apart, with these signatures; and those that are also, or only, wanted as a whole. What
    is computed of values that are taken apart or were held by an aggregate is computed by elements for its own sake."""
    uses = uses_of(fn)
    computed: set[int] = set()
    while True:
        split, whole = _solved(fn, uses, found, computed)
        at_hand = split | uses.built
        more = {v for v, args in uses.computing if v not in split and args and (
            not args.isdisjoint(at_hand) or args <= uses.held)}
        if not more:
            return split, whole
        computed |= more


def _solved(fn: Fn, uses: Uses, found: dict[str, Split], computed: set[int]) -> tuple[set[int], set[int]]:
    free = uses.made if fn.name in found else uses.made | {p.id for p in fn.params}
    split = set(uses.small)

    def of(name: str, i: int, params: bool) -> bool:
        signature = found.get(name)
        return signature is not None and (signature.params if params else signature.results)[i]

    while True:
        apart, whole = uses.apart | computed, set(uses.whole)
        for v, o in uses.follows:
            (apart if o in split else whole).add(v)
        for v, name, i in uses.args:
            (apart if of(name, i, True) else whole).add(v)
        for v, i in uses.returned:
            (apart if of(fn.name, i, False) else whole).add(v)
        left = {v for v in split if v in apart and (v in free or v not in whole)}
        if left == split:
            return split, whole
        split = left


# ---- taking them apart -----------------------------------------------------------------------------------------------
class _Splitter:
    def __init__(self, fn: Fn, program: Program, found: dict[str, Split]):
        self.fn = fn
        self.program = program
        self.found = found
        self.split, self.whole = solved(fn, found)
        self.next_id = highest_id(fn) + 1
        self.elements: dict[int, Elements] = {}
        self.value: dict[int, Atom] = {}
        """What stands for variables that are one element, or were made under another name."""
        self.labels: dict[int, Sequence[Type | None]] = {}
        """Of what an exit gives: the type where it is given as elements."""

    def run(self) -> Fn:
        fn = self.fn
        own = self.found.get(fn.name, Split((False,) * len(fn.params), (False,) * len(fn.results)))
        self.labels[RETURN] = [t if apart else None for t, apart in zip(fn.results, own.results, strict=True)]
        params: list[Var] = []
        for p, apart in zip(fn.params, own.params, strict=True):
            if apart:
                params += self.parted(p)
            else:
                params.append(p)
        body = self.block(fn.body, self.labels[RETURN])
        if not any(own.params) and not any(own.results):
            return with_body(fn, body)
        results: list[Type] = []
        for t, apart in zip(fn.results, own.results, strict=True):
            results += [elem(t)] * count(t) if apart else [t]
        return replace(fn, params=tuple(params), results=tuple(results), body=body)

    # ---- values
    def fresh(self, t: Type, name: str = "") -> Var:
        self.next_id += 1
        return Var(self.next_id - 1, t, name)

    def atom(self, a: Atom) -> Atom:
        return self.value.get(a.id, a) if isinstance(a, Var) else a

    def parted(self, v: Var) -> tuple[Var, ...]:
        """Variables for the elements of one."""
        new = tuple(self.fresh(elem(v.type), v.name) for _ in range(count(v.type)))
        self.elements[v.id] = new
        return new

    def outs(self, outs: Sequence[Var]) -> tuple[Var, ...]:
        """What a branch or loop defines, or a loop carries."""
        new: list[Var] = []
        for o in outs:
            new += self.parted(o) if o.id in self.split else (o,)
        return tuple(new)

    def types(self, outs: Sequence[Var]) -> list[Type | None]:
        return [o.type if o.id in self.split else None for o in outs]

    def of(self, a: Atom, t: Type, out: list[Stmt]) -> Elements:
        """The elements of a value of this type. What lies somewhere is read where it is used: elsewhere, what a tape
        holds of a branch that was not taken has no elements."""
        a = self.atom(a)
        if isinstance(a, Const) or not isinstance(a.type, TensorT):
            return (a,)
        if a.id in self.elements:
            return self.elements[a.id]
        if a.id in uses_of(self.fn).zeros:
            return (zero_of(a.type.elem),) * count(t)
        found: list[Var] = []
        for at in np.ndindex(*shape(t)):
            found.append(self.fresh(a.type.elem, a.name))
            kinds = ("kinds", ("i",) * len(at))
            out.append(Op((found[-1],), "index", (a, *(Const(i, INT) for i in at)), (kinds,)))
        self.elements[a.id] = tuple(found)
        return tuple(found)

    def handed(self, values: Sequence[Atom], types: Sequence[Type | None], out: list[Stmt]) -> tuple[Atom, ...]:
        """Values as they are given; `types` as `labels` has them."""
        given: list[Atom] = []
        for v, t in zip(values, types, strict=False):
            given += (self.atom(v),) if t is None else self.of(v, t, out)
        return tuple(given)

    # ---- statements
    def block(self, b: Block, yields: Sequence[Type | None]) -> Block:
        out: list[Stmt] = []
        around = dict(self.elements)  # what is read within is not there after it
        for stmt in b.stmts:
            self.statement(stmt, out)
        tail: Tail = b.tail
        match tail:
            case Yield(values):
                tail = self.ended(tail, self.handed(values, yields, out))
            case Exit(label, values):
                tail = self.ended(tail, self.handed(values, self.labels[label], out))
            case _:
                tail = map_tail(tail, self.atom)
        self.elements = around
        return rebuilt(b, out, tail)

    def ended(self, tail: Tail, values: tuple[Atom, ...]) -> Tail:
        same = len(values) == len(tail.values) and all(map(is_, values, tail.values))
        return tail if same else replace(tail, values=values)

    def statement(self, stmt: Stmt, out: list[Stmt]) -> None:
        match stmt:
            case Op():
                self.operator(stmt, out)
            case Call():
                self.call(stmt, out)
            case If(outs, cond, then, orelse, _):
                types = self.types(outs)
                new = replace(stmt, outs=self.outs(outs), cond=self.atom(cond), then=self.block(then, types),
                              orelse=self.block(orelse, types))
                out.append(stmt if unchanged(stmt, new) else new)
            case Match(outs, subject, arms, _):
                types = self.types(outs)
                bodies = [Arm(arm.case, arm.fields, self.block(arm.body, types)) for arm in arms]
                made = replace(stmt, outs=self.outs(outs), subject=self.atom(subject), arms=tuple(bodies))
                out.append(stmt if unchanged(stmt, made) else made)
            case Loop(outs, label, params, inits, body, _):
                types = self.types(params)
                inits = self.handed(inits, types, out)
                self.labels[label] = self.types(outs)
                params = self.outs(params)
                body = self.block(body, types)
                loop = replace(stmt, outs=self.outs(outs), params=params, inits=inits, body=body)
                out.append(stmt if unchanged(stmt, loop) else loop)
            case Scope(outs, label, body, _):
                self.labels[label] = types = self.types(outs)
                scope = replace(stmt, body=self.block(body, types), outs=self.outs(outs))
                out.append(stmt if unchanged(stmt, scope) else scope)
            case Parallel():
                out.append(map_blocks(map_atoms(stmt, self.atom), lambda b: self.block(b, (None,))))
            case _:
                out.append(map_atoms(stmt, self.atom))

    def operator(self, op: Op, out: list[Stmt]) -> None:
        how = way_of(op, uses_of(self.fn))
        result = op.outs[0] if op.outs else None
        if how is not None and result is not None:
            apart = result.id in self.split if small(result.type) else any(
                isinstance(a, Var) and a.id in self.split for a in op.args)
            if apart:
                made = how.make(op, lambda a: self.of(a, a.type, out), self.maker(op, out))
                if small(result.type):
                    self.elements[result.id] = made
                    if result.id in self.whole:
                        out.append(Op((result,), "tensor", made, (), op.span))
                else:
                    self.value[result.id] = made[0]
                return
        if op.op == "reshape" and op.attr("fits") and result is not None and result.id in self.split:
            out.append(map_atoms(op, self.atom))
            self.of(result, result.type, out)  # here, where it is known to be what its type says
            return
        places = one_by_one(op)
        if places is not None and isinstance(op.args[1], Var) and op.args[1].id in self.split:
            self.update(op, places, out)
            return
        out.append(map_atoms(op, self.atom))

    def maker(self, op: Op, out: list[Stmt]) -> New:
        def new(name: str, args: Sequence[Atom], t: Prim, attrs: Attrs) -> Atom:
            v = self.fresh(t)
            out.append(Op((v,), name, tuple(args), attrs, op.span))
            return v

        return new

    def update(self, op: Op, places: Sequence[tuple[tuple[Atom, ...], int]], out: list[Stmt]) -> None:
        """Of a large tensor, an element at a time."""
        target = self.atom(op.args[0])
        elements = self.of(op.args[1], op.args[1].type, out)
        adding = tuple(a for a in op.attrs if a[0] == "fn")
        for k, (place, i) in enumerate(places):
            result = op.outs[0] if k == len(places) - 1 else self.fresh(op.outs[0].type)
            attrs = (("axes", ()), *adding, ("kinds", ("i",) * len(place)))
            out.append(Op((result,), "update", (target, elements[i], *map(self.atom, place)), attrs, op.span))
            target = result

    def call(self, call: Call, out: list[Stmt]) -> None:
        signature = self.found.get(call.fn)
        if signature is None:
            out.append(map_atoms(call, self.atom))
            return
        fn = self.program.fns[call.fn]
        types = [p.type if apart else None for p, apart in zip(fn.params, signature.params, strict=True)]
        args = self.handed(call.args, types, out)
        outs: list[Var] = []
        after: list[Stmt] = []
        for o, t, apart in zip(call.outs, fn.results, signature.results, strict=True):
            if not apart:
                outs.append(o)
                continue
            made = tuple(self.fresh(elem(t), o.name) for _ in range(count(t)))
            outs += made
            if o.id in self.split:
                self.elements[o.id] = made
            if o.id in self.whole or not small(o.type):
                whole = o if small(o.type) else self.fresh(t, o.name)
                after.append(Op((whole,), "tensor", made, (), call.span))
                self.value.update({o.id: whole} if whole is not o else {})
        new = replace(call, outs=tuple(outs), args=args)
        out += [call if new == call else new, *after]
