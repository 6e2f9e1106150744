"""The native ABI: the context that every compiled function gets, and the numbers of faults.

The context is an array of 8-byte fields. Whoever loads compiled code makes one for each thread:

    fault      0, or 1 + index in FAULTS       a, b    the ints of an IndexError (index, length)
    message    three fields: an owned str (bytes, size, count); bytes is null where there is none
    trace_len  sites pushed so far             trace   site ids, innermost first; after 64 the last slot is overwritten
    depth, depth_limit                         calls of recursive functions in progress, and how many there may be
    stack_limit                                the lowest address the stack may reach
    host       i32 (ctx*, i64 id, ptr args, ptr results): a service of the host; nonzero is a fault
    poll       i32 (ctx*), called when the i32 at `flag` is not 0; nonzero is an interrupt
    parallel   i32 (ctx*, ptr worker, ptr env, i64 count): calls worker(ctx, env, i) for every i < count, each thread
               with a context of its own; the fault of the lowest index, if any, is copied to ctx
    release_foreign  void (i64 handle)
    pending, draining   the worklist of blocks to be freed
    live       counted blocks allocated less blocks freed with this context
    pool       address of what is shared by all contexts of the process: for each class (lock, lists)
    seed       of hashes, the same for all contexts of the process
    team       address of three words, or 0 to run alone: void (ptr job, ptr data, i32 size, i32 0), which calls
               job(data) on some threads at once, or 0; the size to give it; into how many parts a kernel is best cut
    nodes, spare, length  three fields for each class: free blocks of a size (pool.py)
    budget, held  bytes of free buffers that the context may keep, 0 for none, and those that it keeps (spares.py)
    spare_block, spare_size  two fields for each place of the table of these
    freed      the blocks of the pool that became free last
    ends       eight bytes in each: from which end matrices are read next (ends.py)
    alone      not 0 while no other thread counts owners of blocks

A block of elements of a tensor has their number in its second word, or, below 0:

    -1         the elements are the host's, and the third word is a handle for release_foreign
    otherwise  compiled code writes to the elements no more. Without its upper bit the word is 0, or the address of a
               table of what is kept beside them (kept_panels.py), which goes with the block: how many places it has (a
               power of two), a word that is not used, and for each place the address of a matrix, its rows, its columns
               (from bit 48 on the bytes of a vector), and where its panels are, with malloc's free to end
"""

from __future__ import annotations

FAULTS = (
    "HybError",
    "IndexError",
    "KeyError",
    "ZeroDivisionError",
    "ValueError",
    "AssertionError",
    "RecursionError",
    "MemoryError",
    "OSError",
    "KeyboardInterrupt",
    "HostError",
)
NODE_CLASSES, TEXT_CLASSES = 8, 4
"""Blocks of enum values are pooled by size, 32 bytes, 48, 64 ..., and so are buffers of a few bytes."""
CLASSES = NODE_CLASSES + TEXT_CLASSES
SPARES = 128
"""Places of the table of free buffers; a power of two."""
KEPT, KEPT_PLACE, KEPT_ADDRESS, KEPT_VECTOR = 16, 32, (1 << 63) - 1, 48
"""Bytes of a table of kept panels before its places, and of one; the bits of its address; the bit of the bytes of a
vector."""
RECENT = 8
"""So many blocks that became free are remembered; a power of two."""
ENDS = 64
"""Bytes that say from which end a matrix is read next; a power of two."""
FIELDS = (
    "fault",
    "a",
    "b",
    "message",
    "message_size",
    "message_count",
    "trace_len",
    "depth",
    "depth_limit",
    "stack_limit",
    "host",
    "poll",
    "flag",
    "parallel",
    "release_foreign",
    "pending",
    "draining",
    "live",
    "pool",
    "seed",
    "team",
    *(f"{field}{i}" for i in range(CLASSES) for field in ("nodes", "spare", "length")),
    "budget",
    "held",
    *(f"{field}{i}" for i in range(SPARES) for field in ("spare_block", "spare_size")),
    *(f"freed{i}" for i in range(RECENT)),
    *(f"ends{i}" for i in range(ENDS // 8)),
    "alone",
)
OFFSET = {name: 8 * i for i, name in enumerate(FIELDS)} | {"trace": 8 * len(FIELDS)}
TRACE_LENGTH = 64
CONTEXT_SIZE = OFFSET["trace"] + 8 * TRACE_LENGTH


def fault_code(kind: str) -> int:
    """The number of a fault in the context; other names than Hyb's own are user errors."""
    return 1 + FAULTS.index(kind)
