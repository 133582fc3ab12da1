"""Who takes part in a review by default.

A witness for each analyzer, and four that know the context of a line and speak only against findings: where the line
stands, what its literal is, who else names what is called unused, and what its author has said about it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from smesh_agent.analyzers import default_analyzers
from smesh_agent.analyzers.counter_evidence import (
    named_elsewhere_evidence,
    nosec_evidence,
    reexport_evidence,
    secret_counter_evidence,
    test_code_evidence,
)
from smesh_agent.analyzers.rules import CREDENTIALS
from smesh_agent.workflows.review.witness import Profile

if TYPE_CHECKING:
    from smesh_agent.tree import Tree
    from smesh_agent.workflows.review.messages import Finding

__all__ = ["AuthorMarks", "Layout", "Literals", "Names", "default_profiles"]

_UNUSED: Final = ("unused-function", "unused-class", "unused-method", "unused-attribute", "unused-property")


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


class AuthorMarks:
    """Reads the comments by which authors answer one analyzer, also where another one asks."""

    async def against(self, tree: Tree, finding: Finding) -> str | None:
        """See `CounterEvidence.against`."""
        if not finding.kind.startswith("CWE-"):
            return None
        return nosec_evidence(tree.line(finding.path, finding.lines[0]))


class Names:
    """Knows who else in the tree names what is said to be unused; reads the whole tree once, when first asked."""

    async def against(self, tree: Tree, finding: Finding) -> str | None:
        """See `CounterEvidence.against`."""
        line = finding.lines[0]
        if finding.kind == "unused-import":
            return await asyncio.to_thread(
                reexport_evidence, tree, path=finding.path, line=line, message=finding.message
            )
        if finding.kind in _UNUSED:
            return await asyncio.to_thread(
                named_elsewhere_evidence, tree, path=finding.path, line=line, message=finding.message
            )
        return None


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
        Profile("names", "context", "names", counter_evidence=Names()),
        Profile("author-marks", "context", "author", counter_evidence=AuthorMarks()),
    ]
