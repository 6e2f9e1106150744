"""Attention as Triton source, in one pass over the columns of its scores (kernels/online.py says how)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hybridc.base.types import Prim
from hybridc.kernels.causal import limited
from hybridc.kernels.online import Online
from hybridc.triton.scalars import scalar
from hybridc.triton.text import computed

if TYPE_CHECKING:
    from hybridc.triton.rows import Rows


def write_attention(r: Rows, a: Online) -> None:
    """Everything up to the second product, whose value the rows' writer then knows."""
    w, kind, block = r.w, a.scores.type, r.block(a.space)
    lowest = 'float("-inf")'
    assert a.product.space is not None
    with r.over(a.product.space) as c:
        r.prepare(a.scores)
        r.begin(a.product)
        for p in r.graph.of_kind("product"):
            if p is not a.product:
                r.hold(p)
        best = w.let("best", f"tl.full((ROWS, 1), {lowest}, {computed(kind)})")
        weight = w.let("weight", f"tl.zeros((ROWS, 1), {computed(kind)})")
        mixed = w.let("mixed", f"tl.zeros((ROWS, {c.block}), {computed(kind)})")
        before, start = dict(r.memo), w.name("start")
        with w.block(f"for {start} in range(0, {_end(r, a)}, {block}):"):
            columns = r.columns(f"{start} + ", a.space)
            scores = w.let("scores", r.masked(a.scores, r.value(a.scores, columns), columns, lowest))
            new = w.let("new", f"tl.maximum({best}, tl.max({scores}, axis=1, keep_dims=True))")
            # A row that has seen no score yet has no difference from its largest.
            base = w.let("base", f"tl.where({new} == {lowest}, 0.0, {new})")
            share = w.let("share", _exp(f"{scores} - {base}", kind))
            keep = w.let("keep", _exp(f"{best} - {base}", kind))
            w.line(f"{weight} = {weight} * {keep} + tl.sum({share}, axis=1, keep_dims=True)")
            w.line(f"{mixed} = {r.multiplied(a.product, share, columns, c, f'{mixed} * {keep}')}")
            w.line(f"{best} = {new}")
        r.memo = before
        whole = r.size(r.graph.spaces[a.space])
        if not whole.isdigit():  # of no columns nothing is mixed, which is 0
            w.line(f"{weight} = tl.where({whole} > 0, {weight}, 1.0)")
        name = a.product.op.outs[0].name if a.product.op is not None else ""
        r.memo[a.product, c.name] = w.let(name or "product", scalar("div", [mixed, weight], [kind, kind], kind))


def _exp(text: str, kind: Prim) -> str:
    return scalar("exp", [text], [kind], kind)


def _end(r: Rows, a: Online) -> str:
    """Columns that a program looks at: causal attention those up to its last row's."""
    whole = r.size(r.graph.spaces[a.space])
    if limited(r.graph) != a.space:
        return whole
    return f"tl.minimum({whole}, (down{' % blocks' if r.graph.batch else ''}) * ROWS + ROWS)"


__all__ = ["write_attention"]
