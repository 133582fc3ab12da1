"""Pacing: how many calls are under way at the same time, and how many requests and tokens go out in a minute.

Whoever wants to send waits in one line, and the line moves in the order in which they came: the first in it waits for a
free place and then for the limits, and everybody behind it waits for it. So a long prompt is never overtaken for ever
by short ones.

The limits are leaky buckets in their virtual-scheduling form (GCRA, ITU-T I.371): what was sent is paid off at the
limit's rate, and one may send while no more than `BURST_S` seconds' worth is unpaid. Any span of T seconds therefore
holds at most ``(T + BURST_S) / 60`` of a minute's limit, and at least one request may always be unpaid, so a request of
more tokens than the burst goes out alone and is paid off afterwards.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from smesh_agent.errors import BackendSettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from smesh_runtime import Clock

__all__ = ["BURST_S", "Pacing", "Place"]

BURST_S: Final = 10
"""How many seconds' worth of a limit may go out at once."""
_NS_PER_S: Final = 10**9
_NS_PER_MINUTE: Final = 60 * _NS_PER_S


class Pacing:
    """Limits that calls share; one object may serve several models of a provider.

    Args:
        clock: time.
        concurrency_max: how many calls are under way at most; None for any number.
        requests_per_minute: how many requests a minute; None for any number.
        tokens_per_minute: how many tokens a minute, read and written; None for any number.

    Attributes:
        busy: how many calls are under way.

    Raises:
        BackendSettingsError: a limit below 1.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        concurrency_max: int | None = None,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
    ) -> None:
        limits = {
            "concurrency_max": concurrency_max,
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
        }
        for name, limit in limits.items():
            if limit is not None and limit < 1:
                raise BackendSettingsError("", f"{name} is {limit}: a limit is at least 1, and left out for none")
        self.busy = 0
        self._clock = clock
        self._line = asyncio.Lock()
        self._places = asyncio.Semaphore(concurrency_max) if concurrency_max is not None else None
        self._requests = _Bucket(requests_per_minute)
        self._tokens = _Bucket(tokens_per_minute)

    @asynccontextmanager
    async def place(self, tokens: int = 0) -> AsyncIterator[Place]:
        """Wait for a place to send from, and hold it.

        Args:
            tokens: how many the call may take; `Place.took` corrects it afterwards.
        """
        async with self._line:
            if self._places is not None:
                await self._places.acquire()
            try:
                await self._wait_for_limits(tokens)
            except BaseException:
                self._free()
                raise
            self.busy += 1
        try:
            yield Place(self._tokens, tokens)
        finally:
            self.busy -= 1
            self._free()

    async def _wait_for_limits(self, tokens: int) -> None:
        while True:
            now_ns = self._clock.monotonic_ns()
            due_ns = max(self._requests.due_ns(1), self._tokens.due_ns(tokens))
            if due_ns <= now_ns:
                break
            await self._clock.sleep((due_ns - now_ns) / _NS_PER_S)
        self._requests.take(1, now_ns)
        self._tokens.take(tokens, now_ns)

    def _free(self) -> None:
        if self._places is not None:
            self._places.release()


class Place:
    """A place among the calls that are under way."""

    def __init__(self, bucket: _Bucket, tokens: int) -> None:
        self._bucket = bucket
        self._tokens = tokens

    def took(self, tokens: int) -> None:
        """Say how many tokens the call took after all; what was taken for it too much is given back."""
        self._bucket.give_back(self._tokens - tokens)
        self._tokens = tokens


class _Bucket:
    """What was sent under a limit, and when it will be paid off."""

    def __init__(self, per_minute: int | None) -> None:
        self._per_minute = per_minute
        self._paid_ns: int | None = None

    def due_ns(self, amount: int) -> int:
        """When so much may be sent."""
        if self._per_minute is None or self._paid_ns is None:
            return 0
        return self._paid_ns - max(0, BURST_S * _NS_PER_S - self._ns(amount))

    def take(self, amount: int, now_ns: int) -> None:
        """Send so much."""
        if self._per_minute is not None:
            self._paid_ns = max(now_ns, self._paid_ns if self._paid_ns is not None else now_ns) + self._ns(amount)

    def give_back(self, amount: int) -> None:
        """So much was not sent after all; more was, if it is below zero."""
        if self._per_minute is not None and self._paid_ns is not None:
            self._paid_ns -= self._ns(amount)

    def _ns(self, amount: int) -> int:
        """How long it takes to pay off."""
        return amount * _NS_PER_MINUTE // (self._per_minute or 1)
