"""What a backend is: one model behind one interface, whoever runs it.

A **backend** sends one request once and passes on what comes back as it comes: pieces of text, and then a
`Completion`. It neither retries nor waits its turn, knows no budget and hides nothing: all that is the same for every
backend and stands around it, in `smesh_agent.backends.model.Model`, which is what agents use.

To add one, write a class with the members of `Backend` and name a function that makes it from `Settings` under the
entry point group ``smesh.backends``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = [
    "Backend",
    "Completion",
    "Delta",
    "Message",
    "ModelInfo",
    "Piece",
    "Request",
    "Settings",
    "StopReason",
    "Tool",
    "ToolCall",
    "Usage",
]

MAX_TOKENS_DEFAULT = 1024
TIMEOUT_S_DEFAULT = 600.0


class StopReason(Enum):
    """Why a model wrote no more."""

    END = "end"
    """It had said what it had to say."""
    MAX_TOKENS = "max_tokens"
    """It reached the limit of the request; what there is, is cut off."""
    STOP_SEQUENCE = "stop_sequence"
    """It came to one of the request's stop sequences."""
    TOOL_USE = "tool_use"
    """It waits for what tools answer."""
    REFUSAL = "refusal"
    """It declined, or a filter of its provider did."""
    PAUSED = "paused"
    """Its provider paused a long turn; the same messages with the answer at their end go on with it."""
    CONTEXT_EXCEEDED = "context_exceeded"
    """The model's window is full; what there is, is cut off."""
    OTHER = "other"
    """Something that this version does not know; `Completion.raw_stop` says what."""


class ToolCall(msgspec.Struct, frozen=True):
    """A model asks for a tool.

    Attributes:
        id: what its answer names; made up by the backend where the provider gives none.
        name: of the tool.
        arguments: as the model wrote them, a JSON object.
    """

    id: str
    name: str
    arguments: dict[str, Any]


class Tool(msgspec.Struct, frozen=True):
    """Something that a model may ask for.

    Attributes:
        name: letters, digits, ``_`` and ``-``, at most 64.
        description: what it does, for the model.
        schema: JSON schema of its arguments, an object.
    """

    name: str
    description: str
    schema: dict[str, Any]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a conversation.

    Attributes:
        role: ``user``, ``assistant``, or ``tool`` for what a tool answered.
        text: what was said.
        calls: tools that an assistant's turn asked for.
        answers: of a tool's turn, the id of the call that it answers.
        is_error: of a tool's turn, whether the tool failed.
    """

    role: Literal["user", "assistant", "tool"]
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    answers: str = ""
    is_error: bool = False


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a model.

    Attributes:
        messages: the conversation; the last turn is the user's or a tool's.
        system: what stands before it, for the model alone.
        max_tokens: how much it may write.
        schema: JSON schema that the whole answer is to fit; None for free text.
        tools: what it may ask for.
        temperature: None leaves it to the model; a backend whose provider takes none refuses a request that has one.
        stop: texts before which it stops.
        caches: whether the provider should keep what stands first (tools and system) for the next request.
    """

    messages: tuple[Message, ...]
    system: str = ""
    max_tokens: int = MAX_TOKENS_DEFAULT
    schema: dict[str, Any] | None = None
    tools: tuple[Tool, ...] = ()
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    caches: bool = True


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens, as the provider counts them.

    Attributes:
        tokens_in: all that it read, what came from a cache and what went into one included.
        tokens_out: what it wrote.
        cached_in: of those read, how many came from a cache.
        cache_written_in: of those read, how many went into one.
        is_counted: False where the provider said nothing, and the numbers are estimates from the text's length.
    """

    tokens_in: int
    tokens_out: int
    cached_in: int = 0
    cache_written_in: int = 0
    is_counted: bool = True


class Delta(msgspec.Struct, frozen=True):
    """A piece of an answer's text, as it came."""

    text: str


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer.

    Attributes:
        text: all of it; what its deltas add up to.
        calls: tools that it asks for.
        stop: why it ended.
        raw_stop: in the provider's words.
        usage: what it took.
        model: the model that answered, by its provider's name.
    """

    text: str
    calls: tuple[ToolCall, ...] = ()
    stop: StopReason
    raw_stop: str = ""
    usage: Usage
    model: str


Piece: TypeAlias = Delta | Completion
"""What a backend passes on: any number of deltas, and then one completion."""


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A model that a backend has at hand.

    Attributes:
        name: what `Settings.model` calls it.
        detail: a few words about it, such as its size; may be empty.
        context_tokens: how much it can read and write together; None where unknown.
    """

    name: str
    detail: str = ""
    context_tokens: int | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend is made from.

    Attributes:
        model: its name with the provider; empty where the backend has a default of its own.
        base_url: where the provider is, if not at its usual place or where the environment says.
        timeout_s: how long it may stay silent before a call has failed.
        environment: where keys and addresses are looked up.
        options: what is the backend's own, such as a script's path; an unknown one is an error.
    """

    model: str = ""
    base_url: str = ""
    timeout_s: float = TIMEOUT_S_DEFAULT
    environment: Mapping[str, str] = {}
    options: Mapping[str, str] = {}


class Backend(Protocol):
    """One model of one provider.

    Every method raises `smesh_agent.errors.BackendError`, and of the exceptions of its own libraries none. A backend
    may be used by many at the same time. A call that is cancelled ends its connection.
    """

    @property
    def name(self) -> str:
        """The backend's name, such as ``ollama``."""
        ...

    @property
    def model(self) -> str:
        """The model's name with its provider."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether the model runs at its user's own place, so that a token has no price."""
        ...

    def stream(self, request: Request) -> AsyncIterator[Piece]:
        """Send a request and pass on the answer as it comes.

        Yields:
            Deltas, and last one `Completion`, which an answer that broke off does not have.

        Raises:
            BackendError: what went wrong, by kind; also in the middle of an answer.
        """
        ...

    async def count_tokens(self, request: Request) -> int | None:
        """How many tokens a request has, by the provider's own count; None where it cannot say.

        Raises:
            BackendError: what went wrong, by kind.
        """
        ...

    async def models(self) -> list[ModelInfo]:
        """The models at hand; an answer shows that the provider is reached and the key is taken.

        Raises:
            BackendError: what went wrong, by kind.
        """
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
