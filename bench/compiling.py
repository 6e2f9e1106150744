"""`python bench/compiling.py`: what compiling a program of 1 000 lines costs, and compiling it again after an edit.

The program is the first modules of tests/lang, which use every construct of the language, their tests as functions, and
a file that imports all of these; so it is denser than what people write. It is loaded in processes of its own, each
with a cache of its own: cold (with and without importing the compiler), from the cache, and after edits of one line in
the middle of it: in the same process, in a new one, which finds the machine code of what stayed, and in a new one
beside `hybridc serve`. The edit of a function changes what it computes. Then the same with all of it in one file. Then
as many lines of whole programs: three of tests/lang/programs, and two of the examples, with training, their models in
the configuration they have by default. And as many lines of short functions (short_functions.py).
By the clock and by the time that the processors gave this process; medians. `--only WORD` for programs with this word
in their name."""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import short_functions

ROOT = Path(__file__).parent.parent
LANG = ROOT / "tests" / "lang"
FOLDERS = ("containers", "control", "enums", "strings", "structs", "closures", "functions", "generics", "scalars")
LINES = 1000
TIMES = 5
PROGRAMS = ("tests/lang/programs/chess", "tests/lang/programs/json", "tests/lang/programs/lisp",
            "examples/routes/routes", "examples/alphazero/alphazero")
MODELS = "from routes import Surveyor\nfrom alphazero import Player\nexport Surveyor()\nexport Player()\n"
STEPS = ("x = 3 * x + 1", "x = 3 * x + 3", "x = 3 * x + 5", "x = 3 * x + 7")
"""A line of a function, and what it is edited to."""
Where = tuple[str, str, tuple[str, ...]]
"""The file that is edited, a function that leads to there, and what the line is, one after the other."""
DECLARED = re.compile(r"^(?:extern (?:pure )?)?(?:fn|struct|enum|model|const) (\w+)", re.M)
CASES = re.compile(r"^enum .*\n((?:    .*\n|\n)*)", re.M)
CASE = re.compile(r"^    ([A-Z]\w*)", re.M)
IMPORT = re.compile(r"^(?:from|import) .*\n", re.M)
BEGIN = """
import statistics, sys, time, warnings
warnings.simplefilter("ignore")
def now():
    return time.perf_counter(), time.process_time()
started = now()
import hybridc
hybridc.load
path, root, edited, called, *steps = sys.argv[1:]
def tell(what, since):
    print(what, *(now - then for now, then in zip(now(), since)))
def called_once(function):
    for _, caller in function._overloads:
        caller.ready()  # which makes the code that a call needs
def load(what):
    before = now()
    found = hybridc.load(path, root=root)
    tell(what, before)
    called_once(getattr(found, called))
    tell(what + ", and a function called", before)
    return found
def edit(find, put):
    text = open(root + "/" + edited).read()
    assert find in text
    open(root + "/" + edited, "w").write(text.replace(find, put, 1))
"""
SAME = BEGIN + """
before = now()
module = load("cold")
tell("cold, with importing the compiler", started)
times = []
for function in [f for f in vars(module).values() if hasattr(f, "_overloads")]:
    then = now()
    called_once(function)
    times.append([b - a for a, b in zip(then, now())])
print("the first call of a function, median", *map(statistics.median, zip(*times)))
print("the first call of a function, longest", *max(times))
tell("cold, and all functions called", before)
load("from the cache")
edit("\\nfn ", "\\n# a line more\\nfn ")
load("a line more, same process")
edit(*steps[:2])
load("a function edited, same process")
"""
NEW = BEGIN + """
edit(*steps[1:3])
load("a function edited, new process")
"""
FIRST = BEGIN + """
load("beside a server: first")
"""
SERVED = BEGIN + """
edit(*steps[2:])
load("beside a server: a function edited, new process")
"""


def program(folder: Path) -> int:
    """Writes the modules, of each folder one after the other, and `main.hyb`; how many lines they have."""
    lines, imports = 0, []
    found = zip_longest(*(sorted((LANG / name).glob("*.hyb")) for name in FOLDERS))
    for path in (path for row in found for path in row if path is not None):
        if lines >= LINES:
            break
        name = path.parent.name
        (folder / name).mkdir(exist_ok=True)
        lines += module(path, folder, f"{name}.{path.stem}", imports)
    (folder / "main.hyb").write_text("".join(imports))
    return lines


def module(path: Path, folder: Path, name: str, imports: list[str]) -> int:
    """Writes a file as a module, its tests as functions, and the import of all of these; how many lines it has."""
    first, *tests = re.split(r'^test ".*":', path.read_text(), flags=re.M)
    text = "".join([first, *(f"fn test{i}():{body}" for i, body in enumerate(tests))])
    (folder / (name.replace(".", "/") + ".hyb")).write_text(text)
    own = name.replace(".", "_")
    names = ", ".join(f"{fn} as {own}_{fn}" for fn in re.findall(r"^fn (\w+)\(", text, re.M))
    imports.append(f"from {name} import {names}\n")
    return text.count("\n")


def programs(folder: Path) -> int:
    """Writes whole programs as modules, and `main.hyb`; how many lines they have."""
    imports: list[str] = []
    lines = sum(module(ROOT / f"{path}.hyb", folder, path.rsplit("/", 1)[1], imports) for path in PROGRAMS)
    (folder / "main.hyb").write_text("".join([*imports, MODELS]))
    return lines


def short(folder: Path) -> int:
    """Writes short functions as `main.hyb`; how many lines they are."""
    text = short_functions.text(LINES)
    (folder / "main.hyb").write_text(text)
    return text.count("\n")


def renamed(text: str, names: set[str], own: str) -> str:
    return re.sub(r"\w+", lambda m: m[0] + ("_" * m[0].islower() + own) * (m[0] in names), text)


def in_one_file(folder: Path) -> int:
    """The first in `main.hyb` alone: what a module declares gets a name of its own."""
    lines = program(folder)
    imports: dict[str, None] = {}
    texts = []
    for i, path in enumerate(sorted(folder.glob("*/*.hyb"))):
        text = re.sub(r'\A""".*?"""\n', "", path.read_text(), flags=re.S)
        imports |= dict.fromkeys(IMPORT.findall(text))
        text = IMPORT.sub("", text)
        names = {*DECLARED.findall(text), *CASE.findall("".join(CASES.findall(text)))}
        own = chr(ord("a") + i // 26) + chr(ord("a") + i % 26)
        texts.append(renamed(text, names, own))
    (folder / "main.hyb").write_text("".join([*imports, *texts]))
    return lines


WRITTEN = [(", every construct", program, ("control/branches.hyb", "control_branches_test1", STEPS)),
           (", every construct in one file", in_one_file, ("main.hyb", "test1_ad", STEPS)),
           (", short functions", short, ("main.hyb", "steps2", STEPS)),
           (", whole programs", programs, ("json.hyb", "json_test0",
            ("code * 16 +", "code * 17 +", "code * 18 +", "code * 19 +")))]
"""What is compiled, where it is edited, and what leads to there."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="programs with this in their name")
    only = parser.parse_args().only
    chosen = [each for each in WRITTEN if only in each[0]]
    if not chosen:
        parser.error(f"no program has {only!r} in its name:{''.join(name for name, *_ in WRITTEN)[1:]}")
    lines: dict[str, int] = {}
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(TIMES):
        for name, write, where in chosen:
            with tempfile.TemporaryDirectory() as folder:
                root = Path(folder) / "program"
                root.mkdir()
                lines[name] = write(root)
                for what, times in measured(root, where):
                    found.setdefault(what + name, []).append(times)
    for name, *_ in chosen:
        print(f"{lines[name]} lines{name}")
    print("\n| what | s | processor s |\n| --- | --- | --- |")
    for what, times in found.items():
        clock, processor = (statistics.median(t) for t in zip(*times, strict=True))
        print(f"| {what} | {clock:.2f} | {processor:.2f} |")


def measured(root: Path, where: Where) -> Iterator[tuple[str, tuple[float, float]]]:
    """What is timed of a program, with seconds by the clock and of processors."""
    env = {"HYB_CACHE_DIR": str(root.parent / "cache"), "PATH": "/usr/bin:/bin"}
    yield from timed(SAME, root, where, env)
    yield from timed(NEW, root, where, env)
    env["HYB_CACHE_DIR"] = str(root.parent / "served")
    server = subprocess.Popen([sys.executable, "-u", "-m", "hybridc", "serve"], stdout=subprocess.PIPE, env=env)
    try:
        server.stdout.readline()
        yield from timed(FIRST, root, where, env)
        yield from timed(SERVED, root, where, env)
    finally:
        server.kill()
        server.communicate()


def timed(code: str, root: Path, where: Where, env: dict[str, str]) -> Iterator[tuple[str, tuple[float, float]]]:
    edited, called, steps = where
    command = [sys.executable, "-c", code, str(root / "main.hyb"), str(root), edited, called, *steps]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=env, check=True)
    for line in done.stdout.splitlines():
        *words, clock, processor = line.split()
        yield " ".join(words), (float(clock), float(processor))


if __name__ == "__main__":
    main()
