"""Trains `translate.hyb` on random dates, and measures it on others; texts given are translated."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import hybridc

HERE = Path(__file__).parent
DIM = 48


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--load", action="store_true", help="use the trained weights that are there already")
    parser.add_argument("--steps", type=int, default=1500, help="of 16 dates each")
    parser.add_argument("--save", help="where to write the weights, a .safetensors file")
    parser.add_argument("text", nargs="*", default=["the 3rd of may, 2021", "sat 29th feb '20", "7/4/1976"])
    options = parser.parse_args()
    mod = hybridc.load(str(HERE / "translate.hyb"))
    m = mod.Translator(DIM)
    if options.load:
        m.load(str(HERE / "translate.safetensors"))
    else:
        start = time.perf_counter()
        loss = mod.train(m, options.steps, 0.005, hybridc.rng(0))
        print(f"{16 * options.steps} dates in {time.perf_counter() - start:.0f} s; loss {loss:.4f}")
    if options.save:
        m.save(options.save)
    shares = {width: mod.exact(m, 2000, width, 7) for width in (1, 4)}
    for width, share in shares.items():
        print(f"beam of {width}: {share:.2%} of 2000 other dates exactly right")
    for text in options.text:
        found = m.translate(text)
        print(f"{text!r} is {found.iso} ({found.surprise:.3f} nats, {found.steps} drafts continued)")
    return 0 if shares[4] >= 0.98 else 1


if __name__ == "__main__":
    sys.exit(main())
