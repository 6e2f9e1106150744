"""`parallel` loops: a pool of threads, each with a context of its own.

Indices are handed out in order. A fault at one index stops those above it, and the lowest that failed is the fault of
the loop; what the bodies printed comes out in the order of the indices, up to that fault.
"""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet

from hybridc_runtime.glue import INDEX
from hybridc_runtime.memory import MEMORY, PAIR, allocate, free, set_word, word
from hybridc_runtime.native import DEPTH, STACK, Context, jit, watch

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def threads() -> int:
    """HYB_THREADS, or as many as the processors this process may use."""
    return max(1, int(os.environ.get("HYB_THREADS", "0")) or len(os.sched_getaffinity(0)))


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
            finally:
                threading.stack_size(before)
        return _pool


def _forget() -> None:
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)


class Loop:
    """One parallel loop in progress."""

    def __init__(self, context: Context, worker: int, env: int, count: int):
        self.parent, self.program = context, context.program
        self.worker, self.env = worker, env
        self.shared = allocate(16)
        PAIR.pack_into(MEMORY, self.shared, 0, count)
        self.failed: list[tuple[int, Context]] = []
        self.done: list[Context] = []
        self.stop = False

    def stopped(self) -> bool:
        """Is it to stop: it, or a loop around it?"""
        outer = self.parent.abort
        return self.stop or outer is not None and outer.stopped()

    def work(self) -> None:
        """Take indices until there are none, on this thread."""
        program = self.program
        context = program.acquire()
        context.abort = self
        context.prints = []
        set_word(context.address + DEPTH, word(self.parent.address + DEPTH))
        try:
            with watch(context.flag):
                status = jit().work(context.address, self.worker, self.env, self.shared, self.shared + 8)
            if status:
                self.failed.append((word(context.address + INDEX), context))
            self.done.append(context)
        finally:
            context.abort = None

    def run(self) -> None:
        count = word(self.shared + 8)
        helpers: list[Future[None]] = []
        if count > 1 and not _inside.active and threads() > 1:
            pool = _workers()
            helpers = [pool.submit(self._help) for _ in range(min(threads(), count) - 1)]
        try:
            before, _inside.active = _inside.active, True
            try:
                self.work()
            finally:
                _inside.active = before
            for helper in helpers:
                self._wait(helper)
        except BaseException:
            self.stop = True
            set_word(self.shared + 8, 0)
            for helper in helpers:
                if not helper.cancel():
                    self._drain(helper)
            raise
        finally:
            self._finish()

    def _help(self) -> None:
        _inside.active = True
        self.work()

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
                if any(c.interrupted for _, c in self.failed):
                    self.stop = True

    def _drain(self, helper: Future[None]) -> None:
        while not helper.done():
            try:
                helper.result(0.02)
            except (NotYet, KeyboardInterrupt):
                continue

    def _finish(self) -> None:
        """Deliver prints and the fault."""
        limit = min((i for i, _ in self.failed), default=None)
        texts = [entry for c in self.done for entry in c.prints or ()]
        texts.sort(key=lambda entry: entry[0])
        for index, text in texts:
            if limit is None or index <= limit:
                self._print(text)
        # A signal's exception is the main thread's; where one came the order of indices does not matter.
        order = sorted(self.failed, key=lambda f: (not f[1].interrupted or f[1].pending is None, f[0]))
        for place, (_, context) in enumerate(order):
            if place == 0:
                self.parent.adopt_fault(context)
            else:
                context.discard_fault()
        for context in self.done:
            context.prints = None
            self.program.release(context)
        free(self.shared)

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
    loop = Loop(context, worker, env, count)
    loop.run()
    return bool(loop.failed)
