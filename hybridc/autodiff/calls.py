"""The reverse part of a call: one of the reverse part of what is called. A function that calls itself hands on what its
calls share: where the latest record is (recursion.py), and the lists of products (products.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridc.autodiff.tangent import Adjoint
from hybridc.core.ir import Atom, Call, Prim, Type, Var

if TYPE_CHECKING:
    from hybridc.autodiff.derived import Derived
    from hybridc.autodiff.reverse import Reverse


def reverse_call(r: Reverse, s: Call) -> None:
    outs = [r.pop(o) for o in s.outs]
    if not any(d is not None for leaves in outs for d in leaves):
        return
    mask = r.driver.activity.mask(s.fn, [r.is_active(a) for a in s.args])
    if r.driver.program.fns[s.fn].adjoint:
        r.driver.custom(r, s, outs)
        return
    offered = [i for i, a in enumerate(s.args)
               if a in r.offered or not isinstance(a.type, Prim) and r.regions.from_held(a)]
    derived = r.driver.derive_within(s.fn, mask, offered)
    shared = r.stack is not None and r.stack.takes(s, derived)
    args = _tape(r, s, derived, shared)
    for o, d, active in zip(s.outs, outs, derived.results, strict=True):
        if active:
            args += r.filled(d, o.type)
    kinds: list[Type] = []
    places: list[tuple[Var, int]] = []
    for a, active in zip(s.args, mask, strict=True):
        if active:
            assert isinstance(a, Var)
            for k, kind in enumerate(r.tangents.leaves(a.type)):
                args.append(r.pop_or_zero(a, k, kind))
                kinds.append(kind)
                places.append((a, k))
    reverse = derived.reverse
    handed_on: list[tuple[Var, int, Type]] = []
    if shared:
        assert r.stack is not None
        reverse = derived.shared
        handed_on.append(r.stack.place)
        if mask == r.mask and r.kept.passed_on(r, s):
            reverse = derived.within
            lists = list(r.kept.keys())
            args += [r.pop_or_zero(*key) for key in lists]
            handed_on += lists
    found = r.b.call(reverse, args, [*kinds, *(kind for _, _, kind in handed_on)])
    for (a, k), x in zip(places, found, strict=False):
        r.add(a, k, Adjoint(x))
    for (p, leaf, _), x in zip(handed_on, found[len(places):], strict=True):
        r.env[p.id, leaf] = Adjoint(x)


def _tape(r: Reverse, s: Call, derived: Derived, shared: bool) -> list[Atom]:
    """What the reverse part takes beside adjoints."""
    if shared:
        assert r.stack is not None
        r.stack.calls[id(s)] = derived
        stack = r.stack.records, r.env[r.stack.key].atom
        return [a if a in stack else r.need(a) for a in derived.kept(stack, s.args)]
    if r.driver.program.fns[s.fn].checkpoint:
        again = [r.b.var(k) for k in (*(o.type for o in s.outs), *derived.tape)]
        r.b.add(Call(tuple(again), derived.forward, tuple(map(r.need, s.args)), s.span))
        tape = again[len(s.outs):]
        return [a if a in tape else r.need(a) for a in derived.kept(tape, s.args)]
    region = r.regions.of[s.outs[0].id]
    r.forwards[id(s)] = derived.forward
    tape = r.tapes[id(s)] = [r.regions.var(k, region) for k in derived.tape]
    return list(map(r.need, derived.kept(tape, s.args)))
