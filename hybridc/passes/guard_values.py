"""Values on their way to Python, looked through: Python reads text, lists, enums and models where their parts say, so a
list has at least as many elements as its size, and an enum was made."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from hybridc.base.immutable import replace
from hybridc.core.builder import Builder, integer
from hybridc.core.interface import Interface
from hybridc.core.ir import (
    BOOL,
    INT,
    STR,
    Arm,
    Atom,
    Block,
    BufferT,
    Call,
    EnumT,
    Exit,
    Fault,
    Fn,
    OptionT,
    Program,
    StructT,
    TupleT,
    Type,
    Var,
    Yield,
)
from hybridc.core.types import parts, show_type, without_dims
from hybridc.core.walk import map_blocks

INSIDE = "{} inside"
"""The name of a function called from outside, within the program."""


class Values:
    def __init__(self, program: Program, interface: Interface):
        self.program = program
        self.lists = {name for name, kind in interface.kinds.items() if kind.kind in ("list", "str")}
        self.sizes = {m.struct: m.size for m in interface.models}
        self.fns: dict[str, Fn] = {}

    def outside(self, program: Program, roots: Collection[str]) -> Program:
        """With what looks through values; what is called from outside looks through its results."""
        fns: dict[str, Fn] = {}
        watched = {r for r in roots if any(self.check_of(t) for t in program.fns[r].results)}
        for name, fn in program.fns.items():
            if name in watched:
                fns[name] = self._watching(fn)
                name = INSIDE.format(name)
            fns[name] = replace(fn, name=name, body=_renamed(fn.body, watched))
        return Program(program.structs, program.enums, {**fns, **self.fns})

    def _watching(self, fn: Fn) -> Fn:
        b = Builder(max((p.id for p in fn.params), default=0) + 1)
        b.span = fn.span
        b.open()
        results = b.call(INSIDE.format(fn.name), fn.params, fn.results)
        self._all(b, results)
        return replace(fn, body=b.close(Yield(results)), hidden=True, adjoint="", checkpoint=False)

    def check_of(self, t: Type) -> str | None:
        """The function that looks through a value of the type; None where every value is good."""
        t = without_dims(t)
        if not self._looks(t, set()):
            return None
        name = f"good {show_type(t)}"
        if name not in self.fns:
            param = Var(1, t, "x")
            self.fns[name] = Fn(name, (param,), (), Block((), Yield()), hidden=True)  # it may need itself
            b = Builder(2)
            b.open()
            self._look(b, param, t)
            self.fns[name] = replace(self.fns[name], body=b.close(Yield()))
        return name

    def _looks(self, t: Type, seen: set[str]) -> bool:
        """Is there anything to look at?"""
        match t:
            case OptionT(item):
                return self._looks(item, seen)
            case EnumT(name):
                return not self.program.enums[name].plain
            case StructT(name):
                if t == STR or name in self.lists or name in self.sizes:
                    return True
                return any(self._looks(f, seen) for f in parts(t, self.program))
            case TupleT(items):
                return any(self._looks(f, seen) for f in items)
        return False

    def _all(self, b: Builder, values: Sequence[Atom]) -> None:
        for v in values:
            if check := self.check_of(v.type):
                b.call(check, [v], ())

    def _look(self, b: Builder, x: Var, t: Type) -> None:
        match t:
            case OptionT(item):
                there = b.op("is_some", [x], BOOL)
                b.open()
                self._all(b, [b.op("unwrap", [x], item)])
                b.if_(there, b.close(Yield()), Block((), Yield()))
            case EnumT(name):
                _need(b, b.op("made", [x], BOOL), "an enum that was never made")
                arms = []
                for case, types in self.program.enums[name].cases:
                    fields = tuple(b.var(f) for _, f in types)
                    b.open()
                    self._all(b, fields)
                    arms.append(Arm(case, fields, b.close(Yield())))
                b.match(x, arms)
            case StructT() | TupleT():
                fields = tuple(b.op("get", [x], f, index=i) for i, f in enumerate(parts(t, self.program)))
                if isinstance(t, StructT) and (t == STR or t.name in self.lists):
                    self._sequence(b, fields[0], fields[1])
                else:
                    self._all(b, fields)
                if isinstance(t, StructT) and t.name in self.sizes:
                    size = b.op("dim", [fields[0]], INT, axis=0)
                    _need(b, b.op("eq", [size, integer(self.sizes[t.name])], BOOL), "another number of parameters")

    def _sequence(self, b: Builder, data: Var, size: Var) -> None:
        """The first `size` elements of a buffer."""
        assert isinstance(data.type, BufferT)
        enough = b.op("le", [size, b.op("buffer_len", [data], INT)], BOOL)
        good = b.op("bit_and", [b.op("ge", [size, integer(0)], BOOL), enough], BOOL)
        _need(b, good, "a list of elements that are not there")
        if self.check_of(data.type.item) is None:
            return
        label, i = b.label(), b.var(INT, "i")
        b.open()
        b.open()
        self._all(b, [b.op("buffer_get", [data, i], data.type.item)])
        after = b.op("add", [i, integer(1)], INT)
        going = b.close(Yield((after,)))
        (turn,) = b.if_(b.op("lt", [i, size], BOOL), going, Block((), Exit(label, ())), [INT])
        b.loop(label, [i], [integer(0)], b.close(Yield((turn,))))


def _need(b: Builder, condition: Atom, what: str) -> None:
    b.open()
    text = b.op("str", [], STR, text=f"the artifact's Core is wrong: {what}")
    b.if_(condition, Block((), Yield()), b.close(Fault("ValueError", (text,), b.span)))


def _renamed(block: Block, watched: Collection[str]) -> Block:
    """Calls within go to the functions themselves."""
    def inner(block: Block) -> Block:
        stmts = (
            replace(s, fn=INSIDE.format(s.fn)) if isinstance(s, Call) and s.fn in watched else map_blocks(s, inner)
            for s in block.stmts
        )
        return Block(tuple(stmts), block.tail)

    return inner(block)


