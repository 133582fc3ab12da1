"""Means over seeds and their 95% intervals, by Student's distribution."""

from __future__ import annotations

import math
from functools import cache
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Estimate", "estimate"]


class Estimate(msgspec.Struct, frozen=True):
    """A mean over seeds, and its 95% interval; where a single seed had a number, all three are that.

    Attributes:
        mean: the mean.
        low: lower end.
        high: upper end.
        seeds: how many seeds had a number.
    """

    mean: float
    low: float
    high: float
    seeds: int

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2


def estimate(values: Sequence[float]) -> Estimate:
    """The mean of one or more numbers, and its interval."""
    mean, count = fmean(values), len(values)
    if count < 2:
        return Estimate(mean, mean, mean, count)
    half = _student_95(count - 1) * stdev(values) / math.sqrt(count)
    return Estimate(mean, mean - half, mean + half, count)


@cache
def _student_95(freedom: int) -> float:
    """The t that a Student variable of so many degrees of freedom stays within for 95% of the time."""
    low, high = 0.0, 1000.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < 0.95 else (low, middle)
    return high


def _within(t: float, freedom: int) -> float:
    """How probably a Student variable is within ±t (Abramowitz, Stegun: Handbook of Mathematical Functions, 26.7.3)."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = freedom % 2
    term, total = (cosine, 0.0) if is_odd else (1.0, 0.0)
    for step in range(2 + is_odd, freedom + 1, 2):
        total += term
        term *= cosine * cosine * (step - 1) / step
    return 2 / math.pi * (angle + sine * total) if is_odd else sine * total
