"""Who counts owners without atomic operations: a thread that is alone in compiled code.

An atomic addition takes some twenty times as long as a plain one, and programs of trees and lists count a lot. So the
word `alone` of a context says that nobody else counts (hybridc/llvm/refcount.py reads it). Everything here runs with
Python's lock, the GIL, held; so does what counts from Python. A call that keeps the GIL is alone where no other is
under way. One that gives it up is alone until another thread wants to count: that thread raises the flag of the
context, gives up the GIL, and waits until the first one comes to a poll, to a service, or to its end. This happens
once in a process; from then on calls that give up the GIL count atomically.

A service leaves compiled code, so no thread waits for one that does something else; who shares a parallel loop with
other threads stays counted and is not alone until its end, nor are the other threads' contexts; calls from numba's
code, which share no block with anybody, are not counted here.

`known.inside` is the address of four words: how many threads are inside, the context of the one that is alone or 0,
its thread, and whether several threads have met. Functions that begin with `hyb_` are machine code (machine.py).
"""

from __future__ import annotations

from hybridc_runtime import glue as plan
from hybridc_runtime.machine import api, enter, known, let_go, set_half, set_word, word


def hyb_wait() -> None:
    """Until the caller gives up the GIL, no other thread counts without atomic operations."""
    inside = known.inside
    while word(inside + plan.LONE) != 0:
        if word(inside + plan.LONE_THREAD) == api.PyThread_get_thread_ident():
            return
        set_word(inside + plan.MET, 1)
        set_half(word(inside + plan.LONE) + plan.FLAG, 1)
        state = api.PyEval_SaveThread()
        api.usleep(20)
        api.PyEval_RestoreThread(state)


def hyb_arrive(context: int, brief: int) -> None:
    """This thread goes into compiled code; `brief`: it keeps the GIL."""
    hyb_wait()
    inside = known.inside
    set_word(inside, word(inside) + 1)
    set_word(context + plan.ARRIVED, 1)
    hyb_settle(context, brief)


def hyb_settle(context: int, brief: int) -> None:
    """It is alone from now on, if nobody else is inside."""
    inside = known.inside
    if word(inside) == 1 and (brief != 0 or word(inside + plan.MET) == 0):
        set_word(inside + plan.LONE, context)
        set_word(inside + plan.LONE_THREAD, api.PyThread_get_thread_ident())
        set_word(context + plan.ALONE, 1)


def hyb_share(context: int) -> None:
    """From now on others count as well."""
    inside = known.inside
    if word(inside + plan.LONE) == context:
        set_word(context + plan.ALONE, 0)
        set_word(inside + plan.LONE, 0)


def hyb_depart(context: int) -> int:
    """It comes out; 0 if it was not counted."""
    if word(context + plan.ARRIVED) == 0:
        return 0
    inside = known.inside
    set_word(context + plan.ARRIVED, 0)
    set_word(inside, word(inside) - 1)
    hyb_share(context)
    return 1


def hyb_call(function: int, context: int, args: int, results: int) -> int:
    """An entry, without the GIL: its status."""
    hyb_arrive(context, 0)
    state = api.PyEval_SaveThread()
    status = enter(function, context, args, results)
    api.PyEval_RestoreThread(state)
    hyb_depart(context)
    return status


def release(function: int, context: int, value: int) -> None:
    """A compiled release, with the GIL."""
    hyb_arrive(context, 1)
    let_go(function, context, value)
    hyb_depart(context)


def hyb_release(function: int, context: int, value: int) -> None:
    """A compiled release, without the GIL."""
    hyb_arrive(context, 0)
    state = api.PyEval_SaveThread()
    let_go(function, context, value)
    api.PyEval_RestoreThread(state)
    hyb_depart(context)
