"""The TreeLSTM of docs/language.md, one tree at a time: Hyb, torch eager, and C++ by hand (built with g++ -O3
-march=native -ffast-math), with the time to read a node's weights from the cache, which none of them can go below."""

from __future__ import annotations

import ctypes
import random
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

import hybridc

DIM, VOCAB = 150, 10_000
CPP = r"""
#include <cmath>
#include <cstdint>
extern "C" {
// A tree is written in postorder: a word, or -1 for a node of the last two. Returns the number of nodes.
int64_t encode(const int64_t* code, int64_t n, const float* embed, const float* w, const float* b, float* stack) {
    const int D = 150;
    float* top = stack; int64_t nodes = 0;
    for (int64_t t = 0; t < n; t++) {
        if (code[t] >= 0) {
            for (int i = 0; i < D; i++) { top[i] = embed[code[t] * D + i]; top[D + i] = 0; }
            top += 2 * D; continue;
        }
        nodes++;
        float *l = top - 4 * D, *r = top - 2 * D;
        alignas(64) float x[2 * D], g[5 * D];
        for (int i = 0; i < D; i++) { x[i] = l[i]; x[D + i] = r[i]; }
        for (int j = 0; j < 5 * D; j++) {
            float s = b[j];
            const float* row = w + j * 2 * D;
            for (int k = 0; k < 2 * D; k++) s += row[k] * x[k];
            g[j] = s;
        }
        for (int i = 0; i < D; i++) {
            auto sig = [](float v) { return 1 / (1 + std::exp(-v)); };
            float c = sig(g[i]) * std::tanh(g[4 * D + i]) + sig(g[D + i]) * l[D + i] + sig(g[2 * D + i]) * r[D + i];
            l[i] = sig(g[3 * D + i]) * std::tanh(c); l[D + i] = c;
        }
        top -= 2 * D;
    }
    return nodes;
}
float touch(const float* w, int64_t n) {
    float s[64] = {};
    for (int64_t i = 0; i + 64 <= n; i += 64) for (int j = 0; j < 64; j++) s[j] += w[i + j];
    float t = 0;
    for (int j = 0; j < 64; j++) t += s[j];
    return t;
}
}
"""


def trees(count: int = 200) -> list[Any]:
    """Random binary trees of 5 to 45 leaves: a word, or a pair."""
    rng = random.Random(0)

    def tree(leaves: int) -> Any:
        if leaves == 1:
            return rng.randrange(VOCAB)
        left = rng.randrange(1, leaves)
        return tree(left), tree(leaves - left)

    return [tree(rng.randrange(5, 46)) for _ in range(count)]


def postorder(t: Any) -> list[int]:
    return [t] if isinstance(t, int) else [*postorder(t[0]), *postorder(t[1]), -1]


def library() -> ctypes.CDLL:
    folder = Path(tempfile.mkdtemp())
    (folder / "tree.cpp").write_text(CPP)
    flags = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
    subprocess.run(["g++", *flags, "-o", str(folder / "tree.so"), str(folder / "tree.cpp")], check=True)
    found = ctypes.CDLL(str(folder / "tree.so"))
    found.encode.restype = ctypes.c_int64
    found.touch.restype = ctypes.c_float
    return found


def runs() -> tuple[dict[str, Any], int]:
    """Functions that encode all trees, by name, and how many nodes these have. The floor reads the weights as often."""
    mod = hybridc.load(str(Path(__file__).parent.parent / "treelstm.hyb"))
    model = mod.TreeLSTM(vocab=VOCAB, dim=DIM, seed=0)
    sd = model.state_dict()
    data = trees()

    def as_hyb(t: Any) -> Any:
        return mod.Tree.Leaf(t) if isinstance(t, int) else mod.Tree.Node(as_hyb(t[0]), as_hyb(t[1]))

    native = [mod.native(as_hyb(t), "Tree") for t in data]
    embed, w, b = (torch.tensor(sd[n]) for n in ("embed.weight", "w", "b"))
    head_w, head_b = torch.tensor(sd["head.weight"]), torch.tensor(sd["head.bias"])

    def encode(t: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if isinstance(t, int):
            return embed[t], torch.zeros(DIM)
        (lh, lc), (rh, rc) = encode(t[0]), encode(t[1])
        i, fl, fr, o, g = (w @ torch.cat((lh, rh)) + b).chunk(5)
        c = i.sigmoid() * g.tanh() + fl.sigmoid() * lc + fr.sigmoid() * rc
        return o.sigmoid() * c.tanh(), c

    cpp = library()
    codes = [np.array(postorder(t), np.int64) for t in data]
    stack = np.zeros(100 * 2 * DIM, np.float32)
    arrays = [np.ascontiguousarray(sd[n]) for n in ("embed.weight", "w", "b")]
    pointers = [ctypes.c_void_p(x.ctypes.data) for x in (*arrays, stack)]
    given = [(c.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(len(c))) for c in codes]  # which keep the arrays
    nodes = sum(int((c < 0).sum()) for c in codes)

    def by_hand() -> np.ndarray:
        out = []
        for c, n in given:
            cpp.encode(c, n, *pointers)
            out.append(sd["head.weight"] @ stack[:DIM] + sd["head.bias"])
        return np.array(out)

    def floor() -> None:
        for _ in range(nodes):
            cpp.touch(pointers[1], ctypes.c_int64(arrays[1].size))

    found = {
        "Hyb": lambda: np.array([model(t) for t in native]),
        "torch": lambda: np.array([(head_w @ encode(t)[0] + head_b).numpy() for t in data]),
        "C++": by_hand,
        "floor": floor,
    }
    for name in ("torch", "C++"):
        np.testing.assert_allclose(found[name](), found["Hyb"](), rtol=1e-3, atol=1e-4, err_msg=name)
    return found, nodes
