"""Trains `alphazero.hyb` by self-play: tic-tac-toe until no reply beats it, or Connect-Four for some minutes."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
from rich.console import Console
from rich.table import Table
from safetensors.numpy import load_file, save_file

import hybridc

HERE = Path(__file__).parent
GAMES = {"tictactoe": (3, 3, 3, 9, 64), "connect4": (7, 6, 4, 7, 256)}
"""Columns, rows, stones in a row, moves, width of the network."""


def load(game: str, trained: bool) -> tuple[ModuleType, object]:
    """The program, and a player; `trained` as the weights beside it say, which are stored in 16 bits."""
    mod = hybridc.load(str(HERE / "alphazero.hyb"))
    player = mod.Player(*GAMES[game], seed=1)
    if trained:
        weights = load_file(HERE / f"{game}.safetensors")
        player.load_state_dict({name: w.astype(np.float32) for name, w in weights.items()})
    return mod, player


def save(player: object, file: str) -> None:
    save_file({name: w.astype(np.float16) for name, w in player.state_dict().items()}, file)


def train_tictactoe(mod: ModuleType, player: object, minutes: float) -> bool:
    """Until the network alone, and with 25 and 100 simulations, never loses; whether that was reached in time."""
    opt, samples, g = mod.Adam(lr=0.002), mod.native([], "list[Sample[9]]"), hybridc.rng(0)
    start = time.perf_counter()
    games = 0
    while time.perf_counter() - start < 60 * minutes:
        loss, _ = mod.train_round(player, opt, samples, 100, 50, 9, 100, 20_000, g)
        games += 100
        unbeaten = [mod.unbeaten(player, sims) for sims in (0, 25, 100)]
        if games % 1000 == 0 or all(unbeaten):
            print(f"{time.perf_counter() - start:.0f} s, {games} games: loss {loss:.3f}, unbeaten with 0, 25 and 100 "
                  f"simulations: {unbeaten}", flush=True)
        if all(unbeaten):
            return True
    return False


def train_connect4(mod: ModuleType, player: object, minutes: float) -> bool:
    """Games of 100 simulations a move; the learning rate falls to a tenth for the last third of the time."""
    opt, samples, g = mod.Adam(lr=0.001), mod.native([], "list[Sample[7]]"), hybridc.rng(0)
    start = time.perf_counter()
    rounds = 0
    while (passed := time.perf_counter() - start) < 60 * minutes:
        opt.lr = 0.001 if passed < 40 * minutes else 0.0001
        loss, length = mod.train_round(player, opt, samples, 64, 100, 12, 150, 100_000, g)
        rounds += 1
        if rounds % 50 == 1:
            score = mod.match_of(player, way(mod, 100, "Network"), way(mod, 400, "Rollout"), 40, 0, 5)
            print(f"{passed:.0f} s, {64 * rounds} games of {length:.0f} moves: loss {loss:.3f}, against 400 random "
                  f"games {score}", flush=True)
    return True


def way(mod: ModuleType, sims: int, guide: str) -> object:
    return mod.Way(sims, getattr(mod.Guide, guide))


def ladder(mod: ModuleType, player: object, sims: int, games: int) -> Table:
    """The network alone, search alone (random games), both: each against each, from two moves at random."""
    ways = {"network alone": way(mod, 0, "Network"), f"{sims} random games": way(mod, sims, "Rollout"),
            f"network, {sims} simulations": way(mod, sims, "Network")}
    table = Table("", *(f"against {name}" for name in ways), title=f"won, drawn, lost of {games}")
    for name, ours in ways.items():
        row = []
        for theirs in ways.values():
            s = mod.match_of(player, ours, theirs, games, 2, 1)
            row.append("" if ours is theirs else f"{s.won} {s.drawn} {s.lost}")
        table.add_row(name, *row)
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("game", choices=GAMES)
    parser.add_argument("--load", action="store_true", help="use the trained weights that are there already")
    parser.add_argument("--minutes", type=float, help="at most; 5 for tic-tac-toe, 60 for Connect-Four unless given")
    parser.add_argument("--save", help="where to write the weights, a .safetensors file")
    options = parser.parse_args()
    mod, player = load(options.game, options.load)
    minutes = options.minutes or {"tictactoe": 5, "connect4": 60}[options.game]
    if not options.load:
        {"tictactoe": train_tictactoe, "connect4": train_connect4}[options.game](mod, player, minutes)
    if options.save:
        save(player, options.save)
    console = Console()
    console.print(ladder(mod, player, 400 if options.game == "connect4" else 50, 100))
    if options.game == "tictactoe":
        return 0 if all(mod.unbeaten(player, sims) for sims in (0, 25, 100)) else 1
    score = mod.match_of(player, way(mod, 400, "Network"), way(mod, 400, "Rollout"), 200, 0, 7)
    console.print(f"against a search with 400 random games a move, 200 games: {score}")
    return 0 if score.won >= 180 else 1


if __name__ == "__main__":
    sys.exit(main())
