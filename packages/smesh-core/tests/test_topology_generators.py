"""What each generator makes of any arguments: the rules it follows, its exact size, its errors, its registry."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smesh_core.errors import InvalidTopologyError
from smesh_core.topologies import TOPOLOGIES, full_mesh, grid, random_graph, ring, scale_free, small_world
from smesh_core.topology import Topology

if TYPE_CHECKING:
    from collections.abc import Callable

seeds = st.integers(-(2**70), 2**70)


def edges_of(topology: Topology) -> set[tuple[int, int]]:
    """Each joined pair once, the lower node first."""
    hyphae = zip(topology.sources().tolist(), topology.targets.tolist(), strict=True)
    return {(u, v) for u, v in hyphae if u < v}


def check(topology: Topology, nodes: int, kind: str) -> Topology:
    """What holds for everything that a generator makes; the constructor looks at rows, order and loops."""
    assert Topology(topology.offsets, topology.targets, kind=kind) == topology
    assert topology.node_count == nodes
    assert topology.is_symmetric()
    assert topology.offsets.dtype == np.int64
    assert topology.targets.dtype == np.int32
    assert topology.strengths is None
    assert topology.latencies is None
    assert topology.labels is None
    assert not topology.offsets.flags.writeable
    assert not topology.targets.flags.writeable
    return topology


# ---- by rule


@given(st.integers(1, 40), st.integers(1, 25))
def test_ring_joins_those_within_reach(nodes: int, reach: int) -> None:
    expected = {
        tuple(sorted((node, (node + step) % nodes)))
        for node in range(nodes)
        for step in range(1, reach + 1)
        if step % nodes
    }
    assert edges_of(check(ring(nodes, reach=reach), nodes, "ring")) == expected


@given(st.integers(1, 40))
def test_full_mesh_joins_everybody(nodes: int) -> None:
    topology = check(full_mesh(nodes), nodes, "full-mesh")
    assert [topology.neighbours(u).tolist() for u in range(nodes)] == [
        [v for v in range(nodes) if v != u] for u in range(nodes)
    ]


@given(st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_grid_joins_those_beside(rows: int, columns: int, wraps: bool) -> None:
    expected = set()
    for row in range(rows):
        for column in range(columns):
            for below, right in ((row + 1, column), (row, column + 1)):
                if wraps or (below < rows and right < columns):
                    here, there = row * columns + column, below % rows * columns + right % columns
                    expected.add((min(here, there), max(here, there)))
    expected = {(u, v) for u, v in expected if u != v}
    assert edges_of(check(grid(rows, columns, wraps=wraps), rows * columns, "grid")) == expected


# ---- by chance: what never varies


@given(st.integers(1, 130), st.integers(0, 20), st.floats(0, 1), seeds)
def test_small_world_has_its_exact_size(nodes: int, half: int, rewired: float, seed: int) -> None:
    degree = min(2 * half, (nodes - 1) // 2 * 2)
    topology = check(small_world(nodes, degree=degree, rewired=rewired, seed=seed), nodes, "small-world")
    assert topology.hypha_count == nodes * degree
    assert topology.degrees.min() >= degree // 2


@given(st.integers(3, 130), st.integers(1, 20), seeds)
def test_small_world_without_rewiring_is_the_ring(nodes: int, half: int, seed: int) -> None:
    reach = min(half, (nodes - 1) // 2)
    lattice, expected = small_world(nodes, degree=2 * reach, rewired=0.0, seed=seed), ring(nodes, reach=reach)
    assert lattice.targets.tolist() == expected.targets.tolist()
    assert lattice.offsets.tolist() == expected.offsets.tolist()


@pytest.mark.parametrize("nodes", [3, 5, 9, 33, 64, 301])
@pytest.mark.parametrize("spare", [0, 1, 2, 3])
def test_small_world_ends_where_hardly_a_place_is_free(nodes: int, spare: int) -> None:
    degree = max(0, (nodes - 1 - spare) // 2 * 2)
    topology = check(small_world(nodes, degree=degree, rewired=1.0, seed=nodes), nodes, "small-world")
    assert topology.hypha_count == nodes * degree


@given(st.integers(2, 60), st.integers(1, 60), seeds)
def test_scale_free_has_its_exact_size(nodes: int, attach: int, seed: int) -> None:
    attach = min(attach, nodes - 1)
    topology = check(scale_free(nodes, attach=attach, seed=seed), nodes, "scale-free")
    assert topology.hypha_count == 2 * attach * (nodes - attach)
    assert set(topology.components().tolist()) == {0}
    for node in range(attach + 1, nodes):
        assert np.count_nonzero(topology.neighbours(node) < node) == attach
    assert [topology.neighbours(node)[0] for node in range(1, attach + 1)] == [0] * attach


@given(st.integers(1, 60), st.floats(0, 1), seeds)
def test_random_graph_is_sound(nodes: int, density: float, seed: int) -> None:
    check(random_graph(nodes, mean_degree=density * (nodes - 1), seed=seed), nodes, "random")


@pytest.mark.parametrize("nodes", [1, 2, 3, 10])
def test_random_graph_at_its_ends(nodes: int) -> None:
    assert random_graph(nodes, mean_degree=0.0).hypha_count == 0
    assert random_graph(nodes, mean_degree=5e-324 if nodes > 1 else 0).hypha_count == 0
    assert edges_of(random_graph(nodes, mean_degree=nodes - 1)) == edges_of(full_mesh(nodes))
    assert random_graph(nodes, mean_degree=np.nextafter(nodes - 1, 0)).hypha_count >= (nodes - 1) * (nodes - 2)


@pytest.mark.parametrize(
    "make", [lambda seed: small_world(90, seed=seed), lambda seed: small_world(200, seed=seed),
             lambda seed: scale_free(90, seed=seed), lambda seed: random_graph(90, seed=seed)]
)  # fmt: skip
def test_a_seed_names_a_network(make: Callable[[int], Topology]) -> None:
    made = [make(seed) for seed in range(12)]
    assert made == [make(seed) for seed in range(12)]
    assert len({tuple(topology.targets.tolist()) for topology in made}) == 12
    assert make(-1) == make(2**64 - 1) == make(np.int64(-1))


# ---- errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ring(0), "nodes is 1 or more, not 0"),
        (lambda: ring(-3), "nodes is 1 or more, not -3"),
        (lambda: ring(2**31), "nodes is 2147483647 at most, not 2147483648"),
        (lambda: ring(5, reach=0), "reach is 1 or more, not 0"),
        (lambda: ring(5.0), "nodes takes a whole number, not 5.0"),
        (lambda: full_mesh(0), "nodes is 1 or more"),
        (lambda: grid(0, 3), "rows is 1 or more, not 0"),
        (lambda: grid(3, 0), "columns is 1 or more, not 0"),
        (lambda: grid(2**16, 2**16), "nodes is 2147483647 at most, not 4294967296"),
        (lambda: small_world(0), "nodes is 1 or more"),
        (lambda: small_world(9, degree=3), "degree is even and below its 9 nodes, not 3"),
        (lambda: small_world(6, degree=6), "degree is even and below its 6 nodes, not 6"),
        (lambda: small_world(1), "degree is even and below its 1 nodes, not 6"),
        (lambda: small_world(9, degree=-2), "degree is 0 or more, not -2"),
        (lambda: small_world(9, rewired=1.01), r"rewired takes a probability in \[0, 1\], not 1.01"),
        (lambda: small_world(9, rewired=-0.01), r"rewired takes a probability in \[0, 1\]"),
        (lambda: small_world(9, rewired=math.nan), r"rewired takes a probability in \[0, 1\], not nan"),
        (lambda: small_world(9, seed=0.5), "seed takes a whole number, not 0.5"),
        (lambda: scale_free(0), "nodes is 1 or more"),
        (lambda: scale_free(9, attach=0), "attach is 1 or more, not 0"),
        (lambda: scale_free(3), "attach is below the 3 nodes of a scale-free network, not 3"),
        (lambda: scale_free(9, seed="x"), "seed takes a whole number, not 'x'"),
        (lambda: random_graph(0), "nodes is 1 or more"),
        (lambda: random_graph(5), "mean_degree of 5 nodes is 0 to 4, not 6.0"),
        (lambda: random_graph(9, mean_degree=-0.1), "mean_degree of 9 nodes is 0 to 8, not -0.1"),
        (lambda: random_graph(9, mean_degree=math.nan), "not nan"),
        (lambda: TOPOLOGIES["grid"](5, 0, 0), "degree is 1 or more, not 0"),
        (lambda: TOPOLOGIES["ring"](5, "x"), "seed takes a whole number"),
        (lambda: TOPOLOGIES["full-mesh"](0), "nodes is 1 or more"),
    ],
)
def test_wrong_arguments(make: Callable[[], Topology], message: str) -> None:
    with pytest.raises(InvalidTopologyError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "needed"),
    [
        (lambda limit: full_mesh(1000, memory_limit_bytes=limit), 8 * 1001 + 4 * 1000 * 999),
        (lambda limit: ring(1000, reach=2, memory_limit_bytes=limit), 8 * 1001 + 4 * 4000),
        (lambda limit: ring(1000, reach=500, memory_limit_bytes=limit), 8 * 1001 + 4 * 1000 * 999),
        (lambda limit: grid(10, 100, wraps=True, memory_limit_bytes=limit), 8 * 1001 + 4 * 4000),
        (lambda limit: small_world(1000, memory_limit_bytes=limit), 8 * 1001 + 4 * 6000),
        (lambda limit: scale_free(1000, memory_limit_bytes=limit), 8 * 1001 + 4 * 2 * 3 * 997),
        (lambda limit: random_graph(1000, memory_limit_bytes=limit), 8 * 1001 + 4 * 6000),
    ],
)
def test_what_is_too_large_is_refused_with_its_size(make: Callable[[int], Topology], needed: int) -> None:
    assert make(needed).memory_bytes == pytest.approx(needed, rel=0.1)
    with pytest.raises(InvalidTopologyError, match=rf"of 1,000 nodes would take {needed:,} bytes \(0.0 GiB\), over"):
        make(needed - 1)


@pytest.mark.parametrize("kind", TOPOLOGIES)
def test_what_would_fill_the_machine_is_refused_at_once(kind: str) -> None:
    with pytest.raises(InvalidTopologyError, match=r"of 2,147,483,647 nodes would take [\d,]+ bytes \([\d.]+ GiB\)"):
        TOPOLOGIES[kind](2**31 - 1, 0)
    with pytest.raises(InvalidTopologyError, match=r"the limit of 1,073,741,824 \(memory_limit_bytes\): ask for fewer"):
        small_world(1_000_000, degree=999_998)


def test_largest_full_mesh_within_the_default_limit() -> None:
    with pytest.raises(InvalidTopologyError, match=r"full-mesh of 16,384 nodes .*\(1.0 GiB\)"):
        full_mesh(16_384)
    assert 8 * 16_384 + 4 * 16_383 * 16_382 <= 2**30


# ---- the registry


def test_the_six_names() -> None:
    assert list(TOPOLOGIES) == ["ring", "full-mesh", "small-world", "scale-free", "random", "grid"]
    for builder in TOPOLOGIES.values():
        assert list(inspect.signature(builder).parameters) == ["nodes", "seed", "degree"]
    with pytest.raises(TypeError):
        TOPOLOGIES["other"] = TOPOLOGIES["ring"]


@pytest.mark.parametrize("kind", TOPOLOGIES)
@given(nodes=st.integers(1, 60), seed=seeds, degree=st.none() | st.integers(1, 80))
@settings(max_examples=60)
def test_any_number_of_nodes_and_degree_will_do(kind: str, nodes: int, seed: int, degree: int | None) -> None:
    topology = check(TOPOLOGIES[kind](nodes, seed, degree), nodes, kind)
    assert topology == TOPOLOGIES[kind](nodes, seed=seed, degree=degree)
    if kind != "random" and not (kind == "small-world" and degree is not None and degree < 4):
        assert kind == "small-world" or set(topology.components().tolist()) == {0}


@pytest.mark.parametrize(
    ("kind", "nodes", "degree", "hyphae"),
    [
        ("ring", 20, None, 40),
        ("ring", 20, 1, 40),
        ("ring", 20, 5, 80),
        ("ring", 20, 6, 120),
        ("ring", 20, 500, 380),
        ("full-mesh", 20, 3, 380),
        ("small-world", 20, None, 120),
        ("small-world", 20, 1, 40),
        ("small-world", 20, 5, 80),
        ("small-world", 20, 18, 360),
        ("small-world", 20, 19, 380),
        ("small-world", 7, 6, 42),
        ("small-world", 6, 6, 30),
        ("small-world", 2, None, 2),
        ("small-world", 1, None, 0),
        ("scale-free", 20, None, 2 * 3 * 17),
        ("scale-free", 20, 1, 2 * 19),
        ("scale-free", 20, 5, 2 * 2 * 18),
        ("scale-free", 3, 6, 4),
        ("scale-free", 2, None, 2),
        ("scale-free", 1, None, 0),
        ("random", 6, None, 30),
        ("random", 1, None, 0),
        ("grid", 1, None, 0),
        ("grid", 2, None, 2),
        ("grid", 20, 9, 2 * (4 * 4 + 3 * 5)),
    ],
)
def test_what_a_degree_means(kind: str, nodes: int, degree: int | None, hyphae: int) -> None:
    assert TOPOLOGIES[kind](nodes, 0, degree).hypha_count == hyphae


def test_a_random_degree_is_a_mean() -> None:
    for degree, expected in ((None, 6.0), (3, 3.0), (11, 11.0)):
        means = [TOPOLOGIES["random"](500, seed, degree).degrees.mean() for seed in range(10)]
        assert np.mean(means) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("nodes", "rows", "columns"), [(4, 2, 2), (6, 2, 3), (50, 5, 10), (64, 8, 8), (36, 6, 6), (3, 1, 3)]
)
def test_grid_of_a_number_is_the_most_square(nodes: int, rows: int, columns: int) -> None:
    assert TOPOLOGIES["grid"](nodes) == grid(rows, columns)


@pytest.mark.parametrize(("nodes", "columns"), [(5, 3), (7, 3), (53, 8), (997, 32), (998, 32), (10_007, 101)])
def test_grid_of_a_number_with_no_good_sides_has_a_short_last_row(nodes: int, columns: int) -> None:
    whole = edges_of(grid(math.ceil(nodes / columns), columns))
    assert edges_of(TOPOLOGIES["grid"](nodes)) == {(u, v) for u, v in whole if v < nodes}


def test_documented_choice_of_arguments_is_keyword_only() -> None:
    for make in (ring, full_mesh, small_world, scale_free, random_graph, grid):
        parameters: list[Any] = list(inspect.signature(make).parameters.values())
        positional = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
        assert positional == (["rows", "columns"] if make is grid else ["nodes"])
