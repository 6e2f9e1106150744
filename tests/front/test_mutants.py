"""Programs of the tests with one or two words of them changed: each is a program, or has errors that can be shown. The
compiler's own exceptions (a number, size or type that no test was written with) are what this is to find."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from hybridc import driver
from hybridc.base.diagnostic import CompileError

ROOT = Path(__file__).parents[1]
FILES = sorted(p for folder in ("lang", "autodiff", "front/check") for p in (ROOT / folder).rglob("*.hyb")
               if p.stat().st_size < 6000)
TOKEN = re.compile(r'[A-Za-z_]\w*|\d[\w.]*|"[^"\n]*"|[-+*/%@<>=!&|^~?:]+|[()\[\]{},.]|\s+|.')
WORD = re.compile(r"[A-Za-z_]\w*$")
LITERALS = """0|-1|1|2|9223372036854775807|9223372036854775808|1.5|"a"|none|true|[]|{}|()|[0]|nan|inf|1e400|(1, 2)|fn(x): x
|fn(): 1|zeros(0)|zeros([])|tensor([1.0])|zeros()|_|self""".replace("\n", "").split("|")
TYPES = """int|f32|f64|i32|u8|f16|bool|str|list[int]|list[f32]|map[str, int]|set[int]|heap[int, str]|deque[int]|f32[3]|f32[N]
|f32[?]|f32[*B]|int[N]|int?|f32[N]?|(int, str)|fn(int) -> int|rng|T|f32[0]|list[list[f32[N]]]|f32[N + 1]|()""".replace(
    "\n", "").split("|")
OPERATORS = "+ - * / // % ** @ == < and or in ?? | & ^ << >> != . , if".split()


def mutant(text: str, draw: random.Random) -> str:
    """With a word, a number, a type or an operator replaced, or a line gone, twice or elsewhere."""
    if draw.random() < 0.3:
        lines = text.split("\n")
        a, b = draw.randrange(len(lines)), draw.randrange(len(lines))
        lines[a:a + 1] = draw.choice([[], [lines[a], lines[a]], [lines[b]]])
        return "\n".join(lines)
    tokens = TOKEN.findall(text)
    words = [i for i, t in enumerate(tokens) if WORD.match(t)]
    places, others = draw.choice([
        (words, [tokens[i] for i in words]), (words, LITERALS + TYPES),
        ([i for i, t in enumerate(tokens) if t[0].isdigit() or t[0] == '"'], LITERALS),
        ([i for i, t in enumerate(tokens) if t in TYPES], TYPES),
        ([i for i, t in enumerate(tokens) if t in OPERATORS], OPERATORS)])
    if places:
        tokens[draw.choice(places)] = draw.choice(others)
    return "".join(tokens)


@pytest.mark.parametrize("seed", range(8))
def test_no_exception_of_the_compilers_own(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYB_VERIFY", "1")
    draw, file = random.Random(seed), tmp_path / "mutant.hyb"
    for _ in range(40):
        text = draw.choice(FILES).read_text(encoding="utf-8")
        for _ in range(draw.choice([1, 1, 2])):
            text = mutant(text, draw)
        file.write_text(text, encoding="utf-8")
        try:
            driver.lower(driver.check(str(file)), tests=True)
        except CompileError as e:
            assert "error[HYB" in str(e)
        except Exception as e:
            raise AssertionError(f"{type(e).__name__}: {e}\n{text}") from e
