"""Calls: arguments in the order written, `mut` places taken after all of them and put back with what came out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

from hybridc.base.dims import Dim
from hybridc.base.types import FLOATS, STD_TYPES, FnRef, Named, Type, Void, list_of
from hybridc.core import ir
from hybridc.core.builder import boolean, integer
from hybridc.front.check import tree
from hybridc.front.check.open_models import holds_open
from hybridc.front.lower import derive, keys, ranks
from hybridc.front.lower import tensor as tensor_lower
from hybridc.front.lower.builtin import BUILTINS
from hybridc.front.lower.choice import chosen, dispatch
from hybridc.front.lower.closure import service_of
from hybridc.front.lower.core import Instance, Lowerer, Parts, Value, erase, is_concrete, lowers
from hybridc.front.lower.expr import default_value, make_list
from hybridc.front.lower.fits import checked, needs_check, refine
from hybridc.front.lower.folds import folded
from hybridc.front.lower.inside import ragged, unchecked
from hybridc.front.lower.instance import callee, resolve
from hybridc.front.lower.mixed import found
from hybridc.front.lower.place import Access, ElementAccess, PartAccess, VarAccess, access, overlap
from hybridc.front.lower.scan import place_root
from hybridc.front.lower.submodel import PartOfModel, keeps_params

DERIVED: dict[str, Callable[[Lowerer, Type, list[ir.Atom]], ir.Atom]] = {
    "_equal": lambda lw, t, a: derive.equal(lw, t, a[0], a[1]),
    "_less": lambda lw, t, a: derive.less(lw, t, a[0], a[1]),
    "_probe": lambda lw, t, a: keys.probe(lw, t, a[0]),
    "_keep": lambda lw, t, a: keys.keep(lw, t, a[0], a[1]),
    "_kept": lambda lw, t, a: keys.kept(lw, t, a[0]),
    "_kept_probe": lambda lw, t, a: keys.kept_probe(lw, t, a[0], a[1]),
    "_is_kept": lambda lw, t, a: keys.is_kept(lw, t, a[0], a[1], a[2]),
    "_rank": lambda lw, t, a: ranks.rank(lw, t, a[0]),
    "_bit_rank": lambda lw, t, a: ranks.rank(lw, t, a[0], exact=False),
    "_is_word": lambda lw, t, a: boolean(ranks.is_word(erase(lw.concrete(t)))),
    "_is_float": lambda lw, t, a: boolean(erase(lw.concrete(t)) in FLOATS),
    "_sort_words": lambda lw, t, a: ranks.sorted_words(lw, t, a[0], a[1]),
    "_has_rank": lambda lw, t, a: boolean(ranks.has_rank(erase(lw.concrete(t)))),
    "_has_lead": lambda lw, t, a: boolean(ranks.has_lead(erase(lw.concrete(t)))),
    "_lead": lambda lw, t, a: ranks.lead(lw, t, a[0]),
    "_show": lambda lw, t, a: derive.shown(lw, t, a[0], False),
    "_repr": lambda lw, t, a: derive.shown(lw, t, a[0], True),
}
"""Externs of std.core that are made for each type."""

RAISES = {"_raise_index": "IndexError", "_raise_value": "ValueError", "_raise_key": "KeyError", "_raise_os": "OSError",
          "_raise_zero": "ZeroDivisionError", "_raise_memory": "MemoryError", "_raise": "HybError"}
"""Externs of std.core that stop the program."""
TWICE = "a place is passed as `mut` twice in one call, or a part of it is"
SEVERAL = frozenset({"buffer_take", "text_key", "kept_text", "format_float", "format_float32"})
"""Operators of several results, which are the items of the extern's tuple."""


# ---- arguments -------------------------------------------------------------------------------------------------------
class Arguments:
    """Evaluated arguments of a call: the atoms, and the places to write back."""

    def __init__(self, lw: Lowerer):
        self.lw = lw
        self.atoms: dict[int, ir.Atom] = {}
        self.places: dict[int, Access] = {}
        self.copied = False

    def evaluate(self, position: int, arg: tree.Arg) -> None:
        if arg.value is not None:
            self.atoms[position] = self.lw.expr(arg.value)
        elif arg.place is not None:
            self.places[position] = access(self.lw, arg.place)

    def take(self, args: Sequence[tree.Arg]) -> None:
        """Move the values out of their places. Two places within one variable are read instead: what one holds must
        stay there for the other."""
        roots = [place_root(a.place).key for a in args if a.place is not None]
        self.copied = len(set(roots)) < len(roots) and any(
            isinstance(p, (ElementAccess, PartAccess)) for p in self.places.values())
        for position in sorted(self.places):
            place = self.places[position]
            value = place.load() if self.copied and not isinstance(place, VarAccess) else place.take()
            self.atoms[position] = self.lw.whole(value)
        if self.copied:
            self._keep_apart({p: place_root(args[p].place).key for p in self.places})  # type: ignore[arg-type]

    def _keep_apart(self, roots: dict[int, str]) -> None:
        """No place twice: what the checker cannot tell of indices is seen when the program runs."""
        lw = self.lw
        for i, j in combinations(sorted(self.places), 2):
            same = overlap(lw, self.places[i], self.places[j]) if roots[i] == roots[j] else None
            if same is not None:
                lw.check(lw.not_(same), "ValueError", TWICE)

    def put(self, outs: Sequence[ir.Atom], decl: tree.FnDecl | None = None) -> None:
        for position, out in zip(sorted(self.places), outs, strict=True):
            place = self.places[position]
            if isinstance(place, PartOfModel):
                place.write(out, decl is not None and keeps_params(self.lw.ctx, decl, position))
            elif self.copied and not isinstance(place, VarAccess):
                place.store(out)
            else:
                place.put(out)

    def list(self, count: int) -> list[ir.Atom]:
        return [self.atoms[i] for i in range(count)]


@lowers(tree.Call)
def call(lw: Lowerer, e: tree.Call) -> Value | None:
    decl = lw.ctx.fn(e.fn.key)
    submodel = lw.ctx.models.element(lw, e)
    if submodel is not None:
        return submodel
    picked = chosen(lw, e)
    if picked is not None:
        return dispatch(lw, e, picked)
    if decl.name == "_len" and (held := found(lw, e.args[0].value)) is not None:
        return integer(len(held.items))
    if decl.key == _KEYS and (held := found(lw, e.args[0].value)) is not None:
        return make_list(lw, list_of(held.key_type), [lw.expr(held.key(i, e.span)) for i in range(len(held.keys))])
    if (fold := folded(lw, e)) is not None:
        return fold
    if decl.name == "_slice" and (part := _between(lw, e)) is not None:
        return part
    arguments = Arguments(lw)
    for position in e.order:
        arguments.evaluate(position, e.args[position])
    lw.b.span = e.span
    arg_types = [arg_type(a) for a in e.args]
    instance, decl, inner = resolve(lw, e.fn, arg_types)
    for position, arg in enumerate(e.args):
        if arg.value is None and arg.place is None:
            default = decl.params[position].default
            assert default is not None
            arguments.atoms[position] = lw.whole(default_value(lw, default, inner))
    arguments.take(e.args)
    lw.b.span = e.span
    atoms = arguments.list(len(e.args))
    if decl.host is not None:
        return extern(lw, e, decl, instance, atoms, arguments)
    symbol = lw.ctx.instance(instance)
    opened = any(t is not None and holds_open(t) for t in arg_types)
    if any(_loose(lw, inner.concrete(p.var.type), a, opened) for p, a in zip(decl.params, e.args, strict=True)):
        symbol = checked(lw.ctx, decl, instance, symbol)
    outs = lw.b.call(symbol, atoms, result_types(inner, decl))
    return finish(lw, e, decl.result, list(outs), arguments, decl.owner == STD_TYPES["store"], decl)


def _between(lw: Lowerer, e: tree.Call) -> Value | None:
    """`xs[a:b]`, without a step: where it is known which bounds there are, they are plain numbers."""
    receiver, *bounds = (a.value for a in e.args)
    assert receiver is not None
    if not all(isinstance(b, tree.Const | tree.Some) for b in bounds[:2]) or not isinstance(bounds[2], tree.Const):
        return None
    atoms = [lw.expr(receiver)]
    for bound, default in zip(bounds, (0, (1 << 63) - 1), strict=False):
        atoms.append(lw.expr(bound.value) if isinstance(bound, tree.Some) else integer(default))
    lw.b.span = e.span
    t = lw.concrete(receiver.type)
    assert isinstance(t, Named)
    return lw.call_method(t, "_from_to", atoms)[0]


def _loose(lw: Lowerer, t: Type, arg: tree.Arg, opened: bool) -> bool:
    """Whether an argument may have other dimensions than its parameter's type says: what it holds differs from one
    to the next, it is a place, whose type the checker compares as far as is known, or some model of the call has a
    configuration that only lowering knows (`opened`), of which the checker says nothing."""
    node = arg.value if arg.value is not None else arg.place
    if node is None or not unchecked(lw.ctx, t):
        return False
    given = lw.concrete(node.type)
    return opened or ragged(lw.ctx, given) or arg.place is not None and given != t


_KEYS = f"{STD_TYPES['map']}.keys"


def finish(lw: Lowerer, e: tree.Typed, result: Type, outs: Sequence[ir.Atom], arguments: Arguments,
           outside: bool, decl: tree.FnDecl | None = None) -> Value | None:
    """Write back what came out, and give the result; one from `outside` must have the dimensions of its type."""
    nothing = isinstance(result, Void)
    changed = outs[0 if nothing else 1:]
    if decl is not None:
        # a `mut` parameter may get a value that is nobody's, as in `g.at(i).uniform()`: what comes out is dropped
        muts = [i for i, p in enumerate(decl.params) if p.mut]
        changed = [out for i, out in zip(muts, changed, strict=True) if i in arguments.places]
    arguments.put(changed, decl)
    lw.b.span = e.span
    if nothing:
        return None
    t = lw.concrete(e.type)
    if outside and needs_check(lw, t):
        return refine(lw, outs[0], t, e.span)
    return outs[0]


def result_types(inner: Lowerer, decl: tree.FnDecl) -> list[ir.Type]:
    outs = [] if isinstance(decl.result, Void) else [inner.type(decl.result)]
    return outs + [inner.type(p.var.type) for p in decl.params if p.mut]


def arg_type(arg: tree.Arg) -> Type | None:
    node = arg.value if arg.value is not None else arg.place
    return None if node is None else node.type


# ---- externs ---------------------------------------------------------------------------------------------------------
def extern(lw: Lowerer, e: tree.Call, decl: tree.FnDecl, instance: Instance, atoms: list[ir.Atom],
           arguments: Arguments) -> Value | None:
    """An operator of Core, an operation derived for every type, a fault, or a service of the host."""
    module = decl.key.rpartition(":")[0]
    if module == "std.core":
        if decl.name in RAISES:
            lw.tail = ir.Fault(RAISES[decl.name], tuple(atoms), e.span)
            return None
        if decl.name in DERIVED:
            return DERIVED[decl.name](lw, instance.types[0], atoms)
        result = lw.type(e.type)
        name = decl.name.removeprefix("_")
        if name in SEVERAL and isinstance(result, ir.TupleT):
            return Parts(result, lw.b.ops(name, atoms, result.items))
        return lw.op(name, atoms, result)
    name = decl.name
    if not module.startswith("std."):
        lw.ctx.extern(name)
        name = service_of(f"extern {name}", [p.mut for p in decl.params])
    inner = callee(lw, instance, decl)
    types = result_types(inner, decl)
    outs = lw.b.ops("host", atoms, [_unknown(t) for t in types], name=name)
    return finish(lw, e, decl.result, outs, arguments, outside=True)


def _unknown(t: ir.Type) -> ir.Type:
    """The type of a value from outside: nothing is known of its sizes."""
    return ir.TensorT(t.elem, tuple(None for _ in t.dims)) if isinstance(t, ir.TensorT) else t


# ---- methods that only a bound promises -----------------------------------------------------------
@lowers(tree.CallMethod)
def call_method(lw: Lowerer, e: tree.CallMethod) -> Value | None:
    """The concrete type's own method."""
    receiver = lw.concrete(e.receiver.type)
    decl = lw.ctx.method(receiver, e.name)
    if decl is None:
        raise lw.refuse("HYB812", f"{receiver} has no method `{e.name}`", e.span)
    types = tuple(a for a in receiver.args if not isinstance(a, Dim)) if isinstance(receiver, Named) else ()
    if not decl.params[0].mut:
        itself = tree.Arg(e.receiver)
    elif e.place is not None:
        itself = tree.Arg(place=e.place)
    else:
        raise lw.refuse("HYB812", f"`{decl.name}` of {receiver} is a `mut fn`, and what it is called on may not be "
                        "changed here", e.span, "take the model as `mut m`, or hold it in a `var`; a method that calls "
                        "it on a submodel is a `mut fn`")
    order = (0, *_positions(lw, e, decl, receiver))
    args = [tree.Arg() for _ in decl.params]
    for i, a in zip(order, (itself, *e.args), strict=True):
        args[i] = a
    made = tree.Call(e.type, e.span, FnRef(decl.key, types), tuple(args), order)
    promised(lw, made, decl, receiver)
    result = call(lw, made)
    t = lw.concrete(e.type)
    if result is not None and needs_check(lw, t):
        return refine(lw, lw.whole(result), t, e.span)
    return result


def _positions(lw: Lowerer, e: tree.CallMethod, decl: tree.FnDecl, receiver: Type) -> list[int]:
    """Of each argument the position of its parameter."""
    names = [p.var.name for p in decl.params]
    found = [i + 1 if name is None else names.index(name) if name in names else 0 for i, name in enumerate(e.names)]
    if len(set(found)) < len(found) or not all(0 < i < len(names) for i in found) or any(
            p.default is None and i not in found for i, p in enumerate(decl.params[1:], 1)):
        raise lw.refuse("HYB812", f"`{decl.name}` of {receiver} takes ({', '.join(names[1:])})", e.span)
    return found


def promised(lw: Lowerer, e: tree.Call, decl: tree.FnDecl, receiver: Type) -> None:
    """A method called by its name must fit the call: its signature is known only now."""
    types = [arg_type(a) for a in e.args]
    _, _, inner = resolve(lw, e.fn, types)
    for p, a in zip(decl.params[1:], e.args[1:], strict=True):
        if arg_type(a) is not None and p.mut != (a.place is not None):
            raise lw.refuse("HYB812", f"`{p.var.name}` of `{decl.name}` of {receiver} is "
                            f"{'a' if p.mut else 'no'} `mut` parameter", e.span,
                            f"write `mut {p.var.name}`" if p.mut else "leave out the `mut`")
    for p, t in zip(decl.params[1:], types[1:], strict=True):
        if t is not None and not _alike(inner.concrete(p.var.type), lw.concrete(t)):
            raise lw.refuse("HYB812", f"`{p.var.name}` of `{decl.name}` of {receiver} is {p.var.type}, found "
                            f"{lw.concrete(t)}", e.span)
    if not isinstance(decl.result, Void) and not _alike(inner.concrete(decl.result), lw.concrete(e.type)):
        raise lw.refuse("HYB812", f"`{decl.name}` of {receiver} gives {decl.result}; here {lw.concrete(e.type)} is "
                        "expected", e.span)


def _alike(declared: Type, given: Type) -> bool:
    return not is_concrete(declared) or erase(declared) == erase(given)


@lowers(tree.Builtin)
def builtin(lw: Lowerer, e: tree.Builtin) -> Value | None:
    picked = chosen(lw, e)
    if picked is not None:
        return dispatch(lw, e, picked)
    if e.name in BUILTINS:
        result = BUILTINS[e.name](lw, e)
        if result is not NotImplemented:
            return result
    handler = tensor_lower.LOWER.get(e.name)
    assert handler is not None, f"no lowering of the built-in {e.name}"
    return handler(lw, e)
