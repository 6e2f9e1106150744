"""Connect-Four's search in Python, with a network in numpy or PyTorch; the other side of bench/models/run.py."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

COLUMNS, ROWS, CELLS = 7, 6, 42
Evaluate = Callable[[int, int], tuple[list[float], float]]
"""Logits of the moves and the value before tanh, of the stones of whose turn it is and all stones."""


def planes(mine: int, all_: int) -> np.ndarray:
    theirs, x = all_ ^ mine, np.zeros(3 * CELLS, np.float32)
    for i in range(CELLS):
        at = i // ROWS * (ROWS + 1) + i % ROWS
        x[i], x[CELLS + i], x[2 * CELLS + i] = mine >> at & 1, theirs >> at & 1, ~all_ >> at & 1
    return x


def in_numpy(weights: dict[str, np.ndarray]) -> Evaluate:
    layers = [(np.ascontiguousarray(weights[f"{n}.weight"].T), weights[f"{n}.bias"])
              for n in ("first", "second", "head")]

    def evaluate(mine: int, all_: int) -> tuple[list[float], float]:
        h = planes(mine, all_)
        for w, b in layers[:-1]:
            h = np.maximum(h @ w + b, 0)
        y = (h @ layers[-1][0] + layers[-1][1]).tolist()
        return y[:-1], y[-1]

    return evaluate


def in_torch(weights: dict[str, np.ndarray]) -> Evaluate:
    layers = [(torch.tensor(weights[f"{n}.weight"]), torch.tensor(weights[f"{n}.bias"]))
              for n in ("first", "second", "head")]

    @torch.inference_mode()
    def evaluate(mine: int, all_: int) -> tuple[list[float], float]:
        h = torch.from_numpy(planes(mine, all_))
        for w, b in layers[:-1]:
            h = torch.relu(torch.nn.functional.linear(h, w, b))
        y = torch.nn.functional.linear(h, *layers[-1]).tolist()
        return y[:-1], y[-1]

    return evaluate


def place(move: int, all_: int) -> int:
    return all_ + (1 << move * (ROWS + 1)) & ((1 << ROWS) - 1) << move * (ROWS + 1)


def lost(mine: int, all_: int) -> bool:
    stones = all_ ^ mine
    for step in (1, ROWS, ROWS + 1, ROWS + 2):
        pairs = stones & stones >> step
        if pairs & pairs >> 2 * step:
            return True
    return False


class Node:
    __slots__ = ("move", "parent", "prior", "visits", "total", "replies")

    def __init__(self, move: int, parent: Node | None, prior: float):
        self.move, self.parent, self.prior = move, parent, prior
        self.visits, self.total = 0, 0.0
        self.replies: list[Node] = []


def expand(node: Node, mine: int, all_: int, evaluate: Evaluate) -> float:
    logits, value = evaluate(mine, all_)
    weights = [(m, math.exp(min(logits[m], 60.0))) for m in range(COLUMNS) if place(m, all_)]
    total = sum(w for _, w in weights)
    node.replies = [Node(m, node, w / total) for m, w in weights]
    return math.tanh(value)


def chosen(node: Node) -> Node:
    explore = 1.5 * math.sqrt(node.visits)
    best, best_score = node, -math.inf
    for r in node.replies:
        score = r.total / max(r.visits, 1) + explore * r.prior / (1 + r.visits)
        if score > best_score:
            best, best_score = r, score
    return best


def search(mine: int, all_: int, sims: int, evaluate: Evaluate) -> list[float]:
    """The share of simulations of each move."""
    root = Node(-1, None, 1.0)
    expand(root, mine, all_, evaluate)
    for _ in range(sims):
        node: Node | None = root
        own, stones = mine, all_
        while node.replies:
            node = chosen(node)
            own, stones = stones ^ own, stones | place(node.move, stones)
        value = 0.0
        if lost(own, stones):
            value = -1.0
        elif stones.bit_count() < CELLS:
            value = expand(node, own, stones, evaluate)
        while node is not None:
            value = -value
            node.visits += 1
            node.total += value
            node = node.parent
    shares = [0.0] * COLUMNS
    for r in root.replies:
        shares[r.move] = r.visits / sims
    return shares
