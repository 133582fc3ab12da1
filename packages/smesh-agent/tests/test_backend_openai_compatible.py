"""OpenAI-compatible servers: what is sent, what is made of what comes, and where servers differ."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loopback import CUT, Loopback, Reply
from openai_server import DONE, KEY, MODEL, OpenAiServer, chunk, event, refused, streamed
from smesh_agent.backends.base import (
    Completion,
    Delta,
    Message,
    ModelInfo,
    Request,
    Settings,
    StopReason,
    Tool,
    ToolCall,
)
from smesh_agent.backends.conformance import Fails, Says
from smesh_agent.backends.openai_compatible import OpenAiCompatibleBackend, make
from smesh_agent.errors import (
    AuthenticationError,
    BackendError,
    BackendSettingsError,
    BadAnswerError,
    ModelNotFoundError,
    OverloadedError,
    RateLimitedError,
    RequestRejectedError,
)

ASKED = Request(messages=(Message(role="user", text="Well?"),), max_tokens=100)
TOOL = Tool("look_up", "Looks something up.", {"type": "object", "properties": {"what": {"type": "string"}}})
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
BODY = {"model": MODEL}


@contextlib.asynccontextmanager
async def opened(server: Loopback, model: str = MODEL, environment: dict[str, str] | None = None, **more):
    backend = make(Settings(model=model, environment={"OPENAI_BASE_URL": server.url} | (environment or {}), **more))
    try:
        yield backend
    finally:
        await backend.close()


async def pieces(backend, request: Request = ASKED):
    async with contextlib.aclosing(backend.stream(request)) as stream:
        return [piece async for piece in stream]


async def ask(server: Loopback, request: Request = ASKED, **more) -> Completion:
    async with opened(server, **more) as backend:
        return (await pieces(backend, request))[-1]


async def answered(*parts: bytes, request: Request = ASKED) -> Completion:
    with OpenAiServer(streamed(*parts)) as server:
        return await ask(server, request)


def said(content: str = "", **more) -> bytes:
    return chunk(BODY, content, **more)


def ended(finish: str = "stop", **more) -> bytes:
    return event({"choices": [{"index": 0, "delta": {}, "finish_reason": finish} | more]})


def asked_for(index: int | None, arguments: str | None = None, **more) -> bytes:
    name = {"name": more.pop("name")} if "name" in more else {}
    function = name | ({} if arguments is None else {"arguments": arguments})
    return chunk(BODY, tool_calls=[{"index": index, "function": function} | more])


async def test_an_answer() -> None:
    with OpenAiServer(Says(pieces=("The sky ", "is blue."), tokens_in=26, tokens_out=282)) as server:
        async with opened(server) as backend:
            *deltas, last = await pieces(backend)
    assert deltas == [Delta("The sky "), Delta("is blue.")]
    assert (last.text, last.stop, last.raw_stop, last.model) == ("The sky is blue.", StopReason.END, "stop", MODEL)
    usage = last.usage
    assert (usage.tokens_in, usage.tokens_out, usage.cached_in, usage.is_counted) == (26, 282, 0, True)
    assert server.chats[0] == {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Well?"}],
        "max_tokens": 100,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert "authorization" not in server.asked[0].headers


async def test_all_of_a_request_is_sent() -> None:
    calls = (ToolCall("a", "look_up", {"what": "é"}), ToolCall("b", "look_down", {}))
    request = Request(
        messages=(
            Message(role="user", text="One?"),
            Message(role="assistant", text="Let me see.", calls=calls),
            Message(role="tool", text="gone", answers="b", is_error=True),
            Message(role="tool", text="found", answers="a"),
        ),
        system="Be brief.",
        schema=SCHEMA,
        tools=(TOOL,),
        temperature=0.0,
        stop=("END",),
        max_tokens=7,
    )
    with OpenAiServer() as server:
        await ask(server, request, options={"max_tokens_field": "max_completion_tokens", "seed": "0"})
        (body,) = server.chats
    assert (body["max_completion_tokens"], body["temperature"], body["stop"], body["seed"]) == (7, 0.0, ["END"], 0)
    assert "max_tokens" not in body
    json_schema = {"name": "answer", "schema": SCHEMA, "strict": True}
    assert body["response_format"] == {"type": "json_schema", "json_schema": json_schema}
    assert body["tools"] == [
        {
            "type": "function",
            "function": {"name": "look_up", "description": "Looks something up.", "parameters": TOOL.schema},
        }
    ]
    tool_calls = [
        {"id": "a", "type": "function", "function": {"name": "look_up", "arguments": '{"what":"é"}'}},
        {"id": "b", "type": "function", "function": {"name": "look_down", "arguments": "{}"}},
    ]
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "Let me see.", "tool_calls": tool_calls},
        {"role": "tool", "content": "Error: gone", "tool_call_id": "b"},
        {"role": "tool", "content": "found", "tool_call_id": "a"},
    ]


@pytest.mark.parametrize("options", [{"max_tokens_field": "max"}, {"is_local": "yes"}, {"is_local": ""}])
def test_options_that_are_none(options) -> None:
    with pytest.raises(BackendSettingsError, match="give "):
        make(Settings(model=MODEL, base_url="http://box", options=options))


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("", "/v1/models"),
        ("/", "/v1/models"),
        ("/v1", "/v1/models"),
        ("/v1/", "/v1/models"),
        ("/api", "/api/v1/models"),
        ("/api/v1", "/api/v1/models"),
        ("/v1beta/openai", "/v1beta/openai/models"),
        ("/compat/v2", "/compat/v2/models"),
        ("/vision", "/vision/v1/models"),
    ],
)
async def test_addresses_with_and_without_version(path, asked) -> None:
    with Loopback(lambda _: Reply.of({"data": []})) as server:
        backend = make(Settings(model=MODEL, base_url=f" {server.url}{path} "))
        try:
            assert await backend.models() == []
        finally:
            await backend.close()
        assert [one.path for one in server.asked] == [asked]


@pytest.mark.parametrize("port", ["99999", "-1", "x"])
def test_ports_that_are_none(port) -> None:
    with pytest.raises(BackendSettingsError, match="give an address"):
        make(Settings(model=MODEL, base_url=f"http://box:{port}"))


def test_a_name_that_looks_like_a_version() -> None:
    with pytest.raises(BackendSettingsError, match=r"http://v2\.example/v1/models"):
        make(Settings(base_url="http://v2.example"))


@pytest.mark.parametrize("environment", [{}, {"OPENAI_BASE_URL": " "}])
def test_there_is_no_address_that_nobody_gave(environment) -> None:
    with pytest.raises(BackendSettingsError, match="set OPENAI_BASE_URL"):
        make(Settings(model=MODEL, environment=environment | {"OPENAI_API_KEY": KEY}))


async def test_the_address_of_the_settings_comes_first() -> None:
    with OpenAiServer() as server:
        environment = {"OPENAI_BASE_URL": "http://127.0.0.1:9"}
        backend = make(Settings(model=MODEL, base_url=server.url, environment=environment))
        try:
            assert await backend.models()
        finally:
            await backend.close()


@pytest.mark.parametrize(
    ("options", "environment", "sent"),
    [
        ({}, {"OPENAI_API_KEY": f" {KEY}\n"}, f"Bearer {KEY}"),
        ({}, {"OPENAI_API_KEY": ""}, None),
        ({"key_variable": "OPENROUTER_API_KEY"}, {"OPENAI_API_KEY": "no", "OPENROUTER_API_KEY": KEY}, f"Bearer {KEY}"),
        ({"key_variable": "OPENROUTER_API_KEY"}, {"OPENAI_API_KEY": KEY}, None),
        ({"key_variable": ""}, {"OPENAI_API_KEY": KEY}, None),
    ],
)
async def test_which_key_is_sent(options, environment, sent) -> None:
    with OpenAiServer() as server:
        await ask(server, options=options, environment=environment)
        assert server.asked[0].headers.get("authorization") == sent


async def test_a_wrong_key() -> None:
    with OpenAiServer(key=KEY) as server:
        for environment in ({}, {"OPENAI_API_KEY": "wrong" * 3}):
            async with opened(server, environment=environment) as backend:
                with pytest.raises(AuthenticationError, match="Unauthorized"):
                    await pieces(backend)
                with pytest.raises(AuthenticationError, match="Unauthorized"):
                    await backend.models()
        assert (await ask(server, environment=server.environment)).text == "Hello."


async def test_what_a_model_thinks_is_no_text() -> None:
    completion = await answered(
        chunk(BODY, "", role="assistant"),
        chunk(BODY, reasoning_content="Hm. "),
        chunk(BODY, None, reasoning="Hm.", reasoning_details=[{"type": "reasoning.text", "text": "Hm."}]),
        chunk(BODY, "Yes", reasoning_content="Sure?"),
        event({"choices": [{"index": 0, "delta": {"content": None}, "finish_reason": None}]}),
        said("."),
        ended(),
        DONE,
    )
    assert completion.text == "Yes."


async def test_comments_keep_an_answer_alive() -> None:
    completion = await answered(b": OPENROUTER PROCESSING\n\n", said("a"), b": ping\n\n", said("b"), ended(), DONE)
    assert completion.text == "ab"


async def test_usage_that_comes_with_the_last_choice() -> None:
    usage = {"prompt_tokens": 44, "completion_tokens": 48, "prompt_tokens_details": {"cached_tokens": 40}}
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage}
    taken = (await answered(said("x"), event(last), DONE)).usage
    assert (taken.tokens_in, taken.tokens_out, taken.cached_in, taken.is_counted) == (44, 48, 40, True)


async def test_the_last_usage_counts() -> None:
    chunks = [event({"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": n}}) for n in (1, 2, 3)]
    taken = (await answered(said("x"), *chunks, event({"choices": [], "usage": None}), ended(), DONE)).usage
    assert (taken.tokens_in, taken.tokens_out, taken.is_counted) == (4, 3, True)


@pytest.mark.parametrize(
    ("usage", "taken"),
    [
        (None, (10, 2, 0, False)),
        ({}, (10, 2, 0, False)),
        ({"prompt_tokens": 5}, (5, 2, 0, False)),
        ({"completion_tokens": 5}, (10, 5, 0, False)),
        ({"prompt_tokens": 5, "completion_tokens": 0, "prompt_tokens_details": None}, (5, 0, 0, True)),
        ({"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 9}}, (5, 1, 5, True)),
        ({"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {}}, (5, 1, 0, True)),
    ],
)
async def test_tokens_that_nobody_counted_are_estimated(usage, taken) -> None:
    counts = (await answered(said("12345678"), ended(), event({"choices": [], "usage": usage}), DONE)).usage
    assert (counts.tokens_in, counts.tokens_out, counts.cached_in, counts.is_counted) == taken


@pytest.mark.parametrize(
    ("choice", "stop"),
    [
        ({"finish_reason": "stop"}, StopReason.END),
        ({"finish_reason": "stop", "stop_reason": None}, StopReason.END),
        ({"finish_reason": "stop", "stop_reason": 151645}, StopReason.END),
        ({"finish_reason": "stop", "stop_reason": "END"}, StopReason.STOP_SEQUENCE),
        ({"finish_reason": "length"}, StopReason.MAX_TOKENS),
        ({"finish_reason": "content_filter"}, StopReason.REFUSAL),
        ({"finish_reason": "tool_calls"}, StopReason.OTHER),
        ({"finish_reason": "something new"}, StopReason.OTHER),
    ],
)
async def test_why_an_answer_ended(choice, stop) -> None:
    completion = await answered(said("x"), event({"choices": [{"index": 0, "delta": {}} | choice]}), DONE)
    assert (completion.stop, completion.raw_stop) == (stop, choice["finish_reason"])


async def test_the_reason_may_come_with_the_last_words() -> None:
    completion = await answered(said("x"), said("y", finish="length"), DONE)
    assert (completion.text, completion.stop) == ("xy", StopReason.MAX_TOKENS)


async def test_a_model_that_declines() -> None:
    completion = await answered(chunk(BODY, refusal="I will "), chunk(BODY, refusal="not."), ended(), DONE)
    assert (completion.text, completion.stop) == ("I will not.", StopReason.REFUSAL)


async def test_calls_in_fragments() -> None:
    completion = await answered(
        said("Let me see."),
        asked_for(0, "", id="x", name="look_up"),
        asked_for(0, '{"wh'),
        asked_for(1, "{}", id="y", name="now"),
        asked_for(0, 'at": "é'),
        asked_for(0, '"}'),
        ended("tool_calls"),
        DONE,
    )
    assert completion.stop is StopReason.TOOL_USE
    assert completion.text == "Let me see."
    assert completion.calls == (ToolCall("x", "look_up", {"what": "é"}), ToolCall("y", "now", {}))


@given(st.data())
@settings(deadline=None, max_examples=30)
def test_arguments_cut_anywhere(data) -> None:
    arguments = data.draw(st.dictionaries(st.text(max_size=5), st.text(max_size=10), max_size=4))
    text = json.dumps(arguments, ensure_ascii=data.draw(st.booleans()))
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    edges = [0, *places, len(text)]
    parts = [asked_for(0, text[start:end]) for start, end in itertools.pairwise(edges)]
    first = asked_for(0, id="x", name="look_up")
    completion = asyncio.run(answered(first, *parts, ended("tool_calls"), DONE))
    assert completion.calls == (ToolCall("x", "look_up", arguments),)


@pytest.mark.parametrize(
    "parts",
    [
        # Without an index: a new id begins a new call, no id goes on with the last.
        [
            asked_for(None, '{"what":', id="x", name="look_up"),
            asked_for(None, ' "a"}'),
            asked_for(None, "{}", id="y", name="now"),
        ],
        # All with the same index, as some gateways send them.
        [asked_for(0, '{"what": "a"}', id="x", name="look_up"), asked_for(0, "{}", id="y", name="now")],
        # The id and the name with every piece.
        [
            asked_for(0, '{"what":', id="x", name="look_up"),
            asked_for(0, ' "a"}', id="x", name="look_up"),
            asked_for(1, id="y", name="now"),
        ],
        # Indices that leave some out, and arguments that are null.
        [asked_for(3, '{"what": "a"}', id="x", name="look_up"), asked_for(7, "null", id="y", name="now")],
    ],
)
async def test_calls_as_servers_differ(parts) -> None:
    completion = await answered(*parts, ended("stop"), DONE)
    assert completion.stop is StopReason.TOOL_USE
    assert completion.calls == (ToolCall("x", "look_up", {"what": "a"}), ToolCall("y", "now", {}))


async def test_calls_without_ids_get_ids_of_their_own() -> None:
    earlier = (
        Message(role="assistant", calls=(ToolCall("call_0", "now", {}),)),
        Message(role="tool", text="12", answers="call_0"),
    )
    request = Request(messages=(*ASKED.messages, *earlier))
    parts = (asked_for(0, "{}", name="now"), asked_for(1, "{}", name="then"), ended("tool_calls"), DONE)
    completion = await answered(*parts, request=request)
    assert [call.id for call in completion.calls] == ["call_1", "call_2"]


@pytest.mark.parametrize("arguments", ['{"what": "a', "[]", "3", '"{}"', "{} {}", '{"a":' + "[" * 100_000])
async def test_arguments_that_are_none(arguments) -> None:
    parts = (asked_for(0, arguments, id="x", name="look_up"), ended("tool_calls"), DONE)
    with pytest.raises(BadAnswerError, match="gave the tool 'look_up' what is no JSON object"):
        await answered(*parts)


async def test_a_call_that_the_limit_cut_off_is_left_out() -> None:
    whole, part = asked_for(0, "{}", id="x", name="now"), asked_for(1, '{"what": "a', id="y", name="look_up")
    completion = await answered(whole, part, ended("length"), DONE)
    assert (completion.stop, [call.id for call in completion.calls]) == (StopReason.MAX_TOKENS, ["x"])


async def test_a_call_without_a_name() -> None:
    with pytest.raises(BadAnswerError, match="without a name"):
        await answered(asked_for(0, "{}", id="x"), ended("tool_calls"), DONE)


async def test_the_end_mark_may_be_missing() -> None:
    for after in ((), (CUT,), (b"data: [DONE]",)):
        completion = await answered(said("x"), ended(), *after)
        assert (completion.text, completion.stop) == ("x", StopReason.END)


async def test_the_end_mark_is_enough() -> None:
    completion = await answered(said("x"), DONE)
    assert (completion.text, completion.stop, completion.raw_stop) == ("x", StopReason.OTHER, "")


@pytest.mark.parametrize("parts", [(), (said("x"),), (said("x"), CUT), (CUT,)])
async def test_an_answer_that_does_not_end(parts) -> None:
    with pytest.raises(BadAnswerError, match="in the middle"):
        await answered(*parts)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        ({"message": "Provider returned error", "code": 502}, OverloadedError, "HTTP 502: Provider returned error"),
        ({"message": "Rate limit exceeded", "code": 429}, RateLimitedError, "Rate limit"),
        ({"message": "too long", "code": "400"}, RequestRejectedError, "too long"),
        ({"message": "boom", "type": "server_error", "code": None}, OverloadedError, "failed: boom"),
        ({"message": "odd", "code": 99999}, OverloadedError, "odd"),
        ("words", OverloadedError, "words"),
        (["odd"], OverloadedError, "odd"),
    ],
)
@pytest.mark.parametrize("begun", [True, False])
async def test_an_error_in_an_answer(error, kind, words, begun) -> None:
    failed = event({"error": error, "choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]})
    with OpenAiServer(streamed(*([said("first")] if begun else []), failed, DONE)) as server:
        async with opened(server) as backend, contextlib.aclosing(backend.stream(ASKED)) as stream:
            if begun:
                assert await anext(stream) == Delta("first")
            with pytest.raises(BackendError) as caught:
                await anext(stream)
    assert type(caught.value) is kind
    assert words in str(caught.value)


async def test_an_end_by_an_error() -> None:
    with pytest.raises(OverloadedError, match="stopped with an error"):
        await answered(said("x"), ended("error"), DONE)


@pytest.mark.parametrize(
    "part",
    [
        b"data: <html>\n\n",
        b"data: []\n\n",
        b'data: {"choices": 3}\n\n',
        b'data: {"choices": [{"delta": {"content": 3}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": "\\ud83d"}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\n',
        b'data: {"usage": {"prompt_tokens": -1}}\n\n',
        b'data: {"choices":\n\n',
        b"data: {}\ndata: {}\n\n",
    ],
)
async def test_an_answer_that_breaks_the_protocol(part) -> None:
    with pytest.raises(BadAnswerError, match="something else than its protocol"):
        await answered(said("x"), part, ended(), DONE)


@pytest.mark.parametrize("body", [b"<html>It works!</html>", b'{"id": "1", "choices": [{"message": {}}]}', b""])
async def test_an_answer_that_is_no_stream(body) -> None:
    with OpenAiServer(Reply(200, {}, body)) as server, pytest.raises(BadAnswerError):
        await ask(server)


@pytest.mark.parametrize(
    "reply",
    [
        refused(404, f"The model `{MODEL}` does not exist.", "NotFoundError"),
        refused(400, f"{MODEL} is not a valid model ID"),
        refused(400, f'Invalid model identifier "{MODEL}". Please specify a valid downloaded model'),
        refused(404, f"No endpoints found for {MODEL}."),
        Reply.of({"error": {"message": "nope", "code": "model_not_found"}}, 404),
    ],
)
async def test_a_model_that_is_not_there(reply) -> None:
    with OpenAiServer(reply) as server:
        where = f"{server.url}/v1/models lists those at hand"
        with pytest.raises(ModelNotFoundError) as caught:
            await ask(server)
    assert str(caught.value).startswith(f"openai-compatible: no model {MODEL} (")
    assert str(caught.value).endswith(where)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply.of({"detail": "Not Found"}, 404), BackendSettingsError),
        (refused(404, "File Not Found"), BackendSettingsError),
        (refused(400, "This model's maximum context length is 4096 tokens."), RequestRejectedError),
        (refused(400, "Not found: the tool parser of this model"), RequestRejectedError),
        (refused(500, "model x does not exist in this pool"), OverloadedError),
    ],
)
async def test_what_is_no_missing_model(reply, kind) -> None:
    with OpenAiServer(reply) as server, pytest.raises(kind) as caught:
        await ask(server)
    assert type(caught.value) is kind


STRUCTURED = Request(messages=(Message(role="user", text="How old?"),), system="Be brief.", schema=SCHEMA)


async def test_a_schema_is_told_where_it_is_not_taken() -> None:
    with OpenAiServer('{"age": 7}', takes_response_format=False) as server:
        async with opened(server) as backend:
            assert isinstance(backend, OpenAiCompatibleBackend)
            assert backend.schema_in_prompt is False
            assert (await pieces(backend, STRUCTURED))[-1].text == '{"age": 7}'
            assert backend.schema_in_prompt is True
            assert (await pieces(backend, STRUCTURED))[-1].text == '{"age": 7}'
            assert (await pieces(backend))[-1].text == '{"age": 7}'
        with_it, without_it, remembered, free = server.chats
    assert "response_format" in with_it
    assert with_it["messages"][0] == {"role": "system", "content": "Be brief."}
    assert "response_format" not in without_it
    system = without_it["messages"][0]["content"]
    assert system.startswith("Be brief.\n\n")
    assert json.loads(system.partition("schema: ")[2]) == SCHEMA
    assert remembered == without_it
    assert free["messages"] == [{"role": "user", "content": "Well?"}]


async def test_a_refusal_for_another_reason_is_not_blamed_on_the_schema() -> None:
    def answer(body):
        return refused(400, "too long" if "response_format" in body else "still too long")

    with OpenAiServer(answer) as server:
        async with opened(server) as backend:
            with pytest.raises(RequestRejectedError, match=": too long"):
                await pieces(backend, STRUCTURED)
            assert backend.schema_in_prompt is False
        assert len(server.chats) == 2


async def test_what_is_refused_with_the_schema_in_words_is_not_tried_again() -> None:
    turns = (refused(400, "no response_format here"), "{}", refused(400, "too long"))
    with OpenAiServer(*turns) as server:
        async with opened(server) as backend:
            assert (await pieces(backend, STRUCTURED))[-1].text == "{}"
            with pytest.raises(RequestRejectedError, match="too long"):
                await pieces(backend, STRUCTURED)
        assert len(server.chats) == 3


async def test_a_second_request_that_fails_otherwise_says_how() -> None:
    turns = (refused(400, "no response_format here"), Fails(kind=RateLimitedError, retry_after_s=3.0))
    with OpenAiServer(*turns) as server:
        async with opened(server) as backend:
            with pytest.raises(RateLimitedError) as caught:
                await pieces(backend, STRUCTURED)
            assert backend.schema_in_prompt is False
    assert caught.value.retry_after_s == 3.0


@pytest.mark.parametrize("kind", [AuthenticationError, ModelNotFoundError, RateLimitedError, OverloadedError])
async def test_other_errors_are_not_tried_again(kind) -> None:
    with OpenAiServer(Fails(kind=kind)) as server:
        with pytest.raises(kind):
            await ask(server, STRUCTURED)
        assert len(server.chats) == 1


async def test_an_error_in_an_answer_is_not_tried_again() -> None:
    with OpenAiServer(streamed(event({"error": {"message": "no response_format", "code": 400}}))) as server:
        with pytest.raises(RequestRejectedError):
            await ask(server, STRUCTURED)
        assert len(server.chats) == 1


async def test_a_request_without_a_schema_is_sent_once() -> None:
    with OpenAiServer(refused(400, "no")) as server:
        with pytest.raises(RequestRejectedError):
            await ask(server)
        assert len(server.chats) == 1


async def test_models() -> None:
    listed = [
        {"id": "a", "owned_by": "vllm", "max_model_len": 32768},
        {"id": "b", "context_length": 128000, "name": "B"},
        {"id": "c", "owned_by": "llamacpp", "meta": {"n_ctx_train": 131072}},
        {"id": "d", "owned_by": None, "max_model_len": None},
    ]
    with Loopback(lambda _: Reply.of({"object": "list", "data": listed})) as server:
        async with opened(server) as backend:
            assert await backend.models() == [
                ModelInfo(name="a", detail="owned by vllm", context_tokens=32768),
                ModelInfo(name="b", context_tokens=128000),
                ModelInfo(name="c", detail="owned by llamacpp"),
                ModelInfo(name="d"),
            ]


@pytest.mark.parametrize(
    ("kind", "count"), [("vllm", 9), ("llamacpp", 9), ("organization_owner", None), ("openai", None)]
)
async def test_tokens_are_counted_where_the_server_can(kind, count) -> None:
    request = Request(messages=(Message(role="user", text="How old?"),), system="Brief.", tools=(TOOL,))
    with OpenAiServer(kind=kind, models=(MODEL, "another")) as server:
        async with opened(server) as backend:
            for _ in range(2):
                assert await backend.count_tokens(request) == count
        paths = [asked.path for asked in server.asked]
        sent = server.asked[-1]
    assert paths.count("/v1/models") == 1
    if count:
        assert set(sent.json) == {"model", "messages", "tools"}


async def test_a_version_that_cannot_count_says_so() -> None:
    def answer(asked):
        listed = Reply.of({"data": [{"id": MODEL, "owned_by": "llamacpp"}]})
        return listed if asked.path == "/v1/models" else Reply.of({"error": {"message": "File Not Found"}}, 404)

    with Loopback(answer) as server:
        async with opened(server) as backend:
            assert [await backend.count_tokens(ASKED) for _ in range(3)] == [None] * 3
        assert len(server.asked) == 2


async def test_servers_of_several_kinds_are_not_asked_to_count() -> None:
    data = [{"id": MODEL, "owned_by": "vllm"}, {"id": "x", "owned_by": "somebody"}]
    with Loopback(lambda _: Reply.of({"data": data})) as server:
        async with opened(server) as backend:
            assert await backend.count_tokens(ASKED) is None


async def test_what_goes_wrong_while_counting() -> None:
    with OpenAiServer(key=KEY) as server:
        async with opened(server) as backend:
            with pytest.raises(AuthenticationError):
                await backend.count_tokens(ASKED)


async def test_without_a_model_there_are_only_lists() -> None:
    with OpenAiServer() as server:
        settings = Settings(environment=server.environment)
        with pytest.raises(BackendSettingsError, match=f"name a model; {server.url}/v1/models lists"):
            make(settings)
        backend = OpenAiCompatibleBackend(settings)
        try:
            assert [model.name for model in await backend.models()] == [MODEL]
            with pytest.raises(BackendSettingsError, match="name a model"):
                await pieces(backend)
            with pytest.raises(BackendSettingsError, match="name a model"):
                await backend.count_tokens(ASKED)
        finally:
            await backend.close()
        assert not server.chats


@pytest.mark.parametrize(
    ("url", "options", "is_local"),
    [
        ("http://127.0.0.1:8000", {}, True),
        ("http://localhost:1234/v1", {}, True),
        ("http://192.168.1.9:8000/v1", {}, True),
        ("http://gpu-box:8000", {}, True),
        ("https://openrouter.ai/api/v1", {}, False),
        ("http://127.0.0.1:4000", {"is_local": "false"}, False),
        ("https://models.example", {"is_local": "true"}, True),
    ],
)
def test_whose_tokens_have_a_price(url, options, is_local) -> None:
    backend = make(Settings(model=MODEL, base_url=url, options=options))
    assert backend.is_local is is_local
