"""Tapes of functions that call themselves, or each other: one stack for all calls, a buffer of records that the forward
parts push on and hand on, with the number of those in use. The reverse parts come to the calls in the opposite order,
so each finds its record where the one after it has left the top, and hands that on alone. A function whose tape would
be long has such a stack too, though it does not call itself.

A call pushes a record for each stretch of its way that has something to keep: its beginning, each arm that leaves the
function, and what follows a branch with such arms. So a leaf of a tree pushes nothing for what its inner nodes keep.

What all calls within hand on as it was given to them, or a part of it that a `match` found, is no tape: the reverse
part is given it again, and matches it again. A tree is its own tape.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hybridc.autodiff.activity import Mask
from hybridc.autodiff.derived import Derived
from hybridc.autodiff.forward import Forward
from hybridc.autodiff.region import Region
from hybridc.autodiff.reverse import Reverse
from hybridc.autodiff.rules import Refused
from hybridc.autodiff.structure import leaving
from hybridc.base.names import unused
from hybridc.core.builder import Builder, integer
from hybridc.core.ir import (
    BOOL,
    INT,
    RETURN,
    Atom,
    Block,
    BufferT,
    Call,
    Const,
    Exit,
    Fn,
    Loop,
    Match,
    Op,
    Parallel,
    Scope,
    Stmt,
    StructDef,
    StructT,
    Type,
    Var,
)
from hybridc.core.types import show_type
from hybridc.core.walk import all_blocks, args_of, blocks_of, highest_id, statements, tail_values

if TYPE_CHECKING:
    from hybridc.autodiff.driver import Driver

PARTS = ("get", "destruct", "unwrap")


@dataclass
class AtHand:
    """Of a function: what its reverse part has if it has some of its parameters."""

    vars: set[Var]
    """Those, and the fields that `match` finds in them."""
    parts: set[Var] = field(default_factory=set)
    """What is taken out of them otherwise."""
    matched: set[int] = field(default_factory=set)
    """The identities of the matches that are done again."""

    def within(self, block: Block, plain: bool = True) -> AtHand:
        """With what is found in a block; `plain`: an arm in it that leaves its context leaves the function."""
        for s in block.stmts:
            first = next(iter(args_of(s)), None)
            if first in self.vars or first in self.parts:
                if isinstance(s, Op) and s.op in PARTS:
                    self.parts.update(s.outs)
                elif isinstance(s, Match) and (plain or not leaving(s)):
                    self.matched.add(id(s))
                    self.vars.update(f for arm in s.arms for f in arm.fields)
            for inner in blocks_of(s):
                self.within(inner, plain and not isinstance(s, Loop | Scope | Parallel))
        return self


class Group:
    """Functions under way that call each other, or one alone, with the stack that they share. The type of its records
    is known when all of them are."""

    def __init__(self, driver: Driver, root: str):
        self.driver = driver
        program = driver.program
        self.names = frozenset((root, *(n for n in driver.reachable(root) if root in driver.reachable(n))))
        self.given = self._given()
        self.record = StructT(unused(f"tape {root}", program.structs))
        program.structs[self.record.name] = StructDef(self.record.name, ())
        self.kind = BufferT(self.record)
        self.slots: list[Type] = []
        self.members: dict[tuple[str, Mask], Reverse] = {}
        self.shared: dict[str, tuple[str, Mask]] = {}
        """The members by the reverse parts that they call each other by."""
        self.from_outside = False
        """Is one called with a stack of its own, while it is not known what its reverse part uses?"""

    def _given(self) -> dict[str, tuple[int, ...]]:
        """The parameters that the reverse parts are given again: all calls within the group have them at hand."""
        bodies = {name: self.driver.activity.body(name) for name in self.names}
        found = {name: list(range(len(fn.params))) for name, fn in bodies.items()}
        before = None
        while before != found:
            before = {name: list(positions) for name, positions in found.items()}
            for name, fn in bodies.items():
                hand = AtHand({fn.params[i] for i in found[name]}).within(fn.body)
                for s in statements(fn.body):
                    if isinstance(s, Call) and s.fn in self.names:
                        found[s.fn] = [i for i in found[s.fn] if isinstance(s.args[i], Const)
                                       or s.args[i] in hand.vars or s.args[i] in hand.parts]
        return {name: tuple(positions) for name, positions in found.items()}

    def add(self, name: str, mask: Mask, letters: str) -> None:
        driver, key = self.driver, (name, mask)
        forward, reverse, shared_forward, shared = (driver.claim(f"{name} {part}{letters}") for part in (
            "forward", "reverse", "forward within", "reverse within"))
        derived = Derived(
            forward, reverse, (self.kind, INT), driver.activity.results(name, mask),
            (*self.given[name], None, None), shared_forward, shared, shared)
        driver.recursive_parts[key] = derived
        self.shared[shared] = key
        body = driver.activity.body(name)
        part = Reverse(driver, body, mask, frozenset(), driver.lasting.lists(body, frozenset()), Stack(self, body))
        if part.kept.matrices:
            derived = driver.recursive_parts[key] = replace(derived, within=driver.claim(f"{shared} with lists"))
            self.shared[derived.within] = key
        part.build()
        self.members[key] = part

    def finish(self) -> None:
        """The functions, once all members are there."""
        driver, program, parts = self.driver, self.driver.program, self.driver.recursive_parts
        self._settle()
        for key, part in self.members.items():
            derived, stack = parts[key], part.stack
            assert stack is not None
            given = [part.fn.params[i] for i in self.given[key[0]]]
            back = program.fns[derived.within] = part.built(derived.within, (*given, stack.records, stack.top))
            if derived.within != derived.shared:
                program.fns[derived.shared] = part.kept.from_outside(
                    driver.tangents, replace(back, name=derived.shared), derived.within)
            program.fns[derived.shared_forward] = Forward(driver, part).build(derived.shared_forward)
            program.fns[derived.forward] = self._forward(part.fn, derived)
        used = {key: set(self.given[key[0]]) for key in self.members} if self.from_outside else self._used()
        for key, part in self.members.items():
            first = tuple(i for i in parts[key].first if i is None or i in used[key])
            program.fns[parts[key].reverse] = self._reverse(part.fn, parts[key], first)
            parts[key] = replace(parts[key], first=first)

    def _settle(self) -> None:
        """The fields of a record: as many of each type as one of them needs."""
        most: dict[str, tuple[Type, int]] = {}
        for part in self.members.values():
            for region in part.regions.all():
                for v in region.saved if region.pushed else ():
                    n = sum(show_type(w.type) == show_type(v.type) for w in region.saved)
                    most[show_type(v.type)] = v.type, max(n, most.get(show_type(v.type), (v.type, 0))[1])
        self.slots = [kind for kind, n in sorted(most.values(), key=lambda each: each[0] == BOOL) for _ in range(n)]
        fields = tuple((f"v{i}", kind) for i, kind in enumerate(self.slots or [BOOL]))
        self.driver.program.structs[self.record.name] = StructDef(self.record.name, fields)

    def places(self, region: Region) -> list[Var | None]:
        """What a region keeps in each of the slots."""
        rest = list(region.saved)
        found: list[Var | None] = []
        for kind in self.slots:
            v = next((v for v in rest if show_type(v.type) == show_type(kind)), None)
            found.append(v)
            if v is not None:
                rest.remove(v)
        return found

    def _used(self) -> dict[tuple[str, Mask], set[int]]:
        """Which of the parameters that they are given the reverse parts look at, here or further down."""
        found: dict[tuple[str, Mask], set[int]] = {key: set() for key in self.members}
        handed_on: list[tuple[tuple[str, Mask], int, tuple[str, Mask], int]] = []
        for key, part in self.members.items():
            given = self.given[key[0]]
            at = {part.fn.params[i]: i for i in given}
            body = self.driver.program.fns[self.driver.recursive_parts[key].within].body
            used: set[Atom] = {a for block in all_blocks(body) for a in tail_values(block.tail)}
            for s in statements(body):
                to = self.shared.get(s.fn) if isinstance(s, Call) else None
                theirs = self.given[to[0]] if to is not None else ()
                args = args_of(s)
                used.update(args[len(theirs):])
                handed_on += [(key, at[a], to, i) for a, i in zip(args, theirs, strict=False)
                              if to is not None and isinstance(a, Var) and a in at]
            found[key] = {i for a, i in at.items() if a in used}
        changed = True
        while changed:
            changed = False
            for mine, i, to, j in handed_on:
                if j in found[to] and i not in found[mine]:
                    found[mine].add(i)
                    changed = True
        return found

    # ---- from outside
    def _forward(self, fn: Fn, derived: Derived) -> Fn:
        """The forward part with a stack of its own, which is the tape."""
        b = Builder(highest_id(fn) + 1)
        b.open()
        b.span = fn.span
        empty = b.op("zero", [], self.kind)
        results = (*fn.results, *derived.tape)
        body = b.close(Exit(RETURN, tuple(b.call(derived.shared_forward, [*fn.params, empty, integer(0)], results))))
        return replace(fn, name=derived.forward, results=results, body=body, adjoint="", hidden=True)

    def _reverse(self, fn: Fn, derived: Derived, first: Sequence[int | None]) -> Fn:
        """The reverse part for whoever has that tape, and of the arguments those that are used."""
        shared = self.driver.program.fns[derived.shared]
        b = Builder(highest_id(shared) + 1)
        b.open()
        b.span = fn.span
        n = len(derived.first)
        kept = [p for i, p in zip(derived.first, shared.params, strict=False) if i is None or i in first]
        args = [p if p in kept else b.op("zero", [], p.type) for p in shared.params[:n]]
        found = b.call(derived.shared, [*args, *shared.params[n:]], shared.results)
        body = b.close(Exit(RETURN, found[:-1]))
        return replace(shared, name=derived.reverse, params=(*kept, *shared.params[n:]), results=shared.results[:-1],
                       body=body)


class Stack:
    """A group's stack as one of its functions has it."""

    def __init__(self, group: Group, fn: Fn):
        self.group = group
        hand = AtHand({fn.params[i] for i in group.given[fn.name]}).within(fn.body)
        self.at_hand, self.matched = hand.vars, hand.matched
        self.own = set(map(id, self._own(fn.body)))
        """The identities of its calls within the group."""
        self.calls: dict[int, Derived] = {}
        """Those that the reverse part comes to."""

    def _own(self, block: Block) -> Iterable[Stmt]:
        """Not those in a `parallel`, whose order is not known, nor those that are done again."""
        fns = self.group.driver.program.fns
        for s in block.stmts:
            if isinstance(s, Call) and s.fn in self.group.names and not fns[s.fn].checkpoint:
                yield s
            if not isinstance(s, Parallel):
                for inner in blocks_of(s):
                    yield from self._own(inner)

    def open(self, b: Builder) -> None:
        self.builder = b
        self.records, self.top = b.var(self.group.kind, "records"), b.var(INT, "top")
        self.key = self.top.id, 0
        """Where the number of records is among the adjoints under way."""
        self.place = self.top, 0, INT

    def takes(self, s: Call, derived: Derived) -> bool:
        """Does a call push on this stack?"""
        if derived.shared not in self.group.shared:
            return False
        self.group.from_outside |= id(s) not in self.own
        return id(s) in self.own

    def within(self, stmts: Iterable[Stmt]) -> bool:
        """Do some of these push on it?"""
        return any(id(s) in self.own for s in stmts)

    def popped(self, region: Region, mark: Op) -> list[Stmt]:
        """The record of a region taken from the top, which is the mark's argument and result."""
        (below,), (top,) = mark.outs, mark.args
        if not region.saved:
            return [Op((below,), "add", (top, integer(0)))]
        b = self.builder
        record = b.var(self.group.record)
        outs = tuple(v or b.var(kind) for v, kind in zip(self.group.places(region), self.group.slots, strict=True))
        return [Op((below,), "sub", (top, integer(1))), Op((record,), "buffer_get", (self.records, below)),
                Op(outs, "destruct", (record,))]


def derive(driver: Driver, name: str, mask: Mask, letters: str) -> Derived:
    """The parts of a function with a stack: one more of the group under way, or of a group that begins with it."""
    group = driver.group
    if group is not None and name in group.names:
        group.add(name, mask, letters)
        return driver.recursive_parts[name, mask]
    around, driver.group = group, Group(driver, name)
    try:
        driver.group.add(name, mask, letters)
        driver.group.finish()
    except Refused:
        for key in driver.group.shared.values():
            driver.recursive_parts.pop(key, None)
        raise
    finally:
        driver.group = around
    return driver.recursive_parts[name, mask]
