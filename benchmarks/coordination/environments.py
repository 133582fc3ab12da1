"""An environment of its own for each system: what is installed into it, how large it is, and running an adapter in it.

Versions are pinned, and nothing that was published after `PUBLISHED_BEFORE` is considered, so that what they depend on
resolves today as it did when it was measured. SMESH is installed from this checkout, as it stands.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FOLDER = HERE / "build"
PUBLISHED_BEFORE = "2026-11-22T00:00:00Z"
_INSTALL_S = 900
_OURS = ("smesh-core", "smesh-runtime", "smesh-agent")


class System(NamedTuple):
    """A system that is compared.

    Attributes:
        key: its name on the command line, and of its environment.
        name: its name in tables.
        requires: what is installed, with versions.
        imports: the modules that its adapter imports.
    """

    key: str
    name: str
    requires: tuple[str, ...]
    imports: tuple[str, ...]

    @property
    def adapter(self) -> Path:
        return HERE / "adapters" / f"on_{self.key.replace('-', '_')}.py"


SYSTEMS = {
    system.key: system
    for system in [
        System("queue", "asyncio.Queue", (), ("asyncio",)),
        System("smesh", "SMESH", _OURS, ("smesh_core.payload", "smesh_runtime", "smesh_agent.work")),
        System("autogen", "autogen-core", ("autogen-core==0.7.5",), ("autogen_core",)),
        System(
            "langgraph",
            "LangGraph",
            ("langgraph==1.2.22", "langgraph-checkpoint-sqlite==3.1.2"),
            ("langgraph.graph",),
        ),
        System("openai-agents", "openai-agents", ("openai-agents==0.24.0",), ("agents",)),
        System("pydantic-ai", "pydantic-ai", ("pydantic-ai==2.62.0",), ("pydantic_ai", "pydantic_ai.models.function")),
        System("crewai", "CrewAI", ("crewai==1.15.30",), ("crewai",)),
    ]
}


class UnavailableError(Exception):
    """A system cannot be installed or run here; says why, in one line."""


def install(system: System, folder: Path) -> Path:
    """Make a system's environment, unless it is there already; returns its Python.

    Raises:
        UnavailableError: it cannot be installed.
    """
    home = folder / system.key
    python = home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp = home / "installed.json"
    wanted = json.dumps([system.requires, PUBLISHED_BEFORE, sys.version])
    is_there = stamp.exists() and stamp.read_text(encoding="utf-8") == wanted
    if not is_there:
        _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(home))
    if system.requires and (not is_there or system.requires is _OURS):
        _uv("pip", "install", "--quiet", "--python", str(python), "--exclude-newer", PUBLISHED_BEFORE, *_wanted(system))
    stamp.write_text(wanted, encoding="utf-8")
    return python


def _wanted(system: System) -> list[str]:
    if system.requires is not _OURS:
        return list(system.requires)
    fresh = [option for name in _OURS for option in ("--reinstall-package", name)]
    return [*fresh, *(str(ROOT / "packages" / name) for name in _OURS)]


def _uv(*arguments: str) -> None:
    """Run uv, not from within this workspace, whose pins are not for others."""
    uv = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    try:
        done = subprocess.run(  # noqa: S603
            [uv, *arguments], check=False, capture_output=True, text=True, timeout=_INSTALL_S, cwd=tempfile.gettempdir()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"not installed: {error}") from None
    if done.returncode:
        raise UnavailableError(f"not installed: {' '.join(done.stderr.split())[:300]}")


_LOOK = """
import importlib.metadata as metadata, json, pathlib, sysconfig
site = pathlib.Path(sysconfig.get_paths()["purelib"])
files = [file for file in site.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
size = sum(file.stat().st_size for file in files)
versions = {one.metadata["Name"]: one.version for one in metadata.distributions(path=[str(site)])}
print(json.dumps({"packages": len(versions), "bytes": size, "versions": versions}))
"""


def footprint(python: Path) -> dict[str, Any]:
    """Packages, their versions, and bytes that an environment holds, without compiled caches."""
    done = subprocess.run([python, "-c", _LOOK], check=True, capture_output=True, text=True)  # noqa: S603
    looked: dict[str, Any] = json.loads(done.stdout)
    return looked


def import_ms(python: Path, system: System) -> float:
    """How long a process of its own takes to import what the system's adapter imports."""
    code = f"import time; t = time.perf_counter(); import {', '.join(system.imports)}; print(time.perf_counter() - t)"
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(  # noqa: S603
            [python, "-c", code], check=True, capture_output=True, text=True, env=_surroundings(scratch)
        )
    return float(done.stdout.split()[-1]) * 1000


def run_adapter(python: Path, system: System, *options: str, within_s: float = 600.0) -> dict[str, Any]:
    """Run a system's adapter in its environment; returns the line of JSON that it prints.

    Raises:
        UnavailableError: it printed none.
    """
    with tempfile.TemporaryDirectory() as scratch:
        command = [str(python), str(system.adapter), *options]
        try:
            done = subprocess.run(  # noqa: S603
                command,
                check=False,
                capture_output=True,
                text=True,
                timeout=within_s,
                env=_surroundings(scratch),
                cwd=scratch,
            )
        except subprocess.TimeoutExpired:
            raise UnavailableError(f"no answer within {within_s:g} s") from None
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise UnavailableError(f"does not run: {last[0][:300]}")
    said: dict[str, Any] = json.loads(lines[-1])
    return said


def _surroundings(scratch: str) -> dict[str, str]:
    """What a process inherits, but that whatever it keeps on the side is gone with it."""
    return os.environ | {
        "HOME": scratch,
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPATH": "",
        "TMPDIR": scratch,
        "XDG_CACHE_HOME": scratch,
        "XDG_CONFIG_HOME": scratch,
        "XDG_DATA_HOME": scratch,
    }


def replace_measured(readme: Path, measured: str, *, mark: str = "measured") -> None:
    """Put what was measured between the marks of a README.

    Raises:
        ValueError: it has no such marks.
    """
    begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    text = readme.read_text(encoding="utf-8")
    head, found, rest = text.partition(begin)
    _, found_end, tail = rest.partition(end)
    if not (found and found_end):
        raise ValueError(f"{readme} has no place for a table: {begin.strip()} … {end}")
    block = "\n".join(one.rstrip() for one in measured.strip().splitlines())
    readme.write_text(f"{head}{begin}\n```text\n{block}\n```\n\n{end}{tail}", encoding="utf-8")
