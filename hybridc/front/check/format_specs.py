"""Which format specifications Python has for a kind of value; what they do is `std/_format.hyb`'s."""

from __future__ import annotations

import re

GRAMMAR = re.compile(
    r"(?:(?P<fill>.)?(?P<align>[<>=^]))?(?P<sign>[-+ ])?(?P<zero>z)?(?P<form>#)?0?(?P<width>\d+)?(?P<group>[,_])?"
    r"(?:\.(?P<precision>\d+))?(?P<kind>.)?",
    re.DOTALL,
)
LONGEST = 1_000_000_000
"""Of widths and precisions, as in `std/_format.hyb`."""
FLOAT_KINDS = "eEfFgG%"


def unfit(spec: str, kind: str) -> str | None:
    """Why `spec` is not for a value of `kind` (`int`, `float`, `str` or `bool`), or None if it is."""
    m = GRAMMAR.fullmatch(spec)
    if m is None:
        return "it is not `[fill][align][sign][z][#][0][width][,][.precision][type]`"
    letter = m["kind"] or ""
    if max(int(m["width"] or 0), int(m["precision"] or 0)) > LONGEST:
        return "it has too many digits"
    if kind == "bool":
        kind = "int" if letter not in ("", "s") else "str"
    if kind == "int" and letter and letter in FLOAT_KINDS:
        kind = "float"
    return LOOK[kind](m, letter)


def _text(m: re.Match[str], letter: str) -> str | None:
    if letter not in ("", "s"):
        return f"`{letter}` is for numbers"
    for part in ("sign", "zero", "form", "group"):
        if m[part]:
            return f"`{m[part]}` is for numbers"
    return "`=` is for numbers" if m["align"] == "=" else None


def _whole(m: re.Match[str], letter: str) -> str | None:
    if letter not in ("", *"bcdoxXn"):
        return f"there is no type `{letter}`" if letter != "s" else "`s` is for text"
    if m["precision"] is not None:
        return "a precision is for floats and text"
    if m["zero"]:
        return "`z` is for floats"
    if letter == "c" and (m["sign"] or m["form"]):
        return f"`{m['sign'] or m['form']}` does not go with `c`"
    if m["group"] and (letter and letter in "cn" or m["group"] == "," and letter and letter in "boxX"):
        return f"`{m['group']}` does not go with `{letter}`"
    return None


def _real(m: re.Match[str], letter: str) -> str | None:
    if letter not in ("", "n", *FLOAT_KINDS):
        return "it is for ints: cast with `int(x)`" if letter in "bcdoxX" else f"there is no type `{letter}`"
    if m["group"] and letter == "n":
        return f"`{m['group']}` does not go with `n`"
    return None


LOOK = {"str": _text, "int": _whole, "float": _real}
