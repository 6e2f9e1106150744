"""Machine code of the kernels for named GPUs, made ahead of time; no GPU is needed.

A kernel is compiled twice for each target: `plain` for any arguments, and `aligned` for when its pointers and its sizes
are multiples of 16, which the launcher checks; loads are then as wide as the hardware has them. Triton runs in
processes of its own (aot.py), since it decides for a whole process whether its functions are interpreted. Kernels that
say the same are compiled once, in whatever program they stand: under a name that is made from what they say, and
without the doc, which numbers values. What was compiled once is found again by that name.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any

from hybridc.base.made import cache_folder, write
from hybridc.base.targets import GPUS
from hybridc.triton.source import KernelInfo, module_text, record

VARIANTS = ("aligned", "plain")
START = "@triton.jit\n"
START = "@triton.jit\n"


class Failed(Exception):
    """Triton is not there, or cannot compile a kernel."""


@dataclass(frozen=True)
class Binary:
    """The code of a kernel for a target, and what its launcher must know of it: entry, shared, threads, and the
    constants that it was cut up by."""

    target: str
    kernel: str
    variant: str
    code: bytes
    about: dict[str, Any]


@dataclass(frozen=True)
class Shared:
    """A kernel as all have it that say the same: its text, and what is known of it, under the name that it has here."""

    text: str
    info: KernelInfo


def build(source: str, kernels: Sequence[KernelInfo], targets: Sequence[str]) -> list[Binary]:
    """Every kernel for every target; Failed, with the reason."""
    made: list[Binary] = []
    shared = _shared(source, kernels)
    for target in targets:
        done = _compiled({s.info.name: s for s in shared}, target)
        for info, s in zip(kernels, shared, strict=True):
            for variant in VARIANTS:
                found = done[s.info.name][variant]
                about = {k: found[k] for k in ("entry", "shared", "threads")} | {"constants": dict(info.constants)}
                made.append(Binary(target, info.name, variant, base64.b64decode(found["code"]), about))
    return made


def texts(source: str, kernels: Sequence[KernelInfo], target: str) -> dict[str, str]:
    """The assembly of every kernel, for arguments that are multiples of 16; Failed, with the reason."""
    _version()
    return _run(source, kernels, target, text=True) if kernels else {}


def _shared(source: str, kernels: Sequence[KernelInfo]) -> list[Shared]:
    functions = {f.partition("(")[0]: f"{START}def {f}" for f in source.split(f"{START}def ")[1:]}
    return [_named(functions[info.name], info) for info in kernels]


def _named(text: str, info: KernelInfo) -> Shared:
    text = re.sub(r'\n +""".*?"""\n', "\n", text, count=1, flags=re.DOTALL).strip() + "\n"
    title = re.sub(r"^kernel_\d+", "kernel", info.name)
    launched = record([replace(info, name=title, operators=[])])
    said = module_text("", [text.replace(info.name, title, 1)]) + json.dumps(launched)
    name = f"{title}_{hashlib.sha256(said.encode()).hexdigest()[:16]}"
    return Shared(text.replace(info.name, name, 1), replace(info, name=name, operators=[]))


def _compiled(kernels: Mapping[str, Shared], target: str) -> dict[str, Any]:
    """By kernel and variant what aot.py gives; from the cache what is there."""
    done: dict[str, Any] = {}
    folder = cache_folder() / "kernels"
    files = {name: folder / hashlib.sha256(f"{name} {target} {_version()}".encode()).hexdigest() for name in kernels}
    for name, file in files.items():
        try:
            done[name] = json.loads(file.read_text())
            os.utime(file)
        except (OSError, ValueError):
            pass  # it is compiled
    missing = [k for name, k in kernels.items() if name not in done]
    if not missing:
        return done
    workers = min(os.cpu_count() or 1, -(-len(missing) // 4))
    parts = [missing[i::workers] for i in range(workers)]
    with ThreadPoolExecutor(workers) as pool:
        for result in pool.map(lambda part: _run_shared(part, target), parts):
            done |= result
            for name, code in result.items():
                try:
                    write(files[name], json.dumps(code).encode())
                except OSError:
                    pass  # a disk that refuses costs only the next compile
    return done


def _version() -> str:
    try:
        return metadata.version("triton")
    except metadata.PackageNotFoundError:
        raise Failed("code for a GPU is made by the package triton: pip install triton") from None


def _run_shared(kernels: Sequence[Shared], target: str) -> dict[str, Any]:
    return _run(module_text("", [k.text for k in kernels]), [k.info for k in kernels], target)


def _run(source: str, kernels: Sequence[KernelInfo], target: str, text: bool = False) -> dict[str, Any]:
    job = {"source": source, "kernels": record(kernels), "target": GPUS[target], "text": text}
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "hybridc.triton.aot"]
    with tempfile.TemporaryDirectory() as folder:
        # what was compiled is kept here; lines of a source that is gone would make each build another
        environment |= {"TRITON_DEFAULT_FP_FUSION": "1", "TRITON_DISABLE_LINE_INFO": "1", "TRITON_CACHE_DIR": folder}
        ran = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, env=environment)  # noqa: S603
    if ran.returncode:
        reason = ran.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise Failed(f"a kernel for {target} does not compile: {reason[0]}")
    return json.loads(ran.stdout)  # type: ignore[no-any-return]
