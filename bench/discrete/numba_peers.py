"""Peers in numba, where it is installed: what a Python programmer would compile instead."""

from __future__ import annotations

import heapq
import math

import numba
import numpy as np
from numba import njit, types
from numba.typed import Dict


@njit
def spectral_norm(n):
    def element(i, j):
        return 1.0 / float((i + j) * (i + j + 1) // 2 + i + 1)

    u, v, t = np.ones(n), np.zeros(n), np.zeros(n)
    for _ in range(10):
        for step in range(4):
            a = u if step == 0 else t if step % 2 == 1 else v
            out = t if step % 2 == 0 else v if step == 1 else u
            for i in range(n):
                total = 0.0
                for j in range(n):
                    total += (element(j, i) if step % 2 == 1 else element(i, j)) * a[j]
                out[i] = total
    return math.sqrt(np.sum(u * v) / np.sum(v * v))


@njit
def mandelbrot(n):
    inside = 0
    for py in range(n):
        for px in range(n):
            cx, cy = 2.0 * px / n - 1.5, 2.0 * py / n - 1.0
            x = y = 0.0
            k = 0
            while k < 50 and x * x + y * y <= 4.0:
                x, y = x * x - y * y + cx, 2.0 * x * y + cy
                k += 1
            if k == 50:
                inside += 1
    return inside


@njit
def collatz(n):
    length = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        length += 1
    return length


@njit
def longest(n):
    best = 0
    for i in range(1, n):
        best = max(best, collatz(i))
    return best


@njit
def anomaly(mean, eccentricity):
    e = mean
    for _ in range(60):
        off = (e - eccentricity * (e - e * e * e / 6.0) - mean) / (1.0 - eccentricity * (1.0 - e * e / 2.0))
        e -= off
        if abs(off) < 0.0000000001:
            break
    return e


@njit
def anomalies(n):
    total = 0.0
    for i in range(n):
        total += anomaly(i / n, 0.1 + i % 7 / 10.0)
    return total


@njit
def edit_distance(n):
    a = np.array([i * 7919 % 26 for i in range(n)])
    b = np.array([i * 104729 % 26 for i in range(n)])
    before, row = np.arange(n + 1), np.zeros(n + 1, np.int64)
    for i in range(n):
        row[0] = i + 1
        for j in range(n):
            change = before[j] + (0 if a[i] == b[j] else 1)
            row[j + 1] = min(min(before[j + 1] + 1, row[j] + 1), change)
        before, row = row, before
    return before[n]


@njit
def matrix_chain(n):
    sizes = np.array([10 + i * 7919 % 90 for i in range(n + 1)])
    cost = np.zeros((n, n), np.int64)
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            best = np.int64(9223372036854775807)
            for k in range(i, j):
                best = min(best, cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1])
            cost[i, j] = best
    return cost[0, n - 1]


@njit
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


@njit
def scrambled(i):
    # As unsigned numbers: numba's products of signed ones may not wrap.
    return np.int64(np.uint64(i) * np.uint64(0x9E3779B97F4A7C15)) >> np.int64(20)


@njit
def map_ints(n):
    m = Dict.empty(types.int64, types.int64)
    for i in range(n):
        k = scrambled(i)
        m[k] = m.get(k, 0) + i
    total = 0
    for i in range(n):
        k = scrambled(i * 2)
        if k in m:
            total += m[k]
    return total + len(m)


@njit
def dijkstra(starts, ends, weights, source):
    """Over compressed rows; the sum of all finite distances."""
    lengths = np.full(len(starts) - 1, np.inf)
    lengths[source] = 0.0
    heap = [(0.0, source)]
    while heap:
        length, u = heapq.heappop(heap)
        if length > lengths[u]:
            continue
        for k in range(starts[u], starts[u + 1]):
            further = length + weights[k]
            if further < lengths[ends[k]]:
                lengths[ends[k]] = further
                heapq.heappush(heap, (further, ends[k]))
    return lengths[np.isfinite(lengths)].sum()


# Compiled now: options that hybridc gives to LLVM are the whole process's, and numba alone would be without them.
for _peer in (spectral_norm, mandelbrot, longest, anomalies, edit_distance, matrix_chain, fib):
    _peer(2)
dijkstra(np.array([0, 1, 1]), np.array([1]), np.array([0.5]), np.int64(0))

__all__ = [
    "anomalies", "dijkstra", "edit_distance", "fib", "longest", "map_ints", "mandelbrot", "matrix_chain", "numba",
    "spectral_norm",
]
