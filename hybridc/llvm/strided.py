"""One kernel that copies, or adds, between two strided layouts, made for each rank and element; and arithmetic on sizes
that are computed here where they are known."""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.core.ir import Prim
from hybridc.llvm.code import Code
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.module import Module
from hybridc.llvm.scalar_ops import emit_scalar
from hybridc.llvm.squares import copy_squares, crossed


def plus(e: Code, a: str, b: str) -> str:
    if not a.startswith("%") and not b.startswith("%"):
        return str(int(a) + int(b))
    return e.add(a, b)


def strides_of(e: Code, dims: Sequence[str]) -> list[str]:
    """Elements from one index to the next, of each axis of a contiguous tensor."""
    strides = ["1"]
    for d in reversed(dims[1:]):
        strides.append(times(e, strides[-1], d))
    return list(reversed(strides)) if dims else []


def times(e: Code, a: str, b: str) -> str:
    if not a.startswith("%") and not b.startswith("%"):
        return str(int(a) * int(b))
    return "0" if "0" in (a, b) else e.mul(a, b)


def least(k: Code, a: str, b: str) -> str:
    if not (a + b).count("%"):
        return str(min(int(a), int(b)))
    return k.call("i64", "@llvm.smin.i64", [("i64", a), ("i64", b)])


def most(k: Code, a: str, b: str) -> str:
    if not (a + b).count("%"):
        return str(max(int(a), int(b)))
    return k.call("i64", "@llvm.smax.i64", [("i64", a), ("i64", b)])


def parts(k: Code, count: str, of: int | str) -> str:
    """How many of a size a number of things fills, the last perhaps in part."""
    if not (count + str(of)).count("%"):
        return str(-(-int(count) // int(of)))
    return k.op2("udiv", "i64", k.sub(k.add(count, str(of)), "1"), str(of))


def copy_strided(
    e: Code, kind: Prim, target: str, source: str, counts: Sequence[str], steps: Sequence[str], froms: Sequence[str]
) -> None:
    """target[sum of i * step] = source[sum of i * from] for every index below `counts`."""
    write_strided(e, kind, target, source, counts, steps, froms, False)


def write_strided(
    e: Code, kind: Prim, target: str, source: str, counts: Sequence[str], steps: Sequence[str], froms: Sequence[str],
    adds: bool,
) -> None:
    """The same, or with `adds` target[...] += source[...]."""
    size = SCALARS[kind.name][1]
    axes = [(c, s, f) for c, s, f in zip(counts, steps, froms, strict=True) if c != "1"]
    # Neighbours that continue each other on both sides are one axis.
    merged: list[tuple[str, str, str]] = []
    for c, s, f in axes:
        if merged:
            count, step, start = merged[-1]
            if step == times_text(s, c) and start == times_text(f, c):
                merged[-1] = (times(e, count, c), s, f)
                continue
        merged.append((c, s, f))
    if not merged:
        merged = [("1", "1", "1")]
    if len(merged) == 1 and merged[0][1:] == ("1", "1") and not adds:
        e.copy_bytes(target, source, times(e, merged[0][0], str(size)))
        return
    kernel = _strided_kernel(e.module, len(merged), size, kind if adds else None)
    args = [("ptr", target), ("ptr", source)]
    args += [("i64", v) for axis in zip(*merged, strict=True) for v in axis]
    down = None if adds else crossed(merged, size)
    if down is None:
        e.call("void", kernel, args)
        return
    done, left, after = copy_squares(e, e.module, size, merged, down, target, source), e.label("left"), e.label("after")
    e.branch(done, after, left)
    e.start(left)
    e.call("void", kernel, args)
    e.jump(after)
    e.start(after)


def times_text(a: str, b: str) -> str | None:
    """The product, where both are numbers."""
    return None if a.startswith("%") or b.startswith("%") else str(int(a) * int(b))


def _strided_kernel(module: Module, count: int, size: int, adds: Prim | None) -> str:
    """void (target, source, counts..., steps..., froms...); `adds` is the element type where the source is added."""

    def make(name: str) -> None:
        llvm = f"i{8 * size}" if adds is None else SCALARS[adds.name][0]
        params = [("ptr noalias", "%to"), ("ptr", "%from")]
        params += [("i64", f"%{letter}{i}") for letter in "nsf" for i in range(count)]
        k = Code(module, name, params, "void")
        last = count - 1

        def write(to: str, value: str) -> None:
            if adds is not None:
                value = emit_scalar(k, "add", (k.load(llvm, to), value), (adds, adds), adds)  # type: ignore[arg-type]
            k.store(llvm, value, to)

        def inner(to: str, source: str) -> None:
            step, start = f"%s{last}", f"%f{last}"
            dense, loose, done = k.label("dense"), k.label("loose"), k.label("done")
            packed = k.op2("and", "i1", k.icmp("eq", step, "1"), k.icmp("eq", start, "1"))
            k.branch(packed, dense, loose)
            k.start(dense)
            with k.loop(f"%n{last}") as turn:
                write(k.element(to, llvm, turn.index), k.load(llvm, k.element(source, llvm, turn.index)))
            k.jump(done)
            k.start(loose)
            with k.loop(f"%n{last}") as turn:
                value = k.load(llvm, k.element(source, llvm, k.mul(turn.index, start)))
                write(k.element(to, llvm, k.mul(turn.index, step)), value)
            k.jump(done)
            k.start(done)

        def nest(i: int, to: str, source: str) -> None:
            if i == last:
                inner(to, source)
                return
            with k.loop(f"%n{i}") as turn:
                nest(i + 1, k.element(to, llvm, k.mul(turn.index, f"%s{i}")),
                     k.element(source, llvm, k.mul(turn.index, f"%f{i}")))

        nest(0, "%to", "%from")
        k.ret()
        k.finish()

    return module.helper(("kernel.strided", count, size, adds), make)
