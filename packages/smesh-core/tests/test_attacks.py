"""Sieges: who is hostile, and what becomes of the topology."""

from __future__ import annotations

import numpy as np
import pytest
from smesh_core import InvalidNetworkError
from smesh_core.attacks import ATTACKS, lay_siege
from smesh_core.conduct import Conduct
from smesh_core.topologies import TOPOLOGIES, small_world

BASE = small_world(200, seed=1)


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_and_honest_are_all_nodes(attack: str) -> None:
    siege = lay_siege(attack, 0.3, BASE, seed=5)
    everybody = np.sort(np.concatenate([siege.hostile, siege.honest]))
    assert everybody.tolist() == list(range(siege.topology.node_count))
    assert not set(siege.victims.tolist()) & set(siege.hostile.tolist())
    assert set(siege.liars.tolist()) <= set(siege.hostile.tolist())


@pytest.mark.parametrize("attack", ["spam", "false-reinforcement", "silence", "collusion", "poisoning"])
def test_insiders_are_so_many_of_the_nodes_and_change_no_hypha(attack: str) -> None:
    siege = lay_siege(attack, 0.3, BASE, seed=5)
    assert len(siege.insiders) == 60
    assert len(siege.outsiders) == 0
    assert siege.topology == BASE


def test_other_seeds_choose_other_insiders() -> None:
    one, other = (lay_siege("collusion", 0.3, BASE, seed=seed).insiders for seed in (1, 2))
    assert one.tolist() != other.tolist()


def test_sybils_are_so_many_of_all_and_joined_to_their_owner_and_a_neighbour_of_it() -> None:
    siege = lay_siege("sybil", 0.5, BASE, seed=5)
    (owner,) = siege.insiders.tolist()
    assert siege.outsiders.tolist() == list(range(200, 400))
    near = set(BASE.neighbours(owner).tolist())
    for sybil in siege.outsiders.tolist():
        joined = set(siege.topology.neighbours(sybil).tolist())
        assert owner in joined
        assert joined - {owner} <= near
        assert len(joined) == 2
    assert siege.topology.is_symmetric
    for node in range(200):
        old = BASE.neighbours(node).tolist()
        assert [n for n in siege.topology.neighbours(node).tolist() if n < 200] == old


def test_an_eclipse_takes_the_part_of_the_victims_hyphae_that_it_says() -> None:
    for fraction in (0.25, 0.75, 1.0):
        siege = lay_siege("eclipse", fraction, BASE, seed=5)
        assert len(siege.victims) == len(siege.outsiders) == 20
        before = sum(len(BASE.neighbours(v)) for v in siege.victims.tolist())
        left = sum((siege.topology.neighbours(v) < 200).sum() for v in siege.victims.tolist())
        # An outsider that is joined to some place in the network may happen to be joined to a victim.
        assert left / before == pytest.approx(1.0 - fraction, abs=0.12)
        assert siege.topology.is_symmetric


def test_a_total_eclipse_leaves_victims_nobody_else() -> None:
    siege = lay_siege("eclipse", 1.0, BASE, seed=5)
    outside = set(siege.outsiders.tolist())
    for victim in siege.victims.tolist():
        assert set(siege.topology.neighbours(victim).tolist()) <= outside


def test_who_is_not_a_victim_keeps_all_other_hyphae() -> None:
    siege = lay_siege("eclipse", 1.0, BASE, seed=5)
    victims = set(siege.victims.tolist())
    for node in set(range(200)) - victims:
        kept = {n for n in siege.topology.neighbours(node).tolist() if n < 200}
        assert kept == set(BASE.neighbours(node).tolist()) - victims


def test_poisoners_are_honest_until_the_last_round() -> None:
    siege = lay_siege("poisoning", 0.2, BASE, seed=5)
    assert [siege.behaves_in(turn, 3) for turn in range(3)] == [Conduct.HONEST, Conduct.HONEST, Conduct.COLLUDES]
    assert lay_siege("collusion", 0.2, BASE, seed=5).behaves_in(0, 3) is Conduct.COLLUDES


@pytest.mark.parametrize("kind", TOPOLOGIES)
@pytest.mark.parametrize("attack", ["sybil", "eclipse"])
def test_outsiders_come_into_any_topology(kind: str, attack: str) -> None:
    siege = lay_siege(attack, 0.5, TOPOLOGIES[kind](30, 1, 4), seed=2)
    assert siege.topology.node_count > 30


def test_a_node_alone_can_be_attacked() -> None:
    """Nothing to take, nobody to be joined to but the owner."""
    alone = TOPOLOGIES["ring"](1, 0, 2)
    assert lay_siege("sybil", 0.5, alone, 0).topology.node_count == 2
    assert lay_siege("eclipse", 1.0, alone, 0).topology.node_count == 2


@pytest.mark.parametrize(("attack", "fraction"), [("arson", 0.1), ("spam", 1.0), ("spam", -0.1), ("eclipse", 1.1)])
def test_what_is_no_attack_is_refused(attack: str, fraction: float) -> None:
    with pytest.raises(InvalidNetworkError):
        lay_siege(attack, fraction, BASE, 0)
