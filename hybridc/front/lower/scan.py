"""Questions about tree nodes that lowering asks before it lowers them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from hybridc.front.check import tree
from hybridc.front.lower.core import Context


@cache
def _fields(kind: type) -> tuple[str, ...]:
    return tuple(f.name for f in dataclasses.fields(kind) if f.name not in ("type", "span"))


def walk(node: Any, into: Callable[[Any], bool] = lambda _: True) -> Iterator[Any]:
    """The nodes below (and with) a node, in order; `into` says whether to go below one."""
    if isinstance(node, (tuple, list)):
        for item in node:
            yield from walk(item, into)
    elif isinstance(node, tree.Node):
        yield node
        if into(node):
            for name in _fields(type(node)):  # type: ignore[arg-type]
                yield from walk(getattr(node, name), into)


def _own(node: Any) -> bool:
    """Not below closures: they assign copies of their own."""
    return not isinstance(node, tree.Lambda)


def assigned(ctx: Context, node: Any) -> tuple[str, ...]:
    """Keys of the variables that a node assigns or passes as `mut`, in order of first assignment."""
    key = ("assigned", id(node))
    found = ctx.memo.get(key)
    if found is None:
        keys = dict.fromkeys(n.var.key for n in walk(node, _own) if isinstance(n, tree.PlaceVar))
        found = ctx.memo[key] = (tuple(keys), node)
    return found[0]


def has_continue(ctx: Context, body: tuple[tree.Stmt, ...]) -> bool:
    """A `continue` of this loop, not of one within."""
    key = ("continue", id(body))
    found = ctx.memo.get(key)
    if found is None:
        into = lambda n: not isinstance(n, (tree.Lambda, tree.While, tree.For))  # noqa: E731
        found = ctx.memo[key] = (any(isinstance(n, tree.Continue) for n in walk(body, into)), body)
    return found[0]


def place_root(place: tree.Place) -> tree.Var:
    """The variable that a place is in."""
    while not isinstance(place, tree.PlaceVar):
        place = place.base
    return place.var
