"""The rules agree with a second, plain program on random games; tic-tac-toe is learned until nothing beats it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hybridc


@pytest.fixture(scope="module")
def az(script):
    return script("alphazero/train.py")


class Plain:
    """The same games on a list of columns."""

    def __init__(self, columns, rows, need, moves, _width):
        self.columns, self.rows, self.need, self.drops = columns, rows, need, moves == columns
        self.board = [[0] * rows for _ in range(columns)]
        self.turn = 1

    def legal(self):
        if self.drops:
            return [c for c, column in enumerate(self.board) if column[-1] == 0]
        return [c * self.rows + r for c in range(self.columns) for r in range(self.rows) if self.board[c][r] == 0]

    def play(self, move):
        column, row = (move, self.board[move].index(0)) if self.drops else divmod(move, self.rows)
        self.board[column][row] = self.turn
        self.turn = -self.turn

    def lost(self):
        for c in range(self.columns):
            for r in range(self.rows):
                for dc, dr in ((0, 1), (1, 0), (1, 1), (1, -1)):
                    places = [(c + i * dc, r + i * dr) for i in range(self.need)]
                    if all(0 <= x < self.columns and 0 <= y < self.rows and self.board[x][y] == -self.turn
                           for x, y in places):
                        return True
        return False


@pytest.mark.parametrize("game", ["tictactoe", "connect4"])
def test_the_rules(az, game):
    mod, player = az.load(game, False)
    chance = random.Random(1)
    for _ in range(200):
        plain, p = Plain(*az.GAMES[game]), mod.Position()
        while True:
            assert player.legal(p) == plain.legal() and player.lost(p) == plain.lost()
            planes = np.asarray(player.planes(p)).reshape(3, plain.columns, plain.rows)
            board = np.array(plain.board) * plain.turn
            assert all((planes[i] == (board == of)).all() for i, of in enumerate((1, -1, 0)))
            if not plain.legal() or plain.lost():
                break
            move = chance.choice(plain.legal())
            plain.play(move)
            p = player.play(p, move)
    with pytest.raises(AssertionError, match="no place"):
        player.play(mod.Position(all=-1), 0)


def test_tictactoe_never_loses(az):
    mod, player = az.load("tictactoe", False)
    assert not mod.unbeaten(player, 0)
    assert az.train_tictactoe(mod, player, 3)
    assert all(mod.unbeaten(player, sims) for sims in (0, 25, 100))
    weak = mod.match_of(player, az.way(mod, 0, "Rollout"), az.way(mod, 0, "Network"), 50, 0, 3)
    assert weak.won == 0 and weak.lost > 25


def test_what_the_network_said_is_remembered(az):
    """A search that asks the network once for each position finds the same, also when it has searched before."""
    mod, player = az.load("connect4", False)
    p, known = mod.Position(), {}
    for move in (3, 3, 2, 4):
        asked = player.search(p, 300, mod.Guide.Network, 0.25, hybridc.rng(1))
        remembered = player.search_on(p, 300, mod.Guide.Memory, 0.25, known, hybridc.rng(1))
        assert np.array_equal(asked, remembered)
        p = player.play(p, move)
    assert 301 < len(known) < 1000  # of 1 204 that it looked at


def test_connect_four_as_trained(az):
    """Of 200 games with 400 simulations it wins 94 %; here a few with half of them."""
    mod, player = az.load("connect4", True)
    score = mod.match_of(player, az.way(mod, 200, "Network"), az.way(mod, 400, "Rollout"), 40, 0, 2)
    assert score.won >= 30


GAMES = """
import hybridc, train
mod, player = train.load("connect4", False)
print(mod.match_of(player, train.way(mod, 20, "Network"), train.way(mod, 20, "Rollout"), 12, 2, 9))
m = mod.Player(3, 3, 3, 9, 64)
print(mod.train_round(m, mod.Adam(), mod.native([], "list[Sample[9]]"), 10, 10, 4, 3, 1000, hybridc.rng(3)))
print([value.tobytes().hex() for value in m.state_dict().values()])
"""


def test_games_do_not_depend_on_threads(az):
    printed = set()
    for threads in ("1", "2", "5"):
        done = subprocess.run([sys.executable, "-c", GAMES], capture_output=True, text=True, timeout=300,
                              cwd=Path(az.__file__).parent, env={**os.environ, "HYB_THREADS": threads})
        assert done.returncode == 0, done.stderr
        printed.add(done.stdout)
    (text,) = printed
    assert text.startswith("Score(")


@pytest.mark.parametrize(("game", "name"), [("tictactoe", "tic_tac_toe"), ("connect4", "connect_four")])
def test_the_rules_are_those_of_openspiel(az, game, name):
    """OpenSpiel numbers the cells of tic-tac-toe row by row, which mirrors the board."""
    spiel = pytest.importorskip("pyspiel")
    mod, player = az.load(game, False)
    referee, chance, seen = spiel.load_game(name), random.Random(2), 0
    while seen < 100_000:
        state, p = referee.new_initial_state(), mod.Position()
        while True:
            seen += 1
            over = player.lost(p) or not player.legal(p)
            assert over == state.is_terminal()
            if over:
                assert state.rewards()[state.num_players() - 1 - p.ply % 2] == (1 if player.lost(p) else 0)
                break
            assert player.legal(p) == state.legal_actions()
            move = chance.choice(state.legal_actions())
            state.apply_action(move)
            p = player.play(p, move)
