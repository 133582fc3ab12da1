"""`smesh review`: review a repository by witnesses that share a field."""

from __future__ import annotations

import math
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from smesh_cli import exits

if TYPE_CHECKING:
    import asyncio

    from smesh_agent.workflows.review import Profile, Report

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
    "--limit",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="Uncontested findings shown as text, and a tenth as many contested ones; 0 for all.",
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
) -> int:
    """Review a repository by agents that coordinate through a field.

    Security, performance, style and documentation witnesses wrap analyzers (ruff, bandit, detect-secrets, radon,
    vulture) and run at the same time. They meet at what they find: independent witnesses corroborate each other,
    and witnesses with evidence against a finding say so. No model, key, network or server is used.

    Ctrl-C stops the review and prints what was found by then; a second one ends it at once.

    Exit codes: 0 done, 1 findings at or above --fail-on, 2 error, a witness that failed or nothing to review,
    130 stopped by Ctrl-C, 143 by SIGTERM.
    """
    from smesh_agent.errors import AgentError  # noqa: PLC0415 - keeps `smesh --help` light
    from smesh_agent.workflows.review import Severity, at_least, gates  # noqa: PLC0415

    from smesh_cli import render, stopping  # noqa: PLC0415

    if not path:
        raise click.BadParameter("it is empty.", param_hint="--path")
    if timeout_s is not None and math.isnan(timeout_s):
        raise click.BadParameter("it is not a number.", param_hint="--timeout")

    place = Path(path).absolute()

    async def work(stop: asyncio.Event) -> Report:
        return await _review(place, stop, no_field=no_field, jobs=jobs, timeout_s=timeout_s)

    try:
        report, stopped_by = stopping.run(work)
    except AgentError as error:
        render.error(str(error))
        return exits.ERROR
    gate = None
    if fail_on != "never":
        level = Severity[fail_on.upper()]
        gate = render.Gate(fail_on, sum(gates(finding, level) for finding in report.findings))
    shown = at_least(report, Severity[min_severity.upper()])
    if output == "json":
        render.json(shown)
    else:
        render.review(shown, limit=limit, left_out=len(report.findings) - len(shown.findings), gate=gate)
    troubles = _troubles(report)
    for trouble in troubles:
        render.error(trouble)
    if report.interrupted:
        return exits.TERMINATED if stopped_by == signal.SIGTERM else exits.INTERRUPTED
    if gate is not None and gate.standing:
        return exits.FINDINGS
    return exits.ERROR if troubles else exits.OK


def _troubles(report: Report) -> list[str]:
    """What keeps a report from being the whole answer, each as one line."""
    if report.interrupted:
        return ["stopped; the report holds what had been found by then"]
    troubles = []
    failed = [witness for witness in report.witnesses if witness.state == "failed"]
    if len(failed) == 1:
        troubles.append(f"{failed[0].name} failed, so the report lacks what it knows: {failed[0].reason}")
    elif failed:
        names = ", ".join(witness.name for witness in failed)
        troubles.append(
            f"{len(failed)} witnesses failed, so the report lacks what they know: "
            f"{names} ({failed[0].name}: {failed[0].reason})"
        )
    if not report.source.files:
        binary = report.source.binary_files
        others = f", only {binary:,} binary file{'s' * (binary != 1)}" if binary else ""
        troubles.append(f"nothing to review: no text file in {report.source.path}{others}")
    return troubles


async def _review(
    path: Path, stop: asyncio.Event, *, no_field: bool, jobs: int | None, timeout_s: float | None
) -> Report:
    """Run the review under a progress display, until it is done or told to stop."""
    import asyncio  # noqa: PLC0415 - keeps `smesh --help` light

    from smesh_agent.tree import Tree  # noqa: PLC0415
    from smesh_agent.workflows.review import default_profiles, run_review, run_union  # noqa: PLC0415

    from smesh_cli import render, stopping  # noqa: PLC0415

    profiles = default_profiles(jobs=jobs, timeout_s=timeout_s)
    if no_field:
        profiles = [profile for profile in profiles if profile.analyzer is not None]
    with render.Progress([profile.name for profile in profiles], "taking the inventory") as progress:
        tree = await stopping.unless_stopped(asyncio.to_thread(Tree.scan, path), stop)
        if tree is None:
            return _nothing_read(path, profiles, mode="union" if no_field else "field")
        progress.say(f"{len(tree.files):,} files")
        run = run_union if no_field else run_review
        return await run(tree, profiles, stop=stop, watcher=progress.update)


def _nothing_read(path: Path, profiles: list[Profile], *, mode: str) -> Report:
    """The report of a review that was stopped before it knew what there is to read."""
    import msgspec  # noqa: PLC0415 - keeps `smesh --help` light
    from smesh_agent.tree import Tree  # noqa: PLC0415
    from smesh_agent.workflows.review.report import build  # noqa: PLC0415
    from smesh_core import node_id  # noqa: PLC0415

    nothing = Tree(root=path, files=(), skipped=(), binary=0, digest="")
    witnesses = {node_id(profile.name): profile for profile in profiles}
    report = build(nothing, (), witnesses, None, signals=0, duration_s=0.0)
    return msgspec.structs.replace(report, mode=mode)
