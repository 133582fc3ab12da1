"""Options of every command that asks models, and the session that they come to."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from smesh_agent.backends.session import Session

__all__ = ["ModelChoice", "amounts", "model_options"]

_F = TypeVar("_F", bound="Callable[..., Any]")
_USD: Final = re.compile(r"\$?(\d{1,9}(?:\.\d{1,6})?)(?: ?usd)?", re.IGNORECASE)
_TOKENS: Final = re.compile(r"(\d{1,12})(k|m)? ?t(?:ok(?:ens?)?)?", re.IGNORECASE)


def amounts(
    _context: click.Context, _option: click.Parameter, given: tuple[str, ...]
) -> tuple[tuple[int | None, float | None], ...]:
    """Amounts of tokens and of USD, of which one is None."""
    read: list[tuple[int | None, float | None]] = []
    for text in given:
        if match := _USD.fullmatch(text.strip()):
            read.append((None, float(match[1])))
        elif match := _TOKENS.fullmatch(text.strip()):
            read.append((int(match[1]) * {"": 1, "k": 1_000, "m": 1_000_000}[(match[2] or "").lower()], None))
        else:
            raise click.BadParameter(f"{text!r} is neither USD, such as 0.50, nor tokens, such as '20k tokens'.")
    if sum(usd is None for _, usd in read) > 1 or sum(tokens is None for tokens, _ in read) > 1:
        raise click.BadParameter("one amount of tokens and one of USD at most.")
    return tuple(read)


class ModelChoice(NamedTuple):
    """What was asked for of models.

    Attributes:
        backend: its name; empty where the model's says it.
        model: its name; empty for the backend's own default.
        base_url: where it is; empty for the usual place.
        budget: amounts of tokens and of USD.
        price: USD per million tokens, as ``IN/OUT``; empty for what is known.
        options: what is the backend's own.
        concurrency: calls at the same time.
        record: a file that calls are recorded to.
        replay: a recording that answers in the place of the backend.
    """

    backend: str
    model: str
    base_url: str
    budget: tuple[tuple[int | None, float | None], ...]
    price: str
    options: tuple[str, ...]
    concurrency: int | None
    record: Path | None
    replay: Path | None

    def session(self, *, defaults: Mapping[str, str] | None = None, seed: int = 0) -> Session:
        """The session that it comes to.

        Args:
            defaults: options of the scripted backend, where it is not told otherwise.
            seed: of what is drawn.

        Raises:
            AgentError: what was asked for is not to be had.
            click.UsageError: it does not go together.
        """
        from smesh_agent.backends.session import Caps, open_session  # noqa: PLC0415 - keeps `smesh --help` light

        if self.replay is not None and (self.backend or self.model or self.record is not None):
            raise click.UsageError("--replay answers by itself: --backend, --model and --record do not go with it.")
        tokens = next((amount for amount, _ in self.budget if amount is not None), None)
        usd = next((amount for _, amount in self.budget if amount is not None), None)
        options: dict[str, str] = {}
        for option in self.options:
            name, is_given, value = option.partition("=")
            if not is_given:
                raise click.BadParameter(f"{option!r} is not NAME=VALUE.", param_hint="--option")
            options[name] = value
        return open_session(
            self.backend,
            self.model,
            base_url=self.base_url,
            environment=os.environ,
            options=options,
            scripted_options=defaults or {},
            caps=Caps(tokens=tokens, usd=usd, concurrency=self.concurrency),
            price=self.price,
            record=self.record,
            replay=self.replay,
            seed=seed,
        )


def model_options(command: _F) -> _F:
    """Add the options to a command; they come to it as one argument, ``choice``."""

    @functools.wraps(command)  # and with it the options that the command has by now
    def with_choice(**values: Any) -> Any:
        choice = ModelChoice(**{name: values.pop(name) for name in ModelChoice._fields})
        return command(choice=choice, **values)

    decorated: Any = with_choice
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    result: _F = decorated
    return result


_OPTIONS: Final = (
    click.option(
        "--backend",
        default="",
        metavar="NAME",
        help="ollama, claude, openai-compatible, scripted, or one that is installed.  [default: by the model's name]",
    ),
    click.option("--model", default="", metavar="NAME", help="A model by its backend's name."),
    click.option("--base-url", default="", metavar="URL", help="Where the backend is, if not at its usual place."),
    click.option(
        "--budget",
        callback=amounts,
        multiple=True,
        metavar="AMOUNT",
        help="Never spend more: USD, such as 0.50, or tokens, such as '20k tokens'.",
    ),
    click.option("--price", default="", metavar="IN/OUT", help="USD per million tokens, where none is known."),
    click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the backend's own."),
    click.option(
        "--concurrency", type=click.IntRange(1, 1000), metavar="N", help="Calls of models at once.  [default: any]"
    ),
    click.option(
        "--record",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Record all calls of models there, secrets taken out.",
    ),
    click.option(
        "--replay", type=click.Path(path_type=Path), metavar="FILE", help="Answer from a recording; no model is asked."
    ),
)
