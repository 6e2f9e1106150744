"""The map at the head of a folder names each of its files, and none that is gone."""

from __future__ import annotations

import ast
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = [ROOT / "runtime", *sorted(p.parent for p in (ROOT / "hybridc").rglob("*/__init__.py"))]
WITHOUT = {"commands", "fmt", "front", "std"}
"""Their few files are not listed; `front` has folders."""


def named(folder: Path) -> list[str]:
    """The names and patterns of files in the folder's map, without those of other folders."""
    doc = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    return re.findall(r"(?<![\w/])[\w*]+\.py\b", doc)


@pytest.mark.parametrize("folder", [f for f in FOLDERS if f.name not in WITHOUT], ids=lambda f: f.name)
def test_a_map_names_what_is_there(folder: Path) -> None:
    files = {p.name for p in folder.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert files
    assert sorted(f for f in files if not any(fnmatch(f, name) for name in named(folder))) == []
    assert [name for name in named(folder) if not any(fnmatch(f, name) for f in files)] == []
