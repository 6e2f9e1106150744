"""`parallel` loops in machine code: the thread that called and those of the team take indices and call the function.

Each thread has a context of the program's crew. Only one loop at a time has the team, so a program needs one crew; who
finds the team at work, as a loop within a loop does, runs all indices on its own context. Python makes the contexts
before a program's first loop. It ends a loop in which there was a fault or a service was called (parallel.py): the
fault of the lowest index is the loop's, and what the bodies printed comes out in order. All other loops end here.

Indices are handed out in order, several at a time and ever fewer towards the end (guided self-scheduling,
Polychronopoulos and Kuck 1987). Who finds none left takes the upper half of what another thread has taken and not
begun, so nobody waits for more than one index. A fault lowers the limit to its index: lower ones still run, higher ones
do not begin.

The thread that called is counted inside for the others (alone.py), and polls for them: only it can see signals.
"""

from __future__ import annotations

from hybridc_runtime import glue as plan
from hybridc_runtime.alone import hyb_settle, hyb_share
from hybridc_runtime.machine import (
    add_at,
    api,
    ask,
    atomic,
    enter,
    half,
    lower_at,
    set_atomic,
    set_half,
    set_word,
    swap_at,
    word,
)


def interrupted(context: int) -> int:
    """Somebody asks whether the context is to stop: 1 if so, and then it holds the fault."""
    if half(word(context + plan.FLAG_POINTER)) == 0:
        return 0
    return ask(word(context + plan.POLL), context)


def hyb_loop_alone(context: int, task: int, env: int, count: int) -> int:
    """All indices in order on this thread, in the context of the call."""
    i = 0
    while i < count:
        if interrupted(context) != 0:
            return 1
        if enter(task, context, env, i) != 0:
            return 1
        i += 1
    return 0


def hyb_loop(context: int, task: int, env: int, count: int) -> int:
    """1 if the context holds a fault now."""
    crew = word(context + plan.CREW)
    if count < 2 or word(crew + plan.SIZE) < 2 or api.hyb_team_take() == 0:
        return hyb_loop_alone(context, task, env, count)
    status = 0
    age = api.hyb_team_age()
    if word(crew + plan.AGE) != age:
        status = api.hyb_ask_host(context, plan.PREPARE, age)
    if status == 0:
        run_together(crew, context, task, env, count)
        if word(crew + plan.DIRTY) != 0:
            # Unless Python comes to the end of this there will be other contexts.
            set_word(crew + plan.AGE, 0)
            status = api.hyb_ask_host(context, plan.FINISH, age)
    api.hyb_team_release()
    return status


def run_together(crew: int, context: int, task: int, env: int, count: int) -> None:
    """All indices, with the team's threads."""
    lone = word(context + plan.ALONE)
    kept = word(context + plan.ARRIVED)
    gil = 0
    state = 0
    if lone != 0 or kept == 0:  # who is not counted may have the GIL, for which a service of another thread waits
        gil = api.hyb_hold()
        hyb_share(context)
        state = api.PyEval_SaveThread()
    own = word(crew + plan.LINES + plan.OWN)
    set_word(own + plan.FLAG_POINTER, word(context + plan.FLAG_POINTER))
    set_word(crew + plan.PARENT, context)
    set_word(crew + plan.TASK, task)
    set_word(crew + plan.ENV, env)
    set_word(crew + plan.LEVEL, word(context + plan.DEPTH))
    set_word(crew + plan.DIRTY, 0)
    set_half(crew + plan.STOP, 0)
    set_word(crew + plan.LIMIT, count)
    set_word(crew + plan.NEXT, 0)
    api.hyb_team_start(0, crew, word(crew + plan.SIZE), count)
    hyb_loop_member(crew, 0, word(context + plan.STACK_LIMIT))
    api.hyb_team_close()
    turns = 0
    while api.hyb_team_left() != 0:
        if half(crew + plan.STOP) == 0:
            interrupted(own)
        api.hyb_team_rest(turns)
        turns += 1
    if lone != 0 or kept == 0:
        api.PyEval_RestoreThread(state)
        if lone != 0:
            hyb_settle(context, 0)
        api.hyb_let_hold(gil)


def hyb_loop_member(crew: int, number: int, stack: int) -> None:
    """The part of a thread, whose stack may go down to an address."""
    if number >= word(crew + plan.SIZE):
        return
    line = crew + plan.LINES + plan.LINE * number
    context = word(line + plan.OWN)
    set_word(context + plan.STACK_LIMIT, stack)
    set_word(context + plan.DEPTH, word(crew + plan.LEVEL))
    set_word(context + plan.SERVICE, plan.NO_SERVICE)
    task = word(crew + plan.TASK)
    env = word(crew + plan.ENV)
    i = next_index(crew, line)
    while i >= 0:
        set_word(context + plan.INDEX, i)
        if interrupted(context) != 0 or enter(task, context, env, i) != 0:
            lower_at(crew + plan.LIMIT, i)
            break
        i = next_index(crew, line)
    set_atomic(line + plan.RANGE, 0)
    if word(context + plan.FAULT_CODE) != 0 or word(context + plan.SERVICE) != plan.NO_SERVICE:
        add_at(crew + plan.DIRTY, 1)


def next_index(crew: int, line: int) -> int:
    """The next index for a thread; -1 if there is none."""
    found = add_at(line + plan.RANGE, 1)
    i = found & ((1 << plan.INDEX_BITS) - 1)
    if i < found >> plan.INDEX_BITS and i < atomic(crew + plan.LIMIT):
        return i
    return further_index(crew, line)


def further_index(crew: int, line: int) -> int:
    """The same, for a thread that has none left."""
    set_atomic(line + plan.RANGE, 0)
    limit = atomic(crew + plan.LIMIT)
    many = (limit - word(crew + plan.NEXT)) >> word(crew + plan.SHARE)
    if many > plan.AT_ONCE:
        many = plan.AT_ONCE
    if many < 1 or limit >> plan.INDEX_BITS != 0:
        many = 1
    i = add_at(crew + plan.NEXT, many)
    if i < limit:
        if many > 1:
            hold_range(line, i, i + many)
        return i
    other = crew + plan.LINES
    end = other + plan.LINE * word(crew + plan.SIZE)
    while other < end:
        found = atomic(other + plan.RANGE)
        i = found & ((1 << plan.INDEX_BITS) - 1)
        last = found >> plan.INDEX_BITS
        if last > limit:
            last = limit
        if i < last:
            middle = (i + last) >> 1
            if swap_at(other + plan.RANGE, found, (middle << plan.INDEX_BITS) + i) != 0:
                hold_range(line, middle, last)
                return middle
        else:
            other += plan.LINE
    return -1


def hold_range(line: int, i: int, last: int) -> None:
    """A thread is at an index, and has those after it."""
    set_atomic(line + plan.RANGE, (last << plan.INDEX_BITS) + i + 1)


def hyb_loop_poll(context: int) -> int:
    """The poll of a crew's context: whether it is to stop, and then it holds a fault. What Python raises at a signal
    is in the context of the call."""
    crew = word(context + plan.CREW)
    if half(crew + plan.STOP) == 0:  # so this is the thread that called: the flag of the others is this one
        parent = word(crew + plan.PARENT)
        if api.hyb_outside(context, word(parent + plan.CHECK)) == 0:
            return 0
        set_half(crew + plan.STOP, 1)
        lower_at(crew + plan.LIMIT, 0)
        add_at(crew + plan.DIRTY, 1)
    if word(context + plan.FAULT_CODE) == 0:
        set_word(context + plan.FAULT_CODE, plan.INTERRUPTED)
        set_word(context + plan.TRACE_LENGTH, 0)
    return 1
