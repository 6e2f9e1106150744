"""Syntax trees as short texts."""

from __future__ import annotations

from hybridc.base.diagnostic import render
from hybridc.base.source import Source
from hybridc.front.parse import syntax as s
from hybridc.front.parse.parser import parse


def parsed(text: str) -> s.File:
    source = Source("t.hyb", text)
    file, diagnostics = parse(source)
    assert file is not None, "\n".join(render(d, {"t.hyb": source}) for d in diagnostics)
    return file


def body(text: str) -> tuple[s.Stmt, ...]:
    lines = "".join(f"    {line}\n" for line in text.split("\n"))
    fn = parsed("fn f():\n" + lines).decls[0]
    assert isinstance(fn, s.Fn)
    return fn.body


def show(node: object) -> str:
    """A short text of an expression, type or pattern, with every bracket that the tree implies."""
    match node:
        case s.Literal(value=value) | s.LiteralPattern(value=value):
            return repr(value)
        case s.Name(id=name):
            return name
        case s.Attribute(value=value, name=name):
            return f"{show(value)}.{name}"
        case s.Unary(op=op, operand=operand):
            return f"({op} {show(operand)})"
        case s.Binary(op=op, left=left, right=right) | s.Logic(op=op, left=left, right=right):
            return f"({show(left)} {op} {show(right)})"
        case s.Coalesce(option=option, default=default):
            return f"({show(option)} ?? {show(default)})"
        case s.Compare(operands=operands, ops=ops):
            tail = "".join(f" {op} {show(x)}" for op, x in zip(ops, operands[1:], strict=True))
            return f"({show(operands[0])}{tail})"
        case s.Conditional(cond=cond, then=then, orelse=orelse):
            return f"({show(then)} if {show(cond)} else {show(orelse)})"
        case s.Call(fn=fn, args=args):
            return f"{show(fn)}({', '.join(map(show, args))})"
        case s.Argument(name=name, mut=mut, value=value):
            return (f"{name}=" if name else "") + ("mut " if mut else "") + show(value)
        case s.Index(value=value, items=items):
            return f"{show(value)}[{', '.join(map(show, items))}]"
        case s.Slice(start=start, stop=stop, step=step):
            return ":".join("" if x is None else show(x) for x in (start, stop, step))
        case s.Tuple(items=items) | s.TuplePattern(items=items):
            return f"({', '.join(map(show, items))})"
        case s.List(items=items):
            return f"[{', '.join(map(show, items))}]"
        case s.SetLiteral(items=items):
            return f"set{{{', '.join(map(show, items))}}}"
        case s.MapLiteral(items=items):
            return f"map{{{', '.join(f'{show(k)}: {show(v)}' for k, v in items)}}}"
        case s.Comprehension(kind=kind, element=element, value=value, clauses=clauses, parallel=parallel):
            inside = show(element) + (f": {show(value)}" if value else "") + "".join(map(show, clauses))
            return f"{'parallel ' if parallel else ''}{kind}({inside})"
        case s.ForClause(pattern=pattern, iterable=iterable, conditions=conditions):
            return f" for {show(pattern)} in {show(iterable)}" + "".join(f" if {show(c)}" for c in conditions)
        case s.Lambda(params=params, body=value):
            return f"fn({', '.join(map(show, params))}): {show(value)}"
        case s.Param(name=name, type=kind, default=default, mut=mut):
            tail = (f": {show(kind)}" if kind else "") + (f" = {show(default)}" if default else "")
            return ("mut " if mut else "") + name + tail
        case s.FString(parts=parts):
            return "f<" + "|".join(p if isinstance(p, str) else f"{{{show(p[0])}:{p[1]}}}" for p in parts) + ">"
        case s.TypeName(name=name, args=args):
            return f"type {name}" + ("" if args is None else f"[{', '.join(map(show, args))}]")
        case s.Unknown():
            return "?"
        case s.Pack(name=name):
            return f"*{name}"
        case s.TupleType(items=items):
            return f"type ({', '.join(map(show, items))})"
        case s.OptionType(item=item):
            return f"{show(item)}?"
        case s.FnType(params=params, result=result):
            inside = ", ".join(("mut " if mut else "") + show(kind) for kind, mut in params)
            return f"type fn({inside})" + ("" if result is None else f" -> {show(result)}")
        case s.Wildcard():
            return "_"
        case s.Bind(name=name):
            return f"bind {name}"
        case s.CasePattern(path=path, args=args):
            inside = "" if args is None else ", ".join((f"{n}=" if n else "") + show(p) for n, p in args)
            return f"case {'.'.join(path)}" + ("" if args is None else f"({inside})")
        case s.ListPattern(items=items, rest=rest):
            return "[" + ", ".join(("*" if i == rest else "") + show(p) for i, p in enumerate(items)) + "]"
        case s.Alternatives(items=items):
            return " | ".join(map(show, items))
    raise AssertionError(node)


def expr(text: str) -> s.Expr:
    (statement,) = parsed(f"fn f():\n    return {text}\n").decls[0].body
    assert isinstance(statement, s.Return) and statement.value is not None
    return statement.value
