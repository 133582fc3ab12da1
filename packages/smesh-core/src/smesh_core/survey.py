"""What a network holds, read from its state: arrivals, counters, coverage, values, consensus.

Nothing here changes a network. All that is returned is sorted, so it does not depend on the engine, the number of
threads, or how the ticks were divided into calls.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from smesh_core.consensus import ConsensusState
from smesh_core.limits import ID_BYTES
from smesh_core.reinforcement import effective_confidence
from smesh_core.signal import StanceKind
from smesh_core.state import NEVER, OPPOSES, SENSED, SUPPORTS, stretches
from smesh_core.weights import Observer, tally

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from smesh_core.consensus import ConsensusPolicy
    from smesh_core.network import Network
    from smesh_core.state import Table

__all__ = [
    "ARRIVALS",
    "Counters",
    "Verdicts",
    "arrivals",
    "counters",
    "coverage_by_tick",
    "digest",
    "node_id_of",
    "roster_of",
    "values",
    "verdicts",
    "verdicts_for",
]

ARRIVALS: Final = np.dtype(
    [
        ("signal", np.int64),
        ("tick", np.int64),
        ("node", np.int32),
        ("via", np.int32),
        ("hop", np.int32),
        ("relayed", np.int32),
        ("attenuation", np.float64),
        ("acted_tick", np.int64),
        ("is_sensed", np.bool_),
        ("stance", np.int8),
    ]
)
"""Of each arrival: the signal, when it came, where, from which node (-1 at the origin), after how many hops, how many
copies that node sent on, the attenuation, when the node sensed it (-1 if it did not), whether it did, and its stance
(1 for, -1 against, 0 none)."""


class Counters(NamedTuple):
    """What each node did so far; arrays of shape (nodes,)."""

    emitted: NDArray[np.int64]
    sensed: NDArray[np.int64]
    reinforced: NDArray[np.int64]
    inhibited: NDArray[np.int64]
    relayed: NDArray[np.int64]


class Verdicts(NamedTuple):
    """What consensus says about each signal, from all stances taken so far; arrays of shape (signals,).

    Attributes:
        states: open, reached or rejected.
        support: votes for it, its origin's among them.
        oppose: votes against it.
        reached_tick: when it was first read as reached; -1 if never. Later stances may have opened it again.
        rejected_tick: when it was first read as rejected; -1 if never.
    """

    states: list[ConsensusState]
    support: NDArray[np.float64]
    oppose: NDArray[np.float64]
    reached_tick: NDArray[np.int64]
    rejected_tick: NDArray[np.int64]


def arrivals(network: Network) -> Table:
    """Every arrival so far, origins included, by (signal, tick, node); dtype `ARRIVALS`."""
    state = network.state
    signals = state.signals
    at, of = stretches(signals["arrivals_at"], signals["arrivals"])
    has_begun = signals["born"][of] < network.tick
    at, of = at[has_begun], of[has_begun]
    held = state.arrivals[at]
    found = np.zeros(len(held), ARRIVALS)
    for name in ("node", "via", "hop", "relayed", "attenuation"):
        found[name] = held[name]
    found["signal"] = of
    found["tick"] = signals["born"][of] + held["age"]
    found["is_sensed"] = held["marks"] & SENSED > 0
    found["acted_tick"] = np.where(found["is_sensed"], signals["born"][of] + held["acted"], -1)
    found["stance"] = (held["marks"] & SUPPORTS > 0).astype(np.int8) - (held["marks"] & OPPOSES > 0)
    return found[np.lexsort((found["node"], found["tick"], found["signal"]))]


def counters(network: Network) -> Counters:
    """What each node did so far."""
    found = arrivals(network)
    count = network.node_count

    def times(chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(found["node"][chosen], minlength=count)

    relayed = np.zeros(count, np.int64)
    np.add.at(relayed, found["node"], found["relayed"])
    return Counters(
        emitted=times(found["via"] < 0),
        sensed=times(found["is_sensed"]),
        reinforced=times(found["stance"] > 0),
        inhibited=times(found["stance"] < 0),
        relayed=relayed,
    )


def coverage_by_tick(network: Network) -> NDArray[np.float64]:
    """Part of (signal, node) pairs reached by the end of each tick, for all signals of the run; shape (ticks,)."""
    signals, state = network.state.signals, network.state
    at, of = stretches(signals["arrivals_at"], signals["arrivals"])
    ticks = signals["born"][of] + state.arrivals["age"][at]
    reached = np.bincount(ticks[signals["born"][of] < network.tick], minlength=network.tick)
    pairs = max(1, network.signal_count * network.node_count)
    coverage: NDArray[np.float64] = np.cumsum(reached) / pairs
    return coverage


def verdicts(network: Network) -> Verdicts:
    """What consensus says about each signal, from all stances taken so far, whether or not it is still live."""
    if not network.state.world["is_lineage_own"][0]:
        return verdicts_for(network, roster_of(network), network.quorum)
    signals = network.state.signals
    is_said = ((signals["born"] <= network.tick) & (signals["life"] > 0)).astype(np.float64)
    support, oppose = is_said + signals["supporters"], signals["opposers"].astype(np.float64)
    reached, rejected = _has_quorum(network, support, oppose), _has_quorum(network, oppose, support)
    ticks = [np.where(signals[name] == NEVER, -1, signals[name]) for name in ("reached_tick", "rejected_tick")]
    states = [
        ConsensusState.REACHED if is_reached else ConsensusState.REJECTED if is_rejected else ConsensusState.OPEN
        for is_reached, is_rejected in zip(reached.tolist(), rejected.tolist(), strict=True)
    ]
    return Verdicts(states, support, oppose, ticks[0], ticks[1])


def node_id_of(node: int) -> bytes:
    """The id, of 32 bytes, that a simulated node has for an `Observer`; ids stand in the order of the nodes."""
    return node.to_bytes(ID_BYTES, "big")


def roster_of(network: Network) -> Observer:
    """An observer that counts every node fully, in the lineages that the network has."""
    return Observer(roster={node_id_of(node): f"lineage:{of}" for node, of in enumerate(network.lineages.tolist())})


def verdicts_for(network: Network, observer: Observer, policy: ConsensusPolicy) -> Verdicts:
    """What an observer reads about each signal with its own weights and policy, as from a field of the same stances.

    This is the very code that reads a field, one statement at a time: it is for study, and slow beside `verdicts`.
    """
    count, signals = network.signal_count, network.state.signals
    support, oppose = np.zeros(count), np.zeros(count)
    states = [ConsensusState.OPEN] * count
    first = {state: np.full(count, -1, np.int64) for state in (ConsensusState.REACHED, ConsensusState.REJECTED)}
    for signal, ours in enumerate(_stances_by_signal(network)):
        born, origin = int(signals["born"][signal]), int(signals["origin"][signal])
        if born > network.tick or not signals["life"][signal]:
            continue
        for tick, positions in _moments(born, origin, ours):
            verdict = policy.read(tally(positions.items(), observer))
            if verdict.state in first and first[verdict.state][signal] < 0 and tick < network.tick:
                first[verdict.state][signal] = tick
            states[signal], support[signal], oppose[signal] = verdict.state, verdict.support, verdict.oppose
    return Verdicts(states, support, oppose, first[ConsensusState.REACHED], first[ConsensusState.REJECTED])


def _moments(born: int, origin: int, stances: Table) -> Iterator[tuple[int, dict[bytes, StanceKind]]]:
    """Each tick in which somebody spoke, emission the first, and where everybody stands after it."""
    positions = {node_id_of(origin): StanceKind.SUPPORT}
    stances = stances[np.argsort(stances["acted_tick"], kind="stable")]
    ticks = np.unique(np.append(stances["acted_tick"], born))
    start = 0
    for tick, end in zip(ticks.tolist(), np.searchsorted(stances["acted_tick"], ticks, "right").tolist(), strict=True):
        for node, side in zip(stances["node"][start:end].tolist(), stances["stance"][start:end].tolist(), strict=True):
            positions[node_id_of(node)] = StanceKind.SUPPORT if side > 0 else StanceKind.OPPOSE
        start = end
        yield tick, positions


def _has_quorum(network: Network, weight: NDArray[np.float64], against: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where each node is a lineage of its own."""
    needed = max(network.quorum.weight, network.quorum.lineages)
    enough: NDArray[np.bool_] = (weight > against) & (weight >= needed)
    return enough


def _stances_by_signal(network: Network) -> list[Table]:
    found = arrivals(network)
    found = found[found["stance"] != 0]
    bounds = np.searchsorted(found["signal"], np.arange(network.signal_count + 1))
    return [found[bounds[signal] : bounds[signal + 1]] for signal in range(network.signal_count)]


def values(network: Network) -> NDArray[np.float64]:
    """Effective strength of each signal now, in [0, 1], as a field that holds its stances has it; shape (signals,)."""
    signals = network.state.signals
    age = network.tick - signals["born"]
    is_live = (age >= 0) & (age < signals["life"])
    intensity = np.zeros(len(signals))
    intensity[is_live] = network.state.intensities[signals["decay"][is_live] + age[is_live]]
    found = np.zeros(len(signals))
    for signal, ours in enumerate(_stances_by_signal(network)):
        if not is_live[signal]:
            continue
        own = int(network.lineages[int(signals["origin"][signal])])
        members: dict[int, list[int]] = {own: [1, 0]}
        for stance in ours:
            members.setdefault(int(network.lineages[stance["node"]]), [0, 0])[0 if stance["stance"] > 0 else 1] += 1
        shares = {lineage: for_it / (for_it + against) for lineage, (for_it, against) in members.items()}
        others = sorted((share for lineage, share in shares.items() if lineage != own and share), reverse=True)
        boost = 1.0 + min(0.1 * sum(others), 0.5)
        confidence = effective_confidence(float(signals["confidence"][signal]), others)
        agreement = sum(shares.values()) / len(shares)
        found[signal] = min(1.0, intensity[signal] * confidence * boost * agreement)
    return found


def digest(network: Network) -> str:
    """A SHA-256, in hexadecimal, of the tick and all that the network holds; equal exactly where networks are."""
    signals, state = network.state.signals, network.state
    hashed = hashlib.sha256(f"{network.tick} {network.node_count} {network.seed}".encode())
    hashed.update(np.ascontiguousarray(arrivals(network)).tobytes())
    for name in ("number", "born", "life", "next", "origin", "radius", "confidence", "copies", "lost", "sensed"):
        hashed.update(np.ascontiguousarray(signals[name]).tobytes())
    at, of = stretches(signals["pending_at"], signals["pending"])
    pending = state.pending[at]
    senders = state.arrivals["node"][signals["arrivals_at"][of] + pending["holder"]]
    order = np.lexsort((pending["rank"], senders, pending["age"], of))
    for column in (of, pending["age"], senders, pending["rank"]):
        hashed.update(np.ascontiguousarray(column[order]).tobytes())
    hashed.update(state.sides.tobytes())
    if state.conducts.any():
        hashed.update(state.conducts.tobytes())
    return hashed.hexdigest()
