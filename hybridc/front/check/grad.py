"""`grad(f)` and `value_and_grad(f)`: what can be differentiated with respect to what, and the type of the result."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hybridc.base.dims import PackVar
from hybridc.base.types import (
    F32,
    VOID,
    FnType,
    ModelType,
    Poison,
    Tensor,
    TupleType,
    Type,
    TypeVar,
)
from hybridc.front.check import access as check_access
from hybridc.front.check import model as check_model
from hybridc.front.check import place as check_place
from hybridc.front.check import tree
from hybridc.front.check.bounds import holds_floats, is_float, model_of
from hybridc.front.check.infer import Meta
from hybridc.front.check.literal import open_literal
from hybridc.front.check.scope import ParamSig
from hybridc.front.parse import syntax

if TYPE_CHECKING:
    from hybridc.front.check.body import Body

KNOWN = tree.FnValue | tree.BoundMethod
_PAIR = "what is not the loss stands in one value, `(loss, aux)`, which may be a tuple: `(loss, (a, b))`"


def gradient(c: Body, e: syntax.Call, expected: Type | None) -> tree.Expr:
    """`grad(f)`, `value_and_grad(f)`, `jvp(f)`, `hvp(f)`, `jacobian(f)`, each with `wrt=` where asked."""
    kind = e.fn.id if isinstance(e.fn, syntax.Name) else "grad"
    f_arg: syntax.Argument | None = None
    wrt: tuple[str, ...] | None = None
    for a in e.args:
        if a.name is None and f_arg is None:
            f_arg = a
        elif a.name == "wrt":
            value = c.const(a.value)
            if isinstance(value, str):
                wrt = (value,)
            elif isinstance(value, tuple) and value and all(isinstance(v, str) for v in value):
                wrt = value
            else:
                c.error("HYB306", "`wrt` names parameters: `wrt=\"b\"` or `wrt=(\"a\", \"b\")`", a.value.span)
                return c.poison(e.span)
        else:
            c.error("HYB306", f"`{kind}` takes a function, and `wrt=`", a.span,
                    help=f"names of parameters choose, and arguments follow: `{kind}(f, wrt=\"x\")(x, y)`")
            return c.poison(e.span)
    if f_arg is None:
        c.error("HYB306", f"`{kind}` takes the function to differentiate", e.span)
        return c.poison(e.span)
    stateful: tree.Place | None = None
    args: tuple[syntax.Argument, ...] = ()
    if f_arg.mut:
        if kind not in ("grad", "value_and_grad"):
            c.error("HYB604", f"`{kind}` takes no method that writes state", f_arg.span)
            return c.poison(e.span)
        found = stateful_method(c, f_arg.value)
        if found is None:
            return c.poison(e.span)
        f, stateful = found
    else:
        c.applied[id(f_arg.value)] = args = c.applied.pop(id(e), ())
        f = c.value(f_arg.value)
    t = c.head(f.type)
    if isinstance(t, Poison):
        return f
    if not isinstance(t, FnType):
        help = f"name the method: `{kind}(m.loss)`" if model_of(t) is not None else (
            f"name the function: `{kind}(f)(x)`, not `{kind}(f(x))`" if isinstance(f_arg.value, syntax.Call) else None)
        c.error("HYB604", f"`{kind}` differentiates functions, and {c.show(t)} is not one", f_arg.value.span, help=help)
        return c.poison(e.span)
    known = parameters(c, f)
    names = None if known is None else [p.name for p in known]
    positions = choose(c, f, t, wrt, names, e)
    if positions is None or not fits(c, t, f_arg.value, kind):
        return c.poison(e.span)
    _types_from_arguments(c, f, t, names, args)
    targets: list[Type] = []
    for p in positions:
        target = c.resolve(receiver_of(f) if p == -1 else t.params[p][0])
        d = derivative(c, target)
        shown = "`self`" if p == -1 else f"`{names[p]}`" if names else f"argument {p + 1}"
        if isinstance(target, Poison):
            return c.poison(e.span)
        if isinstance(target, Meta):
            c.error("HYB308", f"the type of {shown} is not known here", e.span, help="write it: `fn(x: f32): ...`")
            return c.poison(e.span)
        if d is None:
            c.error("HYB604", f"there is no derivative with respect to {shown}: {target} holds no floats, so it is not "
                    "differentiable", e.span)
            return c.poison(e.span)
        if kind == "jacobian" and not (isinstance(d, Tensor) or is_float(d)):
            c.error("HYB604", f"`jacobian` is by floats and tensors, and {shown} is {target}", e.span,
                    help="`jvp` is by anything that holds floats")
            return c.poison(e.span)
        if kind == "jacobian" and both_open(c.resolve(t.result), d):
            c.error("HYB604", f"the `jacobian` of {c.show(t.result)} by {d} has two `*` names in its shape", e.span,
                    help="reshape to known axes within the function")
            return c.poison(e.span)
        targets.append(d)
    c.checker.aside(c.module.name).gradients.append((f, tuple(positions), e.span))
    return tree.Gradient(derived(c, t, kind, targets), e.span, f, kind, tuple(positions), stateful)


def _types_from_arguments(c: Body, f: tree.Expr, t: FnType, names: list[str] | None,
                          args: tuple[syntax.Argument, ...]) -> None:
    """What a generic function is differentiated by is of the type that the derivative is called with."""
    heads = [c.head(m) for m in f.fn.types] if isinstance(f, KNOWN) else []
    open_types = [m for m in heads if isinstance(m, Meta)]
    indices = sorted(range(len(args) if open_types else 0), key=lambda i: open_literal(c, args[i].value))
    for i in indices:
        a = args[i]
        at = i if a.name is None else names.index(a.name) if names and a.name in names else len(t.params)
        if at < len(t.params) and not a.mut and any(c.solver.occurs(m, t.params[at][0]) for m in open_types):
            c.prechecked[id(a.value)] = x = c.value(a.value, t.params[at][0])
            c.solver.attempt(t.params[at][0], x.type)


def derived(c: Body, t: FnType, kind: str, targets: list[Type]) -> FnType:
    """The type of the derivative of a function of type `t`, where the derivatives by what it is taken by are
    `targets`."""
    if kind == "jacobian":
        targets = [beside(c.resolve(t.result), d) for d in targets]
    g: Type = targets[0] if len(targets) == 1 else TupleType(tuple(targets))
    directions = tuple((d, False) for d in targets)
    if kind == "jvp":
        return FnType((*t.params, *directions), TupleType((t.result, t.result)))
    if kind == "hvp":
        return FnType((*t.params, *directions), g)
    return FnType(t.params, TupleType((t.result, g)) if kind == "value_and_grad" else g)


def both_open(result: Type, by: Type) -> bool:
    """Whether both have a `*` name in their shapes."""
    return all(isinstance(x, Tensor) and any(isinstance(d, PackVar) for d in x.shape) for x in (result, by))


def beside(result: Type, by: Type) -> Type:
    """The type of all derivatives of a result by an argument: the axes of the one, then those of the other."""
    shapes = [x.shape if isinstance(x, Tensor) else () for x in (result, by)]
    shape = (*shapes[0], *shapes[1])
    elem = by.elem if isinstance(by, Tensor) else by
    return Tensor(elem, shape) if shape else elem  # type: ignore[arg-type]


def checkpoint(c: Body, e: syntax.Call, expected: Type | None) -> tree.Expr:
    """`checkpoint(f)`: f, of which a derivative keeps the arguments alone."""
    if len(e.args) != 1 or e.args[0].name is not None or e.args[0].mut:
        c.error("HYB306", "`checkpoint` takes one function: `checkpoint(f)(x)`", e.span)
        return c.poison(e.span)
    f = c.value(e.args[0].value, expected)
    t = c.head(f.type)
    if isinstance(t, Poison):
        return f
    if not isinstance(t, FnType):
        c.error("HYB604", f"`checkpoint` is of functions, and {c.show(t)} is not one", e.args[0].value.span,
                help="`checkpoint(f)(x)`, not `checkpoint(f(x))`")
        return c.poison(e.span)
    return tree.Checkpoint(t, e.span, f)


def stateful_method(c: Body, e: syntax.Expr) -> tuple[tree.Expr, tree.Place] | None:
    """`mut m.loss`: a method that may write the model's state."""
    if not isinstance(e, syntax.Attribute):
        c.error("HYB506", "`mut` stands before a method of a model here: `value_and_grad(mut m.loss)`", e.span)
        return None
    place = check_place.place(c, e.value, "mut")
    if place is None:
        return None
    place = check_place.held(c, place)
    receiver = c.value(e.value)
    t = c.head(receiver.type)
    sig = check_access.method_of(c, t, e.name)
    if sig is None:
        check_access.no_member(c, t, e.name, e.name_span)
        return None
    saved = sig.mutates_self
    c.checker.ensure_result(c, sig, e.span)
    sig.mutates_self = False
    f = check_access.bound_method(c, receiver, sig, e, None)
    sig.mutates_self = saved
    return f, place


def receiver_of(f: tree.Expr) -> Type:
    assert isinstance(f, tree.BoundMethod)
    return f.receiver.type


def parameters(c: Body, f: tree.Expr) -> list[ParamSig] | None:
    """The parameters, where the function is a declared one or written here."""
    match f:
        case tree.FnValue(fn=fn):
            return [replace(p, has_default=False) for p in c.world.fn(fn.key).params]
        case tree.BoundMethod(fn=fn):
            return [replace(p, has_default=False) for p in c.world.fn(fn.key).params[1:]]
        case tree.Lambda(params=params, mut=muts, span=span):
            return [ParamSig(p.name, p.type, mut, False, span) for p, mut in zip(params, muts)]
        case tree.Local(var=var):
            return c.local_fns.get(var.key)
        case tree.Checkpoint(fn=inner):
            return parameters(c, inner)
        case tree.Gradient(fn=inner, kind=kind):
            return parameters(c, inner) if kind not in ("jvp", "hvp") else None
    return None


def choose(c: Body, f: tree.Expr, t: FnType, wrt: tuple[str, ...] | None, names: list[str] | None, e: syntax.Call
           ) -> list[int] | None:
    """The positions to differentiate by: the model of a bound method, else the first parameter, else those named."""
    if wrt is None:
        if isinstance(f, tree.BoundMethod) and check_access.model_of(c, c.head(f.receiver.type)) is not None:
            return [-1]
        if not t.params:
            c.error("HYB604", "a function without parameters has no derivative", e.span)
            return None
        return [0]
    if names is None:
        c.error("HYB604", "`wrt` needs a declared function, whose parameters have names", e.span)
        return None
    out: list[int] = []
    for w in wrt:
        if w == "self" and isinstance(f, tree.BoundMethod):
            out.append(-1)
            continue
        if w not in names:
            c.error("HYB604", f"there is no parameter `{w}` to differentiate by", e.span,
                    help="its parameters are " + ", ".join(f"`{n}`" for n in names))
            return None
        out.append(names.index(w))
    return out


def fits(c: Body, t: FnType, e: syntax.Expr, kind: str) -> bool:
    """Has the function the result that this derivative needs? Else an error."""
    result = c.resolve(t.result)
    if isinstance(result, Poison | Meta):
        return True
    if kind == "jvp":
        if result != VOID and derivative(c, result) is not None:
            return True
        c.error("HYB604", f"`jvp` needs a function whose result holds floats, and this gives {result}", e.span)
        return False
    if kind == "jacobian":
        if any(mut for _, mut in t.params):
            c.error("HYB604", "`jacobian` takes no function that changes an argument", e.span)
            return False
        if is_float(result) or isinstance(result, Tensor) and is_float(result.elem):
            return True
        c.error("HYB604", f"`jacobian` needs a function whose result is a float or a tensor of floats, and this gives "
                f"{result}", e.span, help="`jvp` differentiates whatever holds floats")
        return False
    first: Type = result
    if isinstance(result, TupleType) and len(result.items) == 2:
        first = result.items[0]
    if is_float(first) or isinstance(first, Poison | Meta):
        return True
    if isinstance(first, Tensor):
        c.error("HYB604", f"`{kind}` needs a scalar result, and this gives {result}", e.span,
                help="reduce it first, `sum(...)` or `mean(...)`; or take `jacobian`")
    else:
        several = isinstance(result, TupleType) and any(map(is_float, result.items[:1]))
        c.error("HYB604", f"`{kind}` needs a function with a float result, and this gives {result}: it has no "
                "derivative", e.span, help=_PAIR if several else None)
    return False


def derivative(c: Body, t: Type) -> Type | None:
    """The type of the derivative with respect to a value of type `t`; None if it holds no floats."""
    if isinstance(t, ModelType) or check_access.model_of(c, t) is not None:
        found = check_access.model_of(c, t)
        elem = check_model.elem_of_model(c.checker, found[0]) if found is not None else F32
        return Tensor(elem or F32, (c.fresh_dim(),))
    if isinstance(t, TypeVar):
        return t if is_float(t) or t.bound in (None, "number", "method", "model") else None
    return t if holds_floats(c.world, t) else None
