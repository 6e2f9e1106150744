"""An element that a program reads, changes, and writes back: `var l = m.get(k) ?? []`, `l.push(x)`, `m[k] = l`.

Until it is written back the container would hold it too, so that the change would begin with a copy: of all that a
group has, for each item that is added to it. Where nothing looks at the container meanwhile, it is taken out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hybridc.base.types import STD_TYPES, Named
from hybridc.core.types import is_counted
from hybridc.front.check import tree
from hybridc.front.check.open_models import holds_open
from hybridc.front.lower.core import Lowerer
from hybridc.front.lower.scan import assigned, place_root, walk

TAKING = {
    f"{STD_TYPES['list']}._get": "_take", f"{STD_TYPES['map']}._get": "_take", f"{STD_TYPES['map']}.get": "_take_if",
}
"""By the method that reads an element, the one that takes it out."""
LEAVES = tree.Return | tree.Break | tree.Continue
"""Statements after which a block may not go on."""
STEADY = (tree.Local | tree.Var | tree.Const | tree.DimValue | tree.Binary | tree.Unary | tree.MakeTuple
          | tree.MakeStruct | tree.Field)
"""What is the same each time it is computed, if its variables are."""


def taking(lw: Lowerer, stmts: Sequence[tree.Stmt], at: int) -> tree.Stmt:
    """The statement, taking out of its container what a later one of the block writes back; else as it is."""
    let = stmts[at]
    if not isinstance(let, tree.Let) or not isinstance(let.pattern, tree.BindPattern) or not let.pattern.var.mutable:
        return let
    read = let.value.option if isinstance(let.value, tree.Coalesce) else let.value
    if not isinstance(read, tree.Call) or read.fn.key not in TAKING or holds_open(read.type):
        return let
    container, index = (a.value for a in read.args)
    var = let.pattern.var
    back = next((i for i in range(at + 1, len(stmts)) if _written(stmts[i], var) is not None), None)
    if back is None or container is None or index is None:
        return let
    if not is_counted(lw.type(let.value.type), lw.ctx.types.program):
        return let  # it is copied without being counted
    place = _written(stmts[back], var)
    if place is None or not _is_place(container, place.base) or not _same(index, place.index):
        return let
    root = place_root(place.base).key
    between = stmts[at + 1:back]
    steady = {n.var.key for n in walk(index) if isinstance(n, tree.Local)}
    seen = (index, between, *((let.value.default,) if isinstance(let.value, tree.Coalesce) else ()))
    if root in {n.var.key for n in walk(seen) if isinstance(n, tree.Local | tree.PlaceVar)} or any(
            isinstance(n, LEAVES) for n in walk(between)) or steady & {k for s in between for k in assigned(lw.ctx, s)}:
        return let
    key = f"{read.fn.key.rpartition('.')[0]}.{TAKING[read.fn.key]}"
    taken = replace(read, fn=replace(read.fn, key=key), args=(tree.Arg(place=place.base), *read.args[1:]))
    return replace(let, value=replace(let.value, option=taken) if isinstance(let.value, tree.Coalesce) else taken)


def _written(s: tree.Stmt, var: tree.Var) -> tree.PlaceElement | None:
    """The place of `m[k] = var`."""
    match s:
        case tree.Assign(targets=(tree.PlaceElement() as place,), op=None, values=(tree.Local(var=value),)):
            return place if value.key == var.key else None
    return None


def _is_place(e: tree.Expr, place: tree.Place) -> bool:
    """Is it a variable, or a field of one, and the same one? (A field of a model is another matter.)"""
    match e, place:
        case tree.Local(var=a), tree.PlaceVar(var=b):
            return a.key == b.key
        case tree.Field(value=value, name=name), tree.PlaceField(base=base, name=other):
            return name == other and isinstance(value.type, Named) and _is_place(value, base)
    return False


def _same(a: Any, b: Any) -> bool:
    """The same expression, of what is steady."""
    xs, ys = list(walk(a)), list(walk(b))
    return len(xs) == len(ys) and all(
        type(x) is type(y) and isinstance(x, STEADY) and _own(x) == _own(y) for x, y in zip(xs, ys))


def _own(node: tree.Node) -> tuple[object, ...]:
    """What a node says beside the nodes below it."""
    match node:
        case tree.Local(var=var):
            return (var.key,)
        case tree.Const(type=t, value=value):
            return (t, type(value), value)
        case tree.Binary(op=op) | tree.Unary(op=op):
            return (op,)
        case tree.Field(name=name):
            return (name,)
        case tree.MakeStruct(type=t):
            return (t,)
        case tree.DimValue(dim=dim):
            return (dim,)
    return ()
