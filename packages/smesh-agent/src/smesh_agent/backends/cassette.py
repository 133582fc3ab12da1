"""Cassettes: real calls of models, recorded, and replayed exactly.

A cassette is a file of JSON lines. The first says what it is; each other line is one call: the request as it was sent,
without any secret, and what came of it, piece by piece with its time, or the error. A line is on the disk before the
call is over, so a run that is killed leaves all calls that had ended; half a line at the end is told and left out. A
call that was given up half-way is replayed as one that timed out.

Replaying needs neither a network nor a key nor the backend that was recorded. A call is found by what it asks, and of
equal ones each is given once, in the order in which they were recorded; so agents may ask in any order, and a run that
asks for anything else is told what is different. Errors are raised again as what they were. What was recorded keeps its
model's price, so that a budget is spent as it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import hashlib
import json
import os
import threading
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec
from smesh_runtime import SystemClock

from smesh_agent import errors
from smesh_agent.backends.base import Backend, Completion, Delta, ModelInfo, Request
from smesh_agent.credentials import is_given_under
from smesh_agent.errors import BackendError, CallTimeoutError, CassetteError, RequestRejectedError
from smesh_agent.redaction import Redactor

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
    from pathlib import Path

    from smesh_runtime import Clock

    from smesh_agent.backends.base import Message, Piece, ToolCall

__all__ = ["SCHEMA", "Cassette", "Recording"]

SCHEMA: Final = "smesh.cassette/1"
_NAME: Final = "cassette"
_DIFFERENCE_LINES_MAX: Final = 40
_CANDIDATES_MAX: Final = 200
_CREDENTIAL: Final = "«redacted:credential-1»"


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
        redact: takes secrets out of texts; applied to what is asked and to what is answered. It has to leave alone
            what it gave out before.
        clock: time.
        overwrites: whether the file may be there already, and is lost then.

    Raises:
        CassetteError: the file is there already, or cannot be written.
    """

    def __init__(self, path: Path, *, redact: Callable[[str], str], clock: Clock, overwrites: bool = False) -> None:
        self._redact = redact
        self._clock = clock
        self._path = path
        self._lock = threading.Lock()
        self._length = 0
        self._fault = ""
        exclusive = os.O_TRUNC if overwrites else os.O_EXCL
        try:
            # Prompts are nobody else's business. (Windows would otherwise change the ends of lines.)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | exclusive | getattr(os, "O_BINARY", 0), 0o600)
        except FileExistsError as error:
            raise CassetteError(_NAME, f"{path}: it is there already; record to another file") from error
        except (OSError, ValueError) as error:
            raise CassetteError(_NAME, f"{path}: {_why(error)}") from error
        try:
            self._write(_Head(schema=SCHEMA))
        except CassetteError:
            self.close()
            raise

    def of(self, backend: Backend) -> Backend:
        """A backend whose calls are recorded; in all else it is the one that it is given."""
        return _Recorded(self, backend)

    def close(self) -> None:
        """No more is recorded."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1
            self._fault = self._fault or "the recording is closed"

    def require_writable(self) -> None:
        """Check, before a model is asked, that its answer could be recorded.

        Raises:
            CassetteError: the recording is closed, or has failed before.
        """
        if self._fault:
            raise CassetteError(_NAME, f"{self._path}: {self._fault}")

    def keep(self, backend: Backend, request: Request, events: Sequence[_Timed]) -> None:
        """Write a call down, and wait until the disk has it; from any thread.

        Raises:
            CassetteError: it holds half a surrogate pair, or it cannot be written; then nothing is recorded any more,
                and the calls before are kept.
        """
        call = _Call(
            backend=backend.name,
            model=backend.model,
            is_local=backend.is_local,
            request=_redacted(request, self._redact),
            events=_redacted_events(events, self._redact),
        )
        self._write(call)

    def now_s(self) -> float:
        """Seconds from some moment."""
        return self._clock.monotonic_ns() / 1e9

    def _write(self, value: msgspec.Struct) -> None:
        try:
            line = msgspec.json.encode(value) + b"\n"
        except UnicodeEncodeError as error:
            raise CassetteError(_NAME, f"{self._path}: there is half of a surrogate pair in an answer") from error
        with self._lock:
            self.require_writable()
            try:
                left = memoryview(line)
                while left:
                    left = left[os.write(self._file, left) :]
                os.fsync(self._file)
            except OSError as error:
                self._fault = f"{_why(error)}; the recording ends here"
                with contextlib.suppress(OSError):  # half a line at the end would be told and left out
                    os.ftruncate(self._file, self._length)
                raise CassetteError(_NAME, f"{self._path}: {self._fault}") from error
            self._length += len(line)


class _Recorded:
    """A backend whose calls are written down."""

    def __init__(self, recording: Recording, backend: Backend) -> None:
        self._recording = recording
        self._backend = backend
        self.name, self.model, self.is_local = backend.name, backend.model, backend.is_local

    async def stream(self, request: Request) -> AsyncIterator[Piece]:
        """See `Backend.stream`; raises `CassetteError` where the call cannot be recorded."""
        self._recording.require_writable()
        _digest(request)
        began_s, events, is_kept = self._recording.now_s(), list[_Timed](), False

        async def keep(event: _Event | None = None) -> None:
            nonlocal is_kept
            if event is not None:
                events.append(_Timed(at_s=self._recording.now_s() - began_s, event=event))
            is_kept = True
            keep = self._recording.keep
            writing = asyncio.get_running_loop().run_in_executor(None, keep, self._backend, request, tuple(events))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                await asyncio.wait([writing])  # or the recording might be closed before it is written
                raise

        try:
            async with contextlib.aclosing(_closable(self._backend.stream(request))) as stream:
                async for piece in stream:
                    if isinstance(piece, Completion):
                        await keep(_Ended(completion=piece))
                    else:
                        events.append(_Timed(at_s=self._recording.now_s() - began_s, event=_Said(text=piece.text)))
                    yield piece
        except CassetteError:
            raise
        except BackendError as error:
            if not is_kept:
                await keep(_Failed(kind=_kind(error), reason=error.reason, retry_after_s=error.retry_after_s))
            raise
        except (asyncio.CancelledError, GeneratorExit):
            if not is_kept:
                after_s = self._recording.now_s() - began_s
                reason = f"it was given up after {after_s:.1f} s when it was recorded"
                await keep(_Failed(kind=CallTimeoutError.__name__, reason=reason))
            raise
        if not is_kept:
            await keep()

    async def count_tokens(self, request: Request) -> int | None:
        """See `Backend.count_tokens`; is not recorded."""
        return await self._backend.count_tokens(request)

    async def models(self) -> list[ModelInfo]:
        """See `Backend.models`; is not recorded."""
        return await self._backend.models()

    async def close(self) -> None:
        """Close the backend."""
        await self._backend.close()


async def _closable(stream: AsyncIterator[Piece]) -> AsyncGenerator[Piece]:
    """A stream that can be closed before its end, whether or not the backend's is a generator."""
    try:
        async for piece in stream:
            yield piece
    finally:
        if (close := getattr(stream, "aclose", None)) is not None:
            await close()


def _kind(error: BackendError) -> str:
    """The name of what an error is a case of, among those of SMESH."""
    for kind in type(error).__mro__:
        name: str = kind.__name__
        if getattr(errors, name, None) is kind:
            return name
    raise AssertionError("every such error is a BackendError at least")


# ---- replaying


class Cassette:
    """What was recorded, to be replayed; made by `Cassette.read`.

    Attributes:
        torn: whether the last line broke off, and was left out.
    """

    def __init__(self, calls: list[_Call], path: Path, *, torn: bool) -> None:
        self.torn = torn
        self._path = path
        self._calls = calls
        self._redact = Redactor().text
        self._waiting: dict[str, list[_Call]] = {}
        for call in calls:
            self._waiting.setdefault(_digest(call.request), []).append(call)

    @classmethod
    def read(cls, path: Path) -> Cassette:
        """Read a cassette.

        Raises:
            CassetteError: it cannot be read, is none, is of a later version, or a line of it is damaged.
        """
        try:
            *lines, last = path.read_bytes().split(b"\n")
        except (OSError, ValueError) as error:
            raise CassetteError(_NAME, f"{path}: {_why(error)}") from error
        head = _read_line(lines[0] if lines else last, _Head)
        if not isinstance(head, _Head) or not head.schema.startswith("smesh.cassette/"):
            raise CassetteError(_NAME, f"{path}, line 1: it is no recording of SMESH")
        if head.schema != SCHEMA:
            raise CassetteError(
                _NAME, f"{path}, line 1: it is of {head.schema!r}, and this version reads {SCHEMA}; update smesh-agent"
            )
        calls: list[_Call] = []
        for number, line in enumerate(lines[1:], 2):
            if not line.strip():
                continue
            call = _read_line(line, _Call)
            if not isinstance(call, _Call):
                raise CassetteError(_NAME, f"{path}, line {number}: it is damaged: {call}")
            calls.append(call)
        torn = False
        if lines and last.strip():  # the end of a line may be missing where an editor has left it out
            call = _read_line(last, _Call)
            torn = not isinstance(call, _Call)
            calls += [call] if isinstance(call, _Call) else []
        return cls(calls, path, torn=torn)

    def backend(self, model: str = "", *, keeps_pace: bool = False, clock: Clock | None = None) -> Backend:
        """A backend that answers from the cassette.

        Args:
            model: of which model; all that were recorded where it is not named.
            keeps_pace: whether answers take as long as they took, or come at once.
            clock: time, for the pace.

        Raises:
            CassetteError: nothing was recorded, or nothing of this model.
        """
        calls = [call for call in self._calls if model in {"", call.model}]
        if not calls:
            there = ", ".join(sorted({call.model for call in self._calls}))
            of = f" of the model {model!r}; it has {there}" if there else ""
            raise CassetteError(_NAME, f"{self._path}: it holds no call{of}")
        pace = (clock if clock is not None else SystemClock()) if keeps_pace else None
        return _Replayed(self, model, calls[0], pace)

    @property
    def is_scripted(self) -> bool:
        """Whether what was recorded is scripted text."""
        return any(call.backend == "scripted" for call in self._calls)

    @property
    def left(self) -> int:
        """Calls that nobody has asked for yet."""
        return sum(map(len, self._waiting.values()))

    def take(self, request: Request, model: str = "") -> _Call:
        """The next recorded call that asked just this.

        Raises:
            CassetteError: there is none, or no more; its `difference` says how it differs from what there is.
        """
        request = _redacted(request, self._redact)  # as the recording did, whoever has done so before
        waiting = self._waiting.get(_digest(request), [])
        for place, call in enumerate(waiting):
            if model in {"", call.model}:
                return waiting.pop(place)
        if any(model in {"", call.model} and call.request == request for call in self._calls):
            raise CassetteError(_NAME, f"{self._path}: this was asked before, and was recorded no more often")
        difference = self._difference(request, model)
        what = _first_change(difference) if difference else "; all that was recorded has been asked for"
        raise CassetteError(
            _NAME, f"{self._path}: this was not asked when it was recorded{what}", difference=difference
        )

    def _difference(self, request: Request, model: str) -> str:
        """How a request differs from the one that is most like it, of those that are left."""
        asked = _shown(request)
        left = [call.request for waiting in self._waiting.values() for call in waiting if model in {"", call.model}]
        if not left:
            return ""
        shown = map(_shown, left[:_CANDIDATES_MAX])
        nearest = max(shown, key=lambda one: difflib.SequenceMatcher(None, one, asked).quick_ratio())
        lines = list(difflib.unified_diff(nearest, asked, "recorded", "asked now", lineterm="", n=1))
        if len(lines) > _DIFFERENCE_LINES_MAX:
            more = len(lines) - _DIFFERENCE_LINES_MAX
            lines = [*lines[:_DIFFERENCE_LINES_MAX], f"... {more} more lines"]
        return "\n".join(lines)


class _Replayed:
    """A backend that answers from a cassette."""

    def __init__(self, cassette: Cassette, model: str, first: _Call, clock: Clock | None) -> None:
        self._cassette = cassette
        self._model = model
        self._clock = clock
        self.name, self.model, self.is_local = _NAME, first.model, first.is_local

    async def stream(self, request: Request) -> AsyncIterator[Piece]:
        """See `Backend.stream`. An error names the backend that was recorded, for it may be quoted to a model."""
        call = self._cassette.take(request, self._model)
        past_s = 0.0
        for timed in call.events:
            await asyncio.sleep(0)
            if self._clock is not None and timed.at_s > past_s:
                await self._clock.sleep(timed.at_s - past_s)
                past_s = timed.at_s
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


def _read_line(line: bytes, type_: type[msgspec.Struct]) -> msgspec.Struct | str:
    """What a line holds, or what is wrong with it."""
    try:
        return msgspec.json.decode(line, type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return " ".join(str(error).split())


# ---- what both have in common


def _digest(request: Request) -> str:
    """What a request is found by.

    Raises:
        RequestRejectedError: it is no JSON, so it can neither be sent nor written down.
    """
    try:
        return hashlib.sha256(msgspec.json.encode(request, order="deterministic")).hexdigest()
    except UnicodeEncodeError as error:
        raise RequestRejectedError(_NAME, "there is half of a surrogate pair in what is asked") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestRejectedError(_NAME, f"what is asked cannot be written as JSON: {_why(error)}") from error


def _redacted(request: Request, redact: Callable[[str], str]) -> Request:
    """A request with all its texts redacted, those of its schemas included."""

    def clean(message: Message) -> Message:
        return msgspec.structs.replace(message, text=redact(message.text), calls=_calls(message.calls, redact))

    return msgspec.structs.replace(
        request,
        system=redact(request.system),
        messages=tuple(map(clean, request.messages)),
        schema=_mapped(request.schema, redact),
        tools=tuple(
            msgspec.structs.replace(tool, description=redact(tool.description), schema=_mapped(tool.schema, redact))
            for tool in request.tools
        ),
        stop=tuple(map(redact, request.stop)),
    )


def _redacted_events(events: Sequence[_Timed], redact: Callable[[str], str]) -> list[_Timed]:
    """What came, redacted; a secret may lie across pieces, so a text with one is kept as one piece."""
    said = [timed.event.text for timed in events if isinstance(timed.event, _Said)]
    text = redact("".join(said))
    changed, left = text != "".join(said), len(said)
    kept: list[_Timed] = []
    for timed in events:
        event = timed.event
        match event:
            case _Said():
                left -= 1
                if changed and left:
                    continue
                event = _Said(text=text) if changed else event
            case _Ended(completion=completion):
                calls = _calls(completion.calls, redact)
                event = _Ended(
                    completion=msgspec.structs.replace(completion, text=redact(completion.text), calls=calls)
                )
            case _Failed(reason=reason):
                event = msgspec.structs.replace(event, reason=redact(reason.encode(errors="replace").decode()))
        kept.append(_Timed(at_s=round(timed.at_s, 6), event=event))
    return kept


def _calls(calls: Sequence[ToolCall], redact: Callable[[str], str]) -> tuple[ToolCall, ...]:
    return tuple(msgspec.structs.replace(call, arguments=_mapped(call.arguments, redact)) for call in calls)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """A value of JSON with all its texts changed, and without what its keys call a credential."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {
            change(key): _CREDENTIAL if isinstance(held, str) and is_given_under(key, held) else _mapped(held, change)
            for key, held in value.items()
        }
    if isinstance(value, list | tuple):
        return [_mapped(held, change) for held in value]
    return value


def _shown(request: Request) -> list[str]:
    """A request as lines to be compared; long texts line by line."""
    text = json.dumps(msgspec.to_builtins(request), indent=1, sort_keys=True, ensure_ascii=False)
    return text.replace("\\n", "\n").splitlines()


def _first_change(difference: str) -> str:
    """The first line that is new, as part of a message."""
    new = next((line[1:].strip() for line in difference.splitlines()[2:] if line.startswith("+")), "")
    return f"; new is {new[:120]}" if new else ""


def _why(error: Exception) -> str:
    """What the system says is wrong with a file."""
    return (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
