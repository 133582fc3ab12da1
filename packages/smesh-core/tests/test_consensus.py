"""Consensus: the default quorum's answers, read afresh each time."""

from __future__ import annotations

import pytest
from smesh_core import (
    ConsensusState,
    DecayCurve,
    Field,
    InvalidSignalError,
    Observer,
    Quorum,
    Signal,
    StanceKind,
    Tally,
    Verdict,
    Vote,
    node_id,
    tally,
)

WITHDRAW, SUPPORT, OPPOSE = StanceKind
OPEN, REACHED, REJECTED = ConsensusState
ADA, BO, CY, DI, ED = (node_id(name) for name in ("ada", "bo", "cy", "di", "ed"))
ROSTER = {ADA: "a", BO: "b", CY: "c", DI: "d", ED: "a"}
SECOND = 10**9


def read(positions: dict[bytes, StanceKind], quorum: Quorum | None = None, **observer: object) -> Verdict:
    return (quorum or Quorum()).read(tally(positions.items(), Observer(**{"roster": ROSTER, **observer})))


@pytest.mark.parametrize(
    ("positions", "state"),
    [
        ({}, OPEN),
        ({ADA: SUPPORT}, OPEN),
        ({ADA: SUPPORT, BO: SUPPORT}, REACHED),
        ({ADA: SUPPORT, ED: SUPPORT}, OPEN),
        ({ADA: SUPPORT, ED: SUPPORT, BO: SUPPORT}, REACHED),
        ({ADA: OPPOSE, BO: OPPOSE}, REJECTED),
        ({ADA: OPPOSE, ED: OPPOSE}, OPEN),
        ({ADA: SUPPORT, BO: OPPOSE}, OPEN),
        ({ADA: SUPPORT, BO: SUPPORT, CY: OPPOSE, DI: OPPOSE}, OPEN),
        ({ADA: SUPPORT, BO: SUPPORT, CY: SUPPORT, DI: OPPOSE}, REACHED),
        ({ADA: SUPPORT, BO: OPPOSE, CY: OPPOSE, DI: OPPOSE}, REJECTED),
        ({ADA: SUPPORT, BO: SUPPORT, CY: OPPOSE}, REACHED),
        ({ADA: SUPPORT, ED: OPPOSE, BO: SUPPORT}, OPEN),
        ({ADA: SUPPORT, BO: WITHDRAW}, OPEN),
    ],
    ids=[
        "nobody",
        "one lineage",
        "two",
        "two of one lineage",
        "three of two lineages",
        "two against",
        "two of one lineage against",
        "one each",
        "tie",
        "three to one",
        "one to three",
        "two to one",
        "a divided lineage is not a second one",
        "withdrawn",
    ],
)
def test_states(positions: dict[bytes, StanceKind], state: ConsensusState) -> None:
    assert read(positions).state is state


def test_weight_of_one_lineage_is_never_enough() -> None:
    votes = Tally((Vote("a", 1.0, 0.0, (ADA,), ()),), 5.0, 0.0)
    assert Quorum(weight=1.0).read(votes).state is OPEN
    assert Quorum(weight=1.0, lineages=1).read(votes).state is REACHED


def test_weight_must_be_met() -> None:
    trust = {ADA: 0.75, BO: 0.75, CY: 0.75, DI: 0.75}
    three = dict.fromkeys((ADA, BO, CY), SUPPORT)
    assert read(three, roster={}, trust=trust).state is OPEN
    assert read({**three, DI: SUPPORT}, roster={}, trust=trust).state is REACHED
    assert read(three, Quorum(weight=1.5), roster={}, trust=trust).state is REACHED
    assert read(three, Quorum(weight=1.5, lineages=4), roster={}, trust=trust).state is OPEN


def test_verdict_says_who_and_how_much() -> None:
    verdict = read({ADA: SUPPORT, BO: SUPPORT, ED: SUPPORT, CY: OPPOSE})
    assert (verdict.support, verdict.oppose) == (2.0, 1.0)
    assert verdict.supporters == tuple(sorted((ADA, BO, ED)))
    assert verdict.opposers == (CY,)
    assert verdict.lineages == ("a", "b")
    assert [vote.lineage for vote in verdict.votes] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "settings", [{"weight": 0.0}, {"weight": -1.0}, {"weight": float("nan")}, {"weight": float("inf")}, {"lineages": 0}]
)
def test_quorum_refuses_what_is_out_of_bounds(settings: dict[str, float]) -> None:
    with pytest.raises(InvalidSignalError):
        Quorum(**settings)


# ---- read from the field, never latched


def said(field: Field, ttl_s: int = 60) -> tuple[object, Signal]:
    signal = Signal(author=ADA, seq=1, created_at_ns=0, subject=b"x", ttl_ns=ttl_s * SECOND, decay=DecayCurve.STEP)
    return field.emit(signal), signal


def test_author_and_one_more_reach_consensus_which_falls_when_support_is_withdrawn() -> None:
    field, observer = Field(), Observer(roster=ROSTER)
    ref, _ = said(field)
    assert field.verdict(ref, 0, observer).state is OPEN
    field.reinforce(ref, by=BO, now_ns=0)
    assert field.verdict(ref, 0, observer).state is REACHED
    field.withdraw(ref, by=BO, now_ns=SECOND)
    assert field.verdict(ref, SECOND, observer).state is OPEN
    field.inhibit(ref, by=BO, now_ns=2 * SECOND)
    field.inhibit(ref, by=CY, now_ns=2 * SECOND)
    assert field.verdict(ref, 2 * SECOND, observer).state is REJECTED
    field.reinforce(ref, by=BO, now_ns=3 * SECOND)
    assert field.verdict(ref, 3 * SECOND, observer).state is REACHED


def test_verdict_changes_back_when_support_expires() -> None:
    field, observer = Field(), Observer(roster=ROSTER)
    _, signal = said(field, ttl_s=10)
    ref = field.emit(signal)
    field.reinforce(ref, by=BO, now_ns=0)
    field.emit(Signal(author=ADA, seq=9, created_at_ns=5 * SECOND, subject=b"x", decay=DecayCurve.STEP))
    assert field.verdict(ref, 10 * SECOND - 1, observer).state is REACHED
    assert field.verdict(ref, 10 * SECOND, observer).state is OPEN


def test_nothing_is_agreed_about_what_nobody_says_any_more() -> None:
    """Stances may outlive the statement; a field that has let it go gives no verdict, so no other may either."""
    field, observer = Field(), Observer(roster=ROSTER)
    ref, signal = said(field, ttl_s=10)
    field.emit(Signal(author=ADA, seq=2, created_at_ns=0, subject=b"y", ttl_ns=20 * SECOND))
    for node in (BO, CY):
        stance = field.reinforce(ref, by=node, now_ns=0)
        assert stance.expires_at_ns == signal.expires_at_ns
        field.take(
            type(stance)(
                statement=stance.statement,
                author=node,
                seq=stance.seq + 1,
                kind=SUPPORT,
                created_at_ns=0,
                ttl_ns=60 * SECOND,
            )
        )
    assert field.verdict(ref, 9 * SECOND, observer).state is REACHED
    assert field.emissions(ref, 11 * SECOND) == []
    assert field.value(ref, 11 * SECOND, observer) == 0.0
    assert field.verdict(ref, 11 * SECOND, observer).state is OPEN


def test_observers_may_differ() -> None:
    field = Field()
    ref, _ = said(field)
    field.reinforce(ref, by=BO, now_ns=0)
    assert field.verdict(ref, 0).state is REACHED
    assert field.verdict(ref, 0, Observer(roster={})).state is OPEN
    assert field.verdict(ref, 0, Observer(roster={ADA: "m", BO: "m"})).state is OPEN
    assert field.verdict(ref, 0, policy=Quorum(weight=3.0)).state is OPEN
