"""Conversions between scalar types."""

from __future__ import annotations

from hybridc.base.types import BF16, BOOL, F16, F32, F64, FLOATS, INT, U8, Prim
from hybridc.llvm.code import Code, float_text
from hybridc.llvm.emitter import FnEmitter
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.module import Module

WIDTH = {"int": 64, "i32": 32, "u8": 8, "bool": 1}


def widen(e: Code, value: str, t: Prim) -> str:
    """f16 or bf16 to float, exactly."""
    if t == F16:
        return e.convert("fpext", "half", value, "float")
    bits = e.convert("zext", "i16", value, "i32")
    return e.convert("bitcast", "i32", e.op2("shl", "i32", bits, "16"), "float")


def narrow(e: Code, value: str, t: Prim) -> str:
    """float to f16 or bf16, nearest, ties to even. bf16 by integer arithmetic, which vectorises and needs no library;
    its values are i16 everywhere, since LLVM keeps its own bfloat as a float between blocks and calls a library to go
    back."""
    if t == F16:
        return e.convert("fptrunc", "float", value, "half")
    bits = e.convert("bitcast", "float", value, "i32")
    odd = e.op2("and", "i32", e.op2("lshr", "i32", bits, "16"), "1")
    rounded = e.op2("add", "i32", bits, e.op2("add", "i32", odd, "32767"))
    is_nan = e.fcmp("uno", "float", value, value)
    chosen = e.select(is_nan, "i32", "2143289344", rounded)  # 0x7fc00000
    return e.convert("trunc", "i32", e.op2("lshr", "i32", chosen, "16"), "i16")


def double_to_float_odd(module: Module) -> str:
    """float (double), rounded to odd, so that rounding the result once more to f16 or bf16 is right."""

    def make(name: str) -> None:
        code = Code(module, name, [("double", "%x")], "float")
        near = code.convert("fptrunc", "double", "%x", "float")
        back = code.convert("fpext", "float", near, "double")
        bits = code.convert("bitcast", "float", near, "i32")
        size_near = code.call("double", "@llvm.fabs.f64", [("double", back)])
        size = code.call("double", "@llvm.fabs.f64", [("double", "%x")])
        over = code.fcmp("ogt", "double", size_near, size)
        toward_zero = code.op2("sub", "i32", bits, code.convert("zext", "i1", over, "i32"))
        inexact = code.fcmp("one", "double", back, "%x")
        odd = code.op2("or", "i32", toward_zero, "1")
        code.ret(code.convert("bitcast", "i32", code.select(inexact, "i32", odd, bits), "float"))
        code.finish()

    return module.helper("hyb.to_float_odd", make)


def cast(e: FnEmitter, value: str, source: Prim, target: Prim, checked: bool) -> str:
    """Python's and torch's conversions: floats to ints truncate. What does not fit is a ValueError if `checked`, else
    ints wrap and floats saturate (nan gives 0)."""
    if source == target:
        return value
    if target in FLOATS:
        return _to_float(e, value, source, target)
    if source in FLOATS:
        return _float_to_int(e, value, source, target, checked)
    return _int_to_int(e, value, source, target, checked)


def _to_float(e: Code, value: str, source: Prim, target: Prim) -> str:
    if source not in FLOATS:
        how = "uitofp" if source in (U8, BOOL) else "sitofp"
        if target in (F16, BF16):
            # Through a double: exact for everything that a 16-bit float can tell apart, once rounded to odd.
            wide = e.convert(how, SCALARS[source.name][0], value, "double")
            return _to_float(e, wide, F64, target)
        return e.convert(how, SCALARS[source.name][0], value, SCALARS[target.name][0])
    if source in (F16, BF16):
        single = widen(e, value, source)
        return single if target == F32 else _to_float(e, single, F32, target)
    if target == F64:
        return e.convert("fpext", "float", value, "double")
    if target == F32:
        return e.convert("fptrunc", "double", value, "float")
    if source == F64:
        value = e.call("float", double_to_float_odd(e.module), [("double", value)])
    return narrow(e, value, target)


def _float_to_int(e: FnEmitter, value: str, source: Prim, target: Prim, checked: bool) -> str:
    if source in (F16, BF16):
        value, source = widen(e, value, source), F32
    llvm = SCALARS[source.name][0]
    if target == BOOL:
        return e.fcmp("une", llvm, value, float_text(0.0, llvm))
    goal, bits = SCALARS[target.name][0], WIDTH[target.name]
    if checked:
        whole = e.call(llvm, f"@llvm.trunc.{'f64' if llvm == 'double' else 'f32'}", [(llvm, value)])
        low = 0.0 if target == U8 else -(2.0 ** (bits - 1))
        high = 256.0 if target == U8 else 2.0 ** (bits - 1)
        above = e.fcmp("oge", llvm, whole, float_text(low, llvm))
        below = e.fcmp("olt", llvm, whole, float_text(high, llvm))
        e.check(e.op2("and", "i1", above, below), "ValueError", cast_message(source, target))
        return e.convert("fptoui" if target == U8 else "fptosi", llvm, whole, goal)
    suffix = "f64" if llvm == "double" else "f32"
    name = "fptoui" if target == U8 else "fptosi"
    return e.call(goal, f"@llvm.{name}.sat.{goal}.{suffix}", [(llvm, value)])


def _int_to_int(e: FnEmitter, value: str, source: Prim, target: Prim, checked: bool) -> str:
    llvm, goal = SCALARS[source.name][0], SCALARS[target.name][0]
    if target == BOOL:
        return e.icmp("ne", value, "0", llvm)
    if WIDTH[source.name] < WIDTH[target.name]:
        return e.convert("zext" if source in (U8, BOOL) else "sext", llvm, value, goal)
    if checked:
        bits = WIDTH[target.name]
        if target == U8:
            fits = e.icmp("ult", value, "256", llvm)
        else:
            fits = e.icmp("ult", e.op2("add", llvm, value, str(1 << (bits - 1))), str(1 << bits), llvm)
        e.check(fits, "ValueError", cast_message(source, target))
    return e.convert("trunc", llvm, value, goal)


def cast_message(source: Prim, target: Prim) -> str:
    return f"value out of range for {target}"


__all__ = ["INT", "cast", "cast_message", "double_to_float_odd", "narrow", "widen"]
