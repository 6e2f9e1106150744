"""HYB_TRAP_NAN=1: every operator that makes a nan out of operands without one is a fault at its place, in derivatives
too. What only flows into the arms of a `select` may be nan: that is how a program, and a derivative, masks it."""

from __future__ import annotations

from collections.abc import Collection

from hybridc.base.immutable import replace
from hybridc.base.source import NOWHERE
from hybridc.base.types import FLOATS
from hybridc.core import tensor_build as t
from hybridc.core.builder import Builder
from hybridc.core.ir import BOOL, STR, Atom, Block, Const, Fault, Fn, Op, Program, TensorT, Var, Yield
from hybridc.core.types import elem, rank
from hybridc.core.walk import all_blocks, args_of, highest_id, highest_label, map_blocks, statements_in

SCALAR = frozenset(
    "add sub mul div mod pow exp expm1 log log1p sqrt rsqrt sin cos tan asin acos atan atan2 tanh sigmoid erf cast"
    .split())
TENSOR = frozenset("map reduce matmul cumsum accumulate update put scatter".split())


def run(program: Program, done: Collection[str]) -> Program:
    """All functions but those that are `done`. What derivatives are made of is no longer hidden: it has the places of
    the program."""
    fns = {n: f if n in done else _shown(_Trap(f).run()) for n, f in program.fns.items()}
    return Program(program.structs, program.enums, fns)


def _shown(fn: Fn) -> Fn:
    own = fn.hidden and fn.span != NOWHERE and not fn.span.path.startswith("<std>")
    return replace(fn, hidden=False) if own else fn


class _Trap:
    def __init__(self, fn: Fn):
        self.fn = fn
        self.b = Builder(highest_id(fn) + 1, highest_label(fn) + 1)
        self.users: dict[Var, list[Op]] = {}
        self.escapes: set[Var] = set()
        """Used by more than operators."""
        for s in statements_in(fn):
            for i, a in enumerate(args_of(s)):
                if not isinstance(a, Var):
                    continue
                if not isinstance(s, Op):
                    self.escapes.add(a)
                elif not (_fn(s) == "select" and i > 0):
                    self.users.setdefault(a, []).append(s)
        for block in all_blocks(fn.body):
            self.escapes.update(a for a in block.tail.values if isinstance(a, Var))
        self._masked: dict[Var, bool] = {}

    def run(self) -> Fn:
        return replace(self.fn, body=self.block(self.fn.body))

    def masked(self, v: Var) -> bool:
        """Does it flow nowhere but into the arms of selects?"""
        todo = [v]
        while todo:  # a chain may be long
            at = todo[-1]
            if at in self._masked:
                todo.pop()
            elif at in self.escapes:
                self._masked[at] = False
            else:
                outs = [o for op in self.users.get(at, ()) for o in op.outs]
                open_ = [o for o in outs if o not in self._masked]
                todo += open_
                if not open_:
                    pure = all(op.op in SCALAR | TENSOR for op in self.users.get(at, ()))
                    self._masked[at] = pure and all(self._masked[o] for o in outs)
        return self._masked[v]

    def block(self, block: Block) -> Block:
        self.b.open()
        for s in block.stmts:
            s = map_blocks(s, self.block)
            self.b.add(s)
            if isinstance(s, Op) and self.wanted(s):
                self.check(s)
        return self.b.close(block.tail)

    def wanted(self, op: Op) -> bool:
        if op.op not in SCALAR and op.op not in TENSOR:
            return False
        kind = op.outs[0].type
        element = kind.elem if isinstance(kind, TensorT) else kind
        return element in FLOATS and _fn(op) != "select" and not self.masked(op.outs[0])

    def check(self, op: Op) -> None:
        b = self.b
        b.span = op.span
        bad = self.nan(op.outs[0])
        b.open()
        before: Atom = Const(False, BOOL)
        for a in op.args:
            if isinstance(a, Const):
                given: Atom = Const(isinstance(a.value, float) and a.value != a.value, BOOL)
            elif _element(a) in FLOATS:
                given = self.nan(a)
            else:
                continue
            before = b.op("bit_or", [before, given], BOOL)
        b.open()
        text = b.op("str", [], STR, text=f"`{_fn(op)}` made nan out of numbers that are none")
        fault = b.close(Fault("ValueError", (text,), op.span))
        b.if_(before, Block((), Yield()), fault)
        b.if_(bad, b.close(Yield()), Block((), Yield()))

    def nan(self, x: Atom) -> Atom:
        differs = t.map(self.b, "ne", [x, x])
        return t.reduce(self.b, "any", differs, range(rank(x.type))) if rank(x.type) else differs


def _element(a: Atom) -> object:
    return elem(a.type) if isinstance(a.type, TensorT) or a.type in FLOATS else None


def _fn(op: Op) -> str:
    """What it computes, of elements too."""
    return str(op.attr("fn")) if op.op in ("map", "reduce") else op.op
