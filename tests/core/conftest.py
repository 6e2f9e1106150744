"""What the tests of this folder share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def passes(each_pass_verified: None, as_written: None) -> None:
    """Are verified one by one."""
