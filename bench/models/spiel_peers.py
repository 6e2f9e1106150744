"""OpenSpiel's searches of Connect-Four: its C++ search with random games, and self-play and learning with its Python
search. What it needs: `pip install open_spiel`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyspiel
import torch
from open_spiel.python.algorithms import mcts

MOVES = 7


def rollouts(moves: tuple[int, ...], sims: int) -> Callable[[], list[float]]:
    """The share of simulations of each move by OpenSpiel's C++ search, one random game each."""
    game = pyspiel.load_game("connect_four")
    state = game.new_initial_state()
    for move in moves:
        state.apply_action(move)
    evaluator = pyspiel.RandomRolloutEvaluator(1, 7)
    bot = pyspiel.MCTSBot(game, evaluator, 1.5, sims, 1000, False, 7, False)

    def search() -> list[float]:
        shares = [0.0] * MOVES
        for child in bot.mcts_search(state).children:
            shares[child.action] = child.explore_count / sims
        return shares

    return search


class Network(mcts.Evaluator):
    """The network 126-256-256-8 as OpenSpiel's search asks it: once for a state, kept for when it is asked again."""

    def __init__(self, weights: dict[str, np.ndarray]):
        self.layers = torch.nn.ModuleList([torch.nn.Linear(126, 256), torch.nn.Linear(256, 256),
                                           torch.nn.Linear(256, MOVES + 1)])
        for layer, name in zip(self.layers, ("first", "second", "head"), strict=True):
            layer.load_state_dict({p: torch.tensor(weights[f"{name}.{p}"]) for p in ("weight", "bias")})
        self.kept: dict[bytes, tuple[float, list[tuple[int, float]]]] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second, head = self.layers
        return head(torch.relu(second(torch.relu(first(x)))))

    def known(self, state: pyspiel.State) -> tuple[float, list[tuple[int, float]]]:
        x = np.asarray(state.observation_tensor(), np.float32)
        key = x.tobytes()
        if key not in self.kept:
            with torch.inference_mode():
                y = self.forward(torch.from_numpy(x))
                legal = state.legal_actions()
                priors = torch.softmax(y[legal], 0).tolist()
            self.kept[key] = (float(torch.tanh(y[MOVES])), list(zip(legal, priors, strict=True)))
        return self.kept[key]

    def evaluate(self, state: pyspiel.State) -> np.ndarray:
        value, _ = self.known(state)
        sign = 1.0 if state.current_player() == 0 else -1.0
        return np.array([sign * value, -sign * value])

    def prior(self, state: pyspiel.State) -> list[tuple[int, float]]:
        return self.known(state)[1]


def learning(weights: dict[str, np.ndarray], games: int, sims: int, steps: int) -> Callable[[], tuple[float, int]]:
    """Games of self-play, then steps of Adam on 128 of their positions each; the mean loss, and the moves played."""
    game = pyspiel.load_game("connect_four")
    chance = np.random.RandomState(0)

    def play(network: Network) -> list[tuple[np.ndarray, np.ndarray, float]]:
        bot = mcts.MCTSBot(game, 1.5, sims, network, solve=False, random_state=chance, dirichlet_noise=(0.25, 1.0),
                           child_selection_fn=mcts.SearchNode.puct_value)
        state = game.new_initial_state()
        seen = []
        while not state.is_terminal():
            shares = np.zeros(MOVES, np.float32)
            for child in bot.mcts_search(state).children:
                shares[child.action] = child.explore_count
            shares /= shares.sum()
            seen.append((np.asarray(state.observation_tensor(), np.float32), shares, state.current_player()))
            move = chance.choice(MOVES, p=shares) if len(seen) <= 8 else int(shares.argmax())
            state.apply_action(int(move))
        won = state.returns()
        return [(x, shares, won[player]) for x, shares, player in seen]

    def run() -> tuple[float, int]:
        network = Network(weights)
        samples = [s for _ in range(games) for s in play(network)]
        x, policy, value = (torch.tensor(np.stack(c)) for c in zip(*samples, strict=True))
        opt = torch.optim.Adam(network.layers.parameters())
        total = 0.0
        for _ in range(steps):
            at = torch.randint(len(x), (128,))
            y = network.forward(x[at])
            loss = ((torch.tanh(y[:, MOVES]) - value[at].float()) ** 2).mean() - (
                policy[at] * torch.log_softmax(y[:, :MOVES], 1)).sum(1).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        return total / steps, len(samples)

    return run
