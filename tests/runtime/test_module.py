"""What a module shows besides its functions."""

from __future__ import annotations

import hybridc


def test_doc_and_constants(tmp_path):
    file = tmp_path / "shown.hyb"
    file.write_text('"""Doc of shown."""\nconst A = 4\nconst C = A * 1.5\nfn f() -> int:\n    return A\n')
    module = hybridc.load(file)
    assert (module.__doc__, module.A, module.C, module.f()) == ("Doc of shown.", 4, 6.0, 4)
