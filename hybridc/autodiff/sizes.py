"""Where values come from. The size of a tensor is asked of the one that is made first and must agree, so that a loop
whose turns update a tensor need not keep its size with each; and what a loop only updates has one adjoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hybridc.core.ir import Atom, Const, Exit, Fn, If, Loop, Match, Op, Var, Yield
from hybridc.core.tensor_ops import kept_axes
from hybridc.core.walk import all_blocks, blocks_of, diverges, statements_in

Axis = tuple[Var, int]
"""An axis of a tensor."""
UPDATES = ("update", "put", "scatter", "buffer_set", "buffer_take")
"""Operators whose result is their first argument, changed."""


class Origins:
    """Of the axes of a function's tensors: through operators as `made` says, if it says anything, through branches, and
    through loops that hand on what they were given. `order` numbers variables as they are defined."""

    def __init__(
        self, fn: Fn, makers: Mapping[int, Op], order: Mapping[int, int], made: Callable[[Op, int], Axis | Atom | None]
    ):
        self.makers, self.order, self.made = makers, order, made
        self.params: dict[int, tuple[Loop, int]] = {}
        self.outs: dict[int, tuple[Loop | If | Match, int]] = {}
        for s in statements_in(fn):
            if isinstance(s, Loop):
                self.params.update((p.id, (s, i)) for i, p in enumerate(s.params))
            if isinstance(s, (Loop, If, Match)):
                self.outs.update((o.id, (s, i)) for i, o in enumerate(s.outs))
        self.known: dict[Axis, Axis | Atom] = {}

    def of(self, v: Var, axis: int) -> Axis | Atom:
        """What it comes from: of what was defined first, or a number."""
        found = self.known.get((v, axis))
        if found is None:
            self.known[v, axis] = v, axis
            found = self.known[v, axis] = self.step(v, axis) or (v, axis)
        return self.of(*found) if isinstance(found, tuple) and found != (v, axis) else found

    def step(self, v: Var, axis: int) -> Axis | Atom | None:
        op = self.makers.get(v.id)
        if op is not None:
            return self.made(op, axis) if v == op.outs[0] else None
        if v.id in self.params:
            return self.handed_on(v, axis)
        return self.given(v, axis) if v.id in self.outs else None

    def handed_on(self, v: Var, axis: int) -> Axis | None:
        """Of a loop's parameter: the initial value, if each turn hands on what comes from the parameter."""
        loop, i = self.params[v.id]
        values = loop.body.tail.values if isinstance(loop.body.tail, Yield) else ()
        init, again = loop.inits[i], values[i] if values else v
        if isinstance(init, Var) and isinstance(again, Var) and self.of(again, axis) == (v, axis):
            return init, axis
        return None

    def given(self, v: Var, axis: int) -> Axis | None:
        """Of a loop's or branch's result: what all ways agree on, if it is there before."""
        s, i = self.outs[v.id]
        if isinstance(s, Loop):
            ways = [b.tail.values[i] for b in all_blocks(s.body)
                    if isinstance(b.tail, Exit) and b.tail.label == s.label]
        elif all(isinstance(b.tail, Yield) and not any(map(diverges, b.stmts[-1:])) for b in blocks_of(s)):
            ways = [b.tail.values[i] for b in blocks_of(s)]
        else:
            return None
        found = {self.of(w, axis) if isinstance(w, Var) else None for w in ways}
        first = found.pop() if len(found) == 1 else None
        return first if isinstance(first, tuple) and self.order[first[0].id] < self.order[v.id] else None


def same_size(op: Op, axis: int) -> Axis | Atom | None:
    """What is as long as an axis of an operator's result."""
    first = op.args[0] if op.args else None
    match op.op:
        case "map":
            for named, a in zip(op.attr("axes"), op.args, strict=True):  # type: ignore[call-overload]
                if named[axis] is not None and isinstance(a, Var):
                    return a, named[axis]
        case "index":
            kinds = op.attr("kinds")
            assert isinstance(kinds, tuple) and isinstance(first, Var)
            source = kept_axes(kinds)[axis]
            return (first, source) if kinds[source] == "" else None
        case "transpose":
            assert isinstance(first, Var)
            return first, op.attr("perm")[axis]  # type: ignore[index]
        case "broadcast":
            return op.args[1 + axis]
        case "reshape" if isinstance(op.args[1 + axis], Const) and op.args[1 + axis].value >= 0:  # type: ignore[union-attr]
            return op.args[1 + axis]
        case "cumsum" | "update" | "put" | "scatter":
            assert isinstance(first, Var)
            return first, axis
    return None


def updated(op: Op, axis: int) -> Axis | None:
    """What an operator updates."""
    return (op.args[0], axis) if op.op in UPDATES and isinstance(op.args[0], Var) else None
