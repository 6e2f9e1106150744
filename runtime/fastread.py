"""Fast calls, the way out: native values to Python, and what takes the place of `mut` arguments (see fastcode.py)."""

from __future__ import annotations

from hybridc_runtime import fastplan as plan
from hybridc_runtime.alone import hyb_call, hyb_wait, release
from hybridc_runtime.fastwrite import owner_of, swap, write_leaf
from hybridc_runtime.machine import add_at, api, byte, half, known, new_array, real, room, set_word, single, word


def read_scalar(kind: int, at: int) -> int:
    if kind == plan.F64:
        return api.PyFloat_FromDouble(real(at))
    if kind == plan.F32:
        return api.PyFloat_FromDouble(single(at))
    if kind == plan.I64:
        return api.PyLong_FromLongLong(word(at))
    if kind == plan.I32:
        return api.PyLong_FromLongLong(half(at))
    if kind == plan.U8:
        return api.PyLong_FromLongLong(byte(at))
    return api.PyBool_FromLong(byte(at))


def bytes_of(node: int, at: int) -> int:
    rank = word(node + plan.RANK)
    size = word(node + plan.ITEM_SIZE)
    i = 0
    while i < rank:
        size = size * word(at + 16 + 8 * i)
        i += 1
    return size


def hyb_let_array(capsule: int) -> None:
    """An array over a block is gone."""
    block = api.PyCapsule_GetPointer(capsule, 0)
    if add_at(block, -1) == 1:
        live = api.PyCapsule_GetContext(capsule)
        api.free(block)
        if live != 0:
            add_at(live, -1)


def adopt(node: int, at: int, live: int) -> int:
    """An array over the memory of a tensor whose block nobody else has; 0 with an exception."""
    block = word(at)
    base = api.PyCapsule_New(block, 0, known.let_array)
    if base == 0:
        return 0
    add_at(block, 1)
    api.PyCapsule_SetContext(base, live)
    array = new_array(
        known.new_array, known.ndarray, word(node + plan.RANK), at + 16, word(node + plan.NUMBER), word(at + 8),
        plan.USUAL)
    if array == 0:
        api.Py_DecRef(base)
        return 0
    set_word(array + plan.BASE, base)
    return array


def read_array(node: int, at: int, state: int) -> int:
    size = bytes_of(node, at)
    block = word(at)
    if size >= plan.LARGE and block != 0 and word(state + plan.STATE_WITHIN) == 0:
        # A second word that is negative says that the memory is not the block's alone.
        if word(block) == 1 and word(block + 8) >= 0:
            return adopt(node, at, word(state + plan.STATE_LIVE))
    array = new_array(
        known.new_array, known.ndarray, word(node + plan.RANK), at + 16, word(node + plan.NUMBER), 0, 0)
    if array != 0:
        api.memcpy(word(array + plan.DATA), word(at + 8), size)
    return array


def read_text(at: int) -> int:
    n = word(at + 8)
    if n == 0:
        api.Py_IncRef(known.empty)
        return known.empty
    return api.PyUnicode_DecodeUTF8(word(at) + plan.HEADER, n, known.replace)


def read_list(node: int, at: int, state: int) -> int:
    n = word(at + word(node + plan.SIZE_AT))
    row = api.PyList_New(n)
    if row == 0:
        return 0
    item = word(node + plan.ITEM)
    size = word(item + 8)
    p = word(at + word(node + plan.DATA_AT)) + plan.HEADER
    i = 0
    while i < n:
        x = read(item, p, state)
        if x == 0:
            api.Py_DecRef(row)
            return 0
        api.PyList_SetItem(row, i, x)
        p += size
        i += 1
    return row


def read_wire(node: int, at: int, state: int) -> int:
    """A container, as the list that the program makes of it."""
    own = room(plan.WIRE_BOX)
    wire = room(plan.WIRE_BOX)
    context = word(state + plan.STATE_CONTEXT)
    api.memcpy(own, at, word(node + 8))
    hyb_wait()
    i = 0
    while i < word(node + plan.OWNERS):
        block = word(own + word(node + plan.OWNER + 8 * i))
        if block != 0:
            if word(block) >= 0:
                add_at(block, 1)
        i += 1
    if hyb_call(word(node + plan.TO_WIRE), context, own, wire) != 0:
        return api.PyObject_Vectorcall(word(state + plan.STATE_FAULT), 0, 0, 0)
    items = read(word(node + plan.WIRE_ITEM), wire, state)
    release(word(node + plan.WIRE_RELEASE), context, wire)
    if items == 0:
        return 0
    value = container_of(word(node + plan.WIRE_KIND), items)
    api.Py_DecRef(items)
    return value


def container_of(kind: int, items: int) -> int:
    if kind == plan.MAP:
        value = api.PyDict_New()
        if value != 0:
            if api.PyDict_MergeFromSeq2(value, items, 1) < 0:
                api.Py_DecRef(value)
                return 0
        return value
    if kind == plan.SET:
        return api.PySet_New(items)
    if kind == plan.DEQUE:
        row = room(8)
        set_word(row, items)
        return api.PyObject_Vectorcall(known.deque, row, 1, 0)
    api.Py_IncRef(items)
    return items


def read_tuple(node: int, at: int, state: int) -> int:
    n = word(node + plan.COUNT)
    row = api.PyTuple_New(n)
    if row == 0:
        return 0
    field = node + plan.FIELDS
    i = 0
    while i < n:
        x = read(word(field + 8), at + word(field + 16), state)
        if x == 0:
            api.Py_DecRef(row)
            return 0
        api.PyTuple_SetItem(row, i, x)
        field += plan.FIELD
        i += 1
    return row


def read_fields(cls: int, field: int, n: int, at: int, state: int) -> int:
    obj = api.PyType_GenericAlloc(cls, 0)
    if obj == 0:
        return 0
    i = 0
    while i < n:
        x = read(word(field + 8), at + word(field + 16), state)
        if x == 0:
            api.Py_DecRef(obj)
            return 0
        failed = api.PyObject_GenericSetAttr(obj, word(field), x)
        api.Py_DecRef(x)
        if failed < 0:
            api.Py_DecRef(obj)
            return 0
        field += plan.FIELD
        i += 1
    return obj


def read_case(case: int) -> int:
    api.Py_IncRef(word(case + plan.CASE_VALUE))
    return word(case + plan.CASE_VALUE)


def read_enum(node: int, at: int, state: int) -> int:
    block = word(at)
    case = node + plan.CASES + plan.CASE * half(block + 8)
    if word(case + plan.CASE_VALUE) != 0:
        return read_case(case)
    if word(block) != 1:
        shared = word(state + plan.STATE_SHARED) + 1
        set_word(state + plan.STATE_SHARED, shared)
        if shared > plan.SHARED:
            set_word(state, 1)
            return 0
    count = word(case + plan.CASE_COUNT)
    return read_fields(word(case), word(case + plan.CASE_FIELDS), count, block + plan.HEADER, state)


def read(node: int, at: int, state: int) -> int:
    """The Python value; 0 with an exception, or with the first word of `state` set: it is for the slow way."""
    kind = word(node)
    if kind <= plan.BOOL:
        return read_scalar(kind, at)
    if kind == plan.TENSOR:
        return read_array(node, at, state)
    if kind == plan.TEXT:
        return read_text(at)
    if kind == plan.PLAIN:
        return read_case(node + plan.CASES + plan.CASE * word(at))
    depth = word(state + plan.STATE_DEPTH)
    if depth > plan.DEEPEST:
        set_word(state, 1)
        return 0
    set_word(state + plan.STATE_DEPTH, depth + 1)
    within = word(state + plan.STATE_WITHIN)
    if kind == plan.LIST or kind == plan.ENUM or kind == plan.WIRE:
        set_word(state + plan.STATE_WITHIN, within + 1)
    if kind == plan.LIST:
        value = read_list(node, at, state)
    elif kind == plan.STRUCT:
        value = read_fields(word(node + plan.CLASS), node + plan.FIELDS, word(node + plan.COUNT), at, state)
    elif kind == plan.TUPLE:
        value = read_tuple(node, at, state)
    elif kind == plan.ENUM:
        value = read_enum(node, at, state)
    elif kind == plan.WIRE:
        value = read_wire(node, at, state)
    elif byte(at) != 0:
        value = read(word(node + plan.SOME), at + word(node + plan.SOME_AT), state)
    else:
        api.Py_IncRef(known.none)
        value = known.none
    set_word(state + plan.STATE_DEPTH, depth)
    set_word(state + plan.STATE_WITHIN, within)
    return value


def read_leaves(node: int, at: int) -> int:
    """Leaves as a tuple for Python to keep."""
    n = word(node + plan.COUNT)
    row = api.PyTuple_New(n)
    if row == 0:
        return 0
    leaf = node + plan.LEAVES
    i = 0
    while i < n:
        x = read_scalar(word(leaf), at + word(leaf + 8))
        if x == 0:
            api.Py_DecRef(row)
            return 0
        api.PyTuple_SetItem(row, i, x)
        leaf += plan.LEAF
        i += 1
    return row


# ---- mut arguments
def node_of(param: int, obj: int) -> int:
    """The node for this argument: a native value has one of its own."""
    if word(obj + plan.TYPE) == known.native and word(param + 16) != 0:
        return word(param + 16)
    return word(param)


def read_new(node: int, obj: int, at: int, state: int) -> int:
    """What is to take an argument's place: an object, or 1 for an array, whose elements are copied."""
    kind = word(node)
    if kind == plan.TENSOR:
        shape = word(obj + plan.SHAPE)
        i = 0
        while i < word(node + plan.RANK):
            if word(shape + 8 * i) != word(at + 16 + 8 * i):
                set_word(state, 1)
                return 0
            i += 1
        return 1
    if kind == plan.OWNED or kind == plan.RNG:
        return read_leaves(node, at)
    return read(node, at, state)


def change(node: int, obj: int, new: int, at: int, context: int) -> int:
    """Give an argument its new value; negative with an exception."""
    kind = word(node)
    if kind == plan.TENSOR:
        api.memcpy(word(obj + plan.DATA), word(at + 8), bytes_of(node, at))
        return 0
    if kind == plan.LIST:
        return api.PyList_SetSlice(obj, 0, plan.MAX_SIZE, new)
    if kind == plan.RNG:
        swap(obj + known.rng_state, new)
        return 0
    if kind == plan.OWNED:
        owned = owner_of(node, obj)
        if owned == 0:
            return -1
        old = room(plan.BOX)
        leaves = word(owned + known.owned_leaves)
        leaf = node + plan.LEAVES
        i = 0
        while i < word(node + plan.COUNT):
            write_leaf(word(leaf), word(leaves + plan.ITEMS + 8 * i), old + word(leaf + 8))
            if word(leaf + 16) != 0:
                set_word(at + word(leaf + 8), 0)
            leaf += plan.LEAF
            i += 1
        swap(owned + known.owned_leaves, new)
        if word(node + plan.RELEASE) != 0:
            release(word(node + plan.RELEASE), context, old)
        return 0
    field = node + plan.FIELDS
    i = 0
    while i < word(node + plan.COUNT):
        x = api.PyObject_GetAttr(new, word(field))
        if x == 0:
            return -1
        failed = api.PyObject_GenericSetAttr(obj, word(field), x)
        api.Py_DecRef(x)
        if failed < 0:
            return -1
        field += plan.FIELD
        i += 1
    return 0


def complete(head: int, args: int, results: int) -> int:
    """Have Python read the results and change the `mut` arguments."""
    n = word(head + plan.ARGS)
    row = room(104)
    address = api.PyLong_FromLongLong(results)
    if address == 0:
        return 0
    set_word(row, address)
    i = 0
    while i < n:
        set_word(row + 8 + 8 * i, word(args + 8 * i))
        i += 1
    value = api.PyObject_Vectorcall(word(head + plan.COMPLETE), row, n + 1, 0)
    api.Py_DecRef(address)
    return value


def finish(head: int, args: int, results: int, context: int) -> int:
    """The call's value, after its `mut` arguments have been changed; 0 with an exception."""
    state = room(plan.STATE_SIZE)
    set_word(state, 0)
    set_word(state + plan.STATE_SHARED, 0)
    set_word(state + plan.STATE_DEPTH, 0)
    set_word(state + plan.STATE_WITHIN, 0)
    set_word(state + plan.STATE_LIVE, word(head + plan.LIVE))
    set_word(state + plan.STATE_CONTEXT, context)
    set_word(state + plan.STATE_FAULT, word(head + plan.FAULT))
    row = head + plan.PARAMS + plan.PARAM * word(head + plan.ARGS)
    value = known.none
    if word(head + plan.VALUES) != 0:
        value = read(word(row), results + word(row + 8), state)
        if value == 0:
            if word(state) != 0:
                return complete(head, args, results)
            return 0
        row += plan.RESULT
    else:
        api.Py_IncRef(value)
    muts = word(head + plan.MUTS)
    if muts == 0:
        return value
    news = room(96)
    i = 0
    while i < muts:
        r = row + plan.RESULT * i
        obj = word(args + 8 * word(r + 24))
        node = node_of(head + plan.PARAMS + plan.PARAM * word(r + 24), obj)
        new = read_new(node, obj, results + word(r + 8), state)
        set_word(news + 8 * i, new)
        if new == 0:
            break
        i += 1
    done = i
    failed = 0
    if done == muts:
        i = 0
        while i < muts and failed == 0:
            r = row + plan.RESULT * i
            obj = word(args + 8 * word(r + 24))
            node = node_of(head + plan.PARAMS + plan.PARAM * word(r + 24), obj)
            if change(node, obj, word(news + 8 * i), results + word(r + 8), context) < 0:
                failed = 1
            i += 1
    i = 0
    while i < done:
        if word(news + 8 * i) != 1:
            api.Py_DecRef(word(news + 8 * i))
        i += 1
    if done == muts and failed == 0:
        return value
    api.Py_DecRef(value)
    if word(state) != 0:
        return complete(head, args, results)
    return 0


def release_results(head: int, results: int, context: int) -> None:
    row = head + plan.PARAMS + plan.PARAM * word(head + plan.ARGS)
    n = word(head + plan.VALUES) + word(head + plan.MUTS)
    while n > 0:
        if word(row + 16) != 0:
            release(word(row + 16), context, results + word(row + 8))
        row += plan.RESULT
        n -= 1
