"""What is said of torch's functions that are none here: each expression that a help shows is one of Hyb."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hybridc.base.diagnostic import CompileError
from hybridc.checking import check
from hybridc.front.parse.torch_names import ARGUMENTS, FUNCTIONS

HEAD = """fn f(x: f32[4, 4], y: f32[4, 4], p: f32[4, 4], q: f32[4, 4], v: f32[4], mask: bool[4, 4], i: int[4],
     j: int[4, 4], n: int, k: int):
    var t = x
    var counts: int[?] = zeros(n)
    var g = rng(n)
    let keep = i != n
"""
WORDS = {"f32(x)", "x", "set", "grad", "log_softmax", "n", "k"}
"""In backticks, but no expressions."""
STATEMENTS = ("let ", "var ", "from ")


def expressions(text: str) -> list[str]:
    return [e for e in re.findall(r"`([^`]+)`", text) if e not in WORDS]


@pytest.mark.parametrize("name", [*FUNCTIONS, *ARGUMENTS])
def test_each_help_is_hyb(name: str, tmp_path: Path) -> None:
    shown = expressions({**FUNCTIONS, **ARGUMENTS}[name])
    body, heads = [], []
    for n, e in enumerate(shown):
        if e.startswith("from "):
            heads.append(f"{e}\n")
        elif not e.startswith(STATEMENTS):
            body.append(f"    {e}\n" if "+= " in e or re.match(r"t\[.*\] = ", e) else f"    let e{n} = {e}\n")
    path = tmp_path / "p.hyb"
    path.write_text("".join([*heads, HEAD, *body]))
    check(str(path))


@pytest.mark.parametrize("line, help", [
    ("leaky_relu(x)", "where(x > 0, x, 0.01 * x)"), ("x.masked_fill(x > 0, 1.0)", "where(mask, 0.0, x)"),
    ("x.t()", "x.T"), ("x.flatten()", "reshape(x, -1)"), ("gelu(x, approximate=\"tanh\")", "tanh(0.7978845608"),
    ("cross_entropy(x, i, ignore_index=0)", "cross_entropy(x[keep], i[keep])"),
    ("var(x)", "mean((x - mean(x)) ** 2)"),
])  # fmt: skip
def test_where_it_is_said(line: str, help: str, tmp_path: Path) -> None:
    path = tmp_path / "p.hyb"
    path.write_text(f"fn f(x: f32[4, 4], i: int[4]):\n    let y = {line}\n")
    with pytest.raises(CompileError) as e:
        check(str(path))
    assert len(e.value.diagnostics) == 1
    assert help in str(e.value.diagnostics[0].help)


def test_arguments_may_have_torchs_names(tmp_path: Path) -> None:
    path = tmp_path / "p.hyb"
    path.write_text("fn f(x: f32[4, 4], m: bool[4, 4]) -> f32[4, 4]:\n"
                    "    return attention(query=x, key=x, value=x, attn_mask=m, is_causal=true)\n")
    check(str(path))
