"""`smesh agents`: agents do a job of one's own through a field."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from smesh_cli import exits
from smesh_cli.errors import CliError
from smesh_cli.model_options import ModelChoice, model_options

if TYPE_CHECKING:
    import asyncio

    from smesh_agent.backends.session import Session
    from smesh_agent.work import Ask
    from smesh_agent.work.board import Entry
    from smesh_agent.workflows.agents import Job, Killer, Report, Worker
    from smesh_runtime import Element
    from smesh_runtime.journal import Journal

__all__ = ["agents"]


@click.command(epilog="Example:  smesh agents --demo --kill 1")
@click.option("--demo", is_flag=True, help="Do a job that comes with SMESH: thirteen tasks, three roles.")
@click.option(
    "--tasks",
    "tasks_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Do the job in this file, YAML or JSON; see docs/reference/agents.md.",
)
@click.option(
    "--agents", "number", type=click.IntRange(1, 1000), metavar="N", help="How many.  [default: two for each role]"
)
@click.option(
    "--roles", "roles_path", type=click.Path(path_type=Path), metavar="FILE", help="What they are.  [default: by skill]"
)
@model_options
@click.option(
    "--answer-tokens",
    type=click.IntRange(16, 1_000_000),
    default=1024,
    show_default=True,
    metavar="N",
    help="How much an answer may take.",
)
@click.option(
    "--kill",
    "kills",
    multiple=True,
    metavar="N|NAME",
    help="Kill so many agents, or this one, in the middle of their work; several times.",
)
@click.option("--journal", type=click.Path(path_type=Path), metavar="FILE", help="Keep the run in a new file.")
@click.option(
    "--resume", type=click.Path(path_type=Path), metavar="FILE", help="Go on with a run that was kept in a file."
)
@click.option("--yes", is_flag=True, help="Approve what needs approval without asking.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Of what agents draw.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, documented in docs/reference/agents.md.")
@click.option("--no-live", is_flag=True, help="Show no live view.")
def agents(
    *,
    choice: ModelChoice,
    demo: bool,
    tasks_path: Path | None,
    number: int | None,
    roles_path: Path | None,
    answer_tokens: int,
    kills: tuple[str, ...],
    journal: Path | None,
    resume: Path | None,
    yes: bool,
    seed: int,
    as_json: bool,
    no_live: bool,
) -> int:
    """Have agents do a job through a shared field, with no controller.

    Tasks are signals; agents that have the skill claim them, and leave results that others go on with. Nothing hands
    out work, so whoever dies is replaced by whoever lives. Two inspectors oppose results that are empty, garbage or
    copies. Without --model or --backend the answers are scripted text, and the report says so.

    Ctrl-C stops the agents and reports what was done by then; a second one ends it at once.

    Exit codes: 0 every task is done, 1 some are not, 2 error or a model that cannot be had, 130 stopped by Ctrl-C,
    143 by SIGTERM.
    """
    from smesh_agent.errors import AgentError  # noqa: PLC0415 - keeps `smesh --help` light
    from smesh_agent.workflows.agents import crew_of, demo_job, demo_script, read_job, read_roles, roles_for  # noqa: PLC0415
    from smesh_runtime.errors import SmeshRuntimeError  # noqa: PLC0415

    from smesh_cli import render, stopping  # noqa: PLC0415

    if demo == (tasks_path is not None):
        raise click.UsageError("give --tasks FILE, or --demo for a job that comes with SMESH.")
    if journal is not None and resume is not None:
        raise click.UsageError("--journal begins a run and --resume goes on with one; give one of them.")
    is_live = not no_live and not as_json
    try:
        job = demo_job() if tasks_path is None else read_job(tasks_path)
        roles = roles_for(job.skills) if roles_path is None else read_roles(roles_path)
        session = choice.session(defaults={"script": str(demo_script())} if demo else None, seed=seed)
        crew = crew_of(
            roles,
            number,
            lambda role: session.model(role.model),
            max_tokens=answer_tokens,
            checks=not session.is_scripted,
        )
        killer = _killer(kills, [worker.name for worker in crew], len(job.tasks), seed)
        with _kept(journal, resume) as kept:

            async def work(stop: asyncio.Event) -> Report:
                async with session:
                    await session.check()
                    return await _run(job, crew, session, stop, killer, kept, seed=seed, yes=yes, is_live=is_live)

            report, stopped_by = stopping.run(work)
    except (AgentError, SmeshRuntimeError) as error:
        render.error(str(error))
        return exits.ERROR
    if as_json:
        render.json(report)
    else:
        render.agents(report)
    if report.interrupted:
        goes_on = f", and --resume {journal or resume} goes on" if journal or resume else ""
        render.error(f"stopped; the report holds what had been done by then{goes_on}")
        return exits.TERMINATED if stopped_by == signal.SIGTERM else exits.INTERRUPTED
    troubles = _troubles(report)
    for trouble in troubles:
        render.error(trouble)
    return exits.FINDINGS if troubles else exits.OK


def _troubles(report: Report) -> list[str]:
    """What keeps a job from being done, each as one line."""
    troubles = [
        f"{agent.name} broke: {agent.state}"
        for agent in report.agents
        if agent.state not in {"live", "killed"} and not agent.state.startswith("left")
    ]
    if gone := next((agent.state for agent in report.agents if agent.state.startswith("left: ")), ""):
        troubles.append(f"agents {gone}")
    waiting = sum(task.why == "for approval" for task in report.tasks)
    if waiting:
        troubles.append(f"{waiting:,} tasks wait for approval: run it on a terminal, or give --yes")
    left = report.summary["failed"] + report.summary["unfinished"]
    if left > waiting:
        first = next(task for task in report.tasks if task.state != "done" and task.why != "for approval")
        why = f" is {first.state}: {first.why}" if first.why else f" is {first.state}"
        troubles.append(f"{left:,} of {len(report.tasks):,} tasks are not done; {first.id}{why}")
    return troubles


def _killer(kills: tuple[str, ...], names: list[str], tasks: int, seed: int) -> Killer | None:
    from smesh_agent.workflows.agents import Killer  # noqa: PLC0415

    if not kills:
        return None
    numbers = [int(one) for one in kills if one.isascii() and one.isdigit()]
    victims = [one for one in kills if not (one.isascii() and one.isdigit())]
    return Killer(names, victims=victims, number=sum(numbers), tasks=tasks, seed=seed)


def _kept(journal: Path | None, resume: Path | None) -> contextlib.AbstractContextManager[Journal | None]:
    """The journal of a run, if it is to be kept.

    Raises:
        CliError: a run is to begin where there is a file, or to go on where there is none.
        SmeshRuntimeError: the file is no journal, or cannot be written.
    """
    path = journal or resume
    if path is None:
        return contextlib.nullcontext()
    from smesh_runtime.journal import Journal  # noqa: PLC0415 - loads SQLite

    if journal is not None and journal.exists():
        raise CliError(f"--journal: {journal} is there already; --resume goes on with it")
    if resume is not None and not resume.exists():
        raise CliError(f"--resume: there is no file {resume}")
    return Journal(path)


async def _run(
    job: Job,
    crew: list[Worker],
    session: Session,
    stop: asyncio.Event,
    killer: Killer | None,
    journal: Journal | None,
    *,
    seed: int,
    yes: bool,
    is_live: bool,
) -> Report:
    """Run the job, watched where there is a terminal."""
    from smesh_agent.work import Decision  # noqa: PLC0415 - keeps `smesh --help` light
    from smesh_agent.workflows.agents import FORM, SUBSTANCE, run_job  # noqa: PLC0415

    from smesh_cli import asking, live  # noqa: PLC0415
    from smesh_cli.crew_view import CrewView  # noqa: PLC0415

    async def approve(*_: object) -> Decision:
        return Decision(granted=True, note="approved by --yes")

    console = live.watching_stream() if is_live else None
    with contextlib.ExitStack() as shown:
        view: CrewView | None = None
        if console is not None:
            names = [*(worker.name for worker in crew), FORM, SUBSTANCE]
            ledger = session.budget.ledger
            view = shown.enter_context(CrewView(console, _head(session), names, len(job.tasks), ledger))
        ask: Ask | None = approve if yes else None
        if ask is None and asking.can_ask():
            ask = asking.asker(before=view.pause if view else _nothing, after=view.resume if view else _nothing)

        def told(changed: Entry | Element) -> None:
            if view is not None:
                view.tell(changed)
                for death in killer.deaths if killer is not None else ():
                    view.died(death.agent)

        return await run_job(
            job,
            crew,
            session,
            journal=journal,
            killer=killer,
            stop=stop,
            told=told,
            watching=view.watch if view is not None else _nothing,
            ask=ask,
            seed=seed,
        )


def _head(session: Session) -> str:
    if session.is_scripted:
        return "text from a script, no model is asked"
    return f"{session.backend_name}, {session.model_name}"


def _nothing(*_: object) -> None:
    """For where nobody watches."""
