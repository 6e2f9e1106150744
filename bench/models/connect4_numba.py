"""Connect-Four's search as one writes it for numba: nodes in arrays, products by numpy's BLAS."""

from __future__ import annotations

import math
from collections.abc import Callable

import numba
import numpy as np

COLUMNS, ROWS, CELLS = 7, 6, 42
fast = numba.njit(cache=False, fastmath=True)


@fast
def place(move, stones):
    return (stones + (1 << (move * (ROWS + 1)))) & (((1 << ROWS) - 1) << (move * (ROWS + 1)))


@fast
def lost(mine, stones):
    theirs = stones ^ mine
    for step in (1, ROWS, ROWS + 1, ROWS + 2):
        pairs = theirs & (theirs >> step)
        if pairs & (pairs >> (2 * step)):
            return True
    return False


@fast
def network(mine, stones, x, w1, b1, w2, b2, w3, b3):
    theirs = stones ^ mine
    for i in range(CELLS):
        at = i // ROWS * (ROWS + 1) + i % ROWS
        x[i] = np.float32((mine >> at) & 1)
        x[CELLS + i] = np.float32((theirs >> at) & 1)
        x[2 * CELLS + i] = np.float32((~stones >> at) & 1)
    h = np.dot(w1, x) + b1
    for i in range(len(h)):
        h[i] = max(h[i], np.float32(0))
    k = np.dot(w2, h) + b2
    for i in range(len(k)):
        k[i] = max(k[i], np.float32(0))
    return np.dot(w3, k) + b3


@fast
def run(mine0, all0, sims, w1, b1, w2, b2, w3, b3):
    most = 1 + COLUMNS * (sims + 1)
    move = np.empty(most, np.int64)
    parent = np.empty(most, np.int64)
    prior = np.empty(most, np.float32)
    visits = np.zeros(most, np.int64)
    total = np.zeros(most, np.float32)
    first = np.zeros(most, np.int64)
    replies = np.zeros(most, np.int64)
    x = np.empty(3 * CELLS, np.float32)
    count = 1
    parent[0] = -1
    for sim in range(-1, sims):
        at, mine, stones = 0, mine0, all0
        ply = 0
        while replies[at] > 0:
            explore = np.float32(1.5) * np.sqrt(np.float32(visits[at]))
            best, best_score = -1, np.float32(-np.inf)
            for i in range(first[at], first[at] + replies[at]):
                known = np.float32(visits[i])
                score = total[i] / max(known, np.float32(1)) + explore * prior[i] / (np.float32(1) + known)
                if score > best_score:
                    best, best_score = i, score
            at = best
            mine, stones = stones ^ mine, stones | place(move[at], stones)
        ply = 0
        rest = stones
        while rest:
            rest &= rest - 1
            ply += 1
        value = np.float32(0)
        if lost(mine, stones):
            value = np.float32(-1)
        elif ply < CELLS:
            y = network(mine, stones, x, w1, b1, w2, b2, w3, b3)
            first[at] = count
            weight = np.float32(0)
            for m in range(COLUMNS):
                if place(m, stones):
                    prior[count] = math.exp(min(y[m], np.float32(60)))
                    weight += prior[count]
                    move[count] = m
                    parent[count] = at
                    count += 1
            for i in range(first[at], count):
                prior[i] /= weight
            replies[at] = count - first[at]
            value = np.float32(math.tanh(y[COLUMNS]))
        if sim < 0:
            continue
        while at >= 0:
            value = -value
            visits[at] += 1
            total[at] += value
            at = parent[at]
    shares = np.zeros(COLUMNS, np.float32)
    for i in range(1, 1 + replies[0]):
        shares[move[i]] = np.float32(visits[i]) / np.float32(sims)
    return shares


def search(weights: dict[str, np.ndarray]) -> Callable[[int, int, int], np.ndarray]:
    """The share of simulations of each move, by stones of whose turn it is, all stones, and simulations."""
    held = [np.ascontiguousarray(weights[f"{n}.{part}"]) for n in ("first", "second", "head")
            for part in ("weight", "bias")]
    return lambda mine, stones, sims: run(mine, stones, sims, *held)
