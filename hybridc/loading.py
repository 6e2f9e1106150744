"""`hybridc.load`: a module from source, compiled in memory or taken from the cache, or from an artifact."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hybridc_runtime import launchers, origin
from hybridc_runtime.artifact import Contents, features, link_code, processor, read, read_file
from hybridc_runtime.device import Device
from hybridc_runtime.linking import Later
from hybridc_runtime.manifest import Manifest
from hybridc_runtime.module import Module, link
from hybridc_runtime.more import More, Unfit

from hybridc.base import knobs
from hybridc.base.diagnostic import CompileError, CompileWarning, render
from hybridc.base.garbage import searched_seldom
from hybridc.base.source import texts
from hybridc.base.targets import GPUS
from hybridc.link import cache, resident
from hybridc.link.later import Uncompiled
from hybridc.llvm.definitions import Text


def load(
    path: str | os.PathLike[str], *, root: str | None = None, externs: Mapping[str, Any] | None = None,
    trust: bool = False, device: str | None = None,
) -> Module:
    """The module of a `.hyb` file or a `.hybx` artifact.

    Args:
        path: the file.
        root: where imports are looked up besides the file's own folder (source only).
        trust: run the native code of an artifact that was not built on this machine. Without it, such an artifact is
            compiled again from the Core that it holds (once, it is kept in the cache).
        device: where its tensor kernels run: "cpu", "cuda", "hip", or "interpret", which runs the Triton kernels on the
            CPU. By default, of an artifact the GPU that it has code for, and of source the CPU.
        externs: what the file's `extern fn`s mean: Python callables, ctypes function pointers, numba cfuncs, by name.

    Raises:
        CompileError: with every error of the source; that it, or what it imports, cannot be read is one (HYB203).
        OSError: an artifact cannot be read. ValueError: it is damaged, or an extern is missing.
        TypeError: an extern that is no function, or a C function of other types.
    """
    path = os.fspath(path)
    if path.endswith(".hybx"):
        contents = read_file(path)
        code = contents.code("cpu", features())
        if not (trust or origin.known(contents.digest)):
            contents = _again(contents, device)
            code = contents.code("cpu", features())
        again = (load, os.path.abspath(path), (("trust", trust), ("device", device)))
        return link_code(contents, code, externs, device, again)
    return _Source(path, root, device=device or "cpu").load(externs)


def tests(path: str, *, root: str | None = None, device: str = "cpu") -> list[tuple[str, Callable[[], None]]]:
    """The `test` blocks of a file: (title, call), ready to run."""
    module = _Source(path, root, tests=True, device=device).load(None)
    return module._tests


def keep(path: str, root: str | None, tests: bool, device: str, more: More | None) -> list[str]:
    """Compile what a module needs into the cache, for another process to find; the warnings."""
    source = _Source(path, root, tests, device)
    return source.compiled(source.name(more), more)[1]


def _code(contents: Contents) -> Iterable[bytes] | Later:
    text = next((m for m in contents.members if m.kind == "text"), None)
    if text is None:
        return contents.code("cpu", features()).objects()
    return Uncompiled(Text.from_bytes(text.data), knobs.opt_level())


def _again(contents: Contents, device: str | None) -> Contents:
    """An artifact of unknown origin, compiled for this processor from the Core that it holds; if it has GPU code, also
    for the device that is asked for, or by default for the GPUs of this machine."""
    inner = None if device == "cpu" else contents.device()
    kinds = launchers.present() if device is None else [device]
    gpus = [t for t in (inner.targets() if inner else ()) if t in GPUS and t.partition(":")[0] in kinds]
    try:
        return _rebuilt(contents, gpus, inner is not None and (bool(gpus) or device is not None))
    except CompileError as e:
        if device is not None or not gpus:
            raise
        warnings.warn(f"{contents.what} is compiled again without its GPU code: {e.diagnostics[0].message}",
                      RuntimeWarning, stacklevel=3)
        return _rebuilt(contents, [], False)


def _rebuilt(contents: Contents, gpus: list[str], launched: bool) -> Contents:
    name = cache.name_of(("rebuilt", contents.digest, knobs.opt_level(), processor(), gpus, launched))
    found = cache.find(name)
    if found is None:
        from hybridc import rebuild

        found = rebuild.rebuilt(contents, ["host"], None, gpus, launched).data
        cache.keep(name, [], [], found)
    return read(found, contents.what)


@dataclass
class _Source:
    """A file that is loaded; compiles more of it when Python asks for another configuration of a model."""

    path: str
    root: str | None
    tests: bool = False
    device: str = "cpu"

    def load(self, externs: Mapping[str, Any] | None) -> Module:
        manifest, objects, launcher = self.specialise(None)
        root = None if self.root is None else os.path.abspath(self.root)
        again = (load, os.path.abspath(self.path), (("root", root), ("device", self.device)))
        return link(manifest, objects, externs=externs, specialise=self.specialise, launcher=launcher, again=again)

    def specialise(self, more: More | None) -> tuple[Manifest, Iterable[bytes] | Later, Device | None]:
        try:
            contents = read(self.unit(more), self.path)
        except CompileError as e:
            if more is not None and all(d.code == "HYB803" for d in e.diagnostics):
                raise Unfit(e.diagnostics[0].message) from None
            raise
        launcher = launchers.choose(self.device, None if self.device == "cpu" else contents, self.path)
        return contents.manifest(), _code(contents), launcher

    def name(self, more: More | None) -> str:
        """In the cache."""
        root = None if self.root is None else os.path.abspath(self.root)
        options = (*knobs.of_code(), self.tests, more, processor(), self.device != "cpu")
        return cache.name_of((self.path, os.path.abspath(self.path), root, *options))

    def unit(self, more: More | None) -> bytes:
        """The artifact of the file, or of what is asked for beyond what is loaded."""
        name = self.name(more)
        found = cache.find(name)
        if found is None:
            found = self._asked_for(name, more)
        if found is None:
            found, told = self.compiled(name, more)
            for text in told:
                warnings.warn(text, CompileWarning, stacklevel=4)
        return found

    def _asked_for(self, name: str, more: More | None) -> bytes | None:
        """Made by the compiler that stays, if there is one."""
        told = resident.asked("load", self.path, self.root, self.tests, self.device, more)
        for text in told or ():
            warnings.warn(text, CompileWarning, stacklevel=5)
        return None if told is None else cache.find(name)

    def compiled(self, name: str, more: More | None) -> tuple[bytes, list[str]]:
        """Made here, and kept under a name; with the warnings."""
        with searched_seldom():
            # The compiler is imported only now: what is in the cache loads without it.
            from hybridc import checking, driver

            checked = checking.check(self.path, self.root)
            made = driver.artifact(checked, all_names=True, tests=self.tests, more=more, portable=False,
                                   launched=self.device != "cpu", later=not self.tests)
        cache.keep(name, texts(checked.sources), checked.absent, made)
        return made, [render(w, checked.sources) for w in checked.warnings] if more is None else []
