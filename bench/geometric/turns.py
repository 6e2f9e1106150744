"""Each contender in a process of its own, one at a time: threads of a library spin when it is done, and would take a
core that the next one's threads need.

A process is told what to do by lines on its standard input, and answers with lines on its standard output.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

PAUSE = 0.15
"""Seconds before each block: onnxruntime's threads spin for 50 ms."""
Block = Callable[[], float]


def serve(workloads: Iterator[tuple[str, Callable[[], tuple[Block, np.ndarray] | None]]]) -> None:
    """Answers until the one that asks is gone: a workload's name and a file, where its result goes, by whether there is
    one; an empty line by the seconds of a call of the last workload."""
    makes = dict(workloads)
    block: Block | None = None
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        if line == "\n":
            assert block is not None
            print(block(), file=answers, flush=True)
            continue
        name, file = line.rstrip("\n").split("\t")
        made = makes[name]()
        if made is not None:
            block, result = made
            np.save(file, result)
        print(made is not None, file=answers, flush=True)


class Processes:
    """One for each name."""

    def __init__(self, commands: dict[str, list[str]]) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.processes = {name: subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                          for name, command in commands.items()}

    def blocks(self, workload: str) -> tuple[dict[str, Block], dict[str, np.ndarray]]:
        """For each that has this workload, a block of calls in its process, and the result."""
        results: dict[str, np.ndarray] = {}
        for name in self.processes:
            file = Path(self.folder.name) / f"{name}.npy"
            if self.ask(name, f"{workload}\t{file}") == "True":
                results[name] = np.load(file)
        return {name: lambda name=name: self.timed(name) for name in results}, results  # type: ignore[misc]

    def timed(self, name: str) -> float:
        time.sleep(PAUSE)
        return float(self.ask(name, ""))

    def ask(self, name: str, line: str) -> str:
        process = self.processes[name]
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process of {name} ended")
        return answer.rstrip("\n")
