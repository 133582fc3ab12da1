"""What attacks do and what defences win back, over thirty seeds: each difference with its 95% interval.

Seeds are paired: the same network, statements and evidence with and without, so that only the attack, or the defence,
differs. A failure prints the seeds' differences; `run_trial` of a seed plays it again.
"""

from __future__ import annotations

import math
from functools import cache
from statistics import fmean, stdev

import pytest
from smesh_core.trials import Result, Trial, run_trial

SEEDS = range(30)
STUDENT_95 = 2.045
"""Two-sided 95% quantile of Student's distribution of 29 degrees of freedom."""
OPEN_EARS = ("inhibition",)


@cache
def results(attack: str, fraction: float, defences: tuple[str, ...]) -> tuple[Result, ...]:
    trial = {"attack": attack, "fraction": fraction, "defences": defences, "nodes": 60, "rounds": 3, "ticks": 50}
    return tuple(run_trial(Trial(seed=seed, **trial)) for seed in SEEDS)  # type: ignore[arg-type]


def interval(without: tuple[Result, ...], having: tuple[Result, ...], outcome: str) -> tuple[float, float]:
    """The 95% interval of the mean difference that it makes to have it."""
    gains = [getattr(b, outcome) - getattr(a, outcome) for a, b in zip(without, having, strict=True)]
    half = STUDENT_95 * stdev(gains) / math.sqrt(len(gains))
    print(outcome, f"{fmean(gains):+.3f} ± {half:.3f}", [round(gain, 2) for gain in gains])  # noqa: T201 - pytest shows it where a test fails
    return fmean(gains) - half, fmean(gains) + half


@pytest.mark.parametrize(
    ("attack", "fraction", "outcome", "direction"),
    [
        ("spam", 0.2, "coverage", -1),
        ("false-reinforcement", 0.3, "fooled", 1),
        ("sybil", 0.5, "accuracy", -1),
        ("eclipse", 0.6, "coverage", -1),
        ("silence", 0.3, "coverage", -1),
        ("collusion", 0.3, "accuracy", -1),
        ("poisoning", 0.3, "accuracy", -1),
    ],
)
def test_every_attack_does_harm(attack: str, fraction: float, outcome: str, direction: int) -> None:
    low, high = interval(results("none", 0.0, OPEN_EARS), results(attack, fraction, OPEN_EARS), outcome)
    assert low > 0 if direction > 0 else high < 0


def test_poison_turns_trust_itself() -> None:
    """The same liars do more harm to who goes by trust, once they have earned some."""
    plain = results("collusion", 0.3, ("inhibition", "trust"))
    _, high = interval(plain, results("poisoning", 0.3, ("inhibition", "trust")), "accuracy")
    assert high < 0


@pytest.mark.parametrize(
    ("attack", "fraction", "defence", "outcome", "direction"),
    [
        ("none", 0.0, "inhibition", "accuracy", 1),
        ("spam", 0.2, "trust", "coverage", 1),
        ("false-reinforcement", 0.3, "inhibition", "fooled", -1),
        ("false-reinforcement", 0.3, "lineages", "fooled", -1),
        ("sybil", 0.5, "lineages", "accuracy", 1),
        ("sybil", 0.5, "roster", "accuracy", 1),
        ("sybil", 0.5, "trust", "accuracy", 1),
        ("eclipse", 0.6, "roster", "accuracy", 1),
        ("collusion", 0.3, "lineages", "accuracy", 1),
        ("collusion", 0.3, "trust", "accuracy", 1),
        ("poisoning", 0.3, "lineages", "accuracy", 1),
    ],
)
def test_what_a_defence_wins_back(attack: str, fraction: float, defence: str, outcome: str, direction: int) -> None:
    without = () if defence == "inhibition" else OPEN_EARS
    having = tuple(sorted({*without, defence}))
    low, high = interval(results(attack, fraction, without), results(attack, fraction, having), outcome)
    assert low > 0 if direction > 0 else high < 0


@pytest.mark.parametrize("attack", ["sybil", "collusion"])
def test_heads_are_fooled_where_lineages_are_not(attack: str) -> None:
    low, _ = interval(results(attack, 0.4, ("majority",)), results(attack, 0.4, ("inhibition", "lineages")), "accuracy")
    assert low > 0


def test_a_centre_is_a_point_of_failure() -> None:
    """With nobody hostile it does as well as anything; with half the nodes silent it is gone half the time."""
    assert fmean(r.accuracy for r in results("none", 0.0, ("central",))) > 0.95
    gone = [r for r in results("silence", 0.5, ("central",)) if r.accuracy == 0.0]
    assert 7 <= len(gone) <= 23
    field = results("silence", 0.5, OPEN_EARS)
    assert min(r.accuracy for r in field) > 0.0
