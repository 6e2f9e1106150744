"""Training the TreeLSTM of docs/language.md (dim 150, random trees of 5 to 45 leaves) beside C++ with its backward by
hand, torch eager node by node, and torch folded by height: medians of interleaved runs of one thread, by the time the
processor gave it. One tree a step, then 32, which Hyb takes as a `parallel`; with more threads that alone,
by the clock.

    python bench/gradients/trees.py [THREADS]
"""

from __future__ import annotations

import ctypes
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ratios import compare

import hybridc

HERE = Path(__file__).parent
DIM, VOCAB, CLASSES, TREES = 150, 1_000, 5, 32
NAMES = ("embed.weight", "head.weight", "head.bias", "w", "b")
Tree = Any
"""A word, or a pair of trees."""


def trees() -> list[tuple[Tree, int]]:
    chance = random.Random(0)

    def tree(leaves: int) -> Tree:
        if leaves == 1:
            return chance.randrange(VOCAB)
        left = chance.randrange(1, leaves)
        return tree(left), tree(leaves - left)

    return [(tree(chance.randrange(5, 46)), chance.randrange(CLASSES)) for _ in range(TREES)]


# ---- PyTorch ---------------------------------------------------------------------------------------------------------
class Peer:
    """The model's parameters and Adam in PyTorch."""

    def __init__(self, state: dict[str, np.ndarray]):
        self.embed, self.head, self.bias, self.w, self.b = (torch.tensor(state[n], requires_grad=True) for n in NAMES)
        self.adam = torch.optim.Adam([self.embed, self.head, self.bias, self.w, self.b], fused=True)

    def cell(self, h: torch.Tensor, lc: torch.Tensor, rc: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        i, fl, fr, o, g = (h @ self.w.T + self.b).chunk(5, -1)
        c = i.sigmoid() * g.tanh() + fl.sigmoid() * lc + fr.sigmoid() * rc
        return o.sigmoid() * c.tanh(), c

    def encode(self, t: Tree) -> tuple[torch.Tensor, torch.Tensor]:
        if isinstance(t, int):
            return self.embed[t], torch.zeros(DIM)
        (lh, lc), (rh, rc) = self.encode(t[0]), self.encode(t[1])
        return self.cell(torch.cat((lh, rh)), lc, rc)

    def folded(self, plan: Plan) -> torch.Tensor:
        """The states of the roots, all nodes of one height at once."""
        h = self.embed[plan.words]
        c = torch.zeros_like(h)
        for left, right in plan.levels:
            more, cells = self.cell(torch.cat((h[left], h[right]), 1), c[left], c[right])
            h, c = torch.cat((h, more)), torch.cat((c, cells))
        return h[plan.roots]

    def step(self, roots: torch.Tensor, labels: torch.Tensor) -> float:
        self.adam.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(roots @ self.head.T + self.bias, labels)
        loss.backward()
        self.adam.step()
        return loss.item()


class Plan:
    """How trees are folded: all words, then for each height the places of the left and right parts."""

    def __init__(self, data: list[tuple[Tree, int]]):
        words: list[int] = []
        by_height: list[list[tuple[Any, Any]]] = []

        def place(t: Tree) -> tuple[int, int]:
            """Its height, and its number among those of that height."""
            if isinstance(t, int):
                words.append(t)
                return 0, len(words) - 1
            left, right = place(t[0]), place(t[1])
            height = 1 + max(left[0], right[0])
            while len(by_height) < height:
                by_height.append([])
            by_height[height - 1].append((left, right))
            return height, len(by_height[height - 1]) - 1

        tops = [place(t) for t, _ in data]
        starts = np.cumsum([0, len(words), *map(len, by_height)])
        self.words = torch.tensor(words)
        self.levels = [tuple(torch.tensor([int(starts[h]) + i for h, i in side]) for side in zip(*level, strict=True))
                       for level in by_height]
        self.roots = torch.tensor([int(starts[h]) + i for h, i in tops])


# ---- C++ -------------------------------------------------------------------------------------------------------------
class ByHand:
    """trees.cpp, with the parameters in one vector."""

    def __init__(self, folder: str, state: dict[str, np.ndarray]):
        library = Path(folder) / "trees.so"
        flags = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
        subprocess.run(["g++", *flags, str(HERE / "trees.cpp"), "-o", str(library)], check=True)
        self.library = ctypes.CDLL(str(library))
        self.library.tree_gradient.restype = ctypes.c_float
        self.p = np.concatenate([state[n].ravel() for n in NAMES])
        self.g, self.m, self.v = (np.zeros_like(self.p) for _ in range(3))
        self.pointers = [ctypes.c_void_p(a.ctypes.data) for a in (self.p, self.g, self.m, self.v)]
        self.steps = 0

    @staticmethod
    def code(t: Tree) -> np.ndarray:
        """The nodes in postorder."""
        rows: list[tuple[int, int, int]] = []

        def write(t: Tree) -> int:
            rows.append((t, 0, 0) if isinstance(t, int) else (-1, write(t[0]), write(t[1])))
            return len(rows) - 1

        write(t)
        return np.array(rows, np.int64)

    def step(self, data: list[tuple[np.ndarray, int]]) -> float:
        self.g.fill(0)
        loss = 0.0
        for nodes, label in data:
            loss += self.library.tree_gradient(
                ctypes.c_void_p(nodes.ctypes.data), ctypes.c_int64(len(nodes)), ctypes.c_int64(label),
                ctypes.c_int64(VOCAB), *self.pointers[:2])
        self.g /= len(data)
        self.steps += 1
        self.library.adam(*self.pointers, ctypes.c_int64(self.p.size), ctypes.c_int64(self.steps), ctypes.c_float(1e-3))
        return loss / len(data)


def main(threads: int) -> None:
    torch.set_num_threads(threads)
    mod = hybridc.load(HERE / "trees.hyb")
    net, opt = mod.TreeLSTM(seed=1), mod.native(mod.Adam(), "Adam")
    data = trees()
    labels = torch.tensor([label for _, label in data])

    def as_hyb(t: Tree) -> Any:
        return mod.Tree.Leaf(t) if isinstance(t, int) else mod.Tree.Node(as_hyb(t[0]), as_hyb(t[1]))

    given = mod.native([(as_hyb(t), label) for t, label in data], "list[(Tree, int)]")
    codes = [(ByHand.code(t), label) for t, label in data]
    plans, whole = [Plan([d]) for d in data], Plan(data)
    eager, folded = Peer(net.state_dict()), Peer(net.state_dict())
    with tempfile.TemporaryDirectory() as folder:
        cpp = ByHand(folder, net.state_dict())
        peers = {
            "C++ by hand": lambda: [cpp.step([d]) for d in codes],
            "torch eager": lambda: [eager.step(eager.encode(t)[0][None], labels[i : i + 1])
                                    for i, (t, _) in enumerate(data)],
            "torch folded": lambda: [folded.step(folded.folded(p), labels[i : i + 1]) for i, p in enumerate(plans)],
        }

        if threads == 1:
            want = mod.one_by_one(net, opt, given)
            for name, run in peers.items():
                np.testing.assert_allclose(run(), want, rtol=2e-3, err_msg=name)
            print(f"| {TREES} steps of one tree: second over first | ms | ms | ratio |\n| --- | --- | --- | --- |")
            for name, run in peers.items():
                compare(f"{name}, Hyb", run, lambda: mod.one_by_one(net, opt, given))
    print(f"| a step of {TREES} trees, threads: {threads} | ms | ms | ratio |\n| --- | --- | --- | --- |")
    compare("torch folded, Hyb", lambda: folded.step(folded.folded(whole), labels),
            lambda: mod.batch(net, opt, given), time.thread_time if threads == 1 else time.perf_counter)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 1)
