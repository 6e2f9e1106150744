"""Floats as text and back: printf and strtod of the C library, put into Python's form."""

from __future__ import annotations

from collections.abc import Callable

from hybridc.core.ir import Op
from hybridc.llvm.code import Code
from hybridc.llvm.emitter import FnEmitter
from hybridc.llvm.layout import HEADER
from hybridc.llvm.module import Leaves, Module
from hybridc.llvm.support import CTX, allocate_buffer

Results = tuple[Leaves, ...]
ROOM = 40
"""Bytes that the shortest text of any float fits in."""
SMALLEST_NORMAL = {False: "0x0010000000000000", True: "0x3810000000000000"}


def printf(code: Code, target: str, room: str, format: str, *args: tuple[str, str]) -> str:
    """snprintf; the number of bytes the whole text has, as i64."""
    code.module.declare("i32 @snprintf(ptr, i64, ptr, ...)")
    rest = "".join(f", {t} {v}" for t, v in args)
    text = code.module.c_string(format)
    written = code.ins(f"call i32 (ptr, i64, ptr, ...) @snprintf(ptr {target}, i64 {room}, ptr {text}{rest})")
    return code.convert("sext", "i32", written, "i64")


def _with_text(code: Code, text: str) -> None:
    """Return a constant text from a shortest helper."""
    data = code.module.c_string(text)
    code.copy_bytes("%out", data, str(len(text)))
    code.ret(str(len(text)))


def shortest(module: Module, single: bool) -> str:
    """i64 (double x, ptr out): the shortest text that reads back as x (as the float x is, if `single`), in the form of
    Python's repr; its length. 15 digits suffice or 16 or 17 do (a float: 6 to 9), but below the normal numbers fewer
    may, so that all lengths are tried there."""

    def make(name: str) -> None:
        code = Code(module, name, [("double", "%x"), ("ptr", "%out")], "i64", attributes="noinline nounwind")
        size = code.call("double", "@llvm.fabs.f64", [("double", "%x")])
        with code.when(code.fcmp("uno", "double", "%x", "%x")):
            _with_text(code, "nan")
        with code.when(code.fcmp("oeq", "double", "%x", "0x7FF0000000000000")):
            _with_text(code, "inf")
        with code.when(code.fcmp("oeq", "double", "%x", "0xFFF0000000000000")):
            _with_text(code, "-inf")
        text = code.alloca(ROOM)
        precision = _find_precision(code, size, text, single)
        digits, count, exponent = _digits(code, text, precision)
        minus = code.icmp("slt", code.convert("bitcast", "double", "%x", "i64"), "0")
        code.store("i8", "45", "%out")
        sign = code.convert("zext", "i1", minus, "i64")
        out = code.ptr_add("%out", sign)
        _write(code, out, sign, digits, count, exponent)
        code.finish()

    return module.helper(("hyb.shortest", single), make)


def _find_precision(code: Code, size: str, text: str, single: bool) -> str:
    """Write `size` as "d.ddde+dd" with the fewest digits; how many stand after the point."""
    first, most = (5, 8) if single else (14, 16)
    start = code.select(code.fcmp("olt", "double", size, SMALLEST_NORMAL[single]), "i64", "0", str(first))
    head, again, done, bump = code.label("try"), code.label("again"), code.label("found"), code.label("bump")
    before = code.here
    code.jump(head)
    code.start(head)
    precision, slot = code.phi_slot("i64")
    printf(code, text, str(ROOM), "%.*e", ("i32", code.convert("trunc", "i64", precision, "i32")), ("double", size))
    same = _reads_back(code, text, size, single)
    code.branch(code.op2("or", "i1", same, code.icmp("eq", precision, str(most))), done, bump)
    # A power of two is nearer to its neighbour below than to the one above, so that the text with one more in its last
    # place can read back where the nearest text of this length does not.
    code.start(bump)
    last = code.ptr_add(text, code.add(precision, "1"))
    digit = code.load("i8", last)
    code.store("i8", code.op2("add", "i8", digit, "1"), last)
    candidate = code.op2("and", "i1", code.icmp("sgt", precision, "0"), code.icmp("slt", digit, "57", "i8"))
    works = code.op2("and", "i1", candidate, _reads_back(code, text, size, single))
    code.branch(works, done, again)
    code.start(again)
    code.fill_phi(slot, [(start, before), (code.add(precision, "1"), again)])
    code.jump(head)
    code.start(done)
    return precision


def _reads_back(code: Code, text: str, size: str, single: bool) -> str:
    value = code.call("double", "@strtod", [("ptr", text), ("ptr", "null")])
    if not single:
        return code.fcmp("oeq", "double", value, size)
    parts = [code.convert("fptrunc", "double", v, "float") for v in (value, size)]
    return code.fcmp("oeq", "float", *parts)


def _digits(code: Code, text: str, precision: str) -> tuple[str, str, str]:
    """Of "d.ddde+dd": where the digits stand without the point, how many there are but for zeros at the end (at least
    one), and the exponent."""
    digits = code.alloca(ROOM)
    code.store("i8", code.load("i8", text), digits)
    code.copy_bytes(code.ptr_add(digits, 1), code.ptr_add(text, 2), precision)
    point = code.convert("zext", "i1", code.icmp("sgt", precision, "0"), "i64")
    exponent_at = code.ptr_add(text, code.add(code.add(precision, point), "2"))
    exponent = code.convert("sext", "i32", code.call("i32", "@atoi", [("ptr", exponent_at)]), "i64")
    head, shorter, done = code.label("strip"), code.label("shorter"), code.label("stripped")
    before = code.here
    code.jump(head)
    code.start(head)
    last, slot = code.phi_slot("i64")
    zero = code.icmp("eq", code.load("i8", code.ptr_add(digits, last)), "48", "i8")
    code.branch(code.op2("and", "i1", zero, code.icmp("sgt", last, "0")), shorter, done)
    code.start(shorter)
    code.fill_phi(slot, [(precision, before), (code.sub(last, "1"), shorter)])
    code.jump(head)
    code.start(done)
    return digits, code.add(last, "1"), exponent


def _write(code: Code, out: str, sign: str, digits: str, count: str, exponent: str) -> None:
    """The digits as Python writes them; returns the length."""
    scientific = code.op2("or", "i1", code.icmp("slt", exponent, "-4"), code.icmp("sge", exponent, "16"))
    with code.when(scientific):
        code.store("i8", code.load("i8", digits), out)
        code.store("i8", "46", code.ptr_add(out, 1))
        rest = code.sub(count, "1")
        code.copy_bytes(code.ptr_add(out, 2), code.ptr_add(digits, 1), rest)
        end = code.select(code.icmp("eq", rest, "0"), "i64", "1", code.add(count, "1"))
        e_at = code.ptr_add(out, end)
        written = printf(code, e_at, "10", "e%+03d", ("i32", code.convert("trunc", "i64", exponent, "i32")))
        code.ret(code.add(code.add(end, written), sign))
    with code.when(code.icmp("slt", exponent, "0")):
        zeros = code.sub("1", exponent)
        code.call("void", "@llvm.memset.p0.i64", [("ptr", out), ("i8", "48"), ("i64", zeros), ("i1", "false")])
        code.store("i8", "46", code.ptr_add(out, 1))
        code.copy_bytes(code.ptr_add(out, zeros), digits, count)
        code.ret(code.add(code.add(zeros, count), sign))
    whole = code.add(exponent, "1")
    code.call(
        "void", "@llvm.memset.p0.i64", [("ptr", out), ("i8", "48"), ("i64", code.add(whole, "2")), ("i1", "false")]
    )
    kept = code.call("i64", "@llvm.smin.i64", [("i64", count), ("i64", whole)])
    code.copy_bytes(out, digits, kept)
    code.store("i8", "46", code.ptr_add(out, whole))
    left = code.sub(count, kept)
    after = code.ptr_add(out, code.add(whole, "1"))
    code.copy_bytes(after, code.ptr_add(digits, kept), left)
    decimals = code.call("i64", "@llvm.smax.i64", [("i64", left), ("i64", "1")])
    code.ret(code.add(code.add(code.add(whole, "1"), decimals), sign))


def format_shortest(module: Module, single: bool) -> str:
    """ptr (ctx, double): a buffer with the shortest text, or null with a fault."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("double", "%x")], "ptr", attributes="noinline nounwind")
        text = code.alloca(ROOM)
        size = code.call("i64", shortest(module, single), [("double", "%x"), ("ptr", text)])
        block = code.call("ptr", allocate_buffer(module, False), [CTX, ("i64", "1"), ("i64", size)])
        with code.when(code.icmp("ne", block, "null", "ptr")):
            code.copy_bytes(code.ptr_add(block, HEADER), text, size)
        code.ret(block)
        code.finish()

    return module.helper(("hyb.format_shortest", single), make)


def format_as(module: Module) -> str:
    """ptr (ctx, double, kind, precision): a buffer with the text by `e`, `f`, `g` or `%`, or null with a fault."""

    def make(name: str) -> None:
        params = [CTX, ("double", "%x"), ("i64", "%kind"), ("i64", "%precision")]
        code = Code(module, name, params, "ptr", attributes="noinline nounwind")
        percent = code.icmp("eq", "%kind", str(ord("%")))
        precision = code.convert("trunc", "i64", "%precision", "i32")
        scaled = code.op2("fmul", "double", "%x", "0x4059000000000000")  # 100
        x = code.select(percent, "double", scaled, "%x")
        # The sign of a nan is not shown.
        x = code.select(code.fcmp("uno", "double", x, x), "double", "0x7FF8000000000000", x)
        forms = {kind: module.c_string(f"%.*{kind}") for kind in "efg"}
        form = code.select(code.icmp("eq", "%kind", str(ord("e"))), "ptr", forms["e"], forms["f"])
        form = code.select(code.icmp("eq", "%kind", str(ord("g"))), "ptr", forms["g"], form)
        module.declare("i32 @snprintf(ptr, i64, ptr, ...)")
        print_it = "call i32 (ptr, i64, ptr, ...) @snprintf(ptr {}, i64 {}, ptr {}, i32 {}, double {})"
        size = code.convert("sext", "i32", code.ins(print_it.format("null", 0, form, precision, x)), "i64")
        # One byte more for the final NUL, or for the percent sign that takes its place.
        block = code.call("ptr", allocate_buffer(module, False), [CTX, ("i64", "1"), ("i64", code.add(size, "1"))])
        with code.when(code.icmp("ne", block, "null", "ptr")):
            data = code.ptr_add(block, HEADER)
            code.ins(print_it.format(data, code.add(size, "1"), form, precision, x))
            code.store("i8", code.select(percent, "i8", str(ord("%")), "0"), code.ptr_add(data, size))
        code.ret(block)
        code.finish()

    return module.helper("hyb.format_as", make)


def _format_float(e: FnEmitter, op: Op) -> Results:
    x, kind, precision = (e.one(a) for a in op.args)
    if kind == "0":
        return _shortest_text(e, x, False)
    if kind.startswith("%"):
        short, other, done = e.label("short"), e.label("form"), e.label("formatted")
        e.branch(e.icmp("eq", kind, "0"), short, other)
        e.start(short)
        first = _shortest_text(e, x, False)
        first_end = e.here
        e.jump(done)
        e.start(other)
        second = _formatted(e, x, kind, precision)
        second_end = e.here
        e.jump(done)
        e.start(done)
        block = e.phi("ptr", [(first[0][0], first_end), (second[0][0], second_end)])
        return ((block,), (e.phi("i64", [(first[1][0], first_end), (second[1][0], second_end)]),))
    return _formatted(e, x, kind, precision)


def _formatted(e: FnEmitter, x: str, kind: str, precision: str) -> Results:
    block = e.call("ptr", format_as(e.module), [CTX, ("double", x), ("i64", kind), ("i64", precision)])
    e.leave_unless(e.icmp("ne", block, "null", "ptr"))
    percent = e.convert("zext", "i1", e.icmp("eq", kind, str(ord("%"))), "i64")
    size = e.add(e.sub(e.load("i64", e.ptr_add(block, 8)), "1"), percent)
    return ((block,), (size,))


def _shortest_text(e: FnEmitter, x: str, single: bool) -> Results:
    block = e.call("ptr", format_shortest(e.module, single), [CTX, ("double", x)])
    e.leave_unless(e.icmp("ne", block, "null", "ptr"))
    return ((block,), (e.load("i64", e.ptr_add(block, 8)),))


def _format_float32(e: FnEmitter, op: Op) -> Results:
    return _shortest_text(e, e.convert("fpext", "float", e.one(op.args[0]), "double"), True)


# ---- reading
def parse(module: Module) -> str:
    """{ i1, double } (ptr text, i64 n): the number that the bytes spell: decimal, inf, infinity or nan."""

    def make(name: str) -> None:
        result = "{ i1, double }"
        code = Code(module, name, [("ptr", "%text"), ("i64", "%n")], result, attributes="noinline nounwind")

        def refuse() -> None:
            code.ret(f"{{ i1 false, double {ZERO} }}")

        copy = code.call("ptr", "@malloc", [("i64", code.add("%n", "1"))])
        with code.when(code.icmp("eq", copy, "null", "ptr")):
            refuse()
        allowed = module.constant("[256 x i8]", _allowed(), 1, "chars")
        with code.loop("%n", [("i1", "true")]) as turn:
            byte = code.load("i8", code.ptr_add("%text", turn.index))
            listed = code.load("i1", code.ptr_add(allowed, code.convert("zext", "i8", byte, "i64")))
            code.store("i8", byte, code.ptr_add(copy, turn.index))
            turn.next = [code.op2("and", "i1", turn.values[0], listed)]
        ok = turn.values[0]
        end = code.ptr_add(copy, "%n")
        code.store("i8", "0", end)
        stop_at = code.alloca(8)
        value = code.call("double", "@strtod", [("ptr", copy), ("ptr", stop_at)])
        stop = code.load("ptr", stop_at)
        whole = code.op2("and", "i1", code.icmp("eq", stop, end, "ptr"), code.icmp("ne", "%n", "0"))
        code.call("void", "@free", [("ptr", copy)])
        good = code.op2("and", "i1", ok, whole)
        value = code.select(good, "double", value, ZERO)
        first = code.ins(f"insertvalue {result} poison, i1 {good}, 0")
        code.ret(code.ins(f"insertvalue {result} {first}, double {value}, 1"))
        code.finish()

    return module.helper("hyb.parse_float", make)


ZERO = "0x0000000000000000"


def _allowed() -> str:
    """Bytes of numbers, infinities and nan; not the x and p of C's hexadecimal."""
    chars = set(b"0123456789+-.eE" + b"infatyINFATY")
    return "[ " + ", ".join(f"i8 {int(b in chars)}" for b in range(256)) + " ]"


def _parse_float(e: FnEmitter, op: Op) -> Results:
    block, start, count = (e.one(a) for a in op.args)
    text = e.ptr_add(e.buffer_data(block), start)
    pair = e.call("{ i1, double }", parse(e.module), [("ptr", text), ("i64", count)])
    return (tuple(e.ins(f"extractvalue {{ i1, double }} {pair}, {i}") for i in range(2)),)


ROWS: dict[str, Callable[[FnEmitter, Op], Results]] = {
    "format_float": _format_float,
    "format_float32": _format_float32,
    "parse_float": _parse_float,
}
