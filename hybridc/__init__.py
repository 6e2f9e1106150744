"""Hyb: a language and compiler for hybrid models. `load` is the way in; see docs/language.md.

What is heavy (numpy, LLVM, the compiler itself) is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hybridc_runtime import ArgumentError, HybError, RuntimeFault

from hybridc.base.diagnostic import CompileError, CompileWarning, Diagnostic

if TYPE_CHECKING:
    from hybridc_runtime import open_store, rng

    from hybridc.loading import load

_HOMES = {"load": "hybridc.loading", "open_store": "hybridc_runtime", "rng": "hybridc_runtime"}
__all__ = [
    "ArgumentError", "CompileError", "CompileWarning", "Diagnostic", "HybError", "RuntimeFault", "load", "open_store",
    "rng",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'hybridc' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value
