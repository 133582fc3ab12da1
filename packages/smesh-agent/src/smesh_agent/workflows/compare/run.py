"""The calls of a comparison, and what is measured of each.

Times are fair only where nobody is in the way. So models of one backend are asked one after the other, with
`Plan.concurrency` calls at the same time, and so are all that are local, whatever their backend, for they may share a
processor. Those that others run are asked meanwhile. A model's prompts take turns, so that a server which remembers
the last prompt gains less by it.

A model that runs at its user's own place is first asked something that does not count, which loads it.

**Tokens a second** are the tokens written by the time between the first text and the end, as the provider counts them.
That is not known where the provider does not count, where that time is shorter than `WRITING_S_MIN` (an answer that
came in one piece), and where more tokens were written than the text has bytes, for then the model has thought before it
spoke, and thoughts count as written. A model that thinks little escapes that, and looks faster than it is.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from smesh_agent.backends import structured
from smesh_agent.backends.base import Message, Request, StopReason
from smesh_agent.errors import (
    AuthenticationError,
    BackendError,
    BackendSettingsError,
    BudgetExceededError,
    ModelNotFoundError,
)
from smesh_agent.workflows.compare.report import Measured, Outcome, Sample, WarmUp, build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from smesh_runtime import Clock

    from smesh_agent.backends.budget import Budget
    from smesh_agent.backends.replies import Reply
    from smesh_agent.workflows.compare.entrants import Absent, Entrant
    from smesh_agent.workflows.compare.report import Plan, Report

__all__ = ["WRITING_S_MIN", "Step", "compare", "tokens_per_s"]

WRITING_S_MIN: Final = 0.01
"""Below it the time in which an answer was written says nothing."""

_WARM_UP: Final = "Reply with the word ready."
_WARM_UP_TOKENS: Final = 16
_AROUND_AN_ANSWER: Final = 16
"""Tokens that end an answer, or frame it, without being text."""
_NS_PER_S: Final = 10**9
_LASTING: Final = (AuthenticationError, BackendSettingsError, ModelNotFoundError)
"""Errors with which every further call would end too."""


class Step(NamedTuple):
    """A call that begins.

    Attributes:
        done: calls that are over, of all models.
        total: calls that are to be made, of all models.
        name: the model's.
        prompt: which, from 1; 0 for a warm-up.
        repetition: which time, from 1.
    """

    done: int
    total: int
    name: str
    prompt: int
    repetition: int


async def compare(
    entrants: Sequence[Entrant],
    prompts: Sequence[str],
    plan: Plan,
    *,
    clock: Clock,
    budget: Budget,
    absent: Sequence[Absent] = (),
    stop: asyncio.Event | None = None,
    told: Callable[[Step], None] = lambda _: None,
) -> Report:
    """Ask every model every prompt, so many times.

    Args:
        entrants: the models; their names are all different.
        prompts: what is asked.
        plan: how.
        clock: time, the one of the models.
        budget: the one of the models, with its ledger.
        absent: what takes no part, for the report.
        stop: once it is set, calls under way are cancelled, and the report has what was measured by then.
        told: called with each call that begins.
    """
    begun_ns = clock.monotonic_ns()
    trials = [_Trial(entrant, prompts, plan) for entrant in entrants]
    total = sum(trial.calls_planned for trial in trials)
    lanes: dict[str, list[_Trial]] = {}
    for trial in trials:
        trial.told = lambda name, prompt, repetition: told(
            Step(sum(one.calls_done for one in trials), total, name, prompt, repetition)
        )
        lanes.setdefault(trial.entrant.lane, []).append(trial)
    is_whole = await _unless_stopped(list(lanes.values()), stop if stop is not None else asyncio.Event())
    return build(
        [trial.outcome for trial in trials],
        prompts,
        plan,
        absent=absent,
        ledger=budget.ledger,
        interrupted=not is_whole,
        duration_s=(clock.monotonic_ns() - begun_ns) / _NS_PER_S,
    )


async def _unless_stopped(lanes: Sequence[Sequence[_Trial]], stop: asyncio.Event) -> bool:
    """Run all lanes at the same time; whether they came to their end."""
    if stop.is_set():
        return False
    running = asyncio.create_task(_side_by_side(lanes))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
            return True
        return False
    finally:
        running.cancel()
        stopping.cancel()
        await asyncio.gather(running, stopping, return_exceptions=True)


async def _side_by_side(lanes: Sequence[Sequence[_Trial]]) -> None:
    async with asyncio.TaskGroup() as group:
        for lane in lanes:
            group.create_task(_in_turn(lane))


async def _in_turn(lane: Sequence[_Trial]) -> None:
    for trial in lane:
        await trial.run()


class _Trial:
    """One model's calls."""

    def __init__(self, entrant: Entrant, prompts: Sequence[str], plan: Plan) -> None:
        self.entrant = entrant
        self.told: Callable[[str, int, int], None] = lambda *_: None
        self._prompts, self._plan = prompts, plan
        is_own = entrant.model.backend.is_local and not entrant.is_scripted
        self._warms_up = is_own if plan.warms_up is None else plan.warms_up
        self._warm_up: WarmUp | None = None
        self._measured: list[Measured] = []
        self._why = ""

    @property
    def calls_planned(self) -> int:
        return len(self._prompts) * self._plan.repeat + self._warms_up

    @property
    def calls_done(self) -> int:
        return len(self._measured) + (self._warm_up is not None)

    @property
    def outcome(self) -> Outcome:
        return Outcome(self.entrant, self._warm_up, self._measured, self._why)

    async def run(self) -> None:
        """Make all calls, or those until it makes no sense to go on."""
        if self._warms_up:
            await self._load()
        calls = (
            (prompt, repetition)
            for repetition in range(1, self._plan.repeat + 1)
            for prompt in range(1, len(self._prompts) + 1)
        )
        async with asyncio.TaskGroup() as group:
            for _ in range(self._plan.concurrency):
                group.create_task(self._make(calls))

    async def _make(self, calls: Iterator[tuple[int, int]]) -> None:
        """Make the next of the calls, as long as there are any; several may do so at the same time."""
        while not self._why and (call := next(calls, None)) is not None:
            self.told(self.entrant.name, *call)
            await self._ask(*call)

    async def _load(self) -> None:
        """Make the call that does not count."""
        self.told(self.entrant.name, 0, 1)
        try:
            reply = await self._reply(_WARM_UP, min(_WARM_UP_TOKENS, self._plan.max_tokens))
        except BudgetExceededError as error:
            self._why = error.reason
        except BackendError as error:
            self._warm_up = WarmUp(why=error.reason)
            self._why = error.reason if isinstance(error, _LASTING) else ""
        else:
            self._warm_up = WarmUp(first_token_s=reply.first_token_s, total_s=reply.latency_s)

    async def _ask(self, prompt: int, repetition: int) -> None:
        """Make one call that counts."""
        try:
            reply = await self._reply(self._prompts[prompt - 1], self._plan.max_tokens)
        except BudgetExceededError as error:  # nothing was asked
            self._why = error.reason
            return
        except BackendError as error:
            self._why = error.reason if isinstance(error, _LASTING) else self._why
            self._measured.append(Measured(Sample(prompt=prompt, repetition=repetition, why=error.reason), ""))
            return
        usage = reply.completion.usage
        sample = Sample(
            prompt=prompt,
            repetition=repetition,
            why=_why_not(reply, self._plan.max_tokens),
            stop=reply.completion.stop.value,
            first_token_s=reply.first_token_s,
            total_s=reply.latency_s,
            tokens_per_s=tokens_per_s(reply),
            tokens_in=usage.tokens_in if usage.is_counted else None,
            tokens_out=usage.tokens_out if usage.is_counted else None,
            cost_usd=reply.cost_usd,
            attempts=reply.attempts,
            waited_s=reply.waited_s,
        )
        self._measured.append(Measured(sample, reply.text))

    async def _reply(self, text: str, max_tokens: int) -> Reply:
        # What is marked to be kept by a provider would cost more, and be faster the second time.
        request = Request(messages=(Message(role="user", text=text),), max_tokens=max_tokens, caches=False)
        return await self.entrant.model.generate(request, label=self.entrant.name)


def tokens_per_s(reply: Reply) -> float | None:
    """Tokens written by the time in which they were, see the module; None where that is not known."""
    usage = reply.completion.usage
    if reply.first_token_s is None or not usage.is_counted:
        return None
    writing_s = reply.latency_s - reply.first_token_s
    has_thought = usage.tokens_out > len(reply.text.encode("utf-8", "surrogatepass")) + _AROUND_AN_ANSWER
    if writing_s < WRITING_S_MIN or has_thought:
        return None
    return usage.tokens_out / writing_s


def _why_not(reply: Reply, max_tokens: int) -> str:
    """Why something that came is no answer to be compared; empty where it is one."""
    stop = reply.completion.stop
    if stop is not StopReason.MAX_TOKENS:
        why = structured.unusable(reply.completion, max_tokens)
        return why or ("" if reply.text.strip() else "the model said nothing")
    if reply.max_tokens < max_tokens:
        return f"cut off at {reply.max_tokens:,} tokens, for the budget had no more"
    return "" if reply.text.strip() else f"the model said nothing in {max_tokens:,} tokens: allow more"
