"""Identity: golden vectors straight from docs/reference/signal-identity.md, subjects, immutability, equality."""

from __future__ import annotations

import copy
import hashlib
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smesh_core import (
    DEFAULT_FIELD_ID,
    DecayCurve,
    InvalidSignalError,
    Signal,
    SignalType,
    Stance,
    StanceKind,
    encode_signal,
    encode_stance,
    field_id,
    node_id,
    statement_id,
    subject,
)

ADA, BO = node_id("ada"), node_id("bo")
SECOND = 10**9

# Written from the table of encodings, not from the code.
EMISSION_HEAD = ">32s B B 32s Q q q d d d B H H H"
STANCE_HEAD = ">32s 32s 32s Q q q B d H"


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def correlatable(**changes: object) -> Signal:
    values = {
        "author": ADA,
        "seq": 7,
        "created_at_ns": 1_000_000_000,
        "payload": b'{"line": 3}',
        "type": SignalType.ALERT,
        "subject": subject("CWE-78", "app.py", b"\x01\x02"),
        "ttl_ns": 90 * SECOND,
        "intensity": 0.5,
        "confidence": 0.75,
        "decay": DecayCurve.SIGMOID,
        "rate_per_s": 0.25,
        "radius": 9,
        "field_id": field_id("review"),
    }
    return Signal(**{**values, **changes})


GOLDEN_SUBJECT = "00000006" + b"CWE-78".hex() + "00000006" + b"app.py".hex() + "00000002" + "0102"


def test_ids_of_nodes_and_fields() -> None:
    assert node_id("ada") == sha256(b"smesh/node/1", b"ada")
    assert node_id("ada").hex() == "35d25c6fb03750bc14ada1b12139c3b678297b480aa53c031b539b4504de1756"
    assert node_id("é") == sha256(b"smesh/node/1", b"\xc3\xa9")
    assert field_id("default") == DEFAULT_FIELD_ID == sha256(b"smesh/field/1", b"default")
    assert field_id("default").hex() == "474a3b117b20316b8c109554031160b4027cba7647d6c7293b22d53c3582482a"
    assert node_id("x") != field_id("x")


def test_subject_is_each_part_behind_its_length() -> None:
    assert subject("CWE-78", "app.py", b"\x01\x02").hex() == GOLDEN_SUBJECT


def test_correlatable_emission_golden() -> None:
    signal = correlatable()
    shared = bytes.fromhex(GOLDEN_SUBJECT)
    author, field = sha256(b"smesh/node/1", b"ada"), sha256(b"smesh/field/1", b"review")
    head = struct.pack(
        EMISSION_HEAD, field, 5, 1, author, 7, SECOND, 91 * SECOND, 0.5, 0.75, 0.25, 2, 9, len(shared), 11
    )
    encoding = head + shared + b'{"line": 3}'
    assert len(head) == 121
    assert encode_signal(signal) == encoding
    assert signal.statement == sha256(b"smesh/statement/1", field, b"\x05", b"\x01", shared)
    assert signal.id == sha256(b"smesh/emission/1", encoding)
    assert signal.statement.hex() == "760f0f4f8de086f1a25b50aa0f2d7e65477cdb82e6cf80c4a5840d1824fcaae1"
    assert signal.id.hex() == "122bd4f1e076c27f74b203c919d9c79c7d1a721db891643eb3ba2a755c96de58"


def test_own_emission_golden_with_all_defaults() -> None:
    signal = Signal(author=BO, seq=2**63 - 1, created_at_ns=0)
    author, field = sha256(b"smesh/node/1", b"bo"), sha256(b"smesh/field/1", b"default")
    encoding = struct.pack(EMISSION_HEAD, field, 0, 0, author, 2**63 - 1, 0, 60 * SECOND, 1.0, 1.0, 0.1, 0, 5, 0, 0)
    assert encode_signal(signal) == encoding
    own = author + b"\x7f" + b"\xff" * 7
    assert signal.statement == sha256(b"smesh/statement/1", field, b"\x00", b"\x00", own)
    assert signal.id == sha256(b"smesh/emission/1", encoding)
    assert signal.statement.hex() == "ea89eb1f3fc4b9f9b330017ca903ea64145d21a66663013ecadb1bd5e2b1b3be"
    assert signal.id.hex() == "95887adfbd6364ddfbedd12633fe0dd599697658bba30bb061c4f941d3778d2b"


def test_stance_golden() -> None:
    stance = Stance(
        statement=correlatable().statement,
        author=BO,
        seq=3,
        kind=StanceKind.OPPOSE,
        created_at_ns=2 * SECOND,
        ttl_ns=SECOND,
        confidence=0.5,
        reason="no — a test",
        field_id=field_id("review"),
    )
    statement = bytes.fromhex("760f0f4f8de086f1a25b50aa0f2d7e65477cdb82e6cf80c4a5840d1824fcaae1")
    author, field = sha256(b"smesh/node/1", b"bo"), sha256(b"smesh/field/1", b"review")
    reason = b"no \xe2\x80\x94 a test"
    head = struct.pack(STANCE_HEAD, field, statement, author, 3, 2 * SECOND, 3 * SECOND, 2, 0.5, len(reason))
    assert len(head) == 131
    assert encode_stance(stance) == head + reason
    assert stance.id == sha256(b"smesh/stance/1", head, reason)
    assert stance.id.hex() == "7cc98c6a6f76b7b78632702967e532a334a3d176a8ce6c84307b7b1d11909ba1"


def test_codes_are_the_documented_ones() -> None:
    assert {t.name.lower(): int(t) for t in SignalType} == {
        "data": 0,
        "query": 1,
        "response": 2,
        "coordination": 3,
        "heartbeat": 4,
        "alert": 5,
        "custom": 6,
    }
    assert {c.name.lower(): int(c) for c in DecayCurve} == {"exponential": 0, "linear": 1, "sigmoid": 2, "step": 3}
    assert {k.name.lower(): int(k) for k in StanceKind} == {"withdraw": 0, "support": 1, "oppose": 2}


@pytest.mark.parametrize(
    "change",
    [
        {"author": BO},
        {"seq": 8},
        {"created_at_ns": 1},
        {"payload": b""},
        {"ttl_ns": 1},
        {"intensity": 0.51},
        {"confidence": 0.76},
        {"decay": DecayCurve.STEP},
        {"rate_per_s": 0.26},
        {"radius": 10},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_belongs_to_an_emission_changes_its_id_and_not_its_statement(change: dict[str, object]) -> None:
    assert correlatable(**change).statement == correlatable().statement
    assert correlatable(**change).id != correlatable().id


@pytest.mark.parametrize(
    "change",
    [{"type": SignalType.DATA}, {"subject": b"x"}, {"subject": None}, {"field_id": DEFAULT_FIELD_ID}],
    ids=["type", "subject", "form", "field"],
)
def test_what_is_said_changes_both_ids(change: dict[str, object]) -> None:
    assert correlatable(**change).statement != correlatable().statement
    assert correlatable(**change).id != correlatable().id


def test_replaced_signal_does_not_keep_the_ids_of_its_original() -> None:
    signal = correlatable()
    before = signal.id, signal.statement
    changed = msgspec.structs.replace(signal, seq=8, subject=b"other")
    assert changed.id != before[0]
    assert changed.statement != before[1]
    assert (signal.id, signal.statement) == before


@given(
    authors=st.tuples(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32)),
    seqs=st.tuples(*[st.integers(0, 2**63 - 1)] * 2),
    said=st.binary(min_size=1, max_size=64),
)
def test_authors_meet_at_a_correlatable_statement_and_never_at_their_own(
    authors: tuple[bytes, bytes], seqs: tuple[int, int], said: bytes
) -> None:
    one, two = (Signal(author=a, seq=s, created_at_ns=0, subject=said) for a, s in zip(authors, seqs, strict=True))
    assert one.statement == two.statement
    mine, theirs = (Signal(author=a, seq=s, created_at_ns=0) for a, s in zip(authors, seqs, strict=True))
    assert (mine.statement == theirs.statement) == ((authors[0], seqs[0]) == (authors[1], seqs[1]))


@given(author=st.binary(min_size=32, max_size=32), seq=st.integers(0, 2**63 - 1), kind=st.sampled_from(SignalType))
def test_crafted_subject_never_imitates_an_own_statement(author: bytes, seq: int, kind: SignalType) -> None:
    own = Signal(author=author, seq=seq, created_at_ns=0, type=kind)
    crafted = author + struct.pack(">Q", seq)
    for said in (crafted, b"\x00" + crafted, bytes((kind, 0)) + crafted):
        forged = Signal(author=BO, seq=1, created_at_ns=0, type=kind, subject=said)
        assert forged.statement != own.statement
    assert statement_id(DEFAULT_FIELD_ID, kind, shared=crafted) != own.statement


# ---- subjects

PARTS = st.lists(st.text("ab\x00\x01\x02", max_size=4) | st.binary(max_size=4), min_size=1, max_size=5)


def as_bytes(parts: list[str | bytes]) -> list[bytes]:
    return [part.encode() if isinstance(part, str) else part for part in parts]


@given(PARTS, PARTS)
def test_different_parts_give_different_subjects(one: list[str | bytes], two: list[str | bytes]) -> None:
    assert (subject(*one) == subject(*two)) == (as_bytes(one) == as_bytes(two))


@given(st.binary(min_size=1, max_size=12), st.data())
def test_where_parts_are_cut_matters(whole: bytes, data: st.DataObject) -> None:
    cuts = st.lists(st.integers(0, len(whole)), max_size=3).map(sorted)
    one, two = data.draw(cuts), data.draw(cuts)

    def parts(cut: list[int]) -> list[bytes]:
        return [whole[a:b] for a, b in zip([0, *cut], [*cut, len(whole)], strict=True)]

    assert (subject(*parts(one)) == subject(*parts(two))) == (parts(one) == parts(two))


@given(PARTS)
def test_subject_can_be_read_back(parts: list[str | bytes]) -> None:
    encoded, read = subject(*parts), []
    while encoded:
        (size,) = struct.unpack_from(">I", encoded)
        read.append(encoded[4 : 4 + size])
        encoded = encoded[4 + size :]
    assert read == as_bytes(parts)


def test_subject_has_bounds() -> None:
    assert len(subject("x" * 1020)) == 1024
    for parts in ((), ("x" * 1021,), ("x" * 600, "y" * 600)):
        with pytest.raises(InvalidSignalError, match="1 to 1024 bytes") as caught:
            subject(*parts)
        assert "\n" not in str(caught.value)


def test_subject_of_text_without_utf8_form_is_an_invalid_signal() -> None:
    """A path that is not UTF-8 comes out of os.fsdecode so."""
    with pytest.raises(InvalidSignalError):
        subject("CWE-78", "caf\udce9.py")


# ---- values


@pytest.mark.parametrize(
    "element",
    [correlatable(), Stance(statement=ADA, author=BO, seq=1, kind=StanceKind.SUPPORT, created_at_ns=0)],
    ids=["signal", "stance"],
)
def test_elements_are_immutable(element: Signal | Stance) -> None:
    identity = element.id
    for name in element.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(element, name, getattr(element, name))
        with pytest.raises((AttributeError, TypeError)):
            delattr(element, name)
    assert element.id == identity


def test_equality_and_hash_go_by_value() -> None:
    one, two = correlatable(), correlatable()
    assert one.id == one.id
    assert one == two
    assert hash(one) == hash(two)
    assert len({one, two, copy.copy(one), correlatable(seq=8)}) == 2
    assert one != correlatable(seq=8)
    assert one != "something else"
    assert correlatable(intensity=1) == correlatable(intensity=1.0)
    assert correlatable(intensity=1).id == correlatable(intensity=1.0).id


@pytest.mark.parametrize("name", ["intensity", "confidence", "rate_per_s"])
def test_negative_zero_is_zero(name: str) -> None:
    negative, zero = correlatable(**{name: -0.0}), correlatable(**{name: 0.0})
    assert encode_signal(negative) == encode_signal(zero)
    assert negative.id == zero.id
    assert negative == zero
    assert hash(negative) == hash(zero)


def test_default_field_is_no_named_argument_away() -> None:
    assert Signal(author=ADA, seq=0, created_at_ns=0).field_id == DEFAULT_FIELD_ID
    assert Signal(author=ADA, seq=0, created_at_ns=5, ttl_ns=7).expires_at_ns == 12
