"""Functions over small tensors with symbolic dimensions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.fuzz.base import Fn, Place, Production, Var
from tests.fuzz.closures import Closures
from tests.fuzz.types import BF16, BOOL, F16, INT, R32, R64, REALS, T, bound

SMOOTH = "sin cos tanh sigmoid relu silu softplus erf gelu abs".split()


HALVES = (F16, BF16)
"""Elements that hold exact values only, as scalars of these types do."""


def tensor(elem: T, *dims: str) -> T:
    return T("tensor", (elem,), ", ".join(dims))


def dims_of(t: T) -> list[str]:
    return t.name.split(", ") if t.kind == "tensor" else []


class Tensors(Closures):
    """`self.dims` are the dimensions that may be used in the function being written; none elsewhere."""

    dims: tuple[str, ...] = ()

    def tensor_type(self) -> T:
        elem = self.rng.choice((R32, R32, R32, R32, R64, R64, INT, INT, F16, BF16))
        rank = self.rng.choice((1, 1, 2, 2, 3))
        return tensor(elem, *(self.rng.choice(self.dims) for _ in range(rank)))

    def some_type(self) -> T:
        if self.dims and self.chance(0.6):
            return self.tensor_type()
        if self.dims:
            return self.rng.choice((INT, R32, R64, BOOL))
        return super().some_type()

    # ---- expressions
    def productions_of(self, t: T, depth: int) -> list[tuple[float, Production]]:
        found = super().productions_of(t, depth) if t.kind != "tensor" else []
        if t.kind == "tensor":
            found.append((1, lambda d: self.filled(t, d)))
            if depth > 0:
                found += self.structural(t)
                found += self.of_elements(t)
        elif self.dims and depth > 0:
            if t == INT:
                found.append((1, lambda d: self.rng.choice(self.dims)))
            if t in (R32, R64, INT, *HALVES):
                found.append((5, lambda d: self.reduced_tensor(t, d)))
        return found

    def of_elements(self, t: T) -> list[tuple[float, Production]]:
        """By the type of the elements."""
        if t.args[0] in HALVES:
            return self.half_tensors(t)
        return self.int_tensors(t) if t.args[0] == INT else self.bool_tensors(t) if t.args[0] == BOOL else self.float_tensors(t)

    def filled(self, t: T, d: int) -> str:
        elem, dims = t.args[0], dims_of(t)
        if elem == BOOL:
            return f"(full([{', '.join(dims)}], {self.expr(INT, max(d, 0))}) > 1)"
        if elem == INT and len(dims) == 1 and self.chance(0.5):
            return f"arange({dims[0]})"
        value = self.expr(INT if elem == INT else elem, max(d - 1, 0))
        value = f"{elem}({value})" if elem != INT else f"({value} & 1023)"
        if len(dims) == 2 and dims[0] == dims[1] and elem == R32 and self.chance(0.2):
            return f"eye({dims[0]})"
        return f"full([{', '.join(dims)}], {value})"

    def structural(self, t: T) -> list[tuple[float, Production]]:
        """What moves elements only."""
        e, elem, dims = self.expr, t.args[0], dims_of(t)
        found: list[tuple[float, Production]] = [
            (0.5, lambda d: f"flip({e(t, d)}, {self.rng.randrange(len(dims))})"),
            (1, lambda d: f"where({e(tensor(BOOL, *dims), d)}, {e(t, d)}, {e(t, d)})"),
            (0.7, lambda d: f"({e(t, d)} if {self.cond(d)} else {e(t, d)})"),
            (0.7, lambda d: f"{e(t, d)}[{self.order(dims[0], d)}]"),
        ]
        if len(dims) < 3:
            found.append((0.7, lambda d: f"{e(tensor(elem, self.rng.choice(self.dims), *dims), d)}[{self.rng.choice(('0', '-1'))}]"))
        if len(dims) == 2:
            found += [
                (1, lambda d: f"{e(tensor(elem, dims[1], dims[0]), d)}.T"),
                (0.5, lambda d: f"transpose({e(tensor(elem, dims[1], dims[0]), d)}, 0, 1)"),
            ]
        if len(dims) == 3:
            found.append((1, lambda d: f"permute({e(tensor(elem, dims[1], dims[2], dims[0]), d)}, 2, 0, 1)"))
        if len(dims) == 1:
            other = self.rng.choice(self.dims)
            found.append((0.7, lambda d: f"{e(tensor(elem, dims[0], other), d)}[:, {self.rng.choice(('0', '-1'))}]"))
        if dims[0].isdigit() and len(dims) > 1:
            found.append((1, lambda d: f"stack([{', '.join(e(tensor(elem, *dims[1:]), d) for _ in range(int(dims[0])))}])"))
        return found

    def order(self, n: str, d: int) -> str:
        """Indices that are all within a dimension."""
        return f"argsort({self.expr(tensor(INT, n), d)})" if self.chance(0.7) else f"({self.expr(tensor(INT, n), d)} % {n})"

    def float_tensors(self, t: T) -> list[tuple[float, Production]]:
        e, elem, dims = self.expr, t.args[0], dims_of(t)
        last = len(dims) - 1

        def binary(d: int) -> str:
            return f"({e(t, d)} {self.rng.choice('+-*')} {e(t, d)})"

        def with_scalar(d: int) -> str:
            s = f"{elem}({e(elem, d)})"
            a, b = self.rng.choice(((e(t, d), s), (s, e(t, d))))
            return f"({a} {self.rng.choice('+-*')} {b})"

        def broadcast(d: int) -> str:
            if len(dims) == 1:
                return binary(d)
            if self.chance(0.5):
                return f"({e(t, d)} {self.rng.choice('+-*')} {e(tensor(elem, *dims[1:]), d)})"
            return f"({e(t, d)} {self.rng.choice('+*')} unsqueeze({e(tensor(elem, *dims[:-1]), d)}, {last}))"

        def call(d: int) -> str:
            f = self.rng.choice([*SMOOTH, "exp", "log", "sqrt", "rsqrt", "clamp", "max", "div"])
            x = e(t, d)
            match f:
                case "exp":
                    return f"exp(tanh({x}))"
                case "log" | "sqrt" | "rsqrt":
                    return f"{f}(abs({x}) + 0.25)"
                case "clamp":
                    return f"clamp({x}, -1.0, 1.5)"
                case "max":
                    return f"{self.rng.choice(('maximum', 'minimum'))}({x}, {e(t, d)})"
                case "div":
                    return f"({x} / (abs({e(t, d)}) + 0.5))"
            return f"{f}({x})"

        def rowwise(d: int) -> str:
            axis = self.rng.choice((last, -1, 0))
            f = self.rng.choice(("softmax", "log_softmax", "cumsum", "sort", "layer_norm", "rms"))
            x = f"tanh({e(t, d)})"
            if f == "layer_norm":
                w = tensor(elem, dims[-1])
                return f"layer_norm({x}, {e(w, d)}, {e(w, d)}, eps=0.1)"
            if f == "rms":
                return f"rms_norm({x}, {e(tensor(elem, dims[-1]), d)}, eps=0.1)"
            return f"{f}({x}, axis={axis})"

        def reduce(d: int) -> str:
            if len(dims) > 2:
                return call(d)
            other = self.rng.choice(self.dims)
            at = self.rng.randint(0, len(dims))
            inner = tensor(elem, *dims[:at], other, *dims[at:])
            f = self.rng.choice(("sum", "mean", "max", "min", "logsumexp", "norm"))
            return f"{f}({e(inner, d)}, axis={at})"

        def product(d: int) -> str:
            k = self.rng.choice(self.dims)
            if len(dims) == 1:
                if self.chance(0.5):
                    return f"({e(tensor(elem, dims[0], k), d)} @ {e(tensor(elem, k), d)})"
                return f"({e(tensor(elem, k), d)} @ {e(tensor(elem, k, dims[0]), d)})"
            if len(dims) == 2:
                kind = self.rng.randint(0, 3)
                if kind == 0:
                    return f"outer({e(tensor(elem, dims[0]), d)}, {e(tensor(elem, dims[1]), d)})"
                if kind == 1:
                    return f'einsum("ij,jk->ik", {e(tensor(elem, dims[0], k), d)}, {e(tensor(elem, k, dims[1]), d)})'
                if kind == 2:
                    return f"({e(tensor(elem, dims[0], k), d)} @ {e(tensor(elem, dims[1], k), d)}.T)"
                return f"({e(tensor(elem, dims[0], k), d)} @ {e(tensor(elem, k, dims[1]), d)})"
            return f"({e(tensor(elem, dims[0], dims[1], k), d)} @ {e(tensor(elem, k, dims[2]), d)})"

        def cast(d: int) -> str:
            other = self.rng.choice((R64 if elem == R32 else R32, INT, *HALVES))
            return f"{elem}({e(tensor(other, *dims), d)})" if other != INT else f"{elem}({e(tensor(INT, *dims), d)} & 7)"

        return [(3, binary), (1, with_scalar), (2, broadcast), (4, call), (1.5, rowwise), (2, reduce), (2, product), (1, cast)]

    def half_tensors(self, t: T) -> list[tuple[float, Production]]:
        """Only what is exact: of products and of sums along an axis the operands are cut before."""
        e, elem, dims = self.expr, t.args[0], dims_of(t)

        def cut(text: str, size: str) -> str:
            return f"({text} % {elem}({size}))"

        def binary(d: int) -> str:
            return cut(f"({e(t, d)} {self.rng.choice('+-')} {e(t, d)})", bound(elem))

        def times(d: int) -> str:
            return f"floor({cut(e(t, d), '4.0')} * {cut(e(t, d), '4.0')})"

        def call(d: int) -> str:
            f = self.rng.choice(("abs", "relu", "floor", "clamp", "maximum", "minimum", "sort", "cumsum", "-"))
            x, axis = e(t, d), self.rng.randrange(len(dims))
            match f:
                case "clamp":
                    return f"clamp({x}, -1.0, 1.5)"
                case "maximum" | "minimum":
                    return f"{f}({x}, {e(t, d)})"
                case "sort":
                    return f"sort({x}, axis={axis})"
                case "cumsum":
                    return f"cumsum({cut(x, '1.0')}, axis={axis})"
                case "-":
                    return f"(-{x})"
            return f"{f}({x})"

        def reduce(d: int) -> str:
            if len(dims) > 2:
                return call(d)
            at = self.rng.randint(0, len(dims))
            x = e(tensor(elem, *dims[:at], self.rng.choice(self.dims), *dims[at:]), d)
            f = self.rng.choice(("sum", "max", "min"))
            return f"{f}({cut(x, '1.0') if f == 'sum' else x}, axis={at})"

        def product(d: int) -> str:
            if len(dims) != 2:
                return times(d)
            k = self.rng.choice(self.dims)
            return f"floor({cut(e(tensor(elem, dims[0], k), d), '1.0')} @ {cut(e(tensor(elem, k, dims[1]), d), '1.0')})"

        def cast(d: int) -> str:
            return f"{elem}({e(tensor(INT, *dims), d)} & 7)"

        return [(3, binary), (1, times), (3, call), (2, reduce), (1.5, product), (1, cast)]

    def int_tensors(self, t: T) -> list[tuple[float, Production]]:
        e, dims = self.expr, dims_of(t)

        def binary(d: int) -> str:
            return f"({e(t, d)} {self.rng.choice(('+', '-', '*', '&', '|', '^'))} {e(t, d)})"

        def reduce(d: int) -> str:
            if len(dims) > 2:
                return binary(d)
            other = self.rng.choice(self.dims)
            at = self.rng.randint(0, len(dims))
            inner = tensor(INT, *dims[:at], other, *dims[at:])
            f = self.rng.choice(("sum", "max", "min", "argmax", "argmin"))
            return f"{f}({e(inner, d)}, axis={at})"

        def other(d: int) -> str:
            return self.rng.choice((f"abs({e(t, d)})", f"sort({e(t, d)}, axis=0)", f"cumsum({e(t, d)}, axis=0)", f"argsort({e(t, d)}, axis=0)",
                                    f"({e(t, d)} // 3)", f"({e(t, d)} % 5)", f"({e(t, d)} >> 1)", f"int({e(tensor(BOOL, *dims), d)})", f"maximum({e(t, d)}, {e(t, d)})"))  # fmt: skip

        return [(4, binary), (2, reduce), (2, other)]

    def bool_tensors(self, t: T) -> list[tuple[float, Production]]:
        e, dims = self.expr, dims_of(t)
        ints = tensor(INT, *dims)
        half = tensor(self.rng.choice(HALVES), *dims)
        return [
            (2, lambda d: f"({e(half, d)} {self.rng.choice(('<', '<=', '==', '>='))} {e(half, d)})"),
            (4, lambda d: f"({e(ints, d)} {self.rng.choice(('<', '<=', '==', '!=', '>'))} {e(ints, d)})"),
            (2, lambda d: f"({e(t, d)} {self.rng.choice('&|^')} {e(t, d)})"),
            (1, lambda d: f"(~{e(t, d)})"),
        ]

    def reduced_tensor(self, t: T, d: int) -> str:
        inner = tensor(t, *(self.rng.choice(self.dims) for _ in range(self.rng.choice((1, 1, 2)))))
        x = self.expr(inner, d)
        if t == INT:
            f = self.rng.choice(("sum", "max", "min", "argmax", "len"))
            return f"{f}({x})" if f != "argmax" else f"argmax({x})"
        f = self.rng.choice(("max", "min", "at") if t in HALVES else ("sum", "mean", "max", "min", "norm", "dot", "at"))
        if f == "dot":
            row = tensor(t, dims_of(inner)[0])
            return f"dot({self.expr(row, d)}, {self.expr(row, d)})"
        if f == "at":
            return f"{x}[{', '.join(self.rng.choice(('0', '-1')) for _ in dims_of(inner))}]"
        return f"{f}({x})"

    # ---- statements
    def bounded(self, t: T) -> str:
        if t.kind == "tensor":
            e = self.expr(t)
            elem = t.args[0]
            if elem in HALVES:
                return f"({e} % {elem}({bound(elem)}))"
            return f"tanh({e})" if elem in REALS else f"({e} & 255)" if elem == INT else e
        return super().bounded(t)

    def statements(self) -> list[tuple[float, Callable[[], None]]]:
        if not self.dims:
            return super().statements()
        found: list[tuple[float, Callable[[], None]]] = [
            (4, self.let), (4, self.var), (5, self.assign), (3, self.change_tensor), (0.5, self.leave_if), (0.3, self.check)]  # fmt: skip
        if self.at.blocks < self.limits.depth:
            found.append((2, self.branch))
            if self.at.loops < 2:
                found += [(2, self.for_range), (2, self.for_rows), (0.7, self.while_)]
        return found

    def change_tensor(self) -> None:
        found = self.mutables(("tensor",))
        if not found:
            return self.var()
        name, t = self.rng.choice(found)
        elem, dims = t.args[0], dims_of(t)
        scalar = INT if elem == INT else elem
        at = [self.rng.choice(("0", "-1", f"{self.expr(INT, 1)} % {n}")) for n in dims]
        if elem == BOOL:
            return self.line(f"{name} = ~{name}")
        value = f"{elem}({self.expr(scalar, 2)})" if elem != INT else f"{self.expr(INT, 2)} & 255"
        row = tensor(elem, *dims[1:]) if len(dims) > 1 else None
        match self.rng.randint(0, 4):
            case 0:
                self.line(f"{name}[{', '.join(at)}] = {value}")
            case 1 if row is not None:
                self.line(f"{name}[{at[0]}] = {self.bounded(row)}")
            case 2 if elem in REALS:
                self.line(f"{name}[{', '.join(at)}] += tanh({value})")
            case 3 if row is not None and elem in REALS:
                self.line(f"{name}[{self.order(dims[0], 1)}] += {self.bounded(t)}")
            case _:
                self.line(f"{name} {self.rng.choice('+-')}= {self.bounded(t)}")
                if elem in HALVES:
                    self.line(f"{name} %= {elem}({bound(elem)})")

    def for_rows(self) -> None:
        found = [v for v in self.scope if v.type.kind == "tensor"]
        if not found:
            return self.for_range()
        v = self.rng.choice(found)
        name, dims = self.name("row"), dims_of(v.type)
        row = tensor(v.type.args[0], *dims[1:]) if len(dims) > 1 else v.type.args[0]
        self.loop(f"for {name} in {v.name}:", [Var(name, row)], 4)

    # ---- functions
    def tensor_function(self, name: str) -> Fn:
        """A function of tensors over dimensions N and M, and of an int."""
        saved = self.scope, self.at, self.lines, self.budget
        self.dims = self.rng.choice((("N", "M"), ("N", "M", "3"), ("N", "2"), ("2", "3"), ("N", "M", "8")))
        names = [d for d in self.dims if not d.isdigit()]
        params: list[tuple[T, bool]] = [(INT, False)]
        for d in names:  # each is bound where it stands alone
            params.append((tensor(R32, d), False))
        for _ in range(self.rng.randint(1, 3)):
            t = self.tensor_type()
            params.append((t, self.chance(0.25)))
        result = self.some_type()
        self.lines, self.at, self.budget = [], Place(result=result), self.limits.statements * 2
        self.scope, shown = [], []
        for t, mut in params:
            p = self.name("a")
            self.scope.append(Var(p, t, mut))
            shown.append(f"{'mut ' if mut else ''}{p}: {t}")
        for _ in range(self.rng.randint(1, self.limits.statements)):
            if self.budget > 0:
                self.statement()
        self.line(f"return {self.expr(result, 3)}")
        body = self.lines
        self.dims = ()
        self.scope, self.at, self.lines, self.budget = saved
        self.decls.append("\n".join([f"fn {name}({', '.join(shown)}) -> {result}:", *body]))
        return Fn(name, params, result, 10_000)

    def call_tensors(self, fn: Fn) -> list[tuple[str, T]]:
        """Lines that call it with sizes known only at run time; what to show."""
        sizes = {d: self.rng.choice(("1", "2", "3", "5", "(p & 3) + 1", "(q & 1) + 1", "17", "p & 3")) for d in "NM"}
        args, shown = [], []
        for d, text in sizes.items():
            self.line(f"let size_{d.lower()}_{fn.name} = {text}")
        for t, mut in fn.params:
            v = self.name("w")
            if t == INT:
                self.line(f"let {v} = p")
                args.append(v)
                continue
            elem, dims = t.args[0], dims_of(t)
            ns = [d if d.isdigit() else f"size_{d.lower()}_{fn.name}" for d in dims]
            n = " * ".join(ns)
            scale = self.rng.choice(("0.25", "0.1", "-0.5"))
            made = f"arange({n}) * {self.rng.choice(('1', '7', '-3'))} % 5 + (q & 3)" if elem != BOOL else f"arange({n}) % 2 == 0"
            if elem in (R32, R64):
                made = f"{elem}({made}) * {elem}({scale}) - {elem}(0.3)"
            elif elem in HALVES:
                made = f"{elem}({made}) * {elem}(0.25)"
            self.line(f"var {v} = reshape({made}, [{', '.join(ns)}])")
            args.append(f"mut {v}" if mut else v)
            if mut:
                shown.append((v, t))
        r = self.name("r")
        self.line(f"let {r} = {fn.name}({', '.join(args)})")
        assert fn.result is not None
        return [(r, fn.result), *shown]


__all__ = ["Tensors", "replace", "tensor"]
