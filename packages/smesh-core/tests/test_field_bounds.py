"""A full field: what is shed, what is refused, and that the bounds hold."""

from __future__ import annotations

import pytest
from smesh_core import (
    DecayCurve,
    Field,
    FieldFullError,
    InvalidSignalError,
    Signal,
    SignalType,
    Stance,
    StanceKind,
    limits,
    node_id,
    statement_id,
)

ADA, BO, CY = (node_id(name) for name in ("ada", "bo", "cy"))
SECOND = 10**9


def say(author: bytes, seq: int, ends_s: int, about: bytes | None = None, **changes: object) -> Signal:
    values = {"created_at_ns": 0, "subject": about, "decay": DecayCurve.STEP, "ttl_ns": ends_s * SECOND}
    return Signal(author=author, seq=seq, **{**values, **changes})


def stand(signal: Signal, author: bytes, ends_s: int, seq: int = 1, kind: StanceKind = StanceKind.SUPPORT) -> Stance:
    return Stance(
        statement=signal.statement, author=author, seq=seq, kind=kind, created_at_ns=0, ttl_ns=ends_s * SECOND
    )


def held(field: Field) -> set[tuple[bytes, int]]:
    """(author, seq) of every emission that is there at time 0."""
    return {(s.author, s.seq) for sensed in field.query(0) for s in field.emissions(sensed.ref, 0)}


def standing(field: Field, signal: Signal) -> set[bytes]:
    """Authors with a position on a statement at time 0, the emitter aside."""
    ref = field.find(signal.statement)
    assert ref is not None
    return {position.author for position in field.positions(ref, 0)} - {signal.author}


# ---- emissions


def test_earliest_to_end_is_shed() -> None:
    field = Field(capacity=3)
    for seq, ends_s in enumerate([30, 10, 20]):
        field.emit(say(ADA, seq, ends_s))
    field.emit(say(ADA, 9, 25))
    assert held(field) == {(ADA, 0), (ADA, 2), (ADA, 9)}
    field.emit(say(BO, 9, 26))
    assert held(field) == {(ADA, 0), (ADA, 9), (BO, 9)}
    assert len(field) == 3


def test_equal_ends_are_shed_smaller_id_first() -> None:
    signals = sorted((say(ADA, seq, 10) for seq in range(8)), key=lambda s: s.id)
    for order in (signals, signals[::-1]):
        field = Field(capacity=3)
        field.emit_batch(order)
        assert held(field) == {(s.author, s.seq) for s in signals[-3:]}


def test_newcomer_that_ends_first_is_refused() -> None:
    field = Field(capacity=2)
    kept = [say(ADA, 1, 20), say(BO, 1, 30)]
    field.emit_batch(kept)
    with pytest.raises(FieldFullError) as caught:
        field.emit(say(CY, 1, 19))
    assert "\n" not in str(caught.value)
    assert held(field) == {(ADA, 1), (BO, 1)}
    assert field.find(say(CY, 1, 19).statement) is None
    assert field.next_seq(CY) == 1
    assert field.emit_batch([say(CY, 2, 5), kept[0], say(CY, 3, 40)])[0] is None


def test_batch_gives_none_where_the_field_was_full() -> None:
    field = Field(capacity=2)
    refs = field.emit_batch([say(ADA, 1, 20), say(ADA, 2, 30), say(ADA, 3, 10), say(ADA, 4, 40)])
    assert [ref is None for ref in refs] == [False, False, True, False]
    assert held(field) == {(ADA, 2), (ADA, 4)}


def test_what_is_held_already_needs_no_room() -> None:
    field = Field(capacity=2)
    first = say(ADA, 1, 20)
    ref = field.emit(first)
    field.emit(say(ADA, 2, 30))
    assert field.emit(first) == ref
    assert held(field) == {(ADA, 1), (ADA, 2)}


def test_message_of_a_full_field_names_its_capacity() -> None:
    """The newcomer's author is unknown and well under its share; it is the field that is full."""
    field = Field(capacity=4, author_share=0.5)
    for seq, author in enumerate((ADA, ADA, BO, BO)):
        field.emit(say(author, seq, 20))
    with pytest.raises(FieldFullError, match=r"\b4\b"):
        field.emit(say(CY, 1, 10))


def test_message_of_an_author_over_its_share_names_the_share() -> None:
    field = Field(capacity=4, author_share=0.5)
    field.emit_batch([say(ADA, 1, 20), say(ADA, 2, 20)])
    with pytest.raises(FieldFullError, match=r"\b2\b"):
        field.emit(say(ADA, 3, 10))


def test_author_over_its_share_sheds_its_own() -> None:
    field = Field(capacity=10, author_share=0.3)
    field.emit(say(BO, 1, 1))
    for seq in range(6):
        field.emit(say(ADA, seq, 10 + seq))
    assert held(field) == {(BO, 1), (ADA, 3), (ADA, 4), (ADA, 5)}
    with pytest.raises(FieldFullError):
        field.emit(say(ADA, 9, 5))
    field.emit(say(CY, 1, 5))
    assert len(field) == 5


def test_authors_share_comes_before_the_fields_capacity() -> None:
    field = Field(capacity=4, author_share=0.5)
    field.emit_batch([say(BO, 1, 5), say(CY, 1, 6), say(ADA, 1, 10), say(ADA, 2, 11)])
    field.emit(say(ADA, 3, 12))
    assert held(field) == {(BO, 1), (CY, 1), (ADA, 2), (ADA, 3)}
    field.emit(say(CY, 2, 12))
    assert held(field) == {(CY, 1), (CY, 2), (ADA, 2), (ADA, 3)}


def test_share_is_of_emissions_whoever_takes_stances() -> None:
    field = Field(capacity=4, author_share=0.25)
    signal = say(BO, 1, 20)
    field.emit(signal)
    for seq in range(2, 9):
        field.take(stand(signal, ADA, 10 + seq, seq))
    field.emit(say(ADA, 1, 15))
    assert held(field) == {(BO, 1), (ADA, 1)}


def test_share_too_small_for_one_is_one() -> None:
    field = Field(capacity=3, author_share=0.01)
    field.emit(say(ADA, 1, 10))
    field.emit(say(ADA, 2, 20))
    assert held(field) == {(ADA, 2)}


def test_capacity_is_there_again_after_expiry() -> None:
    field = Field(capacity=3, author_share=0.67)
    for start_s in range(0, 200, 20):
        for seq in range(4):
            changes = {"created_at_ns": start_s * SECOND}
            field.emit(say(ADA, start_s + seq, 10 + seq, **changes))
            field.emit(say(BO, start_s + seq, 10 + seq, **changes))
        assert len(field) == 3
        field.expire((start_s + 19) * SECOND)
        assert len(field) == 0


def test_shed_statement_keeps_its_stances_waiting() -> None:
    field = Field(capacity=1)
    shed = say(ADA, 1, 10, b"x")
    field.emit(shed)
    field.take(stand(shed, BO, 60))
    field.emit(say(CY, 1, 20, b"y"))
    assert field.find(shed.statement) is None
    field.emit(say(ADA, 2, 30, b"x"))
    assert standing(field, shed) == {BO}


def test_statement_that_is_still_said_outlives_the_shedding_of_one_emission() -> None:
    field = Field(capacity=2)
    ref = field.emit(say(ADA, 1, 10, b"x"))
    field.emit(say(BO, 1, 20, b"x"))
    field.emit(say(CY, 1, 30, b"y"))
    assert ref in field
    assert [s.author for s in field.emissions(ref, 0)] == [BO]


def test_statement_whose_only_emission_makes_room_for_its_next_is_not_gone() -> None:
    field = Field(capacity=1)
    ref = field.emit(say(ADA, 1, 10, b"x"))
    assert field.emit(say(BO, 1, 20, b"x")) == ref
    assert [s.author for s in field.emissions(ref, 0)] == [BO]


# ---- stances


@pytest.fixture
def _few_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STANCES_WAITING", 3)


@pytest.fixture
def _few_a_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STANCES_PER_STATEMENT", 3)


NODES = [node_id(f"node {number}") for number in range(12)]


@pytest.mark.usefixtures("_few_waiting")
def test_waiting_is_bounded_over_all_statements_and_sheds_the_earliest_to_end() -> None:
    field = Field()
    signals = [say(ADA, seq, 60, b"%d" % seq) for seq in range(6)]
    for number, signal in enumerate(signals):
        field.take(stand(signal, NODES[number], 10 + number))
    assert len(field._store.stances) == 3
    with pytest.raises(FieldFullError):
        field.take(stand(signals[0], NODES[11], 5))
    field.emit_batch(signals)
    assert [standing(field, s) for s in signals] == [set(), set(), set(), {NODES[3]}, {NODES[4]}, {NODES[5]}]


@pytest.mark.usefixtures("_few_waiting")
def test_stances_on_a_known_statement_do_not_wait() -> None:
    field, signal = Field(), say(ADA, 1, 60, b"x")
    field.emit(signal)
    for node in NODES:
        field.take(stand(signal, node, 10))
    assert standing(field, signal) == set(NODES)


@pytest.mark.usefixtures("_few_waiting")
def test_arrival_of_the_statement_makes_room_to_wait() -> None:
    field, signal = Field(), say(ADA, 1, 60, b"x")
    for node in NODES[:3]:
        field.take(stand(signal, node, 10))
    field.emit(signal)
    other = say(ADA, 2, 60, b"y")
    for node in NODES[3:6]:
        field.take(stand(other, node, 5))
    field.emit(other)
    assert standing(field, signal) == set(NODES[:3])
    assert standing(field, other) == set(NODES[3:6])


@pytest.mark.usefixtures("_few_waiting")
def test_replacing_a_waiting_stance_needs_no_room() -> None:
    field, signal = Field(), say(ADA, 1, 60, b"x")
    for node in NODES[:3]:
        field.take(stand(signal, node, 10))
    field.take(stand(signal, NODES[0], 10, seq=2, kind=StanceKind.OPPOSE))
    ref = field.emit(signal)
    assert standing(field, signal) == set(NODES[:3])
    assert field.verdict(ref, 0).opposers == (NODES[0],)


@pytest.mark.usefixtures("_few_waiting")
def test_waiting_stays_bounded_when_statements_end_before_their_stances() -> None:
    """Otherwise an author of short-lived statements fills a node with stances that live for a month."""
    field = Field()
    for seq in range(5):
        signal = say(ADA, seq, 10, b"%d" % seq)
        field.emit(signal)
        for node in NODES[:4]:
            field.take(stand(signal, node, 1000))
        field.expire(10 * SECOND)
    assert len(field) == 0
    assert len(field._store.stances) <= 3


@pytest.mark.usefixtures("_few_waiting")
def test_refused_stance_does_not_take_its_predecessor_along() -> None:
    field, signal = Field(), say(ADA, 1, 10, b"x")
    field.emit(signal)
    field.take(stand(signal, NODES[0], 100))
    for node in NODES[1:6]:
        field.take(stand(signal, node, 1000))
    field.expire(10 * SECOND)
    before = {stance.author for stance in field._store.stances_on(field._store.statement_slot(signal.statement))}
    newer = stand(signal, NODES[0], 100, seq=2, kind=StanceKind.OPPOSE)
    try:
        field.take(newer)
    except FieldFullError:
        slot = field._store.statement_slot(signal.statement)
        assert {stance.author for stance in field._store.stances_on(slot)} == before


@pytest.mark.usefixtures("_few_waiting")
def test_bookkeeping_of_waiting_does_not_grow_with_comings_and_goings() -> None:
    """A statement said and shed again and again returns the same few stances to waiting."""
    field, other = Field(), say(ADA, 1, 60, b"other")
    for node in NODES[:4]:
        field.take(stand(other, node, 50))
    signal = say(BO, 1, 100, b"x")
    for node in NODES[:3]:
        field.take(stand(signal, node, 900))
    for turn in range(500):
        field.emit(say(BO, turn, 1, b"x", created_at_ns=turn * SECOND // 1000))
        field.expire(turn * SECOND // 1000 + SECOND)
    assert len(field._store.stances) == 3
    assert sum(len(heap) for heap in field._store._waiting_order._heaps.values()) < 500


@pytest.mark.usefixtures("_few_a_statement")
def test_stances_on_one_statement_are_bounded_and_shed_the_earliest_to_end() -> None:
    field, signal, other = Field(), say(ADA, 1, 60, b"x"), say(ADA, 2, 60, b"y")
    field.emit_batch([signal, other])
    for number, node in enumerate(NODES[:6]):
        field.take(stand(signal, node, 10 + number))
        field.take(stand(other, NODES[11], 10, seq=number + 1))
    assert standing(field, signal) == set(NODES[3:6])
    assert standing(field, other) == {NODES[11]}
    with pytest.raises(FieldFullError):
        field.take(stand(signal, NODES[0], 9))
    field.take(stand(signal, NODES[4], 14, seq=2))
    assert standing(field, signal) == set(NODES[3:6])


@pytest.mark.usefixtures("_few_a_statement")
def test_bound_of_a_statement_holds_while_it_waits_and_after_its_slot_is_used_again() -> None:
    field, signal = Field(), say(ADA, 1, 60, b"x")
    for round_s in (0, 100):
        for number, node in enumerate(NODES):
            field.take(
                Stance(
                    statement=signal.statement,
                    author=node,
                    seq=round_s + 1,
                    kind=StanceKind.SUPPORT,
                    created_at_ns=round_s * SECOND,
                    ttl_ns=(10 + number) * SECOND,
                )
            )
        assert len(field._store.stances) == 3
        field.expire((round_s + 60) * SECOND)
        assert len(field._store.stances) == 0


@pytest.mark.usefixtures("_few_a_statement")
def test_replaced_stance_is_shed_by_its_new_end() -> None:
    """Its place in the order is that of the word it has now, however it came."""
    field, signal = Field(), say(ADA, 1, 60, b"x")
    field.emit(signal)
    for node, ends_s in zip(NODES, (10, 20, 15, 18), strict=False):
        field.take(stand(signal, node, ends_s))
    assert standing(field, signal) == set(NODES[1:4])
    field.take(stand(signal, NODES[2], 30, seq=2))
    field.take(stand(signal, NODES[4], 25))
    assert standing(field, signal) == {NODES[1], NODES[2], NODES[4]}


@pytest.mark.usefixtures("_few_waiting")
def test_stance_replaced_in_a_batch_is_shed_by_its_new_end() -> None:
    """It waited, was replaced while its statement was said, and waits again."""
    field, other = Field(), say(ADA, 2, 60, b"y")
    fading = say(ADA, 1, 60, b"x", decay=DecayCurve.EXPONENTIAL, rate_per_s=1.0)
    for node, ends_s in zip(NODES, (10, 20, 30, 35), strict=False):
        field.take(stand(fading, node, ends_s))
    field.reinforce_batch([field.emit(fading)], by=NODES[1], now_ns=0)
    assert field.expire(8 * SECOND) == 1
    field.take(stand(other, NODES[5], 40))
    again = say(CY, 3, 60, b"x")
    field.emit_batch([other, again])
    assert standing(field, other) == {NODES[5]}
    assert standing(field, again) == {NODES[1], NODES[3]}


def test_stance_that_makes_room_by_its_authors_last_element(monkeypatch: pytest.MonkeyPatch) -> None:
    """The author is forgotten and known again between the two."""
    monkeypatch.setattr(limits, "STANCES_WAITING", 1)
    field, gone, kept = Field(), say(ADA, 1, 60, b"x"), say(ADA, 2, 60, b"y")
    field.take(stand(gone, NODES[0], 10))
    field.take(stand(kept, NODES[0], 20, seq=2))
    assert len(field._store.authors) == 1
    field.emit_batch([gone, kept])
    assert standing(field, gone) == set()
    assert standing(field, kept) == {NODES[0]}
    assert field.next_seq(NODES[0]) == 3
    field.expire(60 * SECOND)
    assert len(field._store.authors) == len(field._store.stances) == 0


def test_limits_are_related() -> None:
    assert limits.SIGNAL_HEAD_BYTES + limits.SUBJECT_BYTES_MAX + limits.PAYLOAD_BYTES_MAX == limits.SIGNAL_BYTES_MAX
    assert limits.CREATED_AT_NS_MAX + limits.TTL_MAX_NS == 2**63 - 1
    assert set(limits.__all__) == {name for name in vars(limits) if name.isupper() and name != "TYPE_CHECKING"}


# ---- what came to light late


def test_number_given_out_is_not_given_again_after_all_has_ended() -> None:
    field = Field()
    first = field.next_seq(ADA)
    field.emit(say(ADA, first, 1, b"x"))
    field.expire(10 * SECOND)
    assert field.next_seq(ADA) == first + 1


@pytest.mark.parametrize("now_ns", [-1, -(2**63), 2**63, 10**30])
def test_time_past_the_columns_is_refused_wherever_it_is_read(now_ns: int) -> None:
    field = Field()
    ref = field.emit(say(ADA, 1, 10, b"x"))
    for read in (field.value, field.verdict, field.positions, field.emissions, field.read):
        with pytest.raises(InvalidSignalError, match="now_ns"):
            read(ref, now_ns)
    for read_all in (field.sense, field.query, field.expire):
        with pytest.raises(InvalidSignalError, match="now_ns"):
            read_all(now_ns)
    assert len(field) == 1


def test_negative_limit_is_refused() -> None:
    with pytest.raises(InvalidSignalError, match="limit"):
        Field().sense(0, limit=-1)


def test_repetition_in_a_crowd_adds_nothing_and_departures_are_noticed() -> None:
    """Many emissions of one statement are looked up instead of looked through; both ways agree."""
    field = Field()
    crowd = [say(node_id(f"n{number}"), seq, 10 + number % 3, b"x") for number in range(30) for seq in (1, 2)]
    for _ in range(2):
        refs = {field.emit(signal) for signal in crowd}
    assert len(refs) == 1
    assert len(field) == 60
    field.expire(10 * SECOND)
    assert len(field) == 40
    field.emit_batch(crowd)
    assert len(field) == 60
    field.expire(60 * SECOND)
    assert len(field) == 0
    assert not field._store._crowds


def test_reading_says_when_a_statement_starts_and_ends() -> None:
    field = Field()
    field.emit(say(ADA, 1, 10, b"x", created_at_ns=5 * SECOND))
    ref = field.emit(say(BO, 1, 30, b"x", created_at_ns=7 * SECOND))
    reading = field.read(ref, 8 * SECOND)
    assert (reading.starts_at_ns, reading.expires_at_ns) == (5 * SECOND, 37 * SECOND)
    field.reinforce(ref, by=NODES[3], now_ns=8 * SECOND)
    assert field.read(ref, 20 * SECOND).expires_at_ns == 37 * SECOND
    assert field.read(ref, 40 * SECOND).expires_at_ns == 0


def test_statement_of_its_author_takes_a_whole_id() -> None:
    for author, seq in ((b"short", 1), (ADA, -1), (ADA, 2**63)):
        with pytest.raises(InvalidSignalError):
            statement_id(bytes(32), SignalType.DATA, author=author, seq=seq)
