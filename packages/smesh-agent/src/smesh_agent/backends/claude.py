"""Claude: Anthropic's models, over the anthropic SDK.

The key is in ``ANTHROPIC_API_KEY``, else a token in ``ANTHROPIC_AUTH_TOKEN``; both are sent as a bearer token. The
address is `Settings.base_url`, else ``ANTHROPIC_BASE_URL``, else Anthropic's, with or without ``/v1``.

The API takes no temperature and no other setting of how tokens are drawn, so a request that has one is refused here.
The newest models think before they answer, unless told otherwise. What they think is not part of the text, but counts
as written, and so towards `Request.max_tokens`: one that is small may leave no room for an answer. The options:

- ``thinking``: ``adaptive``, where the model decides when to think, or ``disabled``; unless given, what the model does.
- ``effort``: ``low``, ``medium``, ``high``, ``xhigh`` or ``max``: how much work goes into an answer, thoughts included.

A schema is enforced by the API (``output_config``), as far as it can say it (see `smesh_agent.backends.
claude_messages`); no tool is forced. Where `Request.caches`, all that stands before the conversation is marked to be
kept for five minutes; what is too short for that the API does not keep, and says nothing.

To import this module takes a second or two and some 60 MB, for the SDK has thousands of types: do so only where Claude
is wanted.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from smesh_agent.backends.base import Delta, ModelInfo, StopReason
from smesh_agent.backends.bodies import encode
from smesh_agent.backends.claude_endpoint import ClaudeEndpoint
from smesh_agent.backends.claude_messages import Reader, Turns, prompt
from smesh_agent.backends.options import one_of, refuse_unknown_options
from smesh_agent.errors import BackendSettingsError, BadAnswerError, RequestRejectedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from smesh_agent.backends.base import Backend, Piece, Request, Settings

__all__ = ["MODEL_DEFAULT", "ClaudeBackend", "make"]

MODEL_DEFAULT: Final = "claude-haiku-5-5"
"""The model where none is named: the one of Anthropic's that costs least."""

_NAME: Final = "claude"
_URL: Final = "https://api.anthropic.com"
_PAGE_MODELS: Final = 1000
_PAGES_MAX: Final = 100


class _Model(msgspec.Struct):
    id: str
    display_name: str = ""
    max_input_tokens: int | None = None
    lifecycle: str = "active"


class _Models(msgspec.Struct):
    """A page of what ``/v1/models`` answers."""

    data: list[_Model]
    has_more: bool = False
    last_id: str | None = None


class _Counted(msgspec.Struct):
    """What ``/v1/messages/count_tokens`` answers."""

    input_tokens: Annotated[int, msgspec.Meta(ge=0)]


class ClaudeBackend:
    """A model of Anthropic's.

    Args:
        settings: see the module.

    Raises:
        BackendSettingsError: there is no key, or the settings make no sense.
    """

    def __init__(self, settings: Settings) -> None:
        refuse_unknown_options(_NAME, settings, "effort", "thinking")
        self._model = settings.model or MODEL_DEFAULT
        self._effort = one_of(_NAME, settings, "effort", "low", "medium", "high", "xhigh", "max")
        self._thinking = one_of(_NAME, settings, "thinking", "adaptive", "disabled")
        variables = (settings.environment.get(name, "") for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"))
        key = next(filter(None, map(str.strip, variables)), "")
        if not key:
            raise BackendSettingsError(_NAME, "no key: set ANTHROPIC_API_KEY")
        base = settings.base_url or settings.environment.get("ANTHROPIC_BASE_URL", "")
        self._turns = Turns()
        self._endpoint = ClaudeEndpoint(
            (base.strip() or _URL).rstrip("/").removesuffix("/v1"),
            timeout_s=settings.timeout_s,
            key=key,
            model=self._model,
            where="its address" if settings.base_url else "ANTHROPIC_BASE_URL",
        )

    @property
    def name(self) -> str:
        """``claude``."""
        return _NAME

    @property
    def model(self) -> str:
        """The model's name, such as ``claude-haiku-5-5``."""
        return self._model

    @property
    def is_local(self) -> bool:
        """False: whatever the address, Anthropic bills the tokens."""
        return False

    async def stream(self, request: Request) -> AsyncIterator[Piece]:
        """Send a request and pass on the answer as it comes.

        Yields:
            Deltas, and last one `Completion`.

        Raises:
            BackendError: what went wrong, by kind.
        """
        if request.temperature is not None:
            raise RequestRejectedError(_NAME, "Claude takes no temperature: leave it out")
        body = self._prompt(request) | {"max_tokens": request.max_tokens}
        if request.stop:
            body["stop_sequences"] = list(request.stop)
        content = encode(_NAME, body)  # and decoded again, so that the SDK gets what is surely JSON
        reader = Reader(self._endpoint, self._model, content)
        try:
            async with contextlib.aclosing(self._endpoint.events(msgspec.json.decode(content))) as events:
                async for event in events:
                    if text := reader.read(event):
                        yield Delta(text)
        except BadAnswerError:
            if not reader.is_whole:  # else only the end mark is missing, and what came is paid for
                raise
        completion = reader.completion()
        if completion.stop is StopReason.TOOL_USE:
            self._turns.keep(completion, reader.blocks())
        yield completion

    async def count_tokens(self, request: Request) -> int | None:
        """How many tokens a request has, by Anthropic's count, which costs nothing.

        Raises:
            BackendError: what went wrong, by kind.
        """
        body = msgspec.json.decode(encode(_NAME, self._prompt(request)))
        return (await self._endpoint.post("/v1/messages/count_tokens", body, _Counted)).input_tokens

    async def models(self) -> list[ModelInfo]:
        """The models that the key may use.

        Raises:
            BackendError: what went wrong, by kind.
        """
        listed: list[_Model] = []
        parameters: dict[str, object] = {"limit": _PAGE_MODELS}
        for _ in range(_PAGES_MAX):
            page = await self._endpoint.get("/v1/models", parameters, _Models)
            listed += page.data
            if not page.has_more or page.last_id is None:
                break
            parameters["after_id"] = page.last_id
        return [
            ModelInfo(name=model.id, detail=_detail(model), context_tokens=model.max_input_tokens) for model in listed
        ]

    async def close(self) -> None:
        """Close all connections."""
        await self._endpoint.close()

    def _prompt(self, request: Request) -> dict[str, Any]:
        body = {"model": self._model, **prompt(request, self._turns)}
        if self._thinking:
            body["thinking"] = {"type": self._thinking}
        if self._effort:
            body.setdefault("output_config", {})["effort"] = self._effort
        return body


def make(settings: Settings) -> Backend:
    """A model of Anthropic's.

    Raises:
        BackendSettingsError: there is no key, or the settings make no sense.
    """
    return ClaudeBackend(settings)


def _detail(model: _Model) -> str:
    """Such as ``Claude Haiku 5.5``, and where that says so that it is on its way out."""
    return ", ".join(filter(None, (model.display_name, "" if model.lifecycle == "active" else model.lifecycle)))
