"""A thousand lines of short functions, as a module of helpers has them: eight kinds, over and over, each with another
number, so that no two of them are alike."""

from __future__ import annotations

HEAD = """struct Place:
    x: f64
    y: f64
    name: str
"""
KINDS = ("""
fn count#(words: list[str]) -> map[str, int]:
    var found: map[str, int] = {}
    for w in words:
        found[w] = found.get(w, 0) + #
    return found
""", """
fn mean#(xs: list[f64]) -> f64:
    var total: f64 = 0.0
    for i in range(len(xs)):
        if xs[i] > #.5:
            total += xs[i] * #.0
        else:
            total -= 1.0
    return total / f64(max(len(xs), 1))
""", """
fn steps#(n: int) -> int:
    var x = n + #
    var count = 0
    while x != 1 and count < 1000:
        if x % 2 == 0:
            x = x // 2
        else:
            x = 3 * x + 1
        count += 1
    return count
""", """
fn farthest#(places: list[Place]) -> str:
    var best: f64 = -1.0
    var name = ""
    for p in places:
        let d = sqrt(p.x * p.x + p.y * p.y) + #.0
        if d > best:
            best = d
            name = p.name
    return f"{name} at {best}"
""", """
fn primes#(n: int) -> list[int]:
    var sieve = [true for _ in range(n + 1)]
    var found: list[int] = []
    for i in range(2, n + 1):
        if sieve[i]:
            found.append(i + #)
            var j = i * i
            while j <= n:
                sieve[j] = false
                j += i
    return found
""", """
fn shouted#(text: str) -> str:
    var parts: list[str] = []
    for w in text.split(" "):
        if len(w) > #:
            parts.append(w.upper())
    return "-".join(parts)
""", """
fn layer#(x: f32[N, D], w: f32[H, D], b: f32[H]) -> f32[N, H]:
    let h = x @ w.T + b
    return relu(h) * #.0
""", """
fn ordered#(pairs: list[(int, str)]) -> list[(int, str)]:
    var sorted_ = pairs
    sorted_.sort()
    var kept: list[(int, str)] = []
    for (n, s) in sorted_:
        if n % # == 0:
            kept.append((n, s))
    return kept
""")


def text(lines: int) -> str:
    """So many lines, or a few more."""
    found, number = [HEAD], 0
    while "".join(found).count("\n") < lines:
        number += 1
        found.append(KINDS[number % len(KINDS)].replace("#", str(number)))
    return "".join(found)
