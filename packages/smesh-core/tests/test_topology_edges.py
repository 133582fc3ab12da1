"""Topologies from edges, from lines of text, and from and to networkx."""

from __future__ import annotations

import io
import sys
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smesh_core.errors import InvalidTopologyError, SmeshError
from smesh_core.topologies import TOPOLOGIES, grid, random_graph, ring, scale_free
from smesh_core.topology import Topology
from smesh_core.topology_edges import from_edges, from_networkx, parse_edge_list, to_networkx

Said = dict[tuple[int, int], tuple[float, int]]
"""Strength and latency of each edge."""

strengths = st.floats(0, 1, exclude_min=True) | st.just(1.0)
latencies = st.integers(1, 65_535) | st.just(1)


@st.composite
def networks(draw: st.DrawFn) -> tuple[int, Said]:
    """A number of nodes, and edges written one way only; loops among them."""
    nodes = draw(st.integers(1, 12))
    ends = st.integers(0, nodes - 1)
    said = draw(st.dictionaries(st.tuples(ends, ends), st.tuples(strengths, latencies), max_size=25))
    return nodes, {edge: value for edge, value in said.items() if edge[::-1] not in said or edge[0] <= edge[1]}


def told(topology: Topology) -> Said:
    """What a topology says of each hypha."""
    count = topology.hypha_count
    strength = np.ones(count) if topology.strengths is None else topology.strengths
    latency = np.ones(count, int) if topology.latencies is None else topology.latencies
    pairs = zip(topology.sources().tolist(), topology.targets.tolist(), strict=True)
    return dict(zip(pairs, zip(strength.tolist(), latency.tolist(), strict=True), strict=True))


def columns(said: Said) -> dict[str, Any]:
    return {
        "edges": list(said),
        "strengths": [strength for strength, _ in said.values()],
        "latencies": [latency for _, latency in said.values()],
    }


def sound(topology: Topology) -> Topology:
    """The constructor looks at everything."""
    again = Topology(
        topology.offsets, topology.targets, topology.strengths, topology.latencies, topology.kind, topology.labels
    )
    assert again == topology
    assert (topology.strengths is None) == (again.strengths is None)
    return topology


# ---- edge lists


@given(networks(), st.booleans(), st.data())
def test_edges_say_what_they_said(network: tuple[int, Said], directed: bool, data: st.DataObject) -> None:
    """In any order, some of them twice, and some of them the other way round where that is the same."""
    nodes, said = network
    rows = list(said.items())
    rows = data.draw(st.permutations(rows + rows[: data.draw(st.integers(0, len(rows)))]))
    if not directed:
        turned = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
        rows = [(edge[::-1] if turn else edge, value) for (edge, value), turn in zip(rows, turned, strict=True)]
    topology = sound(
        from_edges(
            [edge for edge, _ in rows],
            nodes=nodes,
            strengths=[strength for _, (strength, _) in rows],
            latencies=[latency for _, (_, latency) in rows],
            directed=directed,
        )
    )
    expected = {edge: value for edge, value in said.items() if edge[0] != edge[1]}
    if not directed:
        expected |= {edge[::-1]: value for edge, value in expected.items()}
    assert told(topology) == expected
    assert (topology.node_count, topology.kind, topology.labels) == (nodes, "edge-list", None)


def test_nodes_are_as_many_as_the_highest_asks_for() -> None:
    assert from_edges([(5, 2)]).node_count == 6
    assert from_edges([(5, 2)], nodes=9).degrees.tolist() == [0, 0, 1, 0, 0, 1, 0, 0, 0]
    assert from_edges([(7, 7)]).node_count == 8
    assert from_edges([(7, 7)]).hypha_count == 0
    assert from_edges([], nodes=3) == from_edges(np.empty((0, 2), int), nodes=3)
    assert from_edges([], nodes=3).components().tolist() == [0, 1, 2]
    assert from_edges(np.array([[0, 1]], np.uint8)) == from_edges([[0, 1]])


def test_one_number_is_for_all_edges() -> None:
    topology = from_edges([(0, 1), (1, 2), (2, 1)], strengths=0.25, latencies=3)
    assert set(told(topology).values()) == {(0.25, 3)}
    ones = from_edges([(0, 1)], strengths=1.0, latencies=1)
    assert ones.strengths is None
    assert ones.latencies is None


def test_values_of_a_loop_leave_no_trace() -> None:
    topology = from_edges([(0, 0), (0, 1)], strengths=[0.5, 1.0], latencies=[9, 1])
    assert topology.strengths is None
    assert topology.latencies is None
    assert from_edges([(0, 0), (0, 1)], strengths=[0.5, 0.25]).strengths is not None


def test_each_direction_may_have_its_own_where_directed() -> None:
    edges, values = [(0, 1), (1, 0)], [0.5, 0.25]
    assert told(from_edges(edges, strengths=values, directed=True)) == {(0, 1): (0.5, 1), (1, 0): (0.25, 1)}
    with pytest.raises(
        InvalidTopologyError, match=r"the strength from 0 to 1 is 0\.5 at edges\[0\] and 0\.25 at edges\[1\]: "
    ):
        from_edges(edges, strengths=values)


@pytest.mark.parametrize("directed", [False, True])
def test_edges_that_disagree_are_named(directed: bool) -> None:
    edges = [(3, 4), (0, 1), (1, 2), (7, 7), (0, 1), (0, 1)]
    for values in (
        {"strengths": [1, 0.5, 1, 1, 0.5, 0.25]},
        {"strengths": [1, 0.25, 1, 1, 0.5, 0.25]},
        {"latencies": [1, 2, 1, 1, 2, 3]},
        {"latencies": [1, 3, 1, 1, 2, 2]},
    ):
        with pytest.raises(InvalidTopologyError, match=r"the (strength|latency) from 0 to 1 is .* at edges\[\d\]") as c:
            from_edges(edges, directed=directed, **values)
        assert "\n" not in str(c.value)
        assert ("an undirected edge has one" in str(c.value)) is not directed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"edges": []}, "without an edge, say how many nodes there are"),
        ({"edges": [], "nodes": 0}, "nodes is 1 or more, not 0"),
        ({"edges": [(0, 1)], "nodes": 2**31}, "nodes is 2147483647 at most, not 2147483648"),
        ({"edges": [(-1, -2)]}, r"edges\[0\] names node -1; nodes are 0 to 0"),
        ({"edges": [(0, 1)], "nodes": 2.0}, "nodes takes a whole number, not 2.0"),
        ({"edges": [(0, 2**31 - 1)]}, "nodes is 2147483647 at most, not 2147483648"),
        ({"edges": [(0, 1), (2, -1)]}, r"edges\[1\] names node -1; nodes are 0 to 2"),
        ({"edges": [(0, 1), (3, 2)], "nodes": 3}, r"edges\[1\] names node 3; nodes are 0 to 2"),
        ({"edges": [(0, 1, 2)]}, r"edges takes shape \(any, 2\), not \(1, 3\)"),
        ({"edges": [0, 1]}, r"edges takes shape \(any, 2\), not \(2,\)"),
        ({"edges": 7}, r"edges takes shape \(any, 2\), not \(\)"),
        ({"edges": [(0, 1), (2,)]}, "edges takes an array of numbers"),
        ({"edges": [(0.0, 1.0)]}, "edges takes integers, not float64"),
        ({"edges": [("a", "b")]}, "edges takes integers, not <U1"),
        ({"edges": [(0, 1)], "strengths": [0.5, 0.5]}, "strengths takes 1 numbers or a single one"),
        ({"edges": [(0, 1), (1, 2)], "strengths": [0.5, 2]}, r"not 2 at edges\[1\]"),
        ({"edges": [(0, 1), (1, 2)], "latencies": [0, 2]}, r"not 0 at edges\[0\]"),
        ({"edges": [(0, 1), (1, 1)], "strengths": [0.5, 2]}, r"not 2 at edges\[1\]"),
        ({"edges": [(0, 1_900_000_000)]}, r"edge-list of 1,900,000,001 nodes would take [\d,]+ bytes \(14.2 GiB\)"),
        ({"edges": [(0, 1)], "memory_limit_bytes": 31}, "would take 32 bytes"),
        ({"edges": [(0, 1)], "memory_limit_bytes": 27, "directed": True}, "would take 28 bytes"),
    ],
)
def test_wrong_edges(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidTopologyError, match=message) as caught:
        from_edges(**arguments)
    assert "\n" not in str(caught.value)


# ---- lines


@given(networks(), st.booleans())
def test_lines_say_what_edges_say(network: tuple[int, Said], directed: bool) -> None:
    nodes, said = network
    lines = [f"{u} {v} {strength!r} {latency}\n" for (u, v), (strength, latency) in said.items()]
    expected = from_edges(**columns(said), nodes=nodes, directed=directed)
    assert sound(parse_edge_list(lines, nodes=nodes, directed=directed)) == expected
    assert parse_edge_list("".join(lines), nodes=nodes, directed=directed) == expected


def test_lines_as_people_write_them() -> None:
    text = "# from, to, strength, latency\n\n0\t1\n 1, 2 ,0.5\n2,3,.25,7   # far away\n1 0 1.0 1\n   \n3 3\n4 3 1e-3\n"
    expected = {(0, 1): (1.0, 1), (1, 2): (0.5, 1), (2, 3): (0.25, 7), (3, 4): (0.001, 1)}
    for lines in (text, text.splitlines(), io.StringIO(text), iter(text.splitlines(keepends=True))):
        topology = parse_edge_list(lines)
        assert told(topology) == expected | {edge[::-1]: value for edge, value in expected.items()}
        assert topology.kind == "edge-list"
    assert parse_edge_list("# none\n", nodes=2).hypha_count == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("7", r"line 3: takes u v \[strength \[latency\]\], not '7'"),
        ("0 1 0.5 2 9", r"line 3: takes u v \[strength \[latency\]\], not '0 1 0.5 2 9'"),
        ("0 x", "line 3: a node is a whole number from 0 to 2147483646, not 'x'"),
        ("-1 0", "line 3: a node is a whole number from 0 to 2147483646, not '-1'"),
        ("0 1.0", "line 3: a node is .* not '1.0'"),
        ("0 1_0", "line 3: a node is .* not '1_0'"),
        ("0 ٣", "line 3: a node is .* not '٣'"),
        ("0 2147483647", "line 3: a node is .* not '2147483647'"),
        (f"0 {'9' * 5000}", "line 3: a node is .* not '9"),
        ("0 1 strong", "line 3: a strength is over 0 and at most 1, not 'strong'"),
        ("0 1 0", "line 3: a strength is over 0 and at most 1, not '0'"),
        ("0 1 1.5", "line 3: a strength is over 0 and at most 1, not '1.5'"),
        ("0 1 nan", "line 3: a strength is over 0 and at most 1, not 'nan'"),
        ("0 1 1 0", "line 3: a latency is a whole number from 1 to 65535, not '0'"),
        ("0 1 1 65536", "line 3: a latency is a whole number from 1 to 65535, not '65536'"),
        ("0 1 1 2.5", "line 3: a latency is a whole number from 1 to 65535, not '2.5'"),
        ("1 0 0.75", "the strength from 0 to 1 is 0.5 at line 2 and 0.75 at line 3: an undirected edge has one"),
        ("1 0 0.5 2", "the latency from 0 to 1 is 1 at line 2 and 2 at line 3"),
        ("0 4", "line 3 names node 4; nodes are 0 to 3"),
    ],
)
def test_wrong_lines_are_named(line: str, message: str) -> None:
    with pytest.raises(InvalidTopologyError, match=message) as caught:
        parse_edge_list(["# header", "0 1 0.5", line, "2 3"], nodes=4)
    assert "\n" not in str(caught.value)


def test_lines_that_say_too_little_or_too_much() -> None:
    with pytest.raises(InvalidTopologyError, match="without an edge, say how many nodes there are"):
        parse_edge_list(["# nothing"])
    with pytest.raises(InvalidTopologyError, match="edge-list of 2,000,000,001 nodes would take"):
        parse_edge_list(["0 2000000000"])
    assert parse_edge_list(["0 1"], memory_limit_bytes=32).hypha_count == 2


# ---- networkx


@given(networks(), st.booleans())
def test_networkx_and_back(network: tuple[int, Said], directed: bool) -> None:
    nodes, said = network
    topology = from_edges(**columns(said), nodes=nodes, directed=directed)
    graph = to_networkx(topology)
    back = sound(from_networkx(graph))
    assert told(back) == told(topology)
    assert (back.node_count, back.kind, back.labels) == (nodes, "networkx", None)
    assert graph.is_directed() == (not topology.is_symmetric() or any(
        told(topology)[edge] != told(topology)[edge[::-1]] for edge in told(topology)
    ))  # fmt: skip


@pytest.mark.parametrize("kind", TOPOLOGIES)
def test_generated_networks_and_back(kind: str) -> None:
    topology = TOPOLOGIES[kind](40, 3)
    graph = to_networkx(topology)
    assert type(graph) is nx.Graph
    assert graph.number_of_edges() * 2 == topology.hypha_count
    back = from_networkx(graph)
    assert back.targets.tolist() == topology.targets.tolist()
    assert back.offsets.tolist() == topology.offsets.tolist()
    assert not any(data for *_, data in graph.edges(data=True))


def test_networkx_agrees_about_structure() -> None:
    for topology in (ring(30, reach=2), grid(5, 6), scale_free(80, seed=1), random_graph(80, mean_degree=1.5, seed=1)):
        graph = to_networkx(topology)
        parts = sorted(map(min, nx.connected_components(graph)))
        labels = topology.components()
        assert [int(labels[part]) for part in parts] == list(range(len(parts)))
        for number, part in enumerate(parts):
            assert set(np.flatnonzero(labels == number).tolist()) == nx.node_connected_component(graph, part)
        assert [degree for _, degree in graph.degree()] == topology.degrees.tolist()
    assert nx.is_isomorphic(to_networkx(grid(4, 5)), nx.grid_2d_graph(4, 5))
    assert nx.is_isomorphic(to_networkx(grid(4, 5, wraps=True)), nx.grid_2d_graph(4, 5, periodic=True))
    assert nx.utils.graphs_equal(to_networkx(ring(30, reach=3)), nx.circulant_graph(30, [1, 2, 3]))


def test_labels_lead_back() -> None:
    graph = nx.Graph()
    graph.add_edge("bo", "ada", strength=0.5)
    graph.add_edge(("x", 1), "bo", latency=4)
    graph.add_node("alone")
    topology = sound(from_networkx(graph))
    assert topology.labels == ("bo", "ada", ("x", 1), "alone")
    assert told(topology) == {(0, 1): (0.5, 1), (1, 0): (0.5, 1), (0, 2): (1.0, 4), (2, 0): (1.0, 4)}
    back = to_networkx(topology)
    assert list(back) == list(graph)
    assert {frozenset(edge) for edge in back.edges} == {frozenset(edge) for edge in graph.edges}
    assert back["bo"]["ada"] == {"strength": 0.5, "latency": 1}
    assert from_networkx(back) == topology


def test_nodes_called_by_numbers_keep_them() -> None:
    graph = nx.Graph([(2, 0), (0, 1)])
    topology = from_networkx(graph)
    assert topology.labels is None
    assert topology.degrees.tolist() == [2, 1, 1]
    shifted = from_networkx(nx.Graph([(3, 1), (1, 2)]))
    assert shifted.labels == (3, 1, 2)
    assert shifted.degrees.tolist() == [1, 2, 1]
    assert from_networkx(nx.Graph([(0, True)])).labels == (0, True)
    assert from_networkx(nx.Graph([(0.0, 1.0)])).labels == (0.0, 1.0)


def test_directions_of_a_digraph_are_kept() -> None:
    graph = nx.DiGraph([(0, 1), (2, 1)])
    graph.add_edge(1, 0, strength=0.5)
    topology = from_networkx(graph)
    assert told(topology) == {(0, 1): (1.0, 1), (1, 0): (0.5, 1), (2, 1): (1.0, 1)}
    back = to_networkx(topology)
    assert type(back) is nx.DiGraph
    assert from_networkx(back) == topology


def test_what_is_not_symmetric_becomes_a_digraph() -> None:
    for topology, directed in (
        (ring(3), False),
        (ring(3).with_hyphae(strengths=0.5), False),
        (ring(3).with_hyphae(latencies=[2, 3, 2, 4, 3, 4]), False),
        (ring(3).with_hyphae(latencies=[2, 3, 2, 4, 3, 5]), True),
        (ring(3).with_hyphae(strengths=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), True),
        (from_edges([(0, 1)], directed=True), True),
    ):
        graph = to_networkx(topology)
        assert graph.is_directed() is directed
        assert told(from_networkx(graph)) == told(topology)


def test_parallel_edges_must_agree() -> None:
    graph = nx.MultiGraph()
    graph.add_edge("a", "b", strength=0.5)
    graph.add_edge("b", "a", strength=0.5)
    graph.add_edge("b", "b")
    assert told(from_networkx(graph)) == {(0, 1): (0.5, 1), (1, 0): (0.5, 1)}
    graph.add_edge("a", "b", strength=0.25)
    with pytest.raises(InvalidTopologyError, match=r"from 'a' to 'b' is 0\.5 at edge \d and 0\.25 at edge 2"):
        from_networkx(graph)
    both_ways = nx.MultiDiGraph()
    both_ways.add_edge(0, 1, latency=2)
    both_ways.add_edge(1, 0, latency=3)
    assert told(from_networkx(both_ways)) == {(0, 1): (1.0, 2), (1, 0): (1.0, 3)}


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"strength": "strong"}, "the strength of 'a' - 'b' is over 0 and at most 1, not 'strong'"),
        ({"strength": None}, "the strength of 'a' - 'b' is over 0 and at most 1, not None"),
        ({"strength": 0}, "the strength of 'a' - 'b' is over 0 and at most 1, not 0"),
        ({"strength": 10**400}, "the strength of 'a' - 'b' is over 0 and at most 1, not 10"),
        ({"latency": 1.0}, "the latency of 'a' - 'b' is 1 to 65535 whole ticks, not 1.0"),
        ({"latency": 0}, "the latency of 'a' - 'b' is 1 to 65535 whole ticks, not 0"),
        ({"latency": 10**30}, "the latency of 'a' - 'b' is 1 to 65535 whole ticks, not 10"),
    ],
)
def test_wrong_attributes_are_named(attributes: dict[str, Any], message: str) -> None:
    graph = nx.Graph()
    graph.add_edge("a", "b", **attributes)
    with pytest.raises(InvalidTopologyError, match=message):
        from_networkx(graph)


def test_numbers_of_numpy_are_numbers() -> None:
    graph = nx.Graph()
    graph.add_edge(0, 1, strength=np.float32(0.5), latency=np.int16(3))
    graph.add_edge(1, 2, strength=1, latency=np.uint8(2))
    assert told(from_networkx(graph))[0, 1] == (0.5, 3)


def test_a_graph_of_nothing() -> None:
    with pytest.raises(InvalidTopologyError, match="nodes is 1 or more, not 0"):
        from_networkx(nx.Graph())
    assert from_networkx(nx.empty_graph(3)).hypha_count == 0
    assert to_networkx(from_edges([], nodes=3)).number_of_nodes() == 3


def test_without_networkx_one_can_still_read_but_not_write(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = nx.path_graph(3)
    monkeypatch.setitem(sys.modules, "networkx", None)
    topology = from_networkx(graph)
    assert topology.degrees.tolist() == [1, 2, 1]
    with pytest.raises(SmeshError, match="to_networkx needs networkx, which is not installed: pip install networkx"):
        to_networkx(topology)


class Walker:
    """As much of a networkx graph as is needed of one."""

    nodes = ("a", "b")

    def edges(self, data: bool) -> list[tuple[str, str, dict[str, float]]]:
        assert data
        return [("a", "b", {"strength": 0.5})]

    def is_directed(self) -> bool:
        return True


def test_only_the_graphs_own_methods_are_used() -> None:
    assert told(from_networkx(Walker())) == {(0, 1): (0.5, 1)}
