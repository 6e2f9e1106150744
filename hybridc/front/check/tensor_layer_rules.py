"""Typing rules of contractions and layers."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hybridc.base.source import Span
from hybridc.front.check import tree
from hybridc.front.check.tensor_args import Arguments
from hybridc.front.check.tensor_rules import rule
from hybridc.front.check.tensor_types import (
    BOOL,
    INT,
    Context,
    Dim,
    PackVar,
    Shape,
    Stop,
    Tensor,
    Type,
    broadcast,
    dim_at,
    elem,
    has_rank,
    is_float,
    join,
    of_shape,
    same_dim,
    same_shape,
    shape,
    show_shape,
)
from hybridc.front.parse import syntax


# ---- contractions ----------------------------------------------------------------------------------------------------
def matmul(ctx: Context, left: tree.Expr, right: tree.Expr, span: Span) -> tree.Expr:
    """`a @ b` of any rank, as in torch: a vector is a row on the left and a column on the right."""
    kind, (left, right) = join(ctx, [left, right], span, "`@`")
    a, b = shape(left.type), shape(right.type)
    if not a or not b or kind == BOOL:
        ctx.error("HYB302", f"`@` is for tensors of numbers, not {left.type} and {right.type}", span,
                  "`*` multiplies by a number")
        raise Stop
    inner_a, inner_b = a[-1], b[-2] if len(b) > 1 else b[-1]
    if isinstance(inner_a, PackVar) or isinstance(inner_b, PackVar):
        ctx.error("HYB401", f"shapes {show_shape(a)} and {show_shape(b)}: what dimension `@` sums is not known", span)
        raise Stop
    if same_dim(ctx, inner_a, inner_b) is None:
        ctx.error("HYB401", f"shapes {show_shape(a)} and {show_shape(b)} do not fit in `@`: {inner_a} is not {inner_b}",
                  span, "the last dimension on the left is the one before the last on the right"
                  if len(b) > 1 else "the last dimensions must be equal")
        raise Stop
    batch: Shape = ()
    if len(a) > 2 or len(b) > 2:
        batch = broadcast(ctx, [a[:-2], b[:-2]], span, f"`@` of {show_shape(a)} and {show_shape(b)}")
    rows = a[-2:-1] if len(a) > 1 else ()
    columns = b[-1:] if len(b) > 1 else ()
    if any(isinstance(d, PackVar) for d in rows):
        # [*B, K] @ [K, M]: every vector of the left by the matrix.
        if len(b) > 2:
            ctx.error("HYB401", f"shapes {show_shape(a)} and {show_shape(b)} do not fit in `@`", span)
            raise Stop
    return tree.Binary(of_shape(kind, (*batch, *rows, *columns)), span, "@", left, right)


@rule("outer", "a b")
def _outer(a: Arguments, expected: Type | None) -> tree.Expr:
    kind, (x, y) = join(a.ctx, [a.tensor("a"), a.tensor("b")], a.call.span, "outer")
    if not has_rank(shape(x.type), 1) or not has_rank(shape(y.type), 1):
        raise a.wrong(f"outer takes two vectors, not {x.type} and {y.type}")
    return a.built(of_shape(kind, shape(x.type) + shape(y.type)), x, y)


@rule("dot", "a b")
def _dot(a: Arguments, expected: Type | None) -> tree.Expr:
    kind, (x, y) = join(a.ctx, [a.tensor("a"), a.tensor("b")], a.call.span, "dot")
    if not has_rank(shape(x.type), 1) or not has_rank(shape(y.type), 1):
        raise a.wrong(f"dot takes two vectors, not {x.type} and {y.type}", None, "`@` multiplies matrices")
    same_shape(a.ctx, shape(x.type), shape(y.type), a.call.span, "dot")
    return a.built(kind, x, y)


_TERM = r"[a-zA-Z]*(?:\.\.\.)?[a-zA-Z]*"
_EQUATION = re.compile(rf"({_TERM}(?:,{_TERM})*)(?:->({_TERM}))?\Z")
REST = "..."
_AXES = "0123456789"
"""What stands for the axes of a `...`, the last one for the last."""


def spelled(names: str, rank: int) -> str:
    """The letters of an operand of this rank, with some for its `...`."""
    count = max(rank - len(names) + len(REST), 0)
    return names.replace(REST, _AXES[len(_AXES) - count :])


def result_spelled(names: str, inputs: Iterable[str]) -> str:
    """The letters of the result, with all that stand for a `...` of the operands, which are spelled."""
    found = set().union(*inputs)
    return names.replace(REST, "".join(c for c in _AXES if c in found))


@rule("einsum", "equation *operands")
def _einsum(a: Arguments, expected: Type | None) -> tree.Expr:
    """attrs `inputs` (letters and `...` of each operand), `output`, and `ones`: the places of each operand's axes that
    are 1 and stretched."""
    text = a.constant("equation")
    match = _EQUATION.match(text.replace(" ", "")) if isinstance(text, str) else None
    if match is None:
        raise a.wrong("the equation of einsum is text such as \"ij,jk->ik\"", a.given["equation"])
    inputs = match[1].split(",")
    if len(inputs) != len(a.rest):
        raise a.wrong(f"einsum \"{text}\" takes {len(inputs)} tensors, not {len(a.rest)}")
    kind, operands = join(a.ctx, [a.value(e) for e in a.rest], a.call.span, "einsum")
    letters = "".join(inputs).replace(REST, "")
    output = match[2]
    if output is None:
        rest = REST if any(REST in names for names in inputs) else ""
        output = rest + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    named = output.replace(REST, "")
    strange = next((c for c in named if c not in letters or named.count(c) > 1), None)
    if strange is not None:
        raise a.wrong(f"einsum \"{text}\": `{strange}` of the result "
                      + ("appears twice" if strange in letters else "is in no operand"), a.given["equation"])
    dims, ones = _einsum_shape(a, str(text), inputs, output, operands)
    return a.built(of_shape(kind, dims), *operands, inputs=tuple(inputs), output=output, ones=ones)


def _einsum_shape(
    a: Arguments, text: str, inputs: list[str], output: str, operands: list[tree.Expr]
) -> tuple[Shape, tuple[tuple[int, ...], ...]]:
    shapes = [shape(x.type) for x in operands]
    hidden: Shape | None = None
    """What every `...` stands for, where a `*` name is among it."""
    if any(isinstance(d, PackVar) for dims in shapes for d in dims):
        for i, (names, dims) in enumerate(zip(inputs, shapes, strict=True)):
            before, dots, after = names.partition(REST)
            if dots:
                rest = dims[len(before) : len(dims) - len(after)]
                hidden = rest if hidden is None else same_shape(a.ctx, hidden, rest, a.call.span, f"einsum \"{text}\"")
                shapes[i] = dims[: len(before)] + dims[len(dims) - len(after) :]
    bound: dict[str, Dim] = {}
    terms: list[str] = []
    for names, dims, x in zip(inputs, shapes, operands, strict=True):
        terms.append(names.replace(REST, "") if hidden is not None else spelled(names, len(dims)))
        if not has_rank(dims, len(terms[-1])):
            count = len(names.replace(REST, ""))
            a.ctx.error("HYB401", f"einsum \"{text}\": `{names}` has {count} letters for shape "
                        f"{show_shape(shape(x.type))}", x.span)
            raise Stop
        for letter, d in zip(terms[-1], dims, strict=True):
            assert isinstance(d, Dim)
            old = bound.setdefault(letter, d)
            stretched = terms[-1].count(letter) == 1 and 1 in (old.constant, d.constant)
            agreed = (d if old.constant == 1 else old) if stretched else same_dim(a.ctx, old, d)
            if agreed is None:
                all_shapes = " and ".join(show_shape(shape(o.type)) for o in operands)
                shown = REST if letter in _AXES else letter
                message = f"einsum \"{text}\" of shapes {all_shapes}: `{shown}` is both {old} and {d}"
                a.ctx.error("HYB401", message, a.call.span)
                raise Stop
            bound[letter] = agreed
    before, dots, after = output.partition(REST)
    middle = hidden if hidden is not None else tuple(bound[c] for c in _AXES if c in bound)
    ones = tuple(
        # those behind a `...` are counted from the end
        tuple(i if i < len(names.partition(REST)[0]) else i - len(term)
              for i, (letter, d) in enumerate(zip(term, dims, strict=True))
              if d == Dim.of(1) and bound[letter].constant != 1 and term.count(letter) == 1)
        for names, term, dims in zip(inputs, terms, shapes, strict=True)
    )
    return (*(bound[c] for c in before), *(middle if dots else ()), *(bound[c] for c in after)), ones


# ---- layers ----------------------------------------------------------------------------------------------------------
def _vector(a: Arguments, name: str, x: tree.Expr) -> tree.Expr:
    """A weight for the last axis."""
    w = a.tensor(name)
    dims = shape(w.type)
    if not has_rank(dims, 1) or same_dim(a.ctx, dim_at(shape(x.type), -1), dims[0]) is None:  # type: ignore[arg-type]
        a.ctx.error("HYB401", f"{a.name} of {show_shape(shape(x.type))} with `{name}` {show_shape(dims)}", w.span,
                    f"`{name}` is as long as the last axis")
        raise Stop
    return w


@rule("layer_norm rms_norm", "x weight bias eps")
def _norms(a: Arguments, expected: Type | None) -> tree.Expr:
    """args: x, eps, then weight and bias as far as given."""
    if a.name == "rms_norm" and "bias" in a.given:
        raise a.wrong("rms_norm has no bias", a.given["bias"])
    x = a.float_tensor("x", 1)
    if isinstance(shape(x.type)[-1], PackVar):
        raise a.wrong(f"{a.name} is over the last axis, which {show_shape(shape(x.type))} does not name", x)
    given = [n for n in ("weight", "bias") if a.has(n)]
    weights = [_vector(a, n, x) for n in given]
    kind, (x, *weights) = join(a.ctx, [x, *weights], a.call.span, a.name, True)
    return a.built(x.type, x, a.scalar("eps", kind, 1e-5), *weights, weight="weight" in given, bias="bias" in given)


def window_dim(a: Arguments, length: Dim, kernel: Dim, stride: Dim, padding: Dim, dilation: Dim) -> Dim:
    """(length + 2 padding - dilation (kernel - 1) - 1) // stride + 1"""
    span = length + padding + padding - dilation * (kernel - Dim.of(1))
    if span.constant is not None and span.constant < 1:
        raise a.wrong(f"{a.name}: a window of {dilation * (kernel - Dim.of(1)) + Dim.of(1)} does not fit a length of "
                      f"{length + padding + padding}")
    if stride.constant == 1:
        return span
    if span.constant is not None and stride.constant is not None:
        if stride.constant < 1:
            raise a.wrong(f"the stride of {a.name} is positive")
        return Dim.of((span.constant - 1) // stride.constant + 1)
    return a.ctx.fresh_dim()


def _padding_word(a: Arguments) -> bool:
    """Whether `padding` is "same"; "valid" is none."""
    e = a.given.get("padding")
    if not isinstance(e, syntax.Literal) or not isinstance(e.value, str):
        return False
    if e.value not in ("same", "valid"):
        raise a.wrong(f"`padding` of {a.name} is ints, \"same\" or \"valid\"", e)
    del a.given["padding"]
    return e.value == "same"


@rule("conv1d conv2d", "x weight bias stride padding dilation groups")
def _conv(a: Arguments, expected: Type | None) -> tree.Expr:
    """args: x, weight, bias if given, then stride, padding, dilation (one int for each axis) and groups; attr `same`:
    padding that keeps the lengths."""
    n = 1 if a.name == "conv1d" else 2
    same = _padding_word(a)
    x, weight = a.float_tensor("x", n + 1), a.float_tensor("weight")
    operands = [x, weight, *([a.tensor("bias")] if a.has("bias") else [])]
    kind, operands = join(a.ctx, operands, a.call.span, a.name, True)
    dims, w = shape(x.type), shape(weight.type)
    if not has_rank(w, n + 2) or not has_rank(dims[-n - 1 :], n + 1):
        a.ctx.error("HYB401", f"{a.name} takes x [N, C, {'L' if n == 1 else 'H, W'}] and a weight [out, C, "
                    f"{'K' if n == 1 else 'KH, KW'}], not {show_shape(dims)} and {show_shape(w)}", a.call.span)
        raise Stop
    settings, sizes = [], []
    for name, default in (("stride", 1), ("padding", 0), ("dilation", 1)):
        values, pair = a.pair(name, default)
        settings += values[:n]
        sizes.append(pair[:n])
    if same and any(stride.constant != 1 for stride in sizes[0]):
        raise a.wrong("padding \"same\" is for a stride of 1", a.given["stride"])
    groups = a.size(a.given["groups"]) if a.has("groups") else tree.Const(INT, a.call.span, 1)
    g = a.ctx.dim_of(groups)
    channels, each = dim_at(dims, -n - 1), w[1]
    assert isinstance(each, Dim)
    if same_dim(a.ctx, channels, each * g) is None:
        a.ctx.error("HYB401", f"{a.name} of {show_shape(dims)} with weight {show_shape(w)}: {channels} channels are "
                    f"not {each * g}", a.call.span)
        raise Stop
    if a.has("bias"):
        same_shape(a.ctx, (w[0],), shape(operands[2].type), a.call.span, f"the bias of {a.name}")
    out = dims[-n:] if same else tuple(
        window_dim(a, dim_at(dims, i - n), w[2 + i], sizes[0][i], sizes[1][i], sizes[2][i])  # type: ignore[arg-type]
        for i in range(n)
    )
    t = of_shape(kind, (*dims[: -n - 1], w[0], *out))
    return a.built(t, *operands, *settings, groups, bias=a.has("bias"), same=same)


@rule("max_pool2d avg_pool2d", "x kernel stride padding dilation")
def _pool(a: Arguments, expected: Type | None) -> tree.Expr:
    """args: x, then kernel, stride, padding, dilation, two ints each."""
    x = a.float_tensor("x", 2)
    dims = shape(x.type)
    if any(isinstance(d, PackVar) for d in dims[-2:]):
        raise a.wrong(f"{a.name} is over the last two axes, which {show_shape(dims)} does not name", x)
    if a.name == "avg_pool2d" and a.has("dilation"):
        raise a.wrong("avg_pool2d has no dilation", a.given["dilation"])
    kernel, ks = a.pair("kernel", None)
    stride, ss = a.pair("stride", None) if a.has("stride") else (kernel, ks)
    padding, ps = a.pair("padding", 0)
    dilation, ds = a.pair("dilation", 1)
    out = tuple(window_dim(a, dim_at(dims, i - 2), ks[i], ss[i], ps[i], ds[i]) for i in range(2))
    return a.built(of_shape(elem(x.type), (*dims[:-2], *out)), x, *kernel, *stride, *padding, *dilation)


@rule("attention", "q k v causal mask")
def _attention(a: Arguments, expected: Type | None) -> tree.Expr:
    """softmax(q @ k.T / sqrt(d)) @ v over the last two axes; args: q, k, v and mask if given."""
    kind, (q, k, v) = join(a.ctx, [a.tensor(n, None, 2) for n in ("q", "k", "v")], a.call.span, "attention", True)
    qs, ks, vs = shape(q.type), shape(k.type), shape(v.type)
    shown = f"{show_shape(qs)}, {show_shape(ks)} and {show_shape(vs)}"
    if any(isinstance(d, PackVar) for s in (qs, ks, vs) for d in s[-2:]):
        raise a.wrong(f"attention is over the last two axes, which {shown} do not name")
    pairs = ((dim_at(qs, -1), dim_at(ks, -1)), (dim_at(ks, -2), dim_at(vs, -2)))
    if any(same_dim(a.ctx, one, other) is None for one, other in pairs):
        a.ctx.error("HYB401", f"attention of shapes {shown}", a.call.span,
                    "q is [.., T, D], k is [.., S, D] and v is [.., S, E]")
        raise Stop
    batch = broadcast(a.ctx, [qs[:-2], ks[:-2], vs[:-2]], a.call.span, f"attention of {shown}") if (
        max(len(qs), len(ks), len(vs)) > 2) else ()
    operands = [q, k, v]
    if a.has("mask"):
        mask = a.tensor("mask")
        if elem(mask.type) != BOOL and elem(mask.type) != kind:
            raise a.wrong(f"the mask of attention is bools (true: attend) or {kind}, added; not {mask.type}", mask)
        broadcast(a.ctx, [(*batch, qs[-2], ks[-2]), shape(mask.type)], a.call.span, "the mask of attention")
        operands.append(mask)
    t = of_shape(kind, (*batch, qs[-2], vs[-1]))
    return a.built(t, *operands, causal=a.flag("causal"), mask=a.has("mask"))


# ---- initialisers ----------------------------------------------------------------------------------------------------
INITIALISERS = {"zeros": "", "ones": "", "normal": "std", "uniform": "a b", "glorot": "", "he": "", "orthogonal": "",
                "constant": "x", "_normal_but": "std row"}
"""The initialisers of a `param`, with their arguments. The last one is the library's: one row is zero."""


def initialiser(ctx: Context, call: syntax.Call, name: str, of: Type) -> tree.Expr:
    """`param w: TYPE = normal(0.02)`: a Builtin of the parameter's type whose args are the numbers given."""
    from_signature = INITIALISERS[name].split()
    given = {n: e for n, e in zip(from_signature, (x.value for x in call.args if x.name is None), strict=False)}
    given |= {x.name: x.value for x in call.args if x.name is not None}
    strange = next((n for n in given if n not in from_signature), None)
    if strange is not None or len(given) < len(call.args) or any(x.mut for x in call.args):
        ctx.error("HYB306", f"{name} takes {INITIALISERS[name] or 'no arguments'}", call.span)
        return ctx.poison(call.span)
    kind = elem(of)
    defaults = {"std": 1.0, "a": 0.0, "b": 1.0}
    args = []
    for n in from_signature:
        if n in given:
            args.append(ctx.coerce(ctx.expr(given[n], kind), kind, f"`{n}` of {name}"))
        elif n in defaults:
            args.append(tree.Const(kind, call.span, defaults[n]))
        else:
            ctx.error("HYB306", f"{name} needs an argument `{n}`", call.span)
            return ctx.poison(call.span)
    if name == "orthogonal" and len(shape(of)) < 2 or name in ("glorot", "he") and not shape(of):
        least = "two dimensions" if name == "orthogonal" else "a dimension"
        ctx.error("HYB405", f"{name} is for tensors of at least {least}, not {of}", call.span)
        return ctx.poison(call.span)
    if not is_float(kind):
        ctx.error("HYB405", f"{name} is for floats, not {of}", call.span)
        return ctx.poison(call.span)
    return tree.Builtin(of, call.span, name, tuple(args), (("init", True),))


__all__ = ["INITIALISERS", "Tensor", "initialiser", "matmul", "window_dim"]
