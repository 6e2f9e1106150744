"""`compile_program`: Core to an object file, with the side tables that the runtime needs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property

from hybridc.core.ir import Program, Type
from hybridc.core.types import type_key
from hybridc.llvm import backend, processors
from hybridc.llvm.analysis import Facts
from hybridc.llvm.backend import Kept
from hybridc.llvm.definitions import Text
from hybridc.llvm.entry import emit_entry, emit_release
from hybridc.llvm.layout import Layouts
from hybridc.llvm.lend import lent
from hybridc.llvm.module import Module, Tables
from hybridc.llvm.partition import pieces, whole_text
from hybridc.llvm.refcount import find_drained, finish_drain
from hybridc.llvm.scalar_ops import SCALAR_ROWS
from hybridc.llvm.support import LIVE
from hybridc.llvm.unit import Unit, find_in_place, fn_symbol
from hybridc.llvm.written import write
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
    "buffer_of",
    "buffer_len",
    "buffer_get",
    "buffer_at",
    "buffer_part",
    "buffer_prefetch",
    "packs",
    "scans",
    "buffer_compare",
    "buffer_match",
    "text_key",
    "kept_part",
    "hash_seed",
    "buffer_find",
    "buffer_outside",
    "buffer_same",
    "parse_float",
    "dim",
    "place",
}
"""Operators that allocate nothing: they fault only as their table says."""
LARGE = 6000
"""Lines of LLVM text from which on it is worth while to make code only of what is called."""
COUNTER = f"{LIVE} = global i64 0, align 8"


@dataclass
class Compiled:
    """Machine code of a program for one processor; `tables` are what it calls by number: `sites[i]` is the place that a
    trace calls i, `hosts[i]` the service that the code calls i."""

    objects: list[bytes]
    """Empty if they are to be made later."""
    tables: Tables
    text: Text = field(repr=False)
    cpu: str
    opt: int

    @cached_property
    def pieces(self) -> list[str]:
        """LLVM text of each object, if all are made at once."""
        return pieces(self.text)

    @property
    def llvm(self) -> str:
        """All of it as one module, put together when asked for."""
        return whole_text(self.text)

    @property
    def requires(self) -> list[str]:
        """Processor features without which the code must not be run."""
        return sorted(processors.features(self.cpu))

    @property
    def asm(self) -> str:
        """The assembly, made when asked for."""
        return "\n".join(backend.assembly(text, self.cpu, self.opt) for text in self.pieces)


def emit_modules(
    owned: OwnedProgram, entries: Sequence[str], release_types: Sequence[Type], once: Collection[str],
    widths: Iterable[int], tables: Tables,
) -> list[Module]:
    """The LLVM text of a program's entries and all they need, for processors with vectors of each of these widths."""
    modules = [_emitted(owned, entries, release_types, once, width, tables) for width in widths]
    for module in modules:
        find_drained(module)
    for module in modules:
        finish_drain(module)
    return modules


def _emitted(
    owned: OwnedProgram, entries: Sequence[str], release_types: Sequence[Type], once: Collection[str],
    vector_bytes: int, tables: Tables,
) -> Module:
    program = owned.program
    module = Module(Layouts(program), tables, vector_bytes)
    facts = Facts(program, NO_MEMORY)
    unit = Unit(module, facts, owned.cleanup, owned.borrowed, once=frozenset(once))
    wanted = facts.reachable(list(entries))
    module.defined.update(fn_symbol(fn.name) for fn in wanted)
    unit.lent = cache(lambda name: lent(owned, program.fns[name], module.layouts))
    find_in_place(unit, wanted)
    unit.needed.update(entries)
    while ready := [fn for fn in wanted if fn.name in unit.needed]:
        wanted = [fn for fn in wanted if fn.name not in unit.needed]
        for fn in ready:
            with module.owner(fn.name):
                write(unit, fn)
    for name in dict.fromkeys(entries):
        emit_entry(unit, program.fns[name])
    for t in {type_key(t): t for t in release_types}.values():
        emit_release(module, t)
    return module


def compile_for(
    program: OwnedProgram | Program,
    entries: Sequence[str],
    release_types: Sequence[Type] = (),
    *,
    cpus: Iterable[str],
    opt: int = 2,
    once: Collection[str] = (),
    kept: Kept | None = None,
    later: bool = False,
) -> list[Compiled]:
    """Compile the functions `entries`, and releases of `release_types`, for each processor; all of them number sites
    and services alike. Functions that run only `once` or so are kept small instead of quick: they would take most of
    the time. `kept` are objects of pieces that were compiled before. `later`: no objects of a large program are made
    here."""
    owned = program if isinstance(program, OwnedProgram) else own(program)
    tables = Tables()
    widths = {cpu: processors.vector_bytes(cpu) for cpu in cpus}
    needed = list(dict.fromkeys(widths.values()))
    modules = emit_modules(owned, entries, release_types, once, needed, tables)
    texts = {w: module.text([COUNTER]) for w, module in zip(needed, modules, strict=True)}  # when all is numbered
    made = [Compiled([], tables, texts[w], cpu, opt) for cpu, w in widths.items()]
    if later and all(text.size > LARGE for text in texts.values()):
        return made
    divided = {w: pieces(text) for w, text in texts.items()}
    several = any(len(found) > 1 for found in divided.values())  # else all changes with every edit
    jobs = [(piece, cpu) for cpu, w in widths.items() for piece in divided[w]]
    objects = backend.objects(jobs, opt, kept if several else None)
    for each, w in zip(made, widths.values(), strict=True):
        each.objects = [next(objects) for _ in divided[w]]
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
