"""Operators that are kernels of their own as Triton source.

A *move* goes over the elements of the result: `at` are their numbers, from which the numbers of an operand's elements
follow. An *update* goes over the elements that are written into a copy. A *line* goes along an axis; an operand is seen
as [outer, n, inner] there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hybridc.base.types import BF16, BOOL, F16, F64, FLOATS, I32, INT, U8
from hybridc.core.ir import Atom, Const, TensorT, Var
from hybridc.core.types import elem, rank
from hybridc.kernels.device import Launch
from hybridc.triton.reductions import across, combined, dot, nothing
from hybridc.triton.scalars import scalar
from hybridc.triton.text import STORED, Writer, computed, constant, narrowed, number, rounded, widened
from hybridc.triton.windows import write_fold, write_pool, write_unpool, write_windows


def write_single(w: Writer, launch: Launch) -> None:
    """The body of the kernel's function."""
    WRITERS[launch.kind](Single(w, launch))


class Single:
    """What the writers share: names of operands and sizes."""

    def __init__(self, w: Writer, launch: Launch):
        self.w, self.launch, self.op = w, launch, launch.op
        self.names = {a: f"x{i}" for i, a in enumerate(launch.inputs)}
        self.out = self.op.outs[0].type
        self.kind = elem(self.out)

    def scalar(self, a: Atom) -> str:
        """A scalar operand as it is computed with."""
        return constant(a) if isinstance(a, Const) else widened(elem(a.type), self.names[a])  # type: ignore[index]

    def pointer(self, i: int) -> str:
        a = self.op.args[i]
        assert isinstance(a, Var)
        return self.names[a]

    def load(self, i: int, at: str, mask: str, hint: str = "") -> str:
        """Elements of an operand."""
        text = f"tl.load({self.pointer(i)} + {at}, mask={mask}, other=0)"
        return self.w.let(hint or self.op.args[i].name or "x", widened(elem(self.op.args[i].type), text))  # type: ignore[union-attr]

    def raw(self, i: int, at: str, mask: str) -> str:
        """Elements that are only moved."""
        return self.w.let(self.op.args[i].name or "x", f"tl.load({self.pointer(i)} + {at}, mask={mask}, other=0)")  # type: ignore[union-attr]

    def elements(self, dims: Sequence[str]) -> tuple[str, list[str], str]:
        """This program's elements of a tensor of these sizes: their numbers, their places along each axis, which
        exist."""
        w = self.w
        at = w.let("at", "tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)")
        ok = w.let("ok", f"{at} < {times(dims)}")
        return at, self.places(at, dims), ok

    def places(self, at: str, dims: Sequence[str]) -> list[str]:
        found: list[str] = []
        rest = at
        for i, d in reversed(list(enumerate(dims))):
            if d == "1":
                found.append("0")
            elif i == 0:
                found.append(rest)
            else:
                found.append(self.w.let(f"i{i}", f"{rest} % {d}"))
                rest = self.w.let("rest", f"{rest} // {d}")
        return found[::-1]

    def store(self, value: str, at: str, ok: str) -> None:
        self.w.line(f"tl.store(o0 + {at}, {value}, mask={ok})")

    def dims(self) -> list[str]:
        """The sizes of the result."""
        assert isinstance(self.out, TensorT)
        return [f"d{i}" if d is None else str(d) for i, d in enumerate(self.out.dims)]

    def position(self, i: int, at: str, ok: str, n: str, wrap: bool) -> tuple[str, str]:
        """Checked indices, and which are right; the first wrong place is noted."""
        w = self.w
        kind = elem(self.op.args[i].type)
        a = self.op.args[i]
        if isinstance(a.type, TensorT):
            p = w.let("index", f"tl.load({self.pointer(i)} + {at}, mask={ok}, other=0).to(tl.int64)")
        else:
            text = self.scalar(a)
            p = w.let("index", f"{text}{'' if kind == INT else '.to(tl.int64)'} + {at} * 0")
        if wrap:
            p = w.let("index", f"tl.where({p} < 0, {p} + {n}, {p})")
        wrong = w.let("wrong", f"{ok} & (({p} < 0) | ({p} >= {n}))")
        w.line(f"note_wrong(fault, {wrong}, {at})")
        return p, w.let("ok", f"{ok} & ({p} >= 0) & ({p} < {n})")


def times(dims: Sequence[str]) -> str:
    """A product of sizes as text."""
    known, names = 1, []
    for d in dims:
        if d.isdigit():
            known *= int(d)
        else:
            names.append(d)
    if not names or not known:
        return str(known)
    text = " * ".join([*names, *([str(known)] if known != 1 else [])])
    return f"({text})" if " " in text else text


def strides(dims: Sequence[str]) -> list[str]:
    return [times(dims[i + 1 :]) for i in range(len(dims))]


def total(terms: Sequence[tuple[str, str]]) -> str:
    """The sum of places times strides."""
    parts = [p if s == "1" else f"{p} * {s}" for p, s in terms if p != "0" and s != "0"]
    return " + ".join(parts) or "0"


def spread(places: Sequence[str], axes: Sequence[int | None], dims: Sequence[str]) -> str:
    """Where an operand's element lies of which the axes stand for some of the result's; axes that none stands for have
    size 1."""
    steps = strides([dims[i] if i in axes else "1" for i in range(len(dims))])
    return total([(p, steps[a]) for p, a in zip(places, axes, strict=True) if a is not None])


def at_least(text: str, at: str) -> str:
    """An offset as a tensor."""
    return f"{at} * 0" if text == "0" else text


# ---- moves
def _map(s: Single) -> None:
    at, places, ok = s.elements(s.dims())
    dims = s.dims()
    values = []
    for i, (a, axes) in enumerate(zip(s.op.args, s.op.attr("axes"), strict=True)):  # type: ignore[call-overload]
        if not isinstance(a.type, TensorT):
            values.append(s.scalar(a))
            continue
        own = [str(d) if d is not None else "1" for d in a.type.dims]
        for k, axis in enumerate(axes):
            if axis is not None:
                own[axis] = dims[k]
        values.append(s.load(i, at_least(spread(places, axes, own), at), ok))
    types = [elem(a.type) for a in s.op.args]
    value = s.w.let("value", scalar(str(s.op.attr("fn")), values, types, s.kind))
    s.store(narrowed(s.kind, value), at, ok)


def _transpose(s: Single) -> None:
    dims, perm = s.dims(), s.op.attr("perm")
    at, places, ok = s.elements(dims)
    own = ["1"] * len(dims)
    assert isinstance(perm, tuple)
    for i, axis in enumerate(perm):
        own[axis] = dims[i]
    steps = strides(own)
    where = total([(p, steps[axis]) for p, axis in zip(places, perm, strict=True)])
    s.store(s.raw(0, at_least(where, at), ok), at, ok)


def _broadcast(s: Single) -> None:
    dims, axes, source = s.dims(), s.op.attr("axes"), s.op.args[0]
    at, places, ok = s.elements(dims)
    if not isinstance(source.type, TensorT):
        s.store(narrowed(s.kind, f"({s.scalar(source)} + tl.zeros((BLOCK,), {computed(s.kind)}))" if s.kind != BOOL
                         else f"({s.scalar(source)} | ({at} < 0))"), at, ok)
        return
    own = ["1"] * rank(source.type)
    assert isinstance(axes, tuple)
    for i, axis in enumerate(axes):
        if axis is not None:
            own[axis] = dims[i]
    s.store(s.raw(0, at_least(spread(places, axes, own), at), ok), at, ok)


def _index(s: Single) -> None:
    if not isinstance(s.out, TensorT):
        s.w.line("at = tl.arange(0, 1)")
        s.store(s.raw(0, "offset + at", "at < 1"), "at", "at < 1")
        return
    at, places, ok = s.elements(s.dims())
    where = total([(p, f"step{i}") for i, p in enumerate(places)])
    s.store(s.raw(0, f"offset + {at_least(where, at)}", ok), at, ok)


def _concat(s: Single) -> None:
    dims, axis = s.dims(), s.op.attr("axis")
    assert isinstance(axis, int)
    at, places, ok = s.elements(dims)
    before, value = "0", ""
    for i in range(len(s.op.args)):
        inside = s.w.let("inside", f"{ok} & ({places[axis]} >= {before}) & ({places[axis]} < {before} + w{i})")
        mine = [f"({p} - ({before}))" if k == axis else p for k, p in enumerate(places)]
        own = [f"w{i}" if k == axis else d for k, d in enumerate(dims)]
        part = s.raw(i, at_least(total(list(zip(mine, strides(own), strict=True))), at), inside)
        value = part if not value else s.w.let("value", f"tl.where({inside}, {part}, {value})")
        before = f"w{i}" if before == "0" else f"{before} + w{i}"
    s.store(value, at, ok)


def _take(s: Single) -> None:
    at, (o, j, c), ok = s.elements(["outer", "count", "inner"])
    p, ok = s.position(1, j, ok, "n", bool(s.op.attr("wrap")))
    s.store(s.raw(0, f"({o} * n + {p}) * inner + {c}", ok), at, ok)


def _gather(s: Single) -> None:
    count, axis = rank(s.out), s.op.attr("axis")
    at, places, ok = s.elements(s.dims())
    p, ok = s.position(1, at, ok, f"xd{axis}", False)
    steps = strides([f"xd{i}" for i in range(count)])
    where = total([(p if i == axis else q, step) for i, (q, step) in enumerate(zip(places, steps, strict=True))])
    s.store(s.raw(0, where, ok), at, ok)


def _iota(s: Single) -> None:
    at, _, ok = s.elements(s.dims())
    s.store(at, at, ok)


def _accumulate(s: Single) -> None:
    w = s.w
    at = w.let("at", "tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)")
    a, b = s.load(0, at, f"{at} < have"), s.load(1, at, f"{at} < more")
    value = w.let("value", rounded(s.kind, f"{a} + {b}"))
    s.store(narrowed(s.kind, value), at, f"{at} < tl.maximum(have, more)")


def _shaped(s: Single) -> None:
    at, _, ok = s.elements(s.dims())
    s.store(s.raw(0, at, f"{at} < have"), at, ok)


# ---- updates: into o0, which is a copy of the first operand
def _update(s: Single) -> None:
    kinds, axes, source = s.op.attr("kinds"), s.op.attr("axes"), s.op.args[1]
    kept = sum(k != "i" for k in kinds)  # type: ignore[attr-defined]
    dims = [f"d{i}" for i in range(kept)]
    if not kept:
        s.w.line("at = tl.arange(0, 1)")
        at, ok = "at", "at < 1"
        places: list[str] = []
    else:
        at, places, ok = s.elements(dims)
    to = f"offset + {at_least(total([(p, f'step{i}') for i, p in enumerate(places)]), at)}"
    if isinstance(source.type, TensorT):
        own = ["1"] * rank(source.type)
        assert isinstance(axes, tuple)
        for i, axis in enumerate(axes):
            if axis is not None:
                own[axis] = dims[i]
        value = s.load(1, at_least(spread(places, axes, own), at), ok)
    else:
        value = s.scalar(source)
    if s.op.attr("fn") == "add":
        old = s.w.let("old", widened(s.kind, f"tl.load(o0 + {to}, mask={ok}, other=0)"))
        value = s.w.let("value", rounded(s.kind, f"{old} + {value}"))
    s.store(_stored(s, value, at), to, ok)


def _stored(s: Single, value: str, at: str) -> str:
    return narrowed(s.kind, f"({value})") if s.kind in (BOOL, F16, BF16) else value


def _into(s: Single, to: str, value: str, ok: str) -> None:
    """One step of a put or scatter: what an earlier step wrote to the same place is there by now."""
    fn = str(s.op.attr("fn"))
    if fn != "set":
        old = s.w.let("old", widened(s.kind, f"tl.load(o0 + {to}, mask={ok}, other=0)"))
        value = s.w.let("value", rounded(s.kind, f"{old} {'+' if fn == 'add' else '-'} {value}"))
    s.store(narrowed(s.kind, value), to, ok)
    s.w.line("tl.debug_barrier()")


def _put(s: Single) -> None:
    """Programs share out the places of a row; each goes through the indices in order, so that duplicates do too."""
    at, (o, c), ok = s.elements(["outer", "inner"])
    w = s.w
    with w.block("for j in range(0, count):"):
        p, right = s.position(1, f"(j + {at} * 0)", ok, "n", True)
        if isinstance(s.op.args[2].type, TensorT):
            value = s.load(2, f"({o} * count + j) * inner + {c}", right)
        else:
            value = w.let("value", f"{s.scalar(s.op.args[2])} + tl.zeros((BLOCK,), {computed(s.kind)})")
        _into(s, f"({o} * n + {p}) * inner + {c}", value, right)


def _scatter(s: Single) -> None:
    """Programs share out the lines along the axis of the indices; each goes along it in order."""
    count, axis = rank(s.op.args[0].type), s.op.attr("axis")
    assert isinstance(axis, int)
    dims = [f"d{i}" for i in range(count)]
    at, places, ok = s.elements([d for i, d in enumerate(dims) if i != axis])
    w = s.w
    with w.block(f"for j in range(0, d{axis}):"):
        whole = [*places[:axis], f"(j + {at} * 0)", *places[axis:]]
        index_at = w.let("index_at", total(list(zip(whole, strides(dims), strict=True))))
        p, right = s.position(1, index_at, ok, f"xd{axis}", False)
        value = s.load(2, total(list(zip(whole, strides([f"v{i}" for i in range(count)]), strict=True))), right)
        steps = strides([f"xd{i}" for i in range(count)])
        to = w.let("to", total([(p if i == axis else q, step)
                                for i, (q, step) in enumerate(zip(whole, steps, strict=True))]))
        _into(s, to, value, right)


# ---- lines
def _reduce(s: Single) -> None:
    """Over any axes: a program takes ROWS elements of the result, and COLUMNS of what is reduced at a time."""
    source, axes, fn = s.op.args[0].type, s.op.attr("axes"), str(s.op.attr("fn"))
    assert isinstance(source, TensorT) and isinstance(axes, tuple)
    dims = [f"d{i}" if d is None else str(d) for i, d in enumerate(source.dims)]
    kept = [i for i in range(len(dims)) if i not in axes]
    w, kind = s.w, source.elem
    row, row_ok = "row", "row_ok"
    w.line("row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]")
    w.line(f"row_ok = row < {times([dims[i] for i in kept])}")
    n = times([dims[i] for i in axes])
    steps = strides(dims)
    base = total(list(zip(s.places(row, [dims[i] for i in kept]), [steps[i] for i in kept], strict=True)))
    base = w.let("base", at_least(base, row))
    search = fn in ("argmax", "argmin")
    if search:
        low = nothing(fn[3:], kind) if kind != BOOL else ("0" if fn == "argmax" else "1")
        best = w.let("best", f"tl.full((ROWS, 1), {low}, {'tl.int32' if kind == BOOL else computed(kind)})")
        where = w.let("where", "tl.full((ROWS, 1), 0, tl.int64)")
        found = w.let("found", "tl.full((ROWS, 1), 0, tl.int32)")
    else:
        sums = w.let("partial", f"tl.full((ROWS, COLUMNS), {nothing(fn, kind)}, {computed(kind)})")
    with w.block(f"for start in range(0, {n}, COLUMNS):"):
        column = w.let("column", "start + tl.arange(0, COLUMNS)[None, :]")
        ok = w.let("ok", f"row_ok & (column < {n})")
        inner = total(list(zip(s.places(column, [dims[i] for i in axes]), [steps[i] for i in axes], strict=True)))
        x = s.load(0, f"{base} + {at_least(inner, column)}", ok)
        if not search:
            kept_x = w.let("kept", f"tl.where({ok}, {x}, {nothing(fn, kind)})")
            w.line(f"{sums} = {combined(fn, kind, sums, kept_x)}")
        else:
            _search(s, fn, kind, x, ok, column, best, where, found)
    if search:
        s.store(where, row, row_ok)
        return
    result = w.let("result", across(fn, kind, sums))
    s.store(narrowed(s.kind, rounded(s.kind, result) if s.kind in (F16, BF16) else result), row, row_ok)


def _search(s: Single, fn: str, kind, x: str, ok: str, column: str, best: str, where: str, found: str) -> None:  # type: ignore[no-untyped-def]
    """One block of an argmax or argmin: nan goes before everything, the first of equals before the others. `found` is 0
    before anything was seen and 2 after a nan."""
    w = s.w
    if kind == BOOL:
        x = w.let("x", f"{x}.to(tl.int32)")
    worst = nothing(fn[3:], kind) if kind != BOOL else ("0" if fn == "argmax" else "1")
    bad = ""
    if kind in FLOATS:
        odd = w.let("odd", f"{ok} & ({x} != {x})")
        bad = w.let("bad", f"tl.max({odd}.to(tl.int32), axis=1, keep_dims=True) != 0")
        clean = w.let("clean", f"tl.where({ok} & ({x} == {x}), {x}, {worst})")
    else:
        clean = w.let("clean", f"tl.where({ok}, {x}, {worst})")
    most = w.let("most", f"tl.{fn[3:]}({clean}, axis=1, keep_dims=True)")
    if kind in (U8, I32):
        most = w.let("most", f"{most}.to({computed(kind)})")
    hit = w.let("hit", f"{ok} & ({clean} == {most})")
    if kind in FLOATS:
        hit = w.let("hit", f"tl.where({bad}, {odd}, {hit})")
    first = w.let("first", f"tl.min(tl.where({hit}, {column}.to(tl.int64), {1 << 62}), axis=1, keep_dims=True)")
    better = f"({most} {'>' if fn == 'argmax' else '<'} {best}) | ({found} == 0)"
    take = w.let("better", f"({found} != 2) & ({bad} | {better})" if bad else better)
    w.line(f"{where} = tl.where({take} & ({first} < {1 << 62}), {first}, {where})")
    w.line(f"{best} = tl.where({take}, {most}, {best})")
    seen = f"tl.maximum({found}, 1)"
    w.line(f"{found} = {f'tl.where({bad}, 2, {seen})' if bad else seen}")


def _cumsum(s: Single) -> None:
    source = s.op.args[0].type
    kind = elem(source)
    w = s.w
    w.line("row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]")
    w.line("row_ok = row < outer * inner")
    base = w.let("base", "(row // inner) * n * inner + row % inner")
    wide = computed(kind)
    before = w.let("before", f"tl.full((ROWS, 1), 0, {wide})")
    with w.block("for start in range(0, n, COLUMNS):"):
        column = w.let("column", "start + tl.arange(0, COLUMNS)[None, :]")
        ok = w.let("ok", "row_ok & (column < n)")
        x = s.load(0, f"{base} + column * inner", ok)
        sums = w.let("sums", f"(tl.cumsum({x}, axis=1) + {before}).to({wide})")
        s.store(narrowed(kind, sums), f"{base} + {column} * inner", ok)
        w.line(f"{before} = {before} + tl.sum({x}, axis=1, keep_dims=True).to({wide})")


def _argsort(s: Single) -> None:
    """An element's place is the number of those that go before it: n comparisons each, for rows that are not long."""
    kind, down = elem(s.op.args[0].type), bool(s.op.attr("descending"))
    w = s.w
    at, (row, i), ok = s.elements(["outer", "n"])
    x = s.load(0, at, ok)
    if kind == BOOL:
        x = w.let("x", f"{x}.to(tl.int32)")
    place = w.let("place", f"{at} * 0")
    with w.block("for j in range(0, n):"):
        y = s.load(0, f"{row} * n + j", ok)
        if kind == BOOL:
            y = w.let("y", f"{y}.to(tl.int32)")
        before = f"{y} > {x}" if down else f"{y} < {x}"
        same = f"{y} == {x}"
        if kind in FLOATS:
            # nan is the greatest, and equal to itself.
            odd_x, odd_y = f"({x} != {x})", f"({y} != {y})"
            before = f"({before}) | ({odd_y} & ({x} == {x}))" if down else f"({before}) | ({odd_x} & ({y} == {y}))"
            same = f"({same}) | ({odd_x} & {odd_y})"
        w.line(f"{place} += (({before}) | (({same}) & (j < {i}))).to(tl.int64)")
    if len(s.op.args) > 1:
        s.store(i, f"{row} * count + {place}", f"{ok} & ({place} < count)")
    else:
        s.store(i, f"{row} * n + {place}", ok)


def _matmul(s: Single) -> None:
    """Any product: its sides in batches or not, lying either way."""
    op, kind, w = s.op, s.kind, s.w
    a, b = op.args
    ta, tb = bool(op.attr("ta")), bool(op.attr("tb"))
    w.line("blocks, across = tl.cdiv(m, ROWS), tl.cdiv(n, COLUMNS)")
    w.line("program = tl.program_id(0).to(tl.int64)")
    w.line("batch_at = program // across // blocks")
    w.line("row = program // across % blocks * ROWS + tl.arange(0, ROWS)[:, None]")
    w.line("column = program % across * COLUMNS + tl.arange(0, COLUMNS)[None, :]")
    left_at = "row * k" if not ta else "row"
    left_step = "" if not ta else " * m"
    right_at = "column" if not tb else "column * k"
    right_step = " * n" if not tb else ""
    left_base = f"{s.pointer(0)} + batch_at * m * k" if rank(a.type) > 2 else s.pointer(0)
    right_base = f"{s.pointer(1)} + batch_at * k * n" if rank(b.type) > 2 else s.pointer(1)
    w.line(f"left = {left_base} + {left_at}")
    w.line(f"right = {right_base} + {right_at}")
    if kind in FLOATS:
        w.line(f"total = tl.zeros((ROWS, COLUMNS), {'tl.float64' if kind == F64 else 'tl.float32'})")
        with w.block("for start in range(0, k, DEPTH):"):
            w.line("inner = start + tl.arange(0, DEPTH)[None, :]")
            w.line("down = start + tl.arange(0, DEPTH)[:, None]")
            w.line(f"x = tl.load(left + inner{left_step}, mask=(row < m) & (inner < k), other=0.0)")
            w.line(f"y = tl.load(right + down{right_step}, mask=(down < k) & (column < n), other=0.0)")
            w.line(f"total = {dot(kind, 'x', 'y', 'total').replace('x.to(tl.' + STORED[kind] + ')', 'x')}")
    else:
        w.line(f"total = tl.full((ROWS, COLUMNS), 0, {computed(kind)})")
        with w.block("for at in range(0, k):"):
            w.line(f"x = tl.load(left + (at{left_step}), mask=row < m, other=0)")
            w.line(f"y = tl.load(right + (at{right_step}), mask=column < n, other=0)")
            w.line(f"total = (total + x * y).to({computed(kind)})")
    w.line(f"tl.store(o0 + batch_at * m * n + row * n + column, {narrowed(kind, 'total')},"
           " mask=(row < m) & (column < n))")


WRITERS: dict[str, Callable[[Single], None]] = {
    "map": _map, "transpose": _transpose, "broadcast": _broadcast, "index": _index, "concat": _concat, "take": _take,
    "gather": _gather, "iota": _iota, "windows": write_windows, "fold": write_fold, "unpool": write_unpool,
    "accumulate": _accumulate, "shaped": _shaped, "update": _update, "put": _put, "scatter": _scatter,
    "reduce": _reduce, "cumsum": _cumsum, "argsort": _argsort, "matmul": _matmul, "pool": write_pool,
}  # fmt: skip
__all__ = ["WRITERS", "number", "write_single"]
