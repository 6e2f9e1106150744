"""Weights on disk: the safetensors format, always the same bytes for the same values."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from hybridc_runtime.arrays import DTYPES
from hybridc_runtime.files import write_whole

CODES = {
    "f32": "F32", "f64": "F64", "f16": "F16", "bf16": "BF16", "int": "I64", "i32": "I32", "u8": "U8", "bool": "BOOL",
}
_ELEMS = {code: elem for elem, code in CODES.items()}
LONGEST_HEADER = 100 << 20


def save(path: str | os.PathLike[str], tensors: Mapping[str, tuple[str, Any]], metadata: Mapping[str, str]) -> None:
    """Write a file of these; all of it or nothing, through any crash."""
    write_whole(path, to_bytes(tensors, metadata), lasting=True)


def to_bytes(tensors: Mapping[str, tuple[str, Any]], metadata: Mapping[str, str]) -> bytes:
    """Tensors (name -> element type, array) in their order."""
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    at = 0
    for name, (elem, array) in tensors.items():
        header[name] = {"dtype": CODES[elem], "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    arrays = (np.ascontiguousarray(array).tobytes() for _, array in tensors.values())
    return b"".join([struct.pack("<Q", len(text)), text, *arrays])


def load(path: str | os.PathLike[str]) -> tuple[dict[str, tuple[str, Any]], dict[str, str]]:
    """Tensors (name -> element type, array) and metadata; OSError without a file, ValueError for a damaged one."""
    with open(path, "rb") as f:
        return from_bytes(f.read(), os.fspath(path))


def from_bytes(data: bytes, source: str) -> tuple[dict[str, tuple[str, Any]], dict[str, str]]:
    """What `to_bytes` wrote; ValueError, which names the source, for what is damaged."""
    what = f"{source} is not a whole safetensors file"
    if len(data) < 8:
        raise ValueError(what)
    (length,) = struct.unpack_from("<Q", data)
    if length > min(LONGEST_HEADER, len(data) - 8):
        raise ValueError(what)
    try:
        header = json.loads(data[8:8 + length])
        metadata = header.pop("__metadata__", {})
        if not all(isinstance(text, str) for text in metadata.values()):
            raise ValueError(what)
        out, strange = {}, ""
        for name, row in header.items():
            start, end = row["data_offsets"]
            elem = _ELEMS.get(row["dtype"])
            shape = tuple(row["shape"])
            if elem is None:
                strange = f"{source}: {name} is of the type {row['dtype']}, which Hyb does not have"
                continue
            count = int(np.prod(shape, dtype=np.int64))
            if end - start != count * DTYPES[elem].itemsize or not 0 <= start <= end <= len(data) - 8 - length:
                raise ValueError(what)
            out[name] = (elem, np.frombuffer(data, DTYPES[elem], count, 8 + length + start).reshape(shape))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise ValueError(what) from e
    if strange:
        raise ValueError(strange)
    return out, metadata
