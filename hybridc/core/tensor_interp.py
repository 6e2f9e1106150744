"""What the tensor operators compute, in numpy: the part of the reference interpreter for core/tensor_ops.py."""

from __future__ import annotations

from hybridc.core.values import Maker

TENSOR_MAKERS: dict[str, Maker] = {}
"""By operator; core/values.py says what a Maker is, core/interp.py: DTYPES how numpy holds elements."""
