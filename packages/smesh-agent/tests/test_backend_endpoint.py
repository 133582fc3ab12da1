"""What goes wrong between a provider and the backends over httpx: kinds of errors, limits, secrets."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import itertools
import tracemalloc

import httpx
import ollama_server
import openai_server
import pytest
from loopback import CUT, HANG, Loopback, Reply, raw_server
from smesh_agent.backends import endpoint, ollama, openai_compatible
from smesh_agent.backends.addresses import is_private, without_secrets
from smesh_agent.backends.base import Completion, Message, Request, Settings
from smesh_agent.backends.conformance import Hangs
from smesh_agent.backends.endpoint import retry_after_s, words
from smesh_agent.errors import (
    AuthenticationError,
    BackendError,
    BackendSettingsError,
    BadAnswerError,
    CallTimeoutError,
    OverloadedError,
    RateLimitedError,
    RequestRejectedError,
    UnreachableError,
)

NOTHING = "http://127.0.0.1:9"
SECRET = "marker-" + "0123456789abcdef"
ASKED = Request(messages=(Message(role="user", text="Well?"),))

backends = pytest.mark.parametrize("make", [ollama.make, openai_compatible.make], ids=["ollama", "openai-compatible"])


@contextlib.asynccontextmanager
async def opened(make, url: str, **more):
    backend = make(Settings(model="some-model", base_url=url, **more))
    try:
        yield backend
    finally:
        await backend.close()


async def ask(backend, request: Request = ASKED) -> Completion:
    async with contextlib.aclosing(backend.stream(request)) as stream:
        return [piece async for piece in stream][-1]


async def error_of(make, url: str, **more) -> BackendError:
    async with opened(make, url, **more) as backend:
        with pytest.raises(BackendError) as caught:
            await ask(backend)
        assert "\n" not in str(caught.value)
        assert caught.value.backend == backend.name
        return caught.value


def pouring(part: bytes) -> Reply:
    return Reply(200, {}, itertools.repeat(part))


@backends
async def test_nobody_answers(make) -> None:
    error = await error_of(make, NOTHING)
    assert type(error) is UnreachableError
    assert NOTHING in str(error)
    assert "start" in str(error)


@backends
async def test_an_address_that_has_no_name_server(make) -> None:
    error = await error_of(make, "http://no-such-name.invalid")
    assert type(error) is UnreachableError
    assert "no-such-name.invalid" in str(error)


@backends
@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (b"", UnreachableError, "broke off before it answered"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", UnreachableError, "broke off before it answered"),
        (b"220 mail.example ESMTP\r\n\r\n", BadAnswerError, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", UnreachableError, "broke off before it answered"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", BadAnswerError, "broke off in the middle"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", BadAnswerError, "broke off in the middle"),
        (b"HTTP/1.1 200 OK\r\n\r\n", BadAnswerError, "ended its answer in the middle"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\n{", OverloadedError, "HTTP 500"),
    ],
)
async def test_broken_http(make, answer, kind, words) -> None:
    async with raw_server(answer) as url:
        error = await error_of(make, url)
    assert type(error) is kind
    assert words in str(error)


@backends
async def test_tls_where_there_is_none(make) -> None:
    async with raw_server(b"HTTP/1.1 200 OK\r\n\r\n") as url:
        error = await error_of(make, url.replace("http:", "https:"))
    assert type(error) is UnreachableError
    assert "SSL" in str(error)


@backends
@pytest.mark.parametrize("body", [(HANG,), (b"\n", HANG)], ids=["nothing", "a beginning"])
async def test_silence_has_a_limit(make, body) -> None:
    with Loopback(lambda _: Reply(200, {}, body)) as server:
        error = await error_of(make, server.url, timeout_s=0.2)
    assert type(error) is CallTimeoutError
    assert "for 0.2 s" in str(error)


@backends
async def test_silence_before_the_headers_has_a_limit(make) -> None:
    hung = asyncio.Event()

    async def talk(reader, writer) -> None:
        await hung.wait()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        error = await error_of(make, url, timeout_s=0.2)
        hung.set()
    assert type(error) is CallTimeoutError
    assert "for 0.2 s" in str(error)


async def test_connecting_has_a_limit_of_its_own(monkeypatch) -> None:
    async def never(*_, **__) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(endpoint, "CONNECT_TIMEOUT_S", 0.2)
    monkeypatch.setattr("anyio.connect_tcp", never)
    error = await error_of(ollama.make, "http://10.255.255.1", timeout_s=600.0)
    assert type(error) is UnreachableError
    assert "within 0.2 s" in str(error)


@backends
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
async def test_statuses(make, status, kind) -> None:
    headers = {"location": NOTHING, "retry-after": "12"}
    with Loopback(lambda _: Reply(status, headers, b"<html>No.</html>")) as server:
        error = await error_of(make, server.url)
        assert len(server.asked) == 1
    assert type(error) is kind
    assert f"HTTP {status}" in str(error)
    assert "html" not in str(error)
    assert error.retry_after_s == 12.0


@pytest.mark.parametrize(
    ("asked", "date", "wait_s"),
    [
        ("7", "", 7.0),
        (" 0.5 ", "", 0.5),
        ("0", "", 0.0),
        ("Fri, 20 Nov 2026 08:01:30 GMT", "Fri, 20 Nov 2026 08:00:00 GMT", 90.0),
        ("Fri, 20 Nov 2026 08:00:00 GMT", "Fri, 20 Nov 2026 08:01:30 GMT", 0.0),
        ("Fri, 20 Nov 2026 08:01:30 GMT", "", None),
        ("Fri, 20 Nov 2026 08:01:30 GMT", "yesterday", None),
        ("Fri, 20 Nov 2026 08:01:30 -0000", "Fri, 20 Nov 2026 08:00:00 GMT", None),
        ("soon", "Fri, 20 Nov 2026 08:00:00 GMT", None),
        ("-3", "", None),
        ("nan", "", None),
        ("inf", "", None),
        ("1e9", "", None),
        ("9" * 400, "", None),
        ("", "", None),
    ],
)
def test_how_long_to_wait(asked, date, wait_s) -> None:
    assert retry_after_s({"retry-after": asked, "date": date}) == wait_s


def test_nothing_is_said_of_waiting() -> None:
    assert retry_after_s({}) is None


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b'{"error": "no"}', ("no", "")),
        (b'{"error": {"message": "no", "type": "t", "code": 400}}', ("no", "400")),
        (b'{"error": {"message": "no", "type": "t", "code": null}}', ("no", "t")),
        (b'{"object": "error", "message": "no", "type": "t"}', ("no", "t")),
        (b'{"detail": "no"}', ("no", "")),
        (b'{"error": "{\\"error\\": {\\"message\\": \\"inner\\", \\"code\\": 400}}"}', ("inner", "400")),
        (b'{"error": "{not json"}', ("{not json", "")),
        (b"just words", ("just words", "")),
        (b"<html>no</html>", ("", "")),
        (b"\xff\xfe", ("��", "")),
        (b"[1]", ("[1]", "")),
        (b'{"error": ' * 20 + b'"deep"' + b"}" * 20, ("", "")),
        (b"{" * 100_000, ("{" * 100_000, "")),
        (b'{"a":' * 100_000, ('{"a":' * 100_000, "")),
        (b"", ("", "")),
        ({"message": "no"}, ("no", "")),
        (17, ("", "")),
    ],
)
def test_the_words_of_a_refusal(said, expected) -> None:
    assert words(said) == expected


@backends
async def test_a_line_without_end_is_not_kept(make) -> None:
    with Loopback(lambda _: pouring(b"x" * 65536)) as server:
        tracemalloc.start()
        try:
            error = await error_of(make, server.url)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert type(error) is BadAnswerError
    assert "line without end" in str(error)
    assert peak < 8 * 1024**2


async def test_an_event_without_end_is_not_kept() -> None:
    with Loopback(lambda _: pouring(b"data: " + b"x" * 60_000 + b"\n")) as server:
        error = await error_of(openai_compatible.make, server.url)
    assert type(error) is BadAnswerError
    assert "event without end" in str(error)


@backends
async def test_an_answer_without_end_is_not_kept(make, monkeypatch) -> None:
    monkeypatch.setattr(endpoint, "_ANSWER_BYTES_MAX", 2 * 1024**2)
    with Loopback(lambda _: pouring(b"\r\n" * 512)) as server:
        error = await error_of(make, server.url)
    assert type(error) is BadAnswerError
    assert "more than 2 MiB" in str(error)


@backends
async def test_a_list_of_models_without_end_is_not_kept(make, monkeypatch) -> None:
    monkeypatch.setattr(endpoint, "_BODY_BYTES_MAX", 1024**2)
    with Loopback(lambda _: pouring(b" " * 65536)) as server:
        async with opened(make, server.url) as backend:
            with pytest.raises(BadAnswerError, match="more than 1 MiB"):
                await backend.models()


@backends
async def test_a_refusal_without_end_is_read_in_part(make) -> None:
    with Loopback(lambda _: Reply(400, {}, itertools.repeat(b"no " * 1000))) as server:
        error = await error_of(make, server.url)
    assert type(error) is RequestRejectedError
    assert "no no no" in str(error)
    assert len(str(error)) < 500


@backends
async def test_nothing_compressed_is_asked_for_or_taken(make) -> None:
    bomb = gzip.compress(bytes(1000))
    with Loopback(lambda _: Reply(200, {"content-encoding": "gzip"}, bomb)) as server:
        error = await error_of(make, server.url)
        assert server.asked[0].headers["accept-encoding"] == "identity"
    assert type(error) is BadAnswerError


@backends
@pytest.mark.parametrize(
    "document", [b"<html>", b"[]", b"3", b'{"models": 3}', b'{"data": "\xff"}', b"[" * 100_000, b""]
)
async def test_lists_of_models_that_are_none(make, document) -> None:
    with Loopback(lambda _: Reply(200, {}, document)) as server:
        async with opened(make, server.url) as backend:
            with pytest.raises(BadAnswerError, match="something else than its protocol"):
                await backend.models()


@backends
async def test_what_cannot_be_sent_is_not(make) -> None:
    with Loopback(lambda _: Reply()) as server:
        async with opened(make, server.url) as backend:
            with pytest.raises(RequestRejectedError, match="cannot be written as JSON"):
                await ask(backend, Request(messages=(Message(role="user", text="half a pair: \ud83d"),)))
        assert not server.asked


@backends
@pytest.mark.parametrize("status", [200, 400, 401, 404, 500])
async def test_secrets_are_not_shown(make, status) -> None:
    """Not even where the provider repeats them."""
    told = f"you said {SECRET}, \x1b[31mred\nand so on"
    variable = {ollama.make: "OLLAMA_API_KEY", openai_compatible.make: "OPENAI_API_KEY"}[make]
    with Loopback(lambda asked: Reply.of({"error": f"{told} {asked.headers['authorization']}"}, status)) as server:
        with_key = await error_of(make, server.url, environment={variable: SECRET})
        with_user = await error_of(make, server.url.replace("//", f"//me:{SECRET}@"))
        bearer, basic = [asked.headers["authorization"] for asked in server.asked]
        assert bearer == f"Bearer {SECRET}"
        assert base64.b64decode(basic.removeprefix("Basic ")) == f"me:{SECRET}".encode()
        for error in (with_key, with_user):
            assert SECRET not in str(error)
            assert basic.removeprefix("Basic ") not in str(error)
            assert server.url in str(error)
            assert str(error).isprintable()


@backends
async def test_passwords_of_addresses_are_not_shown(make) -> None:
    assert SECRET not in str(await error_of(make, f"http://me:{SECRET}@127.0.0.1:9"))
    async with raw_server(b"nonsense\r\n\r\n") as url:
        assert SECRET not in str(await error_of(make, url.replace("//", f"//me:{SECRET}@")))


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://box:80/v1", "http://box:80/v1"),
        (f"http://me:{SECRET}@box/v1", "http://box/v1"),
        (f"http://me:{SECRET}@x@box", "http://box"),
        (f"me:{SECRET}@box", "box"),
        (f"http://box/v1?key={SECRET}", "http://box/v1"),
        (f"http://box#{SECRET}", "http://box"),
        (f"http://me:http://{SECRET}@box", "http://box"),
        (f"//me:{SECRET}@box", "box"),
        ("http://\x1b[31m", "http://�[31m"),
        ("\udcff", "\\udcff"),
    ],
)
def test_how_addresses_are_shown(address, shown) -> None:
    assert SECRET not in without_secrets(address)
    assert without_secrets(address) == shown


@backends
@pytest.mark.parametrize(
    "url",
    [
        "http://[",
        "http://\x1b[31m",
        "ftp://box",
        "http://box:0",
        "http://box box",
        "http://a..b",
        "http://" + "x" * 300,
        "http://" + "x." * 150 + "x",
        "http://box?key=" + SECRET,
        "http://box#" + SECRET,
        "http://\udcff",
        f"ftp://me:{SECRET}@box",
    ],
)
def test_addresses_that_are_none(make, url) -> None:
    with pytest.raises(BackendSettingsError) as caught:
        make(Settings(model="m", base_url=url))
    assert SECRET not in str(caught.value)
    assert str(caught.value).isprintable()


@backends
@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan"), float("inf")])
def test_times_that_are_none(make, timeout_s) -> None:
    with pytest.raises(BackendSettingsError, match="time limit"):
        make(Settings(model="m", base_url=NOTHING, timeout_s=timeout_s))


@backends
@pytest.mark.parametrize("key", ["clé", "two\nlines", "a\x00b"])
def test_keys_that_are_none(make, key) -> None:
    environment = {"OLLAMA_API_KEY": key, "OPENAI_API_KEY": key}
    with pytest.raises(BackendSettingsError) as caught:
        make(Settings(model="m", base_url=NOTHING, environment=environment))
    assert key not in str(caught.value)


@backends
def test_a_key_and_a_user_exclude_each_other(make) -> None:
    environment = {"OLLAMA_API_KEY": SECRET, "OPENAI_API_KEY": SECRET}
    with pytest.raises(BackendSettingsError, match="give one of them"):
        make(Settings(model="m", base_url="http://me:word@box", environment=environment))


@backends
def test_unknown_options(make) -> None:
    with pytest.raises(BackendSettingsError, match=r"no option 'colour'; it has .*seed"):
        make(Settings(model="m", base_url=NOTHING, options={"colour": "red"}))


@backends
@pytest.mark.parametrize("seed", ["", "x", "-1", "1.5", "9" * 30])
def test_numbers_that_are_none(make, seed) -> None:
    with pytest.raises(BackendSettingsError, match="whole number"):
        make(Settings(model="m", base_url=NOTHING, options={"seed": seed}))


@backends
@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
async def test_no_proxy_is_asked_about_this_machine(make, monkeypatch, variable) -> None:
    monkeypatch.setenv(variable, NOTHING)
    with Loopback(lambda _: Reply.of({"models": [], "data": []})) as server:
        for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
            async with opened(make, url) as backend:
                assert await backend.models() == []


@backends
async def test_other_machines_are_asked_through_the_proxy(make, monkeypatch) -> None:
    with Loopback(lambda _: Reply.of({"models": [], "data": []})) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with opened(make, "http://models.example") as backend:
            assert await backend.models() == []
        assert proxy.asked[0].path.startswith("http://models.example")


@backends
async def test_a_proxy_that_lets_nothing_through(make, monkeypatch) -> None:
    with Loopback(lambda _: Reply(403)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", f"//me:{SECRET}@"))
        error = await error_of(make, "https://models.example")
        assert proxy.asked[0].method == "CONNECT"
    assert type(error) is UnreachableError
    assert "the proxy on the way to https://models.example" in str(error)
    assert SECRET not in str(error)


@backends
def test_a_proxy_that_is_none(make, monkeypatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"ftp://me:{SECRET}@box")
    with pytest.raises(BackendSettingsError, match="HTTP_PROXY") as caught:
        make(Settings(model="m", base_url="http://models.example"))
    assert SECRET not in str(caught.value)


@backends
def test_authorities_that_are_none(make, monkeypatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "no such file")
    with pytest.raises(BackendSettingsError, match="SSL_CERT_FILE"):
        make(Settings(model="m", base_url="https://models.example"))


@backends
async def test_cancelling_closes_the_connection(make) -> None:
    server_of = {ollama.make: ollama_server.OllamaServer, openai_compatible.make: openai_server.OpenAiServer}[make]
    models = {"some-model": 1}
    with server_of(Hangs(pieces=("first",)), models=models) as server:
        async with opened(make, server.url) as backend:
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


@backends
async def test_closing_ends_what_is_under_way(make) -> None:
    server_of = {ollama.make: ollama_server.OllamaServer, openai_compatible.make: openai_server.OpenAiServer}[make]
    with server_of(Hangs(pieces=("first",)), models={"some-model": 1}) as server:
        async with opened(make, server.url) as backend, contextlib.aclosing(backend.stream(ASKED)) as stream:
            await anext(stream)
            rest = asyncio.create_task(anext(stream))
            await asyncio.sleep(0)
            await backend.close()
            with pytest.raises(BackendError):
                await rest
            await server.wait_until_left()


@backends
async def test_there_is_no_limit_to_how_many_ask_at_once(make) -> None:
    """More than httpx has connections, unless told; none of the answers ends."""
    server_of = {ollama.make: ollama_server.OllamaServer, openai_compatible.make: openai_server.OpenAiServer}[make]
    many = 110
    with server_of(Hangs(pieces=("first",)), models={"some-model": 1}) as server:
        async with opened(make, server.url) as backend, contextlib.AsyncExitStack() as stack, asyncio.timeout(20.0):
            closing = (contextlib.aclosing(backend.stream(ASKED)) for _ in range(many))
            streams = [await stack.enter_async_context(one) for one in closing]
            await asyncio.gather(*map(anext, streams))
            assert server.open_max == many


@backends
async def test_connections_are_used_again(make) -> None:
    server_of = {ollama.make: ollama_server.OllamaServer, openai_compatible.make: openai_server.OpenAiServer}[make]
    with server_of("Hello.", models={"some-model": 1}) as server:
        async with opened(make, server.url) as backend:
            for _ in range(5):
                assert (await ask(backend)).text == "Hello."
            await backend.models()
        assert server.connections == 1


@backends
@pytest.mark.parametrize("after", [HANG, CUT, b"more than was to come\n"], ids=["hangs", "cut", "more"])
async def test_what_comes_after_an_answer_does_no_harm(make, after) -> None:
    def answer(asked):
        if make is ollama.make:
            parts = [ollama_server.line(asked.json, "Hello."), ollama_server.line(asked.json, done=True)]
        else:
            parts = [
                openai_server.chunk(asked.json, "Hello."),
                openai_server.chunk(asked.json, finish="stop"),
                openai_server.DONE,
            ]
        return Reply(200, {}, [*parts, after])

    with Loopback(answer) as server:
        async with opened(make, server.url) as backend, asyncio.timeout(20.0):
            for _ in range(2):
                assert (await ask(backend)).text == "Hello."


def test_whose_network_a_host_is_in() -> None:
    private = ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.7", "172.20.0.1", "100.100.1.1", "fd00::1", "169.254.1.1"]
    private += ["localhost", "gpu-box", "box.local", "host.docker.internal", "nas.home.arpa"]
    assert [host for host in private if not is_private(host)] == []
    public = ["8.8.8.8", "2606:4700::1111", "openrouter.ai", "local.example.com", "172.32.0.1"]
    assert [host for host in public if is_private(host)] == []


@pytest.mark.parametrize("error", [httpx.UnsupportedProtocol("x"), ValueError("x"), OverflowError("x")])
async def test_what_only_the_sockets_know(monkeypatch, error) -> None:
    async def send(*_, **__) -> None:
        raise error

    monkeypatch.setattr(httpx.AsyncClient, "send", send)
    caught = await error_of(ollama.make, "http://models.example")
    assert type(caught) is BackendSettingsError
    assert "not an address that can be asked" in str(caught)
