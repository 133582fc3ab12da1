"""SMESH in one process: tasks that come after each other in a field, and agents that claim them.

Variants: none, agents of one role each; ``generalists``, as many agents, each of all roles; ``checks``, agents of a
role look at each other's results. Where ``raises`` is among them too, an agent that dies is one whose model raises from
then on, as in the other systems; otherwise it is ended in the middle of its work and says nothing.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from typing import TYPE_CHECKING

from job import ROLES, Job, main
from smesh_agent.work import Answer, Opinion, Profile
from smesh_agent.work import run as run_tasks
from smesh_core.payload import Result, Task, signal_of
from smesh_runtime import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smesh_agent.work import Outcome

_TURNS = 50
"""Turns of the loop in which nothing is done; then everybody waits for time to pass."""


def chains(job: Job) -> list[Task]:
    """Every task in three steps, each of which comes after the one before."""
    tasks: list[Task] = []
    for number in range(1, job.tasks + 1):
        after: tuple[str, ...] = ()
        for role in ROLES:
            step = Task(what=job.text(number), skill=role, key=f"{role} {number}", after=after)
            tasks.append(step)
            said = signal_of(step, author=bytes(32), seq=0, created_at_ns=0, deadline_ns=1)
            after = (said.statement.hex(),)
    return tasks


def profile(job: Job, name: str, skills: tuple[str, ...], *, checks: bool) -> Profile:
    model = job.model(name)

    async def work(task: Task, before: Mapping[str, Result]) -> Answer:
        given = [result.output for result in before.values()] or [task.what]
        try:
            return Answer(output=await model.answer(task.skill, given[-1]))
        finally:
            if model.is_dead:
                await asyncio.sleep(0)  # here it ends, if it was ended

    async def check(task: Task, result: Result) -> Opinion:
        is_well = model.judge(result.output)
        return Opinion(is_well, f"{task.skill}'s work is done" if is_well else "that is not what was asked for")

    return Profile(name=name, skills=skills, work=work, check=check if checks else None)


async def run(job: Job) -> None:
    names = [(role, f"{role} {n}") for role in ROLES for n in range(job.agents)]
    variants = job.variant.split("+")
    profiles = [
        profile(job, name, ROLES if "generalists" in variants else (role,), checks="checks" in variants)
        for role, name in names
    ]
    tasks = chains(job)
    agents: dict[str, asyncio.Task[None]] = {}
    if "raises" not in variants:
        job.kill = lambda name: agents[name].cancel()
    with job.timed():
        if job.fault == "stall":
            clock = VirtualClock(10**18)
            outcome = await in_virtual_time(run_tasks(tasks, profiles, clock=clock, seed=job.seed), clock)
        else:
            outcome = await run_tasks(tasks, profiles, started=agents.update, seed=job.seed)
        for number, task in zip(range(1, job.tasks + 1), outcome.tasks[len(ROLES) - 1 :: len(ROLES)], strict=True):
            if task.result is not None:
                job.deliver(number, task.result.output)
    if job.fault == "stall":
        job.seconds, job.is_virtual = (clock.now_ns() - 10**18) / 1e9, True
    job.told = told(outcome)


async def in_virtual_time(running, clock: VirtualClock) -> Outcome:
    """A run in which nobody really waits: time moves on when nothing else happens."""
    task = asyncio.ensure_future(running)
    while not task.done():
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        if not task.done():
            clock.advance_to_next()
    return task.result()


def told(outcome: Outcome) -> list[str]:
    """What the outcome of a run says went wrong."""
    said = [f"{agent.name} {agent.state}" for agent in outcome.agents if agent.state != "live"]
    said += [f"trust in {agent.name} {agent.trust:.2f}" for agent in outcome.agents if agent.trust < 0.25]
    said += [failure for task in outcome.tasks for failure in task.failures]
    said += [f"{task.what} {task.skill}: {task.results} results" for task in outcome.tasks if task.results > 1]
    said += [f"{task.what} {task.skill}: {task.rejected} rejected" for task in outcome.tasks if task.rejected]
    return said + [f"{task.what} {task.skill} {task.state}" for task in outcome.tasks if task.state != "done"]


if __name__ == "__main__":
    main(run)
