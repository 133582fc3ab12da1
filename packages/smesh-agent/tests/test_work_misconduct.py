"""Agents that misbehave lose influence, over many seeds: their results are rejected, their claims hold nothing."""

from __future__ import annotations

import asyncio
import hashlib
import statistics

import pytest
from smesh_agent.work import Answer, Opinion, Profile, Tempo, run
from smesh_agent.work.board import TRUST_FLOOR
from smesh_agent.workflows.agents.evidence import form_fault, substance_fault
from smesh_core.payload import Task
from smesh_runtime import VirtualClock

SEEDS = range(12)
TASKS = 60
TEMPO = Tempo(tau_s=0.05, growth_per_s=0.5, longest_s=2.0, lease_s=2)


def drawn(*words: object) -> bytes:
    return hashlib.blake2b(repr(words).encode()).digest()


async def honest(task: Task, before) -> Answer:
    """A paragraph of its own about every task."""
    number = task.what.rpartition(" ")[2]
    return Answer(
        output=f"About pond {number}: the water was clear there, and we counted {number} frogs and a heron on its bank."
    )


async def garbage(task: Task, before) -> Answer:
    letters = "".join(chr(97 + byte % 26) for n in range(6) for byte in drawn(task.what, n))
    return Answer(output=f"{letters}\x00\x01\x02")


def plagiarist():
    """Does its first task, and says the same ever after."""
    first: list[str] = []

    async def work(task: Task, before) -> Answer:
        first.append((await honest(task, before)).output)
        return Answer(output=first[0])

    return work


def checkers() -> list[Profile]:
    """Two lineages that hold plain evidence, and two that look whether the right number of frogs is in it."""
    seen: dict[str, str] = {}

    async def form(task: Task, result) -> Opinion | None:
        fault = form_fault(result.output)
        return None if fault is None else Opinion(supports=False, reason=fault)

    async def substance(task: Task, result) -> Opinion | None:
        others = [output for one, output in seen.items() if one != result.task]
        seen[result.task] = result.output
        fault = substance_fault(task.what, result.output, others)
        return None if fault is None else Opinion(supports=False, reason=fault)

    async def counts(task: Task, result) -> Opinion:
        number = task.what.rpartition(" ")[2]
        return Opinion(supports=f" {number} frogs" in result.output, reason=f"I count {number} frogs")

    held = {"form": form, "substance": substance, "counts": counts, "counts again": counts}
    return [Profile(name=name, check=check, checks_all=True, lineage=name) for name, check in held.items()]


async def approves(task: Task, result) -> Opinion:
    return Opinion(supports=True, reason="it looks fine")


async def outcome_of(profiles: list[Profile], clock: VirtualClock, seed: int):
    """A run in virtual time; of each task, in the order in which they were done, who did it."""
    tasks = [Task(what=f"Count the frogs of pond {n}", skill="count", key=f"{n}") for n in range(100, 100 + TASKS)]
    running = asyncio.ensure_future(run(tasks, profiles, clock=clock, tempo=TEMPO, seed=seed))
    for _ in range(200_000):
        for _ in range(30):
            if running.done():
                return running.result()
            await asyncio.sleep(0)
        clock.advance_to_next()
    running.cancel()
    raise AssertionError(f"the run of seed {seed} does not end")


def paced(work, clock: VirtualClock):
    """Takes a moment, so that agents take turns."""

    async def slower(task: Task, before) -> Answer:
        await clock.sleep(0.05)
        return await work(task, before)

    return slower


@pytest.mark.parametrize("misconduct", ["garbage", "plagiarism"])
async def test_bad_work_is_done_again_by_others_and_costs_influence(misconduct: str) -> None:
    for seed in SEEDS:
        clock = VirtualClock(10**18)
        bad = garbage if misconduct == "garbage" else plagiarist()
        workers = [Profile(name=f"honest {n}", skills=("count",), work=paced(honest, clock)) for n in range(3)]
        liar = Profile(name="bad", skills=("count",), work=paced(bad, clock))
        outcome = await outcome_of([*workers, liar, *checkers()], clock, seed)
        trust = {agent.name: agent.trust for agent in outcome.agents}
        done = {agent.name: agent.done for agent in outcome.agents}
        assert [task.state for task in outcome.tasks] == ["done"] * TASKS, seed
        assert all(f" {task.what[-3:]} frogs" in task.result.output for task in outcome.tasks), seed
        assert done["bad"] <= 1, seed  # a plagiarist's first piece is its own
        assert trust["bad"] < TRUST_FLOOR, seed
        assert min(trust[f"honest {n}"] for n in range(3)) > 0.5, seed
        # Once it had lost trust, nobody respected its claims: a handful of bad results, and no more.
        assert 1 <= sum(task.rejected for task in outcome.tasks) <= 6, seed


async def test_opinions_do_not_make_up_for_bad_work() -> None:
    """The liar is right about all that others do; what it does itself is wrong all the same."""

    async def sees_garbage(task: Task, result) -> Opinion:
        return Opinion(supports="\x00" not in result.output, reason="I looked for words")

    for seed in SEEDS:
        clock = VirtualClock(10**18)
        works = {"honest 0": honest, "honest 1": honest, "honest 2": honest, "bad": garbage}
        outcome = await outcome_of(
            [
                Profile(name=name, skills=("count",), work=paced(work, clock), check=sees_garbage)
                for name, work in works.items()
            ],
            clock,
            seed,
        )
        trust = {agent.name: agent.trust for agent in outcome.agents}
        assert {task.state for task in outcome.tasks} == {"done"}, seed
        assert trust["bad"] < TRUST_FLOOR < 0.9 < min(trust[f"honest {n}"] for n in range(3)), seed
        assert 1 <= sum(task.rejected for task in outcome.tasks) <= 6, seed


async def test_who_approves_everything_is_not_believed_for_long() -> None:
    """Two thirds of all results are wrong, and the flatterer likes them all. (Of a half it would be right as often.)"""

    async def sloppy(task: Task, before) -> Answer:
        answer = await honest(task, before)
        is_wrong = drawn(task.what, asyncio.current_task().get_name())[0] % 3
        return Answer(output=answer.output.replace(" frogs", "0 frogs")) if is_wrong else answer

    believed: list[float] = []
    for seed in SEEDS:
        clock = VirtualClock(10**18)
        workers = [Profile(name=f"sloppy {n}", skills=("count",), work=paced(sloppy, clock)) for n in range(8)]
        flatterer = Profile(name="flatterer", check=approves, checks_all=True, lineage="flatterer")
        outcome = await outcome_of([*workers, *checkers(), flatterer], clock, seed)
        trust = {agent.name: agent.trust for agent in outcome.agents}
        believed.append(trust["flatterer"])
        assert trust["flatterer"] < min(trust["counts"], trust["counts again"]), seed
        results = [task for task in outcome.tasks if task.state == "done"]
        assert len(results) >= 5, seed
        assert all(f" {task.what[-3:]} frogs" in task.result.output for task in results), seed
    assert statistics.median(believed) < TRUST_FLOOR, believed


async def test_honest_agents_are_not_harmed_by_a_single_accuser() -> None:
    """One lineage alone rejects nothing, and who accuses everybody of everything loses trust itself."""

    async def accuses(task: Task, result) -> Opinion:
        return Opinion(supports=False, reason="I do not like it")

    for seed in SEEDS:
        clock = VirtualClock(10**18)
        workers = [Profile(name=f"honest {n}", skills=("count",), work=paced(honest, clock)) for n in range(3)]
        accuser = Profile(name="accuser", check=accuses, checks_all=True, lineage="accuser")
        outcome = await outcome_of([*workers, *checkers(), accuser], clock, seed)
        trust = {agent.name: agent.trust for agent in outcome.agents}
        assert {(task.state, task.results, task.rejected) for task in outcome.tasks} == {("done", 1, 0)}, seed
        assert trust["accuser"] < TRUST_FLOOR < 0.9 < min(trust[f"honest {n}"] for n in range(3)), seed
