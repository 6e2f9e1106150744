"""New digits are learned by writing to the store; the memory survives a restart and kill -9; the index finds what is in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

FILL = """
import sys, importlib.util
from pathlib import Path
spec = importlib.util.spec_from_file_location("train", sys.argv[1])
train = importlib.util.module_from_spec(spec); spec.loader.exec_module(train)
mod = train.load(Path(sys.argv[2]))
m = mod.Recogniser(train.WIDTH)
print("ready", flush=True)
for first in range(0, 1 << 40, 50):
    mod.fill(m, first, 50, 50)
    print(first + 50, flush=True)
"""


@pytest.fixture(scope="module")
def train(script):
    return script("memory/train.py")


def test_new_digits_by_showing_them(train, tmp_path):
    mod = train.load(tmp_path / "memory")
    m = mod.Recogniser(train.WIDTH)
    m.load_state_dict(train.trained(mod))
    assert m.recognise(train.digits()[0][0]) is None
    train.show(m, 10)
    every, new = train.right(m)
    assert every > 0.9 and new > 0.9
    weights = m.state_dict()
    del m
    again = train.load(tmp_path / "memory").Recogniser(train.WIDTH)
    again.load_state_dict(weights)
    assert again.size() == 100 and train.right(again) == (every, new)


def test_the_index_finds_what_is_nearest(train, tmp_path):
    mod = train.load(tmp_path / "memory")
    m = mod.Recogniser(train.WIDTH)
    mod.fill(m, 0, 600, 1000)
    assert m.size() == 600
    keys = np.array([mod.random_key(i, 64 + train.WIDTH) for i in range(600)])
    asked = mod.random_key(1000, 64 + train.WIDTH)
    likeness = keys @ asked
    best = np.argsort(-likeness)[:5]
    found = m.nearest(asked, 5, 1000)
    assert [n.label for n in found] == list(best) and np.allclose([n.likeness for n in found], likeness[best], atol=1e-5)
    assert [m.nearest(keys[i], 1)[0].label for i in range(0, 600, 7)] == list(range(0, 600, 7))


def test_kill_9_loses_nothing_that_was_committed(train, tmp_path, examples):
    place = tmp_path / "memory"
    command = [sys.executable, "-c", FILL, str(examples / "memory" / "train.py"), str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "ready\n"
        told = 0
        while told < 500:
            told = int(writer.stdout.readline())
        time.sleep(0.02)
        os.kill(writer.pid, signal.SIGKILL)
    m = train.load(place).Recogniser(train.WIDTH)
    size = m.size()
    assert size >= told and size % 50 == 0
    key = train.load(place).random_key(size - 1, 64 + train.WIDTH)
    assert m.nearest(key, 1)[0].label == size - 1
