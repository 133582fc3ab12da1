"""A trial's bounds, and that it is what its seed says."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smesh_core import InvalidNetworkError
from smesh_core.attacks import ATTACKS
from smesh_core.baselines import read_in
from smesh_core.trials import BASELINES, DEFENCES, Result, Trial, run_trial, run_trials

SMALL: dict[str, Any] = {"nodes": 24, "rounds": 2, "ticks": 20, "statements": 8, "lies": 4}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("defences", [(), DEFENCES, *((name,) for name in BASELINES)], ids=str)
def test_the_same_trial_gives_the_same_result(attack: str, defences: tuple[str, ...]) -> None:
    trial = Trial(attack=attack, defences=defences, fraction=0.3, seed=3, **SMALL)
    result = run_trial(trial)
    assert result == run_trial(trial)
    for name in ("coverage", "accuracy", "fooled", "suppressed"):
        assert 0.0 <= getattr(result, name) <= 1.0
    assert result.ticks_to_right is None or 0 <= result.ticks_to_right < SMALL["ticks"]


@pytest.mark.parametrize("attack", ["none", "spam", "collusion", "poisoning", "eclipse"])
def test_systems_that_share_a_network_come_to_what_they_come_to_alone(attack: str) -> None:
    systems = [(), ("inhibition",), ("trust",), DEFENCES, ("roster",), *((name,) for name in BASELINES)]
    trial = Trial(attack=attack, fraction=0.3, seed=5, **SMALL)
    alone = [run_trial(msgspec.structs.replace(trial, defences=system)) for system in systems]
    assert run_trials(trial, systems) == alone
    assert len({result.accuracy for result in alone}) > 1 or attack == "none"


def test_rounds_before_the_last_matter_to_trust_alone() -> None:
    for defences, is_same in ((("inhibition",), True), (("inhibition", "trust"), False)):
        trial = Trial(attack="collusion", fraction=0.3, defences=defences, seed=5, **{**SMALL, "rounds": 4})
        unchecked = msgspec.structs.replace(trial, checked=0.0)
        assert (run_trial(trial) == run_trial(unchecked)) is is_same


def test_baselines_without_a_field_say_what_they_cost() -> None:
    trial = Trial(nodes=24, rounds=1, ticks=20, statements=20, lies=0, evidence=1.0, error=0.0, seed=1)
    centre, witness, flood, field = run_trials(trial, [("central",), ("best-witness",), ("flooding",), ("inhibition",)])
    assert (centre.coverage, centre.ticks_to_right) == (1.0, 1.0)
    assert 24 < centre.copies <= 48  # each is told, and reports what it holds
    assert (witness.coverage, witness.copies, witness.ticks_to_right) == (0.0, 0.0, 0.0)
    assert flood.coverage > max(0.95, field.coverage)
    assert flood.copies > field.copies


def test_a_centre_is_a_queue_which_spam_delays() -> None:
    calm = Trial(nodes=40, ticks=40, lies=0, evidence=1.0, error=0.0, defences=("central",), service=200, seed=1)
    slow = msgspec.structs.replace(calm, service=60)
    narrow = msgspec.structs.replace(calm, service=1)
    spammed = msgspec.structs.replace(slow, attack="spam", fraction=0.4)
    at_once, queued, choked, buried = (run_trial(trial) for trial in (calm, slow, narrow, spammed))
    assert at_once.ticks_to_right is not None
    assert queued.ticks_to_right is not None
    assert buried.ticks_to_right is not None
    assert at_once.ticks_to_right < queued.ticks_to_right < buried.ticks_to_right
    assert at_once.accuracy == at_once.coverage == 1.0
    assert choked.coverage < 0.2  # of some thirty statements come forty reports each, and it reads one a tick


@given(
    arrivals=st.lists(st.integers(0, 12), max_size=40),
    per_tick=st.integers(1, 6),
    ticks=st.integers(1, 15),
)
def test_a_queue_is_read_first_come_first_served(arrivals: list[int], per_tick: int, ticks: int) -> None:
    expected, waiting = [-1] * len(arrivals), []
    for tick in range(ticks):
        waiting += [message for message, come in enumerate(arrivals) if come == tick]
        for message in waiting[:per_tick]:
            expected[message] = tick
        del waiting[:per_tick]
    assert read_in(np.array(arrivals, np.int64), per_tick=per_tick, ticks=ticks).tolist() == expected


def test_a_network_of_liars_alone_is_refused() -> None:
    with pytest.raises(InvalidNetworkError, match="leaves nobody honest"):
        run_trial(Trial(attack="collusion", fraction=0.9, nodes=3, degree=2))


def test_a_hostile_centre_answers_nobody() -> None:
    results = [
        run_trial(Trial(attack="silence", fraction=0.5, defences=("central",), seed=seed, **SMALL))
        for seed in range(12)
    ]
    gone = [result for result in results if result.coverage == 0.0]
    assert 0 < len(gone) < 12
    assert {(result.accuracy, result.ticks_to_right) for result in gone} == {(0.0, None)}


def test_another_seed_gives_another_result() -> None:
    assert len({run_trial(Trial(seed=seed, **SMALL)).copies for seed in range(5)}) == 5


def test_defences_in_another_order_are_the_same() -> None:
    one = Trial(attack="collusion", defences=DEFENCES, **SMALL)
    assert run_trial(one) == run_trial(msgspec.structs.replace(one, defences=DEFENCES[::-1]))


@pytest.mark.parametrize("topology", ["ring", "full-mesh", "small-world", "scale-free", "random", "grid"])
def test_every_topology_can_be_tried(topology: str) -> None:
    for attack in ("sybil", "eclipse"):
        assert isinstance(run_trial(Trial(attack=attack, topology=topology, **SMALL)), Result)


def test_an_extent_of_nothing_is_no_attack() -> None:
    calm = run_trial(Trial(attack="none", **SMALL))
    for attack in ATTACKS:
        assert run_trial(Trial(attack=attack, fraction=0.0, **SMALL)) == calm


def test_with_all_evidence_and_no_error_a_witness_that_hears_everything_is_right() -> None:
    trial = Trial(
        defences=("central",), nodes=24, rounds=1, ticks=20, statements=20, lies=0, evidence=1.0, error=0.0, seed=1
    )
    assert run_trial(trial).accuracy == 1.0


def test_without_inhibition_nothing_is_ever_rejected() -> None:
    result = run_trial(Trial(attack="collusion", fraction=0.4, defences=("trust",), **SMALL))
    assert result.suppressed == 0.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"attack": "arson"},
        {"topology": "torus"},
        {"defences": ("walls",)},
        {"defences": ("trust", "trust")},
        {"defences": ("majority", "trust")},
        {"defences": ("majority", "central")},
        {"fraction": -0.1},
        {"fraction": float("nan")},
        {"nodes": 1},
        {"rounds": 0},
        {"ticks": 1},
        {"statements": 0},
        {"lies": -1},
        {"evidence": 1.1},
        {"error": -0.1},
        {"checked": 2.0},
        {"capacity": 0},
        {"radius": 0},
    ],
    ids=str,
)
def test_what_cannot_be_tried_is_refused_in_one_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidNetworkError) as raised:
        Trial(**wrong)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("attack", [a for a in ATTACKS if a != "eclipse"])
def test_no_attack_but_an_eclipse_can_be_total(attack: str) -> None:
    with pytest.raises(InvalidNetworkError):
        run_trial(Trial(attack=attack, fraction=1.0, **SMALL))
