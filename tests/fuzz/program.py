"""A case: a few functions and a driver, all from one seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.fuzz.base import Limits
from tests.fuzz.functions import Functions
from tests.fuzz.gradients import Gradients
from tests.fuzz.models import Models
from tests.fuzz.scalars import Scalars
from tests.fuzz.slopes.program import slopes
from tests.fuzz.text import Text
from tests.fuzz.types import T


class Maker(Gradients, Functions, Models, Text, Scalars):
    pass


@dataclass(frozen=True)
class Case:
    """`source` declares `run_NAME(p: int, q: int, x: f64, s: str) -> str` and what it needs; of a small differentiable
    program `slope_NAME` (slopes/program.py)."""

    name: str
    seed: str
    source: str
    subject: str = "all"
    used: tuple[str, ...] = ()
    """What a small differentiable program is put together of."""


def case(seed: str, name: str, subject: str = "all", variant: int | None = None) -> Case:
    """The case for a seed; with a variant, the same program written another way."""
    rng = random.Random(f"{seed} size")
    if subject == "small":
        return _small(seed, name, rng, variant)
    if subject in ("slopes", "woven"):
        made = slopes(seed, name, subject == "woven")
        return Case(name, seed, "\n\n".join(made.decls) + "\n", subject, tuple(sorted(made.used)))
    if subject == "tiny":
        return _tiny(seed, name, rng, variant)
    limits = Limits(statements=rng.choice((2, 3, 4, 7)), expression=rng.choice((2, 3, 3, 4)), depth=rng.choice((2, 3)),
                    fault=rng.choice((0.0, 0.03, 0.1)))  # fmt: skip
    style = None if variant is None else random.Random(f"{seed} {variant}")
    maker = Maker(seed, name, limits, style)
    kind = rng.random() if subject == "all" else {"data": 0.0, "tensors": 0.8, "models": 0.95, "gradients": 2}[subject]
    if kind > 1:
        maker.loss(f"loss_{name}")
    elif kind < 0.75:
        maker.choose_types()
        maker.functions(rng.choice((1, 1, 1, 2, 2, 3)))
    elif kind < 0.9:
        maker.tensor_fns += [maker.tensor_function(f"t{name}_{i}") for i in range(rng.choice((1, 1, 2)))]
    else:
        maker.models.append(maker.model())
    if kind > 1:
        maker.slopes(f"run_{name}", f"loss_{name}")
    else:
        maker.driver(f"run_{name}")
    return Case(name, seed, "\n\n".join(maker.decls) + "\n", subject)


def _small(seed: str, name: str, rng: random.Random, variant: int | None) -> Case:
    """A program of ten to forty lines about one thing. 100 with numbers in a row draw their containers from the same few
    types, so that a file of them needs few instances of the library."""
    limits = Limits(statements=rng.choice((1, 2, 3)), expression=rng.choice((1, 2, 2)), depth=rng.choice((1, 1, 2)),
                    fault=rng.choice((0.0, 0.03, 0.1)))  # fmt: skip
    maker = Maker(seed, name, limits, None if variant is None else random.Random(f"{seed} {variant}"))
    kind = rng.random()
    if kind < 0.85:
        maker.choose_types(_shared_types(maker, seed, 100, 5))
        maker.functions(1)
    elif kind < 0.95:
        maker.tensor_fns.append(maker.tensor_function(f"t{name}_0"))
    else:
        maker.models.append(maker.model())
    maker.driver(f"run_{name}")
    return Case(name, seed, "\n\n".join(maker.decls) + "\n", "small")


TINY = 600
"""How many tiny programs with numbers in a row draw from the same types."""


def _tiny(seed: str, name: str, rng: random.Random, variant: int | None) -> Case:
    """A program of three to ten lines about two or three things, mostly without a function of its own; it exports the
    one that is called, so that hardly more than these lines is compiled."""
    limits = Limits(statements=1, expression=rng.choice((1, 1, 2)), depth=1, fault=rng.choice((0.0, 0.1, 0.3)),
                    recursion=0.06, store=0.03, items=2)  # fmt: skip
    maker = Maker(seed, name, limits, None if variant is None else random.Random(f"{seed} {variant}"))
    kind = rng.random()
    if kind < 0.985:
        maker.scalars = tuple(rng.sample(maker.scalars, 3))
        maker.choose_types(_shared_types(maker, seed, TINY, 4))
    if kind < 0.8:
        maker.statements_of(f"run_{name}", rng.choice((0, 1, 1, 2)))
    else:
        if kind < 0.985:
            maker.functions(1)
        elif kind < 0.995:
            maker.tensor_fns.append(maker.tensor_function(f"t{name}_0"))
        else:
            maker.models.append(maker.model())
        maker.driver(f"run_{name}")
    return Case(name, seed, "\n\n".join([*maker.decls, f"export run_{name}"]) + "\n", "tiny")


def _shared_types(maker: Maker, seed: str, row: int, count: int) -> list[T]:
    """The same few types for each `row` of cases with numbers in a row."""
    stem, _, number = seed.rpartition("-")
    shared = random.Random(f"{stem} {int(number) // row if number.isdigit() else 0} types")
    return shared.sample(maker.common_types(shared), count)


LAYERS = "from nn import GRUCell, LayerNorm, Linear, MLP\n\n"
SEARCH = "from graphs import bfs\n\n"


def file_of(sources: Sequence[str]) -> str:
    """A file of cases."""
    text = "\n".join(sources)
    if "bfs(" in text and SEARCH not in text:
        text = SEARCH + text
    return LAYERS + text if "model " in text and LAYERS not in text else text
