"""Running what can be stopped: by Ctrl-C, or by SIGTERM as schedulers and `timeout` send it.

The first signal asks: the work is told by an event, ends what it has started, and gives back what it has. The second
one ends the program at once. Threads that still work on what nobody waits for any more never hold anything up.

Handlers are installed by `signal.signal`, which works on every system, and not by the event loop, which has no
signals on Windows.
"""

from __future__ import annotations

import asyncio
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import FrameType

__all__ = ["run", "unless_stopped"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_T = TypeVar("_T")


def run(work: Callable[[asyncio.Event], Coroutine[Any, Any, _T]]) -> tuple[_T, int]:
    """Run asynchronous work in a new event loop.

    Args:
        work: is given the event that is set once it is to stop.

    Returns:
        What the work returns, and the number of the signal that stopped it, or 0.

    Raises:
        KeyboardInterrupt: a second signal came before the work had ended.
    """
    received: list[int] = []

    async def guarded() -> _T:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(_LeavingExecutor())
        stop = asyncio.Event()

        def on_signal(number: int, _frame: FrameType | None) -> None:
            received.append(number)
            if len(received) > 1:
                raise KeyboardInterrupt
            loop.call_soon_threadsafe(stop.set)

        # A signal that whoever started us has had ignored (nohup, a shell's background jobs) stays so.
        heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, on_signal) for number in heeded}
        try:
            return await work(stop)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    try:
        result = asyncio.run(guarded())
    except BaseException:
        # Whatever the second signal tore apart may complain of that in its own way.
        if len(received) > 1:
            raise KeyboardInterrupt from None
        raise
    if len(received) > 1:  # it was raised where nobody could hear it
        raise KeyboardInterrupt
    return result, next(iter(received), 0)


async def unless_stopped(work: Coroutine[Any, Any, _T], stop: asyncio.Event) -> _T | None:
    """What the work gives; None if the stop comes first, and the work is then cancelled."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        stopping.cancel()


class _LeavingExecutor(ThreadPoolExecutor):
    """Threads that the end of the event loop does not wait for."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        super().shutdown(wait=False, cancel_futures=True)
