"""How long a review takes: real code, the standard library of the Python that runs this, in growing portions.

The baseline is the same analyzers' own command lines on the same files, one after the other, as a shell script would
run them. What the field itself adds is the difference between the review and the same analyzers side by side
(`--no-field`).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import machine

SCRIPTS = Path(sysconfig.get_path("scripts"))
RUFF = "S,PERF,C4,E,F,W,B,SIM,D100,D101,D102,D103,D104"


def portion(root: Path, lines_wanted: int) -> int:
    """Copy files of the standard library under `root` until they have so many lines; returns how many they have."""
    library, lines = Path(sysconfig.get_path("stdlib")), 0
    skipped = {"site-packages", "test", "tests", "lib2to3", "idlelib", "__pycache__"}
    for source in sorted(library.rglob("*.py")):
        relative = source.relative_to(library)
        if skipped.isdisjoint(relative.parts) and lines < lines_wanted:
            (root / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, root / relative)
            lines += source.read_bytes().count(b"\n")
    return lines


def timed(command: list[str], cwd: Path) -> float:
    """Seconds that a command takes; its findings make it exit with 1, which is no failure."""
    started = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)  # noqa: S603
    if done.returncode not in {0, 1, 3}:
        sys.exit(f"{command[0]} exited with {done.returncode}: {done.stderr.decode()[-500:]}")
    return time.perf_counter() - started


def one_after_another(root: Path) -> float:
    """Seconds that the analyzers' own commands take in turn."""
    commands = [
        [str(SCRIPTS / "ruff"), "check", "--isolated", "--no-cache", f"--select={RUFF}", "--output-format=json", "."],
        [str(SCRIPTS / "bandit"), "-q", "-r", "-f", "json", "."],
        [str(SCRIPTS / "detect-secrets"), "scan", "--all-files", "."],
        [str(SCRIPTS / "radon"), "cc", "-j", "."],
        [str(SCRIPTS / "vulture"), "."],
    ]
    return sum(timed(command, root) for command in commands)


def review(root: Path, *options: str) -> dict[str, object]:
    """The JSON report of a review, with the seconds of the whole process under `seconds`."""
    command = [sys.executable, "-m", "smesh_cli", "review", "--path", str(root), "--format", "json", *options]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=True)  # noqa: S603
    report: dict[str, object] = json.loads(done.stdout)
    return report | {"seconds": time.perf_counter() - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, nargs="+", default=[5_000, 50_000, 200_000])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print(machine.describe(), f"({os.cpu_count()} seen)")
    print(f"median of {arguments.repeats} runs, seconds; ratio: one after another / review, above 1 is faster than it")
    print("    lines  findings   review  no field  one after another  ratio")
    for wanted in arguments.lines:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            lines = portion(root, wanted)
            reports = [review(root) for _ in range(arguments.repeats)]
            ours = statistics.median(float(str(report["seconds"])) for report in reports)
            union = statistics.median(
                float(str(review(root, "--no-field")["seconds"])) for _ in range(arguments.repeats)
            )
            base = statistics.median(one_after_another(root) for _ in range(arguments.repeats))
            findings = reports[0]["findings"]
            count = len(findings) if isinstance(findings, list) else 0
            print(f"{lines:9,}{count:10,}{ours:9.1f}{union:10.1f}{base:19.1f}{base / ours:7.2f}")


if __name__ == "__main__":
    main()
