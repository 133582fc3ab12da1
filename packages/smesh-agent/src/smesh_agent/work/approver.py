"""Somebody who is asked before some tasks may proceed: a person at a terminal, or a program in their stead.

A task names who must approve it. When all that it comes after is done, and not before, that one is asked, and what it
decides is a signal like any other. Who is asked takes as long as it takes: others go on with what needs no approval.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
from smesh_core.payload import Approval

from smesh_agent.work.board import FOR_APPROVAL, TaskState
from smesh_agent.work.lookout import APPROVALS
from smesh_agent.work.saying import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smesh_core.payload import Result, Task
    from smesh_runtime import Medium

    from smesh_agent.work.board import Entry
    from smesh_agent.work.lookout import Lookout

__all__ = ["Approver", "Ask", "Decision"]


class Decision(msgspec.Struct, frozen=True):
    """What somebody decides about a task.

    Attributes:
        granted: whether it may proceed; one that may not has failed.
        note: a word with it, at most 2,048 bytes.
    """

    granted: bool
    note: str = ""


Ask = Callable[["Task", "Mapping[str, Result]"], Awaitable[Decision | None]]
"""Asks whether a task may proceed, given the results that it comes after; None where nobody decides."""


class Approver:
    """The one who decides.

    Args:
        medium: its access to the field; tasks that name its identity are those it is asked about.
        lookout: what its process knows.
        ask: how it is asked; once for each task.
        deadline_ns: when the run ends, by the field's clock.
    """

    def __init__(self, medium: Medium, lookout: Lookout, ask: Ask, *, deadline_ns: int) -> None:
        self._medium = medium
        self._lookout = lookout
        self._ask = ask
        self._deadline_ns = deadline_ns

    async def run(self) -> None:
        """Ask about one task after the other until it is cancelled."""
        asked: set[bytes] = set()
        looked_at = 0
        while True:
            if looked_at == len(self._lookout.to_approve):
                await self._lookout.wait((APPROVALS,), None)
                continue
            entry = self._lookout.to_approve[looked_at]
            looked_at += 1
            if entry.id not in asked and self._is_asked(entry):
                asked.add(entry.id)
                await self._decide(entry)

    def _is_asked(self, entry: Entry) -> bool:
        is_waiting = entry.state is TaskState.WAITING and entry.why == FOR_APPROVAL
        return is_waiting and entry.task is not None and entry.task.approver == self._medium.identity.hex()

    async def _decide(self, entry: Entry) -> None:
        reading = self._medium.reading(entry.id)
        if entry.task is None or reading is None:
            return
        decision = await self._ask(entry.task, self._lookout.board.results_before(entry.task))
        if decision is None:
            return
        approval = Approval(
            of=entry.id.hex(),
            asked_by=reading.emissions[0].author.hex(),
            granted=decision.granted,
            note=decision.note,
        )
        await say(self._medium, approval, self._lookout, deadline_ns=self._deadline_ns)
