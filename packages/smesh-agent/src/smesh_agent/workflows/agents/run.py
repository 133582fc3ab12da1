"""A job from beginning to end: a crew on a field, watched, and reported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from smesh_core import Observer, node_id
from smesh_runtime import LocalField

from smesh_agent.work import Tempo
from smesh_agent.work import run as run_work
from smesh_agent.work.board import Entry
from smesh_agent.workflows.agents.report import Report, build
from smesh_agent.workflows.agents.worker import inspectors

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from smesh_runtime import Clock, Element
    from smesh_runtime.journal import Journal

    from smesh_agent.backends.session import Session
    from smesh_agent.work import Ask, Lookout
    from smesh_agent.workflows.agents.job import Job
    from smesh_agent.workflows.agents.killing import Killer
    from smesh_agent.workflows.agents.worker import Worker

__all__ = ["TEMPO", "run_job"]

TEMPO: Final = Tempo(lease_s=2, longest_s=3.0)
"""In one process an agent shows that it lives several times a second at no cost, so others need not wait long."""


async def run_job(
    job: Job,
    workers: Sequence[Worker],
    session: Session,
    *,
    clock: Clock | None = None,
    journal: Journal | None = None,
    killer: Killer | None = None,
    stop: asyncio.Event | None = None,
    told: Callable[[Entry | Element], None] = lambda _: None,
    watching: Callable[[Lookout], None] = lambda _: None,
    ask: Ask | None = None,
    tempo: Tempo = TEMPO,
    seed: int = 0,
) -> Report:
    """Have a crew do a job in this process.

    Args:
        job: what is to be done.
        workers: the agents; two inspectors that need no model join them.
        session: where their models come from; it keeps the ledger.
        clock: the field's time; the machine's by default.
        journal: where the run is kept; one that holds an earlier part of it is gone on with.
        killer: kills agents in the middle of their work.
        stop: once set, agents are stopped, and what is done is reported.
        told: called with each element of the field, and each task whose state has changed.
        watching: given what is known of the run, to be looked at while it goes on.
        ask: asks a person about tasks that need approval; without it they wait.
        tempo: how fast agents act.
        seed: of what they draw.

    Raises:
        AgentError: two agents have one name.
    """
    profiles = [*(worker.profile() for worker in workers), *inspectors()]
    names = {node_id(profile.name): profile.name for profile in profiles}
    observer = Observer(roster={node_id(profile.name): profile.lineage for profile in profiles})
    field = LocalField(clock=clock, observer=observer, journal=journal)

    def tell(changed: Entry | Element) -> None:
        if killer is not None and isinstance(changed, Entry):
            killer.look(changed)
        told(changed)

    def watch(lookout: Lookout) -> None:
        if killer is not None:
            killer.watching(lookout)
        watching(lookout)

    outcome = await run_work(
        job.tasks,
        profiles,
        field=field,
        tempo=tempo,
        stop=stop,
        started=lambda running: killer.started(running, names) if killer is not None else None,
        told=tell,
        watching=watch,
        ask=ask,
        seed=seed,
    )
    return build(
        job,
        outcome,
        {profile.name: list(profile.skills) for profile in profiles},
        backend=session.backend_name,
        model=session.model_name,
        is_scripted=session.is_scripted,
        ledger=session.budget.ledger,
        deaths=killer.deaths if killer is not None else (),
        signals=len(field.field),
        seed=seed,
    )
