"""Lists that nobody changes once they have their name, so that a tape may hold them whole: in an inner loop their
elements are read again, rather than kept one by one.

What a tape holds is copied at its next update. So such a list has no other name by which it is changed while the tape
is there: it is new where it gets its name, or a part of what is held anyway, and it is only read from then on, by all
names that it is handed on to, by loops, branches, and structs that are taken apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field

from hybridc.autodiff.readonly import ReadOnly, is_fresh, keeps
from hybridc.core.ir import (
    RETURN,
    Atom,
    Block,
    BufferT,
    Call,
    Exit,
    Fn,
    If,
    Loop,
    Match,
    Op,
    Parallel,
    Scope,
    Stmt,
    StructT,
    TupleT,
    Var,
    Yield,
)
from hybridc.core.ops import OPS
from hybridc.core.types import is_counted
from hybridc.core.walk import bound_in, outs_of

UPDATES = frozenset({"buffer_set", "buffer_take", "buffer_resize", "buffer_move", "buffer_copy", "sort_words"})
"""Their first result is their first argument, changed; nobody else has it."""
PARTS = frozenset({"get", "destruct", "buffer_get"})
"""They give a part of their first argument."""
NAMES = frozenset({"get", "destruct", "struct", "tuple"})
"""What they are given gets another name, or is put together or taken apart."""


@dataclass
class _Flow:
    """`name` becomes another name of `value`, or has it as a part. `last`: the value's own name is gone then."""

    value: Var
    name: Var | int
    last: bool
    within: tuple[int, ...]
    """The loops around."""


@dataclass
class _Names:
    """Of one function; results are named by their places."""

    new: set[Var] = field(default_factory=set)
    parts: list[tuple[Atom, Var]] = field(default_factory=list)
    """What is a part of what, which may not be updated meanwhile."""
    flows: list[_Flow] = field(default_factory=list)
    ways: dict[Var, set[int]] = field(default_factory=dict)
    """The statements, by identity, that hand it on while its own name stays; and blocks, all of them 0, at whose end it
    goes."""
    looks: set[Var] = field(default_factory=set)
    """Parts of what keeps them."""
    changed: set[Var] = field(default_factory=set)
    """What is updated."""
    escaping: set[Var] = field(default_factory=set)
    """What is put into other values, or goes where nothing is known of it."""
    loops: dict[Var, tuple[int, ...]] = field(default_factory=dict)
    """Around the place where it gets its name."""


class Lasting:
    """Of the functions of a program, as `body` gives them."""

    def __init__(self, read_only: ReadOnly):
        self.read_only = read_only
        self._new: dict[str, frozenset[int]] = {}
        self._names: dict[int, tuple[Fn, _Names]] = {}
        """Of a function, by identity."""

    def lists(self, fn: Fn, held: Set[Var]) -> set[Var]:
        """Those of a function without counted memory in them; `held` are parameters, or parts of these, that are there
        anyway, changed or not."""
        names = self.names(fn)
        found = _alone(names, _parts(names, held)) & _only_read(names)
        program = self.read_only.program
        return {v for v in found if isinstance(v.type, BufferT) and not is_counted(v.type.item, program)}

    def new_results(self, name: str) -> frozenset[int]:
        """Those results of a function of which nobody else has a part."""
        if name not in self._new:
            self._new[name] = frozenset()  # of one that calls itself nothing is known
            fn = self.read_only.program.fns[name]
            names = self.names(fn)
            alone = _alone(names, frozenset())
            shared = {f.name for f in names.flows if isinstance(f.name, int) and not _hands_over(names, alone, f)}
            self._new[name] = frozenset(range(len(fn.results))) - shared  # type: ignore[arg-type]
        return self._new[name]

    def names(self, fn: Fn) -> _Names:
        if id(fn) not in self._names:
            self._names[id(fn)] = fn, _Walk(self, fn).found
        return self._names[id(fn)][1]


def _parts(names: _Names, held: Set[Var]) -> set[Var]:
    """What is held, with its parts; these come later."""
    found = set(held)
    for whole, part in names.parts:
        if whole in found:
            found.add(part)
    return found


def _only_read(names: _Names) -> set[Var]:
    """What is not changed by its name, nor by one that it is handed on to, nor by another name of that part."""
    before: dict[Var, list[Var]] = {}
    bad = names.changed | names.escaping
    for f in names.flows:
        if isinstance(f.name, int):
            bad.add(f.value)
        else:
            before.setdefault(f.name, []).append(f.value)
            if f.name in names.looks:
                before.setdefault(f.value, []).append(f.name)
    todo = list(bad)
    while todo:
        for v in before.get(todo.pop(), ()):
            if v not in bad:
                bad.add(v)
                todo.append(v)
    return names.loops.keys() - bad


def _alone(names: _Names, held: Set[Var]) -> set[Var]:
    """What has no other name than those that it is handed on to, and what is held."""
    given = {f.name for f in names.flows}
    alone = {v for v in names.loops if v in names.new or v in held or v in given}
    fixed = names.new | held
    while True:
        lost = {f.name for f in names.flows
                if f.name in alone and f.name not in fixed and f.value not in held and not _hands_over(names, alone, f)}
        if not lost:
            return alone
        alone -= lost  # type: ignore[arg-type]


def _hands_over(names: _Names, alone: Set[Var], f: _Flow) -> bool:
    """Is what gets a name nobody else's?"""
    v = f.value
    if v not in alone or v in names.escaping or len(names.ways[v]) > 1:
        return False
    return f.last or v not in names.changed and f.within == names.loops[v]


def _matters(a: Atom) -> bool:
    return isinstance(a, Var) and isinstance(a.type, BufferT | StructT | TupleT)


class _Walk:
    def __init__(self, lasting: Lasting, fn: Fn):
        self.lasting = lasting
        self.found = _Names()
        self.loops: tuple[int, ...] = ()
        self.blocks: tuple[int, ...] = ()
        self.defined: dict[Var, tuple[int, ...]] = {}
        """The blocks around."""
        self.contexts: dict[int, tuple[tuple[Var, ...] | None, Block]] = {RETURN: (None, fn.body)}
        """What `exit` gives, None for the function's results, and what it leaves."""
        self.define(fn.params)
        self.block(fn.body, None)

    def define(self, vs: Iterable[Var]) -> None:
        for v in vs:
            if _matters(v):
                self.found.loops[v], self.defined[v] = self.loops, self.blocks

    def flow(self, value: Atom, name: Var | int, where: object, last: bool = False) -> None:
        if isinstance(value, Var) and _matters(value) and (isinstance(name, int) or _matters(name)):
            self.found.flows.append(_Flow(value, name, last, self.loops))
            self.found.ways.setdefault(value, set()).add(0 if last else id(where))

    def escape(self, atoms: Iterable[Atom]) -> None:
        self.found.escaping.update(a for a in atoms if isinstance(a, Var))

    def block(self, b: Block, outs: tuple[Var, ...] | None, first: Iterable[Var] = ()) -> None:
        """`outs` are what it yields to, None for the function's results."""
        around, self.blocks = self.blocks, (*self.blocks, id(b))
        self.define(first)
        for s in b.stmts:
            self.define(outs_of(s))
            self.statement(s)
        if isinstance(b.tail, Yield):
            self.end(b, outs, b)
        elif isinstance(b.tail, Exit):
            self.end(b, *self.contexts[b.tail.label])
        self.blocks = around

    def end(self, b: Block, outs: tuple[Var, ...] | None, left: Block) -> None:
        """The values of a block's tail, which leaves `left` with all that is defined in it."""
        values = b.tail.values
        names: Iterable[Var | int] = range(len(values)) if outs is None else outs
        for v, name in zip(values, names, strict=bool(values)):  # none where the end is never reached
            last = isinstance(v, Var) and values.count(v) == 1 and id(left) in self.defined.get(v, ())
            self.flow(v, name, b, last)

    def statement(self, s: Stmt) -> None:
        found = self.found
        match s:
            case Op():
                self.operator(s)
            case Call():
                reads = self.lasting.read_only.params(s.fn)
                self.escape(a for i, a in enumerate(s.args) if i not in reads)
                new = self.lasting.new_results(s.fn)
                found.new.update(o for i, o in enumerate(s.outs) if i in new)
            case If():
                self.block(s.then, s.outs)
                self.block(s.orelse, s.outs)
            case Match():
                self.escape((s.subject,))
                for arm in s.arms:
                    self.block(arm.body, s.outs, arm.fields)
            case Loop():
                for a, p in zip(s.inits, s.params, strict=True):
                    self.flow(a, p, s)
                self.inner(s, s.params)
            case Scope():
                self.inner(s, s.outs)
            case Parallel():
                found.new.add(s.out)
                self.escape(s.body.tail.values)
                self.inner(s, (s.out,))

    def operator(self, s: Op) -> None:
        found = self.found
        if s.op in PARTS:
            found.parts += [(s.args[0], o) for o in s.outs]
        if s.op in NAMES:
            for a in s.args:
                for o in s.outs:
                    self.flow(a, o, s.op if s.op == "get" else s)
            if s.op == "get":
                found.looks.update(s.outs)
            if len(set(s.args)) < len(s.args):
                self.escape(s.args)
            return
        row = OPS[s.op]
        for i, a in enumerate(s.args):
            if isinstance(a, Var) and (keeps(s) or row.mode(i) == "c"):
                (found.changed if i == 0 and s.op in UPDATES else found.escaping).add(a)
        if s.op in UPDATES:
            found.new.add(s.outs[0])
        elif is_fresh(s) and not any(is_counted(a.type, self.lasting.read_only.program) for a in s.args):
            found.new.update(s.outs)

    def inner(self, s: Loop | Scope | Parallel, yields: tuple[Var, ...]) -> None:
        around = self.loops
        if not isinstance(s, Parallel):
            self.contexts[s.label] = s.outs, s.body
        if not isinstance(s, Scope):
            self.loops = (*around, id(s))
        self.block(s.body, yields, bound_in(s))
        self.loops = around


__all__ = ["Lasting"]
