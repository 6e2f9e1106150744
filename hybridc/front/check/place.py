"""Places: what can be assigned or passed as `mut`; and what may not be copied or changed where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridc.base.dims import Dim
from hybridc.base.source import Span
from hybridc.base.suggest import nearest
from hybridc.base.types import (
    POISON,
    RNG,
    ModelType,
    Named,
    Option,
    Poison,
    Tensor,
    TupleType,
    Type,
    TypeVar,
    substitute,
)
from hybridc.front.check import (
    access as check_access,
)
from hybridc.front.check import (
    call as check_call,
)
from hybridc.front.check import (
    generic as check_generic,
)
from hybridc.front.check import (
    model as check_model,
)
from hybridc.front.check import (
    tensor_index,
    tree,
)
from hybridc.front.check.bounds import is_resource, resource_in
from hybridc.front.check.open_models import holds_open
from hybridc.front.check.scope import Local, StructSig
from hybridc.front.parse import syntax

if TYPE_CHECKING:
    from hybridc.front.check.body import Body

_CHANGED = {
    "str": "make a new text: `s = s[:i] + x + s[i + 1:]`",
    "graph": "write `g.set_node(u, n)`, `g.add_edge(u, v, e)`",
}
"""How what has no elements to assign is changed."""

def place(c: Body, e: syntax.Expr, use: str) -> tree.Place | None:
    """The place that an expression names; `use` is "assign", "mut" or the `mut fn` that changes it. Reports and gives
    None if there is none."""
    match e:
        case syntax.Name(id=name):
            return variable(c, name, e.span, use)
        case syntax.Attribute(value=value, name=name):
            base = place(c, value, use)
            return None if base is None else field_place(c, held(c, base), name, e)
        case syntax.Index(value=value):
            base = place(c, value, use)
            return None if base is None else index_place(c, held(c, base), e)
    if use == "assign":
        c.error("HYB511", "this cannot be assigned to: a variable, a field or an element can", e.span)
    elif use == "mut":
        c.error("HYB511", "a `mut` argument is a `var`, a field or an element", e.span,
                help="put it into a `var` first")
    else:
        c.expr(e)
        read = e.fn.name if isinstance(e, syntax.Call) and isinstance(e.fn, syntax.Attribute) else ""
        c.error("HYB511", f"{use} changes its receiver, and this is a value without a place", e.span,
                help="change the element where it is: `if k not in m: m[k] = ...` before, then `m[k]`"
                if read in ("get", "setdefault") else
                "put it into a `var` first")
    return None


def held(c: Body, p: tree.Place) -> tree.Place:
    """The place of the value of an option that is known to have one; any other place as it is."""
    t = c.head(p.type)
    return tree.PlaceSome(t.item, p.span, p) if isinstance(t, Option) and place_path(p) in c.narrowed else p


def changeable(c: Body, e: syntax.Expr) -> tree.Place | None:
    """The place that an expression names, if it may be changed here. Reports nothing where it may not."""
    root = e
    while isinstance(root, syntax.Attribute | syntax.Index):
        root = root.value
    if not isinstance(root, syntax.Name):
        return None
    name = root.id
    if root is e and c.find(name)[0] is None:  # a model of the configuration by its bare name
        e = syntax.Attribute(e.span, syntax.Name(e.span, "self"), name, e.span)
        name = "self"
    local, depth = c.find(name)
    if local is None or not local.var.mutable or depth < len(c.frames) - 1:
        return None
    if c.parallel and outside_parallel(c, name):
        return None
    p = place(c, e, "mut")
    return None if p is None else held(c, p)


def variable(c: Body, name: str, span: Span, use: str) -> tree.Place | None:
    local, depth = c.find(name)
    if local is None:
        no_variable(c, name, span, use)
        return None
    var = local.var
    if depth < len(c.frames) - 1:
        c.use(name, span)
        if resource_in(c.world, c.resolve(var.type)) is not None:
            return None
        c.error("HYB510", f"a closure captures by value: `{name}` cannot be changed inside of it", span,
                help="return the new value, or take it as a `mut` parameter")
        return None
    if not var.mutable:
        t = c.resolve(var.type)
        said = isinstance(t, Poison) or not isinstance(t, ModelType) and resource_in(c.world, t) is not None
        if not said:
            fixed(c, local, name, span, use)
        c.had_errors = True
        return None
    if c.parallel and outside_parallel(c, name):
        c.error("HYB510", f"the body of `parallel` may not change `{name}`, which stands outside of it", span,
                help=f"`{name}.at(i)` is the generator of turn i" if c.resolve(var.type) == RNG
                else "give back the value as the element")
        return None
    return tree.PlaceVar(var.type, span, var)


def no_variable(c: Body, name: str, span: Span, use: str) -> None:
    """Report a change of a name that no variable here has."""
    entity = c.module.names.get(name) or c.entity(name)
    if entity is None or entity.kind == "missing":
        help = f"declare it: `let {name} = ...`, or `var` for what is assigned again"
        c.unknown_name(name, span, help if use == "assign" and nearest(name, c.variables()) is None else None)
        c.declare(name, POISON, "var", span, mutable=True)  # said once
        return
    word = {"const": "a constant", "fn": "a function"}.get(entity.kind, f"a {entity.kind}")
    c.error("HYB505", f"`{name}` is {word}: it cannot be {'assigned' if use == 'assign' else 'changed'}", span,
            help="declare a variable of another name: `var x = ...`")


def fixed(c: Body, local: Local, name: str, span: Span, use: str) -> None:
    """Report a change of something that is fixed."""
    what = {"assign": "it cannot be assigned", "mut": "it cannot be passed as `mut`"}.get(use, f"{use} would change it")
    if name == "self":
        c.error("HYB505", f"this method may not change `self`: {what}", span, help="declare it `mut fn`")
        return
    words = {"let": "a `let`", "param": "a parameter", "loop": "a loop variable", "pattern": "bound by a pattern"}
    notes = ((f"`{name}` is declared here", local.span),) if local.kind == "let" else ()
    help = {
        "let": f"declare it with `var {name} = ...`",
        "param": f"declare it `mut {name}` to change the caller's, or copy it: `var {name} = {name}`",
    }.get(local.kind, f"copy it first: `var {name} = {name}`")
    if local.kind == "loop" and use != "assign":
        help = f"a copy, `var {name} = {name}`, changes by itself; to change what is looped over, go by index: `xs[i]`"
    c.error("HYB505", f"`{name}` is {words.get(local.kind, 'fixed')}: {what}", span, help=help, notes=notes)


def outside_parallel(c: Body, name: str) -> bool:
    """Whether a variable stands outside of the innermost parallel body."""
    frames, scopes = c.parallel[-1]
    for i in range(len(c.frames) - 1, -1, -1):
        frame = c.frames[i]
        for j in range(len(frame.scopes) - 1, -1, -1):
            if name in frame.scopes[j]:
                return i < frames - 1 or (i == frames - 1 and j < scopes)
    return True


def parallel_resource(c: Body, value: tree.Expr, span: Span) -> None:
    """In a parallel body, no resource but `g.at(i)`."""
    root = value
    while isinstance(root, tree.Field | tree.TupleItem | tree.Unwrap):
        root = root.value
    held = isinstance(root, tree.Local) and is_resource(c.world, c.resolve(value.type))
    if isinstance(root, tree.Local) and held and outside_parallel(c, root.var.name):
        word = c.word(value.type)
        c.error("HYB508", f"the body of `parallel` may not use `{root.var.name}`, a {word}", span,
                help="take a stream of its own for each turn: `g.at(i)`" if word == "rng" else "read it before")


def field_place(c: Body, base: tree.Place, name: str, e: syntax.Attribute) -> tree.Place | None:
    t = c.head(base.type)
    match t:
        case Named(key, args):
            sig = c.world.type(key)
            f = sig.field_named(name) if isinstance(sig, StructSig) else None
            if isinstance(sig, StructSig) and f is not None and (c.std or not key.startswith("std.")
                                                                 or not name.startswith("_")):
                ft = substitute(f.type, dict(zip(sig.params, args)))  # type: ignore[arg-type]
                return tree.PlaceField(ft, e.span, base, name)
        case ModelType() | TypeVar():
            found = check_access.model_of(c, t)
            if found is not None:
                return model_place(c, base, t, name, e)
        case Poison():
            return None
    check_access.no_member(c, t, name, e.name_span)
    return None


def model_place(c: Body, base: tree.Place, t: Type, name: str, e: syntax.Attribute) -> tree.Place | None:
    found = check_access.model_of(c, t)
    assert found is not None
    sig, model = found
    m = check_model.member(sig, name, e.span, c)
    if m is None:
        if sig.config_named(name) is not None:
            c.error("HYB505", f"`{name}` is configuration: it is part of the type and never changes", e.span)
        else:
            check_access.no_member(c, t, name, e.name_span)
        return None
    if m.kind == "param":
        c.error("HYB505", f"`{name}` is a parameter of the model: it is changed by `set_params(mut m, v)`", e.span,
                help="declare it `state` to write it here")
        return None
    if m.kind == "let":
        c.error("HYB505", f"`{name}` is a compile-time value of the model and never changes", e.span)
        return None
    mt = substitute(m.type, check_generic.config_substitution(c, sig, model))
    return tree.PlaceField(c.fresh_unknowns(mt) if m.kind == "model" else mt, e.span, base, name)


def index_place(c: Body, base: tree.Place, e: syntax.Index) -> tree.Place | None:
    t = c.head(base.type)
    match t:
        case Tensor():
            probe = tree.Builtin(t, base.span, "part", ())
            part, indices = tensor_index.index_place(c, probe, e.items, e.span)  # type: ignore[arg-type]
            if isinstance(part, Poison):
                return None
            return tree.PlaceTensor(part, e.span, base, indices)
        case TupleType(items):
            i = c.const(e.items[0]) if len(e.items) == 1 else None  # type: ignore[arg-type]
            if not isinstance(i, int) or not -len(items) <= i < len(items):
                c.error("HYB311", f"the index of {c.show(t)} is a constant int in range", e.span)
                return None
            i %= len(items)
            return tree.PlaceItem(items[i], e.span, base, i)
        case Named(key):
            sig = c.world.method(key, "_set")
            e = check_access.keyed(c, t, e)
            if len(e.items) != 1:
                check_access.one_index(c, t, e)
                return None
            if isinstance(e.items[0], syntax.Slice):
                c.error("HYB511", f"a slice of {c.show(t)} cannot be assigned", e.span,
                        help="write `xs[a:b] = ...` as a statement of its own" if c.world.method(key, "_set_slice")
                        else "assign element by element, or build a new one")
                return None
            if sig is None:
                c.error("HYB511", f"the elements of {c.show(t)} cannot be assigned", e.span,
                        help=_CHANGED.get(t.name))
                return None
            s = check_generic.owner_substitution(c, t)
            index = c.typed(e.items[0], substitute(sig.params[1].type, s), f"the index of {c.show(t)}")  # type: ignore[arg-type]
            if c.parallel and is_resource(c.world, t):
                c.error("HYB508", f"the body of `parallel` may not use a {t.name}", e.span)
            item = c.fresh_unknowns(c.resolve(substitute(sig.params[2].type, s))) if holds_open(t) else substitute(
                sig.params[2].type, s)
            return tree.PlaceElement(item, e.span, base, index)
        case Poison():
            return None
    c.error("HYB511", f"{c.show(t)} has no elements to change", e.span)
    return None


def set_slice(c: Body, base: tree.Place, e: syntax.Index, s: syntax.Assign) -> list[tree.Stmt] | None:
    """`xs[a:b] = values` of a list, a call of its method; None for what is no list."""
    t = c.head(base.type)
    sig = c.world.method(t.key, "_set_slice") if isinstance(t, Named) else None
    if sig is None or s.op is not None:
        return None
    part = e.items[0]
    assert isinstance(part, syntax.Slice)
    if isinstance(part, syntax.Rest):
        c.error("HYB311", f"`...` is for tensors, and this is {c.show(t)}", part.span, help="`xs[:]` is all of it")
        return []
    value = c.value(s.value, t)
    not_copied(c, value, "an assignment would copy it")
    bounds = [check_call.option_int(c, b, e.span) for b in (part.start, part.stop, part.step)]
    value = c.coerce(value, t, f"the new value of `{c.checker.text(e.span)}`")
    changed(c, base)
    call = check_call.method_call(c, sig, tree.Arg(place=base), [*bounds, value], s.span)
    return [tree.ExprStmt(call, s.span)]


def place_path(p: tree.Place) -> str | None:
    match p:
        case tree.PlaceVar(var=var):
            return var.key
        case tree.PlaceField(base=base, name=name):
            path = place_path(base)
            return None if path is None else f"{path}.{name}"
        case tree.PlaceSome(base=base):
            return place_path(base)
    return None


def root_of(p: tree.Place) -> tree.Var:
    while not isinstance(p, tree.PlaceVar):
        p = p.base
    return p.var


def changed(c: Body, p: tree.Place) -> None:
    """What narrowing knew of a place that was changed, and of what is in it, is forgotten; an option whose value was
    changed still has one. Nothing else can have changed: there is no aliasing."""
    some = False
    while (path := place_path(p)) is None or isinstance(p, tree.PlaceSome):
        assert not isinstance(p, tree.PlaceVar)
        some = isinstance(p, tree.PlaceSome)
        p = p.base
    there = some and path in c.narrowed
    c.forget(path)
    if there:
        c.narrowed = c.narrowed | {path}


def distinct(c: Body, places: list[tuple[tree.Place | None, Span]]) -> None:
    """No place may be passed as `mut` twice in one call, nor a part of another."""
    seen: list[tuple[list[object], Span]] = []
    for p, span in places:
        if p is None:
            continue
        steps = _steps(p)
        for other, first in seen:
            if all(a == b for a, b in zip(steps, other)):
                c.error("HYB507", f"`{root_of(p).name}` is passed as `mut` twice in one call, or a part of it is", span,
                        notes=(("it is passed here too", first),) if first != span else ())
                return
        seen.append((steps, span))


def _steps(p: tree.Place) -> list[object]:
    match p:
        case tree.PlaceVar(var=var):
            return [var.key]
        case tree.PlaceField(base=base, name=name):
            return [*_steps(base), name]
        case tree.PlaceItem(base=base, index=index):
            return [*_steps(base), index]
        case tree.PlaceElement(base=base, index=index):
            return [*_steps(base), _index_key(index)]
        case tree.PlaceTensor(base=base) | tree.PlaceSome(base=base):
            return [*_steps(base)]
    return []


def _index_key(e: tree.Expr) -> object:
    match e:
        case tree.Const(value=value):
            return ("const", value)
        case tree.Local(var=var):
            return ("var", var.key)
    return ("at", e.span.start)


# ---- resources -------------------------------------------------------------------------------------------------------
def not_copied(c: Body, e: tree.Expr, why: str) -> bool:
    """A resource that is read from a variable, field or element may not be used as a value: reports, and False."""
    t = c.resolve(e.type)
    resource = None if c.std else resource_in(c.world, t)
    if resource is None or not (_is_read(e) if t != resource else not _is_made(e)):
        return True
    word = c.word(resource)
    held = "" if t == resource else f", and {c.show(t)} holds one"
    help = "pass it as `mut`" if word != "rng" else "pass it as `mut`, or make another: `g.clone()`, `g.at(i)`"
    c.error("HYB508", f"a {word} is never copied{held}: {why}", e.span, help=help)
    return False


def not_inside(c: Body, e: tree.Expr, whole: str, streams: bool = False) -> None:
    """A store or generator may not be a part of `whole`, but for streams in a list, as `g.split(n)` gives them."""
    t = c.resolve(e.type)
    if not not_copied(c, e, f"{whole} would copy it") or c.std or not isinstance(t, Named):
        return
    if is_resource(c.world, t) and not (streams and t == RNG):
        c.error("HYB508", f"a {c.word(t)} is never copied, so it cannot be held inside {whole}", e.span,
                help="hold it in a `var` or a model's `state`, and pass it as `mut`")


def _is_made(e: tree.Expr) -> bool:
    made = isinstance(e, tree.Call | tree.MakeStruct | tree.MakeModel | tree.CallValue | tree.CallMethod)
    return made and not is_element(e)


def _is_read(e: tree.Expr) -> bool:
    """A variable, or a part of another value."""
    return isinstance(e, tree.Local | tree.Field | tree.TupleItem | tree.Unwrap) or is_element(e)


def temporary(c: Body, e: tree.Expr) -> bool:
    """A resource made by a call and held by nobody, as `g.at(i)`: it may be changed, and is then gone."""
    return (isinstance(e, tree.Call | tree.MakeStruct) and not is_element(e)
            and is_resource(c.world, c.resolve(e.type)))


def is_element(e: tree.Expr) -> bool:
    """`xs[i]` of a container."""
    return isinstance(e, tree.Call) and e.fn.key.endswith("._get")


def static_dim(c: Body, d: Dim, name: str, model: str, span: Span) -> None:
    """A configuration argument may depend on constants and configuration, not on values of the run."""
    if c.initialising:
        return
    for v in sorted(d.variables()):
        if v.name == "?" or v in c.solver.births:
            c.error("HYB602", f"`{name}` of `{model}` must be known when the program is compiled, and `{v.name}` is "
                    "known only at run time", span,
                    help="a configuration argument is a constant or the configuration of a model")
            return
