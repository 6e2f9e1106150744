"""Which derivatives do not exist, found once every body is checked: externs on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from hybridc.base.source import Span
from hybridc.base.types import FnRef
from hybridc.front import tree
from hybridc.front.scope import World


def check_gradients(world: World, gradients: list[tuple[tree.Expr, Span]], report: Callable[..., None]) -> None:
    for f, span in gradients:
        bad = _extern(world, f)
        if bad is not None:
            report("HYB604", f"`{bad}` is extern, and nothing says what its derivative is", span,
                   help="call it in a fn with a derivative of its own: `@custom_grad(back)`")


def _extern(world: World, f: tree.Expr) -> str | None:
    """The name of an extern of the user's that `f` reaches without a custom_grad on the way."""
    seen: set[str] = set()
    waiting = list(_refs(f))
    while waiting:
        key = waiting.pop()
        if key in seen or key.startswith("std."):
            continue
        seen.add(key)
        decl = world.decls.get(key)
        if not isinstance(decl, tree.FnDecl) or decl.custom_grad is not None:
            continue
        if decl.host is not None:
            return decl.name
        waiting += _refs(decl.body)
    return None


def _refs(node: Any) -> Iterator[str]:
    """The functions that a tree mentions."""
    if isinstance(node, tuple):
        for n in node:
            yield from _refs(n)
    elif isinstance(node, FnRef):
        yield node.key
    elif isinstance(node, tree.Typed) or (is_dataclass(node) and type(node).__module__ == tree.__name__):
        if isinstance(node, tree.Builtin) and node.name == "stop_gradient":
            return
        for f in fields(node):
            yield from _refs(getattr(node, f.name))
