"""Submodels that a model holds because its methods use a configuration argument that is a model.

    model Residual(inner: model):
        fn forward(x: f32[*B, D]) -> f32[*B, D]:
            return x + self.inner(x)            # as if `let inner = inner` stood above
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from hybridc.base.source import Span
from hybridc.base.types import BOOL
from hybridc.front.check.scope import ModelSig
from hybridc.front.parse import syntax


def submodels(decl: syntax.Model) -> tuple[syntax.ModelLet, ...]:
    """A `let` for each model of the configuration that a method uses by its name and no member holds under it, in the
    order of the configuration."""
    models = {p.name for p in decl.config if isinstance(p.type, syntax.TypeName) and p.type.name == "model"}
    models -= {m.name for m in decl.members}
    if not models:
        return ()
    used: dict[str, Span] = {}
    for m in decl.members:
        if isinstance(m, syntax.Fn):
            for name, span in uses(m):
                used.setdefault(name, span)
    return tuple(syntax.ModelLet(used[p.name], p.name, None, syntax.Name(used[p.name], p.name))
                 for p in decl.config if p.name in models and p.name in used)


def uses(fn: syntax.Fn) -> Iterator[tuple[str, Span]]:
    """Names read as `self.name`, called `name(x)` or asked for a member `name.f`, where no local has that name."""
    local = {n.name for n in nodes(fn) if isinstance(n, syntax.Param | syntax.Bind)}
    for node in nodes(fn):
        match node:
            case syntax.Attribute(value=syntax.Name(id="self"), name=name):
                yield name, node.name_span
            case syntax.Call(fn=syntax.Name(id=name)) | syntax.Attribute(value=syntax.Name(id=name)) \
                    if name not in local:
                yield name, node.span


def nodes(root: syntax.Node) -> Iterator[syntax.Node]:
    """A node and all below it; without recursion, for source may be deep."""
    waiting: list[object] = [root]
    while waiting:
        one = waiting.pop()
        if isinstance(one, syntax.Node):
            yield one
            waiting += [getattr(one, f.name) for f in fields(one)]
        elif isinstance(one, tuple):
            waiting += one


def holds(sig: ModelSig, m: syntax.ModelParam | syntax.ModelState | syntax.ModelLet) -> bool:
    """Whether a member may bear the name of an argument of the configuration: a parameter that of the bool that says
    whether it is there, a submodel that of the model which it is."""
    config = sig.config_named(m.name)
    if config is None:
        return False
    match m:
        case syntax.ModelParam():
            return config.type == BOOL
        case syntax.ModelLet():
            return config.is_model
    return False
