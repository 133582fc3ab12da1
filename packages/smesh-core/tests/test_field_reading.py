"""Reading a field: what sense and query list, and in which order."""

from __future__ import annotations

import pytest
from smesh_core import DecayCurve, Field, GoneError, Observer, Quorum, Signal, SignalType, Stance, StanceKind, node_id

WITHDRAW, SUPPORT, OPPOSE = StanceKind
ADA, BO, CY = (node_id(name) for name in ("ada", "bo", "cy"))
SECOND = 10**9


def say(author: bytes = ADA, seq: int = 1, about: bytes | None = b"x", **changes: object) -> Signal:
    values = {"created_at_ns": 0, "subject": about, "decay": DecayCurve.STEP, "confidence": 0.5}
    return Signal(author=author, seq=seq, **{**values, **changes})


def stand(signal: Signal, author: bytes, seq: int, kind: StanceKind = SUPPORT, **changes: object) -> Stance:
    return Stance(statement=signal.statement, author=author, seq=seq, kind=kind, **{"created_at_ns": 0, **changes})


@pytest.fixture
def varied() -> Field:
    """Values 0.1 to 0.9 at time 0 under subjects v1 to v9; odd ones are alerts; v9 was also said by BO."""
    field = Field()
    for number in range(1, 10):
        kind = SignalType.ALERT if number % 2 else SignalType.DATA
        field.emit(say(ADA, number, b"v%d" % number, type=kind, confidence=number / 10))
    field.emit(say(BO, 1, b"w9", confidence=0.05))
    field.emit(say(BO, 2, None, confidence=0.02))
    return field


def test_sense_is_at_or_above_the_threshold_strongest_first(varied: Field) -> None:
    assert [s.value for s in varied.sense(0)] == [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert [s.value for s in varied.sense(0, threshold=0.7)] == [0.9, 0.8, 0.7]
    assert [s.value for s in varied.sense(0, threshold=0.7000001)] == [0.9, 0.8]
    assert len(varied.sense(0, threshold=0.0)) == 11
    assert [s.value for s in varied.sense(0, limit=2)] == [0.9, 0.8]
    assert varied.sense(0, limit=0) == []
    assert len(varied.sense(0, limit=100)) == 9


def test_sense_by_type(varied: Field) -> None:
    assert [s.value for s in varied.sense(0, types=[SignalType.ALERT])] == [0.9, 0.7, 0.5, 0.3, 0.1]
    assert [s.value for s in varied.sense(0, types=iter([SignalType.DATA]), limit=1)] == [0.8]
    assert len(varied.sense(0, types=list(SignalType))) == 9
    assert varied.sense(0, types=[]) == varied.sense(0, types=[SignalType.QUERY]) == []


def test_sensed_can_be_acted_on(varied: Field) -> None:
    for sensed in varied.sense(0, threshold=0.0):
        assert varied.value(sensed.ref, 0) == sensed.value
        assert varied.statement(sensed.ref) == sensed.signal.statement


def test_equal_values_come_by_statement_id() -> None:
    field = Field()
    signals = [say(ADA, seq, b"%d" % seq) for seq in range(20)]
    field.emit_batch(signals)
    field.take(stand(signals[3], BO, 1, WITHDRAW))
    assert [s.signal.statement for s in field.sense(0)] == sorted(s.statement for s in signals)


def test_equal_values_come_by_the_whole_of_their_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody may take the trouble to make ids that begin alike."""
    field = Field()
    refs = [field.emit(say(ADA, seq, b"%d" % seq)) for seq in range(20)]
    ids = {ref.slot: bytes(8) + bytes((ref.slot * 7 % 20,)) * 24 for ref in refs}
    monkeypatch.setattr(field._store.index, "ids_of", lambda slots: [ids[slot] for slot in slots])
    expected = sorted((ref for ref in refs), key=lambda ref: ids[ref.slot])
    assert [sensed.ref for sensed in field.sense(0)] == expected
    assert [sensed.ref for sensed in field.sense(0, limit=7)] == expected[:7]


def test_sense_with_an_observer() -> None:
    field = Field()
    field.emit(say(ADA, 1, b"x"))
    ref = field.emit(say(ADA, 2, b"y"))
    field.reinforce(ref, by=BO, now_ns=0)
    roster = Observer(roster={ADA: "one", BO: "one"})
    assert [s.value for s in field.sense(0, observer=roster)] == [0.5, 0.5]
    assert field.sense(0)[0].value > 0.5


def test_query_filters(varied: Field) -> None:
    def values(**filters: object) -> list[float]:
        return [sensed.value for sensed in varied.query(0, **filters)]

    assert len(values()) == 11
    assert values(author=BO) == [0.05, 0.02]
    assert values(author=CY) == []
    assert values(subject_prefix=b"w") == [0.05]
    assert values(subject_prefix=b"v9") == [0.9]
    assert values(subject_prefix=b"v", author=ADA, types=[SignalType.DATA]) == [0.8, 0.6, 0.4, 0.2]
    assert values(subject_prefix=b"v", author=BO) == []


def test_query_by_author_looks_at_every_live_emission() -> None:
    field = Field()
    field.emit(say(ADA, 1, confidence=0.9))
    field.emit(say(BO, 1, confidence=0.2, ttl_ns=5 * SECOND))
    assert len(field.query(0, author=BO)) == 1
    assert field.query(5 * SECOND, author=BO) == []


def test_query_lists_what_all_have_withdrawn_from() -> None:
    field = Field()
    field.withdraw(field.emit(say()), by=ADA, now_ns=0)
    assert [sensed.value for sensed in field.query(0)] == [0.0]


def test_query_by_an_empty_prefix_means_every_correlatable_statement(varied: Field) -> None:
    assert all(sensed.signal.subject is not None for sensed in varied.query(0, subject_prefix=b""))


# ---- everything about one statement


def test_reading_is_what_its_parts_say() -> None:
    field = Field()
    ref = field.emit(say(ADA, 1, decay=DecayCurve.LINEAR))
    field.emit(say(BO, 1, confidence=0.75, ttl_ns=20 * SECOND))
    field.inhibit(ref, by=CY, now_ns=0, reason="no")
    for now_s in (0, 10, 30, 70):
        now_ns = now_s * SECOND
        for observer in (Observer(), Observer(roster={ADA: "one", BO: "one"}, unknown_vote=0.5)):
            reading = field.read(ref, now_ns, observer, Quorum(weight=0.5, lineages=1))
            assert reading.statement == field.statement(ref)
            assert reading.value == field.value(ref, now_ns, observer)
            assert reading.verdict == field.verdict(ref, now_ns, observer, Quorum(weight=0.5, lineages=1))
            assert reading.emissions == field.emissions(ref, now_ns)
            assert reading.positions == field.positions(ref, now_ns)


def test_reading_of_what_is_gone() -> None:
    field = Field()
    ref = field.emit(say())
    field.expire(60 * SECOND)
    for call in (field.read, field.stances):
        with pytest.raises(GoneError):
            call(ref, 60 * SECOND)


def test_stances_are_the_live_ones_by_author_and_number() -> None:
    field = Field()
    ref = field.emit(say())
    long_lived = stand(say(), BO, 1, ttl_ns=50 * SECOND)
    newest = stand(say(), BO, 2, OPPOSE, ttl_ns=5 * SECOND)
    other = stand(say(), CY, 1, WITHDRAW, ttl_ns=9 * SECOND)
    for stance in (newest, other, long_lived):
        field.take(stance)
    expected = sorted([long_lived, newest, other], key=lambda stance: (stance.author, stance.seq))
    assert field.stances(ref, 0) == expected
    assert field.stances(ref, 5 * SECOND) == [stance for stance in expected if stance is not newest]
    assert field.stances(ref, 50 * SECOND) == []


def test_capacity_is_known() -> None:
    assert Field(capacity=7, author_share=0.5).capacity == 7
