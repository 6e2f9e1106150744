"""The same program in PyTorch: to train its weights, and to compare with."""

from __future__ import annotations

import heapq

import torch
from torch import nn


class Stage(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.hidden = nn.Linear(width, width)
        self.head = nn.Linear(width, 10)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return h + torch.relu(self.hidden(h))


class Cascade(nn.Module):
    def __init__(self, width: int = 32, depth: int = 4):
        super().__init__()
        self.embed = nn.Linear(64, width)
        self.stages = nn.ModuleList(Stage(width) for _ in range(depth))
        self.memory: dict[int, list[torch.Tensor]] = {}

    def features(self, image: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.embed(image))
        for stage in self.stages:
            h = stage(h)
        return h

    def remember(self, image: torch.Tensor, digit: int) -> None:
        self.memory.setdefault(digit, []).append(self.features(image))

    def nearest(self, h: torch.Tensor, k: int) -> int:
        near: list[tuple[float, int, int]] = []
        for digit, prototypes in self.memory.items():
            for p in prototypes:
                d = h - p
                heapq.heappush(near, (torch.dot(d, d).item(), len(near), digit))
        votes: dict[int, int] = {}
        best = -1
        for _ in range(min(k, len(near))):
            digit = heapq.heappop(near)[2]
            votes[digit] = votes.get(digit, 0) + 1
            if best < 0 or votes[digit] > votes[best]:
                best = digit
        return best

    def classify(self, image: torch.Tensor, sure: float = 0.95, k: int = 5) -> tuple[int, int, bool]:
        h = torch.relu(self.embed(image))
        for layer, stage in enumerate(self.stages, 1):
            h = stage(h)
            p = torch.softmax(stage.head(h), 0)
            if p.max().item() > sure:
                return int(p.argmax()), layer, False
        return self.nearest(h, k), len(self.stages), True

    def losses(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Every stage's cross entropy: each must be able to answer alone."""
        h = torch.relu(self.embed(images))
        total = torch.zeros(())
        for stage in self.stages:
            h = stage(h)
            total = total + nn.functional.cross_entropy(stage.head(h), labels)
        return total


def train(images: torch.Tensor, labels: torch.Tensor, steps: int = 250) -> Cascade:
    """A cascade trained on all images at once; images (n, 64) in [0, 1], labels (n,)."""
    torch.manual_seed(0)
    model = Cascade()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        model.losses(images, labels).backward()
        optimiser.step()
    return model.eval()
