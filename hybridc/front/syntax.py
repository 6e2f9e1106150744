"""The untyped syntax tree: what a file says, before anything is known about it.

    file   = doc? decl*
    decl   = Import | Const | Fn | Struct | Enum | Model | Export | Test
    stmt   = Let | Assign | ExprStmt | If | While | For | Break | Continue | Return | Assert | Raise | Match | Pass | Fn
    expr   = Literal | FString | Name | Attribute | Index | Call | Unary | Binary | Compare | Logic | Conditional
           | Coalesce | Tuple | List | MapLiteral | SetLiteral | Comprehension | Lambda
    type   = TypeName | TensorOrGeneric | TupleType | OptionType | FnType       (all are TypeExpr)
    pattern= Wildcard | Bind | LiteralPattern | CasePattern | TuplePattern | ListPattern | Alternatives

Every node carries the `span` of its own text. Nodes are frozen: later stages build their own trees.
"""

from __future__ import annotations

from dataclasses import dataclass

from hybridc.base.source import Span


@dataclass(frozen=True, slots=True)
class Node:
    span: Span


# ---- types -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class TypeName(Node):
    """`int`, `Tree`, `nn.Linear`, or with brackets: `list[int]`, `f32[T, 2 * D]`, `State[dim]`, `M[8, "relu"]`.

    `args` is None without brackets. What stands in brackets is a TypeExpr, an Expr (a dimension or configuration),
    `Unknown` for `?`, or `Pack` for `*B`; which of them `x` in `f32[x]` is, is decided by what `name` is: the parser
    makes a bare name an Expr `Name`, and anything that can only be a type (`list[int]`, `(int, str)`, `int?`) a
    TypeExpr. `list[int]` therefore holds `Name("int")`, and `list[list[int]]` holds a TypeName."""

    name: str
    args: tuple[TypeExpr | Expr | Unknown | Pack, ...] | None = None


@dataclass(frozen=True, slots=True)
class Unknown(Node):
    """`?` as a dimension."""


@dataclass(frozen=True, slots=True)
class Pack(Node):
    """`*B`: any number of leading dimensions."""

    name: str


@dataclass(frozen=True, slots=True)
class TupleType(Node):
    items: tuple[TypeExpr, ...]


@dataclass(frozen=True, slots=True)
class OptionType(Node):
    item: TypeExpr


@dataclass(frozen=True, slots=True)
class FnType(Node):
    """`fn(A, mut B) -> C`; `result` is None without an arrow."""

    params: tuple[tuple[TypeExpr, bool], ...]
    result: TypeExpr | None


TypeExpr = TypeName | TupleType | OptionType | FnType


# ---- expressions -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Literal(Node):
    """`value` is an int, float, bool, str, or None for `none`."""

    value: int | float | bool | str | None


@dataclass(frozen=True, slots=True)
class FString(Node):
    """Text parts are str; a hole is (expression, format spec text or "")."""

    parts: tuple[str | tuple[Expr, str], ...]


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A name; `self` too."""

    id: str


@dataclass(frozen=True, slots=True)
class Attribute(Node):
    value: Expr
    name: str
    name_span: Span


@dataclass(frozen=True, slots=True)
class Slice(Node):
    start: Expr | None
    stop: Expr | None
    step: Expr | None


@dataclass(frozen=True, slots=True)
class Rest(Slice):
    """`...` among the indices of a tensor: all axes that the others leave, whole."""


@dataclass(frozen=True, slots=True)
class Index(Node):
    """`e[...]`: indexing or slicing, or type and dimension arguments, which the checker tells apart.

    An item that can only be a type (`int?`, `fn(A) -> B`, `(int?, str)`) is a TypeExpr, `?` is Unknown, `*B` a Pack.
    What could be either (`int`, `list[int]`, `(int, str)`) is an Expr; `as_type.as_type` reads it as a type."""

    value: Expr
    items: tuple[Expr | Slice | TypeExpr | Unknown | Pack, ...]


@dataclass(frozen=True, slots=True)
class Argument(Node):
    """`x`, `n=x`, `mut x` or `n=mut x`."""

    name: str | None
    mut: bool
    value: Expr


@dataclass(frozen=True, slots=True)
class Call(Node):
    fn: Expr
    args: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Unary(Node):
    """`op` is one of `- + ~ not`."""

    op: str
    operand: Expr


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """`op` is one of `+ - * / // % ** @ & | ^ << >>`."""

    op: str
    left: Expr
    right: Expr
    op_span: Span


@dataclass(frozen=True, slots=True)
class Compare(Node):
    """`a < b <= c`: one more operand than operators, of `== != < <= > >= in`, `not in`."""

    operands: tuple[Expr, ...]
    ops: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Logic(Node):
    """`op` is `and` or `or`."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Conditional(Node):
    """`then if cond else orelse`."""

    cond: Expr
    then: Expr
    orelse: Expr


@dataclass(frozen=True, slots=True)
class Coalesce(Node):
    """`option ?? default`."""

    option: Expr
    default: Expr


@dataclass(frozen=True, slots=True)
class Tuple(Node):
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class List(Node):
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class MapLiteral(Node):
    """`{}` too."""

    items: tuple[tuple[Expr, Expr], ...]


@dataclass(frozen=True, slots=True)
class SetLiteral(Node):
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class ForClause(Node):
    """`for pattern in iterable`, then its `if` conditions."""

    pattern: Pattern
    iterable: Expr
    conditions: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Comprehension(Node):
    """`kind` is `list`, `set` or `map`; of a map, `element` is the key and `value` the value."""

    kind: str
    element: Expr
    value: Expr | None
    clauses: tuple[ForClause, ...]
    parallel: bool


@dataclass(frozen=True, slots=True)
class Lambda(Node):
    """`fn(x): e`; a parameter's type may be left out."""

    params: tuple[Param, ...]
    body: Expr


Expr = (
    Literal | FString | Name | Attribute | Index | Call | Unary | Binary | Compare | Logic | Conditional
    | Coalesce | Tuple | List | MapLiteral | SetLiteral | Comprehension | Lambda
)


# ---- patterns --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Wildcard(Node):
    pass


@dataclass(frozen=True, slots=True)
class Bind(Node):
    name: str


@dataclass(frozen=True, slots=True)
class LiteralPattern(Node):
    """An int, float (with its sign), bool, str, or None."""

    value: int | float | bool | str | None


@dataclass(frozen=True, slots=True)
class CasePattern(Node):
    """`Leaf(word)`, `Tree.Leaf`, `Neg(inner=x)`, or a constant `PI`; `path` is the dotted name.
    `args` is None without parentheses; a named argument is (name, pattern), one by position (None, pattern)."""

    path: tuple[str, ...]
    args: tuple[tuple[str | None, Pattern], ...] | None


@dataclass(frozen=True, slots=True)
class TuplePattern(Node):
    items: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class ListPattern(Node):
    """`[a, *rest, b]`: `rest` is the position of the starred item among `items` (a Bind or Wildcard), or None."""

    items: tuple[Pattern, ...]
    rest: int | None


@dataclass(frozen=True, slots=True)
class Alternatives(Node):
    items: tuple[Pattern, ...]


Pattern = Wildcard | Bind | LiteralPattern | CasePattern | TuplePattern | ListPattern | Alternatives


# ---- statements ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Let(Node):
    """`let p: T = e` or, with `mutable`, `var p: T = e`. `pattern` is a Bind, Wildcard or TuplePattern."""

    pattern: Pattern
    type: TypeExpr | None
    value: Expr
    mutable: bool


@dataclass(frozen=True, slots=True)
class Assign(Node):
    """`a, b[i] = e` (several targets: `value` is one tuple expression or a Tuple), or `a op= e` with one target."""

    targets: tuple[Expr, ...]
    op: str | None
    value: Expr


@dataclass(frozen=True, slots=True)
class ExprStmt(Node):
    value: Expr


@dataclass(frozen=True, slots=True)
class If(Node):
    """`elif` is an If alone in `orelse`."""

    cond: Expr
    then: tuple[Stmt, ...]
    orelse: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class While(Node):
    cond: Expr
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class For(Node):
    pattern: Pattern
    iterable: Expr
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Break(Node):
    pass


@dataclass(frozen=True, slots=True)
class Continue(Node):
    pass


@dataclass(frozen=True, slots=True)
class Pass(Node):
    pass


@dataclass(frozen=True, slots=True)
class Return(Node):
    value: Expr | None


@dataclass(frozen=True, slots=True)
class Assert(Node):
    cond: Expr
    message: Expr | None


@dataclass(frozen=True, slots=True)
class Raise(Node):
    message: Expr


@dataclass(frozen=True, slots=True)
class Case(Node):
    pattern: Pattern
    guard: Expr | None
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Match(Node):
    subject: Expr
    cases: tuple[Case, ...]


# ---- declarations ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Param(Node):
    """A parameter of a fn, lambda (type may be None) or model, or a field of a struct or enum case."""

    name: str
    type: TypeExpr | None
    default: Expr | None
    mut: bool


@dataclass(frozen=True, slots=True)
class TypeParam(Node):
    """`T`, `T: number`, `F: forward(f32[*B, N]) -> f32[*B, M]`, or, with `pack`, `*S` for any number of dimensions."""

    name: str
    bound: str | None = None
    method: MethodBound | None = None
    pack: bool = False


@dataclass(frozen=True, slots=True)
class MethodBound(Node):
    name: str
    params: tuple[tuple[TypeExpr, bool], ...]
    result: TypeExpr | None


@dataclass(frozen=True, slots=True)
class Decorator(Node):
    """`@custom_grad(back)`."""

    name: str
    args: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Fn(Node):
    """A function, method (`mutates_self` for `mut fn`), local function or, with `extern`, a host function."""

    name: str
    name_span: Span
    type_params: tuple[TypeParam, ...]
    params: tuple[Param, ...]
    result: TypeExpr | None
    body: tuple[Stmt, ...]
    doc: str | None
    header: Span
    mutates_self: bool = False
    extern: bool = False
    pure: bool = False
    decorators: tuple[Decorator, ...] = ()


Stmt = Let | Assign | ExprStmt | If | While | For | Break | Continue | Pass | Return | Assert | Raise | Match | Fn


@dataclass(frozen=True, slots=True)
class Import(Node):
    """`import a.b` (`names` is None) or `from a.b import X, y as z` (`names` are (name, as name, span))."""

    module: tuple[str, ...]
    names: tuple[tuple[str, str, Span], ...] | None


@dataclass(frozen=True, slots=True)
class Const(Node):
    name: str
    name_span: Span
    value: Expr


@dataclass(frozen=True, slots=True)
class Struct(Node):
    name: str
    name_span: Span
    type_params: tuple[TypeParam, ...]
    fields: tuple[Param, ...]
    methods: tuple[Fn, ...]
    doc: str | None


@dataclass(frozen=True, slots=True)
class EnumCase(Node):
    """`fields` is None for a case without parentheses."""

    name: str
    fields: tuple[Param, ...] | None


@dataclass(frozen=True, slots=True)
class Enum(Node):
    name: str
    name_span: Span
    type_params: tuple[TypeParam, ...]
    cases: tuple[EnumCase, ...]
    methods: tuple[Fn, ...]
    doc: str | None


@dataclass(frozen=True, slots=True)
class ModelParam(Node):
    """`param w: f32[n] = zeros()`."""

    name: str
    type: TypeExpr
    init: Expr | None


@dataclass(frozen=True, slots=True)
class ModelState(Node):
    """`state seen: int = 0`."""

    name: str
    type: TypeExpr
    init: Expr | None


@dataclass(frozen=True, slots=True)
class ModelLet(Node):
    """`let embed = Embedding(vocab, dim)`: a submodel, or a compile-time value."""

    name: str
    type: TypeExpr | None
    value: Expr


@dataclass(frozen=True, slots=True)
class Model(Node):
    """`members` in the order written."""

    name: str
    name_span: Span
    config: tuple[Param, ...]
    members: tuple[ModelParam | ModelState | ModelLet | Fn, ...]
    doc: str | None


@dataclass(frozen=True, slots=True)
class Export(Node):
    """`export f`, `export f[f32]` (`value` is an Index), `export M(size=8) as name` (`value` is a Call)."""

    value: Expr
    alias: str | None


@dataclass(frozen=True, slots=True)
class Test(Node):
    name: str
    body: tuple[Stmt, ...]


Decl = Import | Const | Fn | Struct | Enum | Model | Export | Test


@dataclass(frozen=True, slots=True)
class File(Node):
    doc: str | None
    decls: tuple[Decl, ...]
