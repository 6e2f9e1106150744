"""What every part of lowering shares: the program being made (`Context`) and the function being made (`Lowerer`).

A variable of the language has a *value* in Core: an atom, or, for a `var` of struct or tuple type, `Parts`: its fields
kept apart, recursively, so that an update of one field leaves the others their owners. Control flow is structured: a
branch is lowered into a block of its own with a copy of the environment, and where branches join, the leaves that
differ become results (`join`); loops and scopes thread the variables their body assigns."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Union

from hybridc.base.diagnostic import Diagnostic
from hybridc.base.dims import Dim, DimVar, PackVar
from hybridc.base.source import NOWHERE, Span
from hybridc.base.types import FnRef, FnType, ModelType, Named, Option, Tensor, TupleType, Type, TypeVar, Void
from hybridc.core import ir
from hybridc.core.builder import Builder, boolean, integer
from hybridc.front import tree
from hybridc.front.lower_types import Types, bind_types, erase, is_concrete

if TYPE_CHECKING:
    from hybridc.front.derive import Derived
    from hybridc.front.lower_closure import Closures
    from hybridc.front.lower_model import Models


@dataclass(frozen=True, slots=True)
class Parts:
    """A struct or tuple whose fields are kept apart."""

    type: ir.Type
    items: tuple[Value, ...]


Value = Union[ir.Atom, Parts]  # noqa: UP007


class Refused(Exception):
    """What cannot be lowered; becomes a compile error."""

    def __init__(self, diagnostic: Diagnostic):
        self.diagnostic = diagnostic
        super().__init__(diagnostic.message)


@dataclass(frozen=True, slots=True)
class Instance:
    """A function made concrete: erased types for its type parameters, ranks of its packs, the model it belongs to, and
    the dimension names that a parameter's model configuration gives."""

    key: str
    types: tuple[Type, ...] = ()
    packs: tuple[int, ...] = ()
    model: ModelType | None = None
    dims: tuple[tuple[str, int], ...] = ()


@dataclass
class Context:
    """One Core program in the making."""

    program: tree.Program
    core: ir.Program = field(default_factory=ir.Program)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    externs: dict[str, None] = field(default_factory=dict)
    names: dict[Instance, str] = field(default_factory=dict)
    work: list[Callable[[], None]] = field(default_factory=list)
    memo: dict[object, Any] = field(default_factory=dict)
    """Analyses of tree nodes, by (what, id of the node); the program keeps the nodes alive."""
    types: Types = field(init=False)
    derived: Derived = field(init=False)
    closures: Closures = field(init=False)
    models: Models = field(init=False)
    make_fn: Callable[[Instance, str], None] = field(init=False)
    _taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.types = Types(self.program.decls, self.core)

    # ---- declarations
    def fn(self, key: str) -> tree.FnDecl:
        decl = self.program.decls[key]
        assert isinstance(decl, tree.FnDecl)
        return decl

    def method(self, t: Type, name: str) -> tree.FnDecl | None:
        """The method of a concrete type, if it has one."""
        if isinstance(t, (Named, ModelType)):
            decl = self.program.decls.get(t.key)
            if isinstance(decl, (tree.StructDecl, tree.EnumDecl, tree.ModelDecl)) and name in decl.methods:
                return self.fn(decl.methods[name])
        return None

    def has(self, key: str) -> bool:
        return key in self.program.decls

    # ---- instances
    def claim(self, name: str) -> str:
        """A name for a Core function that no other has."""
        unique, n = name, 2
        while unique in self._taken:
            unique, n = f"{name}#{n}", n + 1
        self._taken.add(unique)
        return unique

    def instance(self, instance: Instance) -> str:
        """The Core function of an instance; it is put on the worklist when first asked for."""
        name = self.names.get(instance)
        if name is None:
            name = self.names[instance] = self.claim(self._instance_name(instance))
            self.work.append(lambda: self.make_fn(instance, name))
        return name

    def _instance_name(self, instance: Instance) -> str:
        decl = self.fn(instance.key)
        types = [self.types.show(t) for t in instance.types]
        owner = ""
        if decl.owner is not None:
            owner_decl = self.program.decls[decl.owner]
            owner = self.types.decl_name(decl.owner)
            if instance.model is not None:
                owner = self.types.show(instance.model)
            elif isinstance(owner_decl, (tree.StructDecl, tree.EnumDecl)):
                count = sum(isinstance(p, TypeVar) for p in owner_decl.params)
                if count:
                    owner += f"[{', '.join(types[:count])}]"
                types = types[count:]
            owner += "."
        elif not instance.key.startswith(self.program.module + ":"):
            owner = instance.key.rpartition(":")[0] + "."
        types = types + [f"{key.rpartition('.')[2]}={value}" for key, value in instance.dims]
        ranks = "".join(f"*{rank}" for rank in instance.packs)
        return owner + decl.name + (f"[{', '.join(types)}]" if types else "") + ranks

    def later(self, name: str, make: Callable[[str], ir.Fn]) -> str:
        """A generated function, made once when the worklist comes to it; `name` identifies it."""
        key = ("generated", name)
        if key not in self.memo:
            symbol = self.memo[key] = self.claim(name)
            self.work.append(lambda: self.add(make(symbol)))
        return self.memo[key]

    def add(self, fn: ir.Fn) -> None:
        self.core.fns[fn.name] = fn


HANDLERS: dict[type, Callable[[Lowerer, Any], Any]] = {}


def lowers(*nodes: type) -> Callable[[Callable[[Lowerer, Any], Any]], Callable[[Lowerer, Any], Any]]:
    """Marks the function that lowers a kind of node: an expression to its Value (None if it has none), a statement."""

    def mark(handler: Callable[[Lowerer, Any], Any]) -> Callable[[Lowerer, Any], Any]:
        for node in nodes:
            HANDLERS[node] = handler
        return handler

    return mark


@dataclass
class Branch:
    """A lowered block before its tail is known; `tail` is set if its end cannot be reached."""

    stmts: tuple[ir.Stmt, ...]
    tail: ir.Tail | None
    results: list[ir.Atom]
    env: dict[str, Value]


@dataclass
class BoundDim:
    """A dimension name's run-time value; `maybe` if an empty list may have left it unbound (then it is -1)."""

    atom: ir.Atom
    name: str
    maybe: bool = False


@dataclass
class LoopLabels:
    """Where `break` and `continue` go, and the variables that travel with them."""

    stop: int
    turn: int | None
    keys: list[str]


class Lowerer:
    """Makes one Core function. `env` maps variables (by key) to values."""

    def __init__(self, ctx: Context, parent: Lowerer | None = None):
        self.ctx = ctx
        self.b = Builder()
        self.parent = parent
        self.env: dict[str, Value] = {}
        self.kinds: dict[str, ir.Type] = {}
        """The declared Core type of each variable in `env`."""
        self.dims: dict[str, BoundDim] = {}
        self.tail: ir.Tail | None = None
        self.labels: set[int] = set()
        """Labels that some exit has used."""
        self.loops: list[LoopLabels] = []
        self.captured: dict[str, ir.Var] = {}
        self.captures: list[tuple[ir.Var, ir.Atom]] = []
        """For a closure: its parameters for what it captures, and the values outside."""
        self.results: tuple[ir.Type, ...] = ()
        self.result_type: Type = Void()
        self.muts: list[str] = []
        """Keys of the `mut` parameters, whose values are results too."""
        self.title = ""
        self.name = ""
        self.hidden = False
        self.type_args: dict[str, Type] = {}
        self.packs: dict[str, tuple[Dim, ...]] = {}
        self.consts: dict[str, Dim] = {}
        self.model: ModelType | None = None
        self.self_type: Type | None = None
        """How the declaration writes the type of `self` in a method of a model."""
        self._fresh = itertools.count(1)
        if parent is not None:
            self.type_args, self.packs, self.consts = parent.type_args, parent.packs, parent.consts
            self.model, self.self_type, self.hidden = parent.model, parent.self_type, parent.hidden

    # ---- types
    def concrete(self, t: Type) -> Type:
        """The type with this instance's types, configuration and packs put in; dimension names may remain."""
        match t:
            case TypeVar():
                return self.type_args.get(t.key, t)
            case Tensor(elem, shape):
                dims: list[Dim | PackVar] = []
                for d in shape:
                    if isinstance(d, PackVar):
                        dims.extend(self.packs.get(d.key, (d,)))
                    else:
                        dims.append(self.concrete_dim(d))
                new = self.concrete(elem)
                if isinstance(new, Tensor):
                    return Tensor(new.elem, tuple(dims) + new.shape)
                return Tensor(new, tuple(dims)) if dims else new
            case TupleType(items):
                return TupleType(tuple(map(self.concrete, items)))
            case Option(item):
                return Option(self.concrete(item))
            case FnType(params, result):
                return FnType(tuple((self.concrete(p), mut) for p, mut in params), self.concrete(result))
            case Named(key, args):
                return Named(key, tuple(self.concrete_dim(a) if isinstance(a, Dim) else self.concrete(a) for a in args))
            case ModelType(key, config):
                if self.model is not None and t == self.self_type:
                    return self.model
                return ModelType(key, tuple(map(self.concrete_config, config)))
            case _:
                return t

    def concrete_dim(self, d: Dim) -> Dim:
        values = {v: self.consts[v.key] for v in d.variables() if v.key in self.consts}
        return d.substitute(values) if values else d

    def concrete_config(self, value: Any) -> Any:
        match value:
            case Dim():
                return self.concrete_dim(value)
            case tuple():
                return tuple(map(self.concrete_config, value))
            case FnRef(key, types, packs):
                return FnRef(key, tuple(map(self.concrete, types)), packs)
            case ModelType() | TypeVar():
                return self.concrete(value)
            case _:
                return value

    def type(self, t: Type) -> ir.Type:
        """The Core type, with the dimensions that are numbers here."""
        return self.ctx.types.core(self.concrete(t))

    # ---- dimensions
    def dim(self, d: Dim) -> ir.Atom:
        """A dimension's value as an int."""
        d = self.concrete_dim(d)
        if d.constant is not None:
            return integer(d.constant)
        total: ir.Atom | None = None
        for monomial, coefficient in d.terms:
            term: ir.Atom | None = None if coefficient == 1 and monomial else integer(coefficient)
            for variable, power in monomial:
                value = self.dim_var(variable)
                for _ in range(power):
                    term = value if term is None else self.b.op("mul", [term, value], ir.INT)
            assert term is not None
            total = term if total is None else self.b.op("add", [total, term], ir.INT)
        assert total is not None
        return total

    def dim_var(self, v: DimVar) -> ir.Atom:
        """The run-time value of a dimension name or of an int `let`."""
        bound = self.find_dim(v)
        if bound is None:
            raise AssertionError(f"dimension {v.name} ({v.key}) has no value in {self.name}")
        if bound.maybe:
            ok = self.b.op("ge", [bound.atom, integer(0)], ir.BOOL)
            self.check(ok, "ValueError", f"dimension {bound.name} is needed, but an empty list binds nothing")
        return bound.atom

    def find_dim(self, v: DimVar) -> BoundDim | None:
        bound = self.dims.get(v.key)
        if bound is not None:
            return bound
        if v.key in self.consts:
            return BoundDim(self.dim(self.consts[v.key]), v.name)
        value = self.env.get(v.key) or self.captured.get(v.key)
        if value is not None and not isinstance(value, Parts):
            return BoundDim(value, v.name)
        if self.parent is None:
            return None
        outer = self.parent.find_dim(v)
        if outer is None:
            return None
        if isinstance(outer.atom, ir.Const):
            return outer
        inner = self.b.var(ir.INT, v.name)
        self.captures.append((inner, outer.atom))
        self.dims[v.key] = BoundDim(inner, v.name, outer.maybe)
        return self.dims[v.key]

    # ---- values
    def expr(self, e: tree.Expr) -> ir.Atom:
        """The atom of an expression that has a value."""
        return self.whole(self.value(e))

    def value(self, e: tree.Expr) -> Value:
        value = self.effect(e)
        return value if value is not None else Parts(ir.UNIT, ())

    def effect(self, e: tree.Expr) -> Value | None:
        """Lower an expression; None if it has no value (a call of a function that returns nothing)."""
        handler = HANDLERS.get(type(e))
        assert handler is not None, f"no lowering of {type(e).__name__}"
        self.b.span = e.span
        result = handler(self, e)
        self.b.span = e.span
        return result

    def whole(self, value: Value) -> ir.Atom:
        """One atom for a value."""
        if not isinstance(value, Parts):
            return value
        items = [self.whole(i) for i in value.items]
        return self.b.op("tuple" if isinstance(value.type, ir.TupleT) else "struct", items, value.type)

    def apart(self, value: Value) -> Value:
        """A struct's or tuple's fields, recursively."""
        if isinstance(value, Parts):
            return Parts(value.type, tuple(map(self.apart, value.items)))
        types = self.ctx.types.parts(value.type)
        if types is None:
            return value
        outs = self.b.ops("destruct", [value], types) if types else ()
        return Parts(value.type, tuple(map(self.apart, outs)))

    def item(self, value: Value, index: int, type: ir.Type | None = None) -> Value:
        """A field of a struct or tuple."""
        if isinstance(value, Parts):
            return value.items[index]
        types = self.ctx.types.parts(value.type)
        assert types is not None, f"{value} has no fields"
        return self.b.op("get", [value], type or types[index], index=index)

    def leaves(self, value: Value) -> list[ir.Atom]:
        return [a for i in value.items for a in self.leaves(i)] if isinstance(value, Parts) else [value]

    def leaf_types(self, t: ir.Type) -> list[ir.Type]:
        types = self.ctx.types.parts(t)
        return [t] if types is None else [leaf for item in types for leaf in self.leaf_types(item)]

    def rebuild(self, like: Value, leaves: Iterable[ir.Atom]) -> Value:
        """A value of the same form from new leaves."""
        source = iter(leaves)

        def build(v: Value) -> Value:
            return Parts(v.type, tuple(map(build, v.items))) if isinstance(v, Parts) else next(source)

        return build(like)

    # ---- variables
    def declare(self, var: tree.Var, value: Value) -> None:
        self.kinds[var.key] = self.type(var.type)
        self.env[var.key] = self.apart(value) if var.mutable else self.whole(value)

    def fresh(self, name: str, type: Type, value: Value, mutable: bool = False) -> tree.Var:
        """A variable of the compiler's own, for what is built out of tree nodes."""
        var = tree.Var(f"${self.name}.{name}{next(self._fresh)}", name, type, mutable)
        self.declare(var, value)
        return var

    def local(self, name: str, type: Type, value: Value) -> tree.Local:
        """An expression for a value already computed."""
        return tree.Local(type, self.b.span, self.fresh(name, type, value))

    def read(self, key: str) -> Value:
        """The value of a variable; a closure captures it from outside."""
        if key in self.env:
            return self.env[key]
        if key in self.captured:
            return self.captured[key]
        assert self.parent is not None, f"variable {key} has no value in {self.name}"
        outer = self.parent.whole(self.parent.read(key))
        if isinstance(outer, ir.Const):
            return outer
        inner = self.b.var(outer.type, key.rpartition(".")[2])
        self.captured[key] = inner
        self.captures.append((inner, outer))
        return inner

    # ---- blocks
    def branch(self, make: Callable[[], Sequence[ir.Atom] | None]) -> Branch:
        """Lower into a block of its own, with a copy of the environment."""
        env, tail, span = self.env, self.tail, self.b.span
        self.env, self.tail = dict(env), None
        self.b.open()
        results = list(make() or ())
        stmts = self.b.close(ir.Yield()).stmts
        branch = Branch(stmts, self.tail, results, self.env)
        self.env, self.tail, self.b.span = env, tail, span
        return branch

    def join(
        self,
        branches: Sequence[Branch],
        types: Sequence[ir.Type],
        emit: Callable[[list[ir.Block], list[ir.Type]], Sequence[ir.Var]],
    ) -> list[ir.Var]:
        """Where branches meet: their results, then every variable's leaf that one of them changed."""
        live = [b for b in branches if b.tail is None]
        changed: list[tuple[str, int]] = []
        all_types = list(types)
        for key, before in self.env.items():
            if all(b.env[key] is before for b in live):
                continue
            old = self.leaves(before)
            news = [self.leaves(b.env[key]) for b in live]
            kinds = self.leaf_types(self.kinds[key]) if isinstance(before, Parts) else [self.kinds[key]]
            for i, leaf in enumerate(old):
                if any(new[i] != leaf for new in news):
                    changed.append((key, i))
                    all_types.append(kinds[i])
        blocks = []
        for b in branches:
            moved = [self.leaves(b.env[key])[i] for key, i in changed] if b.tail is None else []
            blocks.append(ir.Block(b.stmts, b.tail or ir.Yield(tuple(b.results + moved))))
        outs = list(emit(blocks, all_types))
        by_key: dict[str, dict[int, ir.Atom]] = {}
        for (key, i), out in zip(changed, outs[len(types):], strict=True):
            by_key.setdefault(key, {})[i] = out
        for key, new in by_key.items():
            before = self.env[key]
            self.env[key] = self.rebuild(before, [new.get(i, leaf) for i, leaf in enumerate(self.leaves(before))])
        if not live:
            self.unreachable()
        return outs[: len(types)]

    def if_(
        self,
        cond: ir.Atom,
        then: Callable[[], Sequence[ir.Atom] | None],
        orelse: Callable[[], Sequence[ir.Atom] | None],
        types: Sequence[ir.Type] = (),
    ) -> list[ir.Var]:
        """A conditional; the branches may assign variables and may leave."""
        branches = [self.branch(then), self.branch(orelse)]
        return self.join(branches, types, lambda blocks, all_types: self.b.if_(cond, *blocks, all_types))

    def vars_atoms(self, keys: Iterable[str]) -> list[ir.Atom]:
        return [leaf for key in keys for leaf in self.leaves(self.env[key])]

    def vars_types(self, keys: Iterable[str]) -> list[ir.Type]:
        types: list[ir.Type] = []
        for key in keys:
            kind = self.kinds[key]
            types += self.leaf_types(kind) if isinstance(self.env[key], Parts) else [kind]
        return types

    def set_vars(self, keys: Iterable[str], atoms: Iterable[ir.Atom]) -> None:
        source = iter(atoms)
        for key in keys:
            before = self.env[key]
            self.env[key] = self.rebuild(before, [next(source) for _ in self.leaves(before)])

    def leave(self, label: int, keys: Sequence[str], results: Sequence[ir.Atom] = ()) -> None:
        """Exit the construct with that label, giving results and the variables that travel with it."""
        self.tail = ir.Exit(label, tuple(results) + tuple(self.vars_atoms(keys)))
        self.labels.add(label)

    def scope(
        self,
        keys: Sequence[str],
        make: Callable[[int], Sequence[ir.Atom] | None],
        types: Sequence[ir.Type] = (),
    ) -> list[ir.Var]:
        """A block that can be left from within by `leave(label, keys, results)`; `keys` are all it may assign."""
        label = self.b.label()
        span = self.b.span
        branch = self.branch(lambda: make(label))
        if branch.tail is None:
            moved = [leaf for key in keys for leaf in self.leaves(branch.env[key])]
            tail: ir.Tail = ir.Yield(tuple(branch.results + moved))
        else:
            tail = branch.tail
        outs = self.b.scope(label, ir.Block(branch.stmts, tail), list(types) + self.vars_types(keys))
        self.set_vars(keys, outs[len(types):])
        if branch.tail is not None and label not in self.labels:
            self.unreachable()
        self.b.span = span
        return list(outs[: len(types)])

    def loop(
        self,
        keys: Sequence[str],
        inits: Sequence[ir.Atom],
        make: Callable[[int, list[ir.Var]], Sequence[ir.Atom]],
        names: Sequence[str] = (),
        types: Sequence[ir.Type] = (),
    ) -> list[ir.Var]:
        """Turns until `leave(label, keys, results)`. `inits` are values of the loop's own; `make` gets its label and
        those values in this turn, and gives them for the next. `types` are of the results of leaving."""
        label = self.b.label()
        span = self.b.span
        kinds = self.vars_types(keys)
        before = self.vars_atoms(keys)
        params = [self.b.var(t, a.name if isinstance(a, ir.Var) else "") for t, a in zip(kinds, before, strict=True)]
        extra_names = list(names) + [""] * len(inits)
        extras = [self.b.var(a.type, extra_names[i]) for i, a in enumerate(inits)]

        def body() -> list[ir.Atom]:
            self.set_vars(keys, params)
            return list(make(label, extras))

        branch = self.branch(body)
        if branch.tail is None:
            moved = [leaf for key in keys for leaf in self.leaves(branch.env[key])]
            tail: ir.Tail = ir.Yield(tuple(moved + branch.results))
        else:
            tail = branch.tail
        block = ir.Block(branch.stmts, tail)
        outs = self.b.loop(label, params + extras, before + list(inits), block, list(types) + kinds)
        self.set_vars(keys, outs[len(types):])
        if label not in self.labels:
            self.unreachable()
        self.b.span = span
        return list(outs[: len(types)])

    def unreachable(self) -> None:
        """What follows is never run."""
        self.tail = ir.Fault("HybError", (), self.b.span)

    # ---- calls of instances
    def call_fn(
        self, key: str, args: Sequence[ir.Atom], types: Sequence[Type] = (), packs: Sequence[int] = ()
    ) -> list[ir.Var]:
        """Call a declared function by key, its type parameters given: its result (if any) and `mut` parameters."""
        decl = self.ctx.fn(key)
        instance = Instance(key, tuple(map(erase, types)), tuple(packs))
        inner = {v.key: t for v, t in zip(decl.type_params, types, strict=True)}
        outs = signature_results(self.ctx, decl, inner)
        return list(self.b.call(self.ctx.instance(instance), args, outs))

    def call_method(self, receiver: Type, name: str, args: Sequence[ir.Atom]) -> list[ir.Var]:
        """Call a method of a struct or enum that has no type parameters but its owner's; `args` begin with self."""
        receiver = erase(self.concrete(receiver))
        decl = self.ctx.method(receiver, name)
        assert decl is not None and isinstance(receiver, Named), f"{receiver} has no method {name}"
        types = [a for a in receiver.args if not isinstance(a, Dim)]
        return self.call_fn(decl.key, args, types)

    # ---- faults
    def text(self, text: str) -> ir.Var:
        return self.b.op("str", [], ir.STR, text=text)

    def fault(self, kind: str, message: str | ir.Atom | None = None, span: Span | None = None) -> ir.Fault:
        """A tail that stops the program; the message is made in the open block."""
        if isinstance(message, str):
            message = self.text(message)
        return ir.Fault(kind, () if message is None else (message,), span or self.b.span)

    def check(
        self,
        ok: ir.Atom,
        kind: str,
        message: str | Callable[[], ir.Atom] | None = None,
        span: Span | None = None,
    ) -> None:
        """Fault unless `ok`; the message is made only then."""
        if isinstance(ok, ir.Const) and ok.value:
            return

        def fail() -> None:
            self.tail = self.fault(kind, message if message is None or isinstance(message, str) else message(), span)

        failing = self.branch(fail)
        assert failing.tail is not None
        self.b.if_(ok, ir.Block((), ir.Yield()), ir.Block(failing.stmts, failing.tail))

    # ---- small helpers
    def op(self, op: str, args: Sequence[ir.Atom], type: ir.Type, **attrs: object) -> ir.Var:
        return self.b.op(op, args, type, **attrs)

    def not_(self, a: ir.Atom) -> ir.Atom:
        return boolean(not a.value) if isinstance(a, ir.Const) else self.b.op("not", [a], ir.BOOL)

    def refuse(self, code: str, message: str, span: Span, help: str | None = None) -> Refused:
        return Refused(Diagnostic(code, message, span, help))

    def finish(self, params: Sequence[ir.Var], branch: Branch, results: Sequence[ir.Type], **info: Any) -> ir.Fn:
        """The function whose body is the branch; its results are the branch's if its end is reached."""
        block = ir.Block(branch.stmts, branch.tail or ir.Yield(tuple(branch.results)))
        return ir.Fn(self.name, tuple(params), tuple(results), block, self.title, **info)


def signature_results(ctx: Context, decl: tree.FnDecl, types: dict[str, Type]) -> list[ir.Type]:
    """Core results of a function whose type parameters stand for `types`: the result, then its `mut` parameters."""
    maker = Lowerer(ctx)
    maker.type_args = types
    outs = [] if isinstance(decl.result, Void) else [ctx.types.inner(maker.concrete(decl.result))]
    return outs + [ctx.types.inner(maker.concrete(p.var.type)) for p in decl.params if p.mut]


def generated(ctx: Context, name: str, title: str, params: Sequence[tuple[str, ir.Type]], results: Sequence[ir.Type],
              body: Callable[[Lowerer, list[ir.Var]], Sequence[ir.Atom]]) -> ir.Fn:
    """A function of the compiler's own (hidden in call chains)."""
    lw = Lowerer(ctx)
    lw.name, lw.title, lw.results = name, title, tuple(results)
    variables = [lw.b.var(t, n) for n, t in params]
    branch = lw.branch(lambda: body(lw, variables))
    return lw.finish(variables, branch, results, hidden=True, span=NOWHERE)


__all__ = [
    "HANDLERS", "Branch", "BoundDim", "Context", "Instance", "LoopLabels", "Lowerer", "Parts", "Refused", "Value",
    "bind_types", "erase", "generated", "is_concrete", "lowers", "signature_results",
]  # fmt: skip
