"""Blocks that are more than memory of compiled code: what their second word says (hybridc/llvm/abi.py).

Foreign blocks are what compiled code counts like its own memory, and tells the runtime by a number when the last owner
let go of it (a store, memory of a GPU). A model's parameters may have panels kept beside them, unless they were shown
to Python, which may then write to them at any time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from hybridc_runtime.fastplan import KEPT, KEPT_MARK, KEPT_PLACE
from hybridc_runtime.memory import MEMORY, TRIPLE, allocate, free, set_word, word

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


SHOWN = KEPT_MARK
"""The second word of a block that Python may write to: a table that is nowhere."""


def show(block: int) -> None:
    """From now on Python may write to these elements."""
    set_word(block + 8, SHOWN)


def free_kept(block: int) -> None:
    """What was kept beside a block that ends."""
    table = word(block + 8) - KEPT_MARK
    if table:
        for i in range(word(table)):
            free(word(table + KEPT + KEPT_PLACE * i + 24))
        free(table)
