"""A backend that does as it is told, and virtual time to drive its calls in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from smesh_agent.backends.base import Completion, Delta, Message, Request, StopReason, ToolCall, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from smesh_agent.backends.base import Piece
    from smesh_runtime import VirtualClock

__all__ = ["Fake", "asked", "completed", "counted", "in_time"]

T = TypeVar("T")


def counted(tokens_in: int = 10, tokens_out: int = 5, **values: Any) -> Usage:
    return Usage(tokens_in=tokens_in, tokens_out=tokens_out, **values)


def completed(text: str = "yes", *, stop: StopReason = StopReason.END, usage: Usage | None = None, **values: Any):
    return Completion(text=text, stop=stop, usage=usage or counted(), model="fake-1", **values)


def asked(text: str = "is it so?", **values: Any) -> Request:
    return Request(messages=(Message(role="user", text=text),), **values)


class Fake:
    """A backend whose answers are given beforehand.

    An answer is a completion; an exception, which is raised; or a list of those, of deltas, and of seconds to wait by
    the clock. The last one is given again and again.
    """

    name = "fake"

    def __init__(
        self,
        *answers: Any,
        clock: VirtualClock | None = None,
        model: str = "claude-sonnet-5-5",
        is_local: bool = False,
        count: int | None = None,
    ) -> None:
        self.model, self.is_local = model, is_local
        self.requests: list[Request] = []
        self.sent_s: list[float] = []
        self.counted: list[Request] = []
        self.open = self.open_max = self.closed = 0
        self._answers, self._clock, self._count = list(answers), clock, count

    async def stream(self, request: Request) -> AsyncIterator[Piece]:
        self.requests.append(request)
        if self._clock is not None:
            self.sent_s.append(self._clock.monotonic_ns() / 1e9)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        self.open += 1
        self.open_max = max(self.open_max, self.open)
        try:
            await asyncio.sleep(0)  # the connection
            for part in answer if isinstance(answer, list) else [answer]:
                if isinstance(part, BaseException):
                    raise part
                if isinstance(part, float):
                    assert self._clock is not None
                    await self._clock.sleep(part)
                else:
                    await asyncio.sleep(0)
                    yield part
        finally:
            self.open -= 1

    async def count_tokens(self, request: Request) -> int | None:
        self.counted.append(request)
        await asyncio.sleep(0)
        return self._count

    async def models(self) -> list[Any]:
        return []

    async def close(self) -> None:
        self.closed += 1


def wants(name: str, id_: str = "1", **arguments: Any) -> Completion:
    """An answer that asks for a tool."""
    return completed("", stop=StopReason.TOOL_USE, calls=(ToolCall(id_, name, arguments),))


def pieces(*texts: str) -> list[Any]:
    """An answer in pieces."""
    return [*(Delta(text) for text in texts), completed("".join(texts))]


async def in_time(clock: VirtualClock, work: Coroutine[Any, Any, T]) -> T:
    """Do something in virtual time, which moves on when everybody waits for it to."""
    running = asyncio.ensure_future(work)
    try:
        for _ in range(20_000):
            for _ in range(30):
                if running.done():
                    return running.result()
                await asyncio.sleep(0)
            clock.advance_to_next()
        raise AssertionError("it does not end")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
