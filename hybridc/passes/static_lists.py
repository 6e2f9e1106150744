"""Before ownership: a list of constants that is only read lies in the program's data, and nobody makes it.

`for d in [1, 7, 6, 8]` in a function made its list at each call, and LLVM did not know what is in it. Such a list is
one operator, `buffer_of`; so a short loop over it is written out by LLVM, with its numbers. Read is what is looked at
or given to a call that only looks at it; what is kept, or written to, is made as it was.
"""

from __future__ import annotations

from collections.abc import Set

from hybridc.base.types import FLOATS
from hybridc.core.ir import (
    BOOL,
    STR,
    Atom,
    Block,
    BufferT,
    Call,
    Const,
    Fn,
    Op,
    Prim,
    Program,
    Stmt,
    StructT,
    TupleT,
    Type,
    Var,
)
from hybridc.core.ops import OPS
from hybridc.core.types import parts
from hybridc.core.walk import all_blocks, args_of, calls, map_blocks, operators, rebuilt, statements, uses, with_body
from hybridc.passes.borrow import Borrowed
from hybridc.passes.each import each

MAKES = frozenset({"tuple", "struct", "str", "buffer_new", "buffer_set", "get"})
READS = frozenset({"buffer_get", "buffer_len", "buffer_copy", "buffer_find", "buffer_compare", "buffer_same"})
LARGEST = 1024
"""Elements that are written out one by one."""


def run(program: Program, borrowed: Borrowed) -> Program:
    return each(program, "static_lists", lambda fn: _Lists(program, fn, borrowed).run(),
                lambda fn: tuple(borrowed[name] for name in calls(fn)), needs=["buffer_new"])


class _Lists:
    def __init__(self, program: Program, fn: Fn, borrowed: Borrowed):
        self.program, self.fn, self.borrowed = program, fn, borrowed
        self.made: dict[Var, Op] = {}
        """What is made of constants alone."""
        self.length: dict[Atom, int] = {}
        """Of the buffers among it."""

    def run(self) -> Fn:
        if "buffer_set" not in operators(self.fn):
            return self.fn
        for s in statements(self.fn.body):
            if isinstance(s, Op) and self.is_constant(s):
                self.made[s.outs[0]] = s
                if s.op == "buffer_new":
                    self.length[s.outs[0]] = _number(s.args[0])
                elif s.op == "buffer_set":
                    self.length[s.outs[0]] = self.length[s.args[0]]
        if not any(s.op == "buffer_set" for s in self.made.values()):
            return self.fn
        lists = {v for v in self.made if self.holds_list(v.type)}
        for b in all_blocks(self.fn.body):
            lists.difference_update(b.tail.values)  # type: ignore[arg-type]
        backwards = [*statements(self.fn.body)][::-1]  # what is kept is so before what it is made of
        before = -1
        while len(lists) != before:
            before = len(lists)
            for s in backwards:
                if isinstance(s, Op) and s.outs[:1] and s.outs[0] in lists:
                    continue
                lists.difference_update(a for i, a in enumerate(args_of(s)) if not self.only_read(s, i))
        lists = {v for v in lists if self.made[v].op == "buffer_set"}
        if not lists:
            return self.fn
        times = uses(self.fn.body)
        for v in lists:
            before_it = self.made[v].args[0]
            times[before_it] = times.get(before_it, 0) - 1  # type: ignore[index, arg-type]
        return with_body(self.fn, self.without(self.block(self.fn.body, lists, times)))

    def is_constant(self, s: Op) -> bool:
        if s.op not in MAKES or not all(isinstance(a, Const) or a in self.made for a in s.args):
            return False
        if s.op == "buffer_new":
            return 0 < _number(s.args[0]) <= LARGEST and self.zero(s.outs[0].type) is not None
        return s.op != "buffer_set" or 0 <= _number(s.args[1]) < self.length.get(s.args[0], 0)

    def zero(self, t: Type, within: tuple[Type, ...] = ()) -> object:
        """What a fresh buffer holds, or None if no constants are written for the type."""
        if isinstance(t, Prim):
            return False if t == BOOL else 0.0 if t in FLOATS else 0
        if t == STR:
            return ""
        if t in within or not isinstance(t, BufferT | TupleT | StructT):
            return None
        if isinstance(t, BufferT):
            return None if self.zero(t.item, (*within, t)) is None else ()
        fields = tuple(self.zero(f, (*within, t)) for f in parts(t, self.program))
        return None if None in fields or not fields else fields

    def holds_list(self, t: Type) -> bool:
        if isinstance(t, BufferT):
            return True
        return t != STR and isinstance(t, TupleT | StructT) and any(map(self.holds_list, parts(t, self.program)))

    def only_read(self, s: Stmt, i: int) -> bool:
        match s:
            case Op(op="get"):
                return not self.holds_list(s.outs[0].type)
            case Op():
                return s.op in READS and OPS[s.op].mode(i) == "b"
            case Call():
                return self.borrowed[s.fn][i]
        return False

    def value(self, a: Atom) -> object:
        """As `buffer_of` has it."""
        if isinstance(a, Const):
            return a.value
        made = self.made[a]
        match made.op:
            case "str":
                return made.attr("text")
            case "get":
                return self.value(made.args[0])[made.attr("index")]  # type: ignore[index]
            case "tuple" | "struct":
                return tuple(map(self.value, made.args))
        found: dict[int, object] = {}
        while made.op == "buffer_set":
            _, at, x = made.args
            if _number(at) not in found:
                found[_number(at)] = self.value(x)
            made = self.made[made.args[0]]  # type: ignore[index]
        t = made.outs[0].type
        assert isinstance(t, BufferT)
        return tuple(found[i] if i in found else self.zero(t.item) for i in range(_number(made.args[0])))

    def block(self, b: Block, lists: Set[Var], times: dict[Var, int]) -> Block:
        """With what is read of `lists` as one operator each."""
        stmts: list[Stmt] = []
        for s in b.stmts:
            if isinstance(s, Op) and s.op == "buffer_set" and s.outs[0] in lists:
                if times.get(s.outs[0], 0) == 0:
                    continue
                s = Op(s.outs, "buffer_of", (), (("items", self.value(s.outs[0])),), s.span)
            stmts.append(map_blocks(s, lambda inner: self.block(inner, lists, times)))
        return rebuilt(b, stmts, b.tail)

    def without(self, body: Block) -> Block:
        """Without what nothing needs any more of what was made of constants."""
        gone: set[Var] = set()
        while True:
            times = uses(body)
            unused = {v for v in self.made if v not in times} - gone
            if not unused:
                return body
            gone |= unused

            def block(b: Block, unused: Set[Var] = unused) -> Block:
                kept = [s for s in b.stmts if not (isinstance(s, Op) and s.outs[:1] and s.outs[0] in unused)]
                return rebuilt(b, [map_blocks(s, block) for s in kept], b.tail)

            body = block(body)


def _number(a: Atom) -> int:
    """Of a constant; -1 for another atom."""
    return int(a.value) if isinstance(a, Const) else -1
