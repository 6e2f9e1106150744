"""Inference variables for types, dimensions and packs, and the unification that solves them.

A `Meta` stands for a type, a DimVar whose key starts with "~" for a dimension, a PackVar whose key starts with "~" for
a run of dimensions. A DimVar named "?" is a dimension known only at run time: each has its own key, so a value agrees
with itself; as what is *expected*, it accepts every dimension.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache, reduce
from math import gcd
from typing import Any

from hybridc.base.dims import Dim, DimVar, PackVar, Shape
from hybridc.base.source import Span
from hybridc.base.types import (
    POISON,
    ConfigValue,
    FnRef,
    FnType,
    ModelType,
    Named,
    Option,
    Poison,
    Prim,
    Tensor,
    TupleType,
    Type,
    TypeVar,
    Void,
)


class Meta:
    """A type that is not known yet. `bounds` are what it must meet once it is; `birth` is when it was made: it may
    not mention run-time dimensions that came into scope later."""

    __slots__ = ("ref", "bounds", "span", "what", "birth")

    def __init__(self, span: Span, what: str, bounds: tuple[str, ...], birth: int):
        self.ref: Type | None = None
        self.span = span
        self.what = what
        self.bounds = bounds
        self.birth = birth

    def __str__(self) -> str:
        return str(self.ref) if self.ref is not None else "_"

    __repr__ = __str__


def is_unknown(v: DimVar) -> bool:
    """A `?`."""
    return v.name == "?"


def is_dim_meta(v: DimVar | PackVar) -> bool:
    return v.key.startswith("~")


def equal_dims(a: Dim, b: Dim) -> bool | None:
    """Whether two dimensions are equal; None where that is known only at run time."""
    difference = a - b
    if not difference.terms:
        return True
    constant = 0
    coefficients: list[int] = []
    for monomial, coefficient in difference.terms:
        if monomial:
            coefficients.append(coefficient)
        else:
            constant = coefficient
    if not coefficients or constant % reduce(gcd, coefficients) != 0:
        return False
    return None


@dataclass
class Solver:
    """What is known of the inference variables of one function body."""

    counter: int = 0
    dims: dict[DimVar, Dim] = field(default_factory=dict)
    packs: dict[PackVar, Shape] = field(default_factory=dict)
    births: dict[DimVar, int] = field(default_factory=dict)
    metas: list[Meta] = field(default_factory=list)
    bound_checks: list[tuple[Meta, Span]] = field(default_factory=list)
    postponed: list[tuple[Dim, Dim]] = field(default_factory=list)
    undecided: list[tuple[Dim, Dim]] = field(default_factory=list)
    used: bool = False
    """Whether any inference variable was made."""
    _trail: list[Meta | DimVar | PackVar] = field(default_factory=list)

    # -- making variables ----------------------------------------------------------------------------------------------
    def tick(self) -> int:
        self.counter += 1
        return self.counter

    def fresh(self, span: Span, what: str, bounds: tuple[str, ...] = ()) -> Meta:
        self.used = True
        meta = Meta(span, what, bounds, self.tick())
        self.metas.append(meta)
        return meta

    def fresh_dim(self, name: str) -> DimVar:
        self.used = True
        return DimVar(f"~{self.tick()}", name)

    def fresh_pack(self, name: str) -> PackVar:
        self.used = True
        return PackVar(f"~{self.tick()}", name)

    def unknown(self) -> Dim:
        return Dim.of(DimVar(f"?{self.tick()}", "?"))

    # -- reading -------------------------------------------------------------------------------------------------------
    def head(self, t: Type) -> Type:
        """The type with its outermost variable replaced, as far as known."""
        while isinstance(t, Meta) and t.ref is not None:
            t = t.ref
        if isinstance(t, Tensor):
            shape = self.shape(t.shape)
            elem = self.head(t.elem)
            if not shape:
                return elem
            if isinstance(elem, Tensor):
                return Tensor(elem.elem, shape + elem.shape)
            return Tensor(elem, shape) if shape is not t.shape or elem is not t.elem else t
        return t

    def dim(self, d: Dim) -> Dim:
        if not self.dims:
            return d
        while any(v in self.dims for v in d.variables()):
            d = d.substitute(self.dims)
        return d

    def shape(self, shape: Shape) -> Shape:
        items: list[Dim | PackVar] = []
        for item in shape:
            if isinstance(item, PackVar):
                solved = self.packs.get(item)
                if solved is None:
                    items.append(item)
                else:
                    items.extend(self.shape(solved))
            else:
                items.append(self.dim(item))
        new = tuple(items)
        return shape if new == shape else new

    def resolve(self, t: Type) -> Type:
        """The type with every variable replaced, as far as known."""
        t = self.head(t)
        match t:
            case Prim() | TypeVar() | Void() | Poison() | Meta():
                return t
            case Tensor():
                return t
            case TupleType(items):
                return TupleType(tuple(self.resolve(i) for i in items))
            case Option(item):
                return Option(self.resolve(item))
            case FnType(params, result):
                return FnType(tuple((self.resolve(p), mut) for p, mut in params), self.resolve(result))
            case Named(key, args):
                if not args:
                    return t
                return Named(key, tuple(self.dim(a) if isinstance(a, Dim) else self.resolve(a) for a in args))
            case ModelType(key, config):
                return ModelType(key, tuple(self.config(c) for c in config)) if config else t
        return t

    def config(self, c: ConfigValue) -> ConfigValue:
        match c:
            case Dim():
                return self.dim(c)
            case ModelType() | Meta():
                return self.resolve(c)  # type: ignore[return-value]
            case FnRef(key, types, packs):
                return FnRef(key, tuple(self.resolve(t) for t in types), tuple(self.shape(p) for p in packs))
            case tuple():
                return tuple(self.config(x) for x in c)
        return c

    # -- solving -------------------------------------------------------------------------------------------------------
    def mark(self) -> tuple[int, int, int]:
        return len(self._trail), len(self.postponed), len(self.undecided)

    def undo(self, mark: tuple[int, int, int]) -> None:
        """Forget what was solved since `mark`."""
        while len(self._trail) > mark[0]:
            v = self._trail.pop()
            if isinstance(v, Meta):
                v.ref = None
            elif isinstance(v, DimVar):
                del self.dims[v]
            else:
                del self.packs[v]
        del self.postponed[mark[1]:]
        del self.undecided[mark[2]:]

    def attempt(self, to: Type, frm: Type) -> bool:
        """Unify, or change nothing."""
        mark = self.mark()
        if self.unify(to, frm):
            return True
        self.undo(mark)
        return False

    def unify(self, to: Type, frm: Type) -> bool:
        """Make a value of type `frm` fit where `to` is expected. Dimensions that may differ go to `undecided`."""
        to, frm = self.head(to), self.head(frm)
        if to is frm or to == frm:
            return True
        if isinstance(to, Meta):
            return self._bind(to, frm)
        if isinstance(frm, Meta):
            return self._bind(frm, to)
        if isinstance(to, Poison) or isinstance(frm, Poison):
            return True
        match to, frm:
            case Tensor(), Tensor():
                return self.unify(to.elem, frm.elem) and self.unify_shape(to.shape, frm.shape)
            case Tensor(), Prim() | TypeVar():
                return self.unify(to.elem, frm) and self.unify_shape(to.shape, ())
            case Prim() | TypeVar(), Tensor():
                return self.unify(to, frm.elem) and self.unify_shape((), frm.shape)
            case TupleType(), TupleType():
                return len(to.items) == len(frm.items) and all([self.unify(a, b) for a, b in zip(to.items, frm.items)])
            case Option(), Option():
                return self.unify(to.item, frm.item)
            case FnType(), FnType():
                if len(to.params) != len(frm.params):
                    return False
                if any(m != n for (_, m), (_, n) in zip(to.params, frm.params)):
                    return False
                ok = all([self.unify(q, p) for (p, _), (q, _) in zip(to.params, frm.params)])
                return ok and self.unify(to.result, frm.result)
            case Named(), Named():
                if to.key != frm.key or len(to.args) != len(frm.args):
                    return False
                return all([self._unify_argument(a, b) for a, b in zip(to.args, frm.args)])
            case ModelType(), ModelType():
                if to.key != frm.key or len(to.config) != len(frm.config):
                    return False
                return all([self._unify_config(a, b) for a, b in zip(to.config, frm.config)])
        return False

    def _unify_argument(self, a: Type | Dim, b: Type | Dim) -> bool:
        if isinstance(a, Dim) and isinstance(b, Dim):
            return self.unify_dim(a, b)
        if isinstance(a, Dim) or isinstance(b, Dim):
            return False
        return self.unify(a, b)

    def _unify_config(self, a: ConfigValue, b: ConfigValue) -> bool:
        if isinstance(a, Dim) and isinstance(b, Dim):
            return self.unify_dim(a, b)
        if isinstance(a, TypeVar) and a.key.startswith("?"):  # open, as an unknown dimension is
            return True
        if isinstance(a, tuple) and isinstance(b, tuple):
            return len(a) == len(b) and all([self._unify_config(x, y) for x, y in zip(a, b)])
        if isinstance(a, Meta | ModelType | TypeVar) and isinstance(b, Meta | ModelType | TypeVar):
            return self.unify(a, b)
        if isinstance(a, Meta):
            a.ref = b  # type: ignore[assignment]
            return True
        return type(a) is type(b) and a == b

    def unify_dim(self, to: Dim, frm: Dim) -> bool:
        a, b = self.dim(to), self.dim(frm)
        if a == b:
            return True
        for one, other in ((a, b), (b, a)):
            v = one.variable
            if v is not None and is_dim_meta(v) and v not in other.variables():
                self.dims[v] = other
                self._trail.append(v)
                return True
        if any(is_unknown(v) for v in a.variables()):
            return True
        if any(is_dim_meta(v) for v in a.variables() | b.variables()):
            self.postponed.append((a, b))
            return True
        equal = equal_dims(a, b)
        if equal is None:
            self.undecided.append((a, b))
        return equal is not False

    def unify_shape(self, to: Shape, frm: Shape) -> bool:
        to, frm = self.shape(to), self.shape(frm)
        for one, other in ((to, frm), (frm, to)):
            at = next((i for i, p in enumerate(one) if isinstance(p, PackVar) and is_dim_meta(p)), None)
            if at is None:
                continue
            pack, after = one[at], len(one) - 1 - at
            if len(other) < len(one) - 1:
                return False
            fixed = [*other[:at], *other[len(other) - after:]]
            if any(isinstance(p, PackVar) for p in fixed):
                return False
            run = other[at: len(other) - after]
            if run == (pack,):
                break
            if pack in run:
                return False
            self.packs[pack] = run  # type: ignore[index]
            self._trail.append(pack)  # type: ignore[arg-type]
            return self.unify_shape(to, frm)
        if len(to) != len(frm):
            return False
        ok = True
        for a, b in zip(to, frm):
            if isinstance(a, PackVar) or isinstance(b, PackVar):
                ok = ok and a == b
            else:
                ok = self.unify_dim(a, b) and ok
        return ok

    def settle_postponed(self, since: int) -> tuple[Dim, Dim] | None:
        """Compare again the dimensions postponed since then; the first pair that provably differs, if any."""
        waiting, self.postponed = self.postponed[since:], self.postponed[:since]
        bad = None
        for a, b in waiting:
            if not self.unify_dim(a, b) and bad is None:
                bad = (self.dim(a), self.dim(b))
        return bad

    def _bind(self, meta: Meta, t: Type) -> bool:
        if self.occurs(meta, t):
            return False
        if isinstance(t, Void):
            return False
        if isinstance(t, Meta):
            t.bounds = t.bounds + tuple(b for b in meta.bounds if b not in t.bounds)
            t.birth = min(t.birth, meta.birth)
        else:
            t = self._hide(t, meta.birth)
        meta.ref = t
        self._trail.append(meta)
        return True

    def occurs(self, meta: Meta, t: Type) -> bool:
        t = self.head(t)
        match t:
            case Meta():
                return t is meta
            case TupleType(items):
                return any(self.occurs(meta, i) for i in items)
            case Option(item) | Tensor(item, _):
                return self.occurs(meta, item)
            case FnType(params, result):
                return any(self.occurs(meta, p) for p, _ in params) or self.occurs(meta, result)
            case Named(_, args):
                return any(not isinstance(a, Dim) and self.occurs(meta, a) for a in args)
        return False

    def _hide(self, t: Type, birth: int) -> Type:
        """Dimensions of inner variables become `?` in a type that outlives them."""
        if not self.births or not any(b > birth for b in self.births.values()):
            return t
        young = {v: self.unknown() for v, b in self.births.items() if b > birth}
        return map_dims(self.resolve(t), lambda d: d.substitute(young) if young.keys() & d.variables() else d)


def map_dims(t: Type, f: Any) -> Type:
    """The type with `f` applied to each dimension."""
    match t:
        case Tensor(elem, shape):
            return Tensor(elem, tuple(s if isinstance(s, PackVar) else f(s) for s in shape))
        case TupleType(items):
            return TupleType(tuple(map_dims(i, f) for i in items))
        case Option(item):
            return Option(map_dims(item, f))
        case Named(key, args):
            return Named(key, tuple(f(a) if isinstance(a, Dim) else map_dims(a, f) for a in args))
        case FnType(params, result):
            return FnType(tuple((map_dims(p, f), mut) for p, mut in params), map_dims(result, f))
        case ModelType(key, config):
            return ModelType(key, tuple(_map_config(c, f) for c in config))
    return t


def _map_config(c: ConfigValue, f: Any) -> ConfigValue:
    match c:
        case Dim():
            return f(c)
        case ModelType():
            return map_dims(c, f)  # type: ignore[return-value]
        case tuple():
            return tuple(_map_config(x, f) for x in c)
    return c


@cache
def _field_names(cls: type) -> tuple[str, ...]:
    return tuple(f.name for f in fields(cls))


_TYPES = (Prim, Tensor, TupleType, Option, FnType, Named, ModelType, TypeVar, Void, Poison, Meta)


class Zonk:
    """Replaces solved variables in a finished tree. A variable nobody solved is reported once, by `unsolved`."""

    def __init__(self, solver: Solver):
        self.solver = solver
        self.unsolved: list[Meta] = []
        self._types: dict[Any, Type] = {}

    def type(self, t: Type) -> Type:
        if isinstance(t, Prim | Void | TypeVar):
            return t
        known = self._types.get(t)
        if known is None:
            known = self._types[t] = self._final(self.solver.resolve(t))
        return known

    def _final(self, t: Type) -> Type:
        match t:
            case Meta():
                if t not in self.unsolved:
                    self.unsolved.append(t)
                return POISON
            case Tensor(elem, shape):
                return Tensor(self._final(elem), tuple(self._item(s) for s in shape))
            case TupleType(items):
                return TupleType(tuple(self._final(i) for i in items))
            case Option(item):
                return Option(self._final(item))
            case FnType(params, result):
                return FnType(tuple((self._final(p), mut) for p, mut in params), self._final(result))
            case Named(key, args) if args:
                return Named(key, tuple(self._dim(a) if isinstance(a, Dim) else self._final(a) for a in args))
            case ModelType(key, config) if config:
                return ModelType(key, tuple(self._config(c) for c in config))
        return t

    def _config(self, c: ConfigValue) -> ConfigValue:
        match c:
            case Dim():
                return self._dim(c)
            case Meta() | ModelType():
                return self._final(c)  # type: ignore[return-value]
            case tuple():
                return tuple(self._config(x) for x in c)
            case FnRef(key, types, packs):
                return FnRef(key, tuple(self._final(t) for t in types), tuple(self.shape(p) for p in packs))
        return c

    def _item(self, s: Dim | PackVar) -> Dim | PackVar:
        if isinstance(s, PackVar):
            return s
        return self._dim(s)

    def _dim(self, d: Dim) -> Dim:
        left = {v: Dim.of(DimVar("?" + v.key[1:], "?")) for v in d.variables() if is_dim_meta(v)}
        return d.substitute(left) if left else d

    def shape(self, shape: Shape) -> Shape:
        return tuple(self._item(s) for s in self.solver.shape(shape) if not (isinstance(s, PackVar) and is_dim_meta(s)))

    def node(self, n: Any) -> Any:
        """The tree with every type in it final."""
        if isinstance(n, tuple):
            new = tuple(self.node(x) for x in n)
            return n if all(a is b for a, b in zip(new, n)) else new
        if n is None or isinstance(n, str | int | float | Span):
            return n
        if isinstance(n, _TYPES):
            return self.type(n)  # type: ignore[arg-type]
        if isinstance(n, Dim):
            return self._dim(self.solver.dim(n))
        if isinstance(n, FnRef):
            return FnRef(n.key, tuple(self.type(t) for t in n.types), tuple(self.shape(p) for p in n.packs))
        if isinstance(n, PackVar | DimVar) or not is_dataclass(n):
            return n
        cls: Any = type(n)
        names = _field_names(cls)
        old = [getattr(n, name) for name in names]
        new_values = [self.node(v) for v in old]
        if all(a is b for a, b in zip(new_values, old)):
            return n
        return cls(*new_values)
