"""Room for recursion over deep programs: Python's limit is raised for the time of a stage, never for good.

What is walked is bounded (the parser limits nesting and chains), and Python's own frames take no C stack.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

FRAMES = 50_000
"""Enough for the deepest tree that the parser accepts."""


@contextmanager
def deep_recursion(frames: int = FRAMES) -> Iterator[None]:
    """At least so many Python frames within."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, frames))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
