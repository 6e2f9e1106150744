"""What the emission of a program's functions shares, and which functions stand in the code of their callers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from hybridc.core.ir import (
    INT,
    Block,
    Call,
    Const,
    Fault,
    Fn,
    If,
    Loop,
    Match,
    Op,
    Parallel,
    Scope,
    Stmt,
    TensorT,
    Type,
    Var,
)
from hybridc.core.walk import blocks_of, calls, count, once, statements, statements_in
from hybridc.llvm.analysis import Facts
from hybridc.llvm.definitions import symbol
from hybridc.llvm.module import Leaves, Module
from hybridc.llvm.scalar_ops import SCALAR_ROWS
from hybridc.passes.counted import counted
from hybridc.passes.lanes import within_reach

IN_PLACE = 40
"""Statements, with those of what stands in it, of a function that is written in the place of its calls; twice as many
where there is one call only."""
SHORT, FEW_PLACES = 20, 8
"""Statements of a function with a loop that is written in the places of so many calls: most of its loops have few
turns, as the walk to the root of a tree of sets that are joined."""
CROWDED = 600
"""Statements that the calls of one function may become in one caller: beyond that they stay calls. Text that is put
together in hundreds of places would take LLVM seconds otherwise."""
QUICK = frozenset(SCALAR_ROWS) | set(
    "place tuple struct get destruct tag some none is_some unwrap select buffer_of buffer_len buffer_get buffer_at"
    " buffer_set buffer_take buffer_prefetch buffer_part buffer_match kept_part str retain release enum dim tensor"
    " tensor_view reshaped".split()
)
"""Operators that take no time to speak of."""
FEW = 16
"""Turns of a loop that takes no time either, if they are quick."""
Owned = Mapping[int, tuple[Var, ...]]
"""id of a statement or tail -> the variables that its fault must release."""


class Pace(IntEnum):
    """How long what a block does may take."""

    QUICK = 0
    BRANCHES = 1
    """Over at once on some ways through it, not on others."""
    SLOW = 2


@dataclass
class Join:
    """Where several ways meet: the values each brings, with the block it comes from."""

    label: str
    types: list[str]
    arrivals: list[tuple[Leaves, str]] = field(default_factory=list)
    shared: set[int] = field(default_factory=set)
    """Leaves that on some way are not known to have one owner."""


@dataclass
class Unit:
    """What the emission of a program's functions shares."""

    module: Module
    facts: Facts
    owned: Owned
    borrowed: Mapping[str, tuple[bool, ...]]
    doubtful: set[tuple[int, int]] = field(default_factory=set)
    """(id of a loop, leaf of its parameters): not known to have one owner in every turn."""
    lent: Callable[[str], set[int]] = field(default=lambda _: set())
    """The variables of a function without a count of their own (lend.py)."""
    once: frozenset[str] = frozenset()
    """Functions that run once or so, which are not worth much of the compiler's time."""
    sizes: dict[str, int] = field(default_factory=dict)
    """The statements of each function, with those of what stands in it."""
    in_place: set[str] = field(default_factory=set)
    """Functions that are written in the place of their calls."""
    pace: dict[str, Pace] = field(default_factory=dict)
    """How long those of them take."""
    needed: set[str] = field(default_factory=set)
    """Functions that are called."""
    looks: dict[str, Any] = field(default_factory=dict)
    """Of functions that are called, what their callers' text depends on (written.py)."""

    def stands_in(self, caller: Fn, name: str) -> bool:
        """Is a function written in the place of its calls in this one?"""
        return name in self.in_place and calls(caller)[name] * self.sizes[name] <= CROWDED

    def may_stand_inside(self, name: str) -> bool:
        """May the text of its callers hold what it does?"""
        return name in self.in_place or within_reach(name, self.module.program)

    def name_of(self, symbol: str) -> str | None:
        """The function of the program that has a symbol."""
        return self._names.get(symbol)

    def __post_init__(self) -> None:
        self._names = {fn_symbol(name): name for name in self.module.program.fns}


def find_in_place(unit: Unit, fns: Collection[Fn]) -> None:
    """Small functions that do not call themselves. Their frames are in traces as if they were called: what Core's
    inliner puts into a caller has none. A loop takes longer than the call that leads to it, so a function with one
    stands in one place only, and there not if the library comes to it now and then; one that is SHORT in some."""
    program = unit.module.program
    always = {name for fn in fns for name in _always(fn)}
    places = Counter[str]()
    for fn in fns:
        places.update(calls(fn))
    loops: set[str] = set()

    def size(fn: Fn) -> int:
        if fn.name in unit.sizes:
            return unit.sizes[fn.name]
        found = {type(s) for s in statements_in(fn)}
        unit.sizes[fn.name] = count(fn.body)
        for name, times in calls(fn).items():
            if not unit.facts.is_recursive(name):
                unit.sizes[fn.name] += times * size(program.fns[name]) * (name in unit.in_place)
        if Loop in found or any(name in loops and name in unit.in_place for name in calls(fn)):
            loops.add(fn.name)
        most = IN_PLACE if places[fn.name] > 1 else 2 * IN_PLACE
        small = unit.sizes[fn.name] <= most and fn.name not in unit.once and not unit.facts.is_recursive(fn.name)
        seldom = Loop in found and fn.hidden and fn.name not in always
        everywhere = fn.name not in loops or unit.sizes[fn.name] <= SHORT and places[fn.name] <= FEW_PLACES
        if small and Parallel not in found and not seldom and (everywhere or places[fn.name] < 2):
            unit.in_place.add(fn.name)
            unit.pace[fn.name] = pace(unit, fn.body)
        return unit.sizes[fn.name]

    for fn in fns:
        size(fn)


@once
def _always(fn: Fn) -> frozenset[str]:
    """What it calls on every way through its body, or through that of a loop."""
    loops = [s.body for s in statements_in(fn) if isinstance(s, Loop)]
    return frozenset(s.fn for b in (fn.body, *loops) for s in b.stmts if isinstance(s, Call))


def pace(unit: Unit, body: Block) -> Pace:
    return max((pace_of(unit, s) for s in body.stmts), default=Pace.QUICK)


def pace_of(unit: Unit, stmt: Stmt) -> Pace:
    match stmt:
        case Op():
            return Pace.QUICK if stmt.op in QUICK or _of_element(stmt) or _of_letter(stmt) else Pace.SLOW
        case Call():
            return unit.pace.get(stmt.fn, Pace.SLOW)
        case If() | Match() | Scope():
            # A way that ends in a fault is the last one.
            found = [pace(unit, b) for b in blocks_of(stmt) if not isinstance(b.tail, Fault)]
            slowest = max(found, default=Pace.QUICK)
            return Pace.BRANCHES if slowest == Pace.SLOW and min(found) < Pace.SLOW else slowest
        case Loop():
            return Pace.QUICK if _few(unit, stmt) else Pace.SLOW
    return Pace.SLOW


def _few(unit: Unit, loop: Loop) -> bool:
    """Does it end after a few quick turns?"""
    turns = counted(loop)
    if turns is None or any(isinstance(s, Loop) for s in statements(loop.body)):
        return False
    first, stop = loop.inits[turns.place], turns.stop
    if not (isinstance(first, Const) and isinstance(stop, Const)) or stop.value - first.value > FEW:
        return False
    return pace(unit, turns.rest) == Pace.QUICK


def _of_element(op: Op) -> bool:
    """Does it read or write one element of a tensor?"""
    if op.op == "index":
        return not isinstance(op.outs[0].type, TensorT)
    return op.op == "update" and op.attr("axes") == () and not isinstance(op.args[1].type, TensorT)


def _of_letter(op: Op) -> bool:
    """Does it compare a byte, or take the text of one, which is there already?"""
    return op.op in ("buffer_same", "buffer_compare", "buffer_cut") and op.args[2] == Const(1, INT)


def fn_symbol(name: str) -> str:
    return symbol("f." + name)


def leaf_types(unit: Unit, types: Sequence[Type]) -> list[str]:
    return [t for each in types for t in unit.module.layouts.types(each)]
