"""A model as an nn.Module: its parameters lie in the model's own memory, and autograd runs the compiled derivative."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hybridc_runtime import arrays, torch_op
from hybridc_runtime.manifest import FLOATS

if TYPE_CHECKING:
    from hybridc_runtime.manifest import Entry, Param, Type
    from hybridc_runtime.models import ModelBase
    from hybridc_runtime.more import Table

def build(model: ModelBase, pullback: Entry) -> Any:
    """The nn.Module, whose backward is `pullback`. Its `state_dict` has the model's names; what an optimiser changes in
    it changes the model, and the other way round from the next call on."""
    import torch

    torch_op.operators()

    class Compiled(torch.autograd.Function):
        """`forward` of the model, as one step of autograd."""

        @staticmethod
        def forward(ctx: Any, bridge: Any, names: list[str], count: int, *values: Any) -> Any:
            """`values`: the parameters, then the arguments, those after `names` positions by name."""
            ctx.model = bridge.before()
            ctx.results = bridge.results(values[count:], names)
            tensors = [v for v in values if isinstance(v, torch.Tensor)]
            ctx.save_for_backward(*tensors)
            ctx.others = [None if isinstance(v, torch.Tensor) else (v,) for v in values]
            ctx.bridge, ctx.names, ctx.count = bridge, names, count
            return tuple(ctx.results) if bridge.several else ctx.results[0]

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            saved = iter(ctx.saved_tensors)  # says so if an optimiser has changed the parameters meanwhile
            values = [next(saved) if other is None else other[0] for other in ctx.others]
            pairs = zip(ctx.results, grads, strict=True)
            seeds = [torch.zeros_like(x) if d is None else d.to(x.dtype) for x, d in pairs]
            if torch.is_grad_enabled():
                found = Pulled.apply(ctx.bridge, ctx.model, ctx.names, ctx.count, len(values), *values, *seeds)
                return (None, None, None, *found)
            of_params, of_arguments = ctx.bridge.pull(ctx.model, values[ctx.count:], ctx.names, seeds)
            return (None, None, None, *of_params, *of_arguments)

    class Pulled(torch.autograd.Function):
        """The backward of Compiled, as one step of autograd: what a second derivative goes through."""

        @staticmethod
        def forward(ctx: Any, bridge: Any, model: ModelBase, names: list[str], count: int, total: int, *values: Any
                    ) -> Any:
            """`values`: those of Compiled, then the derivatives by its results."""
            of_params, of_arguments = bridge.pull(model, values[count:total], names, list(values[total:]))
            tensors = [v for v in values if isinstance(v, torch.Tensor)]
            ctx.save_for_backward(*tensors)
            ctx.others = [None if isinstance(v, torch.Tensor) else (v,) for v in values]
            ctx.bridge, ctx.model, ctx.names, ctx.count, ctx.total = bridge, model, names, count, total
            return (*of_params, *of_arguments)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, *grads: Any) -> Any:
            saved = iter(ctx.saved_tensors)
            values = [next(saved) if other is None else other[0] for other in ctx.others]
            args, seeds = values[ctx.count : ctx.total], values[ctx.total:]
            found = ctx.bridge.pull_twice(ctx.model, args, ctx.names, seeds, grads[: ctx.count], grads[ctx.count:])
            return (None, None, None, None, None, *(x for part in found for x in part))

    class Module(torch.nn.Module):
        """See `build`."""

        def __init__(self) -> None:
            super().__init__()
            self._hyb = Bridge(model, pullback, torch)
            self._hyb_number, self._hyb_several = torch_op.register(self._hyb), self._hyb.several
            self._hyb_stateful = self._hyb.stateful
            self._hyb_paths: list[tuple[list[str], str]] = []
            for path, tensor in self._hyb.views():
                *parts, last = path.split(".")
                self._hyb_paths.append((parts, last))
                inner: Any = self
                for part in parts:
                    if part not in inner._modules:
                        inner.add_module(part, torch.nn.Module())
                    inner = inner._modules[part]
                inner.register_parameter(last, torch.nn.Parameter(tensor))

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            params = [self._hyb_param(*path) for path in self._hyb_paths]
            names = list(kwargs)
            if torch.compiler.is_compiling():
                given = [*args, *kwargs.values()]
                if not self._hyb_stateful and all(isinstance(x, torch.Tensor) for x in given):
                    found = torch.ops.hyb.forward(self._hyb_number, ",".join(names), params, given)
                    return tuple(found) if self._hyb_several else found[0]
                return self._outside(params, names, args, kwargs)
            return self._eager(params, names, args, kwargs)

        def _hyb_param(self, parts: list[str], last: str) -> Any:
            """The parameter of a path, as it is now: `functional_call` puts others in the places."""
            inner: Any = self
            for part in parts:
                inner = inner._modules[part]
            return inner._parameters[last]

        @torch.compiler.disable
        def _outside(self, params: list[Any], names: list[str], args: Any, kwargs: Any) -> Any:
            """Where torch.compile ends its graph."""
            return self._eager(params, names, args, kwargs)

        def _eager(self, params: list[Any], names: list[str], args: Any, kwargs: Any) -> Any:
            self._hyb.follow(params)
            if not torch.is_grad_enabled():
                found = self._hyb.results([*args, *kwargs.values()], names)
                return tuple(found) if self._hyb_several else found[0]
            self._hyb.check([*args, *kwargs.values()], names)
            return Compiled.apply(self._hyb, names, len(params), *params, *args, *kwargs.values())

        def extra_repr(self) -> str:
            return repr(model)

    return Module()


class Bridge:
    """The model's memory and compiled functions, as Compiled needs them."""

    def __init__(self, model: ModelBase, pullback: Entry, torch: Any):
        self.model, self.entry, self.torch = model, pullback, torch
        kinds = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32, "f64": torch.float64}
        result = self.entry.params[-1].type
        parts: Any = result[1] if result[0] == "tuple" else (result,)
        self.several = result[0] == "tuple"
        self.stateful = model._model.methods["forward"].params[0].mut
        self._shapes: dict[Any, Any] = {}
        self._inner = {p.name for p in pullback.params[1:-1]
                       if not has_derivative(p.type) and model._part.codec.holds_floats(p.type)}
        self.dtypes = [kinds[t if isinstance(t, str) else t[1]] for t in parts]
        self.dtype = kinds[model._model.elem]
        self._shaped = [tuple(p.shape) for p in model._model.params]
        self._sizes = [math.prod(shape) for shape in self._shaped]
        self._offsets = [p.offset * arrays.DTYPES[model._model.elem].itemsize for p in model._model.params]
        self._at = 0

    def views(self) -> list[tuple[str, Any]]:
        """The parameters by path, as tensors over the model's memory."""
        flat = self.model._shared_vector()
        self._at = flat.ctypes.data
        whole = arrays.to_torch(flat, self.model._model.elem)
        found = []
        for p, size, shape in zip(self.model._model.params, self._sizes, self._shaped, strict=True):
            found.append((p.path, whole[p.offset : p.offset + size].reshape(shape)))
        return found

    def follow(self, params: list[Any], as_values: bool = False) -> None:
        """Make the parameters lie in the model's memory again, where either has been replaced; with `as_values` only
        the model takes what they hold."""
        torch = self.torch
        _, data, _ = self.model._owned.leaves[:3]
        places = zip(params, self._offsets, self._sizes, strict=True)
        if data == self._at and all(p.data_ptr() == data + at for p, at, size in places if size):
            return
        moved = data != self._at
        for p in params:
            if p.dtype != self.dtype:
                raise TypeError(f"{self.model._declared.name}: its parameters are {self.dtype}, one of the module's is "
                                f"{p.dtype} now; other types are casts in the body")
        with torch.no_grad():
            for p, (_, view) in zip(params, self.views(), strict=True):
                if not moved:  # the parameter was replaced: by load_state_dict(assign=True), say
                    view.copy_(p)
                if moved or not as_values:
                    p.data = view

    def before(self) -> ModelBase:
        """The model as a derivative of the next call has to see it: that call may write state."""
        return self.model._as_it_is() if self.stateful else self.model

    def results(self, args: Sequence[Any], names: list[str]) -> list[Any]:
        """What the model gives, as tensors."""
        torch = self.torch
        split = len(args) - len(names)
        plain = [a.detach() if isinstance(a, torch.Tensor) else a for a in args]
        found = self.model(*plain[:split], **dict(zip(names, plain[split:], strict=True)))
        # A Python float for a scalar result; arrays where no tensor was given.
        return [torch.as_tensor(x, dtype=kind)
                for x, kind in zip(found if self.several else (found,), self.dtypes, strict=True)]

    def shapes(self, args: Sequence[Any], names: list[str]) -> list[tuple[Any, Any]]:
        """The shapes and types of the results for arguments of which only shapes are known: those for zeros."""
        torch = self.torch
        sizes = [(tuple(map(int, a.shape)), a.dtype) for a in args]
        key = (tuple(sizes), tuple(names))
        if key not in self._shapes:
            with torch._subclasses.fake_tensor.unset_fake_temporarily():
                found = self.results([torch.zeros(s, dtype=kind) for s, kind in sizes], names)
                self._shapes[key] = [(tuple(x.shape), x.dtype) for x in found]
        return self._shapes[key]

    def differentiable(self, args: Sequence[Any], names: list[str]) -> list[bool]:
        """By which arguments there are derivatives, given that they are tensors."""
        known = {p.name for p in self.entry.params[1:-1] if has_derivative(p.type)}
        return [n in known for n in self._positions(args, names)]

    def check(self, args: Sequence[Any], names: list[str]) -> None:
        """Refuse a tensor that wants a derivative where there is none: within a list, a struct or the like."""
        for name, value in zip(self._positions(args, names), args, strict=True) if self._inner else ():
            if name in self._inner and any(x.requires_grad for x in within(value, self.torch.Tensor)):
                raise NotImplementedError(
                    f"{self.model._declared.name}.forward: a tensor within `{name}` requires a derivative, which "
                    "to_torch() gives by parameters and by arguments that are numbers or tensors themselves: pass it "
                    "as an argument of its own, or detach() it")

    def pull(
        self, model: ModelBase, args: Sequence[Any], names: list[str], seeds: list[Any]
    ) -> tuple[list[Any], list[Any]]:
        """The derivatives by the parameters, and by the arguments (None for what is no float tensor); `model` is what
        `before` gave."""
        flat, *rest = self._called(model, "pullbacks", args, names, {"d": self._joined(seeds)})
        return self._apart(flat), self._by_argument(args, names, iter(rest))

    def pull_twice(
        self, model: ModelBase, args: Sequence[Any], names: list[str], seeds: list[Any], of_params: Sequence[Any],
        of_args: Sequence[Any]
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """The derivatives of what `pull` gives, weighted with these, by the parameters, the arguments and `seeds`."""
        torch, name = self.torch, f"{self.model._declared.name}.forward"
        if not self.model._entries("curvatures", "forward"):
            raise NotImplementedError(f"{name}: a .hybx has no second derivatives for PyTorch; load the source")
        flat = torch.zeros(self.model._model.size, dtype=self.dtype)
        for at, d in zip(self.model._model.params, of_params, strict=True):
            if d is None:
                continue
            flat[at.offset : at.offset + d.numel()] = d.reshape(-1)
        given = dict(zip(self._positions(args, names), zip(args, of_args, strict=True), strict=True))
        kinds = [p for p in self.entry.params[1:-1] if has_derivative(p.type)]
        beside = [self._weight(p, *given.get(p.name, (None, None))) for p in kinds]
        u = (flat, *beside) if beside else flat
        found, *rest = self._called(model, "curvatures", args, names, {"d": self._joined(seeds), "u": u})
        parts = iter(rest)
        of_arguments = self._by_argument(args, names, parts)
        last = next(parts)
        of_seeds = list(last) if isinstance(last, tuple) else [last]
        return self._apart(found), of_arguments, [
            torch.as_tensor(x, dtype=s.dtype).reshape(s.shape) for x, s in zip(of_seeds, seeds, strict=True)]

    def _weight(self, p: Param, x: Any, d: Any) -> Any:
        """What the derivative by argument `p` is weighted with: `d`, or zeros like its value `x`."""
        if d is not None:
            return d.contiguous()
        if isinstance(p.type, str):
            return 0.0
        if x is not None:
            return self.torch.zeros_like(self.torch.as_tensor(x))
        if p.type[0] == "option":
            return None
        raise NotImplementedError(f"{self.model._declared.name}.forward: a second derivative needs `{p.name}` given, "
                                  "not left to its default")

    def _joined(self, seeds: list[Any]) -> Any:
        return tuple(seeds) if len(seeds) > 1 else seeds[0]

    def _called(
        self, model: ModelBase, table: Table, args: Sequence[Any], names: list[str], more: dict[str, Any]
    ) -> list[Any]:
        plain = [a.detach() if isinstance(a, self.torch.Tensor) else a for a in args]
        split = len(args) - len(names)
        by_name = {**dict(zip(names, plain[split:], strict=True)), **more}
        first = model._entries(table, "forward")[0]
        if len(plain) + len(more) == len(first[1].params) - 1 and not names:  # complete and in order
            plain, by_name = [*plain, *by_name.values()], {}
            split = len(plain)
        found = model._through(table, "forward", first, tuple(plain[:split]), by_name)
        return list(found) if isinstance(found, tuple) else [found]

    def _apart(self, flat: Any) -> list[Any]:
        """A vector like the parameters as the tensors they are."""
        parts = self.torch.as_tensor(flat).split(self._sizes)
        return [x.view(shape) for x, shape in zip(parts, self._shaped, strict=True)]

    def _positions(self, args: Sequence[Any], names: list[str]) -> list[str]:
        """The names of the arguments."""
        return [*(p.name for p in self.entry.params[1 : 1 + len(args) - len(names)]), *names]

    def _by_argument(self, args: Sequence[Any], names: list[str], found: Iterator[Any]) -> list[Any]:
        """For each argument the derivative by it, None for what has none."""
        torch = self.torch
        slopes = {p.name: next(found) for p in self.entry.params[1:-1] if has_derivative(p.type)}
        of = [(slopes.get(n), a) for n, a in zip(self._positions(args, names), args, strict=True)]
        return [torch.as_tensor(d, dtype=a.dtype).reshape(a.shape)
                if d is not None and isinstance(a, torch.Tensor) and a.is_floating_point() else None for d, a in of]


def has_derivative(t: Type) -> bool:
    """Is there a derivative by an argument of the type: a float, a float tensor, an option of these?"""
    if t[0] == "option":
        return has_derivative(t[1]) and t[1][0] != "option"
    return t in FLOATS or t[0] == "tensor" and t[1] in FLOATS


def within(value: Any, kind: type) -> Iterator[Any]:
    """The tensors in a list, a dict, a tuple, a struct, however deep."""
    waiting = [value]
    while waiting:
        x = waiting.pop()
        if isinstance(x, kind):
            yield x
        elif isinstance(x, dict):
            waiting += x.values()
        elif isinstance(x, list | tuple | deque):
            waiting += x
        elif hasattr(type(x), "__match_args__"):
            waiting += [getattr(x, name) for name in type(x).__match_args__]
