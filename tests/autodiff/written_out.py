"""Derivatives as autodiff writes them out, in Core's text."""

from __future__ import annotations

from pathlib import Path

from hybridc import checking, driver, pipeline
from hybridc.core.printer import print_program
from hybridc.link import surface


def derived(text: str, folder: Path, part: str) -> str:
    """The functions of a program whose names begin so."""
    file = folder / "m.hyb"
    file.write_text(text)
    checked = checking.check(str(file))
    core, interface = driver.lower(checked)
    core = pipeline.differentiated(core, surface.symbols(interface), checked.sources)
    core.fns = {name: f for name, f in core.fns.items() if name.startswith(part)}
    return print_program(core)
