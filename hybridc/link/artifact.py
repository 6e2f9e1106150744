"""Writes the `.hybx` file, whose format hybridc_runtime/artifact.py describes."""

from __future__ import annotations

from hybridc_runtime.artifact import pack_members
from hybridc_runtime.manifest import Manifest

from hybridc.llvm.compile import Compiled


def pack(manifest: Manifest, compiled: Compiled, core: str) -> bytes:
    """The bytes of an artifact; the same for the same program and processor."""
    return pack_members([
        ("manifest.json", manifest.to_json().encode(), ()),
        ("core.txt", core.encode(), ()),
        ("cpu.o", compiled.object, compiled.requires),
    ])
