"""`python -m hybridc.std`: what an installation makes once, so that the first program need not: the checked standard
library, the parser's tables, the runtime's own machine code, and Python's bytecode."""

from __future__ import annotations

import compileall

from hybridc_runtime.support import support

from hybridc.link.cache import PACKAGES
from hybridc.link.std_cache import standard

for package in PACKAGES:
    compileall.compile_dir(package, quiet=1)
support()
print(f"{len(standard())} standard modules checked")
