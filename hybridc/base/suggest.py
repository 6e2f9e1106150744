"""What may have been meant by a name that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> str | None:
    """`did you mean ...?` for a name that is not known."""
    close = difflib.get_close_matches(name, sorted(set(names)), n=1, cutoff=0.7)
    return f"did you mean `{close[0]}`?" if close else None
