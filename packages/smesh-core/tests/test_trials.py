"""A trial's bounds, and that it is what its seed says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from smesh_core import InvalidNetworkError
from smesh_core.attacks import ATTACKS
from smesh_core.trials import BASELINES, DEFENCES, Result, Trial, run_trial

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
