"""Values of one program as the bytes of encoding.py: by machine code (fastbytes.py) where a value is not out of the
ordinary, else by way of Python's values."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hybridc_runtime import encoding
from hybridc_runtime import fastplan as plan
from hybridc_runtime.arrays import DTYPES
from hybridc_runtime.fastplans import Plans
from hybridc_runtime.linking import jit
from hybridc_runtime.manifest import Type
from hybridc_runtime.memory import MEMORY

if TYPE_CHECKING:
    from hybridc_runtime.codec import Codec

RAW = ("int", "i32", "u8", "f64", "f32")
"""Scalars that lie in memory as they are encoded."""
RAISED = 2
"""What machine code gives where the program raised."""


class BytePlans(Plans):
    """Nodes of one program for values as bytes."""

    scalars = plan.SCALARS | {"f16": plan.F16, "bf16": plan.BF16}
    tensors = frozenset(DTYPES)

    @staticmethod
    def of(codec: Codec) -> BytePlans:
        """A program's."""
        if codec.byte_plans is None:
            codec.byte_plans = BytePlans(codec)
        return codec.byte_plans

    def text(self, data: bytes) -> int:
        """The address of bytes that stay."""
        address = self._place(1 + len(data) // 8)
        MEMORY[address:address + len(data)] = data
        return address


class Stored:
    """How values of one type go to bytes and back."""

    def __init__(self, codec: Codec, t: Type):
        self.codec, self.type = codec, t
        self.size = codec.layouts.of(t).size
        self.raw = isinstance(t, str) and t in RAW
        self._pack, self._unpack = jit().pack, jit().unpack

    @property
    def node(self) -> int | None:
        """The type's node for machine code; None where that needs help from here."""
        return None if self._makes else self._node

    @cached_property
    def schema(self) -> dict[str, Any]:
        """TypeError for a type whose values cannot leave the program."""
        return encoding.schema(self.codec.manifest, self.type)

    @cached_property
    def _maker(self) -> encoding.Maker:
        return encoding.Maker(self.schema, self.codec, ordered=True)

    @cached_property
    def _node(self) -> int | None:
        return BytePlans.of(self.codec).node(self.type)

    @cached_property
    def _makes(self) -> bool:
        """Does the program make parts of a value, in a context of their own?"""
        kind = self.codec.kind
        return any(name[0] == "struct" and kind(name).kind in plan.CONTAINERS for name in self.codec.named(self.type))

    def read(self, at: int) -> bytes:
        """The value at an address as bytes."""
        if self.raw:
            return bytes(MEMORY[at:at + self.size])
        data = None
        if self._makes:
            data = self._in_context(lambda context: self._pack(self._node, at, context)) if self._node else None
        elif self._node:
            data = self._pack(self._node, at, 0)
        if data is not None:
            return data
        return encoding.encode(self.schema, self.codec.read(self.type, at, ordered=True))

    def write(self, data: bytes, skip: int, to: int) -> None:
        """Write the value of bytes after the first `skip` to an address; encoding.Damaged where they are of none."""
        if self.raw and len(data) == skip + self.size:
            MEMORY[to:to + self.size] = data[skip:]
            return
        live, done = self.codec.program.live, 0
        if self._makes:
            if self._node:
                done = self._in_context(lambda context: self._unpack(self._node, data, skip, to, live, context))
        elif self._node:
            done = self._unpack(self._node, data, skip, to, live, 0)
        if not done:
            # Arrays look into the bytes, which the program copies.
            value = encoding.decode(self.schema, data[skip:], self._maker, copy=False)
            leaves = self.codec.write_leaves(self.type, value, "store")
            self.codec.layouts.of(self.type).struct.pack_into(MEMORY, to, *leaves)

    def _in_context(self, run: Callable[[int], Any]) -> Any:
        program = self.codec.program
        context = program.acquire()
        try:
            done = run(context.address)
            if done is True or done == RAISED:
                raise context.take_fault()
            return done
        finally:
            program.release(context)
