"""The field: what has been said, who stands where, and how strongly it is felt now.

A field is a set of live elements (emissions and stances) and nothing else. Taking an element in is a union: order and
repetition change nothing. Everything that is read (value, consensus, positions) is a function of the live elements,
an observer and a time.

How a value comes about: emissions fade (`decay`), positions become votes (`weights`), votes reinforce the strongest
emission (`reinforcement`) and give a verdict (`consensus`). What is held, and what is shed, is the `store`'s.

Nothing here does I/O or reads a clock: `now_ns` is an argument.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from smesh_core import limits
from smesh_core.columns import NO_ROW
from smesh_core.consensus import ConsensusPolicy, Quorum, Verdict
from smesh_core.decay import intensities, intensity_at
from smesh_core.errors import FieldFullError, GoneError, InvalidSignalError, WrongFieldError
from smesh_core.reinforcement import reinforced_value
from smesh_core.signal import DEFAULT_FIELD_ID, Signal, SignalType, Stance, StanceKind
from smesh_core.store import Store
from smesh_core.weights import EVERYONE, Observer, Tally, tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

__all__ = ["Field", "Position", "Reading", "Ref", "Sensed"]

_QUORUM = Quorum()


class Ref(NamedTuple):
    """Names a statement that a field holds; it stops working, for good, when the statement is gone."""

    slot: int
    generation: int


class Sensed(msgspec.Struct, frozen=True):
    """A statement as it was felt at one moment.

    Attributes:
        ref: names it in its field.
        value: effective strength, in [0, 1].
        signal: its strongest live emission.
    """

    ref: Ref
    value: float
    signal: Signal


class Position(msgspec.Struct, frozen=True):
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


class _Said(NamedTuple):
    """A live emission: its present intensity, its row, itself."""

    intensity: float
    row: int
    signal: Signal

    @property
    def strength(self) -> float:
        return self.intensity * self.signal.confidence


class Field:
    """Signals and stances of one field, held in memory.

    Args:
        field_id: 32 bytes; elements of other fields are refused.
        capacity: emissions it holds.
        author_share: part of the capacity, in (0, 1], that one author may fill.

    Raises:
        InvalidSignalError: a setting is out of bounds.
    """

    def __init__(
        self,
        field_id: bytes = DEFAULT_FIELD_ID,
        *,
        capacity: int = limits.FIELD_CAPACITY,
        author_share: float = limits.AUTHOR_SHARE,
    ) -> None:
        is_id = type(field_id) is bytes and len(field_id) == limits.ID_BYTES
        if not (is_id and type(capacity) is int and capacity >= 1 and 0.0 < author_share <= 1.0):
            raise InvalidSignalError(
                "a field takes an id of 32 bytes, a capacity of 1 or more and an author's share in (0, 1]"
            )
        self.field_id = field_id
        self._store = Store(capacity, max(1, int(capacity * author_share)))
        self._last_seq_here: dict[bytes, int] = {}

    @property
    def capacity(self) -> int:
        """Emissions it holds at most."""
        return self._store.capacity

    def __len__(self) -> int:
        """Emissions held, expired ones included until `expire` is called."""
        return len(self._store.emissions)

    # ---- taking elements in

    def emit(self, signal: Signal) -> Ref:
        """Take an emission in; one that is already here changes nothing.

        Returns:
            The statement it says; the same reference for every emission of one statement.

        Raises:
            WrongFieldError: it belongs to another field.
            FieldFullError: there is no room, and all that could be shed ends later than this.
        """
        if signal.field_id != self.field_id:
            raise WrongFieldError(f"an emission for field {signal.field_id.hex()[:8]} in {self.field_id.hex()[:8]}")
        slot = self._store.add_emission(signal)
        if signal.author in self._last_seq_here:
            self._last_seq_here[signal.author] = max(signal.seq, self._last_seq_here[signal.author])
        return self._ref(slot)

    def emit_batch(self, signals: Iterable[Signal]) -> list[Ref | None]:
        """Take many emissions in; all are checked before the first is stored.

        Returns:
            For each signal its reference, or None where the field was full.

        Raises:
            WrongFieldError: one of them belongs to another field.
        """
        batch = list(signals)
        for signal in batch:
            if signal.field_id != self.field_id:
                raise WrongFieldError(f"an emission for field {signal.field_id.hex()[:8]} in a batch")
        refs: list[Ref | None] = []
        for signal in batch:
            try:
                refs.append(self.emit(signal))
            except FieldFullError:
                refs.append(None)
        return refs

    def take(self, stance: Stance) -> None:
        """Take a stance in; one that is already here, or can no longer count, changes nothing.

        A stance whose statement is not known waits for it, unseen.

        Raises:
            WrongFieldError: it belongs to another field.
            FieldFullError: there is no room, and all that could be shed ends later than this.
        """
        if stance.field_id != self.field_id:
            raise WrongFieldError(f"a stance for field {stance.field_id.hex()[:8]} in {self.field_id.hex()[:8]}")
        self._store.add_stance(stance)

    def reinforce(
        self,
        ref: Ref,
        *,
        by: bytes,
        now_ns: int,
        confidence: float = 1.0,
        reason: str = "",
        seq: int | None = None,
    ) -> Stance:
        """Record that a node supports a statement on evidence of its own, and return the stance taken.

        Args:
            ref: the statement.
            by: the node's id.
            now_ns: when.
            confidence: how sure it is, in (0, 1].
            reason: why, for people.
            seq: its sequence number; None takes the next after all that this field has seen of it.

        Raises:
            GoneError: the statement is gone.
            InvalidSignalError: a value is out of bounds.
            FieldFullError: the statement has no room for one more stance that ends as early.
        """
        return self._take_own(ref, by, StanceKind.SUPPORT, now_ns, confidence, reason, seq)

    def inhibit(
        self,
        ref: Ref,
        *,
        by: bytes,
        now_ns: int,
        confidence: float = 1.0,
        reason: str = "",
        seq: int | None = None,
    ) -> Stance:
        """Record that a node opposes a statement on evidence of its own; otherwise like `reinforce`."""
        return self._take_own(ref, by, StanceKind.OPPOSE, now_ns, confidence, reason, seq)

    def withdraw(self, ref: Ref, *, by: bytes, now_ns: int, reason: str = "", seq: int | None = None) -> Stance:
        """Record that a node no longer stands for or against a statement; otherwise like `reinforce`."""
        return self._take_own(ref, by, StanceKind.WITHDRAW, now_ns, 1.0, reason, seq)

    def next_seq(self, author: bytes) -> int:
        """One more than any sequence number held of an author, or said by it here since this was first asked."""
        self._last_seq_here.setdefault(author, 0)
        return max(self._store.author_seq(author), self._last_seq_here.get(author, 0)) + 1

    def expire(self, now_ns: int) -> int:
        """Let go of everything that is no longer live, and return how many elements that was."""
        store = self._store
        held = len(store.emissions) + len(store.stances)
        rows = store.emissions.rows()
        ended = rows[self._intensities(rows, now_ns) < limits.INTENSITY_MIN]
        for row in ended.tolist():
            store.drop_emission(row)
        rows = store.stances.rows()
        over = rows[store.stances["expires_at_ns"][rows] <= now_ns]
        for row in over.tolist():
            if store.stances.cells["stance"][row] is not None:  # else it was shed with what ended just now
                store.drop_stance(row)
        return held - len(store.emissions) - len(store.stances)

    # ---- reading

    def find(self, statement: bytes) -> Ref | None:
        """The reference of a statement by its id (32 bytes), or None where nobody has said it."""
        slot = self._store.statement_slot(statement)
        return None if slot == NO_ROW or self._store.statements.cells["emissions"][slot] == 0 else self._ref(slot)

    def __contains__(self, ref: Ref) -> bool:
        return self._store.statements.holds(*ref) and bool(self._store.statements.cells["emissions"][ref.slot])

    def statement(self, ref: Ref) -> bytes:
        """The id (32 bytes) of a statement.

        Raises:
            GoneError: it is gone.
        """
        held: bytes = self._store.statements.cells["id"][self._slot(ref)]
        return held

    def emissions(self, ref: Ref, now_ns: int) -> list[Signal]:
        """The live emissions of a statement, strongest first.

        Raises:
            GoneError: it is gone.
        """
        return [said.signal for said in self._live_emissions(self._slot(ref), now_ns)]

    def stances(self, ref: Ref, now_ns: int) -> list[Stance]:
        """The live stances on a statement, by (author, sequence number, id).

        Raises:
            GoneError: it is gone.
        """
        live = (stance for stance in self._store.stances_on(self._slot(ref)) if now_ns < stance.expires_at_ns)
        return sorted(live, key=lambda stance: (stance.author, stance.seq, stance.id))

    def positions(self, ref: Ref, now_ns: int) -> list[Position]:
        """Where each node stands on a statement, withdrawals included, by node id.

        Raises:
            GoneError: it is gone.
        """
        slot = self._slot(ref)
        return self._positions(slot, self._live_emissions(slot, now_ns), now_ns)

    def value(self, ref: Ref, now_ns: int, observer: Observer = EVERYONE) -> float:
        """Effective strength of a statement in [0, 1]; 0 where nothing of it is live.

        Raises:
            GoneError: it is gone.
        """
        slot = self._slot(ref)
        said = self._live_emissions(slot, now_ns)
        return _value(said[0], observer, self._tally(slot, said, now_ns, observer)) if said else 0.0

    def verdict(
        self, ref: Ref, now_ns: int, observer: Observer = EVERYONE, policy: ConsensusPolicy = _QUORUM
    ) -> Verdict:
        """What consensus an observer reads about a statement now.

        Raises:
            GoneError: the statement is gone.
        """
        slot = self._slot(ref)
        return policy.read(self._tally(slot, self._live_emissions(slot, now_ns), now_ns, observer))

    def read(self, ref: Ref, now_ns: int, observer: Observer = EVERYONE, policy: ConsensusPolicy = _QUORUM) -> Reading:
        """Value, verdict, emissions and positions of a statement, read together.

        Raises:
            GoneError: it is gone.
        """
        slot = self._slot(ref)
        said = self._live_emissions(slot, now_ns)
        positions = self._positions(slot, said, now_ns)
        votes = tally(((position.author, position.kind) for position in positions), observer)
        return Reading(
            statement=self.statement(ref),
            value=_value(said[0], observer, votes) if said else 0.0,
            starts_at_ns=min((emission.signal.created_at_ns for emission in said), default=0),
            expires_at_ns=max((emission.signal.expires_at_ns for emission in said), default=0),
            verdict=policy.read(votes),
            emissions=[emission.signal for emission in said],
            positions=positions,
        )

    def sense(
        self,
        now_ns: int,
        *,
        threshold: float = limits.SENSE_THRESHOLD,
        types: Iterable[SignalType] | None = None,
        observer: Observer = EVERYONE,
        limit: int | None = None,
    ) -> list[Sensed]:
        """What is felt now at or above a threshold, strongest first, then by statement id.

        Raises:
            InvalidSignalError: the limit is negative, or the time out of bounds.
        """
        if limit is not None and limit < 0:
            raise InvalidSignalError(f"a limit takes 0 or more, not {limit}")
        cells = self._store.statements.cells
        wanted = None if types is None else {int(kind) for kind in types}
        felt = [
            (value, cells["id"][slot], slot, row)
            for slot, row, value in self._read_all(now_ns, observer)
            if value >= threshold and (wanted is None or cells["type"][slot] in wanted)
        ]
        felt.sort(key=lambda entry: (-entry[0], entry[1]))
        return [Sensed(self._ref(slot), value, self._store.signal(row)) for value, _, slot, row in felt[:limit]]

    def query(
        self,
        now_ns: int,
        *,
        types: Iterable[SignalType] | None = None,
        author: bytes | None = None,
        subject_prefix: bytes | None = None,
        observer: Observer = EVERYONE,
    ) -> list[Sensed]:
        """All live statements that match, however weak, strongest first, then by statement id.

        Args:
            now_ns: when.
            types: any of these; None for all.
            author: said by this node, in any of its live emissions.
            subject_prefix: correlatable, with a subject that starts so.
            observer: whose weights count.
        """
        found = self.sense(now_ns, threshold=0.0, types=types, observer=observer)
        return [
            sensed
            for sensed in found
            if (subject_prefix is None or _starts_so(sensed.signal.subject, subject_prefix))
            and (author is None or any(s.author == author for s in self.emissions(sensed.ref, now_ns)))
        ]

    # ---- how a value comes about

    def _read_all(self, now_ns: int, observer: Observer) -> Iterator[tuple[int, int, float]]:
        """Each live statement's slot, the row of its strongest emission, and its value.

        A statement that one node has said once and on which nobody has taken a stance is worth its intensity times
        its confidence; these are read together. The others go through their votes, one by one.
        """
        statements, emissions = self._store.statements, self._store.emissions
        rows = emissions.rows()
        intensity = self._intensities(rows, now_ns)
        live = intensity >= limits.INTENSITY_MIN
        rows, intensity = rows[live], intensity[live]
        slots = emissions["statement"][rows]
        single = (statements["emissions"][slots] == 1) & (statements["stances"][slots] == 0)
        alone = np.flatnonzero(single)
        values = np.minimum(1.0, intensity[alone] * emissions["confidence"][rows[alone]])
        yield from zip(slots[alone].tolist(), rows[alone].tolist(), values.tolist(), strict=True)
        for slot in np.unique(slots[~single]).tolist():
            said = self._live_emissions(slot, now_ns)
            yield slot, said[0].row, _value(said[0], observer, self._tally(slot, said, now_ns, observer))

    def _tally(self, slot: int, said: list[_Said], now_ns: int, observer: Observer) -> Tally:
        positions = self._positions(slot, said, now_ns)
        return tally(((position.author, position.kind) for position in positions), observer)

    def _positions(self, slot: int, said: list[_Said], now_ns: int) -> list[Position]:
        """Each node's newest live element about a statement, by (sequence number, id); by node id.

        Nobody stands anywhere on a statement that nobody says any more.
        """
        if not said:
            return []
        newest: dict[bytes, Signal | Stance] = {}
        elements: list[Signal | Stance] = [emission.signal for emission in said]
        elements += [stance for stance in self._store.stances_on(slot) if now_ns < stance.expires_at_ns]
        for element in elements:
            other = newest.get(element.author)
            if other is None or _is_newer(element, other):
                newest[element.author] = element
        return [_position(newest[author]) for author in sorted(newest)]

    def _live_emissions(self, slot: int, now_ns: int) -> list[_Said]:
        """A statement's live emissions, strongest first, then by id."""
        _check_time(now_ns)
        said = [
            _Said(intensity, row, self._store.signal(row))
            for row in self._store.emission_rows(slot)
            if (intensity := self._intensity(row, now_ns)) >= limits.INTENSITY_MIN
        ]
        if len(said) > 1:
            strengths = {emission.strength for emission in said}
            # Ids are worth hashing for a tie only.
            is_tied = len(strengths) < len(said)
            said.sort(key=lambda emission: (-emission.strength, emission.signal.id if is_tied else b""))
        return said

    def _intensity(self, row: int, now_ns: int) -> float:
        cells = self._store.emissions.cells
        return intensity_at(
            cells["curve"][row],
            cells["intensity"][row],
            cells["rate_per_s"][row],
            cells["ttl_ns"][row],
            now_ns - cells["created_at_ns"][row],
        )

    def _intensities(self, rows: NDArray[np.int64], now_ns: int) -> NDArray[np.float64]:
        _check_time(now_ns)
        column = self._store.emissions
        return intensities(
            column["curve"][rows],
            column["intensity"][rows],
            column["rate_per_s"][rows],
            column["created_at_ns"][rows],
            column["ttl_ns"][rows],
            now_ns,
        )

    # ---- references and stances taken here

    def _ref(self, slot: int) -> Ref:
        return Ref(slot, self._store.statements.generation(slot))

    def _slot(self, ref: Ref) -> int:
        if ref not in self:
            raise GoneError(f"the signal at {ref.slot} (generation {ref.generation}) is gone")
        return ref.slot

    def _take_own(
        self,
        ref: Ref,
        by: bytes,
        kind: StanceKind,
        now_ns: int,
        confidence: float,
        reason: str,
        seq: int | None,
    ) -> Stance:
        """Take a stance that ends with the latest element now known about its statement."""
        slot, cells = self._slot(ref), self._store.emissions.cells
        ends = [cells["created_at_ns"][row] + cells["ttl_ns"][row] for row in self._store.emission_rows(slot)]
        ends += [stance.expires_at_ns for stance in self._store.stances_of(slot, by)]
        stance = Stance(
            statement=self.statement(ref),
            author=by,
            seq=self.next_seq(by) if seq is None else seq,
            kind=kind,
            created_at_ns=now_ns,
            ttl_ns=min(max(max(ends) - now_ns, 1), limits.TTL_MAX_NS),
            confidence=confidence,
            reason=reason,
            field_id=self.field_id,
        )
        self.take(stance)
        self._last_seq_here[by] = max(stance.seq, self._last_seq_here.get(by, 0))
        return stance


def _check_time(now_ns: int) -> None:
    """Times past the columns' integers would wrap."""
    if not 0 <= now_ns <= limits.SEQ_MAX:
        raise InvalidSignalError(f"now_ns takes an int in [0, {limits.SEQ_MAX}], not {now_ns}")


def _starts_so(subject: bytes | None, prefix: bytes) -> bool:
    return subject is not None and subject.startswith(prefix)


def _value(strongest: _Said, observer: Observer, votes: Tally) -> float:
    signal = strongest.signal
    return reinforced_value(strongest.intensity, signal.confidence, observer.lineage(signal.author), votes)


def _is_newer(element: Signal | Stance, other: Signal | Stance) -> bool:
    return element.seq > other.seq or (element.seq == other.seq and element.id > other.id)


def _position(element: Signal | Stance) -> Position:
    kind, reason = (element.kind, element.reason) if isinstance(element, Stance) else (StanceKind.SUPPORT, "")
    return Position(element.author, kind, element.seq, element.confidence, reason)
