"""An expression read as a type: in `e[...]` both look alike (`list[int]` and `xs[i]`) until it is known what `e` is."""

from __future__ import annotations

from hybridc.front.parse.syntax import (
    Attribute,
    Expr,
    FnType,
    Index,
    Name,
    OptionType,
    Pack,
    Slice,
    Tuple,
    TupleType,
    TypeExpr,
    TypeName,
    Unknown,
)

TYPE_NODES = (TypeName, TupleType, OptionType, FnType)


def dotted_name(node: Expr) -> str | None:
    """`a.b.c` for a chain of attributes on a name."""
    parts = []
    while isinstance(node, Attribute):
        parts.append(node.name)
        node = node.value
    if not isinstance(node, Name) or node.id == "self":
        return None
    return ".".join([node.id, *reversed(parts)])


def as_type(node: Expr | TypeExpr | Slice | Unknown | Pack) -> TypeExpr | None:
    """`node` as a type, or None if it cannot be one. It recurses only into brackets, whose nesting is limited."""
    if isinstance(node, TYPE_NODES):
        return node
    if isinstance(node, (Name, Attribute)):
        name = dotted_name(node)
        return None if name is None else TypeName(node.span, name)
    if isinstance(node, Index):
        name = dotted_name(node.value)
        if name is None or any(isinstance(item, Slice) for item in node.items):
            return None
        return TypeName(node.span, name, tuple(type_argument(x) for x in node.items if not isinstance(x, Slice)))
    if isinstance(node, Tuple):
        items = [kind for kind in map(as_type, node.items) if kind is not None]
        return TupleType(node.span, tuple(items)) if len(items) == len(node.items) else None
    return None


def type_argument(node: Expr | TypeExpr | Unknown | Pack) -> TypeExpr | Expr | Unknown | Pack:
    """What stands in the brackets of a type: a name stays an expression, for it may be a dimension or a type."""
    if isinstance(node, (Index, Tuple)):
        return as_type(node) or node
    return node
