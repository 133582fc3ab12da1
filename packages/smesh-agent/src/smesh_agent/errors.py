"""What can go wrong in the agents, as one family of exceptions."""

from __future__ import annotations

__all__ = ["AgentError", "AnalyzerFailedError", "TreeError", "WorkFailedError"]


class AgentError(Exception):
    """Base of every error that smesh-agent raises on purpose; the message is one line."""


class TreeError(AgentError):
    """The path to be read is missing, is not a directory, or cannot be listed."""


class AnalyzerFailedError(AgentError):
    """An analyzer crashed, hung past its time limit, or answered something unreadable."""

    def __init__(self, analyzer: str, reason: str) -> None:
        super().__init__(f"{analyzer}: {reason}")
        self.analyzer = analyzer
        self.reason = reason


class WorkFailedError(AgentError):
    """A task could not be done; `retryable` says whether another attempt may fare better."""

    def __init__(self, reason: str, *, retryable: bool = True) -> None:
        super().__init__(reason)
        self.retryable = retryable
