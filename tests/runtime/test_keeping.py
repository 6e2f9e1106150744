"""State between calls: kept, saved, put back by a fault; a model that holds a store is a resource."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from hybridc_runtime import RuntimeFault

import hybridc

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = Path(__file__).parent / "programs" / "keeping.hyb"


@pytest.fixture
def mod(tmp_path):
    return hybridc.load(SOURCE, externs={"place": lambda: str(tmp_path / "memory")})


def pair(a, b):
    return np.array([a, b], np.float32)


def test_a_model_holds_a_store(mod, tmp_path):
    m = mod.Mem(2)
    m.put("k", pair(1, 2))
    assert (m.get("k") == [1, 2]).all() and m.get("none") is None
    assert mod.fill(m, ["a", "b"]) == 5
    for make in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="holds a store and cannot be copied"):
            make(m)
    assert list(m.state_dict()) == ["w", "hits", "log"]
    m.keep()
    del m
    with hybridc.open_store(tmp_path / "memory") as store:
        assert {k: v.tolist() for k, v in store.items()} == {"k": [1, 2], "a": [1, 1], "b": [1, 1]}


def test_inside_of_other_models_and_of_programs(mod):
    h = mod.Holder(2)
    assert h("q", pair(3, 4)) == 7
    assert h.state_dict()["inner.hits"] == 1 and h.state_dict()["more.0.hits"] == 1
    assert (mod.local("z") == [1, 2]).all()


def test_a_fault_leaves_the_state(mod):
    m = mod.Mem(2)
    m.put("k", pair(1, 2))
    for _ in range(3):
        value, g = m.value_and_grad("loss", "k")
        assert value == 3 and (g == [1, 2]).all()
    before = m.state_dict()
    for call in (lambda: m.loss("k", True), lambda: m.value_and_grad("loss", "k", True)):
        with pytest.raises(hybridc.HybError, match="as asked"):
            call()
        after = m.state_dict()
        assert after["hits"] == before["hits"] == 4 and after["log"] == before["log"] == ["k", "loss", "loss", "loss"]
    assert m.loss("k") == 3 and m.state_dict()["hits"] == 5


def test_state_is_saved_with_the_model(mod, tmp_path):
    m = mod.Mem(2)
    mod.fill(m, ["a", "b"])
    file = tmp_path / "m.safetensors"
    m.save(file)
    once = file.read_bytes()
    m.save(file)
    assert file.read_bytes() == once
    other = mod.Mem(2, seed=3)
    other.load(file)
    assert other.state_dict()["hits"] == 2 and other.state_dict()["log"] == ["a", "b"]


def test_seeds_are_named(mod):
    for wrong in ("a", 1.5, 1 << 70, True):
        with pytest.raises(ValueError, match=r"Mem\(\) argument seed"):
            mod.Mem(2, seed=wrong)
    with pytest.raises((RuntimeFault, TypeError), match="seed"):
        mod.Mem(2, seed="x")
    assert mod.Mem(2, seed=np.int64(3)).state_dict()["hits"] == 0
