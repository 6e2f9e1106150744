"""The digits cascade, trained from random weights by Hyb alone."""

from __future__ import annotations

import time

import pytest

import hybridc


def test_learns_to_read(script, examples) -> None:
    pytest.importorskip("sklearn")
    train = script("digits/train.py")
    x, y, held, answers = train.data()
    mod = hybridc.load(str(examples / "digits" / "digits.hyb"))
    cascade = mod.Cascade(width=64, seed=3)
    start = time.process_time()
    losses = mod.train(cascade, x, y, 300, 3)
    taken = time.process_time() - start
    for image, digit in zip(x[: train.PROTOTYPES], y[: train.PROTOTYPES], strict=True):
        cascade.remember(image, int(digit))
    assert losses[-1] < 0.05
    assert mod.accuracy(cascade, held, answers) >= 0.97
    assert taken < 10
