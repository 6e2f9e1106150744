"""Weights within an artifact: files in the safetensors format that `hybridc build --weights` puts there, each held
against what the manifest says of the model it is for. Nothing of the program is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hybridc_runtime import weights
from hybridc_runtime.arrays import shown
from hybridc_runtime.configuration import show_call
from hybridc_runtime.contents import check_shape, entries, states_of, unlike
from hybridc_runtime.manifest import Manifest, Model, ModelState


def packed(manifest: Manifest, name: str, file: str) -> bytes:
    """The values in a file for what is exported as `name`; the same bytes for the same values, however the file has
    them.

    Raises:
        ValueError: no such model, or the file does not fit it.
        OSError: the file cannot be read.
    """
    model = model_called(manifest, name)
    tensors, metadata = weights.load(file)
    state = entries(manifest, model, tensors, metadata, None)
    states = states_of(manifest, model)
    if not any(path in state for path in states):
        states = {}
    wrong = unlike(model, states, state)
    if wrong:
        raise ValueError(wrong)
    for p in model.params:
        check_shape(p.path, model.elem, p.shape, tensors[p.path][1].shape)
    for path, row in states.items():
        if isinstance(row.type, str) or row.type[0] == "tensor":
            _check_state(path, row, tensors)
    kept = {path: tensors[path] for path in [*(p.path for p in model.params), *states] if path in tensors}
    return weights.to_bytes(kept, {k: v for k, v in metadata.items() if k.removeprefix("state.") in states})


def _check_state(path: str, row: ModelState, tensors: Mapping[str, tuple[str, Any]]) -> None:
    elem, dims = (row.type, []) if isinstance(row.type, str) else (row.type[1], row.dims)
    found = tensors.get(path)
    if found is None or found[0] != elem:
        what = "no tensor" if found is None else shown(found[0], found[1].shape)
        raise ValueError(f"{path}: expected {shown(elem, ['?' if d is None else d for d in dims])}, found {what}")
    check_shape(path, elem, dims, found[1].shape)


def model_called(manifest: Manifest, name: str) -> Model:
    """The model that is exported under a name: the one of an `as`, or the only configuration of a declaration."""
    declared = manifest.model_classes.get(name)
    found: Sequence[Model] = ()
    if declared is not None:
        found = [m for m in manifest.models if m.key == declared.key]
    elif name in manifest.exports:
        key, config = manifest.exports[name]
        found = [m for m in manifest.models if m.key == key and m.config == config]
    if len(found) == 1:
        return found[0]
    if declared is not None and found:
        calls = " and ".join(show_call(declared, m.config) for m in found)
        raise ValueError(f"`{name}` is exported as {calls}: name one, `export {name}(...) as NAME`")
    names = list(dict.fromkeys([*manifest.exports, *(m.name for m in manifest.models)]))
    raise ValueError(f"no model is exported as `{name}`" + (f"; there are {', '.join(names)}" if names else ""))
