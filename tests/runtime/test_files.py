"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hybridc_runtime.files import write_whole


@pytest.mark.parametrize("lasting", [False, True])
def test_written_whole(tmp_path: Path, lasting: bool) -> None:
    umask = os.umask(0o027)
    try:
        for data in (b"first", b"2"):
            write_whole(tmp_path / "a", data, lasting=lasting)
            assert (tmp_path / "a").read_bytes() == data
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["a"]


def test_nothing_is_left_of_what_failed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError):
        write_whole(tmp_path / "a", b"data")
    assert os.listdir(tmp_path) == ["a"]


def test_the_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    path = str(tmp_path / "none" / "a")
    with pytest.raises(FileNotFoundError) as error:
        write_whole(path, b"data")
    assert error.value.filename == path
