"""Compiles kernels of a Triton module for one GPU; a process of its own, run by binaries.py.

Reads {"source", "kernels": [KernelInfo], "target": [backend, architecture, warp]} from its input and writes
{kernel: {variant: {"entry", "shared", "threads", "code": base64}}}; with {"text": true} in its input
{kernel: the assembly of its aligned variant}.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

POINTERS = {"pointer", "fault"}


def signature(info: dict[str, Any]) -> dict[str, str]:
    """Triton's types of the parameters, in order."""
    found = {name: f"*{t}" if kind in POINTERS else t for name, kind, t in info["params"]}
    return found | dict.fromkeys(info["constants"], "constexpr")


def attributes(info: dict[str, Any], variant: str) -> dict[tuple[int, ...], list[list[Any]]]:
    """What is known of parameters: that they are multiples of 16."""
    if variant == "plain":
        return {}
    known = [i for i, (_, kind, _t) in enumerate(info["params"]) if kind in ("pointer", "size")]
    return {(i,): [["tt.divisibility", 16]] for i in known}


def compiled(space: Any, info: dict[str, Any], variant: str, target: Any) -> Any:
    """Triton's CompiledKernel."""
    import triton
    from triton.compiler import ASTSource

    source = ASTSource(
        getattr(space, info["name"]), signature(info), constexprs=info["constants"], attrs=attributes(info, variant)
    )
    options = {"num_warps": info["warps"], "num_stages": info["stages"], "enable_fp_fusion": True}
    return triton.compile(source, target=target, options=options)


def module(source: str) -> Any:
    """The module of a source text, which Triton reads from a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.py"
        path.write_text(source)
        spec = importlib.util.spec_from_file_location("kernels", path)
        assert spec is not None and spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made)
    return made


def main() -> None:
    from triton.backends.compiler import GPUTarget

    job = json.load(sys.stdin)
    backend, architecture, warp = job["target"]
    target = GPUTarget(backend, architecture, warp)
    space = module(job["source"])
    out: dict[str, Any] = {}
    for info in job["kernels"]:
        for variant in ("aligned",) if job.get("text") else ("aligned", "plain"):
            try:
                kernel = compiled(space, info, variant, target)
            except Exception as e:  # whatever Triton's compiler raises
                reason = " ".join(str(e).split()) or type(e).__name__
                sys.exit(f"{info['name']}: {reason[-600:]}")
            if job.get("text"):
                out[info["name"]] = kernel.asm["ptx" if backend == "cuda" else "amdgcn"]
                continue
            code = kernel.asm["cubin" if backend == "cuda" else "hsaco"]
            out.setdefault(info["name"], {})[variant] = {
                "entry": kernel.metadata.name, "shared": kernel.metadata.shared, "threads": warp * info["warps"],
                "code": base64.b64encode(code).decode(),
            }
    json.dump(out, sys.stdout)


if __name__ == "__main__":
    main()
