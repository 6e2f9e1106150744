"""What one would otherwise write for examples that no graph compiler takes whole: in PyTorch a network that ponders,
row by row or all rows at once under a mask, and one that finds ways with Dijkstra's algorithm in Python or scipy; in
numpy one with a memory on disk, searched by an index in LMDB or by a look at all of it."""

from __future__ import annotations

import heapq
import math
from typing import Any

import lmdb
import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra
from torch import nn
from torch.nn import functional as F


# ---- a network that ponders ----
class Ponder(nn.Module):
    def __init__(self, width: int = 12, dim: int = 32, limit: int = 20):
        super().__init__()
        self.cell, self.halt, self.head = nn.GRUCell(2, dim), nn.Linear(dim, 1), nn.Linear(dim, 1)
        self.place, self.something = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(()))
        self.dim, self.limit = dim, limit

    def turn(self, rows: torch.Tensor, unread: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of rows [B, width]."""
        seen = F.softmax(self.place + self.something * rows.abs() + torch.log(unread + 1e-6), -1)
        look = torch.stack([(seen * rows).sum(-1), (seen * rows.abs()).sum(-1)], -1)
        return unread * (1.0 - seen), self.cell(look, h)

    # one row
    def loss(self, row: torch.Tensor, odd: bool, prior: float, weight: float) -> torch.Tensor:
        sign = 1.0 if odd else -1.0
        rows, h, unread = row.unsqueeze(0), torch.zeros(1, self.dim), torch.ones(1, len(row))
        left, total = torch.ones(()), torch.zeros(())
        prior_left, turns = 1.0, 0
        while left > 0.01 and turns < self.limit:
            unread, h = self.turn(rows, unread, h)
            turns += 1
            stop = torch.sigmoid(self.halt(h)[0, 0])
            here = left * stop if turns < self.limit else left
            total = total + here * F.softplus(-sign * self.head(h)[0, 0])
            total = total + weight * here * torch.log((here + 1e-6) / (prior_left * prior + 1e-6))
            left = left * (1.0 - stop)
            prior_left *= 1.0 - prior
        return total

    # all rows
    def losses(self, rows: torch.Tensor, odd: torch.Tensor, prior: float, weight: float) -> torch.Tensor:
        """The sum of the losses; a row that has stopped is computed on, and counts no more."""
        sign = torch.where(odd, 1.0, -1.0)
        h, unread = torch.zeros(len(rows), self.dim), torch.ones_like(rows)
        left, total = torch.ones(len(rows)), torch.zeros(())
        prior_left, turns = 1.0, 0
        while turns < self.limit and (on := left > 0.01).any():
            unread, h = self.turn(rows, unread, h)
            turns += 1
            stop = torch.sigmoid(self.halt(h)[:, 0])
            here = left * stop if turns < self.limit else left
            more = here * F.softplus(-sign * self.head(h)[:, 0])
            more = more + weight * here * torch.log((here + 1e-6) / (prior_left * prior + 1e-6))
            total = total + torch.where(on, more, 0.0).sum()
            left = torch.where(on, left * (1.0 - stop), left)
            prior_left *= 1.0 - prior
        return total


def gradient(m: nn.Module, loss: torch.Tensor) -> np.ndarray:
    """The loss and its derivative by all parameters."""
    names = [*dict(m.named_parameters())]
    parts = dict(zip(names, torch.autograd.grad(loss, [*m.parameters()]), strict=True))
    order = sorted(names, key=lambda n: "." not in n)  # submodels first, as in Hyb's vector
    return np.concatenate([[loss.item()], *(parts[n].numpy().ravel() for n in order)])


# ---- ways ----
class Surveyor(nn.Module):
    def __init__(self, dim: int = 32, rounds: int = 2):
        super().__init__()
        self.look = nn.Linear(5, dim)
        self.own = nn.ModuleList([nn.Linear(dim, dim) for _ in range(rounds)])
        self.around = nn.ModuleList([nn.Linear(dim, dim) for _ in range(rounds)])
        self.pair, self.cost = nn.Linear(2 * dim, dim), nn.Linear(dim, 1)

    @torch.inference_mode()
    def forward(self, m: Ground) -> torch.Tensor:
        h = F.relu(self.look(torch.cat([m.heights.unsqueeze(1), F.one_hot(m.ground, 4).float()], 1)))
        for own, around in zip(self.own, self.around, strict=True):
            heard = torch.zeros_like(h).index_add_(0, m.end, around(h)[m.start])
            h = F.relu(own(h) + heard) + h
        both = F.relu(self.pair(torch.cat([h[m.start], h[m.end]], 1)))
        return 0.05 + F.softplus(self.cost(both)[:, 0])


class Ground:
    """A map, as PyTorch takes it."""

    def __init__(self, m: Any):
        self.heights, self.ground = torch.tensor(m.heights), torch.tensor(m.ground)
        self.start, self.end = torch.tensor(m.start), torch.tensor(m.end)
        self.ends, self.starts, self.leaving = m.end.tolist(), m.start.tolist(), m.leaving
        self.source, self.target = m.source, m.target


# Dijkstra in Python
def way(m: Ground, costs: list[float]) -> list[int]:
    lengths, by = [float("inf")] * len(m.leaving), [-1] * len(m.leaving)
    lengths[m.source] = 0.0
    waiting = [(0.0, m.source)]
    while waiting:
        length, u = heapq.heappop(waiting)
        if u == m.target:
            break
        if length > lengths[u]:
            continue
        for e in m.leaving[u]:
            longer, v = length + costs[e], m.ends[e]
            if longer < lengths[v]:
                lengths[v], by[v] = longer, e
                heapq.heappush(waiting, (longer, v))
    steps, at = [], m.target
    while at != m.source:
        steps.append(by[at])
        at = m.starts[by[at]]
    return steps[::-1]


# Dijkstra in scipy
def way_by_scipy(m: Ground, costs: torch.Tensor) -> list[int]:
    places = len(m.leaving)
    graph = csr_matrix((costs.numpy(), (m.start.numpy(), m.end.numpy())), (places, places))
    _, before = dijkstra(graph, indices=m.source, return_predecessors=True)
    steps, at = [], m.target
    while at != m.source:
        u = int(before[at])
        steps.append(next(e for e in m.leaving[u] if m.ends[e] == at))
        at = u
    return steps[::-1]


# ---- a memory on disk ----
def unit(x: np.ndarray) -> np.ndarray:
    return x / (np.linalg.norm(x) + np.float32(1e-6))


class Recogniser:
    """The network, in numpy, and how the most similar entries are weighed; `planes` and `usual` as in Hyb's state."""

    def __init__(self, weights: dict[str, np.ndarray], usual: np.ndarray, planes: np.ndarray):
        self.weights, self.usual, self.planes = weights, usual, planes

    def key(self, image: np.ndarray) -> np.ndarray:
        w = self.weights
        h = np.maximum(w["hidden.weight"] @ image + w["hidden.bias"], 0)
        features = unit(w["last.weight"] @ h + w["last.bias"])
        return unit(np.concatenate([unit(image - self.usual), features]))

    def recognise(self, image: np.ndarray, count: int = 5) -> int:
        votes: dict[int, float] = {}
        for likeness, label in self.nearest(self.key(image), count):
            votes[label] = votes.get(label, 0.0) + math.exp(10 * likeness)
        return max(votes, key=lambda label: votes[label])


# all entries, in memory
class Looking(Recogniser):
    keys: np.ndarray
    labels: np.ndarray

    def nearest(self, key: np.ndarray, count: int) -> list[tuple[float, int]]:
        likeness = self.keys @ key
        best = np.argpartition(-likeness, count)[:count]
        return sorted(zip(likeness[best].tolist(), self.labels[best].tolist(), strict=True), reverse=True)


# the index, in LMDB
class Indexed(Recogniser):
    """Nodes as bytes: a plane and an offset, or labels and keys."""

    FULL = 48

    def open(self, path: str) -> None:
        self.env = lmdb.open(path, subdir=False, map_size=1 << 30)

    @staticmethod
    def leaf(keys: np.ndarray, labels: np.ndarray) -> bytes:
        return b"L" + len(labels).to_bytes(8, "little") + labels.tobytes() + keys.tobytes()

    @staticmethod
    def split(plane: int, offset: float) -> bytes:
        return b"S" + np.array([plane, offset]).tobytes()

    def node(self, db: lmdb.Transaction, at: int) -> tuple[int, float] | tuple[np.ndarray, np.ndarray]:
        data = db.get(at.to_bytes(8, "little"))
        if data is None:
            return np.zeros((0, self.planes.shape[1]), np.float32), np.zeros(0, np.int64)
        if data[:1] == b"S":
            plane, offset = np.frombuffer(data, np.float64, offset=1)
            return int(plane), float(offset)
        n = int.from_bytes(data[1:9], "little")
        keys = np.frombuffer(data, np.float32, offset=9 + 8 * n).reshape(n, -1)
        return keys, np.frombuffer(data, np.int64, n, 9)

    def insert(self, key: np.ndarray, label: int) -> None:
        with self.env.begin(write=True) as db:
            at = 1
            while isinstance((node := self.node(db, at))[0], int):
                at = 2 * at + int(self.planes[node[0]] @ key > node[1])
            keys, labels = np.concatenate([node[0], key[None]]), np.append(node[1], label)
            if len(keys) <= self.FULL:
                db.put(at.to_bytes(8, "little"), self.leaf(keys, labels))
                return
            heights = keys @ self.planes.T
            plane = int(heights.var(0).argmax())
            offset = np.sort(heights[:, plane])[len(keys) // 2 - 1]
            high = heights[:, plane] > offset
            db.put(at.to_bytes(8, "little"), self.split(plane, float(offset)))
            db.put((2 * at).to_bytes(8, "little"), self.leaf(keys[~high], labels[~high]))
            db.put((2 * at + 1).to_bytes(8, "little"), self.leaf(keys[high], labels[high]))

    def nearest(self, key: np.ndarray, count: int, leaves: int = 12) -> list[tuple[float, int]]:
        waiting, found, visited = [(0.0, 1)], [], 0
        with self.env.begin() as db:
            while visited < leaves and waiting:
                gap, at = heapq.heappop(waiting)
                node = self.node(db, at)
                if isinstance(node[0], int):
                    height = float(self.planes[node[0]] @ key) - node[1]
                    side = 2 * at + int(height > 0)
                    heapq.heappush(waiting, (gap, side))
                    heapq.heappush(waiting, (max(gap, abs(height)), side ^ 1))
                else:
                    visited += 1
                    found += zip((node[0] @ key).tolist(), node[1].tolist(), strict=True)
        return heapq.nlargest(count, found)
