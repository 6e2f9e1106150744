"""The typed tree's variables and expressions; `tree.py` has the rest of it, and says what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Union

from hybridc.base.dims import Dim
from hybridc.base.immutable import immutable
from hybridc.base.source import Span
from hybridc.base.types import FnRef, Type, TypeVar

if TYPE_CHECKING:
    from hybridc.front.check.tree import Pattern, Place, Stmt


class Node:
    """Whatever the tree is made of."""

    __slots__ = ()


# ---- variables -------------------------------------------------------------------------------------------------------
@immutable(frozen=True, slots=True)
class Var(Node):
    """A parameter, `let`, `var`, pattern variable or loop variable. `key` is unique in the program
    ("main:f.x", "main:f.x#2"); an int that is never reassigned is also the DimVar of the same key."""

    key: str
    name: str
    type: Type
    mutable: bool = False


# ---- expressions -----------------------------------------------------------------------------------------------------
@immutable(frozen=True, slots=True)
class Typed(Node):
    type: Type
    span: Span


@immutable(frozen=True, slots=True)
class Const(Typed):
    """A literal, constant or `none` (value None, type an Option) of exactly `type`, which may be a TypeVar."""

    value: int | float | bool | str | None


@immutable(frozen=True, slots=True)
class Local(Typed):
    var: Var


@immutable(frozen=True, slots=True)
class ConfigValueOf(Typed):
    """A model's configuration value, or compile-time `let`, as an expression: `self.act` or `act` in a model, `m.act`
    outside.
    `model` is the type of that model (inside a model: the ModelType of itself over its own variables)."""

    model: Type
    name: str


@immutable(frozen=True, slots=True)
class DimValue(Typed):
    """A polynomial over dimension variables as an int: `N` or a dimension of a shape."""

    dim: Dim


@immutable(frozen=True, slots=True)
class Unary(Typed):
    """`-`, `~` on numbers and tensors, `not` on a bool."""

    op: str
    operand: Expr


@immutable(frozen=True, slots=True)
class Binary(Typed):
    """`+ - * / // % ** @ & | ^ << >>` and `== != < <= > >= in` ("not in" is Unary not).

    Operands of arithmetic and comparison have the same element type (conversions are explicit Casts); shapes may
    differ by broadcasting, which is decided on the types as written here, before they are made concrete: an operand's
    dimension that is missing or is the constant 1 broadcasts, every other pair is equal or checked at run time.
    On str, list, tuples, structs, sets and type variables the meaning is that of the concrete type."""

    op: str
    left: Expr
    right: Expr


@immutable(frozen=True, slots=True)
class Chain(Typed):
    """`a < b <= c`: each operand evaluated at most once, left to right, stopping at the first false."""

    operands: tuple[Expr, ...]
    ops: tuple[str, ...]


@immutable(frozen=True, slots=True)
class Logic(Typed):
    """`and`, `or` with short circuit."""

    op: str
    left: Expr
    right: Expr


@immutable(frozen=True, slots=True)
class Conditional(Typed):
    cond: Expr
    then: Expr
    orelse: Expr


@immutable(frozen=True, slots=True)
class Coalesce(Typed):
    """`option ?? default`; the type is the option's item, or an option if `default` is one."""

    option: Expr
    default: Expr


@immutable(frozen=True, slots=True)
class Cast(Typed):
    """Numeric conversion to the element type of `type` (a scalar or tensor): `f64(x)` checks its range
    (`implicit` is False), an int that joins a float operation does not."""

    operand: Expr
    implicit: bool


@immutable(frozen=True, slots=True)
class Some(Typed):
    """A value where an option is expected."""

    value: Expr


@immutable(frozen=True, slots=True)
class Unwrap(Typed):
    """The value of an option that narrowing has shown to be there (`if x != none: x`)."""

    value: Expr


@immutable(frozen=True, slots=True)
class Refine(Typed):
    """The same value under a type whose dimensions differ where equality could not be decided: each such dimension is
    compared at run time (ValueError, at this span, about `what`). `type` says what is promised afterwards."""

    value: Expr
    what: str = "the value"


@immutable(frozen=True, slots=True)
class Arg(Node):
    """An argument: a value, a `mut` place, or (both None) the parameter's default."""

    value: Expr | None = None
    place: Place | None = None


@immutable(frozen=True, slots=True)
class Call(Typed):
    """A declared function or method (its first argument is `self`). `args` are in the order of parameters; `order`
    lists the positions of those written, in the order they are evaluated (all of them before any place is taken).
    For a method of a model, or a function over bare models, the concrete model comes from the argument's type."""

    fn: FnRef
    args: tuple[Arg, ...]
    order: tuple[int, ...]


@immutable(frozen=True, slots=True)
class CallValue(Typed):
    """A call of a value of fn type. Of the derivative of a declared function arguments may be left out, as in Call;
    `order` is that in which they were written, if it is another."""

    fn: Expr
    args: tuple[Arg, ...]
    order: tuple[int, ...] = ()


@immutable(frozen=True, slots=True)
class CallMethod(Typed):
    """A method that only a bound promises (`[F: forward(...)]`, or a model passed as configuration): the concrete
    type's own, found when made concrete. `args` without the receiver, as written, with `names` where they have some.
    `place` is the receiver's where it may be changed, for a method that does."""

    receiver: Expr
    place: Place | None
    name: str
    args: tuple[Arg, ...]
    names: tuple[str | None, ...]


@immutable(frozen=True, slots=True)
class Builtin(Typed):
    """A built-in function (`front/builtins.py` lists them): tensor functions, `len range print shape min max ...`.

    `attrs` are (name, value) pairs known at compile time (`axis`, `keepdim`, an einsum's equation, ...), sorted."""

    name: str
    args: tuple[Expr, ...]
    attrs: tuple[tuple[str, object], ...] = ()

    def attr(self, name: str, default: object = None) -> object:
        return dict(self.attrs).get(name, default)


@immutable(frozen=True, slots=True)
class FnValue(Typed):
    """A declared function as a value."""

    fn: FnRef


@immutable(frozen=True, slots=True)
class BoundMethod(Typed):
    """`m.loss` as a value; `self` is captured."""

    fn: FnRef
    receiver: Expr


@immutable(frozen=True, slots=True)
class Lambda(Typed):
    """`fn(x): e` or a local `fn`; captures by value when made. A local fn that calls itself does so through
    `self_var`, which is then among the variables its body uses. An expression body is one Return."""

    params: tuple[Var, ...]
    mut: tuple[bool, ...]
    captures: tuple[Var, ...]
    body: tuple[Stmt, ...]
    self_var: Var | None = None


@immutable(frozen=True, slots=True)
class MakeStruct(Typed):
    """All fields in order; None stands for the field's default."""

    fields: tuple[Expr | None, ...]


@immutable(frozen=True, slots=True)
class MakeEnum(Typed):
    case: str
    fields: tuple[Expr | None, ...]


@immutable(frozen=True, slots=True)
class MakeModel(Typed):
    """`M(8, seed=1)`; `type` is the ModelType. In a member of a model, `computed` are what its configuration
    has of variables that only lowering knows, with their expressions."""

    seed: Expr | None
    computed: tuple[tuple[Dim | TypeVar, Expr], ...] = ()


@immutable(frozen=True, slots=True)
class MakeTuple(Typed):
    items: tuple[Expr, ...]


@immutable(frozen=True, slots=True)
class MakeList(Typed):
    items: tuple[Expr, ...]


@immutable(frozen=True, slots=True)
class MakeMap(Typed):
    items: tuple[tuple[Expr, Expr], ...]


@immutable(frozen=True, slots=True)
class MakeSet(Typed):
    items: tuple[Expr, ...]


@immutable(frozen=True, slots=True)
class MakeTensor(Typed):
    """A list literal as a tensor: all elements flat, row-major; `type` has constant dimensions. Items may also be
    tensors of equal shape, whose shape then is the tail of the type's."""

    items: tuple[Expr, ...]


@immutable(frozen=True, slots=True)
class Field(Typed):
    """A field of a struct, or of a model: a param (a tensor or scalar), state, submodel or compile-time `let`."""

    value: Expr
    name: str


@immutable(frozen=True, slots=True)
class TupleItem(Typed):
    value: Expr
    index: int


@immutable(frozen=True, slots=True)
class SliceIndex(Node):
    """`start:stop:step`; `rest` is `...`, every axis that the other indices leave."""

    start: Expr | None
    stop: Expr | None
    step: Expr | None
    rest: bool = False


@immutable(frozen=True, slots=True)
class TensorIndex(Typed):
    """`x[i, :, 1:3]`: each index is an int expression, a SliceIndex, or an int or bool tensor (gather or mask; a mask
    goes with no other); missing trailing ones are whole. Lists and strings are indexed by Calls of `_get` and
    `_slice`."""

    value: Expr
    indices: tuple[Union[Expr, SliceIndex], ...]


@immutable(frozen=True, slots=True)
class Clause(Node):
    pattern: Pattern
    iterable: Expr
    conditions: tuple[Expr, ...]


@immutable(frozen=True, slots=True)
class Comprehension(Typed):
    """`element` (and `value` for a map), evaluated for each turn of the clauses; `type` says which container."""

    element: Expr
    value: Expr | None
    clauses: tuple[Clause, ...]
    parallel: bool


@immutable(frozen=True, slots=True)
class FString(Typed):
    """Text, or (expression, format spec)."""

    parts: tuple[Union[str, tuple[Expr, str]], ...]


@immutable(frozen=True, slots=True)
class Gradient(Typed):
    """`grad(f)` and the like, as a value of fn type; `kind` is the name of the built-in function, `wrt` are positions
    of parameters, -1 for the model of a bound method. `stateful` for `value_and_grad(mut m.loss)`."""

    fn: Expr
    kind: str
    wrt: tuple[int, ...]
    stateful: Place | None = None


@immutable(frozen=True, slots=True)
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
