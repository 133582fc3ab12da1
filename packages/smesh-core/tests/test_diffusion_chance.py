"""Diffusion against a naive model: every hypha is asked in every tick, with dice that owe nothing to our counters.

The engines draw at once in which tick a relay succeeds, from one number for the whole chain of trials. That must be
distributed as the trials are. Bounds are 4.8 standard errors, where chance alone goes once in a million times.
"""

from __future__ import annotations

import math
import random  # noqa: TID251 - dice of its own are the point
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from networks import SECOND, World, ages_of, chain
from smesh_core.decay import intensity_at
from smesh_core.engine import default_engine
from smesh_core.network import Network
from smesh_core.signal import DecayCurve

FAR_OUT = 4.8
EXPONENTIAL, LINEAR, SIGMOID, STEP = DecayCurve


class Naive:
    """One signal in a world, from the plan's sentences alone."""

    def __init__(self, world: World, emission: dict[str, Any], dice: random.Random) -> None:
        self.world, self.emission, self.dice = world, emission, dice
        self.origin, self.born = emission["node"], emission.get("at_tick") or 0
        self.held: dict[int, tuple[float, int, int | None, int]] = {self.origin: (1.0, 0, None, 0)}
        self.out = {node: [e for e in world.edges if e[0] == node] for node in range(world.nodes)}
        self.is_relayed: set[tuple[int, int]] = set()
        self.flying: dict[int, list[tuple[int, int, float, int]]] = defaultdict(list)
        self.copies = self.lost = 0
        self.sensed: list[int] = []
        self.supporters: list[int] = []
        self.opposers: list[int] = []
        for age in range(world.ticks - self.born):
            self.tick(age)

    def intensity(self, age: int) -> float:
        given = self.emission
        ttl_ns = given.get("ttl_ns", 60 * SECOND)
        curve, rate = given.get("decay", EXPONENTIAL), given.get("rate_per_s", 0.1)
        left = intensity_at(
            curve, given.get("intensity", 1.0), rate, ttl_ns, age * self.world.setup.get("tick_ns", SECOND)
        )
        return left if left >= 0.01 else 0.0

    def trust(self, observer: int) -> float:
        if observer == self.origin:
            return 0.99
        own = [trust for who, whom, trust in self.world.pairs if (who, whom) == (observer, self.origin)]
        usual = self.world.setup.get("trust", 0.5)
        return own[-1] if own else usual[self.origin] if isinstance(usual, list) else usual

    def sides(self, tick: int) -> tuple[list[bool], list[int]]:
        is_up, sides = [True] * self.world.nodes, [0] * self.world.nodes
        for when, name, argument in sorted(self.world.events, key=lambda event: event[0]):
            if when <= tick and name in {"fail", "recover"}:
                for node in argument:
                    is_up[node] = name == "recover"
            elif when <= tick:
                sides = argument or [0] * self.world.nodes
        return is_up, sides

    def tick(self, age: int) -> None:
        intensity = self.intensity(age)
        if not intensity:
            return
        is_up, sides = self.sides(self.born + age)
        best: dict[int, tuple[float, int, int]] = {}
        for edge in self.flying.pop(age, []):
            source, target, strength, _ = edge
            if not (is_up[source] and is_up[target] and sides[source] == sides[target]):
                self.lost += is_up[source]
                self.is_relayed.discard((source, target))
                continue
            self.copies += 1
            attenuation = self.held[source][0] * strength * (0.9 if self.trust(source) > 0.7 else 0.7)
            copy = (attenuation, -self.held[source][1] - 1, -source)
            if target not in self.held:
                best[target] = max(best.get(target, (0.0, 0, 0)), copy)
        for node, (attenuation, hop, via) in best.items():
            self.held[node] = (attenuation, -hop, -via, age)
            if intensity * attenuation >= self.world.setup.get("threshold", 0.1):
                self.sense(node)
        for node, (_, hop, via, _) in self.held.items():
            if hop >= self.emission.get("radius", 5):
                continue
            for edge in self.out[node]:
                remaining = (self.emission.get("radius", 5) - hop) / self.emission.get("radius", 5)
                chance = self.emission.get("confidence", 1.0) * intensity * self.trust(node) * remaining
                is_open = edge[1] != via and edge[:2] not in self.is_relayed
                if is_open and self.dice.random() < chance:
                    self.is_relayed.add(edge[:2])
                    self.flying[age + edge[3]].append(edge)

    def sense(self, node: int) -> None:
        self.sensed.append(node)
        kind, evidence = self.dice.random(), self.dice.random()
        confidence, shares = self.emission.get("confidence", 1.0), self.emission
        if kind < shares.get("evidence", 0.0):
            if evidence + self.trust(node) * confidence >= 0.5:
                self.supporters.append(node)
        elif (
            kind < shares.get("evidence", 0.0) + shares.get("counter_evidence", 0.0)
            and evidence + (1 - self.trust(node)) * confidence >= 0.5
        ):
            self.opposers.append(node)


def both_ways(*edges: tuple[int, int, float, int]) -> tuple[tuple[int, int, float, int], ...]:
    return tuple(edges) + tuple((v, u, strength, latency) for u, v, strength, latency in edges)


RING = both_ways(*((node, (node + 1) % 8, 1.0, 1) for node in range(8)))
CHORDS = (*RING, *both_ways((0, 4, 0.6, 3), (1, 6, 0.9, 1), (2, 5, 0.4, 2)))
MESH = tuple((u, v, 1.0, 1) for u in range(6) for v in range(6) if u != v)
LONG: dict[str, Any] = {"node": 0, "decay": STEP, "ttl_ns": 200 * SECOND, "confidence": 0.05, "radius": 4}
WORLDS = {
    "ring": World(8, RING, {"seed": 1}, (), ({"node": 0, "confidence": 0.8, "evidence": 0.6},), (), 50),
    "chords, trusts, opposition": World(
        8,
        CHORDS,
        {"seed": 2, "trust": [0.3, 0.8, 0.5, 0.9, 0.5, 0.5, 0.5, 0.5], "threshold": 0.3},
        ((1, 0, 0.95), (7, 0, 0.05), (4, 0, 0.75)),
        ({"node": 0, "confidence": 0.6, "evidence": 0.4, "counter_evidence": 0.5, "rate_per_s": 0.05},),
        (),
        60,
    ),
    "mesh, sigmoid": World(
        6, MESH, {"seed": 3, "tick_ns": SECOND // 2}, (), ({"node": 2, "confidence": 0.1, "decay": SIGMOID},), (), 120
    ),
    "failures": World(
        8,
        CHORDS,
        {"seed": 4},
        (),
        ({"node": 0, "confidence": 0.5, "decay": LINEAR, "evidence": 1.0, "at_tick": 2},),
        ((3, "fail", [1, 7]), (9, "recover", [7]), (12, "fail", [0, 4]), (20, "recover", [1, 0])),
        70,
    ),
    "partition": World(
        8,
        CHORDS,
        {"seed": 5},
        (),
        ({"node": 3, "confidence": 0.9, "radius": 9},),
        ((1, "partition", [0, 0, 0, 0, 1, 1, 1, 1]), (6, "partition", [0, 1, 0, 1, 0, 1, 0, 1]), (9, "heal", None)),
        40,
    ),
    "slow, over blocks": World(8, CHORDS, {"seed": 6}, (), (LONG,), ((70, "fail", [4]), (140, "recover", [4])), 200),
}
RUNS = 400


@pytest.fixture(scope="module", params=list(WORLDS))
def samples(request: pytest.FixtureRequest) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Both ways, many runs: for each measure an array of shape (runs, values)."""
    world = WORLDS[request.param]
    (emission,) = world.emissions
    ours = World(**{**vars(world), "emissions": world.emissions * (4 * RUNS)}).ran(default_engine())
    dice = random.Random(20261123)  # noqa: S311 - no secret
    theirs = [Naive(world, emission, dice) for _ in range(RUNS)]
    found, signals = ours.arrivals(), ours.state.signals
    ages = np.full((len(signals), world.nodes), world.ticks)
    ages[found["signal"], found["node"]] = found["tick"] - signals["born"][found["signal"]]
    hops = np.zeros((len(signals), world.nodes))
    hops[found["signal"], found["node"]] = found["hop"]
    senses = np.zeros((len(signals), world.nodes))
    senses[found["signal"], found["node"]] = found["is_sensed"]
    attenuation = np.zeros((len(signals), world.nodes))
    attenuation[found["signal"], found["node"]] = found["attenuation"]
    reach = np.arange(world.ticks)
    engine = {
        "copies": signals["copies"][:, None],
        "lost": signals["lost"][:, None],
        "supporters": signals["supporters"][:, None],
        "opposers": signals["opposers"][:, None],
        "nodes reached": ages < world.ticks,
        "arrival ages": ages,
        "coverage by age": (ages[:, :, None] <= reach).mean(axis=1),
        "hops": hops,
        "attenuation": attenuation,
        "sensed": senses,
    }
    naive_ages = np.array([[n.held.get(v, (0, 0, 0, world.ticks))[3] for v in range(world.nodes)] for n in theirs])
    naive = {
        "copies": np.array([[n.copies] for n in theirs]),
        "lost": np.array([[n.lost] for n in theirs]),
        "supporters": np.array([[len(n.supporters)] for n in theirs]),
        "opposers": np.array([[len(n.opposers)] for n in theirs]),
        "nodes reached": naive_ages < world.ticks,
        "arrival ages": naive_ages,
        "coverage by age": (naive_ages[:, :, None] <= reach).mean(axis=1),
        "hops": np.array([[n.held.get(v, (0, 0))[1] for v in range(world.nodes)] for n in theirs]),
        "attenuation": np.array([[n.held.get(v, (0.0,))[0] for v in range(world.nodes)] for n in theirs]),
        "sensed": np.array([[v in n.sensed for v in range(world.nodes)] for n in theirs]),
    }
    return engine, naive


@pytest.mark.parametrize(
    "measure",
    [
        "copies",
        "lost",
        "supporters",
        "opposers",
        "nodes reached",
        "arrival ages",
        "coverage by age",
        "hops",
        "attenuation",
        "sensed",
    ],
)
def test_the_engine_does_what_asking_in_turn_does(samples: tuple[dict, dict], measure: str) -> None:
    a, b = samples[0][measure].astype(float), samples[1][measure].astype(float)
    spread = np.sqrt(a.var(axis=0, ddof=1) / len(a) + b.var(axis=0, ddof=1) / len(b))
    # What never differed in a sample has no spread; then one odd run in the other is allowed.
    apart = np.abs(a.mean(axis=0) - b.mean(axis=0)) / np.maximum(spread, 1.0 / len(b))
    assert apart.max() < FAR_OUT, f"{measure}: {a.mean(axis=0)} against {b.mean(axis=0)}"


def test_the_worlds_are_not_idle() -> None:
    """What the comparison above would not notice, were nothing to happen."""
    for name, world in WORLDS.items():
        network = World(**{**vars(world), "emissions": world.emissions * 100}).ran(default_engine())
        assert len(network.arrivals()) / 100 > 1.5, name
        assert (network.state.signals["lost"].sum() > 0) == bool(world.events), name


# ---- each trial's probability


def test_the_first_trial_is_in_the_tick_of_arrival() -> None:
    network = Network(chain(2))
    network.emit_batch([0] * 2000)
    network.run(2)
    assert abs(len(ages_of(network)) / 2000 - 0.99) < FAR_OUT * math.sqrt(0.99 * 0.01 / 2000)


@pytest.mark.parametrize("engine", ["numba", "numpy"])
@pytest.mark.parametrize(
    "emission",
    [
        {"confidence": 0.3},
        {"confidence": 1.0, "intensity": 0.2, "rate_per_s": 0.01},
        {"confidence": 0.1, "decay": LINEAR},
        {"confidence": 0.1, "decay": SIGMOID, "rate_per_s": 0.5},
        {"confidence": 0.02, "decay": STEP, "ttl_ns": 150 * SECOND},
    ],
    ids=lambda emission: f"{emission.get('decay', EXPONENTIAL).name.lower()} {emission['confidence']}",
)
def test_the_origin_relays_at_each_age_as_often_as_it_should(engine: Any, emission: dict[str, Any]) -> None:
    """confidence · I(t) · 0.99 · remaining / radius with all of the radius left, asked anew in each tick."""
    runs, seed = 20_000, 5
    world = World(2, ((0, 1, 1.0, 1),), {"seed": seed}, (), (), (), 0)
    network = world.network(engine)
    network.emit_batch([0] * runs, **emission)
    network.run(160)
    observed = np.bincount(ages_of(network) - 1, minlength=160)
    one = Naive(world, {"node": 0, **emission}, random.Random(0))  # noqa: S311 - no secret
    chances = np.array([emission["confidence"] * one.intensity(age) * 0.99 for age in range(160)])
    agree(observed, runs, chances)


def agree(observed: np.ndarray, runs: int, chances: np.ndarray) -> None:
    """Counts of first successes by age, against independent trials of these chances; the last trial cannot arrive."""
    chances = chances.copy()
    chances[max(np.flatnonzero(chances), default=0)] = 0.0
    first = chances * np.concatenate([[1.0], np.cumprod(1 - chances)[:-1]])
    # Ages with few expected are taken together, so that counts are about normal.
    groups = np.cumsum(runs * first) // 25
    for group in np.unique(groups):
        share = float(first[groups == group].sum())
        got = int(observed[: len(first)][groups == group].sum())
        assert abs(got - runs * share) <= FAR_OUT * math.sqrt(runs * share * (1 - share) + 0.1), group
    assert abs(observed.sum() - runs * first.sum()) <= FAR_OUT * math.sqrt(runs * first.sum() * (1 - first.sum()) + 0.1)


@pytest.mark.parametrize(
    ("hop", "radius", "trust"), [(1, 2, 0.5), (2, 3, 0.9), (1, 5, 0.2), (3, 4, 0.99), (1, 30, 0.01)]
)
def test_relayers_wait_as_long_as_trust_and_remaining_hops_say(hop: int, radius: int, trust: float) -> None:
    """A step keeps I(t) at 1, so the wait at each hop is geometric: confidence · trust · remaining / radius."""
    runs, confidence = 4000, 0.9
    network = Network(chain(hop + 2), seed=9, trust=trust)
    network.emit_batch([0] * runs, decay=STEP, ttl_ns=20_000 * SECOND, confidence=confidence, radius=radius)
    network.run(20_000)
    found = network.arrivals()
    ages = np.full((runs, hop + 2), -1)
    ages[found["signal"], found["node"]] = found["tick"]
    assert (ages >= 0).all()
    waits = ages[:, hop + 1] - ages[:, hop]
    chance = confidence * trust * (radius - hop) / radius
    chances = np.full(max(200, int(12 / chance)), chance)
    agree(np.bincount(np.minimum(waits, len(chances)) - 1, minlength=len(chances)), runs, chances)


def test_pairs_of_nodes_with_a_trust_of_their_own_wait_by_it() -> None:
    runs = 4000
    network = Network(chain(3), seed=10, trust=0.5)
    network.set_trust(1, 0, 0.1)
    network.set_trust(1, 2, 0.99)
    network.set_trust(0, 1, 0.99)
    network.set_trust(2, 0, 0.99)
    network.emit_batch([0] * runs, decay=STEP, ttl_ns=2000 * SECOND, radius=2)
    network.run(2000)
    found = network.arrivals()
    waits = found["tick"][found["node"] == 2] - found["tick"][found["node"] == 1]
    agree(np.bincount(waits - 1, minlength=400), runs, np.full(400, 0.1 * 0.5))


def test_a_hypha_that_lost_a_copy_is_asked_anew_from_that_tick_on() -> None:
    """Down until tick 70: each copy sent before is lost, and the wait after the last loss is as the first was."""
    runs, chance = 4000, 0.05 * 0.99
    network = Network(chain(2), seed=11)
    network.emit_batch([0] * runs, decay=STEP, ttl_ns=500 * SECOND, confidence=0.05)
    network.fail([1], at_tick=0)
    network.recover([1], at_tick=70)
    network.run(500)
    # A relay of age k arrives at k + 1, and is lost at 1..69: a geometric chain of trials at ages 0..68.
    lost = network.state.signals["lost"]
    trials = 69
    assert abs(lost.mean() - trials * chance) < FAR_OUT * math.sqrt(trials * chance * (1 - chance) / runs)
    assert abs(lost.var() / (trials * chance * (1 - chance)) - 1) < 0.15
    agree(np.bincount(ages_of(network) - 70, minlength=400), runs, np.full(400, chance))


def test_hyphae_of_one_node_are_asked_independently() -> None:
    runs = 4000
    star = tuple((0, node, 1.0, 1) for node in range(1, 5))
    network = World(5, star, {"seed": 12}, (), (), (), 0).network(default_engine())
    network.emit_batch([0] * runs, confidence=0.3, decay=STEP)
    network.run(3)
    found = network.arrivals()
    reached = np.zeros((runs, 5))
    reached[found["signal"], found["node"]] = 1
    share = 1 - (1 - 0.297) ** 2
    for one in range(1, 5):
        for other in range(one + 1, 5):
            both = float((reached[:, one] * reached[:, other]).mean())
            assert abs(both - share**2) < FAR_OUT * math.sqrt(share**2 * (1 - share**2) / runs)


def test_signals_are_relayed_independently_of_each_other_and_of_the_seed() -> None:
    reached = []
    for seed in (0, 1, 2**64 - 1):
        network = Network(chain(2), seed=seed)
        network.emit_batch([0] * 4000, confidence=0.5, decay=STEP)
        network.run(2)
        hit = np.zeros(4000)
        hit[network.arrivals()["signal"][network.arrivals()["node"] == 1]] = 1
        reached.append(hit)
    share = 0.495
    for one, other in ((reached[0], reached[1]), (reached[1], reached[2]), (reached[0][1:], reached[0][:-1])):
        assert abs((one * other).mean() - share**2) < FAR_OUT * math.sqrt(share**2 * (1 - share**2) / len(one))
