"""`smesh review`: review a repository by witnesses that share a field."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from smesh_cli import exits

if TYPE_CHECKING:
    from smesh_agent.workflows.review import Report

__all__ = ["review"]

_LEVELS = ["info", "low", "medium", "high"]


@click.command(epilog="Example:  smesh review --path ./my-repo --min-severity medium --fail-on high")
@click.option("--path", default=".", show_default=True, help="Directory, or one file, to review.")
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="JSON is documented in docs/reference/review.md.",
)
@click.option(
    "--min-severity",
    type=click.Choice(_LEVELS),
    default="info",
    show_default=True,
    help="Leave out findings below this level.",
)
@click.option(
    "--fail-on",
    type=click.Choice([*_LEVELS, "never"]),
    default="never",
    show_default=True,
    help="Exit 1 if a finding at or above this level stands uncontested.",
)
@click.option(
    "--limit", type=click.IntRange(min=0), default=50, show_default=True, help="Findings shown as text; 0 for all."
)
@click.option("--no-field", is_flag=True, help="The analyzers' findings side by side, for comparison.")
@click.option("--jobs", type=click.IntRange(min=1), help="Analyzer processes at once.  [default: number of cores]")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0.1), help="Seconds an analyzer may take.  [default: by size]"
)
def review(
    *,
    path: str,
    output: str,
    min_severity: str,
    fail_on: str,
    limit: int,
    no_field: bool,
    jobs: int | None,
    timeout_s: float | None,
) -> None:
    """Review a repository by agents that coordinate through a field.

    Security, performance, style and documentation witnesses wrap analyzers (ruff, bandit, detect-secrets, radon,
    vulture) and run at the same time. They meet at what they find: independent witnesses corroborate each other,
    and witnesses with evidence against a finding say so. No model, key, network or server is used.

    Exit codes: 0 done, 1 findings at or above --fail-on, 2 error, 130 stopped by Ctrl-C.
    """
    from smesh_agent.errors import AgentError  # noqa: PLC0415 - keeps `smesh --help` light
    from smesh_agent.workflows.review import Severity, at_least, gates  # noqa: PLC0415

    from smesh_cli import render  # noqa: PLC0415

    try:
        report = asyncio.run(_run(Path(path), no_field=no_field, jobs=jobs, timeout_s=timeout_s))
    except AgentError as error:
        render.error(str(error))
        sys.exit(exits.ERROR)
    shown = at_least(report, Severity[min_severity.upper()])
    if output == "json":
        render.json(shown)
    else:
        render.review(shown, limit=limit)
    failed = [witness for witness in report.witnesses if witness.state == "failed"]
    for witness in failed:
        render.error(f"{witness.name} failed, so its findings are missing: {witness.reason}")
    if report.interrupted:
        render.error("stopped; the report holds what had been found by then")
        sys.exit(exits.INTERRUPTED)
    if fail_on != "never" and any(gates(finding, Severity[fail_on.upper()]) for finding in report.findings):
        sys.exit(exits.FINDINGS)
    if failed:
        sys.exit(exits.ERROR)


async def _run(path: Path, *, no_field: bool, jobs: int | None, timeout_s: float | None) -> Report:
    """Run the review under a progress display; the first Ctrl-C stops it and keeps what was found."""
    from smesh_agent.tree import Tree  # noqa: PLC0415
    from smesh_agent.workflows.review import default_profiles, run_review, run_union  # noqa: PLC0415

    from smesh_cli import render  # noqa: PLC0415

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop_once() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, stop_once)
    profiles = default_profiles(jobs=jobs, timeout_s=timeout_s)
    with render.Progress([profile.name for profile in profiles]) as progress:
        progress.say(f"taking the inventory of {path}")
        tree = await asyncio.to_thread(Tree.scan, path)
        progress.say(f"{len(tree.files):,} files")
        run = run_union if no_field else run_review
        return await run(tree, profiles, stop=stop, watcher=progress.update)
