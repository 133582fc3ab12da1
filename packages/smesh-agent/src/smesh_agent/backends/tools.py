"""Tools: what a model may have done for it, and the loop in which it asks and is answered.

A model that asks for something that does not exist, with arguments that do not fit, or that goes wrong, is told so and
may do better; none of it ends the conversation. The tools that one turn asks for run one after the other, in its order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from smesh_agent.backends.base import Message, StopReason, Tool
from smesh_agent.backends.replies import Reply, together
from smesh_agent.backends.structured import schema_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smesh_agent.backends.base import Request, ToolCall
    from smesh_agent.backends.structured import Struct

__all__ = ["ROUNDS_MAX", "Ability", "Conversation", "ability", "converse"]

ROUNDS_MAX: Final = 16
"""How many turns of the model a conversation has, unless told otherwise."""
_RESULT_CHARACTERS_MAX: Final = 65_536

Perform: TypeAlias = Callable[[dict[str, Any]], Awaitable[str]]
"""Does what a tool is for, given its arguments, and says what came of it; raises where it cannot."""


class Ability(msgspec.Struct, frozen=True):
    """A tool, and what does it.

    Attributes:
        tool: as the model is told of it.
        perform: does it.
    """

    tool: Tool
    perform: Perform


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """What was said with tools.

    Attributes:
        messages: all turns, the model's last one included.
        reply: the last answer, with the usage, the cost and the times of all.
        rounds: how many turns the model had.
    """

    messages: tuple[Message, ...]
    reply: Reply
    rounds: int

    @property
    def is_finished(self) -> bool:
        """Whether the model had said all; False where the number of rounds ended it."""
        return self.reply.completion.stop not in {StopReason.TOOL_USE, StopReason.PAUSED}


def ability(name: str, description: str, type_: type[Struct], perform: Callable[[Struct], Awaitable[str]]) -> Ability:
    """A tool whose arguments are a struct; its schema comes from the type, and arguments are decoded strictly."""

    async def typed(arguments: dict[str, Any]) -> str:
        return await perform(msgspec.convert(arguments, type_))

    return Ability(Tool(name, description, schema_of(type_)), typed)


async def converse(
    ask: Callable[[Request], Awaitable[Reply]], request: Request, abilities: Sequence[Ability], *, rounds_max: int
) -> Conversation:
    """Let a model answer with the help of tools, until it has said all or its rounds are over.

    Args:
        ask: asks the model once.
        request: what is asked; its own tools are replaced.
        abilities: what it may have done.
        rounds_max: how many turns it has, at least one. What the last of them asks for is not done.

    Raises:
        BackendError: what `ask` raised.
    """
    by_name = {one.tool.name: one for one in abilities}
    request = msgspec.structs.replace(request, tools=tuple(one.tool for one in abilities))
    reply: Reply | None = None
    rounds = 0
    while True:
        rounds += 1
        latest = await ask(request)
        said = latest.completion
        reply = latest if reply is None else together(reply, latest)
        messages = (*request.messages, Message(role="assistant", text=said.text, calls=said.calls))
        conversation = Conversation(messages=messages, reply=reply, rounds=rounds)
        if conversation.is_finished or rounds >= rounds_max:
            return conversation
        answers = [await _answer(call, by_name) for call in said.calls] if said.stop is StopReason.TOOL_USE else []
        request = msgspec.structs.replace(request, messages=(*messages, *answers))


async def _answer(call: ToolCall, by_name: dict[str, Ability]) -> Message:
    """What is said to a call of a tool."""
    able = by_name.get(call.name)
    if able is None:
        known = ", ".join(by_name) or "none"
        return _failed(call, f"there is no tool {call.name!r}; there are: {known}")
    if why := _misfit(call.arguments, able.tool.schema):
        return _failed(call, f"bad arguments: {why}")
    try:
        text = await able.perform(call.arguments)
    except msgspec.ValidationError as error:
        return _failed(call, f"bad arguments: {error}")
    except Exception as error:  # noqa: BLE001 - whatever a tool does wrong, the model is told and may do better
        return _failed(call, f"{type(error).__name__}: {error}")
    return Message(role="tool", text=_cut(text), answers=call.id)


def _failed(call: ToolCall, why: str) -> Message:
    return Message(role="tool", text=_cut(why), answers=call.id, is_error=True)


def _misfit(arguments: dict[str, Any], schema: dict[str, Any]) -> str:
    """Which arguments are missing, or too many; their types are for the tool to judge."""
    properties = schema.get("properties", {})
    missing = [name for name in schema.get("required", ()) if name not in arguments]
    unknown = (
        [name for name in arguments if name not in properties] if schema.get("additionalProperties") is False else []
    )
    parts = [f"missing: {', '.join(missing)}"] if missing else []
    parts += [f"unknown: {', '.join(unknown)}"] if unknown else []
    return "; ".join(parts)


def _cut(text: str) -> str:
    if len(text) <= _RESULT_CHARACTERS_MAX:
        return text
    return f"{text[:_RESULT_CHARACTERS_MAX]}\n[{len(text) - _RESULT_CHARACTERS_MAX} more characters were cut off]"
