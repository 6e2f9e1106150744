"""What runs once is kept small, and nothing else is."""

from __future__ import annotations

from pathlib import Path

from hybridc import driver, pipeline
from hybridc.link import surface

SOURCE = '''
model M(n: int):
    param w: f32[n, n] = normal(0.1)

    fn forward(x: f32[n]) -> f32[n]:
        return self.w @ x

fn shared(n: int) -> int:
    assert n > 0, "positive"
    return n * n + n // 3

fn turns(n: int) -> int:
    var total = 0
    for i in range(n):
        total += shared(i + 1)
    return total

fn several() -> int:
    var made = 0
    for i in range(3):
        made += int(sum(M(5, seed=i)(ones(5))) != 0.0)
    return made + int(sum(M(5, seed=4)(ones(5))) != 0.0)

export turns
export several

test "one is made":
    assert sum(M(3)(ones(3))) != sum(M(3, seed=1)(ones(3)))

test "another is made":
    assert sum(M(3)(zeros(3))) == 0.0 and several() > 0
'''


def test_initialisers_that_only_tests_call(tmp_path: Path) -> None:
    file = tmp_path / "once.hyb"
    file.write_text(SOURCE)
    checked = driver.check(str(file))
    core, interface = driver.lower(checked, tests=True)
    once = surface.once(interface, pipeline.optimise(core, interface, checked.sources))
    assert {"one is made", "another is made", "M[3].init"} <= once
    assert not {"turns", "several", "shared", "M[5].init"} & once  # called from outside, or in loops
