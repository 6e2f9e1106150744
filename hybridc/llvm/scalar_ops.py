"""Scalar operators to LLVM: one row each, by the operator's name in core/ops.py.

A row gets the emitter and a `Use`: operands, their types, the result's type, the attributes. Kernels use the same rows
for the elements of tensors (`emit_scalar`). f16 and bf16 are computed as float and rounded after every operator; floats
may be contracted to a fused multiply-add and are otherwise strict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hybridc.base.types import BF16, BOOL, F16, F32, F64, FLOATS, INT, U8, Prim
from hybridc.llvm.casts import cast, narrow, widen
from hybridc.llvm.code import Code, float_text
from hybridc.llvm.emitter import FnEmitter
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.module import Module


@dataclass(frozen=True)
class Use:
    args: tuple[str, ...]
    types: tuple[Prim, ...]
    out: Prim
    attrs: Mapping[str, object]

    @property
    def type(self) -> Prim:
        """The type of the first operand."""
        return self.types[0]

    @property
    def llvm(self) -> str:
        return SCALARS[self.types[0].name][0]

    @property
    def is_float(self) -> bool:
        return self.types[0] in FLOATS

    @property
    def signed(self) -> bool:
        return self.types[0] not in (U8, BOOL)


Row = Callable[[FnEmitter, Use], str]


def emit_scalar(
    e: FnEmitter,
    name: str,
    args: tuple[str, ...],
    types: tuple[Prim, ...],
    out: Prim,
    attrs: Mapping[str, object] | None = None,
) -> str:
    """The operand of a scalar operator's result."""
    use = Use(args, types, out, attrs or {})
    if types and types[0] in (F16, BF16) and name not in AS_THEY_ARE:
        wide = Use(
            tuple(widen(e, a, t) if t in (F16, BF16) else a for a, t in zip(args, types, strict=True)),
            tuple(F32 if t in (F16, BF16) else t for t in types),
            F32 if out in (F16, BF16) else out,
            use.attrs,
        )
        result = SCALAR_ROWS[name](e, wide)
        return narrow(e, result, out) if out in (F16, BF16) else result
    return SCALAR_ROWS[name](e, use)


AS_THEY_ARE = {"cast", "bitcast", "select"}
"""Operators that take f16 and bf16 as they stand."""


# ---- arithmetic
def _binary(integer: str, floating: str) -> Row:
    def row(e: FnEmitter, u: Use) -> str:
        op = f"{floating} contract" if u.is_float else integer
        return e.op2(op, u.llvm, u.args[0], u.args[1])

    return row


def _div(e: FnEmitter, u: Use) -> str:
    return e.op2("fdiv", u.llvm, *u.args)


def _floordiv(e: FnEmitter, u: Use) -> str:
    return _float_divmod(e, u)[0] if u.is_float else _int_divmod(e, u, "integer division or modulo by zero")[0]


def _mod(e: FnEmitter, u: Use) -> str:
    return _float_divmod(e, u)[1] if u.is_float else _int_divmod(e, u, "integer division or modulo by zero")[1]


def _int_divmod(e: FnEmitter, u: Use, message: str) -> tuple[str, str]:
    """Floor division, as in Python; the most negative number divided by -1 wraps."""
    a, b = u.args
    t = u.llvm
    if not _nonzero_constant(b) and not _positive(e, b):
        e.check(e.icmp("ne", b, "0", t), "ZeroDivisionError", message)
    if not u.signed:
        return e.op2("udiv", t, a, b), e.op2("urem", t, a, b)
    if not b.startswith(("%", "-")) and int(b) > 0 and int(b) & (int(b) - 1) == 0:
        # By a power of two, rounding down is a shift and the rest the low bits.
        return e.op2("ashr", t, a, str(int(b).bit_length() - 1)), e.op2("and", t, a, str(int(b) - 1))
    positive = _positive(e, b)
    if positive and a in e.natural:
        q, r = e.op2("udiv", t, a, b), e.op2("urem", t, a, b)
        e.natural |= {q, r}
        return q, r
    if b.isdigit() and b != "0":
        # Below zero, what is left to the complement is rounded up, so the complement of that is rounded down: of a
        # constant shorter than to round towards zero, as the processor does, and then to look whether that was right.
        sign = e.op2("ashr", t, a, str(int(t[1:]) - 1))
        q = e.op2("xor", t, e.op2("udiv", t, e.op2("xor", t, a, sign), b), sign)
        return q, e.op2("sub", t, a, e.op2("mul", t, q, b))
    if positive or _nonzero_constant(b) and b != "-1":
        divisor, minus = b, "false"
    else:
        minus = e.icmp("eq", b, "-1", t)
        divisor = e.select(minus, t, "1", b)
    q, r = e.op2("sdiv", t, a, divisor), e.op2("srem", t, a, divisor)
    if positive:
        down = e.icmp("slt", r, "0", t)
    else:
        differs = e.icmp("slt", e.op2("xor", t, r, divisor), "0", t)
        down = e.op2("and", "i1", e.icmp("ne", r, "0", t), differs)
    q = e.op2("add", t, q, e.convert("sext", "i1", down, t))
    r = e.op2("add", t, r, e.select(down, t, divisor, "0"))
    if minus != "false":
        q = e.select(minus, t, e.op2("sub", t, "0", a), q)
        r = e.select(minus, t, "0", r)
    return q, r


def _positive(e: FnEmitter, operand: str) -> bool:
    return operand in e.positive or operand.isdigit() and operand != "0"


def _nonzero_constant(operand: str) -> bool:
    return not operand.startswith("%") and operand != "0"


def _float_divmod(e: FnEmitter, u: Use) -> tuple[str, str]:
    """Python's float // and %; by zero they give what the division gives, and nan."""
    a, b = u.args
    t = u.llvm
    zero, one, half = (float_text(x, t) for x in (0.0, 1.0, 0.5))
    # Not `fmod`: where its errno cannot matter, LLVM 22 makes it a `frem nnan`, whose nan is then any number.
    r = e.op2("frem", t, a, b)
    exact = e.fcmp("oeq", t, r, zero)
    differs = e.op2("xor", "i1", e.fcmp("olt", t, r, zero), e.fcmp("olt", t, b, zero))
    shift = e.op2("and", "i1", e.fcmp("une", t, r, zero), differs)
    mod = e.select(shift, t, e.op2("fadd", t, r, b), r)
    mod = e.select(exact, t, _math(e, t, "copysign", zero, b), mod)
    quotient = e.op2("fdiv", t, a, b)
    whole = e.op2("fdiv", t, e.op2("fsub", t, a, r), b)  # of the rest before its shift, which may be infinite
    whole = e.select(shift, t, e.op2("fsub", t, whole, one), whole)
    floor = _math(e, t, "floor", whole)
    up = e.fcmp("ogt", t, e.op2("fsub", t, whole, floor), half)
    floor = e.select(up, t, e.op2("fadd", t, floor, one), floor)
    # A quotient of zero keeps the sign of the true one.
    floor = e.select(e.fcmp("oeq", t, whole, zero), t, _math(e, t, "copysign", zero, quotient), floor)
    by_zero = e.fcmp("oeq", t, b, zero)
    return e.select(by_zero, t, quotient, floor), mod


def _neg(e: FnEmitter, u: Use) -> str:
    return e.fneg(u.llvm, u.args[0]) if u.is_float else e.op2("sub", u.llvm, "0", u.args[0])


def _abs(e: FnEmitter, u: Use) -> str:
    if u.is_float:
        return _math(e, u.llvm, "fabs", *u.args)
    if not u.signed:
        return u.args[0]
    return e.call(u.llvm, f"@llvm.abs.{u.llvm}", [(u.llvm, u.args[0]), ("i1", "false")])


def _sign(e: FnEmitter, u: Use) -> str:
    a, t = u.args[0], u.llvm
    if u.is_float:
        zero = float_text(0.0, t)
        up = e.select(e.fcmp("ogt", t, a, zero), t, float_text(1.0, t), zero)
        return e.select(e.fcmp("olt", t, a, zero), t, float_text(-1.0, t), up)
    positive = e.convert("zext", "i1", e.icmp("sgt" if u.signed else "ne", a, "0", t), t)
    if not u.signed:
        return positive
    return e.op2("sub", t, positive, e.convert("zext", "i1", e.icmp("slt", a, "0", t), t))


def _extreme(word: str) -> Row:
    """minimum and maximum; nan wins."""

    def row(e: FnEmitter, u: Use) -> str:
        t = u.llvm
        name = f"{word}imum" if u.is_float else ("s" if u.signed else "u") + word
        suffix = {"double": "f64", "float": "f32"}.get(t, t)
        return e.call(t, f"@llvm.{name}.{suffix}", [(t, u.args[0]), (t, u.args[1])])

    return row


def _pow(e: FnEmitter, u: Use) -> str:
    t = u.llvm
    if u.is_float:
        return e.call(t, "@pow" if t == "double" else "@powf", [(t, u.args[0]), (t, u.args[1])])
    base, exponent = u.args
    exponent_llvm = SCALARS[u.types[1].name][0]
    if u.types[1] != U8 and exponent.startswith(("%", "-")):
        e.check(e.icmp("sge", exponent, "0", exponent_llvm), "ValueError", "negative power of an integer")
    wide = _as_i64(e, u.types[0], base)
    result = e.call("i64", int_power(e.module), [("i64", wide), ("i64", _as_i64(e, u.types[1], exponent))])
    return result if t == "i64" else e.convert("trunc", "i64", result, t)


def _as_i64(e: Code, t: Prim, operand: str) -> str:
    if t == INT:
        return operand
    return e.convert("zext" if t in (U8, BOOL) else "sext", SCALARS[t.name][0], operand, "i64")


def int_power(module: Module) -> str:
    """i64 (base, exponent >= 0), wrapping: by squaring."""

    def make(name: str) -> None:
        code = Code(module, name, [("i64", "%base"), ("i64", "%exponent")], "i64")
        head, work, done = code.label("head"), code.label("work"), code.label("done")
        code.jump(head)
        code.start(head)
        result, r_slot = code.phi_slot("i64")
        square, s_slot = code.phi_slot("i64")
        left, l_slot = code.phi_slot("i64")
        code.branch(code.icmp("eq", left, "0"), done, work)
        code.start(work)
        odd = code.convert("trunc", "i64", left, "i1")
        next_result = code.select(odd, "i64", code.mul(result, square), result)
        code.fill_phi(r_slot, [("1", "entry"), (next_result, work)])
        code.fill_phi(s_slot, [("%base", "entry"), (code.mul(square, square), work)])
        code.fill_phi(l_slot, [("%exponent", "entry"), (code.op2("lshr", "i64", left, "1"), work)])
        code.jump(head)
        code.start(done)
        code.ret(result)
        code.finish()

    return module.helper("hyb.int_power", make)


def _math(e: Code, t: str, name: str, *args: str) -> str:
    """An intrinsic that needs no library."""
    suffix = "f64" if t == "double" else "f32"
    return e.call(t, f"@llvm.{name}.{suffix}", [(t, a) for a in args])


# ---- bits
def _bits(op: str) -> Row:
    return lambda e, u: e.op2(op, u.llvm, *u.args)


def _bit_not(e: FnEmitter, u: Use) -> str:
    return e.op2("xor", u.llvm, u.args[0], "true" if u.llvm == "i1" else "-1")


def _shift(op: str) -> Row:
    """Amounts of the width and more give 0, or -1 for `shr` of a negative number; negative ones are ValueErrors."""

    def row(e: FnEmitter, u: Use) -> str:
        a, by = u.args
        t, width = u.llvm, int(u.llvm[1:])
        amount_llvm = SCALARS[u.types[1].name][0]
        if u.types[1] != U8 and by.startswith(("%", "-")):
            e.check(e.icmp("sge", by, "0", amount_llvm), "ValueError", "negative shift count")
        if by.isdigit():
            signed = op == "ashr" and u.signed
            known = min(int(by), width - 1) if signed else int(by)
            how = "lshr" if op == "ashr" and not signed else op
            return e.op2(how, t, a, str(known)) if known < width else e.op2("and", t, a, "0")
        amount = _as_i64(e, u.types[1], by)
        inside = e.icmp("ult", amount, str(width))
        if op == "ashr" and u.signed:
            amount = e.select(inside, "i64", amount, str(width - 1))
        else:
            amount = e.select(inside, "i64", amount, "0")
        small = amount if t == "i64" else e.convert("trunc", "i64", amount, t)
        shifted = e.op2("lshr" if op == "ashr" and not u.signed else op, t, a, small)
        return shifted if op == "ashr" and u.signed else e.select(inside, t, shifted, "0")

    return row


def _mulhi(e: FnEmitter, u: Use) -> str:
    wide = [e.convert("zext", "i64", a, "i128") for a in u.args]
    high = e.op2("lshr", "i128", e.op2("mul", "i128", *wide), "64")
    return e.convert("trunc", "i128", high, "i64")


def _ctz(e: FnEmitter, u: Use) -> str:
    return e.call("i64", "@llvm.cttz.i64", [("i64", u.args[0]), ("i1", "false")])


# ---- comparison and choice
def _compare(word: str) -> Row:
    def row(e: FnEmitter, u: Use) -> str:
        if u.is_float:
            return e.fcmp(("une" if word == "ne" else "o" + word), u.llvm, *u.args)
        how = word if word in ("eq", "ne") else ("s" if u.signed else "u") + word
        return e.icmp(how, u.args[0], u.args[1], u.llvm)

    return row


def _not(e: FnEmitter, u: Use) -> str:
    return e.op2("xor", "i1", u.args[0], "true")


def _select(e: FnEmitter, u: Use) -> str:
    return e.select(u.args[0], SCALARS[u.types[1].name][0], u.args[1], u.args[2])


def _bitcast(e: FnEmitter, u: Use) -> str:
    return e.convert("bitcast", u.llvm, u.args[0], SCALARS[u.out.name][0])


def _cast(e: FnEmitter, u: Use) -> str:
    return cast(e, u.args[0], u.type, u.out, bool(u.attrs.get("checked", False)))


# ---- floats
def _intrinsic(name: str) -> Row:
    return lambda e, u: _math(e, u.llvm, name, *u.args)


def _libm(name: str) -> Row:
    def row(e: FnEmitter, u: Use) -> str:
        return e.call(u.llvm, f"@{name}" if u.type == F64 else f"@{name}f", [(u.llvm, a) for a in u.args])

    return row


def _rsqrt(e: FnEmitter, u: Use) -> str:
    return e.op2("fdiv", u.llvm, float_text(1.0, u.llvm), _math(e, u.llvm, "sqrt", u.args[0]))


def _sigmoid(e: FnEmitter, u: Use) -> str:
    """1 / (1 + exp(-x))"""
    one = float_text(1.0, u.llvm)
    minus = e.fneg(u.llvm, u.args[0])
    grown = e.call(u.llvm, "@exp" if u.type == F64 else "@expf", [(u.llvm, minus)])
    return e.op2("fdiv", u.llvm, one, e.op2("fadd", u.llvm, one, grown))


SCALAR_ROWS: dict[str, Row] = {
    "add": _binary("add", "fadd"),
    "sub": _binary("sub", "fsub"),
    "mul": _binary("mul", "fmul"),
    "div": _div,
    "floordiv": _floordiv,
    "mod": _mod,
    "pow": _pow,
    "neg": _neg,
    "abs": _abs,
    "sign": _sign,
    "minimum": _extreme("min"),
    "maximum": _extreme("max"),
    "bit_and": _bits("and"),
    "bit_or": _bits("or"),
    "bit_xor": _bits("xor"),
    "bit_not": _bit_not,
    "shl": _shift("shl"),
    "shr": _shift("ashr"),
    "lshr": _shift("lshr"),
    "mulhi": _mulhi,
    "ctz": _ctz,
    "eq": _compare("eq"),
    "ne": _compare("ne"),
    "lt": _compare("lt"),
    "le": _compare("le"),
    "gt": _compare("gt"),
    "ge": _compare("ge"),
    "not": _not,
    "select": _select,
    "cast": _cast,
    "bitcast": _bitcast,
    "floor": _intrinsic("floor"),
    "round": _intrinsic("roundeven"),
    "sqrt": _intrinsic("sqrt"),
    "rsqrt": _rsqrt,
    "sigmoid": _sigmoid,
    **{
        name: _libm(name)
        for name in (
            "exp",
            "log",
            "sin",
            "cos",
            "tan",
            "tanh",
            "erf",
            "log1p",
            "expm1",
            "asin",
            "acos",
            "atan",
            "atan2",
        )
    },
}
