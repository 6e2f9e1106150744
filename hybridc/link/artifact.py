"""Writes the `.hybx` file, whose format hybridc_runtime/artifact.py describes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import version

from hybridc_runtime.archive import archive
from hybridc_runtime.artifact import DEVICE, KERNELS, LATER, WEIGHTS, Member
from hybridc_runtime.artifact import pack as pack_members
from hybridc_runtime.manifest import Manifest

from hybridc.base.source import Sources, texts
from hybridc.link import cache
from hybridc.llvm import backend, processors
from hybridc.llvm.compile import Compiled
from hybridc.triton.binaries import Binary


def pack(
    manifest: Manifest, codes: Sequence[Compiled], core: str, sources: Sequence[tuple[str, str]],
    more: Sequence[Member] = (),
) -> bytes:
    """The bytes of an artifact; the same for the same program and processors. `more` are the members of other
    targets."""
    members = [Member("manifest.json", "manifest", manifest.to_json().encode())]
    if core:
        members.append(Member("core.txt", "core", core.encode()))
    members += [code(c) for c in codes]
    return pack_members([*members, *more], compiler(), sources)


def code(compiled: Compiled) -> Member:
    cpu = processors.host_name() if compiled.cpu == processors.HOST else compiled.cpu
    if not compiled.objects:
        return Member(LATER, "text", compiled.text.to_bytes())
    name = f"{compiled.cpu}.a"
    return Member(name, "code", archive(compiled.objects), target=f"cpu:{cpu}", requires=tuple(compiled.requires))


def values(name: str, data: bytes) -> Member:
    """The values of the model that is exported under a name."""
    return Member(name + WEIGHTS, "weights", data)


def within(data: bytes) -> Member:
    """The artifact for launchers, as a member of the one for the CPU."""
    return Member(DEVICE, "device", data)


def triton(source: str, kernels: list[dict[str, object]]) -> Member:
    """The Triton source of a program's kernels, and what launchers know of them."""
    return Member(KERNELS, "source", source.encode(), target="triton", about={"kernels": kernels})


def binary(b: Binary) -> Member:
    """Machine code of one kernel."""
    about = {"kernel": b.kernel, "variant": b.variant, **b.about}
    return Member(f"{b.target}/{b.kernel}.{b.variant}", "code", b.code, target=b.target, about=about)


def digests(sources: Sources) -> list[tuple[str, str]]:
    """Path and digest of every source that is a file."""
    return [(path, hashlib.sha256(text.encode()).hexdigest()) for path, text in texts(sources)]


def compiler() -> str:
    """Who makes artifacts: the version, what its sources are, and LLVM's version."""
    return f"hybridc {version('hybridc')}+{cache.compiler_digest()[:12]} llvmlite {backend.version()}"
