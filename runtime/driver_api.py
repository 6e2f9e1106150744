"""A GPU through its driver's C interface, which CUDA and HIP have alike: memory, transfers, launches.

The library is loaded when a launcher is made, and not before. Parameters of a launch lie in 8-byte places one after the
other, so what the driver gets is the addresses of these places, and then two null pointers for the scratch memory that
Triton's kernels may ask for.

Launches are kept until something has to wait for them, and then run as one graph where they ran before (graphs.py);
memory that is given back meanwhile is freed after them.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from hybridc_runtime import faults
from hybridc_runtime.device import Counts, DeviceCode, KernelInfo
from hybridc_runtime.graphs import LONGEST, Graphs, Launched
from hybridc_runtime.memory import MEMORY, word

MOST_PROGRAMS = (1 << 31) - 1
SMALL_SHARED = 48 << 10
"""Bytes of shared memory that a kernel gets without asking."""


@dataclass(frozen=True)
class Interface:
    """The names of a driver: `functions` by what they do, codes of errors, and where the library is."""

    kind: str
    libraries: Sequence[str]
    functions: Mapping[str, str]
    no_memory: int
    no_device: Sequence[int]
    wrong_code: Sequence[int]
    shared_attribute: int
    advice: str


@dataclass
class Loaded:
    """A kernel on the device, by variant."""

    functions: dict[str, Any] = field(default_factory=dict)
    threads: int = 0
    shared: dict[str, int] = field(default_factory=dict)


class DriverDevice(ABC):
    """A launcher for one kind of GPU. `library` stands in for the driver in tests."""

    interface: ClassVar[Interface]

    def __init__(self, code: DeviceCode, library: Any = None):
        self.kernels: Sequence[KernelInfo] = ()
        self.counts = Counts()
        self.lock = threading.RLock()
        self.library = library or self.open()
        self.call("init", 0)
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self.call("device", ctypes.byref(device), 0)
        self.number = device.value
        self.call("retain", ctypes.byref(context), device)
        self.context = context
        self.target = self.choose(code)
        self.binaries = code.binaries[self.target]
        # How its kernels are cut up is this target's own.
        self.kernels = [replace(k, constants=self.constants(k)) for k in code.kernels]
        self.loaded: dict[int, Loaded] = {}
        self.stream = ctypes.c_void_p(None)
        self.pending: list[Launched] = []
        self.freed: list[int] = []
        """Memory that pending launches may still use."""
        self.graphs = Graphs(self.call) if "graph" in self.interface.functions else None

    def constants(self, kernel: KernelInfo) -> Mapping[str, int]:
        nothing: Mapping[str, Any] = {}
        about = next((about for _, about in self.binaries.get(kernel.name, {}).values()), nothing)
        constants: Mapping[str, int] = about.get("constants", kernel.constants)
        return constants

    def open(self) -> Any:
        for name in self.interface.libraries:
            try:
                return ctypes.CDLL(name)
            except OSError:
                continue
        i = self.interface
        raise OSError(f"this machine has no {i.kind} GPU that can be used ({i.libraries[0]} is not there): {i.advice}")

    # ---- the driver
    def call(self, what: str, *args: Any) -> None:
        """Call the driver; the exception that its error code means."""
        code = getattr(self.library, self.interface.functions[what])(*args)
        if code:
            raise self.error(int(code), what)

    def error(self, code: int, what: str) -> BaseException:
        i = self.interface
        name = self.name_of(code)
        if code == i.no_memory:
            return faults.make("MemoryError", "out of GPU memory")
        if code in i.no_device:
            return OSError(f"this machine has no {i.kind} GPU that can be used ({name}): {i.advice}")
        if code in i.wrong_code:
            return faults.make("ValueError", f"the artifact's code does not run on this GPU ({name})")
        return faults.make("OSError", f"the GPU failed in {i.functions[what]}: {name}")

    def name_of(self, code: int) -> str:
        """What the driver calls an error."""
        name = ctypes.c_char_p()
        function = getattr(self.library, self.interface.functions["error_name"], None)
        if function is None or function(code, ctypes.byref(name)) or not name.value:
            return f"error {code}"
        return f"{name.value.decode()}, {code}"

    @abstractmethod
    def choose(self, code: DeviceCode) -> str:
        """The target of the artifact that this GPU runs."""

    def current(self) -> None:
        """A thread works with the device's context only after it said so."""
        self.call("current", self.context)

    # ---- memory
    def torch(self) -> Any:
        """PyTorch, if it is loaded and works with this device: memory then comes from its pool."""
        torch = sys.modules.get("torch")
        return torch if torch is not None and torch.cuda.is_available() else None

    def new(self, size: int) -> int:
        self.current()
        torch = self.torch()
        if torch is not None:
            try:
                return int(torch.cuda.caching_allocator_alloc(max(size, 1), self.number))
            except torch.OutOfMemoryError as e:
                raise faults.make("MemoryError", f"out of GPU memory: {size} bytes") from e
        address = ctypes.c_uint64()
        self.call("new", ctypes.byref(address), ctypes.c_size_t(max(size, 1)), self.stream)
        return address.value

    def free(self, address: int) -> None:
        with self.lock:
            if self.pending:
                self.freed.append(address)
                return
        self.let_go(address)

    def let_go(self, address: int) -> None:
        self.current()
        torch = self.torch()
        if torch is not None:
            torch.cuda.caching_allocator_delete(address)
            return
        self.call("free", ctypes.c_uint64(address), self.stream)

    def copy(self, to: int, source: int, size: int) -> None:
        self.flush()
        self.call("copy", ctypes.c_uint64(to), ctypes.c_uint64(source), ctypes.c_size_t(size), self.stream)

    def write(self, to: int, host: int, size: int) -> None:
        self.current()
        self.call("write", ctypes.c_uint64(to), ctypes.c_void_p(host), ctypes.c_size_t(size), self.stream)

    def read(self, host: int, source: int, size: int) -> None:
        self.flush()
        self.call("read", ctypes.c_void_p(host), ctypes.c_uint64(source), ctypes.c_size_t(size), self.stream)
        self.wait()

    # ---- kernels
    def function(self, kernel: int, variant: str) -> tuple[Any, int, int]:
        """A kernel's function on the device, its shared memory and its threads; loaded when it is first launched."""
        info = self.kernels[kernel]
        code, known = self.binaries[info.name][variant]
        with self.lock:
            loaded = self.loaded.setdefault(kernel, Loaded())
            if variant not in loaded.functions:
                module, function = ctypes.c_void_p(), ctypes.c_void_p()
                self.call("load", ctypes.byref(module), code)
                self.call("function", ctypes.byref(function), module, known["entry"].encode())
                if known["shared"] > SMALL_SHARED:
                    self.call("attribute", function, self.interface.shared_attribute, known["shared"])
                loaded.functions[variant] = function
        return loaded.functions[variant], known["shared"], known["threads"]

    def launch(self, kernel: int, programs: int, slots: int, fault: int) -> None:
        if programs > MOST_PROGRAMS:
            raise faults.make("ValueError", f"a tensor is too large for one launch: {programs} programs")
        self.current()
        info = self.kernels[kernel]
        variant = "aligned" if aligned(info, slots) else "plain"
        function, shared, threads = self.function(kernel, variant)
        places = bytes(MEMORY[slots : slots + 8 * (len(info.params) - bool(fault))])
        places += fault.to_bytes(8, "little") * bool(fault) + bytes(16)
        with self.lock:
            self.pending.append(Launched(kernel, variant, function, programs, threads, shared, places))
            if len(self.pending) >= LONGEST:
                self.flush()

    def wait(self) -> None:
        """Until everything that was launched is done."""
        self.flush()
        self.counts.waits += 1
        self.call("wait", self.stream)

    def flush(self) -> None:
        """Run the launches that were kept, and free what they may have used."""
        with self.lock:
            self.current()
            launches, self.pending = self.pending, []
            freed, self.freed = self.freed, []
            try:
                if self.graphs is not None and self.graphs.run(launches, self.stream):
                    self.counts.graphs += 1
                    return
                for one in launches:
                    params, held = one.pointers()
                    self.call("launch", one.function, one.programs, 1, 1, one.threads, 1, 1, one.shared, self.stream,
                              params, None)
                    del held
            finally:
                for address in freed:
                    self.let_go(address)


def aligned(info: KernelInfo, slots: int) -> bool:
    """Are all pointers and sizes of a launch multiples of 16?"""
    return all(
        word(slots + 8 * i) % 16 == 0 for i, (_, kind, _t) in enumerate(info.params) if kind in ("pointer", "size")
    )
