"""House hunting: the field holds what the scouts do, and the swarm behaves as the biology says, in numbers.

What chance decides is compared by 95% intervals over fixed seeds, so the tests are the same each time.
"""

from __future__ import annotations

import math
import statistics
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smesh_core import InvalidSignalError
from smesh_core.house_hunting import (
    Hunts,
    Interval,
    Swarm,
    hunt,
    hunt_many,
    mean_interval,
    wilson_interval,
)
from smesh_core.house_hunting import _Scouting as Scouting
from smesh_core.rng import Stream, draw_unit, key

SEEDS = range(40)
FEWER = range(30)
EQUAL = (0.8, 0.8)


def difference(one: Interval, other: Interval) -> tuple[float, float]:
    """A 95% interval for the difference of two proportions, from their Wilson intervals (Newcombe 1998)."""
    apart = one.estimate - other.estimate
    low = math.hypot(one.estimate - one.low, other.high - other.estimate)
    high = math.hypot(one.high - one.estimate, other.estimate - other.low)
    return apart - low, apart + high


def ended(swarm: Swarm) -> Interval:
    return hunt_many(swarm, FEWER).decided


def accuracy(runs: Hunts) -> Interval:
    assert runs.accuracy is not None
    return runs.accuracy


# ---- one hunt


def test_a_hunt_is_a_function_of_its_seed() -> None:
    swarm = Swarm(qualities=(0.6, 0.8))
    assert hunt(swarm, 7) == hunt(swarm, 7)
    assert hunt(swarm, 7).counts != hunt(swarm, 8).counts


def test_counts_are_what_the_field_reads_from_empty_to_quorum() -> None:
    swarm = Swarm(qualities=(0.5, 0.9, 0.7), scouts=60, quorum=0.6)
    run = hunt(swarm, 3)
    for seed in range(12):  # at some of them the quorum is met exactly
        assert all(max(counts) < 36 for counts in hunt(swarm, seed).counts[:-1])
    assert run.counts[0] == (0, 0, 0)
    assert len(run.counts) == run.ticks + 1
    assert max(map(sum, run.counts)) <= 60
    assert run.site is not None
    assert run.counts[-1][run.site] >= 36
    standing = next(s for s in run.decision.standings if s.statement == run.decision.chosen)
    assert standing.support == run.counts[-1][run.site]


@pytest.mark.parametrize("cross_inhibition", [0.0, 1.0])
def test_the_field_holds_what_the_scouts_are_committed_to(cross_inhibition: float) -> None:
    """Beside the field, from the scouts' own minds: who supports what, and who opposes it."""
    swarm = Swarm(qualities=(0.7, 0.8, 0.9), scouts=30, cross_inhibition=cross_inhibition, abandonment=0.2)
    scouting = Scouting(swarm)
    for tick in range(60):
        tallies = scouting.read(tick)
        for site, statement in enumerate(scouting.statements):
            at_it = {scouting.scouts[scout] for scout in np.flatnonzero(scouting.sites == site)}
            others = np.flatnonzero((scouting.sites != site) & (scouting.sites >= 0))
            against = {scouting.scouts[scout] for scout in others} if cross_inhibition else set()
            if statement not in tallies:
                assert not at_it
                continue
            votes = tallies[statement].votes
            assert {node for vote in votes for node in vote.supporters} == at_it
            assert {node for vote in votes for node in vote.opposers} == against
        draws = [draw_unit(key(1, Stream.SCENARIO, tick, purpose), np.arange(30)) for purpose in (0, 1)]
        scouting.act(tick, tallies, *draws)
    assert len(scouting.refs) == 3


def test_without_discovery_nobody_ever_moves() -> None:
    run = hunt(Swarm(qualities=EQUAL, discovery=0.0, ticks=20), 0)
    assert set(run.counts) == {(0, 0)}
    assert (run.site, run.ticks, run.decision.standings) == (None, 20, ())


def test_scouts_that_only_discover_do_so_at_the_rate_and_in_the_proportion_of_quality() -> None:
    swarm = Swarm(
        qualities=(0.2, 0.8), scouts=4000, discovery=0.1, recruitment=0.0, abandonment=0.0, cross_inhibition=0.0,
        ticks=1, quorum=1.0,
    )  # fmt: skip
    counts = hunt(swarm, 5).counts[-1]
    moved, expected = sum(counts), 4000 * (1 - math.exp(-0.1))
    assert abs(moved - expected) < 4 * math.sqrt(expected)
    assert abs(counts[0] / moved - 0.2) < 4 * math.sqrt(0.2 * 0.8 / moved)


def mean_field(swarm: Swarm, ticks: int) -> list[list[float]]:
    """Parts of an infinite swarm at each site, tick by tick, by the hazards of the module's docstring."""
    parts, history = [0.0] * len(swarm.qualities), []
    for _ in range(ticks + 1):
        history.append(parts)
        drawn = [
            q * (swarm.discovery + swarm.recruitment * part) for q, part in zip(swarm.qualities, parts, strict=True)
        ]
        moving = (1.0 - sum(parts)) * (1.0 - math.exp(-sum(drawn)))
        after = []
        for q, part, pull in zip(swarm.qualities, parts, drawn, strict=True):
            hazard = swarm.abandonment / q + swarm.cross_inhibition * (sum(parts) - part)
            after.append(part * math.exp(-hazard) + moving * pull / sum(drawn))
        parts = after
    return history


@pytest.mark.parametrize(
    "rates",
    [
        {"recruitment": 0.0, "cross_inhibition": 0.0, "abandonment": 0.1},
        {"recruitment": 0.3, "cross_inhibition": 0.0, "abandonment": 0.02},
        {"recruitment": 0.1, "cross_inhibition": 0.4, "abandonment": 0.02},
    ],
    ids=["abandonment", "recruitment", "stop signals"],
)
def test_a_large_swarm_follows_the_mean_field(rates: dict[str, float]) -> None:
    swarm = Swarm(qualities=(0.9, 0.5), scouts=1500, discovery=0.1, ticks=25, quorum=1.0, **rates)
    for counts, parts in zip(hunt(swarm, 2).counts, mean_field(swarm, 25), strict=True):
        assert [count / 1500 for count in counts] == pytest.approx(parts, abs=0.04)


def test_a_hunt_that_ends_at_its_quorum_on_the_last_tick_is_decided() -> None:
    swarm = Swarm(qualities=(0.9, 0.3))
    ticks = hunt(swarm, 1).ticks
    last = hunt(Swarm(qualities=(0.9, 0.3), ticks=ticks), 1)
    assert (last.site, last.ticks) == (0, ticks)
    assert hunt(Swarm(qualities=(0.9, 0.3), ticks=ticks - 1), 1).site is None


# ---- many


def test_between_equal_sites_cross_inhibition_breaks_the_deadlock() -> None:
    without = ended(Swarm(qualities=EQUAL, cross_inhibition=0.0))
    with_it = ended(Swarm(qualities=EQUAL, cross_inhibition=1.0))
    assert without.high < 0.5
    assert with_it.low > 0.85
    assert difference(with_it, without)[0] > 0.4


def test_between_equal_sites_the_swarm_falls_to_either_side() -> None:
    runs = hunt_many(Swarm(qualities=EQUAL), range(100, 200))
    one = wilson_interval(runs.chosen[0], sum(runs.chosen))
    assert 0.3 < one.low < 0.5 < one.high < 0.7
    assert accuracy(runs).estimate == 1.0  # both are best


def test_accuracy_grows_with_the_difference_in_quality() -> None:
    near, far = (hunt_many(Swarm(qualities=(worse, 0.8), quorum=0.5), SEEDS) for worse in (0.75, 0.4))
    assert difference(accuracy(far), accuracy(near))[0] > 0.0
    assert accuracy(far).low > 0.9


def test_a_higher_quorum_is_slower_and_more_accurate() -> None:
    hasty, careful = (hunt_many(Swarm(qualities=(0.7, 0.8), quorum=quorum), range(120)) for quorum in (0.05, 0.6))
    assert difference(accuracy(careful), accuracy(hasty))[0] > 0.0
    means = []
    for quorum in (0.1, 0.3, 0.7):
        runs = hunt_many(Swarm(qualities=(0.7, 0.8), quorum=quorum), SEEDS)
        assert runs.undecided == 0
        means.append(runs.ticks_mean)
    for sooner, later in pairwise(means):
        assert sooner.high < later.low


def test_what_many_hunts_come_to_is_counted_from_each() -> None:
    swarm = Swarm(qualities=(0.7, 0.8), cross_inhibition=0.0, ticks=60)
    each, runs = [hunt(swarm, seed) for seed in SEEDS], hunt_many(swarm, SEEDS)
    times = [run.ticks if run.site is not None else math.inf for run in each]
    assert runs.runs == 40
    assert runs.chosen == tuple(sum(run.site == site for run in each) for site in (0, 1))
    assert 0 < runs.undecided == sum(run.site is None for run in each) < 40
    assert runs.decided == wilson_interval(40 - runs.undecided, 40)
    assert runs.accuracy == wilson_interval(runs.chosen[1], sum(runs.chosen))
    median = statistics.median(times)
    assert runs.ticks_median == (median if math.isfinite(median) else None)
    assert runs.ticks_mean.estimate == pytest.approx(statistics.mean(t for t in times if math.isfinite(t)))


def test_hunts_without_a_decision_have_no_times() -> None:
    runs = hunt_many(Swarm(qualities=EQUAL, ticks=1), range(3))
    assert (runs.undecided, runs.accuracy, runs.ticks_median, runs.ticks_mean) == (3, None, None, None)
    with pytest.raises(InvalidSignalError):
        hunt_many(Swarm(qualities=EQUAL), [])


# ---- intervals


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_interval_has_the_published_values(successes: int, trials: int, low: float, high: float) -> None:
    interval = wilson_interval(successes, trials)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10_000), st.data())
def test_wilson_interval_holds_its_estimate_and_solves_its_equation(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    interval = wilson_interval(successes, trials)
    assert 0.0 <= interval.low <= interval.estimate <= interval.high <= 1.0
    for bound in (interval.low, interval.high):
        if 0.0 < bound < 1.0:
            z = abs(interval.estimate - bound) / math.sqrt(bound * (1 - bound) / trials)
            assert z == pytest.approx(1.959964, rel=1e-4)


@pytest.mark.parametrize(("count", "quantile"), [(5, 2.7764), (10, 2.2622), (30, 2.0452), (1000, 1.9623)])
def test_mean_interval_is_students(count: int, quantile: float) -> None:
    sample = [float(n % 7) for n in range(count)]
    reach = quantile * statistics.stdev(sample) / math.sqrt(count)
    interval = mean_interval(sample)
    assert interval.estimate == pytest.approx(statistics.mean(sample))
    assert interval.high - interval.estimate == pytest.approx(reach, rel=0.01)
    assert interval.estimate - interval.low == pytest.approx(reach, rel=0.01)


# ---- bounds


@pytest.mark.parametrize(
    "settings",
    [
        *[{"qualities": bad} for bad in ((), [0.5], (0.0,), (1.1,), (float("nan"),), ("a",), (0.5,) * 65, None)],
        *[{"scouts": bad} for bad in (1, 10_001, 2.0, "9")],
        *[{"ticks": bad} for bad in (0, 100_001, 1.5)],
        *[{"quorum": bad} for bad in (0.0, 1.1, float("nan"), "1")],
        *[
            {name: bad}
            for name in ("cross_inhibition", "discovery", "recruitment", "abandonment")
            for bad in (-0.1, float("nan"), float("inf"), "1")
        ],
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_a_swarm_refuses_what_is_out_of_bounds(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidSignalError) as caught:
        Swarm(**{"qualities": EQUAL, **settings})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (-1, 3), (4, 3)])
def test_intervals_refuse_what_is_no_sample(successes: int, trials: int) -> None:
    with pytest.raises(InvalidSignalError):
        wilson_interval(successes, trials)
    with pytest.raises(InvalidSignalError):
        mean_interval([1.0])
