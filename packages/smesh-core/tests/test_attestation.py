"""Attested elements: what the author signed is good, and nothing else is, whatever comes.

The golden vectors were made by a program that shares no code with smesh_core.
"""

from __future__ import annotations

import json
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from smesh_core import DecayCurve, DecodeError, Field, Signal, SignalType, Stance, StanceKind, encode_signal, field_id
from smesh_core.attestation import (
    ATTESTED_BYTES_MAX,
    WIRE_VERSION,
    Attested,
    attest,
    decode_attested,
    encode_attested,
    signed_message,
    verify,
    verify_bytes,
    verify_many,
)
from smesh_core.errors import IdentityError
from smesh_core.identity import Identity
from smesh_core.signal import encode_stance

VECTORS = json.loads((Path(__file__).parent / "vectors" / "attestation.json").read_text(encoding="utf-8"))
ADA, BO = Identity(bytes(range(32))), Identity(bytes(range(1, 33)))
MESH, OTHER_MESH = b"m" * 32, b"n" * 32
SECOND = 10**9
L = 2**252 + 27742317777372353535851937790883648493
MESSAGE_HEAD = 14 + 1 + 1 + 1 + 32
ATTESTED_HEAD = 1 + 1 + 64

SIGNAL = Signal(author=ADA.public_id, seq=7, created_at_ns=SECOND, payload=b"payload")
STANCE = Stance(statement=b"s" * 32, author=ADA.public_id, seq=8, kind=StanceKind.OPPOSE, created_at_ns=SECOND)

ids = st.binary(min_size=32, max_size=32)
meshes = st.none() | ids.filter(any)
identities = st.sampled_from([ADA, BO, Identity(bytes(32))])
signals = st.builds(
    Signal,
    author=st.just(ADA.public_id),
    seq=st.integers(0, 2**63 - 1),
    created_at_ns=st.integers(0, 2**60),
    payload=st.binary(max_size=40),
    type=st.sampled_from(SignalType),
    subject=st.none() | st.binary(min_size=1, max_size=40),
    intensity=st.floats(0, 1) | st.just(-0.0) | st.sampled_from([0, 1]),
    confidence=st.floats(0, 1),
    decay=st.sampled_from(DecayCurve),
    radius=st.integers(0, 65535),
    field_id=ids,
)
stances = st.builds(
    Stance,
    statement=ids,
    author=st.just(ADA.public_id),
    seq=st.integers(0, 2**63 - 1),
    kind=st.sampled_from(StanceKind),
    created_at_ns=st.integers(0, 2**60),
    confidence=st.floats(0, 1, exclude_min=True),
    reason=st.text(max_size=20),
    field_id=ids,
)
elements = signals | stances
anything = (
    st.none()
    | st.integers()
    | st.text()
    | st.binary()
    | st.binary(min_size=32, max_size=32)
    | st.lists(st.none(), max_size=2)
)


def by(identity: Identity, element: Signal | Stance) -> Signal | Stance:
    return msgspec.structs.replace(element, author=identity.public_id)


def built(vector: dict[str, Any]) -> tuple[Identity, Signal | Stance, bytes | None]:
    identity = Identity(bytes.fromhex(vector["secret"]))
    values = dict(vector["element"], author=identity.public_id)
    for name in ("field_id", "payload", "subject", "statement"):
        if values.get(name) is not None:
            values[name] = bytes.fromhex(values[name])
    mesh_id = bytes.fromhex(vector["mesh_id"]) if vector["mesh_id"] else None
    if vector["kind"] == "stance":
        return identity, Stance(**{**values, "kind": StanceKind[values["kind"]]}), mesh_id
    values |= {"type": SignalType[values["type"]], "decay": DecayCurve[values["decay"]]}
    return identity, Signal(**values), mesh_id


# ---- golden vectors


@pytest.mark.parametrize("vector", VECTORS["attested"], ids=lambda v: v["name"])
def test_the_golden_vectors_hold_byte_for_byte(vector: dict[str, Any]) -> None:
    identity, element, mesh_id = built(vector)
    assert identity.public_id.hex() == vector["public"]
    assert identity.text == vector["text"]
    assert signed_message(element, mesh_id=mesh_id).hex() == vector["signed_message"]
    attested = attest(element, identity, mesh_id=mesh_id)
    assert attested.signature.hex() == vector["signature"]
    assert encode_attested(attested).hex() == vector["attested"]
    assert verify_bytes(bytes.fromhex(vector["attested"]), mesh_id=mesh_id) == element


def test_the_vectors_are_of_this_wire_version() -> None:
    assert VECTORS["wire_version"] == WIRE_VERSION
    assert {v["kind"] for v in VECTORS["attested"]} == {"emission", "stance"}


# ---- what is signed is good


@settings(max_examples=50)
@given(elements, identities, meshes)
def test_what_an_author_attests_verifies_and_survives_its_bytes(
    element: Signal | Stance, identity: Identity, mesh_id: bytes | None
) -> None:
    element = by(identity, element)
    attested = attest(element, identity, mesh_id=mesh_id)
    encoded = encode_attested(attested)
    assert verify(attested, mesh_id=mesh_id)
    assert decode_attested(encoded) == attested
    assert verify_bytes(encoded, mesh_id=mesh_id) == element
    assert type(verify_bytes(encoded, mesh_id=mesh_id)) is type(element)
    assert attest(element, identity, mesh_id=mesh_id) == attested


def test_the_longest_element_has_room() -> None:
    longest = Signal(
        author=ADA.public_id, seq=1, created_at_ns=0, subject=b"s" * 1024, payload=b"p" * (16 * 1024 - 121 - 1024)
    )
    encoded = encode_attested(attest(longest, ADA))
    assert len(encoded) == ATTESTED_BYTES_MAX == 66 + 16 * 1024
    assert verify_bytes(encoded) == longest
    with pytest.raises(DecodeError, match="16451 bytes"):
        decode_attested(encoded + b"p")


def test_a_field_takes_what_was_verified() -> None:
    field = Field()
    element = verify_bytes(encode_attested(attest(SIGNAL, ADA)))
    assert isinstance(element, Signal)
    assert field.read(field.emit(element), SECOND).value > 0


# ---- who may attest


def test_nobody_attests_for_another() -> None:
    for element in (SIGNAL, STANCE):
        with pytest.raises(IdentityError, match="by its author"):
            attest(element, BO)


@pytest.mark.parametrize("mesh_id", [b"", bytes(32), b"m" * 31, b"m" * 33, "m" * 32, bytearray(b"m" * 32), 5, True])
def test_a_mesh_id_that_is_none_signs_nothing_and_verifies_nothing(mesh_id: Any) -> None:
    with pytest.raises(IdentityError, match="mesh id"):
        attest(SIGNAL, ADA, mesh_id=mesh_id)
    outside = attest(SIGNAL, ADA)
    assert verify(outside)
    assert verify(outside, mesh_id=mesh_id) is False
    assert verify_bytes(encode_attested(outside), mesh_id=mesh_id) is None
    assert verify_many([outside], mesh_id=mesh_id) == [False]


class Disguised(Signal, frozen=True, kw_only=True):
    """A subclass may say other things than it encodes."""


@pytest.mark.parametrize(
    "element", [None, b"", "text", object(), ADA, Disguised(author=ADA.public_id, seq=1, created_at_ns=0)]
)
def test_only_emissions_and_stances_are_attested(element: Any) -> None:
    with pytest.raises(IdentityError):
        attest(element, ADA)
    with pytest.raises(IdentityError):
        Attested(element, bytes(64))


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(65), bytearray(64), "s" * 64, None])
def test_a_signature_takes_64_bytes(signature: Any) -> None:
    with pytest.raises(IdentityError, match="64 bytes"):
        Attested(SIGNAL, signature)


# ---- nothing else is good


def test_a_signature_is_good_on_its_own_mesh_only() -> None:
    for element in (SIGNAL, STANCE):
        outside, inside = attest(element, ADA), attest(element, ADA, mesh_id=MESH)
        assert verify(inside, mesh_id=MESH)
        assert not verify(inside, mesh_id=OTHER_MESH)
        assert not verify(inside)
        assert not verify(outside, mesh_id=MESH)


def test_a_signature_is_good_for_its_own_field_author_kind_and_version_only() -> None:
    signature = attest(SIGNAL, ADA).signature
    for change in (
        {"field_id": field_id("elsewhere")},
        {"author": BO.public_id},
        {"seq": 9},
        {"created_at_ns": 2},
        {"ttl_ns": 1},
        {"payload": b"other"},
        {"subject": b"s"},
        {"intensity": 0.5},
        {"radius": 6},
        {"type": SignalType.ALERT},
    ):
        assert not verify(Attested(msgspec.structs.replace(SIGNAL, **change), signature)), change
    assert not verify(Attested(STANCE, signature))
    assert not verify(Attested(SIGNAL, attest(STANCE, ADA).signature))
    # Signed by the very author, as a careless or hostile one would, under another head.
    for head in ((2, 1, bytes(32)), (0, 1, bytes(32)), (1, 2, bytes(32)), (1, 0, bytes(32)), (1, 1, MESH)):
        message = struct.pack(">BB32s", *head) + encode_signal(SIGNAL)
        assert not verify(Attested(SIGNAL, ADA.sign(b"smesh/attest/1", message))), head
    good = struct.pack(">BB32s", 1, 1, bytes(32)) + encode_signal(SIGNAL)
    assert verify(Attested(SIGNAL, ADA.sign(b"smesh/attest/1", good)))
    assert not verify(Attested(SIGNAL, ADA.sign(b"smesh/attest/2", good)))


def test_a_signature_is_for_one_kind_of_reading() -> None:
    """The very same bytes, signed as an emission and as a stance: read as an emission, only the former is good."""
    encoding = encode_signal(SIGNAL)
    for kind, expected in ((1, SIGNAL), (2, None)):
        message = struct.pack(">BB32s", WIRE_VERSION, kind, bytes(32)) + encoding
        signature = ADA.sign(b"smesh/attest/1", message)
        assert verify_bytes(bytes([WIRE_VERSION, 1]) + signature + encoding) == expected


@pytest.mark.parametrize("attested", [attest(SIGNAL, ADA, mesh_id=MESH), attest(STANCE, ADA, mesh_id=MESH)])
def test_every_bit_counts(attested: Attested) -> None:
    encoded = encode_attested(attested)
    assert verify_bytes(encoded, mesh_id=MESH) == attested.element
    for bit in range(len(encoded) * 8):
        flipped = bytearray(encoded)
        flipped[bit // 8] ^= 1 << bit % 8
        assert verify_bytes(bytes(flipped), mesh_id=MESH) is None, bit


@pytest.mark.parametrize("attested", [attest(SIGNAL, ADA), attest(STANCE, ADA)])
def test_no_part_and_no_more_than_all_of_it_is_read(attested: Attested) -> None:
    encoded = encode_attested(attested)
    for end in range(len(encoded)):
        assert verify_bytes(encoded[:end]) is None
        assert verify_bytes(encoded[end:] if end else b"") is None
        with pytest.raises(DecodeError):
            decode_attested(encoded[:end])
    with pytest.raises(DecodeError):
        decode_attested(encoded + b"\0")


def test_a_decoder_says_which_version_and_kind_it_was_given() -> None:
    encoded = encode_attested(attest(SIGNAL, ADA))
    with pytest.raises(DecodeError, match="wire version 2; this is 1"):
        decode_attested(b"\2" + encoded[1:])
    with pytest.raises(DecodeError, match="kind 3"):
        decode_attested(encoded[:1] + b"\3" + encoded[2:])


def test_a_good_signature_has_no_twin() -> None:
    attested = attest(SIGNAL, ADA)
    s = int.from_bytes(attested.signature[32:], "little")
    for twin in (s + L, s + 8 * L, (L - s) % L):
        forged = attested.signature[:32] + twin.to_bytes(32, "little")
        assert not verify(Attested(SIGNAL, forged))


@pytest.mark.parametrize(
    "author", [bytes(32), b"\1" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f", b"\2" + bytes(31), b"\xff" * 32]
)
def test_authors_that_are_no_keys_have_said_nothing(author: bytes) -> None:
    """Weak keys, no point at all, and no number under p; with the signature that is good under the key of order 1."""
    for seq in range(16):
        forged = Signal(author=author, seq=seq, created_at_ns=0)
        for signature in (b"\1" + bytes(63), author + bytes(32), bytes(64)):
            assert not verify(Attested(forged, signature))
            encoded = bytes([WIRE_VERSION, 1]) + signature + encode_signal(forged)
            assert verify_bytes(encoded) is None


# ---- hostile input


@given(anything, anything)
@example(b"\1\1" + bytes(64 + 121), None)
@example(b"\1\2" + bytes(64 + 131), None)
def test_verification_answers_whatever_it_is_given(value: Any, mesh_id: Any) -> None:
    assert verify(value, mesh_id=mesh_id) is False
    assert verify_bytes(value, mesh_id=mesh_id) is None
    assert verify_many([value, value], mesh_id=mesh_id) == [False, False]
    with pytest.raises(DecodeError) as caught:
        decode_attested(value)
    assert str(caught.value).isprintable()


@given(st.binary(max_size=300), st.sampled_from([1, 2]), st.sampled_from([SIGNAL, STANCE]), st.data())
def test_noise_in_any_place_is_no_element(
    noise: bytes, kind: int, element: Signal | Stance, data: st.DataObject
) -> None:
    encoded = encode_attested(attest(element, ADA))
    at = data.draw(st.integers(0, len(encoded)))
    until = data.draw(st.integers(at, len(encoded)))
    for tried in (encoded[:at] + noise + encoded[until:], bytes([WIRE_VERSION, kind]) + noise):
        assert verify_bytes(tried) == (element if tried == encoded else None)
        try:
            decoded = decode_attested(tried)
        except DecodeError:
            continue
        assert encode_attested(decoded) == tried  # canonical, signed or not


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("payload", "text"),
        ("author", "a" * 32),
        ("author", None),
        ("seq", -1),
        ("seq", "1"),
        ("intensity", "1"),
        ("type", 300),
        ("subject", 5),
        ("field_id", None),
        ("created_at_ns", 2**63),
        ("ttl_ns", None),
    ],
)
def test_an_element_that_was_forced_after_its_checks_is_not_good(name: str, value: Any) -> None:
    signal = msgspec.structs.replace(SIGNAL)
    attested = attest(signal, ADA)
    msgspec.structs.force_setattr(signal, name, value)
    assert verify(attested) is False


@pytest.mark.parametrize(
    ("name", "value"), [("element", None), ("element", ADA), ("signature", None), ("signature", b"")]
)
def test_an_attested_that_was_forced_after_its_checks_is_not_good(name: str, value: Any) -> None:
    attested = attest(SIGNAL, ADA)
    msgspec.structs.force_setattr(attested, name, value)
    assert verify(attested) is False


# ---- many at once


def spoilt(attested: Attested, how: int) -> object:
    """The element as somebody would spoil it; 0 leaves it good."""
    signature = attested.signature
    return [
        attested,
        Attested(attested.element, signature[:-1] + bytes([signature[-1] ^ 1])),
        Attested(by(BO, attested.element), signature),
        Attested(by_weak(attested.element), b"\1" + bytes(63)),
        None,
        b"bytes",
    ][how]


def by_weak(element: Signal | Stance) -> Signal | Stance:
    return msgspec.structs.replace(element, author=b"\1" + bytes(31))


GOOD = [
    attest(Signal(author=identity.public_id, seq=seq, created_at_ns=0), identity, mesh_id=MESH)
    for seq in range(20)
    for identity in (ADA, BO)
]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(GOOD), st.sampled_from([0, 0, 0, 1, 2, 3, 4, 5])), max_size=70))
def test_many_are_verified_as_one_by_one(chosen: list[tuple[Attested, int]]) -> None:
    batch = [spoilt(attested, how) for attested, how in chosen]
    alone = [verify(one, mesh_id=MESH) for one in batch]
    assert verify_many(batch, mesh_id=MESH) == alone
    with ThreadPoolExecutor(2) as pool:
        assert verify_many(batch, mesh_id=MESH, share=pool.map) == alone
    # Spoilt by changing the author to Bo, Bo's own are still good: so the list itself says which are.
    assert alone == [
        how == 0 or (how == 2 and one == attested) for one, (attested, how) in zip(batch, chosen, strict=True)
    ]


@pytest.mark.parametrize("bad", [0, 1, 15, 16, 17, 31, 32, 39])
def test_one_bad_element_is_found_where_it_is(bad: int) -> None:
    batch: list[object] = list(GOOD)
    batch[bad] = Attested(GOOD[bad].element, bytes(64))
    assert verify_many(batch, mesh_id=MESH) == [place != bad for place in range(40)]
    assert verify_many([batch[bad]] * 3, mesh_id=MESH) == [False] * 3
    assert verify_many([], mesh_id=MESH) == []


def test_a_stance_takes_the_documented_bytes() -> None:
    encoded = encode_attested(attest(STANCE, ADA, mesh_id=MESH))
    assert encoded == bytes([WIRE_VERSION, 2]) + attest(STANCE, ADA, mesh_id=MESH).signature + encode_stance(STANCE)
    assert len(encoded) == ATTESTED_HEAD + 131
    assert len(signed_message(STANCE, mesh_id=MESH)) == MESSAGE_HEAD + 131
