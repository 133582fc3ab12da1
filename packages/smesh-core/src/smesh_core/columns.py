"""Columns: rows of numbers in one block of memory, a Python value beside each, a free list and generations.

A row is one packed record, so that writing it is one call; a column is a strided view of all records, so that a
million rows are read with one. A row is named by its slot. A freed slot is used again, with a higher generation, so a
name made of both never means another row. Memory is replaced when the table grows: ask for a column each time, never
keep one.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import DTypeLike, NDArray

__all__ = ["NO_ROW", "Columns", "chain", "unlink"]

NO_ROW: Final = -1
"""Ends a chain of rows."""

_ROWS_AT_START: Final = 64
_FRESH_AT_ONCE: Final = 64
_BLOCK: Final = 4096


class Columns:
    """A growing table of records of equal layout.

    Whole columns are read as arrays, by ``table[name]``; single numbers are read and written through
    ``table.cells[name][slot]``, which is a view of the same memory that takes and gives Python numbers, at a third of
    what an array asks for one; whole records with ``table.record``, at ``slot * table.stride`` of ``table.memory``.

    Attributes:
        values: the Python value of each slot.
        generations: the generation of each slot.
        is_listed: whether `rows` lists a slot; a taken slot may be unlisted.
        free_slots: slots that are at hand to be taken.
        used: slots that are taken or at hand, or were, are those below this.

    Args:
        dtypes: name to dtype of each column, the widest first.
    """

    def __init__(self, dtypes: Mapping[str, DTypeLike]) -> None:
        dtype = np.dtype([(name, np.dtype(kind)) for name, kind in dtypes.items()], align=True)
        self.record = struct.Struct("@" + "".join(np.dtype(kind).char for kind in dtypes.values()))
        self.stride = dtype.itemsize
        if not 0 <= self.stride - self.record.size < dtype.alignment:
            raise AssertionError("the record and the columns differ in layout")
        self.values: list[Any] = []
        self.generations: list[int] = []
        self.used = 0
        self.free_slots: list[int] = []
        self._table = np.zeros(0, dtype)
        self._listed = np.zeros(0, bool)
        self._grow(_ROWS_AT_START)

    def __len__(self) -> int:
        """Slots that are taken."""
        return self.used - len(self.free_slots)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """The column called `name`, shape (slots,); slots that are not taken hold leftovers."""
        column: NDArray[Any] = self._table[name]
        return column

    def take(self) -> int:
        """A free slot, an old one first; it is not listed, and holds leftovers until it is written."""
        free = self.free_slots
        if not free:
            end = self.used + _FRESH_AT_ONCE
            if end > len(self.values):
                self._grow(2 * len(self.values))
            free.extend(range(end - 1, self.used - 1, -1))
            self.used = end
        return free.pop()

    def take_many(self, count: int) -> NDArray[np.int64]:
        """As many free slots, old ones first, ascending, shape (count,); not listed, and holding leftovers."""
        at = max(0, len(self.free_slots) - count)
        old = sorted(self.free_slots[at:])
        del self.free_slots[at:]
        end = self.used + count - len(old)
        if end > len(self.values):
            self._grow(max(2 * len(self.values), -(-end // _FRESH_AT_ONCE) * _FRESH_AT_ONCE))
        slots = np.concatenate([np.array(old, np.int64), np.arange(self.used, end)])
        self.used = end
        return slots

    def give_back(self, slots: list[int]) -> None:
        """Return slots that were taken and not written."""
        self.free_slots += slots

    def free(self, slot: int) -> None:
        """Give a slot back; its generation rises to the next even one, and its value is let go."""
        self.is_listed[slot] = False
        self.generations[slot] = (self.generations[slot] | 1) + 1
        self.values[slot] = None
        self.free_slots.append(slot)

    def holds(self, slot: int, generation: int) -> bool:
        """Whether the listed row that was named so is still there."""
        return 0 <= slot < self.used and self.generations[slot] == generation and bool(self.is_listed[slot])

    def rows(self) -> NDArray[np.int64]:
        """All listed slots, ascending, shape (rows,)."""
        return np.flatnonzero(self._listed[: self.used])

    def are_listed(self, slots: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these slots are listed, shape (slots,)."""
        listed: NDArray[np.bool_] = self._listed[slots]
        return listed

    def write_many(self, slots: NDArray[np.int64], columns: Mapping[str, Any], values: Sequence[Any]) -> None:
        """Fill and list rows (ascending slots), with one number or an array of them for each column."""
        for part, at in _blocks(slots):
            # By block, so that a record is still at hand when its next column is written.
            for name, given in columns.items():
                self._table[name][at] = given[part] if isinstance(given, np.ndarray) else given
            self._listed[at] = True
            if isinstance(at, slice):
                self.values[at] = values[part]
            else:
                for slot, value in zip(at.tolist(), values[part], strict=True):
                    self.values[slot] = value

    def renew_many(self, slots: NDArray[np.int64]) -> None:
        """Raise the generations of rows that are written anew."""
        for slot in slots.tolist():
            self.generations[slot] += 2

    def name_many(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Raise the generations of these slots (ascending) by one; what they are then, shape (slots,)."""
        raised = np.ones(len(slots), np.int64)
        for part, at in _blocks(slots):
            if isinstance(at, slice) and not any(self.generations[at]):
                self.generations[at] = [1] * (at.stop - at.start)
            else:
                for number, slot in enumerate(slots[part].tolist(), start=part.start):
                    self.generations[slot] += 1
                    raised[number] = self.generations[slot]
        return raised

    def _grow(self, size: int) -> None:
        held, more = len(self.values), size - len(self.values)
        table, listed = np.zeros(size, self._table.dtype), np.zeros(size, bool)
        table[:held], listed[:held] = self._table, self._listed
        self._table, self._listed = table, listed
        self.values += [None] * more
        self.generations += [0] * more
        self.memory = self._table.view(np.uint8).data
        self.is_listed = self._listed.data
        self.cells = {name: self._table[name].data for name in self._table.dtype.names or ()}


def _blocks(slots: NDArray[np.int64]) -> Iterator[tuple[slice, slice | NDArray[np.int64]]]:
    """Ascending slots in parts: which of them, and where that is, a slice if nothing is left out between."""
    for start in range(0, len(slots), _BLOCK):
        block = slots[start : start + _BLOCK]
        first, end = int(block[0]), int(block[-1]) + 1
        yield slice(start, start + len(block)), slice(first, end) if end - first == len(block) else block


def chain(rows: Columns, first: int) -> Iterator[int]:
    """Slots of a chain in `rows`, from its first; the row just given may be unlinked."""
    slot = first
    while slot != NO_ROW:
        following = rows.cells["next"][slot]
        yield slot
        slot = following


def unlink(rows: Columns, slot: int, heads: Columns, head: int, first: str) -> None:
    """Take a row out of its chain."""
    following, previous = rows.cells["next"], rows.cells["previous"]
    before, after = previous[slot], following[slot]
    if before == NO_ROW:
        heads.cells[first][head] = after
    else:
        following[before] = after
    if after != NO_ROW:
        previous[after] = before
