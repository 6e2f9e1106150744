"""Lists of constants that are only read: blocks in the program's data, which nobody counts (passes/static_lists.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hybridc.core.ir import BufferT, Const, Op, Prim, Type
from hybridc.llvm.emitter import FnEmitter
from hybridc.llvm.module import Leaves

SIZES = {"i8": 1, "i16": 2, "half": 2, "i32": 4, "float": 4, "i64": 8, "double": 8, "ptr": 8}
"""Bytes of leaves in memory."""


def _of(e: FnEmitter, op: Op) -> tuple[Leaves, ...]:
    return (_static(e, op.attr("items"), op.outs[0].type),)


def _static(e: FnEmitter, value: object, t: Type) -> Leaves:
    """The leaves of a constant; what it holds in memory is in the program's data, and immortal."""
    if isinstance(value, str):
        return e.module.text_leaves(value)
    if isinstance(t, BufferT):
        return (_static_block(e, value, t.item),)  # type: ignore[arg-type]
    if isinstance(value, tuple):
        return tuple(x for v, f in zip(value, e.layouts.fields(t), strict=True) for x in _static(e, v, f))
    assert isinstance(t, Prim) and isinstance(value, int | float)
    return (e.constant(Const(value, t)),)


def _static_block(e: FnEmitter, items: Sequence[object], item: Type) -> str:
    if not items:
        return e.module.empty()
    shape = e.layouts.shape(item)
    types: list[str] = []
    places: list[int | None] = []
    end = 0
    for i, leaf in enumerate(shape.leaves):
        gap = leaf.offset - end
        types += [f"[{gap} x i8]", leaf.memory] if gap else [leaf.memory]
        places += [None, i] if gap else [i]
        end = leaf.offset + SIZES[leaf.memory]
    if end < shape.size:
        types.append(f"[{shape.size - end} x i8]")
        places.append(None)

    def element(value: object) -> str:
        leaves = [{"true": "1", "false": "0"}.get(x, x) for x in _static(e, value, item)]
        texts = ["zeroinitializer" if i is None else leaves[i] for i in places]
        return ", ".join(f"{t} {x}" for t, x in zip(types, texts, strict=True))

    alone = len(types) == 1
    one = types[0] if alone else f"<{{ {', '.join(types)} }}>"
    texts = [element(v) if alone else f"{one} <{{ {element(v)} }}>" for v in items]
    whole = f"[{len(items)} x {one}]"
    return e.module.constant(
        f"<{{ i64, i64, {whole} }}>", f"<{{ i64 -1, i64 {len(items)}, {whole} [{', '.join(texts)}] }}>", 16, "l")


ROWS: dict[str, Callable[[FnEmitter, Op], tuple[Leaves, ...]]] = {"buffer_of": _of}
