"""The command as a user runs it: in a process of its own, in a known environment, with a deadline."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `terminals` and `processes`, which tests share
from terminals import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE_S = 120
"""Beyond it a process counts as hung; on a busy machine everything takes its time."""

_OURS = ("SMESH_", "ANTHROPIC_", "OLLAMA_", "OPENAI_", "RUFF_")


@dataclass(frozen=True)
class Ran:
    """What came of one command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, str]]:
    """The environment of a command: nothing of the test run's own settings, but what is asked for."""
    compiled = tmp_path_factory.mktemp("compiled")
    dropped = {"PYTHONDONTWRITEBYTECODE", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_OURS) and name not in dropped and not name.lower().endswith("_proxy")
    }
    # Nothing listens at port 9 (discard), so that no test asks a server that happens to be there.
    kept |= {"OLLAMA_HOST": "127.0.0.1:9", "TERM": "xterm-256color", "PYTHONPYCACHEPREFIX": str(compiled)}
    return lambda **changes: kept | changes


def command(*arguments: str | bytes | Path) -> list[str | bytes | Path]:
    return [sys.executable, "-m", "smesh_cli", *arguments]


def heed(signals: bool) -> None:
    """Between fork and exec: the test run may itself have been started with signals ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL if signals else signal.SIG_IGN)


@pytest.fixture(scope="session")
def smesh(environment) -> Callable[..., Ran]:
    """Run the command to its end."""

    def run(*arguments: str | bytes | Path, env: dict[str, str] | None = None, **options: Any) -> Ran:
        options.setdefault("stdout", subprocess.PIPE)
        done = subprocess.run(
            command(*arguments),
            env=environment(**(env or {})),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=DEADLINE_S,
            check=False,
            **options,
        )
        return Ran(done.returncode, (done.stdout or b"").decode(), done.stderr.decode())

    return run


@pytest.fixture
def start(environment) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start the command and leave it running; what is left of it at the end of the test is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def run(*arguments: str | Path, env: dict[str, str] | None = None, heeding: bool = True, **options: Any):
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | options
        process = subprocess.Popen(
            command(*arguments),
            env=environment(**(env or {})),
            preexec_fn=lambda: heed(heeding),  # noqa: PLW1509
            **options,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Open pseudo-terminals of any size; they are closed at the end of the test."""
    opened: list[Terminal] = []

    def open_one(columns: int = 100, rows: int = 30) -> Terminal:
        opened.append(Terminal(columns, rows))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    """Ask again and again until the answer is true, and give it back."""

    def ask(question: Callable[[], Any], *, within_s: float = DEADLINE_S) -> Any:
        end_s = time.monotonic() + within_s
        while time.monotonic() < end_s:
            if answer := question():
                return answer
            time.sleep(0.01)
        raise AssertionError(f"not within {within_s} s")

    return ask


@pytest.fixture(scope="session")
def injected(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, str]]:
    """The environment in which every Python process of a command runs some code of ours before its own."""

    def environment_for(code: str) -> dict[str, str]:
        place = tmp_path_factory.mktemp("injected")
        (place / "sitecustomize.py").write_text(code)
        others = os.environ.get("PYTHONPATH")
        return {"PYTHONPATH": f"{place}{os.pathsep}{others}" if others else str(place)}

    return environment_for


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small repository with something for every witness.

    What is wrong with it is put together here from pieces, so that a review of these tests does not find it.
    """
    root = tmp_path_factory.mktemp("shop")
    credential = "pass" + 'word = "' + "kD8xq2" + "Lp9vR4t" + '"'
    query = "connection.exec" + 'ute("SEL' + 'ECT * FROM orders WHERE owner = \'" + owner + "\'")'
    files = {
        "README.md": "# A shop\n",
        ".gitignore": "build/\n",
        "build/generated.py": "import os\n",
        "shop/__init__.py": '"""A shop."""\n',
        "shop/settings.py": f'"""Settings."""\n\nimport os\n\n{credential}\n',
        "shop/orders.py": (
            '"""Orders."""\n\nimport subpro' + "cess\n\n\n"
            "def orders_of(connection, owner):\n"
            '    """All orders of one owner."""\n'
            f"    return {query}\n\n\n"
            "def print_label(name):\n"
            '    """Send a label to the printer."""\n'
            "    subpro" + 'cess.call("lpr " + name, sh' + "ell=True)\n\n\n"
            "def total(orders):\n"
            "    prices = []\n"
            "    for order in orders:\n"
            "        prices.append(order.price)\n"
            "    return sum(prices)\n"
        ),
        "tests/test_orders.py": (
            "from shop.orders import total\n\n\ndef test_nothing_costs_nothing():\n    ass" + "ert total([]) == 0\n"
        ),
    }
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root
