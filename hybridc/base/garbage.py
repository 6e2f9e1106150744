"""The search for garbage in cycles, which a compiler hardly makes: it would take a seventh of its time."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

NEW = 1_000_000
"""Objects that are made before the new ones are searched; Python's own number is 700."""
_lock = threading.Lock()
_inside: list[int] = []
"""Threads."""
_before = gc.get_threshold()


@contextmanager
def searched_seldom() -> Iterator[None]:
    """Within, in all threads, garbage is searched seldom; as before once the last of them has left."""
    global _before
    with _lock:
        if not _inside:
            _before = gc.get_threshold()
            if 0 < _before[0] < NEW:  # else somebody has said what they want
                gc.set_threshold(NEW, *_before[1:])
        _inside.append(threading.get_ident())
    try:
        yield
    finally:
        with _lock:
            _inside.remove(threading.get_ident())
            if not _inside:
                _grow_old()
                gc.set_threshold(*_before)


def _grow_old() -> None:
    """Most new objects stay: they go to the oldest ones, which are searched last, without being searched before."""
    if gc.get_freeze_count() == 0:  # else somebody keeps objects from being searched at all
        gc.freeze()
        gc.unfreeze()


def _alone() -> None:
    """In the child of a fork, which has only the thread that forked."""
    global _lock
    _lock = threading.Lock()
    if _inside:
        _inside[:] = [thread for thread in _inside if thread == threading.get_ident()]
        if not _inside:
            gc.set_threshold(*_before)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_alone)
