"""The `smesh` command: a group that loads a subcommand's module only when it is asked for."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Final

import click

import smesh_cli
from smesh_cli import exits

__all__ = ["cli", "main"]

_COMMANDS: Final = {
    "review": "smesh_cli.commands.review:review",
    "status": "smesh_cli.commands.status:status",
}


class _LazyGroup(click.Group):
    """Subcommands by name, imported when one is run or its help is shown."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example:  smesh review --path .",
)
@click.version_option(smesh_cli.__version__, prog_name="smesh")
def cli() -> None:
    """Agents that coordinate through signals in a shared field, with no controller."""


def main() -> None:
    """Run the command line; an error is one line on stderr and a documented exit code, never a traceback.

    With ``SMESH_DEBUG`` set, an unexpected error keeps its traceback.
    """
    try:
        code = cli.main(prog_name="smesh", standalone_mode=False)
    except click.exceptions.Exit as leave:
        code = leave.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        print("smesh: stopped", file=sys.stderr)  # noqa: T201
        code = exits.INTERRUPTED
    except BrokenPipeError:
        # The reader of stdout is gone (a pager, head): nothing is left to say, also not at shutdown.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = exits.OK
    except Exception as error:
        if os.environ.get("SMESH_DEBUG"):
            raise
        print(f"smesh: unexpected {type(error).__name__}: {error} (SMESH_DEBUG=1 shows where)", file=sys.stderr)  # noqa: T201
        code = exits.ERROR
    sys.exit(code)
