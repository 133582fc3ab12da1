"""Weights and lineages: who counts, how much, and that saying things of oneself never pays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smesh_core import EVERYONE, InvalidSignalError, Observer, Quorum, StanceKind, Tally, node_id, tally

WITHDRAW, SUPPORT, OPPOSE = StanceKind
ADA, BO, CY, DI, ED = (node_id(name) for name in ("ada", "bo", "cy", "di", "ed"))
NODES = [ADA, BO, CY, DI, ED]
CROWD = [node_id(f"fresh {number}") for number in range(1000)]


def sums(positions: list[tuple[bytes, StanceKind]], observer: Observer) -> tuple[float, float]:
    votes = tally(positions, observer)
    return votes.support, votes.oppose


def leaning(votes: Tally) -> tuple[int, int]:
    """How many lineages lean each way."""
    return sum(v.support > v.oppose for v in votes.votes), sum(v.oppose > v.support for v in votes.votes)


# ---- who weighs what


def test_everyone_counts_each_node_once_by_itself() -> None:
    votes = tally([(ADA, SUPPORT), (BO, SUPPORT), (CY, OPPOSE)], EVERYONE)
    assert (votes.support, votes.oppose) == (2.0, 1.0)
    assert len(votes.votes) == 3


def test_nobody_is_nothing() -> None:
    assert tally([], EVERYONE) == Tally((), 0.0, 0.0)
    assert tally([(ADA, WITHDRAW)], EVERYONE) == Tally((), 0.0, 0.0)


@pytest.mark.parametrize(
    ("trust", "weight"), [(0.0, 0.0), (0.01, 0.0), (0.5, 0.0), (0.75, 0.5), (0.9, 0.8), (0.99, 0.98), (1.0, 1.0)]
)
def test_judged_node_weighs_twice_its_trust_less_one(trust: float, weight: float) -> None:
    observer = Observer(roster={}, trust={ADA: trust}, unknown_vote=0.25)
    assert sums([(ADA, SUPPORT)], observer) == pytest.approx((weight, 0.0))
    assert sums([(ADA, OPPOSE)], observer) == pytest.approx((0.0, weight))


def test_roster_outweighs_a_low_trust() -> None:
    assert sums([(ADA, SUPPORT)], Observer(roster={ADA: ""}, trust={ADA: 0.01})) == (1.0, 0.0)


def test_distrusted_node_is_not_an_unknown_one() -> None:
    observer = Observer(roster={}, trust={ADA: 0.1}, unknown_vote=1.0)
    assert sums([(ADA, SUPPORT)], observer) == (0.0, 0.0)
    assert sums([(ADA, SUPPORT), (BO, OPPOSE)], observer) == (0.0, 1.0)


def test_thousand_fresh_keys_weigh_nothing_by_default() -> None:
    observer = Observer(roster={ADA: "a", BO: "b"})
    honest = [(ADA, OPPOSE), (BO, OPPOSE)]
    votes = tally([(key, SUPPORT) for key in CROWD] + honest, observer)
    assert (votes.support, votes.oppose) == (0.0, 2.0)
    assert Quorum().read(votes).state.value == "rejected"


@pytest.mark.parametrize("count", [1, 2, 3, 49, 1000])
@pytest.mark.parametrize("unknown_vote", [0.1, 0.3, 1.0])
def test_fresh_keys_together_weigh_one_unknown_vote(count: int, unknown_vote: float) -> None:
    observer = Observer(roster={ADA: "a"}, unknown_vote=unknown_vote)
    votes = tally([(key, SUPPORT) for key in CROWD[:count]], observer)
    assert votes.support == unknown_vote
    assert leaning(votes) == (1, 0)


def test_divided_unknowns_share_their_vote() -> None:
    observer = Observer(roster={}, unknown_vote=0.8)
    positions = [(key, SUPPORT) for key in CROWD[:3]] + [(CROWD[3], OPPOSE)]
    assert sums(positions, observer) == pytest.approx((0.6, 0.2))


# ---- lineages


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 49, 98, 1000])
def test_unanimous_lineage_has_exactly_one_vote(count: int) -> None:
    """Two lineages of 49 nodes must make a quorum of two votes, rounding or not."""
    observer = Observer(roster={key: ("one" if at % 2 else "two") for at, key in enumerate(CROWD[: 2 * count])})
    votes = tally([(key, SUPPORT) for key in CROWD[: 2 * count]], observer)
    assert [(vote.lineage, vote.support) for vote in votes.votes] == [("one", 1.0), ("two", 1.0)]
    assert votes.support == 2.0
    assert Quorum().read(votes).state.value == "reached"


def test_empty_lineage_on_the_roster_is_the_nodes_own() -> None:
    observer = Observer(roster={ADA: "", BO: "", CY: "tools", DI: "tools"})
    votes = tally([(node, SUPPORT) for node in (ADA, BO, CY, DI)], observer)
    assert votes.support == 3.0
    assert len(votes.votes) == 3


def test_divided_lineage_splits_its_one_vote() -> None:
    observer = Observer(roster={ADA: "x", BO: "x", CY: "x"})
    votes = tally([(ADA, SUPPORT), (BO, SUPPORT), (CY, OPPOSE)], observer)
    assert (votes.support, votes.oppose) == pytest.approx((2 / 3, 1 / 3))
    assert votes.votes[0].supporters == tuple(sorted((ADA, BO)))
    assert votes.votes[0].opposers == (CY,)


def test_lineage_of_judged_nodes_weighs_as_its_heaviest_and_splits_by_weight() -> None:
    observer = Observer(roster={}, trust={ADA: 0.9, BO: 0.7}, declared={ADA: "m", BO: "m"})
    assert sums([(ADA, SUPPORT), (BO, SUPPORT)], observer) == pytest.approx((0.8, 0.0))
    assert sums([(ADA, SUPPORT), (BO, OPPOSE)], observer) == pytest.approx((0.8 * 0.8 / 1.2, 0.4 * 0.4 / 1.2))


def test_another_supporter_never_makes_opposition_heavier() -> None:
    """Not even one that weighs more than those of its lineage who oppose: reached must not become rejected by it."""
    crowd, others, late = CROWD[:10], CROWD[10:14], CROWD[14]
    observer = Observer(
        roster={},
        trust={**dict.fromkeys(crowd, 0.55), **dict(zip(others, (1.0, 1.0, 0.95, 0.99), strict=True)), late: 0.75},
        declared=dict.fromkeys([*crowd, late], "m"),
    )
    positions = [(key, OPPOSE) for key in crowd]
    positions += list(zip(others, (SUPPORT, SUPPORT, OPPOSE, OPPOSE), strict=True))
    assert Quorum().read(tally(positions, observer)).state.value == "reached"
    before = tally(positions, observer)
    after = tally([*positions, (late, SUPPORT)], observer)
    assert after.support > before.support
    assert after.oppose <= before.oppose
    assert Quorum().read(after).state.value == "reached"


def test_withdrawn_member_leaves_the_vote_to_the_others() -> None:
    observer = Observer(roster={ADA: "x", BO: "x"})
    assert sums([(ADA, WITHDRAW), (BO, OPPOSE)], observer) == (0.0, 1.0)


@pytest.mark.parametrize("trust", [{}, dict.fromkeys(CROWD, 0.99), dict.fromkeys(CROWD, 0.2)])
def test_strangers_cannot_dilute_a_rostered_lineage(trust: dict[bytes, float]) -> None:
    declared = dict.fromkeys(CROWD, "rules")
    observer = Observer(roster={ADA: "rules", BO: ""}, trust=trust, declared=declared, unknown_vote=1.0)
    votes = tally([(ADA, SUPPORT), *((key, OPPOSE) for key in CROWD)], observer)
    # Strangers nobody has judged keep the one vote that all the unknown share; joining a lineage is not for them.
    assert (votes.support, votes.oppose) == (1.0, 0.0 if trust else 1.0)
    own_name = Observer(roster={BO: ""}, trust=trust, declared=dict.fromkeys(CROWD, f"node:{BO.hex()}"))
    assert sums([(BO, SUPPORT), *((key, OPPOSE) for key in CROWD)], own_name) == (1.0, 0.0)


def test_weightless_strangers_cannot_dilute_a_judged_node() -> None:
    observer = Observer(roster={}, trust={ADA: 0.9}, declared=dict.fromkeys([ADA, *CROWD], "m"), unknown_vote=1.0)
    assert sums([(ADA, SUPPORT), *((key, OPPOSE) for key in CROWD)], observer)[0] == pytest.approx(0.8)


def test_roster_wins_over_what_a_node_declares() -> None:
    observer = Observer(roster={ADA: "x", BO: "x"}, declared={ADA: "free", BO: "also free"})
    assert sums([(ADA, SUPPORT), (BO, SUPPORT)], observer) == (1.0, 0.0)


def test_declared_lineage_merges_two_votes() -> None:
    trust = {ADA: 1.0, BO: 1.0}
    both = [(ADA, SUPPORT), (BO, SUPPORT)]
    assert sums(both, Observer(roster={}, trust=trust)) == (2.0, 0.0)
    assert sums(both, Observer(roster={}, trust=trust, declared={ADA: "m", BO: "m"})) == (1.0, 0.0)
    assert sums(both, Observer(roster={CY: "m"}, trust=trust, declared={ADA: "m"})) == (2.0, 0.0)


@pytest.mark.parametrize("trust", [0.1, 0.5, 0.75])
def test_judged_node_gains_nothing_by_calling_itself_unknown(trust: float) -> None:
    """The lineage of the unknown is the observer's word, not for anyone to claim."""
    plain = Observer(roster={}, trust={ADA: trust}, unknown_vote=1.0)
    claiming = Observer(roster={}, trust={ADA: trust}, unknown_vote=1.0, declared={ADA: "(unknown)"})
    assert sum(sums([(ADA, SUPPORT)], claiming)) <= sum(sums([(ADA, SUPPORT)], plain))


def observing(roster: dict[bytes, str], trust: dict[bytes, float], unknown_vote: float) -> Observer:
    return Observer(roster=roster, trust=trust, unknown_vote=unknown_vote)


names = st.sampled_from(["m", "n", "", "(unknown)", f"node:{ADA.hex()}", f"node:{BO.hex()}"])
some_nodes = st.sampled_from(NODES)
stands = st.dictionaries(some_nodes, st.sampled_from([SUPPORT, OPPOSE, WITHDRAW])).map(lambda d: list(d.items()))
observers = st.builds(
    observing,
    roster=st.dictionaries(some_nodes, st.sampled_from(["m", "n", ""]), max_size=3),
    trust=st.dictionaries(some_nodes, st.sampled_from([0.0, 0.3, 0.5, 0.6, 0.9, 1.0]), max_size=5),
    unknown_vote=st.sampled_from([0.0, 0.4, 1.0]),
)


@given(stands, observers, st.dictionaries(some_nodes, names))
def test_declaring_anything_never_adds_weight_or_lineages(
    positions: list[tuple[bytes, StanceKind]], observer: Observer, declared: dict[bytes, str]
) -> None:
    before = tally(positions, observer)
    after = tally(
        positions,
        Observer(roster=observer.roster, trust=observer.trust, unknown_vote=observer.unknown_vote, declared=declared),
    )
    assert after.support + after.oppose <= before.support + before.oppose + 1e-12
    assert sum(leaning(after)) <= sum(v.support + v.oppose > 0 for v in before.votes)
    assert len(after.votes) <= len(before.votes)


# ---- whatever the order, whatever the observer


@given(stands, observers, st.dictionaries(some_nodes, names), st.randoms(use_true_random=False))
def test_tally_does_not_depend_on_order(
    positions: list[tuple[bytes, StanceKind]], observer: Observer, declared: dict[bytes, str], rng: object
) -> None:
    observer = Observer(
        roster=observer.roster, trust=observer.trust, unknown_vote=observer.unknown_vote, declared=declared
    )
    shuffled = list(positions)
    rng.shuffle(shuffled)
    assert tally(shuffled, observer) == tally(positions, observer)
    assert tally(iter(shuffled), observer) == tally(positions, observer)


@given(st.dictionaries(st.sampled_from(CROWD[:60]), st.sampled_from([SUPPORT, OPPOSE]), min_size=20), st.data())
def test_many_weights_sum_the_same_in_any_order(stances: dict[bytes, StanceKind], data: st.DataObject) -> None:
    weights = st.floats(0.5, 1.0)
    trust = {node: data.draw(weights) for node in stances}
    observer = Observer(roster={}, trust=trust, declared=dict.fromkeys(list(stances)[::3], "m"))
    order = data.draw(st.permutations(list(stances.items())))
    assert tally(order, observer) == tally(stances.items(), observer)


@given(stands, observers)
def test_each_lineage_has_at_most_one_vote(positions: list[tuple[bytes, StanceKind]], observer: Observer) -> None:
    votes = tally(positions, observer)
    for vote in votes.votes:
        assert vote.support >= 0.0
        assert vote.oppose >= 0.0
        assert vote.support + vote.oppose <= 1.0 + 1e-12
        assert list(vote.supporters) == sorted(vote.supporters)
        assert list(vote.opposers) == sorted(vote.opposers)
    assert [v.lineage for v in votes.votes] == sorted({v.lineage for v in votes.votes})


@given(st.dictionaries(st.sampled_from(CROWD[:60]), st.sampled_from([SUPPORT, OPPOSE, WITHDRAW])))
def test_everyone_counts_as_if_each_were_on_a_roster(stances: dict[bytes, StanceKind]) -> None:
    """Votes of an observer without a roster are made a shorter way; they are the votes of the long one, bit for bit."""
    everyone = Observer(roster=dict.fromkeys(stances, ""))
    assert tally(stances.items(), EVERYONE) == tally(stances.items(), everyone)
    assert tally(stances.items(), Observer(trust=dict.fromkeys(stances, 0.1))) == tally(stances.items(), everyone)


@pytest.mark.parametrize(
    "settings",
    [
        {"unknown_vote": 1.1},
        {"unknown_vote": -0.1},
        {"unknown_vote": float("nan")},
        {"unknown_vote": float("inf")},
        {"trust": {ADA: 1.1}},
        {"trust": {ADA: -0.1}},
        {"trust": {ADA: float("nan")}},
        {"roster": {ADA: "(unknown)"}},
    ],
    ids=str,
)
def test_observer_refuses_what_is_out_of_bounds(settings: dict[str, object]) -> None:
    with pytest.raises(InvalidSignalError) as caught:
        Observer(**settings)
    assert "\n" not in str(caught.value)


def test_observer_is_immutable() -> None:
    with pytest.raises(AttributeError):
        EVERYONE.unknown_vote = 1.0
