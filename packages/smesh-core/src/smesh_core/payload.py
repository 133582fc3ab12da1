"""Typed payloads: what agents that share work say in their signals, and its exact bytes.

A field never looks into a payload. These nine kinds are what the work protocol needs (`docs/reference/payloads.md` has
the tables). Each kind fixes four things besides its values, so that whoever reads one need not guess:

* the **type** of the signal that carries it;
* its **decay**: what came of work keeps its strength until the run's deadline (step), since a model takes longer than
  a pheromone. Only claims and heartbeats fade: a claim linearly over its lease, a heartbeat as any signal does;
* its **subject**, where independent authors shall meet at one statement; else the statement is the author's own;
* **bounds** on every text, number and list, in bytes of UTF-8. They are such that no value is too large for a signal.

Three forms hold the same value. The **wire** form is one version byte and one msgpack array ``[kind, …]``. It is
canonical: what `encode_payload` would not have written is refused. A later version may only append values to an
array, and a reader of this version leaves them unread. The **JSON** view has stable keys, and is for people and other
languages. The **prompt** form is for models, and lives in `smesh_core.payload_text`. The kinds and their bounds are in
`smesh_core.payload_kinds`, and are names of this module too.

Statements and nodes are named by the lower-case hex of their ids, 64 digits, so that one id has one spelling.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

import msgspec

from smesh_core.errors import PayloadError
from smesh_core.limits import PAYLOAD_BYTES_MAX, RADIUS_HOPS_DEFAULT, TTL_DEFAULT_NS
from smesh_core.payload_kinds import (
    PAYLOAD_KINDS,
    QUOTE_BYTES_MAX,
    Approval,
    Claim,
    Failure,
    Finding,
    Heartbeat,
    Payload,
    Result,
    Review,
    Severity,
    Task,
    TestResult,
    check_payload_id,
)
from smesh_core.signal import DEFAULT_FIELD_ID, DecayCurve, Signal, SignalType, subject

__all__ = [
    "PAYLOAD_JSON_BYTES_MAX",
    "PAYLOAD_KINDS",
    "PAYLOAD_VERSION",
    "QUOTE_BYTES_MAX",
    "Approval",
    "Claim",
    "Failure",
    "Finding",
    "Heartbeat",
    "Payload",
    "Result",
    "Review",
    "Severity",
    "Task",
    "TestResult",
    "cut_quote",
    "decode_payload",
    "decode_payload_json",
    "encode_payload",
    "encode_payload_json",
    "payload_decay",
    "payload_of",
    "payload_schema",
    "payload_signal_type",
    "payload_subject",
    "signal_of",
    "subject_about",
]

PAYLOAD_VERSION: Final = 1
PAYLOAD_JSON_BYTES_MAX: Final = 8 * PAYLOAD_BYTES_MAX
"""A byte becomes at most six in JSON; the rest is for keys and white space."""
_SUBJECT_PART_BYTES_MAX: Final = 512
_NS_PER_S: Final = 10**9


# ---- the wire


def _twin(code: int, kind: type[Payload]) -> type[msgspec.Struct]:
    """The same values as an array that starts with the kind's code; unknown trailing values are skipped."""
    fields = [
        (field.name, field.type) if field.required else (field.name, field.type, field.default)
        for field in msgspec.structs.fields(kind)
    ]
    return msgspec.defstruct(f"_{kind.__name__}", fields, array_like=True, tag=code)


_TWINS: Final = {kind: _twin(code, kind) for code, kind in enumerate(PAYLOAD_KINDS, 1)}
if any(len(msgspec.structs.fields(kind)) >= 15 for kind in PAYLOAD_KINDS):
    raise AssertionError("an array of this version has a head of one byte")
_KINDS: Final = {twin: kind for kind, twin in _TWINS.items()}
_ANY_TWIN: Any = _TWINS[Task]
for _one in _TWINS.values():
    _ANY_TWIN |= _one  # a union that only exists at run time
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final[msgspec.msgpack.Decoder[Any]] = msgspec.msgpack.Decoder(_ANY_TWIN)
_WHAT_DECODING_RAISES: Final = (msgspec.MsgspecError, ValueError, RecursionError)
_VERSION_MAX: Final = 127
_ARRAY16: Final = 0xDC


def encode_payload(payload: Payload) -> bytes:
    """The canonical bytes of a payload, at most 15,239: the version, then one msgpack array.

    Raises:
        PayloadError: it is not a payload.
    """
    twin = _TWINS.get(type(payload))
    if twin is None:
        raise PayloadError(f"a payload is one of the kinds of smesh_core.payload, not a {type(payload).__name__}")
    return bytes([PAYLOAD_VERSION]) + _encoder.encode(twin(*msgspec.structs.astuple(payload)))


def decode_payload(encoded: bytes) -> Payload:
    """Read a payload from its canonical bytes, or from those of a later version that has appended values.

    Raises:
        PayloadError: they are not the canonical bytes of any payload.
    """
    if not 2 <= len(encoded) <= PAYLOAD_BYTES_MAX:
        raise PayloadError(f"a payload takes 2 to {PAYLOAD_BYTES_MAX} bytes, not {len(encoded)}")
    version = encoded[0]
    if not PAYLOAD_VERSION <= version <= _VERSION_MAX:
        raise PayloadError(f"not a payload: there is no version {version}")
    try:
        twin = _decoder.decode(memoryview(encoded)[1:])
        payload = _KINDS[type(twin)](**msgspec.structs.asdict(twin))
    except _WHAT_DECODING_RAISES as error:
        raise _said_once(error) from None
    own = encode_payload(payload)
    if not (own == encoded if version == PAYLOAD_VERSION else _is_continued(own, encoded)):
        raise PayloadError("not a payload: the encoding is not canonical")
    return payload


def _is_continued(own: bytes, encoded: bytes) -> bool:
    """Whether `encoded` is `own` but for its version and, perhaps, for values appended to the array."""
    # An array of this version has a head of one byte, as checked below `_TWINS`; the decoder has seen to it that the
    # array ends where the bytes do.
    is_long = encoded[1] == _ARRAY16
    head = 4 if is_long else 2
    is_shortest = not is_long or int.from_bytes(encoded[2:4]) > 15
    return is_shortest and encoded[head:].startswith(own[2:])


def _said_once(error: BaseException) -> PayloadError:
    """What a decoder complains of, as one short line of our own."""
    if isinstance(error, PayloadError):
        return error
    said = "too deeply nested" if isinstance(error, RecursionError) else " ".join(ascii(str(error))[1:-1].split())
    return PayloadError(f"not a payload: {said[:160]}")


# ---- JSON

_json_encoder: Final = msgspec.json.Encoder()


def encode_payload_json(payload: Payload) -> bytes:
    """A payload as one JSON object in UTF-8: ``type`` and every value under its name, in the documented order."""
    if type(payload) not in _TWINS:
        raise PayloadError(f"a payload is one of the kinds of smesh_core.payload, not a {type(payload).__name__}")
    return _json_encoder.encode(payload)


def decode_payload_json(text: bytes | str) -> Payload:
    """Read a payload from JSON; keys in any order, those with a default may be missing, others are refused.

    Raises:
        PayloadError: it is not JSON of a payload, a key stands twice, or it is longer than `PAYLOAD_JSON_BYTES_MAX`.
    """
    if len(text) > PAYLOAD_JSON_BYTES_MAX:
        raise PayloadError(f"a payload takes at most {PAYLOAD_JSON_BYTES_MAX} bytes of JSON, not {len(text)}")
    try:
        read = json.loads(
            text if isinstance(text, str) else text.decode(),
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
        )
        return msgspec.convert(read, Payload)  # type: ignore[no-any-return]
    except _WHAT_DECODING_RAISES as error:
        raise _said_once(error.__cause__ if isinstance(error.__cause__, PayloadError) else error) from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise PayloadError("not a payload: a key stands twice in one object")
    return read


def _refuse_constant(name: str) -> float:
    raise PayloadError(f"not a payload: {name} is not a number")


def payload_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the JSON view of any payload, as JSON itself would hold it.

    Bounds of texts are in characters there, and what two values must keep together is not said.
    """
    schema: dict[str, Any] = json.loads(_json_encoder.encode(msgspec.json.schema(Payload)))
    for kind in schema["$defs"].values():
        kind["description"] = kind["description"].partition("\n")[0]
    return schema


# ---- signals

_TYPES: Final[dict[type, SignalType]] = {
    Task: SignalType.COORDINATION,
    Claim: SignalType.COORDINATION,
    Heartbeat: SignalType.HEARTBEAT,
    Result: SignalType.RESPONSE,
    Failure: SignalType.RESPONSE,
    Finding: SignalType.DATA,
    Review: SignalType.DATA,
    TestResult: SignalType.DATA,
    Approval: SignalType.COORDINATION,
}
_ABOUT: Final = frozenset({Task, Finding, Review, TestResult, Approval})
"""Kinds at which several authors can meet."""
_DECAYS: Final[dict[type, DecayCurve]] = {Claim: DecayCurve.LINEAR, Heartbeat: DecayCurve.EXPONENTIAL}


def payload_signal_type(payload: Payload | type[Payload]) -> SignalType:
    """The type of the signal that carries a payload, or any payload of a kind."""
    return _TYPES[payload if isinstance(payload, type) else type(payload)]


def payload_decay(payload: Payload | type[Payload]) -> DecayCurve:
    """How a payload, or any payload of a kind, fades: step unless it is a claim or a heartbeat."""
    return _DECAYS.get(payload if isinstance(payload, type) else type(payload), DecayCurve.STEP)


def subject_about(statement: str) -> bytes:
    """What the subjects of every `Review`, `TestResult` and `Approval` of one statement (hex) start with.

    Raises:
        PayloadError: it is not an id in hex.
    """
    check_payload_id("statement", statement)
    return subject("about", bytes.fromhex(statement))


def payload_subject(payload: Payload, encoded: bytes | None = None) -> bytes | None:
    """What a payload is about, for kinds at which several authors can meet; None for an author's own statement.

    A finding's is its class, its path and the hash of its quote with white space collapsed: neither who says so nor in
    which words. A task's, if it has a key, is that key and the hash of all its values, so that nobody can change what
    is to be done under another's key. A test's is the command and whether it passed.

    Args:
        payload: what is said.
        encoded: its canonical bytes, from whoever has them already.
    """
    if type(payload) not in _ABOUT:
        return None
    return _subject_of(payload, encode_payload(payload) if encoded is None else encoded)


def _subject_of(payload: Payload, encoded: bytes) -> bytes | None:
    """See `payload_subject`; the bytes are as they came, for a later version hashes what it has appended too."""
    match payload:
        case Task(key=key) if key:
            return subject("task", key, hashlib.sha256(encoded).digest())
        case Finding(kind=kind, path=path, quote=quote):
            return subject("finding", kind, _bounded(path), hashlib.sha256(" ".join(quote.split()).encode()).digest())
        case Review(of=of, verdict=verdict):
            return subject_about(of) + subject("review", verdict)
        case TestResult(of=of, command=command):
            return subject_about(of) + subject("test", _bounded(command), "passed" if payload.is_passed else "failed")
        case Approval(of=of, granted=granted):
            return subject_about(of) + subject("approval", "granted" if granted else "refused")
        case _:
            return None


def cut_quote(line: str) -> str:
    """A line of source as `Finding.quote` takes it: at most 1,024 bytes, cut between characters.

    Everybody who quotes a line must cut it alike, or they do not meet. What UTF-8 cannot hold becomes ``?``.
    """
    return line.encode(errors="replace")[:QUOTE_BYTES_MAX].decode(errors="ignore")


def _bounded(text: str) -> bytes:
    """A text as part of a subject: as it is, or its hash where it is very long."""
    encoded = text.encode()
    is_short = len(encoded) <= _SUBJECT_PART_BYTES_MAX
    return encoded if is_short else b"sha256:" + hashlib.sha256(encoded).digest()


def signal_of(
    payload: Payload,
    *,
    author: bytes,
    seq: int,
    created_at_ns: int,
    deadline_ns: int | None = None,
    confidence: float = 1.0,
    intensity: float = 1.0,
    radius: int = RADIUS_HOPS_DEFAULT,
    field_id: bytes = DEFAULT_FIELD_ID,
) -> Signal:
    """The signal that carries a payload: its type, subject, decay and life are those of the payload's kind.

    Args:
        payload: what to say.
        author: node id, 32 bytes.
        seq: the author's next sequence number.
        created_at_ns: when it is said, in nanoseconds of the field's clock.
        deadline_ns: when the run ends, by the same clock. A claim lives for its lease and a heartbeat for 60 s, and
            neither beyond the deadline; every other kind lives to it and needs one.
        confidence: how sure the author is, in [0, 1].
        intensity: strength at creation, in [0, 1].
        radius: how many hops it travels.
        field_id: the field it is said in, 32 bytes.

    Raises:
        PayloadError: it is not a payload, or there is no deadline where one is needed, or it has passed.
        InvalidSignalError: another value is out of bounds, or the deadline is more than 30 days away.
    """
    encoded = encode_payload(payload)
    ttl_ns = _lease_ns(payload)
    if deadline_ns is not None:
        left_ns = deadline_ns - created_at_ns
        if left_ns <= 0:
            raise PayloadError(f"the deadline passed {-left_ns} ns before this {type(payload).__name__}")
        ttl_ns = left_ns if ttl_ns is None else min(ttl_ns, left_ns)
    elif ttl_ns is None:
        raise PayloadError(f"a {type(payload).__name__} lives to the run's deadline: deadline_ns is missing")
    return Signal(
        author=author,
        seq=seq,
        created_at_ns=created_at_ns,
        payload=encoded,
        type=_TYPES[type(payload)],
        subject=_subject_of(payload, encoded),
        ttl_ns=ttl_ns,
        intensity=intensity,
        confidence=confidence,
        decay=payload_decay(payload),
        radius=radius,
        field_id=field_id,
    )


def _lease_ns(payload: Payload) -> int | None:
    """How long a payload lives by itself; None for those that live to the run's deadline."""
    if isinstance(payload, Claim):
        return payload.lease_s * _NS_PER_S
    return TTL_DEFAULT_NS if isinstance(payload, Heartbeat) else None


def payload_of(signal: Signal) -> Payload:
    """The payload that a signal carries.

    Raises:
        PayloadError: it carries none, or is not of the type or about the subject that such a payload has: whoever said
            so would else have it counted as something else than it is.
    """
    payload = decode_payload(signal.payload)
    name = type(payload).__name__
    if signal.type is not _TYPES[type(payload)]:
        raise PayloadError(f"a {name} does not come in a signal of type {signal.type.name.lower()}")
    if signal.subject != _subject_of(payload, signal.payload):
        raise PayloadError(f"a signal about something else than the {name} that it carries")
    return payload
