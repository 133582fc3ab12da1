"""What tokens cost: a dated list of prices, kept in prices.toml, which users extend from a file or a word.

Prices are decimal numbers, USD per million tokens, with at most six digits after the point. A token then costs a whole
number of **picodollars** (10^-12 USD), costs are whole numbers too, and their sums are exact in any order.

A price may depend on how long the prompt is: it has **tiers**, and the one that a prompt falls into holds for all
tokens of its request. From one tier to the next nothing becomes cheaper, so the cost of a longer prompt bounds that of
a shorter one, which is what a budget sets aside. Where the price of cached tokens is not known, they cost what other
input costs; where a model's price is not known, its cost is None and never zero.
"""

from __future__ import annotations

import datetime as dt
import functools
import itertools
import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from importlib import resources
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from smesh_agent.errors import BackendSettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from smesh_agent.backends.base import Usage

__all__ = ["FREE", "PUSD_PER_USD", "Price", "Prices", "Tier", "load_prices", "parse_price", "prices", "usd_in_words"]

PUSD_PER_USD: Final = 10**12
"""Picodollars in a dollar."""

_PUSD_PER_RATE: Final = 10**6
"""Picodollars that a token costs at one USD per million tokens."""
_RATE_MAX: Final = Decimal(10**6)
_PRICE_FORM: Final = "give USD per million tokens as IN/OUT, such as 0.10/0.50"
_SNAPSHOT: Final = re.compile(r"-\d{8}$")


class Tier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What tokens of requests of some length cost, in USD per million.

    Attributes:
        input: of a token that is read.
        output: of a token that is written.
        cache_read: of a token that is read from a cache; None where it is not known.
        cache_write: of a token that is read and goes into a cache of five minutes; None where it is not known.
        prompt_tokens_max: the longest prompt that this holds for, cached tokens included; None for any.
    """

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    prompt_tokens_max: int | None = None

    def __post_init__(self) -> None:
        """Check what is given.

        Raises:
            ValueError: a price that is none, or a length below 1.
        """
        for rate in (self.input, self.output, self.cache_read, self.cache_write):
            if rate is not None and not (rate.is_finite() and 0 <= rate <= _RATE_MAX):
                raise ValueError(f"{rate} is no number of USD")
            if rate is not None and rate * _PUSD_PER_RATE % 1 != 0:
                raise ValueError(f"{rate} is too fine: a price has at most six digits after the point")
        if self.prompt_tokens_max is not None and self.prompt_tokens_max < 1:
            raise ValueError(f"a prompt of at most {self.prompt_tokens_max} tokens is none")

    @property
    def rates_pusd(self) -> tuple[int, int, int, int]:
        """Picodollars of a token of input, of output, read from a cache, written to one."""
        read = self.input if self.cache_read is None else self.cache_read
        written = self.input if self.cache_write is None else self.cache_write
        return (
            int(self.input * _PUSD_PER_RATE),
            int(self.output * _PUSD_PER_RATE),
            int(read * _PUSD_PER_RATE),
            int(written * _PUSD_PER_RATE),
        )


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model costs.

    Attributes:
        tiers: by length of the prompt, the shortest first.
        source: where the figures are from, in words.
        as_of: when they held; None where nobody says.
    """

    tiers: tuple[Tier, ...]
    source: str = ""
    as_of: dt.date | None = None

    def __post_init__(self) -> None:
        """Check that tiers are in order.

        Raises:
            ValueError: there is no tier, they are out of order, or a longer prompt costs less.
        """
        if not self.tiers:
            raise ValueError("a price has at least one tier")
        for shorter, longer in itertools.pairwise(self.tiers):
            if shorter.prompt_tokens_max is None:
                raise ValueError("no tier comes after one for prompts of any length")
            if longer.prompt_tokens_max is not None and longer.prompt_tokens_max <= shorter.prompt_tokens_max:
                raise ValueError("tiers are in the order of their prompt_tokens_max")
            if any(a > b for a, b in zip(shorter.rates_pusd, longer.rates_pusd, strict=True)):
                raise ValueError("a token of a longer prompt costs no less than one of a shorter prompt")

    def cost_pusd(self, usage: Usage) -> int | None:
        """What a request cost, in picodollars; None where the price of so long a prompt is not known."""
        tier = self._tier(usage.tokens_in)
        if tier is None:
            return None
        of_input, of_output, of_read, of_written = tier.rates_pusd
        other = max(0, usage.tokens_in - usage.cached_in - usage.cache_written_in)
        return (
            other * of_input
            + usage.cached_in * of_read
            + usage.cache_written_in * of_written
            + usage.tokens_out * of_output
        )

    def cost_usd(self, usage: Usage) -> float | None:
        """What a request cost, in USD; None where the price of so long a prompt is not known."""
        cost = self.cost_pusd(usage)
        return None if cost is None else cost / PUSD_PER_USD

    def bounds_pusd(self, tokens_in: int) -> tuple[int, int] | None:
        """The most that a prompt of at most so many tokens can cost, and that a token of its answer can.

        A prompt may go into a cache, which can cost more than to read it.
        """
        tier = self._tier(tokens_in)
        if tier is None:
            return None
        of_input, of_output, of_read, of_written = tier.rates_pusd
        return tokens_in * max(of_input, of_read, of_written), of_output

    def in_words(self) -> str:
        """Such as ``$2 in, $10 out per million tokens``."""
        tiers = [
            f"${tier.input:f} in, ${tier.output:f} out"
            + ("" if tier.prompt_tokens_max is None else f" up to {tier.prompt_tokens_max:,} tokens of prompt")
            for tier in self.tiers
        ]
        return ", beyond that ".join(tiers) + " per million tokens"

    def _tier(self, tokens_in: int) -> Tier | None:
        for tier in self.tiers:
            if tier.prompt_tokens_max is None or tokens_in <= tier.prompt_tokens_max:
                return tier
        return None


FREE: Final = Price(tiers=(Tier(input=Decimal(0), output=Decimal(0)),), source="it runs at its user's own place")
"""The price of a model that nobody charges for."""


class Prices(msgspec.Struct, frozen=True):
    """Prices of models, by the names that their providers give them.

    They are those of the provider that the name is from; one that resells a model under the same name may charge
    something else, which has to be said.
    """

    models: Mapping[str, Price]

    def of(self, model: str) -> Price | None:
        """The price of a model, or of the model that a dated name (``…-20261007``) is a snapshot of."""
        return self.models.get(model) or self.models.get(_SNAPSHOT.sub("", model))

    def extended(self, models: Mapping[str, Price]) -> Prices:
        """These prices, and others that go before them."""
        return Prices({**self.models, **models})


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """A file of prices."""

    as_of: dt.date
    currency: Literal["USD"]
    models: dict[str, Price]


@functools.cache
def prices() -> Prices:
    """The prices that come with this version."""
    return _parsed(resources.files(__package__).joinpath("prices.toml").read_text(encoding="utf-8"), "prices.toml")


def load_prices(path: Path) -> Prices:
    """The prices of a file of the form of prices.toml.

    Raises:
        BackendSettingsError: it cannot be read, or does not have that form; says where.
    """
    try:
        return _parsed(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise BackendSettingsError("", f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BackendSettingsError("", f"{path}: it is not UTF-8") from error


def _parsed(text: str, name: str) -> Prices:
    try:
        file = msgspec.convert(tomllib.loads(text, parse_float=Decimal), type=_File)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, InvalidOperation) as error:
        raise BackendSettingsError("", f"{name}: {error}") from error
    return Prices(
        {model: msgspec.structs.replace(price, as_of=price.as_of or file.as_of) for model, price in file.models.items()}
    )


def parse_price(text: str) -> Price:
    """A price given as ``IN/OUT``, USD per million tokens, such as ``0.10/0.50``.

    Raises:
        BackendSettingsError: it is not of that form.
    """
    read, _, written = (part.strip().removeprefix("$") for part in text.partition("/"))
    try:
        tier = Tier(input=Decimal(read), output=Decimal(written))
    except InvalidOperation as error:
        raise BackendSettingsError("", f"{text!r} is no price: {_PRICE_FORM}") from error
    except ValueError as error:
        raise BackendSettingsError("", f"{text!r}: {error}: {_PRICE_FORM}") from error
    return Price(tiers=(tier,), source="given by its user")


def usd_in_words(cost_usd: float | None) -> str:
    """A cost for people: ``$0.0123``, or ``unknown``."""
    return "unknown" if cost_usd is None else f"${cost_usd:.4f}"
