"""The same models in JAX: Connect-Four's search by mctx on batches of games, a beam search in one `while_loop`, and
digits from sums in one `scan` over the steps. What it needs: `pip install jax mctx`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

COLUMNS, ROWS = 7, 6
START, END = 0, 1


# ---- Connect-Four ----
def four(stones: jax.Array) -> jax.Array:
    """Whether stones [B, columns, rows] hold four in a row."""
    found = jnp.zeros(stones.shape[0], bool)
    padded = jnp.pad(stones, ((0, 0), (3, 3), (3, 3)))
    for dx, dy in ((0, 1), (1, 0), (1, 1), (1, -1)):
        row = stones
        for k in range(1, 4):
            row = row & jax.lax.dynamic_slice(padded, (0, 3 + k * dx, 3 + k * dy), stones.shape)
        found = found | row.any((1, 2))
    return found


def played(mine: jax.Array, theirs: jax.Array, move: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The stones of whose turn it is now, and the other's, after a move each [B]."""
    height = (mine | theirs).sum(2)[jnp.arange(len(move)), move]
    stone = jax.nn.one_hot(move, COLUMNS, dtype=bool)[:, :, None] & jax.nn.one_hot(height, ROWS, dtype=bool)[:, None, :]
    return theirs, mine | stone


def mcts(weights: dict[str, np.ndarray], sims: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The shares of moves [B, 7] by stones [B, 7, 6] of whose turn it is and of the other."""
    import mctx

    params = {n: (jnp.asarray(weights[f"{n}.weight"]), jnp.asarray(weights[f"{n}.bias"]))
              for n in ("first", "second", "head")}

    def evaluate(mine: jax.Array, theirs: jax.Array) -> tuple[jax.Array, jax.Array]:
        size = mine.shape[0]
        x = jnp.concatenate([s.reshape(size, -1) for s in (mine, theirs, ~(mine | theirs))], 1).astype(jnp.float32)
        for n in ("first", "second"):
            x = jax.nn.relu(x @ params[n][0].T + params[n][1])
        y = x @ params["head"][0].T + params["head"][1]
        full = (mine | theirs)[:, :, ROWS - 1]
        return jnp.where(full, -1e9, y[:, :COLUMNS]), jnp.tanh(y[:, COLUMNS])

    def step(_, key, move, state):
        mine, theirs, over = state
        mine, theirs = played(mine, theirs, move)
        won = four(theirs)
        over_now = over | won | (mine | theirs).all((1, 2))
        logits, value = evaluate(mine, theirs)
        return mctx.RecurrentFnOutput(
            reward=jnp.where(over, 0.0, won.astype(jnp.float32)), discount=jnp.where(over_now, 0.0, -1.0),
            prior_logits=logits, value=jnp.where(over_now, 0.0, value)), (mine, theirs, over_now)

    @jax.jit
    def search(mine: jax.Array, theirs: jax.Array) -> jax.Array:
        logits, value = evaluate(mine, theirs)
        root = mctx.RootFnOutput(prior_logits=logits, value=value,
                                 embedding=(mine, theirs, jnp.zeros(mine.shape[0], bool)))
        return mctx.muzero_policy(
            (), jax.random.PRNGKey(0), root, step, sims, invalid_actions=(mine | theirs)[:, :, ROWS - 1],
            dirichlet_fraction=0.0, temperature=1.0, pb_c_init=1.5,
            qtransform=partial(mctx.qtransform_by_min_max, min_value=-1.0, max_value=1.0)).action_weights

    return lambda mine, theirs: np.asarray(search(mine, theirs))


# ---- beam search ----
def beam(weights: dict[str, np.ndarray], width: int, longest: int
         ) -> Callable[[np.ndarray], list[tuple[list[int], float]]]:
    """The tokens of the least surprising text that has ended, and its surprise, for each first state [sources, 256]."""
    w = {n: jnp.asarray(v) for n, v in weights.items()}
    vocab, dim = w["embed.weight"].shape

    def cell(x: jax.Array, h: jax.Array) -> jax.Array:
        i = x @ w["cell.weight_ih"].T + w["cell.bias_ih"]
        k = h @ w["cell.weight_hh"].T + w["cell.bias_hh"]
        r, z = jax.nn.sigmoid(i[:, :dim] + k[:, :dim]), jax.nn.sigmoid(i[:, dim:2 * dim] + k[:, dim:2 * dim])
        n = jnp.tanh(i[:, 2 * dim:] + r * k[:, 2 * dim:])
        return (1 - z) * n + z * h

    def going(s):
        step, _, _, costs, _, least, _, _ = s
        return (step < longest) & jnp.any(costs < least)

    def turn(s):
        step, last, drafts, costs, h, least, best, length = s
        h = cell(w["embed.weight"][last], h)
        following = costs[:, None] - jax.nn.log_softmax(h @ w["head.weight"].T + w["head.bias"])
        negative, at = jax.lax.top_k(-following.reshape(-1), width)
        cost, row, token = -negative, at // vocab, at % vocab
        ended = jnp.where(token == END, cost, jnp.inf)
        first = jnp.argmin(ended)
        better = ended[first] < least
        best = jnp.where(better, drafts[row[first]], best)
        length = jnp.where(better, step, length)
        least = jnp.where(better, ended[first], least)
        open_ = (token != END) & (cost < least)
        drafts = drafts[row].at[:, step].set(token)
        return step + 1, token, drafts, jnp.where(open_, cost, jnp.inf), h[row], least, best, length

    def run(start: jax.Array):
        costs = jnp.full(width, jnp.inf).at[0].set(0.0)
        state = (0, jnp.full(width, START), jnp.zeros((width, longest), int), costs,
                 jnp.broadcast_to(start, (width, dim)), jnp.inf, jnp.zeros(longest, int), 0)
        *_, least, best, length = jax.lax.while_loop(going, turn, state)
        return best, length, least

    many = jax.jit(jax.vmap(run))

    def search(starts: np.ndarray) -> list[tuple[list[int], float]]:
        best, length, least = map(np.asarray, many(starts))
        return [(b[:n].tolist(), float(s)) for b, n, s in zip(best, length, least, strict=True)]

    return search


# ---- digits by sums ----
def epoch(weights: dict[str, np.ndarray], images: np.ndarray, answers: np.ndarray) -> Callable[[], float]:
    """A step of Adam for each list, images [lists, length, 64]; the sum of losses."""
    start = {n: jnp.asarray(v) for n, v in weights.items()}
    values = jnp.arange(10.0)

    def loss(p: dict[str, jax.Array], x: jax.Array, answer: jax.Array) -> jax.Array:
        h = jax.nn.relu(x @ p["hidden.weight"].T + p["hidden.bias"])
        return ((jax.nn.softmax(h @ p["head.weight"].T + p["head.bias"]) @ values).sum() - answer) ** 2

    @jax.jit
    def run(p, images, answers):
        def step(s, given):
            p, m, v, t = s
            found, g = jax.value_and_grad(loss)(p, *given)
            t = t + 1
            m = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
            v = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
            p = jax.tree.map(lambda p, m, v: p - 1e-3 * (m / (1 - 0.9 ** t)) / (jnp.sqrt(v / (1 - 0.999 ** t)) + 1e-8),
                             p, m, v)
            return (p, m, v, t), found

        zeros = jax.tree.map(jnp.zeros_like, p)
        _, losses = jax.lax.scan(step, (p, zeros, zeros, 0.0), (images, answers))
        return losses.sum()

    return lambda: float(run(start, images, answers))
