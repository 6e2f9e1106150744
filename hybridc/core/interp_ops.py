"""What each operator of core/ops.py computes: how the reference interpreter makes its function.

`MAKERS[name](op, machine)` is that function (see core/values.py). The hottest operators are written out by
core/interp_compile.py instead; tests/core holds both to each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from hybridc.core.interp_scalar import scalar_function
from hybridc.core.ir import BufferT, EnumT, Op, Prim, Program, StructT, TupleT, Type
from hybridc.core.rounding import wrap64
from hybridc.core.tensor_interp import TENSOR_MAKERS
from hybridc.core.types import parts
from hybridc.core.values import Buffer, EnumValue, InterpFault, Machine, Maker, Some, index_fault
from hybridc.core.walk import DERIVATIVES

MAX_BUFFER = 1 << 36
"""Elements of the greatest buffer; above it, there is no memory."""
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|infinity|nan)\Z", re.IGNORECASE)
MASK64 = (1 << 64) - 1
HASH_FACTOR = 0xD6E8FEB86659FD93
HASH_SEED = 0x243F6A8885A308D3
"""The interpreter's seed of hashes."""
SHORT = 15
"""Bytes of a text that two words hold, with their number."""


def str_value(text: str) -> tuple[Buffer, int, int]:
    """A str as Core has it."""
    data = text.encode("utf-8", "surrogatepass")
    return Buffer(list(data)), len(data), len(text)


def str_text(value: object) -> str:
    """A Core str as Python's."""
    assert isinstance(value, tuple) and isinstance(value[0], Buffer)
    return bytes(value[0].items()[: value[1]]).decode("utf-8", "surrogatepass")  # type: ignore[arg-type]


def _scalar(op: Op, machine: Machine) -> Callable[..., object]:
    source, target = op.args[0].type, op.outs[0].type
    assert isinstance(source, Prim) and isinstance(target, Prim)
    return scalar_function(op.op, source, target, bool(op.attr("checked", False)))


def place(i: int, n: int) -> int:
    """The place that index `i` means in a sequence of `n`."""
    if 0 <= i < n:
        return i
    if -n <= i < 0:
        return i + n
    raise index_fault(i, n)


# ---- aggregates
def _together(op: Op, machine: Machine) -> Callable[..., object]:
    return lambda *fields: fields


def _get(op: Op, machine: Machine) -> Callable[..., object]:
    index = op.attr("index")
    return lambda whole: whole[index]


def _destruct(op: Op, machine: Machine) -> Callable[..., object]:
    t = op.args[0].type
    assert isinstance(t, (TupleT, StructT))
    if len(parts(t, machine.program)) == 1:
        return lambda whole: whole[0]
    return lambda whole: whole


def _enum(op: Op, machine: Machine) -> Callable[..., object]:
    t = op.outs[0].type
    assert isinstance(t, EnumT)
    tag = [name for name, _ in machine.program.enums[t.name].cases].index(op.attr("case"))  # type: ignore[arg-type]
    return lambda *fields: EnumValue(tag, fields)


def _constant(make: Callable[[Op], object]) -> Maker:
    def maker(op: Op, machine: Machine) -> Callable[..., object]:
        value = make(op)
        return lambda: value

    return maker


def _constant_of(value: object) -> Callable[..., object]:
    return lambda: value


def unsupported(why: str) -> Maker:
    """For an operator that another one has replaced before a program runs."""

    def maker(op: Op, machine: Machine) -> Callable[..., object]:
        raise AssertionError(f"{op.op} is not run: {why}")

    return maker


def _function(f: Callable[..., object]) -> Maker:
    return lambda op, machine: f


# ---- buffers
def _zeros(machine: Machine, op: Op, count: int) -> list[object]:
    if count < 0:
        raise InterpFault("ValueError", "negative length")
    if count > MAX_BUFFER:
        raise InterpFault("MemoryError")
    try:
        return [machine.zero(op.outs[0].type.item)] * count  # type: ignore[union-attr]
    except MemoryError:
        raise InterpFault("MemoryError") from None


def _buffer_new(op: Op, machine: Machine) -> Callable[..., object]:
    return lambda n: Buffer(_zeros(machine, op, n))


def _constant_value(value: object, t: Type, program: Program) -> object:
    """Of a buffer's constant, as core/ops.py says."""
    if isinstance(value, str):
        return str_value(value)
    if not isinstance(value, tuple):
        return value
    if isinstance(t, BufferT):
        return Buffer([_constant_value(v, t.item, program) for v in value])
    return tuple(_constant_value(v, f, program) for v, f in zip(value, parts(t, program), strict=True))


def _buffer_take(op: Op, machine: Machine) -> Callable[..., object]:
    zero = machine.zero(op.outs[1].type)

    def take(b: Buffer, i: int) -> tuple[Buffer, object]:
        value = b[i]  # before it is written: an old version is slow to read
        return b.put(i, zero), value

    return take


def _buffer_resize(op: Op, machine: Machine) -> Callable[..., object]:
    def resize(b: Buffer, n: int) -> Buffer:
        kept = b.items()[: max(n, 0)]
        return Buffer(kept + _zeros(machine, op, n if n < 0 else n - len(kept)))

    return resize


def _buffer_move(op: Op, machine: Machine) -> Callable[..., object]:
    zero = machine.zero(op.outs[0].type.item)  # type: ignore[union-attr]

    def move(b: Buffer, dst: int, src: int, n: int) -> Buffer:
        items = b.items()
        assert n >= 0 and 0 <= src and 0 <= dst and max(src, dst) + n <= len(items), (dst, src, n, len(items))
        if n == 0 or src == dst:
            return b
        low, high = min(src, dst), max(src, dst) + n
        new = list(items[low:high])
        moved = items[src : src + n]
        new[src - low : src - low + n] = [zero] * n
        new[dst - low : dst - low + n] = moved
        return b.write(low, new)

    return move


def buffer_copy(dst: Buffer, at: int, src: Buffer, start: int, n: int) -> Buffer:
    items = src.items()
    assert n >= 0 and 0 <= start and start + n <= len(items), (start, n, len(items))
    assert 0 <= at and at + n <= len(dst), (at, n, len(dst))
    return dst.write(at, items[start : start + n]) if n else dst


def buffer_part(b: Buffer, start: int, n: int) -> Buffer:
    assert 0 <= start and 0 <= n and start + n <= len(b), (start, n, len(b))
    return Buffer(b.items()[start : start + n])


def _buffer_scan(op: Op, machine: Machine) -> Callable[..., object]:
    choose = min if op.attr("of") == "minimum" else max

    def scan(b: Buffer, at: int, xs: Buffer, n: int, before: int, step: int, anew: Buffer | None = None) -> Buffer:
        found: list[object] = []
        for k in range(n):
            x: int = xs[k]  # type: ignore[assignment]
            before = x if anew is not None and anew[k] != 0 else choose(x, before + step)
            found.append(before)
        return b.write(at, found) if n else b

    return scan


def sort_words(b: Buffer, n: int) -> Buffer:
    found = b.items()[:n]
    assert 0 <= n <= len(b), (n, len(b))
    words = np.array(found).view(np.int64)
    if found and isinstance(found[0], float):
        words ^= (words >> 63) & ((1 << 63) - 1)
    order = np.argsort(words, kind="stable") if found else ()
    return b.write(0, [found[i] for i in order]) if found else b


def buffer_compare(a: Buffer, b: Buffer, n: int) -> int:
    x, y = a.items(), b.items()
    assert 0 <= n <= min(len(x), len(y)), (n, len(x), len(y))
    return (x[:n] > y[:n]) - (x[:n] < y[:n])  # type: ignore[operator]


def buffer_match(b: Buffer, start: int, x: int) -> int:
    assert 0 <= start and start + 4 <= len(b), (start, len(b))
    data = b"".join(int(w).to_bytes(4, "little", signed=True) for w in b.items()[start : start + 4])  # type: ignore[call-overload]
    return sum(1 << i for i, y in enumerate(data) if x == y)


def text_key(b: Buffer, n: int, points: int, seed: int) -> tuple[int, int, int]:
    assert 0 <= n <= len(b), (n, len(b))
    data = bytes(b.items()[:n])  # type: ignore[arg-type]
    if n <= SHORT:
        both = int.from_bytes(data, "little")
        x, y = both & MASK64, both >> 64 | n << 56
        h = _folded((x ^ seed ^ HASH_FACTOR) & MASK64, (y ^ seed + HASH_FACTOR) & MASK64)
        return wrap64(h), wrap64(x), y
    h = (seed ^ n * HASH_FACTOR) & MASK64
    for i in [*range(0, n - 7, 8), n - 8]:
        h = _folded(h ^ int.from_bytes(data[i : i + 8], "little"), HASH_FACTOR)
    return wrap64(h), n, -1 - points


def kept_text(far: Buffer, x: int, y: int) -> tuple[Buffer, int, int]:
    if y < 0:
        return far, x, -1 - y
    n = y >> 56
    assert 0 <= n <= SHORT, n
    data = (x & MASK64 | y << 64).to_bytes(16, "little")[:n]
    return Buffer(list(data)), n, sum(byte & 0xC0 != 0x80 for byte in data)


def _folded(x: int, y: int) -> int:
    """Both halves of the product, one on the other."""
    product = x * y
    return (product ^ product >> 64) & MASK64


def buffer_find(hay: Buffer, start: int, n: int, needle: Buffer, m: int) -> int:
    assert 0 <= start and 0 <= n <= len(hay) and 0 <= m <= len(needle), (start, n, len(hay), m, len(needle))
    return bytes(hay.items()[:n]).find(bytes(needle.items()[:m]), start)  # type: ignore[arg-type]


def buffer_outside(b: Buffer, start: int, n: int, low: int, high: int) -> int:
    assert 0 <= start <= n <= len(b), (start, n, len(b))
    block = b.items()[start : min(start + 64, n)]
    inside = sum(1 << i for i, x in enumerate(block) if low <= x <= high)  # type: ignore[operator, misc]
    return ~inside if inside < 1 << 63 else ~(inside - (1 << 64))


def buffer_same(a: Buffer, b: Buffer, n: int) -> bool:
    return buffer_compare(a, b, n) == 0


# ---- text
def _text(text: str) -> tuple[Buffer, int]:
    return Buffer(list(text.encode())), len(text)


def format_float(x: float, kind: int, precision: int) -> tuple[Buffer, int]:
    return _text(repr(x) if kind == 0 else f"{x:.{precision}{chr(kind)}}")


def format_float32(x: float) -> tuple[Buffer, int]:
    # numpy finds the digits; the form is that of a Python float.
    return _text(repr(float(str(np.float32(x)))))


def parse_float(text: Buffer, start: int, n: int) -> Some | None:
    data = bytes(text.items()[start : start + n])  # type: ignore[arg-type]
    return Some(float(data)) if _NUMBER.match(data) else None


def _host(op: Op, machine: Machine) -> Callable[..., object]:
    name = op.attr("name")
    assert isinstance(name, str)
    return lambda *args: machine.host(name, args, op)


MAKERS: dict[str, Maker] = {
    **{
        name: _scalar
        for name in (
            "add sub mul div floordiv mod pow neg abs sign minimum maximum bit_and bit_or bit_xor bit_not shl shr lshr"
            " mulhi ctz eq ne lt le gt ge not cast bitcast exp log sqrt rsqrt sin cos tan tanh asin acos atan erf log1p"
            " expm1 sigmoid floor round atan2"
        ).split()
    },
    "place": _function(place),
    "select": _function(lambda c, a, b: a if c else b),
    "tuple": _together,
    "struct": _together,
    "get": _get,
    "destruct": _destruct,
    "enum": _enum,
    "tag": _function(lambda e: e.tag),
    "made": _function(lambda e: e is not None),
    "some": _function(Some),
    "none": _constant(lambda op: None),
    "is_some": _function(lambda x: x is not None),
    "unwrap": _function(lambda x: x.value),
    "zero": lambda op, machine: _constant_of(machine.zero(op.outs[0].type)),
    "stop_gradient": _function(lambda x: x),
    **dict.fromkeys(DERIVATIVES, unsupported("autodiff replaces it by what computes the derivative")),
    "str": _constant(lambda op: str_value(str(op.attr("text")))),
    "buffer_new": _buffer_new, "buffer_room": _buffer_new,
    "buffer_of": lambda op, machine: _constant_of(_constant_value(op.attr("items"), op.outs[0].type, machine.program)),
    "buffer_len": _function(len),
    "buffer_get": _function(lambda b, i: b[i]), "buffer_at": _function(lambda b, i: b[i]),
    "buffer_set": _function(lambda b, i, v: b.put(i, v)),
    "buffer_take": _buffer_take,
    "buffer_resize": _buffer_resize,
    "buffer_move": _buffer_move,
    "buffer_copy": _function(buffer_copy),
    "buffer_part": _function(buffer_part), "buffer_cut": _function(buffer_part),
    "buffer_prefetch": _function(lambda b, i: b),
    "sort_words": _function(sort_words),
    "packs": _function(lambda: True),
    "buffer_scan": _buffer_scan,
    "scans": _function(lambda: True),
    "buffer_compare": _function(buffer_compare),
    "buffer_match": _function(buffer_match),
    "text_key": _function(text_key),
    "kept_text": _function(kept_text), "kept_part": _function(kept_text),
    "hash_seed": _function(lambda: HASH_SEED),
    "buffer_find": _function(buffer_find),
    "buffer_outside": _function(buffer_outside),
    "buffer_same": _function(buffer_same),
    "format_float": _function(format_float),
    "format_float32": _function(format_float32),
    "parse_float": _function(parse_float),
    "host": _host,
    "retain": _function(lambda x: ()),
    "release": _function(lambda x: ()),
    **TENSOR_MAKERS,
}
