"""`hybridc tune`: every kernel of a file is run on the GPU of this machine with several schedules, and the fastest is
kept in the cache, where `hybridc build` finds it for that GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from hybridc_runtime.device import DeviceCode, KernelInfo, programs_of
from hybridc_runtime.driver_api import DriverDevice
from hybridc_runtime.memory import allocate, free, set_word

from hybridc import driver
from hybridc.base.targets import GPUS
from hybridc.core.ir import Var
from hybridc.core.types import TensorT, elem
from hybridc.kernels.cost import BYTES
from hybridc.kernels.device import Launch, tensors
from hybridc.triton import binaries
from hybridc.triton.schedules import Schedule, candidates, keep
from hybridc.triton.source import kernel_of, module_text

TUNED = ("rows", "matmul", "map", "reduce")
"""Kinds of kernels that are measured; the others only move elements, or depend on what they are given."""
TURNS = 20


@dataclass(frozen=True)
class Outcome:
    kernel: str
    best: Schedule
    seconds: float
    before: float
    """By the table."""
    tried: int


def target_of(kind: Callable[..., DriverDevice], library: Any = None) -> str:
    """The target that this machine's GPU runs; OSError if there is none."""
    have = {t: {} for t in GPUS}  # type: ignore[var-annotated]
    return kind(DeviceCode("", [], have), library).target


def tune(
    path: str, kind: Callable[..., DriverDevice], *, root: str | None = None, size: int = 256, library: Any = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Outcome]:
    """What is best for each kernel of a file. `size` is taken for sizes that are known only at run time; `library`
    stands in for the driver, and `clock` for the time, in tests."""
    target = target_of(kind, library)
    for i, launch in enumerate(driver.kernels_of(path, root).launches):
        if launch.kind not in TUNED:
            continue
        times: dict[int, float] = {}
        tried = candidates(launch, target)
        name = ""
        for k, schedule in enumerate(tried):
            text, info = kernel_of(f"kernel_{i}", launch, schedule)
            name = ", ".join(info.operators)
            try:
                made = binaries.build(module_text("tune", [text]), [info], [target])
            except binaries.Failed:  # as one that needs more shared memory than there is
                continue
            code = {b.variant: (b.code, b.about) for b in made}
            known = KernelInfo(**asdict(info))
            device = kind(DeviceCode("", [known], {target: {info.name: code}}), library)
            times[k] = _seconds(device, launch, known, size, clock)
        if not times:
            continue
        best = min(times, key=times.__getitem__)
        keep(launch, target, tried[best])
        yield Outcome(name, tried[best], times[best], times.get(0, times[best]), len(times))


def _seconds(
    device: DriverDevice, launch: Launch, info: KernelInfo, size: int, clock: Callable[[], float]
) -> float:
    """Of one launch, on memory that holds anything."""
    slots = allocate(8 * len(info.params))
    held: list[int] = []
    try:
        results = [v for v in launch.stmt.body.tail.values if isinstance(v, Var)]
        pointers = iter([*results, *tensors(launch)])
        sizes = _sizes(launch, size)
        for i, (name, kind, _) in enumerate(info.params):
            if kind == "pointer":
                held.append(device.new(_bytes(launch, next(pointers), size)))
                set_word(slots + 8 * i, held[-1])
            elif kind == "size":
                set_word(slots + 8 * i, sizes[name])
        programs = programs_of(info, *_work(launch, size))
        device.launch(0, programs, slots, 0)
        device.wait()
        start = clock()
        for _ in range(TURNS):
            device.launch(0, programs, slots, 0)
        device.wait()
        return (clock() - start) / TURNS
    finally:
        for address in held:
            device.free(address)
        free(slots)


def _axis(launch: Launch, c: int, size: int) -> int:
    assert launch.graph is not None
    known = launch.graph.axes.size(c)
    return size if known is None else known


def _dims(v: Var, size: int) -> list[int]:
    return [size if d is None else d for d in v.type.dims] if isinstance(v.type, TensorT) else []


def _bytes(launch: Launch, v: Var, size: int) -> int:
    dims = _dims(v, size)
    if launch.graph is not None:
        dims = [_axis(launch, c, size) for c in launch.graph.axes.of(v)]
    return prod(dims) * BYTES[elem(v.type).name]  # type: ignore[union-attr]


def _sizes(launch: Launch, size: int) -> dict[str, int]:
    """What the kernel is told."""
    if launch.graph is not None:
        return {launch.size_name(c): _axis(launch, c, size) for c in launch.sizes if isinstance(c, int)}
    of = launch.op.args[0] if launch.kind == "reduce" else launch.op.outs[0]
    assert isinstance(of, Var)
    found = {f"d{i}": d for i, d in enumerate(_dims(of, size))}
    return found | (dict(zip(("batch", "m", "n", "k"), _product(launch, size), strict=True))
                    if launch.kind == "matmul" else {})


def _product(launch: Launch, size: int) -> tuple[int, int, int, int]:
    left, out = launch.op.args[0], launch.op.outs[0]
    assert isinstance(left, Var)
    *lead, m, n = _dims(out, size)
    return prod(lead), m, n, _dims(left, size)[-2 if launch.op.attr("ta") else -1]


def _work(launch: Launch, size: int) -> tuple[int, int, int]:
    """Batches, rows and columns to share out, as the host code says them (llvm/device.py)."""
    graph = launch.graph
    if graph is not None:
        def total(classes: Any) -> int:
            return prod(_axis(launch, c, size) for c in classes)

        outs = {n.space for n in graph.outputs}
        columns = total(graph.spaces[next(iter(outs))]) if len(outs) == 1 and None not in outs else 1  # type: ignore[index]
        return total(graph.rows[: graph.batch]), total(graph.rows[graph.batch :]), columns
    if launch.kind == "matmul":
        batch, m, n, _ = _product(launch, size)
        return batch, m, n
    return 1, prod(_dims(launch.stmt.ops[0].outs[0], size)), 1


__all__ = ["Outcome", "target_of", "tune"]
