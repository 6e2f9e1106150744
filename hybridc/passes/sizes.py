"""Sizes are asked of what a kernel reads, not of what it makes: `dim` of a computed tensor becomes `dim` of an operand
that has to agree with it, or a constant. Otherwise a question about an intermediate value would keep it in memory."""

from __future__ import annotations

from hybridc.base.immutable import replace
from hybridc.core.ir import INT, Atom, Block, Const, Op, Program, Stmt, TensorT, Type, Var
from hybridc.core.walk import highest_id, map_atoms, map_blocks, map_tail, rebuilt, with_body
from hybridc.kernels.graph import window_count
from hybridc.passes.each import each

Source = "tuple[Var, int] | Const | None"


def run(program: Program) -> Program:
    return each(program, "sizes", lambda fn: with_body(fn, _Sizes(highest_id(fn) + 1).block(fn.body)))


class _Sizes:
    def __init__(self, next_id: int) -> None:
        self.next_id = next_id
        self.source: dict[tuple[int, int], tuple[Var, int] | Const] = {}
        """For an axis of a variable: the axis of another one, or the constant, that it equals."""
        self.value: dict[int, Atom] = {}
        self.asked: dict[tuple[Var, int], Var] = {}
        """Sizes that have been asked for on the way here; asked again, an operand might be needed for longer."""
        self.windows: dict[int, Op] = {}
        self.joined: dict[int, Op] = {}
        """Concatenations by their results."""

    def atom(self, a: Atom) -> Atom:
        return self.value.get(a.id, a) if isinstance(a, Var) else a

    def of(self, a: Atom | None, axis: int) -> tuple[Var, int] | Const | None:
        if not isinstance(a, Var) or not isinstance(a.type, TensorT):
            return None
        size = a.type.dims[axis]
        return Const(size, INT) if size is not None else self.source.get((a.id, axis), (a, axis))

    def block(self, b: Block) -> Block:
        out: list[Stmt] = []
        before = dict(self.asked)
        for stmt in b.stmts:
            stmt = map_blocks(map_atoms(stmt, self.atom), self.block)
            if isinstance(stmt, Op):
                if stmt.op == "dim":
                    axis = stmt.attr("axis")
                    assert isinstance(axis, int)
                    found = self.of(stmt.args[0], axis)
                    if isinstance(found, Const):
                        self.value[stmt.outs[0].id] = found
                        continue
                    if found is not None and self.count(found[0], found[1], stmt, out):
                        continue
                    if found is not None and self.total(found[0], found[1], stmt, out):
                        continue
                    if found is not None and found in self.asked:
                        self.value[stmt.outs[0].id] = self.asked[found]
                        continue
                    if found is not None:
                        stmt = replace(stmt, args=(found[0],), attrs=(("axis", found[1]),))
                        self.asked[found] = stmt.outs[0]
                elif stmt.op in FOLDED and all(isinstance(a, Const) for a in stmt.args) and stmt.outs[0].type == INT:
                    x, y = (a.value for a in stmt.args)  # type: ignore[union-attr]
                    self.value[stmt.outs[0].id] = Const(_wrapped(FOLDED[stmt.op](int(x), int(y))), INT)
                    continue
                else:
                    if stmt.op == "concat":
                        self.joined[stmt.outs[0].id] = stmt
                    if stmt.op == "windows":
                        stmt = self.shown(stmt, out)
                        self.windows[stmt.outs[0].id] = stmt
                    self.learn(stmt)
            out.append(stmt)
        self.asked = before
        return rebuilt(b, out, map_tail(b.tail, self.atom))

    def fresh(self, t: Type) -> Var:
        self.next_id += 1
        return Var(self.next_id - 1, t)

    def shown(self, op: Op, out: list[Stmt]) -> Op:
        """An operator whose first operand's type says what is known of its sizes."""
        x = op.args[0]
        assert isinstance(x, Var) and isinstance(x.type, TensorT)
        sizes = [self.of(x, i) for i in range(len(x.type.dims))]
        dims = tuple(int(s.value) if isinstance(s, Const) else None for s in sizes)
        if dims == x.type.dims:
            return op
        args: list[Atom] = []
        for i, n in enumerate(dims):
            args.append(Const(n, INT) if n is not None else self.fresh(INT))
            if n is None:
                out.append(Op((args[-1],), "dim", (x,), (("axis", i),), op.span))  # type: ignore[arg-type]
        shown = self.fresh(TensorT(x.type.elem, dims, x.type.device))
        out.append(Op((shown,), "reshape", (x, *args), (), op.span))
        return replace(op, args=(shown, *op.args[1:]))

    def learn(self, op: Op) -> None:
        """The sizes of a result in those of the arguments."""
        if len(op.outs) != 1 or not isinstance(op.outs[0].type, TensorT):
            return
        out = op.outs[0]
        for i, known in enumerate(out.type.dims):  # type: ignore[union-attr]
            if known is None:
                found = self.axis(op, i)
                if found is not None:
                    self.source[out.id, i] = found

    def axis(self, op: Op, i: int) -> tuple[Var, int] | Const | None:
        first = op.args[0] if op.args else None
        match op.op:
            case "map":
                for named, a in zip(op.attr("axes"), op.args, strict=True):  # type: ignore[call-overload]
                    if named[i] is not None:
                        return self.of(a, named[i])
            case "reduce":
                assert isinstance(first, Var) and isinstance(first.type, TensorT)
                left = [a for a in range(len(first.type.dims)) if a not in op.attr("axes")]  # type: ignore[operator]
                return self.of(first, left[i])
            case "reshape" if isinstance(op.args[1 + i], Const) and op.args[1 + i].value >= 0:  # type: ignore[union-attr]
                return Const(op.args[1 + i].value, INT)  # type: ignore[union-attr]
            case "unpool":
                return self.of(first, i)
            case "windows":
                return self.of(first, i) if i < 2 else self.window(op, i)
            case "fold":
                known = op.args[i - 1]
                return self.of(first, i) if i < 2 else known if isinstance(known, Const) else None
            case "transpose":
                return self.of(first, op.attr("perm")[i])  # type: ignore[arg-type, index]
            case "matmul":
                a, b = op.args
                rows, columns = (-1 if op.attr("ta") else -2), (-2 if op.attr("tb") else -1)
                rank = len(op.outs[0].type.dims)  # type: ignore[union-attr]
                if i >= rank - 2:
                    operand, axis = (a, rows) if i == rank - 2 else (b, columns)
                    return self.of(operand, axis + len(operand.type.dims))  # type: ignore[union-attr]
                wide = a if len(a.type.dims) == rank else b  # type: ignore[union-attr]
                return self.of(wide, i)
        return None

    def count(self, x: Var, axis: int, dim: Op, out: list[Stmt]) -> bool:
        """How many windows there are along an axis whose size is open, in that size; if that is what is asked."""
        op = self.windows.get(x.id)
        if op is None or axis < 4:
            return False
        along = [int(a.value) for a in op.args[axis - 3 : 9 : 2] if isinstance(a, Const)]
        size = self.of(op.args[0], axis - 2)
        if len(along) < 4 or min(along[0], along[1], along[3]) < 1 or not isinstance(size, tuple):
            return False
        steps = [("dim", size[0], None), ("add", None, window_count(0, [along[0], 1, *along[2:]]) - 1)]
        steps += [("floordiv", None, along[1])] * (along[1] > 1) + [("add", None, 1)]
        value: Var | None = None
        for i, (name, a, number) in enumerate(steps):
            made = dim.outs[0] if i == len(steps) - 1 else self.fresh(INT)
            args: tuple[Atom, ...] = (a,) if a is not None else (value, Const(number or 0, INT))  # type: ignore[assignment]
            out.append(Op((made,), name, args, (("axis", size[1]),) if name == "dim" else (), dim.span))
            value = made
        return True

    def total(self, x: Var, axis: int, dim: Op, out: list[Stmt]) -> bool:
        """The size of what is put together along an axis, in those of the pieces; if that is what is asked."""
        op = self.joined.get(x.id)
        if op is None or axis != op.attr("axis"):
            return False
        sizes = [self.of(a, axis) for a in op.args]
        if any(isinstance(s, tuple) and s[0].id in self.joined for s in sizes):
            return False
        value: Atom = Const(0, INT)
        for i, size in enumerate(sizes):
            piece: Atom | None = size if isinstance(size, Const) else self.asked.get(size)  # type: ignore[arg-type]
            if piece is None:
                assert isinstance(size, tuple)
                self.asked[size] = piece = self.fresh(INT)
                out.append(Op((piece,), "dim", (size[0],), (("axis", size[1]),), dim.span))
            made = dim.outs[0] if i == len(sizes) - 1 else self.fresh(INT)
            out.append(Op((made,), "add", (value, piece), (), dim.span))
            value = made
        return True

    def window(self, op: Op, i: int) -> Const | None:
        """Sizes of windows, and how many there are: axes 2 to 5."""
        settings = [int(a.value) if isinstance(a, Const) else None for a in op.args[1:9]]
        if i < 4:
            return None if settings[i - 2] is None else Const(settings[i - 2] or 0, INT)
        along, size = settings[i - 4 :: 2], self.of(op.args[0], i - 2)
        known = [n for n in along if n is not None]
        if len(known) < 4 or not isinstance(size, Const) or min(known[0], known[1], known[3]) < 1:
            return None
        count = window_count(int(size.value), known)
        return Const(count, INT) if count > 0 else None


FOLDED = {"add": int.__add__, "sub": int.__sub__, "mul": int.__mul__}


def _wrapped(n: int) -> int:
    return (n + (1 << 63)) % (1 << 64) - (1 << 63)
