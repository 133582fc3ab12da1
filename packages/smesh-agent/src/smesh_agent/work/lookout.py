"""What the agents of one process share: a board that hears everything at once, trust, and who waits for what.

It is no agent: it says nothing, decides nothing and runs nothing of its own. It is called by the medium with every
element and keeps what follows from it, as the field itself does, so there is nothing here that could die.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from smesh_core import Observer, Stance, StanceKind
from smesh_core.judging import Judgement, Outcome, TrustRecord, judgements_of
from smesh_core.limits import TRUST_DEFAULT
from smesh_core.payload import Approval, Claim, Failure, Heartbeat, Result, Task

from smesh_agent.work.board import FOR_APPROVAL, TRUST_FLOOR, Board, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from smesh_core import Signal
    from smesh_core.payload import Payload
    from smesh_runtime import Element, Medium

    from smesh_agent.work.board import Entry, Lease

__all__ = ["APPROVALS", "CHECKS", "NEWS", "Lookout"]

CHECKS, NEWS, APPROVALS = "\0checks", "\0news", "\0approvals"
"""In the place of a skill: waiting for results to check, for what is said beside the work, for tasks to approve."""

_STALL_WEIGHT: Final = 0.5
"""One may happen to anybody; two in a row bring an agent under the floor."""
_PROTOCOL: Final = (Task, Claim, Heartbeat, Result, Failure, Approval)


class Lookout:
    """A board that listens to a medium.

    Args:
        medium: what it listens to; it never speaks through it.
        told: called with each task whose state has changed, and with each element.

    Attributes:
        board: what is known.
        results: all results that came, with their tasks, in the order in which they came.
        news: all that came and is no part of the protocol, such as findings, in the order in which it came.
        to_approve: tasks that came to wait for an approval, in that order; some of them have it by now.
        live: how many take part in the run, agents and whoever approves, and have not ended.
        rested: set when all of them rest.
        written: what bytes mean that somebody of this process is about to say, so that they need not be read.
    """

    def __init__(self, medium: Medium, *, told: Callable[[Entry | Element], None] = lambda _: None) -> None:
        self.board = Board(trust=self.trust, changed=self._changed, stalled=self._distrust)
        self.results: list[tuple[Entry, bytes]] = []
        self.news: list[Signal] = []
        self.to_approve: list[Entry] = []
        self.live = 0
        self.rested = asyncio.Event()
        self.written: dict[bytes, Payload] = {}
        self._medium = medium
        self._clock = medium.clock
        self._told = told
        self._trusts: dict[bytes, float] = {}
        self._work: defaultdict[bytes, TrustRecord] = defaultdict(TrustRecord)
        self._checks: defaultdict[bytes, TrustRecord] = defaultdict(TrustRecord)
        self._sides: dict[bytes, set[bytes]] = {}
        self._waiting: dict[str, dict[_Waiter, None]] = {}
        self._resting = 0
        self._observer = medium.observer
        self._end = medium.listen(self._take)

    def close(self) -> None:
        """Listen no longer."""
        self._end()

    def now_ns(self) -> int:
        """The observer's own time."""
        return self._clock.monotonic_ns()

    # ---- trust

    def trust(self, agent: bytes) -> float:
        """What is thought of an agent: the lesser of what its work came to and what its opinions of others' did.

        Nobody makes up for bad work by nodding to what others have done, nor for bad checks by good work.
        """
        return self._trusts.get(agent, TRUST_DEFAULT)

    def trusts(self) -> dict[bytes, float]:
        """Trust in all who were judged."""
        return dict(self._trusts)

    def judge(self, judgements: Iterable[Judgement]) -> None:
        """Take judgements in; of several of one (author, statement) the newest counts."""
        for judgement in judgements:
            agent = judgement.author
            task = self.board.task_of(judgement.statement)
            is_work = task is None or task.results[judgement.statement].author == agent
            (self._work if is_work else self._checks)[agent].add(judgement)
            before = self.trust(agent)
            records = (records[agent] for records in (self._work, self._checks) if agent in records)
            after = self._trusts[agent] = min(record.trust for record in records)
            if (before < TRUST_FLOOR) != (after < TRUST_FLOOR):
                self._observer = self._seen_by()
                self.board.reconsider(agent, self.now_ns())

    def _distrust(self, lease: Lease) -> None:
        """Who holds a task for longer than it may and says nothing of it was wrong to claim it."""
        at_ns = self._medium.clock.now_ns()
        self.judge(
            [
                Judgement(
                    author=lease.agent,
                    statement=lease.claim,
                    outcome=Outcome.WRONG,
                    at_ns=at_ns,
                    weight=_STALL_WEIGHT,
                )
            ]
        )

    def _seen_by(self) -> Observer:
        """The medium's observer, but that those it has lost trust in have no vote."""
        own = self._medium.observer
        if own.roster is None:
            return own
        kept = {node: lineage for node, lineage in own.roster.items() if self.trust(node) >= TRUST_FLOOR}
        return Observer(roster=kept, trust=own.trust, unknown_vote=own.unknown_vote, declared=own.declared)

    # ---- hearing

    def has_spoken(self, author: bytes, statement: bytes) -> bool:
        """Whether somebody has taken sides on a result, or on something said beside the work, or has said it."""
        return author in self._sides.get(statement, ())

    def objections(self, statement: bytes) -> list[tuple[bytes, str]]:
        """Who opposes a statement now, and why."""
        if statement not in self._sides:
            return []
        reading = self._medium.reading(statement)
        positions = reading.positions if reading is not None else ()
        return [(one.author, one.reason) for one in positions if one.kind is StanceKind.OPPOSE]

    def _take(self, element: Element) -> None:
        now_ns = self.now_ns()
        if isinstance(element, Stance):
            self.board.take(element, now_ns)
            self._sides.setdefault(element.statement, set()).add(element.author)
            if self.board.task_of(element.statement) is not None:
                self._rule(element.statement, now_ns)
        else:
            payload = self.board.take(element, now_ns, self.written.get(element.payload))
            if isinstance(payload, Result):
                self.results.append((self.board.entries[bytes.fromhex(payload.task)], element.statement))
                self._wake(CHECKS)
            elif not isinstance(payload, _PROTOCOL):
                self.news.append(element)
                self._sides.setdefault(element.statement, set()).add(element.author)
                self._wake(NEWS)
        self._told(element)

    def _rule(self, result: bytes, now_ns: int) -> None:
        """Read what consensus makes of a result now, and what that says of those who took sides."""
        reading = self._medium.reading(result, self._observer)
        if reading is None:
            return
        self.judge(judgements_of([reading], self._observer, now_ns=self._medium.clock.now_ns()))
        self.board.rule(result, reading.verdict.state, now_ns)

    def _changed(self, entry: Entry) -> None:
        if entry.state is TaskState.OPEN and entry.task is not None:
            self._wake(entry.task.skill)
        elif entry.state is TaskState.WAITING and entry.why == FOR_APPROVAL:
            self.to_approve.append(entry)
            self._wake(APPROVALS)
        if self._resting >= self.live:  # perhaps it was only for this claim to lapse
            self.rested.set()
        self._told(entry)

    # ---- waiting

    @property
    def resting(self) -> int:
        """How many wait for something to happen, and for no time to come."""
        return self._resting

    async def wait(self, wanted: Iterable[str], until_ns: int | None) -> None:
        """Return when a task opens that needs one of these skills, or when its time has come.

        Args:
            wanted: skills, or `CHECKS`, `NEWS`, `APPROVALS`.
            until_ns: by the observer's own time; None rests for as long as it takes.
        """
        wanted = tuple(wanted)
        waiter = _Waiter(asyncio.get_running_loop().create_future(), rests=until_ns is None)
        for what in wanted:
            self._waiting.setdefault(what, {})[waiter] = None
        timer = None
        if until_ns is not None:
            delay_s = max(0.0, (until_ns - self.now_ns()) / 1e9)
            timer = asyncio.ensure_future(self._medium.clock.sleep(delay_s))
            timer.add_done_callback(lambda _: self._rouse(waiter))
        else:
            self._resting += 1
            if self._resting >= self.live:
                self.rested.set()
        try:
            await waiter.roused
        finally:
            self._rouse(waiter)
            for what in wanted:
                self._waiting[what].pop(waiter, None)
            if timer is not None:
                timer.cancel()

    def _wake(self, what: str) -> None:
        for waiter in list(self._waiting.get(what, ())):
            self._rouse(waiter)

    def _rouse(self, waiter: _Waiter) -> None:
        """Nobody counts as resting any more who has been woken, even if it has not run yet."""
        if waiter.rests:
            waiter.rests = False
            self._resting -= 1
        if not waiter.roused.done():
            waiter.roused.set_result(None)


class _Waiter:
    """Somebody who waits."""

    __slots__ = ("rests", "roused")

    def __init__(self, roused: asyncio.Future[None], *, rests: bool) -> None:
        self.roused = roused
        self.rests = rests
