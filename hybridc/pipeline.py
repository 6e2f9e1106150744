"""Core to better Core: the passes in their order, and the derivatives between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hybridc.autodiff import driver as autodiff
from hybridc.autodiff.tangent import Tangents
from hybridc.base import knobs
from hybridc.base.diagnostic import CompileError, Diagnostic
from hybridc.base.recursion import deep_recursion
from hybridc.base.source import Source, Sources, in_file
from hybridc.core import ir
from hybridc.core.interface import Interface
from hybridc.core.verify import check_after
from hybridc.core.walk import gradients, map_spans, mentions
from hybridc.kernels.device import refusal
from hybridc.link import surface
from hybridc.passes import (
    add_into,
    ahead,
    apart,
    bounds,
    cases,
    dce,
    entries,
    fuse,
    guard,
    inline,
    into_part,
    invariant,
    lifted,
    one_loop,
    options,
    place,
    prefetch,
    quiet,
    reassociate,
    recognise,
    remainders,
    reuse,
    scalars,
    scans,
    shapes,
    share,
    simplify,
    sink,
    slices,
    spread,
    stencils,
    sums,
    tables,
    tensor_places,
    transposed,
    trap,
    unpack,
    unswitch,
    whole,
    zeros,
)

RECOGNISER = recognise.Recogniser()

Pass = Callable[[ir.Program, Sequence[str]], ir.Program]
Passes = list[tuple[str, Pass]]

PRIMAL: Passes = [
    ("prune", dce.prune),
    ("lifted", lifted.run),
    ("unpack", unpack.run),
    ("simplify", lambda core, roots: simplify.run(core)),
    ("inline", inline.run),
    ("prune", dce.prune),
    ("options", lambda core, roots: options.run(core)),
    ("simplify", lambda core, roots: simplify.run(core)),
    ("slices", lambda core, roots: slices.run(core)),
    ("shapes", lambda core, roots: shapes.run(core)),
    ("scalars", scalars.run),
    ("simplify", lambda core, roots: simplify.run(core)),
    ("ahead", lambda core, roots: ahead.run(core, strips=not knobs.trap_nan())),
    ("dce", lambda core, roots: dce.run(core)),
]
"""What every program goes through, and those with derivatives before these are written out too."""

PASSES: Passes = [
    ("zeros", zeros.run),
    ("entries", entries.run),
    *PRIMAL,
    ("one_loop", lambda core, roots: one_loop.run(core)),
    ("simplify", lambda core, roots: simplify.run(core)),
    ("dce", lambda core, roots: dce.run(core)),
    ("reuse", lambda core, roots: reuse.run(core)),
    ("prune", dce.prune),
    ("sums", lambda core, roots: sums.run(core)),
    ("spread", lambda core, roots: spread.run(core)),
    ("transposed", lambda core, roots: transposed.run(core)),
    ("share", lambda core, roots: share.run(core)),
    ("stencils", lambda core, roots: stencils.run(core)),
    ("sink", lambda core, roots: sink.run(core)),
    ("fuse", lambda core, roots: fuse.run(core)),
    ("add_into", lambda core, roots: add_into.run(core)),
    ("into_part", lambda core, roots: into_part.run(core)),
    ("invariant", lambda core, roots: invariant.run(core)),
    ("tables", lambda core, roots: tables.run(core)),
    ("unswitch", lambda core, roots: unswitch.run(core)),
    ("tensor_places", lambda core, roots: tensor_places.run(core)),
    ("remainders", lambda core, roots: remainders.run(core)),
    ("bounds", lambda core, roots: bounds.run(core)),
    ("quiet", lambda core, roots: quiet.run(core)),
    ("prefetch", lambda core, roots: prefetch.run(core)),
    ("reassociate", lambda core, roots: reassociate.run(core)),
    ("scans", lambda core, roots: scans.run(core)),
]
"""Core to Core, given the functions that are called from outside; `optimise` says when the verifier runs."""


def _on_device(name: str, run: Pass) -> tuple[str, Pass]:
    return name, (lambda core, roots: ahead.run(core, strips=False)) if name == "ahead" else run


DEVICE_PRIMAL = [_on_device(name, run) for name, run in PRIMAL if name not in ("slices", "scalars")]
"""Elements of a GPU's tensors do not go to the host one by one, and a strip of rows would be one more launch."""

DEVICE_PASSES: Passes = [
    ("zeros", zeros.run),
    *DEVICE_PRIMAL,
    ("inline", lambda core, roots: inline.run(core, roots, tensors=True)),
    ("simplify", lambda core, roots: simplify.run(core)),
    ("ahead", lambda core, roots: ahead.run(core, strips=False)),
    ("dce", lambda core, roots: dce.run(core)),
    ("prune", dce.prune),
    ("spread", lambda core, roots: spread.run(core)),
    ("transposed", lambda core, roots: transposed.run(core)),
    ("sink", lambda core, roots: sink.run(core)),
    ("fuse", lambda core, roots: fuse.run(core, refusal)),
    ("place", lambda core, roots: place.run(core, everything=knobs.place_everything())),
    ("bounds", lambda core, roots: bounds.run(core)),
    ("prefetch", lambda core, roots: prefetch.run(core)),
]
"""The same for a program with its kernels on a GPU."""


def in_files(core: ir.Program, sources: Sources) -> ir.Program:
    """With all places in their files."""
    fns = {name: map_spans(fn, lambda span: in_file(span, sources)) for name, fn in core.fns.items()}
    return ir.Program(core.structs, core.enums, fns)


def optimise(
    core: ir.Program, interface: Interface, sources: dict[str, Source], *, device: bool = False, guarded: bool = False,
    origins: recognise.Origins | None = None,
) -> ir.Program:
    """All passes; CompileError for a derivative that does not exist. `guarded`: with the checks of Core that somebody
    else made. `origins`: its functions are those of the RECOGNISER. What they give is verified; if it is not well
    formed, or one of them breaks down, so is what each of them gives: CoreError names the first with a mistake."""
    each = knobs.verify_each()

    def made(each: bool) -> ir.Program:
        return _optimised(core, interface, sources, device=device, guarded=guarded, origins=origins, each=each)

    with deep_recursion():
        if each or not knobs.verify():
            return made(each)
        try:
            better = made(each=False)
            check_after("all passes", better, ir.Program())
        except CompileError:
            raise
        except Exception:  # whatever broke down: the pass before it that left a mistake is named, or it goes on
            check_after("lower", core)
            made(each=True)
            raise
        return better


def _optimised(
    core: ir.Program, interface: Interface, sources: dict[str, Source], *, device: bool, guarded: bool,
    origins: recognise.Origins | None, each: bool,
) -> ir.Program:
    roots = surface.symbols(interface)
    core = reached(core, interface, not each)
    if knobs.trap_nan():  # before anything is inlined, so that every operator still knows its place
        core = passed("trap", lambda core, _: trap.run(core, ()), core, roots, each)
    seen = set(core.fns)
    core = differentiated(core, roots, sources, origins, DEVICE_PRIMAL if device else PRIMAL, each)
    if origins:
        core = RECOGNISER.made(core)
    if knobs.trap_nan():
        core = passed("trap", lambda core, _: trap.run(core, seen), core, roots, each)
    if guarded:
        core = passed("guard", lambda core, roots: guard.run(core, roots, interface), core, roots, each)
    for name, run in DEVICE_PASSES if device else PASSES:
        core = passed(name, run, core, roots, each)
    return core


def reached(core: ir.Program, interface: Interface, later: bool = False) -> ir.Program:
    """The functions that can be called, and in them what can happen. It is verified `later`."""
    roots = surface.symbols(interface)
    core = dce.prune(core, roots)
    enums = surface.enums(interface, core)
    core = passed("cases", lambda core, _: cases.run(core, enums), core, roots, not later)
    return dce.prune(core, roots)


def recognised(core: ir.Program, sources: Sources) -> tuple[ir.Program, recognise.Origins]:
    """With the functions that this process has compiled before in their places; those that are new are verified if
    each pass is."""
    origins: recognise.Origins = {}
    if knobs.trap_nan():  # which writes places into the program
        core = in_files(core, sources)
    else:
        core, origins = RECOGNISER.program(core)
    if knobs.verify_each():
        check_after("lower", core, ir.Program())
    return core, origins


def passed(name: str, run: Pass, core: ir.Program, roots: Sequence[str], each: bool = True) -> ir.Program:
    """What a pass makes, verified if `each` is."""
    before = ir.Program(dict(core.structs), dict(core.enums), dict(core.fns))  # a pass may add to its own
    core = run(core, roots)
    if each and knobs.verify():
        check_after(name, core, before)
    return core


def differentiated(
    core: ir.Program, roots: Sequence[str], sources: dict[str, Source], origins: recognise.Origins | None = None,
    primal: Passes = PRIMAL, each: bool = True,
) -> ir.Program:
    """With every derivative written out, of functions that have been optimised: those that are differentiated or take
    derivatives, and what they call. `origins` as `optimise` has them, `each` as `passed` has it."""
    wanted = autodiff.targets(core)
    if any(gradients(fn) for fn in core.fns.values()):
        core = passed("apart", lambda core, _: apart.run(core, roots, wanted, Tangents(core).active), core, roots, each)
        for name, run in [*primal, ("share", lambda core, _: share.run(core))]:
            core = _within(core, name, run, roots, wanted, each)
        core = passed("whole", lambda core, _: whole.run(core, wanted, Tangents(core).active), core, roots, each)
    try:
        return passed("autodiff", lambda core, _: autodiff.run(core), core, roots, each)
    except autodiff.Refused as refused:
        place = recognise.absolute(refused.op.span, origins or {})
        raise CompileError([Diagnostic("HYB604", refused.why, place)], sources) from None


ON_BOTH_SIDES = ("prune", "unpack", "scalars")
"""Passes that change what a call looks like, on both of its sides."""


def _within(
    core: ir.Program, name: str, run: Pass, roots: Sequence[str], wanted: Sequence[str], each: bool
) -> ir.Program:
    """A pass before derivatives are written out: over what is `wanted` for them, and who takes them. The rest is
    optimised afterwards, with them."""
    if name in ON_BOTH_SIDES:
        return passed(name, run, core, [*roots, *wanted], each)
    inner = dce.prune(core, [*wanted, *(n for n, fn in core.fns.items() if gradients(fn))])
    others = {n: fn for n, fn in core.fns.items() if n not in inner.fns}
    held = {*roots, *(n for fn in others.values() for n in mentions(fn))} & inner.fns.keys()
    made = passed(name, run, inner, [*wanted, *sorted(held)], each)
    stay = {n: made.fns.get(n, fn) for n, fn in core.fns.items() if n in others or n in made.fns}
    return ir.Program(made.structs, made.enums, {**stay, **made.fns})
