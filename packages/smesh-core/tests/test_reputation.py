"""Reputation: the beta distribution, evidence that fades, topics, ranking, and what is bounded."""

from __future__ import annotations

import math
from itertools import pairwise
from math import comb, nan
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smesh_core import node_id, reputation
from smesh_core.errors import TrustError
from smesh_core.reputation import (
    ANY_TOPIC,
    Evidence,
    Reputation,
    ReputationBook,
    Standing,
    beta_cdf,
    beta_quantile,
    decode_reputations,
    encode_reputations,
    fold_evidence,
)

if TYPE_CHECKING:
    from collections.abc import Callable

DAY_NS = 24 * 3600 * 10**9
ADA, BO, CY = (node_id(name) for name in ("ada", "bo", "cy"))
SHAPES = st.floats(1.0, 10_001.0) | st.floats(1.0, 20.0)
REPUTATIONS = st.builds(
    Reputation, right=st.floats(0, 100), wrong=st.floats(0, 100), at_ns=st.integers(0, 400 * DAY_NS)
)


def binomial_tail(n: int, k: int, x: float) -> float:
    """P(at least k of n), which is I_x(k, n - k + 1): an identity that shares nothing with the continued fraction."""
    return math.fsum(comb(n, i) * x**i * (1 - x) ** (n - i) for i in range(k, n + 1))


# ---- the incomplete beta function


@given(st.integers(1, 60), st.data())
def test_cdf_is_the_tail_of_a_binomial(n: int, data: st.DataObject) -> None:
    k, x = data.draw(st.integers(1, n)), data.draw(st.floats(0.0, 1.0))
    assert beta_cdf(x, float(k), float(n - k + 1)) == pytest.approx(binomial_tail(n, k, x), abs=1e-12)


@given(st.floats(0.0, 1.0), SHAPES)
def test_cdf_with_one_parameter_of_one_is_a_power(x: float, shape: float) -> None:
    assert beta_cdf(x, shape, 1.0) == pytest.approx(x**shape, abs=1e-11)
    assert beta_cdf(x, 1.0, shape) == pytest.approx(1.0 - (1.0 - x) ** shape, abs=1e-11)


@given(st.floats(0.0, 1.0), SHAPES, SHAPES)
def test_cdf_is_symmetric(x: float, a: float, b: float) -> None:
    x = 1.0 - (1.0 - x)  # so that 1 - x is exact
    assert beta_cdf(x, a, b) + beta_cdf(1.0 - x, b, a) == pytest.approx(1.0, abs=1e-10)


@given(st.floats(0.001, 0.999), st.floats(1.0, 1000.0), st.floats(1.0, 1000.0))
def test_cdf_satisfies_its_recurrence(x: float, a: float, b: float) -> None:
    """I_x(a + 1, b) = I_x(a, b) - x^a (1 - x)^b / (a B(a, b)); DLMF 8.17.20."""
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    step = math.exp(a * math.log(x) + b * math.log1p(-x) - log_beta) / a
    assert beta_cdf(x, a + 1.0, b) == pytest.approx(beta_cdf(x, a, b) - step, abs=1e-10)


@given(SHAPES, SHAPES, st.lists(st.floats(0.0, 1.0), min_size=2, max_size=5))
def test_cdf_rises_from_zero_to_one(a: float, b: float, places: list[float]) -> None:
    values = [beta_cdf(x, a, b) for x in [0.0, *sorted(places), 1.0]]
    assert (values[0], values[-1]) == (0.0, 1.0)
    assert all(later >= earlier - 1e-10 for earlier, later in pairwise(values))


@given(st.floats(0.001, 0.999), SHAPES, SHAPES)
def test_quantile_undoes_the_cdf(chance: float, a: float, b: float) -> None:
    assert beta_cdf(beta_quantile(chance, a, b), a, b) == pytest.approx(chance, abs=1e-8)


def test_known_quantiles() -> None:
    assert beta_quantile(0.05, 31.0, 1.0) == pytest.approx(0.05 ** (1 / 31), abs=1e-11)
    assert beta_quantile(0.5, 7.0, 7.0) == pytest.approx(0.5, abs=1e-11)
    # The median of Beta(2, 1) and the quantile of the arc that Beta(2, 2) is: 3x² - 2x³ = 0.05.
    assert beta_quantile(0.5, 2.0, 1.0) == pytest.approx(math.sqrt(0.5), abs=1e-11)
    x = beta_quantile(0.05, 2.0, 2.0)
    assert 3 * x**2 - 2 * x**3 == pytest.approx(0.05, abs=1e-11)


# ---- one reputation


def test_nothing_known_is_the_uniform_distribution() -> None:
    prior = Reputation()
    assert (prior.alpha, prior.beta, prior.mean, prior.evidence) == (1.0, 1.0, 0.5, 0.0)
    assert prior.variance == pytest.approx(1 / 12)
    assert prior.lower_bound(0.95) == pytest.approx(0.05)


def test_mean_is_the_rule_of_succession() -> None:
    record = Reputation(right=8.0, wrong=2.0)
    assert record.mean == 9 / 12
    assert record.variance == pytest.approx(9 * 3 / (144 * 13))


@given(REPUTATIONS, st.floats(0.5, 1.0))
def test_lower_bound_is_below_the_mean_and_rises_with_good_news(known: Reputation, level: float) -> None:
    good = known.observed(True, at_ns=known.at_ns)
    bad = known.observed(False, at_ns=known.at_ns)
    assert bad.lower_bound(level) <= known.lower_bound(level) + 1e-11 <= good.lower_bound(level) + 2e-11
    if level >= 0.9:
        assert known.lower_bound(level) < known.mean


def test_few_lucky_outcomes_do_not_outrank_a_long_record() -> None:
    lucky, long = Reputation(right=3.0), Reputation(right=95.0, wrong=5.0)
    assert lucky.mean < long.mean < 1.0
    assert Reputation(right=30.0).mean > long.mean
    assert lucky.lower_bound() < Reputation(right=30.0, wrong=2.0).lower_bound() < long.lower_bound()


def test_evidence_fades_by_the_factor_each_day() -> None:
    faded = Reputation(right=10.0, wrong=4.0).decayed(2 * DAY_NS, 0.9)
    assert (faded.right, faded.wrong, faded.at_ns) == pytest.approx((8.1, 3.24, 2 * DAY_NS))
    assert Reputation(right=10.0).decayed(10**18, 0.0).evidence == 0.0
    assert Reputation(right=10.0, at_ns=5).decayed(3) == Reputation(right=10.0, at_ns=5)


@given(REPUTATIONS, st.integers(0, 10**16), st.integers(0, 10**16))
def test_fading_twice_is_fading_once(known: Reputation, first: int, second: int) -> None:
    twice = known.decayed(known.at_ns + first).decayed(known.at_ns + first + second)
    assert twice.right == pytest.approx(known.decayed(known.at_ns + first + second).right, rel=1e-9)


@given(REPUTATIONS)
def test_fading_takes_a_reputation_towards_the_prior(known: Reputation) -> None:
    means = [known.decayed(known.at_ns + days * DAY_NS).mean for days in (0, 10, 100, 3000)]
    distances = [abs(mean - 0.5) for mean in means]
    assert all(later <= earlier + 1e-15 for earlier, later in pairwise(distances))
    assert means[-1] == pytest.approx(0.5, abs=1e-9)


@given(REPUTATIONS, REPUTATIONS, REPUTATIONS)
def test_merge_is_commutative_and_up_to_rounding_associative(a: Reputation, b: Reputation, c: Reputation) -> None:
    assert a.merged(b) == b.merged(a)
    left, right = a.merged(b).merged(c), a.merged(b.merged(c))
    assert (left.right, left.wrong, left.at_ns) == pytest.approx((right.right, right.wrong, right.at_ns), rel=1e-9)


@given(st.permutations([(True, 0), (False, 3 * DAY_NS), (True, DAY_NS), (False, 40 * DAY_NS)]))
def test_outcomes_of_any_order_come_to_the_same(outcomes: list[tuple[bool, int]]) -> None:
    known = Reputation()
    for is_right, at_ns in outcomes:
        known = known.observed(is_right, at_ns=at_ns)
    assert known.right == pytest.approx(0.98**40 + 0.98**39)
    assert known.wrong == pytest.approx(1.0 + 0.98**37)


def test_evidence_is_bounded() -> None:
    much = Reputation(right=9999.5)
    assert much.observed(True, at_ns=0).right == 10_000.0
    assert 0.999 < much.observed(True, at_ns=0).lower_bound() < 1.0


# ---- many authors


def seen(author: bytes, topic: str, right: int, wrong: int, at_ns: int = 0) -> list[Evidence]:
    return [Evidence(author=author, topic=topic, is_right=i < right, at_ns=at_ns) for i in range(right + wrong)]


def test_reputation_is_of_a_topic() -> None:
    book = fold_evidence(seen(ADA, "python", 9, 1) + seen(ADA, "law", 0, 4) + seen(BO, "law", 3, 0))
    assert book.of(ADA, "python") == Reputation(right=9.0, wrong=1.0)
    assert book.of(ADA, "law") == Reputation(wrong=4.0)
    assert book.of(ADA, "cooking") == Reputation()
    assert book.of(ADA) == Reputation(right=9.0, wrong=5.0)
    assert [author for author, _ in book.ranking("law", now_ns=0)] == [BO, ADA]
    assert [author for author, _ in book.ranking("python", now_ns=0)] == [ADA]


def test_ranking_is_by_lower_bound_then_evidence_then_id() -> None:
    book = fold_evidence(seen(ADA, "", 2, 0) + seen(BO, "", 40, 3) + seen(CY, "", 2, 0))
    ranked = book.ranking(now_ns=0)
    assert ranked[0] == (BO, pytest.approx(Reputation(right=40.0, wrong=3.0).lower_bound()))
    assert [author for author, _ in ranked[1:]] == sorted([ADA, CY])


def test_ranking_reads_reputations_as_they_are_now() -> None:
    book = fold_evidence(seen(ADA, "", 30, 0) + seen(BO, "", 20, 0, at_ns=100 * DAY_NS))
    assert [author for author, _ in book.ranking(now_ns=100 * DAY_NS)] == [BO, ADA]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([ADA, BO, CY]),
            st.sampled_from(["", "a", "b"]),
            st.booleans(),
            st.integers(0, 50 * DAY_NS),
            st.floats(0, 1),
        ),
        max_size=12,
    ),
    st.randoms(),
    st.integers(0, 12),
)
def test_evidence_folds_to_the_same_book_in_any_order(cases, random, cut) -> None:  # type: ignore[no-untyped-def]
    evidence = [Evidence(author=a, topic=t, is_right=r, at_ns=at, weight=w) for a, t, r, at, w in cases]
    shuffled = list(evidence)
    random.shuffle(shuffled)
    whole = fold_evidence(evidence)
    assert fold_evidence(shuffled) == whole
    parts = fold_evidence(shuffled[:cut]).merged(fold_evidence(shuffled[cut:]))
    for standing in whole.standings:
        other = parts.of(standing.author, standing.topic)
        assert (other.right, other.wrong) == pytest.approx(
            (standing.reputation.right, standing.reputation.wrong), rel=1e-9, abs=1e-300
        )
    assert decode_reputations(encode_reputations(whole)) == whole


def test_one_topic_too_many_is_folded_into_the_general_one_and_not_lost() -> None:
    evidence = [e for n in range(40) for e in seen(ADA, f"t{n:02}", n + 1, 0)]
    assert fold_evidence([*evidence, *seen(ADA, ANY_TOPIC, 0, 2)]).of(ADA, ANY_TOPIC) == Reputation(
        right=36.0, wrong=2.0
    )
    book = fold_evidence(evidence)
    assert len(book.standings) == 33
    assert book.of(ADA, ANY_TOPIC).right == sum(range(1, 9))
    assert book.of(ADA, "t07") == Reputation()
    assert book.of(ADA, "t08").right == 9.0
    assert book.of(ADA).right == sum(range(1, 41))


def test_authors_with_the_least_evidence_are_forgotten_first() -> None:
    crowd = [e for n in range(1000) for e in seen(node_id(f"fresh {n}"), "", 1, 0)]
    book = fold_evidence([*crowd, *seen(ADA, "x", 1, 1), *seen(BO, "", 0, 3)], authors_max=5)
    assert len(book.authors()) == 5
    assert {ADA, BO} <= set(book.authors())
    assert book.authors() == tuple(sorted(book.authors()))


def test_books_that_fade_differently_do_not_merge() -> None:
    with pytest.raises(TrustError, match="fade differently"):
        fold_evidence([], factor=0.9).merged(fold_evidence([]))


# ---- garbage


@pytest.mark.parametrize(
    "call",
    [
        lambda: Reputation(right=-1.0),
        lambda: Reputation(wrong=nan),
        lambda: Reputation(right=10_001.0),
        lambda: Reputation(at_ns=-1),
        lambda: Reputation(at_ns=1.5),  # type: ignore[arg-type]
        lambda: Reputation().observed(True, at_ns=0, weight=2.0),
        lambda: Reputation().decayed(2**63),
        lambda: Reputation(right=1.0).decayed(1, 1.1),
        lambda: Reputation().lower_bound(nan),
        lambda: beta_cdf(0.5, 0.5, 1.0),
        lambda: beta_quantile(0.5, 1.0, math.inf),
        lambda: Evidence(author=b"short", is_right=True, at_ns=0),
        lambda: Evidence(author=ADA, is_right=True, at_ns=0, topic="x" * 65),
        lambda: Evidence(author=ADA, is_right="no", at_ns=0),  # type: ignore[arg-type]
        lambda: Evidence(author=ADA, is_right=True, at_ns=0, topic="a\nb"),
        lambda: ReputationBook(standings=(Standing(ADA, "b", Reputation()), Standing(ADA, "a", Reputation()))),
        lambda: ReputationBook(authors_max=10**6),
        lambda: ReputationBook(standings=(Standing(ADA, "a", Reputation()), Standing(BO, "a", Reputation()))[::-1]),
    ],
)
def test_values_out_of_bounds_are_refused(call: Callable[[], object]) -> None:
    if sorted([ADA, BO]) != [ADA, BO]:  # so that the last case is out of order
        raise AssertionError("pick other names")
    with pytest.raises(TrustError):
        call()


@given(st.binary(max_size=60))
def test_bytes_that_are_no_book_are_refused(garbage: bytes) -> None:
    with pytest.raises(TrustError):
        decode_reputations(garbage)


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        (b'"right":2.0', b'"right":-2.0'),
        (b'"right":2.0', b'"right":1e999'),
        (b'"x"', b'"\\n"'),
        (b'"author":"', b'"author":"AA'),
    ],
)
def test_altered_book_is_refused(part: bytes, instead: bytes) -> None:
    encoded = encode_reputations(fold_evidence(seen(ADA, "x", 2, 0)))
    assert part in encoded
    with pytest.raises(TrustError) as caught:
        decode_reputations(encoded.replace(part, instead))
    assert "\n" not in str(caught.value)


def test_deep_json_is_refused() -> None:
    with pytest.raises(TrustError):
        decode_reputations(b'{"unknown":' + b"[" * 100_000)


def test_bounds_are_those_of_the_documentation() -> None:
    assert (reputation.AUTHORS_MAX, reputation.TOPICS_MAX, reputation.TOPIC_CHARS_MAX) == (4096, 32, 64)
