"""Which launcher runs the kernels of an artifact: `cuda` and `hip` on a GPU, `interpret` anywhere."""

from __future__ import annotations

import ctypes
import warnings
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

from hybridc_runtime.device import Device

if TYPE_CHECKING:
    from hybridc_runtime.artifact import Contents

LAUNCHERS = {"cuda": ("hybridc_runtime.cuda", "Cuda"), "hip": ("hybridc_runtime.hip", "Hip"),
             "interpret": ("hybridc_runtime.interpret", "Interpret")}


def present() -> list[str]:
    """The kinds of GPU whose driver is on this machine."""
    return [kind for kind in ("cuda", "hip") if _driver(kind)]


def _driver(kind: str) -> bool:
    home, name = LAUNCHERS[kind]
    for library in getattr(import_module(home), name).interface.libraries:
        with suppress(OSError):
            ctypes.CDLL(library)
            return True
    return False


def choose(device: str | None, inner: Contents | None, what: str = "the artifact") -> Device | None:
    """The launcher for the artifact for a GPU, or None for the CPU.

    Args:
        device: "cpu", "cuda", "hip" or "interpret"; None takes a GPU that the artifact has code for, if there is one,
            and the CPU with a warning if there is none.
        inner: the artifact for a GPU (Contents.device).

    Raises:
        ValueError: another device, or one that the artifact has no code for. OSError: there is no such GPU here.
    """
    if device not in (None, "cpu", *LAUNCHERS):
        raise ValueError(f"there is no device {device!r}; devices are cpu, {', '.join(LAUNCHERS)}")
    if device == "cpu" or device is None and inner is None:
        return None
    if inner is None:
        raise ValueError(f"{what} has no GPU code; build it with --target {TARGETS[device or '']}")
    code = inner.device_code()
    if device is not None:
        return _make(device, code)
    kinds = dict.fromkeys(target.partition(":")[0] for target in code.binaries)
    reasons = []
    for kind in kinds:
        try:
            return _make(kind, code)
        except (OSError, ValueError) as e:
            reasons.append(str(e))
    if reasons:
        warnings.warn(f"{'; '.join(reasons)}. The CPU code of {what} runs instead; say so with device=\"cpu\".",
                      RuntimeWarning, stacklevel=4)
    return None


TARGETS = {"cuda": "cuda:sm_90", "hip": "hip:gfx942", "interpret": "cuda:sm_90 (or hip:gfx942)"}


def _make(device: str, code: object) -> Device:
    home, name = LAUNCHERS[device]
    made: Device = getattr(import_module(home), name)(code)
    return made
