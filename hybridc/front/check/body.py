"""The checker of one body: its scopes, what is inferred so far, and the questions that every rule asks.

`Body` is what the rules in `check_expr`, `check_ops`, `check_call`, `check_stmt`, ... work on; it is also the context
that the typing of tensor functions (`tensor_check`) sees.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

from hybridc.base.dims import Dim, DimVar
from hybridc.base.source import Span
from hybridc.base.suggest import nearest
from hybridc.base.types import (
    BOOL,
    FLOATS,
    INT,
    INTS,
    POISON,
    STD_TYPES,
    VOID,
    ModelType,
    Named,
    Option,
    Poison,
    Tensor,
    TupleType,
    Type,
    TypeVar,
)
from hybridc.front.check import builtin as check_builtin
from hybridc.front.check import dims as check_dims
from hybridc.front.check import expr as check_expr
from hybridc.front.check import fit as check_fit
from hybridc.front.check import tree
from hybridc.front.check.bounds import COPIED, implied, key_help, resource_in, satisfies, wanted
from hybridc.front.check.consts import BUILTIN_CONSTS, NotConst, constant
from hybridc.front.check.infer import Meta, Solver, Zonk, equal_dims, is_unknown, map_dims
from hybridc.front.check.narrowing import path_of
from hybridc.front.check.open_models import fresh_config, holds_open, reopened
from hybridc.front.check.scope import (
    ConstSig,
    Entity,
    EnumSig,
    FnSig,
    Frame,
    Local,
    ModelSig,
    ModuleDecls,
    ParamSig,
    StructSig,
    World,
)
from hybridc.front.check.typeexpr import TypeReader
from hybridc.front.parse import syntax
from hybridc.front.parse.habits import NAMES

if TYPE_CHECKING:
    from hybridc.front.check.checker import Checker


class Body:
    """One function body (or initialiser) being checked."""

    def __init__(self, checker: Checker, module: ModuleDecls, reader: TypeReader, key: str, std: bool,
                 model: ModelSig | None = None):
        self.checker = checker
        self.world: World = checker.world
        self.module = module
        self.key = key
        self.std = std
        self.model = model
        self.solver = Solver()
        self.frames: list[Frame] = []
        self.narrowed: set[str] = set()
        self.lost: dict[str, str] = {}
        """Paths that were known not to be none until a loop began that changes the variable, by its name."""
        self.prechecked: dict[int, tree.Expr] = {}
        self.applied: dict[int, tuple[syntax.Argument, ...]] = {}
        """The arguments that a callee which is itself computed, `grad(f)`, is called with."""
        self.parallel: list[tuple[int, int]] = []
        """Where each enclosing `parallel` body begins: how many frames and scopes there were."""
        self.had_errors = False
        self.sig: FnSig | None = None
        self.initialising = False
        """Whether this is the initialiser of a model's member: everything in it is known at compile time."""
        self.local_fns: dict[str, list[ParamSig]] = {}
        """The parameters of variables that are a known function, by the variable's key."""
        self.of_literals: dict[str, tree.Var] = {}
        """By a variable's key, the one that is `f32`, or holds such, as it begins with float literals and says no type:
        itself, or the one of which it is an element."""
        self.blamed: set[tuple[str, Type]] = set()
        """Those of which it has been said that they are to be declared with these floats."""
        self._counts: dict[str, int] = {}
        self.computed: list[tuple[Dim | TypeVar, tree.Expr]] = []
        """Configuration arguments that lowering computes."""
        self.reader = reader.child(key, value=self._dim_of_name, report=self.error, model_value=self._model_type,
                                   computed=self._computed_config)
        self.reader.dims = reader.dims

    # -- messages ------------------------------------------------------------------------------------------------------
    def error(self, code: str, message: str, span: Span, help: str | None = None,
              notes: tuple[tuple[str, Span], ...] = ()) -> None:
        self.had_errors = True
        self.checker.report(code, message, span, help, notes)

    def poison(self, span: Span) -> tree.Expr:
        """An expression that is wrong already and causes no further message."""
        return tree.Const(POISON, span, None)

    def show(self, t: Type) -> str:
        return str(self.resolve(t))

    # -- scopes --------------------------------------------------------------------------------------------------------
    @property
    def frame(self) -> Frame:
        return self.frames[-1]

    def push(self) -> None:
        self.frame.scopes.append({})

    def pop(self) -> None:
        self.frame.ended.update(self.frame.scopes.pop())

    def new_var(self, name: str, t: Type, mutable: bool) -> tree.Var:
        n = self._counts[name] = self._counts.get(name, 0) + 1
        return tree.Var(f"{self.key}.{name}" + (f"#{n}" if n > 1 else ""), name, t, mutable)

    def declare(self, name: str, t: Type, kind: str, span: Span, mutable: bool = False, dim: Dim | None = None,
                var: tree.Var | None = None) -> Local:
        """A new variable in the innermost scope; it may hide an older one of the same name."""
        if not mutable and kind != "param":
            t = self.fresh_unknowns(t)
        var = var or self.new_var(name, t, mutable)
        local = Local(var, kind, span)
        if not mutable and self.head(t) == INT:
            local.dim = dim
            if dim is None:
                d = DimVar(var.key, name)
                local.dim = Dim.of(d)
                self.solver.births[d] = self.solver.tick()
        self.frame.scopes[-1][name] = local
        return local

    def find(self, name: str) -> tuple[Local | None, int]:
        """The variable of this name and the frame that it belongs to."""
        for depth in range(len(self.frames) - 1, -1, -1):
            local = self.frames[depth].find(name)
            if local is not None:
                return local, depth
            own = self.frames[depth].self_local
            if own is not None and own.var.name == name:
                self.frames[depth].self_used = True
                return own, depth
        return None, -1

    def use(self, name: str, span: Span) -> Local | None:
        """A variable that is read here: inside a closure it is captured."""
        local, depth = self.find(name)
        if local is None:
            return None
        if depth < len(self.frames) - 1:
            resource = resource_in(self.world, self.resolve(local.var.type))
            if resource is not None:
                self.error("HYB508", f"a closure copies what it captures, and `{name}` "
                           f"{self.holding(local.var.type, resource)}, which is never copied", span,
                           help=f"pass it as a parameter: `mut {name}: {self.show(local.var.type)}`")
            for frame in self.frames[depth + 1:]:
                frame.captures.setdefault(local.var.key, local.var)
        return local

    def word(self, t: Type) -> str:
        t = self.resolve(t)
        return t.name if isinstance(t, Named) else f"model that holds a store or rng ({t})"

    def holding(self, t: Type, resource: Type) -> str:
        """`is a rng`, or `holds a rng`."""
        return ("is a " if self.resolve(t) == resource else "holds a ") + self.word(resource)

    def within(self, name: str) -> bool:
        """Whether a name means something nearer than the module: a variable, a configuration argument or a `let` of
        the model."""
        if self.find(name)[0] is not None or name in self.reader.config:
            return True
        member = self.model.members.get(name) if self.model is not None else None
        return member is not None and member.kind == "let"

    def entity(self, name: str) -> Entity | None:
        """What a name means outside of the body: in this module, else in the prelude."""
        entity = self.module.names.get(name)
        if entity is None:
            entity = self.checker.prelude.get(name)
            if entity is None and self.std:
                entity = self.checker.std_core.get(name)
        return entity

    def variables(self) -> list[str]:
        """The variables that can be seen here."""
        return [n for frame in self.frames for scope in frame.scopes for n in scope]

    def known_names(self) -> list[str]:
        return [*self.variables(), *self.reader.dims, *self.reader.config, *self.module.names, *self.module.cases,
                *(n for n in self.checker.prelude if n[0] != "_"), *check_builtin.NAMES]

    def unknown_name(self, name: str, span: Span, help: str | None = None) -> tree.Expr:
        entity = self.module.names.get(name)
        if entity is None:
            ended = self.frame.ended.get(name)
            notes = () if ended is None else ((f"a `{name}` is declared here, to the end of its block", ended.span),)
            if ended is not None:
                help = f"declare it before the block: `var {name} = ...`"
            self.error("HYB201", f"there is no `{name}` here", span, help or self.hint_for(name), notes)
        else:
            self.had_errors = True
        return self.poison(span)

    def hint_for(self, name: str) -> str | None:
        if name in self._own_members():
            return f"write `self.{name}`"
        owners = [t for t, key in STD_TYPES.items() if name[:1] != "_" and self.world.method(key, name) is not None]
        if owners and name not in NAMES:
            return f"it is a method of {owners[0]}: `x.{name}(...)`"
        return NAMES.get(name) or nearest(name, self.known_names())

    def _own_members(self) -> Collection[str]:
        """What `self` has, in a method."""
        owner = self.sig.owner if self.sig is not None else None
        match self.world.sigs.get(owner) if owner is not None else None:
            case StructSig(fields=fields, methods=methods):
                return {*(f.name for f in fields), *methods}
            case ModelSig(member_names=names, methods=methods):
                return {*names, *methods}
            case EnumSig(methods=methods):
                return methods
        return ()

    # -- types ---------------------------------------------------------------------------------------------------------
    def head(self, t: Type) -> Type:
        return self.solver.head(t)

    def resolve(self, t: Type) -> Type:
        return self.solver.resolve(t)

    def fresh(self, span: Span, what: str, bounds: tuple[str, ...] = ()) -> Type:
        return self.solver.fresh(span, what, bounds)  # type: ignore[return-value]

    def fresh_dim(self) -> Dim:
        return self.solver.unknown()

    def fresh_unknowns(self, t: Type) -> Type:
        """Each `?` of a tensor type becomes one of its own: two values of type f32[?] need not agree; and so does each
        open configuration of a model."""
        h = self.head(t)
        if isinstance(h, ModelType | Option | TupleType | Named) and holds_open(full := self.resolve(h)):
            return reopened(self, full)
        if not isinstance(h, Tensor):
            return t
        seen: dict[DimVar, Dim] = {}

        def renew(d: Dim) -> Dim:
            for v in d.variables():
                if is_unknown(v) and v not in seen:
                    seen[v] = self.solver.unknown()
            return d.substitute(seen)

        new = map_dims(h, renew)
        return new if seen else t

    def equal_dims(self, a: Dim, b: Dim) -> bool | None:
        """Whether two dimensions are equal; a dimension that is still open becomes the other."""
        a, b = self.solver.dim(a), self.solver.dim(b)
        for one, other in ((a, b), (b, a)):
            v = one.variable
            if v is not None and v.key.startswith("~") and v not in other.variables():
                self.solver.dims[v] = other
                return True
        return equal_dims(a, b)

    def meets(self, t: Type, bound: str) -> bool:
        return satisfies(self.world, self.resolve(t), bound)

    def bounds_of(self, t: TypeVar) -> frozenset[str]:
        return implied(t.bound)

    def require(self, t: Type, bound: str, span: Span, what: str) -> None:
        """Report if a type does not meet a bound; one that is not known yet is checked at the end."""
        h = self.head(t)
        if isinstance(h, Meta):
            if bound not in h.bounds:
                h.bounds = (*h.bounds, bound)
            self.solver.bound_checks.append((h, span))
        elif not self.meets(h, bound):
            shown = self.show(h)
            help = None
            if isinstance(h, TypeVar):
                if (h, bound) in self.world.missing_bounds:
                    self.had_errors = True  # one remedy, one message
                    return
                self.world.missing_bounds.add((h, bound))
                word = bound.split()[0]
                help = f"declare it `[{h.name}: {word}]`"
            elif bound == "key":
                help = key_help(self.world, self.resolve(t))
            elif bound == COPIED and isinstance(h, ModelType):
                help = f"write a function over its own model: `mut m: {h.name}`"
            self.error("HYB309", f"{what}: {shown} is not {wanted(bound)}", span, help=help)

    # -- expressions ---------------------------------------------------------------------------------------------------
    def expr(self, e: syntax.Expr, expected: Type | None = None) -> tree.Expr:
        """The typed expression. `expected` guides literals, `[]`, lambdas and case names; `coerce` is what demands."""
        ready = self.prechecked.pop(id(e), None)
        if ready is not None:
            return ready
        return check_expr.check(self, e, None if expected is None else self.head(expected))

    def value(self, e: syntax.Expr, expected: Type | None = None) -> tree.Expr:
        """An expression that must have a value."""
        x = self.expr(e, expected)
        if self.head(x.type) == VOID:
            self.error("HYB301", "this call gives no value", x.span)
            return self.poison(x.span)
        return x

    def typed(self, e: syntax.Expr, to: Type, what: str) -> tree.Expr:
        """An expression of a demanded type."""
        return self.coerce(self.value(e, to), to, what)

    def coerce(self, e: tree.Expr, to: Type, what: str, into: tree.Var | None = None) -> tree.Expr:
        return check_fit.coerce(self, e, to, what, into)

    def adapted(self, e: tree.Expr, to: Type) -> tree.Expr | None:
        return check_fit.adapted(self, e, to)

    def literal_as(self, e: tree.Const, to: Type) -> tree.Expr | None:
        return check_fit.literal_as(self, e, to)

    def join(self, a: tree.Expr, b: tree.Expr, what: str, span: Span) -> tuple[tree.Expr, tree.Expr, Type]:
        return check_fit.join(self, a, b, what, span)

    def join_types(self, s: Type, t: Type) -> Type | None:
        return check_fit.join_types(self, s, t)

    def condition(self, e: syntax.Expr, otherwise: syntax.Expr | None = None) -> tree.Expr:
        """A condition: a bool, and nothing else. Before an `or` and what is given `otherwise` an option is
        an error too, and given back."""
        x = self.value(e, BOOL)
        t = self.head(x.type)
        if t == BOOL or isinstance(t, Poison):
            return x
        if isinstance(t, Meta):
            self.solver.unify(BOOL, t)
            return x
        text = self.checker.text(e.span)
        if len(text) > 30 or "\n" in text:
            text = "..."
        match t:
            case Option() if otherwise is not None:
                help = f"write `{text} ?? {self.checker.text(otherwise.span)}`"
            case Option():
                help = f"write `{text} != none`"
            case _ if isinstance(e, syntax.Literal):
                number = isinstance(e.value, int | float)
                help = f"write `{bool(e.value)}`".lower() if number else f"say what is compared with it: `x == {text}`"
            case Named(key) if self.world.method(key, "_len") is not None:
                help = f"write `len({text}) > 0`"
            case Tensor(elem=elem) if elem == BOOL:
                help = f"write `any({text})` or `all({text})`"
            case _ if t in INTS | FLOATS:
                help = f"write `{text} != 0`"
            case TupleType() if isinstance(e, syntax.Tuple) and len(e.items) == 2:
                help = "without parentheses: `assert x > 0, \"why\"`"
            case _:
                help = "write a comparison"
        self.error("HYB305", f"a condition is a bool, found {self.show(t)}", e.span, help=help)
        return x if isinstance(t, Option) and otherwise is not None else self.poison(e.span)

    # -- constants and dimensions --------------------------------------------------------------------------------------
    def const(self, e: syntax.Expr) -> Any:
        """The value of a compile-time constant; None if the expression is not one."""
        try:
            return constant(e, self._const_name)
        except NotConst:
            return None

    def _const_name(self, name: str) -> Any:
        if self.within(name.partition(".")[0]):
            raise KeyError(name)
        entity = self.world.entity(self.module, name)
        if entity is None:
            return BUILTIN_CONSTS[name]
        sig = self.world.sigs.get(entity.key)
        if isinstance(sig, ConstSig) and sig.value is not None:
            return sig.value
        raise KeyError(name)

    def dim_of(self, e: tree.Expr) -> Dim:
        """An int expression as a dimension; what is no polynomial over fixed values is a fresh `?`."""
        known = self.known_dim(e)
        return self.fresh_dim() if known is None else known

    def known_dim(self, e: tree.Expr) -> Dim | None:
        return check_dims.known_dim(self, e)

    def _dim_of_name(self, name: str, span: Span | None) -> Dim | None:
        return check_dims.dim_of_name(self, name, span)

    def _model_type(self, e: Any) -> Type | None:
        """A model expression given as configuration (`Residual(Linear(3, 3))`): its type."""
        if isinstance(e, syntax.Call):
            x = self.expr(e)
            t = self.resolve(x.type)
            if isinstance(t, ModelType | TypeVar | Poison):
                return t
        return None

    def _computed_config(self, e: Any, name: str, t: Type) -> TypeVar | None:
        """A configuration argument that is no constant; in a member of a model lowering computes it."""
        if not self.initialising or isinstance(e, syntax.TypeName | syntax.Unknown):
            return None
        x = self.typed(e, t, f"`{name}`")
        var = fresh_config(self, name)
        self.computed.append((var, x))
        return var

    def result_name(self) -> str:
        node = self.frame.node
        return node.name if isinstance(node, syntax.Fn) else self.sig.name if self.sig is not None else "this"

    # -- narrowing -----------------------------------------------------------------------------------------------------
    def forget(self, key: str) -> None:
        """What was known of a variable no longer holds."""
        if self.narrowed:
            self.narrowed = {p for p in self.narrowed if p != key and not p.startswith(key + ".")}

    def why_none(self, *es: tree.Expr) -> str:
        """Why what was tested is an option again, to stand before a remedy; "" if it never was."""
        name = next((self.lost[p] for e in es if (p := path_of(e)) in self.lost), None)
        return f"the loop changes `{name}`, so what was known of it before no longer holds; " if name else ""

    def under(self, facts: Iterable[str], run: Callable[[], Any]) -> Any:
        """Run with more paths known not to be none."""
        saved = self.narrowed
        self.narrowed = saved | set(facts)
        try:
            return run()
        finally:
            self.narrowed = saved & self.narrowed

    # -- finishing -----------------------------------------------------------------------------------------------------
    def finish(self, node: Any) -> Any:
        """The tree with final types. Types that nothing decided are reported, unless something else is wrong."""
        for meta, span in self.solver.bound_checks:
            if meta.ref is not None and not self.had_errors:
                for bound in meta.bounds:
                    if not isinstance(self.head(meta), Meta):  # type: ignore[arg-type]
                        self.require(meta, bound, span, meta.what)  # type: ignore[arg-type]
        if not self.solver.used:
            return node
        zonk = Zonk(self.solver)
        done = zonk.node(node)
        if zonk.unsolved and not self.had_errors:
            for meta in {m.span: m for m in zonk.unsolved}.values():
                self.error("HYB308", f"the type of {meta.what} is not known", meta.span,
                           help="write a type: `let x: list[int] = []`, `f[int](...)`, `fn(x: int): ...`")
        return done
