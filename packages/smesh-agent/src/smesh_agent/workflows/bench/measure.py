"""Timing one thing: often enough that the median says something, and how far the middle half lies apart.

Nothing but the work is timed, with the process's monotonic clock. Before the first timed repeat there is one that does
not count. The garbage collector is off while the clock runs, as in `timeit`, for when it runs is no property of the
work; what has become garbage is collected in between.
"""

from __future__ import annotations

import gc
import time
from statistics import quantiles
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Effort", "Spread", "measure"]

_T = TypeVar("_T")

_REPEATS_MAX: Final = 101
_PATIENCE: Final = 4
"""How many times its share of time a row may take with what is not timed."""


class Effort(NamedTuple):
    """How long to measure.

    Attributes:
        timed_s: seconds of timed work for each figure, about.
        repeats_min: repeats that are made in any case.
    """

    timed_s: float
    repeats_min: int


class Spread(msgspec.Struct, frozen=True):
    """Nanoseconds an item, over all repeats.

    Attributes:
        median_ns: half the repeats took less.
        low_ns: a quarter of them took less.
        high_ns: a quarter of them took more.
        repeats: how many there were.
    """

    median_ns: float
    low_ns: float
    high_ns: float
    repeats: int


def measure(effort: Effort, items: int, prepare: Callable[[], _T], work: Callable[[_T], object]) -> Spread:
    """Time some work.

    Args:
        effort: how long.
        items: what one repeat's time is divided by.
        prepare: makes what the work is given, before each repeat; not timed.
        work: what is timed.
    """
    times: list[float] = []
    timed_ns, begun_ns = 0, time.perf_counter_ns()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        work(prepare())
        while len(times) < _REPEATS_MAX:
            given = prepare()
            gc.collect(0)
            started_ns = time.perf_counter_ns()
            kept = work(given)
            took_ns = time.perf_counter_ns() - started_ns
            del kept, given
            times.append(took_ns / items)
            timed_ns += took_ns
            spent_ns = max(timed_ns, (time.perf_counter_ns() - begun_ns) // _PATIENCE)
            if len(times) >= effort.repeats_min and spent_ns >= effort.timed_s * 1e9:
                break
    finally:
        if was_enabled:
            gc.enable()
        gc.collect()
    low, median, high = quantiles(times, n=4, method="inclusive") if len(times) > 1 else times * 3
    return Spread(median, low, high, len(times))
