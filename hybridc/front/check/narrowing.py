"""What a condition says about options: `x != none` narrows x where it holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

from hybridc.front.check import tree
from hybridc.front.parse import syntax

Facts = frozenset[str]
NOTHING: Facts = frozenset()


def path_of(e: tree.Expr) -> str | None:
    """The path of a variable or of a field of one."""
    match e:
        case tree.Local(var=var):
            return var.key
        case tree.Field(value=value, name=n):
            base = path_of(value)
            return None if base is None else f"{base}.{n}"
        case tree.Unwrap(value=value):
            return path_of(value)
    return None


def facts(e: tree.Expr) -> tuple[Facts, Facts]:
    """The paths that are not none when the condition holds, and when it does not."""
    match e:
        case tree.Binary(op="==" | "!=" as op, left=l, right=r):
            for x, y in ((l, r), (r, l)):
                path = path_of(x)
                if path is not None and isinstance(y, tree.Const) and y.value is None:
                    known = frozenset({path})
                    return (NOTHING, known) if op == "==" else (known, NOTHING)
        case tree.Unary(op="not", operand=x):
            yes, no = facts(x)
            return no, yes
        case tree.Logic(op="and", left=l, right=r):
            a, b = facts(l), facts(r)
            return a[0] | b[0], a[1] & b[1]
        case tree.Logic(op="or", left=l, right=r):
            a, b = facts(l), facts(r)
            return a[0] & b[0], a[1] | b[1]
    return NOTHING, NOTHING


def root_name(e: Any) -> str | None:
    """The variable at the root of a place."""
    while isinstance(e, syntax.Attribute | syntax.Index):
        e = e.value
    return e.id if isinstance(e, syntax.Name) else None


def changed_names(nodes: Any) -> set[str]:
    """The names of variables that statements may change: assigned, passed as `mut`, or receivers of methods."""
    found: set[str] = set()
    _collect(nodes, found)
    return found


def _collect(node: Any, found: set[str]) -> None:
    if isinstance(node, tuple | list):
        for n in node:
            _collect(n, found)
        return
    if not is_dataclass(node) or not isinstance(node, syntax.Node):
        return
    roots: Iterable[Any] = ()
    match node:
        case syntax.Assign(targets=targets):
            roots = targets
        case syntax.Argument(mut=True, value=value):
            roots = (value,)
        case syntax.Call(fn=syntax.Attribute(value=value)):
            roots = (value,)
    for r in roots:
        name = root_name(r)
        if name is not None:
            found.add(name)
    for f in fields(node):
        _collect(getattr(node, f.name), found)
