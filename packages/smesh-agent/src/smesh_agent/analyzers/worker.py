"""The child's side: ``python -P -m smesh_agent.analyzers.worker NAME ROOT POSITION``.

One request comes as a line of JSON on the standard input, one answer goes as JSON to the standard output.
Nothing else can get there: libraries that print find their output on the standard error. The index of the
file that is being read is kept in the file POSITION, so that whoever finds this process dead knows where.
A worker whose standard input closes has lost its parent, and ends.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import msgspec

from smesh_agent.analyzers.host import Request
from smesh_agent.tree import FILE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from smesh_agent.analyzers.base import Outcome

__all__ = ["READERS", "Source", "main", "why_unparsed"]

READERS = {
    "bandit": "smesh_agent.analyzers.bandit",
    "detect-secrets": "smesh_agent.analyzers.secrets",
    "radon": "smesh_agent.analyzers.radon",
    "vulture": "smesh_agent.analyzers.vulture",
}


class Source(NamedTuple):
    """One file to be read; the working directory of a worker is the tree's root."""

    path: str
    encoding: str

    def text(self) -> str:
        """Its text, with line ends as they are; bytes that do not decode read as U+FFFD.

        Raises:
            OSError: it cannot be read (any more).
        """
        with Path(self.path).open("rb") as stream:
            data = stream.read(FILE_BYTES_MAX)
        return data.decode(self.encoding or "utf-8", errors="replace")


class _Reader(Protocol):
    """What the module of an analyzer offers to its worker."""

    def read(self, sources: Iterable[Source]) -> Outcome: ...


def main(arguments: list[str]) -> None:
    """Answer the one request."""
    name, root, position = arguments
    answer = os.dup(1)
    os.dup2(2, 1)
    # Line by line, so that what a library prints stands before the complaint that a crash ends with.
    sys.stdout = open(1, "w", buffering=1, closefd=False, encoding="utf-8", errors="replace")  # noqa: SIM115
    request = msgspec.json.decode(sys.stdin.buffer.readline(), type=Request)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    warnings.simplefilter("ignore")  # what the reviewed code would warn of is not our concern
    reader = cast("_Reader", importlib.import_module(READERS[name]))
    # Syntax trees are many small objects: by default a third of the time goes into looking for cycles.
    gc.set_threshold(200_000, 20, 20)
    os.chdir(root)
    outcome = reader.read(_noting_position(request, position))
    with os.fdopen(answer, "wb") as stream:
        stream.write(msgspec.json.encode(outcome))


def why_unparsed(error: BaseException) -> str:
    """Why a parser gave up, in a few words."""
    match error:
        case SyntaxError():
            return f"syntax error in line {error.lineno}: {error.msg}" if error.lineno else str(error.msg)
        case RecursionError() | MemoryError():
            return "nested too deeply"
        case OSError():
            return (error.strerror or type(error).__name__).lower()
        case _:
            return f"{type(error).__name__}: {error}".partition("\n")[0]


def _noting_position(request: Request, position: str) -> Iterator[Source]:
    descriptor = os.open(position, os.O_WRONLY)
    try:
        for index, (path, encoding) in enumerate(request.files):
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, b"%9d" % index)
            yield Source(path, encoding)
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _end_with_parent() -> None:
    # Not sys.stdin: a thread that holds its lock would keep the interpreter from shutting down.
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
