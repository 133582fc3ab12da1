"""Clocks: time is injected, so that a test or a simulation can hold it still.

A clock gives nanoseconds for a field and lets a coroutine wait. `SystemClock` is the machine's wall clock, because
fields on several machines must agree about when a signal ends. `VirtualClock` moves only when told to.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Protocol

__all__ = ["Clock", "SystemClock", "VirtualClock"]


class Clock(Protocol):
    """Where a medium gets its time from."""

    def now_ns(self) -> int:
        """Nanoseconds since the clock's epoch."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds that never go back, whatever is done to the clock; their zero means nothing."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Return once the clock has moved on by `delay_s` seconds."""
        ...


class SystemClock:
    """The machine's wall clock, in nanoseconds since 1970."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Nanoseconds since some moment."""
        return time.monotonic_ns()

    async def sleep(self, delay_s: float) -> None:
        """Wait in real time."""
        await asyncio.sleep(delay_s)


class VirtualClock:
    """A clock that stands still until it is advanced.

    Args:
        now_ns: what it shows at first.
    """

    def __init__(self, now_ns: int = 0) -> None:
        self._now_ns = now_ns
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now_ns(self) -> int:
        """What the clock shows."""
        return self._now_ns

    def monotonic_ns(self) -> int:
        """What the clock shows: it never goes back."""
        return self._now_ns

    async def sleep(self, delay_s: float) -> None:
        """Wait until the clock has been advanced by `delay_s` seconds."""
        waked = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now_ns + round(delay_s * 1e9), next(self._order), waked))
        await waked

    def advance_to_next(self) -> bool:
        """Move on to the next time that somebody waits for; returns whether anybody does."""
        while self._sleepers and self._sleepers[0][2].done():  # it was cancelled
            heapq.heappop(self._sleepers)
        if not self._sleepers:
            return False
        self._wake_until(max(self._now_ns, self._sleepers[0][0]))
        return True

    def advance(self, by_s: float) -> None:
        """Move on by `by_s` seconds and wake, in the order of their times, all whose time has come."""
        self._wake_until(self._now_ns + round(by_s * 1e9))

    def _wake_until(self, now_ns: int) -> None:
        self._now_ns = now_ns
        while self._sleepers and self._sleepers[0][0] <= self._now_ns:
            waked = heapq.heappop(self._sleepers)[2]
            if not waked.done():
                waked.set_result(None)
