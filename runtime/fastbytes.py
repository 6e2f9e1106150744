"""Machine code: values to the bytes of encoding.py and back, by the nodes of fast calls (see machine.py for what it may
say, fastplan.py for where things are).

Bytes that are not just what `hyb_pack` would write (cut short, an unknown case, text that is not UTF-8) and what is
nested too deep are for encoding.py, which says what is wrong. So nothing here raises but the program itself, where it
makes a container from a list.

A *cursor* is the address of the next byte and of the end. An *output* is an address, the bytes used and the room there,
and whether that memory is to be freed. `context` is one that nobody uses, for containers.
"""

from __future__ import annotations

from hybridc_runtime import fastplan as plan
from hybridc_runtime.alone import hyb_call, hyb_wait, release
from hybridc_runtime.fastlog import begin, block_of, close, note, owned_block
from hybridc_runtime.fastread import bytes_of
from hybridc_runtime.machine import add_at, api, byte, half, known, room, set_byte, set_half, set_word, word


# ---- from bytes
def take(cursor: int, size: int) -> int:
    """The address of the next bytes, which are passed; 0 if there are not so many."""
    at = word(cursor)
    if size < 0 or size > word(cursor + 8) - at:
        return 0
    set_word(cursor, at + size)
    return at


def take_count(cursor: int) -> int:
    """A number of bytes or of items that have bytes; -1 if there are not so many."""
    at = take(cursor, 8)
    if at == 0 or word(at) > word(cursor + 8) - word(cursor):
        return -1
    return word(at)


def take_block(size: int, cursor: int, log: int) -> int:
    """A block with the next bytes; 0 if there are not so many."""
    at = take(cursor, size)
    if at == 0:
        return 0
    block = owned_block(api.malloc(plan.HEADER + size), log)
    if block != 0:
        api.memcpy(block + plan.HEADER, at, size)
    return block


def unpack_scalar(kind: int, size: int, to: int, cursor: int) -> int:
    if kind == plan.BF16:
        at = take(cursor, 4)
        if at == 0 or byte(at) != 0 or byte(at + 1) != 0:
            return 0
        set_byte(to, byte(at + 2))
        set_byte(to + 1, byte(at + 3))
        return 1
    at = take(cursor, size)
    if at == 0:
        return 0
    if kind == plan.BOOL and byte(at) > 1:
        return 0
    api.memcpy(to, at, size)
    return 1


def letters(p: int, size: int) -> int:
    """How many characters the text has; -1 if it is not UTF-8."""
    end = p + size
    n = 0
    while p < end:
        if end - p >= 8 and word(p) & plan.HIGH_BITS == 0:
            n += 8
            p += 8
            continue
        c = byte(p)
        size = 1
        low = 128
        high = 191
        if c >= 128:
            if c < 194 or c > 244:
                return -1
            size = 2
            if c >= 224:
                size = 3
            if c >= 240:
                size = 4
            if c == 224:
                low = 160
            if c == 237:
                high = 159
            if c == 240:
                low = 144
            if c == 244:
                high = 143
            if size > end - p or byte(p + 1) < low or byte(p + 1) > high:
                return -1
            i = 2
            while i < size:
                if byte(p + i) & 192 != 128:
                    return -1
                i += 1
        n += 1
        p += size
    return n


def unpack_text(to: int, cursor: int, log: int) -> int:
    size = take_count(cursor)
    if size < 0:
        return 0
    n = letters(word(cursor), size)
    if n < 0:
        return 0
    block = 0
    if size > 0:
        block = take_block(size, cursor, log)
        if block == 0:
            return 0
        set_word(block + 8, size)
    set_word(to, block)
    set_word(to + 8, size)
    set_word(to + 16, n)
    return 1


def unpack_array(node: int, to: int, cursor: int, log: int) -> int:
    rank = word(node + plan.RANK)
    count = 1
    i = 0
    while i < rank:
        at = take(cursor, 8)
        if at == 0:
            return 0
        d = word(at)
        want = word(node + plan.DIMS + 8 * i)
        if d < 0 or d > plan.MOST_ELEMENTS or want >= 0 and want != d:
            return 0
        set_word(to + 16 + 8 * i, d)
        count = count * d
        if count > plan.MOST_ELEMENTS:
            return 0
        i += 1
    size = count * word(node + plan.ITEM_SIZE)
    at = word(cursor)
    block = take_block(size, cursor, log)
    if block == 0:
        return 0
    set_word(block + 8, count)
    set_word(to, block)
    set_word(to + 8, block + plan.HEADER)
    if word(node + plan.NUMBER) == plan.BOOLS:
        while size > 0:
            size -= 1
            if byte(at + size) > 1:
                return 0
    return 1


def unpack_list(node: int, to: int, cursor: int, log: int, context: int) -> int:
    n = take_count(cursor)
    if n < 0:
        return 0
    item = word(node + plan.ITEM)
    size = word(item + 8)
    block = 0
    if n > 0:
        if word(item) <= plan.U8:
            block = take_block(n * size, cursor, log)
        else:
            block = block_of(plan.HEADER + n * size, log)
        if block == 0:
            return 0
        set_word(block + 8, n)
        if word(item) > plan.U8:
            at = block + plan.HEADER
            i = 0
            while i < n:
                done = unpack(item, at, cursor, log, context)
                if done != 1:
                    return done
                at += size
                i += 1
    set_word(to + word(node + plan.DATA_AT), block)
    set_word(to + word(node + plan.SIZE_AT), n)
    return 1


def unpack_fields(field: int, n: int, to: int, cursor: int, log: int, context: int) -> int:
    while n > 0:
        done = unpack(word(field + 8), to + word(field + 16), cursor, log, context)
        if done != 1:
            return done
        field += plan.FIELD
        n -= 1
    return 1


def unpack_option(node: int, to: int, cursor: int, log: int, context: int) -> int:
    at = take(cursor, 1)
    if at == 0 or byte(at) > 1:
        return 0
    if byte(at) == 1:
        set_byte(to, 1)
        return unpack(word(node + plan.SOME), to + word(node + plan.SOME_AT), cursor, log, context)
    i = 0
    while i < word(node + 8):
        set_byte(to + i, 0)
        i += 1
    return 1


def unpack_enum(node: int, to: int, cursor: int, log: int, context: int) -> int:
    at = take(cursor, 8)
    if at == 0 or word(at) < 0 or word(at) >= word(node + plan.COUNT):
        return 0
    case = node + plan.CASES + plan.CASE * word(at)
    if word(case + plan.CASE_VALUE) != 0:
        set_word(to, word(case + plan.CASE_BLOCK))
        return 1
    block = block_of(word(case + plan.CASE_SIZE), log)
    if block == 0:
        return 0
    set_word(block + 8, word(case + plan.CASE_BLOCK))
    set_word(to, block)
    fields = word(case + plan.CASE_FIELDS)
    return unpack_fields(fields, word(case + plan.CASE_COUNT), block + plan.HEADER, cursor, log, context)


def unpack_wire(node: int, to: int, cursor: int, log: int, context: int) -> int:
    """A container, made by the program from the list that it crosses as: 2 where that raises."""
    wire = room(plan.WIRE_BOX)
    mark = word(log + plan.LOG_COUNT)
    done = unpack(word(node + plan.WIRE_ITEM), wire, cursor, log, context)
    if done != 1:
        return done
    # The program owns the list now.
    keep(log, mark)
    if hyb_call(word(node + plan.FROM_WIRE), context, wire, to) != 0:
        return 2
    if note(log, node) == 0 or note(log, to | plan.MADE) == 0:
        release(word(node + plan.OWN_RELEASE), context, to)
        return 0
    return 1


def unpack(node: int, to: int, cursor: int, log: int, context: int) -> int:
    """The next value: 1, 0 where it is for the slow way, 2 where the program raised."""
    kind = word(node)
    if kind <= plan.BOOL or kind == plan.F16 or kind == plan.BF16:
        return unpack_scalar(kind, word(node + 8), to, cursor)
    if kind == plan.TENSOR:
        return unpack_array(node, to, cursor, log)
    if kind == plan.TEXT:
        return unpack_text(to, cursor, log)
    depth = word(log + plan.LOG_DEPTH)
    if depth > plan.DEEPEST:
        return 0
    set_word(log + plan.LOG_DEPTH, depth + 1)
    if kind == plan.LIST:
        done = unpack_list(node, to, cursor, log, context)
    elif kind == plan.STRUCT or kind == plan.TUPLE:
        done = unpack_fields(node + plan.FIELDS, word(node + plan.COUNT), to, cursor, log, context)
    elif kind == plan.OPTION:
        done = unpack_option(node, to, cursor, log, context)
    elif kind == plan.WIRE:
        done = unpack_wire(node, to, cursor, log, context)
    else:
        done = unpack_enum(node, to, cursor, log, context)
    set_word(log + plan.LOG_DEPTH, depth)
    return done


def keep(log: int, mark: int) -> None:
    """The program owns what was made since a mark: its blocks are counted, and it is no longer in the log."""
    items = word(log + plan.LOG_ITEMS)
    i = word(log + plan.LOG_COUNT)
    made = 0
    while i > mark:
        i -= 1
        if word(items + 8 * i) & plan.MADE == 0:
            made += 1
        else:
            i -= 1
    set_word(log + plan.LOG_COUNT, mark)
    live = word(log + plan.LOG_HEAD)
    if made != 0 and live != 0:
        add_at(live, made)


def discard(log: int, context: int) -> None:
    """Give back what was made for a value that does not become one."""
    i = word(log + plan.LOG_COUNT)
    while i > 0:
        i -= 1
        entry = word(word(log + plan.LOG_ITEMS) + 8 * i)
        if entry & plan.MADE == 0:
            api.free(entry)
        else:
            i -= 1
            node = word(word(log + plan.LOG_ITEMS) + 8 * i)
            release(word(node + plan.OWN_RELEASE), context, entry - plan.MADE)


def hyb_unpack(node: int, data: int, skip: int, to: int, live: int, context: int) -> int:
    """Write the value that Python's bytes hold after the first `skip`. The program counts its blocks at `live`. 1, or 0
    where it is for the slow way, 2 where the program raised."""
    log = room(plan.LOG_SIZE)
    begin(log, room(192), live)
    cursor = room(16)
    start = api.PyBytes_AsString(data)
    set_word(cursor, start + skip)
    set_word(cursor + 8, start + api.PyBytes_Size(data))
    done = unpack(node, to, cursor, log, context)
    if done == 1 and word(cursor) != word(cursor + 8):
        done = 0
    if done == 1:
        keep(log, 0)
    else:
        discard(log, context)
    close(log)
    return done


# ---- to bytes
def more(size: int, out: int) -> int:
    """Where the next bytes go; 0 if there is no memory."""
    used = word(out + 8)
    if used + size > word(out + 16):
        grown = 2 * (used + size)
        if word(out + 24) == 0:
            data = api.malloc(grown)
            if data != 0:
                api.memcpy(data, word(out), used)
        else:
            data = api.realloc(word(out), grown)
        if data == 0:
            return 0
        set_word(out, data)
        set_word(out + 16, grown)
        set_word(out + 24, 1)
    set_word(out + 8, used + size)
    return word(out) + used


def put(at: int, size: int, out: int) -> int:
    to = more(size, out)
    if to == 0:
        return 0
    api.memcpy(to, at, size)
    return 1


def put_word(value: int, out: int) -> int:
    to = more(8, out)
    if to == 0:
        return 0
    set_word(to, value)
    return 1


def pack_scalar(kind: int, size: int, at: int, out: int) -> int:
    if kind != plan.BF16:
        return put(at, size, out)
    to = more(4, out)
    if to == 0:
        return 0
    set_half(to, 0)
    set_byte(to + 2, byte(at))
    set_byte(to + 3, byte(at + 1))
    return 1


def pack_list(node: int, at: int, out: int, depth: int, context: int) -> int:
    n = word(at + word(node + plan.SIZE_AT))
    item = word(node + plan.ITEM)
    size = word(item + 8)
    data = word(at + word(node + plan.DATA_AT)) + plan.HEADER
    if put_word(n, out) == 0:
        return 0
    if word(item) <= plan.U8:
        return put(data, n * size, out)
    while n > 0:
        done = pack(item, data, out, depth, context)
        if done != 1:
            return done
        data += size
        n -= 1
    return 1


def pack_fields(field: int, n: int, at: int, out: int, depth: int, context: int) -> int:
    while n > 0:
        done = pack(word(field + 8), at + word(field + 16), out, depth, context)
        if done != 1:
            return done
        field += plan.FIELD
        n -= 1
    return 1


def pack_option(node: int, at: int, out: int, depth: int, context: int) -> int:
    if put(at, 1, out) == 0:
        return 0
    if byte(at) == 0:
        return 1
    return pack(word(node + plan.SOME), at + word(node + plan.SOME_AT), out, depth, context)


def pack_enum(node: int, at: int, out: int, depth: int, context: int) -> int:
    tag = half(word(at) + 8)
    if put_word(tag, out) == 0:
        return 0
    case = node + plan.CASES + plan.CASE * tag
    if word(case + plan.CASE_VALUE) != 0:
        return 1
    fields = word(case + plan.CASE_FIELDS)
    return pack_fields(fields, word(case + plan.CASE_COUNT), word(at) + plan.HEADER, out, depth, context)


def pack_wire(node: int, at: int, out: int, depth: int, context: int) -> int:
    """A container, as the list that the program makes of it: 2 where that raises."""
    own = room(plan.WIRE_BOX)
    wire = room(plan.WIRE_BOX)
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
        return 2
    done = pack(word(node + plan.WIRE_ITEM), wire, out, depth, context)
    release(word(node + plan.WIRE_RELEASE), context, wire)
    return done


def pack(node: int, at: int, out: int, depth: int, context: int) -> int:
    """Append the bytes of a value: 1, 0 where it is for the slow way, 2 where the program raised."""
    kind = word(node)
    if kind <= plan.BOOL or kind == plan.F16 or kind == plan.BF16:
        return pack_scalar(kind, word(node + 8), at, out)
    if kind == plan.TENSOR:
        if put(at + 16, 8 * word(node + plan.RANK), out) == 0:
            return 0
        return put(word(at + 8), bytes_of(node, at), out)
    if kind == plan.TEXT:
        if put_word(word(at + 8), out) == 0:
            return 0
        return put(word(at) + plan.HEADER, word(at + 8), out)
    if kind == plan.PLAIN:
        return put_word(word(at), out)
    if depth > plan.DEEPEST:
        return 0
    depth += 1
    if kind == plan.LIST:
        return pack_list(node, at, out, depth, context)
    if kind == plan.STRUCT or kind == plan.TUPLE:
        return pack_fields(node + plan.FIELDS, word(node + plan.COUNT), at, out, depth, context)
    if kind == plan.OPTION:
        return pack_option(node, at, out, depth, context)
    if kind == plan.WIRE:
        return pack_wire(node, at, out, depth, context)
    return pack_enum(node, at, out, depth, context)


def hyb_pack(node: int, at: int, context: int) -> int:
    """The value at an address as Python's bytes; None where it is for the slow way, True where the program raised, 0
    with an exception."""
    out = room(32)
    set_word(out, room(512))
    set_word(out + 8, 0)
    set_word(out + 16, 512)
    set_word(out + 24, 0)
    done = pack(node, at, out, 0, context)
    value = known.none
    if done == 1:
        value = api.PyBytes_FromStringAndSize(word(out), word(out + 8))
    elif done == 2:
        value = known.true
        api.Py_IncRef(value)
    else:
        api.Py_IncRef(value)
    if word(out + 24) != 0:
        api.free(word(out))
    return value
