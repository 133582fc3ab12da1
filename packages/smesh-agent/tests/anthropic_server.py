"""A server on loopback that speaks Anthropic's Messages API as it is documented, and answers as it is told.

    with AnthropicServer("Hello.") as server:
        ...  # ANTHROPIC_BASE_URL=server.url and ANTHROPIC_API_KEY=KEY, or environment=server.environment

Each message gets the next of the answers, and all further ones the last. An answer is a text, which comes in two
pieces; a turn of `smesh_agent.backends.conformance`; a list of events (`text_block`, `thinking_block`, `call_block`,
`ended`) that follow on the start of the message; a `Reply` as it stands; or a function of the request's JSON that
returns one of these. What was asked is in `chats`, as JSON, and in `asked`, as it came.

A request that the API would refuse is refused: without a version or a key, of another model, with a temperature, with
a forced tool, with a turn of the model's at the end, with a text of blanks, with answers that belong to no call, with
too many marks for the cache, or with a schema beyond what it takes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

from loopback import CUT, HANG, Loopback, Reply
from smesh_agent.backends.base import StopReason
from smesh_agent.backends.conformance import BreaksOff, Fails, Hangs, Says
from smesh_agent.errors import (
    AuthenticationError,
    ModelNotFoundError,
    OverloadedError,
    RateLimitedError,
    RequestRejectedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from loopback import Asked

__all__ = [
    "KEY",
    "MODEL",
    "VERSION",
    "AnthropicServer",
    "call_block",
    "ended",
    "event",
    "refused",
    "started",
    "streamed",
    "text_block",
    "thinking_block",
]

KEY = "sk-ant-" + "0123456789abcdef"
MODEL = "claude-haiku-5-5"
VERSION = "2026-10-21"
PING = b'event: ping\ndata: {"type": "ping"}\n\n'

Answer: TypeAlias = "str | Says | Fails | BreaksOff | Hangs | list[Any] | Reply | Callable[[Any], Any]"

STOPS = {
    StopReason.END: "end_turn",
    StopReason.MAX_TOKENS: "max_tokens",
    StopReason.STOP_SEQUENCE: "stop_sequence",
    StopReason.TOOL_USE: "tool_use",
    StopReason.REFUSAL: "refusal",
    StopReason.PAUSED: "pause_turn",
    StopReason.CONTEXT_EXCEEDED: "model_context_window_exceeded",
}
REFUSALS = {
    AuthenticationError: (401, "authentication_error", "invalid bearer token"),
    ModelNotFoundError: (404, "not_found_error", f"model: {MODEL}"),
    RequestRejectedError: (400, "invalid_request_error", "prompt is too long: 1000001 tokens > 1000000 maximum"),
    RateLimitedError: (429, "rate_limit_error", "This request would exceed your organization's rate limit"),
    OverloadedError: (529, "overloaded_error", "Overloaded"),
}
_MARKS_MAX = 4
_SCHEMA_WORDS = {
    *("$defs", "$ref", "additionalProperties", "allOf", "anyOf", "const", "description", "enum", "format", "items"),
    *("minItems", "properties", "required", "title", "type"),
}


class AnthropicServer(Loopback):
    """The server; a context manager.

    Args:
        answers: see the module.
        models: the names of its models; messages to others are refused.
        key: what it wants as a bearer token.
        page_models: how many models it lists at a time, at most.

    Attributes:
        chats: what was asked of ``/v1/messages``, as JSON, refused requests included.
        counts: what was asked of ``/v1/messages/count_tokens``, as JSON, refused requests included.
    """

    def __init__(
        self, *answers: Answer, models: tuple[str, ...] = (MODEL,), key: str = KEY, page_models: int = 1000
    ) -> None:
        super().__init__(self._route)
        self.chats: list[Any] = []
        self.counts: list[Any] = []
        self._answers = answers or ("Hello.",)
        self._models, self._key, self._page_models = models, key, page_models
        self._answered = 0

    @property
    def environment(self) -> dict[str, str]:
        return {"ANTHROPIC_BASE_URL": self.url, "ANTHROPIC_API_KEY": self._key}

    def _route(self, asked: Asked) -> Reply:
        path, _, query = asked.path.partition("?")
        if asked.headers.get("anthropic-version") != VERSION:
            return refused(400, "invalid_request_error", "anthropic-version: header is required")
        if asked.headers.get("authorization") != f"Bearer {self._key}":
            return refused(401, "authentication_error", "invalid bearer token")
        match (asked.method, path):
            case ("GET", "/v1/models"):
                return self._listed(dict(pair.split("=") for pair in query.split("&") if pair))
            case ("POST", "/v1/messages/count_tokens"):
                self.counts.append(asked.json)
                why = self._refusal(asked.json)
                return why or Reply.of({"input_tokens": _count(asked.json)})
            case ("POST", "/v1/messages"):
                self.chats.append(asked.json)
                return self._chat(asked.json)
            case _:
                return refused(404, "not_found_error", "Not found")

    def _listed(self, asked: dict[str, str]) -> Reply:
        first = self._models.index(asked["after_id"]) + 1 if "after_id" in asked else 0
        page = self._models[first : first + min(int(asked.get("limit", 20)), self._page_models)]
        data = [
            {
                "type": "model",
                "id": model,
                "display_name": model.replace("-", " ").title(),
                "created_at": "2026-10-07T00:00:00Z",
                "lifecycle": "active",
                "max_input_tokens": 1_000_000,
                "max_tokens": 128_000,
            }
            for model in page
        ]
        more = first + len(page) < len(self._models)
        ids = {"first_id": page[0], "last_id": page[-1]} if page else {"first_id": None, "last_id": None}
        return Reply.of({"data": data, "has_more": more} | ids)

    def _refusal(self, body: Any) -> Reply | None:
        if body["model"] not in self._models:
            return refused(404, "not_found_error", f"model: {body['model']}")
        why = _objection(body)
        return refused(400, "invalid_request_error", why) if why else None

    def _chat(self, body: Any) -> Reply:
        if why := self._refusal(body):
            return why
        if not isinstance(body.get("max_tokens"), int):
            return refused(400, "invalid_request_error", "max_tokens: Field required")
        self._answered += 1
        return _reply(body, self._answers[min(self._answered, len(self._answers)) - 1])


def refused(status: int, type_: str, message: str, **headers: str) -> Reply:
    """A refusal, as the API words it."""
    body = {"type": "error", "error": {"type": type_, "message": message}, "request_id": "req_1"}
    return Reply.of(body, status, **{"request_id": "req_1"} | headers)


def event(type_: str, **fields: Any) -> bytes:
    """A server-sent event; half a surrogate pair comes escaped, as JSON has it."""
    data = json.dumps({"type": type_} | fields, ensure_ascii=False)
    return f"event: {type_}\ndata: {data}\n\n".encode("utf-8", "backslashreplace")


def streamed(*parts: Any) -> Reply:
    """An answer of these parts, as they stand."""
    return Reply(200, {"content-type": "text/event-stream; charset=utf-8", "request-id": "req_1"}, parts)


def started(model: str = MODEL, **usage: Any) -> bytes:
    """The first event of an answer; `usage` adds to 11 tokens that were read."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 11, "output_tokens": 1} | usage,
    }
    return event("message_start", message=message)


def text_block(index: int, *pieces: str) -> list[bytes]:
    """The events of a block of text."""
    return _block(index, {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces])


def thinking_block(index: int, thinking: str, signature: str) -> list[bytes]:
    """The events of a block of thoughts."""
    deltas = [{"type": "thinking_delta", "thinking": thinking}, {"type": "signature_delta", "signature": signature}]
    return _block(index, {"type": "thinking", "thinking": "", "signature": ""}, deltas)


def call_block(index: int, id_: str, name: str, arguments: Any) -> list[bytes]:
    """The events of a call of a tool; arguments that are text come as they stand."""
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    pieces = ["", *(written[start : start + 7] for start in range(0, len(written), 7))]
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return _block(index, {"type": "tool_use", "id": id_, "name": name, "input": {}}, deltas)


def ended(stop: str = "end_turn", *, details: Any = None, **usage: Any) -> list[bytes]:
    """The last events of an answer; `usage` adds to 7 tokens that were written."""
    delta = {"stop_reason": stop, "stop_sequence": None, "stop_details": details}
    return [event("message_delta", delta=delta, usage={"output_tokens": 7} | usage), event("message_stop")]


def _block(index: int, block: dict[str, Any], deltas: Iterable[dict[str, Any]]) -> list[bytes]:
    return [
        event("content_block_start", index=index, content_block=block),
        PING,
        *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
        event("content_block_stop", index=index),
    ]


def _reply(body: Any, answer: Answer) -> Reply:
    match answer:
        case Reply():
            return answer
        case str():
            half = len(answer) // 2
            return _reply(body, Says(pieces=tuple(filter(None, (answer[:half], answer[half:])))))
        case Fails():
            status, type_, message = REFUSALS[answer.kind]
            waits = {} if answer.retry_after_s is None else {"retry_after": f"{answer.retry_after_s:g}"}
            return refused(status, type_, message, **waits)
        case Says() if not body.get("stream"):
            return Reply.of(_message(body, answer), request_id="req_1")
        case Says():
            return streamed(started(body["model"], input_tokens=answer.tokens_in), *_said(answer), *_end(answer))
        case BreaksOff(pieces=pieces):
            return streamed(started(body["model"]), *text_block(0, *pieces)[:-1], CUT)
        case Hangs(pieces=pieces):
            return streamed(started(body["model"]), *text_block(0, *pieces)[:-1], HANG)
        case list():
            return streamed(started(body["model"]), *_flat(answer))
        case _:
            return _reply(body, answer(body))


def _flat(parts: Iterable[Any]) -> Iterator[Any]:
    for part in parts:
        if isinstance(part, list):
            yield from _flat(part)
        else:
            yield part


def _said(says: Says) -> Iterator[bytes]:
    if says.pieces:
        yield from text_block(0, *says.pieces)
    for index, call in enumerate(says.calls, 1 if says.pieces else 0):
        yield from call_block(index, call.id, call.name, call.arguments)


def _end(says: Says) -> list[bytes]:
    return ended(STOPS[says.stop], output_tokens=says.tokens_out)


def _message(body: Any, says: Says) -> dict[str, Any]:
    text = [{"type": "text", "text": says.text}] if says.pieces else []
    calls = [{"type": "tool_use", "id": one.id, "name": one.name, "input": one.arguments} for one in says.calls]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [*text, *calls],
        "stop_reason": STOPS[says.stop],
        "stop_sequence": None,
        "usage": {"input_tokens": says.tokens_in, "output_tokens": says.tokens_out},
    }


def _count(body: Any) -> int:
    """One token in four characters of all that a model reads."""
    return len(json.dumps([body.get(part) for part in ("system", "tools", "messages")])) // 4


def _objection(body: Any) -> str:
    """Why the API refuses a request; empty where it does not."""
    for name in ("temperature", "top_p", "top_k"):
        if name in body:
            return f"{name}: Extra inputs are not permitted"
    if body.get("tool_choice", {}).get("type", "auto") not in {"auto", "none"}:
        return "tool_choice: forced tool use is not supported by this model"
    if json.dumps(body).count('"cache_control"') > _MARKS_MAX:
        return f"A maximum of {_MARKS_MAX} blocks with cache_control may be provided"
    schema = body.get("output_config", {}).get("format", {}).get("schema")
    return _schema_objection(schema) or _blank(body.get("system", [])) or _turns_objection(body["messages"])


def _schema_objection(schema: Any) -> str:
    if isinstance(schema, list):
        return next(filter(None, map(_schema_objection, schema)), "")
    if not isinstance(schema, dict):
        return ""
    if unknown := schema.keys() - _SCHEMA_WORDS:
        return f"output_config.format.schema: property {min(unknown)!r} is not supported"
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        return "output_config.format.schema: 'additionalProperties' must be explicitly set to false"
    inner = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
    return _schema_objection([*inner, *(schema.get(word) for word in ("items", "anyOf", "allOf"))])


def _blank(content: Any) -> str:
    texts = [content] if isinstance(content, str) else [one["text"] for one in content if one["type"] == "text"]
    return "" if all(text.strip() for text in texts) else "text content blocks must contain non-whitespace text"


def _turns_objection(messages: Any) -> str:
    if not messages:
        return "messages: at least one message is required"
    if messages[-1]["role"] == "assistant":
        return "This model does not support assistant message prefill."
    open_calls: list[str] = []
    for message in messages:
        content = message["content"]
        if why := _blank(content):
            return f"messages: {why}"
        if not content:
            return "messages: all messages must have non-empty content"
        blocks = [] if isinstance(content, str) else content
        answers = [block for block in blocks if block["type"] == "tool_result"]
        if [answer["tool_use_id"] for answer in answers] != open_calls or answers != blocks[: len(answers)]:
            return "`tool_use` ids were found without `tool_result` blocks immediately after"
        if any(answer.get("is_error") and not answer.get("content") for answer in answers):
            return "messages: tool_result: content cannot be empty if `is_error` is true"
        if any(not str(answer.get("content", "x")).strip() for answer in answers):
            return "messages: text content blocks must contain non-whitespace text"
        if any(block["type"] == "thinking" and not block["signature"] for block in blocks):
            return "messages: thinking: Invalid `signature` in `thinking` block"
        open_calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
    return ""
