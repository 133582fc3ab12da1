"""Cassettes: real calls of models, recorded, and replayed exactly.

A cassette is a file of JSON lines. The first says what it is; each other line is one call: the request as it was sent,
without any secret, and what came of it, piece by piece with its time, or the error. A line is on the disk before the
call is over, so a run that is killed leaves all calls that had ended; half a line at the end is told and left out.

Replaying needs neither a network nor a key nor the backend that was recorded. A call is found by what it asks, and of
equal ones each is given once, in the order in which they were recorded; so agents may ask in any order, and a run that
asks for anything else is told what is different. Errors are raised again as what they were.
"""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import json
import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from smesh_agent import errors
from smesh_agent.backends.base import Backend, Completion, Delta, ModelInfo, Request
from smesh_agent.errors import BackendError, CassetteError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from smesh_runtime import Clock

    from smesh_agent.backends.base import Piece

__all__ = ["SCHEMA", "Cassette", "Recording"]

SCHEMA: Final = "smesh.cassette/1"
_NAME: Final = "cassette"
_DIFFERENCE_LINES_MAX: Final = 40
_CANDIDATES_MAX: Final = 200
_LINE_BYTES_MAX: Final = 64 * 1024 * 1024


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """The first line."""

    schema: str


class _Failed(msgspec.Struct, frozen=True, kw_only=True, tag="error"):
    kind: str
    reason: str
    retry_after_s: float | None = None


class _Said(msgspec.Struct, frozen=True, kw_only=True, tag="delta"):
    text: str


class _Ended(msgspec.Struct, frozen=True, kw_only=True, tag="completion"):
    completion: Completion


_Event: TypeAlias = _Failed | _Said | _Ended


class _Timed(msgspec.Struct, frozen=True, kw_only=True):
    """Something that came, so many seconds after the request was sent."""

    at_s: float
    event: _Event


class _Call(msgspec.Struct, frozen=True, kw_only=True):
    """One line: what was asked of which model, and what came."""

    backend: str
    model: str
    is_local: bool
    request: Request
    events: list[_Timed]


# ---- recording


class Recording:
    """A cassette in the making.

    Args:
        path: its file, which must not be there yet.
        redact: takes secrets out of texts; applied to what is asked and to what is answered.
        clock: time.

    Raises:
        CassetteError: the file is there already, or cannot be written.
    """

    def __init__(self, path: Path, *, redact: Callable[[str], str], clock: Clock) -> None:
        self._redact = redact
        self._clock = clock
        self._path = path
        self._lock = threading.Lock()
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except OSError as error:
            what = (
                "it is there already; record to another file" if isinstance(error, FileExistsError) else error.strerror
            )
            raise CassetteError(_NAME, f"{path}: {what}") from error
        self._write(_Head(schema=SCHEMA))

    def of(self, backend: Backend) -> Backend:
        """A backend whose calls are recorded."""
        return _Recorded(self, backend)

    def close(self) -> None:
        """No more is recorded."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def keep(self, backend: Backend, request: Request, events: list[_Timed]) -> None:
        """Write a call down."""
        call = _Call(
            backend=backend.name, model=backend.model, is_local=backend.is_local, request=request, events=events
        )
        self._write(_mapped(msgspec.to_builtins(call), self._redact))

    def now_s(self) -> float:
        """Seconds from some moment."""
        return self._clock.monotonic_ns() / 1e9

    def _write(self, value: Any) -> None:
        line = msgspec.json.encode(value) + b"\n"
        try:
            with self._lock:
                os.write(self._file, line)
                os.fsync(self._file)
        except OSError as error:
            raise CassetteError(_NAME, f"{self._path}: {error.strerror}; the call was not recorded") from error


class _Recorded:
    """A backend whose calls are written down."""

    def __init__(self, recording: Recording, backend: Backend) -> None:
        self._recording = recording
        self._backend = backend
        self.name, self.model, self.is_local = backend.name, backend.model, backend.is_local

    async def stream(self, request: Request) -> AsyncIterator[Piece]:
        """See `Backend.stream`."""
        began_s, events = self._recording.now_s(), list[_Timed]()

        def came(event: _Event) -> None:
            events.append(_Timed(at_s=self._recording.now_s() - began_s, event=event))

        try:
            async for piece in self._backend.stream(request):
                came(_Said(text=piece.text) if isinstance(piece, Delta) else _Ended(completion=piece))
                if isinstance(piece, Completion):
                    await asyncio.to_thread(self._recording.keep, self._backend, request, events)
                yield piece
        except CassetteError:
            raise
        except BackendError as error:
            came(_Failed(kind=type(error).__name__, reason=error.reason, retry_after_s=error.retry_after_s))
            await asyncio.to_thread(self._recording.keep, self._backend, request, events)
            raise

    async def count_tokens(self, request: Request) -> int | None:
        """See `Backend.count_tokens`; is not recorded."""
        return await self._backend.count_tokens(request)

    async def models(self) -> list[ModelInfo]:
        """See `Backend.models`; is not recorded."""
        return await self._backend.models()

    async def close(self) -> None:
        """Close the backend."""
        await self._backend.close()


# ---- replaying


class Cassette:
    """What was recorded, to be replayed; made by `Cassette.read`.

    Attributes:
        torn: whether the last line broke off, and was left out.
    """

    def __init__(self, calls: list[_Call], path: Path, *, torn: bool) -> None:
        self.torn = torn
        self._path = path
        self._waiting: dict[str, deque[_Call]] = {}
        for call in calls:
            self._waiting.setdefault(_key(call.request), deque()).append(call)
        self._known = {_key(call.request): call.request for call in calls}
        self._first = calls[0] if calls else None

    @classmethod
    def read(cls, path: Path) -> Cassette:
        """Read a cassette.

        Raises:
            CassetteError: it cannot be read, is none, or a line of it is damaged.
        """
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError as error:
            raise CassetteError(_NAME, f"{path}: {error.strerror}") from error
        last = lines.pop()
        try:
            head = msgspec.json.decode(lines[0] if lines else last, type=_Head)
        except msgspec.MsgspecError as error:
            raise CassetteError(_NAME, f"{path}: it is no recording of SMESH") from error
        if head.schema != SCHEMA:
            raise CassetteError(_NAME, f"{path}: it is of {head.schema!r}, and this version reads {SCHEMA}")
        calls: list[_Call] = []
        for number, line in enumerate(lines[1:], 2):
            try:
                calls.append(msgspec.json.decode(line, type=_Call))
            except msgspec.MsgspecError as error:
                raise CassetteError(_NAME, f"{path}, line {number}: it is damaged: {error}") from error
        return cls(calls, path, torn=bool(last))

    def backend(self, model: str = "") -> Backend:
        """A backend that answers from the cassette, by the name of the model that was recorded."""
        return _Replayed(self, model or (self._first.model if self._first is not None else ""))

    @property
    def is_scripted(self) -> bool:
        """Whether what was recorded is scripted text."""
        return self._first is not None and self._first.backend == "scripted"

    @property
    def is_local(self) -> bool:
        """Whether what was recorded had no price."""
        return self._first is None or self._first.is_local

    @property
    def left(self) -> int:
        """Calls that nobody has asked for yet."""
        return sum(map(len, self._waiting.values()))

    def take(self, request: Request) -> _Call:
        """The next recorded call that asked just this.

        Raises:
            CassetteError: there is none, or no more; its `difference` says how it differs from what there is.
        """
        waiting = self._waiting.get(_key(request))
        if waiting:
            return waiting.popleft()
        if waiting is not None:
            raise CassetteError(_NAME, f"{self._path}: this was asked before, and was recorded no more often")
        difference = self._difference(request)
        raise CassetteError(
            _NAME,
            f"{self._path}: this was not asked when it was recorded{_first_change(difference)}",
            difference=difference,
        )

    def _difference(self, request: Request) -> str:
        """How a request differs from the one that is most like it, of those that are left."""
        asked = _shown(request)
        left = [self._known[key] for key, waiting in self._waiting.items() if waiting][:_CANDIDATES_MAX]
        if not left:
            return ""
        nearest = max(map(_shown, left), key=lambda one: difflib.SequenceMatcher(None, one, asked).quick_ratio())
        lines = difflib.unified_diff(nearest, asked, "recorded", "asked now", lineterm="", n=1)
        return "\n".join(list(lines)[:_DIFFERENCE_LINES_MAX])


class _Replayed:
    """A backend that answers from a cassette."""

    def __init__(self, cassette: Cassette, model: str) -> None:
        self._cassette = cassette
        self.name, self.model, self.is_local = _NAME, model, cassette.is_local

    async def stream(self, request: Request) -> AsyncIterator[Piece]:
        """See `Backend.stream`; all pieces come at once."""
        call = self._cassette.take(request)
        for timed in call.events:
            await asyncio.sleep(0)
            match timed.event:
                case _Said(text=text):
                    yield Delta(text)
                case _Ended(completion=completion):
                    yield completion
                case _Failed(kind=kind, reason=reason, retry_after_s=retry_after_s):
                    raise _error(kind)(call.backend, reason, retry_after_s=retry_after_s)

    async def count_tokens(self, request: Request) -> int | None:  # noqa: ARG002 - a backend's interface
        """Is not recorded."""
        return None

    async def models(self) -> list[ModelInfo]:
        """See `Backend.models`."""
        return [ModelInfo(name=self.model, detail="recorded")]

    async def close(self) -> None:
        """There is nothing to close."""


def _error(kind: str) -> type[BackendError]:
    found = getattr(errors, kind, None)
    return found if isinstance(found, type) and issubclass(found, BackendError) else BackendError


def _key(request: Request) -> str:
    return hashlib.sha256(msgspec.json.encode(request, order="deterministic")).hexdigest()


def _shown(request: Request) -> list[str]:
    """A request as lines to be compared; long texts line by line."""
    value = msgspec.to_builtins(request)
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    return text.replace("\\n", "\n").splitlines()


def _first_change(difference: str) -> str:
    """The first line that is new, as part of a message."""
    new = next((line[1:].strip() for line in difference.splitlines()[2:] if line.startswith("+")), "")
    return f"; new is {new[:120]}" if new else ""


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """A value of JSON with all its texts changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _mapped(held, change) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(held, change) for held in value]
    return value
