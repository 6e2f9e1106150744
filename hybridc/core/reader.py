"""Reads Core's text (core/printer.py). Whatever the text is, the answer is a program or diagnostics."""

from __future__ import annotations

from hybridc.base.diagnostic import Diagnostic
from hybridc.base.recursion import deep_recursion
from hybridc.base.types import PRIMS
from hybridc.core.ir import (
    BOOL,
    F64,
    INT,
    Arm,
    Atom,
    Block,
    BufferT,
    Call,
    Const,
    EnumDef,
    EnumT,
    Exit,
    Fault,
    Fn,
    Fused,
    If,
    Loop,
    Match,
    Op,
    OptionT,
    Parallel,
    Program,
    Scope,
    Stmt,
    StructDef,
    StructT,
    Tail,
    TensorT,
    TupleT,
    Type,
    Var,
    Yield,
)
from hybridc.core.tokens import Stop, Token, Tokens

MAX_NESTING = 2000
"""Blocks within blocks."""
MAX_TYPE_NESTING = 100


def read(text: str, path: str = "<core>") -> tuple[Program | None, list[Diagnostic]]:
    """The program, or the first mistake found. The program is not verified."""
    with deep_recursion(10 * MAX_NESTING):
        try:
            return _Reader(text, path).program(), []
        except Stop as stop:
            return None, [stop.diagnostic]


class _Reader(Tokens):
    def __init__(self, text: str, path: str):
        super().__init__(text, path)
        self.vars: dict[int, Var] = {}
        self.depth = 0
        self.enums, self.structs = self.declared()

    # ---- declarations
    def program(self) -> Program:
        program = Program()
        while self.next.kind != "end":
            start = self.next
            if self.accept("struct"):
                name = self.name()
                self.expect("{")
                program.structs[self.once(name, program.structs, start)] = StructDef(name, self.fields("}"))
            elif self.accept("enum"):
                name = self.name()
                program.enums[self.once(name, program.enums, start)] = EnumDef(name, self.cases())
            elif self.next.text in ("fn", "hidden"):
                fn = self.fn()
                program.fns[self.once(fn.name, program.fns, start)] = fn
            else:
                raise self.expected("struct, enum or fn")
        return program

    def once(self, name: str, table: dict, start: Token) -> str:
        if name in table:
            raise self.wrong(f"{name} is declared twice", start, "HYB904")
        return name

    def fields(self, close: str) -> tuple[tuple[str, Type], ...]:
        found: list[tuple[str, Type]] = []
        while not self.accept(close):
            if found:
                self.expect(",")
            name = self.name()
            self.expect(":")
            found.append((name, self.type()))
        return tuple(found)

    def cases(self) -> tuple[tuple[str, tuple[tuple[str, Type], ...]], ...]:
        self.expect("{")
        found = []
        while not self.accept("}"):
            name = self.name()
            found.append((name, self.fields(")") if self.accept("(") else ()))
        return tuple(found)

    def fn(self) -> Fn:
        hidden = self.accept("hidden")
        self.expect("fn")
        name = self.name()
        title = self.string() if self.next.kind == "string" else ""
        self.vars = {}
        self.expect("(")
        params: list[Var] = []
        while not self.accept(")"):
            if params:
                self.expect(",")
            params.append(self.definition())
        self.expect("->")
        self.expect("(")
        results = self.types()
        adjoint = self.name() if self.accept("adjoint") else ""
        checkpoint = self.accept("checkpoint")
        span = self.place()
        return Fn(name, tuple(params), results, self.block(), title, hidden, span, adjoint, checkpoint)

    # ---- types
    def types(self, depth: int = 0) -> tuple[Type, ...]:
        """After the opening bracket, up to the closing one."""
        found: list[Type] = []
        while not self.accept(")"):
            found.append(self.type(depth))
            if not self.accept(","):
                self.expect(")")
                break
        return tuple(found)

    def type(self, depth: int = 0) -> Type:
        t = self.type_core(depth)
        while self.accept("?"):
            depth = self.deeper(depth)
            t = OptionT(t)
        return t

    def deeper(self, depth: int) -> int:
        if depth >= MAX_TYPE_NESTING:
            raise self.wrong("types nested this deep", code="HYB905")
        return depth + 1

    def type_core(self, depth: int) -> Type:
        token = self.next
        if self.accept("("):
            return TupleT(self.types(self.deeper(depth)))
        if token.kind == "word" and token.text in PRIMS:
            self.take()
            elem = PRIMS[token.text]
            return TensorT(elem, self.dims(), self.accept("device")) if self.accept("[") else elem
        if self.accept("buffer"):
            self.expect("[")
            item = self.type(self.deeper(depth))
            self.expect("]")
            return BufferT(item)
        name = self.name()
        if name in self.enums:
            return EnumT(name)
        if name in self.structs:
            return StructT(name)
        raise self.wrong(f"there is no type {name}", token, "HYB906")

    def dims(self) -> tuple[int | None, ...]:
        found: list[int | None] = []
        while not self.accept("]"):
            if found:
                self.expect(",")
            found.append(None if self.accept("?") else self.integer())
        return tuple(found)

    # ---- variables and atoms
    def var_token(self) -> tuple[str, int, Token]:
        if self.next.kind != "var":
            raise self.expected("a variable")
        token = self.take()
        name, _, number = token.text.rpartition("%")
        if len(number) > 18:
            raise self.wrong("a variable's number this long", token, "HYB903")
        if name.startswith("`"):
            name = self.unquote(Token("quoted", name, token.at))
        return name, int(number), token

    def definition(self) -> Var:
        name, number, token = self.var_token()
        self.expect(":")
        if number in self.vars:
            raise self.wrong(f"%{number} is defined twice", token, "HYB904")
        var = Var(number, self.type(), name)
        self.vars[number] = var
        return var

    def atom(self) -> Atom:
        token = self.next
        if token.kind == "var":
            name, number, _ = self.var_token()
            var = self.vars.get(number)
            if var is None or var.name != name:
                raise self.wrong(f"{token.text} is not defined", token, "HYB906")
            return var
        if self.accept("true"):
            return Const(True, BOOL)
        if self.accept("false"):
            return Const(False, BOOL)
        if token.kind == "word" and token.text in PRIMS:
            self.take()
            self.expect("(")
            value = self.number()
            self.expect(")")
            return Const(value, PRIMS[token.text])
        value = self.number()
        return Const(value, INT if isinstance(value, int) else F64)

    def atoms(self, close: str) -> tuple[Atom, ...]:
        found: list[Atom] = []
        while not self.accept(close):
            if found:
                self.expect(",")
            found.append(self.atom())
        return tuple(found)

    def attribute(self, depth: int = 0) -> object:
        if depth > MAX_TYPE_NESTING:
            raise self.wrong("attributes nested this deep", code="HYB905")
        token = self.next
        if token.kind == "string":
            return self.string()
        for word, value in (("true", True), ("false", False), ("none", None)):
            if self.accept(word):
                return value
        if self.accept("("):
            items: list[object] = []
            while not self.accept(")"):
                items.append(self.attribute(depth + 1))
                if not self.accept(","):
                    self.expect(")")
                    break
            return tuple(items)
        return self.number()

    def attributes(self) -> tuple[tuple[str, object], ...]:
        found: dict[str, object] = {}
        while not self.accept("]"):
            if found:
                self.expect(",")
            token = self.next
            name = self.name()
            if name in found:
                raise self.wrong(f"{name} is given twice", token, "HYB904")
            self.expect("=")
            found[name] = self.attribute()
        return tuple(sorted(found.items(), key=lambda item: item[0]))

    # ---- statements
    def block(self) -> Block:
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise self.wrong("blocks nested this deep", code="HYB905")
        self.expect("{")
        stmts: list[Stmt] = []
        while True:
            tail = self.tail()
            if tail is not None:
                break
            stmts.append(self.statement())
        self.expect("}")
        self.depth -= 1
        return Block(tuple(stmts), tail)

    def values(self) -> tuple[Atom, ...]:
        if self.next.text == "}" or self.next.kind == "place":
            return ()
        found = [self.atom()]
        while self.accept(","):
            found.append(self.atom())
        return tuple(found)

    def tail(self) -> Tail | None:
        if self.accept("yield"):
            return Yield(self.values())
        if self.accept("exit"):
            label = self.integer()
            return Exit(label, self.values())
        if self.accept("fault"):
            kind = self.name()
            values = self.values()
            return Fault(kind, values, self.place())
        return None

    def statement(self) -> Stmt:
        outs: list[tuple[str, int, Token, Type]] = []
        while self.next.kind == "var":
            name, number, token = self.var_token()
            self.expect(":")
            outs.append((name, number, token, self.type()))
            if not self.accept(","):
                self.expect("=")
                break
        stmt = self.construct(len(outs))
        made = []
        for name, number, token, t in outs:
            if number in self.vars:
                raise self.wrong(f"%{number} is defined twice", token, "HYB904")
            self.vars[number] = var = Var(number, t, name)
            made.append(var)
        return stmt(tuple(made))

    def construct(self, outs: int):
        """What follows the results, as a function of them: they are not yet visible in it."""
        start = self.next
        if self.accept("call"):
            fn = self.name()
            self.expect("(")
            args = self.atoms(")")
            span = self.place()
            return lambda o: Call(o, fn, args, span)
        if self.accept("if"):
            cond = self.atom()
            span = self.place()
            then = self.block()
            self.expect("else")
            orelse = self.block()
            return lambda o: If(o, cond, then, orelse, span)
        if self.accept("match"):
            subject = self.atom()
            span = self.place()
            arms = self.arms()
            return lambda o: Match(o, subject, arms, span)
        if self.accept("loop"):
            label = self.integer()
            params, inits = self.start()
            span = self.place()
            body = self.block()
            return lambda o: Loop(o, label, params, inits, body, span)
        if self.accept("scope"):
            label = self.integer()
            span = self.place()
            body = self.block()
            return lambda o: Scope(o, label, body, span)
        if self.accept("fused"):
            device = self.accept("device")
            span = self.place()
            body = self.block()
            return lambda o: Fused(o, body, span, device)
        if self.accept("parallel"):
            index = self.definition()
            self.expect("<")
            count = self.atom()
            span = self.place()
            body = self.block()
            if outs != 1:
                raise self.wrong("a parallel has one result", start, "HYB906")
            return lambda o: Parallel(o[0], index, count, body, span)
        if self.next.kind not in ("word", "quoted"):
            raise self.expected("a statement")
        op = self.name()
        attrs = self.attributes() if self.accept("[") else ()
        self.expect("(")
        args = self.atoms(")")
        span = self.place()
        return lambda o: Op(o, op, args, attrs, span)

    def arms(self) -> tuple[Arm, ...]:
        self.expect("{")
        found: list[Arm] = []
        while not self.accept("}"):
            case = self.name()
            self.expect("(")
            fields: list[Var] = []
            while not self.accept(")"):
                if fields:
                    self.expect(",")
                fields.append(self.definition())
            found.append(Arm(case, tuple(fields), self.block()))
        return tuple(found)

    def start(self) -> tuple[tuple[Var, ...], tuple[Atom, ...]]:
        self.expect("(")
        defs: list[tuple[str, int, Token, Type]] = []
        inits: list[Atom] = []
        while not self.accept(")"):
            if defs:
                self.expect(",")
            name, number, token = self.var_token()
            self.expect(":")
            t = self.type()
            self.expect("=")
            defs.append((name, number, token, t))
            inits.append(self.atom())
        params = []
        for name, number, token, t in defs:
            if number in self.vars:
                raise self.wrong(f"%{number} is defined twice", token, "HYB904")
            self.vars[number] = var = Var(number, t, name)
            params.append(var)
        return tuple(params), tuple(inits)
