"""Where the nodes of a network are drawn, and how a few characters show a line: numbers in, positions and text out.

A small network is drawn as a **graph**, each node in a character cell of its own with the hyphae between them. A larger
one is a **mosaic** of squares: one or more for each node, or, where there are more nodes than squares, one for so many
nodes that stand next to each other. Everything here is a function of the topology and the size, without chance.

Rings, small worlds and full meshes are a circle as a graph, and as a mosaic are wound through the area in bands, so
that a stretch of the ring stays in one place. A grid is a grid. Scale-free and random networks are laid out by forces
as a graph (Fruchterman and Reingold 1991, from a fixed start), and by degree as a mosaic, hubs in the middle.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from smesh_core.topology import Topology

__all__ = ["Graph", "Mosaic", "braille", "curve_dots", "graph_of", "line_dots", "mosaic_of", "sparkline"]

Cells: TypeAlias = "NDArray[np.int64]"

_CIRCULAR: Final = frozenset({"ring", "small-world", "full-mesh"})
_SPRINGS_NODES_MAX: Final = 200
_SPRING_ROUNDS: Final = 150
_CELLS_PER_NODE: Final = 6
"""Room that nodes need to be told apart, with the hyphae between them."""
_BAND: Final = 8
_GOLDEN_ANGLE: Final = math.pi * (3.0 - math.sqrt(5.0))
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_ASCII_BLOCKS: Final = "_.-=+*#@"
_BRAILLE: Final = 0x2800
_DOT_BITS: Final = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], np.uint8)
"""Of a dot's row and column within its cell, the bit that is its in a braille character."""


class Graph(NamedTuple):
    """Each node in a cell of its own: column and row, shape (nodes, 2)."""

    cells: Cells


class Mosaic(NamedTuple):
    """Squares that stand for nodes.

    Attributes:
        squares: the place that each square shows, -1 for none; shape (rows, columns).
        place_of: the place of each node, shape (nodes,).
        places: how many there are.
    """

    squares: Cells
    place_of: Cells
    places: int


# ---- small networks


def graph_of(topology: Topology, columns: int, rows: int) -> Graph | None:
    """Cells for the nodes of a network that is small enough to be drawn as a graph; else None."""
    nodes = topology.node_count
    if nodes * _CELLS_PER_NODE > columns * rows or columns < 8 or rows < 4:
        return None
    if topology.kind == "grid":
        width = _grid_width(topology)
        height = -(-nodes // width)
        if 2 * width > columns or height > rows:
            return None
        step_x, step_y = min(6, (columns - 1) // max(1, width - 1)), min(3, (rows - 1) // max(1, height - 1))
        left, top = (columns - 1 - step_x * (width - 1)) // 2, (rows - 1 - step_y * (height - 1)) // 2
        each = np.arange(nodes)
        return Graph(np.stack([left + each % width * step_x, top + each // width * step_y], axis=1))
    if topology.kind in _CIRCULAR:
        if nodes > columns + rows:  # about as many cells as a circle passes
            return None
        angle = 2 * math.pi * np.arange(nodes) / nodes
        unit = np.stack([0.5 + 0.5 * np.sin(angle), 0.5 - 0.5 * np.cos(angle)], axis=1)
    else:
        if nodes > _SPRINGS_NODES_MAX:
            return None
        unit = _by_springs(topology)
    return Graph(_apart(np.rint(unit * (columns - 1, rows - 1)).astype(np.int64), columns, rows))


def _by_springs(topology: Topology) -> NDArray[np.float64]:
    """Positions in the unit square: nodes repel each other, hyphae pull theirs together."""
    nodes = topology.node_count
    at = _sunflower(_by_degree(topology))
    if nodes == 1:
        return at
    sources, targets = topology.sources(), topology.targets
    ideal = math.sqrt(1.0 / nodes)
    for step in np.linspace(0.1, 0.002, _SPRING_ROUNDS):
        apart = at[:, None, :] - at[None, :, :]
        square = np.maximum((apart**2).sum(axis=2), 1e-6)
        push = (apart * (ideal**2 / square)[:, :, None]).sum(axis=1)
        along = at[targets] - at[sources]
        pull = along * (np.sqrt((along**2).sum(axis=1)) / ideal)[:, None]
        for axis in (0, 1):
            push[:, axis] += np.bincount(sources, pull[:, axis], nodes)
        push += 0.5 - at  # parts that no hypha joins would drift away for good
        length = np.maximum(np.sqrt((push**2).sum(axis=1)), 1e-9)
        at = at + push * (np.minimum(length, step) / length)[:, None]
    low, high = at.min(axis=0), at.max(axis=0)
    spread: NDArray[np.float64] = (at - low) / np.maximum(high - low, 1e-9)
    return spread


def _sunflower(order: Cells) -> NDArray[np.float64]:
    """Positions in the unit square, the first of the order in the middle, the others around it as seeds grow."""
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    radius, angle = 0.5 * np.sqrt((rank + 0.5) / len(order)), rank * _GOLDEN_ANGLE
    return np.stack([0.5 + radius * np.cos(angle), 0.5 + radius * np.sin(angle)], axis=1)


def _apart(cells: Cells, columns: int, rows: int) -> Cells:
    """The same cells, but where two nodes share one the later goes to the nearest that is free."""
    reach = np.arange(-4, 5)
    steps = np.stack(np.meshgrid(reach, reach), axis=2).reshape(-1, 2)
    steps = steps[np.argsort(steps[:, 0] ** 2 + 4 * steps[:, 1] ** 2, kind="stable")].tolist()
    taken: set[tuple[int, int]] = set()
    for node, (x, y) in enumerate(cells.tolist()):
        near = ((x + dx, y + dy) for dx, dy in steps if 0 <= x + dx < columns and 0 <= y + dy < rows)
        cells[node] = next((cell for cell in near if cell not in taken), (x, y))
        taken.add((int(cells[node, 0]), int(cells[node, 1])))
    return cells


# ---- large networks


def mosaic_of(topology: Topology, columns: int, rows: int) -> Mosaic:
    """Squares for any number of nodes; `columns` and `rows` are 1 or more."""
    if topology.kind == "grid":
        return _grid_mosaic(topology, columns, rows)
    if topology.kind in _CIRCULAR:
        return _along(np.arange(topology.node_count), _in_bands(columns, rows), columns, rows)
    return _along(_by_degree(topology), _from_the_middle(columns, rows), columns, rows)


def _along(order: Cells, path: Cells, columns: int, rows: int) -> Mosaic:
    """Nodes in this order laid along a path through all squares, evenly."""
    nodes, squares = len(order), len(path)
    rank = np.empty(nodes, np.int64)
    rank[order] = np.arange(nodes)
    shown = np.empty(squares, np.int64)
    if nodes <= squares:
        shown[path] = np.arange(squares) * nodes // squares
        return Mosaic(shown.reshape(rows, columns), rank, nodes)
    shown[path] = np.arange(squares)
    return Mosaic(shown.reshape(rows, columns), rank * squares // nodes, squares)


def _grid_mosaic(topology: Topology, columns: int, rows: int) -> Mosaic:
    nodes, width = topology.node_count, _grid_width(topology)
    height = -(-nodes // width)
    scale = min(columns / width, rows / height)
    across, down = max(1, int(width * scale)), max(1, int(height * scale))
    each = np.arange(nodes)
    place_x, shown_x, places_x = _scaled(each % width, width, across)
    place_y, shown_y, places_y = _scaled(each // width, height, down)
    squares = np.full((rows, columns), -1, np.int64)
    left, top = (columns - across) // 2, (rows - down) // 2
    squares[top : top + down, left : left + across] = shown_y[:, None] * places_x + shown_x[None, :]
    place_of = place_y * places_x + place_x
    is_used = np.zeros(places_x * places_y, bool)
    is_used[place_of] = True
    squares[~is_used[squares]] = -1  # beyond the end of a last row that is not full
    return Mosaic(squares, place_of, places_x * places_y)


def _scaled(at: Cells, length: int, squares: int) -> tuple[Cells, Cells, int]:
    """Along one side of a grid: places of nodes, places that squares show, and how many places there are."""
    if length <= squares:
        return at, np.arange(squares) * length // squares, length
    return at * squares // length, np.arange(squares), squares


def _in_bands(columns: int, rows: int) -> Cells:
    """Squares as a path: through bands some rows high, down one column and up the next, to and fro."""
    bands = max(1, round(rows / _BAND))
    edges = [band * rows // bands for band in range(bands + 1)]
    path: list[Cells] = []
    is_down = True
    for band, (top, bottom) in enumerate(pairwise(edges)):
        for column in range(columns) if band % 2 == 0 else range(columns - 1, -1, -1):
            stretch = np.arange(top, bottom) * columns + column
            path.append(stretch if is_down else stretch[::-1])
            is_down = not is_down
        is_down = True
    return np.concatenate(path)


def _from_the_middle(columns: int, rows: int) -> Cells:
    """Squares by their distance from the middle, as an ellipse that touches the edges."""
    y, x = np.divmod(np.arange(columns * rows), columns)
    dx, dy = (2 * x + 1 - columns) / columns, (2 * y + 1 - rows) / rows
    return np.lexsort((np.arctan2(dy, dx), np.round(dx**2 + dy**2, 6)))


def _by_degree(topology: Topology) -> Cells:
    """Nodes, those with most hyphae first."""
    return np.argsort(-topology.degrees, kind="stable")


def _grid_width(topology: Topology) -> int:
    """How many columns a grid has: node 0 is joined to the one beside it, and to the one below it."""
    near = topology.neighbours(0)
    return int(near[1]) if len(near) > 1 else topology.node_count


# ---- lines


def line_dots(begins: Cells, ends: Cells) -> Cells:
    """Dots of straight lines between points (lines, 2), counted in dots; shape (dots, 2)."""
    if not len(begins):
        return np.zeros((0, 2), np.int64)
    steps = int(np.abs(ends - begins).max()) + 1
    part = np.linspace(0.0, 1.0, steps + 1)[None, :, None]
    return np.rint(begins[:, None, :] + (ends - begins)[:, None, :] * part).astype(np.int64).reshape(-1, 2)


def curve_dots(values: NDArray[np.float64], columns: int, rows: int) -> Cells:
    """Dots of a curve through values in [0, 1] that are spread over the width; `columns` and `rows` count dots."""
    if not len(values):
        return np.zeros((0, 2), np.int64)
    across = np.arange(columns)
    at = np.minimum(across * len(values) // columns, len(values) - 1) if len(values) > columns else None
    heights = (
        values[at]
        if at is not None
        else np.interp(across / max(1, columns - 1) * (len(values) - 1), np.arange(len(values)), values)
    )
    y = np.rint((1.0 - heights) * (rows - 1)).astype(np.int64)
    points = np.stack([across, y], axis=1)
    return points if len(points) == 1 else line_dots(points[:-1], points[1:])


def braille(dots: Cells, columns: int, rows: int) -> NDArray[np.uint8]:
    """Which dots of each cell are set, as bits of its braille character (from 0x2800 on); shape (rows, columns)."""
    cells = np.zeros(columns * rows, np.uint8)
    inside = dots[(dots[:, 0] >= 0) & (dots[:, 0] < 2 * columns) & (dots[:, 1] >= 0) & (dots[:, 1] < 4 * rows)]
    x, y = inside[:, 0], inside[:, 1]
    np.bitwise_or.at(cells, y // 4 * columns + x // 2, _DOT_BITS[y % 4, x % 2])
    return cells.reshape(rows, columns)


def sparkline(values: Sequence[float], width: int, *, plain: bool = False) -> str:
    """Values from 0 to their highest as one line of blocks, at most `width` long; empty where there are none."""
    if not values:
        return ""
    marks = _ASCII_BLOCKS if plain else _BLOCKS
    width = min(width, len(values))
    shown = [values[(place + 1) * len(values) // width - 1] for place in range(width)]
    highest = max(shown)
    return "".join(marks[int(value / highest * (len(marks) - 1) + 0.5) if highest else 0] for value in shown)
