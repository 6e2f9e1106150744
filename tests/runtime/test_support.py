"""The runtime's own machine code: made once per installation, checked when it is read, and of nothing but what its
language knows."""

from __future__ import annotations

import pytest
from hybridc_runtime import fastplan, machine, support


def test_the_made_object_is_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(support, "MADE", tmp_path)
    made = support.support()
    (path,) = tmp_path.glob("support-*.o")
    assert support._read(path).object == made.object
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert support._read(path) is None
    again = support.support()
    assert again.object == made.object and support._read(path).known == made.known


def test_the_made_object_is_of_what_was_imported(tmp_path, monkeypatch):
    """Though the package is replaced meanwhile: else this process's code would be kept as the new one's."""
    path = support._path()
    monkeypatch.setattr(support, "HERE", tmp_path)
    assert support._path() == path and support._make(0).known == support.support().known


def test_machine_code_says_what_it_does_not_know():
    for body in ("return [x]", "return x if x else 1", "return x + 1.0", "for i in x:\n        pass", "return NOTHING", "return plan.NOTHING"):
        with pytest.raises((TypeError, NameError)):
            machine.Unit(f"def f(x: int) -> int:\n    {body}\n", vars(fastplan), ("f",))
