"""Whether the cases of a `match` cover every value, and which of them never match.

The usefulness algorithm of Maranget, "Warnings for pattern matching" (JFP 17, 2007): a matrix of patterns is
specialised by one constructor of its first column after another; a vector of wildcards that is still useful is a value
no case matches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hybridc.base.immutable import immutable
from hybridc.base.types import (
    BOOL,
    STD_TYPES,
    Dim,
    Named,
    Option,
    Substitution,
    TupleType,
    Type,
    substitute,
)
from hybridc.front.check import tree

Row = tuple[tree.Pattern, ...]
ANY = tree.AnyPattern()


@immutable(frozen=True, slots=True)
class Constructor:
    """One way to make a value: `fields` are the types of what it holds; `kind` and `name` tell it from its siblings."""

    kind: str
    name: object
    fields: tuple[Type, ...] = ()

    def show(self, parts: Sequence[str]) -> str:
        match self.kind:
            case "case" | "struct":
                return f"{self.name}({', '.join(parts)})" if parts else str(self.name)
            case "tuple":
                return "(" + ", ".join(parts) + ("," if len(parts) == 1 else "") + ")"
            case "some":
                return parts[0]
            case "list":
                return "[" + ", ".join(parts) + "]"
            case "longer":
                return "[" + ", ".join([*parts, "*_"]) + "]"
            case "const" if isinstance(self.name, bool):
                return "true" if self.name else "false"
            case _:
                return str(self.name)


class _Matrix:
    def __init__(self, decls: Mapping[str, tree.Decl]):
        self.decls = decls

    def fields_of(self, owner: Named, fields: tuple[tree.FieldDecl, ...]) -> tuple[Type, ...]:
        decl = self.decls[owner.key]
        assert isinstance(decl, tree.StructDecl | tree.EnumDecl)
        s: Substitution = dict(zip(decl.params, owner.args, strict=False))
        return tuple(substitute(f.type, s) for f in fields)

    def constructors(self, t: Type, column: Sequence[tree.Pattern]) -> tuple[list[Constructor], bool]:
        """The constructors to look at, and whether they are all there are."""
        match t:
            case Option(item):
                return [Constructor("none", "none"), Constructor("some", "some", (item,))], True
            case TupleType(items):
                return [Constructor("tuple", "", items)], True
            case Named(key) if key == STD_TYPES["list"]:
                return self.list_constructors(t, column), True
            case Named(key):
                decl = self.decls.get(key)
                if isinstance(decl, tree.EnumDecl):
                    return [Constructor("case", c.name, self.fields_of(t, c.fields)) for c in decl.cases], True
                if isinstance(decl, tree.StructDecl) and any(isinstance(p, tree.StructPattern) for p in column):
                    return [Constructor("struct", decl.name, self.fields_of(t, decl.fields))], True
        if t == BOOL:
            return [Constructor("const", True), Constructor("const", False)], True
        values = dict.fromkeys((type(p.value), p.value) for p in column if isinstance(p, tree.ConstPattern))
        return [Constructor("const", value) for _, value in values], False

    def list_constructors(self, t: Named, column: Sequence[tree.Pattern]) -> list[Constructor]:
        """A list by its length up to the longest pattern, and one constructor for all that are longer."""
        lengths = [len(p.before) + len(p.after) for p in column if isinstance(p, tree.ListPattern)]
        item = t.args[0]
        assert not isinstance(item, Dim)
        top = max(lengths, default=0) + 1
        return [Constructor("list", n, (item,) * n) for n in range(top)] + [Constructor("longer", top, (item,) * top)]

    def useful(self, rows: list[Row], types: tuple[Type, ...], query: Row) -> list[str] | None:
        """A witness (one text a column) that `query` matches a value which no row does, or None."""
        if not types:
            return None if rows else []
        first = query[0]
        if isinstance(first, tree.OrPattern):
            return next((w for p in first.items if (w := self.useful(rows, types, (p, *query[1:]))) is not None), None)
        rows = [(p, *row[1:]) for row in rows for p in _alternatives(row[0])]
        column = [row[0] for row in rows] + [first]
        constructors, complete = self.constructors(types[0], column)
        if _is_any(first):
            named = [row[0] for row in rows if not _is_any(row[0])]
            used = [c for c in constructors if any(_arguments(p, c) is not None for p in named)]
            if not complete or len(used) < len(constructors):
                rest = [row[1:] for row in rows if _is_any(row[0])]
                found = self.useful(rest, types[1:], query[1:])
                if found is not None:
                    missing = next((c for c in constructors if c not in used), None)
                    named_one = missing if used and complete else None
                    head = named_one.show(["_"] * len(named_one.fields)) if named_one else "_"
                    return [head, *found]
                if not used:
                    return None
                constructors = used
        for c in constructors:
            arguments = _arguments(first, c)
            if arguments is None:
                continue
            special = [(*a, *row[1:]) for row in rows if (a := _arguments(row[0], c)) is not None]
            found = self.useful(special, (*c.fields, *types[1:]), (*arguments, *query[1:]))
            if found is not None:
                n = len(c.fields)
                return [c.show(found[:n]), *found[n:]]
        return None


def _is_any(p: tree.Pattern) -> bool:
    return isinstance(p, tree.AnyPattern | tree.BindPattern)


def _alternatives(p: tree.Pattern) -> list[tree.Pattern]:
    if isinstance(p, tree.OrPattern):
        return [q for item in p.items for q in _alternatives(item)]
    return [p]


def _arguments(p: tree.Pattern, c: Constructor) -> tuple[tree.Pattern, ...] | None:
    """The patterns for what constructor `c` holds, or None if `p` does not match it."""
    wild = (ANY,) * len(c.fields)
    match p:
        case tree.AnyPattern() | tree.BindPattern():
            return wild
        case tree.NonePattern():
            return () if c.kind == "none" else None
        case tree.SomePattern(inner):
            return (inner,) if c.kind == "some" else None
        case tree.ConstPattern(value):
            return () if c.kind == "const" and type(value) is type(c.name) and value == c.name else None
        case tree.EnumPattern(case, fields):
            return fields if c.kind == "case" and case == c.name else None
        case tree.StructPattern(fields):
            return fields if c.kind == "struct" else None
        case tree.TuplePattern(items):
            return items if c.kind == "tuple" else None
        case tree.ListPattern(before, rest, after):
            n, least = len(c.fields), len(before) + len(after)
            if c.kind == "longer" and rest is None or n < least or (rest is None and n != least):
                return None
            return (*before, *(ANY,) * (n - least), *after)
    return None


def missing_case(patterns: Sequence[tree.Pattern], subject: Type, decls: Mapping[str, tree.Decl]) -> str | None:
    """The text of a value that none of the patterns (of cases without guard) matches; None if they cover all."""
    found = _Matrix(decls).useful([(p,) for p in patterns], (subject,), (ANY,))
    return None if found is None else found[0]


def useless_cases(
    cases: Sequence[tuple[tree.Pattern, bool]], subject: Type, decls: Mapping[str, tree.Decl]
) -> list[int]:
    """Positions of cases that never match since earlier ones without guard take all; `cases` are (pattern, guarded)."""
    matrix = _Matrix(decls)
    rows: list[Row] = []
    useless: list[int] = []
    for i, (pattern, guarded) in enumerate(cases):
        if matrix.useful(list(rows), (subject,), (pattern,)) is None:
            useless.append(i)
        elif not guarded:
            rows.append((pattern,))
    return useless


def taken(patterns: Sequence[tree.Pattern], subject: Type, p: tree.Pattern, decls: Mapping[str, tree.Decl]) -> bool:
    """Whether every value that a pattern matches is matched by one of others."""
    return _Matrix(decls).useful([(q,) for q in patterns], (subject,), (p,)) is None


def bound_in(p: tree.Pattern) -> list[tree.Var]:
    """The variables that a pattern binds."""
    if isinstance(p, tree.BindPattern):
        return [p.var]
    return [v for q in _inner(p) for v in bound_in(q)]


def with_none(p: tree.Pattern, var: tree.Var) -> tree.Pattern:
    """The pattern with `none` in the place of a variable."""
    def inner(q: tree.Pattern) -> tree.Pattern:
        return with_none(q, var)

    match p:
        case tree.BindPattern(v):
            return tree.NonePattern() if v is var else p
        case tree.SomePattern(q):
            return tree.SomePattern(inner(q))
        case tree.EnumPattern(case, fields):
            return tree.EnumPattern(case, tuple(map(inner, fields)))
        case tree.StructPattern(fields):
            return tree.StructPattern(tuple(map(inner, fields)))
        case tree.TuplePattern(items):
            return tree.TuplePattern(tuple(map(inner, items)))
        case tree.ListPattern(before, rest, after):
            return tree.ListPattern(tuple(map(inner, before)), rest, tuple(map(inner, after)))
        case tree.OrPattern(items):
            return tree.OrPattern(tuple(map(inner, items)))
    return p


def _inner(p: tree.Pattern) -> Sequence[tree.Pattern]:
    match p:
        case tree.SomePattern(q):
            return (q,)
        case tree.EnumPattern(_, parts) | tree.StructPattern(parts) | tree.TuplePattern(parts):
            return parts
        case tree.ListPattern(before, _, after):
            return (*before, *after)
        case tree.OrPattern(items):
            return items[:1]
    return ()
