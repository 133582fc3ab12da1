"""Canonical bytes: what is written can be read, and nothing else can."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from smesh_core import (
    DecayCurve,
    DecodeError,
    Signal,
    SignalType,
    Stance,
    StanceKind,
    decode_signal,
    decode_stance,
    encode_signal,
    encode_stance,
    node_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ADA, BO = node_id("ada"), node_id("bo")
SECOND = 10**9
TTL_MAX_NS = 30 * 24 * 3600 * SECOND
CREATED_AT_NS_MAX = 2**63 - 1 - TTL_MAX_NS

# Offsets in the documented tables.
SIGNAL_AT = {
    "field": (0, "32s"),
    "type": (32, "B"),
    "form": (33, "B"),
    "author": (34, "32s"),
    "seq": (66, "Q"),
    "created_at": (74, "q"),
    "expires_at": (82, "q"),
    "intensity": (90, "d"),
    "confidence": (98, "d"),
    "rate": (106, "d"),
    "curve": (114, "B"),
    "radius": (115, "H"),
    "subject length": (117, "H"),
    "payload length": (119, "H"),
}
STANCE_AT = {
    "statement": (32, "32s"),
    "author": (64, "32s"),
    "seq": (96, "Q"),
    "created_at": (104, "q"),
    "expires_at": (112, "q"),
    "kind": (120, "B"),
    "confidence": (121, "d"),
    "reason length": (129, "H"),
}

ids = st.binary(min_size=32, max_size=32)
seqs = st.integers(0, 2**63 - 1)
units = st.floats(0, 1) | st.just(-0.0) | st.sampled_from([0, 1])
signals = st.builds(
    Signal,
    author=ids,
    seq=seqs,
    created_at_ns=st.integers(0, CREATED_AT_NS_MAX),
    payload=st.binary(max_size=40),
    type=st.sampled_from(SignalType),
    subject=st.none() | st.binary(min_size=1, max_size=40),
    ttl_ns=st.integers(1, TTL_MAX_NS),
    intensity=units,
    confidence=units,
    decay=st.sampled_from(DecayCurve),
    rate_per_s=st.floats(0, 1e6) | st.just(-0.0) | st.integers(0, 10**6),
    radius=st.integers(0, 65535),
    field_id=ids,
)
stances = st.builds(
    Stance,
    statement=ids,
    author=ids,
    seq=seqs,
    kind=st.sampled_from(StanceKind),
    created_at_ns=st.integers(0, CREATED_AT_NS_MAX),
    ttl_ns=st.integers(1, TTL_MAX_NS),
    confidence=st.floats(0, 1, exclude_min=True) | st.just(1),
    reason=st.text(max_size=40),
    field_id=ids,
)

SIGNAL = Signal(author=ADA, seq=7, created_at_ns=SECOND, payload=b"payload", subject=b"subject")
OWN = Signal(author=ADA, seq=7, created_at_ns=SECOND, payload=b"payload")
STANCE = Stance(statement=BO, author=ADA, seq=7, kind=StanceKind.SUPPORT, created_at_ns=SECOND, reason="because")


def patched(encoded: bytes, table: dict[str, tuple[int, str]], name: str, value: object) -> bytes:
    at, layout = table[name]
    packed = struct.pack(f">{layout}", value)
    return encoded[:at] + packed + encoded[at + len(packed) :]


# ---- what is written can be read


@given(signals)
def test_signal_round_trip(signal: Signal) -> None:
    encoded = encode_signal(signal)
    decoded = decode_signal(encoded)
    assert decoded == signal
    assert (decoded.id, decoded.statement) == (signal.id, signal.statement)
    assert encode_signal(decoded) == encoded
    assert len(encoded) == 121 + len(signal.subject or b"") + len(signal.payload)
    assert {type(decoded.author), type(decoded.payload), type(decoded.field_id)} == {bytes}


@given(stances)
def test_stance_round_trip(stance: Stance) -> None:
    encoded = encode_stance(stance)
    decoded = decode_stance(encoded)
    assert decoded == stance
    assert decoded.id == stance.id
    assert encode_stance(decoded) == encoded
    assert len(encoded) == 131 + len(stance.reason.encode())


def test_decoded_enums_are_enums() -> None:
    signal, stance = decode_signal(encode_signal(SIGNAL)), decode_stance(encode_stance(STANCE))
    assert type(signal.type) is SignalType
    assert type(signal.decay) is DecayCurve
    assert type(stance.kind) is StanceKind


@pytest.mark.parametrize("wrap", [bytearray, memoryview])
def test_buffers_decode_to_immutable_values(wrap: Callable[[bytes], bytes]) -> None:
    assert decode_signal(wrap(encode_signal(SIGNAL))) == SIGNAL
    assert decode_stance(wrap(encode_stance(STANCE))) == STANCE


def test_largest_elements_round_trip() -> None:
    signal = Signal(author=ADA, seq=0, created_at_ns=0, payload=b"p" * (16384 - 121 - 1024), subject=b"s" * 1024)
    assert len(encode_signal(signal)) == 16384
    assert decode_signal(encode_signal(signal)) == signal
    stance = Stance(statement=BO, author=ADA, seq=0, kind=StanceKind.SUPPORT, created_at_ns=0, reason="é" * 512)
    assert decode_stance(encode_stance(stance)) == stance


# ---- and nothing else


@pytest.mark.parametrize("encoded", [encode_signal(SIGNAL), encode_signal(OWN)], ids=["correlatable", "own"])
def test_truncated_and_extended_signals_are_refused(encoded: bytes) -> None:
    for size in range(len(encoded)):
        with pytest.raises(DecodeError):
            decode_signal(encoded[:size])
    for extra in (b"\x00", b"x", encoded):
        with pytest.raises(DecodeError):
            decode_signal(encoded + extra)


def test_truncated_and_extended_stances_are_refused() -> None:
    encoded = encode_stance(STANCE)
    for size in range(len(encoded)):
        with pytest.raises(DecodeError):
            decode_stance(encoded[:size])
    for extra in (b"\x00", b"x", encoded):
        with pytest.raises(DecodeError):
            decode_stance(encoded + extra)


NOT_IN_0_1 = [float("nan"), float("inf"), float("-inf"), -0.0, -1e-300, 1.0000000000000002, 2.0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("intensity", value) for value in NOT_IN_0_1],
        *[("confidence", value) for value in NOT_IN_0_1],
        *[("rate", value) for value in (float("nan"), float("inf"), -0.0, -1.0, 1000000.0000000001)],
        *[("type", value) for value in (7, 255)],
        *[("form", value) for value in (0, 2, 255)],
        *[("curve", value) for value in (4, 255)],
        ("seq", 2**63),
        ("seq", 2**64 - 1),
        ("created_at", -1),
        ("created_at", -(2**63)),
        ("created_at", 2**63 - 1),
        ("expires_at", SECOND),
        ("expires_at", SECOND - 1),
        ("expires_at", -(2**63)),
        ("expires_at", SECOND + TTL_MAX_NS + 1),
        ("expires_at", 2**63 - 1),
        ("subject length", 0),
        ("subject length", 6),
        ("subject length", 8),
        ("subject length", 65535),
        ("payload length", 0),
        ("payload length", 6),
        ("payload length", 65535),
    ],
)
def test_signal_with_one_bad_field_is_refused(name: str, value: object) -> None:
    bad = patched(encode_signal(SIGNAL), SIGNAL_AT, name, value)
    assert len(bad) == len(encode_signal(SIGNAL))
    with pytest.raises(DecodeError) as caught:
        decode_signal(bad)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("confidence", value) for value in (*NOT_IN_0_1, 0.0)],
        *[("kind", value) for value in (3, 255)],
        ("seq", 2**63),
        ("created_at", -1),
        ("created_at", 2**63 - 1),
        ("expires_at", SECOND),
        ("expires_at", SECOND - 1),
        ("expires_at", SECOND + TTL_MAX_NS + 1),
        ("reason length", 6),
        ("reason length", 8),
        ("reason length", 65535),
    ],
)
def test_stance_with_one_bad_field_is_refused(name: str, value: object) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_stance(patched(encode_stance(STANCE), STANCE_AT, name, value))
    assert "\n" not in str(caught.value)


def test_own_form_with_a_subject_and_shared_form_without_one_are_refused() -> None:
    """The lengths are consistent in both; only the form contradicts them."""
    with pytest.raises(DecodeError):
        decode_signal(patched(encode_signal(SIGNAL), SIGNAL_AT, "form", 0))
    with pytest.raises(DecodeError):
        decode_signal(patched(encode_signal(OWN), SIGNAL_AT, "form", 1))


def test_moving_bytes_between_subject_and_payload_gives_another_statement() -> None:
    encoded = patched(encode_signal(SIGNAL), SIGNAL_AT, "subject length", 8)
    moved = decode_signal(patched(encoded, SIGNAL_AT, "payload length", 6))
    assert moved.subject == b"subjectp"
    assert moved.payload == b"ayload"
    assert moved.statement != SIGNAL.statement


@pytest.mark.parametrize("total", [16385, 16384 + 121, 70000])
def test_oversize_signal_is_refused(total: int) -> None:
    payload = b"p" * min(total - 121 - 1024, 65535)
    encoded = patched(encode_signal(SIGNAL)[:121], SIGNAL_AT, "subject length", 1024)
    encoded = patched(encoded, SIGNAL_AT, "payload length", len(payload)) + b"s" * 1024 + payload
    with pytest.raises(DecodeError):
        decode_signal(encoded)


def test_oversize_subject_is_refused() -> None:
    encoded = patched(encode_signal(OWN)[:121], SIGNAL_AT, "subject length", 1025)
    encoded = patched(patched(encoded, SIGNAL_AT, "payload length", 0), SIGNAL_AT, "form", 1)
    with pytest.raises(DecodeError):
        decode_signal(encoded + b"s" * 1025)


@pytest.mark.parametrize(
    "reason",
    [b"\xff", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"r" * 1025],
    ids=["stray", "cut", "overlong", "surrogate", "beyond", "oversize"],
)
def test_bad_reason_is_refused(reason: bytes) -> None:
    encoded = patched(encode_stance(STANCE)[:131], STANCE_AT, "reason length", len(reason)) + reason
    with pytest.raises(DecodeError):
        decode_stance(encoded)


@st.composite
def mutated(draw: st.DrawFn, originals: st.SearchStrategy[bytes]) -> bytes:
    """A valid encoding with some bytes overwritten, then perhaps cut or extended."""
    encoded = bytearray(draw(originals))
    for at, value in draw(st.lists(st.tuples(st.integers(0, len(encoded) - 1), st.integers(0, 255)), max_size=4)):
        encoded[at] = value
    cut = draw(st.integers(0, len(encoded)) | st.just(len(encoded)))
    return bytes(encoded[:cut]) + draw(st.just(b"") | st.binary(max_size=8))


@given(st.binary(max_size=400) | st.binary(min_size=121, max_size=200) | mutated(signals.map(encode_signal)))
@example(b"")
@settings(max_examples=300)
def test_any_bytes_are_a_canonical_signal_or_a_decode_error(encoded: bytes) -> None:
    try:
        signal = decode_signal(encoded)
    except DecodeError:
        return
    assert encode_signal(signal) == encoded


@given(st.binary(max_size=400) | st.binary(min_size=131, max_size=200) | mutated(stances.map(encode_stance)))
@example(b"")
@settings(max_examples=300)
def test_any_bytes_are_a_canonical_stance_or_a_decode_error(encoded: bytes) -> None:
    try:
        stance = decode_stance(encoded)
    except DecodeError:
        return
    assert encode_stance(stance) == encoded


@given(st.sampled_from(sorted(SIGNAL_AT)), st.data())
def test_any_bits_in_one_field_are_canonical_or_a_decode_error(name: str, data: st.DataObject) -> None:
    at, layout = SIGNAL_AT[name]
    size = struct.calcsize(layout)
    bits = data.draw(st.binary(min_size=size, max_size=size))
    encoded = encode_signal(SIGNAL)
    encoded = encoded[:at] + bits + encoded[at + size :]
    try:
        signal = decode_signal(encoded)
    except DecodeError:
        return
    assert encode_signal(signal) == encoded
