"""Whether outcomes agree: everything exactly, but floats within a bound."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from hybridc_runtime.faults import DEFAULTS

from tests.fuzz.engines import Outcome, Report

NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?|-?\d+(?:e[-+]?\d+)|-?\binf\b|\bnan\b")
WRONG_SLOPE = "WRONG SLOPE"
"""What a differentiable program says whose derivative is not what central differences give."""
RELATIVE = 2e-4
"""Of the floats of an outcome. Case results are f32 or f64 after a chain of operations with contraction allowed, so
this is no statement about one operation; bits are compared where programs compute exactly (`types.T`)."""


UNSAID = "(not said)"
"""The message of a fault of which only the kind is known."""


def same_text(a: str, b: str) -> bool:
    if a == b:
        return True
    if NUMBER.sub("#", a) != NUMBER.sub("#", b):
        return False
    found = zip(NUMBER.findall(a), NUMBER.findall(b), strict=True)
    return all(_close(float(x), float(y)) for x, y in found)


def _close(x: float, y: float) -> bool:
    if math.isnan(x) or math.isnan(y):
        return math.isnan(x) and math.isnan(y)
    return x == y or math.isclose(x, y, rel_tol=RELATIVE, abs_tol=RELATIVE)


def same(a: Outcome, b: Outcome, lines: bool = True) -> bool:
    if a.printed != b.printed:
        return False
    if a.fault is not None and b.fault is not None:
        alike = a.fault[0] == b.fault[0] if UNSAID in (a.fault[1], b.fault[1]) else _kind(a.fault) == _kind(b.fault)
        return alike and (not lines or a.fault[2] == b.fault[2])
    return a.text is not None and b.text is not None and same_text(a.text, b.text)


def _kind(fault: tuple[str, str, int]) -> tuple[str, str]:
    kind, message, _ = fault
    return kind, message or DEFAULTS.get(kind, "")


def disagreements(report: Report) -> Iterator[tuple[str, str]]:
    """(case, what is wrong) of each case on which engines differ or leave memory behind."""
    engines = list(report.outcomes)
    first = report.outcomes[engines[0]]
    for name, wanted in first.items():
        for engine in engines[1:]:
            for i, (a, b) in enumerate(zip(wanted, report.outcomes[engine][name], strict=True)):
                if not same(a, b):
                    yield name, f"input {i}: {engines[0]} {shown(a)}\n  {engine} {shown(b)}"
                    break
        slope = next((o.text for o in wanted if o.text is not None and WRONG_SLOPE in o.text), None)
        if slope is not None:
            yield name, slope
    for engine, name, left in report.leaks:
        yield name, f"{engine} leaves {left} blocks"


def changed(report: Report, variant: Report) -> Iterator[tuple[str, str]]:
    """(case, what is different) of each case that means something else in a variant of the program; places of faults
    are others there."""
    first = report.outcomes["interpreter"]
    for name, wanted in first.items():
        for i, (a, b) in enumerate(zip(wanted, variant.outcomes["interpreter"][name], strict=True)):
            if not same(a, b, lines=False):
                yield name, f"input {i}: {shown(a)}\n  as a variant {shown(b)}"
                break


def shown(o: Outcome) -> str:
    return f"{o.text if o.fault is None else o.fault!r}" + (f" printed {o.printed!r}" if o.printed else "")
