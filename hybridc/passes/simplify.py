"""Local rewriting: constants are computed, copies and dead branches go, what was just put together is not taken apart.

Nothing that can fault or has an effect is removed or moved; floats are only computed here where every backend rounds
the same way. Spans stay with their statements.
"""

from __future__ import annotations

from hybridc.base.immutable import replace
from hybridc.base.types import FLOATS, INTS
from hybridc.core.interp_scalar import scalar_function
from hybridc.core.ir import (
    BOOL,
    INT,
    U8,
    Arm,
    Atom,
    Block,
    Call,
    Const,
    EnumT,
    Exit,
    Fn,
    Fused,
    If,
    Loop,
    Match,
    Op,
    Parallel,
    Prim,
    Program,
    Scope,
    Stmt,
    Tail,
    TensorT,
    Var,
    Yield,
)
from hybridc.core.types import elem, shape, small
from hybridc.core.values import InterpFault
from hybridc.core.walk import (
    all_blocks,
    diverges,
    exits_to,
    map_atoms,
    map_blocks,
    map_tail,
    rebuilt,
    substitute,
    unchanged,
    with_body,
)
from hybridc.passes.counted import within
from hybridc.passes.each import each

EXACT = frozenset(
    "add sub mul div floordiv mod pow neg abs sign minimum maximum bit_and bit_or bit_xor bit_not shl shr lshr mulhi"
    " ctz eq ne lt le gt ge not cast bitcast sqrt floor round".split()
)
"""Scalar operators whose result is the same on every machine (`pow`, `floordiv` and `mod` for integers)."""


def run(program: Program) -> Program:
    """Every function, simplified once from top to bottom."""
    return each(program, "simplify", lambda fn: simplify_fn(fn, program))


def simplify_fn(fn: Fn, program: Program) -> Fn:
    return with_body(fn, _Simplifier(program).block(fn.body))


class _Simplifier:
    def __init__(self, program: Program):
        self.program = program
        self.value: dict[int, Atom] = {}
        """What stands for a variable."""
        self.made: dict[int, Op] = {}
        """The operator that made a variable, its arguments simplified."""

    def atom(self, a: Atom) -> Atom:
        while isinstance(a, Var) and a.id in self.value:
            a = self.value[a.id]
        return a

    def block(self, b: Block) -> Block:
        out: list[Stmt] = []
        ended = self.into(b, out)
        return rebuilt(b, out, ended)

    def into(self, b: Block, out: list[Stmt]) -> Tail:
        """Append the block's statements; its tail, or the tail of a branch that is always taken and ends it."""
        for stmt in b.stmts:
            tail = self.statement(map_atoms(stmt, self.atom), out)
            if tail is not None:
                return tail
            if out and diverges(out[-1]):
                return Yield()
        return map_tail(b.tail, self.atom)

    def bind(self, outs: tuple[Var, ...], values: tuple[Atom, ...]) -> None:
        self.value.update((o.id, v) for o, v in zip(outs, values, strict=True))

    def splice(self, b: Block, outs: tuple[Var, ...], out: list[Stmt]) -> Tail | None:
        """A branch that is certainly taken: its statements stand here."""
        tail = self.into(b, out)
        if out and diverges(out[-1]):
            return Yield()
        if isinstance(tail, Yield):
            self.bind(outs, tail.values)
            return None
        return tail

    def statement(self, stmt: Stmt, out: list[Stmt]) -> Tail | None:
        match stmt:
            case Op():
                self.operator(stmt, out)
            case Call() | Fused():
                out.append(stmt)
            case If():
                return self.if_(stmt, out)
            case Match():
                return self.match(stmt, out)
            case Loop():
                self.loop(stmt, out)
            case Scope(outs, label, body, _):
                if not exits_to(body, label):
                    return self.splice(body, outs, out)
                out.append(map_blocks(stmt, self.block))
            case Parallel():
                out.append(map_blocks(stmt, self.block))
        return None

    # ---- control
    def if_(self, stmt: If, out: list[Stmt]) -> Tail | None:
        cond = stmt.cond
        if isinstance(cond, Const):
            return self.splice(stmt.then if cond.value else stmt.orelse, stmt.outs, out)
        inverted = self.made.get(cond.id)
        if inverted is not None and inverted.op == "not":
            # What was inverted may be known here, within a branch that it decided.
            swapped = If(stmt.outs, self.atom(inverted.args[0]), stmt.orelse, stmt.then, stmt.span)
            return self.if_(swapped, out)
        self.value[cond.id] = Const(True, BOOL)
        then = self.block(stmt.then)
        self.value[cond.id] = Const(False, BOOL)
        orelse = self.block(stmt.orelse)
        del self.value[cond.id]
        if isinstance(then.tail, Yield) and isinstance(orelse.tail, Yield):
            if then.stmts or orelse.stmts:
                reached = not any(diverges(s) for s in (*then.stmts[-1:], *orelse.stmts[-1:]))
            else:
                reached = True
            if reached:
                self.join(stmt, cond, then, orelse, out)
                return None
        self.put(stmt, If(stmt.outs, cond, then, orelse, stmt.span), out)
        return None

    def put(self, old: Stmt, new: Stmt, out: list[Stmt]) -> None:
        out.append(old if unchanged(old, new) else new)

    def join(self, stmt: If, cond: Atom, then: Block, orelse: Block, out: list[Stmt]) -> None:
        """Results that are the same from both branches need no branch; nothing at all needs no `if`."""
        outs: list[Var] = []
        firsts: list[Atom] = []
        seconds: list[Atom] = []
        inside = {o.id for b in (then, orelse) for s in b.stmts for o in _defined(s)}
        for o, x, y in zip(stmt.outs, then.tail.values, orelse.tail.values, strict=True):
            if x == y and _identical(x, y) and not (isinstance(x, Var) and x.id in inside):
                self.value[o.id] = x
            elif x == Const(True, BOOL) and y == Const(False, BOOL):
                self.value[o.id] = cond
            else:
                outs.append(o)
                firsts.append(x)
                seconds.append(y)
        if outs or then.stmts or orelse.stmts:
            if len(outs) < len(stmt.outs):
                then, orelse = Block(then.stmts, Yield(tuple(firsts))), Block(orelse.stmts, Yield(tuple(seconds)))
            self.put(stmt, If(tuple(outs), cond, then, orelse, stmt.span), out)

    def match(self, stmt: Match, out: list[Stmt]) -> Tail | None:
        subject = stmt.subject
        made = self.made.get(subject.id) if isinstance(subject, Var) else None
        if made is not None and made.op == "enum":
            arm = next(a for a in stmt.arms if a.case == made.attr("case"))
            self.bind(arm.fields, made.args)
            return self.splice(arm.body, stmt.outs, out)
        arms = []
        for arm in stmt.arms:
            # In an arm the subject is the case with these fields; a match on it again is decided.
            if isinstance(subject, Var):
                self.made[subject.id] = Op((subject,), "enum", arm.fields, (("case", arm.case),), stmt.span)
            arms.append(Arm(arm.case, arm.fields, self.block(arm.body)))
        if isinstance(subject, Var):
            if made is None:
                self.made.pop(subject.id, None)
            else:
                self.made[subject.id] = made
        self.put(stmt, Match(stmt.outs, subject, tuple(arms), stmt.span), out)
        return None

    def loop(self, stmt: Loop, out: list[Stmt]) -> None:
        """A parameter that every turn hands on unchanged is its initial value."""
        again = stmt.body.tail.values if isinstance(stmt.body.tail, Yield) else ()
        kept: list[int] = []
        if again or isinstance(stmt.body.tail, Yield):
            if stmt.body.stmts and diverges(stmt.body.stmts[-1]):
                kept = list(range(len(stmt.params)))
            else:
                for i, (p, init, value) in enumerate(zip(stmt.params, stmt.inits, again, strict=True)):
                    value = self.atom(value)
                    if value == p or (value == init and _identical(value, init)):
                        self.value[p.id] = init
                    else:
                        kept.append(i)
        else:
            kept = list(range(len(stmt.params)))
        body = self.block(stmt.body)
        if isinstance(body.tail, Yield) and len(kept) < len(stmt.params) and body.tail.values:
            body = Block(body.stmts, Yield(tuple(body.tail.values[i] for i in kept)))
        params, inits = tuple(stmt.params[i] for i in kept), tuple(stmt.inits[i] for i in kept)
        loop = _without_idle(Loop(stmt.outs, stmt.label, params, inits, body, stmt.span))
        self.settled(loop)
        self.put(stmt, loop, out)

    def settled(self, loop: Loop) -> None:
        """A result that is one value from outside, whichever way the loop is left, is that value."""
        ways = [b.tail.values for b in all_blocks(loop.body) if isinstance(b.tail, Exit) and b.tail.label == loop.label]
        if not ways:
            return
        inside = within(loop)
        for i, o in enumerate(loop.outs):
            first = ways[0][i]
            same = all(w[i] == first and _identical(w[i], first) for w in ways)
            if same and not (isinstance(first, Var) and first.id in inside):
                self.value[o.id] = first

    # ---- operators
    def operator(self, op: Op, out: list[Stmt]) -> None:
        value = self.known(op)
        if value is not None:
            self.value[op.outs[0].id] = value
            return
        if op.op == "destruct" and isinstance(op.args[0], Var):
            made = self.made.get(op.args[0].id)
            if made is not None and made.op in ("tuple", "struct"):
                self.bind(op.outs, made.args)
                return
            if made is not None and made.op == "str":
                self.value.update((o.id, found) for i, o in enumerate(op.outs) if (found := _text_field(made, i)))
        if op.op == "tensor_view":
            op = self.of_whole(op)
        elif op.op == "shaped" and small(op.outs[0].type) and self.is_zero(op.args[0]):
            sizes = shape(op.outs[0].type)
            zeros = (Const(0.0, elem(op.outs[0].type)), *(Const(n, INT) for n in sizes))
            op = Op(op.outs, "broadcast", zeros, (("axes", (None,) * len(sizes)),), op.span)
        out.append(op)
        if len(op.outs) == 1:
            self.made[op.outs[0].id] = op

    def text_byte(self, data: Op, at: object) -> Const | None:
        """A byte of a constant text."""
        text = self.made.get(data.args[0].id) if isinstance(data.args[0], Var) else None
        if text is None or text.op != "str" or not isinstance(at, int):
            return None
        value = text.attr("text")
        assert isinstance(value, str)
        found = value.encode()
        return Const(found[at], U8) if 0 <= at < len(found) else None

    def is_zero(self, a: Atom) -> bool:
        made = self.made.get(a.id) if isinstance(a, Var) else None
        return made is not None and made.op == "zero"

    def of_whole(self, view: Op) -> Op:
        """A view of a part is one of the whole."""
        part, at, *sizes = view.args
        made = self.made.get(part.id) if isinstance(part, Var) else None
        if made is None or made.op != "tensor_view" or not isinstance(at, Const) or not isinstance(made.args[1], Const):
            return view
        return replace(view, args=(made.args[0], Const(at.value + made.args[1].value, INT), *sizes))

    def known(self, op: Op) -> Atom | None:
        """An atom that equals the operator's result."""
        args = op.args
        if op.op in EXACT and all(isinstance(a, Const) for a in args):
            return _computed(op)
        made = self.made.get(args[0].id) if args and isinstance(args[0], Var) else None
        match op.op:
            case "get" if made is not None and made.op in ("tuple", "struct"):
                return made.args[op.attr("index")]  # type: ignore[call-overload, no-any-return]
            case "get" if made is not None and made.op == "str":
                return _text_field(made, op.attr("index"))
            case "buffer_get" if made is not None and made.op == "get" and isinstance(args[1], Const):
                return self.text_byte(made, args[1].value)
            case "is_some" if made is not None and made.op in ("some", "none"):
                return Const(made.op == "some", BOOL)
            case "unwrap" if made is not None and made.op == "some":
                return made.args[0]
            case "tag" if made is not None and made.op == "enum" and isinstance(args[0].type, EnumT):
                names = [n for n, _ in self.program.enums[args[0].type.name].cases]
                return Const(names.index(made.attr("case")), op.outs[0].type)  # type: ignore[arg-type]
            case "not" if made is not None and made.op == "not":
                return made.args[0]
            case "cast" if args[0].type == op.outs[0].type:
                return args[0]
            case "map" if op.attr("fn") in ("mul", "div"):
                return _scaled_whole(op)
            case "accumulate" if made is not None and made.op == "zero" and args[1].type == op.outs[0].type:
                return args[1]
            case "select":
                if isinstance(args[0], Const):
                    return args[1] if args[0].value else args[2]
                if args[1] == args[2] and _identical(args[1], args[2]):
                    return args[1]
        return _identity(op)


def _text_field(text: Op, index: object) -> Const | None:
    """The size or the number of code points of a constant text."""
    value = text.attr("text")
    assert isinstance(value, str)
    return Const(len(value.encode()) if index == 1 else len(value), INT) if index != 0 else None


def _without_idle(loop: Loop) -> Loop:
    """Without the parameters that turn out, now that the body is simplified, to be handed on unchanged."""
    while isinstance(loop.body.tail, Yield) and not (loop.body.stmts and diverges(loop.body.stmts[-1])):
        again = loop.body.tail.values
        idle = [
            i
            for i, (p, init, value) in enumerate(zip(loop.params, loop.inits, again, strict=True))
            if value == p or (value == init and _identical(value, init))
        ]
        if not idle:
            break
        kept = [i for i in range(len(loop.params)) if i not in idle]
        tail = Yield(tuple(again[i] for i in kept))
        body = substitute(Block(loop.body.stmts, tail), {loop.params[i]: loop.inits[i] for i in idle})
        params, inits = tuple(loop.params[i] for i in kept), tuple(loop.inits[i] for i in kept)
        loop = replace(loop, params=params, inits=inits, body=body)
    return loop


def _defined(stmt: Stmt) -> tuple[Var, ...]:
    return (stmt.out,) if isinstance(stmt, Parallel) else stmt.outs


def _identical(a: Atom, b: Atom) -> bool:
    """Not only equal: 0.0 and -0.0 are two values."""
    return not isinstance(a, Const) or repr(a.value) == repr(b.value)  # type: ignore[union-attr]


def _computed(op: Op) -> Const | None:
    source, target = op.args[0].type, op.outs[0].type
    assert isinstance(source, Prim) and isinstance(target, Prim)
    if source in FLOATS and op.op in ("pow", "floordiv", "mod"):
        return None
    try:
        value = scalar_function(op.op, source, target, bool(op.attr("checked", False)))(*(a.value for a in op.args))  # type: ignore[union-attr]
    except InterpFault:
        return None
    return None if value != value else Const(value, target)


def _identity(op: Op) -> Atom | None:
    """x + 0 and the like, of integers; of floats what is the same bit by bit."""
    if len(op.args) != 2 or op.args[0].type not in INTS:
        return _scaled(op)
    a, b = op.args
    if isinstance(b, Const):
        if b.value == 0 and op.op in ("add", "sub", "bit_or", "bit_xor", "shl", "shr", "lshr"):
            return a
        if b.value == 1 and op.op in ("mul", "floordiv", "pow"):
            return a
        if b.value == 0 and op.op == "mul":
            return b
    if isinstance(a, Const):
        if (a.value == 0 and op.op in ("add", "bit_or", "bit_xor")) or (a.value == 1 and op.op == "mul"):
            return b
        if a.value == 0 and op.op == "mul":
            return a
    if a == b:
        if op.op in ("eq", "le", "ge"):
            return Const(True, BOOL)
        if op.op in ("ne", "lt", "gt"):
            return Const(False, BOOL)
        if op.op in ("sub", "bit_xor"):
            return Const(0, a.type)  # type: ignore[arg-type]
        if op.op in ("minimum", "maximum", "bit_and", "bit_or"):
            return a
    return None


def _scaled_whole(op: Op) -> Atom | None:
    """x * 1 and x / 1, of tensors."""
    (a, b), axes = op.args, op.attr("axes")
    out, ones = op.outs[0].type, [isinstance(x, Const) and x.type in FLOATS and x.value == 1 for x in op.args]
    assert isinstance(out, TensorT) and isinstance(axes, tuple)
    if ones[1] and a.type == out and axes[0] == tuple(range(len(out.dims))):
        return a
    if ones[0] and op.attr("fn") == "mul" and b.type == out and axes[1] == tuple(range(len(out.dims))):
        return b
    return None


def _scaled(op: Op) -> Atom | None:
    """x * 1 and x / 1, of floats."""
    if op.op not in ("mul", "div") or op.args[0].type not in FLOATS:
        return None
    a, b = op.args
    if isinstance(b, Const) and b.value == 1:
        return a
    return b if op.op == "mul" and isinstance(a, Const) and a.value == 1 else None


__all__ = ["run", "simplify_fn"]
