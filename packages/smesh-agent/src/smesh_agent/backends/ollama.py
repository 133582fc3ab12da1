"""Ollama: models on one's own machine, or on another's that one may use, over its own API.

An answer is a JSON document a line (``/api/chat``). The last says ``done``; one with an ``error`` may come at any time.
What a model thinks comes in a field of its own and is not part of the text, but counts as written.

Ollama cuts the beginning off a prompt that does not fit its window, and forgets the beginning where an answer outgrows
it, unless it is told not to. It is: such a prompt is refused, and such an answer ends with `StopReason.
CONTEXT_EXCEEDED`. Versions that know nothing of ``truncate`` and ``shift`` still cut silently. The window is what the
server has set, unless the option ``num_ctx`` says otherwise.

A schema is enforced (``format``) and also told, as Ollama's documentation advises: a model that does not know what it
is forced to write writes worse.

Its tokens have no price wherever it runs, for nobody bills them, with one exception: models of its maker's cloud, at
ollama.com or through a server of one's own (their tags end in ``cloud``), are not local.

The options are ``num_ctx`` (tokens of the window), ``seed``, ``think`` (``true``, ``false`` or a level that the model
knows) and ``keep_alive`` (how long the model stays loaded, such as ``10m``). The key is in ``OLLAMA_API_KEY``, where
one is needed.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from smesh_agent.backends.base import Completion, Delta, ModelInfo, StopReason, ToolCall, Usage
from smesh_agent.backends.bodies import encode, estimated_prompt, estimated_tokens, functions, tool_text, with_schema
from smesh_agent.backends.endpoint import Endpoint, Refusal, words
from smesh_agent.backends.options import number, refuse_unknown_options
from smesh_agent.errors import BackendError, BackendSettingsError, ModelNotFoundError, RequestRejectedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from smesh_agent.backends.base import Backend, Piece, Request, Settings

__all__ = ["OllamaBackend", "is_unbilled", "make", "ollama_url"]

_NAME: Final = "ollama"
_PORT: Final = "11434"
_SCHEME_PORTS: Final = {"http": "80", "https": "443"}
_MAKER: Final = "ollama.com"
_CLOUD: Final = re.compile(r"(:|-)cloud$")
_MISSING: Final = re.compile(r"\bmodel\b.*\bnot found\b|\bnot found\b.*\bpull", re.IGNORECASE)
_TOO_LONG: Final = re.compile(r"context[ _](length|size|window)|prompt is too long", re.IGNORECASE)
_NO_MODEL: Final = "name a model; `ollama list` shows those that are pulled"

Count = Annotated[int, msgspec.Meta(ge=0)]


def ollama_url(host: str) -> str:
    """The address that `OLLAMA_HOST` means, by Ollama's own rules.

    A scheme, a port and a path may be given; without a scheme it is http at port 11434, with one its usual port.
    Empty means this machine, and so do the addresses that servers listen at, which no client can connect to.
    ``ollama.com`` alone is https.
    """
    text = host.strip().strip("\"'").strip()
    scheme, separator, rest = ("https://" + _MAKER if text == _MAKER else text).partition("://")
    if not separator:
        scheme, rest = "http", scheme
    where, slash, path = rest.partition("/")
    user, at, name = where.rpartition("@")
    port = ""
    if re.fullmatch(r"[^:]*:[^:]*|.*\]:[^:\]]*", name):  # a bare IPv6 address holds colons that begin no port
        name, _, port = name.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) <= 0xFFFF):
        port = _SCHEME_PORTS.get(scheme, _PORT) if separator else _PORT
    return f"{scheme}://{user}{at}{_client_address(name)}:{port}{slash}{path}".rstrip("/")


def is_unbilled(host: str, model: str) -> bool:
    """Whether nobody bills the tokens of a model at a host: none but those of Ollama's cloud."""
    return not (host == _MAKER or host.endswith(f".{_MAKER}") or _CLOUD.search(model))


def _client_address(name: str) -> str:
    if not name:
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return name
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"[{address}]" if address.version == 6 else str(address)


class _Function(msgspec.Struct):
    name: str
    arguments: dict[str, Any] | None = None


class _Call(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Said(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_Call] | None = None


class _Line(msgspec.Struct):
    """A line of an answer to ``/api/chat``."""

    model: str = ""
    message: _Said | None = None
    done: bool = False
    done_reason: str = ""
    prompt_eval_count: Count | None = None
    eval_count: Count | None = None
    error: Any = None
    status: int = 0


class _Details(msgspec.Struct):
    parameter_size: str | None = None
    quantization_level: str | None = None


class _Model(msgspec.Struct):
    name: str
    size: int = 0
    details: _Details | None = None
    remote_host: str | None = None


class _Models(msgspec.Struct):
    """What ``/api/tags`` answers."""

    models: list[_Model]


class OllamaBackend:
    """A model of an Ollama server.

    Without a model it can only say which there are.

    Args:
        settings: the address is their `base_url`, else ``OLLAMA_HOST``, else this machine's.

    Raises:
        BackendSettingsError: the settings make no sense.
    """

    def __init__(self, settings: Settings) -> None:
        refuse_unknown_options(_NAME, settings, "num_ctx", "seed", "think", "keep_alive")
        self._model = settings.model
        self._tuning = {
            option: value
            for option, least in (("num_ctx", 1), ("seed", 0))
            if (value := number(_NAME, settings, option, least)) is not None
        }
        self._extras: dict[str, Any] = {}
        if think := settings.options.get("think"):
            self._extras["think"] = {"true": True, "false": False}.get(think, think)
        if keep_alive := settings.options.get("keep_alive"):
            # A text is a duration with a unit; a number, which may be negative for ever, is of seconds.
            self._extras["keep_alive"] = int(keep_alive) if re.fullmatch(r"-?[0-9]{1,9}", keep_alive) else keep_alive
        self._endpoint = Endpoint(
            _NAME,
            ollama_url(settings.base_url or settings.environment.get("OLLAMA_HOST", "")),
            timeout_s=settings.timeout_s,
            key=settings.environment.get("OLLAMA_API_KEY", "").strip(),
            where="its address" if settings.base_url else "OLLAMA_HOST",
            hint="start it with `ollama serve`, or say in OLLAMA_HOST where it is",
            explain=self._explained,
        )

    @property
    def name(self) -> str:
        """``ollama``."""
        return _NAME

    @property
    def model(self) -> str:
        """The model's name, such as ``qwen2.5-coder:7b``."""
        return self._model

    @property
    def is_local(self) -> bool:
        """Whether nobody bills its tokens: all but the models of Ollama's cloud."""
        return is_unbilled(self._endpoint.host, self._model)

    async def stream(self, request: Request) -> AsyncIterator[Piece]:
        """Send a request and pass on the answer as it comes.

        Yields:
            Deltas, and last one `Completion`.

        Raises:
            BackendError: what went wrong, by kind.
        """
        body = self._body(request)
        content = encode(_NAME, body)
        reader = _Reader(self._endpoint, self._model, request, body)
        async with self._endpoint.answer("POST", "/api/chat", content) as answer:
            while not reader.is_done:
                line = await answer.line()
                if line is None:
                    raise self._endpoint.bad_answer("ended its answer in the middle")
                if line and (text := reader.read(line)):
                    yield Delta(text)
            await answer.finish()
        yield reader.completion()

    async def count_tokens(self, request: Request) -> int | None:  # noqa: ARG002 - the interface's
        """None: Ollama counts tokens only of what it answers."""
        return None

    async def models(self) -> list[ModelInfo]:
        """The models that are pulled.

        How much a model can read is not said: it is as much as the server was told, whatever the model could.

        Raises:
            BackendError: what went wrong, by kind.
        """
        pulled = await self._endpoint.get("/api/tags", _Models)
        return [ModelInfo(name=model.name, detail=_detail(model)) for model in pulled.models]

    async def close(self) -> None:
        """Close all connections."""
        await self._endpoint.close()

    def _body(self, request: Request) -> dict[str, Any]:
        if not self._model:
            raise BackendSettingsError(_NAME, _NO_MODEL)
        options: dict[str, Any] = {"num_predict": request.max_tokens, **self._tuning}
        if request.temperature is not None:
            options["temperature"] = request.temperature
        if request.stop:
            options["stop"] = list(request.stop)
        body: dict[str, Any] = {
            "model": self._model,
            "messages": _messages(request),
            "stream": True,
            "truncate": False,
            "shift": False,
            "options": options,
            **self._extras,
        }
        if request.schema is not None:
            body["format"] = request.schema
        if request.tools:
            body["tools"] = functions(request)
        return body

    def _explained(self, refusal: Refusal) -> BackendError | None:
        if refusal.status in {0, 404} and _MISSING.search(refusal.message):
            reason = f"{self._endpoint.shown} has no model {self._model}: get it with `ollama pull {self._model}`"
            return ModelNotFoundError(_NAME, reason)
        if refusal.status in {0, 400, 500} and _TOO_LONG.search(refusal.message):
            reason = f"the request does not fit the model's window: {refusal.message}; option num_ctx makes it larger"
            return RequestRejectedError(_NAME, reason)
        return None


class _Reader:
    """Puts an answer together from its lines."""

    def __init__(self, endpoint: Endpoint, model: str, request: Request, body: dict[str, Any]) -> None:
        self._endpoint = endpoint
        self._model = model
        self._max_tokens = request.max_tokens
        self._body = body
        self._ids_before = sum(len(message.calls) for message in request.messages)
        self._texts: list[str] = []
        self._calls: list[_Call] = []
        self._last = _Line()

    @property
    def is_done(self) -> bool:
        return self._last.done

    def read(self, document: bytes) -> str:
        """What a line adds to the text."""
        line = self._endpoint.decode(document, _Line)
        if line.error:
            message, code = words(line.error if isinstance(line.error, dict | str) else str(line.error))
            raise self._endpoint.error(Refusal(status=line.status, message=message, code=code))
        self._last = line
        said = line.message or _Said()
        self._calls += said.tool_calls or ()
        if said.content:
            self._texts.append(said.content)
        return said.content or ""

    def completion(self) -> Completion:
        text = "".join(self._texts)
        return Completion(
            text=text,
            calls=tuple(
                # Versions that give calls no ids tell them apart by their order.
                ToolCall(call.id or f"call_{index}", call.function.name, call.function.arguments or {})
                for index, call in enumerate(self._calls, self._ids_before)
            ),
            stop=self._stop(),
            raw_stop=self._last.done_reason,
            usage=self._usage(text),
            model=self._last.model or self._model,
        )

    def _stop(self) -> StopReason:
        match self._last.done_reason:
            case "length":
                written = self._last.eval_count
                is_short = written is not None and written < self._max_tokens
                return StopReason.CONTEXT_EXCEEDED if is_short else StopReason.MAX_TOKENS
            case "stop" | "tool_calls" | "":  # old versions give no reason
                return StopReason.TOOL_USE if self._calls else StopReason.END
            case _:
                return StopReason.OTHER

    def _usage(self, text: str) -> Usage:
        """What Ollama counted; it leaves out a count of zero, and both where the model was not run."""
        read, written = self._last.prompt_eval_count, self._last.eval_count
        if read is not None and (written is not None or not (text or self._calls)):
            return Usage(tokens_in=read, tokens_out=written or 0)
        said = text.encode() + b"".join(msgspec.json.encode(call) for call in self._calls)
        return Usage(
            tokens_in=estimated_prompt(self._body) if read is None else read,
            tokens_out=estimated_tokens(said) if written is None else written,
            is_counted=False,
        )


def make(settings: Settings) -> Backend:
    """A model of an Ollama server.

    Raises:
        BackendSettingsError: no model is named, or the settings make no sense.
    """
    if not settings.model:
        raise BackendSettingsError(_NAME, _NO_MODEL)
    return OllamaBackend(settings)


def _messages(request: Request) -> list[dict[str, Any]]:
    system = request.system if request.schema is None else with_schema(request.system, request.schema)
    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    tools: dict[str, str] = {}
    for message in request.messages:
        turn: dict[str, Any] = {"role": message.role, "content": message.text}
        if message.role == "assistant" and message.calls:
            tools |= {call.id: call.name for call in message.calls}
            turn["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"index": index, "name": call.name, "arguments": call.arguments},
                }
                for index, call in enumerate(message.calls)
            ]
        elif message.role == "tool":
            # Old versions know answers by the tool's name, newer ones by the call's id.
            turn |= {"tool_name": tools.get(message.answers, ""), "tool_call_id": message.answers}
            turn["content"] = tool_text(message)
        messages.append(turn)
    return messages


def _detail(model: _Model) -> str:
    """Such as ``4.7 GB, 7.6B, Q4_K_M``, or where a model of a cloud runs."""
    if model.remote_host:
        return f"runs at {model.remote_host}"
    details = model.details or _Details()
    size = f"{model.size / 1e9:.1f} GB" if model.size > 0 else ""
    return ", ".join(filter(None, (size, details.parameter_size, details.quantization_level)))
