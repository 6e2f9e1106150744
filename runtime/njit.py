"""Compiled functions in code of numba: `@njit` code calls them without Python between.

numba finds `init` by its entry point when it first compiles something, and asks what a Hyb function is where its code
names one. A call puts its arguments where an entry of compiled code reads them and calls native code (`IR`), which has
one context for all such calls of a function, as fast calls have (fastcall.py). Where that is in use, or belongs to
another thread, and after a fault, it asks Python.

Numbers and contiguous arrays of numbers go in; a number, a tuple of numbers or nothing comes out, so that nothing can
keep an array that numba frees.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import threading
from typing import Any

import llvmlite.binding as llvm
import llvmlite.ir as ir
from hybridc_runtime import interrupts, limits, linking, native, store_services
from hybridc_runtime.calls import Caller
from hybridc_runtime.manifest import Type
from hybridc_runtime.memory import allocate, set_word
from hybridc_runtime.module import Function
from numba import types
from numba.core import cgutils, errors, typing
from numba.core.imputils import lower_constant
from numba.core.typeconv import Conversion
from numba.extending import lower_builtin, models, register_model, typeof_impl

NUMBERS = {
    "bool": types.boolean, "u8": types.uint8, "i32": types.int32, "int": types.int64, "f64": types.float64,
    "f32": types.float32,
}
CELL, THREAD, ENTRY, NUMBER = 0, 8, 16, 24
"""Words of a record: the context, or 0 while it is in use; whose thread's stack it knows; the entry; what Python knows
the record by."""
BORROWED = allocate(16)
"""The block that owns arrays of numba: it is never counted, so nobody frees or changes them."""
set_word(BORROWED, -1)

IR = f"""
declare i64 @pthread_self()

define i64 @hyb_njit(ptr %record, ptr %args, ptr %results, ptr %awake, ptr %slow) {{
  %context = atomicrmw xchg ptr %record, i64 0 acquire
  %number_at = getelementptr i8, ptr %record, i64 {NUMBER}
  %number = load i64, ptr %number_at
  %none = icmp eq i64 %context, 0
  br i1 %none, label %python, label %look
look:
  %thread_at = getelementptr i8, ptr %record, i64 {THREAD}
  %thread = load i64, ptr %thread_at
  %self = call i64 @pthread_self()
  %own = icmp eq i64 %thread, %self
  %timer = load i64, ptr %awake
  %ticks = icmp ne i64 %timer, 0
  %good = and i1 %own, %ticks
  br i1 %good, label %call, label %back
back:
  store atomic i64 %context, ptr %record release, align 8
  br label %python
call:
  %entry_at = getelementptr i8, ptr %record, i64 {ENTRY}
  %entry = load ptr, ptr %entry_at
  %status = call i32 %entry(i64 %context, ptr %args, ptr %results)
  %failed = icmp ne i32 %status, 0
  br i1 %failed, label %fault, label %done
done:
  store atomic i64 %context, ptr %record release, align 8
  ret i64 0
fault:
  %error = call i64 %slow(i64 %number, i64 %context, ptr %args, ptr %results)
  ret i64 %error
python:
  %outcome = call i64 %slow(i64 %number, i64 0, ptr %args, ptr %results)
  ret i64 %outcome
}}
"""


class Record:
    """What native code needs of an entry, and the context of its calls."""

    numbers = itertools.count()
    known: dict[int, Record] = {}

    def __init__(self, caller: Caller):
        self.caller = caller
        self.program = caller.codec.program
        self.number = next(self.numbers)
        self.address = allocate(32)
        self.entry, _ = caller.ready()
        set_word(self.address + ENTRY, self.entry)
        set_word(self.address + NUMBER, self.number)
        self.context = native.Context(self.program)
        self.lock = threading.Lock()
        self.known[self.number] = self  # for good, as compiled code is

    def lend(self) -> None:
        """The context to the calls of this thread, if it is the first; others go by way of Python. So do all where the
        end of a call ends what it wrote to stores."""
        if any(name in store_services.NAMES for name, _, _ in self.caller.codec.manifest.hosts):
            return
        with self.lock:
            if self.address not in interrupts.cells:
                own = self.context.address
                set_word(own + native.STACK_LIMIT, limits.stack_limit())
                set_word(self.address + THREAD, _pthread_self())
                set_word(self.address, own)
                interrupts.cells[self.address] = self.context.flag

    def call(self, args: int, results: int) -> None:
        """By way of Python, which starts the timer."""
        context = self.program.acquire()
        try:
            self.program.call(self.entry, context, args, results)
        finally:
            self.program.release(context)

    def fault(self) -> BaseException:
        try:
            return self.context.take_fault()
        finally:
            set_word(self.address, self.context.address)


def _slow(number: int, context: int, args: int, results: int) -> int:
    """The address of an exception, which the caller owns, or 0."""
    record = Record.known[number]
    try:
        if context:
            raise record.fault()
        record.call(args, results)
        record.lend()
    except BaseException as e:  # noqa: B036 (numba's code raises it)
        e.__traceback__ = None
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(e))
        return id(e)
    return 0


_slow_function = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 4)(_slow)


_pthread_self = ctypes.CDLL(None).pthread_self
_pthread_self.restype = ctypes.c_size_t


@functools.cache
def _native() -> int:
    """The address of the function in `IR`."""
    target = llvm.Target.from_default_triple().create_target_machine(opt=2, codemodel="large", jit=True)
    _, addresses = linking.jit().link([target.emit_object(llvm.parse_assembly(IR))], symbols=["hyb_njit"])
    return addresses["hyb_njit"]


# ---- types
class HybFunction(types.Callable):
    """A function of a module, as numba's compiler sees it."""

    def __init__(self, function: Function):
        self.function = function
        super().__init__(f"hyb function {function.__name__} at {id(function)}")

    def get_call_type(self, context: Any, args: Any, kws: Any) -> Any:
        name = self.function.__name__
        if kws:
            raise errors.TypingError(f"{name}() takes no named arguments in code of numba")
        reasons = []
        for signature, caller in self.function._overloads:
            try:
                wanted = [_number_type(t, a) for t, a in zip(caller.types, args, strict=True)]
                if caller.muts:
                    raise errors.TypingError("an argument is `mut`")
                result = _result_type(caller.results[0] if caller.results else None)
            except ValueError:
                reasons.append(f"it takes {signature.count} arguments, not {len(args)}")
                continue
            except errors.TypingError as e:
                reasons.append(str(e))
                continue
            if all(_fits(context, a, w) for a, w in zip(args, wanted, strict=True)):
                found = typing.signature(result, *wanted)
                _lower(self, found, caller)
                return found
            reasons.append(f"it takes ({', '.join(map(str, wanted))}), not ({', '.join(map(str, args))})")
        raise errors.TypingError(f"{name}() cannot be called from code of numba: {'; '.join(reasons)}")

    def get_call_signatures(self) -> tuple[list[Any], bool]:
        return [], False

    def get_impl_key(self, sig: Any) -> Any:
        return self, sig


def _number_type(t: Type, given: Any) -> Any:
    """The type of numba for an argument of a type."""
    if isinstance(t, str) and t in NUMBERS:
        return NUMBERS[t]
    if not isinstance(t, str) and t[0] == "tensor" and t[1] in NUMBERS:
        readonly = isinstance(given, types.Array) and not given.mutable
        return types.Array(NUMBERS[t[1]], len(t[2]), "C", readonly=readonly)
    raise errors.TypingError("its arguments are more than numbers and arrays of numbers")


def _result_type(t: Type | None) -> Any:
    if t is None:
        return types.none
    if isinstance(t, str) and t in NUMBERS:
        return NUMBERS[t]
    if not isinstance(t, str) and t[0] == "tuple" and all(isinstance(x, str) and x in NUMBERS for x in t[1]):
        return types.Tuple([NUMBERS[x] for x in t[1]])
    raise errors.TypingError("its result is more than numbers")


def _fits(context: Any, given: Any, wanted: Any) -> bool:
    """As from Python: any int for an int or a float, any float for a float, an array as it is."""
    if isinstance(wanted, types.Array):
        return given == wanted or isinstance(given, types.Array) and given.layout == "C" and (
            (given.dtype, given.ndim) == (wanted.dtype, wanted.ndim))
    if isinstance(given, types.Literal):
        given = given.literal_type
    if wanted == types.boolean or given == types.boolean:
        return given == wanted
    if isinstance(wanted, types.Float):
        return isinstance(given, (types.Float, types.Integer))
    return isinstance(given, types.Integer) and context.can_convert(given, wanted) in (
        Conversion.exact, Conversion.promote, Conversion.safe)


# ---- calls
def _lower(function: HybFunction, sig: Any, caller: Caller) -> None:
    record = _record(caller)
    offsets, result_offsets = caller.offsets, _result_offsets(caller)

    @lower_builtin((function, sig), *sig.args)
    def call(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        byte, word_type = ir.IntType(8), ir.IntType(64)
        pointer = byte.as_pointer()
        memory = cgutils.alloca_once(builder, ir.ArrayType(word_type, caller.size // 8 + 1))
        base = builder.bitcast(memory, pointer)

        def place(offset: int, kind: Any) -> Any:
            return builder.bitcast(builder.gep(base, [word_type(offset)]), kind.as_pointer())

        def address(value: int, what: str) -> Any:
            return context.add_dynamic_addr(builder, value, info=f"hyb {what}")

        for t, value, offset in zip(sig.args, args, offsets, strict=True):
            if not isinstance(t, types.Array):
                stored = builder.zext(value, byte) if t == types.boolean else value
                builder.store(stored, place(offset, stored.type))
                continue
            array = context.make_array(t)(context, builder, value)
            leaves = [builder.ptrtoint(address(BORROWED, "block"), word_type), builder.ptrtoint(array.data, word_type),
                      *cgutils.unpack_tuple(builder, array.shape, t.ndim)]
            for i, leaf in enumerate(leaves):
                builder.store(leaf, place(offset + 8 * i, word_type))
        kind = ir.FunctionType(word_type, [pointer] * 5)
        target = builder.bitcast(address(_native(), "call"), kind.as_pointer())
        results = builder.gep(base, [word_type(caller.result_at)])
        slow = ctypes.cast(_slow_function, ctypes.c_void_p).value or 0
        timer = address(interrupts.AWAKE, "timer")
        error = builder.call(target, [address(record.address, "record"), base, results, timer, address(slow, "python")])
        with builder.if_then(cgutils.is_not_null(builder, error), likely=False):
            python = context.get_python_api(builder)
            gil = python.gil_ensure()
            exception = builder.inttoptr(error, python.pyobj)
            kind_of = builder.load(builder.bitcast(
                builder.gep(builder.bitcast(exception, pointer), [word_type(8)]), python.pyobj.as_pointer()))
            python.err_set_object(kind_of, exception)
            python.decref(exception)
            python.gil_release(gil)
            context.call_conv.return_exc(builder)
        numbers = []
        is_tuple = isinstance(sig.return_type, types.BaseTuple)
        kinds: list[Any] = list(sig.return_type) if is_tuple else [sig.return_type]
        for t, offset in zip(kinds, result_offsets, strict=False):
            stored = byte if t == types.boolean else context.get_value_type(t)
            value = builder.load(place(caller.result_at + offset, stored))
            numbers.append(builder.trunc(value, ir.IntType(1)) if t == types.boolean else value)
        if is_tuple:
            return context.make_tuple(builder, sig.return_type, numbers)
        return numbers[0] if caller.results else context.get_dummy_value()


def _result_offsets(caller: Caller) -> list[int]:
    if not caller.results:
        return []
    t = caller.results[0]
    inner = caller.codec.layouts.of(t).offsets
    return [caller.result_offsets[0] + at for at in inner]


@functools.cache
def _record(caller: Caller) -> Record:
    return Record(caller)


def init() -> None:
    """Tell numba; it calls this by the entry point of the package."""
    register_model(HybFunction)(models.OpaqueModel)
    made: dict[int, HybFunction] = {}

    @typeof_impl.register(Function)
    def type_of(function: Function, c: Any) -> HybFunction:
        return made.setdefault(id(function), HybFunction(function))

    @lower_constant(HybFunction)
    def constant(context: Any, builder: Any, t: Any, value: Any) -> Any:
        return context.get_dummy_value()
