"""Evidence and stances; and attention: what a node senses when more reaches it than it can attend to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from networks import SECOND, World, examples, hyphae, worlds
from smesh_core import limits, rng
from smesh_core.network import Network
from smesh_core.rng import Stream
from smesh_core.signal import DecayCurve
from smesh_core.state import MISSED, stretches
from smesh_core.topologies import full_mesh

STEP = DecayCurve.STEP
SURE: dict[str, Any] = {"decay": STEP, "ttl_ns": 60 * SECOND, "radius": 65_535}
FAR_OUT = 4.8
engines = pytest.mark.parametrize("engine", ["numba", "numpy"])


def star(leaves: int, strength: float = 1.0) -> Any:
    return hyphae([(0, leaf, strength, 1) for leaf in range(1, leaves + 1)], leaves + 1)


def polled(engine: Any, leaves: int = 6000, *, trust: float = 0.99, seed: int = 3, **emission: Any) -> tuple[int, int]:
    """How many of so many leaves support one signal of node 0, and how many oppose it."""
    network = Network(star(leaves), engine=engine, trust=trust, seed=seed)
    network.emit(0, **{**SURE, **emission})
    network.run(60)
    assert int(network.counters().sensed.sum()) == leaves
    return int(network.counters().reinforced.sum()), int(network.counters().inhibited.sum())


def is_about(count: int, share: float, of: int) -> bool:
    return abs(count - share * of) <= FAR_OUT * math.sqrt(share * (1 - share) * of)


# ---- evidence


@engines
@pytest.mark.parametrize(
    ("trust", "confidence", "share"),
    [
        (0.99, 1.0, 1.0),  # any evidence will do
        (0.5, 1.0, 1.0),  # 0.5 + anything
        (0.01, 0.5, 0.505),  # evidence of 0.495 or more
        (0.3, 0.5, 0.65),
        (0.8, 0.5, 0.9),
    ],
)
def test_a_node_with_evidence_supports_when_that_and_trust_times_confidence_are_a_half(
    engine: Any, trust: float, confidence: float, share: float
) -> None:
    assert limits.REINFORCE_MIN == 0.5
    support, oppose = polled(engine, trust=trust, confidence=confidence, evidence=1.0)
    assert is_about(support, share, 6000)
    assert oppose == 0


@engines
@pytest.mark.parametrize(("trust", "confidence", "share"), [(0.01, 1.0, 1.0), (0.99, 0.5, 0.505), (0.7, 0.5, 0.65)])
def test_opposition_mirrors_support(engine: Any, trust: float, confidence: float, share: float) -> None:
    """Evidence against it weighs with the distrust of its origin."""
    support, oppose = polled(engine, trust=trust, confidence=confidence, counter_evidence=1.0)
    assert is_about(oppose, share, 6000)
    assert support == 0


@engines
def test_without_evidence_nobody_takes_a_stance(engine: Any) -> None:
    assert polled(engine, trust=0.99) == (0, 0)
    assert polled(engine, trust=0.01) == (0, 0)


@engines
def test_evidence_is_held_by_the_part_of_the_nodes_that_is_asked_for(engine: Any) -> None:
    support, oppose = polled(engine, trust=0.5, evidence=0.3, counter_evidence=0.6)
    assert is_about(support, 0.3, 6000)
    assert is_about(oppose, 0.6, 6000)
    support, oppose = polled(engine, trust=0.5, evidence=0.5, counter_evidence=0.5)
    assert support + oppose == 6000


@engines
def test_evidence_of_one_signal_says_nothing_of_another(engine: Any) -> None:
    network = Network(star(3000), engine=engine, trust=0.5)
    network.emit_batch([0, 0], evidence=0.4, **SURE)
    network.run(60)
    found = network.arrivals()
    found = found[found["via"] >= 0]
    stands = np.zeros((2, 3001))
    stands[found["signal"], found["node"]] = found["stance"]
    assert is_about(int((stands[0] * stands[1]).sum()), 0.16, 3000)


def evidence_of(network: Network, signal: int, node: int) -> tuple[float, float]:
    key = rng.key(network.seed, Stream.EVIDENCE, 0, signal)
    return float(rng.draw_unit(key, 2 * node)[0]), float(rng.draw_unit(key, 2 * node + 1)[0])


@engines
@pytest.mark.parametrize("side", ["evidence", "counter_evidence"])
def test_the_bound_itself_is_enough(engine: Any, side: str) -> None:
    """Trust set so that with the node's evidence it makes a half exactly, and a hair less."""
    probe = Network(star(40), seed=8)
    chosen = [node for node in range(1, 41) if 0.25 < evidence_of(probe, 0, node)[1] < 0.48]
    assert len(chosen) > 5
    stances = {}
    for is_less in (False, True):
        network = Network(star(40), engine=engine, seed=8)
        for node in chosen:
            evidence = evidence_of(probe, 0, node)[1]
            weighs = 0.5 - evidence  # exactly, as evidence is over a quarter
            trust = weighs if side == "evidence" else 1.0 - weighs
            if is_less:
                # 2^-40 is more than rounding takes, and less than any other bound would notice.
                trust += -(2.0**-40) if side == "evidence" else 2.0**-40
            else:
                assert evidence + (trust if side == "evidence" else 1.0 - trust) == 0.5
            network.set_trust(node, 0, trust)
        network.emit(0, **SURE, **{side: 1.0})
        network.run(60)
        found = network.arrivals()
        stances[is_less] = [int(found["stance"][found["node"] == node][0]) for node in chosen]
    sign = 1 if side == "evidence" else -1
    assert stances == {False: [sign] * len(chosen), True: [0] * len(chosen)}


@engines
def test_stances_need_sensing(engine: Any) -> None:
    network = Network(star(50, strength=0.1), engine=engine, threshold=0.5)
    network.emit(0, evidence=1.0, **SURE)
    network.run(60)
    assert len(network.arrivals()) == 51
    assert not network.counters().sensed.any()
    assert not network.counters().reinforced.any()


@engines
def test_a_stance_follows_the_trust_of_the_pair(engine: Any) -> None:
    network = Network(star(200), engine=engine, trust=0.01)
    network.set_trusts(np.arange(1, 101), np.zeros(100, int), 0.99)
    network.emit(0, evidence=1.0, confidence=1.0, **SURE)
    network.run(60)
    reinforced = network.counters().reinforced
    assert reinforced[1:101].sum() == 100
    assert is_about(int(reinforced[101:].sum()), 0.51, 100)


# ---- attention


def crowded(engine: Any, strengths: list[float], *, seed: int = 0, **setup: Any) -> Network:
    """Signal i from node i straight to the last node, over a hypha of that strength; all arrive in tick 1."""
    last = len(strengths)
    topology = hyphae([(node, last, strength, 1) for node, strength in enumerate(strengths)], last + 1)
    for candidate in range(seed, seed + 50):
        network = Network(topology, engine=engine, seed=candidate, **setup)
        network.emit_batch(range(last), **SURE)
        probe = Network(topology, engine="numpy", seed=candidate)
        probe.emit_batch(range(last), **SURE)
        probe.run(2)
        if len(probe.arrivals()) == 2 * last:
            return network
    raise AssertionError("no seed brings all of them there at once")


def acted(network: Network) -> list[int]:
    found = network.arrivals()
    return [int(tick) for tick in found["acted_tick"][found["via"] >= 0]]


@engines
def test_the_strongest_come_first_and_the_others_wait(engine: Any) -> None:
    network = crowded(engine, [0.5, 0.9, 0.3, 0.7], capacity=1)
    network.run(10)
    assert acted(network) == [3, 1, 4, 2]
    network = crowded(engine, [0.5, 0.9, 0.3, 0.7], capacity=3)
    network.run(10)
    assert acted(network) == [1, 1, 2, 1]


@engines
def test_of_equals_that_of_the_lowest_number_comes_first(engine: Any) -> None:
    network = crowded(engine, [0.5] * 5, capacity=2)
    network.run(10)
    assert acted(network) == [1, 1, 2, 2, 3]


@engines
def test_what_fades_under_the_threshold_while_it_waits_is_missed(engine: Any) -> None:
    last = 3
    topology = hyphae([(node, last, 1.0, 1) for node in range(last)], last + 1)
    network = Network(topology, engine=engine, seed=1, capacity=1, threshold=0.5)
    network.emit_batch(range(last), rate_per_s=0.3, radius=65_535)
    network.run(10)
    found = network.arrivals()
    found = found[found["via"] >= 0]
    # 0.9 e^-0.3 = 0.67 in tick 1, and under a half from tick 2 on.
    assert sorted(found["acted_tick"].tolist()) == [-1, -1, 1]
    signals = network.state.signals
    at, _ = stretches(signals["arrivals_at"], signals["arrivals"])
    assert int((network.state.arrivals["marks"][at] & MISSED > 0).sum()) == 2


@engines
def test_a_bounded_node_senses_at_its_threshold_too(engine: Any) -> None:
    for threshold, sensed in ((0.5 * 0.9, 2), (math.nextafter(0.5 * 0.9, 1), 0)):
        network = crowded(engine, [0.5, 0.5], capacity=1, threshold=threshold)
        network.run(10)
        assert int(network.counters().sensed.sum()) == sensed


@engines
def test_a_capacity_of_none_at_all_senses_nothing(engine: Any) -> None:
    network = crowded(engine, [1.0, 1.0], capacity=0)
    network.run(70)
    assert acted(network) == [-1, -1]
    assert int(network.state.signals["sensed"].sum()) == 0
    assert len(network.arrivals()) == 4


@engines
def test_each_node_has_a_capacity_of_its_own(engine: Any) -> None:
    topology = hyphae([(0, 1, 1.0, 1), (0, 2, 1.0, 1)], 3)
    network = Network(topology, engine=engine, capacity=[0, 0, 1])
    network.emit(0, **SURE)
    network.run(60)
    assert network.counters().sensed.tolist() == [0, 0, 1]


@engines
def test_attention_does_not_bound_what_passes_through(engine: Any) -> None:
    free, bounded = (Network(full_mesh(6), engine=engine, seed=2, capacity=bound) for bound in (None, 0))
    for network in (free, bounded):
        network.emit_batch([0, 1, 2] * 5, **SURE)
        network.run(60)
    for name in ("node", "tick", "via", "hop", "relayed", "attenuation"):
        assert free.arrivals()[name].tolist() == bounded.arrivals()[name].tolist()


@engines
def test_a_node_that_is_down_does_not_attend_and_finds_it_when_it_is_up(engine: Any) -> None:
    network = crowded(engine, [0.5, 0.9, 0.7], capacity=1)
    network.fail([3], at_tick=2)
    network.recover([3], at_tick=20)
    network.run(40)
    assert acted(network) == [21, 1, 20]


@engines
def test_unbounded_and_amply_bounded_attention_are_the_same(engine: Any) -> None:
    reports = []
    for capacity in (None, 10**6):
        network = Network(full_mesh(8), engine=engine, seed=4, capacity=capacity)
        network.emit_batch(list(range(8)) * 3, confidence=0.4, evidence=0.5, counter_evidence=0.3, radius=3)
        network.run(60)
        reports.append((network.digest(), network.arrivals().tolist(), network.verdicts()[1:]))
    assert reports[0][:2] == reports[1][:2]
    assert all((one == other).all() for one, other in zip(reports[0][2], reports[1][2], strict=True))


class Attention:
    """Who attends to what when, in plain Python, from what arrived when."""

    def __init__(self, world: World, network: Network) -> None:
        signals, found = network.state.signals, network.arrivals()
        count = world.nodes
        each = [np.broadcast_to(network.state.thresholds, count), np.broadcast_to(network.state.capacities, count)]
        thresholds, capacities = (column.tolist() for column in each)
        waiting = [dict(zip(found.dtype.names, arrival, strict=True)) for arrival in found[found["via"] >= 0].tolist()]
        self.acted: dict[tuple[int, int], int] = {}
        for tick in range(world.ticks):
            down = self.down(world, tick)
            for node in range(count):
                felt = []
                for arrival in [a for a in waiting if a["node"] == node and a["tick"] <= tick]:
                    row = signals[arrival["signal"]]
                    age = tick - int(row["born"])
                    if age < row["life"]:
                        left = float(network.state.intensities[row["decay"] + age]) * arrival["attenuation"]
                        if left >= thresholds[node]:
                            felt.append((-left, arrival["signal"], arrival))
                            continue
                    waiting.remove(arrival)
                if node not in down:
                    for _, signal, arrival in sorted(felt, key=lambda one: one[:2])[: capacities[node]]:
                        self.acted[signal, node] = tick
                        waiting.remove(arrival)

    def down(self, world: World, tick: int) -> set[int]:
        nodes: set[int] = set()
        for when, name, argument, *_ in sorted(world.events, key=lambda event: event[0]):
            if when <= tick and name == "fail":
                nodes |= set(argument)
            elif when <= tick and name == "recover":
                nodes -= set(argument)
        return nodes


@engines
@examples(80)
@given(world=worlds(is_bounded=True, threshold_min=0.01, signals_max=10, nodes_max=5))
def test_attention_is_what_the_naive_model_says(engine: str, world: World) -> None:
    network = world.ran(engine)
    model, found = Attention(world, network), network.arrivals()
    sensed = found[found["is_sensed"]]
    named = zip(sensed["signal"].tolist(), sensed["node"].tolist(), strict=True)
    assert dict(zip(named, sensed["acted_tick"].tolist(), strict=True)) == model.acted


@engines
@examples(40)
@given(world=worlds(is_bounded=True, has_conduct=False))
def test_a_stance_is_the_same_whenever_it_is_taken(engine: str, world: World) -> None:
    """What evidence a node holds does not depend on when it gets to it."""
    bounded, free = world.ran(engine), world.ran(engine, capacity=None, threshold=0.0)
    found, all_of_it = bounded.arrivals(), free.arrivals()
    assert found[["signal", "tick", "node"]].tolist() == all_of_it[["signal", "tick", "node"]].tolist()
    sensed = found["is_sensed"]
    assert found["stance"][sensed].tolist() == all_of_it["stance"][sensed].tolist()
    assert not found["stance"][~sensed].any()


@engines
def test_nothing_is_sensed_after_the_end_even_with_a_threshold_of_zero(engine: Any) -> None:
    network = Network(full_mesh(2), engine=engine, threshold=0.0, capacity=1)
    network.emit_batch([0] * 6, **{**SURE, "ttl_ns": 4 * SECOND})
    network.run(20)
    assert max(acted(network)) < 4
