"""The standard library, checked once per installation and kept as serialised typed trees.

They are found by the digest of the compiler, so another version never sees them. The bytes are pickles that this
compiler wrote into its own folder or cache; nothing else is ever unpickled.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import pickle
from typing import Any

from hybridc.base import made
from hybridc.base.diagnostic import CompileError
from hybridc.front.check.checker import Checker
from hybridc.front.check.scope import ModuleDecls
from hybridc.link import cache


@functools.cache
def standard() -> dict[str, ModuleDecls]:
    """Every standard module by name ("std.list")."""
    name = f"std-{cache.compiler_digest()}.pickle"
    path = made.find(name)
    if path is not None:
        data = path.read_bytes()
        if cache.digest(data[64:]).encode() == data[:64]:
            return pickle.loads(data[64:])
    modules = check_standard()
    data = _pickled(modules)
    made.keep(name, cache.digest(data).encode() + data)
    return modules


def check_standard() -> dict[str, ModuleDecls]:
    """Check the standard library now."""
    checker = Checker(lambda path: "")
    checker.check_std()
    if checker.diagnostics:
        raise CompileError(checker.diagnostics, checker.sources)
    return checker.std_modules()


def _pickled(modules: dict[str, ModuleDecls]) -> bytes:
    out = io.BytesIO()
    _Pickler(out, protocol=5).dump(modules)
    return out.getvalue()


class _Pickler(pickle.Pickler):
    """Nodes are made again by their constructors, which takes half as long as what Python does for frozen classes with
    slots: it looks up the fields of each object anew."""

    def reducer_override(self, obj: Any) -> Any:
        kind: type = type(obj)
        names = _fields(kind)
        return (kind, tuple([getattr(obj, name) for name in names])) if names else NotImplemented


@functools.cache
def _fields(kind: type) -> tuple[str, ...]:
    """What a constructor takes that sets all that there is; () if it does not, or does more."""
    if not dataclasses.is_dataclass(kind) or "__slots__" not in vars(kind) or hasattr(kind, "__post_init__"):
        return ()
    fields = dataclasses.fields(kind)
    return tuple(f.name for f in fields) if all(f.init and not f.kw_only for f in fields) else ()
