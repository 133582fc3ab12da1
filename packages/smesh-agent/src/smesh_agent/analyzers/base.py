"""What an analyzer is: something that reads a tree of source once and says what it saw where.

An analyzer knows nothing of signals. It is the evidence a witness agent acts on: the agent turns each
`Observation` into a finding in the field. Analyzers run in child processes, so that one that crashes or
hangs takes nothing with it.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from smesh_agent.tree import Tree

__all__ = ["Analyzer", "Observation", "Outcome", "Severity", "Unread"]


class Severity(IntEnum):
    """How bad a finding is if it is true; ordered, so that levels compare."""

    INFO = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3


class Observation(msgspec.Struct, frozen=True):
    """One thing one analyzer says about one place.

    Attributes:
        rule: the analyzer's own name for what it looks for, such as ``B602``, ``S602`` or ``F401``.
        path: POSIX path relative to the tree's root.
        line: first line concerned, counted from 1.
        message: one sentence.
        kind: the class of the finding: ``CWE-78`` where a CWE applies, otherwise a lower-case slug that
            analyzers which mean the same thing share, such as ``unused-import``.
        severity: how bad it is if it is true.
        confidence: how sure the analyzer is, in (0, 1].
        advice: what to do about it, one sentence.
    """

    rule: str
    path: str
    line: int
    message: str
    kind: str
    severity: Severity
    confidence: float
    advice: str


class Unread(msgspec.Struct, frozen=True):
    """A file an analyzer was given and could not read or parse, and why in a few words."""

    path: str
    reason: str


class Outcome(msgspec.Struct, frozen=True):
    """All that one analyzer found in one tree."""

    observations: list[Observation]
    unread: list[Unread]


class Analyzer(Protocol):
    """Evidence for one witness.

    Attributes:
        name: unique among analyzers, such as ``bandit``; it names the witness.
        role: ``security``, ``performance``, ``style`` or ``documentation``.
        lineage: analyzers that share rules share a lineage, and count once between them.
    """

    name: str
    role: str
    lineage: str

    async def run(self, tree: Tree) -> Outcome:
        """Read the whole tree once.

        Raises:
            AnalyzerFailedError: it crashed, hung or answered something unreadable.
        """
        ...
