"""A witness: an agent that senses a task or a finding and says what it has evidence for.

Every witness runs the same loop: wait for an element, act on it, ask for the next. A task makes it run its analyzer
and emit what that saw; a finding by somebody else makes it consult its own evidence against findings of that kind
and, where it has any, inhibit with the reason. It supports a finding only by making it itself: the same kind at the
same line is the same statement. Nobody calls a witness, and no witness waits for another.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
from smesh_core import DecayCurve, GoneError, Signal, SignalType

from smesh_agent.analyzers.base import Analyzer
from smesh_agent.analyzers.rules import CREDENTIALS
from smesh_agent.errors import AnalyzerFailedError
from smesh_agent.redaction import redacted
from smesh_agent.workflows.review.messages import (
    LINES_MAX,
    TEXT_CHARACTERS_MAX,
    Failure,
    Finding,
    Message,
    Result,
    Status,
    Task,
    UnreadFile,
    decode,
    encode,
    signal_type,
    subject_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from smesh_runtime import Medium

    from smesh_agent.analyzers.base import Observation, Outcome
    from smesh_agent.tree import Tree

__all__ = ["CounterEvidence", "Profile", "Witness", "findings_of"]

SIGNAL_LIFE_NS: Final = 24 * 3600 * 10**9
"""Findings and results do not fade; they outlive any run."""


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
    """One agent.

    Args:
        profile: who it is and what it can do.
        medium: its access to the field.
        trees: the trees it has at hand, by digest.
    """

    def __init__(self, profile: Profile, medium: Medium, trees: Mapping[str, Tree]) -> None:
        self.profile = profile
        self._medium = medium
        self._trees = trees
        # Findings are for those who have something to hold against them.
        senses = [SignalType.COORDINATION] + [SignalType.DATA] * (profile.counter_evidence is not None)
        self._inbox = medium.subscribe(types=senses)
        self._said: set[bytes] = set()
        self._tree: Tree | None = None

    async def run(self) -> None:
        """Sense and act until the medium is closed; whatever goes wrong is left in the field as a failure."""
        try:
            async for element in self._inbox:
                if isinstance(element, Signal) and element.statement not in self._said:
                    await self._act(element)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - an agent that breaks must say so, whatever broke it
            await self._say(Failure(f"{type(error).__name__}: {error}"))
            await self._say(Status("failed", len(self._said)))
        finally:
            self._inbox.close()

    async def _act(self, signal: Signal) -> None:
        match decode(signal):
            case Task(tree=digest) if digest in self._trees:
                await self._review(self._trees[digest])
            case Finding() as finding:
                await self._check(signal.statement, finding)
            case _:
                pass

    async def _review(self, tree: Tree) -> None:
        self._tree = tree
        if self.profile.analyzer is None:
            await self._say(Status("checking", 0))
            return
        await self._say(Status("reading", 0))
        try:
            outcome = await self.profile.analyzer.run(tree)
        except AnalyzerFailedError as error:
            await self._say(Failure(error.reason))
            await self._say(Status("failed", 0))
            return
        findings = await asyncio.to_thread(findings_of, outcome, tree)
        await self._say(Status("emitting", len(findings)))
        for finding, confidence in findings:
            self._said.add(await self._say(finding, confidence))
        for unread in outcome.unread:
            await self._say(UnreadFile(unread.path, unread.reason))
        await self._say(Result(tree.digest, len(findings)))
        await self._say(Status("done", len(findings)))

    async def _check(self, statement: bytes, finding: Finding) -> None:
        evidence = self.profile.counter_evidence
        if evidence is None or self._tree is None:
            return
        reason = await evidence.against(self._tree, finding)
        if reason is None:
            return
        try:
            await self._medium.inhibit(statement, reason=_shortened(reason))
        except GoneError:
            return  # it ended while this witness was thinking
        self._said.add(statement)

    async def _say(self, message: Message, confidence: float = 1.0) -> bytes:
        """Emit a message and return its statement; only a status fades."""
        fades = isinstance(message, Status)
        said = await self._medium.emit(
            encode(message),
            type=signal_type(message),
            subject=subject_of(message),
            ttl_ns=SIGNAL_LIFE_NS,
            confidence=confidence,
            decay=DecayCurve.EXPONENTIAL if fades else DecayCurve.STEP,
        )
        return said.statement


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
