"""What is read from a network: the same values and verdicts as from a field with its signals and stances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import SECOND, World, examples, hyphae, worlds
from smesh_core import EVERYONE, ConsensusState, DecayCurve, Field, Observer, Quorum, Signal, node_id
from smesh_core.consensus import LogOdds, Majority
from smesh_core.engine import default_engine
from smesh_core.network import Network
from smesh_core.survey import node_id_of
from smesh_core.topologies import full_mesh, ring

STEP = DecayCurve.STEP
OPEN, REACHED, REJECTED = ConsensusState
engines = pytest.mark.parametrize("engine", ["numba", "numpy"])
SURE: dict[str, Any] = {"decay": STEP, "ttl_ns": 60 * SECOND, "radius": 65_535}


class Mirror:
    """A real field that is told, tick by tick, what the nodes of a network said and did."""

    def __init__(self, world: World, network: Network) -> None:
        self.network, self.ids = network, [node_id(f"node-{node}") for node in range(world.nodes)]
        self.field = Field()
        lineages = world.setup.get("lineages")
        self.observer = EVERYONE
        if lineages is not None:
            names = {node: f"lineage-{lineage}" for node, lineage in zip(self.ids, lineages, strict=True)}
            self.observer = Observer(roster=names)
        self.refs = [
            self.field.emit(
                Signal(
                    author=self.ids[emission["node"]],
                    seq=number + 1,
                    created_at_ns=emission["at_tick"] * network.tick_ns,
                    ttl_ns=emission["ttl_ns"],
                    intensity=emission["intensity"],
                    confidence=emission["confidence"],
                    decay=emission["decay"],
                    rate_per_s=emission["rate_per_s"],
                    radius=emission["radius"],
                )
            )
            for number, emission in enumerate(world.emissions)
        ]

    def hear(self, network: Network) -> None:
        """Take in the stances of the tick that has just passed."""
        tick = network.tick - 1
        for arrival in network.arrivals():
            if arrival["stance"] and arrival["acted_tick"] == tick:
                take = self.field.reinforce if arrival["stance"] > 0 else self.field.inhibit
                take(
                    self.refs[arrival["signal"]],
                    by=self.ids[arrival["node"]],
                    now_ns=tick * network.tick_ns,
                )

    def agrees(self) -> int:
        """How many signals were live, and had the same value and verdict both ways."""
        network, compared = self.network, 0
        now_ns, values, verdicts = network.tick * network.tick_ns, network.values(), network.verdicts()
        for number, ref in enumerate(self.refs):
            born = int(network.state.signals["born"][number])
            if born > network.tick:
                assert values[number] == 0.0
                continue
            value = self.field.value(ref, now_ns, self.observer)
            assert values[number] == pytest.approx(value, rel=0, abs=1e-12), number
            if self.is_said(ref, now_ns):
                verdict = self.field.verdict(ref, now_ns, self.observer, network.quorum)
                assert verdicts.states[number] is verdict.state, number
                assert verdicts.support[number] == pytest.approx(verdict.support, rel=0, abs=1e-12)
                assert verdicts.oppose[number] == pytest.approx(verdict.oppose, rel=0, abs=1e-12)
                compared += 1
        return compared

    def is_said(self, ref: Any, now_ns: int) -> bool:
        return bool(self.field.read(ref, now_ns).emissions)


def test_the_mirror_is_not_blind() -> None:
    """The comparison below sees stances of both kinds, lineages, and values that are not only intensities."""
    world = World(
        nodes=8,
        edges=tuple((u, v, 1.0, 1) for u in range(8) for v in range(8) if u != v),
        setup={"seed": 8, "lineages": [0, 0, 1, 1, 2, 2, 3, 3], "trust": 0.4},
        pairs=(),
        emissions=tuple(
            {
                "node": node,
                "confidence": 0.3 + 0.05 * node,
                "intensity": 1.0,
                "decay": DecayCurve(node % 4),
                "rate_per_s": 0.05,
                "ttl_ns": 50 * SECOND,
                "radius": 4,
                "evidence": 0.5,
                "counter_evidence": 0.5,
                "at_tick": node,
            }
            for node in range(8)
        ),
        events=(),
        ticks=30,
    )
    network = world.emitted("numpy")
    mirror, compared = Mirror(world, network), 0
    for _ in range(30):
        network.run(1)
        mirror.hear(network)
        compared += mirror.agrees()
    stances = network.arrivals()["stance"]
    assert (stances > 0).sum() > 10
    assert (stances < 0).sum() > 5
    assert compared > 100
    assert len(set(network.verdicts().states)) > 1
    assert len({float(support) for support in network.verdicts().support}) > 3


@engines
@examples(60)
@given(world=worlds(ticks_max=20))
def test_values_and_verdicts_are_those_of_a_field(engine: str, world: World) -> None:
    network = world.emitted(engine)
    mirror = Mirror(world, network)
    mirror.agrees()
    for _ in range(world.ticks):
        network.run(1)
        mirror.hear(network)
        mirror.agrees()


@engines
@examples(60)
@given(world=worlds(ticks_max=20))
def test_the_first_ticks_of_consensus_are_those_in_which_it_is_first_read(engine: str, world: World) -> None:
    network = world.emitted(engine)
    first: dict[ConsensusState, list[int]] = {state: [-1] * network.signal_count for state in (REACHED, REJECTED)}

    def look(network: Network) -> None:
        has_begun = (network.state.signals["born"] < network.tick).tolist()
        for number, state in enumerate(network.verdicts().states):
            if state is not OPEN and has_begun[number] and first[state][number] < 0:
                first[state][number] = network.tick - 1

    network.run(world.ticks, on_tick=look)
    assert network.verdicts().reached_tick.tolist() == first[REACHED]
    assert network.verdicts().rejected_tick.tolist() == first[REJECTED]


@examples(60)
@given(world=worlds(ticks_max=20), data=st.data())
def test_an_observer_reads_a_network_as_it_reads_a_field(world: World, data: Any) -> None:
    """With a roster that has not everybody on it, trust in some, a vote of the unknown, and another policy."""
    network = world.emitted("numpy")
    mirror = Mirror(world, network)
    mirror.ids = [node_id_of(node) for node in range(world.nodes)]
    mirror.field = Field()
    mirror.refs = [
        mirror.field.emit(
            Signal(author=mirror.ids[emission["node"]], seq=number + 1, created_at_ns=0, decay=STEP, ttl_ns=10**15)
        )
        for number, emission in enumerate(world.emissions)
    ]
    some = st.sampled_from(mirror.ids)
    observer = Observer(
        roster=data.draw(st.dictionaries(some, st.sampled_from(["", "a", "b"]))),
        trust=data.draw(st.dictionaries(some, st.floats(0.0, 1.0))),
        unknown_vote=data.draw(st.sampled_from([0.0, 0.5, 1.0])),
    )
    policy = data.draw(st.sampled_from([Quorum(weight=1.5, lineages=1), Quorum(), LogOdds(), Majority()]))
    for _ in range(world.ticks):
        network.run(1)
        mirror.hear(network)
    read, now_ns = network.verdicts(observer, policy), network.tick * network.tick_ns
    for number, ref in enumerate(mirror.refs):
        signal = network.state.signals[number]
        if signal["born"] < network.tick and signal["life"]:
            verdict = mirror.field.verdict(ref, now_ns, observer, policy)
            assert (read.states[number], read.support[number], read.oppose[number]) == (
                verdict.state,
                verdict.support,
                verdict.oppose,
            )


# ---- lineages, quorum


def state_of(engine: Any, stances: dict[int, int], **setup: Any) -> tuple[str, float, float]:
    """What is read of a signal of node 0 in a mesh in which these nodes support (1) or oppose (-1) it, and no others.

    Which do is drawn, so many signals are emitted, and one is looked for that the draws have fallen so for.
    """
    network = Network(full_mesh(5), engine=engine, threshold=0.0, **setup)
    network.emit_batch([0] * 2000, evidence=0.4, counter_evidence=0.4, **SURE)
    network.run(60)
    found, wanted = network.arrivals(), np.zeros(5)
    stands = np.zeros((2000, 5))
    stands[found["signal"], found["node"]] = found["stance"]
    wanted[list(stances)] = list(stances.values())
    drawn = np.flatnonzero((stands == wanted).all(axis=1))
    verdicts = network.verdicts()
    (read,) = {
        (verdicts.states[signal].value, float(verdicts.support[signal]), float(verdicts.oppose[signal]))
        for signal in drawn.tolist()
    }
    return read


@pytest.mark.parametrize(
    ("stances", "lineages", "expected"),
    [
        ({}, None, ("open", 1, 0)),
        ({1: 1}, None, ("reached", 2, 0)),
        ({1: -1}, None, ("open", 1, 1)),
        ({1: -1, 2: -1}, None, ("rejected", 1, 2)),
        ({1: 1, 2: -1, 3: -1}, None, ("open", 2, 2)),
        ({1: 1, 2: 1}, [0, 0, 0, 1, 2], ("open", 1, 0)),
        ({1: 1, 2: 1}, [0, 0, 1, 1, 2], ("reached", 2, 0)),
        ({3: 1, 4: 1}, [0, 0, 0, 1, 1], ("reached", 2, 0)),
        ({1: -1, 2: -1}, [0, 1, 1, 1, 2], ("open", 1, 1)),
        ({1: -1, 2: -1}, [0, 1, 2, 1, 2], ("rejected", 1, 2)),
        ({1: 1, 2: -1}, [0, 1, 1, 2, 3], ("open", 1.5, 0.5)),  # divided, a lineage is nobody's second
        ({1: -1}, [0, 0, 1, 2, 3], ("open", 0.5, 0.5)),
        ({1: 1, 2: -1, 3: 1}, [7, 5, 5, 3, 1], ("reached", 2.5, 0.5)),
    ],
)
def test_lineages_count_once_and_split_when_divided(
    stances: dict[int, int], lineages: list[int] | None, expected: tuple[str, float, float]
) -> None:
    assert state_of(default_engine(), stances, lineages=lineages) == expected


@engines
def test_a_quorum_needs_two_lineages_and_its_weight(engine: Any) -> None:
    one = {"lineages": [0] * 5, "quorum": Quorum(weight=1.0)}
    assert state_of(engine, {1: 1, 2: 1}, **one)[0] == "open"
    assert state_of(engine, {1: 1}, quorum=Quorum(weight=3.0))[0] == "open"
    assert state_of(engine, {1: 1, 2: 1}, quorum=Quorum(weight=3.0))[0] == "reached"
    assert state_of(engine, {1: 1, 2: 1}, quorum=Quorum(weight=2.0, lineages=4))[0] == "open"
    assert state_of(engine, {1: -1, 2: -1}, quorum=Quorum(weight=2.0, lineages=3))[0] == "open"


@engines
@pytest.mark.parametrize("lineages", [None, list(range(40))])
def test_consensus_is_not_latched(engine: Any, lineages: list[int] | None) -> None:
    """Early supporters reach it; when as many oppose it later it is open again, or rejected, and both are on record."""
    topology = hyphae([(0, node, 1.0, node) for node in range(1, 40)], 40)
    moved = 0
    for seed in range(30):
        network = Network(topology, engine=engine, seed=seed, lineages=lineages)
        network.emit(0, evidence=0.35, counter_evidence=0.6, **SURE)
        seen: list[ConsensusState] = []
        network.run(60, on_tick=lambda network, seen=seen: seen.append(network.verdicts().states[0]))
        reached, rejected = (int(ticks[0]) for ticks in network.verdicts()[3:])
        assert (reached >= 0) == (REACHED in seen)
        assert (rejected >= 0) == (REJECTED in seen)
        if reached >= 0 and network.verdicts().states[0] is not REACHED:
            assert seen[reached] is REACHED
            assert REACHED not in seen[:reached]
            moved += 1
    assert moved > 3


@engines
def test_nobody_has_reached_consensus_about_what_is_not_said_yet(engine: Any) -> None:
    network = Network(ring(4), engine=engine, quorum=Quorum(weight=1.0, lineages=1), lineages=[0, 1, 2, 3])
    network.emit(0, at_tick=10)
    network.run(3)
    assert network.verdicts().reached_tick.tolist() == [-1]
    assert network.verdicts().states == [OPEN]


# ---- tables


@engines
def test_arrivals_are_sorted_by_signal_tick_and_node(engine: Any) -> None:
    network = Network(full_mesh(9), engine=engine, seed=4)
    network.emit_batch([3, 1, 8], confidence=0.4)
    network.run(30, threads=2)
    found = network.arrivals()
    rows = list(zip(found["signal"].tolist(), found["tick"].tolist(), found["node"].tolist(), strict=True))
    assert rows == sorted(rows)
    assert len(set(rows)) == len(rows) > 20


@engines
def test_counters_say_what_each_node_did(engine: Any) -> None:
    network = Network(full_mesh(6), engine=engine, seed=4, trust=0.5)
    network.emit_batch([0, 0, 5], evidence=0.5, counter_evidence=0.5)
    network.emit(1, at_tick=100)
    network.run(30)
    found, counters = network.arrivals(), network.counters()
    assert counters.emitted.tolist() == [2, 0, 0, 0, 0, 1]
    for node in range(6):
        mine = found[found["node"] == node]
        assert counters.sensed[node] == mine["is_sensed"].sum()
        assert counters.reinforced[node] == (mine["stance"] == 1).sum()
        assert counters.inhibited[node] == (mine["stance"] == -1).sum()
        assert counters.relayed[node] == mine["relayed"].sum()
    assert counters.reinforced.sum() > 0
    assert counters.inhibited.sum() > 0
    assert all(column.shape == (6,) for column in counters)


@engines
def test_coverage_is_of_all_pairs_by_the_end_of_each_tick(engine: Any) -> None:
    network = Network(hyphae([(0, 1, 1.0, 3)], 4), engine=engine)
    network.emit_batch([0, 2], at_tick=[0, 4], **SURE)
    network.run(60)
    found = network.arrivals()
    (across,) = found["tick"][found["node"] == 1].tolist()
    expected = [(1 + (tick >= 4) + (tick >= across)) / 8 for tick in range(60)]
    assert network.coverage_by_tick().tolist() == expected


@engines
def test_an_empty_network_reads_empty(engine: Any) -> None:
    network = Network(ring(3), engine=engine)
    assert network.coverage_by_tick().tolist() == []
    network.run(4)
    assert network.coverage_by_tick().tolist() == [0.0] * 4
    assert len(network.arrivals()) == 0
    assert network.values().tolist() == []
    assert network.verdicts().states == []
    assert network.counters().emitted.tolist() == [0, 0, 0]


# ---- digest


@examples(60)
@given(world=worlds(), data=st.data())
def test_digests_differ_where_networks_do(world: World, data: st.DataObject) -> None:
    """Two runs that read differently have different digests."""
    other = data.draw(worlds())
    one, two = world.ran("numpy"), other.ran("numpy")
    if one.arrivals().tolist() != two.arrivals().tolist():
        assert one.digest() != two.digest()


@engines
def test_a_digest_hangs_on_the_tick_the_seed_and_what_is_held(engine: Any) -> None:
    def digest(*, seed: int = 0, ticks: int = 5, nodes: int = 6, down: bool = False, **emission: Any) -> str:
        network = Network(ring(nodes), engine=engine, seed=seed)
        network.emit(0, **emission)
        if down:
            network.fail([3], at_tick=4)
        network.run(ticks)
        return network.digest()

    variants = [
        digest(),
        digest(seed=1),
        digest(ticks=6),
        digest(nodes=7),
        digest(down=True),
        digest(confidence=0.5),
        digest(radius=3),
        digest(at_tick=1),
        digest(ttl_ns=7 * SECOND),
    ]
    assert len(set(variants)) == len(variants)
    assert digest() == variants[0]
    assert all(len(each) == 64 and set(each) <= set("0123456789abcdef") for each in variants)


@engines
def test_a_known_network_comes_out_as_ever(engine: Any) -> None:
    """It changes only where what networks do changes; then say why."""
    network = Network(ring(10, reach=2), seed=42, engine=engine)
    network.emit_batch(np.arange(5), confidence=0.7, evidence=0.4, counter_evidence=0.2)
    network.fail([2], at_tick=3)
    network.recover([2], at_tick=9)
    network.run(25)
    names = ("copies", "lost", "sensed", "supporters", "opposers")
    assert [int(network.state.signals[name].sum()) for name in names] == [110, 5, 45, 18, 8]
