"""The `smesh` command: a group that loads a subcommand's module only when it is asked for."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Final, NoReturn

import click

import smesh_cli
from smesh_cli import exits
from smesh_cli.errors import CliError

__all__ = ["cli", "main"]

_COMMANDS: Final = {
    "agents": "smesh_cli.commands.agents:agents",
    "bench": "smesh_cli.commands.bench:bench",
    "compare": "smesh_cli.commands.compare:compare",
    "resilience": "smesh_cli.commands.resilience:resilience",
    "review": "smesh_cli.commands.review:review",
    "sim": "smesh_cli.commands.sim:sim",
    "status": "smesh_cli.commands.status:status",
}


class _LazyGroup(click.Group):
    """Subcommands by name, imported when one is run or its help is shown; each returns its exit code."""

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


def main() -> NoReturn:
    """Run the command line; an error is one line on stderr and a documented exit code, never a traceback.

    With ``SMESH_DEBUG`` set, the traceback of an unexpected error comes before the line.
    """
    _open_closed_streams()
    code = _run()
    if code in exits.STOPPED:
        # Threads may still be busy with what nobody waits for any more, and a pipe may be full that nobody reads.
        os._exit(code)
    _let_go_of_stdout()
    sys.exit(code)


def _run() -> int:
    complaint, code = "", exits.ERROR
    try:
        code = _invoke()
    except click.exceptions.Exit as leave:
        code = leave.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = error.exit_code
    except click.ClickException as error:
        complaint, code = _in_one_line(error), error.exit_code
    except (click.Abort, KeyboardInterrupt):
        complaint, code = "stopped at once", exits.INTERRUPTED
    except BrokenPipeError:  # the reader of stdout (a pager, head) is gone: nothing is left to say
        code = exits.OK
    except CliError as error:
        complaint = str(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, its user gets one line
        complaint = f"unexpected {type(error).__name__}: {error} (SMESH_DEBUG=1 shows where)"
        if os.environ.get("SMESH_DEBUG"):
            sys.excepthook(type(error), error, error.__traceback__)
    if complaint:
        from smesh_cli import render  # noqa: PLC0415 - keeps `smesh --help` light

        render.error(complaint)
    return code


def _in_one_line(error: click.ClickException) -> str:
    """What is wrong with a command line, and where to read how it is right."""
    said = " ".join(error.format_message().split()).removesuffix(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"{said} (see {context.command_path} --help)" if context else said


def _invoke() -> int:
    if "_SMESH_COMPLETE" in os.environ:  # a shell asks for completions, and click knows the answer
        cli.main(prog_name="smesh")
    # Not by cli.main: that answers Ctrl-C with an empty line, and a broken pipe with the code that means findings.
    with cli.make_context("smesh", sys.argv[1:]) as context:
        return int(cli.invoke(context))


def _let_go_of_stdout() -> None:
    """See to it that what could not be written does not fail once more, with a traceback, when the interpreter ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_closed_streams() -> None:
    """Give what was started with stdout or stderr closed (`>&-`) somewhere to write to."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for as long as we live
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
