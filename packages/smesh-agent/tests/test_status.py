"""What `collect` finds out of backends that answer well, badly, slowly or not at all; all on loopback."""

from __future__ import annotations

import contextlib
import datetime as dt
import http.server
import socket
import sys
import threading
import time
import types
from importlib import metadata

import pytest
from smesh_agent import status
from smesh_agent.backends import registry
from smesh_agent.status import collect, ollama_url

ANY = "0.0.0.0"  # noqa: S104 - what servers listen at, and clients must not take literally
MARKER = "marker-" + "0123456789abcdef"
VERSION = b'{"version": "0.31.4"}'
TAGS = b'{"models": [{"name": "qwen2.5-coder:7b", "details": {}}, {"name": "llama3.2:3b"}]}'
NOTHING = "http://127.0.0.1:9"


@pytest.fixture
def serve():
    """Start loopback servers that answer each path as told: a body, or a status and a body."""
    with contextlib.ExitStack() as stack:

        def start(answers):
            class Handler(http.server.BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    self.server.asked.append(f"{self.requestline}\n{self.headers}")
                    answer = answers.get(self.path, (404, b""))
                    code, body = answer if isinstance(answer, tuple) else (200, answer)
                    head = f"HTTP/1.0 {code} As told\r\nContent-Length: {len(body)}\r\nLocation: {NOTHING}/\r\n\r\n"
                    self.wfile.write(head.encode() + body)  # in one piece, so that nothing waits for the rest

            server = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
            server.asked = []
            server.url = f"http://127.0.0.1:{server.server_port}"
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return server

        yield start


@pytest.fixture
def raw():
    """A loopback port where each connection is handed to a function, and closed after it."""
    with contextlib.ExitStack() as stack:

        def start(talk):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            ended = threading.Event()

            def accept() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        connection, _ = listener.accept()
                        with connection, contextlib.suppress(OSError):
                            connection.recv(65536)
                            talk(connection, ended)

            thread = threading.Thread(target=accept)
            thread.start()

            def end() -> None:
                ended.set()
                listener.shutdown(socket.SHUT_RDWR)
                thread.join()

            stack.callback(end)
            return f"http://127.0.0.1:{listener.getsockname()[1]}"

        yield start


def backend_of(name: str, environment: dict[str, str], **options):
    (backend,) = (
        one for one in collect({"OLLAMA_HOST": NOTHING} | environment, **options).backends if one.name == name
    )
    return backend


def ollama(url: str, **options):
    return backend_of("ollama", {"OLLAMA_HOST": url}, **options)


def claude(url: str):
    return backend_of("claude", {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": MARKER})


def openai(url: str, environment: dict[str, str] | None = None, **options):
    return backend_of("openai-compatible", {"OPENAI_BASE_URL": url} | (environment or {}), **options)


FREE = status.ModelPrice(as_of=None, tiers=[status.TokenPrice(prompt_tokens_max=None, input_usd=0.0, output_usd=0.0)])


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("  ", "http://127.0.0.1:11434"),
        ("box", "http://box:11434"),
        ("box:1234", "http://box:1234"),
        ("box:", "http://box:11434"),
        (":1234", "http://127.0.0.1:1234"),
        ("http://box", "http://box:80"),
        ("https://box", "https://box:443"),
        ("http://box:1234/", "http://box:1234"),
        ("https://box/ollama/", "https://box:443/ollama"),
        ("box:1234/ollama", "http://box:1234/ollama"),
        ("'box:1234'", "http://box:1234"),
        (ANY, "http://127.0.0.1:11434"),
        (f"{ANY}:1234", "http://127.0.0.1:1234"),
        (f"http://{ANY}:1234", "http://127.0.0.1:1234"),
        ("10.0.0.0", "http://10.0.0.0:11434"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("[::]:1234", "http://[::1]:1234"),
        ("fe80::1234:5", "http://[fe80::1234:5]:11434"),
        ("box:99999", "http://box:11434"),
        ("box:port", "http://box:11434"),
        ("http://me:" + "word@box:1234", "http://me:" + "word@box:1234"),
    ],
)
def test_the_address_of_ollama(host, url) -> None:
    assert ollama_url(host) == url


def test_an_ollama_that_answers(serve) -> None:
    server = serve({"/api/version": VERSION, "/api/tags": TAGS})
    backend = ollama(server.url)
    assert (backend.name, backend.url, backend.reachable, backend.key) == ("ollama", server.url, True, None)
    assert (backend.version, backend.models) == ("0.31.4", ["qwen2.5-coder:7b", "llama3.2:3b"])
    assert backend.detail == "version 0.31.4"
    assert len(server.asked) == 2


def test_an_ollama_below_a_path(serve) -> None:
    server = serve({"/some/api/version": VERSION, "/some/api/tags": TAGS})
    assert ollama(f"{server.url}/some/").reachable


def test_an_ollama_without_models(serve) -> None:
    backend = ollama(serve({"/api/version": VERSION, "/api/tags": b'{"models": []}'}).url)
    assert (backend.reachable, backend.models) == (True, [])
    assert backend.detail == "version 0.31.4; no models pulled"


PROTOCOL = "answered with something else than its protocol"


@pytest.mark.parametrize(
    ("version", "tags", "detail"),
    [
        (b"<html>It works!</html>", TAGS, PROTOCOL),
        (b"", TAGS, PROTOCOL),
        (b"[]", TAGS, PROTOCOL),
        (b'{"version": 3}', TAGS, PROTOCOL),
        (b'{"version": "\xff"}', TAGS, PROTOCOL),
        (VERSION, b"{}", PROTOCOL),
        (VERSION, b'{"models": null}', PROTOCOL),
        (VERSION, b'{"models": [{"name": null}]}', PROTOCOL),
        (VERSION, b'{"models": [{"name": "\\ud800"}]}', PROTOCOL),
        ((500, b"oops"), TAGS, "answered with HTTP 500"),
        (VERSION, (503, b""), "answered with HTTP 503"),
        ((302, b""), TAGS, "answered with HTTP 302"),
    ],
)
def test_an_ollama_that_answers_badly(serve, version, tags, detail) -> None:
    backend = ollama(serve({"/api/version": version, "/api/tags": tags}).url)
    assert (backend.reachable, backend.detail, backend.models, backend.version) == (False, detail, [], "")


def test_something_that_does_not_speak_http(raw) -> None:
    backend = ollama(raw(lambda connection, _: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")))
    assert (backend.reachable, backend.detail) == (False, PROTOCOL)


def test_a_closed_port() -> None:
    backend = ollama(NOTHING)
    assert (backend.reachable, backend.detail) == (False, "not running, or not reachable")


def test_a_server_that_says_nothing(raw) -> None:
    backend = ollama(raw(lambda _, ended: ended.wait()), timeout_s=0.2)
    assert (backend.reachable, backend.detail) == (False, "no answer within 0.2 s")


def test_a_server_that_sends_a_byte_now_and_then(raw) -> None:
    """Each byte comes in time, the answer never."""

    def drip(connection, ended) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not ended.wait(0.01):
            connection.sendall(b" ")

    before_s = time.monotonic()
    backend = ollama(raw(drip), timeout_s=0.3)
    assert (backend.reachable, backend.detail) == (False, "no answer within 0.3 s")
    assert time.monotonic() - before_s < 30


def test_an_answer_without_end_is_not_kept(raw) -> None:
    def pour(connection, ended) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not ended.is_set():
            connection.sendall(b" " * 65536)

    backend = ollama(raw(pour))
    assert (backend.reachable, backend.detail) == (False, PROTOCOL)


def test_backends_are_asked_at_the_same_time(raw) -> None:
    url = raw(lambda _, ended: ended.wait())
    environment = {
        "OLLAMA_HOST": url, "ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": MARKER, "OPENAI_BASE_URL": url,
    }  # fmt: skip
    before_s = time.monotonic()
    facts = collect(environment, timeout_s=1.0)
    late = [backend.name for backend in facts.backends if backend.detail == "no answer within 1 s"]
    assert late == ["ollama", "claude", "openai-compatible"]
    assert time.monotonic() - before_s < 1.9


def test_claude_is_not_asked_without_a_key(serve) -> None:
    server = serve({})
    for key in ({}, {"ANTHROPIC_API_KEY": ""}):
        backend = backend_of("claude", {"ANTHROPIC_BASE_URL": server.url} | key)
        assert (backend.key, backend.reachable, backend.url) == (False, None, server.url)
        assert backend.detail == "set ANTHROPIC_API_KEY to use it"
    assert not server.asked


def test_claude_is_asked_without_the_key(serve) -> None:
    server = serve({})
    address = server.url.replace("//", f"//user:{MARKER}@")
    backend = claude(address)
    assert (backend.key, backend.reachable, backend.url) == (True, True, server.url)
    assert backend.detail == "answered with HTTP 404"
    (asked,) = server.asked
    assert MARKER not in asked
    assert "authorization" not in asked.lower()


def test_a_claude_that_is_not_there() -> None:
    backend = claude(NOTHING)
    assert (backend.key, backend.reachable, backend.detail) == (True, False, "not running, or not reachable")


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_no_proxy_is_asked_about_this_machine(serve, monkeypatch, variable) -> None:
    monkeypatch.setenv(variable, NOTHING)
    server = serve({"/api/version": VERSION, "/api/tags": TAGS})
    assert ollama(server.url).reachable
    assert ollama(server.url.replace("127.0.0.1", "localhost")).reachable
    assert claude(server.url).reachable


def test_a_token_in_the_place_of_a_key_is_one() -> None:
    backend = backend_of("claude", {"ANTHROPIC_BASE_URL": NOTHING, "ANTHROPIC_AUTH_TOKEN": MARKER})
    assert (backend.key, backend.reachable) == (True, False)


def test_what_claude_costs_is_said_without_asking() -> None:
    backend = backend_of("claude", {})
    assert (backend.models, backend.version) == ([], "")
    assert backend.prices.keys() == {"claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"}
    assert backend.prices["claude-haiku-5-5"] == status.ModelPrice(
        as_of=dt.date(2026, 10, 8),
        tiers=[
            status.TokenPrice(prompt_tokens_max=100_000, input_usd=0.1, output_usd=0.5),
            status.TokenPrice(prompt_tokens_max=None, input_usd=0.5, output_usd=2.5),
        ],
    )


@pytest.mark.parametrize(
    "url", ["http://[", "a b", "\udcff", "http://\x1b[31m", "://", "ftp://x", "http://box:99999", "http://" + "x" * 300]
)
def test_an_address_that_is_none(url) -> None:
    for backend, variable in ((claude(url), "ANTHROPIC_BASE_URL"), (openai(url), "OPENAI_BASE_URL")):
        assert backend.reachable is False
        assert backend.detail.startswith(f"{variable} is '")
        assert backend.detail.endswith("give an address such as http://127.0.0.1:8000")
        assert (backend.url + backend.detail).isprintable()
    assert not ollama(url).reachable


def test_a_proxy_that_is_none(monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", "ftp://127.0.0.1:9")
    assert "proxy" in openai("http://gateway.example").detail


def test_passwords_in_addresses_are_not_shown() -> None:
    assert ollama(f"http://me:{MARKER}@127.0.0.1:9").url == NOTHING
    facts = collect(
        {
            "OLLAMA_HOST": f"me:{MARKER}@127.0.0.1:9",
            "ANTHROPIC_BASE_URL": f"https://{MARKER}@x/y",
            "OPENAI_BASE_URL": f"ftp://me:{MARKER}@x/v1?key={MARKER}",
            "OPENAI_API_KEY": MARKER,
        }
    )
    assert MARKER not in repr(facts)
    assert [backend.url for backend in facts.backends[1:3]] == ["https://x/y", "ftp://x/v1"]


@pytest.mark.parametrize("name", ["ollama", "openai-compatible"])
def test_neither_keys_nor_passwords_are_sent(serve, name) -> None:
    server = serve({"/api/version": VERSION, "/api/tags": TAGS, "/v1/models": MODELS})
    address = server.url.replace("//", f"//user:{MARKER}@")
    backend = backend_of(
        name,
        {
            "OLLAMA_HOST": address,
            "OPENAI_BASE_URL": address,
            "OLLAMA_API_KEY": MARKER,
            "OPENAI_API_KEY": MARKER,
            "ANTHROPIC_BASE_URL": NOTHING,
        },
    )
    assert (backend.reachable, backend.key, backend.url) == (True, True, server.url)
    asked = "".join(server.asked)
    assert len(server.asked) == 3
    assert MARKER not in asked
    assert "authorization" not in asked.lower()


@pytest.mark.parametrize("code", [401, 403])
def test_who_wants_to_see_a_key_is_reached(serve, code) -> None:
    server = serve(dict.fromkeys(["/api/version", "/v1/models"], (code, b"{}")))
    for backend in (ollama(server.url), openai(server.url)):
        assert (backend.reachable, backend.models) == (True, [])
        assert backend.detail == f"answered with HTTP {code}; it tells the rest to who shows a key, and none is sent"


# ---- what they have, and what it costs


def test_models_of_ollama_are_free_but_for_those_of_its_cloud(serve) -> None:
    tags = b'{"models": [{"name": "llama3.2:3b"}, {"name": "gpt-oss:120b-cloud"}]}'
    backend = ollama(serve({"/api/version": VERSION, "/api/tags": tags}).url)
    assert backend.prices == {"llama3.2:3b": FREE, "gpt-oss:120b-cloud": None}


MODELS = b'{"object": "list", "data": [{"id": "qwen3", "owned_by": "vllm"}, {"id": "claude-sonnet-5-5-20261007"}]}'


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("", "/v1/models"),
        ("/", "/v1/models"),
        ("/v1", "/v1/models"),
        ("/api/v1/", "/api/v1/models"),
        ("/v4", "/v4/models"),
    ],
)
def test_a_server_that_speaks_openai(serve, path, asked) -> None:
    server = serve({asked: MODELS})
    backend = openai(server.url + path)
    assert (backend.name, backend.url, backend.reachable) == ("openai-compatible", server.url + path, True)
    assert (backend.key, backend.version, backend.detail) == (None, "", "")
    assert backend.models == ["qwen3", "claude-sonnet-5-5-20261007"]
    assert backend.prices == dict.fromkeys(backend.models, FREE)
    assert len(server.asked) == 1


def test_models_of_a_provider_have_the_price_that_is_known_or_none(serve, monkeypatch) -> None:
    monkeypatch.setattr(status, "is_private", lambda host: host != "127.0.0.1")  # as if it were somebody else's
    backend = openai(serve({"/v1/models": MODELS}).url)
    sonnet = status.TokenPrice(prompt_tokens_max=None, input_usd=2.0, output_usd=10.0)
    assert backend.prices == {
        "qwen3": None,
        "claude-sonnet-5-5-20261007": status.ModelPrice(as_of=dt.date(2026, 10, 8), tiers=[sonnet]),
    }


def test_a_server_without_models(serve) -> None:
    backend = openai(serve({"/v1/models": b'{"data": []}'}).url)
    assert (backend.reachable, backend.detail, backend.prices) == (True, "no models", {})


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (b"<html>", PROTOCOL),
        (b"[]", PROTOCOL),
        (b'{"data": [{"id": 3}]}', PROTOCOL),
        (b'{"data": [{"name": "x"}]}', PROTOCOL),
        (b"[" * 100_000, PROTOCOL),
        ((404, b""), "answered with HTTP 404"),
        ((500, b""), "answered with HTTP 500"),
    ],
)
def test_a_server_that_speaks_something_else(serve, answer, detail) -> None:
    backend = openai(serve({"/v1/models": answer}).url)
    assert (backend.reachable, backend.detail, backend.models) == (False, detail, [])


def test_a_server_that_breaks_off(raw) -> None:
    url = raw(lambda connection, _: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"))
    backend = openai(url)
    assert (backend.reachable, backend.detail) == (False, PROTOCOL)


def test_a_server_of_openais_protocol_that_hangs(raw) -> None:
    backend = openai(raw(lambda _, ended: ended.wait()), timeout_s=0.2)
    assert (backend.reachable, backend.detail) == (False, "no answer within 0.2 s")


def test_nobody_is_asked_where_no_address_is_set() -> None:
    backend = openai(" ", {"OPENAI_API_KEY": MARKER})
    assert (backend.url, backend.reachable, backend.key) == ("", None, True)
    assert backend.detail == "set OPENAI_BASE_URL to use it"


def test_scripted_text_is_always_there_and_no_model() -> None:
    backend = backend_of("scripted", {})
    assert (backend.reachable, backend.key, backend.models, backend.prices) == (True, None, [], {})
    assert backend.detail == "text from a script, no model"


# ---- what others bring


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Put distributions there as an installer would, for this process."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def install(distribution: str, name: str, code: str) -> None:
        module = distribution.replace("-", "_")
        tmp_path.joinpath(f"{module}.py").write_text(code)
        about = tmp_path / f"{module}-1.2.dist-info"
        about.mkdir()
        about.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        about.joinpath("entry_points.txt").write_text(f"[{registry.GROUP}]\n{name} = {module}:make\n")

    yield install
    for module in set(sys.modules) - before:
        if module.startswith("status_test_"):
            del sys.modules[module]


def test_every_backend_is_shown(installed) -> None:
    installed("status-test-a", "echo", "make = print")
    shown = [backend.name for backend in collect({"OLLAMA_HOST": NOTHING}).backends]
    assert shown[-1] == "echo"
    assert sorted(shown) == sorted(registry.backend_names())


def test_what_others_bring_is_loaded_and_not_called(installed) -> None:
    installed("status-test-b", "echo", "def make(settings):\n    raise ZeroDivisionError\n")
    backend = backend_of("echo", {})
    assert (backend.usable, backend.reachable, backend.detail) == (True, None, "")
    assert backend.brought_by == "status-test-b 1.2"


@pytest.mark.parametrize(
    ("code", "detail"),
    [
        ("import no_such", "status-test-c brings it, and cannot be loaded: ModuleNotFoundError: No module named"),
        ("make = 3", "status-test-c names status_test_c:make, which is no function"),
        ("raise SystemExit('a\\nb')", "SystemExit: a b"),
    ],
)
def test_what_cannot_be_loaded_says_why_and_harms_nobody_else(installed, serve, code, detail) -> None:
    installed("status-test-c", "broken", code)
    server = serve({"/api/version": VERSION, "/api/tags": TAGS})
    environment = {"OLLAMA_HOST": server.url}
    backend = backend_of("broken", environment)
    assert (backend.usable, backend.reachable, backend.brought_by) == (False, None, "status-test-c 1.2")
    assert backend.detail.startswith(detail)
    assert backend_of("ollama", environment).reachable


def test_what_never_loads_is_not_waited_for(installed) -> None:
    """The module would wait for ever; it is let go of when the test ends."""
    gate = sys.modules["status_test_gate"] = types.ModuleType("status_test_gate")
    gate.opened = threading.Event()
    installed("status-test-d", "slow", "import status_test_gate\nstatus_test_gate.opened.wait()\nmake = print\n")
    before = set(threading.enumerate())
    backend = backend_of("slow", {}, timeout_s=0.3)
    assert (backend.usable, backend.detail) == (False, "it did not load within 0.3 s")
    gate.opened.set()
    for thread in set(threading.enumerate()) - before:
        thread.join()


def test_a_name_that_somebody_else_wants_cannot_be_used(installed, serve) -> None:
    installed("status-test-e", "ollama", "make = print")
    installed("status-test-f", "twice", "make = print")
    installed("status-test-g", "twice", "make = print")
    server = serve({"/api/version": VERSION, "/api/tags": TAGS})
    backend = ollama(server.url)
    assert (backend.usable, backend.reachable) == (False, None)
    assert backend.detail == "status-test-e wants to take this name, which is SMESH's own; remove it"
    assert not server.asked
    backend = backend_of("twice", {})
    assert (backend.usable, backend.detail) == (
        False,
        "status-test-f and status-test-g all bring a backend of this name; keep one",
    )


# ---- the rest


def test_the_installation(monkeypatch) -> None:
    facts = collect({"OLLAMA_HOST": NOTHING})
    assert facts.schema == "smesh.status/1"
    # smesh-cli is above this package, and need not be there.
    installed = {name: version for name, version in facts.distributions.items() if name != "smesh-cli"}
    assert installed == {name: metadata.version(name) for name in ("smesh-core", "smesh-runtime", "smesh-agent")}
    assert facts.engine == "numba"
    monkeypatch.setattr(status, "default_engine", lambda: "numpy")
    assert collect({"OLLAMA_HOST": NOTHING}).engine == "numpy"
    assert facts.cpu
    monkeypatch.setattr(status, "_ANALYZERS", ("no-such-distribution",))
    assert collect({"OLLAMA_HOST": NOTHING}).analyzers == {"no-such-distribution": None}


def test_a_system_that_does_not_name_its_processor(monkeypatch) -> None:
    monkeypatch.setattr(status, "_CPU_FACTS", status._CPU_FACTS.with_name("no such file"))
    assert collect({"OLLAMA_HOST": NOTHING}).cpu
