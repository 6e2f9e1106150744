"""How a map keeps its keys, and what it looks for them by: texts in brief (std/_keys.hyb), others as they are."""

from __future__ import annotations

from hybridc.base.types import STR, Type
from hybridc.core import ir
from hybridc.core.builder import integer
from hybridc.front.lower import derive
from hybridc.front.lower.core import Lowerer


def probe(lw: Lowerer, t: Type, a: ir.Atom) -> ir.Atom:
    """What a map looks for a key by (std/_keys.hyb)."""
    if _is_text(lw, t):
        return lw.call_fn("std._keys:_text_probe", [a])[0]
    return _probe_of(lw, derive.hashed(lw, t, a), integer(0), integer(0))


def kept_probe(lw: Lowerer, t: Type, entry: ir.Atom, hash: ir.Atom) -> ir.Atom:
    """The same of a key that a map has."""
    if not _is_text(lw, t):
        return _probe_of(lw, hash, integer(0), integer(0))
    return _probe_of(lw, hash, *(lw.whole(lw.item(entry, i)) for i in (0, 1)))


def _probe_of(lw: Lowerer, *parts: ir.Atom) -> ir.Atom:
    return lw.op("tuple", parts, ir.TupleT((ir.INT,) * 3))


def keep(lw: Lowerer, t: Type, a: ir.Atom, probed: ir.Atom) -> ir.Atom:
    """A key as a map keeps it; `lower/types.py` knows its type."""
    return lw.call_fn("std._keys:_brief", [a, probed])[0] if _is_text(lw, t) else a


def kept(lw: Lowerer, t: Type, entry: ir.Atom) -> ir.Atom:
    """The key that a map keeps so."""
    return lw.call_fn("std._keys:_brief_text", [entry])[0] if _is_text(lw, t) else entry


def is_kept(lw: Lowerer, t: Type, entry: ir.Atom, a: ir.Atom, probed: ir.Atom) -> ir.Atom:
    if not _is_text(lw, t):
        return derive.equal(lw, t, entry, a)
    return lw.call_fn("std._keys:_is_brief", [entry, a, probed])[0]


def _is_text(lw: Lowerer, t: Type) -> bool:
    return lw.concrete(t) == STR
