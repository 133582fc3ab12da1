"""README and docs are true: their code runs, their commands work, their links lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from smesh_cli.main import cli

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "packages/*/README.md", "benchmarks/*.md", "benchmarks/*/*.md")
    for page in ROOT.glob(pattern)
)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SETUP = "python3 -m pip install -q --upgrade --target .uv uv && .uv/bin/uv run --all-packages "
# Commands that CI runs itself, or that would start the suite inside itself; checked to be CI's own words.
RUN_ELSEWHERE = (
    ".uv/bin/uv run --all-packages ruff",
    ".uv/bin/uv run --all-packages mypy",
    ".uv/bin/uv run --all-packages lint-imports",
    ".uv/bin/uv run --all-packages coverage",
    ".uv/bin/uv run --all-packages python benchmarks/",  # by tests/test_benchmarks.py, in small
    "scripts/check-wheels",
)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    return [body for lang, body in BLOCK.findall(page.read_text(encoding="utf-8")) if lang == language]


def commands(page: Path) -> list[str]:
    return [line[2:] for body in blocks(page, "console") for line in body.splitlines() if line.startswith("$ ")]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """A directory in which the commands of the docs make sense: a small project, here and as ./my-repo."""
    here = tmp_path_factory.mktemp("docs")
    for folder in (here, here / "my-repo"):
        folder.mkdir(exist_ok=True)
        (folder / "app.py").write_text(
            "import subprocess\n\n\ndef run(text):\n    return subprocess.run(text, shell=True)\n"
        )
    return here


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=name_of)
def test_python_in_the_docs_runs(page: Path, tmp_path: Path) -> None:
    """All blocks of a page, one after the other, as a reader would type them."""
    script = "\n".join(blocks(page, "python"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


ALL_COMMANDS = [(page, command) for page in PAGES for command in commands(page)]


@pytest.mark.parametrize(("page", "command"), ALL_COMMANDS, ids=[f"{name_of(p)}: {c}" for p, c in ALL_COMMANDS])
def test_commands_in_the_docs_work(page: Path, command: str, workplace: Path) -> None:
    if command.startswith(SETUP):
        command = command.removeprefix(SETUP)
        if command.startswith("pytest"):
            assert SETUP + command in README.splitlines()
            return
    if command.startswith(RUN_ELSEWHERE):
        return
    command = command.removeprefix(".uv/bin/uv run --all-packages ")
    program, *arguments = shlex.split(command)
    assert program == "smesh", f"{name_of(page)} has a command that no test runs: {command}"
    run = [sys.executable, "-m", "smesh_cli", *arguments]
    done = subprocess.run(run, cwd=workplace, capture_output=True, text=True, timeout=120)
    assert done.returncode == (1 if "--fail-on" in arguments else 0), done.stderr
    assert done.stdout.strip()


README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_two_set_up_commands_stand_alone_on_their_lines() -> None:
    assert [line for line in README.splitlines() if line.startswith("python3 -m pip install")] == [
        SETUP + "smesh review --path .",
        SETUP + "pytest -n auto",
    ]


def test_ci_runs_what_contributing_says() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for step in ("ruff format --check .", "ruff check .", "mypy", "lint-imports", "pip check", "scripts/check-wheels"):
        assert step in ci
    for command in commands(ROOT / "CONTRIBUTING.md"):
        if "coverage" in command:
            assert command.partition("--all-packages")[2] in ci


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    for target in targets:
        path, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = page if not path else (page.parent / path)
        assert file.exists(), f"{target} does not exist"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{target}: no such heading"


def test_every_page_of_the_docs_is_reachable_from_their_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        relative = page.relative_to(ROOT / "docs").as_posix()
        assert relative == "README.md" or f"({relative})" in index, f"{relative} is not in docs/README.md"


def test_the_command_line_reference_is_what_the_commands_say() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/cli_reference.py", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_commands_that_do_not_exist_are_not_promised() -> None:
    """Every `smesh WORD` in the docs is a command of this version."""
    known = set(cli.list_commands(None))  # type: ignore[arg-type]
    for page in PAGES:
        for word in re.findall(r"`smesh ([a-z]+)", page.read_text(encoding="utf-8")):
            assert word in known, f"{name_of(page)} speaks of smesh {word}"


def test_an_error_in_a_block_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        textwrap.dedent("""\
        ```python
        assert False
        ```
        """)
    )
    with pytest.raises(AssertionError):
        test_python_in_the_docs_runs(page, tmp_path)


def test_the_tests_that_the_rules_of_networks_name_exist() -> None:
    rows = re.findall(
        r"^\| .+ \| `(test_\w+\.py)` \| (.+) \|$",
        (ROOT / "docs/reference/network.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert len(rows) > 30
    for file, named in rows:
        source = (ROOT / "packages/smesh-core/tests" / file).read_text(encoding="utf-8")
        for test in re.findall(r"`(test_\w+)`", named):
            assert f"def {test}(" in source, f"{file} has no {test}"
