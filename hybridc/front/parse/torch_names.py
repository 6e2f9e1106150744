"""Functions and methods of torch's that are none here, and how what they do is written.

Each text shows expressions of Hyb over matrices `x y p q`, a vector `v`, a bool tensor `mask`, ints `i` and numbers
`n k`, which tests/front/test_torch_names.py checks.
"""

from __future__ import annotations

FUNCTIONS = {
    # elementwise
    "leaky_relu": "write `where(x > 0, x, 0.01 * x)`",
    "elu": "write `where(x > 0, x, exp(minimum(x, 0)) - 1)`",
    "relu6": "write `clamp(x, 0, 6)`", "hardtanh": "write `clamp(x, -1, 1)`",
    "logsigmoid": "write `-softplus(-x)`", "mish": "write `x * tanh(softplus(x))`",
    "ceil": "write `-floor(-x)`", "trunc": "write `sign(x) * floor(abs(x))`",
    "square": "write `x ** 2`", "reciprocal": "write `1 / x`", "exp2": "write `2.0 ** x`",
    "log2": "write `log(x) / log(2.0)`", "log10": "write `log(x) / log(10.0)`",
    "sinh": "write `(exp(x) - exp(-x)) / 2`", "cosh": "write `(exp(x) + exp(-x)) / 2`",
    "hypot": "write `sqrt(x * x + y * y)`", "logaddexp": "write `logsumexp(stack([x, y]), axis=0)`",
    "isnan": "write `x != x`", "isinf": "write `abs(x) == inf`", "isfinite": "write `abs(x) < inf`",
    "add": "write `x + y`", "sub": "write `x - y`", "mul": "write `x * y`", "div": "write `x / y`", "neg": "write `-x`",
    "lerp": "write `x + 0.5 * (y - x)`", "remainder": "write `x % y`",
    "logical_and": "write `mask & (x > 0)`", "logical_or": "write `mask | (x > 0)`", "logical_not": "write `~mask`",
    **dict.fromkeys(("masked_fill", "masked_fill_"), "write `where(mask, 0.0, x)`"),
    # reductions
    "amax": "write `max(x, axis=1)`", "amin": "write `min(x, axis=1)`",
    **dict.fromkeys(("std", "std_mean"), "write `sqrt(mean((x - mean(x)) ** 2))`; torch divides by one less"),
    "variance": "write `mean((x - mean(x)) ** 2)`; torch divides by one less",
    **dict.fromkeys(("median", "quantile"), "write `sort(v)[k]`"),
    "count_nonzero": "write `sum(x != 0)`", "allclose": "write `all(abs(x - y) < 1e-5)`",
    "trace": "write `einsum(\"ii->\", x)`",
    **dict.fromkeys(("bincount", "histc"), "write `counts[i] += 1`, with `var counts: int[?] = zeros(n)`"),
    "numel": "write `len(reshape(x, -1))`", "softmin": "write `softmax(-x)`",
    "cumprod": "for what is above zero `exp(cumsum(log(x), axis=0))`; else a loop over `x`",
    # structure
    **dict.fromkeys(("flatten", "ravel"), "write `reshape(x, -1)`"),
    **dict.fromkeys(("swapaxes", "swapdims"), "write `transpose(x, 0, 1)`"), "movedim": "write `permute(x, 1, 0)`",
    **dict.fromkeys(("vstack", "hstack", "row_stack"), "write `concat(x, y)`, or `concat(x, y, axis=1)` side by side"),
    "tril": "write `where(arange(4)[:, none] >= arange(4), x, 0)`",
    "triu": "write `where(arange(4)[:, none] <= arange(4), x, 0)`",
    **dict.fromkeys(("diag", "diagonal"), "`einsum(\"ii->i\", x)` is the diagonal, `eye(4) * v` the matrix of one"),
    "roll": "write `concat(x[-1:], x[:-1])`",
    **dict.fromkeys(("repeat", "tile"), "write `concat(x, x)`, or for a new axis `expand(x[none], n, -1, -1)`"),
    "repeat_interleave": "write `x[arange(n * len(x)) // n]`",
    "linspace": "from 2 to 3 in n steps write `2.0 + f32(arange(n)) / f32(n - 1)`",
    "meshgrid": "`v[:, none]` and `v[none, :]` go with each other where they are combined",
    **dict.fromkeys(("nonzero", "argwhere"), "of a vector write `arange(len(v))[v != 0]`"),
    "unique": "a `set` keeps each once",
    **dict.fromkeys(("index_add", "index_add_"), "write `t[i] += x`, with `var t = x`"),
    **dict.fromkeys(("scatter_add_", "index_put_"), "write `t[i] = x`, with `var t = x`; `t[i] += x` adds"),
    "index_select": "write `x[i]`", "masked_select": "write `x[mask]`", "take_along_dim": "write `gather(x, 1, j)`",
    **dict.fromkeys(("empty", "zero_"), "write `zeros(3, 4)`"),
    **dict.fromkeys(("as_tensor", "from_numpy"), "write `tensor([1.0, 2.0])`; what comes from Python is one already"),
    # products and distances
    **dict.fromkeys(("mv", "addmm"), "write `x @ v`, `v + x @ y`"), "linear": "write `x @ y.T + v`",
    "tensordot": "write `einsum(\"ij,jk->ik\", x, y)`",
    "cdist": "write `sqrt(sum((x[:, none] - y) ** 2, axis=-1))`",
    "normalize": "write `x / norm(x, axis=-1, keepdim=true)`",
    "cosine_similarity": "write `dot(v, v) / (norm(v) * norm(v))`",
    # layers and losses
    "nll_loss": "`cross_entropy(x, i)` takes what is before `log_softmax`",
    "binary_cross_entropy": "write `-mean(y * log(p) + (1 - y) * log(1 - p))`",
    "binary_cross_entropy_with_logits": "write `mean(softplus(x) - x * y)`",
    "l1_loss": "write `mean(abs(x - y))`", "kl_div": "write `sum(p * (log(p) - log(q)))`",
    **dict.fromkeys(("smooth_l1_loss", "huber_loss"),
                    "write `mean(where(abs(x - y) < 1, 0.5 * (x - y) ** 2, abs(x - y) - 0.5))`"),
    "batch_norm": "write `from nn import BatchNorm`",
    "max_pool1d": "write `squeeze(max_pool2d(x[:, none], (1, 2)), 1)`",
    "avg_pool1d": "write `squeeze(avg_pool2d(x[:, none], (1, 2)), 1)`",
    "adaptive_avg_pool2d": "over all places write `mean(x, axis=[-2, -1])`",
    # what is asked of the machine
    "no_grad": "only what `grad` is asked for is differentiated; `stop_gradient(x)` is constant",
    "manual_seed": "numbers come from a generator: `var g = rng(n)`",
    **dict.fromkeys(("multinomial", "bernoulli"), "with `var g = rng(n)`, `g.categorical(v)`, `g.uniform() < 0.5`"),
    "gumbel_softmax": "with `var g = rng(n)` write `g.categorical(v, estimator=gumbel(0.5))`",
}

ARGUMENTS = {
    "label_smoothing": "write the sum: `-mean(sum(q * log_softmax(x), axis=-1))`",
    "ignore_index": "choose the rows that count: `cross_entropy(x[keep], i[keep])`, with `let keep = i != n`",
    "reduction": "a loss is the mean; the sum is written out, `sum((x - y) ** 2)`",
    "approximate": "write `0.5 * x * (1 + tanh(0.7978845608 * (x + 0.044715 * x ** 3)))`",
    "beta": "write `softplus(2 * x) / 2`",
    "mode": "what is put around is one value; else it is put together, `concat(x[:1], x)`",
    "ceil_mode": "windows are whole; `pad(x, [0, 1])` makes room for one more",
    "scale": "what is not divided by the root of the width is written so: `softmax(0.5 * x @ y.T) @ y`",
    "unbiased": "torch divides by one less: `sum((x - mean(x)) ** 2) / f32(n - 1)`",
}
"""The same of arguments."""
