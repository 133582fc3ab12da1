"""Trying a plan: in several processes, each result written down as soon as it is there."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import wait as wait_for
from typing import TYPE_CHECKING

from smesh_core.trials import run_trials

from smesh_agent.errors import AgentError
from smesh_agent.workflows.bench.report import usable_cores
from smesh_agent.workflows.resilience.journal import Done
from smesh_agent.workflows.resilience.plan import SYSTEMS

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from smesh_core.trials import Trial

    from smesh_agent.workflows.resilience.journal import Journal
    from smesh_agent.workflows.resilience.plan import Cell, Plan

__all__ = ["Sweep"]


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
        InvalidTopologyError: there are no such networks.
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
        if self._is_stopped.is_set():
            return
        processes = [_Process() for _ in range(min(self._jobs, len(self._left)))]
        try:
            self._run(processes, tell)
        finally:
            for process in processes:
                process.end()

    def _run(self, idle: list[_Process], tell: Callable[[], None]) -> None:
        coming = iter(list(self._left))
        busy: dict[Connection, tuple[_Process, tuple[Cell, int]]] = {}
        while True:
            while idle and not self._is_stopped.is_set() and (one := next(coming, None)) is not None:
                process = idle.pop()
                process.ask(self.plan.trial(*one))
                busy[process.connection] = process, one
            if not busy:
                return
            answered = wait_for(list(busy))
            for connection in [connection for connection in busy if connection in answered]:
                process, (cell, seed) = busy.pop(connection)
                self._keep(process.answer(cell, seed))
                idle.append(process)
                tell()

    def _keep(self, done: Done) -> None:
        if self._journal is not None:
            self._journal.add(done)
        self.done[done.cell, done.seed] = done
        del self._left[done.cell, done.seed]


class _Process:
    """A process that runs one trial after the other, as it is asked."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, trial: Trial) -> None:
        try:
            self.connection.send(trial)
        except OSError:
            raise AgentError(_DIED) from None

    def answer(self, cell: Cell, seed: int) -> Done:
        """What came of the trial that it was asked for last."""
        try:
            results = self.connection.recv()
        except (EOFError, OSError):
            raise AgentError(_DIED) from None
        if isinstance(results, Exception):
            raise results
        return Done(cell, seed, dict(zip(SYSTEMS, results, strict=True)))

    def end(self) -> None:
        self.connection.close()
        self._process.kill()
        self._process.join()
        self._process.close()


_DIED = "a process that ran trials was ended from outside, or ran out of memory"


def _serve(connection: Connection) -> None:
    """In a process of its own: run what is asked for until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this one hears Ctrl-C
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            trial = connection.recv()
        except EOFError:
            return
        try:
            connection.send(run_trials(trial, list(SYSTEMS.values())))
        except Exception as error:  # noqa: BLE001 - it is raised by whoever asked
            connection.send(error)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)
