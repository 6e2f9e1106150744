"""The `.hybx` file: one container for a compiled program.

    8 bytes   "HYBX0001"
    8 bytes   length of the header, little-endian
    32 bytes  SHA-256 of the header
    header    JSON: {"members": [{"name", "size", "sha256", "requires"?}, ...]}
    members   one after the other: "manifest.json", "core.txt", and objects "NAME.o", the most demanding processor
              first; `requires` lists the features, by LLVM's names, that an object's code needs

Objects are native code, so nothing is loaded unless every digest is right. That finds damage; it does not make code
from a stranger safe to run.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hybridc_runtime.manifest import Manifest

if TYPE_CHECKING:
    from hybridc_runtime.module import Module

MAGIC = b"HYBX0001"
PREFIX = 8 + 8 + 32


def pack_members(members: Sequence[tuple[str, bytes, Sequence[str]]]) -> bytes:
    """The file of members (name, data, required features)."""
    rows = []
    for name, data, requires in members:
        row: dict[str, Any] = {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        if requires:
            row["requires"] = sorted(requires)
        rows.append(row)
    header = json.dumps({"members": rows}, separators=(",", ":"), ensure_ascii=False).encode()
    prefix = MAGIC + len(header).to_bytes(8, "little") + hashlib.sha256(header).digest()
    return prefix + header + b"".join(data for _, data, _ in members)


def members_of(data: bytes, what: str = "the artifact") -> list[tuple[dict[str, Any], bytes]]:
    """Each member's row and data; ValueError unless all of it is as it was made."""
    length = int.from_bytes(data[8:16], "little")
    header = data[PREFIX:PREFIX + length]
    if data[:8] != MAGIC:
        raise ValueError(f"{what} is not a .hybx file")
    if len(header) != length or hashlib.sha256(header).digest() != data[16:PREFIX]:
        raise ValueError(f"{what} is damaged: its header does not match its digest")
    out = []
    at = PREFIX + length
    for row in json.loads(header)["members"]:
        member = data[at:at + row["size"]]
        at += row["size"]
        if hashlib.sha256(member).hexdigest() != row["sha256"]:
            raise ValueError(f"{what} is damaged: {row['name']} does not match its digest")
        out.append((row, member))
    if at != len(data):
        raise ValueError(f"{what} is damaged: it has {len(data)} bytes, of which {at} are described")
    return out


def unpack(data: bytes, what: str = "the artifact") -> tuple[Manifest, list[bytes]]:
    """The manifest, and the object for this processor."""
    members = members_of(data, what)
    found = {row["name"]: member for row, member in members}
    if "manifest.json" not in found:
        raise ValueError(f"{what} has no manifest")
    manifest = Manifest.from_json(found["manifest.json"])
    objects = [(row, member) for row, member in members if row["name"].endswith(".o")]
    missing: list[str] = []
    for row, member in objects:
        missing = [f for f in row.get("requires", ()) if f not in features()]
        if not missing:
            return manifest, [member]
    needs = f"; it needs {', '.join(missing)}" if missing else ""
    raise ValueError(f"{what} has no code that this processor can run{needs}")


@functools.cache
def features() -> frozenset[str]:
    """What this processor can do, by LLVM's names."""
    import llvmlite.binding as llvm

    return frozenset(name for name, has in llvm.get_host_cpu_features().items() if has)


def load_artifact(source: str | os.PathLike[str] | bytes, *, externs: Mapping[str, Any] | None = None) -> Module:
    """The module of a `.hybx` file, by path or as bytes."""
    from hybridc_runtime.module import link

    if isinstance(source, bytes):
        data, what = source, "the artifact"
    else:
        what = os.fspath(source)
        with open(source, "rb") as f:
            data = f.read()
    manifest, objects = unpack(data, what)
    return link(manifest, objects, externs=externs)
