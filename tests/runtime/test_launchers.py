"""Launchers without a GPU: a driver that only records what it is asked, and what is said where there is none."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from hybridc_runtime import faults
from hybridc_runtime.cuda import MAJOR, Cuda
from hybridc_runtime.device import DeviceCode, KernelInfo, Services, programs_of, values_of
from hybridc_runtime.driver_api import MOST_PROGRAMS
from hybridc_runtime.graphs import KEPT, LONGEST
from hybridc_runtime.hip import Hip
from hybridc_runtime.memory import allocate, set_word, word

pytestmark = pytest.mark.usefixtures("unoptimised")

KERNEL = KernelInfo(
    "scale", [["o0", "pointer", "fp32"], ["x0", "pointer", "fp32"], ["x1", "scalar", "fp32"], ["n0", "size", "i64"]],
    {"ROWS": 4, "COLUMNS": 128}, ["ROWS", "COLUMNS"],
)
CHECKED = KernelInfo("pick", [["o0", "pointer", "i64"], ["fault", "fault", "i64"]], {"BLOCK": 64}, ["BLOCK", ""])


def code(target: str = "cuda:sm_90", shared: int = 0) -> DeviceCode:
    about = {"entry": "entry", "shared": shared, "threads": 128}
    variants = {v: (v.encode(), about) for v in ("plain", "aligned")}
    return DeviceCode("", [KERNEL, CHECKED], {target: {k.name: variants for k in (KERNEL, CHECKED)}})


class Driver:
    """Records calls by name; `fails` gives the code of the next call of a function."""

    def __init__(self, capability: tuple[int, int] = (9, 0), architecture: bytes = b"gfx942"):
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.fails: dict[str, int] = {}
        self.capability, self.architecture = capability, architecture
        self.params: list[bytes] = []
        self.nodes: list[list[int]] = []

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> int:
            self.calls.append((name, args))
            if name in self.fails:
                return self.fails.pop(name)
            if name == "cuDeviceGetAttribute":
                args[0]._obj.value = self.capability[0 if args[1] == MAJOR else 1]
            if name == "hipGetDevicePropertiesR0600":
                args[0].value = self.architecture
            if name.endswith("MemAllocAsync") or name == "hipMallocAsync":
                args[0]._obj.value = 0x7000
            if name.endswith("LaunchKernel"):
                self.params = [ctypes.string_at(p, 8) for p in args[9]]
            if name == "cuGraphAddKernelNode":
                args[0]._obj.value = 0x100 + len(self.nodes)
                params = args[4]._obj
                self.nodes.append([word(word(params.params + 8 * i)) for i in range(6)])
            if name.endswith("GetErrorName"):
                args[1]._obj.value = b"ERROR"
            return 0

        return call

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [args for called, args in self.calls if called == name]


def slots(*words: bytes) -> int:
    at = allocate(8 * len(words))
    for i, w in enumerate(words):
        set_word(at + 8 * i, int.from_bytes(w.ljust(8, b"\0"), "little", signed=True))
    return at


def test_a_launch_is_packed() -> None:
    driver = Driver()
    device = Cuda(code(), driver)
    number = struct.pack("<f", 1.5)
    device.launch(0, 7, slots(struct.pack("<q", 0x7000), struct.pack("<q", 0x9000), number, struct.pack("<q", 48)), 0)
    device.flush()
    _, gx, gy, gz, bx, by, bz, shared, _, _, extra = driver.named("cuLaunchKernel")[0]
    assert (gx, gy, gz, bx, by, bz, shared, extra) == (7, 1, 1, 128, 1, 1, 0, None)
    # The arguments in their order, then two scratch pointers, which are null.
    assert [p[:4] if i == 2 else p for i, p in enumerate(driver.params)] == [
        struct.pack("<q", 0x7000), struct.pack("<q", 0x9000), number, struct.pack("<q", 48), bytes(8), bytes(8)]


@pytest.mark.parametrize("pointer, size, variant", [(0x7000, 48, b"aligned"), (0x7004, 48, b"plain"),
                                                    (0x7000, 50, b"plain")])
def test_the_variant_follows_alignment(pointer: int, size: int, variant: bytes) -> None:
    driver = Driver()
    words = [struct.pack("<q", v) for v in (pointer, 0x9000, 3, size)]
    Cuda(code(), driver).launch(0, 1, slots(*words), 0)
    assert driver.named("cuModuleLoadData")[0][1] == variant


def test_a_kernel_is_loaded_once_and_asks_for_shared_memory() -> None:
    driver = Driver()
    device = Cuda(code(shared=100_000), driver)
    for _ in range(3):
        device.launch(0, 1, slots(*[bytes(8)] * 4), 0)
        device.flush()
    assert len(driver.named("cuModuleLoadData")) == 1 and len(driver.named("cuLaunchKernel")) == 3
    assert [args[1:] for args in driver.named("cuFuncSetAttribute")] == [(8, 100_000)]
    assert driver.named("cuLaunchKernel")[0][7] == 100_000
    small = Driver()
    Cuda(code(shared=1000), small).launch(0, 1, slots(*[bytes(8)] * 4), 0)
    assert not small.named("cuFuncSetAttribute")


def test_programs_share_out_the_work() -> None:
    assert programs_of(KERNEL, 1, 9, 300) == 3 * 3
    assert programs_of(KERNEL, 2, 4, 128) == 2
    assert programs_of(CHECKED, 1, 65, 1000) == 2
    with pytest.raises(ValueError, match="too large"):
        Cuda(code(), Driver()).launch(0, MOST_PROGRAMS + 1, slots(*[bytes(8)] * 4), 0)


def test_values_are_read_by_their_types() -> None:
    info = KernelInfo("k", [["a", "scalar", t] for t in ("i64", "i32", "u8", "fp64", "fp32", "fp16", "bf16")], {}, [])
    given = [struct.pack(c, v) for c, v in (("<q", -3), ("<i", -4), ("<B", 200), ("<d", 2.5), ("<f", 1.5),
                                            ("<H", 0x3C00), ("<H", 0x3F80))]
    assert values_of(info, slots(*given)) == [-3, -4, 200, 2.5, 1.5, 0x3C00, 0x3F80]


@pytest.mark.parametrize("number, kind, said", [
    (2, MemoryError, "out of GPU memory"), (100, OSError, "no NVIDIA GPU"), (209, ValueError, "does not run on this"),
    (700, OSError, "ERROR, 700"), (719, OSError, "cuMemAllocAsync"),
])
def test_every_error_has_its_exception(number: int, kind: type[BaseException], said: str) -> None:
    driver = Driver()
    device = Cuda(code(), driver)
    driver.fails["cuMemAllocAsync"] = number
    with pytest.raises(kind, match=said):
        device.new(64)
    assert device.new(64) == 0x7000  # and the pool is as before


def test_memory_errors_are_faults() -> None:
    driver = Driver()
    device = Cuda(code(), driver)
    driver.fails["cuMemAllocAsync"] = 2
    with pytest.raises(faults.RuntimeFault):
        device.new(1)


@pytest.mark.parametrize("capability, targets, chosen", [
    ((9, 0), ["cuda:sm_80", "cuda:sm_90"], "cuda:sm_90"), ((8, 9), ["cuda:sm_80", "cuda:sm_90"], "cuda:sm_80"),
    ((7, 5), ["cuda:sm_80"], None),
])
def test_the_target_fits_the_gpu(capability: tuple[int, int], targets: Sequence[str], chosen: str | None) -> None:
    both = DeviceCode("", [KERNEL], {t: code().binaries["cuda:sm_90"] for t in targets})
    if chosen is None:
        with pytest.raises(ValueError, match="code for cuda:sm_80, and this GPU is cuda:sm_75"):
            Cuda(both, Driver(capability))
    else:
        assert Cuda(both, Driver(capability)).target == chosen


def test_hip_is_chosen_by_name() -> None:
    driver = Driver()
    device = Hip(code("hip:gfx942"), driver)
    device.launch(0, 2, slots(*[bytes(8)] * 4), 0)
    device.flush()
    assert device.target == "hip:gfx942" and driver.named("hipModuleLaunchKernel")[0][1] == 2
    with pytest.raises(ValueError, match="which this GPU is not"):
        Hip(code("hip:gfx942"), Driver(architecture=b"gfx90a"))


def test_a_run_of_launches_that_comes_again_is_a_graph() -> None:
    driver = Driver()
    device = Cuda(code(), driver)

    def run(*pointers: int) -> dict[str, int]:
        before = len(driver.calls)
        for p in pointers:
            device.launch(0, 1, slots(struct.pack("<q", p), *[bytes(8)] * 3), 0)
        device.read(allocate(8), 0x7000, 8)
        named = [name for name, _ in driver.calls[before:] if name.startswith(("cuLaunch", "cuGraph", "cuStream"))]
        return {name: named.count(name) for name in named}

    direct = {"cuLaunchKernel": 3, "cuStreamSynchronize": 1}
    replayed = {"cuGraphLaunch": 1, "cuStreamSynchronize": 1}
    made = {"cuGraphCreate": 1, "cuGraphAddKernelNode": 3, "cuGraphInstantiateWithFlags": 1}
    assert run(16, 32, 48) == direct
    assert run(16, 32, 48) == made | replayed
    assert run(16, 32, 48) == replayed
    assert run(16, 64, 80) == {"cuGraphExecKernelNodeSetParams": 2} | replayed  # two pointers changed
    assert run(16, 64, 80) == replayed
    assert run(16, 65, 80) == direct  # other code: this one is not aligned
    assert run(16) == {"cuLaunchKernel": 1, "cuStreamSynchronize": 1}
    assert device.counts.graphs == 4 and device.counts.waits == 7
    # The nodes are a chain, and hold the parameters in order.
    added = driver.named("cuGraphAddKernelNode")
    assert [args[3].value for args in added] == [0, 1, 1]
    assert driver.nodes == [[16, 0, 0, 0, 0, 0], [32, 0, 0, 0, 0, 0], [48, 0, 0, 0, 0, 0]]


def test_graphs_do_not_pile_up() -> None:
    driver = Driver()
    device = Cuda(code(), driver)
    for n in range(2, 2 + KEPT + 5):
        for _ in range(2):
            device.launch(0, n, slots(*[bytes(8)] * 4), 0)
            device.launch(0, n, slots(*[bytes(8)] * 4), 0)
            device.flush()
    assert len(driver.named("cuGraphExecDestroy")) == 5


def test_memory_that_waiting_launches_use_is_freed_after_them() -> None:
    driver = Driver()
    device = Cuda(code(), driver)
    device.launch(0, 1, slots(*[bytes(8)] * 4), 0)
    device.free(0x7000)
    assert not driver.named("cuMemFreeAsync") and not driver.named("cuLaunchKernel")
    device.flush()
    order = [name for name, _ in driver.calls if name in ("cuLaunchKernel", "cuMemFreeAsync")]
    assert order == ["cuLaunchKernel", "cuMemFreeAsync"]
    device.free(0x7000)
    assert len(driver.named("cuMemFreeAsync")) == 2
    for _ in range(LONGEST):  # work is not kept back without end
        device.launch(0, 1, slots(*[bytes(8)] * 4), 0)
    assert len(driver.named("cuLaunchKernel")) == 1 + LONGEST
    driver.fails["cuLaunchKernel"] = 700
    device.launch(0, 1, slots(*[bytes(8)] * 4), 0)
    device.free(0x7000)
    with pytest.raises(OSError, match="cuLaunchKernel"):
        device.flush()
    assert len(driver.named("cuMemFreeAsync")) == 3 and not device.pending


class Pool:
    """PyTorch's allocator, as far as a launcher asks it."""

    class OutOfMemoryError(RuntimeError):
        pass

    def __init__(self) -> None:
        self.cuda, self.held = self, [0x9000, 0xA000]

    def is_available(self) -> bool:
        return True

    def caching_allocator_alloc(self, size: int, device: int) -> int:
        if not self.held:
            raise self.OutOfMemoryError
        return self.held.pop()

    def caching_allocator_delete(self, address: int) -> None:
        self.held.append(address)


def test_memory_comes_from_torch_where_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    driver, pool = Driver(), Pool()
    device = Cuda(code(), driver)
    monkeypatch.setattr(device, "torch", lambda: pool)
    held = [device.new(64), device.new(64)]
    with pytest.raises(MemoryError, match="out of GPU memory: 64 bytes"):
        device.new(64)
    for address in held:
        device.free(address)
    assert sorted(pool.held) == [0x9000, 0xA000] and device.new(1) in held  # the pool is as before
    assert not driver.named("cuMemAllocAsync") and not driver.named("cuMemFreeAsync")


class Marked(Driver):
    """Kernels note that the index at place 5 is out of range, or none."""

    def __init__(self, place: int | None):
        super().__init__()
        self.place = place

    def cuMemcpyDtoHAsync_v2(self, host: Any, source: Any, size: Any, stream: Any) -> int:  # noqa: N802
        if self.place is not None:
            set_word(host.value, self.place)
        return 0


@pytest.mark.parametrize("place", [5, None])
def test_a_wrong_index_is_reported(place: int | None) -> None:
    device = Cuda(code(), Marked(place))
    args, results = allocate(40), allocate(8)
    for i, v in enumerate((1, 1, 65, 1, slots(bytes(8)))):
        set_word(args + 8 * i, v)
    Services(device, lambda change: None).launch(None, args, results)
    assert word(results) == (-1 if place is None else place)
    assert len(device.library.named("cuMemFreeAsync")) == 1  # the word for it


@pytest.mark.gpu
def test_on_the_gpu(tmp_path: Any) -> None:
    import hybridc
    from hybridc.build import write_artifact

    (tmp_path / "double.hyb").write_text("fn double(x: f32[N]) -> f32[N]:\n    return x * 2\n")
    built = write_artifact(str(tmp_path / "double.hyb"), str(tmp_path), target="cpu,cuda:sm_80,cuda:sm_90,cuda:sm_100")
    assert list(hybridc.load(str(built), device="cuda").double([1.0, 2.0])) == [2.0, 4.0]
