"""The operators of Core but for tensors: what each takes and gives, whether it can fault, what it does with its
arguments' counts. Their meaning is in core/interp_ops.py; tensor operators are in core/tensor_ops.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hybridc.base.types import FLOATS, INTS, NUMBERS
from hybridc.core.ir import (
    BOOL,
    F32,
    F64,
    I32,
    INT,
    STR,
    U8,
    BufferT,
    EnumT,
    Op,
    OptionT,
    Prim,
    Program,
    StructT,
    TensorT,
    TupleT,
    Type,
)
from hybridc.core.optable import OpRow, Rule
from hybridc.core.tensor_faults import cast_faults, int_faults
from hybridc.core.tensor_ops import TENSOR_ROWS
from hybridc.core.types import elem, is_counted, parts, rank, same, show_type

Types = tuple[Type, ...]
BYTES = BufferT(U8)


def _show(types: Types) -> str:
    return "(" + ", ".join(map(show_type, types)) + ")"


def _mismatch(args: Types, outs: Types, wanted: Types, given: Types) -> str | None:
    if len(args) != len(wanted) or not all(map(same, args, wanted)):
        return f"takes {_show(wanted)}, not {_show(args)}"
    if len(outs) != len(given) or not all(map(same, outs, given)):
        return f"gives {_show(given)}, not {_show(outs)}"
    return None


def _signature(wanted: Types, given: Types) -> Rule:
    return lambda args, attrs, outs, program: _mismatch(args, outs, wanted, given)


def _alike(count: int, allowed: frozenset[Prim], result: Prim | None = None) -> Rule:
    """`count` scalars of one type among `allowed`; the result is of that type, or `result`."""

    def rule(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
        if not args or args[0] not in allowed:
            return f"is not for {_show(args)}"
        return _mismatch(args, outs, (args[0],) * count, (result or args[0],))  # type: ignore[arg-type]

    return rule


def _select(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
    if len(args) == 3 and is_counted(args[1], program):
        return f"is not for {show_type(args[1])}, which holds counted memory"
    return _mismatch(args, outs, (BOOL, *args[1:2] * 2), args[1:2])


def _cast(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
    if len(args) != 1 or len(outs) != 1 or not isinstance(args[0], Prim) or not isinstance(outs[0], Prim):
        return f"is of one scalar to another, not {_show(args)} to {_show(outs)}"
    return None


def _bitcast(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
    pairs = {(F64, INT), (INT, F64), (F32, I32), (I32, F32)}
    if len(args) != 1 or len(outs) != 1 or (args[0], outs[0]) not in pairs:
        return f"is not of {_show(args)} to {_show(outs)}"
    return None


# ---- aggregates ------------------------------------------------------------------------------------------------------
def _tuple(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
    return _mismatch(args, outs, args, (TupleT(args),))


def _struct(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
    if len(outs) != 1 or not isinstance(outs[0], StructT):
        return f"gives one struct, not {_show(outs)}"
    return _mismatch(args, outs, parts(outs[0], program), outs)


def _get(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
    if len(args) != 1 or not isinstance(args[0], (TupleT, StructT)):
        return f"takes one tuple or struct, not {_show(args)}"
    fields, index = parts(args[0], program), attrs.get("index")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(fields):
        return f"has index {index} into {show_type(args[0])} of {len(fields)} fields"
    return _mismatch(args, outs, args, (fields[index],))


def _destruct(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
    if len(args) != 1 or not isinstance(args[0], (TupleT, StructT)):
        return f"takes one tuple or struct, not {_show(args)}"
    return _mismatch(args, outs, args, parts(args[0], program))


def _enum(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
    if len(outs) != 1 or not isinstance(outs[0], EnumT):
        return f"gives one enum, not {_show(outs)}"
    cases = dict(program.enums[outs[0].name].cases)
    if attrs.get("case") not in cases:
        return f"has case {attrs.get('case')!r}, which {show_type(outs[0])} does not"
    return _mismatch(args, outs, tuple(t for _, t in cases[attrs["case"]]), outs)  # type: ignore[index]


def _of_enum(result: Prim) -> Rule:
    def rule(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
        if len(args) != 1 or not isinstance(args[0], EnumT):
            return f"takes one enum, not {_show(args)}"
        return _mismatch(args, outs, args, (result,))

    return rule


def _some(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
    return _mismatch(args, outs, args[:1], tuple(OptionT(a) for a in args[:1]))


def _none(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
    if args or len(outs) != 1 or not isinstance(outs[0], OptionT):
        return f"gives one option of nothing, not {_show(outs)} of {_show(args)}"
    return None


def _of_option(result: Callable[[OptionT], Type]) -> Rule:
    def rule(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
        if len(args) != 1 or not isinstance(args[0], OptionT):
            return f"takes one option, not {_show(args)}"
        return _mismatch(args, outs, args, (result(args[0]),))

    return rule


def _str(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
    if not isinstance(attrs.get("text"), str):
        return "has no text"
    return _mismatch(args, outs, (), (STR,))


# ---- buffers ---------------------------------------------------------------------------------------------------------
def _on_buffer(wanted: Callable[[BufferT], Types], given: Callable[[BufferT], Types]) -> Rule:
    """A buffer first, then what `wanted` says of it; the results are what `given` says."""

    def rule(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
        if not args or not isinstance(args[0], BufferT):
            return f"takes a buffer first, not {_show(args)}"
        return _mismatch(args, outs, (args[0], *wanted(args[0])), given(args[0]))

    return rule


def _sort_words(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
    if not args or args[0] not in (BufferT(INT), BufferT(F64)):
        return f"is not for {_show(args)}"
    return _mismatch(args, outs, (args[0], INT), args[:1])


def _buffer_scan(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
    if attrs.get("of") not in ("minimum", "maximum"):
        return "is of minima or of maxima"
    ints = BufferT(INT)
    return _mismatch(args, outs, (ints, INT, ints, INT, INT, INT, ints)[: max(len(args), 6)], (ints,))


def _buffer_new(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
    if len(outs) != 1 or not isinstance(outs[0], BufferT):
        return f"gives one buffer, not {_show(outs)}"
    return _mismatch(args, outs, (INT,), outs)


def _buffer_of(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
    if len(outs) != 1 or not isinstance(outs[0], BufferT) or not _is_constant(attrs.get("items"), outs[0], program):
        return f"has no constants of which {_show(outs)} could be made"
    return _mismatch(args, outs, (), outs)


def _is_constant(value: object, t: Type, program: Program) -> bool:
    """Texts are texts, buffers, tuples and structs the tuples of what they hold."""
    if isinstance(t, Prim):
        return isinstance(value, int | float)
    if t == STR:
        return isinstance(value, str)
    if not isinstance(value, tuple):
        return False
    if isinstance(t, BufferT):
        return all(_is_constant(v, t.item, program) for v in value)
    fields = parts(t, program) if isinstance(t, TupleT | StructT) else ()
    same_length = len(fields) == len(value) > 0
    return same_length and all(_is_constant(v, f, program) for v, f in zip(value, fields, strict=True))


def _anything(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
    return None if isinstance(attrs.get("name"), str) else "has no name"


def _retain(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
    return _mismatch(args, outs, args[:1], ())


def _release(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
    return _mismatch(args, outs, args[:1], ())


def _zero(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
    return None if not args and len(outs) == 1 else f"gives one value of nothing, not {_show(outs)} of {_show(args)}"


def _same(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
    return _mismatch(args, outs, args[:1], args[:1])


def _gradient(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
    fn = program.fns.get(str(attrs.get("fn")))
    if fn is None:
        return f"there is no function {attrs.get('fn')}"
    wrong = _mismatch(args, outs[: len(fn.results)], tuple(p.type for p in fn.params), fn.results)
    return wrong or _by(args, attrs, outs[len(fn.results):], program)


def _by(args: Types, attrs: Mapping[str, object], derivatives: Types, program: Program) -> str | None:
    """A derivative for each argument in `wrt`."""
    wrt = attrs.get("wrt")
    if not isinstance(wrt, tuple) or not all(isinstance(i, int) and 0 <= i < len(args) for i in wrt):
        return f"has wrt {wrt} for {len(args)} arguments"
    if len(derivatives) != len(wrt):
        return f"has {len(derivatives)} derivatives for wrt {wrt}"
    for i, d in zip(wrt, derivatives, strict=True):
        # Of a model: a vector like its parameters, which are the first field.
        vector = isinstance(args[i], StructT) and isinstance(d, TensorT) and same(d, parts(args[i], program)[0])
        if not same(d, args[i]) and not vector:
            return f"has a derivative of type {show_type(d)} for {show_type(args[i])}"
    return None


def _pushforward(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
    fn = program.fns.get(str(attrs.get("fn")))
    if fn is None:
        return f"there is no function {attrs.get('fn')}"
    own, directions = args[: len(fn.params)], args[len(fn.params):]
    wrong = _mismatch(own, outs, tuple(p.type for p in fn.params), (*fn.results, *fn.results[:1]))
    return wrong or _by(own, attrs, directions, program)


def _jacobian(args: Types, attrs: Mapping[str, object], outs: Types, program: Program) -> str | None:
    fn = program.fns.get(str(attrs.get("fn")))
    if fn is None:
        return f"there is no function {attrs.get('fn')}"
    wrt = attrs.get("wrt")
    if len(args) != len(fn.params) or not all(map(same, args, (p.type for p in fn.params))):
        return f"takes {_show(tuple(p.type for p in fn.params))}, not {_show(args)}"
    if not isinstance(wrt, tuple) or not all(isinstance(i, int) and 0 <= i < len(args) for i in wrt):
        return f"has wrt {wrt} for {len(args)} arguments"
    if len(outs) != len(wrt):
        return f"has {len(outs)} Jacobians for wrt {wrt}"
    for i, d in zip(wrt, outs, strict=True):
        by = parts(args[i], program)[0] if isinstance(args[i], StructT) else args[i]
        if not isinstance(by, (Prim, TensorT)) or rank(d) != rank(fn.results[0]) + rank(by) or elem(d) != elem(by):
            return f"has a Jacobian of type {show_type(d)} for {show_type(args[i])}"
    return None


# ---- when they fault -------------------------------------------------------------------------------------------------
def _int_faults(op: Op) -> bool:
    return int_faults(op.op, op.args[1])


def _cast_faults(op: Op) -> bool:
    return bool(op.attr("checked", False)) and cast_faults(op.args[0].type, op.outs[0].type)  # type: ignore[arg-type]


INTS_AND_BOOL = INTS | {BOOL}
SCALARS = NUMBERS | {BOOL}


def _each(names: str, rule: Rule, doc: str) -> list[OpRow]:
    return [OpRow(name, rule, doc=doc) for name in names.split()]


_ROWS: list[OpRow] = [
    *_each("add sub mul", _alike(2, NUMBERS), "integers wrap"),
    OpRow("div", _alike(2, FLOATS), doc="IEEE division"),
    OpRow("floordiv", _alike(2, NUMBERS), faults=True, fault_if=_int_faults,
          doc="towards minus infinity, as Python; an integer by 0: ZeroDivisionError; the least integer by -1 wraps;"
          " a float by 0 is IEEE"),
    OpRow("mod", _alike(2, NUMBERS), faults=True, fault_if=_int_faults,
          doc="sign of the divisor, as Python; an integer by 0: ZeroDivisionError; a float by 0 is nan"),
    OpRow("pow", _alike(2, NUMBERS), faults=True, fault_if=_int_faults,
          doc="integers wrap; a negative exponent: ValueError"),
    *_each("neg abs", _alike(1, NUMBERS), "integers wrap"),
    OpRow("sign", _alike(1, NUMBERS), doc="-1, 0 or 1; of nan 0, of -0.0 0.0"),
    *_each("minimum maximum", _alike(2, NUMBERS), "nan wins"),
    *_each("bit_and bit_or bit_xor", _alike(2, INTS_AND_BOOL), "bit by bit"),
    OpRow("bit_not", _alike(1, INTS_AND_BOOL), doc="of a bool: not"),
    OpRow("shl", _alike(2, INTS), faults=True, fault_if=_int_faults,
          doc="0 from the width on; a negative amount: ValueError"),
    OpRow("shr", _alike(2, INTS), faults=True, fault_if=_int_faults,
          doc="arithmetic (u8: logical); an amount from the width on gives 0 or -1; a negative one: ValueError"),
    OpRow("lshr", _alike(2, INTS), faults=True, fault_if=_int_faults,
          doc="logical; 0 from the width on; a negative amount: ValueError"),
    OpRow("place", _signature((INT, INT), (INT,)), faults=True,
          doc="(i, n): the place that index i means in a sequence of n, from the end where it is negative; IndexError"
          " if there is none. Of integers alone: no adjoint"),
    OpRow("mulhi", _alike(2, frozenset({INT})), doc="high half of the product of both as unsigned 64-bit numbers"),
    OpRow("ctz", _alike(1, frozenset({INT})), doc="how many zero bits end it; 64 for 0"),
    *_each("eq ne lt le gt ge", _alike(2, SCALARS, BOOL), "comparison; false < true"),
    OpRow("not", _alike(1, frozenset({BOOL})), doc="of a bool"),
    OpRow("select", _select, doc="select(c, a, b): a if c else b, of types that hold no counted memory"),
    OpRow("cast", _cast, faults=True, fault_if=_cast_faults,
          doc="to the type of the result; float to integer truncates; to bool: is it not 0. `checked`: out of range"
          " or nan: ValueError, else integers wrap and floats saturate (nan gives 0). To f16 beyond it: infinity"),
    OpRow("bitcast", _bitcast, doc="the same bits, between f64 and int, f32 and i32"),
    *_each(
        "exp log sqrt rsqrt sin cos tan tanh asin acos atan erf log1p expm1 sigmoid floor round",
        _alike(1, FLOATS), "IEEE: nan or infinity, never a fault; round is to the nearest even",
    ),
    OpRow("atan2", _alike(2, FLOATS), doc="angle of the point (second, first)"),
    # aggregates
    OpRow("tuple", _tuple, own="c", doc="a tuple of the arguments"),
    OpRow("struct", _struct, own="c", doc="a struct (the result's type) of its fields in order"),
    OpRow("get", _get, alias=True, doc="field `index` of a tuple or struct"),
    OpRow("destruct", _destruct, own="c", doc="every field of a tuple or struct"),
    OpRow("enum", _enum, own="c", doc="the `case` of an enum (the result's type) with its fields in order"),
    OpRow("tag", _of_enum(INT), doc="the position of the case"),
    OpRow("made", _of_enum(BOOL), late=True, doc="is it a case, and not the zero that fresh buffers hold?"),
    OpRow("some", _some, own="c", doc="an option that holds the value"),
    OpRow("none", _none, doc="an option that holds none"),
    OpRow("is_some", _of_option(lambda t: BOOL), doc="does it hold a value?"),
    OpRow("unwrap", _of_option(lambda t: t.item), alias=True, doc="the value; only where is_some holds"),
    OpRow("str", _str, doc="the constant `text`"),
    OpRow("zero", _zero, doc="the zero of the result's type, as fresh buffers hold it; an enum's is never looked at"),
    # derivatives
    OpRow("stop_gradient", _same, alias=True, doc="the value, constant for derivatives; autodiff takes it out"),
    OpRow("gradient", _gradient, faults=True, effect=True,
          doc="the results of the function `fn` and then, for each position in `wrt`, the derivative by that argument"
          " of its first result (of its first item, if that is a tuple); autodiff replaces it"),
    OpRow("pushforward", _pushforward, faults=True, effect=True,
          doc="of the arguments of the function `fn`, and then a direction for each position in `wrt`: its results, and"
          " the derivative of the first one in that direction; autodiff replaces it"),
    OpRow("jacobian", _jacobian, faults=True, effect=True,
          doc="for each position in `wrt` the derivatives of all elements of the first result of the function `fn` by"
          " all elements of that argument; autodiff replaces it"),
    # buffers
    OpRow("buffer_new", _buffer_new, faults=True,
          doc="n zeros; a negative n: ValueError; too large: MemoryError"),
    OpRow("buffer_room", _buffer_new, faults=True,
          doc="buffer_new for what is written before it is read: a loop may give the same memory to all its turns"),
    OpRow("buffer_of", _buffer_of, late=True,
          doc="the constant `items`, which nobody writes to: scalars, texts, and tuples of these for all else"),
    OpRow("buffer_len", _on_buffer(lambda b: (), lambda b: (INT,)), doc="number of elements"),
    OpRow("buffer_get", _on_buffer(lambda b: (INT,), lambda b: (b.item,)), doc="a copy of element i"),
    OpRow("buffer_at", _on_buffer(lambda b: (INT,), lambda b: (b.item,)), alias=True, late=True,
          doc="element i as it lies in b, which keeps its count"),
    OpRow("buffer_set", _on_buffer(lambda b: (INT, b.item), lambda b: (b,)), own="cbc", doc="with element i replaced"),
    OpRow("buffer_take", _on_buffer(lambda b: (INT,), lambda b: (b, b.item)), own="cb",
          doc="with element i replaced by zero, and the element"),
    OpRow("buffer_resize", _on_buffer(lambda b: (INT,), lambda b: (b,)), own="cb", faults=True,
          doc="with n elements: the first ones kept, new ones zero; faults as buffer_new"),
    OpRow("buffer_move", _on_buffer(lambda b: (INT, INT, INT), lambda b: (b,)), own="cb",
          doc="(b, dst, src, n): n elements from src moved to dst; places left that are not written become zero"),
    OpRow("buffer_copy", _on_buffer(lambda b: (INT, b, INT, INT), lambda b: (b,)), own="cb",
          doc="(dst, at, src, from, n): dst with n elements of src from `from` written at `at`"),
    OpRow("buffer_part", _on_buffer(lambda b: (INT, INT), lambda b: (b,)), looks=True, late=True,
          doc="(b, start, n): n elements of b from start, only to be looked at while b stays as it is"),
    OpRow("buffer_cut", _signature((BYTES, INT, INT), (BYTES,)), faults=True, late=True,
          doc="(b, start, n): n bytes of b from start, in a buffer of their own; of one ASCII character in one that"
          " is there for ever"),
    OpRow("buffer_prefetch", _on_buffer(lambda b: (INT,), lambda b: (b,)), alias=True,
          doc="(b, i): b, of which element i, if there is one, is used soon; autodiff takes it out"),
    OpRow("sort_words", _sort_words, own="cb",
          doc="(b, n): with the first n elements in order, floats in IEEE's total order: -0.0 before 0.0, a nan after"
          " or before everything"),
    OpRow("packs", _signature((), (BOOL,)),
          doc="does the processor pack the chosen elements of a vector, which makes `sort_words` fast? Autodiff takes"
          " it for no"),
    OpRow("buffer_scan", _buffer_scan, own="cb", late=True,
          doc="(b, at, xs, n, before, step[, anew]): b with n ints written from `at` on, each of them `of` (minimum or"
          " maximum) xs[k] and what is before it plus step; where anew[k] is not 0, just xs[k]. No sum on the way from"
          " one of them to a later one wraps, unless step is the constant 0"),
    OpRow("scans", _signature((), (BOOL,)), late=True,
          doc="does the processor have vectors that are long enough for `buffer_scan` to be fast?"),
    OpRow("buffer_compare", _signature((BYTES, BYTES, INT), (INT,)), doc="the first n bytes: -1, 0 or 1"),
    OpRow("buffer_match", _signature((BufferT(I32), INT, U8), (INT,)),
          doc="(b, start, x): of the 16 bytes of 4 elements from start, the low one of each first, those that are x, as"
          " the bits 1 << 0 to 1 << 15"),
    OpRow("hash_seed", _signature((), (INT,)), doc="a number that is the same throughout a process, not known before"),
    OpRow("text_key", _signature((BYTES, INT, INT, INT), (INT, INT, INT)),
          doc="(b, n, points, seed): a hash of the first n bytes and two words, which are up to 15 bytes themselves,"
          " the first one lowest, zeros, and n as the last byte, or n and -1 - points; the hash by multiplying to 128"
          " bits and folding: both words, or the bytes, eight at a time"),
    OpRow("kept_text", _signature((BYTES, INT, INT), (BYTES, INT, INT)), faults=True,
          doc="(far, x, y): the bytes that have these words, far if they are more than 15; how many, and how many code"
          " points; faults as buffer_new"),
    OpRow("kept_part", _signature((BYTES, INT, INT), (BYTES, INT, INT)), looks=True, late=True,
          doc="the same, only to be looked at before it is made again, while far stays as it is"),
    OpRow("buffer_find", _signature((BYTES, INT, INT, BYTES, INT), (INT,)),
          doc="(hay, from, n, needle, m): least i >= from with hay[i : i + m] == needle[: m] and i + m <= n, or -1"),
    OpRow("buffer_outside", _signature((BYTES, INT, INT, U8, U8), (INT,)),
          doc="(b, start, n, low, high): of the 64 places from start, those with i >= n or b[i] < low or b[i] > high,"
          " as the bits 1 << 0 to 1 << 63"),
    OpRow("buffer_same", _signature((BYTES, BYTES, INT), (BOOL,)), doc="are the first n bytes the same?"),
    # text
    OpRow("format_float", _signature((F64, INT, INT), (BYTES, INT)),
          doc="(x, kind, precision): text and its length; kind is the code of one of `efg%`, or 0: the shortest text"
          " that reads back"),
    OpRow("format_float32", _signature((F32,), (BYTES, INT)), doc="the shortest text that reads back as f32"),
    OpRow("parse_float", _signature((BYTES, INT, INT), (OptionT(F64),)),
          doc="(text, start, n): the number that bytes start to start + n spell, none if they do not"),
    # effects, counts
    OpRow("host", _anything, faults=True, effect=True, doc="the host's service `name`"),
    OpRow("retain", _retain, effect=True, late=True, doc="one count more for every counted block in the value"),
    OpRow("release", _release, own="c", effect=True, late=True, doc="gives one count back"),
]  # fmt: skip

OPS: dict[str, OpRow] = {row.name: row for row in (*_ROWS, *TENSOR_ROWS)}


def op_row(name: str) -> OpRow:
    """The operator's row; KeyError for a name that is none."""
    return OPS[name]

ONLY_MEMORY = frozenset({"buffer_new", "buffer_room", "buffer_resize", "kept_text", "shaped"})
"""They fault where there is no memory, and only there."""


def may_fault(op: Op) -> bool:
    """Can this use of an operator stop the program?"""
    return OPS[op.op].may_fault(op)


def is_pure(op: Op) -> bool:
    """Can it be deleted when its results are not used?"""
    row = OPS[op.op]
    return not row.effect and not row.may_fault(op)
