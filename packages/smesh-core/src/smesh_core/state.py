"""The state of a network as flat arrays, the one form that every engine reads and writes.

Three tables of records:

* **signals**, in the order in which they were emitted;
* **arrivals**: where a signal is, how far it came and what became of it there. A signal owns one stretch of this
  table, filled in the order of arrival; the first is its origin;
* **pending**: copies that will arrive. A signal owns one stretch of this one too, in no order.

Both stay sparse: a signal that reaches ten of a million nodes has ten arrivals. A signal that outgrows its stretch gets
a longer one at the end of the table. The tables are longer than what is used of them; memory that was never written
to costs nothing.

Of each node there are columns: the weakest signal that it senses, how many it can attend to in one tick, what the
others think of it, its conduct, and its side of a partition, which is negative (`DOWN - side`) while the node is down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from smesh_core.conduct import Conduct

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smesh_core.topology import Topology

__all__ = [
    "ARRIVAL",
    "DOWN",
    "MISSED",
    "NEVER",
    "NOWHERE",
    "OPPOSES",
    "SENSED",
    "SUPPORTS",
    "State",
    "Table",
    "stretches",
]

Table: TypeAlias = "NDArray[Any]"

NEVER: Final = 2**62
"""A tick that does not come."""
DOWN: Final = -1
"""What the side of a node that is down is taken from."""
NOWHERE: Final = -1
"""No node: what an origin's signal came from."""

SENSED: Final = 1
"""Mark of an arrival: the node sensed the signal."""
SUPPORTS: Final = 2
"""Mark of an arrival: the node supports it, on evidence of its own."""
OPPOSES: Final = 4
"""Mark of an arrival: the node opposes it, on evidence of its own."""
MISSED: Final = 8
"""Mark of an arrival: the signal faded before the node could attend to it."""

SIGNAL: Final = np.dtype(
    [
        ("number", np.int64),  # its name, also to the random numbers
        ("born", np.int64),  # tick
        ("life", np.int64),  # ticks from birth until it is no longer live
        ("decay", np.int64),  # where its intensity at each age begins in the table of intensities
        ("next", np.int64),  # the earliest tick at which anything happens to it
        ("confidence", np.float64),
        ("for_share", np.float64),  # part of the nodes that hold evidence for it
        ("against_share", np.float64),  # part of the nodes that hold evidence against it
        ("origin", np.int32),
        ("radius", np.int32),  # hops
        ("arrivals_at", np.int64),
        ("arrivals", np.int64),
        ("arrivals_room", np.int64),
        ("settled", np.int64),  # of its arrivals, those that were sensed and whose hyphae are asked
        ("pending_at", np.int64),
        ("pending", np.int64),
        ("pending_room", np.int64),
        ("copies", np.int64),  # got across
        ("lost", np.int64),  # sent, and did not
        ("sensed", np.int64),
        ("supporters", np.int64),  # nodes that took a stance for it, its origin not among them
        ("opposers", np.int64),
        ("reached_tick", np.int64),  # when its consensus was first read as reached, or NEVER
        ("rejected_tick", np.int64),
    ],
    align=True,
)
ARRIVAL: Final = np.dtype(
    [
        ("attenuation", np.float64),
        ("node", np.int32),
        ("via", np.int32),  # the node it came from
        ("age", np.int32),  # of the signal, in ticks
        ("acted", np.int32),  # the signal's age when the node sensed it
        ("relayed", np.int32),  # copies that this node sent on
        ("hop", np.uint16),
        ("marks", np.uint16),
    ],
    align=True,
)
PENDING: Final = np.dtype(
    [
        ("age", np.int32),  # of the signal, in ticks, when it arrives
        ("holder", np.int32),  # which of the signal's arrivals sends it
        ("rank", np.int32),  # which of the sender's hyphae it takes
        ("next", np.int32),  # the record after it in its bucket; an engine's own
    ],
    align=True,
)
PROGRESS: Final = np.dtype(
    [
        (name, np.int64)
        for name in (
            "arrivals",
            "settled",
            "on_way",
            "copies",
            "lost",
            "sensed",
            "supporters",
            "opposers",
            "reached_tick",
            "rejected_tick",
        )
    ]
)
"""What becomes of a signal while an engine works on it, before it is put back."""
WORLD: Final = np.dtype(
    [
        ("seed", np.uint64),
        ("quorum", np.float64),
        ("lineages", np.int64),
        ("is_trust_paired", np.int64),  # whether any pair of nodes has a trust of its own
        ("is_strength_uniform", np.int64),
        ("is_latency_uniform", np.int64),
        ("is_whole", np.int64),  # whether every node is up and on one side, and gives on what it relays
        ("is_honest", np.int64),  # whether every node plays by the rules
        ("is_attention_bounded", np.int64),  # sensing is then `sensing.attend`'s, after the copies have arrived
        ("is_lineage_own", np.int64),  # else consensus is `consensus`'s to read, not the engine's
    ],
    align=True,
)

_TABLE_FIRST: Final = 4096
_RESERVED_PER_SIGNAL: Final = 4096
_RESERVED_MAX: Final = 2**16
"""Records that are set aside when signals are added, so that a first run need not stop to make the tables longer."""


def stretches(first: NDArray[np.int64], held: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions in a table of all that signals hold there, and of each the row of its signal."""
    of = np.repeat(np.arange(len(held)), held)
    return np.repeat(first - (np.cumsum(held) - held), held) + np.arange(len(of)), of


class State:
    """Everything that an engine works on; arrays are replaced as they grow, and `version` rises then.

    Args:
        topology: who is joined to whom.
        seed: of all randomness.
        quorum: votes, and lineages, that consensus needs on one side.
    """

    def __init__(self, topology: Topology, *, seed: int, quorum: tuple[float, int]) -> None:
        self.topology = topology
        self.version = 0
        self.signal_count = 0
        self.thresholds = np.zeros(topology.node_count)
        self.capacities = np.zeros(topology.node_count, np.int64)
        self.trusts = np.zeros(topology.node_count)
        self.sides = np.zeros(topology.node_count, np.int32)
        self.conducts = np.zeros(topology.node_count, np.int8)
        self.world: Table = np.zeros(1, WORLD)
        self.world["seed"] = np.uint64(seed % 2**64)
        self.world["quorum"], self.world["lineages"] = quorum
        self.world["is_strength_uniform"] = topology.strengths is None
        self.world["is_latency_uniform"] = topology.latencies is None
        self.world["is_lineage_own"] = self.world["is_whole"] = self.world["is_honest"] = 1
        self.strengths = np.ones(1) if topology.strengths is None else topology.strengths
        self.latencies = np.ones(1, np.int32) if topology.latencies is None else topology.latencies
        self.intensities = np.zeros(0)
        self.pair_offsets = np.zeros(topology.node_count + 1, np.int64)
        self.pair_observers = np.zeros(0, np.int32)
        self.pair_trusts = np.zeros(0)
        self._signals: Table = np.zeros(16, SIGNAL)
        self.arrivals: Table = np.empty(_TABLE_FIRST, ARRIVAL)
        self.pending: Table = np.empty(_TABLE_FIRST, PENDING)
        self.used = {"arrivals": 0, "pending": 0}

    @property
    def signals(self) -> Table:
        """The signals' records, shape (signals,), in the order of emission."""
        return self._signals[: self.signal_count]

    def note_troubles(self) -> None:
        """Note whether every node is up and on one side, and whether all play by the rules; an engine looks there."""
        self.world["is_honest"] = not self.conducts.any()
        self.world["is_whole"] = not (self.sides.any() or (self.conducts & Conduct.DROPS).any())

    def touch(self) -> None:
        """Say that an array was replaced."""
        self.version += 1

    def add_signals(self, count: int) -> Table:
        """Append `count` records, each with room for its first arrival, and return them to be filled."""
        first = self.signal_count
        self.signal_count += count
        if self.signal_count > len(self._signals):
            longer = np.zeros(max(self.signal_count, 2 * len(self._signals)), SIGNAL)
            longer[:first] = self._signals[:first]
            self._signals = longer
        reach = min(self.topology.node_count, _RESERVED_PER_SIGNAL)
        self.reserve("arrivals", count + min(count * reach, _RESERVED_MAX))
        self.reserve("pending", min(count * reach, _RESERVED_MAX))
        added = self._signals[first : self.signal_count]
        added["arrivals_at"] = self.claim("arrivals", np.ones(count, np.int64))
        added["arrivals_room"] = 1
        self.touch()
        return added

    def reserve(self, table: str, records: int) -> None:
        """See to it that at least so many records of a table are still unused."""
        old: Table = getattr(self, table)
        used = self.used[table]
        if used + records > len(old):
            longer = np.empty(max(used + records, 2 * len(old)), old.dtype)
            longer[:used] = old[:used]
            setattr(self, table, longer)
            self.touch()

    def claim(self, table: str, rooms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where new stretches of these lengths begin, at the end of what is used of a table."""
        needed = int(rooms.sum())
        self.reserve(table, needed)
        begins = self.used[table] + np.cumsum(rooms) - rooms
        self.used[table] += needed
        return begins

    def make_room(self, rows: NDArray[np.int64], table: str, rooms: NDArray[np.int64]) -> None:
        """Move what signals hold in a table to longer stretches of these lengths."""
        signals = self._signals
        held, at = signals[table][rows], signals[f"{table}_at"][rows]
        begins = self.claim(table, rooms)
        records = getattr(self, table)
        within = np.arange(int(held.sum())) - np.repeat(np.cumsum(held) - held, held)
        records[np.repeat(begins, held) + within] = records[np.repeat(at, held) + within]
        signals[f"{table}_at"][rows] = begins
        signals[f"{table}_room"][rows] = rooms
