"""The typed tree to Core: every function that is asked for is made concrete, and with it whatever it calls.

    lower(program, models) -> (Core, what Python sees of it, what could not be lowered)

Each pair of a function and the types it is used with is an *instance*, one Core function; a worklist of them starts
with what the file offers (interface.py) and grows with every call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from hybridc.base.diagnostic import Diagnostic
from hybridc.base.recursion import deep_recursion
from hybridc.base.types import ModelType, Void
from hybridc.core import ir
from hybridc.core.builder import integer
from hybridc.core.interface import Interface
from hybridc.front.check import tree
from hybridc.front.lower import apply as lower_apply
from hybridc.front.lower import comp as lower_comp
from hybridc.front.lower.closure import Closures
from hybridc.front.lower.core import BoundDim, Context, Instance, Lowerer, Refused, outside
from hybridc.front.lower.dims import bind_dims, without_searches
from hybridc.front.lower.evaluate import evaluate
from hybridc.front.lower.instance import enter_instance, resolve
from hybridc.front.lower.interface import Leading, Surface
from hybridc.front.lower.kept import Keeper, KeptFns, Stale
from hybridc.front.lower.model import Models
from hybridc.front.lower.stmt import block

PARTS = (lower_apply, lower_comp)
"""Modules that lower kinds of nodes and are called by nothing else."""


def lower(
    program: tree.Program, models: Sequence[ModelType] = (), all_names: bool = False, tests: bool = False,
    leading: Leading | None = None, kept: KeptFns | None = None,
) -> tuple[ir.Program, Interface, list[Diagnostic]]:
    """Core and interface of the exports of a file (of all it declares if there are none, or with `all_names`), for the
    configurations of models in `models` besides those exported, and one function for as many `leading` dimensions.
    `kept` are functions that were lowered before, and are then those of this program too."""
    try:
        return _lower(program, models, all_names, tests, leading, kept)
    except Stale:
        return _lower(program, models, all_names, tests, leading, None)


def _lower(
    program: tree.Program, models: Sequence[ModelType], all_names: bool, tests: bool, leading: Leading | None,
    kept: KeptFns | None,
) -> tuple[ir.Program, Interface, list[Diagnostic]]:
    ctx = context(program)
    keeper = None if kept is None else keep(ctx, kept)
    surface = Surface(ctx, models, all_names, tests, leading)
    with deep_recursion():
        guarded(ctx, surface.targets)
        # What crosses is made of other types, whose helpers are functions that may bring in more.
        while ctx.work or ctx.closures.finish() or surface.more():
            drain(ctx)
    surface.interface.externs = list(ctx.externs)
    if keeper is not None and not ctx.diagnostics:
        keeper.finish()
    return ctx.core, surface.interface, list(dict.fromkeys(ctx.diagnostics))


def context(program: tree.Program) -> Context:
    ctx = Context(program)
    ctx.closures = Closures(ctx)
    ctx.models = Models(ctx)
    ctx.types.fn_enum = ctx.closures.enum
    ctx.types.model_struct = ctx.models.struct
    ctx.make_fn = lambda instance, name: make_fn(ctx, instance, name)
    ctx.make_later = lambda _, make: make()
    ctx.evaluate = lambda lw, e: evaluate(beside(ctx), finish, lw, e)
    return ctx


def keep(ctx: Context, kept: KeptFns) -> Keeper:
    """Let functions be taken from those that are kept, and be kept."""
    keeper = Keeper(ctx, kept)
    ctx.make_fn = lambda instance, name: keeper.instance(instance, lambda: make_fn(ctx, instance, name))
    ctx.make_later = keeper.later
    return keeper


def beside(ctx: Context) -> Context:
    """Another program of the same source, for what is computed while this one is made."""
    ctx.unsound()  # what is looked at there is not noted
    other = context(ctx.program)
    other.aside = True
    other.models.lets = ctx.models.lets
    return other


def drain(ctx: Context) -> None:
    """Make every function that has been asked for."""
    while ctx.work:
        guarded(ctx, ctx.work.pop(0))


def finish(ctx: Context) -> None:
    """Make all there is to make."""
    while ctx.work or ctx.closures.finish():
        drain(ctx)


def guarded(ctx: Context, work: Callable[[], None]) -> None:
    """Do a piece of work; what it cannot lower is an error of the program."""
    try:
        work()
    except Refused as refused:
        ctx.diagnostics.append(refused.diagnostic)


def make_fn(ctx: Context, instance: Instance, name: str) -> None:
    """One declared function, concrete."""
    decl = ctx.fn(instance.key)
    lw = Lowerer(ctx)
    enter_instance(lw, instance, decl)
    lw.name, lw.title, lw.hidden = name, ctx.title(decl), is_library(decl)
    lw.result_type = lw.concrete(decl.result)
    with outside(decl.span):
        results = [] if isinstance(lw.result_type, Void) else [lw.type(lw.result_type)]
        lw.results = (*results, *(lw.type(p.var.type) for p in decl.params if p.mut))
        params = [lw.b.var(lw.type(p.var.type), p.var.name) for p in decl.params]
    lw.muts = [p.var.key for p in decl.params if p.mut]

    def body() -> list[ir.Atom]:
        lw.b.span = decl.span
        prologue(lw, decl, params)
        block(lw, decl.body)
        if lw.tail is None and not isinstance(lw.result_type, Void):
            lw.unreachable()
        return [lw.whole(lw.read(k)) for k in lw.muts] if lw.tail is None else []

    branch = lw.branch(body)
    if isinstance(branch.tail, ir.Exit) and branch.tail.label == ir.RETURN:
        branch.results, branch.tail = list(branch.tail.values), None
    branch.stmts = without_searches(lw, branch.stmts)
    made = lw.finish(params, branch, lw.results, hidden=lw.hidden, span=decl.span)
    if decl.custom_grad is not None:
        taken = [*(p.var.type for p in decl.params), decl.result, decl.result]
        made = replace(made, adjoint=ctx.instance(resolve(lw, decl.custom_grad, taken)[0]))
    ctx.add(made)


def prologue(lw: Lowerer, decl: tree.FnDecl, params: Sequence[ir.Var]) -> None:
    """Parameters become variables; dimension names are bound and compared."""
    for p, v in zip(decl.params, params, strict=True):
        if not p.mut:
            lw.declare(p.var, v)
    for d, v in zip(reversed(decl.given), reversed(params), strict=False):
        lw.check(lw.op("ge", [v, integer(0)], ir.BOOL), "ValueError", f"the dimension {d.name} is negative")
        lw.dims[d.key] = BoundDim(v, d.name)
    own = [d.key for d in decl.dims if d.key not in lw.consts and d not in decl.given]
    own += [v.key for pack in decl.packs for d in lw.packs[pack.key] for v in d.variables()]
    typed = [(p.var.name, lw.concrete(p.var.type), v, decl.span) for p, v in zip(decl.params, params, strict=True)]
    bind_dims(lw, own, typed)
    for p, v in zip(decl.params, params, strict=True):
        if p.mut:
            lw.declare(p.var, v)
            lw.env[p.var.key] = lw.apart(v) if not p.var.mutable else lw.env[p.var.key]


def is_library(decl: tree.FnDecl) -> bool:
    return decl.key.startswith("std.")
