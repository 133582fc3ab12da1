"""Failures, recoveries, partitions: what they stop, what they keep, and that no copy goes missing from the books."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from networks import SECOND, World, ages_of, chain, examples, same_as, worlds
from smesh_core.network import Network
from smesh_core.signal import DecayCurve
from smesh_core.topologies import full_mesh, ring

STEP = DecayCurve.STEP
SURE: dict[str, Any] = {"decay": STEP, "ttl_ns": 300 * SECOND, "radius": 65_535}
pytestmark = pytest.mark.parametrize("engine", ["numba", "numpy"])


def emitted(topology: Any, engine: Any, count: int = 40, node: int = 0, **setup: Any) -> Network:
    network = Network(topology, engine=engine, trust=0.99, **setup)
    network.emit_batch([node] * count, **SURE)
    return network


def reached(network: Network) -> set[int]:
    return set(network.arrivals()["node"].tolist())


def ticks_at(network: Network, node: int) -> np.ndarray:
    found = network.arrivals()
    return found["tick"][found["node"] == node]


# ---- failure


def test_a_node_that_is_down_does_not_receive(engine: Any) -> None:
    network = emitted(chain(4), engine)
    network.fail([2])
    network.run(300)
    assert reached(network) == {0, 1}
    assert network.counters().relayed.tolist() == [40, 0, 0, 0]


def test_a_node_that_is_down_does_not_relay_and_keeps_what_it_holds(engine: Any) -> None:
    network = emitted(chain(3, latency=5), engine)
    network.run(8)
    held = ticks_at(network, 1).tolist()
    assert len(held) > 35
    network.fail([1])
    network.run(150)
    assert reached(network) == {0, 1}
    assert ticks_at(network, 1).tolist()[: len(held)] == held
    assert network.counters().relayed[1] == 0
    network.recover([1])
    network.run(142)
    assert reached(network) == {0, 1, 2}
    assert len(ticks_at(network, 2)) == 40
    assert ticks_at(network, 2).min() >= 158


def test_recovery_lets_in_what_was_asked_for_all_along(engine: Any) -> None:
    network = emitted(full_mesh(5), engine)
    network.fail([4], at_tick=0)
    network.recover([4], at_tick=50)
    network.run(300)
    assert ticks_at(network, 4).min() >= 50
    assert len(ticks_at(network, 4)) == 40
    assert network.state.signals["lost"].sum() > 40


def test_an_event_holds_from_its_tick_on(engine: Any) -> None:
    """Down at tick 1, when most copies arrive; and down from tick 2 on, when most have arrived."""
    for down, up, arrives in ((1, 2, 2), (2, 3, 1), (0, 1, 1)):
        network = emitted(chain(2), engine, 200)
        network.fail([1], at_tick=down)
        network.recover([1], at_tick=up)
        network.run(20)
        first = ticks_at(network, 1)
        assert first.min() == arrives
        assert np.mean(first == arrives) > 0.9
        assert down not in first


def test_copies_in_flight_are_lost_with_their_target(engine: Any) -> None:
    """Sent at age 0 over 10 ticks; the target is down as they arrive: asked for again, they arrive 10 later."""
    network = emitted(chain(2, latency=10), engine, 200)
    network.fail([1], at_tick=10)
    network.recover([1], at_tick=11)
    network.run(40)
    assert int(network.state.signals["lost"].sum()) > 180
    assert set(network.state.signals["lost"].tolist()) <= {0, 1}
    ages = ticks_at(network, 1)
    lost = network.state.signals["lost"][network.arrivals()["signal"][network.arrivals()["node"] == 1]]
    assert set(ages[lost == 1].tolist()) <= {20, 21, 22, 23}
    assert (ages[lost == 0] > 10).all()


def test_copies_in_flight_past_a_short_failure_arrive(engine: Any) -> None:
    """What is under way is looked at when it arrives."""
    network = emitted(chain(2, latency=10), engine, 200)
    network.fail([1], at_tick=3)
    network.recover([1], at_tick=9)
    network.run(40)
    assert int(network.state.signals["lost"].sum()) == 0
    assert ticks_at(network, 1).min() == 10


def test_copies_in_flight_do_not_cross_while_their_sender_is_down_and_are_not_lost(engine: Any) -> None:
    """A node that is down sends nothing, so nothing of it is lost; it is asked again."""
    network = emitted(chain(2, latency=10), engine, 200)
    network.fail([0], at_tick=5)
    network.recover([0], at_tick=100)
    network.run(300)
    assert int(network.state.signals["lost"].sum()) == 0
    assert len(ticks_at(network, 1)) == 200
    assert ticks_at(network, 1).min() >= 100


def test_a_node_that_is_down_emits_all_the_same(engine: Any) -> None:
    network = Network(chain(2), engine=engine, trust=0.99)
    network.fail([0])
    network.recover([0], at_tick=30)
    network.emit_batch([0] * 40, at_tick=5, **SURE)
    network.run(10)
    assert network.counters().emitted.tolist() == [40, 0]
    assert reached(network) == {0}
    network.run(290)
    assert ticks_at(network, 1).min() >= 30
    assert len(ticks_at(network, 1)) == 40


def test_failing_twice_and_recovering_once_is_up(engine: Any) -> None:
    network = emitted(chain(2), engine)
    network.fail([1, 1])
    network.fail([1])
    network.recover([1, 1], at_tick=20)
    network.recover([1, 0], at_tick=20)
    network.run(300)
    assert len(ticks_at(network, 1)) == 40
    assert network.state.sides.tolist() == [0, 0]
    assert network.state.world["is_whole"][0] == 1


# ---- partition


def test_a_partition_blocks_both_ways_and_heals(engine: Any) -> None:
    network = Network(ring(6), engine=engine, trust=0.99)
    network.emit_batch([0] * 20 + [3] * 20, **SURE)
    network.partition([0, 0, 0, 1, 1, 1])
    network.heal(at_tick=100)
    network.run(100)
    found = network.arrivals()
    assert set(found["node"][found["signal"] < 20].tolist()) == {0, 1, 2}
    assert set(found["node"][found["signal"] >= 20].tolist()) == {3, 4, 5}
    assert network.state.signals["lost"].sum() > 100
    network.run(200)
    found = network.arrivals()
    assert len(found) == 40 * 6
    crossed = (found["node"] < 3) != (found["signal"] < 20)
    assert found["tick"][crossed].min() == 100


def test_sides_are_names_and_the_last_partition_counts(engine: Any) -> None:
    network = emitted(chain(4), engine)
    network.partition([5, -3, 5, 5])
    network.run(50)
    assert reached(network) == {0}
    network.partition([9, 9, 9, -1])
    network.run(50)
    assert reached(network) == {0, 1, 2}
    network.partition([False, False, False, True])
    network.run(50)
    assert reached(network) == {0, 1, 2}
    network.partition([2, 2, 2, 2])
    network.run(150)
    assert reached(network) == {0, 1, 2, 3}


def test_a_partition_holds_for_nodes_that_were_down(engine: Any) -> None:
    network = emitted(chain(3), engine)
    network.fail([1])
    network.partition([0, 1, 0], at_tick=5)
    network.recover([1], at_tick=10)
    network.run(50)
    assert reached(network) == {0}
    network.fail([1])
    network.heal()
    network.run(50)
    assert reached(network) == {0}
    network.recover([1])
    network.run(200)
    assert reached(network) == {0, 1, 2}


def test_healing_does_not_recover(engine: Any) -> None:
    network = emitted(full_mesh(3), engine)
    network.fail([2])
    network.partition([0, 0, 1])
    network.heal(at_tick=5)
    network.run(300)
    assert reached(network) == {0, 1}


def test_copies_in_flight_are_lost_at_a_partition(engine: Any) -> None:
    network = emitted(chain(2, latency=10), engine, 200)
    network.partition([0, 1], at_tick=10)
    network.heal(at_tick=11)
    network.run(40)
    lost = network.state.signals["lost"]
    assert int(lost.sum()) > 180
    assert set(ticks_at(network, 1)[lost == 1].tolist()) <= {20, 21, 22, 23}


def test_without_events_nothing_is_lost(engine: Any) -> None:
    network = emitted(full_mesh(6), engine)
    network.run(300)
    assert int(network.state.signals["lost"].sum()) == 0


# ---- when they happen


def test_events_of_one_tick_happen_in_the_order_of_the_calls(engine: Any) -> None:
    network = emitted(chain(2), engine)
    network.fail([1], at_tick=0)
    network.recover([1], at_tick=0)
    network.run(300)
    assert reached(network) == {0, 1}
    network = emitted(chain(2), engine)
    network.recover([1], at_tick=0)
    network.fail([1], at_tick=0)
    network.run(300)
    assert reached(network) == {0}


def test_events_may_be_called_for_in_any_order_of_ticks(engine: Any) -> None:
    network = emitted(chain(2), engine)
    network.recover([1], at_tick=200)
    network.fail([1], at_tick=0)
    network.run(300)
    assert ticks_at(network, 1).min() == 200


def test_a_hook_may_call_for_events_of_the_next_tick(engine: Any) -> None:
    network = emitted(chain(2), engine)

    def hook(network: Network) -> None:
        if network.tick == 1:
            network.fail([1])
        if network.tick == 30:
            network.recover([1])

    network.run(300, on_tick=hook)
    assert ticks_at(network, 1).min() == 30


def test_events_after_the_last_tick_wait_for_the_next_run(engine: Any) -> None:
    network = emitted(chain(2), engine)
    network.fail([1], at_tick=0)
    network.recover([1], at_tick=50)
    network.run(50)
    assert reached(network) == {0}
    assert network.state.sides.tolist() == [0, -1]
    network.run(1)
    assert network.state.sides.tolist() == [0, 0]
    network.run(100)
    assert reached(network) == {0, 1}


def test_a_schedule_does_not_follow_the_array_it_was_made_from(engine: Any) -> None:
    nodes, sides = np.array([1]), np.array([0, 0, 1])
    network = emitted(full_mesh(3), engine)
    network.partition(sides, at_tick=1)
    sides[:] = [1, 0, 0]
    network.run(2)
    assert network.state.sides.tolist() == [0, 0, 1]
    network.heal()
    network.fail(nodes.copy(), at_tick=3)
    network.run(2)
    assert network.state.sides.tolist() == [0, -1, 0]


def test_a_failure_does_not_follow_the_array_it_was_made_from(engine: Any) -> None:
    nodes = np.array([1])
    network = emitted(full_mesh(3), engine)
    network.fail(nodes, at_tick=1)
    nodes[:] = 2
    network.run(2)
    assert network.state.sides.tolist() == [0, -1, 0]


@pytest.mark.parametrize("method", ["fail", "recover"])
def test_no_nodes_may_fail(engine: Any, method: str) -> None:
    network = emitted(chain(2), engine)
    getattr(network, method)([])
    network.run(2)
    assert network.state.sides.tolist() == [0, 0]


# ---- conservation


class Ledger:
    """A copy got across each time that a node's count of relayed ones rose; watched tick by tick."""

    def __init__(self) -> None:
        self.first = self.again = self.before = 0
        self.held: set[tuple[int, int]] = set()

    def __call__(self, network: Network) -> None:
        found = network.arrivals()
        onward = found[found["via"] >= 0]
        held = set(zip(onward["signal"].tolist(), onward["node"].tolist(), strict=True))
        copies = int(network.counters().relayed.sum())
        self.first += len(held - self.held)
        self.again += copies - self.before - len(held - self.held)
        assert copies - self.before >= len(held - self.held)
        assert held >= self.held
        self.held, self.before = held, copies
        for name in ("copies", "lost", "sensed", "supporters", "opposers"):
            assert (network.state.signals[name] >= 0).all()


@examples(50)
@given(world=worlds(events_max=8))
def test_every_copy_is_a_first_arrival_or_a_duplicate(engine: Any, world: World) -> None:
    network, ledger = world.emitted(engine), Ledger()
    network.run(world.ticks, on_tick=ledger)
    assert ledger.first + ledger.again == int(network.state.signals["copies"].sum())
    assert ledger.first == len(ages_of(network))
    # No hypha carries a signal twice: all that crossed did so over different hyphae.
    assert (network.state.signals["copies"] <= world.topology().hypha_count).all()
    found = network.arrivals()
    degrees = world.topology().degrees
    assert (found["relayed"] <= degrees[found["node"]]).all()


@examples(50)
@given(world=worlds(events_max=8))
def test_nothing_arrives_at_a_node_that_is_down_or_across_a_partition(engine: Any, world: World) -> None:
    network = world.emitted(engine)
    seen: dict[int, list[int]] = {}
    network.run(world.ticks, on_tick=lambda network: seen.setdefault(network.tick - 1, network.state.sides.tolist()))
    for arrival in network.arrivals():
        sides = seen[int(arrival["tick"])]
        if arrival["via"] >= 0:
            assert sides[arrival["node"]] == sides[arrival["via"]] >= 0
        if arrival["is_sensed"]:
            assert seen[int(arrival["acted_tick"])][arrival["node"]] >= 0


@examples(50)
@given(world=worlds(events_max=6))
def test_sides_are_what_the_calls_say(engine: Any, world: World) -> None:
    """Down or up by the last call that named the node; parted by the last partition."""
    network = world.emitted(engine)
    seen: list[list[int]] = []
    network.run(world.ticks, on_tick=lambda network: seen.append(network.state.sides.tolist()))
    for tick, sides in enumerate(seen):
        down, parted = set(), [0] * world.nodes
        for when, name, argument, *_ in sorted(world.events, key=lambda event: event[0]):
            if when <= tick and name == "fail":
                down |= set(argument)
            elif when <= tick and name == "recover":
                down -= set(argument)
            elif when <= tick and name != "behave":
                parted = argument or [0] * world.nodes
        assert {node for node, side in enumerate(sides) if side < 0} == down
        named = [-1 - side if side < 0 else side for side in sides]
        pairs = [(a, b) for a in range(world.nodes) for b in range(a)]
        assert all((named[a] == named[b]) == (parted[a] == parted[b]) for a, b in pairs)


@examples(30)
@given(world=worlds(events_max=0))
def test_events_that_change_nothing_change_nothing(engine: Any, world: World) -> None:
    """Recovering who is up, one side for all, healing what is whole."""
    idle = ((3, "recover", [0]), (5, "partition", [4] * world.nodes), (7, "heal", None))
    same_as(world.ran(engine), World(**{**vars(world), "events": idle}).ran(engine))
