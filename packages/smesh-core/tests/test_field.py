"""The field's behaviours, one by one: references, positions, reading, life and death."""

from __future__ import annotations

import pytest
from smesh_core import (
    DecayCurve,
    Field,
    GoneError,
    InvalidSignalError,
    Position,
    Ref,
    Signal,
    SignalType,
    Stance,
    StanceKind,
    WrongFieldError,
    field_id,
    node_id,
    subject,
)

WITHDRAW, SUPPORT, OPPOSE = StanceKind
ADA, BO, CY = (node_id(name) for name in ("ada", "bo", "cy"))
SECOND = 10**9
OTHER = field_id("other")


def say(author: bytes = ADA, seq: int = 1, about: bytes | None = b"x", **changes: object) -> Signal:
    values = {"created_at_ns": 0, "subject": about, "decay": DecayCurve.STEP, "confidence": 0.5}
    return Signal(author=author, seq=seq, **{**values, **changes})


def stand(signal: Signal, author: bytes, seq: int, kind: StanceKind = SUPPORT, **changes: object) -> Stance:
    return Stance(statement=signal.statement, author=author, seq=seq, kind=kind, **{"created_at_ns": 0, **changes})


def is_empty(field: Field) -> bool:
    """Whether nothing at all is left in the tables behind a field."""
    store = field._store
    tables = (store.rows, store.stances, store.authors, store.rows.rows())
    indexes = (store.index, store._crowds, store._stance_crowds)
    counts = (len(field), store.emissions, store._waiting, store._unsaid)
    return not any(counts) and not any(len(held) for held in (*tables, *indexes))


# ---- references


def test_signal_comes_back_as_it_was_given() -> None:
    field = Field()
    signals = [
        Signal(author=ADA, seq=2**63 - 1, created_at_ns=5, payload=b"\x00\xff", ttl_ns=30 * 86400 * SECOND),
        say(BO, 3, subject("a", "b"), type=SignalType.ALERT, intensity=0.25, rate_per_s=1e6, radius=65535),
        say(CY, 0, None, decay=DecayCurve.SIGMOID, intensity=1, confidence=-0.0),
    ]
    for signal in signals:
        ref = field.emit(signal)
        (held,) = field.emissions(ref, 0)
        assert held == signal
        assert (held.id, held.statement) == (signal.id, signal.statement)
        assert field.statement(ref) == signal.statement
        assert ref in field
        assert field.find(signal.statement) == ref
    assert len(field) == 3


def test_two_emitters_of_one_statement_share_a_reference() -> None:
    field = Field()
    assert field.emit(say(ADA)) == field.emit(say(BO))
    assert field.emit(say(ADA, about=None)) != field.emit(say(BO, about=None))
    assert len(field) == 4
    assert field.emit(say(ADA, about=b"y")) != field.find(say().statement)


def test_reference_is_a_plain_value() -> None:
    ref = Field().emit(say())
    assert ref == Ref(ref.slot, ref.generation)
    assert {type(ref.slot), type(ref.generation)} == {int}


def test_emitting_again_changes_nothing() -> None:
    field, signal = Field(), say(intensity=1)
    ref = field.emit(signal)
    assert field.emit(say(intensity=1.0)) == ref
    assert field.emit_batch([signal, signal]) == [ref, ref]
    assert len(field) == 1
    assert field.value(ref, 0) == 0.5


CALLS = {
    "statement": lambda field, ref: field.statement(ref),
    "emissions": lambda field, ref: field.emissions(ref, 0),
    "positions": lambda field, ref: field.positions(ref, 0),
    "value": lambda field, ref: field.value(ref, 0),
    "verdict": lambda field, ref: field.verdict(ref, 0),
    "reinforce": lambda field, ref: field.reinforce(ref, by=BO, now_ns=0),
    "inhibit": lambda field, ref: field.inhibit(ref, by=BO, now_ns=0),
    "withdraw": lambda field, ref: field.withdraw(ref, by=BO, now_ns=0),
}


def assert_gone(field: Field, ref: Ref) -> None:
    assert ref not in field
    for name, call in CALLS.items():
        with pytest.raises(GoneError) as caught:
            call(field, ref)
        assert "\n" not in str(caught.value), name


def test_reference_is_gone_after_expiry_and_stays_gone_when_its_slot_is_used_again() -> None:
    field = Field()
    ref = field.emit(say(ttl_ns=SECOND))
    field.expire(SECOND)
    assert_gone(field, ref)
    assert field.find(say().statement) is None
    again = field.emit(say(seq=2, about=b"y"))
    assert again.slot == ref.slot
    assert_gone(field, ref)
    assert field.statement(again) == say(about=b"y").statement


def test_statement_said_again_has_another_reference() -> None:
    field = Field()
    ref = field.emit(say(ttl_ns=SECOND))
    field.expire(SECOND)
    again = field.emit(say(seq=2))
    assert again != ref
    assert_gone(field, ref)


def test_statement_said_again_while_its_stances_waited_has_another_reference() -> None:
    field = Field()
    ref = field.emit(say(ttl_ns=SECOND))
    field.take(stand(say(), BO, 1, ttl_ns=9 * SECOND))
    assert field.expire(SECOND) == 1
    assert_gone(field, ref)
    again = field.emit(say(seq=2))
    assert again != ref
    assert_gone(field, ref)
    assert [position.author for position in field.positions(again, SECOND)] == sorted([ADA, BO])


def test_reference_is_gone_after_shedding() -> None:
    field = Field(capacity=1)
    ref = field.emit(say(ttl_ns=SECOND))
    kept = field.emit(say(about=b"y", seq=2, ttl_ns=2 * SECOND))
    assert_gone(field, ref)
    assert kept in field


def test_reference_that_never_was() -> None:
    field = Field()
    for ref in (Ref(0, 0), Ref(-1, 0), Ref(63, 0), Ref(10**9, 0), Ref(0, -1)):
        assert_gone(field, ref)


def test_statement_known_only_by_stances_has_no_reference() -> None:
    field = Field()
    field.take(stand(say(), BO, 1))
    assert field.find(say().statement) is None
    assert_gone(field, Ref(0, 0))
    assert field.sense(0) == field.query(0) == []


# ---- positions


def test_positions_say_who_where_and_why() -> None:
    field = Field()
    ref = field.emit(say(ADA, 4, confidence=0.25))
    field.take(stand(say(), BO, 7, OPPOSE, confidence=0.75, reason="no"))
    field.take(stand(say(), CY, 8, WITHDRAW))
    assert field.positions(ref, 0) == sorted(
        [
            Position(ADA, SUPPORT, 4, 0.25, ""),
            Position(BO, OPPOSE, 7, 0.75, "no"),
            Position(CY, WITHDRAW, 8, 1.0, ""),
        ],
        key=lambda position: position.author,
    )


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_newest_stance_by_sequence_number_replaces(order: tuple[int, ...]) -> None:
    field = Field()
    ref = field.emit(say())
    stances = [stand(say(), BO, 1, SUPPORT), stand(say(), BO, 2, OPPOSE), stand(say(), BO, 10, SUPPORT, reason="last")]
    for at in order:
        field.take(stances[at])
    assert [p for p in field.positions(ref, 0) if p.author == BO] == [Position(BO, SUPPORT, 10, 1.0, "last")]


def test_equal_sequence_numbers_are_decided_by_the_larger_id() -> None:
    pair = stand(say(), BO, 1, SUPPORT), stand(say(), BO, 1, OPPOSE)
    expected = max(pair, key=lambda stance: stance.id).kind
    for stances in (pair, pair[::-1]):
        field = Field()
        ref = field.emit(say())
        for stance in stances:
            field.take(stance)
        assert {p.author: p.kind for p in field.positions(ref, 0)}[BO] is expected


@pytest.mark.parametrize("life_s", [1, 60])
def test_emission_and_stance_of_one_number_are_decided_by_the_larger_id(life_s: int) -> None:
    """One author used a number twice; every field must settle on the same one of the two."""
    kinds = set()
    for seq in range(12):
        field, signal = Field(), say(ADA, seq, ttl_ns=life_s * SECOND)
        stance = stand(signal, ADA, seq, OPPOSE, ttl_ns=(61 - life_s) * SECOND)
        field.take(stance)
        ref = field.emit(signal)
        (position,) = field.positions(ref, 0)
        assert position.kind is (OPPOSE if stance.id > signal.id else SUPPORT)
        kinds.add(position.kind)
    assert kinds == {SUPPORT, OPPOSE}


def test_stances_of_one_number_and_different_lives_are_decided_by_the_larger_id() -> None:
    for seq in range(12):
        field = Field()
        ref = field.emit(say())
        pair = [
            stand(say(), BO, seq, SUPPORT, ttl_ns=(5 + seq) * SECOND),
            stand(say(), BO, seq, OPPOSE, ttl_ns=10 * SECOND),
        ]
        for stance in pair:
            field.take(stance)
        expected = max(pair, key=lambda stance: stance.id).kind
        assert {p.author: p.kind for p in field.positions(ref, 0)}[BO] is expected


def test_older_stance_that_outlives_a_newer_one_counts_again() -> None:
    field = Field()
    ref = field.emit(say())
    field.take(stand(say(), BO, 2, OPPOSE, ttl_ns=5 * SECOND))
    field.take(stand(say(), BO, 1, SUPPORT, ttl_ns=50 * SECOND))
    kinds = [{p.author: p.kind for p in field.positions(ref, now_s * SECOND)}.get(BO) for now_s in (0, 4, 5, 49, 50)]
    assert kinds == [OPPOSE, OPPOSE, SUPPORT, SUPPORT, None]


def test_newer_emission_counts_over_an_older_withdrawal() -> None:
    field = Field()
    ref = field.emit(say(seq=1))
    field.withdraw(ref, by=ADA, now_ns=0, seq=2)
    assert field.value(ref, 0) == 0.0
    field.emit(say(seq=3, payload=b"again"))
    assert field.value(ref, 0) == 0.5
    field.take(stand(say(), ADA, 2, OPPOSE))
    assert field.value(ref, 0) == 0.5


def test_repetition_by_the_author_counts_once() -> None:
    field = Field()
    ref = field.emit(say(seq=1))
    for seq in range(2, 20):
        field.emit(say(seq=seq))
        field.take(stand(say(), ADA, 100 + seq))
    assert field.value(ref, 0) == 0.5
    assert field.verdict(ref, 0).support == 1.0
    assert len(field.positions(ref, 0)) == 1


def test_stance_waits_for_its_statement_and_then_counts() -> None:
    field = Field()
    field.take(stand(say(), BO, 1))
    field.take(stand(say(), CY, 1, OPPOSE))
    ref = field.emit(say())
    assert field.value(ref, 0) == pytest.approx((0.5 + 0.1 / 1.5) * 1.1 * 2 / 3)
    assert len(field.positions(ref, 0)) == 3


def test_stance_on_another_statement_does_not_count() -> None:
    field = Field()
    ref = field.emit(say())
    field.take(stand(say(about=b"y"), BO, 1))
    field.take(stand(say(type=SignalType.ALERT), BO, 2))
    assert field.value(ref, 0) == 0.5


# ---- life


def test_support_never_extends_life() -> None:
    field = Field()
    ref = field.emit(say(ttl_ns=10 * SECOND))
    field.take(stand(say(), BO, 1, ttl_ns=100 * SECOND))
    stance = field.reinforce(ref, by=CY, now_ns=3 * SECOND)
    assert stance.expires_at_ns == 10 * SECOND
    assert field.value(ref, 10 * SECOND - 1) > 0.0
    assert field.value(ref, 10 * SECOND) == 0.0
    assert field.sense(10 * SECOND) == field.query(10 * SECOND) == []
    field.expire(10 * SECOND)
    assert field.find(say().statement) is None


def test_support_does_not_slow_decay() -> None:
    field, alone = Field(), Field()
    signal = say(decay=DecayCurve.EXPONENTIAL, rate_per_s=1.0)
    ref, other = field.emit(signal), alone.emit(signal)
    field.reinforce(ref, by=BO, now_ns=2 * SECOND)
    ratio = field.value(ref, 2 * SECOND) / alone.value(other, 2 * SECOND)
    assert field.value(ref, 4 * SECOND) / alone.value(other, 4 * SECOND) == pytest.approx(ratio)
    assert field.emissions(ref, 5 * SECOND) == []


def test_new_emission_extends_life_under_the_same_reference() -> None:
    field = Field()
    ref = field.emit(say(ttl_ns=10 * SECOND))
    field.reinforce(ref, by=CY, now_ns=0)
    assert field.emit(say(BO, 1, created_at_ns=5 * SECOND, ttl_ns=20 * SECOND)) == ref
    assert field.expire(12 * SECOND) == 2
    assert field.value(ref, 12 * SECOND) == 0.5
    assert [p.author for p in field.positions(ref, 12 * SECOND)] == [BO]


def test_own_stances_end_with_the_latest_element_about_the_statement() -> None:
    field = Field()
    ref = field.emit(say(ttl_ns=10 * SECOND))
    field.emit(say(BO, 1, ttl_ns=30 * SECOND))
    field.take(stand(say(), CY, 1, ttl_ns=50 * SECOND))
    assert field.reinforce(ref, by=ADA, now_ns=SECOND).expires_at_ns == 30 * SECOND
    withdrawn = field.withdraw(ref, by=CY, now_ns=SECOND)
    assert withdrawn.expires_at_ns >= 50 * SECOND
    assert {p.author: p.kind for p in field.positions(ref, 29 * SECOND)}[CY] is WITHDRAW


def test_strongest_emission_is_read() -> None:
    field = Field()
    weak = say(ADA, 1, intensity=0.4, ttl_ns=90 * SECOND)
    strong = say(BO, 1, intensity=0.9, decay=DecayCurve.LINEAR, ttl_ns=10 * SECOND)
    ref = field.emit(weak)
    field.emit(strong)
    assert field.emissions(ref, 0) == [strong, weak]
    assert field.sense(0)[0].signal == strong
    assert field.emissions(ref, 9 * SECOND) == [weak, strong]
    assert field.sense(9 * SECOND)[0].signal == weak
    assert field.emissions(ref, 10 * SECOND) == [weak]


def test_strength_is_intensity_times_confidence() -> None:
    field = Field()
    loud, sure = say(ADA, intensity=1.0, confidence=0.2), say(BO, intensity=0.5, confidence=0.9)
    ref = field.emit(loud)
    field.emit(sure)
    assert field.emissions(ref, 0) == [sure, loud]
    assert field.value(ref, 0) == pytest.approx(0.5 * (0.9 + 0.1 / 1.5) * 1.1)


def test_equal_strength_is_decided_by_the_smaller_id() -> None:
    signals = [say(ADA, seq, payload=bytes((seq,))) for seq in range(9)]
    for given in (signals, signals[::-1]):
        field = Field()
        (ref,) = set(field.emit_batch(given))
        assert field.emissions(ref, 0) == sorted(signals, key=lambda s: s.id)
        assert field.sense(0)[0].signal == min(signals, key=lambda s: s.id)


def test_expire_counts_what_it_lets_go() -> None:
    field = Field()
    for seq in range(5):
        field.emit(say(ADA, seq, bytes((seq + 1,)), ttl_ns=(seq + 1) * SECOND))
        field.take(stand(say(about=bytes((seq + 1,))), BO, seq, ttl_ns=(seq + 1) * SECOND))
    assert field.expire(0) == 0
    assert field.expire(SECOND) == 2
    assert field.expire(SECOND) == 0
    assert field.expire(4 * SECOND) == 6
    assert len(field) == 1
    assert field.expire(5 * SECOND) == 2
    assert is_empty(field)


def test_everything_is_let_go_after_expiry() -> None:
    field = Field()
    for seq in range(300):
        field.emit(say(node_id(f"author {seq % 40}"), seq, None if seq % 2 else b"%d" % (seq % 7)))
        field.take(stand(say(about=b"%d" % (seq % 11)), node_id(f"other {seq % 50}"), seq))
    assert field.expire(60 * SECOND) > 300
    assert len(field) == 0
    assert is_empty(field)


# ---- other fields, bad values


def test_elements_of_other_fields_are_refused() -> None:
    field = Field()
    with pytest.raises(WrongFieldError):
        field.emit(say(field_id=OTHER))
    with pytest.raises(WrongFieldError):
        field.take(stand(say(), BO, 1, field_id=OTHER))
    assert is_empty(field)
    elsewhere = Field(OTHER)
    ref = elsewhere.emit(say(field_id=OTHER))
    assert elsewhere.reinforce(ref, by=BO, now_ns=0).field_id == OTHER
    assert elsewhere.emissions(ref, 0)[0].field_id == OTHER


def test_batch_with_one_wrong_field_stores_nothing() -> None:
    field = Field()
    with pytest.raises(WrongFieldError):
        field.emit_batch(iter([say(), say(BO), say(CY, field_id=OTHER)]))
    assert is_empty(field)
    assert field.emit_batch([]) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"field_id": b"short"},
        {"field_id": "f" * 32},
        {"capacity": 0},
        {"capacity": -1},
        {"author_share": 0.0},
        {"author_share": 1.1},
        {"author_share": -0.5},
        {"author_share": float("nan")},
    ],
    ids=str,
)
def test_field_refuses_settings_out_of_bounds(settings: dict[str, object]) -> None:
    with pytest.raises(InvalidSignalError):
        Field(**settings)


@pytest.mark.parametrize(
    "changes",
    [
        {"confidence": 0.0},
        {"confidence": float("nan")},
        {"reason": "r" * 1025},
        {"seq": -1},
        {"by": b"bo"},
        {"now_ns": -1},
    ],
)
def test_bad_stance_changes_nothing(changes: dict[str, object]) -> None:
    field = Field()
    ref = field.emit(say())
    with pytest.raises(InvalidSignalError):
        field.reinforce(ref, **{"by": BO, "now_ns": 0, **changes})
    assert len(field.positions(ref, 0)) == 1
    assert field.next_seq(BO) == 1


# ---- sequence numbers


def test_next_seq_is_after_all_that_was_seen() -> None:
    field = Field()
    assert field.next_seq(ADA) == 1
    ref = field.emit(say(ADA, 41))
    assert field.next_seq(ADA) == 42
    assert field.next_seq(BO) == 1
    assert field.reinforce(ref, by=ADA, now_ns=0).seq == 42
    field.take(stand(say(), BO, 7))
    assert field.inhibit(ref, by=BO, now_ns=0).seq == 8
    assert field.withdraw(ref, by=BO, now_ns=0, seq=20).seq == 20
    assert field.next_seq(BO) == 21
    field.emit(say(ADA, 3))
    assert field.next_seq(ADA) == 43


def test_late_arrivals_do_not_lower_next_seq() -> None:
    field = Field()
    field.emit(say(ADA, 41))
    field.take(stand(say(), ADA, 7))
    field.emit(say(ADA, 3))
    assert field.next_seq(ADA) == 42


def test_sequence_numbers_of_stances_taken_here_are_not_used_again() -> None:
    field = Field()
    ref = field.emit(say(ttl_ns=SECOND))
    used = [field.reinforce(ref, by=BO, now_ns=0).seq for _ in range(3)]
    field.expire(2 * SECOND)
    assert is_empty(field)
    again = field.emit(say(ADA, 9, created_at_ns=2 * SECOND))
    assert field.reinforce(again, by=BO, now_ns=2 * SECOND).seq > max(used)
