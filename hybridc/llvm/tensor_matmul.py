"""Matrix products.

For floats the result is made in tiles that stay in registers while k runs over the whole sum: 6 rows by 2 vectors, with
fewer rows at the lower edge. The columns of the right operand that a tile needs are packed side by side first where
that pays (many rows), where they lie the other way, or where they do not fill a tile. A few rows times a transposed
matrix are dot products of rows, and one row goes 8 vectors at a time. f16 and bf16 are multiplied as f32.
"""

from __future__ import annotations

from hybridc.base.types import BF16, F16, F32, F64, Prim
from hybridc.core.ir import Op
from hybridc.llvm import support
from hybridc.llvm.abi import OFFSET, fault_code
from hybridc.llvm.code import Code, Leaves, Module
from hybridc.llvm.emitter import CTX, FnEmitter
from hybridc.llvm.layout import SCALARS
from hybridc.llvm.strided import times
from hybridc.llvm.tensor_access import Tensor, count_elements, new_tensor, release_tensor, tensor_of
from hybridc.llvm.tensor_map import map_kernel, message, product, same_size

ROWS_PER_TILE, VECTORS_PER_TILE = 6, 2
WIDE = 8
"""Vectors at a time for a single row."""
PACK_FROM = 16
"""Rows from which packing pays."""
DOT_ROWS = 4
"""Rows up to which a transposed right side is multiplied by dot products."""


class Lane:
    """Vectors of an element type."""

    def __init__(self, kind: Prim, bytes: int = 32):
        self.scalar, self.size = SCALARS[kind.name]
        self.bytes = bytes
        self.count = bytes // self.size
        self.type = f"<{self.count} x {self.scalar}>"
        self.short = {"float": "f32", "double": "f64"}[self.scalar]

    def load(self, k: Code, address: str, mask: str = "") -> str:
        """What a mask leaves out is 0, and not read."""
        if not mask:
            return k.ins(f"load {self.type}, ptr {address}, align {self.size}")
        name = f"@llvm.masked.load.v{self.count}{self.short}.p0"
        args = [("ptr", address), ("i32 immarg", str(self.size)), (self.bits, mask), (self.type, "zeroinitializer")]
        return self.masked(k, self.type, name, args)

    def store(self, k: Code, value: str, address: str, mask: str = "") -> None:
        if not mask:
            k.do(f"store {self.type} {value}, ptr {address}, align {self.size}")
            return
        name = f"@llvm.masked.store.v{self.count}{self.short}.p0"
        args = [(self.type, value), ("ptr", address), ("i32 immarg", str(self.size)), (self.bits, mask)]
        self.masked(k, "void", name, args)

    def masked(self, k: Code, result: str, name: str, args: list[tuple[str, str]]) -> str:
        k.module.declare(f"{result} {name}({', '.join(t for t, _ in args)})")
        given = ", ".join(f"{t.removesuffix(' immarg')} {v}" for t, v in args)
        if result == "void":
            k.do(f"call void {name}({given})")
            return ""
        return k.ins(f"call {result} {name}({given})")

    @property
    def bits(self) -> str:
        return f"<{self.count} x i1>"

    def mask(self, k: Code, left: str, vector: int) -> str:
        """The lanes of a vector that lie before `left` elements."""
        numbers = ", ".join(f"i64 {vector * self.count + i}" for i in range(self.count))
        wide = f"<{self.count} x i64>"
        one = k.ins(f"insertelement {wide} poison, i64 {left}, i32 0")
        limit = k.ins(f"shufflevector {wide} {one}, {wide} poison, <{self.count} x i32> zeroinitializer")
        return k.ins(f"icmp slt {wide} <{numbers}>, {limit}")

    def transpose(self, k: Code, rows: list[str]) -> list[str]:
        """Columns of as many rows as there are lanes: blocks of 1, 2, 4... are exchanged."""
        n, step = self.count, 1
        while step < n:
            for i in range(n):
                if i & step:
                    continue
                a, b = rows[i], rows[i + step]
                low = ", ".join(f"i32 {n + j - step if j & step else j}" for j in range(n))
                high = ", ".join(f"i32 {n + j if j & step else j + step}" for j in range(n))
                pair = f"{self.type} {a}, {self.type} {b}, <{n} x i32>"
                rows[i] = k.ins(f"shufflevector {pair} <{low}>")
                rows[i + step] = k.ins(f"shufflevector {pair} <{high}>")
            step *= 2
        return rows

    def splat(self, k: Code, value: str) -> str:
        one = k.ins(f"insertelement {self.type} poison, {self.scalar} {value}, i32 0")
        return k.ins(f"shufflevector {self.type} {one}, {self.type} poison, <{self.count} x i32> zeroinitializer")

    def fma(self, k: Code, a: str, b: str, c: str) -> str:
        return k.call(self.type, f"@llvm.fmuladd.v{self.count}{self.short}", [(self.type, v) for v in (a, b, c)])

    def sum(self, k: Code, value: str) -> str:
        """The lanes added in pairs, then pairs of those."""
        lanes = [k.ins(f"extractelement {self.type} {value}, i32 {i}") for i in range(self.count)]
        while len(lanes) > 1:
            half = len(lanes) // 2
            lanes = [k.op2("fadd", self.scalar, lanes[i], lanes[i + half]) for i in range(half)]
        return lanes[0]


def _ints(*names: str) -> list[tuple[str, str]]:
    return [("i64", f"%{n}") for n in names]


# ---- pieces ----------------------------------------------------------------------------------------------------------
def _tile(module: Module, kind: Prim, rows: int, vectors: int) -> str:
    """void (c, ldc, a, a_row, a_k, b, ldb, k): c = a @ b for a tile of full vectors."""

    def make(name: str) -> None:
        lane = Lane(kind)
        params = [("ptr noalias", "%c"), *_ints("ldc"), ("ptr", "%a"), *_ints("a_row", "a_k"), ("ptr", "%b")]
        k = Code(module, name, [*params, *_ints("ldb", "k")], "void", attributes="noinline nounwind")
        starts = [k.element("%a", lane.scalar, k.mul("%a_row", str(r)) if r else "0") for r in range(rows)]
        zero = (lane.type, "zeroinitializer")
        with k.loop("%k", [zero] * (rows * vectors)) as turn:
            line = k.element("%b", lane.scalar, k.mul(turn.index, "%ldb"))
            bs = [lane.load(k, k.ptr_add(line, 32 * v)) for v in range(vectors)]
            step = k.mul(turn.index, "%a_k")
            for r in range(rows):
                a = lane.splat(k, k.load(lane.scalar, k.element(starts[r], lane.scalar, step)))
                turn.next += [lane.fma(k, a, b, turn.values[r * vectors + v]) for v, b in enumerate(bs)]
        for r in range(rows):
            to = k.element("%c", lane.scalar, k.mul("%ldc", str(r)) if r else "0")
            for v in range(vectors):
                lane.store(k, turn.values[r * vectors + v], k.ptr_add(to, 32 * v))
        k.ret()
        k.finish()

    return module.helper((f"kernel.tile.{rows}x{vectors}", kind), make)


def dots(module: Module, kind: Prim) -> str:
    """void (c, a, b, n, k): c[j] = a . b[j, :] for the n rows of b, four at a time."""

    def make(name: str) -> None:
        lane = Lane(kind, module.vector_bytes)
        t = lane.scalar
        params = [("ptr noalias", "%c"), ("ptr", "%a"), ("ptr", "%b"), *_ints("n", "k")]
        code = Code(module, name, params, "void", attributes="noinline nounwind")

        def together(first: str, rows: int, parts: int) -> None:
            """`rows` rows from `first` on, each with `parts` vectors of partial sums."""
            block = lane.count * parts
            filled = code.op2("and", "i64", "%k", str(-block))
            bases = [code.element("%b", t, code.mul(code.add(first, str(r)), "%k")) for r in range(rows)]
            with code.loop(filled, [(lane.type, "zeroinitializer")] * (rows * parts), step=block) as turn:
                at = code.element("%a", t, turn.index)
                xs = [lane.load(code, code.ptr_add(at, lane.bytes * p)) for p in range(parts)]
                for r in range(rows):
                    line = code.element(bases[r], t, turn.index)
                    for p in range(parts):
                        b = lane.load(code, code.ptr_add(line, lane.bytes * p))
                        turn.next.append(lane.fma(code, xs[p], b, turn.values[r * parts + p]))
            sums = []
            for r in range(rows):
                own = turn.values[r * parts : (r + 1) * parts]
                while len(own) > 1:
                    own = [code.op2("fadd", lane.type, own[i], own[i + len(own) // 2]) for i in range(len(own) // 2)]
                sums.append(lane.sum(code, own[0]))
            with code.loop("%k", [(t, s) for s in sums], start=filled) as rest:
                a = code.load(t, code.element("%a", t, rest.index))
                for r in range(rows):
                    b = code.load(t, code.element(bases[r], t, rest.index))
                    added = [(t, a), (t, b), (t, rest.values[r])]
                    rest.next.append(code.call(t, f"@llvm.fmuladd.{lane.short}", added))
            for r in range(rows):
                code.store(t, rest.values[r], code.element("%c", t, code.add(first, str(r))))

        fours = code.op2("and", "i64", "%n", "-4")
        with code.loop(fours, step=4) as j:
            together(j.index, 4, 2)
        with code.loop("%n", start=fours) as j:
            together(j.index, 1, 4)
        code.ret()
        code.finish()

    return module.helper(("kernel.dots", kind), make)


def _pack(module: Module, kind: Prim) -> str:
    """void (to, b, b_k, b_n, width, k): k lines of a tile's width; what is beyond `width` is 0."""

    def make(name: str) -> None:
        lane = Lane(kind)
        t = lane.scalar
        full = lane.count * VECTORS_PER_TILE
        params = [("ptr noalias", "%to"), ("ptr", "%b"), *_ints("b_k", "b_n", "width", "k")]
        code = Code(module, name, params, "void", attributes="noinline nounwind")
        dense = code.op2("and", "i1", code.icmp("eq", "%b_n", "1"), code.icmp("eq", "%width", str(full)))
        lines, columns, done = code.label("lines"), code.label("columns"), code.label("packed")
        code.branch(dense, lines, columns)
        code.start(lines)
        with code.loop("%k") as i:
            source = code.element("%b", t, code.mul(i.index, "%b_k"))
            to = code.element("%to", t, code.mul(i.index, str(full)))
            for v in range(VECTORS_PER_TILE):
                lane.store(code, lane.load(code, code.ptr_add(source, 32 * v)), code.ptr_add(to, 32 * v))
        code.jump(done)
        code.start(columns)
        with code.when(code.icmp("slt", "%width", str(full))):
            code.zero_bytes("%to", code.mul("%k", str(full * lane.size)))
        with code.loop("%width") as j:
            source = code.element("%b", t, code.mul(j.index, "%b_n"))
            with code.loop("%k") as i:
                value = code.load(t, code.element(source, t, code.mul(i.index, "%b_k")))
                code.store(t, value, code.element("%to", t, code.add(code.mul(i.index, str(full)), j.index)))
        code.jump(done)
        code.start(done)
        code.ret()
        code.finish()

    return module.helper(("kernel.pack", kind), make)


# ---- the product -----------------------------------------------------------------------------------------------------
def _product(module: Module, kind: Prim) -> str:
    """i32 (ctx, c, a, b, m, n, k, a_row, a_k, b_k, b_n): nonzero after a fault (no memory to pack, or an interrupt)."""
    lane = Lane(kind)
    t, full = lane.scalar, lane.count * VECTORS_PER_TILE

    def make(name: str) -> None:
        params = [("ptr", CTX), ("ptr", "%c"), ("ptr", "%a"), ("ptr", "%b"),
                  *_ints("m", "n", "k", "a_row", "a_k", "b_k", "b_n")]
        code = Code(module, name, params, "i32", attributes="noinline nounwind")
        # A few rows by a transposed matrix.
        rows_lie = code.op2("and", "i1", code.icmp("eq", "%a_k", "1"), code.icmp("eq", "%b_k", "1"))
        few = code.op2("and", "i1", rows_lie, code.icmp("sle", "%m", str(DOT_ROWS)))
        with code.when(few):
            with code.loop("%m") as i:
                to = code.element("%c", t, code.mul(i.index, "%n"))
                row = code.element("%a", t, code.mul(i.index, "%a_row"))
                args = [("ptr", to), ("ptr", row), ("ptr", "%b"), ("i64", "%n"), ("i64", "%k")]
                code.call("void", dots(module, kind), args)
            code.ret("0")
        # One row: wide tiles as far as they go.
        dense = code.icmp("eq", "%b_n", "1")
        single = code.op2("and", "i1", dense, code.icmp("eq", "%m", "1"))
        wide = lane.count * WIDE
        begin = code.select(single, "i64", code.op2("and", "i64", "%n", str(-wide)), "0")
        with code.loop(begin, step=wide) as j:
            code.call("void", _tile(module, kind, 1, WIDE), [
                ("ptr", code.element("%c", t, j.index)), ("i64", "%n"), ("ptr", "%a"), ("i64", "%a_row"),
                ("i64", "%a_k"), ("ptr", code.element("%b", t, j.index)), ("i64", "%b_k"), ("i64", "%k")])
        always = code.op2("or", "i1", code.icmp("sge", "%m", str(PACK_FROM)), code.op2("xor", "i1", dense, "true"))
        odd = code.icmp("ne", code.op2("and", "i64", "%n", str(full - 1)), "0")
        needed = code.op2("or", "i1", always, odd)
        room = code.select(needed, "i64", code.mul(code.add("%k", str(ROWS_PER_TILE)), str(full * lane.size)), "0")
        # The edge of the result goes through the end of this memory.
        scratch = code.call("ptr", "@malloc", [("i64", code.add(room, "32"))])
        with code.when(code.icmp("eq", scratch, "null", "ptr")):
            code.call("void", support.set_fault(module), [("ptr", CTX), ("i64", str(fault_code("MemoryError")))])
            code.ret("1")
        flag = code.load("ptr", code.ptr_add(CTX, OFFSET["flag"]))
        edge = code.ptr_add(scratch, code.select(needed, "i64", code.mul("%k", str(full * lane.size)), "0"))
        with code.loop("%n", start=begin, step=full) as j:
            _panel(code, module, kind, j.index, scratch, edge, always)
            # Between panels somebody may interrupt.
            asked = code.icmp("ne", code.ins(f"load volatile i32, ptr {flag}"), "0", "i32")
            with code.when(asked):
                stop = code.icmp("ne", code.call("i32", support.poll(module), [("ptr", CTX)]), "0", "i32")
                with code.when(stop):
                    code.call("void", "@free", [("ptr", scratch)])
                    code.ret("1")
        code.call("void", "@free", [("ptr", scratch)])
        code.ret("0")
        code.finish()

    return module.helper(("kernel.matmul", kind), make)


def _panel(code: Code, module: Module, kind: Prim, column: str, scratch: str, edge: str, always: str) -> None:
    """All rows of the result in one tile's width of columns."""
    lane = Lane(kind)
    t, full = lane.scalar, lane.count * VECTORS_PER_TILE
    left = code.ins(f"sub i64 %n, {column}")
    partial = code.icmp("slt", left, str(full))
    width = code.select(partial, "i64", left, str(full))
    packed = code.op2("or", "i1", always, partial)
    source = code.element("%b", t, code.mul(column, "%b_n"))
    with code.when(packed):
        code.call("void", _pack(module, kind), [
            ("ptr", scratch), ("ptr", source), ("i64", "%b_k"), ("i64", "%b_n"), ("i64", width), ("i64", "%k")])
    b = code.select(packed, "ptr", scratch, source)
    ldb = code.select(packed, "i64", str(full), "%b_k")

    def rows(start: str, count: int) -> None:
        to = code.element("%c", t, code.add(code.mul(start, "%n"), column))
        target = code.select(partial, "ptr", edge, to)
        ldc = code.select(partial, "i64", str(full), "%n")
        code.call("void", _tile(module, kind, count, VECTORS_PER_TILE), [
            ("ptr", target), ("i64", ldc), ("ptr", code.element("%a", t, code.mul(start, "%a_row"))),
            ("i64", "%a_row"), ("i64", "%a_k"), ("ptr", b), ("i64", ldb), ("i64", "%k")])
        with code.when(partial), code.loop(str(count)) as r:
            line = code.element(edge, t, code.mul(r.index, str(full)))
            out = code.element(to, t, code.mul(r.index, "%n"))
            with code.loop(width) as c:
                code.store(t, code.load(t, code.element(line, t, c.index)), code.element(out, t, c.index))

    whole = code.mul(code.op2("udiv", "i64", "%m", str(ROWS_PER_TILE)), str(ROWS_PER_TILE))
    with code.loop(whole, step=ROWS_PER_TILE) as i:
        rows(i.index, ROWS_PER_TILE)
    at = whole
    for count in (4, 2, 1):
        fits = code.icmp("sge", code.ins(f"sub i64 %m, {at}"), str(count))
        with code.when(fits):
            rows(at, count)
        at = code.select(fits, "i64", code.ins(f"add i64 {at}, {count}"), at)


def _integer_product(module: Module, kind: Prim) -> str:
    """i32 (ctx, c, a, b, m, n, k, a_row, a_k, b_k, b_n), never failing."""
    llvm = SCALARS[kind.name][0]

    def make(name: str) -> None:
        params = [("ptr", CTX), ("ptr noalias", "%c"), ("ptr", "%a"), ("ptr", "%b"),
                  *_ints("m", "n", "k", "a_row", "a_k", "b_k", "b_n")]
        code = Code(module, name, params, "i32", attributes="noinline nounwind")
        with code.loop("%m") as i:
            out = code.element("%c", llvm, code.mul(i.index, "%n"))
            with code.loop("%n") as j:
                code.store(llvm, "0", code.element(out, llvm, j.index))
            with code.loop("%k") as p:
                at = code.add(code.mul(i.index, "%a_row"), code.mul(p.index, "%a_k"))
                a = code.load(llvm, code.element("%a", llvm, at))
                line = code.element("%b", llvm, code.mul(p.index, "%b_k"))
                with code.loop("%n") as j:
                    b = code.load(llvm, code.element(line, llvm, code.mul(j.index, "%b_n")))
                    to = code.element(out, llvm, j.index)
                    code.store(llvm, code.op2("add", llvm, code.load(llvm, to), code.op2("mul", llvm, a, b)), to)
        code.ret("0")
        code.finish()

    return module.helper(("kernel.matmul", kind), make)


def product_dims(e: FnEmitter, op: Op) -> list[str]:
    """The sizes of a product; ValueError where those of its sides do not fit."""
    a, b = tensor_of(e, op.args[0]), tensor_of(e, op.args[1])
    ta, tb = bool(op.attr("ta")), bool(op.attr("tb"))
    (k, m) = a.dims[-2:] if ta else (a.dims[-1], a.dims[-2])
    (n, inner) = b.dims[-2:] if tb else (b.dims[-1], b.dims[-2])
    shown = message("shapes ", [*a.dims[:-2], m, k], " and ", [*b.dims[:-2], inner, n], " do not fit in `@`")
    same_size(e, k, inner, shown)
    batch = a.dims[:-2] if a.rank >= b.rank else b.dims[:-2]
    if a.rank == b.rank:
        for x, y in zip(a.dims[:-2], b.dims[:-2], strict=True):
            same_size(e, x, y, shown)
    return [*batch, m, n]


def emit_matmul(e: FnEmitter, op: Op) -> tuple[Leaves, ...]:
    a, b = tensor_of(e, op.args[0]), tensor_of(e, op.args[1])
    ta, tb = bool(op.attr("ta")), bool(op.attr("tb"))
    dims = product_dims(e, op)
    m, n = dims[-2:]
    sides = a.dims[-2 if ta else -1], b.dims[-1 if tb else -2]
    k = next((s for s in sides if not s.startswith("%")), sides[0])
    kind = a.elem
    if kind not in (F16, BF16):
        out = new_tensor(e, kind, dims)
        _multiply(e, out, a, b, m, n, k, ta, tb)
        return (out.leaves,)
    wide_a = _cast(e, a, F32)
    with e.holding(wide_a.owner):
        wide_b = _cast(e, b, F32)
        with e.holding(wide_b.owner):
            product_ = new_tensor(e, F32, dims)
            _multiply(e, product_, wide_a, wide_b, m, n, k, ta, tb)
            with e.holding(product_.owner):
                out = _cast(e, product_, kind)
    for temporary in (wide_a, wide_b, product_):
        release_tensor(e, temporary)
    return (out.leaves,)


def _cast(e: FnEmitter, x: Tensor, to: Prim) -> Tensor:
    out = new_tensor(e, to, x.dims)
    kernel = map_kernel(e.module, "cast", (x.elem,), to, (("checked", False),), ((True,),), (True,), False)
    e.call("void", kernel, [("ptr", out.data), ("i64", count_elements(e, x.dims)), ("ptr", x.data)])
    return out


def _multiply(e: FnEmitter, out: Tensor, a: Tensor, b: Tensor, m: str, n: str, k: str, ta: bool, tb: bool) -> None:
    floats = out.elem in (F32, F64)
    kernel = _product(e.module, out.elem) if floats else _integer_product(e.module, out.elem)
    a_row, a_k = ("1", m) if ta else (k, "1")
    b_k, b_n = ("1", k) if tb else (n, "1")
    left, right, rows, columns = a, b, m, n
    if n == "1" and not ta and tb:
        # A matrix by a vector: the vector by the rows of the matrix.
        left, right, rows, columns = b, a, "1", m
        a_row, a_k, b_k, b_n = k, "1", "1", k
    batch = product(e, out.dims[:-2])
    steps = [times(e, *x) if t.rank > 2 else "0" for t, x in (
        (left, (left.dims[-1], left.dims[-2])), (right, (right.dims[-1], right.dims[-2])))]
    sizes = [("i64", v) for v in (rows, columns, k, a_row, a_k, b_k, b_n)]
    with e.holding(out.owner):
        if batch == "1":
            _call(e, kernel, [("ptr", out.data), ("ptr", left.data), ("ptr", right.data), *sizes])
            return
        step = times(e, m, n)
        with e.loop(batch) as turn:
            places = [
                e.element(x.data, x.llvm, e.mul(turn.index, s) if s != "0" else "0")
                for x, s in ((out, step), (left, steps[0]), (right, steps[1]))
            ]
            _call(e, kernel, [*(("ptr", p) for p in places), *sizes])


def _call(e: FnEmitter, kernel: str, args: list[tuple[str, str]]) -> None:
    failed = e.call("i32", kernel, [("ptr", CTX), *args])
    e.leave_unless(e.icmp("eq", failed, "0", "i32"))


ROWS = {"matmul": emit_matmul}
