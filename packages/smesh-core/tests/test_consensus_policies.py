"""Log-odds, majority, and explanations: held to slow oracles, and to what each policy says of itself."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smesh_core import (
    EVERYONE,
    ConsensusState,
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
from smesh_core.consensus import LogOdds, Majority
from smesh_core.explanation import Explanation, explain

if TYPE_CHECKING:
    from smesh_core import ConsensusPolicy

WITHDRAW, SUPPORT, OPPOSE = StanceKind
OPEN, REACHED, REJECTED = ConsensusState
NODES = [node_id(f"node {number}") for number in range(12)]
ADA, BO, CY, DI, ED, *_ = NODES
CROWD = [node_id(f"fresh {number}") for number in range(1000)]
OPPOSITE = {OPEN: OPEN, REACHED: REJECTED, REJECTED: REACHED}
RANK = {REJECTED: -1, OPEN: 0, REACHED: 1}

policies = st.one_of(
    st.builds(Quorum, weight=st.sampled_from([0.25, 0.5, 1.0, 1.75, 2.0, 3.0]), lineages=st.integers(1, 4)),
    st.builds(
        LogOdds,
        accept=st.sampled_from([0.6, 0.75, 0.9, 0.95, 0.99]),
        lineages=st.integers(1, 4),
        reliability_max=st.sampled_from([0.6, 0.75, 0.9, 0.999]),
    ),
    st.builds(Majority, heads=st.integers(1, 5)),
)
kinds = st.sampled_from([SUPPORT, OPPOSE, WITHDRAW])
stands = st.dictionaries(st.sampled_from(NODES), kinds).map(lambda stances: list(stances.items()))
observers = st.one_of(
    st.just(EVERYONE),
    st.builds(
        lambda roster, trust, unknown: Observer(roster=roster, trust=trust, unknown_vote=unknown),
        roster=st.dictionaries(st.sampled_from(NODES), st.sampled_from(["", "m", "n"])),
        trust=st.dictionaries(st.sampled_from(NODES), st.sampled_from([0.1, 0.5, 0.625, 0.75, 0.95, 1.0])),
        unknown=st.sampled_from([0.0, 0.5, 1.0]),
    ),
)


def votes_of(*leans: float) -> Tally:
    """One lineage for each number: its weight, for where that is above 0, else against."""
    votes = tuple(
        Vote(f"l{at}", max(lean, 0.0), max(-lean, 0.0), (NODES[at],) * (lean > 0), (NODES[at],) * (lean < 0))
        for at, lean in enumerate(leans)
    )
    return Tally(votes, math.fsum(max(lean, 0.0) for lean in leans), math.fsum(max(-lean, 0.0) for lean in leans))


def exchanged(votes: Tally) -> Tally:
    turned = tuple(Vote(v.lineage, v.oppose, v.support, v.opposers, v.supporters) for v in votes.votes)
    return Tally(turned, votes.oppose, votes.support)


# ---- log-odds


@pytest.mark.parametrize(
    ("leans", "state", "posterior"),
    [
        ((), OPEN, 0.5),
        ((1.0,), OPEN, 0.9),
        ((1.0, 1.0), REACHED, 81 / 82),
        ((-1.0, -1.0), REJECTED, 1 / 82),
        ((1.0, 1.0, -1.0), OPEN, 0.9),
        ((1.0, 1.0, 1.0, -1.0), REACHED, 81 / 82),
        ((0.5, 0.5), OPEN, 0.9),
        ((0.5, 0.5, 0.5), REACHED, 27 / 28),
        ((1.0, -0.5), OPEN, 0.75),
        ((0.0, 0.0, 0.0), OPEN, 0.5),
    ],
)
def test_log_odds_puts_witnesses_together_by_bayes_rule(
    leans: tuple[float, ...], state: ConsensusState, posterior: float
) -> None:
    votes = votes_of(*leans)
    assert LogOdds().read(votes).state is state
    assert LogOdds().posterior(votes) == pytest.approx(posterior, rel=1e-12)


def test_reliability_of_a_judged_node_is_the_trust_in_it() -> None:
    observer = Observer(roster={}, trust={ADA: 0.85, BO: 0.7})
    votes = tally([(ADA, SUPPORT), (BO, OPPOSE)], observer)
    odds = Fraction(85, 15) * Fraction(30, 70)
    assert LogOdds().posterior(votes) == pytest.approx(float(odds / (1 + odds)), rel=1e-12)


def test_no_number_of_words_of_one_lineage_decides() -> None:
    observer = Observer(roster=dict.fromkeys(NODES, "one model"))
    assert LogOdds().read(tally([(node, SUPPORT) for node in NODES], observer)).state is OPEN
    assert LogOdds(accept=0.9, lineages=1).read(tally([(node, SUPPORT) for node in NODES], observer)).state is REACHED


def test_a_lineage_that_leans_the_other_way_or_neither_is_not_a_second_one() -> None:
    policy = LogOdds(accept=0.85)
    assert policy.posterior(votes_of(1.0, -0.01)) > 0.85
    assert policy.read(votes_of(1.0, -0.01)).state is OPEN
    assert policy.read(votes_of(1.0, 0.0)).state is OPEN
    assert policy.read(votes_of(-1.0, 0.01)).state is OPEN
    assert policy.read(votes_of(1.0, 0.01)).state is REACHED


def test_prior_alone_decides_nothing() -> None:
    assert LogOdds(prior=0.999, lineages=1).read(votes_of()).state is OPEN
    assert LogOdds(prior=0.001, lineages=1).read(votes_of()).state is OPEN
    assert LogOdds(prior=0.001).read(votes_of(1.0, 1.0)).state is OPEN
    assert LogOdds(prior=0.2).read(votes_of(1.0, 1.0)).state is REACHED


def test_a_hundred_thousand_witnesses_overflow_nothing() -> None:
    node = (ADA,)
    votes = Tally(tuple(Vote(f"{n:06}", 0.0, 1.0, (), node) for n in range(100_000)), 0.0, 100_000.0)
    assert LogOdds().posterior(votes) == 0.0
    assert LogOdds().posterior(exchanged(votes)) == 1.0
    assert LogOdds().read(votes).state is REJECTED


def log_odds_slowly(votes: Tally, policy: LogOdds) -> Fraction:
    """Posterior odds as an exact product."""
    odds = Fraction(policy.prior) / (1 - Fraction(policy.prior))
    for vote in votes.votes:
        lean = Fraction(vote.support) - Fraction(vote.oppose)
        p = min(Fraction(policy.reliability_max), (1 + abs(lean)) / 2)
        odds *= p / (1 - p) if lean > 0 else (1 - p) / p if lean < 0 else 1
    return odds


@given(
    stands,
    observers,
    st.builds(
        LogOdds,
        accept=st.floats(0.51, 0.999),
        lineages=st.integers(1, 4),
        prior=st.floats(0.01, 0.99),
        reliability_max=st.floats(0.51, 0.999),
    ),
)
def test_log_odds_are_those_of_an_exact_product(
    positions: list[tuple[bytes, StanceKind]], observer: Observer, policy: LogOdds
) -> None:
    votes = tally(positions, observer)
    odds = log_odds_slowly(votes, policy)
    assert policy.log_odds(votes) == pytest.approx(math.log(odds), rel=1e-9, abs=1e-9)
    assert policy.posterior(votes) == pytest.approx(float(odds / (1 + odds)), rel=1e-9)
    bound = Fraction(policy.accept) / (1 - Fraction(policy.accept))
    if min(abs(odds / bound - 1), abs(odds * bound - 1)) < Fraction(1, 10**9):
        return
    for_it = sum(vote.support > vote.oppose for vote in votes.votes)
    against = sum(vote.oppose > vote.support for vote in votes.votes)
    is_reached, is_rejected = (
        odds >= bound and for_it >= policy.lineages,
        odds * bound <= 1 and against >= policy.lineages,
    )
    assert policy.read(votes).state is (REACHED if is_reached else REJECTED if is_rejected else OPEN)


# ---- what holds of every policy


@given(stands, observers, policies, st.randoms(use_true_random=False))
def test_order_is_nothing(
    positions: list[tuple[bytes, StanceKind]], observer: Observer, policy: ConsensusPolicy, chance: Any
) -> None:
    votes = tally(positions, observer)
    chance.shuffle(positions)
    assert policy.read(tally(positions, observer)) == policy.read(votes)
    shuffled = list(votes.votes)
    chance.shuffle(shuffled)
    other = explain(Tally(tuple(shuffled), votes.support, votes.oppose), policy)
    same = explain(votes, policy)
    assert (other.state, other.score, other.gaps, str(other)) == (same.state, same.score, same.gaps, str(same))


@given(stands, observers, policies)
def test_exchange_of_sides_exchanges_the_answer(
    positions: list[tuple[bytes, StanceKind]], observer: Observer, policy: ConsensusPolicy
) -> None:
    votes = tally(positions, observer)
    one, other = policy.read(votes), policy.read(exchanged(votes))
    assert other.state is OPPOSITE[one.state]
    assert (other.support, other.oppose) == (one.oppose, one.support)


@given(stands, observers, policies, st.sampled_from(NODES))
def test_another_supporter_never_moves_an_answer_against_the_statement(
    positions: list[tuple[bytes, StanceKind]], observer: Observer, policy: ConsensusPolicy, node: bytes
) -> None:
    before = policy.read(tally(positions, observer)).state
    others = [(author, kind) for author, kind in positions if author != node]
    after = policy.read(tally([*others, (node, SUPPORT)], observer)).state
    stood = dict(positions).get(node, WITHDRAW)
    if stood is not SUPPORT:
        assert RANK[after] >= RANK[before]


@pytest.mark.parametrize("unknown_vote", [0.0, 0.3, 1.0])
def test_a_thousand_fresh_keys_are_one_unknown_vote_and_fool_only_the_majority(unknown_vote: float) -> None:
    observer = Observer(roster={ADA: "", BO: ""}, unknown_vote=unknown_vote)
    crowd = [(key, SUPPORT) for key in CROWD]
    alone = tally(crowd, observer)
    assert alone.support == unknown_vote
    assert Quorum().read(alone).state is OPEN
    assert LogOdds().read(alone).state is OPEN
    assert LogOdds(reliability_max=0.999).posterior(alone) <= min(0.999, (1 + unknown_vote) / 2) + 1e-12
    assert Majority().read(alone).state is REACHED
    with_honest = tally([*crowd, (ADA, OPPOSE), (BO, OPPOSE)], observer)
    one_key = tally([(CROWD[0], SUPPORT), (ADA, OPPOSE), (BO, OPPOSE)], observer)
    assert Quorum().read(with_honest).state is REJECTED
    assert LogOdds().read(with_honest).state is LogOdds().read(one_key).state is not REACHED
    assert LogOdds().log_odds(with_honest) == LogOdds().log_odds(one_key)
    assert Majority().read(with_honest).state is REACHED


# ---- majority


@pytest.mark.parametrize(
    ("support", "oppose", "heads", "state"),
    [(0, 0, 1, OPEN), (1, 0, 1, REACHED), (0, 1, 1, REJECTED), (2, 2, 1, OPEN), (3, 2, 3, REACHED), (3, 2, 4, OPEN)],
)
def test_majority_counts_heads(support: int, oppose: int, heads: int, state: ConsensusState) -> None:
    sides = [SUPPORT] * support + [OPPOSE] * oppose
    observer = Observer(roster=dict.fromkeys(NODES, "all one lineage"))
    verdict = Majority(heads=heads).read(tally(zip(NODES, sides, strict=False), observer))
    assert (verdict.state, verdict.support, verdict.oppose) == (state, support, oppose)


def test_majority_counts_distrusted_nodes_but_not_those_that_a_roster_speaks_for() -> None:
    observer = Observer(roster={ADA: "rules"}, trust={BO: 0.01, CY: 0.9}, declared={CY: "rules"})
    verdict = Majority().read(tally([(ADA, SUPPORT), (BO, OPPOSE), (CY, OPPOSE)], observer))
    assert (verdict.support, verdict.oppose) == (1.0, 1.0)


# ---- explanations


@given(stands, observers, policies)
def test_an_explanation_says_what_the_policy_says_and_its_conditions_come_to_that(
    positions: list[tuple[bytes, StanceKind]], observer: Observer, policy: ConsensusPolicy
) -> None:
    votes = tally(positions, observer)
    verdict, why = policy.read(votes), explain(votes, policy)
    assert (why.state, why.support, why.oppose) == (verdict.state, verdict.support, verdict.oppose)
    for toward in (REACHED, REJECTED):
        asked = [met for met in why.conditions if met.toward is toward]
        assert len(asked) >= 2
        assert all(met.holds for met in asked) is (why.state is toward)
    assert tuple(share.vote for share in why.shares) == votes.votes
    prior = [math.log(policy.prior / (1 - policy.prior))] if isinstance(policy, LogOdds) else []
    assert why.score == pytest.approx(math.fsum([*prior, *(share.added for share in why.shares)]), abs=1e-9)
    assert msgspec.json.decode(msgspec.json.encode(why), type=Explanation) == why
    assert {gap.toward for gap in why.gaps} | {why.state} == {OPEN, REACHED, REJECTED} or why.state is OPEN
    assert len(str(why).splitlines()) == len(why.shares) + len(why.conditions) + len(why.gaps) + 3


@given(st.lists(st.sampled_from([-1.0, -0.75, -0.5, 0.5, 0.75, 1.0]), max_size=6), policies)
def test_filling_a_gap_of_a_quorum_changes_the_answer_and_less_does_not(
    leans: list[float], policy: ConsensusPolicy
) -> None:
    if not isinstance(policy, Quorum):
        return
    for gap in explain(votes_of(*leans), policy).gaps:
        sign = 1.0 if gap.side == "for" else -1.0

        def after(amount: float, lineages: int, sign: float = sign) -> ConsensusState:
            """So much more weight on a side from so many lineages."""
            return policy.read(
                votes_of(*leans, *[sign * amount / lineages] * lineages) if lineages else votes_of(*leans)
            ).state

        enough = gap.amount + (0.25 if gap.is_exceeded or not gap.amount else 0.0)
        lineages = 4 if gap.toward is OPEN else max(gap.lineages, 1)
        assert after(enough, lineages) is gap.toward
        if gap.is_exceeded:
            assert after(gap.amount, max(lineages, 1)) is not gap.toward
        if gap.amount > 0.25:
            assert after(gap.amount - 0.25, lineages) is not gap.toward
        if gap.lineages > 1 and gap.toward is not OPEN:
            assert after(enough, gap.lineages - 1) is not gap.toward


@given(st.integers(0, 6), st.integers(0, 6), st.integers(1, 5))
def test_filling_a_gap_of_a_majority_changes_the_answer_and_one_less_does_not(
    support: int, oppose: int, heads: int
) -> None:
    def read(more_for: int, more_against: int) -> Tally:
        sides = [SUPPORT] * (support + more_for) + [OPPOSE] * (oppose + more_against)
        return tally(zip(CROWD, sides, strict=False), EVERYONE)

    policy = Majority(heads=heads)
    for gap in explain(read(0, 0), policy).gaps:
        needed = int(gap.amount)
        assert needed == gap.amount > 0
        for more, is_there in ((needed, True), (needed - 1, False)):
            state = policy.read(read(more, 0) if gap.side == "for" else read(0, more)).state
            assert (state is gap.toward) is is_there


@pytest.mark.parametrize("leans", [(), (1.0,), (0.5, 0.5), (1.0, 1.0), (-1.0, -1.0, 0.5), (1.0, 1.0, 1.0)])
def test_gaps_of_log_odds_are_in_log_odds(leans: tuple[float, ...]) -> None:
    policy = LogOdds(reliability_max=0.999999, lineages=1)
    for gap in explain(votes_of(*leans), policy).gaps:
        for part, is_there in ((1.001, True), (0.999, False)):
            p = 1 / (1 + math.exp(-gap.amount * part / 8))  # of eight witnesses, each of whom adds an eighth
            lean = (2 * p - 1) * (1 if gap.side == "for" else -1)
            assert (policy.read(votes_of(*leans, *[lean] * 8)).state is gap.toward) is is_there


def test_an_explanation_reads_well() -> None:
    observer = Observer(roster={ADA: "rules", BO: "rules", CY: "model"}, trust={DI: 0.75})
    votes = tally([(ADA, SUPPORT), (BO, OPPOSE), (CY, SUPPORT), (DI, OPPOSE)], observer)
    lines = explain(votes, Quorum()).lines()
    assert lines[0] == "open, by Quorum(weight=2.0, lineages=2)"
    assert "model" in lines[2]
    assert lines[2].split()[1:] == ["1.000", "0.000", "1+0", "for", "+1.000"]
    assert "  to be reached: 0.5 more votes for and 1 more lineage for" in lines
    assert "  reached needs votes for >= 2: 1.5, no" in lines
    assert "  reached needs votes for over the other side's > 1: 1.5, yes" in lines
    with_odds = explain(votes, LogOdds())
    shares = {share.vote.lineage: share for share in with_odds.shares}
    assert shares["model"].reliability == 0.9
    assert shares["model"].added == pytest.approx(math.log(9))
    assert (shares["rules"].side, shares["rules"].added) == ("neither", 0.0)
    assert with_odds.posterior == LogOdds().posterior(votes)


def test_a_crowded_explanation_stays_short_and_names_the_heaviest() -> None:
    votes = Tally(tuple(Vote(f"{n:04}", 0.001 * n, 0.0, (ADA,), ()) for n in range(1000)), 499.5, 0.0)
    lines = explain(votes, Quorum()).lines(rows=3)
    assert [line.split()[0] for line in lines[2:5]] == ["0999", "0998", "0997"]
    assert lines[5] == "  and 997 more lineages"
    assert len(lines) < 20
    assert len(explain(votes, Quorum()).lines(rows=-1)) < 20


def test_a_hostile_name_stays_in_its_column() -> None:
    observer = Observer(roster={ADA: "a\nreached\x1b[2J" + "b" * 10_000})
    text = str(explain(tally([(ADA, SUPPORT)], observer), Quorum()))
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) < 120
    assert "a?reached?[2J" in text


class Unanimous:
    """A policy that the core knows nothing of."""

    def __repr__(self) -> str:
        return "Unanimous()\n" * 100

    def read(self, votes: Tally) -> Verdict:
        return Verdict(REJECTED if votes.oppose else REACHED, votes.support, votes.oppose, votes.votes)


def test_a_policy_from_elsewhere_is_explained_by_its_answer_and_the_votes() -> None:
    why = explain(votes_of(1.0, -0.5), Unanimous())
    assert (why.state, why.conditions, why.gaps, why.unit) == (REJECTED, (), (), "votes")
    assert [share.added for share in why.shares] == [1.0, -0.5]
    assert "\n" not in why.policy


def test_a_field_reads_with_every_policy() -> None:
    field = Field()
    ref = field.emit(Signal(author=ADA, seq=1, created_at_ns=0, subject=b"x"))
    field.reinforce(ref, by=BO, now_ns=0)
    field.inhibit(ref, by=CY, now_ns=0)
    assert field.verdict(ref, 0, policy=Majority()).state is REACHED
    assert field.verdict(ref, 0, policy=LogOdds()).state is OPEN
    assert field.read(ref, 0, policy=LogOdds(accept=0.8)).verdict.state is REACHED


# ---- bounds


@pytest.mark.parametrize(
    ("policy", "settings"),
    [
        *[(LogOdds, {name: bad}) for name in ("accept", "prior", "reliability_max") for bad in (0.0, 1.0, 1.5, -1.0)],
        *[(LogOdds, {name: 0.5}) for name in ("accept", "reliability_max")],
        *[(LogOdds, {name: float("nan")}) for name in ("accept", "prior", "reliability_max")],
        *[(LogOdds, {name: bad}) for name in ("accept", "prior") for bad in ("0.7", None, [0.7], 10**5000)],
        *[(LogOdds, {"lineages": bad}) for bad in (0, -1, 1.5, "2", True, -(10**5000))],
        *[(Majority, {"heads": bad}) for bad in (0, -1, 1.5, "2", True, float("inf"))],
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_policies_refuse_what_is_out_of_bounds(policy: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidSignalError) as caught:
        policy(**settings)
    assert next(iter(settings)) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 120
