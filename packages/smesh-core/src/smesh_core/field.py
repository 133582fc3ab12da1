"""The field: what has been said, who stands where, and how strongly it is felt now.

A field is a set of live elements (emissions and stances) and nothing else. Taking an element in is a union: order and
repetition change nothing. Everything that is read (value, consensus, positions) is a function of the live elements,
an observer and a time.

How a value comes about: emissions fade (`decay`), positions become votes (`weights`), votes reinforce the strongest
emission (`reinforcement`) and give a verdict (`consensus`). What is held, and what is shed, is the `store`'s.

Nothing here does I/O or reads a clock: `now_ns` is an argument.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

import msgspec
import numpy as np

from smesh_core import limits
from smesh_core.batch import SignalBatch
from smesh_core.columns import NO_ROW
from smesh_core.consensus import ConsensusPolicy, Quorum, Verdict
from smesh_core.errors import FieldFullError, GoneError, InvalidSignalError, WrongFieldError
from smesh_core.merging import merge, stand_on_many
from smesh_core.reading import Position, Reader, Reading, Sensed
from smesh_core.refs import Ref, Refs
from smesh_core.signal import DEFAULT_FIELD_ID, Signal, SignalType, Stance, StanceKind
from smesh_core.store import Store
from smesh_core.weights import EVERYONE, Observer, Tally

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["Field", "Position", "Reading", "Ref", "Refs", "Sensed"]

_QUORUM = Quorum()
_new = tuple.__new__
"""What `Ref` does when called, without the detour through its arguments."""


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
        self._store = Store(field_id, capacity, max(1, int(capacity * author_share)))
        self._reader = Reader(self._store)
        self._last_seq_here: dict[bytes, int] = {}

    @property
    def capacity(self) -> int:
        """Emissions it holds at most."""
        return self._store.capacity

    def __len__(self) -> int:
        """Emissions held, expired ones included until `expire` is called."""
        return self._store.emissions

    # ---- taking elements in

    def emit(self, signal: Signal) -> Ref:
        """Take an emission in; one that is already here changes nothing.

        Returns:
            The statement it says; the same reference for every emission of one statement.

        Raises:
            WrongFieldError: it belongs to another field.
            FieldFullError: there is no room, and all that could be shed ends later than this.
        """
        if signal.field_id is not self.field_id and signal.field_id != self.field_id:
            raise WrongFieldError(f"an emission for field {signal.field_id.hex()[:8]} in {self.field_id.hex()[:8]}")
        store = self._store
        slot = store.add_emission(signal)
        if self._last_seq_here:
            self._note_seq(signal.author, signal.seq)
        return _new(Ref, (slot, store.rows.generations[slot]))

    @overload
    def emit_batch(self, signals: SignalBatch) -> Refs: ...  # type: ignore[overload-overlap]
    @overload
    def emit_batch(self, signals: Iterable[Signal]) -> list[Ref | None]: ...
    def emit_batch(self, signals: SignalBatch | Iterable[Signal]) -> Refs | list[Ref | None]:
        """Take many emissions in; all are checked before the first is stored.

        Args:
            signals: any number of them; those of a `SignalBatch` are taken in by whole columns, and become `Signal`
                values when somebody reads them.

        Returns:
            For each signal its reference, or None where the field was full.

        Raises:
            WrongFieldError: one of them belongs to another field.
        """
        if isinstance(signals, SignalBatch):
            if signals.field_id != self.field_id:
                raise WrongFieldError("a batch for another field")
            merged = merge(self._store, signals)
            if self._last_seq_here:
                for author, seq in signals.last_seqs(np.flatnonzero(merged.slots != NO_ROW)):
                    self._note_seq(author, seq)
            return merged
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

    def reinforce_batch(
        self,
        refs: Refs | Iterable[Ref],
        *,
        by: bytes,
        now_ns: int,
        kind: StanceKind = StanceKind.SUPPORT,
        confidence: float = 1.0,
        reason: str = "",
        seq: int | None = None,
    ) -> NDArray[np.int64]:
        """Record that a node takes the same stance on many statements; all is checked before the first is stored.

        Does what `reinforce` (or, by `kind`, `inhibit` or `withdraw`) does for one after the other.

        Args:
            refs: the statements.
            by: the node's id.
            now_ns: when.
            kind: what it says of them.
            confidence: how sure it is, in (0, 1].
            reason: why, for people.
            seq: its sequence number for the first, and one more for each further; None takes the next after all that
                this field has seen of it.

        Returns:
            The sequence number of each stance, shape (refs,); -1 where its statement had no room for it.

        Raises:
            GoneError: one of the statements is gone.
            InvalidSignalError: a value is out of bounds.
        """
        store = self._store
        try:
            many = refs if isinstance(refs, Refs) else Refs.of(refs)
        except OverflowError:
            raise GoneError("a reference that no field has given out is gone") from None
        slots = store.named(many.slots, many.generations)
        first = max(self._last_seq_here.get(by, 0), store.author_seq(by)) + 1 if seq is None else seq
        if not len(slots):
            return np.zeros(0, np.int64)
        stance = Stance(
            statement=store.index.id_of(int(slots[0])),
            author=by,
            seq=first,
            kind=kind,
            created_at_ns=now_ns,
            confidence=confidence,
            reason=reason,
            field_id=self.field_id,
        )
        last = msgspec.structs.replace(stance, seq=first + len(slots) - 1)
        is_done = stand_on_many(store, slots, stance)
        seqs = np.arange(first, last.seq + 1)
        for at in np.flatnonzero(~is_done).tolist():
            ref = Ref(int(slots[at]), store.rows.generations[slots[at]])
            try:
                self._take_own(ref, by, kind, now_ns, confidence, reason, int(seqs[at]))
            except FieldFullError:
                seqs[at] = NO_ROW
        self._last_seq_here[by] = max(last.seq, self._last_seq_here.get(by, 0))
        return seqs

    def next_seq(self, author: bytes) -> int:
        """One more than any sequence number held of an author, or said by it here since this was first asked."""
        self._last_seq_here.setdefault(author, 0)
        return max(self._store.author_seq(author), self._last_seq_here.get(author, 0)) + 1

    def expire(self, now_ns: int) -> int:
        """Let go of everything that is no longer live, and return how many elements that was."""
        store = self._store
        held = store.emissions + len(store.stances)
        rows = store.rows.rows()
        ended = rows[self._reader.intensities(rows, now_ns) < limits.INTENSITY_MIN]
        for row in ended.tolist():
            store.drop_emission(row)
        rows = store.stances.rows()
        over = rows[store.stances["expires_at_ns"][rows] <= now_ns]
        for row in over.tolist():
            if store.stances.is_listed[row]:  # else it was shed with what ended just now
                store.drop_stance(row)
        return held - store.emissions - len(store.stances)

    # ---- reading

    def find(self, statement: bytes) -> Ref | None:
        """The reference of a statement by its id (32 bytes), or None where nobody has said it."""
        slot = self._store.statement_slot(statement)
        return (
            None if slot == NO_ROW or not self._store.is_said(slot) else Ref(slot, self._store.rows.generations[slot])
        )

    def __contains__(self, ref: Ref) -> bool:
        return self._store.names(*ref)

    def statement(self, ref: Ref) -> bytes:
        """The id (32 bytes) of a statement.

        Raises:
            GoneError: it is gone.
        """
        return self._store.index.id_of(self._slot(ref))

    def emissions(self, ref: Ref, now_ns: int) -> list[Signal]:
        """The live emissions of a statement, strongest first.

        Raises:
            GoneError: it is gone.
        """
        return [self._store.signal(said.row) for said in self._reader.live_emissions(self._slot(ref), now_ns)]

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
        return self._reader.positions(self._slot(ref), now_ns)

    def value(self, ref: Ref, now_ns: int, observer: Observer = EVERYONE) -> float:
        """Effective strength of a statement in [0, 1]; 0 where nothing of it is live.

        Raises:
            GoneError: it is gone.
        """
        return self._reader.value(self._slot(ref), now_ns, observer)

    def votes(self, ref: Ref, now_ns: int, observer: Observer = EVERYONE) -> Tally:
        """The votes of an observer's lineages about a statement now: what a policy reads, and `explanation.explain`.

        Raises:
            GoneError: the statement is gone.
        """
        return self._reader.votes(self._slot(ref), now_ns, observer)

    def verdict(
        self, ref: Ref, now_ns: int, observer: Observer = EVERYONE, policy: ConsensusPolicy = _QUORUM
    ) -> Verdict:
        """What consensus an observer reads about a statement now.

        Raises:
            GoneError: the statement is gone.
        """
        return policy.read(self.votes(ref, now_ns, observer))

    def read(self, ref: Ref, now_ns: int, observer: Observer = EVERYONE, policy: ConsensusPolicy = _QUORUM) -> Reading:
        """Value, verdict, emissions and positions of a statement, read together.

        Raises:
            GoneError: it is gone.
        """
        slot = self._slot(ref)
        value, votes, said, positions = self._reader.all_of(slot, now_ns, observer)
        emissions = [self._store.signal(emission.row) for emission in said]
        return Reading(
            statement=self._store.index.id_of(slot),
            value=value,
            starts_at_ns=min([signal.created_at_ns for signal in emissions], default=0),
            expires_at_ns=max([signal.created_at_ns + signal.ttl_ns for signal in emissions], default=0),
            verdict=policy.read(votes),
            emissions=emissions,
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
        return self._reader.sense(now_ns, threshold, types, observer, limit)

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

    # ---- references and stances taken here

    def _slot(self, ref: Ref) -> int:
        slot, generation = ref
        if not self._store.names(slot, generation):
            raise GoneError(f"the signal at {slot} (generation {generation}) is gone")
        return slot

    def _note_seq(self, author: bytes, seq: int) -> None:
        """Where sequence numbers of an author are given out here, do not give out one that it has used."""
        last = self._last_seq_here.get(author)
        if last is not None and seq > last:
            self._last_seq_here[author] = seq

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
        store, slot = self._store, self._slot(ref)
        author = store.authors.get(by)
        earlier = store.stance_rows_of(slot, author) if author is not None and author.stances else []
        life_ns = store.ends_at_ns(slot, earlier) - now_ns
        last_here = self._last_seq_here.get(by, 0)
        if seq is None:
            seq = (last_here if author is None or last_here > author.seq else author.seq) + 1
        stance = Stance(
            statement=store.index.ids.get(slot) or store.index.id_of(slot),
            author=by,
            seq=seq,
            kind=kind,
            created_at_ns=now_ns,
            ttl_ns=life_ns if 0 < life_ns <= limits.TTL_MAX_NS else min(max(life_ns, 1), limits.TTL_MAX_NS),
            confidence=confidence,
            reason=reason,
            field_id=self.field_id,
        )
        store.stand(slot, stance, author, earlier)
        if seq > last_here:
            self._last_seq_here[by] = seq
        return stance


def _starts_so(subject: bytes | None, prefix: bytes) -> bool:
    return subject is not None and subject.startswith(prefix)
