"""Where fast calls find what they need: words of a plan, and fields of Python's own objects.

A *node* says how values of one type cross. A *head* is one entry; a *table* is the entries that a callable offers, in
the order in which they are tried. All of them are rows of words in memory of their own.
"""

from __future__ import annotations

import math

# ---- nodes: word 0 is the kind, word 1 the size of a value in bytes
F64, F32, I64, I32, U8, BOOL, TENSOR, TEXT, LIST, TUPLE, STRUCT, OPTION, PLAIN, ENUM, OWNED, RNG = range(16)
F16, BF16, WIRE = range(16, 19)
"""F16 and BF16 only for bytes (fastbytes.py)."""
SCALARS = {"f64": F64, "f32": F32, "int": I64, "i32": I32, "u8": U8, "bool": BOOL}

DTYPE, NUMBER, ITEM_SIZE, RANK, DIMS = 16, 24, 32, 40, 48
"""Of a tensor: its dtype, numpy's number for it, bytes of an element, dimensions (-1 for any)."""
ITEM, DATA_AT, SIZE_AT = 16, 24, 32
"""Of a list: the node of its items; where its parts lie."""
CLASS, COUNT, FIELDS = 16, 24, 32
"""Of a struct or tuple: its class, how many fields, and for each, in FIELD bytes, name, node, offset."""
FIELD = 24
SOME, SOME_AT = 16, 24
"""Of an option: the node of its item, and where that lies."""
CASES, CASE = 32, 48
"""Of an enum, COUNT cases of CASE bytes: class, value (0 if it has fields), size of its block, block that stands for
it, how many fields, and where they are described."""
CASE_VALUE, CASE_SIZE, CASE_BLOCK, CASE_COUNT, CASE_FIELDS = 8, 16, 24, 32, 40
CODEC, TYPE_KEY, RELEASE, PLACES, ALIKE, LEAVES = 16, 32, 40, 48, 56, 64
"""Of what stays native: the program it must be of, its type, its release, of a model with many parameters how many
panels may be kept, another program it may be of, which lays it out alike (0: none has been seen); COUNT leaves of LEAF
bytes: scalar's kind, offset, whether it counts owners."""
LEAF = 24

(WIRE_ITEM, WIRE_SIZE, TO_WIRE, FROM_WIRE, WIRE_RELEASE, OWN_RELEASE, WIRE_KIND, OWNERS, OWNER) = range(16, 88, 8)
"""Of a container, the node of the list that it crosses as, bytes of that, the entries that make one of the other, the
releases of both, what Python has for it; how many counted blocks a value points to, and where the pointers lie."""
MAP, SET, DEQUE, HEAP = range(4)
"""Of containers, what Python has for them."""
CONTAINERS = {"map": MAP, "set": SET, "deque": DEQUE, "heap": HEAP}

# ---- heads
(ENTRY, CELL, ARGS, FLAGS, RESULTS_AT, VALUES, MUTS, LIVE, FAULT, COMPLETE) = range(0, 80, 8)
"""The entry's address; the cell; how many arguments; flags; where results go; 1 if the function has a value; how many
`mut` parameters; the count of live blocks; what raises the fault; what reads the results where this code does not."""
PARAMS, PARAM = 80, 32
"""Of each parameter its node, offset, the node of a native value given for it (0: none can be), and whether what it
holds may stay with the results; then of each result node, offset, release, and which argument it replaces."""
RESULT = 32
LONG, DEEP, LOCKED, KEEP = 1, 2, 4, 8
"""It may last; it may call itself; the first argument is a model that is locked; what stays has its arrays copied."""
MOST = 12
"""Arguments."""

# ---- services of stores
(HOLDS, DOES, SLOWLY, TAKES, GIVES, GIVEN, GIVEN_AT, GIVEN_SIZE, SKIPPED, BLOCKS) = range(0, 80, 8)
"""The dictionary of stores, the Python function that does it, and the slow service; how many arguments are bytes; what
kind of result there is, the node of the value, where that lies, the bytes of all, how many bytes of what is read are
skipped, and the count of live blocks."""
ARGUMENTS, TAKEN = 80, 32
"""Of each argument its node, offset, and the address and length of what stands before its bytes."""
NO_RESULT, TRUTH, VALUE, PERHAPS = range(4)
"""Results: none, a bool, a value, an option of one, which is bytes or Python's None."""

# ---- tables
ROWS, ROW = 16, 16
"""The slow callable, how many rows, and for each, in ROW bytes, the model it is for (0: any) and its head."""
SLOW, ROW_COUNT = 0, 8

# ---- the log of a call
(LOG_COUNT, LOG_ROOM, LOG_ITEMS, LOG_GUESTS, LOG_SHARED, LOG_DEPTH, LOG_HEAD, LOG_FLAGS, LOG_CONTEXT, LOG_FAILED,
 LOG_SIZE) = range(0, 88, 8)
LOG_INLINE = 24
"""Entries that need no memory of their own."""
DECLINED = 1
"""What a call gives that is for the slow way."""

# ---- cells
CONTEXT, THREAD = 0, 8
"""The context, 0 while a call has it, and the thread that may call deeply with it."""

BOX = 1024
"""Bytes for arguments and results."""
WIRE_BOX = 128
"""Bytes for a container and for the list that it crosses as."""
LARGE = 1 << 12
"""A result array of at least so many bytes keeps the memory that compiled code made for it, if nobody else has it."""
STATE_SHARED, STATE_DEPTH, STATE_WITHIN, STATE_LIVE, STATE_CONTEXT, STATE_FAULT, STATE_SIZE = range(8, 64, 8)
"""Of the reading of results, after the word that says that it is for the slow way: how many parts may be shared; how
deep the part that is read lies in others, and in how many blocks; the count of live blocks; the context, and what
raises a fault in it."""
DEEPEST = 100
"""How deep values may be nested; deeper ones take the slow way, which does not recurse."""
SHARED = 256
"""How many parts that may be shared a value may have; one with more takes the slow way, which sees a part once."""
F32_LIMIT = 3.4028235677973366e38
"""What rounds to infinity, and does not fit."""
INFINITY = math.inf

# ---- fields of CPython 3.11 and numpy
TYPE, FLOAT, ITEMS, BYTES, LENGTH = 8, 16, 24, 32, 16
"""Of any object its type; the value of a float or a scalar of numpy; items of a tuple or a pointer to a list's; bytes;
a length."""
DATA, NDIM, SHAPE, BASE, DESCR, ARRAY_FLAGS = 16, 24, 32, 48, 56, 64
FUNCTION, SELF = 16, 24
"""The callable of a functools.partial; the first argument of a built-in function."""
GOOD, WRITEABLE, USUAL = 0x101, 0x400, 0x501
"""Flags of an array: contiguous in C's order and aligned; may be written; both."""
HEADER = 16
KEPT, KEPT_PLACE, KEPT_MARK = 16, 32, -1 << 63
"""Of a table of kept panels, bytes before its places and of one; what its address has besides in a block."""
BOOLS = 0
"""numpy's number for bool."""
HIGH_BITS = -0x7F7F7F7F7F7F7F80
"""Of eight bytes those that ASCII has not."""
MOST_ELEMENTS = 1 << 31
"""Of a tensor read from bytes; one with more takes the slow way."""
MADE = 2
"""A mark in the log: a container was made here, by the node before it."""
PLAIN_COUNT = (1 << 63) - 1
"""Without the flag of vectorcall's count."""
MAX_SIZE = (1 << 63) - 1
