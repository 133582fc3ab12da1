"""Where Claude answers: the client of the anthropic SDK, its errors, and its limits.

The SDK sends a request once and never again: retries are for `smesh_agent.backends.model.Model`. Of its exceptions,
and those of the httpx2 below it, none leaves this module: each becomes a `BackendError` of the right kind and one
line, without the key, not even where a provider repeats it. What an error means is what the provider calls it, for one
in the middle of an answer has no status of its own; else what HTTP says.

The SDK would read much from the process's environment: keys, profiles, addresses, headers, telemetry. It is given all
of that, so it does not, with two exceptions. ``ANTHROPIC_CUSTOM_HEADERS`` cannot be turned off, so every header that
this module does not know is taken away again before a request is sent, and with those the ones in which the SDK tells
about the machine. ``ANTHROPIC_LOG`` makes the SDK log what it sends, which whoever sets it wants.

Memory is bounded, whatever a provider sends: an answer and a body have a greatest length, and compressed answers are
neither asked for nor taken. A redirect is not followed, for the key would go with it. A program on this machine is
never asked through a proxy; others are where the environment says so, as httpx2 reads it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import ssl
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx2
import msgspec
from anthropic import AnthropicError, APIConnectionError, APIStatusError, AsyncAnthropic

from smesh_agent import __version__
from smesh_agent.backends.addresses import checked_address, is_loopback, without_secrets
from smesh_agent.backends.endpoint import CONNECT_TIMEOUT_S, retry_after_s, words
from smesh_agent.errors import (
    AuthenticationError,
    BackendError,
    BackendSettingsError,
    BadAnswerError,
    CallTimeoutError,
    ModelNotFoundError,
    OverloadedError,
    RateLimitedError,
    RequestRejectedError,
    UnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping

    from anthropic.types import RawMessageStreamEvent

__all__ = ["ClaudeEndpoint"]

_NAME: Final = "claude"
_ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
_REFUSAL_BYTES_MAX: Final = 64 * 1024
_MESSAGE_MAX: Final = 300
_EVENT_STREAM: Final = "text/event-stream"
_GRACE_S: Final = 0.5
_SECRET_MIN: Final = 6
_HEADERS: Final = frozenset(
    {
        "accept",
        "accept-encoding",
        "anthropic-version",
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "host",
        "user-agent",
    }
)
_KINDS_OF_TYPES: Final[dict[str, type[BackendError]]] = {
    "api_error": OverloadedError,
    "authentication_error": AuthenticationError,
    "billing_error": AuthenticationError,
    "conflict_error": OverloadedError,
    "invalid_request_error": RequestRejectedError,
    "overloaded_error": OverloadedError,
    "permission_error": AuthenticationError,
    "rate_limit_error": RateLimitedError,
    "request_too_large": RequestRejectedError,
    "timeout_error": CallTimeoutError,
}
_KINDS: Final[dict[int, type[BackendError]]] = {
    401: AuthenticationError,
    402: AuthenticationError,
    403: AuthenticationError,
    404: BackendSettingsError,
    405: BackendSettingsError,
    408: CallTimeoutError,
    409: OverloadedError,
    429: RateLimitedError,
    501: RequestRejectedError,
}
_KINDS_OF_HUNDREDS: Final[dict[int, type[BackendError]]] = {3: BackendSettingsError, 4: RequestRejectedError}
_SPENT: Final = frozenset({"contract_spend_limit_reached", "enforced_spend_limit_reached"})
_FAILURES: Final = (AnthropicError, httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, ValueError, RecursionError)
"""What the SDK raises, and what it lets through: of httpx2, of JSON, and of text that is no UTF-8."""

T = TypeVar("T")


class ClaudeEndpoint:
    """Where Claude answers.

    Args:
        url: the provider's address, below which all paths are.
        timeout_s: how long it may stay silent.
        key: sent as a bearer token.
        model: the model that is asked, for errors.
        where: what sets the address, for errors.

    Raises:
        BackendSettingsError: the address, the key, the time or a proxy of the environment makes no sense.
    """

    def __init__(self, url: str, *, timeout_s: float, key: str, model: str, where: str) -> None:
        self._timeout_s = timeout_s
        self._model = model
        address = checked_address(_NAME, url, where)
        self._url = str(address).rstrip("/")
        self.shown = without_secrets(self._url)
        self._secrets = (key,) if len(key) >= _SECRET_MIN else ()
        if not (timeout_s > 0 and math.isfinite(timeout_s)):
            raise BackendSettingsError(_NAME, f"a time limit of {timeout_s:g} s is none")
        if not (key.isascii() and key.isprintable()):
            raise BackendSettingsError(_NAME, "its key holds characters that no key has: set it again")
        if address.userinfo:
            raise BackendSettingsError(_NAME, f"there is a user in {where}, and Claude takes only a key: leave it out")
        headers = {
            "Accept-Encoding": "identity",
            "Authorization": f"Bearer {key}",
            "User-Agent": f"smesh-agent/{__version__}",
        }
        self._client = AsyncAnthropic(
            api_key=key,
            base_url=self._url,
            webhook_key="",
            max_retries=0,
            timeout=httpx2.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S, pool=None),
            default_headers=headers,
            open_telemetry=False,
            http_client=self._open(is_loopback(address.host), address.scheme == "https"),
        )

    def _open(self, is_here: bool, is_encrypted: bool) -> httpx2.AsyncClient:
        try:
            return httpx2.AsyncClient(
                limits=httpx2.Limits(max_connections=None),  # how many at once is for `Model` to say
                follow_redirects=False,
                trust_env=not is_here,
                # To read all authorities takes longer than all else here, and http needs none.
                verify=True if is_encrypted else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                event_hooks={"request": [self._prune], "response": [self._bound]},
            )
        except (httpx2.InvalidURL, ValueError, OSError) as error:
            reason = "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY or SSL_CERT_FILE is set to nonsense"
            raise BackendSettingsError(_NAME, reason) from error

    async def _prune(self, request: httpx2.Request) -> None:
        for name in list(request.headers):
            if name not in _HEADERS:
                del request.headers[name]

    async def _bound(self, response: httpx2.Response) -> None:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise self.bad_answer("compressed its answer, which it was not asked to")
        if isinstance(response.stream, httpx2.AsyncByteStream):
            stream = response.stream
            response.stream = _Answer(stream, self) if response.is_success else _Refusal(stream)

    async def close(self) -> None:
        """Close all connections; requests under way fail."""
        await self._client.close()

    async def get(self, path: str, parameters: Mapping[str, object], type_: type[T]) -> T:
        """Ask for a document.

        Raises:
            BackendError: what went wrong, by kind.
        """
        return await self._document(
            self._client.get(path, cast_to=httpx2.Response, options={"params": parameters}), type_
        )

    async def post(self, path: str, body: dict[str, Any], type_: type[T]) -> T:
        """Send a JSON document and get one back.

        Raises:
            BackendError: what went wrong, by kind.
        """
        return await self._document(self._client.post(path, cast_to=httpx2.Response, body=body), type_)

    async def events(self, body: dict[str, Any]) -> AsyncGenerator[RawMessageStreamEvent]:
        """Ask for an answer of the Messages API, event by event.

        Args:
            body: what is asked.

        Yields:
            What came; that it is what the type says, the SDK does not check.

        Raises:
            BackendError: what went wrong, by kind.
        """
        stream = await self._answered(self._client.messages.create(**body, stream=True))
        try:
            media = stream.response.headers.get("content-type", _EVENT_STREAM)
            if not media.lower().startswith(_EVENT_STREAM):
                raise self.bad_answer(f"answered with {self._scrubbed(media)} in place of events")
            async for event in stream:
                yield event
                if getattr(event, "type", "") == "message_stop":
                    break
            # What the answer says has come: a provider that does not end it costs a connection, and nothing else.
            with contextlib.suppress(TimeoutError, BackendError, *_FAILURES):
                async with asyncio.timeout(_GRACE_S):
                    async for _ in stream:
                        pass
        except _FAILURES as error:
            raise self._failure(error, has_begun=True) from error
        finally:
            await stream.close()

    async def _answered(self, answer: Coroutine[Any, Any, T]) -> T:
        if self._client.is_closed():
            answer.close()  # one that nobody awaits would complain
            raise BackendError(_NAME, "is closed")
        try:
            return await answer
        except _FAILURES as error:
            raise self._failure(error, has_begun=False) from error

    async def _document(self, answer: Coroutine[Any, Any, httpx2.Response], type_: type[T]) -> T:
        response = await self._answered(answer)
        try:
            return msgspec.json.decode(response.content, type=type_)
        except (ValueError, RecursionError) as error:
            raise self.bad_answer("answered with something else than its protocol") from error

    def bad_answer(self, reason: str) -> BadAnswerError:
        """The error of a provider that `reason`, which follows on its address."""
        return BadAnswerError(_NAME, f"{self.shown} {reason}")

    def _failure(self, error: Exception, *, has_begun: bool) -> BackendError:
        """What an exception means, before anything has come of an answer or after."""
        match error:
            case APIStatusError():
                return self._refusal(error)
            case APIConnectionError(__cause__=Exception() as cause):
                return cause if isinstance(cause, BackendError) else self._disconnection(cause, has_begun=has_begun)
            case httpx2.HTTPError() | httpx2.StreamError() | httpx2.InvalidURL():
                return self._disconnection(error, has_begun=has_begun)
            case ValueError() | RecursionError() if not has_begun:
                return RequestRejectedError(_NAME, "the request holds what cannot be written as JSON")
            case _:
                return self.bad_answer("answered with something else than its protocol")

    def _refusal(self, error: APIStatusError) -> BackendError:
        said = error.body if isinstance(error.body, dict) else str(error.body or "").encode("utf-8", "replace")
        message, type_ = words(said)
        message = self._scrubbed(message)
        status = error.status_code
        kind = _KINDS_OF_TYPES.get(type_) or _KINDS.get(status)
        kind = kind or _KINDS_OF_HUNDREDS.get(status // 100, OverloadedError)
        reason = f"{self.shown} " + ("failed" if error.response.is_success else f"answered with HTTP {status}")
        reason += f": {message}" if message else ""
        if type_ == "not_found_error" and "model" in message.lower():
            kind, reason = ModelNotFoundError, f"no model {self._model} ({message}); {self.shown}/v1/models lists them"
        elif kind is BackendSettingsError:
            reason += "; is its address right?"
        failure = kind(_NAME, reason, retry_after_s=retry_after_s(error.response.headers))
        if error.error_code in _SPENT or error.response.headers.get("x-should-retry") == "false":
            failure.retryable = False
        return failure

    def _disconnection(self, error: Exception, *, has_begun: bool) -> BackendError:
        kind: type[BackendError] = UnreachableError
        match error:
            case httpx2.ConnectTimeout():
                reason = f"no connection to {self.shown} within {CONNECT_TIMEOUT_S:g} s"
            case httpx2.TimeoutException():
                kind, reason = CallTimeoutError, f"nothing came from {self.shown} for {self._timeout_s:g} s"
            case httpx2.TransportError() | httpx2.StreamError() if has_begun:
                kind, reason = BadAnswerError, f"{self.shown} broke off in the middle of its answer"
            case httpx2.ConnectError():
                why = self._scrubbed(str(error))
                known = "" if why in {"", "All connection attempts failed"} else f" ({why})"
                reason = f"nobody answers at {self.shown}{known}"
            case httpx2.ProxyError():
                reason = f"the proxy on the way to {self.shown} does not let it through"
            case httpx2.RemoteProtocolError() if not str(error).startswith("Server disconnected"):
                kind, reason = BadAnswerError, f"{self.shown} does not speak HTTP"
            case httpx2.NetworkError() | httpx2.RemoteProtocolError():
                reason = f"{self.shown} broke off before it answered"
            case _:
                kind, reason = BackendSettingsError, f"{self.shown} is not an address that can be asked"
        return kind(_NAME, reason)

    def _scrubbed(self, text: str) -> str:
        """A provider's words in one short line that shows no secret and moves no cursor."""
        for secret in self._secrets:
            text = text.replace(secret, "…")
        text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return text if len(text) <= _MESSAGE_MAX else text[:_MESSAGE_MAX] + "…"


class _Answer(httpx2.AsyncByteStream):
    """An answer that does not go on for ever."""

    def __init__(self, stream: httpx2.AsyncByteStream, endpoint: ClaudeEndpoint) -> None:
        self._stream = stream
        self._endpoint = endpoint

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = _ANSWER_BYTES_MAX
        async for chunk in self._stream:
            left -= len(chunk)
            if left < 0:
                raise self._endpoint.bad_answer(f"sent more than {_ANSWER_BYTES_MAX // 1024**2} MiB")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Refusal(httpx2.AsyncByteStream):
    """The beginning of what is said to a refusal; its status says enough where the rest does not come."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = _REFUSAL_BYTES_MAX
        with contextlib.suppress(httpx2.TransportError):
            async for chunk in self._stream:
                yield chunk[:left]
                left -= len(chunk)
                if left <= 0:
                    break

    async def aclose(self) -> None:
        await self._stream.aclose()
