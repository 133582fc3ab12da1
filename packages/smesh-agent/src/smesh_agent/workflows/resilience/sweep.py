"""Trying a plan: in several processes, each result written down as soon as it is there."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from typing import TYPE_CHECKING, Final

from smesh_core.trials import run_trials

from smesh_agent.errors import AgentError
from smesh_agent.workflows.bench.report import usable_cores
from smesh_agent.workflows.resilience.journal import Done
from smesh_agent.workflows.resilience.plan import SYSTEMS

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from smesh_core.trials import Result, Trial

    from smesh_agent.workflows.resilience.journal import Journal
    from smesh_agent.workflows.resilience.plan import Cell, Plan

__all__ = ["Sweep"]

_AHEAD: Final = 2
"""Trials that are handed over ahead, for each process."""


class Sweep:
    """Runs what a plan holds and a journal does not.

    Args:
        plan: what to try.
        journal: where to write it down; None keeps it in memory.
        jobs: processes; None takes the usable cores.

    Attributes:
        plan: the plan.
        done: what has been tried, by cell and seed; of the plan and of whatever else the journal holds.
        total: trials of the plan.

    Raises:
        InvalidNetworkError: there are no such networks.
    """

    def __init__(self, plan: Plan, *, journal: Journal | None = None, jobs: int | None = None) -> None:
        plan.check()
        self.plan = plan
        self._journal = journal
        self.done: dict[tuple[Cell, int], Done] = dict(journal.done) if journal else {}
        wanted = list(plan.trials())
        self.total = len(wanted)
        self._left = dict.fromkeys(one for one in wanted if one not in self.done)
        self._jobs = max(1, min(jobs or usable_cores(), len(self._left)))
        self._is_stopped = threading.Event()

    @property
    def finished(self) -> int:
        """How many trials of the plan are done."""
        return self.total - len(self._left)

    def stop(self) -> None:
        """Begin no other trial; those that are being run are finished. From any thread."""
        self._is_stopped.set()

    def run(self, tell: Callable[[], None] = lambda: None) -> None:
        """Run what is left, until all is done or it is stopped; compile the engine before, or every process would.

        Args:
            tell: called after each trial.

        Raises:
            AgentError: a process died, or the journal cannot be written; what was done until then is in it.
            SmeshError: a trial cannot be run.
        """
        if not self._left:
            return
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(self._jobs, mp_context=context, initializer=_end_with_parent)
        try:
            self._run(pool, tell)
        except BrokenProcessPool:
            raise AgentError("a process that ran trials was ended from outside, or ran out of memory") from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, pool: ProcessPoolExecutor, tell: Callable[[], None]) -> None:
        coming = iter(list(self._left))
        running: dict[Future[list[Result]], tuple[Cell, int]] = {}
        while True:
            while len(running) < self._jobs * _AHEAD and not self._is_stopped.is_set():
                one = next(coming, None)
                if one is None:
                    break
                running[pool.submit(_tried, self.plan.trial(*one))] = one
            if not running:
                return
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                self._keep(Done(*running.pop(future), dict(zip(SYSTEMS, future.result(), strict=True))))
                tell()
            if self._is_stopped.is_set():
                running = {future: one for future, one in running.items() if not future.cancel()}

    def _keep(self, done: Done) -> None:
        if self._journal is not None:
            self._journal.add(done)
        self.done[done.cell, done.seed] = done
        del self._left[done.cell, done.seed]


def _tried(trial: Trial) -> list[Result]:
    """The results of all systems; in a process of the pool."""
    return run_trials(trial, list(SYSTEMS.values()))


def _end_with_parent() -> None:
    """Prepare a process of the pool: whoever started it hears Ctrl-C, and this one ends when that one is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_await_end, args=(parent.sentinel,), daemon=True).start()


def _await_end(sentinel: int) -> None:
    wait_for([sentinel])
    os._exit(1)
