"""Dates agree with Python's calendar; beam search agrees with a search of all texts; what was trained translates."""

from __future__ import annotations

import datetime
import itertools
import math
import re

import pytest

import hybridc


@pytest.fixture(scope="module")
def mod(examples):
    return hybridc.load(examples / "translate" / "translate.hyb")


def test_dates_are_dates(mod):
    g = hybridc.rng(1)
    forms = set()
    for _ in range(500):
        e = mod.random_date(g)
        day = datetime.date.fromisoformat(e.iso)
        assert mod.weekday(day.year, day.month, day.day) == day.strftime("%A").lower()
        assert str(day.year % 100) in e.written
        forms.add(re.sub("[a-z]+", "a", re.sub("[0-9]+", "0", e.written)))
    assert len(forms) >= 15


def test_the_widest_beam_finds_the_best_of_all(mod):
    m = mod.Translator(4, seed=5)
    text, signs = "2.3.04", "0123456789-"
    every = ["".join(t) for n in range(3) for t in itertools.product(signs, repeat=n)]
    best = min(every, key=lambda iso: m.loss(mod.Example(text, iso)))
    found = m.translate(text, 200, 3)
    assert found.iso == best and math.isclose(found.surprise, m.loss(mod.Example(text, best)), abs_tol=1e-4)
    with pytest.raises(AssertionError, match="nothing to translate"):
        m.translate("")


def test_learns(mod):
    m = mod.Translator(16)
    losses = [mod.train(m, 60, 0.01, hybridc.rng(0)) for _ in range(2)]
    assert losses[1] < losses[0] < 20


def test_what_was_trained_translates(mod, examples):
    m = mod.Translator(48)
    m.load(str(examples / "translate" / "translate.safetensors"))
    assert mod.exact(m, 200, 4, 11) >= 0.98
    assert m.translate("Saturday, February 29th, 2020").iso == "2020-02-29"
