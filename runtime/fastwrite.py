"""Fast calls, the way in: Python values to native ones (see fastcode.py)."""

from __future__ import annotations

from hybridc_runtime import fastplan as plan
from hybridc_runtime.alone import hyb_call, hyb_wait, release
from hybridc_runtime.fastlog import block_of, commit, note, owned_block, share
from hybridc_runtime.machine import (
    add_at,
    api,
    half,
    known,
    magnitude,
    real,
    room,
    set_byte,
    set_half,
    set_real,
    set_single,
    set_word,
    single,
    word,
)


def hyb_own(place: int, blocks: int) -> int:
    """The tuple of leaves in a field of an object, with one more owner for each block that they point to (how many, and
    which leaves); None as it is. Between reading it and counting another thread might put another tuple there."""
    hyb_wait()
    leaves = word(place)
    api.Py_IncRef(leaves)
    if leaves == known.none:
        return leaves
    overflow = room(8)
    n = word(blocks)
    i = 0
    while i < n:
        i += 1
        block = api.PyLong_AsLongLongAndOverflow(word(leaves + plan.ITEMS + 8 * word(blocks + 8 * i)), overflow)
        if block != 0 and word(block) >= 0:
            add_at(block, 1)
    return leaves


def hyb_swap(place: int, new: int) -> int:
    """Another object in a field: the one that was there, whose owner is the caller now."""
    old = word(place)
    api.Py_IncRef(new)
    set_word(place, new)
    return old


def write_float(kind: int, obj: int, to: int) -> int:
    t = word(obj + plan.TYPE)
    if t == known.float or t == known.np_float64:
        x = real(obj + plan.FLOAT)
    elif t == known.np_float32:
        x = single(obj + plan.FLOAT)
    elif t == known.int:
        x = api.PyLong_AsDouble(obj)
        if x == -1.0 and api.PyErr_Occurred() != 0:
            api.PyErr_Clear()
            return 0
    else:
        return 0
    if kind == plan.F64:
        set_real(to, x)
        return 1
    size = magnitude(x)
    if size < plan.F32_LIMIT or size == plan.INFINITY or x != x:
        set_single(to, x)
        return 1
    return 0


def write_int(kind: int, obj: int, to: int) -> int:
    t = word(obj + plan.TYPE)
    if t == known.np_int64:
        v = word(obj + plan.FLOAT)
    elif t == known.int:
        overflow = room(8)
        v = api.PyLong_AsLongLongAndOverflow(obj, overflow)
        if half(overflow) != 0:
            return 0
    else:
        return 0
    if kind == plan.I64:
        set_word(to, v)
        return 1
    if kind == plan.I32:
        if v < -2147483648 or v > 2147483647:
            return 0
        set_half(to, v)
        return 1
    if v < 0 or v > 255:
        return 0
    set_byte(to, v)
    return 1


def write_bool(obj: int, to: int) -> int:
    if obj == known.true or obj == known.np_true:
        set_byte(to, 1)
        return 1
    if obj == known.false or obj == known.np_false:
        set_byte(to, 0)
        return 1
    return 0


def write_array(node: int, obj: int, to: int, log: int) -> int:
    if word(obj + plan.TYPE) != known.ndarray or word(obj + plan.DESCR) != word(node + plan.DTYPE):
        return 0
    rank = word(node + plan.RANK)
    if half(obj + plan.NDIM) != rank or half(obj + plan.ARRAY_FLAGS) & plan.GOOD != plan.GOOD:
        return 0
    shape = word(obj + plan.SHAPE)
    count = 1
    i = 0
    while i < rank:
        d = word(shape + 8 * i)
        want = word(node + plan.DIMS + 8 * i)
        if want >= 0 and want != d:
            return 0
        set_word(to + 16 + 8 * i, d)
        count = count * d
        i += 1
    if word(log + plan.LOG_FLAGS) & plan.KEEP == 0:
        set_word(to, 0)
        set_word(to + 8, word(obj + plan.DATA))
        return 1
    size = count * word(node + plan.ITEM_SIZE)
    block = owned_block(api.malloc(plan.HEADER + size), log)
    if block == 0:
        return 0
    set_word(block + 8, count)
    api.memcpy(block + plan.HEADER, word(obj + plan.DATA), size)
    set_word(to, block)
    set_word(to + 8, block + plan.HEADER)
    return 1


def write_text(obj: int, to: int, log: int) -> int:
    if word(obj + plan.TYPE) != known.str:
        return 0
    size = room(8)
    data = api.PyUnicode_AsUTF8AndSize(obj, size)
    if data == 0:
        api.PyErr_Clear()
        return 0
    n = word(size)
    block = 0
    if n > 0:
        block = block_of(plan.HEADER + n, log)
        if block == 0:
            return 0
        set_word(block + 8, n)
        api.memcpy(block + plan.HEADER, data, n)
    set_word(to, block)
    set_word(to + 8, n)
    set_word(to + 16, api.PyUnicode_GetLength(obj))
    return 1


def write_list(node: int, obj: int, to: int, log: int) -> int:
    if word(obj + plan.TYPE) != known.list:
        return 0
    n = word(obj + plan.LENGTH)
    item = word(node + plan.ITEM)
    size = word(item + 8)
    block = 0
    if n > 0:
        block = block_of(plan.HEADER + size * n, log)
        if block == 0:
            return 0
        set_word(block + 8, n)
        kind = word(item)
        at = block + plan.HEADER
        i = 0
        while i < n:
            x = api.PyList_GetItem(obj, i)
            if x == 0:
                api.PyErr_Clear()
                return 0
            if kind <= plan.F32:
                done = write_float(kind, x, at)
            else:
                api.Py_IncRef(x)
                done = write_part(item, x, at, log)
                api.Py_DecRef(x)
            if done == 0:
                return 0
            at += size
            i += 1
    set_word(to + word(node + plan.DATA_AT), block)
    set_word(to + word(node + plan.SIZE_AT), n)
    return 1


def items_of(kind: int, obj: int) -> int:
    """The list that a container crosses as, owned; 0 if this is for the slow way."""
    t = word(obj + plan.TYPE)
    items = 0
    if kind == plan.MAP:
        if t == known.dict:
            items = api.PyDict_Items(obj)
    elif kind == plan.SET:
        if t == known.set or t == known.frozenset:
            items = api.PySequence_List(obj)
    elif t == known.list or kind == plan.DEQUE and t == known.deque:
        items = api.PySequence_List(obj)
    if items == 0:
        api.PyErr_Clear()
    return items


def write_wire(node: int, obj: int, to: int, log: int) -> int:
    """A container, made by the program from that list."""
    items = items_of(word(node + plan.WIRE_KIND), obj)
    if items == 0:
        return 0
    wire = room(plan.WIRE_BOX)
    mark = word(log + plan.LOG_COUNT)
    done = write_part(word(node + plan.WIRE_ITEM), items, wire, log)
    api.Py_DecRef(items)
    if done == 0:
        return 0
    commit(log, mark)
    context = word(log + plan.LOG_CONTEXT)
    if hyb_call(word(node + plan.FROM_WIRE), context, wire, to) != 0:
        set_word(log + plan.LOG_FAILED, 1)
        return 0
    if note(log, node) != 0:
        if note(log, to | plan.MADE) != 0:
            return 1
        set_word(log + plan.LOG_COUNT, mark)
    release(word(node + plan.OWN_RELEASE), context, to)
    return 0


def write_tuple(node: int, obj: int, to: int, log: int) -> int:
    n = word(node + plan.COUNT)
    if word(obj + plan.TYPE) != known.tuple or word(obj + plan.LENGTH) != n:
        return 0
    field = node + plan.FIELDS
    i = 0
    while i < n:
        if write_part(word(field + 8), word(obj + plan.ITEMS + 8 * i), to + word(field + 16), log) == 0:
            return 0
        field += plan.FIELD
        i += 1
    return 1


def write_fields(field: int, n: int, obj: int, to: int, log: int) -> int:
    i = 0
    while i < n:
        x = api.PyObject_GetAttr(obj, word(field))
        if x == 0:
            api.PyErr_Clear()
            return 0
        done = write_part(word(field + 8), x, to + word(field + 16), log)
        api.Py_DecRef(x)
        if done == 0:
            return 0
        field += plan.FIELD
        i += 1
    return 1


def write_option(node: int, obj: int, to: int, log: int) -> int:
    if obj == known.none:
        i = 0
        while i < word(node + 8):
            set_byte(to + i, 0)
            i += 1
        return 1
    set_byte(to, 1)
    return write_part(word(node + plan.SOME), obj, to + word(node + plan.SOME_AT), log)


def case_of(node: int, t: int) -> int:
    """The case of an enum that a class stands for, or 0."""
    n = word(node + plan.COUNT)
    case = node + plan.CASES
    while n > 0:
        if word(case) == t:
            return case
        case += plan.CASE
        n -= 1
    return 0


def write_enum(node: int, obj: int, to: int, log: int) -> int:
    case = case_of(node, word(obj + plan.TYPE))
    if case == 0:
        return 0
    if word(case + plan.CASE_VALUE) != 0:
        set_word(to, word(case + plan.CASE_BLOCK))
        return 1
    if word(obj) > 1:
        shared = word(log + plan.LOG_SHARED) + 1
        if shared > plan.SHARED:
            return 0
        set_word(log + plan.LOG_SHARED, shared)
    block = block_of(word(case + plan.CASE_SIZE), log)
    if block == 0:
        return 0
    set_word(block + 8, word(case + plan.CASE_BLOCK))
    set_word(to, block)
    return write_fields(word(case + plan.CASE_FIELDS), word(case + plan.CASE_COUNT), obj, block + plan.HEADER, log)


def write_leaf(kind: int, obj: int, to: int) -> int:
    if kind <= plan.F32:
        return write_float(kind, obj, to)
    if kind == plan.BOOL:
        return write_bool(obj, to)
    return write_int(kind, obj, to)


def write_leaves(node: int, leaves: int, to: int, log: int) -> int:
    """Leaves that a Python object keeps in a tuple, with a share of each."""
    n = word(node + plan.COUNT)
    if word(leaves + plan.TYPE) != known.tuple or word(leaves + plan.LENGTH) != n:
        return 0
    leaf = node + plan.LEAVES
    i = 0
    while i < n:
        at = to + word(leaf + 8)
        if write_leaf(word(leaf), word(leaves + plan.ITEMS + 8 * i), at) == 0:
            return 0
        if word(leaf + 16) != 0 and word(at) != 0:
            if share(word(at), log) == 0:
                return 0
        leaf += plan.LEAF
        i += 1
    return 1


def swap(place: int, new: int) -> None:
    """Another object in a field, whose owner holds it."""
    api.Py_DecRef(hyb_swap(place, new))


def owner_of(node: int, obj: int) -> int:
    """What keeps a native value of just this type (without counting the reference), or 0."""
    owned = api.PyObject_GetAttr(obj, known.owned_name)
    if owned == 0:
        api.PyErr_Clear()
        return 0
    api.Py_DecRef(owned)
    if word(owned + plan.TYPE) != known.owned:
        return 0
    codec = word(owned + known.owned_codec)
    if codec != word(node + plan.CODEC) and codec != word(node + plan.ALIKE):
        return 0
    same = api.PyObject_RichCompareBool(word(owned + known.owned_type), word(node + plan.TYPE_KEY), 2)
    if same < 0:
        api.PyErr_Clear()
        return 0
    return owned * same


def hyb_keep(block: int, places: int) -> None:
    """Give a model's parameters, which the caller holds, a table of what is kept beside them (hybridc/llvm/abi.py),
    unless they have one, or somebody may write to them from outside."""
    if block == 0 or word(block + 8) < 0:
        return
    table = api.calloc(1, plan.KEPT + plan.KEPT_PLACE * places)
    if table != 0:
        set_word(table, places)
        set_word(block + 8, table + plan.KEPT_MARK)


def write_owned(node: int, obj: int, to: int, log: int) -> int:
    owned = owner_of(node, obj)
    if owned == 0:
        return 0
    leaves = word(owned + known.owned_leaves)
    if write_leaves(node, leaves, to, log) == 0:
        return 0
    if word(node + plan.PLACES) != 0:
        if word(owned + known.owned_calm) == leaves:
            hyb_keep(word(to + word(node + plan.LEAVES + 8)), word(node + plan.PLACES))
        else:
            swap(owned + known.owned_calm, leaves)
    return 1


def write_rng(node: int, obj: int, to: int, log: int) -> int:
    if word(obj + plan.TYPE) != known.rng:
        return 0
    return write_leaves(node, word(obj + known.rng_state), to, log)


def write_part(node: int, obj: int, to: int, log: int) -> int:
    """A part of a value; an array stays alive until the call has ended, whatever happens to what holds it."""
    if word(node) == plan.TENSOR and word(log + plan.LOG_FLAGS) & plan.KEEP == 0:
        guests = word(log + plan.LOG_GUESTS)
        if guests == 0:
            guests = api.PyList_New(0)
            if guests == 0:
                api.PyErr_Clear()
                return 0
            set_word(log + plan.LOG_GUESTS, guests)
        if api.PyList_Append(guests, obj) < 0:
            api.PyErr_Clear()
            return 0
    depth = word(log + plan.LOG_DEPTH)
    if depth > plan.DEEPEST:
        return 0
    set_word(log + plan.LOG_DEPTH, depth + 1)
    done = write(node, obj, to, log)
    set_word(log + plan.LOG_DEPTH, depth)
    return done


def write(node: int, obj: int, to: int, log: int) -> int:
    """Write a value to memory full of zeros: 1, or 0 where it is for the slow way."""
    kind = word(node)
    if kind <= plan.F32:
        return write_float(kind, obj, to)
    if kind <= plan.U8:
        return write_int(kind, obj, to)
    if kind == plan.TENSOR:
        return write_array(node, obj, to, log)
    if kind == plan.BOOL:
        return write_bool(obj, to)
    if kind == plan.TEXT:
        return write_text(obj, to, log)
    if kind == plan.LIST:
        return write_list(node, obj, to, log)
    if kind == plan.STRUCT:
        if word(obj + plan.TYPE) != word(node + plan.CLASS):
            return 0
        return write_fields(node + plan.FIELDS, word(node + plan.COUNT), obj, to, log)
    if kind == plan.ENUM:
        return write_enum(node, obj, to, log)
    if kind == plan.PLAIN:
        case = case_of(node, word(obj + plan.TYPE))
        if case == 0:
            return 0
        set_word(to, word(case + plan.CASE_BLOCK))
        return 1
    if kind == plan.TUPLE:
        return write_tuple(node, obj, to, log)
    if kind == plan.OPTION:
        return write_option(node, obj, to, log)
    if kind == plan.WIRE:
        return write_wire(node, obj, to, log)
    if kind == plan.OWNED:
        return write_owned(node, obj, to, log)
    return write_rng(node, obj, to, log)
