"""A checkpoint: one safetensors file with everything that goes on from call to call, bit for bit.

Tensors: `losses`; of a model `NAME/PATH` for each parameter and each state that is a tensor; of any other argument that
is changed its bytes (hybridc_runtime.encoding) as `NAME`. Metadata: `training`, the JSON object of what was asked for
(function, seed, arguments, digest of the sources) and the number of calls; `NAME/state.PATH` for state that is no
tensor; `NAME` for a generator. The file appears whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hybridc_runtime import encoding, weights
from hybridc_runtime.codec import Codec
from hybridc_runtime.manifest import Type
from hybridc_runtime.models import ModelBase
from hybridc_runtime.values import Native, rng

NAME = "checkpoint.safetensors"

def save(
    path: Path, asked: dict[str, Any], losses: Sequence[float], values: dict[str, Any], types: dict[str, Type],
    codec: Codec,
) -> None:
    """Write a checkpoint. `values` are the arguments that are changed, `types` what the program takes them for."""
    tensors: dict[str, tuple[str, Any]] = {"losses": ("f64", np.array(losses, np.float64))}
    metadata = {"training": json.dumps({**asked, "calls": len(losses)}, sort_keys=True)}
    for name, value in values.items():
        if isinstance(value, ModelBase):
            own, more = value._contents()
            tensors.update((f"{name}/{k}", v) for k, v in own.items())
            metadata.update((f"{name}/{k}", v) for k, v in more.items())
        elif isinstance(value, rng):
            metadata[name] = json.dumps(value._state)
        else:
            plain = value.to_python() if isinstance(value, Native) else value
            data = encoding.encode(encoding.schema(codec.manifest, types[name]), plain)
            tensors[name] = ("u8", np.frombuffer(data, np.uint8))
    weights.save(path, tensors, metadata)


def asked_of(path: Path) -> dict[str, Any]:
    """What the checkpoint was made for; ValueError for a file that is none."""
    _, metadata = weights.load(path)
    try:
        found = json.loads(metadata["training"])
    except (KeyError, ValueError):
        raise ValueError(f"{path} is no checkpoint") from None
    assert isinstance(found, dict)
    return found


def load(path: Path, values: dict[str, Any], types: dict[str, Type], codec: Codec) -> list[float]:
    """Put everything back into the arguments that are changed; the losses so far."""
    tensors, metadata = weights.load(path)
    for name, value in values.items():
        if isinstance(value, ModelBase):
            start = f"{name}/"
            own = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
            more = {k.removeprefix(start): v for k, v in metadata.items() if k.startswith(start)}
            value._take_contents(own, more, str(path))
        elif isinstance(value, rng):
            value._state = tuple(json.loads(metadata[name]))
        else:
            s = encoding.schema(codec.manifest, types[name])
            values[name] = encoding.decode(s, tensors[name][1].tobytes(), encoding.Maker(s, codec))
    return [float(x) for x in tensors["losses"][1]]
