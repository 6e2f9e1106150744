"""The runtime of compiled Hyb programs: loads them, converts values to and from Python, calls. Knows no compiler.

Nothing heavy is imported before it is needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from hybridc_runtime.faults import ArgumentError, HybError, RuntimeFault

_HOMES = {
    "Module": "module", "load_artifact": "artifact", "open_store": "store", "rng": "values", "Native": "values",
    "Manifest": "manifest", "link": "module",
}
__all__ = ["ArgumentError", "HybError", "RuntimeFault", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'hybridc_runtime' has no attribute {name!r}")
    return getattr(import_module(f"hybridc_runtime.{home}"), name)
