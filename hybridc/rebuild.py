"""An artifact compiled again, from the Core that it holds: for other processors, or because nobody knows who made it.

Nothing of the artifact is taken on trust: its Core is verified, its interface must fit that Core (link/coherent.py),
and all the rest of its manifest is made anew. Where nobody knows who made the Core, it is `guarded` too: what reaches
for memory is checked (passes/guard.py), so that it can do what a program in Hyb can, and no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hybridc_runtime.artifact import Contents

from hybridc import driver
from hybridc.base.diagnostic import CompileError
from hybridc.base.recursion import deep_recursion
from hybridc.core.interface import Interface
from hybridc.core.ir import Program
from hybridc.core.reader import read
from hybridc.core.verify import verify
from hybridc.link import coherent
from hybridc.link.manifest import interface_of, sources_of
from hybridc.passes import guard


def rebuilt(
    contents: Contents, cpus: Sequence[str], weights: Mapping[str, str] | None = None, gpus: Sequence[str] = (),
    launched: bool = False, guarded: bool = True,
) -> driver.Built:
    """The artifact with code for these processors, for GPUs and launchers as driver.finish has them, and new values of
    models as `driver.build` has them; ValueError if its Core or its interface is not sound."""
    manifest = contents.manifest()
    program, interface = _sound(contents)
    if guarded and (wrong := next(guard.refused(program), None)):
        raise ValueError(f"{contents.what} holds Core that is not a program's: {wrong}")
    return driver.finish(program, interface, manifest.path, sources_of(manifest), cpus, files=contents.sources,
                         weights=weights, values=contents.weights(), gpus=gpus, launched=launched, guarded=guarded)


def _sound(contents: Contents) -> tuple[Program, Interface]:
    program, diagnostics = read(contents.core())
    if program is None or diagnostics:
        raise ValueError(f"{contents.what} holds Core that cannot be read: {CompileError(diagnostics, {})}")
    with deep_recursion():
        wrong = verify(program)
    if wrong:
        raise ValueError(f"{contents.what} holds Core that is not well formed: {wrong[0]}")
    try:
        interface = interface_of(contents.manifest())
    except (TypeError, KeyError, AttributeError, ValueError) as e:
        raise ValueError(f"{contents.what} has a manifest that is not well formed: {e}") from None
    wrong = coherent.faults(interface, program)
    if wrong:
        raise ValueError(f"{contents.what} has a manifest that does not fit its Core: {wrong[0]}")
    return program, interface
