"""Networks of chance: equal to the slow algorithm in turn, statistically what they are named after, and unchanging."""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smesh_core import topology_draws
from smesh_core.rng import Stream, draw, draw_unit, key
from smesh_core.topologies import random_graph, ring, scale_free, small_world
from smesh_core.topology_edges import from_networkx

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from smesh_core.topology import Topology

SMALL_WORLD, SCALE_FREE, RANDOM = range(3)
seeds = st.integers(0, 2**64 - 1)
FAR_OUT = 4.8
"""In standard errors; chance alone goes there once in a million times."""


def edges_of(topology: Topology) -> set[tuple[int, int]]:
    hyphae = zip(topology.sources().tolist(), topology.targets.tolist(), strict=True)
    return {(u, v) for u, v in hyphae if u < v}


def drawn(seed: int, tick: int, signal: int, edge: int) -> int:
    return int(draw(key(seed, Stream.TOPOLOGY, tick, signal), edge)[0])


def standard_errors(one: list[Any], other: list[Any]) -> NDArray[np.float64]:
    """How far apart two samples' means are; samples of shape (runs,) or (runs, values)."""
    a, b = np.array(one, float), np.array(other, float)
    spread = np.sqrt(a.var(axis=0, ddof=1) / len(a) + b.var(axis=0, ddof=1) / len(b))
    return np.abs(a.mean(axis=0) - b.mean(axis=0)) / np.maximum(spread, 1e-12)


def clustering(topology: Topology) -> float:
    """Triangles over connected triples, by a matrix of all pairs."""
    joined = np.zeros((topology.node_count,) * 2, np.float32)
    joined[topology.sources(), topology.targets] = 1
    degrees = topology.degrees
    return float(((joined @ joined) * joined).sum() / (degrees * (degrees - 1)).sum())


# ---- the same in turn


def small_world_in_turn(nodes: int, degree: int, rewired: float, seed: int) -> set[tuple[int, int]]:
    """Watts and Strogatz, one edge after the other, by sets."""
    laps = degree // 2
    joined = [{(node + step) % nodes for step in range(-laps, laps + 1)} - {node} for node in range(nodes)]
    for edge in range(nodes * laps):
        lap, node = divmod(edge, nodes)
        old = (node + lap + 1) % nodes
        unit = (Fraction(drawn(seed, 0, SMALL_WORLD, edge) >> 12) + Fraction(1, 2)) / 2**52
        if unit < Fraction(rewired) and len(joined[node]) < nodes - 1:
            find = found_by_table if 16 * degree > nodes else found_by_drawing
            new = find(seed, edge, node, joined[node] | {node}, nodes)
            joined[node] ^= {old, new}
            joined[old] ^= {node}
            joined[new] ^= {node}
    return {(u, v) for u in range(nodes) for v in joined[u] if u < v}


def found_by_drawing(seed: int, edge: int, node: int, taken: set[int], nodes: int) -> int:
    tries, new = 0, node
    while new in taken:
        tries += 1
        new = drawn(seed, tries, SMALL_WORLD, edge) % (nodes - 1)
        new += new >= node
    return new


def found_by_table(seed: int, edge: int, node: int, taken: set[int], nodes: int) -> int:
    word = drawn(seed, 1, SMALL_WORLD, edge)
    for new in (word % nodes, word // nodes % nodes, word // nodes**2 % nodes):
        if new not in taken:
            return new
    free = sorted(set(range(nodes)) - taken)
    return free[drawn(seed, 2, SMALL_WORLD, edge) % len(free)]


@given(st.integers(1, 60), st.integers(0, 12), st.floats(0, 1), seeds)
def test_dense_small_world_is_that_of_rewiring_in_turn(nodes: int, half: int, rewired: float, seed: int) -> None:
    degree = min(2 * half, (nodes - 1) // 2 * 2)
    expected = small_world_in_turn(nodes, degree, rewired, seed)
    assert edges_of(small_world(nodes, degree=degree, rewired=rewired, seed=seed)) == expected


@pytest.mark.parametrize(("nodes", "degree"), [(64, 4), (97, 6), (130, 8), (33, 2)])
@pytest.mark.parametrize("rewired", [0.1, 0.7, 1.0])
def test_sparse_small_world_is_that_of_rewiring_in_turn(nodes: int, degree: int, rewired: float) -> None:
    """At once, edges that draw the same pair, or a pair that the lattice still holds, must sort themselves out."""
    for seed in range(8):
        expected = small_world_in_turn(nodes, degree, rewired, seed)
        assert edges_of(small_world(nodes, degree=degree, rewired=rewired, seed=seed)) == expected


def test_rewiring_at_once_gives_up_as_it_would_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """With few tries many edges stay, and those that took their places meanwhile must draw on."""
    monkeypatch.setattr(topology_draws, "_TRIES_MAX", 1)
    monkeypatch.setattr(topology_draws, "_DENSE", 1)
    for seed in range(20):
        topology = small_world(40, degree=24, rewired=1.0, seed=seed)
        assert topology.hypha_count == 40 * 24
        assert topology.is_symmetric()
        assert edges_of(topology) == one_try(40, 24, seed)


def one_try(nodes: int, degree: int, seed: int) -> set[tuple[int, int]]:
    laps = degree // 2
    joined = {frozenset((u, (u + lap) % nodes)) for u in range(nodes) for lap in range(1, laps + 1)}
    for edge in range(nodes * laps):
        lap, node = divmod(edge, nodes)
        new = drawn(seed, 1, SMALL_WORLD, edge) % (nodes - 1)
        pair = frozenset((node, new + (new >= node)))
        if pair not in joined:
            joined ^= {pair, frozenset((node, (node + lap + 1) % nodes))}
    return {(min(pair), max(pair)) for pair in joined}


def scale_free_in_turn(nodes: int, attach: int, seed: int) -> set[tuple[int, int]]:
    """Barabási and Albert by repeated endpoints, one node after the other."""
    ends = [0] * attach + list(range(1, attach + 1))
    edges = {(0, node) for node in range(1, attach + 1)}
    for row, node in enumerate(range(attach + 1, nodes), 1):
        chosen: list[int] = []
        tries = 0
        while len(chosen) < attach:
            for number in range(attach):
                other = ends[drawn(seed, tries, SCALE_FREE, row * attach + number) % (2 * attach * row)]
                if other not in chosen and len(chosen) < attach:
                    chosen.append(other)
            tries += 1
        edges |= {(other, node) for other in chosen}
        ends += [*chosen, *[node] * attach]
    return edges


@pytest.mark.parametrize(
    ("nodes", "attach"), [(2, 1), (5, 4), (6, 4), (400, 1), (400, 2), (600, 3), (150, 10), (40, 30)]
)
def test_scale_free_is_that_of_attaching_in_turn(nodes: int, attach: int) -> None:
    for seed in range(3):
        assert edges_of(scale_free(nodes, attach=attach, seed=seed)) == scale_free_in_turn(nodes, attach, seed)


@pytest.mark.parametrize("block", [1, 5, 64])
def test_size_of_a_block_does_not_matter(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    expected = [scale_free(1000, seed=4), random_graph(1000, seed=4)]
    monkeypatch.setattr(topology_draws, "DRAWS_AT_ONCE", block)
    assert [scale_free(1000, seed=4), random_graph(1000, seed=4)] == expected


@given(st.integers(2, 40), st.floats(0.01, 0.99), seeds)
def test_random_graph_is_that_of_skipping_in_turn(nodes: int, density: float, seed: int) -> None:
    mean_degree = density * (nodes - 1)
    probability = mean_degree / (nodes - 1)
    pairs = [(w, v) for v in range(nodes) for w in range(v)]
    at, number, expected = -1, 0, set()
    while True:
        unit = float(draw_unit(key(seed, Stream.TOPOLOGY, 0, RANDOM), number)[0])
        at += 1 + math.floor(math.log(unit) / math.log1p(-probability))
        if at >= len(pairs):
            break
        expected.add(pairs[at])
        number += 1
    assert edges_of(random_graph(nodes, mean_degree=mean_degree, seed=seed)) == expected


# ---- small world


def test_rewiring_takes_a_lattice_to_a_random_graph() -> None:
    nodes, degree = 1000, 10
    lattice = 3 * (degree - 2) / (4 * (degree - 1))
    assert clustering(ring(nodes, reach=degree // 2)) == pytest.approx(lattice)
    for rewired in (0.05, 0.2, 0.5):
        measured = [clustering(small_world(nodes, degree=degree, rewired=rewired, seed=s)) for s in range(4)]
        assert np.mean(measured) == pytest.approx(lattice * (1 - rewired) ** 3, rel=0.06, abs=degree / nodes)
    measured = [clustering(small_world(nodes, degree=degree, rewired=1.0, seed=s)) for s in range(4)]
    assert np.mean(measured) == pytest.approx(degree / nodes, rel=0.2)


@pytest.mark.parametrize(("nodes", "degree"), [(160, 6), (50, 8), (24, 18)])
@pytest.mark.parametrize("rewired", [0.1, 1.0])
def test_small_world_is_like_that_of_networkx(nodes: int, degree: int, rewired: float) -> None:
    """One of the three is rewired at once, the others one by one."""

    def measures(topology: Topology) -> list[float]:
        degrees = topology.degrees
        return [clustering(topology), degrees.var(), float(degrees.max()), float(np.abs(kept(topology, degree)).sum())]

    ours = [measures(small_world(nodes, degree=degree, rewired=rewired, seed=s)) for s in range(120)]
    theirs = [measures(from_networkx(nx.watts_strogatz_graph(nodes, degree, rewired, seed=s))) for s in range(120)]
    assert standard_errors(ours, theirs).max() < FAR_OUT


def kept(topology: Topology, degree: int) -> NDArray[np.bool_]:
    """Which hyphae are where the lattice has one."""
    ahead = (topology.targets - topology.sources()) % topology.node_count
    lattice: NDArray[np.bool_] = np.minimum(ahead, topology.node_count - ahead) <= degree // 2
    return lattice


@pytest.mark.parametrize("rewired", [0.02, 0.3, 0.9])
def test_as_many_edges_move_as_should(rewired: float) -> None:
    nodes, degree = 20_000, 6
    edges = nodes * degree // 2
    for seed in range(5):
        topology = small_world(nodes, degree=degree, rewired=rewired, seed=seed)
        moved = edges - np.count_nonzero(kept(topology, degree)) / 2
        assert abs(moved - edges * rewired) < FAR_OUT * math.sqrt(edges * rewired * (1 - rewired)) + edges * 5e-4


@pytest.mark.parametrize(("nodes", "degree"), [(4000, 4), (200, 20)])
def test_far_ends_are_uniform(nodes: int, degree: int) -> None:
    """Seen from its node each moved edge leads anywhere, and each node is led to by as many as chance has it."""
    counts = np.zeros(nodes)
    variance = []
    for seed in range(40):
        topology = small_world(nodes, degree=degree, rewired=1.0, seed=seed)
        ahead = (topology.targets - topology.sources()) % nodes
        counts += np.bincount(ahead, minlength=nodes)
        variance.append(topology.degrees.var())
    middle = counts[degree // 2 + 1 : nodes // 2].reshape(-1)
    bins = np.array([part.mean() for part in np.array_split(middle, 20)])
    # Far ones are all alike; near ones are less, as a lattice edge that has not moved yet is in the way.
    expected = middle.mean()
    assert expected == pytest.approx(40 * nodes * degree / (nodes - 1), rel=0.1)
    deviation = (bins - expected) / np.sqrt(expected / (len(middle) / 20))
    assert np.abs(deviation).max() < FAR_OUT
    # degree / 2 edges are the node's own; the others are drawn.
    assert np.mean(variance) == pytest.approx(degree / 2, rel=0.1)


# ---- scale free


def test_early_nodes_are_as_favoured_as_in_networkx() -> None:
    """Lower would be a list that forgets some ends, higher one that counts some twice or leans to its start."""
    nodes, runs = 120, 400
    for attach in (1, 3):
        ours = [scale_free(nodes, attach=attach, seed=s).degrees for s in range(runs)]
        theirs = [[d for _, d in nx.barabasi_albert_graph(nodes, attach, seed=s).degree()] for s in range(runs)]
        groups = [[0], [1], [2], [3], [4], [5, 6], [7, 8, 9], [*range(10, 20)], [*range(20, 60)], [*range(60, 119)]]
        one, other = (
            [[np.mean(np.array(run)[group]) for group in groups] for run in sample] for sample in (ours, theirs)
        )
        assert standard_errors(one, other).max() < FAR_OUT
        spread = [np.mean((np.array(run, float) - 2 * attach) ** 2) for run in ours]
        assert standard_errors(spread, [np.mean((np.array(run) - 2 * attach) ** 2) for run in theirs]) < FAR_OUT


def test_degrees_follow_the_known_law() -> None:
    """P(degree >= k) = m (m + 1) / (k (k + 1)) in the limit (Bollobás and others 2001)."""
    attach, nodes = 3, 30_000
    for seed in range(3):
        degrees = scale_free(nodes, attach=attach, seed=seed).degrees
        assert degrees.min() >= 1
        for least in (4, 5, 8, 12, 20, 40):
            share = attach * (attach + 1) / (least * (least + 1))
            assert np.mean(degrees >= least) == pytest.approx(share, abs=FAR_OUT * math.sqrt(share / nodes) + 3e-4)


def test_the_tail_is_heavier_than_that_of_a_random_graph() -> None:
    for seed in range(4):
        heavy, light = scale_free(5000, seed=seed), random_graph(5000, seed=seed)
        assert abs(heavy.degrees.mean() - light.degrees.mean()) < 0.3
        assert heavy.degrees.max() > 100 > 25 > light.degrees.max()


def test_newcomers_do_not_lean_to_either_end() -> None:
    """Of the last node's neighbours, each earlier node has its share by its degree."""
    leaning = []
    for seed in range(300):
        topology = scale_free(60, attach=2, seed=seed)
        row = topology.neighbours(59)
        before = topology.degrees.copy()
        before[row] -= 1
        before[59] = 0
        cumulative = np.cumsum(before) - before / 2
        leaning += (cumulative[row] / before.sum()).tolist()
    assert np.mean(leaning) == pytest.approx(0.5, abs=FAR_OUT / math.sqrt(12 * len(leaning)))


# ---- random


@pytest.mark.parametrize(("nodes", "mean_degree"), [(2000, 6.0), (20_000, 1.0), (300, 150.0), (300, 285.0)])
def test_edges_of_a_random_graph_are_binomial(nodes: int, mean_degree: float) -> None:
    pairs, probability = nodes * (nodes - 1) / 2, mean_degree / (nodes - 1)
    sigma = math.sqrt(pairs * probability * (1 - probability))
    deviations = []
    for seed in range(60):
        topology = random_graph(nodes, mean_degree=mean_degree, seed=seed)
        deviations.append((topology.hypha_count / 2 - pairs * probability) / sigma)
        if seed < 5:
            spread = math.sqrt(2 / nodes) * FAR_OUT
            assert topology.degrees.var() == pytest.approx(mean_degree * (1 - probability), rel=spread)
    assert np.abs(deviations).max() < 5
    assert abs(np.mean(deviations)) < FAR_OUT / math.sqrt(60)
    assert 0.6 < np.std(deviations) < 1.5


def test_all_pairs_are_as_likely_and_independent() -> None:
    nodes, runs, probability = 6, 4000, 0.3
    pairs = [(u, v) for v in range(nodes) for u in range(v)]
    seen = np.zeros((runs, len(pairs)))
    for seed in range(runs):
        edges = edges_of(random_graph(nodes, mean_degree=probability * (nodes - 1), seed=seed))
        seen[seed] = [pair in edges for pair in pairs]
    sigma = math.sqrt(probability * (1 - probability) / runs)
    assert np.abs(seen.mean(axis=0) - probability).max() < FAR_OUT * sigma
    together = np.corrcoef(seen.T) - np.eye(len(pairs))
    assert np.abs(together).max() < FAR_OUT / math.sqrt(runs)


@given(st.integers(0, (2**31 - 1) * (2**31 - 2) // 2 - 1) | st.integers(0, 10**6))
def test_pairs_are_exact_up_to_the_last(place: int) -> None:
    v, w = topology_draws.pairs_at(np.array([place]))
    assert 0 <= w[0] < v[0] < 2**31 - 1
    assert int(v[0]) * (int(v[0]) - 1) // 2 + int(w[0]) == place


@pytest.mark.parametrize("row", [1, 2, 3, 67_108_865, 94_906_266, 94_906_267, 1_234_567_891, 2**31 - 3, 2**31 - 2])
def test_pairs_at_the_ends_of_rows(row: int) -> None:
    first = row * (row - 1) // 2
    v, w = topology_draws.pairs_at(np.array([first - 1, first, first + row - 1, first + row])[row == 1 :])
    expected = [(row - 1, row - 2), (row, 0), (row, row - 1), (row + 1, 0)][row == 1 :]
    assert list(zip(v.tolist(), w.tolist(), strict=True)) == expected


@given(st.floats(2.0**-53, 1.0, exclude_max=True))
def test_logarithm_is_one(value: float) -> None:
    assert topology_draws._log(np.array([value]))[0] == pytest.approx(math.log(value), rel=1e-15, abs=1e-16)


@given(st.floats(0, 1, exclude_max=True) | st.floats(0, 1e-6))
def test_logarithm_of_what_is_left_is_one(probability: float) -> None:
    assert topology_draws._log_of_complement(probability) == pytest.approx(math.log1p(-probability), rel=1e-14)


def test_gaps_longer_than_the_network_do_not_wrap_round() -> None:
    places = (2**31 - 1) * (2**31 - 2) // 2
    for seed in range(200):
        taken = topology_draws.bernoulli_places(places, 1.0 / places, seed)
        assert len(taken) < 20
        assert (np.diff(taken) > 0).all()
        assert ((taken >= 0) & (taken < places)).all()


# ---- unchanging


@pytest.mark.parametrize(
    ("make", "digest"),
    [
        (lambda: small_world(300, degree=6, rewired=0.3, seed=7), "cb8778e98ea6c0b5"),
        (lambda: small_world(60, degree=8, rewired=0.3, seed=7), "cd83d4367089e638"),
        (lambda: scale_free(300, attach=3, seed=7), "47e6e1adb838b34a"),
        (lambda: random_graph(300, mean_degree=6.0, seed=7), "23b53abe5602a184"),
    ],
    ids=["small-world", "dense-small-world", "scale-free", "random"],
)
def test_golden_networks(make: Callable[[], Topology], digest: str) -> None:
    """A change here changes the networks of every seed that anybody has written down: it needs a changelog entry."""
    topology = make()
    content = topology.offsets.astype("<i8").tobytes() + topology.targets.astype("<i4").tobytes()
    assert hashlib.sha256(content).hexdigest()[:16] == digest
