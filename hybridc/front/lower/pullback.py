"""What Python needs of a model's derivatives: of a method that gives a float its value and derivative, of `forward` the
derivative by its arguments given that by its result, on which PyTorch's autograd runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hybridc.base.source import Span
from hybridc.base.types import BOOL, F64, FLOATS, ModelType
from hybridc.core import ir, tensor_build
from hybridc.core.builder import Builder
from hybridc.core.interface import Entry, Param
from hybridc.core.types import rank, without_dims
from hybridc.front.check import tree
from hybridc.front.check.gradients import MADE, STORE, made_within, store_read
from hybridc.front.lower.closure import Closure
from hybridc.front.lower.core import Context, Instance, Lowerer, generated
from hybridc.front.lower.gradient import derivative
from hybridc.front.lower.instance import enter_instance


def _kinds(ctx: Context, decl: tree.FnDecl, instance: Instance) -> tuple[list[ir.Type], ir.Type]:
    """The Core types of the arguments and of the result."""
    spec = Lowerer(ctx)
    enter_instance(spec, instance, decl)
    return [ctx.types.inner(spec.concrete(p.var.type)) for p in decl.params], without_dims(spec.type(decl.result))


def method_gradient(ctx: Context, t: ModelType, decl: tree.FnDecl, instance: Instance, method: Entry) -> Entry | None:
    """The method's value and its derivative by the model's parameters, where it gives a float (and more)."""
    layout = ctx.models.layout(t)
    first = method.result
    if isinstance(first, ir.TupleT) and first.items:
        first = first.items[0]
    if first not in FLOATS or not layout.size:
        return None
    kinds, value = _kinds(ctx, decl, instance)
    primal = [value, *(k for k, p in zip(kinds, decl.params, strict=True) if p.mut)]
    vector = ir.TensorT(layout.elem, (None,))
    result = ir.TupleT((value, vector))
    closure = Closure(None, f"{layout.decl.name}.{decl.name}", method.symbol, [])
    refused = STORE if store_read(ctx.decls, decl.body) is not None else ""
    refused = refused or (MADE if made_within(ctx.decls, decl.body) is not None else "")
    symbol = derivative(ctx, closure, primal, kinds, [0], [vector], result, True, decl.span, True, refused)
    return Entry(symbol, method.params, result, f"({method.result_shown}, {layout.elem}[?])", decl.doc)


def pullback(ctx: Context, t: ModelType, decl: tree.FnDecl, instance: Instance, forward: Entry) -> Entry | None:
    """The derivative of sum(forward(...) * d) by the parameters and each argument that is a float, a float tensor, or
    an option of these."""
    kinds, value = _kinds(ctx, decl, instance)
    outputs = value.items if isinstance(value, ir.TupleT) else (value,)
    if forward.result is None or not outputs or not all(map(_is_float, outputs)):
        return None
    muts = [k for k, p in zip(kinds, decl.params, strict=True) if p.mut]
    layout = ctx.models.layout(t)
    named = [(p.var.name, k) for p, k in zip(decl.params, kinds, strict=True)]
    floats = [i for i, k in enumerate(kinds) if _has_derivative(k)]
    vector = ir.TensorT(layout.elem, (None,))
    targets: list[ir.Type] = [vector, *(kinds[i] for i in floats)]
    symbol, result = _transposed(ctx, f"{layout.decl.name}.{decl.name}", decl.span, forward.symbol, named,
                                 [value, *muts], [0, *floats], targets)
    params = [replace(p, mut=False) for p in forward.params]
    params.append(Param("d", value, shown=forward.result_shown))
    return Entry(symbol, params, result, "", decl.doc)


def curvature(ctx: Context, t: ModelType, decl: tree.FnDecl, instance: Instance, pull: Entry) -> Entry | None:
    """The derivative of sum(pullback(..., d) * u) by what `pullback` has derivatives by, and by d."""
    kinds, value = _kinds(ctx, decl, instance)
    assert pull.result is not None
    layout = ctx.models.layout(t)
    named = [*((p.var.name, k) for p, k in zip(decl.params, kinds, strict=True)), ("d", value)]
    floats = [i for i, k in enumerate(kinds) if _has_derivative(k)]
    vector = ir.TensorT(layout.elem, (None,))
    targets: list[ir.Type] = [vector, *(kinds[i] for i in floats), value]
    symbol, result = _transposed(ctx, f"{layout.decl.name}.{decl.name}", decl.span, pull.symbol, named,
                                 [pull.result], [0, *floats, len(kinds)], targets)
    return Entry(symbol, [*pull.params, Param("u", pull.result)], result, "", decl.doc)


def _transposed(
    ctx: Context, title: str, span: Span, fn: str, named: list[tuple[str, ir.Type]], results: list[ir.Type],
    wrt: list[int], targets: list[ir.Type],
) -> tuple[str, ir.Type]:
    """The derivatives of sum(fn(...) * d) as a function of the arguments of `fn` and then of d, which is like its first
    result: floats, float tensors, options of these, or a tuple of them."""
    value = results[0]

    def weighted(lw: Lowerer, v: list[ir.Var]) -> Sequence[ir.Atom]:
        b = lw.b
        b.span = span
        found, *_ = b.call(fn, v[:-1], results)
        pairs: list[tuple[ir.Atom, ir.Atom]] = [(found, v[-1])]
        if isinstance(value, ir.TupleT):
            pairs = [(lw.item(found, i), lw.item(v[-1], i)) for i in range(len(value.items))]  # type: ignore[misc]
        total: ir.Atom = ir.Const(0.0, F64)
        for x, d in pairs:
            total = b.op("add", [total, _product(b, x, d)], F64)
        return [total]

    params = [*named, ("u" if named[-1][0] == "d" else "d", value)]
    name = ctx.later(f"{fn} weighted", lambda symbol: replace(
        generated(ctx, symbol, title, params, [F64], weighted), span=span))
    several = [_result(x) for x in targets]
    result = several[0] if len(targets) == 1 else ir.TupleT(tuple(several))
    closure = Closure(None, title, name, [])
    args = [k for _, k in params]
    return derivative(ctx, closure, [F64], args, wrt, targets, result, False, span, True), result


def _product(b: Builder, x: ir.Atom, d: ir.Atom) -> ir.Atom:
    """sum(x * d) as f64; 0 where either is none."""
    if isinstance(x.type, ir.OptionT):
        item = x.type.item
        some = b.op("bit_and", [b.op("is_some", [x], BOOL), b.op("is_some", [d], BOOL)], BOOL)
        b.open()
        found = _product(b, b.op("unwrap", [x], item), b.op("unwrap", [d], item))
        then = b.close(ir.Yield((found,)))
        b.open()
        return b.if_(some, then, b.close(ir.Yield((ir.Const(0.0, F64),))), [F64])[0]
    both = tensor_build.map(b, "mul", [x, d])
    part = tensor_build.reduce(b, "sum", both, range(rank(both.type)))
    return tensor_build.cast(b, part, F64)


def _result(t: ir.Type) -> ir.Type:
    return without_dims(t)


def _has_derivative(t: ir.Type) -> bool:
    """Is an argument of the type given a derivative? (runtime/torch_module.py reads the results in this order.)"""
    return _is_float(t.item if isinstance(t, ir.OptionT) else t)


def _is_float(t: ir.Type) -> bool:
    return t in FLOATS or isinstance(t, ir.TensorT) and t.elem in FLOATS
