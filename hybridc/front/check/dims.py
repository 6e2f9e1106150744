"""Which expressions and names inside a body are dimensions: ints that never change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridc.base.dims import Dim, PackVar
from hybridc.base.source import Span
from hybridc.base.types import INT, Poison, Tensor
from hybridc.front.check import model as check_model
from hybridc.front.check import tree
from hybridc.front.check.infer import is_unknown

if TYPE_CHECKING:
    from hybridc.front.check.body import Body


def known_dim(c: Body, e: tree.Expr) -> Dim | None:
    """An int expression as a polynomial over fixed values, if it is one."""
    match e:
        case tree.Const(value=int() as value) if not isinstance(value, bool):
            return Dim.of(value)
        case tree.DimValue(dim=d):
            return d
        case tree.Local(var=var):
            local = c.find(var.name)[0]
            if local is not None and local.var.key == var.key:
                return local.dim
            return None
        case tree.Unary(op="-", operand=x):
            inner = known_dim(c, x)
            return None if inner is None else Dim.of(0) - inner
        case tree.Binary(op="+" | "-" | "*" as op, left=l, right=r):
            a, b = known_dim(c, l), known_dim(c, r)
            if a is None or b is None:
                return None
            return a + b if op == "+" else a - b if op == "-" else a * b
        case tree.Binary(op="**", left=l, right=tree.Const(value=int() as power)) if 0 <= power <= 16:
            a = known_dim(c, l)
            return None if a is None else a.power(power)
        case tree.Call(fn=fn, args=(tree.Arg(value=tree.Builtin(name="shape", args=(x,))),
                                    tree.Arg(value=tree.Const(value=int() as i)))) if fn.key.endswith("list._get"):
            t = c.head(x.type)
            if isinstance(t, Tensor):
                return _known_axis(t, i)
        case tree.Builtin(name="len", args=(x,)):
            t = c.head(x.type)
            if isinstance(t, Tensor):
                return _known_axis(t, 0)
        case tree.ConfigValueOf() | tree.Field():
            return check_model.dim_of_member(c, e)
    return None


def _known_axis(t: Tensor, axis: int) -> Dim | None:
    """A dimension of a tensor by its number, unless a `*` or a `?` hides it."""
    if not -len(t.shape) <= axis < len(t.shape) or any(isinstance(s, PackVar) for s in t.shape):
        return None
    d = t.shape[axis]
    return d if isinstance(d, Dim) and not any(is_unknown(v) for v in d.variables()) else None


def dim_of_name(c: Body, name: str, span: Span | None) -> Dim | None:
    """A dimension named in a type inside the body: an int that never changes. With `span`, where it is named, it
    is an error if it is something else."""
    if "." in name:
        base, _, field = name.partition(".")
        local = c.find(base)[0]
        if local is None:
            return None
        return check_model.dim_of_field(c, c.resolve(local.var.type), field)
    local = c.use(name, Span("", 0, 0)) if c.find(name)[0] is not None else None
    if local is None:
        return None
    if local.dim is not None:
        return local.dim
    if span is None or isinstance(c.head(local.var.type), Poison):
        c.had_errors = True
    elif c.head(local.var.type) != INT:
        c.error("HYB403", f"`{name}` is {c.show(local.var.type)}; a dimension is an int", span)
    else:
        c.error("HYB403", f"`{name}` is a `var`, and may change; a dimension is fixed", span,
                   help=f"copy it first: `let size = {name}`")
    return c.fresh_dim()
