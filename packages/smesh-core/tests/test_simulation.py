"""Scenarios and reports: what each attribute does, what always holds, and that a scenario names its report."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import examples
from smesh_core import SmeshError
from smesh_core.errors import InvalidNetworkError
from smesh_core.simulation import Report, Scenario, network_of, report_of
from smesh_core.topologies import TOPOLOGIES, full_mesh

SEEDS = range(6)


def report(*, engine: Any = None, until: int | None = None, **scenario: Any) -> Report:
    asked = Scenario(**scenario)
    network = network_of(asked, engine=engine)
    network.run(asked.ticks if until is None else until)
    return report_of(asked, network)


def mean(measure: str, **scenario: Any) -> float:
    """Over several seeds."""
    return float(np.mean([getattr(report(seed=seed, **scenario), measure) for seed in SEEDS]))


scenarios = st.fixed_dictionaries(
    {
        "nodes": st.integers(1, 30),
        "ticks": st.integers(1, 40),
        "topology": st.sampled_from(sorted(TOPOLOGIES)),
        "degree": st.integers(2, 8),
        "signals": st.integers(1, 12),
        "tick_s": st.sampled_from([0.5, 1.0, 3.0]),
        "decay": st.sampled_from(["exponential", "linear", "sigmoid", "step", "STEP"]),
        "rate_per_s": st.sampled_from([0.0, 0.1, 1.0]),
        "ttl_s": st.sampled_from([0.25, 10.0, 60.0]),
        "radius": st.integers(0, 8),
        "confidence": st.floats(0.0, 1.0),
        "evidence": st.floats(0.0, 1.0),
        "false_share": st.floats(0.0, 1.0),
        "trust": st.floats(0.01, 0.99),
        "threshold": st.floats(0.0, 1.0),
        "capacity": st.one_of(st.none(), st.integers(0, 3)),
        "failing": st.sampled_from([0.0, 0.3, 1.0]),
        "partitioned": st.sampled_from([0.0, 0.5, 1.0]),
        "seed": st.integers(0, 2**64 - 1),
    }
)


# ---- a scenario names its report


@examples(50)
@given(scenario=scenarios)
def test_the_same_scenario_gives_the_same_report_on_both_engines(scenario: dict[str, Any]) -> None:
    pytest.importorskip("numba")
    assert report(**scenario, engine="numba") == report(**scenario, engine="numpy")


@examples(20)
@given(scenario=scenarios, threads=st.integers(2, 5), parts=st.lists(st.integers(1, 9), max_size=5))
def test_neither_threads_nor_parts_show_in_a_report(scenario: dict[str, Any], threads: int, parts: list[int]) -> None:
    asked = Scenario(**scenario)
    network = network_of(asked)
    for part in parts:
        network.run(min(part, asked.ticks - network.tick), threads=threads)
    network.run(asked.ticks - network.tick, threads=threads)
    assert report_of(asked, network) == report(**scenario)


def test_seeds_differ() -> None:
    reports = [report(seed=seed) for seed in range(8)]
    assert len({each.digest for each in reports}) == 8
    assert len({each.copies for each in reports}) > 3
    assert report(seed=3) == reports[3]


def test_a_seed_draws_topology_origins_truths_and_victims() -> None:
    one, other = (network_of(Scenario(seed=seed, failing=0.3, partitioned=0.5)) for seed in (1, 2))
    assert one.topology != other.topology
    assert one.state.signals["origin"].tolist() != other.state.signals["origin"].tolist()
    assert one.state.signals["for_share"].tolist() != other.state.signals["for_share"].tolist()
    for network in (one, other):
        network.run(30)
    assert one.state.sides.tolist() != other.state.sides.tolist()


def test_what_is_drawn_for_one_thing_is_not_drawn_for_another() -> None:
    """False signals, failing nodes and sides of a partition are not the same ones."""
    scenario = Scenario(nodes=400, signals=400, false_share=0.5, failing=0.5, partitioned=0.5, ticks=100)
    network = network_of(scenario)
    network.run(30)
    sides = network.state.sides
    down, apart = sides < 0, np.where(sides < 0, -1 - sides, sides) == 1
    false = network.state.signals["for_share"] == 0
    low = network.state.signals["origin"] < 200
    for one, other in ((down, apart), (down, false), (apart, false), (low, false), (low, down), (low, apart)):
        assert 0.35 < np.mean(one == other) < 0.65


def test_a_report_survives_encoding() -> None:
    made = report(failing=0.2)
    assert msgspec.json.decode(msgspec.json.encode(made), type=Report) == made


# ---- what always holds


@examples(60)
@given(scenario=scenarios, part=st.floats(0.0, 1.0))
def test_reports_add_up(scenario: dict[str, Any], part: float) -> None:
    asked = Scenario(**scenario)
    made = report(**scenario, until=int(part * asked.ticks))
    assert made.scenario == asked
    assert made.tick == int(part * asked.ticks) == len(made.coverage_by_tick)
    assert made.emitted <= asked.signals
    assert made.emitted == asked.signals or made.tick < asked.ticks
    assert sum(made.statements.values()) == made.emitted
    assert set(made.statements) == {"open", "reached", "rejected"}
    assert 0.0 <= made.coverage_min <= made.coverage + 1e-12
    assert made.coverage <= made.coverage_max + 1e-12 <= 1.0 + 2e-12
    assert made.coverage_by_tick == sorted(made.coverage_by_tick)
    assert all(0.0 <= each <= 1.0 for each in made.coverage_by_tick)
    if made.tick:
        pairs = asked.signals * asked.nodes
        assert made.coverage_by_tick[-1] * pairs == pytest.approx(made.arrivals + made.emitted)
        assert made.coverage * made.emitted * asked.nodes == pytest.approx(made.arrivals + made.emitted)
    assert made.arrivals <= made.copies <= made.emitted * made.hyphae
    assert made.reinforced + made.inhibited <= made.sensed <= made.arrivals
    assert made.hops_max <= asked.radius
    assert made.hops_mean <= made.hops_max
    assert (made.arrival_ticks is None) == (made.arrivals == 0)
    assert made.copies_per_arrival == (made.copies / made.arrivals if made.arrivals else 0.0)
    assert (made.lost == 0) or asked.failing or asked.partitioned
    for spread in (made.arrival_ticks, made.reached_ticks):
        if spread is not None:
            assert 0 <= spread.p50 <= spread.p90 <= spread.p99 <= spread.last < asked.ticks
    if made.statements["reached"] and asked.signals:
        assert made.reached_ticks is not None
    if not asked.evidence:
        assert made.reinforced == made.inhibited == 0


def test_components_and_hyphae_are_the_topologys() -> None:
    made = report(nodes=20, topology="ring", degree=2)
    assert (made.hyphae, made.components) == (40, 1)
    sparse = report(nodes=200, topology="random", degree=1)
    assert sparse.components > 10


def test_a_topology_of_ones_own_takes_the_place_of_the_scenarios() -> None:
    scenario = Scenario(nodes=50, topology="ring")
    network = network_of(scenario, topology=full_mesh(7))
    network.run(100)
    made = report_of(scenario, network)
    assert network.node_count == 7
    assert made.hyphae == 42
    assert network.state.signals["origin"].max() < 7


def test_signals_are_emitted_evenly_over_the_first_half() -> None:
    for ticks, signals in ((100, 20), (7, 3), (1, 5), (40, 100), (2, 2)):
        born = network_of(Scenario(ticks=ticks, signals=signals)).state.signals["born"].tolist()
        half = (ticks + 1) // 2
        assert born == [i * half // signals for i in range(signals)]
        assert born[0] == 0
        assert max(born) < half


def test_origins_are_drawn_evenly() -> None:
    origins = network_of(Scenario(nodes=10, signals=5000, topology="ring")).state.signals["origin"]
    counts = np.bincount(origins, minlength=10)
    assert ((counts - 500) ** 2 / 500).sum() < 45


def test_failures_and_partitions_last_from_one_quarter_to_three() -> None:
    scenario = Scenario(ticks=100, failing=0.4, partitioned=0.5, nodes=200)
    network = network_of(scenario)
    seen: list[tuple[float, int]] = []
    network.run(100, on_tick=lambda network: seen.append(shape_of(network)))
    assert set(seen[:25]) == set(seen[75:]) == {(0.0, 1)}
    (shape,) = set(seen[25:75])
    assert abs(shape[0] - 0.4) < 4.8 * math.sqrt(0.24 / 200)
    assert shape[1] == 2


def shape_of(network: Any) -> tuple[float, int]:
    sides = network.state.sides
    return float(np.mean(sides < 0)), len(set(np.where(sides < 0, -1 - sides, sides).tolist()))


# ---- what each attribute does


@pytest.mark.parametrize(
    ("measure", "less", "more", "factor"),
    [
        ("coverage", {"confidence": 0.1}, {"confidence": 0.9}, 1.5),
        ("coverage", {"radius": 1}, {"radius": 6}, 2.0),
        ("coverage", {"trust": 0.05}, {"trust": 0.95}, 1.5),
        ("coverage", {"rate_per_s": 1.0}, {"rate_per_s": 0.05}, 1.5),
        ("coverage", {"ttl_s": 3.0}, {"ttl_s": 60.0}, 1.5),
        ("coverage", {"topology": "ring", "degree": 2}, {"topology": "ring", "degree": 20}, 2.0),
        ("coverage", {"decay": "linear", "rate_per_s": 1.0, "ttl_s": 4.0}, {"decay": "step", "ttl_s": 60.0}, 1.3),
        ("coverage", {"tick_s": 10.0}, {"tick_s": 1.0}, 1.5),
        ("coverage", {"failing": 1.0, "ticks": 60}, {"failing": 0.0, "ticks": 60}, 1.2),
        ("coverage", {"partitioned": 0.5, "ticks": 60}, {"partitioned": 0.0, "ticks": 60}, 1.1),
        ("coverage", {"topology": "ring", "nodes": 500}, {"topology": "full-mesh", "nodes": 50}, 5.0),
        ("sensed", {"threshold": 0.5}, {"threshold": 0.01}, 1.5),
        ("sensed", {"capacity": 0}, {"capacity": None}, math.inf),
        ("sensed", {"capacity": 1, "signals": 200, "ticks": 10}, {"capacity": None, "signals": 200, "ticks": 10}, 1.2),
        ("reinforced", {"evidence": 0.05}, {"evidence": 0.6}, 3.0),
        ("reinforced", {"false_share": 0.9}, {"false_share": 0.1}, 3.0),
        ("inhibited", {"false_share": 0.1}, {"false_share": 0.9}, 3.0),
        ("inhibited", {"false_share": 0.0}, {"false_share": 0.5}, math.inf),
        ("reinforced", {"false_share": 1.0}, {"false_share": 0.5}, math.inf),
        ("emitted", {"signals": 5}, {"signals": 50}, 9.0),
        ("arrivals", {"signals": 5}, {"signals": 50}, 5.0),
        ("arrivals", {"nodes": 5}, {"nodes": 50}, 3.0),
        ("arrivals", {"ticks": 3}, {"ticks": 100}, 2.0),
        ("lost", {"failing": 0.0}, {"failing": 0.3}, math.inf),
        ("lost", {"partitioned": 0.0}, {"partitioned": 0.3}, math.inf),
        ("hops_mean", {"topology": "full-mesh"}, {"topology": "ring", "degree": 2}, 1.2),
        ("hops_max", {"radius": 1}, {"radius": 4}, 2.0),
        ("copies_per_arrival", {"topology": "ring", "degree": 2, "nodes": 200}, {"topology": "full-mesh"}, 1.5),
    ],
)
def test_each_attribute_changes_what_it_should(
    measure: str, less: dict[str, Any], more: dict[str, Any], factor: float
) -> None:
    low, high = mean(measure, **less), mean(measure, **more)
    assert high > 0
    assert low == 0.0 if factor == math.inf else high >= factor * low


def test_false_statements_are_rejected_and_true_ones_reached() -> None:
    true = report(false_share=0.0, evidence=0.8, confidence=1.0)
    false = report(false_share=1.0, evidence=0.8, confidence=1.0)
    assert true.statements == {"open": 0, "reached": 20, "rejected": 0}
    assert false.statements["rejected"] > 15
    assert false.statements["reached"] == 0


def test_trust_makes_arrivals_early() -> None:
    slow, fast = report(trust=0.05, decay="step"), report(trust=0.95, decay="step")
    assert slow.arrival_ticks is not None
    assert fast.arrival_ticks is not None
    assert fast.arrival_ticks.p50 < slow.arrival_ticks.p50


# ---- bounds

BAD: list[tuple[str, Any]] = [
    *[(name, value) for name in ("nodes", "ticks", "signals") for value in (0, -1)],
    *[(n, value) for n in ("evidence", "false_share", "failing", "partitioned") for value in (-0.1, 1.1, float("nan"))],
    *[(name, value) for name in ("tick_s", "ttl_s") for value in (0.0, -1.0, 1e10, float("nan"), float("inf"))],
    ("topology", "torus"),
    ("decay", "never"),
    *[("confidence", value) for value in (-0.1, 1.1, float("nan"))],
    *[("trust", value) for value in (0.0, 1.0, float("nan"))],
    *[("threshold", value) for value in (-0.1, 1.1, float("nan"))],
    *[("rate_per_s", value) for value in (-0.1, 1e7, float("nan"))],
    *[("radius", value) for value in (-1, 65_536)],
    ("capacity", -1),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_scenarios_out_of_bounds_are_refused(name: str, value: Any) -> None:
    with pytest.raises(InvalidNetworkError) as raised:
        network_of(Scenario(**{name: value}))
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["confidence", "trust", "threshold", "rate_per_s", "radius", "capacity"])
def test_a_scenario_is_refused_when_it_is_made(name: str) -> None:
    with pytest.raises(SmeshError):
        Scenario(**{name: -1})


@pytest.mark.parametrize("degree", [0, -1])
def test_degrees_out_of_bounds_are_refused(degree: int) -> None:
    with pytest.raises(SmeshError, match="degree"):
        network_of(Scenario(degree=degree))
