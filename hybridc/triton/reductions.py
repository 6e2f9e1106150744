"""Reductions and products of tiles as Triton source."""

from __future__ import annotations

from hybridc.base.types import BF16, BOOL, F16, F32, FLOATS, Prim
from hybridc.core.ir import Op
from hybridc.kernels.graph import Node
from hybridc.triton.text import computed, narrowed


def dot(kind: Prim, left: str, right: str, total: str) -> str:
    """One step of a product of floats; half precision is multiplied as it is and added in f32."""
    if kind in (F16, BF16):
        return f"tl.dot({narrowed(kind, left)}, {right}, {total})"
    precision = ', input_precision="ieee"' if kind == F32 else ", out_dtype=tl.float64"
    return f"tl.dot({left}, {right}, {total}{precision})"


def fn_of(node: Node) -> str:
    assert isinstance(node.op, Op)
    return str(node.op.attr("fn"))


def identity(node: Node) -> str:
    return nothing(fn_of(node), node.type)


def nothing(fn: str, t: Prim) -> str:
    """What changes nothing in a reduction."""
    if t == BOOL:
        return "1" if fn == "all" else "0"
    if t in FLOATS:
        return {"sum": "0.0", "prod": "1.0", "max": 'float("-inf")', "min": 'float("inf")'}[fn]
    bits = {"int": 64, "i32": 32, "u8": 8}[t.name]
    low, high = (0, 255) if t.name == "u8" else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    return str({"sum": 0, "prod": 1, "max": low, "min": high}[fn])


def filled(shape: str, fn: str, t: Prim) -> str:
    """A tile to begin a reduction with."""
    return f"tl.full({shape}, {nothing(fn, t)}, {computed(t)})"


def step(node: Node, a: str, b: str) -> str:
    return combined(fn_of(node), node.type, a, b)


def combined(fn: str, t: Prim, a: str, b: str) -> str:
    """One step of a reduction, elementwise."""
    if t == BOOL:
        return f"{a} & ({b} != 0)" if fn == "all" else f"{a} | ({b} != 0)"
    if fn in ("sum", "prod"):
        return f"{a} {'+' if fn == 'sum' else '*'} {b}"
    return f"tl.{fn}imum({a}, {b}{', propagate_nan=tl.PropagateNan.ALL' if t in FLOATS else ''})"


def across(fn: str, t: Prim, tile: str) -> str:
    """A reduction of a tile along its columns. The hardware's max and min leave nan out."""
    if t == BOOL:
        return f"tl.{'min' if fn == 'all' else 'max'}({tile}.to(tl.int32), axis=1, keep_dims=True) != 0"
    if fn == "sum":
        text = f"tl.sum({tile}, axis=1, keep_dims=True)"
    elif fn == "prod":
        text = f"tl.reduce({tile}, 1, times, keep_dims=True)"
    elif t in FLOATS:
        return f"any_nan({tile}, tl.{fn}({tile}, axis=1, keep_dims=True))"
    else:
        text = f"tl.{fn}({tile}, axis=1, keep_dims=True)"
    return f"{text}.to({computed(t)})" if t not in FLOATS else text


__all__ = ["across", "combined", "dot", "filled", "fn_of", "identity", "nothing", "step"]
