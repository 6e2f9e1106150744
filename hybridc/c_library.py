"""`hybridc build --c-header`: NAME.h and libNAME.so, by the system's C compiler."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from hybridc_runtime.artifact import Contents
from hybridc_runtime.limits import MARGIN, STACK

from hybridc.base.made import write
from hybridc.link.c_text import Library
from hybridc.link.c_types import identifier
from hybridc.llvm import backend
from hybridc.llvm.abi import CLASSES, CONTEXT_SIZE, FAULTS, NODE_CLASSES, OFFSET, TRACE_LENGTH, fault_code

FLAGS = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-Wl,--build-id=none", "-s"]


class NoLibrary(Exception):
    """Why there is none; for the user."""


def abi() -> dict[str, int]:
    """What the library's C file has to know of compiled code."""
    fields = {"FAULT": "fault", "INDEX": "a", "LENGTH": "b", "MESSAGE": "message", "MESSAGE_SIZE": "message_size",
              "TRACE_LENGTH": "trace_len", "DEPTH": "depth", "DEPTH_LIMIT": "depth_limit", "STACK_LIMIT": "stack_limit",
              "HOST": "host", "POLL": "poll", "FLAG": "flag", "PARALLEL": "parallel",
              "RELEASE_FOREIGN": "release_foreign", "POOL": "pool", "SEED": "seed", "ALONE": "alone", "TRACE": "trace"}
    codes = {"INDEX_ERROR": "IndexError", "VALUE_ERROR": "ValueError", "MEMORY_ERROR": "MemoryError",
             "OS_ERROR": "OSError", "HOST_ERROR": "HostError"}
    sizes = {"CONTEXT_SIZE": CONTEXT_SIZE, "TRACE_SLOTS": TRACE_LENGTH, "POOL_CLASSES": CLASSES, "STACK": STACK,
             "TEXTS": OFFSET[f"nodes{NODE_CLASSES}"], "MARGIN": MARGIN}
    return {name: OFFSET[f] for name, f in fields.items()} | {n: fault_code(k) for n, k in codes.items()} | sizes


def write_library(contents: Contents, target: Path) -> tuple[Path, Path]:
    """NAME.h and libNAME.so beside TARGET (NAME.hybx), of the artifact's code that runs on most processors."""
    manifest = contents.manifest()
    prefix = identifier(target.stem)
    outside = [name for name, _, _ in manifest.hosts if name.startswith(("extern ", "_store"))]
    if outside:
        names = ", ".join(dict.fromkeys(name.removeprefix("extern ") for name in outside))
        raise NoLibrary(f"{target.stem}: {names} needs Python, so there is no library for C")
    library = Library(manifest, prefix)
    codes = [m for m in contents.members if m.kind == "code" and m.target.startswith("cpu:")]
    code = min(codes, key=lambda m: len(m.requires))
    header = library.header().encode()
    with tempfile.TemporaryDirectory(prefix="hyb-c-") as folder:
        at = Path(folder)
        (at / f"{prefix}.h").write_bytes(header)
        (at / "library.c").write_text(library.source(abi(), FAULTS), encoding="utf-8")
        objects = {f"code{i}.o": data for i, data in enumerate(code.objects())}
        for name, data in objects.items():
            (at / name).write_bytes(data)
        machine = backend.target_machine("x86-64", 2)
        (at / "names.o").write_bytes(machine.emit_object(backend.parse(library.thunks())))
        (at / "names").write_text(f"{{ global: {prefix}_*; local: *; }};\n")
        parts = ["library.c", *objects, "names.o", "-Wl,--version-script=names"]
        command = [*_compiler(), *FLAGS, *parts, "-o", "library.so", "-lm", "-lpthread"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        except OSError as e:
            raise NoLibrary(f"{command[0]}: {e.strerror or e}") from None
        if done.returncode:
            raise NoLibrary(f"{shlex.join(command)} failed:\n{done.stderr.strip()}")
        made = (at / "library.so").read_bytes()
    h, so = target.with_name(f"{prefix}.h"), target.with_name(f"lib{prefix}.so")
    write(h, header)
    write(so, made)
    return h, so


def _compiler() -> list[str]:
    """The system's: $CC, or cc."""
    command = shlex.split(os.environ.get("CC", "")) or ["cc"]
    if shutil.which(command[0]) is None:
        raise NoLibrary(f"--c-header needs a C compiler, and there is no {command[0]}; CC may name another")
    return command
