"""Hyb: a language and compiler for hybrid models. `load` is the way in; see docs/language.md."""

from __future__ import annotations

from hybridc.base.diagnostic import CompileError, Diagnostic
from hybridc.loading import load
from hybridc_runtime import ArgumentError, HybError, RuntimeFault, open_store, rng

__all__ = ["ArgumentError", "CompileError", "Diagnostic", "HybError", "RuntimeFault", "load", "open_store", "rng"]
