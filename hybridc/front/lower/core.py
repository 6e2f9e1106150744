"""The function in the making (`Lowerer`): blocks, branches, loops, calls, faults.

A variable of the language has a *value* in Core: an atom, or, for a `var` of struct or tuple type, `Parts`: its fields
kept apart, recursively, so that an update of one field leaves the others their owners. Control flow is structured: a
branch is lowered into a block of its own with a copy of the environment, and where branches join, the leaves that
differ become results (`join`); loops and scopes thread the variables their body assigns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hybridc.base.dims import Dim
from hybridc.base.source import NOWHERE, Span
from hybridc.base.types import Named, Type, Void
from hybridc.core import ir
from hybridc.core.builder import boolean
from hybridc.front.check import tree
from hybridc.front.lower.context import (
    HANDLERS,
    BoundDim,
    Branch,
    Context,
    Instance,
    LoopLabels,
    Parts,
    Refused,
    Value,
    lowers,
    outside,
)
from hybridc.front.lower.types import bind_types, erase, is_concrete
from hybridc.front.lower.values import Values


class Lowerer(Values):
    """Makes one Core function."""

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
        return self.join(branches, types, lambda blocks, all_types: self.b.if_(cond, blocks[0], blocks[1], all_types))

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
        return self.b.op(op, args, type, "", **attrs)

    def not_(self, a: ir.Atom) -> ir.Atom:
        return boolean(not a.value) if isinstance(a, ir.Const) else self.b.op("not", [a], ir.BOOL)

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
    "bind_types", "erase", "generated", "is_concrete", "lowers", "outside", "signature_results",
]  # fmt: skip
