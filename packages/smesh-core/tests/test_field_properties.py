"""A field is a set: whatever the order of arrival, the repetitions and the calls to expire, it reads the same.

Authors and subjects are few and sequence numbers overlap, so that most of what is drawn meets: several emissions of
one statement, stances before their statement, and equivocation (one author, one number, two contents).
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from smesh_core import DecayCurve, Field, FieldFullError, Observer, Signal, SignalType, Stance, StanceKind, node_id

SECOND = 10**9
NODES = [node_id(name) for name in ("ada", "bo", "cy", "di")]
SUBJECTS = [b"x", b"y", None]
ROSTER = Observer(roster={NODES[0]: "one", NODES[1]: "one", NODES[2]: ""}, trust={NODES[3]: 0.8}, unknown_vote=0.5)
TIMES_S = [0, 3, 7, 12, 20, 31, 45, 70]

Element = Signal | Stance

seqs = st.integers(1, 3)
authors = st.sampled_from(NODES)
signals = st.builds(
    Signal,
    author=authors,
    seq=seqs,
    created_at_ns=st.sampled_from([0, 2, 5, 10, 30]).map(lambda s: s * SECOND),
    payload=st.sampled_from([b"", b"other"]),
    type=st.sampled_from([SignalType.DATA, SignalType.ALERT]),
    subject=st.sampled_from(SUBJECTS),
    ttl_ns=st.sampled_from([1, 4, 10, 25, 60]).map(lambda s: s * SECOND),
    intensity=st.sampled_from([0.011, 0.31, 0.67, 1.0]),
    confidence=st.sampled_from([0.0, 0.23, 0.59, 0.97]),
    decay=st.sampled_from(DecayCurve),
    rate_per_s=st.sampled_from([0.0, 0.1, 0.7]),
)
STATEMENTS = [
    Signal(author=author, seq=seq, created_at_ns=0, type=kind, subject=said).statement
    for kind in (SignalType.DATA, SignalType.ALERT)
    for said in SUBJECTS
    for author, seq in ([(NODES[0], 1)] if said else [(node, seq) for node in NODES for seq in (1, 2, 3)])
]
stances = st.builds(
    Stance,
    statement=st.sampled_from(STATEMENTS[:2] + STATEMENTS[14:16]) | st.sampled_from(STATEMENTS),
    author=authors,
    seq=seqs,
    kind=st.sampled_from(StanceKind),
    created_at_ns=st.just(0),
    ttl_ns=st.sampled_from([2, 6, 15, 40, 90]).map(lambda s: s * SECOND),
    confidence=st.sampled_from([0.5, 1.0]),
)
elements = st.lists(signals | stances, min_size=1, max_size=14)


def deliver(field: Field, element: Element) -> None:
    if isinstance(element, Signal):
        field.emit(element)
    else:
        field.take(element)


def reading(field: Field, now_ns: int) -> dict[bytes, Any]:
    """All that can be read about each statement that anybody says now."""
    read = {}
    for statement in STATEMENTS:
        ref = field.find(statement)
        if ref is not None and (emissions := field.emissions(ref, now_ns)):
            read[statement] = (
                emissions,
                field.positions(ref, now_ns),
                field.stances(ref, now_ns),
                [(field.value(ref, now_ns, o), field.verdict(ref, now_ns, o)) for o in (Observer(), ROSTER)],
            )
    return read


def felt(field: Field, now_ns: int) -> Any:
    sensed = [field.sense(now_ns), field.sense(now_ns, threshold=0.0, observer=ROSTER), field.query(now_ns)]
    return [[(entry.value, entry.signal) for entry in entries] for entries in sensed]


@given(elements, st.data())
@settings(max_examples=250)
def test_order_repetition_and_expiry_change_nothing(given_elements: list[Element], data: st.DataObject) -> None:
    plain, other = Field(), Field()
    for element in given_elements:
        deliver(plain, element)
    again = data.draw(st.lists(st.sampled_from(given_elements), max_size=8), label="repeated")
    order = data.draw(st.permutations(given_elements + again), label="order")
    expiries = data.draw(st.lists(st.integers(0, 20), max_size=4).map(sorted), label="expire before times")
    steps = data.draw(
        st.lists(st.integers(0, len(order)), min_size=len(expiries), max_size=len(expiries)).map(sorted),
        label="expire at steps",
    )
    for at, element in enumerate(order):
        for step, expiry_s in zip(steps, expiries, strict=True):
            if step == at:
                other.expire(expiry_s * SECOND)
        deliver(other, element)
    for now_s in [t for t in TIMES_S if t >= 20]:
        assert reading(other, now_s * SECOND) == reading(plain, now_s * SECOND)
        assert felt(other, now_s * SECOND) == felt(plain, now_s * SECOND)


@given(elements, st.data())
@settings(max_examples=150)
def test_order_changes_nothing_at_any_time(given_elements: list[Element], data: st.DataObject) -> None:
    one, two = Field(), Field()
    for element in given_elements:
        deliver(one, element)
    for element in data.draw(st.permutations(given_elements)):
        deliver(two, element)
    for now_s in TIMES_S:
        two.expire(now_s * SECOND)
        assert reading(one, now_s * SECOND) == reading(two, now_s * SECOND)
        assert felt(one, now_s * SECOND) == felt(two, now_s * SECOND)


@given(elements, elements, st.sampled_from(TIMES_S))
def test_merging_is_commutative(mine: list[Element], yours: list[Element], now_s: int) -> None:
    one, two = Field(), Field()
    for element in mine + yours:
        deliver(one, element)
    for element in yours + mine + yours:
        deliver(two, element)
    assert reading(one, now_s * SECOND) == reading(two, now_s * SECOND)


# ---- capacity: what is kept is a function of what was received

capacity_signals = st.lists(
    st.builds(
        Signal,
        author=authors,
        seq=st.integers(1, 6),
        created_at_ns=st.just(0),
        payload=st.sampled_from([b"", b"other"]),
        subject=st.sampled_from(SUBJECTS),
        ttl_ns=st.integers(1, 6).map(lambda s: s * SECOND),
        decay=st.just(DecayCurve.STEP),
    ),
    min_size=1,
    max_size=25,
)


def latest_to_end(signals: list[Signal], count: int) -> list[Signal]:
    return sorted(signals, key=lambda s: (s.created_at_ns + s.ttl_ns, s.id), reverse=True)[:count]


def kept(received: list[Signal], capacity: int, share: int) -> set[bytes]:
    """Each author's latest to end, up to its share; of these the field's latest to end."""
    unique = list({signal.id: signal for signal in received}.values())
    within = [s for author in NODES for s in latest_to_end([s for s in unique if s.author == author], share)]
    return {signal.id for signal in latest_to_end(within, capacity)}


def held(field: Field) -> list[bytes]:
    return [s.id for entry in field.query(0) for s in field.emissions(entry.ref, 0)]


@given(capacity_signals, st.integers(1, 10), st.sampled_from([1.0, 0.5, 0.25]), st.data())
@settings(max_examples=200)
def test_full_field_keeps_the_same_whatever_the_order(
    received: list[Signal], capacity: int, share: float, data: st.DataObject
) -> None:
    again = data.draw(st.lists(st.sampled_from(received), max_size=6), label="repeated")
    order = data.draw(st.permutations(received + again), label="order")
    expected = kept(received, capacity, max(1, int(capacity * share)))
    singly, together = Field(capacity=capacity, author_share=share), Field(capacity=capacity, author_share=share)
    refused = 0
    for signal in order:
        try:
            singly.emit(signal)
        except FieldFullError:
            refused += 1
        assert len(singly) <= capacity
    refs = together.emit_batch(order)
    assert refs.count(None) == refused
    for field in (singly, together):
        assert sorted(held(field)) == sorted(expected)
        assert len(field) == len(expected)


@given(capacity_signals, st.integers(1, 8), st.data())
def test_full_fields_that_exchange_what_they_hold_agree(
    received: list[Signal], capacity: int, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(received)))
    one, two = Field(capacity=capacity), Field(capacity=capacity)
    one.emit_batch(received[:cut])
    two.emit_batch(received[cut:])
    mine, theirs = ([s for entry in field.query(0) for s in field.emissions(entry.ref, 0)] for field in (one, two))
    one.emit_batch(theirs)
    two.emit_batch(mine)
    assert sorted(held(one)) == sorted(held(two)) == sorted(kept(received, capacity, capacity))
