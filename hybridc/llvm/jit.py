"""Loads an object into this process and calls it with a context made here: for tests and tools. Programs are loaded
by the runtime, which does not import the compiler."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

import llvmlite.binding as llvm

from hybridc.llvm.abi import CONTEXT_SIZE, FAULTS, OFFSET, TRACE_LENGTH
from hybridc.llvm.compile import Compiled
from hybridc.llvm.entry import entry_name

HOST = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
POLL = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)
PARALLEL = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
WORKER = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
RELEASE = ctypes.CFUNCTYPE(None, ctypes.c_int64)
ENTRY = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


class Context:
    """A context in memory. `host(id, args, results)` may be replaced; `flag.value = 1` asks for a poll."""

    def __init__(self, depth_limit: int = 10_000, stack_limit: int = 0):
        self.memory = (ctypes.c_int64 * (CONTEXT_SIZE // 8))()
        self.address = ctypes.addressof(self.memory)
        self.flag = ctypes.c_int32(0)
        self.host: Callable[[int, int, int], int] = lambda number, args, results: 1
        self.interrupt = True
        self.released: list[int] = []
        self._callbacks = (
            HOST(lambda ctx, number, args, results: self.host(number, args or 0, results or 0)),
            POLL(lambda ctx: int(self.interrupt)),
            PARALLEL(self._parallel),
            RELEASE(self.released.append),
        )
        for name, callback in zip(("host", "poll", "parallel", "release_foreign"), self._callbacks, strict=True):
            self.set(name, ctypes.cast(callback, ctypes.c_void_p).value or 0)
        self.set("flag", ctypes.addressof(self.flag))
        self.set("depth_limit", depth_limit)
        self.set("stack_limit", stack_limit)

    def get(self, name: str) -> int:
        return self.memory[OFFSET[name] // 8]

    def set(self, name: str, value: int) -> None:
        self.memory[OFFSET[name] // 8] = value

    @property
    def trace(self) -> list[int]:
        start = OFFSET["trace"] // 8
        return list(self.memory[start : start + min(self.get("trace_len"), TRACE_LENGTH)])

    def _parallel(self, ctx: int, worker: int, env: int, count: int) -> int:
        run = WORKER(worker)
        for i in range(count):
            if run(ctx, env, i):
                return 1
        return 0


class NativeFault(Exception):
    """A fault of compiled code, as its context tells it."""

    def __init__(self, kind: str, message: str | None, index: tuple[int, int], trace: list[int]):
        super().__init__(f"{kind}: {message}")
        self.kind, self.message, self.index, self.trace = kind, message, index, trace


class Loaded:
    """A program in this process."""

    def __init__(self, compiled: Compiled):
        self._jit = llvm.create_lljit_compiler(use_jit_link=True)
        builder = llvm.JITLibraryBuilder().add_current_process()
        for data in compiled.objects:
            builder.add_object_img(data)
        names = [name for data in compiled.objects for name in exported(data)]
        for name in names:
            builder.export_symbol(name)
        self._tracker = builder.link(self._jit, "program")
        self._address = {name: self._tracker[name] for name in names}
        self._counted = 0

    def address(self, name: str) -> int:
        return self._address[name]

    @property
    def live(self) -> int:
        """Counted blocks alive, as the calls made here have counted them."""
        return ctypes.c_int64.from_address(self._address["hyb live"]).value + self._counted

    def call(self, fn: str, args: int, results: int, ctx: Context) -> None:
        """Call an entry with addresses of its arguments and results; NativeFault if it faults."""
        before = ctx.get("live")
        status = ENTRY(self.address(entry_name(fn)))(ctx.address, args, results)
        self._counted += ctx.get("live") - before
        if status:
            raise take_fault(ctx)

    def release(self, symbol: str, value: int, ctx: Context) -> None:
        """Call the release function `symbol` for the value at an address."""
        before = ctx.get("live")
        ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(self.address(symbol))(ctx.address, value)
        self._counted += ctx.get("live") - before

    def scalars(
        self, fn: str, args: Sequence[tuple[type, object]], results: Sequence[type], ctx: Context | None = None
    ) -> list:
        """Call a function of ctypes values: `args` are (ctypes type, value), `results` ctypes types."""
        given = _struct([t for t, _ in args])(*(v for _, v in args))
        wanted = _struct(list(results))()
        self.call(fn, ctypes.addressof(given), ctypes.addressof(wanted), ctx or Context())
        return [getattr(wanted, f"f{i}") for i in range(len(results))]


def take_fault(ctx: Context) -> NativeFault:
    """The fault in a context, which is cleared."""
    kind = FAULTS[ctx.get("fault") - 1]
    block, size = ctx.get("message"), ctx.get("message_size")
    message = ctypes.string_at(block + 16, size).decode() if block else None
    fault = NativeFault(kind, message, (ctx.get("a"), ctx.get("b")), ctx.trace)
    ctx.set("fault", 0)
    ctx.set("message", 0)
    return fault


def _struct(types: list[type]) -> type[ctypes.Structure]:
    return type("Values", (ctypes.Structure,), {"_fields_": [(f"f{i}", t) for i, t in enumerate(types)]})


def exported(image: bytes) -> list[str]:
    """The names that an object defines for others, from its ELF symbol table."""
    names: list[str] = []
    u = int.from_bytes
    sections_at, count, size = u(image[40:48], "little"), u(image[60:62], "little"), u(image[58:60], "little")
    headers = [image[sections_at + i * size : sections_at + (i + 1) * size] for i in range(count)]
    for header in headers:
        if u(header[4:8], "little") != 2:  # the symbol table
            continue
        at, length, strings = u(header[24:32], "little"), u(header[32:40], "little"), u(header[40:44], "little")
        text_at = u(headers[strings][24:32], "little")
        for entry in range(at, at + length, 24):
            name_at, info, section = (
                u(image[entry : entry + 4], "little"),
                image[entry + 4],
                u(image[entry + 6 : entry + 8], "little"),
            )
            if info >> 4 == 1 and section != 0:  # global and defined
                start = text_at + name_at
                names.append(image[start : image.index(b"\0", start)].decode())
    return names
