"""Going through Core and rebuilding it: what every pass needs and none should write again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from functools import wraps
from operator import is_
from typing import TypeVar

from hybridc.base.immutable import replace
from hybridc.core.ir import (
    RETURN,
    Arm,
    Atom,
    Block,
    Call,
    Exit,
    Fault,
    Fn,
    Fused,
    If,
    Loop,
    Match,
    Op,
    Parallel,
    Scope,
    Span,
    Stmt,
    Tail,
    Type,
    Var,
    Yield,
)

WITHOUT_BLOCKS = frozenset({Op, Call, Fused})
"""Most statements; asked first, since every pass walks."""


# ---- looking ---------------------------------------------------------------------------------------------------------
def outs_of(stmt: Stmt) -> tuple[Var, ...]:
    """What a statement defines for the rest of its block."""
    return (stmt.out,) if isinstance(stmt, Parallel) else stmt.outs


def args_of(stmt: Stmt) -> tuple[Atom, ...]:
    """The atoms that a statement itself names, not those in the blocks it holds."""
    match stmt:
        case Op() | Call() | Fused():
            return stmt.args
        case If():
            return (stmt.cond,)
        case Match():
            return (stmt.subject,)
        case Loop():
            return stmt.inits
        case Parallel():
            return (stmt.count,)
        case Scope():
            return ()


def blocks_of(stmt: Stmt) -> tuple[Block, ...]:
    """The blocks within a statement."""
    if type(stmt) in WITHOUT_BLOCKS:
        return ()
    match stmt:
        case If():
            return (stmt.then, stmt.orelse)
        case Match():
            return tuple(arm.body for arm in stmt.arms)
        case Loop() | Scope() | Parallel():
            return (stmt.body,)
    return ()


def bound_in(stmt: Stmt) -> tuple[Var, ...]:
    """What a statement defines inside: fields of arms, parameters of loops, the index of a parallel, what is fused."""
    match stmt:
        case Match():
            return tuple(f for arm in stmt.arms for f in arm.fields)
        case Loop():
            return stmt.params
        case Parallel():
            return (stmt.index,)
        case Fused():
            return stmt.inner
    return ()


def tail_values(tail: Tail) -> tuple[Atom, ...]:
    return tail.values


def statements(block: Block) -> Iterator[Stmt]:
    """Every statement, at any depth, outer ones before those within."""
    stack: list[Iterator[Stmt]] = [iter(block.stmts)]
    while stack:
        for stmt in stack[-1]:
            yield stmt
            if type(stmt) not in WITHOUT_BLOCKS:
                stack += [iter(inner.stmts) for inner in reversed(blocks_of(stmt))]
                break
        else:
            stack.pop()


def all_blocks(block: Block) -> Iterator[Block]:
    """The block and every block within it."""
    yield block
    for stmt in statements(block):
        if type(stmt) not in WITHOUT_BLOCKS:
            yield from blocks_of(stmt)


def count(block: Block) -> int:
    """Statements and tails, at any depth."""
    return sum(len(b.stmts) + 1 for b in all_blocks(block))


def uses(block: Block) -> dict[Var, int]:
    """How often each variable stands as an atom."""
    found: dict[Var, int] = {}
    for b in all_blocks(block):
        for stmt in b.stmts:
            for a in args_of(stmt):
                if isinstance(a, Var):
                    found[a] = found.get(a, 0) + 1
        for a in b.tail.values:
            if isinstance(a, Var):
                found[a] = found.get(a, 0) + 1
    return found


class Mentions:
    """The atoms that stand in a statement, at any depth: each is looked through once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Stmt, Collection[Atom]]] = {}

    def __call__(self, stmt: Stmt) -> Collection[Atom]:
        if type(stmt) in WITHOUT_BLOCKS:
            return args_of(stmt)
        known = self._known.get(id(stmt))
        if known is None:
            known = self._known[id(stmt)] = stmt, uses(Block((stmt,), Yield())).keys()
        return known[1]


def free_vars(block: Block) -> dict[Var, None]:
    """Variables the block uses and does not define, in order of first use."""
    defined: set[Var] = set()
    for stmt in statements(block):
        defined.update(outs_of(stmt), bound_in(stmt))
    return {v: None for v in uses(block) if v not in defined}


T = TypeVar("T")


def once(look: Callable[[Fn], T]) -> Callable[[Fn], T]:
    """Of a function that looks at nothing but its argument: it looks once. What it gives is not to be changed."""

    @wraps(look)
    def looked(fn: Fn) -> T:
        found = fn.known.get(look)
        if found is None:
            found = fn.known[look] = look(fn)
        return found  # type: ignore[no-any-return]

    return looked


@once
def statements_in(fn: Fn) -> tuple[Stmt, ...]:
    """As `statements` of its body."""
    return tuple(statements(fn.body))


_ITSELF = object()
"""A function is not kept in what is known of it: nobody but the collector of garbage could let go of it then."""


def kept(fn: Fn, key: Hashable, make: Callable[[], Fn]) -> Fn:
    """What is made of a function; `key` says which pass makes it, and all else that it looks at."""
    made = fn.known.get(key)
    if made is None:
        made = make()
        keep(fn, key, made)
    return fn if made is _ITSELF else made


def keep(fn: Fn, key: Hashable, made: Fn) -> None:
    """So that `kept` has it."""
    fn.known[key] = _ITSELF if made is fn else made


@once
def size(fn: Fn) -> int:
    """As `count` of its body."""
    return count(fn.body)


@once
def hands_on(fn: Fn) -> bool:
    """Does it do nothing but call, for its caller, the function that a value says (as `apply` of a fn type does)? Such
    a call is no level of the depth of calls, since nobody wrote it."""
    match fn.body:
        case Block((Match(outs, _, arms),), tail) if fn.hidden and tail.values == outs:
            return all(_is_call(arm.body) or not any(isinstance(s, Call) for s in statements(arm.body)) for arm in arms)
    return False


def _is_call(block: Block) -> bool:
    return len(block.stmts) == 1 and isinstance(block.stmts[0], Call) and block.tail.values == block.stmts[0].outs


@once
def highest_id(fn: Fn) -> int:
    """The greatest variable id in use."""
    top = max((p.id for p in fn.params), default=0)
    for stmt in statements_in(fn):
        plain = type(stmt) is Op or type(stmt) is Call
        for v in stmt.outs if plain else (*outs_of(stmt), *bound_in(stmt)):  # type: ignore[union-attr]
            if v.id > top:
                top = v.id
    return top


@once
def highest_label(fn: Fn) -> int:
    return max((s.label for s in statements_in(fn) if isinstance(s, (Loop, Scope))), default=RETURN)


@once
def calls(fn: Fn) -> dict[str, int]:
    """The functions it calls, each with the number of places; those that operators name by attribute not."""
    found: dict[str, int] = {}
    for stmt in statements_in(fn):
        if isinstance(stmt, Call):
            found[stmt.fn] = found.get(stmt.fn, 0) + 1
    return found


@once
def called(fn: Fn) -> frozenset[str]:
    """The functions it calls."""
    return frozenset(calls(fn))


DERIVATIVES = ("gradient", "pushforward", "jacobian")
"""The operators that take a derivative of a function."""


@once
def gradients(fn: Fn) -> list[Op]:
    """The derivatives that the function takes."""
    return [s for s in statements_in(fn) if isinstance(s, Op) and s.op in DERIVATIVES]


@once
def operators(fn: Fn) -> frozenset[str]:
    """The names of the operators in it."""
    return frozenset(s.op for s in statements_in(fn) if isinstance(s, Op))


@once
def host_types(fn: Fn) -> dict[Type, None]:
    """The types of what it gives to services of the host, and gets from them."""
    services = [s for s in statements_in(fn) if isinstance(s, Op) and s.op == "host"]
    return {a.type: None for s in services for a in (*s.args, *s.outs)}


@once
def mentions(fn: Fn) -> dict[str, None]:
    """The functions it needs: those it calls, those it differentiates, and the one that is its derivative."""
    found = dict.fromkeys(calls(fn))
    found.update((str(op.attr("fn")), None) for op in gradients(fn))
    if fn.adjoint:
        found[fn.adjoint] = None
    return found


def diverges(stmt: Stmt) -> bool:
    """Can control never come to the statement after this one?"""
    if type(stmt) in WITHOUT_BLOCKS:
        return False
    match stmt:
        case If() | Match():
            return not any(ends_in_yield(b) for b in blocks_of(stmt))
        case Loop():
            return not exits_to(stmt.body, stmt.label)
        case Scope():
            return not ends_in_yield(stmt.body) and not exits_to(stmt.body, stmt.label)
        case Parallel():
            return False  # it may have no turns
    return False


def ends_in_yield(block: Block) -> bool:
    found = block.yields
    if found is None:
        found = isinstance(block.tail, Yield) and not any(diverges(s) for s in block.stmts[-1:])
        block.yields = found  # type: ignore[misc]  # of a chain of hundreds of `elif`s each is asked at every level
    return found


def exits_to(block: Block, label: int) -> bool:
    """Is there an exit to the label anywhere within?"""
    return any(isinstance(b.tail, Exit) and b.tail.label == label for b in all_blocks(block))


# ---- rebuilding ------------------------------------------------------------------------------------------------------
def rebuilt(block: Block, stmts: Sequence[Stmt], tail: Tail) -> Block:
    """With these statements and tail; the block itself if they are its own. So what a pass leaves as it was stays the
    same object, which need not be verified again."""
    own = block.stmts
    if tail is block.tail and len(stmts) == len(own) and all(map(is_, stmts, own)):
        return block
    return Block(tuple(stmts), tail)


def unchanged(old: Stmt, new: Stmt) -> bool:
    """Does the new statement hold the blocks of the old one, and name and define what that does?"""
    return (type(old) is type(new) and outs_of(old) == outs_of(new) and all(map(is_, args_of(old), args_of(new)))
            and all(map(is_, blocks_of(old), blocks_of(new))) and bound_in(old) == bound_in(new))


def with_body(fn: Fn, body: Block) -> Fn:
    """The function itself if the body is its own."""
    return fn if body is fn.body else replace(fn, body=body)


def map_atoms(stmt: Stmt, f: Callable[[Atom], Atom]) -> Stmt:
    """With `f` applied to the atoms the statement itself names; the statement itself if they stay."""
    if isinstance(stmt, (Op, Call)):
        new = tuple(map(f, stmt.args))
        if all(map(is_, new, stmt.args)):
            return stmt
        if isinstance(stmt, Op):
            return Op(stmt.outs, stmt.op, new, stmt.attrs, stmt.span)
        return Call(stmt.outs, stmt.fn, new, stmt.span)
    match stmt:
        case If():
            cond = f(stmt.cond)
            return stmt if cond is stmt.cond else replace(stmt, cond=cond)
        case Match():
            subject = f(stmt.subject)
            return stmt if subject is stmt.subject else replace(stmt, subject=subject)
        case Loop():
            inits = tuple(map(f, stmt.inits))
            return stmt if all(map(is_, inits, stmt.inits)) else replace(stmt, inits=inits)
        case Parallel():
            count = f(stmt.count)
            return stmt if count is stmt.count else replace(stmt, count=count)
        case Fused():
            body = rebuilt(stmt.body, [map_atoms(op, f) for op in stmt.ops], map_tail(stmt.body.tail, f))
            return stmt if body is stmt.body else replace(stmt, body=body)
        case Scope():
            return stmt


def map_tail(tail: Tail, f: Callable[[Atom], Atom]) -> Tail:
    values = tuple(map(f, tail.values))
    return tail if all(map(is_, values, tail.values)) else replace(tail, values=values)


def map_blocks(stmt: Stmt, f: Callable[[Block], Block]) -> Stmt:
    """With `f` applied to each block the statement holds; the statement itself if they stay."""
    match stmt:
        case If(_, _, before, after):
            then, orelse = f(before), f(after)
            return stmt if then is before and orelse is after else replace(stmt, then=then, orelse=orelse)
        case Match():
            bodies = [f(a.body) for a in stmt.arms]
            if all(b is a.body for a, b in zip(stmt.arms, bodies, strict=True)):
                return stmt
            return replace(stmt, arms=tuple(replace(a, body=b) for a, b in zip(stmt.arms, bodies, strict=True)))
        case Loop() | Scope() | Parallel():
            body = f(stmt.body)
            return stmt if body is stmt.body else replace(stmt, body=body)
    return stmt


def map_spans(fn: Fn, f: Callable[[Span], Span]) -> Fn:
    """With `f` applied to every place, before anything is fused."""

    def block(b: Block) -> Block:
        tail = replace(b.tail, span=f(b.tail.span)) if isinstance(b.tail, Fault) else b.tail
        return Block(tuple(map_blocks(replace(s, span=f(s.span)), block) for s in b.stmts), tail)

    return replace(fn, body=block(fn.body), span=f(fn.span))


def map_outs(stmt: Stmt, f: Callable[[Var], Var]) -> Stmt:
    """With `f` applied to what the statement defines for the rest of its block."""
    if isinstance(stmt, Parallel):
        return replace(stmt, out=f(stmt.out))
    return replace(stmt, outs=tuple(map(f, stmt.outs)))


def leading_to(made_by: Mapping[int, Op], *atoms: Atom) -> list[Op]:
    """The operators among these, each by the variable that it makes, that lead to the atoms, in order."""
    found: dict[int, Op] = {}

    def need(a: Atom) -> None:
        op = made_by.get(a.id) if isinstance(a, Var) else None
        if op is not None and op.outs[0].id not in found:
            for arg in op.args:
                need(arg)
            found[op.outs[0].id] = op

    for a in atoms:
        need(a)
    return list(found.values())


def substitute(block: Block, values: Mapping[Var, Atom]) -> Block:
    """With variables replaced wherever they are used."""
    if not values:
        return block

    def atom(a: Atom) -> Atom:
        return values.get(a, a) if isinstance(a, Var) else a

    def inner(b: Block) -> Block:
        return rebuilt(b, [map_blocks(map_atoms(s, atom), inner) for s in b.stmts], map_tail(b.tail, atom))

    return inner(block)


class Freshener:
    """Copies blocks under new variable ids and labels, for a body that is put somewhere else."""

    def __init__(self, first_id: int, first_label: int):
        self.next_id = first_id
        self.next_label = first_label

    def var(self, v: Var) -> Var:
        """A new variable like `v`."""
        self.next_id += 1
        return Var(self.next_id - 1, v.type, v.name)

    def label(self) -> int:
        self.next_label += 1
        return self.next_label - 1

    def copy(self, block: Block, values: dict[Var, Atom], labels: dict[int, int]) -> Block:
        """`values` and `labels` say what stands for the free variables and labels; both are extended."""

        def atom(a: Atom) -> Atom:
            return values.get(a, a) if isinstance(a, Var) else a

        def bind(vs: tuple[Var, ...]) -> tuple[Var, ...]:
            fresh = tuple(map(self.var, vs))
            values.update(zip(vs, fresh, strict=True))
            return fresh

        def one(stmt: Stmt) -> Stmt:
            if isinstance(stmt, Fused):
                ops = tuple(map(one, stmt.ops))
                tail = map_tail(stmt.body.tail, atom)
                return Fused(bind(stmt.outs), Block(ops, tail), stmt.span, stmt.device)
            stmt = map_atoms(stmt, atom)
            assert not isinstance(stmt, Fused)
            match stmt:
                case Op() | Call():
                    return replace(stmt, outs=bind(stmt.outs))
                case If():
                    then, orelse = inner(stmt.then), inner(stmt.orelse)
                    return If(bind(stmt.outs), stmt.cond, then, orelse, stmt.span)
                case Match():
                    arms = tuple(Arm(a.case, bind(a.fields), inner(a.body)) for a in stmt.arms)
                    return Match(bind(stmt.outs), stmt.subject, arms, stmt.span)
                case Loop():
                    labels[stmt.label] = label = self.label()
                    params = bind(stmt.params)
                    body = inner(stmt.body)
                    return Loop(bind(stmt.outs), label, params, stmt.inits, body, stmt.span)
                case Scope():
                    labels[stmt.label] = label = self.label()
                    body = inner(stmt.body)
                    return Scope(bind(stmt.outs), label, body, stmt.span)
                case Parallel():
                    (index,) = bind((stmt.index,))
                    body = inner(stmt.body)
                    return Parallel(bind((stmt.out,))[0], index, stmt.count, body, stmt.span)

        def inner(b: Block) -> Block:
            stmts = tuple(map(one, b.stmts))
            tail = map_tail(b.tail, atom)
            if isinstance(tail, Exit):
                tail = Exit(labels.get(tail.label, tail.label), tail.values)
            return Block(stmts, tail)

        return inner(block)
