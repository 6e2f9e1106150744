"""Which arguments' memory may be part of what a call gives. The arrays in the others need no copy for compiled code,
also where results stay native, such as a model that is trained: Python's own memory is looked at until the call ends.

A variable is followed by the parameters that it may share memory with, as bits of a number; a function by what each of
its results shares. Only `host` may hold on to what it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hybridc.core.interface import Interface
from hybridc.core.ir import (
    RETURN,
    Atom,
    Block,
    Call,
    Exit,
    Fn,
    Fused,
    If,
    Loop,
    Match,
    Op,
    Parallel,
    Program,
    Scope,
    Stmt,
    Var,
    Yield,
)
from hybridc.core.ops import OPS
from hybridc.core.types import is_counted
from hybridc.core.walk import calls
from hybridc.link import surface

COPIES = frozenset({"buffer_get", "buffer_copy", "accumulate"}) | {name for name, row in OPS.items() if row.looks}
"""Operators that only look at an argument and may still give a part of it, or a value that holds one."""


@dataclass
class Shares:
    """Bits for parameters: for each result those whose memory it may share; those of which the host may keep some."""

    results: list[int]
    kept: int = 0


def shares(program: Program, symbols: Iterable[str]) -> dict[str, Shares]:
    """The least solution, of these functions and those that they call."""
    found: dict[str, Shares] = {}
    callers: dict[str, set[str]] = {}
    todo = list(symbols)
    for name in todo:
        if name not in found:
            fn = program.fns[name]
            found[name] = Shares([0] * len(fn.results))
            for callee in calls(fn):
                callers.setdefault(callee, set()).add(name)
                todo.append(callee)
    waiting = dict.fromkeys(reversed(found))
    while waiting:
        name = next(iter(waiting))
        del waiting[name]
        now = _followed(program, program.fns[name], found)
        if now != found[name]:
            found[name] = now
            waiting.update(dict.fromkeys(sorted(callers.get(name, ()))))
    return found


def _followed(program: Program, fn: Fn, found: Mapping[str, Shares]) -> Shares:
    key = "stays", tuple((tuple(found[c].results), found[c].kept) for c in calls(fn))
    made = fn.known.get(key)
    if made is None:
        made = fn.known[key] = _Follow(program, fn, found).run()
    return made  # type: ignore[no-any-return]


@dataclass
class _Follow:
    program: Program
    fn: Fn
    known: Mapping[str, Shares]
    bits: dict[int, int] = field(default_factory=dict)
    exits: dict[int, Sequence[Var]] = field(default_factory=dict)
    more: bool = True

    def run(self) -> Shares:
        self.found = Shares([0] * len(self.fn.results))
        for i, p in enumerate(self.fn.params):
            self.give(p, 1 << i)
        while self.more:
            self.more = False
            self.finish(self.block(self.fn.body))
        return self.found

    def of(self, atom: Atom) -> int:
        return self.bits.get(atom.id, 0) if isinstance(atom, Var) else 0

    def give(self, out: Var, bits: int) -> None:
        before = self.bits.get(out.id, 0)
        if bits & ~before and is_counted(out.type, self.program):
            self.bits[out.id] = before | bits
            self.more = True

    def give_all(self, outs: Iterable[Var], atoms: Iterable[Atom]) -> None:
        for out, atom in zip(outs, atoms, strict=True):
            self.give(out, self.of(atom))

    def finish(self, values: Sequence[Atom]) -> None:
        for k, value in enumerate(values):
            self.found.results[k] |= self.of(value)

    def block(self, block: Block) -> tuple[Atom, ...]:
        """What it yields."""
        for stmt in block.stmts:
            self.statement(stmt)
        match block.tail:
            case Yield(values):
                return values
            case Exit(label, values):
                if label == RETURN:
                    self.finish(values)
                else:
                    self.give_all(self.exits[label], values)
        return ()

    def into(self, outs: Sequence[Var], block: Block) -> None:
        if values := self.block(block):
            self.give_all(outs, values)

    def statement(self, stmt: Stmt) -> None:
        match stmt:
            case Op():
                self.operator(stmt)
            case Fused(outs, body):
                self.into(outs, body)
            case Call(outs, fn, args):
                callee = self.known[fn]
                for out, mask in zip(outs, callee.results, strict=True):
                    self.give(out, self.through(mask, args))
                self.found.kept |= self.through(callee.kept, args)
            case If(outs, _, then, orelse):
                self.into(outs, then)
                self.into(outs, orelse)
            case Match(outs, subject, arms):
                for arm in arms:
                    for f in arm.fields:
                        self.give(f, self.of(subject))
                    self.into(outs, arm.body)
            case Loop(outs, label, params, inits, body):
                self.exits[label] = outs
                self.give_all(params, inits)
                self.into(params, body)
            case Scope(outs, label, body):
                self.exits[label] = outs
                self.into(outs, body)
            case Parallel(out, _, _, body):
                self.into((out,), body)

    def through(self, mask: int, args: Sequence[Atom]) -> int:
        found = 0
        for i, a in enumerate(args):
            if mask >> i & 1:
                found |= self.of(a)
        return found

    def operator(self, op: Op) -> None:
        row = OPS[op.op]
        if op.op == "release":
            return
        if row.effect and op.op != "retain":
            given = self.through(-1, op.args)
            self.found.kept |= given
        else:
            given = 0
            for i, a in enumerate(op.args):
                if row.alias and i == 0 or row.mode(i) == "c" or op.op in COPIES:
                    given |= self.of(a)
        for out in op.outs:
            self.give(out, given)


def mark(program: Program, interface: Interface) -> None:
    """Write into the entries that Python sees which of their parameters stay; of the program as it is compiled."""
    entries = list(surface.entries(interface))
    found = shares(program, [e.symbol for e in entries])
    for e in entries:
        share = found[e.symbol]
        mask = share.kept
        for result in share.results:
            mask |= result
        for i, p in enumerate(e.params):
            p.stays = bool(mask >> i & 1)
