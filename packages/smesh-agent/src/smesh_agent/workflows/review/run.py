"""A review: every witness's part in it is a task of the work protocol, and the report is read from the field.

`review` says what is to be read and starts the witnesses; from then on nobody calls them, and one that dies keeps
nobody waiting for longer than its lease. `union` runs the same analyzers without a field, for comparison.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec
from smesh_core import Observer, SignalType, node_id
from smesh_runtime import LocalField

from smesh_agent.analyzers.base import Outcome
from smesh_agent.errors import AnalyzerFailedError
from smesh_agent.work import TaskState
from smesh_agent.work import run as run_work
from smesh_agent.work.board import Entry
from smesh_agent.workflows.review.report import (
    STOPPED,
    Report,
    ReportedFinding,
    Testimony,
    Unread,
    WitnessSummary,
    build,
    rank_of,
    source_of,
    summary_of,
    without_credentials,
)
from smesh_agent.workflows.review.witness import Profile, Witness, findings_of

if TYPE_CHECKING:
    from smesh_runtime import Clock, Element

    from smesh_agent.tree import Tree

__all__ = ["Status", "Watcher", "review", "union"]


class Status(msgspec.Struct, frozen=True):
    """What a witness is doing, for whoever watches.

    Attributes:
        state: ``reading``, ``checking`` for one that only weighs what others find, ``done`` or ``failed``.
        findings: how many it has made.
    """

    state: str
    findings: int


Watcher = Callable[[str, Status], None]
"""Told, by a witness's name, what it is doing."""

_READER: Final = "reader"
_STATUSES: Final = {TaskState.CLAIMED: "reading", TaskState.DONE: "done", TaskState.FAILED: "failed"}


async def review(
    tree: Tree,
    profiles: Sequence[Profile],
    *,
    stop: asyncio.Event | None = None,
    watcher: Watcher | None = None,
    clock: Clock | None = None,
) -> Report:
    """Review a tree by witnesses that share a field in this process.

    Args:
        tree: what is reviewed.
        profiles: the witnesses; all of them are on the roster, with their lineages.
        stop: once set, what has been said so far is reported, marked as interrupted.
        watcher: told what each witness is doing.
        clock: the field's time; the machine's by default.
    """
    started_s = time.perf_counter()
    roster = {node_id(profile.name): profile for profile in profiles}
    field = LocalField(clock=clock, observer=Observer(roster={node: p.lineage for node, p in roster.items()}))
    witnesses = {profile.name: Witness(profile, tree) for profile in profiles}
    outcome = await run_work(
        [task for witness in witnesses.values() for task in witness.tasks()],
        [witness.agent() for witness in witnesses.values()],
        field=field,
        stop=stop,
        told=_telling(witnesses, watcher) if watcher is not None else lambda _: None,
    )
    reader = field.join(_READER)
    readings = await reader.sense(threshold=0.0, types=[SignalType.DATA, SignalType.ALERT])
    await reader.close()
    return build(
        tree,
        readings,
        roster,
        outcome,
        signals=len(field.field),
        duration_s=time.perf_counter() - started_s,
    )


def _telling(witnesses: dict[str, Witness], watcher: Watcher) -> Callable[[Entry | Element], None]:
    """Tells the watcher what becomes of each witness's task."""
    for name, witness in witnesses.items():
        if witness.profile.analyzer is None:
            watcher(name, Status("checking", 0))

    def tell(changed: Entry | Element) -> None:
        if isinstance(changed, Entry) and changed.task is not None and changed.state in _STATUSES:
            witness = witnesses[changed.task.skill]
            watcher(witness.profile.name, Status(_STATUSES[changed.state], witness.findings))

    return tell


async def union(
    tree: Tree,
    profiles: Sequence[Profile],
    *,
    stop: asyncio.Event | None = None,
    watcher: Watcher | None = None,
) -> Report:
    """The analyzers' findings side by side: no field, so nothing is corroborated, opposed or weighed.

    Ranked by severity and the analyzer's own confidence. Arguments as for `review`; witnesses without an analyzer
    have nothing to say.
    """
    started_s = time.perf_counter()
    asked = [profile for profile in profiles if profile.analyzer is not None]
    running = {p.name: asyncio.create_task(_read_alone(p, tree, watcher), name=p.name) for p in asked}
    stopping = asyncio.create_task((stop or asyncio.Event()).wait())
    try:
        pending: set[asyncio.Task[object]] = {*running.values()}
        while pending and not stopping.done():
            done, _ = await asyncio.wait({*pending, stopping}, return_when=asyncio.FIRST_COMPLETED)
            pending -= done
    finally:
        for task in (*running.values(), stopping):
            task.cancel()
        await asyncio.gather(*running.values(), stopping, return_exceptions=True)
    findings: list[ReportedFinding] = []
    unread = [Unread(skip.path, [], skip.reason) for skip in tree.skipped]
    witnesses: list[WitnessSummary] = []
    for profile in asked:
        outcome, state, reason = _how_it_ended(running[profile.name])
        own = await asyncio.to_thread(_alone, profile, outcome, tree)
        findings += own
        unread += [Unread(entry.path, [profile.name], entry.reason) for entry in outcome.unread]
        witnesses.append(WitnessSummary(profile.name, profile.role, profile.lineage, state, len(own), 0, reason))
    return Report(
        schema="smesh.review/1",
        mode="union",
        source=source_of(tree),
        summary=summary_of(findings),
        findings=sorted(
            without_credentials(findings), key=lambda f: (-f.rank, f.path, f.lines, f.says[0].witness, f.kind)
        ),
        unread=sorted(unread, key=lambda entry: (entry.path, entry.witnesses, entry.reason)),
        witnesses=witnesses,
        signals=0,
        interrupted=any(summary.state == "stopped" for summary in witnesses),
        duration_s=time.perf_counter() - started_s,
    )


async def _read_alone(profile: Profile, tree: Tree, watcher: Watcher | None) -> Outcome:
    if profile.analyzer is None:
        raise AssertionError("only witnesses with an analyzer are asked")
    tell = watcher or (lambda _name, _status: None)
    tell(profile.name, Status("reading", 0))
    try:
        outcome = await profile.analyzer.run(tree)
    except AnalyzerFailedError:
        tell(profile.name, Status("failed", 0))
        raise
    tell(profile.name, Status("done", len(outcome.observations)))
    return outcome


def _how_it_ended(task: asyncio.Task[Outcome]) -> tuple[Outcome, str, str]:
    """What an analyzer found, and its witness's state and reason."""
    if task.cancelled():
        return Outcome([], []), "stopped", STOPPED
    match task.exception():
        case None:
            return task.result(), "done", ""
        case AnalyzerFailedError(reason=reason):
            return Outcome([], []), "failed", reason
        case error:
            return Outcome([], []), "failed", f"{type(error).__name__}: {error}"


def _alone(profile: Profile, outcome: Outcome, tree: Tree) -> list[ReportedFinding]:
    """One analyzer's findings, each for itself; the value is the analyzer's own confidence."""
    return [
        ReportedFinding(
            id="",
            kind=finding.kind,
            severity=finding.severity.name.lower(),
            value=confidence,
            rank=rank_of(finding.severity, confidence),
            consensus="",
            support=0.0,
            oppose=0.0,
            path=finding.path,
            lines=finding.lines,
            count=finding.count,
            code=finding.code,
            message=finding.message,
            advice=finding.advice,
            says=[
                Testimony(
                    profile.name,
                    profile.lineage,
                    finding.rules,
                    finding.message,
                    finding.severity.name.lower(),
                    confidence,
                )
            ],
            objects=[],
        )
        for finding, confidence in findings_of(outcome, tree)
    ]
