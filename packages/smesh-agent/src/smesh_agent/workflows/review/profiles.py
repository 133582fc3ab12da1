"""Who takes part in a review by default.

A witness for each analyzer, and five that know the context of a line and speak only against findings: where the line
stands, what its literal is, what it is a way of saying, who uses what is called unused, and what its author has said
about it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from smesh_agent.analyzers import default_analyzers
from smesh_agent.analyzers.counter_evidence import (
    FOUND_BY_NAME,
    collected_evidence,
    idiom_evidence,
    named_elsewhere_evidence,
    nosec_evidence,
    reexport_evidence,
    registered_evidence,
    secret_counter_evidence,
    test_code_evidence,
)
from smesh_agent.analyzers.rules import CREDENTIALS
from smesh_agent.workflows.review.witness import Profile

if TYPE_CHECKING:
    from smesh_agent.tree import Tree
    from smesh_agent.workflows.review.messages import Finding

__all__ = ["AuthorMarks", "Idioms", "Layout", "Literals", "Names", "default_profiles"]


class Layout:
    """Knows which files are test code, and what means nothing there."""

    async def against(self, tree: Tree, finding: Finding) -> str | None:  # noqa: ARG002 - the path says it all
        """See `CounterEvidence.against`."""
        return test_code_evidence(finding.path, finding.kind, finding.rules)


class Literals:
    """Knows what a credential does not look like."""

    async def against(self, tree: Tree, finding: Finding) -> str | None:
        """See `CounterEvidence.against`."""
        if finding.kind != CREDENTIALS:
            return None
        return secret_counter_evidence(tree.line(finding.path, finding.lines[0]))


class Idioms:
    """Knows lines that look wrong and are meant."""

    async def against(self, tree: Tree, finding: Finding) -> str | None:
        """See `CounterEvidence.against`."""
        return idiom_evidence(tree.line(finding.path, finding.lines[0]), finding.kind)


class AuthorMarks:
    """Reads the comments by which authors answer one analyzer, also where another one asks."""

    async def against(self, tree: Tree, finding: Finding) -> str | None:
        """See `CounterEvidence.against`."""
        if not finding.kind.startswith("CWE-"):
            return None
        return nosec_evidence(tree.line(finding.path, finding.lines[0]))


class Names:
    """Knows who uses what is said to be unused; the first time it has to look, it reads the whole tree."""

    async def against(self, tree: Tree, finding: Finding) -> str | None:
        """See `CounterEvidence.against`."""
        path, kind, line, message = finding.path, finding.kind, finding.lines[0], finding.message
        if kind == "unused-import":
            return await asyncio.to_thread(reexport_evidence, tree, path=path, line=line, message=message)
        by_runner = collected_evidence(path, kind=kind, message=message, line_text=tree.line(path, line))
        if by_runner or kind not in FOUND_BY_NAME:
            return by_runner
        return registered_evidence(tree, path=path, line=line, kind=kind) or (
            await asyncio.to_thread(named_elsewhere_evidence, tree, path=path, kind=kind, message=message)
        )


def default_profiles(*, jobs: int | None = None, timeout_s: float | None = None) -> list[Profile]:
    """The witnesses of a review.

    Args:
        jobs: analyzer processes at once; the number of cores by default.
        timeout_s: seconds an analyzer may take; by the tree's size by default.
    """
    analyzers = default_analyzers(jobs=jobs, timeout_s=timeout_s)
    return [
        *(Profile(a.name, a.role, a.lineage, analyzer=a) for a in analyzers),
        Profile("layout", "context", "layout", counter_evidence=Layout()),
        Profile("literals", "context", "literals", counter_evidence=Literals()),
        Profile("idioms", "context", "idioms", counter_evidence=Idioms()),
        Profile("names", "context", "names", counter_evidence=Names()),
        Profile("author-marks", "context", "author", counter_evidence=AuthorMarks()),
    ]
