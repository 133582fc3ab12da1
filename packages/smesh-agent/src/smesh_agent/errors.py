"""What can go wrong in the agents, as one family of exceptions."""

from __future__ import annotations

__all__ = [
    "AgentError",
    "AnalyzerFailedError",
    "AuthenticationError",
    "BackendError",
    "BackendSettingsError",
    "BadAnswerError",
    "BudgetExceededError",
    "CallTimeoutError",
    "CassetteError",
    "JobError",
    "ModelNotFoundError",
    "OverloadedError",
    "RateLimitedError",
    "RequestRejectedError",
    "SchemaError",
    "TreeError",
    "UnreachableError",
    "WorkDeclinedError",
    "WorkFailedError",
]


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


class JobError(AgentError):
    """A file of tasks or of roles cannot be read, or says something that it cannot."""


class WorkFailedError(AgentError):
    """A task could not be done; `retryable` says whether another attempt may fare better."""

    def __init__(self, reason: str, *, retryable: bool = True) -> None:
        super().__init__(reason)
        self.retryable = retryable


class WorkDeclinedError(AgentError):
    """An agent can do no more work, this task or any other; the task is as open as it was."""


class BackendError(AgentError):
    """A model did not answer as it was asked to; each kind of it is a class of its own.

    Attributes:
        backend: the backend's name.
        retryable: whether the same request may fare better a little later.
        retry_after_s: how long its provider asks to wait before that; None where it does not say.
    """

    retryable = False

    def __init__(self, backend: str, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(f"{backend}: {reason}" if backend else reason)
        self.backend = backend
        self.reason = reason
        self.retry_after_s = retry_after_s


class BackendSettingsError(BackendError):
    """The settings are wrong: no such backend, no key, a bad address, an unknown option."""


class UnreachableError(BackendError):
    """Nobody answers at the provider's address, or the connection broke before anything came."""

    retryable = True


class AuthenticationError(BackendError):
    """The provider does not take the key, or the key may not do this."""


class ModelNotFoundError(BackendError):
    """The provider has no such model."""


class RequestRejectedError(BackendError):
    """The provider, or the backend for it, takes no such request; asking again changes nothing."""


class RateLimitedError(BackendError):
    """Too many requests or tokens for now."""

    retryable = True


class OverloadedError(BackendError):
    """The provider is overloaded or has failed inside."""

    retryable = True


class CallTimeoutError(BackendError):
    """Nothing came for too long, or the whole call took too long."""

    retryable = True


class BadAnswerError(BackendError):
    """What came breaks the provider's own protocol, or broke off in the middle."""

    retryable = True


class SchemaError(BackendError):
    """The answer does not fit the schema that was asked for, also after it was told so."""


class BudgetExceededError(BackendError):
    """The call might cost more than what is left; it was not made."""


class CassetteError(BackendError):
    """A recording is not readable, or does not hold what is asked of it.

    Attributes:
        difference: how what is asked differs from what was recorded, as a unified diff; empty where that says nothing.
    """

    def __init__(self, backend: str, reason: str, *, difference: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(backend, reason, retry_after_s=retry_after_s)
        self.difference = difference
