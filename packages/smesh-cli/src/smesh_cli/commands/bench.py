"""`smesh bench`: measure what signals, fields and networks cost on this machine."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import click

from smesh_cli import exits

if TYPE_CHECKING:
    import asyncio

    from smesh_agent.workflows.bench import Bench
    from smesh_core.engine import EngineName

__all__ = ["bench"]


@click.command(epilog="Example:  smesh bench --quick")
@click.option("--quick", is_flag=True, help="A smoke test of a few seconds: fewer repeats, and no large network.")
@click.option("--large", is_flag=True, help="Also a network of 1,000,000 nodes with 100 signals.")
@click.option(
    "--engine",
    type=click.Choice(["numba", "numpy"]),
    help="What runs the networks.  [default: numba where it is installed]",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="At work in networks of 10,000 nodes and more.  [default: number of cores]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, documented in docs/reference/bench.md.")
def bench(*, quick: bool, large: bool, engine: EngineName | None, threads: int | None, as_json: bool) -> int:
    """Measure what signals, fields and networks cost on this machine, beside plain Python.

    Each figure is the median of many repeats, with the middle half of them. The baseline does the same in plain
    Python, in the same run, without bounds, expiry or independence of order; a ratio above 1 is faster than it.

    Ctrl-C stops it after the row that it is at and prints those that are done; a second one ends it at once.

    Exit codes: 0 done, 2 error, 130 stopped by Ctrl-C, 143 by SIGTERM.
    """
    from smesh_agent.workflows.bench import Bench  # noqa: PLC0415 - keeps `smesh --help` light
    from smesh_core.errors import SmeshError  # noqa: PLC0415

    from smesh_cli import render, stopping  # noqa: PLC0415

    try:
        measuring = Bench(quick=quick, large=large, engine=engine, threads=threads)

        async def work(stop: asyncio.Event) -> None:
            await _measure(measuring, stop)

        _, stopped_by = stopping.run(work)
    except SmeshError as error:
        render.error(str(error))
        return exits.ERROR
    except MemoryError:
        render.error("there is not enough memory for the networks; leave out --large, or take --quick")
        return exits.ERROR
    report = measuring.report()
    if as_json:
        render.json(report)
    else:
        render.bench(report)
    if not report.interrupted:
        return exits.OK
    render.error("stopped; the report holds what had been measured by then")
    return exits.TERMINATED if stopped_by == signal.SIGTERM else exits.INTERRUPTED


async def _measure(measuring: Bench, stop: asyncio.Event) -> None:
    """Make one step after the other; the bar is drawn between two of them."""
    import asyncio  # noqa: PLC0415 - keeps `smesh --help` light
    import contextlib  # noqa: PLC0415

    from smesh_cli import live  # noqa: PLC0415

    bar = live.bar("smesh bench", len(measuring.steps))
    with bar or contextlib.nullcontext():
        for done, step in enumerate(measuring.steps):
            if stop.is_set():
                return
            if bar is not None:
                bar.step(done, step.what)
            await asyncio.to_thread(step.run)
