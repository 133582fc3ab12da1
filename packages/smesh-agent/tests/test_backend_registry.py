"""The registry of backends, with distributions that are really installed into a folder of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
from smesh_agent.backends.base import Settings
from smesh_agent.backends.registry import backend_for_model, backend_names, make_backend
from smesh_agent.errors import BackendSettingsError

if TYPE_CHECKING:
    from pathlib import Path

BUILT_IN = ["claude", "ollama", "openai-compatible", "scripted"]

# A whole backend, as a third party writes it.
ECHO = """
from smesh_agent.backends.base import Completion, Delta, ModelInfo, StopReason, Usage


class Echo:
    name, model, is_local = "echo", "parrot-1", True

    def __init__(self, settings):
        self.again = int(settings.options.get("again", "1"))

    async def stream(self, request):
        text = request.messages[-1].text * self.again
        yield Delta(text)
        usage = Usage(tokens_in=len(text), tokens_out=len(text), is_counted=False)
        yield Completion(text=text, stop=StopReason.END, usage=usage, model=self.model)

    async def count_tokens(self, request):
        return None

    async def models(self):
        return [ModelInfo(name=self.model)]

    async def close(self):
        pass
"""

ASK = """
import asyncio, json, sys
from smesh_agent.backends.base import Message, Request, Settings
from smesh_agent.backends.registry import backend_names, make_backend
from smesh_agent.errors import BackendSettingsError


async def ask(backend):
    request = Request(messages=(Message(role="user", text="hello"),))
    return [piece async for piece in backend.stream(request)][-1].text


name, options = sys.argv[1], json.loads(sys.argv[2])
said = {"names": backend_names(), "loaded": sorted({"httpx", "anthropic", "echo_backend"} & sys.modules.keys())}
try:
    said["text"] = asyncio.run(ask(make_backend(name, Settings(options=options))))
except BackendSettingsError as error:
    said["error"] = str(error)
print(json.dumps(said))
"""


def install(folder: Path, distribution: str, name: str, target: str, code: str = ECHO) -> None:
    """Put a distribution there as an installer would."""
    module = target.partition(":")[0]
    folder.joinpath(f"{module}.py").write_text(textwrap.dedent(code), encoding="utf-8")
    about = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
    about.mkdir()
    about.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    about.joinpath("entry_points.txt").write_text(f"[smesh.backends]\n{name} = {target}\n")


def ask(folder: Path, name: str, **options: str) -> dict[str, Any]:
    """In a process of its own, where the folder's distributions are installed."""
    code = f"import sys; sys.path.append({str(folder)!r})\n{ASK}"
    done = subprocess.run(
        [sys.executable, "-c", code, name, json.dumps(options)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_a_distribution_adds_a_backend(tmp_path: Path) -> None:
    install(tmp_path, "smesh-echo", "echo", "echo_backend:Echo")
    said = ask(tmp_path, "echo", again="2")
    assert said == {"names": [*BUILT_IN, "echo"], "loaded": [], "text": "hellohello"}


def test_whoever_cannot_be_loaded_is_named_and_harms_nobody_else(tmp_path: Path) -> None:
    install(tmp_path, "smesh-broken", "broken", "broken_backend:make", "import no_such\nmodule")
    install(tmp_path, "smesh-echo", "echo", "echo_backend:Echo")
    assert ask(tmp_path, "broken")["error"] == (
        "broken: smesh-broken brings it, and cannot be loaded: ModuleNotFoundError: No module named 'no_such'"
    )
    assert ask(tmp_path, "echo")["text"] == "hello"
    assert ask(tmp_path, "scripted")["names"] == [*BUILT_IN, "broken", "echo"]


@pytest.mark.parametrize(
    ("code", "target", "reason"),
    [
        ("make = 3", "x:make", "smesh-x names x:make, which is no function"),
        ("", "x:make", "cannot be loaded: AttributeError: module 'x' has no attribute 'make'"),
        ("def make(settings): raise KeyError('a\\nb')", "x:make", "smesh-x brings it, and cannot make it: KeyError"),
        ("class make:\n    def __init__(self, settings): self.name = 'x'", "x:make", "it has no model and no is_local"),
        (ECHO, "x:Echo", "smesh-x makes a backend that calls itself 'echo'"),
        (
            "from smesh_agent.errors import BackendSettingsError\n"
            "def make(settings): raise BackendSettingsError('x', 'needs a key')",
            "x:make",
            "x: needs a key",
        ),
    ],
)
def test_what_is_wrong_with_a_distribution_is_said_in_a_line(
    tmp_path: Path, code: str, target: str, reason: str
) -> None:
    install(tmp_path, "smesh-x", "x", target, code)
    error = ask(tmp_path, "x")["error"]
    assert reason in error
    assert "\n" not in error
    assert error.startswith("x: ")


@pytest.mark.parametrize("name", ["claude", "cassette"])
def test_nobody_takes_a_name_of_ours(tmp_path: Path, name: str) -> None:
    install(tmp_path, "smesh-thief", name, "echo_backend:Echo")
    said = ask(tmp_path, name)
    assert said["names"] == BUILT_IN
    assert said["error"] == f"{name}: smesh-thief wants to take this name, which is SMESH's own; remove it"


def test_two_of_one_name_are_none(tmp_path: Path) -> None:
    install(tmp_path, "smesh-echo", "echo", "echo_backend:Echo")
    install(tmp_path, "other-echo", "echo", "other_backend:Echo")
    said = ask(tmp_path, "echo")
    assert said["names"] == [*BUILT_IN, "echo"]
    assert said["error"] == "echo: other-echo and smesh-echo all bring a backend of this name; keep one"


@pytest.mark.parametrize(
    ("name", "meant"), [("olama", "; did you mean ollama?"), ("openai", "; did you mean openai-compatible?"), ("", "")]
)
def test_an_unknown_name_is_told_what_there_is(name: str, meant: str) -> None:
    with pytest.raises(BackendSettingsError) as raised:
        make_backend(name, Settings())
    assert str(raised.value) == f"there is no backend {name!r}: there are {', '.join(backend_names())}{meant}"


def test_a_cassette_is_not_made_by_name() -> None:
    with pytest.raises(BackendSettingsError, match=r"^cassette: .* from its file"):
        make_backend("cassette", Settings())


@pytest.mark.parametrize(
    ("name", "model"),
    [("ollama", "llama3"), ("claude", "claude-sonnet-5-5"), ("openai-compatible", "x"), ("scripted", "")],
)
async def test_each_of_ours_is_made_under_its_name(name: str, model: str) -> None:
    environment = {"ANTHROPIC_API_KEY": "none", "OPENAI_BASE_URL": "http://127.0.0.1:1"}
    backend = make_backend(
        name,
        Settings(model=model, base_url="" if name == "scripted" else "http://127.0.0.1:1", environment=environment),
    )
    assert backend.name == name
    await backend.close()


def test_a_model_says_whose_it_is() -> None:
    assert backend_for_model("claude-haiku-5-5") == "claude"
    assert backend_for_model("qwen2.5-coder:7b") == "ollama"
    assert backend_for_model("anthropic/claude-haiku-5-5") == "ollama"
