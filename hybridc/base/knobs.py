"""Every environment variable that the compiler reads. The runtime reads HYB_DEPTH and HYB_HASH_SEED (limits.py),
HYB_THREADS (team.py) and HYB_INTERPRET_APART (interpret.py)."""

from __future__ import annotations

import os


def cache_dir() -> str | None:
    """HYB_CACHE_DIR: where compiled programs are kept; by default the platform's cache folder."""
    return os.environ.get("HYB_CACHE_DIR") or None


def cache_size() -> int:
    """HYB_CACHE_SIZE: how many bytes of compiled programs are kept; a gibibyte by default."""
    return int(os.environ.get("HYB_CACHE_SIZE", str(1 << 30)))


def patience() -> float:
    """HYB_SERVE_WAIT: seconds within which `hybridc serve` has to begin, or it is busy."""
    return float(os.environ.get("HYB_SERVE_WAIT", "0.3"))


def opt_level() -> int:
    """HYB_OPT: LLVM's optimisation level for host code, 0 to 3."""
    return int(os.environ.get("HYB_OPT", "2"))


def place_everything() -> bool:
    """HYB_PLACE=all: every tensor operator that can be a GPU kernel is one, however little it does (for tests)."""
    return os.environ.get("HYB_PLACE") == "all"


def trap_nan() -> bool:
    """HYB_TRAP_NAN: an operator that makes a nan is a fault at its line (off by default; 1 turns it on)."""
    return os.environ.get("HYB_TRAP_NAN", "0") not in ("", "0")


def verify() -> bool:
    """HYB_VERIFY: check Core (on by default; 0 turns it off)."""
    return os.environ.get("HYB_VERIFY") != "0"


def verify_each() -> bool:
    """HYB_VERIFY=1: check Core after every pass (by default only after the last, if nothing is wrong there)."""
    return verify() and bool(os.environ.get("HYB_VERIFY"))


def of_code() -> tuple[object, ...]:
    """Those that decide what code a program becomes, in the names of what is kept of it."""
    return opt_level(), trap_nan(), tape_size(), place_everything()


def tape_size() -> int | None:
    """HYB_TAPE: how many bytes the tape of a loop may take, about; by default as many as there are."""
    found = os.environ.get("HYB_TAPE")
    return int(found) if found else None
