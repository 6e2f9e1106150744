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
from tests.fuzz.text import Text


class Maker(Gradients, Functions, Models, Text, Scalars):
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


LAYERS = "from nn import GRUCell, LayerNorm, Linear, MLP\n\n"


def file_of(sources: Sequence[str]) -> str:
    """A file of cases."""
    text = "\n".join(sources)
    return LAYERS + text if "model " in text and not text.startswith("from nn") else text
