"""Large kernels on several threads: the same bits for any number of them, whosever team it is; memory that lacks and
Ctrl-C on any of them; children of a fork; and who runs where."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

SOURCE = """
from nn import GRUCell, LSTMCell

fn product(a: f32[M, K], b: f32[K, N]) -> f32[M, N]:
    return a @ b

fn by_rows(a: f32[M, K], b: f32[N, K]) -> f32[M, N]:
    return a @ b.T

fn turned(a: f32[K, M], b: f32[K, N]) -> f32[M, N]:
    return a.T @ b

fn rows(x: f32[N, D]) -> f32[N, D]:
    return softmax(x * 2.0)

fn flat(x: f32[N], y: f32[N]) -> f32[N]:
    return exp(x) * y + tanh(y)

fn layers(x: f32[N, D], w: f32[H, D], v: f32[E, H]) -> f32[N, E]:
    return gelu(x @ w.T) @ v.T

fn heads(q: f32[B, T, D], k: f32[B, T, D]) -> f32[B, T, T]:
    return softmax(q @ transpose(k, 1, 2))

fn nested(x: f32[N, D]) -> list[f32[N, D]]:
    return parallel [softmax(x * f32(i)) for i in range(3)]

fn for_ever(a: f32[N, N]) -> f32[N, N]:
    var x = a
    while true:
        x = x @ a
    return x

fn costly(x: f32[N]) -> f32[N]:
    return tanh(sin(exp(tanh(sin(exp(tanh(sin(exp(tanh(sin(exp(x))))))))))))

fn into(x: f32[N], y: f32[N]) -> f32[N]:
    var total = y * 2.0
    total[1:] += costly(x[1:])
    return total

fn in_place(x: f32[N]) -> f32[N]:
    var y = x * 2.0
    for i in range(2):
        y = costly(y)
    return y

fn running(x: f32[N]) -> f32[N]:
    return cumsum(x)

fn several(a: f32[B, N, N]) -> f32[B, N, N]:
    return relu(a @ a) @ a

fn layer(x: f32[N, D], w: f32[H, D], b: f32[H]) -> f32[N, H]:
    return gelu(x @ w.T + b)

fn lines(x: f64[N, D], w: f64[D, H], y: f64[N, H]) -> (f64[N, H], f64[N, H]):
    let z = tanh(x @ w) * y
    return (z, z - y)

fn gated(x: f64[N, 300], w: f64[1024, 300], c: f64[N, 256]) -> f64[N, 256]:
    let i, f, g, o = split(x @ w.T, 4, axis=-1)
    return sigmoid(o) * tanh(sigmoid(f) * c + sigmoid(i) * tanh(g))

fn row(w: f32[2000, 1100], x: f32[1100]) -> f32[2000]:
    return tanh(w @ x)

model Cells():
    let lstm = LSTMCell(384, 384)
    let gru = GRUCell(384, 384)

    fn forward(x: f32[N, 384], h: f32[N, 384]) -> (f32[N, 384], f32[N, 384], f32[N, 384]):
        let a, b = self.lstm(x, (h, h))
        return (a, b, self.gru(x, h))

export Cells
"""

RUN = """
import hashlib, sys
import numpy as np
if sys.argv[2] == "torch":
    import torch
import hybridc
mod = hybridc.load(sys.argv[1])
random = np.random.default_rng(0)
def x(*shape):
    return random.standard_normal(shape, dtype=np.float32)
found = hashlib.sha256()
def add(y):
    found.update(np.ascontiguousarray(y).tobytes())
for sizes in ((300, 200, 170), (1, 2100, 2000), (50, 300, 500), (2000, 70, 60), (9001, 60, 12), (64, 64, 64), (3, 0, 5)):
    m, k, n = sizes
    a, b = x(m, k), x(k, n)
    y = mod.product(a, b)
    np.testing.assert_allclose(y, a @ b, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(mod.by_rows(a, np.ascontiguousarray(b.T)), y, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(mod.turned(np.ascontiguousarray(a.T), b), y, rtol=1e-3, atol=1e-3)
    add(y), add(mod.by_rows(a, np.ascontiguousarray(b.T))), add(mod.turned(np.ascontiguousarray(a.T), b))
for n in (700, 1, 0):
    add(mod.rows(x(n, 300)))
for n in (300_001, 5, 0):
    a, b = x(n), x(n)
    y = mod.flat(a, b)
    np.testing.assert_allclose(y, np.exp(a) * b + np.tanh(b), rtol=1e-5, atol=1e-5)
    add(y)
for n in (200, 57, 1, 0):
    add(mod.layers(x(n, 150), x(200, 150), x(70, 200)))
add(mod.heads(x(5, 130, 40), x(5, 130, 40)))
add(mod.heads(x(0, 13, 40), x(0, 13, 40)))
add(mod.several(x(3, 140, 140)))
for y in mod.nested(x(400, 300)):
    add(y)
cells = mod.Cells(seed=0)
for n in (1, 2, 11, 12, 16, 33, 100, 200):
    a, w, b = x(n, 700), x(1000, 700), x(1000)
    y = mod.layer(a, w, b)
    np.testing.assert_allclose(y[:, 500], mod.layer(a, w[500:501], b[500:501])[:, 0], rtol=1e-3, atol=1e-3)
    add(y)
    a, w, b = (t.astype(np.float64) for t in (a, w.T[:, :999], x(n, 999)))
    for y, want in zip(mod.lines(a, np.ascontiguousarray(w), b), (np.tanh(a @ w) * b, np.tanh(a @ w) * b - b)):
        np.testing.assert_allclose(y, want, atol=1e-9)
        add(y)
    a, w, c = (t.astype(np.float64) for t in (x(n, 300), x(1024, 300), x(n, 256)))
    i, f, g, o = np.split(a @ w.T, 4, axis=-1)
    s = lambda v: 1 / (1 + np.exp(-v))
    y = mod.gated(a, w, c)
    np.testing.assert_allclose(y, s(o) * np.tanh(s(f) * c + s(i) * np.tanh(g)), atol=1e-9)
    add(y)
    a, h = x(n, 384), x(n, 384)
    for _ in range(4):
        for y in cells(a, h):
            add(y)
w, a = x(2000, 1100), x(1100)
np.testing.assert_allclose(mod.row(w, a), np.tanh(w @ a), rtol=1e-3, atol=1e-3)
add(mod.row(w, a))
print(found.hexdigest())
"""


def run(text: str, path: object, *args: str, threads: int) -> str:
    env = {**os.environ, "HYB_THREADS": str(threads)}
    done = subprocess.run([sys.executable, "-c", text, str(path), *args], env=env, capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("team") / "team.hyb"
    path.write_text(SOURCE)
    return path


def test_the_same_bits_for_any_number_of_threads(source) -> None:
    alone = run(RUN, source, "", threads=1)
    assert run(RUN, source, "", threads=2) == alone
    assert run(RUN, source, "", threads=3) == alone
    assert run(RUN, source, "torch", threads=2) == alone


WHOSE = """
import sys
import hybridc_runtime.team as team
from hybridc_runtime.memory import MEMORY, TRIPLE
import hybridc
mod = hybridc.load(sys.argv[1])
own = TRIPLE.unpack_from(MEMORY, team.CELL)
import torch
hybridc.load(sys.argv[1])
print(own[1:], own[0] != TRIPLE.unpack_from(MEMORY, team.CELL)[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="torch has its own OpenMP elsewhere")
def test_the_team_of_torch_where_torch_is_loaded(source) -> None:
    pytest.importorskip("torch")
    assert run(WHOSE, source, threads=3) == "(3, 3) True\n"


WAITS = """
import ctypes, sys, time
import numpy as np
import torch
import hybridc
import hybridc_runtime.team as team, hybridc_runtime.torch_team as torch_team
mod = hybridc.load(sys.argv[1])
fork, most = torch_team.find()
asked = []
@ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
def slow(job, data, size, flags):
    asked.append(size)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(job)(data)
    time.sleep(wait)
team._team.theirs(ctypes.cast(slow, ctypes.c_void_p).value, most, 2)
a = np.ones((400, 400), np.float32)
def comes():
    asked.clear()
    assert mod.product(a, a)[7, 7] == 400
    return len(asked)
def until(what):  # a machine that has other things to do makes any call late
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
wait = 0.0
until(comes)
print(asked)
def stays_away():
    until(comes)
    start = time.monotonic()
    came = [comes() for _ in range(5)]
    return time.monotonic() - start < 0.15 and came == [0] * 5
wait = 0.2
until(stays_away)
wait = 0.0
until(comes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="torch has its own OpenMP elsewhere")
def test_who_waited_for_threads_of_torch_does_without_them_for_a_while(source) -> None:
    pytest.importorskip("torch")
    assert run(WAITS, source, threads=2) == "[2]\n"


PLACES = """
import os, sys, time
from pathlib import Path
import numpy as np
if sys.argv[2] == "torch":
    import torch
import hybridc
mod = hybridc.load(sys.argv[1])
a = np.ones((300, 300), np.float32)
mod.product(a, a)
every = os.sched_getaffinity(0)
here = min(every)
os.sched_setaffinity(0, {here})
def task(tid, what):
    return Path(f"/proc/self/task/{tid}/{what}").read_text()
def began(tid):  # so many times it has been given a processor
    return int(task(tid, "schedstat").split()[2])
def others():
    return [int(t) for t in os.listdir("/proc/self/task") if int(t) != os.getpid()]
def calls():
    # Until a thread besides this one has been at it.
    before = {t: began(t) for t in others()}
    while True:
        for _ in range(5):
            mod.product(a, a)
        if found := [t for t in before if began(t) > before[t]]:
            return found
def together():
    for t in others():
        os.sched_setaffinity(t, {here})
    calls()
    for t in others():
        os.sched_setaffinity(t, every)
    time.sleep(0.25)  # torch's come back then, if they were waited for
    found = calls()
    time.sleep(0.02)
    assert all(os.sched_getaffinity(t) == every for t in found)
    return all(int(task(t, "stat").rsplit(")", 1)[1].split()[36]) == here for t in found)
# On a busy machine the system may put them there again.
print(any(sum(together() for _ in range(8)) <= 2 for _ in range(4)))
"""


@pytest.mark.skipif(sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="moves threads of Linux")
@pytest.mark.parametrize("whose", ["", "torch"])
def test_nobody_stays_on_the_processor_of_who_calls(source, whose: str) -> None:
    if whose:
        pytest.importorskip("torch")
    assert run(PLACES, source, whose, threads=2) == "True\n"


FAILS = """
import os, resource, signal, sys, threading, time
import numpy as np
if sys.argv[2] == "torch":
    import torch
import hybridc
mod = hybridc.load(sys.argv[1])
a = np.zeros((900, 900), np.float32)
mod.product(a, a)
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
start = time.perf_counter()
try:
    mod.for_ever(a)
except KeyboardInterrupt:
    print("interrupted", time.perf_counter() - start < 5)
w, v = np.zeros((200_000, 8), np.float32), np.zeros((16, 200_000), np.float32)
many = np.zeros((4000, 8), np.float32)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 60_000_000,) * 2)
try:
    # There is room for the result, and none for the rows between the products of two threads.
    mod.layers(many, w, v)
except MemoryError as e:
    print(type(e).__mro__[1].__name__)
print(float(mod.product(a[:10], a).sum()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
@pytest.mark.parametrize("whose", ["", "torch"])
def test_ctrl_c_and_no_memory(source, whose: str) -> None:
    assert run(FAILS, source, whose, threads=2) == "interrupted True\nRuntimeFault\n0.0\n"


LASTS = """
import signal, sys, time
import numpy as np
if sys.argv[2] == "torch":
    import torch
import hybridc
mod = hybridc.load(sys.argv[1])
for name, n, least in ("costly", 40_000_000, 3), ("running", 120_000_000, 1):
    x = np.zeros(n, np.float32)
    seen = []
    signal.signal(signal.SIGALRM, lambda *_: seen.append(time.perf_counter()))
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    start = time.perf_counter()
    y = getattr(mod, name)(x)
    end = time.perf_counter()
    signal.setitimer(signal.ITIMER_REAL, 0, 0)
    print(sum(t < start + 0.9 * (end - start) for t in seen) >= least, bool(y.min() == y.max()))
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers")
@pytest.mark.parametrize(("whose", "threads"), [("", 1), ("", 2), ("torch", 2)])
def test_python_sees_signals_while_a_kernel_lasts(source, whose: str, threads: int) -> None:
    assert run(LASTS, source, whose, threads=threads) == "True True\nTrue True\n"


ENDED = """
import os, signal, sys, threading, time
import numpy as np
import hybridc
mod = hybridc.load(sys.argv[1])
x = np.zeros(40_000_000, np.float32)
def live():
    return sum(p.program.live_blocks() for p in mod._parts)
for name, args in ("costly", (x,)), ("into", (x, x)), ("in_place", (x,)), ("running", (x,)):
    getattr(mod, name)(*(a[:10] for a in args))
    before = live()
    threading.Timer(0.25, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        while True:
            getattr(mod, name)(*args)
    except KeyboardInterrupt:
        print(live() - before, end=" ")
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_a_kernel_that_is_interrupted_leaves_nothing(source, threads: int) -> None:
    assert run(ENDED, source, "", threads=threads) == "0 0 0 0 "


FORKS = """
import os, sys
import numpy as np
if sys.argv[2] == "torch":
    import torch
import hybridc
mod = hybridc.load(sys.argv[1])
a = np.ones((400, 400), np.float32)
mod.product(a, a)
for _ in range(3):
    child = os.fork()
    if not child:
        os._exit(0 if mod.product(a, a)[3, 3] == 400 else 1)
    print(os.waitpid(child, 0)[1])
print(mod.product(a, a)[0, 0])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("whose", ["", "torch"])
def test_children_of_a_fork(source, whose: str) -> None:
    assert run(FORKS, source, whose, threads=2) == "0\n0\n0\n400.0\n"
