"""Best of n: one vote however many alternatives, cross-inhibition, and that a tie is no decision."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smesh_core import EVERYONE, Field, InvalidSignalError, Observer, Signal, StanceKind, Tally, node_id, tally
from smesh_core.decision import BestOfN, Decision

WITHDRAW, SUPPORT, OPPOSE = StanceKind
NODES = [node_id(f"node {number}") for number in range(8)]
ADA, BO, CY, DI, ED, FI, *_ = NODES
OAK, ELM, ASH, YEW = (node_id(name) for name in ("oak", "elm", "ash", "yew"))
TREES = [OAK, ELM, ASH, YEW]


def tallies_of(stances: dict[bytes, dict[bytes, StanceKind]], observer: Observer = EVERYONE) -> dict[bytes, Tally]:
    """From the stances of nodes on each alternative."""
    return {statement: tally(sides.items(), observer) for statement, sides in stances.items()}


def votes(**sides: str) -> dict[bytes, Tally]:
    """Who supports each tree, by initials; a minus before one opposes."""
    trees, nodes = {"oak": OAK, "elm": ELM, "ash": ASH, "yew": YEW}, dict(zip("abcdefgh", NODES, strict=True))
    stances = {
        trees[tree]: {nodes[word[-1]]: OPPOSE if "-" in word else SUPPORT for word in said.split()}
        for tree, said in sides.items()
    }
    return tallies_of(stances)


@pytest.mark.parametrize(
    ("tallies", "chosen"),
    [
        ({}, None),
        (votes(oak=""), None),
        (votes(oak="a"), None),
        (votes(oak="a b"), OAK),
        (votes(oak="a b", elm="c"), OAK),
        (votes(oak="a b", elm="c d"), None),
        (votes(oak="a b c", elm="d e"), OAK),
        (votes(oak="a b c -d", elm="e f"), None),
        (votes(oak="a b c -d -e", elm="f g"), ELM),
        (votes(oak="a b -c -d"), None),
        (votes(oak="a b c", elm="a b c"), None),
        (votes(oak="a b c", elm="a"), OAK),
        (votes(oak="a b", elm="a"), None),
    ],
    ids=[
        "nothing to choose from",
        "nobody",
        "too few",
        "enough",
        "more",
        "a tie",
        "more of enough",
        "opposition makes a tie",
        "opposition turns it",
        "as many against",
        "those that support all decide nothing",
        "two and a half to a half",
        "a vote divided is a vote lacking",
    ],
)
def test_choices(tallies: dict[bytes, Tally], chosen: bytes | None) -> None:
    assert BestOfN().read(tallies).chosen == chosen


def test_cross_inhibition_asks_for_more_than_a_plurality() -> None:
    tallies = votes(oak="a b c", elm="d e", ash="f g")
    assert BestOfN(cross_inhibition=0.0).read(tallies).chosen == OAK
    assert BestOfN(cross_inhibition=0.5).read(tallies).chosen == OAK
    assert BestOfN(cross_inhibition=0.75).read(tallies).chosen is None
    half = BestOfN(cross_inhibition=1.0)
    assert half.read(tallies).chosen is None
    assert half.read(votes(oak="a b c", elm="d", ash="e f")).chosen is None
    assert half.read(votes(oak="a b c d", elm="e", ash="f g")).chosen == OAK
    assert BestOfN(cross_inhibition=2.0).read(votes(oak="a b c d", elm="e", ash="f g")).chosen is None
    assert BestOfN(cross_inhibition=2.0).read(votes(oak="a b c d e", elm="f", ash="g")).chosen == OAK


def test_standings_show_every_number() -> None:
    decision = BestOfN(cross_inhibition=0.5).read(votes(oak="a b c -d", elm="d e", ash="c"))
    assert [s.statement for s in decision.standings] == [ELM, OAK, ASH]
    elm, oak, ash = decision.standings
    assert (oak.support, oak.oppose, oak.cross_inhibition, oak.net, oak.lineages) == (2.5, 1.0, 1.25, 0.25, 3)
    assert (elm.support, elm.oppose, elm.cross_inhibition, elm.net, elm.lineages) == (2.0, 0.0, 1.5, 0.5, 2)
    assert (ash.support, ash.oppose, ash.cross_inhibition, ash.net, ash.lineages) == (0.5, 0.0, 2.25, -1.75, 1)
    assert (decision.margin, decision.chosen) == (0.25, ELM)


def test_what_is_missing_is_said_in_numbers() -> None:
    decision = BestOfN(weight=3.0, lineages=3, margin=2.0).read(votes(oak="a b", elm="c"))
    assert decision.reason == "support 2 not >= 3, lineages 2 not >= 3, margin 1 not >= 2"
    assert str(decision).startswith("nothing chosen; support 2 not >= 3")
    chosen = BestOfN().read(votes(oak="a b", elm="c"))
    assert chosen.reason == "support 2 >= 2, lineages 2 >= 2, net 2 > 0, margin 1 > 0"
    assert OAK.hex()[:16] in str(chosen).splitlines()[0]
    assert BestOfN().read({}).reason == "no alternatives"
    assert len(chosen.lines(rows=1)) == 4
    assert msgspec.json.decode(msgspec.json.encode(decision), type=Decision) == decision


def test_a_margin_must_be_met() -> None:
    tallies = votes(oak="a b c d", elm="e f")
    assert BestOfN(margin=2.0).read(tallies).chosen == OAK
    assert BestOfN(margin=2.5).read(tallies).chosen is None


# ---- one vote in all


def test_a_node_that_supports_several_gives_each_an_even_part() -> None:
    decision = BestOfN().read(votes(oak="a b", elm="a", ash="a", yew="a -b"))
    support = {standing.statement: standing.support for standing in decision.standings}
    assert support == {OAK: 1.25, ELM: 0.25, ASH: 0.25, YEW: 0.25}


def test_objecting_to_everything_is_one_objection() -> None:
    decision = BestOfN(lineages=1).read(votes(oak="a b -c", elm="d -c", ash="-c", yew="-c"))
    assert {standing.oppose for standing in decision.standings} == {0.25}
    assert decision.chosen == OAK


def test_to_oppose_a_rival_takes_nothing_from_what_one_supports() -> None:
    decision = BestOfN().read(votes(oak="a b", elm="-a -b c"))
    assert (decision.standings[0].support, decision.standings[1].oppose) == (2.0, 2.0)


def test_a_lineage_whose_members_support_different_alternatives_has_one_vote() -> None:
    observer = Observer(roster={ADA: "m", BO: "m", CY: ""})
    stances = {OAK: {ADA: SUPPORT, CY: SUPPORT}, ELM: {BO: SUPPORT}}
    support = {s.statement: s.support for s in BestOfN().read(tallies_of(stances, observer)).standings}
    assert support == {OAK: 1.5, ELM: 0.5}


def test_a_divided_lineage_is_not_a_second_one() -> None:
    observer = Observer(roster={ADA: "m", BO: "m", CY: ""})
    tallies = tallies_of({OAK: {ADA: SUPPORT, BO: OPPOSE, CY: SUPPORT}}, observer)
    assert BestOfN(weight=1.0, lineages=1).read(tallies).chosen == OAK
    assert BestOfN(weight=1.0, lineages=2).read(tallies).chosen is None


def test_fresh_keys_that_support_different_alternatives_are_one_unknown_vote() -> None:
    observer = Observer(roster={ADA: "", BO: ""}, unknown_vote=0.5)
    crowd = [node_id(f"fresh {number}") for number in range(400)]
    stances = {tree: dict.fromkeys(crowd[at::4], SUPPORT) for at, tree in enumerate(TREES)}
    stances[OAK] |= {ADA: SUPPORT, BO: SUPPORT}
    decision = BestOfN(cross_inhibition=1.0).read(tallies_of(stances, observer))
    assert decision.chosen == OAK
    assert sum(standing.support for standing in decision.standings) == 2.5


def test_distrusted_nodes_do_not_dilute_the_vote_of_a_lineage_they_declare() -> None:
    crowd = [node_id(f"distrusted {number}") for number in range(100)]
    observer = Observer(
        roster={}, trust=dict.fromkeys(crowd, 0.1) | {ADA: 1.0}, declared=dict.fromkeys([ADA, *crowd], "m")
    )
    decision = BestOfN().read(tallies_of({OAK: {ADA: SUPPORT}, ELM: dict.fromkeys(crowd, SUPPORT)}, observer))
    assert [standing.support for standing in decision.standings] == [1.0, 0.0]


# ---- properties

sides = st.dictionaries(st.sampled_from(NODES), st.sampled_from([SUPPORT, OPPOSE, WITHDRAW]))
questions = st.dictionaries(st.sampled_from(TREES), sides)
policies = st.builds(
    BestOfN,
    weight=st.sampled_from([0.5, 1.0, 2.0]),
    lineages=st.integers(1, 3),
    cross_inhibition=st.sampled_from([0.0, 0.3, 0.5, 1.0, 2.0]),
    margin=st.sampled_from([0.0, 0.5, 1.0]),
)
observers = st.builds(
    lambda roster, trust, unknown: Observer(roster=roster, trust=trust, unknown_vote=unknown),
    roster=st.one_of(st.none(), st.dictionaries(st.sampled_from(NODES), st.sampled_from(["", "m"]))),
    trust=st.dictionaries(st.sampled_from(NODES), st.sampled_from([0.1, 0.7, 0.9, 1.0])),
    unknown=st.sampled_from([0.0, 0.6, 1.0]),
)


def nets_slowly(stances: dict[bytes, dict[bytes, StanceKind]], strength: float) -> dict[bytes, Fraction]:
    """Node by node, exactly, for nodes that are lineages of their own."""
    sums = {}
    for tree, said in stances.items():
        for_it = against = Fraction(0)
        for node, kind in said.items():
            also = sum(other.get(node) is kind for other in stances.values())
            for_it += Fraction(kind is SUPPORT, also)
            against += Fraction(kind is OPPOSE, also)
        sums[tree] = for_it, against
    everything = sum((for_it for for_it, _ in sums.values()), Fraction(0))
    return {
        tree: for_it - against - Fraction(strength) * (everything - for_it) for tree, (for_it, against) in sums.items()
    }


@given(questions, st.sampled_from([0.0, 0.5, 1.0, 1.7]))
def test_nets_are_those_of_a_slow_count_and_the_one_that_is_ahead_is_chosen(
    stances: dict[bytes, dict[bytes, StanceKind]], strength: float
) -> None:
    exact = nets_slowly(stances, strength)
    decision = BestOfN(weight=1e-6, lineages=1, cross_inhibition=strength).read(tallies_of(stances))
    for standing in decision.standings:
        assert standing.net == pytest.approx(float(exact[standing.statement]), abs=1e-9)
    ahead = max(exact.values(), default=Fraction(0))
    first = [tree for tree, net in exact.items() if abs(net - ahead) < Fraction(1, 10**9)]
    leads = [s.lineages for s in decision.standings if s.statement in first]
    is_one = ahead > Fraction(1, 10**9) and len(first) == 1 and leads[0] >= 1
    assert decision.chosen == (first[0] if is_one else None)


@given(questions, observers, policies, st.randoms(use_true_random=False))
def test_order_is_nothing(
    stances: dict[bytes, dict[bytes, StanceKind]], observer: Observer, policy: BestOfN, chance: Any
) -> None:
    shuffled = {}
    for tree in chance.sample(list(stances), len(stances)):
        shuffled[tree] = dict(chance.sample(list(stances[tree].items()), len(stances[tree])))
    assert policy.read(tallies_of(shuffled, observer)) == policy.read(tallies_of(stances, observer))


@given(questions, observers, policies)
def test_a_lineage_is_never_worth_more_than_one_vote_for_and_one_against(
    stances: dict[bytes, dict[bytes, StanceKind]], observer: Observer, policy: BestOfN
) -> None:
    for node in NODES:
        alone = {tree: {node: said[node]} for tree, said in stances.items() if node in said}
        standings = policy.read(tallies_of(alone, observer)).standings
        assert sum(standing.support for standing in standings) <= 1.0 + 1e-12
        assert sum(standing.oppose for standing in standings) <= 1.0 + 1e-12
    tallies = tallies_of(stances, observer)
    lineages = {vote.lineage for votes_ in tallies.values() for vote in votes_.votes}
    assert sum(standing.support for standing in policy.read(tallies).standings) <= len(lineages) + 1e-9


@given(questions, policies, st.sampled_from(TREES))
def test_a_new_supporter_never_takes_the_choice_away_nor_gives_it_to_another(
    stances: dict[bytes, dict[bytes, StanceKind]], policy: BestOfN, tree: bytes
) -> None:
    before = policy.read(tallies_of(stances)).chosen
    more = {**stances, tree: {**stances.get(tree, {}), node_id("somebody new"): SUPPORT}}
    after = policy.read(tallies_of(more)).chosen
    assert after in {before, tree, None}
    if before == tree:
        assert after == tree


@given(questions, observers, policies)
def test_a_choice_is_one_of_the_alternatives_and_has_what_the_policy_asks(
    stances: dict[bytes, dict[bytes, StanceKind]], observer: Observer, policy: BestOfN
) -> None:
    decision = policy.read(tallies_of(stances, observer))
    assert len(decision.standings) == len(stances)
    assert (decision.chosen is not None) == (bool(stances) and all(asked.holds for asked in decision.requirements))
    if decision.chosen is not None:
        first, *rest = decision.standings
        assert decision.chosen == first.statement
        assert first.support >= policy.weight - 1e-8
        assert first.net > max([0.0, *(standing.net for standing in rest)])


@given(sides, policies)
def test_alternatives_with_equal_support_are_never_chosen(said: dict[bytes, StanceKind], policy: BestOfN) -> None:
    assert policy.read(tallies_of({OAK: said, ELM: said})).chosen is None


def test_a_decision_is_read_from_a_field() -> None:
    field = Field()
    refs = [
        field.emit(Signal(author=author, seq=1, created_at_ns=0, subject=subject))
        for author, subject in ((ADA, b"oak"), (BO, b"elm"))
    ]
    field.reinforce(refs[0], by=CY, now_ns=0)

    def read(policy: BestOfN) -> Decision:
        verdicts = {field.statement(ref): field.verdict(ref, 0) for ref in refs}
        return policy.read({key: Tally(v.votes, v.support, v.oppose) for key, v in verdicts.items()})

    assert read(BestOfN()).chosen == field.statement(refs[0])
    field.inhibit(refs[0], by=BO, now_ns=0)
    assert read(BestOfN()).chosen is None


@pytest.mark.parametrize(
    "settings",
    [
        *[{"weight": bad} for bad in (0.0, -1.0, float("nan"), float("inf"), "2", None)],
        *[{"lineages": bad} for bad in (0, 1.5, "2", True)],
        *[{"cross_inhibition": bad} for bad in (-0.1, 1001.0, float("nan"), "1")],
        *[{"margin": bad} for bad in (-0.1, float("nan"), float("inf"), None)],
    ],
    ids=str,
)
def test_a_choice_refuses_what_is_out_of_bounds(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidSignalError) as caught:
        BestOfN(**settings)
    assert "\n" not in str(caught.value)
