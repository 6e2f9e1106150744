"""The models, each beside what one would otherwise write for it, with the same weights."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable, Iterator

import connect4_numba
import connect4_python
import numpy as np
import programs
import tensor_peers
import torch
from measuring import EXAMPLES, FLOATS, HERE, INTS, Workload, floats, lines_between, near, shared

import hybridc

ALPHAZERO = EXAMPLES / "alphazero" / "alphazero.hyb"
SIMULATIONS, OPENING = 800, (3, 3, 2, 4)
PYTHON, JAX, SPIEL = HERE / "connect4_python.py", HERE / "jax_peers.py", HERE / "spiel_peers.py"
TORCH, NUMBA = HERE / "tensor_peers.py", HERE / "connect4_numba.py"


def there(*packages: str) -> bool:
    """Whether optional peers can be measured; without one, its rows are left out."""
    return all(importlib.util.find_spec(p) is not None for p in packages)


def connect4(threads: int) -> Iterator[Workload]:
    mod = hybridc.load(str(HERE / "games.hyb"), root=str(ALPHAZERO.parent))
    player = mod.Player(seed=4)
    weights = player.state_dict()
    library = shared("connect4", "-pthread")
    library.connect4_network.restype = ctypes.c_void_p
    held = [np.ascontiguousarray(weights[f"{layer}.{part}"]) for layer in ("first", "second", "head")
            for part in ("weight", "bias")]
    network = ctypes.c_void_p(library.connect4_network(*map(floats, held)))
    p = mod.Position()
    for move in OPENING:
        p = player.play(p, move)
    ours = (lines_between(ALPHAZERO, "struct Position", "fn blur")
            - lines_between(ALPHAZERO, "fn loss", "# ---- the search"))
    theirs = lines_between(HERE / "connect4.cpp", "#include <atomic>", "// The same for many")
    yield from (games(mod, player, library, network, ours, theirs) if threads > 1 else
                moves(mod, player, library, network, ours, theirs, weights, p))


def moves(mod, player, library, network, ours, theirs, weights, p) -> Iterator[Workload]:  # type: ignore[no-untyped-def]
    """One search at a time."""

    def cpp(net: ctypes.c_void_p) -> list[float]:
        shares = (ctypes.c_float * 7)()
        library.connect4_search(net, ctypes.c_int64(p.mine), ctypes.c_int64(p.all), ctypes.c_int64(SIMULATIONS), shares)
        return list(shares)

    g = hybridc.rng(0)
    common = lines_between(PYTHON, "COLUMNS", "def in_numpy") + lines_between(PYTHON, "def place")
    in_numpy, in_torch = connect4_python.in_numpy(weights), connect4_python.in_torch(weights)
    in_numba = connect4_numba.search(weights)
    peers = {
        "C++": (lambda: cpp(network), theirs),
        "numba": (lambda: in_numba(p.mine, p.all, SIMULATIONS), lines_between(NUMBA, "COLUMNS")),
        "Python + numpy": (lambda: connect4_python.search(p.mine, p.all, SIMULATIONS, in_numpy),
                           common + lines_between(PYTHON, "def in_numpy", "def in_torch")),
        "Python + torch": (lambda: connect4_python.search(p.mine, p.all, SIMULATIONS, in_torch),
                           common + lines_between(PYTHON, "def in_torch", "def place"))}
    aims = {"C++": 1.0, "numba": 1.0, "Python + numpy": 1 / 15, "Python + torch": 1 / 28}
    share: dict[str, float] = {}
    if there("jax", "mctx"):
        import jax_peers

        search = jax_peers.mcts(weights, SIMULATIONS)
        for batch in (16, 64):
            name = f"mctx, {batch} games at once"
            boards = [np.repeat(board(s)[None], batch, 0) for s in (p.mine, p.mine ^ p.all)]
            peers[name] = (lambda boards=boards: search(*boards),
                           lines_between(JAX, "COLUMNS", "# ---- beam search"))
            aims[name], share[name] = 0.1, 1 / batch
    yield Workload(
        f"Connect-Four, a move of {SIMULATIONS} simulations with the network",
        (lambda: player.search(p, SIMULATIONS, mod.Guide.Network, 0.0, g), ours), peers, aims, near(0.02), 21,
        frozenset(share), share)
    peers = {"C++, xorshift": (lambda: cpp(ctypes.c_void_p(None)), theirs)}
    aims = {}
    if there("pyspiel"):
        import spiel_peers

        peers["OpenSpiel, C++"] = (spiel_peers.rollouts(OPENING, SIMULATIONS), lines_between(SPIEL, "def rollouts",
                                                                                            "class Network"))
        aims["OpenSpiel, C++"] = 1 / 3
    yield Workload(
        f"Connect-Four, a move of {SIMULATIONS} random games",
        (lambda: player.search(p, SIMULATIONS, mod.Guide.Rollout, 0.0, g), ours), peers, aims, near(0.5), 15)
    if there("pyspiel"):
        count, sims, steps = 2, 100, 5

        def learn() -> tuple[float, float]:
            fresh, samples = mod.Player(seed=4), mod.native([], "list[Sample[7]]")
            loss, length = mod.train_round(fresh, mod.Adam(lr=0.001), samples, count, sims, 8, steps, 100_000, g)
            return loss, count * length

        yield Workload(
            f"Connect-Four, {count} games of self-play with {sims} simulations a move, {steps} steps on 128 positions: "
            "for each move played",
            (learn, lines_between(ALPHAZERO, "struct Position", "# ---- how well it plays")),
            {"OpenSpiel's Python search + torch": (spiel_peers.learning(weights, count, sims, steps),
                                                   lines_between(SPIEL, "class Network"))},
            {"OpenSpiel's Python search + torch": 1 / 20}, lambda a, b: abs(a[0] - b[0]) < 2.0, 21,
            units=lambda learned: learned[1])


def games(mod, player, library, network, ours, theirs) -> Iterator[Workload]:  # type: ignore[no-untyped-def]
    """Searches of 16 positions on two threads."""
    chance = np.random.default_rng(0)
    roots = []
    for _ in range(16):
        p = mod.Position()
        for move in chance.integers(0, 7, 8):
            p = player.play(p, int(move))
        roots.append(p)
    native = mod.native(roots, "list[Position]")
    mine, stones = (np.array([getattr(p, n) for p in roots], np.int64) for n in ("mine", "all"))
    shares = np.zeros((16, 7), np.float32)

    def cpp() -> np.ndarray:
        library.connect4_searches(network, ctypes.c_int64(16), mine.ctypes.data_as(INTS), stones.ctypes.data_as(INTS),
                                  ctypes.c_int64(SIMULATIONS), ctypes.c_int64(2), shares.ctypes.data_as(FLOATS))
        return shares

    yield Workload(
        f"Connect-Four, 16 moves of {SIMULATIONS} simulations, two threads",
        (lambda: mod.searches(player, native, SIMULATIONS), ours + lines_between(HERE / "games.hyb", "fn searches")),
        {"C++": (cpp, theirs + lines_between(HERE / "connect4.cpp", "// The same for many"))}, {"C++": 1.0}, near(0.02))


def board(stones: int) -> np.ndarray:
    return np.array([[bool(stones >> (7 * column + row) & 1) for row in range(6)] for column in range(7)])


def beam(threads: int) -> Iterator[Workload]:
    mod = hybridc.load(str(HERE / "models.hyb"))
    writer, twin = mod.Writer(seed=1), tensor_peers.Writer()
    weights = writer.state_dict()
    weights["embed.weight"] *= 0.5
    weights["head.weight"] *= 4.0
    weights["head.bias"][1] += 2.0  # so that texts end
    writer.load_state_dict(weights)
    twin.load_state_dict({n: torch.tensor(w) for n, w in weights.items()})
    starts = np.random.default_rng(0).normal(size=(16 if threads > 1 else 1, 256)).astype(np.float32)
    source, given = HERE / "models.hyb", torch.tensor(starts)
    ours, theirs = lines_between(source, "model Writer", "model Digits"), lines_between(HERE / "beam.cpp", "#include")

    def same(a: object, b: object) -> bool:
        return all(x[0] == y[0] and abs(x[1] - y[1]) < 1e-2 for x, y in zip(a, b, strict=True))  # type: ignore[call-overload]

    peers: dict[str, tuple[Callable[[], object], int]] = {}
    compiled = torch.compile(twin.turn, dynamic=False)
    batched = lines_between(TORCH, "def turn", "# ---- a mixture")
    if threads == 1:
        cpp = beam_in_cpp(weights)
        peers["C++"] = (lambda: [cpp(s) for s in starts], theirs)
        peers["torch eager"] = (lambda: [twin.beam(s, 8, 40) for s in given],
                                lines_between(TORCH, "class Writer", "def turn"))
    peers["torch eager, batched"] = (lambda: twin.beams(given, 8, 40, twin.turn), batched)
    peers["torch.compile of the step"] = (lambda: twin.beams(given, 8, 40, compiled), batched)
    if there("jax"):
        import jax_peers

        search = jax_peers.beam(weights, 8, 40)
        peers["JAX while_loop"] = (lambda: search(starts), lines_between(JAX, "def beam", "# ---- digits"))
    native = mod.native(list(starts), "list[f32[256]]")
    if threads == 1:
        yield Workload(
            "beam search, GRU 256, vocabulary 2 000, width 8, one source",
            (lambda: [(t.tokens, t.surprise) for t in [writer.beam(starts[0], 8, 40)]], ours), peers,
            {name: 1.0 if name == "C++" else 0.8 for name in peers}, same)
    else:
        yield Workload(
            "beam search, 16 sources, two threads",
            (lambda: [(t.tokens, t.surprise) for t in mod.texts(writer, native, 8, 40)], ours), peers,
            dict.fromkeys(peers, 0.8), same)


def beam_in_cpp(weights: dict[str, np.ndarray]) -> Callable[[np.ndarray], tuple[list[int], float]]:
    library = shared("beam", "-ffast-math")
    library.beam_writer.restype = ctypes.c_void_p
    library.beam_search.restype = ctypes.c_int64
    held = [np.ascontiguousarray(weights[n]) for n in ("embed.weight", "cell.weight_ih", "cell.weight_hh",
                                                       "cell.bias_ih", "cell.bias_hh", "head.weight", "head.bias")]
    writer = ctypes.c_void_p(library.beam_writer(*map(floats, held)))
    tokens, surprise = np.zeros(40, np.int64), ctypes.c_float()

    def search(start: np.ndarray) -> tuple[list[int], float]:
        count = library.beam_search(writer, floats(start), ctypes.c_int64(8), ctypes.c_int64(40),
                                    tokens.ctypes.data_as(INTS), ctypes.byref(surprise))
        return tokens[:count].tolist(), surprise.value

    return search


def experts(threads: int) -> Iterator[Workload]:
    if threads > 1:
        return
    source = EXAMPLES / "router" / "router.hyb"
    mod = hybridc.load(str(source))
    layer = mod.Experts(128, 256, seed=1)
    x = np.random.default_rng(0).normal(size=(512, 128)).astype(np.float32)
    plain, grouped = (kind(layer.state_dict(), 2, 1.25) for kind in (tensor_peers.Experts, tensor_peers.Grouped))
    compiled = torch.compile(grouped)
    given = torch.tensor(x)

    def run(module: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
        with torch.inference_mode():
            return module(given).numpy()

    base = lines_between(TORCH, "class Experts", "class Grouped")
    batched = base + lines_between(TORCH, "class Grouped", "# ---- digits")
    peers = {"torch eager": (lambda: run(plain), base),
             "torch eager, one batched product": (lambda: run(grouped), batched),
             "torch.compile": (lambda: run(compiled), batched)}
    yield Workload(
        "mixture of 8 experts, 512 tokens of 128, hidden 256",
        (lambda: layer(x), lines_between(source, "struct Plan", "model Reader")), peers, dict.fromkeys(peers, 0.5),
        near(1e-3), 21)


STEPS = 1000
"""Of training: of a hundred, half a millisecond, what the others had left in caches took a third of Hyb's time."""


def digits(threads: int) -> Iterator[Workload]:
    if threads > 1:
        return
    mod = hybridc.load(str(HERE / "models.hyb"))
    chance = np.random.default_rng(0)
    images = chance.random((STEPS, 4, 64), np.float32)
    answers = chance.integers(0, 37, STEPS).astype(np.float32)
    data = [(list(x), float(y)) for x, y in zip(images, answers, strict=True)]
    weights = mod.Digits(seed=1).state_dict()
    native = mod.native(data, "list[(list[f32[64]], f32)]")
    given = [([torch.tensor(image) for image in x], y) for x, y in data]
    library = shared("digits", "-ffast-math")
    library.digits_epoch.restype = ctypes.c_float
    held = [weights[n] for n in ("hidden.weight", "hidden.bias", "head.weight", "head.bias")]

    def hyb() -> float:
        m = mod.Digits(seed=1)
        return mod.epoch(m, mod.Adam(), native)

    def eager() -> float:
        m = tensor_peers.Digits()
        m.load_state_dict({n: torch.tensor(w) for n, w in weights.items()})
        return tensor_peers.epoch(m, torch.optim.Adam(m.parameters()), given)

    def cpp() -> float:
        return library.digits_epoch(*map(floats, held), ctypes.c_int64(STEPS), ctypes.c_int64(4), floats(images),
                                    floats(answers))

    peers: dict[str, tuple[Callable[[], object], int]] = {
        "torch eager": (eager, lines_between(TORCH, "class Digits")),
        "C++": (cpp, lines_between(HERE / "digits.cpp", "#include"))}
    aims = {"torch eager": 1 / 40, "C++": 1 / 0.8}
    if there("jax"):
        import jax_peers

        peers["JAX, one scan"] = (jax_peers.epoch(weights, images, answers), lines_between(JAX, "def epoch"))
        aims["JAX, one scan"] = 0.5
    yield Workload(
        f"digits from sums, {STEPS} training steps of one list of 4",
        (hyb, lines_between(HERE / "models.hyb", "model Digits")), peers, aims,
        lambda a, b: abs(a - b) < 1e-2 * abs(b), 15)  # type: ignore[operator,arg-type]


ALL = (connect4, beam, experts, digits, *programs.ALL)
