"""The workspace is what it promises to be: four distributions, their metadata, and nothing tracked that must not be."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("core", "runtime", "agent", "cli")


def project(name: str) -> dict:
    return tomllib.loads((ROOT / "packages" / f"smesh-{name}" / "pyproject.toml").read_text(encoding="utf-8"))


ROOT_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_root_builds_nothing_and_pins_everything() -> None:
    assert "project" not in ROOT_PROJECT
    assert "exclude-newer" in ROOT_PROJECT["tool"]["uv"]
    pinned = {re.split(r"==", pin)[0] for pin in ROOT_PROJECT["tool"]["uv"]["constraint-dependencies"]}
    direct = [d for name in PACKAGES for d in project(name)["project"]["dependencies"]]
    direct += ROOT_PROJECT["dependency-groups"]["dev"]
    for requirement in direct:
        distribution = re.split(r"[\[<>=;! ]", requirement)[0]
        assert distribution in pinned or distribution.startswith("smesh-"), f"{distribution} is not pinned"


@pytest.mark.parametrize("name", PACKAGES)
def test_each_distribution_stands_on_its_own(name: str) -> None:
    folder, metadata = ROOT / "packages" / f"smesh-{name}", project(name)["project"]
    assert metadata["dynamic"] == ["version"]
    assert metadata["license"] == "MIT OR Apache-2.0"
    for requirement in metadata["dependencies"]:
        assert re.search(r">=[\d.]+,<\d", requirement), f"{requirement} is no range"
    for file in ("README.md", "CHANGELOG.md", f"src/smesh_{name}/py.typed"):
        assert (folder / file).is_file()
    for licence in ("LICENSE-MIT", "LICENSE-APACHE"):
        assert (folder / licence).read_bytes() == (ROOT / licence).read_bytes()


@pytest.mark.parametrize("name", PACKAGES)
def test_the_changelog_speaks_of_the_version(name: str) -> None:
    folder = ROOT / "packages" / f"smesh-{name}"
    version = re.search(r'__version__ = "(.+)"', (folder / f"src/smesh_{name}/__init__.py").read_text())[1]
    assert f"## {version}" in (folder / "CHANGELOG.md").read_text(encoding="utf-8")


def test_numba_is_there_so_that_not_loading_it_means_something() -> None:
    assert importlib.util.find_spec("numba") is not None


def test_nothing_tracked_names_a_registry_or_locks_to_one() -> None:
    if not (ROOT / ".git").exists():
        pytest.fail("this test needs the repository's own .git")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    hosts = re.compile("|".join(["py" + r"pi\.org", "python" + "hosted", r"registry\.np" + "mjs"]))
    for path in filter(None, tracked.stdout.split("\0")):
        assert Path(path).name != "uv.lock"
        file = ROOT / path
        if file.is_file():
            assert not hosts.search(file.read_text(encoding="utf-8", errors="replace")), f"{path} names a registry"
