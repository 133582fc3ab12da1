"""What goes wrong between Claude and its backend: kinds of errors, limits, secrets, and what the SDK lets through."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import json
import re

import httpx2
import pytest
from anthropic_server import KEY, AnthropicServer, ended, event, refused, started, streamed, text_block
from hypothesis import given
from hypothesis import strategies as st
from loopback import CUT, HANG, Loopback, Reply, raw_server
from smesh_agent.backends import claude, claude_endpoint
from smesh_agent.backends.base import Delta, Message, Request, Settings, ToolCall
from smesh_agent.backends.conformance import Hangs
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

NOTHING = "http://127.0.0.1:9"
ENVIRONMENT = {"ANTHROPIC_API_KEY": KEY}
ASKED = Request(messages=(Message(role="user", text="Well?"),))
BEGUN = [started(), *text_block(0, "first")[:-1]]
JSON = {"content-type": "application/json"}


@contextlib.asynccontextmanager
async def opened(url: str, **more):
    backend = claude.make(Settings(base_url=url, **({"environment": ENVIRONMENT} | more)))
    try:
        yield backend
    finally:
        await backend.close()


async def pieces_of(backend, request: Request = ASKED):
    async with contextlib.aclosing(backend.stream(request)) as stream:
        return [piece async for piece in stream]


async def error_of(url: str, **more) -> BackendError:
    """The error of a call, in one short line without the key."""
    async with opened(url, **more) as backend:
        with pytest.raises(BackendError) as caught:
            await pieces_of(backend)
    check_words(caught.value)
    return caught.value


def check_words(error: BackendError) -> None:
    assert str(error).isprintable()
    assert len(str(error)) < 500
    assert KEY not in str(error)
    assert error.backend == "claude"


async def error_to(answer, **more) -> BackendError:
    with Loopback(lambda _: answer) as server:
        return await error_of(server.url, **more)


# Connections.


async def test_nobody_answers() -> None:
    error = await error_of(NOTHING)
    assert type(error) is UnreachableError
    assert NOTHING in str(error)


async def test_an_address_that_has_no_name_server() -> None:
    error = await error_of("http://no-such-name.invalid")
    assert type(error) is UnreachableError
    assert "no-such-name.invalid" in str(error)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (b"", UnreachableError, "broke off before it answered"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", UnreachableError, "broke off before it answered"),
        (b"220 mail.example ESMTP\r\n\r\n", BadAnswerError, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", BadAnswerError, "broke off in the middle"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", BadAnswerError, "broke off in the middle"),
        (b"HTTP/1.1 200 OK\r\n\r\n", BadAnswerError, "ended its answer in the middle"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\n{", OverloadedError, "HTTP 500"),
        (b"HTTP/1.1 429 Slow\r\nRetry-After: 3\r\nTransfer-Encoding: chunked\r\n\r\nxyz", RateLimitedError, "HTTP 429"),
    ],
)
async def test_broken_http(answer, kind, words) -> None:
    async with raw_server(answer) as url:
        error = await error_of(url)
    assert type(error) is kind
    assert words in str(error)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", UnreachableError),
        (b"220 mail.example ESMTP\r\n\r\n", BadAnswerError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", BadAnswerError),
        (b"HTTP/1.1 529 Busy\r\nContent-Length: 100\r\n\r\n{", OverloadedError),
    ],
)
async def test_broken_http_where_a_document_is_asked_for(answer, kind) -> None:
    async with raw_server(answer) as url, opened(url) as backend:
        with pytest.raises(BackendError) as caught:
            await backend.count_tokens(ASKED)
    assert type(caught.value) is kind


async def test_tls_where_there_is_none() -> None:
    async with raw_server(b"HTTP/1.1 200 OK\r\n\r\n") as url:
        error = await error_of(url.replace("http:", "https:"))
    assert type(error) is UnreachableError
    assert "SSL" in str(error)


@pytest.mark.parametrize("body", [(HANG,), (b"event: ping\n", HANG), (*BEGUN, HANG)], ids=["nothing", "line", "text"])
async def test_silence_has_a_limit(body) -> None:
    error = await error_to(streamed(*body), timeout_s=0.2)
    assert type(error) is CallTimeoutError
    assert "for 0.2 s" in str(error)


async def test_silence_has_a_limit_where_a_document_is_asked_for() -> None:
    with Loopback(lambda _: Reply(200, JSON, (b"{", HANG))) as server:
        async with opened(server.url, timeout_s=0.2) as backend:
            for call in (backend.count_tokens(ASKED), backend.models()):
                with pytest.raises(CallTimeoutError, match=re.escape("for 0.2 s")):
                    await call


async def test_a_refusal_that_hangs_is_a_refusal() -> None:
    error = await error_to(Reply(429, JSON | {"retry-after": "5"}, (b'{"type": ', HANG)), timeout_s=0.2)
    assert type(error) is RateLimitedError
    assert error.retry_after_s == 5.0


async def test_silence_before_the_headers_has_a_limit() -> None:
    hung = asyncio.Event()

    async def talk(reader, writer) -> None:
        await hung.wait()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        error = await error_of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout_s=0.2)
        hung.set()
    assert type(error) is CallTimeoutError
    assert "for 0.2 s" in str(error)


async def test_who_speaks_slowly_is_heard() -> None:
    parts = itertools.chain.from_iterable((part, 0.02) for part in (*BEGUN, *ended()))
    with Loopback(lambda _: streamed(*parts)) as server:
        async with opened(server.url, timeout_s=5.0) as backend:
            assert (await pieces_of(backend))[-1].text == "first"


async def test_connecting_has_a_limit_of_its_own(monkeypatch) -> None:
    async def never(*_, **__) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(claude_endpoint, "CONNECT_TIMEOUT_S", 0.2)
    monkeypatch.setattr("anyio.connect_tcp", never)
    error = await error_of("http://10.255.255.1", timeout_s=600.0)
    assert type(error) is UnreachableError
    assert "within 0.2 s" in str(error)


# Refusals.


@pytest.mark.parametrize(
    ("status", "type_", "kind"),
    [
        (400, "invalid_request_error", RequestRejectedError),
        (401, "authentication_error", AuthenticationError),
        (402, "billing_error", AuthenticationError),
        (403, "permission_error", AuthenticationError),
        (409, "conflict_error", OverloadedError),
        (413, "request_too_large", RequestRejectedError),
        (429, "rate_limit_error", RateLimitedError),
        (500, "api_error", OverloadedError),
        (504, "timeout_error", CallTimeoutError),
        (529, "overloaded_error", OverloadedError),
    ],
)
async def test_refusals(status, type_, kind) -> None:
    with Loopback(lambda _: refused(status, type_, "such words")) as server:
        error = await error_of(server.url)
        assert len(server.asked) == 1
        async with opened(server.url) as backend:
            for call in (backend.count_tokens(ASKED), backend.models()):
                with pytest.raises(kind, match="such words"):
                    await call
    assert type(error) is kind
    assert f"HTTP {status}: such words" in str(error)
    assert error.retry_after_s is None
    # The same in the middle of an answer, where nothing but the type says what it is.
    error = await error_to(streamed(*BEGUN, event("error", error={"type": type_, "message": "such words"})))
    assert type(error) is kind
    assert "failed: such words" in str(error)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, BackendSettingsError),
        (308, BackendSettingsError),
        (400, RequestRejectedError),
        (401, AuthenticationError),
        (402, AuthenticationError),
        (403, AuthenticationError),
        (404, BackendSettingsError),
        (405, BackendSettingsError),
        (408, CallTimeoutError),
        (409, OverloadedError),
        (413, RequestRejectedError),
        (422, RequestRejectedError),
        (429, RateLimitedError),
        (500, OverloadedError),
        (501, RequestRejectedError),
        (502, OverloadedError),
        (503, OverloadedError),
        (529, OverloadedError),
    ],
)
async def test_statuses_of_whoever_stands_between(status, kind) -> None:
    headers = {"location": NOTHING, "retry-after": "12"}
    with Loopback(lambda _: Reply(status, headers, b"<html>No.</html>")) as server:
        error = await error_of(server.url)
        assert len(server.asked) == 1
    assert type(error) is kind
    assert f"HTTP {status}" in str(error)
    assert "html" not in str(error)
    assert error.retry_after_s == 12.0


async def test_a_missing_model_and_a_missing_page_are_not_the_same() -> None:
    assert type(await error_to(refused(404, "not_found_error", "model: claude-x"))) is ModelNotFoundError
    error = await error_to(refused(404, "not_found_error", "Not found"))
    assert type(error) is BackendSettingsError
    assert "is its address right?" in str(error)


async def test_how_long_to_wait_may_be_a_date() -> None:
    dates = {"retry_after": "Fri, 20 Nov 2026 08:01:30 GMT", "date": "Fri, 20 Nov 2026 08:00:00 GMT"}
    error = await error_to(refused(429, "rate_limit_error", "slow down", **dates))
    assert error.retry_after_s == 90.0
    assert error.retryable


@pytest.mark.parametrize("code", ["enforced_spend_limit_reached", "contract_spend_limit_reached"])
async def test_who_has_spent_all_need_not_try_again(code) -> None:
    body = {"type": "error", "error": {"type": "rate_limit_error", "message": "no", "details": {"error_code": code}}}
    error = await error_to(Reply.of(body, 429))
    assert type(error) is RateLimitedError
    assert not error.retryable


async def test_a_provider_may_say_that_trying_again_is_useless() -> None:
    assert (await error_to(refused(500, "api_error", "no"))).retryable
    assert not (await error_to(refused(500, "api_error", "no", x_should_retry="false"))).retryable
    assert (await error_to(refused(500, "api_error", "no"))).retryable  # and only of that one


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"3", b"null", b"\xff\xfe", b'{"error": 3}', b'{"error": {"type": {}, "message": []}}', b"[" * 50_000],
)
async def test_words_that_are_none(body) -> None:
    assert type(await error_to(Reply(529, JSON, body))) is OverloadedError


async def test_errors_in_the_middle_that_are_none() -> None:
    for said in (b"", b"nonsense", b"[3]", b'{"error": null}', b'{"error": {"message": "\\ud83d"}}'):
        error = await error_to(streamed(*BEGUN, b"event: error\ndata: " + said + b"\n\n"))
        assert type(error) is OverloadedError


async def test_a_long_prompt_is_refused_in_the_words_of_the_api() -> None:
    words = "prompt is too long: 1000001 tokens > 1000000 maximum"
    error = await error_to(refused(400, "invalid_request_error", words))
    assert type(error) is RequestRejectedError
    assert words in str(error)
    assert not error.retryable


@pytest.mark.parametrize("status", [400, 401, 429, 500])
async def test_secrets_are_not_shown(status) -> None:
    words = f"\x1b[31mkey {KEY}\nis bad\r\n" + "x" * 5000
    error = await error_to(refused(status, "invalid_request_error", words))
    assert "key … is bad" in str(error)
    error = await error_to(streamed(*BEGUN, event("error", error={"type": "api_error", "message": words})))
    assert "key … is bad" in str(error)


async def test_what_is_nested_too_deeply_is_not_sent() -> None:
    outcomes = set()
    with Loopback(lambda _: streamed(*BEGUN, *ended())) as server:
        async with opened(server.url) as backend:
            for depth in range(700, 1010, 5):
                arguments: dict = {}
                for _ in range(depth):
                    arguments = {"a": arguments}
                said = Message(role="assistant", calls=(ToolCall("toolu_1", "look_up", arguments),))
                try:
                    await pieces_of(backend, Request(messages=(said,)))
                    outcomes.add(None)
                except BackendError as error:
                    outcomes.add(type(error))
    assert outcomes == {None, RequestRejectedError}


@pytest.mark.parametrize("error", [httpx2.UnsupportedProtocol("x"), ValueError("x"), OverflowError("x")])
async def test_what_only_the_sockets_know(monkeypatch, error) -> None:
    async def send(*_, **__) -> None:
        raise error

    monkeypatch.setattr(httpx2.AsyncClient, "send", send)
    caught = await error_of("http://claude.example")
    assert type(caught) is BackendSettingsError
    assert "not an address that can be asked" in str(caught)


# Answers that are none.


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, {"content-type": "text/html"}, b"<html>Log in.</html>"),
        Reply.of({"type": "message", "content": []}),
        Reply(200, {"content-type": f"text/{KEY}"}, b""),
    ],
    ids=["page", "document", "key"],
)
async def test_other_things_than_events(reply) -> None:
    error = await error_to(reply)
    assert type(error) is BadAnswerError
    assert "in place of events" in str(error)


@pytest.mark.parametrize(
    "body",
    [(), (b"<html>Log in.</html>",), (b"\x00\xff\n\n",), (started(),), BEGUN, (*BEGUN, b"event: message_stop\n")],
    ids=["nothing", "page", "bytes", "start", "text", "half an event"],
)
@pytest.mark.parametrize("end", [(), (CUT,)], ids=["ended", "cut"])
async def test_answers_that_end_in_the_middle(body, end) -> None:
    error = await error_to(streamed(*body, *end))
    assert type(error) is BadAnswerError
    assert error.retryable


async def test_what_came_before_an_answer_broke_off_is_passed_on() -> None:
    with Loopback(lambda _: streamed(*BEGUN, CUT)) as server:
        async with opened(server.url) as backend, contextlib.aclosing(backend.stream(ASKED)) as stream:
            assert await anext(stream) == Delta("first")
            with pytest.raises(BadAnswerError, match="broke off in the middle of its answer"):
                await anext(stream)


@pytest.mark.parametrize("end", [(), (CUT,)], ids=["ended", "cut"])
async def test_an_answer_without_its_end_mark_is_whole(end) -> None:
    with Loopback(lambda _: streamed(*BEGUN, ended()[0], *end)) as server:
        async with opened(server.url) as backend:
            assert (await pieces_of(backend))[-1].text == "first"


@pytest.mark.parametrize(
    "after", [HANG, CUT, b"more\n\n", event("error", error={})], ids=["hangs", "cut", "more", "error"]
)
async def test_what_comes_after_an_answer_does_no_harm(after) -> None:
    with Loopback(lambda _: streamed(*BEGUN, *ended(), after)) as server:
        async with opened(server.url) as backend, asyncio.timeout(10):
            for _ in range(2):
                assert (await pieces_of(backend))[-1].text == "first"


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"null",
        b"3",
        b'"text"',
        b"[]",
        b"{}",
        b'{"type": 3}',
        b'{"type": "content_block_delta"}',
        b'{"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": "x"}}',
        b'{"type": "content_block_delta", "index": "x", "delta": {"type": "text_delta", "text": "x"}}',
        b'{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 3}}',
        b'{"type": "content_block_delta", "index": 0, "delta": [3]}',
        b'{"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "again"}}',
        b'{"type": "content_block_start", "index": 1}',
        b'{"type": "content_block_start", "index": 1, "content_block": {"text": "x"}}',
        b'{"type": "message_start"}',
        b'{"type": "message_start", "message": 3}',
        b'{"type": "message_delta", "delta": {"stop_reason": 3}}',
        b'{"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": -1}}',
        b"\xff",
        b"[" * 50_000,
    ],
    ids=lambda data: data[:90].decode("latin-1"),
)
async def test_events_that_are_none(data) -> None:
    error = await error_to(streamed(*BEGUN, b"event: any\ndata: " + data + b"\n\n", *ended()))
    assert type(error) is BadAnswerError
    assert "something else than its protocol" in str(error)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_NAMES = ("type", "index", "delta", "content_block", "message", "usage", "text", "partial_json", "stop_reason", "model")
_TYPES = (
    "message_start",
    "content_block_start",
    "content_block_delta",
    "message_delta",
    "message_stop",
    "text",
    "tool_use",
)
_PARTS = st.fixed_dictionaries(
    {"type": st.sampled_from(_TYPES) | _VALUES}, optional={name: _VALUES for name in _NAMES if name != "type"}
)
_EVENTS = st.fixed_dictionaries(
    {"type": st.sampled_from(_TYPES) | _VALUES},
    optional={"index": st.integers(0, 2) | _VALUES} | dict.fromkeys(_NAMES[2:6], _PARTS | _VALUES),
)


@given(st.lists(_EVENTS, max_size=6))
def test_whatever_comes_there_is_an_answer_or_an_error_of_ours(events) -> None:
    parts = [b"event: x\ndata: " + json.dumps(one).encode() + b"\n\n" for one in events]

    async def check() -> None:
        with Loopback(lambda _: streamed(started(), *parts)) as server:
            async with opened(server.url) as backend:
                try:
                    pieces = await pieces_of(backend)
                except BackendError as error:
                    check_words(error)
                else:
                    assert "".join(piece.text for piece in pieces[:-1]) == pieces[-1].text

    asyncio.run(check())


@given(st.binary(max_size=200))
def test_whatever_bytes_come_there_is_an_error_of_ours(body) -> None:
    async def check() -> None:
        error = await error_to(streamed(started(), body))
        assert type(error) in {BadAnswerError, OverloadedError}

    asyncio.run(check())


async def test_an_answer_without_end_is_not_kept(monkeypatch) -> None:
    monkeypatch.setattr(claude_endpoint, "_ANSWER_BYTES_MAX", 2 * 1024**2)
    for part in (event("ping"), b"x" * 65536):
        error = await error_to(Reply(200, {}, itertools.repeat(part)))
        assert type(error) is BadAnswerError
        assert "more than 2 MiB" in str(error)


async def test_a_list_of_models_without_end_is_not_kept(monkeypatch) -> None:
    monkeypatch.setattr(claude_endpoint, "_ANSWER_BYTES_MAX", 1024**2)
    with Loopback(lambda _: Reply(200, JSON, itertools.repeat(b" " * 65536))) as server:
        async with opened(server.url) as backend:
            with pytest.raises(BadAnswerError, match="more than 1 MiB"):
                await backend.models()


async def test_a_refusal_without_end_is_read_in_part() -> None:
    assert type(await error_to(Reply(400, {}, itertools.repeat(b"no " * 1000)))) is RequestRejectedError


async def test_nothing_compressed_is_asked_for_or_taken() -> None:
    bomb = gzip.compress(bytes(1000))
    with Loopback(lambda _: Reply(200, {"content-encoding": "gzip"}, bomb)) as server:
        error = await error_of(server.url)
        assert server.asked[0].headers["accept-encoding"] == "identity"
    assert type(error) is BadAnswerError
    assert "compressed" in str(error)


async def test_the_key_does_not_go_where_a_provider_sends_it() -> None:
    with Loopback(lambda _: streamed(*BEGUN, *ended())) as other:
        error = await error_to(Reply(307, {"location": f"{other.url}/v1/messages"}))
        assert other.asked == []
    assert type(error) is BackendSettingsError


# Settings.


def test_without_a_key_it_says_what_to_set(monkeypatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    for environment in ({}, {"ANTHROPIC_API_KEY": ""}, {"ANTHROPIC_API_KEY": " \n", "ANTHROPIC_AUTH_TOKEN": ""}):
        with pytest.raises(BackendSettingsError, match="set ANTHROPIC_API_KEY"):
            claude.make(Settings(environment=environment))


@pytest.mark.parametrize("key", ["kéy-0123456789", "key\n0123456789", "key\x000123456789"])
def test_keys_that_are_none(key) -> None:
    with pytest.raises(BackendSettingsError, match="set it again") as caught:
        claude.make(Settings(environment={"ANTHROPIC_API_KEY": key}))
    assert key not in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://box", "box", "http://", "http://box:99999", "http://box/?x=1", "http://[box"])
def test_addresses_that_are_none(url) -> None:
    with pytest.raises(BackendSettingsError, match="its address"):
        claude.make(Settings(base_url=url, environment=ENVIRONMENT))
    with pytest.raises(BackendSettingsError, match="ANTHROPIC_BASE_URL"):
        claude.make(Settings(environment=ENVIRONMENT | {"ANTHROPIC_BASE_URL": url}))


def test_a_user_in_the_address() -> None:
    with pytest.raises(BackendSettingsError, match="leave it out") as caught:
        claude.make(Settings(base_url="http://me:my-password@box", environment=ENVIRONMENT))
    assert "my-password" not in str(caught.value)


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan"), float("inf")])
def test_times_that_are_none(timeout_s) -> None:
    with pytest.raises(BackendSettingsError, match="time limit"):
        claude.make(Settings(timeout_s=timeout_s, environment=ENVIRONMENT))


@pytest.mark.parametrize("options", [{"seed": "1"}, {"effort": "lots"}, {"thinking": "enabled"}])
def test_options_that_are_none(options) -> None:
    with pytest.raises(BackendSettingsError, match="option"):
        claude.make(Settings(options=options, environment=ENVIRONMENT))


async def test_the_sdk_traces_nothing(monkeypatch) -> None:
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY", "true")
    backend = claude.make(Settings(environment=ENVIRONMENT))
    try:
        assert backend._endpoint._client.open_telemetry["traces"]["enabled"] is False
    finally:
        await backend.close()


async def test_the_address_is_anthropics_unless_told() -> None:
    backend = claude.make(Settings(environment=ENVIRONMENT))
    try:
        assert backend._endpoint.shown == "https://api.anthropic.com"
    finally:
        await backend.close()


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
async def test_no_proxy_is_asked_about_this_machine(monkeypatch, variable) -> None:
    monkeypatch.setenv(variable, NOTHING)
    with Loopback(lambda _: streamed(*BEGUN, *ended())) as server:
        for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
            async with opened(url) as backend:
                assert (await pieces_of(backend))[-1].text == "first"


async def test_other_machines_are_asked_through_the_proxy(monkeypatch) -> None:
    with Loopback(lambda _: Reply.of({"data": []})) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with opened("http://claude.example") as backend:
            assert await backend.models() == []
        assert proxy.asked[0].path.startswith("http://claude.example")


async def test_a_proxy_that_lets_nothing_through(monkeypatch) -> None:
    with Loopback(lambda _: Reply(403)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//me:my-password@"))
        error = await error_of("https://claude.example")
        assert (proxy.asked[0].method, KEY in str(proxy.asked)) == ("CONNECT", False)
    assert type(error) is UnreachableError
    assert "the proxy on the way to https://claude.example" in str(error)
    assert "my-password" not in str(error)


def test_a_proxy_that_is_none(monkeypatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "ftp://me:my-password@box")
    with pytest.raises(BackendSettingsError, match="HTTP_PROXY") as caught:
        claude.make(Settings(base_url="http://claude.example", environment=ENVIRONMENT))
    assert "my-password" not in str(caught.value)


# The end of a call.


async def test_cancelling_closes_the_connection() -> None:
    with AnthropicServer(Hangs(pieces=("first",))) as server:
        async with opened(server.url) as backend:
            began = asyncio.Event()

            async def call() -> None:
                async with contextlib.aclosing(backend.stream(ASKED)) as stream:
                    async for _ in stream:
                        began.set()

            task = asyncio.create_task(call())
            await began.wait()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            await server.wait_until_left()


async def test_cancelling_closes_the_connection_before_anything_came() -> None:
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(_):
        loop.call_soon_threadsafe(began.set)
        return Reply(200, JSON, (HANG,))

    with Loopback(hang) as server:
        async with opened(server.url) as backend:
            task = asyncio.create_task(backend.count_tokens(ASKED))
            await began.wait()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            await server.wait_until_left()


async def test_closing_ends_what_is_under_way() -> None:
    with AnthropicServer(Hangs(pieces=("first",))) as server:
        async with opened(server.url) as backend, contextlib.aclosing(backend.stream(ASKED)) as stream:
            await anext(stream)
            rest = asyncio.create_task(anext(stream))
            await asyncio.sleep(0)
            await backend.close()
            with pytest.raises(BackendError):
                await rest
            await server.wait_until_left()


async def test_what_is_closed_says_so() -> None:
    with AnthropicServer() as server:
        async with opened(server.url) as backend:
            await backend.close()
            await backend.close()
            for call in (pieces_of(backend), backend.count_tokens(ASKED), backend.models()):
                with pytest.raises(BackendError, match="is closed"):
                    await call


async def test_connections_are_used_again() -> None:
    with AnthropicServer("Hello.") as server:
        async with opened(server.url) as backend:
            for _ in range(5):
                assert (await pieces_of(backend))[-1].text == "Hello."
            await backend.models()
            await backend.count_tokens(ASKED)
        assert server.connections == 1
