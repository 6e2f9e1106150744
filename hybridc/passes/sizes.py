"""Sizes are asked of what a kernel reads, not of what it makes: `dim` of a computed tensor becomes `dim` of an operand
that has to agree with it, or a constant. Otherwise a question about an intermediate value would keep it in memory."""

from __future__ import annotations

from dataclasses import replace

from hybridc.core.ir import INT, Atom, Block, Const, Op, Program, Stmt, TensorT, Var
from hybridc.core.walk import map_atoms, map_blocks, map_tail

Source = "tuple[Var, int] | Const | None"


def run(program: Program) -> Program:
    fns = {n: replace(f, body=_Sizes().block(f.body)) for n, f in program.fns.items()}
    return Program(program.structs, program.enums, fns)


class _Sizes:
    def __init__(self) -> None:
        self.source: dict[tuple[int, int], tuple[Var, int] | Const] = {}
        """For an axis of a variable: the axis of another one, or the constant, that it equals."""
        self.value: dict[int, Atom] = {}

    def atom(self, a: Atom) -> Atom:
        return self.value.get(a.id, a) if isinstance(a, Var) else a

    def of(self, a: Atom, axis: int) -> tuple[Var, int] | Const | None:
        if not isinstance(a, Var) or not isinstance(a.type, TensorT):
            return None
        size = a.type.dims[axis]
        return Const(size, INT) if size is not None else self.source.get((a.id, axis), (a, axis))

    def block(self, b: Block) -> Block:
        out: list[Stmt] = []
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
                    if found is not None:
                        stmt = replace(stmt, args=(found[0],), attrs=(("axis", found[1]),))
                else:
                    self.learn(stmt)
            out.append(stmt)
        return Block(tuple(out), map_tail(b.tail, self.atom))

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
