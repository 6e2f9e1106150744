"""A flat row of operands and operators becomes a tree, by precedence; without recursion, so of any length."""

from __future__ import annotations

from hybridc.base.source import Span
from hybridc.front.parse.lexer import Token
from hybridc.front.parse.syntax import Binary, Coalesce, Compare, Expr, Logic, Node, Unary

PRECEDENCE = {
    "or": 1,
    "and": 2,
    "in": 4, "not in": 4, "==": 4, "!=": 4, "<": 4, "<=": 4, ">": 4, ">=": 4,
    "??": 5,
    "|": 6,
    "^": 7,
    "&": 8,
    "<<": 9, ">>": 9,
    "+": 10, "-": 10,
    "*": 11, "/": 11, "//": 11, "%": 11, "@": 11,
    "**": 13,
}
_NOT, _COMPARE, _SIGN = 3, 4, 12
_RIGHT = frozenset((5, 13))


class MisplacedNot(Exception):
    """`not` as an operand of a tighter operator, as in `a == not b`."""

    def __init__(self, token: Token):
        self.token = token
        super().__init__(token)


def tree(path: str, row: list[Token | Expr]) -> Expr:
    """The tree of `row`: operands, each after its prefix operators, with a binary operator between each two."""
    operands: list[Expr] = []
    waiting: list[tuple[int, list[Token], bool]] = []  # precedence, operators (several in a comparison), prefix

    def apply() -> None:
        precedence, ops, prefix = waiting.pop()
        right = operands.pop()
        if prefix:
            operands.append(Unary(Span(path, ops[0].start_pos, right.span.end), ops[0].value, right))
            return
        if precedence == _COMPARE:
            first = operands[-len(ops):]
            del operands[-len(ops):]
            span = Span(path, first[0].span.start, right.span.end)
            operands.append(Compare(span, (*first, right), tuple(op.value for op in ops)))
            return
        left = operands.pop()
        span = Span(path, left.span.start, right.span.end)
        op = ops[0]
        if precedence <= 2:
            operands.append(Logic(span, op.value, left, right))
        elif op.value == "??":
            operands.append(Coalesce(span, left, right))
        else:
            operands.append(Binary(span, op.value, left, right, Span(path, op.start_pos, op.end_pos)))

    after_operand = False
    for item in row:
        if isinstance(item, Node):
            operands.append(item)
            after_operand = True
        elif not after_operand:
            if item.value == "not":
                if waiting and waiting[-1][0] > _NOT:
                    raise MisplacedNot(item)
                waiting.append((_NOT, [item], True))
            else:
                waiting.append((_SIGN, [item], True))
        else:
            after_operand = False
            precedence = PRECEDENCE[item.value]
            least = precedence + 1 if precedence in _RIGHT or precedence == _COMPARE else precedence
            while waiting and waiting[-1][0] >= least:
                apply()
            if precedence == _COMPARE and waiting and waiting[-1][0] == _COMPARE:
                waiting[-1][1].append(item)
            else:
                waiting.append((precedence, [item], False))
    while waiting:
        apply()
    return operands[0]
