"""What a snapshot of a network holds, and the proof that every index in it is one before a kernel follows it.

Kernels do not look where they read. So what is loaded is checked whole: hyphae lead to nodes, arrivals are at nodes,
each at its own and after some other, copies are held by an arrival that may relay and take a hypha that its node has,
tables of intensities are as long as the lives that read them, and what follows from other columns (the next tick of a
signal, what it has settled) is what it must be.

Of the state's tables only what means something is held, in one order: a signal's arrivals by (age, node), its copies
by (age, holder, rank). Where an engine put them, and in what order, is its own affair; so the bytes are the same for
every engine. Columns of nodes and of signals are listed below by name; one more is one line more, and a new version
(`docs/reference/snapshots.md#a-column-more`).
"""

# A snapshot is of what is inside; network and state have no other use for ways to it.
# ruff: noqa: SLF001

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np

from smesh_core import limits
from smesh_core.consensus import Quorum
from smesh_core.errors import InvalidNetworkError, InvalidSignalError, InvalidTopologyError, SnapshotError
from smesh_core.network import Event, Network
from smesh_core.signal import DecayCurve
from smesh_core.snapshot_format import Column, Sections, decimal, number, shortened, spread, within
from smesh_core.state import MISSED, NEVER, NOWHERE, OPPOSES, SENSED, SUPPORTS, stretches
from smesh_core.topology import NODES_MAX, Topology

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smesh_core.engine import EngineName
    from smesh_core.state import State, Table

__all__ = ["NETWORK_COLUMNS", "network_of", "network_sections"]

_SEED_MAX: Final = 10**4000 - 1
_AGE_MAX: Final = 2**31 - 1
_COUNT_MAX: Final = 2**62
_LINEAGES_MAX: Final = 2**53
"""Lineages that a quorum may ask for, which stand in a column of floats beside its weight."""
_LABELS_DEPTH_MAX: Final = 8


class _Bounded(NamedTuple):
    """A column of the state that is held as it is: its name there, its dtype, and what its entries are within."""

    name: str
    dtype: str
    low: float
    high: float


_NODE_COLUMNS: Final = (
    _Bounded("thresholds", "<f8", 0.0, 1.0),
    _Bounded("capacities", "<i8", 0, NEVER),
    _Bounded("trusts", "<f8", limits.TRUST_MIN, limits.TRUST_IN_SELF),
    _Bounded("sides", "<i4", -NODES_MAX, NODES_MAX),
    _Bounded("conducts", "|i1", 0, 15),
)
"""Arrays of `State` of shape (nodes,), which numba reads as what `kernels.tick` declares."""
_SIGNAL_COLUMNS: Final = (
    _Bounded("born", "<i8", 0, NEVER),
    _Bounded("life", "<i8", 0, 2**24),
    _Bounded("decay", "<i8", 0, _COUNT_MAX),
    _Bounded("next", "<i8", 0, NEVER),
    _Bounded("confidence", "<f8", 0.0, 1.0),
    _Bounded("for_share", "<f8", 0.0, 1.0),
    _Bounded("against_share", "<f8", 0.0, 1.0),
    _Bounded("origin", "<i4", 0, NODES_MAX),
    _Bounded("radius", "<i4", 0, limits.RADIUS_HOPS_MAX),
    _Bounded("arrivals", "<i8", 1, NODES_MAX),
    _Bounded("settled", "<i8", 0, NODES_MAX),
    _Bounded("pending", "<i8", 0, _COUNT_MAX),
    _Bounded("copies", "<i8", 0, _COUNT_MAX),
    _Bounded("lost", "<i8", 0, _COUNT_MAX),
    _Bounded("sensed", "<i8", 0, NODES_MAX),
    _Bounded("supporters", "<i8", 0, NODES_MAX),
    _Bounded("opposers", "<i8", 0, NODES_MAX),
    _Bounded("reached_tick", "<i8", 0, NEVER),
    _Bounded("rejected_tick", "<i8", 0, NEVER),
)
"""Fields of `state.SIGNAL`. Not held: its number, which is its place, and where its stretches of the tables are."""
_ARRIVAL_COLUMNS: Final = (
    _Bounded("attenuation", "<f8", 0.0, 1.0),
    _Bounded("node", "<i4", 0, NODES_MAX),
    _Bounded("via", "<i4", NOWHERE, NODES_MAX),
    _Bounded("age", "<i4", 0, _AGE_MAX),
    _Bounded("acted", "<i4", 0, _AGE_MAX),
    _Bounded("relayed", "<i4", 0, _AGE_MAX),
    _Bounded("hop", "<u2", 0, limits.RADIUS_HOPS_MAX),
    _Bounded("marks", "<u2", 0, SENSED | SUPPORTS | OPPOSES | MISSED),
)
"""Fields of `state.ARRIVAL`."""
_PENDING_COLUMNS: Final = (
    _Bounded("age", "<i4", 0, _AGE_MAX),
    _Bounded("holder", "<i4", 0, NODES_MAX),
    _Bounded("rank", "<i4", 0, NODES_MAX),
)
"""Fields of `state.PENDING`. Not held: `next`, which is an engine's own."""


def _columns(prefix: str, bounded: tuple[_Bounded, ...]) -> tuple[Column, ...]:
    return tuple(Column(f"{prefix}{column.name}", column.dtype) for column in bounded)


NETWORK_COLUMNS: Final = (
    Column("seed", "|u1"),  # a decimal number, as are the next two
    Column("tick", "|u1"),
    Column("tick_ns", "|u1"),
    Column("quorum", "<f8"),  # weight, lineages
    Column("is_attention_bounded", "|u1"),
    Column("offsets", "<i8"),
    Column("targets", "<i4"),
    Column("strengths", "<f8"),  # none where all are 1, as with latencies
    Column("latencies", "<i4"),
    Column("kind", "|u1"),
    Column("labels", "|u1"),  # MessagePack; none where nodes have no labels
    *_columns("", _NODE_COLUMNS),
    Column("lineages", "<i8"),  # none where each node has its own
    Column("pair_origins", "<i4"),  # pairs with a trust of their own, by (origin, observer)
    Column("pair_observers", "<i4"),
    Column("pair_trusts", "<f8"),
    Column("intensities", "<f8"),  # by age, one table after the other
    Column("decay_curves", "|u1"),  # what each table is of, and how long it is
    Column("decay_intensities", "<f8"),
    Column("decay_rates_per_s", "<f8"),
    Column("decay_ttls_ns", "<i8"),
    Column("decay_lives", "<i8"),
    *_columns("signal_", _SIGNAL_COLUMNS),
    *_columns("arrival_", _ARRIVAL_COLUMNS),
    *_columns("pending_", _PENDING_COLUMNS),
    Column("event_ticks", "<i8"),  # what is scheduled, by tick, and there in the order in which it was
    Column("event_kinds", "|u1"),
    Column("event_arguments", "|u1"),
    Column("event_sizes", "<i8"),
    Column("event_values", "<i8"),
)
"""Sections of a network's snapshot, in their order."""

_EVENT_KINDS: Final = ("switch", "part", "behave")
"""What stands for them is their place here."""
_EVENT_ARGUMENTS: Final = (1, 0, 15)
"""The highest argument of each."""

_DTYPES: Final = {column.name: column.dtype for column in NETWORK_COLUMNS}
_EMPTY: Final = np.zeros(0)


# ---- writing


def network_sections(network: Network) -> Sections:
    """All that a network holds, as sections.

    Raises:
        SnapshotError: labels or a seed have no form here.
    """
    if network.quorum.lineages > _LINEAGES_MAX:
        raise SnapshotError(f"a snapshot holds a quorum of at most {_LINEAGES_MAX} lineages")
    state, topology = network.state, network.topology
    decays = np.array([(*asked, life) for asked, (_, life) in network._decays.items()], np.float64).reshape(-1, 5)
    pairs = sorted(network._trusts.items())
    found: Sections = {
        "seed": decimal(network.seed),
        "tick": decimal(network.tick),
        "tick_ns": decimal(network.tick_ns),
        "quorum": np.array([network.quorum.weight, network.quorum.lineages], np.float64),
        "is_attention_bounded": np.array([network._is_attention_bounded]),
        "offsets": topology.offsets,
        "targets": topology.targets,
        "strengths": _EMPTY if topology.strengths is None else topology.strengths,
        "latencies": _EMPTY if topology.latencies is None else topology.latencies,
        "kind": np.frombuffer(_packed_kind(topology.kind), np.uint8),
        "labels": np.frombuffer(_packed_labels(topology.labels), np.uint8),
        **{column.name: shortened(getattr(state, column.name), column.dtype) for column in _NODE_COLUMNS},
        "lineages": _EMPTY if state.world["is_lineage_own"][0] else network.lineages,
        "pair_origins": np.array([origin for (origin, _), _ in pairs], np.int64),
        "pair_observers": np.array([observer for (_, observer), _ in pairs], np.int64),
        "pair_trusts": np.array([trust for _, trust in pairs], np.float64),
        "intensities": state.intensities,
        "decay_curves": decays[:, 0],
        "decay_intensities": decays[:, 1],
        "decay_rates_per_s": decays[:, 2],
        "decay_ttls_ns": decays[:, 3],
        "decay_lives": decays[:, 4],
        **_signal_sections(state),
        **_event_sections(network),
    }
    # Lives in nanoseconds do fit a float's 53 bits: 30 days are less than 2^52.
    return {name: np.ascontiguousarray(found[name]).astype(np.dtype(dtype)) for name, dtype in _DTYPES.items()}


def _signal_sections(state: State) -> Sections:
    """Signals, and what each holds in the other tables, in an order that does not depend on the engine."""
    signals = state.signals
    at, of = stretches(signals["arrivals_at"], signals["arrivals"])
    arrivals = state.arrivals[at]
    order = np.lexsort((arrivals["node"], arrivals["age"], of))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    begins = np.cumsum(signals["arrivals"]) - signals["arrivals"]
    on_way, whose = stretches(signals["pending_at"], signals["pending"])
    pending = state.pending[on_way]
    holders = place[begins[whose] + pending["holder"]] - begins[whose]
    columns = {"age": pending["age"], "holder": holders, "rank": pending["rank"]}
    by_age = np.lexsort((pending["rank"], holders, pending["age"], whose))
    found = {f"signal_{c.name}": shortened(signals[c.name], c.dtype) for c in _SIGNAL_COLUMNS}
    found |= {f"arrival_{c.name}": arrivals[c.name][order] for c in _ARRIVAL_COLUMNS}
    found |= {f"pending_{c.name}": columns[c.name][by_age] for c in _PENDING_COLUMNS}
    # Several columns tell of how many signals; one of them must not be shortened.
    return {**found, "signal_origin": signals["origin"]}


def _event_sections(network: Network) -> Sections:
    """What is scheduled."""
    events = [(tick, event) for tick in sorted(network._events) for event in network._events[tick]]
    return {
        "event_ticks": np.array([tick for tick, _ in events], np.int64),
        "event_kinds": np.array([_EVENT_KINDS.index(event.kind) for _, event in events], np.uint8),
        "event_arguments": np.array([event.argument for _, event in events], np.uint8),
        "event_sizes": np.array([len(event.values) for _, event in events], np.int64),
        "event_values": np.concatenate([_EMPTY.astype(np.int64), *(event.values for _, event in events)]),
    }


def _packed_kind(kind: object) -> bytes:
    try:
        return kind.encode() if isinstance(kind, str) else b"custom"
    except UnicodeEncodeError:
        raise SnapshotError("the topology's kind is not text that UTF-8 can hold") from None


def _packed_labels(labels: tuple[object, ...] | None) -> bytes:
    if labels is None:
        return b""
    if not all(_is_label(label, _LABELS_DEPTH_MAX) for label in labels):
        raise SnapshotError("a snapshot holds labels that are text, bytes, whole numbers, or tuples of these")
    try:
        return msgspec.msgpack.encode(labels)
    except (msgspec.MsgspecError, ValueError, OverflowError, TypeError):
        raise SnapshotError("a label is a number of more than 64 bits, or text that UTF-8 cannot hold") from None


def _is_label(label: object, depth: int) -> bool:
    if type(label) is tuple:
        return depth > 0 and all(_is_label(part, depth - 1) for part in label)
    return type(label) in {str, bytes, int}


# ---- reading


def network_of(sections: Sections, engine: EngineName | None) -> Network:
    """The network that these sections are of.

    Raises:
        SnapshotError: they are of none.
        EngineError: the engine that was asked for cannot be loaded.
    """
    try:
        network = _set_up(sections, _topology_of(sections), engine)
        _load_trusts(network, sections)
    except (InvalidTopologyError, InvalidNetworkError, InvalidSignalError) as error:
        raise SnapshotError(f"not a network: {' '.join(str(error).split())}") from None
    network.tick = number(sections, "tick", 0, limits.TICK_MAX)
    _load_decays(network, sections)
    _load_signals(network, sections)
    _load_events(network, sections)
    network.state.note_troubles()
    return network


def _topology_of(sections: Sections) -> Topology:
    try:
        kind = sections["kind"].tobytes().decode()
    except UnicodeDecodeError:
        raise SnapshotError("the topology's kind is not UTF-8") from None
    strengths, latencies = sections["strengths"], sections["latencies"]
    return Topology(
        sections["offsets"],
        sections["targets"],
        strengths if len(strengths) else None,
        latencies if len(latencies) else None,
        kind,
        _labels_of(sections["labels"].tobytes()),
    )


def _labels_of(packed: bytes) -> tuple[Any, ...] | None:
    if not packed:
        return None
    try:
        labels = tuple(map(_as_tuple, msgspec.msgpack.decode(packed, type=tuple)))
        if all(_is_label(label, _LABELS_DEPTH_MAX) for label in labels):
            return labels
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    raise SnapshotError("the labels are not text, bytes, whole numbers, or tuples of these")


def _as_tuple(label: Any) -> Any:
    return tuple(map(_as_tuple, label)) if type(label) is list else label


def _set_up(sections: Sections, topology: Topology, engine: EngineName | None) -> Network:
    count = topology.node_count
    nodes = {column.name: _bounded(sections, "", column, count) for column in _NODE_COLUMNS}
    weight, lineages = _quorum(sections["quorum"])
    is_bounded = sections["is_attention_bounded"]
    if len(is_bounded) != 1:
        raise SnapshotError("is_attention_bounded is one entry")
    if not is_bounded[0] and (nodes["capacities"] != NEVER).any():
        raise SnapshotError("attention has bounds and has none")
    network = Network(
        topology,
        seed=number(sections, "seed", -_SEED_MAX, _SEED_MAX),
        tick_ns=number(sections, "tick_ns", 1, limits.TTL_MAX_NS),
        capacity=nodes["capacities"] if is_bounded[0] else None,
        lineages=sections["lineages"] if len(sections["lineages"]) else None,
        quorum=Quorum(weight=weight, lineages=lineages),
        engine=engine,
    )
    for name, values in nodes.items():
        getattr(network.state, name)[:] = values
    return network


def _quorum(said: NDArray[np.float64]) -> tuple[float, int]:
    if len(said) != 2 or not np.isfinite(said).all() or said[1] != np.floor(said[1]) or abs(said[1]) > _LINEAGES_MAX:
        raise SnapshotError("a quorum is a weight and a whole number of lineages")
    return float(said[0]), int(said[1])


def _load_trusts(network: Network, sections: Sections) -> None:
    origins, observers, trusts = (sections[f"pair_{name}"] for name in ("origins", "observers", "trusts"))
    keys = origins.astype(np.int64) << 32 | observers
    if not len(origins) == len(observers) == len(trusts) or (keys[1:] <= keys[:-1]).any():
        raise SnapshotError("pairs of nodes do not ascend, or not each has a trust")
    if len(trusts):
        network.set_trusts(observers, origins, trusts)


def _load_decays(network: Network, sections: Sections) -> None:
    """Tables of intensities by age, each as long as a signal lives, and what each is of."""
    names = ("decay_curves", "decay_intensities", "decay_rates_per_s", "decay_ttls_ns", "decay_lives")
    columns = [sections[name] for name in names]
    highest = (len(DecayCurve) - 1, 1.0, limits.RATE_MAX_PER_S, limits.TTL_MAX_NS, 2**24)
    if len({len(column) for column in columns}) > 1:
        raise SnapshotError("tables of intensities are not each of one kind")
    for name, column, high in zip(names, columns, highest, strict=True):
        within(name, column, int(name == "decay_ttls_ns"), high)
    ends = np.cumsum(columns[-1]).tolist()
    table = within("intensities", sections["intensities"], limits.INTENSITY_MIN, 1.0)
    if (ends[-1] if ends else 0) != len(table):
        raise SnapshotError("the tables of intensities are longer or shorter than the lives they are for")
    begins = [0, *ends][: len(ends)]
    keys = zip(*(column.tolist() for column in columns[:-1]), strict=True)
    network._decays.update(zip(keys, zip(begins, columns[-1].tolist(), strict=True), strict=True))
    if len(network._decays) != len(ends):
        raise SnapshotError("two tables of intensities are of one kind")
    network.state.intensities = table.astype(np.float64)


def _bounded(sections: Sections, prefix: str, column: _Bounded, count: int) -> NDArray[Any]:
    name = f"{prefix}{column.name}"
    return within(name, spread(sections, name, count), column.low, column.high)


def _load_signals(network: Network, sections: Sections) -> None:
    """Signals, arrivals and copies, once it is clear that every one of their indices is there."""
    state, count = network.state, len(sections["signal_origin"])
    signals = {c.name: _bounded(sections, "signal_", c, count) for c in _SIGNAL_COLUMNS}
    _check_signals(network, signals)
    held, on_way = signals["arrivals"], signals["pending"]
    lengths = {"arrival_node": held, "pending_holder": on_way}
    for name, counts in lengths.items():
        # Before anything is made of that size: each count on its own, then their sum.
        if counts.max(initial=0) > len(sections[name]) or int(counts.sum()) != len(sections[name]):
            raise SnapshotError("signals hold more or less than there are arrivals and copies")
    arrivals = {c.name: _bounded(sections, "arrival_", c, int(held.sum())) for c in _ARRIVAL_COLUMNS}
    pending = {c.name: _bounded(sections, "pending_", c, int(on_way.sum())) for c in _PENDING_COLUMNS}
    begins = np.cumsum(held) - held
    of, whose = np.repeat(np.arange(count), held), np.repeat(np.arange(count), on_way)
    _check_arrivals(network, signals, arrivals, begins, of)
    _check_pending(network, signals, arrivals, pending, begins, whose)
    _check_next(network, signals, pending, whose)
    if not count:
        return
    added = state.add_signals(count)
    state.used.update(arrivals=0, pending=0)
    for name, values in signals.items():
        added[name] = values
    added["number"] = np.arange(count)
    for table, columns, counts in (("arrivals", arrivals, held), ("pending", pending, on_way)):
        added[f"{table}_at"] = state.claim(table, counts)
        added[f"{table}_room"] = counts
        records: Table = getattr(state, table)
        for name, values in columns.items():
            records[name][: len(values)] = values
    state.touch()


def _load_events(network: Network, sections: Sections) -> None:
    """What is scheduled, once it is clear that each event is of nodes that there are."""
    ticks, kinds, arguments, sizes = (sections[f"event_{name}"] for name in ("ticks", "kinds", "arguments", "sizes"))
    values, count = sections["event_values"], network.node_count
    if not len(ticks) == len(kinds) == len(arguments) == len(sizes):
        raise SnapshotError("events do not each have a tick, a kind, an argument and a size")
    within("event_ticks", ticks, network.tick, NEVER)
    within("event_kinds", kinds, 0, len(_EVENT_KINDS) - 1)
    within("event_sizes", sizes, 0, len(values))
    within("event_values", values, 0, count - 1)
    _check(ticks[1:] >= ticks[:-1], arguments <= np.array(_EVENT_ARGUMENTS)[kinds], what="events out of order")
    _check(sizes[kinds == _EVENT_KINDS.index("part")] == count, what="a partition of other nodes than there are")
    ends = np.cumsum(sizes)
    _check((ends[-1] if len(ends) else 0) == len(values), what="events of more or fewer nodes than they say")
    for tick, kind, argument, size, end in zip(
        ticks.tolist(), kinds.tolist(), arguments.tolist(), sizes.tolist(), ends.tolist(), strict=True
    ):
        event = Event(_EVENT_KINDS[kind], values[end - size : end].astype(np.int64), argument)
        network._events.setdefault(tick, []).append(event)


def _check(*conditions: Any, what: str) -> None:
    if not all(np.all(condition) for condition in conditions):
        raise SnapshotError(f"not a network: {what}")


def _check_signals(network: Network, signals: Sections) -> None:
    count = network.node_count
    _check(signals["origin"] < count, signals["arrivals"] <= count, what="more nodes reached than there are")
    for name in ("sensed", "supporters", "opposers"):
        _check(signals[name] < count, what=f"more {name} than nodes")
    _check(signals["for_share"] + signals["against_share"] <= 1.0, what="shares of evidence over 1")
    known = {(begin, life) for begin, life in network._decays.values()}
    used = set(zip(signals["decay"].tolist(), signals["life"].tolist(), strict=True))
    _check(used <= known, what="a signal without a table of intensities")
    for name in ("reached_tick", "rejected_tick"):
        ticks = signals[name]
        is_read = (ticks >= signals["born"]) & (ticks < np.minimum(network.tick, signals["born"] + signals["life"]))
        _check((ticks == NEVER) | is_read, what=f"a {name} before its signal or still to come")


def _check_arrivals(
    network: Network, signals: Sections, arrivals: Sections, begins: NDArray[np.int64], of: NDArray[np.int64]
) -> None:
    """The first is at the origin; each other at one node more, later, and not further than the radius."""
    count, node, via, age = network.node_count, arrivals["node"], arrivals["via"], arrivals["age"].astype(np.int64)
    is_first = np.zeros(len(of), bool)
    is_first[begins] = True
    _check(node < count, via < count, what="an arrival at no node")
    for name, value in (("via", NOWHERE), ("age", 0), ("hop", 0), ("attenuation", 1.0), ("marks", 0)):
        _check(arrivals[name][is_first] == value, what=f"an origin with another {name}")
    _check(node[is_first] == signals["origin"], what="the first arrival is not at the origin")
    born, life, others = signals["born"][of], signals["life"][of], ~is_first
    _check((via != node)[others], (via >= 0)[others], (arrivals["hop"] > 0)[others], what="an arrival from nowhere")
    _check((arrivals["hop"] <= signals["radius"][of])[others], what="an arrival beyond its signal's radius")
    _check((age > 0)[others], (age < life)[others], (born + age < network.tick)[others], what="an arrival out of time")
    in_order = (of[1:] > of[:-1]) | (age[1:] > age[:-1]) | ((age[1:] == age[:-1]) & (node[1:] > node[:-1]))
    _check(in_order, what="arrivals do not ascend")
    keys = np.sort(of << 32 | node)
    _check(keys[1:] != keys[:-1], what="a signal that arrives twice at a node")
    marks, acted = arrivals["marks"], arrivals["acted"].astype(np.int64)
    sides = ((marks & SUPPORTS) > 0).astype(int) + ((marks & OPPOSES) > 0) + ((marks & MISSED) > 0)
    is_sensed = (marks & SENSED) > 0
    _check(sides <= 1, is_sensed | ((marks & (SUPPORTS | OPPOSES)) == 0), what="marks that exclude each other")
    _check(~is_sensed | ((marks & MISSED) == 0), what="marks that exclude each other")
    acts_in_time = (acted >= age) & (acted < life) & (born + acted < network.tick)
    _check(np.where(is_sensed, acts_in_time, acted == 0), what="a node that sensed a signal out of time")


def _check_pending(
    network: Network,
    signals: Sections,
    arrivals: Sections,
    pending: Sections,
    begins: NDArray[np.int64],
    whose: NDArray[np.int64],
) -> None:
    """Each is held by an arrival that may relay, takes a hypha of its node, one copy each, and comes in time."""
    holder, rank, age = (pending[name].astype(np.int64) for name in ("holder", "rank", "age"))
    _check(holder < signals["settled"][whose], what="a copy that no arrival holds")
    at = begins[whose] + holder
    topology, node = network.topology, arrivals["node"][at]
    _check(rank < topology.degrees[node], what="a copy on a hypha that its node does not have")
    _check(topology.targets[topology.offsets[node] + rank] != arrivals["via"][at], what="a copy on its way back")
    _check(arrivals["hop"][at] < signals["radius"][whose], what="a copy beyond its signal's radius")
    _check(age > arrivals["age"][at], age < signals["life"][whose], what="a copy out of time")
    _check(signals["born"][whose] + age >= network.tick, what="a copy that should have arrived")
    follows = (age[1:] > age[:-1]) | ((age[1:] == age[:-1]) & (at[1:] > at[:-1]))
    follows |= (age[1:] == age[:-1]) & (at[1:] == at[:-1]) & (rank[1:] > rank[:-1])
    _check((whose[1:] > whose[:-1]) | follows, what="copies do not ascend")
    # Two copies never are on one hypha, or a thread's table of copies would be too short for them.
    order = np.lexsort((rank, at))
    _check((at[order[1:]] != at[order[:-1]]) | (rank[order[1:]] != rank[order[:-1]]), what="two copies on a hypha")


def _check_next(network: Network, signals: Sections, pending: Sections, whose: NDArray[np.int64]) -> None:
    """What has been settled, and when something happens next, follow from the rest."""
    is_begun = (signals["born"] < network.tick) & (signals["life"] > 0)
    settled = np.where(is_begun, signals["arrivals"], 0)
    _check(signals["settled"] == settled, what="arrivals whose hyphae were not asked, or were too early")
    due = np.full(len(settled), NEVER)
    np.minimum.at(due, whose, signals["born"][whose] + pending["age"])
    following = np.where(is_begun | (signals["life"] == 0), due, signals["born"])
    _check(signals["next"] == following, what="a signal of which something happens sooner or later than it says")
    _check(is_begun | (signals["arrivals"] == 1), what="a signal that spread before it was emitted")
