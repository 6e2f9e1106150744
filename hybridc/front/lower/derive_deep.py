"""Equality, hash and text of types that contain themselves: with a worklist instead of recursion, so that a chain of a
million links needs no deep stack.

A type's *family* is what it contains that contains it, through fields, tuples, options, lists, the values of maps, and
what deques, heaps and graphs consist of. The declared types of a family are its *heads*: a value of a head waits on a
stack until it is its turn. Everything between heads is done on the spot; what is outside the family by derive.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hybridc.base.types import INT, STD_TYPES, STR, Named, Option, TupleType, Type, list_of
from hybridc.core import ir
from hybridc.core.builder import boolean, integer
from hybridc.front.lower.core import Context, Lowerer
from hybridc.front.lower.types import erase

_PAIRS = list_of(TupleType((INT, INT)))
Visit = Callable[[Type, Sequence[ir.Atom]], None]


def _contents(kind: Named) -> Type | None:
    """What a deque, heap or graph consists of, as its `_to_wire` gives it."""
    match kind:
        case Named(key, (item,)) if key == STD_TYPES["deque"]:
            return list_of(item)  # type: ignore[arg-type]
        case Named(key, pair) if key == STD_TYPES["heap"]:
            return list_of(TupleType(pair))  # type: ignore[arg-type]
        case Named(key, (node, edge)) if key == STD_TYPES["graph"]:
            return TupleType((list_of(node), list_of(TupleType((INT, INT, edge)))))  # type: ignore[arg-type]
    return None


def children(ctx: Context, t: Type) -> list[Type]:
    """The types of what a value holds, as far as a worklist follows."""
    match t:
        case TupleType(items):
            return list(items)
        case Option(item):
            return [item]
        case Named(key, args) if key == STD_TYPES["list"]:
            return [args[0]]  # type: ignore[list-item]
        case Named(key, args) if key == STD_TYPES["map"]:
            return [args[1]]  # type: ignore[list-item]
        case Named(key) if key in STD_TYPES.values():
            contents = _contents(t)
            return [] if contents is None else [contents]
        case Named() if ctx.types.is_struct(t):
            return [erase(f) for _, f in ctx.types.fields(t)]
        case Named() if ctx.types.is_enum(t):
            return [erase(f) for _, fields in ctx.types.cases(t) for _, f in fields]
        case _:
            return []


def _reachable(ctx: Context, t: Type) -> dict[Type, None]:
    def look() -> dict[Type, None]:
        found: dict[Type, None] = {}
        waiting = children(ctx, t)
        while waiting:
            one = waiting.pop()
            if one not in found:
                found[one] = None
                waiting += children(ctx, one)
        return found

    return ctx.once(("reachable", t), look)  # type: ignore[no-any-return]


def family(ctx: Context, t: Type) -> frozenset[Type]:
    """The types between `t` and itself; empty if it does not contain itself."""

    def look() -> frozenset[Type]:
        inside = _reachable(ctx, t)
        return frozenset(x for x in inside if t in _reachable(ctx, x)) if t in inside else frozenset()

    return ctx.once(("family", t), look)  # type: ignore[no-any-return]


def is_head(ctx: Context, t: Type) -> bool:
    return isinstance(t, Named) and t.key not in STD_TYPES.values() and (
        ctx.types.is_struct(t) or ctx.types.is_enum(t))


class Stack:
    """A growing stack in two variables of a Lowerer."""

    def __init__(self, lw: Lowerer, name: str, item: ir.Type):
        self.lw, self.item = lw, item
        self.kind = ir.BufferT(item)
        self.data, self.size = f"${name}.data", f"${name}.size"
        lw.kinds[self.data], lw.kinds[self.size] = self.kind, ir.INT
        lw.env[self.data] = lw.op("buffer_new", [integer(8)], self.kind)
        lw.env[self.size] = integer(0)

    @property
    def keys(self) -> list[str]:
        return [self.data, self.size]

    def push(self, value: ir.Atom) -> None:
        lw = self.lw
        size = lw.whole(lw.env[self.size])
        room = lw.op("buffer_len", [lw.whole(lw.env[self.data])], ir.INT)

        def grow() -> None:
            twice = lw.op("mul", [room, integer(2)], ir.INT)
            lw.env[self.data] = lw.op("buffer_resize", [lw.whole(lw.env[self.data]), twice], self.kind)

        lw.if_(lw.op("eq", [size, room], ir.BOOL), grow, lambda: None)
        lw.env[self.data] = lw.op("buffer_set", [lw.whole(lw.env[self.data]), size, value], self.kind)
        lw.env[self.size] = lw.op("add", [size, integer(1)], ir.INT)

    def pop(self) -> ir.Atom:
        lw = self.lw
        last = lw.op("sub", [lw.whole(lw.env[self.size]), integer(1)], ir.INT)
        data, value = lw.b.ops("buffer_take", [lw.whole(lw.env[self.data]), last], [self.kind, self.item])
        lw.env[self.data], lw.env[self.size] = data, last
        return value

    def waiting(self) -> ir.Atom:
        return self.lw.op("gt", [self.lw.whole(self.lw.env[self.size]), integer(0)], ir.BOOL)


class Walk:
    """The loop over the heads of a family: `width` values at a time (two to compare)."""

    def __init__(self, lw: Lowerer, t: Type, width: int):
        self.lw, self.width = lw, width
        self.family = family(lw.ctx, t)
        heads = sorted((x for x in self.family if is_head(lw.ctx, x)), key=lw.ctx.types.show)
        self.stacks: dict[Type, Stack] = {}
        for head in heads:
            kind = lw.ctx.types.inner(head)
            item = kind if width == 1 else ir.TupleT((kind,) * width)
            self.stacks[head] = Stack(lw, lw.ctx.types.show(head), item)

    @property
    def keys(self) -> list[str]:
        return [k for stack in self.stacks.values() for k in stack.keys]

    def push(self, head: Type, values: Sequence[ir.Atom]) -> None:
        lw, stack = self.lw, self.stacks[head]
        stack.push(values[0] if self.width == 1 else lw.op("tuple", list(values), stack.item))

    def run(self, keys: Sequence[str], visit: Visit) -> None:
        """Until every stack is empty: `visit` a head that waits. `keys` are what it assigns besides the stacks."""
        lw = self.lw
        all_keys = [*self.keys, *keys]

        def turn(label: int, _: list[ir.Var]) -> list[ir.Atom]:
            def next_of(stacks: list[tuple[Type, Stack]]) -> None:
                if not stacks:
                    lw.leave(label, all_keys)
                    return
                head, stack = stacks[0]

                def take() -> None:
                    value = stack.pop()
                    kinds = [value] if self.width == 1 else [lw.whole(lw.item(value, i)) for i in range(self.width)]
                    visit(head, kinds)

                lw.if_(stack.waiting(), take, lambda: next_of(stacks[1:]))

            next_of(list(self.stacks.items()))
            return []

        lw.loop(all_keys, [], turn)


def _count_up(lw: Lowerer, keys: Sequence[str], size: ir.Atom, each: Callable[[ir.Atom], None]) -> None:
    def turn(label: int, state: list[ir.Var]) -> list[ir.Atom]:
        lw.if_(lw.op("lt", [state[0], size], ir.BOOL), lambda: None, lambda: lw.leave(label, keys))
        each(state[0])
        return [lw.op("add", [state[0], integer(1)], ir.INT)] if lw.tail is None else []

    lw.loop(keys, [integer(0)], turn, ["i"])


def _list_parts(lw: Lowerer, xs: ir.Atom) -> tuple[ir.Atom, ir.Atom]:
    return lw.whole(lw.item(xs, 0)), lw.whole(lw.item(xs, 1))


# ---- equality --------------------------------------------------------------------------------------------------------
def equal_deep(lw: Lowerer, t: Type, a: ir.Atom, b: ir.Atom, equal: Callable[[Type, ir.Atom, ir.Atom], ir.Atom],
               same_case: Callable[[Type, ir.Atom, ir.Atom, Callable[[Type, ir.Atom, ir.Atom], None]], None]) -> None:
    """Leaves the function with false where two values differ."""
    walk = Walk(lw, t, 2)

    def need(ok: ir.Atom) -> None:
        def answer() -> None:
            lw.tail = ir.Exit(ir.RETURN, (boolean(False),))

        lw.if_(ok, lambda: None, answer)

    def visit(kind: Type, x: ir.Atom, y: ir.Atom) -> None:
        if kind not in walk.family:
            need(equal(kind, x, y))
        elif kind in walk.stacks:
            walk.push(kind, [x, y])
        else:
            between(kind, x, y)

    def between(kind: Type, x: ir.Atom, y: ir.Atom) -> None:
        match kind:
            case Option(item):
                there = lw.op("is_some", [x], ir.BOOL)
                need(lw.op("eq", [there, lw.op("is_some", [y], ir.BOOL)], ir.BOOL))
                inner = lw.ctx.types.inner(item)
                lw.if_(there, lambda: visit(item, lw.op("unwrap", [x], inner), lw.op("unwrap", [y], inner)),
                       lambda: None)
            case Named(key, args) if key == STD_TYPES["map"]:
                values: Type = args[1]  # type: ignore[assignment]
                same = lw.call_method(kind, "_same_keys", [x, y])[0]
                need(lw.op("is_some", [same], ir.BOOL))
                pair = ir.TupleT((ir.INT, ir.INT))
                pairs, size = _list_parts(lw, lw.op("unwrap", [same], lw.ctx.types.inner(_PAIRS)))

                def each(i: ir.Atom) -> None:
                    places = lw.op("buffer_get", [pairs, i], pair)
                    p, q = (lw.whole(lw.item(places, n)) for n in (0, 1))
                    visit(values, *(lw.call_method(kind, "_value_at", [m, at])[0] for m, at in ((x, p), (y, q))))

                _count_up(lw, walk.keys, size, each)
            case Named() if (contents := _contents(kind)) is not None:
                visit(contents, *(lw.call_method(kind, "_to_wire", [v])[0] for v in (x, y)))
            case Named(_, args) if kind not in walk.stacks:
                item_type: Type = args[0]  # type: ignore[assignment]
                inner = lw.ctx.types.inner(item_type)
                xs, size = _list_parts(lw, x)
                ys, other = _list_parts(lw, y)
                need(lw.op("eq", [size, other], ir.BOOL))
                _count_up(lw, walk.keys, size, lambda i: visit(
                    item_type, lw.op("buffer_get", [xs, i], inner), lw.op("buffer_get", [ys, i], inner)))
            case _:
                for i, item in enumerate(children(lw.ctx, kind)):
                    visit(item, lw.whole(lw.item(x, i)), lw.whole(lw.item(y, i)))

    def head(kind: Type, values: Sequence[ir.Atom]) -> None:
        x, y = values
        if lw.ctx.types.is_enum(kind):
            need(lw.op("eq", [lw.op("tag", [x], ir.INT), lw.op("tag", [y], ir.INT)], ir.BOOL))
            same_case(kind, x, y, lambda k, p, q: visit(erase(k), p, q))
        else:
            for i, item in enumerate(children(lw.ctx, kind)):
                visit(item, lw.whole(lw.item(x, i)), lw.whole(lw.item(y, i)))

    walk.push(t, [a, b])
    walk.run([], head)


# ---- hash ------------------------------------------------------------------------------------------------------------
def hash_deep(lw: Lowerer, t: Type, a: ir.Atom, hashed: Callable[[Type, ir.Atom], ir.Atom],
              mixed: Callable[[ir.Atom, ir.Atom], ir.Atom],
              cases: Callable[[ir.Atom, Callable[[str, Sequence[ir.Var]], None]], object]) -> ir.Atom:
    walk = Walk(lw, t, 1)
    total = "$hash"
    lw.kinds[total] = ir.INT
    lw.env[total] = integer(1)

    def mix(more: ir.Atom) -> None:
        lw.env[total] = mixed(lw.whole(lw.env[total]), more)

    def visit(kind: Type, x: ir.Atom) -> None:
        kind = erase(kind)
        if kind not in walk.family:
            mix(hashed(kind, x))
        elif kind in walk.stacks:
            walk.push(kind, [x])
        elif isinstance(kind, Option):
            inner = lw.ctx.types.inner(kind.item)
            item = kind.item
            there = lw.op("is_some", [x], ir.BOOL)
            mix(lw.op("cast", [there], ir.INT, checked=False))
            lw.if_(there, lambda: visit(item, lw.op("unwrap", [x], inner)), lambda: None)
        elif isinstance(kind, Named):
            item_type: Type = kind.args[0]  # type: ignore[assignment]
            inner = lw.ctx.types.inner(item_type)
            xs, size = _list_parts(lw, x)
            mix(size)
            _count_up(lw, [*walk.keys, total], size, lambda i: visit(item_type, lw.op("buffer_get", [xs, i], inner)))
        else:
            for i, item in enumerate(children(lw.ctx, kind)):
                visit(item, lw.whole(lw.item(x, i)))

    def head(kind: Type, values: Sequence[ir.Atom]) -> None:
        x = values[0]
        if lw.ctx.types.is_enum(kind):
            mix(lw.op("tag", [x], ir.INT))
            kinds = dict(lw.ctx.types.cases(kind))  # type: ignore[arg-type]

            def arm(case: str, xs: Sequence[ir.Var]) -> None:
                for (_, k), v in zip(kinds[case], xs, strict=True):
                    visit(k, v)

            cases(x, arm)
        else:
            for i, item in enumerate(children(lw.ctx, kind)):
                visit(item, lw.whole(lw.item(x, i)))

    walk.push(t, [a])
    walk.run([total], head)
    return lw.whole(lw.env[total])


# ---- text ------------------------------------------------------------------------------------------------------------
class Show:
    """What is still to be written, on one stack: pieces of text and heads, the next one on top."""

    def __init__(self, lw: Lowerer, t: Type, shown: Callable[[Type, ir.Atom], ir.Atom]):
        self.lw, self.shown = lw, shown
        self.family = family(lw.ctx, t)
        self.heads = sorted((x for x in self.family if is_head(lw.ctx, x)), key=lw.ctx.types.show)
        name = f"text of {lw.ctx.types.show(t)}"
        self.kind = ir.EnumT(name)
        lw.ctx.define(ir.EnumDef(name, (
            ("text", (("text", ir.STR),)),
            *((lw.ctx.types.show(h), (("value", lw.ctx.types.inner(h)),)) for h in self.heads))))
        self.stack = Stack(lw, "show", self.kind)
        self.out = "$out"
        lw.kinds[self.out] = ir.STR
        lw.env[self.out] = lw.apart(lw.text(""))

    @property
    def keys(self) -> list[str]:
        return [*self.stack.keys, self.out]

    def text(self, text: ir.Atom | str) -> None:
        atom = self.lw.text(text) if isinstance(text, str) else text
        self.stack.push(self.lw.op("enum", [atom], self.kind, case="text"))

    def push(self, kind: Type, x: ir.Atom) -> None:
        """Put a value on the stack; what stands first goes last."""
        lw = self.lw
        kind = erase(kind)
        if kind not in self.family:
            self.text(self.shown(kind, x))
        elif kind in self.heads:
            self.stack.push(lw.op("enum", [x], self.kind, case=lw.ctx.types.show(kind)))
        elif isinstance(kind, Option):
            item, inner = kind.item, lw.ctx.types.inner(kind.item)
            there = lw.op("is_some", [x], ir.BOOL)
            lw.if_(there, lambda: self.push(item, lw.op("unwrap", [x], inner)), lambda: self.text("none"))
        elif isinstance(kind, TupleType):
            items = [(k, lw.whole(lw.item(x, i))) for i, k in enumerate(kind.items)]
            self.row("(", [(None, k, v) for k, v in items], ",)" if len(items) == 1 else ")")
        else:
            assert isinstance(kind, Named)
            contents = _contents(kind)
            if contents is not None:
                self._contents(kind, contents, lw.call_method(kind, "_to_wire", [x])[0])
            elif kind.key == STD_TYPES["map"]:
                self._map(kind, x)
            else:
                self._list(kind.args[0], x)  # type: ignore[arg-type]

    def _contents(self, kind: Named, contents: Type, x: ir.Atom) -> None:
        """`deque([...])`; of a graph what a tuple has, without the parentheses around it."""
        name = next(name for name, key in STD_TYPES.items() if key == kind.key)
        if isinstance(contents, TupleType):
            self.row(f"{name}(", [(None, k, self.lw.whole(self.lw.item(x, i))) for i, k in enumerate(contents.items)])
        else:
            self.row(f"{name}(", [(None, contents, x)])

    def _list(self, item: Type, x: ir.Atom) -> None:
        inner = self.lw.ctx.types.inner(item)
        xs, size = _list_parts(self.lw, x)
        self._items("[", size, lambda at: self.push(item, self.lw.op("buffer_get", [xs, at], inner)), "]")

    def _map(self, kind: Named, m: ir.Atom) -> None:
        lw, (key, value) = self.lw, kind.args
        places, size = _list_parts(lw, lw.call_method(kind, "_places", [m])[0])

        def entry(i: ir.Atom) -> None:
            at = lw.op("buffer_get", [places, i], ir.INT)
            self.push(value, lw.call_method(kind, "_value_at", [m, at])[0])  # type: ignore[arg-type]
            self.text(": ")
            self.text(self.shown(key, lw.call_method(kind, "_at", [m, at])[0]))  # type: ignore[arg-type]

        self._items("{", size, entry, "}")

    def _items(self, start: str, size: ir.Atom, push: Callable[[ir.Atom], None], end: str) -> None:
        lw = self.lw
        self.text(end)

        def back(i: ir.Atom) -> None:
            at = lw.op("sub", [lw.op("sub", [size, i], ir.INT), integer(1)], ir.INT)
            push(at)
            lw.if_(lw.op("gt", [at, integer(0)], ir.BOOL), lambda: self.text(", "), lambda: None)

        _count_up(lw, self.keys, size, back)
        self.text(start)

    def row(self, start: str, items: Sequence[tuple[str | None, Type, ir.Atom]], end: str = ")") -> None:
        self.text(end)
        for i, (name, kind, value) in reversed(list(enumerate(items))):
            self.push(kind, value)
            before = (", " if i else "") + (f"{name}=" if name else "")
            if before:
                self.text(before)
        self.text(start)

    def run(self, cases: Callable[[ir.Atom, Callable[[str, Sequence[ir.Var]], None]], object]) -> ir.Atom:
        lw = self.lw

        def write(text: ir.Atom) -> None:
            grown = lw.call_method(STR, "_append", [lw.whole(lw.env[self.out]), text])[-1]
            lw.env[self.out] = lw.apart(grown)

        def head(kind: Type, x: ir.Atom) -> None:
            if lw.ctx.types.is_enum(kind):
                kinds = dict(lw.ctx.types.cases(kind))  # type: ignore[arg-type]

                def arm(case: str, xs: Sequence[ir.Var]) -> None:
                    if xs:
                        self.row(case + "(", [(n, k, v) for (n, k), v in zip(kinds[case], xs, strict=True)])
                    else:
                        self.text(case)

                cases(x, arm)
            else:
                fields = lw.ctx.types.fields(kind)  # type: ignore[arg-type]
                name = lw.ctx.decls[kind.key].name  # type: ignore[union-attr]
                self.row(name + "(", [(n, k, lw.whole(lw.item(x, i))) for i, (n, k) in enumerate(fields)])

        by_name = {lw.ctx.types.show(h): h for h in self.heads}

        def turn(label: int, _: list[ir.Var]) -> list[ir.Atom]:
            lw.if_(self.stack.waiting(), lambda: None, lambda: lw.leave(label, self.keys))
            piece = self.stack.pop()
            cases(piece, lambda case, v: write(v[0]) if case == "text" else head(by_name[case], v[0]))
            return []

        lw.loop(self.keys, [], turn)
        return lw.whole(lw.env[self.out])
