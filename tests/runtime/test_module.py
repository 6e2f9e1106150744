"""What a module shows besides its functions."""

from __future__ import annotations

import pytest

import hybridc

pytestmark = pytest.mark.usefixtures("unoptimised")


def test_doc_and_constants(tmp_path):
    file = tmp_path / "shown.hyb"
    file.write_text('"""Doc of shown."""\nconst A = 4\nconst C = A * 1.5\nfn f() -> int:\n    return A\n')
    module = hybridc.load(file)
    assert (module.__doc__, module.A, module.C, module.f()) == ("Doc of shown.", 4, 6.0, 4)


def test_constant_tuples_and_lists(tmp_path):
    file = tmp_path / "several.hyb"
    file.write_text('const T = (1, "a")\nconst L = [(0, 1), (2, 3)]\nfn f() -> int:\n    return T[0]\n')
    module = hybridc.load(file)
    assert (module.T, module.L) == ((1, "a"), [(0, 1), (2, 3)])


def test_built_in_functions_and_those_of_any_size_as_configuration(tmp_path):
    file = tmp_path / "activated.hyb"
    file.write_text("""
fn twice(x: f32[N]) -> f32[N]: return x * 2

fn of_int(x: int) -> int: return x

model Act(d: int, f: fn(f32[d]) -> f32[d] = relu):
    param w: f32[d] = ones()

    fn forward(x: f32[d]) -> f32[d]: return self.f(x * self.w)
""")
    module = hybridc.load(file)
    act = module.Act(2)
    assert repr(act) == "Act(d=2, f=relu)" and act([-1.0, 2.0]).tolist() == [0, 2]
    assert module.Act(2, module.twice)([-1.0, 2.0]).tolist() == [-2, 4]
    with pytest.raises(TypeError, match="expected .* and of_int is another function"):
        module.Act(2, module.of_int)


def test_ints_stay_ints_where_an_overload_takes_them(tmp_path):
    file = tmp_path / "totals.hyb"
    file.write_text(
        "fn total[T: number](xs: list[T]) -> T:\n    return sum(xs)\nexport total[f32]\nexport total[int]\n")
    total = hybridc.load(file).total
    for _ in range(3):  # later calls go another way
        assert type(total([1, 2])) is int and total([1, 2]) == 3 and total([1.5, 2.0]) == 3.5
