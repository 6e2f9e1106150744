"""Products of a matrix with a vector in a function that calls itself: what each adds to the derivative of the matrix is
a product of two vectors. They are kept, in a list that goes through all calls as adjoints do, and become one product of
matrices where the function is called from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hybridc.autodiff.tangent import Adjoint, Tangents
from hybridc.base.immutable import replace
from hybridc.core import tensor_build as t
from hybridc.core.builder import Builder, integer
from hybridc.core.ir import (
    BOOL,
    INT,
    RETURN,
    Atom,
    Block,
    Call,
    Const,
    EnumDef,
    EnumT,
    Exit,
    Fn,
    If,
    Op,
    OptionT,
    Parallel,
    Stmt,
    TensorT,
    Type,
    Var,
    Yield,
)
from hybridc.core.types import elem
from hybridc.core.walk import highest_id, statements

if TYPE_CHECKING:
    from hybridc.autodiff.reverse import Key, Reverse

LARGE = 4096
"""Elements of a matrix for which this is worth while."""
PAIR = "Pair"


@dataclass(frozen=True)
class Matrix:
    """A part of a parameter: `height` rows and `width` columns of the vector from `at` on. `key` is where the adjoint
    of the vector is; `param` the parameter of the function that it belongs to."""

    key: Key
    param: Var
    vector: Var
    at: int
    height: int
    width: int


class Kept:
    """The matrices of one function, and what is kept of each."""

    def __init__(self, r: Reverse):
        self.matrices: list[Matrix] = []
        self.kinds: list[OptionT] = []
        self.uses: set[int] = set()
        """Identities of the statements that keep something."""
        self.own = r.fn.name
        leaves = [(p.id, k) for p, active in zip(r.fn.params, r.mask, strict=True) if active
                  for k in range(len(r.tangents.leaves(p.type)))]
        self.places = {key: i for i, key in enumerate(leaves)}
        """Of each leaf among the adjoints that the function gives back."""
        stmts = list(statements(r.fn.body))
        calls = [s for s in stmts if isinstance(s, Call) and s.fn == r.fn.name]
        if not calls or any(isinstance(s, Parallel) for s in stmts):
            return
        for s in stmts:
            for a in s.args if isinstance(s, Op) and s.op == "matmul" else ():
                found = _matrix(r, a)
                if found is not None and 1 in t.static(s.outs[0])[-2:]:  # type: ignore[union-attr]
                    self.uses.add(id(s))
                    if found not in self.matrices:
                        self.matrices.append(found)
                        self.kinds.append(_pairs(r.tangents, elem(found.vector.type)))
        self.uses.update(map(id, calls))

    def keys(self) -> Iterator[tuple[Var, int, Type]]:
        """Where the lists are among the adjoints under way: after those of a value's own leaves."""
        for i, (m, kind) in enumerate(zip(self.matrices, self.kinds, strict=True)):
            yield m.param, -1 - i, kind

    def within(self, stmts: Sequence[Stmt]) -> bool:
        return any(id(s) in self.uses for s in stmts)

    def passed_on(self, r: Reverse, s: Call) -> bool:
        """Is it a call of the function itself, with the same matrices?"""
        places = {p.id: i for i, p in enumerate(r.fn.params)}
        return bool(self.matrices) and s.fn == self.own and all(
            s.args[places[m.param.id]] == m.param for m in self.matrices)

    def add(self, r: Reverse, x: Atom, left: Atom, right: Atom) -> bool:
        """Keep two vectors whose product is to be added to the derivative of `x`; False if it has to be added here."""
        found = _matrix(r, x)
        if found not in self.matrices:
            return False
        assert found is not None
        i = self.matrices.index(found)
        param, leaf, kind = list(self.keys())[i]
        assert isinstance(kind, OptionT)
        vectors = [t.reshape(r.b, v, [integer(n)]) for v, n in ((left, found.height), (right, found.width))]
        r.into(found.vector, lambda sums: sums)  # what the product will be added to has elements
        old = r.pop_or_zero(param, leaf, kind)
        pair = r.b.op("enum", [*vectors, old], kind.item, case=PAIR)
        r.env[param.id, leaf] = Adjoint(r.b.op("some", [pair], kind))
        return True

    def from_outside(self, tangents: Tangents, fn: Fn, within: str) -> Fn:
        """The function without the lists, which starts and ends them; `within` has them as its last parameters and
        results."""
        n = len(self.kinds)
        b = Builder(highest_id(fn) + 1)
        b.open()
        given = fn.params[: len(fn.params) - n]
        found = b.call(within, [*given, *(tangents.zero(b, kind) for kind in self.kinds)], fn.results)
        own = len(fn.results) - n
        sums: dict[int, Atom] = dict(enumerate(found[:own]))
        for m, pairs in zip(self.matrices, found[own:], strict=True):
            at = self.places[m.key]
            sums[at] = added(tangents, b, m, sums[at], pairs)
        body = b.close(Exit(RETURN, tuple(sums.values())))
        return replace(fn, params=given, results=fn.results[:own], body=body)


def _matrix(r: Reverse, x: Atom) -> Matrix | None:
    view = r.regions.makers.get(x.id) if isinstance(x, Var) and r.is_active(x) else None
    if view is None or view.op != "tensor_view" or len(view.args) != 4:
        return None
    vector, *numbers = view.args
    assert isinstance(vector, Var)
    key = r.key(vector, 0)
    param = next((p for p in r.fn.params if p.id == key[0]), None)
    sizes = [n.value for n in numbers if isinstance(n, Const)]
    if param is None or len(sizes) < 3 or sizes[1] * sizes[2] < LARGE:
        return None
    return Matrix(key, param, vector, *map(int, sizes))


def _pairs(tangents: Tangents, element: Type) -> OptionT:
    """A list of pairs of vectors, the last one first; none is empty."""
    name = f"vectors of {element.name}"  # type: ignore[union-attr]
    kind = OptionT(EnumT(name))
    if name not in tangents.program.enums:
        vector = TensorT(element, (None,))  # type: ignore[arg-type]
        fields = (("left", vector), ("right", vector), ("rest", kind))
        tangents.program.enums[name] = EnumDef(name, ((PAIR, fields),))
    return kind


def added(tangents: Tangents, b: Builder, m: Matrix, d: Atom, pairs: Atom) -> Atom:
    """The adjoint of the vector, of its size, with the sum of all products."""
    kind = d.type

    def body(b: Builder, v: list[Var]) -> Sequence[Atom]:
        d, at, pairs = v

        def product() -> Sequence[Atom]:
            zero = Const(0.0, elem(kind))
            (count,) = _each(tangents, b, pairs, [integer(0)], lambda s, left, right: [t.add(b, s[0], integer(1))])
            rows = [t.full(b, zero, [count, integer(n)]) for n in (m.height, m.width)]
            _, lefts, rights = _each(tangents, b, pairs, [integer(0), *rows], lambda s, left, right: [
                t.add(b, s[0], integer(1)), *(t.update(b, x, ["i", ""], row, [s[0]], (0,))
                                              for x, row in zip(s[1:], (left, right), strict=True))])
            size = m.height * m.width
            flat = t.reshape(b, t.matmul(b, lefts, rights, True, False), [integer(size)])
            end = t.add(b, at, integer(size))
            return [b.op("update", [d, flat, at, end], kind, kinds=("ab",), axes=(0,), fn="add")]

        return tangents.choose(b, b.op("is_some", [pairs], BOOL), product, lambda: [d], [kind])

    name = tangents.helper(f"adjoint products {elem(kind).name} {m.height} {m.width}",
                           [("d", kind), ("at", INT), ("pairs", pairs.type)], [kind], body)
    return b.call(name, [d, integer(m.at), pairs], [kind])[0]


def _each(tangents: Tangents, b: Builder, pairs: Atom, state: Sequence[Atom],
          turn: Callable[[list[Var], Var, Var], list[Atom]]) -> list[Var]:
    """Along the list, over values that each turn replaces."""
    kind = pairs.type
    assert isinstance(kind, OptionT) and isinstance(kind.item, EnumT)
    label, rest, params = b.label(), b.var(kind), [b.var(x.type) for x in state]
    b.open()
    more = b.op("is_some", [rest], BOOL)
    b.add(If((), more, Block((), Yield()), Block((), Exit(label, tuple(params)))))
    left, right, following = tangents.expect_case(b, b.op("unwrap", [rest], kind.item), kind.item, PAIR)
    body = b.close(Yield((following, *turn(params, left, right))))
    return list(b.loop(label, [rest, *params], [pairs, *state], body, [x.type for x in state]))
