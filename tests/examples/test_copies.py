"""Which containers an example copies: none but those that it writes and needs as they were."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hybridc.explaining import explain

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/*.hyb"))
EXPECTED = {
    # A longer draft for each letter, while the shorter one goes on to be used.
    "translate": {"longer.push(surprise + costs[sign], Draft(draft.signs + [sign], h))"},
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_copies_of_an_example(path: Path) -> None:
    lines = path.read_text().splitlines()
    places = re.findall(r"^  copies .* \((\S+):(\d+)\): ", explain(str(path)), re.M)
    assert {lines[int(line) - 1].strip() for file, line in places if file == str(path)} == EXPECTED.get(path.stem, set())
