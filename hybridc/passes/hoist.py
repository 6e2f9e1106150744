"""Before ownership: an aggregate that is only taken apart is taken apart where it is made.

Then its parts live and die on their own: `data = get(list, 0)` followed much later by `n = get(list, 1)` would
otherwise keep the whole list alive, and `data` shared, in between. So are the sizes of parameters, for which a kernel
could not write its result over one. Every block and statement of the result is new.
"""

from __future__ import annotations

from collections.abc import Iterable

from hybridc.base.immutable import replace
from hybridc.core.ir import (
    Arm,
    Atom,
    Block,
    Fn,
    Loop,
    Match,
    Op,
    Stmt,
    Var,
)
from hybridc.core.walk import (
    all_blocks,
    args_of,
    map_atoms,
    map_blocks,
    map_tail,
    outs_of,
)
from hybridc.passes.liveness import Counted


def hoist_gets(fn: Fn, counted: Counted) -> Fn:
    """With the parts of every counted tuple and struct that is only taken apart named right after its definition."""
    return _Hoist(fn, counted).run()


class _Hoist:
    def __init__(self, fn: Fn, counted: Counted):
        self.fn = fn
        self.counted = counted
        self.apart: dict[int, dict[int, Var]] = {}
        """For each aggregate that is only taken apart: the variables of the parts in use."""
        self.instead: dict[int, Var] = {}
        """For a further name of such a part: the first."""
        self.gets: dict[int, list[tuple[int, Var]]] = {}
        self.whole: set[int] = set()
        """Variables that are used in another way too."""
        self.sizes: dict[tuple[Var, object], Var] = {}
        """Of parameters, by axis."""
        self.find()

    def find(self) -> None:
        named: set[int] = set()
        aggregates: dict[int, Var] = {}
        for b in all_blocks(self.fn.body):
            for stmt in b.stmts:
                if self.is_size(stmt):
                    assert isinstance(stmt, Op) and isinstance(stmt.args[0], Var)
                    (size,) = stmt.outs
                    self.instead[size.id] = self.sizes.setdefault((stmt.args[0], stmt.attr("axis")), size)
                v = _taken_apart(stmt)
                if v is not None and self.counted(v):
                    assert isinstance(stmt, Op)
                    first = stmt.attr("index") if stmt.op == "get" else 0
                    assert isinstance(first, int)
                    self.gets.setdefault(v.id, []).extend(enumerate(stmt.outs, first))
                    named.update(o.id for o in stmt.outs)
                    aggregates[v.id] = v
                else:
                    self.whole.update(a.id for a in args_of(stmt) if isinstance(a, Var))
            self.whole.update(a.id for a in b.tail.values if isinstance(a, Var))
        for v in aggregates.values():
            if v.id not in named:
                self.classify([v])

    def classify(self, names: list[Var]) -> None:
        """`names` are variables of one value, the first of which will be defined before all uses of them."""
        gets = [g for n in names for g in self.gets.get(n.id, ())]
        if not gets:
            return
        if any(n.id in self.whole for n in names):
            for _, part in gets:
                self.classify([part])
            return
        groups: dict[int, list[Var]] = {}
        for index, part in gets:
            groups.setdefault(index, []).append(part)
        self.apart[names[0].id] = {index: group[0] for index, group in sorted(groups.items())}
        for group in groups.values():
            self.instead.update((other.id, group[0]) for other in group[1:])
            self.classify(group)

    def atom(self, a: Atom) -> Atom:
        return self.instead.get(a.id, a) if isinstance(a, Var) else a

    def is_size(self, stmt: Stmt) -> bool:
        return isinstance(stmt, Op) and stmt.op == "dim" and stmt.args[0] in self.fn.params

    def is_hoisted(self, stmt: Stmt) -> bool:
        if self.is_size(stmt):
            return True
        v = _taken_apart(stmt)
        return v is not None and self.instead.get(v.id, v).id in self.apart

    def run(self) -> Fn:
        body = self.block(self.fn.body, self.fn.params)
        first = [Op((size,), "dim", (p,), (("axis", axis),)) for (p, axis), size in self.sizes.items()]
        return replace(self.fn, body=Block((*first, *body.stmts), body.tail))

    def block(self, b: Block, defined: Iterable[Var] = ()) -> Block:
        stmts = [s for v in defined for s in self.take_apart(v)]
        for stmt in b.stmts:
            if self.is_hoisted(stmt):
                continue
            stmt = map_atoms(stmt, self.atom)
            match stmt:
                case Match():
                    arms = (Arm(a.case, a.fields, self.block(a.body, a.fields)) for a in stmt.arms)
                    stmt = replace(stmt, arms=tuple(arms))
                case Loop():
                    stmt = replace(stmt, body=self.block(stmt.body, stmt.params))
                case Op():
                    stmt = replace(stmt)
                case _:
                    stmt = replace(map_blocks(stmt, self.block))
            stmts.append(stmt)
            for o in outs_of(stmt):
                stmts += self.take_apart(o)
        return Block(tuple(stmts), map_tail(b.tail, self.atom))

    def take_apart(self, v: Var) -> list[Stmt]:
        """The gets of an aggregate, then those of its parts."""
        found = self.apart.get(v.id, {})
        stmts: list[Stmt] = [Op((part,), "get", (v,), (("index", i),)) for i, part in found.items()]
        for part in found.values():
            stmts += self.take_apart(part)
        return stmts


def _taken_apart(stmt: Stmt) -> Var | None:
    """The aggregate that the statement names a part of."""
    if isinstance(stmt, Op) and stmt.op in ("get", "destruct") and isinstance(stmt.args[0], Var):
        return stmt.args[0]
    return None
