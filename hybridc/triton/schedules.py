"""How a kernel is cut up on a GPU: constants of its source, warps, and stages of its loops' pipelines. The table
(blocks.py) goes by the kernel's shape and the architecture; what `hybridc tune` measured on this machine goes before.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hybridc.base.made import cache_folder, write
from hybridc.base.types import BF16, F16
from hybridc.core.types import elem
from hybridc.kernels.device import LINES, Launch, shape_of
from hybridc.kernels.online import online
from hybridc.triton.blocks import Blocks, blocks_of


@dataclass(frozen=True)
class Schedule:
    constants: Mapping[str, int]
    warps: int
    stages: int

    def blocks(self, launch: Launch) -> Blocks:
        """For the writer of a kernel of rows."""
        columns = {s: self.constants[name] for s, name in column_names(launch).items()}
        return Blocks(self.constants["ROWS"], columns, self.constants.get("DEPTH", 16), self.warps, self.stages)


def column_names(launch: Launch) -> dict[int, str]:
    """What the constant for the columns of each space is called."""
    assert launch.graph is not None
    spaces = range(len(launch.graph.spaces))
    return {s: f"COLUMNS{s}" if len(spaces) > 1 else "COLUMNS" for s in spaces}


def schedule_of(launch: Launch, target: str = "") -> Schedule:
    """What was measured for a GPU, else what the table says."""
    return recalled(launch, target) or by_table(launch, target)


def by_table(launch: Launch, target: str = "") -> Schedule:
    if launch.kind == "rows":
        blocks = blocks_of(launch, target)
        assert launch.graph is not None
        constants = {"ROWS": blocks.rows} | {name: blocks.columns[s] for s, name in column_names(launch).items()}
        if launch.graph.of_kind("product"):
            constants["DEPTH"] = blocks.depth
        return Schedule(constants, blocks.warps, blocks.stages)
    if launch.kind == "matmul":
        return Schedule({"ROWS": 64, "COLUMNS": 64, "DEPTH": 32}, 4, 2 if target.startswith("hip") else 3)
    if launch.kind in LINES and launch.kind != "argsort":
        return Schedule({"ROWS": 8, "COLUMNS": 128}, 4, 1)
    return Schedule({"BLOCK": 1024}, 4, 1)


# ---- what is measured
def candidates(launch: Launch, target: str) -> list[Schedule]:
    """The table's schedule, and others around it that mean the same."""
    first = by_table(launch, target)
    found = [first]
    if launch.kind == "rows" and launch.graph is not None and online(launch.graph) is not None:
        found += [_with(first, ROWS=r) for r in (16, 32, 64, 128)]
    elif launch.kind == "matmul" or launch.graph is not None and launch.graph.of_kind("product"):
        half = any(elem(v.type) in (F16, BF16) for v in launch.stmt.outs)
        names = [n for n in first.constants if n.startswith("COLUMNS") and first.constants[n] >= 64]
        for rows, columns, depth in itertools.product((32, 64, 128), (64, 128), (32, 64) if half else (32,)):
            small = first.constants["ROWS"] < 32
            given = {} if small else {"ROWS": rows}
            given |= {n: columns for n in names[-1:]} | ({"DEPTH": depth} if first.constants["DEPTH"] >= 32 else {})
            found.append(_with(first, **given))
        found += [replace(s, stages=n) for s in found for n in (2, 4)]
    elif launch.kind == "rows":
        found += [_with(first, ROWS=max(1, n)) for n in (first.constants["ROWS"] // 2, first.constants["ROWS"] * 2)]
    elif "BLOCK" in first.constants and launch.kind not in ("argsort", "put", "scatter"):
        found += [_with(first, BLOCK=n) for n in (256, 512, 2048)]
    found += [replace(s, warps=n) for s in found for n in (2, 8) if n != s.warps]
    return list({json.dumps(asdict(s), sort_keys=True): s for s in found}.values())


def _with(s: Schedule, **constants: int) -> Schedule:
    return replace(s, constants={**s.constants, **constants})


# ---- what is kept
def _file(launch: Launch, target: str) -> Path:
    key = hashlib.sha256(repr((shape_of(launch.stmt), target)).encode()).hexdigest()
    return cache_folder() / "schedules" / f"{key}.json"


def recalled(launch: Launch, target: str) -> Schedule | None:
    """What was measured for a kernel on a GPU."""
    if not target:
        return None
    try:
        kept = Schedule(**json.loads(_file(launch, target).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return kept if kept.constants.keys() == by_table(launch, target).constants.keys() else None


def keep(launch: Launch, target: str, schedule: Schedule) -> None:
    write(_file(launch, target), json.dumps(asdict(schedule)).encode())


__all__ = ["Schedule", "by_table", "candidates", "column_names", "keep", "recalled", "schedule_of"]
