"""Initial values of parameters: made of counter-based random bits, so that they depend on the key alone."""

from __future__ import annotations

import math

from hybridc.base.types import F64, FLOATS, Prim
from hybridc.core import ir
from hybridc.core.builder import integer
from hybridc.front.check import tree
from hybridc.front.lower.core import Lowerer
from hybridc.front.lower.tensor_base import concrete_elem, number, sizes_of, t

GOLDEN = 0x9E3779B97F4A7C15
MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def _signed(value: int) -> ir.Const:
    value &= (1 << 64) - 1
    return integer(value - (1 << 64) if value >> 63 else value)


def random_bits(lw: Lowerer, key: ir.Atom, count: ir.Atom) -> ir.Atom:
    """`count` ints: SplitMix64 of the key and 1, 2, ..."""
    b = lw.b
    steps = t.map(b, "mul", [t.map(b, "add", [t.iota(b, count), integer(1)]), _signed(GOLDEN)])
    z = t.map(b, "add", [steps, key])
    for shift, factor in zip((30, 27), MIX, strict=True):
        z = t.map(b, "bit_xor", [z, t.map(b, "lshr", [z, integer(shift)])])
        z = t.map(b, "mul", [z, _signed(factor)])
    return t.map(b, "bit_xor", [z, t.map(b, "lshr", [z, integer(31)])])


def uniform(lw: Lowerer, key: ir.Atom, count: ir.Atom) -> ir.Atom:
    """f64 in [0, 1)."""
    high = t.map(lw.b, "lshr", [random_bits(lw, key, count), integer(11)])
    return t.map(lw.b, "mul", [t.cast(lw.b, high, F64), ir.Const(2.0**-53, F64)])


def normal(lw: Lowerer, key: ir.Atom, count: ir.Atom) -> ir.Atom:
    """f64, by Box and Muller."""
    b = lw.b
    u = uniform(lw, key, count)
    angle = t.map(b, "mul", [uniform(lw, b.op("bit_xor", [key, _signed(MIX[1])], ir.INT), count),
                             ir.Const(2 * math.pi, F64)])
    logs = t.map(b, "log", [t.map(b, "sub", [ir.Const(1.0, F64), u], [(None,), (0,)])])
    radius = t.map(b, "sqrt", [t.map(b, "mul", [logs, ir.Const(-2.0, F64)])])
    return t.map(b, "mul", [radius, t.map(b, "cos", [angle])])


def _fans(lw: Lowerer, sizes: list[ir.Atom]) -> tuple[ir.Atom, ir.Atom]:
    """Inputs and outputs of a weight [out, in, ...], as torch counts them."""
    if len(sizes) < 2:
        return sizes[0], sizes[0]
    field = t.product(lw.b, sizes[2:])
    return t.mul(lw.b, sizes[1], field), t.mul(lw.b, sizes[0], field)


def _float(lw: Lowerer, n: ir.Atom) -> ir.Atom:
    return t.cast(lw.b, n, F64)


def init_tensor(lw: Lowerer, node: tree.Builtin, key: ir.Atom) -> ir.Atom:
    """A parameter's first value; `node` is its initialiser, of the parameter's type; `key` an int of its own."""
    b = lw.b
    numbers = [lw.expr(a) for a in node.args]
    lw.b.span = node.span
    kind = concrete_elem(lw, node.type)
    assert kind in FLOATS
    sizes = sizes_of(lw, node.type)
    if node.name in ("zeros", "ones", "constant"):
        fixed = {"zeros": 0.0, "ones": 1.0}
        return t.full(b, numbers[0] if node.name == "constant" else ir.Const(fixed[node.name], kind), sizes)
    count = t.product(b, sizes)
    if node.name == "orthogonal":
        flat = _shaped(lw, normal(lw, key, count), [sizes[0], t.product(b, sizes[1:])], kind)
        return t.reshape(b, b.op("orthogonal", [flat], flat.type), sizes)
    if node.name in ("uniform", "glorot"):
        x = uniform(lw, key, count)
        if node.name == "uniform":
            low, high = (_float(lw, n) for n in numbers)
        else:
            fan_in, fan_out = _fans(lw, sizes)
            high = b.op("sqrt", [b.op("div", [ir.Const(6.0, F64), _float(lw, t.add(b, fan_in, fan_out))], F64)], F64)
            low = b.op("neg", [high], F64)
        width = b.op("sub", [high, low], F64)
        return _shaped(lw, t.map(b, "add", [t.map(b, "mul", [x, width]), low]), sizes, kind)
    if node.name in ("normal", "_normal_but"):
        scale = _float(lw, numbers[0])
    else:
        scale = b.op("sqrt", [b.op("div", [ir.Const(2.0, F64), _float(lw, _fans(lw, sizes)[0])], F64)], F64)
    found = _shaped(lw, t.map(b, "mul", [normal(lw, key, count), scale]), sizes, kind)
    if node.name == "_normal_but":
        rows = t.cast(b, t.iota(b, sizes[0]), kind)
        kept = t.cast(b, t.map(b, "ne", [rows, numbers[1]]), kind)
        found = t.map(b, "mul", [found, kept], [tuple(range(len(sizes))), (0, *(None,) * (len(sizes) - 1))])
    return found


def _shaped(lw: Lowerer, x: ir.Atom, sizes: list[ir.Atom], kind: Prim) -> ir.Atom:
    return t.reshape(lw.b, t.cast(lw.b, x, kind), sizes)


__all__ = ["init_tensor", "normal", "number", "random_bits", "uniform"]
