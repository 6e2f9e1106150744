"""Examples that are programs around small layers, and the TreeLSTM of bench/gradients, as workloads."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import program_peers
import torch
from measuring import EXAMPLES, HERE, Workload, lines_between, near

import hybridc

PEERS = HERE / "program_peers.py"
GRADIENTS = HERE.parent / "gradients"
sys.path.append(str(GRADIENTS))
import trees  # noqa: E402


def treelstm(threads: int) -> Iterator[Workload]:
    """The model of docs/language.md; plans for folding are made beforehand, as codes for C++ are."""
    if threads > 1:
        return
    mod = hybridc.load(str(GRADIENTS / "trees.hyb"))
    net, opt = mod.TreeLSTM(seed=1), mod.native(mod.Adam(), "Adam")
    state, data = net.state_dict(), trees.trees()
    labels = torch.tensor([label for _, label in data])

    def as_hyb(t: Any) -> Any:
        return mod.Tree.Leaf(t) if isinstance(t, int) else mod.Tree.Node(as_hyb(t[0]), as_hyb(t[1]))

    given = mod.native([(as_hyb(t), label) for t, label in data], "list[(Tree, int)]")
    fixed, still = mod.TreeLSTM(seed=1), trees.Peer(state)
    plans, whole = [trees.Plan([d]) for d in data], trees.Plan(data)
    source, ours = GRADIENTS / "trees.py", GRADIENTS / "trees.hyb"
    model = lines_between(ours, "enum Tree", "fn mean_loss")
    eager = lines_between(source, "class Peer", "def folded")
    folding = lines_between(source, "def folded", "def step") + lines_between(source, "class Plan", "# ---- C++")

    @torch.inference_mode()
    def loss(h: torch.Tensor) -> float:
        return float(torch.nn.functional.cross_entropy(h @ still.head.T + still.bias, labels))

    @torch.inference_mode()
    def encoded() -> torch.Tensor:
        return torch.stack([still.encode(t)[0] for t, _ in data])

    @torch.inference_mode()
    def folded() -> torch.Tensor:
        return still.folded(whole)

    yield Workload(
        f"TreeLSTM, dim 150, the loss of {len(data)} trees",
        (lambda: fixed.mean_loss(given), model + lines_between(ours, "fn mean_loss", "fn one_by_one")),
        {"torch eager": (lambda: loss(encoded()), eager),
         "torch, all trees folded by height": (lambda: loss(folded()), eager + folding)},
        {"torch eager": 0.25}, near(1e-3), 15)
    slow, quick = trees.Peer(state), trees.Peer(state)
    with tempfile.TemporaryDirectory() as folder:
        cpp = trees.ByHand(folder, state)
    codes = [(trees.ByHand.code(t), label) for t, label in data]
    training = eager + lines_between(source, "def step", "class Plan")
    by_hand = lines_between(GRADIENTS / "trees.cpp", "#include") + lines_between(source, "class ByHand", "def main")
    yield Workload(
        f"TreeLSTM, dim 150, {len(data)} training steps of one tree",
        (lambda: mod.one_by_one(net, opt, given), model + lines_between(ours, "fn one_by_one", "fn batch")),
        {"C++": (lambda: [cpp.step([d]) for d in codes], by_hand),
         "torch eager": (lambda: [slow.step(slow.encode(t)[0][None], labels[i:i + 1])
                                  for i, (t, _) in enumerate(data)], training),
         "torch, a tree folded by height": (lambda: [quick.step(quick.folded(p), labels[i:i + 1])
                                                     for i, p in enumerate(plans)], training + folding)},
        {"C++": 1.0, "torch eager": 0.14, "torch, a tree folded by height": 0.22}, near(5e-3), 9)


def ponder(threads: int) -> Iterator[Workload]:
    if threads > 1:
        return
    source = EXAMPLES / "ponder" / "ponder.hyb"
    mod = hybridc.load(str(source))
    m, twin = mod.Ponder(), program_peers.Ponder()
    m.load(str(source.with_suffix(".safetensors")))
    twin.load_state_dict({n: torch.tensor(w) for n, w in m.state_dict().items()})
    g = hybridc.rng(3)
    rows = [np.asarray(mod.random_row(12, 1 + i % 12, g)) for i in range(32)]
    odd = [mod.is_odd(row) for row in rows]
    given, all_rows, all_odd = [torch.tensor(r) for r in rows], torch.tensor(np.stack(rows)), torch.tensor(odd)

    def hyb() -> np.ndarray:
        found = [m.value_and_grad("loss", row, o, 0.12, 0.005) for row, o in zip(rows, odd, strict=True)]
        return sum(np.concatenate([[loss], d]) for (loss, _), d in found)

    def eager() -> np.ndarray:
        return program_peers.gradient(twin, sum(twin.loss(r, o, 0.12, 0.005) for r, o in zip(given, odd, strict=True)))

    def batched() -> np.ndarray:
        return program_peers.gradient(twin, twin.losses(all_rows, all_odd, 0.12, 0.005))

    base = lines_between(PEERS, "class Ponder", "# one row")
    yield Workload(
        "a network that ponders, loss and gradient of 32 rows",
        (hyb, lines_between(source, "model Ponder", "fn forward")),
        {"torch eager": (eager, base + lines_between(PEERS, "def loss", "# all rows")),
         "torch eager, all rows under a mask": (batched, base + lines_between(PEERS, "def losses", "def gradient"))},
        {}, near(1e-2), 9)


def ways(threads: int) -> Iterator[Workload]:
    if threads > 1:
        return
    source = EXAMPLES / "routes" / "routes.hyb"
    mod = hybridc.load(str(HERE / "ways.hyb"), root=str(source.parent))
    s, twin = mod.Surveyor(seed=1), program_peers.Surveyor()
    twin.load_state_dict({n: torch.tensor(w) for n, w in s.state_dict().items()})
    maps = mod.maps.native(20, 12, hybridc.rng(5))
    grounds = [program_peers.Ground(m) for m in maps.to_python()]
    base = lines_between(PEERS, "class Surveyor", "class Ground")
    yield Workload(
        "a graph network and Dijkstra, the ways over 20 maps of 12 x 12",
        (lambda: mod.ways(s, maps), lines_between(source, "fn shortest_way", "fn length_of")
         + lines_between(source, "model Surveyor", "fn loss")),
        {"torch and Python": (lambda: [program_peers.way(g, twin(g).tolist()) for g in grounds],
                              base + lines_between(PEERS, "def way", "# Dijkstra in scipy")),
         "torch and scipy": (lambda: [program_peers.way_by_scipy(g, twin(g)) for g in grounds],
                             base + lines_between(PEERS, "def way_by_scipy", "# ---- a memory"))},
        {}, lambda a, b: a == b, 15)


def memory(threads: int) -> Iterator[Workload]:
    """Of images of 50 classes. With the same index the same is found; a look at all entries may find others."""
    if threads > 1:
        return
    source, folder = EXAMPLES / "memory" / "memory.hyb", tempfile.mkdtemp()
    mod = hybridc.load(str(source), externs={"place": lambda: f"{folder}/hyb"})
    chance = np.random.default_rng(0)
    classes = chance.random((50, 64), np.float32)
    labels = chance.integers(0, 50, 3100)
    images = (classes[labels] + chance.normal(0, 0.3, (len(labels), 64))).astype(np.float32)
    known, asked = images[:3000], list(images[3000:])
    m = mod.Recogniser(32, seed=1)
    m.see(list(known))
    state = m.state_dict()
    indexed, looking = (kind(state, state["usual"], state["planes"])
                        for kind in (program_peers.Indexed, program_peers.Looking))
    indexed.open(f"{folder}/lmdb")
    for image, label in zip(known, labels.tolist(), strict=False):
        m.remember(image, label)
        indexed.insert(indexed.key(image), label)
    m.save_memory()
    looking.keys, looking.labels = np.array([looking.key(image) for image in known]), labels[:3000]
    base = lines_between(PEERS, "def unit", "# all entries")
    yield Workload(
        f"a memory on disk, {len(asked)} images recognised among {len(known)}",
        (lambda: [m.recognise(image) for image in asked], lines_between(source, "enum Node", "fn loss")
         + lines_between(source, "mut fn remember", "fn size") + lines_between(source, "fn unit", "fn turned")),
        {"numpy and LMDB, the same index": (lambda: [indexed.recognise(image) for image in asked],
                                            base + lines_between(PEERS, "class Indexed")),
         "numpy, all in memory": (lambda: [looking.recognise(image) for image in asked],
                                  base + lines_between(PEERS, "class Looking", "# the index"))},
        {"numpy and LMDB, the same index": 1.0}, lambda a, b: sum(x != y for x, y in zip(a, b, strict=True)) <= 2, 15,
        frozenset({"numpy, all in memory"}))


ALL = (treelstm, ponder, ways, memory)
