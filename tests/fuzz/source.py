"""Hostile source: any bytes, programs of this repository changed at random or cut off, Core's text likewise. Whatever
the compiler is given, it answers with diagnostics or a program, in bounded time and memory."""

from __future__ import annotations

import itertools
import random
import resource
import signal
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hybridc import checking, driver, pipeline
from hybridc.base.diagnostic import CompileError
from hybridc.core.printer import print_program
from hybridc.core.reader import read
from hybridc.core.verify import verify
from hybridc.link import surface
from hybridc.passes import dce

ROOT = Path(__file__).parents[2]
SECONDS = 10.0
"""What one input may take, of the processor's time."""
MEMORY = 4 << 30
"""Address space, in bytes: what asks for more gets a MemoryError."""
TOKENS = (
    "fn let var mut if elif else for in while break continue return match case pass and or not true false none self parallel "
    "assert raise struct enum import const model param state from as export extern test grad value_and_grad int f32 f64 str list "
    "map set heap deque graph store rng bool i32 u8 f16 bf16 x y N *B ? -> => : , . ( ) [ ] { } + - * / // % ** @ & | ^ ~ << >> == "
    "!= < <= > >= = += ?? 0 1 2.5 1e400 0x1f 99999999999999999999 \"a\" f\"{x}\" '' \\ # \t \n \n\u0020\u0020\u0020\u0020 _ "
    "zeros() shape [0] [1:] .T concat range len print \ufeff \x00 é \u2028 \\u0000 'unclosed \"\"\" f\"{ @custom_grad extern"
).split(" ")

PHRASES = (
    "-1|9223372036854775807|9223372036854775808|inf|nan|()|[]|{}|(1, 2)|fn(x): x|fn(): 1|zeros(0)|zeros([])|tensor([1.0])|zeros()|"
    "list[int]|list[list[f32[N]]]|map[str, int]|set[int]|heap[int, str]|deque[int]|graph[int, f32]|store[str, int]|f32[3]|f32[0]|"
    "f32[N]|f32[?]|f32[*B]|f32[N + 1]|int[N]|int?|f32[N]?|(int, str)|fn(int) -> int"
).split("|")
"""Values and types at the edges of what there are, for a word."""


@dataclass
class Wrong:
    kind: str
    data: bytes


@dataclass
class Tally:
    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    slowest: float = 0.0
    seconds: float = 0.0
    wrong: list[Wrong] = field(default_factory=list)


def corpus() -> list[str]:
    """The programs of the repository."""
    files = sorted([*ROOT.glob("tests/**/*.hyb"), *ROOT.glob("examples/**/*.hyb"), *ROOT.glob("hybridc/std/*.hyb")])
    return [f.read_text() for f in files]


# ---- making
def noise(rng: random.Random) -> bytes:
    """Any bytes, or any tokens."""
    if rng.random() < 0.4:
        return rng.randbytes(rng.randint(0, 200))
    if rng.random() < 0.3:
        return "".join(chr(rng.choice((rng.randint(0, 127), rng.randint(0, 0x2FFF), rng.randint(0x10000, 0x1FFFF))))
                       for _ in range(rng.randint(0, 80))).encode("utf-8", "surrogatepass")
    return rng.choice(("", " ")).join(rng.choice(TOKENS) for _ in range(rng.randint(1, 60))).encode()


def deep(rng: random.Random) -> bytes:
    """Much of one thing."""
    n = rng.choice((50, 99, 101, 500, 3000))
    a, b = rng.choice((("(", ")"), ("[", "]"), ("{", "}"), ("-", ""), ("not ", ""), ("f(", ")"), ("x[", "]"), ("fn(x): ", ""), ("1 + ", ""),
                       ("1 if x else ", ""), ("f32[", "]"), ("list[", "]"), ("a.", ""), ("1 ** ", ""), ("x ?? ", ""), ("~", ""), ("{1: ", "}")))  # fmt: skip
    kind = rng.randint(0, 4)
    if kind == 0:
        return ("fn f(x: int) -> int:\n    return " + a * n + "x" + b * n + "\n").encode()
    if kind == 1:
        return "".join("    " * i + "if true:\n" for i in range(1, n)).join(("fn f():\n", "    " * n + "pass\n")).encode()
    if kind == 2:
        return ("fn f(x: " + a * n + "int" + b * n + "): pass\n").encode()
    if kind == 3:
        return "".join(f"fn f{i}() -> int: return f{i + 1}()\n" for i in range(n)).encode()
    return ("const A = " + a * n + "1" + b * n + "\n").encode()


def mutated(text: str, rng: random.Random, others: list[str]) -> str:
    """A text changed in a few places: characters, tokens, lines, parts of another text; or cut off."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(text) + 1)
        kind = rng.randint(0, 10)
        if kind == 0:
            text = text[:at]
        elif kind == 1:
            text = text[:at] + text[at + rng.randint(1, 12) :]
        elif kind == 2:
            text = text[:at] + rng.choice(TOKENS) + text[at:]
        elif kind == 3:
            text = text[:at] + chr(rng.choice((rng.randint(0, 127), rng.randint(128, 0x2FFF)))) + text[at + 1 :]
        elif kind in (4, 5, 6, 10):
            words = _words(text)
            if len(words) < 2:
                continue
            (a, b), (c, d) = rng.choice(words), rng.choice(words)
            text = text[:a] + (text[c:d] if kind < 6 else rng.choice(TOKENS if kind == 6 else PHRASES)) + text[b:]
        else:
            lines = text.split("\n")
            i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
            if kind == 7:
                lines[i], lines[j] = lines[j], lines[i]
            elif kind == 8:
                del lines[i]
            else:
                other = rng.choice(others).split("\n")
                lines.insert(i, rng.choice(other))
            text = "\n".join(lines)
    return text


def _words(text: str) -> list[tuple[int, int]]:
    found, start = [], -1
    for i, c in enumerate(text):
        if c.isalnum() or c == "_":
            start = i if start < 0 else start
        elif start >= 0:
            found.append((start, i))
            start = -1
    return found


def section(text: str, rng: random.Random) -> str:
    """Some declarations of a text, so that one input takes little time."""
    parts: list[str] = []
    for line in text.split("\n"):
        if not parts or line and not line[0].isspace() and line[0] != ")":
            parts.append(line)
        else:
            parts[-1] += "\n" + line
    start = rng.randrange(len(parts))
    return "\n".join(parts[start : start + rng.randint(1, 12)])


def inputs(seed: str, texts: list[str], core: list[str]) -> Iterator[tuple[str, bytes]]:
    """(kind, bytes) without end."""
    rng = random.Random(seed)
    while True:
        kind = rng.random()
        if kind < 0.15:
            yield "source", noise(rng)
        elif kind < 0.2:
            yield "source", deep(rng)
        elif kind < 0.8:
            text = rng.choice(texts)
            yield "source", mutated(section(text, rng) if rng.random() < 0.9 else text, rng, texts).encode("utf-8", "surrogatepass")
        else:
            yield "core", mutated(rng.choice(core), rng, core).encode("utf-8", "surrogatepass")


# ---- trying
class TooSlow(BaseException):
    """An input took longer than it may."""


def _late(signum: int, frame: object) -> None:
    raise TooSlow


def try_source(data: bytes, path: Path, deep_share: float) -> bool:
    """Whether it is a program; what is not has diagnostics. A share of the programs goes on, to optimised Core."""
    path.write_bytes(data)
    try:
        checked = checking.check(str(path))
        core, interface = driver.lower(checked, all_names=True)
        if deep_share > random.Random(data).random():
            pipeline.optimise(core, interface, checked.sources)
    except CompileError as e:
        assert e.diagnostics, "refused without a diagnostic"
        str(e)
        return False
    return True


def try_core(data: bytes) -> bool:
    """Whether it is Core's text, well formed; printed, it reads back."""
    program, wrong = read(data.decode("utf-8", "replace"))
    if wrong or program is None:
        assert wrong, "refused without a diagnostic"
        return False
    if verify(program):
        return False
    again, wrong = read(print_program(program))
    assert not wrong and again == program, "printed Core does not read back"
    return True


def attempt(kind: str, data: bytes, path: Path, tally: Tally, deep_share: float = 0.2) -> None:
    """One input. What is wrong goes into the tally."""
    started = time.process_time()
    signal.signal(signal.SIGVTALRM, _late)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    what = ""
    try:
        accepted = try_core(data) if kind == "core" else try_source(data, path, deep_share)
        tally.accepted += accepted
        tally.refused += not accepted
    except TooSlow as e:
        last = traceback.extract_tb(e.__traceback__)[-4:]
        what = "slow in " + " < ".join(f"{Path(f.filename).name}:{f.name}" for f in reversed(last))
    except BaseException as e:  # whatever it is, it is what is looked for
        if isinstance(e, KeyboardInterrupt):
            raise
        last = traceback.extract_tb(e.__traceback__)[-1]
        what = f"{type(e).__name__} in {Path(last.filename).name}:{last.name}:{last.lineno} {str(e)[:200]}"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    tally.inputs += 1
    tally.slowest = max(tally.slowest, time.process_time() - started)
    if what:
        tally.wrong.append(Wrong(f"{kind} {what}", data))


def core_corpus(texts: list[str], path: Path) -> list[str]:
    """Core's text of some small programs."""
    found = []
    for text in texts:
        if len(text) < 2500:
            path.write_text(text)
            try:
                core, interface = driver.lower(checking.check(str(path)), all_names=True)
            except CompileError:
                continue
            shown = print_program(dce.prune(core, surface.symbols(interface)))
            if len(shown) < 12_000:
                found.append(shown)
    return found


def run(seed: str, count: int, folder: Path, seconds: float | None = None) -> Tally:
    """`count` inputs, or as many as `seconds` allow."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    tally, started = Tally(), time.monotonic()
    texts = corpus()
    path = folder / "case.hyb"
    core = core_corpus(texts, path)
    texts = [t for t in texts if len(t) < 30_000]
    for kind, data in itertools.islice(inputs(seed, texts, core), count):
        attempt(kind, data, path, tally)
        if seconds is not None and time.monotonic() - started > seconds:
            break
    tally.seconds = time.monotonic() - started
    return tally


__all__ = ["Tally", "Wrong", "attempt", "corpus", "inputs", "run"]
