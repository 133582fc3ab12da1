"""`smesh resilience`: what attacks do to a network, and what defences win back."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from smesh_cli import exits

if TYPE_CHECKING:
    import asyncio

    from smesh_agent.workflows.resilience import Plan, Report, Sweep

__all__ = ["resilience"]

_ATTACKS: Final = ["spam", "false-reinforcement", "sybil", "eclipse", "silence", "collusion", "poisoning"]
_TOPOLOGIES: Final = ["ring", "full-mesh", "small-world", "scale-free", "random", "grid"]
_EXTENTS: Final = (0.1, 0.2, 0.3, 0.4, 0.5)
_LOOK_S: Final = 0.1
"""How often to see how far it is, and whether to stop."""


@click.command(epilog="Example:  smesh resilience --attack collusion --seeds 10 --html report.html")
@click.option(
    "--attack",
    "attacks",
    type=click.Choice(_ATTACKS),
    multiple=True,
    help="Can be given several times.  [default: all of them]",
)
@click.option(
    "--extent",
    "extents",
    type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
    multiple=True,
    metavar="0..1",
    help="Part of the nodes that misbehave; several times.  [default: 0.1, 0.2, 0.3, 0.4, 0.5]",
)
@click.option(
    "--topology",
    "topologies",
    type=click.Choice(_TOPOLOGIES),
    multiple=True,
    help="How nodes are joined; several times.  [default: small-world]",
)
@click.option("--nodes", type=click.IntRange(2, 100_000), default=100, show_default=True, metavar="N", help="How many.")
@click.option(
    "--degree", type=click.IntRange(1, 1000), default=6, show_default=True, metavar="N", help="Neighbours of a node."
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 1000),
    default=4,
    show_default=True,
    metavar="N",
    help="Trust is moved between them; the last is measured.",
)
@click.option(
    "--ticks", type=click.IntRange(2, 10_000), default=60, show_default=True, metavar="N", help="Of each round."
)
@click.option(
    "--seeds", type=click.IntRange(2, 100_000), default=30, show_default=True, metavar="N", help="Trials of each kind."
)
@click.option("--seed", "first_seed", type=int, default=0, show_default=True, metavar="N", help="Of the first trial.")
@click.option("--jobs", type=click.IntRange(1, 1024), metavar="N", help="Processes.  [default: number of cores]")
@click.option(
    "--journal",
    "journal_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write each trial down there, and go on from what it holds.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, documented in docs/reference/resilience.md.")
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the report as a page that needs no other file.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw the report to a .png or .svg file; needs smesh-cli[plot].",
)
def resilience(
    *,
    attacks: tuple[str, ...],
    extents: tuple[float, ...],
    topologies: tuple[str, ...],
    nodes: int,
    degree: int,
    rounds: int,
    ticks: int,
    seeds: int,
    first_seed: int,
    jobs: int | None,
    journal_path: Path | None,
    as_json: bool,
    html: Path | None,
    plot: Path | None,
) -> int:
    """Attack simulated networks, and measure what defences win back, beside what one would do without a field.

    Each attack is tried to each extent with the same seeds. Ten systems read what comes of it: six sets of defences,
    and four baselines (a majority vote, a central queue, flooding, the best single witness). Coverage, accuracy of
    verdicts and the time to them are means over the seeds with 95% intervals; breaking points are named. The same
    options give the same report, byte for byte.

    Ctrl-C stops it after the trials that are being run and reports the seeds that are complete; a second one ends it
    at once. With --journal nothing is lost, and the same command goes on.

    Exit codes: 0 done, 2 error, 130 stopped by Ctrl-C, 143 by SIGTERM.
    """
    from smesh_agent.errors import AgentError  # noqa: PLC0415 - keeps `smesh --help` light
    from smesh_agent.workflows.resilience import Journal, Plan, Sweep, build  # noqa: PLC0415
    from smesh_core.errors import SmeshError  # noqa: PLC0415

    from smesh_cli import figure, page, render, stopping, targets  # noqa: PLC0415

    if html is not None:
        targets.check("--html", html)
    if plot is not None:
        figure.check(plot)
    try:
        plan = Plan(
            attacks=attacks or tuple(_ATTACKS),
            fractions=tuple(sorted(extents or _EXTENTS)),
            topologies=topologies or ("small-world",),
            seeds=seeds,
            first_seed=first_seed,
            nodes=nodes,
            degree=degree,
            rounds=rounds,
            ticks=ticks,
        )
        plan.check()
        with Journal(journal_path, plan) if journal_path is not None else contextlib.nullcontext() as journal:
            sweep = Sweep(plan, journal=journal, jobs=jobs)
            _, stopped_by = stopping.run(lambda stop: _run(sweep, stop))
    except (AgentError, SmeshError) as error:
        render.error(str(error))
        return exits.ERROR
    report = build(plan, sweep.done)
    if as_json:
        render.json(report)
    else:
        render.resilience(report)
    if html is not None:
        targets.write(html, page.page(report).encode())
        render.error(f"wrote {html}")
    if plot is not None and report.rows:
        from smesh_cli import plot_resilience  # noqa: PLC0415 - matplotlib is heavy, and optional

        plot_resilience.draw(report, plot)
        render.error(f"drew {plot}")
    if not report.interrupted:
        return exits.OK
    render.error(_stopped(plan, report, journal_path))
    return exits.TERMINATED if stopped_by == signal.SIGTERM else exits.INTERRUPTED


def _stopped(plan: Plan, report: Report, journal: Path | None) -> str:
    seeds = f"stopped; {report.seeds:,} of {plan.seeds:,} seeds are complete"
    return f"{seeds}, and the same command goes on" if journal else seeds


async def _run(sweep: Sweep, stop: asyncio.Event) -> None:
    """Run the trials in a thread; the bar is drawn meanwhile."""
    import asyncio  # noqa: PLC0415 - keeps `smesh --help` light
    import time  # noqa: PLC0415

    from smesh_cli import live, render, simulating  # noqa: PLC0415

    if sweep.finished == sweep.total:
        return
    bar = live.bar("smesh resilience", sweep.total)
    with bar or contextlib.nullcontext():
        # Loaded here once, or each process would compile for itself.
        if bar is not None:
            bar.step(sweep.finished, "loading the engine")
        await asyncio.to_thread(simulating.load_engine, bar.notice if bar is not None else render.error)
        begun, begun_s = sweep.finished, time.monotonic()
        running = asyncio.ensure_future(asyncio.to_thread(sweep.run))
        while not running.done():
            await asyncio.wait({running}, timeout=_LOOK_S)
            if stop.is_set():
                sweep.stop()
            if bar is not None:
                rest = _left(sweep.finished - begun, sweep.total - sweep.finished, time.monotonic() - begun_s)
                rest = "ending those that are being run" if stop.is_set() else rest
                bar.step(sweep.finished, f"{sweep.finished:,} of {sweep.total:,} trials{rest and ', '}{rest}")
        running.result()


def _left(done: int, left: int, took_s: float) -> str:
    """How long the rest will take, about; nothing while that cannot be known."""
    if not done:
        return ""
    rest_s = took_s / done * left
    return f"{rest_s / 60:.0f} min left" if rest_s >= 90 else f"{rest_s:.0f} s left"
