"""Trust: the formulas, their bounds, where order matters and where not, and what a crowd of strangers can do."""

from __future__ import annotations

import math
from functools import reduce
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smesh_core import EVERYONE, Observer, node_id
from smesh_core.errors import TrustError
from smesh_core.trust import (
    HALF_LIFE_NS,
    TRUST_MAX,
    aggregate_opinions,
    clamp_trust,
    decay_trust,
    update_additive,
    update_bayesian,
    update_validated,
)

if TYPE_CHECKING:
    from collections.abc import Callable

TRUSTS = st.floats(0.01, 0.99)
WEIGHTS = st.floats(0.0, 1.0)
UPDATES = [update_bayesian, update_additive, update_validated]
ADA, BO, CY = (node_id(name) for name in ("ada", "bo", "cy"))


# ---- the table of the reference page


@pytest.mark.parametrize(
    ("update", "right", "wrong"),
    [(update_bayesian, 9 / 14, 1 / 6), (update_additive, 0.55, 0.35), (update_validated, 0.598, 0.402)],
)
def test_updates_from_the_default_are_those_of_the_documentation(
    update: Callable[..., float], right: float, wrong: float
) -> None:
    assert update(0.5, True) == pytest.approx(right, rel=1e-12)
    assert update(0.5, False) == pytest.approx(wrong, rel=1e-12)


def test_decay_halves_the_distance_from_one_half() -> None:
    assert decay_trust(0.9, HALF_LIFE_NS) == pytest.approx(0.7)
    assert decay_trust(0.1, 2 * HALF_LIFE_NS) == pytest.approx(0.4)
    assert decay_trust(0.9, 0) == 0.9
    assert decay_trust(0.9, 2**64, half_life_ns=1) == 0.5


# ---- properties of all updates


@given(TRUSTS, st.booleans(), WEIGHTS)
def test_updates_stay_in_bounds_and_move_the_right_way(trust: float, is_right: bool, weight: float) -> None:
    for update in UPDATES:
        moved = update(trust, is_right, weight)
        assert 0.01 <= moved <= 0.99
        assert moved >= trust - 1e-15 if is_right else moved <= trust + 1e-15


@given(TRUSTS, TRUSTS, st.booleans(), WEIGHTS)
def test_updates_keep_the_order_of_two_trusts(one: float, other: float, is_right: bool, weight: float) -> None:
    low, high = sorted((one, other))
    for update in UPDATES:
        assert update(low, is_right, weight) <= update(high, is_right, weight) + 1e-15


@given(TRUSTS, st.booleans(), WEIGHTS, WEIGHTS)
def test_heavier_outcomes_move_further(trust: float, is_right: bool, one: float, other: float) -> None:
    light, heavy = sorted((one, other))
    for update in UPDATES:
        near, far = update(trust, is_right, light), update(trust, is_right, heavy)
        assert abs(near - trust) <= abs(far - trust) + 1e-15


@given(TRUSTS, st.booleans())
def test_weightless_outcome_moves_nothing(trust: float, is_right: bool) -> None:
    for update in UPDATES:
        assert update(trust, is_right, 0.0) == pytest.approx(trust, abs=1e-15)


def test_trust_is_lost_faster_than_it_is_won() -> None:
    for update in (update_bayesian, update_additive):
        assert 0.5 - update(0.5, False) > update(0.5, True) - 0.5


@given(st.lists(st.tuples(TRUSTS, st.booleans(), WEIGHTS), min_size=1, max_size=20))
def test_arrays_give_what_numbers_give(cases: list[tuple[float, bool, float]]) -> None:
    trusts, outcomes, weights = (np.array(column) for column in zip(*cases, strict=True))
    for update in UPDATES:
        expected = [update(*case) for case in cases]
        np.testing.assert_allclose(update(trusts, outcomes, weights), expected, rtol=1e-12)
        assert update(trusts, True).shape == trusts.shape
    np.testing.assert_allclose(decay_trust(trusts, 10**15), [decay_trust(t, 10**15) for t in trusts], rtol=1e-15)


@given(TRUSTS, st.integers(0, 10**16), st.integers(0, 10**16))
def test_decaying_twice_is_decaying_once_by_the_sum(trust: float, first: int, second: int) -> None:
    assert decay_trust(decay_trust(trust, first), second) == pytest.approx(
        decay_trust(trust, first + second), abs=1e-12
    )


# ---- order


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 0.5)), min_size=2, max_size=4))
def test_bayesian_outcomes_commute_away_from_the_bounds(outcomes: list[tuple[bool, float]]) -> None:
    ends = [reduce(lambda trust, o: update_bayesian(trust, *o), order, 0.5) for order in permutations(outcomes)]
    assert max(ends) - min(ends) < 1e-12


def test_bayesian_update_is_bayes_theorem_on_a_whole_record() -> None:
    right, wrong = 4, 1
    reliable, not_reliable = 0.5 * 0.9**right * 0.1**wrong, 0.5 * 0.5 ** (right + wrong)
    trust = reduce(update_bayesian, [True] * right + [False] * wrong, 0.5)
    assert trust == pytest.approx(reliable / (reliable + not_reliable))


def test_additive_steps_do_not_commute_at_a_bound() -> None:
    right_last = update_additive(update_additive(0.99, False), True)
    wrong_last = update_additive(update_additive(0.99, True), False)
    assert (right_last, wrong_last) == pytest.approx((0.89, 0.84))


def test_bayesian_outcomes_do_not_commute_at_a_bound() -> None:
    assert (
        update_bayesian(update_bayesian(0.99, True), False) < update_bayesian(update_bayesian(0.99, False), True) - 0.01
    )


def test_validated_outcomes_never_commute() -> None:
    assert update_validated(update_validated(0.5, True), False) < update_validated(update_validated(0.5, False), True)


# ---- others' opinions


def test_nobody_asked_is_ones_own_experience_beside_the_prior() -> None:
    assert aggregate_opinions({}, EVERYONE) == 0.5
    assert aggregate_opinions({}, EVERYONE, own=0.9, own_evidence=3.0) == pytest.approx((0.5 + 2.7) / 4)


def test_opinions_weigh_by_what_the_reader_thinks_of_their_observers() -> None:
    reader = Observer(roster={ADA: ""}, trust={BO: 0.75, CY: 0.3})
    asked = {ADA: 0.9, BO: 0.2, CY: 0.01}
    assert aggregate_opinions(asked, reader) == pytest.approx((0.5 + 0.9 + 0.5 * 0.2) / 2.5)


def test_lineage_has_one_opinion() -> None:
    kin = {node_id(f"kin {n}"): "kin" for n in range(50)}
    reader = Observer(roster={ADA: "", **kin})
    assert aggregate_opinions({ADA: 0.9, **dict.fromkeys(kin, 0.1)}, reader) == pytest.approx((0.5 + 0.9 + 0.1) / 3)


def test_stranger_cannot_water_down_the_opinion_of_a_lineage_by_joining_it() -> None:
    reader = Observer(roster={ADA: "kin"}, trust={BO: 0.9}, declared={BO: "kin"})
    assert aggregate_opinions({ADA: 0.9, BO: 0.1}, reader) == aggregate_opinions({ADA: 0.9}, reader)


def test_what_an_author_thinks_of_itself_is_not_asked() -> None:
    reader = Observer(roster={ADA: "", BO: ""})
    assert aggregate_opinions({ADA: 0.99, BO: 0.3}, reader, about=ADA) == aggregate_opinions({BO: 0.3}, reader)


@pytest.mark.parametrize("vote", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("praise", [0.01, 0.99])
def test_thousand_strangers_move_trust_by_less_than_their_one_vote(vote: float, praise: float) -> None:
    reader = Observer(roster={ADA: ""}, unknown_vote=vote)
    crowd = {node_id(f"stranger {n}"): praise for n in range(1000)}
    for own_evidence in (0.0, 5.0):
        alone = aggregate_opinions({ADA: 0.6}, reader, own=0.7, own_evidence=own_evidence)
        swayed = aggregate_opinions({ADA: 0.6, **crowd}, reader, own=0.7, own_evidence=own_evidence)
        one = aggregate_opinions({ADA: 0.6, node_id("stranger 0"): praise}, reader, own=0.7, own_evidence=own_evidence)
        assert abs(swayed - alone) <= vote * 0.98 / (2.0 + own_evidence + vote)
        assert swayed == pytest.approx(one)
        assert (swayed != alone) == (vote > 0)


def test_more_experience_of_ones_own_leaves_less_to_others() -> None:
    reader = Observer(roster={}, trust={ADA: 0.99, BO: 0.99}, unknown_vote=1.0)
    others = {ADA: 0.01, BO: 0.01, CY: 0.01}
    trusts = [aggregate_opinions(others, reader, own=0.9, own_evidence=n) for n in (0.0, 1.0, 10.0, 100.0, 10_000.0)]
    assert trusts == sorted(trusts)
    assert trusts[-1] == pytest.approx(0.9, abs=0.001)


@given(st.permutations([(node_id(f"{n}"), 0.01 + 0.09 * n) for n in range(8)]))
def test_order_of_opinions_does_not_matter(asked: list[tuple[bytes, float]]) -> None:
    reader = Observer(roster={node_id("1"): "x", node_id("2"): "x"}, trust={node_id("3"): 0.8}, unknown_vote=0.3)
    assert aggregate_opinions(dict(asked), reader) == pytest.approx(
        aggregate_opinions(dict(sorted(asked)), reader), abs=1e-15
    )


@given(
    st.dictionaries(st.sampled_from([node_id(str(n)) for n in range(6)]), TRUSTS), TRUSTS, st.floats(0, 100), WEIGHTS
)
def test_aggregate_lies_between_the_least_and_the_greatest(
    asked: dict[bytes, float], own: float, evidence: float, vote: float
) -> None:
    reader = Observer(roster={node_id("1"): ""}, trust={node_id("2"): 0.7}, unknown_vote=vote)
    said = [0.5, own, *asked.values()]
    aggregated = aggregate_opinions(asked, reader, own=own, own_evidence=evidence)
    assert min(said) - 1e-12 <= aggregated <= max(said) + 1e-12


# ---- garbage

GARBAGE = [math.nan, math.inf, -1.0, 2.0, "0.5", None, [0.5], 10**5000, b"x", np.array(["a"]), np.array([math.nan]), {}]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda value: type(value).__name__)
def test_garbage_is_refused_in_one_line(garbage: object) -> None:
    calls: list[Callable[[], object]] = [
        lambda: update_bayesian(garbage, True),  # type: ignore[type-var]
        lambda: update_additive(0.5, True, garbage),  # type: ignore[arg-type]
        lambda: update_validated(0.5, True, rate=garbage),  # type: ignore[arg-type]
        lambda: update_validated(0.5, garbage),  # type: ignore[arg-type]
        lambda: update_bayesian(0.5, True, reliable_right=garbage),  # type: ignore[arg-type]
        lambda: decay_trust(garbage, 0),  # type: ignore[type-var]
        lambda: decay_trust(0.5, 1, half_life_ns=-1 if garbage in (math.inf, 2.0) else garbage),  # type: ignore[arg-type]
        lambda: aggregate_opinions({ADA: garbage}, EVERYONE),  # type: ignore[dict-item]
        lambda: aggregate_opinions({}, EVERYONE, own=garbage),  # type: ignore[arg-type]
    ]
    if isinstance(garbage, np.ndarray):
        calls = calls[:1]
    elif garbage == 10**5000:
        del calls[6]
    for call in calls:
        with pytest.raises(TrustError) as caught:
            call()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 200


def test_settings_that_make_no_sense_are_refused() -> None:
    for call in (
        lambda: update_bayesian(0.5, True, reliable_right=0.5, unreliable_right=0.5),
        lambda: update_bayesian(0.5, True, reliable_right=1.0),
        lambda: update_additive(0.5, True, step_up=0.2, step_down=0.1),
        lambda: update_additive(0.5, True, step_up=0.0),
        lambda: update_bayesian(np.array([0.5, 0.5]), np.array([True])),
        lambda: update_bayesian(np.array([[0.5]]), True),
        lambda: update_bayesian(0.5, np.array([True])),
        lambda: clamp_trust(math.nan),
    ):
        with pytest.raises(TrustError):
            call()


def test_clamped_trust_is_in_bounds() -> None:
    assert [clamp_trust(value) for value in (-5.0, 0.3, 7)] == [0.01, 0.3, TRUST_MAX]
    assert clamp_trust(np.array([-5.0, 0.3, 7.0])).tolist() == [0.01, 0.3, TRUST_MAX]
