"""FnEmitter: the code of one Core function, with its variables, faults and clean-up. Kernels are written against it.

Values. A Core value is a tuple of operands, its leaves (see layout.py): `e.leaves(atom)`; a scalar's or buffer's single
operand is `e.one(atom)`. Instructions are the methods of Code: `e.add`, `e.ins("fadd float ...")`, `e.load`,
`e.loop(count)`, `e.when(cond)`, `e.call("float", "@sinf", [("float", x)])`.

Faults. `e.check(ok, kind, *message)` goes on where `ok` holds, else faults at the statement being emitted; `e.fault`
faults here. A message is str parts and i64 operands written `N(operand)`; none for the kinds that need none;
`e.index_check(i, n)` is the IndexError (index, length). On a fault the variables that the ownership pass named for the
statement are released, and whatever the kernel said with `e.holding(block)` (a context manager). An operator releases
the arguments it consumes, also when it faults. `e.poll()` lets Ctrl-C in: call it in the outer loops of long work.

Memory. `e.alloc_buffer(element_size, count)` gives a fresh zeroed buffer header with count 1 (or raises MemoryError),
`e.buffer_data(b)` is where its elements begin. For tensors use tensor_access.py: `tensor_of(e, atom)`, `new_tensor(e,
elem, dims)`, `load_element`, `store_element`, `writable(e, t)`; a row returns `(result.leaves,)`. A scalar operator
by name on operands: `scalar_ops.emit_scalar(e, name, operands, types, out, attrs)`; f16 and bf16: casts.widen,
narrow. Helpers (functions made once per module) come from `e.module.helper(key, make)`; `make(symbol)` makes a `Code`,
writes it and calls `finish()`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from hybridc.core.ir import NOWHERE, Atom, BufferT, Const, EnumT, Fn, Span, Type, Var
from hybridc.core.walk import hands_on
from hybridc.llvm import pool, refcount, support
from hybridc.llvm.abi import OFFSET, fault_code
from hybridc.llvm.code import Code, bf16_bits, float_text, immortal
from hybridc.llvm.layout import HEADER
from hybridc.llvm.module import Leaves, Module, places_symbol


@dataclass(frozen=True)
class N:
    """An i64 operand in the message of a fault."""

    operand: str


CTX = "%ctx"
Cleanup = tuple[tuple[str, str], ...]
"""(release helper, operand) pairs."""
Exits = dict[Cleanup, tuple[str, list[tuple[str, str]]]]
"""For what is to be released after a fault: the block that does it, and the sites that come there with their blocks."""


IN_REGISTERS = 6
"""A function returns up to so many leaves as its LLVM result; more go to memory, 8 bytes each."""


def result_type(results: Sequence[str], faults: bool) -> str:
    """What a function with results of these leaves returns: a status first if it may fault."""
    parts = (["i32"] if faults else []) + (list(results) if len(results) <= IN_REGISTERS else [])
    return "void" if not parts else parts[0] if len(parts) == 1 else "{ " + ", ".join(parts) + " }"


def convention(results: Sequence[str], faults: bool) -> str:
    """How such a function is called: with Swift's convention four numbers come back in registers, with C's three."""
    whole = faults + sum(t == "ptr" or t.startswith("i") for t in results)
    return "swiftcc" if whole == 4 and len(results) <= IN_REGISTERS else ""


def call_fn(
    code: Code, name: str, args: Sequence[tuple[str, str]], results: Sequence[str], faults: bool
) -> tuple[str, list[str]]:
    """Call a function made by FnEmitter: its status ("" if it cannot fault), and how to get its results: call
    `load_results` with them when the status is 0."""
    returned = result_type(results, faults)
    if len(results) > IN_REGISTERS:
        out = code.alloca(8 * len(results))
        status = code.call(returned, name, [*args, ("ptr", out)])
        return status, [out]
    value = code.call(returned, name, args, convention(results, faults))
    parts = len(results) + faults
    fields = [value] if parts == 1 else [code.ins(f"extractvalue {returned} {value}, {i}") for i in range(parts)]
    return (fields.pop(0) if faults else ""), fields


def load_results(code: Code, found: list[str], results: Sequence[str]) -> list[str]:
    """The leaves of a call's results."""
    if len(results) > IN_REGISTERS:
        return [code.load(llvm, code.ptr_add(found[0], 8 * i)) for i, llvm in enumerate(results)]
    return found


class FnEmitter(Code):
    def __init__(
        self,
        module: Module,
        fn: Fn,
        name: str,
        params: Sequence[tuple[str, str]],
        results: Sequence[str],
        *,
        faults: bool,
        attributes: str = "nounwind",
    ):
        """`results` are the LLVM types of the result's leaves (see `result_type`)."""
        self.results = list(results)
        self.faults = faults
        params = [("ptr", CTX), *params]
        if len(self.results) > IN_REGISTERS:
            params.append(("ptr", "%out"))
        super().__init__(
            module, name, params, result_type(results, faults), convention=convention(results, faults),
            attributes=attributes,
        )
        self.fn = fn
        self.env: dict[int, Leaves] = {}
        self.span: Span = fn.span
        self._places = module.tables.places.setdefault(name, {})
        """Its sites, as numbered so far."""
        self.owned: tuple[Var, ...] = ()
        """What to release if the statement being emitted faults."""
        self.sooner: Callable[[], None] | None = None
        """Written before every fault: it may find one that comes first."""
        self._held: list[tuple[str, str]] = []
        self._faulting: Exits = {}
        self.depth: str | None = None
        """In a function that can call itself: how many such calls are in progress."""
        self._flag: str | None = None
        self.lent: set[int] = set()
        """Variables that hold no count of their own (lend.py)."""
        self.sole: set[str] = set()
        """Operands of buffers known to have one owner, so that they can be written without asking."""
        self.blank: dict[str, set[str]] = {}
        """Of new buffers the constant indices at which something was written; elsewhere is nothing to be released."""

    # ---- values
    def leaves(self, atom: Atom) -> Leaves:
        if isinstance(atom, Const):
            return (self.constant(atom),)
        return self.env[atom.id]

    def one(self, atom: Atom) -> str:
        """The operand of a value with one leaf."""
        (operand,) = self.leaves(atom)
        return operand

    def constant(self, c: Const) -> str:
        if c.type.name == "bool":
            return "true" if c.value else "false"
        if c.type.name == "bf16":
            return str(bf16_bits(float(c.value)))
        llvm = self.layouts.leaves(c.type)[0].llvm
        if llvm.startswith("i"):
            width = int(llvm[1:])
            value = int(c.value) & ((1 << width) - 1)
            return str(value - (1 << width) if value >> (width - 1) and width > 8 else value)
        return float_text(float(c.value), llvm)

    def zero(self, t: Type) -> Leaves:
        """The zero of a type: 0, false, empty, none."""
        return tuple(zero_leaf(llvm) for llvm in self.layouts.types(t))

    def bind(self, var: Var, value: Leaves) -> None:
        self.env[var.id] = value

    # ---- the context
    def field(self, name: str) -> str:
        """The address of a field of the context."""
        return self.ptr_add(CTX, OFFSET[name])

    def next_depth(self) -> str:
        """The depth of a recursive function that is called from here."""
        if self.depth is None:
            return self.load("i64", self.field("depth"))
        return self.depth if hands_on(self.fn) else self.add(self.depth, "1")

    @contextmanager
    def host_sees_depth(self) -> Iterator[None]:
        """While others are called that know the depth from the context: it is that of a call from here."""
        if self.depth is None:
            yield
            return
        at = self.field("depth")
        before = self.load("i64", at)
        self.store("i64", self.next_depth(), at)
        yield
        self.store("i64", before, at)

    def interrupted(self) -> str:
        """i1: somebody asks for an interrupt."""
        if self._flag is None:
            # Read once on entry: the address does not change during a call.
            at, self._flag = self.tmp(), self.tmp()
            self.allocas.append(f"  {at} = getelementptr inbounds i8, ptr {CTX}, i64 {OFFSET['flag']}")
            self.allocas.append(f"  {self._flag} = load ptr, ptr {at}, !invariant.load !0")
        return self.icmp("ne", self.ins(f"load volatile i32, ptr {self._flag}"), "0", "i32")

    def poll(self) -> None:
        """Fault if somebody asked for an interrupt."""
        raised = self.interrupted()
        quiet, asked = self.label("quiet"), self.label("poll")
        self.branch(raised, asked, quiet)
        with self.out_of_line(asked):
            self.branch(support.interrupt(self), self._exit(), quiet)
        self.start(quiet)

    # ---- faults
    def site(self) -> int:
        """The number that this function has for the place of the statement."""
        return self._places.setdefault((self.span, self.fn.title, self.fn.hidden), len(self._places))

    def _exit(self) -> str:
        """The block that ends the call for a fault at this statement; the caller branches there from here."""
        cleanup = self._release_plan(self.owned) + tuple(self._held)
        if cleanup not in self._faulting:
            self._faulting[cleanup] = (self.label("fail"), [])
        label, incoming = self._faulting[cleanup]
        incoming.append((str(self.site()), self.here))
        return label

    def leave_with_fault(self) -> None:
        """The context holds a fault: add this site to the trace, release what the statement owns, return."""
        self.jump(self._exit())

    def leave_unless(self, ok: str) -> None:
        """Where not `ok`, the context holds a fault: leave with it."""
        good = self.label("ok")
        self.branch(ok, good, self._exit(), likely=True)
        self.start(good)

    def leave_silently(self) -> None:
        """As leave_with_fault, when this function's place is in the trace already."""
        for helper, operand in (*self._held, *self._release_plan(self.owned)):
            self.call("void", helper, [("ptr", CTX), ("ptr", operand)])
        self._leave_faulted()

    def _leave_faulted(self) -> None:
        self._return("1", ["poison"] * len(self.results))

    def _release_plan(self, owned: Sequence[Var]) -> Cleanup:
        plan: list[tuple[str, str]] = []
        for var in owned:
            if var.id in self.env and var.id not in self.lent:
                plan += refcount.release_plan(self.module, var.type, self.env[var.id])
        return tuple(plan)

    @contextmanager
    def holding(self, block: str, of: BufferT | EnumT | None = None) -> Iterator[None]:
        """A counted block (by default a buffer of scalars) to be released if something within faults."""
        self._held.append((refcount.release_helper(self.module, of), block))
        yield
        self._held.pop()

    @contextmanager
    def giving_up(self, args: Sequence[Atom]) -> Iterator[None]:
        """Consumed arguments that are to be released if something within faults."""
        mark = len(self._held)
        for a in args:
            self._held += refcount.release_plan(self.module, a.type, self.leaves(a))
        yield
        del self._held[mark:]

    def fault(self, kind: str, *message: str | N) -> None:
        """Fault here, at the statement being emitted."""
        if not message:
            self.call("void", support.set_fault(self.module), [("ptr", CTX), ("i64", str(fault_code(kind)))])
        elif all(isinstance(part, str) for part in message):
            value = self.module.text_leaves("".join(map(str, message)))
            self.fault_with_message(kind, value)
            return
        else:
            text = self.module.c_string("".join("%ld" if isinstance(p, N) else p.replace("%", "%%") for p in message))
            numbers = [p.operand for p in message if isinstance(p, N)]
            set_fault = support.set_formatted_fault(self.module, len(numbers))
            self.call(
                "void",
                set_fault,
                [("ptr", CTX), ("i64", str(fault_code(kind))), ("ptr", text), *(("i64", n) for n in numbers)],
            )
        self.leave_with_fault()

    def fault_with_message(self, kind: str, message: Leaves) -> None:
        """`message` is an owned str."""
        helper = support.set_text_fault(self.module)
        self.call(
            "void",
            helper,
            [
                ("ptr", CTX),
                ("i64", str(fault_code(kind))),
                ("ptr", message[0]),
                ("i64", message[1]),
                ("i64", message[2]),
            ],
        )
        self.leave_with_fault()

    def fault_index(self, index: str, length: str) -> None:
        helper = support.set_index_fault(self.module)
        self.call(
            "void", helper, [("ptr", CTX), ("i64", str(fault_code("IndexError"))), ("i64", index), ("i64", length)]
        )
        self.leave_with_fault()

    @contextmanager
    def unless(self, ok: str, hint: str = "bad") -> Iterator[None]:
        """What follows the block runs only if `ok`; the block itself, out of line, must fault or return."""
        good, bad = self.label("ok"), self.label(hint)
        self.branch(ok, good, bad, likely=True)
        with self.out_of_line(bad):
            sooner, self.sooner = self.sooner, None
            if sooner is not None:
                sooner()
            yield
            self.sooner = sooner
        self.start(good)

    def check(self, ok: str, kind: str, *message: str | N) -> None:
        """Fault unless `ok`."""
        if ok == "true":
            return
        with self.unless(ok):
            self.fault(kind, *message)

    def index_check(self, index: str, length: str) -> None:
        """IndexError unless 0 <= index < length."""
        with self.unless(self.icmp("ult", index, length)):
            self.fault_index(index, length)

    # ---- returning
    def leave(self, value: Leaves) -> None:
        """Return with success."""
        self._return("0", value)

    def _return(self, status: str, value: Sequence[str]) -> None:
        if len(self.results) > IN_REGISTERS:
            if status == "0":
                for i, (llvm, operand) in enumerate(zip(self.results, value, strict=True)):
                    self.store(llvm, operand, self.ptr_add("%out", 8 * i))
            self.ret(status if self.faults else "")
            return
        parts = ([("i32", status)] if self.faults else []) + list(zip(self.results, value, strict=True))
        if not parts:
            self.ret()
        elif len(parts) == 1:
            self.ret(parts[0][1])
        else:
            built = "poison"
            for i, (llvm, operand) in enumerate(parts):
                if operand != "poison":
                    built = self.ins(f"insertvalue {self.result} {built}, {llvm} {operand}, {i}")
            self.ret(built)

    @contextmanager
    def level(self, fn: Fn, lent: set[int], depth: str | None) -> Iterator[None]:
        """What is written within is a call, at the statement being emitted, of a function: it has variables, a depth
        and exits of its own, and a fault in it goes on as a fault of the statement."""
        outer = self.fn, self.lent, self.env, self.depth, self.span, self.owned, self._held, self._faulting
        self.fn, self.lent, self.env, self.depth = fn, lent, {}, depth
        self.owned, self._held, self._faulting = (), [], {}
        yield
        faulting = self._faulting
        self.fn, self.lent, self.env, self.depth, self.span, self.owned, self._held, self._faulting = outer
        self._write_exits(faulting, self.leave_with_fault)

    def finish(self) -> None:
        """Write the exits for faults, then the function."""
        self._write_exits(self._faulting, self._leave_faulted)
        super().finish()

    def _write_exits(self, faulting: Exits, leave: Callable[[], None]) -> None:
        if faulting and () not in faulting:
            faulting[()] = (self.label("fail"), [])
        # Longest first: a block releases what it has more than another one, and goes on there.
        for cleanup in sorted(faulting, key=len, reverse=True):
            label, incoming = faulting[cleanup]
            with self.out_of_line(label):
                site = incoming[0][0] if len(incoming) == 1 else self.phi("i64", incoming)
                if not cleanup:
                    first = places_symbol(self.name)
                    self.call("void", support.push_site(self.module), [("ptr", CTX), ("ptr", first), ("i64", site)])
                    leave()
                    continue
                more, rest = _divided(cleanup, faulting)
                for helper, operand in more:  # LLVM would make one way of two long ones, with a phi for each value
                    self.call("void", helper, [("ptr", CTX), ("ptr", operand)], attributes="nomerge")
                following, arrivals = faulting[rest]
                arrivals.append((site, label))
                self.jump(following)

    # ---- memory
    def alloc_node(self, payload: int) -> tuple[str, int]:
        """A counted block for the fields of an enum's case, with its count set to 1, not cleared; and what its tag is
        marked with."""
        number, size = pool.size_class(payload)
        if number < 0:
            block = self.call("ptr", support.allocate(self.module), [("ptr", CTX), ("i64", str(size))])
        else:
            block = self.call("ptr", pool.allocate_node(self.module, payload), [("ptr", CTX)])
        self.leave_unless(self.icmp("ne", block, "null", "ptr"))
        return block, 0 if number < 0 else pool.POOLED

    def alloc_buffer(self, element_size: int, count: str, clear: bool = True, spare: int = 0) -> str:
        """A fresh buffer of `count` >= 0 elements, with `spare` bytes after them."""
        helper = support.allocate_buffer(self.module, clear, spare)
        block = self.call("ptr", helper, [("ptr", CTX), ("i64", str(element_size)), ("i64", count)])
        self.leave_unless(self.icmp("ne", block, "null", "ptr"))
        return block

    def buffer_data(self, block: str) -> str:
        """Where the elements begin (of a null buffer: nowhere, but it has none)."""
        return self.ptr_add(block, HEADER)

    def buffer_length(self, block: str) -> str:
        """The length; 0 for null. Not for foreign blocks."""
        if refcount.is_empty(block):
            return "0"
        return self.call("i64", support.buffer_length(self.module), [("ptr", block)])

    def alone(self, block: str) -> bool:
        """Is it known that nobody else sees what is written to the block?"""
        return block in self.sole or refcount.is_empty(block)

    def share(self, value: Iterable[str]) -> None:
        """These operands may get other owners now."""
        self.sole.difference_update(value)

    def retain(self, t: Type, value: Leaves) -> None:
        self.share(value)
        for leaf, operand in zip(self.layouts.leaves(t), value, strict=True):
            if leaf.counted is not None and not immortal(operand):
                self.call("void", refcount.retain_helper(self.module), [("ptr", "%ctx"), ("ptr", operand)])

    def release(self, t: Type, value: Leaves) -> None:
        for helper, operand in refcount.release_plan(self.module, t, value):
            if operand in self.perhaps:
                refcount.release_perhaps(self, helper, operand)
            else:
                self.call("void", helper, [("ptr", CTX), ("ptr", operand)])


def _divided(cleanup: Cleanup, others: Collection[Cleanup]) -> tuple[Cleanup, Cleanup]:
    """What is released first, and what another exit releases after that: the longest that this one begins or ends with.
    (Values that come one after the other make the first kind, values that go one after the other the second.)"""
    n = len(cleanup)
    ways = ((more, rest) for k in range(1, n + 1)
            for more, rest in ((cleanup[n - k:], cleanup[:n - k]), (cleanup[:k], cleanup[k:])))
    return next((more, rest) for more, rest in ways if rest in others)


def zero_leaf(llvm: str) -> str:
    if llvm == "ptr":
        return "null"
    if llvm == "i1":
        return "false"
    if llvm.startswith("i"):
        return "0"
    return float_text(0.0, llvm)


__all__ = ["CTX", "FnEmitter", "N", "NOWHERE", "zero_leaf"]
