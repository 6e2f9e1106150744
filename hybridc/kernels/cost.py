"""What kernels move and compute: bytes and operations, as polynomials over sizes that are known only at run time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hybridc.base.types import Prim
from hybridc.core.ir import Atom, Op, TensorT, Var
from hybridc.core.types import elem
from hybridc.kernels.axes import Axes, Unfit, relate

BYTES = {"bool": 1, "u8": 1, "i32": 4, "int": 8, "f64": 8, "f32": 4, "f16": 2, "bf16": 2}
MOVES = frozenset(
    "reshape broadcast transpose index update concat take gather stack join windows iota tensor tensor_view shaped"
    " to_device to_host dim nonzero".split()
)
"""Operators that compute nothing."""


@dataclass(frozen=True)
class Poly:
    """A sum of products of named sizes: {names in order: factor}."""

    terms: Mapping[tuple[str, ...], int] = field(default_factory=dict)

    @staticmethod
    def of(n: int) -> Poly:
        return Poly({(): n} if n else {})

    @staticmethod
    def named(name: str) -> Poly:
        return Poly({(name,): 1})

    def __add__(self, other: Poly) -> Poly:
        out = dict(self.terms)
        for k, v in other.terms.items():
            out[k] = out.get(k, 0) + v
        return Poly({k: v for k, v in out.items() if v})

    def __mul__(self, other: Poly) -> Poly:
        out: dict[tuple[str, ...], int] = {}
        for a, x in self.terms.items():
            for b, y in other.terms.items():
                k = tuple(sorted(a + b))
                out[k] = out.get(k, 0) + x * y
        return Poly({k: v for k, v in out.items() if v})

    @property
    def number(self) -> int | None:
        """If nothing in it is open."""
        return None if any(self.terms) else self.terms.get((), 0)

    def __str__(self) -> str:
        parts = []
        for names, factor in sorted(self.terms.items(), key=lambda t: (-len(t[0]), t[0])):
            shown = f"{factor:,}".replace(",", " ")
            parts.append("·".join([shown, *names] if factor != 1 or not names else names))
        return " + ".join(parts) or "0"


@dataclass(frozen=True)
class Cost:
    read: Poly
    written: Poly
    operations: Poly


def cost_of(ops: Sequence[Op], inputs: Sequence[Atom], results: Sequence[Var]) -> Cost:
    """Of operators that run as one kernel: what it reads from memory once, what it writes, and its arithmetic: an
    operation for each element of a map and of what is reduced, two for each factor of a product."""
    sizes = _Sizes(ops)
    read = sum((sizes.bytes(a) for a in inputs if isinstance(a.type, TensorT)), Poly())
    written = sum((sizes.bytes(v) for v in results), Poly())
    return Cost(read, written, sum((sizes.operations(op) for op in ops), Poly()))


class _Sizes:
    """Sizes of the tensors of some operators, one name for all axes that agree."""

    def __init__(self, ops: Sequence[Op]):
        self.axes = Axes()
        inner = {o.id for op in ops for o in op.outs}
        for op in ops:
            for a in op.args:
                if isinstance(a, Var) and a.id not in inner and a.id not in self.axes.of_var:
                    self.axes.define(a, True)
            try:
                relate(op, self.axes)
            except Unfit:
                for o in op.outs:
                    self.axes.define(o, True)

    def size(self, v: Var, axis: int) -> Poly:
        c = self.axes.find(self.axes.of(v)[axis])
        static = self.axes.static[c]
        if static is not None:
            return Poly.of(static)
        known = self.axes.known_by[c]
        if known is not None:
            v, axis = known
        return Poly.named(f"{v.name or f'%{v.id}'}.{axis}")

    def count(self, a: Atom) -> Poly:
        total = Poly.of(1)
        if isinstance(a, Var) and isinstance(a.type, TensorT):
            for i in range(len(a.type.dims)):
                total = total * self.size(a, i)
        return total

    def bytes(self, a: Atom) -> Poly:
        t = elem(a.type)
        assert isinstance(t, Prim)
        return self.count(a) * Poly.of(BYTES[t.name])

    def operations(self, op: Op) -> Poly:
        out = op.outs[0]
        if op.op == "matmul":
            a = op.args[0]
            assert isinstance(a, Var) and isinstance(a.type, TensorT)
            inner = self.size(a, len(a.type.dims) - (2 if op.attr("ta") else 1))
            return self.count(out) * inner * Poly.of(2)
        if op.op in MOVES:
            return Poly()
        if op.op in ("reduce", "cumsum", "argsort", "tensor_equal"):
            return self.count(op.args[0])
        if op.op in ("put", "scatter"):
            return self.count(op.args[2])
        return self.count(out)


__all__ = ["Cost", "Poly", "cost_of"]
