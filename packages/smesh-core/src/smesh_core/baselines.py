"""What one would do without a field: ask everybody and count, or queue everything at one place.

`trials` compares networks with these. Words are numbers: 1 for a statement, -1 against it, 0 nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from smesh_core import limits, rng
from smesh_core.conduct import Conduct
from smesh_core.consensus import ConsensusState
from smesh_core.rng import Stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smesh_core.network import Network

__all__ = ["by_heads", "own_words", "read_in"]

_STATES = {1: ConsensusState.REACHED, -1: ConsensusState.REJECTED, 0: ConsensusState.OPEN}


def by_heads(words: NDArray[np.int64]) -> list[ConsensusState]:
    """What more say than its contrary, of words of shape (statements, nodes)."""
    return [_STATES[side] for side in np.sign(words.sum(axis=1)).tolist()]


def own_words(network: Network, confidence: float, count: int) -> NDArray[np.int64]:
    """What each node would say of each of the first ``count`` signals if it were asked; (signals, nodes).

    Honest nodes go by the evidence that they hold, the very one that they hold in the network; the others by their
    conduct there.
    """
    nodes = np.arange(network.node_count)
    keys = rng.key(network.seed, Stream.EVIDENCE, 0, np.arange(count))[:, None]
    kind = rng.draw_unit(keys, 2 * nodes)
    is_enough = rng.draw_unit(keys, 2 * nodes + 1) + limits.TRUST_DEFAULT * confidence >= limits.REINFORCE_MIN
    signals = network.state.signals[:count]
    for_share, against_share = signals["for_share"][:, None], signals["against_share"][:, None]
    side = np.where(kind < for_share, 1, np.where(kind < for_share + against_share, -1, 0))
    words: NDArray[np.int64] = np.where(is_enough, side, 0)
    origins = signals["origin"]
    words[np.arange(count), origins] = 1
    conducts = network.state.conducts
    is_of_the_league = np.isin(origins, np.flatnonzero(conducts & Conduct.COLLUDES))[:, None]
    words[:, conducts & Conduct.FLATTERS > 0] = 1
    words[:, conducts & Conduct.COLLUDES > 0] = np.where(is_of_the_league, 1, -1)
    words[:, conducts & Conduct.ABSTAINS > 0] = 0
    return words


def read_in(arrivals: NDArray[np.int64], *, per_tick: int, ticks: int) -> NDArray[np.int64]:
    """When one reader gets to each message, first come, first served.

    Args:
        arrivals: the tick in which each message comes; of those of one tick the first in the array is first.
        per_tick: how many are read in a tick.
        ticks: the reader stops after so many.

    Returns:
        The tick in which each is read, not before it has come; -1 where that is never.
    """
    order = np.argsort(arrivals, kind="stable")
    come = np.searchsorted(arrivals[order], np.arange(ticks), side="right")
    read = np.full(len(arrivals), -1)
    done = 0
    for tick in range(ticks):
        until = min(int(come[tick]), done + per_tick)
        read[order[done:until]] = tick
        done = until
    return read
