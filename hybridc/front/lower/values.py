"""The values of one function in the making: what its types, dimensions and variables are (the half of `Lowerer` that
knows no control flow)."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hybridc.base.diagnostic import Diagnostic
from hybridc.base.dims import Dim, DimVar, PackVar
from hybridc.base.source import NOWHERE, Span
from hybridc.base.types import FnRef, FnType, ModelType, Named, Option, Tensor, TupleType, Type, TypeVar, Void
from hybridc.core import ir
from hybridc.core.builder import Builder, integer
from hybridc.core.types import shape, small
from hybridc.front.check import tree
from hybridc.front.lower.context import HANDLERS, BoundDim, Context, LoopLabels, Parts, Refused, Value

if TYPE_CHECKING:
    from hybridc.front.lower.closure import Closure


class Values(ABC):
    """The state of a Lowerer. `env` maps variables (by key) to values."""

    def __init__(self, ctx: Context, parent: Values | None = None):
        self.ctx = ctx
        self.b = Builder()
        self.parent = parent
        self.env: dict[str, Value] = {}
        self.kinds: dict[str, ir.Type] = {}
        """The declared Core type of each variable in `env`."""
        self.dims: dict[str, BoundDim] = {}
        self.tail: ir.Tail | None = None
        self.labels: set[int] = set()
        """Labels that some exit has used."""
        self.loops: list[LoopLabels] = []
        self.captured: dict[str, ir.Var] = {}
        self.captures: list[tuple[ir.Var, ir.Atom]] = []
        """For a closure: its parameters for what it captures, and the values outside."""
        self.results: tuple[ir.Type, ...] = ()
        self.result_type: Type = Void()
        self.muts: list[str] = []
        """Keys of the `mut` parameters, whose values are results too."""
        self.title = ""
        self.name = ""
        self.hidden = False
        self.type_args: dict[str, Type] = {}
        self.packs: dict[str, tuple[Dim, ...]] = {}
        self.consts: dict[str, Dim] = {}
        self.aliases: dict[str, tree.Expr] = {}
        """`let`s that name an expression: see mixed.py."""
        self.functions: dict[ir.Atom, Closure] = {}
        """Values of fn types that were made here: see closure.py."""
        self.model: ModelType | None = None
        self.self_type: Type | None = None
        """How the declaration writes the type of `self` in a method of a model."""
        self._fresh = itertools.count(1)
        if parent is not None:
            self.type_args, self.packs, self.consts = parent.type_args, parent.packs, parent.consts
            self.model, self.self_type, self.hidden = parent.model, parent.self_type, parent.hidden

    # ---- types
    def concrete(self, t: Type) -> Type:
        """The type with this instance's types, configuration and packs put in; dimension names may remain."""
        match t:
            case TypeVar():
                return self.type_args.get(t.key, t)
            case Tensor(elem, shape):
                dims: list[Dim | PackVar] = []
                for d in shape:
                    if isinstance(d, PackVar):
                        dims.extend(self.packs.get(d.key, (d,)))
                    else:
                        dims.append(self.concrete_dim(d))
                new = self.concrete(elem)
                if isinstance(new, Tensor):
                    return Tensor(new.elem, tuple(dims) + new.shape)
                return Tensor(new, tuple(dims)) if dims else new
            case TupleType(items):
                return TupleType(tuple(map(self.concrete, items)))
            case Option(item):
                return Option(self.concrete(item))
            case FnType(params, result):
                return FnType(tuple((self.concrete(p), mut) for p, mut in params), self.concrete(result))
            case Named(key, args):
                return Named(key, tuple(self.concrete_dim(a) if isinstance(a, Dim) else self.concrete(a) for a in args))
            case ModelType(key, config):
                if self.model is not None and t == self.self_type:
                    return self.model
                return ModelType(key, tuple(map(self.concrete_config, config)))
            case _:
                return t

    def concrete_dim(self, d: Dim) -> Dim:
        values = {v: self.consts[v.key] for v in d.variables() if v.key in self.consts}
        return d.substitute(values) if values else d

    def concrete_config(self, value: Any) -> Any:
        match value:
            case Dim():
                return self.concrete_dim(value)
            case tuple():
                return tuple(map(self.concrete_config, value))
            case FnRef(key, types, packs):
                return FnRef(key, tuple(map(self.concrete, types)), packs)
            case ModelType() | TypeVar():
                return self.concrete(value)
            case _:
                return value

    def type(self, t: Type) -> ir.Type:
        """The Core type, with the dimensions that are numbers here."""
        try:
            return self.ctx.types.core(self.concrete(t))
        except Refused as refused:
            if refused.diagnostic.span != NOWHERE:
                raise
            raise Refused(replace(refused.diagnostic, span=self.b.span)) from None

    # ---- dimensions
    def dim(self, d: Dim | PackVar) -> ir.Atom:
        """A dimension's value as an int."""
        if isinstance(d, PackVar):
            raise self.refuse("HYB808", "how many dimensions stand in front is not known here: no argument says",
                              self.b.span, "write the shape, as in `ones(3)`")
        d = self.concrete_dim(d)
        if d.constant is not None:
            return integer(d.constant)
        total: ir.Atom | None = None
        for monomial, coefficient in d.terms:
            term: ir.Atom | None = None if coefficient == 1 and monomial else integer(coefficient)
            for variable, power in monomial:
                value = self.dim_var(variable)
                for _ in range(power):
                    term = value if term is None else self.b.op("mul", [term, value], ir.INT)
            assert term is not None
            total = term if total is None else self.b.op("add", [total, term], ir.INT)
        assert total is not None
        return total

    def dim_var(self, v: DimVar) -> ir.Atom:
        """The run-time value of a dimension name or of an int `let`."""
        bound = self.find_dim(v)
        if bound is None:
            name = "a dimension" if v.name == "?" else f"the dimension {v.name}"
            raise self.refuse("HYB808", f"{name} is not known here: no argument gives it a value", self.b.span,
                              "write the shape, as in `ones(3)`" if v.name == "?" else None)
        if bound.maybe:
            ok = self.b.op("ge", [bound.atom, integer(0)], ir.BOOL)
            self.check(ok, "ValueError", f"dimension {bound.name} is needed, but an empty list or `none` binds nothing")
        return bound.atom

    def find_dim(self, v: DimVar) -> BoundDim | None:
        bound = self.dims.get(v.key)
        if bound is not None:
            bound.used = True
            return bound
        if v.key in self.consts:
            return BoundDim(self.dim(self.consts[v.key]), v.name)
        value = self.env.get(v.key) or self.captured.get(v.key)
        if value is not None and not isinstance(value, Parts):
            return BoundDim(value, v.name)
        if self.parent is None:
            return None
        outer = self.parent.find_dim(v)
        if outer is None:
            return None
        if isinstance(outer.atom, ir.Const):
            return outer
        inner = self.b.var(ir.INT, v.name)
        self.captures.append((inner, outer.atom))
        self.dims[v.key] = BoundDim(inner, v.name, outer.maybe)
        return self.dims[v.key]

    def refuse(self, code: str, message: str, span: Span, help: str | None = None) -> Refused:
        """An error of the program, to be raised."""
        return Refused(Diagnostic(code, message, span, help))

    # ---- values
    def expr(self, e: tree.Expr) -> ir.Atom:
        """The atom of an expression that has a value."""
        return self.whole(self.value(e))

    def value(self, e: tree.Expr) -> Value:
        value = self.effect(e)
        return value if value is not None else Parts(ir.UNIT, ())

    def effect(self, e: tree.Expr | tree.Stmt) -> Value | None:
        """Lower an expression; None if it has no value (a call of a function that returns nothing)."""
        handler = HANDLERS.get(type(e))
        assert handler is not None, f"no lowering of {type(e).__name__}"
        self.b.span = e.span
        result = handler(self, e)  # type: ignore[arg-type]
        self.b.span = e.span
        return self.sized(result, e.type) if isinstance(result, ir.Var) else result  # type: ignore[union-attr]

    def sized(self, value: ir.Var, t: Type) -> ir.Var:
        """A tensor out of an aggregate, where sizes are forgotten, with those that its type says, if it is small."""
        if not isinstance(value.type, ir.TensorT) or None not in value.type.dims:
            return value
        kind = self.type(t)
        if not small(kind):
            return value
        assert isinstance(kind, ir.TensorT)
        return self.b.op("reshape", [value, *map(integer, shape(kind))], kind, fits=True)

    def whole(self, value: Value) -> ir.Atom:
        """One atom for a value."""
        if not isinstance(value, Parts):
            return value
        items = [self.whole(i) for i in value.items]
        return self.b.op("tuple" if isinstance(value.type, ir.TupleT) else "struct", items, value.type)

    def apart(self, value: Value) -> Value:
        """A struct's or tuple's fields, recursively."""
        if isinstance(value, Parts):
            return Parts(value.type, tuple(map(self.apart, value.items)))
        types = self.ctx.types.parts(value.type)
        if types is None:
            return value
        outs = self.b.ops("destruct", [value], types) if types else ()
        return Parts(value.type, tuple(map(self.apart, outs)))

    def item(self, value: Value, index: int, type: ir.Type | None = None) -> Value:
        """A field of a struct or tuple."""
        if isinstance(value, Parts):
            return value.items[index]
        types = self.ctx.types.parts(value.type)
        assert types is not None, f"{value} has no fields"
        return self.b.op("get", [value], type or types[index], index=index)

    def leaves(self, value: Value) -> list[ir.Atom]:
        return [a for i in value.items for a in self.leaves(i)] if isinstance(value, Parts) else [value]

    def leaf_types(self, t: ir.Type) -> list[ir.Type]:
        types = self.ctx.types.parts(t)
        return [t] if types is None else [leaf for item in types for leaf in self.leaf_types(item)]

    def rebuild(self, like: Value, leaves: Iterable[ir.Atom]) -> Value:
        """A value of the same form from new leaves."""
        source = iter(leaves)

        def build(v: Value) -> Value:
            return Parts(v.type, tuple(map(build, v.items))) if isinstance(v, Parts) else next(source)

        return build(like)

    # ---- variables
    def declare(self, var: tree.Var, value: Value) -> None:
        self.kinds[var.key] = self.type(var.type)
        if isinstance(value, ir.Var):
            value = self.sized(value, var.type)
        self.env[var.key] = self.apart(value) if var.mutable else self.whole(value)

    def fresh(self, name: str, type: Type, value: Value, mutable: bool = False) -> tree.Var:
        """A variable of the compiler's own, for what is built out of tree nodes."""
        var = tree.Var(f"${self.name}.{name}{next(self._fresh)}", name, type, mutable)
        self.declare(var, value)
        return var

    def local(self, name: str, type: Type, value: Value) -> tree.Local:
        """An expression for a value already computed."""
        return tree.Local(type, self.b.span, self.fresh(name, type, value))

    def read(self, key: str) -> Value:
        """The value of a variable; a closure captures it from outside."""
        if key in self.env:
            return self.env[key]
        if key in self.captured:
            return self.captured[key]
        assert self.parent is not None, f"variable {key} has no value in {self.name}"
        outer = self.parent.whole(self.parent.read(key))
        if isinstance(outer, ir.Const):
            return outer
        inner = self.b.var(outer.type, key.rpartition(".")[2])
        self.captured[key] = inner
        self.captures.append((inner, outer))
        return inner

    @abstractmethod
    def check(self, ok: ir.Atom, kind: str, message: str | Callable[[], ir.Atom] | None = None,
              span: Span | None = None) -> None:
        """Fault unless `ok`."""
