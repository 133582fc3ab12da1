"""bandit, as a library in worker processes; ``nosec`` comments are honoured.

It is the slowest of the analyzers (about 100 µs a line), and reads each file apart from the others, so its
files are shared out over as many processes as there are slots.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from smesh_agent.analyzers.base import Observation, Outcome, Severity, Unread
from smesh_agent.analyzers.host import WorkerAnalyzer
from smesh_agent.analyzers.rules import CREDENTIALS, rules

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smesh_agent.analyzers.worker import Source

__all__ = ["Bandit", "read"]

_CONFIDENCES = {"UNDEFINED": 0.3, "LOW": 0.3, "MEDIUM": 0.6, "HIGH": 0.9}
_SEVERITIES = {
    "UNDEFINED": Severity.INFO,
    "LOW": Severity.LOW,
    "MEDIUM": Severity.MEDIUM,
    "HIGH": Severity.HIGH,
}
# bandit points at the argument shell=True, ruff at the call it is in: the call is what is to be changed.
_AT_THE_CALL = frozenset({"B602"})
_QUOTED_VALUE = re.compile(r":\s*'.*'\s*\Z", re.DOTALL)


class Bandit(WorkerAnalyzer):
    """Common security errors in Python."""

    name = "bandit"
    role = "security"
    lineage = "bandit-rules"
    separable = True


def read(sources: Iterable[Source]) -> Outcome:
    """What bandit says of these files; runs in the worker."""
    from bandit.core.config import BanditConfig  # noqa: PLC0415 - heavy, and for the worker only
    from bandit.core.manager import BanditManager  # noqa: PLC0415

    manager = BanditManager(BanditConfig(), "file")
    observations = list[Observation]()
    unread = list[Unread]()
    for source in sources:
        manager.files_list = [f"./{source.path}"]
        manager.results, manager.skipped = [], []
        manager.metrics = type(manager.metrics)()
        manager.run_tests()
        unread += [Unread(source.path, str(reason)) for _, reason in manager.skipped]
        observations += [_observation(source.path, issue) for issue in manager.results]
    return Outcome(observations, unread)


def _observation(path: str, issue: Any) -> Observation:
    usual = rules().bandit.get(issue.test_id)
    kind = usual.kind if usual else _own_kind(issue)
    message = str(issue.text).strip()
    if kind == CREDENTIALS:  # what may be a credential goes no further than the file it is in
        message = _QUOTED_VALUE.sub(".", message)
    return Observation(
        rule=issue.test_id,
        path=path,
        line=max(1, min(issue.linerange) if issue.test_id in _AT_THE_CALL else issue.lineno),
        message=message,
        kind=kind,
        severity=_SEVERITIES[issue.severity],
        confidence=_CONFIDENCES[issue.confidence],
        advice=usual.advice if usual else f"{message.rstrip('.')}.",
    )


def _own_kind(issue: Any) -> str:
    return f"CWE-{issue.cwe.id}" if issue.cwe.id else str(issue.test).replace("_", "-")
