"""`smesh status` as a user sees it; what it finds out, and how, is tested where it is found out."""

from __future__ import annotations

import http.server
import json
import threading
from importlib import metadata

import pytest

KEYS = {
    "schema", "distributions", "python", "platform", "cpu", "cores", "engine", "numpy", "numba", "analyzers",
    "backends",
}  # fmt: skip
BACKEND_KEYS = {
    "name", "url", "reachable", "key", "version", "models", "detail", "prices", "usable", "brought_by",
}  # fmt: skip
OURS = ["ollama", "claude", "openai-compatible", "scripted"]
MARKER = "marker-" + "0123456789abcdef"


@pytest.fixture
def server():
    """A loopback server that speaks a little Ollama and answers 404 to the rest; it keeps what it was asked."""

    answers = {
        "/api/version": b'{"version": "0.31.4"}',
        "/api/tags": b'{"models": [{"name": "qwen2.5-coder:7b", "size": 1}, {"name": "\\u001b[31mred"}]}',
        "/v1/models": json.dumps({"data": [{"id": f"model-{number}"} for number in range(40)]}).encode(),
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.server.asked.append(f"{self.requestline}\n{self.headers}")
            body = answers.get(self.path)
            head = f"HTTP/1.0 {200 if body else 404} As told\r\nContent-Length: {len(body or b'')}\r\n\r\n"
            self.wfile.write(head.encode() + (body or b""))  # in one piece, so that nothing waits for the rest

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        serving.asked = []
        serving.url = f"http://127.0.0.1:{serving.server_port}"
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def test_the_text_says_what_is_installed(smesh) -> None:
    ran = smesh("status")
    assert (ran.code, ran.err) == (0, "")
    rows = {line.split()[0]: line for line in ran.out.splitlines() if line.startswith("  ")}
    for name in ("smesh-core", "smesh-runtime", "smesh-agent", "smesh-cli", "ruff", "bandit", "radon", "vulture"):
        assert rows[name].split()[1] == metadata.version(name)
    assert f"fields on NumPy {metadata.version('numpy')}" in rows["engine"]
    assert f"networks compiled by numba {metadata.version('numba')}" in rows["engine"]
    assert "usable" in rows["processor"]
    _, _, backends = ran.out.partition("model backends\n")
    assert backends == (
        "  ollama             not reachable at http://127.0.0.1:9\n"
        "                     not running, or not reachable\n"
        "  claude             no key, not asked at https://api.anthropic.com\n"
        "                     set ANTHROPIC_API_KEY to use it\n"
        "                     claude-haiku-5-5: $0.10 in, $0.50 out\n"
        "                       prompts over 100,000 tokens: $0.50 in, $2.50 out\n"
        "                     claude-sonnet-5-5: $2.00 in, $10.00 out\n"
        "                     claude-opus-5-5: $4.00 in, $20.00 out\n"
        "  openai-compatible  not asked: set OPENAI_BASE_URL to use it\n"
        "  scripted           always there: text from a script, no model\n"
        "  prices             USD per million tokens, as of 2026-10-08; others unknown\n"
    )
    assert "\x1b" not in ran.out


def test_the_json_has_the_documented_shape(smesh) -> None:
    ran = smesh("status", "--json")
    assert (ran.code, ran.err) == (0, "")
    facts = ran.json
    assert facts.keys() == KEYS
    assert (facts["schema"], facts["engine"]) == ("smesh.status/1", "numba")
    assert facts["analyzers"].keys() == {"ruff", "bandit", "detect-secrets", "radon", "vulture"}
    assert facts["cores"] >= 1
    assert [backend["name"] for backend in facts["backends"]] == OURS
    assert all(backend.keys() == BACKEND_KEYS for backend in facts["backends"])
    ollama, claude, _, scripted = facts["backends"]
    assert (ollama["name"], ollama["reachable"], ollama["key"], ollama["models"]) == ("ollama", False, None, [])
    assert (claude["name"], claude["reachable"], claude["key"]) == ("claude", None, False)
    assert claude["prices"]["claude-haiku-5-5"] == {
        "as_of": "2026-10-08",
        "tiers": [
            {"prompt_tokens_max": 100_000, "input_usd": 0.1, "output_usd": 0.5},
            {"prompt_tokens_max": None, "input_usd": 0.5, "output_usd": 2.5},
        ],
    }
    assert (scripted["reachable"], scripted["detail"]) == (True, "text from a script, no model")


def test_ollama_and_its_models(smesh, server) -> None:
    """A proxy in the environment, which nothing answers at, is not asked about this machine."""
    proxies = dict.fromkeys(["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"], "http://127.0.0.1:9")
    env = {"OLLAMA_HOST": server.url} | proxies
    ran = smesh("status", env=env)
    assert f"  ollama             reachable at {server.url}: version 0.31.4\n" in ran.out
    assert "\n                     qwen2.5-coder:7b, \\x1b[31mred: free\n" in ran.out
    assert (ran.code, ran.err) == (0, "")
    ollama, *_ = smesh("status", "--json", env=env).json["backends"]
    assert (ollama["reachable"], ollama["version"]) == (True, "0.31.4")
    assert ollama["models"] == ["qwen2.5-coder:7b", "\x1b[31mred"]


def test_a_few_of_many_models_are_shown(smesh, server) -> None:
    ran = smesh("status", env={"OPENAI_BASE_URL": f"{server.url}/v1"})
    assert f"  openai-compatible  reachable at {server.url}/v1\n" in ran.out
    assert "\n                     model-0, model-1, model-2, model-3 and 36 more: free\n" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80


@pytest.mark.parametrize(("env", "is_plain"), [({}, False), ({"NO_COLOR": "1"}, True)], ids=str)
def test_on_a_narrow_terminal_lines_go_on_below_themselves(start, terminal, until, server, env, is_plain) -> None:
    place = terminal(60, 60)
    process = start("status", env=env | {"OPENAI_BASE_URL": server.url}, stdout=place.device, stdin=place.device)
    assert process.wait(60) == 0
    until(lambda: "unknown" in place.screen)
    lines = place.screen.rstrip().splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("  openai-compatible"))
    assert lines[begin + 1 : begin + 3] == [
        "                     model-0, model-1, model-2, model-3 and",
        "                     36 more: free",
    ]
    assert ("\x1b[" in place.written) is not is_plain


@pytest.mark.parametrize("options", [[], ["--json"]], ids=str)
def test_a_key_is_said_to_be_set_and_goes_nowhere(smesh, server, options) -> None:
    env = {"ANTHROPIC_API_KEY": MARKER, "ANTHROPIC_BASE_URL": f"http://user:{MARKER}@127.0.0.1:{server.server_port}"}
    ran = smesh("status", *options, env=env)
    assert (ran.code, ran.err) == (0, "")
    assert MARKER not in ran.out
    if options:
        (claude,) = (backend for backend in ran.json["backends"] if backend["name"] == "claude")
        assert (claude["key"], claude["reachable"], claude["url"]) == (True, True, server.url)
        assert claude["detail"] == "answered with HTTP 404"
    else:
        assert f"key set, reachable at {server.url}\n                     answered with HTTP 404\n" in ran.out
    assert len(server.asked) == 1
    assert MARKER not in server.asked[0]
    assert "authorization" not in server.asked[0].lower()


@pytest.mark.parametrize("options", [[], ["--json"]], ids=str)
@pytest.mark.parametrize("host", ["http://[", "http://\x1b[31m", "\udcff"], ids=ascii)
def test_a_nonsense_address_is_no_crash(smesh, host, options) -> None:
    env = {"OLLAMA_HOST": host, "ANTHROPIC_BASE_URL": host, "ANTHROPIC_API_KEY": MARKER}
    ran = smesh("status", *options, env=env)
    assert (ran.code, ran.err) == (0, "")
    assert "give an address such as http://127.0.0.1:8000" in " ".join(ran.out.split())
    assert all(c.isprintable() or c == "\n" for c in ran.out)
