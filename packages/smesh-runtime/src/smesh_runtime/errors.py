"""What can go wrong in the runtime, as one family of exceptions with one-line messages."""

from __future__ import annotations

__all__ = [
    "ConformanceError",
    "IdentityInUseError",
    "JournalClosedError",
    "JournalDamagedError",
    "JournalError",
    "JournalFormatError",
    "JournalFullError",
    "JournalInUseError",
    "LaggedError",
    "MediumClosedError",
    "SmeshRuntimeError",
]


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


class JournalError(SmeshRuntimeError):
    """A journal cannot be opened, read or written; what was not acknowledged may not be in it."""


class JournalFormatError(JournalError):
    """A file is no journal, or one of another field or of a later schema."""


class JournalDamagedError(JournalError):
    """A file is a journal, and part of it is not what was written."""


class JournalFullError(JournalError):
    """There is no room on the disk. Nothing of what was to be committed was; once there is room, commits go on."""


class JournalInUseError(JournalError):
    """Somebody else writes the journal."""


class JournalClosedError(JournalError):
    """The journal was closed."""
