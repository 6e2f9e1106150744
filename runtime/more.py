"""What a module that is loaded from source may ask the compiler for, when Python calls for it."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Table = Literal["fns", "methods", "gradients", "pullbacks", "curvatures"]
"""Where an entry stands in a manifest."""


class Unfit(Exception):
    """The configuration cannot be; the message says why."""


class More(NamedTuple):
    """Configurations of models (declaration key, configuration), and the function or, of the first model, the method or
    derivative of a method that is to be compiled for them; without `call` all that concerns the first model. `leading`
    says how many dimensions `*` names of the call stand for."""

    models: tuple[tuple[str, list[Any]], ...]
    call: str = ""
    table: Table = "fns"
    leading: tuple[tuple[str, int], ...] = ()
