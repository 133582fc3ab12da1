"""The frames of the live view: the network, how far its signals got, and what they have come to.

A node lights up as a signal reaches it, in the signal's colour, as bright as the strongest that is felt there now. Of
a network that is small enough its hyphae are drawn, and those that signals came along since the last frame stand out.
Without colours, and beside them, the size of a mark says how strong.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from smesh_cli import sketch
from smesh_cli.canvas import Canvas, blend
from smesh_cli.following import Follower, totals

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from smesh_core.network import Network
    from smesh_core.simulation import Scenario

    from smesh_cli.following import Glimpse, Totals

__all__ = ["Picture"]

_HUES: Final = ("#ffb000", "#56b4e9", "#00c08b", "#f0e442", "#e07bd0", "#ff7043", "#8f9dff")
"""Told apart with most kinds of colour blindness; after Okabe and Ito, brighter."""
_DARK, _DOWN, _CUT, _HYPHA = "#22262f", "#6a2230", "#223760", "#39404d"
_FELT_MIN: Final = 0.003
"""Weaker than this is as good as nothing."""
_UNLIT: Final = "#6b7280"
_STATES: Final = {"reached": "green", "rejected": "red", "open": "yellow"}
_LEVELS: Final = 5
_TONES: Final = 9
"""Steps of strength that marks and colours show."""
_MARKS: Final = ("·∘•●●●", "▫▫▪■■■", "×")  # noqa: RUF001
_PLAIN_MARKS: Final = (".oooOO", ",+++##", "x")
"""By how strong a signal is felt: of nodes on the first side of a partition, of others, and of those that are down."""
_SHADES, _PLAIN_SHADES = " ·░▒▓█", " .-+*#"
_SIDE_COLUMNS_MIN, _SIDE_COLUMNS_MAX = 41, 56
_VERDICTS_MAX: Final = 20_000
"""Signals up to which their consensus is read for every frame."""
_WIDE_COLUMNS, _WIDE_ROWS = 80, 17
_NARROW: Final = ((26, 14), (15, 6), (9, 3), (5, 1))
"""Rows that there are at least, and how many of them go to text below the network."""


class _Marks(NamedTuple):
    """Characters for a terminal that knows them all, or only ASCII."""

    near: str
    far: str
    down: str
    shades: str
    line: str
    bar: str
    rest: str


_RICH: Final = _Marks(*_MARKS, _SHADES, "━", "█", "░")
_PLAIN: Final = _Marks(*_PLAIN_MARKS, _PLAIN_SHADES, "=", "#", ".")


class Picture:
    """Draws a run, frame by frame, for any size of terminal.

    Args:
        scenario: what is run.
        ticks_per_s: the pace, to be shown; 0 for none.
        has_colours: whether the terminal shows colours.
        is_plain: whether it knows only ASCII.
    """

    def __init__(self, scenario: Scenario, *, ticks_per_s: float, has_colours: bool, is_plain: bool) -> None:
        self._scenario = scenario
        self._ticks_per_s = ticks_per_s
        self._has_colours = has_colours
        self._marks = _PLAIN if is_plain else _RICH
        self._is_plain = is_plain
        self._frames = 0
        self._network: Network | None = None
        self._drawing: _Drawing | None = None
        self._coverage: list[tuple[int, float]] = [(0, 0.0)]

    def follow(self, network: Network) -> None:
        """Draw this network from now on."""
        self._network, self._drawing = network, None

    def frame(self, columns: int, rows: int, *, phase: str = "") -> Canvas:
        """The whole picture as it is now, for a terminal of this size."""
        canvas = Canvas(columns, rows)
        self._frames += 1
        self._head(canvas, phase)
        if self._network is None:
            return canvas
        counts = totals(self._network)
        if self._network.tick > self._coverage[-1][0]:
            self._coverage.append((self._network.tick, counts.coverage))
        if columns >= _WIDE_COLUMNS and rows >= _WIDE_ROWS:
            self._wide(canvas, counts)
        else:
            self._narrow(canvas, counts)
        return canvas

    # ---- how the parts share the room

    def _wide(self, canvas: Canvas, counts: Totals) -> None:
        """The network on the left, all else on the right."""
        width = max(_SIDE_COLUMNS_MIN, min(_SIDE_COLUMNS_MAX, canvas.columns * 2 // 5))
        side = canvas.columns - width
        glimpse = self._nodes(canvas, 1, 3, side - 4, canvas.rows - 5)
        chart = max(3, min(8, (canvas.rows - 11) // 3))
        self._chart(canvas, side, 3, width - 1, chart)
        at = 6 + chart
        for row, cells in enumerate(self._counters(counts)):
            for column, (name, value, style) in enumerate(cells):
                self._counter(canvas, side + column * (width // 2), at + row, name, value, style, width // 2 - 2)
        at += 5
        self._bars(canvas, glimpse, side, at, width - 1, canvas.rows - at - 1)

    def _narrow(self, canvas: Canvas, counts: Totals) -> None:
        """One below the other, what matters most first."""
        columns, rows = canvas.columns, canvas.rows
        below = next((taken for least, taken in _NARROW if rows >= least), 0)
        top = 2 if rows >= 6 else 1
        height = rows - top - below - (1 if rows >= 9 else 0)
        glimpse = self._nodes(canvas, 0, top, columns, height, captioned=rows >= 9) if height > 0 else None
        at = rows - below
        if below:
            said = f"reached {counts.coverage:.1%}, {counts.arrivals:,} arrivals"
            verdicts = self._verdicts()
            if verdicts:
                said += f"; {verdicts['reached']:,} agreed, {verdicts['rejected']:,} rejected"
            canvas.put(0, at, said, "bold")
        if below >= 3:
            copies = counts.copies / counts.arrivals if counts.arrivals else 0.0
            canvas.put(0, at + 1, f"{counts.emitted:,} emitted, {copies:.2f} copies an arrival, {counts.lost:,} lost")
            said = f"{counts.reinforced:,} reinforced, {counts.inhibited:,} inhibited"
            canvas.put(0, at + 2, said + (f", {counts.down:,} nodes down" if counts.down else ""))
        if below >= 6:
            self._chart(canvas, 0, at + 3, columns, 2 if below < 14 else 4, titled=False)
        if below >= 14 and glimpse is not None:
            self._bars(canvas, glimpse, 0, at + 8, columns, 6)

    # ---- parts

    def _head(self, canvas: Canvas, phase: str) -> None:
        scenario, network = self._scenario, self._network
        what = f"{scenario.topology.replace('-', ' ')}, {_many(scenario.nodes, 'node')}"
        if network is not None:
            what += f", {_many(network.topology.hypha_count, 'hypha', 'hyphae')}"
        end = canvas.put(canvas.put(0, 0, "smesh sim  ", "bold cyan"), 0, f"{what}, seed {scenario.seed}")
        tick = network.tick if network is not None else 0
        now = f"tick {tick:,}/{scenario.ticks:,}  {_seconds(tick * scenario.tick_s)}"
        if self._ticks_per_s and canvas.columns >= 100:
            now += f"  {self._ticks_per_s:.3g} ticks/s"
        if canvas.rows < 4 or end + len(now) + 2 > canvas.columns:
            canvas.put(0, 0, now.ljust(canvas.columns), "bold")
        else:
            canvas.put(canvas.columns - len(now), 0, now, "bold")
        if phase:
            spinner = "|/-\\" if self._is_plain else "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
            text = f" {spinner[self._frames % len(spinner)]} {phase} "
            canvas.put(0, 1, text.ljust(canvas.columns), "yellow")
        elif canvas.rows >= 6:
            done = min(canvas.columns, canvas.columns * tick // scenario.ticks)
            canvas.put(canvas.put(0, 1, self._marks.line * done, "cyan"), 1, self._rest(canvas.columns - done), "dim")

    def _rest(self, columns: int) -> str:
        return ("-" if self._is_plain else "─") * columns

    def _nodes(
        self, canvas: Canvas, column: int, row: int, columns: int, rows: int, *, captioned: bool = True
    ) -> Glimpse | None:
        """The network itself."""
        if self._network is None or columns < 1 or rows < 1:
            return None
        if self._drawing is None or self._drawing.size != (columns, rows):
            kind = _GraphDrawing if sketch.graph_of(self._network.topology, columns, rows) else _MosaicDrawing
            self._drawing = kind(self._network, (columns, rows), self._marks, has_colours=self._has_colours)
        glimpse = self._drawing.draw(canvas, column, row)
        if captioned:
            said = self._drawing.caption
            if glimpse.unfollowed:
                said += f"; of {glimpse.unfollowed + len(glimpse.live):,} live signals the newest {len(glimpse.live)}"
            canvas.put(column, row + rows, said[:columns], "dim")
        return glimpse

    def _chart(self, canvas: Canvas, column: int, row: int, columns: int, rows: int, *, titled: bool = True) -> None:
        """Coverage over time, from nothing to the highest so far, with the time of failures and partitions marked."""
        scenario, ticks = self._scenario, self._scenario.ticks
        highest = max(coverage for _, coverage in self._coverage)
        if titled:
            end = canvas.put(column, row, "coverage ", "bold")
            canvas.put(
                end, row, f"{_percent(self._coverage[-1][1])}, mean over {_many(scenario.signals, 'signal')}", "dim"
            )
            row += 1
        scale = 1.0 if highest > 0.2 else max(highest * 1.25, 1e-9)
        label = f"{_percent(scale):>5} "
        canvas.put(column, row, label, "dim")
        left, width = column + len(label), columns - len(label)
        if width < 2:
            return
        if rows > 1:
            canvas.put(column, row + rows - 1, "   0% ", "dim")
        at = np.array([tick for tick, _ in self._coverage])
        values = np.array([coverage for _, coverage in self._coverage]) / scale
        dots = max(1, 2 * width * int(at[-1]) // ticks)
        across = np.arange(dots) * ticks / (2 * width)
        curve = np.interp(across, at, values)
        if self._is_plain:
            y = np.rint((1 - curve[::2]) * (rows - 1)).astype(int).tolist()
            for x, height in enumerate(y[:width]):
                canvas.put(left + x, row + height, "*", "cyan")
        else:
            bits = sketch.braille(sketch.curve_dots(curve, dots, 4 * rows), width, rows)
            _fill_braille(canvas, left, row, bits, "cyan")
        axis = self._rest(width)
        canvas.put(left, row + rows, axis, "dim")
        if scenario.failing or scenario.partitioned:
            begin, end = ticks // 4 * width // ticks, 3 * ticks // 4 * width // ticks
            what = " down " if not scenario.partitioned else " parted " if not scenario.failing else " down, parted "
            canvas.put(
                left + begin, row + rows, what.center(max(0, end - begin), self._marks.line)[: end - begin], "red"
            )

    def _counters(self, counts: Totals) -> list[list[tuple[str, str, str]]]:
        """Rows of (name, value, style)."""
        copies = f"{counts.copies / counts.arrivals:.2f}" if counts.arrivals else "-"
        away = counts.down + counts.cut
        return [
            [("emitted", f"{counts.emitted:,}", ""), ("arrivals", f"{counts.arrivals:,}", "")],
            [("sensed", f"{counts.sensed:,}", ""), ("copies each", copies, "")],
            [("reinforced", f"{counts.reinforced:,}", "green"), ("inhibited", f"{counts.inhibited:,}", "red")],
            [
                ("down, cut off", f"{away:,}", "red" if away else ""),
                ("lost", f"{counts.lost:,}", "red" if counts.lost else ""),
            ],
        ]

    @staticmethod
    def _counter(canvas: Canvas, column: int, row: int, name: str, value: str, style: str, width: int) -> None:
        canvas.put(column, row, name, "dim")
        canvas.put(column + width - len(value), row, value, style or "bold")

    def _verdicts(self) -> dict[str, int]:
        """How many of the signals emitted so far are in which state; empty where there are too many to ask."""
        network = self._network
        if network is None or network.signal_count > _VERDICTS_MAX:
            return {}
        is_out = (network.state.signals["born"] < network.tick).tolist()
        found = {"reached": 0, "rejected": 0, "open": 0}
        for state, is_it in zip(network.verdicts().states, is_out, strict=True):
            found[state.value] += is_it
        return found

    def _bars(self, canvas: Canvas, glimpse: Glimpse | None, column: int, row: int, columns: int, rows: int) -> None:
        """The newest live signals: how strong each still is, where it got, and what consensus says."""
        network = self._network
        if network is None or glimpse is None or rows < 2:
            return
        verdicts = network.verdicts() if network.signal_count <= _VERDICTS_MAX else None
        end = canvas.put(column, row, "signals ", "bold")
        if verdicts is not None:
            found = self._verdicts()
            for state, style in _STATES.items():
                end = canvas.put(end, row, f" {found[state]:,} {state}", style)
        signals = network.state.signals
        room = columns - 20 - (6 if columns >= _SIDE_COLUMNS_MIN - 1 else 0)
        width = max(4, min(24, room))
        newest = list(zip(glimpse.live.tolist(), glimpse.intensity.tolist(), strict=True))[::-1]
        for place, (number, intensity) in enumerate(newest[: rows - 1], start=row + 1):
            hue = _HUES[number % len(_HUES)]
            is_false = signals["against_share"][number] > signals["for_share"][number]
            full = min(width, max(1, round(intensity * width)))
            end = canvas.put(column, place, f"{number:>4} ", hue)
            end = canvas.put(end, place, self._marks.bar * full, hue)
            end = canvas.put(end, place, self._marks.rest * (width - full), _HYPHA)
            end = canvas.put(end, place, f" {_percent(signals['arrivals'][number] / network.node_count):>5}", "")
            if verdicts is not None:
                state = verdicts.states[number].value
                end = canvas.put(end, place, f" {state:<8}", _STATES[state])
            if is_false:
                canvas.put(end, place, " false", "dim")


# ---- the network as a picture


class _Drawing(ABC):
    """Draws the nodes of one network into an area of one size."""

    caption = ""

    def __init__(self, network: Network, size: tuple[int, int], marks: _Marks, *, has_colours: bool) -> None:
        self._network = network
        self.size = size
        self._marks = marks
        self._has_colours = has_colours

    @abstractmethod
    def draw(self, canvas: Canvas, column: int, row: int) -> Glimpse:
        """Draw it with its upper left corner here; gives what was seen."""


class _GraphDrawing(_Drawing):
    """Each node in a cell of its own, and the hyphae between them."""

    def __init__(self, network: Network, size: tuple[int, int], marks: _Marks, *, has_colours: bool) -> None:
        super().__init__(network, size, marks, has_colours=has_colours)
        nodes = network.node_count
        graph = sketch.graph_of(network.topology, *size)
        if graph is None:
            raise AssertionError("a network that does not fit is drawn as a mosaic")
        self._cells = graph.cells
        self._dots = graph.cells * (2, 4) + (0, 1)
        self._follower = Follower(network, np.arange(nodes), nodes, moves_max=4 * nodes)
        self._sources, self._targets = network.topology.sources(), network.topology.targets
        self._sides = np.zeros(0, np.int32)
        self._hyphae = np.zeros((size[1], size[0]), np.uint8)

    def draw(self, canvas: Canvas, column: int, row: int) -> Glimpse:
        """Hyphae, then what moved along them, then the nodes."""
        glimpse = self._follower.look()
        sides = self._network.state.sides
        if not np.array_equal(sides, self._sides):
            self._sides = sides.copy()
            self._hyphae = self._lines()
            near, far, down = self._marks.near[-1], self._marks.far[-1], self._marks.down
            away = f"each a node: {down} is down, {far} cut off from {near}"
            self.caption = away if sides.any() else "each a node; brighter where more is felt"
        if self._marks is _RICH:
            _fill_braille(canvas, column, row, self._hyphae, _HYPHA)
            self._moves(canvas, column, row, glimpse)
        level = _levels(glimpse.felt, _LEVELS)
        for node, (x, y) in enumerate(self._cells.tolist()):
            if sides[node] < 0:
                canvas.put(column + x, row + y, self._marks.down, "red")
                continue
            marks = self._marks.far if sides[node] else self._marks.near
            style = _colour(int(glimpse.signal[node]), int(level[node]), _UNLIT)
            canvas.put(column + x, row + y, marks[level[node]], style)
        return glimpse

    def _lines(self) -> NDArray[np.uint8]:
        """Hyphae that copies can pass now; none at all where they would fill the picture."""
        columns, rows = self.size
        sources, targets, sides = self._sources, self._targets, self._network.state.sides
        is_open = (sides[sources] == sides[targets]) & (sides[sources] >= 0) & (sources < targets)
        bits = sketch.braille(
            sketch.line_dots(self._dots[sources[is_open]], self._dots[targets[is_open]]), columns, rows
        )
        is_crowded = np.unpackbits(bits).mean() > 0.3
        return np.zeros_like(bits) if is_crowded else bits

    def _moves(self, canvas: Canvas, column: int, row: int, glimpse: Glimpse) -> None:
        """What arrived since the last frame, in the colours of the signals."""
        moves = glimpse.moves[glimpse.moves[:, 1] >= 0]
        for hue in np.unique(moves[:, 0] % len(_HUES)).tolist():
            ours = moves[moves[:, 0] % len(_HUES) == hue]
            bits = sketch.braille(sketch.line_dots(self._dots[ours[:, 1]], self._dots[ours[:, 2]]), *self.size)
            y, x = np.nonzero(bits)
            style = blend(_DARK, _HUES[hue], 0.75)
            for down, across in zip(y.tolist(), x.tolist(), strict=True):
                both = int(bits[down, across] | self._hyphae[down, across])
                canvas.put(column + across, row + down, chr(0x2800 + both), style)


class _MosaicDrawing(_Drawing):
    """Squares, each a node or many: two to a character cell where there are colours, else one, shaded."""

    def __init__(self, network: Network, size: tuple[int, int], marks: _Marks, *, has_colours: bool) -> None:
        super().__init__(network, size, marks, has_colours=has_colours)
        columns, rows = size
        self._is_halved = has_colours and marks is _RICH
        self._mosaic = sketch.mosaic_of(network.topology, columns, 2 * rows if self._is_halved else rows)
        self._follower = Follower(network, self._mosaic.place_of, self._mosaic.places)
        share = network.node_count / self._mosaic.places
        many = f"{share:,.{0 if share >= 10 else 1}f}"
        each = "each square a node" if share <= 1 else f"squares of about {many} nodes; the strongest felt"
        how = {
            "grid": "",
            "ring": ", the ring wound in bands",
            "small-world": ", the ring wound in bands",
            "full-mesh": "",
        }.get(network.topology.kind, ", hubs in the middle")
        self.caption = each + how

    def draw(self, canvas: Canvas, column: int, row: int) -> Glimpse:
        """Each square in the colour of what is felt most there."""
        glimpse = self._follower.look()
        shown = self._mosaic.squares
        level = _levels(glimpse.felt, _LEVELS)
        names, number_of = self._squares(glimpse)
        if not self._is_halved:
            shades = np.array(list(self._marks.shades))
            characters = np.where(shown >= 0, shades[level[shown]], " ")
            is_down = (glimpse.down[shown] > 0.5) & (shown >= 0)
            characters[is_down] = self._marks.down
            styles = np.array([canvas.number(name) for name in names])[number_of[shown]]
            styles[shown < 0] = 0
            canvas.fill(column, row, characters, styles)
            return glimpse
        pairs = np.where(shown >= 0, number_of[shown], len(names))
        upper, lower = pairs[0::2], pairs[1::2]
        both, of = np.unique(upper * (len(names) + 1) + lower, return_inverse=True)
        kinds = [divmod(int(pair), len(names) + 1) for pair in both]
        looks = [
            _halves(names[top] if top < len(names) else "", names[low] if low < len(names) else "")
            for top, low in kinds
        ]
        of = of.reshape(upper.shape)
        characters = np.array([character for character, _ in looks])[of]
        styles = np.array([canvas.number(style) for _, style in looks])[of]
        canvas.fill(column, row, characters, styles)
        return glimpse

    @staticmethod
    def _squares(glimpse: Glimpse) -> tuple[list[str], NDArray[np.int64]]:
        """Colours, and the number of its colour for each place."""
        tone = _levels(glimpse.felt, _TONES)
        names = [blend(_DARK, hue, 0.15 + 0.85 * step / _TONES) for hue in _HUES for step in range(1, _TONES + 1)]
        lit = glimpse.signal % len(_HUES) * _TONES + tone - 1
        down, cut = np.rint(glimpse.down * 3).astype(np.int64), np.rint(glimpse.cut * 3).astype(np.int64)
        away = len(names) + down * 4 + cut
        names += [blend(blend(_DARK, _CUT, cut / 3), _DOWN, down / 3) for down in range(4) for cut in range(4)]
        return names, np.where((tone > 0) & (glimpse.down <= 0.5), lit, away)


@cache
def _halves(upper: str, lower: str) -> tuple[str, str]:
    """A character and style that show one colour above another; "" is the terminal's own background."""
    if upper and lower:
        return "▀", f"{upper} on {lower}"
    if upper:
        return "▀", upper
    return ("▄", lower) if lower else (" ", "")


def _levels(felt: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """0 for nothing, else 1 to `count`; as the eye has it, so that a tenth is not next to nothing."""
    return np.where(felt > _FELT_MIN, 1 + np.minimum(count - 1, np.sqrt(felt) * count), 0).astype(np.int64)


@cache
def _colour(signal: int, level: int, unlit: str) -> str:
    return blend(_DARK, _HUES[signal % len(_HUES)], 0.3 + 0.7 * level / _LEVELS) if level else unlit


def _fill_braille(canvas: Canvas, column: int, row: int, bits: NDArray[np.uint8], style: str) -> None:
    """Draw dots; cells without any are blank."""
    characters = np.where(bits > 0, (bits.astype(np.uint32) + 0x2800).view("<U1"), " ")
    canvas.fill(column, row, characters, np.full(bits.shape, canvas.number(style), np.int32))


def _percent(share: float) -> str:
    """A share with two or three figures that tell something."""
    if share <= 0:
        return "0%"
    digits = max(0, min(2, 1 - math.floor(math.log10(share * 100))))
    return f"{share * 100:.{digits if share < 0.1 else 0}f}%" if share >= 0.0001 else "<.01%"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds >= 100 else f"{seconds:.3g} s"


def _many(count: int, noun: str, plural: str = "") -> str:
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
