"""Four analyzers on top of ruff: security, performance, style and documentation.

ruff reads exactly the tree's files, with none of the repository's own settings (a repository that silences a
rule for itself still gets it reviewed); ``noqa`` comments are honoured, for they are written next to the
code they are about. It is fast enough that four runs cost less than sharing one would complicate.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from smesh_agent.analyzers.base import Observation, Outcome, Severity, Unread
from smesh_agent.analyzers.host import merge, time_limit_s
from smesh_agent.analyzers.process import CrashError, Slots, run_process
from smesh_agent.analyzers.rules import Rule, rules
from smesh_agent.errors import AnalyzerFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from smesh_agent.tree import SourceFile, Tree

__all__ = ["RuffDocs", "RuffPerformance", "RuffSecurity", "RuffStyle", "is_public_api"]

# New enough that no syntax in use is taken for an error.
_TARGET_VERSION = "py314"
# Layout is the formatter's business.
_LAYOUT = ("E1", "E2", "E3", "E401", "E5", "E70", "W1", "W2", "W3", "W5")
# Where bandit looks at the arguments before it says how bad a call is, ruff says so in its message only.
_SEEMS_SAFE = "seems safe"
_NOT_API_DIRECTORIES = frozenset(
    {
        "test", "tests", "testing", "t", "fixtures", "benchmark", "benchmarks", "bench",
        "doc", "docs", "example", "examples", "sample", "samples", "demo", "demos",
        "script", "scripts", "tool", "tools", "migrations",
    }
)  # fmt: skip
_NOT_API_FILES = frozenset({"setup.py", "conftest.py", "noxfile.py", "fabfile.py", "tasks.py", "manage.py"})
_TEST_FILE = re.compile(r"(test_.*|.*_tests?|tests?)\.py")


# Anything else in the place of a code, such as invalid-syntax, says that the file was not read.
_RULE_CODE = re.compile(r"[A-Z]+\d+")


class _Position(msgspec.Struct):
    row: int


class _Fix(msgspec.Struct):
    message: str | None = None


class _Diagnostic(msgspec.Struct):
    """What we read of one entry of ruff's JSON."""

    filename: str
    message: str
    location: _Position
    code: str | None = None
    name: str | None = None
    fix: _Fix | None = None


class _RuffAnalyzer:
    """One selection of rules."""

    name: str
    role: str
    lineage: str
    select: tuple[str, ...]
    ignore: tuple[str, ...] = ()

    def __init__(self, *, slots: Slots | None = None, timeout_s: float | None = None) -> None:
        self._slots = slots or Slots()
        self._timeout_s = timeout_s

    def files(self, tree: Tree) -> Sequence[SourceFile]:
        """The files this analyzer reads."""
        return tree.python()

    async def run(self, tree: Tree) -> Outcome:
        """Read the whole tree once.

        Raises:
            AnalyzerFailedError: ruff crashed, hung, is not there, or answered something unreadable.
        """
        files = self.files(tree)
        return await self._read(tree, files) if files else Outcome([], [])

    async def _read(self, tree: Tree, files: Sequence[SourceFile]) -> Outcome:
        """Ask ruff about these files; where it dies on one of them, halve them until that one stands alone.

        ruff overflows its stack on code that is nested some thousand deep, and does not say where.
        """
        try:
            return await self._ask(tree, files)
        except CrashError as error:
            if not error.signal_name:
                raise
            if len(files) == 1:
                return Outcome([], [Unread(files[0].path, f"{self.name} was ended by {error.signal_name}")])
        middle = len(files) // 2
        return merge([await self._read(tree, files[:middle]), await self._read(tree, files[middle:])])

    async def _ask(self, tree: Tree, files: Sequence[SourceFile]) -> Outcome:
        with _argument_file(files) as arguments:
            answer = await run_process(
                self.name,
                self._command(arguments),
                slots=self._slots,
                timeout_s=self._timeout_s or time_limit_s(files),
                cwd=os.fspath(tree.root),
                environment={k: v for k, v in os.environ.items() if not k.startswith("RUFF_")},
            )
        return await asyncio.to_thread(self._outcome, answer, tree, files)

    def _command(self, arguments: str) -> list[str]:
        command = [_executable(self.name), "check", "--isolated", "--no-cache", "--exit-zero", "--quiet"]
        command += ["--no-respect-gitignore", "--no-force-exclude"]
        command += ["--output-format=json", f"--target-version={_TARGET_VERSION}"]
        command += [f"--select={','.join(self.select)}"]
        command += [f"--ignore={','.join(self.ignore)}"] if self.ignore else []
        return [*command, f"@{arguments}"]

    def _outcome(self, answer: bytes, tree: Tree, files: Sequence[SourceFile]) -> Outcome:
        try:
            diagnostics = msgspec.json.decode(answer, type=list[_Diagnostic])
        except msgspec.DecodeError as error:
            raise AnalyzerFailedError(self.name, f"unreadable answer: {error}") from None
        # ruff names files by absolute path, with U+FFFD for what is not UTF-8 in it.
        lead = os.fsencode(tree.root).decode("utf-8", errors="replace").rstrip("/") + "/"
        known = {file.path for file in files}
        observations, unread = list[Observation](), dict[str, Unread]()
        for diagnostic in diagnostics:
            path = Path(diagnostic.filename).as_posix().removeprefix(lead)
            if path not in known:
                raise AnalyzerFailedError(self.name, f"speaks of a file it was not given: {path}")
            if diagnostic.code == "E902" or not _RULE_CODE.fullmatch(diagnostic.code or ""):
                # The first of a file is the one that makes sense; the others follow from it.
                unread.setdefault(path, Unread(path, _why_unread(diagnostic)))
            else:
                observations.append(_observation(path, diagnostic))
        seen = [observation for observation in observations if observation.path not in unread]
        return merge([Outcome(seen, list(unread.values()))])


class RuffSecurity(_RuffAnalyzer):
    """The rules that ruff took from bandit; the two are one lineage."""

    name = "ruff-security"
    role = "security"
    lineage = "bandit-rules"
    select = ("S",)


class RuffPerformance(_RuffAnalyzer):
    """perflint and flake8-comprehensions."""

    name = "ruff-performance"
    role = "performance"
    lineage = "ruff-performance"
    select = ("PERF", "C4")


class RuffStyle(_RuffAnalyzer):
    """pyflakes, pycodestyle, flake8-bugbear and flake8-simplify, without layout."""

    name = "ruff-style"
    role = "style"
    lineage = "pyflakes"
    select = ("E", "F", "W", "B", "SIM")
    ignore = _LAYOUT


class RuffDocs(_RuffAnalyzer):
    """Docstrings that the public interface lacks."""

    name = "ruff-docs"
    role = "documentation"
    lineage = "pydocstyle"
    select = ("D100", "D101", "D102", "D103", "D104", "D106", "D419")

    def files(self, tree: Tree) -> Sequence[SourceFile]:
        """The modules that others import; an empty one has nothing to be said about it."""
        return [file for file in tree.python(stubs=False) if file.size_bytes and is_public_api(file.path)]


def is_public_api(path: str) -> bool:
    """Whether a module is for others to import: no test, example, script or private module."""
    *directories, name = path.split("/")
    if name in _NOT_API_FILES or _TEST_FILE.fullmatch(name) or not name.endswith(".py"):
        return False
    if any(part in _NOT_API_DIRECTORIES or part.startswith(("_", ".")) for part in directories):
        return False
    return name == "__init__.py" or not name.startswith("_")


def _executable(name: str) -> str:
    from ruff import find_ruff_bin  # type: ignore[import-untyped]  # noqa: PLC0415 - needed only here

    try:
        return str(find_ruff_bin())
    except FileNotFoundError:
        raise AnalyzerFailedError(name, "the ruff program is not installed") from None


@contextlib.contextmanager
def _argument_file(files: Sequence[SourceFile]) -> Iterator[str]:
    """A file of arguments: one a line, none of which can be taken for an option or for another such file."""
    descriptor, path = tempfile.mkstemp(prefix="smesh-files-", suffix=".txt")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.writelines(f"./{file.path}\n" for file in files)
        yield path
    finally:
        Path(path).unlink()


def _why_unread(diagnostic: _Diagnostic) -> str:
    if diagnostic.code not in {None, "invalid-syntax"}:
        return diagnostic.message.partition("\n")[0]
    return f"syntax error in line {diagnostic.location.row}: {diagnostic.message}"


def _observation(path: str, diagnostic: _Diagnostic) -> Observation:
    code = diagnostic.code or ""
    rule = rules().for_ruff(code)
    return Observation(
        rule=code,
        path=path,
        line=diagnostic.location.row,
        message=diagnostic.message,
        kind=rule.kind or diagnostic.name or code.lower(),
        severity=_severity(rule, diagnostic),
        confidence=rule.confidence,
        advice=rule.advice or _own_advice(diagnostic),
    )


def _severity(rule: Rule, diagnostic: _Diagnostic) -> Severity:
    if (diagnostic.code or "").startswith("S60") and _SEEMS_SAFE in diagnostic.message:
        return Severity.LOW
    return rule.severity


def _own_advice(diagnostic: _Diagnostic) -> str:
    proposal = diagnostic.fix.message if diagnostic.fix else None
    return f"{(proposal or diagnostic.message).rstrip('.')}."
