"""What compiled code asks of Python: printing, externs, calls of Python functions that it was given, stores."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping
from typing import Any

from hybridc_runtime import store_services
from hybridc_runtime.codec import Codec
from hybridc_runtime.convert_in import Writing
from hybridc_runtime.convert_leaf import Misfit
from hybridc_runtime.convert_out import Reading
from hybridc_runtime.device import Device, Services
from hybridc_runtime.faults import ArgumentError
from hybridc_runtime.glue import INDEX
from hybridc_runtime.manifest import Type
from hybridc_runtime.memory import MEMORY, word
from hybridc_runtime.native import Context

Service = Callable[[Context, int, int], None]
_C_FUNCTION: type = type(ctypes.pythonapi.Py_IsInitialized).__mro__[1]
"""The base of all of ctypes' function pointers."""
LOWEST_ADDRESS = 1 << 16
"""No function lies below it, so a smaller number is none."""
C_TYPES: dict[Any, Any] = {
    "bool": ctypes.c_bool, "u8": ctypes.c_uint8, "i32": ctypes.c_int32, "int": ctypes.c_int64,
    "f64": ctypes.c_double, "f32": ctypes.c_float,
}


def services(codec: Codec, externs: Mapping[str, Any], launcher: Device | None = None) -> list[Service]:
    """One for each row of the manifest's hosts; ValueError for an extern that is missing."""
    missing = sorted({name for name in codec.manifest.externs if name not in externs})
    if missing:
        raise ValueError(
            f"{codec.manifest.path or codec.manifest.name}: extern fn {', '.join(missing)} not supplied; "
            f"load it with externs={{{', '.join(f'{name!r}: ...' for name in missing)}}}"
        )
    launching = Services(launcher, codec.program.count_live) if launcher is not None else None
    return [
        launching.find(name) if launching is not None and name.startswith("device.") else
        _service(codec, name, params, results, externs)
        for name, params, results in codec.manifest.hosts
    ]


def _service(codec: Codec, name: str, params: list[Type], results: list[Type], externs: Mapping[str, Any]) -> Service:
    name, _, changed = name.partition(" mut ")
    muts = [int(i) for i in changed.split(",")] if changed else []
    if name.startswith("extern "):
        name = name.removeprefix("extern ")
        return _extern(codec, name, params, results, muts, extern_function(name, externs[name], params, results))
    if name in ("print", "_print"):
        return _print(codec, params)
    if name in LETTERS:
        return _letters(codec, params, results, LETTERS[name])
    if name == "call":
        return _call(codec, params, results, muts)
    operation = store_services.service(codec, name, params, results)
    if operation is not None:
        return operation
    raise ValueError(f"this runtime has no service {name!r}")


def _print(codec: Codec, params: list[Type]) -> Service:
    read = codec.readers.read

    def service(context: Context, args: int, results: int) -> None:
        text = read(params[0], args, Reading())
        if context.prints is not None:
            context.prints.append((word(context.address + INDEX), text))
        else:
            sys.stdout.write(text + "\n")

    return service


class Exchange:
    """Arguments to Python and results back, of one service."""

    def __init__(self, codec: Codec, params: list[Type], results: list[Type]):
        self.codec, self.params, self.results = codec, params, results
        self.offsets, self.result_offsets = codec.layouts.offsets(params), codec.layouts.offsets(results)
        self.results_layout = codec.layouts.row(results)

    def read(self, args: int) -> list[Any]:
        reading = Reading()
        try:
            places = zip(self.params, self.offsets, strict=True)
            return [self.codec.readers.read(t, args + at, reading) for t, at in places]
        finally:
            self.codec.finish(reading)

    def write(self, values: list[Any], results: int, names: list[str]) -> None:
        writing = Writing(self.codec, True)
        i = 0
        if self.results_layout.size:
            MEMORY[results:results + self.results_layout.size] = bytes(self.results_layout.size)
        try:
            for t, at, value in zip(self.results, self.result_offsets, values, strict=True):
                self.codec.writers.write(t, value, writing, results + at)
                i += 1
            writing.finish()
        except Misfit as e:
            writing.undo()
            raise ArgumentError(e.message(names[i])) from None
        except BaseException:  # what a user's value raises when it is read, or a signal's: nothing is left written
            writing.undo()
            raise
        writing.commit()


LETTERS: dict[str, Callable[[str], str | bool]] = {
    "_str_lower": str.lower, "_str_upper": str.upper, "_str_is_alpha": str.isalpha, "_str_is_alnum": str.isalnum,
    "_str_is_digit": str.isdigit, "_str_is_printable": str.isprintable, "_str_is_lower": str.islower,
    "_str_is_upper": str.isupper, "_str_capitalize": str.capitalize, "_str_title": str.title,
    "_str_swapcase": str.swapcase,
}  # fmt: skip
"""What Python knows of characters beyond ASCII."""


def _letters(codec: Codec, params: list[Type], results: list[Type], of: Callable[[str], str | bool]) -> Service:
    exchange = Exchange(codec, params, results)

    def service(context: Context, args: int, target: int) -> None:
        exchange.write([of(exchange.read(args)[0])], target, ["text"])

    return service


def _extern(
    codec: Codec, name: str, params: list[Type], results: list[Type], muts: list[int], function: Callable[..., Any]
) -> Service:
    """The results are the function's own, then each `mut` argument, which Python changed in place."""
    exchange = Exchange(codec, params, results)
    has_result = len(results) > len(muts)
    names = [f"result of extern {name}"] * has_result + [f"argument {i + 1} of extern {name}" for i in muts]

    def service(context: Context, args: int, target: int) -> None:
        values = exchange.read(args)
        result = function(*values)
        out = ([result] if has_result else []) + [values[i] for i in muts]
        exchange.write(out, target, names)

    return service


def extern_function(name: str, value: Any, params: list[Type], results: list[Type]) -> Callable[..., Any]:
    """A Python callable for what the user supplied: a callable, a C function pointer, a numba cfunc or an address."""
    address = getattr(value, "address", None)
    if isinstance(value, _C_FUNCTION):
        address = ctypes.cast(value, ctypes.c_void_p).value  # type: ignore[arg-type]
    elif isinstance(value, int) and value >= LOWEST_ADDRESS:
        address = value
    if not isinstance(address, int):
        if not callable(value):
            raise TypeError(f"extern {name} must be a function or a C function pointer, found {type(value).__name__}")
        return value
    types = [*params, *results]
    if any(not isinstance(t, str) or t not in C_TYPES for t in types) or len(results) > 1:
        raise TypeError(f"extern {name} is a C function, which takes and gives scalars only")
    result = C_TYPES[results[0]] if results else None
    _check_c_types(name, value, [C_TYPES[t] for t in params], result)
    function = ctypes.CFUNCTYPE(result, *[C_TYPES[t] for t in params])(address)
    function._keep = value  # type: ignore[attr-defined]
    return function


def _check_c_types(name: str, value: Any, params: list[Any], result: Any) -> None:
    """TypeError for a C function that says of itself that it is of other types; a bare address says nothing."""
    function: Any = value if isinstance(value, _C_FUNCTION) else getattr(value, "ctypes", None)  # of a numba cfunc
    own = getattr(function, "argtypes", None)
    if own is None:
        return
    found, wanted = [*own, function.restype], [*params, result]
    if len(found) != len(wanted) or any(_plain(a) != _plain(b) for a, b in zip(found, wanted, strict=True)):
        raise TypeError(f"extern {name} is the C function {_shown_c(wanted)}, and what is given {_shown_c(found)}")


def _plain(t: Any) -> Any:
    """What tells C types apart: code and size (`long` and `long long` are one)."""
    return t and ("i" if t._type_ in "hilq" else t._type_, ctypes.sizeof(t))


def _shown_c(types: list[Any]) -> str:
    *params, result = [t.__name__.removeprefix("c_") if t else "void" for t in types]
    return f"({', '.join(params)}) -> {result}"


def _call(codec: Codec, params: list[Type], results: list[Type], muts: list[int]) -> Service:
    """A Python function that was given to the program as a value: its id, then its arguments."""
    exchange = Exchange(codec, params, results)
    has_result = len(results) > len(muts)

    def service(context: Context, args: int, target: int) -> None:
        number, *values = exchange.read(args)
        function = codec.callables.get(number)
        if function is None:
            raise RuntimeError("a Python function was called after the call that it was passed to had ended")
        result = function(*values)
        out = ([result] if has_result else []) + [values[i] for i in muts]
        name = getattr(function, "__name__", "function")
        exchange.write(out, target, [f"result of {name}", *[f"mut argument of {name}"] * len(muts)][-len(out):])

    return service
