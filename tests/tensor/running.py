"""Runs Core functions of one operator on the reference interpreter, as compiled code, and as GPU kernels whose Triton
source is interpreted, on numpy arrays."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from hybridc_runtime.device import DeviceCode, KernelInfo, Services
from hybridc_runtime.holds import release_hold
from hybridc_runtime.interpret import Interpret

from hybridc.core.builder import Builder
from hybridc.core.interp import Interpreter
from hybridc.core.ir import BF16, F16, BufferT, Const, Fn, Prim, Program, TensorT, Type, Yield
from hybridc.core.tensor_arrays import round_bf16
from hybridc.core.values import Buffer, InterpFault
from hybridc.core.verify import check_after, verify
from hybridc.llvm.compile import Compiled, compile_program
from hybridc.llvm.entry import release_name
from hybridc.llvm.jit import Context, Loaded, NativeFault
from hybridc.passes import place
from hybridc.triton.source import module_of, record

TRITON = importlib.util.find_spec("triton") is not None
DTYPES = {
    "bool": np.bool_, "int": np.int64, "i32": np.int32, "u8": np.uint8, "f64": np.float64, "f32": np.float32,
    "f16": np.float16, "bf16": np.float32,
}  # fmt: skip


@dataclass
class Case:
    """One use of an operator: argument values (numpy arrays, numbers) with their types, and the result's type."""

    op: str
    args: Sequence[tuple[object, Type]]
    out: Type
    attrs: dict[str, object] = field(default_factory=dict)
    static: bool = False
    """Say the sizes of the arguments in their types."""


def typed(value: object, t: Type, static: bool) -> Type:
    if isinstance(t, TensorT):
        return TensorT(t.elem, tuple(value.shape) if static else (None,) * value.ndim)  # type: ignore[attr-defined]
    return t


def function(name: str, case: Case) -> Fn:
    b = Builder()
    params = [b.var(typed(v, t, case.static)) for v, t in case.args]
    b.open()
    args = [
        Const(v, t) if case.static and isinstance(t, Prim) else p for p, (v, t) in zip(params, case.args, strict=True)
    ]
    result = b.op(case.op, args, case.out, **case.attrs)
    return Fn(name, tuple(params), (case.out,), b.close(Yield((result,))))


def stored(x: np.ndarray, t: Prim) -> np.ndarray:
    """As it lies in memory."""
    x = np.ascontiguousarray(x, DTYPES[t.name])
    if t == BF16:
        return (x.view(np.uint32) >> 16).astype(np.uint16)
    return x


def read(data: int, dims: Sequence[int], t: Prim) -> np.ndarray:
    dtype = np.uint16 if t == BF16 else DTYPES[t.name]
    count = int(np.prod(dims)) if dims else 1
    raw = ctypes.string_at(data, count * np.dtype(dtype).itemsize) if count else b""
    x = np.frombuffer(raw, dtype).reshape(dims)
    return (x.astype(np.uint32) << 16).view(np.float32) if t == BF16 else x.copy()


C = {
    "bool": ctypes.c_bool,
    "int": ctypes.c_int64,
    "i32": ctypes.c_int32,
    "u8": ctypes.c_uint8,
    "f64": ctypes.c_double,
    "f32": ctypes.c_float,
    "f16": ctypes.c_uint16,
    "bf16": ctypes.c_uint16,
}


def scalar_bits(value: object, t: Prim) -> object:
    if t in (F16, BF16):
        return int(stored(np.array([value]), t).view(np.uint16)[0])
    return value


def pack(values: Sequence[tuple[object, Type]], keep: list) -> ctypes.Structure:
    """Arguments as a C struct; tensors are memory that outlives the call."""
    fields, given = [], []
    for value, t in values:
        if isinstance(t, TensorT):
            x = stored(np.asarray(value), t.elem)
            keep.append(x)
            fields += [ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * x.ndim]
            given += [0, x.ctypes.data, *x.shape]
        elif isinstance(t, BufferT):
            block = _buffer(value, t.item, keep)
            fields.append(ctypes.c_void_p)
            given.append(block)
        else:
            fields.append(C[t.name])  # type: ignore[union-attr]
            given.append(scalar_bits(value, t))  # type: ignore[arg-type]
    return _struct(fields)(*given)


def _struct(fields: list) -> type:
    return type("S", (ctypes.Structure,), {"_fields_": [(f"f{i}", t) for i, t in enumerate(fields)]})


def _buffer(items: object, t: Type, keep: list) -> int:
    """An immortal buffer."""
    parts = [bytes(pack([(v, t)], keep)) for v in items]  # type: ignore[attr-defined]
    raw = np.frombuffer(np.array([-1, len(parts)], np.int64).tobytes() + b"".join(parts), np.uint8).copy()
    keep.append(raw)
    return raw.ctypes.data


class DeviceContext(Context):
    """A context whose host serves a launcher that interprets kernels."""

    def __init__(self, compiled: Compiled, loaded: Loaded):
        super().__init__()
        source, infos = module_of("cases", compiled.tables.kernels)
        kernels = [KernelInfo(**k) for k in record(infos)]
        self.names = [h[0] for h in compiled.tables.hosts]
        self.live = ctypes.c_int64.from_address(loaded.address("hyb live"))
        self.launcher = Interpret(DeviceCode(source, kernels))
        self.services = Services(self.launcher, self.count)
        self.host = self.serve
        self.error: BaseException | None = None

    def count(self, change: int) -> None:
        self.live.value += change

    def serve(self, number: int, args: int, results: int) -> int:
        try:
            self.services.find(self.names[number])(None, args, results)
        except BaseException as e:  # noqa: B036 (raised again by the caller)
            self.error = e
            self.set("fault", 1)
            return 1
        return 0

    def let_go(self) -> None:
        """Foreign blocks whose last owner has gone."""
        for handle in self.released:
            release_hold(handle)
        self.released.clear()


class Programs:
    """Many cases as one program, compiled once."""

    def __init__(self, cases: Sequence[Case], opt: int = 1):
        self.cases = cases
        self.program = Program()
        self.names: list[str] = []
        """Of the function of each case; cases that differ in values only have the same."""
        made: dict[str, str] = {}
        for case in cases:
            fn = function("f", case)
            name = made.setdefault(f"{fn}", f"f{len(made)}")
            self.names.append(name)
            self.program.fns.setdefault(name, replace(fn, name=name))
        verify(self.program)
        self.interpreter = Interpreter(self.program)
        outs = [c.out for c in cases if isinstance(c.out, TensorT)]
        self.outs, self.opt = outs, opt
        compiled = compile_program(self.program, list(self.program.fns), outs, opt=opt)
        self.loaded = Loaded(compiled)
        self.there: tuple[Loaded, DeviceContext] | None = None

    def reference(self, i: int) -> object:
        """The interpreter's result, or the fault's kind."""
        args = []
        for value, t in self.cases[i].args:
            if isinstance(t, TensorT):
                x = np.ascontiguousarray(value, DTYPES[t.elem.name])
                args.append(round_bf16(x) if t.elem == BF16 else x)
            elif isinstance(t, BufferT):
                args.append(Buffer(list(value)))  # type: ignore[call-overload]
            else:
                args.append(value)
        try:
            return self.interpreter.call(self.names[i], args)[0]
        except InterpFault as fault:
            return fault

    def device(self, i: int) -> object:
        """The result, or the fault, with the operator as a GPU kernel if it can be one."""
        if self.there is None:
            placed = place.run(self.program, everything=True)
            if not verify(self.program):
                check_after("place", placed)
            compiled = compile_program(placed, list(placed.fns), self.outs, opt=self.opt)
            loaded = Loaded(compiled)
            self.there = loaded, DeviceContext(compiled, loaded)
        loaded, context = self.there
        value = self.native(i, loaded, context)
        context.let_go()
        assert not context.services.addresses, f"{self.cases[i].op} leaks memory of the device"
        return value

    def native(self, i: int, loaded: Loaded | None = None, context: Context | None = None) -> object:
        """The compiled code's result, or the fault."""
        case, keep = self.cases[i], []
        args = pack(case.args, keep)
        loaded, context = loaded or self.loaded, context or Context()
        before = loaded.live
        if isinstance(case.out, TensorT):
            count = len(case.out.dims)
            results = _struct([ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * count])()
        else:
            results = _struct([C[case.out.name]])()  # type: ignore[union-attr]
        try:
            loaded.call(self.names[i], ctypes.addressof(args), ctypes.addressof(results), context)
        except NativeFault as fault:
            if isinstance(context, DeviceContext) and context.error is not None:
                raise context.error from None
            messages = 1 if fault.args[0].split(": ", 1)[1] != "None" else 0
            assert loaded.live - before <= messages, f"{case.op}: a fault leaks"
            return fault
        if not isinstance(case.out, TensorT):
            assert loaded.live == before, f"{case.op} leaks"
            value = results.f0
            if case.out in (F16, BF16):
                raw = np.array([value], np.uint16)
                return (
                    float(raw.view(np.float16)[0])
                    if case.out == F16
                    else float((raw.astype(np.uint32) << 16).view(np.float32)[0])
                )
            return value
        dims = [getattr(results, f"f{2 + k}") for k in range(count)]
        x = read(results.f1, dims, case.out.elem)
        loaded.release(release_name(case.out), ctypes.addressof(results), context)
        assert loaded.live == before, f"{case.op} leaks"
        return x


def compare(case: Case, got: object, want: object) -> None:
    """Equal, within a few units in the last place for floats; faults of one kind."""
    if isinstance(want, InterpFault):
        assert isinstance(got, NativeFault) and got.kind == want.kind, (case.op, case.attrs, got, want)
        if want.kind == "IndexError":
            assert want.message == f"index {got.index[0]} is out of range for length {got.index[1]}", (
                case.op,
                want,
                got.index,
            )
        else:
            assert got.message == want.message, (case.op, got.message, want.message)
        return
    assert not isinstance(got, NativeFault), (case.op, case.attrs, str(got), want)
    t = case.out.elem if isinstance(case.out, TensorT) else case.out
    tolerance = {"f32": 3e-6, "f64": 1e-13, "f16": 2e-3, "bf16": 1.6e-2}.get(t.name, 0)  # type: ignore[union-attr]
    got_array, want_array = np.asarray(got), np.asarray(want)
    assert got_array.shape == want_array.shape, (case.op, case.attrs, got_array.shape, want_array.shape)
    np.testing.assert_allclose(
        got_array.astype(np.float64) if tolerance else got_array,
        want_array.astype(np.float64) if tolerance else want_array,
        rtol=tolerance,
        atol=tolerance,
        err_msg=f"{case.op} {case.attrs} {case.args}",
    )


def check(cases: Sequence[Case]) -> None:
    """Every case on both, every third also with its sizes known (each with three neighbours is enough)."""
    both = [*cases, *(replace(c, static=True) for c in cases[::3])]
    programs = Programs(both)
    for i, case in enumerate(both):
        want = programs.reference(i)
        compare(case, programs.native(i), want)
        if TRITON and i % 2 == 0:
            compare(case, programs.device(i), want)
