"""A writer of a store is killed at random moments, again and again; a reader looks on.

    python -m tests.stores.crashes --commits 20000

Each commit puts the same number at several keys, some with much data, removes one and puts one again. Whoever opens the
file must find one commit whole: the last that was acknowledged, or the one that was being made.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from hybridc_runtime.artifact import load_artifact

from hybridc.build import write_artifact

SOURCE = '''
fn write(path: str, first: int, count: int, done: fn(int) -> int):
    """Commits `count` numbers from `first` on, and says each when it is durable."""
    var mem = store[str, list[int]](path)
    for n in range(first, first + count):
        mem["a"] = [n]
        mem["long"] = [n for i in range(200 + n % 1500)]
        mem[f"turn{n % 7}"] = [n]
        if "gone" in mem:
            mem.remove("gone")
        else:
            mem["gone"] = [n]
        mem["z"] = [n]
        mem.commit()
        let _ = done(n)

fn look(path: str) -> (int, bool):
    """The last number, and whether all that was committed with it is there; -1 where nothing was."""
    var mem = store[str, list[int]](path)
    if len(mem) == 0:
        return (-1, true)
    let n = mem["a"][0]
    let long = mem["long"]
    let whole = mem["z"] == [n] and mem[f"turn{n % 7}"] == [n] and len(long) == 200 + n % 1500
    let even = ("gone" in mem) == (n % 2 == 0) and len(mem) == min(n + 1, 7) + 3 + (1 if "gone" in mem else 0)
    return (n, whole and even and len([x for x in long if x != n]) == 0)
'''
WRITER = """
import sys
from hybridc_runtime.artifact import load_artifact
mod = load_artifact(sys.argv[1], trust=True)
out = sys.stdout
def done(n):
    out.write(f"{n}\\n")
    out.flush()
    return 0
out.write("ready\\n")
out.flush()
mod.write(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), done)
"""
READER = """
import sys, time
import hybridc_runtime
last, looks = -1, 0
while True:
    try:
        with hybridc_runtime.open_store(sys.argv[1]) as s:
            for _ in range(50):
                data = s["long"]
                assert len(data) == 200 + data[0] % 1500 and set(data) == {data[0]}, "torn"
                assert data[0] >= last, "went back"
                last = data[0]
                looks += 1
                print(looks, flush=True)
                time.sleep(0.002)
    except OSError as e:
        assert "nothing was ever committed" in str(e) or "no store" in str(e), e
        time.sleep(0.01)
"""


@dataclass
class Report:
    commits: int = 0
    kills: int = 0
    looks: int = 0
    seconds: float = 0.0


def torment(folder: Path, commits: int, seed: int, burst: int = 120) -> Report:
    """Kills writers until so many commits are durable; AssertionError for one that is lost or torn."""
    rng, report, started = random.Random(seed), Report(), time.monotonic()
    (folder / "crash.hyb").write_text(SOURCE)
    artifact = write_artifact(str(folder / "crash.hyb"), None, target="cpu:x86-64-v2")
    look = load_artifact(artifact, trust=True).look
    path = str(folder / "memory")
    reader = subprocess.Popen([sys.executable, "-c", READER, path], stdout=subprocess.PIPE, text=True)
    last = -1
    try:
        while last + 1 < commits:
            count = min(10**9, commits - last - 1)
            command = [sys.executable, "-c", WRITER, str(artifact), path, str(last + 1), str(count)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
                assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
                said = [line for _ in range(rng.randrange(2 * burst)) if (line := writer.stdout.readline())]
                time.sleep(rng.random() * 0.01)
                writer.kill()
                said += writer.stdout.readlines()
            report.kills += 1
            found, whole = look(path)
            assert whole, f"commit {found} is torn"
            durable = max([last, *(int(line) for line in said if line.endswith("\n"))])
            assert found >= durable, f"commit {durable} was durable, and {found} is there"
            last = found
        assert reader.poll() is None, "the reader failed"
    finally:
        reader.kill()
        assert reader.stdout is not None
        looks = reader.stdout.read().split()
        reader.wait()
    report.looks = int(looks[-1]) if looks else 0
    report.commits, report.seconds = last + 1, time.monotonic() - started
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commits", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None, help="on the disk that is meant")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hyb-crash-", dir=given.folder) as folder:
        r = torment(Path(folder), given.commits, given.seed)
    print(f"{r.commits} commits, {r.kills} kills, {r.looks} looks of a reader, {r.seconds:.0f} s: none lost, none torn")


if __name__ == "__main__":
    main()

__all__ = ["Report", "torment"]
