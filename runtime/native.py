"""Calls of machine code: contexts and faults."""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Callable, Generator, Iterable
from typing import Any

from hybridc_runtime import glue, interrupts, limits, team
from hybridc_runtime.faults import DEFAULTS, FAULTS, Frame, located, make
from hybridc_runtime.holds import FOREIGN, free_kept, release_hold
from hybridc_runtime.linking import Code, Later, jit
from hybridc_runtime.memory import HEADER, MEMORY, TRIPLE, WORD, align_up, allocate, free, set_word, word

FAULT, MESSAGE, TRACE_LENGTH, TRACE = glue.FAULT_CODE, glue.MESSAGE, glue.TRACE_LENGTH, glue.TRACE
DEPTH, STACK_LIMIT = glue.DEPTH, glue.STACK_LIMIT
TRACE_SLOTS = 64
ServiceType = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_size_t)
_release_foreign = ctypes.CFUNCTYPE(None, ctypes.c_int64)(release_hold)


# ---- contexts
SPARE_BYTES = 1 << 20
"""Of free buffers that a context keeps for the next call. It adds to what a tape of a stated size takes."""


class Context:
    """One call's context, with scratch memory for its arguments and results."""

    SCRATCH = 4096
    __slots__ = (
        "address", "flag", "program", "pending", "prints", "stores", "interrupted", "entered", "scratch", "_service",
        "_poll", "__weakref__",
    )

    def __init__(self, program: Program):
        self.address = self.flag = self.scratch = 0
        self.program = program
        self.address = allocate(glue.FULL_SIZE)
        self.flag = self.address + glue.FLAG
        self.scratch = allocate(self.SCRATCH)
        self.pending: BaseException | None = None
        self.prints: list[tuple[int, str]] | None = None
        """In a crew: what is printed, until the end of the loop, with the index that printed it."""
        self.stores: set[Any] | None = None
        """Stores written in this call, to be told how it ended."""
        a, glue_address = self.address, jit().address
        set_word(a + glue.DEPTH_LIMIT, limits.depth_limit())
        set_word(a + glue.FLAG_POINTER, self.flag)
        set_word(a + glue.HOST, glue_address["hyb_rt_host"])
        set_word(a + glue.POLL, glue_address["hyb_rt_poll"])
        set_word(a + glue.RELEASE_FOREIGN, ctypes.cast(_release_foreign, ctypes.c_void_p).value or 0)
        set_word(a + glue.PARALLEL, glue_address["hyb_rt_parallel"])
        set_word(a + glue.POOL, jit().pool)
        set_word(a + glue.SEED, limits.hash_seed())
        set_word(a + glue.TEAM, team.CELL)
        set_word(a + glue.BUDGET, SPARE_BYTES)
        set_word(a + glue.CREW, program.crew)
        program.contexts.add(a)
        self.interrupted = False
        """Did the poll end the call?"""
        self.entered = False
        """Did the code get its arguments?"""
        self.revive()

    def __del__(self) -> None:
        # None where its making ended early, as at Python's limit of calls.
        address = getattr(self, "address", 0)
        if not address:
            return
        # Collected in one cycle with values whose release wants a context: they must see that this one is gone.
        self.address = 0
        interrupts.active.discard(self.flag)
        self.program.retire(address)
        free(self.scratch)
        free(address)

    def revive(self) -> None:
        """Set up the callbacks; they end when an exception passed through one."""
        self.interrupted = False
        self._service = self._callback(self._serve())
        self._poll = self._callback(self._check())
        set_word(self.address + glue.CALLBACK, ctypes.cast(self._service, ctypes.c_void_p).value or 0)
        set_word(self.address + glue.CHECK, ctypes.cast(self._poll, ctypes.c_void_p).value or 0)

    def _callback(self, generator: Generator[int, int, None]) -> Any:
        next(generator)
        return ServiceType(generator.send)

    def _serve(self) -> Generator[int, int, None]:
        """Host services, one for each resumption."""
        program, address = self.program, self.address
        try:
            while True:
                yield 0
                service, args, results = TRIPLE.unpack_from(MEMORY, address + glue.SERVICE)
                if service == glue.PREPARE:
                    program.prepare(self, args)
                elif service == glue.FINISH:
                    if program.finish(self, args):
                        # The fault of a thread's context stands in this one now.
                        yield 1
                        return
                else:
                    program.services[service](self, args, results)
        except GeneratorExit:
            return
        except BaseException as e:  # noqa: B036 (raised again by the call)
            self._keep(e)
            yield 1

    def _check(self) -> Generator[int, int, None]:
        """The poll: on the main thread Python runs signal handlers where this resumes."""
        try:
            while True:
                yield 0
                MEMORY[self.flag] = 0
        except GeneratorExit:
            return
        except BaseException as e:  # noqa: B036 (raised again by the call)
            self.interrupted = True
            self._keep(e)
            yield 1

    def _keep(self, e: BaseException) -> None:
        if self.pending is not e:
            self.pending = e
        fault = self.address + FAULT
        if not word(fault):
            set_word(fault, glue.HOST_ERROR)
            set_word(self.address + TRACE_LENGTH, 0)

    # ---- faults
    def take_fault(self) -> BaseException:
        """The exception of the fault in the context, which is made ready for the next call."""
        address, sites = self.address, self.program.sites
        code, a, b, message, size, _, length = _seven.unpack_from(MEMORY, address)
        slots = _words(address + TRACE, min(length, TRACE_SLOTS))
        set_word(address + FAULT, 0)
        set_word(address + TRACE_LENGTH, 0)
        set_word(address + DEPTH, 0)
        text = None
        if message:
            text = bytes(MEMORY[message + HEADER:message + HEADER + size]).decode("utf-8", "replace")
            set_word(address + MESSAGE, 0)
            self.program.drop_block(message)
        frames: list[Frame] = []
        for site in reversed(slots):
            path, line, _, title, hidden = sites[site] if 0 <= site < len(sites) else ("", 0, 0, "", True)
            if not hidden:
                frames.append((path, line, title))
        error, self.pending = self.pending, None
        self.revive()
        if error is not None:
            if code in (glue.HOST_ERROR, glue.INTERRUPTED, 0):
                try:
                    return located(error, frames)
                finally:
                    del error
        if not code:
            return located(SystemError("compiled code failed and did not say why"), frames)
        kind = FAULTS[code - 1]
        if kind == "KeyboardInterrupt":
            return located(KeyboardInterrupt(), frames)
        if text is None:
            text = f"index {a} is out of range for length {b}" if kind == "IndexError" else DEFAULTS.get(kind, "")
        return make(kind, text, frames)

    def discard_fault(self) -> None:
        """Forget a fault that another one goes before."""
        message = word(self.address + MESSAGE)
        if message:
            self.program.drop_block(message)
        set_word(self.address + MESSAGE, 0)
        set_word(self.address + FAULT, 0)
        set_word(self.address + TRACE_LENGTH, 0)
        set_word(self.address + DEPTH, 0)
        self.pending = None
        self.revive()

    def adopt_fault(self, other: Context) -> None:
        """Take over the fault of a context of a crew."""
        start, end = self.address, other.address
        MEMORY[start:start + DEPTH] = MEMORY[end:end + DEPTH]
        MEMORY[start + TRACE:start + glue.CONTEXT_SIZE] = MEMORY[end + TRACE:end + glue.CONTEXT_SIZE]
        set_word(end + FAULT, 0)
        set_word(end + MESSAGE, 0)
        self.pending, other.pending = other.pending, None
        other.revive()


_seven = struct.Struct("=7q")


def _words(address: int, count: int) -> list[int]:
    return [WORD.unpack_from(MEMORY, address + 8 * i)[0] for i in range(count)]


class _Thread(threading.local):
    """Contexts not in use, of one program on one thread."""

    free: list[Context] | None = None
    limit = 0

    def begin(self) -> list[Context]:
        """At the thread's first call. Finding the limit may collect garbage, whose release is a call and comes here."""
        limit = limits.stack_limit()
        self.limit = limit
        if self.free is None:
            self.free = []
        return self.free


def crew(size: int) -> int:
    """The address of what a program's parallel loops need (glue.py), as long as there are programs, with no contexts
    yet."""
    address = align_up(allocate(glue.LINES + glue.LINE * (size + 1)), glue.LINE)
    set_word(address + glue.SIZE, size)
    # A thread takes a quarter of what were its part of what is left.
    set_word(address + glue.SHARE, (4 * size - 1).bit_length())
    return address


class Program:
    """Loaded native code. `services[i]` serves host call i: f(context, args address, results address)."""

    def __init__(self, code: Iterable[bytes] | Later, sites: list[Any]):
        self.code = Code(code)
        team.choose()
        self.sites = sites
        self.services: list[Callable[[Context, int, int], None]] = []
        self.crew = crew(team.threads())
        self.crew_contexts: list[Context] = []
        self.prepare: Callable[[Context, int], None]
        self.finish: Callable[[Context, int], bool]
        """Of parallel loops (parallel.py)."""
        self._local = _Thread()
        self._call = jit().call
        self.live = self.code.find("hyb live")
        self.contexts: set[int] = set()
        """Addresses of all contexts: each counts the blocks that compiled code made and freed with it."""
        self.cell: Any = None
        """The context of fast calls (fastcall.py)."""

    # ---- contexts
    def acquire(self) -> Context:
        idle = self.idle()
        while True:
            try:
                context = idle.pop()
            except IndexError:  # not asked before: a collection of garbage in between may take the last one
                context = Context(self)
            if context.address:
                break
        set_word(context.address + STACK_LIMIT, self._local.limit)
        return context

    def idle(self) -> list[Context]:
        """The contexts not in use of this thread."""
        local = self._local
        return local.free if local.free is not None else local.begin()

    def release(self, context: Context) -> None:
        self.idle().append(context)

    def call(self, entry: int, context: Context, args: int, results: int) -> None:
        """Run an entry, without the GIL; a fault is raised as its exception. `args` are consumed either way, if the
        context was entered. Where a signal's exception is raised, results may be there; what is zero is none."""
        flag, context.entered = context.flag, False
        try:  # a signal's exception may come anywhere, and leave no flag of a context that is gone
            interrupts.active.add(flag)
            if interrupts.parked:
                interrupts.start_timer()
            context.entered = True
            status = self._call(entry, context.address, args, results)
        except BaseException:  # a signal's: whatever the code gave is not known
            if word(context.address + FAULT):
                context.discard_fault()
            self._end_stores(context, True)
            raise
        finally:
            interrupts.active.discard(flag)
        if context.stores is not None:
            self._end_stores(context, bool(status))
        if status:
            raise context.take_fault()

    def _end_stores(self, context: Context, failed: bool) -> None:
        stores, context.stores = context.stores, None
        for store in stores or ():
            store.end_call(context.address, failed)

    # ---- counted blocks
    def drop_block(self, block: int) -> None:
        """Let go of a block that holds no others (text, the elements of a tensor)."""
        if jit().drop(block):
            if word(block + 8) == FOREIGN:
                release_hold(word(block + 16))
            elif word(block + 8) < 0:
                free_kept(block)
            if block & 8:  # of compiled code's pool (hybridc/llvm/pool.py)
                number = glue.TEXT_CLASS + (max(word(block + 8), 1) - 1) // 16
                set_word(block, 0)
                jit().give(jit().pool + 16 * number, block)
            else:
                free(block)
            self.count_live(-1)

    def count_live(self, change: int) -> None:
        if self.live and change:
            jit().count(self.live, change)

    def live_blocks(self) -> int:
        """How many counted blocks exist: for tests of leaks."""
        return word(self.live) + sum(word(a + glue.LIVE_BLOCKS) for a in tuple(self.contexts)) if self.live else 0

    def retire(self, context: int) -> None:
        """What a context that ends has counted, and its free blocks."""
        self.contexts.discard(context)
        self.count_live(word(context + glue.LIVE_BLOCKS))
        for i in range(glue.CLASSES):
            for place in (0, 8):
                jit().give(jit().pool + 16 * i, word(context + glue.LISTS + 24 * i + place))
        for i in range(glue.SPARES):
            block = word(context + glue.SPARE_BUFFERS + 16 * i)
            while block:
                after = word(block)
                free(block)
                block = after


__all__ = ["Context", "Program"]
