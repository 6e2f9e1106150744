"""Calls of generic functions: what a call may choose, what brackets give, what bounds demand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hybridc.base.dims import Dim, DimVar, PackVar, Shape
from hybridc.base.source import Span
from hybridc.base.types import F32, INT, VOID, ModelType, Named, Poison, Substitution, Tensor, Type, TypeVar, substitute
from hybridc.front.check import access as check_access
from hybridc.front.check import call as check_call
from hybridc.front.check import model as check_model
from hybridc.front.check import tree
from hybridc.front.check.infer import Meta
from hybridc.front.check.scope import EnumSig, FnSig, MethodSig, ModelSig, StructSig
from hybridc.front.check.signatures import shapes_in
from hybridc.front.parse import syntax

if TYPE_CHECKING:
    from hybridc.front.check.body import Body

def instantiate(c: Body, sig: FnSig, span: Span, types: Sequence[Any] | None, receiver: Type | None = None
                ) -> tuple[Substitution, tuple[Type, ...], tuple[Shape, ...]]:
    """Fresh inference variables for all that a call of `sig` may choose; `types` are those given in brackets. The
    `receiver` of a model's method gives its configuration."""
    s: Substitution = {}
    owner = check_access.model_of(c, c.head(receiver)) if receiver is not None else None
    if owner is not None and sig.owner == owner[0].key:
        s.update(config_substitution(c, *owner))
    given = dict(zip(sig.brackets, types)) if types is not None else {}
    metas: list[Type] = []
    for v in sig.type_params:
        t = given.get(v)
        if t is None:
            bounds = (v.bound,) if v.bound is not None and v.bound not in ("method", "config") else ()
            t = c.fresh(span, f"`{v.name}` in the call of `{sig.name}`", bounds)
            if v.bound is not None and v.bound.startswith("model "):
                model = c.world.model(v.bound.removeprefix("model "))
                for p in model.config:
                    if isinstance(p.var, DimVar):
                        d = DimVar(f"{v.key}.{p.name}", p.name)
                        s[d] = Dim.of(c.solver.fresh_dim(p.name))
        s[v] = t
        metas.append(t)
    for d in sig.dims:
        s[d] = given[d] if d in given else Dim.of(c.solver.fresh_dim(d.name))
    packs: list[Shape] = []
    for pack in sig.packs:
        shape = given[pack] if pack in given else (c.solver.fresh_pack(pack.name),)
        s[pack] = shape
        packs.append(shape)
    for q in unknowns_of(sig):
        s[q] = c.fresh_dim()
    return s, tuple(metas), tuple(packs)


def settle_elements(c: Body, args: Sequence[tree.Arg]) -> None:
    """Tensors such as `ones(3)` whose element type nothing in a call has decided are what they are without context."""
    for a in args:
        t = c.head(a.value.type) if a.value is not None else None
        kind = c.head(t.elem) if isinstance(t, Tensor) else None
        if isinstance(kind, Meta):
            c.solver.unify(kind, INT if "int" in kind.bounds else F32)


def needs_dims(c: Body, sig: FnSig, span: Span) -> bool:
    """Report a function as a value that a call gives dimensions."""
    if not sig.given:
        return False
    names = ", ".join(d.name for d in sig.given)
    c.error("HYB209", f"`{sig.name}` is no value: no argument says what {names} is", span,
            help=f"write a function that calls it: `fn(x): {sig.name}[...](x)`")
    return True


def unknowns_of(sig: FnSig) -> list[DimVar]:
    """The `?`s of the result: each call gives new ones."""
    found: list[DimVar] = []
    if sig.result is not None:
        for shape in shapes_in(sig.result):
            for item in shape:
                if isinstance(item, Dim):
                    found += [v for v in sorted(item.variables()) if v.name == "?" and v not in found]
    return found


def link_models(c: Body, sig: FnSig, s: Substitution) -> None:
    """`m.size` of a bare model argument, once its configuration is known."""
    for v in sig.type_params:
        if v.bound is None or not v.bound.startswith("model "):
            continue
        actual = c.head(s[v])  # type: ignore[arg-type]
        model = check_access.model_of(c, actual)
        if model is None:
            continue
        for p, value in zip(model[0].config, model[1].config):
            key = DimVar(f"{v.key}.{p.name}", p.name)
            if isinstance(value, Dim) and isinstance(s.get(key), Dim):
                c.solver.unify_dim(s[key], value)  # type: ignore[arg-type]


def bracket_types(c: Body, sig: FnSig, items: Sequence[Any], span: Span) -> tuple[Any, ...] | None:
    """The type and dimension arguments in brackets, one for each bracket parameter (a pack takes all that is left)."""
    out: list[Any] = []
    brackets = [b for b in sig.brackets]
    if len(brackets) == 1 and isinstance(brackets[0], PackVar):
        dims = []
        for i in items:
            dims.append(_dim_item(c, i))
        return (tuple(dims),)
    if len(items) != len(brackets):
        c.error("HYB306", f"`{sig.name}` takes {len(brackets)} type argument" + ("" if len(brackets) == 1 else "s")
                + f", {len(items)} given", span)
        return None
    for b, i in zip(brackets, items):
        if isinstance(b, TypeVar):
            t = c.reader.type(i)
            if b.bound is not None and b.bound not in ("method", "config"):
                c.require(t, b.bound, i.span, f"`{b.name}` of `{sig.name}`")
            out.append(t)
        else:
            out.append(_dim_item(c, i))
    return tuple(out)


def _dim_item(c: Body, item: Any) -> Dim:
    if isinstance(item, syntax.Unknown | syntax.Pack | syntax.Slice | syntax.TypeName):
        return c.reader.dim(item)
    x = c.typed(item, INT, "a dimension")
    return c.dim_of(x)


def check_demand(c: Body, sig: FnSig, m: MethodSig, actual: Type, s: Substitution, span: Span) -> None:
    """Whether an argument's type has the method that the bound demands; solves the dimensions of the bound."""
    t = c.head(actual)
    if isinstance(t, Meta | Poison):
        return
    if isinstance(t, TypeVar):
        own = check_call.demanded_method(c, t, m.name)
        if own is not None:
            _unify_method(c, m, own.params, own.result, s)
            return
    method = check_access.method_of(c, t, m.name)
    if method is None:
        c.error("HYB309", f"{c.show(t)} has no method `{m.name}`, which `{sig.name}` asks for", span)
        return
    c.checker.ensure_result(c, method, span)
    if needs_dims(c, method, span):
        return
    ms, _, _ = instantiate(c, method, span, None, t)
    if check_access.model_of(c, t) is None:
        c.solver.unify(substitute(method.params[0].type, ms), t)
    link_models(c, method, ms)
    params = tuple((substitute(p.type, ms), p.mut) for p in method.params[1:])
    result = substitute(method.result or VOID, ms)
    found = _signature(c, m.name, params, result)
    if not _unify_method(c, m, params, result, s):
        expected = _signature(c, m.name, m.params, m.result)
        c.error("HYB309", f"`{m.name}` of {c.show(t)} does not have the signature that `{sig.name}` asks for: expected "
                f"{expected}, found {found}", span)


def _signature(c: Body, name: str, params: tuple[tuple[Type, bool], ...], result: Type) -> str:
    shown = ", ".join("mut " * mut + c.show(t) for t, mut in params)
    return f"`{name}({shown})" + (f" -> {c.show(result)}`" if result != VOID else "`")


def _unify_method(c: Body, m: MethodSig, params: tuple[tuple[Type, bool], ...], result: Type, s: Substitution) -> bool:
    free: Substitution = {**s, **{d: Dim.of(c.solver.fresh_dim(d.name)) for d in m.free_dims},
                          **{p: (c.solver.fresh_pack(p.name),) for p in m.free_packs}}
    if len(params) != len(m.params):
        return False
    ok = all(c.solver.unify(a, substitute(b, free)) for (a, _), (b, _) in zip(params, m.params))
    return ok and c.solver.unify(substitute(m.result, free), result)


def owner_substitution(c: Body, t: Named) -> Substitution:
    """The type arguments of a receiver, for the signature of its method."""
    owner = c.world.type(t.key)
    assert isinstance(owner, StructSig | EnumSig)
    return dict(zip(owner.params, t.args))  # type: ignore[arg-type]


def config_substitution(c: Body, sig: ModelSig, model: ModelType) -> Substitution:
    """From a model's own configuration variables to the configuration of `model`; the sizes that it computes from them
    are not known outside of it."""
    s = check_model.config_substitution(sig, model)
    check_model.prepare(c.checker, sig.key)
    if sig.sizes and model != check_access.own_type(sig):
        s.update({size: c.fresh_dim() for size in sig.sizes})
    return s
