"""What is lost when agents die, stall or lie: the job of `benchmarks/coordination` on the same systems, with faults.

Every system runs with its default settings, as its documentation shows. Faults strike in the model of an agent
(`coordination/job.py`), so they are the same for all. Where a fault strikes at a drawn step, several seeds are run, and
the worst of each figure is shown; SMESH, whose agents draw as well, is run with every seed everywhere.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "coordination"))

from typing import Any, NamedTuple

import machine
from environments import FOLDER, SYSTEMS, UnavailableError, install, replace_measured, run_adapter
from job import DRAWN, FAULTS

HERE = Path(__file__).resolve().parent
HOPS = 3
_STALLED = "stall"
_PATIENCE_S = 300.0
"""Where nobody stalls, only a slow machine keeps the caller waiting; virtual time, too, comes to its end by itself."""


class Row(NamedTuple):
    """A way to do the job on a system: its own name for it, agents of each role, and the adapter's options."""

    system: str
    how: str
    agents: int = 1
    options: tuple[str, ...] = ()


ROWS = [
    Row("smesh", "3 agents a role", 3),
    Row("smesh", "9 agents of all roles", 3, ("--variant", "generalists")),
    Row("smesh", "3 a role that check each other", 3, ("--variant", "checks")),
    Row("smesh", "3 a role, whose models fail", 3, ("--variant", "raises")),
    Row("smesh", "an agent a role", 1),
    Row("queue", "3 workers a role", 3),
    Row("autogen", "publish, 3 instances a role", 3),
    Row("autogen", "send_message, one after another", 3, ("--mode", "in-turn")),
    Row("langgraph", "abatch"),
    Row("langgraph", "ainvoke, one after another", 1, ("--mode", "in-turn")),
    Row("openai-agents", "Runner.run, gathered"),
    Row("openai-agents", "Runner.run, one after another", 1, ("--mode", "in-turn")),
    Row("pydantic-ai", "run, gathered"),
    Row("pydantic-ai", "run, one after another", 1, ("--mode", "in-turn")),
    Row("crewai", "akickoff_for_each"),
    Row("crewai", "kickoff_for_each", 1, ("--mode", "in-turn")),
]


def measure(row: Row, python: Path, fault: str, *, tasks: int, seeds: int, patience_s: float) -> dict[str, Any]:
    """The worst of several runs; or why there is nothing."""
    runs: list[dict[str, Any]] = []
    # The queue waits for ever for whoever has died, so it is not worth much patience either.
    ends = row.system == "smesh" or (fault != _STALLED and row.system != "queue")
    patience_s = _PATIENCE_S if ends else patience_s
    for seed in range(seeds if fault in DRAWN or row.system == "smesh" else 1):
        options = ("--tasks", tasks, "--agents", row.agents, "--fault", fault, "--seed", seed, "--patience", patience_s)
        try:
            runs.append(run_adapter(python, SYSTEMS[row.system], *map(str, options), *row.options))
        except UnavailableError as error:
            return {"why": str(error)}
    worst: dict[str, Any] = {"right": min(run["right"] for run in runs), "told": _least(runs), "runs": runs}
    for what in ("wrong", "flagged", "lost", "out_of_reach", "repeated", "calls", "seconds"):
        worst[what] = max(run[what] for run in runs)
    worst["ended"] = all(run["ended"] for run in runs)
    worst["is_virtual"] = any(run["is_virtual"] for run in runs)
    return worst


def _least(runs: list[dict[str, Any]]) -> str:
    """How the caller heard of it, in the run in which it heard least."""
    ways = {"no": 0, "in a log": 1, "raised": 2, "on record": 3}
    return min((_way(run["told"]) for run in runs), key=lambda way: ways[way])


def _way(told: list[str]) -> str:
    if not told:
        return "no"
    if told == ["logged"]:
        return "in a log"
    return "raised" if told[0].startswith("raised") else "on record"


HEAD = f"{'':<47}{'right':>6}{'wrong':>6}{'marked':>7}{'lost':>6}{'out of':>8}{'steps':>7}{'':>7}{'caller':>11}{'':>8}"
HEAD_BELOW = f"{'':<47}{'':>6}{'':>6}{'':>7}{'':>6}{'reach':>8}{'redone':>7}{'calls':>7}{'is told':>11}{'s':>8}"


def line(row: Row, one: dict[str, Any], tasks: int) -> str:
    name = f"  {SYSTEMS[row.system].name:<14}{row.how:<31}"
    if "why" in one:
        return f"{name}{one['why']}"
    redone = f"{one['repeated'] / (tasks * HOPS):7.1%}"
    took = f"{one['seconds']:8.1f}" + ("*" if one["is_virtual"] else "") if one["ended"] else f"{'never':>8}"
    counts = f"{one['right']:6}{one['wrong']:6}{one['flagged']:7}{one['lost']:6}{one['out_of_reach']:8}"
    return f"{name}{counts}{redone}{one['calls']:7,}{one['told']:>11}{took}"


def main() -> None:
    faults = [fault for fault in FAULTS if fault != "none"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS), metavar="SYSTEM")
    parser.add_argument("--faults", nargs="+", choices=faults, default=faults, metavar="FAULT")
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--patience", type=float, default=20.0, metavar="SECONDS", help="for what may never end")
    parser.add_argument("--dir", type=Path, default=FOLDER, help="where environments are kept")
    parser.add_argument("--here", action="store_true", help="install nothing, run in the Python that runs this")
    parser.add_argument("--json", type=Path, help="write all figures to this file as well")
    parser.add_argument("--update-readme", action="store_true", help="put the tables into README.md")
    asked = parser.parse_args()
    lines: list[str] = []
    figures: list[dict[str, Any]] = []

    def show(text: str) -> None:
        lines.append(text)
        print(text, flush=True)

    pythons: dict[str, Path | UnavailableError] = {}
    for key in asked.only:
        try:
            pythons[key] = Path(sys.executable) if asked.here else install(SYSTEMS[key], asked.dir.resolve())
        except UnavailableError as error:
            pythons[key] = error
    show(machine.describe())
    show(
        f"{asked.tasks:,} tasks of {HOPS} steps; the worst of {asked.seeds} seeds where anything is drawn; *: virtual s"
    )
    for fault in asked.faults:
        show(f"\n{fault}: {FAULTS[fault]}\n{HEAD}\n{HEAD_BELOW}")
        for row in ROWS:
            if row.system not in pythons or (fault == "one-a-role" and row.agents == 1):
                continue
            python = pythons[row.system]
            if isinstance(python, UnavailableError):
                one: dict[str, Any] = {"why": str(python)}
            else:
                one = measure(row, python, fault, tasks=asked.tasks, seeds=asked.seeds, patience_s=asked.patience)
            show(line(row, one, asked.tasks))
            figures.append({"fault": fault, "system": row.system, "how": row.how} | one)
    if asked.json:
        asked.json.write_text(json.dumps({"about": lines[0], "rows": figures}), encoding="utf-8")
    if asked.update_readme:
        replace_measured(HERE / "README.md", "\n".join(lines))
    sys.exit(any("why" in one for one in figures))


if __name__ == "__main__":
    main()
