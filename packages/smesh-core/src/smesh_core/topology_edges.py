"""Topologies from edges: arrays, lines of text, networkx graphs.

An edge may be given more than once as long as its strength and latency are the same each time; where they are not, it
is an error that names the edge, for no choice would be right for everybody. Unless `directed`, an edge leads both ways
and either way of writing it is the same edge. Edges from a node to itself are left out: a node has its own signals
anyway, and edge lists that people publish are full of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from smesh_core.errors import InvalidTopologyError, SmeshError
from smesh_core.topology import (
    LATENCY_MAX_TICKS,
    MEMORY_LIMIT_BYTES,
    NODES_MAX,
    Topology,
    check_memory,
    checked_latencies,
    checked_strengths,
    integers,
    node_number,
    pack,
    trusted,
    unpack,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from numpy.typing import ArrayLike, NDArray

__all__ = ["from_edges", "from_networkx", "parse_edge_list", "to_networkx"]

_LINE_FORMAT: Final = "u v [strength [latency]]"


def from_edges(
    edges: ArrayLike,
    *,
    nodes: int | None = None,
    strengths: ArrayLike | None = None,
    latencies: ArrayLike | None = None,
    directed: bool = False,
    memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
) -> Topology:
    """The topology of an edge list.

    Args:
        edges: pairs of nodes, shape (edges, 2), in any order.
        nodes: how many nodes there are; without it, as many as the highest number among the edges asks for.
        strengths: one for each edge, or one number for all; without it 1.
        latencies: likewise, in whole ticks.
        directed: a pair (u, v) is the hypha from u to v alone, not also the one back.
        memory_limit_bytes: refuse to make more than this.

    Raises:
        InvalidTopologyError: a value is out of its bounds, two edges disagree, or the network is too large.
    """
    pairs = integers(edges, "edges", columns=2)
    count = len(pairs)
    nodes = _node_count(nodes, pairs, _in_list)
    check_memory("edge-list", nodes, count if directed else 2 * count, memory_limit_bytes)
    return _merged(
        pairs,
        checked_strengths(strengths, count, _in_list),
        checked_latencies(latencies, count, _in_list),
        nodes=nodes,
        directed=directed,
        kind="edge-list",
        where=_in_list,
    )


def parse_edge_list(
    lines: Iterable[str],
    *,
    nodes: int | None = None,
    directed: bool = False,
    memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
) -> Topology:
    """The topology of lines ``u v [strength [latency]]``, with blanks or commas between; from a # on is a comment.

    Args:
        lines: an open text file, a list of lines, or one string.
        nodes: as for `from_edges`.
        directed: as for `from_edges`.
        memory_limit_bytes: as for `from_edges`.

    Raises:
        InvalidTopologyError: as for `from_edges`, or a line is not of that form; the message names the line.
    """
    pairs: list[tuple[int, int]] = []
    strengths: list[float] = []
    latencies: list[int] = []
    numbers: list[int] = []
    for number, line in enumerate(lines.splitlines() if isinstance(lines, str) else lines, 1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            u, v, strength, latency = _parsed(words)
        except ValueError as error:
            raise InvalidTopologyError(f"line {number}: {error}") from None
        pairs.append((u, v))
        strengths.append(strength)
        latencies.append(latency)
        numbers.append(number)

    def where(edge: int) -> str:
        return f"line {numbers[edge]}"

    edges = integers(pairs, "edges", columns=2)
    nodes = _node_count(nodes, edges, where)
    check_memory("edge-list", nodes, len(edges) if directed else 2 * len(edges), memory_limit_bytes)
    return _merged(
        edges,
        np.array(strengths, np.float64),
        np.array(latencies, np.int32),
        nodes=nodes,
        directed=directed,
        kind="edge-list",
        where=where,
    )


def from_networkx(graph: Any) -> Topology:
    """The topology of a networkx Graph or DiGraph, or MultiGraph whose parallel edges agree.

    An edge's attributes `strength` and `latency` count where it has them. Nodes that are called 0, 1, ... n - 1 keep
    their numbers; otherwise they are numbered in the graph's order and `labels` says what each was called.

    Raises:
        InvalidTopologyError: the graph has no nodes, an attribute is out of its bounds, or parallel edges disagree.
    """
    labels: tuple[Hashable, ...] = tuple(graph.nodes)
    node_number(len(labels))
    is_numbered = all(type(label) is int and 0 <= label < len(labels) for label in labels)
    numbers: dict[Hashable, int] = {
        label: node for node, label in enumerate(range(len(labels)) if is_numbered else labels)
    }
    pairs: list[tuple[int, int]] = []
    strengths: list[float] = []
    latencies: list[int] = []
    for u, v, attributes in graph.edges(data=True):
        strength, latency = attributes.get("strength", 1.0), attributes.get("latency", 1)
        if not (isinstance(strength, float | int | np.floating | np.integer) and 0 < strength <= 1):
            raise InvalidTopologyError(f"the strength of {u!r} - {v!r} is over 0 and at most 1, not {strength!r}")
        if not (isinstance(latency, int | np.integer) and 1 <= latency <= LATENCY_MAX_TICKS):
            raise InvalidTopologyError(
                f"the latency of {u!r} - {v!r} is 1 to {LATENCY_MAX_TICKS} whole ticks, not {latency!r}"
            )
        pairs.append((numbers[u], numbers[v]))
        strengths.append(float(strength))
        latencies.append(int(latency))
    return _merged(
        integers(pairs, "edges", columns=2),
        np.array(strengths, np.float64),
        np.array(latencies, np.int32),
        nodes=len(labels),
        directed=graph.is_directed(),
        kind="networkx",
        where=lambda edge: f"edge {edge}",
        labels=None if is_numbered else labels,
    )


def to_networkx(topology: Topology) -> Any:
    """A networkx graph with the topology's labels, and `strength` and `latency` on edges where not all are 1.

    It is a Graph if each hypha has one that leads back with the same strength and latency, else a DiGraph.

    Raises:
        SmeshError: networkx is not installed.
    """
    try:
        networkx = import_module("networkx")
    except ImportError as error:
        raise SmeshError("to_networkx needs networkx, which is not installed: pip install networkx") from error
    values = {"strength": topology.strengths, "latency": topology.latencies}
    given = {name: array for name, array in values.items() if array is not None}
    opposites = topology.opposites()
    undirected = opposites is not None and all(np.array_equal(array[opposites], array) for array in given.values())
    sources, targets = topology.sources(), topology.targets
    kept = np.flatnonzero(sources < targets) if undirected else np.arange(topology.hypha_count)
    attributes = [
        dict(zip(given, row, strict=True)) for row in zip(*(a[kept].tolist() for a in given.values()), strict=True)
    ]
    labels = range(topology.node_count) if topology.labels is None else topology.labels
    graph = networkx.Graph() if undirected else networkx.DiGraph()
    graph.add_nodes_from(labels)
    ends = ((labels[u], labels[v]) for u, v in zip(sources[kept].tolist(), targets[kept].tolist(), strict=True))
    if given:
        graph.add_edges_from((u, v, said) for (u, v), said in zip(ends, attributes, strict=True))
    else:
        graph.add_edges_from(ends)
    return graph


def _in_list(edge: int) -> str:
    return f"edges[{edge}]"


def _parsed(words: list[str]) -> tuple[int, int, float, int]:
    """u, v, strength and latency of a line; a ValueError says what is wrong with it."""
    if not 2 <= len(words) <= 4:
        raise ValueError(f"takes {_LINE_FORMAT}, not {' '.join(words)!r}")
    u, v = (_parsed_whole(word, "a node", 0, NODES_MAX - 1) for word in words[:2])
    latency = _parsed_whole(words[3], "a latency", 1, LATENCY_MAX_TICKS) if len(words) > 3 else 1
    if len(words) == 2:
        return u, v, 1.0, latency
    try:
        strength = float(words[2])
    except ValueError:
        strength = 0.0
    if not 0.0 < strength <= 1.0:
        raise ValueError(f"a strength is over 0 and at most 1, not {words[2]!r}")
    return u, v, strength, latency


def _parsed_whole(word: str, what: str, least: int, most: int) -> int:
    number = int(word) if word.isascii() and word.isdigit() and len(word) < 20 else -1
    if not least <= number <= most:
        raise ValueError(f"{what} is a whole number from {least} to {most}, not {word!r}")
    return number


def _node_count(nodes: int | None, pairs: NDArray[np.int64], where: Callable[[int], str]) -> int:
    """How many nodes there are, once each edge is known to name nodes that there are."""
    if nodes is None and not pairs.size:
        raise InvalidTopologyError("without an edge, say how many nodes there are")
    count = node_number(max(1, int(pairs.max()) + 1) if nodes is None else nodes)
    wrong = (pairs < 0) | (pairs >= count)
    if wrong.any():
        edge, end = divmod(int(np.argmax(wrong)), 2)
        raise InvalidTopologyError(f"{where(edge)} names node {pairs[edge, end]}; nodes are 0 to {count - 1}")
    return count


def _merged(
    pairs: NDArray[np.int64],
    strengths: NDArray[np.float64] | None,
    latencies: NDArray[np.int32] | None,
    *,
    nodes: int,
    directed: bool,
    kind: str,
    where: Callable[[int], str],
    labels: tuple[Hashable, ...] | None = None,
) -> Topology:
    """The topology of edges whose values are in bounds; edge i is called `where(i)`."""
    edges = np.flatnonzero(pairs[:, 0] != pairs[:, 1])
    keys = pack(pairs[edges, 0], pairs[edges, 1])
    if not directed:
        keys = np.concatenate((keys, pack(pairs[edges, 1], pairs[edges, 0])))
        edges = np.concatenate((edges, edges))
    order = np.argsort(keys, kind="stable")
    keys, edges = keys[order], edges[order]
    is_new = np.ones(len(keys), bool)
    is_new[1:] = keys[1:] != keys[:-1]
    first = edges[is_new]
    for name, values in (("strength", strengths), ("latency", latencies)):
        if values is None:
            continue
        differs = ~is_new[1:] & (values[edges[1:]] != values[edges[:-1]])
        if differs.any():
            at = int(np.argmax(differs))
            one, other = sorted((int(edges[at]), int(edges[at + 1])))
            u, v = (node if labels is None else repr(labels[node]) for node in pairs[one])
            raise InvalidTopologyError(
                f"the {name} from {u} to {v} is {values[one]} at {where(one)} and {values[other]} at {where(other)}"
                + ("" if directed else ": an undirected edge has one")
            )
    return trusted(
        *unpack(keys[is_new], nodes),
        checked_strengths(None if strengths is None else strengths[first], len(first)),
        checked_latencies(None if latencies is None else latencies[first], len(first)),
        kind,
        labels,
    )
