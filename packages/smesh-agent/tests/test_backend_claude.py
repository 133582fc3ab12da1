"""Claude: what the real SDK sends to a server that speaks the documented API, and what is made of its answers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys

import pytest
from anthropic_server import (
    KEY,
    MODEL,
    VERSION,
    AnthropicServer,
    call_block,
    ended,
    event,
    refused,
    started,
    streamed,
    text_block,
    thinking_block,
)
from hypothesis import given
from hypothesis import strategies as st
from loopback import HANG, Reply
from smesh_agent.backends import claude
from smesh_agent.backends.base import Completion, Delta, Message, Request, Settings, StopReason, Tool, ToolCall, Usage
from smesh_agent.backends.claude_messages import Turns, prompt
from smesh_agent.backends.conformance import CHECKS, Says
from smesh_agent.errors import BadAnswerError, ModelNotFoundError, RequestRejectedError

ASKED = Request(messages=(Message(role="user", text="Well?"),))
TOOL = Tool("look_up", "Looks it up.", {"type": "object", "properties": {"what": {"type": "string"}}})
CALL = ToolCall("toolu_1", "look_up", {"what": "naïve"})


@contextlib.asynccontextmanager
async def opened(server, **more):
    backend = claude.make(Settings(environment=server.environment, **more))
    try:
        yield backend
    finally:
        await backend.close()


async def pieces_of(backend, request: Request = ASKED):
    async with contextlib.aclosing(backend.stream(request)) as stream:
        return [piece async for piece in stream]


async def ask(backend, request: Request = ASKED) -> Completion:
    return (await pieces_of(backend, request))[-1]


async def answer_to(*answers, request: Request = ASKED, **more) -> Completion:
    with AnthropicServer(*answers) as server:
        async with opened(server, **more) as backend:
            return await ask(backend, request)


@contextlib.asynccontextmanager
async def open_claude(*turns):
    with AnthropicServer(*turns) as server:
        async with opened(server) as backend:
            yield backend


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_conformance(check) -> None:
    await check(open_claude)


async def test_what_is_sent() -> None:
    request = Request(
        messages=(
            Message(role="user", text="One?"),
            Message(role="assistant", text="One."),
            Message(role="user", text="Two?"),
        ),
        system="Be brief.",
        tools=(TOOL,),
        stop=("END",),
        max_tokens=33,
        caches=False,
    )
    with AnthropicServer() as server:
        async with opened(server) as backend:
            await ask(backend, request)
        (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/v1/messages")
    assert asked.json == {
        "model": MODEL,
        "max_tokens": 33,
        "stream": True,
        "system": [{"type": "text", "text": "Be brief."}],
        "tools": [{"name": "look_up", "description": "Looks it up.", "input_schema": TOOL.schema}],
        "stop_sequences": ["END"],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "One?"}]},
            {"role": "assistant", "content": [{"type": "text", "text": "One."}]},
            {"role": "user", "content": [{"type": "text", "text": "Two?"}]},
        ],
    }


async def test_headers_say_what_is_needed_and_nothing_about_the_machine(monkeypatch) -> None:
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "authorization: Bearer other\nx-mine: 1\nanthropic-beta: new")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-of-the-process")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    with AnthropicServer() as server:
        async with opened(server) as backend:
            await ask(backend)
            await backend.models()
        for asked in server.asked:
            assert asked.headers["anthropic-version"] == VERSION
            assert asked.headers["authorization"] == f"Bearer {KEY}"
            assert asked.headers["user-agent"].startswith("smesh-agent/")
            assert asked.headers.keys() <= {
                "accept", "accept-encoding", "anthropic-version", "authorization", "connection", "content-length",
                "content-type", "host", "user-agent",
            }  # fmt: skip


async def test_a_token_does_where_there_is_no_key() -> None:
    with AnthropicServer(key="sk-ant-oat-token") as server:
        environment = {"ANTHROPIC_API_KEY": " ", "ANTHROPIC_AUTH_TOKEN": "sk-ant-oat-token\n"}
        backend = claude.make(Settings(base_url=server.url + "/v1/", environment=environment))
        try:
            assert (await ask(backend)).text == "Hello."
        finally:
            await backend.close()


async def test_the_prefix_is_marked_for_the_cache() -> None:
    mark = {"type": "ephemeral"}
    body = prompt(Request(messages=ASKED.messages, system="Be brief.", tools=(TOOL, TOOL)), Turns())
    assert body["system"] == [{"type": "text", "text": "Be brief.", "cache_control": mark}]
    assert not any("cache_control" in tool for tool in body["tools"])  # what stands first is kept with what follows
    body = prompt(Request(messages=ASKED.messages, tools=(TOOL, TOOL)), Turns())
    assert [tool.get("cache_control") for tool in body["tools"]] == [None, mark]
    assert "cache_control" not in json.dumps(prompt(ASKED, Turns()))


async def test_options_are_sent_with_the_schema() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    request = Request(messages=ASKED.messages, schema=schema)
    with AnthropicServer('{"n": 1}') as server:
        async with opened(server, options={"effort": "low", "thinking": "disabled"}) as backend:
            await ask(backend, request)
            await backend.count_tokens(request)
        for body in (*server.chats, *server.counts):
            assert body["thinking"] == {"type": "disabled"}
            assert body["output_config"]["effort"] == "low"
            assert body["output_config"]["format"]["type"] == "json_schema"
            assert "tool_choice" not in body


async def test_a_schema_is_made_one_that_claude_takes() -> None:
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": 1, "maximum": 9, "description": "How many."},
            "names": {"type": "array", "items": {"type": "string", "maxLength": 5}, "maxItems": 3},
            "kind": {"oneOf": [{"const": "a"}, {"enum": ["b", None]}]},
            "inner": {"anyOf": [{"type": "object", "properties": {}}, {"type": "null"}]},
        },
        "required": ["n"],
    }
    before = json.dumps(schema)
    with AnthropicServer('{"n": 1}') as server:
        async with opened(server) as backend:
            await ask(backend, Request(messages=ASKED.messages, schema=schema))
        sent = server.chats[0]["output_config"]["format"]["schema"]
    assert sent["additionalProperties"] is False
    assert sent["required"] == ["n"]
    assert sent["properties"]["inner"]["anyOf"][0]["additionalProperties"] is False
    assert sent["properties"]["n"]["type"] == "integer"
    assert "How many." in sent["properties"]["n"]["description"]
    assert "minimum: 1" in sent["properties"]["n"]["description"]
    assert "maxItems: 3" in sent["properties"]["names"]["description"]
    assert json.dumps(schema) == before


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ({"type": "object"}, "names are not given"),
        ({"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}, "names are not given"),
        ({"type": "array", "items": {"type": "object"}}, "names are not given"),
        ({"anyOf": [{"type": "null"}, {"type": "object"}]}, "names are not given"),
        ({"type": "array", "prefixItems": [{"type": "string"}], "items": False}, "differ by their place"),
        ({"type": ["string", "null"]}, "its type"),
        ({"type": "text"}, "its type"),
        ({}, "must have a 'type'"),
        ({"type": "object", "properties": {"a": 3}}, "not one that Claude takes"),
    ],
)
async def test_a_schema_that_claude_cannot_take_is_not_sent(part, why) -> None:
    request = Request(messages=ASKED.messages, schema={"type": "object", "properties": {"part": part}})
    with AnthropicServer() as server:
        async with opened(server) as backend:
            for call in (ask(backend, request), backend.count_tokens(request)):
                with pytest.raises(RequestRejectedError, match=why) as caught:
                    await call
                assert "\n" not in str(caught.value)
        assert not server.asked


async def test_a_schema_without_end_is_not_sent() -> None:
    endless: dict = {"type": "array"}
    endless["items"] = endless
    with pytest.raises(RequestRejectedError, match="too deeply"):
        prompt(Request(messages=ASKED.messages, schema=endless), Turns())


async def test_a_temperature_is_refused_before_it_is_sent() -> None:
    with AnthropicServer() as server:
        async with opened(server) as backend:
            with pytest.raises(RequestRejectedError, match="temperature"):
                await ask(backend, Request(messages=ASKED.messages, temperature=0.0))
        assert not server.asked


async def test_what_cannot_be_sent_is_not() -> None:
    halves = Request(messages=(Message(role="user", text="half a pair: \ud83d"),))
    with AnthropicServer() as server:
        async with opened(server) as backend:
            for call in (ask(backend, halves), backend.count_tokens(halves)):
                with pytest.raises(RequestRejectedError, match="cannot be written as JSON"):
                    await call
        assert not server.asked


async def test_what_the_api_refuses_is_said_in_its_words() -> None:
    blank = Request(messages=(Message(role="user", text=" \n"),))
    with AnthropicServer() as server:
        async with opened(server) as backend:
            with pytest.raises(RequestRejectedError, match="HTTP 400: messages: text content blocks must contain"):
                await ask(backend, blank)


async def test_another_model() -> None:
    with AnthropicServer(models=("claude-opus-5-5",)) as server:
        async with opened(server, model="claude-opus-5-5") as backend:
            assert backend.model == "claude-opus-5-5"
            assert (await ask(backend)).model == "claude-opus-5-5"
        async with opened(server) as backend:
            for call in (ask(backend), backend.count_tokens(ASKED)):
                with pytest.raises(ModelNotFoundError, match=f"no model {MODEL}"):
                    await call


@pytest.mark.parametrize(
    ("raw", "stop"),
    [
        ("end_turn", StopReason.END),
        ("max_tokens", StopReason.MAX_TOKENS),
        ("stop_sequence", StopReason.STOP_SEQUENCE),
        ("pause_turn", StopReason.PAUSED),
        ("refusal", StopReason.REFUSAL),
        ("model_context_window_exceeded", StopReason.CONTEXT_EXCEEDED),
        ("something_new", StopReason.OTHER),
    ],
)
async def test_stop_reasons(raw, stop) -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "No."} if raw == "refusal" else None
    completion = await answer_to([text_block(0, "So far"), ended(raw, details=details)])
    assert (completion.stop, completion.raw_stop, completion.text) == (stop, raw, "So far")


async def test_usage_holds_what_came_from_the_cache_and_went_there() -> None:
    start = started(input_tokens=100, cache_read_input_tokens=2000, cache_creation_input_tokens=300)
    completion = await answer_to(streamed(start, *text_block(0, "x"), *ended(output_tokens=9)))
    assert completion.usage == Usage(tokens_in=2400, tokens_out=9, cached_in=2000, cache_written_in=300)


async def test_the_last_count_holds() -> None:
    late = ended(input_tokens=50, cache_read_input_tokens=20, cache_creation_input_tokens=None, output_tokens=8)
    start = started(input_tokens=10, cache_read_input_tokens=1, cache_creation_input_tokens=4)
    completion = await answer_to(streamed(start, *text_block(0, "x"), *late))
    assert completion.usage == Usage(tokens_in=74, tokens_out=8, cached_in=20, cache_written_in=4)


async def test_without_counts_there_is_an_estimate() -> None:
    start = event("message_start", message={"type": "message", "role": "assistant", "content": []})
    end = event("message_delta", delta={"stop_reason": "end_turn"})
    completion = await answer_to(streamed(start, *text_block(0, "x" * 40), end, event("message_stop")))
    assert not completion.usage.is_counted
    assert completion.usage.tokens_out == 10
    assert completion.usage.tokens_in > 10
    assert completion.model == MODEL


async def test_text_of_several_blocks_is_one_text() -> None:
    pieces = await pieces_with([text_block(0, "One. ", "Two. "), text_block(1, "Three."), ended()])
    assert pieces[:-1] == [Delta("One. "), Delta("Two. "), Delta("Three.")]
    assert pieces[-1].text == "One. Two. Three."


async def pieces_with(*answers):
    with AnthropicServer(*answers) as server:
        async with opened(server) as backend:
            return await pieces_of(backend)


async def test_text_that_comes_with_its_block_is_kept() -> None:
    block = event("content_block_start", index=0, content_block={"type": "text", "text": "Begun "})
    pieces = await pieces_with([block, event("content_block_delta", index=0, delta={"text": "here."}), ended()])
    assert [piece.text for piece in pieces] == ["Begun ", "here.", "Begun here."]


async def test_thoughts_are_no_text() -> None:
    pieces = await pieces_with([thinking_block(0, "Hm, well.", "c2lnbmF0dXJl"), text_block(1, "Yes."), ended()])
    assert [piece.text for piece in pieces] == ["Yes.", "Yes."]


async def test_what_is_new_in_the_api_is_passed_over() -> None:
    pieces = await pieces_with(
        [
            event("server_notice", index="x", message="soon down", delta=3),
            event("content_block_start", index=0, content_block={"type": "hologram", "text": "not text", "depth": 3}),
            event("content_block_delta", index=0, delta={"type": "hologram_delta", "text": "not text"}),
            text_block(1, "Text."),
            ended(),
        ]
    )
    assert [piece.text for piece in pieces] == ["Text.", "Text."]


@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    cuts=st.lists(st.integers(min_value=0, max_value=10_000), max_size=12),
)
def test_bytes_may_come_in_any_portions(text, cuts) -> None:
    whole = b"".join([started(), *text_block(0, *text), *ended()])
    places = sorted({0, len(whole), *(cut % len(whole) for cut in cuts)})
    parts = [whole[a:b] for a, b in itertools.pairwise(places)]

    async def check() -> None:
        pieces = await pieces_with(streamed(*parts))
        assert [piece.text for piece in pieces[:-1]] == list(text)
        assert pieces[-1].text == text

    asyncio.run(check())


async def test_every_byte_may_come_alone() -> None:
    whole = b"".join([started(), *text_block(0, "naïve 漢字 👩‍👩‍👧🏽"), *ended()])
    assert (await answer_to(streamed(*(bytes([byte]) for byte in whole)))).text == "naïve 漢字 👩‍👩‍👧🏽"


async def test_lines_may_end_in_any_way() -> None:
    for end in (b"\r\n", b"\n"):
        parts = [part.replace(b"\n", end) for part in (started(), *text_block(0, "x"), *ended())]
        assert (await answer_to(streamed(*parts))).text == "x"


async def test_halves_of_pairs_do_not_come_through() -> None:
    parts = [text_block(0, "a\ud83d", "\ud83d\ude00"), ended()]
    assert (await answer_to(parts)).text == "a\N{REPLACEMENT CHARACTER}\N{GRINNING FACE}"


async def test_many_may_ask_at_once() -> None:
    count = 150  # more than an httpx2 client has connections, unless told

    def answer(body):
        def parts():
            yield started()
            while len(server.asked) < count:
                yield 0.01
            yield from text_block(0, body["messages"][0]["content"][0]["text"])
            yield from ended()

        return Reply(200, {"content-type": "text/event-stream"}, parts())

    async def call(backend, number):
        return (await ask(backend, Request(messages=(Message(role="user", text=str(number)),)))).text

    with AnthropicServer(answer) as server:
        async with opened(server) as backend, asyncio.timeout(60):
            said = await asyncio.gather(*(call(backend, number) for number in range(count)))
        assert said == [str(number) for number in range(count)]
        assert server.open_max == count


# Tools.


async def test_a_round_with_a_tool() -> None:
    says = Says(pieces=("Let me see.",), calls=(CALL,), stop=StopReason.TOOL_USE)
    request = Request(messages=ASKED.messages, tools=(TOOL,))
    with AnthropicServer(says, "Found.") as server:
        async with opened(server) as backend:
            first = await ask(backend, request)
            assert (first.stop, first.calls) == (StopReason.TOOL_USE, (CALL,))
            said = Message(role="assistant", text=first.text, calls=first.calls)
            told = Message(role="tool", text="gone", answers=CALL.id, is_error=True)
            second = await ask(backend, Request(messages=(*ASKED.messages, said, told), tools=(TOOL,)))
            assert second.text == "Found."
        assert server.chats[1]["messages"][1:] == [
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Let me see."},
                    {"type": "tool_use", "id": CALL.id, "name": CALL.name, "input": CALL.arguments},
                ],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": CALL.id, "is_error": True, "content": "gone"}],
            },
        ]


async def test_answers_of_tools_come_in_one_turn_and_first() -> None:
    calls = tuple(ToolCall(f"toolu_{n}", "look_up", {}) for n in range(3))
    messages = (
        Message(role="user", text="Well?"),
        Message(role="assistant", text=" \n", calls=calls),
        Message(role="tool", text="", answers="toolu_0"),
        Message(role="tool", text="", answers="toolu_1", is_error=True),
        Message(role="tool", text="two", answers="toolu_2"),
        Message(role="user", text="Go on."),
        Message(role="assistant", text=""),
        Message(role="user", text="And?"),
    )
    with AnthropicServer() as server:
        async with opened(server) as backend:
            await ask(backend, Request(messages=messages, tools=(TOOL,)))
        turns = server.chats[0]["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert [block["type"] for block in turns[1]["content"]] == ["tool_use"] * 3
    results = [{"type": "tool_result", "tool_use_id": f"toolu_{n}"} for n in range(3)]
    results[1] |= {"is_error": True, "content": "The tool failed."}
    results[2] |= {"content": "two"}
    assert turns[2]["content"] == [*results, {"type": "text", "text": "Go on."}, {"type": "text", "text": "And?"}]


async def thought_and_asked(*blocks):
    """What is sent to go on from an answer of these blocks, and the answer."""
    request = Request(messages=ASKED.messages, tools=(TOOL,))
    with AnthropicServer([*blocks, ended("tool_use")], "Done.") as server:
        async with opened(server) as backend:
            first = await ask(backend, request)
            said = Message(role="assistant", text=first.text, calls=first.calls)
            told = [Message(role="tool", text="x", answers=call.id) for call in first.calls]
            await ask(backend, Request(messages=(*ASKED.messages, said, *told), tools=(TOOL,)))
        return server.chats[1]["messages"][1]["content"], first


async def test_thoughts_go_back_with_what_the_tools_answered() -> None:
    redacted = event("content_block_start", index=1, content_block={"type": "redacted_thinking", "data": "c2VjcmV0"})
    content, _ = await thought_and_asked(
        thinking_block(0, "", "c2lnbmF0dXJl"),
        redacted,
        text_block(2, "\n\n"),
        text_block(3, "Let me see."),
        call_block(4, CALL.id, CALL.name, CALL.arguments),
    )
    assert content == [
        {"type": "thinking", "thinking": "", "signature": "c2lnbmF0dXJl"},
        {"type": "redacted_thinking", "data": "c2VjcmV0"},
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": CALL.id, "name": CALL.name, "input": CALL.arguments},
    ]


async def test_thoughts_do_not_go_with_other_words() -> None:
    blocks = [{"type": "thinking", "thinking": "", "signature": "x"}]
    said = Message(role="assistant", text="My key is hidden.", calls=(CALL,))
    completion = Completion(
        text=said.text, calls=said.calls, stop=StopReason.TOOL_USE, usage=Usage(tokens_in=1, tokens_out=1), model="m"
    )
    turns = Turns()
    turns.keep(completion, blocks)
    assert turns.find(said) == blocks
    assert turns.find(Message(role="assistant", text="My key is «redacted».", calls=(CALL,))) is None
    other = ToolCall(CALL.id, CALL.name, {"what": "else"})
    assert turns.find(Message(role="assistant", text=said.text, calls=(other,))) is None
    assert turns.find(Message(role="assistant", text=said.text)) is None


def test_the_thoughts_that_were_wanted_last_are_kept() -> None:
    turns = Turns()
    calls = [ToolCall(f"toolu_{n}", "look_up", {}) for n in range(300)]
    for call in calls:
        completion = Completion(
            text="", calls=(call,), stop=StopReason.TOOL_USE, usage=Usage(tokens_in=1, tokens_out=1), model="m"
        )
        turns.keep(completion, [{"type": "thinking", "thinking": "", "signature": call.id}])
        assert turns.find(Message(role="assistant", calls=(calls[0],)))
    kept = [call for call in calls if turns.find(Message(role="assistant", calls=(call,)))]
    assert kept == [calls[0], *calls[45:]]


@pytest.mark.parametrize(
    ("written", "arguments"), [("", {}), ("{}", {}), ('{"a": [1, {"b": null}]}', {"a": [1, {"b": None}]})]
)
async def test_arguments_of_calls(written, arguments) -> None:
    completion = await answer_to([call_block(0, "toolu_1", "look_up", written), ended("tool_use")])
    assert completion.calls == (ToolCall("toolu_1", "look_up", arguments),)


async def test_arguments_may_come_with_the_block() -> None:
    block = {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {"what": "x"}}
    completion = await answer_to([event("content_block_start", index=0, content_block=block), ended("tool_use")])
    assert completion.calls == (ToolCall("toolu_1", "look_up", {"what": "x"}),)


@pytest.mark.parametrize("stop", ["max_tokens", "model_context_window_exceeded", "refusal"])
async def test_a_call_that_was_cut_off_is_none(stop) -> None:
    blocks = [text_block(0, "I"), call_block(1, "toolu_1", "look_up", {}), call_block(2, "toolu_2", "x", '{"wha')]
    completion = await answer_to([*blocks, ended(stop)])
    assert (completion.text, [call.id for call in completion.calls]) == ("I", ["toolu_1"])


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (call_block(0, "toolu_1", "look_up", '{"wha'), "no JSON object"),
        (call_block(0, "toolu_1", "look_up", "[1]"), "no JSON object"),
        (call_block(0, "toolu_1", "look_up", '"\ud83d"'), "no JSON object"),
        (call_block(0, "toolu_1", "look_up", "[" * 50_000), "no JSON object"),
        (call_block(0, "toolu_1", "", "{}"), "without a name"),
        (call_block(0, "", "look_up", "{}"), "without a name"),
        (text_block(0, "I'll look it up."), "asked for none"),
    ],
    ids=["cut", "list", "half a pair", "deep", "nameless", "no id", "no call"],
)
async def test_calls_that_are_none(block, why) -> None:
    with pytest.raises(BadAnswerError, match=why):
        await answer_to([block, ended("tool_use")])


# Counts and models.


async def test_tokens_are_counted_of_all_that_is_read() -> None:
    request = Request(messages=ASKED.messages, system="Be brief.", tools=(TOOL,), max_tokens=5, stop=("x",))
    with AnthropicServer() as server:
        async with opened(server) as backend:
            assert await backend.count_tokens(request) > await backend.count_tokens(ASKED) > 0
        assert server.counts[0].keys() == {"model", "messages", "system", "tools"}


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"input_tokens": -1}', b'{"input_tokens": "7"}', b"[" * 50_000])
async def test_counts_that_are_none(body) -> None:
    with AnthropicServer() as server:
        server._answer = lambda asked: Reply(200, {"content-type": "application/json"}, body)
        async with opened(server) as backend:
            with pytest.raises(BadAnswerError, match="something else than its protocol"):
                await backend.count_tokens(ASKED)


async def test_models_come_page_by_page() -> None:
    names = tuple(f"claude-{n}" for n in range(7))
    with AnthropicServer(models=names, page_models=3) as server:
        async with opened(server) as backend:
            models = await backend.models()
        paths = [asked.path for asked in server.asked]
    assert tuple(model.name for model in models) == names
    assert (models[0].detail, models[0].context_tokens) == ("Claude 0", 1_000_000)
    assert paths == [
        "/v1/models?limit=1000",
        "/v1/models?limit=1000&after_id=claude-2",
        "/v1/models?limit=1000&after_id=claude-5",
    ]


async def test_a_list_of_models_without_end_ends() -> None:
    page = {"data": [{"id": "m", "lifecycle": "deprecated"}], "has_more": True, "last_id": "m"}
    with AnthropicServer() as server:
        server._answer = lambda asked: Reply.of(page)
        async with opened(server) as backend:
            models = await backend.models()
        assert len(server.asked) == len(models) == 100
    assert models[0].detail == "deprecated"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"3", b'{"data": 3}', b'{"data": [{"id": "\xff"}]}', b"[" * 50_000])
async def test_lists_of_models_that_are_none(body) -> None:
    with AnthropicServer() as server:
        server._answer = lambda asked: Reply(200, {}, body)
        async with opened(server) as backend:
            with pytest.raises(BadAnswerError, match="something else than its protocol"):
                await backend.models()


# The rest.


async def test_it_is_never_local() -> None:
    with AnthropicServer() as server:
        async with opened(server) as backend:
            assert (backend.name, backend.model, backend.is_local) == ("claude", MODEL, False)


async def test_an_answer_left_behind_closes_its_connection() -> None:
    with AnthropicServer([text_block(0, "one", "two")[:-1], HANG]) as server:
        async with opened(server) as backend:
            async with contextlib.aclosing(backend.stream(ASKED)) as stream:
                assert [await anext(stream), await anext(stream)] == [Delta("one"), Delta("two")]
            await server.wait_until_left()


def test_no_other_backend_needs_the_sdk() -> None:
    code = "import sys, smesh_agent.backends.openai_compatible; print('anthropic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


async def test_a_server_may_refuse_in_the_middle_of_a_conversation() -> None:
    with AnthropicServer("One.", refused(400, "invalid_request_error", "no more"), "Three.") as server:
        async with opened(server) as backend:
            assert (await ask(backend)).text == "One."
            with pytest.raises(RequestRejectedError, match="no more"):
                await ask(backend)
            assert (await ask(backend)).text == "Three."
