"""The report of a job: what came of every task and of every agent, who died, and what it all took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from smesh_agent.work import task_id
from smesh_agent.workflows.agents.killing import Death
from smesh_agent.workflows.bills import Bill, bill_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smesh_agent.backends.budget import Ledger
    from smesh_agent.work import AgentReport, Outcome, TaskReport
    from smesh_agent.workflows.agents.job import Job, Todo

__all__ = ["SCHEMA", "AgentSummary", "Bill", "Report", "TaskSummary", "build"]

SCHEMA: Final = "smesh.agents/1"


class TaskSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one task.

    Attributes:
        id: as the file calls it.
        do: what was to be done.
        skill: the skill that it takes.
        after: ids of the tasks that it comes after.
        state: ``done``, ``failed``, or what it was at the end: ``open``, ``claimed`` or ``waiting``.
        why: why it failed, or what it waits for.
        by: who did it.
        output: its result; empty where there is none.
        results: how many results there are that count; more than one is work done twice.
        rejected: how many results there are that do not.
        attempts: how many attempts were begun.
        failures: who failed at it and why, by attempt.
        objections: who opposes its result, and why.
    """

    id: str
    do: str
    skill: str
    after: list[str]
    state: str
    why: str
    by: str
    output: str
    results: int
    rejected: int
    attempts: int
    failures: list[str]
    objections: list[str]


class AgentSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What one agent did.

    Attributes:
        name: its name.
        skills: what it can do.
        state: ``live``, ``killed``, ``left: `` and why, or the error that it died of.
        done: tasks that are done by its results.
        failed: attempts that it failed at.
        trust: what the run came to think of it, in [0, 1].
        bill: what its model took.
        errors: what broke in it while it looked at what others say.
    """

    name: str
    skills: list[str]
    state: str
    done: int
    failed: int
    trust: float
    bill: Bill
    errors: list[str]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that came of a job; its JSON is documented in ``docs/reference/agents.md``.

    Attributes:
        schema: ``smesh.agents/1``.
        title: the job's.
        backend: what answered: a backend's name; ``cassette`` for a recording.
        model: the model's name with it; for scripted text the script's.
        is_scripted: whether the answers are scripted text and no model's.
        summary: how many tasks are ``done``, ``failed`` and ``unfinished``, how many agents died, how many results
            are one too many.
        tasks: what came of each, in the order of the file, each after those that it comes after.
        agents: what each did.
        deaths: who was killed, and over what.
        bill: what models took, in all.
        signals: emissions and stances in the field at the end.
        seed: of what agents draw.
        interrupted: whether it was stopped before it had ended.
        duration_s: how long it took.
    """

    schema: str
    title: str
    backend: str
    model: str
    is_scripted: bool
    summary: dict[str, int]
    tasks: list[TaskSummary]
    agents: list[AgentSummary]
    deaths: list[Death]
    bill: Bill
    signals: int
    seed: int
    interrupted: bool
    duration_s: float


def build(
    job: Job,
    outcome: Outcome,
    skills: dict[str, list[str]],
    *,
    backend: str,
    model: str,
    is_scripted: bool,
    ledger: Ledger,
    deaths: Sequence[Death],
    signals: int,
    seed: int,
) -> Report:
    """Make the report of a job; `skills` are what agents can do, by their names."""
    found = {task.id: task for task in outcome.tasks}
    tasks = [_task(todo, found[task_id(task).hex()]) for todo, task in zip(job.todos, job.tasks, strict=True)]
    return Report(
        schema=SCHEMA,
        title=job.title,
        backend=backend,
        model=model,
        is_scripted=is_scripted,
        summary={
            "done": sum(task.state == "done" for task in tasks),
            "failed": sum(task.state == "failed" for task in tasks),
            "unfinished": sum(task.state not in {"done", "failed"} for task in tasks),
            "died": sum(agent.state != "live" and not agent.state.startswith("left") for agent in outcome.agents),
            "duplicated": sum(max(0, task.results - 1) for task in tasks),
        },
        tasks=tasks,
        agents=[_agent(agent, skills.get(agent.name, []), ledger) for agent in outcome.agents],
        deaths=list(deaths),
        bill=bill_of(ledger.total),
        signals=signals,
        seed=seed,
        interrupted=outcome.interrupted,
        duration_s=outcome.duration_s,
    )


def _task(todo: Todo, found: TaskReport) -> TaskSummary:
    return TaskSummary(
        id=todo.id,
        do=todo.do,
        skill=todo.skill,
        after=list(todo.after),
        state=found.state,
        why=found.why,
        by=found.by,
        output=found.result.output if found.result is not None else "",
        results=found.results,
        rejected=found.rejected,
        attempts=found.attempts,
        failures=found.failures,
        objections=found.objections,
    )


def _agent(agent: AgentReport, skills: list[str], ledger: Ledger) -> AgentSummary:
    return AgentSummary(
        name=agent.name,
        skills=skills,
        state=agent.state,
        done=agent.done,
        failed=agent.failed,
        trust=agent.trust,
        bill=bill_of(ledger.labels.get(agent.name)),
        errors=agent.errors,
    )
