"""What is active: may depend, through floats, on what is differentiated by.

For each function and set of active arguments, which results are. Of a recursive function it is the least answer that
agrees with itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.autodiff.lift import lifted, portable
from hybridc.autodiff.segments import segmented
from hybridc.autodiff.structure import structured
from hybridc.autodiff.tangent import Tangents
from hybridc.autodiff.wanted import wanted
from hybridc.base import knobs
from hybridc.core.ir import (
    RETURN,
    Atom,
    Block,
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
    Var,
    Yield,
)

Mask = tuple[bool, ...]
CONSTANT = frozenset(
    "bit_and bit_or bit_xor bit_not shl shr lshr mulhi ctz eq ne lt le gt ge not tag made none is_some str zero"
    " buffer_new buffer_room buffer_len buffer_compare buffer_match hash_seed buffer_find"
    " buffer_outside buffer_same text_key kept_text"
    " format_float format_float32 packs parse_float stop_gradient dim nonzero argsort iota tensor_equal retain release"
    " host place".split()
)
"""Operators through which nothing flows: what they give is no float, or does not depend on floats."""


class Activity:
    """Answers for the functions of one program."""

    def __init__(self, tangents: Tangents):
        self.tangents = tangents
        self._bodies: dict[str, Fn] = {}
        self._segments: set[str] = set()
        """Functions made for loops of large tapes."""
        self._results: dict[tuple[str, Mask], Mask] = {}
        self._settled: set[tuple[str, Mask]] = set()
        self._seen: set[tuple[str, Mask]] | None = None
        """In the pass that is under way."""
        self._changed = False

    def body(self, name: str) -> Fn:
        """The function in the form of structure.py."""
        found = self._bodies.get(name)
        if found is None:
            found = structured(lifted(portable(self.tangents.program.fns[name])))
            budget = knobs.tape_size()
            if budget is not None and name not in self._segments:
                found, made = segmented(found, self.tangents, budget)
                self._segments.update(made)
            self._bodies[name] = found
        return found

    def mask(self, name: str, active: Sequence[bool]) -> Mask:
        """Only arguments that can be active are."""
        params = self.tangents.program.fns[name].params
        return tuple(a and self.tangents.active(p.type) for a, p in zip(active, params, strict=True))

    def results(self, name: str, mask: Mask) -> Mask:
        """Which results are active."""
        fn = self.tangents.program.fns[name]
        if fn.adjoint:
            return tuple(any(mask) and self.tangents.active(r) for r in fn.results)
        key = (name, mask)
        if not any(mask):
            return (False,) * len(fn.results)
        if key in self._settled:
            return self._results[key]
        if self._seen is not None:
            return self._look(key)
        while True:
            self._seen, self._changed = set(), False
            self._look(key)
            if not self._changed:
                break
        self._settled |= self._seen
        self._seen = None
        return self._results[key]

    def _look(self, key: tuple[str, Mask]) -> Mask:
        """The answer so far; once in each pass a better one."""
        assert self._seen is not None
        known = self._results.setdefault(key, (False,) * len(self.tangents.program.fns[key[0]].results))
        if key in self._seen or key in self._settled:
            return known
        self._seen.add(key)
        found = _Flow(self, self.body(key[0]), key[1]).run()
        if found != known:
            self._results[key], self._changed = found, True
        return found

    def variables(self, name: str, mask: Mask) -> set[int]:
        """The active variables of the function that reach its results."""
        self.results(name, mask)
        flow = _Flow(self, self.body(name), mask)
        flow.run()
        return wanted(flow.fn, flow.active, CONSTANT)


class _Flow:
    def __init__(self, activity: Activity, fn: Fn, mask: Mask):
        self.activity = activity
        self.tangents = activity.tangents
        self.fn = fn
        self.active = {p.id for p, a in zip(fn.params, mask, strict=True) if a}
        self.given: dict[int, list[bool]] = {RETURN: [False] * len(fn.results)}
        self.changed = True

    def run(self) -> Mask:
        while self.changed:
            self.changed = False
            tail = self.block(self.fn.body)
            if tail is not None:
                self.give(RETURN, tail)
        return tuple(self.given[RETURN])

    def is_active(self, a: Atom) -> bool:
        return isinstance(a, Var) and a.id in self.active

    def mark(self, v: Var, active: bool) -> None:
        if active and v.id not in self.active and self.tangents.active(v.type):
            self.active.add(v.id)
            self.changed = True

    def give(self, label: int, values: Sequence[Atom]) -> None:
        given = self.given.setdefault(label, [False] * len(values))
        for i, v in enumerate(values):
            if self.is_active(v) and not given[i]:
                given[i] = self.changed = True

    def block(self, block: Block) -> Sequence[Atom] | None:
        """The values it yields; None if it ends otherwise."""
        for s in block.stmts:
            self.stmt(s)
        if isinstance(block.tail, Exit):
            self.give(block.tail.label, block.tail.values)
        return block.tail.values if isinstance(block.tail, Yield) else None

    def join(self, outs: Sequence[Var], values: Sequence[Atom] | None) -> None:
        if values:  # none where the end is never reached
            for o, v in zip(outs, values, strict=True):
                self.mark(o, self.is_active(v))

    def stmt(self, s: Stmt) -> None:
        match s:
            case Op():
                if s.op not in CONSTANT and any(map(self.is_active, s.args)):
                    for o in s.outs:
                        self.mark(o, True)
            case Call():
                mask = self.activity.mask(s.fn, [self.is_active(a) for a in s.args])
                for o, active in zip(s.outs, self.activity.results(s.fn, mask), strict=True):
                    self.mark(o, active)
            case If():
                self.join(s.outs, self.block(s.then))
                self.join(s.outs, self.block(s.orelse))
            case Match():
                for arm in s.arms:
                    for f in arm.fields:
                        self.mark(f, self.is_active(s.subject))
                    self.join(s.outs, self.block(arm.body))
            case Loop():
                self.join(s.params, s.inits)
                self.join(s.params, self.block(s.body))
                self.exits(s.outs, s.label)
            case Scope():
                self.join(s.outs, self.block(s.body))
                self.exits(s.outs, s.label)
            case Parallel():
                values = self.block(s.body)
                if values:
                    self.mark(s.out, self.is_active(values[0]))

    def exits(self, outs: Sequence[Var], label: int) -> None:
        for o, active in zip(outs, self.given.get(label, ()), strict=False):
            self.mark(o, active)
