"""`grad(f)` and `value_and_grad(f)`: a function that takes what f takes, made around Core's operator `gradient`, which
the pass of hybridc/autodiff replaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hybridc.base.source import Span
from hybridc.base.types import FnType, Type
from hybridc.core import ir
from hybridc.front.check import tree
from hybridc.front.check.open_models import holds_open
from hybridc.front.lower.closure import Closure, closure_of, known
from hybridc.front.lower.core import Context, Lowerer, Refused, Value, generated, lowers
from hybridc.front.lower.fits import checked
from hybridc.front.lower.inside import unchecked
from hybridc.front.lower.instance import resolve
from hybridc.front.lower.place import Access, access
from hybridc.front.lower.types import erase


def derivative(
    ctx: Context, closure: Closure, primal: Sequence[ir.Type], args: Sequence[ir.Type], wrt: Sequence[int],
    targets: Sequence[ir.Type], result: ir.Type, with_value: bool, span: Span, optional: bool = False,
    refused: str = "",
) -> str:
    """A function of the captures and arguments of `closure`: with the value and the derivatives, or these alone, as
    `result`, then whatever else the function gives (`primal` are the types of all its results). `wrt` are positions
    among captures and arguments, `targets` the types of the derivatives by them. An `optional` one that does not exist
    is a fault when it is called, not an error; `refused` says why it is known not to."""
    captured = [a.type for _, a in closure.captures]
    name = f"{'value and ' if with_value else ''}gradient of {closure.fn} by {', '.join(map(str, wrt))}"
    name += " if there is one" if optional else ""
    params = [(f"x{i}", k) for i, k in enumerate((*captured, *args))]

    def body(lw: Lowerer, v: list[ir.Var]) -> Sequence[ir.Atom]:
        lw.b.span = span
        outs = lw.b.ops("gradient", v, [*primal, *targets], fn=closure.fn, optional=optional, refused=refused,
                        wrt=tuple(wrt))
        n = len(primal)
        found: ir.Atom = outs[n]
        if len(targets) > 1:
            found = lw.op("tuple", outs[n:], ir.TupleT(tuple(targets)))
        if with_value:
            found = lw.op("tuple", [outs[0], found], result)
        return [found, *outs[1:n]]

    def make(symbol: str) -> ir.Fn:
        return replace(generated(ctx, symbol, closure.title, params, [result, *primal[1:]], body), span=span)

    return ctx.later(name, make)


def pushforward(
    ctx: Context, closure: Closure, primal: Sequence[ir.Type], args: Sequence[ir.Type], wrt: Sequence[int],
    targets: Sequence[ir.Type], span: Span,
) -> str:
    """A function of the captures and arguments of `closure` and of a direction for each of `wrt`: with its results and
    the derivative of the first one in that direction."""
    captured = [a.type for _, a in closure.captures]
    name = f"pushforward of {closure.fn} by {', '.join(map(str, wrt))}"
    params = [(f"x{i}", k) for i, k in enumerate((*captured, *args, *targets))]
    outs = [*primal, primal[0]]

    def body(lw: Lowerer, v: list[ir.Var]) -> Sequence[ir.Atom]:
        lw.b.span = span
        return lw.b.ops("pushforward", v, outs, fn=closure.fn, wrt=tuple(wrt))

    return ctx.later(name, lambda symbol: replace(
        generated(ctx, symbol, closure.title, params, outs, body), span=span))


def jacobian(
    ctx: Context, closure: Closure, args: Sequence[ir.Type], wrt: Sequence[int], targets: Sequence[ir.Type],
    result: ir.Type, span: Span,
) -> str:
    """A function of the captures and arguments of `closure`: with its Jacobians."""
    captured = [a.type for _, a in closure.captures]
    params = [(f"x{i}", k) for i, k in enumerate((*captured, *args))]

    def body(lw: Lowerer, v: list[ir.Var]) -> Sequence[ir.Atom]:
        lw.b.span = span
        outs = lw.b.ops("jacobian", v, targets, fn=closure.fn, wrt=tuple(wrt))
        return [outs[0] if len(targets) == 1 else lw.op("tuple", outs, result)]

    return ctx.later(f"jacobian of {closure.fn} by {', '.join(map(str, wrt))}", lambda symbol: replace(
        generated(ctx, symbol, closure.title, params, [result], body), span=span))


def checkpoint(lw: Lowerer, e: tree.Checkpoint) -> Closure:
    """A function that calls the other one, and that derivatives go through as a whole."""
    t = lw.concrete(e.type)
    assert isinstance(t, FnType)
    inner = closure(lw, e.fn, t)
    params, results = lw.ctx.closures.signature(erase(t))  # type: ignore[arg-type]
    kinds = [*(a.type for _, a in inner.captures), *params]
    named = [(f"x{i}", k) for i, k in enumerate(kinds)]

    def body(made: Lowerer, v: list[ir.Var]) -> Sequence[ir.Atom]:
        made.b.span = e.span
        return made.b.call(inner.fn, v, results)

    name = lw.ctx.later(f"checkpoint of {inner.fn}", lambda symbol: replace(
        generated(lw.ctx, symbol, inner.title, named, results, body), span=e.span, checkpoint=True))
    return Closure(name, f"checkpoint of {inner.title}", name, inner.captures)


def closure(lw: Lowerer, e: tree.Expr, t: FnType) -> Closure:
    """A function that is called or differentiated: by its name where it has one, else through its value."""
    if isinstance(e, tree.Gradient):
        inner = Gradient(lw, e)
        if inner.place is not None:
            raise stateful_value(lw, e)
        return Closure(None, inner.title, inner.fn, inner.captures)
    if isinstance(e, tree.Checkpoint):
        return checkpoint(lw, e)
    found = closure_of(lw, e, t)
    if found is not None:
        assert not found.takes_self  # only a `fn` with a name knows itself, which is a variable here
        return found
    value = lw.expr(e)
    found = known(lw, value)
    if found is None:
        return Closure(None, "", lw.ctx.closures.apply_name(t), [("f", value)])
    return replace(found, captures=[("f", value), *found.captures]) if found.takes_self else found


class Gradient:
    """A derivative as it is called: the Core function, what it captures, and where the state goes that it wrote."""

    fn: str
    title: str
    captures: list[tuple[str, ir.Atom]]

    def __init__(self, lw: Lowerer, e: tree.Gradient):
        ctx = lw.ctx
        self.type, f = lw.concrete(e.type), lw.concrete(e.fn.type)
        assert isinstance(self.type, FnType) and isinstance(f, FnType)
        args, primal = ctx.closures.signature(erase(f))  # type: ignore[arg-type]
        self.place: Access | None = None
        if e.stateful is None:
            inner = closure(lw, e.fn, f)
        else:
            inner = self.of_method(lw, e.stateful, e.fn, f)
            if self.place is not None:
                primal = [primal[0], inner.captures[0][1].type, *primal[1:]]
        lw.b.span = e.span
        wrt = [0 if p == -1 else len(inner.captures) + p for p in e.wrt]
        self.captures, self.title = inner.captures, inner.title
        whole = ctx.types.inner(self.type.result)
        if e.kind in ("jvp", "hvp"):
            targets = [ctx.types.inner(p) for p, _ in self.type.params[len(args):]]
            if e.kind == "hvp":
                symbol = derivative(ctx, inner, primal, args, wrt, targets, whole, False, e.span)
                inner, primal = replace(inner, fn=symbol), [whole, *primal[1:]]
            pushed = pushforward(ctx, inner, primal, args, wrt, targets, e.span)
            self.fn = _chosen(ctx, pushed, inner, [*args, *targets], primal, whole, e.kind == "jvp", e.span)
            self.results = [whole, *primal[1:]]
            return
        shown = self.type.result
        if e.kind == "value_and_grad":
            shown = shown.items[1]  # type: ignore[union-attr]
        several: tuple[Type, ...] = shown.items if len(wrt) > 1 else (shown,)  # type: ignore[union-attr, assignment]
        targets = [ctx.types.inner(k) for k in several]
        self.results = [whole, *primal[1:]]
        if e.kind == "jacobian":
            self.fn = jacobian(ctx, inner, args, wrt, targets, whole, e.span)
        else:
            with_value = e.kind == "value_and_grad"
            self.fn = derivative(ctx, inner, primal, args, wrt, targets, whole, with_value, e.span)

    def of_method(self, lw: Lowerer, place: tree.Place, e: tree.Expr, f: FnType) -> Closure:
        """A method that may write the state of the model at `place`, whose value it is given."""
        assert isinstance(e, tree.BoundMethod)
        model = access(lw, place)
        receiver = lw.whole(model.take())
        instance, decl, inner = resolve(lw, e.fn, [lw.concrete(e.receiver.type), *(p for p, _ in f.params)])
        if decl.params[0].mut:
            self.place = model
        else:
            model.put(receiver)
        fn = lw.ctx.instance(instance)
        if holds_open(place.type) and any(unchecked(lw.ctx, inner.concrete(p.var.type)) for p in decl.params[1:]):
            fn = checked(lw.ctx, decl, instance, fn)
        return Closure(None, lw.ctx.title(decl), fn, [("self", receiver)])


def _chosen(
    ctx: Context, pushed: str, closure: Closure, args: Sequence[ir.Type], primal: Sequence[ir.Type], result: ir.Type,
    with_value: bool, span: Span,
) -> str:
    """The result as the program sees it: the derivative in the direction, with the value or without."""
    kinds = [*(a.type for _, a in closure.captures), *args]

    def body(lw: Lowerer, v: list[ir.Var]) -> Sequence[ir.Atom]:
        lw.b.span = span
        value, *others = lw.b.call(pushed, v, [*primal, primal[0]])
        found: ir.Atom = others.pop()
        if with_value:
            found = lw.op("tuple", [value, found], result)
        return [found, *others]

    return ctx.later(f"{'value and' if with_value else 'only'} {pushed}", lambda symbol: replace(generated(
        ctx, symbol, closure.title, [(f"x{i}", k) for i, k in enumerate(kinds)], [result, *primal[1:]], body),
        span=span))


def stateful_value(lw: Lowerer, e: tree.Gradient) -> Refused:
    return lw.refuse("HYB810", "a derivative that writes state can only be called", e.span,
                     "call it here: `value_and_grad(mut m.loss)(x)`")


@lowers(tree.Gradient)
def gradient(lw: Lowerer, e: tree.Gradient) -> Value:
    """The derivative as a value."""
    found = Gradient(lw, e)
    if found.place is not None:
        raise stateful_value(lw, e)
    t = found.type
    assert isinstance(t, FnType)
    return lw.ctx.closures.make(lw, t, Closure(found.fn, f"gradient of {found.title}", found.fn, found.captures))


@lowers(tree.Checkpoint)
def checkpoint_value(lw: Lowerer, e: tree.Checkpoint) -> Value:
    t = lw.concrete(e.type)
    assert isinstance(t, FnType)
    return lw.ctx.closures.make(lw, t, checkpoint(lw, e))
