"""Makes the nth allocation of compiled code fail, or the nth access of a store to its file.

Compiled code finds malloc, calloc and realloc by name when it is linked; here it finds functions that count. They must
be in place before the first program is linked, so this is for a process of its own.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import lmdb
from hybridc_runtime import linking, store
from hybridc_runtime.artifact import load_artifact

import hybridc
from tests.fuzz import engines
from tests.fuzz.program import case, file_of
from tests.fuzz.stores import SUFFIX

IR = """
@left = global i64 0
declare ptr @malloc(i64)
declare ptr @calloc(i64, i64)
declare ptr @realloc(ptr, i64)

define i1 @fails() {
  %old = atomicrmw sub ptr @left, i64 1 monotonic
  %last = icmp eq i64 %old, 1
  ret i1 %last
}
define ptr @malloc_or_not(i64 %n) {
  %f = call i1 @fails()
  br i1 %f, label %no, label %yes
yes:
  %p = call ptr @malloc(i64 %n)
  ret ptr %p
no:
  ret ptr null
}
define ptr @calloc_or_not(i64 %n, i64 %m) {
  %f = call i1 @fails()
  br i1 %f, label %no, label %yes
yes:
  %p = call ptr @calloc(i64 %n, i64 %m)
  ret ptr %p
no:
  ret ptr null
}
define ptr @realloc_or_not(ptr %q, i64 %n) {
  %f = call i1 @fails()
  br i1 %f, label %no, label %yes
yes:
  %p = call ptr @realloc(ptr %q, i64 %n)
  ret ptr %p
no:
  ret ptr null
}
"""
NAMES = ("malloc", "calloc", "realloc")


class Allocations:
    """Counts those of all programs that are linked from now on."""

    def __init__(self) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(opt=1, jit=True)
        self._jit = llvm.create_lljit_compiler(machine)
        module = llvm.parse_assembly(IR)
        builder = llvm.JITLibraryBuilder().add_object_img(machine.emit_object(module)).add_current_process()
        for name in ("left", *(f"{n}_or_not" for n in NAMES)):
            builder.export_symbol(name)
        self._tracker = builder.link(self._jit, "injecting")
        self._left = ctypes.c_int64.from_address(self._tracker["left"])
        real, tracker = linking.llvm.JITLibraryBuilder.add_current_process, self._tracker

        def add(builder: Any) -> Any:
            for name in NAMES:
                builder.import_symbol(name, tracker[f"{name}_or_not"])
            return real(builder)

        linking.llvm.JITLibraryBuilder.add_current_process = add

    def fail(self, n: int) -> None:
        """The nth from now; none for 0."""
        self._left.value = n

    @property
    def failed(self) -> bool:
        """Since `fail(n)`."""
        return self._left.value <= 0


@contextmanager
def store_sites() -> Iterator[Any]:
    """Every access of stores to their files counts; a function that says which fails."""
    real, base, left = store._lmdb_errors, store.Store._base, [0]

    @contextmanager
    def counting(path: str) -> Iterator[None]:
        with real(path):
            left[0] -= 1
            if left[0] == 0:
                raise lmdb.DiskError("injected")
            yield

    def reading(own: store.Store, *args: Any) -> Any:
        with counting(own.path):
            return base(own, *args)

    def fail(n: int) -> None:
        left[0] = n

    fail.__dict__["left"] = left
    store._lmdb_errors, store.Store._base = counting, reading
    try:
        yield fail
    finally:
        store._lmdb_errors, store.Store._base = real, base


@dataclass
class Report:
    programs: int = 0
    allocations: int = 0
    accesses: int = 0
    harmless: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


def inject(folder: Path, allocations: Allocations, seed: str, count: int, most: int, subject: str = "all",
           report: Report | None = None) -> Report:
    """Makes `count` generated programs, and in each of their calls every allocation and access to a store fail, one at a
    time, up to `most` of each."""
    report = report or Report()
    started = time.monotonic()
    cases = [case(f"{seed}-{i}", f"k{i}", subject) for i in range(count)]
    path = folder / "case.hyb"
    path.write_text(file_of([c.source for c in cases]))
    unit = engines.Unit(path)
    module = load_artifact(unit.native(unit.optimised(), 1), trust=True)
    program = module._parts[0].program
    with store_sites() as fail_access:
        for c in cases:
            function = getattr(module, f"run_{c.name}")
            for i, given in enumerate(engines.INPUTS[:4]):
                wanted = called(function, given, folder)
                blocks = program.live_blocks()
                for fail, kind, has_failed in (
                    (allocations.fail, "MemoryError", lambda: allocations.failed),
                    (fail_access, "OSError", lambda: fail_access.left[0] <= 0),
                ):
                    for n in range(1, most + 1):
                        found = called(function, given, folder, lambda f=fail, n=n: f(n))
                        failed = has_failed()
                        fail(0)
                        if not failed:
                            break
                        report.allocations += kind == "MemoryError"
                        report.accesses += kind == "OSError"
                        report.harmless += found == wanted
                        what = f"{c.seed} input {i}, {'allocation' if kind == 'MemoryError' else 'access'} {n}"
                        if found[0] != kind and found != wanted:  # one that can do without goes on
                            report.wrong.append(f"{what}: {found}, not {kind} and not {wanted}")
                        if program.live_blocks() != blocks:
                            report.wrong.append(f"{what}: {program.live_blocks() - blocks} blocks are left")
                            blocks = program.live_blocks()
                    if called(function, given, folder) != wanted:
                        report.wrong.append(f"{c.seed} input {i}: another result after the faults")
    report.programs += count
    report.seconds += time.monotonic() - started
    return report


def called(function: Any, given: Any, folder: Path, before: Any = lambda: None) -> tuple[str, str]:
    """The result or fault of a call that finds no store of an earlier one."""
    for left in folder.glob(f"*{SUFFIX}*"):
        left.unlink()
    before()
    try:
        return "", function(*given)
    except hybridc.RuntimeFault as e:
        return type(e).__name__, str(e)
