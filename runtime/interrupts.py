"""Interrupts of compiled code: a thread raises the flag of every context in a call, every 50 ms, and the code that sees
it asks Python whether there is a signal."""

from __future__ import annotations

import os
import threading
import time

from hybridc_runtime.memory import MEMORY, allocate, set_word, word

TICK = 0.05
"""Seconds."""

active: set[int] = set()
"""Addresses of flags of contexts in calls."""
cells: dict[int, int] = {}
"""For fast calls: the address of a word that is 0 while a context is in a call, and of the context's flag."""
AWAKE = allocate(8)
"""The address of a word that is not 0 while the thread is at it."""
parked = True
_wake = threading.Event()
_timer: threading.Thread | None = None


def _tick() -> None:
    global parked
    idle = 0
    parked = False
    set_word(AWAKE, 1)
    while True:
        time.sleep(TICK)
        flags = (*active, *_lent())
        for flag in flags:
            MEMORY[flag] = 1
        idle = 0 if flags else idle + 1
        if idle > 20:
            _wake.clear()
            parked = True
            set_word(AWAKE, 0)
            if not active and not _lent():
                _wake.wait()
            parked = False
            set_word(AWAKE, 1)
            idle = 0


def _lent() -> list[int]:
    """Flags of contexts in fast calls."""
    return [flag for cell, flag in tuple(cells.items()) if not word(cell)]


def start_timer() -> None:
    global _timer
    if _timer is None:
        _timer = threading.Thread(target=_tick, name="hyb-timer", daemon=True)
        _timer.start()
    _wake.set()


def _after_fork() -> None:
    global _timer, parked, _wake
    _timer, parked, _wake = None, True, threading.Event()
    set_word(AWAKE, 0)
    active.clear()


os.register_at_fork(after_in_child=_after_fork)
