"""The syntax tree's types, expressions and patterns; `syntax.py` has the rest of it, and says what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridc.base.immutable import immutable
from hybridc.base.source import Span

if TYPE_CHECKING:
    from hybridc.front.parse.syntax import Param


@immutable(frozen=True, slots=True)
class Node:
    span: Span


# ---- types -----------------------------------------------------------------------------------------------------------
@immutable(frozen=True, slots=True)
class TypeName(Node):
    """`int`, `Tree`, `nn.Linear`, or with brackets: `list[int]`, `f32[T, 2 * D]`, `State[dim]`, `M[8, "relu"]`.

    `args` is None without brackets. What stands in brackets is a TypeExpr, an Expr (a dimension or configuration),
    `Unknown` for `?`, or `Pack` for `*B`; which of them `x` in `f32[x]` is, is decided by what `name` is: the parser
    makes a bare name an Expr `Name`, and anything that can only be a type (`list[int]`, `(int, str)`, `int?`) a
    TypeExpr. `list[int]` therefore holds `Name("int")`, and `list[list[int]]` holds a TypeName."""

    name: str
    args: tuple[TypeExpr | Expr | Unknown | Pack, ...] | None = None


@immutable(frozen=True, slots=True)
class Unknown(Node):
    """`?` as a dimension."""


@immutable(frozen=True, slots=True)
class Pack(Node):
    """`*B`: any number of leading dimensions."""

    name: str


@immutable(frozen=True, slots=True)
class TupleType(Node):
    items: tuple[TypeExpr, ...]


@immutable(frozen=True, slots=True)
class OptionType(Node):
    item: TypeExpr


@immutable(frozen=True, slots=True)
class FnType(Node):
    """`fn(A, mut B) -> C`; `result` is None without an arrow."""

    params: tuple[tuple[TypeExpr, bool], ...]
    result: TypeExpr | None


TypeExpr = TypeName | TupleType | OptionType | FnType


# ---- expressions -----------------------------------------------------------------------------------------------------
@immutable(frozen=True, slots=True)
class Literal(Node):
    """`value` is an int, float, bool, str, or None for `none`."""

    value: int | float | bool | str | None


@immutable(frozen=True, slots=True)
class FString(Node):
    """Text parts are str; a hole is (expression, format spec text or "")."""

    parts: tuple[str | tuple[Expr, str], ...]


@immutable(frozen=True, slots=True)
class Name(Node):
    """A name; `self` too."""

    id: str


@immutable(frozen=True, slots=True)
class Attribute(Node):
    value: Expr
    name: str
    name_span: Span


@immutable(frozen=True, slots=True)
class Slice(Node):
    start: Expr | None
    stop: Expr | None
    step: Expr | None


@immutable(frozen=True, slots=True)
class Rest(Slice):
    """`...` among the indices of a tensor: all axes that the others leave, whole."""


@immutable(frozen=True, slots=True)
class Index(Node):
    """`e[...]`: indexing or slicing, or type and dimension arguments, which the checker tells apart.

    An item that can only be a type (`int?`, `fn(A) -> B`, `(int?, str)`) is a TypeExpr, `?` is Unknown, `*B` a Pack.
    What could be either (`int`, `list[int]`, `(int, str)`) is an Expr; `as_type.as_type` reads it as a type."""

    value: Expr
    items: tuple[Expr | Slice | TypeExpr | Unknown | Pack, ...]


@immutable(frozen=True, slots=True)
class Argument(Node):
    """`x`, `n=x`, `mut x` or `n=mut x`."""

    name: str | None
    mut: bool
    value: Expr


@immutable(frozen=True, slots=True)
class Call(Node):
    fn: Expr
    args: tuple[Argument, ...]


@immutable(frozen=True, slots=True)
class Unary(Node):
    """`op` is one of `- + ~ not`."""

    op: str
    operand: Expr


@immutable(frozen=True, slots=True)
class Binary(Node):
    """`op` is one of `+ - * / // % ** @ & | ^ << >>`."""

    op: str
    left: Expr
    right: Expr
    op_span: Span


@immutable(frozen=True, slots=True)
class Compare(Node):
    """`a < b <= c`: one more operand than operators, of `== != < <= > >= in`, `not in`."""

    operands: tuple[Expr, ...]
    ops: tuple[str, ...]


@immutable(frozen=True, slots=True)
class Logic(Node):
    """`op` is `and` or `or`."""

    op: str
    left: Expr
    right: Expr


@immutable(frozen=True, slots=True)
class Conditional(Node):
    """`then if cond else orelse`."""

    cond: Expr
    then: Expr
    orelse: Expr


@immutable(frozen=True, slots=True)
class Coalesce(Node):
    """`option ?? default`."""

    option: Expr
    default: Expr


@immutable(frozen=True, slots=True)
class Tuple(Node):
    items: tuple[Expr, ...]


@immutable(frozen=True, slots=True)
class List(Node):
    items: tuple[Expr, ...]


@immutable(frozen=True, slots=True)
class MapLiteral(Node):
    """`{}` too."""

    items: tuple[tuple[Expr, Expr], ...]


@immutable(frozen=True, slots=True)
class SetLiteral(Node):
    items: tuple[Expr, ...]


@immutable(frozen=True, slots=True)
class ForClause(Node):
    """`for pattern in iterable`, then its `if` conditions."""

    pattern: Pattern
    iterable: Expr
    conditions: tuple[Expr, ...]


@immutable(frozen=True, slots=True)
class Comprehension(Node):
    """`kind` is `list`, `set` or `map`; of a map, `element` is the key and `value` the value."""

    kind: str
    element: Expr
    value: Expr | None
    clauses: tuple[ForClause, ...]
    parallel: bool


@immutable(frozen=True, slots=True)
class Lambda(Node):
    """`fn(x): e`; a parameter's type may be left out."""

    params: tuple[Param, ...]
    body: Expr


Expr = (
    Literal | FString | Name | Attribute | Index | Call | Unary | Binary | Compare | Logic | Conditional
    | Coalesce | Tuple | List | MapLiteral | SetLiteral | Comprehension | Lambda
)


# ---- patterns --------------------------------------------------------------------------------------------------------
@immutable(frozen=True, slots=True)
class Wildcard(Node):
    pass


@immutable(frozen=True, slots=True)
class Bind(Node):
    name: str


@immutable(frozen=True, slots=True)
class LiteralPattern(Node):
    """An int, float (with its sign), bool, str, or None."""

    value: int | float | bool | str | None


@immutable(frozen=True, slots=True)
class CasePattern(Node):
    """`Leaf(word)`, `Tree.Leaf`, `Neg(inner=x)`, or a constant `PI`; `path` is the dotted name.
    `args` is None without parentheses; a named argument is (name, pattern), one by position (None, pattern)."""

    path: tuple[str, ...]
    args: tuple[tuple[str | None, Pattern], ...] | None


@immutable(frozen=True, slots=True)
class TuplePattern(Node):
    items: tuple[Pattern, ...]


@immutable(frozen=True, slots=True)
class ListPattern(Node):
    """`[a, *rest, b]`: `rest` is the position of the starred item among `items` (a Bind or Wildcard), or None."""

    items: tuple[Pattern, ...]
    rest: int | None


@immutable(frozen=True, slots=True)
class Alternatives(Node):
    items: tuple[Pattern, ...]


Pattern = Wildcard | Bind | LiteralPattern | CasePattern | TuplePattern | ListPattern | Alternatives
