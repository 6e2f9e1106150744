"""What only lowering can refuse, since it depends on configuration: the programs of `refused/`, whose lines say with
which code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hybridc import driver
from hybridc.base.codes import CODES
from hybridc.base.diagnostic import CompileError

FILES = sorted((Path(__file__).parent / "refused").glob("*.hyb"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_refused_at_its_place(path: Path) -> None:
    lines = enumerate(path.read_text().split("\n"), 1)
    expected = {(n, m[1]) for n, line in lines if (m := re.search(r"# error: (\w+)$", line))}
    with pytest.raises(CompileError) as e:
        driver.lower(driver.check(str(path)), all_names=True)
    found = re.findall(rf"^{re.escape(str(path))}:(\d+):\d+: error\[(\w+)\]", str(e.value), re.MULTILINE)
    assert expected and {(int(n), code) for n, code in found} == expected, str(e.value)
    assert {code for _, code in expected} <= {*CODES}
