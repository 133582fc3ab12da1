"""An HTTP endpoint of a provider, as the backends over httpx share it: its client, its errors, and its limits.

A request is sent once. Whatever goes wrong becomes a `BackendError` of the right kind and one line: no exception of
httpx leaves this module, and neither does a password or a key, not even where a provider repeats it in its answer.

Memory is bounded, whatever a provider sends: a line, an answer and a body have a greatest length, and compressed
answers are neither asked for nor taken. Time is bounded by silence: each wait for the next bytes ends after
`Settings.timeout_s`, and connecting has a limit of its own. How long a whole call may take is for its caller to say.

A program on this machine is never asked through a proxy; others are where the environment says so, as httpx reads it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import math
import re
import ssl
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx
import msgspec

from smesh_agent import __version__
from smesh_agent.backends.addresses import checked_address, is_loopback, without_secrets
from smesh_agent.backends.lines import Events, Lines, TooLongError
from smesh_agent.errors import (
    AuthenticationError,
    BackendError,
    BackendSettingsError,
    BadAnswerError,
    CallTimeoutError,
    OverloadedError,
    RateLimitedError,
    RequestRejectedError,
    UnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

__all__ = [
    "CONNECT_TIMEOUT_S",
    "Answer",
    "Endpoint",
    "Explain",
    "Refusal",
    "retry_after_s",
    "words",
]

CONNECT_TIMEOUT_S: Final = 10.0
"""How long connecting to a provider may take."""

_ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
_BODY_BYTES_MAX: Final = 16 * 1024 * 1024
_LINE_BYTES_MAX: Final = 1024 * 1024
_REFUSAL_BYTES_MAX: Final = 64 * 1024
_MESSAGE_MAX: Final = 300
_GRACE_S: Final = 0.5
_SECRET_MIN: Final = 6
_KINDS: Final[dict[int, type[BackendError]]] = {
    401: AuthenticationError,
    402: AuthenticationError,
    403: AuthenticationError,
    404: BackendSettingsError,
    405: BackendSettingsError,
    408: CallTimeoutError,
    429: RateLimitedError,
    501: RequestRejectedError,
}
_KINDS_OF_HUNDREDS: Final[dict[int, type[BackendError]]] = {3: BackendSettingsError, 4: RequestRejectedError}
_SECONDS: Final = re.compile(r"\d{1,9}(\.\d*)?")

T = TypeVar("T")


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """How a provider says no: by a status, or by an error in the middle of an answer.

    Attributes:
        status: of HTTP; 0 where the provider gives none.
        message: its words in one line; empty where there are none.
        code: its own name for what is wrong; empty where there is none.
        retry_after_s: how long it asks to wait.
    """

    status: int
    message: str = ""
    code: str = ""
    retry_after_s: float | None = None


Explain = Callable[[Refusal], BackendError | None]
"""What a provider means by a refusal; None for what it means by every provider."""


class Endpoint:
    """Where a provider answers.

    Args:
        backend: the backend's name, for its errors.
        url: the provider's address, below which all paths are.
        timeout_s: how long it may stay silent.
        key: sent as a bearer token; empty for none.
        where: what sets the address, for errors.
        hint: what to do where nobody answers.
        explain: what the provider means by a refusal.

    Raises:
        BackendSettingsError: the address, the key, the time or a proxy of the environment makes no sense.
    """

    def __init__(
        self,
        backend: str,
        url: str,
        *,
        timeout_s: float,
        key: str = "",
        where: str = "its address",
        hint: str = "",
        explain: Explain = lambda _: None,
    ) -> None:
        self._backend = backend
        self._hint = f"; {hint}" if hint else ""
        self._explain = explain
        self._timeout_s = timeout_s
        address = checked_address(backend, url, where)
        self._url = str(address).rstrip("/")
        self.shown = without_secrets(self._url)
        self.host = address.host
        basic = base64.b64encode(f"{address.username}:{address.password}".encode()).decode() if address.password else ""
        self._secrets = tuple(secret for secret in (key, address.password, basic) if len(secret) >= _SECRET_MIN)
        if not (timeout_s > 0 and math.isfinite(timeout_s)):
            raise self._settings_error(f"a time limit of {timeout_s:g} s is none")
        if key and not (key.isascii() and key.isprintable()):
            raise self._settings_error("its key holds characters that no key has: set it again")
        if key and address.userinfo:
            raise self._settings_error(f"there is a key, and a user in {where}: give one of them")
        self._client = self._open(address, key)

    def _open(self, address: httpx.URL, key: str) -> httpx.AsyncClient:
        headers = {"accept-encoding": "identity", "user-agent": f"smesh-agent/{__version__}"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        try:
            return httpx.AsyncClient(
                headers=headers,
                timeout=httpx.Timeout(self._timeout_s, connect=CONNECT_TIMEOUT_S, pool=None),
                limits=httpx.Limits(max_connections=None),  # how many at once is for `Model` to say
                trust_env=not is_loopback(address.host),
                # To read all authorities takes longer than all else here, and http needs none.
                verify=True if address.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            )
        except (httpx.InvalidURL, ValueError, OSError) as error:
            raise self._settings_error(
                "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY or SSL_CERT_FILE is set to nonsense"
            ) from error

    def _settings_error(self, reason: str) -> BackendSettingsError:
        return BackendSettingsError(self._backend, reason)

    async def close(self) -> None:
        """Close all connections; requests under way fail."""
        await self._client.aclose()

    async def get(self, path: str, type_: type[T]) -> T:
        """Ask for a document.

        Raises:
            BackendError: what went wrong, by kind.
        """
        async with self.answer("GET", path) as answer:
            return self.decode(await answer.body(), type_)

    async def post(self, path: str, content: bytes, type_: type[T]) -> T:
        """Send a JSON document and get one back.

        Raises:
            BackendError: what went wrong, by kind.
        """
        async with self.answer("POST", path, content) as answer:
            return self.decode(await answer.body(), type_)

    @contextlib.asynccontextmanager
    async def answer(self, method: str, path: str, content: bytes | None = None) -> AsyncIterator[Answer]:
        """Send a request and open its answer, which is one of success.

        Args:
            method: of HTTP.
            path: below the address.
            content: a JSON document.

        Raises:
            BackendError: what went wrong, by kind; also in the block.
        """
        if self._client.is_closed:
            raise BackendError(self._backend, "is closed")
        headers = {} if content is None else {"content-type": "application/json"}
        request = self._client.build_request(method, self._url + path, content=content, headers=headers)
        try:
            response = await self._client.send(request, stream=True)
        # A name that is none and a port that is none are found out only on the way, as ValueError and OverflowError.
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, OverflowError) as error:
            raise self.failure(error, has_begun=False) from error
        try:
            answer = Answer(self, response.aiter_raw())
            if response.headers.get("content-encoding", "identity") != "identity":
                raise self.bad_answer("compressed its answer, which it was not asked to")
            if not response.is_success:
                raise self.error(await _refusal(response, answer))
            yield answer
        finally:
            await response.aclose()

    def decode(self, document: bytes, type_: type[T]) -> T:
        """A JSON document of the provider's.

        Raises:
            BadAnswerError: it is not of its type.
        """
        try:
            return msgspec.json.decode(document, type=type_)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self.bad_answer("answered with something else than its protocol") from error

    def bad_answer(self, reason: str) -> BadAnswerError:
        """The error of a provider that `reason`, which follows on its address."""
        return BadAnswerError(self._backend, f"{self.shown} {reason}")

    def error(self, refusal: Refusal) -> BackendError:
        """What a refusal means, as the provider explains it or as HTTP does."""
        refusal = msgspec.structs.replace(refusal, message=self._scrubbed(refusal.message))
        if (explained := self._explain(refusal)) is not None:
            return explained
        status = refusal.status
        kind = _KINDS.get(status) or _KINDS_OF_HUNDREDS.get(status // 100, OverloadedError)
        reason = f"{self.shown} answered with HTTP {status}" if status else f"{self.shown} failed"
        reason += f": {refusal.message}" if refusal.message else ""
        reason += "; is its address right?" if kind is BackendSettingsError else ""
        return kind(self._backend, reason, retry_after_s=refusal.retry_after_s)

    def _scrubbed(self, text: str) -> str:
        """A provider's words in one short line that shows no secret and moves no cursor."""
        for secret in self._secrets:
            text = text.replace(secret, "…")
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return text if len(text) <= _MESSAGE_MAX else text[:_MESSAGE_MAX] + "…"

    def failure(self, error: Exception, *, has_begun: bool) -> BackendError:
        """What an exception of httpx means, before anything has come of an answer or after."""
        kind: type[BackendError] = UnreachableError
        match error:
            case httpx.ConnectTimeout():
                reason = f"no connection to {self.shown} within {CONNECT_TIMEOUT_S:g} s{self._hint}"
            case httpx.TimeoutException():
                kind, reason = CallTimeoutError, f"nothing came from {self.shown} for {self._timeout_s:g} s"
            case httpx.TransportError() if has_begun:
                kind, reason = BadAnswerError, f"{self.shown} broke off in the middle of its answer"
            case httpx.ConnectError():
                why = self._scrubbed(str(error))
                known = "" if why in {"", "All connection attempts failed"} else f" ({why})"
                reason = f"nobody answers at {self.shown}{known}{self._hint}"
            case httpx.ProxyError():
                reason = f"the proxy on the way to {self.shown} does not let it through"
            case httpx.RemoteProtocolError() if not str(error).startswith("Server disconnected"):
                kind, reason = BadAnswerError, f"{self.shown} does not speak HTTP"
            case httpx.NetworkError() | httpx.RemoteProtocolError():
                reason = f"{self.shown} broke off before it answered"
            case _:
                kind, reason = BackendSettingsError, f"{self.shown} is not an address that can be asked"
        return kind(self._backend, reason)


class Answer:
    """An answer as it comes, see `Endpoint.answer`."""

    def __init__(self, endpoint: Endpoint, chunks: AsyncIterator[bytes]) -> None:
        self._endpoint = endpoint
        self._chunks = chunks
        self._bytes = 0
        self._lines = Lines(_LINE_BYTES_MAX)
        self._events = Events(_LINE_BYTES_MAX)
        self._ready: list[bytes] = []
        self._has_ended = False

    async def line(self) -> bytes | None:
        """The next line without its end; None after the last.

        Raises:
            BackendError: what went wrong, by kind.
        """
        while not self._ready and not self._has_ended:
            chunk = await self._chunk(_ANSWER_BYTES_MAX)
            if chunk is None:
                self._ready = self._lines.end()
                self._has_ended = True
                break
            try:
                self._ready = self._lines.feed(chunk)[::-1]
            except TooLongError as error:
                raise self._endpoint.bad_answer("sent a line without end") from error
        return self._ready.pop() if self._ready else None

    async def event(self) -> bytes | None:
        """The data of the next server-sent event; None after the last.

        Raises:
            BackendError: what went wrong, by kind.
        """
        while (line := await self.line()) is not None:
            try:
                data = self._events.feed(line)
            except TooLongError as error:
                raise self._endpoint.bad_answer("sent an event without end") from error
            if data is not None:
                return data
        return self._events.end()

    async def body(self, bytes_max: int | None = None) -> bytes:
        """All of it.

        Args:
            bytes_max: what comes after so many bytes is left out; without it, a body too long is an error.

        Raises:
            BackendError: what went wrong, by kind.
        """
        body = bytearray()
        while (chunk := await self._chunk(_BODY_BYTES_MAX)) is not None:
            body += chunk
            if bytes_max is not None and len(body) >= bytes_max:
                return bytes(body[:bytes_max])
        return bytes(body)

    async def finish(self) -> None:
        """Wait for the end of an answer that is whole, so that its connection can be used again; but not for long."""
        # What the answer says has come: a provider that does not end it costs a connection, and nothing else.
        with contextlib.suppress(TimeoutError, BackendError):
            async with asyncio.timeout(_GRACE_S):
                while await self._chunk(_ANSWER_BYTES_MAX) is not None:
                    pass

    async def _chunk(self, bytes_max: int) -> bytes | None:
        try:
            chunk = await anext(self._chunks, None)
        except httpx.HTTPError as error:
            raise self._endpoint.failure(error, has_begun=True) from error
        self._bytes += len(chunk or b"")
        if self._bytes > bytes_max:
            raise self._endpoint.bad_answer(f"sent more than {bytes_max // 1024**2} MiB")
        return chunk


async def _refusal(response: httpx.Response, answer: Answer) -> Refusal:
    """A refusal, with the provider's words if they can be read."""
    try:
        body = await answer.body(_REFUSAL_BYTES_MAX)
    except BackendError:
        body = b""  # the status says enough
    message, code = words(body)
    return Refusal(
        status=response.status_code, message=message, code=code, retry_after_s=retry_after_s(response.headers)
    )


def words(said: Any, depth: int = 6) -> tuple[str, str]:
    """The message and the code in what a provider says of an error, in any of the forms that are about.

    An object with ``error``, ``message`` or ``detail``, of which the first may be an object again, or JSON in a text;
    or plain text. The page of a proxy is left out.
    """
    if isinstance(said, bytes):
        said = said.decode("utf-8", "replace").strip()
        return words("" if said.startswith("<") else said, depth)
    if isinstance(said, str) and said.startswith("{"):
        try:
            return words(msgspec.json.decode(said), depth - 1)
        except (msgspec.DecodeError, RecursionError):
            return said, ""
    if not isinstance(said, dict) or depth < 0:
        return (said, "") if isinstance(said, str) else ("", "")
    if inner := said.get("error"):
        return words(inner, depth - 1)
    message = said.get("message") or said.get("detail") or ""
    text, _ = words(message if isinstance(message, str) else str(message), depth - 1)
    return text, str(said.get("code") or said.get("type") or "")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """How long a provider asks to wait, by its Retry-After; None where it does not say, or not so as to be understood.

    An HTTP date is taken by the provider's own clock, its Date header, so no clock is asked here and two that disagree
    do no harm. Without that header a date says nothing.
    """
    asked = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(asked):
        return float(asked)
    try:
        until, now = parsedate_to_datetime(asked), parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, (until - now).total_seconds())
    except (TypeError, ValueError, OverflowError):
        return None
