"""The topology as a value: what it takes and refuses, what it answers, that it cannot be changed."""

from __future__ import annotations

import copy
import math
import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import smesh_core.topology as topology_module
from hypothesis import given
from hypothesis import strategies as st
from smesh_core.errors import InvalidTopologyError, SmeshError
from smesh_core.topologies import full_mesh, grid, random_graph, ring, scale_free
from smesh_core.topology import NODES_MAX, Topology
from smesh_core.topology_edges import from_edges

Edges = list[tuple[int, int]]


@st.composite
def networks(draw: st.DrawFn, most: int = 12) -> tuple[int, Edges]:
    """A number of nodes and different directed edges between them, no loops, ascending."""
    nodes = draw(st.integers(1, most))
    ends = st.integers(0, nodes - 1)
    edges = draw(st.sets(st.tuples(ends, ends).filter(lambda edge: edge[0] != edge[1]), max_size=30))
    return nodes, sorted(edges)


def built(nodes: int, edges: Edges, **values: Any) -> Topology:
    """By hand, with loops."""
    rows: list[list[int]] = [[] for _ in range(nodes)]
    for u, v in edges:
        rows[u].append(v)
    offsets = [0]
    for row in rows:
        offsets.append(offsets[-1] + len(row))
    return Topology(offsets, [v for row in rows for v in row], **values)


def parts(nodes: int, edges: Edges) -> list[int]:
    """The number of each node's component, by walking."""
    label = [-1] * nodes
    for start in range(nodes):
        if label[start] >= 0:
            continue
        label[start], walk = max(label) + 1, [start]
        while walk:
            here = walk.pop()
            for u, v in edges:
                for one, other in ((u, v), (v, u)):
                    if one == here and label[other] < 0:
                        label[other] = label[start]
                        walk.append(other)
    return label


TRIANGLE_AND_TAIL = (5, [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 4), (4, 2)])


# ---- what it answers


def test_what_a_small_network_says() -> None:
    topology = built(*TRIANGLE_AND_TAIL, kind="by-hand")
    assert (topology.node_count, topology.hypha_count, topology.kind) == (5, 8, "by-hand")
    assert topology.degrees.tolist() == [2, 2, 3, 0, 1]
    assert [topology.neighbours(node).tolist() for node in range(5)] == [[1, 2], [0, 2], [0, 1, 4], [], [2]]
    assert topology.sources().tolist() == [0, 0, 1, 1, 2, 2, 2, 4]
    assert topology.strengths is None
    assert topology.latencies is None
    assert topology.labels is None
    assert topology.is_symmetric()
    assert topology.components().tolist() == [0, 0, 0, 1, 0]
    assert topology.memory_bytes == 6 * 8 + 8 * 4
    assert topology.with_hyphae(strengths=0.5).memory_bytes == 6 * 8 + 8 * 4 + 8 * 8
    assert topology.with_hyphae(strengths=0.5, latencies=2).memory_bytes == 6 * 8 + 8 * 4 + 8 * 8 + 8 * 4
    assert repr(topology) == "Topology(by-hand, 5 nodes, 8 hyphae)"


def test_dtypes_are_the_promised_ones() -> None:
    topology = built(*TRIANGLE_AND_TAIL, strengths=[1, 0.5] * 4, latencies=[1, 2] * 4)
    assert topology.offsets.dtype == np.int64
    assert topology.targets.dtype == np.int32
    assert topology.strengths is not None
    assert topology.strengths.dtype == np.float64
    assert topology.latencies is not None
    assert topology.latencies.dtype == np.int32
    assert topology.sources().dtype == np.int32
    assert topology.components().dtype == np.int32
    assert topology.degrees.dtype == np.int64


@given(networks())
def test_rows_say_what_the_edges_said(network: tuple[int, Edges]) -> None:
    nodes, edges = network
    topology = built(nodes, edges)
    assert list(zip(topology.sources().tolist(), topology.targets.tolist(), strict=True)) == edges
    assert [topology.hypha(u, v) for u, v in edges] == list(range(len(edges)))
    assert topology.is_symmetric() == all((v, u) in edges for u, v in edges)
    assert topology.components().tolist() == parts(nodes, edges)


@given(networks())
def test_a_hypha_that_is_not_there_is_an_error(network: tuple[int, Edges]) -> None:
    nodes, edges = network
    topology = built(nodes, edges)
    for u in range(nodes):
        for v in range(nodes):
            if (u, v) not in edges:
                with pytest.raises(InvalidTopologyError, match=f"no hypha leads from node {u} to node {v}$"):
                    topology.hypha(u, v)


@given(networks())
def test_opposites_lead_back(network: tuple[int, Edges]) -> None:
    nodes, edges = network
    both = sorted({*edges, *((v, u) for u, v in edges)})
    opposites = built(nodes, both).opposites()
    assert opposites is not None
    assert [both[back] for back in opposites.tolist()] == [(v, u) for u, v in both]
    if set(edges) != set(both):
        assert built(nodes, edges).opposites() is None


@pytest.mark.parametrize("node", [-1, 5, 2**40])
def test_a_node_that_is_not_there_is_an_error(node: int) -> None:
    topology = built(*TRIANGLE_AND_TAIL)
    for ask in (topology.neighbours, lambda n: topology.hypha(n, 1), lambda n: topology.hypha(1, n)):
        with pytest.raises(InvalidTopologyError, match=f"there is no node {node}; nodes are 0 to 4"):
            ask(node)


# ---- components


def test_components_of_known_networks() -> None:
    assert set(ring(1000).components().tolist()) == {0}
    assert set(scale_free(1000, attach=1, seed=3).components().tolist()) == {0}
    assert set(grid(7, 30).components().tolist()) == {0}
    assert random_graph(6, mean_degree=0.0).components().tolist() == [0, 1, 2, 3, 4, 5]
    assert full_mesh(1).components().tolist() == [0]


@given(st.permutations(range(40)), st.integers(1, 8))
def test_components_of_paths_in_any_order(order: list[int], piece: int) -> None:
    """A path is the longest chain there is, and its numbering decides how chains hook on."""
    edges = [(u, v) for at, (u, v) in enumerate(pairwise(order)) if at % (piece * 3) != piece]
    assert from_edges(edges or [(0, 1)], nodes=40).components().tolist() == parts(40, edges or [(0, 1)])


def test_components_take_few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = 0
    real = topology_module._ends_of_chains

    def counted(pointers: Any) -> Any:
        nonlocal rounds
        rounds += 1
        return real(pointers)

    monkeypatch.setattr(topology_module, "_ends_of_chains", counted)
    for nodes, seed in ((4096, 1), (4096, 2), (64, 3), (64, 4)):
        for mean_degree in (1.0, 1.5, 3.0):
            rounds, network = 0, random_graph(nodes, mean_degree=mean_degree, seed=seed)
            labels = network.components()
            assert np.array_equal(labels[network.sources()], labels[network.targets])
            assert rounds <= 2 * math.log2(nodes)
    rounds = 0
    ring(100_000).components()
    assert rounds == 1


# ---- it cannot be changed


def test_arrays_cannot_be_written_to() -> None:
    offsets, targets = np.array([0, 1, 2]), np.array([1, 0], np.int32)
    strengths, latencies = np.array([0.5, 1.0]), np.array([3, 1], np.int32)
    made = Topology(offsets, targets, strengths, latencies)
    for topology in (made, made.with_hyphae(strengths=strengths, latencies=latencies), ring(5), pickled(made)):
        for array in (topology.offsets, topology.targets, topology.strengths, topology.latencies):
            if array is not None:
                with pytest.raises(ValueError, match="read-only"):
                    array[0] = 1
        with pytest.raises(ValueError, match="read-only"):
            topology.neighbours(0)[0] = 1
    for name in ("kind", "offsets", "anything"):
        with pytest.raises(AttributeError, match=f"a topology cannot be changed: {name}"):
            setattr(made, name, "other")
    with pytest.raises(AttributeError, match="a topology cannot be changed: kind"):
        del made.kind


def test_what_it_was_made_of_stays_the_callers() -> None:
    offsets, targets = np.array([0, 1, 2]), np.array([1, 0], np.int32)
    strengths, latencies = np.array([0.5, 1.0]), np.array([3, 1], np.int32)
    made = Topology(offsets, targets, strengths, latencies)
    other = made.with_hyphae(strengths=strengths, latencies=latencies)
    offsets[:], targets[:], strengths[:], latencies[:] = 7, 7, 7, 7
    assert made == other == Topology([0, 1, 2], [1, 0], [0.5, 1.0], [3, 1])


def pickled(topology: Topology) -> Topology:
    back = pickle.loads(pickle.dumps(topology))  # noqa: S301
    assert isinstance(back, Topology)
    return back


def labelled(topology: Topology, labels: str | None, kind: str = "custom") -> Topology:
    return Topology(topology.offsets, topology.targets, topology.strengths, topology.latencies, kind, labels)


def test_equality_copies_and_hash() -> None:
    topology = built(*TRIANGLE_AND_TAIL, strengths=[0.5] * 8, labels=tuple("abcde"))
    for same in (copy.copy(topology), copy.deepcopy(topology), pickled(topology), labelled(topology, "abcde")):
        assert same == topology
        assert hash(same) == hash(topology)
    others = [
        topology.with_hyphae(strengths=1.0),
        topology.with_hyphae(strengths=[0.5] * 7 + [0.4]),
        topology.with_hyphae(latencies=2),
        labelled(topology, "abcde", kind="other"),
        labelled(topology, None),
        labelled(topology, "abcdf"),
        built(5, TRIANGLE_AND_TAIL[1][:-1], strengths=0.5, labels=tuple("abcde")),
        built(6, TRIANGLE_AND_TAIL[1], strengths=0.5),
        "a topology",
    ]
    assert all(topology != other for other in others)


# ---- strengths and latencies


def test_with_hyphae_sets_one_and_keeps_the_other() -> None:
    plain = ring(4)
    strengths = np.linspace(0.1, 0.8, 8)
    one = plain.with_hyphae(strengths=strengths)
    assert one.strengths is not None
    assert one.strengths.tolist() == strengths.tolist()
    assert one.latencies is None
    both = one.with_hyphae(latencies=range(1, 9))
    assert both.strengths is not None
    assert both.strengths.tolist() == strengths.tolist()
    assert both.latencies is not None
    assert both.latencies.tolist() == list(range(1, 9))
    assert (both.kind, both.offsets.tolist(), both.targets.tolist()) == (
        "ring",
        plain.offsets.tolist(),
        plain.targets.tolist(),
    )
    slow = plain.with_hyphae(latencies=65_535)
    assert slow.latencies is not None
    assert slow.latencies.tolist() == [65_535] * 8


def test_all_ones_are_none() -> None:
    given_ones = Topology([0, 1, 2], [1, 0], [1, 1], [1, 1])
    assert given_ones.strengths is None
    assert given_ones.latencies is None
    faint = ring(4).with_hyphae(strengths=0.5, latencies=2)
    assert faint.with_hyphae(strengths=1.0, latencies=1) == ring(4)
    assert full_mesh(1).with_hyphae(strengths=[], latencies=[]) == full_mesh(1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"strengths": [0.5] * 7}, r"strengths takes 8 numbers or a single one, not shape \(7,\)"),
        ({"strengths": [[0.5] * 8]}, r"not shape \(1, 8\)"),
        ({"strengths": [0.5, 0.0] * 4}, "a strength is over 0 and at most 1, not 0 at hypha 1"),
        ({"strengths": [0.5] * 7 + [1.0000001]}, "a strength is over 0 and at most 1, not 1 at hypha 7"),
        ({"strengths": [0.5] * 7 + [float("nan")]}, "not nan at hypha 7"),
        ({"strengths": -0.5}, "not -0.5 at hypha 0"),
        ({"strengths": ["strong"] * 8}, "strengths takes numbers, not <U6"),
        ({"strengths": [[1], [1, 2]]}, "strengths takes an array of numbers"),
        ({"latencies": [1] * 9}, r"latencies takes 8 numbers or a single one, not shape \(9,\)"),
        ({"latencies": [1, 0] * 4}, "a latency is 1 to 65535 whole ticks, not 0 at hypha 1"),
        ({"latencies": [1] * 7 + [65_536]}, "a latency is 1 to 65535 whole ticks, not 65536 at hypha 7"),
        ({"latencies": 2**32 + 1}, "not 4294967297 at hypha 0"),
        ({"latencies": 1.5}, "latencies takes whole ticks, not float64"),
    ],
)
def test_wrong_values_of_hyphae(values: dict[str, Any], message: str) -> None:
    plain = ring(4)
    for make in (plain.with_hyphae, lambda **said: Topology(plain.offsets, plain.targets, **said)):
        with pytest.raises(InvalidTopologyError, match=message) as caught:
            make(**values)
        assert "\n" not in str(caught.value)


# ---- what it refuses


@pytest.mark.parametrize(
    ("offsets", "targets", "message"),
    [
        ([], [], "1 to 2147483647 nodes, so 2 offsets or more, not 0"),
        ([0], [], "so 2 offsets or more, not 1"),
        ([[0, 1]], [0], r"offsets takes shape \(any,\), not \(1, 2\)"),
        (3, [0], r"offsets takes shape \(any,\), not \(\)"),
        ([0.0, 0.0], [], "offsets takes integers, not float64"),
        ([0, 1, 2], [1.0, 0.0], "targets takes integers, not float64"),
        ([0, 1, 2], [[1], [0, 1]], "targets takes an array of numbers"),
        ([1, 1, 2], [1, 0], "offsets run from 0 to the number of hyphae, 2, not from 1 to 2"),
        ([0, 1, 1], [1, 0], "offsets run from 0 to the number of hyphae, 2, not from 0 to 1"),
        ([0, 2, 1, 3], [1, 2, 0], "offsets fall after node 1"),
        ([0, 1, 2], [2, 0], "hypha 0 leads to node 2; nodes are 0 to 1"),
        ([0, 1, 2], [1, -1], "hypha 1 leads to node -1; nodes are 0 to 1"),
        ([0, 1, 2], [1, 2**32], "hypha 1 leads to node 4294967296"),
        ([0, 1, 2], np.array([1, 2**63], np.uint64), "targets holds 9223372036854775808, which is too large"),
        ([0, 1, 3, 4], [1, 2, 0, 0], "the targets of node 1 do not rise"),
        ([0, 2, 3], [1, 1, 0], "the targets of node 0 do not rise"),
        ([0, 1, 2], [1, 1], "node 1 is joined to itself"),
        ([0, 1], [0], "node 0 is joined to itself"),
    ],
)
def test_rows_that_are_no_network(offsets: Any, targets: Any, message: str) -> None:
    with pytest.raises(InvalidTopologyError, match=message) as caught:
        Topology(offsets, targets)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, SmeshError)
    assert isinstance(caught.value, ValueError)


def test_targets_may_fall_from_row_to_row() -> None:
    assert Topology([0, 1, 1, 2], [2, 0]).targets.tolist() == [2, 0]


def test_labels_name_each_node_once() -> None:
    pair = Topology([0, 1, 2], [1, 0], labels=["ada", "bo"])
    assert pair.labels == ("ada", "bo")
    assert pair.with_hyphae(strengths=0.5).labels == ("ada", "bo")
    with pytest.raises(InvalidTopologyError, match="3 labels do not name 2 nodes"):
        labelled(pair, "abc")
    with pytest.raises(InvalidTopologyError, match="labels name two nodes alike"):
        labelled(pair, "aa")


def test_nodes_fit_32_bits() -> None:
    assert np.iinfo(np.int32).max == NODES_MAX
