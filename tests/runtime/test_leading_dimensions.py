"""`*B` from Python: some numbers of dimensions are compiled beforehand, others, from source, at the call that has them."""

from __future__ import annotations

import numpy as np
import pytest

import hybridc
from hybridc import driver

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = """
model Scale(n: int):
    param w: f32[n] = constant(2)

    fn forward(x: f32[*B, n]) -> f32[*B, n]:
        return x * self.w

    fn loss(x: f32[*B, n]) -> f32:
        return sum(self(x))

fn double(x: f32[*B, N]) -> f32[*B, N]:
    return 2 * x

fn rows(x: f32[*A, 3], y: f32[*B, 3]) -> (f32[*A], f32[*B]):
    return (sum(x, axis=-1), sum(y, axis=-1))

fn total(xs: list[f32[*B]], first: f32[*C]? = none) -> f32:
    var out: f32 = 0
    for x in xs:
        out += sum(x)
    return out + (0 if first == none else sum(first))

fn scaled(m: Scale, x: f32[*B, N]) -> f32[*B, N]:
    return 2 * x
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    file = tmp_path_factory.mktemp("leading") / "lead.hyb"
    file.write_text(SOURCE)
    return file


@pytest.fixture(scope="module")
def mod(file):
    return hybridc.load(file)


def ones(*shape: int):
    return np.ones(shape, np.float32)


def test_as_many_as_there_are(mod):
    for rank in (0, 3, 5, 5):
        x = ones(*[2] * rank, 3)
        assert (mod.double(x) == 2 * x).all() and mod.double(x).shape == x.shape
    assert mod.double([[[[[[1.0]]]]]]).shape == (1,) * 6
    assert mod.double(ones(*[1] * 64)).ndim == 64
    assert len(mod.double._overloads) == 6  # 0 to 3, 5, 63


def test_several_names(mod):
    for a, b in (((1,) * 4, ()), ((), (2,) * 5), ((1,) * 3, (2,) * 3)):
        x, y = mod.rows(ones(*a, 3), ones(*b, 3))
        assert np.shape(x) == a and np.shape(y) == b and np.all(np.equal(y, 3))


def test_within_containers(mod):
    assert mod.total([ones(1, 1, 1, 1, 2)] * 2) == 4
    assert mod.total([ones(2)], ones(2, 1, 1, 1, 2)) == 6


def test_models(mod):
    m, x = mod.Scale(3), ones(1, 1, 2, 1, 2, 3)
    assert (m(x) == 2 * x).all() and m.loss(x) == 24
    loss, g = m.value_and_grad("loss", x)
    assert loss == 24 and g.tolist() == [4, 4, 4]
    assert (mod.scaled(m, x) == 2 * x).all()
    torch = pytest.importorskip("torch")
    given = torch.ones(1, 1, 2, 1, 2, 3, requires_grad=True)
    m.to_torch()(given).sum().backward()
    assert (given.grad == 2).all()


def test_what_does_not_fit_otherwise(mod):
    for given, found in ((np.ones((1,) * 6), "f64"), (ones(1, 1, 1, 1, 1, 4), r"f32\[1, 1, 1, 1, 1, 4\]")):
        with pytest.raises(hybridc.ArgumentError, match=rf"argument x: expected f32\[\?, \?, \?, \?, \?, 3\], found {found}"):
            mod.Scale(3)(given)
    with pytest.raises(hybridc.ArgumentError, match="argument y: expected"):
        mod.rows(ones(1, 1, 1, 1, 3), 1.0)
    with pytest.raises(hybridc.ArgumentError, match=r"argument x: expected f32\[\?\]"):
        mod.double(ones())


def test_in_an_artifact(file):
    (file.parent / "built.hyb").write_text("from lead import Scale, rows\n\nexport Scale(3)\nexport rows\n")
    (file.parent / "built.hybx").write_bytes(driver.artifact(driver.check(str(file.parent / "built.hyb"))))
    built = hybridc.load(file.parent / "built.hybx")
    m = built.Scale(3)
    assert m(ones(1, 1, 1, 3)).ndim == 4
    with pytest.raises(ValueError, match=r"found f32\[1, 1, 1, 1, 3\]; an artifact has `\*B` for at most 3 dimensions"):
        m(ones(1, 1, 1, 1, 3))
    with pytest.raises(ValueError, match=r"argument y: .*`\*B` for at most 2 dimensions, its source for any number"):
        built.rows(ones(3), ones(1, 1, 1, 3))
