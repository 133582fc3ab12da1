"""Bytes that are not a snapshot: cut short, altered, foreign, hostile; and versions that are not the present one."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import zipfile
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smesh_core import Field, Network, Signal, node_id, topologies
from smesh_core.errors import SmeshError, SnapshotError
from smesh_core.snapshot import SNAPSHOT_VERSION, SnapshotKind, dump_field, dump_network, load_field, load_network
from smesh_core.snapshot_field import FIELD_COLUMNS, field_sections
from smesh_core.snapshot_format import (
    MIGRATIONS,
    Sections,
    conform,
    decimal,
    decode,
    encode,
    migrated,
    parted,
    same,
    shortened,
    spread,
    within,
)

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD, SECTION = struct.Struct("<8sHHIQ"), struct.Struct("<24s4sIQQ")


def small_field() -> bytes:
    field = Field()
    ref = field.emit(Signal(author=node_id("ada"), seq=1, created_at_ns=0))
    field.reinforce(ref, by=node_id("bo"), now_ns=0)
    return dump_field(field)


def small_network() -> bytes:
    network = Network(topologies.ring(4), engine="numpy")
    network.emit(0, radius=3, evidence=1.0)
    network.run(2)
    return dump_network(network)


FIELD, NETWORK = small_field(), small_network()
LOADS: list[tuple[bytes, Callable[[bytes], Any]]] = [
    (FIELD, load_field),
    (NETWORK, lambda given: load_network(given, engine="numpy")),
]


def refused(given: bytes, load: Callable[[bytes], Any], match: str = ".") -> None:
    with pytest.raises(SnapshotError, match=match) as caught:
        load(given)
    said = str(caught.value)
    assert "\n" not in said
    assert 0 < len(said) < 300
    assert isinstance(caught.value, SmeshError)


def sealed(body: bytes) -> bytes:
    """Anything with a right checksum behind it."""
    return body + hashlib.sha256(body).digest()


def made(sections: list[bytes], *, version: int = SNAPSHOT_VERSION, kind: int = 1, count: int | None = None) -> bytes:
    """A snapshot of these encoded sections, with a length and a checksum that are right."""
    body = b"".join(sections)
    head = HEAD.pack(FIELD[:8], version, kind, len(sections) if count is None else count, HEAD.size + len(body) + 32)
    return sealed(head + body)


def section(name: bytes, dtype: bytes, dimensions: int, rows: int, width: int, held: bytes = b"") -> bytes:
    return SECTION.pack(name, dtype, dimensions, rows, width) + held


# ---- cut short, altered, foreign


@pytest.mark.parametrize(("given", "load"), LOADS, ids=["field", "network"])
def test_a_snapshot_cut_short_anywhere_is_refused(given: bytes, load: Callable[[bytes], Any]) -> None:
    for end in range(len(given)):
        refused(given[:end], load)


@pytest.mark.parametrize(("given", "load"), LOADS, ids=["field", "network"])
def test_a_snapshot_with_any_byte_altered_is_refused(given: bytes, load: Callable[[bytes], Any]) -> None:
    for at in range(len(given)):
        for bits in (1 << at % 8, 0xFF):
            altered = bytearray(given)
            altered[at] ^= bits
            refused(bytes(altered), load)


@pytest.mark.parametrize(("given", "load"), LOADS, ids=["field", "network"])
def test_bytes_after_the_end_are_refused(given: bytes, load: Callable[[bytes], Any]) -> None:
    for more in (b"\0", b"\0" * 8, b"x", given):
        refused(given + more, load, "came as")


def foreign() -> dict[str, bytes]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a", FIELD)
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    return {
        "nothing": b"",
        "a zip": archive.getvalue(),
        "a png": b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
        "a pickle": pickle.dumps({"a": 1}),
        "an array": array.getvalue(),
        "text": "Löwenzahn\n".encode() * 50,
        "zeros": b"\0" * 4096,
        "compressed": zlib.compress(FIELD),
        "the first byte": FIELD[:1],
        "line ends converted": FIELD.replace(b"\r\n", b"\n"),
        "in base 16": FIELD.hex().encode(),
        "only a checksum": sealed(b""),
        "a head and nothing": sealed(FIELD[:24]),
    }


@pytest.mark.parametrize("name", foreign())
def test_what_is_no_snapshot_is_refused(name: str) -> None:
    for _, load in LOADS:
        refused(foreign()[name], load)


@pytest.mark.parametrize("given", [None, "text", 7, bytearray(FIELD), memoryview(FIELD), [1]])
def test_a_snapshot_is_bytes_and_nothing_else(given: Any) -> None:
    for _, load in LOADS:
        refused(given, load, "a snapshot is bytes, not")


def test_a_field_is_no_network_and_a_network_no_field() -> None:
    refused(FIELD, load_network, "a snapshot of a field")
    refused(NETWORK, load_field, "a snapshot of a network")
    refused(made([], kind=3), load_field, "kind unknown")


@settings(max_examples=200)
@given(given=st.binary(max_size=200), start=st.integers(0, 60))
def test_any_bytes_behind_the_start_of_a_snapshot_are_refused(given: bytes, start: int) -> None:
    for whole, load in LOADS:
        refused(whole[:start] + given, load)
        refused(sealed(whole[: 24 + start] + given), load)


@settings(max_examples=300)
@given(data=st.data())
def test_any_altered_bytes_with_a_right_checksum_raise_nothing_else(data: st.DataObject) -> None:
    whole, load = data.draw(st.sampled_from(LOADS))
    altered = bytearray(whole[:-32])
    for _ in range(data.draw(st.integers(1, 3))):
        altered[data.draw(st.integers(0, len(altered) - 1))] = data.draw(st.integers(0, 255))
    with suppress(SnapshotError):
        load(sealed(bytes(altered)))


# ---- hostile sections


@pytest.mark.parametrize(
    ("rows", "width"),
    [(2**63, 0), (2**64 - 1, 0), (2**62, 32), (2**32, 2**32), (9, 0), (0, 2**64 - 1), (1, 2**40), (2**61, 8)],
)
def test_no_number_in_a_snapshot_makes_it_allocate_more_than_is_there(rows: int, width: int) -> None:
    held = section(b"field_id", b"<i8", 2 if width else 1, rows, width, b"\0" * 64)
    refused(made([held]), load_field)


@pytest.mark.parametrize(
    "dtype",
    [b"|O", b">i8", b"<f4", b"|V8", b"<M8", b"<U4", b"", b"|S1", b"i8,", b"<i4\n", b"\xff\xfe", b"|b1", b"<c16"],
)
def test_only_dtypes_of_the_list_are_read(dtype: bytes) -> None:
    refused(made([section(b"field_id", dtype[:4], 1, 4, 0, b"\0" * 32)]), load_field, "known form")


def test_sections_are_counted_named_once_and_leave_nothing_over() -> None:
    one = section(b"field_id", b"|u1", 1, 32, 0, b"\0" * 32)
    refused(made([one]), load_field, "has no capacity")
    refused(made([one, one]), load_field, "there twice")
    refused(made([one], count=2), load_field, "before its last section")
    refused(made([one], count=0), load_field, "after its last section")
    refused(made([one], count=2**32 - 1), load_field, "at most 256 sections")
    refused(made([section(b"field_id", b"|u1", 1, 32, 4, b"\0" * 32)]), load_field, "known form")
    refused(made([section(b"field_id", b"|u1", 2, 32, 0, b"\0" * 32)]), load_field, "known form")
    refused(made([section(b"field_id", b"|u1", 3, 32, 1, b"\0" * 32)]), load_field, "known form")


def test_a_section_that_is_missing_too_many_or_of_another_type_is_refused() -> None:
    sections = decode(FIELD, SnapshotKind.FIELD)[1]
    for name in sections:
        fewer = {other: array for other, array in sections.items() if other != name}
        refused(encode(SnapshotKind.FIELD, fewer), load_field, f"has no {name}")
    refused(encode(SnapshotKind.FIELD, {**sections, "more": np.zeros(1)}), load_field, "not known")
    refused(encode(SnapshotKind.FIELD, {**sections, "free_slots": np.zeros(3)}), load_field, "not of type")
    refused(encode(SnapshotKind.FIELD, {**sections, "author_ids": np.zeros((1, 31), np.uint8)}), load_field, "width")


def test_a_form_that_would_not_have_been_written_is_refused() -> None:
    sections = decode(FIELD, SnapshotKind.FIELD)[1]
    refused(encode(SnapshotKind.FIELD, dict(reversed(sections.items()))), load_field, "the one form")
    padded = bytearray(FIELD[:-32])
    at = padded.index(b"capacity") + SECTION.size + 7  # after the seven digits of a million
    assert padded[at - 7 : at + 1] == b"1000000\0"
    padded[at] = 1
    refused(sealed(bytes(padded)), load_field, "filled up")
    field = Field()
    for seq in (1, 2):
        field.emit(Signal(author=node_id("ada"), seq=seq, created_at_ns=0))
    long = {**field_sections(field), "emission_ttls_ns": np.full(2, 60 * 10**9)}
    refused(encode(SnapshotKind.FIELD, long), load_field, "the one form")


# ---- versions


def test_a_later_version_is_refused_as_that() -> None:
    later = bytearray(FIELD[:-32])
    later[8:10] = (SNAPSHOT_VERSION + 1).to_bytes(2, "little")
    said = f"version {SNAPSHOT_VERSION + 1}; this smesh-core reads up to {SNAPSHOT_VERSION}"
    refused(sealed(bytes(later)), load_field, said)
    refused(bytes(later) + FIELD[-32:], load_field, said)  # whatever its checksum may look like


def test_a_version_without_a_way_to_the_present_one_is_refused() -> None:
    sections = decode(FIELD, SnapshotKind.FIELD)[1]
    refused(encode(SnapshotKind.FIELD, sections, version=0), load_field, "version 0 can no longer be read")


def test_each_version_since_the_first_has_a_migration_for_each_kind() -> None:
    for kind in SnapshotKind:
        assert {step for of, step in MIGRATIONS if of is kind} == set(range(1, SNAPSHOT_VERSION))


def test_migrations_are_taken_one_step_at_a_time_and_never_beyond_the_present() -> None:
    def to_1(sections: Sections) -> Sections:
        return {"whole": sections["halves"] * 2}

    def to_2(sections: Sections) -> Sections:
        return {**sections, "more": np.ones(1)}

    steps = {(SnapshotKind.FIELD, 0): to_1, (SnapshotKind.FIELD, 1): to_2}
    old: Sections = {"halves": np.array([2])}
    found = migrated(SnapshotKind.FIELD, 0, old, migrations=steps, current=2)
    assert {name: array.tolist() for name, array in found.items()} == {"whole": [4], "more": [1.0]}
    assert list(migrated(SnapshotKind.FIELD, 0, old, migrations=steps, current=1)) == ["whole"]
    assert migrated(SnapshotKind.FIELD, 2, old, migrations=steps, current=2) is old
    assert list(old) == ["halves"]
    with pytest.raises(SnapshotError, match="version 0 can no longer"):
        migrated(SnapshotKind.NETWORK, 0, old, migrations=steps, current=2)
    with pytest.raises(SnapshotError, match="version 0 that cannot be one"):
        migrated(SnapshotKind.FIELD, 0, {}, migrations=steps, current=2)


def test_an_older_snapshot_is_loaded_through_its_migration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through several steps: this makes up a version 0, which had no sequence numbers given out."""

    def give_numbers(sections: Sections) -> Sections:
        return {
            **sections,
            "numbered_ids": np.zeros((0, 32), np.uint8),
            "numbered_seqs": np.zeros(0, np.int64),
        }

    field = Field()
    ref = field.emit(Signal(author=node_id("ada"), seq=1, created_at_ns=0))
    sections = field_sections(field)
    older = {name: array for name, array in sections.items() if not name.startswith("numbered")}
    monkeypatch.setitem(MIGRATIONS, (SnapshotKind.FIELD, 0), give_numbers)
    loaded = load_field(encode(SnapshotKind.FIELD, older, version=0))
    assert loaded.read(ref, 0) == field.read(ref, 0)
    assert dump_field(loaded) == dump_field(field)  # in the present version
    refused(encode(SnapshotKind.FIELD, {}, version=0), load_field)


# ---- parts


def test_what_is_decoded_is_what_was_encoded() -> None:
    sections: Sections = {
        "a": np.arange(5, dtype=np.int64),
        "of_three": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "none": np.zeros(0, np.float64),
        "big": np.arange(3, dtype=">i4"),
        "strided": np.arange(8, dtype=np.int64)[::2],
    }
    version, found = decode(encode(SnapshotKind.NETWORK, sections), SnapshotKind.NETWORK)
    assert version == SNAPSHOT_VERSION
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in sections.items()
    }
    assert found["big"].dtype == np.dtype("<i4")
    assert not any(array.flags.writeable for array in found.values())


def test_columns_are_shortened_by_bits_and_spread_again() -> None:
    assert shortened(np.array([2, 2, 2]), "<i8").tolist() == [2]
    assert shortened(np.array([2, 3]), "<i8").tolist() == [2, 3]
    assert len(shortened(np.array([0.0, -0.0]), "<f8")) == 2
    assert shortened(np.zeros(0), "<f8").shape == (0,)
    assert spread({"a": np.array([7])}, "a", 3).tolist() == [7, 7, 7]
    for held, count in (([7], 0), ([7, 8], 3), ([], 1), ([1, 2, 3], 2)):
        with pytest.raises(SnapshotError):
            spread({"a": np.array(held)}, "a", count)


def test_bounds_hold_nan_off() -> None:
    for value in (float("nan"), -0.1, 1.1, float("inf")):
        with pytest.raises(SnapshotError, match="outside"):
            within("parts", np.array([0.5, value]), 0.0, 1.0)


def test_sections_are_the_same_only_bit_for_bit() -> None:
    assert not same({"a": np.array([0.0])}, {"a": np.array([-0.0])})
    assert not same({"a": np.array([1])}, {"a": np.array([1.0])})
    assert not same({"a": np.array([1]), "b": np.array([1])}, {"b": np.array([1]), "a": np.array([1])})
    assert same({"a": np.array([float("nan")])}, {"a": np.array([float("nan")])})


def test_sizes_of_texts_fit_their_bytes() -> None:
    text = np.frombuffer(b"abc", np.uint8)
    assert parted(np.array([1, 0, 2], np.uint16), text, "texts", 0, 9) == [b"a", b"", b"bc"]
    for sizes in ([1, 1], [3, 1], [], [65535] * 70_000):
        with pytest.raises(SnapshotError, match="do not fit"):
            parted(np.array(sizes, np.uint16), text, "texts", 0, 65535)


def test_numbers_have_bounds_that_python_can_print() -> None:
    assert decimal(-(10**3999)).tobytes().startswith(b"-1000")
    with pytest.raises(SnapshotError, match="4000 digits"):
        decimal(10**4000)


def test_columns_are_what_their_list_says() -> None:
    assert len({column.name for column in FIELD_COLUMNS}) == len(FIELD_COLUMNS)
    conform(decode(FIELD, SnapshotKind.FIELD)[1], FIELD_COLUMNS)
    assert list(decode(FIELD, SnapshotKind.FIELD)[1]) == [column.name for column in FIELD_COLUMNS]
