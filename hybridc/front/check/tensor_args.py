"""The arguments of a built-in tensor function: put in their places, and read as tensors, axes, sizes and constants."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace

from hybridc.base.types import INT, STD_TYPES, FnType, ModelType, Named, Poison, Type
from hybridc.front.check import tree
from hybridc.front.check.tensor_types import (
    Context,
    Dim,
    Shape,
    Stop,
    Tensor,
    elem,
    find_axes,
    find_axis,
    is_float,
    is_literal,
    is_numeric,
)
from hybridc.front.parse import syntax, torch_names

REQUIRED = object()
TORCH = {
    "input": ("x", "logits", "index", "a"), "other": ("b",), "target": ("labels", "b"), "num_classes": ("classes",),
    "kernel_size": ("kernel",), "fill_value": ("value",), "size": ("sizes",), "pad": ("widths",),
    "query": ("q",), "key": ("k",), "value": ("v",), "attn_mask": ("mask",), "is_causal": ("causal",),
}
"""What torch calls an argument, and what it may be called here."""


NO_ARGUMENTS = {
    **torch_names.ARGUMENTS,
    "dtype": "the element type follows from context, `let x: f64[3] = zeros()`; a cast, `f64(x)`, makes another",
    "device": "where it is computed is the compiler's business",
    "requires_grad": "`grad(f)(x)` says what is differentiated",
    "out": "assign the result", "inplace": "assign the result",
}
"""Arguments of torch's that nothing stands for."""


@dataclass
class Arguments:
    """The arguments of one call by name; `rest` are those of a `*name` parameter."""

    ctx: Context
    call: syntax.Call
    name: str
    given: dict[str, syntax.Expr]
    rest: list[syntax.Expr]

    # ---- errors
    def wrong(self, message: str, at: syntax.Node | tree.Expr | None = None, help: str | None = None) -> Stop:
        """Report; the caller raises what this gives."""
        self.ctx.error("HYB405", message, (at or self.call).span, help)
        return Stop()

    def need(self, name: str) -> syntax.Expr:
        e = self.given.get(name)
        if e is None:
            self.ctx.error("HYB306", f"{self.name} needs an argument `{name}`", self.call.span)
            raise Stop
        return e

    # ---- values
    def value(self, e: syntax.Expr, expected: Type | None = None) -> tree.Expr:
        """A tensor or a scalar."""
        value = self.ctx.expr(e, expected)
        t = self.ctx.resolve(value.type)
        if isinstance(t, Poison):
            raise Stop
        flat = _flat(value)
        if flat is not None:
            shape = tuple(map(Dim.of, flat[0]))
            return tree.MakeTensor(Tensor(self.ctx.resolve(flat[1][0].type), shape), e.span, flat[1])
        if not is_numeric(t) and not is_literal(value):
            listed = isinstance(t, Named) and t.key == STD_TYPES["list"]
            raise self.wrong(f"{self.name} takes tensors and numbers, not {t}", e,
                             "a list of numbers, or of tensors, is made a tensor by `stack(xs)`" if listed else None)
        return value if t is value.type else replace(value, type=t)

    def whole(self, name: str, expected: Type | None) -> tree.Expr:
        """A value of any type but functions and models; a list literal is a tensor where nothing else is expected."""
        e = self.need(name)
        value = self.ctx.expr(e, expected)
        t = self.ctx.resolve(value.type)
        if isinstance(t, FnType | ModelType):
            raise self.wrong(f"{self.name} takes values that hold numbers, not {t}", e,
                             "`with_params(m, stop_gradient(params(m)))` is the model with constant parameters"
                             if isinstance(t, ModelType) else None)
        if is_numeric(t) or expected is None and _flat(value) is not None or isinstance(t, Poison):
            self.ctx.prechecked[id(e)] = value
            return self.value(e, expected)
        return value if t is value.type else replace(value, type=t)

    def get(self, name: str, expected: Type | None = None) -> tree.Expr:
        return self.value(self.need(name), expected)

    def maybe(self, name: str, expected: Type | None = None) -> tree.Expr | None:
        return self.value(self.given[name], expected) if self.has(name) else None

    def has(self, name: str) -> bool:
        e = self.given.get(name)
        return e is not None and not (isinstance(e, syntax.Literal) and e.value is None)

    def tensor(self, name: str, expected: Type | None = None, rank: int | None = None) -> tree.Expr:
        """A tensor, of at least `rank` known dimensions."""
        value = self.get(name, expected)
        if not isinstance(value.type, Tensor) or rank is not None and len(value.type.shape) < rank:
            what = "a tensor" if rank in (None, 1) else f"a tensor of at least {rank} dimensions"
            raise self.wrong(f"{self.name} takes {what} as `{name}`, not {value.type}", value)
        return value

    def float_tensor(self, name: str, rank: int | None = None) -> tree.Expr:
        value = self.tensor(name, None, rank)
        if not is_float(elem(value.type)):
            self.ctx.error("HYB303", f"{self.name} is for floats, not {value.type}", value.span, "cast first, `f32(x)`")
            raise Stop
        return value

    def indices(self, name: str) -> tree.Expr:
        """An int or int tensor; a list literal too."""
        e = self.need(name)
        value = self.value(e, Tensor(INT, (Dim.of(len(e.items)),)) if isinstance(e, syntax.List) else None)
        if elem(value.type) != INT:
            raise self.wrong(f"{self.name} takes ints as `{name}`, not {value.type}", value)
        return value

    def scalar(self, name: str, t: Type, default: float | int | None = None) -> tree.Expr:
        """A number of type `t`."""
        if name not in self.given:
            if default is None:
                self.need(name)
            return tree.Const(t, self.call.span, float(default) if is_float(t) else default)  # type: ignore[arg-type]
        return self.ctx.coerce(self.ctx.expr(self.given[name], t), t, f"`{name}` of {self.name}")

    def size(self, e: syntax.Expr) -> tree.Expr:
        return self.ctx.coerce(self.ctx.expr(e, INT), INT, f"a size in {self.name}")

    # ---- constants
    def constant(self, name: str, default: object = REQUIRED) -> object:
        e = self.given.get(name)
        if e is None:
            if default is REQUIRED:
                self.need(name)
            return default
        if isinstance(e, syntax.Literal) and e.value is None:
            return None
        value = self.ctx.const(e)
        if value is None:
            self.ctx.error("HYB314", f"`{name}` of {self.name} is a constant", e.span)
            raise Stop
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.constant(name, default)
        if not isinstance(value, bool):
            raise self.wrong(f"`{name}` of {self.name} is true or false", self.given[name])
        return value

    def axis(self, dims: Shape, default: int | None = None, name: str = "axis", extra: int = 0) -> int:
        value = self.constant(name, REQUIRED if default is None else default)
        span = self.given[name].span if name in self.given else self.call.span
        return find_axis(self.ctx, value, dims, span, self.name, extra)

    def axes(self, dims: Shape, default: object = None) -> tuple[int, ...] | None:
        """The axes of a reduction; None for all."""
        value = self.constant("axis", default)
        if value is None:
            return None
        span = self.given["axis"].span if "axis" in self.given else self.call.span
        return find_axes(self.ctx, value, dims, span, self.name)

    # ---- sizes
    def sizes(self, items: list[syntax.Expr]) -> tuple[list[tree.Expr], tuple[Dim, ...]]:
        """Sizes given as ints or as one list: the expressions and the dimensions."""
        if len(items) == 1 and isinstance(items[0], (syntax.List, syntax.Tuple)):
            items = list(items[0].items)
        values = [self.size(e) for e in items]
        return values, tuple(self.ctx.dim_of(v) for v in values)

    def pair(self, name: str, default: int | None) -> tuple[list[tree.Expr], tuple[Dim, Dim]]:
        """Two ints, or one that stands for both."""
        e = self.given.get(name)
        if e is None:
            if default is None:
                self.need(name)
            one: tree.Expr = tree.Const(INT, self.call.span, default)
            return [one, one], (Dim.of(default), Dim.of(default))  # type: ignore[arg-type]
        if isinstance(e, (syntax.Tuple, syntax.List)):
            if len(e.items) != 2:
                raise self.wrong(f"`{name}` of {self.name} is an int or two", e)
            values = [self.size(i) for i in e.items]
        else:
            values = [self.size(e)] * 2
        a, b = (self.ctx.dim_of(v) for v in values)
        return values, (a, b)

    def built(self, t: Type, *args: tree.Expr, name: str | None = None, **attrs: object) -> tree.Builtin:
        return tree.Builtin(t, self.call.span, name or self.name, args, tuple(sorted(attrs.items())))


def bind(ctx: Context, call: syntax.Call, name: str, signature: str) -> Arguments:
    """Put arguments in their places. The signature lists parameters; `*xs` takes all that are left, and those after it
    go by name only. An axis given by name leaves its place to what follows: `gather(x, index, axis=1)`."""
    names = signature.split()
    star = next((i for i, n in enumerate(names) if n.startswith("*")), None)
    named = {argument.name for argument in call.args}
    positional = [n for n in names[:star] if n != "axis" or n not in named]
    known = [n.lstrip("*") for n in names]
    given: dict[str, syntax.Expr] = {}
    rest: list[syntax.Expr] = []
    bad = False

    def error(message: str, at: syntax.Node, help: str | None = None) -> None:
        nonlocal bad
        bad = True
        ctx.error("HYB306", message, at.span, help)

    for argument in call.args:
        if argument.name is not None and argument.name not in known:
            here = next((n for n in TORCH.get(argument.name, ()) if n in known), argument.name)
            argument = replace(argument, name=here)
        if argument.mut:
            error(f"{name} changes none of its arguments: no `mut` here", argument)
        elif argument.name is not None:
            if argument.name == "dim" and "axis" in known:
                error(f"{name} has no argument `dim`", argument, "the axis argument is `axis=`")
            elif argument.name not in known or (star is not None and argument.name == known[star]):
                near = difflib.get_close_matches(argument.name, known, 1)
                meant = f"did you mean `{near[0]}=`?" if near else f"it has {', '.join(f'`{n}`' for n in known)}"
                error(f"{name} has no argument `{argument.name}`", argument, NO_ARGUMENTS.get(argument.name, meant))
            elif argument.name in given:
                error(f"`{argument.name}` of {name} is given twice", argument)
            else:
                given[argument.name] = argument.value
        elif positional and (free := next((n for n in positional if n not in given), None)) is not None and (
            star is None or len(given) < len(positional)
        ):
            given[free] = argument.value
        elif star is not None:
            rest.append(argument.value)
        else:
            most = f"{len(positional)} argument" + "s" * (len(positional) != 1)
            error(f"{name} takes {most}, not {len(call.args)}", argument,
                  "as text, `f\"{x:.2f}\"`" if name == "round" else None)
            break
    if bad:
        raise Stop
    return Arguments(ctx, call, name, given, rest)


def _flat(e: tree.Expr) -> tuple[tuple[int, ...], tuple[tree.Expr, ...]] | None:
    """The dimensions and elements of a list literal of numbers whose rows are equally long; None if it is none."""
    if not isinstance(e, tree.MakeList) or not e.items:
        return None
    if not isinstance(e.items[0], tree.MakeList):
        return ((len(e.items),), e.items) if all(is_numeric(i.type) for i in e.items) else None
    rows = [_flat(i) for i in e.items]
    first = rows[0]
    if first is None or any(r is None or r[0] != first[0] for r in rows):
        return None
    return (len(rows), *first[0]), tuple(x for r in rows if r is not None for x in r[1])
