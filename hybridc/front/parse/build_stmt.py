"""Statements and patterns, as the grammar's rules complete: one method for each rule, named as in `hyb.lark`."""

from __future__ import annotations

from collections.abc import Iterable

from hybridc.front.parse import literals
from hybridc.front.parse.build_base import PYTHON_WORDS, Base, Children, without_tokens
from hybridc.front.parse.lexer import Token
from hybridc.front.parse.syntax import (
    Alternatives,
    Assert,
    Assign,
    Attribute,
    Bind,
    Break,
    Call,
    Case,
    CasePattern,
    Continue,
    Expr,
    ExprStmt,
    Fn,
    For,
    FString,
    If,
    Index,
    Let,
    ListPattern,
    Literal,
    LiteralPattern,
    Match,
    Name,
    Pass,
    Pattern,
    Raise,
    Return,
    Stmt,
    Tuple,
    TuplePattern,
    While,
    Wildcard,
)

Suite = tuple[Stmt, ...]


class Statements(Base):
    jumps: list[Break | Continue]
    """Those that no loop has enclosed yet."""

    def suite(self, c: Children) -> Suite:
        body = (c[1],) if len(c) == 3 else tuple(c[3:-1])
        self.refuse_mut_fn(body)
        return body

    def refuse_mut_fn(self, body: Iterable) -> None:
        for item in body:
            if isinstance(item, Fn) and item.mutates_self:
                self.error("HYB119", "a `mut fn` is a method of a `struct`, an `enum` or a `model`", item.header,
                           "write `fn`; what it changes besides is a `mut` parameter")

    def line(self, c: Children) -> Stmt:
        return c[0]

    # ---- simple statements -------------------------------------------------------------------------------------------
    def let(self, c: Children) -> Stmt:
        annotation = c[3] if len(c) == 6 else None
        return Let(self.span(c[0], c[-1]), c[1], annotation, c[-1], c[0].type == "VAR")

    def assign(self, c: Children) -> Stmt:
        targets = c[0].items if isinstance(c[0], Tuple) else (c[0],)
        for target in targets:
            self._check_target(target)
        return Assign(self.span(c[0], c[2]), targets, None, c[2])

    def augment(self, c: Children) -> Stmt:
        self._check_target(c[0])
        return Assign(self.span(c[0], c[2]), (c[0],), c[1].value[:-1], c[2])

    def _check_target(self, target: Expr) -> None:
        if isinstance(target, Attribute | Index | Name):
            return
        if isinstance(target, Call) and isinstance(target.fn, Name) and target.fn.id == "params":
            self.error("HYB116", "this cannot be assigned to", target.span, "write `set_params(mut m, ...)`")
            return
        self.error("HYB116", "this cannot be assigned to", target.span,
                   "a target is a `var`, an element `xs[i]` or a field `s.f`; `==` compares")

    def expr_statement(self, c: Children) -> Stmt:
        return ExprStmt(c[0].span, c[0])

    def break_statement(self, c: Children) -> Stmt:
        node = Break(self.token_span(c[0]))
        self.jumps.append(node)
        return node

    def continue_statement(self, c: Children) -> Stmt:
        node = Continue(self.token_span(c[0]))
        self.jumps.append(node)
        return node

    def pass_statement(self, c: Children) -> Stmt:
        return Pass(self.token_span(c[0]))

    def return_statement(self, c: Children) -> Stmt:
        return Return(self.span(c[0], c[-1]), c[1] if len(c) == 2 else None)

    def assert_statement(self, c: Children) -> Stmt:
        return Assert(self.span(c[0], c[-1]), c[1], c[3] if len(c) == 4 else None)

    def raise_statement(self, c: Children) -> Stmt:
        return Raise(self.span(c[0], c[1]), c[1])

    # ---- compound statements -----------------------------------------------------------------------------------------
    def if_statement(self, c: Children) -> Stmt:
        orelse: Suite = ()
        rest = c[3:]
        if rest and not isinstance(rest[-1][0], Token):
            orelse = rest.pop()
        for word, cond, then in reversed(rest):
            orelse = (If(self.span(word, (orelse or then)[-1]), cond, then, orelse),)
        return If(self.span(c[0], (orelse or c[2])[-1]), c[1], c[2], orelse)

    def elif_clause(self, c: Children) -> tuple[Token, Expr, Suite]:
        return c[0], c[1], c[2]

    def else_clause(self, c: Children) -> Suite:
        return c[1]

    def while_statement(self, c: Children) -> Stmt:
        self._enclose_jumps(c[0])
        return While(self.span(c[0], c[2][-1]), c[1], c[2])

    def for_statement(self, c: Children) -> Stmt:
        self._enclose_jumps(c[0])
        return For(self.span(c[0], c[4][-1]), c[1], c[3], c[4])

    def _enclose_jumps(self, loop: Token) -> None:
        while self.jumps and self.jumps[-1].span.start > loop.start_pos:
            self.jumps.pop()

    def refuse_jumps(self, after: int) -> None:
        """What is left of `break` and `continue` behind offset `after` stands in no loop."""
        while self.jumps and self.jumps[-1].span.start > after:
            jump = self.jumps.pop()
            word = "break" if isinstance(jump, Break) else "continue"
            self.error("HYB119", f"`{word}` stands outside a loop", jump.span)

    def match_statement(self, c: Children) -> Stmt:
        cases = tuple(x for x in c[5:] if isinstance(x, Case))
        return Match(self.span(c[0], cases[-1]), c[1], cases)

    def case(self, c: Children) -> Case:
        word, pattern, _, guard, body = c
        return Case(self.span(word, body[-1]), pattern, guard, body)

    # ---- what let and for bind ---------------------------------------------------------------------------------------
    def target_name(self, c: Children) -> Pattern:
        return self._binding(c[0])

    def target_group(self, c: Children) -> Pattern:
        return c[1]

    def target_tuple(self, c: Children) -> Pattern:
        return TuplePattern(self.span(c[0], c[-1]), tuple(without_tokens(c)))

    def _binding(self, token: Token) -> Pattern:
        span = self.token_span(token)
        return Wildcard(span) if token.value == "_" else Bind(span, token.value)

    # ---- patterns ----------------------------------------------------------------------------------------------------
    def number_pattern(self, c: Children) -> Pattern:
        value = literals.number(c[-1].value)
        return LiteralPattern(self.span(c[0], c[-1]), -value if len(c) == 2 else value)

    def string_pattern(self, c: Children) -> Pattern:
        if isinstance(c[0], FString):
            self.error("HYB100", "a pattern is a plain string, not an f-string", c[0].span,
                       "use a guard: `case s if ...`")
            return Wildcard(c[0].span)
        assert isinstance(c[0], Literal)
        return LiteralPattern(c[0].span, c[0].value)

    def word_pattern(self, c: Children) -> Pattern:
        return LiteralPattern(self.token_span(c[0]), {"true": True, "false": False, "none": None}[c[0].value])

    def name_pattern(self, c: Children) -> Pattern:
        names: list[Token] = c[0]
        name = names[0].value
        if len(names) == 1 and not name.lstrip("_")[:1].isupper():
            return self._binding(names[0])
        if name in PYTHON_WORDS:
            self.python_words.append(Name(self.token_span(names[0]), name))
        return CasePattern(self.span(names[0], names[-1]), tuple(token.value for token in names), None)

    def case_pattern(self, c: Children) -> Pattern:
        names: list[Token] = c[0]
        args = tuple(without_tokens(c[1:]))
        named = False
        for name, pattern in args:
            if name is not None:
                named = True
            elif named:
                self.error("HYB120", "a field by position stands after one by name", pattern.span)
                break
        return CasePattern(self.span(names[0], c[-1]), tuple(token.value for token in names), args)

    def case_arg(self, c: Children) -> tuple[str | None, Pattern]:
        return (None, c[0]) if len(c) == 1 else (c[0].value, c[2])

    def pattern_group(self, c: Children) -> Pattern:
        return c[1]

    def tuple_pattern(self, c: Children) -> Pattern:
        return TuplePattern(self.span(c[0], c[-1]), tuple(without_tokens(c)))

    def alternatives(self, c: Children) -> Pattern:
        return Alternatives(self.span(c[0], c[-1]), tuple(without_tokens(c)))

    def list_item(self, c: Children) -> tuple[bool, Pattern]:
        return (False, c[0]) if len(c) == 1 else (True, self._binding(c[1]))

    def list_pattern(self, c: Children) -> Pattern:
        items = without_tokens(c)
        rest = None
        for i, (starred, pattern) in enumerate(items):
            if starred and rest is not None:
                self.error("HYB100", "a list pattern has one `*name` at most", pattern.span)
            elif starred:
                rest = i
        return ListPattern(self.span(c[0], c[-1]), tuple(pattern for _, pattern in items), rest)
