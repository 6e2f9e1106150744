"""The scripts of `examples/`, which are no packages, for tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.fixture(scope="session")
def script() -> Callable[[str], ModuleType]:
    """The module of a path below examples/."""

    def load(path: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(path.removesuffix(".py").replace("/", "_"), EXAMPLES / path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def examples() -> Path:
    return EXAMPLES
