"""Analyzers: the evidence that witnesses act on. Importing this loads none of the libraries they wrap."""

from __future__ import annotations

from smesh_agent.analyzers.bandit import Bandit
from smesh_agent.analyzers.base import Analyzer, Observation, Outcome, Severity, Unread
from smesh_agent.analyzers.process import Slots
from smesh_agent.analyzers.radon import Radon
from smesh_agent.analyzers.ruff import RuffDocs, RuffPerformance, RuffSecurity, RuffStyle
from smesh_agent.analyzers.secrets import Secrets
from smesh_agent.analyzers.vulture import Vulture

__all__ = [
    "ALL_ANALYZERS",
    "Analyzer",
    "Bandit",
    "Observation",
    "Outcome",
    "Radon",
    "RuffDocs",
    "RuffPerformance",
    "RuffSecurity",
    "RuffStyle",
    "Secrets",
    "Severity",
    "Slots",
    "Unread",
    "Vulture",
    "default_analyzers",
]

# The slowest first: when slots are few, what takes longest should not start last.
ALL_ANALYZERS: tuple[
    type[Bandit | Secrets | Vulture | Radon | RuffSecurity | RuffStyle | RuffPerformance | RuffDocs], ...
] = (
    Bandit,
    Secrets,
    Vulture,
    Radon,
    RuffSecurity,
    RuffStyle,
    RuffPerformance,
    RuffDocs,
)


def default_analyzers(*, jobs: int | None = None, timeout_s: float | None = None) -> tuple[Analyzer, ...]:
    """One of each analyzer, to be run together in one event loop.

    Args:
        jobs: how many child processes may run at once over all of them; the number of cores by default.
        timeout_s: how long a child may take; by default 120 s, or more for a large tree.
    """
    slots = Slots(jobs)
    return tuple(analyzer(slots=slots, timeout_s=timeout_s) for analyzer in ALL_ANALYZERS)
