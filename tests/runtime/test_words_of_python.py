"""Names of Hyb that are words of Python's: behind a `_` they can be said there, as the `.pyi` has them."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import hybridc

SOURCE = """
struct Item:
    class: int
    in_: int = 5
enum Step:
    Go(from: int, is: bool = false)
    Stay
model Net(with: int, del: int = 2):
    param w: f32[with] = zeros()
    fn forward(x: f32[with]) -> f32[with]: return x + self.w + f32(del)
    fn at(lambda: int) -> int: return lambda + del
fn between(from: int, to: int, as: int = 1) -> int: return (to - from) * as
fn lambda(x: int) -> int: return x
"""


@pytest.fixture(scope="module")
def mod(tmp_path_factory: pytest.TempPathFactory, unoptimised: None):
    path: Path = tmp_path_factory.mktemp("words") / "words.hyb"
    path.write_text(SOURCE)
    return hybridc.load(path)


def test_parameters(mod):
    assert list(inspect.signature(mod.between).parameters) == ["from_", "to", "as_"]
    assert mod.between(1, 4) == mod.between(from_=1, to=4) == mod.between(1, to=4, as_=1) == 3
    assert mod.between(**{"from": 1, "to": 4, "as": 2}) == 6
    with pytest.raises(TypeError, match="twice"):
        mod.between(1, 4, from_=1)
    with pytest.raises(TypeError, match="no parameter 'by'; it has from, to, as$"):
        mod.between(1, 4, by=1)
    assert getattr(mod, "lambda")(3) == 3


def test_fields(mod):
    item = mod.Item(class_=3)
    assert item == mod.Item(3) == mod.Item(**{"class": 3}) and item.class_ == 3 and item.in_ == 5
    item.class_ = 4
    assert item == mod.Item(4) and repr(item) == "Item(class=4, in_=5)"
    step = mod.Step.Go(from_=1, is_=True)
    match step:
        case mod.Step.Go(from_=start, is_=there):
            assert (start, there) == (1, True)
    with pytest.raises(AttributeError, match="cannot be changed"):
        step.from_ = 2


def test_configuration(mod):
    m = mod.Net(with_=3, del_=1)
    assert (m.with_, m.del_, m.at(lambda_=4)) == (3, 1, 5)
    assert m([0.0, 1.0, 2.0]).tolist() == [1.0, 2.0, 3.0]
