"""A sheet of character cells to draw on: rich prints it line by line, and what would stand beyond its edges is cut off.

Every character that is put on it must be one column wide.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.segment import Segment
from rich.style import Style

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import Console, ConsoleOptions, RenderResult

__all__ = ["Canvas", "blend"]


class Canvas:
    """Columns and rows of cells, each with a character and a style; at first all blank.

    Args:
        columns: 1 or more.
        rows: 1 or more.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self._characters = np.full((rows, columns), " ", "<U1")
        self._styles = np.zeros((rows, columns), np.int32)
        self._numbers = {"": 0}

    def put(self, column: int, row: int, text: str, style: str = "") -> int:
        """Write text from a cell on; returns the column after it."""
        end = column + len(text)
        first, last = max(0, column), min(end, self.columns)
        if 0 <= row < self.rows and first < last:
            self._characters[row, first:last] = list(text[first - column : last - column])
            self._styles[row, first:last] = self.number(style)
        return end

    def number(self, style: str) -> int:
        """The number that stands for a style in `fill`."""
        return self._numbers.setdefault(style, len(self._numbers))

    def fill(self, column: int, row: int, characters: NDArray[np.str_], styles: NDArray[np.integer[Any]]) -> None:
        """Write a block from a cell on: characters, and numbers of styles, both of shape (rows, columns)."""
        height, width = characters.shape
        height, width = min(height, self.rows - row), min(width, self.columns - column)
        if height > 0 and width > 0:
            self._characters[row : row + height, column : column + width] = characters[:height, :width]
            self._styles[row : row + height, column : column + width] = styles[:height, :width]

    def lines(self) -> list[str]:
        """What it shows, without styles."""
        return ["".join(row).rstrip() for row in self._characters.tolist()]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield each line as runs of one style; no more of them than there is room for now."""
        names = list(self._numbers)
        height = min(self.rows, options.height or self.rows)
        for row in range(height):
            characters, styles = self._characters[row], self._styles[row]
            ends = [*(np.flatnonzero(np.diff(styles)) + 1).tolist(), self.columns]
            first = 0
            for end in ends:
                yield Segment("".join(characters[first:end].tolist()), _style(names[styles[first]]))
                first = end
            if row + 1 < height:
                yield Segment.line()


@cache
def _style(name: str) -> Style:
    return Style.parse(name)


@cache
def blend(low: str, high: str, part: float) -> str:
    """The colour (#rrggbb) so far on the way from one to another, in [0, 1]."""
    ends = ((int(low[at : at + 2], 16), int(high[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{round(first + (last - first) * part):02x}" for first, last in ends)
