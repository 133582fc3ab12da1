"""Topology: who is joined to whom in a simulated network.

A **hypha** is one directed edge, along which a signal goes from a node to a neighbour. Hyphae are kept in compressed
sparse rows: those that leave node u are ``targets[offsets[u]:offsets[u + 1]]``, ascending. A hypha's index into
`targets` is its name, for arrays that say something about each hypha and for the random numbers that are drawn for it.

Generators are in `smesh_core.topologies`; edge lists and networkx graphs in `smesh_core.topology_edges`.
"""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from smesh_core.errors import InvalidTopologyError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from numpy.typing import ArrayLike, NDArray

__all__ = ["LATENCY_MAX_TICKS", "MEMORY_LIMIT_BYTES", "NODES_MAX", "Topology"]

NODES_MAX: Final = 2**31 - 1
"""So that a node fits 32 bits, and a pair of nodes 64."""
LATENCY_MAX_TICKS: Final = 65_535
MEMORY_LIMIT_BYTES: Final = 2**30
"""What a topology that is made may take unless told otherwise."""

_LOW_HALF: Final = 2**32 - 1


class Topology:
    """An immutable network of nodes 0, 1, ... and the hyphae between them.

    Arrays are copied when a topology is made and are read-only. Two topologies are equal when all that they hold is.

    Attributes:
        offsets: where each node's row starts in `targets`, and the end of the last; int64, shape (nodes + 1,).
        targets: the node each hypha leads to, ascending within a row, never the row's own node; int32, (hyphae,).
        strengths: in (0, 1] per hypha, float64, (hyphae,); None when all are 1.
        latencies: whole ticks from 1 to 65,535 per hypha, int32, (hyphae,); None when all are 1.
        kind: what made it: "ring", "small-world", "edge-list", ...
        labels: what each node is called where it came from; None when nodes are called 0, 1, ...

    Raises:
        InvalidTopologyError: the arrays do not describe such a network.
    """

    __slots__ = ("kind", "labels", "latencies", "offsets", "strengths", "targets")

    offsets: NDArray[np.int64]
    targets: NDArray[np.int32]
    strengths: NDArray[np.float64] | None
    latencies: NDArray[np.int32] | None
    kind: str
    labels: tuple[Hashable, ...] | None

    def __init__(
        self,
        offsets: ArrayLike,
        targets: ArrayLike,
        strengths: ArrayLike | None = None,
        latencies: ArrayLike | None = None,
        kind: str = "custom",
        labels: Iterable[Hashable] | None = None,
    ) -> None:
        rows, ends = integers(offsets, "offsets"), integers(targets, "targets")
        _check_rows(rows, ends)
        _fill(
            self,
            offsets=rows.copy(),
            targets=ends.astype(np.int32),
            strengths=checked_strengths(strengths, len(ends)),
            latencies=checked_latencies(latencies, len(ends)),
            kind=kind,
            labels=checked_labels(labels, len(rows) - 1),
        )

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a topology cannot be changed: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a topology cannot be changed: {name}")

    def __repr__(self) -> str:
        return f"Topology({self.kind}, {self.node_count:,} nodes, {self.hypha_count:,} hyphae)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Topology):
            return NotImplemented
        return (
            self.kind == other.kind
            and self.labels == other.labels
            and np.array_equal(self.offsets, other.offsets)
            and np.array_equal(self.targets, other.targets)
            and _same(self.strengths, other.strengths)
            and _same(self.latencies, other.latencies)
        )

    def __hash__(self) -> int:
        return hash((self.kind, self.node_count, self.hypha_count))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles are made anew, for NumPy would give back arrays that can be written to."""
        return Topology, (self.offsets, self.targets, self.strengths, self.latencies, self.kind, self.labels)

    @property
    def node_count(self) -> int:
        """Nodes, at least 1."""
        return len(self.offsets) - 1

    @property
    def hypha_count(self) -> int:
        """Directed edges: twice the number of edges of a symmetric graph."""
        return len(self.targets)

    @property
    def degrees(self) -> NDArray[np.int64]:
        """How many hyphae leave each node, shape (nodes,)."""
        return np.diff(self.offsets)

    @property
    def memory_bytes(self) -> int:
        """What its arrays take; labels are not counted."""
        arrays = (self.offsets, self.targets, self.strengths, self.latencies)
        return sum(array.nbytes for array in arrays if array is not None)

    def neighbours(self, node: int) -> NDArray[np.int32]:
        """The nodes that hyphae lead to from this one, ascending, as a read-only view of `targets`."""
        return self.targets[self._row(node)]

    def hypha(self, source: int, target: int) -> int:
        """The index of the hypha from one node to another.

        Raises:
            InvalidTopologyError: there is none, or no such node.
        """
        row = self._row(source)
        self._row(target)
        index: int = row.start + int(np.searchsorted(self.targets[row], target))
        if index == row.stop or self.targets[index] != target:
            raise InvalidTopologyError(f"no hypha leads from node {source} to node {target}")
        return index

    def sources(self) -> NDArray[np.int32]:
        """The node each hypha leaves, shape (hyphae,): the row it is in."""
        return np.repeat(np.arange(self.node_count, dtype=np.int32), self.degrees)

    def opposites(self) -> NDArray[np.int64] | None:
        """For each hypha the index of the one that leads back, shape (hyphae,); None if one of them has none."""
        sources = self.sources()
        backwards = pack(self.targets, sources)
        order = np.argsort(backwards, kind="stable")
        return order if np.array_equal(backwards[order], pack(sources, self.targets)) else None

    def is_symmetric(self) -> bool:
        """Whether for each hypha there is one that leads back; strengths and latencies may differ."""
        return self.opposites() is not None

    def with_hyphae(self, *, strengths: ArrayLike | None = None, latencies: ArrayLike | None = None) -> Topology:
        """The same network with other strengths or latencies, or both.

        Args:
            strengths: one for each hypha, or one number for all; None leaves them as they are.
            latencies: likewise.

        Raises:
            InvalidTopologyError: a value is out of its bounds, or there are too many or too few.
        """
        count = self.hypha_count
        return trusted(
            self.offsets,
            self.targets,
            self.strengths if strengths is None else checked_strengths(strengths, count),
            self.latencies if latencies is None else checked_latencies(latencies, count),
            self.kind,
            self.labels,
        )

    def components(self) -> NDArray[np.int32]:
        """Which connected part each node is in, shape (nodes,): numbered 0, 1, ... in order of their smallest node.

        A hypha joins its ends whichever way it leads. Each round, all roots with a smaller neighbouring root hook on
        to the smallest, and the chains so made are shortened by pointer jumping (after Shiloach and Vishkin 1982). A
        root that hooks on to none is smaller than its neighbours; either all of these end up under it, or it has a
        smaller neighbour afterwards. So two rounds halve the roots at least, and all are in place after 2 log2(nodes).
        """
        nodes = np.arange(self.node_count, dtype=np.int32)
        roots, left, right = nodes, self.sources(), self.targets
        while left.size:
            smallest = nodes.copy()
            np.minimum.at(smallest, left, right)
            np.minimum.at(smallest, right, left)
            hooks = _ends_of_chains(smallest)
            roots, left, right = hooks[roots], hooks[left], hooks[right]
            apart = left != right
            left, right = left[apart], right[apart]
        return (np.cumsum(roots == nodes, dtype=np.int32) - np.int32(1))[roots]

    def _row(self, node: int) -> slice:
        if not 0 <= node < self.node_count:
            raise InvalidTopologyError(f"there is no node {node}; nodes are 0 to {self.node_count - 1}")
        return slice(int(self.offsets[node]), int(self.offsets[node + 1]))


def _ends_of_chains(pointers: NDArray[np.int32]) -> NDArray[np.int32]:
    while not np.array_equal(further := pointers[pointers], pointers):
        pointers = further
    return pointers


def _same(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))


# ---- for those that make topologies


def whole(name: str, value: int, least: int) -> int:
    """A whole number of at least so much."""
    try:
        number = index(value)
    except TypeError:
        raise InvalidTopologyError(f"{name} takes a whole number, not {value!r}") from None
    if number < least:
        raise InvalidTopologyError(f"{name} is {least} or more, not {number}")
    return number


def node_number(nodes: int) -> int:
    """How many nodes a topology may have."""
    nodes = whole("nodes", nodes, 1)
    if nodes > NODES_MAX:
        raise InvalidTopologyError(f"nodes is {NODES_MAX} at most, not {nodes}")
    return nodes


def check_memory(kind: str, nodes: int, hyphae: int, limit: int) -> None:
    """Refuse what would take more than `limit` bytes, strengths and latencies not counted."""
    needed = 8 * (nodes + 1) + 4 * hyphae
    if needed > limit:
        raise InvalidTopologyError(
            f"{kind} of {nodes:,} nodes would take {needed:,} bytes ({needed / 2**30:.1f} GiB), "
            f"over the limit of {limit:,} (memory_limit_bytes): ask for fewer nodes or hyphae"
        )


def trusted(
    offsets: NDArray[np.int64],
    targets: NDArray[np.int32],
    strengths: NDArray[np.float64] | None = None,
    latencies: NDArray[np.int32] | None = None,
    kind: str = "custom",
    labels: tuple[Hashable, ...] | None = None,
) -> Topology:
    """A topology of arrays that are known to be right and that nobody else will write to."""
    topology = object.__new__(Topology)
    _fill(
        topology,
        offsets=offsets,
        targets=targets,
        strengths=strengths,
        latencies=latencies,
        kind=kind,
        labels=labels,
    )
    return topology


def pack(sources: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.int64]:
    """A pair of nodes as one number that sorts by source and then by target."""
    return (sources.astype(np.int64) << 32) | targets.astype(np.int64)


def unpack(keys: NDArray[np.int64], nodes: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Offsets and targets of ascending keys."""
    offsets = np.zeros(nodes + 1, np.int64)
    np.cumsum(np.bincount(keys >> 32, minlength=nodes), out=offsets[1:])
    return offsets, (keys & _LOW_HALF).astype(np.int32)


def joined(nodes: int, one: NDArray[np.int64], other: NDArray[np.int64], kind: str) -> Topology:
    """The symmetric topology of pairs of distinct nodes, each pair given once, in any order."""
    keys = np.concatenate((pack(one, other), pack(other, one)))
    keys.sort()
    return trusted(*unpack(keys, nodes), kind=kind)


def integers(values: ArrayLike, name: str, columns: int = 0) -> NDArray[np.int64]:
    """Integers of shape (any,) or (any, columns), not copied where they are int64 already."""
    array = _array(values, name)
    if not array.size:
        return np.empty((0, columns) if columns else 0, np.int64)
    if array.shape[1:] != ((columns,) if columns else ()) or not array.ndim:
        wanted = f"(any, {columns})" if columns else "(any,)"
        raise InvalidTopologyError(f"{name} takes shape {wanted}, not {array.shape}")
    if array.dtype.kind not in "iu":
        raise InvalidTopologyError(f"{name} takes integers, not {array.dtype}")
    if array.dtype == np.uint64 and array.max() > np.uint64(2**63 - 1):
        raise InvalidTopologyError(f"{name} holds {array.max()}, which is too large")
    return array.astype(np.int64, copy=False)


def _hypha(index: int) -> str:
    return f"hypha {index}"


def checked_strengths(
    values: ArrayLike | None, count: int, where: Callable[[int], str] = _hypha
) -> NDArray[np.float64] | None:
    """A copy of `count` strengths, from as many or from one for all; None when all are 1.

    Raises:
        InvalidTopologyError: a value is out of bounds, at `where(index)`, or there are too many or too few.
    """
    if values is None:
        return None
    array = _array(values, "strengths")
    if array.size and array.dtype.kind not in "iuf":
        raise InvalidTopologyError(f"strengths takes numbers, not {array.dtype}")
    array = _spread(array.astype(np.float64), count, "strengths")
    wrong = ~((array > 0.0) & (array <= 1.0))
    if wrong.any():
        index = int(np.argmax(wrong))
        raise InvalidTopologyError(f"a strength is over 0 and at most 1, not {array[index]:g} at {where(index)}")
    return None if (array == 1.0).all() else array


def checked_latencies(
    values: ArrayLike | None, count: int, where: Callable[[int], str] = _hypha
) -> NDArray[np.int32] | None:
    """A copy of `count` latencies, from as many or from one for all; None when all are 1.

    Raises:
        InvalidTopologyError: a value is out of bounds, at `where(index)`, or there are too many or too few.
    """
    if values is None:
        return None
    array = _array(values, "latencies")
    if array.size and array.dtype.kind not in "iu":
        raise InvalidTopologyError(f"latencies takes whole ticks, not {array.dtype}")
    array = _spread(array, count, "latencies")
    wrong = (array < 1) | (array > LATENCY_MAX_TICKS)
    if wrong.any():
        index = int(np.argmax(wrong))
        raise InvalidTopologyError(
            f"a latency is 1 to {LATENCY_MAX_TICKS} whole ticks, not {array[index]} at {where(index)}"
        )
    return None if (array == 1).all() else array.astype(np.int32)


def checked_labels(labels: Iterable[Hashable] | None, nodes: int) -> tuple[Hashable, ...] | None:
    """Labels as a tuple, one for each node, all different."""
    if labels is None:
        return None
    labels = tuple(labels)
    if len(labels) != nodes:
        raise InvalidTopologyError(f"{len(labels)} labels do not name {nodes} nodes")
    if len(set(labels)) != nodes:
        raise InvalidTopologyError("labels name two nodes alike")
    return labels


def _array(values: ArrayLike, name: str) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidTopologyError(f"{name} takes an array of numbers: {error}") from error


def _spread(array: NDArray[Any], count: int, name: str) -> NDArray[Any]:
    if array.ndim == 0:
        return np.full(count, array)
    if array.shape != (count,):
        raise InvalidTopologyError(f"{name} takes {count} numbers or a single one, not shape {array.shape}")
    return array


def _check_rows(offsets: NDArray[np.int64], targets: NDArray[np.int64]) -> None:
    nodes = len(offsets) - 1
    if not 1 <= nodes <= NODES_MAX:
        raise InvalidTopologyError(f"a topology has 1 to {NODES_MAX} nodes, so 2 offsets or more, not {nodes + 1}")
    if offsets[0] != 0 or offsets[-1] != len(targets):
        raise InvalidTopologyError(
            f"offsets run from 0 to the number of hyphae, {len(targets)}, not from {offsets[0]} to {offsets[-1]}"
        )
    degrees = np.diff(offsets)
    if degrees.min() < 0:
        raise InvalidTopologyError(f"offsets fall after node {int(np.argmin(degrees))}")
    if not len(targets):
        return
    if targets.min() < 0 or targets.max() >= nodes:
        wrong = int(np.argmax((targets < 0) | (targets >= nodes)))
        raise InvalidTopologyError(f"hypha {wrong} leads to node {targets[wrong]}; nodes are 0 to {nodes - 1}")
    keys = pack(np.repeat(np.arange(nodes), degrees), targets)
    falls = np.flatnonzero(keys[1:] <= keys[:-1])
    if falls.size:
        node = int(keys[falls[0]] >> 32)
        raise InvalidTopologyError(
            f"the targets of node {node} do not rise: they are ascending and never twice the same"
        )
    loops = np.flatnonzero((keys >> 32) == targets)
    if loops.size:
        raise InvalidTopologyError(f"node {targets[loops[0]]} is joined to itself")


def _fill(topology: Topology, **parts: object) -> None:
    for name, part in parts.items():
        if isinstance(part, np.ndarray):
            part.setflags(write=False)
        object.__setattr__(topology, name, part)
