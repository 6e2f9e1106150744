"""Counting references to buffers and to enum values.

The count is the first word of a block: atomic, negative for immortal blocks. Blocks whose kind can contain itself (a
tree, a list within a struct of the list) are freed by a worklist in the context, so that dropping a list of a million
links does not recurse: a dead block is linked through its first word, which also holds, above the 48 bits of an
address, which function frees it.
"""

from __future__ import annotations

from hybridc.core.ir import U8, BufferT, EnumT, Type
from hybridc.llvm.abi import KEPT, KEPT_ADDRESS, KEPT_PLACE, OFFSET
from hybridc.llvm.code import Code, immortal
from hybridc.llvm.definitions import symbol
from hybridc.llvm.layout import HEADER, Shape
from hybridc.llvm.module import EMPTY, Leaves, Module
from hybridc.llvm.pool import free_bytes, free_node, pooled, size_class
from hybridc.llvm.support import COLD, CTX, free_block

ADDRESS_BITS = 48
AHEAD = 8
"""Elements of which one is released, while what the last of them holds is fetched: they lie anywhere."""
FOREIGN = "-1"
"""The length of a buffer header whose elements belong to the host."""


def retain_helper(module: Module) -> str:
    """void (ctx, block): one more owner; null and immortal blocks are left alone."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("ptr", "%block")], "void", attributes="noinline nounwind")
        with code.when(code.icmp("ne", "%block", "null", "ptr")):
            count = code.ins("load atomic i64, ptr %block monotonic, align 8")
            with code.when(code.icmp("sge", count, "0")):
                with code.when(_alone(code)):
                    _set_count(code, code.add(count, "1"))
                    code.ret()
                code.do("atomicrmw add ptr %block, i64 1 monotonic")
        code.ret()
        code.finish()

    return module.helper("hyb.retain", make)


def retain_here(code: Code, block: str) -> None:
    """The same without a call where a thread alone counts, or the block is immortal: for loops over elements."""
    with code.when(code.icmp("ne", block, "null", "ptr")):
        count = code.ins(f"load atomic i64, ptr {block} monotonic, align 8")
        counted, alone = code.icmp("sge", count, "0"), _alone(code)
        with code.when(code.op2("and", "i1", counted, alone)):
            code.do(f"store atomic i64 {code.add(count, '1')}, ptr {block} monotonic, align 8")
        with code.when(code.op2("and", "i1", counted, code.op2("xor", "i1", alone, "true"))):
            code.call("void", retain_helper(code.module), [CTX, ("ptr", block)])


def release_here(code: Code, kind: BufferT | EnumT, block: str) -> None:
    """Release without a call where others stay owners of a block that a thread alone counts, or it is immortal."""
    with code.when(code.icmp("ne", block, "null", "ptr")):  # most elements of some buffers hold nothing
        count = code.ins(f"load atomic i64, ptr {block} monotonic, align 8")
        shared = code.op2("and", "i1", code.icmp("sgt", count, "1"), _alone(code))
        with code.when(shared):
            code.do(f"store atomic i64 {code.sub(count, '1')}, ptr {block} monotonic, align 8")
        rest = code.op2("xor", "i1", shared, "true")
        with code.when(code.op2("and", "i1", rest, code.icmp("sge", count, "0"))):
            code.call("void", release_helper(code.module, kind), [CTX, ("ptr", block)])


def release_perhaps(code: Code, helper: str, block: str) -> None:
    """Release without a call what nobody counts, as what is there often is."""
    with code.when(code.icmp("ne", block, "null", "ptr")):
        count = code.ins(f"load atomic i64, ptr {block} monotonic, align 8")
        with code.when(code.icmp("sge", count, "0")):
            code.call("void", helper, [CTX, ("ptr", block)])


def drop_helper(module: Module) -> str:
    """i1 (ctx, block): one owner less; whether that was the last."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("ptr", "%block")], "i1")
        with code.when(code.icmp("eq", "%block", "null", "ptr")):
            code.ret("false")
        count = code.ins("load atomic i64, ptr %block acquire, align 8")
        with code.when(code.icmp("sle", count, "1")):
            # Alone (nobody else can add an owner), or immortal.
            code.ret(code.icmp("eq", count, "1"))
        with code.when(_alone(code)):
            _set_count(code, code.sub(count, "1"))
            code.ret("false")
        before = code.ins("atomicrmw sub ptr %block, i64 1 acq_rel")
        code.ret(code.icmp("eq", before, "1"))
        code.finish()

    return module.helper("hyb.drop", make)


def _alone(code: Code) -> str:
    """i1: no other thread counts owners, so an atomic operation, twenty times as long, is not needed."""
    return code.icmp("ne", code.load("i64", code.ptr_add("%ctx", OFFSET["alone"])), "0")


def _set_count(code: Code, count: str) -> None:
    code.do(f"store atomic i64 {count}, ptr %block monotonic, align 8")


def unique(code: Code, block: str) -> str:
    """i1: nobody else owns this block (not null, not immortal)."""
    return code.icmp("eq", code.ins(f"load atomic i64, ptr {block} acquire, align 8"), "1")


def release_plan(module: Module, t: Type, value: Leaves) -> tuple[tuple[str, str], ...]:
    """(helper, operand) for each counted leaf."""
    return tuple(
        (release_helper(module, leaf.counted), operand)
        for leaf, operand in zip(module.layouts.leaves(t), value, strict=True)
        if leaf.counted is not None and not immortal(operand)
    )


def is_empty(block: str) -> bool:
    """Whether it is the one buffer without elements, of which nobody else can see what is written to it."""
    return block.startswith(f"@{EMPTY}.")


def release_helper(module: Module, kind: BufferT | EnumT | None = None) -> str:
    """void (ctx, block): one owner less of a block of this kind (by default a buffer of scalars); freed with the
    last."""
    kind = _shared(module, kind)

    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("ptr", "%block")], "void", attributes="noinline nounwind")
        with code.when(code.call("i1", drop_helper(module), [CTX, ("ptr", "%block")])):
            if module.layouts.recursive(kind):
                code.call(
                    "void",
                    _defer_helper(module),
                    [("ptr", "%ctx"), ("ptr", "%block"), ("i64", code.load("i64", module.kind(kind)))],
                )
            else:
                code.call("void", _free_helper(module, kind), [("ptr", "%ctx"), ("ptr", "%block")])
        code.ret()
        code.finish()

    return module.helper(("hyb.release", kind), make)


def _shared(module: Module, kind: BufferT | EnumT | None) -> BufferT | EnumT:
    """All buffers without counted elements are freed alike."""
    if kind is None or isinstance(kind, BufferT) and not module.layouts.counted(kind.item):
        return BufferT(U8)
    return kind


def release_leaves(code: Code, t: Type, value: Leaves) -> None:
    """Release a value in code that has a context."""
    for helper, operand in release_plan(code.module, t, value):
        code.call("void", helper, [("ptr", "%ctx"), ("ptr", operand)])


def retain_leaves(code: Code, t: Type, value: Leaves) -> None:
    for leaf, operand in zip(code.layouts.leaves(t), value, strict=True):
        if leaf.counted is not None and not immortal(operand):
            code.call("void", retain_helper(code.module), [CTX, ("ptr", operand)])


def _free_helper(module: Module, kind: BufferT | EnumT) -> str:
    """void (ctx, block): release what a dead block holds and give back its memory."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("ptr", "%block")], "void", attributes="noinline nounwind")
        if isinstance(kind, EnumT):
            _free_fields(code, kind)
            return
        if module.layouts.counted(kind.item):
            length = code.load("i64", code.ptr_add("%block", 8))
            release_elements(code, kind.item, code.ptr_add("%block", HEADER), "0", length)
        else:
            with code.when(pooled(code, "%block")):
                code.call("void", free_bytes(module), [CTX, ("ptr", "%block")])
                code.ret()
            held = code.load("i64", code.ptr_add("%block", 8))
            with code.when(code.icmp("slt", held, "0")):
                code.call("void", _release_held(module), [CTX, ("ptr", "%block"), ("i64", held)])
        code.call("void", free_block(module), [CTX, ("ptr", "%block")])
        code.ret()
        code.finish()

    return module.helper(("hyb.free_kind", kind), make)


def _release_held(module: Module) -> str:
    """void (ctx, block, length): what else belongs to a block of a length below 0 (abi.py)."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("ptr", "%block"), ("i64", "%length")], "void", attributes=COLD)
        with code.when(code.icmp("ne", "%length", FOREIGN)):
            address = code.op2("and", "i64", "%length", str(KEPT_ADDRESS))
            with code.when(code.icmp("ne", address, "0")):
                table = code.convert("inttoptr", "i64", address, "ptr")
                with code.loop(code.load("i64", table)) as turn:
                    place = code.ptr_add(code.ptr_add(table, KEPT), code.mul(turn.index, str(KEPT_PLACE)))
                    code.call("void", "@free", [("ptr", code.load("ptr", code.ptr_add(place, 24)))])
                code.call("void", "@free", [("ptr", table)])
            code.ret()
        handle = code.load("i64", code.ptr_add("%block", HEADER))
        callback = code.load("ptr", code.ptr_add("%ctx", OFFSET["release_foreign"]))
        code.call("void", callback, [("i64", handle)])
        code.ret()
        code.finish()

    return module.helper("hyb.release_held", make)


def release_elements(code: Code, item: Type, data: str, start: str, stop: str) -> None:
    """Release the elements [start, stop)."""
    shape = code.layouts.shape(item)
    if not shape.counted:
        return
    last = code.sub(stop, "1")
    with code.loop(stop, start=start) as turn:
        ahead = code.call("i64", "@llvm.smin.i64", [("i64", code.add(turn.index, str(AHEAD))), ("i64", last)])
        later = code.ptr_add(data, code.mul(ahead, str(shape.size)))
        for leaf in shape.leaves:
            if leaf.counted is not None:
                code.prefetch(code.load("ptr", code.ptr_add(later, leaf.offset)), writes=True)
        release_leaves_at(code, item, code.ptr_add(data, code.mul(turn.index, str(shape.size))))


def release_leaves_at(code: Code, t: Type, address: str) -> None:
    """Release a value in memory."""
    for leaf in code.layouts.leaves(t):
        if leaf.counted is not None:
            release_here(code, leaf.counted, code.load("ptr", code.ptr_add(address, leaf.offset)))


def _free_fields(code: Code, kind: EnumT) -> None:
    """Release the fields of each case and give back its block, whose size depends on the case."""
    module = code.module
    arms: list[tuple[int, str, Shape]] = []
    for tag, (_, members) in enumerate(module.program.enums[kind.name].cases):
        if members:  # a case without fields is never freed
            arms.append((tag, code.label("case"), module.layouts.payload(tuple(t for _, t in members))))
    none = code.label("none")
    tag_value = code.load("i32", code.ptr_add("%block", 8))
    cases = " ".join(f"i32 {tag}, label %{label}" for tag, label, _ in arms)
    code.do(f"switch i32 {tag_value}, label %{none} [ {cases} ]")
    for _, label, payload in arms:
        code.start(label)
        held = [(leaf.counted, code.load("ptr", code.ptr_add("%block", HEADER + leaf.offset)))
                for leaf in payload.leaves if leaf.counted is not None]
        free_enum(code, payload)  # first the block: it is in the cache, and the next to be used
        for counted, operand in held:
            code.call("void", release_helper(module, counted), [CTX, ("ptr", operand)])
        code.ret()
    code.start(none)
    code.unreachable()
    code.finish()


def free_enum(code: Code, payload: Shape) -> None:
    """Give back the memory of `%block`, of a case with this payload."""
    module = code.module
    free = free_block(module) if size_class(payload.size)[0] < 0 else free_node(module, payload.size)
    code.call("void", free, [CTX, ("ptr", "%block")])


# ---- the worklist
def _defer_helper(module: Module) -> str:
    """void (ctx, block, number): put a dead block on the worklist; the outermost caller works it off."""

    def make(name: str) -> None:
        code = Code(module, name, [CTX, ("ptr", "%block"), ("i64", "%number")], "void", attributes="noinline nounwind")
        pending = code.ptr_add("%ctx", OFFSET["pending"])
        first = code.load("i64", pending)
        # The list is made of tagged addresses: the tag of a block stands with the pointer to it.
        code.store("i64", first, "%block")
        tag = code.op2("shl", "i64", "%number", str(ADDRESS_BITS))
        code.store("i64", code.op2("or", "i64", tag, code.convert("ptrtoint", "ptr", "%block", "i64")), pending)
        busy = code.load("i64", code.ptr_add("%ctx", OFFSET["draining"]))
        with code.when(code.icmp("eq", busy, "0")):
            code.call("void", _DRAIN, [("ptr", "%ctx")])
        code.ret()
        code.finish()

    module.defined.add(_DRAIN)
    return module.helper("hyb.defer", make)


_DRAIN = symbol("hyb drain")


def find_drained(module: Module) -> None:
    """Make what frees each kind of the worklist, which may make another known."""
    kinds, done = module.tables.kinds, 0
    while done < len(kinds):
        done = len(kinds)
        for kind in list(kinds.values()):
            _free_helper(module, kind)  # type: ignore[arg-type]


def finish_drain(module: Module) -> None:
    """Write the function that works the list off; last of all, when every kind that needs it is known."""
    kinds = module.tables.kinds
    if not kinds:
        return
    find_drained(module)
    code = Code(module, _DRAIN, [CTX], "void", attributes="noinline nounwind")
    pending = code.ptr_add("%ctx", OFFSET["pending"])
    draining = code.ptr_add("%ctx", OFFSET["draining"])
    code.store("i64", "1", draining)
    head, work, done = code.label("head"), code.label("work"), code.label("done")
    code.jump(head)
    code.start(head)
    first = code.load("i64", pending)
    code.branch(code.icmp("eq", first, "0"), done, work)
    code.start(work)
    block = code.convert("inttoptr", "i64", code.op2("and", "i64", first, str((1 << ADDRESS_BITS) - 1)), "ptr")
    number = code.op2("lshr", "i64", first, str(ADDRESS_BITS))
    code.store("i64", code.load("i64", block), pending)
    arms = [(code.label("kind"), _free_helper(module, kinds[name])) for name in sorted(kinds)]  # type: ignore[arg-type]
    bad = code.label("bad")
    cases = " ".join(f"i64 {n}, label %{label}" for n, (label, _) in enumerate(arms))
    code.do(f"switch i64 {number}, label %{bad} [ {cases} ]")
    for label, helper in arms:
        code.start(label)
        code.call("void", helper, [("ptr", "%ctx"), ("ptr", block)])
        code.jump(head)
    code.start(bad)
    code.unreachable()
    code.start(done)
    code.store("i64", "0", draining)
    code.ret()
    code.finish()


__all__ = [
    "COLD",
    "drop_helper",
    "find_drained",
    "finish_drain",
    "release_elements",
    "release_helper",
    "release_leaves",
    "release_leaves_at",
    "release_plan",
    "retain_helper",
    "retain_leaves",
    "unique",
]
