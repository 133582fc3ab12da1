"""`smesh status`: what this installation is and what it can reach."""

from __future__ import annotations

import click

from smesh_cli import exits

__all__ = ["status"]


@click.command(epilog="Example:  smesh status --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, documented in docs/reference/cli.md.")
def status(*, as_json: bool) -> int:
    """Show versions, engine, processor, analyzers, and model backends with their models and prices.

    Backends are asked whether they are there and what they have; no model is asked anything. API keys are reported as
    set or not set, and neither printed nor sent.

    Exit codes: 0 done, 2 error; a backend that cannot be reached is no error.
    """
    from smesh_agent.status import collect  # noqa: PLC0415 - keeps `smesh --help` light

    from smesh_cli import render  # noqa: PLC0415

    facts = collect()
    if as_json:
        render.json(facts)
    else:
        render.status(facts)
    return exits.OK
