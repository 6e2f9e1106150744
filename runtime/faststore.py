"""Machine code: services of stores without Python code between compiled code and the store (see machine.py for what it
may say, fastplan.py for where things are).

A service's arguments become Python's bytes, a Python function does with them what is to be done, and what it gives,
bytes or a bool, becomes the result. Values that are for the slow way (fastbytes.py) go to the slow service, before the
function is called or where what it gave cannot be read, as what it gave is given again.
"""

from __future__ import annotations

from hybridc_runtime import fastplan as plan
from hybridc_runtime.fastbytes import hyb_unpack, pack, put
from hybridc_runtime.machine import api, known, room, set_byte, set_word, word


def number(obj: int) -> int:
    overflow = room(8)
    return api.PyLong_AsLongLongAndOverflow(obj, overflow)


def bytes_at(arg: int, args: int) -> int:
    """An argument as Python's bytes; 0 where it is for the slow way."""
    out = room(32)
    set_word(out, room(512))
    set_word(out + 8, 0)
    set_word(out + 16, 512)
    set_word(out + 24, 0)
    value = 0
    if put(word(arg + 16), word(arg + 24), out) == 1 and pack(word(arg), args + word(arg + 8), out, 0, 0) == 1:
        value = api.PyBytes_FromStringAndSize(word(out), word(out + 8))
        if value == 0:
            api.PyErr_Clear()
    if word(out + 24) != 0:
        api.free(word(out))
    return value


def store_of(service: int, args: int) -> int:
    """The store whose block is the first argument; 0 with an exception."""
    handle = api.PyLong_FromLongLong(word(word(args) + 16))
    if handle == 0:
        return 0
    store = api.PyObject_GetItem(word(service + plan.HOLDS), handle)
    api.Py_DecRef(handle)
    return store


def give(service: int, value: int, results: int) -> int:
    """The result from what Python gave: 1, or 0 where it is for the slow way."""
    kind = word(service + plan.GIVES)
    if kind == plan.NO_RESULT:
        return 1
    if kind == plan.TRUTH:
        set_byte(results, 0)
        if value == known.true:
            set_byte(results, 1)
        return 1
    node = word(service + plan.GIVEN)
    to = results + word(service + plan.GIVEN_AT)
    if kind == plan.PERHAPS:
        i = 0
        while i < word(service + plan.GIVEN_SIZE):
            set_byte(results + i, 0)
            i += 1
        if value == known.none:
            return 1
        set_byte(results, 1)
    return hyb_unpack(node, value, word(service + plan.SKIPPED), to, word(service + plan.BLOCKS), 0)


def hyb_serve(owner: int, row: int, n: int) -> int:
    """METH_FASTCALL: a service, called with the context and the addresses of arguments and results; the first
    item of the tuple `owner` is the address of the words that describe it."""
    service = number(api.PyTuple_GetItem(owner, 0))
    args = number(word(row + 8))
    given = room(64)
    set_word(given + 8, word(row))
    arg = service + plan.ARGUMENTS
    count = word(service + plan.TAKES)
    i = 0
    while i < count:
        data = bytes_at(arg, args)
        if data == 0:
            break
        set_word(given + 16 + 8 * i, data)
        arg += plan.TAKEN
        i += 1
    made = i
    value = 0
    fast = 0
    if made == count:
        store = store_of(service, args)
        if store != 0:
            set_word(given, store)
            value = api.PyObject_Vectorcall(word(service + plan.DOES), given, 2 + count, 0)
            api.Py_DecRef(store)
        fast = 1
    while i > 0:
        i -= 1
        api.Py_DecRef(word(given + 16 + 8 * i))
    if fast == 1:
        if value == 0:
            return 0
        fast = give(service, value, number(word(row + 16)))
        api.Py_DecRef(value)
    if fast == 1:
        api.Py_IncRef(known.none)
        return known.none
    return api.PyObject_Vectorcall(word(service + plan.SLOWLY), row, n, 0)
