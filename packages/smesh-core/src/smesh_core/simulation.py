"""A simulation: a scenario, the network that it sets up, and the report of what came of it.

A scenario is data; the same one gives the same report on any engine, thread count or machine of one kind. Nothing in a
report is a measurement of time.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from smesh_core import limits, rng
from smesh_core.consensus import ConsensusState
from smesh_core.errors import InvalidNetworkError
from smesh_core.network import Network
from smesh_core.rng import Stream
from smesh_core.signal import DecayCurve
from smesh_core.topologies import TOPOLOGIES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smesh_core.engine import EngineName
    from smesh_core.topology import Topology

__all__ = ["Report", "Scenario", "Spread", "network_of", "report_of"]

_ORIGINS, _TRUTHS, _FAILURES, _SIDES = range(4)
"""What a draw is for, in the place of a signal's number."""
_NONE_HOLD: Final = 0.0
_PART: Final = (0.0, 1.0)
_LIFE_S: Final = (1e-9, limits.TTL_MAX_NS / 1e9)
_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "nodes": (1, 2**31 - 1),
    "ticks": (1, limits.TICK_MAX),
    "signals": (1, 2**31 - 1),
    "tick_s": _LIFE_S,
    "ttl_s": _LIFE_S,
    "rate_per_s": (0.0, limits.RATE_MAX_PER_S),
    "radius": (0, limits.RADIUS_HOPS_MAX),
    "confidence": _PART,
    "evidence": _PART,
    "false_share": _PART,
    "trust": (limits.TRUST_MIN, limits.TRUST_IN_SELF),
    "threshold": _PART,
    "failing": _PART,
    "partitioned": _PART,
}


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """What is simulated.

    Attributes:
        nodes: how many.
        ticks: how many to run.
        topology: a name in `topologies.TOPOLOGIES`.
        degree: neighbours that a node has, about.
        signals: how many are emitted, evenly over the first half of the ticks, each from a node drawn at random.
        tick_s: seconds of simulated time in a tick.
        decay: how intensity fades.
        rate_per_s: the decay's rate λ, per second.
        ttl_s: a signal's life, in seconds.
        radius: how many hops it travels.
        confidence: how sure its author is, in [0, 1].
        evidence: part of the nodes that hold evidence about a signal, in [0, 1].
        false_share: part of the signals that are false: what evidence nodes hold speaks against them.
        trust: what nodes think of each other, in [0.01, 0.99].
        threshold: the weakest signal that a node senses.
        capacity: signals that a node can attend to in one tick; None for no bound.
        failing: part of the nodes that are down from a quarter to three quarters of the ticks.
        partitioned: part of the nodes that are cut off from the others for the same time.
        seed: of all randomness.

    Raises:
        InvalidNetworkError: a value is out of bounds.
    """

    nodes: int = 50
    ticks: int = 100
    topology: str = "small-world"
    degree: int = 6
    signals: int = 20
    tick_s: float = 1.0
    decay: str = "exponential"
    rate_per_s: float = limits.RATE_DEFAULT_PER_S
    ttl_s: float = limits.TTL_DEFAULT_NS / 1e9
    radius: int = limits.RADIUS_HOPS_DEFAULT
    confidence: float = 0.8
    evidence: float = 0.3
    false_share: float = 0.2
    trust: float = limits.TRUST_DEFAULT
    threshold: float = limits.SENSE_THRESHOLD
    capacity: int | None = None
    failing: float = 0.0
    partitioned: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.topology not in TOPOLOGIES:
            raise InvalidNetworkError(f"no topology {self.topology!r}; there are {', '.join(TOPOLOGIES)}")
        if self.decay.upper() not in DecayCurve.__members__:
            names = ", ".join(curve.name.lower() for curve in DecayCurve)
            raise InvalidNetworkError(f"no decay {self.decay!r}; there are {names}")
        for name, (low, high) in _BOUNDS.items():
            if not low <= getattr(self, name) <= high:
                raise InvalidNetworkError(f"{name} takes {low:g} to {high:g}, not {getattr(self, name)}")
        if self.capacity is not None and self.capacity < 0:
            raise InvalidNetworkError(f"capacity takes 0 or more, or None, not {self.capacity}")


class Spread(msgspec.Struct, frozen=True):
    """Ages, in ticks, at which signals arrived: percentiles over all arrivals but the origins', and the latest."""

    p50: float
    p90: float
    p99: float
    last: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a scenario.

    Attributes:
        scenario: what was simulated.
        hyphae: directed edges of the network.
        components: parts of the network that no hypha joins.
        tick: ticks run; fewer than the scenario's where the run was stopped.
        emitted: signals emitted by then.
        arrivals: nodes reached, over all signals, origins not counted.
        coverage: part of all nodes that a signal reached, its origin included; the mean over signals.
        coverage_min: that of the signal that reached fewest.
        coverage_max: that of the signal that reached most.
        coverage_by_tick: part of all (signal, node) pairs reached by the end of each tick.
        arrival_ticks: how old signals were when they arrived; None where none did.
        hops_mean: how far signals came, over arrivals.
        hops_max: the farthest.
        copies: copies that got across a hypha.
        copies_per_arrival: 1 where no node is ever told twice; 0 where nothing arrived.
        lost: copies that were sent while their target was down or cut off.
        sensed: arrivals that a node sensed.
        reinforced: stances for a signal.
        inhibited: stances against one.
        statements: how many signals are open, reached and rejected, from all stances taken.
        reached_ticks: how old signals were when their consensus was first reached; None where none was.
        digest: SHA-256 of the network, equal where runs are.
    """

    scenario: Scenario
    hyphae: int
    components: int
    tick: int
    emitted: int
    arrivals: int
    coverage: float
    coverage_min: float
    coverage_max: float
    coverage_by_tick: list[float]
    arrival_ticks: Spread | None
    hops_mean: float
    hops_max: int
    copies: int
    copies_per_arrival: float
    lost: int
    sensed: int
    reinforced: int
    inhibited: int
    statements: dict[str, int]
    reached_ticks: Spread | None
    digest: str


def network_of(scenario: Scenario, *, topology: Topology | None = None, engine: EngineName | None = None) -> Network:
    """Set a scenario up: the network, its signals and its events, at tick 0.

    Args:
        scenario: what to simulate.
        topology: who is joined to whom; None makes it as the scenario says.
        engine: "numba" or "numpy"; None takes numba where it is installed.

    Raises:
        InvalidNetworkError: a value is out of bounds, or no network of that kind has so many nodes.
    """
    if topology is None:
        topology = TOPOLOGIES[scenario.topology](scenario.nodes, scenario.seed, scenario.degree)
    network = Network(
        topology,
        seed=scenario.seed,
        tick_ns=round(scenario.tick_s * 1e9),
        threshold=scenario.threshold,
        capacity=scenario.capacity,
        trust=scenario.trust,
        engine=engine,
    )
    each = np.arange(scenario.signals)
    origins = (_draws(scenario, _ORIGINS, scenario.signals) * topology.node_count).astype(np.int64)
    is_false = _draws(scenario, _TRUTHS, scenario.signals) < scenario.false_share
    network.emit_batch(
        origins,
        confidence=scenario.confidence,
        decay=DecayCurve[scenario.decay.upper()],
        rate_per_s=scenario.rate_per_s,
        ttl_ns=round(scenario.ttl_s * 1e9),
        radius=scenario.radius,
        evidence=np.where(is_false, _NONE_HOLD, scenario.evidence),
        counter_evidence=np.where(is_false, scenario.evidence, _NONE_HOLD),
        at_tick=each * ((scenario.ticks + 1) // 2) // scenario.signals,
    )
    begin, end = scenario.ticks // 4, 3 * scenario.ticks // 4
    if scenario.failing:
        failing = np.flatnonzero(_draws(scenario, _FAILURES, topology.node_count) < scenario.failing)
        network.fail(failing, at_tick=begin)
        network.recover(failing, at_tick=end)
    if scenario.partitioned:
        network.partition(_draws(scenario, _SIDES, topology.node_count) < scenario.partitioned, at_tick=begin)
        network.heal(at_tick=end)
    return network


def _draws(scenario: Scenario, purpose: int, count: int) -> NDArray[np.float64]:
    return rng.draw_unit(rng.key(scenario.seed, Stream.SCENARIO, 0, purpose), np.arange(count))


def report_of(scenario: Scenario, network: Network) -> Report:
    """What a network set up for a scenario has come to by now."""
    signals = network.state.signals
    found = network.arrivals()
    reached = np.bincount(found["signal"], minlength=network.signal_count)
    emitted = signals["born"] < network.tick
    coverage = reached[emitted] / network.node_count
    onward = found[found["via"] >= 0]
    ages = onward["tick"] - signals["born"][onward["signal"]]
    verdicts = network.verdicts()
    decided = verdicts.reached_tick >= 0
    states = Counter(state for state, is_out in zip(verdicts.states, emitted.tolist(), strict=True) if is_out)
    copies = int(signals["copies"].sum())
    return Report(
        scenario=scenario,
        hyphae=network.topology.hypha_count,
        components=int(network.topology.components().max(initial=-1)) + 1,
        tick=network.tick,
        emitted=int(emitted.sum()),
        arrivals=len(onward),
        coverage=float(coverage.mean()) if len(coverage) else 0.0,
        coverage_min=float(coverage.min(initial=1.0)) if len(coverage) else 0.0,
        coverage_max=float(coverage.max(initial=0.0)),
        coverage_by_tick=network.coverage_by_tick().tolist(),
        arrival_ticks=_spread(ages),
        hops_mean=float(onward["hop"].mean()) if len(onward) else 0.0,
        hops_max=int(onward["hop"].max(initial=0)),
        copies=copies,
        copies_per_arrival=copies / len(onward) if len(onward) else 0.0,
        lost=int(signals["lost"].sum()),
        sensed=int(found["is_sensed"].sum()),
        reinforced=int((found["stance"] > 0).sum()),
        inhibited=int((found["stance"] < 0).sum()),
        statements={state.value: states[state] for state in ConsensusState},
        reached_ticks=_spread((verdicts.reached_tick - signals["born"])[decided]),
        digest=network.digest(),
    )


def _spread(ages: NDArray[np.int64]) -> Spread | None:
    if not len(ages):
        return None
    p50, p90, p99 = np.percentile(ages, [50, 90, 99]).tolist()
    return Spread(p50, p90, p99, int(ages.max()))
