"""Sensing under bounded attention: what a node does when more reaches it than it can attend to in a tick.

A node attends to the strongest first, then to the oldest signal. What it does not get to is still there in the next
tick, weaker; once that has faded under the node's threshold, it is missed for good. Attention bounds what a node
senses, not what passes through it: hyphae relay all the same.

Where no node has a bound, a signal is felt most strongly when it arrives, so it is sensed then or never, and the
kernel does that by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from smesh_core.kernels.reference import read_consensus, stances
from smesh_core.state import MISSED, SENSED, stretches

if TYPE_CHECKING:
    from smesh_core.state import State

__all__ = ["attend"]


def attend(state: State, first: int, until: int) -> None:
    """Let nodes attend to what has arrived, in each tick from `first` to `until` - 1."""
    signals = state.signals
    at, of = stretches(signals["arrivals_at"], signals["arrivals"])
    waits = (state.arrivals["marks"][at] & (SENSED | MISSED) == 0) & (state.arrivals["hop"][at] > 0)
    of, at = of[waits], at[waits]
    arrived = signals["born"][of] + state.arrivals["age"][at]
    for tick in range(first, until):
        here = np.flatnonzero(arrived <= tick)
        if not len(here):
            continue
        age = tick - signals["born"][of[here]]
        is_live = age < signals["life"][of[here]]
        felt = np.zeros(len(here))
        felt[is_live] = state.intensities[signals["decay"][of[here[is_live]]] + age[is_live]]
        felt *= state.arrivals["attenuation"][at[here]]
        node = state.arrivals["node"][at[here]]
        is_felt = is_live & (felt >= state.thresholds[node])
        state.arrivals["marks"][at[here[~is_felt]]] |= MISSED
        wants = np.flatnonzero(is_felt & (state.sides[node] >= 0))
        order = wants[np.lexsort((signals["number"][of[here[wants]]], -felt[wants], node[wants]))]
        place = np.arange(len(order)) - np.searchsorted(node[order], node[order])
        attended = here[order[place < state.capacities[node[order]]]]
        stances(state, of[attended], at[attended], tick)
        read_consensus(state, np.unique(of[attended]), tick)
        is_done = np.zeros(len(of), bool)
        is_done[attended] = is_done[here[~is_felt]] = True
        of, at, arrived = of[~is_done], at[~is_done], arrived[~is_done]
