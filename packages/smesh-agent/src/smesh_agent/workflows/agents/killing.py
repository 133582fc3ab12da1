"""Killing agents in the middle of their work, to see that others take over."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from smesh_agent.errors import JobError
from smesh_agent.work import TaskState

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from smesh_agent.work import Lookout
    from smesh_agent.work.board import Entry

__all__ = ["Death", "Killer"]


class Death(msgspec.Struct, frozen=True, kw_only=True):
    """An agent was killed.

    Attributes:
        agent: its name.
        doing: what it was working at.
        at_s: when, in seconds from the run's beginning.
    """

    agent: str
    doing: str
    at_s: float


class Killer:
    """Kills agents at moments when they have just begun to work.

    Args:
        names: the agents of the run.
        victims: agents by name; each dies over the first task that it begins.
        number: how many more die, over tasks that are drawn.
        tasks: how many tasks there are.
        seed: of what is drawn.

    Attributes:
        deaths: who died.

    Raises:
        JobError: there is no such agent, or there would be nobody left.
    """

    def __init__(
        self, names: Sequence[str], *, victims: Sequence[str] = (), number: int = 0, tasks: int, seed: int = 0
    ) -> None:
        if unknown := next((one for one in victims if one not in names), None):
            raise JobError(f"there is no agent {unknown!r} to kill; there are {', '.join(names)}")
        if len(set(victims)) + number >= len(names):
            raise JobError(f"{len(set(victims)) + number} of {len(names)} agents to kill: one at least must live")
        self.deaths: list[Death] = []
        self._victims = set(victims)
        drawn = sorted(range(1, tasks + 1), key=lambda nth: hashlib.blake2b(b"%d kill %d" % (seed, nth)).digest())
        self._nths = set(drawn[:number])
        self._claimed = 0
        self._began_ns = 0
        self._running: dict[str, asyncio.Task[None]] = {}
        self._names: dict[bytes, str] = {}
        self._lookout: Lookout | None = None

    def started(self, running: dict[str, asyncio.Task[None]], names: dict[bytes, str]) -> None:
        """Take in who lives, and under which node id."""
        self._running, self._names = running, names

    def watching(self, lookout: Lookout) -> None:
        """Take in what is known of the run."""
        self._lookout = lookout
        self._began_ns = lookout.now_ns()

    def look(self, entry: Entry) -> None:
        """Look at a task whose state has changed; kill who has just begun to work at it if that is its fate."""
        if entry.state is not TaskState.CLAIMED or self._lookout is None or entry.task is None:
            return
        now_ns = self._lookout.now_ns()
        winner = self._lookout.board.winner(entry, now_ns)
        agent = self._names.get(winner.agent, "") if winner is not None else ""
        if agent not in self._running or self._running[agent].done():
            return
        self._claimed += 1
        if agent in self._victims or self._claimed in self._nths:
            self._victims.discard(agent)
            self._nths.discard(self._claimed)
            self.deaths.append(Death(agent=agent, doing=entry.task.what, at_s=(now_ns - self._began_ns) / 1e9))
            self._running[agent].cancel()
