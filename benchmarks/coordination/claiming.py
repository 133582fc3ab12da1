"""How claiming grows: agents that share tasks through a field, against workers that share a central queue.

Two runs for each number of agents and of tasks, all of one skill. In the first, tasks take times drawn from 0.5 to 1.5
virtual seconds, the same for both systems, on clocks that move on when everybody waits: it gives the makespan, the
claims that were made in vain and the work that was done twice. In the second, work takes no time and the clock is the
machine's: it gives processor time a task, everything included from the first task posted to the last reported.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import selectors
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from typing import TYPE_CHECKING, NamedTuple

import machine
from environments import replace_measured
from smesh_agent.work import Answer, Profile, run
from smesh_core import Signal
from smesh_core.payload import Claim, Task, payload_of
from smesh_runtime import SystemClock, VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from smesh_core.payload import Result
    from smesh_runtime import Clock

HERE = Path(__file__).resolve().parent
_EPOCH_NS = 10**18


class VirtualSelector(selectors.DefaultSelector):
    """Lets a loop's virtual clock move on whenever nothing is left to do at the present time."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        is_idle = timeout is None or timeout > 0
        ready = super().select(0)
        if ready or not is_idle or self._clock.advance_to_next():
            return ready
        return super().select(timeout)


class Trial(NamedTuple):
    """What came of one run.

    Attributes:
        done: tasks that were done.
        vain: claims beyond the first of each task.
        twice: work beyond the first of each task.
        makespan_s: from the first task to the last result, by the run's clock.
        cpu_s: processor time.
    """

    done: int
    vain: int
    twice: int
    makespan_s: float
    cpu_s: float


def duration_s(number: int) -> float:
    """How long a task takes, from 0.5 to 1.5 seconds, decided by its number."""
    return 0.5 + int.from_bytes(hashlib.sha256(b"duration %d" % number).digest()[:8]) / 2**64


def timed(clock: Clock, work: Callable[[], Coroutine[None, None, tuple[int, int, int]]]) -> Trial:
    """Run a trial in a loop of its own."""

    def loop() -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(VirtualSelector(clock) if isinstance(clock, VirtualClock) else None)

    gc.collect()
    with asyncio.Runner(loop_factory=loop) as runner:
        began_ns, began_s = clock.monotonic_ns(), time.process_time()
        counted = runner.run(work())
        return Trial(*counted, (clock.monotonic_ns() - began_ns) / 1e9, time.process_time() - began_s)


def on_smesh(agents: int, tasks: int, clock: Clock) -> Trial:
    begun: Counter[str] = Counter()
    claims: set[tuple[bytes, str, int]] = set()

    async def work(task: Task, _: Mapping[str, Result]) -> Answer:
        begun[task.what] += 1
        await clock.sleep(duration_s(int(task.what)) if is_virtual else 0)
        return Answer(output=task.what)

    def told(element: object) -> None:
        if isinstance(element, Signal):
            payload = payload_of(element)
            if isinstance(payload, Claim):
                claims.add((element.author, payload.task, payload.attempt))

    async def go() -> tuple[int, int, int]:
        profiles = [Profile(name=f"agent {n}", skills=("any",), work=work) for n in range(agents)]
        jobs = [Task(what=str(n), skill="any", key=str(n)) for n in range(tasks)]
        if is_virtual:
            outcome = await run(jobs, profiles, clock=clock, told=told)
        else:
            outcome = await run(jobs, profiles, clock=clock)
        vain = sum(count - 1 for count in Counter(task for _, task, _ in claims).values())
        return outcome.done, vain, begun.total() - len(begun)

    is_virtual = isinstance(clock, VirtualClock)
    return timed(clock, go)


def on_queue(agents: int, tasks: int, clock: Clock) -> Trial:
    is_virtual = isinstance(clock, VirtualClock)

    async def go() -> tuple[int, int, int]:
        queue: asyncio.Queue[int] = asyncio.Queue()
        results: dict[int, str] = {}

        async def work() -> None:
            while True:
                number = await queue.get()
                await clock.sleep(duration_s(number) if is_virtual else 0)
                results[number] = str(number)
                queue.task_done()

        for number in range(tasks):
            queue.put_nowait(number)
        workers = [asyncio.create_task(work()) for _ in range(agents)]
        await queue.join()
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        return len(results), 0, 0

    return timed(clock, go)


HEAD = f"{'':>16}{'claims':>9}{'done':>8}{'makespan, virtual s':>25}{'':>9}{'CPU us a task':>20}{'':>9}"
HEAD_BELOW = (
    f"{'agents':>8}{'tasks':>8}{'in vain':>9}{'twice':>8}{'SMESH':>14}{'queue':>11}{'ratio':>9}"
    f"{'SMESH':>11}{'queue':>9}{'ratio':>9}"
)


def line(agents: int, tasks: int, repeats: int) -> str:
    ours = on_smesh(agents, tasks, VirtualClock(_EPOCH_NS))
    base = on_queue(agents, tasks, VirtualClock(_EPOCH_NS))
    if ours.done != tasks:
        raise SystemExit(f"{agents:,} agents did only {ours.done:,} of {tasks:,} tasks")
    cpu_us = min(on_smesh(agents, tasks, SystemClock()).cpu_s for _ in range(repeats)) / tasks * 1e6
    base_us = min(on_queue(agents, tasks, SystemClock()).cpu_s for _ in range(repeats)) / tasks * 1e6
    spans = f"{ours.makespan_s:14,.2f}{base.makespan_s:11,.2f}{ours.makespan_s / base.makespan_s:9.3f}"
    costs = f"{cpu_us:11,.1f}{base_us:9,.2f}{cpu_us / base_us:9,.0f}"
    return f"{agents:8,}{tasks:8,}{ours.vain:9,}{ours.twice:8,}{spans}{costs}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, nargs="+", default=[3, 10, 30, 100, 300, 1000])
    parser.add_argument("--tasks", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--repeats", type=int, default=3, help="of the runs for processor time; the least is shown")
    parser.add_argument("--update-readme", action="store_true", help="put the table into README.md")
    asked = parser.parse_args()
    lines = [machine.describe(), HEAD, HEAD_BELOW]
    print("\n".join(lines), flush=True)
    for agents in asked.agents:
        for tasks in asked.tasks:
            lines.append(line(agents, tasks, asked.repeats))
            print(lines[-1], flush=True)
    if asked.update_readme:
        replace_measured(HERE / "README.md", "\n".join(lines), mark="claiming")


if __name__ == "__main__":
    main()
