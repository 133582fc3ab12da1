"""The report of a review: what an observer reads from the field when it has settled, or was stopped.

Findings are ranked by severity and value together: severity counts 8, 4, 2, 1 from high to info, times the value,
so that a high finding at half its value stands beside a medium one at its full. Nothing is left out because it was
opposed: an opposed finding is worth less and says who opposes it and why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from smesh_core import StanceKind

from smesh_agent.analyzers.base import Severity
from smesh_agent.analyzers.rules import CREDENTIALS
from smesh_agent.redaction import redacted
from smesh_agent.workflows.review.messages import LINES_MAX, Finding, UnreadFile, decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from smesh_core import Reading, Signal

    from smesh_agent.tree import Tree
    from smesh_agent.work import Outcome
    from smesh_agent.workflows.review.witness import Profile

__all__ = [
    "STOPPED",
    "Objection",
    "Report",
    "ReportedFinding",
    "Source",
    "Testimony",
    "Unread",
    "WitnessSummary",
    "at_least",
    "build",
    "gates",
    "rank_of",
    "ranked",
    "source_of",
    "summary_of",
    "without_credentials",
]

STOPPED: Final = "the review was stopped before it had ended"
_SEVERITY_WEIGHT: Final = {Severity.HIGH: 8.0, Severity.MEDIUM: 4.0, Severity.LOW: 2.0, Severity.INFO: 1.0}


class Testimony(msgspec.Struct, frozen=True):
    """A witness that makes a finding, and in which words."""

    witness: str
    lineage: str
    rules: list[str]
    message: str
    severity: str
    confidence: float


class Objection(msgspec.Struct, frozen=True):
    """A witness that speaks against a finding, and why."""

    witness: str
    lineage: str
    reason: str


class ReportedFinding(msgspec.Struct, frozen=True):
    """One statement about one place, as the field has it.

    Attributes:
        id: the statement's id in hexadecimal.
        kind: ``CWE-78`` where a CWE applies, else a slug.
        severity: the highest that a witness gives it: ``high``, ``medium``, ``low`` or ``info``.
        value: effective strength in the field, in [0, 1].
        rank: severity's weight times value; the report is in its order.
        consensus: ``reached``, ``rejected`` or ``open``.
        support: votes for it, one a lineage.
        oppose: votes against it, one a lineage.
        path: POSIX path relative to the tree's root.
        lines: line numbers, from 1; the first 200.
        count: how often the line stands in the file.
        code: the line.
        message: the surest witness's sentence.
        advice: what to do about it.
        says: who makes it, surest first.
        objects: who speaks against it.
    """

    id: str
    kind: str
    severity: str
    value: float
    rank: float
    consensus: str
    support: float
    oppose: float
    path: str
    lines: list[int]
    count: int
    code: str
    message: str
    advice: str
    says: list[Testimony]
    objects: list[Objection]

    @property
    def is_contested(self) -> bool:
        """Whether as much weight is against it as for it."""
        return self.oppose > 0.0 and self.oppose >= self.support

    @property
    def is_corroborated(self) -> bool:
        """Whether witnesses of two lineages or more make it."""
        return len({testimony.lineage for testimony in self.says}) > 1


class Unread(msgspec.Struct, frozen=True):
    """A file that was not (wholly) read: by whom, and why."""

    path: str
    witnesses: list[str]
    reason: str


class WitnessSummary(msgspec.Struct, frozen=True):
    """What became of one witness: ``done``, ``failed`` with a reason, or ``stopped`` before it had ended."""

    name: str
    role: str
    lineage: str
    state: str
    findings: int
    objections: int
    reason: str


class Source(msgspec.Struct, frozen=True):
    """What was reviewed."""

    path: str
    digest: str
    files: int
    python_files: int
    lines: int
    binary_files: int


class Report(msgspec.Struct, frozen=True):
    """All that came of one review; its JSON is documented in ``docs/reference/review.md``.

    Attributes:
        schema: ``smesh.review/1``.
        mode: ``field``, or ``union`` for the analyzers without a field.
        source: what was reviewed.
        summary: how many findings there are of each severity, how many witnesses of two lineages or more make, and
            how many are contested.
        findings: in the order of their rank.
        unread: files named as not read, by path.
        witnesses: what became of each.
        signals: emissions and stances the field held at the end; 0 without a field.
        interrupted: whether it was stopped before the field had settled.
        duration_s: from start to end.
    """

    schema: str
    mode: str
    source: Source
    summary: dict[str, int]
    findings: list[ReportedFinding]
    unread: list[Unread]
    witnesses: list[WitnessSummary]
    signals: int
    interrupted: bool
    duration_s: float


class _Names:
    """Who is who, by node id."""

    def __init__(self, profiles: Mapping[bytes, Profile]) -> None:
        self._profiles = profiles

    def name(self, node: bytes) -> str:
        return self._profiles[node].name if node in self._profiles else node.hex()[:8]

    def lineage(self, node: bytes) -> str:
        return self._profiles[node].lineage if node in self._profiles else ""


def build(
    tree: Tree,
    readings: Iterable[Reading],
    profiles: Mapping[bytes, Profile],
    outcome: Outcome | None,
    *,
    signals: int,
    duration_s: float,
) -> Report:
    """Make the report of one tree.

    Args:
        tree: what was reviewed.
        readings: all that the field says of it.
        profiles: the witnesses by node id.
        outcome: what came of their tasks; None where it was stopped before they were said.
        signals: emissions and stances in the field.
        duration_s: how long it took.
    """
    names = _Names(profiles)
    findings: list[ReportedFinding] = []
    unread: list[Unread] = [Unread(skip.path, [], skip.reason) for skip in tree.skipped]
    counts = dict.fromkeys(profiles, 0)
    objections = dict.fromkeys(profiles, 0)
    for reading in readings:
        # Surest first, then by name: who happened to be first must not show.
        emissions = sorted(reading.emissions, key=lambda said: (-said.confidence, names.name(said.author)))
        strongest = emissions[0]
        match decode(strongest):
            case Finding():
                findings.append(_reported(reading, emissions, names))
                for position in reading.positions:
                    tally = objections if position.kind is StanceKind.OPPOSE else counts
                    if position.author in tally and position.kind is not StanceKind.WITHDRAW:
                        tally[position.author] += 1
            case UnreadFile(path=path, reason=reason):
                unread.append(Unread(path, [names.name(said.author) for said in emissions], reason))
            case _:
                pass
    return Report(
        schema="smesh.review/1",
        mode="field",
        source=source_of(tree),
        summary=summary_of(findings),
        findings=ranked(without_credentials(findings)),
        unread=sorted(unread, key=lambda entry: (entry.path, entry.reason)),
        witnesses=[_summary(profile, outcome, counts[node], objections[node]) for node, profile in profiles.items()],
        signals=signals,
        interrupted=outcome is None or outcome.interrupted,
        duration_s=duration_s,
    )


def source_of(tree: Tree) -> Source:
    """What a tree holds, in numbers."""
    python = tree.python()
    return Source(
        # A path may hold bytes that are no text; a report is text throughout.
        path=str(tree.root).encode(errors="surrogateescape").decode(errors="backslashreplace"),
        digest=tree.digest,
        files=len(tree.files),
        python_files=len(python),
        lines=sum(file.lines for file in python),
        binary_files=tree.binary,
    )


def summary_of(findings: Iterable[ReportedFinding]) -> dict[str, int]:
    """The numbers at the head of a report."""
    summary = dict.fromkeys(["high", "medium", "low", "info", "corroborated", "contested"], 0)
    for finding in findings:
        summary[finding.severity] += 1
        summary["corroborated"] += finding.is_corroborated
        summary["contested"] += finding.is_contested
    return summary


def at_least(report: Report, severity: Severity) -> Report:
    """The report without the findings below a severity."""
    kept = [finding for finding in report.findings if Severity[finding.severity.upper()] >= severity]
    return msgspec.structs.replace(report, findings=kept, summary=summary_of(kept))


def gates(finding: ReportedFinding, severity: Severity) -> bool:
    """Whether a finding fails a build that admits nothing of this severity: it is as bad, and not contested."""
    return Severity[finding.severity.upper()] >= severity and not finding.is_contested


def rank_of(severity: Severity, value: float) -> float:
    """Severity's weight times value."""
    return _SEVERITY_WEIGHT[severity] * value


def ranked(findings: Iterable[ReportedFinding]) -> list[ReportedFinding]:
    """Highest rank first; equal ranks by support, then by place."""
    return sorted(findings, key=lambda f: (-f.rank, -f.support, f.path, f.lines, f.kind))


def without_credentials(findings: list[ReportedFinding]) -> list[ReportedFinding]:
    """The findings with no line shown in full that any of them calls a credential.

    A report ends up in logs, and another finding about the same line would repeat what that one must not.
    """
    places = {(f.path, line) for f in findings if f.kind == CREDENTIALS for line in f.lines}
    return [
        msgspec.structs.replace(f, code=redacted(f.code)) if any((f.path, line) in places for line in f.lines) else f
        for f in findings
    ]


def _reported(reading: Reading, emissions: list[Signal], names: _Names) -> ReportedFinding:
    """One finding, in the words of the first of those that make it."""
    said = [(emission, message) for emission in emissions if isinstance(message := decode(emission), Finding)]
    finding = said[0][1]
    severity = max(message.severity for _, message in said)
    lines = sorted({line for _, message in said for line in message.lines})
    return ReportedFinding(
        id=reading.statement.hex(),
        kind=finding.kind,
        severity=severity.name.lower(),
        value=reading.value,
        rank=rank_of(severity, reading.value),
        consensus=reading.verdict.state.value,
        support=reading.verdict.support,
        oppose=reading.verdict.oppose,
        path=finding.path,
        lines=lines[:LINES_MAX],
        count=max(len(lines), *(message.count for _, message in said), 0),
        code=finding.code,
        message=finding.message,
        advice=finding.advice,
        says=[
            Testimony(
                witness=names.name(emission.author),
                lineage=names.lineage(emission.author),
                rules=message.rules,
                message=message.message,
                severity=message.severity.name.lower(),
                confidence=emission.confidence,
            )
            for emission, message in said
        ],
        objects=[
            Objection(names.name(position.author), names.lineage(position.author), position.reason)
            for position in reading.positions
            if position.kind is StanceKind.OPPOSE
        ],
    )


def _summary(profile: Profile, outcome: Outcome | None, findings: int, objections: int) -> WitnessSummary:
    state, reason = _how_it_ended(profile, outcome)
    return WitnessSummary(profile.name, profile.role, profile.lineage, state, findings, objections, reason)


def _how_it_ended(profile: Profile, outcome: Outcome | None) -> tuple[str, str]:
    """A witness's state and, unless it is done, the reason."""
    if outcome is None:
        return "stopped", STOPPED
    errors = next(agent.errors for agent in outcome.agents if agent.name == profile.name)
    if errors:
        return "failed", errors[0]
    for task in outcome.tasks:
        if task.skill != profile.name or task.state == "done":
            continue
        if task.state == "failed":
            return "failed", task.why
        return ("stopped", STOPPED) if outcome.interrupted else ("failed", "it ended without a result")
    # Who only weighs what others find is at it for as long as the run lasts.
    return ("stopped", STOPPED) if outcome.interrupted and profile.analyzer is None else ("done", "")
