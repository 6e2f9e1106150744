"""Defaults of fields are computed once where nobody can change them."""

from __future__ import annotations

import pytest

import hybridc
from hybridc.build import write_artifact

pytestmark = pytest.mark.usefixtures("unoptimised")

SOURCE = """
enum Kind:
    Plain
    Sized(n: int)
    Named(name: str, tags: list[str] = ["new"], kind: Kind? = none, scale: f64 = 1.0 / 4.0)

struct Settings:
    rate: f64 = 1.0 / 4.0
    pair: (int, str) = (1, "a")
    name: str? = none
    kind: Kind = Plain
    sized: Kind = Sized(3)
    steps: list[int] = [1, 2]

fn steps(mut s: Settings) -> int:
    s.steps.push(3)
    return len(s.steps)
"""


def test_defaults_are_apart(tmp_path):
    (tmp_path / "settings.hyb").write_text(SOURCE)
    mod = hybridc.load(tmp_path / "settings.hyb")
    asked = []
    part = mod._parts[0]
    helper = part.codec.helper
    part.codec.helper = lambda symbol, *rest: asked.append(symbol) or helper(symbol, *rest)
    first, second = mod.Settings(), mod.Settings(rate=2.0)
    assert first.pair == (1, "a") and first.kind is mod.Kind.Plain and first.name is None and second.rate == 2.0
    first.steps.append(9)
    assert second.steps == [1, 2] and mod.Settings().steps == [1, 2] and mod.steps(second) == 3
    again = [s.partition(".")[2].partition(" ")[0] for s in set(asked) if asked.count(s) > 1]
    assert sorted(again) == ["sized", "steps"]  # Python can change a list, and what holds one


def test_fields_of_cases(tmp_path):
    (tmp_path / "settings.hyb").write_text(SOURCE + "\nfn same(k: Kind) -> Kind:\n    return k\n")
    artifact = write_artifact(str(tmp_path / "settings.hyb"), str(tmp_path), target="cpu:host")
    for mod in hybridc.load(tmp_path / "settings.hyb"), hybridc.load(artifact):
        first = mod.Kind.Named("a")
        assert (first.tags, first.kind, first.scale) == (["new"], None, 0.25)
        first.tags.append("old")
        assert mod.Kind.Named(name="b", scale=2.0) == mod.Kind.Named("b", ["new"], None, 2.0)
        assert mod.same(mod.Kind.Named("c")).tags == ["new"]
        with pytest.raises(TypeError, match="needs field 'name'"):
            mod.Kind.Named(tags=[])
    stub = next(tmp_path.glob("*.pyi")).read_text()
    assert "def __init__(self, name: str, tags: list[str] = ..., kind: Kind | None = ..., scale: float = ...)" in stub
