"""Finds blocks that a module has left behind when nothing of it is there any more.

Whatever owns a block from Python (a value left native, a model, a store, a context) keeps the program that made it, so
when all programs of a module have been collected, every block must have been freed. They are counted together, since
values pass between the programs of a module.
"""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable
from typing import Any

from hybridc_runtime.memory import word
from hybridc_runtime.module import Module, Part


def live_blocks(mod: Any) -> int:
    """How many blocks of memory a loaded module has now; those of garbage that has not been searched for are among
    them."""
    return sum(part.program.live_blocks() for part in mod._parts)


class _Watched:
    """A module, the test that loaded it, and the addresses of its programs' counts, which stay readable as native code
    does."""

    def __init__(self, module: Module):
        self.module = weakref.ref(module)
        self.test = os.environ.get("PYTEST_CURRENT_TEST", "a test").partition(" ")[0]
        self.counts: list[int] = []
        self.alive = 0

    def add(self, part: Part) -> None:
        if part.program.live:
            self.counts.append(part.program.live)
            self.alive += 1
            weakref.finalize(part.program, self.gone).atexit = False

    def gone(self) -> None:
        self.alive -= 1

    def left(self) -> int:
        return 0 if self.alive else sum(map(word, self.counts))


class Leaks:
    """Watches every module loaded from now on."""

    def __init__(self) -> None:
        self.modules: list[_Watched] = []

    def watching(self, init: Callable[..., None]) -> Callable[..., None]:
        """`Part.__init__` that tells of the part."""

        def made(part: Part, module: Module, *args: Any) -> None:
            init(part, module, *args)
            watched = next((w for w in reversed(self.modules) if w.module() is module), None)
            if watched is None:
                watched = _Watched(module)
                self.modules.append(watched)
            watched.add(part)

        return made

    def found(self) -> list[str]:
        """Where modules are gone but for some blocks. What else is garbage is collected before: a value that was
        found in a cycle is released by a context that is garbage itself only then."""
        for _ in range(3):
            gc.collect()
            if not any(w.left() or w.alive for w in self.modules):
                break
        return [f"{w.test}: {w.left()} blocks are left" for w in self.modules if w.left()]
