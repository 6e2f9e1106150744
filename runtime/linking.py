"""Machine code as it is linked: one linker for the process, the code of each program, and code that is made later."""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
from hybridc_runtime import glue, support, team
from hybridc_runtime.memory import allocate, set_word, zero

PATIENCE = 10.0
"""Seconds that a fork waits for a thread that makes code."""


def _inside() -> int:
    """The address of the state of alone.py, which a child of a fork begins anew, with none of the threads."""
    size = 32
    address = allocate(size)

    def begin() -> None:
        zero(address, size)
        set_word(address + glue.MET, 0 if getattr(sys, "_is_gil_enabled", lambda: True)() else 1)

    begin()
    os.register_at_fork(after_in_child=begin)
    return address


def _lock_of_llvm() -> Any:
    """llvmlite's, which lets in one thread at a time."""
    return getattr(getattr(llvm.ffi.lib, "_lock", None), "_lock", None)


def _unbroken(work: Callable[[], Any]) -> Any:
    """Its result. A signal's exception may come where llvmlite has taken its lock and not yet begun to see to it that
    it is given back: no other thread would ever get it."""
    lock = _lock_of_llvm()
    held = lock is None or lock._is_owned()
    try:
        return work()
    except BaseException:
        while not held and lock._is_owned():
            lock.release()
        raise


# ---- the just-in-time linker
class Jit:
    """LLVM's linker, one for the process, and the runtime's own machine code."""

    def __init__(self) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(opt=1, jit=True)
        self.lljit = llvm.create_lljit_compiler(machine, use_jit_link=True, suppress_errors=True)
        self.numbers = itertools.count()  # of libraries; a generator would end with a signal's exception within it
        self._new_locks()
        os.register_at_fork(before=self._hold, after_in_parent=self._let_go, after_in_child=self._begin_again)
        self.loaded: list[Any] = []
        """What keeps code in memory, for good: values that compiled code made may outlive everything else, and release
        themselves by it. LLVM unloads a library with the first tracker of one of its symbols that ends."""
        found = support.support()
        builder = llvm.JITLibraryBuilder().add_object_img(found.object).add_current_process()
        for name in support.NAMES:
            builder.export_symbol(name)
        self.tracker = builder.link(self.lljit, "hyb_support")
        self.address = {name: self.tracker[name] for name in support.NAMES}
        self.known = found.known
        size, i32 = ctypes.c_size_t, ctypes.c_int32
        self.inside = _inside()
        for name, value in ("inside", self.inside), ("none", id(None)), ("true", id(True)):
            set_word(self.address["hyb_known"] + 8 * self.known.index(name), value)
        self.call = ctypes.PYFUNCTYPE(i32, size, size, size, size)(self.address["hyb_call"])
        self.release = ctypes.PYFUNCTYPE(None, size, size, size)(self.address["hyb_release"])
        self.pack = ctypes.PYFUNCTYPE(ctypes.py_object, size, size, size)(self.address["hyb_pack"])
        self.unpack = ctypes.PYFUNCTYPE(i32, size, ctypes.py_object, size, size, size, size)(self.address["hyb_unpack"])
        self.retain = ctypes.PYFUNCTYPE(None, size)(self.address["hyb_rt_retain"])
        self.drop = ctypes.PYFUNCTYPE(i32, size)(self.address["hyb_rt_drop"])
        self.keep = ctypes.PYFUNCTYPE(None, size, size)(self.address["hyb_keep"])
        self.own = ctypes.PYFUNCTYPE(ctypes.py_object, size, size)(self.address["hyb_own"])
        self.swap = ctypes.PYFUNCTYPE(ctypes.py_object, size, ctypes.py_object)(self.address["hyb_swap"])
        self.give = ctypes.PYFUNCTYPE(None, size, size)(self.address["hyb_rt_give"])
        self.pool = allocate(glue.POOL_SIZE)
        """Free blocks of enum values, shared by all contexts."""
        team.begin(self.address)
        self.count = ctypes.PYFUNCTYPE(None, size, ctypes.c_int64)(self.address["hyb_rt_count"])

    def _new_locks(self) -> None:
        self.lock = threading.RLock()
        """Of who links."""
        self.making = threading.RLock()
        """Of who makes code that is to be linked."""

    # A child of a fork has none of the threads, but the locks that they held, and LLVM as they left it: a fork waits
    # until nobody makes code or is within LLVM.
    def _hold(self) -> None:
        self._held = [lock for lock in (self.making, _lock_of_llvm()) if lock and lock.acquire(timeout=PATIENCE)]

    def _let_go(self) -> None:
        for lock in self._held:
            lock.release()

    def _begin_again(self) -> None:
        self._let_go()
        self._new_locks()

    def link(
        self, objects: Iterable[bytes], after: Iterable[str] = (), symbols: Collection[str] = ()
    ) -> tuple[str, dict[str, int]]:
        """Load objects as one library, which finds what it lacks in others; its name, and the addresses of symbols."""
        with self.lock:
            builder = llvm.JITLibraryBuilder()
            for library in after:
                builder.add_jit_library(library)
            builder.add_current_process()
            for data in objects:
                builder.add_object_img(data)
            for symbol in symbols:
                builder.export_symbol(symbol)
            name = f"hyb{next(self.numbers)}"
            tracker = _unbroken(lambda: builder.link(self.lljit, name))
            self.loaded.append(tracker)
            return name, {symbol: tracker[symbol] for symbol in symbols}

    def find(self, library: str, symbol: str) -> int:
        """The address of a symbol, or 0."""
        try:
            tracker = _unbroken(lambda: self.lljit.lookup(library, symbol))
        except RuntimeError:
            return 0
        self.loaded.append(tracker)
        return int(tracker[symbol])


@functools.cache
def jit() -> Jit:
    return Jit()


# ---- the code of a program
@dataclass(frozen=True, slots=True)
class Batch:
    """Objects that are linked together: what it is that they hold, and as whose entries Python knows it."""

    names: list[str]
    symbols: list[str]
    objects: list[bytes]


class Later(ABC):
    """Code that is made when it is asked for (hybridc/link/later.py)."""

    @abstractmethod
    def first(self) -> list[bytes]:
        """Objects that all others need."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Is there something of this name?"""

    @abstractmethod
    def more(self, names: Iterable[str]) -> Batch | None:
        """What has these names, as far as there is something, with what it needs; not what was given before, and None
        if that is all."""

    @abstractmethod
    def given(self, batch: Batch) -> None:
        """It is linked."""

    @abstractmethod
    def helps(self) -> bool:
        """Is this thread one that another one waits for, which makes code?"""


class Code:
    """The machine code of one program, which may be made later, by its symbols."""

    def __init__(self, given: Iterable[bytes] | Later):
        self.later = given if isinstance(given, Later) else None
        first, _ = jit().link(given.first() if isinstance(given, Later) else given)
        self._libraries = [first]
        self._addresses: dict[str, int] = {}

    def make(self, symbols: Iterable[str]) -> None:
        """Make the code of these, and of what they need, if it is to be made later and was not."""
        if self.later is None:
            return
        making = jit().making
        # What two threads want is made once, but for what one of the helpers wants, as it frees a value.
        alone = making.acquire(blocking=not self.later.helps())
        try:
            batch = self.later.more(symbols)
            if batch is None:
                return
            name, addresses = jit().link(batch.objects, self._libraries, batch.symbols)
            # In this order: a signal may end it anywhere, and another thread look at it. Then it is made twice.
            self._libraries.append(name)
            self._addresses.update(addresses)
            self.later.given(batch)
        finally:
            if alone:
                making.release()

    def find(self, symbol: str) -> int:
        """The address of a symbol, or 0."""
        address = self._addresses.get(symbol)
        if address is None:
            if self.later is not None and self.later.has(symbol):
                self.make([symbol])
                return self._addresses[symbol]
            address = self._addresses[symbol] = jit().find(self._libraries[0], symbol)
        return address

    def entry(self, symbol: str) -> int:
        """The address of an entry, for `Program.call`."""
        address = self.find(symbol)
        if not address:
            raise AttributeError(f"the compiled program has no {symbol}")
        return address


__all__ = ["Batch", "Code", "Jit", "Later", "jit"]
