"""The typed tree: what the checker makes of the syntax tree and lowering reads. Everything is resolved:

names are variables, constants or declarations; methods and operators are calls or built-in operators; arguments stand
in the order of parameters; implicit conversions are nodes. What may depend on a type parameter stays open: an operator
on a `T`, or a method that a bound promises, is settled when the function is made concrete.

    Program  = decls by key, exports, tests, files
    Decl     = FnDecl | StructDecl | EnumDecl | ModelDecl
    Expr     = Const | Local | ConfigValueOf | DimValue | Unary | Binary | Chain | Logic | Conditional | Coalesce
             | Cast | Some | Call | CallValue | CallMethod | Builtin | FnValue | BoundMethod | Lambda
             | MakeStruct | MakeEnum | MakeModel | MakeTuple | MakeList | MakeMap | MakeSet | MakeTensor
             | Field | TupleItem | TensorIndex | Comprehension | FString | Gradient | Checkpoint
    Stmt     = Let | LocalFn | Assign | ExprStmt | If | While | For | Break | Continue | Return | Assert | Raise | Match
    Place    = PlaceVar | PlaceField | PlaceItem | PlaceElement | PlaceTensor | PlaceSome

Keys: functions "MODULE:name", methods "MODULE:Owner.name", types "MODULE:Name". The module of a file that is loaded or
built is its stem's dotted path from the root; of a standard module "std.NAME".
All nodes are frozen values that can be pickled; types in them are fully inferred (no inference variable is left).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Union

from hybridc.base.dims import DimVar, PackVar
from hybridc.base.immutable import immutable
from hybridc.base.source import Span
from hybridc.base.types import VOID, ConfigValue, FnRef, ModelType, Type, TypeVar
from hybridc.front.check.tree_expr import (  # noqa: F401 (all of the tree goes by this module's name)
    Arg,
    Binary,
    BoundMethod,
    Builtin,
    Call,
    CallMethod,
    CallValue,
    Cast,
    Chain,
    Checkpoint,
    Clause,
    Coalesce,
    Comprehension,
    Conditional,
    ConfigValueOf,
    Const,
    DimValue,
    Expr,
    Field,
    FnValue,
    FString,
    Gradient,
    Lambda,
    Local,
    Logic,
    MakeEnum,
    MakeList,
    MakeMap,
    MakeModel,
    MakeSet,
    MakeStruct,
    MakeTensor,
    MakeTuple,
    Node,
    Refine,
    SliceIndex,
    Some,
    TensorIndex,
    TupleItem,
    Typed,
    Unary,
    Unwrap,
    Var,
    differentiated,
)


# ---- places: what can be assigned or passed as mut -------------------------------------------------------------------
@immutable(frozen=True, slots=True)
class PlaceVar(Typed):
    var: Var


NOWHERE = Var("", "_", VOID)
"""The variable of `x, _ = f()`: what is assigned to it is dropped."""


@immutable(frozen=True, slots=True)
class PlaceField(Typed):
    """A field of a struct; of a model: state or a submodel."""

    base: Place
    name: str


@immutable(frozen=True, slots=True)
class PlaceItem(Typed):
    """`t[0]` of a tuple."""

    base: Place
    index: int


@immutable(frozen=True, slots=True)
class PlaceElement(Typed):
    """`xs[i]`, `m[k]`: an element of a container with `_take` and `_put` (and `_set` for plain assignment)."""

    base: Place
    index: Expr


@immutable(frozen=True, slots=True)
class PlaceTensor(Typed):
    """`t[i, j]`, `t[:, 0]`, `t[idx]` of a tensor."""

    base: Place
    indices: tuple[Union[Expr, SliceIndex], ...]


@immutable(frozen=True, slots=True)
class PlaceSome(Typed):
    """The value of an option that is known to have one."""

    base: Place


Place = Union[PlaceVar, PlaceField, PlaceItem, PlaceElement, PlaceTensor, PlaceSome]


# ---- patterns --------------------------------------------------------------------------------------------------------
@immutable(frozen=True, slots=True)
class AnyPattern(Node):
    """Matches everything, binds nothing."""


@immutable(frozen=True, slots=True)
class BindPattern(Node):
    var: Var


@immutable(frozen=True, slots=True)
class ConstPattern(Node):
    """Equal to a literal or constant of the subject's type."""

    value: int | float | bool | str


@immutable(frozen=True, slots=True)
class NonePattern(Node):
    """An option without value."""


@immutable(frozen=True, slots=True)
class SomePattern(Node):
    """An option with a value that matches (written without a mark in the source)."""

    inner: Pattern


@immutable(frozen=True, slots=True)
class EnumPattern(Node):
    """A case; a pattern for each field."""

    case: str
    fields: tuple[Pattern, ...]


@immutable(frozen=True, slots=True)
class StructPattern(Node):
    fields: tuple[Pattern, ...]


@immutable(frozen=True, slots=True)
class TuplePattern(Node):
    items: tuple[Pattern, ...]


@immutable(frozen=True, slots=True)
class ListPattern(Node):
    """`rest` is the pattern of the starred item (AnyPattern or BindPattern of the list's type), or None; `before` and
    `after` stand around it."""

    before: tuple[Pattern, ...]
    rest: Pattern | None
    after: tuple[Pattern, ...]


@immutable(frozen=True, slots=True)
class OrPattern(Node):
    """Alternatives that bind the same variables (the same Vars)."""

    items: tuple[Pattern, ...]


Pattern = Union[AnyPattern, BindPattern, ConstPattern, NonePattern, SomePattern, EnumPattern, StructPattern,
                TuplePattern, ListPattern, OrPattern]


# ---- statements ------------------------------------------------------------------------------------------------------
@immutable(frozen=True, slots=True)
class Let(Node):
    """`let` or `var` (the pattern's Vars say which); the pattern always matches: names, `_`, tuples, structs."""

    pattern: Pattern
    value: Expr
    span: Span


@immutable(frozen=True, slots=True)
class LocalFn(Node):
    """A `fn` in a body: its Var is bound to the closure."""

    var: Var
    value: Lambda
    span: Span


@immutable(frozen=True, slots=True)
class Assign(Node):
    """All values first, then each place in order. `op` with one target is `place op= value` (index expressions once);
    on tensors the right side broadcasts to the place, and with an index tensor `+=` and `-=` accumulate duplicates.
    With several targets and one tuple value, `values` holds that one."""

    targets: tuple[Place, ...]
    op: str | None
    values: tuple[Expr, ...]
    span: Span


@immutable(frozen=True, slots=True)
class ExprStmt(Node):
    value: Expr
    span: Span


@immutable(frozen=True, slots=True)
class If(Node):
    cond: Expr
    then: tuple[Stmt, ...]
    orelse: tuple[Stmt, ...]
    span: Span


@immutable(frozen=True, slots=True)
class While(Node):
    cond: Expr
    body: tuple[Stmt, ...]
    span: Span


@immutable(frozen=True, slots=True)
class For(Node):
    """Over a list, map, set, deque, string, a tensor's first dimension, or Builtin `range`, `enumerate`, `zip` of
    these; over a model's list of submodels too."""

    pattern: Pattern
    iterable: Expr
    body: tuple[Stmt, ...]
    span: Span


@immutable(frozen=True, slots=True)
class Break(Node):
    span: Span


@immutable(frozen=True, slots=True)
class Continue(Node):
    span: Span


@immutable(frozen=True, slots=True)
class Return(Node):
    value: Expr | None
    span: Span


@immutable(frozen=True, slots=True)
class Assert(Node):
    cond: Expr
    message: Expr | None
    span: Span


@immutable(frozen=True, slots=True)
class Raise(Node):
    message: Expr
    span: Span


@immutable(frozen=True, slots=True)
class MatchCase(Node):
    pattern: Pattern
    guard: Expr | None
    body: tuple[Stmt, ...]


@immutable(frozen=True, slots=True)
class Match(Node):
    """Exhaustive: some case always matches."""

    subject: Expr
    cases: tuple[MatchCase, ...]
    span: Span


Stmt = Union[Let, LocalFn, Assign, ExprStmt, If, While, For, Break, Continue, Return, Assert, Raise, Match]


# ---- declarations ----------------------------------------------------------------------------------------------------
@immutable(frozen=True, slots=True)
class ParamDecl(Node):
    var: Var
    mut: bool
    default: Expr | None


@immutable(frozen=True, slots=True)
class FnDecl(Node):
    """A function or method. A method's first parameter is `self` (`mut` for a `mut fn`), and its `type_params` begin
    with its owner's. `dims` are the dimension names its signature binds, in order; each is bound at run time by the
    first parameter in which it stands alone. In a method of a model the configuration variables are DimVars (ints)
    or ConfigValueOf nodes. `host` is "extern" or "extern pure" for a function that the host supplies; in standard
    modules such a declaration names an operator of Core (`core/ops.py`) or a service of the runtime."""

    key: str
    name: str
    type_params: tuple[TypeVar, ...]
    dims: tuple[DimVar, ...]
    packs: tuple[PackVar, ...]
    params: tuple[ParamDecl, ...]
    result: Type
    body: tuple[Stmt, ...]
    span: Span
    owner: str | None = None
    host: str | None = None
    doc: str | None = None
    custom_grad: FnRef | None = None
    given: tuple[DimVar, ...] = ()
    """Dimensions that no argument binds: the last parameters are their values."""


@immutable(frozen=True, slots=True)
class FieldDecl(Node):
    name: str
    type: Type
    default: Expr | None


@immutable(frozen=True, slots=True)
class StructDecl(Node):
    """`params` are its bracket parameters in order: TypeVars and DimVars. `methods` are keys by name."""

    key: str
    name: str
    params: tuple[TypeVar | DimVar, ...]
    fields: tuple[FieldDecl, ...]
    methods: dict[str, str]
    span: Span
    doc: str | None = None


@immutable(frozen=True, slots=True)
class CaseDecl(Node):
    name: str
    fields: tuple[FieldDecl, ...]


@immutable(frozen=True, slots=True)
class EnumDecl(Node):
    key: str
    name: str
    params: tuple[TypeVar | DimVar, ...]
    cases: tuple[CaseDecl, ...]
    methods: dict[str, str]
    span: Span
    doc: str | None = None


@immutable(frozen=True, slots=True)
class ConfigParam(Node):
    """A configuration argument. `dim` is its variable if it is an int (key "MODULE:Model.name"); `words` are texts that
    stand for ints."""

    name: str
    type: Type
    dim: DimVar | None
    default: ConfigValue
    has_default: bool
    words: tuple[tuple[str, int], ...] = ()


@immutable(frozen=True, slots=True)
class ModelParam(Node):
    """`init` is a Builtin of an initialiser (zeros ones normal uniform glorot he orthogonal constant), a Conditional of
    such, or, for an option, `none` (there is no such parameter)."""

    name: str
    type: Type
    init: Expr
    span: Span


@immutable(frozen=True, slots=True)
class ModelState(Node):
    name: str
    type: Type
    init: Expr | None
    span: Span


@immutable(frozen=True, slots=True)
class ModelLet(Node):
    """A submodel: `type` is a ModelType, or a list, tuple, option or map (str keys) of them; `value` a MakeModel, or a
    MakeList, Comprehension over a compile-time range, MakeTuple, MakeMap of such, or `none`."""

    name: str
    type: Type
    value: Expr
    span: Span


@immutable(frozen=True, slots=True)
class ModelDecl(Node):
    """`members` in the order declared: they give the layout of the flat parameter vector. `elem` is the type of its
    parameters, f32 or f64 (its submodels' too). `lets` are the compile-time values, for ConfigValueOf; `sizes` names
    the ints among them that are no polynomial of the configuration: each is the DimVar "MODEL.name"."""

    key: str
    name: str
    config: tuple[ConfigParam, ...]
    members: tuple[ModelParam | ModelState | ModelLet, ...]
    methods: dict[str, str]
    elem: Type
    span: Span
    doc: str | None = None
    lets: tuple[tuple[str, Expr], ...] = ()
    sizes: tuple[str, ...] = ()


Decl = Union[FnDecl, StructDecl, EnumDecl, ModelDecl]


@immutable(frozen=True, slots=True)
class Export(Node):
    """`target` is a FnRef, a ModelType, or the key of a struct or enum."""

    target: FnRef | ModelType | str
    name: str
    span: Span


@immutable(frozen=True, slots=True)
class Test(Node):
    """A test is a function without parameters."""

    name: str
    fn: str
    span: Span


@dataclass
class Program(Node):
    """Everything reachable, standard modules included. `exports` is empty when the file has no `export`."""

    module: str
    decls: dict[str, Decl] = field(default_factory=dict)
    exports: list[Export] = field(default_factory=list)
    tests: list[Test] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    """Public names of the loaded file (its own and what it imports by name) and the keys they mean."""
    files: list[str] = field(default_factory=list)
    """Every file read, in order, for the cache."""
    doc: str | None = None
    constants: dict[str, object] = field(default_factory=dict)
    """Public constants of the file by name: int, float, bool, str or a tuple of these."""
