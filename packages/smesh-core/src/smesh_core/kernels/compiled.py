"""The numba engine: calls the compiled path for ranges of signals, on as many threads as it is given.

A kernel runs without the interpreter's lock, so plain threads run it side by side. Each takes chunks of signals until
none are left; who takes which changes nothing, because signals do not touch each other and draws are counted, not
shared. Threads live for one call, so that nothing is left that a fork could break; they are started without waiting
for them to run, which takes longer than many a call.
"""

from __future__ import annotations

import _thread
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from smesh_core.kernels import decay, tick
from smesh_core.state import ARRIVAL, NEVER, PENDING, PROGRESS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from smesh_core.state import State

__all__ = ["KERNELS", "Compiled", "compile_all"]

_CHUNKS_PER_THREAD: Final = 8
_CLAIM: Final = 2**13
"""Records of a table that a thread takes at a time, so that what it writes stands together."""
_WANTED_ARRIVALS, _WANTED_PENDING = 4, 5
_PRODUCTS_MAX: Final = 2**20
"""Cells that a thread keeps for products of a signal's relays, 8 bytes each, unless one row needs more."""


KERNELS: Final = (tick.run_signals, decay.decay_columns)


def compile_all() -> None:
    """Compile every kernel, or load it from the cache."""
    for kernel in KERNELS:
        kernel.compile()


class Compiled:
    """Runs a network's signals with the kernels of `kernels.tick`.

    Signals before `_first` have ended for good, so a network that goes on does not go through its whole past each tick.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._version = -1
        self._shared: tuple[Any, ...] = ()
        self._own: list[tuple[Any, ...]] = []
        self._first = 0
        self._next: NDArray[np.int64] = state.signals["next"]
        self._lock = _thread.allocate_lock()

    def run(self, until: int, threads: int) -> None:
        """Advance every signal to the tick `until`."""
        signals = self._state.signal_count
        # What a single tick of a small network takes is mostly the way to the kernel, so this one is short.
        if threads == 1 and self._version == self._state.version:
            while self._first < signals and self._next[self._first] == NEVER:
                self._first += 1
            if tick.run_signals(self._first, signals, until, *self._shared, *self._own[0]) == signals:
                return
        while not self._run_once(until, threads):
            for table, at in (("arrivals", _WANTED_ARRIVALS), ("pending", _WANTED_PENDING)):
                wanted = sum(int(own[-1][at]) for own in self._own)
                self._state.reserve(table, max(wanted, self._state.used[table]))

    def _run_once(self, until: int, threads: int) -> bool:
        """Advance every signal for whose outcome the tables have room; whether that was all of them."""
        signals = self._state.signal_count
        threads = max(1, min(threads, signals))
        if self._version != self._state.version or len(self._own) < threads:
            self._gather(threads)
        if threads == 1:
            return self._run_range(self._first, signals, until, 0)
        tick.run_signals.compile()
        size = max(1, signals // (threads * _CHUNKS_PER_THREAD))
        starts = count(self._first, size)
        failures: list[BaseException] = []
        is_done = [False] * threads

        def work(thread: int, end: _thread.LockType | None = None) -> None:
            try:
                while (first := next(starts)) < signals:
                    if not self._run_range(first, min(first + size, signals), until, thread):
                        return
                is_done[thread] = True
            except BaseException as error:  # noqa: BLE001 - raised again by the thread that asked
                failures.append(error)
            finally:
                if end is not None:
                    end.release()

        ends = [_thread.allocate_lock() for _ in range(1, threads)]
        for thread, end in enumerate(ends, start=1):
            end.acquire()
            _thread.start_new_thread(work, (thread, end))
        work(0)
        for end in ends:
            end.acquire()
        if failures:
            raise failures[0]
        return all(is_done)

    def _run_range(self, first: int, last: int, until: int, thread: int) -> bool:
        """Run signals first..last - 1 on a thread; whether there was room for them all."""
        own = self._own[thread]
        room = own[-1]
        while (first := tick.run_signals(first, last, until, *self._shared, *own)) < last:
            if not self._claim_room(room):
                return False
        return True

    def _claim_room(self, room: NDArray[np.int64]) -> bool:
        """Give a thread more of the unused ends of the tables; whether there was enough."""
        state = self._state
        with self._lock:
            for table, begin, end, wanted in (
                ("arrivals", 0, 1, _WANTED_ARRIVALS),
                ("pending", 2, 3, _WANTED_PENDING),
            ):
                if room[end] - room[begin] >= room[wanted]:
                    continue
                size = max(int(room[wanted]), _CLAIM)
                unused = len(getattr(state, table)) - state.used[table]
                if unused < room[wanted]:
                    return False
                size = min(size, unused)
                room[begin] = state.used[table]
                state.used[table] += size
                room[end] = state.used[table]
                room[wanted] = 0
        return True

    def _gather(self, threads: int) -> None:
        """Collect the arguments of the kernel: arrays of the network, and each thread's own."""
        state, topology = self._state, self._state.topology
        self._shared = (
            state.world,
            state.signals,
            state.arrivals,
            state.pending,
            state.sides,
            state.conducts,
            state.thresholds,
            state.trusts,
            state.pair_offsets,
            state.pair_observers,
            state.pair_trusts,
            topology.offsets,
            topology.targets,
            state.strengths,
            state.latencies,
            state.intensities,
        )
        self._next = state.signals["next"]
        row = -(-state.signals["life"] // tick.BLOCK) * tick.BLOCK
        rows = int(((state.signals["radius"] + 1) * row).max(initial=tick.BLOCK))
        cells = max(min(rows, _PRODUCTS_MAX), int(row.max(initial=tick.BLOCK)))
        hops = int(state.signals["radius"].max(initial=0)) + 1
        own = self._own
        if len(own) < threads or len(own[0][5]) < cells or len(own[0][6]) < hops:
            self._own = [self._scratch(cells, hops) for _ in range(threads)]
        self._version = state.version

    def _scratch(self, cells: int, hops: int) -> tuple[Any, ...]:
        """What a thread works in; most of it is never written to, and so costs nothing."""
        topology = self._state.topology
        return (
            np.zeros(1, PROGRESS),
            np.empty(topology.node_count, ARRIVAL),
            np.empty(max(1, topology.hypha_count), PENDING),
            np.zeros(topology.node_count, np.int32),
            np.empty(tick.WINDOW, np.int32),
            np.empty(cells),
            np.empty(hops, np.int8),
            np.zeros(6, np.int64),
        )
