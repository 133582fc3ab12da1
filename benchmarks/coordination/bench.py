"""What coordination costs: the same job on SMESH, on a bare queue, and on five agent frameworks.

Each system is installed into an environment of its own and runs each time in a process of its own, after a warm-up of
three tasks. The rows take turns, so that whatever else the machine does meets all. See `job.py` for the job.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from typing import Any, NamedTuple

import machine
from environments import (
    FOLDER,
    SYSTEMS,
    System,
    UnavailableError,
    footprint,
    import_ms,
    install,
    replace_measured,
    run_adapter,
)

HERE = Path(__file__).resolve().parent
HOPS = 3
_IMPORTS = 5
_MIB = 2**20


class Row(NamedTuple):
    """A way to do the job on a system: its own name for it, and the adapter's options."""

    system: str
    how: str
    options: tuple[str, ...] = ()


ROWS = [
    Row("queue", "a worker a role"),
    Row("smesh", "an agent a role"),
    Row("smesh", "3 agents a role", ("--agents", "3")),
    Row("smesh", "3 a role that check each other", ("--agents", "3", "--variant", "checks")),
    Row("autogen", "publish, all together"),
    Row("autogen", "send_message, one after another", ("--mode", "in-turn")),
    Row("langgraph", "abatch"),
    Row("langgraph", "ainvoke, one after another", ("--mode", "in-turn")),
    Row("langgraph", "abatch, with a chat model", ("--variant", "chat")),
    Row("langgraph", "abatch, checkpoints in memory", ("--variant", "memory")),
    Row("langgraph", "abatch, checkpoints in SQLite", ("--variant", "sqlite")),
    Row("openai-agents", "Runner.run, gathered"),
    Row("openai-agents", "Runner.run, one after another", ("--mode", "in-turn")),
    Row("pydantic-ai", "run, gathered"),
    Row("pydantic-ai", "run, one after another", ("--mode", "in-turn")),
    Row("crewai", "akickoff_for_each"),
    Row("crewai", "kickoff_for_each", ("--mode", "in-turn")),
]


def measure(rows: list[Row], pythons: dict[str, Path], *, tasks: int, repeats: int) -> dict[Row, dict[str, Any]]:
    """What each row took: microseconds a hop of every run, peak memory; or why there is nothing."""
    found: dict[Row, dict[str, Any]] = {row: {"us_a_hop": [], "rss_mb": []} for row in rows}
    for _ in range(repeats):
        for row in rows:
            if "why" in found[row]:
                continue
            try:
                said = run_adapter(pythons[row.system], SYSTEMS[row.system], "--tasks", str(tasks), *row.options)
            except UnavailableError as error:
                found[row] = {"why": str(error)}
                continue
            if said["right"] != tasks or said["connections"]:
                found[row] = {"why": f"{said['right']} of {tasks} right, {said['connections']} connections attempted"}
                continue
            found[row]["us_a_hop"].append(said["seconds"] / (tasks * HOPS) * 1e6)
            found[row]["rss_mb"].append(said["rss_mb"])
    return found


def weigh(system: System, python: Path) -> dict[str, Any]:
    """What a system brings along."""
    import_ms(python, system)  # bytecode is compiled
    looked = footprint(python)
    named = system.requires[0].partition("==")[0] if system.requires else ""
    return {
        "version": looked["versions"].get(named, ""),
        "import_ms": statistics.median(import_ms(python, system) for _ in range(_IMPORTS)),
        "packages": looked["packages"],
        "mb": looked["bytes"] / _MIB,
    }


def hop_lines(found: dict[Row, dict[str, Any]], tasks: int, repeats: int) -> list[str]:
    floors = {
        row.system: statistics.median(one["us_a_hop"]) for row, one in reversed(found.items()) if "why" not in one
    }
    lines = [
        f"{tasks:,} tasks of {HOPS} hops, a model that answers at once; us a hop, median and range of {repeats} runs",
        f"{'':<47}{'us a hop':>10}{'fastest':>10}{'slowest':>10}{'tasks/s':>9}{'x queue':>9}{'x SMESH':>9}",
    ]
    for row, one in found.items():
        name = f"  {SYSTEMS[row.system].name:<14}{row.how:<31}"
        if "why" in one:
            lines.append(f"{name}{one['why']}")
            continue
        us = statistics.median(one["us_a_hop"])
        ratios = "".join(_ratio(us, floors.get(base)) for base in ("queue", "smesh"))
        spread = f"{min(one['us_a_hop']):10,.1f}{max(one['us_a_hop']):10,.1f}"
        lines.append(f"{name}{us:10,.1f}{spread}{1e6 / (us * HOPS):9,.0f}{ratios}")
    return lines


def _ratio(us: float, base_us: float | None) -> str:
    if base_us is None:
        return f"{'-':>9}"
    return f"{us / base_us:9,.{1 if us >= base_us else 2}f}"


def weight_lines(weights: dict[str, dict[str, Any]], found: dict[Row, dict[str, Any]]) -> list[str]:
    lines = [
        "what comes with it: import, in a new process; peak memory of a process that did the job; files installed",
        f"{'':<16}{'version':>9}{'import ms':>11}{'RSS MB':>8}{'packages':>10}{'MB':>8}",
    ]
    for key, one in weights.items():
        name = f"  {SYSTEMS[key].name:<14}"
        if "why" in one:
            lines.append(f"{name}{one['why']}")
            continue
        used = [max(row["rss_mb"]) for key_row, row in found.items() if key_row.system == key and "why" not in row]
        rss = f"{used[0]:8,.0f}" if used else f"{'-':>8}"
        lines.append(f"{name}{one['version']:>9}{one['import_ms']:11,.0f}{rss}{one['packages']:10,}{one['mb']:8,.1f}")
    return lines


def prepare(wanted: list[str], folder: Path, *, here: bool) -> tuple[dict[str, Path], dict[str, str]]:
    """The Python of each system that can be had, and why others cannot."""
    pythons: dict[str, Path] = {}
    missing: dict[str, str] = {}
    for key in wanted:
        try:
            pythons[key] = Path(sys.executable) if here else install(SYSTEMS[key], folder)
        except UnavailableError as error:
            missing[key] = str(error)
    return pythons, missing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS), metavar="SYSTEM")
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--dir", type=Path, default=FOLDER, help="where environments are kept")
    parser.add_argument("--here", action="store_true", help="install nothing, run in the Python that runs this")
    parser.add_argument("--json", type=Path, help="write all figures to this file as well")
    parser.add_argument("--update-readme", action="store_true", help="put the tables into README.md")
    asked = parser.parse_args()
    about = machine.describe()
    print(about, flush=True)
    pythons, missing = prepare(asked.only, asked.dir.resolve(), here=asked.here)
    rows = [row for row in ROWS if row.system in pythons]
    found = measure(rows, pythons, tasks=asked.tasks, repeats=asked.repeats)
    found |= {row: {"why": missing[row.system]} for row in ROWS if row.system in missing}
    weights: dict[str, dict[str, Any]] = {key: {"why": why} for key, why in missing.items()}
    if not asked.here:
        weights |= {key: weigh(SYSTEMS[key], python) for key, python in pythons.items()}
    text = "\n".join(hop_lines(found, asked.tasks, asked.repeats))
    if weights:
        text += "\n\n" + "\n".join(weight_lines(weights, found))
    print(text)
    if asked.json:
        figures = [{"system": row.system, "how": row.how} | one for row, one in found.items()]
        asked.json.write_text(json.dumps({"about": about, "rows": figures, "systems": weights}), encoding="utf-8")
    if asked.update_readme:
        replace_measured(HERE / "README.md", f"{about}\n{text}")
    sys.exit(any("why" in one for one in (*found.values(), *weights.values())))


if __name__ == "__main__":
    main()
