"""Foreign blocks: what compiled code counts like its own memory, and tells the runtime by a number when the last owner
let go of it (a store, memory of a GPU)."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from hybridc_runtime.memory import MEMORY, TRIPLE, allocate

_ends: dict[int, Callable[[int], object]] = {}
_handles = itertools.count(1)
FOREIGN = -1
"""Where a block of elements has its length."""


def hold(end: Callable[[int], object]) -> tuple[int, int]:
    """A block with one owner, and its handle, which `end` is called with when no owner is left. The caller counts the
    block among the program's live ones."""
    handle = next(_handles)
    _ends[handle] = end
    block = allocate(TRIPLE.size)
    TRIPLE.pack_into(MEMORY, block, 1, FOREIGN, handle)
    return block, handle


def release_hold(handle: int) -> None:
    """Compiled code let go of a block."""
    end = _ends.pop(handle, None)
    if end is not None:
        end(handle)
