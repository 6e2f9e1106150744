"""`compile_program`: Core to an object file, with the side tables that the runtime needs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from hybridc.core.ir import Program, Span, Type
from hybridc.core.types import type_key
from hybridc.kernels.device import Kernels
from hybridc.llvm import backend, processors
from hybridc.llvm.analysis import Facts
from hybridc.llvm.code import Module
from hybridc.llvm.entry import emit_entry, emit_release
from hybridc.llvm.functions import emit_fn
from hybridc.llvm.layout import Layouts
from hybridc.llvm.lend import lent
from hybridc.llvm.refcount import finish_drain
from hybridc.llvm.scalar_ops import SCALAR_ROWS
from hybridc.llvm.support import LIVE
from hybridc.llvm.unit import Unit, find_in_place, fn_symbol
from hybridc.passes.ownership import OwnedProgram, own

NO_MEMORY = frozenset(SCALAR_ROWS) | {
    "tuple",
    "struct",
    "get",
    "destruct",
    "tag",
    "made",
    "some",
    "none",
    "is_some",
    "unwrap",
    "str",
    "retain",
    "release",
    "buffer_len",
    "buffer_get",
    "buffer_part",
    "buffer_prefetch",
    "packs",
    "buffer_compare",
    "buffer_match",
    "buffer_hash",
    "hash_seed",
    "buffer_find",
    "parse_float",
    "dim",
    "place",
}
"""Operators that allocate nothing: they fault only as their table says."""


@dataclass
class Compiled:
    """`sites[i]` is the place that a trace calls i: span, function's title, hidden. `hosts[i]` is the service that
    compiled code calls i: name, types of arguments and results."""

    object: bytes
    sites: list[tuple[Span, str, bool]]
    hosts: list[tuple[str, tuple[Type, ...], tuple[Type, ...]]]
    llvm: str
    cpu: str
    opt: int
    kernels: Kernels = field(default_factory=Kernels)
    """GPU kernels that the object launches, by number."""
    _asm: str | None = field(default=None, repr=False)

    @property
    def requires(self) -> list[str]:
        """Processor features without which the object must not be run."""
        return sorted(processors.features(self.cpu))

    @property
    def asm(self) -> str:
        """The assembly, made when asked for."""
        if self._asm is None:
            machine = backend.target_machine(self.cpu, self.opt)
            module = backend.parse(self.llvm)
            backend.optimise(module, machine, self.opt)
            self._asm = machine.emit_assembly(module)
        return self._asm


@dataclass
class Tables:
    """What the objects of one program share: its sites and services have the same numbers in each."""

    sites: list[tuple[Span, str, bool]] = field(default_factory=list)
    hosts: list[tuple[str, tuple[Type, ...], tuple[Type, ...]]] = field(default_factory=list)
    kernels: Kernels = field(default_factory=Kernels)


def emit_module(
    owned: OwnedProgram, entries: Sequence[str], release_types: Sequence[Type], once: Collection[str] = (),
    vector_bytes: int = 32, tables: Tables | None = None,
) -> Module:
    """The LLVM text of a program's entries and all they need."""
    program = owned.program
    tables = tables or Tables()
    module = Module(Layouts(program), tables.sites, tables.hosts, tables.kernels)
    module.vector_bytes = vector_bytes
    module.globals.append(f"{LIVE} = global i64 0, align 8")
    facts = Facts(program, NO_MEMORY)
    unit = Unit(module, facts, owned.cleanup, owned.borrowed, once=frozenset(once))
    wanted = facts.reachable(list(entries))
    module.defined.update(fn_symbol(fn.name) for fn in wanted)
    unit.lent = {fn.name: lent(owned, fn, module.layouts) for fn in wanted}
    find_in_place(unit, wanted)
    unit.needed.update(entries)
    while ready := [fn for fn in wanted if fn.name in unit.needed]:
        wanted = [fn for fn in wanted if fn.name not in unit.needed]
        for fn in ready:
            emit_fn(unit, fn)
    for name in dict.fromkeys(entries):
        emit_entry(unit, program.fns[name])
    for t in {type_key(t): t for t in release_types}.values():
        emit_release(module, t)
    finish_drain(module)
    return module


def compile_for(
    program: OwnedProgram | Program,
    entries: Sequence[str],
    release_types: Sequence[Type] = (),
    *,
    cpus: Iterable[str],
    opt: int = 2,
    once: Collection[str] = (),
) -> list[Compiled]:
    """Compile the functions `entries`, and releases of `release_types`, to an object for each processor; all of them
    number sites and services alike. Functions that run only `once` or so are kept small instead of quick: they would
    take most of the time."""
    owned = program if isinstance(program, OwnedProgram) else own(program)
    tables = Tables()
    texts: dict[int, str] = {}
    made = []
    for cpu in cpus:
        width = processors.vector_bytes(cpu)
        if width not in texts:
            texts[width] = emit_module(owned, entries, release_types, once, width, tables).text()
        machine = backend.target_machine(cpu, opt)
        parsed = backend.parse(texts[width])
        backend.optimise(parsed, machine, opt)
        code = machine.emit_object(parsed)
        made.append(Compiled(code, tables.sites, tables.hosts, texts[width], cpu, opt, tables.kernels))
    return made


def compile_program(
    program: OwnedProgram | Program,
    entries: Sequence[str],
    release_types: Sequence[Type] = (),
    *,
    cpu: str = processors.HOST,
    opt: int = 2,
    once: Collection[str] = (),
) -> Compiled:
    """The object for one processor."""
    return compile_for(program, entries, release_types, cpus=[cpu], opt=opt, once=once)[0]
