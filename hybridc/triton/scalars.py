"""The Triton form of every scalar operator that GPU kernels compute (kernels/device.py says which they do not).

Values have the types of text.computed: f16 and bf16 are computed in f32 and rounded after each operator. What the
hardware only approximates (exp, division, square root) is asked of libdevice or in its rounded form.
"""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.base.types import BF16, BOOL, F16, F64, FLOATS, INT, INTS, U8, Prim
from hybridc.core.rounding import HIGHEST, LOWEST
from hybridc.triton.text import STORED, computed, number, rounded

LIBRARY = {
    "exp": "exp", "log": "log", "sin": "sin", "cos": "cos", "tan": "tan", "tanh": "tanh", "asin": "asin",
    "acos": "acos", "atan": "atan", "erf": "erf", "log1p": "log1p", "expm1": "expm1", "round": "rint", "pow": "pow",
    "atan2": "atan2",
}  # fmt: skip
INFIX = {
    "add": "+", "sub": "-", "mul": "*", "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
    "bit_and": "&", "bit_or": "|", "bit_xor": "^",
}  # fmt: skip
PRELUDE = {
    "sigmoid": '''\
@triton.jit
def sigmoid(x):
    """1 / (1 + exp(-x)), of exp(-|x|), which does not overflow."""
    e = libdevice.exp(-tl.abs(x))
    return tl.where(x >= 0, 1.0, e) / (1.0 + e)
''',
    "floor_divide": '''\
@triton.jit
def floor_divide(a, b):
    """Rounds down, as Python does."""
    q = a // b
    return q - ((a - q * b != 0) & ((a < 0) != (b < 0))).to(q.dtype)
''',
    "floor_mod": '''\
@triton.jit
def floor_mod(a, b):
    """Has the sign of b, as Python's."""
    r = a % b
    return r + tl.where((r != 0) & ((r < 0) != (b < 0)), b, r - r)
''',
}
"""Functions that a module holds if a kernel calls them."""
SUPPORTED = frozenset({
    *LIBRARY, *INFIX, "neg", "abs", "sqrt", "rsqrt", "floor", "sign", "sigmoid", "div", "minimum", "maximum", "select",
    "cast", "bitcast", "not", "bit_not", "shl", "shr", "lshr", "floordiv", "mod",
})  # fmt: skip


def scalar(fn: str, args: Sequence[str], types: Sequence[Prim], target: Prim) -> str:
    """The expression of a scalar operator on named values."""
    source = types[-1]
    if all(_literal(a) for a in args):
        # Of numbers alone Triton would make a number, which has no type.
        args = [f"tl.full((), {args[0]}, {computed(source)})", *args[1:]]
    text = _float(fn, args, source) if source in FLOATS else None
    if text is None:
        text = _any(fn, args, source, target)
    return text if target == BOOL or fn == "select" else rounded(target, text)


def _literal(text: str) -> bool:
    return text[:1].isdigit() or text.startswith(("-", "float("))


def _float(fn: str, args: Sequence[str], source: Prim) -> str | None:
    x = args[0]
    double = source == F64
    match fn:
        case "neg":
            return f"{x} * -1.0"
        case "div":
            return f"{x} / {args[1]}" if double else f"tl.div_rn({x}, {args[1]})"
        case "sqrt":
            return f"tl.sqrt({x})" if double else f"tl.sqrt_rn({x})"
        case "rsqrt":
            return f"1.0 / tl.sqrt({x})" if double else f"tl.rsqrt({x})"
        case "floor":
            return f"tl.floor({x})"
        case "sigmoid":
            return f"sigmoid({x})"
        case "minimum" | "maximum":
            return f"tl.{fn}({x}, {args[1]}, propagate_nan=tl.PropagateNan.ALL)"
    if fn in LIBRARY:
        return f"libdevice.{LIBRARY[fn]}({', '.join(args)})"
    return None


def _any(fn: str, args: Sequence[str], source: Prim, target: Prim) -> str:
    if fn in INFIX:
        return f"{args[0]} {INFIX[fn]} {args[1]}"
    x = args[0]
    match fn:
        case "select":
            return f"tl.where({', '.join(args)})"
        case "cast":
            return _cast(x, source, target)
        case "bitcast":
            return f"{x}.to({computed(target)}, bitcast=True)"
        case "not":
            return f"{x} == 0"
        case "bit_not":
            return f"{x} == 0" if source == BOOL else f"~{x}"
        case "neg":
            return f"0 - {x}"
        case "abs":
            return x if source == U8 else f"tl.abs({x})"
        case "sign":
            return f"({x} > 0).to({computed(target)}) - ({x} < 0).to({computed(target)})"
        case "minimum" | "maximum":
            return f"tl.{fn}({x}, {args[1]})"
        case "floordiv":
            return f"floor_divide({x}, {args[1]})" if source != U8 else f"{x} // {args[1]}"
        case "mod":
            return f"floor_mod({x}, {args[1]})" if source != U8 else f"{x} % {args[1]}"
        case "shl" | "shr" | "lshr":
            return _shift(fn, x, args[1], source)
    raise AssertionError(f"{fn} of {source}")


def _shift(fn: str, x: str, by: str, source: Prim) -> str:
    """By any number: as many as there are bits give 0, or the sign."""
    bits = {"i32": 32, "u8": 8}.get(source.name, 64)
    few = f"tl.minimum({by}, {bits - 1})"
    zero = number(0, source)
    if fn == "shl":
        return f"tl.where({by} < {bits}, {x} << {few}, {zero})"
    if fn == "shr" and source != U8:
        return f"{x} >> {few}"
    unsigned = f"tl.uint{bits}"
    return f"tl.where({by} < {bits}, ({x}.to({unsigned}) >> {few}.to({unsigned})).to({computed(source)}), {zero})"


def _cast(x: str, source: Prim, target: Prim) -> str:
    if target == source:
        return x
    if target == BOOL:
        return f"{x} != 0"
    if target in FLOATS:
        # Whole numbers go to half precision at once; rounding to f32 between would be a second rounding.
        if source in INTS and target == F16:
            return f"{x}.to(tl.float16).to(tl.float32)"
        return f"{x}.to({computed(target)})"
    if source not in FLOATS:
        return f"{x}.to({computed(target)})"
    low, high = number(LOWEST[target], target), number(HIGHEST[target], target)
    # The bounds are compared as floats: the highest rounds up to a power of two, which is out of range itself.
    top, bottom = float(2 ** (63 if target == INT else 8 if target == U8 else 31)), float(LOWEST[target])
    inside = f"({x} < {top!r}) & ({x} > {bottom!r})"
    value = f"tl.where({inside}, {x}, 0.0).to({computed(target)})"
    beyond = f"tl.where({x} >= {top!r}, {high}, tl.where({x} <= {bottom!r}, {low}, {number(0, target)}))"
    return f"tl.where({inside}, {value}, {beyond})"


__all__ = ["BF16", "PRELUDE", "STORED", "SUPPORTED", "scalar"]
