"""radon: functions with too many paths through them (McCabe's cyclomatic complexity, 1976).

Only functions and methods are judged. A class's figure is the mean of its methods', which says nothing
about any line of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smesh_agent.analyzers.base import Observation, Outcome, Unread
from smesh_agent.analyzers.host import WorkerAnalyzer
from smesh_agent.analyzers.rules import rules
from smesh_agent.analyzers.worker import why_unparsed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smesh_agent.analyzers.worker import Source

__all__ = ["COMPLEXITY_MAX", "Radon", "read"]

# McCabe's own limit.
COMPLEXITY_MAX = 10


class Radon(WorkerAnalyzer):
    """Cyclomatic complexity."""

    name = "radon"
    role = "style"
    lineage = "radon"


def read(sources: Iterable[Source]) -> Outcome:
    """The functions over the limit; runs in the worker."""
    from radon.complexity import cc_visit  # noqa: PLC0415 - heavy, and for the worker only

    observations, unread = list[Observation](), list[Unread]()
    for source in sources:
        try:
            blocks = cc_visit(source.text())
        except (SyntaxError, ValueError, RecursionError, MemoryError, OSError) as error:
            unread.append(Unread(source.path, why_unparsed(error)))
        else:
            observations += [_observation(source.path, block) for block in blocks if _is_complex(block)]
    return Outcome(observations, unread)


def _is_complex(block: Any) -> bool:
    return hasattr(block, "is_method") and block.complexity > COMPLEXITY_MAX


def _observation(path: str, block: Any) -> Observation:
    from radon.complexity import cc_rank  # noqa: PLC0415

    grade = cc_rank(block.complexity)
    rule = rules().radon[grade]
    return Observation(
        rule=f"CC-{grade}",
        path=path,
        line=block.lineno,
        message=f"`{block.fullname}` has {block.complexity} paths through it (grade {grade}).",
        kind=rule.kind,
        severity=rule.severity,
        confidence=rule.confidence,
        advice=rule.advice,
    )
