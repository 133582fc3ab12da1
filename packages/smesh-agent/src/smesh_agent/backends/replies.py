"""Replies: what came of a call of a model, and what it took."""

from __future__ import annotations

import msgspec

from smesh_agent.backends.base import Completion, Usage

__all__ = ["Call", "Reply", "together"]


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, and what it took.

    Attributes:
        completion: the answer.
        cost_usd: what it cost; None where no price is known, zero for a model at its user's own place. What attempts
            before it are charged is in the budget's ledger.
        latency_s: from when the request that was answered was sent to the answer's end.
        first_token_s: from when it was sent to the first text; None where none came before the end.
        waited_s: what the call took before that: waiting for its turn, for limits, and for attempts that failed.
        attempts: how often the request was sent.
        max_tokens: how much the model was allowed to write; less than asked for where the budget had no more.
    """

    completion: Completion
    cost_usd: float | None
    latency_s: float
    first_token_s: float | None
    waited_s: float
    attempts: int
    max_tokens: int

    @property
    def text(self) -> str:
        """The answer's text."""
        return self.completion.text


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A call that is over.

    Attributes:
        label: whom or what for.
        backend: the backend's name.
        model: the model's name.
        attempts: how often the request was sent, or was about to be.
        took_s: how long it took, from beginning to end.
        reply: what came; None where nothing did.
        error: why not: a `smesh_agent.errors.BackendError`, or what ended it from outside; None where it was answered.
    """

    label: str
    backend: str
    model: str
    attempts: int
    took_s: float
    reply: Reply | None
    error: BaseException | None


def together(first: Reply, last: Reply) -> Reply:
    """The last of two replies, with what both took."""
    return Reply(
        completion=msgspec.structs.replace(
            last.completion, usage=_added(first.completion.usage, last.completion.usage)
        ),
        cost_usd=None if first.cost_usd is None or last.cost_usd is None else first.cost_usd + last.cost_usd,
        latency_s=first.latency_s + last.latency_s,
        first_token_s=first.first_token_s,
        waited_s=first.waited_s + last.waited_s,
        attempts=first.attempts + last.attempts,
        max_tokens=last.max_tokens,
    )


def _added(a: Usage, b: Usage) -> Usage:
    return Usage(
        tokens_in=a.tokens_in + b.tokens_in,
        tokens_out=a.tokens_out + b.tokens_out,
        cached_in=a.cached_in + b.cached_in,
        cache_written_in=a.cache_written_in + b.cache_written_in,
        is_counted=a.is_counted and b.is_counted,
    )
