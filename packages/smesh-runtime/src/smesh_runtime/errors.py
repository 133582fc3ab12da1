"""What can go wrong in the runtime, as one family of exceptions with one-line messages."""

from __future__ import annotations

__all__ = ["ConformanceError", "IdentityInUseError", "LaggedError", "MediumClosedError", "SmeshRuntimeError"]


class SmeshRuntimeError(Exception):
    """Base of every error that smesh-runtime raises on purpose."""


class IdentityInUseError(SmeshRuntimeError):
    """Two participants of one field asked for the same identity; they would use the same sequence numbers."""


class LaggedError(SmeshRuntimeError):
    """A subscriber fell so far behind that elements were dropped from its backlog; sense again to catch up."""


class MediumClosedError(SmeshRuntimeError):
    """The medium was closed."""


class ConformanceError(SmeshRuntimeError):
    """A medium does not do what the conformance suite asks of every medium."""
