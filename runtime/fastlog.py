"""The log of a fast call: what it made on its way in, so that it can be given back (see fastcode.py).

How many, room for how many, blocks (the lowest bit set: an owner more of an existing block; MADE: a container that was
made, by the node in the entry before), the arrays that must stay alive, parts that may be shared, the depth, the head,
its flags, the context, whether there is a fault in it.
"""

from __future__ import annotations

from hybridc_runtime import fastplan as plan
from hybridc_runtime.alone import hyb_wait, release
from hybridc_runtime.machine import add_at, api, known, set_word, word


def note(log: int, entry: int) -> int:
    n = word(log + plan.LOG_COUNT)
    if n == word(log + plan.LOG_ROOM):
        items = api.calloc(2 * n, 8)
        if items == 0:
            return 0
        api.memcpy(items, word(log + plan.LOG_ITEMS), 8 * n)
        if n > plan.LOG_INLINE:
            api.free(word(log + plan.LOG_ITEMS))
        set_word(log + plan.LOG_ITEMS, items)
        set_word(log + plan.LOG_ROOM, 2 * n)
    set_word(word(log + plan.LOG_ITEMS) + 8 * n, entry)
    set_word(log + plan.LOG_COUNT, n + 1)
    return 1


def begin(log: int, inline: int, head: int) -> None:
    """An empty log, with room for its first items at `inline`."""
    set_word(log + plan.LOG_COUNT, 0)
    set_word(log + plan.LOG_ROOM, plan.LOG_INLINE)
    set_word(log + plan.LOG_ITEMS, inline)
    set_word(log + plan.LOG_GUESTS, 0)
    set_word(log + plan.LOG_SHARED, 0)
    set_word(log + plan.LOG_DEPTH, 0)
    set_word(log + plan.LOG_HEAD, head)
    set_word(log + plan.LOG_FAILED, 0)


def close(log: int) -> None:
    if word(log + plan.LOG_ROOM) > plan.LOG_INLINE:
        api.free(word(log + plan.LOG_ITEMS))
    if word(log + plan.LOG_GUESTS) != 0:
        api.Py_DecRef(word(log + plan.LOG_GUESTS))


def undo(log: int) -> None:
    """Give back what was made for arguments that do not fit."""
    items = word(log + plan.LOG_ITEMS)
    i = word(log + plan.LOG_COUNT)
    if i > 0:
        hyb_wait()
    while i > 0:
        i -= 1
        entry = word(items + 8 * i)
        if entry & plan.MADE != 0:
            i -= 1
            release(word(word(items + 8 * i) + plan.OWN_RELEASE), word(log + plan.LOG_CONTEXT), entry - plan.MADE)
        elif entry & 1 == 1:
            add_at(entry - 1, -1)
        else:
            api.free(entry)
    close(log)


def commit(log: int, mark: int) -> None:
    """The compiled program owns what was made since a mark, which is no longer in the log."""
    items = word(log + plan.LOG_ITEMS)
    made = 0
    i = word(log + plan.LOG_COUNT)
    while i > mark:
        i -= 1
        entry = word(items + 8 * i)
        if entry & plan.MADE != 0:
            i -= 1
        else:
            made += 1 - (entry & 1)
    set_word(log + plan.LOG_COUNT, mark)
    live = word(word(log + plan.LOG_HEAD) + plan.LIVE)
    if made != 0 and live != 0:
        add_at(live, made)


def block_of(size: int, log: int) -> int:
    """A counted block with one owner, zeros after its count; 0 if there is no memory."""
    return owned_block(api.calloc(1, size), log)


def owned_block(block: int, log: int) -> int:
    if block != 0:
        set_word(block, 1)
        if note(log, block) == 0:
            api.free(block)
            return 0
    return block


def share(block: int, log: int) -> int:
    """One more owner. Nobody is waited for here, while Python's objects are being read."""
    if word(block) < 0:
        return 1
    if word(known.inside + plan.LONE) != 0:
        return 0
    add_at(block, 1)
    return note(log, block + 1)
