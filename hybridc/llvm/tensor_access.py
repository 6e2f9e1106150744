"""Tensors in compiled code: taking them apart, making them, owning them. Kernels are written with these.

A tensor's leaves are its owner (the counted block that holds the elements, null for memory that outlives the call),
the address of its first element, and its dims; it is contiguous and row-major.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hybridc.core.ir import Atom, Prim, TensorT
from hybridc.llvm import refcount, support
from hybridc.llvm.code import Code
from hybridc.llvm.emitter import CTX, FnEmitter
from hybridc.llvm.layout import HEADER, SCALARS
from hybridc.llvm.module import Leaves, Module


@dataclass(frozen=True)
class Tensor:
    """Operands of a tensor. Dims known from its type are constants (decimal text)."""

    elem: Prim
    owner: str
    data: str
    dims: tuple[str, ...]

    @property
    def rank(self) -> int:
        return len(self.dims)

    @property
    def llvm(self) -> str:
        """The LLVM type of an element in registers; a bool is i8 in memory (Code.load and store know)."""
        return SCALARS[self.elem.name][0]

    @property
    def size(self) -> int:
        """Bytes of an element."""
        return SCALARS[self.elem.name][1]

    @property
    def leaves(self) -> Leaves:
        """The value, for a result."""
        return (self.owner, self.data, *self.dims)


def tensor_of(e: FnEmitter, atom: Atom) -> Tensor:
    """The tensor that a variable holds."""
    t = atom.type
    assert isinstance(t, TensorT)
    owner, data, *dims = e.leaves(atom)
    known = tuple(d if s is None else str(s) for d, s in zip(dims, t.dims, strict=True))
    return Tensor(t.elem, owner, data, known)


def static_dims(dims: Sequence[str]) -> list[int] | None:
    """The dims as numbers, if all are known."""
    return None if any(d.startswith("%") for d in dims) else [int(d) for d in dims]


def count_elements(e: FnEmitter, dims: Sequence[str]) -> str:
    """The product of dims of a tensor that exists (it does not overflow)."""
    known = 1
    product = "1"
    for dim in dims:
        if dim.startswith("%"):
            product = e.mul(product, dim)
        else:
            known *= int(dim)
    if known == 0:
        return "0"
    if product == "1":
        return str(known)
    return e.mul(product, str(known))


def checked_count(e: FnEmitter, dims: Sequence[str]) -> str:
    """The product of dims >= 0 of a tensor to be made: MemoryError where it overflows."""
    if static_dims(dims) is not None:
        known = 1
        for dim in dims:
            known *= int(dim)
        if known >= support.LIMIT:
            e.check("false", "MemoryError")
        return str(known)
    if len(dims) == 1:
        return dims[0]
    product = e.call("i64", _product_helper(e.module, len(dims)), [("i64", d) for d in dims])
    e.check(e.icmp("sge", product, "0"), "MemoryError")
    return product


def _product_helper(module: Module, rank: int) -> str:
    """i64 (dims...): their product, -1 when it is too large for memory."""

    def make(name: str) -> None:
        code = Code(module, name, [("i64", f"%d{i}") for i in range(rank)], "i64")
        product, wrapped = "%d0", "false"
        empty = code.icmp("eq", "%d0", "0")
        for i in range(1, rank):
            pair = code.call("{ i64, i1 }", "@llvm.umul.with.overflow.i64", [("i64", product), ("i64", f"%d{i}")])
            product = code.ins(f"extractvalue {{ i64, i1 }} {pair}, 0")
            wrapped = code.op2("or", "i1", wrapped, code.ins(f"extractvalue {{ i64, i1 }} {pair}, 1"))
            empty = code.op2("or", "i1", empty, code.icmp("eq", f"%d{i}", "0"))
        huge = code.op2("or", "i1", wrapped, code.icmp("ugt", product, str(support.LIMIT)))
        code.ret(code.select(empty, "i64", "0", code.select(huge, "i64", "-1", product)))
        code.finish()

    return module.helper(("hyb.product", rank), make)


LINE = 64
"""Bytes of a line of the cache, and of the widest vectors."""
SMALL = 256
"""Bytes up to which a tensor begins where its block's header ends."""
SPARE = LINE - 16
"""malloc's blocks begin at multiples of 16."""


def new_tensor(e: FnEmitter, elem: Prim, dims: Sequence[str], clear: bool = False) -> Tensor:
    """A fresh tensor of dims >= 0, its elements not set unless `clear`. It begins on a line of the cache, so that
    vectors do not lie across two; small ones where they are."""
    size, count = SCALARS[elem.name][1], checked_count(e, dims)
    if not count.startswith("%") and int(count) * size <= SMALL:
        owner = e.alloc_buffer(size, count, clear)
        data = e.buffer_data(owner)
    else:
        owner = e.alloc_buffer(size, count, clear, SPARE)
        data = _first_line(e, owner)
    e.sole.add(owner)
    return Tensor(elem, owner, data, tuple(dims))


def _first_line(k: Code, owner: str) -> str:
    """The first line of a block with SPARE bytes."""
    after = k.ptr_add(owner, HEADER + SPARE)
    return k.call("ptr", "@llvm.ptrmask.p0.i64", [("ptr", after), ("i64", str(-LINE))])


def element_address(e: Code, t: Tensor, index: str) -> str:
    return e.element(t.data, t.llvm, index)


def load_element(e: Code, t: Tensor, index: str) -> str:
    """The element at a linear index."""
    return e.load(t.llvm, element_address(e, t, index))


def store_element(e: Code, t: Tensor, index: str, value: str) -> None:
    e.store(t.llvm, value, element_address(e, t, index))


def writable(e: FnEmitter, t: Tensor) -> Tensor:
    """A consumed tensor as one that may be written in place: itself if nobody else has its memory, else a copy."""
    if t.owner in e.sole:
        return t
    copy, ready = e.label("copy"), e.label("mine")
    before = e.here
    e.branch(e.call("i1", _alone_helper(e.module), [("ptr", t.owner)]), ready, copy)
    with e.out_of_line(copy):
        count = count_elements(e, t.dims)
        args = [("ptr", CTX), ("ptr", t.owner), ("ptr", t.data), ("i64", str(t.size)), ("i64", count)]
        fresh = e.call("ptr", _copy_helper(e.module), args)
        e.leave_unless(e.icmp("ne", fresh, "null", "ptr"))
        data = _first_line(e, fresh)
        copied = e.here
        e.jump(ready)
    e.start(ready)
    owner = e.phi("ptr", [(t.owner, before), (fresh, copied)])
    e.sole.add(owner)
    return Tensor(t.elem, owner, e.phi("ptr", [(t.data, before), (data, copied)]), t.dims)


def in_place_of(e: FnEmitter, old: Tensor, dims: Sequence[str]) -> tuple[Tensor, str, str]:
    """A tensor to be written, where an owned one of as many elements lies that is needed no more, if nobody else has
    that; else a new one. Then the owners of what is new and of what is old and left, or null."""
    if old.owner in e.sole:
        return Tensor(old.elem, old.owner, old.data, tuple(dims)), "null", "null"
    before, other, ready = e.here, e.label("other"), e.label("ready")
    e.branch(e.call("i1", _alone_helper(e.module), [("ptr", old.owner)]), ready, other)
    with e.out_of_line(other):
        made = new_tensor(e, old.elem, dims)
        after = e.here
        e.jump(ready)
    e.start(ready)

    def either(mine: str, others: str) -> str:
        return e.phi("ptr", [(mine, before), (others, after)])

    owner, data = either(old.owner, made.owner), either(old.data, made.data)
    e.sole.add(owner)
    return Tensor(old.elem, owner, data, tuple(dims)), either("null", made.owner), either("null", old.owner)


def _alone_helper(module: Module) -> str:
    """i1 (owner): nobody else holds this memory, it is not the host's, and nothing is kept that was made of it."""

    def make(name: str) -> None:
        code = Code(module, name, [("ptr", "%owner")], "i1")
        with code.when(code.icmp("eq", "%owner", "null", "ptr")):
            code.ret("false")
        ours = code.icmp("sge", code.load("i64", code.ptr_add("%owner", 8)), "0")
        code.ret(code.op2("and", "i1", ours, refcount.unique(code, "%owner")))
        code.finish()

    return module.helper("hyb.alone", make)


def _copy_helper(module: Module) -> str:
    """ptr (ctx, owner, data, element size, count): a fresh block with the elements from its first line on, the old
    owner released; null for no memory, which the context says then."""

    def make(name: str) -> None:
        params = [("ptr", CTX), ("ptr", "%owner"), ("ptr", "%data"), ("i64", "%size"), ("i64", "%count")]
        code = Code(module, name, params, "ptr", attributes="noinline nounwind")
        fresh = code.call("ptr", support.allocate_buffer(module, False, SPARE), [
            ("ptr", CTX), ("i64", "%size"), ("i64", "%count")])
        with code.when(code.icmp("ne", fresh, "null", "ptr")):
            code.copy_bytes(_first_line(code, fresh), "%data", code.mul("%size", "%count"))
        code.call("void", refcount.release_helper(module), [("ptr", CTX), ("ptr", "%owner")])
        code.ret(fresh)
        code.finish()

    return module.helper("hyb.copy_tensor", make)


def release_tensor(e: Code, t: Tensor) -> None:
    """Give up a consumed tensor."""
    e.call("void", refcount.release_helper(e.module), [("ptr", CTX), ("ptr", t.owner)])


__all__ = [
    "HEADER", "Tensor", "checked_count", "count_elements", "element_address", "load_element", "new_tensor",
    "release_tensor", "static_dims", "store_element", "tensor_of", "writable",
]
