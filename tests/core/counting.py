"""Runs Core with its retains and releases on a heap that counts, and complains of what would be a leak or a use after
free in compiled code: the test of passes/ownership.py."""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.core.interp import Interpreter, fault_of
from hybridc.core.interp_ops import MAKERS, str_value
from hybridc.core.ir import (
    RETURN,
    Atom,
    Block,
    BufferT,
    Call,
    Const,
    EnumT,
    Exit,
    Fault,
    If,
    Loop,
    Match,
    Op,
    OptionT,
    Parallel,
    Prim,
    Scope,
    Stmt,
    StructT,
    TensorT,
    TupleT,
    Type,
    Yield,
)
from hybridc.core.ops import OPS
from hybridc.core.types import is_counted, parts
from hybridc.core.values import Buffer, EnumValue, InterpFault, Some
from hybridc.passes.ownership import OwnedProgram


class Cell:
    """A counted block: a buffer (`items`), an enum (`tag`, `items` its fields) or a tensor (`array`)."""

    def __init__(self, type: Type, items: list, tag: int = 0, immortal: bool = False):
        self.type = type
        self.items = items
        self.tag = tag
        self.count = 1
        self.immortal = immortal


class Part(Cell):
    """Some elements of a buffer, only to be looked at: it has no count, and the buffer must stay as it was."""

    def __init__(self, whole: Cell, start: int, n: int):
        super().__init__(whole.type, whole.items[start : start + n])
        self.whole, self.start = whole, start


class TensorValue:
    """A tensor: the block that holds its elements, or a part of one."""

    def __init__(self, block: Cell, array: object):
        self.block = block
        self.array = array


class Miscounted(AssertionError):
    """What compiled code would do wrong here."""


class _Left(Exception):
    """An exit on its way."""

    def __init__(self, label: int, values: tuple):
        super().__init__(label)
        self.label = label
        self.values_ = values


class Counting:
    def __init__(self, owned: OwnedProgram, depth_limit: int = 200):
        self.owned = owned
        self.program = owned.program
        self.plain = Interpreter(owned.program)
        self.live: set[Cell] = set()
        self.copies = 0
        """Buffers that were copied because somebody else held them."""
        self.depth_limit = depth_limit
        self.retains = 0

    # ---- values
    def lift(self, t: Type, value: object) -> object:
        """A value of the reference interpreter, on this heap."""
        match t:
            case TupleT() | StructT():
                return tuple(self.lift(f, v) for f, v in zip(parts(t, self.program), value, strict=True))  # type: ignore
            case OptionT(item):
                return None if value is None else Some(self.lift(item, value.value))  # type: ignore
            case BufferT(item):
                return self.cell(t, [self.lift(item, v) for v in value.items()])  # type: ignore
            case EnumT(name) if not self.program.enums[name].plain:
                if value is None:
                    return None
                types = [f for _, f in self.program.enums[name].cases[value.tag][1]]  # type: ignore
                return self.cell(t, [self.lift(f, v) for f, v in zip(types, value.fields, strict=True)], value.tag)  # type: ignore
            case TensorT():
                return TensorValue(self.cell(t, []), value)
        return value

    def lower(self, t: Type, value: object) -> object:
        """A value of this heap as the reference interpreter has it."""
        match t:
            case TupleT() | StructT():
                return tuple(self.lower(f, v) for f, v in zip(parts(t, self.program), value, strict=True))  # type: ignore
            case OptionT(item):
                return None if value is None else Some(self.lower(item, value.value))  # type: ignore
            case BufferT(item):
                return Buffer([] if value is None else [self.lower(item, v) for v in self.use(value).items])
            case EnumT(name) if not self.program.enums[name].plain:
                if value is None:
                    return None
                cell = self.use(value)
                types = [f for _, f in self.program.enums[name].cases[cell.tag][1]]
                return EnumValue(cell.tag, tuple(self.lower(f, v) for f, v in zip(types, cell.items, strict=True)))
            case TensorT():
                if value is None:
                    return self.plain.zero(t)
                assert isinstance(value, TensorValue)
                self.use(value.block)
                return value.array
        return value

    def cell(self, t: Type, items: list, tag: int = 0) -> Cell:
        cell = Cell(t, items, tag)
        self.live.add(cell)
        return cell

    def use(self, cell: object) -> Cell:
        if not isinstance(cell, Cell):
            raise Miscounted(f"{cell!r} is no block")
        if cell.count <= 0:
            raise Miscounted("use after free")
        if isinstance(cell, Part):
            self.use(cell.whole)
            now = cell.whole.items[cell.start : cell.start + len(cell.items)]
            if any(a is not b for a, b in zip(cell.items, now, strict=True)):
                raise Miscounted("what is looked at has changed")
        return cell

    def cells(self, t: Type, value: object) -> list[Cell]:
        """The blocks that a value holds directly."""
        match t:
            case TupleT() | StructT():
                pairs = zip(parts(t, self.program), value, strict=True)  # type: ignore[call-overload]
                return [c for f, v in pairs for c in self.cells(f, v)]
            case OptionT(item):
                return [] if value is None else self.cells(item, value.value)  # type: ignore[attr-defined]
        if isinstance(value, TensorValue):
            return [self.use(value.block)]
        return [self.use(value)] if isinstance(value, Cell) else []

    def retain(self, t: Type, value: object) -> None:
        for c in self.cells(t, value):
            if isinstance(c, Part):
                raise Miscounted("a part has no count")
            if not c.immortal:
                c.count += 1

    def release(self, t: Type, value: object) -> None:
        for c in self.cells(t, value):
            if isinstance(c, Part):
                raise Miscounted("a part has no count")
            if c.immortal:
                continue
            c.count -= 1
            if c.count == 0:
                self.live.remove(c)
                for f, v in zip(self.item_types(c), c.items, strict=True):
                    self.release(f, v)

    def item_types(self, c: Cell) -> list[Type]:
        match c.type:
            case BufferT(item):
                return [item] * len(c.items)
            case EnumT(name):
                return [f for _, f in self.program.enums[name].cases[c.tag][1]]
        return []

    # ---- running
    def run(self, name: str, args: Sequence[object]) -> tuple[object, ...]:
        """Call from outside, with values of the reference interpreter; afterwards nothing may be left."""
        fn = self.program.fns[name]
        given = [self.lift(p.type, a) for p, a in zip(fn.params, args, strict=True)]
        try:
            results = self.call(name, given, 1)
            answer = tuple(self.lower(t, r) for t, r in zip(fn.results, results, strict=True))
            for t, r in zip(fn.results, results, strict=True):
                self.release(t, r)
        finally:
            for p, a, lent in zip(fn.params, given, self.owned.borrowed[name], strict=True):
                if lent:
                    self.release(p.type, a)
        self.check_empty()
        return answer

    def check_empty(self) -> None:
        if self.live:
            raise Miscounted(f"{len(self.live)} blocks leak: {[c.type for c in self.live][:5]}")

    def call(self, name: str, args: Sequence[object], depth: int) -> tuple[object, ...]:
        fn = self.program.fns[name]
        if depth > self.depth_limit:
            for p, a, lent in zip(fn.params, args, self.owned.borrowed[name], strict=True):
                if not lent:
                    self.release(p.type, a)
            raise InterpFault("RecursionError", "maximum call depth exceeded")
        env = {p.id: a for p, a in zip(fn.params, args, strict=True)}
        try:
            return self.block(fn.body, env, depth)
        except _Left as left:
            assert left.label == RETURN
            return left.values_

    def value(self, a: Atom, env: dict[int, object]) -> object:
        if isinstance(a, Const):
            return a.value
        v = env[a.id]
        self.cells(a.type, v)  # it must be alive
        return v

    def block(self, b: Block, env: dict[int, object], depth: int) -> tuple[object, ...]:
        for stmt in b.stmts:
            self.statement(stmt, env, depth)
        values = tuple(self.value(a, env) for a in b.tail.values)
        match b.tail:
            case Yield():
                return values
            case Exit(label, _):
                raise _Left(label, values)
            case Fault(kind, atoms, _):
                fault = fault_of(kind, tuple(self.lower(a.type, v) for a, v in zip(atoms, values, strict=True)))
                for a, v in zip(atoms, values, strict=True):
                    self.release(a.type, v)
                raise fault

    def clean_up(self, stmt: Stmt, env: dict[int, object]) -> None:
        for v in self.owned.cleanup.get(id(stmt), ()):
            self.release(v.type, self.value(v, env))

    def statement(self, stmt: Stmt, env: dict[int, object], depth: int) -> None:
        match stmt:
            case Op():
                try:
                    results = self.operator(stmt, [self.value(a, env) for a in stmt.args])
                except InterpFault:
                    assert OPS[stmt.op].may_fault(stmt)
                    self.clean_up(stmt, env)
                    raise
                outs = stmt.outs
            case Call(outs, fn, args, _):
                try:
                    results = self.call(fn, [self.value(a, env) for a in args], depth + 1)
                except InterpFault:
                    self.clean_up(stmt, env)
                    raise
            case If(outs, cond, then, orelse, _):
                results = self.block(then if self.value(cond, env) else orelse, env, depth)
            case Match(outs, subject, arms, _):
                value = self.value(subject, env)
                arm = arms[value.tag]  # type: ignore[attr-defined]
                fields = value.items if isinstance(value, Cell) else ()
                env.update((f.id, v) for f, v in zip(arm.fields, fields, strict=True))
                results = self.block(arm.body, env, depth)
            case Scope(outs, label, body, _):
                try:
                    results = self.block(body, env, depth)
                except _Left as left:
                    if left.label != label:
                        raise
                    results = left.values_
            case Loop(outs, label, params, inits, body, _):
                results = tuple(self.value(a, env) for a in inits)
                try:
                    while True:
                        env.update((p.id, v) for p, v in zip(params, results, strict=True))
                        for v in self.owned.cleanup.get(id(stmt), ()):
                            self.value(v, env)
                        results = self.block(body, env, depth)
                except _Left as left:
                    if left.label != label:
                        raise
                    results = left.values_
            case Parallel(out, index, count, body, _):
                outs, items = (out,), []
                for i in range(self.value(count, env)):  # type: ignore[call-overload]
                    env[index.id] = i
                    try:
                        items += self.block(body, env, depth)
                    except InterpFault:
                        for item in items:
                            self.release(out.type.item, item)  # type: ignore[union-attr]
                        self.clean_up(stmt, env)
                        raise
                results = (self.cell(out.type, items),)
        env.update((o.id, v) for o, v in zip(outs, results, strict=True))

    # ---- operators
    def operator(self, op: Op, args: list) -> tuple[object, ...]:
        match op.op:
            case "retain":
                self.retains += 1
                self.retain(op.args[0].type, args[0])
                return ()
            case "release":
                self.release(op.args[0].type, args[0])
                return ()
            case "tuple" | "struct":
                return (tuple(args),)
            case "destruct":
                return args[0]
            case "get":
                return (args[0][op.attr("index")],)
            case "some":
                return (Some(args[0]),)
            case "none":
                return (None,)
            case "is_some":
                return (args[0] is not None,)
            case "unwrap":
                return (args[0].value,)
            case "enum":
                t = op.outs[0].type
                assert isinstance(t, EnumT)
                tag = [n for n, _ in self.program.enums[t.name].cases].index(op.attr("case"))  # type: ignore[arg-type]
                return (EnumValue(tag) if self.program.enums[t.name].plain else self.cell(t, args, tag),)
            case "tag":
                return (args[0].tag,)
            case "str":
                data, size, count = str_value(str(op.attr("text")))
                cell = Cell(BufferT(Prim("u8")), data.items(), immortal=True)
                return ((cell, size, count),)
            case "tensor_view" | "reshaped" | "part" if args[0] is not None and isinstance(op.outs[0].type, TensorT):
                array = MAKERS[op.op](op, self.plain)(args[0].array, *args[1:])
                return (TensorValue(args[0].block, array),)
            case "buffer_len":
                return (len(args[0].items) if args[0] else 0,)
            case "buffer_part":
                return (Part(args[0], args[1], args[2]) if args[0] else self.cell(op.outs[0].type, []),)
            case "kept_part":
                far, x, y = args
                if y < 0:
                    return Part(far, 0, x), x, -1 - y
                made, size, points = MAKERS[op.op](op, self.plain)(far, x, y)
                return Part(Cell(op.outs[0].type, made.items()), 0, size), size, points
            case "buffer_at":
                return (args[0].items[args[1]],)
            case "buffer_get":
                value = args[0].items[args[1]]
                self.retain(op.outs[0].type, value)
                return (value,)
            case "buffer_set" | "buffer_take" | "buffer_resize" | "buffer_move" | "buffer_copy":
                return self.write(op, args)
        # Anything else: the reference, on copies of the values; what it consumes goes, what it gives is fresh.
        row = OPS[op.op]
        lowered = [self.lower(a.type, v) for a, v in zip(op.args, args, strict=True)]
        try:
            result = MAKERS[op.op](op, self.plain)(*lowered)
        finally:
            for i, (a, v) in enumerate(zip(op.args, args, strict=True)):
                if row.mode(i) == "c":
                    self.release(a.type, v)
        results = (result,) if len(op.outs) == 1 else result
        return tuple(self.lift(o.type, r) for o, r in zip(op.outs, results, strict=True))  # type: ignore[arg-type]

    def write(self, op: Op, args: list) -> tuple[object, ...]:
        t = op.args[0].type
        assert isinstance(t, BufferT)
        cell = args[0]
        if cell is None:
            cell = self.cell(t, [])
        elif cell.count != 1 or cell.immortal:
            self.copies += 1
            for v in cell.items:
                self.retain(t.item, v)
            fresh = self.cell(t, list(cell.items))
            self.release(t, cell)
            cell = fresh
        items, zero = cell.items, self.plain.zero(t.item)
        zero = self.lift(t.item, zero) if not is_counted(t.item, self.program) else self.null(t.item)
        match op.op:
            case "buffer_set":
                self.release(t.item, items[args[1]])
                items[args[1]] = args[2]
            case "buffer_take":
                value, items[args[1]] = items[args[1]], zero
                return cell, value
            case "buffer_resize":
                if args[1] < 0:
                    self.release(t, cell)
                    raise InterpFault("ValueError", "negative length")
                for v in items[args[1] :]:
                    self.release(t.item, v)
                cell.items = items[: args[1]] + [zero] * (args[1] - len(items))
            case "buffer_move":
                dst, src, n = args[1:]
                moved = items[src : src + n]
                kept = set(range(src, src + n))
                for i in range(dst, dst + n):
                    if i not in kept:
                        self.release(t.item, items[i])
                for i in kept:
                    items[i] = zero
                items[dst : dst + n] = moved
            case "buffer_copy":
                at, source, start, n = args[1:]
                new = source.items[start : start + n] if source else []
                for v in new:
                    self.retain(t.item, v)
                for v in items[at : at + n]:
                    self.release(t.item, v)
                items[at : at + n] = new
        return (cell,)

    def null(self, t: Type) -> object:
        """The zero of a type on this heap, where empty blocks are null."""
        match t:
            case TupleT() | StructT():
                return tuple(self.null(f) for f in parts(t, self.program))
            case Prim():
                return self.plain.zero(t)
            case EnumT(name) if self.program.enums[name].plain:
                return EnumValue(0)
        return None


