"""What the generators of topologies draw, in whole arrays; `smesh_core.topologies` says what for.

Each draw is counted by the edge that it is for and by the try, so that the size of a block does not matter.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from smesh_core.rng import Stream, draw, draw_unit, key
from smesh_core.topology import pack

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "DRAWS_AT_ONCE",
    "Pairs",
    "attachments",
    "bernoulli_places",
    "pairs_at",
    "rewired_lattice",
]

Pairs: TypeAlias = "tuple[NDArray[np.int64], NDArray[np.int64]]"
"""One end and the other end of each edge."""

DRAWS_AT_ONCE: Final = 2**18

_SMALL_WORLD, _SCALE_FREE, _RANDOM = range(3)
"""Generators draw under keys of their own: this is the `signal` of their draws."""
_DENSE: Final = 16
"""A graph is dense when its degree is over one in so many of its nodes; a table of all pairs costs little then."""
_TRIES_OF_A_WORD: Final = 3
"""64 bits are three numbers below 65,536, as good as uniform; a table of more nodes would be too large anyway."""
_TRIES_MAX: Final = 128
"""More than are ever needed where at most one node in sixteen is taken; so that it is certain to end."""
_LN_2: Final = 0.6931471805599453


# ---- small world


def rewired_lattice(nodes: int, degree: int, probability: float, seed: int) -> Pairs:
    """The edges of a small world. Edge nodes · (lap - 1) + i is that of the lattice from i to i + lap."""
    laps = degree // 2
    edges = np.arange(nodes * laps)
    near = edges % nodes
    far = (near + edges // nodes + 1) % nodes
    moves = draw_unit(key(seed, Stream.TOPOLOGY, 0, _SMALL_WORLD), edges) < probability
    if _DENSE * degree > nodes:
        _rewire_one_by_one(near, far, moves, nodes, seed)
    else:
        far[moves] = _rewired_all_at_once(edges[moves], nodes, laps, moves, seed)
    return near, far


def _rewire_one_by_one(
    near: NDArray[np.int64], far: NDArray[np.int64], moves: NDArray[np.bool_], nodes: int, seed: int
) -> None:
    """Move edges in turn by a table of who is joined to whom: try three nodes, then choose from a list of the free."""
    is_taken = np.eye(nodes, dtype=bool)
    is_taken[near, far] = is_taken[far, near] = True
    cells = is_taken.reshape(-1).data
    for start in range(0, len(near), nodes):
        edges = start + np.flatnonzero(moves[start : start + nodes])
        words, choices = (draw(key(seed, Stream.TOPOLOGY, tries, _SMALL_WORLD), edges).tolist() for tries in (1, 2))
        olds, news = far[edges].tolist(), []
        for node, old, word, choice in zip(near[edges].tolist(), olds, words, choices, strict=True):
            rest = word
            for _ in range(_TRIES_OF_A_WORD):
                rest, new = divmod(rest, nodes)
                if not cells[node * nodes + new]:
                    break
            else:
                free = np.flatnonzero(~is_taken[node])
                new = int(free[choice % len(free)]) if len(free) else old
            cells[node * nodes + old] = cells[old * nodes + node] = False
            cells[node * nodes + new] = cells[new * nodes + node] = True
            news.append(new)
        far[edges] = news


def _rewired_all_at_once(
    edges: NDArray[np.int64], nodes: int, laps: int, moves: NDArray[np.bool_], seed: int
) -> NDArray[np.int64]:
    """The far ends that `edges` would have if they moved in turn, each drawing until it finds a free node.

    Of edges that draw the same pair of nodes the first gets it and the others draw on, whenever they do. That is
    stable matching where all pairs prefer the same edges, so it ends as if the edges had chosen in turn (Gale and
    Shapley 1962), and in a sparse graph after two or three rounds.
    """
    near, far, tries = edges % nodes, np.empty_like(edges), np.zeros_like(edges)
    waiting = np.arange(len(edges))
    while waiting.size:
        while waiting.size:
            proposed = _proposals(edges[waiting], tries[waiting], nodes, seed)
            far[waiting] = proposed
            stands = _stands_in_turn(edges[waiting], proposed, nodes, laps, moves) & (tries[waiting] < _TRIES_MAX)
            waiting = waiting[stands]
            tries[waiting] += 1
        pairs = pack(np.minimum(near, far), np.maximum(near, far))
        order = np.argsort(pairs, kind="stable")
        pairs = pairs[order]
        waiting = order[1:][pairs[1:] == pairs[:-1]]
        tries[waiting] += 1
    return far


def _proposals(edges: NDArray[np.int64], tries: NDArray[np.int64], nodes: int, seed: int) -> NDArray[np.int64]:
    """The far end that each edge draws at its n-th try, other than its near end; after the last, the one it had."""
    near, lap = edges % nodes, edges // nodes + 1
    words = draw(key(seed, Stream.TOPOLOGY, tries + 1, _SMALL_WORLD), edges)
    far = (words % np.uint64(nodes - 1)).astype(np.int64)
    return np.where(tries < _TRIES_MAX, far + (far >= near), (near + lap) % nodes)


def _stands_in_turn(
    edges: NDArray[np.int64], far: NDArray[np.int64], nodes: int, laps: int, moves: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Whether an edge of the lattice, be it its own, joins an edge's near end to `far` when its turn comes."""
    near = edges % nodes
    ahead = (far - near) % nodes
    lap = np.minimum(ahead, nodes - ahead)
    is_lattice = lap <= laps
    there = np.where(is_lattice, (lap - 1) * nodes + np.where(ahead <= laps, near, far), 0)
    stands: NDArray[np.bool_] = is_lattice & ((there >= edges) | ~moves[there])
    return stands


# ---- scale free


def attachments(nodes: int, attach: int, seed: int) -> Pairs:
    """The edges of a scale-free network: what letting one node after the other choose gives, in blocks.

    Row r of the list of ends holds the `attach` edges of node attach + r, first their far ends and then the node; row
    0 is the star. A position that a block draws in its own far ends stands for what that one draws, and is followed
    by pointer jumping (Sanders and Schulz 2016). Up to the first node that has drawn another twice, all is as it
    would be in turn: that node draws on, and the next block begins after it.
    """
    ends = np.empty((nodes - attach, 2, attach), np.int64)
    ends[:, 1] = np.arange(attach, nodes)[:, None]
    ends[0] = np.zeros(attach), np.arange(1, attach + 1)
    flat = ends.reshape(-1)
    row, block = 1, 1
    while row < len(ends):
        stop = min(row + block, len(ends))
        ends[row:stop, 0] = flat[_followed(_positions(np.arange(row, stop), attach, seed, 0), row, attach)]
        ascending = np.sort(ends[row:stop, 0], axis=1)
        repeats = np.flatnonzero((ascending[:, 1:] == ascending[:, :-1]).any(axis=1))
        if repeats.size:
            row += int(repeats[0])
            ends[row, 0] = _distinct(flat, row, attach, seed)
            row, block = row + 1, max(1, block // 2)
        else:
            row, block = stop, max(1, min(2 * block, stop // 8, DRAWS_AT_ONCE // attach))
    return ends[:, 0].ravel(), ends[:, 1].ravel()


def _positions(rows: NDArray[np.int64], attach: int, seed: int, tries: int) -> NDArray[np.int64]:
    """Positions in the flat list of ends that rows draw among the ends before them, shape (rows, attach)."""
    words = draw(key(seed, Stream.TOPOLOGY, tries, _SCALE_FREE), rows[:, None] * attach + np.arange(attach))
    return (words % (2 * attach * rows[:, None]).astype(np.uint64)).astype(np.int64)


def _followed(positions: NDArray[np.int64], row: int, attach: int) -> NDArray[np.int64]:
    """The same positions, those of far ends from `row` on replaced by what is drawn there."""
    drawn = positions.reshape(-1)
    waiting = np.arange(len(drawn))
    while waiting.size:
        ahead, column = np.divmod(drawn[waiting], 2 * attach)
        unknown = (ahead >= row) & (column < attach)
        waiting = waiting[unknown]
        drawn[waiting] = drawn[(ahead[unknown] - row) * attach + column[unknown]]
    return drawn.reshape(positions.shape)


def _distinct(flat: NDArray[np.int64], row: int, attach: int, seed: int) -> list[int]:
    """The first `attach` different nodes that a row draws, however often it must."""
    chosen: dict[int, None] = {}
    tries = 0
    while len(chosen) < attach:
        drawn = flat[_positions(np.array([row]), attach, seed, tries)[0]]
        chosen.update(dict.fromkeys(drawn.tolist()))
        tries += 1
    return list(chosen)[:attach]


# ---- random


def bernoulli_places(places: int, probability: float, seed: int) -> NDArray[np.int64]:
    """Which of `places` places are taken when each is with the same probability in [0, 1), ascending."""
    expected = places * probability
    block = min(DRAWS_AT_ONCE, 16 + math.ceil(expected + 4 * math.sqrt(expected)))
    keys, rate = key(seed, Stream.TOPOLOGY, signal=_RANDOM), _log_of_complement(probability)
    taken: list[NDArray[np.int64]] = []
    last, drawn = -1, 0
    while rate and last < places:
        with np.errstate(over="ignore"):
            passed = _log(draw_unit(keys, np.arange(drawn, drawn + block))) / rate
        # A gap is cut at `places`: the first sum past the end is right, and what wraps round after it is not used.
        found = last + np.cumsum(1 + np.minimum(passed, float(places)).astype(np.int64))
        past = np.flatnonzero(found >= places)
        taken.append(found[: past[0]] if past.size else found)
        last, drawn = places if past.size else int(found[-1]), drawn + block
    return np.concatenate(taken) if taken else np.empty(0, np.int64)


def pairs_at(places: NDArray[np.int64]) -> Pairs:
    """The pairs (v, w), w < v, at places of the order (1, 0), (2, 0), (2, 1), (3, 0) ...; exact up to 2^31 nodes.

    At the first place of a row the root is v - 1/2, which is a float and so never rounded down; at the last it may be
    rounded up to that of the next.
    """
    v = (np.sqrt(2.0 * places + 0.25) + 0.5).astype(np.int64)
    v -= v * (v - 1) // 2 > places
    return v, places - v * (v - 1) // 2


def _log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Natural logarithms of numbers in (0, 1) by sums and products, which all machines round alike.

    The last bit of np.log is not the same everywhere, and a gap that differs by one moves all pairs after it.
    """
    mantissa, exponent = np.frexp(values)
    is_low = mantissa < math.sqrt(0.5)
    mantissa = np.where(is_low, 2.0 * mantissa, mantissa)
    return 2.0 * _artanh((mantissa - 1.0) / (mantissa + 1.0)) + (exponent - is_low) * _LN_2


def _log_of_complement(probability: float) -> float:
    """The natural logarithm of 1 - p for p in [0, 1), precise for small p, as `_log` has it."""
    if probability > 0.25:
        return float(_log(np.array([1.0 - probability]))[0])
    return -2.0 * float(_artanh(np.array([probability / (2.0 - probability)]))[0])


def _artanh(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Its series x + x³/3 + ... + x²³/23, which is exact enough for |x| < 0.18."""
    square = values * values
    total = np.full_like(values, 1.0 / 23.0)
    for odd in range(21, 0, -2):
        total *= square
        total += 1.0 / odd
    return total * values
