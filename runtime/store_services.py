"""What compiled code asks of stores: keys and values leave it and come back as bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hybridc_runtime import encoding
from hybridc_runtime.holds import hold
from hybridc_runtime.manifest import Type
from hybridc_runtime.memory import MEMORY, word
from hybridc_runtime.store import Store, acquire, holds, let_go, release

if TYPE_CHECKING:
    from hybridc_runtime.codec import Codec
    from hybridc_runtime.native import Context


RAW = ("int", "i32", "u8", "f64", "f32")
"""Scalars that lie in memory as they are encoded."""


class _Exchange:
    """Keys and values of one service, as bytes. Its first argument is the block of the store."""

    def __init__(self, codec: Codec, params: list[Type], results: list[Type]):
        self.codec, self.params, self.results = codec, params, results
        self.offsets, self.result_offsets = codec.layouts.offsets(params), codec.layouts.offsets(results)
        self._schemas: dict[Type, Any] = {}
        self._makers: dict[Type, Any] = {}

    def store(self, args: int) -> Store:
        block = word(args)
        return holds[word(block + 16)]

    def schema(self, t: Type) -> Any:
        found = self._schemas.get(t)
        if found is None:
            found = self._schemas[t] = encoding.schema(self.codec.manifest, t)
            self._makers[t] = encoding.Maker(found, self.codec)
        return found

    def bytes_of(self, i: int, args: int) -> bytes:
        t = self.params[i]
        if isinstance(t, str) and t in RAW:
            at = args + self.offsets[i]
            return bytes(MEMORY[at:at + encoding.SCALARS[t].size])
        return encoding.encode(self.schema(t), self.codec.read(t, args + self.offsets[i]))

    def value(self, t: Type, data: bytes) -> Any:
        """For compiled code, which copies it."""
        s = self.schema(t)
        return encoding.decode(s, data, self._makers[t], copy=False)

    def give(self, value: Any, results: int) -> None:
        t = self.results[0]
        leaves = self.codec.write_leaves(t, value, "store")
        self.codec.layouts.of(t).struct.pack_into(MEMORY, results, *leaves)


def _touch(context: Context, store: Store) -> int:
    """The number of the call in which a store is written; it says when it ends."""
    if context.stores is None:
        context.stores = set()
    context.stores.add(store)
    return context.address


def _open(x: _Exchange) -> Callable[[Context, int, int], None]:
    key, value = x.params[1][1], x.params[2][1]

    def service(context: Context, args: int, results: int) -> None:
        schemas = json.dumps([x.schema(key), x.schema(value)], separators=(",", ":"), ensure_ascii=False)
        store = acquire(x.codec.read(x.params[0], args))
        try:
            store.agree(schemas)
            store.own()
        except BaseException:
            release(store)
            raise
        block, handle = hold(let_go)
        holds[handle] = store
        x.codec.program.count_live(1)
        MEMORY[results:results + 8] = block.to_bytes(8, "little")

    return service


def _get(x: _Exchange) -> Callable[[Context, int, int], None]:
    item = x.results[0][1]

    def service(context: Context, args: int, results: int) -> None:
        found = x.store(args).get(x.bytes_of(1, args))
        if found is None:
            return x.give(None, results)
        # Not as an option of Python's, where `none` as the value would be no value.
        leaves = x.codec.write_leaves(item, x.value(item, found[1:]), "store")
        x.codec.layouts.of(x.results[0]).struct.pack_into(MEMORY, results, True, *leaves)

    return service


def _put(x: _Exchange) -> Callable[[Context, int, int], None]:
    def service(context: Context, args: int, results: int) -> None:
        store = x.store(args)
        store.put(x.bytes_of(1, args), x.bytes_of(2, args), _touch(context, store))

    return service


def _remove(x: _Exchange) -> Callable[[Context, int, int], None]:
    def service(context: Context, args: int, results: int) -> None:
        store = x.store(args)
        x.give(store.remove(x.bytes_of(1, args), _touch(context, store)), results)

    return service


def _has(x: _Exchange) -> Callable[[Context, int, int], None]:
    return lambda context, args, results: x.give(x.store(args).get(x.bytes_of(1, args)) is not None, results)


def _len(x: _Exchange) -> Callable[[Context, int, int], None]:
    return lambda context, args, results: x.give(len(x.store(args)), results)


def _keys(x: _Exchange) -> Callable[[Context, int, int], None]:
    item = x.codec.kind(x.results[0]).args[0]
    return lambda context, args, results: x.give([x.value(item, k) for k in x.store(args).keys()], results)


def _commit(x: _Exchange) -> Callable[[Context, int, int], None]:
    return lambda context, args, results: x.store(args).commit()


MAKERS: dict[str, Callable[[_Exchange], Callable[[Context, int, int], None]]] = {
    "_store_open": _open, "_store_get": _get, "_store_put": _put, "_store_remove": _remove, "_store_has": _has,
    "_store_len": _len, "_store_keys": _keys, "_store_commit": _commit,
}


def service(codec: Codec, name: str, params: list[Type], results: list[Type]) -> Any:
    """The service of that name, or None."""
    make = MAKERS.get(name)
    return None if make is None else make(_Exchange(codec, params, results))
