"""The machine code of fast calls (see machine.py for what it may say, fastplan.py for where things are).

Whatever is not exactly as the plan says (another type, a number out of range, names, an array that is not contiguous)
goes unchanged to the slow callable, which converts it or says what is wrong with it. So nothing here raises but faults
of the program itself.
"""

from __future__ import annotations

from hybridc_runtime import fastplan as plan
from hybridc_runtime.alone import hyb_arrive, hyb_call, hyb_depart
from hybridc_runtime.fastlog import begin, close, commit, undo
from hybridc_runtime.fastread import finish, node_of, release_results
from hybridc_runtime.fastwrite import write
from hybridc_runtime.machine import api, enter, half, known, room, set_word, word


def write_all(head: int, args: int, base: int, log: int) -> int:
    n = word(head + plan.ARGS)
    muts = word(head + plan.MUTS)
    if muts > 0:
        row = head + plan.PARAMS + plan.PARAM * n + plan.RESULT * word(head + plan.VALUES)
        while muts > 0:
            i = word(row + 24)
            obj = word(args + 8 * i)
            if word(obj + plan.TYPE) == known.native:
                set_word(log + plan.LOG_FLAGS, word(log + plan.LOG_FLAGS) | plan.KEEP)
            elif word(word(head + plan.PARAMS + plan.PARAM * i)) == plan.TENSOR:
                if word(obj + plan.TYPE) != known.ndarray or half(obj + plan.ARRAY_FLAGS) & plan.WRITEABLE == 0:
                    return 0
            row += plan.RESULT
            muts -= 1
    flags = word(log + plan.LOG_FLAGS)
    shown = flags - (flags & plan.KEEP)
    p = head + plan.PARAMS
    i = 0
    while i < n:
        obj = word(args + 8 * i)
        if word(p + 24) == 0:
            set_word(log + plan.LOG_FLAGS, shown)
        else:
            set_word(log + plan.LOG_FLAGS, flags)
        if write(node_of(p, obj), obj, base + word(p + 8), log) == 0:
            return 0
        p += plan.PARAM
        i += 1
    return 1


def lock(obj: int) -> int:
    """The lock of a model, taken; 0 if another thread has it."""
    found = api.PyObject_GetAttr(obj, known.lock_name)
    if found == 0:
        api.PyErr_Clear()
        return 0
    row = room(16)
    set_word(row, found)
    set_word(row + 8, known.false)
    taken = api.PyObject_VectorcallMethod(known.acquire_name, row, 2, 0)
    if taken == 0:
        api.PyErr_Clear()
    else:
        api.Py_DecRef(taken)
        if taken == known.true:
            return found
    api.Py_DecRef(found)
    return 0


def unlock(found: int) -> None:
    """Give the lock back, whether or not there is an exception."""
    error = room(24)
    api.PyErr_Fetch(error, error + 8, error + 16)
    row = room(8)
    set_word(row, found)
    done = api.PyObject_VectorcallMethod(known.release_name, row, 1, 0)
    if done == 0:
        api.PyErr_Clear()
    else:
        api.Py_DecRef(done)
    api.Py_DecRef(found)
    api.PyErr_Restore(word(error), word(error + 8), word(error + 16))


def serve(head: int, args: int, n: int) -> int:
    """Call an entry: its value, 0 with an exception, or DECLINED."""
    flags = word(head + plan.FLAGS)
    if n != word(head + plan.ARGS):
        return plan.DECLINED
    if flags & plan.LOCKED == 0:
        return run(head, args, flags)
    found = lock(word(args))
    if found == 0:
        return plan.DECLINED
    value = run(head, args, flags)
    unlock(found)
    return value


def run(head: int, args: int, flags: int) -> int:
    cell = word(head + plan.CELL)
    if flags & plan.LONG != 0 and word(known.awake) == 0:
        return plan.DECLINED
    if flags & plan.DEEP != 0 and word(cell + plan.THREAD) != api.PyThread_get_thread_ident():
        return plan.DECLINED
    context = word(cell)
    if context == 0 or word(known.inside + plan.LONE) != 0:
        return plan.DECLINED
    set_word(cell, 0)
    base = room(plan.BOX)
    log = room(plan.LOG_SIZE)
    begin(log, room(192), head)
    set_word(log + plan.LOG_FLAGS, flags)
    set_word(log + plan.LOG_CONTEXT, context)
    if write_all(head, args, base, log) == 0 or word(known.inside + plan.LONE) != 0:
        undo(log)
        if word(log + plan.LOG_FAILED) != 0:
            return api.PyObject_Vectorcall(word(head + plan.FAULT), 0, 0, 0)
        set_word(cell, context)
        return plan.DECLINED
    if word(log + plan.LOG_COUNT) != 0:
        commit(log, 0)
    results = base + word(head + plan.RESULTS_AT)
    if flags & plan.LONG != 0:
        status = hyb_call(word(head), context, base, results)
    else:
        hyb_arrive(context, 1)
        status = enter(word(head), context, base, results)
        hyb_depart(context)
    close(log)
    if status != 0:
        return api.PyObject_Vectorcall(word(head + plan.FAULT), 0, 0, 0)
    value = finish(head, args, results, context)
    release_results(head, results, context)
    set_word(cell, context)
    return value


def offer(table: int, args: int, n: int, names: int) -> int:
    """Try the entries of a table, then the slow way."""
    if names == 0 and n > 0:
        rows = word(table + plan.ROW_COUNT)
        row = table + plan.ROWS
        model = 0
        if rows > 0 and word(row) != 0:
            model = api.PyObject_GetAttr(word(args), known.model_name)
            if model == 0:
                api.PyErr_Clear()
                rows = 0
            else:
                api.Py_DecRef(model)
        while rows > 0:
            if word(row) == model:
                value = serve(word(row + 8), args, n)
                if value != plan.DECLINED:
                    return value
            row += plan.ROW
            rows -= 1
    return api.PyObject_Vectorcall(word(table), args, n, names)


def hyb_fast(owner: int, args: int, n: int, names: int) -> int:
    """METH_FASTCALL | METH_KEYWORDS; `owner` is a tuple whose first item is bytes with the address of the table."""
    return offer(word(word(owner + plan.ITEMS) + plan.BYTES), args, n, names)


def hyb_vector(callable: int, args: int, n: int, names: int) -> int:
    """The vectorcall of a functools.partial of such a function."""
    return hyb_fast(word(word(callable + plan.FUNCTION) + plan.SELF), args, n & plan.PLAIN_COUNT, names)
