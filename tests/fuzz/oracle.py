"""Another meaning of Hyb, in Python: evaluates the syntax tree of a case with dynamic types and copies everywhere.

It shares the parser with the compiler and nothing else: neither the checker, nor the lowering, nor the standard
library. Ints are Python's, wrapped; i32 and u8 are classes of their own; floats of all widths are Python's (generated
programs keep to exact ones where it matters); an option is its value or None. What it does not know raises Unknown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from hybridc.base.source import Source
from hybridc.front.parse import syntax as s
from hybridc.front.parse.parser import parse
from tests.fuzz import oracle_methods as methods
from tests.fuzz import oracle_models as models
from tests.fuzz import oracle_tensors as tensors
from tests.fuzz.compare import UNSAID
from tests.fuzz.engines import INPUTS, Outcome
from tests.fuzz.oracle_places import Places
from tests.fuzz.oracle_tensors import Array
from tests.fuzz.oracle_values import (
    Closure,
    Fault,
    Graph,
    Heap,
    Obj,
    Store,
    Unknown,
    binary,
    cast,
    compare,
    dup,
    shown,
    unary,
)


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Return(Exception):
    def __init__(self, value: Any):
        self.value = value


class Oracle(Places):
    def __init__(self, text: str):
        self.source = Source("case.hyb", text)
        file, wrong = parse(self.source)
        assert file is not None and not wrong
        self.fns: dict[str, s.Fn] = {}
        self.structs: dict[str, s.Struct] = {}
        self.cases: dict[str, tuple[str, s.EnumCase]] = {}
        self.models: dict[str, s.Model] = {}
        for d in file.decls:
            if isinstance(d, s.Fn):
                self.fns[d.name] = d
            elif isinstance(d, s.Struct):
                self.structs[d.name] = d
            elif isinstance(d, s.Enum):
                for c in d.cases:
                    self.cases[c.name] = (d.name, c)
            elif isinstance(d, s.Model):
                self.models[d.name] = d
            elif not isinstance(d, s.Import | s.Export):  # of modules whose functions it knows
                raise Unknown(type(d).__name__)
        self.scopes: list[dict[str, Any]] = []
        self.printed: list[str] = []
        self.line = 0
        self.steps = 0
        self.files: dict[str, dict[Any, Any]] = {}
        """What was committed to stores, by path."""

    def outcomes(self, name: str) -> list[Outcome]:
        found = []
        for given in INPUTS:
            self.printed, self.scopes, self.steps = [], [], 0
            outcome = Outcome()
            try:
                outcome.text = self.call_fn(self.fns[name], list(given))
            except Fault as f:
                outcome.fault = (f.kind, UNSAID, self.line)
            outcome.printed = "".join(self.printed)
            found.append(outcome)
        return found

    # ---- names
    def call_fn(self, fn: s.Fn, args: list[Any], outer: Sequence[dict[str, Any]] = (), back: list[Any] | None = None) -> Any:
        """`back` receives the values of `mut` parameters."""
        saved = self.scopes
        top = {p.name: self.coerced(a, p.type) for p, a in zip(fn.params, args, strict=True)}
        for p in fn.params:
            self.bind_dims(p.type, top[p.name], top, outer)
        self.scopes = [*outer, top]
        result = None
        try:
            self.block(fn.body)
        except _Return as r:
            result = self.coerced(r.value, fn.result)
        self.scopes = saved
        if back is not None:
            back.extend(top[p.name] for p in fn.params if p.mut)
        return result

    def coerced(self, value: Any, t: Any) -> Any:
        """A value under a declared type: number literals take it."""
        match t:
            case s.TypeName(name="f64" | "f32" | "f16" | "bf16", args=None) if type(value) is int:
                return float(value)
            case s.TypeName(name="i32" | "u8", args=None) if type(value) is int:
                return cast(str(t.name), value)
        return value

    def bind_dims(self, t: Any, value: Any, top: dict[str, Any], outer: Sequence[dict[str, Any]]) -> None:
        """The dimensions that an argument's type names; what has a value already must be of that size."""
        if not isinstance(value, Array) or not isinstance(t, s.TypeName):
            return
        for dim, size in zip(t.args or (), value.shape, strict=True):
            if isinstance(dim, s.Name):
                known = next((scope[dim.id] for scope in (top, *reversed(outer)) if dim.id in scope), size)
                top.setdefault(dim.id, known)
            else:
                known = dim.value if isinstance(dim, s.Literal) else size
            tensors.fit((size,), (known,))

    # ---- statements
    def block(self, body: Sequence[Any], names: dict[str, Any] | None = None) -> None:
        self.scopes = [*self.scopes, dict(names or {})]
        try:
            for stmt in body:
                self.statement(stmt)
        finally:
            self.scopes = self.scopes[:-1]

    def statement(self, stmt: Any) -> None:
        self.steps += 1
        if self.steps > 200_000:
            raise Unknown("too long")
        self.line = self.source.line_column(stmt.span.start)[0]
        e = self.eval
        match stmt:
            case s.Let(pattern=p, type=t, value=v):
                value = self.coerced(e(v), t)
                if not self.bound(p, value, self.scopes[-1]):
                    raise Unknown("let pattern")
            case s.Assign(targets=targets, op=None, value=v):
                value = e(v)
                values = [value] if len(targets) == 1 else list(value)
                for target, x in zip(targets, values, strict=True):
                    self.store(target, x)
            case s.Assign(targets=(s.Index(value=owner, items=items),), op=op, value=v) if isinstance(self.ref(owner), Array):
                tensors.put(self.ref(owner), self.places(items), e(v), op)
            case s.Assign(targets=(target,), op=op, value=v):
                old = e(target)
                self.store(target, operated(str(op).removesuffix("="), old, e(v)))
            case s.ExprStmt(value=v):
                e(v)
            case s.If(cond=c, then=then, orelse=orelse):
                self.block(then if e(c) else orelse)
            case s.While(cond=c, body=body):
                while True:
                    self.line = self.source.line_column(stmt.span.start)[0]
                    if not e(c):
                        break
                    try:
                        self.block(body)
                    except _Break:
                        break
                    except _Continue:
                        pass
            case s.For(pattern=p, iterable=it, body=body):
                for item in self.items(e(it)):
                    names: dict[str, Any] = {}
                    self.bound(p, dup(item), names)
                    try:
                        self.block(body, names)
                    except _Break:
                        break
                    except _Continue:
                        pass
            case s.Break():
                raise _Break
            case s.Continue():
                raise _Continue
            case s.Return(value=v):
                raise _Return(e(v) if v is not None else None)
            case s.Assert(cond=c, message=m):
                if not e(c):
                    raise Fault("AssertionError", e(m) if m is not None else "")
            case s.Raise(message=m):
                raise Fault("HybError", e(m))
            case s.Match(subject=subject, cases=cases):
                self.match(e(subject), cases)
            case s.Fn():
                closure = Closure(stmt, [{}])
                closure.scopes = [*(dup_scope(x) for x in self.scopes), {stmt.name: closure}]
                self.scopes[-1][stmt.name] = closure
            case s.Pass():
                pass
            case _:
                raise Unknown(type(stmt).__name__)

    def match(self, value: Any, cases: Sequence[s.Case]) -> None:
        for case in cases:
            names: dict[str, Any] = {}
            if self.bound(case.pattern, value, names):
                if case.guard is not None:
                    self.line = self.source.line_column(case.span.start)[0]
                    self.scopes = [*self.scopes, names]
                    holds = self.eval(case.guard)
                    self.scopes = self.scopes[:-1]
                    if not holds:
                        continue
                return self.block(case.body, names)
        raise Unknown("no case matches")

    def bound(self, p: Any, value: Any, names: dict[str, Any]) -> bool:
        """Whether a pattern fits; its names."""
        match p:
            case s.Wildcard():
                return True
            case s.Bind(name=n):
                if n in self.cases:
                    return isinstance(value, Obj) and value.case == n
                names[n] = dup(value)
                return True
            case s.LiteralPattern(value=v):
                return value is None if v is None else value is not None and value == v
            case s.TuplePattern(items=items):
                return all(self.bound(i, v, names) for i, v in zip(items, value, strict=True))
            case s.CasePattern(path=path, args=args):
                if not isinstance(value, Obj) or value.case != path[-1]:
                    return False
                held = list(value.fields.values())
                for i, (n, inner) in enumerate(args or ()):
                    if not self.bound(inner, value.fields[n] if n is not None else held[i], names):
                        return False
                return True
            case s.ListPattern(items=items, rest=rest):
                if rest is None:
                    return len(value) == len(items) and all(self.bound(i, v, names) for i, v in zip(items, value, strict=True))
                after = len(items) - rest - 1
                if len(value) < rest + after:
                    return False
                middle = value[rest : len(value) - after]
                parts = [*value[:rest], middle, *value[len(value) - after :]]
                return all(self.bound(i, v, names) for i, v in zip(items, parts, strict=True))
            case s.Alternatives(items=items):
                return any(self.bound(i, value, names) for i in items)
        raise Unknown(type(p).__name__)

    # ---- expressions
    def items(self, value: Any) -> list[Any]:
        if isinstance(value, Heap):
            raise Unknown("iterating a heap")
        return [tensors.plain(x) for x in value]

    def eval(self, e: Any) -> Any:
        match e:
            case s.Literal(value=v):
                return v
            case s.FString(parts=parts):
                return "".join(p if isinstance(p, str) else methods.formatted(self.eval(p[0]), p[1]) for p in parts)
            case s.Name(id=n):
                scope = self.find(n)
                if scope is not None:
                    return dup(scope[n])
                if n in self.cases:
                    return Obj(self.cases[n][0], n, {})
                if n in self.fns:
                    return Closure(self.fns[n], [])
                if n in ("inf", "nan"):
                    return float(n)
                raise Unknown(n)
            case s.Attribute(value=s.Name(id=owner), name=n) if self.find(owner) is None and n in self.cases:
                return Obj(self.cases[n][0], n, {})
            case s.Attribute(value=v, name="T"):
                return self.eval(v).T
            case s.Attribute():
                return dup(self.ref(e))
            case s.Index(value=v, items=items) if isinstance(owner := self.ref(v), Array):
                return dup(tensors.index(owner, self.places(items)))
            case s.Index(value=v, items=(s.Slice() as i,)):
                return methods.sliced(dup(owner), *(None if x is None else self.eval(x) for x in (i.start, i.stop, i.step)))
            case s.Index(items=(i,)):
                return dup(methods.element(owner, self.eval(i)))
            case s.Call():
                return self.call(e)
            case s.Unary(op="not", operand=x):
                return not self.eval(x)
            case s.Unary(op=op, operand=x):
                value = self.eval(x)
                return tensors.unary(op, value) if isinstance(value, Array) else unary(op, value)
            case s.Binary(op=op, left=l, right=r):
                left = self.eval(l)
                return operated(op, left, self.eval(r))
            case s.Compare(operands=operands, ops=ops):
                left = self.eval(operands[0])
                for op, x in zip(ops, operands[1:], strict=True):
                    right = self.eval(x)
                    if isinstance(left, Array) or isinstance(right, Array):
                        return tensors.compare(op, left, right)
                    if not compare(op, left, right):
                        return False
                    left = right
                return True
            case s.Logic(op="and", left=l, right=r):
                return self.eval(l) and self.eval(r)
            case s.Logic(left=l, right=r):
                return self.eval(l) or self.eval(r)
            case s.Conditional(cond=c, then=t, orelse=o):
                return self.eval(t if self.eval(c) else o)
            case s.Coalesce(option=o, default=d):
                value = self.eval(o)
                return self.eval(d) if value is None else value
            case s.Tuple(items=items):
                return tuple(self.eval(i) for i in items)
            case s.List(items=items):
                return methods.joined([self.eval(i) for i in items])
            case s.SetLiteral(items=items):
                return methods.Set(self.eval(i) for i in items)
            case s.MapLiteral(items=items):
                made: dict[Any, Any] = {}
                for k, v in items:
                    key = self.eval(k)
                    made[key] = self.eval(v)
                return made
            case s.Comprehension(clauses=(clause,)):
                return self.comprehension(e, clause)
            case s.Lambda():
                return Closure(e, [dup_scope(x) for x in self.scopes])
        raise Unknown(type(e).__name__)

    def comprehension(self, e: s.Comprehension, clause: s.ForClause) -> Any:
        found: list[Any] = []
        for item in self.items(self.eval(clause.iterable)):
            names: dict[str, Any] = {}
            self.bound(clause.pattern, dup(item), names)
            self.scopes = [*self.scopes, names]
            if all(self.eval(c) for c in clause.conditions):
                found.append((self.eval(e.element), self.eval(e.value)) if e.value is not None else self.eval(e.element))
            self.scopes = self.scopes[:-1]
        return dict(found) if e.kind == "map" else methods.Set(found) if e.kind == "set" else found

    # ---- calls
    def call(self, e: s.Call) -> Any:
        fn = e.fn
        match fn:
            case s.Name(id=n) if self.find(n) is not None and isinstance(self.find(n)[n], models.Model):  # type: ignore[index]
                return self.method(fn, "forward", e.args)
            case s.Name(id=n) if self.find(n) is not None:
                return self.apply(self.find(n)[n], [self.eval(a.value) for a in e.args])  # type: ignore[index]
            case s.Name(id=n) if n in self.fns:
                return self.call_named(self.fns[n], e.args)
            case s.Name(id=n) if n in self.structs:
                return self.build(self.structs[n].name, n, self.structs[n].fields, e.args)
            case s.Index(value=s.Name(id=n)) if n in self.structs:
                return self.build(n, n, self.structs[n].fields, e.args)
            case s.Index(value=s.Name(id="list" | "map" | "set" | "heap" | "deque" | "graph" as n)):
                return {"list": list, "map": dict, "set": methods.Set, "heap": Heap, "deque": deque, "graph": Graph}[n]()
            case s.Index(value=s.Name(id="store")):
                return Store(self.files.setdefault(self.eval(e.args[0].value), {}))
            case s.Name(id=n) if n in self.cases:
                return self.build(self.cases[n][0], n, self.cases[n][1].fields or (), e.args)
            case s.Attribute(value=s.Name(id=owner), name=n) if self.find(owner) is None and n in self.cases:
                return self.build(self.cases[n][0], n, self.cases[n][1].fields or (), e.args)
            case s.Name(id="print"):
                self.printed.append(" ".join(shown(self.eval(a.value)) for a in e.args) + "\n")
                return None
            case s.Name(id=n) if n in self.models:
                return models.built(self.models[n], e.args, self)
            case s.Name(id="set_params"):
                target = self.ref(e.args[0].value)
                return models.put(target, self.eval(e.args[1].value))
            case s.Name(id=n):
                values = [(a.name, self.eval(a.value)) for a in e.args]
                args = [v for name, v in values if not name]
                if n in models.FUNCTIONS:
                    return models.FUNCTIONS[n](*args)
                if n in tensors.MADE or any(isinstance(a, Array) for a in args):
                    return tensors.function(n, args, {name: v for name, v in values if name})
                return methods.function(n, [v for _, v in values])
            case s.Attribute(value=v, name=n):
                return self.method(v, n, e.args)
        return self.apply(self.eval(fn), [self.eval(a.value) for a in e.args])

    def build(self, t: str, case: str, params: Sequence[s.Param], args: Sequence[s.Argument]) -> Obj:
        values = [(a.name, self.eval(a.value)) for a in args]
        fields = {}
        for i, p in enumerate(params):
            given = [v for j, (n, v) in enumerate(values) if n == p.name or (n is None and i == j)]
            if not given:
                raise Unknown("default")
            fields[p.name] = self.coerced(given[0], p.type)
        return Obj(t, case, fields)

    def call_named(self, fn: s.Fn, args: Sequence[s.Argument]) -> Any:
        if any(a.name for a in args):
            raise Unknown("named arguments")
        plain = [None if a.mut else self.eval(a.value) for a in args]
        values = [self.eval(a.value) if a.mut else v for a, v in zip(args, plain, strict=True)]
        back: list[Any] = []
        line = self.line
        result = self.call_fn(fn, values, (), back)
        self.line = line
        for a, value in zip([a for a in args if a.mut], back, strict=True):
            self.store(a.value, value)
        return result

    def apply(self, f: Any, args: list[Any]) -> Any:
        """A function value on values."""
        if not isinstance(f, Closure):
            raise Unknown("call of what is no function")
        line = self.line
        if isinstance(f.fn, s.Fn):
            result = self.call_fn(f.fn, args, [dup_scope(x) for x in f.scopes])
        else:
            saved = self.scopes
            names = {p.name: self.coerced(a, p.type) for p, a in zip(f.fn.params, args, strict=True)}
            self.scopes = [*(dup_scope(x) for x in f.scopes), names]
            self.line = self.source.line_column(f.fn.span.start)[0]
            result = self.eval(f.fn.body)
            self.scopes = saved
        self.line = line
        return result

    def methods_of(self, t: str) -> list[s.Fn]:
        if t in self.models:
            return [m for m in self.models[t].members if isinstance(m, s.Fn)]
        return list(self.structs[t].methods) if t in self.structs else []

    def method(self, receiver: Any, name: str, args: Sequence[s.Argument]) -> Any:
        owner = self.ref(receiver)
        if isinstance(owner, Obj):
            inner = owner.fields.get(name)
            if isinstance(inner, models.Model):
                return models.applied(inner, *(self.eval(a.value) for a in args))
            fn = next((m for m in self.methods_of(owner.type) if m.name == name), None)
            if fn is None:
                raise Unknown(name)
            values = [self.eval(a.value) for a in args]
            line = self.line
            config = owner.config if isinstance(owner, models.Model) else {}
            result = self.call_fn(fn, values, [config, {"self": owner if fn.mutates_self else dup(owner)}])
            self.line = line
            return result
        named = {a.name: self.eval(a.value) for a in args if a.name}
        values = [self.eval(a.value) for a in args if not a.name]
        f: Callable[..., Any] | None = self.apply
        return methods.method(owner, name, values, named, lambda g, *xs: f(g, list(xs)))  # type: ignore[misc]


def operated(op: str, a: Any, b: Any) -> Any:
    return tensors.binary(op, a, b) if isinstance(a, Array) or isinstance(b, Array) else binary(op, a, b)


def dup_scope(scope: dict[str, Any]) -> dict[str, Any]:
    return {n: v if isinstance(v, Closure) else dup(v) for n, v in scope.items()}
