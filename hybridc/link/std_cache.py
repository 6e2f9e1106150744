"""The standard library, checked once per installation and kept as serialised typed trees.

They are found by the digest of the compiler, so another version never sees them. The bytes are pickles that this
compiler wrote into its own folder or cache; nothing else is ever unpickled.
"""

from __future__ import annotations

import functools
import pickle

from hybridc.base import made
from hybridc.base.diagnostic import CompileError
from hybridc.front.check import Checker
from hybridc.front.scope import ModuleDecls
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
    data = pickle.dumps(modules, protocol=5)
    made.keep(name, cache.digest(data).encode() + data)
    return modules


def check_standard() -> dict[str, ModuleDecls]:
    """Check the standard library now."""
    checker = Checker(lambda path: "")
    checker.check_std()
    if checker.diagnostics:
        raise CompileError(checker.diagnostics, checker.sources)
    return checker.std_modules()
