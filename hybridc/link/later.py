"""Machine code that is made when it is called: `hybridc.load` of a large program makes none, and a call that of the
functions that it can reach. What was made is kept, and found again by its text."""

from __future__ import annotations

from collections.abc import Iterable

from hybridc_runtime.linking import Batch, Later

from hybridc.base.garbage import searched_seldom
from hybridc.link import cache
from hybridc.llvm import backend, processors
from hybridc.llvm.definitions import Text, plain, symbol
from hybridc.llvm.partition import Partition


class Uncompiled(Later):
    """The code of a program for the processor that this is."""

    def __init__(self, text: Text, opt: int):
        self.text, self.opt = text, opt
        self.partition = Partition(text)

    def first(self) -> list[bytes]:
        """Objects that all others need."""
        return self._objects([self.partition.numbers()])

    def has(self, name: str) -> bool:
        return symbol(name) in self.text.defs

    def more(self, names: Iterable[str]) -> Batch | None:
        """What is called by these names, with what it needs, of what was not given before; None if that is nothing."""
        found = self.partition.reached(map(symbol, names))
        if not found:
            return None
        exported = [plain(name) for name in found if self.text.defs[name].exported]
        return Batch(found, exported, self._objects(self.partition.texts(found)))

    def given(self, batch: Batch) -> None:
        """It is linked."""
        self.partition.given.update(batch.names)

    def helps(self) -> bool:
        return backend.helps()

    def _objects(self, texts: list[str]) -> list[bytes]:
        with searched_seldom():  # what is freed in another thread might want the code that is made here
            return list(backend.objects([(text, processors.HOST) for text in texts], self.opt, cache.OBJECTS))
