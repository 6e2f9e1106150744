"""Models: their members, configuration, and what of both is known where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hybridc.base.dims import Dim, DimVar
from hybridc.base.source import Span
from hybridc.base.suggest import nearest
from hybridc.base.types import (
    F32,
    F64,
    INT,
    POISON,
    STD_TYPES,
    STR,
    ModelType,
    Named,
    Option,
    Poison,
    Prim,
    Substitution,
    Tensor,
    TupleType,
    Type,
    TypeVar,
)
from hybridc.front.check import access as check_access
from hybridc.front.check import expr as check_expr
from hybridc.front.check import implicit, tree
from hybridc.front.check.bounds import elem_of, is_plain, is_resource
from hybridc.front.check.config_values import words
from hybridc.front.check.declare import FORBIDDEN_MEMBERS
from hybridc.front.check.infer import is_unknown
from hybridc.front.check.open_models import is_open
from hybridc.front.check.scope import Frame, MemberSig, ModelSig
from hybridc.front.check.tensor import INITIALISERS, initialiser
from hybridc.front.parse import syntax

if TYPE_CHECKING:
    from hybridc.front.check.body import Body
    from hybridc.front.check.checker import Checker


# ---- configuration ---------------------------------------------------------------------------------------------------
def config_substitution(sig: ModelSig, model: ModelType) -> Substitution:
    """From a model's own configuration variables to the configuration of `model`."""
    s: Substitution = {}
    for p, value in zip(sig.config, model.config):
        s[p.var] = value  # type: ignore[assignment]
        if isinstance(value, tuple):
            for i, item in enumerate(value):
                if isinstance(item, Dim):
                    s[DimVar(f"{p.var.key}[{i}]", f"{p.name}[{i}]")] = item
                    s[DimVar(f"{p.var.key}[{i - len(value)}]", f"{p.name}[{i - len(value)}]")] = item
        elif isinstance(value, TypeVar):
            for i in sorted(p.indices):
                shown = f"{p.name}[{i}]"
                s[DimVar(f"{p.var.key}[{i}]", shown)] = Dim.of(
                    DimVar(f"{value.key}[{i}]", "?" if is_open(value) else shown))
    return s


def size_var(sig: ModelSig, name: str) -> DimVar:
    """The dimension that an int `let` of a model is, where lowering computes it."""
    return DimVar(f"{sig.key}.{name}", name)


def dim_of_field(c: Body, t: Type, name: str) -> Dim | None:
    """An int of a model value as a dimension: of its configuration, `m.size`, or a polynomial over that."""
    found = check_access.model_of(c, t)
    if found is None:
        return None
    sig, model = found
    for p, value in zip(sig.config, model.config):
        if p.name == name:
            return value if isinstance(value, Dim) else None
    if name in sig.member_names and prepare(c.checker, sig.key) and name in sig.members:
        return _dim_of_let(c, sig, model, sig.members[name])
    return None


def _dim_of_let(c: Body, sig: ModelSig, model: ModelType, m: MemberSig) -> Dim | None:
    """A compile-time int of a model as a polynomial over its configuration, if it is one (within the model itself
    anything it computes is)."""
    if m.dim is None or c.model is not sig and m.dim.variables() & {*sig.sizes}:
        return None
    s = config_substitution(sig, model)
    return m.dim.substitute({k: v for k, v in s.items() if isinstance(k, DimVar) and isinstance(v, Dim)})


def dim_of_member(c: Body, e: tree.Expr) -> Dim | None:
    """A compile-time int of a model as a dimension."""
    if isinstance(e, tree.Field):
        found = check_access.model_of(c, c.head(e.value.type))
        m = found[0].members.get(e.name) if found is not None else None
        if m is not None and m.dim is not None and c.model is not None and found is not None and found[0] is c.model:
            return m.dim
    return None


# ---- members ---------------------------------------------------------------------------------------------------------
def member(sig: ModelSig, name: str, span: Span, c: Body) -> MemberSig | None:
    """A param, state, submodel or compile-time value of a model."""
    if name in sig.members:
        return sig.members[name]
    if name in sig.member_names:
        if prepare(c.checker, sig.key):
            return sig.members.get(name)
        c.error("HYB601", f"`{name}` is declared further down: a member may use those above it", span)
        return MemberSig(name, "let", POISON, span)
    return None


def is_member(c: Body, sig: ModelSig, name: str) -> bool:
    """Whether a name of the configuration is, of a value, that of a parameter or submodel."""
    if name not in sig.member_names:
        return False
    prepare(c.checker, sig.key)
    return name in sig.members


def param_type(m: MemberSig, sig: ModelSig, model: ModelType) -> Type:
    """The type of a parameter as a configuration has it: no option where constants say that it is there."""
    there = m.init is not None and _there(m.init, sig, model)
    return m.type.item if there and isinstance(m.type, Option) else m.type


def _there(init: tree.Expr, sig: ModelSig, model: ModelType) -> bool | None:
    """Whether an initialiser gives a parameter in a configuration, where constants say so."""
    if not isinstance(init, tree.Conditional):
        return isinstance(init, tree.Builtin)
    cond = _decided(init.cond, sig, model)
    if cond is not None:
        return _there(init.then if cond else init.orelse, sig, model)
    both = {_there(x, sig, model) for x in (init.then, init.orelse)}
    return both.pop() if len(both) == 1 else None


def _decided(e: tree.Expr, sig: ModelSig, model: ModelType) -> bool | None:
    """A condition over flags of the configuration, where constants decide it."""
    match e:
        case tree.Const(value=bool() as value):
            return value
        case tree.ConfigValueOf(name=name):
            given = dict(zip([p.name for p in sig.config], model.config)).get(name)
            return given if isinstance(given, bool) else None
        case tree.Unary(op="not", operand=x):
            inner = _decided(x, sig, model)
            return None if inner is None else not inner
        case tree.Logic(op=op, left=left, right=right):
            sides = (_decided(left, sig, model), _decided(right, sig, model))
            if (op == "or") in sides:
                return op == "or"
            return None if None in sides else op == "and"
    return None


def elem_of_model(checker: Checker, sig: ModelSig) -> Type | None:
    prepare(checker, sig.key)
    return sig.elem


def let_value(c: Body, sig: ModelSig, model: ModelType, t: Type, m: MemberSig, span: Span) -> tree.Expr:
    """A compile-time value of a model; where it is no plain one, its expression, in place."""
    if isinstance(m.type, Poison):
        return c.poison(span)
    dim = _dim_of_let(c, sig, model, m)
    if dim is not None:
        return check_expr.dim_value(dim, span)
    if is_plain(m.type):
        return tree.ConfigValueOf(m.type, span, t, m.name)
    if c.model is sig:
        return sig.lets[m.name]
    c.error("HYB601", f"`{m.name}` is computed inside of `{sig.name}` and can be read only there", span)
    return c.poison(span)


def prepare(checker: Checker, key: str) -> bool:
    """Check the members of a model once; False while that is under way."""
    if key in checker.prepared:
        return True
    if key in checker.preparing:
        return False
    if key not in checker.declarer.types:
        return True
    decl, reader = checker.declarer.types[key]
    checker.preparing.append(key)
    try:
        Members(checker, decl, reader, checker.world.model(key)).run()
    finally:
        checker.preparing.pop()
        checker.prepared.add(key)
    return True


class Members:
    """Checks the members of one model, in order."""

    def __init__(self, checker: Checker, decl: syntax.Model, reader: Any, sig: ModelSig):
        self.checker = checker
        self.decl = decl
        self.sig = sig
        module = checker.world.modules[sig.key.rpartition(":")[0]]
        self.module = module
        self.c: Body = checker.body(module, reader, sig.key, reader.std, sig)
        self.c.initialising = True
        self.c.frames.append(Frame(None, None))
        self.done: list[Any] = []
        self.sizes: list[str] = []

    def run(self) -> None:
        sig, decl = self.sig, self.decl
        for m in (*implicit.submodels(decl), *decl.members):
            if isinstance(m, syntax.Fn):
                continue
            if m.name in sig.members or sig.config_named(m.name) is not None and not implicit.holds(sig, m):
                self.c.error("HYB202", f"`{sig.name}` has two members called `{m.name}`", m.span)
                continue
            if m.name in FORBIDDEN_MEMBERS:
                self.c.error("HYB601", f"a member of a model may not be called `{m.name}`: Python gives every model "
                             "one of that name", m.span)
            match m:
                case syntax.ModelParam():
                    self.param(m)
                case syntax.ModelState():
                    self.state(m)
                case syntax.ModelLet():
                    self.let(m)
        if sig.elem is None:
            sig.elem = F32
        config = tuple(tree.ConfigParam(p.name, p.type, p.var if isinstance(p.var, DimVar) else None, p.default,
                                        p.has_default, tuple(words(self.checker.world, p).items())) for p in sig.config)
        done = self.c.finish(tuple(self.done))
        self.module.decls[sig.key] = self.checker.world.decls[sig.key] = tree.ModelDecl(
            sig.key, sig.name, config, done, sig.methods, sig.elem, decl.name_span, decl.doc,
            tuple(sig.lets.items()), tuple(self.sizes))

    def add(self, name: str, kind: str, t: Type, span: Span, dim: Dim | None = None) -> None:
        self.sig.members[name] = MemberSig(name, kind, self.c.resolve(t), span, dim)

    def share_elem(self, elem: Type, name: str, span: Span) -> None:
        """All parameters of a model have one type."""
        sig = self.sig
        if isinstance(elem, Poison):
            return
        if sig.elem is None:
            sig.elem = elem
        elif sig.elem != elem:
            self.c.error("HYB601", f"`{name}` is {elem}, and the other parameters of `{sig.name}` are {sig.elem}: they "
                         "are one vector", span, help=f"declare it {sig.elem}, and cast where it is used")

    def param(self, m: syntax.ModelParam) -> None:
        reported = len(self.checker.diagnostics)
        t = self.c.reader.type(m.type)
        wrong = len(self.checker.diagnostics) > reported
        held = t.item if isinstance(t, Option) else t
        elem = elem_of(held)
        if not isinstance(held, Poison) and elem not in (F32, F64):
            self.c.error("HYB601", f"a parameter is f32, f64, a tensor of these, or an option of one, not {t}",
                         m.type.span, help="declare a value that is not trained `state`")
            t = held = elem = POISON
        if isinstance(held, Tensor) and not wrong:
            for d in held.shape:
                if isinstance(d, Dim) and any(is_unknown(v) for v in d.variables()):
                    self.c.error("HYB601", "the shape of a parameter is known when the program is compiled",
                                 m.type.span)
                    break
        self.add(m.name, "param", t, m.span)
        self.share_elem(elem, m.name, m.span)
        if isinstance(held, Poison):
            return
        if m.init is None:
            self.c.error("HYB601", f"the parameter `{m.name}` needs an initialiser", m.span, help="write `= zeros()`")
            return
        init = self.initialiser(m.init, held, t)
        if init is not None:
            self.done.append(tree.ModelParam(m.name, t, init, m.span))
            if isinstance(t, Option):
                self.sig.members[m.name].init = self.c.finish(init)

    def initialiser(self, e: syntax.Expr, held: Type, t: Type) -> tree.Expr | None:
        """The first values of a parameter that holds `held`. A condition is decided when the program is compiled;
        `none` leaves the parameter out of the vector."""
        match e:
            case syntax.Conditional():
                cond = self.c.condition(e.cond)
                then, orelse = (self.initialiser(x, held, t) for x in (e.then, e.orelse))
                return None if then is None or orelse is None else tree.Conditional(t, e.span, cond, then, orelse)
            case syntax.Literal(value=None) if isinstance(t, Option):
                return tree.Const(t, e.span, None)
            case syntax.Literal(value=None):
                self.c.error("HYB601", f"a parameter that may be missing is declared `{held}?`, this one is {t}",
                             e.span)
                return None
            case syntax.Call(fn=syntax.Name(id=name)) if name in INITIALISERS:
                return initialiser(self.c, e, name, held)
        name = e.fn.id if isinstance(e, syntax.Call) and isinstance(e.fn, syntax.Name) else ""
        help = nearest(name, INITIALISERS) or "write `= constant(x)` for a number"
        if isinstance(e, syntax.Name) and e.id in INITIALISERS:
            help = f"write `= {e.id}()`: it is called"
        self.c.error("HYB601", "a parameter is initialised by zeros, ones, normal, uniform, glorot, he, orthogonal or "
                     "constant", e.span, help=help)
        return None

    def state(self, m: syntax.ModelState) -> None:
        t = self.c.reader.type(m.type)
        self.add(m.name, "state", t, m.span)
        if is_resource(self.c.world, t):
            self.sig.resource = True
        init = None
        if m.init is not None:
            init = self.c.typed(m.init, t, f"the first value of `{m.name}`")
        elif not isinstance(t, Option | Poison):
            self.c.error("HYB601", f"the state `{m.name}` needs a first value", m.span, help="write `= ...`")
        else:
            init = tree.Const(t, m.span, None)
        self.done.append(tree.ModelState(m.name, t, init, m.span))

    def let(self, m: syntax.ModelLet) -> None:
        declared = None if m.type is None else self.c.reader.type(m.type)
        value = self.c.value(m.value, declared)
        if declared is not None:
            value = self.c.coerce(value, declared, f"the value of `{m.name}`")
        t = self.c.resolve(value.type if declared is None else declared)
        if isinstance(t, Poison):
            self.add(m.name, "let", t, m.span)
            return
        models = self.models_in(t)
        if models:
            self.add(m.name, "model", t, m.span)
            for sub in models:
                if isinstance(sub, ModelType):
                    inner = self.c.world.model(sub.key)
                    if sub.key == self.sig.key or not prepare(self.checker, sub.key):
                        self.c.error("HYB601", f"`{self.sig.name}` would contain itself", m.span)
                        continue
                    if is_resource(self.c.world, sub):
                        self.sig.resource = True
                    if inner.member_names and inner.elem is not None and has_params(self.checker, inner):
                        self.share_elem(inner.elem, m.name, m.span)
            self.done.append(tree.ModelLet(m.name, t, value, m.span))
            return
        dim = None
        if t == INT:
            dim = self.c.known_dim(value)
            if dim is None or any(is_unknown(v) for v in dim.variables()):
                own = size_var(self.sig, m.name)
                dim = Dim.of(own)
                self.sig.sizes.append(own)
                self.sizes.append(m.name)
        if (isinstance(t, Prim) or t == STR or isinstance(t, TupleType | Named)) and not self.holds_model(t):
            self.sig.lets[m.name] = self.c.finish(value)
            self.add(m.name, "let", t, m.span, dim)
            return
        self.c.error("HYB601", f"a `let` of a model is a model, a list, tuple, option or map of models, or a "
                     f"compile-time value, not {t}", m.span, help="what holds models holds nothing else, and "
                     "a map's keys are str or int" if self.holds_model(t) else "declare it `param` or `state`")
        self.add(m.name, "let", POISON, m.span)

    def holds_model(self, t: Type) -> bool:
        """Whether there is a model in a tuple or container, whose parameters would be none of this model's."""
        match t:
            case ModelType() | TypeVar(bound="model"):
                return True
            case TupleType(items) | Named(args=items):
                return any(not isinstance(i, Dim) and self.holds_model(i) for i in items)
            case Option(item):
                return self.holds_model(item)
        return False

    def models_in(self, t: Type) -> list[Type]:
        """The models of which a member is made; empty if it is made of something else."""
        match t:
            case ModelType():
                return [t]
            case TypeVar(bound="model"):
                return [t]
            case Option(item):
                return self.models_in(item)
            case TupleType(items):
                parts = [self.models_in(i) for i in items]
                return [x for p in parts for x in p] if all(parts) else []
            case Named(key, args) if key == STD_TYPES["list"]:
                return self.models_in(args[0])  # type: ignore[arg-type]
            case Named(key, args) if key == STD_TYPES["map"] and args[0] in (STR, INT):
                return self.models_in(args[1])  # type: ignore[arg-type]
        return []


def has_params(checker: Checker, sig: ModelSig) -> bool:
    """Whether a model has parameters of its own or in a submodel."""
    prepare(checker, sig.key)
    return any(m.kind in ("param", "model") for m in sig.members.values())


