"""Copies between layouts of which one goes down where the other goes along: by squares that are turned in registers.

Element by element each line of the caches would be read, or written, once for each of its elements; where lines lie a
power of two apart the first cache cannot keep them so long.
"""

from __future__ import annotations

from collections.abc import Sequence

from hybridc.base.types import F32, F64
from hybridc.llvm.code import Code
from hybridc.llvm.lane import Lane
from hybridc.llvm.module import Module

KINDS = {4: F32, 8: F64}
"""What elements of so many bytes are moved as."""
Axis = tuple[str, str, str]
"""How many, and how far apart in the target and the source."""


def crossed(axes: Sequence[Axis], size: int) -> int | None:
    """The axis that goes along the source, where the last one goes along the target: they are turned."""
    if size not in KINDS or len(axes) < 2 or axes[-1][1] != "1" or axes[-1][2] == "1":
        return None
    along = [i for i, (_, _, start) in enumerate(axes) if start == "1"]
    return along[0] if len(along) == 1 else None


def copy_squares(e: Code, module: Module, size: int, axes: Sequence[Axis], down: int, to: str, source: str) -> str:
    """Copies all there is, if a square fits; i1: did it?"""
    rest = [a for i, a in enumerate(axes[:-1]) if i != down]
    args = [("ptr", to), ("ptr", source), *(("i64", v) for axis in (*rest, axes[down], axes[-1]) for v in axis)]
    return e.call("i1", _kernel(module, len(rest), size), args)


def _kernel(module: Module, outer: int, size: int) -> str:
    """i1 (target, source, (count, step, from)...): the last two axes are those of the squares."""

    def make(name: str) -> None:
        lane = Lane(KINDS[size], module.vector_bytes)
        t, n = lane.scalar, lane.count
        params = [("ptr noalias", "%to"), ("ptr noalias", "%from")]
        params += [("i64", f"%{letter}{i}") for i in range(outer + 2) for letter in "nsf"]
        k = Code(module, name, params, "i1", attributes="noinline nounwind")
        high, step, wide, apart = f"%n{outer}", f"%s{outer}", f"%n{outer + 1}", f"%f{outer + 1}"
        with k.when(k.op2("or", "i1", k.icmp("slt", high, str(n)), k.icmp("slt", wide, str(n)))):
            k.ret("false")
        lowest, last = k.sub(high, str(n)), k.sub(wide, str(n))

        def square(to: str, source: str) -> None:
            # The last squares repeat some of those before them.
            with k.loop(wide, step=n, rolled=True) as along, k.loop(high, step=n, rolled=True) as down:
                l, d = (k.call("i64", "@llvm.smin.i64", [("i64", i), ("i64", end)])
                        for i, end in ((along.index, last), (down.index, lowest)))
                first = k.element(source, t, k.add(k.mul(l, apart), d))
                columns = lane.turned(k, lambda r: k.element(first, t, k.mul(apart, str(r)) if r else "0"))
                corner = k.element(to, t, k.add(k.mul(d, step), l))
                for c, value in enumerate(columns):
                    lane.store(k, value, k.element(corner, t, k.mul(step, str(c)) if c else "0"))

        def nest(i: int, to: str, source: str) -> None:
            if i == outer:
                square(to, source)
                return
            with k.loop(f"%n{i}") as turn:
                nest(i + 1, *(k.element(at, t, k.mul(turn.index, f"%{letter}{i}"))
                              for at, letter in ((to, "s"), (source, "f"))))

        nest(0, "%to", "%from")
        k.ret("true")
        k.finish()

    return module.helper(("kernel.squares", outer, size), make)
