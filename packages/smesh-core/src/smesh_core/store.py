"""The store under a field: live elements in columns, what they refer to, and what is shed when it is full.

Three tables hold statements, their emissions and the stances on them, the latter two chained to their statement. A
fourth holds authors, so that a row names its author by a small integer. A statement stays while anything refers to
it; one with stances and no emission waits, unseen, for somebody to say it.

Bounds. Over capacity the emission that ends first is shed, the author's own where it is the author that is over its
share. Stances for unknown statements wait, up to `STANCES_WAITING`; a statement takes `STANCES_PER_STATEMENT`; beyond
either, the one that ends first is shed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from smesh_core import limits
from smesh_core.columns import NO_ROW, Columns, chain, prepend, unlink
from smesh_core.errors import FieldFullError
from smesh_core.shedding import Entry, SheddingOrder
from smesh_core.signal import Signal, SignalType, Stance

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Store"]

_EVERY_AUTHOR = -1
_CROWD = 16
_ALL_WAITING = 0


class Store:
    """Elements of one field.

    Args:
        capacity: emissions it holds.
        author_capacity: emissions it holds of one author.
    """

    def __init__(self, capacity: int, author_capacity: int) -> None:
        self.capacity = capacity
        self.author_capacity = author_capacity
        self.statements = Columns(
            {
                "id": object,
                "type": np.uint8,
                "emissions": np.int64,
                "stances": np.int64,
                "first_emission": np.int64,
                "first_stance": np.int64,
            }
        )
        self.emissions = Columns(
            {
                "statement": np.int64,
                "author": np.int64,
                "next": np.int64,
                "previous": np.int64,
                "created_at_ns": np.int64,
                "ttl_ns": np.int64,
                "intensity": np.float64,
                "confidence": np.float64,
                "rate_per_s": np.float64,
                "curve": np.uint8,
                "signal": object,
            }
        )
        self.stances = Columns(
            {
                "statement": np.int64,
                "author": np.int64,
                "next": np.int64,
                "previous": np.int64,
                "expires_at_ns": np.int64,
                "stance": object,
            }
        )
        self.authors = Columns({"id": object, "emissions": np.int64, "elements": np.int64, "seq": np.int64})
        self._statement_slots: dict[bytes, int] = {}
        self._author_slots: dict[bytes, int] = {}
        self._stance_rows: dict[tuple[int, int], list[int]] = {}
        self._crowds: dict[int, set[Signal]] = {}
        self._waiting = 0
        self._emission_order = SheddingOrder(self.emissions.holds)
        self._stance_order = SheddingOrder(self.stances.holds)
        self._waiting_order = SheddingOrder(self._is_waiting)

    # ---- looking things up

    def statement_slot(self, statement: bytes) -> int:
        """Slot of a statement that anything refers to, or NO_ROW."""
        return self._statement_slots.get(statement, NO_ROW)

    def author_seq(self, author: bytes) -> int:
        """Highest sequence number seen of an author for as long as any element of it is held; 0 where none is."""
        slot = self._author_slots.get(author, NO_ROW)
        return 0 if slot == NO_ROW else self.authors.cells["seq"][slot]

    def emission_rows(self, statement: int) -> Iterator[int]:
        """Rows of a statement's emissions, newest arrival first."""
        return chain(self.emissions, self.statements.cells["first_emission"][statement])

    def stances_on(self, statement: int) -> list[Stance]:
        """The stances held on a statement, newest arrival first."""
        rows = chain(self.stances, self.statements.cells["first_stance"][statement])
        return [self.stances.cells["stance"][row] for row in rows]

    def stances_of(self, statement: int, author: bytes) -> list[Stance]:
        """The stances held of one author on a statement: one, unless an older one outlives a newer one."""
        rows = self._stance_rows.get((statement, self._author_slots.get(author, NO_ROW)), [])
        return [self.stances.cells["stance"][row] for row in rows]

    def signal(self, row: int) -> Signal:
        """The emission in a row: the very value that was taken in, with the ids it has computed."""
        signal: Signal = self.emissions.cells["signal"][row]
        return signal

    # ---- emissions

    def add_emission(self, signal: Signal) -> int:
        """Hold an emission and return its statement's slot; one that is held already changes nothing.

        Raises:
            FieldFullError: all that could be shed ends later than this.
        """
        statement = self.statement_slot(signal.statement)
        if statement != NO_ROW and self._holds(statement, signal):
            return statement
        shed = self._emission_to_shed(signal)
        statement = self._say(signal)
        author = self._count_element(signal.author, signal.seq)
        row = self.emissions.allocate(
            statement=statement,
            author=author,
            created_at_ns=signal.created_at_ns,
            ttl_ns=signal.ttl_ns,
            intensity=signal.intensity,
            confidence=signal.confidence,
            rate_per_s=signal.rate_per_s,
            curve=signal.decay,
            signal=signal,
        )
        prepend(self.emissions, row, self.statements, statement, "first_emission")
        if statement in self._crowds:
            self._crowds[statement].add(signal)
        self.authors.cells["emissions"][author] += 1
        for scope in (_EVERY_AUTHOR, author):
            if self._emission_order.tracks(scope):
                self._emission_order.add(scope, self._emission_entry(row))
        if shed is not None:
            # Only now, so that a statement whose one emission makes room for its next is not gone in between.
            self.drop_emission(shed)
        return statement

    def drop_emission(self, row: int) -> None:
        """Let an emission go, and its statement with the last thing that refers to it."""
        statement, author = self.emissions.cells["statement"][row], self.emissions.cells["author"][row]
        unlink(self.emissions, row, self.statements, statement, "first_emission")
        if statement in self._crowds:
            self._crowds[statement].remove(self.signal(row))
        self.emissions.free(row)
        self.authors.cells["emissions"][author] -= 1
        self._uncount_element(author)
        self.statements.cells["emissions"][statement] -= 1
        if self.statements.cells["emissions"][statement]:
            return
        self._crowds.pop(statement, None)
        if self.statements.cells["stances"][statement]:
            self.statements.renew(statement)
            self._let_wait(statement)
        else:
            self._free_statement(statement)

    def _say(self, signal: Signal) -> int:
        """The slot of a statement that is about to get one more emission."""
        statement = self.statement_slot(signal.statement)
        if statement == NO_ROW:
            statement = self._new_statement(signal.statement)
        if self.statements.cells["emissions"][statement] == 0:
            self.statements.cells["type"][statement] = signal.type
            self._waiting -= self.statements.cells["stances"][statement]
        self.statements.cells["emissions"][statement] += 1
        return statement

    def _holds(self, statement: int, signal: Signal) -> bool:
        """Whether this very emission is held; a crowd's emissions are looked up, a few are looked through."""
        if self.statements.cells["emissions"][statement] > _CROWD:
            return signal in self._crowd(statement)
        return any(self.signal(row) == signal for row in self.emission_rows(statement))

    def _crowd(self, statement: int) -> set[Signal]:
        """The emissions of a statement that many say; made when first needed."""
        if statement not in self._crowds:
            self._crowds[statement] = {self.signal(row) for row in self.emission_rows(statement)}
        return self._crowds[statement]

    def _emission_to_shed(self, newcomer: Signal) -> int | None:
        """The row that must go to make room; None where there is room."""
        author = self._author_slots.get(newcomer.author, NO_ROW)
        if author != NO_ROW and self.authors.cells["emissions"][author] >= self.author_capacity:
            scope = author
        elif len(self.emissions) >= self.capacity:
            scope = _EVERY_AUTHOR
        else:
            return None

        def entries() -> Iterator[Entry]:
            rows = self.emissions.rows()
            ours = rows if scope == _EVERY_AUTHOR else rows[self.emissions["author"][rows] == scope]
            return map(self._emission_entry, ours.tolist())

        expires_at_ns, identity, row, _ = self._emission_order.earliest(scope, entries)
        if (newcomer.expires_at_ns, newcomer.id) < (expires_at_ns, identity):
            held = f"{self.capacity} held" if scope == _EVERY_AUTHOR else f"{self.author_capacity} held of its author"
            raise FieldFullError(f"no room for an emission that ends before the {held}")
        return row

    def _emission_entry(self, row: int) -> Entry:
        signal = self.signal(row)
        return signal.expires_at_ns, signal.id, row, self.emissions.generation(row)

    # ---- stances

    def add_stance(self, stance: Stance) -> None:
        """Hold a stance; one that is held already, or can no longer count, changes nothing.

        Raises:
            FieldFullError: all that could be shed ends later than this.
        """
        statement = self.statement_slot(stance.statement)
        rows = self._stance_rows.get((statement, self._author_slots.get(stance.author, NO_ROW)), [])
        if any(_outdates(self.stances.cells["stance"][row], stance) for row in rows):
            return
        outdated = [row for row in rows if _outdates(stance, self.stances.cells["stance"][row])]
        if not outdated:
            self._make_room_for_stance(stance)
        for row in outdated:
            self.drop_stance(row)
        statement = self.statement_slot(stance.statement)
        if statement == NO_ROW:
            statement = self._new_statement(stance.statement)
        author = self._count_element(stance.author, stance.seq)
        row = self.stances.allocate(
            statement=statement, author=author, expires_at_ns=stance.expires_at_ns, stance=stance
        )
        prepend(self.stances, row, self.statements, statement, "first_stance")
        self._stance_rows.setdefault((statement, author), []).append(row)
        self.statements.cells["stances"][statement] += 1
        if self._stance_order.tracks(statement):
            self._stance_order.add(statement, self._stance_entry(row))
        if self.statements.cells["emissions"][statement] == 0:
            self._waiting += 1
            if self._waiting_order.tracks(_ALL_WAITING):
                self._waiting_order.add(_ALL_WAITING, self._stance_entry(row))

    def drop_stance(self, row: int) -> None:
        """Let a stance go, and its statement with the last thing that refers to it."""
        statement, author = self.stances.cells["statement"][row], self.stances.cells["author"][row]
        unlink(self.stances, row, self.statements, statement, "first_stance")
        self.stances.free(row)
        rows = self._stance_rows[statement, author]
        rows.remove(row)
        if not rows:
            del self._stance_rows[statement, author]
        self._uncount_element(author)
        self.statements.cells["stances"][statement] -= 1
        if self.statements.cells["emissions"][statement] == 0:
            self._waiting -= 1
            if self.statements.cells["stances"][statement] == 0:
                self._free_statement(statement)

    def _let_wait(self, statement: int) -> None:
        """Count the stances on a statement that nobody says any more as waiting; shed what is over the bound."""
        self._waiting += self.statements.cells["stances"][statement]
        if self._waiting_order.tracks(_ALL_WAITING):
            for row in chain(self.stances, self.statements.cells["first_stance"][statement]):
                self._waiting_order.add(_ALL_WAITING, self._stance_entry(row))
        while self._waiting > limits.STANCES_WAITING:
            self.drop_stance(self._waiting_order.earliest(_ALL_WAITING, self._waiting_entries)[2])

    def _waiting_entries(self) -> Iterator[Entry]:
        rows = self.stances.rows()
        unsaid = self.statements["emissions"][self.stances["statement"][rows]] == 0
        return map(self._stance_entry, rows[unsaid].tolist())

    def _make_room_for_stance(self, newcomer: Stance) -> None:
        statement = self.statement_slot(newcomer.statement)
        is_said = statement != NO_ROW and self.statements.cells["emissions"][statement] > 0
        if statement != NO_ROW and self.statements.cells["stances"][statement] >= limits.STANCES_PER_STATEMENT:

            def on_statement() -> Iterator[Entry]:
                return map(self._stance_entry, chain(self.stances, self.statements.cells["first_stance"][statement]))

            earliest = self._stance_order.earliest(statement, on_statement)
        elif not is_said and self._waiting >= limits.STANCES_WAITING:
            earliest = self._waiting_order.earliest(_ALL_WAITING, self._waiting_entries)
        else:
            return
        if (newcomer.expires_at_ns, newcomer.id) < earliest[:2]:
            raise FieldFullError("no room for a stance that ends before all that are held")
        self.drop_stance(earliest[2])

    def _is_waiting(self, row: int, generation: int) -> bool:
        return (
            self.stances.holds(row, generation)
            and self.statements.cells["emissions"][self.stances.cells["statement"][row]] == 0
        )

    def _stance_entry(self, row: int) -> Entry:
        stance: Stance = self.stances.cells["stance"][row]
        return stance.expires_at_ns, stance.id, row, self.stances.generation(row)

    # ---- statements and authors

    def _new_statement(self, statement: bytes) -> int:
        slot = self.statements.allocate(
            id=statement,
            type=SignalType.DATA,
            emissions=0,
            stances=0,
            first_emission=NO_ROW,
            first_stance=NO_ROW,
        )
        self._statement_slots[statement] = slot
        return slot

    def _free_statement(self, slot: int) -> None:
        del self._statement_slots[self.statements.cells["id"][slot]]
        self.statements.free(slot)
        self._stance_order.forget(slot)

    def _count_element(self, author: bytes, seq: int) -> int:
        """The slot of an author that is about to have one more element here."""
        slot = self._author_slots.get(author, NO_ROW)
        if slot == NO_ROW:
            slot = self.authors.allocate(id=author, emissions=0, elements=0, seq=0)
            self._author_slots[author] = slot
        self.authors.cells["elements"][slot] += 1
        self.authors.cells["seq"][slot] = max(self.authors.cells["seq"][slot], seq)
        return slot

    def _uncount_element(self, slot: int) -> None:
        self.authors.cells["elements"][slot] -= 1
        if self.authors.cells["elements"][slot] == 0:
            del self._author_slots[self.authors.cells["id"][slot]]
            self.authors.free(slot)
            self._emission_order.forget(slot)


def _outdates(stance: Stance, other: Stance) -> bool:
    """Whether, of one node's stances on one statement, `other` can never count again because of `stance`."""
    is_newer = (stance.seq, stance.id) >= (other.seq, other.id) if stance.seq == other.seq else stance.seq > other.seq
    return is_newer and stance.expires_at_ns >= other.expires_at_ns
