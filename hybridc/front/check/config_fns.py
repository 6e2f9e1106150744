"""Functions as configuration: which one is meant, and whether it has the type that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hybridc.base.dims import Dim, DimVar
from hybridc.base.source import NOWHERE
from hybridc.base.types import VOID, FnRef, FnType, Prim, Substitution, Type, show_config, substitute
from hybridc.front.check import tree
from hybridc.front.check.bounds import satisfies
from hybridc.front.check.infer import Solver, is_unknown, map_dims
from hybridc.front.check.scope import FnSig, ParamSig, World

if TYPE_CHECKING:
    from hybridc.front.check.checker import Checker
    from hybridc.front.check.typeexpr import TypeReader

BUILT_IN = "std._elementwise"


def named_fn(reader: TypeReader, name: str | None) -> FnRef | None:
    """The function that a name means, a built-in one too."""
    entity = reader.entity(name) if name is not None else None
    if entity is None and name is not None and BUILT_IN in reader.world.modules:
        entity = reader.world.modules[BUILT_IN].names.get(f"_{name}")
    return FnRef(entity.key) if entity is not None and entity.kind == "fn" else None


def check_given(checker: Checker) -> None:
    """Functions are what the configuration asks for, once it is known what each of them gives."""
    for given in checker.world.given:
        sig = checker.world.fn(given.ref.key)
        if sig.result is not None and not fits(checker.world, sig, sig.params, sig.result, given.type):
            found = FnType(tuple((p.type, p.mut) for p in sig.params), sig.result)
            checker.report("HYB301", f"`{given.config.name}` is a {given.type}, and `{show_config(given.ref)}` is a "
                           f"{found}", given.span)


def fits(world: World, fn: FnSig | tree.FnDecl, params: Sequence[ParamSig], result: Type, wanted: FnType) -> bool:
    """Whether a function, with any types and dimensions for those that it leaves open, is of a fn type."""
    if fn.given or len(params) < len(wanted.params) or not all(p.has_default for p in params[len(wanted.params):]):
        return False
    solver = Solver()
    open_dims: dict[DimVar, Dim] = {}

    def opened(d: Dim) -> Dim:
        """Sizes that the configuration asks for are any too."""
        for v in d.variables():
            if not is_unknown(v):
                open_dims.setdefault(v, Dim.of(solver.fresh_dim(v.name)))
        return d.substitute(open_dims)

    metas = {v: solver.fresh(NOWHERE, v.name) for v in fn.type_params}
    s: Substitution = dict(metas)  # type: ignore[arg-type]
    s.update((d, Dim.of(solver.fresh_dim(d.name))) for d in fn.dims)
    s.update((p, (solver.fresh_pack(p.name),)) for p in fn.packs)
    for (t, mut), p in zip(wanted.params, params):
        if mut != p.mut or not solver.unify(substitute(p.type, s), map_dims(t, opened)):
            return False
    if wanted.result != VOID and not solver.unify(map_dims(wanted.result, opened), substitute(result, s)):
        return False
    kinds = [(solver.head(m), v.bound) for v, m in metas.items()]  # type: ignore[arg-type]
    return all(b in (None, "method", "config") or not isinstance(t, Prim) or satisfies(world, t, b) for t, b in kinds)
