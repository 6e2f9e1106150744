"""The launcher that has no GPU: it runs an artifact's own Triton source, by Triton's interpreter, on the CPU.

Triton decides when it is imported whether its functions are interpreted. So that a program which uses Triton itself is
not disturbed, the launcher works with a second copy of the package, that stands in `sys.modules` only while it is used.
"""

from __future__ import annotations

import functools
import linecache
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from hybridc_runtime import faults
from hybridc_runtime.arrays import from_bf16, to_bf16
from hybridc_runtime.device import Counts, DeviceCode, KernelInfo, values_of
from hybridc_runtime.memory import allocate, copy_bytes, free

_lock = threading.RLock()
APART = 1 << 46
"""Added to addresses of device memory where HYB_INTERPRET_APART=1 asks for it: host code that reads them by mistake
then reads no memory at all."""


class _Copy:
    """A copy of the package `triton` whose functions are interpreted."""

    def __init__(self) -> None:
        self.modules: dict[str, Any] = {}
        with self.standing_in():
            import triton
            import triton.language as tl
            import triton.runtime.interpreter as interpreter

            self.triton, self.tl, self.interpreter = triton, tl, interpreter
            _mend(interpreter, tl)

    @contextmanager
    def standing_in(self) -> Iterator[None]:
        """While it lasts, `import triton` means the copy."""
        own = {n: m for n, m in sys.modules.items() if n == "triton" or n.startswith("triton.")}
        for n in own:
            if not n.startswith("triton._C"):  # machine code is there once
                del sys.modules[n]
        sys.modules.update(self.modules)
        try:
            with _environment("TRITON_INTERPRET", "1"):
                yield
        finally:
            found = {n: m for n, m in sys.modules.items() if n == "triton" or n.startswith("triton.")}
            self.modules = {n: m for n, m in found.items() if not n.startswith("triton._C")}
            for n in self.modules:
                del sys.modules[n]
            sys.modules.update(own)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@functools.cache
def _copy() -> _Copy:
    try:
        return _Copy()
    except ImportError as e:
        raise ImportError('device="interpret" needs the package triton: pip install triton') from e


def _mend(interpreter: Any, tl: Any) -> None:
    """Three faults of the interpreter: bf16 is held as 16 bits, which its product takes for numbers; what becomes bf16
    is cut off, where a GPU rounds it to the nearest; and a comparison of scalars keeps their type, so that what is
    broadcast from it is no mask."""
    builder = interpreter.interpreter_builder
    plain, cast = type(builder).create_dot, type(builder).cast_impl
    for name in dir(builder):
        if name.startswith(("create_icmp", "create_fcmp")):
            setattr(type(builder), name, _comparison(getattr(type(builder), name), interpreter, tl))

    def create_dot(self: Any, a: Any, b: Any, d: Any, *rest: Any) -> Any:
        a, b = (interpreter.TensorHandle(from_bf16(x.data), tl.float32) if x.dtype == tl.bfloat16 else x
                for x in (a, b))
        return plain(self, a, b, d, *rest)

    def cast_impl(self: Any, src: Any, to: Any) -> Any:
        if src.dtype.scalar == tl.float32 and to.scalar == tl.bfloat16:
            return interpreter.TensorHandle(to_bf16(src.data).reshape(src.data.shape), tl.bfloat16)
        return cast(self, src, to)

    type(builder).create_dot, type(builder).cast_impl = create_dot, cast_impl


def _comparison(plain: Any, interpreter: Any, tl: Any) -> Any:
    return lambda self, a, b: interpreter.TensorHandle(plain(self, a, b).data, tl.int1)


class _Library:
    """What `libdevice` is to interpreted kernels: numpy, in the precision of the argument."""

    FUNCTIONS = {
        "exp": np.exp, "log": np.log, "sin": np.sin, "cos": np.cos, "tan": np.tan, "tanh": np.tanh, "asin": np.arcsin,
        "acos": np.arccos, "atan": np.arctan, "log1p": np.log1p, "expm1": np.expm1, "rint": np.rint,
        "pow": np.power, "atan2": np.arctan2,
    }  # fmt: skip

    def __init__(self, copy: _Copy):
        self.copy = copy

    def __getattr__(self, name: str) -> Any:
        if name == "erf":
            return self.copy.tl.erf
        function = self.FUNCTIONS[name]
        tensor, handle = self.copy.tl.tensor, self.copy.interpreter.TensorHandle

        def call(*args: Any) -> Any:
            first = next(a for a in args if isinstance(a, tensor))
            data = [a.handle.data if isinstance(a, tensor) else first.handle.data.dtype.type(a) for a in args]
            value = np.asarray(function(*data), first.handle.data.dtype)
            shape = first.type
            if value.shape != first.handle.data.shape:
                shape = self.copy.tl.block_type(first.dtype, list(value.shape))
            return tensor(handle(value, first.dtype), shape)

        return call


class Interpret:
    """Runs kernels one after the other; memory is the host's."""

    def __init__(self, code: DeviceCode):
        self.kernels: Sequence[KernelInfo] = code.kernels
        self.source = code.source
        self.counts = Counts()
        self.apart = APART if os.environ.get("HYB_INTERPRET_APART") == "1" else 0
        self.space: dict[str, Any] | None = None

    def functions(self) -> dict[str, Any]:
        """The module's functions, made at the first launch."""
        if self.space is None:
            copy = _copy()
            name = f"<triton {id(self):x}>"
            # The interpreter asks for the text of what it runs.
            linecache.cache[name] = (len(self.source), None, self.source.splitlines(keepends=True), name)
            space: dict[str, Any] = {"__name__": name}
            with copy.standing_in():
                exec(compile(self.source, name, "exec"), space)  # noqa: S102 (the artifact's code, as its object is)
            space["libdevice"] = _Library(copy)
            self.space = space
        return self.space

    # ---- memory
    def new(self, size: int) -> int:
        try:
            return allocate(size) + self.apart
        except MemoryError:
            raise faults.make("MemoryError", "out of memory") from None

    def free(self, address: int) -> None:
        free(address - self.apart)

    def copy(self, to: int, source: int, size: int) -> None:
        copy_bytes(to - self.apart, source - self.apart, size)

    def write(self, to: int, host: int, size: int) -> None:
        copy_bytes(to - self.apart, host, size)

    def read(self, host: int, source: int, size: int) -> None:
        self.counts.waits += 1
        copy_bytes(host, source - self.apart, size)

    # ---- kernels
    def launch(self, kernel: int, programs: int, slots: int, fault: int) -> None:
        info = self.kernels[kernel]
        values = values_of(info, slots)
        with _lock:
            function = self.functions()[info.name]
            copy = _copy()
            with copy.standing_in(), np.errstate(all="ignore"):
                given = [*values, fault] if fault else values
                args = [self.argument(copy, p, v) for p, v in zip(info.params, given, strict=True)]
                function[(programs,)](*args, **info.constants)

    def argument(self, copy: _Copy, param: Sequence[str], value: Any) -> Any:
        """A parameter as the interpreter has it."""
        tl = copy.tl
        _, kind, name = param
        t = getattr(tl, TYPES[name])
        handle = copy.interpreter.TensorHandle
        if kind in ("pointer", "fault"):
            pointer = tl.pointer_type(t)
            return tl.tensor(handle(np.array([value - self.apart], np.uint64), pointer), pointer)
        return tl.tensor(handle(np.array([value], NUMPY[name]).view(VIEWS.get(name, NUMPY[name])), t), t)


TYPES = {"i64": "int64", "i32": "int32", "u8": "uint8", "fp64": "float64", "fp32": "float32", "fp16": "float16",
         "bf16": "bfloat16"}
NUMPY: dict[str, Any] = {"i64": np.int64, "i32": np.int32, "u8": np.uint8, "fp64": np.float64, "fp32": np.float32,
                         "fp16": np.uint16, "bf16": np.uint16}
VIEWS: dict[str, Any] = {"fp16": np.float16}
__all__ = ["Interpret"]
