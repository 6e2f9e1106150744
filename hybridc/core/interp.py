"""The reference interpreter: what a Core program means.

    Interpreter(program).call("fib", [20])        -> (6765,)

Values are those of core/values.py. A fault is an InterpFault with the places it passed. Host services (`print`,
externs) go to the callback `host(name, args, types of the results) -> tuple of results`.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from hybridc.core.interp_compile import compile_fn
from hybridc.core.interp_ops import str_text, str_value
from hybridc.core.ir import (
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
from hybridc.core.types import parts
from hybridc.core.values import Buffer, EnumValue, InterpFault, index_fault

Host = Callable[[str, tuple[object, ...], tuple[Type, ...]], Sequence[object]]
DTYPES = {
    "bool": np.bool_, "int": np.int64, "i32": np.int32, "u8": np.uint8, "f64": np.float64, "f32": np.float32,
    "f16": np.float16, "bf16": np.float32,
}  # fmt: skip
"""How numpy holds the elements of a tensor; bf16 as float32 that holds rounded values."""
LETTERS: dict[str, Callable[[str], str | bool]] = {
    "_str_lower": str.lower, "_str_upper": str.upper, "_str_is_alpha": str.isalpha, "_str_is_alnum": str.isalnum,
    "_str_is_digit": str.isdigit, "_str_is_printable": str.isprintable, "_str_is_lower": str.islower,
    "_str_is_upper": str.isupper, "_str_capitalize": str.capitalize, "_str_title": str.title,
    "_str_swapcase": str.swapcase,
}  # fmt: skip
"""What Python knows of characters beyond ASCII."""
FRAMES_PER_CALL = 24
"""Python's frames for one level of calls, at most: blocks that lie deep are functions of their own, and a call of a
function value goes through one that only hands on."""


def print_host(name: str, args: tuple[object, ...], types: tuple[Type, ...]) -> Sequence[object]:
    """The default host: prints, knows characters beyond ASCII, and no externs."""
    if name == "print":
        print(str_text(args[0]))
        return ()
    if name in LETTERS:
        return letters(name, args)
    raise InterpFault("HostError", f"there is no host function {name}")


def letters(name: str, args: Sequence[object]) -> Sequence[object]:
    """A service of `LETTERS`."""
    found = LETTERS[name](str_text(args[0]))
    return (str_value(found) if isinstance(found, str) else found,)


class Interpreter:
    """Runs functions of one program; each becomes Python code when it is first called."""

    def __init__(
        self, program: Program, host: Host = print_host, depth_limit: int = 10000, turns: int | None = None
    ):
        """`turns`: how many turns of loops and calls it may take together."""
        self.program = program
        self.host_callback = host
        self.depth_limit = depth_limit
        self.turns = turns
        self._symbols = {name: f"_fn{i}" for i, name in enumerate(program.fns)}
        self._zeros: dict[Type, object] = {}
        self.namespace: dict[str, object] = {self._symbols[name]: self._stub(name) for name in program.fns}
        """What the compiled functions see: each other."""

    def call(self, fn: str, args: Iterable[object]) -> tuple[object, ...]:
        """The results of a function."""
        limit, collecting = sys.getrecursionlimit(), gc.isenabled()
        gc.disable()  # values have no cycles, and searching a million of them for some takes most of the time
        sys.setrecursionlimit(max(limit, FRAMES_PER_CALL * self.depth_limit + 10000))
        try:
            return self.namespace[self._symbols[fn]](*args, 1)  # type: ignore[operator, no-any-return]
        finally:
            sys.setrecursionlimit(limit)
            if collecting:
                gc.enable()

    def _stub(self, name: str) -> Callable:
        def first_call(*args: object) -> object:
            compiled = compile_fn(
                self.program.fns[name], self, self._symbols, self.depth_limit, fault_of, self.turns is not None)
            self.namespace[self._symbols[name]] = compiled
            return compiled(*args)

        return first_call

    def turn(self) -> None:
        """A loop turns, or a function begins."""
        assert self.turns is not None
        self.turns -= 1
        if self.turns < 0:
            raise InterpFault("RuntimeError", "it takes too long")

    def zero(self, t: Type) -> object:
        """The value that a fresh buffer holds. No value of an enum with fields is its zero: it is never read."""
        if t not in self._zeros:
            self._zeros[t] = self._make_zero(t)
        return self._zeros[t]

    def _make_zero(self, t: Type) -> object:
        match t:
            case Prim(name):
                return False if name == "bool" else 0 if name in ("int", "i32", "u8") else 0.0
            case TensorT(elem, dims):
                return np.zeros((0,) * len(dims), DTYPES[elem.name])
            case TupleT() | StructT():
                return tuple(self.zero(f) for f in parts(t, self.program))
            case OptionT():
                return None
            case BufferT():
                return Buffer([])
            case EnumT(name):
                return EnumValue(0) if self.program.enums[name].plain else None
        raise TypeError(t)

    def host(self, name: str, args: tuple[object, ...], op: Op) -> object:
        results = tuple(self.host_callback(name, args, tuple(o.type for o in op.outs)) or ())
        assert len(results) == len(op.outs), f"host {name} gave {len(results)} results instead of {len(op.outs)}"
        return results[0] if len(results) == 1 else results


def fault_of(kind: str, values: tuple) -> InterpFault:
    """The exception of a fault's tail."""
    if len(values) == 2:
        return index_fault(*values)
    return InterpFault(kind, str_text(values[0]) if values else "")


__all__ = ["DTYPES", "Host", "InterpFault", "Interpreter", "print_host", "str_text", "str_value"]
