"""Arguments of which a function reads elements and lengths, and nothing else.

Where such a function is what a derivative is taken of, whoever takes it holds the argument until the reverse part is
done, so an element is read again there rather than kept. In a function that is called on the way it is kept: a tape
that held the whole list would have the caller's next update of it copy it.
"""

from __future__ import annotations

from hybridc.core.ir import Atom, BufferT, Fn, Op, Prim, StructT, Var
from hybridc.core.walk import all_blocks, args_of, statements, tail_values

READS = frozenset({"buffer_get", "buffer_len"})


def only_read(fn: Fn) -> set[Var]:
    """The buffers of numbers among the arguments, and those within arguments that are structs, by all their names."""
    taken: dict[Var, dict[object, list[Var]]] = {}
    used: set[Atom] = set()
    for s in statements(fn.body):
        if isinstance(s, Op) and s.op == "get" and isinstance(s.args[0], Var):
            taken.setdefault(s.args[0], {}).setdefault(s.attr("index"), []).append(s.outs[0])
        else:
            used.update(args_of(s)[1:] if isinstance(s, Op) and s.op in READS else args_of(s))
    used.update(a for block in all_blocks(fn.body) for a in tail_values(block.tail))
    found: set[Var] = set()
    todo = [[p] for p in fn.params]
    while todo:
        names = todo.pop()
        kind = names[0].type
        if used.isdisjoint(names):
            if isinstance(kind, BufferT) and isinstance(kind.item, Prim):
                found.update(names)
            elif isinstance(kind, StructT):
                fields: dict[object, list[Var]] = {}
                for name in names:
                    for index, more in taken.get(name, {}).items():
                        fields.setdefault(index, []).extend(more)
                todo += fields.values()
    return found
