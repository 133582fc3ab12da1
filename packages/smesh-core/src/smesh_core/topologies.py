"""Generators of topologies, all symmetric: who is joined to whom, by rule or by chance.

Each function makes exactly what it is asked for or refuses; those in `TOPOLOGIES` take any number of nodes, for
command lines. Chance is counter-based (`smesh_core.rng`), and nothing that decides about a hypha is rounded in a way
that machines may differ in, so a seed names the same network everywhere.

A network whose arrays would take more than `memory_limit_bytes` is refused before any work is done; making one takes
up to fifteen times what it takes in the end.
"""

from __future__ import annotations

import math
from operator import index
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from smesh_core.errors import InvalidTopologyError
from smesh_core.topology import MEMORY_LIMIT_BYTES, Topology, check_memory, joined, node_number, trusted, whole
from smesh_core.topology_draws import (
    Pairs,
    attachments,
    bernoulli_places,
    pairs_at,
    rewired_lattice,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "TOPOLOGIES",
    "Builder",
    "full_mesh",
    "grid",
    "random_graph",
    "ring",
    "scale_free",
    "small_world",
]

_GRID_SIDES_RATIO_MAX: Final = 4


# ---- by rule


def ring(nodes: int, *, reach: int = 1, memory_limit_bytes: int = MEMORY_LIMIT_BYTES) -> Topology:
    """Each node joined to its `reach` nearest on either side; everybody to everybody where that goes all the way round.

    Raises:
        InvalidTopologyError: fewer than 1 node, a reach under 1, or too large.
    """
    nodes, reach = node_number(nodes), whole("reach", reach, 1)
    return _ring(nodes, reach, "ring", memory_limit_bytes)


def full_mesh(nodes: int, *, memory_limit_bytes: int = MEMORY_LIMIT_BYTES) -> Topology:
    """Everybody joined to everybody: nodes · (nodes - 1) hyphae, so 16,383 nodes within the default limit.

    Raises:
        InvalidTopologyError: fewer than 1 node, or too large; the message says what memory it would take.
    """
    nodes = node_number(nodes)
    return _full_mesh(nodes, "full-mesh", memory_limit_bytes)


def grid(rows: int, columns: int, *, wraps: bool = False, memory_limit_bytes: int = MEMORY_LIMIT_BYTES) -> Topology:
    """Node ``row · columns + column`` joined to those above, below, left and right of it.

    With `wraps` the first row adjoins the last and the first column the last, so that all nodes have four neighbours
    (fewer where a side is shorter than three).

    Raises:
        InvalidTopologyError: a side under 1, or too large.
    """
    rows, columns = whole("rows", rows, 1), whole("columns", columns, 1)
    nodes = node_number(rows * columns)
    check_memory("grid", nodes, 4 * nodes, memory_limit_bytes)
    right, down = _grid_pairs(nodes, columns)
    if wraps and columns > 2:
        starts = np.arange(0, nodes, columns)
        right = _both(right, (starts + (columns - 1), starts))
    if wraps and rows > 2:
        starts = np.arange(columns)
        down = _both(down, (starts + (nodes - columns), starts))
    return joined(nodes, *_both(right, down), "grid")


# ---- by chance


def small_world(
    nodes: int,
    *,
    degree: int = 6,
    rewired: float = 0.1,
    seed: int = 0,
    memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
) -> Topology:
    """A ring whose edges are rewired at their far end with probability `rewired` (Watts and Strogatz 1998).

    First each node is joined to its degree / 2 nearest on either side. Then edges are considered in turn, all those
    from a node i to i + 1 first, then those to i + 2, and so on: one that is rewired leads from i to a node drawn
    uniformly from all that are neither i nor joined to i at that moment; if there is none it stays where it is. So
    there are exactly nodes · degree / 2 edges in the end.

    Args:
        nodes: more than `degree`.
        degree: the mean degree, even, 0 or more.
        rewired: probability in [0, 1].
        seed: any int.
        memory_limit_bytes: refuse to make more than this.

    Raises:
        InvalidTopologyError: an argument is out of its bounds, or the network is too large.
    """
    nodes, degree, seed = node_number(nodes), whole("degree", degree, 0), _seed(seed)
    if degree % 2 or degree >= nodes:
        raise InvalidTopologyError(f"a small world's degree is even and below its {nodes} nodes, not {degree}")
    if not 0.0 <= rewired <= 1.0:
        raise InvalidTopologyError(f"rewired takes a probability in [0, 1], not {rewired!r}")
    check_memory("small-world", nodes, nodes * degree, memory_limit_bytes)
    return joined(nodes, *rewired_lattice(nodes, degree, rewired, seed), "small-world")


def scale_free(nodes: int, *, attach: int = 3, seed: int = 0, memory_limit_bytes: int = MEMORY_LIMIT_BYTES) -> Topology:
    """Each new node joins `attach` others, drawn in proportion to their degree (Barabási and Albert 1999).

    The first ``attach + 1`` nodes are a star around node 0. Then a node's `attach` distinct neighbours are drawn from
    the list of both ends of all edges so far, in which a node stands as often as it has neighbours; a draw that gives
    a node a second time is made again. There are attach · (nodes - attach) edges.

    Args:
        nodes: more than `attach`.
        attach: 1 or more.
        seed: any int.
        memory_limit_bytes: refuse to make more than this.

    Raises:
        InvalidTopologyError: an argument is out of its bounds, or the network is too large.
    """
    nodes, attach, seed = node_number(nodes), whole("attach", attach, 1), _seed(seed)
    if attach >= nodes:
        raise InvalidTopologyError(f"attach is below the {nodes} nodes of a scale-free network, not {attach}")
    check_memory("scale-free", nodes, 2 * attach * (nodes - attach), memory_limit_bytes)
    return joined(nodes, *attachments(nodes, attach, seed), "scale-free")


def random_graph(
    nodes: int, *, mean_degree: float = 6.0, seed: int = 0, memory_limit_bytes: int = MEMORY_LIMIT_BYTES
) -> Topology:
    """Each pair of nodes joined with probability p = mean_degree / (nodes - 1): Erdős and Rényi's G(n, p).

    Pairs are passed over in runs of geometric length (Batagelj and Brandes 2005), so the work is in proportion to the
    edges and not to the pairs.

    Args:
        nodes: 1 or more.
        mean_degree: the expected degree, from 0 to nodes - 1, where everybody is joined to everybody.
        seed: any int.
        memory_limit_bytes: refuse to make more than this.

    Raises:
        InvalidTopologyError: an argument is out of its bounds, or the network is too large.
    """
    nodes, seed = node_number(nodes), _seed(seed)
    if not 0.0 <= mean_degree <= nodes - 1:
        raise InvalidTopologyError(f"mean_degree of {nodes} nodes is 0 to {nodes - 1}, not {mean_degree!r}")
    check_memory("random", nodes, math.ceil(nodes * mean_degree), memory_limit_bytes)
    probability = mean_degree / max(1, nodes - 1)
    if probability == 1.0:
        return _full_mesh(nodes, "random", memory_limit_bytes)
    places = bernoulli_places(nodes * (nodes - 1) // 2, probability, seed)
    return joined(nodes, *pairs_at(places), "random")


# ---- for command lines


class Builder(Protocol):
    """Makes a topology of one kind from what a command line knows.

    `degree` is the mean number of neighbours that is wanted; None is the kind's own. What it cannot be, with so many
    nodes or for this kind, becomes the nearest that it can.
    """

    def __call__(self, nodes: int, seed: int = 0, degree: int | None = None) -> Topology:
        """A topology of exactly `nodes` nodes."""
        ...


def _build_ring(nodes: int, seed: int = 0, degree: int | None = None) -> Topology:
    """Half the degree on either side, rounded down, 1 at least; 2 neighbours by default."""
    _seed(seed)
    return ring(nodes, reach=max(1, _degree(degree, 2) // 2))


def _build_full_mesh(nodes: int, seed: int = 0, degree: int | None = None) -> Topology:
    """Everybody joined to everybody, whatever the degree."""
    _seed(seed), _degree(degree, 1)
    return full_mesh(nodes)


def _build_small_world(nodes: int, seed: int = 0, degree: int | None = None) -> Topology:
    """An odd degree is rounded down, 2 at least; everybody joined to everybody where there are not more nodes."""
    nodes, degree = node_number(nodes), _degree(degree, 6)
    if degree >= nodes - 1:
        return _full_mesh(nodes, "small-world", MEMORY_LIMIT_BYTES)
    return small_world(nodes, degree=max(2, degree - degree % 2), seed=seed)


def _build_scale_free(nodes: int, seed: int = 0, degree: int | None = None) -> Topology:
    """Newcomers attach to degree / 2 nodes, rounded down, 1 at least; to all but one where there are not so many."""
    nodes, degree = node_number(nodes), _degree(degree, 6)
    if nodes == 1:
        return _full_mesh(nodes, "scale-free", MEMORY_LIMIT_BYTES)
    return scale_free(nodes, attach=min(max(1, degree // 2), nodes - 1), seed=seed)


def _build_random(nodes: int, seed: int = 0, degree: int | None = None) -> Topology:
    """The expected degree; everybody joined to everybody where there are not more nodes."""
    nodes = node_number(nodes)
    return random_graph(nodes, mean_degree=min(_degree(degree, 6), nodes - 1), seed=seed)


def _build_grid(nodes: int, seed: int = 0, degree: int | None = None) -> Topology:
    """The most square rows x columns that make exactly `nodes`, whatever the degree.

    Where that would be a strip, more than four times as long as wide (997 nodes, or 998), the grid is as square as
    can be and its last row is not full.
    """
    nodes = node_number(nodes)
    _seed(seed), _degree(degree, 4)
    rows = next(side for side in range(math.isqrt(nodes), 0, -1) if nodes % side == 0)
    columns = nodes // rows
    if columns <= _GRID_SIDES_RATIO_MAX * rows:
        return grid(rows, columns)
    check_memory("grid", nodes, 4 * nodes, MEMORY_LIMIT_BYTES)
    return joined(nodes, *_both(*_grid_pairs(nodes, math.isqrt(nodes) + 1)), "grid")


TOPOLOGIES: Final[Mapping[str, Builder]] = MappingProxyType(
    {
        "ring": _build_ring,
        "full-mesh": _build_full_mesh,
        "small-world": _build_small_world,
        "scale-free": _build_scale_free,
        "random": _build_random,
        "grid": _build_grid,
    }
)
"""Name of a kind to what makes it from a number of nodes, a seed and a degree. Any number of nodes is right."""


# ---- how


def _both(one: Pairs, other: Pairs) -> Pairs:
    return np.concatenate((one[0], other[0])), np.concatenate((one[1], other[1]))


def _full_mesh(nodes: int, kind: str, memory_limit_bytes: int) -> Topology:
    check_memory(kind, nodes, nodes * (nodes - 1), memory_limit_bytes)
    # Rows 0, 1, ... nodes - 1 without the diagonal, written one after the other and cut into pieces of length `nodes`,
    # are the cycle 1, 2, ... nodes - 1, 0 and what becomes of it by turning it by 1, 2, ...
    cycle = (np.arange(1, max(1, 2 * nodes - 1)) % nodes).astype(np.int32)
    turned = np.lib.stride_tricks.sliding_window_view(cycle, nodes) if nodes > 1 else cycle
    offsets = np.arange(nodes + 1) * (nodes - 1)
    return trusted(offsets, np.ascontiguousarray(turned).reshape(-1), kind=kind)


def _ring(nodes: int, reach: int, kind: str, memory_limit_bytes: int) -> Topology:
    if 2 * reach >= nodes - 1:
        return _full_mesh(nodes, kind, memory_limit_bytes)
    check_memory(kind, nodes, nodes * 2 * reach, memory_limit_bytes)
    steps = np.concatenate((np.arange(-reach, 0), np.arange(1, reach + 1)))
    targets = ((np.arange(nodes)[:, None] + steps) % nodes).astype(np.int32)
    targets.sort(axis=1)
    return trusted(np.arange(nodes + 1) * (2 * reach), targets.reshape(-1), kind=kind)


def _grid_pairs(nodes: int, columns: int) -> tuple[Pairs, Pairs]:
    """Pairs side by side, and pairs one above the other, of a grid whose last row may not be full."""
    left, upper = np.arange(nodes - 1), np.arange(max(0, nodes - columns))
    left = left[left % columns != columns - 1]
    return (left, left + 1), (upper, upper + columns)


# ---- what is asked for


def _degree(degree: int | None, default: int) -> int:
    return default if degree is None else whole("degree", degree, 1)


def _seed(seed: int) -> int:
    try:
        return index(seed)
    except TypeError:
        raise InvalidTopologyError(f"seed takes a whole number, not {seed!r}") from None
