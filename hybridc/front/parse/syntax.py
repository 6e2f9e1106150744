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

from hybridc.base.immutable import immutable
from hybridc.base.source import Span
from hybridc.front.parse.syntax_expr import (  # noqa: F401 (all of the tree goes by this module's name)
    Alternatives,
    Argument,
    Attribute,
    Binary,
    Bind,
    Call,
    CasePattern,
    Coalesce,
    Compare,
    Comprehension,
    Conditional,
    Expr,
    FnType,
    ForClause,
    FString,
    Index,
    Lambda,
    List,
    ListPattern,
    Literal,
    LiteralPattern,
    Logic,
    MapLiteral,
    Name,
    Node,
    OptionType,
    Pack,
    Pattern,
    Rest,
    SetLiteral,
    Slice,
    Tuple,
    TuplePattern,
    TupleType,
    TypeExpr,
    TypeName,
    Unary,
    Unknown,
    Wildcard,
)


# ---- statements ------------------------------------------------------------------------------------------------------
@immutable(frozen=True, slots=True)
class Let(Node):
    """`let p: T = e` or, with `mutable`, `var p: T = e`. `pattern` is a Bind, Wildcard or TuplePattern."""

    pattern: Pattern
    type: TypeExpr | None
    value: Expr
    mutable: bool


@immutable(frozen=True, slots=True)
class Assign(Node):
    """`a, b[i] = e` (several targets: `value` is one tuple expression or a Tuple), or `a op= e` with one target."""

    targets: tuple[Expr, ...]
    op: str | None
    value: Expr


@immutable(frozen=True, slots=True)
class ExprStmt(Node):
    value: Expr


@immutable(frozen=True, slots=True)
class If(Node):
    """`elif` is an If alone in `orelse`."""

    cond: Expr
    then: tuple[Stmt, ...]
    orelse: tuple[Stmt, ...]


@immutable(frozen=True, slots=True)
class While(Node):
    cond: Expr
    body: tuple[Stmt, ...]


@immutable(frozen=True, slots=True)
class For(Node):
    pattern: Pattern
    iterable: Expr
    body: tuple[Stmt, ...]


@immutable(frozen=True, slots=True)
class Break(Node):
    pass


@immutable(frozen=True, slots=True)
class Continue(Node):
    pass


@immutable(frozen=True, slots=True)
class Pass(Node):
    pass


@immutable(frozen=True, slots=True)
class Return(Node):
    value: Expr | None


@immutable(frozen=True, slots=True)
class Assert(Node):
    cond: Expr
    message: Expr | None


@immutable(frozen=True, slots=True)
class Raise(Node):
    message: Expr


@immutable(frozen=True, slots=True)
class Case(Node):
    pattern: Pattern
    guard: Expr | None
    body: tuple[Stmt, ...]


@immutable(frozen=True, slots=True)
class Match(Node):
    subject: Expr
    cases: tuple[Case, ...]


# ---- declarations ----------------------------------------------------------------------------------------------------
@immutable(frozen=True, slots=True)
class Param(Node):
    """A parameter of a fn, lambda (type may be None) or model, or a field of a struct or enum case."""

    name: str
    type: TypeExpr | None
    default: Expr | None
    mut: bool


@immutable(frozen=True, slots=True)
class TypeParam(Node):
    """`T`, `T: number`, `F: forward(f32[*B, N]) -> f32[*B, M]`, or, with `pack`, `*S` for any number of dimensions."""

    name: str
    bound: str | None = None
    method: MethodBound | None = None
    pack: bool = False


@immutable(frozen=True, slots=True)
class MethodBound(Node):
    name: str
    params: tuple[tuple[TypeExpr, bool], ...]
    result: TypeExpr | None


@immutable(frozen=True, slots=True)
class Decorator(Node):
    """`@custom_grad(back)`."""

    name: str
    args: tuple[Argument, ...]


@immutable(frozen=True, slots=True)
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


@immutable(frozen=True, slots=True)
class Import(Node):
    """`import a.b` (`names` is None) or `from a.b import X, y as z` (`names` are (name, as name, span))."""

    module: tuple[str, ...]
    names: tuple[tuple[str, str, Span], ...] | None


@immutable(frozen=True, slots=True)
class Const(Node):
    name: str
    name_span: Span
    value: Expr


@immutable(frozen=True, slots=True)
class Struct(Node):
    name: str
    name_span: Span
    type_params: tuple[TypeParam, ...]
    fields: tuple[Param, ...]
    methods: tuple[Fn, ...]
    doc: str | None


@immutable(frozen=True, slots=True)
class EnumCase(Node):
    """`fields` is None for a case without parentheses."""

    name: str
    fields: tuple[Param, ...] | None


@immutable(frozen=True, slots=True)
class Enum(Node):
    name: str
    name_span: Span
    type_params: tuple[TypeParam, ...]
    cases: tuple[EnumCase, ...]
    methods: tuple[Fn, ...]
    doc: str | None


@immutable(frozen=True, slots=True)
class ModelParam(Node):
    """`param w: f32[n] = zeros()`."""

    name: str
    type: TypeExpr
    init: Expr | None


@immutable(frozen=True, slots=True)
class ModelState(Node):
    """`state seen: int = 0`."""

    name: str
    type: TypeExpr
    init: Expr | None


@immutable(frozen=True, slots=True)
class ModelLet(Node):
    """`let embed = Embedding(vocab, dim)`: a submodel, or a compile-time value."""

    name: str
    type: TypeExpr | None
    value: Expr


@immutable(frozen=True, slots=True)
class Model(Node):
    """`members` in the order written."""

    name: str
    name_span: Span
    config: tuple[Param, ...]
    members: tuple[ModelParam | ModelState | ModelLet | Fn, ...]
    doc: str | None


@immutable(frozen=True, slots=True)
class Export(Node):
    """`export f`, `export f[f32]` (`value` is an Index), `export M(size=8) as name` (`value` is a Call)."""

    value: Expr
    alias: str | None


@immutable(frozen=True, slots=True)
class Test(Node):
    name: str
    body: tuple[Stmt, ...]


Decl = Import | Const | Fn | Struct | Enum | Model | Export | Test


@immutable(frozen=True, slots=True)
class File(Node):
    doc: str | None
    decls: tuple[Decl, ...]
