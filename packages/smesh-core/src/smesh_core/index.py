"""The index of statements: from what is said, or from its id, to the row that a statement is named by.

A statement with a subject is found by (type, subject), one of its author's own by (author, type, sequence number).
Neither needs a hash, so taking an emission in needs none. Two parts of the index are made when they are first asked
for, and catch up from then on with what has come since:

* ids, which cost a SHA-256 each, when a statement is first looked up by its id;
* own statements, when an author first says something under a number that is not higher than all it used before.
  Until then a number tells by itself that what is said under it is new.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from smesh_core.columns import NO_ROW
from smesh_core.rows import TYPES
from smesh_core.signal import Signal, SignalType, statement_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from smesh_core.authors import Authors
    from smesh_core.columns import Columns

__all__ = ["StatementIndex"]

Shared: TypeAlias = tuple[SignalType, bytes]
_Own: TypeAlias = tuple[int, int, int]


class _Arrears:
    """Rows that an index made on demand has yet to take in: those from `end` on, and older slots taken again."""

    def __init__(self) -> None:
        self.end = 0
        self.again: list[int] = []

    def are_open(self, used: int) -> bool:
        """Whether there are any."""
        return self.end < used or bool(self.again)

    def settle(self, used: int) -> list[int]:
        """All of them, once each; they are taken in now."""
        rows = [*dict.fromkeys(self.again), *range(self.end, used)]
        self.again.clear()
        self.end = used
        return rows


class StatementIndex:
    """Statements of one field.

    Attributes:
        shared: (type, subject) to row.
        ids: row to id, where it is known.

    Args:
        field_id: the field, 32 bytes; ids are made of it.
        rows: emissions, and the rows that name statements.
        authors: who the rows' authors are.
    """

    def __init__(self, field_id: bytes, rows: Columns, authors: Authors) -> None:
        self._field_id = field_id
        self._rows = rows
        self._authors = authors
        self.shared: dict[Shared, int] = {}
        self._subjects: dict[int, Shared] = {}
        self._own: dict[_Own, int] = {}
        self._own_arrears = _Arrears()
        self.ids: dict[int, bytes] = {}
        self._by_id: dict[bytes, int] = {}
        self._id_arrears = _Arrears()
        self._old_end = 0
        """Slots from here on are in arrears without being noted."""

    def __len__(self) -> int:
        """Entries of all kinds."""
        return len(self.shared) + len(self._subjects) + len(self._own) + len(self.ids) + len(self._by_id)

    # ---- asking

    def find(self, statement: bytes) -> int:
        """The row of a statement by its id, or NO_ROW."""
        slot = self._by_id.get(statement, NO_ROW)
        if slot == NO_ROW and self._id_arrears.are_open(self._rows.used):
            self._catch_up_ids()
            slot = self._by_id.get(statement, NO_ROW)
        return slot

    def find_hashed(self, statement: bytes) -> int:
        """Like `find`, but only among statements whose ids are known; those that wait to be said always are."""
        return self._by_id.get(statement, NO_ROW)

    def find_own(self, author: int, kind: int, seq: int) -> int:
        """The row of an author's own statement, or NO_ROW."""
        if self._own_arrears.are_open(self._rows.used):
            self._catch_up_own()
        return self._own.get((author, kind, seq), NO_ROW)

    def find_many(self, own: Iterable[tuple[int, int, int]], subjects: Iterable[bytes | None]) -> list[int]:
        """The rows of statements, or NO_ROW: by type and subject, or where that is None as `find_own` has it."""
        if self._own_arrears.are_open(self._rows.used):
            self._catch_up_own()
        return [
            self._own.get(key, NO_ROW) if subject is None else self.shared.get((TYPES[key[1]], subject), NO_ROW)
            for key, subject in zip(own, subjects, strict=True)
        ]

    def subject(self, slot: int) -> bytes | None:
        """What a statement is about; None where it is its author's own."""
        shared = self._subjects.get(slot)
        return None if shared is None else shared[1]

    def id_of(self, slot: int) -> bytes:
        """The id of a statement, 32 bytes."""
        identity = self.ids.get(slot)
        if identity is None:
            cells, shared = self._rows.cells, self._subjects.get(slot)
            if shared is None:
                author = self._authors.at(cells["author"][slot]).id
                identity = statement_id(
                    self._field_id, TYPES[cells["type"][slot]], author=author, seq=cells["seq"][slot]
                )
            else:
                identity = statement_id(self._field_id, shared[0], shared=shared[1])
            self.know_id(slot, identity)
        return identity

    def ids_of(self, slots: Iterable[int]) -> list[bytes]:
        """The ids of many statements."""
        known = self.ids.get
        return [known(slot) or self.id_of(slot) for slot in slots]

    # ---- keeping it

    def know_id(self, slot: int, identity: bytes) -> None:
        """Note a statement's id."""
        self.ids[slot] = identity
        self._by_id[identity] = slot

    def enter(self, slot: int, signal: Signal) -> None:
        """Take in a statement that this signal is the first to say."""
        if signal.subject is not None:
            shared = (signal.type, signal.subject)
            self.shared[shared] = slot
            self._subjects[slot] = shared
        if slot < self._old_end:
            self._note_again([slot])

    def enter_many(self, slots: NDArray[np.int64], subjects: dict[int, Shared]) -> None:
        """Take in many new statements at once; those in `subjects` are in `shared` already."""
        self._subjects.update(subjects)
        if len(slots) and slots[0] < self._old_end:
            self._note_again(slots[slots < self._old_end].tolist())

    def unsay(self, slot: int) -> None:
        """A statement is no longer said: it can be found by its id only, if that is known."""
        shared = self._subjects.pop(slot, None)
        if shared is not None:
            del self.shared[shared]
        elif self._own:
            cells = self._rows.cells
            self._own.pop((cells["author"][slot], cells["type"][slot], cells["seq"][slot]), None)

    def forget(self, slot: int) -> None:
        """A statement is gone, after it was unsaid."""
        identity = self.ids.pop(slot, None)
        if identity is not None:
            del self._by_id[identity]

    def _note_again(self, slots: list[int]) -> None:
        """Remember that these were taken again, but not for ever where nobody asks."""
        used = self._rows.used
        for arrears, catch_up in ((self._id_arrears, self._catch_up_ids), (self._own_arrears, self._catch_up_own)):
            arrears.again += [slot for slot in slots if slot < arrears.end]
            if len(arrears.again) > used:
                catch_up()

    def _catch_up_ids(self) -> None:
        generations = self._rows.generations
        for slot in self._id_arrears.settle(self._rows.used):
            if generations[slot] & 1:
                self.id_of(slot)
        self._old_end = self._rows.used

    def _catch_up_own(self) -> None:
        generations, subjects = self._rows.generations, self._subjects
        said = self._own_arrears.settle(self._rows.used)
        own = [slot for slot in said if generations[slot] & 1 and slot not in subjects]
        at = np.array(own, np.int64)
        keys = (self._rows[name][at].tolist() for name in ("author", "type", "seq"))
        self._own.update(zip(zip(*keys, strict=True), own, strict=True))
        self._old_end = self._rows.used
