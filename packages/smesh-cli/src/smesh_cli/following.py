"""What a live view reads of a network from frame to frame, at a cost in proportion to what is new.

Nodes stand for **places** of a picture, one each or many together. Of each live signal the follower keeps how strongly
it came to each place; what is felt there now is that times the signal's intensity. An arrival is looked at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from smesh_core.network import Network

__all__ = ["Follower", "Glimpse", "Totals", "totals"]

_FOLLOWED_MAX: Final = 256
"""Signals that are followed at a time, the newest; all others still count in the totals."""


class Glimpse(NamedTuple):
    """A network at a moment.

    Attributes:
        felt: the strongest that is felt at each place, in [0, 1].
        signal: which signal that is, -1 for none.
        down: part of each place's nodes that are down.
        cut: part of each place's nodes that are not on the first side of a partition.
        live: the signals that are live and followed, newest last.
        intensity: how strong each of those still is.
        unfollowed: live signals beyond those.
        moves: what arrived since the last glimpse: signal, node it came from, node; shape (moves, 3).
    """

    felt: NDArray[np.float32]
    signal: NDArray[np.int64]
    down: NDArray[np.float64]
    cut: NDArray[np.float64]
    live: NDArray[np.int64]
    intensity: NDArray[np.float64]
    unfollowed: int
    moves: NDArray[np.int64]


class Follower:
    """Follows a network.

    Args:
        network: what to follow.
        place_of: the place of each node, shape (nodes,).
        places: how many there are.
        moves_max: moves that a glimpse shows at most; of more, none.
    """

    def __init__(self, network: Network, place_of: NDArray[np.int64], places: int, *, moves_max: int = 0) -> None:
        self._network = network
        self._place_of = place_of
        self._places = places
        self._moves_max = moves_max
        self._reach: dict[int, NDArray[np.float32]] = {}
        self._seen: dict[int, int] = {}
        self._population = np.maximum(1, np.bincount(place_of, minlength=places))
        self._sides = np.zeros(0, np.int32)
        self._down = self._cut = np.zeros(places)

    def look(self) -> Glimpse:
        """What there is to see now."""
        live, intensity, unfollowed = self._live()
        moves = self._catch_up(live)
        felt, signal = np.zeros(self._places, np.float32), np.full(self._places, -1, np.int64)
        for number, strength in zip(live.tolist(), intensity.tolist(), strict=True):
            here = self._reach[number] * np.float32(strength)
            is_stronger = here > felt
            felt[is_stronger] = here[is_stronger]
            signal[is_stronger] = number
        self._look_at_sides()
        return Glimpse(felt, signal, self._down, self._cut, live, intensity, unfollowed, moves)

    def _live(self) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
        network = self._network
        signals = network.state.signals
        age = network.tick - signals["born"]
        (live,) = np.nonzero((age > 0) & (age < signals["life"]))
        followed = live[-_FOLLOWED_MAX:]
        intensity = network.state.intensities[signals["decay"][followed] + age[followed]]
        return followed, intensity, len(live) - len(followed)

    def _catch_up(self, live: NDArray[np.int64]) -> NDArray[np.int64]:
        """Take in what has arrived since the last look, and forget signals that are no longer followed."""
        for gone in self._reach.keys() - set(live.tolist()):
            del self._reach[gone], self._seen[gone]
        state = self._network.state
        signals, arrivals = state.signals, state.arrivals
        moves: list[NDArray[np.int64]] = []
        count = 0
        for number in live.tolist():
            if number not in self._reach:
                self._reach[number], self._seen[number] = np.zeros(self._places, np.float32), 0
            first, held = int(signals["arrivals_at"][number]), int(signals["arrivals"][number])
            new = arrivals[first + self._seen[number] : first + held]
            if not len(new):
                continue
            self._seen[number] = held
            np.maximum.at(self._reach[number], self._place_of[new["node"]], new["attenuation"].astype(np.float32))
            count += len(new)
            if count <= self._moves_max:
                moves.append(np.stack([np.full(len(new), number), new["via"], new["node"]], axis=1))
        return np.concatenate(moves) if moves and count <= self._moves_max else np.zeros((0, 3), np.int64)

    def _look_at_sides(self) -> None:
        sides = self._network.state.sides
        if np.array_equal(sides, self._sides):
            return
        self._sides = sides.copy()
        side = np.where(sides < 0, -1 - sides, sides)
        for name, chosen in (("_down", sides < 0), ("_cut", side > 0)):
            setattr(self, name, np.bincount(self._place_of[chosen], minlength=self._places) / self._population)


class Totals(NamedTuple):
    """Counts over all signals so far; `coverage` is the part of all (signal, node) pairs that is reached."""

    emitted: int
    arrivals: int
    copies: int
    lost: int
    sensed: int
    reinforced: int
    inhibited: int
    down: int
    cut: int
    coverage: float


def totals(network: Network) -> Totals:
    """Count, at a cost in proportion to the signals and, while nodes are down or cut off, to the nodes."""
    signals, sides = network.state.signals, network.state.sides
    emitted = signals["born"] < network.tick
    arrived = int(signals["arrivals"][emitted].sum())
    count = int(emitted.sum())
    side = np.where(sides < 0, -1 - sides, sides)
    return Totals(
        emitted=count,
        arrivals=arrived - count,
        copies=int(signals["copies"].sum()),
        lost=int(signals["lost"].sum()),
        sensed=int(signals["sensed"].sum()),
        reinforced=int(signals["supporters"].sum()),
        inhibited=int(signals["opposers"].sum()),
        down=int((sides < 0).sum()),
        cut=int((side > 0).sum()),
        coverage=arrived / max(1, network.signal_count * network.node_count),
    )
