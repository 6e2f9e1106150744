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
    """(kind, name) of each; the name is "" where none is said. UnknownTarget for what is none."""
    found = []
    for part in filter(None, (t.strip() for t in text.split(","))):
        kind, _, name = part.partition(":")
        if kind != "cpu" and part not in GPUS:
            raise UnknownTarget(f"there is no target {part!r}; targets are {KNOWN}")
        found.append((kind, name))
    if not found:
        raise UnknownTarget(f"no target is given; targets are {KNOWN}")
    return list(dict.fromkeys(found))


class UnknownTarget(CompileError):
    """A target that does not exist: no error of a program, but of who asks for it."""

    def __init__(self, message: str):
        super().__init__([Diagnostic("HYB702", message, NOWHERE)], {})
