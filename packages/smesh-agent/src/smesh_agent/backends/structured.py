"""Structured answers: the schema that a type asks for, and the value in what a model wrote.

The schema stands on its own, because not every provider follows references: no ``$ref``, every field required, nothing
else allowed. The answer is what a model makes of it, so it is read with care: as it is, or as the one JSON object in
the prose or the code fence around it, decoded strictly. Of several objects none is picked, unless only one fits.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from smesh_agent.backends.base import Message, StopReason

if TYPE_CHECKING:
    from smesh_agent.backends.base import Completion, Request

__all__ = ["MisfitError", "Struct", "decoded", "repaired", "schema_of", "shown", "unusable"]

Struct = TypeVar("Struct", bound=msgspec.Struct)
"""The type that an answer is to have."""

_OBJECTS_MAX: Final = 64
_SHOWN_MAX: Final = 200


class MisfitError(Exception):
    """An answer that is not of its type; the message says why, in words for the model as well."""


def schema_of(type_: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON schema of a struct, without references and without a choice of fields.

    Raises:
        TypeError: the type contains itself, so that its schema would have no end.
    """
    (schema,), parts = msgspec.json.schema_components((type_,), ref_template="{name}")
    inlined: dict[str, Any] = _inlined(schema, parts, ())
    return inlined


def _inlined(schema: Any, parts: dict[str, Any], within: tuple[str, ...]) -> Any:
    if isinstance(schema, list):
        return [_inlined(one, parts, within) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(name := schema.get("$ref"), str):
        if name in within:
            raise TypeError(f"{name} contains itself: a schema without references cannot say that")
        return _inlined({**parts[name], **{k: v for k, v in schema.items() if k != "$ref"}}, parts, (*within, name))
    strict = {key: value for key, value in schema.items() if key not in {"default", "discriminator", "enum"}}
    strict = {
        key: {name: _inlined(one, parts, within) for name, one in value.items()}
        if key == "properties"
        else _inlined(value, parts, within)
        for key, value in strict.items()
    }
    if "enum" in schema:
        strict["enum"] = schema["enum"]
    if "properties" in schema:
        strict |= {"required": list(schema["properties"]), "additionalProperties": False}
    return strict


def decoded(text: str, type_: type[Struct]) -> Struct:
    """The value in an answer.

    Raises:
        MisfitError: there is none, or it does not fit, or several do.
    """
    text = text.strip().encode("utf-8", "replace").decode()  # half a surrogate pair is in no JSON
    misfit: Exception
    try:
        return msgspec.json.decode(text, type=type_)
    except (msgspec.DecodeError, RecursionError) as error:
        misfit = error
    objects, malformed = _objects(text)
    values: list[Struct] = []
    for one in objects:
        try:
            values.append(msgspec.json.decode(one, type=type_))
        except (msgspec.DecodeError, RecursionError) as error:
            misfit = error
    if len(values) == 1:
        return values[0]
    if len(objects) > 1:
        raise MisfitError(f"there are {len(objects)} JSON objects in it, and {len(values)} of them fit: one is wanted")
    if objects or isinstance(misfit, msgspec.ValidationError):
        raise MisfitError(_in_a_line(misfit)) from misfit
    raise MisfitError(f"its JSON is broken: {malformed}" if malformed else "there is no JSON object in it") from misfit


def _objects(text: str) -> tuple[list[str], str]:
    """The outermost JSON objects in a text, and what is wrong with the last that is broken."""
    decoder = json.JSONDecoder()
    found: list[str] = []
    malformed = ""
    start = text.find("{")
    for _ in range(_OBJECTS_MAX):
        if start < 0:
            break
        try:
            _, end = decoder.raw_decode(text, start)
            found.append(text[start:end])
        except json.JSONDecodeError as error:
            malformed = f"{error.msg}, at character {error.pos}"
            end = max(start + 1, error.pos)  # what stands inside something broken is not the answer
        except RecursionError:
            return found, "it is nested too deeply"
        start = text.find("{", end)
    return found, malformed


def unusable(completion: Completion, max_tokens: int) -> str:
    """Why an answer is not the whole answer, whatever is in it; empty where it is."""
    match completion.stop:
        case StopReason.REFUSAL:
            return f"the model declined to answer: {shown(completion.text)}"
        case StopReason.MAX_TOKENS:
            return f"the answer was cut off at {max_tokens:,} tokens: allow more"
        case StopReason.CONTEXT_EXCEEDED:
            return "the answer was cut off because the model's window is full: send less"
        case StopReason.PAUSED:
            return "the provider paused the turn before there was an answer"
        case _:
            return ""


def repaired(request: Request, completion: Completion, reason: str) -> Request:
    """The request that tells a model what was wrong with its answer."""
    again = Message(
        role="user",
        text=f"That answer cannot be used: {reason}. Answer again with one JSON object and nothing else. "
        f"It has to fit this JSON schema: {json.dumps(request.schema)}",
    )
    said = (Message(role="assistant", text=completion.text),) if completion.text.strip() else ()
    return msgspec.structs.replace(request, messages=(*request.messages, *said, again))


def shown(text: str) -> str:
    """The start of what a model wrote, in one line."""
    text = " ".join(text.split())
    return repr(text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…")


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())
