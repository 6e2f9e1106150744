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

from hybridc.base.dims import Dim, DimVar, PackVar
from hybridc.base.source import Span
from hybridc.base.types import ConfigValue, FnRef, ModelType, Named, Type, TypeVar


# ---- variables -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Var:
    """A parameter, `let`, `var`, pattern variable or loop variable. `key` is unique in the program
    ("main:f.x", "main:f.x#2"); an int that is never reassigned is also the DimVar of the same key."""

    key: str
    name: str
    type: Type
    mutable: bool = False


# ---- expressions -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Typed:
    type: Type
    span: Span


@dataclass(frozen=True, slots=True)
class Const(Typed):
    """A literal, constant or `none` (value None, type an Option) of exactly `type`, which may be a TypeVar."""

    value: int | float | bool | str | None


@dataclass(frozen=True, slots=True)
class Local(Typed):
    var: Var


@dataclass(frozen=True, slots=True)
class ConfigValueOf(Typed):
    """A model's configuration value, or compile-time `let`, as an expression: `self.act` or `act` in a model, `m.act`
    outside.
    `model` is the type of that model (inside a model: the ModelType of itself over its own variables)."""

    model: Type
    name: str


@dataclass(frozen=True, slots=True)
class DimValue(Typed):
    """A polynomial over dimension variables as an int: `N` or a dimension of a shape."""

    dim: Dim


@dataclass(frozen=True, slots=True)
class Unary(Typed):
    """`-`, `~` on numbers and tensors, `not` on a bool."""

    op: str
    operand: Expr


@dataclass(frozen=True, slots=True)
class Binary(Typed):
    """`+ - * / // % ** @ & | ^ << >>` and `== != < <= > >= in` ("not in" is Unary not).

    Operands of arithmetic and comparison have the same element type (conversions are explicit Casts); shapes may
    differ by broadcasting, which is decided on the types as written here, before they are made concrete: an operand's
    dimension that is missing or is the constant 1 broadcasts, every other pair is equal or checked at run time.
    On str, list, tuples, structs, sets and type variables the meaning is that of the concrete type."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Chain(Typed):
    """`a < b <= c`: each operand evaluated at most once, left to right, stopping at the first false."""

    operands: tuple[Expr, ...]
    ops: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Logic(Typed):
    """`and`, `or` with short circuit."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Conditional(Typed):
    cond: Expr
    then: Expr
    orelse: Expr


@dataclass(frozen=True, slots=True)
class Coalesce(Typed):
    """`option ?? default`; the type is the option's item, or an option if `default` is one."""

    option: Expr
    default: Expr


@dataclass(frozen=True, slots=True)
class Cast(Typed):
    """Numeric conversion to the element type of `type` (a scalar or tensor): `f64(x)` checks its range
    (`implicit` is False), an int that joins a float operation does not."""

    operand: Expr
    implicit: bool


@dataclass(frozen=True, slots=True)
class Some(Typed):
    """A value where an option is expected."""

    value: Expr


@dataclass(frozen=True, slots=True)
class Unwrap(Typed):
    """The value of an option that narrowing has shown to be there (`if x != none: x`)."""

    value: Expr


@dataclass(frozen=True, slots=True)
class Refine(Typed):
    """The same value under a type whose dimensions differ where equality could not be decided: each such dimension is
    compared at run time (ValueError, at this span). `type` says what is promised afterwards."""

    value: Expr


@dataclass(frozen=True, slots=True)
class Arg:
    """An argument: a value, a `mut` place, or (both None) the parameter's default."""

    value: Expr | None = None
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Call(Typed):
    """A declared function or method (its first argument is `self`). `args` are in the order of parameters; `order`
    lists the positions of those written, in the order they are evaluated (all of them before any place is taken).
    For a method of a model, or a function over bare models, the concrete model comes from the argument's type."""

    fn: FnRef
    args: tuple[Arg, ...]
    order: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CallValue(Typed):
    """A call of a value of fn type. Of the derivative of a declared function arguments may be left out, as in Call;
    `order` is that in which they were written, if it is another."""

    fn: Expr
    args: tuple[Arg, ...]
    order: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CallMethod(Typed):
    """A method that only a bound promises (`[F: forward(...)]`, or a model passed as configuration): the concrete
    type's own, found when made concrete. `args` without the receiver, by position."""

    receiver: Arg
    name: str
    args: tuple[Arg, ...]


@dataclass(frozen=True, slots=True)
class Builtin(Typed):
    """A built-in function (`front/builtins.py` lists them): tensor functions, `len range print shape min max ...`.

    `attrs` are (name, value) pairs known at compile time (`axis`, `keepdim`, an einsum's equation, ...), sorted."""

    name: str
    args: tuple[Expr, ...]
    attrs: tuple[tuple[str, object], ...] = ()

    def attr(self, name: str, default: object = None) -> object:
        return dict(self.attrs).get(name, default)


@dataclass(frozen=True, slots=True)
class FnValue(Typed):
    """A declared function as a value."""

    fn: FnRef


@dataclass(frozen=True, slots=True)
class BoundMethod(Typed):
    """`m.loss` as a value; `self` is captured."""

    fn: FnRef
    receiver: Expr


@dataclass(frozen=True, slots=True)
class Lambda(Typed):
    """`fn(x): e` or a local `fn`; captures by value when made. A local fn that calls itself does so through
    `self_var`, which is then among the variables its body uses. An expression body is one Return."""

    params: tuple[Var, ...]
    mut: tuple[bool, ...]
    captures: tuple[Var, ...]
    body: tuple[Stmt, ...]
    self_var: Var | None = None


@dataclass(frozen=True, slots=True)
class MakeStruct(Typed):
    """All fields in order; None stands for the field's default."""

    fields: tuple[Expr | None, ...]


@dataclass(frozen=True, slots=True)
class MakeEnum(Typed):
    case: str
    fields: tuple[Expr | None, ...]


@dataclass(frozen=True, slots=True)
class MakeModel(Typed):
    """`M(8, seed=1)`; `type` is the ModelType. In a member of a model, `computed` are what its configuration
    has of variables that only lowering knows, with their expressions."""

    seed: Expr | None
    computed: tuple[tuple[Dim | TypeVar, Expr], ...] = ()


@dataclass(frozen=True, slots=True)
class MakeTuple(Typed):
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class MakeList(Typed):
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class MakeMap(Typed):
    items: tuple[tuple[Expr, Expr], ...]


@dataclass(frozen=True, slots=True)
class MakeSet(Typed):
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class MakeTensor(Typed):
    """A list literal as a tensor: all elements flat, row-major; `type` has constant dimensions. Items may also be
    tensors of equal shape, whose shape then is the tail of the type's."""

    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Field(Typed):
    """A field of a struct, or of a model: a param (a tensor or scalar), state, submodel or compile-time `let`."""

    value: Expr
    name: str


@dataclass(frozen=True, slots=True)
class TupleItem(Typed):
    value: Expr
    index: int


@dataclass(frozen=True, slots=True)
class SliceIndex:
    """`start:stop:step`; `rest` is `...`, every axis that the other indices leave."""

    start: Expr | None
    stop: Expr | None
    step: Expr | None
    rest: bool = False


@dataclass(frozen=True, slots=True)
class TensorIndex(Typed):
    """`x[i, :, 1:3]`: each index is an int expression, a SliceIndex, or an int or bool tensor (gather or mask; a mask
    goes with no other); missing trailing ones are whole. Lists and strings are indexed by Calls of `_get` and
    `_slice`."""

    value: Expr
    indices: tuple[Union[Expr, SliceIndex], ...]


@dataclass(frozen=True, slots=True)
class Clause:
    pattern: Pattern
    iterable: Expr
    conditions: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Comprehension(Typed):
    """`element` (and `value` for a map), evaluated for each turn of the clauses; `type` says which container."""

    element: Expr
    value: Expr | None
    clauses: tuple[Clause, ...]
    parallel: bool


@dataclass(frozen=True, slots=True)
class FString(Typed):
    """Text, or (expression, format spec)."""

    parts: tuple[Union[str, tuple[Expr, str]], ...]


@dataclass(frozen=True, slots=True)
class Gradient(Typed):
    """`grad(f)` and the like, as a value of fn type; `kind` is the name of the built-in function, `wrt` are positions
    of parameters, -1 for the model of a bound method. `stateful` for `value_and_grad(mut m.loss)`."""

    fn: Expr
    kind: str
    wrt: tuple[int, ...]
    stateful: Place | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint(Typed):
    """`checkpoint(f)`: f, computed again where a derivative needs what is in it."""

    fn: Expr


Expr = Union[Const, Local, ConfigValueOf, DimValue, Unary, Binary, Chain, Logic, Conditional, Coalesce, Cast, Some,
             Unwrap, Refine, Call, CallValue, CallMethod, Builtin, FnValue, BoundMethod, Lambda, MakeStruct, MakeEnum,
             MakeModel, MakeTuple, MakeList, MakeMap, MakeSet, MakeTensor, Field, TupleItem, TensorIndex,
             Comprehension, FString, Gradient, Checkpoint]


def differentiated(e: Expr) -> FnValue | BoundMethod | None:
    """The declared function or method that `grad(f)`, `value_and_grad(m.f)`, `checkpoint(f)` and the like take the
    arguments of."""
    while isinstance(e, Checkpoint) or isinstance(e, Gradient) and e.kind not in ("jvp", "hvp"):
        e = e.fn
        if isinstance(e, FnValue | BoundMethod):
            return e
    return None


# ---- places: what can be assigned or passed as mut -------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class PlaceVar(Typed):
    var: Var


@dataclass(frozen=True, slots=True)
class PlaceField(Typed):
    """A field of a struct; of a model: state or a submodel."""

    base: Place
    name: str


@dataclass(frozen=True, slots=True)
class PlaceItem(Typed):
    """`t[0]` of a tuple."""

    base: Place
    index: int


@dataclass(frozen=True, slots=True)
class PlaceElement(Typed):
    """`xs[i]`, `m[k]`: an element of a container with `_take` and `_put` (and `_set` for plain assignment)."""

    base: Place
    index: Expr


@dataclass(frozen=True, slots=True)
class PlaceTensor(Typed):
    """`t[i, j]`, `t[:, 0]`, `t[idx]` of a tensor."""

    base: Place
    indices: tuple[Union[Expr, SliceIndex], ...]


@dataclass(frozen=True, slots=True)
class PlaceSome(Typed):
    """The value of an option that is known to have one."""

    base: Place


Place = Union[PlaceVar, PlaceField, PlaceItem, PlaceElement, PlaceTensor, PlaceSome]


# ---- patterns --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class AnyPattern:
    """Matches everything, binds nothing."""


@dataclass(frozen=True, slots=True)
class BindPattern:
    var: Var


@dataclass(frozen=True, slots=True)
class ConstPattern:
    """Equal to a literal or constant of the subject's type."""

    value: int | float | bool | str


@dataclass(frozen=True, slots=True)
class NonePattern:
    """An option without value."""


@dataclass(frozen=True, slots=True)
class SomePattern:
    """An option with a value that matches (written without a mark in the source)."""

    inner: Pattern


@dataclass(frozen=True, slots=True)
class EnumPattern:
    """A case; a pattern for each field."""

    case: str
    fields: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class StructPattern:
    fields: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class TuplePattern:
    items: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class ListPattern:
    """`rest` is the pattern of the starred item (AnyPattern or BindPattern of the list's type), or None; `before` and
    `after` stand around it."""

    before: tuple[Pattern, ...]
    rest: Pattern | None
    after: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class OrPattern:
    """Alternatives that bind the same variables (the same Vars)."""

    items: tuple[Pattern, ...]


Pattern = Union[AnyPattern, BindPattern, ConstPattern, NonePattern, SomePattern, EnumPattern, StructPattern,
                TuplePattern, ListPattern, OrPattern]


# ---- statements ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Let:
    """`let` or `var` (the pattern's Vars say which); the pattern always matches: names, `_`, tuples, structs."""

    pattern: Pattern
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class LocalFn:
    """A `fn` in a body: its Var is bound to the closure."""

    var: Var
    value: Lambda
    span: Span


@dataclass(frozen=True, slots=True)
class Assign:
    """All values first, then each place in order. `op` with one target is `place op= value` (index expressions once);
    on tensors the right side broadcasts to the place, and with an index tensor `+=` and `-=` accumulate duplicates.
    With several targets and one tuple value, `values` holds that one."""

    targets: tuple[Place, ...]
    op: str | None
    values: tuple[Expr, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class ExprStmt:
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class If:
    cond: Expr
    then: tuple[Stmt, ...]
    orelse: tuple[Stmt, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class While:
    cond: Expr
    body: tuple[Stmt, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class For:
    """Over a list, map, set, deque, string, a tensor's first dimension, or Builtin `range`, `enumerate`, `zip` of
    these; over a model's list of submodels too."""

    pattern: Pattern
    iterable: Expr
    body: tuple[Stmt, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Break:
    span: Span


@dataclass(frozen=True, slots=True)
class Continue:
    span: Span


@dataclass(frozen=True, slots=True)
class Return:
    value: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class Assert:
    cond: Expr
    message: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class Raise:
    message: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class MatchCase:
    pattern: Pattern
    guard: Expr | None
    body: tuple[Stmt, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """Exhaustive: some case always matches."""

    subject: Expr
    cases: tuple[MatchCase, ...]
    span: Span


Stmt = Union[Let, LocalFn, Assign, ExprStmt, If, While, For, Break, Continue, Return, Assert, Raise, Match]


# ---- declarations ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ParamDecl:
    var: Var
    mut: bool
    default: Expr | None


@dataclass(frozen=True, slots=True)
class FnDecl:
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


@dataclass(frozen=True, slots=True)
class FieldDecl:
    name: str
    type: Type
    default: Expr | None


@dataclass(frozen=True, slots=True)
class StructDecl:
    """`params` are its bracket parameters in order: TypeVars and DimVars. `methods` are keys by name."""

    key: str
    name: str
    params: tuple[TypeVar | DimVar, ...]
    fields: tuple[FieldDecl, ...]
    methods: dict[str, str]
    span: Span
    doc: str | None = None


@dataclass(frozen=True, slots=True)
class CaseDecl:
    name: str
    fields: tuple[FieldDecl, ...]


@dataclass(frozen=True, slots=True)
class EnumDecl:
    key: str
    name: str
    params: tuple[TypeVar | DimVar, ...]
    cases: tuple[CaseDecl, ...]
    methods: dict[str, str]
    span: Span
    doc: str | None = None


@dataclass(frozen=True, slots=True)
class ConfigParam:
    """A configuration argument. `dim` is its variable if it is an int (key "MODULE:Model.name")."""

    name: str
    type: Type
    dim: DimVar | None
    default: ConfigValue
    has_default: bool


@dataclass(frozen=True, slots=True)
class ModelParam:
    """`init` is a Builtin of an initialiser (zeros ones normal uniform glorot he orthogonal constant), a Conditional of
    such, or, for an option, `none` (there is no such parameter)."""

    name: str
    type: Type
    init: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class ModelState:
    name: str
    type: Type
    init: Expr | None
    span: Span


@dataclass(frozen=True, slots=True)
class ModelLet:
    """A submodel: `type` is a ModelType, or a list, tuple, option or map (str keys) of them; `value` a MakeModel, or a
    MakeList, Comprehension over a compile-time range, MakeTuple, MakeMap of such, or `none`."""

    name: str
    type: Type
    value: Expr
    span: Span


@dataclass(frozen=True, slots=True)
class ModelDecl:
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


@dataclass(frozen=True, slots=True)
class Export:
    """`target` is a FnRef, a ModelType, or the key of a struct or enum."""

    target: FnRef | ModelType | str
    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class Test:
    """A test is a function without parameters."""

    name: str
    fn: str
    span: Span


@dataclass
class Program:
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


__all__ = [n for n in dir() if n[0].isupper()] + ["Named"]
