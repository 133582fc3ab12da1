"""What has been tried so far, in a file from which a later sweep goes on.

It is text: a line that names what is tried and the version of smesh-core, then one line for each trial, each with a
checksum. A last line that was cut short is dropped; any other that is wrong is an error, and nothing is overwritten.
More seeds, attacks, extents and topologies can be added to a journal; another size of network cannot.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Self

import msgspec
import smesh_core
from smesh_core.trials import Result

from smesh_agent.errors import AgentError
from smesh_agent.workflows.resilience.plan import SYSTEMS, Cell

if TYPE_CHECKING:
    from pathlib import Path

    from smesh_agent.workflows.resilience.plan import Plan

__all__ = ["Done", "Journal"]


class Done(msgspec.Struct, frozen=True):
    """One trial that has been run: its cell, its seed, and the result of each system by name."""

    cell: Cell
    seed: int
    results: dict[str, Result]


class _Head(msgspec.Struct, frozen=True, tag="smesh.resilience.journal/1"):
    plan: str
    core: str


class Journal:
    """A file of trials; a context manager.

    Args:
        path: the file; made if there is none.
        plan: of what.

    Attributes:
        done: what it holds, by cell and seed.

    Raises:
        AgentError: the file cannot be used, is of other networks or another version, or is corrupt.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        self._path = path
        self._head = _Head(plan.digest(), smesh_core.__version__)
        self.done: dict[tuple[Cell, int], Done] = {}
        if path.exists() and not path.is_file() and not path.is_dir():
            raise AgentError(f"{path} is no file that a journal can be kept in")
        try:
            held = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise AgentError(f"cannot read {path}: {error.strerror}") from None
        whole = self._take(held)
        try:
            self._file = path.open("ab", buffering=0)  # what could not be written is not tried again at the end
            if whole < len(held):
                self._file.truncate(whole)
            if not whole:
                self._write(msgspec.json.encode(self._head))
        except OSError as error:
            raise AgentError(f"cannot write {path}: {error.strerror}") from None

    def add(self, done: Done) -> None:
        """Write a trial down.

        Raises:
            AgentError: it cannot be written.
        """
        try:
            self._write(msgspec.json.encode(done))
        except OSError as error:
            raise AgentError(f"cannot write {self._path}: {error.strerror}") from None
        self.done[done.cell, done.seed] = done

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _take(self, held: bytes) -> int:
        """Take in what is held; how many bytes of it are whole lines."""
        *lines, rest = held.split(b"\n")
        if not lines and rest and not rest.startswith(b'{"type":"smesh.resilience'[: len(rest)]):
            raise AgentError(f"{self._path} is not a journal of smesh resilience, and is left as it is")
        for number, line in enumerate(lines, 1):
            text, _, check = line.rpartition(b" ")
            if check != _check(text):
                raise AgentError(f"{self._path}, line {number}: not what smesh resilience wrote; it is left as it is")
            try:
                if number == 1:
                    self._compare(msgspec.json.decode(text, type=_Head))
                else:
                    self._hold(msgspec.json.decode(text, type=Done))
            except (msgspec.DecodeError, KeyError):
                raise AgentError(f"{self._path}, line {number}: not a line of such a journal") from None
        return len(held) - len(rest)

    def _compare(self, head: _Head) -> None:
        if head.core != self._head.core:
            raise AgentError(f"{self._path} was made by smesh-core {head.core}, and this is {self._head.core}")
        if head.plan != self._head.plan:
            raise AgentError(f"{self._path} is of other networks; take its own --nodes, --degree, --rounds and --ticks")

    def _hold(self, done: Done) -> None:
        results = {name: done.results[name] for name in SYSTEMS}
        self.done[done.cell, done.seed] = Done(done.cell, done.seed, results)

    def _write(self, text: bytes) -> None:
        left = text + b" " + _check(text) + b"\n"
        while left:
            left = left[self._file.write(left) :]


def _check(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:16].encode()
