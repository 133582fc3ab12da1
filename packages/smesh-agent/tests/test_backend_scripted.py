"""Scripted text: what a script says is said, what it does not say is plain, and what is wrong with it is told."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Annotated, Any, Literal

import msgspec
import pytest
from fake_backend import asked
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Meta
from smesh_agent.backends.base import Completion, Delta, Message, Settings, StopReason
from smesh_agent.backends.scripted import FAILURES, Rule, ScriptedBackend, make, read_script
from smesh_agent.backends.structured import decoded, schema_of
from smesh_agent.errors import (
    AuthenticationError,
    BackendError,
    BackendSettingsError,
    BadAnswerError,
    CallTimeoutError,
    ModelNotFoundError,
    OverloadedError,
    RateLimitedError,
    RequestRejectedError,
    UnreachableError,
)


async def heard(backend, request):
    return [piece async for piece in backend.stream(request)]


async def answered(backend, text="", **values):
    """The completion, whose text is what the deltas before it add up to."""
    *deltas, last = await heard(backend, asked(text, **values))
    assert isinstance(last, Completion)
    assert "".join(delta.text for delta in deltas) == last.text
    return last


async def said(backend, text="", **values):
    return (await answered(backend, text, **values)).text


# ---- rules


async def test_the_first_rule_that_fits_answers() -> None:
    backend = ScriptedBackend([Rule(when="cat", say="1"), Rule(when="cat|dog", say="2"), Rule(say="3")])
    assert [await said(backend, text) for text in ("a cat", "a dog and a cat", "a dog", "a cow")] == [
        "1",
        "1",
        "2",
        "3",
    ]


async def test_only_the_last_message_is_looked_at_and_the_system_on_its_own() -> None:
    backend = ScriptedBackend([Rule(when="cat", system="brief", say="both"), Rule(system="^brief", say="system")])
    request = msgspec.structs.replace(
        asked(system="brief"),
        messages=(Message(role="user", text="a cat"), Message(role="user", text="a dog")),
    )
    assert (await heard(backend, request))[-1].text == "system"
    assert await said(backend, "a cat", system="be brief") == "both"
    assert "no model has written it" in await said(backend, "a cat, brief")


@pytest.mark.parametrize(
    ("say", "text"),
    [
        (r"It rains in \1.", "It rains in Oslo."),
        (r"\g<0>? \g<town>!", "weather in Oslo? Oslo!"),
        (r"\2|", "|"),  # a group that took no part
        (r"\9", r"\9"),  # a backslash that means itself
        (r"C:\new", "C:\new"),
        (r"\g<other>", r"\g<other>"),
        ("as it is", "as it is"),
    ],
)
async def test_groups_are_what_was_found(say: str, text: str) -> None:
    backend = ScriptedBackend([Rule(when=r"weather in (?P<town>\w+)( now)?", say=say)])
    assert await said(backend, "what is the weather in Oslo?") == text


async def test_several_texts_come_in_turn() -> None:
    backend = ScriptedBackend([Rule(when="joke", say=["one", "two"]), Rule(say="other")])
    assert [await said(backend, text) for text in ("joke", "x", "joke", "joke")] == ["one", "other", "two", "two"]


async def test_a_rule_answers_only_so_often() -> None:
    backend = ScriptedBackend([Rule(fail="overloaded", times=2), Rule(say="at last")])
    for _ in range(2):
        with pytest.raises(OverloadedError):
            await answered(backend)
    assert await said(backend) == "at last"


@pytest.mark.parametrize("stop", [stop for stop in StopReason if stop is not StopReason.TOOL_USE])
async def test_an_answer_stops_as_the_script_says(stop: StopReason) -> None:
    answer = await answered(ScriptedBackend([msgspec.convert({"say": "so", "stop": stop.value}, Rule)]))
    assert (answer.stop, answer.raw_stop, answer.text, answer.model) == (stop, stop.value, "so", "scripted")


KINDS = {
    "authentication": AuthenticationError,
    "garbage": BadAnswerError,
    "not_found": ModelNotFoundError,
    "overloaded": OverloadedError,
    "rate_limited": RateLimitedError,
    "rejected": RequestRejectedError,
    "timeout": CallTimeoutError,
    "truncated": BadAnswerError,
    "unreachable": UnreachableError,
}


def test_every_failure_is_tried() -> None:
    assert KINDS.keys() == FAILURES.keys()


@pytest.mark.parametrize("fail", KINDS)
async def test_a_failure_is_of_its_kind(fail: str) -> None:
    stream = ScriptedBackend([Rule(say="", fail=fail, retry_after_s=7.5)]).stream(asked())
    with pytest.raises(BackendError) as raised:
        await anext(stream)  # no delta, not even an empty one
    assert (type(raised.value), raised.value.backend, raised.value.retry_after_s) == (KINDS[fail], "scripted", 7.5)
    assert "\n" not in str(raised.value)


async def test_of_a_truncated_answer_comes_half() -> None:
    stream = ScriptedBackend([Rule(say="abcdef", fail="truncated"), Rule(say="a", fail="truncated")]).stream(asked())
    assert await anext(stream) == Delta("abc")
    with pytest.raises(BadAnswerError, match="broke off") as raised:
        await anext(stream)
    assert raised.value.retryable


@pytest.mark.parametrize("fail", sorted(KINDS.keys() - {"truncated"}))
async def test_of_any_other_failure_comes_nothing(fail: str) -> None:
    with pytest.raises(BackendError):
        await anext(ScriptedBackend([Rule(say="abcdef", fail=fail)]).stream(asked()))


@pytest.mark.parametrize("rule", [Rule(say="x", latency_s=3600.0), Rule(say="x", fail="timeout", latency_s=3600.0)])
async def test_an_answer_waits_for_its_latency_and_a_cancelled_one_ends(rule: Rule) -> None:
    task = asyncio.create_task(heard(ScriptedBackend([rule]), asked()))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("options", "latency_s", "takes_s"),
    [({}, None, 0.0), ({"latency_s": "0.02"}, None, 0.02), ({"latency_s": "3600"}, 0.02, 0.02)],
)
async def test_a_rules_latency_goes_before_that_of_all(tmp_path, options, latency_s, takes_s) -> None:
    (path := tmp_path / "script.json").write_text(json.dumps([{"say": "x", "latency_s": latency_s}]))
    backend = make(Settings(options={"script": str(path), **options}))
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    async with asyncio.timeout(30):
        assert await said(backend) == "x"
    assert loop.time() - began_s >= takes_s


@pytest.mark.parametrize(
    ("stop", "text", "why"),
    [
        (("END",), "one, two, ", StopReason.STOP_SEQUENCE),
        (("END", "two"), "one, ", StopReason.STOP_SEQUENCE),
        (("one",), "", StopReason.STOP_SEQUENCE),
        (("", "four"), "one, two, END three", StopReason.END),
    ],
)
async def test_text_ends_before_the_first_stop_sequence(stop, text, why) -> None:
    answer = await answered(ScriptedBackend([Rule(say="one, two, END three")]), stop=stop)
    assert (answer.text, answer.stop) == (text, why)


@pytest.mark.parametrize(
    ("say", "max_tokens", "text", "why"),
    [
        ("abcdefgh", 2, "abcdefgh", StopReason.END),
        ("abcdefghi", 2, "abcdefgh", StopReason.MAX_TOKENS),
        ("abcdefg€", 2, "abcdefg", StopReason.MAX_TOKENS),  # of a character that is cut nothing is left
        ("abcdefghi jkl", 3, "abcdefghi jk", StopReason.MAX_TOKENS),
        ("abcdefgSTOPhi", 2, "abcdefg", StopReason.STOP_SEQUENCE),
    ],
)
async def test_text_ends_with_its_tokens(say, max_tokens, text, why) -> None:
    answer = await answered(ScriptedBackend([Rule(say=say)]), max_tokens=max_tokens, stop=("STOP",))
    assert (answer.text, answer.stop) == (text, why)
    assert answer.usage.tokens_out <= max_tokens


async def test_tokens_are_four_bytes_begun() -> None:
    backend = ScriptedBackend([Rule(say="€€€")])
    usage = (await answered(backend, "12345", system="ü")).usage
    assert (usage.tokens_in, usage.tokens_out, usage.is_counted) == (3, 3, True)  # 2 + 1, and 9 bytes
    assert await backend.count_tokens(asked("12345", system="ü")) == 3


# ---- where no rule answers

PROMPT = "Please compare several different gardens around Lisbon: which flowers bloom there every summer?"


async def test_without_rules_it_says_that_it_is_scripted() -> None:
    text = await said(ScriptedBackend([]), PROMPT)
    assert text.startswith("This is scripted text, and no model has written it. It is about: ")
    quoted = text.partition("about: ")[2].rstrip(".").split(", ")
    assert len(quoted) == len(set(quoted)) == 6
    assert all(word in PROMPT for word in quoted)
    assert await said(ScriptedBackend([]), "a b c") == "This is scripted text, and no model has written it."


async def test_the_same_seed_says_the_same_and_another_something_else() -> None:
    def of(seed: int, text: str = PROMPT, **values: Any):
        return said(ScriptedBackend([], seed=seed), text, **values)

    assert await of(1) == await of(1)
    assert len({await of(seed) for seed in range(10)}) > 1
    assert len({await of(1, system=f"{n}") for n in range(10)}) > 1


async def test_half_a_character_is_taken() -> None:
    assert "scripted" in await said(ScriptedBackend([]), "\udcff beginning")


# ---- schemas


async def fitting(schema: Any) -> Any:
    return json.loads(await said(ScriptedBackend([]), schema=schema, max_tokens=10**6))


class Place(msgspec.Struct, tag="place"):
    x: Annotated[int, Meta(ge=3)]
    note: str | None = None


class Person(msgspec.Struct, tag="person"):
    name: Annotated[str, Meta(min_length=12, description="full")]


class Report(msgspec.Struct):
    """What was found."""

    about: Place | Person
    places: Annotated[list[Place], Meta(min_length=2)]
    pair: tuple[int, Annotated[str, Meta(max_length=3)]]
    counts: dict[str, int]
    share: Annotated[float, Meta(gt=0.0, lt=1.0)]
    level: Annotated[int, Meta(lt=0)]
    free: Any
    nothing: None
    kind: Literal["a", "b"] = "a"
    number: Literal[3, 4] = 4
    title: int = 3  # a field may be called like a word of the schema
    maximum: bool = False


async def test_a_struct_is_answered_with_its_plainest_value() -> None:
    text = await said(ScriptedBackend([]), schema=schema_of(Report))
    assert decoded(text, Report) == Report(
        about=Place(x=3, note="scripted"),
        places=[Place(x=3, note="scripted"), Place(x=3, note="scripted")],
        pair=(0, "scr"),
        counts={},
        share=0.5,
        level=-1,
        free="scripted",
        nothing=None,
        kind="a",
        number=3,
        title=0,
        maximum=False,
    )


BOUNDS = st.integers(-1000, 1000)
RANGES = st.tuples(BOUNDS, BOUNDS).filter(lambda pair: abs(pair[0] - pair[1]) >= 2).map(sorted)
LEAVES = st.one_of(
    st.sampled_from([int, float, str, bool, None, Any, int | None, str | int, float | None]),
    st.builds(lambda pair: Annotated[int, Meta(ge=pair[0], le=pair[1])], RANGES),
    st.builds(lambda pair: Annotated[int, Meta(gt=pair[0], lt=pair[1])], RANGES),
    st.builds(lambda pair: Annotated[float, Meta(ge=pair[0] / 8, lt=pair[1] / 8)], RANGES),
    st.builds(lambda pair: Annotated[float, Meta(gt=pair[0] / 4096, le=pair[1] / 4096)], RANGES),
    st.builds(lambda bound: Annotated[int, Meta(gt=bound)], BOUNDS),
    st.builds(lambda bound: Annotated[float, Meta(lt=bound / 7)], BOUNDS),
    st.builds(
        lambda least, more: Annotated[str, Meta(min_length=least, max_length=least + more)],
        st.integers(0, 40),
        st.integers(0, 10),
    ),
    st.sampled_from(
        [
            Literal["a", "b"],
            Literal[1, "a"] | None,
            Literal[-7],
            Annotated[str, Meta(pattern="^[a-z]+$")],
            list,
            dict,
            list[int] | None,
        ]
    ),
)
NUMBERS = itertools.count()  # msgspec mixes up three types of one name
NAMES = st.sampled_from(["type", "title", "properties", "required", "enum", "default", "a", "b_c", "items", "minimum"])


def structs(types: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    fields = st.dictionaries(NAMES, types, max_size=4).map(lambda named: list(named.items()))
    return st.builds(lambda fields: msgspec.defstruct(f"Made{next(NUMBERS)}", fields), fields)


TYPES = st.recursive(
    LEAVES,
    lambda types: st.one_of(
        structs(types),
        st.builds(lambda item, least: Annotated[list[item], Meta(min_length=least)], types, st.integers(0, 3)),
        st.builds(lambda item: tuple[item, item], types),
        st.builds(lambda item: dict[str, item], types),
        st.builds(
            lambda one, other: (
                msgspec.defstruct(f"One{next(NUMBERS)}", [("f", one)], tag="one")
                | msgspec.defstruct(f"Other{next(NUMBERS)}", [("g", other)], tag="other")
            ),
            types,
            types,
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(structs(TYPES))
def test_every_struct_is_answered_with_one(type_) -> None:
    text = asyncio.run(said(ScriptedBackend([]), schema=schema_of(type_), max_tokens=10**6))
    assert isinstance(decoded(text, type_), type_)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, "scripted"),
        ({"type": "array"}, []),
        ({"type": "array", "minItems": 2}, ["scripted", "scripted"]),
        ({"type": "array", "minItems": 1, "uniqueItems": True, "items": {"type": "null"}}, [None]),
        ({"type": "array", "minItems": 3, "prefixItems": [{"const": 1}], "items": {"const": 2}}, [1, 2, 2]),
        ({"type": "string", "minLength": 10}, "scripted.."),
        ({"type": "string", "maxLength": 3}, "scr"),
        ({"type": "string", "maxLength": 0}, ""),
        ({"type": "string", "format": "date"}, "2000-01-01"),
        ({"enum": [1, True, "a"], "type": "boolean"}, True),
        ({"enum": ["a", None], "type": ["integer", "null"]}, None),
        ({"const": None}, None),
        ({"const": {"a": [1]}}, {"a": [1]}),
        ({"type": ["string", "null"], "pattern": "^x"}, None),
        ({"anyOf": [{"type": "string", "pattern": "^x"}, {"oneOf": []}, {"const": 3}]}, 3),
        ({"allOf": [{"const": 3}], "description": "of pydantic"}, 3),
        ({"type": "integer", "minimum": 2.5}, 3),
        ({"type": "integer", "minimum": 3, "exclusiveMinimum": 3}, 4),
        ({"type": "integer", "maximum": -2.5}, -3),
        ({"type": "integer", "exclusiveMaximum": 0}, -1),
        ({"type": "number", "exclusiveMinimum": 0.25, "exclusiveMaximum": 0.75}, 0.5),
        ({"type": "number", "minimum": -1, "maximum": 1}, 0),
        ({"properties": {"a": {"const": 1}, "b": {"if": {}}, "c": False}, "required": ["a"]}, {"a": 1}),
        ({"required": ["a"], "additionalProperties": {"type": "null"}}, {"a": None}),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "boolean"}}}, False),
        ({"$defs": {"x": {"if": 3}}, "type": "null"}, None),  # what is not used may be anything
        (
            {"properties": {"next": {"$ref": "#"}, "a": {}}, "required": ["a"]},
            {"next": {"a": "scripted"}, "a": "scripted"},
        ),
    ],
)
async def test_a_schema_is_answered_with_its_plainest_value(schema, value) -> None:
    made = await fitting(schema)
    assert (made, type(made)) == (value, type(value))


TREE = {"properties": {"a": {"$ref": "#"}}, "required": ["a"]}
WIDE = {"type": "array", "minItems": 1000, "items": {"type": "array", "minItems": 1000}}
DEEP: dict[str, Any] = {}
for _ in range(500):
    DEEP = {"type": "array", "minItems": 1, "items": DEEP}
ENDLESS: dict[str, Any] = {"properties": {}}
ENDLESS["properties"]["a"] = ENDLESS
MANY = {
    "anyOf": [{"$ref": f"#/$defs/{n}"} for n in range(30)],
    "$defs": {f"{n}": {"anyOf": [{"$ref": f"#/$defs/{m}"} for m in range(30)]} for n in range(30)},
}


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"$ref": "#"}, "# contains itself"),
        (TREE, "# contains itself"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "contains itself"),
        ({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}, "no plain value"),
        (MANY, "no plain value"),
        ({"$ref": "#/$defs/none"}, "#/$defs/none leads nowhere"),
        ({"$ref": "#/type/deeper", "type": "string"}, "leads nowhere"),
        ({"$ref": ""}, "leads nowhere"),
        ({"$ref": "other.json"}, "leads nowhere"),
        ({"$ref": "https://x.example/#/$defs/a"}, "leads nowhere"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {}}, "minimum": 3}, "$ref and minimum at once"),
        ({"$ref": 3}, "Expected `str`, got `int`"),
        (WIDE, "too large"),
        (DEEP, "too large"),
        (ENDLESS, "no JSON"),
        ({"a": {1, object()}}, "no JSON"),
        ({"const": "\ud800"}, "no JSON"),
        ({3: 4}, "unknown field `3`"),
        ({"type": "float"}, "Invalid enum value 'float'"),
        ({"type": 5}, "got `int`"),
        ({"type": []}, "no plain value"),
        ({"type": {"a": 1}}, "got `object`"),
        ({"properties": [1]}, "got `array`"),
        ({"properties": {"a": 3}, "required": ["a"]}, "got `int`"),
        ({"type": "object", "required": "abc"}, "got `str`"),
        ({"required": ["a"], "additionalProperties": False}, "got `bool`"),
        ({"type": "array", "minItems": 1, "items": False}, "got `bool`"),
        ({"type": "array", "minItems": 1, "items": [{}]}, "got `array`"),
        ({"type": "array", "minItems": 2, "maxItems": 1}, "no plain value"),
        ({"type": "array", "minItems": 2, "uniqueItems": True}, "no plain value"),
        ({"type": "array", "minItems": 10**12}, "<= 1000"),
        ({"type": "string", "minLength": 10**12}, "<= 1000"),
        ({"type": "string", "minLength": -1}, ">= 0"),
        ({"type": "string", "minLength": 4, "maxLength": 3}, "no plain value"),
        ({"type": "string", "pattern": "^x"}, "no plain value"),
        ({"type": "string", "pattern": "("}, "unterminated subpattern"),
        ({"type": "string", "pattern": "a{99999999999}"}, "too large"),
        ({"type": "string", "pattern": "(" * 5000}, "recursion"),
        ({"type": "string", "format": "email"}, "Invalid enum value 'email'"),
        ({"type": "string", "format": "date", "maxLength": 3}, "no plain value"),
        ({"type": "integer", "minimum": 0.2, "maximum": 0.5}, "no plain value"),
        ({"type": "number", "minimum": 2, "maximum": 1}, "no plain value"),
        ({"type": "number", "minimum": 1e308, "exclusiveMinimum": 1e308}, "no plain value"),
        ({"type": "integer", "minimum": 10**400}, "<= 9223372036854775807"),
        ({"type": "integer", "minimum": float("nan")}, "got `null`"),
        ({"type": "integer", "minimum": "3"}, "got `str`"),
        ({"exclusiveMinimum": True}, "got `bool`"),
        ({"enum": []}, "no plain value"),
        ({"enum": 3}, "got `int`"),
        ({"enum": ["a"], "type": "integer"}, "no plain value"),
        ({"enum": [1, 2], "minimum": 2}, "enum and minimum at once"),
        ({"anyOf": []}, "length >= 1"),
        ({"anyOf": {"a": 1}}, "got `object`"),
        ({"anyOf": [{"type": "x"}, 3]}, "no plain value"),
        ({"allOf": [{"minimum": 3}, {"maximum": 2}]}, "length <= 1"),
        ({"not": {}}, "unknown field `not`"),
        ({"type": "object", "minProperties": 1}, "unknown field `minProperties`"),
    ],
)
async def test_a_schema_that_cannot_be_answered_says_so_in_a_line(schema, why) -> None:
    with pytest.raises(RequestRejectedError) as raised:
        await fitting(schema)
    line = str(raised.value)
    assert line.startswith("scripted: no scripted text fits the schema: ")
    assert line.endswith("; give a script")
    assert why in line
    assert len(line.splitlines()) == 1


WORDS = st.sampled_from(
    [
        "$defs", "$ref", "additionalProperties", "allOf", "anyOf", "const", "enum", "exclusiveMaximum", "format",
        "items", "maxItems", "maxLength", "minItems", "minLength", "minimum", "multipleOf", "pattern", "prefixItems",
        "properties", "required", "title", "type", "uniqueItems",
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([1e308, "#", "#/$defs/a", "string", "object", "array", "integer", "a", "[", 10**30, 0.5]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.just("a"), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(WORDS, VALUES, max_size=5))
@example({"$defs": {"a": {"$ref": "#"}}, "anyOf": [{"$ref": "#/$defs/a"}]})
def test_of_any_schema_comes_a_value_or_a_line(schema) -> None:
    try:
        asyncio.run(fitting(schema))
    except RequestRejectedError as error:
        line = str(error)
        assert len(line.splitlines()) == 1


# ---- files and options


@pytest.fixture
def path(tmp_path):
    return tmp_path / "script.yaml"


RULES = [Rule(when="a", say=["\U0001f600", "b"], times=2, retry_after_s=0.5), Rule(say="c", stop="refusal")]


@pytest.mark.parametrize(
    "text",
    [
        "- when: a\n  say: ['\U0001f600', b]\n  times: 2\n  retry_after_s: 0.5\n- say: c\n  stop: refusal\n",
        json.dumps([msgspec.to_builtins(rule) for rule in RULES]),  # a pair of escapes, which YAML takes for two halves
        json.dumps([msgspec.to_builtins(rule) for rule in RULES], indent="\t"),
        "\ufeff" + json.dumps([msgspec.to_builtins(rule) for rule in RULES], ensure_ascii=False),
        "[{when: a, say: [\U0001f600, b], times: 2, retry_after_s: 0.5}, {say: c, stop: refusal}]",
    ],
)
def test_a_script_is_read_from_yaml_and_json(path, text) -> None:
    path.write_text(text, encoding="utf-8")
    assert read_script(path) == RULES


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff\xfe", "not text in UTF-8 (byte 1)"),
        (b"- say: caf\xe9", "not text in UTF-8 (byte 11)"),
        (b"- say: 'a\n", ", line 2: found unexpected end of stream"),
        (b"- say: a\n  when: [b\n- c", ", line 3: "),
        (b"- say: a\x00", "special characters are not allowed"),
        (b"- !!python/object:os.system {}", ", line 1: could not determine a constructor"),
        (b"- say: !!bool maybe", "not of the kind that its tag says"),
        (b"- say: !!timestamp soon", "not of the kind that its tag says"),
        (b"- say: !!int ''", "not of the kind that its tag says"),
        (b"- say: 2020-99-99", "month must be in 1..12"),
        (b"", "Expected `array`, got `null`"),
        (b"say: a", "Expected `array`, got `object`"),
        (b"- a", "Expected `object`, got `str` - at `$[0]`"),
        (b"- say: a\n  sya: b", "unknown field `sya` - at `$[0]`"),
        (b"- say: 3", "Expected `str | array`, got `int` - at `$[0].say`"),
        (b"- say: yes", "got `bool` - at `$[0].say`"),
        (b"- say: []", "length >= 1 - at `$[0].say`"),
        (b"- stop: tool_use", "Invalid enum value 'tool_use' - at `$[0].stop`"),
        (b"- times: 0", ">= 1 - at `$[0].times`"),
        (b"- retry_after_s: -1", ">= 0.0 - at `$[0].retry_after_s`"),
        (b"- latency_s: 3601", "<= 3600.0 - at `$[0].latency_s`"),
        (b"- latency_s: .nan", "- at `$[0].latency_s`"),
        (b'[{"say": "\\ud83d"}]', "surrogates not allowed"),
        (b"[" * 100_000, "nested too deeply"),
        (b"- " * 10_000 + b"a", "nested too deeply"),
        (b"- say: a\n- when: (", "rule 2: '(' is no pattern: missing ), unterminated subpattern at position 0"),
        (b"- system: '*'", "rule 1: '*' is no pattern: nothing to repeat"),
        (b"- when: a{99999999999}", "rule 1: 'a{99999999999}' is no pattern: the repetition number is too large"),
        (b"- when: " + b"(" * 5000, "is no pattern: maximum recursion depth exceeded"),
        (b"- fail: often", "rule 1: fail is one of authentication, garbage, not_found, overloaded, "),
        (b"#" * (8 * 1024**2 + 1), "larger than 8 MiB"),
    ],
)
def test_what_is_wrong_with_a_script_is_said_in_a_line(path, content, why) -> None:
    path.write_bytes(content)
    with pytest.raises(BackendSettingsError) as raised:
        read_script(path)
    line = str(raised.value)
    assert line.startswith(f"scripted: {path}")
    assert why in line
    assert len(line.splitlines()) == 1
    assert len(line) < len(str(path)) + 400


@pytest.mark.parametrize(("where", "why"), [("none.yaml", "No such file"), (".", "directory"), ("a\0b", "null byte")])
def test_a_script_that_cannot_be_opened_is_said_in_a_line(tmp_path, where, why) -> None:
    with pytest.raises(BackendSettingsError, match=why) as raised:
        read_script(tmp_path / where)
    assert str(raised.value).isprintable() or "\0" in str(raised.value)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="-: \n\t[]{}\"'!&*|>#%@`,?~<=.sayon012é\x00\ufeff") | st.binary(max_size=60))
def test_any_text_is_a_script_or_a_line(tmp_path_factory, content) -> None:
    path = tmp_path_factory.mktemp("script") / "script"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        read_script(path)
    except BackendSettingsError as error:
        line = str(error)
        assert len(line.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"latency_s": "soon"}, "option latency_s is 'soon': give 0 to 3600 seconds"),
        ({"latency_s": "nan"}, "option latency_s is 'nan'"),
        ({"latency_s": "-0.5"}, "option latency_s is '-0.5'"),
        ({"latency_s": "1e9"}, "option latency_s is '1e9'"),
        ({"seed": "0.5"}, "option seed is '0.5': give a whole number from 0"),
        ({"seed": "-1"}, "option seed is '-1'"),
        ({"seed": "1" * 5000}, "option seed is '1"),
        ({"speed": "1"}, "there is no option 'speed'; it has script, latency_s, seed"),
        ({"script": "/none/such.yaml"}, "/none/such.yaml: No such file or directory"),
    ],
)
def test_what_is_wrong_with_an_option_is_said_in_a_line(options, why) -> None:
    with pytest.raises(BackendSettingsError) as raised:
        make(Settings(options=options))
    assert why in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_a_rule_given_in_code_is_checked_too() -> None:
    with pytest.raises(BackendSettingsError, match=r"rule 2: '\[' is no pattern"):
        ScriptedBackend([Rule(), Rule(when="[")])
    with pytest.raises(BackendSettingsError, match=r"rule 1: fail is one of .*, not 'often'"):
        ScriptedBackend([Rule(fail="often")])


async def test_it_is_called_after_its_model_or_its_script(path) -> None:
    path.write_text("- say: a", encoding="utf-8")
    for settings_, name in (
        (Settings(), "scripted"),
        (Settings(options={"script": str(path)}), "script.yaml"),
        (Settings(model="mine", options={"script": str(path), "seed": "3", "latency_s": "0"}), "mine"),
    ):
        backend = make(settings_)
        assert (backend.name, backend.model, backend.is_local) == ("scripted", name, True)
        assert [model.name for model in await backend.models()] == [name]
        assert (await answered(backend)).model == name
        await backend.close()
