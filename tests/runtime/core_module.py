"""Modules for tests of the runtime, made from Core's text and a hand-written interface."""

from __future__ import annotations

from hybridc_runtime.module import Module, link

from hybridc.base.types import PRIMS
from hybridc.core import ir
from hybridc.core.interface import Entry, Interface, Kind, Param
from hybridc.link import surface
from hybridc.link.manifest import manifest_of
from hybridc.llvm.compile import compile_program
from tests.core.texts import parsed

STR = "struct str { bytes: buffer[u8], size: int, count: int }\n"
INT, F64, F32, BOOL, I32, U8 = (PRIMS[n] for n in ("int", "f64", "f32", "bool", "i32", "u8"))
TEXT = ir.StructT("str")


def entry(symbol: str, *params: tuple, result: ir.Type | None = None, mut: str = "") -> Entry:
    """`mut` names the parameters that are written back."""
    return Entry(symbol, [Param(n, t, n in mut.split(), shown="") for n, t in params], result)


def interface(**fns: Entry) -> Interface:
    made = Interface({name: [e] for name, e in fns.items()})
    made.kinds["str"] = Kind("str")
    return made


def module(text: str, made: Interface, **options: object) -> Module:
    program = parsed(text)
    compiled = compile_program(program, surface.symbols(made), surface.types(made, program))
    manifest = manifest_of("test", "test.hyb", made, program, compiled.tables, {}, {})
    return link(type(manifest).from_json(manifest.to_json()), compiled.objects, **options)


def live(mod: Module) -> int:
    """Counted blocks alive in the module's program."""
    return mod._parts[0].program.live_blocks()
