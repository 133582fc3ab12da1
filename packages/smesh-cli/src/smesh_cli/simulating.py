"""Running a scenario so that it can be watched and stopped: in steps, with the time that the network took.

A call of a kernel cannot be interrupted, so the ticks are divided into steps that take a fraction of a second; the
report is the same however they are divided. The work is done in a thread of its own while the main thread waits for
signals. What is drawn is drawn between two steps, never during one, and the time of a step is that of
`Network.run` alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

from smesh_core.engine import default_engine, set_compile_notice, warmup
from smesh_core.simulation import network_of, report_of

from smesh_cli import stopping

if TYPE_CHECKING:
    from collections.abc import Callable

    from smesh_core.engine import EngineName
    from smesh_core.network import Network
    from smesh_core.simulation import Report, Scenario

__all__ = ["SCHEMA", "Outcome", "Watcher", "document", "load_engine", "simulate", "timing"]

SCHEMA: Final = "smesh.sim/1"

_T = TypeVar("_T")

_STEP_S: Final = 0.05
"""What a step may take, about."""
_NS_PER_HYPHA: Final = 50
"""What one signal's passing one hypha takes at most, about, over the whole of a run."""
_BESIDE_S: Final = 0.08
"""How often a watcher is shown what goes on in a thread."""
_BEHIND_S: Final = 1.0
"""Further behind, a paced run does not try to catch up: the program was suspended, or cannot go so fast."""
_LAST_FRAME_S: Final = 1.0


class Watcher(Protocol):
    """What is told of a run as it goes on."""

    def say(self, phase: str) -> None:
        """A part of the work begins that has no ticks to count."""

    def notice(self, text: str) -> None:
        """Something takes longer than usual, and why; called from another thread."""

    def follow(self, network: Network) -> None:
        """The network is there and begins to run."""

    def show(self, *, at_once: bool = False) -> None:
        """Something may have changed; called often, and never while the network runs."""


class Outcome(NamedTuple):
    """What came of a run.

    Attributes:
        report: what the network has come to.
        network: the network itself.
        ran_ns: time that `Network.run` took, all calls together.
        threads: how many were at work.
    """

    report: Report
    network: Network
    ran_ns: int
    threads: int


def document(outcome: Outcome) -> dict[str, object]:
    """A report as it is printed as JSON: its attributes, and before them the schema and whether it was stopped."""
    report = outcome.report
    head = {"schema": SCHEMA, "interrupted": report.tick < report.scenario.ticks}
    return head | {name: getattr(report, name) for name in report.__struct_fields__}


def timing(outcome: Outcome) -> str:
    """How long the network took, on what."""
    ran_s, ticks = outcome.ran_ns / 1e9, outcome.report.tick
    took = f"{ran_s * 1e3:.3g} ms" if ran_s < 1 else f"{ran_s:.2f} s"
    rate = f" ({ticks / ran_s:,.0f} ticks/s)" if ran_s else ""
    on = f"{outcome.threads} thread{'s' * (outcome.threads != 1)}"
    return f"{ticks:,} tick{'s' * (ticks != 1)} in {took}{rate}, {outcome.network.engine}, {on}"


async def simulate(
    scenario: Scenario,
    stop: asyncio.Event,
    watcher: Watcher,
    *,
    engine: EngineName | None,
    threads: int,
    ticks_per_s: float = 0.0,
) -> Outcome | None:
    """Run a scenario to its end, or until it is told to stop.

    Args:
        scenario: what to simulate.
        stop: ends the run after the step that it is at.
        watcher: told of all that happens.
        engine: "numba" or "numpy"; None takes numba where it is installed.
        threads: how many to share the signals among.
        ticks_per_s: the pace for somebody who watches; 0 goes as fast as it can.

    Returns:
        What came of it, of fewer ticks where it was stopped; None where it was stopped before there was a network.

    Raises:
        SmeshError: a value is out of bounds, or the engine cannot be loaded.
    """
    network = await stopping.unless_stopped(_prepare(scenario, watcher, engine), stop)
    if network is None:
        return None
    if network.engine == "numpy" or (ticks_per_s and _first_step(network, scenario.ticks) > 1):
        threads = 1  # the only one, or enough: in ticks of microseconds, starting threads would take longest
    watcher.follow(network)
    ran_ns = await _run(network, scenario.ticks, stop, watcher, threads=threads, ticks_per_s=ticks_per_s)
    if ticks_per_s:
        watcher.show(at_once=True)
        await _pause(_LAST_FRAME_S, stop)
    watcher.say("reading the report")
    report = await _beside(lambda: report_of(scenario, network), watcher)
    return Outcome(report, network, ran_ns, threads)


async def _prepare(scenario: Scenario, watcher: Watcher, engine: EngineName | None) -> Network:
    if (engine or default_engine()) == "numba" and default_engine() == "numba":
        watcher.say("loading the engine")
        await _beside(lambda: load_engine(watcher.notice), watcher)
    watcher.say("building the network")
    return await _beside(lambda: network_of(scenario, engine=engine), watcher)


def load_engine(notice: Callable[[str], None]) -> None:
    """Load numba where it is, and compile what is not in its cache yet, so that this is not part of the first tick.

    Args:
        notice: told, from another thread perhaps, that this takes long.
    """
    set_compile_notice(lambda text: notice(text.removeprefix("smesh: ")))
    try:
        warmup()
    finally:
        set_compile_notice(None)


async def _run(
    network: Network, until: int, stop: asyncio.Event, watcher: Watcher, *, threads: int, ticks_per_s: float
) -> int:
    """Run the network in steps; the nanoseconds that it took."""
    ran_ns, step = 0, _first_step(network, until)
    start_s, start_tick = time.monotonic(), network.tick
    while network.tick < until and not stop.is_set():
        ticks = min(step, until - network.tick)
        if ticks_per_s:
            due = start_tick + (time.monotonic() - start_s) * ticks_per_s - network.tick
            if due < 1:
                await _pause((1 - due) / ticks_per_s, stop)
                continue
            if due > _BEHIND_S * ticks_per_s + 1:
                start_s, start_tick = time.monotonic(), network.tick
            ticks = min(ticks, int(due))
        took_ns = await asyncio.to_thread(_step, network, ticks, threads)
        ran_ns += took_ns
        step = max(1, min(2 * max(step, ticks), int(_STEP_S * 1e9 * ticks / max(1, took_ns))))
        watcher.show()
    return ran_ns


def _first_step(network: Network, ticks: int) -> int:
    """All ticks where even the whole run cannot take long; else one, to see how long that takes."""
    whole_ns = network.topology.hypha_count * network.signal_count * _NS_PER_HYPHA
    return ticks if network.engine == "numba" and whole_ns < _STEP_S * 1e9 else 1


def _step(network: Network, ticks: int, threads: int) -> int:
    started_ns = time.perf_counter_ns()
    network.run(ticks, threads=threads)
    return time.perf_counter_ns() - started_ns


async def _beside(work: Callable[[], _T], watcher: Watcher) -> _T:
    """Work in a thread, and show the watcher meanwhile that something goes on."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    while not working.done():
        watcher.show()
        await asyncio.wait({working}, timeout=_BESIDE_S)
    return working.result()


async def _pause(wait_s: float, stop: asyncio.Event) -> None:
    """Wait, but not beyond the stop."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), wait_s)
