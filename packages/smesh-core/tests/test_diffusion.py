"""Spatial diffusion, sentence by sentence of the plan: who a signal reaches, over how many hops, and how strong.

Where chance must not matter, signals are made nearly certain to be relayed at once (a huge radius, full confidence and
trust: 99 times in 100 a hop), many are emitted, and those that went straight are looked at.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from networks import SECOND, ages_of, chain, hyphae, said_by
from smesh_core import limits
from smesh_core.network import Network
from smesh_core.signal import DecayCurve
from smesh_core.topologies import full_mesh, ring
from smesh_core.topology_edges import from_edges

STEP = DecayCurve.STEP
SURE: dict[str, Any] = {"decay": STEP, "ttl_ns": 300 * SECOND, "radius": 65_535}
pytestmark = pytest.mark.parametrize("engine", ["numba", "numpy"])


def flooded(topology: Any, engine: Any, *, signals: int = 50, ticks: int = 300, **setup: Any) -> Network:
    """Signals from node 0 that have had all the time they need."""
    network = Network(topology, engine=engine, trust=setup.pop("trust", 0.99), **setup)
    network.emit_batch([0] * signals, **SURE)
    network.run(ticks)
    return network


def at_node(network: Network, node: int) -> np.ndarray:
    found = network.arrivals()
    return found[found["node"] == node]


# ---- hop distance


def test_hops_are_those_of_the_path_and_not_ticks(engine: Any) -> None:
    network = flooded(chain(5, latency=7), engine)
    for node in range(5):
        found = at_node(network, node)
        assert len(found) == 50
        assert set(found["hop"].tolist()) == {node}
        assert found["tick"].min() == 7 * node


def test_hops_are_those_of_the_copy_that_came_first(engine: Any) -> None:
    """Round by three fast hyphae, or straight by a slow one; what comes later changes nothing."""
    round_about = [(0, 1, 1.0, 1), (1, 2, 1.0, 1), (2, 3, 1.0, 1)]
    network = flooded(hyphae([*round_about, (0, 3, 1.0, 10)], 4), engine, signals=200)
    found = at_node(network, 3)
    assert set(found["hop"][found["tick"] < 10].tolist()) == {3}
    assert len(found) == 200
    assert int(network.state.signals["copies"].sum()) == 4 * 200
    slow = flooded(hyphae([*round_about, (0, 3, 1.0, 2)], 4), engine, signals=200)
    assert set(at_node(slow, 3)["hop"][at_node(slow, 3)["tick"] == 2].tolist()) == {1}


def test_a_later_stronger_copy_changes_nothing(engine: Any) -> None:
    edges = [(0, 1, 0.5, 1), (0, 2, 1.0, 1), (2, 1, 1.0, 1)]
    network = flooded(hyphae(edges, 3), engine, signals=200)
    found = at_node(network, 1)
    early = found[found["tick"] == 1]
    assert len(early) > 150
    assert set(early["via"].tolist()) == {0}
    assert set(early["attenuation"].tolist()) == {0.5 * 0.9}


# ---- attenuation


def test_attenuation_is_the_product_of_strengths_and_dampening(engine: Any) -> None:
    edges = [(0, 1, 0.5, 1), (1, 2, 0.8, 1), (2, 3, 0.25, 1)]
    network = flooded(hyphae(edges, 4), engine, trust=0.5)
    expected = [1.0, 0.5 * 0.9, 0.5 * 0.9 * 0.8 * 0.7, 0.5 * 0.9 * 0.8 * 0.7 * 0.25 * 0.7]
    for node in range(4):
        assert at_node(network, node)["attenuation"].tolist() == pytest.approx([expected[node]] * 50, rel=1e-15)


@pytest.mark.parametrize(
    ("trust", "dampening"),
    [(0.01, 0.7), (0.5, 0.7), (0.7, 0.7), (math.nextafter(0.7, 1), 0.9), (0.99, 0.9)],
)
def test_dampening_is_slight_where_the_relayer_trusts_the_origin_above_the_bound(
    engine: Any, trust: float, dampening: float
) -> None:
    for network in (
        flooded(chain(3), engine, trust=trust, signals=200),
        paired(chain(3), engine, {(1, 0): trust}),
    ):
        assert set(at_node(network, 1)["attenuation"].tolist()) == {0.9}
        assert set(at_node(network, 2)["attenuation"].tolist()) == {0.9 * dampening}


def paired(topology: Any, engine: Any, trusts: dict[tuple[int, int], float], **setup: Any) -> Network:
    network = Network(topology, engine=engine, trust=setup.pop("trust", 0.5), **setup)
    for (observer, origin), trust in trusts.items():
        network.set_trust(observer, origin, trust)
    network.emit_batch([0] * 200, **SURE)
    network.run(300)
    return network


def test_it_is_the_relayer_that_trusts_and_the_origin_that_is_trusted(engine: Any) -> None:
    """Neither what the receiver thinks, nor what is thought of the relayer, counts for attenuation."""
    misled = {(0, 1): 0.99, (2, 0): 0.99, (2, 1): 0.99, (0, 2): 0.99, (1, 2): 0.99}
    network = paired(chain(3), engine, misled)
    assert set(at_node(network, 2)["attenuation"].tolist()) == {0.9 * 0.7}


def test_the_origin_trusts_itself_whatever_is_set(engine: Any) -> None:
    network = paired(chain(2), engine, {(0, 0): 0.01}, trust=0.01)
    assert set(at_node(network, 1)["attenuation"].tolist()) == {0.9}
    assert np.mean(ages_of(network) == 1) > 0.9


def test_trust_is_that_of_the_origin_by_node(engine: Any) -> None:
    """Nodes' `trust` is what the others think of them as origins."""
    topology = from_edges([[0, 1], [1, 2], [3, 4], [4, 5]], nodes=6, directed=True)
    network = Network(topology, engine=engine, trust=[0.9, 0.01, 0.01, 0.3, 0.99, 0.99])
    network.emit_batch([0, 3] * 100, **{**SURE, "ttl_ns": 2000 * SECOND})
    network.run(2000)
    assert set(at_node(network, 2)["attenuation"].tolist()) == {0.9 * 0.9}
    assert set(at_node(network, 5)["attenuation"].tolist()) == {0.9 * 0.7}


# ---- sensing


@pytest.mark.parametrize("strength", [1.0, 0.3, 0.1])
def test_a_node_senses_at_its_threshold_and_not_under_it(engine: Any, strength: float) -> None:
    felt = 0.6 * (strength * 0.9)
    thresholds = [0.0, felt, math.nextafter(felt, 1), math.nextafter(felt, 0)]
    star = hyphae([(0, node, strength, 1) for node in range(1, 4)], 4)
    network = Network(star, engine=engine, threshold=thresholds)
    network.emit_batch([0] * 50, intensity=0.6, **SURE)
    network.run(300)
    assert [int(sensed) for sensed in network.counters().sensed] == [0, 50, 0, 50]


def test_what_is_felt_is_the_intensity_at_arrival_times_attenuation(engine: Any) -> None:
    """Fading signals are sensed by those that they reach in time, and by nobody later."""
    network = Network(chain(2), engine=engine, threshold=0.2)
    network.emit_batch([0] * 3000, confidence=0.2, rate_per_s=0.1, radius=1)
    network.run(60)
    found = at_node(network, 1)
    felt = np.exp(-0.1 * found["tick"]) * 0.9
    assert found["is_sensed"].tolist() == (felt >= 0.2).tolist()
    assert 0 < found["is_sensed"].sum() < len(found)
    assert found["acted_tick"].tolist() == np.where(felt >= 0.2, found["tick"], -1).tolist()


def test_the_origin_does_not_sense_its_own(engine: Any) -> None:
    network = flooded(ring(4), engine)
    assert not at_node(network, 0)["is_sensed"].any()
    assert set(at_node(network, 0)["stance"].tolist()) == {0}


def test_the_default_threshold_is_a_tenth(engine: Any) -> None:
    assert set(Network(ring(3), engine=engine).state.thresholds.tolist()) == {0.1}


# ---- radius, latency, life


@pytest.mark.parametrize("radius", [0, 1, 2, 5, 6])
def test_radius_bounds_hops(engine: Any, radius: int) -> None:
    network = Network(chain(7), engine=engine, trust=0.99)
    network.emit_batch([0] * 100, decay=STEP, ttl_ns=2000 * SECOND, radius=radius)
    network.run(2000)
    found = network.arrivals()
    assert found["hop"].max() == radius
    assert len(found) == 100 * (radius + 1)


def test_latency_delays(engine: Any) -> None:
    topology = hyphae([(0, 1, 1.0, 5), (0, 2, 1.0, 1), (2, 3, 1.0, 20)], 4)
    network = flooded(topology, engine, signals=300)
    for node, first in ((1, 5), (2, 1), (3, 21)):
        ages = at_node(network, node)["tick"]
        assert len(ages) == 300
        assert ages.min() == first
        assert np.mean(ages == first) > 0.9


@pytest.mark.parametrize(("latency", "arrives"), [(1, True), (9, True), (10, False), (11, False), (65_535, False)])
def test_a_copy_that_would_arrive_after_the_end_does_not(engine: Any, latency: int, arrives: bool) -> None:
    network = Network(chain(2, latency=latency), engine=engine)
    network.emit_batch([0] * 200, **{**SURE, "ttl_ns": 10 * SECOND})
    network.run(50)
    assert (len(at_node(network, 1)) > 150) == arrives
    assert bool(len(at_node(network, 1))) == arrives
    assert int(network.state.signals["copies"].sum()) == len(at_node(network, 1))


@pytest.mark.parametrize(
    ("curve", "settings", "ticks"),
    [
        (DecayCurve.EXPONENTIAL, {"rate_per_s": 0.1}, 47),  # e^-4.6 is over a hundredth, e^-4.7 is not
        (DecayCurve.EXPONENTIAL, {"rate_per_s": 0.0}, 60),
        (DecayCurve.EXPONENTIAL, {"rate_per_s": 1e6}, 1),
        (DecayCurve.LINEAR, {}, 60),  # one sixtieth is left in the last tick
        (DecayCurve.LINEAR, {"intensity": 0.5}, 59),
        (DecayCurve.SIGMOID, {"rate_per_s": 1.0}, 35),  # 1 / (1 + e^4) is over a hundredth, 1 / (1 + e^5) is not
        (DecayCurve.STEP, {}, 60),
        (DecayCurve.STEP, {"ttl_ns": 60 * SECOND + 1}, 61),
        (DecayCurve.STEP, {"ttl_ns": 60 * SECOND - 1}, 60),
        (DecayCurve.STEP, {"ttl_ns": 1}, 1),
        (DecayCurve.STEP, {"intensity": 0.01}, 60),
        (DecayCurve.STEP, {"intensity": math.nextafter(0.01, 0)}, 0),
        (DecayCurve.STEP, {"intensity": 0.0}, 0),
    ],
)
def test_a_signal_lives_until_its_end_or_until_it_fades(
    engine: Any, curve: DecayCurve, settings: dict[str, Any], ticks: int
) -> None:
    """Copies arrive while I(t) is a hundredth or more and t is under the ttl, and not in the tick after."""
    network = Network(full_mesh(2), engine=engine)
    network.emit_batch([0] * 4000, decay=curve, confidence=0.03, radius=9, **settings)
    assert set(network.state.signals["life"].tolist()) == {ticks}
    network.run(max(1, ticks))
    assert not network.values().any()
    if ticks > 1:
        assert ages_of(network).max() <= ticks - 1
    before = {**said_by(network), "tick": 0, "coverage": 0, "digest": 0}
    network.run(100)
    assert {**said_by(network), "tick": 0, "coverage": 0, "digest": 0} == before


@pytest.mark.parametrize(("curve", "ticks"), [(STEP, 60), (DecayCurve.EXPONENTIAL, 47)])
def test_a_signal_is_there_to_its_last_tick(engine: Any, curve: DecayCurve, ticks: int) -> None:
    network = Network(full_mesh(2), engine=engine)
    network.emit_batch([0] * 4000, decay=curve, confidence=0.03, rate_per_s=0.1)
    network.run(ticks - 1)
    assert (network.values() > 0).all()
    network.run(1)
    if curve is STEP:
        assert ages_of(network).max() == ticks - 1


def test_ticks_count_simulated_time(engine: Any) -> None:
    half = Network(full_mesh(2), engine=engine, tick_ns=SECOND // 2)
    half.emit_batch([0] * 10, rate_per_s=0.1)
    assert set(half.state.signals["life"].tolist()) == {93}
    assert half.values().tolist() == [1.0] * 10
    half.run(5)
    alone = half.values()[[not len(at_node(half, 1)[at_node(half, 1)["signal"] == s]) for s in range(10)]]
    assert alone.tolist() == pytest.approx([math.exp(-0.25)] * len(alone))


# ---- one copy is kept


def straight(topology: Any, engine: Any, ticks: int, copies: int) -> np.ndarray:
    """Arrivals, at the highest node, of signals whose copies have all arrived by the tick they can first do so."""
    network = Network(topology, engine=engine, trust=0.99)
    network.emit_batch([0] * 300, **SURE)
    network.run(ticks + 1)
    found = at_node(network, topology.node_count - 1)
    found = found[network.state.signals["copies"][found["signal"]] == copies]
    assert len(found) > 200
    assert set(found["tick"].tolist()) == {ticks}
    return found


@pytest.mark.parametrize(("by_one", "by_two", "kept"), [(0.5, 0.6, 2), (0.6, 0.5, 1), (0.5, 0.5, 1)])
def test_of_one_tick_the_strongest_is_kept_then_that_of_the_lowest_node(
    engine: Any, by_one: float, by_two: float, kept: int
) -> None:
    edges = [(0, 1, 1.0, 1), (0, 2, 1.0, 1), (1, 3, by_one, 1), (2, 3, by_two, 1)]
    found = straight(hyphae(edges, 4), engine, 2, 4)
    assert set(found["via"].tolist()) == {kept}
    assert found["attenuation"].tolist() == pytest.approx([0.81 * max(by_one, by_two)] * len(found))


@pytest.mark.parametrize(("strength", "hop"), [(0.9, 1), (math.nextafter(0.9, 0), 2), (1.0, 1)])
def test_of_equally_strong_ones_that_of_fewer_hops_is_kept(engine: Any, strength: float, hop: int) -> None:
    """Straight with a latency of 2, or round by two hyphae; a strength of 0.9 weakens as much as one more hop."""
    round_about = [(0, 1, 1.0, 1), (1, 2, 1.0, 1)]
    found = straight(hyphae([*round_about, (0, 2, strength, 2)], 3), engine, 2, 3)
    assert set(found["hop"].tolist()) == {hop}


def test_fewer_hops_count_before_lower_nodes(engine: Any) -> None:
    """Two copies of 0.81: straight from node 2, the origin, and after two hops from node 0."""
    edges = [(2, 0, 1.0, 1), (0, 3, 1.0, 1), (2, 3, 0.9, 2)]
    network = Network(hyphae(edges, 4), engine=engine, trust=0.99)
    network.emit_batch([2] * 300, **SURE)
    network.run(3)
    found = at_node(network, 3)
    found = found[network.state.signals["copies"][found["signal"]] == 3]
    assert len(found) > 200
    assert set(found["via"].tolist()) == {2}


def test_of_three_the_best_is_kept_in_any_order(engine: Any) -> None:
    for strengths in ((0.3, 0.5, 0.4), (0.5, 0.3, 0.4), (0.3, 0.4, 0.5), (0.4, 0.4, 0.3)):
        edges = [(0, node, 1.0, 1) for node in (1, 2, 3)]
        edges += [(node, 4, strength, 1) for node, strength in zip((1, 2, 3), strengths, strict=True)]
        found = straight(hyphae(edges, 5), engine, 2, 6)
        assert set(found["via"].tolist()) == {1 + strengths.index(max(strengths))}


# ---- relaying


def test_a_node_does_not_send_back_where_the_signal_came_from(engine: Any) -> None:
    pair = flooded(full_mesh(2), engine)
    assert int(pair.state.signals["copies"].sum()) == 50
    assert pair.counters().relayed.tolist() == [50, 0]
    triangle = flooded(full_mesh(3), engine)
    assert triangle.state.signals["copies"].tolist() == [4] * 50
    line = flooded(from_edges([[0, 1], [1, 2]]), engine)
    assert line.counters().relayed.tolist() == [50, 50, 0]


def test_a_hypha_carries_a_signal_once(engine: Any) -> None:
    """In the end every hypha but those back has carried one copy, and no more."""
    topology = full_mesh(6)
    network = flooded(topology, engine)
    assert network.state.signals["copies"].tolist() == [topology.hypha_count - 5] * 50


def test_a_hypha_is_asked_again_until_it_relays(engine: Any) -> None:
    """One time in fifty, asked 600 times: hardly a signal stays, though after 64 ticks a quarter still has."""
    network = Network(chain(2), engine=engine)
    network.emit_batch([0] * 300, confidence=0.02, **{**SURE, "ttl_ns": 600 * SECOND})
    network.run(65)
    assert 50 < 300 - len(at_node(network, 1)) < 130
    network.run(535)
    assert len(at_node(network, 1)) >= 299
    assert ages_of(network).max() > 128


def test_nothing_without_confidence_crosses(engine: Any) -> None:
    network = Network(full_mesh(5), engine=engine)
    network.emit_batch([0, 1, 2] * 20, confidence=0.0, **SURE)
    network.run(400)
    assert len(network.arrivals()) == 60
    assert not network.state.signals["copies"].any()


def test_directed_hyphae_lead_one_way(engine: Any) -> None:
    network = Network(chain(3), engine=engine, trust=0.99)
    network.emit_batch([2] * 20, **SURE)
    network.emit_batch([1] * 20, **SURE)
    network.run(200)
    assert set(at_node(network, 0)["node"].tolist()) == set()
    assert len(at_node(network, 2)) == 40


def test_nodes_without_hyphae_keep_to_themselves(engine: Any) -> None:
    network = Network(hyphae([(0, 1, 1.0, 1)], 3), engine=engine)
    network.emit_batch([2, 0], **SURE)
    network.run(200)
    assert [(int(a["signal"]), int(a["node"])) for a in network.arrivals()] == [(0, 2), (1, 0), (1, 1)]


def test_a_single_node(engine: Any) -> None:
    network = Network(ring(1), engine=engine)
    network.emit(0)
    network.run(5)
    assert network.coverage_by_tick().tolist() == [1.0] * 5
    assert network.arrivals()["node"].tolist() == [0]


# ---- a signal from the future


def test_a_signal_from_the_future_does_nothing_yet(engine: Any) -> None:
    network = Network(full_mesh(3), engine=engine, trust=0.99)
    network.emit_batch([0] * 50, at_tick=10, evidence=1.0, **SURE)
    network.run(10)
    assert len(network.arrivals()) == 0
    assert network.counters().emitted.tolist() == [0, 0, 0]
    assert network.coverage_by_tick().tolist() == [0.0] * 10
    assert not network.state.signals["copies"].any()
    network.run(1)
    found = network.arrivals()
    assert found["tick"].tolist() == [10] * 50
    network.run(1)
    found = at_node(network, 1)
    assert len(found) > 40
    assert set(found["tick"].tolist()) == {11}


def test_age_counts_from_birth(engine: Any) -> None:
    """What a signal does depends on its age, its number and the tick; not on when the network began."""
    network = Network(chain(2), engine=engine, threshold=0.0)
    network.emit_batch([0] * 200, at_tick=1000, rate_per_s=1.0, ttl_ns=3 * SECOND)
    network.run(2000)
    assert set(network.arrivals()["tick"].tolist()) <= {1000, 1001, 1002}
    assert ages_of(network).max() <= 2


def test_reach_stays_sparse(engine: Any) -> None:
    """A signal that reaches ten of a million nodes has ten arrivals."""
    network = Network(ring(1_000_000), engine=engine)
    network.emit(500_000, **{**SURE, "radius": 5})
    network.run(3 if engine == "numpy" else 60)
    assert len(network.arrivals()) <= 11
    assert network.state.used["arrivals"] < 10_000
    assert limits.RADIUS_HOPS_DEFAULT == 5
