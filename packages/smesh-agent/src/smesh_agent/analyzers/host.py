"""The parent's side of the worker: shares of files, sent to child processes, gathered into one outcome.

A file on which a worker dies by a signal (a parser that overflows its stack takes the process with it) is
found by the position the worker leaves in a small file, set aside as unread, and the rest asked again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from smesh_agent.analyzers.base import Outcome, Unread
from smesh_agent.analyzers.process import CrashError, HungError, Slots, run_process
from smesh_agent.errors import AnalyzerFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from smesh_agent.tree import SourceFile, Tree

__all__ = ["Request", "WorkerAnalyzer", "merge", "shares", "time_limit_s"]

TIMEOUT_S = 120.0
# bandit, the slowest, needs about 3 s for a MiB; ten times as much is a hang, not a slow machine.
TIMEOUT_S_PER_MIB = 30.0
_SHARE_BYTES_MIN = 384 * 1024
_CRASHES_FORGIVEN = 3


class Request(msgspec.Struct, frozen=True):
    """What a worker is asked: to read these files, given as (path, encoding)."""

    files: list[tuple[str, str]]


class WorkerAnalyzer:
    """An analyzer that runs as a library in child processes.

    Subclasses set the names, say which files they read, and whether files can be read apart from each other.
    """

    name: str
    role: str
    lineage: str
    separable = False

    def __init__(self, *, slots: Slots | None = None, timeout_s: float | None = None) -> None:
        self._slots = slots or Slots()
        self._timeout_s = timeout_s

    def select(self, tree: Tree) -> Sequence[SourceFile]:
        """The files this analyzer reads; Python that runs, unless a subclass says otherwise."""
        return tree.python(stubs=False)

    async def run(self, tree: Tree) -> Outcome:
        """Read the whole tree once.

        Raises:
            AnalyzerFailedError: it crashed, hung or answered something unreadable.
        """
        files = self.select(tree)
        count = self._slots.count if self.separable else 1
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._ask(tree, share)) for share in shares(files, count)]
        except* AnalyzerFailedError as errors:
            # The others were cancelled for the first failure; that one is worth a line.
            raise next(_leaves(errors)) from None
        return merge([task.result() for task in tasks])

    async def _ask(self, tree: Tree, share: Sequence[SourceFile]) -> Outcome:
        files, crashed = list(share), list[Unread]()
        with _position_file() as position:
            while True:
                try:
                    outcome = await self._ask_once(tree, files, position)
                except CrashError as error:
                    culprit = _position(position, files)
                    if not error.signal_name or culprit is None or len(crashed) == _CRASHES_FORGIVEN:
                        raise
                    crashed.append(Unread(culprit.path, f"{self.name} was ended by {error.signal_name}"))
                    files.remove(culprit)
                except HungError as error:
                    culprit = _position(position, files)
                    where = f" (in {culprit.path})" if culprit else ""
                    raise HungError(self.name, error.reason + where) from None
                else:
                    return Outcome(outcome.observations, outcome.unread + crashed)

    async def _ask_once(self, tree: Tree, files: Sequence[SourceFile], position: str) -> Outcome:
        request = Request([(file.path, file.encoding) for file in files])
        answer = await run_process(
            self.name,
            [
                sys.executable,
                "-P",  # never import from the directory that is reviewed
                "-m",
                "smesh_agent.analyzers.worker",
                self.name,
                os.fsencode(tree.root),
                position,
            ],
            slots=self._slots,
            timeout_s=self._timeout_s or time_limit_s(files),
            request=msgspec.json.encode(request) + b"\n",
        )
        try:
            return await asyncio.to_thread(msgspec.json.decode, answer, type=Outcome)
        except msgspec.DecodeError as error:
            raise AnalyzerFailedError(self.name, f"unreadable answer: {error}") from None


def time_limit_s(files: Sequence[SourceFile]) -> float:
    """How long an analyzer may take for these files before it counts as hung."""
    return max(TIMEOUT_S, TIMEOUT_S_PER_MIB * sum(file.size_bytes for file in files) / 1024 / 1024)


def shares(files: Sequence[SourceFile], count: int) -> list[list[SourceFile]]:
    """Up to ``count`` shares of about the same size; a small tree is not worth a second process."""
    total_bytes = sum(file.size_bytes for file in files)
    count = min(count, max(1, total_bytes // _SHARE_BYTES_MIN))
    parts: list[list[SourceFile]] = [[] for _ in range(count)]
    sizes = [0] * count
    for file in sorted(files, key=lambda file: (-file.size_bytes, file.path)):
        smallest = sizes.index(min(sizes))
        parts[smallest].append(file)
        sizes[smallest] += file.size_bytes
    return [sorted(part, key=lambda file: file.path) for part in parts if part]


def merge(outcomes: Sequence[Outcome]) -> Outcome:
    """One outcome out of several, in an order that does not depend on who was first."""
    observations = [observation for outcome in outcomes for observation in outcome.observations]
    observations.sort(key=lambda seen: (seen.path, seen.line, seen.rule, seen.message))
    unread = {entry for outcome in outcomes for entry in outcome.unread}
    return Outcome(observations, sorted(unread, key=lambda entry: (entry.path, entry.reason)))


def _leaves(group: BaseExceptionGroup[AnalyzerFailedError]) -> Iterator[AnalyzerFailedError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


@contextlib.contextmanager
def _position_file() -> Iterator[str]:
    descriptor, path = tempfile.mkstemp(prefix="smesh-position-")
    os.close(descriptor)
    try:
        yield path
    finally:
        Path(path).unlink()


def _position(path: str, files: Sequence[SourceFile]) -> SourceFile | None:
    """The file the worker was reading last."""
    text = Path(path).read_bytes().strip()
    return files[int(text)] if text.isdigit() and int(text) < len(files) else None
