"""Patterns: of `match`, of `let`, and of `for`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from hybridc.base.source import Span
from hybridc.base.suggest import nearest
from hybridc.base.types import (
    BOOL,
    INT,
    STD_TYPES,
    STR,
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
from hybridc.front.check import access as check_access
from hybridc.front.check import tree
from hybridc.front.check.bounds import is_float, is_number
from hybridc.front.check.consts import fits, rounded, too_large, written_pattern
from hybridc.front.check.exhaust import bound_in, missing_case, taken, useless_cases, with_none
from hybridc.front.check.infer import Meta
from hybridc.front.check.scope import EnumSig, FieldSig, StructSig
from hybridc.front.parse import syntax

if TYPE_CHECKING:
    from hybridc.front.check.body import Body

ANY = tree.AnyPattern()


# ---- patterns that always match --------------------------------------------------------------------------------------
def binding(c: Body, p: syntax.Pattern, t: Type, mutable: bool, kind: str) -> tree.Pattern:
    """A pattern of `let`, `var` or `for`: names, `_`, tuples and structs."""
    t = c.head(t)
    match p:
        case syntax.Wildcard():
            return ANY
        case syntax.Bind(name=name):
            return tree.BindPattern(c.declare(name, t, kind, p.span, mutable).var)
        case syntax.TuplePattern(items=items):
            if isinstance(t, Meta):
                parts: tuple[Type, ...] = tuple(c.fresh(i.span, "this variable") for i in items)
                c.solver.unify(t, TupleType(parts))
                t = TupleType(parts)
            if isinstance(t, TupleType) and len(t.items) == len(items):
                return tree.TuplePattern(tuple(binding(c, i, x, mutable, kind) for i, x in zip(items, t.items)))
            if not isinstance(t, Poison):
                if isinstance(t, TupleType):
                    c.error("HYB504", f"{len(items)} names for {len(t.items)} values: {c.show(t)}", p.span)
                else:
                    help = "it may be none: test it first, `if x != none:`" if isinstance(t, Option) else None
                    if isinstance(t, Named) and t.name == "list":
                        help = "a list has any number of elements: `let a = xs[0]`, or `match xs:` with `case [a, b]:`"
                    c.error("HYB504", f"{c.show(t)} is not a tuple, so it cannot be taken apart", p.span, help=help)
            for i in items:
                binding(c, i, c.poison(p.span).type, mutable, kind)
            return ANY
        case syntax.CasePattern(path=path, args=args) if args is not None:
            sig = c.world.type(t.key) if isinstance(t, Named) else None
            if isinstance(sig, StructSig) and path[-1] == sig.name:
                assert isinstance(t, Named)
                placed = place_fields(c, sig.fields, args, p.span, f"`{sig.name}`")
                s = dict(zip(sig.params, t.args))
                return tree.StructPattern(tuple(
                    ANY if q is None else binding(c, q, substitute(f.type, s), mutable, kind)  # type: ignore[arg-type]
                    for f, q in zip(sig.fields, placed)))
    c.error("HYB504", "here stands a name, `_`, or a tuple of these: a pattern that always matches", p.span,
            help="use `match` for a value that may have another form")
    return ANY


def place_fields(c: Body, fields: tuple[FieldSig, ...], args: tuple[tuple[str | None, syntax.Pattern], ...],
                 span: Span, what: str) -> list[syntax.Pattern | None]:
    """Patterns by field: by position all of them, by name those that matter."""
    placed: list[syntax.Pattern | None] = [None] * len(fields)
    count = sum(1 for name, _ in args if name is None)
    if count and count + sum(1 for name, _ in args if name is not None) < len(fields) or count > len(fields):
        shown = ", ".join(f.name for f in fields)
        c.error("HYB504", f"{what} has {len(fields)} field" + ("" if len(fields) == 1 else "s") + f" ({shown}), "
                f"{len(args)} given", span, help="write `_` for a field that does not matter, or name those that do")
    for i, (name, p) in enumerate(args):
        if name is None:
            if i < len(fields):
                placed[i] = p
            continue
        at = next((k for k, f in enumerate(fields) if f.name == name), None)
        if at is None:
            c.error("HYB504", f"{what} has no field `{name}`", p.span, help=nearest(name, [f.name for f in fields]))
        elif placed[at] is not None:
            c.error("HYB504", f"`{name}` is given twice", p.span)
        else:
            placed[at] = p
    return placed


# ---- patterns of match -----------------------------------------------------------------------------------------------
class Names:
    """The variables that one pattern binds; alternatives bind the same."""

    def __init__(self) -> None:
        self.vars: dict[str, tree.Var] = {}
        self.allowed: dict[str, tree.Var] | None = None


def pattern(c: Body, p: syntax.Pattern, t: Type, names: Names) -> tree.Pattern:
    t = c.head(t)
    if isinstance(p, syntax.Wildcard):
        return ANY
    if isinstance(p, syntax.Bind):
        return bind(c, p, t, names)
    if isinstance(p, syntax.Alternatives):
        return alternatives(c, p, t, names)
    if isinstance(t, Option):
        if isinstance(p, syntax.LiteralPattern) and p.value is None:
            return tree.NonePattern()
        return tree.SomePattern(pattern(c, p, t.item, names))
    if isinstance(t, Poison):
        bind_all(c, p, names)
        return ANY
    if isinstance(t, Meta):
        t = guess(c, p, t)
    match p:
        case syntax.LiteralPattern(value=value):
            return literal(c, p, value, t)
        case syntax.TuplePattern(items=items):
            if isinstance(t, TupleType) and len(t.items) == len(items):
                return tree.TuplePattern(tuple(pattern(c, i, x, names) for i, x in zip(items, t.items)))
            if isinstance(t, TupleType):
                c.error("HYB504", f"a tuple of {len(items)} never matches {c.show(t)}", p.span)
            else:
                misfit(c, p, "a tuple", t)
        case syntax.ListPattern(items=items, rest=rest):
            if isinstance(t, Named) and t.key == STD_TYPES["list"]:
                item: Type = t.args[0]  # type: ignore[assignment]
                done = [pattern(c, x, t if i == rest else item, names) for i, x in enumerate(items)]
                if rest is None:
                    return tree.ListPattern(tuple(done), None, ())
                return tree.ListPattern(tuple(done[:rest]), done[rest], tuple(done[rest + 1:]))
            misfit(c, p, "a list", t)
        case syntax.CasePattern():
            return case(c, p, t, names)
    bind_all(c, p, names)
    return ANY


def bind(c: Body, p: syntax.Bind, t: Type, names: Names) -> tree.Pattern:
    if p.name in names.vars:
        c.error("HYB504", f"`{p.name}` stands twice in one pattern", p.span, help="compare in a guard: `if a == b`")
        return ANY
    if names.allowed is not None and p.name in names.allowed:
        var = names.allowed[p.name]
        if c.join_types(var.type, t) is None:
            c.error("HYB504", f"`{p.name}` is {c.show(var.type)} in one alternative and {c.show(t)} in another", p.span)
    else:
        var = c.declare(p.name, t, "pattern", p.span).var
        meant = meant_case(c, p.name, t)
        if meant is not None:
            c.checker.warn(c.module.name, "HYB513", f"`{p.name}` is a name for any value here, and no case", p.span,
                           f"write `{meant}` for the case, or another name for the value")
    names.vars[p.name] = var
    return tree.BindPattern(var)


def meant_case(c: Body, name: str, t: Type) -> str | None:
    """The case without fields of an enum that is written as a name is, but for its capitals."""
    sig = c.world.type(t.key) if isinstance(t, Named) else None
    cases = [k for k, fields in sig.cases.items() if not fields] if isinstance(sig, EnumSig) else []
    return next((k for k in cases if k.lower() == name.replace("_", "")), None)


def bind_all(c: Body, p: syntax.Pattern, names: Names) -> None:
    """After an error: the variables of a pattern are there, with no type to complain of."""
    match p:
        case syntax.Bind():
            bind(c, p, c.poison(p.span).type, names)
        case syntax.TuplePattern(items=items) | syntax.ListPattern(items=items):
            for i in items:
                bind_all(c, i, names)
        case syntax.CasePattern(args=args) if args is not None:
            for _, q in args:
                bind_all(c, q, names)
        case syntax.Alternatives(items=items):
            bind_all(c, items[0], names)


def alternatives(c: Body, p: syntax.Alternatives, t: Type, names: Names) -> tree.Pattern:
    before = dict(names.vars)
    done: list[tree.Pattern] = []
    first: dict[str, tree.Var] | None = None
    for i in p.items:
        inner = Names()
        inner.vars = dict(before)
        inner.allowed = first if first is not None else names.allowed
        done.append(pattern(c, i, t, inner))
        mine = {k: v for k, v in inner.vars.items() if k not in before}
        if first is None:
            first = mine
        elif mine.keys() != first.keys():
            odd = sorted(mine.keys() ^ first.keys())[0]
            c.error("HYB504", f"alternatives bind the same names, and `{odd}` is not in all of them", i.span)
    names.vars = {**before, **(first or {})}
    return tree.OrPattern(tuple(done))


def guess(c: Body, p: syntax.Pattern, t: Type) -> Type:
    """The type of a subject that is not known yet, from the pattern."""
    match p:
        case syntax.LiteralPattern(value=bool()):
            c.solver.unify(t, BOOL)
        case syntax.LiteralPattern(value=int()):
            c.solver.unify(t, INT)
        case syntax.LiteralPattern(value=str()):
            c.solver.unify(t, STR)
        case syntax.TuplePattern(items=items):
            c.solver.unify(t, TupleType(tuple(c.fresh(i.span, "this part") for i in items)))
        case _:
            c.error("HYB308", "the type of what is matched is not known here", p.span,
                    help="write its type where it is declared")
            return c.poison(p.span).type
    return c.head(t)


def literal(c: Body, p: syntax.Pattern, value: object, t: Type) -> tree.Pattern:
    if value is None:
        c.error("HYB504", f"{c.show(t)} is never none", p.span)
    elif isinstance(value, bool):
        if t == BOOL:
            return tree.ConstPattern(value)
        misfit(c, p, "a bool", t)
    elif isinstance(value, str):
        if t == STR:
            return tree.ConstPattern(value)
        misfit(c, p, "a string", t)
    elif isinstance(value, int) and is_float(t):
        return tree.ConstPattern(rounded(value))
    elif isinstance(value, int) and is_number(t):
        if fits(value, t):
            return tree.ConstPattern(value)
        c.error("HYB313", too_large(value, t), p.span)
    elif isinstance(value, float) and is_float(t):
        return tree.ConstPattern(value)
    else:
        misfit(c, p, "an int" if isinstance(value, int) else "a float", t)
    return ANY


def misfit(c: Body, p: syntax.Pattern, what: str, t: Type) -> None:
    c.error("HYB504", f"{what} never matches {c.show(t)}", p.span)


def case(c: Body, p: syntax.CasePattern, t: Type, names: Names) -> tree.Pattern:
    name = p.path[-1]
    if isinstance(t, Named):
        sig = c.world.type(t.key)
        if isinstance(sig, EnumSig) and (len(p.path) == 1 or p.path[-2] == sig.name) and name in sig.cases:
            return enum_case(c, p, sig, t, names)
        if isinstance(sig, StructSig) and name == sig.name and p.args is not None:
            placed = place_fields(c, sig.fields, p.args, p.span, f"`{name}`")
            s = dict(zip(sig.params, t.args))
            return tree.StructPattern(tuple(
                ANY if q is None else pattern(c, q, substitute(f.type, s), names)  # type: ignore[arg-type]
                for f, q in zip(sig.fields, placed)))
    constant = constant_named(c, p) if p.args is None else None
    if constant is not None:
        return pattern(c, written_pattern(constant, p.span), t, names)
    shown = ".".join(p.path)
    if isinstance(t, Named):
        sig = c.world.type(t.key)
        if isinstance(sig, EnumSig):
            c.error("HYB504", f"`{sig.name}` has no case `{name}`", p.span, help=nearest(name, sig.cases))
            bind_all(c, p, names)
            return ANY
    if p.args is None and name not in c.module.cases:
        c.error("HYB201", f"there is no case or constant `{shown}`", p.span,
                help=nearest(name, [*c.module.cases, *c.module.names]) or "a name that binds is snake_case")
    else:
        misfit(c, p, f"the case `{shown}`", t)
    bind_all(c, p, names)
    return ANY


def constant_named(c: Body, p: syntax.CasePattern) -> object:
    e: syntax.Expr = syntax.Name(p.span, p.path[0])
    for part in p.path[1:]:
        e = syntax.Attribute(p.span, e, part, p.span)
    if isinstance(e, syntax.Attribute):
        module = check_access.module_path(c, e.value)
        entity = c.world.modules[module].names.get(e.name) if module is not None else None
        sig = c.world.sigs.get(entity.key) if entity is not None else None
        return getattr(sig, "value", None)
    return c.const(e)


def enum_case(c: Body, p: syntax.CasePattern, sig: EnumSig, t: Named, names: Names) -> tree.Pattern:
    name = p.path[-1]
    fields = sig.cases[name]
    s = dict(zip(sig.params, t.args))
    if p.args is None:
        if fields:
            shown = ", ".join(f.name for f in fields)
            c.error("HYB504", f"`{name}` has fields: ({shown})", p.span,
                    help=f"write `{name}({', '.join('_' for _ in fields)})`")
        return tree.EnumPattern(name, tuple(ANY for _ in fields))
    placed = place_fields(c, fields, p.args, p.span, f"`{name}`")
    return tree.EnumPattern(name, tuple(
        ANY if q is None else pattern(c, q, substitute(f.type, s), names)  # type: ignore[arg-type]
        for f, q in zip(fields, placed)))


def never_none(c: Body, p: tree.Pattern, before: list[tree.Pattern], t: Type) -> set[str]:
    """The variables of a pattern that stand for options and have a value where it matches, since the cases `before`
    take those without."""
    options = [v for v in bound_in(p) if isinstance(c.head(v.type), Option)] if before else []
    return {v.key for v in options if taken(before, c.resolve(t), with_none(p, v), c.world.decls)}


# ---- the whole match -------------------------------------------------------------------------------------------------
def can_match(c: Body, t: Type) -> bool:
    """Whether values of a type can be the subject of a match."""
    return not isinstance(t, Tensor | ModelType | TypeVar)


def exhaustive(c: Body, s: syntax.Match, subject: tree.Expr, cases: list[tree.MatchCase]) -> None:
    """Every value is covered, and every case but a last one for the rest is of use. Only asked when the cases are
    right themselves."""
    t = c.resolve(subject.type)
    missing = missing_case([k.pattern for k in cases if k.guard is None], t, c.world.decls)
    if missing is not None:
        span = Span(s.span.path, s.span.start, s.subject.span.end)
        c.error("HYB502", f"this `match` does not cover every value: `{missing}` is missing", span,
                help=f"add `case {missing}:`" if "*" not in missing else "add `case _:`")
    for i in useless_cases([(k.pattern, k.guard is not None) for k in cases], t, c.world.decls):
        last = i == len(cases) - 1 and isinstance(cases[i].pattern, tree.AnyPattern | tree.BindPattern)
        # `case _:` for what nobody thought of is no mistake
        say = partial(c.checker.warn, c.module.name) if last else c.error
        say("HYB503", "this case never matches: those before it take everything", s.cases[i].pattern.span)


