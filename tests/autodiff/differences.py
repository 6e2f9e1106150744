"""Derivatives by central differences, of functions of floats, arrays and lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def slope(f: Callable[..., float], args: Sequence[Any], at: int, h: float = 1e-6) -> Any:
    """The derivative by argument `at`: a float, an array or a list, as that is."""
    x = args[at]
    flat = np.atleast_1d(np.array(x, np.float64))
    found = np.zeros_like(flat)

    def value(changed: np.ndarray) -> float:
        given: Any = changed.copy()
        if isinstance(x, list):
            given = changed.tolist()
        elif np.ndim(x) == 0:
            given = float(changed[0])
        return float(f(*args[:at], given, *args[at + 1 :]))

    for i in np.ndindex(flat.shape):
        high, low = flat.copy(), flat.copy()
        high[i] += h
        low[i] -= h
        found[i] = (value(high) - value(low)) / (2 * h)
    return found.tolist() if isinstance(x, list) else found if np.ndim(x) else float(found[0])
