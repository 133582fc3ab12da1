"""An agent: it senses, decides, acts and emits, again and again. No agent knows another, and none waits for one.

All that an agent says is a signal: it claims a task, works at it, and leaves a result or a failure. Where it can judge
others' results, it supports or opposes them with its reasons. It can die at any moment; what it held is then free as
soon as its lease has run out, and others take it over. What an earlier life of it held, it lets go when it begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import msgspec
from smesh_core import DecayCurve, GoneError, SignalType
from smesh_core.payload import (
    Claim,
    Failure,
    Heartbeat,
    Result,
)

from smesh_agent.errors import WorkDeclinedError, WorkFailedError
from smesh_agent.work.lookout import CHECKS, NEWS
from smesh_agent.work.policy import Tempo, adapted, choose
from smesh_agent.work.saying import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smesh_core import Signal
    from smesh_core.payload import Task
    from smesh_runtime import Medium

    from smesh_agent.work.board import Entry
    from smesh_agent.work.lookout import Lookout
    from smesh_agent.work.policy import Choice

__all__ = ["Agent", "Answer", "Check", "Opinion", "Profile", "Statement", "Weigh", "Work"]

_BEATS_A_LEASE: Final = 3
_OUTPUT_BYTES_MAX: Final = 8192
_REASON_BYTES_MAX: Final = 1000
_NS_PER_S: Final = 10**9


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """Something that an agent found at its work and says beside the result, such as a finding.

    Attributes:
        payload: its bytes.
        type: of the signal that carries it.
        subject: where independent authors shall meet at one statement.
        confidence: how sure the agent is, in [0, 1].
    """

    payload: bytes
    type: SignalType = SignalType.DATA
    subject: bytes | None = None
    confidence: float = 1.0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a task.

    Attributes:
        output: as text, at most 8,192 bytes.
        statements: what is said before the result.
        artefacts: SHA-256 of contents kept elsewhere, in hex.
        tokens_in: tokens that a model read for it.
        tokens_out: tokens that a model wrote for it.
        cost_usd: what that cost.
    """

    output: str
    statements: tuple[Statement, ...] = ()
    artefacts: tuple[str, ...] = ()
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0


class Opinion(msgspec.Struct, frozen=True):
    """What somebody who has looked at a result thinks of it.

    Attributes:
        supports: whether it holds.
        reason: why, in a sentence.
        confidence: how sure that is, in [0, 1].
    """

    supports: bool
    reason: str
    confidence: float = 1.0


Work = Callable[["Task", "Mapping[str, Result]"], Awaitable[Answer]]
"""Does a task, given by their ids the results that it comes after.

It raises WorkFailedError where it cannot, and WorkDeclinedError where its agent can do no more work at all.
"""
Check = Callable[["Task", Result], Awaitable[Opinion | None]]
"""Looks at somebody else's result, on evidence of its own; None where it has none."""
Weigh = Callable[["Signal"], Awaitable[Opinion | None]]
"""Looks at what somebody else says beside the work, on evidence of its own; None where it has none."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Who an agent is.

    Attributes:
        name: unique in a run; its identity in the field is made from it.
        skills: what it can do; tasks that need no skill it can do as well.
        work: does a task; None for an agent that only checks.
        check: looks at others' results, of tasks that it has the skill for; None where it does not.
        checks_all: whether it looks at results of any skill.
        weigh: looks at what others say beside the work, such as findings; None where it does not.
        lineage: agents whose errors are not independent (one model, one owner) share one; its own if empty.
    """

    name: str
    skills: tuple[str, ...] = ()
    work: Work | None = None
    check: Check | None = None
    checks_all: bool = False
    weigh: Weigh | None = None
    lineage: str = ""


class Agent:
    """One agent of a run.

    Args:
        profile: who it is.
        medium: its access to the field.
        lookout: what its process knows.
        deadline_ns: when the run ends, by the field's clock; nothing that it says outlives that.
        tempo: how fast it acts.
        seed: of what it draws.

    Attributes:
        thresholds: its response thresholds by skill, as they have come to be.
        left: why it left the run; empty while it has not.
        errors: what broke in it while it looked at what others say; those it has no opinion about.
    """

    def __init__(
        self,
        profile: Profile,
        medium: Medium,
        lookout: Lookout,
        *,
        deadline_ns: int,
        tempo: Tempo | None = None,
        seed: int = 0,
    ) -> None:
        self.profile = profile
        self.thresholds: dict[str, float] = {}
        self.errors: list[str] = []
        self.left = ""
        self._medium = medium
        self._lookout = lookout
        self._deadline_ns = deadline_ns
        self._tempo = tempo or Tempo()
        self._seed = seed
        self._beat_s = self._tempo.lease_s / _BEATS_A_LEASE
        self._skills = ("", *profile.skills) if profile.work is not None else ()
        looks = (CHECKS,) * (profile.check is not None) + (NEWS,) * (profile.weigh is not None)
        self._wanted = self._skills + looks
        self._checked = self._weighed = 0
        self._held: _Held | None = None

    async def run(self) -> None:
        """Act until it can do no more, or is cancelled; to cancel it is to kill it, and it says no farewell.

        Without its pulse it could hold a task for ever, so what the pulse dies of, the agent dies of.
        """
        acting, pulse = asyncio.current_task(), asyncio.create_task(self._pulse())

        def stopped(_: object) -> None:
            if acting is not None and not pulse.cancelled():
                acting.cancel()

        pulse.add_done_callback(stopped)
        try:
            await self._act()
        except asyncio.CancelledError:
            if pulse.done():
                pulse.result()
            raise
        finally:
            pulse.cancel()

    async def _act(self) -> None:
        await self._let_go_of_earlier_claims()
        while not self.left:
            if self.profile.check is not None and self._checked < len(self._lookout.results):
                await self._check_next(self.profile.check)
                continue
            if self.profile.weigh is not None and self._weighed < len(self._lookout.news):
                await self._weigh_next(self.profile.weigh)
                continue
            choice = self._choice()
            now_ns = self._lookout.now_ns()
            if choice is not None and choice.due_ns <= now_ns:
                await self._attempt(choice)
            else:
                await self._lookout.wait(self._wanted, None if choice is None else choice.due_ns)

    def _choice(self) -> Choice | None:
        board, now_ns = self._lookout.board, self._lookout.now_ns()
        me = self._medium.identity
        return choose(board, me, self._skills, self.thresholds, self._tempo, now_ns, seed=self._seed)

    # ---- working

    async def _attempt(self, choice: Choice) -> None:
        """Claim a task, and work at it if it is still ours when the claim has settled."""
        entry, board = choice.entry, self._lookout.board
        claim = Claim(
            task=entry.id.hex(),
            attempt=choice.attempt,
            lease_s=self._tempo.lease_s,
            started=self._tempo.settle_s <= 0.0,
        )
        said = await self._say(claim)
        if self._tempo.settle_s > 0.0:
            await self._medium.clock.sleep(self._tempo.settle_s)
            board.advance(self._lookout.now_ns())
            if self._is_ours(entry):
                claim = msgspec.structs.replace(claim, started=True)
                said = await self._say(claim)
        if not self._is_ours(entry):
            await self._withdraw(said.statement)
            return
        self._held = _Held(entry, claim, said, self._lookout.now_ns())
        try:
            await self._work(self._held)
        finally:
            self._held = None

    async def _work(self, held: _Held) -> None:
        """Do a task and say what came of it: a result, a failure, or nothing where others have it by now."""
        task = held.entry.task
        if task is None or self.profile.work is None:
            raise AssertionError("an agent claims what is known and what it can do")
        said = await self._attempted(held, task, self.profile.work)
        if said is not None:
            self.thresholds = adapted(self.thresholds, task.skill, succeeded=isinstance(said, Result))
            await self._say(said)

    async def _attempted(self, held: _Held, task: Task, work: Work) -> Result | Failure | None:
        """What comes of an attempt; None where there is nothing to say of it, and its claim is withdrawn."""
        claim = held.claim
        alarm: asyncio.Future[None] | None = None
        if held.ends_ns - self._lookout.now_ns() < self._beat_s * _NS_PER_S:  # before the pulse looks at it
            alarm = asyncio.ensure_future(self._end_at(held))
        try:
            async with asyncio.timeout(None) as held.scope:
                answer = await work(task, self._lookout.board.results_before(task))
        except WorkDeclinedError as error:
            self.left = _cut(" ".join(str(error).split()), _REASON_BYTES_MAX) or "no reason given"
            await self._withdraw(held.said.statement)
            await self._say(Heartbeat(state="leaving"))
            return None
        except WorkFailedError as error:
            return _failure(claim, str(error), retryable=error.retryable)
        except Exception as error:  # noqa: BLE001 - whatever an agent's work does wrong, it must say so
            if held.scope is None or not held.scope.expired():
                return _failure(claim, f"{type(error).__name__}: {error}".removesuffix(": "))
            if held.is_late:
                return _failure(claim, f"it took more than {task.run_s_max} s")
            await self._withdraw(held.said.statement)
            return None
        finally:
            held.scope = None
            if alarm is not None:
                alarm.cancel()
        for statement in answer.statements:
            await self._state(statement)
        return Result(
            task=claim.task,
            output=_cut(answer.output, _OUTPUT_BYTES_MAX),
            artefacts=answer.artefacts,
            tokens_in=answer.tokens_in,
            tokens_out=answer.tokens_out,
            cost_usd=answer.cost_usd,
        )

    def _is_ours(self, entry: Entry) -> bool:
        winner = self._lookout.board.winner(entry, self._lookout.now_ns())
        return winner is not None and winner.agent == self._medium.identity and not entry.state.is_terminal

    async def _end_at(self, held: _Held) -> None:
        """End work when it has taken as long as it may."""
        await self._medium.clock.sleep(max(0.0, (held.ends_ns - self._lookout.now_ns()) / _NS_PER_S))
        self._end_work(held)

    def _end_work(self, held: _Held, *, is_late: bool = True) -> None:
        """End what is being worked at, unless that is over."""
        if self._held is held and held.scope is not None:
            held.is_late = is_late
            held.scope.reschedule(asyncio.get_running_loop().time())

    async def _withdraw(self, claim: bytes) -> None:
        """Withdraw a claim; one that has ended meanwhile needs no withdrawing."""
        try:
            await self._medium.withdraw(claim)
        except GoneError:
            return

    async def _pulse(self) -> None:
        """Again and again: see which claims have lapsed.

        While a task is held: show signs of life, and end work that others have by now, or that takes too long.
        """
        while True:
            await self._medium.clock.sleep(self._beat_s)
            held, now_ns = self._held, self._lookout.now_ns()
            self._lookout.board.advance(now_ns)
            if held is None:
                continue
            if not self._is_ours(held.entry):
                self._end_work(held, is_late=False)
                continue
            await self._say(Heartbeat(state="working", claims=1))
            held.said = await self._say(held.claim)  # a claim ends with its lease; who joins later must see it
            if held.ends_ns - now_ns < self._beat_s * _NS_PER_S:
                await self._end_at(held)

    async def _let_go_of_earlier_claims(self) -> None:
        """Withdraw what an earlier life of this agent held, so that nobody waits for what nobody works at."""
        me = self._medium.identity
        for entry in self._lookout.board.entries_of(me):
            if not entry.state.is_terminal:
                for lease in [lease for lease in entry.claims.values() if lease.agent == me]:
                    await self._withdraw(lease.claim)

    # ---- looking at what others say

    async def _check_next(self, check: Check) -> None:
        """Look at the next result; its own, one it has looked at before, and skills that it lacks are passed over."""
        entry, result = self._lookout.results[self._checked]
        self._checked += 1
        me, found, task = self._medium.identity, entry.results[result], entry.task
        if task is None or found.author == me or self._lookout.has_spoken(me, result):
            return
        if self.profile.checks_all or not task.skill or task.skill in self.profile.skills:
            await self._side(result, check(task, found.result))

    async def _weigh_next(self, weigh: Weigh) -> None:
        """Look at the next thing that is said beside the work, unless it has said it, or has taken sides, before."""
        signal = self._lookout.news[self._weighed]
        self._weighed += 1
        if not self._lookout.has_spoken(self._medium.identity, signal.statement):
            await self._side(signal.statement, weigh(signal))

    async def _side(self, statement: bytes, asked: Awaitable[Opinion | None]) -> None:
        """Support or oppose a statement, as the opinion about it says."""
        try:
            opinion = await asked
        except Exception as error:  # noqa: BLE001 - who breaks over it has no opinion; the statement stands as it did
            self.errors.append(_cut(f"{type(error).__name__}: {error}", _REASON_BYTES_MAX))
            return
        if opinion is None:
            return
        stand = self._medium.reinforce if opinion.supports else self._medium.inhibit
        try:
            await stand(statement, confidence=opinion.confidence, reason=_cut(opinion.reason, _REASON_BYTES_MAX))
        except GoneError:
            return

    # ---- speaking

    async def _say(self, payload: Claim | Heartbeat | Result | Failure) -> Signal:
        return await say(self._medium, payload, self._lookout, deadline_ns=self._deadline_ns)

    async def _state(self, statement: Statement) -> None:
        """Say something beside the work; it lasts as long as the run."""
        await self._medium.emit(
            statement.payload,
            type=statement.type,
            subject=statement.subject,
            ttl_ns=max(1, self._deadline_ns - self._medium.clock.now_ns()),
            confidence=statement.confidence,
            decay=DecayCurve.STEP,
        )


class _Held:
    """What an agent works at: a task, its claim as it was last said, what ends its work, and whether that is late."""

    def __init__(self, entry: Entry, claim: Claim, said: Signal, since_ns: int) -> None:
        run_s_max = entry.task.run_s_max if entry.task is not None else 0
        self.entry = entry
        self.claim = claim
        self.said = said
        # It gives up a little before others hold its claim for void, so that they hear of it in time.
        self.ends_ns = since_ns + round((run_s_max - min(1.0, run_s_max / 20)) * _NS_PER_S)
        self.is_late = False
        self.scope: asyncio.Timeout | None = None


def _failure(claim: Claim, reason: str, *, retryable: bool = True) -> Failure:
    said = _cut(" ".join(reason.split()), _REASON_BYTES_MAX) or "no reason given"
    return Failure(task=claim.task, attempt=claim.attempt, reason=said, retryable=retryable)


def _cut(text: str, bytes_max: int) -> str:
    """A text that fits; what is cut off is marked."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= bytes_max:
        return encoded.decode()
    return encoded[: bytes_max - 3].decode(errors="ignore") + "…"
