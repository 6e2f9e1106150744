"""Random Core programs, the same for the same seed: scalars, buffers within buffers, enums, options, tuples, branches,
loops, scopes with early exits, calls, parallel loops, faults."""

from __future__ import annotations

import random

from hybridc.core.builder import Builder, integer
from hybridc.core.ir import (
    BOOL,
    F64,
    INT,
    STR,
    U8,
    Arm,
    Atom,
    Block,
    BufferT,
    Const,
    EnumDef,
    EnumT,
    Exit,
    Fault,
    Fn,
    OptionT,
    Program,
    StructDef,
    StructT,
    TupleT,
    Type,
    Var,
    Yield,
)

TREE = EnumT("Tree")
ROW, TABLE = BufferT(INT), BufferT(BufferT(INT))
PAIR = StructT("Pair")
TYPES: list[Type] = [
    INT,
    INT,
    BOOL,
    F64,
    ROW,
    ROW,
    TABLE,
    TREE,
    BufferT(TREE),
    OptionT(ROW),
    TupleT((INT, ROW)),
    PAIR,
    STR,
]
STRUCTS = {
    "str": StructDef("str", (("bytes", BufferT(U8)), ("size", INT), ("count", INT))),
    "Pair": StructDef("Pair", (("tree", TREE), ("row", ROW), ("flag", BOOL))),
}
ENUMS = {
    "Tree": EnumDef(
        "Tree",
        (
            ("Leaf", (("value", INT),)),
            ("Nothing", ()),
            ("Node", (("rows", BufferT(TREE)), ("pair", TupleT((INT, ROW))))),
        ),
    )
}


def program(seed: int, functions: int = 3) -> Program:
    made = Program(dict(STRUCTS), dict(ENUMS))
    some = random.Random(seed)
    for i in range(functions):
        fn = Maker(some, made).fn(f"f{i}", last=i == functions - 1)
        made.fns[fn.name] = fn
    return made


class Maker:
    def __init__(self, some: random.Random, program: Program):
        self.some, self.program = some, program
        self.b = Builder()
        self.known: list[Var] = []
        self.depth = 0
        self.labels: list[tuple[int, tuple[Type, ...]]] = []

    def fn(self, name: str, last: bool) -> Fn:
        types = [INT, INT] if last else [self.some.choice(TYPES) for _ in range(self.some.randint(1, 3))]
        results = (INT, F64, INT) if last else tuple(self.some.choice(TYPES) for _ in range(self.some.randint(1, 2)))
        params = tuple(self.b.var(t) for t in types)
        self.known += params
        self.labels.append((0, results))
        self.b.open()
        for _ in range(self.some.randint(4, 12)):
            self.statement()
        values = tuple(self.digest(t) if last else self.get(t) for t in results)
        return Fn(name, params, results, self.b.close(Yield(values)), name)

    # ---- values
    def get(self, t: Type) -> Atom:
        """Something of the type: known, or new."""
        have = [v for v in self.known if v.type == t]
        if have and self.some.random() < 0.8:
            return self.some.choice(have)
        return self.new(t)

    def new(self, t: Type) -> Atom:
        match t:
            case _ if t == INT:
                return Const(self.some.choice([0, 1, 2, 3, -1, 7, 100, -(2**63), 2**63 - 1]), INT)
            case _ if t == BOOL:
                return Const(self.some.random() < 0.5, BOOL)
            case _ if t == F64:
                return Const(self.some.choice([0.0, 1.5, -2.25, 1e10]), F64)
            case BufferT():
                return self.keep(self.b.op("buffer_new", (integer(self.some.randint(1, 4)),), t))
            case EnumT():
                case = self.some.choice(["Leaf", "Nothing", "Node"] if self.depth < 3 else ["Leaf", "Nothing"])
                fields = dict(self.program.enums[t.name].cases)[case]
                return self.keep(self.b.op("enum", [self.get(f) for _, f in fields], t, case=case))
            case OptionT(item):
                if self.some.random() < 0.5:
                    return self.keep(self.b.op("none", (), t))
                return self.keep(self.b.op("some", (self.get(item),), t))
            case TupleT(items):
                return self.keep(self.b.op("tuple", [self.get(i) for i in items], t))
            case StructT("str"):
                return self.keep(self.b.op("str", (), t, text=self.some.choice(["", "one", "zwei é"])))
            case StructT(name):
                return self.keep(self.b.op("struct", [self.get(f) for _, f in self.program.structs[name].fields], t))
        raise TypeError(t)

    def keep(self, v: Var) -> Var:
        self.known.append(v)
        return v

    def digest(self, t: Type) -> Atom:
        """A scalar that depends on much of what is known."""
        if t == F64:
            return self.get(F64)
        total: Atom = self.get(INT)
        for v in list(self.known)[-12:]:
            part: Atom | None = None
            if v.type == INT:
                part = v
            elif v.type == ROW:
                part = self.b.op("buffer_get", (v, integer(0)), INT)
            elif isinstance(v.type, BufferT):
                part = self.b.op("buffer_len", (v,), INT)
            elif v.type == TREE:
                part = self.b.op("tag", (v,), INT)
            elif v.type == STR:
                part = self.b.op("get", (v,), INT, index=2)
            if part is not None:
                total = self.b.op("add", (self.b.op("mul", (total, integer(31)), INT), part), INT)
        return total

    # ---- statements
    def statement(self) -> None:
        kinds = [self.arithmetic, self.arithmetic, self.write, self.write, self.take, self.apart, self.read]
        if self.depth < 3:
            kinds += [self.branch, self.loop, self.match, self.option, self.scope, self.leave]
        if self.depth == 0:
            kinds += [self.call, self.call, self.parallel]
        self.some.choice(kinds)()

    def arithmetic(self) -> None:
        op = self.some.choice("add sub mul floordiv mod minimum shr bit_xor lt eq select cast".split())
        a, b = self.get(INT), self.get(INT)
        if op in ("lt", "eq"):
            self.keep(self.b.op(op, (a, b), BOOL))
        elif op == "select":
            self.keep(self.b.op(op, (self.get(BOOL), a, b), INT))
        elif op == "cast":
            self.keep(self.b.op(op, (a,), F64))
        else:
            self.keep(self.b.op(op, (a, b), INT))

    def buffer(self) -> tuple[Atom, BufferT]:
        t = self.some.choice([ROW, ROW, TABLE, BufferT(TREE)])
        return self.get(t), t

    def write(self) -> None:
        buffer, t = self.buffer()
        match self.some.randint(0, 3):
            case 0 | 1:
                self.keep(self.b.op("buffer_set", (buffer, integer(0), self.get(t.item)), t))
            case 2:
                n = self.b.op("buffer_len", (buffer,), INT)
                longer = self.b.op("buffer_resize", (buffer, self.b.op("add", (n, integer(2)), INT)), t)
                self.keep(self.b.op("buffer_move", (longer, integer(1), integer(0), n), t))
            case 3:
                other = self.get(t)
                self.keep(self.b.op("buffer_copy", (buffer, integer(0), other, integer(0), integer(1)), t))

    def read(self) -> None:
        buffer, t = self.buffer()
        # A fresh buffer of trees holds the zero of its type, which nobody may look into.
        if t == TABLE:
            longer = self.b.op("buffer_set", (buffer, integer(0), self.new(ROW)), t)
            row = self.keep(
                self.b.op("buffer_get", (self.some.choice([longer, self.keep(longer)]), integer(0)), t.item)
            )
            self.keep(self.b.op("buffer_get", (row, integer(0)), INT))
        elif t == BufferT(TREE):
            longer = self.keep(self.b.op("buffer_set", (buffer, integer(0), self.get(TREE)), t))
            self.keep(self.b.op("tag", (self.keep(self.b.op("buffer_get", (longer, integer(0)), TREE)),), INT))
        else:
            self.keep(self.b.op("buffer_get", (buffer, integer(0)), t.item))

    def take(self) -> None:
        rest, item = self.b.ops("buffer_take", (self.get(ROW), integer(0)), (ROW, INT))
        self.keep(rest)
        self.keep(item)

    def apart(self) -> None:
        t = self.some.choice([TupleT((INT, ROW)), PAIR])
        types = t.items if isinstance(t, TupleT) else tuple(f for _, f in self.program.structs[t.name].fields)
        value = self.get(t)
        if self.some.random() < 0.5:
            for v in self.b.ops("destruct", (value,), types):
                self.keep(v)
        else:
            index = self.some.randrange(len(types))
            self.keep(self.b.op("get", (value,), types[index], index=index))

    # ---- blocks
    def block(self, outs: tuple[Type, ...], size: int = 3, also: tuple[Var, ...] = ()) -> Block:
        known = list(self.known)
        self.known += also
        self.depth += 1
        self.b.open()
        for _ in range(self.some.randint(0, size)):
            self.statement()
        made = self.b.close(Yield()) if not outs else None
        if made is None:
            values = tuple(self.get(t) for t in outs)
            made = self.b.close(Yield(values))
        self.depth -= 1
        self.known = known
        return made

    def outs(self) -> tuple[Type, ...]:
        return tuple(self.some.choice(TYPES) for _ in range(self.some.randint(1, 2)))

    def branch(self) -> None:
        types = self.outs()
        then, orelse = self.block(types), self.block(types)
        self.known += self.b.if_(self.get(BOOL), then, orelse, types)

    def option(self) -> None:
        value = self.get(OptionT(ROW))
        held = self.b.op("is_some", (value,), BOOL)
        self.b.open()
        inner = self.b.op("unwrap", (value,), ROW)
        then = self.b.close(Yield((inner,)))
        orelse = self.block((ROW,), 1)
        self.known += self.b.if_(held, then, orelse, (ROW,))

    def match(self) -> None:
        subject = self.get(TREE)
        types = self.outs()
        arms = []
        for case, fields in ENUMS["Tree"].cases:
            params = tuple(self.b.var(t) for _, t in fields)
            arms.append(Arm(case, params, self.block(types, 2, params)))
        self.known += self.b.match(subject, arms, types)

    def loop(self) -> None:
        carried = self.outs()
        label = self.b.label()
        i, params = self.b.var(INT), tuple(self.b.var(t) for t in carried)
        inits = tuple(self.get(t) for t in carried)
        known = list(self.known)
        self.b.open()
        done = self.b.op("ge", (i, integer(3)), BOOL)
        self.b.open()
        leave = self.b.close(Exit(label, params))
        self.b.open()
        stay = self.b.close(Yield())
        self.b.if_(done, leave, stay)
        self.known += (i, *params)
        self.depth += 1
        for _ in range(self.some.randint(1, 3)):
            self.statement()
        values = tuple(self.get(t) for t in carried)
        self.depth -= 1
        following = self.b.op("add", (i, integer(1)), INT)
        body = self.b.close(Yield((following, *values)))
        self.known = known
        self.known += self.b.loop(label, (i, *params), (integer(0), *inits), body, carried)

    def scope(self) -> None:
        types = self.outs()
        label = self.b.label()
        self.labels.append((label, types))
        body = self.block(types)
        self.labels.pop()
        self.known += self.b.scope(label, body, types)

    def leave(self) -> None:
        """Sometimes exit or fault."""
        cond = self.get(BOOL)
        self.depth += 1
        known = list(self.known)
        self.b.open()
        if self.some.random() < 0.3:
            text = self.b.op("str", (), STR, text="no")
            out = self.b.close(Fault("HybError", (text,)))
        else:
            label, types = self.some.choice(self.labels) if self.labels else (None, ())
            if label is None:
                out = self.b.close(Fault("IndexError", (self.get(INT), integer(3))))
            else:
                values = tuple(self.get(t) for t in types)
                out = self.b.close(Exit(label, values))
        self.known = known
        self.depth -= 1
        self.b.open()
        stay = self.b.close(Yield())
        self.b.if_(cond, out, stay)

    def call(self) -> None:
        if not self.program.fns:
            return
        fn = self.some.choice(list(self.program.fns.values()))
        args = tuple(self.get(p.type) for p in fn.params)
        self.known += self.b.call(fn.name, args, fn.results)

    def parallel(self) -> None:
        item = self.some.choice([INT, ROW, TREE])
        index = self.b.var(INT)
        labels, self.labels = self.labels, []
        body = self.block((item,), 3, (index,))
        self.labels = labels
        self.keep(self.b.parallel(BufferT(item), index, integer(3), body))
