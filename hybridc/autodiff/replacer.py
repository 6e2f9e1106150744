"""What stands for the operators that take a derivative: calls of the functions that the driver has made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hybridc.autodiff.absent import no_derivative
from hybridc.autodiff.activity import Mask
from hybridc.autodiff.choices import Generator, estimate, generator
from hybridc.autodiff.convert import absorb, give, shaped
from hybridc.autodiff.direction import check_direction
from hybridc.autodiff.rules import Refused
from hybridc.base.immutable import replace
from hybridc.core import tensor_build as t
from hybridc.core.builder import Builder, integer
from hybridc.core.ir import (
    Atom,
    Block,
    Call,
    Const,
    Fn,
    Op,
    Prim,
    StructT,
    TensorT,
    Type,
    Var,
)
from hybridc.core.types import elem, parts, rank
from hybridc.core.walk import highest_id, highest_label, map_atoms, map_blocks, map_tail

if TYPE_CHECKING:
    from hybridc.autodiff.derived import Derived
    from hybridc.autodiff.driver import Driver

FORWARD = "choices that are estimated by their probability are differentiated by `grad` alone"
NO_PATH = "no differentiable path leads to the result, so there is no derivative"


class Replacer:
    """Of the operators of one function."""

    def __init__(self, driver: Driver, fn: Fn):
        self.driver = driver
        self.tangents = driver.tangents
        self.fn = fn
        self.b = Builder(highest_id(fn) + 1, highest_label(fn) + 1)
        self.values: dict[Var, Atom] = {}

    def run(self) -> Fn:
        return replace(self.fn, body=self.block(self.fn.body))

    def atom(self, a: Atom) -> Atom:
        return self.values.get(a, a) if isinstance(a, Var) else a

    def block(self, block: Block) -> Block:
        kinds = {"gradient": self.gradient, "pushforward": self.pushforward, "jacobian": self.jacobian}
        self.b.open()
        for s in block.stmts:
            s = map_atoms(s, self.atom)
            if isinstance(s, Op) and s.op in kinds:
                self.b.span = s.span
                try:
                    if s.attr("refused"):
                        raise Refused(s, str(s.attr("refused")))
                    kinds[s.op](s, self.driver.program.fns[str(s.attr("fn"))])
                except Refused as refused:
                    if not s.attr("optional"):
                        raise
                    self.absent(s, refused.why)
            else:
                self.b.add(map_blocks(s, self.block))
        return self.b.close(map_tail(block.tail, self.atom))

    def absent(self, op: Op, why: str) -> None:
        """Taking a derivative that there is not, and that nobody may ask for: a fault."""
        b = self.b
        no_derivative(b, why)
        for out in op.outs:
            self.values[out] = b.op("zero", [], out.type)

    def mask(self, op: Op, fn: Fn) -> tuple[Mask, tuple[int, ...], Generator | None]:
        """Which arguments are active, which are asked for, and the generator whose choices are estimated."""
        wrt = op.attr("wrt")
        assert isinstance(wrt, tuple)
        mask = self.driver.activity.mask(fn.name, [i in wrt for i in range(len(fn.params))])
        results = self.driver.activity.results(fn.name, mask)
        g = generator(self, op, fn, results)
        if g is not None and op.op != "gradient":
            raise Refused(op, FORWARD)
        if g is None and not results[0]:
            raise Refused(op, NO_PATH)
        return mask, wrt, g

    def starts(self, fn: Fn, mask: Mask) -> list[int]:
        """Where the leaves of each argument begin among those of the active ones."""
        found, at = [], 0
        for p, a in zip(fn.params, mask, strict=True):
            found.append(at)
            at += len(self.tangents.leaves(p.type)) if a else 0
        return found

    # ---- reverse mode
    def gradient(self, op: Op, fn: Fn) -> None:
        b, tangents = self.b, self.tangents
        mask, wrt, g = self.mask(op, fn)
        derived = self.driver.derive(fn.name, mask, range(len(fn.params)))
        n = len(fn.results)
        if g is None:
            seeds: list[Atom] = []
            for i, (kind, active) in enumerate(zip(fn.results, derived.results, strict=True)):
                for k, leaf in enumerate(tangents.leaves(kind) if active else ()):
                    if i == 0 and k == 0:
                        assert isinstance(leaf, Prim)
                        seeds.append(Const(1.0, leaf))
                    else:
                        seeds.append(tangents.zero(b, leaf))
            found: Sequence[Atom] = self.value_and_gradient(op, derived, seeds, fn, mask)
        else:
            results, found = estimate(self, op, fn, mask, derived, g)
            self.values.update(zip(op.outs[:n], results, strict=True))
        starts = self.starts(fn, mask)
        for out, i in zip(op.outs[n:], wrt, strict=True):
            value = op.args[i]
            own = found[starts[i] : starts[i] + len(tangents.leaves(fn.params[i].type))]
            if isinstance(value.type, StructT) and isinstance(out.type, TensorT):  # of a model: by its parameters
                self.values[out] = shaped(b, own[0], self.vector(value))
            else:
                self.values[out] = give(tangents, b, value, own)

    def value_and_gradient(
        self, op: Op, derived: Derived, seeds: Sequence[Atom], fn: Fn, mask: Mask
    ) -> Sequence[Var]:
        """Both parts, one after the other; the leaves of the adjoints of the active arguments."""
        n = len(fn.results)
        both = self.driver.both(derived, seeds)
        if both is None:
            tape = [self.b.var(k) for k in derived.tape]
            self.b.add(Call((*op.outs[:n], *tape), derived.forward, op.args, op.span))
            return self.reverse(derived.reverse, derived.kept(tape, op.args), seeds, fn, mask)
        leaves = [self.tangents.zero(self.b, k) for k in self.kinds(fn, mask)]
        found = [self.b.var(leaf.type) for leaf in leaves]
        given = [a for a in seeds if isinstance(a, Var)]
        self.b.add(Call((*op.outs[:n], *found), both, (*op.args, *given, *leaves), op.span))
        return found

    def kinds(self, fn: Fn, mask: Mask) -> list[Type]:
        """The types of the leaves of the active arguments' adjoints."""
        return [k for p, a in zip(fn.params, mask, strict=True) if a for k in self.tangents.leaves(p.type)]

    def reverse(self, name: str, kept: Sequence[Atom], seeds: Sequence[Atom], fn: Fn, mask: Mask) -> Sequence[Var]:
        """The leaves of the adjoints of the active arguments."""
        kinds = self.kinds(fn, mask)
        return self.b.call(name, [*kept, *seeds, *(self.tangents.zero(self.b, k) for k in kinds)], kinds)

    def vector(self, model: Atom) -> Var:
        return self.b.op("get", [model], parts(model.type, self.driver.program)[0], index=0)

    # ---- forward mode
    def pushforward(self, op: Op, fn: Fn) -> None:
        b, tangents = self.b, self.tangents
        mask, wrt, _ = self.mask(op, fn)
        own, directions = op.args[: len(fn.params)], op.args[len(fn.params):]
        leaves: dict[int, list[Atom]] = {}
        for i, direction in zip(wrt, directions, strict=True):
            value = own[i]
            check_direction(tangents, b, value, direction)
            if isinstance(value.type, StructT) and isinstance(direction.type, TensorT):
                rest = tangents.leaves(value.type)[1:]
                leaves[i] = [direction, *(tangents.zero(b, k) for k in rest)]
            else:
                leaves[i] = absorb(tangents, b, direction)
        pushed = self.driver.push(fn.name, mask)
        results = self.driver.activity.results(fn.name, mask)
        kinds = [k for r, a in zip(fn.results, results, strict=True) if a for k in tangents.leaves(r)]
        tangent = [b.var(k) for k in kinds]
        n = len(fn.results)
        given = [x for i, a in enumerate(mask) if a for x in leaves[i]]
        b.add(Call((*op.outs[:n], *tangent), pushed, (*own, *given), op.span))
        self.values[op.outs[n]] = give(tangents, b, op.outs[0], tangent[: len(tangents.leaves(fn.results[0]))])

    # ---- all derivatives
    def jacobian(self, op: Op, fn: Fn) -> None:
        """A reverse pass for each element of the result, all over one tape."""
        b, tangents = self.b, self.tangents
        mask, wrt, _ = self.mask(op, fn)
        derived = self.driver.derive(fn.name, mask, range(len(fn.params)))
        tape = [b.var(k) for k in derived.tape]
        results = [b.var(k) for k in fn.results]
        b.add(Call((*results, *tape), derived.forward, op.args, op.span))
        result = results[0]
        heights = t.dims(b, result) if isinstance(result.type, TensorT) else []
        count = t.product(b, heights)
        kind = elem(result.type)
        by = [self.vector(op.args[i]) if isinstance(op.args[i].type, StructT) else op.args[i] for i in wrt]
        starts = self.starts(fn, mask)
        rows = [t.full(b, Const(0.0, elem(x.type)), [count, *t.dims(b, x)] if rank(x.type) else [count]) for x in by]
        flat = [TensorT(elem(x.type), (None,) * (1 + rank(x.type))) for x in by]

        def turn(i: Var, state: list[Var]) -> list[Atom]:
            seed: Atom = Const(1.0, kind)
            if heights:
                start = t.full(b, Const(0.0, kind), [count])
                seed = t.reshape(b, t.update(b, start, ["i"], seed, [i], ()), heights)
            seeds: list[Atom] = [seed]
            for r, active in zip(fn.results[1:], derived.results[1:], strict=True):
                seeds += [tangents.zero(b, k) for k in tangents.leaves(r)] if active else []
            found = self.reverse(derived.reverse, derived.kept(tape, op.args), seeds, fn, mask)
            new: list[Atom] = []
            for x, k, rest in zip(by, wrt, state, strict=True):
                d: Atom = found[starts[k]]
                if rank(x.type):
                    d = shaped(b, d, x)
                new.append(t.update(b, rest, ["i", *[""] * rank(x.type)], d, [i], tuple(range(rank(x.type)))))
            return new

        found = tangents.count_up(b, count, rows, turn, flat)
        for out, x, whole in zip(op.outs, by, found, strict=True):
            sizes = [*heights, *(t.dims(b, x) if rank(x.type) else [])]
            if sizes:
                self.values[out] = t.reshape(b, whole, sizes)
            else:
                self.values[out] = t.index(b, whole, ["i"], [integer(0)])


