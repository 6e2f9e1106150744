"""Values written on a command line: literals of Python and of Hyb, and calls of what a module offers; nothing else."""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from hybridc_runtime.models import Exported, ModelBase
from hybridc_runtime.module import Module
from hybridc_runtime.values import rng


class Unusable(Exception):
    """A function cannot be called with what the command line says; the text says why."""


def value(module: Module, text: str, seed: int, folder: Path) -> Any:
    """The value of `Net(64)`, `Phase.Warm`, `[1, 2]` or, looked up in `folder`, of `@x.npy`, `@x.npz:KEY` and
    `@x.json`. Models are made with `seed`."""
    if text.startswith("@"):
        return _read(text[1:], folder)
    try:
        node = ast.parse(text, mode="eval").body
    except SyntaxError:
        raise Unusable(f"{text!r} is no expression") from None
    return _evaluate(module, node, seed, text)


def value_or_text(module: Module, text: str, wanted: str | None) -> Any:
    """The value of a literal, of a call of what the module offers, or of one of its cases; any other text is itself,
    and so is one that is no str where the type `wanted` is."""
    try:
        found = _evaluate(module, ast.parse(text, mode="eval").body, 0, text)
    except SyntaxError:
        return text
    except Unusable as e:
        if wanted is None or "str" in wanted or not text.endswith(")"):
            return text
        raise ValueError(e) from None
    return text if wanted == "str" and not isinstance(found, str) else found


WORDS = {"true": True, "false": False, "none": None, "inf": math.inf, "nan": math.nan}


def _evaluate(module: Module, node: ast.expr, seed: int, text: str) -> Any:
    """Literals, and calls of what the module offers; nothing else of Python."""
    match node:
        case ast.Name(id=word) if word in WORDS:
            return WORDS[word]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Name(id="inf" | "nan" as word)):
            return -WORDS[word]  # type: ignore[operator]
        case ast.Call(func=ast.Name(id="rng"), args=[ast.Constant(value=int(start))], keywords=[]):
            return rng(start)
        case ast.Call(func=ast.Name(id="set"), args=[], keywords=[]):
            return set()
        case ast.Name() | ast.Attribute():
            return _named(module, node, text)
        case ast.Call(func=ast.Name() | ast.Attribute() as func, args=args, keywords=keywords) if all(
                k.arg for k in keywords):
            target = _named(module, func, text)
            if not callable(target):
                raise Unusable(f"{text!r}: {ast.unparse(func)} is not called")
            given = [_evaluate(module, a, seed, text) for a in args]
            named = {str(k.arg): _evaluate(module, k.value, seed, text) for k in keywords}
            if isinstance(target, type) and issubclass(target, ModelBase) or isinstance(target, Exported):
                named.setdefault("seed", seed)
            return target(*given, **named)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            found = [_evaluate(module, x, seed, text) for x in items]
            return tuple(found) if isinstance(node, ast.Tuple) else found
        case ast.Set(elts=items):
            return {_evaluate(module, x, seed, text) for x in items}
        case ast.Dict(keys=keys, values=values) if all(keys):
            return {_evaluate(module, k, seed, text): _evaluate(module, v, seed, text)  # type: ignore[arg-type]
                    for k, v in zip(keys, values, strict=True)}
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise Unusable(f"{text!r} is neither a literal nor a call") from None


def _named(module: Module, node: ast.expr, text: str) -> Any:
    """What the module offers: `Net`, or a case of an enum, `Phase.Warm`, or `Warm` where one enum alone has it."""
    parts = ast.unparse(node).split(".")
    found: Any = vars(module).get(parts[0]) if not parts[0].startswith("_") else None
    if found is None and len(parts) == 1:
        enums = [e for e in vars(module).values() if parts[0] in {c.__name__ for c in getattr(e, "_hyb_classes", ())}]
        found = getattr(enums[0], parts[0]) if len(enums) == 1 else None
    elif len(parts) == 2 and isinstance(found, type) and parts[1] in {c.__name__ for c in getattr(
            found, "_hyb_classes", ())}:
        found = getattr(found, parts[1])
    elif len(parts) > 1:
        found = None
    if found is None:
        raise Unusable(f"{text!r}: there is no {'.'.join(parts)}")
    return found


def _read(place: str, folder: Path) -> Any:
    name, _, key = place.partition(":")
    path = folder / name
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                if key not in arrays:
                    raise Unusable(f"{name} has no array {key!r}; it has {', '.join(arrays)}")
                return arrays[key]
        if path.suffix == ".json":
            return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise Unusable(f"{name}: {e}") from None
    raise Unusable(f"{name}: data is read from .npy, .npz:KEY and .json")
