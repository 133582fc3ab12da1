"""Asking a person on the terminal, while everything else goes on."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

from smesh_agent.work import Decision

from smesh_cli import render

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from smesh_agent.work import Ask
    from smesh_core.payload import Result, Task

__all__ = ["asker", "can_ask"]

_SHOWN_LINES = 8


def can_ask() -> bool:
    """Whether there is a terminal with somebody in front of it."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def asker(*, before: Callable[[], None], after: Callable[[], None]) -> Ask:
    """A way to ask whether a task may proceed.

    Args:
        before: called before a question is shown, such as to take a live view away.
        after: called when it is answered.
    """

    async def ask(task: Task, results: Mapping[str, Result]) -> Decision | None:
        before()
        try:
            render.question("A task needs your approval", task.what, [_start(one.output) for one in results.values()])
            line = await _line()
        finally:
            after()
        if line is None:
            return None
        granted = line.strip().lower() in {"y", "yes"}
        return Decision(granted=granted, note="asked on the terminal")

    return ask


def _start(output: str) -> str:
    lines = output.splitlines()
    return "\n".join([*lines[:_SHOWN_LINES], *(["…"] if len(lines) > _SHOWN_LINES else [])])


async def _line() -> str | None:
    """The next line that is typed; None at the end of the input. To be cancelled at any time."""
    loop, number = asyncio.get_running_loop(), sys.stdin.fileno()
    typed: asyncio.Future[bytes] = loop.create_future()

    def read() -> None:
        if not typed.done():
            typed.set_result(os.read(number, 4096))

    loop.add_reader(number, read)
    try:
        line = await typed
    finally:
        loop.remove_reader(number)
    return line.decode(errors="replace") if line else None
