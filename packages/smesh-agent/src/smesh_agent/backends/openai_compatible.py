"""Servers that speak OpenAI's chat completions: vLLM, llama.cpp, LM Studio, OpenRouter and others.

What they have in common is used and nothing more: messages, tools, ``response_format`` with a JSON schema, and usage at
the end of a stream. An answer comes as server-sent events, each a JSON document, and ends with ``[DONE]``. Servers
that forget that are believed once they have said why the model stopped; an answer that ends without either broke off.
What a model thinks comes in fields of its own (``reasoning_content``, ``reasoning``) and is not part of the text.

Some servers refuse ``response_format``. If one does and takes the same request without it, the schema is asked for in
the words before the conversation instead, from then on: `OpenAiCompatibleBackend.schema_in_prompt` says so. That is
the one case in which a request is sent twice.

The address is `Settings.base_url` or ``OPENAI_BASE_URL``, with or without ``/v1``. There is no other: a text must not
go to a provider that nobody named. The key is in ``OPENAI_API_KEY``, and goes to whatever that address is; where that
is not the one it was made for, the option ``key_variable`` names another variable, or none.

The options:

- ``key_variable``: the variable of the environment that holds the key; empty for no key.
- ``is_local``: ``true`` or ``false``: whether the model runs at one's own place. Unless told, that is what the address
  looks like, and a gateway of one's own that passes on to somebody who bills looks local.
- ``max_tokens_field``: ``max_tokens``, or ``max_completion_tokens`` where a server insists on that.
- ``seed``: for servers that draw the same from the same seed.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from smesh_agent.backends.addresses import is_private
from smesh_agent.backends.base import Completion, Delta, ModelInfo, StopReason, ToolCall, Usage
from smesh_agent.backends.bodies import encode, estimated_prompt, estimated_tokens, functions, tool_text, with_schema
from smesh_agent.backends.endpoint import Endpoint, Refusal, words
from smesh_agent.backends.options import number, one_of, refuse_unknown_options
from smesh_agent.errors import (
    BackendError,
    BackendSettingsError,
    BadAnswerError,
    ModelNotFoundError,
    RequestRejectedError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from smesh_agent.backends.base import Backend, Piece, Request, Settings
    from smesh_agent.backends.endpoint import Answer

__all__ = ["OpenAiCompatibleBackend", "make", "server_and_version"]

_NAME: Final = "openai-compatible"
_KEY_VARIABLE: Final = "OPENAI_API_KEY"
_DONE: Final = b"[DONE]"
_VERSION: Final = re.compile(r"(?<!/)/v\d[^/]*(/|$)")
_TOKENS_FIELDS: Final = ("max_tokens", "max_completion_tokens")
_MISSING: Final = re.compile(
    r"\bmodel\b.*\b(not found|not exist)|not a valid model|invalid model|no endpoints found for", re.IGNORECASE
)

Count = Annotated[int, msgspec.Meta(ge=0)]


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Fragment(msgspec.Struct):
    """A piece of a call: the first says its id and its name, each a piece of its arguments."""

    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Fragment] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    """What vLLM adds: the stop sequence that it came to."""


class _Details(msgspec.Struct):
    cached_tokens: Count | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_tokens_details: _Details | None = None


class _Chunk(msgspec.Struct):
    """An event of an answer to ``/chat/completions``."""

    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    model: str | None = None
    error: Any = None


class _Model(msgspec.Struct):
    id: str
    owned_by: str | None = None
    max_model_len: int | None = None
    """How much it reads and writes at most, as vLLM says it."""
    context_length: int | None = None
    """The same, as OpenRouter says it."""


class _Models(msgspec.Struct):
    """What ``/models`` answers."""

    data: list[_Model]


class _Tokenized(msgspec.Struct):
    """What ``/tokenize`` of vLLM answers."""

    count: Count


class _InputTokens(msgspec.Struct):
    """What ``/chat/completions/input_tokens`` of llama.cpp answers."""

    input_tokens: Count


def server_and_version(base: str) -> tuple[str, str]:
    """The address of a server, and what stands between it and the paths of the API.

    That is ``/v1``, said or not; nothing where the address has a version in it that is another one.
    """
    base = base.strip().rstrip("/")
    version = "" if _VERSION.search(base) and not base.endswith("/v1") else "/v1"
    return base.removesuffix("/v1"), version


class OpenAiCompatibleBackend:
    """A model of a server that speaks OpenAI's chat completions.

    Without a model it can only say which there are.

    Args:
        settings: see the module.

    Attributes:
        schema_in_prompt: whether a schema is asked for in words, because the server refused ``response_format``.

    Raises:
        BackendSettingsError: the settings make no sense.
    """

    def __init__(self, settings: Settings) -> None:
        refuse_unknown_options(_NAME, settings, "key_variable", "is_local", "max_tokens_field", "seed")
        self.schema_in_prompt = False
        self._model = settings.model
        self._seed = number(_NAME, settings, "seed", 0)
        self._tokens_field = one_of(_NAME, settings, "max_tokens_field", *_TOKENS_FIELDS) or _TOKENS_FIELDS[0]
        self._is_local = one_of(_NAME, settings, "is_local", "true", "false")
        self._owner: str | None = None
        base = settings.base_url or settings.environment.get("OPENAI_BASE_URL", "")
        if not base.strip():
            raise BackendSettingsError(_NAME, "no address: set OPENAI_BASE_URL, such as to http://127.0.0.1:8000/v1")
        server, self._version = server_and_version(base)
        variable = settings.options.get("key_variable", _KEY_VARIABLE)
        self._endpoint = Endpoint(
            _NAME,
            server,
            timeout_s=settings.timeout_s,
            key=settings.environment.get(variable, "").strip(),
            where="its address" if settings.base_url else "OPENAI_BASE_URL",
            hint="start the server, or say in OPENAI_BASE_URL where it is",
            explain=self._explained,
        )

    @property
    def name(self) -> str:
        """``openai-compatible``."""
        return _NAME

    @property
    def model(self) -> str:
        """The model's name with the server."""
        return self._model

    @property
    def is_local(self) -> bool:
        """Whether the server is in its user's own network, as far as its address or the option ``is_local`` says."""
        return self._is_local == "true" if self._is_local else is_private(self._endpoint.host)

    def require_model(self) -> None:
        """Check that a model is named.

        Raises:
            BackendSettingsError: none is.
        """
        if not self._model:
            raise BackendSettingsError(_NAME, f"name a model; {self._models_at} lists those at hand")

    @property
    def _models_at(self) -> str:
        return f"{self._endpoint.shown}{self._version}/models"

    async def stream(self, request: Request) -> AsyncIterator[Piece]:
        """Send a request and pass on the answer as it comes.

        Yields:
            Deltas, and last one `Completion`.

        Raises:
            BackendError: what went wrong, by kind.
        """
        async with contextlib.AsyncExitStack() as stack:
            answer, body = await self._open(request, stack)
            reader = _Reader(self._endpoint, self._model, request, body)
            while (event := await _next(answer, reader)) is not None:
                if event == _DONE:
                    break
                if text := reader.read(event):
                    yield Delta(text)
            if event is None and not reader.has_finished:
                raise self._endpoint.bad_answer("ended its answer in the middle")
            completion = reader.completion()
            await answer.finish()
        yield completion

    async def count_tokens(self, request: Request) -> int | None:
        """How many tokens a request has, as vLLM (``/tokenize``) and llama.cpp (``/input_tokens``) count; else None.

        Raises:
            BackendError: what went wrong, by kind.
        """
        content = encode(_NAME, self._prompt(request, schema_in_prompt=self.schema_in_prompt))
        if self._owner is None:
            owners = {model.owned_by or "" for model in await self._listed()}
            self._owner = owners.pop() if len(owners) == 1 else ""
        try:
            match self._owner:
                case "vllm":
                    return (await self._endpoint.post("/tokenize", content, _Tokenized)).count
                case "llamacpp":
                    path = f"{self._version}/chat/completions/input_tokens"
                    return (await self._endpoint.post(path, content, _InputTokens)).input_tokens
        except BackendSettingsError:
            self._owner = ""  # the address is right, since it lists models: this version cannot count
        return None

    async def models(self) -> list[ModelInfo]:
        """The models that the server has.

        Raises:
            BackendError: what went wrong, by kind.
        """
        return [
            ModelInfo(
                name=model.id,
                detail=f"owned by {model.owned_by}" if model.owned_by else "",
                context_tokens=model.max_model_len or model.context_length,
            )
            for model in await self._listed()
        ]

    async def close(self) -> None:
        """Close all connections."""
        await self._endpoint.close()

    async def _listed(self) -> list[_Model]:
        return (await self._endpoint.get(f"{self._version}/models", _Models)).data

    async def _open(self, request: Request, stack: contextlib.AsyncExitStack) -> tuple[Answer, dict[str, Any]]:
        """The answer to a request and the request as it was sent, with the schema where the server takes it."""
        in_prompt = self.schema_in_prompt
        body = self._body(request, schema_in_prompt=in_prompt)
        try:
            return await stack.enter_async_context(self._asked(body)), body
        except RequestRejectedError as error:
            if request.schema is None or in_prompt:
                raise
            refused = error
        body = self._body(request, schema_in_prompt=True)
        try:
            answer = await stack.enter_async_context(self._asked(body))
        except RequestRejectedError:
            raise refused from None  # it is not the schema that the server minds
        self.schema_in_prompt = True
        return answer, body

    def _asked(self, body: dict[str, Any]) -> AbstractAsyncContextManager[Answer]:
        return self._endpoint.answer("POST", f"{self._version}/chat/completions", encode(_NAME, body))

    def _prompt(self, request: Request, *, schema_in_prompt: bool) -> dict[str, Any]:
        """What a model reads of a request."""
        self.require_model()
        told = schema_in_prompt and request.schema is not None
        system = with_schema(request.system, request.schema or {}) if told else request.system
        body: dict[str, Any] = {"model": self._model, "messages": _messages(request, system)}
        if request.tools:
            body["tools"] = functions(request)
        return body

    def _body(self, request: Request, *, schema_in_prompt: bool) -> dict[str, Any]:
        body = self._prompt(request, schema_in_prompt=schema_in_prompt)
        body |= {
            self._tokens_field: request.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.stop:
            body["stop"] = list(request.stop)
        if self._seed is not None:
            body["seed"] = self._seed
        if request.schema is not None and not schema_in_prompt:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": request.schema, "strict": True},
            }
        return body

    def _explained(self, refusal: Refusal) -> BackendError | None:
        is_missing = refusal.code == "model_not_found" or _MISSING.search(refusal.message)
        if not (refusal.status in {0, 400, 404} and is_missing):
            return None
        said = f" ({refusal.message})" if refusal.message else ""
        return ModelNotFoundError(_NAME, f"no model {self._model}{said}; {self._models_at} lists those at hand")


class _Building:
    """A call whose pieces are coming."""

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []


class _Reader:
    """Puts an answer together from its events."""

    def __init__(self, endpoint: Endpoint, model: str, request: Request, body: dict[str, Any]) -> None:
        self._endpoint = endpoint
        self._model = model
        self._body = body
        self._ids_before = sum(len(message.calls) for message in request.messages)
        self._texts: list[str] = []
        self._calls: list[_Building] = []
        self._by_index: dict[int, _Building] = {}
        self._usage: _Usage | None = None
        self._finish = ""
        self._is_refusal = False
        self._stopped_at: str | int | None = None

    @property
    def has_finished(self) -> bool:
        """Whether the server has said why the model stopped."""
        return bool(self._finish)

    def read(self, document: bytes) -> str:
        """What an event adds to the text."""
        chunk = self._endpoint.decode(document, _Chunk)
        if chunk.error:
            message, code = words(chunk.error if isinstance(chunk.error, dict | str) else str(chunk.error))
            status = int(code) if re.fullmatch("[1-5][0-9]{2}", code) else 0
            raise self._endpoint.error(Refusal(status=status, message=message, code=code))
        self._model = chunk.model or self._model
        self._usage = chunk.usage or self._usage
        if not chunk.choices:
            return ""
        choice = chunk.choices[0]
        self._finish = choice.finish_reason or self._finish
        if self._finish == "error":
            raise self._endpoint.error(Refusal(status=0, message="the model stopped with an error"))
        self._stopped_at = choice.stop_reason if choice.finish_reason else self._stopped_at
        delta = choice.delta or _Delta()
        for fragment in delta.tool_calls or ():
            self._add(fragment)
        self._is_refusal = self._is_refusal or bool(delta.refusal)
        text = (delta.content or "") + (delta.refusal or "")
        self._texts.append(text)
        return text

    def _add(self, fragment: _Fragment) -> None:
        """Put a piece where it belongs: by its index, else by its id, else to the call that came last."""
        last = self._calls[-1] if self._calls else None
        call = last if fragment.index is None else self._by_index.get(fragment.index)
        if call is None or (fragment.id and call.id and fragment.id != call.id):
            call = _Building()
            self._calls.append(call)
        if fragment.index is not None:
            self._by_index[fragment.index] = call
        function = fragment.function or _Function()
        call.id = call.id or fragment.id or ""
        call.name = call.name or function.name or ""
        call.arguments.append(function.arguments or "")

    def completion(self) -> Completion:
        """The whole answer.

        Raises:
            BadAnswerError: a call in it is none.
        """
        text = "".join(self._texts)
        calls = tuple(filter(None, (self._call(*numbered) for numbered in enumerate(self._calls, self._ids_before))))
        return Completion(
            text=text,
            calls=calls,
            stop=self._stop(has_calls=bool(calls)),
            raw_stop=self._finish,
            usage=self._counted(text),
            model=self._model,
        )

    def _call(self, number: int, call: _Building) -> ToolCall | None:
        """A call; None for one that the limit of tokens cut off."""
        try:
            arguments = msgspec.json.decode("".join(call.arguments) or "{}", type=dict[str, Any] | None)
        except (msgspec.DecodeError, RecursionError):
            if self._finish == "length":
                return None
            raise self._endpoint.bad_answer(f"gave the tool {call.name!r} what is no JSON object") from None
        if not call.name:
            raise self._endpoint.bad_answer("asked for a tool without a name")
        return ToolCall(call.id or f"call_{number}", call.name, arguments or {})

    def _stop(self, *, has_calls: bool) -> StopReason:
        match self._finish:
            case "length":
                return StopReason.MAX_TOKENS
            case "content_filter":
                return StopReason.REFUSAL
            case "stop" | "tool_calls" | "function_call" if has_calls:
                return StopReason.TOOL_USE
            case "stop" if self._is_refusal:
                return StopReason.REFUSAL
            case "stop":
                return StopReason.STOP_SEQUENCE if isinstance(self._stopped_at, str) else StopReason.END
            case _:
                return StopReason.OTHER

    def _counted(self, text: str) -> Usage:
        usage = self._usage or _Usage()
        read, written = usage.prompt_tokens, usage.completion_tokens
        said = text.encode() + b"".join(f"{call.name}{''.join(call.arguments)}".encode() for call in self._calls)
        tokens_in = estimated_prompt(self._body) if read is None else read
        cached = (usage.prompt_tokens_details or _Details()).cached_tokens or 0
        return Usage(
            tokens_in=tokens_in,
            tokens_out=estimated_tokens(said) if written is None else written,
            cached_in=min(cached, tokens_in),
            is_counted=read is not None and written is not None,
        )


async def _next(answer: Answer, reader: _Reader) -> bytes | None:
    """The next event; None after the last, and where an answer that is whole breaks off before its end mark."""
    try:
        return await answer.event()
    except BadAnswerError:
        if reader.has_finished:
            return None
        raise


def make(settings: Settings) -> Backend:
    """A model of a server that speaks OpenAI's chat completions.

    Raises:
        BackendSettingsError: no model is named, or the settings make no sense.
    """
    backend = OpenAiCompatibleBackend(settings)
    backend.require_model()
    return backend


def _messages(request: Request, system: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    for message in request.messages:
        turn: dict[str, Any] = {"role": message.role, "content": message.text}
        if message.role == "assistant" and message.calls:
            turn["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": encode(_NAME, call.arguments).decode()},
                }
                for call in message.calls
            ]
        elif message.role == "tool":
            turn["tool_call_id"] = message.answers
            turn["content"] = tool_text(message)
        messages.append(turn)
    return messages
