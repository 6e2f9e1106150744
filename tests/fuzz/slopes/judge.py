"""Derivatives of a file of programs in compiled code, on the reference interpreter, and by central differences."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from hybridc_runtime.artifact import load_artifact
from hybridc_runtime.module import Module

import hybridc
from hybridc import pipeline
from hybridc.base.recursion import deep_recursion
from hybridc.core import ir
from hybridc.core.interp import Interpreter
from hybridc.core.values import Buffer, InterpFault
from hybridc.core.verify import check_after
from hybridc.core.walk import gradients, mentions
from hybridc.link import artifact as container
from hybridc.link import surface
from hybridc.link.manifest import manifest_of
from hybridc.llvm import backend, processors
from hybridc.llvm.compile import COUNTER, Compiled, emit_modules
from hybridc.llvm.module import Tables
from hybridc.llvm.partition import whole_text
from hybridc.passes.ownership import own
from tests.fuzz.engines import DEPTH, Unit

Point = tuple[int, float, list[float], int]
POINTS: tuple[Point, ...] = (
    (1, 0.3717, [0.3119, -0.7243, 0.9371], 2), (2, -0.5839, [1.1273, 0.4631, -0.2179, 0.6421], 1), (3, 0.8431, [-0.3761, 0.6913], 4),
)  # fmt: skip
WIDTHS = (1e-3, 1e-4, 1e-5, 1e-6)
"""Of central differences: the next narrower one where a wider one does not agree, since there may be a kink within."""
CLOSE = 1e-6
"""Of differences to derivatives."""
ROUNDING = 1e-14
"""Of a value, beside its size. Where a function is steep, as a sine of something large is, the slope differs by as much
for each unit of its own size."""
ALIKE = 1e-9
"""Of engines: they differ by contraction."""
MARK = "fn slope_"
"""What is in the text of such a program."""
LIST = ir.StructT("list[f64]")


@dataclass
class Slope:
    """What a call gave: the value, the derivatives; or a fault (kind, message)."""

    value: float = 0.0
    slopes: tuple[float, ...] = ()
    fault: tuple[str, str] | None = None

    def numbers(self) -> tuple[float, ...]:
        return (self.value, *self.slopes)


@dataclass
class Verdicts:
    """`wrong`: (case, what). `points`: how many there were, and of these how many differences agreed with (`judged`),
    where they say nothing (`undecided`: a kink at the point, or chaos), and where the value is no number or a fault."""

    wrong: list[tuple[str, str]] = field(default_factory=list)
    points: int = 0
    judged: int = 0
    undecided: int = 0
    faults: int = 0


def run(path: Path, opts: Sequence[int] = (0,), verify: bool = False) -> Verdicts:
    """All programs of a file, at these of LLVM's levels; CompileError if it has errors. The interpreter and LLVM are
    given the same derivatives, those before all further passes."""
    with mock.patch.dict(os.environ, HYB_DEPTH=str(DEPTH), HYB_VERIFY=str(int(verify))):
        unit = Unit(path)
        names = [name.removeprefix("slope_") for name in unit.interface.fns if name.startswith("slope_")]
        lowered = values(unit, names)
        roots = surface.symbols(unit.interface)
        with deep_recursion():
            core = pipeline.reached(unit.core, unit.interface, later=not verify)
            core = pipeline.differentiated(core, roots, unit.checked.sources, each=verify)
            machine = Interpreter(core, depth_limit=DEPTH)
            for name, better in pipeline.PASSES:
                core = pipeline.passed(name, better, core, roots, verify)
            check_after("all passes", core)
            modules = loaded(unit, core, opts)
        found = Verdicts()
        for name in names:
            symbol = unit.interface.fns[f"slope_{name}"][0].symbol
            meant = [[interpreted(machine, symbol, point)] for point in POINTS]
            meant[0] += lowered.get(name, [])
            for module in modules:
                what = next(Program(name, module).judged(found, meant), None)
                if what is not None:
                    found.wrong.append((f"run_{name}", what))
                    break
        return found


def loaded(unit: Unit, core: ir.Program, opts: Sequence[int]) -> list[Module]:
    """The file compiled at these levels, from one text that is not divided: LLVM is not what is looked at."""
    entries, types, once = surface.symbols(unit.interface), surface.types(unit.interface, core), surface.once(unit.interface, core)
    tables = Tables()
    module = emit_modules(own(core), entries, types, once, [processors.vector_bytes(processors.HOST)], tables)[0]
    text = module.text([COUNTER])
    manifest = manifest_of(unit.path.stem, str(unit.path), unit.interface, core, tables, unit.checked.sources, {})
    found = []
    for opt in opts:
        code = Compiled(list(backend.objects([(whole_text(text), processors.HOST)], opt)), tables, text, processors.HOST, opt)
        found.append(load_artifact(container.pack(manifest, [code], "", []), trust=True))
    return found


def interpreted(machine: Interpreter, symbol: str, point: Point) -> Slope:
    """A call of a loss or of its derivatives on the interpreter."""
    p, x, xs, q = point
    try:
        given = machine.call(symbol, (p, x, (Buffer(list(xs)), len(xs)), q))[0]
    except InterpFault as fault:
        return Slope(fault=(fault.kind, fault.message))
    if isinstance(given, float):
        return Slope(given)
    value, by_x, (buffer, n) = given
    return Slope(value, (by_x, *list(buffer.items())[:n]))


def values(unit: Unit, names: list[str]) -> dict[str, list[Slope]]:
    """The value at the first point as lowered, before any pass, of losses over lists that take no derivatives themselves."""
    machine = Interpreter(unit.core, depth_limit=DEPTH)
    taking = takers(unit.core)
    losses = {name: unit.core.fns.get(f"loss_{name}") for name in names}
    return {
        name: [interpreted(machine, loss.name, POINTS[0])] for name, loss in losses.items()
        if loss is not None and loss.name not in taking and loss.params[2].type == LIST
    }  # fmt: skip


def takers(core: ir.Program) -> set[str]:
    """Functions that take derivatives, or call what does."""
    callers: dict[str, list[str]] = {}
    for name, fn in core.fns.items():
        for other in mentions(fn):
            callers.setdefault(other, []).append(name)
    found, ahead = set[str](), [name for name, fn in core.fns.items() if gradients(fn)]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += callers.get(name, ())
    return found


@dataclass
class Program:
    name: str
    module: Module

    def slope(self, point: Point) -> Slope:
        try:
            value, by_x, by_xs = getattr(self.module, f"slope_{self.name}")(*point)
        except hybridc.RuntimeFault as fault:
            return Slope(fault=(type(fault).__name__, str(fault)))
        return Slope(value, (by_x, *by_xs))

    def judged(self, found: Verdicts, meant: list[list[Slope]]) -> Iterator[str]:
        """What is wrong with it; the tally goes into `found`. `meant`: what was interpreted at each point."""
        part = self.module._parts[0].program
        before = part.live_blocks()
        for i, point in enumerate(POINTS):
            native = self.slope(point)
            found.points += 1
            for other in meant[i]:
                if not alike(native, other):
                    yield f"point {i}: interpreter {shown(other)}\n  compiled {shown(native)}"
            if native.fault is not None or not all(map(math.isfinite, native.numbers())):
                found.faults += 1
                continue
            said = [self.difference(point, native, at) for at in range(len(native.slopes))]
            for at, (slope, by) in enumerate(zip(native.slopes, said, strict=True)):
                if by is not None and by != slope:
                    yield f"point {i}: WRONG SLOPE {at}: {slope} where differences give {by}"
            found.undecided += None in said
            found.judged += None not in said
        left = part.live_blocks() - before
        if left:
            yield f"compiled leaves {left} blocks"

    def difference(self, point: Point, found: Slope, at: int) -> float | None:
        """One of the derivatives by central differences: the one that was `found` if they agree with it, or what two
        widths agree on far better, and both sides; None if there is no such, or the function is so steep that the
        derivative is rounding."""
        slope, middle = found.slopes[at], found.value
        size = max(map(abs, found.numbers()))
        last = math.nan
        settled: float | None = None
        for h in WIDTHS:
            up, down = (self.slope(moved(point, at, by)) for by in (h, -h))
            half_up, half_down = (self.slope(moved(point, at, by)) for by in (h / 2, -h / 2))
            if any(s.fault is not None for s in (up, down, half_up, half_down)):
                continue
            wide, narrow = (up.value - down.value) / (2 * h), (half_up.value - half_down.value) / h
            now = (4 * narrow - wide) / 3
            rounding = ROUNDING * size / h
            if abs(now - slope) <= CLOSE * (1 + max(abs(now), abs(slope))) + rounding:
                return slope
            right, left = (half_up.value - middle) / (h / 2), (middle - half_down.value) / (h / 2)
            smooth = abs(right - left) <= 1e-2 * (1 + abs(now))
            if smooth and abs(now - last) <= min(1e-4 * (1 + abs(now)), 0.1 * abs(now - slope) - rounding):
                settled = now
            last = now
        return settled if ROUNDING * size < CLOSE else None


def moved(point: Point, at: int, by: float) -> Point:
    """A point with one of its floats moved: `x`, or an element of `xs`."""
    p, x, xs, q = point
    if at == 0:
        return p, x + by, xs, q
    return p, x, [v + by if i == at - 1 else v for i, v in enumerate(xs)], q


def alike(a: Slope, b: Slope) -> bool:
    """Whether both are the same but for rounding; one may be without derivatives."""
    if a.fault is not None or b.fault is not None:
        return a.fault is not None and b.fault is not None and a.fault[0] == b.fault[0]
    scale = 1 + max([abs(n) for n in a.numbers() if math.isfinite(n)], default=0.0)
    near = max(ALIKE, ROUNDING * scale) * scale
    pairs = zip(a.numbers(), b.numbers(), strict=bool(a.slopes and b.slopes))
    return all(x == y or abs(x - y) <= near or math.isnan(x) and math.isnan(y) for x, y in pairs)


def shown(s: Slope) -> str:
    return repr(s.fault) if s.fault is not None else " ".join(map(repr, s.numbers()))
