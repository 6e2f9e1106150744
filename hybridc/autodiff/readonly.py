"""What a function only reads, so that to hold it costs nothing: what a tape holds is copied at its next update.

Where whoever takes a derivative holds an argument until the reverse part is done, an element or a part of it is read
again there rather than kept. So it is in functions that are called on the way, for arguments that their callers hold,
or have made and only read too.
"""

from __future__ import annotations

from collections.abc import Collection

from hybridc.core.ir import Atom, BufferT, Call, Fn, Op, Program, StructT, TensorT, Type, Var
from hybridc.core.ops import OPS
from hybridc.core.walk import all_blocks, args_of, statements_in, tail_values


class ReadOnly:
    """Of the functions of a program."""

    def __init__(self, program: Program):
        self.program = program
        self._params: dict[str, frozenset[int]] = {}

    def params(self, name: str) -> frozenset[int]:
        """The positions of those parameters, which are tensors or buffers."""
        found = self._params.get(name)
        if found is None:
            self._params[name] = frozenset()  # of one that calls itself nothing is known
            fn = self.program.fns[name]
            used = self.used(fn)
            found = self._params[name] = frozenset(
                i for i, p in enumerate(fn.params) if _is_held(p.type) and p not in used)
        return found

    def used(self, fn: Fn) -> set[Atom]:
        """What is not only read."""
        used: set[Atom] = set()
        for s in statements_in(fn):
            if isinstance(s, Call):
                reads = self.params(s.fn)
                used.update(a for i, a in enumerate(s.args) if i not in reads)
            elif isinstance(s, Op) and not keeps(s):
                used.update(a for i, a in enumerate(s.args) if OPS[s.op].mode(i) == "c")
            elif not isinstance(s, Op) or s.op != "get":
                used.update(args_of(s))
        used.update(a for block in all_blocks(fn.body) for a in tail_values(block.tail))
        return used

    def made(self, fn: Fn) -> set[Var]:
        """Tensors that an operator makes and the function only reads."""
        used = self.used(fn)
        return {
            o for s in statements_in(fn) if isinstance(s, Op) and is_fresh(s) for o in s.outs
            if isinstance(o.type, TensorT) and o not in used
        }

    def held(self, fn: Fn, offered: Collection[int]) -> dict[int, set[Var]]:
        """Of the parameters at these positions those that are only read, and what is within those that are structs, by
        all their names; by position."""
        used = self.used(fn)
        taken: dict[Var, dict[object, list[Var]]] = {}
        for s in statements_in(fn):
            if isinstance(s, Op) and s.op == "get" and isinstance(s.args[0], Var):
                taken.setdefault(s.args[0], {}).setdefault(s.attr("index"), []).append(s.outs[0])
        found: dict[int, set[Var]] = {}
        todo = [(i, [p]) for i, p in enumerate(fn.params) if i in offered]
        while todo:
            i, names = todo.pop()
            kind = names[0].type
            if used.isdisjoint(names):
                if _is_held(kind):
                    found.setdefault(i, set()).update(names)
                elif isinstance(kind, StructT):
                    fields: dict[object, list[Var]] = {}
                    for name in names:
                        for index, more in taken.get(name, {}).items():
                            fields.setdefault(index, []).extend(more)
                    todo += [(i, more) for more in fields.values()]
        return found


def _is_held(kind: Type) -> bool:
    return isinstance(kind, TensorT | BufferT)


def keeps(op: Op) -> bool:
    """May something beside the operator have its arguments after it?"""
    row = OPS[op.op]
    return row.alias or row.looks or row.effect


def is_fresh(op: Op) -> bool:
    """Is its result memory of its own?"""
    return not keeps(op) and "c" not in OPS[op.op].own
