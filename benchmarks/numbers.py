"""Medians, ratios, percentiles and exponents. Pure functions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest of the values that at least ``percent`` of them do not exceed.

    Example:
        >>> percentile([30, 10, 20, 40], 50), percentile([30, 10, 20, 40], 99)
        (20, 40)
    """
    ranked = sorted(values)
    return ranked[max(math.ceil(len(ranked) * percent / 100), 1) - 1]


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Return the median of the ratios of each round: what slows a machine for a while slows both of a round.

    Example:
        >>> ratio([10, 20, 40], [5, 10, 5])
        2.0
    """
    return statistics.median(over / under for over, under in zip(numerators, denominators, strict=True))


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the slope of a straight line through the points on logarithmic axes, by least squares.

    0 means that the size does not matter, 1 that ten times the size takes ten times as long.

    Example:
        >>> exponent([10, 100, 1000], [7, 7, 7])
        0.0
        >>> round(exponent([10, 100, 1000], [1, 100, 10_000]), 3)
        2.0
    """
    logarithms = [math.log(size) for size in sizes], [math.log(value) for value in values]
    return statistics.linear_regression(*logarithms).slope


def median_exponent(sizes: Sequence[float], rounds: Sequence[Sequence[float]]) -> float:
    """Return the median of the exponents of each round, for the reason given at :func:`ratio`.

    Args:
        sizes: what the values belong to.
        rounds: for each size the values of all rounds.

    Example:
        >>> round(median_exponent([10, 100], [[1, 1, 2], [10, 1, 20]]), 3)
        1.0
    """
    return statistics.median(exponent(sizes, values) for values in zip(*rounds, strict=True))
