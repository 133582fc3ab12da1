"""Batches: bounds in the words of `Signal`, merging as one call at a time would, stances on many statements."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smesh_core import (
    DecayCurve,
    Field,
    FieldFullError,
    GoneError,
    InvalidSignalError,
    Ref,
    Refs,
    Signal,
    SignalBatch,
    SignalType,
    Stance,
    StanceKind,
    WrongFieldError,
    field_id,
    limits,
    node_id,
    statement_id,
)

ADA, BO, CY = NODES = [node_id(name) for name in ("ada", "bo", "cy")]
SECOND = 10**9
TTL_MAX_NS = 30 * 24 * 3600 * SECOND
CREATED_AT_NS_MAX = 2**63 - 1 - TTL_MAX_NS
NAN, INF = float("nan"), float("inf")


def batch(size: int = 3, **changes: Any) -> SignalBatch:
    return SignalBatch(**{"author": ADA, "seq": range(1, size + 1), "created_at_ns": 0, **changes})


# ---- what a batch holds

COLUMNS = {
    "author": [ADA, BO, ADA],
    "seq": np.array([5, 2**63 - 1, 0]),
    "created_at_ns": [0, CREATED_AT_NS_MAX, 7],
    "payload": [b"", b"p" * 15239, b"x"],
    "type": [SignalType.ALERT, SignalType.DATA, SignalType.CUSTOM],
    "subject": [None, b"s", b"s" * 1024],
    "ttl_ns": np.array([1, TTL_MAX_NS, 60 * SECOND]),
    "intensity": [0, 1.0, 0.5],
    "confidence": np.array([0.25, 1.0, 0.0], np.float32),
    "decay": [DecayCurve.STEP, DecayCurve.LINEAR, DecayCurve.SIGMOID],
    "rate_per_s": [0.0, 1e6, 3],
    "radius": np.array([0, 65535, 5], np.uint16),
    "field_id": field_id("other"),
}


def test_signals_of_a_batch_are_the_signals_of_its_columns() -> None:
    made = SignalBatch(**COLUMNS)
    assert len(made) == 3
    for at, signal in enumerate(made):
        plain = {n: v if isinstance(v, bytes) else v[at] for n, v in COLUMNS.items()}
        plain = {n: v.item() if isinstance(v, np.generic) else v for n, v in plain.items()}
        assert signal == made[at] == made[at - 3] == Signal(**plain)
        assert signal.id == Signal(**plain).id
    assert made[1:] == [made[1], made[2]]
    with pytest.raises(IndexError):
        made[3]
    with pytest.raises(IndexError):
        made[-4]


def test_signals_of_a_batch_are_read_from_a_field_as_they_were_given() -> None:
    made, field = SignalBatch(**COLUMNS), Field(field_id("other"))
    refs = field.emit_batch(made)
    for signal, ref in zip(made, refs, strict=True):
        assert ref is not None
        assert field.statement(ref) == signal.statement
        assert field.find(signal.statement) == ref
        live = field.emissions(ref, signal.created_at_ns)
        assert live == ([signal] if signal.intensity >= 0.01 else [])
        assert [s.id for s in live] == [signal.id for _ in live]


def test_columns_may_be_shared_or_sequences_or_arrays() -> None:
    expected = [Signal(author=ADA, seq=seq, created_at_ns=4, radius=9) for seq in (1, 2, 3)]
    for seq in ([1, 2, 3], (1, 2, 3), range(1, 4), np.arange(1, 4), np.arange(1, 4, dtype=np.uint8)):
        for created in (4, [4, 4, 4], np.full(3, 4)):
            assert list(SignalBatch(author=ADA, seq=seq, created_at_ns=created, radius=9)) == expected


def test_empty_batch() -> None:
    field = Field()
    refs = field.emit_batch(batch(0, payload=[], confidence=[]))
    assert (len(refs), list(refs), len(field)) == (0, [], 0)
    assert field.reinforce_batch(refs, by=BO, now_ns=0).tolist() == []
    assert field.reinforce_batch([], by=BO, now_ns=0).tolist() == []
    assert field.next_seq(BO) == 1


# ---- its bounds

BAD = {
    "author": [b"short", "i" * 32, None, bytearray(32)],
    "seq": [-1, 2**63, 2**70, 1.0, True, "1", None, np.int64(1), NAN],
    "created_at_ns": [-1, CREATED_AT_NS_MAX + 1, 2**63, 0.0, True, None],
    "payload": [b"p" * 15240, "text", None, bytearray(1)],
    "type": [0, 7, "data", None, DecayCurve.EXPONENTIAL],
    "subject": [b"", b"s" * 1025, "text", 0],
    "ttl_ns": [0, -1, TTL_MAX_NS + 1, 2**63, 1.5, None],
    "intensity": [NAN, INF, -INF, -1, 2, 1.0000000000000002, "1", None, 1j, 10**400],
    "confidence": [NAN, INF, -0.1, -5e-324, 1.1, "1", None],
    "decay": [0, "step", None, SignalType.DATA],
    "rate_per_s": [NAN, INF, -1, 1000000.0000000001, 10**400, "0", None],
    "radius": [-1, 65536, 10**30, 5.0, True, None],
}
GOOD = {
    "author": ADA,
    "seq": 7,
    "created_at_ns": 0,
    "payload": b"",
    "type": SignalType.DATA,
    "subject": b"x",
    "ttl_ns": 1,
    "intensity": 0.5,
    "confidence": 0.5,
    "decay": DecayCurve.STEP,
    "rate_per_s": 0.5,
    "radius": 1,
}
CASES = [pytest.param(name, value, id=f"{name}-{n}") for name, values in BAD.items() for n, value in enumerate(values)]


def words_of_signal(name: str, value: object) -> str:
    with pytest.raises(InvalidSignalError) as caught:
        Signal(**{**GOOD, name: value})
    return str(caught.value)


@pytest.mark.parametrize("at", [0, 1, 4])
@pytest.mark.parametrize(("name", "value"), CASES)
def test_one_bad_entry_is_refused_in_the_words_of_a_signal(name: str, value: object, at: int) -> None:
    column = [GOOD[name]] * 5
    column[at] = value
    with pytest.raises(InvalidSignalError) as caught:
        batch(5, **{name: column})
    message = str(caught.value)
    assert message.startswith(words_of_signal(name, value))
    assert f"signal {at} of a batch of 5" in message
    assert "\n" not in message


@pytest.mark.parametrize(("name", "value"), [case for case in CASES if case.values[0] != "seq"])
def test_one_bad_value_for_all_is_refused_in_the_words_of_a_signal(name: str, value: object) -> None:
    if name == "author" and isinstance(value, str | bytearray | bytes | None):
        with pytest.raises(InvalidSignalError, match=r"^Signal\.author "):
            batch(2, author=value)
        return
    with pytest.raises(InvalidSignalError) as caught:
        batch(2, **{name: value})
    assert str(caught.value).startswith(words_of_signal(name, value))


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": 5},
        {"seq": None},
        {"seq": b"123"},
        {"seq": np.array(3)},
        {"seq": np.array([1.0, 2.0, 3.0])},
        {"seq": np.array([True, False, True])},
        {"seq": np.array([[1], [2], [3]])},
        {"seq": np.array([1, 2, 2**63], np.uint64)},
        {"seq": np.array([1, 2, "x"], object)},
        {"intensity": np.array([0.5, 0.5, NAN])},
        {"intensity": np.zeros((3, 1))},
        {"confidence": np.array([0.5, 0.5, -1])},
        {"ttl_ns": np.array([1, 1, 0])},
        {"radius": np.array([1, 1, 70000])},
        {"payload": [b"", b""]},
        {"author": [ADA] * 4},
        {"confidence": np.ones(2)},
        {"author": np.array([ADA, BO, CY])},
        {"field_id": b"short"},
    ],
    ids="-".join,
)
def test_columns_of_the_wrong_kind_or_length_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidSignalError) as caught:
        batch(3, **changes)
    assert "\n" not in str(caught.value)


def test_batch_for_another_field_is_refused() -> None:
    field = Field()
    with pytest.raises(WrongFieldError):
        field.emit_batch(batch(3, field_id=field_id("other")))
    assert len(field) == 0


# ---- references to many


def test_references_of_a_batch_are_those_of_its_statements() -> None:
    field = Field(capacity=4)
    refs = field.emit_batch(batch(3))
    assert isinstance(refs, Refs)
    assert list(refs) == [refs[0], refs[1], refs[2]] == [field.find(s.statement) for s in batch(3)]
    assert {type(part) for ref in refs for part in ref or ()} == {int}
    assert refs == list(refs)
    assert refs == Refs.of(refs)
    assert refs != list(refs)[:2]
    assert refs[1:] == [refs[1], refs[2]]
    assert refs[-1] in refs
    assert refs.count(None) == 0
    full = field.emit_batch(batch(5, seq=range(10, 15), ttl_ns=[1, 1, 90 * SECOND, 1, 90 * SECOND]))
    assert [ref is None for ref in full] == [False, True, False, True, False]
    assert full == Refs.of(full)


# ---- merging does what single calls do

seqs = st.integers(0, 4)
signals = st.builds(
    Signal,
    author=st.sampled_from(NODES),
    seq=seqs,
    created_at_ns=st.sampled_from([0, 5]).map(lambda s: s * SECOND),
    payload=st.sampled_from([b"", b"other"]),
    type=st.sampled_from([SignalType.DATA, SignalType.ALERT]),
    subject=st.sampled_from([None, None, None, b"x", b"y"]),
    ttl_ns=st.integers(1, 6).map(lambda s: s * SECOND),
    confidence=st.sampled_from([0.25, 1.0]),
    decay=st.sampled_from([DecayCurve.STEP, DecayCurve.LINEAR]),
)
lists = st.lists(signals, max_size=12)


def in_columns(given_signals: list[Signal]) -> SignalBatch:
    names = [name for name in Signal.__struct_fields__ if name != "field_id"]
    return SignalBatch(**{name: [getattr(signal, name) for signal in given_signals] for name in names})


def contents(field: Field) -> Any:
    """All that is held, whether it is live or not, and who stands where."""
    store = field._store
    emissions = sorted(store.signal(row).id for row in store.rows.rows().tolist())
    return emissions, sorted(store.stance(row).id for row in store.stances.rows().tolist())


@given(lists, lists, st.sampled_from([2, 5, 100]), st.sampled_from([0.5, 1.0]), st.data())
@settings(max_examples=300)
def test_batch_merges_as_its_signals_would_one_by_one(
    before: list[Signal], given_signals: list[Signal], capacity: int, share: float, data: st.DataObject
) -> None:
    one, many = Field(capacity=capacity, author_share=share), Field(capacity=capacity, author_share=share)
    for field in (one, many):
        field.emit_batch(before)
    if data.draw(st.booleans(), label="somebody waits"):
        waited = data.draw(signals, label="for")
        for field in (one, many):
            field.take(Stance(statement=waited.statement, author=CY, seq=9, kind=StanceKind.OPPOSE, created_at_ns=0))
    if data.draw(st.booleans(), label="numbers are given out here"):
        assert one.next_seq(ADA) == many.next_seq(ADA)
    if data.draw(st.booleans(), label="slots were used before"):
        one.expire(3 * SECOND)
        many.expire(3 * SECOND)
    singly: list[Ref | None] = []
    for signal in given_signals:
        try:
            singly.append(one.emit(signal))
        except FieldFullError:
            singly.append(None)
    together = many.emit_batch(in_columns(given_signals))
    assert [ref is None for ref in together] == [ref is None for ref in singly]
    assert contents(one) == contents(many)
    for first, second in zip(singly, together, strict=True):
        assert (first is None) == (second is None)
        if first is not None and second is not None and first in one:
            assert one.statement(first) == many.statement(second)
            assert one.read(first, 0) == many.read(second, 0)
    assert [(s.value, s.signal) for s in one.sense(0, threshold=0.0)] == [
        (s.value, s.signal) for s in many.sense(0, threshold=0.0)
    ]
    assert [one.next_seq(node) for node in NODES] == [many.next_seq(node) for node in NODES]
    again = many.emit_batch(in_columns(given_signals))
    if None not in again:
        assert contents(one) == contents(many)


@given(lists, st.lists(st.integers(0, 30), max_size=20), st.data())
@settings(max_examples=200)
def test_stances_on_many_are_as_if_taken_one_by_one(
    before: list[Signal], picked: list[int], data: st.DataObject
) -> None:
    one, many = Field(), Field()
    refs = [(one.emit(signal), many.emit(signal)) for signal in before]
    if not refs:
        return
    calls = st.tuples(
        st.sampled_from(NODES), st.sampled_from(StanceKind), st.sampled_from([None, 1, 5]), st.integers(0, 9)
    )
    for by, kind, seq, now_s in data.draw(st.lists(calls, min_size=1, max_size=4)):
        chosen = [refs[at % len(refs)] for at in picked]
        values = {"by": by, "now_ns": now_s * SECOND, "reason": "why"}
        stand = {"SUPPORT": one.reinforce, "OPPOSE": one.inhibit, "WITHDRAW": one.withdraw}[kind.name]
        first = one.next_seq(by) if seq is None else seq
        singly = [stand(ref, seq=first + at, **values).seq for at, (ref, _) in enumerate(chosen)]
        together = many.reinforce_batch([ref for _, ref in chosen], kind=kind, seq=seq, **values)
        assert together.tolist() == singly
        assert contents(one) == contents(many)
        assert one.next_seq(by) == many.next_seq(by)
        for ref, other in refs:
            for now_ns in (0, now_s * SECOND):
                assert one.positions(ref, now_ns) == many.positions(other, now_ns)
                assert one.stances(ref, now_ns) == many.stances(other, now_ns)


def test_stances_on_many_are_checked_before_the_first_is_taken() -> None:
    field = Field()
    refs = field.emit_batch(batch(3))
    gone = Ref(1000, 1)
    with pytest.raises(GoneError):
        field.reinforce_batch([*refs, gone], by=BO, now_ns=0)
    for changes in ({"confidence": 0.0}, {"by": b"bo"}, {"now_ns": -1}, {"seq": 2**63 - 2}, {"reason": "r" * 1025}):
        with pytest.raises(InvalidSignalError):
            field.reinforce_batch(refs, **{"by": BO, "now_ns": 0, **changes})
    assert contents(field)[1] == []
    assert field.next_seq(BO) == 1
    field.expire(60 * SECOND)
    with pytest.raises(GoneError):
        field.reinforce_batch(refs, by=BO, now_ns=0)
    for never in (None, Ref(-1, 0), Ref(0, 0), Ref(2**70, 1), Ref(0, 2**70), Ref(10**9, 1)):
        with pytest.raises(GoneError):
            field.reinforce_batch([never], by=BO, now_ns=0)


def test_statement_without_room_gives_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STANCES_PER_STATEMENT", 2)
    field = Field()
    refs = field.emit_batch(batch(3))
    for node in (ADA, CY):
        field.take(
            Stance(
                statement=field.statement(refs[1]),
                author=node,
                seq=1,
                kind=StanceKind.SUPPORT,
                created_at_ns=0,
                ttl_ns=90 * SECOND,
            )
        )
    assert field.reinforce_batch(refs, by=BO, now_ns=0).tolist() == [1, -1, 3]
    assert [len(field.stances(ref, 0)) for ref in refs] == [1, 2, 1]


def test_own_stance_that_ends_past_the_longest_life_is_kept_beside_the_new_one() -> None:
    """A month from now is sooner than the end of a stance that begins in a fortnight."""
    readings = []
    for together in (False, True):
        field = Field()
        ref = field.emit(Signal(author=ADA, seq=1, created_at_ns=0, ttl_ns=TTL_MAX_NS, decay=DecayCurve.STEP))
        later = Stance(
            statement=field.statement(ref),
            author=BO,
            seq=1,
            kind=StanceKind.OPPOSE,
            created_at_ns=TTL_MAX_NS // 2,
            ttl_ns=TTL_MAX_NS,
        )
        field.take(later)
        if together:
            field.reinforce_batch([ref], by=BO, now_ns=0)
        else:
            field.reinforce(ref, by=BO, now_ns=0)
        assert later in field.stances(ref, 0)
        readings.append((field.stances(ref, 0), contents(field)))
    assert readings[0] == readings[1]


def test_crowds_and_their_departure_under_batches() -> None:
    """More nodes than a statement looks through, each by batch; then all of it ends."""
    field = Field()
    refs = field.emit_batch(batch(5))
    for number in range(40):
        node = node_id(f"node {number}")
        for kind in (StanceKind.OPPOSE, StanceKind.SUPPORT):
            field.reinforce_batch(refs, by=node, now_ns=number, kind=kind)
    assert [field.verdict(ref, 50).support for ref in refs] == [41.0] * 5
    assert [field.verdict(ref, 50).oppose for ref in refs] == [0.0] * 5
    assert field.expire(10**12) == 5 + 200
    assert (len(field._store.rows), len(field._store.stances), len(field._store.index)) == (0, 0, 0)
    assert not field._store._stance_crowds


def test_ids_asked_for_late_are_those_asked_for_early() -> None:
    """Slots change hands between the two; what was noted of the old holder must not be read of the new one."""
    field = Field()
    for turn in range(6):
        now_ns = turn * 100 * SECOND
        fresh = field.emit_batch(batch(50, seq=range(turn * 100, turn * 100 + 50), created_at_ns=now_ns))
        single = [field.emit(Signal(author=BO, seq=turn * 100 + n, created_at_ns=now_ns)) for n in range(20)]
        if turn % 2:
            assert field.find(bytes(32)) is None
            field.emit(Signal(author=ADA, seq=turn * 100, created_at_ns=now_ns))
        for author, refs in ((ADA, fresh), (BO, single)):
            for number, ref in enumerate(refs):
                identity = statement_id(field.field_id, SignalType.DATA, author=author, seq=turn * 100 + number)
                assert ref is not None
                assert field.statement(ref) == identity
                assert field.find(identity) == ref
        field.expire(now_ns + 60 * SECOND)
        assert len(field) == 0
        assert not len(field._store.index)
