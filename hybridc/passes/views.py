"""Before ownership: a copy of a part of a buffer that is only read is not made.

`b = buffer_copy(buffer_new(n), 0, source, start, n)` becomes `b = buffer_part(source, start, n)`, which looks into the
source, where every use of `b` only reads elements. A word of a text that is looked up in a map is such a copy. Where
uses that keep `b` (put it into a container, say, or hand it on) all stand in one branch below, the copy is made there.
In the same way `kept_text`, a key as a map gives it, becomes `kept_part`.

The source must stay as it is meanwhile, else its own update would have to copy it: from the copy on, up to the last
statement of the block that uses `b`, nothing takes the source over, nor anything that it may be a part of.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from hybridc.base.immutable import replace
from hybridc.core.ir import (
    INT,
    RETURN,
    Atom,
    Block,
    BufferT,
    Call,
    Const,
    Exit,
    Fault,
    Fn,
    Fused,
    Loop,
    Match,
    Op,
    Parallel,
    Program,
    Stmt,
    Tail,
    Var,
)
from hybridc.core.ops import OPS
from hybridc.core.walk import (
    all_blocks,
    args_of,
    blocks_of,
    calls,
    highest_id,
    map_blocks,
    once,
    outs_of,
    statements_in,
    substitute,
    uses,
)
from hybridc.passes.borrow import TOGETHER, Borrowed, infer_borrowed
from hybridc.passes.each import each
from hybridc.passes.liveness import Counted

READS: dict[str, tuple[int, ...]] = {
    "buffer_get": (0,), "buffer_copy": (2,), "buffer_compare": (0, 1), "buffer_find": (0, 3),
    "buffer_outside": (0,), "buffer_same": (0, 1), "text_key": (0,),
    "parse_float": (0,),
}  # fmt: skip
"""Which arguments of an operator it only reads elements of, and not where they end."""
LENGTH = "buffer_len"

Places = set[tuple[str, int]]
"""Parameters, by function and position."""


def run(program: Program, counted: Counted) -> Program:
    if not any(map(_copies, program.fns.values())):
        return program
    reading, borrowed = _reading(program), infer_borrowed(program, counted)

    def looked_at(fn: Fn) -> Hashable:
        return tuple((borrowed[n], *((n, i) in reading for i in range(len(borrowed[n])))) for n in calls(fn))

    return each(program, "views", lambda fn: _Views(fn, reading, borrowed, counted).run() if _copies(fn) else fn,
                looked_at)


@once
def _copies(fn: Fn) -> bool:
    return any(_is(s, "buffer_copy") or _is(s, "kept_text") for s in statements_in(fn))


def _reading(program: Program) -> Places:
    """The greatest set of parameters of which only elements are read, or that are handed on as one of the set."""
    handed_on = {(name, i): to for name, fn in program.fns.items() for i, to in _read_in(fn).items()}
    found = set(handed_on)
    changed = True
    while changed:
        lost = {place for place in found if not handed_on[place] <= found}
        found -= lost
        changed = bool(lost)
    return found


@once
def _read_in(fn: Fn) -> dict[int, Places]:
    """The parameters of which a function itself only reads elements, and to which others it hands each on."""
    places = {p.id: i for i, p in enumerate(fn.params) if isinstance(p.type, BufferT)}
    found: dict[int, Places] = {i: set() for i in places.values()}
    for b in all_blocks(fn.body) if places else ():
        for stmt in b.stmts:
            for i, a in enumerate(args_of(stmt)):
                if not isinstance(a, Var) or a.id not in places:
                    continue
                if isinstance(stmt, Call):
                    found.get(places[a.id], set()).add((stmt.fn, i))
                elif not _reads(stmt, i):
                    found.pop(places[a.id], None)
        for a in b.tail.values:
            if isinstance(a, Var) and a.id in places:
                found.pop(places[a.id], None)
    return found


def _reads(stmt: Stmt, i: int) -> bool:
    return isinstance(stmt, Op) and i in READS.get(stmt.op, ())


def _is(stmt: Stmt, op: str) -> bool:
    return isinstance(stmt, Op) and stmt.op == op


class _Families:
    """Variables that may be parts of one value that this function names: what takes one over takes the others."""

    def __init__(self, fn: Fn):
        self.leader: dict[int, int] = {}
        for stmt in statements_in(fn):
            match stmt:
                case Op() if OPS[stmt.op].alias:
                    self.join(stmt.outs[0], stmt.args[0])
                case Op() if stmt.op in TOGETHER or stmt.op == "destruct":
                    for v in (*stmt.outs, *stmt.args):
                        self.join(v, (*stmt.outs, *stmt.args)[0])
                case Match():
                    for arm in stmt.arms:
                        for f in arm.fields:
                            self.join(f, stmt.subject)

    def join(self, a: Atom, b: Atom) -> None:
        if isinstance(a, Var) and isinstance(b, Var):
            self.leader[self.of(a)] = self.of(b)

    def of(self, v: Var) -> int:
        """The same number for all of a family."""
        found = v.id
        while self.leader.get(found, found) != found:
            found = self.leader[found]
        return found


@dataclass
class _Copy:
    """A copy that need not be made as it is: the numbers of two statements of a block, its result, the operators of the
    block that hold it (which only the branch needs), and the branch in which it is kept, if it is."""

    new: int
    copy: int
    result: Var
    wrapped: list[Op]
    keeper: Block | None


class _No(Exception):
    """The copy has to be made."""


class _Views:
    def __init__(self, fn: Fn, reading: Places, borrowed: Borrowed, counted: Counted):
        self.fn, self.reading, self.borrowed, self.counted = fn, reading, borrowed, counted
        self.next_id = highest_id(fn) + 1
        self.families = _Families(fn)
        self.times = uses(fn.body)
        self.parts: set[Var] = set()

    def run(self) -> Fn:
        return replace(self.fn, body=self.block(self.fn.body))

    def block(self, b: Block) -> Block:
        at = 0
        while at < len(b.stmts):
            copy = self.copy(b, at)
            if copy is not None:
                b, at = self.without(b, copy), copy.new
            at += 1
        return Block(tuple(map_blocks(s, self.block) for s in b.stmts), b.tail)

    # ---- finding
    def copy(self, b: Block, at: int) -> _Copy | None:
        """What the statement at this place ends, if that need not be made."""
        stmt = b.stmts[at]
        if _is(stmt, "kept_text"):
            return self.examined(b, at, at)
        if not _is(stmt, "buffer_copy"):
            return None
        fresh, to, source, _, count = args_of(stmt)
        if source in self.parts or to != Const(0, INT):
            return None
        if not isinstance(fresh, Var) or self.times[fresh] != 1:
            return None
        for i in range(at):
            new = b.stmts[i]
            if isinstance(new, Op) and new.op == "buffer_new" and new.outs == (fresh,) and new.args == (count,):
                return self.examined(b, i, at)
        return None

    def examined(self, b: Block, new: int, at: int) -> _Copy | None:
        try:
            return self.needless(b, new, at)
        except _No:
            return None

    def needless(self, b: Block, new: int, at: int) -> _Copy:
        stmt = b.stmts[at]
        result, source = outs_of(stmt)[0], args_of(stmt)[0 if _is(stmt, "kept_text") else 2]
        if not isinstance(source, Var):
            raise _No
        names, last = {result}, at
        wrapped: list[Op] = []
        keepers: list[Block] = []
        for i in range(at + 1, len(b.stmts)):
            stmt = b.stmts[i]
            if isinstance(stmt, Op) and stmt.op in TOGETHER and not names.isdisjoint(stmt.args):
                names.add(stmt.outs[0])
                wrapped.append(stmt)
                last = i
            elif self.uses(stmt, result, names, b, keepers):
                last = i
        if not names.isdisjoint(b.tail.values):
            raise _No
        for stmt in b.stmts[at + 1 : last + 1]:
            self.stays(stmt, self.families.of(source))
        return _Copy(new, at, result, wrapped, self.branch(b, keepers) if keepers else None)

    def uses(self, stmt: Stmt, result: Var, names: set[Var], inside: Block, keepers: list[Block]) -> bool:
        """Does the statement use it? Adds the blocks where it is kept."""
        found = not names.isdisjoint(args_of(stmt))
        if any(a in names and not (a == result and self.looks(stmt, i)) for i, a in enumerate(args_of(stmt))):
            keepers.append(inside)
        for inner in blocks_of(stmt):
            within = any([self.uses(s, result, names, inner, keepers) for s in inner.stmts])
            if not names.isdisjoint(inner.tail.values):
                keepers.append(inner)
                within = True
            if within and isinstance(stmt, Parallel):
                raise _No
            found = found or within
        return found

    def looks(self, stmt: Stmt, i: int) -> bool:
        return (stmt.fn, i) in self.reading if isinstance(stmt, Call) else _reads(stmt, i) or _is(stmt, LENGTH)

    def branch(self, b: Block, keepers: list[Block]) -> Block:
        """The innermost block that holds all these, if it is a branch below."""
        found = b
        while not any(k is found for k in keepers):
            inner = [(s, i) for s in found.stmts for i in blocks_of(s) if _within(i, keepers[0])]
            stmt, block = inner[0]
            if not all(_within(block, k) for k in keepers):
                break
            if isinstance(stmt, Loop):
                raise _No  # it would be made at every turn
            found = block
        if found is b:
            raise _No
        return found

    def stays(self, stmt: Stmt, family: int) -> None:
        """Nothing of the family is taken over by the statement."""
        taken: list[Atom] = []
        match stmt:
            case Op() if stmt.op not in TOGETHER:
                taken += [a for i, a in enumerate(stmt.args) if OPS[stmt.op].mode(i) == "c"]
            case Call():
                taken += [a for a, keeps in zip(stmt.args, self.borrowed[stmt.fn], strict=True) if not keeps]
            case Fused():
                taken += stmt.taken
            case Loop():
                taken += stmt.inits
        for inner in blocks_of(stmt):
            taken += [] if _leaves(inner.tail) else inner.tail.values
            for s in inner.stmts:
                self.stays(s, family)
        if any(isinstance(a, Var) and self.counted(a) and self.families.of(a) == family for a in taken):
            raise _No

    # ---- rebuilding
    def without(self, b: Block, copy: _Copy) -> Block:
        """The block with a part in place of the copy."""
        new, old = b.stmts[copy.new], b.stmts[copy.copy]
        assert isinstance(new, Op) and isinstance(old, Op)
        self.parts.add(copy.result)
        if new is old:
            made, part = [old, *copy.wrapped], replace(old, op="kept_part")
        else:
            made = [new, old, *copy.wrapped]
            part = Op((copy.result,), "buffer_part", old.args[2:], (), old.span)
        stmts = [part if s is old else s for s in b.stmts if s is old or not any(s is m for m in made)]
        lengths: dict[Var, Atom] = {}

        def inner(block: Block) -> Block:
            kept: list[Stmt] = []
            for i, stmt in enumerate(block.stmts):
                if block is copy.keeper and self.keeps(stmt, copy.result, made):
                    return self.kept(kept, Block(block.stmts[i:], block.tail), made)
                if part.op == "buffer_part" and _is(stmt, LENGTH) and args_of(stmt) == (copy.result,):
                    lengths[stmt.outs[0]] = part.args[-1]  # type: ignore[union-attr]
                else:
                    kept.append(map_blocks(stmt, inner))
            if block is copy.keeper:
                return self.kept(kept, Block((), block.tail), made)
            return Block(tuple(kept), block.tail)

        return substitute(inner(Block(tuple(stmts), b.tail)), lengths)

    def keeps(self, stmt: Stmt, result: Var, made: list[Op]) -> bool:
        """Is it kept by the statement or within?"""
        keepers: list[Block] = []
        self.uses(stmt, result, {op.outs[0] for op in made}, NOWHERE, keepers)
        return bool(keepers)

    def kept(self, before: list[Stmt], rest: Block, made: list[Op]) -> Block:
        """The branch in which the copy is made after all."""
        values: dict[Var, Atom] = {}
        again: list[Stmt] = []
        for op in made:
            args = tuple(values.get(a, a) for a in op.args)  # type: ignore[arg-type]
            for old in op.outs:
                values[old] = out = Var(self.next_id, old.type, old.name)
                self.next_id += 1
                self.times[out] = self.times.get(old, 0)  # what nothing uses is left from another pass
            self.families.join(values[op.outs[0]], op.outs[0])
            again.append(replace(op, outs=tuple(values[o] for o in op.outs), args=args))  # type: ignore[misc]
        rest = substitute(rest, values)
        return Block((*before, *again, *rest.stmts), rest.tail)


NOWHERE = Block((), Fault("ValueError", ()))


def _within(block: Block, wanted: Block) -> bool:
    return any(b is wanted for b in all_blocks(block))


def _leaves(tail: Tail) -> bool:
    """Is nothing of the function needed after it?"""
    return isinstance(tail, Fault) or isinstance(tail, Exit) and tail.label == RETURN
