"""An Ollama on loopback that answers as it is told, over the API that Ollama documents.

    with OllamaServer("Hello.") as server:
        ...  # OLLAMA_HOST=server.url, or environment=server.environment

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

__all__ = ["MODEL", "OllamaServer", "line", "pieces_of"]

MODEL = "qwen2.5-coder:7b"

Answer: TypeAlias = "str | Says | Fails | BreaksOff | Hangs | Reply | Callable[[Any], Any]"

STOPS = {StopReason.END: "stop", StopReason.TOOL_USE: "stop", StopReason.MAX_TOKENS: "length"}
REFUSALS = {
    AuthenticationError: (401, "unauthorized"),
    ModelNotFoundError: (404, f"model '{MODEL}' not found"),
    RequestRejectedError: (400, f"{MODEL} does not support tools"),
    RateLimitedError: (429, "too many requests"),
    OverloadedError: (503, "server busy, please try again.  maximum pending requests exceeded"),
}


class OllamaServer(Loopback):
    """The server; a context manager.

    Attributes:
        chats: what was asked of ``/api/chat``, as JSON.
        models: the names of the models that are pulled, with their sizes in bytes; chats of others are refused.
    """

    def __init__(self, *answers: Answer, models: dict[str, int] | None = None, version: str = "0.31.4") -> None:
        super().__init__(self._route)
        self.chats: list[Any] = []
        self.models = {MODEL: 4_683_087_332} if models is None else models
        self._answers = answers or ("Hello.",)
        self._version = version

    @property
    def environment(self) -> dict[str, str]:
        return {"OLLAMA_HOST": self.url}

    def _route(self, asked: Asked) -> Reply:
        match (asked.method, asked.path):
            case ("GET", "/api/version"):
                return Reply.of({"version": self._version})
            case ("GET", "/api/tags"):
                return Reply.of({"models": [model_listed(name, size) for name, size in self.models.items()]})
            case ("POST", "/api/chat"):
                self.chats.append(asked.json)
                if asked.json["model"] not in self.models:
                    return Reply.of({"error": f"model '{asked.json['model']}' not found"}, 404)
                answer = self._answers[min(len(self.chats), len(self._answers)) - 1]
                return _reply(asked.json, answer)
            case _:
                return Reply(404, {"content-type": "text/plain"}, b"404 page not found")


def model_listed(name: str, size: int) -> dict[str, Any]:
    details = {"format": "gguf", "family": "qwen2", "parameter_size": "7.6B", "quantization_level": "Q4_K_M"}
    return {"name": name, "model": name, "size": size, "digest": "0" * 64, "details": details}


def line(body: Any, content: str = "", **more: Any) -> bytes:
    """A line of an answer, with its end."""
    message = {"role": "assistant", "content": content} | more.pop("message", {})
    at = "2026-11-20T08:00:00.000000Z"
    whole = {"model": body["model"], "created_at": at, "message": message, "done": False} | more
    return json.dumps(whole, ensure_ascii=False).encode() + b"\n"


def pieces_of(text: str) -> tuple[str, ...]:
    """A text in two pieces, where it has two."""
    return tuple(filter(None, (text[: len(text) // 2], text[len(text) // 2 :])))


def _reply(body: Any, answer: Answer) -> Reply:
    match answer:
        case Reply():
            return answer
        case str():
            return _reply(body, Says(pieces=pieces_of(answer)))
        case Says():
            return _stream([*(line(body, piece) for piece in answer.pieces), *_end(body, answer)])
        case BreaksOff():
            return _stream([*(line(body, piece) for piece in answer.pieces), CUT])
        case Hangs():
            return _stream([*(line(body, piece) for piece in answer.pieces), HANG])
        case Fails():
            status, words = REFUSALS[answer.kind]
            waits = {} if answer.retry_after_s is None else {"retry_after": f"{answer.retry_after_s:g}"}
            return Reply.of({"error": words}, status, **waits)
        case _:
            return _reply(body, answer(body))


def _stream(parts: Iterable[Any]) -> Reply:
    return Reply(200, {"content-type": "application/x-ndjson"}, parts)


def _end(body: Any, says: Says) -> Iterable[bytes]:
    for index, call in enumerate(says.calls):
        function = {"index": index, "name": call.name, "arguments": call.arguments}
        yield line(body, message={"tool_calls": [{"id": call.id, "function": function}]})
    counts = {"prompt_eval_count": says.tokens_in, "eval_count": says.tokens_out}
    times = {"total_duration": 5_191_566_416, "load_duration": 2_154_458, "eval_duration": 4_799_921_000}
    # Go leaves out what is zero.
    yield line(body, done=True, done_reason=STOPS[says.stop], **times, **{k: v for k, v in counts.items() if v})
