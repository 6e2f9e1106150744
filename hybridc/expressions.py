"""Values written on a command line: literals, and calls of what a module offers; nothing else of Python."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
from hybridc_runtime.models import Exported, ModelBase
from hybridc_runtime.module import Module


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


def value_or_text(module: Module, text: str) -> Any:
    """The value of a literal, of a call of what the module offers, or of one of its cases; any other text is itself."""
    try:
        node = ast.parse(text, mode="eval").body
        return text if isinstance(node, ast.Name) else _evaluate(module, node, 0, text)
    except (SyntaxError, Unusable):
        return text


def _evaluate(module: Module, node: ast.expr, seed: int, text: str) -> Any:
    """Literals, and calls of what the module offers; nothing else of Python."""
    match node:
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
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise Unusable(f"{text!r} is neither a literal nor a call") from None


def _named(module: Module, node: ast.expr, text: str) -> Any:
    """What the module offers: `Net`, or a case of an enum, `Phase.Warm`."""
    parts = ast.unparse(node).split(".")
    found: Any = vars(module).get(parts[0]) if not parts[0].startswith("_") else None
    if len(parts) == 2 and isinstance(found, type) and parts[1] in {c.__name__ for c in getattr(
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
