"""The Messages API: a request as it takes one, and an answer put together from its events.

Three of its rules shape what is sent. A text of blanks is refused, so such a turn of the model's, which may come of it,
is left out. What tools answered belongs into one turn of the user's, before anything the user says. And a model that
thought before it asked for a tool wants its thoughts back, unchanged, with what the tool answered: `Turns` keeps them,
for they have no place in a `Message`. A conversation that goes on in another process goes on without them.

The API takes only a part of JSON Schema. `transform_schema` of the SDK forbids further properties, as it must be, and
moves what cannot be enforced, such as a least number, into the words of a description. An object whose names are not
given cannot be said at all, and a request that has one is refused: the SDK would make an empty object of it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from anthropic import transform_schema

from smesh_agent.backends.base import Completion, StopReason, ToolCall, Usage
from smesh_agent.backends.bodies import estimated_tokens
from smesh_agent.errors import RequestRejectedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smesh_agent.backends.base import Message, Request
    from smesh_agent.backends.claude_endpoint import ClaudeEndpoint

__all__ = ["Reader", "Turns", "prompt"]

_NAME: Final = "claude"
_TURNS_MAX: Final = 256
_TYPES: Final = ("object", "array", "string", "integer", "number", "boolean", "null")
_CACHED: Final = {"type": "ephemeral"}
_STOPS: Final = {
    "end_turn": StopReason.END,
    "max_tokens": StopReason.MAX_TOKENS,
    "stop_sequence": StopReason.STOP_SEQUENCE,
    "tool_use": StopReason.TOOL_USE,
    "pause_turn": StopReason.PAUSED,
    "refusal": StopReason.REFUSAL,
    "model_context_window_exceeded": StopReason.CONTEXT_EXCEEDED,
}
_EVENTS: Final = frozenset({"message_start", "content_block_start", "content_block_delta", "message_delta"})
_NO_PROTOCOL: Final = "answered with something else than its protocol"
_CUT_OFF: Final = frozenset({StopReason.MAX_TOKENS, StopReason.CONTEXT_EXCEEDED, StopReason.REFUSAL})

Count = Annotated[int, msgspec.Meta(ge=0)]
_Block = dict[str, Any]


def prompt(request: Request, turns: Turns) -> dict[str, Any]:
    """What a model reads of a request, and the schema of its answer.

    Raises:
        RequestRejectedError: the schema has what Claude does not take.
    """
    body: dict[str, Any] = {"messages": _messages(request, turns)}
    prefix: list[_Block] = []  # what stands first, in the order in which a cache takes it
    if request.tools:
        prefix = body["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.schema} for tool in request.tools
        ]
    if request.system.strip():
        prefix = body["system"] = [_text(request.system)]
    if request.caches and prefix:
        prefix[-1]["cache_control"] = _CACHED
    if request.schema is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": _accepted(request.schema)}}
    return body


def _text(text: str) -> _Block:
    return {"type": "text", "text": text}


def _messages(request: Request, turns: Turns) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for message in request.messages:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = turns.find(message) or _blocks(message)
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += blocks
        elif blocks:
            messages.append({"role": role, "content": blocks})
    return messages


def _blocks(message: Message) -> list[_Block]:
    match message.role:
        case "user":
            return [_text(message.text)]
        case "tool":
            result: _Block = {"type": "tool_result", "tool_use_id": message.answers}
            if message.is_error:
                result["is_error"] = True
            if message.text.strip():
                result["content"] = message.text
            elif message.is_error:
                result["content"] = "The tool failed."  # an error that says nothing is refused
            return [result]
        case _:
            calls: list[_Block] = [
                {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
                for call in message.calls
            ]
            return [_text(message.text), *calls] if message.text.strip() else calls


def _accepted(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema as the API takes it.

    Raises:
        RequestRejectedError: it has what the API does not take.
    """
    try:
        why = next(filter(None, map(_objection, _parts(schema))), "")
        accepted = {} if why else transform_schema(schema)
    except RecursionError:
        why = "it is nested too deeply"
    except (ValueError, TypeError, AttributeError, AssertionError) as error:
        why = " ".join(str(error).split()) or "it makes no sense"
    if why:
        raise RequestRejectedError(_NAME, f"the schema is not one that Claude takes: {why}")
    return accepted


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema and all those in it."""
    if not isinstance(schema, dict):
        return
    yield schema
    for key, value in schema.items():
        if key in {"properties", "$defs"}:
            inner = value.values()
        elif key in {"anyOf", "oneOf", "allOf"}:
            inner = value
        else:
            inner = (value,) if key == "items" else ()
        for one in inner:
            yield from _parts(one)


def _objection(schema: dict[str, Any]) -> str:
    """What Claude does not take in a schema itself; empty for nothing that is known."""
    type_ = schema.get("type")
    if type_ is not None and type_ not in _TYPES:
        return f"its type {type_!r} is not one of {', '.join(_TYPES)}"
    if type_ == "object" and ("properties" not in schema or isinstance(schema.get("additionalProperties"), dict)):
        return "it has an object whose names are not given; make it a list of names and values"
    if type_ == "array" and not isinstance(schema.get("items", {}), dict):
        return "it has a list whose items differ by their place; make it an object"
    return ""


def _sound(text: str) -> str:
    """A text without halves of surrogate pairs, which JSON can say and nothing can write."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


class Turns:
    """The latest turns in which a model thought and then asked for tools, as they came."""

    def __init__(self) -> None:
        self._turns: OrderedDict[str, tuple[str, tuple[ToolCall, ...], list[_Block]]] = OrderedDict()

    def keep(self, completion: Completion, blocks: list[_Block]) -> None:
        """Remember a turn, if it has to be said again as it was."""
        if completion.calls and any("thinking" in block["type"] for block in blocks):
            self._turns[completion.calls[0].id] = (completion.text, completion.calls, blocks)
            if len(self._turns) > _TURNS_MAX:
                self._turns.popitem(last=False)

    def find(self, message: Message) -> list[_Block] | None:
        """The blocks of a turn as it came; None where it is not known, or not the same any more."""
        turn = self._turns.get(message.calls[0].id) if message.calls else None
        if turn is None or (message.text, message.calls) != turn[:2]:
            return None
        self._turns.move_to_end(message.calls[0].id)
        return list(turn[2])


class _Usage(msgspec.Struct):
    """Tokens so far; what an event leaves out stays as it was."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None


class _Started(msgspec.Struct):
    model: str | None = None
    usage: _Usage | None = None


class _Content(msgspec.Struct):
    """A block as it begins, of any type."""

    type: str
    text: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None


class _Delta(msgspec.Struct):
    """What is new, in a block or in the message."""

    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    stop_reason: str | None = None


class _Kind(msgspec.Struct):
    """An event of any type, for there may be new ones."""

    type: str


class _Event(_Kind):
    """An event of a type in `_EVENTS`."""

    index: int | None = None
    message: _Started | None = None
    content_block: _Content | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None


class _Growing:
    """A block that is coming."""

    def __init__(self, content: _Content) -> None:
        self.content = content
        self.text = [_sound(content.text or "") if content.type == "text" else ""]
        self.json: list[str] = []
        self.thinking = [content.thinking or ""]
        self.signature = content.signature or ""

    def add(self, delta: _Delta) -> str:
        """Take what is new; what it adds to the text."""
        self.json.append(delta.partial_json or "")
        self.thinking.append(delta.thinking or "")
        self.signature = delta.signature or self.signature
        new = _sound(delta.text or "") if self.content.type == "text" else ""
        self.text.append(new)
        return new

    def arguments(self) -> dict[str, Any]:
        """What a tool is given.

        Raises:
            ValueError: it is no JSON object.
        """
        written = "".join(self.json)
        return (
            msgspec.json.decode(written, type=dict[str, Any])
            if written
            else msgspec.convert(self.content.input or {}, dict[str, Any])
        )


class Reader:
    """Puts an answer together from its events.

    Args:
        endpoint: where it comes from, for errors.
        model: that was asked.
        content: the request as JSON, for an estimate of its tokens.
    """

    def __init__(self, endpoint: ClaudeEndpoint, model: str, content: bytes) -> None:
        self._endpoint = endpoint
        self._model = model
        self._content = content
        self._growing: dict[int, _Growing] = {}
        self._usage = _Usage()
        self._stop = ""

    @property
    def is_whole(self) -> bool:
        """Whether the provider has said why the model stopped."""
        return bool(self._stop)

    def read(self, raw: object) -> str:
        """What an event adds to the text.

        Args:
            raw: the event as the SDK gives it, which is whatever came.

        Raises:
            BadAnswerError: it is not one that can come now.
        """
        try:
            kind = msgspec.convert(raw, _Kind, from_attributes=True).type
            event = msgspec.convert(raw, _Event, from_attributes=True) if kind in _EVENTS else _Event(kind)
        except ValueError as error:
            raise self._endpoint.bad_answer(_NO_PROTOCOL) from error
        delta = event.delta or _Delta()
        index = -1 if event.index is None else event.index
        block = self._growing.get(index)
        match event.type:
            case "message_start" if event.message is not None:
                self._model = event.message.model or self._model
                self._count(event.message.usage)
            case "content_block_start" if event.content_block is not None and block is None:
                block = self._growing[index] = _Growing(event.content_block)
                return block.text[0]
            case "content_block_delta" if block is not None:
                return block.add(delta)
            case "message_delta":
                self._stop = delta.stop_reason or self._stop
                self._count(event.usage)
            case "message_start" | "content_block_start" | "content_block_delta":
                raise self._endpoint.bad_answer(_NO_PROTOCOL)
        return ""

    def _count(self, usage: _Usage | None) -> None:
        for name in _Usage.__struct_fields__ if usage is not None else ():
            if (count := getattr(usage, name)) is not None:
                setattr(self._usage, name, count)

    def completion(self) -> Completion:
        """The whole answer.

        Raises:
            BadAnswerError: it broke off, or asks for a tool in a way that cannot be read.
        """
        if not self.is_whole:
            raise self._endpoint.bad_answer("ended its answer in the middle")
        stop = _STOPS.get(self._stop, StopReason.OTHER)
        growing = self._growing.values()
        text = "".join("".join(block.text) for block in growing if block.content.type == "text")
        calls = tuple(
            call
            for block in growing
            if block.content.type == "tool_use" and (call := self._call(block, stop)) is not None
        )
        if stop is StopReason.TOOL_USE and not calls:
            raise self._endpoint.bad_answer("stopped for tools and asked for none")
        return Completion(
            text=text, calls=calls, stop=stop, raw_stop=self._stop, usage=self._counted(), model=self._model
        )

    def _call(self, block: _Growing, stop: StopReason) -> ToolCall | None:
        """A call; None for one that was cut off with the answer."""
        name, id_ = block.content.name, block.content.id
        if not name or not id_:
            raise self._endpoint.bad_answer("asked for a tool without a name or an id")
        try:
            return ToolCall(id_, name, block.arguments())
        except (ValueError, RecursionError):
            if stop in _CUT_OFF:
                return None
            raise self._endpoint.bad_answer(f"gave the tool {name!r} what is no JSON object") from None

    def _counted(self) -> Usage:
        usage = self._usage
        cached, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
        said = "".join("".join((*block.text, *block.json, *block.thinking)) for block in self._growing.values())
        plain, out = usage.input_tokens, usage.output_tokens
        return Usage(
            tokens_in=estimated_tokens(self._content) if plain is None else plain + cached + written,
            tokens_out=estimated_tokens(said.encode("utf-8", "replace")) if out is None else out,
            cached_in=cached,
            cache_written_in=written,
            is_counted=plain is not None and out is not None,
        )

    def blocks(self) -> list[_Block]:
        """The answer's blocks as they came, for `Turns`; of a completion."""
        blocks: list[_Block] = []
        for block in self._growing.values():
            match block.content.type:
                case "thinking":
                    thoughts = "".join(block.thinking)
                    blocks.append({"type": "thinking", "thinking": thoughts, "signature": block.signature})
                case "redacted_thinking":
                    blocks.append({"type": "redacted_thinking", "data": block.content.data or ""})
                case "text" if (text := "".join(block.text)).strip():
                    blocks.append(_text(text))
                case "tool_use":
                    use = {"id": block.content.id, "name": block.content.name, "input": block.arguments()}
                    blocks.append({"type": "tool_use", **use})
        return blocks
