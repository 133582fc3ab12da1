"""Structured answers: strict schemas, and values out of whatever stands around them."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

import msgspec
import pytest
from fake_backend import asked, completed
from hypothesis import given
from hypothesis import strategies as st
from smesh_agent.backends.base import Message, StopReason
from smesh_agent.backends.structured import MisfitError, decoded, repaired, schema_of, shown, unusable


class Place(msgspec.Struct, tag="place"):
    x: int
    note: str | None = None


class Person(msgspec.Struct, tag="person"):
    name: Annotated[str, msgspec.Meta(min_length=1, description="full")]


class Report(msgspec.Struct):
    """What was found."""

    about: Place | Person
    places: list[Place]
    kind: Literal["a", "b"] = "a"
    properties: int = 3  # a field may be called like a word of the schema
    default: bool = False


class Verdict(msgspec.Struct):
    holds: bool
    reason: str


class Tree(msgspec.Struct):
    children: list[Tree]


def objects_of(schema: Any) -> list[dict[str, Any]]:
    found = []
    if isinstance(schema, dict):
        found += [schema] if schema.get("type") == "object" else []
        schema = list(schema.values())
    if isinstance(schema, list):
        for one in schema:
            found += objects_of(one)
    return found


def test_a_schema_stands_on_its_own_and_leaves_no_choice() -> None:
    schema = schema_of(Report)
    text = json.dumps(schema)
    assert "$ref" not in text
    assert "$defs" not in text
    assert "discriminator" not in text
    assert schema["type"] == "object"
    assert schema["description"] == "What was found."
    assert len(objects_of(schema)) == 4  # the report, two kinds of what it is about, and a place in the list
    for one in objects_of(schema):
        assert one["required"] == list(one["properties"])
        assert one["additionalProperties"] is False
    assert schema["properties"]["kind"] == {"enum": ["a", "b"]}
    assert schema["properties"]["default"] == {"type": "boolean"}
    assert schema["properties"]["properties"] == {"type": "integer"}
    place, person = schema["properties"]["about"]["anyOf"]
    assert place["required"] == ["type", "x", "note"]
    assert person["properties"]["name"] == {"description": "full", "type": "string", "minLength": 1}


def test_a_type_that_contains_itself_has_no_such_schema() -> None:
    with pytest.raises(TypeError, match="Tree contains itself"):
        schema_of(Tree)


GOOD = '{"holds": true, "reason": "a } and a { and a \\" stand in it"}'
VALUE = Verdict(holds=True, reason='a } and a { and a " stand in it')


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"\n\n  {GOOD}\n",
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```\nI hope that this helps.",
        f"Here it is:\n\n{GOOD}\n\nThat is all.",
        f"The set {{x, y}} is meant. {GOOD}",
        f'It is no {{"verdict": 1}}, but {GOOD}',
        f"~~~\n{GOOD}",
    ],
)
def test_the_value_is_found_in_what_stands_around_it(text: str) -> None:
    assert decoded(text, Verdict) == VALUE


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no JSON object"),
        ("I would rather not say.", "no JSON object"),
        ('{"holds": true}', "missing required field `reason`"),
        ('{"holds": "true", "reason": ""}', r"Expected `bool`, got `str` - at `\$.holds`"),
        ('{"holds": 1, "reason": ""}', "Expected `bool`"),
        ('Well: {"holds": null, "reason": ""}', "Expected `bool`"),
        ('{"holds": true, "reason": "and so', "JSON is broken: Unterminated string"),
        ('{"holds": true, "reason": "x",}', "JSON is broken"),
        ("{'holds': true, 'reason': 'x'}", "JSON is broken"),
        ('{"holds": NaN, "reason": "x"}', "malformed"),
        (f"{GOOD}\n{GOOD}", "2 JSON objects in it, and 2 of them fit"),
        ('{"a": 1} {"b": 2}', "2 JSON objects in it, and 0 of them fit"),
        ("[1, 2]", "Expected `object`, got `array`"),
        ('"yes"', "Expected `object`, got `str`"),
        ('{"holds":' * 100_000, "Expected `bool`, got `object`"),
        ("so: " + '{"holds":' * 100_000, "nested too deeply"),
        ("{" * 100_000, "broken"),
    ],
)
def test_what_does_not_fit_says_why_in_one_line(text: str, why: str) -> None:
    with pytest.raises(MisfitError, match=why) as caught:
        decoded(text, Verdict)
    assert "\n" not in str(caught.value)


class Loose(msgspec.Struct):
    """A type that any object fits."""

    holds: bool = True


def test_what_stands_inside_something_broken_is_no_answer() -> None:
    with pytest.raises(MisfitError, match="broken"):
        decoded('So: {"verdicts": [{"holds": false}, oops]}', Loose)
    with pytest.raises(MisfitError, match="broken"):
        decoded('So: {"verdicts": [{"holds": false}', Loose)


@given(
    st.booleans(),
    st.text(max_size=50),
    st.text(st.characters(exclude_characters="{}"), max_size=50),
    st.text(st.characters(exclude_characters="{}"), max_size=50),
    st.booleans(),
)
def test_every_value_comes_back_from_any_prose(
    holds: bool, reason: str, before: str, after: str, escaped: bool
) -> None:
    value = {"holds": holds, "reason": reason}
    found = decoded(before + json.dumps(value, ensure_ascii=escaped, indent=1) + after, Verdict)
    assert (found.holds, found.reason) == (holds, reason)


@given(st.text(alphabet='{}[]",:tfn1 \\ae\ud800', max_size=60))
def test_nothing_but_a_value_or_a_misfit_comes_of_any_text(text: str) -> None:
    try:
        assert isinstance(decoded(text, Verdict), Verdict)
    except MisfitError:
        return


@pytest.mark.parametrize(
    ("stop", "why"),
    [
        (StopReason.REFUSAL, r"declined to answer: 'I cannot'"),
        (StopReason.MAX_TOKENS, "cut off at 1,000 tokens"),
        (StopReason.CONTEXT_EXCEEDED, "window is full"),
        (StopReason.PAUSED, "paused"),
    ],
)
def test_what_ended_an_answer_early_is_named(stop: StopReason, why: str) -> None:
    assert re.search(why, unusable(completed("I\ncannot", stop=stop), 1000))


@pytest.mark.parametrize("stop", [StopReason.END, StopReason.STOP_SEQUENCE, StopReason.OTHER])
def test_what_ended_by_itself_is_looked_at(stop: StopReason) -> None:
    assert unusable(completed(stop=stop), 1000) == ""


def test_a_repair_says_what_was_wrong_and_what_is_wanted() -> None:
    request = asked(schema=schema_of(Verdict))
    again = repaired(request, completed("nonsense"), "it is no JSON")
    assert again.messages[:2] == (*request.messages, Message(role="assistant", text="nonsense"))
    assert "it is no JSON" in again.messages[2].text
    assert json.dumps(schema_of(Verdict)) in again.messages[2].text
    # No provider takes an empty turn.
    assert [one.role for one in repaired(request, completed(" \n"), "it is empty").messages] == ["user", "user"]


def test_what_is_shown_is_short_and_in_one_line() -> None:
    assert shown("a\n b") == "'a b'"
    assert len(shown("x" * 5000)) < 250
