"""What can go wrong in the core, as one family of exceptions with one-line messages."""

from __future__ import annotations

__all__ = [
    "DecodeError",
    "EngineError",
    "FieldFullError",
    "GoneError",
    "IdentityError",
    "InvalidNetworkError",
    "InvalidSignalError",
    "InvalidTopologyError",
    "PayloadError",
    "SmeshError",
    "SnapshotError",
    "TrustError",
    "WrongFieldError",
]


class SmeshError(Exception):
    """Base of every error that smesh-core raises on purpose."""


class InvalidSignalError(SmeshError, ValueError):
    """A signal, stance or setting holds a value outside its documented bounds."""


class InvalidTopologyError(SmeshError, ValueError):
    """A topology, or what one is to be made of, is not a network that can be built."""


class DecodeError(SmeshError, ValueError):
    """Bytes are not a canonical encoding of what they claim to be."""


class InvalidNetworkError(SmeshError, ValueError):
    """A network was given a value outside its documented bounds."""


class EngineError(SmeshError, RuntimeError):
    """The engine that was asked for is not there, or cannot be loaded."""


class WrongFieldError(SmeshError, ValueError):
    """An element belongs to another field than the one it was given to."""


class GoneError(SmeshError, LookupError):
    """A reference's signal has expired, was shed, or never was in this field."""


class FieldFullError(SmeshError):
    """The field or the author's share of it is full, and the newcomer would end before all that it holds."""


class IdentityError(SmeshError, ValueError):
    """A key, a public id or a label is not one."""


class PayloadError(SmeshError, ValueError):
    """A payload holds a value outside its documented bounds, or bytes that are not a payload."""


class SnapshotError(SmeshError, ValueError):
    """Bytes are not a snapshot that can be read: cut short, altered, foreign, or of a later version."""


class TrustError(SmeshError, ValueError):
    """A trust, a reputation or a judgement was given a value outside its documented bounds."""
