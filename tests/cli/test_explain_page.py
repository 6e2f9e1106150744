"""`hybridc explain --html`: one page that needs nothing else, in which kernels and the lines they come from show each
other, with the mouse and with the keyboard."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from hybridc.cli import main

sys.path.insert(0, str(Path(__file__).parent))
from browser import Browser, find  # noqa: E402

pytestmark = pytest.mark.usefixtures("unoptimised")

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SOURCE = """\
fn layer(x: f32[N, 64], w: f32[64, 256]) -> f32[N, 256]:
    let y = x @ w
    return relu(y) + 1.0

fn turns(x: f32[N, 64], w: f32[64, 256], n: int) -> f32:
    var total = 0.0
    for i in range(n):
        let y = layer(x, w)
        print(i)
        total += sum(y * f32(i)) if i < 3 else 0.0
    return total
"""
TAB, ENTER, ESCAPE, DOWN = ("Tab", 9), ("Enter", 13), ("Escape", 27), ("ArrowDown", 40)
LIT = 'Array.from(document.querySelectorAll(".lit"), e => e.id).sort().join(" ")'
FOCUS = "document.activeElement.id"


def write(path: Path, source: Path, *options: str) -> str:
    result = CliRunner().invoke(main, ["explain", str(source), "--html", "-o", str(path), *options])
    assert result.exit_code == 0, result.output
    return path.read_text()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "p.hyb"
    path.write_text(SOURCE)
    return path


class Checker(HTMLParser):
    """Elements that stay open, references to elsewhere, identifiers and what refers to them."""

    EMPTY = ("meta", "link", "br", "img")

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.of: set[str] = set()
        self.elsewhere: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.EMPTY:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href"):
                self.elsewhere.append(value or "")
            if name == "data-of":
                self.of |= set((value or "").split())

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("target", ["cpu", "cuda:sm_90"])
def test_the_page_holds_together(file: Path, tmp_path: Path, target: str) -> None:
    text = write(tmp_path / "p.html", file, "--target", target)
    found = Checker(text)
    assert not found.open and not found.elsewhere and len(set(found.ids)) == len(found.ids)
    assert found.of <= set(found.ids)
    assert not re.search(r"https?://|@import|url\(", text)
    assert "product, le, select, add" in text or "product, maximum, add" in text or "product" in text
    assert ">loop " in text and (">if " in text or ">else " in text)
    assert ("transfer to the GPU" in text) == (target != "cpu")


@pytest.fixture(scope="module")
def browser(file: Path, tmp_path_factory: pytest.TempPathFactory):
    program = find()
    if program is None:
        pytest.skip("there is no Chromium here (apt-get install chromium)")
    page = tmp_path_factory.mktemp("opened") / "p.html"
    write(page, file, "--target", "cuda:sm_90")
    opened = Browser(program, page.as_uri())
    yield opened
    opened.close()


def opens_alone(browser: Browser) -> None:
    """From the disk, with no other file or address and nothing wrong."""
    asked = [e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
    assert len(asked) == 1 and asked[0].startswith("file://")
    assert not [e for e in browser.events if e.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown")]


def test_opens_from_disk_alone(browser: Browser) -> None:
    opens_alone(browser)
    assert browser.value("document.title").endswith("p.hyb")
    color = 'getComputedStyle(document.querySelector("#l0-2 code")).color'
    assert browser.value(color) != browser.value('getComputedStyle(document.querySelector("#source h2")).color')


def test_the_keyboard(browser: Browser) -> None:
    browser.value("document.activeElement.blur(); document.querySelector('#l0-2').focus()")
    # The product of line 2 and what follows it in line 3 are one kernel, in the function and where it is inlined.
    kernels = browser.value("document.querySelector('#l0-2').dataset.of").split()
    lit = browser.value(LIT).split()
    assert "l0-2" in lit and set(kernels) <= set(lit)
    browser.press(*ENTER)
    assert browser.value(FOCUS) == kernels[0] and {"l0-2", "l0-3"} <= set(browser.value(LIT).split())
    browser.press(*ENTER)
    assert browser.value(FOCUS) == "l0-2"
    browser.press(*DOWN)
    assert browser.value(FOCUS) == "l0-3"
    browser.press(*TAB)
    assert browser.value(FOCUS) not in ("", "l0-3") and browser.value(LIT)
    browser.press(*ESCAPE)
    assert browser.value(FOCUS) == "" and browser.value(LIT) == ""


def test_the_mouse(browser: Browser) -> None:
    box = browser.value("JSON.parse(JSON.stringify(document.querySelector('#l0-2').getBoundingClientRect()))")
    browser.move(box["x"] + 20, box["y"] + 5)
    kernels = browser.value("document.querySelector('#l0-2').dataset.of").split()
    assert set(kernels) <= set(browser.value(LIT).split())


MODELS = ("alphazero", "treelstm", "translate", "ponder", "memory", "router", "routes", "digitsum")


@pytest.mark.parametrize("name", MODELS)
def test_a_page_of_an_example(name: str, tmp_path: Path) -> None:
    page = tmp_path / "p.html"
    found = Checker(write(page, EXAMPLES / name / f"{name}.hyb"))
    assert not found.open and not found.elsewhere
    assert found.of <= set(found.ids) and len(found.of) > 5
    program = find()
    if program is None:
        return
    opened = Browser(program, page.as_uri())
    try:
        opens_alone(opened)
        line = opened.value("document.querySelector('[id^=l0-][data-of]').id")
        kernel = opened.value(f"document.querySelector('#{line}').dataset.of").split()[0]
        opened.value(f"document.querySelector('#{line}').focus()")
        assert {line, kernel} <= set(opened.value(LIT).split())
        opened.press(*ENTER)
        assert opened.value(FOCUS) == kernel and {line, kernel} <= set(opened.value(LIT).split())
    finally:
        opened.close()
