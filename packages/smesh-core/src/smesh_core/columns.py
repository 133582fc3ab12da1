"""Columns: rows stored as one array per attribute, with a free list and generations.

A row is named by its slot. A freed slot is used again, with a higher generation, so a name made of both never means
another row. Arrays are replaced when the table grows: ask for a column each time, never keep one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import DTypeLike, NDArray

__all__ = ["NO_ROW", "Columns", "chain", "prepend", "unlink"]

NO_ROW: Final = -1
"""Ends a chain of rows."""

_ROWS_AT_START: Final = 64


class Columns:
    """A growing table of columns of equal length.

    Args:
        dtypes: name to dtype of each column; a column of dtype object holds Python values.
    """

    def __init__(self, dtypes: Mapping[str, DTypeLike]) -> None:
        self._columns: dict[str, NDArray[Any]] = {
            name: np.zeros(_ROWS_AT_START, dtype) for name, dtype in dtypes.items()
        }
        self._alive = np.zeros(_ROWS_AT_START, bool)
        self._generation = np.zeros(_ROWS_AT_START, np.int64)
        self._free: list[int] = []
        self._used = 0

    def __len__(self) -> int:
        return self._used - len(self._free)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """The column called `name`, shape (slots,); rows that are not alive hold zeros or leftovers."""
        return self._columns[name]

    def allocate(self, **values: object) -> int:
        """Fill a free slot, an old one first, and return it; every column needs a value."""
        if self._free:
            slot = self._free.pop()
        else:
            slot = self._used
            if slot == len(self._alive):
                self._grow()
            self._used += 1
        self._alive[slot] = True
        for name, value in values.items():
            self._columns[name][slot] = value
        return slot

    def free(self, slot: int) -> None:
        """Give a slot back; its generation rises, and Python values in it are let go."""
        self._alive[slot] = False
        self._generation[slot] += 1
        for column in self._columns.values():
            if column.dtype == object:
                column[slot] = None
        self._free.append(slot)

    def generation(self, slot: int) -> int:
        """How many rows this slot has held before."""
        return int(self._generation[slot])

    def renew(self, slot: int) -> None:
        """Raise the generation of a row that stays, so that names given out for it no longer hold."""
        self._generation[slot] += 1

    def holds(self, slot: int, generation: int) -> bool:
        """Whether the row that was named so is still there."""
        return 0 <= slot < self._used and bool(self._alive[slot]) and self._generation[slot] == generation

    def rows(self) -> NDArray[np.int64]:
        """Slots of all rows that are alive, ascending, shape (rows,)."""
        return np.flatnonzero(self._alive[: self._used])

    def _grow(self) -> None:
        size = 2 * len(self._alive)
        for name, column in self._columns.items():
            self._columns[name] = _resized(column, size)
        self._alive = _resized(self._alive, size)
        self._generation = _resized(self._generation, size)


def _resized(column: NDArray[Any], size: int) -> NDArray[Any]:
    longer = np.zeros(size, column.dtype)
    longer[: len(column)] = column
    return longer


def chain(rows: Columns, first: int) -> Iterator[int]:
    """Slots of a chain in `rows`, from its first; the row just given may be unlinked."""
    slot = first
    while slot != NO_ROW:
        following = int(rows["next"][slot])
        yield slot
        slot = following


def prepend(rows: Columns, slot: int, heads: Columns, head: int, first: str) -> None:
    """Put a row at the front of the chain whose first slot is in column `first` of `heads`."""
    old = int(heads[first][head])
    rows["next"][slot], rows["previous"][slot] = old, NO_ROW
    if old != NO_ROW:
        rows["previous"][old] = slot
    heads[first][head] = slot


def unlink(rows: Columns, slot: int, heads: Columns, head: int, first: str) -> None:
    """Take a row out of its chain."""
    before, after = int(rows["previous"][slot]), int(rows["next"][slot])
    if before == NO_ROW:
        heads[first][head] = after
    else:
        rows["next"][before] = after
    if after != NO_ROW:
        rows["previous"][after] = before
