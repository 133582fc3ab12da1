"""What models took, as reports state it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from smesh_agent.backends.budget import Account

__all__ = ["Bill", "bill_of"]


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What models took.

    Attributes:
        requests: how many were answered.
        failures: how many were not.
        tokens_in: tokens read, failed requests included.
        tokens_out: tokens written.
        cached_in: of those read, how many came from a cache.
        cost_usd: what they cost, as far as prices are known.
        unpriced: requests whose price is not known.
        estimated: requests that nobody counted.
    """

    requests: int = 0
    failures: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cached_in: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    estimated: int = 0


def bill_of(account: Account | None) -> Bill:
    """What an account comes to; nothing where there is none."""
    if account is None:
        return Bill()
    return Bill(
        requests=account.calls,
        failures=account.failures,
        tokens_in=account.tokens_in,
        tokens_out=account.tokens_out,
        cached_in=account.cached_in,
        cost_usd=account.cost_usd,
        unpriced=account.unpriced,
        estimated=account.estimated,
    )
