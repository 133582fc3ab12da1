"""What a terminal shows while a network runs: a live view, or a bar; and nothing where there is no terminal.

The view is drawn on the terminal's other screen, as an editor is, and all of it each time: so it fits whatever size
the terminal has by now, and nothing of it is left afterwards. Frames are drawn between two steps of the network, at
most `_FRAMES_PER_S` of them a second, and fewer where drawing one takes long.
"""

from __future__ import annotations

import os
import sys
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Self

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from smesh_cli import render
from smesh_cli.picture import Picture

if TYPE_CHECKING:
    from rich.console import Console
    from smesh_core.network import Network
    from smesh_core.simulation import Scenario

__all__ = ["Bar", "Quiet", "View", "bar", "can_be_watched", "watcher", "watching_stream"]

_FRAMES_PER_S: Final = 15
_DRAWING_PART: Final = 0.4
"""Part of the time that may go into drawing."""
_BAR_AFTER_S: Final = 0.3
"""What takes no longer needs no bar."""


def can_be_watched(*, wanted: bool | None, result_is_text: bool) -> bool:
    """Whether to show the live view: as wanted, else where the result goes to a terminal that a person looks at."""
    if wanted is not None:
        return wanted
    return result_is_text and sys.stdout.isatty() and not os.environ.get("CI") and watching_stream() is not None


def bar(title: str, total: int) -> Bar | None:
    """A bar on stderr, where that is a terminal."""
    console = watching_stream()
    return Bar(console, title, total) if console is not None and console.stderr else None


def watching_stream() -> Console | None:
    """The terminal to draw on: stderr where it is one, else stdout; None where neither can move its cursor."""
    for is_stderr in (True, False):
        stream = sys.stderr if is_stderr else sys.stdout
        console = render.new_console(stderr=is_stderr)
        if stream.isatty() and console.is_terminal and not console.is_dumb_terminal:
            return console
    return None


def watcher(console: Console | None, scenario: Scenario, *, is_watched: bool, ticks_per_s: float) -> View | Bar | Quiet:
    """What shows a run: the live view where it is to be watched, else a bar on stderr where that is a terminal.

    Args:
        console: the terminal there is.
        scenario: what is run.
        is_watched: whether to show the live view.
        ticks_per_s: its pace; 0 for none.
    """
    if console is not None and is_watched:
        return View(console, scenario, ticks_per_s)
    if console is not None and console.stderr:
        return Bar(console, "smesh sim", scenario.ticks)
    return Quiet()


class Quiet:
    """Shows nothing; only what takes unusually long is said, as a line on stderr."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, phase: str) -> None:
        """Not shown."""

    def notice(self, text: str) -> None:
        """Print the line."""
        render.error(text)

    def follow(self, network: Network) -> None:
        """Not shown."""

    def show(self, *, at_once: bool = False) -> None:
        """Not shown."""


class _Shown(ABC):
    """What a view and a bar have in common: a phase, a network once there is one, and when to draw next."""

    def __init__(self, console: Console, live: Live, first_s: float) -> None:
        self._console = console
        self._live = live
        self._phase = ""
        self._network: Network | None = None
        self._due_s = time.monotonic() + first_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, phase: str) -> None:
        """Show what is being done."""
        self._phase = phase

    def notice(self, text: str) -> None:
        """Show it in the place of the phase."""
        self._phase = text

    def follow(self, network: Network) -> None:
        """Show this network from now on."""
        self._network, self._phase = network, ""

    def show(self, *, at_once: bool = False) -> None:
        """Draw a frame, if it is time for one."""
        started_s = time.monotonic()
        if started_s < self._due_s and not at_once:
            return
        if not self._live.is_started:
            self._live.start()
        self._draw()
        ended_s = time.monotonic()
        self._due_s = max(started_s + 1 / _FRAMES_PER_S, ended_s + (ended_s - started_s) * (1 / _DRAWING_PART - 1))

    @abstractmethod
    def _draw(self) -> None: ...


class Bar(_Shown):
    """One line with a bar, which goes away at the end.

    Args:
        console: where.
        title: what goes on.
        total: ticks of the network that is followed, or steps.
    """

    def __init__(self, console: Console, title: str, total: int) -> None:
        live = Live(console=console, transient=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        super().__init__(console, live, _BAR_AFTER_S)
        self._title, self._total = title, total
        self._steps = 0
        self._spinner = Spinner("dots" if render.is_rich(console) else "line", style="cyan")

    def step(self, done: int, phase: str) -> None:
        """So many steps are done, and this one begins."""
        self._steps = done
        self.say(phase)
        self.show(at_once=True)

    def _draw(self) -> None:
        done = self._network.tick if self._network else self._steps
        row = Table.grid(padding=(0, 1))
        row.add_column(no_wrap=True)
        row.add_column(no_wrap=True)
        row.add_column(width=20)
        row.add_column(no_wrap=True, overflow="ellipsis")
        phase = self._phase or f"tick {done:,} of {self._total:,}"
        bar = ProgressBar(self._total, done, complete_style="cyan", finished_style="green")
        row.add_row(self._spinner, Text(self._title, "bold"), bar, Text(phase, "dim"))
        self._live.update(row, refresh=True)


class View(_Shown):
    """The network as a picture, with what spreads over it."""

    def __init__(self, console: Console, scenario: Scenario, ticks_per_s: float) -> None:
        live = Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        super().__init__(console, live, 0.0)
        self._picture = Picture(
            scenario,
            ticks_per_s=ticks_per_s,
            has_colours=console.color_system is not None,
            is_plain=not render.is_rich(console),
        )

    def follow(self, network: Network) -> None:
        """Draw this network from now on."""
        super().follow(network)
        self._picture.follow(network)

    def _draw(self) -> None:
        size = self._console.size
        canvas = self._picture.frame(max(1, size.width), max(1, size.height), phase=self._phase)
        self._live.update(canvas, refresh=True)
