"""The pass: each `gradient` operator becomes a call of the forward part of its function and one of the reverse part.

Derivatives of derivatives need nothing of their own: a function is differentiated once those inside it are plain Core.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hybridc.autodiff import rules
from hybridc.autodiff.activity import Activity, Mask
from hybridc.autodiff.convert import absorb, give, shaped
from hybridc.autodiff.forward import Forward
from hybridc.autodiff.reverse import Reverse
from hybridc.autodiff.rules import Refused
from hybridc.autodiff.tangent import Adjoint, Adjoints, Tangents
from hybridc.core.builder import Builder, boolean
from hybridc.core.ir import (
    STR,
    Arm,
    Atom,
    Block,
    Call,
    Const,
    EnumDef,
    EnumT,
    Fault,
    Fn,
    If,
    Match,
    Op,
    Program,
    StructT,
    TensorT,
    Type,
    Var,
    Yield,
)
from hybridc.core.types import parts
from hybridc.core.walk import (
    all_blocks,
    calls,
    gradients,
    highest_id,
    highest_label,
    map_atoms,
    map_blocks,
    map_tail,
)

OWN = "a function cannot take its own derivative"


def targets(program: Program) -> list[str]:
    """The functions whose form a derivative relies on: those differentiated, and those with an adjoint of their own."""
    found: dict[str, None] = {}
    for fn in program.fns.values():
        found.update((str(op.attr("fn")), None) for op in gradients(fn))
        if fn.adjoint:
            found[fn.name] = found[fn.adjoint] = None
    return list(found)


def run(program: Program) -> Program:
    """Every derivative written out, and what was only for derivatives gone; Refused where there is none."""
    program = Program(dict(program.structs), dict(program.enums), dict(program.fns))
    while True:
        waiting = [fn for fn in program.fns.values() if gradients(fn)]
        if not waiting:
            break
        driver = Driver(program)
        ready = [fn for fn in waiting if not any(driver.takes_gradients(str(op.attr("fn"))) for op in gradients(fn))]
        if not ready:
            # Calls of functions as values may reach any of their type, these too: then it is a fault to do so.
            ready = [fn for fn in waiting if not any(
                driver.takes_gradients(str(op.attr("fn")), through_values=False) for op in gradients(fn))]
        if not ready:
            raise Refused(gradients(waiting[0])[0], OWN)
        for fn in ready:
            program.fns[fn.name] = _Replacer(driver, fn).run()
    return Program(program.structs, program.enums, {n: _plain(f) for n, f in program.fns.items()})


def _plain(fn: Fn) -> Fn:
    """Without `stop_gradient`, and without an adjoint of its own."""
    if not any(isinstance(s, Op) and s.op == "stop_gradient" for b in all_blocks(fn.body) for s in b.stmts):
        return replace(fn, adjoint="") if fn.adjoint else fn
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
        return Block(tuple(out), map_tail(b.tail, atom))

    return replace(fn, adjoint="", body=block(fn.body))


@dataclass(frozen=True)
class Derived:
    """The two parts of a function. `forward` gives the results and the tape; `reverse` takes the tape, the leaves of
    the adjoints of active results, and those of active arguments, which it gives back with its share added."""

    forward: str
    reverse: str
    tape: tuple[Type, ...]
    results: Mask


class Driver:
    """What is shared by all derivatives of a program in which those within are plain Core."""

    def __init__(self, program: Program):
        self.program = program
        self.tangents = Tangents(program)
        self.activity = Activity(self.tangents)
        self.apply = rules.apply
        self._derived: dict[tuple[str, Mask], Derived] = {}
        self._recursive: dict[str, bool] = {}

    def reachable(self, name: str, through_values: bool = True) -> dict[str, None]:
        """The functions that a function may call, directly or not; as values too."""
        seen: dict[str, None] = {}
        todo = list(calls(self.program.fns[name]))
        while todo:
            at = todo.pop()
            if at not in seen and (through_values or not at.startswith("apply ")):
                seen[at] = None
                todo += calls(self.program.fns[at])
        return seen

    def takes_gradients(self, name: str, through_values: bool = True) -> bool:
        return any(gradients(self.program.fns[f]) for f in (name, *self.reachable(name, through_values)))

    def recursive(self, name: str) -> bool:
        if name not in self._recursive:
            self._recursive[name] = name in self.reachable(name)
        return self._recursive[name]

    # ---- the two parts
    def derive(self, name: str, mask: Mask) -> Derived:
        key = (name, mask)
        found = self._derived.get(key)
        if found is not None:
            return found
        letters = "" if all(mask) else " " + "".join("x" if a else "-" for a in mask)
        forward, reverse = self.claim(f"{name} forward{letters}"), self.claim(f"{name} reverse{letters}")
        results = self.activity.results(name, mask)
        boxed = self.recursive(name)
        if boxed:
            tape: tuple[Type, ...] = (EnumT(f"tape {forward}"),)
            self.program.enums[f"tape {forward}"] = EnumDef(f"tape {forward}", ())
            self._derived[key] = Derived(forward, reverse, tape, results)
        if gradients(self.program.fns[name]):
            return self.own(key, forward, reverse, results)
        part = Reverse(self, self.activity.body(name), mask)
        try:
            back = part.build(reverse)
        except Refused:
            self._derived.pop(key, None)
            raise
        saved = part.regions.root.saved
        if boxed:
            back = self.boxed(back, saved, tape[0])
        else:
            tape = tuple(v.type for v in saved)

        def box(b: Builder, values: Sequence[Atom]) -> Sequence[Atom]:
            return [b.op("enum", values, tape[0], case="Tape")] if boxed else values

        self.program.fns[reverse] = back
        self.program.fns[forward] = Forward(self, part).build(forward, box, tape)
        self._derived[key] = Derived(forward, reverse, tape, results)
        return self._derived[key]

    def own(self, key: tuple[str, Mask], forward: str, reverse: str, results: Mask) -> Derived:
        """Of a function that takes a derivative which is just being made: a fault."""
        fn = self.program.fns[key[0]]
        b = Builder(highest_id(fn) + 1)
        b.open()
        text = b.op("str", [], STR, text=OWN)
        body = b.close(Fault("ValueError", (text,), fn.span))
        self.program.fns[forward] = replace(fn, name=forward, body=body, adjoint="")
        kinds = [k for r, a in zip(fn.results, results, strict=True) if a for k in self.tangents.leaves(r)]
        sums = [k for p, a in zip(fn.params, key[1], strict=True) if a for k in self.tangents.leaves(p.type)]
        params = [b.var(k) for k in (*kinds, *sums)]
        unchanged = Block((), Yield(tuple(params[len(kinds):])))
        self.program.fns[reverse] = Fn(reverse, tuple(params), tuple(sums), unchanged, fn.title, True)
        self._derived[key] = Derived(forward, reverse, (), results)
        return self._derived[key]

    def claim(self, name: str) -> str:
        unique, n = name, 2
        while unique in self.program.fns:
            unique, n = f"{name}#{n}", n + 1
        self.program.fns[unique] = Fn(unique, (), (), Block((), Yield()))
        return unique

    def boxed(self, fn: Fn, saved: Sequence[Var], tape: Type) -> Fn:
        """With the tape as one value: that of a recursive function holds those of its calls."""
        assert isinstance(tape, EnumT)
        fields = tuple((f"v{i}", v.type) for i, v in enumerate(saved))
        self.program.enums[tape.name] = EnumDef(tape.name, (("Tape", fields),))
        whole = Var(highest_id(fn) + 1, tape, "tape")
        body = Block((Match((), whole, (Arm("Tape", tuple(saved), fn.body),)),), Yield())
        return replace(fn, params=(whole, *fn.params[len(saved):]), body=body)

    # ---- functions with a derivative of their own
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
                sure = isinstance(one.type, TensorT)
                r.add_all(s.args[i], [Adjoint(x, sure) for x in absorb(self.tangents, r.b, one)])


class _Replacer:
    """Of the `gradient` operators of one function."""

    def __init__(self, driver: Driver, fn: Fn):
        self.driver = driver
        self.fn = fn
        self.b = Builder(highest_id(fn) + 1, highest_label(fn) + 1)
        self.values: dict[Var, Atom] = {}

    def run(self) -> Fn:
        return replace(self.fn, body=self.block(self.fn.body))

    def atom(self, a: Atom) -> Atom:
        return self.values.get(a, a) if isinstance(a, Var) else a

    def block(self, block: Block) -> Block:
        self.b.open()
        for s in block.stmts:
            s = map_atoms(s, self.atom)
            if isinstance(s, Op) and s.op == "gradient":
                try:
                    self.gradient(s)
                except Refused as refused:
                    if not s.attr("optional"):
                        raise
                    self.absent(s, refused.why)
            else:
                self.b.add(map_blocks(s, self.block))
        return self.b.close(map_tail(block.tail, self.atom))

    def absent(self, op: Op, why: str) -> None:
        """Taking a derivative that there is not, and that nobody may ask for: a fault."""
        b = self.b
        text = b.op("str", [], STR, text=why)
        b.add(If((), boolean(True), Block((), Fault("ValueError", (text,), op.span)), Block((), Yield()), op.span))
        for out in op.outs:
            self.values[out] = b.op("zero", [], out.type)

    def gradient(self, op: Op) -> None:
        driver, b, tangents = self.driver, self.b, self.driver.tangents
        name, wrt = str(op.attr("fn")), op.attr("wrt")
        assert isinstance(wrt, tuple)
        fn = driver.program.fns[name]
        b.span = op.span
        mask = driver.activity.mask(name, [i in wrt for i in range(len(fn.params))])
        if not driver.activity.results(name, mask)[0]:
            raise Refused(op, "no differentiable path leads to the result, so there is no derivative")
        derived = driver.derive(name, mask)
        tape = [b.var(k) for k in derived.tape]
        n = len(fn.results)
        b.add(Call((*op.outs[:n], *tape), derived.forward, op.args, op.span))
        args: list[Atom] = list(tape)
        for i, (kind, active) in enumerate(zip(fn.results, derived.results, strict=True)):
            kinds = tangents.leaves(kind) if active else ()
            for k, leaf in enumerate(kinds):
                seed = i == 0 and k == 0
                args.append(Const(1.0, leaf) if seed else tangents.zero(b, leaf))  # type: ignore[arg-type]
        leaves = [k for p, a in zip(fn.params, mask, strict=True) if a for k in tangents.leaves(p.type)]
        args += [tangents.zero(b, k) for k in leaves]
        found = b.call(derived.reverse, args, leaves)
        starts: dict[int, int] = {}
        at = 0
        for i, (p, a) in enumerate(zip(fn.params, mask, strict=True)):
            starts[i] = at
            at += len(tangents.leaves(p.type)) if a else 0
        for out, i in zip(op.outs[n:], wrt, strict=True):
            value = op.args[i]
            own = found[starts[i] : starts[i] + len(tangents.leaves(fn.params[i].type))]
            if isinstance(value.type, StructT) and isinstance(out.type, TensorT):  # of a model: by its parameters
                whole = b.op("get", [value], parts(value.type, driver.program)[0], index=0)
                self.values[out] = shaped(b, own[0], whole)
            else:
                self.values[out] = give(tangents, b, value, own)

