"""The same as test_again.py for a program of two modules with models, derivatives of every kind and closures."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.fuzz.test_again import SECONDS, Compiler, count, edits_of

MODULES = {
    "parts": '''"""Layers, and what losses are made of."""
const SIDE = 3
fn widths(n: int) -> list[int]:
    return [n + i for i in range(2)]
fn square(x: f32) -> f32:
    return x * x
fn pull(x: f64, y: f64, dy: f64) -> f64:
    return dy * x
@custom_grad(pull)
fn bent(x: f64) -> f64:
    return x * x
fn many[T](e: T, n: int) -> list[T]:
    var out: list[T] = []
    for i in range(n):
        out.push(e)
        if len(out) > 7:
            out.push(out[i])
    return out
enum Shape:
    Dot(x: f64)
    Line(from: Shape, to: Shape)
    Bare
fn length(s: Shape) -> f64:
    match s:
        case Dot(x):
            return x * x
        case Line(from, to):
            return length(from) * length(to)
        case _:
            return 1.0
model Layer(n: int, wide: bool = false):
    param w: f32[n, SIDE] = glorot()
    state seen: int = 0
    fn forward(x: f32[n]) -> f32[SIDE]:
        return x @ self.w
model Taught(n: int, factor: f32 = 1.5):
    let wide = n + 1
    let first = Layer(wide)
    let both = [Layer(wide), Layer(wide)]
    param w: f32[wide] = constant(factor)
    state steps: int = 0
    fn forward(x: f32[wide]) -> f32:
        var t = 0.0
        for v in self.first(x * self.w) + self.both[0](x):
            t += square(v)
        return t
    fn loss(x: f32[wide], y: f32) -> f32:
        return square(self(x) - y)
    mut fn count():
        self.steps += 1
''',
    "main": '''from parts import Taught, Layer, Shape, bent, many, length, square, widths
fn held(n: int) -> int:
    return len(many(pick(n), n)) + len(many(pick(2 * n), n))
fn pick(n: int) -> fn(int) -> int:
    if n > 3:
        return pick(n - 1)
    return fn(x: int): x + n
fn lesson(t: Taught, x: f32[4], y: f32) -> f32:
    let l, g = value_and_grad(t.loss)(x, y)
    return l + sum(g * g)
fn teach(x: f32[4], y: f32) -> f32:
    var t = Taught(3)
    t.count()
    return lesson(t, x, y) + f32(t.steps)
fn along(s: list[f64], x: f64) -> f64:
    var t = x
    for v in s:
        t = bent(t) * v if t < 2.0 else t + v
    return t
fn slopes(s: list[f64], x: f64) -> f64:
    let by_list = grad(along)(s, x)
    let by_x = grad(along, wrt="x")(s, x)
    return by_x + by_list[0] + jvp(along, wrt="x")(s, x, 2.0)[1]
fn curved(x: f64) -> f64:
    fn outer(y: f64) -> f64:
        return grad(fn(z: f64): z * z * z * bent(x))(y)
    return grad(outer)(x)
fn shaped(x: f64) -> f64:
    return grad(fn(y: f64): length(Line(Dot(y), Line(Dot(x), Dot(y)))))(x) + length(Dot(x))
fn kept(x: f64) -> f64:
    return grad(fn(y: f64): checkpoint(bent)(y) * y)(x)
fn drawn(q: f32, mut g: rng) -> f32:
    return q * f32(g.categorical([q, 1.0 - q], estimator=exact))
fn chosen(p: f32) -> f32:
    var g = rng(3)
    return grad(drawn)(p, mut g)
fn other(n: int) -> int:
    return n
''',
}
EDITS = (
    ("parts", "SIDE = 3", "SIDE = 4"),
    ("parts", "return x * x\nfn pull", "return x * x * x\nfn pull"),
    ("parts", "return dy * x\n", "return dy * x * 2.0\n"),
    ("parts", "@custom_grad(pull)\n", ""),
    ("parts", "fn bent(x: f64) -> f64:\n    return x * x", "fn bent(x: f64) -> f64:\n    return x + x"),
    ("parts", "            return 1.0", "            return 2.0"),
    ("parts", "return length(from) * length(to)", "return length(from) + length(to)"),
    ("parts", "    Bare\n", "    Bare\n    Twice(of: list[f64])\n"),
    ("parts", "param w: f32[n, SIDE] = glorot()", "param w: f32[n, SIDE] = zeros()"),
    ("parts", "state seen: int = 0", "state seen: f64 = 0.0"),
    ("parts", "    state seen: int = 0\n", ""),
    ("parts", "let wide = n + 1", "let wide = 1 + n"),
    ("parts", "let both = [Layer(wide), Layer(wide)]", "let both = (Layer(wide), Layer(wide, true))"),
    ("parts", "+ self.both[0](x)", "+ self.both[0](x) * self.both[1](x)"),
    ("parts", "let both = [Layer(wide), Layer(wide)]", "let both = [Layer(w) for w in [wide, wide]]"),
    ("parts", "let first = Layer(wide)\n", "let first = Layer(wide)\n    let more = [Layer(w) for w in widths(n)]\n"),
    ("parts", "[n + i for i", "[n + 1 + i for i"),
    ("parts", "param w: f32[wide] = constant(factor)", "param w: f32[wide] = constant(2.0 * factor)"),
    ("parts", "factor: f32 = 1.5", "factor: f32 = 2.5"),
    ("parts", "state steps: int = 0", "state steps: int = 4"),
    ("parts", "t += square(v)", "t += square(v) * v"),
    ("parts", "return square(self(x) - y)", "return square(self(x) - y) * 0.5"),
    ("parts", "fn square", "# a line more\n\nfn square"),
    ("main", "fn held", "# a line more\nfn held"),
    ("main", "return l + sum(g * g)", "return l + sum(g)"),
    ("main", "value_and_grad(t.loss)(x, y)", "value_and_grad(t.loss)(x, 2.0 * y)"),
    ("main", "t.count()\n", "t.count()\n    t.count()\n"),
    ("main", "Taught(3)", "Taught(3, 0.5)"),
    ("main", "t + v\n", "t - v\n"),
    ("main", "by_x + by_list[0] +", "by_x +"),
    ("main", "by_x + by_list[0] + jvp(along, wrt=\"x\")(s, x, 2.0)[1]", "by_list[0]"),
    ("main", "z * z * z", "z * z"),
    ("main", "Line(Dot(y), Line(Dot(x), Dot(y)))", "Line(Dot(y), Dot(x))"),
    ("main", "checkpoint(bent)(y) * y", "bent(y) * y"),
    ("main", 'estimator=exact', 'estimator=reinforce'),
    ("main", "    return n\n", "    let all = [n]\n    return many(fn(x: int): x + n + all[x], n)[0](0)\n"),
    ("main", "    return n\n", "    return n + int(grad(fn(y: f64): bent(y))(f64(n)))\n"),
    ("main", "fn other(n: int) -> int:\n    return n\n", ""),
)
"""Of what derivatives go through, who takes them, models, and what closures hold."""


def test_edits_of_what_is_learnt_change_what_they_concern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = Compiler(monkeypatch)
    again = count(monkeypatch)
    until = time.monotonic() + SECONDS
    plain = compiler.edited(tmp_path, (), True, MODULES)
    assert not isinstance(plain, list), plain
    fine = 0
    for edits in edits_of(EDITS, random.Random(os.environ.get("HYB_FUZZ_SEED", "ci"))):
        warm = compiler.edited(tmp_path, edits, False, MODULES)
        assert warm == (compiler.edited(tmp_path, edits, True, MODULES) if edits else plain), edits
        fine += not isinstance(warm, list)
        if fine > len(EDITS) // 2 and time.monotonic() > until:
            break
    assert again["functions"] > 10 * fine
