"""Models of several configurations in one call, and as the configuration of other models: from source, where a call
compiles what it needs, and from an artifact, which has what is exported."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
from hybridc_runtime import ArgumentError

import hybridc
from hybridc import driver

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = Path(__file__).parent / "programs" / "configurations.hyb"


@pytest.fixture(scope="module", params=["source", "artifact"])
def mod(request, tmp_path_factory):
    if request.param == "source":
        return hybridc.load(SOURCE)
    file = tmp_path_factory.mktemp("built") / "configurations.hybx"
    file.write_bytes(driver.artifact(driver.check(str(SOURCE))))
    return hybridc.load(file)


def ones(*shape):
    return np.ones(shape, np.float32)


def test_models_of_another_declaration_that_a_function_makes(mod):
    made = mod.decoders(mod.Enc(5, 3), 2)
    assert [i for i, _ in made] == [0, 1] and str(made[1][1]) == "Dec(n=4)" and made[0][1](ones(4)) == 4.0


def test_functions_of_two_models(mod):
    f = mod.f
    a, b, d = mod.Enc(5, 3), mod.Enc(5, 4), mod.Dec(3)
    assert [f(a, b), f(b, a), f(b, b), f(a, b=a)] == [55.0, 50.0, 60.0, 45.0]
    assert mod.both(a, d, ones(5)) == 15.0
    with pytest.raises(ArgumentError, match=r"not compiled for Dec\[3\], Enc\[5, 4\]"):
        f(d, b)
    with pytest.raises(ValueError, match="dimension 0 of .* is 4, not 3"):
        mod.both(b, d, ones(5))


def test_both_are_changed(mod):
    a, b = mod.Enc(5, 3), mod.Enc(5, 4)
    mod.grow(a, b)
    assert (a(ones(5)) == 10).all() and (b(ones(5)) == 15).all()
    mod.grow(b, a, by=0.5)
    assert (a(ones(5)) == 30).all() and (b(ones(5)) == 7.5).all()


def test_a_model_that_such_a_function_makes_is_whole(mod):
    made = mod.pick(mod.Enc(5, 3), mod.Enc(5, 4))
    assert (made.called(ones(2)) == 2).all() and made.state_dict()["calls"] == 1


def test_methods_that_take_another_model(mod):
    a, b, d = mod.Enc(5, 3), mod.Enc(5, 4), mod.Dec(3)
    x = ones(5)
    assert [a.beside(a, x), a.beside(b, x), b.beside(a, x), a.beside(other=b, x=x)] == [165.0, 215.0, 170.0, 215.0]
    with pytest.raises(ArgumentError, match="other"):
        a.beside(d, x)
    a.into(b)
    assert a.state_dict()["calls"] == 1 and (b(x) == 10).all()


def test_one_model_is_not_changed_twice_in_a_call(mod):
    a, b = mod.Enc(5, 3), mod.Enc(5, 4)
    with pytest.raises(ArgumentError, match="argument b: what is changed is given as argument a already"):
        mod.grow(a, a)
    with pytest.raises(ArgumentError, match="given as argument self already"):
        b.into(b)
    for _ in range(3):
        mod.grow(mod.Enc(5, 3), a)
    with pytest.raises(ArgumentError, match="argument b"):
        mod.grow(a, a)
    assert (a(ones(5)) == 5 * 27).all() and b.state_dict()["calls"] == 0


def test_derivatives_of_methods_that_take_another_model(mod):
    a, b = mod.Enc(5, 3), mod.Enc(5, 4)
    a.into(b)
    for other, factor in ((a, 1), (b, 2)):
        value, g = a.value_and_grad("loss", ones(5), other)
        assert value == 15 * factor and (g == factor).all() and g.shape == (15,)


def test_a_model_as_configuration(mod):
    m = mod.Wrap(mod.Enc(4, 4))
    assert (m(ones(2, 4)) == 5).all() and "Enc(4, 4)" in repr(m)
    with pytest.raises(ArgumentError, match="expected a model"):
        mod.Wrap(3)
    with pytest.raises((hybridc.CompileError, ValueError), match="gives f32|not in the artifact"):
        mod.Wrap(mod.Dec(3))


def test_functions_as_configuration(mod):
    assert mod.Act(3, mod.twice)(2.0) == 12.0 and mod.Act(3)(1.0) == 6.0
    assert mod.Act(3).act(4.0) == 8.0
    assert mod.Acts([mod.twice, mod.twice])(1.0) == 16.0
    for wrong in ("twice", abs, 3):
        with pytest.raises(ArgumentError, match="expected a function of the module"):
            mod.Act(3, wrong)
    with pytest.raises((TypeError, ValueError), match="other"):
        mod.Act(3, mod.other)
    if mod._specialise is not None:  # an artifact has its configurations only
        for wrong in (lambda: mod.Act(3, mod.Enc(4, 4)), lambda: mod.Acts([mod.twice, mod.Enc(4, 4)])):
            with pytest.raises(TypeError, match=r"expected fn\(f32\) -> f32, found the model Enc"):
                wrong()


def test_tuples_as_configuration():
    mod = hybridc.load(Path(__file__).parent.parent / "lang" / "models" / "tuples.hyb")
    assert mod.Grid(3).size == (3, 3) and mod.Grid(3).step == (1, 1)
    assert mod.Grid([3, 2], n=1).state_dict()["w"].shape == (3, 2)
    for wrong in ("a", (1, 2, 3), 1.5, (1, "a"), True):
        with pytest.raises(ArgumentError, match="argument size: expected"):
            mod.Grid(wrong)
    with pytest.raises(ArgumentError, match=r"expected \(str, int\), found 2"):
        mod.Grid(3, named=2)


def test_generic_functions_that_are_exported():
    # they need type arguments, so they are offered only where an export gives them
    source = hybridc.load(SOURCE)
    assert (source.g(source.Enc(5, 3), ones(5)) == 5).all()
    d = source.Dec(3)
    source.h(d, 2.0)
    assert d(ones(3)) == 6.0


def test_a_module_and_its_values_are_collected_together():
    def use():
        mod = hybridc.load(SOURCE)
        models = [mod.Enc(5, 3), mod.Enc(5, 4)]
        assert mod.f(*models) == 55.0
        models.append(models)
        return weakref.ref(mod)

    gone = use()
    gc.collect()
    assert gone() is None


def test_a_combination_is_compiled_once():
    mod = hybridc.load(SOURCE)
    a, b = mod.Enc(6, 1), mod.Enc(6, 2)
    assert mod.f(a, b) == 30.0
    parts = len(mod._parts)
    assert mod.f(a, b) == 30.0 and len(mod._parts) == parts


def test_native_values_of_models_are_of_a_configuration(mod):
    assert "Enc(" in repr(mod.native(mod.Enc(4, 4), "Enc[4, 4]"))
    with pytest.raises(ValueError, match=r"no Enc was built or exported; a model has a configuration, `Enc\[8\]`"):
        mod.native([], "list[Enc]")
    with pytest.raises(TypeError, match="a type is text"):
        mod.native([], 5)


def test_a_negative_dimension_names_the_argument(tmp_path):
    file = tmp_path / "nets.hyb"
    file.write_text("""
from nn import Linear

model Net(n: int, k: int = 2):
    let lin = Linear(n, k)
    param w: f32[n - 3] = zeros()
""")
    mod = hybridc.load(file)
    for args, message in (
        ((-1,), r"^Net\(\) argument n=-1: the parameter `weight` of Linear\[-1, 2, true\] has the shape f32\[2, -1\]$"),
        ((4, -2), r"^Net\(\) argument k=-2: .* has the shape f32\[-2, 4\]$"),
        ((2,), r"^Net\(\) arguments n=2, k=2: the parameter `w` of Net\[2, 2\] has the shape f32\[-1\]$"),
    ):
        with pytest.raises(ValueError, match=message):
            mod.Net(*args)
    assert mod.Net(3)._vector().size == 8
