"""Where a space stands between two tokens of a line."""

from __future__ import annotations

from hybridc.fmt.lines import CLOSING, OPENING, Piece

OPERANDS = frozenset("NAME SELF NUMBER STRING FSTRING TRUE FALSE NONE QMARK".split()) | CLOSING
"""What an expression or a type can end with: a bracket after it calls or indexes, a sign after it is between two."""
SIGNS = frozenset("MINUS PLUS STAR".split())


class _Group:
    """A bracket that is open: what it is for, and what has been seen since the last comma."""

    def __init__(self, kind: str):
        self.kind = kind
        self.lambdas = 0
        self.typed = False


def space(pieces: list[Piece]) -> None:
    """Set `space` of every piece: does one stand before it, on the same line?"""
    groups = [_Group("line")]
    unary = False
    """Was the piece before a sign that belongs to what follows?"""
    tight = False
    """Does nothing stand between the piece before, a colon of a slice or an equals sign, and this one?"""
    for i, p in enumerate(pieces):
        before = pieces[i - 1] if i else None
        group = groups[-1]
        operand = before is not None and before.kind in OPERANDS
        p.space = before is not None and not (unary or tight)
        sign, hug = False, False
        if before is None or before.kind in OPENING or before.kind == "DOT":
            p.space = False
        if p.kind in ("COMMA", "DOT") or p.kind in CLOSING or p.kind == "QMARK" and operand:
            # `1.f` would be the number `1.` and a name; `1.5.f` can be nothing else.
            p.space = p.kind == "DOT" and before is not None and before.text.replace("_", "").isdigit()
        if p.kind in OPENING:
            if p.kind != "LBRACE" and (operand or p.kind == "LPAR" and before is not None and before.kind == "FN"):
                p.space = False
            groups.append(_Group(_kind(pieces, i, operand)))
        elif p.kind in CLOSING:
            groups.pop()
        elif p.kind == "COMMA":
            group.typed = False
            group.lambdas = 0
        elif p.kind == "FN" and (i + 1 < len(pieces) and pieces[i + 1].kind == "LPAR"):
            group.lambdas += 1
        elif p.kind == "ARROW" and group.lambdas:
            group.lambdas -= 1  # a type
        elif p.kind == "COLON":
            if group.lambdas:
                group.lambdas -= 1
                p.space = False
            elif group.kind == "index":
                hug = True
                p.space = before is not None and before.kind == "COMMA"
            else:
                group.typed = True
                p.space = False
        elif p.kind == "EQUAL" and group.kind != "line" and not group.typed:
            p.space, hug = False, True
        elif p.kind in SIGNS and not operand or p.kind == "TILDE" or p.kind == "AT" and i == 0:
            sign = True
        unary, tight = sign, hug


def _kind(pieces: list[Piece], at: int, operand: bool) -> str:
    """Of a bracket: `index` where colons make slices, else `group`."""
    if pieces[at].kind != "LSQB" or not operand:
        return "group"
    declares = at >= 2 and pieces[at - 2].kind in ("FN", "STRUCT", "ENUM")
    return "group" if declares else "index"
