"""A run: tasks are put into a field, agents do them, and what came of it is read from the field.

Whoever runs it emits the tasks and starts the agents; from then on it only watches. It calls no agent, hands out
nothing, and waits for none: it ends when all that live are at rest, which they are when nothing is left that any of
them could do.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import msgspec
from smesh_core import DEFAULT_FIELD_ID, Observer, node_id, statement_id
from smesh_core.payload import (
    Result,
    Task,
    payload_signal_type,
    payload_subject,
)
from smesh_runtime import LocalField

from smesh_agent.errors import AgentError
from smesh_agent.work.agent import Agent
from smesh_agent.work.approver import Approver
from smesh_agent.work.board import TaskState
from smesh_agent.work.lookout import Lookout
from smesh_agent.work.saying import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from smesh_runtime import Clock, Element

    from smesh_agent.work.agent import Profile
    from smesh_agent.work.approver import Ask
    from smesh_agent.work.board import Entry
    from smesh_agent.work.policy import Tempo

__all__ = ["PERSON", "RUN_S_DEFAULT", "AgentReport", "Outcome", "TaskReport", "run", "task_id"]

PERSON: Final = "person"
"""What the one who approves tasks is called in a run; a task that it must approve has ``node_id(PERSON)`` for it."""
RUN_S_DEFAULT: Final = 24 * 3600
_READER: Final = "run"
_NS_PER_S: Final = 10**9


class TaskReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one task.

    Attributes:
        id: its statement, in hex.
        what: what was to be done.
        skill: the skill that it needs.
        state: ``done``, ``failed``, or what it was when the run ended: ``open``, ``claimed`` or ``waiting``.
        why: why it failed, or what it waits for.
        result: the result that it is done by.
        by: who made that.
        results: how many results there are that count; more than one is work done twice.
        rejected: how many results there are that do not.
        attempts: how many attempts were begun.
        failures: who failed at it and why, by attempt.
        objections: who opposes a result of it, and why.
    """

    id: str
    what: str
    skill: str
    state: str
    why: str
    result: Result | None
    by: str
    results: int
    rejected: int
    attempts: int
    failures: list[str]
    objections: list[str]


class AgentReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one agent did.

    Attributes:
        name: its name.
        state: ``live``, ``killed``, ``left: `` and why, or the error that it died of.
        done: tasks that are done by its results.
        failed: attempts that it failed at.
        trust: what the run came to think of it, in [0, 1].
        tokens_in: tokens that models read for it.
        tokens_out: tokens that models wrote for it.
        cost_usd: what that cost.
        errors: what broke in it while it looked at what others say.
    """

    name: str
    state: str
    done: int
    failed: int
    trust: float
    tokens_in: int
    tokens_out: int
    cost_usd: float
    errors: list[str]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run.

    Attributes:
        tasks: of every task that is known, in the order in which they became known.
        agents: of every agent, in the order given.
        interrupted: whether it was told to stop.
        duration_s: how long it took.
    """

    tasks: list[TaskReport]
    agents: list[AgentReport]
    interrupted: bool
    duration_s: float

    @property
    def done(self) -> int:
        """Tasks that are done."""
        return sum(task.state == TaskState.DONE.value for task in self.tasks)


async def run(
    tasks: Sequence[Task],
    profiles: Sequence[Profile],
    *,
    field: LocalField | None = None,
    clock: Clock | None = None,
    tempo: Tempo | None = None,
    stop: asyncio.Event | None = None,
    started: Callable[[dict[str, asyncio.Task[None]]], None] = lambda _: None,
    told: Callable[[Entry | Element], None] = lambda _: None,
    watching: Callable[[Lookout], None] = lambda _: None,
    ask: Ask | None = None,
    run_s: int = RUN_S_DEFAULT,
    seed: int = 0,
) -> Outcome:
    """Have agents of this process do some tasks.

    Args:
        tasks: what is to be done; one that comes after others names their ids (`task_id`).
        profiles: the agents; all of them are on the roster, with their lineages.
        field: where they meet; a new one if not given.
        clock: time of a new field; the machine's by default.
        tempo: how fast they act.
        stop: once set, agents are stopped, and what is done is reported.
        started: given every running agent by name; to cancel one is to kill it.
        told: called with each element of the field, and each task whose state has changed.
        watching: given what is known of the run, to be looked at while it goes on.
        ask: asks a person about tasks that need approval; without it they wait.
        run_s: when the run ends at the latest, in seconds from now.
        seed: of what agents draw.

    Raises:
        AgentError: two agents have one name, or a task cannot be said.
    """
    begun_s = time.perf_counter()
    if len({PERSON, _READER, *(profile.name for profile in profiles)}) < len(profiles) + 2:
        raise AgentError(f"every agent of a run has a name of its own, and none is called {_READER!r} or {PERSON!r}")
    roster = {node_id(profile.name): profile.lineage for profile in profiles}
    field = LocalField(clock=clock, observer=Observer(roster=roster)) if field is None else field
    deadline_ns = field.clock.now_ns() + run_s * _NS_PER_S
    reader = field.join(_READER)
    lookout = Lookout(reader, told=told)
    person = field.join(PERSON)
    media = [field.join(profile.name) for profile in profiles]
    agents = [
        Agent(profile, medium, lookout, deadline_ns=deadline_ns, tempo=tempo, seed=seed)
        for profile, medium in zip(profiles, media, strict=True)
    ]
    running: dict[str, asyncio.Task[None]] = {}
    asking: asyncio.Task[None] | None = None
    try:
        for task in tasks:
            await say(reader, task, lookout, deadline_ns=deadline_ns)
        running = {agent.profile.name: asyncio.create_task(agent.run(), name=agent.profile.name) for agent in agents}
        started(dict(running))
        watching(lookout)
        if ask is not None:
            approver = Approver(person, lookout, ask, deadline_ns=deadline_ns)
            asking = running[PERSON] = asyncio.create_task(approver.run(), name=PERSON)
        interrupted = await _at_rest(lookout, running, stop)
        states = {agent.profile.name: _state_of(agent, running[agent.profile.name]) for agent in agents}
        for one in running.values():
            one.cancel()
        await asyncio.gather(*running.values(), return_exceptions=True)
        if asking is not None and not asking.cancelled() and (error := asking.exception()) is not None:
            raise error
        names = {medium.identity: agent.profile.name for agent, medium in zip(agents, media, strict=True)}
        tallies = _tallies(lookout.board.entries.values())
        return Outcome(
            tasks=[_task_report(lookout, entry, names) for entry in lookout.board.entries.values() if entry.task],
            agents=[
                _agent_report(agent, states[name], tallies.get(node, _Tally()), lookout.trust(node))
                for agent, (node, name) in zip(agents, names.items(), strict=True)
            ],
            interrupted=interrupted,
            duration_s=time.perf_counter() - begun_s,
        )
    finally:
        for one in running.values():
            one.cancel()
        await asyncio.gather(*running.values(), return_exceptions=True)
        lookout.close()
        for medium in (reader, person, *media):
            await medium.close()


def task_id(task: Task, field_id: bytes = DEFAULT_FIELD_ID) -> bytes:
    """The id of a task that has a key: it is the same whoever says it, so that others can come after it.

    Raises:
        AgentError: it has no key.
    """
    about = payload_subject(task)
    if about is None:
        raise AgentError("a task without a key has no id before it is said")
    return statement_id(field_id, payload_signal_type(task), shared=about)


async def _at_rest(lookout: Lookout, running: dict[str, asyncio.Task[None]], stop: asyncio.Event | None) -> bool:
    """Wait until all that live are at rest, or to be told to stop; returns whether it was the latter.

    While a claim holds they are not: should its agent be dead, somebody else has the task when it lapses.
    """

    def ended(_: object) -> None:
        lookout.live -= 1
        lookout.rested.set()

    lookout.live = len(running)
    for one in running.values():
        one.add_done_callback(ended)
    stopping = asyncio.create_task(stop.wait()) if stop is not None else None
    if stopping is not None:
        stopping.add_done_callback(lambda _: lookout.rested.set())
    try:
        while stop is None or not stop.is_set():
            alive = {name for name, one in running.items() if not one.done()}
            if lookout.resting >= len(alive) and (alive <= {PERSON} or lookout.board.next_lapse_ns() is None):
                return False
            lookout.rested.clear()
            await lookout.rested.wait()
        return True
    finally:
        if stopping is not None:
            stopping.cancel()


def _state_of(agent: Agent, running: asyncio.Task[None]) -> str:
    if not running.done():
        return "live"
    if running.cancelled():
        return "killed"
    if agent.left:
        return f"left: {agent.left}"
    error = running.exception()
    return f"{type(error).__name__}: {error}"


def _task_report(lookout: Lookout, entry: Entry, names: dict[bytes, str]) -> TaskReport:
    task = entry.task
    if task is None:
        raise AssertionError("only what is known is reported")
    found = entry.results[entry.result] if entry.result is not None else None
    return TaskReport(
        id=entry.id.hex(),
        what=task.what,
        skill=task.skill,
        state=entry.state.value,
        why=entry.why,
        result=found.result if found is not None else None,
        by=_named(found.author, names) if found is not None else "",
        results=entry.counting,
        rejected=len(entry.results) - entry.counting,
        attempts=len({lease.attempt for lease in entry.claims.values() if lease.is_started}),
        failures=_failures(entry, names) if entry.failures or entry.lapsed else [],
        objections=_objections(lookout, entry, names),
    )


def _failures(entry: Entry, names: dict[bytes, str]) -> list[str]:
    """Who failed at a task and why, by attempt."""
    said = [(attempt, agent, failure.reason) for (agent, attempt), (_, failure) in entry.failures.items()]
    lapsed = [
        (attempt, agent, "stalled" if (agent, attempt) in entry.stalled else "fell silent")
        for agent, attempt in entry.lapsed - entry.failures.keys()
    ]
    return [f"attempt {attempt}, {_named(agent, names)}: {why}" for attempt, agent, why in sorted(said + lapsed)]


def _objections(lookout: Lookout, entry: Entry, names: dict[bytes, str]) -> list[str]:
    """Who opposes results of a task and why."""
    said = [objection for one in sorted(entry.results) for objection in lookout.objections(one)]
    return list(dict.fromkeys(f"{_named(author, names)}: {reason}" for author, reason in said)) if said else []


class _Tally:
    """What one agent has done, as far as the board knows."""

    def __init__(self) -> None:
        self.done = self.failed = self.tokens_in = self.tokens_out = 0
        self.cost_usd = 0.0


def _tallies(entries: Iterable[Entry]) -> dict[bytes, _Tally]:
    """What each agent has done, by its node id."""
    tallies: defaultdict[bytes, _Tally] = defaultdict(_Tally)
    for entry in entries:
        for agent, _ in entry.failures:
            tallies[agent].failed += 1
        for statement, found in entry.results.items():
            tally, result = tallies[found.author], found.result
            tally.done += statement == entry.result
            tally.tokens_in += result.tokens_in
            tally.tokens_out += result.tokens_out
            tally.cost_usd += result.cost_usd
    return tallies


def _agent_report(agent: Agent, state: str, tally: _Tally, trust: float) -> AgentReport:
    return AgentReport(
        name=agent.profile.name,
        state=state,
        done=tally.done,
        failed=tally.failed,
        trust=trust,
        tokens_in=tally.tokens_in,
        tokens_out=tally.tokens_out,
        cost_usd=tally.cost_usd,
        errors=list(agent.errors),
    )


def _named(node: bytes, names: dict[bytes, str]) -> str:
    return names.get(node, node.hex()[:12]) if node else ""
