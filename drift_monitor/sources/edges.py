"""Edges in the type that a column is compared in, so that no value changes sides.

`x >= edge` must mean the same whatever x is stored as. For floats x, it means `x >= the smallest float not below the
edge`; for integers, `x >= the smallest integer not below the edge`; decimals hold every edge exactly. Two edges may
become the same number that way: the bin between them is empty for such a column, as it should be.
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from drift_monitor.core.bins import Number

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1


def float_edges(edges: Sequence[Number]) -> list[float]:
    """The smallest floats not below the edges."""
    return [ceiling_float(edge) for edge in edges]


def integer_edges(edges: Sequence[Number]) -> list[int]:
    """The smallest integers not below the edges."""
    return [math.ceil(edge) for edge in edges]


def decimal_edges(edges: Sequence[Number]) -> list[Decimal]:
    """The edges, exactly."""
    return [Decimal(edge) for edge in edges]


def fit_int64(edges: Sequence[int]) -> bool:
    return all(INT64_MIN <= edge <= INT64_MAX for edge in edges)


def ceiling_float(number: Number) -> float:
    """The smallest float not below a number; infinity above the largest."""
    nearest = _nearest(number)
    if math.isinf(nearest):
        return nearest if nearest > 0 else -math.nextafter(math.inf, 0)
    return nearest if Fraction(nearest) >= Fraction(number) else math.nextafter(nearest, math.inf)


def floor_float(number: Number) -> float:
    """The largest float not above a number."""
    return -ceiling_float(-number)


def _nearest(number: Number) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
