"""`python bench/compiling.py`: what compiling a program of 1 000 lines costs, and compiling it again after an edit.

The program is the first modules of tests/lang, which use every construct of the language, their tests as functions, and
a file that imports all of these; so it is denser than what people write. It is loaded in processes of its own, each
with a cache of its own: cold (with and without importing the compiler), from the cache, and after edits of one line in
the middle of it: in the same process, and in a new one, which finds the machine code of what stayed. By the clock and
by the time the processors gave; medians."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

LANG = Path(__file__).parent.parent / "tests" / "lang"
FOLDERS = ("containers", "control", "enums", "strings", "structs", "closures", "functions", "generics", "scalars")
LINES = 1000
TIMES = 5
EDITED = "control/branches.hyb"
BEGIN = """
import sys, time, warnings
warnings.simplefilter("ignore")
started = time.perf_counter(), time.process_time()
import hybridc
hybridc.load
path, root = sys.argv[1:3]
def load(what):
    before = time.perf_counter(), time.process_time()
    hybridc.load(path, root=root)
    print(what, *(now - then for now, then in zip((time.perf_counter(), time.process_time()), before)))
def edit(find, put):
    text = open(root + "/{edited}").read()
    assert find in text
    open(root + "/{edited}", "w").write(text.replace(find, put, 1))
""".replace("{edited}", EDITED)
SAME = BEGIN + """
load("cold")
print("cold, with importing the compiler", *(now - then for now, then in zip(
    (time.perf_counter(), time.process_time()), started)))
load("from the cache")
edit("\\nfn ", "\\n# a line more\\nfn ")
load("a line more, same process")
edit("x = 3 * x + 1", "x = 3 * x + 3")
load("a function edited, same process")
"""
NEW = BEGIN + """
edit("x = 3 * x + 3", "x = 3 * x + 5")
load("a function edited, new process")
"""


def program(folder: Path) -> int:
    """Writes the modules and `main.hyb`; how many lines they have."""
    lines, imports = 0, []
    for name in FOLDERS:
        for path in sorted((LANG / name).glob("*.hyb")):
            if lines >= LINES:
                continue
            first, *tests = re.split(r'^test ".*":', path.read_text(), flags=re.M)
            text = "".join([first, *(f"fn test{i}():{body}" for i, body in enumerate(tests))])
            fns = re.findall(r"^fn (\w+)\(", text, re.M)
            lines += text.count("\n")
            (folder / name).mkdir(exist_ok=True)
            (folder / name / path.name).write_text(text)
            names = ", ".join(f"{fn} as {name}_{path.stem}_{fn}" for fn in fns)
            imports.append(f"from {name}.{path.stem} import {names}\n")
    (folder / "main.hyb").write_text("".join(imports))
    return lines


def main() -> None:
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(TIMES):
        with tempfile.TemporaryDirectory() as folder:
            at = Path(folder)
            (at / "program").mkdir()
            lines = program(at / "program")
            env = {"HYB_CACHE_DIR": str(at / "cache"), "PATH": "/usr/bin:/bin"}
            for code in (SAME, NEW):
                command = [sys.executable, "-c", code, str(at / "program" / "main.hyb"), str(at / "program")]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=env, check=True)
                for line in done.stdout.splitlines():
                    *words, clock, processor = line.split()
                    found.setdefault(" ".join(words), []).append((float(clock), float(processor)))
    print(f"{lines} lines\n\n| what | s | processor s |\n| --- | --- | --- |")
    for what, times in found.items():
        clock, processor = (statistics.median(t) for t in zip(*times, strict=True))
        print(f"| {what} | {clock:.2f} | {processor:.2f} |")


if __name__ == "__main__":
    main()
