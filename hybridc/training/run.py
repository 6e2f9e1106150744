"""The loop of `hybridc train`: call, look at the loss, keep a checkpoint."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridc_runtime.module import Function

from hybridc import checking, loading
from hybridc.base.made import write
from hybridc.expressions import Unusable
from hybridc.training import arguments, checkpoint, curve


@dataclass(frozen=True)
class Report:
    """What one call gave."""

    done: int
    loss: float
    items: int


class NotFinite(Exception):
    """A loss that is no number."""


class Training:
    """A function of a file, called until it has been called `calls` times, in whatever number of processes.

    Args:
        file, function: what is called: it gives a float, or (a float, the number of items).
        given: expressions for its parameters (arguments.py).
        calls: how often; folder: where checkpoints, weights and the curve go; seconds: how often they are kept.
        fresh: from the start, whatever is in the folder.

    Raises:
        CompileError; Unusable: the function, or what is in the folder, does not fit what is asked.
    """

    def __init__(
        self, file: str, function: str, given: Mapping[str, str], *, calls: int, seed: int, folder: Path,
        seconds: float = 5.0, root: str | None = None, fresh: bool = False,
    ):
        checked = checking.check(file, root)
        decl = arguments.declared(checked.program, function)
        self.module = loading.load(file, root=root)
        self.function: Function = getattr(self.module, function)
        self.calls, self.folder, self.seconds, self.title = calls, folder, seconds, f"{Path(file).stem}.{function}"
        self.params = {p.var.name: p for p in decl.params}
        self.args = arguments.make(self.module, checked.program, decl, given, seed, Path.cwd())
        sources = hashlib.sha256("\0".join(s.text for _, s in sorted(checked.sources.items())).encode()).hexdigest()
        self.asked: dict[str, Any] = {
            "function": self.title, "seed": seed, "arguments": dict(sorted(given.items())), "sources": sources}
        self.losses: list[float] = []
        self._kept = 0
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(".*.tmp"):  # of a process that was killed while it wrote
            old.unlink(missing_ok=True)
        if not fresh and self.path.exists():
            self._resume()

    @property
    def path(self) -> Path:
        return self.folder / checkpoint.NAME

    def _lasting(self) -> dict[str, Any]:
        return {name: self.args.values[name] for name in self.args.lasting}

    def _entry(self) -> tuple[dict[str, Any], Any]:
        """The types of the parameters as the program that runs takes them, and its codec."""
        for signature, caller in self.function._overloads:
            values = signature.bind((), self.args.values)
            if caller.takes_models(values):
                return {p.name: p.type for p in signature.params}, caller.codec
        models = [v for v in self.args.values.values() if isinstance(v, arguments.ModelBase)]
        known = self.function._overloads[0][1] if self.function._overloads else None
        if self.module._models.extend(self.function._name, known, models) is None:
            raise Unusable(f"`{self.title}` does not take these arguments")
        return self._entry()

    def _resume(self) -> None:
        try:
            before = checkpoint.asked_of(self.path)
        except ValueError as e:
            raise Unusable(f"{e}; --fresh starts again") from None
        for what in ("function", "seed", "arguments"):
            if before.get(what) != self.asked[what]:
                raise Unusable(f"{self.path} was made with {what} {before.get(what)!r}, not {self.asked[what]!r}; "
                               "--fresh starts again, another folder keeps both")
        self.changed = before.get("sources") != self.asked["sources"]
        types, codec = self._entry()
        lasting = self._lasting()
        try:
            self.losses = checkpoint.load(self.path, lasting, types, codec)
        except (KeyError, ValueError) as e:
            raise Unusable(f"{self.path} does not fit the program any more ({e}); --fresh starts again") from None
        for name, value in lasting.items():
            self.args.values[name] = arguments.changeable(self.module, value, self.params[name])
        self._kept = len(self.losses)

    changed = False
    """Has the program been changed since the checkpoint?"""

    def keep(self) -> None:
        """Write a checkpoint, if there is anything new."""
        if self._kept == len(self.losses) and self.path.exists():
            return
        types, codec = self._entry()
        checkpoint.save(self.path, self.asked, self.losses, self._lasting(), types, codec)
        self._kept = len(self.losses)

    def run(self, report: Callable[[Report], None]) -> None:
        """Until all calls are made. Whatever stops it, what was reached is kept. NotFinite for a loss that is none:
        then the last checkpoint is from before it."""
        last = time.monotonic()
        good = True
        try:
            while len(self.losses) < self.calls:
                self.args.values.update(dict.fromkeys(self.args.counters, len(self.losses)))
                found = self.function(**self.args.values)
                loss, items = found if isinstance(found, tuple) and len(found) == 2 else (found, self._items())
                if isinstance(loss, bool) or not isinstance(loss, float) or not isinstance(items, int):
                    good = False
                    raise Unusable(f"`{self.title}` gives {found!r}, not a loss, or a loss and a number of items")
                if not math.isfinite(loss):
                    good = False
                    raise NotFinite(f"the loss of call {len(self.losses) + 1} is {loss}")
                self.losses.append(loss)
                report(Report(len(self.losses), loss, items))
                if time.monotonic() - last > self.seconds:
                    self.keep()
                    last = time.monotonic()
        finally:
            if good:
                self.keep()
                self.write_curve()
        for name, value in self._lasting().items():
            if isinstance(value, arguments.ModelBase):
                value.save(self.folder / f"{name}.safetensors")

    def _items(self) -> int:
        """The length of the first argument that is data."""
        for name, value in self.args.values.items():
            if name not in self.args.lasting and hasattr(value, "__len__") and not isinstance(value, str):
                return len(value)
        return 1

    def write_curve(self) -> None:
        write(self.folder / "loss.svg", curve.svg(self.losses, self.title).encode())
