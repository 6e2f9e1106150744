"""The same models in PyTorch, eager: a beam search, a mixture of experts, and digits learned from sums."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

START, END = 0, 1


# ---- beam search ----
class Writer(nn.Module):
    def __init__(self, vocab: int = 2000, dim: int = 256):
        super().__init__()
        self.embed, self.cell, self.head = nn.Embedding(vocab, dim), nn.GRUCell(dim, dim), nn.Linear(dim, vocab)
        self.vocab = vocab

    @torch.inference_mode()
    def beam(self, start: torch.Tensor, width: int, longest: int) -> tuple[list[int], float]:
        drafts: list[list[int]] = [[]]
        last, costs, h = torch.tensor([START]), torch.zeros(1), start.unsqueeze(0)
        best: tuple[list[int], float] = ([], math.inf)
        for _ in range(longest):
            h = self.cell(self.embed(last), h)
            following = costs.unsqueeze(1) - F.log_softmax(self.head(h), 1)
            surprise, at = torch.topk(following.reshape(-1), width, largest=False)
            kept, longer = [], []
            for i, (s, a) in enumerate(zip(surprise.tolist(), at.tolist(), strict=True)):
                if s >= best[1]:
                    break
                draft, token = divmod(a, self.vocab)
                if token == END:
                    best = (drafts[draft], s)
                else:
                    kept.append(i)
                    longer.append(drafts[draft] + [token])
            if not kept:
                break
            at, drafts, costs = at[kept], longer, surprise[kept]
            last, h = at % self.vocab, h[at // self.vocab]
        return best

    def turn(self, last: torch.Tensor, costs: torch.Tensor, h: torch.Tensor, width: int) -> tuple[torch.Tensor, ...]:
        """Of all sources [S, W] at once: the least surprising continuations, their places, and the states."""
        h = self.cell(self.embed(last.reshape(-1)), h.reshape(-1, h.shape[-1])).reshape(h.shape)
        following = costs.unsqueeze(2) - F.log_softmax(self.head(h), 2)
        return *torch.topk(following.reshape(len(last), -1), width, largest=False), h

    @torch.inference_mode()
    def beams(self, starts: torch.Tensor, width: int, longest: int,
              turn: Callable[..., tuple[torch.Tensor, ...]]) -> list[tuple[list[int], float]]:
        """For each first state [S, 256] what `beam` gives; `turn` is `self.turn`, or that compiled."""
        sources = len(starts)
        every = torch.arange(sources)
        last = torch.full((sources, width), START)
        costs = torch.full((sources, width), math.inf)
        costs[:, 0] = 0.0
        h = starts.unsqueeze(1).repeat(1, width, 1)
        drafts = torch.zeros(sources, width, longest, dtype=torch.int64)
        best, length = torch.zeros(sources, longest, dtype=torch.int64), torch.zeros(sources, dtype=torch.int64)
        least = torch.full((sources,), math.inf)
        for step in range(longest):
            cost, at, h = turn(last, costs, h, width)
            row, last = at // self.vocab, at % self.vocab
            ended = torch.where(last == END, cost, math.inf)
            found, first = ended.min(1)
            better = found < least
            drafts = drafts.gather(1, row.unsqueeze(2).expand(-1, -1, longest))
            best = torch.where(better.unsqueeze(1), drafts[every, first], best)
            length, least = torch.where(better, step, length), torch.minimum(found, least)
            drafts[:, :, step] = last
            h = h.gather(1, row.unsqueeze(2).expand(-1, -1, h.shape[2]))
            costs = torch.where((last != END) & (cost < least.unsqueeze(1)), cost, math.inf)
            if not (costs < math.inf).any():
                break
        return [(b[:n].tolist(), float(s)) for b, n, s in zip(best, length, least, strict=True)]


# ---- a mixture of experts ----
class Experts(nn.Module):
    """Tokens sorted by expert, each expert's first `capacity`, as examples/router/router.hyb."""

    def __init__(self, weights: dict[str, np.ndarray], top: int, room: float):
        super().__init__()
        self.router, self.up, self.down = (nn.Parameter(torch.tensor(weights[n])) for n in
                                           ("router.weight", "up", "down"))
        self.top, self.room = top, room

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count = len(self.up)
        best, chosen = torch.topk(torch.softmax(x @ self.router.T, 1), self.top)
        shares = (best / best.sum(1, keepdim=True)).reshape(-1)
        capacity = int(self.room * x.shape[0] * self.top / count) + 1
        order = torch.argsort(chosen.reshape(-1), stable=True)
        sizes = torch.bincount(chosen.reshape(-1), minlength=count).tolist()
        y = torch.zeros_like(x)
        at = 0
        for e, size in enumerate(sizes):
            mine = order[at:at + min(size, capacity)]
            at += size
            tokens = mine // self.top
            out = F.gelu(x[tokens] @ self.up[e]) @ self.down[e]
            y.index_add_(0, tokens, out * shares[mine].unsqueeze(1))
        return y


class Grouped(Experts):
    """With all experts' products in one batched product, padded to the capacity."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count = len(self.up)
        best, chosen = torch.topk(torch.softmax(x @ self.router.T, 1), self.top)
        shares = (best / best.sum(1, keepdim=True)).reshape(-1)
        capacity = int(self.room * x.shape[0] * self.top / count) + 1
        flat = chosen.reshape(-1)
        order = torch.argsort(flat, stable=True)
        expert = flat[order]
        starts = torch.cumsum(torch.bincount(flat, minlength=count), 0) - torch.bincount(flat, minlength=count)
        rank = torch.arange(len(order)) - starts[expert]
        kept = rank < capacity
        order, slots = order[kept], expert[kept] * capacity + rank[kept]
        tokens = order // self.top
        rows = torch.zeros(count * capacity, x.shape[1]).index_copy_(0, slots, x[tokens])
        out = torch.bmm(F.gelu(torch.bmm(rows.reshape(count, capacity, -1), self.up)), self.down)
        out = out.reshape(count * capacity, -1)[slots] * shares[order].unsqueeze(1)
        return torch.zeros_like(x).index_add_(0, tokens, out)


# ---- digits by sums ----
class Digits(nn.Module):
    def __init__(self, width: int = 64):
        super().__init__()
        self.hidden, self.head = nn.Linear(64, width), nn.Linear(width, 10)
        self.values = torch.arange(10.0)

    def forward(self, images: list[torch.Tensor]) -> torch.Tensor:
        found = torch.zeros(())
        for image in images:
            found = found + F.softmax(self.head(F.relu(self.hidden(image))), 0) @ self.values
        return found


def epoch(m: Digits, opt: torch.optim.Optimizer, data: list[tuple[list[torch.Tensor], float]]) -> float:
    """A step for each list; the sum of losses."""
    total = 0.0
    for images, answer in data:
        opt.zero_grad()
        loss = (m(images) - answer) ** 2
        loss.backward()
        opt.step()
        total += loss.item()
    return total
