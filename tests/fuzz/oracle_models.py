"""Models of the oracle: objects whose parameters are fields among the others, in the order written.

First values that are drawn at random are Unknown; those of the layers of `nn` that it knows are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from hybridc.front.parse import syntax as s
from tests.fuzz.oracle_tensors import Array, fit, function
from tests.fuzz.oracle_values import Obj, Unknown, dup

INITS = {"zeros": 0.0, "ones": 1.0}


@dataclass
class Model(Obj):
    """`params`: the names of fields that are parameters; `config`: what its methods see beside `self`."""

    params: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)


class Evaluator(Protocol):
    scopes: list[dict[str, Any]]

    def eval(self, e: Any) -> Any: ...


def built(decl: s.Model, args: Sequence[s.Argument], oracle: Evaluator) -> Model:
    """A new one; what it knows does not depend on the seed."""
    given = [oracle.eval(a.value) for a in args if a.name is None]
    given += [oracle.eval(p.default) for p in decl.config[len(given) :]]
    made = Model(decl.name, decl.name, {}, [], dict(zip((p.name for p in decl.config), given, strict=True)))
    scopes, oracle.scopes = oracle.scopes, [made.config]
    for m in decl.members:
        match m:
            case s.ModelParam(name=n, type=s.TypeName(args=dims), init=s.Call(fn=s.Name(id=init), args=values)):
                made.fields[n] = first(init, [oracle.eval(a.value) for a in values], [oracle.eval(d) for d in dims or ()])
                made.params.append(n)
            case s.ModelState(name=n, type=s.TypeName(args=dims), init=s.Call(fn=s.Name(id="zeros"))):
                made.fields[n] = first("zeros", [], [oracle.eval(d) for d in dims or ()])
            case s.ModelState(name=n, init=init):
                made.fields[n] = oracle.eval(init)
            case s.ModelLet(name=n, value=s.Call(fn=s.Name(id=name), args=values)):
                made.fields[n] = layer(name, [oracle.eval(a.value) for a in values])
    oracle.scopes = scopes
    return made


def first(init: str, args: list[Any], shape: list[int]) -> Array:
    """What a parameter is before it is trained."""
    if init == "constant":
        return np.full(shape, args[0])
    if init not in INITS:
        raise Unknown(init)
    return np.full(shape, INITS[init])


def layer(name: str, args: list[Any]) -> Model:
    """A layer of `nn`."""
    if name != "LayerNorm":
        raise Unknown(name)
    (n,) = args
    return Model(name, name, {"weight": np.ones(n), "bias": np.zeros(n)}, ["weight", "bias"])


def applied(m: Model, x: Array) -> Array:
    """The `forward` of a layer."""
    found: Array = function("layer_norm", [x, m.fields["weight"], m.fields["bias"]], {})
    return found


def _places(m: Model) -> Iterator[tuple[dict[str, Any], str]]:
    for name, value in m.fields.items():
        if name in m.params:
            yield m.fields, name
        elif isinstance(value, Model):
            yield from _places(value)


def params(m: Model) -> Array:
    return np.concatenate([np.zeros(0), *(fields[name].ravel() for fields, name in _places(m))])


def put(m: Model, vector: Array) -> None:
    fit(vector.shape, params(m).shape)
    at = 0
    for fields, name in _places(m):
        n = fields[name].size
        fields[name] = vector[at : at + n].reshape(fields[name].shape)
        at += n


def with_params(m: Model, vector: Array) -> Model:
    made: Model = dup(m)
    put(made, vector)
    return made


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "params": params, "num_params": lambda m: params(m).size, "with_params": with_params,
}  # fmt: skip
