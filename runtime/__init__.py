"""The runtime of compiled Hyb programs: loads them, converts values to and from Python, calls. Knows no compiler.

Nothing heavy is imported before it is needed.

    module.py                   a loaded program as a Python object; more.py: what it asks the compiler for later
    artifact.py, archive.py, manifest.py, packed.py, origin.py    the `.hybx` file, and what is in it
    linking.py                  machine code, at once or when it is called
    native.py, memory.py, limits.py, interrupts.py    its calls, memory, depth and stacks, Ctrl-C
    support.py, glue.py, machine.py, cfunction.py    the runtime's own machine code
    alone.py                    who counts owners without atomic operations
    faults.py                   what goes wrong, as exceptions

Values:

    layout.py, codec.py         where the parts of a value lie; what one program's values are
    convert_*.py, arrays.py     Python to native and back
    values.py, classes.py, typetext.py    native values, structs and enums, types as text
    pickling.py, encoding.py    copies, and values as bytes
    stored.py, fastbytes.py     values as bytes without Python's values between
    holds.py                    blocks that are more than memory of compiled code

Calls:

    calls.py, needs.py          of any entry, and the helpers that it uses
    fastcall.py, fastcode.py    without Python between; fastplan.py, fastplans.py, fastlog.py, fastread.py and
                                fastwrite.py with it
    fasttorch.py                with tensors of PyTorch
    njit.py                     from numba
    hosts.py, store_services.py    what compiled code asks for: externs, stores
    loops.py, team.py, parallel.py    `parallel` loops, threads, and what Python has to do for them
    torch_team.py               kernels on the threads that torch has, where these come
    cores.py                    no thread of a team on the caller's processor

Models:

    models.py, configuration.py, contents.py, state.py, weights.py    classes, configurations, parameters and state
    torch_module.py, torch_op.py    as modules and operators of PyTorch

Stores and GPUs:

    store.py, faststore.py      maps on disk; files.py: files that are there whole or not at all
    launchers.py, cuda.py, hip.py, interpret.py, driver_api.py    who runs kernels
    device.py, graphs.py        what compiled code asks of these
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from hybridc_runtime.faults import ArgumentError, HybError, RuntimeFault

_HOMES = {
    "Module": "module", "load_artifact": "artifact", "open_store": "store", "rng": "values", "Native": "values",
    "Manifest": "manifest", "link": "module",
}
__all__ = ["ArgumentError", "HybError", "RuntimeFault", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'hybridc_runtime' has no attribute {name!r}")
    return getattr(import_module(f"hybridc_runtime.{home}"), name)
