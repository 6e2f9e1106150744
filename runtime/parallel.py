"""`parallel` loops: a pool of threads, each with a context of its own.

Indices are handed out in order. A fault at one index stops those above it, and the lowest that failed is the fault of
the loop; what the bodies printed comes out in the order of the indices, up to that fault.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet

from hybridc_runtime.glue import INDEX, TEAM, WORKER
from hybridc_runtime.interrupts import watch
from hybridc_runtime.limits import STACK
from hybridc_runtime.memory import MEMORY, PAIR, allocate, free, set_word, word
from hybridc_runtime.native import DEPTH, FAULT, PARALLEL, Context, jit
from hybridc_runtime.team import CELL, threads

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def _workers() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(max(1, threads() - 1), thread_name_prefix="hyb")
            before = threading.stack_size(STACK)
            try:
                # All at once, so that each thread is made now, with a stack of that size.
                meeting = threading.Barrier(threads())
                for _ in range(threads() - 1):
                    _pool.submit(meeting.wait)
                meeting.wait()
            except BaseException:
                meeting.abort()
                raise
            finally:
                threading.stack_size(before)
        return _pool


def _forget() -> None:
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)


class Loop:
    """One parallel loop in progress. A signal may raise an exception wherever Python runs; no thread is left at the
    loop when it has ended, since what it works on is gone then."""

    def __init__(self, context: Context, worker: int, env: int, count: int):
        self.parent, self.program = context, context.program
        self.worker, self.env = worker, env
        self.shared = allocate(16)
        PAIR.pack_into(MEMORY, self.shared, 0, count)
        self.contexts: list[tuple[Context, list[Context]]] = []
        """Those that run it, each with the list of its thread, which it goes back to."""
        self.several = count > 1 and not _inside.active and threads() > 1
        """Is it for more threads than one?"""
        self.helpers: list[Future[None]] = []
        self.running: list[None] = []
        """One for each helper that is at it."""
        self.closed = False
        """No helper may begin any more."""
        self.stop = False

    def stopped(self) -> bool:
        """Is it to stop: it, or a loop around it?"""
        outer = self.parent.abort
        return self.stop or outer is not None and outer.stopped()

    def work(self) -> None:
        """Take indices until there are none, on this thread."""
        context = self.program.acquire()
        context.abort = self
        context.prints = []
        set_word(context.address + DEPTH, word(self.parent.address + DEPTH))
        set_word(context.address + TEAM, 0)
        set_word(context.address + WORKER, int(self.several))
        set_word(context.address + PARALLEL, jit().address["hyb_rt_alone"])
        self.contexts.append((context, self.program.idle()))
        with watch(context.flag):
            jit().take(context.address, self.worker, self.env, self.shared, self.shared + 8)

    def run(self) -> bool:
        """Whether the context holds a fault now."""
        trouble: BaseException | None = None
        try:
            self._go()
        except BaseException as e:  # noqa: B036 (raised again below)
            trouble = e
        while True:
            try:
                self._close(trouble is not None)
                break
            except BaseException as e:  # noqa: B036 (raised again below)
                trouble = e
        failed = self._finish()
        if trouble is not None:
            try:
                raise trouble
            finally:
                del trouble
        return failed

    def _go(self) -> None:
        if self.several:
            pool = _workers()
            for _ in range(min(threads(), word(self.shared + 8)) - 1):
                self.helpers.append(pool.submit(self._help))
        before, _inside.active = _inside.active, True
        try:
            self.work()
        finally:
            _inside.active = before
        for helper in self.helpers:
            self._wait(helper)

    def _help(self) -> None:
        self.running.append(None)
        try:
            if not self.closed:
                _inside.active = True
                self.work()
        finally:
            self.running.pop()

    def _wait(self, helper: Future[None]) -> None:
        """In steps, so that the main thread sees signals meanwhile, and a stop of the loop around this one."""
        if helper.cancel():
            return
        while True:
            try:
                return helper.result(0.02)
            except NotYet:
                if self.stopped():
                    raise KeyboardInterrupt from None
                if any(c.interrupted for c, _ in self.contexts):
                    self.stop = True

    def _close(self, at_once: bool) -> None:
        """Wait until no helper is at it."""
        self.closed = True
        if at_once:
            self.stop = True
            set_word(self.shared + 8, 0)
        while self.running:
            time.sleep(0.0005)

    def _finish(self) -> bool:
        """Deliver prints and the fault, if there is one."""
        failed = [(word(c.address + INDEX), c) for c, _ in self.contexts if word(c.address + FAULT)]
        limit = min((i for i, _ in failed), default=None)
        texts = [entry for c, _ in self.contexts for entry in c.prints or ()]
        texts.sort(key=lambda entry: entry[0])
        try:
            for index, text in texts:
                if limit is None or index <= limit:
                    self._print(text)
        finally:
            # A signal's exception is the main thread's; where one came the order of indices does not matter.
            order = sorted(failed, key=lambda f: (not f[1].interrupted or f[1].pending is None, f[0]))
            for place, (_, context) in enumerate(order):
                if place == 0:
                    self.parent.adopt_fault(context)
                else:
                    context.discard_fault()
            for context, idle in self.contexts:
                context.prints = context.abort = None
                set_word(context.address + TEAM, CELL)
                set_word(context.address + WORKER, 0)
                set_word(context.address + PARALLEL, jit().address["hyb_rt_parallel"])
                idle.append(context)
            free(self.shared)
        return bool(failed)

    def _print(self, text: str) -> None:
        if self.parent.prints is not None:
            self.parent.prints.append((word(self.parent.address + INDEX), text))
        else:
            sys.stdout.write(text + "\n")


class _Inside(threading.local):
    """Is this thread a worker already? Loops within run on it alone."""

    active = False


_inside = _Inside()


def run_loop(context: Context, worker: int, env: int, count: int) -> bool:
    """Whether the context holds a fault now."""
    return Loop(context, worker, env, count).run()
