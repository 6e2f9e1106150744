"""Elementwise operators: one loop nest for each scalar operator, types, and pattern of broadcasting.

Axes of the result along which every operand moves alike are one loop: without broadcasting there is one flat loop.
An operand that does not move along the innermost loop is read before it.
"""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.core.ir import Atom, Const, Op, Prim, TensorT
from hybridc.core.tensor_faults import INT_FAULTS, UNFIT, element_faults
from hybridc.core.types import elem, rank
from hybridc.llvm.casts import cast_message
from hybridc.llvm.code import Code
from hybridc.llvm.elementary import element
from hybridc.llvm.emitter import FnEmitter, N
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.module import Leaves, Module
from hybridc.llvm.tensor_access import Tensor, load_element, new_tensor, tensor_of
from hybridc.llvm.wide import WIDTH, NotWide, Wide

FAULTS = {
    "floordiv": ("ZeroDivisionError", "integer division or modulo by zero"),
    "mod": ("ZeroDivisionError", "integer division or modulo by zero"),
    "pow": ("ValueError", "negative power of an integer"),
    "shl": ("ValueError", "negative shift count"),
    "shr": ("ValueError", "negative shift count"),
    "lshr": ("ValueError", "negative shift count"),
}


class Kernel(Code):
    """A kernel that returns whether it faulted. What its operators would say is known by the operator alone."""

    def check(self, ok: str, kind: str, *message: str | N) -> None:
        if ok == "true":
            return
        good, bad = self.label("ok"), self.label("bad")
        self.branch(ok, good, bad)
        with self.out_of_line(bad):
            self.ret("1")
        self.start(good)


def shape_parts(dims: Sequence[str]) -> list[str | N]:
    """A shape in a fault's message."""
    parts: list[str | N] = ["["]
    for i, d in enumerate(dims):
        if i:
            parts.append(", ")
        parts.append(N(d) if d.startswith("%") else d)
    return [*parts, "]"]


def message(*parts: str | Sequence[str]) -> list[str | N]:
    """Text, and shapes given as their dims."""
    out: list[str | N] = []
    for p in parts:
        out += [p] if isinstance(p, str) else shape_parts(p)
    return out


def same_size(e: FnEmitter, a: str, b: str, parts: Sequence[str | N]) -> None:
    """ValueError unless two sizes agree."""
    if a == b:
        return
    if not a.startswith("%") and not b.startswith("%"):
        e.check("false", "ValueError", *parts)
        return
    e.check(e.icmp("eq", a, b), "ValueError", *parts)


def result_dims(e: FnEmitter, operands: Sequence[Tensor | None], axes: Sequence[Sequence[int | None]]) -> list[str]:
    """The sizes of the result; ValueError where operands differ."""
    shapes: list[str | Sequence[str]] = []
    for x in operands:
        if x is not None:
            shapes += [" and " if shapes else "shapes ", x.dims]
    parts = message(*shapes, UNFIT)
    dims: list[str] = []
    for i in range(len(axes[0])):
        sizes = [x.dims[a[i]] for x, a in zip(operands, axes, strict=True) if x is not None and a[i] is not None]  # type: ignore[index]
        chosen = next((s for s in sizes if not s.startswith("%")), sizes[0])
        for s in dict.fromkeys(sizes):
            same_size(e, chosen, s, parts)
        dims.append(chosen)
    return dims


def grouped(dims: Sequence[str], present: Sequence[tuple[bool, ...]]) -> list[tuple[list[str], tuple[bool, ...]]]:
    """Neighbouring axes along which the same operands move, as one loop; axes of size 1 are none."""
    groups: list[tuple[list[str], tuple[bool, ...]]] = []
    for d, p in zip(dims, present, strict=True):
        if d == "1":
            continue
        if groups and groups[-1][1] == p:
            groups[-1][0].append(d)
        else:
            groups.append(([d], p))
    return groups


def product(e: Code, dims: Sequence[str]) -> str:
    """Of dims of a tensor that exists."""
    total, known = "1", 1
    for d in dims:
        if d.startswith("%"):
            total = e.mul(total, d)
        else:
            known *= int(d)
    return e.mul(total, str(known)) if total != "1" else str(known)


def operands_of(e: FnEmitter, atoms: Sequence[Atom]) -> list[Tensor | None]:
    """Tensors; None for scalars."""
    return [tensor_of(e, a) if isinstance(a.type, TensorT) else None for a in atoms]


def emit_map(e: FnEmitter, op: Op) -> tuple[Leaves, ...]:
    fn, axes = str(op.attr("fn")), op.attr("axes")
    assert isinstance(axes, tuple)
    operands = operands_of(e, op.args)
    dims = result_dims(e, operands, axes)
    out = new_tensor(e, elem(op.outs[0].type), dims)
    # An operand of one element is read once; it counts as a scalar.
    values: list[str] = []
    moves: list[bool] = []
    for x, a, atom in zip(operands, axes, op.args, strict=True):
        if x is None:
            values.append(e.one(atom))
            moves.append(False)
        elif all(i is None for i in a):
            values.append(load_element(e, x, "0"))
            moves.append(False)
        else:
            values.append(x.data)
            moves.append(True)
    present = [tuple(a[i] is not None for a in axes) for i in range(rank(op.outs[0].type))]
    groups = grouped(dims, present) or [(["1"], tuple(moves))]
    patterns = tuple(p for _, p in groups)
    types = tuple(elem(a.type) for a in op.args)
    attrs = tuple((n, v) for n, v in op.attrs if n not in ("fn", "axes"))
    faults = element_faults(op)
    written = values[-1] if fn in INT_FAULTS and isinstance(op.args[-1], Const) else ""
    kernel = map_kernel(e.module, fn, types, out.elem, attrs, patterns, tuple(moves), faults, written)
    args = [("ptr", out.data), *(("i64", product(e, g)) for g, _ in groups)]
    args += [("ptr" if m else SCALARS[t.name][0], v) for m, v, t in zip(moves, values, types, strict=True)]
    if not faults:
        e.call("void", kernel, args)
        return (out.leaves,)
    bad = e.call("i32", kernel, args)
    kind, text = ("ValueError", cast_message(types[0], out.elem)) if fn == "cast" else FAULTS[fn]
    with e.holding(out.owner):
        e.check(e.icmp("eq", bad, "0", "i32"), kind, text)
    return (out.leaves,)


def map_kernel(
    module: Module, fn: str, types: tuple[Prim, ...], out: Prim, attrs: tuple[tuple[str, object], ...],
    patterns: tuple[tuple[bool, ...], ...], moves: tuple[bool, ...], faults: bool, written: str = "",
) -> str:
    """The loop nest: (out, extent of each loop, operands...). `written`: the last operand, if it stands in there."""

    def make(name: str) -> None:
        loops = len(patterns)
        params = [("ptr noalias", "%out"), *(("i64", f"%n{i}") for i in range(loops))]
        kinds = ["ptr" if m else SCALARS[t.name][0] for m, t in zip(moves, types, strict=True)]
        params += [(kind, f"%x{i}") for i, kind in enumerate(kinds)]
        k = Kernel(module, name, params, "i32" if faults else "void")
        # How far an operand moves with one turn of each loop: the extents of the loops within along which it moves.
        strides: list[list[str | None]] = []
        for i in range(len(types)):
            steps: list[str | None] = []
            for g in range(loops):
                inner = [f"%n{h}" for h in range(g + 1, loops) if patterns[h][i]]
                steps.append(_times(k, inner) if patterns[g][i] else None)
            strides.append(steps)
        out_steps = [_times(k, [f"%n{h}" for h in range(g + 1, loops)]) for g in range(loops)]

        def nest(g: int, at: str, offsets: list[str]) -> None:
            last = g == loops - 1
            fixed: dict[int, str] = {}  # what does not move along the innermost loop
            if last:
                for i, t in enumerate(types):
                    if moves[i] and not patterns[g][i]:
                        fixed[i] = k.load(SCALARS[t.name][0], k.element(f"%x{i}", SCALARS[t.name][0], offsets[i]))
                    if not moves[i]:
                        fixed[i] = written if written and i == len(types) - 1 else f"%x{i}"
            if not last:
                with k.loop(f"%n{g}") as turn:
                    nest(g + 1, k.add(at, k.mul(turn.index, out_steps[g])), [
                        o if s is None else k.add(o, k.mul(turn.index, s))
                        for o, s in zip(offsets, (s[g] for s in strides), strict=True)
                    ])
                return

            def operate(code: Code | Wide, index: str, mask: str) -> None:
                values = []
                for i, t in enumerate(types):
                    llvm = SCALARS[t.name][0]
                    if i not in fixed:
                        values.append(_read(code, llvm, k.element(f"%x{i}", llvm, k.add(offsets[i], index)), mask))
                    else:
                        values.append(code.splat(llvm, fixed[i]) if isinstance(code, Wide) else fixed[i])
                llvm = SCALARS[out.name][0]
                value = element(code, fn, tuple(values), types, out, dict(attrs))
                to = k.element("%out", llvm, k.add(at, index))
                if isinstance(code, Wide):
                    code.store(llvm, value, to, mask)
                else:
                    code.store(llvm, value, to)

            mark = k.mark()
            try:
                wide = Wide(k)
                filled = k.op2("and", "i64", f"%n{g}", str(-WIDTH))
                with k.loop(filled, step=WIDTH, rolled=True) as turn:
                    operate(wide, turn.index, "")
                left = k.sub(f"%n{g}", filled)
                with k.when(k.icmp("sgt", left, "0")):
                    operate(wide, filled, wide.mask(left))
            except NotWide:
                k.reset(mark)
                with k.loop(f"%n{g}") as turn:
                    operate(k, turn.index, "")

        nest(0, "0", ["0"] * len(types))
        k.ret("0" if faults else "")
        k.finish()

    return module.helper(("kernel.map." + fn, types, out, attrs, patterns, moves, written), make)


def _read(code: Code | Wide, llvm: str, address: str, mask: str) -> str:
    return code.load(llvm, address, mask) if isinstance(code, Wide) else code.load(llvm, address)


def _times(k: Code, extents: Sequence[str]) -> str:
    total = "1"
    for x in extents:
        total = k.mul(total, x)
    return total


ROWS = {"map": emit_map}
