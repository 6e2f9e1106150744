"""The pass: derivatives become calls of functions made here, in reverse mode a forward part and a reverse part.

Derivatives of derivatives need nothing of their own: a function is differentiated once those inside it are plain Core.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from operator import is_
from typing import TypeVar

from hybridc.autodiff import recursion, rules
from hybridc.autodiff.activity import Activity, Mask
from hybridc.autodiff.convert import absorb, give
from hybridc.autodiff.derived import Derived
from hybridc.autodiff.direction import check_direction
from hybridc.autodiff.forward import Forward
from hybridc.autodiff.lasting import Lasting
from hybridc.autodiff.push import Push, custom
from hybridc.autodiff.readonly import ReadOnly
from hybridc.autodiff.replacer import Replacer
from hybridc.autodiff.reverse import Reverse
from hybridc.autodiff.rules import Refused
from hybridc.autodiff.tangent import Adjoint, Adjoints, Tangents
from hybridc.base import knobs
from hybridc.base.immutable import replace
from hybridc.base.names import unused
from hybridc.core.builder import Builder
from hybridc.core.ir import (
    RETURN,
    STR,
    Atom,
    Block,
    BufferT,
    Call,
    Const,
    Exit,
    Fault,
    Fn,
    Op,
    Program,
    TensorT,
    TupleT,
    Type,
    Var,
    Yield,
)
from hybridc.core.types import parts
from hybridc.core.walk import (
    Freshener,
    all_blocks,
    calls,
    diverges,
    gradients,
    highest_id,
    highest_label,
    kept,
    map_atoms,
    map_blocks,
    map_tail,
    mentions,
    operators,
    rebuilt,
)

T = TypeVar("T")
OWN = "a function cannot take its own derivative"
LONG = 128
"""How long the tape of a call may be that is kept value by value."""


def targets(program: Program) -> list[str]:
    """The functions whose form a derivative relies on: those differentiated, those with an adjoint of their own,
    checkpoints."""
    found: dict[str, None] = {}
    for fn in program.fns.values():
        found.update((str(op.attr("fn")), None) for op in gradients(fn))
        if fn.adjoint:
            found[fn.name] = found[fn.adjoint] = None
        if fn.checkpoint:
            found[fn.name] = None
    return list(found)


def run(program: Program) -> Program:
    """Every derivative written out, and what was only for derivatives gone; Refused where there is none."""
    inner = _concerned(program)
    written = _written(inner)
    if not program.fns.keys().isdisjoint(written.fns.keys() - inner.fns.keys()):  # a name that another function has
        written = _written_out(program)
    fns = {**program.fns, **written.fns}
    return Program(written.structs, written.enums, {n: _plain(f) for n, f in fns.items()})


def _concerned(program: Program) -> Program:
    """The functions that take derivatives, and those that these go through."""
    found = {fn.name: fn for fn in program.fns.values() if gradients(fn)}
    todo = [str(op.attr("fn")) for fn in found.values() for op in gradients(fn)]
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += mentions(program.fns[name])
    return Program(program.structs, program.enums, {n: f for n, f in program.fns.items() if n in found or n in seen})


def _written(program: Program) -> Program:
    """As `_written_out` gives it. Nothing else is looked at than these functions and the types that they name, so what
    was made of the very same ones is taken again."""
    first = next((fn for fn in program.fns.values() if gradients(fn)), None)  # which it does not give back itself
    if first is None:
        return program
    others = [fn for fn in program.fns.values() if fn is not first]
    key = "autodiff", knobs.tape_size(), LONG
    for looked_at, made in first.known.get(key, ()):
        if len(looked_at) == len(others) and all(map(is_, looked_at, others)):
            return Program({**program.structs, **made.structs}, {**program.enums, **made.enums}, made.fns)
    written = _written_out(program)
    made = Program(
        {n: d for n, d in written.structs.items() if n not in program.structs},
        {n: d for n, d in written.enums.items() if n not in program.enums},
        written.fns,
    )
    first.known[key] = (*first.known.get(key, ())[-1:], (others, made))
    return written


def _written_out(program: Program) -> Program:
    program = Program(dict(program.structs), dict(program.enums), dict(program.fns))
    while True:
        waiting = [fn for fn in program.fns.values() if gradients(fn)]
        if not waiting:
            return program
        driver = Driver(program)
        ready = driver.ready(waiting)
        if not ready:
            raise Refused(gradients(waiting[0])[0], OWN)
        for fn in ready:
            program.fns[fn.name] = Replacer(driver, fn).run()


def _plain(fn: Fn) -> Fn:
    """Without `stop_gradient`, without an adjoint of its own, and no checkpoint."""
    if not (fn.adjoint or fn.checkpoint or "stop_gradient" in operators(fn)):
        return fn
    values: dict[Var, Atom] = {}

    def atom(a: Atom) -> Atom:
        return values.get(a, a) if isinstance(a, Var) else a

    def block(b: Block) -> Block:
        out = []
        for s in b.stmts:
            s = map_atoms(s, atom)
            if isinstance(s, Op) and s.op == "stop_gradient":
                values[s.outs[0]] = s.args[0]
            else:
                out.append(map_blocks(s, block))
        return rebuilt(b, out, map_tail(b.tail, atom))

    return kept(fn, "plain", lambda: replace(fn, adjoint="", checkpoint=False, body=block(fn.body)))


def _ends_once(fn: Fn) -> bool:
    """Does it end with its last statement, and nowhere else?"""
    inner = (b for b in all_blocks(fn.body) if b is not fn.body)
    return not (isinstance(fn.body.tail, Fault) or any(map(diverges, fn.body.stmts[-1:]))
                or any(isinstance(b.tail, Exit) and b.tail.label == RETURN for b in inner))


def _length(t: Type) -> int:
    """How much of a tape a type is, as it is written out: a record of a loop's turns as long as what it has."""
    match t:
        case TupleT(items):
            return sum(map(_length, items))
        case BufferT(item):
            return 1 + _length(item)
    return 1


def _letters(mask: Mask) -> str:
    """What the names of the parts say of the arguments that are active."""
    return "" if all(mask) else " " + "".join("x" if a else "-" for a in mask)


class Driver:
    """What is shared by all derivatives of a program in which those within are plain Core."""

    def __init__(self, program: Program):
        self.program = program
        self.tangents = Tangents(program)
        self.activity = Activity(self.tangents)
        self.read_only = ReadOnly(program)
        self.lasting = Lasting(self.read_only)
        self.apply = rules.apply
        self.taking = {name for name, fn in program.fns.items() if gradients(fn)}
        """The functions that take derivatives, before any of these is written out."""
        self._derived: dict[tuple[str, Mask, frozenset[int]], Derived] = {}
        """The last are the parameters that are held."""
        self._both: dict[tuple[Derived, tuple[Const | None, ...]], str | None] = {}
        self._pushed: dict[tuple[str, Mask], str] = {}
        self._recursive: dict[str, bool] = {}
        self.recursive_parts: dict[tuple[str, Mask], Derived] = {}
        """Of functions that call themselves, or have long tapes."""
        self.group: recursion.Group | None = None
        """Those of them that are under way."""
        self._called: dict[str, str] = {}

    def reachable(self, name: str, through_values: bool = True) -> dict[str, None]:
        """The functions that a function may call, directly or not; as values too."""
        seen: dict[str, None] = {}
        todo = list(calls(self.program.fns[name])) if through_values or not name.startswith("apply ") else []
        while todo:
            at = todo.pop()
            if at not in seen and (through_values or not at.startswith("apply ")):
                seen[at] = None
                todo += calls(self.program.fns[at])
        return seen

    def takes_gradients(self, name: str, through_values: bool = True) -> list[str]:
        """The functions that do so when it is called."""
        return [f for f in (name, *self.reachable(name, through_values)) if f in self.taking]

    def ready(self, waiting: Sequence[Fn]) -> list[Fn]:
        """Those whose derivatives can be written out now: of what takes none; or of what may take some, also their own,
        by calls of functions as values, which may reach any of their type. Then it is a fault to do so."""
        inner = {fn.name: {n for op in gradients(fn) for n in self.takes_gradients(str(op.attr("fn")))}
                 for fn in waiting}
        first = [fn for fn in waiting if not inner[fn.name]]
        if first:
            return first
        plain = [fn for fn in waiting if not any(
            self.takes_gradients(str(op.attr("fn")), through_values=False) for op in gradients(fn))]
        return [fn for fn in plain if all(fn.name in inner[n] for n in inner[fn.name])] or plain

    def recursive(self, name: str) -> bool:
        if name not in self._recursive:
            self._recursive[name] = name in self.reachable(name)
        return self._recursive[name]

    # ---- the two parts
    def derive(self, name: str, mask: Mask, offered: Collection[int] = ()) -> Derived:
        """`offered` are the parameters whose arguments are there until the reverse part is done."""
        fn = self.program.fns[name]
        if fn.adjoint:
            return self.derive(self.called(name), mask, offered)
        if self.recursive(name):
            offered = ()
        body = self.activity.body(name)
        by_position = self.read_only.held(body, offered)
        held = {v for found in by_position.values() for v in found}
        there = {p for i, p in enumerate(body.params) if i in offered}
        lasting = self.lasting.lists(body, held | there)
        matter = offered if lasting != self.lasting.lists(body, held) else by_position
        key = (name, mask, frozenset(matter))
        found = self._derived.get(key) or self.recursive_parts.get(key[:2])
        if found is not None:
            return found
        letters = _letters(mask)
        results = self.activity.results(name, mask)
        if name in self.taking:
            forward, reverse = self.claim(f"{name} forward{letters}"), self.claim(f"{name} reverse{letters}")
            return self.own(key, forward, reverse, results)
        if self.recursive(name):
            return recursion.derive(self, name, mask, letters)
        forward, reverse = self.claim(f"{name} forward{letters}"), self.claim(f"{name} reverse{letters}")
        part = Reverse(self, body, mask, held, lasting)
        part.build()
        saved = part.regions.root.saved
        params = part.fn.params
        tape = tuple(v.type for v in saved if v not in params)
        first = tuple(params.index(v) if v in params else None for v in saved)
        self.program.fns[reverse] = part.built(reverse, saved)
        self.program.fns[forward] = Forward(self, part).build(forward)
        self._derived[key] = Derived(forward, reverse, tape, results, first)
        return self._derived[key]

    def derive_within(self, name: str, mask: Mask, offered: Collection[int] = ()) -> Derived:
        """For a call in what is differentiated, whose tape is a part of its caller's. One that is long is a record on
        the heap: the tapes of functions that call each other from several places would be twice as long at each."""
        found = self.derive(name, mask, offered)
        if sum(map(_length, found.tape)) <= LONG or self.program.fns[name].checkpoint:
            return found
        return self.recursive_parts.get((name, mask)) or recursion.derive(self, name, mask, _letters(mask))

    def both(self, derived: Derived, seeds: Sequence[Atom]) -> str | None:
        """One function of both parts, for whoever has the adjoints of the results, `seeds`, before these are known: it
        takes the arguments, those adjoints that are no constants, and the leaves to which it adds, and gives the
        results and the leaves. None where the forward part may end early."""
        fixed = tuple(a if isinstance(a, Const) else None for a in seeds)
        key = derived, fixed
        if key in self._both:
            return self._both[key]
        forward, reverse = self.program.fns[derived.forward], self.program.fns[derived.reverse]
        if not (_ends_once(forward) and _ends_once(reverse)):
            self._both[key] = None
            return None
        n = len(forward.results) - len(derived.tape)
        fresh = Freshener(highest_id(forward) + 1, highest_label(forward) + 1)
        given = tuple(map(fresh.var, reverse.params[len(derived.first):]))
        constant = dict(zip(given, fixed, strict=False))
        back_args = [constant.get(v) or v for v in given]
        kept = derived.kept(forward.body.tail.values[n:], forward.params)
        values: dict[Var, Atom] = dict(zip(reverse.params, (*kept, *back_args), strict=True))
        back = fresh.copy(reverse.body, values, {})
        name = self.claim(f"{derived.forward} and reverse")
        end = Exit(RETURN, (*forward.body.tail.values[:n], *back.tail.values))
        asked = (a for a in back_args if isinstance(a, Var))
        self.program.fns[name] = replace(
            forward, name=name, params=(*forward.params, *asked), results=(*forward.results[:n], *reverse.results),
            body=Block((*forward.body.stmts, *back.stmts), end))
        self._both[key] = name
        return name

    def push(self, name: str, mask: Mask) -> str:
        """The function that also takes the tangents of its active arguments, and gives those of its active results."""
        found = self._pushed.get((name, mask))
        if found is None:
            letters = _letters(mask)
            found = self._pushed[name, mask] = self.claim(f"{name} pushforward{letters}")
            fn = self.program.fns[name]
            if name in self.taking:
                kinds = [k for p, a in zip(fn.params, mask, strict=True) if a for k in self.tangents.leaves(p.type)]
                back = [k for r, a in zip(fn.results, self.activity.results(name, mask), strict=True) if a
                        for k in self.tangents.leaves(r)]
                self.program.fns[found] = self.fault(fn, found, kinds, back)
            elif fn.adjoint:
                self.program.fns[found] = custom(self, fn, mask, found)
            else:
                self.program.fns[found] = Push(self, self.activity.body(name), mask).build(found)
        return found

    def own(self, key: tuple[str, Mask, frozenset[int]], forward: str, reverse: str, results: Mask) -> Derived:
        """Of a function that takes a derivative which is just being made: a fault."""
        fn = self.program.fns[key[0]]
        b = Builder(highest_id(fn) + 1)
        self.program.fns[forward] = self.fault(fn, forward)
        kinds = [k for r, a in zip(fn.results, results, strict=True) if a for k in self.tangents.leaves(r)]
        sums = [k for p, a in zip(fn.params, key[1], strict=True) if a for k in self.tangents.leaves(p.type)]
        params = [b.var(k) for k in (*kinds, *sums)]
        unchanged = Block((), Yield(tuple(params[len(kinds):])))
        self.program.fns[reverse] = Fn(reverse, tuple(params), tuple(sums), unchanged, fn.title, True)
        self._derived[key] = Derived(forward, reverse, (), results, ())
        return self._derived[key]

    def fault(self, fn: Fn, name: str, more: Sequence[Type] = (), results: Sequence[Type] = ()) -> Fn:
        """What is instead of a function that takes a derivative which is just being made, with more parameters and
        results."""
        b = Builder(highest_id(fn) + 1)
        b.open()
        text = b.op("str", [], STR, text=OWN)
        body = b.close(Fault("ValueError", (text,), fn.span))
        return replace(fn, name=name, params=(*fn.params, *map(b.var, more)), results=(*fn.results, *results),
                       body=body, adjoint="", checkpoint=False)

    def claim(self, name: str) -> str:
        unique = unused(name, self.program.fns)
        self.program.fns[unique] = Fn(unique, (), (), Block((), Yield()))
        return unique

    # ---- functions with a derivative of their own
    def called(self, name: str) -> str:
        """A function that calls this one and does nothing else: its derivative is that of the call."""
        found = self._called.get(name)
        if found is None:
            found = self._called[name] = self.claim(f"{name} called")
            fn = self.program.fns[name]
            b = Builder(highest_id(fn) + 1)
            b.open()
            b.span = fn.span
            body = b.close(Exit(RETURN, tuple(b.call(name, fn.params, fn.results))))
            self.program.fns[found] = replace(fn, name=found, body=body, adjoint="")
        return found

    def custom(self, r: Reverse, s: Call, outs: Sequence[Adjoints]) -> None:
        """`back(arguments..., result, derivative of it)` gives one derivative for each argument that has one."""
        fn = self.program.fns[s.fn]
        back = self.program.fns[fn.adjoint]
        result = r.need(s.outs[0])
        d = give(self.tangents, r.b, result, r.filled(outs[0], result.type))
        (found,) = r.b.call(back.name, [*map(r.need, s.args), result, d], back.results)
        places = [i for i, p in enumerate(fn.params) if self.tangents.active(p.type)]
        for k, i in enumerate(places):
            if r.is_active(s.args[i]):
                one = found if len(places) == 1 else r.b.op("get", [found], parts(found.type, self.program)[k], index=k)
                check_direction(self.tangents, r.b, r.need(s.args[i]), one)
                sure = isinstance(one.type, TensorT)
                r.add_all(s.args[i], [Adjoint(x, sure) for x in absorb(self.tangents, r.b, one)])
