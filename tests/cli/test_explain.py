"""`hybridc explain`."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybridc.explaining import explain

SOURCE = '''\
fn layer(x: f32[N, 64], w: f32[64, 32]) -> f32[N, 32]:
    return relu(x @ w) + 1.0

fn two(x: f32[N, 64], w: f32[64, 512], v: f32[512, 32]) -> f32[N, 32]:
    return softmax(x @ w) @ v
'''


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "p.hyb").write_text(SOURCE)
    return str(tmp_path / "p.hyb")


def test_cpu(file: str) -> None:
    text = explain(file, "layer")
    assert "two(" not in text and f"kernel 1 ({file}:2): product" in text
    # 2·64·32 for each row and three operators on its 32 columns.
    assert "bytes: 256·x.0 + 8 192 read, 128·x.0 written" in text and "operations: 4 192·x.0" in text


def test_gpu(file: str) -> None:
    text = explain(file, "two", target="cuda:sm_90")
    assert text.count("transfer to the GPU") == 3 and text.count("transfer to the host") == 1
    assert "not in one kernel:" in text and ": a product of a product" in text


def test_no_such_function(file: str) -> None:
    with pytest.raises(LookupError, match="no function three"):
        explain(file, "three")
