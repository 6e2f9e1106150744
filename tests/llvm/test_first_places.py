"""The first places of lines of known length: as of a stable sort, whether they are kept in registers or in a heap."""

from __future__ import annotations

import numpy as np
import pytest

import hybridc

LENGTHS, COUNTS = (1, 3, 8, 64, 65), (1, 2, 4, 5)
CASES = [(n, count) for n in LENGTHS for count in COUNTS if count <= n]
KINDS = {"f32": np.float32, "f64": np.float64, "int": np.int64, "u8": np.uint8, "bf16": np.float32}


@pytest.fixture(scope="module")
def mod(tmp_path_factory: pytest.TempPathFactory):
    lines = [f"fn {kind}_{n}_{count}_{way}(x: {kind}[B, {n}]) -> int[B, {count}]:\n"
             f"    let _, places = topk(x, {count}, largest={'true' if way else 'false'})\n    return places\n"
             for kind in KINDS for n, count in CASES for way in (0, 1)]
    path = tmp_path_factory.mktemp("places") / "p.hyb"
    path.write_text("\n".join(lines))
    return hybridc.load(path)


@pytest.mark.parametrize("kind", KINDS)
def test_against_a_stable_sort(mod, kind: str) -> None:
    rng = np.random.default_rng(5)
    for n, count in CASES:
        x = rng.integers(0, 9, (40, n)).astype(KINDS[kind])
        if kind in ("f32", "f64", "bf16"):
            x[rng.random(x.shape) < 0.15] = np.nan
            x[rng.random(x.shape) < 0.1] = -0.0
        rank = np.where(np.isnan(x), np.inf, x) if kind in ("f32", "f64", "bf16") else x.astype(np.float64)
        given = x
        if kind == "bf16":
            torch = pytest.importorskip("torch")
            given = torch.tensor(x).to(torch.bfloat16)
        for way in (0, 1):
            want = np.argsort(-rank if way else rank, axis=1, kind="stable")[:, :count]
            np.testing.assert_array_equal(np.asarray(getattr(mod, f"{kind}_{n}_{count}_{way}")(given)), want)
