"""A server on loopback that speaks OpenAI's chat completions as vLLM and its like document them, and as it is told.

    with OpenAiServer("Hello.") as server:
        ...  # OPENAI_BASE_URL=server.url, or environment=server.environment

Each chat gets the next of the answers, and all further ones the last. An answer is a text, which comes in two pieces;
a turn of `smesh_agent.backends.conformance`; a `Reply` as it stands; or a function of the request's JSON that returns
one of these. What was asked is in `chats`, as JSON, and in `asked`, as it came.
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
    from collections.abc import Callable, Iterable

    from loopback import Asked

__all__ = ["DONE", "KEY", "MODEL", "OpenAiServer", "chunk", "event", "refused", "streamed"]

MODEL = "Qwen/Qwen2.5-Coder-7B-Instruct"
KEY = "key-" + "0123456789abcdef"
DONE = b"data: [DONE]\n\n"

Answer: TypeAlias = "str | Says | Fails | BreaksOff | Hangs | Reply | Callable[[Any], Any]"

STOPS = {
    StopReason.END: "stop",
    StopReason.TOOL_USE: "tool_calls",
    StopReason.MAX_TOKENS: "length",
    StopReason.REFUSAL: "content_filter",
}
REFUSALS = {
    AuthenticationError: (401, "Unauthorized"),
    ModelNotFoundError: (404, f"The model `{MODEL}` does not exist."),
    RequestRejectedError: (400, '"auto" tool choice requires --enable-auto-tool-choice'),
    RateLimitedError: (429, "Rate limit exceeded"),
    OverloadedError: (503, "There is no available model provider"),
}


class OpenAiServer(Loopback):
    """The server; a context manager.

    Args:
        answers: see the module.
        models: the names of its models; chats of others are refused.
        key: what it wants as a bearer token; empty for none.
        kind: what it says of itself in its list of models: ``vllm`` and ``llamacpp`` count tokens.
        takes_response_format: whether it does what ``response_format`` says; where not, it refuses it.

    Attributes:
        chats: what was asked of ``/v1/chat/completions``, as JSON, refused requests included.
    """

    def __init__(
        self,
        *answers: Answer,
        models: tuple[str, ...] = (MODEL,),
        key: str = "",
        kind: str = "vllm",
        takes_response_format: bool = True,
    ) -> None:
        super().__init__(self._route)
        self.chats: list[Any] = []
        self._answers = answers or ("Hello.",)
        self._models, self._key, self._kind = models, key, kind
        self._takes_response_format = takes_response_format
        self._answered = 0

    @property
    def environment(self) -> dict[str, str]:
        return {"OPENAI_BASE_URL": self.url} | ({"OPENAI_API_KEY": self._key} if self._key else {})

    def _route(self, asked: Asked) -> Reply:
        if self._key and asked.headers.get("authorization") != f"Bearer {self._key}":
            return refused(401, "Unauthorized")
        match (asked.method, asked.path):
            case ("GET", "/v1/models"):
                return Reply.of({"object": "list", "data": [self._listed(model) for model in self._models]})
            case ("POST", "/tokenize") if self._kind == "vllm":
                count = _count(asked.json)
                return Reply.of({"count": count, "max_model_len": 32768, "tokens": list(range(count))})
            case ("POST", "/v1/chat/completions/input_tokens") if self._kind == "llamacpp":
                return Reply.of({"object": "response.input_tokens", "input_tokens": _count(asked.json)})
            case ("POST", "/v1/chat/completions"):
                self.chats.append(asked.json)
                return self._chat(asked.json)
            case _:
                return Reply.of({"detail": "Not Found"}, 404)

    def _listed(self, model: str) -> dict[str, Any]:
        listed = {"id": model, "object": "model", "created": 1_735_142_223, "owned_by": self._kind}
        return listed | ({"max_model_len": 32768} if self._kind == "vllm" else {})

    def _chat(self, body: Any) -> Reply:
        if body["model"] not in self._models:
            return refused(404, f"The model `{body['model']}` does not exist.", "NotFoundError")
        if "response_format" in body and not self._takes_response_format:
            return refused(400, "'response_format.type' must be 'text'", "invalid_request_error")
        self._answered += 1
        return _reply(body, self._answers[min(self._answered, len(self._answers)) - 1])


def refused(status: int, message: str, type_: str = "error", **headers: str) -> Reply:
    """A refusal, as servers word it."""
    return Reply.of({"error": {"message": message, "type": type_, "param": None, "code": status}}, status, **headers)


def event(value: Any) -> bytes:
    """A server-sent event."""
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def chunk(body: Any, content: str | None = None, finish: str | None = None, **more: Any) -> bytes:
    """An event of an answer; what is given besides goes into the delta."""
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": delta | more, "logprobs": None, "finish_reason": finish}
    return event(_around(body) | {"choices": [choice]})


def streamed(*parts: Any) -> Reply:
    """An answer of these parts, as they stand."""
    return Reply(200, {"content-type": "text/event-stream; charset=utf-8"}, parts)


def _around(body: Any) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_735_142_223, "model": body["model"]}


def _count(body: Any) -> int:
    """One token a word, and three around a message."""
    return sum(3 + len(message["content"].split()) for message in body["messages"])


def _reply(body: Any, answer: Answer) -> Reply:
    match answer:
        case Reply():
            return answer
        case str():
            half = len(answer) // 2
            return _reply(body, Says(pieces=tuple(filter(None, (answer[:half], answer[half:])))))
        case Says():
            return streamed(*_begin(body, answer.pieces), *_end(body, answer))
        case BreaksOff():
            return streamed(*_begin(body, answer.pieces), CUT)
        case Hangs():
            return streamed(*_begin(body, answer.pieces), HANG)
        case Fails():
            status, message = REFUSALS[answer.kind]
            waits = {} if answer.retry_after_s is None else {"retry_after": f"{answer.retry_after_s:g}"}
            return refused(status, message, **waits)
        case _:
            return _reply(body, answer(body))


def _begin(body: Any, pieces: Iterable[str]) -> Iterable[bytes]:
    yield chunk(body, "", role="assistant")
    for piece in pieces:
        yield chunk(body, piece)


def _end(body: Any, says: Says) -> Iterable[bytes]:
    for index, call in enumerate(says.calls):
        yield chunk(body, tool_calls=[_part(index, "", id=call.id, type="function", name=call.name)])
        arguments = json.dumps(call.arguments)
        for start in range(0, len(arguments), 7):
            yield chunk(body, tool_calls=[_part(index, arguments[start : start + 7])])
    yield chunk(body, finish=STOPS[says.stop])
    if body.get("stream_options", {}).get("include_usage"):
        read, written = says.tokens_in, says.tokens_out
        usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        yield event(_around(body) | {"choices": [], "usage": usage})
    yield DONE


def _part(index: int, arguments: str, name: str = "", **more: Any) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"index": index, "function": function} | more
