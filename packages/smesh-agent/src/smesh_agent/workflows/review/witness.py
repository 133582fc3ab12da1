"""A witness: an agent that reads a tree or weighs what others found there, and says what it has evidence for.

To the work protocol it is an agent like any other. To read the tree with its analyzer is a task, and what that saw it
says beside the result. A finding by somebody else makes it consult its own evidence against findings of that kind and,
where it has any, inhibit with the reason. It supports a finding only by making it itself: the same kind at the same
line is the same statement.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from smesh_core.payload import Task

from smesh_agent.analyzers.base import Analyzer
from smesh_agent.analyzers.rules import CREDENTIALS
from smesh_agent.errors import AnalyzerFailedError, WorkFailedError
from smesh_agent.redaction import redacted
from smesh_agent.work import Answer, Opinion, Statement
from smesh_agent.work import Profile as AgentProfile
from smesh_agent.workflows.review.messages import (
    LINES_MAX,
    TEXT_CHARACTERS_MAX,
    Finding,
    Message,
    UnreadFile,
    decode,
    encode,
    signal_type,
    subject_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from smesh_core import Signal
    from smesh_core.payload import Result

    from smesh_agent.analyzers.base import Observation, Outcome
    from smesh_agent.tree import Tree

__all__ = ["CounterEvidence", "Profile", "Witness", "findings_of"]

_RUN_S_MAX: Final = 24 * 3600
"""An analyzer has a time limit of its own, by the tree's size."""


class CounterEvidence(Protocol):
    """Something a witness knows that can speak against a finding."""

    async def against(self, tree: Tree, finding: Finding) -> str | None:
        """Why the finding does not hold, in one sentence; None where this evidence says nothing about it."""
        ...


class Profile(msgspec.Struct, frozen=True):
    """Who a witness is.

    Attributes:
        name: unique in a run; its identity in the field is made from it.
        role: ``security``, ``performance``, ``style``, ``documentation`` or ``context``.
        lineage: witnesses that share rules share one, and have one vote between them.
        analyzer: what it reads trees with, if it does.
        counter_evidence: what it holds against others' findings, if anything.
    """

    name: str
    role: str
    lineage: str
    analyzer: Analyzer | None = None
    counter_evidence: CounterEvidence | None = None


class Witness:
    """A witness's part in the review of one tree.

    Args:
        profile: who it is and what it can do.
        tree: what is reviewed.

    Attributes:
        findings: how many it made.
    """

    def __init__(self, profile: Profile, tree: Tree) -> None:
        self.profile = profile
        self.findings = 0
        self._tree = tree

    def tasks(self) -> list[Task]:
        """What there is to do for it: to read the tree, if it has an analyzer."""
        if self.profile.analyzer is None:
            return []
        what = f"read the tree {self._tree.digest[:12]} as {self.profile.name} does"
        return [Task(what=what, skill=self.profile.name, run_s_max=_RUN_S_MAX)]

    def agent(self) -> AgentProfile:
        """Who it is to the work protocol."""
        return AgentProfile(
            name=self.profile.name,
            skills=(self.profile.name,),
            work=self._read if self.profile.analyzer is not None else None,
            weigh=self._weigh if self.profile.counter_evidence is not None else None,
            lineage=self.profile.lineage,
        )

    async def _read(self, _task: Task, _before: Mapping[str, Result]) -> Answer:
        """Read the tree; what breaks an analyzer once breaks it again, so nobody need try a second time."""
        if self.profile.analyzer is None:
            raise AssertionError("only a witness with an analyzer has a task")
        try:
            outcome = await self.profile.analyzer.run(self._tree)
            findings = await asyncio.to_thread(findings_of, outcome, self._tree)
        except AnalyzerFailedError as error:
            raise WorkFailedError(error.reason, retryable=False) from error
        except Exception as error:
            raise WorkFailedError(f"{type(error).__name__}: {error}", retryable=False) from error
        self.findings = len(findings)
        return Answer(
            output=f"{len(findings)} findings",
            statements=(
                *(_said(finding, confidence) for finding, confidence in findings),
                *(_said(UnreadFile(unread.path, unread.reason)) for unread in outcome.unread),
            ),
        )

    async def _weigh(self, signal: Signal) -> Opinion | None:
        finding = decode(signal)
        if not isinstance(finding, Finding) or self.profile.counter_evidence is None:
            return None
        reason = await self.profile.counter_evidence.against(self._tree, finding)
        return None if reason is None else Opinion(supports=False, reason=_shortened(reason))


def _said(message: Message, confidence: float = 1.0) -> Statement:
    return Statement(
        payload=encode(message), type=signal_type(message), subject=subject_of(message), confidence=confidence
    )


def findings_of(outcome: Outcome, tree: Tree) -> list[tuple[Finding, float]]:
    """What one analyzer saw, one finding with its confidence for each (kind, path, normalised line).

    Where several observations make one finding, the most severe one, then the surest, speaks for it.
    """
    places: dict[tuple[str, str, str], list[Observation]] = {}
    for seen in outcome.observations:
        key = (seen.kind, seen.path, _line_hash(tree.normalised(seen.path, seen.line)))
        places.setdefault(key, []).append(seen)
    return [(_finding(key, seen, tree), max(one.confidence for one in seen)) for key, seen in places.items()]


def _finding(key: tuple[str, str, str], seen: list[Observation], tree: Tree) -> Finding:
    kind, path, line_hash = key
    speaker = max(seen, key=lambda one: (one.severity, one.confidence, -one.line))
    lines = _distinct(one.line for one in seen)
    return Finding(
        kind=kind,
        path=path,
        line_hash=line_hash,
        lines=lines[:LINES_MAX],
        count=len(lines),
        code=_shortened(_shown(kind, tree.line(path, lines[0]).strip())),
        rules=sorted({one.rule for one in seen}),
        message=_shortened(speaker.message),
        severity=speaker.severity,
        advice=_shortened(speaker.advice),
    )


def _shown(kind: str, code: str) -> str:
    """A line as a report may show it: a report ends up in logs, so a credential is not repeated in it."""
    return redacted(code) if kind == CREDENTIALS else code


def _line_hash(normalised: str) -> str:
    return hashlib.sha256(normalised.encode(errors="surrogatepass")).hexdigest()[:32]


def _distinct(lines: Iterable[int]) -> list[int]:
    return sorted(set(lines))


def _shortened(text: str) -> str:
    return text if len(text) <= TEXT_CHARACTERS_MAX else text[: TEXT_CHARACTERS_MAX - 1] + "…"
