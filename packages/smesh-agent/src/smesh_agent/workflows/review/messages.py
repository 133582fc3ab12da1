"""What the witnesses of a review say beside the work protocol: payloads of signals, as JSON.

| message | signal type | subject | said by |
|---|---|---|---|
| `Finding` | data | kind, path, hash of the normalised line | any witness |
| `UnreadFile` | alert | the path | any witness |

A finding's subject says what is wrong where, and not who says so, so that independent witnesses meet at one
statement. Equal lines of one file are one place.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec
from smesh_core import InvalidSignalError, SignalType, subject

from smesh_agent.analyzers.base import Severity

if TYPE_CHECKING:
    from smesh_core import Signal


__all__ = [
    "LINES_MAX",
    "TEXT_CHARACTERS_MAX",
    "Finding",
    "Message",
    "UnreadFile",
    "decode",
    "encode",
    "signal_type",
    "subject_of",
]

LINES_MAX: Final = 200
"""Line numbers that one finding lists; `Finding.count` has the whole number."""
TEXT_CHARACTERS_MAX: Final = 250
"""So that any text fits a stance's reason, whatever its script."""
_PATH_BYTES_MAX: Final = 512


class Finding(msgspec.Struct, frozen=True, tag="finding"):
    """One witness's word that something is wrong in one place.

    Attributes:
        kind: ``CWE-78`` where a CWE applies, else a slug that witnesses share.
        path: POSIX path relative to the tree's root.
        line_hash: hexadecimal hash of the normalised line.
        lines: where that line stands, from 1, ascending; the first 200.
        count: how often it stands there.
        code: the line as it is written, at most 250 characters.
        rules: the witness's own names for what it saw.
        message: one sentence.
        severity: how bad it is if it is true.
        advice: what to do about it.
    """

    kind: str
    path: str
    line_hash: str
    lines: list[int]
    count: int
    code: str
    rules: list[str]
    message: str
    severity: Severity
    advice: str


class UnreadFile(msgspec.Struct, frozen=True, tag="unread"):
    """A file that a witness could not read or parse."""

    path: str
    reason: str


Message = Finding | UnreadFile

_TYPES: Final[dict[type, SignalType]] = {Finding: SignalType.DATA, UnreadFile: SignalType.ALERT}
_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


def encode(message: Message) -> bytes:
    """The payload that carries a message."""
    return _encoder.encode(message)


def decode(signal: Signal) -> Message | None:
    """The message a signal carries; None for what is not a message of a review, whoever sent it."""
    try:
        message = _decoder.decode(signal.payload)
        fits = _TYPES[type(message)] is signal.type and subject_of(message) == signal.subject
    except (msgspec.DecodeError, InvalidSignalError):
        return None
    return message if fits else None


def signal_type(message: Message) -> SignalType:
    """The type of signal that carries a message."""
    return _TYPES[type(message)]


def subject_of(message: Message) -> bytes:
    """What a message is about: where its authors meet."""
    match message:
        case Finding(kind=kind, path=path, line_hash=line_hash):
            return subject("review", "finding", kind, _bounded(path), line_hash)
        case UnreadFile(path=path):
            return subject("review", "unread", _bounded(path))


def _bounded(path: str) -> bytes:
    """A path as part of a subject: as it is, or its hash where it is very long."""
    encoded = path.encode()
    return encoded if len(encoded) <= _PATH_BYTES_MAX else b"sha256:" + hashlib.sha256(encoded).digest()
