"""Columns: rows stored as one array per attribute, with a free list and generations.

A row is named by its slot. A freed slot is used again, with a higher generation, so a name made of both never means
another row. Arrays and cells are replaced when the table grows: ask for a column each time, never keep one.
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

    Whole columns are read as arrays, by ``table[name]``; single values are read and written through
    ``table.cells[name][slot]``, which is a view of the same memory that takes and gives Python numbers, at a third of
    what an array asks for one.

    Args:
        dtypes: name to dtype of each column; a column of dtype object is a list of Python values.
    """

    def __init__(self, dtypes: Mapping[str, DTypeLike]) -> None:
        self._objects: dict[str, list[Any]] = {name: [] for name, dtype in dtypes.items() if dtype is object}
        self._arrays: dict[str, NDArray[Any]] = {
            name: np.zeros(_ROWS_AT_START, dtype) for name, dtype in dtypes.items() if dtype is not object
        }
        self._alive = np.zeros(_ROWS_AT_START, bool)
        self._generations: list[int] = []
        self._free: list[int] = []
        self.cells: dict[str, Any] = {}
        self._view()

    def __len__(self) -> int:
        return len(self._generations) - len(self._free)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """The numeric column called `name`, shape (slots,); rows that are not alive hold leftovers."""
        return self._arrays[name]

    def allocate(self, **values: object) -> int:
        """Fill a free slot, an old one first, and return it; every column needs a value."""
        if self._free:
            slot = self._free.pop()
        else:
            slot = len(self._generations)
            if slot == len(self._alive):
                self._grow()
            self._generations.append(0)
            for column in self._objects.values():
                column.append(None)
        self._is_alive[slot] = True
        cells = self.cells
        for name, value in values.items():
            cells[name][slot] = value
        return slot

    def free(self, slot: int) -> None:
        """Give a slot back; its generation rises, and Python values in it are let go."""
        self._is_alive[slot] = False
        self._generations[slot] += 1
        for column in self._objects.values():
            column[slot] = None
        self._free.append(slot)

    def generation(self, slot: int) -> int:
        """How many rows this slot has held before."""
        return self._generations[slot]

    def renew(self, slot: int) -> None:
        """Raise the generation of a row that stays, so that names given out for it no longer hold."""
        self._generations[slot] += 1

    def holds(self, slot: int, generation: int) -> bool:
        """Whether the row that was named so is still there."""
        known = self._generations
        return 0 <= slot < len(known) and known[slot] == generation and bool(self._is_alive[slot])

    def rows(self) -> NDArray[np.int64]:
        """Slots of all rows that are alive, ascending, shape (rows,)."""
        return np.flatnonzero(self._alive[: len(self._generations)])

    def _grow(self) -> None:
        size = 2 * len(self._alive)
        self._arrays = {name: _resized(column, size) for name, column in self._arrays.items()}
        self._alive = _resized(self._alive, size)
        self._view()

    def _view(self) -> None:
        self._is_alive = self._alive.data
        self.cells = {name: column.data for name, column in self._arrays.items()} | self._objects


def _resized(column: NDArray[Any], size: int) -> NDArray[Any]:
    longer = np.zeros(size, column.dtype)
    longer[: len(column)] = column
    return longer


def chain(rows: Columns, first: int) -> Iterator[int]:
    """Slots of a chain in `rows`, from its first; the row just given may be unlinked."""
    slot = first
    while slot != NO_ROW:
        following = rows.cells["next"][slot]
        yield slot
        slot = following


def prepend(rows: Columns, slot: int, heads: Columns, head: int, first: str) -> None:
    """Put a row at the front of the chain whose first slot is in column `first` of `heads`."""
    firsts, following, previous = heads.cells[first], rows.cells["next"], rows.cells["previous"]
    old = firsts[head]
    following[slot], previous[slot] = old, NO_ROW
    if old != NO_ROW:
        previous[old] = slot
    firsts[head] = slot


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
