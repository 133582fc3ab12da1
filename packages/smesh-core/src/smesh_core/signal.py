"""Signals and stances: immutable values, what they hash to, and their canonical bytes.

Three things are kept apart (`docs/reference/signal-identity.md`):

* a **statement** is what is said; it has an id and nothing else;
* an **emission** is somebody saying it: here a `Signal`;
* a **stance** is somebody's support, opposition or withdrawal: a `Stance`.

A correlatable signal carries a `subject` that its emitter supplies, so that independent emitters meet at one
statement. Any other signal's statement is its author's own, made from author and sequence number.

Ids are SHA-256 digests over a domain tag and a fixed layout. They are computed when first asked for.
"""

from __future__ import annotations

import hashlib
import struct
from enum import IntEnum
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, overload

import msgspec

from smesh_core.errors import DecodeError, InvalidSignalError
from smesh_core.limits import (
    CREATED_AT_NS_MAX,
    ID_BYTES,
    PAYLOAD_BYTES_MAX,
    RADIUS_HOPS_DEFAULT,
    RADIUS_HOPS_MAX,
    RATE_DEFAULT_PER_S,
    RATE_MAX_PER_S,
    REASON_BYTES_MAX,
    SEQ_MAX,
    SIGNAL_HEAD_BYTES,
    SUBJECT_BYTES_MAX,
    TTL_DEFAULT_NS,
    TTL_MAX_NS,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

__all__ = [
    "DEFAULT_FIELD_ID",
    "DecayCurve",
    "Signal",
    "SignalType",
    "Stance",
    "StanceKind",
    "decode_signal",
    "decode_stance",
    "encode_signal",
    "encode_stance",
    "field_id",
    "node_id",
    "statement_id",
    "subject",
]

_SIGNAL_HEAD: Final = struct.Struct(">32sBB32sQqqdddBHHH")
_STANCE_HEAD: Final = struct.Struct(">32s32s32sQqqBdH")
_STATEMENT_HEAD: Final = struct.Struct(">17s32sBB")
_OWN_STATEMENT: Final = struct.Struct(">17s32sBB32sQ")
_STATEMENT_TAG: Final = b"smesh/statement/1"
_OWN, _SHARED = 0, 1
_NUMBER: Final = (float, int)

if _SIGNAL_HEAD.size != SIGNAL_HEAD_BYTES:
    raise AssertionError("the documented head of a signal and its layout differ")


class SignalType(IntEnum):
    """What a signal is for; part of the statement's identity."""

    DATA = 0
    QUERY = 1
    RESPONSE = 2
    COORDINATION = 3
    HEARTBEAT = 4
    ALERT = 5
    CUSTOM = 6


class DecayCurve(IntEnum):
    """How an emission fades between its creation and its expiry; formulas in `smesh_core.decay`."""

    EXPONENTIAL = 0
    LINEAR = 1
    SIGMOID = 2
    STEP = 3


class StanceKind(IntEnum):
    """What a node says of somebody's statement."""

    WITHDRAW = 0
    SUPPORT = 1
    OPPOSE = 2


# The objects that are defaults, so that a value which is one of them needs no further look.
_DATA: Final = SignalType.DATA
_EXPONENTIAL: Final = DecayCurve.EXPONENTIAL
_FULL: Final = 1.0


def _utf8(text: str) -> bytes:
    """Text in UTF-8, which a lone surrogate has no form in."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidSignalError(f"not text that UTF-8 can hold, at position {error.start}") from None


def node_id(label: str) -> bytes:
    """The id (32 bytes) of a local participant known by a label; a stranger may use the same label."""
    return hashlib.sha256(b"smesh/node/1" + _utf8(label)).digest()


def field_id(name: str) -> bytes:
    """The id (32 bytes) of the field called `name`."""
    return hashlib.sha256(b"smesh/field/1" + _utf8(name)).digest()


DEFAULT_FIELD_ID: Final = field_id("default")


def subject(*parts: str | bytes) -> bytes:
    """Encode the parts of a correlatable subject so that different parts never give the same bytes.

    Raises:
        InvalidSignalError: there are no parts, together they exceed 1,024 bytes, or a text has no form in UTF-8.
    """
    encoded = b""
    for part in parts:
        said = _utf8(part) if isinstance(part, str) else part
        encoded += len(said).to_bytes(4) + said
    if not 0 < len(encoded) <= SUBJECT_BYTES_MAX:
        raise InvalidSignalError(f"a subject takes 1 to {SUBJECT_BYTES_MAX} bytes, these parts {len(encoded)}")
    return encoded


def statement_id(
    field: bytes, signal_type: SignalType, *, shared: bytes | None = None, author: bytes = b"", seq: int = 0
) -> bytes:
    """The id (32 bytes) of what is said: by a `shared` subject, or by its author and sequence number.

    Raises:
        InvalidSignalError: the field's id is not 32 bytes, or, without a subject, the author is not or the sequence
            number is out of bounds.
    """
    if len(field) != ID_BYTES:
        raise InvalidSignalError("a statement is said in a field, whose id takes 32 bytes")
    if shared is None and not (len(author) == ID_BYTES and 0 <= seq <= SEQ_MAX):
        raise InvalidSignalError("a statement without a subject takes an author of 32 bytes and a sequence number")
    if shared is None:
        said = _OWN_STATEMENT.pack(_STATEMENT_TAG, field, signal_type, _OWN, author, seq)
    else:
        said = _STATEMENT_HEAD.pack(_STATEMENT_TAG, field, signal_type, _SHARED) + shared
    return hashlib.sha256(said).digest()


class _Once:
    """An id of an immutable element, computed when first asked for and kept beside it.

    `functools.cached_property` does this too, under a lock that costs as much as the hash.
    """

    def __init__(self, compute: Callable[[Any], bytes]) -> None:
        self.compute = compute
        self.name = compute.__name__
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, element: None, owner: type) -> Self: ...
    @overload
    def __get__(self, element: object, owner: type) -> bytes: ...
    def __get__(self, element: object, owner: type) -> Self | bytes:
        if element is None:
            return self
        identity = element.__dict__[self.name] = self.compute(element)
        return identity


class Signal(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """An emission: one author saying one statement.

    Attributes:
        author: node id, 32 bytes.
        seq: the author's sequence number, shared by all that it says in a field, never used twice.
        created_at_ns: when it was said, in nanoseconds of the field's clock.
        payload: at most 15,239 bytes, opaque to the field.
        type: what it is for.
        subject: what it is about, for a correlatable signal; None for the author's own statement.
        ttl_ns: life from creation to expiry, in nanoseconds; at most 30 days.
        intensity: strength at creation, in [0, 1].
        confidence: how sure the author is, in [0, 1].
        decay: how intensity fades.
        rate_per_s: the decay's rate λ, per second, in [0, 10^6].
        radius: how many hops it travels, at most 65,535.
        field_id: the field it is said in, 32 bytes.

    Raises:
        InvalidSignalError: a value has the wrong type or is out of bounds (NaN and infinities always are).
    """

    author: bytes
    seq: int
    created_at_ns: int
    payload: bytes = b""
    type: SignalType = _DATA
    subject: bytes | None = None
    ttl_ns: int = TTL_DEFAULT_NS
    intensity: float = _FULL
    confidence: float = _FULL
    decay: DecayCurve = _EXPONENTIAL
    rate_per_s: float = RATE_DEFAULT_PER_S
    radius: int = RADIUS_HOPS_DEFAULT
    field_id: bytes = DEFAULT_FIELD_ID

    def __post_init__(self) -> None:
        if not _is_sound_signal(self):
            raise InvalidSignalError(_fault(self, _is_sound_signal, _SOUND_SIGNAL))

    @property
    def expires_at_ns(self) -> int:
        """When it ends whatever its strength, in nanoseconds of the field's clock."""
        return self.created_at_ns + self.ttl_ns

    @_Once
    def statement(self) -> bytes:
        """The id (32 bytes) of what is said."""
        return statement_id(self.field_id, self.type, shared=self.subject, author=self.author, seq=self.seq)

    @_Once
    def id(self) -> bytes:
        """The id (32 bytes) of this emission."""
        return hashlib.sha256(b"smesh/emission/1" + encode_signal(self)).digest()


class Stance(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One node's word on a statement.

    Attributes:
        statement: id of the statement, 32 bytes.
        author: node id, 32 bytes.
        seq: the author's sequence number, from the same series as its emissions.
        kind: support, oppose or withdraw.
        created_at_ns: when it was taken, in nanoseconds of the field's clock.
        ttl_ns: life from creation to expiry, in nanoseconds; at most 30 days.
        confidence: how sure the author is, in (0, 1].
        reason: why, for people; at most 1,024 bytes in UTF-8.
        field_id: the field it is taken in, 32 bytes.

    Raises:
        InvalidSignalError: a value has the wrong type or is out of bounds.
    """

    statement: bytes
    author: bytes
    seq: int
    kind: StanceKind
    created_at_ns: int
    ttl_ns: int = TTL_DEFAULT_NS
    confidence: float = _FULL
    reason: str = ""
    field_id: bytes = DEFAULT_FIELD_ID

    def __post_init__(self) -> None:
        if not _is_sound_stance(self):
            raise InvalidSignalError(_fault(self, _is_sound_stance, _SOUND_STANCE))

    @property
    def expires_at_ns(self) -> int:
        """When it stops counting, in nanoseconds of the field's clock."""
        return self.created_at_ns + self.ttl_ns

    @_Once
    def id(self) -> bytes:
        """The id (32 bytes) of this stance."""
        return hashlib.sha256(b"smesh/stance/1" + encode_stance(self)).digest()


def encode_signal(signal: Signal) -> bytes:
    """The canonical bytes of an emission; adding 0.0 turns a negative zero into zero."""
    shared, payload = signal.subject, signal.payload
    head = _SIGNAL_HEAD.pack(
        signal.field_id,
        signal.type,
        _OWN if shared is None else _SHARED,
        signal.author,
        signal.seq,
        signal.created_at_ns,
        signal.created_at_ns + signal.ttl_ns,
        signal.intensity + 0.0,
        signal.confidence + 0.0,
        signal.rate_per_s + 0.0,
        signal.decay,
        signal.radius,
        0 if shared is None else len(shared),
        len(payload),
    )
    return head + payload if shared is None else head + shared + payload


def decode_signal(encoded: bytes) -> Signal:
    """Read an emission from its canonical bytes.

    Raises:
        DecodeError: they are not the canonical bytes of any emission.
    """
    try:
        (field, kind, form, author, seq, created_at_ns, expires_at_ns, *rest) = _SIGNAL_HEAD.unpack_from(encoded)
        intensity, confidence, rate_per_s, curve, radius, subject_bytes, payload_bytes = rest
        start, end = SIGNAL_HEAD_BYTES + subject_bytes, SIGNAL_HEAD_BYTES + subject_bytes + payload_bytes
        if len(encoded) != end:
            raise DecodeError(f"an emission of {end} bytes came as {len(encoded)}")
        signal = Signal(
            author=author,
            seq=seq,
            created_at_ns=created_at_ns,
            payload=bytes(encoded[start:end]),
            type=SignalType(kind),
            subject=bytes(encoded[SIGNAL_HEAD_BYTES:start]) if form == _SHARED else None,
            ttl_ns=expires_at_ns - created_at_ns,
            intensity=intensity,
            confidence=confidence,
            decay=DecayCurve(curve),
            rate_per_s=rate_per_s,
            radius=radius,
            field_id=field,
        )
    except (struct.error, ValueError) as error:
        raise DecodeError(f"not an emission: {error}") from error
    if encode_signal(signal) != encoded:
        raise DecodeError("not an emission: the encoding is not canonical")
    return signal


def encode_stance(stance: Stance) -> bytes:
    """The canonical bytes of a stance."""
    reason = stance.reason.encode()
    head = _STANCE_HEAD.pack(
        stance.field_id,
        stance.statement,
        stance.author,
        stance.seq,
        stance.created_at_ns,
        stance.expires_at_ns,
        stance.kind,
        stance.confidence,
        len(reason),
    )
    return head + reason


def decode_stance(encoded: bytes) -> Stance:
    """Read a stance from its canonical bytes.

    Raises:
        DecodeError: they are not the canonical bytes of any stance.
    """
    try:
        (field, statement, author, seq, created_at_ns, expires_at_ns, kind, confidence, reason_bytes) = (
            _STANCE_HEAD.unpack_from(encoded)
        )
        if len(encoded) != _STANCE_HEAD.size + reason_bytes:
            raise DecodeError(f"a stance of {_STANCE_HEAD.size + reason_bytes} bytes came as {len(encoded)}")
        return Stance(
            statement=statement,
            author=author,
            seq=seq,
            kind=StanceKind(kind),
            created_at_ns=created_at_ns,
            ttl_ns=expires_at_ns - created_at_ns,
            confidence=confidence,
            reason=bytes(encoded[_STANCE_HEAD.size :]).decode(),
            field_id=field,
        )
    except (struct.error, ValueError) as error:
        raise DecodeError(f"not a stance: {error}") from error


def _is_sound_signal(s: Any) -> bool:
    """Whether every value is within its bounds; one that is the very default needs no look."""
    return (
        type(s.author) is bytes
        and len(s.author) == ID_BYTES
        and type(seq := s.seq) is int
        and 0 <= seq <= SEQ_MAX
        and type(created := s.created_at_ns) is int
        and 0 <= created <= CREATED_AT_NS_MAX
        and type(s.payload) is bytes
        and len(s.payload) <= PAYLOAD_BYTES_MAX
        and ((kind := s.type) is _DATA or type(kind) is SignalType)
        and ((shared := s.subject) is None or (type(shared) is bytes and 0 < len(shared) <= SUBJECT_BYTES_MAX))
        and ((ttl := s.ttl_ns) is TTL_DEFAULT_NS or (type(ttl) is int and 0 < ttl <= TTL_MAX_NS))
        and ((part := s.intensity) is _FULL or (isinstance(part, _NUMBER) and 0.0 <= part <= 1.0))
        and ((part := s.confidence) is _FULL or (isinstance(part, _NUMBER) and 0.0 <= part <= 1.0))
        and ((curve := s.decay) is _EXPONENTIAL or type(curve) is DecayCurve)
        and ((rate := s.rate_per_s) is RATE_DEFAULT_PER_S or _is_rate(rate))
        and ((hops := s.radius) is RADIUS_HOPS_DEFAULT or (type(hops) is int and 0 <= hops <= RADIUS_HOPS_MAX))
        and ((field := s.field_id) is DEFAULT_FIELD_ID or (type(field) is bytes and len(field) == ID_BYTES))
    )


def _is_rate(rate: Any) -> bool:
    return isinstance(rate, _NUMBER) and 0.0 <= rate <= RATE_MAX_PER_S


def _is_sound_stance(s: Any) -> bool:
    """Whether every value is within its bounds; one that is the very default needs no look."""
    return (
        type(s.statement) is bytes
        and len(s.statement) == ID_BYTES
        and type(s.author) is bytes
        and len(s.author) == ID_BYTES
        and type(seq := s.seq) is int
        and 0 <= seq <= SEQ_MAX
        and type(s.kind) is StanceKind
        and type(created := s.created_at_ns) is int
        and 0 <= created <= CREATED_AT_NS_MAX
        and type(ttl := s.ttl_ns) is int
        and 0 < ttl <= TTL_MAX_NS
        and ((part := s.confidence) is _FULL or (isinstance(part, _NUMBER) and 0.0 < part <= 1.0))
        and ((reason := s.reason) == "" or (type(reason) is str and _utf8_size(reason) <= REASON_BYTES_MAX))
        and ((field := s.field_id) is DEFAULT_FIELD_ID or (type(field) is bytes and len(field) == ID_BYTES))
    )


def _utf8_size(text: str) -> int:
    """Bytes of `text` in UTF-8; text that has no UTF-8 form counts as too long."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return REASON_BYTES_MAX + 1


_BOUNDS: Final = {
    "author": "32 bytes",
    "statement": "32 bytes",
    "field_id": "32 bytes",
    "seq": f"an int in [0, {SEQ_MAX}]",
    "created_at_ns": f"an int in [0, {CREATED_AT_NS_MAX}]",
    "ttl_ns": f"an int in [1, {TTL_MAX_NS}]",
    "payload": f"at most {PAYLOAD_BYTES_MAX} bytes",
    "subject": f"None or 1 to {SUBJECT_BYTES_MAX} bytes",
    "intensity": "a number in [0, 1]",
    "confidence": "a number in [0, 1], and above 0 in a stance",
    "rate_per_s": f"a number in [0, {RATE_MAX_PER_S:g}]",
    "radius": f"an int in [0, {RADIUS_HOPS_MAX}]",
    "type": "a SignalType",
    "decay": "a DecayCurve",
    "kind": "a StanceKind",
    "reason": f"text of at most {REASON_BYTES_MAX} bytes in UTF-8",
}

_ZEROS: Final = bytes(ID_BYTES)
_SOUND_SIGNAL: Final = Signal(author=_ZEROS, seq=0, created_at_ns=0)
_SOUND_STANCE: Final = Stance(statement=_ZEROS, author=_ZEROS, seq=0, kind=StanceKind.SUPPORT, created_at_ns=0)


def _fault(unsound: Signal | Stance, is_sound: Callable[[Any], bool], sound: Signal | Stance) -> str:
    """Name the first attribute that makes an otherwise sound element unsound, and its bounds."""
    for name in unsound.__struct_fields__:
        value = getattr(unsound, name)
        if not is_sound(SimpleNamespace(**{**msgspec.structs.asdict(sound), name: value})):
            return f"{type(unsound).__name__}.{name} takes {_BOUNDS[name]}, not {_shown(value)}"
    raise AssertionError("every bound is on one attribute")


def _shown(value: object) -> str:
    """A value as an error shows it: one short line, whatever it is."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # an integer of too many digits
        return f"a very large {type(value).__name__}"
    size = f" ({len(value)} long)" if isinstance(value, bytes | str) else ""
    return (text if len(text) <= 40 else f"{text[:40]}…") + size
