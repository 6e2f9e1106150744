"""What `parallel` loops (loops.py) leave to Python: the contexts of a program's crew, and the end of a loop in which
there was a fault or a service was called.

The lowest index that failed is the fault of the loop; what the bodies printed comes out in the order of the indices, up
to that fault. A signal may raise an exception wherever Python runs here: then the crew gets other contexts for its next
loop.
"""

from __future__ import annotations

import sys

from hybridc_runtime import glue
from hybridc_runtime.linking import jit
from hybridc_runtime.memory import set_word, word
from hybridc_runtime.native import Context

_left: list[list[Context]] = []
"""Contexts of the process that forked this one, whose threads may have been at work in them."""


def prepare(context: Context, age: int) -> None:
    """New contexts for the crew of the context's program."""
    program, crew = context.program, context.program.crew
    if word(crew + glue.AGE):
        _left.append(program.crew_contexts)
    contexts = [Context(program) for _ in range(word(crew + glue.SIZE))]
    for number, c in enumerate(contexts):
        c.prints = []
        a, line = c.address, crew + glue.LINES + glue.LINE * number
        set_word(a + glue.TEAM, 0)
        set_word(a + glue.PARALLEL, jit().address["hyb_rt_alone"])
        set_word(a + glue.POLL, jit().address["hyb_rt_told"])
        set_word(a + glue.FLAG_POINTER, crew + glue.STOP)
        set_word(a + glue.GUEST, int(number > 0))
        set_word(line + glue.RANGE, 0)
        set_word(line + glue.OWN, a)
    program.crew_contexts = contexts
    set_word(crew + glue.AGE, age)


def finish(context: Context, age: int) -> bool:
    """Deliver prints and the fault; whether the context holds one now."""
    program = context.program
    contexts = program.crew_contexts
    failed = [c for c in contexts if word(c.address + glue.FAULT_CODE)]
    failed.sort(key=_index)
    limit = _index(failed[0]) if failed else None
    texts = [entry for c in contexts for entry in c.prints or ()]
    texts.sort(key=lambda entry: entry[0])
    try:
        for index, text in texts:
            if limit is None or index <= limit:
                sys.stdout.write(text + "\n")
    finally:
        for c in contexts:
            c.prints = []
            stores, c.stores = c.stores, None
            for store in stores or ():
                store.hand_over(c.address, context.address)
            if stores:
                context.stores = stores | (context.stores or set())
        _fail(context, failed)
    set_word(program.crew + glue.AGE, age)
    return bool(failed)


def _index(context: Context) -> int:
    """The index that it was at last."""
    return word(context.address + glue.INDEX)


def _fail(context: Context, failed: list[Context]) -> None:
    """The fault of the first is the context's, unless it was interrupted, which goes before all others."""
    caller = context.program.crew_contexts[0]
    for place, c in enumerate(failed):
        if not context.interrupted:
            adopted = place == 0
        else:
            adopted = c is caller and word(c.address + glue.FAULT_CODE) == glue.INTERRUPTED
            c.pending = context.pending  # with the places where the thread was when it saw the signal
        if adopted:
            context.adopt_fault(c)
        else:
            c.discard_fault()
