"""Which derivatives do not exist, found once every body is checked.

A derivative is refused if an extern without one lies on the way, or if no differentiable path leads from what is
differentiated by to the result. The second is an analysis of what is *active*: it may depend on the input through
floats. It errs on the side of active, so what it refuses has no path at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from hybridc.base.dims import Dim
from hybridc.base.source import Span
from hybridc.base.types import INTS, RNG, FnRef, FnType, Named, Option, Prim, Tensor, TupleType, Type, Void
from hybridc.front.check import tree
from hybridc.front.check.bounds import holds_floats, is_float
from hybridc.front.check.scope import World

Wanted = list[tuple[tree.Expr, tuple[int, ...], Span]]
"""The function of each gradient, the positions it is differentiated by (-1 for the model), and where."""


def check_gradients(
    world: World, gradients: Wanted, report: Callable[..., None], warn: Callable[..., None]
) -> None:
    activity = Activity(world)
    if any(isinstance(f, tree.Local | tree.Lambda) for f, _, _ in gradients):
        gradients = made_in_bodies(world.decls, gradients)
    for f, wrt, span in gradients:
        read = store_read(world.decls, f)
        bad = _extern(world, f)
        made = made_within(world.decls, f)
        if read is not None:
            report("HYB604", STORE, read.span, help="write `stop_gradient(...)` around it",
                   notes=(("a derivative is taken through it here", span),))
        elif bad is not None:
            report("HYB604", f"`{bad}` is extern, and nothing says what its derivative is", span,
                   help="call it in a fn with a derivative of its own: `@custom_grad(back)`")
        elif made is not None:
            report("HYB621", MADE, made.span, help="pass it on, as `mut g: rng`",
                   notes=(("a derivative is taken through it here", span),))
        elif not activity.reaches(f, wrt):
            report("HYB604", "no differentiable path leads to the result, so there is no derivative", span,
                   help="ints, bools and strings carry no gradient: `int(x)` cuts it")
    for span in activity.casts:
        warn("HYB620", "a derivative ends at this cast to an integer", span,
             help="if that is meant, say so: `int(stop_gradient(x))`")
    for span in activity.choices:
        warn("HYB621", "a derivative ends at this choice", span,
             help="`estimator=` says how it goes on; if it shall end, write `stop_gradient(...)` around the argument")


def made_in_bodies(decls: Mapping[str, Any], gradients: Wanted) -> Wanted:
    """With each function that is made in a body as it is there: now that all bodies are checked, every type in it is
    known. One that a variable holds is looked for where nothing else is assigned to that."""
    here: dict[Span, tree.Expr] = {}
    held: dict[str, tree.Lambda] = {}
    waiting: list[Any] = [d for key, d in decls.items() if not key.startswith("std.")]
    while waiting:
        node = waiting.pop()
        if isinstance(node, tuple):
            waiting += node
            continue
        match node:
            case tree.Gradient(span=span, fn=fn):
                here[span] = fn
            case tree.LocalFn(var=var, value=value):
                held[var.key] = value
            case tree.Let(pattern=tree.BindPattern(var=var), value=tree.Lambda() as value) if not var.mutable:
                held[var.key] = value
        if isinstance(node, tree.Node):
            waiting += [getattr(node, f.name) for f in fields(node)]  # type: ignore[arg-type]
    found: Wanted = []
    for f, wrt, span in gradients:
        final: tree.Expr | None = f
        if isinstance(f, tree.Local):
            final = held.get(f.var.key, f)
        elif isinstance(f, tree.Lambda):
            final = here.get(span)
        if final is not None:
            found.append((final, wrt, span))
    return found


# ---- externs, stores -------------------------------------------------------------------------------------------------
SCORED = frozenset({"std.rng:rng._categorical_score", "std.rng:rng._categorical_exact"})
NEW_GENERATORS = frozenset({"std.rng:rng.split", "std.rng:rng.at", "std.rng:rng.clone"})
STORE = "what a store holds carries no derivative"


def store_read(decls: Mapping[str, Any], f: Any) -> tree.Call | None:
    """A read of floats from a store that a derivative of `f` would go through."""
    return next((n for n in _reached(decls, f) if isinstance(n, tree.Call) and n.fn.key.startswith("std.store:store.")
                 and _may_hold_floats(n.type)), None)


MADE = "a choice that is estimated needs the generator that the differentiated function is given, not one made within"


def made_within(decls: Mapping[str, Any], f: Any) -> tree.Typed | None:
    """Where a generator is made in a function that also has choices estimated by their probability: what that generator
    knows of its choices would be lost."""
    nodes = list(_reached(decls, f))
    if not any(isinstance(n, tree.Call) and n.fn.key in SCORED for n in nodes):
        return None
    return next((n for n in nodes if isinstance(n, tree.MakeStruct) and n.type == RNG
                 or isinstance(n, tree.Call) and n.fn.key in NEW_GENERATORS), None)


def _may_hold_floats(t: Type) -> bool:
    """Whether there may be floats in what a store gives; other structs and enums are taken to have some."""
    match t:
        case Void() | Prim():
            return is_float(t)
        case Tensor(elem):
            return is_float(elem)
        case Option(item):
            return _may_hold_floats(item)
        case TupleType(items):
            return any(map(_may_hold_floats, items))
        case Named(key, args) if key.startswith("std."):
            return any(_may_hold_floats(a) for a in args if not isinstance(a, Dim))
    return True


def _extern(world: World, f: tree.Expr) -> str | None:
    """The name of an extern of the user's that `f` reaches without a custom_grad on the way."""
    for node in _reached(world.decls, f):
        decl = world.decls.get(node.key) if isinstance(node, FnRef) else None
        if isinstance(decl, tree.FnDecl) and decl.host is not None:
            takes = any(holds_floats(world, p.var.type) for p in decl.params)
            if takes and holds_floats(world, decl.result):
                return decl.name
    return None


def _reached(decls: Mapping[str, Any], f: Any) -> Iterator[Any]:
    """The calls and names of functions in `f` and in all it calls, outside of stop_gradient and of what has a
    derivative of its own."""
    seen: set[str] = set()
    waiting: list[Any] = [f]
    while waiting:
        for node in _mentions(waiting.pop()):
            yield node
            if not isinstance(node, FnRef) or node.key in seen or node.key.startswith("std."):
                continue
            seen.add(node.key)
            decl = decls.get(node.key)
            if isinstance(decl, tree.FnDecl) and decl.custom_grad is None and decl.host is None:
                waiting.append(decl.body)


def _mentions(node: Any) -> Iterator[Any]:
    """The calls in a tree, what it makes, and the functions it mentions, outside of stop_gradient."""
    if isinstance(node, tuple):
        for n in node:
            yield from _mentions(n)
    elif isinstance(node, FnRef):
        yield node
    elif isinstance(node, tree.Node):
        if isinstance(node, tree.Builtin) and node.name == "stop_gradient":
            return
        if isinstance(node, tree.Call | tree.MakeStruct):
            yield node
        for f in fields(node):  # type: ignore[arg-type]
            yield from _mentions(getattr(node, f.name))


# ---- activity --------------------------------------------------------------------------------------------------------
@dataclass
class _Scope:
    """What is active in one function: variables by key, and the result."""

    active: set[str] = field(default_factory=set)
    result: bool = False
    changed: bool = False

    def mark(self, key: str) -> None:
        if key not in self.active:
            self.active.add(key)
            self.changed = True


@dataclass
class Activity:
    """Summaries of functions: which arguments active make the result and which `mut` parameters active."""

    world: World
    summaries: dict[tuple[str, frozenset[int]], tuple[bool, frozenset[int]]] = field(default_factory=dict)
    casts: dict[Span, None] = field(default_factory=dict)
    """Where what is active becomes an integer."""
    choices: dict[Span, None] = field(default_factory=dict)
    """Where what is active decides, and nothing says how the derivative goes on."""
    scored: bool = False
    """Is something active estimated by its probability?"""
    _changed: bool = False
    _round: dict[tuple[str, frozenset[int]], tuple[bool, frozenset[int]]] = field(default_factory=dict)
    """The summaries that have been found since something changed: a function that is called in many places, by ways of
    any length, is looked at once."""

    def reaches(self, f: tree.Expr, wrt: Iterable[int]) -> bool:
        """Whether the result of `f` may depend on what it is differentiated by, or its probability may."""
        self.scored = False
        return self._flows(f, wrt) or self.scored

    def _flows(self, f: tree.Expr, wrt: Iterable[int]) -> bool:
        match f:
            case tree.FnValue(fn=fn):
                return self.settled(fn.key, frozenset(wrt))
            case tree.BoundMethod(fn=fn):
                return self.settled(fn.key, frozenset(0 if p == -1 else p + 1 for p in wrt))
            case tree.Lambda():
                return self.closure(f, wrt)
        return True

    def closure(self, f: tree.Lambda, wrt: Iterable[int]) -> bool:
        """The same of a function made in a body; what it captures is constant, what it gives itself may be active."""
        scope = _Scope({f.params[i].key for i in wrt} | ({f.self_var.key} if f.self_var is not None else set()))
        while True:
            self._changed = scope.changed = False
            self.block(f.body, scope, set())
            if not self._changed and not scope.changed:
                return scope.result

    def settled(self, key: str, active: frozenset[int]) -> bool:
        """The summary, once nothing changes any more."""
        while True:
            self._changed = False
            self._round.clear()
            result, _ = self.call(key, active, set())
            if not self._changed:
                return result

    def call(self, key: str, active: frozenset[int], open_calls: set[tuple[str, frozenset[int]]]
             ) -> tuple[bool, frozenset[int]]:
        decl = self.world.decls.get(key)
        if not isinstance(decl, tree.FnDecl) or key.startswith("std.") or decl.custom_grad is not None or decl.host:
            return bool(active), frozenset(range(64)) if active else frozenset()
        if (key, active) in self._round:
            return self._round[key, active]
        known = self.summaries.get((key, active), (False, frozenset()))
        if (key, active) in open_calls:
            return known
        open_calls = open_calls | {(key, active)}
        scope = _Scope({decl.params[i].var.key for i in active if i < len(decl.params)})
        while True:
            scope.changed = False
            self.block(decl.body, scope, open_calls)
            if not scope.changed:
                break
        muts = frozenset(i for i, p in enumerate(decl.params) if p.mut and p.var.key in scope.active)
        found = self._round[key, active] = (scope.result, muts)
        if found != known:
            self.summaries[(key, active)] = found
            self._changed = True
        return found

    def floats(self, t: Type) -> bool:
        return isinstance(t, FnType) or holds_floats(self.world, t)

    # -- statements
    def block(self, stmts: Iterable[tree.Stmt], s: _Scope, calls: set[Any]) -> None:
        for stmt in stmts:
            match stmt:
                case tree.Let(pattern=pattern, value=value):
                    if self.expr(value, s, calls):
                        self.bind(pattern, s)
                case tree.LocalFn(var=var, value=value):
                    if self.expr(value, s, calls):
                        s.mark(var.key)
                case tree.Assign(targets=targets, values=values):
                    active = [self.expr(v, s, calls) for v in values]
                    for i, target in enumerate(targets):
                        if active[i if len(active) == len(targets) else 0]:
                            s.mark(_root(target).key)
                case tree.ExprStmt(value=value):
                    self.expr(value, s, calls)
                case tree.If(cond=cond, then=a, orelse=b):
                    self.expr(cond, s, calls)
                    self.block(a, s, calls)
                    self.block(b, s, calls)
                case tree.While(cond=cond, body=body):
                    self.expr(cond, s, calls)
                    self.block(body, s, calls)
                case tree.For(pattern=pattern, iterable=iterable, body=body):
                    if self.expr(iterable, s, calls):
                        self.bind(pattern, s)
                    self.block(body, s, calls)
                case tree.Return(value=value) if value is not None:
                    if self.expr(value, s, calls) and not s.result:
                        s.result = s.changed = True
                case tree.Match(subject=subject, cases=cases):
                    active_subject = self.expr(subject, s, calls)
                    for case in cases:
                        if active_subject:
                            self.bind(case.pattern, s)
                        self.block(case.body, s, calls)

    def bind(self, pattern: Any, s: _Scope) -> None:
        """The variables of a pattern that can carry a derivative become active."""
        if isinstance(pattern, tree.BindPattern):
            if self.floats(pattern.var.type):
                s.mark(pattern.var.key)
        elif isinstance(pattern, tuple):
            for p in pattern:
                self.bind(p, s)
        elif is_dataclass(pattern):
            for f in fields(pattern):
                value = getattr(pattern, f.name)
                if isinstance(value, tuple) or is_dataclass(value):
                    self.bind(value, s)

    # -- expressions
    def expr(self, e: Any, s: _Scope, calls: set[Any]) -> bool:
        """Whether the value is active; marks what calls in it change."""
        match e:
            case tree.Local(var=var):
                return var.key in s.active
            case tree.Builtin(name="stop_gradient"):
                return False
            case tree.Call(fn=fn, args=args):
                return self._call(e, fn, args, s, calls)
            case tree.CallValue(fn=fn, args=args):
                called = self.expr(fn, s, calls)
                active = any([self.argument(a, s, calls) for a in args]) or called
                if isinstance(fn, tree.Gradient) and fn.stateful is not None:
                    args = (tree.Arg(place=fn.stateful), *args)
                return self.mutate(args, active, s) and self.floats(e.type)
            case tree.CallMethod(receiver=receiver, place=place, args=args):
                given = (tree.Arg(receiver, place), *args)
                active = any([self.argument(a, s, calls) for a in given])
                return self.mutate(given, active, s) and self.floats(e.type)
            case tree.Builtin(name="set_params", args=(place, value)):
                return self.mutate((tree.Arg(place=place),), self.expr(value, s, calls), s)  # type: ignore[arg-type]
            case tree.Lambda(captures=captures, body=body):
                self.block(body, s, calls)
                return any(v.key in s.active for v in captures)
            case tree.Comprehension(clauses=clauses):
                for clause in clauses:
                    if self.expr(clause.iterable, s, calls):
                        self.bind(clause.pattern, s)
        active = False
        if is_dataclass(e):
            for f in fields(e):
                active = self._part(getattr(e, f.name), s, calls) or active
        if active and isinstance(e, tree.Cast) and _is_integer(e.type) and _may_hold_floats(e.operand.type):
            self.casts[e.span] = None
        if active and isinstance(e, tree.Builtin) and e.name in ("argmax", "argmin"):
            self.choices[e.span] = None
        return active and self.floats(e.type)

    def _part(self, part: Any, s: _Scope, calls: set[Any]) -> bool:
        if isinstance(part, tuple):
            return any([self._part(p, s, calls) for p in part])
        if isinstance(part, tree.Arg):
            return self.argument(part, s, calls)
        return isinstance(part, tree.Typed) and self.expr(part, s, calls)

    def argument(self, a: tree.Arg, s: _Scope, calls: set[Any]) -> bool:
        if a.place is not None:
            return _root(a.place).key in s.active
        return a.value is not None and self.expr(a.value, s, calls)

    def mutate(self, args: tuple[tree.Arg, ...], active: bool, s: _Scope, only: frozenset[int] | None = None) -> bool:
        if active:
            for i, a in enumerate(args):
                if a.place is not None and (only is None or i in only):
                    s.mark(_root(a.place).key)
        return active

    def _call(self, e: tree.Call, fn: FnRef, args: tuple[tree.Arg, ...], s: _Scope, calls: set[Any]) -> bool:
        active = frozenset(i for i, a in enumerate(args) if self.argument(a, s, calls))
        if not active:
            return False
        if fn.key in SCORED:
            self.scored = True
        elif fn.key == "std.rng:rng.categorical" and 1 in active:
            self.choices[e.span] = None
        result, muts = self.call(fn.key, active, calls)
        if muts:
            self.mutate(args, True, s, muts)
        return result and self.floats(e.type)


def _is_integer(t: Type) -> bool:
    return (t.elem if isinstance(t, Tensor) else t) in INTS


def _root(p: Any) -> tree.Var:
    while not isinstance(p, tree.PlaceVar):
        p = p.base
    return p.var
