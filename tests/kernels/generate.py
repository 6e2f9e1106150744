"""Random tensor functions of Core, for holding fused programs to unfused ones."""

from __future__ import annotations

import random

from hybridc.core import tensor_build as t
from hybridc.core.builder import Builder, integer
from hybridc.core.ir import F32, Atom, Const, Fn, TensorT, Var, Yield
from hybridc.core.types import rank

ONE = "exp log sqrt abs neg tanh sigmoid sin cos erf floor sign".split()
TWO = "add sub mul maximum minimum div".split()
REDUCTIONS = "sum max min prod".split()
SIZES = (0, 1, 2, 3, 7, 8, 9, 16, 31, 64, 65, 130)


class Made:
    """A function of tensors, with shapes for its arguments."""

    def __init__(self, seed: int):
        self.choose = random.Random(seed)
        self.b = Builder()
        self.static = self.choose.random() < 0.5
        self.rows = [self.choose.choice((1, 2, 5, 13, 40)) for _ in range(self.choose.randrange(3))]
        self.columns = self.choose.choice(SIZES)
        self.params: list[Var] = []
        self.shapes: list[tuple[int, ...]] = []
        self.shape_of: dict[int, tuple[int, ...]] = {}
        self.b.open()
        self.values: list[Atom] = [self.param((*self.rows, self.columns)) for _ in range(2)]
        for _ in range(self.choose.randrange(3, 14)):
            self.step()
        results = [v for v in self.values[-self.choose.randrange(1, 4) :] if rank(v.type)]
        results = list(dict.fromkeys(results)) or [self.values[0]]
        outs = tuple(r.type for r in results)
        self.fn = Fn("f", tuple(self.params), outs, self.b.close(Yield(tuple(results))))

    def param(self, shape: tuple[int, ...]) -> Var:
        dims = tuple(d if self.static else None for d in shape)
        v = self.b.var(TensorT(F32, dims), f"p{len(self.params)}")
        self.params.append(v)
        self.shapes.append(shape)
        self.shape_of[v.id] = shape
        return v

    def shape(self, a: Atom) -> tuple[int, ...]:
        return self.shape_of[a.id] if isinstance(a, Var) else ()

    def add(self, a: Atom, shape: tuple[int, ...]) -> None:
        if isinstance(a, Var):
            self.shape_of[a.id] = shape
            self.values.append(a)

    def step(self) -> None:
        x = self.choose.choice(self.values[-4:])
        shape = self.shape(x)
        kind = self.choose.choice(("one", "one", "two", "two", "two", "reduce", "product", "slice", "concat", "scalar"))
        if not shape:
            return
        match kind:
            case "one":
                self.add(t.map(self.b, self.choose.choice(ONE), [x]), shape)
            case "scalar":
                number = Const(self.choose.choice((0.5, -2.0, 0.0, -0.0, 1.5)), F32)
                self.add(t.map(self.b, self.choose.choice(TWO), [x, number]), shape)
            case "two":
                self.two(x, shape)
            case "reduce" if 0 not in shape:
                how, whole = self.choose.random(), list(range(len(shape)))
                axes = whole[-1:] if how < 0.6 else whole[: self.choose.randrange(1, len(shape))] if (
                    how < 0.85 and len(shape) > 1) else whole
                left = tuple(s for i, s in enumerate(shape) if i not in axes)
                self.add(t.reduce(self.b, self.choose.choice(REDUCTIONS), x, axes), left)
            case "product" if len(shape) == 2:
                n, turned = self.choose.choice((1, 5, 16, 33, 70)), self.choose.random() < 0.5
                w = self.param((n, shape[1]) if turned else (shape[1], n))
                self.add(t.matmul(self.b, x, w, tb=turned), (shape[0], n))
            case "slice" if shape[-1] >= 3 and self.static:
                start, stop = sorted(self.choose.sample(range(shape[-1]), 2))
                y = t.index(self.b, x, [""] * (len(shape) - 1) + ["ab"], [integer(start), integer(stop)])
                self.add(y, (*shape[:-1], stop - start))
            case "concat":
                self.add(t.concat(self.b, [x, x], len(shape) - 1), (*shape[:-1], 2 * shape[-1]))

    def two(self, x: Atom, shape: tuple[int, ...]) -> None:
        """With a value of the same shape, one for each row, or one for each column."""
        whole = tuple(range(len(shape)))
        others = [(v, self.shape(v)) for v in self.values if self.shape(v)]
        same = [(v, whole) for v, s in others if s == shape]
        rows = [(v, (*whole[:-1], None)) for v, s in others if s == shape[:-1]]
        how = self.choose.random()
        if how < 0.25:
            y, axes = self.param(shape[-1:]), (*(None,) * (len(shape) - 1), 0)
        elif how < 0.5 and len(shape) > 1:
            y, axes = self.choose.choice(rows or [(self.param(shape[:-1]), (*whole[:-1], None))])  # type: ignore[assignment]
        else:
            y, axes = self.choose.choice(same)  # type: ignore[assignment]
        operands = [(x, whole), (y, axes)]
        self.choose.shuffle(operands)
        out = t.map(self.b, self.choose.choice(TWO), [o for o, _ in operands], [a for _, a in operands])  # type: ignore[misc]
        self.add(out, shape)
