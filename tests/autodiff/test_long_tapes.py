"""Derivatives are the same where tapes of calls are records on the heap, as they are where they are long; expected
values by central differences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hybridc
from hybridc.autodiff import driver
from tests.autodiff.differences import slope
from tests.leaks import live_blocks

SOURCE = Path(__file__).with_name("long_tapes.hyb")


@pytest.fixture(scope="module", params=[0, driver.LONG], ids=lambda n: f"from {n}")
def module(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "LONG", request.param)
        patch.setenv("HYB_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield hybridc.load(SOURCE)


GIVEN = {
    "branches": [0.3, 0.7, 1.9],
    "a_loop": [[0.3, 0.7, 1.2], [2.0, 1.5, 0.1, 0.2], [0.4], []],
    "parallel": [np.array([0.3, 0.8, 1.1]), np.array([0.4])],
    "pairs": [0.3, 0.8],
    "recursion": [0.3, 0.9],
    "tensors": [np.array([0.3, -0.8, 1.1]), np.array([-0.4, -0.1, 0.2])],
}


@pytest.mark.parametrize("name", GIVEN)
def test_first(module: Any, name: str) -> None:
    for x in GIVEN[name]:
        before = live_blocks(module)
        found = getattr(module, f"d_{name}")(x)
        np.testing.assert_allclose(found, slope(getattr(module, f"of_{name}"), [x], 0), rtol=1e-6, atol=1e-7)
        assert live_blocks(module) == before


def test_second(module: Any) -> None:
    for x in (0.3, 0.7):
        assert module.dd_branches(x) == pytest.approx(slope(module.d_branches, [x], 0), rel=1e-5)


def test_a_fault(module: Any) -> None:
    before = live_blocks(module)
    with pytest.raises(IndexError, match="index 1"):
        module.d_a_fault(1.5)
    assert live_blocks(module) == before
    assert module.d_a_fault(0.5) == pytest.approx(slope(module.of_a_fault, [0.5], 0))
