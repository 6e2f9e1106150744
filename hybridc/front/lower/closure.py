"""Functions as values, without function pointers: a fn type is an enum of everything that is used as a value of that
type anywhere in the program (its fields are what is captured), and a call is a match on it.

Every such enum also has the case `Host(id)`: a Python callable, called through the host operator "call"."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from hybridc.base.names import unused
from hybridc.base.types import FnRef, FnType, Type, Void
from hybridc.core import ir
from hybridc.front.check import tree
from hybridc.front.check.open_models import holds_open
from hybridc.front.lower.choice import chosen, dispatch
from hybridc.front.lower.core import Context, Lowerer, Value, generated, lowers
from hybridc.front.lower.dims import bind_dims
from hybridc.front.lower.fits import checked
from hybridc.front.lower.inside import dims_of, unchecked
from hybridc.front.lower.instance import resolve
from hybridc.front.lower.notes import Applied, Case
from hybridc.front.lower.stmt import block
from hybridc.front.lower.types import erase
from hybridc.front.lower.values import Values

HOST = "Host"


@dataclass(frozen=True)
class Closure:
    """A function of the source as Core calls it: `fn` takes the captures, then the arguments."""

    identity: object
    title: str
    fn: str
    captures: list[tuple[str, ir.Atom]]
    takes_self: bool = False


@dataclass
class FnEnum:
    type: FnType
    name: str
    cases: dict[object, Case] = field(default_factory=dict)


class Closures:
    """Every fn type of the program. The enums and the functions that apply them are complete only at the end, when all
    values of each type are known: `finish`."""

    def __init__(self, ctx: Context):
        self.ctx = ctx
        self.enums: dict[FnType, FnEnum] = {}
        self._applied: dict[FnType, int] = {}

    def enum(self, t: FnType) -> str:
        """The Core enum of an erased fn type."""
        found = self.enums.get(t)
        if found is None:
            name = self.ctx.types.show(t)
            found = self.enums[t] = FnEnum(t, name)
            self.ctx.types.fronts[name] = t
            self.ctx.core.enums[name] = ir.EnumDef(name, ((HOST, (("id", ir.INT),)),))
        self.ctx.did(Applied(found.name, t))
        return found.name

    def signature(self, t: FnType) -> tuple[list[ir.Type], list[ir.Type]]:
        """Core parameters and results (the result, then `mut` parameters) of an erased fn type."""
        types = self.ctx.types
        params = [types.inner(p) for p, _ in t.params]
        results = [] if isinstance(t.result, Void) else [types.inner(t.result)]
        return params, results + [types.inner(p) for p, mut in t.params if mut]

    def make(self, lw: Lowerer, t: FnType, closure: Closure) -> ir.Atom:
        """A value of a fn type: the case for the closure's identity, made now if it is new."""
        t = erase(t)  # type: ignore[assignment]
        captures = closure.captures
        enum = self.enum(t)
        case = self.enums[t].cases.get(closure.identity)
        if case is None:
            fields = tuple((name or f"c{i}", a.type) for i, (name, a) in enumerate(captures))
            name = self.case_name(t, closure.title)
            case = Case(t, closure.identity, closure.title, name, closure.fn, fields, closure.takes_self)
            self.add(case)
        self.ctx.did(case)
        value = lw.op("enum", [a for _, a in captures], ir.EnumT(enum), case=case.name)
        lw.functions[value] = closure
        return value

    def add(self, case: Case) -> None:
        """One more value of its fn type."""
        enum = self.enum(case.type)
        self.enums[case.type].cases[case.identity] = case
        definition = self.ctx.core.enums[enum]
        added = (case.name, tuple((n, _inner(k)) for n, k in case.captures))
        self.ctx.core.enums[enum] = ir.EnumDef(enum, (*definition.cases, added))

    def case_name(self, t: FnType, title: str, more: Collection[str] = ()) -> str:
        """A name for a case that no other of a type has, nor `more`."""
        enum = self.enums.get(t)
        return unused(title, {c.name for c in (enum.cases.values() if enum else ())} | {HOST, *more})

    def apply_name(self, t: FnType) -> str:
        t = erase(t)  # type: ignore[assignment]
        self.enum(t)
        return f"apply {self.enums[t].name}"

    def apply(self, lw: Lowerer, t: FnType, fn: ir.Atom, args: Sequence[ir.Atom]) -> list[ir.Var]:
        """Call a function value."""
        erased = erase(t)
        assert isinstance(erased, FnType)
        return list(lw.b.call(self.apply_name(erased), [fn, *args], self.signature(erased)[1]))

    def finish(self) -> bool:
        """Make the functions that apply each fn type, once no function is waiting to be made; whether any was new or
        has more cases than before."""
        changed = False
        for t, enum in list(self.enums.items()):
            if self._applied.get(t) != len(enum.cases):
                self._applied[t] = len(enum.cases)
                self.ctx.add(self._apply(t, enum))
                changed = True
        return changed

    def _apply(self, t: FnType, enum: FnEnum) -> ir.Fn:
        params, results = self.signature(t)
        by_name = {c.name: c for c in enum.cases.values()}

        def body(lw: Lowerer, v: list[ir.Var]) -> Sequence[ir.Atom]:
            fn, args = v[0], v[1:]
            arms = []
            for case, fields in self.ctx.core.enums[enum.name].cases:
                values = tuple(lw.b.var(k, n) for n, k in fields)
                lw.b.open()
                if case == HOST:
                    service = service_of("call", [mut for _, mut in t.params])
                    outs = lw.b.ops("host", [values[0], *args], results, name=service)
                else:
                    own = [fn] if by_name[case].takes_self else []
                    outs = lw.b.call(by_name[case].fn, [*own, *values, *args], results)
                arms.append(ir.Arm(case, values, lw.b.close(ir.Yield(tuple(outs)))))
            return list(lw.b.match(fn, arms, results))

        named = [("f", ir.EnumT(enum.name)), *((f"x{i}", p) for i, p in enumerate(params))]
        return generated(self.ctx, self.apply_name(t), "", named, results, body)


def service_of(name: str, muts: Sequence[bool]) -> str:
    """The name of a service that Python gives, with the numbers of the arguments that it changes."""
    changed = [str(i) for i, mut in enumerate(muts) if mut]
    return f"{name} mut {','.join(changed)}" if changed else name


def _inner(t: ir.Type) -> ir.Type:
    """A type as it is inside an aggregate."""
    return ir.TensorT(t.elem, tuple(None for _ in t.dims)) if isinstance(t, ir.TensorT) else t


# ---- declared functions and methods as values ------------------------------------------------------------------------
@lowers(tree.FnValue)
def fn_value(lw: Lowerer, e: tree.FnValue) -> Value:
    t = lw.concrete(e.type)
    assert isinstance(t, FnType)
    found = closure_of(lw, e, t)
    assert found is not None
    return lw.ctx.closures.make(lw, t, found)


@lowers(tree.BoundMethod)
def bound_method(lw: Lowerer, e: tree.BoundMethod) -> Value:
    picked = chosen(lw, e)
    if picked is not None:
        value = dispatch(lw, e, picked)
        assert value is not None
        return value
    t = lw.concrete(e.type)
    assert isinstance(t, FnType)
    found = closure_of(lw, e, t)
    assert found is not None
    return lw.ctx.closures.make(lw, t, found)


def closure_of(lw: Lowerer, e: tree.Expr, t: FnType) -> Closure | None:
    """The function that an expression of fn type names or is; None for any other value."""
    match e:
        case tree.FnValue():
            return _declared(lw, t, e.fn, [], [p for p, _ in t.params])
        case tree.BoundMethod():
            receiver = lw.expr(e.receiver)
            lw.b.span = e.span
            args = [lw.concrete(e.receiver.type), *(p for p, _ in t.params)]
            return _declared(lw, t, e.fn, [("self", receiver)], args, holds_open(e.receiver.type))
        case tree.Lambda():
            return _lambda(lw, e, t)
    return None


def known(lw: Values, value: ir.Atom) -> Closure | None:
    """The function that a value was made of, in this function or in one around it."""
    if value in lw.functions or lw.parent is None:
        return lw.functions.get(value)
    outside = next((a for v, a in lw.captures if v == value), None)
    found = known(lw.parent, outside) if outside is not None else None
    return found and replace(found, captures=[(name, _captured(lw, a)) for name, a in found.captures])


def _captured(lw: Values, outside: ir.Atom) -> ir.Atom:
    """A value of the function around."""
    if isinstance(outside, ir.Const):
        return outside
    inside = next((v for v, a in lw.captures if a == outside), None)
    if inside is None:
        inside = lw.b.var(outside.type, outside.name)
        lw.captures.append((inside, outside))
    return inside


def _declared(
    lw: Lowerer, t: FnType, ref: FnRef, captures: list[tuple[str, ir.Atom]], args: list[Type], opened: bool = False
) -> Closure:
    """A declared function as a value. Where it is an extern, or takes defaults that the fn type leaves out, or drops a
    result, a function of the right form stands between; `opened`: and where it is the method of a model whose
    configuration only lowering knows, one that compares the arguments with it."""
    instance, decl, inner = resolve(lw, ref, [*args, *(None for _ in decl_rest(lw, ref, args))])
    ctx = lw.ctx
    direct = decl.host is None and len(decl.params) == len(args) and (
        isinstance(decl.result, Void) == isinstance(t.result, Void))
    title = ctx.title(decl)
    if direct:
        fn = ctx.instance(instance)
        if opened and any(unchecked(ctx, inner.concrete(p.var.type)) for p in decl.params[1:]):
            fn = checked(ctx, decl, instance, fn)
            return Closure(fn, title, fn, captures)
        return Closure((instance, len(captures)), title, fn, captures)
    kinds = [ctx.types.inner(inner.concrete(p.var.type)) for p in decl.params[: len(args)]]
    _, results = ctx.closures.signature(erase(t))  # type: ignore[arg-type]
    nothing = isinstance(t.result, Void)
    type_args, consts = lw.type_args, lw.consts

    def body(made: Lowerer, v: list[ir.Var]) -> Sequence[ir.Atom]:
        made.type_args, made.consts, made.packs = type_args, consts, lw.packs
        made.model, made.self_type = lw.model, lw.self_type
        nodes: list[tree.Arg] = []
        muts: list[tree.Var] = []
        for p, atom, kind in zip(decl.params, v, args, strict=False):
            var = made.fresh(p.var.name, kind, atom, p.mut)
            if p.mut:
                muts.append(var)
                nodes.append(tree.Arg(place=tree.PlaceVar(kind, decl.span, var)))
            else:
                nodes.append(tree.Arg(value=tree.Local(kind, decl.span, var)))
        nodes += [tree.Arg() for _ in decl.params[len(args):]]
        made.b.span = decl.span
        order = tuple(range(len(args)))
        result = made.effect(tree.Call(inner.concrete(decl.result), decl.span, ref, tuple(nodes), order))
        outs = [] if nothing or result is None else [made.whole(result)]
        return outs + [made.whole(made.env[var.key]) for var in muts]

    whose = decl.name if decl.host is not None else ctx.instance(instance)
    name = ctx.later(f"{whose} as {ctx.types.show(erase(t))}", lambda symbol: generated(
        ctx, symbol, title, [(p.var.name, k) for p, k in zip(decl.params, kinds, strict=False)], results, body))
    return Closure(name, title, name, captures)


def decl_rest(lw: Lowerer, ref: FnRef, args: list[Type]) -> Sequence[tree.ParamDecl]:
    """The parameters for which a fn type has no argument: they take their defaults."""
    return lw.ctx.fn(ref.key).params[len(args):]


# ---- lambdas and local functions -------------------------------------------------------------------------------------
@lowers(tree.Lambda)
def lambda_(lw: Lowerer, e: tree.Lambda) -> Value:
    t = lw.concrete(e.type)
    assert isinstance(t, FnType)
    return lw.ctx.closures.make(lw, t, _lambda(lw, e, t))


def _lambda(lw: Lowerer, e: tree.Lambda, t: FnType) -> Closure:
    """A Core function whose first parameters are what the body was found to use from outside."""
    ctx = lw.ctx
    made = Lowerer(ctx, lw)
    made.name = ctx.claim(f"{lw.name}.{e.self_var.name if e.self_var is not None else 'lambda'}")
    title = lw.title or lw.name
    made.title = f"{e.self_var.name} in {title}" if e.self_var is not None else f"lambda in {title}"
    erased = erase(t)
    assert isinstance(erased, FnType)
    params, results = ctx.closures.signature(erased)
    made.results, made.result_type = tuple(results), t.result
    own: list[ir.Var] = []
    variables = [made.b.var(k, p.name) for p, k in zip(e.params, params, strict=True)]
    if e.self_var is not None:
        self_value = made.b.var(ir.EnumT(ctx.closures.enum(erased)), e.self_var.name)
        own.append(self_value)
        made.env[e.self_var.key] = self_value
        made.kinds[e.self_var.key] = self_value.type
    made.muts = [p.key for p, mut in zip(e.params, e.mut, strict=True) if mut]

    def body() -> list[ir.Atom]:
        made.b.span = e.span
        _own_dims(made, e, variables)
        for p, v, mut in zip(e.params, variables, e.mut, strict=True):
            made.declare(p, v)
            if mut:
                made.env[p.key] = made.apart(made.env[p.key])
        block(made, e.body)
        return [made.whole(made.read(k)) for k in made.muts] if made.tail is None else []

    branch = made.branch(body)
    captured = [v for v, _ in made.captures]
    ctx.add(made.finish([*own, *captured, *variables], branch, results, hidden=lw.hidden, span=e.span))
    atoms = [(v.name, a) for v, a in made.captures]
    lw.b.span = e.span
    return Closure(made.name, made.title, made.name, _unique(atoms), e.self_var is not None)


def _unique(captures: list[tuple[str, ir.Atom]]) -> list[tuple[str, ir.Atom]]:
    """Field names that differ."""
    taken: set[str] = set()
    result = []
    for name, atom in captures:
        unique = unused(name, taken)
        taken.add(unique)
        result.append((unique, atom))
    return result


def _own_dims(made: Lowerer, e: tree.Lambda, variables: list[ir.Var]) -> None:
    """Dimension names that nothing outside has bound are bound by the parameters."""
    own: dict[str, None] = {}
    types = [made.concrete(p.type) for p in e.params]
    for t in types:
        for d in dims_of(made.ctx, t):
            for v in d.variables():
                if v.name != "?" and v.key not in made.consts and not _known_outside(made, v.key):
                    own[v.key] = None
    bind_dims(made, own, [(p.name, t, v, e.span) for p, t, v in zip(e.params, types, variables, strict=True)])


def _known_outside(lw: Lowerer, key: str) -> bool:
    outer = lw.parent
    while outer is not None:
        if key in outer.dims or key in outer.env or key in outer.captured:
            return True
        outer = outer.parent
    return False
