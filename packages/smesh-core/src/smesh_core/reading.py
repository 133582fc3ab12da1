"""Reading: what the live elements of a store come to, for one statement or for all, at one moment.

Emissions fade (`decay`), the newest word of each node is its position, positions become votes (`weights`), and votes
reinforce the strongest emission (`reinforcement`).

Where everybody counts fully and for itself, the observer of one process, votes need only be counted; such a value is
read without making them. What that gives is what the votes would give, to the last bit.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec
import numpy as np

from smesh_core import limits
from smesh_core.columns import NO_ROW
from smesh_core.consensus import Verdict
from smesh_core.decay import intensities, intensity_at
from smesh_core.errors import InvalidSignalError
from smesh_core.refs import Ref, as_ref
from smesh_core.reinforcement import EQUALS_MAX, reinforced_by_equals, reinforced_by_many, reinforced_value
from smesh_core.rows import KINDS
from smesh_core.signal import Signal, SignalType, StanceKind
from smesh_core.weights import Tally, tally

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from smesh_core.store import Store
    from smesh_core.weights import Observer

__all__ = ["Position", "Reader", "Reading", "Said", "Sensed"]

_by_author = attrgetter("author")
_new_said = tuple.__new__
_SUPPORT, _OPPOSE = int(StanceKind.SUPPORT), int(StanceKind.OPPOSE)


class Sensed(msgspec.Struct, frozen=True, gc=False):
    """A statement as it was felt at one moment.

    Attributes:
        ref: names it in its field.
        value: effective strength, in [0, 1].
        signal: its strongest live emission.
    """

    ref: Ref
    value: float
    signal: Signal


class Position(msgspec.Struct, frozen=True, gc=False):
    """Where one node stands on a statement.

    Attributes:
        author: node id.
        kind: support, oppose or withdraw.
        seq: sequence number of the element that says so.
        confidence: how sure the node is, in [0, 1].
        reason: what it gave as a reason; empty for an emission.
    """

    author: bytes
    kind: StanceKind
    seq: int
    confidence: float
    reason: str


class Reading(msgspec.Struct, frozen=True):
    """All that an observer reads about one statement at one moment.

    Attributes:
        statement: its id, 32 bytes.
        value: effective strength, in [0, 1]; 0 where nothing of it is live.
        starts_at_ns: when the earliest of its live emissions was made; 0 where nothing of it is live.
        expires_at_ns: when the latest of its live emissions ends; 0 where nothing of it is live.
        verdict: consensus about it, with every vote.
        emissions: who says it, strongest first.
        positions: where each node stands, withdrawals included, by node id.
    """

    statement: bytes
    value: float
    starts_at_ns: int
    expires_at_ns: int
    verdict: Verdict
    emissions: list[Signal]
    positions: list[Position]


class Said(NamedTuple):
    """A live emission: its present intensity, its strength (that times its confidence), and what its row says."""

    intensity: float
    strength: float
    row: int
    author: int
    seq: int
    confidence: float


_Word: TypeAlias = tuple[int, int, float, int, bool]
"""A node's newest live element about a statement: number, kind, confidence, row, and whether it is a stance."""


class Reader:
    """Reads one store.

    Args:
        store: what it reads.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    # ---- one statement

    def live_emissions(self, slot: int, now_ns: int) -> list[Said]:
        """A statement's live emissions, strongest first, then by id."""
        if not 0 <= now_ns <= limits.SEQ_MAX:
            check_time(now_ns)
        rows = self._store.rows
        read, memory, stride = rows.record.unpack_from, rows.memory, rows.stride
        said = []
        for row in self._store.emission_rows(slot):
            _, seq, created_at_ns, ttl_ns, intensity, confidence, rate_per_s, author, _, _, _, _, curve = read(
                memory, row * stride
            )
            left = intensity_at(curve, intensity, rate_per_s, ttl_ns, now_ns - created_at_ns)
            if left >= limits.INTENSITY_MIN:
                said.append(_new_said(Said, (left, left * confidence, row, author, seq, confidence)))
        if len(said) > 1:
            # Ids are worth hashing for a tie only.
            is_tied = len({emission.strength for emission in said}) < len(said)
            signal = self._store.signal
            said.sort(key=lambda emission: (-emission.strength, signal(emission.row).id if is_tied else b""))
        return said

    def value(self, slot: int, now_ns: int, observer: Observer) -> float:
        """Effective strength of a statement in [0, 1]; 0 where nothing of it is live."""
        said = self.live_emissions(slot, now_ns)
        if not said:
            return 0.0
        if len(said) == 1 and not self._store.rows.cells["stances"][slot]:
            return min(1.0, said[0].strength)
        return self._value(said[0], self._words(slot, said, now_ns), observer)

    def votes(self, slot: int, now_ns: int, observer: Observer) -> Tally:
        """The votes about a statement; none where nobody says it any more."""
        return self._votes(self._words(slot, self.live_emissions(slot, now_ns), now_ns), observer)

    def positions(self, slot: int, now_ns: int) -> list[Position]:
        """Where each node stands on a statement, withdrawals included, by node id."""
        return self._positions(self._words(slot, self.live_emissions(slot, now_ns), now_ns))

    def all_of(self, slot: int, now_ns: int, observer: Observer) -> tuple[float, Tally, list[Said], list[Position]]:
        """Value, votes, live emissions and positions of a statement, read together."""
        said = self.live_emissions(slot, now_ns)
        words = self._words(slot, said, now_ns)
        value = self._value(said[0], words, observer) if said else 0.0
        return value, self._votes(words, observer), said, self._positions(words)

    # ---- all statements

    def sense(
        self,
        now_ns: int,
        threshold: float,
        types: Iterable[SignalType] | None,
        observer: Observer,
        limit: int | None,
    ) -> list[Sensed]:
        """What is felt at or above a threshold, strongest first, then by statement id."""
        store = self._store
        slots, rows, values = self._read_all(now_ns, observer)
        is_felt = values >= threshold
        if types is not None:
            is_felt &= np.isin(store.rows["type"][rows], [int(kind) for kind in types])
        slots, rows, values = slots[is_felt], rows[is_felt], values[is_felt]
        if limit is not None and limit < len(values):
            weakest = -np.partition(-values, limit - 1)[limit - 1] if limit else np.inf
            is_felt = values >= weakest
            slots, rows, values = slots[is_felt], rows[is_felt], values[is_felt]
        order = self._by_value_then_id(values, slots)[:limit]
        felt = slots[order].tolist()
        refs = map(as_ref, zip(felt, map(store.rows.generations.__getitem__, felt), strict=True))
        signals = map(store.signal, rows[order].tolist())
        return list(map(Sensed, refs, values[order].tolist(), signals))

    def intensities(self, rows: NDArray[np.int64], now_ns: int) -> NDArray[np.float64]:
        """Present intensity of the emissions in these rows."""
        check_time(now_ns)
        column = self._store.rows
        return intensities(
            column["curve"][rows],
            column["intensity"][rows],
            column["rate_per_s"][rows],
            column["created_at_ns"][rows],
            column["ttl_ns"][rows],
            now_ns,
        )

    def _read_all(
        self, now_ns: int, observer: Observer
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Each live statement's slot, the row of its strongest emission, and its value.

        A statement that one node has said once, and on which others have taken at most one stance each, is read
        together with all such, where everybody counts fully; so is one on which nobody has taken a stance. The others
        go through their votes, one by one.
        """
        store = self._store
        rows = store.rows.rows()
        intensity = self.intensities(rows, now_ns)
        live = intensity >= limits.INTENSITY_MIN
        rows, intensity = rows[live], intensity[live]
        slots = store.rows["statement"][rows]
        is_plain = np.ones(len(slots), bool)
        crowded = np.array(store.crowded(), np.int64)
        if len(crowded):
            is_plain &= ~np.isin(slots, crowded)
        support = oppose = np.zeros(0, np.int64)
        if observer.roster is not None:
            is_plain &= store.rows["stances"][slots] == 0
        elif len(store.stances):
            support, oppose, is_mixed = self._count_stances(now_ns)
            is_plain &= ~is_mixed[slots]
        plain = rows[is_plain]
        values = intensity[is_plain] * store.rows["confidence"][plain]
        if len(support):
            confidence = store.rows["confidence"][plain]
            values = reinforced_by_many(intensity[is_plain], confidence, support[plain], oppose[plain])
        others, strongest, felt = np.unique(slots[~is_plain]), [], []
        for slot in others.tolist():
            said = self.live_emissions(slot, now_ns)
            strongest.append(said[0].row)
            felt.append(self._value(said[0], self._words(slot, said, now_ns), observer))
        return (
            np.concatenate([plain, others]),
            np.concatenate([plain, np.array(strongest, np.int64)]),
            np.concatenate([values, np.array(felt, np.float64)]),
        )

    def _count_stances(self, now_ns: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """How many nodes support and oppose each statement by live stances, by its slot, shape (slots,).

        Also, where that is not enough: a node has several stances there or one on what it says, or there is a crowd.
        """
        store, stances = self._store, self._store.stances
        size = store.rows.used
        rows = stances.rows()
        rows = rows[stances["expires_at_ns"][rows] > now_ns]
        slots, authors, kinds = stances["statement"][rows], stances["author"][rows], stances["kind"][rows]
        is_mixed = np.zeros(size, bool)
        is_mixed[slots[store.rows["author"][slots] == authors]] = True
        order = np.lexsort((authors, slots))
        same = (slots[order[1:]] == slots[order[:-1]]) & (authors[order[1:]] == authors[order[:-1]])
        is_mixed[slots[order[1:]][same]] = True
        support = np.bincount(slots[kinds == _SUPPORT], minlength=size)
        is_mixed |= support > EQUALS_MAX
        return support, np.bincount(slots[kinds == _OPPOSE], minlength=size), is_mixed

    def _by_value_then_id(self, values: NDArray[np.float64], slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """The order of highest value first, equal values by statement id; only their ids are hashed."""
        order = np.argsort(-values, kind="stable")
        ordered = values[order]
        same = ordered[1:] == ordered[:-1]
        is_tied = np.zeros(len(values), bool)
        is_tied[order[1:][same]] = True
        is_tied[order[:-1][same]] = True
        tied = np.flatnonzero(is_tied)
        if not len(tied):
            return order
        ids = self._store.index.ids_of(slots[tied].tolist())
        # Eight bytes of an id nearly always decide; who makes two alike only makes this slower.
        start = np.zeros(len(values), np.uint64)
        start[tied] = np.frombuffer(b"".join(ids), ">u8")[::4]
        order = np.lexsort((start, -values))
        same = (values[order[1:]] == values[order[:-1]]) & (start[order[1:]] == start[order[:-1]])
        if same.any():
            whole = dict(zip(tied.tolist(), ids, strict=True))
            exact = sorted(range(len(values)), key=lambda at: (-values[at], whole.get(at, b"")))
            order = np.array(exact, np.int64)
        return order

    # ---- how a value comes about

    def _words(self, slot: int, said: list[Said], now_ns: int) -> dict[int, _Word]:
        """Each node's newest live element about a statement, by (sequence number, id); by the author's slot.

        Nobody stands anywhere on a statement that nobody says any more.
        """
        words: dict[int, _Word] = {}
        if not said:
            return words
        for _, _, row, author, seq, confidence in said:
            if author not in words or self._is_newer(seq, row, False, words[author]):
                words[author] = (seq, _SUPPORT, confidence, row, False)
        stances, row = self._store.stances, self._store.rows.cells["first_stance"][slot]
        read, memory, stride = stances.record.unpack_from, stances.memory, stances.stride
        while row != NO_ROW:
            seq, _, expires_at_ns, confidence, kind, author, following, _, _ = read(memory, row * stride)
            if now_ns < expires_at_ns and (author not in words or self._is_newer(seq, row, True, words[author])):
                words[author] = (seq, kind, confidence, row, True)
            row = following
        return words

    def _is_newer(self, seq: int, row: int, is_stance: bool, other: _Word) -> bool:
        """Whether an element counts instead of another of its author, by (sequence number, id)."""
        if seq != other[0]:
            return seq > other[0]
        return self._id(row, is_stance) > self._id(other[3], other[4])

    def _id(self, row: int, is_stance: bool) -> bytes:
        return self._store.stance(row).id if is_stance else self._store.signal(row).id

    def _value(self, strongest: Said, words: dict[int, _Word], observer: Observer) -> float:
        author = strongest.author
        if observer.roster is None:
            support = oppose = 0
            for _, kind, _, _, _ in words.values():
                if kind == _SUPPORT:
                    support += 1
                elif kind == _OPPOSE:
                    oppose += 1
            others = support - (words[author][1] == _SUPPORT)
            return reinforced_by_equals(strongest.intensity, strongest.confidence, others, support, oppose)
        lineage = observer.lineage(self._store.authors.at(author).id)
        return reinforced_value(strongest.intensity, strongest.confidence, lineage, self._votes(words, observer))

    def _votes(self, words: dict[int, _Word], observer: Observer) -> Tally:
        node = self._store.authors.at
        return tally([(node(author).id, KINDS[word[1]]) for author, word in words.items()], observer)

    def _positions(self, words: dict[int, _Word]) -> list[Position]:
        node, reason = self._store.authors.at, self._store.stances.reason
        positions = [
            Position(node(author).id, KINDS[kind], seq, confidence, reason(row) if is_stance else "")
            for author, (seq, kind, confidence, row, is_stance) in words.items()
        ]
        positions.sort(key=_by_author)
        return positions


def check_time(now_ns: int) -> None:
    """Times past the columns' integers would wrap."""
    if not 0 <= now_ns <= limits.SEQ_MAX:
        raise InvalidSignalError(f"now_ns takes an int in [0, {limits.SEQ_MAX}], not {now_ns}")
