"""What the command says of itself, and how little it loads to do so."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import smesh_cli

RECORD = """
import atexit, json, os, sys

def record():
    with open(os.path.join(os.environ["RECORDS"], f"{os.getpid()}.json"), "w") as stream:
        json.dump({"argv": sys.orig_argv, "modules": sorted(sys.modules)}, stream)

atexit.register(record)
"""


@pytest.fixture
def loaded(smesh, injected, tmp_path):
    """Run a command and say which modules each of its Python processes had loaded when it ended, by what it ran."""

    def run(*arguments: str | Path) -> tuple[set[str], dict[str, set[str]]]:
        records = tmp_path / "records"
        records.mkdir()
        ran = smesh(*arguments, env=injected(RECORD) | {"RECORDS": str(records)})
        assert (ran.code, ran.err) == (0, "")
        command, workers = set[str](), dict[str, set[str]]()
        for path in records.iterdir():
            record = json.loads(path.read_text())
            argv = record["argv"]
            if "smesh_agent.analyzers.worker" in argv:
                workers[argv[argv.index("smesh_agent.analyzers.worker") + 1]] = set(record["modules"])
            else:
                command = set(record["modules"])
        assert "smesh_cli.main" in command
        return command, workers

    return run


def test_numba_could_be_loaded() -> None:
    """Otherwise the tests below could not fail."""
    assert importlib.util.find_spec("numba") is not None
    assert importlib.util.find_spec("llvmlite") is not None


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["agents", "--help"],
        ["compare", "--help"],
        ["review", "--help"],
        ["resilience", "--help"],
        ["status", "-h"],
    ],
    ids=" ".join,
)
def test_help_loads_next_to_nothing(loaded, arguments) -> None:
    command, workers = loaded(*arguments)
    heavy = {"numba", "numpy", "asyncio", "rich", "msgspec", "httpx", "smesh_agent", "smesh_runtime", "smesh_core"}
    assert not command & heavy
    assert not workers


def test_status_does_not_load_numba(loaded) -> None:
    command, _ = loaded("status")
    assert {"smesh_agent.status", "rich"} <= command
    assert not command & {"numba", "llvmlite"}


@pytest.mark.parametrize("options", [[], ["--no-field"]], ids=str)
def test_review_does_not_load_numba_and_neither_do_its_workers(loaded, repository, options) -> None:
    command, workers = loaded("review", "--path", repository, *options)
    assert "smesh_agent.workflows.review" in command
    assert not command & {"numba", "llvmlite"}
    assert workers.keys() == {"bandit", "detect-secrets", "radon", "vulture"}
    for modules in workers.values():
        assert "smesh_agent.analyzers.worker" in modules
        assert not modules & {"numba", "llvmlite", "smesh_cli"}


@pytest.mark.parametrize("option", ["--help", "-h"])
@pytest.mark.parametrize("command", [[], ["agents"], ["bench"], ["compare"], ["review"], ["sim"], ["status"]], ids=str)
def test_help_has_an_example(smesh, command, option) -> None:
    ran = smesh(*command, option)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"Usage: {' '.join(['smesh', *command])} ")
    assert re.search(r"Example: +smesh ", ran.out)


def test_only_commands_that_exist_are_listed(smesh) -> None:
    out = smesh("--help").out
    listed = re.findall(r"^  (\w+)  ", out.partition("Commands:")[2], re.MULTILINE)
    assert listed == ["agents", "bench", "compare", "resilience", "review", "sim", "status"]
    for absent in ("code", "swarm", "node"):
        ran = smesh(absent)
        assert (ran.code, ran.out) == (2, "")
        assert f"No such command '{absent}'" in ran.err


def test_the_help_names_the_exit_codes(smesh) -> None:
    out = " ".join(smesh("review", "--help").out.split())
    assert "Exit codes: 0 done, 1 findings at or above --fail-on, 2 error" in out
    assert "130 stopped by Ctrl-C, 143 by SIGTERM" in out


def test_the_version(smesh) -> None:
    ran = smesh("--version")
    assert (ran.code, ran.out, ran.err) == (0, f"smesh, version {smesh_cli.__version__}\n", "")


def test_no_command_at_all_shows_the_help(smesh) -> None:
    ran = smesh()
    assert ran.code == 2
    assert "Usage: smesh" in ran.err


def test_completions_for_a_shell(smesh) -> None:
    ran = smesh(env={"_SMESH_COMPLETE": "bash_complete", "COMP_WORDS": "smesh rev", "COMP_CWORD": "1"})
    assert (ran.code, ran.out) == (0, "plain,review\n")


def test_the_installed_command_is_the_same(environment) -> None:
    script = Path(sys.executable).with_name("smesh.exe" if os.name == "nt" else "smesh")
    done = subprocess.run([script, "--version"], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout == f"smesh, version {smesh_cli.__version__}\n"
