"""The `.hybx` file: one container for a compiled program.

    8 bytes   "HYBX" and the number of the schema, four digits
    8 bytes   length of the table, little-endian
    32 bytes  SHA-256 of the table
    table     JSON: {"compiler": TEXT, "sources": [[PATH, SHA-256], ...], "members": [ROW, ...]}
    members   one after the other, as the table lists them

    ROW = {"name", "kind", "target"?, "requires"?, "about"?, "size", "sha256"}

    kind       what a member is
    manifest   "manifest.json": exports, their types, side tables (hybridc_runtime/manifest.py)
    core       "core.txt": the program as Core, before any pass; it can be compiled again for any machine
    code       native code for `target`: an archive of ELF objects for "cpu:NAME", which make one program
               (hybridc_runtime/archive.py), what its driver loads for other machines;
               `requires` lists the processor's features, by LLVM's names, that it needs; the most demanding first
    source     text that is compiled when it is used, for `target`
    text       "later.ll": in the cache of hybridc.load only, code that is made for this processor when it is called
    weights    "NAME.safetensors": the values of the model that is exported as NAME (hybridc_runtime/packed.py)
    device     "device.hybx": an artifact itself, the same program with its kernels on a GPU: host code that launches
               them, "kernels.py", their Triton source, and their machine code, two variants of each for a target

`about` is for the launcher of a target, plain JSON. The table says of every byte that follows what it must be, and the
digest before it says so of the table, so nothing is used unless all of it is as it was made. That finds damage; who
made the file is another question (hybridc_runtime/origin.py).
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hybridc_runtime import archive, origin
from hybridc_runtime.device import DeviceCode, KernelInfo
from hybridc_runtime.manifest import Manifest

if TYPE_CHECKING:
    from hybridc_runtime.module import Module
    from hybridc_runtime.pickling import Again

SCHEMA = 4
MAGIC = b"HYBX" + f"{SCHEMA:04}".encode()
PREFIX = 8 + 8 + 32
KINDS = ("manifest", "core", "code", "source", "text", "weights", "device")
DEVICE, KERNELS = "device.hybx", "kernels.py"
"""Members for launchers."""
LATER = "later.ll"
WEIGHTS = ".safetensors"
"""How the name of a member with the values of a model ends."""


@dataclass(frozen=True, slots=True)
class Member:
    """One part of the file; see the head of this module."""

    name: str
    kind: str
    data: bytes
    target: str = ""
    requires: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    def objects(self) -> list[bytes]:
        """Of code for a CPU: its objects."""
        return archive.objects(self.data)


@dataclass(frozen=True, slots=True)
class Contents:
    """A whole artifact. `digest` names it: it depends on every byte."""

    compiler: str
    sources: list[tuple[str, str]]
    members: list[Member]
    digest: str
    what: str

    def member(self, name: str) -> Member:
        found = next((m for m in self.members if m.name == name), None)
        if found is None:
            raise ValueError(f"{self.what} has no {name}")
        return found

    def manifest(self) -> Manifest:
        try:
            return Manifest.from_json(self.member("manifest.json").data)
        except (TypeError, KeyError, AttributeError, IndexError, RecursionError) as e:
            raise ValueError(f"{self.what} has a manifest that is not well formed: {type(e).__name__}: {e}") from None

    def core(self) -> str:
        return self.member("core.txt").data.decode()

    def targets(self) -> list[str]:
        return list(dict.fromkeys(m.target for m in self.members if m.kind == "code"))

    def weights(self) -> dict[str, bytes]:
        """Values of models, by the name that each is exported under."""
        return {m.name.removesuffix(WEIGHTS): m.data for m in self.members if m.kind == "weights"}

    def device(self) -> Contents | None:
        """The artifact for launchers within."""
        return next((read(m.data, self.what) for m in self.members if m.kind == "device"), None)

    def device_code(self) -> DeviceCode:
        """Of an artifact for launchers: its kernels."""
        kernels = self.member(KERNELS)
        code = DeviceCode(kernels.data.decode(), [KernelInfo(**k) for k in kernels.about["kernels"]])
        for m in self.members:
            if m.kind == "code" and "kernel" in m.about:
                variants = code.binaries.setdefault(m.target, {}).setdefault(m.about["kernel"], {})
                variants[m.about["variant"]] = (m.data, m.about)
        return code

    def code(self, machine: str, features: Collection[str]) -> Member:
        """The first code for a kind of machine ("cpu") that runs where these features are; ValueError if none does."""
        lacking: list[str] = []
        for m in self.members:
            if m.kind == "code" and m.target.partition(":")[0] == machine:
                missing = [f for f in m.requires if f not in features]
                if not missing:
                    return m
                lacking.append(f"{m.target} needs {', '.join(missing)}")
        has = "; ".join(lacking) or f"it has {', '.join(self.targets()) or 'none'}"
        raise ValueError(f"{self.what} has no code that this processor can run: {has}. "
                         "`hybridc build` of the .hybx compiles it for this one, from the Core that it holds")


def pack(members: Sequence[Member], compiler: str, sources: Sequence[tuple[str, str]]) -> bytes:
    """The bytes of the file; the same for the same arguments."""
    rows = []
    for m in members:
        row: dict[str, Any] = {"name": m.name, "kind": m.kind}
        more = {"target": m.target, "requires": sorted(m.requires), "about": m.about}
        row |= {key: value for key, value in more.items() if value}
        rows.append(row | {"size": len(m.data), "sha256": hashlib.sha256(m.data).hexdigest()})
    table = json.dumps({"compiler": compiler, "sources": [list(s) for s in sources], "members": rows},
                       separators=(",", ":"), ensure_ascii=False).encode()
    prefix = MAGIC + len(table).to_bytes(8, "little") + hashlib.sha256(table).digest()
    return prefix + table + b"".join(m.data for m in members)


def read(data: bytes, what: str = "the artifact") -> Contents:
    """The parts of an artifact; ValueError, which says what is wrong, unless all of it is as it was made."""
    if data[:4] != MAGIC[:4]:
        raise ValueError(f"{what} is not a .hybx file")
    if len(data) < PREFIX:
        raise ValueError(f"{what} is truncated: its header has {PREFIX} bytes, the file {len(data)}")
    if data[4:8] != MAGIC[4:]:
        found = data[4:8].decode("ascii", "backslashreplace")
        raise ValueError(f"{what} is of schema {found}, and this version of hybridc reads {MAGIC[4:].decode()}: "
                         "build it again")
    length = int.from_bytes(data[8:16], "little")
    table = data[PREFIX:PREFIX + length]
    if hashlib.sha256(table).digest() != data[16:PREFIX]:
        raise ValueError(f"{what} is damaged: its table of members does not match its digest")
    compiler, sources, rows = _table(table, what)
    members = []
    at = PREFIX + length
    for row in rows:
        part = data[at:at + row["size"]]
        if len(part) != row["size"]:
            raise ValueError(f"{what} is truncated: it ends within {row['name']}")
        at += row["size"]
        if hashlib.sha256(part).hexdigest() != row["sha256"]:
            raise ValueError(f"{what} is damaged: {row['name']} does not match its digest")
        members.append(Member(row["name"], row["kind"], part, row.get("target", ""), tuple(row.get("requires", ())),
                              row.get("about", {})))
    if at != len(data):
        raise ValueError(f"{what} is damaged: {len(data) - at} bytes stand after its last member")
    return Contents(compiler, sources, members, hashlib.sha256(data[:PREFIX]).hexdigest(), what)


def _table(text: bytes, what: str) -> tuple[str, list[tuple[str, str]], list[dict[str, Any]]]:
    """What the table says, its fields of the right types."""
    try:
        record = json.loads(text)
        compiler, rows = record["compiler"], record["members"]
        sources = [(path, sha) for path, sha in record["sources"]]
        good = isinstance(compiler, str) and all(isinstance(x, str) for s in sources for x in s)
        for row in rows:
            good = good and all(isinstance(row[key], str) for key in ("name", "kind", "sha256"))
            good = good and isinstance(row["size"], int) and row["size"] >= 0 and row["kind"] in KINDS
            good = good and isinstance(row.get("target", ""), str) and isinstance(row.get("about", {}), dict)
            good = good and all(isinstance(f, str) for f in row.get("requires", ()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        good = False
    if not good:
        raise ValueError(f"{what} has a table of members that is not well formed")
    return compiler, sources, rows


@functools.cache
def features() -> frozenset[str]:
    """What this processor can do, by LLVM's names."""
    import llvmlite.binding as llvm

    return frozenset(name for name, has in llvm.get_host_cpu_features().items() if has)


@functools.cache
def processor() -> str:
    """This processor and the LLVM that knows it, as text: code compiled for one is not for another."""
    import llvmlite
    import llvmlite.binding as llvm

    return f"{llvm.get_host_cpu_name()} {' '.join(sorted(features()))} llvmlite {llvmlite.__version__}"


def read_file(path: str | os.PathLike[str]) -> Contents:
    """The parts of a file; OSError where it cannot be read, ValueError where it is not an artifact or damaged."""
    with open(path, "rb") as f:
        return read(f.read(), os.fspath(path))


def load_artifact(
    source: str | os.PathLike[str] | bytes, *, externs: Mapping[str, Any] | None = None, trust: bool = False,
    device: str | None = None,
) -> Module:
    """The module of a `.hybx` file, by path or as bytes: its own native code, so only if it was built on this machine
    (origin.py), or the caller trusts who made it. `device` as launchers.choose has it.

    Raises:
        ValueError: not an artifact, damaged, no code for this processor, of unknown origin, or an extern is missing.
        OSError: the file cannot be read.
    """
    contents = read(source) if isinstance(source, bytes) else read_file(source)
    code = contents.code("cpu", features())
    if not (trust or origin.known(contents.digest)):
        raise ValueError(
            f"{contents.what} was not built here, and a .hybx holds native code: load it with trust=True if you trust "
            "who made it; hybridc.load compiles what it does not know from the Core inside"
        )
    again = None if isinstance(source, bytes) else (
        load_artifact, os.path.abspath(source), (("trust", trust), ("device", device)))
    return link_code(contents, code, externs, device, again)


def link_code(
    contents: Contents, code: Member, externs: Mapping[str, Any] | None, device: str | None = None,
    again: Again | None = None,
) -> Module:
    """The module of one of the codes of an artifact, or of the one within for a launcher, whoever made it; `again`
    loads it in another process."""
    from hybridc_runtime import launchers
    from hybridc_runtime.module import link

    inner = contents.device()
    launcher = launchers.choose(device, inner, contents.what)
    weights = contents.weights()
    if launcher is not None and inner is not None:
        contents, code = inner, inner.code("cpu", features())
    return link(contents.manifest(), code.objects(), externs=externs, launcher=launcher, weights=weights, again=again)


def describe(contents: Contents) -> str:
    """What is in an artifact, as text."""
    manifest = contents.manifest()
    lines = [f"schema   {SCHEMA}", f"compiler {contents.compiler}"]
    lines += [f"source   {sha} {path}" for path, sha in contents.sources]
    for m in contents.members:
        needs = f" needs {' '.join(m.requires)}" if m.requires else ""
        lines.append(f"{m.kind:8} {len(m.data):8} {m.name}{f' for {m.target}' if m.target else ''}{needs}")
    for name, entries in manifest.fns.items():
        for e in entries:
            shown = ", ".join(f"{'mut ' if p.mut else ''}{p.name}: {p.shown}" for p in e.params)
            lines.append(f"export   fn {name}({shown}) -> {e.result_shown or '()'}")
    lines += [f"export   model {m.shown}" for m in manifest.models]
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        print(describe(read_file(sys.argv[1])))
    except (IndexError, OSError, ValueError) as e:
        sys.exit(f"{e}" if len(sys.argv) > 1 else "usage: python -m hybridc_runtime.artifact FILE")
