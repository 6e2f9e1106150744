"""Minima (or maxima) each of which waits for the one before: `x = min(xs[k], x + step)` for k = 0, 1, ...

A processor comes to one of these in three cycles: a sum, a comparison, a choice. Vectors come to all of theirs at once
(Hillis and Steele, "Data parallel algorithms", 1986): the elements are made independent of the step, by taking from
each what is added on the way from the first one; then each takes the minimum with its neighbour, with the one two
places before it, and with the one four places before it. Only then is the one before the vector asked for, so that a
vector waits for one minimum. Where something begins anew, nothing goes from what is before to what comes after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hybridc.core.ir import INT, Const, Op
from hybridc.llvm.buffer_ops import Results, owned
from hybridc.llvm.code import Code
from hybridc.llvm.emitter import FnEmitter
from hybridc.llvm.module import Module

SHORTEST = 4
"""Words of the shortest vectors that are worth it."""
TOGETHER = 4
"""Vectors that are under way at once, since each of them waits for itself."""
LIMITS = {"minimum": (1 << 63) - 1, "maximum": -(1 << 63)}
NAMES = {"minimum": "smin", "maximum": "smax"}


@dataclass(frozen=True)
class Kind:
    """`of`: minima or maxima. `steps`: is something added from one to the next? `anew`: do some begin anew?"""

    of: str
    steps: bool
    anew: bool


def _scans(e: FnEmitter, op: Op) -> Results:
    return (("true" if e.module.vector_bytes >= 8 * SHORTEST else "false",),)


def _buffer_scan(e: FnEmitter, op: Op) -> Results:
    target, at, xs, n, before, step, *anew = op.args
    block = owned(e, INT, e.one(target))
    kind = Kind(str(op.attr("of")), step != Const(0, INT), bool(anew))
    marks = e.buffer_data(e.one(anew[0])) if anew else "null"
    e.call("void", _kernel(e.module, kind), [
        ("ptr", e.element(e.buffer_data(block), "i64", e.one(at))), ("ptr", e.buffer_data(e.one(xs))),
        ("i64", e.one(n)), ("i64", e.one(before)), ("i64", e.one(step)), ("ptr", marks)])
    return ((block,),)


def _kernel(module: Module, kind: Kind) -> str:
    """void (target, xs, n, before, step, anew): n words at `target`."""

    def make(name: str) -> None:
        params = [("ptr", "noalias %target"), ("ptr", "noalias %xs"), ("i64", "%n"), ("i64", "%before"),
                  ("i64", "%step"), ("ptr", "%anew")]
        code = Code(module, name, params, "void", attributes="noinline nounwind")
        done, before = "0", "%before"
        if module.vector_bytes >= 8 * SHORTEST:
            vectors = _Vectors(code, kind, module.vector_bytes // 8)
            for count in (TOGETHER, 1):
                done, before = vectors.loop(done, before, count)
        with code.loop("%n", [("i64", before)], start=done) as turn:
            x = code.load("i64", code.element("%xs", "i64", turn.index))
            far = code.add(turn.values[0], "%step") if kind.steps else turn.values[0]
            best = code.call("i64", f"@llvm.{NAMES[kind.of]}.i64", [("i64", x), ("i64", far)])
            if kind.anew:
                mark = code.icmp("ne", code.load("i64", code.element("%anew", "i64", turn.index)), "0")
                best = code.select(mark, "i64", x, best)
            code.store("i64", best, code.element("%target", "i64", turn.index))
            turn.next = [best]
        code.ret()
        code.finish()

    return module.helper(("kernel.scan", kind), make)


class _Vectors:
    """The loops over vectors, of `width` words."""

    def __init__(self, code: Code, kind: Kind, width: int):
        self.code, self.kind, self.width = code, kind, width
        self.words, self.choice = f"<{width} x i64>", f"<{width} x i1>"
        self.limit = f"splat (i64 {LIMITS[kind.of]})"
        if kind.steps:
            places = "<" + ", ".join(f"i64 {i}" for i in range(width)) + ">"
            self.ramp = code.ins(f"mul {self.words} {self.splat('%step')}, {places}")
            self.whole = self.splat(code.mul("%step", str(width)))

    def loop(self, start: str, before: str, count: int) -> tuple[str, str]:
        """`count` vectors at a turn, as long as so many are left: where it ended, and the last word."""
        code, kind = self.code, self.kind
        size = count * self.width
        left = code.sub("%n", start)
        end = code.add(start, code.sub(left, code.op2("urem", "i64", left, str(size))))
        first = self.splat(code.add(before, "%step") if kind.steps else before)
        with code.loop(end, [(self.words, first)], start=start, step=size, rolled=True) as turn:
            carry = turn.values[0]
            places = [code.add(turn.index, str(i * self.width)) for i in range(count)]
            for place, alone in zip(places, [self.alone(p) for p in places], strict=True):
                found, carry = self.joined(*alone, carry)
                code.do(f"store {self.words} {found}, ptr {code.element('%target', 'i64', place)}, align 8")
            turn.next = [carry]
        last = code.ins(f"extractelement {self.words} {turn.values[0]}, i64 0")
        return end, code.sub(last, "%step") if kind.steps else last

    def alone(self, place: str) -> tuple[str, str]:
        """A vector without what comes before it, as its first word would have it; and which of its words begin anew, or
        come after one that does."""
        value, marks = self.load("%xs", place), ""
        if self.kind.steps:
            value = self.code.ins(f"sub {self.words} {value}, {self.ramp}")
        if self.kind.anew:
            marks = self.code.ins(f"icmp ne {self.words} {self.load('%anew', place)}, zeroinitializer")
        distance = 1
        while distance < self.width:
            near = self.shifted(self.words, self.limit, value, distance)
            value = self.chosen(marks, value, self.best(value, near))
            if marks:
                others = self.shifted(self.choice, "zeroinitializer", marks, distance)
                marks = self.code.ins(f"or {self.choice} {marks}, {others}")
            distance *= 2
        return value, marks

    def joined(self, value: str, marks: str, carry: str) -> tuple[str, str]:
        """The vector with what comes before it, and what comes before the next one."""
        last = self.last(self.words, value)
        found = self.chosen(marks, value, self.best(value, carry))
        carry = self.chosen(self.last(self.choice, marks) if marks else "", last, self.best(last, carry))
        if self.kind.steps:
            found = self.code.ins(f"add {self.words} {found}, {self.ramp}")
            carry = self.code.ins(f"add {self.words} {carry}, {self.whole}")
        return found, carry

    # ---- instructions
    def load(self, base: str, place: str) -> str:
        return self.code.ins(f"load {self.words}, ptr {self.code.element(base, 'i64', place)}, align 8")

    def splat(self, x: str) -> str:
        first = self.code.ins(f"insertelement {self.words} poison, i64 {x}, i64 0")
        return self.pick(self.words, first, "poison", [0] * self.width)

    def last(self, vector: str, x: str) -> str:
        return self.pick(vector, x, "poison", [self.width - 1] * self.width)

    def shifted(self, vector: str, fill: str, x: str, distance: int) -> str:
        """Each element `distance` places further."""
        return self.pick(vector, fill, x, [*range(distance), *range(self.width, 2 * self.width - distance)])

    def pick(self, vector: str, a: str, b: str, lanes: Sequence[int]) -> str:
        numbers = ", ".join(f"i32 {i}" for i in lanes)
        return self.code.ins(f"shufflevector {vector} {a}, {vector} {b}, <{self.width} x i32> <{numbers}>")

    def best(self, a: str, b: str) -> str:
        name = f"@llvm.{NAMES[self.kind.of]}.v{self.width}i64"
        return self.code.call(self.words, name, [(self.words, a), (self.words, b)])

    def chosen(self, marks: str, a: str, b: str) -> str:
        """`a` where there are marks."""
        return self.code.ins(f"select {self.choice} {marks}, {self.words} {a}, {self.words} {b}") if marks else b


ROWS = {"buffer_scan": _buffer_scan, "scans": _scans}
