"""A field that was written and read goes on as the field it was: compared with the one that was never written.

Lives of fields are drawn as lists of operations. The first part happens to one field; it is written and read; the rest
happens to both, and all that can be read of either is compared after every step.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smesh_core import (
    DecayCurve,
    Field,
    FieldFullError,
    GoneError,
    Observer,
    Quorum,
    Ref,
    Signal,
    SignalBatch,
    SignalType,
    Stance,
    StanceKind,
    field_id,
    limits,
    node_id,
    statement_id,
)
from smesh_core.errors import SnapshotError
from smesh_core.signal import DEFAULT_FIELD_ID
from smesh_core.snapshot import SNAPSHOT_VERSION, SnapshotKind, dump_field, load_field
from smesh_core.snapshot_field import FIELD_COLUMNS, field_sections
from smesh_core.snapshot_format import Sections, encode

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND = 10**9
VECTORS = Path(__file__).parent / "vectors"
NODES = [node_id(name) for name in ("ada", "bo", "cy", "di")]
ADA, BO, CY, DI = NODES
SUBJECTS = [b"x", b"xy", None, None]
OBSERVER = Observer(roster={ADA: "one", BO: "one", CY: ""}, trust={DI: 0.8}, unknown_vote=0.5)


def signal(author: bytes = ADA, seq: int = 1, **changes: Any) -> Signal:
    return Signal(author=author, seq=seq, **{"created_at_ns": 0, **changes})


def stance(on: bytes, author: bytes = BO, seq: int = 1, **changes: Any) -> Stance:
    return Stance(statement=on, author=author, seq=seq, **{"kind": StanceKind.SUPPORT, "created_at_ns": 0, **changes})


def reloaded(field: Field) -> Field:
    snapshot = dump_field(field)
    loaded = load_field(snapshot)
    assert dump_field(loaded) == snapshot
    return loaded


# ---- a field's life, as plain data


class Life:
    """A field, the time, and the names that were ever given out in it."""

    def __init__(self, field: Field, now_ns: int = 0, said: list[bytes] | None = None) -> None:
        self.field = field
        self.now_ns = now_ns
        self.said = [] if said is None else said
        self.refs: list[Ref] = []

    def apply(self, step: tuple[Any, ...]) -> Any:
        """Do one thing; what came of it, in words that are the same in any field."""
        name, *arguments = step
        try:
            return getattr(self, name)(*arguments)
        except (FieldFullError, GoneError) as error:
            return type(error).__name__

    def noted(self, ref: Ref | None) -> bytes | None:
        if ref is None:
            return None
        statement = self.field.statement(ref)
        self.refs.append(ref)
        if statement not in self.said:
            self.said.append(statement)
        return statement

    def ref(self, which: int) -> Ref:
        ref = self.field.find(self.said[which % len(self.said)]) if self.said else None
        if ref is None:
            raise GoneError("not there")
        return ref

    def emit(self, changes: dict[str, Any]) -> Any:
        here = {"created_at_ns": self.now_ns, "field_id": self.field.field_id}
        return self.noted(self.field.emit(signal(**{**changes, **here})))

    def emit_many(self, seqs: list[int], author: bytes, ttl_ns: int) -> Any:
        batch = [
            signal(author, seq, created_at_ns=self.now_ns, ttl_ns=ttl_ns, subject=SUBJECTS[seq % 4]) for seq in seqs
        ]
        return [self.noted(ref) for ref in self.field.emit_batch(batch)]

    def emit_columns(self, seqs: list[int], author: bytes, ttl_ns: int, is_shared: bool) -> Any:
        subjects = [SUBJECTS[seq % 4] for seq in seqs] if is_shared else None
        batch = SignalBatch(
            author=author, seq=seqs, created_at_ns=self.now_ns, ttl_ns=ttl_ns, subject=subjects, payload=b"together"
        )
        refs = list(self.field.emit_batch(batch))
        held = [None if ref is None or ref not in self.field else ref for ref in refs]
        return [self.noted(ref) for ref in held]

    def take(self, which: int, author: bytes, seq: int, kind: StanceKind, ttl_ns: int) -> Any:
        unknown = [statement_id(DEFAULT_FIELD_ID, SignalType.DATA, author=ADA, seq=number) for number in (3, 7)]
        on = [*unknown, *self.said][which % (2 + len(self.said))]
        self.field.take(stance(on, author, seq, kind=kind, created_at_ns=self.now_ns, ttl_ns=ttl_ns))

    def reinforce(self, which: int, author: bytes, reason: str) -> Any:
        return self.field.reinforce(self.ref(which), by=author, now_ns=self.now_ns, reason=reason)

    def withdraw(self, which: int, author: bytes) -> Any:
        return self.field.withdraw(self.ref(which), by=author, now_ns=self.now_ns)

    def oppose_many(self, which: list[int], author: bytes) -> Any:
        refs = [self.ref(number) for number in which]
        kind = StanceKind.OPPOSE
        return self.field.reinforce_batch(refs, by=author, now_ns=self.now_ns, kind=kind).tolist()

    def next_seq(self, author: bytes) -> int:
        return self.field.next_seq(author)

    def wait(self, seconds: int) -> None:
        self.now_ns += seconds * SECOND

    def expire(self) -> int:
        return self.field.expire(self.now_ns)

    def sense(self) -> Any:
        return [(self.field.statement(s.ref), s.value) for s in self.field.sense(self.now_ns, threshold=0.0)]

    def shown(self) -> Any:
        """All that can be read."""
        field, now_ns = self.field, self.now_ns
        found = [field.find(statement) for statement in self.said]
        return {
            "len": len(field),
            "sensed": self.sense(),
            "by an observer": [
                (field.statement(s.ref), s.value, s.signal) for s in field.query(now_ns, observer=OBSERVER)
            ],
            "read": [ref and field.read(ref, now_ns) for ref in found],
            "verdicts": [ref and field.verdict(ref, now_ns, OBSERVER, Quorum(weight=1.0)) for ref in found],
            "stances": [ref and field.stances(ref, now_ns) for ref in found],
        }


authors = st.sampled_from(NODES)
lives = st.sampled_from([1, 3, 8, 60]).map(lambda s: s * SECOND)
seqs = st.integers(0, 9)
which = st.integers(0, 30)
changes = st.fixed_dictionaries(
    {
        "author": authors,
        "seq": seqs,
        "subject": st.sampled_from(SUBJECTS),
        "type": st.sampled_from([SignalType.DATA, SignalType.ALERT]),
        "payload": st.sampled_from([b"", b"one", b"two" * 20]),
        "ttl_ns": lives,
        "intensity": st.sampled_from([0, 1, True, -0.0, 0.31, 1.0]),
        "confidence": st.sampled_from([0.0, 0.59, 1]),
        "decay": st.sampled_from(DecayCurve),
        "rate_per_s": st.sampled_from([0.0, 0.1, -0.0]),
        "radius": st.sampled_from([0, 5, 65535]),
    }
)
many = st.lists(seqs, min_size=1, max_size=6)
steps = st.one_of(
    st.tuples(st.just("emit"), changes),
    st.tuples(st.just("emit"), changes),
    st.tuples(st.just("emit_many"), many, authors, lives),
    st.tuples(st.just("emit_columns"), many, authors, lives, st.booleans()),
    st.tuples(st.just("take"), which, authors, seqs, st.sampled_from(StanceKind), lives),
    st.tuples(st.just("take"), which, authors, seqs, st.sampled_from(StanceKind), lives),
    st.tuples(st.just("reinforce"), which, authors, st.sampled_from(["", "wégen"])),
    st.tuples(st.just("withdraw"), which, authors),
    st.tuples(st.just("oppose_many"), st.lists(which, min_size=1, max_size=5), authors),
    st.tuples(st.just("next_seq"), authors),
    st.tuples(st.just("wait"), st.sampled_from([0, 1, 2, 5, 30])),
    st.just(("expire",)),
    st.just(("sense",)),
)
setups = st.fixed_dictionaries(
    {"capacity": st.sampled_from([1, 3, 6, 1000]), "author_share": st.sampled_from([1.0, 0.5, 0.3])}
)


@pytest.mark.parametrize("limit", [None, 2])
def test_a_field_that_was_written_and_read_goes_on_as_the_one_that_was_not(
    monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    if limit:
        monkeypatch.setattr(limits, "STANCES_WAITING", limit)
        monkeypatch.setattr(limits, "STANCES_PER_STATEMENT", limit)

    @settings(max_examples=100)
    @given(setup=setups, before=st.lists(steps, max_size=25), after=st.lists(steps, max_size=15))
    def check(setup: dict[str, Any], before: list[Any], after: list[Any]) -> None:
        first = Life(Field(**setup))
        for step in before:
            first.apply(step)
        snapshot = dump_field(first.field)
        second = Life(load_field(snapshot), first.now_ns, list(first.said))
        assert dump_field(second.field) == snapshot
        names = first.refs
        for step in [("wait", 0), *after]:
            assert first.apply(step) == second.apply(step)
            assert first.shown() == second.shown()
            for name in names:
                assert (name in first.field) == (name in second.field)
                if name in first.field:
                    assert first.field.statement(name) == second.field.statement(name)
        for node in NODES:
            assert first.field.next_seq(node) == second.field.next_seq(node)
        reloaded(second.field)

    check()


@settings(max_examples=40)
@given(setup=setups, before=st.lists(steps, max_size=25), after=st.lists(changes, max_size=15))
def test_signals_that_come_one_at_a_time_get_the_references_that_they_would_have_got(
    setup: dict[str, Any], before: list[Any], after: list[dict[str, Any]]
) -> None:
    first = Life(Field(**setup))
    for step in before:
        first.apply(step)
    second = Life(reloaded(first.field), first.now_ns)
    at = len(first.refs)
    for emission in after:
        first.apply(("emit", emission))
        second.apply(("emit", emission))
    assert first.refs[at:] == second.refs


@settings(max_examples=40)
@given(before=st.lists(steps, max_size=25), reads=st.lists(st.sampled_from(["shown", "sense"]), max_size=3))
def test_reading_a_field_does_not_change_its_bytes(before: list[Any], reads: list[str]) -> None:
    life = Life(Field())
    for step in before:
        life.apply(step)
    snapshot = dump_field(life.field)
    for read in reads:
        getattr(life, read)()
    assert dump_field(life.field) == snapshot


# ---- what is kept


def test_a_name_of_what_is_gone_stays_gone_whoever_takes_its_slot() -> None:
    field = Field()
    gone = field.emit(signal(ADA, 1, ttl_ns=1))
    assert field.expire(1) == 1
    loaded = reloaded(field)
    new = loaded.emit(signal(ADA, 2))
    assert new.slot == gone.slot
    assert gone not in loaded
    assert new in loaded


def test_settings_are_kept() -> None:
    field = reloaded(Field(field_id("elsewhere"), capacity=10, author_share=0.35))
    assert (field.field_id, field.capacity) == (field_id("elsewhere"), 10)
    said = field.emit_batch(signal(ADA, seq, field_id=field.field_id, ttl_ns=9 - seq) for seq in range(5))
    assert [ref is not None for ref in said] == [True, True, True, False, False]  # int(10 * 0.35), the author's share
    assert reloaded(Field(capacity=10**40)).capacity == 10**40


def test_a_number_that_was_given_out_is_not_given_out_again() -> None:
    field = Field()
    ref = field.emit(signal(ADA, 1, ttl_ns=5))
    field.reinforce(ref, by=BO, now_ns=0, seq=41)
    field.expire(5)
    assert len(field) == 0
    assert reloaded(field).next_seq(BO) == 42


def test_a_stance_that_waits_is_there_when_its_statement_comes() -> None:
    field, late = Field(), signal(ADA, 1, subject=b"late")
    field.take(stance(late.statement, BO))
    loaded = reloaded(field)
    assert loaded.find(late.statement) is None
    ref = loaded.emit(late)
    assert [position.author for position in loaded.positions(ref, 0)] == sorted([ADA, BO])


def test_what_waits_is_counted_against_the_bound_on_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STANCES_WAITING", 2)
    field, late = Field(), [signal(ADA, seq) for seq in (1, 2, 3)]
    for number, said in enumerate(late[:2]):
        field.take(stance(said.statement, BO, number, ttl_ns=5 + number))
    loaded = reloaded(field)
    loaded.take(stance(late[2].statement, BO, 9, ttl_ns=9))
    held = [len(loaded.stances(loaded.emit(said), 0)) for said in late]
    assert held == [0, 1, 1]  # the one that ends first was shed


def test_a_statement_whose_first_emission_has_gone_is_still_the_same() -> None:
    for about in (b"shared", None):
        field = Field()
        short, long = (signal(ADA, 1, subject=about, ttl_ns=ttl) for ttl in (1, 9))
        ref = field.emit(short)
        assert field.emit(long) == ref
        field.expire(1)
        loaded = reloaded(field)
        assert loaded.emissions(ref, 1) == [long]
        assert loaded.statement(ref) == long.statement
        assert loaded.find(long.statement) == ref
        assert loaded.emit(short) == ref  # in a crowd again, not a statement of its own


def test_stances_on_a_crowded_statement_are_replaced_and_counted_as_before() -> None:
    field = Field()
    ref = field.emit(signal(ADA, 1))
    for number in range(40):
        field.reinforce(ref, by=node_id(f"node {number}"), now_ns=0)
    loaded = reloaded(field)
    for one in (field, loaded):
        one.inhibit(ref, by=node_id("node 7"), now_ns=1)
    assert loaded.read(ref, 1) == field.read(ref, 1)
    assert len(loaded.stances(ref, 1)) == 40


def test_a_payload_that_many_share_is_held_once() -> None:
    field = Field()
    field.emit_batch(SignalBatch(author=ADA, seq=range(1000), created_at_ns=0, payload=b"p" * 10_000))
    snapshot = dump_field(field)
    assert len(snapshot) < 40_000
    values = load_field(snapshot)._store.rows.values
    assert values[0] is values[999]


def test_a_batch_is_written_and_read_without_hashing_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    field = Field()
    refs = field.emit_batch(
        SignalBatch(author=ADA, seq=range(100), created_at_ns=0, subject=[b"%d" % n for n in range(100)])
    )
    field.reinforce_batch(refs[:50], by=BO, now_ns=0)
    known = len(field._store.index.ids)

    def refuse(*_: object) -> Any:
        raise AssertionError("hashed")

    monkeypatch.setattr(hashlib, "sha256", refuse)
    sections = field_sections(field)
    monkeypatch.undo()
    loaded = load_field(encode(SnapshotKind.FIELD, sections))
    assert (len(field._store.index.ids), len(loaded._store.index.ids)) == (known, 0)
    assert [value for value in loaded._store.rows.values if isinstance(value, Signal)] == []


def test_two_fields_of_one_history_have_the_same_bytes_whatever_was_read_of_them() -> None:
    one, other = (Field() for _ in range(2))
    for field in (one, other):
        field.emit_batch(SignalBatch(author=ADA, seq=range(5), created_at_ns=0))
        field.emit(signal(BO, 1, intensity=0))
    other.sense(0)
    assert dump_field(one) == dump_field(other)


@pytest.mark.parametrize("version", range(1, SNAPSHOT_VERSION + 1))
def test_the_golden_field_of_every_version_is_read(version: int) -> None:
    golden = (VECTORS / f"snapshot-field-{version}.bin").read_bytes()
    field = load_field(golden)
    assert dump_field(field) == dump_field(golden_field())
    assert (dump_field(field) == golden) is (version == SNAPSHOT_VERSION)
    ref = field.find(signal(ADA, 1, subject=b"CWE-78").statement)
    assert ref is not None
    assert field.verdict(ref, SECOND).state.value == "reached"
    assert field.value(ref, SECOND) == pytest.approx(golden_field().value(ref, SECOND))


def golden_field() -> Field:
    """A bit of everything."""
    field = Field(capacity=20, author_share=0.5)
    ref = field.emit(signal(ADA, 1, subject=b"CWE-78", payload=b"line 12", confidence=0.6))
    field.emit(signal(BO, 1, subject=b"CWE-78", payload=b"line 12", ttl_ns=5 * SECOND))
    field.inhibit(ref, by=CY, now_ns=SECOND, reason="quoted, as ist üblich")
    field.reinforce(ref, by=DI, now_ns=SECOND, confidence=0.5, reason="wie üblich")
    field.reinforce(ref, by=CY, now_ns=SECOND)
    field.emit(signal(ADA, 2, ttl_ns=1))
    field.emit_batch(SignalBatch(author=DI, seq=[5, 6, 7], created_at_ns=[0, 1, 2], decay=DecayCurve.STEP))
    field.expire(SECOND)
    field.take(stance(signal(ADA, 99).statement, BO, 8))
    field.next_seq(node_id("ed"))
    return field


# ---- what cannot be, with a checksum that is right


def nonsense(change: Callable[[Sections], None]) -> bytes:
    sections = {name: np.array(array) for name, array in field_sections(golden_field()).items()}
    change(sections)
    return encode(SnapshotKind.FIELD, sections)


def put(name: str, value: Any, at: Any = 0) -> Callable[[Sections], None]:
    def change(sections: Sections) -> None:
        sections[name] = sections[name].copy()
        sections[name][at] = value

    return change


def swapped(name: str) -> Callable[[Sections], None]:
    def change(sections: Sections) -> None:
        sections[name] = sections[name][::-1]

    return change


def longer(name: str) -> Callable[[Sections], None]:
    def change(sections: Sections) -> None:
        sections[name] = np.concatenate([sections[name], sections[name][-1:]])

    return change


def text(name: str, said: bytes) -> Callable[[Sections], None]:
    def change(sections: Sections) -> None:
        sections[name] = np.frombuffer(said, np.uint8)

    return change


NAN, HUGE = float("nan"), 2**62
NONSENSE: dict[str, Callable[[Sections], None]] = {
    "an id of 31 bytes": text("field_id", b"x" * 31),
    "no capacity": text("capacity", b""),
    "a capacity of zero": text("capacity", b"0"),
    "a capacity with a leading zero": text("capacity", b"020"),
    "a capacity that is text": text("capacity", b"twenty"),
    "a capacity of superscripts": text("capacity", "²".encode()),
    "a capacity of very many digits": text("capacity", b"9" * 4001),
    "a capacity beyond any float": text("capacity", b"9" * 400),
    "more held than the capacity": text("capacity", b"3"),
    "an author over its share": text("author_capacity", b"1"),
    "authors out of order": swapped("author_ids"),
    "an author twice": put("author_ids", 0, slice(None)),
    "an author with a negative number": put("author_seqs", -1),
    "an author whose highest number is not": put("author_seqs", 0, slice(None)),
    "an author without elements": longer("author_seqs"),
    "a number given out that is negative": put("numbered_seqs", -5),
    "numbers given out to nobody": longer("numbered_seqs"),
    "a generation that is even where something is said": put("generations", 2),
    "a negative generation": put("generations", -1),
    "a generation too many": longer("generations"),
    "a free slot that is not there": put("free_slots", 1000),
    "a free slot that is negative": put("free_slots", -1),
    "a free slot that is taken": put("free_slots", 0),
    "a free slot twice": longer("free_slots"),
    "rows that do not ascend": swapped("emission_rows"),
    "a row beyond the table": put("emission_rows", 10**6, -1),
    "a negative row": put("emission_rows", -1),
    "a statement in a free slot": put("emission_statements", 40),
    "a statement before the table": put("emission_statements", -40),
    "an author that is not there": put("emission_authors", 99),
    "an author before the first": put("emission_authors", -1),
    "a life of nothing": put("emission_ttls_ns", 0),
    "a life without an end": put("emission_ttls_ns", 2**62),
    "an intensity that is no number": put("emission_intensities", NAN),
    "an intensity of negative zero": put("emission_intensities", -0.0),
    "an intensity over 1": put("emission_intensities", 1.5),
    "a confidence that is no number": put("emission_confidences", NAN),
    "a rate that is infinite": put("emission_rates_per_s", float("inf")),
    "a type that is not known": put("emission_types", 7),
    "a curve that is not known": put("emission_curves", 4),
    "a beginning before time": put("emission_created_ns", -1),
    "a payload that is not there": put("emission_payloads", 77),
    "a payload before the first": put("emission_payloads", -1),
    "payloads cut short": put("payload_sizes", 8),
    "a payload too long": put("payload_sizes", 65535),
    "a subject of nothing": put("subject_sizes", 0),
    "a subject of what nobody says": put("subject_slots", 63),
    "a subject of no slot": put("subject_slots", -1),
    "a subject without a slot": longer("subject_sizes"),
    "who waits is free": put("waiting_slots", 63),
    "who waits is said": put("waiting_slots", 0),
    "who waits is not there": put("waiting_slots", HUGE >> 32),
    "an id that waits too many": longer("waiting_ids"),
    "a stance on a free slot": put("stance_statements", 63, -1),
    "a stance on no slot": put("stance_statements", -1),
    "a stance beyond the table": put("stance_statements", 2**30, -1),
    "a stance by nobody": put("stance_authors", 99),
    "a stance without an end": put("stance_expires_ns", 2**63 - 1, -1),
    "a stance that ends by wrapping around": put("stance_expires_ns", -(2**63), -1),
    "a stance that ended before it began": put("stance_expires_ns", 0),
    "a stance that is no number": put("stance_confidences", NAN),
    "a stance of no confidence": put("stance_confidences", 0.0),
    "a stance of no kind": put("stance_kinds", 3),
    "a reason that is not there": put("stance_reasons", 9),
    "a reason that is not UTF-8": put("reasons", 0xFF, slice(0, 3)),
    "a column one too long": longer("emission_seqs"),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_with_a_checksum_that_is_right_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(SnapshotError) as caught:
        load_field(nonsense(NONSENSE[name]))
    assert "\n" not in str(caught.value)


def test_who_waits_is_not_said_under_another_name() -> None:
    """Or forgetting one of them would lose the other."""
    field = golden_field()
    ids = field_sections(field)["waiting_ids"].copy()
    ids[0] = np.frombuffer(signal(DI, 6).statement, np.uint8)
    with pytest.raises(SnapshotError, match="waits that is said"):
        load_field(nonsense(lambda sections: sections.update(waiting_ids=ids)))


def test_a_statement_or_an_emission_is_not_held_twice() -> None:
    field = Field()
    field.emit(signal(ADA, 1))
    field.emit(signal(ADA, 2))
    sections = field_sections(field)
    with pytest.raises(SnapshotError, match="the same one"):
        load_field(encode(SnapshotKind.FIELD, {**sections, "emission_seqs": np.array([2], np.int64)}))
    field = Field()
    for about in (b"x", b"y"):
        field.emit(signal(ADA, 1, subject=about))
    with pytest.raises(SnapshotError, match="the same one"):
        load_field(encode(SnapshotKind.FIELD, {**field_sections(field), "subjects": np.frombuffer(b"xx", np.uint8)}))
    field = Field()
    for payload in (b"1", b"2"):
        field.emit(signal(ADA, 1, payload=payload))
    sections = field_sections(field)
    sections |= {"emission_payloads": np.zeros(1, np.int32), "payload_sizes": np.ones(1, np.uint16)}
    with pytest.raises(SnapshotError, match="held twice"):
        load_field(encode(SnapshotKind.FIELD, {**sections, "payloads": np.frombuffer(b"1", np.uint8)}))


def test_a_stance_is_not_held_beside_the_one_that_replaced_it() -> None:
    field = Field()
    ref = field.emit(signal(ADA, 1))
    field.reinforce(ref, by=BO, now_ns=0)
    field.reinforce(ref, by=CY, now_ns=0)
    for author in (BO, CY):
        field.emit(signal(author, 7))
    sections = field_sections(field)
    authors = np.zeros(1, np.int32) + int(sections["stance_authors"][0])
    with pytest.raises(SnapshotError, match="beside one that replaces it"):
        load_field(encode(SnapshotKind.FIELD, {**sections, "stance_authors": authors}))


KNOWN = {column.name: column for column in FIELD_COLUMNS}


@settings(max_examples=300)
@given(data=st.data())
def test_any_number_changed_is_refused_or_is_a_field_that_lives_on(data: st.DataObject) -> None:
    """Whatever a snapshot says, what is loaded of it can be read, changed and emptied without any other error."""
    sections = {name: np.array(array) for name, array in field_sections(golden_field()).items()}
    name = data.draw(st.sampled_from([name for name in sections if sections[name].size]))
    flat = sections[name].reshape(-1)
    info: Any = (
        st.floats() if flat.dtype.kind == "f" else st.integers(np.iinfo(flat.dtype).min, np.iinfo(flat.dtype).max)
    )
    near = st.integers(-2, 80) if flat.dtype.kind == "i" else st.integers(0, 80)
    flat[data.draw(st.integers(0, flat.size - 1))] = data.draw(st.one_of(near, info))
    snapshot = encode(SnapshotKind.FIELD, sections)
    try:
        field = load_field(snapshot)
    except SnapshotError:
        return
    assert dump_field(field) == snapshot
    for at in (0, SECOND, 2**62):
        for sensed in field.sense(at, threshold=0.0):
            field.read(sensed.ref, at)
            field.stances(sensed.ref, at)
    life = Life(field)
    for seq in range(30):
        life.apply(("emit", {"author": node_id("ed"), "seq": seq, "subject": [b"CWE-78", None][seq % 2]}))
    field.take(stance(signal(ADA, 99).statement, CY, 3, field_id=field.field_id))
    field.expire(limits.SEQ_MAX)
    assert len(field) == 0
    assert len(field._store.stances) == 0
