"""What turns of a loop compute ahead (passes/lanes.py), in the lanes of vectors: masks say which lanes take part.

A block is written once for all lanes. Where it branches by what differs between lanes, both ways are written one after
the other, each for the lanes that take it; a loop goes on while any lane does. What a lane leaves a construct with is
kept when it leaves: what it computes afterwards, beside the others, is never looked at, and nothing of it can fault.
What all lanes that are still there have alike, such as a counter, stays one number (`varying`).

The lanes are turns that may never come: a turn before them may leave the loop. So the time is taken while a loop
goes on without the first lane, which is the turn that is due: the others get as long as the first one took, and
`PATIENCE` besides, then those that are still in the loop are given up (`alive`). The turns from the first one given up
on are computed again when they are due. So a turn that would not end keeps nobody waiting before it is due.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from hybridc.core.ir import INT, Atom, Block, BufferT, Exit, If, Loop, Op, Prim, Scope, Stmt, TensorT, Var, Yield
from hybridc.core.walk import all_blocks, exits_to, outs_of, statements
from hybridc.llvm.emitter import FnEmitter, zero_leaf
from hybridc.llvm.layout import HEADER, SCALARS
from hybridc.llvm.scalar_ops import emit_scalar
from hybridc.llvm.tensor_access import tensor_of
from hybridc.llvm.wide import Wide
from hybridc.passes.counted import Counted
from hybridc.passes.lanes import Ahead, ahead

LONG = 32
"""Bytes of the shortest vectors that are worth it."""
LACKING = frozenset({"mul", "floordiv", "shr", "abs", "minimum", "maximum", "cast"})
"""Operators of 64-bit numbers for which those take several instructions."""
COSTLY, HEAVY = 8, 16
"""The weight of a division, where other operators have 1, and that of a way that is worth a branch."""
ENOUGH = 4
"""Turns of a loop that are worth lanes."""
STRIDE = 2048
"""Turns of loops between two polls, and two looks at the time."""
PLACED = ("buffer_get", "index", "place")
"""Operators for which lanes may be at a place that is none."""
PATIENCE = 32
"""Strides that lanes may take beyond what the first one took."""


@dataclass
class Target:
    """What lanes leave to: where the values lie that they left with, and, if it matters, which lanes did."""

    outs: tuple[Var, ...]
    values: list[str]
    arrived: str | None


def lanes_of(e: FnEmitter, loop: Loop, turn: Counted | None) -> Lanes | None:
    """What a loop's turns have in lanes, if anything is worth it; called where the loop begins."""
    if turn is None or e.module.vector_bytes < LONG:
        return None
    found = ahead(e.fn, loop, turn, e.module.program)
    return None if found is None or lacks(found, e.module.vector_bytes) else Lanes(e, loop, turn, found)


def width(vector_bytes: int) -> int:
    """Of how many turns: two vectors of the widest numbers, so that one computes while the other waits."""
    return vector_bytes // 4


def lacks(ahead: Ahead, vector_bytes: int) -> Op | None:
    """An operator in a loop that vectors as short as these have no instruction for."""
    loops = (s for s in statements(ahead.block) if isinstance(s, Loop) and vector_bytes <= LONG)
    return next((x for s in loops for x in statements(s.body) if isinstance(x, Op) and x.op in LACKING
                 and INT in (x.args[0].type, x.outs[0].type)), None)


class Lanes:
    """Of one loop: `instead` is written in the place of what is computed ahead."""

    def __init__(self, e: FnEmitter, loop: Loop, turn: Counted, ahead: Ahead):
        self.e, self.ahead, self.index, self.stop = e, ahead, turn.index, turn.stop
        self.k = Wide(e, width(e.module.vector_bytes))
        self.varying = _varying(ahead)
        self.env: dict[int, str] = {}
        self.targets: dict[int, Target] = {}
        self.results = {o.id: e.alloca(self.size(o.type), 64) for s in ahead.whole for o in s.outs}  # type: ignore[union-attr]
        self.first, self.end = e.alloca(8), e.alloca(8)
        """The turns whose results are there."""
        self.left, self.credit = e.alloca(8), e.alloca(8)
        self.alive = self.memory("i1")
        start = e.one(loop.inits[turn.place])
        e.store("i64", start, self.end)
        self.few = e.icmp("slt", e.sub(e.one(turn.stop), start), str(ENOUGH))
        """The loop has so few turns that they are computed one by one."""
        self.instead: dict[int, Callable[[Callable[[], None]], None]] = {
            id(s): partial(self.result, s) for s in ahead.whole}

    def llvm(self, t: object) -> str:
        assert isinstance(t, Prim)
        return SCALARS[t.name][0]

    def size(self, t: object) -> int:
        assert isinstance(t, Prim)
        return self.k.width * SCALARS[t.name][1]

    # ---- the loop around
    def look(self) -> None:
        """If nothing is there for the turn, computes for it and the following ones."""
        e, k = self.e, self.k
        index, stop = e.one(self.index), e.one(self.stop)
        with e.when(e.icmp("eq", index, e.load("i64", self.end))):
            self.env = {p.id: k.numbers(e.one(p)) for p in self.ahead.counters}
            mask = k.mask(e.sub(stop, index))
            e.store("i64", str(STRIDE), self.left)
            e.store("i64", "0", self.credit)
            self.put(self.alive, "i1", "true")
            there = self.block(self.ahead.block, mask)
            assert there is not None, "a turn's numbers are computed to their end"
            yielded = self.ahead.block.tail.values
            for where, value in zip(self.results.values(), yielded, strict=True):
                k.store(self.llvm(value.type), self.vector(value), where)
            bits = f"i{k.width}"
            missing = e.op2("xor", bits, self.bits(there), "-1")
            count = e.call(bits, f"@llvm.cttz.{bits}", [(bits, missing), ("i1", "false")])
            e.store("i64", index, self.first)
            e.store("i64", e.add(index, e.convert("zext", bits, count, "i64")), self.end)

    def result(self, stmt: Stmt, plainly: Callable[[], None]) -> None:
        """Where a turn comes to a statement: what it defines. The first one is due then."""
        e, outs = self.e, outs_of(stmt)
        alone, wide, end = e.label("alone"), e.label("wide"), e.label("end")
        e.branch(self.few, alone, wide)
        e.start(alone)
        plainly()
        single, last = [e.one(o) for o in outs], e.here
        e.jump(end)
        e.start(wide)
        if stmt is self.ahead.whole[0]:
            self.look()
        place = e.sub(e.one(self.index), e.load("i64", self.first))
        types = [self.llvm(o.type) for o in outs]
        found = [e.load(t, e.element(self.results[o.id], t, place)) for o, t in zip(outs, types, strict=True)]
        here = e.here
        e.jump(end)
        e.start(end)
        for o, t, a, b in zip(outs, types, single, found, strict=True):
            e.bind(o, (e.phi(t, [(a, last), (b, here)]),))

    # ---- values
    def scalar(self, a: Atom) -> str:
        """One for all lanes."""
        if isinstance(a, Var) and a.id in self.env:
            return self.env[a.id]
        return self.e.one(a)

    def vector(self, a: Atom) -> str:
        operand = self.scalar(a)
        return operand if self.varies(a) else self.k.splat(self.llvm(a.type), operand)

    def varies(self, a: Atom) -> bool:
        return isinstance(a, Var) and a.id in self.varying

    def typed(self, var: Var) -> str:
        llvm = self.llvm(var.type)
        return self.k.vector(llvm) if var.id in self.varying else llvm

    def given(self, var: Var, a: Atom) -> str:
        """An atom as what a variable holds."""
        if var.id in self.varying:
            return self.k.of(self.llvm(var.type), self.vector(a))
        return self.scalar(a)

    def bits(self, mask: str) -> str:
        return self.e.convert("bitcast", self.k.vector("i1"), mask, f"i{self.k.width}")

    def memory(self, llvm: str) -> str:
        """A vector that changes; LLVM keeps it in registers."""
        size = {"i1": 1, "double": 64, "float": 32}.get(llvm) or int(llvm[1:])
        return self.e.alloca(self.k.width * size // 8, 64)

    def put(self, where: str, llvm: str, value: str) -> None:
        self.e.do(f"store {self.k.vector(llvm)} {self.k.of(llvm, value)}, ptr {where}, align 64")

    def take(self, where: str, llvm: str) -> str:
        return self.e.ins(f"load {self.k.vector(llvm)}, ptr {where}, align 64")

    # ---- blocks: each method gives the lanes that go on after it, None if none can
    def block(self, b: Block, mask: str) -> str | None:
        for s in b.stmts:
            after = self.stmt(s, mask)
            if after is None:
                return None
            mask = after
        if isinstance(b.tail, Exit):
            self.leave(self.targets[b.tail.label], b.tail.values, mask)
            return None
        return mask

    def leave(self, target: Target, values: Sequence[Atom], mask: str) -> None:
        k = self.k
        for out, where, value in zip(target.outs, target.values, values, strict=True):
            llvm = self.llvm(out.type)
            self.put(where, llvm, k.select(mask, llvm, self.vector(value), self.take(where, llvm)))
        if target.arrived is not None:
            self.put(target.arrived, "i1", k.op2("or", "i1", self.take(target.arrived, "i1"), mask))

    def stmt(self, s: Stmt, mask: str) -> str | None:
        match s:
            case Op():
                return self.op(s, mask)
            case If():
                return self.divided(s, mask) if self.varies(s.cond) else self.branch(s, mask)
            case Loop():
                return self.loop(s, mask)
            case Scope():
                return self.scope(s, mask)
        raise AssertionError(f"{s} is not computed ahead")

    def op(self, s: Op, mask: str) -> str:
        out = s.outs[0]
        if s.op in PLACED:
            self.env[out.id], mask = self.placed(s, mask)
            return mask
        code, operand = (self.k, self.vector) if out.id in self.varying else (self.e, self.scalar)
        types = tuple(a.type for a in s.args)
        args = tuple(operand(a) for a in s.args)  # type: ignore[operator]
        self.env[out.id] = emit_scalar(code, s.op, args, types, out.type, dict(s.attrs))  # type: ignore[arg-type]
        return mask

    def placed(self, s: Op, mask: str) -> tuple[str, str]:
        """Places, or the elements there. The lanes that have none are given up: their turns say so themselves."""
        e, k = self.e, self.k
        of, place = s.args[::-1] if s.op == "place" else s.args
        places = self.vector(place)
        if isinstance(of.type, TensorT):
            tensor = tensor_of(e, of)
            base, length = tensor.data, tensor.dims[0]
        elif isinstance(of, Var) and isinstance(of.type, BufferT):
            block = e.one(of)
            base, length = e.ptr_add(block, HEADER), e.buffer_length(block) if of.id in self.ahead.ends else ""
        else:
            base, length = "", self.vector(of)
        if length:
            n = k.splat("i64", length) if base else length
            if not isinstance(of.type, BufferT):  # a place from the end
                places = k.select(k.icmp("slt", places, "0"), "i64", k.op2("add", "i64", places, n), places)
            mask = k.op2("and", "i1", mask, k.icmp("ult", places, n))
        if not base:
            return places, mask
        llvm = self.llvm(s.outs[0].type)
        if isinstance(of.type, BufferT) and place in self.ahead.counters:
            return k.load(llvm, e.beyond(base, "i8" if llvm == "i1" else llvm, e.one(place)), mask), mask
        return k.gather(llvm, base, places, mask), mask

    # ---- constructs
    def divided(self, s: If, mask: str) -> str | None:
        """By what differs between lanes: both ways."""
        k, cond = self.k, self.vector(s.cond)
        yes = k.op2("and", "i1", mask, cond)
        no = k.op2("and", "i1", mask, k.op2("xor", "i1", cond, "true"))
        after_yes, then = self.way(s.then, yes, s.outs)
        after_no, orelse = self.way(s.orelse, no, s.outs)
        if after_yes is None or after_no is None:
            self.env.update(zip((o.id for o in s.outs), orelse if after_yes is None else then, strict=False))
            return after_no if after_yes is None else after_yes
        for o, a, b in zip(s.outs, then, orelse, strict=True):
            self.env[o.id] = k.select(cond, self.llvm(o.type), a, b)
        if (after_yes, after_no) == (yes, no):
            return mask
        return k.op2("or", "i1", after_yes, after_no)

    def way(self, b: Block, mask: str, outs: tuple[Var, ...]) -> tuple[str | None, list[str]]:
        """One of them: the lanes that go on after it, and what it yields. One that takes long is passed over where no
        lane takes it."""
        e = self.e
        if _weight(b) < HEAVY:
            after = self.block(b, mask)
            return after, [] if after is None else [self.vector(a) for a in b.tail.values]
        run, end, before = e.label("run"), e.label("end"), e.here
        e.branch(e.icmp("ne", self.bits(mask), "0", f"i{self.k.width}"), run, end)
        e.start(run)
        after = self.block(b, mask)
        values = [] if after is None else [self.given(o, a) for o, a in zip(outs, b.tail.values, strict=True)]
        made = [*values, after or "zeroinitializer"]
        last = e.here
        e.jump(end)
        e.start(end)
        types = [*(self.k.vector(self.llvm(o.type)) for o in outs[: len(values)]), self.k.vector("i1")]
        met = [e.phi(t, [(v, last), ("zeroinitializer", before)]) for t, v in zip(types, made, strict=True)]
        return None if after is None else met[-1], met[:-1]

    def branch(self, s: If, mask: str) -> str | None:
        """All lanes go one way."""
        e = self.e
        labels, end = (e.label("then"), e.label("else")), e.label("end")
        e.branch(self.scalar(s.cond), *labels)
        ways: list[tuple[list[str], str]] = []
        none = True
        for label, b in zip(labels, (s.then, s.orelse), strict=True):
            e.start(label)
            after = self.block(b, mask)
            values = [self.nothing(o) for o in s.outs]
            if after is not None:
                values = [self.given(o, a) for o, a in zip(s.outs, b.tail.values, strict=True)]
                none = False
            ways.append(([*values, after or "zeroinitializer"], e.here))
            e.jump(end)
        e.start(end)
        types = [*map(self.typed, s.outs), self.k.vector("i1")]
        met = [e.phi(t, [(values[i], block) for values, block in ways]) for i, t in enumerate(types)]
        self.env.update(zip((o.id for o in s.outs), met, strict=False))
        return None if none else met[-1]

    def nothing(self, var: Var) -> str:
        return "zeroinitializer" if var.id in self.varying else zero_leaf(self.llvm(var.type))

    def target(self, outs: tuple[Var, ...], counts: bool) -> Target:
        values = [self.memory(self.llvm(o.type)) for o in outs]
        for o, where in zip(outs, values, strict=True):
            self.put(where, self.llvm(o.type), zero_leaf(self.llvm(o.type)))
        arrived = self.memory("i1") if counts else None
        if arrived is not None:
            self.put(arrived, "i1", "false")
        return Target(outs, values, arrived)

    def after(self, target: Target) -> None:
        for o, where in zip(target.outs, target.values, strict=True):
            self.env[o.id] = self.take(where, self.llvm(o.type))

    def scope(self, s: Scope, mask: str) -> str | None:
        if not exits_to(s.body, s.label):
            after = self.block(s.body, mask)
            if after is not None:
                self.env.update((o.id, self.vector(a)) for o, a in zip(s.outs, s.body.tail.values, strict=True))
            return after
        target = self.targets[s.label] = self.target(s.outs, True)
        after = self.block(s.body, mask)
        if after is not None:
            self.leave(target, s.body.tail.values, after)
        self.after(target)
        assert target.arrived is not None
        return self.take(target.arrived, "i1")

    def loop(self, s: Loop, mask: str) -> str | None:
        e, k = self.e, self.k
        target = self.targets[s.label] = self.target(s.outs, _leaves_further(s))
        initial = [self.given(p, a) for p, a in zip(s.params, s.inits, strict=True)]
        head, body, done, before = e.label("lanes"), e.label("body"), e.label("done"), e.here
        e.jump(head)
        e.start(head)
        phis = [e.phi_slot(self.typed(p)) for p in s.params]
        active, slot = e.phi_slot(k.vector("i1"))
        self.env.update((p.id, name) for p, (name, _) in zip(s.params, phis, strict=True))
        going = self.watched(active)
        e.branch(e.icmp("ne", self.bits(going), "0", f"i{k.width}"), body, done)
        e.start(body)
        again = self.block(s.body, going)
        incoming = [([*initial, mask], before)]
        if again is None:
            e.jump(done)
        else:
            incoming.append(([*(self.given(p, a) for p, a in zip(s.params, s.body.tail.values, strict=True)), again],
                             e.here))
            e.jump(head)
        for i, (_, place) in enumerate([*phis, (active, slot)]):
            e.fill_phi(place, [(values[i], block) for values, block in incoming])
        e.start(done)
        self.after(target)
        if target.arrived is not None:
            return self.take(target.arrived, "i1")
        return k.op2("and", "i1", mask, self.take(self.alive, "i1"))

    def watched(self, active: str) -> str:
        """The lanes that go on with a loop: at times it polls, and looks whether the first lane is still there."""
        e, k = self.e, self.k
        left = e.sub(e.load("i64", self.left), "1")
        e.store("i64", left, self.left)
        look, on, here = e.label("look"), e.label("on"), e.here
        e.branch(e.icmp("eq", left, "0"), look, on)
        with e.out_of_line(look):
            e.poll()
            e.store("i64", str(STRIDE), self.left)
            due = e.ins(f"extractelement {k.vector('i1')} {active}, i64 0")
            credit = e.add(e.load("i64", self.credit), e.select(due, "i64", "1", "-1"))
            over = e.icmp("slt", credit, str(-PATIENCE))
            e.store("i64", e.select(over, "i64", "0", credit), self.credit)
            given_up = k.op2("and", "i1", active, k.splat("i1", over))
            kept = k.op2("xor", "i1", given_up, "true")
            self.put(self.alive, "i1", k.op2("and", "i1", self.take(self.alive, "i1"), kept))
            remaining, looked = k.op2("and", "i1", active, kept), e.here
            e.jump(on)
        e.start(on)
        return e.phi(k.vector("i1"), [(active, here), (remaining, looked)])


def _weight(b: Block) -> int:
    """How long a way takes, about; a loop looks itself whether a lane takes it."""
    return sum(COSTLY if isinstance(s, Op) and s.op in ("div", "sqrt", "rsqrt") else 1 for s in statements(b))


def _leaves_further(s: Loop) -> bool:
    """Do lanes leave it for somewhere else than what follows it?"""
    inside = {s.label, *(x.label for x in statements(s.body) if isinstance(x, (Loop, Scope)))}
    return any(isinstance(b.tail, Exit) and b.tail.label not in inside for b in all_blocks(s.body))


def _varying(ahead: Ahead) -> set[int]:
    """The variables that differ between lanes that are in the same place. Lanes that go through a loop together are in
    the same turn of it; they leave it in different ones."""
    found = {p.id for p in ahead.counters}

    def varies(a: Atom) -> bool:
        return isinstance(a, Var) and a.id in found

    def mark(outs: Sequence[Var], values: Sequence[Atom]) -> None:
        found.update(o.id for o, a in zip(outs, values, strict=False) if varies(a))

    def look(b: Block) -> None:
        for s in b.stmts:
            match s:
                case Op() if s.op in PLACED or any(map(varies, s.args)):
                    found.update(o.id for o in s.outs)
                case If():
                    look(s.then)
                    look(s.orelse)
                    for arm in (s.then, s.orelse):
                        mark(s.outs, arm.tail.values if isinstance(arm.tail, Yield) else ())
                    if varies(s.cond):
                        found.update(o.id for o in s.outs)
                case Loop():
                    found.update(o.id for o in s.outs)
                    mark(s.params, s.inits)
                    look(s.body)
                    if isinstance(s.body.tail, Yield):
                        mark(s.params, s.body.tail.values)
                case Scope():
                    found.update(o.id for o in s.outs)
                    look(s.body)

    size = 0
    while size != len(found):
        size = len(found)
        look(ahead.block)
    return found
