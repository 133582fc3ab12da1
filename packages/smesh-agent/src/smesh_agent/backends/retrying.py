"""Retries: whether a request that failed is sent again, and how long to wait before it is.

Waits grow exponentially and have **full jitter**: before attempt ``n + 1`` one waits a time drawn uniformly from 0 to
``min(longest_s, first_s · 2^(n-1))``, which spreads those who failed together better than any fixed wait (M. Brooker,
"Exponential Backoff and Jitter", 2015). Where a provider asks to wait, that comes first and the drawn time on top of
it, so nobody is early and not all come back in the same moment.

What is drawn depends on (seed, call, attempt) and on nothing else, so a run can be repeated; whoever shares a provider
with others takes a seed of its own.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from smesh_agent.errors import BackendError

__all__ = ["Retries", "amend", "draw"]


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """How often, and how patiently, a request is sent again.

    Attributes:
        attempts_max: how often it is sent, the first time included.
        first_s: the longest wait before the second attempt, which then doubles.
        longest_s: how far it doubles.
        asked_s_max: a provider that asks to wait longer than this is not waited for.
    """

    attempts_max: int = 4
    first_s: float = 0.5
    longest_s: float = 30.0
    asked_s_max: float = 120.0

    def wait_s(self, error: BackendError, attempt: int, *, left_s: float, drawn: float) -> float:
        """How long to wait after a failed attempt before the next.

        Args:
            error: why it failed.
            attempt: its number, from 1.
            left_s: how much time the whole call has left.
            drawn: in [0, 1), see `draw`.

        Raises:
            BackendError: `error` itself, if there is no next attempt, with the reason for that added.
        """
        if not error.retryable:
            raise error
        if attempt >= self.attempts_max:
            raise amend(error, f"gave up after {attempt} attempts" if attempt > 1 else "")
        asked_s = error.retry_after_s or 0.0
        if asked_s > self.asked_s_max:
            raise amend(error, f"it asks to wait {asked_s:,.0f} s, and at most {self.asked_s_max:g} s are waited")
        wait_s = asked_s + drawn * min(self.longest_s, self.first_s * 2.0 ** (attempt - 1))
        if wait_s >= left_s:
            raise amend(error, f"gave up after {attempt} attempts: the call has only {max(0.0, left_s):.1f} s left")
        return wait_s


def draw(seed: int, call: int, attempt: int) -> float:
    """Uniform in [0, 1), and always the same for the same arguments."""
    words = b"".join(part.to_bytes(16, "big", signed=True) for part in (seed, call, attempt))
    return (int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "big") >> 11) / 2**53


def amend(error: BackendError, more: str) -> BackendError:
    """The same error with something added to its reason."""
    if more:
        error.reason = f"{error.reason}; {more}"
        error.args = (f"{error.backend}: {error.reason}" if error.backend else error.reason,)
    return error
