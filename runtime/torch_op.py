"""A compiled model as an operator of PyTorch, which `torch.compile` takes as a whole instead of looking into it.

An operator knows tensors only, so this is for calls whose arguments are tensors; of others autograd's own way
(torch_module.py) is taken, and the graph ends there.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from hybridc_runtime.torch_module import Bridge

GIVEN = "int model, str names, Tensor[] params, Tensor[] args"
_numbers = itertools.count(1)
_bridges: WeakValueDictionary[int, Bridge] = WeakValueDictionary()


def register(bridge: Bridge) -> int:
    """A number for the operators to know a model by, as long as it lives."""
    number = next(_numbers)
    _bridges[number] = bridge
    return number


def apart(names: str) -> list[str]:
    """The names of the arguments given by name; an operator takes them as one text."""
    return names.split(",") if names else []


@functools.cache
def operators() -> tuple[Any, Any]:
    """`hyb::forward` and `hyb::pull`, its derivative."""
    import torch

    @torch.library.custom_op("hyb::forward", mutates_args=(), schema=f"({GIVEN}) -> Tensor[]")
    def forward(model: int, names: str, params: list[torch.Tensor], args: list[torch.Tensor]
                ) -> list[torch.Tensor]:
        bridge = _bridges[model]
        bridge.follow(params, True)
        return bridge.results(args, apart(names))

    def shapes(model: int, names: str, params: list[torch.Tensor], args: list[torch.Tensor]
               ) -> list[torch.Tensor]:
        like = args[0] if args else params[0]
        return [like.new_empty(shape, dtype=kind) for shape, kind in _bridges[model].shapes(args, apart(names))]

    forward.register_fake(shapes)

    @torch.library.custom_op("hyb::pull", mutates_args=(), schema=f"({GIVEN}, Tensor[] seeds) -> Tensor[]")
    def pull(model: int, names: str, params: list[torch.Tensor], args: list[torch.Tensor],
             seeds: list[torch.Tensor]) -> list[torch.Tensor]:
        bridge = _bridges[model]
        bridge.follow(params, True)
        of_params, of_args = bridge.pull(bridge.model, args, apart(names), [s.contiguous() for s in seeds])
        # A vector's parts lie in one piece of memory, and so may what was given: an operator's results may not.
        found = [d.clone() for d in of_params]
        return found + [a.new_empty(0) if d is None else d.clone() for a, d in zip(args, of_args, strict=True)]

    def sizes(model: int, names: str, params: list[torch.Tensor], args: list[torch.Tensor],
              seeds: list[torch.Tensor]) -> list[torch.Tensor]:
        bridge = _bridges[model]
        return [torch.empty_like(p) for p in params] + [
            a.new_empty(a.shape if known else 0) for a, known in zip(args, bridge.differentiable(args, apart(names)),
                                                                     strict=True)]

    pull.register_fake(sizes)

    def keep(ctx: Any, inputs: Any, output: Any) -> None:
        model, names, params, args = inputs
        ctx.model, ctx.names, ctx.count = model, names, len(params)
        ctx.kinds = [(x.shape, x.dtype, x.device) for x in output]
        ctx.save_for_backward(*params, *args)

    def backward(ctx: Any, grads: Any) -> Any:
        saved = ctx.saved_tensors
        params, args = list(saved[: ctx.count]), list(saved[ctx.count:])
        seeds = [torch.zeros(shape, dtype=kind, device=at) if d is None else d
                 for d, (shape, kind, at) in zip(grads, ctx.kinds, strict=True)]
        found = pull(ctx.model, ctx.names, params, args, seeds)
        known = _bridges[ctx.model].differentiable(args, apart(ctx.names))
        of_args = [d if k else None for d, k in zip(found[ctx.count:], known, strict=True)]
        return None, None, found[: ctx.count], of_args

    forward.register_autograd(backward, setup_context=keep)
    return forward, pull
