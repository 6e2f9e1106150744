"""Concrete types to Core types: structs and enums are defined when first met, dimensions inside them are forgotten.

A type is concrete when no type variable is left in it; its dimensions may still be names (run-time ints). Two concrete
types that differ in dimensions only are the same in Core, so everything that is made once per type (definitions,
instances, derived functions) is keyed by the *erased* type, in which every dimension is `?`."""

from __future__ import annotations

from collections.abc import Callable

from hybridc.base.dims import Dim, DimVar, PackVar, Shape
from hybridc.base.types import (
    BUFFER,
    STD_TYPES,
    STR,
    FnType,
    ModelType,
    Named,
    Option,
    Prim,
    Substitution,
    Tensor,
    TupleType,
    Type,
    TypeVar,
    Void,
    show_config,
    substitute,
)
from hybridc.core import ir
from hybridc.front.check import tree
from hybridc.front.lower.notes import Decls, Notes

KEPT = "std.core:_Kept"
"""A key as a map keeps it: itself, but of a text what std/_keys.hyb says."""
BRIEF = Named("std._keys:_Brief")
UNKNOWN = Dim.of(DimVar("?", "?"))
"""The dimension of an erased type."""


def erase(t: Type) -> Type:
    """The type with every dimension unknown; model configurations stay, they are part of the type."""
    match t:
        case Tensor(elem, shape):
            return Tensor(erase(elem), tuple(UNKNOWN for _ in shape))
        case TupleType(items):
            return TupleType(tuple(erase(i) for i in items))
        case Option(item):
            return Option(erase(item))
        case FnType(params, result):
            return FnType(tuple((erase(p), mut) for p, mut in params), erase(result))
        case Named(key, args):
            return Named(key, tuple(UNKNOWN if isinstance(a, Dim) else erase(a) for a in args))
        case _:
            return t


def is_concrete(t: object) -> bool:
    """No type variable or pack is left."""
    match t:
        case TypeVar():
            return False
        case Tensor(elem, shape):
            return is_concrete(elem) and not any(isinstance(d, PackVar) for d in shape)
        case TupleType(items):
            return all(map(is_concrete, items))
        case Option(item):
            return is_concrete(item)
        case FnType(params, result):
            return is_concrete(result) and all(is_concrete(p) for p, _ in params)
        case Named(_, args):
            return all(is_concrete(a) for a in args)
        case ModelType(_, config):
            return all(_concrete_config(c) for c in config)
        case _:
            return True


def _concrete_config(value: object) -> bool:
    if isinstance(value, Dim):
        return value.constant is not None
    if isinstance(value, tuple):
        return all(map(_concrete_config, value))
    return is_concrete(value)


class Types:
    """The definitions of one Core program. `model_struct` and `fn_enum` are given by those who lay those out."""

    def __init__(self, decls: Decls, core: ir.Program):
        self.decls = decls
        self.program = core
        self.named: dict[Type, str] = {}
        self.notes: dict[str, Notes] = {}
        """What was looked at for the definition of each, but for those that it is made of."""
        self.fronts: dict[str, Type] = {}
        """Core name of each struct and enum -> the erased type it stands for."""
        self.model_struct: Callable[[ModelType], str] = lambda t: str(t)
        self.fn_enum: Callable[[FnType], str] = lambda t: str(t)
        names: dict[str, list[str]] = {}
        for key, decl in decls.items():
            if not isinstance(decl, tree.FnDecl):
                names.setdefault(decl.name, []).append(key)
        self.ambiguous = {name for name, keys in names.items() if len(keys) > 1}
        self.core(Named(STD_TYPES["str"]))

    # ---- names
    def decl_name(self, key: str) -> str:
        """The short name, with its module where two types share it."""
        module, _, name = key.rpartition(":")
        builtin = STD_TYPES.get(name) == key or key == BUFFER
        return f"{module}.{name}" if name in self.ambiguous and not builtin else name

    def show(self, t: Type) -> str:
        """The name of an erased type in Core; dimension arguments are left out."""
        match t:
            case Tensor(elem, shape):
                return f"{self.show(elem)}[{', '.join('?' for _ in shape)}]"
            case TupleType(items):
                return "(" + ", ".join(map(self.show, items)) + ("," if len(items) == 1 else "") + ")"
            case Option(item):
                return f"({self.show(item)})?" if isinstance(item, FnType) else f"{self.show(item)}?"
            case FnType(params, result):
                shown = ", ".join(("mut " if mut else "") + self.show(p) for p, mut in params)
                return f"fn({shown})" + ("" if isinstance(result, Void) else f" -> {self.show(result)}")
            case Named(key, args):
                types = [self.show(a) for a in args if not isinstance(a, Dim)]
                return self.decl_name(key) + (f"[{', '.join(types)}]" if types else "")
            case ModelType(key, config):
                return self.decl_name(key) + "[" + ", ".join(self._show_config(c) for c in config) + "]"
            case _:
                return str(t)

    def _show_config(self, value: object) -> str:
        if isinstance(value, tuple):
            return "[" + ", ".join(map(self._show_config, value)) + "]"
        return self.show(value) if isinstance(value, ModelType) else show_config(value)  # type: ignore[arg-type]

    # ---- types
    def core(self, t: Type) -> ir.Type:
        """The Core type of a concrete type, with the dimensions that are numbers."""
        match t:
            case Prim():
                return t
            case Tensor(elem, shape):
                if not shape:
                    return self.core(elem)
                dims = tuple(d.constant if isinstance(d, Dim) else None for d in shape)
                return ir.TensorT(elem, dims)  # type: ignore[arg-type]
            case TupleType(items):
                return ir.TupleT(tuple(self.inner(i) for i in items))
            case Option(item):
                return ir.OptionT(self.inner(item))
            case Named(key, args) if key == BUFFER:
                return ir.BufferT(self.inner(args[0]))  # type: ignore[arg-type]
            case Named(key, args) if key == KEPT:
                return self.inner(BRIEF if args[0] == STR else args[0])  # type: ignore[arg-type]
            case Named():
                return self._declared(erase(t))  # type: ignore[arg-type]
            case ModelType():
                return ir.StructT(self.model_struct(t))
            case FnType():
                return ir.EnumT(self.fn_enum(erase(t)))  # type: ignore[arg-type]
            case Void():
                return ir.UNIT
            case _:
                raise AssertionError(f"type {t!r} is not concrete")

    def inner(self, t: Type) -> ir.Type:
        """The Core type inside an aggregate, where no dimension is known."""
        return self.core(erase(t))

    def _declared(self, t: Named) -> ir.Type:
        decl = self.decls.get(t.key)
        assert isinstance(decl, (tree.StructDecl, tree.EnumDecl)), f"no type {t.key}"
        enum = isinstance(decl, tree.EnumDecl)
        name = self.named.get(t)
        if name is None:
            name = self.named[t] = self.show(t)
            self.fronts[name] = t
            notes = self.notes[name] = Notes()
            with self.decls.noted(notes):
                self._define(name, t)
        self.decls.used(name, t)
        return ir.EnumT(name) if enum else ir.StructT(name)

    def _define(self, name: str, t: Named) -> None:
        if self.is_enum(t):
            self.program.enums[name] = ir.EnumDef(name, ())
            cases = tuple((case, tuple((f, self.inner(ft)) for f, ft in fields)) for case, fields in self.cases(t))
            self.program.enums[name] = ir.EnumDef(name, cases)
        else:
            self.program.structs[name] = ir.StructDef(name, ())
            fields = tuple((f, self.inner(ft)) for f, ft in self.fields(t))
            self.program.structs[name] = ir.StructDef(name, fields)

    def all_notes(self, notes: Notes) -> Notes:
        """With what the types in it are made of."""
        found = Notes(dict(notes.reads), sound=notes.sound)
        todo = dict(notes.types)
        while todo:
            name, t = todo.popitem()
            if name not in found.types:
                found.types[name] = t
                found.reads.update(self.notes[name].reads)
                found.sound &= self.notes[name].sound
                todo.update(self.notes[name].types)
        return found

    # ---- what declared types are made of
    def substitution(self, t: Named) -> Substitution:
        """Of the declaration's parameters by the type's arguments."""
        decl = self.decls[t.key]
        assert isinstance(decl, (tree.StructDecl, tree.EnumDecl))
        return dict(zip(decl.params, t.args, strict=True))  # type: ignore[arg-type]

    def fields(self, t: Named) -> list[tuple[str, Type]]:
        """A struct's fields and their types, with the dimensions of `t`."""
        decl = self.decls[t.key]
        assert isinstance(decl, tree.StructDecl)
        s = self.substitution(t)
        return [(f.name, substitute(f.type, s)) for f in decl.fields]

    def cases(self, t: Named) -> list[tuple[str, list[tuple[str, Type]]]]:
        """An enum's cases, their fields and types."""
        decl = self.decls[t.key]
        assert isinstance(decl, tree.EnumDecl)
        s = self.substitution(t)
        return [(c.name, [(f.name, substitute(f.type, s)) for f in c.fields]) for c in decl.cases]

    def is_struct(self, t: Type) -> bool:
        return isinstance(t, Named) and isinstance(self.decls.get(t.key), tree.StructDecl)

    def is_enum(self, t: Type) -> bool:
        return isinstance(t, Named) and isinstance(self.decls.get(t.key), tree.EnumDecl)

    def parts(self, t: ir.Type) -> tuple[ir.Type, ...] | None:
        """The fields of a Core struct or tuple."""
        if isinstance(t, ir.StructT):
            return tuple(ft for _, ft in self.program.structs[t.name].fields)
        if isinstance(t, ir.TupleT):
            return t.items
        return None


def bind_types(
    pattern: Type, actual: Type, types: dict[str, Type], packs: dict[str, int], dims: dict[str, int]
) -> None:
    """Find what the variables of a declared type stand for, by keys, from a concrete type of the same form. `dims` are
    dimension names that a model's configuration gives."""
    match pattern, actual:
        case ModelType(key, config), ModelType(other_key, others) if key == other_key:
            for c, other in zip(config, others, strict=False):
                _bind_config(c, other, types, packs, dims)
        case TypeVar(key=key), _:
            types.setdefault(key, actual)
        case Tensor(elem, shape), Tensor(actual_elem, actual_shape):
            bind_types(elem, actual_elem, types, packs, dims)
            _bind_pack(shape, len(actual_shape), packs)
        case Tensor(elem, shape), _:
            bind_types(elem, actual, types, packs, dims)
            _bind_pack(shape, 0, packs)
        case TupleType(items), TupleType(others):
            for p, a in zip(items, others, strict=False):
                bind_types(p, a, types, packs, dims)
        case Option(item), Option(other):
            bind_types(item, other, types, packs, dims)
        case FnType(params, result), FnType(other_params, other_result):
            for (p, _), (a, _) in zip(params, other_params, strict=False):
                bind_types(p, a, types, packs, dims)
            bind_types(result, other_result, types, packs, dims)
        case Named(_, args), Named(_, others):
            for arg, other_arg in zip(args, others, strict=False):
                if not isinstance(arg, Dim) and not isinstance(other_arg, Dim):
                    bind_types(arg, other_arg, types, packs, dims)
        case _:
            pass


def _bind_config(
    c: object, actual: object, types: dict[str, Type], packs: dict[str, int], dims: dict[str, int]
) -> None:
    if isinstance(c, Dim) and isinstance(actual, Dim):
        if c.variable is not None and actual.constant is not None:
            dims.setdefault(c.variable.key, actual.constant)
    elif isinstance(c, TypeVar):
        types.setdefault(c.key, actual)  # type: ignore[arg-type]
    elif isinstance(c, ModelType) and isinstance(actual, ModelType):
        bind_types(c, actual, types, packs, dims)


def _bind_pack(shape: Shape, rank: int, packs: dict[str, int]) -> None:
    pack = [d for d in shape if isinstance(d, PackVar)]
    if len(pack) == 1:
        packs.setdefault(pack[0].key, rank - (len(shape) - 1))
