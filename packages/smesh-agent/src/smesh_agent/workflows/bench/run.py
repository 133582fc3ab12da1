"""The whole bench, as steps that somebody else makes one after the other.

So whoever runs it can show how far it is, and stop it, between two steps, and nothing is drawn while the clock runs.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

from smesh_core.engine import default_engine, set_compile_notice, warmup

from smesh_agent.workflows.bench import rows
from smesh_agent.workflows.bench.measure import Effort
from smesh_agent.workflows.bench.report import ORIGINAL_NS, SCHEMA, NetworkRow, Report, Row, describe, usable_cores

if TYPE_CHECKING:
    from collections.abc import Callable

    from smesh_core.engine import EngineName

__all__ = ["Bench", "Step"]

_FULL: Final = Effort(timed_s=0.25, repeats_min=7)
_QUICK: Final = Effort(timed_s=0.02, repeats_min=3)
_NETWORK_TIMES: Final = 2
"""A network gets so many times as much time as a row."""


class Step(NamedTuple):
    """One thing to be measured: what, and how to do it."""

    what: str
    run: Callable[[], None]


class Bench:
    """What is to be measured, and what was.

    Args:
        quick: a smoke test: fewer repeats, smaller fields, no large network.
        large: also a network of 1,000,000 nodes.
        engine: what runs the networks; None takes numba where it is installed.
        threads: at work in networks of 10,000 nodes and more; None takes the usable cores.
    """

    def __init__(
        self,
        *,
        quick: bool = False,
        large: bool = False,
        engine: EngineName | None = None,
        threads: int | None = None,
    ) -> None:
        self._started_s = time.perf_counter()
        self._is_quick = quick
        self._engine: EngineName = engine or default_engine()
        self._load_s = 0.0
        self._notices: list[str] = []
        self._signals: list[Row] = []
        self._networks: list[NetworkRow] = []
        self._done = 0
        self.steps = self._steps(large=large, threads=threads or usable_cores())

    def _steps(self, *, large: bool, threads: int) -> list[Step]:
        effort = _QUICK if self._is_quick else _FULL
        signals, held = (1_000, 500) if self._is_quick else (10_000, 2_000)
        sizes = [rows.Size(100, 5, 5, 1, has_baseline=True), rows.Size(1_000, 20, 50, 1, has_baseline=True)]
        if not self._is_quick and self._engine == "numba":
            sizes.append(rows.Size(10_000, 1_000, 5, threads, has_baseline=False))
        if large:
            sizes.append(rows.Size(1_000_000, 100, 5, threads, has_baseline=False))
        steps = [Step(f"loading the {self._engine} engine", self._load)]
        for what, step in (*rows.signal_rows(effort, signals), *rows.field_rows(effort, held)):
            steps.append(self._step(what, lambda step=step: self._signals.append(step())))  # type: ignore[misc]
        longer = Effort(effort.timed_s * _NETWORK_TIMES, effort.repeats_min)
        for size in sizes:
            what = f"a network of {size.nodes:,} nodes"
            steps.append(self._step(what, lambda size=size: self._measure_network(longer, size)))  # type: ignore[misc]
        return [Step(step.what, lambda run=step.run: self._counted(run)) for step in steps]  # type: ignore[misc]

    @staticmethod
    def _step(what: str, run: Callable[[], None]) -> Step:
        return Step(what, run)

    def _counted(self, run: Callable[[], None]) -> None:
        run()
        self._done += 1

    def _measure_network(self, effort: Effort, size: rows.Size) -> None:
        self._networks += rows.network_rows(effort, size, self._engine)

    def _load(self) -> None:
        """Load the engine and compile what is not in its cache, so that neither is part of any figure."""
        if self._engine != "numba" or default_engine() != "numba":
            return
        started_s = time.perf_counter()
        set_compile_notice(self._notices.append)
        try:
            warmup()
        finally:
            set_compile_notice(None)
        self._load_s = time.perf_counter() - started_s

    def report(self) -> Report:
        """What was measured so far."""
        return Report(
            schema=SCHEMA,
            interrupted=self._done < len(self.steps),
            effort="quick" if self._is_quick else "full",
            machine=describe(),
            engine=self._engine,
            load_s=self._load_s,
            is_compiled=any("compiling" in notice for notice in self._notices),
            signals=list(self._signals),
            networks=list(self._networks),
            original_ns=dict(ORIGINAL_NS),
            duration_s=time.perf_counter() - self._started_s,
        )
