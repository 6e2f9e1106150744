"""Configurations of models: what Python gives a model's class, compared, checked and shown.

As in the manifest, a function is `{"fn": key}`, or its name where Python gives it, and a model
`{"model": key, "config": [...]}`.
"""

from __future__ import annotations

from typing import Any

from hybridc_runtime.classes import spoken
from hybridc_runtime.faults import ArgumentError
from hybridc_runtime.manifest import ModelClass


def same_config(a: Any, b: Any) -> bool:
    """Configurations compare by value and kind: lists and tuples are one, 1 is not true, 1.0 not 1."""
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same_config, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        if "fn" in a and "fn" in b:  # Python knows a function by its name in the module
            return bool(show_config(a) == show_config(b))
        return a.keys() == b.keys() and a["model"] == b["model"] and same_config(a["config"], b["config"])
    return type(a) is type(b) and a == b


def show_config(value: Any) -> str:
    if isinstance(value, dict):
        if "fn" in value:
            module, _, name = str(value["fn"]).rpartition(":")
            return name.removeprefix("_") if module == "std._elementwise" else name  # a built-in function
        return f"{value['model'].rpartition(':')[2]}({', '.join(map(show_config, value['config']))})"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(show_config, value)) + "]"
    return "none" if value is None else str(value)


def show_call(declared: ModelClass, config: list[Any]) -> str:
    names = [row[0] for row in declared.config]
    return f"{declared.name}({', '.join(f'{n}={show_config(v)}' for n, v in zip(names, config, strict=False))})"


def blamed(declared: ModelClass, config: list[Any]) -> str:
    """The arguments that made a dimension negative: those that are, else all that are ints."""
    given = {row[0]: v for row, v in zip(declared.config, config, strict=False)}
    ints = {n: v for n, v in given.items() if type(v) is int}
    named = {n: v for n, v in ints.items() if v < 0} or ints or given
    shown = ", ".join(f"{n}={show_config(v)}" for n, v in named.items())
    return f"{declared.name}() argument{'s' * (len(named) > 1)} {shown}"


def configuration(declared: ModelClass, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The whole configuration, in order, from what a call gives."""
    rows = declared.config
    if len(args) > len(rows):
        raise TypeError(f"{declared.name}() takes {len(rows)} configuration arguments, {len(args)} were given")
    given = dict(zip([r[0] for r in rows], args, strict=False))
    names = spoken(r[0] for r in rows)
    for key, value in kwargs.items():
        if key not in names:
            raise TypeError(f"{declared.name}() has no configuration argument {key!r}")
        if names[key] in given:
            raise TypeError(f"{declared.name}() got {key!r} twice")
        given[names[key]] = value
    config = []
    for name, shown, default, has_default in rows:
        if name not in given and not has_default:
            raise TypeError(f"{declared.name}() needs {name}: {shown}")
        value = given.get(name, default)
        words = declared.words.get(name, {})
        if words and isinstance(value, str):
            if value not in words:
                expected = ", ".join([shown, *(f'"{w}"' for w in words)])
                raise ArgumentError(f"{declared.name}() argument {name}: expected one of {expected}, found {value!r}")
            value = words[value]
        config.append(_config_value(value, shown, f"{declared.name}() argument {name}"))
    return config


def _config_value(value: Any, shown: str, what: str) -> Any:
    """A configuration argument as its type has it."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    kinds = {"int": int, "float": float, "f64": float, "f32": float, "bool": bool, "str": str}
    want = kinds.get(shown)
    if want is float and type(value) is int:
        value = float(value)
    if want is not None and type(value) is not want:
        raise ArgumentError(f"{what}: expected {shown}, found {type(value).__name__}")
    if shown.startswith("("):
        items = _parts(shown[1:-1])
        if type(value) is int and all(i == "int" for i in items):
            return [value] * len(items)  # one for all
        if not isinstance(value, (list, tuple)) or len(value) != len(items):
            raise ArgumentError(f"{what}: expected {shown}, found {value!r}")
        return [_config_value(v, i, what) for v, i in zip(value, items, strict=True)]
    if shown.startswith("list["):
        if not isinstance(value, (list, tuple)):
            raise ArgumentError(f"{what}: expected {shown}, found {type(value).__name__}")
        return [_config_value(v, shown.removeprefix("list[").removesuffix("]"), what) for v in value]
    declared = getattr(value, "_declared", None)
    if isinstance(declared, ModelClass) and not isinstance(value, type):
        value = {"model": declared.key, "config": value._model.config}
    elif getattr(value, "_hyb_function", None) is not None:
        value = {"fn": value._hyb_function}
    if (shown == "model" or shown.startswith("fn(")) != isinstance(value, dict):
        wanted = "a model, whose configuration it takes" if shown == "model" else (
            f"a function of the module, {shown}" if shown.startswith("fn(") else shown)
        raise ArgumentError(f"{what}: expected {wanted}, found {type(value).__name__}")
    return value


def _parts(shown: str) -> list[str]:
    """The types of a tuple, as shown."""
    parts, depth = [""], 0
    for c in shown:
        depth += (c in "([") - (c in ")]")
        if c == "," and not depth:
            parts.append("")
        else:
            parts[-1] += c
    return [p.strip() for p in parts if p.strip()]
