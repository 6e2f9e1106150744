"""Targets as the command line names them: `cpu`, `cpu:NAME`, GPUs by name, several with commas between."""

from __future__ import annotations

from hybridc.base.diagnostic import CompileError, Diagnostic
from hybridc.base.source import NOWHERE

GPUS = {
    "cuda:sm_80": ("cuda", 80, 32), "cuda:sm_90": ("cuda", 90, 32), "cuda:sm_100": ("cuda", 100, 32),
    "hip:gfx942": ("hip", "gfx942", 64),
}  # fmt: skip
"""Backend, architecture and threads of a warp, as Triton names them."""
KNOWN = ", ".join(["cpu", "cpu:NAME", *GPUS])


def parse_targets(text: str) -> list[tuple[str, str]]:
    """(kind, name) of each; the name is "" where none is said. CompileError for what is no target."""
    found = []
    for part in filter(None, (t.strip() for t in text.split(","))):
        kind, _, name = part.partition(":")
        if kind != "cpu" and part not in GPUS:
            raise unknown(f"there is no target {part!r}; targets are {KNOWN}")
        found.append((kind, name))
    if not found:
        raise unknown(f"no target is given; targets are {KNOWN}")
    return list(dict.fromkeys(found))


def unknown(message: str) -> CompileError:
    """The error of a target that does not exist."""
    return CompileError([Diagnostic("HYB702", message, NOWHERE)], {})
