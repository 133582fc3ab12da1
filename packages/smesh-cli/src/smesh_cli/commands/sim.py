"""`smesh sim`: simulate signals that spread over a network."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from smesh_cli import exits

if TYPE_CHECKING:
    import asyncio

    from smesh_core.engine import EngineName

    from smesh_cli.simulating import Outcome

__all__ = ["sim"]

_TOPOLOGIES: Final = ["ring", "full-mesh", "small-world", "scale-free", "random", "grid"]
_DECAYS: Final = ["exponential", "linear", "sigmoid", "step"]
_TICKS_MAX: Final = 1_000_000
_SIGNALS_MAX: Final = 1_000_000
_TTL_MAX_S: Final = 30 * 24 * 3600
_WATCHED_S: Final = 11.0
"""How long the live view of a run takes unless told otherwise."""
_TICKS_PER_S_MIN: Final = 5.0


class _Number(click.FloatRange):
    """A number within bounds; unlike click's own this refuses what is not a number."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail("it is not a number.", param, ctx)
        return number


_SHARE: Final = _Number(0.0, 1.0)


@click.command(epilog="Example:  smesh sim --nodes 50 --ticks 100 --topology scale-free --failing 0.2")
@click.option("--nodes", type=click.IntRange(1), default=50, show_default=True, metavar="N", help="How many.")
@click.option(
    "--ticks", type=click.IntRange(1, _TICKS_MAX), default=100, show_default=True, metavar="N", help="How many to run."
)
@click.option(
    "--topology",
    type=click.Choice(_TOPOLOGIES),
    default="small-world",
    show_default=True,
    help="How nodes are joined.",
)
@click.option(
    "--degree",
    type=click.IntRange(1),
    default=6,
    show_default=True,
    metavar="N",
    help="Neighbours of a node, about; a full mesh and a grid have their own.",
)
@click.option(
    "--signals",
    type=click.IntRange(1, _SIGNALS_MAX),
    default=20,
    show_default=True,
    metavar="N",
    help="Emitted evenly over the first half of the ticks, from nodes drawn at random.",
)
@click.option(
    "--tick",
    "tick_s",
    type=_Number(1e-9, _TTL_MAX_S),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Simulated time in a tick.",
)
@click.option("--decay", type=click.Choice(_DECAYS), default="exponential", show_default=True, help="How signals fade.")
@click.option(
    "--rate",
    "rate_per_s",
    type=_Number(0.0, 1e6),
    default=0.1,
    show_default=True,
    metavar="PER_SECOND",
    help="How fast they do.",
)
@click.option(
    "--ttl",
    "ttl_s",
    type=_Number(1e-9, _TTL_MAX_S),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="A signal's life.",
)
@click.option(
    "--radius",
    type=click.IntRange(0, 65_535),
    default=5,
    show_default=True,
    metavar="HOPS",
    help="How far it travels.",
)
@click.option("--confidence", type=_SHARE, default=0.8, show_default=True, metavar="0..1", help="How sure authors are.")
@click.option(
    "--evidence",
    type=_SHARE,
    default=0.3,
    show_default=True,
    metavar="0..1",
    help="Part of the nodes that know something about a signal.",
)
@click.option(
    "--false",
    "false_share",
    type=_SHARE,
    default=0.2,
    show_default=True,
    metavar="0..1",
    help="Part of the signals that are false, against which that speaks.",
)
@click.option(
    "--trust",
    type=_Number(0.01, 0.99),
    default=0.5,
    show_default=True,
    metavar="0.01..0.99",
    help="What nodes think of each other.",
)
@click.option(
    "--threshold",
    type=_SHARE,
    default=0.1,
    show_default=True,
    metavar="0..1",
    help="The weakest signal that a node senses.",
)
@click.option(
    "--capacity",
    type=click.IntRange(0),
    metavar="N",
    help="Signals that a node can attend to in a tick.  [default: no bound]",
)
@click.option(
    "--failing",
    type=_SHARE,
    default=0.0,
    show_default=True,
    metavar="0..1",
    help="Part of the nodes that are down from a quarter to three quarters of the ticks.",
)
@click.option(
    "--partitioned",
    type=_SHARE,
    default=0.0,
    show_default=True,
    metavar="0..1",
    help="Part of the nodes that are cut off from the others for that time.",
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Of all that is drawn at random.")
@click.option(
    "--threads", type=click.IntRange(1, 1024), metavar="N", help="At work at once.  [default: number of cores]"
)
@click.option(
    "--engine",
    type=click.Choice(["numba", "numpy"]),
    help="What runs the network.  [default: numba where it is installed]",
)
@click.option(
    "--live/--no-live",
    default=None,
    help="Watch the network as it runs.  [default: where stdout is a terminal]",
)
@click.option(
    "--speed",
    "ticks_per_s",
    type=_Number(0.0, 1e9),
    metavar="TICKS",
    help="Ticks that --live shows in a second; 0 goes as fast as it can.  [default: 11 seconds for the whole]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, documented in docs/reference/sim.md.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw the report to a .png or .svg file; needs smesh-cli[plot].",
)
def sim(
    *,
    threads: int | None,
    engine: EngineName | None,
    live: bool | None,
    ticks_per_s: float | None,
    as_json: bool,
    plot: Path | None,
    **scenario: Any,
) -> int:
    """Simulate signals that spread over a network, fade, and are agreed on or rejected.

    Nodes relay what reaches them to their neighbours, sense it where it is still strong enough, and stand for or
    against it where they have evidence of their own. There is no controller. The same options give the same report,
    byte for byte, on any number of threads and either engine; how long it took is said on stderr.

    Ctrl-C stops it and prints the report of the ticks that were run; a second one ends it at once.

    Exit codes: 0 done, 2 error, 130 stopped by Ctrl-C, 143 by SIGTERM.
    """
    from smesh_core.errors import SmeshError  # noqa: PLC0415 - keeps `smesh --help` light
    from smesh_core.simulation import Scenario  # noqa: PLC0415

    from smesh_cli import live as views  # noqa: PLC0415
    from smesh_cli import render, simulating, stopping  # noqa: PLC0415

    if plot is not None:
        from smesh_cli import figure  # noqa: PLC0415

        figure.check(plot)
    console = views.watching_stream()
    is_watched = views.can_be_watched(wanted=live, result_is_text=not as_json)
    if is_watched and console is None:
        render.error("--live needs a terminal that can move its cursor; --no-live runs without")
        return exits.ERROR
    pace = _pace(ticks_per_s, int(scenario["ticks"])) if is_watched else 0.0
    threads = threads or _cores()

    try:
        asked = Scenario(**scenario)

        async def work(stop: asyncio.Event) -> Outcome | None:
            with views.watcher(console, asked, is_watched=is_watched, ticks_per_s=pace) as watcher:
                return await simulating.simulate(asked, stop, watcher, engine=engine, threads=threads, ticks_per_s=pace)

        outcome, stopped_by = stopping.run(work)
    except SmeshError as error:
        render.error(str(error))
        return exits.ERROR
    except MemoryError:
        render.error("there is not enough memory for so many nodes and signals; take fewer, or a smaller radius")
        return exits.ERROR
    stopped = exits.TERMINATED if stopped_by == signal.SIGTERM else exits.INTERRUPTED
    if outcome is None:
        render.error("stopped before the network was there; there is nothing to report")
        return stopped
    is_partial = outcome.report.tick < asked.ticks
    if as_json:
        render.json(simulating.document(outcome))
    else:
        render.simulation(outcome.report)
    if is_partial:
        render.error("stopped; the report holds the ticks that were run by then")
    render.error(simulating.timing(outcome))
    if plot is not None:
        from smesh_cli import plot as drawing  # noqa: PLC0415 - matplotlib is heavy, and optional

        drawing.draw(outcome.report, outcome.network, plot)
        render.error(f"drew {plot}")
    return stopped if is_partial else exits.OK


def _pace(asked: float | None, ticks: int) -> float:
    """Ticks a second for somebody who watches."""
    return max(_TICKS_PER_S_MIN, ticks / _WATCHED_S) if asked is None else asked


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
