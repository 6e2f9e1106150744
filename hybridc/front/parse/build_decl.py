"""Declarations, as the grammar's rules complete: one method for each rule, named as in `hyb.lark`."""

from __future__ import annotations

from hybridc.base.source import Span
from hybridc.front.parse import habits
from hybridc.front.parse.build_base import Children, without_tokens
from hybridc.front.parse.build_expr import Expressions
from hybridc.front.parse.build_stmt import Statements
from hybridc.front.parse.lexer import Token
from hybridc.front.parse.syntax import (
    Argument,
    Const,
    Decl,
    Decorator,
    Enum,
    EnumCase,
    Export,
    Expr,
    ExprStmt,
    Fn,
    FString,
    Import,
    Literal,
    MethodBound,
    Model,
    ModelLet,
    ModelParam,
    ModelState,
    Node,
    Param,
    Pass,
    Struct,
    Test,
    TypeExpr,
    TypeParam,
)


class Declarations(Expressions, Statements):
    def file(self, c: Children) -> list[Decl | ExprStmt]:
        self.refuse_mut_fn(c)
        return c

    def doc(self, c: Children) -> ExprStmt:
        """A string alone, which is documentation where it is the first thing."""
        if isinstance(c[0], FString):
            self.error("HYB100", "a doc is a plain string, not an f-string", c[0].span)
        return ExprStmt(c[0].span, c[0])

    def import_module(self, c: Children) -> Decl:
        names: list[Token] = c[1]
        return Import(self.span(c[0], names[-1]), tuple(name.value for name in names), None)

    def import_names(self, c: Children) -> Decl:
        names = tuple(x for x in c[3:] if isinstance(x, tuple))
        last = c[-2] if isinstance(c[-2], Token) else c[-2][2]
        end = last.end_pos if isinstance(last, Token) else last.end
        return Import(Span(self.path, c[0].start_pos, end), tuple(name.value for name in c[1]), names)

    def imported(self, c: Children) -> tuple[str, str, Span]:
        return c[0].value, c[-1].value, self.span(c[0], c[-1])

    def const(self, c: Children) -> Decl:
        return Const(self.span(c[0], c[3]), c[1].value, self.token_span(c[1]), c[3])

    # ---- functions ---------------------------------------------------------------------------------------------------
    def fn(self, c: Children) -> Fn:
        decorators, mut, word, name, type_params, _, params, close, result, body = c
        first = mut or word
        span = self.span(decorators[0] if decorators else first, body[-1])
        header = self.span(first, result or close)
        self.refuse_jumps(header.end)
        doc, body = self._split_doc(body)
        params = self._typed(params or ())
        return Fn(span, name.value, self.token_span(name), type_params or (), params, result, body, doc, header,
                  mut is not None, False, False, decorators or ())

    def extern(self, c: Children) -> Fn:
        decorators, first, pure, word, name, type_params, _, params, close, result, _ = c
        if pure is not None and pure.value != "pure":
            self.error("HYB100", f"`{pure.value}` means nothing here", self.token_span(pure),
                       "write `extern fn` or `extern pure fn`")
        header = self.span(first, result or close)
        span = self.span(decorators[0] if decorators else first, result or close)
        params = self._typed(params or ())
        return Fn(span, name.value, self.token_span(name), type_params or (), params, result, (), None, header,
                  False, True, pure is not None, decorators or ())

    def _split_doc(self, body: tuple) -> tuple[str | None, tuple]:
        first = body[0]
        if isinstance(first, ExprStmt) and isinstance(first.value, Literal) and isinstance(first.value.value, str):
            return first.value.value, body[1:]
        return None, body

    def _typed(self, params: tuple[Param, ...]) -> tuple[Param, ...]:
        for param in params:
            if param.type is None:
                self.error("HYB121", f"the parameter `{param.name}` needs a type", param.span,
                           f"write `{param.name}: int`, or what else it is")
        return params

    def decorators(self, c: Children) -> tuple[Decorator, ...]:
        return tuple(c)

    def decorator(self, c: Children) -> Decorator:
        args: tuple[Argument, ...] = next((x for x in c if isinstance(x, tuple)), ())
        return Decorator(self.span(c[0], c[-2]), c[1].value, args)

    def result(self, c: Children) -> TypeExpr:
        return c[1]

    def params(self, c: Children) -> tuple[Param, ...]:
        params = tuple(without_tokens(c))
        seen: set[str] = set()
        defaulted = False
        for param in params:
            if param.name in seen:
                self.error("HYB122", f"two parameters are called `{param.name}`", param.span)
            seen.add(param.name)
            if param.default is not None:
                defaulted = True
            elif defaulted:
                self.error("HYB120", f"`{param.name}` has no default but stands after one that has", param.span,
                           "put parameters with defaults last")
                break
        return params

    def param(self, c: Children) -> Param:
        mut = c[0].type == "MUT"
        name: Token = c[mut]
        kind, default = self._type_and_value(c, mut + 1)
        return Param(self.span(c[0], c[-1]), name.value, kind, default, mut)

    def _type_and_value(self, c: Children, at: int) -> tuple[TypeExpr | None, Expr | None]:
        """Of `: T = e`, either of which may be missing."""
        kind = value = None
        for mark, item in zip(c[at::2], c[at + 1 :: 2], strict=False):
            if mark.type == "COLON":
                kind = item
            elif mark.type == "EQUAL":
                value = item
        return kind, value

    def type_params(self, c: Children) -> tuple[TypeParam, ...]:
        return tuple(without_tokens(c))

    def type_param(self, c: Children) -> TypeParam:
        span = self.span(c[0], c[-1])
        if len(c) == 2:
            return TypeParam(span, c[1].value, pack=True)
        return TypeParam(span, c[0].value, c[2].value if len(c) == 3 else None)

    def method_bound(self, c: Children) -> TypeParam:
        name, _, method, _, params, close, result = c
        last = result or close
        bound = MethodBound(self.span(method, last), method.value, params or (), result)
        return TypeParam(self.span(name, last), name.value, None, bound)

    # ---- types that are declared -------------------------------------------------------------------------------------
    def _members(self, items: Children) -> tuple[list, str | None]:
        """The members of a body in order, and its doc."""
        members: list = []
        doc = None
        for i, item in enumerate(without_tokens(items)):
            if not isinstance(item, ExprStmt):
                members.append(item)
            elif i == 0 and isinstance(item.value, Literal):
                doc = str(item.value.value)
            else:
                self.error("HYB119", "a string here says nothing", item.span,
                           "a doc stands first, a comment behind `#`")
        seen: set[str] = set()
        for member in members:
            if not isinstance(member, Pass):
                if member.name in seen:
                    self.error("HYB122", f"two members are called `{member.name}`",
                               member.name_span if isinstance(member, Fn) else member.span)
                seen.add(member.name)
                hook = habits.hook(member.name) if isinstance(member, Fn) else None
                if hook is not None:
                    self.error("HYB123", hook[0], member.name_span, hook[1])
        return [m for m in members if not isinstance(m, Pass)], doc

    def _body_end(self, c: Children) -> Node:
        return next(x for x in reversed(c) if isinstance(x, Node))

    def struct(self, c: Children) -> Decl:
        members, doc = self._members(c[4:])
        fields = tuple(m for m in members if isinstance(m, Param))
        methods = tuple(m for m in members if isinstance(m, Fn))
        span = self.span(c[0], self._body_end(c))
        return Struct(span, c[1].value, self.token_span(c[1]), c[2] or (), fields, methods, doc)

    def field(self, c: Children) -> Param:
        kind, default = self._type_and_value(c, 1)
        return Param(self.span(c[0], c[-2]), c[0].value, kind, default, False)

    def nothing(self, c: Children) -> Pass:
        return Pass(self.token_span(c[0]))

    def enum(self, c: Children) -> Decl:
        members, doc = self._members(c[4:])
        cases = tuple(m for m in members if isinstance(m, EnumCase))
        methods = tuple(m for m in members if isinstance(m, Fn))
        span = self.span(c[0], self._body_end(c))
        return Enum(span, c[1].value, self.token_span(c[1]), c[2] or (), cases, methods, doc)

    def enum_case(self, c: Children) -> EnumCase:
        span = self.span(c[0], c[-2])
        if len(c) == 2:
            return EnumCase(span, c[0].value, None)
        fields = c[2] if isinstance(c[2], tuple) else ()
        for field in fields:
            if field.type is None:
                self.error("HYB121", "a field has a name and a type", field.span, f"write `name: {field.name}`")
            if field.mut:
                self.error("HYB100", "a field is not marked `mut`", field.span)
        return EnumCase(span, c[0].value, fields)

    def model(self, c: Children) -> Decl:
        members, doc = self._members(c[6:])
        config = self._typed(c[3] or ())
        for param in config:
            if param.mut:
                self.error("HYB100", "a configuration argument is not marked `mut`", param.span)
        return Model(self.span(c[0], self._body_end(c)), c[1].value, self.token_span(c[1]), config, tuple(members), doc)

    def model_param(self, c: Children) -> ModelParam:
        kind, init = self._type_and_value(c, 2)
        assert kind is not None
        return ModelParam(self.span(c[0], c[-2]), c[1].value, kind, init)

    def model_state(self, c: Children) -> ModelState:
        kind, init = self._type_and_value(c, 2)
        assert kind is not None
        return ModelState(self.span(c[0], c[-2]), c[1].value, kind, init)

    def model_let(self, c: Children) -> ModelLet:
        kind, value = self._type_and_value(c, 2)
        assert value is not None
        return ModelLet(self.span(c[0], c[-2]), c[1].value, kind, value)

    def export(self, c: Children) -> Decl:
        alias = c[3].value if len(c) == 5 else None
        return Export(self.span(c[0], c[-2]), c[1], alias)

    def test(self, c: Children) -> Decl:
        name = c[1]
        if isinstance(name, FString):
            self.error("HYB100", "the name of a test is a plain string", name.span)
        self.refuse_jumps(name.span.end)
        text = name.value if isinstance(name, Literal) else ""
        return Test(self.span(c[0], c[2][-1]), str(text), c[2])
