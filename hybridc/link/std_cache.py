"""The standard library, checked once per installation and kept as serialised typed trees.

Modules are found by the digest of the compiler, so another version never sees them. The bytes are pickles that this
compiler wrote into its own cache folder; nothing else is ever unpickled.
"""

from __future__ import annotations

import functools
import pickle

from hybridc.base.diagnostic import CompileError
from hybridc.front.check import Checker
from hybridc.front.scope import ModuleDecls
from hybridc.link import cache


@functools.cache
def standard() -> dict[str, ModuleDecls]:
    """Every standard module by name ("std.list")."""
    path = cache.directory() / "std" / f"{cache.compiler_digest()}.pickle"
    try:
        data = path.read_bytes()
    except OSError:
        data = b""
    if len(data) > 64 and cache.digest(data[64:]).encode() == data[:64]:
        return pickle.loads(data[64:])
    modules = check_standard()
    data = pickle.dumps(modules, protocol=5)
    try:
        cache.write(path, cache.digest(data).encode() + data)
    except OSError:
        pass  # a read-only home costs the next process a second
    return modules


def check_standard() -> dict[str, ModuleDecls]:
    """Check the standard library now."""
    checker = Checker(lambda path: "")
    checker.check_std()
    if checker.diagnostics:
        raise CompileError(checker.diagnostics, checker.sources)
    return checker.std_modules()
