"""The slow reference: the same path as `kernels.tick`, in NumPy, one tick of all signals at a time.

It shares no code with the compiled path, and works the other way round: tick by tick over flat arrays of all signals,
where that goes signal by signal. It is what `tick` is tested against, bit for bit, and the engine where numba is
missing. The theory stands in `tick`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from smesh_core import limits, rng
from smesh_core.conduct import Conduct
from smesh_core.rng import Stream
from smesh_core.state import NEVER, OPPOSES, SENSED, SUPPORTS, stretches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smesh_core.state import State, Table

__all__ = ["Reference", "read_consensus", "stances", "trusts"]

BLOCK: Final = 64
NONE: Final = -1
ARRIVED: Final = -1


class Reference:
    """Runs a network's signals in NumPy, on one thread whatever is asked for."""

    def __init__(self, state: State) -> None:
        self._state = state

    def run(self, until: int, threads: int) -> None:  # noqa: ARG002 - the engines have one interface
        """Advance every signal to the tick `until`."""
        while True:
            tick = int(self._state.signals["next"].min(initial=NEVER))
            if tick >= until:
                return
            _tick(self._state, tick)
            _note_next(self._state)


def _tick(state: State, tick: int) -> None:
    signals = state.signals
    live = np.flatnonzero((signals["born"] <= tick) & (tick < signals["born"] + signals["life"]))
    fresh = live[signals["settled"][live] == 0]
    arrived = _deliver(state, tick)
    new = (np.append(fresh, arrived[0]), np.append(np.zeros(len(fresh), np.int64), arrived[1]))
    _sense_and_reinforce(state, *arrived, tick)
    read_consensus(state, np.unique(new[0]), tick)
    _ask_neighbours(state, *new, tick)


# ---- decay


def _intensity(state: State, rows: NDArray[np.int64], ages: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of signals that are live at these ages."""
    intensity: NDArray[np.float64] = state.intensities[state.signals["decay"][rows] + ages]
    return intensity


# ---- diffuse


def _deliver(state: State, tick: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Let the copies of this tick arrive; returns the signal's row and the slot of each new arrival."""
    signals, topology = state.signals, state.topology
    due, rows = _pending(state)
    is_due = state.pending["age"][due] == tick - signals["born"][rows]
    due, rows = due[is_due], rows[is_due]
    slots, ranks = state.pending["holder"][due].astype(np.int64), state.pending["rank"][due].astype(np.int64)
    holders = signals["arrivals_at"][rows] + slots
    senders = state.arrivals["node"][holders]
    hyphae = topology.offsets[senders] + ranks
    targets = topology.targets[hyphae]
    state.pending["age"][due] = ARRIVED

    is_sent = (state.sides[senders] >= 0) & _give_on(state, senders, signals["origin"][rows])
    crosses = is_sent & (state.sides[senders] == state.sides[targets])
    np.add.at(signals["lost"], rows[~crosses & is_sent], 1)
    _ask(state, rows[~crosses], slots[~crosses], ranks[~crosses], tick)

    rows, holders, senders, hyphae, targets = (of[crosses] for of in (rows, holders, senders, hyphae, targets))
    np.add.at(signals["copies"], rows, 1)
    np.add.at(state.arrivals["relayed"], holders, 1)
    trust = trusts(state, senders, signals["origin"][rows])
    strength = state.strengths[np.zeros_like(hyphae) if topology.strengths is None else hyphae]
    attenuation = state.arrivals["attenuation"][holders] * (strength * _dampening(trust))
    hops = state.arrivals["hop"][holders].astype(np.int32) + 1
    # Each node keeps the best copy of this tick: the stronger, then of fewer hops, then from the lower node.
    best = np.lexsort((senders, hops, -attenuation, targets, rows))
    is_first = np.ones(len(best), bool)
    is_first[1:] = (rows[best][1:] != rows[best][:-1]) | (targets[best][1:] != targets[best][:-1])
    kept = best[is_first]
    kept = kept[~_holds(state, rows[kept], targets[kept])]
    return rows[kept], _append(state, rows[kept], targets[kept], senders[kept], hops[kept], attenuation[kept], tick)


def _give_on(state: State, senders: NDArray[np.int32], origins: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether it is each sender's conduct to pass on what the origin says."""
    conducts, ours = state.conducts[senders], state.conducts[origins]
    is_league = (conducts & Conduct.COLLUDES > 0) & (ours & Conduct.COLLUDES > 0)
    gives: NDArray[np.bool_] = (conducts & Conduct.DROPS == 0) | (senders == origins) | is_league
    return gives


def _dampening(trust: NDArray[np.float64]) -> NDArray[np.float64]:
    is_trusted = trust > limits.DAMPENING_TRUST_MIN
    return np.where(is_trusted, limits.DAMPENING_TRUSTED, limits.DAMPENING_DISTRUSTED)


def _holds(state: State, rows: NDArray[np.int64], nodes: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether a signal has arrived at a node."""
    held, of = _arrivals(state)
    names = of * state.topology.node_count + state.arrivals["node"][held]
    return np.isin(rows * state.topology.node_count + nodes, names)


def _append(
    state: State,
    rows: NDArray[np.int64],
    nodes: NDArray[np.int32],
    via: NDArray[np.int32],
    hops: NDArray[np.int32],
    attenuation: NDArray[np.float64],
    tick: int,
) -> NDArray[np.int64]:
    """Record arrivals, which come sorted by signal; returns their slots."""
    signals = state.signals
    slots = signals["arrivals"][rows] + _place_in_group(rows)
    _make_room(state, "arrivals", rows)
    at = signals["arrivals_at"][rows] + slots
    for name, values in {
        "node": nodes, "via": via, "hop": hops, "attenuation": attenuation,
        "age": tick - signals["born"][rows], "relayed": 0, "acted": 0, "marks": 0,
    }.items():  # fmt: skip
        state.arrivals[name][at] = values
    np.add.at(signals["arrivals"], rows, 1)
    return slots


def _ask_neighbours(state: State, rows: NDArray[np.int64], slots: NDArray[np.int64], tick: int) -> None:
    """From this tick on, ask the hyphae of nodes that a signal has just reached."""
    signals, topology = state.signals, state.topology
    signals["settled"][rows] = signals["arrivals"][rows]
    at = signals["arrivals_at"][rows] + slots
    relays = state.arrivals["hop"][at] < signals["radius"][rows]
    rows, slots, at = rows[relays], slots[relays], at[relays]
    nodes = state.arrivals["node"][at]
    degrees = topology.degrees[nodes].astype(np.int64)
    of = np.repeat(np.arange(len(rows)), degrees)
    ranks = np.arange(len(of)) - np.repeat(np.cumsum(degrees) - degrees, degrees)
    targets = topology.targets[topology.offsets[nodes[of]] + ranks]
    is_onward = targets != state.arrivals["via"][at[of]]
    _ask(state, rows[of][is_onward], slots[of][is_onward], ranks[is_onward], tick)


def _ask(state: State, rows: NDArray[np.int64], slots: NDArray[np.int64], ranks: NDArray[np.int64], tick: int) -> None:
    """Draw when each hypha relays, asked from this tick on, and note the copies that will arrive."""
    signals, topology = state.signals, state.topology
    at = signals["arrivals_at"][rows] + slots
    nodes = state.arrivals["node"][at]
    hyphae = topology.offsets[nodes] + ranks
    trust = trusts(state, nodes, signals["origin"][rows])
    remaining = (signals["radius"][rows] - state.arrivals["hop"][at].astype(np.int32)) / signals["radius"][rows]
    share = signals["confidence"][rows] * trust * remaining
    keys = rng.key(int(state.world["seed"][0]), Stream.RELAY, tick, signals["number"][rows])
    life = signals["life"][rows]
    asked = _first_success(state, rows, share, rng.draw_unit(keys, hyphae), tick - signals["born"][rows])
    latency = state.latencies[np.zeros_like(hyphae) if topology.latencies is None else hyphae]
    arrives = asked + latency
    comes = (asked != NONE) & (arrives < life)
    _send(state, rows[comes], slots[comes], ranks[comes], arrives[comes])


def _first_success(
    state: State,
    rows: NDArray[np.int64],
    share: NDArray[np.float64],
    unit: NDArray[np.float64],
    begin: NDArray[np.int64],
) -> NDArray[np.int64]:
    """The first age, from `begin` on, in which each hypha relays; NONE if it never does.

    Goes through the ages one by one: ``product`` is that of (1 - p) since the start of the block.
    """
    life = state.signals["life"][rows]
    success = np.full(len(rows), NONE, np.int64)
    age = begin - begin % BLOCK
    product, left = np.ones(len(rows)), unit.copy()
    asking = np.flatnonzero(begin < life)
    while len(asking):
        now = age[asking]
        starts = asking[now == begin[asking]]
        left[starts] = unit[starts] * product[starts]
        product[asking] *= 1.0 - share[asking] * _intensity(state, rows[asking], now)
        succeeds = (now >= begin[asking]) & (product[asking] <= left[asking])
        success[asking[succeeds]] = now[succeeds]
        ends = asking[now % BLOCK == BLOCK - 1]
        left[ends] /= product[ends]
        product[ends] = 1.0
        age[asking] += 1
        asking = asking[~succeeds & (now + 1 < life[asking])]
    return success


def _send(
    state: State,
    rows: NDArray[np.int64],
    slots: NDArray[np.int64],
    ranks: NDArray[np.int64],
    arrives: NDArray[np.int64],
) -> None:
    """Note copies that will arrive."""
    signals = state.signals
    order = np.argsort(rows, kind="stable")
    rows = rows[order]
    records = signals["pending"][rows] + _place_in_group(rows)
    _make_room(state, "pending", rows)
    at = signals["pending_at"][rows] + records
    state.pending["age"][at] = arrives[order]
    state.pending["holder"][at] = slots[order]
    state.pending["rank"][at] = ranks[order]
    np.add.at(signals["pending"], rows, 1)


# ---- sense, reinforce


def _sense_and_reinforce(state: State, rows: NDArray[np.int64], slots: NDArray[np.int64], tick: int) -> None:
    if state.world["is_attention_bounded"][0]:
        return
    signals = state.signals
    at = signals["arrivals_at"][rows] + slots
    felt = _intensity(state, rows, tick - signals["born"][rows]) * state.arrivals["attenuation"][at]
    senses = felt >= state.thresholds[state.arrivals["node"][at]]
    stances(state, rows[senses], at[senses], tick)


def stances(state: State, rows: NDArray[np.int64], at: NDArray[np.int64], tick: int) -> None:
    """Let nodes that sense a signal take a stance, each on evidence of its own, or as its conduct has it.

    Args:
        state: the network's.
        rows: of the signals.
        at: of the arrivals, in the table of all.
        tick: now.
    """
    signals, nodes = state.signals, state.arrivals["node"][at].astype(np.int64)
    keys = rng.key(int(state.world["seed"][0]), Stream.EVIDENCE, 0, signals["number"][rows])
    kind, evidence = rng.draw_unit(keys, 2 * nodes), rng.draw_unit(keys, 2 * nodes + 1)
    trust, confidence = trusts(state, nodes, signals["origin"][rows]), signals["confidence"][rows]
    is_for = kind < signals["for_share"][rows]
    is_against = ~is_for & (kind < signals["for_share"][rows] + signals["against_share"][rows])
    supports = is_for & (evidence + trust * confidence >= limits.REINFORCE_MIN)
    opposes = is_against & (evidence + (1.0 - trust) * confidence >= limits.REINFORCE_MIN)
    conduct, league = state.conducts[nodes], state.conducts[signals["origin"][rows]] & Conduct.COLLUDES > 0
    colludes, flatters = conduct & Conduct.COLLUDES > 0, conduct & Conduct.FLATTERS > 0
    supports = np.select([conduct & Conduct.ABSTAINS > 0, colludes, flatters], [False, league, True], supports)
    opposes = np.select([conduct & Conduct.ABSTAINS > 0, colludes, flatters], [False, ~league, False], opposes)
    flags = SENSED + SUPPORTS * supports + OPPOSES * opposes
    state.arrivals["marks"][at] |= flags.astype(np.uint16)
    state.arrivals["acted"][at] = tick - signals["born"][rows]
    np.add.at(signals["sensed"], rows, 1)
    np.add.at(signals["supporters"], rows[supports], 1)
    np.add.at(signals["opposers"], rows[opposes], 1)


def trusts(state: State, observers: NDArray[np.integer], origins: NDArray[np.integer]) -> NDArray[np.float64]:
    """What each observer thinks of each origin."""
    trust: NDArray[np.float64] = state.trusts[origins].copy()
    if state.world["is_trust_paired"][0]:
        count = state.topology.node_count
        of = np.repeat(np.arange(count), np.diff(state.pair_offsets))
        known = of * count + state.pair_observers
        wanted = origins.astype(np.int64) * count + observers
        place = np.minimum(np.searchsorted(known, wanted), max(0, len(known) - 1))
        is_known = known[place] == wanted if len(known) else np.zeros(len(wanted), bool)
        trust[is_known] = state.pair_trusts[place[is_known]]
    trust[observers == origins] = limits.TRUST_IN_SELF
    return trust


# ---- consensus


def read_consensus(state: State, rows: NDArray[np.int64], tick: int) -> None:
    """Note for each of these signals when consensus was first reached, or rejected it."""
    if not state.world["is_lineage_own"][0]:
        return
    signals = state.signals
    support, oppose = 1 + signals["supporters"][rows], signals["opposers"][rows]
    needed = max(float(state.world["quorum"][0]), float(state.world["lineages"][0]))
    reached = rows[(support > oppose) & (support >= needed) & (signals["reached_tick"][rows] == NEVER)]
    rejected = rows[(oppose > support) & (oppose >= needed) & (signals["rejected_tick"][rows] == NEVER)]
    signals["reached_tick"][reached] = tick
    signals["rejected_tick"][rejected] = tick


# ---- the tables


def _arrivals(state: State) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return stretches(state.signals["arrivals_at"], state.signals["arrivals"])


def _pending(state: State) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return stretches(state.signals["pending_at"], state.signals["pending"])


def _make_room(state: State, table: str, rows: NDArray[np.int64]) -> None:
    """See to it that each signal can hold one more record in a table for each time that it is in `rows`."""
    needed = state.signals[table] + np.bincount(rows, minlength=state.signal_count)
    short = np.flatnonzero(needed > state.signals[f"{table}_room"])
    state.make_room(short, table, 2 * needed[short])


def _place_in_group(sorted_rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each entry of a sorted array, how many equal ones stand before it."""
    return np.arange(len(sorted_rows)) - np.searchsorted(sorted_rows, sorted_rows)


def _note_next(state: State) -> None:
    """For each signal the tick in which something happens next, and no records of signals that have ended."""
    signals = state.signals
    at, rows = _pending(state)
    is_on_way = state.pending["age"][at] != ARRIVED
    at, rows = at[is_on_way], rows[is_on_way]
    is_started = signals["settled"] > 0
    signals["next"][is_started] = NEVER
    np.minimum.at(signals["next"], rows, signals["born"][rows] + state.pending["age"][at])
    _close_gaps(state, at, rows)


def _close_gaps(state: State, at: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
    to = state.signals["pending_at"][rows] + _place_in_group(rows)
    records: Table = state.pending[at]
    state.pending[to] = records
    state.signals["pending"] = np.bincount(rows, minlength=state.signal_count)
