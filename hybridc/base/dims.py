"""Dimensions: integer polynomials over named variables, in normal form, and shapes made of them.

A polynomial is a sorted tuple of (monomial, coefficient) with no zero coefficient; a monomial is a sorted tuple of
(variable, power). Equal polynomials are equal values, so `2 * d` is `d + d`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Union

from hybridc.base.immutable import immutable


@dataclass(frozen=True, slots=True, order=True)
class DimVar:
    """A dimension name, a model's configuration value, an int `let`, or an unknown (`?`, name "?").

    `key` is unique and stable: "MODULE:FN.N" for names, the variable's key for lets, "TYPEVAR.field" for `m.size`."""

    key: str
    name: str


Monomial = tuple[tuple[DimVar, int], ...]


@immutable(frozen=True, slots=True)
class Dim:
    """A polynomial in normal form."""

    terms: tuple[tuple[Monomial, int], ...]

    @staticmethod
    def of(value: int | DimVar) -> Dim:
        if isinstance(value, DimVar):
            return Dim(((((value, 1),), 1),))
        return Dim((((), value),) if value else ())

    @property
    def constant(self) -> int | None:
        """The value, if it is a number."""
        if not self.terms:
            return 0
        if len(self.terms) == 1 and self.terms[0][0] == ():
            return self.terms[0][1]
        return None

    @property
    def variable(self) -> DimVar | None:
        """The variable, if it stands alone."""
        if len(self.terms) == 1:
            monomial, coefficient = self.terms[0]
            if coefficient == 1 and len(monomial) == 1 and monomial[0][1] == 1:
                return monomial[0][0]
        return None

    def variables(self) -> set[DimVar]:
        return {v for monomial, _ in self.terms for v, _ in monomial}

    def __add__(self, other: Dim) -> Dim:
        return _normal(list(self.terms) + list(other.terms))

    def __sub__(self, other: Dim) -> Dim:
        return _normal(list(self.terms) + [(m, -c) for m, c in other.terms])

    def __mul__(self, other: Dim) -> Dim:
        return _normal([(_times(m, n), c * d) for m, c in self.terms for n, d in other.terms])

    def power(self, exponent: int) -> Dim:
        result = Dim.of(1)
        for _ in range(exponent):
            result = result * self
        return result

    def substitute(self, values: Mapping[DimVar, Dim]) -> Dim:
        if not any(v in values for v in self.variables()):
            return self
        result = Dim.of(0)
        for monomial, coefficient in self.terms:
            term = Dim.of(coefficient)
            for variable, power in monomial:
                term = term * values.get(variable, Dim.of(variable)).power(power)
            result = result + term
        return result

    def evaluate(self, value: Callable[[DimVar], int]) -> int:
        total = 0
        for monomial, coefficient in self.terms:
            for variable, power in monomial:
                coefficient *= value(variable) ** power
            total += coefficient
        return total

    def __str__(self) -> str:
        parts: list[str] = []
        by_degree = sorted(self.terms, key=lambda t: (-sum(p for _, p in t[0]), [v.name for v, _ in t[0]]))
        for monomial, coefficient in by_degree:
            if monomial and all(v.name == "?" for v, _ in monomial) and len(self.terms) == 1 and coefficient == 1:
                return "?"
            factors = [v.name if p == 1 else f"{v.name} ** {p}" for v, p in monomial]
            if abs(coefficient) != 1 or not factors:
                factors.insert(0, str(abs(coefficient)))
            text = " * ".join(factors)
            if not parts:
                parts.append(text if coefficient > 0 else "-" + text)
            else:
                parts.append(("+ " if coefficient > 0 else "- ") + text)
        return " ".join(parts) or "0"


def _times(a: Monomial, b: Monomial) -> Monomial:
    powers: dict[DimVar, int] = dict(a)
    for v, p in b:
        powers[v] = powers.get(v, 0) + p
    return tuple(sorted(powers.items()))


def _normal(terms: list[tuple[Monomial, int]]) -> Dim:
    sums: dict[Monomial, int] = {}
    for monomial, coefficient in terms:
        sums[monomial] = sums.get(monomial, 0) + coefficient
    return Dim(tuple(sorted((m, c) for m, c in sums.items() if c)))


@dataclass(frozen=True, slots=True, order=True)
class PackVar:
    """`*B`: a run of leading dimensions whose number is fixed when a function is made concrete."""

    key: str
    name: str

    def __str__(self) -> str:
        return "*" + self.name


ShapeItem = Union[Dim, PackVar]
Shape = tuple[ShapeItem, ...]


def show_shape(shape: Shape) -> str:
    """`[2, N, 2 * D]`."""
    return "[" + ", ".join(str(d) for d in shape) + "]"
