"""Runs many cases in processes of their own, since what is tested may crash or hang."""

from __future__ import annotations

import gc
import multiprocessing
import os
import re
import resource
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hybridc.base.diagnostic import CompileError
from tests.fuzz import compare, engines
from tests.fuzz.judge import judged
from tests.fuzz.program import Case, case, file_of
from tests.fuzz.slopes import judge

MEMORY = 6 << 30
"""Address space of a process, in bytes: what asks for more is told so."""
_CONTEXT = multiprocessing.get_context("fork")


@dataclass
class Failure:
    """`kind`: "differs", "leak", "refused CODE", "traceback ...", "crash ...", "hang". `source` is the program."""

    kind: str
    detail: str
    source: str
    name: str = ""
    seed: str = ""


@dataclass
class Tally:
    """`constant`: losses that are rightly refused, since what they were given decides nothing. `judged`: cases of which
    the oracle knows what they mean, or points at which central differences say what the derivative is; `undecided`: at
    which they do not. `used`: how many programs have each construct."""

    cases: int = 0
    constant: int = 0
    variants: int = 0
    calls: int = 0
    faults: int = 0
    judged: int = 0
    undecided: int = 0
    lines: int = 0
    used: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    failures: list[Failure] = field(default_factory=list)


def isolated(work: Callable[[], Any], timeout: float) -> tuple[str, Any]:
    """("done", result), ("crash", the signal) or ("hang", None) of work in a process of its own."""
    ours, theirs = _CONTEXT.Pipe(duplex=False)

    def child() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        gc.freeze()
        theirs.send(work())
        theirs.close()

    process = _CONTEXT.Process(target=child)
    process.start()
    theirs.close()
    try:
        if not ours.poll(timeout):
            return "hang", None
        return "done", ours.recv()
    except EOFError:
        process.join(10)
        code = process.exitcode or 0
        return "crash", signal.Signals(-code).name if code < 0 else f"exit {code}"
    finally:
        if process.is_alive():
            process.join(0.5)
            process.kill()
        process.join()
        ours.close()


def _outcome(path: Path, which: Sequence[str], variant: Path | None, every_pass: bool) -> tuple[str, Any]:
    """What a file of cases does, in a process of its own: ("ran", (disagreements, calls, faults, known, undecided)),
    ("refused", diagnostics' codes and text) or ("traceback", text). A variant is the same program written another way."""
    gc.disable()  # a tenth of the compiler's time, and the process ends with this
    try:
        if judge.MARK in path.read_text():
            found = judge.run(path, [opt for engine, opt in (("O0", 0), ("artifact", 3)) if engine in which], every_pass)
            return "ran", (found.wrong, found.points, found.faults, found.judged, found.undecided)
        report = engines.run(path, [w for w in which if w != "oracle"], every_pass)
        different, known = judged(path.read_text(), report.outcomes["interpreter"]) if "oracle" in which else ([], 0)
        if variant is not None:
            other = engines.run(variant, ("interpreter", "artifact"), every_pass)
    except CompileError as e:
        return "refused", (e.diagnostics[0].code, str(e)[:3000])
    except Exception as e:  # whatever it is, it is what is looked for
        frames = traceback.extract_tb(e.__traceback__)
        last = frames[-1]
        where = f"{type(e).__name__} {Path(last.filename).name}:{last.name}"
        return "traceback", (where, "".join(traceback.format_exception(e))[-3000:])
    first = next(iter(report.outcomes.values()))
    outcomes = [o for found in first.values() for o in found]
    wrong = list(compare.disagreements(report))
    wrong += different
    if variant is not None:
        wrong += [(name, f"variant: {detail}") for name, detail in compare.disagreements(other)]
        wrong += [(name, f"variant: {detail}") for name, detail in compare.changed(report, other)]
    return "ran", (wrong, len(outcomes), sum(o.fault is not None for o in outcomes), known, 0)


def run_source(
    source: str, timeout: float, which: Sequence[str] = engines.ENGINES, variant: str | None = None,
    every_pass: bool = True,
) -> tuple[str, Any]:
    """The outcome of a source text in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="hyb-fuzz-") as folder:
        path, other = Path(folder) / "case.hyb", None
        path.write_text(source)
        if variant is not None:
            other = Path(folder) / "variant.hyb"
            other.write_text(variant)
        state, result = isolated(lambda: _outcome(path, which, other, every_pass), timeout)
    return result if state == "done" else (state, result)


def failure_of(outcome: tuple[str, Any], source: str, name: str = "", seed: str = "") -> list[Failure]:
    """What is wrong with it."""
    state, result = outcome
    match state:
        case "ran":
            found: list[Failure] = []
            for case_name, detail in result[0]:
                kind = "leak" if "leaves" in detail and "blocks" in detail else "differs"
                if kind == "differs" and "input" in detail and {f.kind for f in found} == {"differs"}:
                    continue
                found.append(Failure(kind, detail, source, name or case_name, seed))
            return found
        case "refused" | "traceback":
            return [Failure(f"{state} {result[0]}", result[1], source, name, seed)]
        case "crash":
            return [Failure(f"crash {result}", "", source, name, seed)]
    return [Failure("hang", "", source, name, seed)]


def signature(source: str, timeout: float = 60, which: Sequence[str] = engines.ENGINES) -> str:
    """The kind of its first failure, "" if there is none."""
    found = failure_of(run_source(source, timeout, which), source)
    return found[0].kind if found else ""


def batch(cases: Sequence[Case], timeout: float, which: Sequence[str] = engines.ENGINES, variant: bool = False) -> Tally:
    """Runs cases in one file, and a variant of each; where that fails as a whole, each alone."""
    started = time.monotonic()
    source = file_of([c.source for c in cases])
    other = file_of([case(c.seed, c.name, c.subject, 1).source for c in cases]) if variant else None
    tally = Tally(cases=len(cases), lines=source.count("\n"), variants=len(cases) * variant)
    outcome = run_source(source, timeout, which, other, every_pass=len(cases) < 100)
    if outcome[0] == "ran":
        wrong, tally.calls, tally.faults, tally.judged, tally.undecided = outcome[1]
        by_name = {f"run_{c.name}": c for c in cases}
        for name in dict.fromkeys(name for name, _ in wrong):
            c = by_name[name]
            details = [(n, d) for n, d in wrong if n == name]
            tally.failures += failure_of(("ran", (details, 0, 0, 0, 0)), file_of([c.source]), c.name, c.seed)
    elif outcome[0] == "refused" and (constant := _constant(cases, outcome[1])):
        rest = [c for c in cases if c is not constant]
        tally = batch(rest, timeout, which, variant) if rest else tally
        tally.cases, tally.constant = len(cases), tally.constant + 1
    elif len(cases) == 1:
        tally.failures += failure_of(outcome, source, cases[0].name, cases[0].seed)
    else:
        half = len(cases) // 2
        for part in (cases[:half], cases[half:]):
            inner = batch(part, timeout, which, variant)
            tally.failures += inner.failures
            tally.calls += inner.calls
            tally.faults += inner.faults
            tally.judged += inner.judged
            tally.undecided += inner.undecided
            tally.constant += inner.constant
        if not tally.failures and not tally.constant and outcome[0] != "hang":  # many at once may only be slow
            tally.failures += failure_of(outcome, source, "together", cases[0].seed)
    tally.seconds = time.monotonic() - started
    return tally


def _constant(cases: Sequence[Case], refused: tuple[str, str]) -> Case | None:
    """The case that is rightly refused, since its loss does not depend on what it is differentiated by."""
    code, text = refused
    named = re.search(r"value_and_grad\(loss_(\w+),", text)
    return next((c for c in cases if code == "HYB604" and c.subject == "gradients" and named and c.name == named[1]), None)


def make(seed: str, first: int, count: int, subject: str) -> list[Case]:
    return [case(f"{seed}-{first + i}", f"k{first + i}", subject) for i in range(count)]


def run(
    seed: str, count: int, size: int, timeout: float, out: Path | None, subject: str = "all",
    seconds: float | None = None, first: int = 0, say: Callable[[str], None] = print,
    which: Sequence[str] = engines.ENGINES, every: int = 0,
) -> Tally:
    """`count` cases, `size` in a file, or as many as `seconds` allow. One of `every` files has a variant (of tiny cases
    one of ten, else one of four, unless said). Failures are written to `out`, a file each."""
    total, started, kinds = Tally(), time.monotonic(), dict[str, int]()
    every = every or (10 if subject == "tiny" else 4)
    at = first
    while at < first + count and (seconds is None or time.monotonic() - started < seconds):
        cases = make(seed, at, min(size, first + count - at), subject)
        found = batch(cases, timeout, which, variant="artifact" in which and subject not in ("slopes", "woven") and at // size % every == 0)
        at += len(cases)
        total.cases += found.cases
        total.variants += found.variants
        total.constant += found.constant
        total.calls += found.calls
        total.faults += found.faults
        total.judged += found.judged
        total.undecided += found.undecided
        total.used.update(name for c in cases for name in c.used)
        total.lines += found.lines
        total.failures += found.failures
        for f in found.failures:
            kinds[f.kind] = kinds.get(f.kind, 0) + 1
            say(f"{f.kind} {f.seed}: {f.detail[:300]}")
            if out is not None:
                out.mkdir(parents=True, exist_ok=True)
                stem = re.sub(r"\W+", "_", f"{f.kind}_{f.seed}")[:80]
                head = "".join(f"# {line}\n" for line in f"{f.kind}\n{f.detail}".splitlines())
                (out / f"{stem}.hyb").write_text(head + f.source)
        total.seconds = time.monotonic() - started
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            pace = 60 * total.cases / max(total.seconds, 0.001)
            (out / f"count_{seed}").write_text(
                f"{total.cases} cases, {total.variants} variants, {total.calls} calls, {total.faults} faults, {total.judged} judged, {total.undecided} undecided, {total.lines} lines, {total.seconds:.0f} s, "
                f"{pace:.0f} a minute, failures {kinds}\n")
    return total


__all__ = ["Failure", "Tally", "batch", "failure_of", "isolated", "make", "os", "run", "run_source", "signature"]
