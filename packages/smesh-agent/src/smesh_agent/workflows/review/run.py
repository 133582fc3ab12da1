"""A review: put a task into a field, let witnesses act on it, and read the report from the field.

`review` starts the witnesses and says what is to be reviewed; from then on it only waits for the field to settle.
It never calls a witness, and a witness that dies keeps nobody waiting. `union` runs the same analyzers without a
field, for comparison.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from smesh_core import DecayCurve, Observer, Signal, SignalType, node_id
from smesh_runtime import LocalField

from smesh_agent.analyzers.base import Outcome
from smesh_agent.errors import AnalyzerFailedError
from smesh_agent.workflows.review.messages import Status, Task, decode, encode, signal_type, subject_of
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
from smesh_agent.workflows.review.witness import SIGNAL_LIFE_NS, Profile, Witness, findings_of

if TYPE_CHECKING:
    from smesh_runtime import Clock, Medium

    from smesh_agent.tree import Tree

__all__ = ["Watcher", "review", "union"]

Watcher = Callable[[str, Status], None]
"""Told, by a witness's name, what it is doing."""

_READER = "reader"


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
    reader = field.join(_READER)
    media = {profile.name: field.join(profile.name) for profile in profiles}
    witnesses = [Witness(profile, media[profile.name], {tree.digest: tree}) for profile in profiles]
    running = [asyncio.create_task(witness.run(), name=witness.profile.name) for witness in witnesses]
    if watcher is not None:
        running.append(asyncio.create_task(_watch(reader, {n: p.name for n, p in roster.items()}, watcher)))
    try:
        task = Task(tree.digest)
        await reader.emit(
            encode(task),
            type=signal_type(task),
            subject=subject_of(task),
            ttl_ns=SIGNAL_LIFE_NS,
            decay=DecayCurve.STEP,
        )
        interrupted = await _settled_or_stopped(reader, stop)
        for agent in running:
            agent.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        readings = await reader.sense(threshold=0.0, types=[SignalType.DATA, SignalType.ALERT, SignalType.RESPONSE])
        return build(
            tree,
            readings,
            roster,
            signals=len(field.field),
            interrupted=interrupted,
            duration_s=time.perf_counter() - started_s,
        )
    finally:
        for agent in running:
            agent.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for medium in (reader, *media.values()):
            await medium.close()


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


async def _settled_or_stopped(medium: Medium, stop: asyncio.Event | None) -> bool:
    """Wait for the field to settle, or to be told to stop; returns whether it was the latter."""
    if stop is None:
        await medium.settled()
        return False
    settling = asyncio.create_task(medium.settled())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({settling, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return not settling.done()
    finally:
        settling.cancel()
        stopping.cancel()
        await asyncio.gather(settling, stopping, return_exceptions=True)


async def _watch(medium: Medium, names: Mapping[bytes, str], watcher: Watcher) -> None:
    """Tell the watcher what the witnesses say of themselves."""
    async for element in medium.subscribe(types=[SignalType.HEARTBEAT]):
        if isinstance(element, Signal) and isinstance(status := decode(element), Status) and element.author in names:
            watcher(names[element.author], status)


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
