"""Ranks: ints that stand for scalars, or for what larger values begin with, where these are put in order."""

from __future__ import annotations

from hybridc.base.types import F32, F64, FLOATS, INT, STR, Prim, TupleType, Type
from hybridc.core import ir
from hybridc.core.builder import integer
from hybridc.front.lower.core import Lowerer
from hybridc.front.lower.types import erase


def has_rank(t: Type) -> bool:
    """Are its values scalars, which `rank` puts in order?"""
    return isinstance(t, Prim)


def rank(lw: Lowerer, t: Type, a: ir.Atom, exact: bool = True) -> ir.Atom:
    """An int that is as great among the ranks as a scalar is among its type's: equal ones for 0.0 and -0.0, and nan
    after everything; not `exact`: as the bits are, -0.0 before 0.0, and a nan after or before everything. Of another
    type, 0."""
    t = erase(lw.concrete(t))
    if not isinstance(t, Prim):
        return integer(0)
    if t not in FLOATS:
        return a if t == INT else lw.op("cast", [a], ir.INT, checked=False)
    for wider in (F32, F64):
        if t != F64 and t != wider:
            a, t = lw.op("cast", [a], wider, checked=False), wider
    bits = lw.op("bitcast", [a], ir.INT)
    # The bits of a negative number grow with its size.
    turned = lw.op("lshr", [lw.op("shr", [bits, integer(63)], ir.INT), integer(1)], ir.INT)
    ordered = lw.op("bit_xor", [bits, turned], ir.INT)
    if not exact:
        return ordered
    zero = lw.op("eq", [a, ir.Const(0.0, F64)], ir.BOOL)
    ordered = lw.op("select", [zero, integer(0), ordered], ir.INT)
    unordered = lw.op("ne", [a, a], ir.BOOL)
    return lw.op("select", [unordered, integer((1 << 63) - 1), ordered], ir.INT)


def is_word(t: Type) -> bool:
    """Are its values scalars of 64 bits?"""
    return t in (INT, F64)


def sorted_words(lw: Lowerer, t: Type, data: ir.Atom, n: ir.Atom) -> ir.Atom:
    """A buffer whose first elements are in the order of their bit ranks; of other elements than words, as it is."""
    return lw.op("sort_words", [data, n], data.type) if is_word(erase(lw.concrete(t))) else data


def has_lead(t: Type) -> bool:
    """Does a text or tuple begin with something that has a rank?"""
    if isinstance(t, TupleType):
        return bool(t.items) and (has_rank(t.items[0]) or has_lead(t.items[0]))
    return t == STR


def lead(lw: Lowerer, t: Type, a: ir.Atom) -> ir.Atom:
    """The rank of what a value begins with: one whose lead is less is less. Of another type, 0."""
    t = erase(lw.concrete(t))
    if isinstance(t, TupleType) and t.items:
        first = t.items[0]
        part = lw.whole(lw.item(a, 0))
        return rank(lw, first, part) if has_rank(first) else lead(lw, first, part)
    return lw.call_method(STR, "_lead", [a])[0] if t == STR else integer(0)
