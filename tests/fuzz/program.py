"""A case: a few functions and a driver, all from one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.fuzz.base import Limits
from tests.fuzz.closures import Closures
from tests.fuzz.functions import Functions
from tests.fuzz.scalars import Scalars
from tests.fuzz.text import Text


class Maker(Functions, Closures, Text, Scalars):
    pass


@dataclass(frozen=True)
class Case:
    """`source` declares `run_NAME(p: int, q: int, x: f64, s: str) -> str` and what it needs."""

    name: str
    seed: str
    source: str
    subject: str = "all"


def case(seed: str, name: str, subject: str = "all", variant: int | None = None) -> Case:
    """The case for a seed; with a variant, the same program written another way."""
    rng = random.Random(f"{seed} size")
    limits = Limits(statements=rng.choice((3, 5, 5, 8)), expression=rng.choice((2, 3, 3, 4)), depth=rng.choice((2, 3)),
                    fault=rng.choice((0.0, 0.03, 0.1)))  # fmt: skip
    style = None if variant is None else random.Random(f"{seed} {variant}")
    maker = Maker(seed, name, limits, style)
    maker.choose_types()
    maker.functions(rng.choice((1, 1, 2, 2, 3)))
    maker.driver(f"run_{name}")
    return Case(name, seed, "\n\n".join(maker.decls) + "\n", subject)
