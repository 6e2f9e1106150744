"""`python bench/geometric/kernels.py [--assembly] [NAME...]`: how many GPU kernels each workload is and what bytes they
move, Hyb's beside those of torch.compile (Inductor). No GPU is needed.

Hyb runs with a launcher that only counts. Inductor lowers and fuses as for an NVIDIA GPU and is stopped before it
compiles; a product, convolution or attention of a library counts as one kernel. A kernel reads each operand and writes
each result once, at most as many bytes of an operand as it has places to read (Inductor's own rule). A copy within the
device's memory is a kernel too. The transfers of inputs and results are not counted; both have those.

With --assembly every kernel that ran is compiled for sm_90 too, and the assembler says what it uses: registers, bytes
of stack and local memory (spills), and how many instructions use the matrix units.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
os.environ["HYB_PLACE"] = "all"
os.environ["HYB_CACHE_DIR"] = tempfile.mkdtemp()

import torch  # noqa: E402
import torch._inductor.config as inductor  # noqa: E402
import triton  # noqa: E402
from hybridc_runtime import launchers  # noqa: E402
from hybridc_runtime.device import Counts, DeviceCode, KernelInfo, values_of  # noqa: E402
from hybridc_runtime.memory import allocate, copy_bytes, free  # noqa: E402
from torch._inductor import scheduler  # noqa: E402
from torch._inductor.ir import MultiOutput  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.runtime import driver as triton_driver  # noqa: E402
from workloads import workloads  # noqa: E402

import hybridc  # noqa: E402
from hybridc import driver  # noqa: E402
from hybridc.core.ir import TensorT, Var  # noqa: E402
from hybridc.core.tensor_ops import elem  # noqa: E402
from hybridc.kernels.cost import BYTES  # noqa: E402
from hybridc.kernels.device import Launch, tensors  # noqa: E402
from hybridc.triton import binaries  # noqa: E402

Kernel = tuple[str, int]
"""What it does, and the bytes it moves."""
_modules: dict[str, Sequence[Launch]] = {}
_ran: list[Kernel] = []
_used: dict[tuple[str, int], KernelInfo] = {}
"""Kernels that ran, by the source they are in and their number."""
_wanted: dict[tuple[str, int], None] = {}
"""Those of a workload; others make its parameters."""


# ---- Hyb
class Counting:
    """A launcher whose kernels only are counted; its memory holds zeros."""

    def __init__(self, code: DeviceCode):
        self.kernels, self.counts = code.kernels, Counts()
        self.source, self.launches = code.source, _modules[code.source]
        self.sizes: dict[int, int] = {}

    def new(self, size: int) -> int:
        address = allocate(max(size, 1))
        if size:
            copy_bytes(address, _zeros(size), size)
        self.sizes[address] = size
        return address

    def free(self, address: int) -> None:
        del self.sizes[address]
        free(address)

    def copy(self, to: int, source: int, size: int) -> None:
        _ran.append(("copy", 2 * size))

    def write(self, to: int, host: int, size: int) -> None:
        copy_bytes(to, host, size)

    def read(self, host: int, source: int, size: int) -> None:
        copy_bytes(host, source, size)

    def launch(self, kernel: int, programs: int, slots: int, fault: int) -> None:
        launch = self.launches[kernel]
        _used[self.source, kernel] = self.kernels[kernel]
        pointers = [v for v, p in zip(values_of(self.kernels[kernel], slots), self.kernels[kernel].params, strict=False)
                    if p[1] == "pointer"]
        results = [v for v in launch.stmt.body.tail.values if isinstance(v, Var)]
        sizes = [self.bytes(v, p) for v, p in zip([*results, *tensors(launch)], pointers, strict=True)]
        written, read = sum(sizes[: len(results)]), sizes[len(results) :]
        if launch.kind in ("update", "put", "scatter"):  # into what was copied before
            written, read = min(written, read[-1]), read[1:]
        if launch.kind in ("take", "gather", "index", "windows", "transpose"):
            read = [min(read[0], written), *read[1:]]
        if launch.kind == "rows" and launch.checked is not None:
            # Of a matrix that elements are picked from, and nothing else is done with, these.
            matrix, index = launch.checked.args
            if sum(matrix in op.args for op in launch.stmt.ops) == 1:
                at, places = (tensors(launch).index(a) for a in (matrix, index))  # type: ignore[arg-type]
                each = BYTES[elem(matrix.type).name] / BYTES[elem(index.type).name]
                read[at] = min(read[at], int(read[places] * each))
        _ran.append((self.kernels[kernel].name, written + sum(read)))

    def bytes(self, v: Var, pointer: int) -> int:
        """Of a tensor: by its type, or up to the end of the block it lies in."""
        dims = v.type.dims if isinstance(v.type, TensorT) else ()
        if None not in dims:
            return int(torch.Size(dims).numel()) * BYTES[elem(v.type).name]  # type: ignore[arg-type, union-attr]
        return next(at + size - pointer for at, size in self.sizes.items() if at <= pointer < at + max(size, 1))


_zero_bytes: list[Any] = []


def _zeros(size: int) -> int:
    if not _zero_bytes or _zero_bytes[-1].numel() < size:
        _zero_bytes.append(torch.zeros(size, dtype=torch.uint8))
    return _zero_bytes[-1].data_ptr()


def remember() -> None:
    """Keep the launches of every module that is compiled, by its source."""
    plain = driver.module_of

    def module_of(name: str, kernels: Any) -> Any:
        source, infos = plain(name, kernels)
        _modules[source] = kernels.launches
        return source, infos

    driver.module_of = module_of
    launchers.LAUNCHERS["count"] = (__name__, "Counting")


def by_hyb(run: Callable[[], object]) -> list[Kernel]:
    _ran.clear()
    before = set(_used)
    run()
    _wanted.update(dict.fromkeys(k for k in _used if k not in before))
    return list(_ran)


# ---- Inductor
class Fused(Exception):
    """Inductor has chosen its kernels."""


class Stand:
    """In place of Triton's driver for a GPU."""

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def is_active(self) -> bool:
        return True


def by_inductor(f: Callable[..., object], inputs: Sequence[torch.Tensor]) -> list[Kernel]:
    found: list[Kernel] = []

    def stop(self: scheduler.Scheduler) -> None:
        for node in self.nodes:
            outside = isinstance(node, scheduler.ExternKernelSchedulerNode)
            if isinstance(node, scheduler.NopKernelSchedulerNode) or outside and isinstance(node.node, MultiOutput):
                continue
            what = getattr(node.node, "python_kernel_name", None) if outside else "triton"
            found.append((what or type(node.node).__name__, node.get_read_write_buffers_sizes()))
        raise Fused

    plain = scheduler.Scheduler.codegen
    scheduler.Scheduler.codegen = stop  # type: ignore[method-assign]
    torch._dynamo.reset()
    try:
        with torch.no_grad():
            torch.compile(f, dynamic=False)(*inputs)
    except Exception as e:  # what a backend raises comes within another
        if "Fused" not in repr(e):
            raise
    finally:
        scheduler.Scheduler.codegen = plain  # type: ignore[method-assign]
    return found


# ---- the TreeLSTM
def a_node() -> tuple[list[Kernel], list[Kernel]]:
    """One inner node of a tree: what a tree of three leaves launches beyond one of two, and a node as Inductor sees it,
    which takes no recursion."""
    mod = hybridc.load(str(Path(__file__).parent.parent / "treelstm.hyb"), device="count")
    model = mod.TreeLSTM(vocab=10_000, dim=150, seed=0)
    leaf, node = mod.Tree.Leaf, mod.Tree.Node
    two = by_hyb(lambda: model(node(leaf(3), leaf(5))))
    three = by_hyb(lambda: model(node(node(leaf(3), leaf(5)), leaf(7))))
    for kernel in two:
        three.remove(kernel)

    def encode(embed, word, lh, lc, w, b):  # type: ignore[no-untyped-def]
        rh, rc = torch.nn.functional.embedding(word, embed), torch.zeros(150)
        i, fl, fr, o, g = (w @ torch.cat((lh, rh)) + b).chunk(5)
        c = i.sigmoid() * g.tanh() + fl.sigmoid() * lc + fr.sigmoid() * rc
        return o.sigmoid() * c.tanh(), c

    shapes = [(10_000, 150), (150,), (150,), (750, 300), (750,)]
    embed, lh, lc, w, b = (torch.zeros(s) for s in shapes)
    return three, by_inductor(encode, (embed, torch.tensor(7), lh, lc, w, b))


# ---- what the assembler says
def assembly() -> None:
    print("| kernel | registers | stack and local bytes | matrix instructions |\n| --- | --- | --- | --- |")
    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    file = Path(os.environ["HYB_CACHE_DIR"]) / "kernel.cubin"

    def tool(name: str, *options: str) -> str:
        return subprocess.run([tools / name, *options, file], capture_output=True, text=True, check=True).stdout

    for source in dict.fromkeys(s for s, _ in _wanted):
        infos = [_used[s, n] for s, n in _wanted if s == source]
        for made in binaries.build(source, infos, ["cuda:sm_90"]):  # type: ignore[arg-type]
            file.write_bytes(made.code)
            usage = tool("cuobjdump", "-res-usage")
            registers, *memory = (int(n) for n in re.findall(r"(?:REG|STACK|LOCAL):(\d+)", usage))
            matrix = len(re.findall(r"\b(?:HGMMA|HMMA|DMMA)\b", tool("nvdisasm")))
            print(f"| {made.kernel}, {made.variant} | {registers} | {sum(memory)} | {matrix} |", flush=True)


def a_sequence(xs: torch.Tensor, *params: torch.Tensor) -> list[Kernel]:
    """The workload's peer is one operator of a library, whose kernels Inductor does not see: so many turns of a loop
    over the cell."""
    zero = torch.zeros(1, 128)
    return by_inductor(lambda xs, h, c, *p: torch.lstm_cell(xs[1:2], [h, c], *p), (xs, zero, zero, *params)) * len(xs)


@dataclass
class Row:
    name: str
    hyb: list[Kernel]
    inductor: list[Kernel]

    def show(self) -> None:
        (n, size), (m, other) = ((len(ks), sum(b for _, b in ks)) for ks in (self.hyb, self.inductor))
        cells = [self.name, n, m, _thousands(size), _thousands(other), f"{size / other:.2f}"]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
        if os.environ.get("DETAIL"):
            for side, ks in (("hyb", self.hyb), ("inductor", self.inductor)):
                for name, b in ks[:40]:
                    print(f"    {side} {name}: {_thousands(b)}")


def _thousands(n: int) -> str:
    return f"{n / 1e3:,.1f}".replace(",", " ")


def main() -> None:
    names = [a for a in sys.argv[1:] if a != "--assembly"]
    inductor.cpu_backend = "triton"
    torch.backends.mha.set_fastpath_enabled(False)  # one operator that hides a layer's kernels
    logging.getLogger("torch").setLevel(logging.CRITICAL)
    triton_driver.set_active(Stand())
    remember()
    print("| workload | kernels | Inductor's | kB | Inductor's | ratio of bytes |")
    print("| --- | --- | --- | --- | --- | --- |")
    for w in workloads("count"):
        if not names or any(n in w.name for n in names):
            peer = a_sequence(*w.inputs) if "sequence" in w.name else by_inductor(w.torch, w.inputs)
            Row(w.name, by_hyb(w.hyb), peer).show()
    if not names or any(n in "TreeLSTM" for n in names):
        Row("TreeLSTM, dim 150, a node and a leaf", *a_node()).show()
    if "--assembly" in sys.argv:
        assembly()


if __name__ == "__main__":
    main()
