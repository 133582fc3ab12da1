"""The store under a field: live elements in rows, what they refer to, and what is shed when it is full.

An emission takes one row. A statement is named by the row of its first emission, so one that is said once, the common
case, is one row and nothing else: no hash is computed for it, and no list is kept. What a statement needs beyond that
is added when it comes:

* further emissions of it take rows of their own, and all of them are listed in its crowd;
* stances on it are rows of a second table, chained to it;
* one with stances that nobody says waits, in a row that is not listed, for somebody to say it.

A row that names a statement stays as long as that statement does, also when its own emission has gone before others
of the crowd. Its generation is odd while the statement is said, so that slot and generation tell by themselves
whether a reference still holds.

Bounds. Over capacity the emission that ends first is shed, the author's own where it is the author that is over its
share. Stances for unknown statements wait, up to `STANCES_WAITING`; a statement takes `STANCES_PER_STATEMENT`; beyond
either, the one that ends first is shed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smesh_core import limits
from smesh_core.authors import Author, Authors
from smesh_core.columns import NO_ROW, chain, unlink
from smesh_core.errors import FieldFullError, GoneError
from smesh_core.index import StatementIndex
from smesh_core.rows import EmissionRows, StanceRows
from smesh_core.shedding import Entry, SheddingOrder
from smesh_core.signal import Signal, Stance

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Store"]

_EVERY_AUTHOR = -1
CROWD = 16
_ALL_WAITING = 0


class Store:
    """Elements of one field.

    Args:
        field_id: the field, 32 bytes.
        capacity: emissions it holds.
        author_capacity: emissions it holds of one author.
    """

    def __init__(self, field_id: bytes, capacity: int, author_capacity: int) -> None:
        self.field_id = field_id
        self.capacity = capacity
        self.author_capacity = author_capacity
        self.emissions = 0
        self.rows = EmissionRows()
        self.stances = StanceRows()
        self.authors = Authors()
        self.index = StatementIndex(field_id, self.rows, self.authors)
        self._crowds: dict[int, dict[Signal, int]] = {}
        self._stance_crowds: dict[int, dict[int, list[int]]] = {}
        self._unsaid = 0
        self._waiting = 0
        self._emission_order = SheddingOrder(self.rows.holds)
        self._stance_order = SheddingOrder(self.stances.holds)
        self._waiting_order = SheddingOrder(self._is_waiting)

    # ---- looking things up

    def statement_slot(self, statement: bytes) -> int:
        """Slot of a statement that anything refers to, or NO_ROW."""
        return self.index.find(statement)

    def is_said(self, slot: int) -> bool:
        """Whether the statement in a slot has emissions."""
        return bool(self.rows.generations[slot] & 1)

    def names(self, slot: int, generation: int) -> bool:
        """Whether a statement is said, and has been since it was given this name."""
        known = self.rows.generations
        return 0 <= slot < len(known) and known[slot] == generation and bool(generation & 1)

    def named(self, slots: NDArray[np.int64], generations: NDArray[np.int64]) -> NDArray[np.int64]:
        """These slots, where each names a statement that has been said since it was given this generation.

        Raises:
            GoneError: one does not.
        """
        known = self.rows.generations
        is_held = len(slots) == 0 or (slots.min() >= 0 and slots.max() < len(known) and bool((generations & 1).all()))
        if not is_held or list(map(known.__getitem__, slots.tolist())) != generations.tolist():
            for slot, generation in zip(slots.tolist(), generations.tolist(), strict=True):
                if not self.names(slot, generation):
                    raise GoneError(f"the signal at {slot} (generation {generation}) is gone")
        return slots

    def has_room_for(self, emissions: int, by_author: Iterable[tuple[bytes, int]]) -> bool:
        """Whether these many, by author, could be held without shedding, and nobody waits to hear of any."""
        if self._unsaid or self._emission_order.scopes or self.emissions + emissions > self.capacity:
            return False
        for identity, count in by_author:
            author = self.authors.get(identity)
            if count + (0 if author is None else author.emissions) > self.author_capacity:
                return False
        return True

    def author_seq(self, author: bytes) -> int:
        """Highest sequence number seen of an author for as long as any element of it is held; 0 where none is."""
        known = self.authors.get(author)
        return 0 if known is None else known.seq

    def emission_rows(self, slot: int) -> Iterable[int]:
        """Rows of the emissions of a statement that is said, in the order they came."""
        crowd = self._crowds.get(slot)
        return (slot,) if crowd is None else crowd.values()

    def crowded(self) -> list[int]:
        """The statements that were said more than once, or on which many stood."""
        return [*self._crowds, *self._stance_crowds]

    @property
    def is_shedding_stances(self) -> bool:
        """Whether some statement has had more stances than it takes."""
        return bool(self._stance_order.scopes)

    def stance_rows(self, slot: int) -> Iterator[int]:
        """Rows of the stances on a statement, newest arrival first."""
        return chain(self.stances, self.rows.cells["first_stance"][slot])

    def stances_on(self, slot: int) -> list[Stance]:
        """The stances held on a statement, newest arrival first."""
        return [self.stance(row) for row in self.stance_rows(slot)]

    def stance_rows_of(self, slot: int, author: Author | None) -> list[int]:
        """Rows of one author's stances on a statement: one, unless an older one outlives a newer one."""
        count = self.rows.cells["stances"][slot]
        if author is None or not author.stances or not count:
            return []
        if count > CROWD:
            return self._stance_crowd(slot).get(author.slot, [])
        cells, mine, rows = self.stances.cells, author.slot, []
        authors, following, row = cells["author"], cells["next"], self.rows.cells["first_stance"][slot]
        while row != NO_ROW:
            if authors[row] == mine:
                rows.append(row)
            row = following[row]
        return rows

    def ends_at_ns(self, slot: int, stances: list[int]) -> int:
        """When the last of a statement's emissions and of these stances ends."""
        cells = self.rows.cells
        created, ttl = cells["created_at_ns"], cells["ttl_ns"]
        end: int = created[slot] + ttl[slot]
        if slot in self._crowds:
            end = max([created[row] + ttl[row] for row in self.emission_rows(slot)])
        for row in stances:
            end = max(end, self.stances.cells["expires_at_ns"][row])
        return end

    def signal(self, row: int) -> Signal:
        """The emission in a row."""
        held = self.rows.values[row]
        return held if type(held) is Signal else self.rows.signal(row, self.field_id, self.authors, self.index)

    def stance(self, row: int) -> Stance:
        """The stance in a row."""
        return self.stances.stance(row, self.field_id, self.authors, self.index)

    # ---- emissions

    def add_emission(self, signal: Signal) -> int:
        """Hold an emission and return its statement's slot; one that is held already changes nothing.

        Raises:
            FieldFullError: all that could be shed ends later than this.
        """
        author = self.authors.get(signal.author)
        slot = NO_ROW
        # A number higher than all its author used before says something new, unless it was waited for.
        if signal.subject is not None or self._unsaid or (author is not None and signal.seq <= author.seq):
            slot = self._find_statement(signal, author)
        is_said = slot != NO_ROW and self.is_said(slot)
        if is_said and self._holds(slot, signal):
            return slot
        shed = NO_ROW
        if self.emissions >= self.capacity or (author is not None and author.emissions >= self.author_capacity):
            shed = self._emission_to_shed(signal, author)
        if author is None:
            author = self.authors.know(signal.author)
        if is_said:
            row = self.rows.take()
            self._crowd(slot)[signal] = row
            self._write(row, slot, signal, author)
        elif slot == NO_ROW:
            free = self.rows.free_slots
            row = slot = free.pop() if free else self.rows.take()
            self._write(row, slot, signal, author)
            self.index.enter(slot, signal)
        else:
            row = slot
            self._say_at_last(slot, signal, author)
        if self._emission_order.scopes:
            for scope in (_EVERY_AUTHOR, author.slot):
                if self._emission_order.tracks(scope):
                    self._emission_order.add(scope, self._emission_entry(row))
        if shed != NO_ROW:
            # Only now, so that a statement whose one emission makes room for its next is not gone in between.
            self.drop_emission(shed)
        return slot

    def drop_emission(self, row: int) -> None:
        """Let an emission go, and its statement with the last thing that refers to it."""
        cells = self.rows.cells
        slot, author = cells["statement"][row], self.authors.at(cells["author"][row])
        crowd = self._crowds.get(slot)
        if crowd is not None:
            del crowd[self.signal(row)]
        self.rows.is_listed[row] = False
        self.rows.values[row] = None
        self.emissions -= 1
        if row != slot:
            self.rows.free(row)
        if not crowd:
            self._crowds.pop(slot, None)
            self._unsay(slot)
        author.emissions -= 1
        self.forget_if_done(author)

    def _find_statement(self, signal: Signal, author: Author | None) -> int:
        """The slot of what a signal says, or NO_ROW; a hash is made of it only while some statement waits."""
        slot = NO_ROW
        if signal.subject is not None:
            slot = self.index.shared.get((signal.type, signal.subject), NO_ROW)
        elif author is not None and signal.seq <= author.seq:
            slot = self.index.find_own(author.slot, signal.type, signal.seq)
        if slot == NO_ROW and self._unsaid:
            slot = self.index.find_hashed(signal.statement)
        return slot

    def _say_at_last(self, slot: int, signal: Signal, author: Author) -> None:
        """Hold the first emission of a statement that waited, in the row that names it."""
        cells = self.rows.cells
        first_stance, stances = cells["first_stance"][slot], cells["stances"][slot]
        self._write(slot, slot, signal, author)
        cells["first_stance"][slot], cells["stances"][slot] = first_stance, stances
        self._unsaid -= 1
        self._waiting -= stances
        self.index.enter(slot, signal)

    def _write(self, row: int, slot: int, signal: Signal, author: Author) -> None:
        """Hold an emission of the statement in a slot in a row, which may be that slot, and count it."""
        self.rows.write(row, slot, signal, author.slot)
        if row == slot:
            self.rows.generations[slot] += 1
        self.emissions += 1
        author.emissions += 1
        if signal.seq > author.seq:  # noqa: PLR1730 - half the time of a call of max
            author.seq = signal.seq

    def _unsay(self, slot: int) -> None:
        """A statement lost its last emission: it waits for another if there are stances on it, or is gone."""
        stances = self.rows.cells["stances"][slot]
        if stances:
            self.index.id_of(slot)
            self.index.unsay(slot)
            self.rows.generations[slot] += 1
            self._unsaid += 1
            self._let_wait(slot, stances)
        else:
            self.index.unsay(slot)
            self._free_statement(slot)

    def _holds(self, slot: int, signal: Signal) -> bool:
        """Whether this very emission is held."""
        crowd = self._crowds.get(slot)
        return self.signal(slot) == signal if crowd is None else signal in crowd

    def _crowd(self, slot: int) -> dict[Signal, int]:
        """The emissions of a statement, each with its row; made when it is said a second time."""
        crowd = self._crowds.get(slot)
        if crowd is None:
            crowd = self._crowds[slot] = {self.signal(slot): slot}
        return crowd

    def _emission_to_shed(self, newcomer: Signal, author: Author | None) -> int:
        """The row that must go to make room."""
        is_over_share = author is not None and author.emissions >= self.author_capacity
        scope = author.slot if author is not None and is_over_share else _EVERY_AUTHOR

        def entries() -> Iterator[Entry]:
            rows = self.rows.rows()
            ours = rows if scope == _EVERY_AUTHOR else rows[self.rows["author"][rows] == scope]
            return map(self._emission_entry, ours.tolist())

        expires_at_ns, identity, row, _ = self._emission_order.earliest(scope, entries)
        if (newcomer.expires_at_ns, newcomer.id) < (expires_at_ns, identity):
            held = f"{self.author_capacity} held of its author" if is_over_share else f"{self.capacity} held"
            raise FieldFullError(f"no room for an emission that ends before the {held}")
        return row

    def _emission_entry(self, row: int) -> Entry:
        signal = self.signal(row)
        return signal.expires_at_ns, signal.id, row, self.rows.generations[row]

    # ---- stances

    def add_stance(self, stance: Stance) -> None:
        """Hold a stance; one that is held already, or can no longer count, changes nothing.

        Raises:
            FieldFullError: all that could be shed ends later than this.
        """
        slot = self.index.find(stance.statement)
        author = self.authors.get(stance.author)
        self.stand(slot, stance, author, [] if slot == NO_ROW else self.stance_rows_of(slot, author))

    def stand(self, slot: int, stance: Stance, author: Author | None, earlier: list[int]) -> None:
        """Hold a stance on the statement in a slot, where its author's stances are in these `earlier` rows.

        Raises:
            FieldFullError: all that could be shed ends later than this.
        """
        if earlier and self._stands_instead(slot, stance, earlier):
            return
        is_said = slot != NO_ROW and self.is_said(slot)
        if not is_said or self.rows.cells["stances"][slot] >= limits.STANCES_PER_STATEMENT:
            self._make_room_for_stance(slot, stance)
            author = None  # Whatever made room may have been its last element, or the statement's.
            if not is_said:
                slot = self.index.find_hashed(stance.statement)
                slot = self._new_waiting(stance.statement) if slot == NO_ROW else slot
                self._waiting += 1
        if author is None:
            author = self.authors.know(stance.author)
        self._chain_stance(slot, stance, author)

    def _chain_stance(self, slot: int, stance: Stance, author: Author) -> None:
        """Put a stance before the others on its statement, and count it."""
        row = self.stances.take()
        heads = self.rows.cells
        following = heads["first_stance"][slot]
        self.stances.write(row, stance, author.slot, following, slot)
        if following != NO_ROW:
            self.stances.cells["previous"][following] = row
        heads["first_stance"][slot] = row
        heads["stances"][slot] += 1
        if slot in self._stance_crowds:
            self._stance_crowds[slot].setdefault(author.slot, []).append(row)
        author.stances += 1
        if stance.seq > author.seq:  # noqa: PLR1730 - half the time of a call of max
            author.seq = stance.seq
        if self._stance_order.scopes or self._waiting_order.scopes:
            self._track_stance(slot, row)

    def drop_stance(self, row: int) -> None:
        """Let a stance go, and its statement with the last thing that refers to it."""
        slot, author = self.stances.cells["statement"][row], self.authors.at(self.stances.cells["author"][row])
        unlink(self.stances, row, self.rows, slot, "first_stance")
        self.stances.free(row)
        self.rows.cells["stances"][slot] -= 1
        if slot in self._stance_crowds:
            self._leave_stance_crowd(slot, author.slot, row)
        author.stances -= 1
        self.forget_if_done(author)
        if not self.is_said(slot):
            self._waiting -= 1
            if self.rows.cells["stances"][slot] == 0:
                self._unsaid -= 1
                self._free_statement(slot)

    def _stands_instead(self, slot: int, stance: Stance, earlier: list[int]) -> bool:
        """Settle a stance with the same node's earlier ones; False where it needs a row of its own."""
        cells, expires_at_ns = self.stances.cells, stance.created_at_ns + stance.ttl_ns
        seqs, ends = cells["seq"], cells["expires_at_ns"]
        outdated = []
        for row in earlier:
            seq, end = seqs[row], ends[row]
            is_newer = stance.seq > seq or (stance.seq == seq and stance.id > self.stance(row).id)
            if not is_newer and end >= expires_at_ns:
                return True  # It can never count.
            if is_newer and end <= expires_at_ns:
                outdated.append(row)
        if not outdated:
            return False
        self.stances.generations[outdated[0]] += 2
        self.stances.write_word(outdated[0], stance)
        self._track_stance(slot, outdated[0])
        author = self.authors.at(cells["author"][outdated[0]])
        author.seq = max(author.seq, stance.seq)
        for row in outdated[1:]:
            self.drop_stance(row)
        return True

    def _track_stance(self, slot: int, row: int) -> None:
        if slot in self._stance_order.scopes:
            self._stance_order.add(slot, self._stance_entry(row))
        if _ALL_WAITING in self._waiting_order.scopes and not self.is_said(slot):
            self._waiting_order.add(_ALL_WAITING, self._stance_entry(row))

    def _stance_crowd(self, slot: int) -> dict[int, list[int]]:
        """Author's slot to rows, for a statement on which many stand; made when first needed."""
        crowd = self._stance_crowds.get(slot)
        if crowd is None:
            crowd = self._stance_crowds[slot] = {}
            for row in self.stance_rows(slot):
                crowd.setdefault(self.stances.cells["author"][row], []).append(row)
        return crowd

    def _leave_stance_crowd(self, slot: int, author: int, row: int) -> None:
        crowd = self._stance_crowds[slot]
        crowd[author].remove(row)
        if not crowd[author]:
            del crowd[author]
        if not crowd:
            del self._stance_crowds[slot]

    # ---- stances that wait, and room for more

    def _let_wait(self, slot: int, stances: int) -> None:
        """Count the stances on a statement that nobody says any more as waiting; shed what is over the bound."""
        self._waiting += stances
        if self._waiting_order.tracks(_ALL_WAITING):
            for row in self.stance_rows(slot):
                self._waiting_order.add(_ALL_WAITING, self._stance_entry(row))
        while self._waiting > limits.STANCES_WAITING:
            self.drop_stance(self._waiting_order.earliest(_ALL_WAITING, self._waiting_entries)[2])

    def _waiting_entries(self) -> Iterator[Entry]:
        return (self._stance_entry(row) for row in self.stances.rows().tolist() if self._waits(row))

    def _make_room_for_stance(self, slot: int, newcomer: Stance) -> None:
        if slot != NO_ROW and self.rows.cells["stances"][slot] >= limits.STANCES_PER_STATEMENT:

            def on_statement() -> Iterator[Entry]:
                return map(self._stance_entry, self.stance_rows(slot))

            earliest = self._stance_order.earliest(slot, on_statement)
        elif self._waiting >= limits.STANCES_WAITING and (slot == NO_ROW or not self.is_said(slot)):
            earliest = self._waiting_order.earliest(_ALL_WAITING, self._waiting_entries)
        else:
            return
        if (newcomer.expires_at_ns, newcomer.id) < earliest[:2]:
            raise FieldFullError("no room for a stance that ends before all that are held")
        self.drop_stance(earliest[2])

    def _waits(self, row: int) -> bool:
        return not self.is_said(self.stances.cells["statement"][row])

    def _is_waiting(self, row: int, generation: int) -> bool:
        return self.stances.holds(row, generation) and self._waits(row)

    def _stance_entry(self, row: int) -> Entry:
        stance = self.stance(row)
        return stance.expires_at_ns, stance.id, row, self.stances.generations[row]

    # ---- statements and authors

    def _new_waiting(self, statement: bytes) -> int:
        """The row of a statement that nobody says yet."""
        slot = self.rows.take()
        self.rows.cells["first_stance"][slot] = NO_ROW
        self.rows.cells["stances"][slot] = 0
        self._unsaid += 1
        self.index.know_id(slot, statement)
        return slot

    def _free_statement(self, slot: int) -> None:
        self.index.forget(slot)
        self.rows.free(slot)
        if self._stance_order.scopes:
            self._stance_order.forget(slot)

    def forget_if_done(self, author: Author) -> None:
        """Forget an author of which nothing is held any more."""
        if self.authors.forget_if_done(author) and self._emission_order.scopes:
            self._emission_order.forget(author.slot)
