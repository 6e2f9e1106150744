"""What every operator of Core declares, whatever it computes: the record behind core/ops.py and core/tensor_ops.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hybridc.base.immutable import immutable
from hybridc.core.ir import Op, Program, Type

Rule = Callable[[tuple[Type, ...], Mapping[str, object], tuple[Type, ...], Program], "str | None"]
"""(types of the arguments, attributes, types of the results, program) -> what is wrong, or None. Dimensions of tensors
are never compared (core/types.py: `same`)."""


@immutable(frozen=True, slots=True)
class OpRow:
    """One operator.

    rule     its typing
    own      one letter per argument, the last one standing for all that follow: `b` borrows, `c` consumes (the operator
             takes over the caller's count, and may reuse the memory where it is the only owner). Says nothing about
             arguments that hold no counted memory.
    alias    the result is a part of the first argument (borrowed, and counted only when it is kept)
    looks    the result looks into the first argument and holds no count: that must stay as it is meanwhile
    late     only passes make it: it makes no sense in what a program is lowered to
    faults   may stop the program: stays where it is unless proved safe
    fault_if narrows `faults` for one use of the operator (an integer `mod` can fault, a float one cannot)
    effect   has an effect outside: stays where it is, and is never deleted
    doc      what it computes
    """

    name: str
    rule: Rule
    own: str = "b"
    alias: bool = False
    looks: bool = False
    late: bool = False
    faults: bool = False
    fault_if: Callable[[Op], bool] | None = None
    effect: bool = False
    doc: str = ""

    def mode(self, index: int) -> str:
        """`b` or `c` for the argument at `index`."""
        return self.own[min(index, len(self.own) - 1)]

    def may_fault(self, op: Op) -> bool:
        return self.faults and (self.fault_if is None or self.fault_if(op))
