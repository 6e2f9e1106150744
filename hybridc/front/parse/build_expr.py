"""Expressions and types, as the grammar's rules complete: one method for each rule, named as in `hyb.lark`."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from hybridc.base.source import Span
from hybridc.front.parse import literals, operators
from hybridc.front.parse.as_type import as_type, type_argument
from hybridc.front.parse.build_base import PYTHON_WORDS, Base, Children, without_tokens
from hybridc.front.parse.lexer import Token
from hybridc.front.parse.syntax import (
    Argument,
    Attribute,
    Call,
    Comprehension,
    Conditional,
    Expr,
    FnType,
    ForClause,
    FString,
    Index,
    Lambda,
    List,
    Literal,
    MapLiteral,
    Name,
    Node,
    OptionType,
    Pack,
    Param,
    Pattern,
    Rest,
    SetLiteral,
    Slice,
    Tuple,
    TupleType,
    TypeExpr,
    TypeName,
    Unknown,
)

T = TypeVar("T", bound=Node)


class Expressions(Base):
    type_only: dict[int, Node]
    """Types made where expressions may stand (`int?`, `fn(A) -> B`) that no bracket has taken as types yet, by id."""

    # ---- operators ---------------------------------------------------------------------------------------------------
    def operation(self, c: Children) -> Expr:
        try:
            return operators.tree(self.path, c)
        except operators.MisplacedNot as mistake:
            self.error("HYB100", "`not` binds looser than the operator before it", self.token_span(mistake.token),
                       "put parentheses around `not` and its operand")
            return next(x for x in c if not isinstance(x, Token))

    def conditional(self, c: Children) -> Expr:
        return Conditional(self.span(c[0], c[4]), c[2], c[0], c[4])

    def lambda_(self, c: Children) -> Expr:
        params = []
        for item, annotation, mut in c[2] if len(c) == 6 else ():
            if not isinstance(item, Name) or item.id == "self":
                self._forget(item)
                self.error("HYB100", "a parameter of a `fn` expression is a name", item.span,
                           "write `fn(x): x + 1` or `fn(x: int): x + 1`")
                continue
            first = mut or item
            params.append(Param(self.span(first, annotation or item), item.id, annotation, None, mut is not None))
        return Lambda(self.span(c[0], c[-1]), tuple(params), c[-1])

    def lambda_params(self, c: Children) -> list:
        return without_tokens(c)

    def lambda_param(self, c: Children) -> tuple[Node, TypeExpr | None, Token | None]:
        mut = c.pop(0) if c[0].__class__ is Token else None
        return c[0], c[2] if len(c) == 3 else None, mut

    def fn_type_expr(self, c: Children) -> TypeExpr:
        return self._type_only(FnType(self.span(c[0], c[-1]), self._types_of(c), c[-1]))

    def bare_fn_type(self, c: Children) -> TypeExpr:
        return self._type_only(FnType(self.span(c[0], c[-1]), self._types_of(c), None))

    def _types_of(self, c: Children) -> tuple[tuple[TypeExpr, bool], ...]:
        params = []
        for item, annotation, mut in c[2] if isinstance(c[2], list) else ():
            kind = self._as_type(item)
            if annotation is not None:
                self.error("HYB117", "a function type lists types, without names", item.span,
                           "write `fn(int) -> int` for the type, `fn(x: int): x + 1` for a function")
            if kind is not None:
                params.append((kind, mut is not None))
        return tuple(params)

    # ---- what follows an operand -------------------------------------------------------------------------------------
    def attribute(self, c: Children) -> Expr:
        value, _, name = c
        name_span = Span(self.path, name.start_pos, name.end_pos)
        return Attribute(Span(self.path, value.span.start, name.end_pos), value, name.value, name_span)

    def call(self, c: Children) -> Expr:
        return Call(Span(self.path, c[0].span.start, c[-1].end_pos), c[0], c[2] if len(c) == 4 else ())

    def args(self, c: Children) -> tuple[Argument, ...]:
        args = tuple(without_tokens(c))
        named = False
        for arg in args:
            if arg.name is not None:
                named = True
            elif named:
                self.error("HYB120", "an argument by position stands after one by name", arg.span,
                           "put arguments by position first")
                break
        return args

    def arg(self, c: Children) -> Argument:
        value = c[-1]
        if len(c) == 1:
            return Argument(value.span, None, False, value)
        span = self.span(c[0], value)
        if len(c) == 2:
            return Argument(span, None, True, value)
        return Argument(span, c[0].value, len(c) == 4, value)

    def index(self, c: Children) -> Expr:
        items = []
        for item in c[2]:
            if self.type_only:
                if isinstance(item, Tuple) and self._holds_type(item):
                    item = as_type(item) or item
                self._forget(item)
            items.append(item)
        return Index(Span(self.path, c[0].span.start, c[3].end_pos), c[0], tuple(items))

    def index_items(self, c: Children) -> list:
        return without_tokens(c)

    def slice_expr(self, c: Children) -> Slice:
        # The children are start, colon, stop, second colon, step; each but the first colon may be None.
        first = next(x for x in c if x is not None)
        last = next(x for x in reversed(c) if x is not None)
        return Slice(self.span(first, last), c[0], c[2], c[4])

    def rest(self, c: Children) -> Slice:
        return Rest(self.token_span(c[0]), None, None, None)

    def pack(self, c: Children) -> Pack:
        return Pack(self.span(c[0], c[1]), c[1].value)

    def unknown(self, c: Children) -> Unknown:
        return Unknown(self.token_span(c[0]))

    def option(self, c: Children) -> TypeExpr | Expr:
        kind = self._as_type(c[0])
        if kind is None:
            return c[0]
        return self._type_only(OptionType(self.span(c[0], c[1]), kind))

    # ---- operands ----------------------------------------------------------------------------------------------------
    def name(self, c: Children) -> Expr:
        token = c[0]
        node = Name(Span(self.path, token.start_pos, token.end_pos), token.value)
        if token.value in PYTHON_WORDS:
            self.python_words.append(node)
        return node

    def number(self, c: Children) -> Expr:
        return Literal(self.token_span(c[0]), literals.number(c[0].value))

    def true(self, c: Children) -> Expr:
        return Literal(self.token_span(c[0]), True)

    def false(self, c: Children) -> Expr:
        return Literal(self.token_span(c[0]), False)

    def none(self, c: Children) -> Expr:
        return Literal(self.token_span(c[0]), None)

    def strings(self, c: Children) -> Expr:
        """One literal; adjacent ones are joined, as in Python."""
        span = self.span(c[0], c[-1])
        if all(token.type == "STRING" for token in c):
            return Literal(span, "".join(literals.string(t.value, t.start_pos, self.report) for t in c))
        parts: list = []
        for token in c:
            if token.type == "STRING":
                pieces: list = [literals.string(token.value, token.start_pos, self.report)]
            else:
                pieces = literals.fstring(token.value, token.start_pos, self.report)
            for piece in pieces:
                if isinstance(piece, str):
                    if parts and isinstance(parts[-1], str):
                        parts[-1] += piece
                    elif piece:
                        parts.append(piece)
                else:
                    value = self.parse_hole(piece[0], piece[1])
                    if value is not None and piece[2]:
                        shown = Name(value.span, "repr" if piece[2] == "r" else "str")
                        value = Call(value.span, shown, (Argument(value.span, None, False, value),))
                    if value is not None:
                        parts.append((value, piece[3]))
        return FString(span, tuple(parts))

    def parse_hole(self, start: int, end: int) -> Expr | None:
        raise AssertionError("given by the parser")

    def group(self, c: Children) -> Expr:
        # The parentheses belong to the text of the node, so that what is built around it is marked whole.
        node = replace(c[1], span=self.span(c[0], c[2]))
        if self.type_only.pop(id(c[1]), None) is not None:
            self._type_only(node)
        elif isinstance(node, Name) and self.python_words and self.python_words[-1] is c[1]:
            self.python_words[-1] = node
        return node

    def tuple_expr(self, c: Children) -> Expr:
        return Tuple(self.span(c[0], c[-1]), tuple(without_tokens(c)))

    def bare_tuple(self, c: Children) -> Expr:
        return Tuple(self.span(c[0], c[-1]), tuple(without_tokens(c)))

    def list_expr(self, c: Children) -> Expr:
        return List(self.span(c[0], c[-1]), tuple(without_tokens(c)))

    def set_expr(self, c: Children) -> Expr:
        return SetLiteral(self.span(c[0], c[-1]), tuple(without_tokens(c)))

    def map_expr(self, c: Children) -> Expr:
        return MapLiteral(self.span(c[0], c[-1]), tuple(without_tokens(c)))

    def map_item(self, c: Children) -> tuple[Expr, Expr]:
        return c[0], c[2]

    def list_comprehension(self, c: Children) -> Expr:
        return Comprehension(self.span(c[0], c[-1]), "list", c[1], None, tuple(c[2:-1]), False)

    def parallel_comprehension(self, c: Children) -> Expr:
        return Comprehension(self.span(c[0], c[-1]), "list", c[2], None, tuple(c[3:-1]), True)

    def set_comprehension(self, c: Children) -> Expr:
        return Comprehension(self.span(c[0], c[-1]), "set", c[1], None, tuple(c[2:-1]), False)

    def map_comprehension(self, c: Children) -> Expr:
        key, value = c[1]
        return Comprehension(self.span(c[0], c[-1]), "map", key, value, tuple(c[2:-1]), False)

    def for_clause(self, c: Children) -> ForClause:
        pattern: Pattern = c[1]
        return ForClause(self.span(c[0], c[-1]), pattern, c[3], tuple(c[5::2]))

    # ---- types -------------------------------------------------------------------------------------------------------
    def _type_only(self, node: T) -> T:
        self.type_only[id(node)] = node
        return node

    def _forget(self, node: Node) -> None:
        """`node` stands where a type may."""
        if self.type_only and self.type_only.pop(id(node), None) is None and isinstance(node, TupleType):
            for item in node.items:
                self._forget(item)

    def _holds_type(self, node: Tuple) -> bool:
        return any(id(x) in self.type_only or isinstance(x, Tuple) and self._holds_type(x) for x in node.items)

    def _as_type(self, node: Expr | TypeExpr) -> TypeExpr | None:
        kind = as_type(node)
        if kind is None:
            self.error("HYB117", "this is no type", node.span)
        else:
            self._forget(kind)
        return kind

    def dotted(self, c: Children) -> list[Token]:
        return c[::2]

    def type_name(self, c: Children) -> TypeExpr:
        names = c[0]
        name = ".".join(token.value for token in names)
        if len(c) == 1:
            return TypeName(self.span(names[0], names[-1]), name)
        span = self.span(names[0], c[3])
        args = []
        for item in c[2]:
            if isinstance(item, Slice):
                what = "`...`" if isinstance(item, Rest) else "a slice"
                self.error("HYB117", f"{what} is no type and no dimension", item.span)
                continue
            item = type_argument(item)
            self._forget(item)
            args.append(item)
        return TypeName(span, name, tuple(args))

    def type_group(self, c: Children) -> TypeExpr:
        return replace(c[1], span=self.span(c[0], c[2]))

    def tuple_type(self, c: Children) -> TypeExpr:
        return TupleType(self.span(c[0], c[-1]), tuple(without_tokens(c)))

    def option_type(self, c: Children) -> TypeExpr:
        return OptionType(self.span(c[0], c[1]), c[0])

    def fn_type(self, c: Children) -> TypeExpr:
        first, _, params, close, result = c
        return FnType(self.span(first, result or close), params or (), result)

    def fn_type_params(self, c: Children) -> tuple[tuple[TypeExpr, bool], ...]:
        return tuple(without_tokens(c))

    def fn_type_param(self, c: Children) -> tuple[TypeExpr, bool]:
        return c[-1], len(c) == 2

    def lone_type(self, c: Children) -> TypeExpr:
        return c[0]

    def hole(self, c: Children) -> Expr:
        return c[0]
