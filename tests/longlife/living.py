"""Calls, threads, forks, interrupts and modules, as many as asked for. Each function gives a line of what it did, and
raises AssertionError for what must not be."""

from __future__ import annotations

import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

import hybridc

SOURCE = '''
from nn import Linear

enum Tree:
    Leaf(word: int)
    Node(left: Tree, right: Tree)

struct P:
    x: int
    name: str

model Net(n: int = 4):
    let a = Linear(n, n)
    state seen: list[int] = []

    fn forward(x: f32[n]) -> f32:
        return sum(tanh(self.a(x)))

    mut fn see(k: int) -> int:
        self.seen.push(k)
        if len(self.seen) > 50:
            self.seen = []
        return len(self.seen)

fn size(t: Tree) -> int:
    match t:
        case Leaf(word):
            return word
        case Node(left, right):
            return size(left) + size(right)

fn grown(n: int) -> Tree:
    if n == 0:
        return Leaf(1)
    return Node(grown(n - 1), grown(n - 1))

fn counted(words: list[str]) -> map[str, int]:
    var m: map[str, int] = {}
    for w in words:
        m[w] = (m.get(w) ?? 0) + 1
    return m

fn fails(p: P, at: int) -> str:
    let xs = [p.name for i in range(at)]
    return xs[at]

fn slope(x: f64) -> f64:
    let d = grad(fn(y: f64): y * y * y)(x)
    return d

fn changed(mut xs: list[int], f: fn(int) -> int) -> int:
    xs.push(f(len(xs)))
    if len(xs) > 9:
        xs = []
    return sum(xs)

fn busy(n: int) -> int:
    var t = 0
    var m: map[int, list[int]] = {}
    for i in range(n):
        m[i % 97] = [i, t]
        t += len(m) + sum(m[i % 97]) % 7
    return t

fn shared(n: int) -> int:
    return sum(parallel [len(str(i)) for i in range(n)])
'''


def module(folder: Path) -> Any:
    (folder / "living.hyb").write_text(SOURCE)
    return hybridc.load(folder / "living.hyb")


def rounds(mod: Any, net: Any, kept: list[int], i: int) -> int:
    """One call of everything; how many calls that were."""
    x = np.full(4, 0.5, np.float32)
    net(x)
    net.see(i)
    mod.size(mod.Tree.Node(mod.Tree.Leaf(i), mod.Tree.Leaf(2)))
    mod.grown(3)
    assert mod.counted(["a", "é", "a"]) == {"a": 2, "é": 1}
    try:
        mod.fails(mod.P(x=i, name="abc"), 3)
    except IndexError:
        pass
    else:
        raise AssertionError("no IndexError")
    assert mod.slope(2.0) == 12.0
    mod.changed(kept, lambda k: k + i)
    net.value_and_grad("forward", x) if i % 10 == 0 else None
    mod.shared(3)
    return 9 + (i % 10 == 0)


def resident() -> int:
    """Bytes of memory that this process has."""
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def calls(folder: Path, count: int) -> str:
    """Many calls: as much memory in the end as after the first tenth."""
    mod = module(folder)
    net, kept = mod.Net(n=4), list[int]()
    program = mod._parts[0].program
    done, i, started = 0, 0, time.monotonic()

    def until(limit: int) -> tuple[int, int]:
        nonlocal done, i
        while done < limit:
            done += rounds(mod, net, kept, i)
            i += 1
        gc.collect()
        return resident(), program.live_blocks()

    early, blocks = until(count // 10)
    late, more = until(count)
    assert late - early < 4 << 20, f"{late - early} bytes more after {done} calls"
    assert abs(more - blocks) <= 2, f"{more - blocks} blocks more"
    return f"{done} calls in {time.monotonic() - started:.0f} s: {(late - early) / 1024:.0f} KiB more than after the first tenth"


def threads(folder: Path, seconds: float, count: int = 8) -> str:
    """Threads on one module."""
    mod = module(folder)
    nets = [mod.Net(n=4, seed=i) for i in range(count)]
    done, wrong = [0] * count, list[BaseException]()
    end = time.monotonic() + seconds

    def work(k: int) -> None:
        kept: list[int] = []
        try:
            while time.monotonic() < end:
                done[k] += rounds(mod, nets[k], kept, done[k])
        except BaseException as e:  # noqa: B036 (looked at below)
            wrong.append(e)

    working = [threading.Thread(target=work, args=(k,)) for k in range(count)]
    for t in working:
        t.start()
    for t in working:
        t.join()
    assert not wrong, wrong[0]
    assert all(done)
    return f"{count} threads, {sum(done)} calls in {seconds:.0f} s"


def forks(folder: Path, count: int) -> str:
    """Children of a process that has loaded a module and called it, also while other threads call it."""
    mod = module(folder)
    net = mod.Net(n=4)
    rounds(mod, net, [], 0)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            mod.busy(100)

    other = threading.Thread(target=work)
    other.start()
    try:
        for i in range(count):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    kept: list[int] = []
                    rounds(mod, net, kept, i)
                    assert mod.busy(1000) > 0
                    code = 0
                finally:
                    os._exit(code)
            deadline = time.monotonic() + 60
            while True:
                found, status = os.waitpid(child, os.WNOHANG)
                if found:
                    break
                if time.monotonic() > deadline:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    raise AssertionError(f"child {i} hangs")
                time.sleep(0.002)
            assert os.waitstatus_to_exitcode(status) == 0, f"child {i} ended with {status}"
    finally:
        stop.set()
        other.join()
    return f"{count} forks"


def interrupts(folder: Path, count: int, seed: int = 1) -> str:
    """Ctrl-C at random moments of calls; each comes through as KeyboardInterrupt, and nothing is left."""
    mod = module(folder)
    net, kept, rng = mod.Net(n=4), list[int](), random.Random(seed)
    rounds(mod, net, kept, 0)
    program = mod._parts[0].program
    blocks = program.live_blocks()
    got, started = 0, time.monotonic()
    while got < count:
        signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.0002, 0.08))
        try:
            while True:
                mod.busy(rng.choice((10, 1000, 100_000, 10_000_000)))
                mod.grown(6)
                mod.counted(["a"] * 500)
                mod.shared(2000)
        except KeyboardInterrupt:
            got += 1
        assert mod.busy(10) > 0
    left = program.live_blocks() - blocks
    assert 0 <= left <= count, f"{left} blocks are left"
    return f"{got} interrupts in {time.monotonic() - started:.0f} s; {left} blocks were being converted and are left"


def modules(folder: Path, count: int) -> str:
    """Modules loaded and dropped: what is kept of each (its code, for good) is a little."""
    from hybridc.build import write_artifact

    (folder / "small.hyb").write_text("fn f(xs: list[int]) -> int:\n    return sum(xs) + 1\n")
    data = write_artifact(str(folder / "small.hyb"), None, target="cpu:x86-64-v2").read_bytes()
    from hybridc_runtime.artifact import load_artifact

    started, sizes = time.monotonic(), []
    for i in range(count):
        mod = load_artifact(data, trust=True)
        assert mod.f([1, 2]) == 4
        del mod
        if i in (count // 10, count - 1):
            gc.collect()
            sizes.append(resident())
    each = (sizes[1] - sizes[0]) / max(count - count // 10, 1)
    assert each < 200 << 10, f"{each:.0f} bytes are kept of each module"
    return f"{count} modules in {time.monotonic() - started:.0f} s: {each / 1024:.0f} KiB kept of each"


def apart(what: str, folder: Path, amount: float, timeout: float) -> str:
    """One of these in a process of its own, as it uses signals, forks and memory; its line."""
    code = ("import sys, signal\nfrom pathlib import Path\nfrom tests.longlife import living\n"
            "signal.signal(signal.SIGALRM, signal.default_int_handler)\n"
            f"print(living.{what}(Path(sys.argv[1]), {amount!r}))")
    done = subprocess.run([sys.executable, "-X", "faulthandler", "-c", code, str(folder)], capture_output=True, text=True, timeout=timeout,
                          cwd=Path(__file__).parent.parent.parent)
    assert done.returncode == 0, f"it ended with {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()
