"""Derivatives that are known not to exist only when the program runs: then they are faults."""

from __future__ import annotations

from collections.abc import Callable

from hybridc.autodiff.tangent import Tangents
from hybridc.core.builder import Builder, boolean
from hybridc.core.ir import STR, Atom, Block, Fault, If, Op, Yield


def no_derivative(b: Builder, why: str) -> None:
    text = b.op("str", [], STR, text=why)
    b.add(If((), boolean(True), Block((), Fault("ValueError", (text,), b.span)), Block((), Yield()), b.span))


def at_host(b: Builder, op: Op, tangents: Tangents, is_active: Callable[[Atom], bool]) -> None:
    """Where a derivative would have to go through a Python function."""
    if op.op == "host" and any(tangents.active(o.type) for o in op.outs) and any(map(is_active, op.args)):
        no_derivative(b, "a Python function has no derivative")
