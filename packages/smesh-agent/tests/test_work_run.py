"""Runs of agents: nothing is lost whoever dies, wherever; what came of everything is on record."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from itertools import count
from types import coroutine

import pytest
from smesh_agent.errors import AgentError, WorkDeclinedError, WorkFailedError
from smesh_agent.work import PERSON, Agent, Answer, Decision, Opinion, Outcome, Profile, Statement, Tempo, run
from smesh_agent.work.board import TRUST_FLOOR, Entry
from smesh_core import FieldFullError, SignalType, StanceKind, node_id
from smesh_core.payload import Heartbeat, Task, signal_of
from smesh_runtime import LocalField, LocalMedium, VirtualClock

run_module = sys.modules["smesh_agent.work.run"]  # the package's own name for it is the function
QUICK = Tempo(lease_s=2, longest_s=3.0)


def id_of(task: Task) -> str:
    """The id of a task with a key, which is the same whoever says it."""
    return signal_of(task, author=bytes(32), seq=0, created_at_ns=0, deadline_ns=10**9).statement.hex()


def task(name: str, skill: str = "", *after: Task, **values) -> Task:
    return Task(what=name, skill=skill, key=name, after=tuple(id_of(one) for one in after), **values)


def chains(number: int) -> list[Task]:
    """Research, writing and a review, each after the other, so many times."""
    found: list[Task] = []
    for n in range(number):
        research = task(f"research {n}", "research")
        write = task(f"write {n}", "write", research)
        found += [research, write, task(f"review {n}", "review", write)]
    return found


async def echo(task: Task, before) -> Answer:
    await asyncio.sleep(0)
    return Answer(output=" < ".join([task.what, *(one.output for one in before.values())]), tokens_in=2, tokens_out=1)


@pytest.fixture
def virtual():
    """Run a run in virtual time, which moves on when everybody waits for it to."""

    async def go(tasks, profiles, *, patience: int = 40, **options) -> Outcome:
        clock = options["field"].clock if "field" in options else VirtualClock(10**18)
        options.setdefault("tempo", QUICK)
        running = asyncio.ensure_future(run(tasks, profiles, clock=clock, **options))
        try:
            for _ in range(100_000):
                for _ in range(patience):
                    if running.done():
                        return running.result()
                    await asyncio.sleep(0)
                clock.advance_to_next()
            raise AssertionError("the run does not end")
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    return go


def crew(**work) -> list[Profile]:
    return [Profile(name=name, skills=(name,), work=work.get(name, echo)) for name in ("research", "write", "review")]


# What a run yields


async def test_tasks_are_done_by_whoever_can_in_their_order(virtual) -> None:
    outcome = await virtual(chains(5), crew())
    assert [one.state for one in outcome.tasks] == ["done"] * 15
    assert {(one.skill, one.by) for one in outcome.tasks} == {(s, s) for s in ("research", "write", "review")}
    outputs = {one.what: one.result.output for one in outcome.tasks}
    assert outputs["review 3"] == "review 3 < write 3 < research 3"
    assert {one.results for one in outcome.tasks} == {1}
    assert {one.attempts for one in outcome.tasks} == {1}
    assert [(agent.done, agent.failed, agent.tokens_in, agent.tokens_out) for agent in outcome.agents] == [
        (5, 0, 10, 5)
    ] * 3
    assert (outcome.done, outcome.interrupted) == (15, False)


async def test_the_same_task_said_twice_is_done_once(virtual) -> None:
    outcome = await virtual([task("x"), task("x"), task("x")], crew())
    assert [(one.what, one.state, one.results) for one in outcome.tasks] == [("x", "done", 1)]


async def test_many_agents_share_work_and_do_nothing_twice(virtual) -> None:
    tasks = [task(f"{n}", "s") for n in range(60)]
    outcome = await virtual(tasks, [Profile(name=f"a{n}", skills=("s",), work=echo) for n in range(12)])
    assert {(one.state, one.results) for one in outcome.tasks} == {("done", 1)}
    assert all(agent.done >= 2 for agent in outcome.agents)


async def test_a_run_that_cannot_go_on_ends_and_says_why(virtual) -> None:
    tasks = [task("paint", "paint"), done := task("write", "write"), task("hang", "paint", task("paint", "paint"))]
    outcome = await virtual([*tasks, task("ask", "write", approver=node_id("boss").hex())], crew())
    states = {one.what: (one.state, one.why) for one in outcome.tasks}
    assert states == {
        "paint": ("open", ""),
        done.what: ("done", ""),
        "hang": ("waiting", "for what it comes after"),
        "ask": ("waiting", "for approval"),
    }


async def test_nothing_to_do_is_done_at_once(virtual) -> None:
    assert (await virtual([], crew())).tasks == []
    assert [one.state for one in (await virtual([task("x")], [])).tasks] == ["open"]


async def test_names_are_each_ones_own() -> None:
    with pytest.raises(AgentError, match="name of its own"):
        await run([], [Profile(name="a", work=echo), Profile(name="a", work=echo)])


# What goes wrong


async def test_failures_are_on_record_and_others_try(virtual) -> None:
    async def fail(task: Task, before) -> Answer:
        raise WorkFailedError(f"{task.what} is beyond me")

    outcome = await virtual(
        [task("x", "s")],
        [Profile(name="bad", skills=("s",), work=fail), Profile(name="good", skills=("s",), work=echo)],
    )
    (only,) = outcome.tasks
    assert (only.state, only.by) == ("done", "good")
    assert only.failures in ([], ["attempt 1, bad: x is beyond me"])
    alone = await virtual(
        [task("x", "s"), task("after", "", task("x", "s"))], [Profile(name="bad", skills=("s",), work=fail)]
    )
    first, after = alone.tasks
    assert (first.state, first.attempts) == (after.state, 3) == ("failed", 3)
    assert first.failures == [f"attempt {n}, bad: x is beyond me" for n in (1, 2, 3)]
    assert after.why.startswith("what it comes after has failed: x")
    assert alone.agents[0].failed == 3


@pytest.mark.parametrize("error", [ValueError("odd"), TimeoutError(), RecursionError("deep"), MemoryError()], ids=repr)
async def test_work_that_breaks_is_a_failure_with_its_reason(virtual, error) -> None:
    async def broken(task: Task, before) -> Answer:
        raise error

    (only,) = (await virtual([task("x")], [Profile(name="a", work=broken)])).tasks
    assert only.state == "failed"
    assert all(type(error).__name__ in said for said in only.failures)


async def test_a_failure_that_cannot_be_mended_is_not_tried_again(virtual) -> None:
    async def refuse(task: Task, before) -> Answer:
        raise WorkFailedError("the model refuses", retryable=False)

    outcome = await virtual([task("x")], [Profile(name=f"a{n}", work=refuse) for n in range(3)])
    assert (outcome.tasks[0].state, outcome.tasks[0].attempts, outcome.tasks[0].why) == (
        "failed",
        1,
        "the model refuses",
    )


async def test_what_takes_too_long_is_ended_and_taken_over(virtual) -> None:
    ended = []

    async def stall(task: Task, before) -> Answer:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            ended.append(task.what)
            raise
        raise AssertionError

    profiles = [Profile(name="stalls", skills=("s",), work=stall), Profile(name="works", skills=("s",), work=echo)]
    outcome = await virtual([task(f"{n}", "s", run_s_max=20) for n in range(6)], profiles)
    assert {one.state for one in outcome.tasks} == {"done"}
    assert ended
    record = [said for one in outcome.tasks for said in one.failures]
    assert record == ["attempt 1, stalls: it took more than 20 s"] * len(ended)


async def test_a_long_answer_is_cut_and_says_so(virtual) -> None:
    async def talk(task: Task, before) -> Answer:
        return Answer(output="ä" * 9000)

    (only,) = (await virtual([task("x")], [Profile(name="a", work=talk)])).tasks
    assert only.result.output.endswith("ä…")
    assert len(only.result.output.encode()) <= 8192


async def test_a_stop_keeps_what_is_done(virtual) -> None:
    stop = asyncio.Event()

    async def work(job: Task, before) -> Answer:
        if job.what == "3":
            stop.set()
            await asyncio.get_running_loop().create_future()
        return Answer(output=job.what)

    tasks = [task(f"{n}", priority=1 - n / 10) for n in range(6)]
    outcome = await virtual(tasks, [Profile(name="a", work=work)], stop=stop)
    assert outcome.interrupted
    assert [one.state for one in outcome.tasks] == ["done"] * 3 + ["claimed"] + ["open"] * 2


# Death


class Killed(BaseException):
    """An agent died, and had no time to say so."""


@coroutine
def dying(life, at: int):
    """Goes through an agent's life, and ends it at one of its await points."""
    steps = life.__await__()
    sent = None
    try:
        for step in count():
            if step == at:
                life.close()
                raise Killed
            sent = yield steps.send(sent)
    except StopIteration as end:
        return end.value


@pytest.mark.parametrize("victim", ["research", "second write", "review"])
@pytest.mark.parametrize("at", [*range(24), 40, 60])
async def test_any_agent_can_die_at_any_await_point(virtual, monkeypatch, victim: str, at: int) -> None:
    real = Agent.run

    async def live(self) -> None:
        await (dying(real(self), at) if self.profile.name == victim else real(self))

    monkeypatch.setattr(Agent, "run", live)
    second = [Profile(name=f"second {p.name}", skills=p.skills, work=echo) for p in crew()]
    outcome = await virtual(chains(4), [*crew(), *second])
    assert {one.state for one in outcome.tasks} == {"done"}, [(t.what, t.state, t.why) for t in outcome.tasks]
    states = {agent.name: agent.state for agent in outcome.agents}
    assert {states.pop(victim), *states.values()} <= {"Killed: ", "live"}
    assert set(states.values()) == {"live"}
    taken_over = [one for one in outcome.tasks if one.attempts > 1]
    assert len(taken_over) <= 1
    assert all(one.failures == [f"attempt 1, {victim}: fell silent"] for one in taken_over)


@pytest.mark.parametrize("survivor", ["a0", "a3", "a9"])
async def test_all_but_one_may_die_in_the_middle_of_their_work(virtual, survivor: str) -> None:
    agents: dict[str, asyncio.Task[None]] = {}

    async def work(job: Task, before) -> Answer:
        if job.what == "25":
            for name, agent in agents.items():
                if name != survivor:
                    agent.cancel()
        await asyncio.sleep(0)
        return Answer(output=job.what)

    profiles = [Profile(name=f"a{n}", skills=("s",), work=work) for n in range(10)]
    outcome = await virtual([task(f"{n}", "s") for n in range(100)], profiles, started=agents.update)
    assert outcome.done == 100
    assert Counter(agent.state for agent in outcome.agents) == {"killed": 9, "live": 1}
    assert sum(one.results for one in outcome.tasks) == 100
    assert 0 < sum(one.attempts - 1 for one in outcome.tasks) <= 9


async def test_who_can_show_no_sign_of_life_dies_of_it_and_is_replaced(virtual, monkeypatch) -> None:
    """Its work never ends; without a pulse nobody would ever end it."""
    emit = LocalMedium.emit

    async def no_room(medium, payload, **values):
        if values["type"] is SignalType.HEARTBEAT and medium.identity == node_id("bad"):
            raise FieldFullError("the field is full")
        return await emit(medium, payload, **values)

    async def for_ever(task: Task, before) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(LocalMedium, "emit", no_room)
    bad, good = Profile(name="bad", skills=("s",), work=for_ever), Profile(name="good", skills=("s",), work=echo)
    outcome = await virtual([task("one", "s")], [bad, good])
    assert [agent.state for agent in outcome.agents] == ["FieldFullError: the field is full", "live"]
    assert [(one.state, one.by, one.failures) for one in outcome.tasks] == [
        ("done", "good", ["attempt 1, bad: fell silent"])
    ]


async def test_where_all_die_the_run_ends_with_what_there_is(virtual) -> None:
    agents: dict[str, asyncio.Task[None]] = {}

    async def work(job: Task, before) -> Answer:
        if job.what == "5":
            for agent in agents.values():
                agent.cancel()
        await asyncio.sleep(0)
        return Answer(output=job.what)

    outcome = await virtual(
        [task(f"{n}", priority=1 - n / 10) for n in range(10)],
        [Profile(name=f"a{n}", work=work) for n in range(2)],
        started=agents.update,
    )
    assert 3 <= outcome.done <= 6
    assert len(outcome.tasks) == 10


# Checking


async def test_what_two_who_look_reject_is_done_again_by_another_and_trust_moves(virtual) -> None:
    async def garble(job: Task, before) -> Answer:
        return Answer(output="garbage")

    async def look(job: Task, result) -> Opinion:
        is_right = result.output == job.what
        return Opinion(is_right, "as asked" if is_right else "that is no answer to it")

    workers = [Profile(name="liar", skills=("s",), work=garble), Profile(name="honest", skills=("s",), work=echo)]
    checkers = [Profile(name=f"checker {n}", skills=("s",), check=look) for n in range(2)]
    outcome = await virtual([task(f"{n}", "s") for n in range(20)], [*workers, *checkers])
    assert {(one.state, one.by) for one in outcome.tasks} == {("done", "honest")}
    trust = {agent.name: agent.trust for agent in outcome.agents}
    assert trust["liar"] < TRUST_FLOOR < 0.5 < trust["honest"]
    assert sum(one.results > 1 for one in outcome.tasks) <= 3  # once it is known, nobody lets it claim any more


async def test_who_has_no_opinion_or_breaks_while_it_looks_changes_nothing(virtual) -> None:
    async def look(job: Task, result) -> Opinion | None:
        if job.what == "1":
            raise ValueError("odd")
        return None

    profiles = [Profile(name="a", work=echo), Profile(name="b", check=look), Profile(name="c", check=look)]
    outcome = await virtual([task("0"), task("1")], profiles)
    assert [(one.state, one.results) for one in outcome.tasks] == [("done", 1)] * 2
    assert {agent.state for agent in outcome.agents} == {"live"}


# Misconduct


class Staller(Agent):
    """Claims whatever it can, shows signs of life, and does nothing; nor does it ever give up."""

    async def _work(self, held) -> None:
        while True:
            await self._medium.clock.sleep(1)
            await self._say(Heartbeat(state="working", claims=1))
            if not self._is_ours(held.entry):
                return


async def test_who_claims_and_stalls_loses_its_claims_and_fails_nobodys_task(virtual, monkeypatch) -> None:
    """One stalling agent would else use up all attempts that a task has."""
    monkeypatch.setattr(
        run_module, "Agent", lambda profile, *a, **k: (Staller if profile.name == "bad" else Agent)(profile, *a, **k)
    )
    release = asyncio.Event()

    async def late(task: Task, before) -> Answer:
        await release.wait()
        return await echo(task, before)

    stalls: set[tuple[bytes, int, bytes]] = set()

    def told(one) -> None:
        if isinstance(one, Entry):
            stalls.update((agent, attempt, one.id) for agent, attempt in one.stalled)
        if len(stalls) == 2:
            release.set()

    tasks = [task("block", "good"), *(task(f"{n}", "s", run_s_max=4) for n in range(3))]
    outcome = await virtual(
        tasks,
        [Profile(name="good", skills=("good", "s"), work=late), Profile(name="bad", skills=("s",), work=echo)],
        told=told,
    )
    good, bad = outcome.agents
    assert [one.state for one in outcome.tasks] == ["done"] * 4
    assert (good.done, bad.done) == (4, 0)
    assert bad.trust < TRUST_FLOOR <= good.trust
    assert {failure for one in outcome.tasks for failure in one.failures} == {"attempt 1, bad: stalled"}


async def test_who_gives_up_in_time_has_not_stalled(virtual) -> None:
    async def slow(task: Task, before) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    outcome = await virtual([task("x", run_s_max=3)], [Profile(name="slow", work=slow)])
    assert outcome.tasks[0].state == "failed"
    assert outcome.tasks[0].failures == [f"attempt {n}, slow: it took more than 3 s" for n in (1, 2, 3)]
    assert outcome.agents[0].trust == 0.5


# What is said beside the work


def sees(*subjects: bytes):
    async def work(task: Task, before) -> Answer:
        return Answer(output="seen", statements=tuple(Statement(payload=b"it is so", subject=one) for one in subjects))

    return work


async def test_findings_are_weighed_by_others_once_and_never_by_who_makes_them(virtual) -> None:
    field = LocalField(clock=VirtualClock(10**18))
    weighed: list[tuple[str, bytes | None]] = []

    def weighs(name: str, opinion: Opinion | None):
        async def weigh(signal) -> Opinion | None:
            weighed.append((name, signal.subject))
            return opinion

        return weigh

    against = Opinion(supports=False, reason="it is not so", confidence=0.5)
    await virtual(
        [task("x", "x"), task("y", "y", task("x", "x"))],
        [
            Profile(name="x", skills=("x",), work=sees(b"1", b"2"), weigh=weighs("x", against)),
            Profile(name="y", skills=("y",), work=sees(b"2", b"3")),
            Profile(name="critic", weigh=weighs("critic", against)),
            Profile(name="silent", weigh=weighs("silent", None)),
        ],
        field=field,
    )
    # The critic has spoken about 2 when it comes again; who has no opinion is asked again about other words for it.
    assert Counter(weighed) == Counter(
        [("x", b"3")]
        + [("critic", one) for one in (b"1", b"2", b"3")]
        + [("silent", one) for one in (b"1", b"2", b"2", b"3")]
    )
    reader = field.join("reader")
    readings = {one.emissions[0].subject: one for one in await reader.sense(types=[SignalType.DATA], threshold=0.0)}
    assert {about: len(one.emissions) for about, one in readings.items()} == {b"1": 1, b"2": 2, b"3": 1}
    opposed = {p.reason for one in readings.values() for p in one.positions if p.kind is StanceKind.OPPOSE}
    assert opposed == {"it is not so"}


async def test_what_breaks_over_a_finding_is_on_record(virtual) -> None:
    async def breaks(signal) -> Opinion | None:
        raise KeyError(signal.subject)

    profiles = [Profile(name="x", work=sees(b"1")), Profile(name="critic", weigh=breaks)]
    outcome = await virtual([task("x")], profiles)
    assert [(one.name, one.state, one.errors) for one in outcome.agents] == [
        ("x", "live", []),
        ("critic", "live", ["KeyError: b'1'"]),
    ]


# Approval


async def test_a_person_is_asked_once_and_only_when_it_is_time(virtual) -> None:
    asked: list[tuple[str, list[str]]] = []

    async def ask(task: Task, before) -> Decision:
        asked.append((task.what, [one.output for one in before.values()]))
        return Decision(granted=task.what != "delete", note="so be it")

    person = node_id(PERSON).hex()
    plan = task("plan")
    tasks = [task("send", "", plan, approver=person), plan, task("delete", approver=person)]
    tasks.append(task("mourn", "", tasks[2]))
    outcome = await virtual(tasks, [Profile(name="a", work=echo)], ask=ask)
    assert sorted(asked) == [("delete", []), ("send", ["plan"])]
    assert {one.what: (one.state, one.why) for one in outcome.tasks} == {
        "plan": ("done", ""),
        "send": ("done", ""),
        "delete": ("failed", "its approval was refused"),
        "mourn": ("failed", "what it comes after has failed: delete"),
    }


async def test_others_work_while_a_person_thinks_and_silence_is_no_consent(virtual) -> None:
    others_done = asyncio.Event()

    async def ask(task: Task, before) -> Decision | None:
        await others_done.wait()
        return None

    async def work(task: Task, before) -> Answer:
        others_done.set()
        return await echo(task, before)

    tasks = [task("send", approver=node_id(PERSON).hex(), priority=1.0), task("other", priority=0.1)]
    outcome = await virtual(tasks, [Profile(name="a", work=work)], ask=ask)
    assert {one.what: (one.state, one.why) for one in outcome.tasks} == {
        "send": ("waiting", "for approval"),
        "other": ("done", ""),
    }


async def test_what_goes_wrong_in_asking_is_not_swallowed(virtual) -> None:
    async def ask(task: Task, before) -> Decision | None:
        raise OSError("no terminal")

    with pytest.raises(OSError, match="no terminal"):
        await virtual([task("x", approver=node_id(PERSON).hex())], [], ask=ask)


# A field that has seen a run before


async def test_a_second_run_in_the_field_does_only_what_is_left(virtual) -> None:
    field = LocalField(clock=VirtualClock(10**18))
    done: list[str] = []
    checked: list[str] = []
    stop = asyncio.Event()

    async def work(task: Task, before) -> Answer:
        if task.what == "2" and not stop.is_set():
            stop.set()
            await asyncio.Event().wait()
        done.append(task.what)
        return await echo(task, before)

    async def check(task: Task, result) -> Opinion:
        checked.append(task.what)
        return Opinion(supports=True, reason="it is so")

    tasks = [task(str(n), priority=1 - n / 10) for n in range(5)]
    profiles = [Profile(name="a", work=work), Profile(name="b", check=check)]
    first = await virtual(tasks, profiles, field=field, stop=stop)
    assert [one.state for one in first.tasks] == ["done", "done", "claimed", "open", "open"]
    second = await virtual(tasks, profiles, field=field, patience=400)
    assert [one.state for one in second.tasks] == ["done"] * 5
    assert done == ["0", "1", "2", "3", "4"]
    assert sorted(checked) == ["0", "1", "2", "3", "4"]
    # Its own claim from before is let go at once: nobody waits for the lease of who no longer works at it.
    assert second.tasks[2].failures == []
    assert field.clock.now_ns() < 10**18 + QUICK.lease_s * 10**9


async def test_who_can_do_no_more_leaves_the_task_as_open_as_it_was(virtual) -> None:
    async def spent(task: Task, before) -> Answer:
        raise WorkDeclinedError("the budget is spent")

    outcome = await virtual([task("x"), task("y")], [Profile(name="a", work=spent), Profile(name="b", work=spent)])
    assert [(one.state, one.attempts > 0, one.failures) for one in outcome.tasks] == [("open", True, [])] * 2
    assert [agent.state for agent in outcome.agents] == ["left: the budget is spent"] * 2
    helped = await virtual([task("x"), task("y")], [Profile(name="a", work=spent), Profile(name="c", work=echo)])
    assert [(one.state, one.by) for one in helped.tasks] == [("done", "c")] * 2
