"""The runtime's own machine code, as one object: what stands between compiled code and Python (glue.py, alone.py),
parallel loops (loops.py, team.py), fast calls (fastcode.py), values as bytes (fastbytes.py).

It depends on the runtime's sources and on LLVM only, so an installation makes it once (`python -m hybridc.std`), well
optimised, into the package's folder `made/`; its name has the digest of what it was made from. Where that folder cannot
be written, each process makes it, quickly.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm
from hybridc_runtime import cores, fastplan, glue, machine, team, torch_team
from hybridc_runtime.files import write_whole

HERE = Path(__file__).resolve().parent
MADE = HERE / "made"
CODE = ("alone.py", "loops.py", "fastlog.py", "fastwrite.py", "fastread.py", "fastcode.py", "fastbytes.py",
        "faststore.py")
SOURCES = (*CODE, "cores.py", "faults.py", "fastplan.py", "glue.py", "limits.py", "machine.py", "support.py", "team.py",
           "torch_team.py")
TEXTS = {name: (HERE / name).read_bytes() for name in SOURCES}
"""As they are imported. The package may be replaced while a process runs, whose code is no other process's then."""
EXPORTED = ("hyb_fast", "hyb_vector", "hyb_keep", "hyb_own", "hyb_swap", "hyb_let_array", "hyb_call", "hyb_release",
            "hyb_pack", "hyb_unpack", "hyb_serve")
TABLE = "hyb_known"
NAMES = (*glue.NAMES, *team.NAMES, *torch_team.NAMES, *EXPORTED, TABLE)


@dataclass(slots=True)
class Support:
    """`known`: the names of the words that the loader fills in, in order."""

    object: bytes
    known: list[str]


def _make(opt: int) -> Support:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    source = "\n".join(TEXTS[name].decode() for name in CODE)
    beside = glue.IR + cores.IR + team.IR + torch_team.IR
    constants = {name: value for plan in (glue, fastplan) for name, value in vars(plan).items() if name.isupper()}
    unit = machine.Unit(source, constants, EXPORTED, beside)
    module = llvm.parse_assembly(beside + unit.text)
    target = llvm.Target.from_default_triple().create_target_machine(opt=opt, codemodel="large", jit=True)
    if opt:
        builder = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(speed_level=opt))
        builder.getModulePassManager().run(module, builder)
    return Support(target.emit_object(module), unit.names)


def _path() -> Path:
    state = hashlib.sha256(f"{llvmlite.__version__} {llvm.get_process_triple()}".encode())
    for name in SOURCES:
        state.update(TEXTS[name])
    return MADE / f"support-{state.hexdigest()}.o"


def _read(path: Path) -> Support | None:
    """A made object that is whole: its digest, its names, and the code."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(data[32:]).digest() != data[:32]:
        return None
    names, _, code = data[32:].partition(b"\n")
    return Support(code, json.loads(names))


def support() -> Support:
    """The object: as made before, or made now."""
    path = _path()
    found = _read(path)
    if found is None:
        found = _make(2) if os.access(MADE if MADE.exists() else HERE, os.W_OK) else _make(0)
        if os.access(HERE, os.W_OK):
            _keep(path, found)
    return found


def _keep(path: Path, made: Support) -> None:
    """Keep it for other processes, whole or not at all; a folder that refuses costs them the making."""
    data = json.dumps(made.known).encode() + b"\n" + made.object
    try:
        MADE.mkdir(exist_ok=True)
        write_whole(path, hashlib.sha256(data).digest() + data)
        for old in MADE.glob("support-*.o"):
            if old != path:
                old.unlink(missing_ok=True)
    except OSError:
        return
