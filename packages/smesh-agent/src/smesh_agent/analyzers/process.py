"""Child processes that can neither hang nor outlive the review that asked them something.

Each child leads a session of its own, so that whatever it starts in turn ends with it. It is ended when it
takes too long, says too much, or when the task that waits for it is cancelled (Ctrl-C, a failing sibling);
in each case this module waits until it is gone, so that nothing is left pending.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING

from smesh_agent.errors import AnalyzerFailedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ANSWER_BYTES_MAX", "CrashError", "HungError", "Slots", "cores", "run_process"]

ANSWER_BYTES_MAX = 512 * 1024 * 1024
_STDERR_TAIL_BYTES = 8 * 1024
_CHUNK_BYTES = 256 * 1024
_REASON_CHARACTERS_MAX = 200


class CrashError(AnalyzerFailedError):
    """The child ended with an error; ``signal_name`` is set if a signal ended it."""

    def __init__(self, analyzer: str, reason: str, signal_name: str = "") -> None:
        super().__init__(analyzer, reason)
        self.signal_name = signal_name


class HungError(AnalyzerFailedError):
    """The child gave no answer in time, and was ended."""


class Slots:
    """How many children may run at once, over all analyzers that share it."""

    def __init__(self, count: int | None = None) -> None:
        self.count = max(1, cores() if count is None else count)
        self._semaphore = asyncio.Semaphore(self.count)

    async def __aenter__(self) -> None:
        await self._semaphore.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._semaphore.release()


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


async def run_process(
    name: str,
    command: Sequence[str | bytes],
    *,
    slots: Slots,
    timeout_s: float,
    cwd: str | None = None,
    environment: Mapping[str, str] | None = None,
    request: bytes = b"",
    successes: frozenset[int] = frozenset({0}),
) -> bytes:
    """What ``command`` writes to its standard output.

    The request goes to its standard input, which stays open until the child ends: a child that sees it
    closed knows that nobody waits for an answer any more. The time limit runs from its start, not from
    when it began to wait for a slot.

    Raises:
        HungError: no answer within ``timeout_s``.
        CrashError: it ended with an exit code that is not among ``successes``, or by a signal.
        AnalyzerFailedError: it cannot be started, or answered more than ``ANSWER_BYTES_MAX``.
    """
    async with slots:
        try:
            child = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=cwd,
                env=environment,
                start_new_session=True,
                limit=_CHUNK_BYTES,
            )
        except OSError as error:
            raise AnalyzerFailedError(name, f"cannot be started: {error.strerror or error}") from None
        answer, complaint = bytearray(), bytearray()
        clean = False
        try:
            async with asyncio.timeout(timeout_s):
                await _converse(child, request, answer, complaint)
            clean = True
        except TimeoutError:
            raise HungError(name, f"no answer within {timeout_s:g} s") from None
        except _TooMuchError:
            reason = f"an answer of more than {ANSWER_BYTES_MAX // 1024 // 1024} MiB"
            raise AnalyzerFailedError(name, reason) from None
        finally:
            await _end(child, clean=clean)
    if child.returncode not in successes:
        raise _crash(name, child.returncode or 0, bytes(complaint))
    return bytes(answer)


class _TooMuchError(Exception):
    """The child said more than ANSWER_BYTES_MAX."""


async def _converse(child: asyncio.subprocess.Process, request: bytes, answer: bytearray, complaint: bytearray) -> None:
    """Write the request, read everything, and wait for the end."""
    assert child.stdin is not None and child.stdout is not None and child.stderr is not None  # noqa: PT018, S101
    writing = asyncio.ensure_future(_write(child.stdin, request))
    complaining = asyncio.ensure_future(_read_tail(child.stderr, complaint))
    try:
        while chunk := await child.stdout.read(_CHUNK_BYTES):
            answer += chunk
            if len(answer) > ANSWER_BYTES_MAX:
                raise _TooMuchError
        await complaining
        await child.wait()
    finally:
        for task in (writing, complaining):
            task.cancel()
        await asyncio.gather(writing, complaining, return_exceptions=True)


async def _write(stream: asyncio.StreamWriter, data: bytes) -> None:
    # A child that ends before it has read everything says why in its exit code.
    with contextlib.suppress(ConnectionError):
        stream.write(data)
        await stream.drain()


async def _read_tail(stream: asyncio.StreamReader, tail: bytearray) -> None:
    while chunk := await stream.read(_CHUNK_BYTES):
        tail += chunk
        del tail[:-_STDERR_TAIL_BYTES]


async def _end(child: asyncio.subprocess.Process, *, clean: bool) -> None:
    """Make sure that the child and all it started are gone, even if we are cancelled once more meanwhile."""
    if not clean:
        _kill(child)
    # Process has no public way to let go of pipes that nobody will read to their end. Only the pipes: closing the
    # whole transport before the child is gone would take its exit code from the watcher that waits for it.
    transport = child._transport  # type: ignore[attr-defined]  # noqa: SLF001
    for descriptor in (0, 1, 2):
        if (pipe := transport.get_pipe_transport(descriptor)) is not None:
            pipe.close()
    gone = asyncio.ensure_future(child.wait())
    interrupted: asyncio.CancelledError | None = None
    while not gone.done():
        try:
            await asyncio.shield(gone)
        except asyncio.CancelledError as error:
            interrupted = error
    transport.close()
    if interrupted is not None:
        raise interrupted


def _kill(child: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)  # it leads its own group, see start_new_session
        else:
            child.kill()


def _crash(name: str, code: int, complaint: bytes) -> CrashError:
    lines = complaint.decode("utf-8", errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    if len(last) > _REASON_CHARACTERS_MAX:
        last = last[: _REASON_CHARACTERS_MAX - 1] + "…"
    signal_name = _signal_name(-code) if code < 0 else ""
    how = f"ended by {signal_name}" if signal_name else f"exit code {code}"
    return CrashError(name, f"{how}: {last}" if last else how, signal_name)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
