"""Values: what support and opposition make of an emission, against the slow oracle and by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smesh_core import EVERYONE, DecayCurve, Field, Observer, Signal, Stance, StanceKind, node_id, tally
from smesh_core.reinforcement import EQUALS_MAX, reinforced_by_equals, reinforced_by_many, reinforced_value

if TYPE_CHECKING:
    from typing import Any

WITHDRAW, SUPPORT, OPPOSE = StanceKind
SECOND = 10**9
AUTHOR = node_id("author")
NODES = [node_id(f"node {number}") for number in range(12)]
TOOLS = Observer(roster={AUTHOR: "x", **{node: "x" if at < 3 else "y" for at, node in enumerate(NODES[:6])}})


def spoken(intensity: float = 1.0, confidence: float = 0.5, **changes: object) -> tuple[Field, Any]:
    field = Field()
    values = {"author": AUTHOR, "seq": 1, "created_at_ns": 0, "intensity": intensity, "confidence": confidence}
    return field, field.emit(Signal(**{**values, **changes}))


def original_effective_intensity(intensity: float, confidence: float, supporters: int) -> float:
    """With all weights 1 and no opposition: each of n supporters adds 0.1/(1+0.5 i), and n boosts by up to half."""
    for i in range(1, supporters + 1):
        confidence += 0.1 / (1 + 0.5 * i)
    return min(1.0, intensity * min(1.0, confidence) * (1 + min(0.1 * supporters, 0.5)))


@pytest.mark.parametrize("supporters", range(13))
@pytest.mark.parametrize(("intensity", "confidence"), [(0.1, 0.1), (0.37, 0.5), (0.8, 0.9), (1.0, 1.0), (1.0, 0.0)])
def test_original_effective_intensity(supporters: int, intensity: float, confidence: float) -> None:
    field, ref = spoken(intensity, confidence)
    for node in NODES[:supporters]:
        field.reinforce(ref, by=node, now_ns=0)
    expected = original_effective_intensity(intensity, confidence, supporters)
    assert field.value(ref, 0) == pytest.approx(expected, rel=1e-12)


def test_values_by_hand() -> None:
    field, ref = spoken(0.5, 0.4)
    assert field.value(ref, 0) == pytest.approx(0.2)
    field.reinforce(ref, by=NODES[0], now_ns=0)
    assert field.value(ref, 0) == pytest.approx(0.5 * (0.4 + 0.1 / 1.5) * 1.1)
    field.reinforce(ref, by=NODES[1], now_ns=0)
    assert field.value(ref, 0) == pytest.approx(0.5 * (0.4 + 0.1 / 1.5 + 0.1 / 2) * 1.2)
    field.inhibit(ref, by=NODES[2], now_ns=0)
    assert field.value(ref, 0) == pytest.approx(0.5 * (0.4 + 0.1 / 1.5 + 0.1 / 2) * 1.2 * 3 / 4)


def test_value_fades_with_the_emission() -> None:
    field, ref = spoken(1.0, 0.5, decay=DecayCurve.LINEAR, ttl_ns=60 * SECOND)
    field.reinforce(ref, by=NODES[0], now_ns=0)
    whole = field.value(ref, 0)
    assert field.value(ref, 15 * SECOND) == pytest.approx(0.75 * whole)
    assert field.value(ref, 60 * SECOND) == 0.0


def test_value_is_at_most_one() -> None:
    field, ref = spoken(1.0, 1.0)
    for node in NODES:
        field.reinforce(ref, by=node, now_ns=0)
    assert field.value(ref, 0) == 1.0


def test_stance_confidence_carries_no_weight() -> None:
    field, ref = spoken()
    field.reinforce(ref, by=NODES[0], now_ns=0, confidence=0.01)
    assert field.value(ref, 0) == pytest.approx(original_effective_intensity(1.0, 0.5, 1))


@pytest.mark.parametrize(("opposers", "factor"), [(0, 1.0), (1, 1 / 2), (3, 1 / 4)])
def test_opposition_scales_by_the_share_of_support(opposers: int, factor: float) -> None:
    field, ref = spoken()
    for node in NODES[:opposers]:
        field.inhibit(ref, by=node, now_ns=0)
    assert field.value(ref, 0) == pytest.approx(0.5 * factor)


def test_author_who_opposes_leaves_nothing() -> None:
    field, ref = spoken()
    field.inhibit(ref, by=AUTHOR, now_ns=0)
    assert field.value(ref, 0) == 0.0
    field.reinforce(ref, by=NODES[0], now_ns=0)
    assert field.value(ref, 0) == pytest.approx(original_effective_intensity(1.0, 0.5, 1) / 2)


def test_withdrawn_by_all_is_nothing() -> None:
    field, ref = spoken()
    field.reinforce(ref, by=NODES[0], now_ns=0)
    field.withdraw(ref, by=AUTHOR, now_ns=0)
    assert field.value(ref, 0) == pytest.approx(original_effective_intensity(1.0, 0.5, 1))
    field.withdraw(ref, by=NODES[0], now_ns=0)
    assert field.value(ref, 0) == 0.0
    assert field.sense(0, threshold=1e-9) == []
    field.reinforce(ref, by=AUTHOR, now_ns=0)
    assert field.value(ref, 0) == pytest.approx(0.5)


# ---- lineages and weights


def test_lineage_supports_once() -> None:
    field, ref = spoken()
    for node in NODES[3:6]:
        field.reinforce(ref, by=node, now_ns=0)
    assert field.value(ref, 0, TOOLS) == pytest.approx(original_effective_intensity(1.0, 0.5, 1), rel=1e-15)
    assert field.value(ref, 0, EVERYONE) == pytest.approx(original_effective_intensity(1.0, 0.5, 3))


def test_authors_own_lineage_adds_nothing() -> None:
    field, ref = spoken()
    for node in NODES[:3]:
        field.reinforce(ref, by=node, now_ns=0)
    assert field.value(ref, 0, TOOLS) == 0.5
    assert field.value(ref, 0) > 0.5


def test_lineage_mate_against_its_author_splits_their_vote() -> None:
    field, ref = spoken()
    field.inhibit(ref, by=NODES[0], now_ns=0)
    assert field.value(ref, 0, TOOLS) == pytest.approx(0.5 * 0.5)


def test_divided_lineage_supports_in_part() -> None:
    field, ref = spoken()
    field.reinforce(ref, by=NODES[3], now_ns=0)
    field.reinforce(ref, by=NODES[4], now_ns=0)
    field.inhibit(ref, by=NODES[5], now_ns=0)
    expected = (0.5 + 2 / 3 * 0.1 / 1.5) * (1 + 0.1 * 2 / 3) * (5 / 3) / 2
    assert field.value(ref, 0, TOOLS) == pytest.approx(expected)


def test_trusted_supporters_count_by_weight_heaviest_first() -> None:
    field, ref = spoken()
    for node in NODES[:3]:
        field.reinforce(ref, by=node, now_ns=0)
    observer = Observer(roster={AUTHOR: ""}, trust={NODES[0]: 0.6, NODES[1]: 1.0, NODES[2]: 0.8})
    expected = (0.5 + 1.0 * 0.1 / 1.5 + 0.6 * 0.1 / 2 + 0.2 * 0.1 / 2.5) * (1 + 0.1 * 1.8)
    assert field.value(ref, 0, observer) == pytest.approx(expected)


def test_fresh_keys_move_no_value_by_default() -> None:
    field, ref = spoken()
    honest = Observer(roster={AUTHOR: ""})
    for number in range(200):
        field.reinforce(ref, by=node_id(f"fresh {number}"), now_ns=0)
        field.inhibit(ref, by=node_id(f"hostile {number}"), now_ns=0)
    assert field.value(ref, 0, honest) == 0.5
    bounded = Observer(roster={AUTHOR: ""}, unknown_vote=0.5)
    assert field.value(ref, 0, bounded) == pytest.approx((0.5 + 0.25 / 15) * 1.025 * 1.25 / 1.5)


def test_unknown_author_gains_nothing_by_declaring_a_lineage() -> None:
    """Its fresh keys share its one unknown vote; a name it gives itself must not make them strangers to it."""
    field, ref = spoken()
    for number in range(5):
        field.reinforce(ref, by=node_id(f"fresh {number}"), now_ns=0)
    silent = field.value(ref, 0, Observer(roster={}, unknown_vote=1.0))
    assert silent == 0.5
    for name in ("mine", "", "(unknown)"):
        observer = Observer(roster={}, unknown_vote=1.0, declared={AUTHOR: name})
        assert field.value(ref, 0, observer) <= silent


# ---- against the oracle


def observing(roster: dict[bytes, str], trust: dict[bytes, float], unknown_vote: float) -> Observer:
    return Observer(roster=roster, trust=trust, unknown_vote=unknown_vote)


stands = st.dictionaries(st.sampled_from([*NODES, AUTHOR]), st.sampled_from(StanceKind))
trusts = st.sampled_from([0.0, 0.4, 0.5, 0.55, 0.8, 1.0])
observers = st.none().map(lambda _: EVERYONE) | st.builds(
    observing,
    roster=st.dictionaries(st.sampled_from([*NODES, AUTHOR]), st.sampled_from(["x", "y", ""])),
    trust=st.dictionaries(st.sampled_from([*NODES, AUTHOR]), trusts),
    unknown_vote=st.sampled_from([0.0, 0.3, 1.0]),
)


@given(stands, observers, st.floats(0.02, 1), st.floats(0, 1), st.integers(0, 30))
def test_value_and_verdict_are_the_oracles(
    oracle: Any,
    stances: dict[bytes, StanceKind],
    observer: Observer,
    intensity: float,
    confidence: float,
    now_s: int,
) -> None:
    field, ref = spoken(intensity, confidence)
    elements: list[Signal | Stance] = field.emissions(ref, 0)
    for node, kind in stances.items():
        stance = Stance(statement=field.statement(ref), author=node, seq=2, kind=kind, created_at_ns=0)
        field.take(stance)
        elements.append(stance)
    now_ns = now_s * SECOND
    expected = oracle.value(elements, now_ns, observer)
    assert field.value(ref, now_ns, observer) == pytest.approx(expected, rel=1e-12, abs=1e-15)
    if oracle.emissions(elements, now_ns):
        votes = oracle.votes(elements, now_ns, observer).values()
        verdict = field.verdict(ref, now_ns, observer)
        assert verdict.support == pytest.approx(float(sum(s for s, _ in votes)))
        assert verdict.oppose == pytest.approx(float(sum(o for _, o in votes)))


# ---- the short ways are the long one, bit for bit

CROWD = sorted(node_id(f"member {number}") for number in range(90))


@given(
    st.floats(0.01, 1),
    st.floats(0, 1),
    st.integers(0, 75),
    st.integers(0, 12),
    st.sampled_from([SUPPORT, OPPOSE, WITHDRAW]),
)
def test_counting_equals_gives_what_their_votes_give(
    intensity: float, confidence: float, others: int, against: int, mine: StanceKind
) -> None:
    stands = [*((node, SUPPORT) for node in CROWD[:others]), *((node, OPPOSE) for node in CROWD[others:][:against])]
    votes = tally([*stands, (AUTHOR, mine)], Observer(roster=dict.fromkeys([*CROWD, AUTHOR], "")))
    support, oppose = others + (mine is SUPPORT), against + (mine is OPPOSE)
    lineage = EVERYONE.lineage(AUTHOR)
    expected = reinforced_value(intensity, confidence, lineage, votes)
    assert reinforced_by_equals(intensity, confidence, others, support, oppose) == expected
    if mine is SUPPORT and others <= EQUALS_MAX:
        columns = np.array([intensity, 1.0]), np.array([confidence, 0.3]), np.array([others, 0]), np.array([oppose, 0])
        assert reinforced_by_many(*columns)[0] == expected


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5),
            st.sampled_from([*NODES[:4], AUTHOR]),
            st.sampled_from(StanceKind),
            st.integers(1, 4),
            st.integers(1, 30),
        ),
        max_size=40,
    ),
    st.integers(0, 25),
    st.sampled_from([EVERYONE, TOOLS]),
)
def test_sensing_all_reads_what_each_reads(
    taken: list[tuple[int, bytes, StanceKind, int, int]], now_s: int, observer: Observer
) -> None:
    """Plain statements, crowds, several stances of one node, authors who withdraw: one value, however it is read."""
    field = Field()
    said = [
        Signal(
            author=AUTHOR, seq=at, created_at_ns=0, subject=b"%d" % (at % 5), confidence=0.1 + at / 10, rate_per_s=0.02
        )
        for at in range(7)
    ]
    refs = [field.emit(signal) for signal in said]
    for at, node, kind, seq, life_s in taken:
        field.take(
            Stance(
                statement=said[at].statement,
                author=node,
                seq=seq,
                kind=kind,
                created_at_ns=0,
                ttl_ns=life_s * SECOND,
            )
        )
    now_ns = now_s * SECOND
    sensed = field.sense(now_ns, threshold=0.0, observer=observer)
    assert {entry.ref: entry.value for entry in sensed} == {ref: field.value(ref, now_ns, observer) for ref in refs}
    assert [entry.value for entry in sensed] == [field.read(entry.ref, now_ns, observer).value for entry in sensed]


def test_sensing_a_crowd_reads_what_its_votes_give() -> None:
    field, ref = spoken(0.5, 0.25)
    other = field.emit(Signal(author=AUTHOR, seq=2, created_at_ns=0, confidence=0.25))
    for node in CROWD:
        field.reinforce(ref, by=node, now_ns=0)
        field.inhibit(ref, by=node_id(f"not {node.hex()}"), now_ns=0)
    field.reinforce(other, by=CROWD[0], now_ns=0)
    assert {entry.ref: entry.value for entry in field.sense(0, threshold=0.0)} == {
        ref: field.value(ref, 0),
        other: field.value(other, 0),
    }
