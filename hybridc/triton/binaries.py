"""Machine code of the kernels for named GPUs, made ahead of time; no GPU is needed.

A kernel is compiled twice for each target: `plain` for any arguments, and `aligned` for when its pointers and its sizes
are multiples of 16, which the launcher checks; loads are then as wide as the hardware has them. Triton runs in
processes of its own (aot.py), since it decides for a whole process whether its functions are interpreted. What was
compiled once is found again by its content.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from hybridc.base.made import cache_folder, write
from hybridc.base.targets import GPUS
from hybridc.triton.source import KernelInfo, record

VARIANTS = ("aligned", "plain")


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


def build(source: str, kernels: Sequence[KernelInfo], targets: Sequence[str]) -> list[Binary]:
    """Every kernel for every target; Failed, with the reason."""
    made: list[Binary] = []
    for target in targets:
        done = _compiled(source, kernels, target)
        for info in kernels:
            for variant in VARIANTS:
                found = done[info.name][variant]
                about = {k: found[k] for k in ("entry", "shared", "threads")} | {"constants": dict(info.constants)}
                made.append(Binary(target, info.name, variant, base64.b64decode(found["code"]), about))
    return made


def texts(source: str, kernels: Sequence[KernelInfo], target: str) -> dict[str, str]:
    """The assembly of every kernel, for arguments that are multiples of 16; Failed, with the reason."""
    _version()
    return _run(source, kernels, target, text=True) if kernels else {}


def _compiled(source: str, kernels: Sequence[KernelInfo], target: str) -> dict[str, Any]:
    """By kernel and variant what aot.py gives; from the cache what is there."""
    done: dict[str, Any] = {}
    missing: list[tuple[KernelInfo, str]] = []
    for info in kernels:
        name = _name(source, info, target)
        try:
            done[info.name] = json.loads((cache_folder() / "kernels" / name).read_text())
        except (OSError, ValueError):
            missing.append((info, name))
    if not missing:
        return done
    workers = min(os.cpu_count() or 1, -(-len(missing) // 4))
    parts = [missing[i::workers] for i in range(workers)]
    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(lambda part: _run(source, [info for info, _ in part], target), parts)
        for part, result in zip(parts, results, strict=True):
            for info, name in part:
                done[info.name] = result[info.name]
                try:
                    write(cache_folder() / "kernels" / name, json.dumps(result[info.name]).encode())
                except OSError:
                    pass  # a disk that refuses costs only the next compile
    return done


def _name(source: str, info: KernelInfo, target: str) -> str:
    """Of the kernel's own text, the helpers', its schedule, the target and Triton."""
    head, *functions = source.split("@triton.jit\n")
    own = [f for f in functions if f.startswith(f"def {info.name}(") or not f.startswith("def kernel_")]
    text = json.dumps([head.partition('"""')[2].partition('"""')[2], own, record([info]), target, _version()])
    return hashlib.sha256(text.encode()).hexdigest()


def _version() -> str:
    try:
        return metadata.version("triton")
    except metadata.PackageNotFoundError:
        raise Failed("code for a GPU is made by the package triton: pip install triton") from None


def _run(source: str, kernels: Sequence[KernelInfo], target: str, text: bool = False) -> dict[str, Any]:
    job = {"source": source, "kernels": record(kernels), "target": GPUS[target], "text": text}
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment |= {"TRITON_DEFAULT_FP_FUSION": "1", "TRITON_CACHE_DIR": str(cache_folder() / "triton")}
    command = [sys.executable, "-m", "hybridc.triton.aot"]
    ran = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, env=environment)  # noqa: S603
    if ran.returncode:
        reason = ran.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise Failed(f"a kernel for {target} does not compile: {reason[0]}")
    return json.loads(ran.stdout)  # type: ignore[no-any-return]
