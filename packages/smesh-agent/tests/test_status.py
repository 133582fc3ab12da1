"""What `collect` finds out of backends that answer well, badly, slowly or not at all; all on loopback."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
import time
from importlib import metadata

import pytest
from smesh_agent import status
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


def ollama(url: str, **options):
    return collect({"OLLAMA_HOST": url}, **options).backends[0]


def claude(url: str, **options):
    return collect({"OLLAMA_HOST": NOTHING, "ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": MARKER}).backends[1]


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
    environment = {"OLLAMA_HOST": url, "ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": MARKER}
    before_s = time.monotonic()
    facts = collect(environment, timeout_s=1.0)
    assert [backend.detail for backend in facts.backends] == ["no answer within 1 s"] * 2
    assert time.monotonic() - before_s < 1.9


def test_claude_is_not_asked_without_a_key(serve) -> None:
    server = serve({})
    for key in ({}, {"ANTHROPIC_API_KEY": ""}):
        backend = collect({"OLLAMA_HOST": NOTHING, "ANTHROPIC_BASE_URL": server.url} | key).backends[1]
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


@pytest.mark.parametrize(
    "url", ["http://[", "a b", "\udcff", "http://\x1b[31m", "://", "ftp://x", "http://box:99999", "http://" + "x" * 300]
)
def test_an_address_that_is_none(url) -> None:
    backend = claude(url)
    assert (backend.reachable, backend.key) == (False, True)
    assert backend.detail in {"its address is not one that can be asked", "not running, or not reachable"}
    assert backend.url.isascii()
    assert not ollama(url).reachable


def test_passwords_in_addresses_are_not_shown() -> None:
    assert ollama(f"http://me:{MARKER}@127.0.0.1:9").url == NOTHING
    facts = collect({"OLLAMA_HOST": f"me:{MARKER}@127.0.0.1:9", "ANTHROPIC_BASE_URL": f"https://{MARKER}@x/y"})
    assert MARKER not in repr(facts)
    assert facts.backends[1].url == "https://x/y"


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
