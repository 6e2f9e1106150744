"""Which instance of a declaration a call means, and what its types are there."""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.base.dims import Dim, DimVar
from hybridc.base.types import FnRef, ModelType, Tensor, Type
from hybridc.core import ir
from hybridc.front.check import tree
from hybridc.front.lower.core import Instance, Lowerer, bind_types, erase, is_concrete


def resolve(lw: Lowerer, ref: FnRef, arg_types: Sequence[Type | None]) -> tuple[Instance, tree.FnDecl, Lowerer]:
    """The instance a reference means here, from its arguments' types where they say more; and a Lowerer in which the
    declaration's types are concrete."""
    decl = lw.ctx.fn(ref.key)
    types: dict[str, Type] = {}
    packs: dict[str, int] = {}
    dims: dict[str, int] = {}
    for v, given in zip(decl.type_params, ref.types, strict=False):
        concrete = lw.concrete(given)
        if is_concrete(concrete):
            types[v.key] = concrete
    for pack, shape in zip(decl.packs, ref.packs, strict=False):
        resolved = lw.concrete(Tensor(ir.INT, shape)) if shape else ir.INT
        packs[pack.key] = len(resolved.shape) if isinstance(resolved, Tensor) else 0
    for p, t in zip(decl.params, arg_types, strict=False):
        if t is not None:
            bind_types(p.var.type, lw.concrete(t), types, packs, dims)
    model = _owner_model(lw, decl, arg_types)
    if model is not None:
        dims = {}
    instance = Instance(
        ref.key,
        tuple(erase(types[v.key]) for v in decl.type_params),
        tuple(packs.get(p.key, 0) for p in decl.packs),
        model,
        tuple(sorted(dims.items())),
    )
    return instance, decl, callee(lw, instance, decl)


def _owner_model(lw: Lowerer, decl: tree.FnDecl, arg_types: Sequence[Type | None]) -> ModelType | None:
    owner = lw.ctx.decls.get(decl.owner) if decl.owner else None
    if not isinstance(owner, tree.ModelDecl):
        return None
    assert arg_types and arg_types[0] is not None
    model = lw.concrete(arg_types[0])
    assert isinstance(model, ModelType), f"{decl.key} called on {model}"
    return model


def callee(lw: Lowerer, instance: Instance, decl: tree.FnDecl) -> Lowerer:
    """Knows what the types of a declaration are in one instance of it."""
    inner = Lowerer(lw.ctx)
    enter_instance(inner, instance, decl)
    return inner


def enter_instance(lw: Lowerer, instance: Instance, decl: tree.FnDecl) -> None:
    """Make `lw` see a declaration's types as they are in an instance."""
    lw.type_args = {v.key: t for v, t in zip(decl.type_params, instance.types, strict=True)}
    for v, t in zip(decl.type_params, instance.types, strict=True):
        if isinstance(t, ModelType):
            lw.consts.update(lw.ctx.models.config_dims(t, v.key))
    for pack, rank in zip(decl.packs, instance.packs, strict=True):
        lw.packs[pack.key] = tuple(Dim.of(v) for v in pack_dims(pack.key, pack.name, rank))
    lw.consts.update({key: Dim.of(value) for key, value in instance.dims})
    if instance.model is not None:
        model = lw.ctx.decls[instance.model.key]
        assert isinstance(model, tree.ModelDecl)
        lw.model = instance.model
        lw.self_type = decl.params[0].var.type if decl.params else None
        lw.ctx.models.enter(lw, instance.model)


def pack_dims(key: str, name: str, rank: int) -> list[DimVar]:
    """A variable for each dimension that a pack stands for."""
    return [DimVar(f"{key}.{i}", f"{name}{i}") for i in range(rank)]
