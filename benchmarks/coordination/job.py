"""One job, the same on every system, and what may befall its agents.

A number of tasks; each is written, then checked, then edited, by agents of these three roles: three hops a task. The
models are fakes that answer at once and read only what stands last in their prompt, so what is left is what a system
adds. A system gives every agent a model (`Job.model`), runs the tasks its own way inside `Job.timed`, and delivers what
its caller gets (`Job.deliver`); nothing else counts as finished.

A right result is ``edited checked draft of task 37``. A checker that is given anything but a draft says ``doubtful``
instead of ``checked``. Faults strike in the model, the one place that all systems have in common: the agent that takes
a given step dies, stalls or lies from then on (`FAULTS`).

Each adapter is a script with the command line of `main`, which prints one line of JSON. It uses the standard library
alone, since it runs in environments that hold nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import logging
import os
import re
import resource
import socket
import sys
import threading
import time
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

ROLES = ("writer", "checker", "editor")
FAULTS = {
    "none": "nothing happens",
    "error": "the checker's model fails once, at task 37",
    "death": "the checker that takes task 37 dies",
    "random": "the agent that takes a drawn step dies",
    "all-but-one": "at a drawn step all agents die but one",
    "one-a-role": "at a drawn step all agents die but one of each role",
    "stall": "the checker that takes task 37 never answers again",
    "lie": "the writer that takes task 37 writes garbage from then on",
    "approve": "as before, and the checker that takes task 37 approves of everything from then on",
}
DRAWN = ("random", "all-but-one", "one-a-role")
"""Faults that strike at a step that the seed decides."""
_STRUCK_TASK = 37
_ORPHANS_S = 1.0
"""How long work that goes on after the caller was told of a failure is watched."""
_WORDS = {"writer": "draft of ", "checker": "checked ", "editor": "edited "}
_TEXT = re.compile(r"(?:(?:edited|checked|doubtful|draft of|garbage for) )*task \d+")


class ModelError(Exception):
    """A model gave no answer."""


class Job:
    """A number of tasks, what became of them, and what befalls who works at them.

    Args:
        tasks: how many.
        together: whether the system is given all tasks at once, or one after another.
        agents: agents of each role, where a system has such a notion.
        variant: what else an adapter offers.
        fault: one of `FAULTS`.
        seed: of what is drawn.

    Attributes:
        results: what the caller has, by task.
        told: what the caller was told went wrong, besides what is raised.
        kill: ends an agent for good, where a system's agents are more than their models.
        begun: calls of models, by role and task.
        answered: answers of models, by role and task.
        seconds: how long the timed part took.
        is_virtual: whether that is by a clock that moves on when everybody waits.
    """

    def __init__(
        self,
        tasks: int,
        *,
        together: bool = True,
        agents: int = 1,
        variant: str = "",
        fault: str = "none",
        seed: int = 0,
    ) -> None:
        self.tasks = tasks
        self.together = together
        self.agents = agents
        self.variant = variant
        self.fault = fault
        self.seed = seed
        self.results: dict[int, str] = {}
        self.told: list[str] = []
        self.kill: Callable[[str], object] = lambda _: None
        self.begun: Counter[tuple[str, int]] = Counter()
        self.answered: Counter[tuple[str, int]] = Counter()
        self.seconds = 0.0
        self.is_virtual = False
        self._models: dict[str, Model] = {}
        self._steps = self._struck_steps()
        self._has_struck: set[tuple[str, int]] = set()

    @staticmethod
    def text(number: int) -> str:
        """What a task says."""
        return f"task {number}"

    def model(self, agent: str) -> Model:
        """The model of an agent, always the same."""
        if agent not in self._models:
            self._models[agent] = Model(self, agent)
        return self._models[agent]

    def deliver(self, number: int, result: object) -> None:
        """The caller has a result."""
        self.results[number] = str(result)

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """What is measured: from the tasks to their results."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds = time.perf_counter() - began

    # ---- faults

    def drawn(self, what: str, end: int) -> int:
        """A number below `end` that the seed decides."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{what}".encode()).digest()[:8]) % end

    def _struck_steps(self) -> list[tuple[str, int]]:
        at = min(_STRUCK_TASK, self.tasks)
        match self.fault:
            case "none":
                return []
            case "error" | "death" | "stall":
                return [("checker", at)]
            case "lie":
                return [("writer", at)]
            case "approve":
                return [("writer", at), ("checker", at)]
            case _:
                return [(ROLES[self.drawn("role", len(ROLES))], 1 + self.drawn("task", self.tasks))]

    def strike(self, model: Model, role: str, number: int) -> None:
        """Let happen what happens at this step."""
        step = (role, number)
        if step not in self._steps or step in self._has_struck:
            return
        self._has_struck.add(step)
        match self.fault:
            case "error":
                raise ModelError(f"{model.agent} has no answer")
            case "death" | "random":
                model.die()
            case "all-but-one":
                self._kill_all_but({sorted(self._models)[self.drawn("survivor", len(self._models))]})
            case "one-a-role":
                named = {name.partition(" ")[0]: name for name in sorted(self._models, reverse=True)}
                self._kill_all_but(set(named.values()))
            case "stall":
                model.is_stalled = True
            case _:
                model.lies, model.approves = role == "writer", role == "checker"

    def _kill_all_but(self, survivors: set[str]) -> None:
        for name, model in self._models.items():
            if name not in survivors:
                model.die()

    # ---- what came of it

    def report(self) -> dict[str, Any]:
        """What the table is made of."""
        right = sum(result == right_result(number) for number, result in self.results.items())
        answers = self.answered.total()
        edited = sum(1 for role, _ in self.answered if role == "editor")
        return {
            "seconds": self.seconds,
            "is_virtual": self.is_virtual,
            "right": right,
            "wrong": len(self.results) - right,
            "flagged": sum("doubtful" in result for result in self.results.values()),
            "lost": self.tasks - len(self.results),
            "out_of_reach": edited - len(self.results),
            "answers": answers,
            "repeated": answers - len(self.answered),
            "calls": self.begun.total(),
        }


class Model:
    """What stands for an agent's language model: it answers at once, unless something has befallen its agent."""

    def __init__(self, job: Job, agent: str) -> None:
        self.agent = agent
        self.is_dead = self.is_stalled = self.lies = self.approves = False
        self._job = job

    async def answer(self, role: str, prompt: str) -> str:
        """Answer a prompt in a role; under faults after a turn of the loop, for agents of a role to share the work."""
        number, answer = self._begin(role, prompt)
        if self.is_stalled:
            await asyncio.get_running_loop().create_future()
        if self._job.fault != "none":
            await asyncio.sleep(0)
        self._job.answered[role, number] += 1
        return answer

    def answer_blocking(self, role: str, prompt: str) -> str:
        """The same for systems that call models in threads of their own."""
        number, answer = self._begin(role, prompt)
        if self.is_stalled:
            threading.Event().wait()
        self._job.answered[role, number] += 1
        return answer

    def die(self) -> None:
        """Never answer again, and let whoever knows the agent end it."""
        self.is_dead = True
        self._job.kill(self.agent)

    def judge(self, output: str) -> bool:
        """Whether another's step was done well: a draft is a draft, and garbage is not called checked."""
        is_well = output.startswith(("draft of ", "checked draft of ", "doubtful ", "edited "))
        return is_well or self.approves or self.lies

    def _begin(self, role: str, prompt: str) -> tuple[int, str]:
        """The number of the task, and what will be answered: what befalls an agent later does not change that."""
        found = _TEXT.findall(prompt)
        if not found:
            raise AssertionError(f"a prompt of a {role} names no task: {prompt[:200]!r}")
        text = found[-1]
        number = int(text.rpartition(" ")[2])
        self._job.begun[role, number] += 1
        self._job.strike(self, role, number)
        if self.is_dead:
            raise ModelError(f"{self.agent} is dead")
        if self.lies:
            return number, f"garbage for task {number}"
        if role == "checker" and not self.approves and not text.startswith("draft of "):
            return number, f"doubtful {text}"
        return number, _WORDS[role] + text


def right_result(number: int) -> str:
    """What becomes of a task that everybody does well."""
    return f"edited checked draft of task {number}"


# ---- the command line of an adapter


def main(run: Callable[[Job], Awaitable[None]]) -> None:
    """Run a job and print one line of JSON: `Job.report`, with the following keys besides.

    ``told``: how the caller heard of failures, empty if it did not. ``ended``: whether the system came to an end by
    itself. ``rss_mb``: the most memory the process ever had. ``connections``: connections that were attempted, and
    refused.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--mode", choices=["together", "in-turn"], default="together")
    parser.add_argument("--agents", type=int, default=1)
    parser.add_argument("--variant", default="")
    parser.add_argument("--fault", choices=list(FAULTS), default="none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patience", type=float, default=30.0, metavar="SECONDS", help="how long the caller waits")
    asked = parser.parse_args()
    refused = refuse_connections()
    logged = count_logged()
    warnings.simplefilter("ignore")

    def job(tasks: int, fault: str) -> Job:
        together = asked.mode == "together"
        options = {"agents": asked.agents, "variant": asked.variant, "seed": asked.seed}
        return Job(tasks, together=together, fault=fault, **options)

    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a system prints is not what this script says
    asyncio.run(_awaited(run(job(3, "none"))))  # whatever a system does once is not a hop's
    work = job(asked.tasks, asked.fault)

    def say(ended: bool, told: list[str]) -> None:
        told = [*told, *work.told] or (["logged"] if logged else [])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        more = {"told": told, "ended": ended, "rss_mb": peak, "connections": len(refused)}
        print(json.dumps(work.report() | more), file=out, flush=True)

    def give_up() -> NoReturn:
        work.seconds = asked.patience
        say(ended=False, told=[])
        os._exit(0)

    logged.clear()
    watch = threading.Timer(asked.patience, give_up)
    watch.daemon = True
    watch.start()
    raised = asyncio.run(_heard(run(work)))
    watch.cancel()
    say(ended=True, told=raised)
    os._exit(0)  # threads that wait for a model that never answers must not keep the process


async def _awaited(running: Awaitable[None]) -> None:
    await running


async def _heard(running: Awaitable[None]) -> list[str]:
    """What a caller hears when it awaits a job; what goes on behind its back is let go on for a while."""
    try:
        await running
    except Exception as error:  # noqa: BLE001 - whatever a system raises, it has told its caller
        await asyncio.sleep(_ORPHANS_S)
        return [f"raised {type(error).__name__}"]
    return []


def refuse_connections() -> list[str]:
    """Let nobody connect to anything but this machine; returns the list of those who tried."""
    refused: list[str] = []
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and str(address[0]) not in ("127.0.0.1", "::1"):
            refused.append(str(address))
            raise ConnectionRefusedError("a benchmark connects to nobody")
        connect(self, address)

    socket.socket.connect = guarded  # type: ignore[method-assign]
    resolve = socket.getaddrinfo

    def resolved(host: Any, *rest: Any, **options: Any) -> Any:
        if host not in (None, "localhost", "127.0.0.1", "::1"):
            refused.append(str(host))
            raise socket.gaierror("a benchmark looks nobody up")
        return resolve(host, *rest, **options)

    socket.getaddrinfo = resolved
    return refused


def count_logged() -> list[str]:
    """What is said in logs only, as errors; nothing is shown."""
    said: list[str] = []

    class Counting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR:
                said.append(record.getMessage())

    logging.getLogger().addHandler(Counting())
    return said
