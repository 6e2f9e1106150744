"""Operators on bytes: what texts and the tables of maps are compared, searched and hashed by."""

from __future__ import annotations

import struct
from collections.abc import Callable

from hybridc.core.ir import Op
from hybridc.core.ops import BYTES
from hybridc.llvm.buffer_ops import Results, single_or_several
from hybridc.llvm.code import Code
from hybridc.llvm.emitter import FnEmitter
from hybridc.llvm.layout import HEADER
from hybridc.llvm.module import READ, Module, byte_string
from hybridc.llvm.pool import allocate_bytes
from hybridc.llvm.support import CTX, PAGE

Row = Callable[[FnEmitter, Op], Results]


def _compare(e: FnEmitter, op: Op) -> Results:
    a, b, count = (e.one(x) for x in op.args)
    x, y = e.buffer_data(a), e.buffer_data(b)

    def several() -> str:
        order = e.call("i32", "@memcmp", [("ptr", x), ("ptr", y), ("i64", count)])
        return sign(order, "sgt", "slt", "i32")

    def sign(order: str, more: str, less: str, llvm: str, other: str = "0") -> str:
        above = e.convert("zext", "i1", e.icmp(more, order, other, llvm), "i64")
        below = e.convert("zext", "i1", e.icmp(less, order, other, llvm), "i64")
        return e.sub(above, below)

    def single() -> str:
        return sign(e.load("i8", x), "ugt", "ult", "i8", e.load("i8", y))

    return ((single_or_several(e, count, "i64", single, several),),)


def _same(e: FnEmitter, op: Op) -> Results:
    a, b, count = (e.one(x) for x in op.args)

    def several() -> str:
        return e.call("i1", _same_helper(e.module), [("ptr", a), ("ptr", b), ("i64", count)])

    def single() -> str:
        return e.icmp("eq", e.load("i8", e.buffer_data(a)), e.load("i8", e.buffer_data(b)), "i8")

    return ((single_or_several(e, count, "i1", single, several),),)


GROUP = 16
"""Bytes that are compared at once."""


def _match(e: FnEmitter, op: Op) -> Results:
    block, start, byte = (e.one(x) for x in op.args)
    at = e.element(e.buffer_data(block), "i32", start)
    group = e.ins(f"load <{GROUP} x i8>, ptr {at}, align 4")
    first = e.ins(f"insertelement <{GROUP} x i8> poison, i8 {byte}, i64 0")
    same = f"<{GROUP} x i8> {first}, <{GROUP} x i8> poison, <{GROUP} x i32> zeroinitializer"
    equal = e.ins(f"icmp eq <{GROUP} x i8> {group}, {e.ins(f'shufflevector {same}')}")
    return ((e.convert("zext", f"i{GROUP}", e.ins(f"bitcast <{GROUP} x i1> {equal} to i{GROUP}"), "i64"),),)


HASH_FACTOR = 0xD6E8FEB86659FD93 - (1 << 64)


def _hash_seed(e: FnEmitter, op: Op) -> Results:
    return ((e.ins(f"load i64, ptr {e.field('seed')}, !invariant.load !0"),),)


def _folded(code: Code, x: str, y: str) -> str:
    """Both halves of the product, one on the other."""
    wide = code.op2("mul", "i128", code.convert("zext", "i64", x, "i128"), code.convert("zext", "i64", y, "i128"))
    low = code.convert("trunc", "i128", wide, "i64")
    high = code.convert("trunc", "i128", code.op2("lshr", "i128", wide, "64"), "i64")
    return code.op2("xor", "i64", low, high)


SHORT = READ
"""Bytes of a text that is read as one vector, so that nothing branches on its length."""


def _short(code: Code, n: str, *data: str, most: int = SHORT) -> str:
    """i1: these are 1 to `most` bytes, and SHORT can be read, since they lie in the page of the first. (Bytes that end
    with the text, where no page needs to be looked at, would overlap its header, and wait for a count that has just
    been written.)"""
    few = code.icmp("ult", code.sub(n, "1"), str(most))
    for at in data:
        within = code.op2("and", "i64", code.convert("ptrtoint", "ptr", at, "i64"), str(PAGE - 1))
        few = code.op2("and", "i1", few, code.icmp("ule", within, str(PAGE - SHORT)))
    return few


def _first_bytes(code: Code, n: str) -> str:
    """The address of a vector whose first n bytes are all ones."""
    ends = code.module.constant(f"[{2 * SHORT} x i8]", byte_string(bytes([255]) * SHORT + bytes(SHORT)), 32, "ends")
    return code.ptr_add(ends, code.sub(str(SHORT), n))


def _word(code: Code, base: str, at: int | str) -> str:
    return code.ins(f"load i64, ptr {code.ptr_add(base, at)}, align 1")


def _far_hash(module: Module) -> str:
    """i64 (block, n, seed): of SHORT bytes and more."""

    def make(name: str) -> None:
        params = [("ptr", "%block"), ("i64", "%n"), ("i64", "%seed")]
        code = Code(module, name, params, "i64", attributes="noinline nounwind")
        data, factor = code.ptr_add("%block", HEADER), str(HASH_FACTOR)

        def mixed(before: str, at: str) -> str:
            return _folded(code, code.op2("xor", "i64", before, _word(code, data, at)), factor)

        start = code.op2("xor", "i64", "%seed", code.mul("%n", factor))
        with code.loop(code.op2("lshr", "i64", "%n", "3"), [("i64", start)]) as turn:
            turn.next = [mixed(turn.values[0], code.op2("shl", "i64", turn.index, "3"))]
        code.ret(mixed(turn.values[0], code.sub("%n", "8")))
        code.finish()

    return module.helper("hyb.far_hash", make)


WORDS = "{ i64, i64 }"
HIGH = 0x8080808080808080 - (1 << 64)
"""The highest bit of each byte."""


def _text_key(e: FnEmitter, op: Op) -> Results:
    """The hash as the interpreter's (core/interp_ops.py)."""
    block, n, points, seed = (e.one(a) for a in op.args)
    known = e.module.literals.get(block)
    if known is not None and len(known) < SHORT and n == str(len(known)):
        x, y = map(str, struct.unpack("<qq", known.ljust(SHORT - 1, b"\0") + bytes([len(known)])))
    elif n == "1":
        x, y = e.convert("zext", "i8", e.load("i8", e.buffer_data(block)), "i64"), str(1 << 56)
    else:
        pair = e.call(WORDS, _words_helper(e.module), [("ptr", block), ("i64", n), ("i64", points)])
        x, y = (e.ins(f"extractvalue {WORDS} {pair}, {i}") for i in (0, 1))

    def short() -> str:
        first = e.op2("xor", "i64", x, e.op2("xor", "i64", seed, str(HASH_FACTOR)))
        return _folded(e, first, e.op2("xor", "i64", y, e.add(seed, str(HASH_FACTOR))))

    def far() -> str:
        return e.call("i64", _far_hash(e.module), [("ptr", block), ("i64", n), ("i64", seed)])

    return (e.either(e.icmp("sge", y, "0"), "i64", short, far),), (x,), (y,)


def _give_words(code: Code, first: str, second: str) -> None:
    pair = code.ins(f"insertvalue {WORDS} poison, i64 {first}, 0")
    code.ret(code.ins(f"insertvalue {WORDS} {pair}, i64 {second}, 1"))


def _words_helper(module: Module) -> str:
    """{ i64, i64 } (block, n, points)"""

    def make(name: str) -> None:
        code = Code(module, name, [("ptr", "%block"), ("i64", "%n"), ("i64", "%points")], WORDS)
        data = code.ptr_add("%block", HEADER)
        seldom, short = code.label("seldom"), code.label("short")
        code.branch(_short(code, "%n", data, most=SHORT - 1), short, seldom)
        code.start(seldom)
        with code.when(code.icmp("uge", "%n", str(SHORT))):
            _give_words(code, "%n", code.op2("xor", "i64", "%points", "-1"))
        code.ret(code.call(WORDS, _edge_words(module), [("ptr", data), ("i64", "%n")]))
        code.start(short)
        first, last = (code.op2("and", "i64", _word(code, data, at), _word(code, _first_bytes(code, "%n"), at))
                       for at in (0, 8))
        _give_words(code, first, code.op2("or", "i64", last, code.op2("shl", "i64", "%n", "56")))
        code.finish()

    return module.helper("hyb.words", make)


def _edge_words(module: Module) -> str:
    """{ i64, i64 } (data, n): of fewer than SHORT bytes beside another page."""

    def make(name: str) -> None:
        code = Code(module, name, [("ptr", "%data"), ("i64", "%n")], WORDS, attributes="noinline nounwind")
        room = code.alloca(SHORT)
        code.zero_bytes(room, str(SHORT))
        code.copy_bytes(room, "%data", "%n")
        last = code.op2("or", "i64", _word(code, room, 8), code.op2("shl", "i64", "%n", "56"))
        _give_words(code, _word(code, room, 0), last)
        code.finish()

    return module.helper("hyb.edge_words", make)


def _kept_text(e: FnEmitter, op: Op) -> Results:
    far, x, y = (e.one(a) for a in op.args)

    def short() -> str:
        made = e.call("ptr", _words_text(e.module), [CTX, ("i64", x), ("i64", y)])
        e.leave_unless(e.icmp("ne", made, "null", "ptr"))
        return made

    def long() -> str:
        e.retain(BYTES, (far,))
        return far

    def several() -> str:
        return e.either(e.icmp("sge", y, "0"), "ptr", short, long)

    made = e.either(e.icmp("eq", y, str(1 << 56)), "ptr", lambda: _letter(e, x), several)
    return ((made,), *_measures(e, x, y))


def _measures(e: FnEmitter, x: str, y: str) -> Results:
    """How many bytes and code points the text has that has these words."""
    size = e.op2("lshr", "i64", y, "56")
    points = size
    for word in (x, y):
        # Bytes that continue a code point begin with the bits 10.
        others = e.op2("and", "i64", e.op2("shl", "i64", e.op2("xor", "i64", word, "-1"), "1"), word)
        points = e.sub(points, e.call("i64", "@llvm.ctpop.i64", [("i64", e.op2("and", "i64", others, str(HIGH)))]))
    far = e.icmp("slt", y, "0")
    return (e.select(far, "i64", x, size),), (e.select(far, "i64", e.op2("xor", "i64", y, "-1"), points),)


def _words_text(module: Module) -> str:
    """ptr (ctx, x, y): a buffer of the bytes that have these words; null where there is no memory."""

    def make(name: str) -> None:
        params = [CTX, ("i64", "%x"), ("i64", "%y")]
        code = Code(module, name, params, "ptr", attributes="noinline nounwind")
        block = code.call("ptr", allocate_bytes(module, False), [CTX, ("i64", code.op2("lshr", "i64", "%y", "56"))])
        with code.when(code.icmp("ne", block, "null", "ptr")):
            _store_words(code, "%x", "%y", block)  # any block of the pool has room for both
        code.ret(block)
        code.finish()

    return module.helper("hyb.words_text", make)


def _store_words(code: Code, x: str, y: str, block: str) -> None:
    """By one store, which a load of both need not wait for."""
    both = code.ins(f"insertelement <2 x i64> poison, i64 {x}, i64 0")
    both = code.ins(f"insertelement <2 x i64> {both}, i64 {y}, i64 1")
    code.do(f"store <2 x i64> {both}, ptr {code.ptr_add(block, HEADER)}, align 8")


def _kept_part(e: FnEmitter, op: Op) -> Results:
    """A short text lies on the stack."""
    far, x, y = (e.one(a) for a in op.args)
    block = e.alloca(HEADER + SHORT)
    e.store("i64", e.op2("lshr", "i64", y, "56"), e.ptr_add(block, 8))
    _store_words(e, x, y, block)
    return ((e.select(e.icmp("sge", y, "0"), "ptr", block, far),), *_measures(e, x, y))


def _find_helper(module: Module) -> str:
    """i64 (hay, from, n, needle, m)"""

    def make(name: str) -> None:
        params = [("ptr", "%hay"), ("i64", "%from"), ("i64", "%n"), ("ptr", "%needle"), ("i64", "%m")]
        code = Code(module, name, params, "i64", attributes="noinline nounwind")
        room = code.sub("%n", "%from")
        with code.when(code.icmp("slt", room, "%m")):
            code.ret("-1")
        with code.when(code.icmp("eq", "%m", "0")):
            code.ret("%from")
        data = code.ptr_add("%hay", HEADER)
        args = [
            ("ptr", code.ptr_add(data, "%from")),
            ("i64", room),
            ("ptr", code.ptr_add("%needle", HEADER)),
            ("i64", "%m"),
        ]
        found = code.call("ptr", "@memmem", args)
        with code.when(code.icmp("eq", found, "null", "ptr")):
            code.ret("-1")
        code.ret(code.sub(code.convert("ptrtoint", "ptr", found, "i64"), code.convert("ptrtoint", "ptr", data, "i64")))
        code.finish()

    return module.helper("hyb.find", make)


def _find(e: FnEmitter, op: Op) -> Results:
    hay, start, size, needle, count = (e.one(x) for x in op.args)
    text = e.module.literals.get(hay, b"")
    types = ("ptr", "i64", "i64", "ptr", "i64")

    def several() -> str:
        return e.call("i64", _find_helper(e.module), list(zip(types, (hay, start, size, needle, count), strict=True)))

    def single() -> str:
        byte = e.convert("zext", "i8", e.load("i8", e.buffer_data(needle)), "i64")
        return e.convert("sext", "i8", e.load("i8", e.element(_places(e.module, text), "i8", byte)), "i64")

    if 0 < len(text) < 128 and (start, size) == ("0", str(len(text))):
        return ((single_or_several(e, count, "i64", single, several),),)
    return ((several(),),)


def _places(module: Module, text: bytes) -> str:
    """A pointer to the place of each byte in a short text; -1 if it has none."""
    places = bytes(text.find(byte) & 255 for byte in range(256))
    return module.constant("[256 x i8]", byte_string(places), 64, "places")


BLOCK = 64
"""Bytes of which a word of bits says something."""


def _outside(e: FnEmitter, op: Op) -> Results:
    block, start, n, low, high = (e.one(x) for x in op.args)
    data, size = e.buffer_data(block), e.op2("sub", "i8", high, low)

    def whole() -> str:
        return _outside_bits(e, e.ptr_add(data, start), BLOCK, low, size)

    def part() -> str:
        types = ("ptr", "i64", "i64", "i8", "i8")
        args = list(zip(types, (data, start, n, low, size), strict=True))
        return e.call("i64", _outside_helper(e.module), args)

    return ((e.either(e.icmp("sge", e.sub(n, start), str(BLOCK)), "i64", whole, part),),)


def _outside_bits(code: Code, at: str, count: int, low: str, size: str) -> str:
    """i64: a bit for each of so many bytes, whether it is more than `size` above `low`."""
    vector = f"<{count} x i8>"

    def splat(x: str) -> str:
        first = code.ins(f"insertelement {vector} poison, i8 {x}, i64 0")
        return code.ins(f"shufflevector {vector} {first}, {vector} poison, <{count} x i32> zeroinitializer")

    above = code.op2("sub", vector, code.ins(f"load {vector}, ptr {at}, align 1"), splat(low))
    bits = code.ins(f"bitcast <{count} x i1> {code.icmp('ugt', above, splat(size), vector)} to i{count}")
    return bits if count == 64 else code.convert("zext", f"i{count}", bits, "i64")


def _outside_helper(module: Module) -> str:
    """i64 (data, start, n, low, size): of fewer than BLOCK bytes from start to n. The last of them are read with what
    comes before: the header at least, where there is a byte."""

    def make(name: str) -> None:
        params = [("ptr", "%data"), ("i64", "%start"), ("i64", "%n"), ("i8", "%low"), ("i8", "%size")]
        code = Code(module, name, params, "i64", attributes="noinline nounwind")
        left = code.sub("%n", "%start")
        groups = code.op2("and", "i64", left, str(-GROUP))
        beyond = code.op2("shl", "i64", "-1", left)
        with code.loop(groups, [("i64", beyond)], step=GROUP) as turn:
            at = code.ptr_add(code.ptr_add("%data", "%start"), turn.index)
            bits = code.op2("shl", "i64", _outside_bits(code, at, GROUP, "%low", "%size"), turn.index)
            turn.next = [code.op2("or", "i64", turn.values[0], bits)]
        rest = code.sub(left, groups)
        with code.when(code.icmp("eq", rest, "0")):
            code.ret(turn.values[0])
        bits = _outside_bits(code, code.ptr_add(code.ptr_add("%data", "%n"), -GROUP), GROUP, "%low", "%size")
        bits = code.op2("lshr", "i64", bits, code.sub(str(GROUP), rest))
        code.ret(code.op2("or", "i64", turn.values[0], code.op2("shl", "i64", bits, groups)))
        code.finish()

    return module.helper("hyb.outside", make)


def _same_helper(module: Module) -> str:
    """i1 (a, b, n)"""

    def make(name: str) -> None:
        code = Code(module, name, [("ptr", "%a"), ("ptr", "%b"), ("i64", "%n")], "i1")
        x, y = code.ptr_add("%a", HEADER), code.ptr_add("%b", HEADER)
        seldom, short = code.label("seldom"), code.label("short")
        code.branch(_short(code, "%n", x, y), short, seldom)
        code.start(seldom)
        found = code.call("i32", "@memcmp", [("ptr", x), ("ptr", y), ("i64", "%n")])
        code.ret(code.icmp("eq", found, "0", "i32"))
        code.start(short)
        kind = "<2 x i64>"
        a, b, mask = (code.ins(f"load {kind}, ptr {at}, align 1") for at in (x, y, _first_bytes(code, "%n")))
        differ = code.op2("and", kind, code.op2("xor", kind, a, b), mask)
        code.ret(code.icmp("eq", code.convert("bitcast", kind, differ, "i128"), "0", "i128"))
        code.finish()

    return module.helper("hyb.same", make)


LETTERS, LETTER = 256, 32
"""Bytes, each with a buffer that is never freed, and how many one takes: a header and room."""


def _cut(e: FnEmitter, op: Op) -> Results:
    block, start, count = (e.one(a) for a in op.args)
    if count.startswith(("%", "-")):
        e.check(e.icmp("sge", count, "0"), "ValueError", "negative length")
    data = e.ptr_add(e.buffer_data(block), start)

    def several() -> str:
        made = e.call("ptr", _cut_helper(e.module), [CTX, ("ptr", data), ("i64", count)])
        e.leave_unless(e.icmp("ne", made, "null", "ptr"))
        return made

    def single() -> str:
        byte = e.convert("zext", "i8", e.load("i8", data), "i64")
        return _letter(e, byte)

    return ((single_or_several(e, count, "ptr", single, several),),)


def _cut_helper(module: Module) -> str:
    """ptr (ctx, data, n): a buffer of n bytes; null where there is no memory."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("ptr", "%data"), ("i64", "%n")], "ptr", attributes="noinline nounwind")
        block = code.call("ptr", allocate_bytes(module, False), [CTX, ("i64", "%n")])
        with code.when(code.icmp("ne", block, "null", "ptr")):
            code.copy_bytes(code.ptr_add(block, HEADER), "%data", "%n")
        code.ret(block)
        code.finish()

    return module.helper("hyb.cut", make)


def _letter(code: Code, byte: str) -> str:
    """The buffer of one byte."""
    return code.immortal(f"getelementptr inbounds i8, ptr {_letters(code.module)}, i64 {code.mul(byte, str(LETTER))}")


def _letters(module: Module) -> str:
    """A pointer to the buffers of all bytes, one after another."""
    room = LETTER - HEADER
    kind = f"{{ i64, i64, [{room} x i8] }}"
    rows = (f"{kind} {{ i64 -1, i64 1, [{room} x i8] {byte_string(bytes([c]) + bytes(room - 1))} }}"
            for c in range(LETTERS))
    return module.constant(f"[{LETTERS} x {kind}]", f"[ {', '.join(rows)} ]", 16, "letters")


ROWS: dict[str, Row] = {
    "buffer_compare": _compare,
    "buffer_match": _match,
    "text_key": _text_key,
    "kept_text": _kept_text,
    "kept_part": _kept_part,
    "hash_seed": _hash_seed,
    "buffer_find": _find,
    "buffer_outside": _outside,
    "buffer_cut": _cut,
    "buffer_same": _same,
}
