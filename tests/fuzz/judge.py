"""Outcomes of compiled programs held to the oracle's."""

from __future__ import annotations

import numpy as np

from tests.fuzz.compare import same, shown
from tests.fuzz.engines import Outcome
from tests.fuzz.oracle import Oracle
from tests.fuzz.oracle_values import Unknown


def judged(text: str, found: dict[str, list[Outcome]]) -> tuple[list[tuple[str, str]], int]:
    """(case, what is wrong) of outcomes that are not the oracle's, and how many cases it knows."""
    oracle = Oracle(text)
    wrong: list[tuple[str, str]] = []
    known = 0
    for name, outcomes in found.items():
        try:
            with np.errstate(all="ignore"):
                wanted = oracle.outcomes(name)
        except Unknown:
            continue
        known += 1
        for i, (a, b) in enumerate(zip(wanted, outcomes, strict=True)):
            if not same(a, b):
                wrong.append((name, f"input {i}: oracle {shown(a)}\n  found {shown(b)}"))
                break
    return wrong, known
