"""What the host code of a GPU artifact asks of a launcher: memory, transfers, launches.

A launcher is a `Device`; `cuda`, `hip` and `interpret` are the three. Compiled code reaches it through services of the
host (hybridc/llvm/device.py lists them), whose arguments and results are 64-bit words.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from hybridc_runtime.holds import hold
from hybridc_runtime.memory import MEMORY, set_word, word

NO_PLACE = (1 << 63) - 1
"""In the word that kernels note wrong indices in: there is none."""
SCALARS = {"i64": "<q", "i32": "<i", "u8": "<B", "fp64": "<d", "fp32": "<f", "fp16": "<H", "bf16": "<H"}
"""How a parameter lies in its 8-byte place; half precision as bits."""


@dataclass(frozen=True)
class KernelInfo:
    """One kernel of an artifact: hybridc/triton/source.py says what the fields are."""

    name: str
    params: Sequence[Sequence[str]]
    constants: Mapping[str, int]
    grid: Sequence[str]
    warps: int = 4
    stages: int = 1
    operators: Sequence[str] = ()


@dataclass
class Counts:
    """What a launcher did so far."""

    launches: int = 0
    to_device: int = 0
    to_host: int = 0
    """Transfers; each of those to the host waits for the device."""
    waits: int = 0
    """How often the host waited: for a transfer, or to learn whether an index was out of range."""
    graphs: int = 0
    """Runs of launches that were one."""
    bytes: int = 0
    """Moved between the memories."""


class Device(Protocol):
    """A launcher: addresses are the device's, but for `host` and `slots`, the 8-byte places of a launch's parameters;
    `fault` is 0, or where a kernel notes the lowest place of an index out of range."""

    kernels: Sequence[KernelInfo]
    counts: Counts

    def new(self, size: int) -> int: ...
    def free(self, address: int) -> None: ...
    def copy(self, to: int, source: int, size: int) -> None: ...
    def write(self, to: int, host: int, size: int) -> None: ...
    def read(self, host: int, source: int, size: int) -> None: ...
    def launch(self, kernel: int, programs: int, slots: int, fault: int) -> None: ...


@dataclass
class DeviceCode:
    """What an artifact holds for launchers."""

    source: str = ""
    kernels: list[KernelInfo] = field(default_factory=list)
    binaries: dict[str, dict[str, dict[str, tuple[bytes, Mapping[str, Any]]]]] = field(default_factory=dict)
    """By target ("cuda:sm_90"), kernel and variant: machine code, and its entry, shared memory and threads."""


def programs_of(info: KernelInfo, batches: int, rows: int, columns: int) -> int:
    """Programs of a launch, from how much there is to share out."""
    down, across = info.grid
    return batches * -(-rows // info.constants[down]) * (-(-columns // info.constants[across]) if across else 1)


def values_of(info: KernelInfo, slots: int) -> list[Any]:
    """The parameters of a launch, from their places; the fault word is left out."""
    values: list[Any] = []
    for i, (_, kind, t) in enumerate(p for p in info.params if p[1] != "fault"):
        code = "<q" if kind in ("pointer", "size") else SCALARS[t]
        values.append(struct.unpack_from(code, MEMORY, slots + 8 * i)[0])
    return values


class Services:
    """The services of one loaded program."""

    def __init__(self, device: Device, count_live: Callable[[int], None]):
        self.device, self.count_live = device, count_live
        self.addresses: dict[int, int] = {}
        """Of memory that compiled code holds, by the handle of its block."""
        self.lock = threading.Lock()

    def find(self, name: str) -> Callable[[Any, int, int], None]:
        return {"device.new": self.new, "device.copy": self.copy, "device.in": self.into, "device.out": self.out,
                "device.launch": self.launch}[name]

    def give(self, address: int, results: int) -> None:
        """Make compiled code the owner of memory."""
        block, handle = hold(self.let_go)
        self.addresses[handle] = address
        self.count_live(1)
        set_word(results, block)
        set_word(results + 8, address)

    def let_go(self, handle: int) -> None:
        self.device.free(self.addresses.pop(handle))

    def new(self, context: Any, args: int, results: int) -> None:
        self.give(self.device.new(word(args)), results)

    def copy(self, context: Any, args: int, results: int) -> None:
        source, size = word(args), word(args + 8)
        address = self.device.new(size)
        if size:
            self.device.copy(address, source, size)
        self.give(address, results)

    def into(self, context: Any, args: int, results: int) -> None:
        source, size = word(args), word(args + 8)
        address = self.device.new(size)
        if size:
            self.device.write(address, source, size)
        self.device.counts.to_device += 1
        self.device.counts.bytes += size
        self.give(address, results)

    def out(self, context: Any, args: int, results: int) -> None:
        source, host, size = word(args), word(args + 8), word(args + 16)
        if size:
            self.device.read(host, source, size)
        self.device.counts.to_host += 1
        self.device.counts.bytes += size

    def launch(self, context: Any, args: int, results: int) -> None:
        kernel, batches, rows, columns, slots = (word(args + 8 * i) for i in range(5))
        info = self.device.kernels[kernel]
        set_word(results, -1)
        if not batches or not rows or not columns:
            return
        self.device.counts.launches += 1
        programs = programs_of(info, batches, rows, columns)
        if info.params[-1][1] != "fault":
            self.device.launch(kernel, programs, slots, 0)
            return
        fault = self.device.new(8)
        try:
            set_word(results, NO_PLACE)
            self.device.write(fault, results, 8)
            self.device.launch(kernel, programs, slots, fault)
            self.device.read(results, fault, 8)
        finally:
            self.device.free(fault)
        if word(results) == NO_PLACE:
            set_word(results, -1)


__all__ = ["Counts", "Device", "DeviceCode", "KernelInfo", "Services", "programs_of", "values_of"]
