"""What compiled code asks of stores: keys and values leave it and come back as bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hybridc_runtime import cfunction, encoding
from hybridc_runtime import fastplan as plan
from hybridc_runtime.holds import hold
from hybridc_runtime.linking import jit
from hybridc_runtime.manifest import Type
from hybridc_runtime.memory import MEMORY, set_word, word
from hybridc_runtime.store import HEAD, NEW, Store, acquire, holds, let_go, release
from hybridc_runtime.stored import BytePlans, Stored

if TYPE_CHECKING:
    from hybridc_runtime.codec import Codec
    from hybridc_runtime.native import Context

Service = Callable[["Context", int, int], Any]


# ---- with bytes
def _touch(context: Context, store: Store) -> int:
    """The number of the call in which a store is written; it says when it ends."""
    if context.stores is None:
        context.stores = set()
    context.stores.add(store)
    return context.address


def _get(store: Store, context: Context, key: bytes) -> bytes | None:
    return store.get(key)


def _put(store: Store, context: Context, key: bytes, record: bytes) -> None:
    store.put(key, record, _touch(context, store))


def _remove(store: Store, context: Context, key: bytes) -> bool:
    return store.remove(key, _touch(context, store))


def _has(store: Store, context: Context, key: bytes) -> bool:
    return store.has(key)


def _keys(store: Store, context: Context) -> bytes:
    return encoding.joined(store.keys())


@dataclass(frozen=True, slots=True)
class _Row:
    """What is done with the bytes of the arguments after the store; what stands before each, and before the result."""

    do: Callable[..., Any]
    heads: tuple[bytes, ...]
    gives: int
    skip: int = 0


ROWS = {
    "_store_get": _Row(_get, (b"",), plan.PERHAPS, HEAD),
    "_store_put": _Row(_put, (b"", NEW), plan.NO_RESULT),
    "_store_remove": _Row(_remove, (b"",), plan.TRUTH),
    "_store_has": _Row(_has, (b"",), plan.TRUTH),
    "_store_keys": _Row(_keys, (), plan.VALUE),
}


class _Exchange:
    """One service of a row, for the types of one program. The first argument is the block of the store."""

    def __init__(self, codec: Codec, row: _Row, params: list[Type], results: list[Type]):
        self.codec, self.row = codec, row
        self.takes = [Stored(codec, t) for t in params[1:]]
        self.offsets = codec.layouts.offsets(params)[1:]
        self.result: Stored | None = None
        self.offset, self.size = 0, codec.layouts.row(results).size
        if row.gives == plan.VALUE:
            self.result = Stored(codec, results[0])
        elif row.gives == plan.PERHAPS:
            self.result = Stored(codec, results[0][1])
            self.offset = codec.layouts.offsets(["bool", results[0][1]])[1]

    def slow(self) -> Service:
        do, skip, result = self.row.do, self.row.skip, self.result
        takes = list(zip(self.row.heads, self.takes, self.offsets, strict=True))

        def service(context: Context, args: int, results: int) -> None:
            store = holds[word(word(args) + 16)]
            found = do(store, context, *[head + t.read(args + at) for head, t, at in takes])
            MEMORY[results:results + self.size] = bytes(self.size)
            if result is None:
                if found is not None:
                    MEMORY[results] = found
            elif found is not None:
                try:
                    result.write(found, skip, results + self.offset)
                except encoding.Damaged:
                    raise store.damaged() from None
                if self.row.gives == plan.PERHAPS:
                    MEMORY[results] = True

        return service

    def service(self) -> Service:
        """Machine code that goes to the slow service where it must (faststore.py)."""
        slow, codec = self.slow(), self.codec
        values = self.takes + ([] if self.result is None else [self.result])
        if any(v.node is None for v in values):
            return slow
        row, live = self.row, codec.program.live
        plans = BytePlans.of(codec)
        head = [id(holds), id(row.do), id(slow), len(self.takes), row.gives]
        given = [self.result.node if self.result else 0, self.offset, self.size, row.skip, live]
        words: list[Any] = [*head, *given]
        for before, t, at in zip(row.heads, self.takes, self.offsets, strict=True):
            words += [t.node, at, plans.text(before), len(before)]
        return cfunction.make("service", jit().address["hyb_serve"], cfunction.FAST, plans.row(words), plans, slow)


# ---- the others
def _open(codec: Codec, params: list[Type]) -> Service:
    types = [Stored(codec, t[1]) for t in params[1:]]

    def service(context: Context, args: int, results: int) -> None:
        schemas = json.dumps([t.schema for t in types], separators=(",", ":"), ensure_ascii=False)
        store = acquire(codec.read(params[0], args))
        try:
            store.agree(schemas)
            store.own()
        except BaseException:  # also of a signal's: nobody else holds the store
            release(store)
            raise
        block, handle = hold(let_go)
        holds[handle] = store
        codec.program.count_live(1)
        set_word(results, block)

    return service


def _len(context: Context, args: int, results: int) -> None:
    set_word(results, len(holds[word(word(args) + 16)]))


def _commit(context: Context, args: int, results: int) -> None:
    holds[word(word(args) + 16)].commit()


NAMES = frozenset((*ROWS, "_store_open", "_store_len", "_store_commit"))


def service(codec: Codec, name: str, params: list[Type], results: list[Type]) -> Service | None:
    """The service of that name, or None."""
    if name in ROWS:
        return _Exchange(codec, ROWS[name], params, results).service()
    if name == "_store_open":
        return _open(codec, params)
    return {"_store_len": _len, "_store_commit": _commit}.get(name)
