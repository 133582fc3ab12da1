"""The result of a bench."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from smesh_agent.workflows.bench.measure import Spread

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ORIGINAL_NS", "SCHEMA", "Machine", "NetworkRow", "Report", "Row", "describe", "usable_cores"]

SCHEMA: Final = "smesh.bench/1"
ORIGINAL_NS: Final[Mapping[str, float]] = MappingProxyType({"create": 216.0, "reinforce": 48.0, "tick": 14_000.0})
"""What the original in Rust says of itself, measured elsewhere: to create a signal, to reinforce one, and for a tick of
100 nodes with 5 signals."""
_CPU_FACTS: Final = Path("/proc/cpuinfo")


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured."""

    cpu: str
    cores: int
    platform: str
    python: str
    numpy: str | None
    numba: str | None


class Row(msgspec.Struct, frozen=True):
    """What one thing costs.

    Attributes:
        name: a short name that does not change: ``create``, ``emit``, ...
        what: what is done.
        items: how many signals one repeat goes through.
        ours: nanoseconds a signal.
        baseline: the same for plain Python; None where there is nothing to compare with.
        ratio: baseline / ours: above 1, ours is faster.
    """

    name: str
    what: str
    items: int
    ours: Spread
    baseline: Spread | None
    ratio: float | None


class NetworkRow(msgspec.Struct, frozen=True):
    """What a tick of a network costs.

    Attributes:
        nodes: of a small world, degree 4, a tenth of its edges rewired.
        signals: emitted, not timed, before each repeat, from nodes spread evenly.
        radius: of the signals, in hops.
        ticks: of one repeat; all that was emitted has faded by the end.
        how: ``calls``, one call for each tick, or ``run``, one call for all of them.
        threads: at work.
        arrivals: of one repeat, the mean.
        tick: nanoseconds a tick.
        arrival_ns: nanoseconds an arrival, by the median.
        baseline: nanoseconds a tick for plain Python; None where that would take too long.
        ratio: baseline / ours: above 1, ours is faster.
    """

    nodes: int
    signals: int
    radius: int
    ticks: int
    how: str
    threads: int
    arrivals: float
    tick: Spread
    arrival_ns: float
    baseline: Spread | None
    ratio: float | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that was measured.

    Attributes:
        schema: ``smesh.bench/1``.
        interrupted: whether it was stopped, and rows are missing.
        effort: ``quick`` or ``full``.
        machine: where.
        engine: what ran the networks.
        load_s: seconds that loading the engine took, compiling included where its cache was empty; in no other figure.
        is_compiled: whether something had to be compiled.
        signals: what signals and fields cost.
        networks: what networks cost.
        original_ns: what the original in Rust says of itself.
        duration_s: seconds for all of it.
    """

    schema: str
    interrupted: bool
    effort: str
    machine: Machine
    engine: str
    load_s: float
    is_compiled: bool
    signals: list[Row]
    networks: list[NetworkRow]
    original_ns: dict[str, float]
    duration_s: float


def describe() -> Machine:
    """This machine."""
    return Machine(
        cpu=_cpu(),
        cores=usable_cores(),
        platform=platform.platform(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        numpy=_version("numpy"),
        numba=_version("numba"),
    )


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu() -> str:
    """The processor's name where the system tells it, else its architecture."""
    try:
        lines = _CPU_FACTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
