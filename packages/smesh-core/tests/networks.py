"""Worlds as plain data: what a network is made of, what happens in it, and how to build it on any engine.

A `World` prints as the arguments that make it, so a failing example of hypothesis can be pasted into a test.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from smesh_core.conduct import Conduct
from smesh_core.consensus import Quorum
from smesh_core.engine import engine_for
from smesh_core.network import Network
from smesh_core.signal import DecayCurve
from smesh_core.topology_edges import from_edges

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from smesh_core.engine import EngineName
    from smesh_core.topology import Topology

SECOND = 10**9
DEPTH = float(os.environ.get("SMESH_TEST_DEPTH", "1"))
"""Multiplies the examples of every property test of networks; 20 is a deep run."""


def examples(count: int) -> settings:
    return settings(max_examples=max(1, int(count * DEPTH)))


@dataclasses.dataclass(frozen=True)
class World:
    """A network, what is emitted in it, and what befalls it.

    Attributes:
        nodes: how many.
        edges: (source, target, strength, latency), each a hypha.
        setup: arguments of `Network`; `quorum` is a pair (weight, lineages).
        pairs: (observer, origin, trust).
        emissions: arguments of `Network.emit`.
        events: (tick, method of `Network`, its arguments).
        ticks: how many to run.
    """

    nodes: int
    edges: tuple[tuple[int, int, float, int], ...]
    setup: dict[str, Any]
    pairs: tuple[tuple[int, int, float], ...]
    emissions: tuple[dict[str, Any], ...]
    events: tuple[tuple[Any, ...], ...]
    ticks: int

    def topology(self) -> Topology:
        return hyphae(self.edges, self.nodes)

    def network(self, engine: EngineName = "numpy", **other: Any) -> Network:
        """Set it up, without what is emitted and what befalls it."""
        setup = {**self.setup, **other}
        if setup.get("quorum") is not None:
            weight, lineages = setup["quorum"]
            setup["quorum"] = Quorum(weight=weight, lineages=lineages)
        network = Network(self.topology(), engine=engine, **setup)
        for pair in self.pairs:
            network.set_trust(*pair)
        return network

    def emitted(self, engine: EngineName = "numpy", **other: Any) -> Network:
        """Set it up with all that will happen in it, at tick 0."""
        network = self.network(engine, **other)
        for emission in self.emissions:
            network.emit(**emission)
        self.schedule(network)
        return network

    def schedule(self, network: Network) -> None:
        for tick, name, *argument in self.events:
            getattr(network, name)(*(a for a in argument if a is not None), at_tick=tick)

    def ran(self, engine: EngineName = "numpy", *, threads: int = 1, **other: Any) -> Network:
        network = self.emitted(engine, **other)
        network.run(self.ticks, threads=threads)
        return network


def hyphae(edges: Sequence[tuple[int, int, float, int]], nodes: int) -> Topology:
    """The topology of directed edges (source, target, strength, latency)."""
    return from_edges(
        [edge[:2] for edge in edges],
        nodes=nodes,
        strengths=[edge[2] for edge in edges],
        latencies=[edge[3] for edge in edges],
        directed=True,
    )


def chain(nodes: int, *, strength: float = 1.0, latency: int = 1) -> Topology:
    """0 -> 1 -> 2 -> ..., one way."""
    return hyphae([(node, node + 1, strength, latency) for node in range(nodes - 1)], nodes)


def swap_engine(network: Network, engine: EngineName) -> None:
    """Let another engine go on with the same state."""
    network.engine, network._engine = engine, engine_for(network.state, engine)


def said_by(network: Network) -> dict[str, Any]:
    """All that can be read from a network, as plain values that compare."""
    verdicts = network.verdicts()
    return {
        "digest": network.digest(),
        "tick": network.tick,
        "arrivals": network.arrivals().tolist(),
        "counters": [column.tolist() for column in network.counters()],
        "coverage": network.coverage_by_tick().tolist(),
        "states": [state.value for state in verdicts.states],
        "verdicts": [column.tolist() for column in verdicts[1:]],
        "values": network.values().tolist(),
    }


def totals(network: Network) -> dict[str, int]:
    signals = network.state.signals
    return {name: int(signals[name].sum()) for name in ("copies", "lost", "sensed", "supporters", "opposers")}


# ---- what hypothesis draws

unit = st.one_of(st.sampled_from([0.0, 1.0, 0.5]), st.floats(0.0, 1.0))
trust = st.one_of(st.sampled_from([0.01, 0.5, 0.7, 0.99]), st.floats(0.01, 0.99))
seed = st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1))


@st.composite
def edge_lists(draw: Callable[..., Any], nodes: int, latency_max: int = 5) -> tuple[tuple[int, int, float, int], ...]:
    """Directed edges, at times both ways, and at times all alike."""
    if nodes == 1:
        return ()
    node = st.integers(0, nodes - 1)
    pairs = draw(st.lists(st.tuples(node, node).filter(lambda p: p[0] != p[1]), unique=True, max_size=4 * nodes))
    if draw(st.booleans()):
        pairs = sorted({*pairs, *((v, u) for u, v in pairs)})
    is_uniform, both = draw(st.booleans()), st.sampled_from([1.0, 0.5, 0.1])
    strength = st.just(1.0) if is_uniform else st.one_of(both, st.floats(0.01, 1.0))
    latency = st.just(1) if draw(st.booleans()) else st.integers(1, latency_max)
    return tuple((u, v, draw(strength), draw(latency)) for u, v in pairs)


@st.composite
def emissions(draw: Callable[..., Any], nodes: int, tick_max: int) -> dict[str, Any]:
    share = draw(unit)
    return {
        "node": draw(st.integers(0, nodes - 1)),
        "confidence": draw(unit),
        "intensity": draw(st.one_of(st.just(1.0), st.sampled_from([0.0, 0.009, 0.01]), st.floats(0.0, 1.0))),
        "decay": draw(st.sampled_from(DecayCurve)),
        "rate_per_s": draw(st.sampled_from([0.0, 0.01, 0.1, 1.0, 1e6])),
        "ttl_ns": draw(st.one_of(st.sampled_from([1, SECOND - 1, SECOND, SECOND + 1]), st.integers(1, 100 * SECOND))),
        "radius": draw(st.one_of(st.integers(0, 6), st.integers(0, 30))),
        "evidence": share,
        "counter_evidence": min(1.0 - share, draw(unit)),
        "at_tick": draw(st.one_of(st.just(0), st.integers(0, tick_max))),
    }


@st.composite
def events(draw: Callable[..., Any], nodes: int, tick_max: int, *, has_conduct: bool = True) -> tuple[Any, ...]:
    kind = draw(st.sampled_from(["fail", "recover", "partition", "heal", *["behave"] * 2 * has_conduct]))
    some = st.lists(st.integers(0, nodes - 1), min_size=1, max_size=nodes)
    argument = {
        "fail": some,
        "recover": some,
        "partition": st.lists(st.integers(-1, 2), min_size=nodes, max_size=nodes),
        "heal": st.none(),
        "behave": some,
    }[kind]
    tick = draw(st.integers(0, tick_max))
    if kind == "behave":
        return tick, kind, draw(argument), Conduct(draw(st.integers(0, 15)))
    return tick, kind, draw(argument)


@st.composite
def worlds(
    draw: Callable[..., Any],
    *,
    nodes_max: int = 9,
    signals_max: int = 6,
    events_max: int = 4,
    is_bounded: bool | None = None,
    has_lineages: bool | None = None,
    has_conduct: bool = True,
    threshold_min: float = 0.0,
    ticks_max: int = 40,
    latency_max: int = 5,
) -> World:
    """Small networks of every kind."""
    nodes, ticks = draw(st.integers(1, nodes_max)), draw(st.integers(0, ticks_max))
    each = {"min_size": nodes, "max_size": nodes}
    threshold = unit.map(lambda level: max(level, threshold_min))
    setup: dict[str, Any] = {
        "seed": draw(seed),
        "threshold": draw(st.one_of(st.just(0.1), threshold, st.lists(threshold, **each))),
        "trust": draw(st.one_of(st.just(0.5), trust, st.lists(trust, **each))),
        "tick_ns": draw(st.sampled_from([SECOND, SECOND, SECOND // 2, 7 * SECOND])),
    }
    if draw(st.booleans()) if is_bounded is None else is_bounded:
        bound = st.integers(0, 3)
        setup["capacity"] = draw(st.one_of(bound, st.lists(bound, **each)))
    if draw(st.booleans()) if has_lineages is None else has_lineages:
        setup["lineages"] = draw(st.lists(st.integers(0, 3), **each))
    if draw(st.booleans()):
        setup["quorum"] = (draw(st.sampled_from([0.5, 1.0, 2.0, 2.5, 3.0])), draw(st.integers(1, 3)))
    pair = st.tuples(st.integers(0, nodes - 1), st.integers(0, nodes - 1), trust)
    return World(
        nodes=nodes,
        edges=draw(edge_lists(nodes, latency_max)),
        setup=setup,
        pairs=tuple(draw(st.lists(pair, max_size=5))),
        emissions=tuple(draw(st.lists(emissions(nodes, ticks), max_size=signals_max))),
        events=tuple(draw(st.lists(events(nodes, ticks, has_conduct=has_conduct), max_size=events_max))),
        ticks=ticks,
    )


def same_as(one: Network, other: Network) -> None:
    """Fail with what differs, where it does."""
    left, right = said_by(one), said_by(other)
    for name in left:
        assert left[name] == right[name], name


def ages_of(network: Network) -> np.ndarray:
    """How old its signal was at each arrival, origins not counted."""
    found = network.arrivals()
    found = found[found["via"] >= 0]
    return found["tick"] - network.state.signals["born"][found["signal"]]
