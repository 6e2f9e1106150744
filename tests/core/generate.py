"""Random Core programs: well formed, terminating, full of sharing, branches, exits and faults."""

from __future__ import annotations

import random

from hybridc.core.builder import Builder, integer
from hybridc.core.ir import (
    BOOL,
    INT,
    RETURN,
    STR,
    U8,
    Arm,
    Atom,
    Block,
    BufferT,
    EnumDef,
    EnumT,
    Exit,
    Fault,
    Fn,
    OptionT,
    Program,
    StructDef,
    StructT,
    Tail,
    TupleT,
    Type,
    Var,
    Yield,
)

B = BufferT(INT)
BB = BufferT(B)
PAIR = StructT("Pair")
TREE = EnumT("Tree")
BOTH = TupleT((B, INT))
NEST = StructT("Nest")
TYPES: tuple[Type, ...] = (INT, B, BB, PAIR, TREE, BOTH, OptionT(B), OptionT(PAIR), NEST, BufferT(TREE))


def program_of(seed: int, size: int = 12, functions: int = 3) -> Program:
    """The program for a seed; its functions are f0, f1, ..., each calling only earlier ones and itself."""
    p = Program()
    p.structs["str"] = StructDef("str", (("bytes", BufferT(U8)), ("size", INT), ("count", INT)))
    p.structs["Pair"] = StructDef("Pair", (("a", B), ("n", INT), ("b", B)))
    p.structs["Nest"] = StructDef("Nest", (("p", PAIR), ("t", TREE)))
    p.enums["Tree"] = EnumDef(
        "Tree", (("Nil", ()), ("Leaf", (("x", B),)), ("Node", (("l", TREE), ("r", TREE), ("p", PAIR))))
    )
    rng = random.Random(seed)
    for i in range(functions):
        fn = _Maker(rng, p, f"f{i}", size).fn()
        p.fns[fn.name] = fn
    return p


class _Maker:
    def __init__(self, rng: random.Random, program: Program, name: str, size: int):
        self.rng = rng
        self.program = program
        self.name = name
        self.b = Builder()
        self.budget = size * 4
        self.size = size
        self.env: list[Var] = []
        self.labels: list[tuple[int, tuple[Type, ...]]] = []
        self.loops = 0

    def fn(self) -> Fn:
        params = [self.b.var(INT, "n")] + [self.b.var(self.type(), "p") for _ in range(self.rng.randint(1, 3))]
        self.params = [p.type for p in params]
        self.results = tuple(self.type() for _ in range(self.rng.randint(1, 2)))
        self.env = list(params)
        self.labels = [(RETURN, self.results)]
        body = self.block(self.results, 0)
        return Fn(self.name, tuple(params), self.results, body)

    def type(self) -> Type:
        return self.rng.choice(TYPES)

    def block(self, results: tuple[Type, ...], depth: int, may_leave: bool = True) -> Block:
        env = list(self.env)
        self.b.open()
        for _ in range(self.rng.randint(0, max(1, self.size // (depth + 1)))):
            if self.budget <= 0:
                break
            self.budget -= 1
            self.statement(depth)
        tail: Tail = Yield(tuple(self.atom(t) for t in results))
        if may_leave and depth and self.rng.random() < 0.2:
            tail = self.leave()
        self.env = env
        return self.b.close(tail)

    def leave(self) -> Tail:
        kind = self.rng.random()
        if kind < 0.25:
            return Fault("ValueError", (self.b.op("str", [], STR, text="no"),))
        if kind < 0.35:
            return Fault("IndexError", (integer(3), self.int()))
        if not self.labels:
            return Fault("HybError")
        label, types = self.rng.choice(self.labels)
        return Exit(label, tuple(self.atom(t) for t in types))

    # ---- values
    def add(self, v: Var) -> Var:
        self.env.append(v)
        return v

    def known(self, t: Type) -> Var | None:
        found = [v for v in self.env if v.type == t]
        return self.rng.choice(found[-6:]) if found else None

    def int(self) -> Atom:
        return self.known(INT) if self.rng.random() < 0.4 and self.known(INT) else integer(self.rng.randint(-2, 4))  # type: ignore

    def cond(self) -> Var:
        return self.b.op(self.rng.choice(("lt", "gt")), [self.int(), self.int()], BOOL)

    def atom(self, t: Type, depth: int = 0) -> Atom:
        if t == INT:
            return self.int()
        v = self.known(t)
        if v is not None and (depth > 2 or self.rng.random() < 0.75):
            return v
        return self.add(self.fresh(t, depth + 1))

    def fresh(self, t: Type, depth: int) -> Var:
        op = self.b.op
        match t:
            case BufferT():
                return op("buffer_new", [integer(self.rng.randint(0, 3))] if t != BufferT(TREE) else [integer(0)], t)
            case StructT(name):
                return op("struct", [self.atom(f, depth) for _, f in self.program.structs[name].fields], t)
            case TupleT(items):
                return op("tuple", [self.atom(i, depth) for i in items], t)
            case OptionT(item):
                if self.rng.random() < 0.3:
                    return op("none", [], t)
                return op("some", [self.atom(item, depth)], t)
            case EnumT():
                cases = self.program.enums["Tree"].cases[: 1 if depth > 3 else 3]
                name, fields = self.rng.choice(cases)
                return op("enum", [self.atom(f, depth) for _, f in fields], t, case=name)
        raise TypeError(t)

    def buffer(self) -> tuple[Var, Type]:
        t = self.rng.choice((B, B, BB))
        b = self.atom(t)
        assert isinstance(b, Var)
        return self.b.op("buffer_resize", [b, integer(3)], t), t.item

    # ---- statements
    def statement(self, depth: int) -> None:
        choices = [self.make, self.set, self.set, self.read, self.take, self.parts, self.parts, self.bulk, self.unsafe]
        choices.append(self.look)
        if depth < 4:
            choices += [self.if_, self.match, self.option, self.scope, self.call]
            if self.loops < 2:
                choices += [self.loop, self.loop, self.parallel]
        self.rng.choice(choices)(depth)

    def make(self, depth: int) -> None:
        t = self.type()
        if t == INT:
            self.add(self.b.op(self.rng.choice(("add", "sub")), [self.int(), self.int()], INT))
        else:
            self.add(self.fresh(t, 1))

    def set(self, depth: int) -> None:
        b, item = self.buffer()
        i, v = integer(self.rng.randint(0, 2)), self.atom(item)
        self.add(self.b.op("buffer_set", [b, i, v], b.type))

    def read(self, depth: int) -> None:
        b, item = self.buffer()
        self.add(b)
        self.add(self.b.op("buffer_get", [b, integer(self.rng.randint(0, 2))], item))
        if self.rng.random() < 0.3:
            self.add(self.b.op("buffer_len", [b], INT))

    def take(self, depth: int) -> None:
        b, item = self.buffer()
        after, v = self.b.ops("buffer_take", [b, integer(self.rng.randint(0, 2))], [b.type, item])
        self.add(after)
        self.add(v)

    def bulk(self, depth: int) -> None:
        b, _ = self.buffer()
        if self.rng.random() < 0.5:
            args = [b, *(integer(self.rng.randint(0, top)) for top in (1, 1, 2))]
            self.add(self.b.op("buffer_move", args, b.type))
        else:
            source = self.b.op("buffer_resize", [self.atom(b.type), integer(2)], b.type)
            if self.rng.random() < 0.3:
                source = b
            self.add(self.b.op("buffer_copy", [b, integer(0), source, integer(0), integer(2)], b.type))
            self.add(source)

    def look(self, depth: int) -> None:
        """A copy of a part, for reading and perhaps for more."""
        source, item = self.buffer()
        self.add(source)
        new = self.b.op("buffer_new", [integer(2)], source.type)
        start = integer(self.rng.randint(0, 1))
        part = self.b.op("buffer_copy", [new, integer(0), source, start, integer(2)], source.type)
        if self.rng.random() < 0.3:
            self.add(part)
        if depth < 4:
            env = list(self.env)
            self.env.append(part)
            cond, types = self.cond(), self.outs()
            then = self.block(types, depth + 1)
            self.env = env
            for v in self.b.if_(cond, then, self.block(types, depth + 1, isinstance(then.tail, Yield)), types):
                self.add(v)
        self.add(self.b.op("buffer_get", [part, integer(self.rng.randint(0, 1))], item))

    def unsafe(self, depth: int) -> None:
        if self.rng.random() < 0.5:
            self.add(self.b.op("mod", [self.int(), self.int()], INT))
        else:
            self.add(self.b.op("buffer_resize", [self.atom(B), self.int()], B))

    def parts(self, depth: int) -> None:
        t = self.rng.choice((PAIR, BOTH, NEST))
        whole = self.atom(t)
        fields = t.items if isinstance(t, TupleT) else tuple(f for _, f in self.program.structs[t.name].fields)
        if self.rng.random() < 0.2:
            for v in self.b.ops("destruct", [whole], fields):
                self.add(v)
            return
        for _ in range(self.rng.randint(1, 3)):
            i = self.rng.randrange(len(fields))
            self.add(self.b.op("get", [whole], fields[i], index=i))

    def outs(self) -> tuple[Type, ...]:
        return tuple(self.type() for _ in range(self.rng.randint(0, 2)))

    def if_(self, depth: int) -> None:
        types, cond = self.outs(), self.cond()
        then = self.block(types, depth + 1)
        orelse = self.block(types, depth + 1, isinstance(then.tail, Yield))
        for v in self.b.if_(cond, then, orelse, types):
            self.add(v)

    def match(self, depth: int) -> None:
        types, subject = self.outs(), self.atom(TREE)
        arms = []
        for i, (name, fields) in enumerate(self.program.enums["Tree"].cases):
            vs = tuple(self.b.var(t, f) for f, t in fields)
            env = list(self.env)
            self.env += vs
            arms.append(Arm(name, vs, self.block(types, depth + 1, i > 0)))
            self.env = env
        for v in self.b.match(subject, arms, types):
            self.add(v)

    def option(self, depth: int) -> None:
        t = self.rng.choice((OptionT(B), OptionT(PAIR)))
        types, subject = self.outs(), self.atom(t)
        some = self.b.op("is_some", [subject], BOOL)
        env = list(self.env)
        self.b.open()
        self.add(self.b.op("unwrap", [subject], t.item))
        inner = self.block(types, depth + 1, False)
        first = self.b.close(Yield())
        self.env = env
        orelse = self.block(types, depth + 1)
        for v in self.b.if_(some, Block(first.stmts + inner.stmts, inner.tail), orelse, types):
            self.add(v)

    def scope(self, depth: int) -> None:
        types, label = self.outs(), self.b.label()
        self.labels.append((label, types))
        body = self.block(types, depth + 1, False)
        self.labels.pop()
        for v in self.b.scope(label, body, types):
            self.add(v)

    def loop(self, depth: int) -> None:
        types, label = self.outs(), self.b.label()
        kinds = [self.type() for _ in range(self.rng.randint(0, 3))]
        inits = [self.atom(t) for t in kinds]
        turn = self.b.var(INT, "turn")
        params = [turn] + [self.b.var(t, "q") for t in kinds]
        env = list(self.env)
        self.env += params
        self.loops += 1
        self.b.open()
        done = self.b.op("ge", [turn, integer(self.rng.randint(1, 3))], BOOL)
        self.b.open()
        values = tuple(self.atom(t) for t in types)
        stop = self.b.close(Exit(label, values))
        self.b.if_(done, stop, Block((), Yield()))
        head = self.b.close(Yield())
        self.env = env + params
        self.labels.append((label, types))
        body = self.block(tuple(kinds), depth + 1, False)
        self.labels.pop()
        self.loops -= 1
        self.env = env
        after = self.b.var(INT)
        self.b.open()
        self.b.add(type(head.stmts[0])((after,), "add", (turn, integer(1))))
        more = self.b.close(Yield())
        tail = Yield((after, *body.tail.values))
        whole = Block(head.stmts + body.stmts + more.stmts, tail)
        for v in self.b.loop(label, params, [integer(0), *inits], whole, types):
            self.add(v)

    def parallel(self, depth: int) -> None:
        t, index = self.rng.choice((B, INT, TREE)), self.b.var(INT, "i")
        env, labels = list(self.env), self.labels
        self.env.append(index)
        self.labels = []
        self.loops += 1
        body = self.block((t,), depth + 1, False)
        self.loops -= 1
        self.env, self.labels = env, labels
        self.add(self.b.parallel(BufferT(t), index, integer(self.rng.randint(0, 3)), body))

    def call(self, depth: int) -> None:
        if self.loops:
            return
        names = list(self.program.fns)
        if names and self.rng.random() < 0.7:
            fn = self.program.fns[self.rng.choice(names)]
            args = [self.atom(p.type) for p in fn.params]
            for v in self.b.call(fn.name, args, fn.results):
                self.add(v)
            return
        n = self.known(INT)
        if n is None or n.id != 1:
            return
        some = self.b.op("gt", [n, integer(0)], BOOL)
        less = self.b.op("sub", [n, integer(1)], INT)
        fewer = self.b.op("minimum", [less, integer(2)], INT)
        env = list(self.env)
        self.b.open()
        args = [self.atom(t) for t in self.params[1:]]
        outs = self.b.call(self.name, [fewer, *args], self.results)
        then = self.b.close(Yield(tuple(outs)))
        self.env = list(env)
        self.b.open()
        orelse = self.b.close(Yield(tuple(self.atom(t) for t in self.results)))
        self.env = env
        for v in self.b.if_(some, then, orelse, self.results):
            self.add(v)
