"""Ollama: what is sent, what is made of what comes, and what the user is told where it does not work."""

from __future__ import annotations

import contextlib
import json

import pytest
from loopback import Reply
from ollama_server import MODEL, OllamaServer, line
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
from smesh_agent.backends.ollama import OllamaBackend, make, ollama_url
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

KEY = "key-" + "0123456789abcdef"
ASKED = Request(messages=(Message(role="user", text="Well?"),), max_tokens=100)
TOOL = Tool("look_up", "Looks something up.", {"type": "object", "properties": {"what": {"type": "string"}}})
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


@contextlib.asynccontextmanager
async def opened(server: OllamaServer, model: str = MODEL, environment: dict[str, str] | None = None, **more):
    backend = make(Settings(model=model, environment=server.environment | (environment or {}), **more))
    try:
        yield backend
    finally:
        await backend.close()


async def pieces(backend, request: Request = ASKED):
    async with contextlib.aclosing(backend.stream(request)) as stream:
        return [piece async for piece in stream]


async def ask(server: OllamaServer, request: Request = ASKED, **more) -> Completion:
    async with opened(server, **more) as backend:
        return (await pieces(backend, request))[-1]


def lines(*parts: bytes) -> Reply:
    return Reply(200, {"content-type": "application/x-ndjson"}, parts)


def done(**more) -> bytes:
    return line({"model": MODEL}, done=True, **more)


def said(content: str = "", **message) -> bytes:
    return line({"model": MODEL}, content, message=message)


async def test_an_answer() -> None:
    with OllamaServer(Says(pieces=("The sky ", "is blue."), tokens_in=26, tokens_out=282)) as server:
        async with opened(server) as backend:
            *deltas, last = await pieces(backend)
    assert deltas == [Delta("The sky "), Delta("is blue.")]
    assert (last.text, last.stop, last.raw_stop, last.model) == ("The sky is blue.", StopReason.END, "stop", MODEL)
    usage = last.usage
    assert (usage.tokens_in, usage.tokens_out, usage.is_counted) == (26, 282, True)
    assert server.chats[0] == {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Well?"}],
        "stream": True,
        "truncate": False,
        "shift": False,
        "options": {"num_predict": 100},
    }
    assert "authorization" not in server.asked[0].headers


async def test_all_of_a_request_is_sent() -> None:
    calls = (ToolCall("a", "look_up", {"what": "x"}), ToolCall("b", "look_down", {}))
    request = Request(
        messages=(
            Message(role="user", text="One?"),
            Message(role="assistant", text="Let me see.", calls=calls),
            Message(role="tool", text="gone", answers="b", is_error=True),
            Message(role="tool", text="found", answers="a"),
            Message(role="tool", text="stray", answers="z"),
        ),
        system="Be brief.",
        schema=SCHEMA,
        tools=(TOOL,),
        temperature=0.0,
        stop=("END",),
        max_tokens=7,
    )
    options = {"num_ctx": "8192", "seed": "0", "think": "low", "keep_alive": "10m"}
    with OllamaServer() as server:
        await ask(server, request, options=options)
        (body,) = server.chats
    assert body["options"] == {"num_predict": 7, "num_ctx": 8192, "seed": 0, "temperature": 0.0, "stop": ["END"]}
    assert (body["format"], body["think"], body["keep_alive"]) == (SCHEMA, "low", "10m")
    assert body["tools"] == [
        {
            "type": "function",
            "function": {"name": "look_up", "description": "Looks something up.", "parameters": TOOL.schema},
        }
    ]
    system, *turns = body["messages"]
    assert system["role"] == "system"
    assert system["content"].startswith("Be brief.\n\n")
    assert json.loads(system["content"].partition("schema: ")[2]) == SCHEMA
    functions = [
        {"index": 0, "name": "look_up", "arguments": {"what": "x"}},
        {"index": 1, "name": "look_down", "arguments": {}},
    ]
    tool_calls = [
        {"id": "a", "type": "function", "function": functions[0]},
        {"id": "b", "type": "function", "function": functions[1]},
    ]
    assert turns == [
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "Let me see.", "tool_calls": tool_calls},
        {"role": "tool", "content": "Error: gone", "tool_name": "look_down", "tool_call_id": "b"},
        {"role": "tool", "content": "found", "tool_name": "look_up", "tool_call_id": "a"},
        {"role": "tool", "content": "stray", "tool_name": "", "tool_call_id": "z"},
    ]


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({"think": "true"}, {"think": True}),
        ({"think": "false"}, {"think": False}),
        ({"think": "max"}, {"think": "max"}),
        ({"keep_alive": "-1"}, {"keep_alive": -1}),
        ({"keep_alive": "300"}, {"keep_alive": 300}),
        ({"keep_alive": "1h30m"}, {"keep_alive": "1h30m"}),
        ({}, {}),
    ],
)
async def test_options(options, sent) -> None:
    with OllamaServer() as server:
        await ask(server, options=options)
        (body,) = server.chats
    assert {key: body[key] for key in ("think", "keep_alive") if key in body} == sent


def test_a_window_of_nothing() -> None:
    with pytest.raises(BackendSettingsError, match="option num_ctx is '0': give a whole number from 1"):
        make(Settings(model=MODEL, options={"num_ctx": "0"}))


async def test_what_a_model_thinks_is_no_text() -> None:
    answer = lines(
        said(thinking="Hm. "),
        said("Yes", thinking="Sure?"),
        said("."),
        done(done_reason="stop", prompt_eval_count=5, eval_count=40),
    )
    with OllamaServer(answer) as server:
        async with opened(server) as backend:
            *deltas, last = await pieces(backend)
    assert deltas == [Delta("Yes"), Delta(".")]
    assert (last.text, last.usage.tokens_out) == ("Yes.", 40)


async def test_lines_in_any_form() -> None:
    whole = said("a") + said("b").replace(b"\n", b"\r\n") + b"\n" + done(message={"content": "c"}).rstrip()
    for size in (1, 7, len(whole)):
        answer = lines(*(whole[start : start + size] for start in range(0, len(whole), size)))
        with OllamaServer(answer) as server:
            assert (await ask(server)).text == "abc"


async def test_calls() -> None:
    answer = lines(
        said("Let me see."),
        said(tool_calls=[{"id": "call_x", "function": {"index": 0, "name": "look_up", "arguments": {"what": "é"}}}]),
        said(tool_calls=[{"function": {"index": 1, "name": "look_up", "arguments": {"what": ["b", None]}}}]),
        said(tool_calls=[{"function": {"name": "now", "arguments": None}}, {"function": {"name": "then"}}]),
        done(done_reason="stop"),
    )
    earlier = (
        Message(role="assistant", calls=(ToolCall("call_0", "now", {}), ToolCall("call_1", "now", {}))),
        Message(role="tool", text="12", answers="call_0"),
        Message(role="tool", text="13", answers="call_1"),
    )
    with OllamaServer(answer) as server:
        request = Request(messages=(*ASKED.messages, *earlier), tools=(TOOL,))
        completion = await ask(server, request)
    assert (completion.text, completion.stop, completion.raw_stop) == ("Let me see.", StopReason.TOOL_USE, "stop")
    assert completion.calls == (
        ToolCall("call_x", "look_up", {"what": "é"}),
        ToolCall("call_3", "look_up", {"what": ["b", None]}),
        ToolCall("call_4", "now", {}),
        ToolCall("call_5", "then", {}),
    )


@pytest.mark.parametrize(
    ("reason", "written", "stop"),
    [
        ("stop", 5, StopReason.END),
        ("length", 100, StopReason.MAX_TOKENS),
        ("length", 101, StopReason.MAX_TOKENS),
        ("length", 99, StopReason.CONTEXT_EXCEEDED),
        ("length", None, StopReason.MAX_TOKENS),
        (None, 5, StopReason.END),
        ("load", None, StopReason.OTHER),
        ("something new", 5, StopReason.OTHER),
    ],
)
async def test_why_an_answer_ended(reason, written, stop) -> None:
    more = ({"done_reason": reason} if reason else {}) | ({"eval_count": written} if written else {})
    with OllamaServer(lines(said("x"), done(prompt_eval_count=5, **more))) as server:
        completion = await ask(server)
    assert (completion.stop, completion.raw_stop) == (stop, reason or "")


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"prompt_eval_count": 5, "eval_count": 3}, (5, 3, True)),
        ({"prompt_eval_count": 5}, (5, 2, False)),
        ({"eval_count": 3}, (10, 3, False)),
        ({}, (10, 2, False)),
    ],
)
async def test_tokens_that_nobody_counted_are_estimated(counts, usage) -> None:
    with OllamaServer(lines(said("12345678"), done(done_reason="stop", **counts))) as server:
        taken = (await ask(server)).usage
    assert (taken.tokens_in, taken.tokens_out, taken.is_counted) == usage


async def test_calls_count_as_written() -> None:
    call = {"function": {"name": "look_up", "arguments": {"what": "x" * 400}}}
    with OllamaServer(lines(said(tool_calls=[call]), done(done_reason="stop"))) as server:
        taken = (await ask(server)).usage
    assert taken.tokens_out > 100


async def test_nothing_written_is_counted() -> None:
    with OllamaServer(lines(done(done_reason="stop", prompt_eval_count=5))) as server:
        completion = await ask(server)
    assert (completion.text, completion.usage.tokens_out, completion.usage.is_counted) == ("", 0, True)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        ({"error": "an error was encountered while running the model"}, OverloadedError, "failed: an error was"),
        ({"error": "broken XML", "status": 400}, RequestRejectedError, "HTTP 400: broken XML"),
        ({"error": {"message": "slow down", "code": 7}, "status": 429}, RateLimitedError, "slow down"),
        ({"error": ["odd"]}, OverloadedError, "odd"),
        ({"error": "model 'x' not found"}, ModelNotFoundError, "ollama pull"),
        ({"error": "context deadline exceeded"}, OverloadedError, "deadline"),
    ],
)
@pytest.mark.parametrize("begun", [True, False])
async def test_an_error_in_an_answer(error, kind, words, begun) -> None:
    parts = [said("first")] if begun else []
    with OllamaServer(lines(*parts, json.dumps(error).encode() + b"\n", done())) as server:
        async with opened(server) as backend, contextlib.aclosing(backend.stream(ASKED)) as stream:
            if begun:
                assert await anext(stream) == Delta("first")
            with pytest.raises(BackendError) as caught:
                await anext(stream)
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert caught.value.retryable == kind.retryable


@pytest.mark.parametrize(
    "part",
    [
        b"<html>It works!</html>",
        b"[]\n",
        b'{"message": 3}\n',
        b'{"message": {"content": 3}}\n',
        b'{"message": {"content": "\\ud83d"}}\n',
        b'{"message": {"content": "\xff"}}\n',
        b'{"message": {"tool_calls": [{"function": {"arguments": {}}}]}}\n',
        b'{"message": {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}\n',
        b'{"message": {"tool_calls": [{"function": {"name": "f", "arguments": {"a":' + b"[" * 100_000 + b"\n",
        b'{"done": true, "eval_count": -1}\n',
        b'{"done": true, "eval_count": 1.5}\n',
        b'{"done": "true"}\n',
    ],
)
async def test_an_answer_that_breaks_the_protocol(part) -> None:
    with OllamaServer(lines(part)) as server, pytest.raises(BadAnswerError, match="something else than its protocol"):
        await ask(server)


async def test_an_answer_that_does_not_end() -> None:
    with OllamaServer(lines(said("a"), said("b"))) as server, pytest.raises(BadAnswerError, match="in the middle"):
        await ask(server)


async def test_a_model_that_is_not_pulled() -> None:
    with OllamaServer() as server:
        url = server.url
        with pytest.raises(ModelNotFoundError) as caught:
            await ask(server, model="llama3.2:3b")
    assert str(caught.value) == f"ollama: {url} has no model llama3.2:3b: get it with `ollama pull llama3.2:3b`"


async def test_something_that_is_no_ollama() -> None:
    with (
        OllamaServer(Reply(404, {}, b"404 page not found")) as server,
        pytest.raises(BackendSettingsError, match="is its address right"),
    ):
        await ask(server)


@pytest.mark.parametrize(
    "error",
    [
        '{"error":{"code":400,"message":"request (8889 tokens) exceeds the available context size (4096 tokens), try '
        'increasing it","type":"exceed_context_size_error","n_prompt_tokens":8889,"n_ctx":4096}}',
        "the prompt is longer than the context length currently available to the model",
    ],
)
async def test_a_prompt_that_is_too_long(error) -> None:
    with (
        OllamaServer(Reply.of({"error": error}, 400)) as server,
        pytest.raises(RequestRejectedError, match=r"does not fit .* context (size|length).*; option num_ctx"),
    ):
        await ask(server)


async def test_a_key_is_sent() -> None:
    with OllamaServer(Fails(kind=AuthenticationError)) as server:
        with pytest.raises(AuthenticationError, match="unauthorized"):
            await ask(server, environment={"OLLAMA_API_KEY": f" {KEY}\n"})
        assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"


async def test_models() -> None:
    remote = {"name": "gpt-oss:120b-cloud", "size": 384, "remote_host": "https://ollama.com:443", "details": None}
    bare = {"name": "old"}
    with OllamaServer(models={MODEL: 4_683_087_332}) as server:
        async with opened(server) as backend:
            assert await backend.models() == [ModelInfo(name=MODEL, detail="4.7 GB, 7.6B, Q4_K_M")]
    with OllamaServer() as server:
        server._answer = lambda _: Reply.of({"models": [remote, bare]})
        async with opened(server) as backend:
            assert await backend.models() == [
                ModelInfo(name="gpt-oss:120b-cloud", detail="runs at https://ollama.com:443"),
                ModelInfo(name="old"),
            ]


async def test_without_a_model_there_are_only_lists() -> None:
    with pytest.raises(BackendSettingsError, match="ollama list"):
        make(Settings())
    with OllamaServer() as server:
        backend = OllamaBackend(Settings(environment=server.environment))
        try:
            assert [model.name for model in await backend.models()] == [MODEL]
            with pytest.raises(BackendSettingsError, match="ollama list"):
                await pieces(backend)
        finally:
            await backend.close()
        assert not server.chats


async def test_tokens_are_not_counted_beforehand() -> None:
    backend = make(Settings(model=MODEL))
    assert await backend.count_tokens(ASKED) is None


@pytest.mark.parametrize(
    ("host", "model", "is_local"),
    [
        ("", MODEL, True),
        ("10.0.0.7", MODEL, True),
        ("https://models.example/ollama", MODEL, True),
        ("", "gpt-oss:120b-cloud", False),
        ("", "qwen3-coder:cloud", False),
        ("", "cloud:7b", True),
        ("ollama.com", MODEL, False),
        ("https://api.ollama.com", MODEL, False),
        ("https://notollama.com", MODEL, True),
    ],
)
def test_whose_tokens_have_a_price(host, model, is_local) -> None:
    assert make(Settings(model=model, environment={"OLLAMA_HOST": host})).is_local is is_local


def test_the_address_of_its_maker() -> None:
    assert ollama_url("ollama.com") == "https://ollama.com:443"
    assert ollama_url("' ollama.com '") == "https://ollama.com:443"
    assert ollama_url("ollama.com:80") == "http://ollama.com:80"


async def test_the_address_of_the_settings_comes_first() -> None:
    with OllamaServer() as server:
        backend = make(Settings(model=MODEL, base_url=f"{server.url}/", environment={"OLLAMA_HOST": "127.0.0.1:9"}))
        try:
            assert await backend.models()
        finally:
            await backend.close()
