"""Bodies of requests: what the backends over httpx write alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from smesh_agent.errors import RequestRejectedError

if TYPE_CHECKING:
    from smesh_agent.backends.base import Message, Request

__all__ = ["encode", "estimated_prompt", "estimated_tokens", "functions", "tool_text", "with_schema"]

_BYTES_A_TOKEN: Final = 4


def encode(backend: str, body: Any) -> bytes:
    """A request as JSON.

    Raises:
        RequestRejectedError: something in it is no JSON, such as half a surrogate pair.
    """
    try:
        return msgspec.json.encode(body)
    except (UnicodeEncodeError, TypeError, ValueError, RecursionError) as error:
        raise RequestRejectedError(backend, "the request holds what cannot be written as JSON") from error


def with_schema(system: str, schema: dict[str, Any]) -> str:
    """What stands before a conversation, with the words that ask for an answer that fits a schema."""
    asked = f"Answer with JSON and nothing else. It has to fit this JSON schema: {msgspec.json.encode(schema).decode()}"
    return f"{system}\n\n{asked}" if system else asked


def estimated_prompt(body: dict[str, Any]) -> int:
    """About how many tokens a model reads of a request's body: its messages and its tools."""
    return estimated_tokens(msgspec.json.encode([body["messages"], *body.get("tools", ())]))


def estimated_tokens(text: bytes) -> int:
    """About how many tokens a text in UTF-8 has, where nobody counts them: one in four bytes, rounded up."""
    return -(-len(text) // _BYTES_A_TOKEN)


def functions(request: Request) -> list[dict[str, Any]]:
    """The tools of a request, in the form that OpenAI gave them and others took over."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": tool.schema},
        }
        for tool in request.tools
    ]


def tool_text(message: Message) -> str:
    """What a tool answered, for providers that have no other way to say that it failed."""
    return f"Error: {message.text}" if message.is_error else message.text
