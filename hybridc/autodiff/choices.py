"""Derivatives of expectations over choices that are estimated by their probability (std/rng.hyb, `estimator=`).

A generator keeps the sum of log p over its choices, as an ordinary float that depends on the logits. The derivative of
the expected loss L is then that of the loss plus L times that of log p (Williams, "Simple statistical
gradient-following algorithms", 1992): reverse mode, with L for the adjoint of that float. So nothing but the operator
`gradient` knows of it:

    reinforce   one run; the adjoint of log p is L - baseline
    rloo(k)     k runs; the baseline of each is the mean of the other losses (Kool et al., 2019)
    exact       a run for each way the choices can go, weighted with its probability, which is differentiated too

The ways are numbered in mixed radix, the first choice the least digit: a run takes its digits from `plan` and
multiplies `ways`; a number that is not below `ways` at the end has digits that no choice took, and is left out. No
number from the greatest `ways` so far on is a way: with its last digit that is not 0 and all that follow taken to be 0
it would be a smaller one, whose `ways` are above it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hybridc.autodiff.activity import Mask
from hybridc.autodiff.rules import Refused
from hybridc.core.builder import Builder, integer
from hybridc.core.ir import (
    BOOL,
    F64,
    INT,
    STR,
    Atom,
    Block,
    BufferT,
    Call,
    Const,
    Exit,
    Fault,
    Fn,
    Op,
    Prim,
    StructT,
    TupleT,
    Type,
    Var,
    Yield,
)
from hybridc.core.types import parts

if TYPE_CHECKING:
    from hybridc.autodiff.derived import Derived
    from hybridc.autodiff.replacer import Replacer

RNG = "rng"
Path = tuple[int, ...]


@dataclass(frozen=True)
class Generator:
    """Of the function that is differentiated: which argument holds it and which result, and where in them."""

    arg: int
    result: int
    path: Path


def generator(r: Replacer, op: Op, fn: Fn, results: Mask) -> Generator | None:
    """The generator that has choices whose probability is active; Refused if there are several."""
    inside = [_paths(r, p.type) for p in fn.params]
    args = [i for i, paths in enumerate(inside) if paths]
    given = [i for i, kind in enumerate(fn.results) if i and _paths(r, kind)]
    found = [
        Generator(args[k], i, path) for k, i in enumerate(given) if results[i] and k < len(args)
        for path in _paths(r, fn.results[i])
    ]
    if len(found) > 1:
        raise Refused(op, "the choices that are estimated come from more than one generator")
    return found[0] if found else None


def _paths(r: Replacer, kind: Type) -> list[Path]:
    """Where generators are in a value."""
    if kind == StructT(RNG):
        return [()]
    if not isinstance(kind, (StructT, TupleT)):
        return []
    return [(i, *rest) for i, part in enumerate(parts(kind, r.driver.program)) for rest in _paths(r, part)]


class _State:
    """The fields of a generator within a value."""

    def __init__(self, r: Replacer, b: Builder, value: Atom, path: Path):
        self.r, self.b, self.value, self.path = r, b, value, path

    def index(self, field: str) -> int:
        names = [n for n, _ in self.r.driver.program.structs[RNG].fields]
        return names.index(field)

    def get(self, field: str) -> Var:
        at = self.value
        for i in (*self.path, self.index(field)):
            at = self.b.op("get", [at], parts(at.type, self.r.driver.program)[i], index=i)
        assert isinstance(at, Var)
        return at

    def whole(self) -> Atom:
        at = self.value
        for i in self.path:
            at = self.b.op("get", [at], parts(at.type, self.r.driver.program)[i], index=i)
        return at

    def with_fields(self, **fields: Atom) -> Atom:
        """The value with these fields of its generator replaced."""
        return self._put(self.value, self.path, lambda g: self._renewed(g, {
            self.index(n): a for n, a in fields.items()}))

    def with_generator(self, new: Atom) -> Atom:
        return self._put(self.value, self.path, lambda g: new)

    def _renewed(self, value: Atom, new: dict[int, Atom]) -> Atom:
        kinds = parts(value.type, self.r.driver.program)
        old = self.b.ops("destruct", [value], kinds)
        return self.b.op("tuple" if isinstance(value.type, TupleT) else "struct",
                         [new.get(i, a) for i, a in enumerate(old)], value.type)

    def _put(self, value: Atom, path: Path, change: Callable[[Atom], Atom]) -> Atom:
        if not path:
            return change(value)
        at, *rest = path
        part = self.b.op("get", [value], parts(value.type, self.r.driver.program)[at], index=at)
        return self._renewed(value, {at: self._put(part, tuple(rest), change)})


def estimate(
    r: Replacer, op: Op, fn: Fn, mask: Mask, derived: Derived, g: Generator
) -> tuple[Sequence[Atom], Sequence[Atom]]:
    """The results of the function (the loss the expected one, as far as it is known) and the leaves of the adjoints of
    its active arguments."""
    b, tangents = r.b, r.tangents
    before = _State(r, b, op.args[g.arg], g.path)
    start = before.get("chance")
    kinds = [*fn.results]
    loss_kind = _loss_type(kinds[0])
    record = TupleT((F64, F64, *derived.kept(derived.tape, [p.type for p in fn.params])))
    records = BufferT(record)

    # ---- forward: a record of loss, weight and tape for each run
    label = b.label()
    names: list[tuple[str, Type]] = [
        ("t", INT), ("bound", INT), ("samples", INT), ("n", INT), ("records", records), ("total", F64)]
    state = [b.var(k, n) for n, k in names]
    t, bound, samples, n, stack, total = state
    argument = b.var(op.args[g.arg].type, "g")
    kept = [b.var(k) for k in kinds]
    b.open()
    done = b.op("ge", [t, bound], BOOL)
    b.open()
    leave = b.close(Exit(label, (n, stack, total, samples, *kept)))
    b.open()
    with_plan = _State(r, b, argument, g.path).with_fields(plan=t, ways=integer(1), samples=integer(0))
    args = [with_plan if i == g.arg else a for i, a in enumerate(op.args)]
    outs, tape = [b.var(k) for k in kinds], [b.var(k) for k in derived.tape]
    b.add(Call((*outs, *tape), derived.forward, tuple(args), op.span))
    after = _State(r, b, outs[g.result], g.path)
    ways = after.get("ways")
    asked = b.op("maximum", [samples, after.get("samples")], INT)
    several = b.op("gt", [asked, integer(1)], BOOL)
    mixed = b.op("bit_and", [several, b.op("gt", [ways, integer(1)], BOOL)], BOOL)
    _fault_if(b, mixed, "`rloo` and `exact` do not go together in one derivative")
    further = b.op("maximum", [bound, b.op("maximum", [ways, asked], INT)], INT)
    taken = b.op("bit_or", [several, b.op("lt", [t, ways], BOOL)], BOOL)
    loss = b.op("cast", [_loss(b, outs[0])], F64) if loss_kind != F64 else _loss(b, outs[0])
    weight = b.op("exp", [b.op("sub", [after.get("chance"), _State(r, b, argument, g.path).get("chance")], F64)], F64)

    def run() -> Sequence[Atom]:
        new = tangents.push(b, stack, n, b.op("tuple", [loss, weight, *derived.kept(tape, args)], record))
        # A way of no weight does not count, whatever its loss.
        there = b.op("gt", [weight, Const(0.0, F64)], BOOL)
        share = b.op("select", [there, b.op("mul", [weight, loss], F64), Const(0.0, F64)], F64)
        return [b.op("add", [n, integer(1)], INT), new, b.op("add", [total, share], F64), *outs]

    chosen = tangents.choose(b, taken, run, lambda: [n, stack, total, *kept],
                             [INT, records, F64, *kinds])
    following = _State(r, b, argument, g.path).with_generator(after.whole())
    turn = b.close(Yield((b.op("add", [t, integer(1)], INT), further, asked, *chosen[:3], following, *chosen[3:])))
    params = [*state, argument, *kept]
    values = b.if_(done, leave, turn, [p.type for p in params])
    body = b.close(Yield(values))
    zeros = [b.op("zero", [], k) for k in kinds]
    inits = [integer(0), integer(1), integer(0), integer(0), b.op("zero", [], records), Const(0.0, F64),
             op.args[g.arg], *zeros]
    n, stack, total, samples, *last = b.loop(
        label, params, inits, body, [INT, records, F64, INT, *kinds])

    # ---- reverse
    several = b.op("gt", [samples, integer(1)], BOOL)
    count = b.op("cast", [b.op("maximum", [samples, integer(1)], INT)], F64)
    others = b.op("cast", [b.op("maximum", [b.op("sub", [samples, integer(1)], INT), integer(1)], INT)], F64)
    leaves = [k for p, a in zip(fn.params, mask, strict=True) if a for k in tangents.leaves(p.type)]

    def back(i: Var, sums: list[Var]) -> Sequence[Atom]:
        rest, one = b.ops("buffer_take", [sums[0], i], [records, record])
        loss, weight, *kept = b.ops("destruct", [one], record.items)
        there = b.op("gt", [weight, Const(0.0, F64)], BOOL)
        loss = b.op("select", [there, loss, Const(0.0, F64)], F64)
        share = b.op("div", [weight, count], F64)
        rivals = b.op("div", [b.op("sub", [total, loss], F64), others], F64)
        baseline = b.op("select", [several, rivals, Const(0.0, F64)], F64)
        signal = b.op("mul", [share, b.op("sub", [loss, baseline], F64)], F64)
        seeds = _seeds(r, fn, derived.results, g, share, signal)
        return [rest, *b.call(derived.reverse, [*kept, *seeds, *sums[1:]], leaves)]

    start_sums = [tangents.zero(b, k) for k in leaves]
    found = tangents.count_up(b, n, [stack, *start_sums], back, [records, *leaves])[1:]

    # ---- results
    mean: Atom = b.op("div", [total, count], F64)
    if loss_kind != F64:
        mean = b.op("cast", [mean], loss_kind)
    results: list[Atom] = list(last)
    results[0] = mean
    if isinstance(kinds[0], TupleT):
        rest = b.ops("destruct", [last[0]], kinds[0].items)
        results[0] = b.op("tuple", [mean, *rest[1:]], kinds[0])
    results[g.result] = _State(r, b, last[g.result], g.path).with_fields(
        plan=before.get("plan"), ways=before.get("ways"), samples=before.get("samples"), chance=start)
    return results, found


def _loss_type(kind: Type) -> Prim:
    first = kind.items[0] if isinstance(kind, TupleT) else kind
    assert isinstance(first, Prim)
    return first


def _loss(b: Builder, result: Atom) -> Atom:
    if isinstance(result.type, TupleT):
        return b.op("get", [result], result.type.items[0], index=0)
    return result


def _fault_if(b: Builder, cond: Atom, why: str) -> None:
    b.open()
    text = b.op("str", [], STR, text=why)
    b.if_(cond, b.close(Fault("ValueError", (text,), b.span)), Block((), Yield()))


def _seeds(r: Replacer, fn: Fn, results: Mask, g: Generator, share: Atom, signal: Atom) -> list[Atom]:
    """The adjoints of the active results: of the loss its weight, of what the generator knows what the loss says."""
    b, tangents = r.b, r.tangents
    found: list[Atom] = []
    for i, (kind, active) in enumerate(zip(fn.results, results, strict=True)):
        if not active:
            continue
        own: list[Atom] = [tangents.zero(b, k) for k in tangents.leaves(kind)]
        if i == 0:
            loss = _loss_type(kind)
            own[0] = share if loss == F64 else b.op("cast", [share], loss)
        if i == g.result:
            first, at = 0, kind
            for step in g.path:
                first += tangents.part(at, step).start
                at = parts(at, r.driver.program)[step]
            names = [n for n, _ in r.driver.program.structs[RNG].fields]
            minus = b.op("neg", [share], F64)
            for field, x in (("score", signal), ("offset", minus), ("chance", signal)):
                own[first + tangents.part(at, names.index(field)).start] = x
        found += own
    return found
