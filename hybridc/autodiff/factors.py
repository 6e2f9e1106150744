"""The product of all other factors, which is the derivative of a product by each of them.

It is the product divided by the factor where none is 0. Where one is, factors before and after each are multiplied, in
two loops: so derivatives of this are right too, where choosing between numbers would have given 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.autodiff.tangent import Tangents
from hybridc.core import tensor_build as t
from hybridc.core.builder import Builder, integer
from hybridc.core.ir import Atom, Const, TensorT, Var
from hybridc.core.types import elem, rank, type_key


def others(tangents: Tangents, b: Builder, x: Atom, product: Atom, axes: tuple[int, ...]) -> Atom:
    """Of each element of `x` along the axes, whose product is `product`; as a tensor like `x`."""
    count = rank(x.type)
    beside: list[t.Axes] = [tuple(range(count)), t.left_out(count, axes)]
    zero = t.map(b, "eq", [x, Const(0.0, elem(x.type))], [tuple(range(count)), (None,) * count])
    some = t.reduce(b, "any", zero, range(count))

    def multiplied() -> list[Atom]:
        kept = [i for i in range(count) if i not in axes]
        sizes = t.dims(b, x)
        order = [*axes, *kept]
        rows, columns = t.product(b, [sizes[i] for i in axes]), t.product(b, [sizes[i] for i in kept])
        matrix = t.reshape(b, t.transpose(b, x, order), [rows, columns])
        found = t.reshape(b, _in_columns(tangents, b, matrix), [sizes[i] for i in order])
        return [t.transpose(b, found, [order.index(i) for i in range(count)])]

    def divided() -> list[Atom]:
        return [t.map(b, "div", [product, x], [beside[1], beside[0]])]

    return tangents.choose(b, some, multiplied, divided, [x.type])[0]


def _in_columns(tangents: Tangents, b: Builder, matrix: Atom) -> Atom:
    kind = TensorT(elem(matrix.type), (None, None))

    def body(b: Builder, v: list[Var]) -> Sequence[Atom]:
        (x,) = v
        rows, columns = t.dims(b, x)
        one = Const(1.0, elem(x.type))
        last = b.op("sub", [rows, integer(1)], rows.type)

        def times(found: Atom, so_far: Atom, i: Atom) -> list[Atom]:
            here = t.map(b, "mul", [t.index(b, found, ["i", ""], [i]), so_far])
            return [t.update(b, found, ["i", ""], here, [i], (0,)),
                    t.map(b, "mul", [so_far, t.index(b, x, ["i", ""], [i])])]

        ones = t.full(b, one, [columns])
        before = tangents.count_up(
            b, rows, [t.full(b, one, [rows, columns]), ones], lambda i, s: times(s[0], s[1], i))
        after = tangents.count_up(
            b, rows, [before[0], ones], lambda i, s: times(s[0], s[1], b.op("sub", [last, i], i.type)))
        return after[:1]

    name = tangents.helper(f"other factors {type_key(kind)}", [("x", kind)], [kind], body)
    return b.call(name, [matrix], [kind])[0]
