"""Text beside Python's: every method for random texts, and numbers in every format."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import hybridc
from hybridc.front.check.format_specs import unfit

MODULE = hybridc.load(Path(__file__).parent / "text.hyb")
LETTERS = "aabbcAZ09,;- \t\n\r\x0b\x1c\x1f\x85\xa0\u2003\u2028éßǅİς中😀\u0301'\"\\"
texts = st.one_of(st.text(LETTERS, max_size=24), st.text(max_size=12), st.text("ab", max_size=60))
short = st.one_of(st.text(LETTERS, max_size=3), st.text("ab", min_size=1, max_size=2))
places = st.integers(-30, 30)
check = settings(max_examples=300, deadline=None, derandomize=True, database=None,
                 suppress_health_check=[HealthCheck.too_slow])


def outcome(f: Callable[..., Any], *args: Any) -> Any:
    """What it gives, or the kind of its fault."""
    try:
        return f(*args)
    except (ValueError, IndexError) as e:
        return IndexError if isinstance(e, IndexError) else ValueError


@check
@given(texts, short, st.integers(-1, 4))
@example("  a b  ", " ", 1)
@example("a\nb\rc\r\nd\x0be\x0cf\x1cg\x1dh\x1ei\x1fj\x85k\u2028l\u2029m\u202an\xa0o", "\n", -1)
def test_in_parts(s: str, sep: str, n: int) -> None:
    assert outcome(MODULE.parts, s, sep, n) == outcome(
        lambda: (s.split(sep), s.split(sep, n), s.split(), s.split(None, n)))
    assert outcome(MODULE.apart, s, sep) == outcome(s.partition, sep)
    assert MODULE.lines(s) == s.splitlines()
    assert MODULE.counted(s) == list(Counter(s.split()).items())


@check
@given(texts, short, places)
def test_found(s: str, part: str, start: int) -> None:
    assert MODULE.found(s, part, start) == (
        s.find(part), s.find(part, start), s.rfind(part), s.count(part), s.startswith(part), s.endswith(part), part in s)
    assert outcome(MODULE.place, s, part, start) == outcome(s.index, part, start)


@check
@given(texts, short, st.text(LETTERS, max_size=4), st.integers(-1, 5))
def test_replaced(s: str, old: str, new: str, n: int) -> None:
    assert MODULE.replaced(s, old, new, n) == (s.replace(old, new), s.replace(old, new, n))


@check
@given(texts, short)
def test_stripped(s: str, chars: str) -> None:
    assert MODULE.stripped(s, chars) == [
        s.strip(), s.lstrip(), s.rstrip(), s.strip(chars), s.lstrip(chars), s.rstrip(chars), s.removeprefix(chars),
        s.removesuffix(chars)]


@check
@given(texts)
def test_cases(s: str) -> None:
    changed = [s.lower(), s.upper(), s.capitalize(), s.title(), s.swapcase()]
    assert MODULE.cases(s) == (
        changed, [s.isdigit(), s.isalpha(), s.isalnum(), s.isspace(), s.islower(), s.isupper()])


@check
@given(texts, st.integers(-2, 30), st.sampled_from(["-", "é", "😀", "0"]))
def test_wide(s: str, width: int, fill: str) -> None:
    assert MODULE.wide(s, width, fill) == [
        s.ljust(width), s.rjust(width), s.center(width), s.ljust(width, fill), s.rjust(width, fill),
        s.center(width, fill), s.zfill(width)]


@check
@given(texts, places, places, places)
def test_slices(s: str, a: int, b: int, c: int) -> None:
    assert outcome(MODULE.slices, s, a, b, c) == outcome(lambda: (s[a:b], s[a:], s[:b], s[a:b:c], s[::c]))
    assert outcome(MODULE.letter, s, a) == outcome(lambda: s[a])
    assert MODULE.pieces(s) == (list(s), len(s), list(s.encode()), list(s))


@check
@given(st.lists(texts, max_size=6), short)
def test_joined(xs: list[str], sep: str) -> None:
    assert MODULE.joined(xs, sep) == (sep.join(xs), "".join(xs), sep * len(xs))


@check
@given(texts, texts)
def test_compared(a: str, b: str) -> None:
    for x, y in ((a, b), (a, a), (a, a + b)):
        assert MODULE.compared(x, y) == [x == y, x != y, x < y, x <= y, x > y, x >= y]


@check
@given(texts)
def test_shown(s: str) -> None:
    assert MODULE.shown(s) == (repr(s), repr([s]))


@check
@given(st.one_of(st.text("0019+- _", max_size=8), st.integers(-2**70, 2**70).map(str)))
def test_whole_numbers_read(s: str) -> None:
    want = outcome(int, s)
    if isinstance(want, int) and not -2**63 <= want < 2**63:
        want = ValueError
    assert outcome(MODULE.whole, s) == want


@check
@given(st.one_of(st.text("0195+-.eE _", max_size=10), st.floats().map(repr), st.sampled_from(["inf", "-Infinity", "NaN", "1e999"])))
def test_numbers_read(s: str) -> None:
    found, want = outcome(MODULE.number, s), outcome(float, s)
    assert repr(found) == repr(want)


# ---- formats
FILLS, ALIGNS, SIGNS = ["", "*", "é", "0", "<"], ["", "<", ">", "=", "^"], ["", "+", "-", " "]


def specs(kinds: str, count: int, seed: int) -> list[str]:
    """Random ones, some of which Python does not have."""
    some, found = random.Random(seed), dict[str, None]()
    while len(found) < count:
        align = some.choice(ALIGNS)
        parts = [some.choice(FILLS) if align else "", align, some.choice(SIGNS), some.choice(["", "", "z"]),
                 some.choice(["", "", "#"]), some.choice(["", "0"]), some.choice(["", "3", "12", "21"]),
                 some.choice(["", "", ",", "_"]), some.choice(["", "", ".0", ".3", ".7"]), some.choice(["", *kinds])]
        found["".join(parts)] = None
    return list(found)


SAMPLES: dict[str, Any] = {"int": 1234, "float": 0.5, "str": "a", "bool": True}
TYPES = {"int": "int", "float": "f64", "str": "str", "bool": "bool"}
SPECS = {"int": specs("bdoxXneEfFgG%s", 400, 1), "float": specs("eEfFgG%ndxs", 400, 2), "str": specs("sd", 200, 3),
         "bool": specs("dxgs", 100, 4)}


def meant(value: Any, spec: str) -> Any:
    """A bool is the text `true` or `false` where no type says that a number is meant."""
    return ("true" if value else "false") if type(value) is bool and spec[-1:] not in ("d", "x", "g") else value


def python_has(kind: str, spec: str) -> bool:
    try:
        format(meant(SAMPLES[kind], spec), spec)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("kind", SPECS)
def test_which_formats_there_are(kind: str) -> None:
    assert [s for s in SPECS[kind] if (unfit(s, kind) is None) != python_has(kind, s)] == []


@pytest.fixture(scope="module")
def formats(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, list[str]]]:
    """A function of each kind that gives a value in every format there is."""
    chosen = {kind: [s for s in found if python_has(kind, s)][:70] for kind, found in SPECS.items()}
    path = tmp_path_factory.mktemp("formats") / "formats.hyb"
    path.write_text("\n".join(
        f"fn of_{kind}(x: {TYPES[kind]}) -> list[str]:\n    return [" + ", ".join(f"f'{{x:{s}}}'" for s in found) + "]\n"
        for kind, found in chosen.items()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYB_OPT", "0")
        return hybridc.load(path), chosen


def same(formats: tuple[Any, dict[str, list[str]]], kind: str, value: Any) -> None:
    module, chosen = formats
    for spec, found in zip(chosen[kind], getattr(module, f"of_{kind}")(value), strict=True):
        assert found == format(meant(value, spec), spec), spec


few = settings(check, max_examples=60)


@few
@given(x=st.one_of(st.integers(-2**63, 2**63 - 1), st.integers(-2000, 2000)))
def test_formats_of_ints(formats: Any, x: int) -> None:
    same(formats, "int", x)


@few
@given(x=st.characters(codec="utf-8"))
def test_letters_by_number(x: str) -> None:
    assert MODULE.letters(ord(x)) == [format(ord(x), spec) for spec in ("c", "*^5c")]


@few
@given(x=st.one_of(st.floats(), st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 0.5, 2.5, 1e16])))
def test_formats_of_floats(formats: Any, x: float) -> None:
    same(formats, "float", x)


@few
@given(x=texts)
def test_formats_of_text(formats: Any, x: str) -> None:
    same(formats, "str", x)


@pytest.mark.parametrize("x", [False, True])
def test_formats_of_bools(formats: Any, x: bool) -> None:
    same(formats, "bool", x)
