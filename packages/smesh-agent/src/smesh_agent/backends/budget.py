"""Budgets: hard caps on what a run may spend, and the ledger of what it did spend.

Before a request is sent, the most that it can take is **reserved**: every token of its prompt at the dearest rate of
input, and all the tokens that it may write. Afterwards the reservation is replaced by what the provider counted. What
is spent and reserved together never exceeds a cap, so calls that run at the same time cannot overrun it together, as
long as a request takes no more than was reserved for it; should a provider count more, that is what is charged, and the
cap stops whatever comes next.

A request that does not fit may be waiting only for the reservations of others, most of which will turn out smaller;
then it waits, in the order in which requests came. If it does not fit and nothing is reserved, it may write less, but
no less than `MAX_TOKENS_FLOOR` tokens; if that is too much too, it is not sent.

**How tokens are bounded.** A tokenizer that falls back on bytes never makes more tokens than a text has bytes, so a
prompt is bounded by its length in UTF-8, and by some tokens for what stands around each message and tool. That is three
or four times too much for most texts, so where it is too much for the budget the provider is asked to count.

**What an unfinished request costs.** If the error shows that the provider did not take it on (`NOT_TAKEN_ON`), nothing.
If it broke off, timed out or was cancelled after it was sent, nobody says what it took, and its whole reservation is
charged and marked as an estimate.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from smesh_agent.backends.prices import PUSD_PER_USD, usd_in_words
from smesh_agent.errors import (
    AuthenticationError,
    BackendSettingsError,
    BudgetExceededError,
    CassetteError,
    ModelNotFoundError,
    OverloadedError,
    RateLimitedError,
    RequestRejectedError,
    UnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from smesh_agent.backends.base import Request, Usage
    from smesh_agent.backends.prices import Price

__all__ = [
    "MAX_TOKENS_FLOOR",
    "NOT_TAKEN_ON",
    "Account",
    "Allowance",
    "Budget",
    "Ledger",
    "Reservation",
    "tokens_bound",
]

MAX_TOKENS_FLOOR: Final = 256
"""An answer is not cut to fewer tokens than this to fit into a budget."""

NOT_TAKEN_ON: Final = (
    AuthenticationError,
    BackendSettingsError,
    CassetteError,
    ModelNotFoundError,
    OverloadedError,
    RateLimitedError,
    RequestRejectedError,
    UnreachableError,
)
"""Errors that come in the place of an answer: before its first piece, they mean that the request cost nothing."""

_AROUND_A_MESSAGE: Final = 32
"""Tokens that a chat template may put around a message, a call or a tool."""
_AROUND_TOOLS: Final = 1024
"""Tokens of the instructions that a provider may add to explain tools or a schema to its model."""


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a budget, to be sent to another process.

    Attributes:
        tokens: how many tokens it allows; None for any number.
        pusd: how many picodollars it allows; None for any number.
    """

    tokens: int | None = None
    pusd: int | None = None


class Account(msgspec.Struct, kw_only=True):
    """What was taken.

    Attributes:
        tokens_in: tokens read.
        tokens_out: tokens written.
        cached_in: of those read, how many came from a cache.
        cost_pusd: what they cost, in picodollars, as far as prices are known.
        calls: requests that were answered.
        failures: requests that were not.
        unpriced: of both, how many took tokens whose price is not known.
        estimated: of both, how many were charged by an estimate, because nobody counted.
    """

    tokens_in: int = 0
    tokens_out: int = 0
    cached_in: int = 0
    cost_pusd: int = 0
    calls: int = 0
    failures: int = 0
    unpriced: int = 0
    estimated: int = 0

    @property
    def tokens(self) -> int:
        """Tokens read and written."""
        return self.tokens_in + self.tokens_out

    @property
    def cost_usd(self) -> float:
        """What they cost in USD, as far as prices are known."""
        return self.cost_pusd / PUSD_PER_USD

    def cost_in_words(self) -> str:
        """What they cost, for people; says where a price is not known."""
        if not self.unpriced:
            return usd_in_words(self.cost_usd)
        known = f"at least {usd_in_words(self.cost_usd)}, and " if self.cost_pusd else ""
        return f"{known}unknown for {self.unpriced} of {self.calls + self.failures} requests"

    def add(self, other: Account, times: int = 1) -> None:
        """Add what another account holds, or take it away where `times` is -1."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + times * getattr(other, name))


class Ledger(msgspec.Struct, kw_only=True):
    """What was taken, in all and by whom or what for.

    Attributes:
        total: in all.
        labels: by the label that calls were made under, such as an agent's name.
    """

    total: Account = msgspec.field(default_factory=Account)
    labels: dict[str, Account] = msgspec.field(default_factory=dict)

    def enter(self, label: str, taken: Account) -> None:
        """Add to the total and to a label's account."""
        self.total.add(taken)
        self.labels.setdefault(label, Account()).add(taken)

    def merge(self, other: Ledger) -> None:
        """Add all of another ledger."""
        for label, account in other.labels.items():
            self.enter(label, account)


class Budget:
    """What a run may spend. Without a cap it only keeps the ledger.

    Args:
        tokens: how many tokens may be read and written; None for any number. Cached ones count too.
        usd: how many USD may be spent; None for any number.

    Attributes:
        ledger: what was spent.
        reserved: what is set aside for requests under way.

    Raises:
        BackendSettingsError: a cap below zero, or that is no number.
    """

    def __init__(self, *, tokens: int | None = None, usd: float | None = None) -> None:
        if tokens is not None and tokens < 0:
            raise BackendSettingsError("", f"a budget of {tokens} tokens: give 0 or more")
        if usd is not None and not 0.0 <= usd < float("inf"):
            raise BackendSettingsError("", f"a budget of {usd} USD: give 0 or more")
        self.ledger = Ledger()
        self.reserved = Account()
        self._allowance = Allowance(tokens=tokens, pusd=None if usd is None else round(usd * PUSD_PER_USD))
        self._line = asyncio.Lock()
        self._freed = asyncio.Event()

    @classmethod
    def of(cls, allowance: Allowance) -> Budget:
        """A budget of a part of another one."""
        budget = cls()
        budget._allowance = allowance
        return budget

    @property
    def allowance(self) -> Allowance:
        """The caps; smaller by what was split off."""
        return self._allowance

    @property
    def left(self) -> Allowance:
        """What is neither spent nor reserved."""
        return self._without(self.ledger.total, self.reserved)

    def _without(self, *accounts: Account) -> Allowance:
        """What is left of the caps after some accounts."""
        caps = self._allowance
        tokens, pusd = sum(one.tokens for one in accounts), sum(one.cost_pusd for one in accounts)
        return Allowance(
            tokens=None if caps.tokens is None else max(0, caps.tokens - tokens),
            pusd=None if caps.pusd is None else max(0, caps.pusd - pusd),
        )

    # ---- a request's way through it

    @asynccontextmanager
    async def reserve(
        self,
        *,
        tokens_in: int,
        max_tokens: int,
        price: Price | None,
        count: Callable[[], Awaitable[int | None]] | None = None,
        label: str = "",
    ) -> AsyncIterator[Reservation]:
        """Set the most that a request can take aside while it is sent, and charge what it took.

        Whoever holds the reservation says `Reservation.took` when the request is answered. If the context ends without
        that, it is charged as an unfinished request is.

        Args:
            tokens_in: a bound of its prompt's tokens.
            max_tokens: how much it may write.
            price: of its model; None where it is not known.
            count: gives a better bound of its prompt's tokens, or None; asked once, where the first is too much.
            label: whom or what for.

        Raises:
            BackendError: what `count` raised.
            BudgetExceededError: it does not fit, whatever others leave over, or its price is not known and there is a
                cap in USD.
        """
        async with self._line:
            held = await self._hold(tokens_in, max_tokens, price, count)
        try:
            yield held
        except NOT_TAKEN_ON:
            if not held.has_begun:
                held.taken = Account(failures=1)
            raise
        finally:
            self.ledger.enter(label, held.taken or held.unfinished)
            self.reserved.add(held.most, -1)
            self._freed.set()

    async def _hold(
        self,
        tokens_in: int,
        max_tokens: int,
        price: Price | None,
        count: Callable[[], Awaitable[int | None]] | None,
    ) -> Reservation:
        """Wait until a request fits, or until there is nothing to wait for."""
        floor = min(max_tokens, MAX_TOKENS_FLOOR)
        while (room := _room(self.left, tokens_in, max_tokens, price)) < max_tokens:
            if count is not None:
                counted, count = await count(), None
                tokens_in = tokens_in if counted is None else min(tokens_in, counted)
                continue
            unspent = self._without(self.ledger.total)
            if _room(unspent, tokens_in, max_tokens, price) < floor:
                raise BudgetExceededError("", _why_not(unspent, tokens_in, floor, price))
            if not self.reserved.calls:
                break
            self._freed.clear()
            await self._freed.wait()
        held = Reservation(tokens_in=tokens_in, max_tokens=room, price=price)
        self.reserved.add(held.most)
        return held

    # ---- splitting it among processes

    def split(self, parts: int) -> list[Allowance]:
        """Divide all that is left into equal allowances, for as many processes; this budget then has nothing left.

        Raises:
            BackendSettingsError: there is no part, or a request is under way.
        """
        if parts < 1 or self.reserved.calls:
            raise BackendSettingsError("", f"a budget is split into 1 or more parts, before requests are sent: {parts}")
        left = self.left
        shares = [
            Allowance(tokens=_share(left.tokens, parts, n), pusd=_share(left.pusd, parts, n)) for n in range(parts)
        ]
        self._allowance = Allowance(
            tokens=None if left.tokens is None else self.ledger.total.tokens,
            pusd=None if left.pusd is None else self.ledger.total.cost_pusd,
        )
        return shares

    def take_back(self, allowance: Allowance, ledger: Ledger) -> None:
        """Add what a process has spent of its allowance to the ledger, and the rest to what is left."""
        caps = self._allowance
        self._allowance = Allowance(
            tokens=None if caps.tokens is None else caps.tokens + (allowance.tokens or 0),
            pusd=None if caps.pusd is None else caps.pusd + (allowance.pusd or 0),
        )
        self.ledger.merge(ledger)
        self._freed.set()


class Reservation:
    """What is set aside for one request.

    Args:
        tokens_in: a bound of its prompt's tokens.
        max_tokens: how much it may write.
        price: of its model; None where it is not known.

    Attributes:
        max_tokens: how much it may write; less than asked for where the budget has no more.
        most: the most that it can take.
        has_begun: whether its answer has begun, so that its provider charges for it.
        taken: what it took; None until that is known.
    """

    def __init__(self, *, tokens_in: int, max_tokens: int, price: Price | None) -> None:
        bounds = price.bounds_pusd(tokens_in) if price is not None else None
        cost_pusd = bounds[0] + bounds[1] * max_tokens if bounds is not None else 0
        self.max_tokens = max_tokens
        self.most = Account(tokens_in=tokens_in, tokens_out=max_tokens, cost_pusd=cost_pusd, calls=1)
        self.has_begun = False
        self.taken: Account | None = None
        self._price = price

    @property
    def unfinished(self) -> Account:
        """What is charged if nobody ever says what it took."""
        is_priced = self._price is not None and self._price.bounds_pusd(self.most.tokens_in) is not None
        return msgspec.structs.replace(self.most, calls=0, failures=1, estimated=1, unpriced=int(not is_priced))

    def took(self, usage: Usage) -> float | None:
        """Say what the request took; returns what that cost in USD, None where the price is not known."""
        cost_pusd = self._price.cost_pusd(usage) if self._price is not None else None
        self.taken = Account(
            tokens_in=usage.tokens_in,
            tokens_out=usage.tokens_out,
            cached_in=usage.cached_in,
            cost_pusd=self.most.cost_pusd if cost_pusd is None else cost_pusd,
            calls=1,
            unpriced=int(cost_pusd is None),
            estimated=int(not usage.is_counted),
        )
        return None if cost_pusd is None else cost_pusd / PUSD_PER_USD


def tokens_bound(request: Request) -> int:
    """No fewer tokens than the prompt of a request has, see the module."""
    texts = [request.system, *(message.text for message in request.messages)]
    parts: list[Any] = [call.arguments for message in request.messages for call in message.calls]
    parts += [*request.tools, *([request.schema] if request.schema is not None else [])]
    return (
        sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
        + sum(len(msgspec.json.format(msgspec.json.encode(part), indent=4)) for part in parts)
        + _AROUND_A_MESSAGE * (len(texts) + len(parts))
        + (_AROUND_TOOLS if request.tools or request.schema is not None else 0)
    )


def _room(left: Allowance, tokens_in: int, max_tokens: int, price: Price | None) -> int:
    """How much of `max_tokens` a request may write with what is left; -1 where its prompt alone is too much."""
    room = max_tokens
    if left.tokens is not None:
        room = min(room, left.tokens - tokens_in)
    if left.pusd is not None:
        bounds = price.bounds_pusd(tokens_in) if price is not None else None
        if bounds is None:
            return -1
        of_prompt, of_token = bounds
        rest = left.pusd - of_prompt
        room = min(room, rest // of_token if of_token else (room if rest >= 0 else -1))
    return max(-1, room)


def _why_not(unspent: Allowance, tokens_in: int, max_tokens: int, price: Price | None) -> str:
    if unspent.pusd is not None and (price is None or price.bounds_pusd(tokens_in) is None):
        return f"the price of a prompt of {tokens_in:,} tokens is not known, so a budget in USD cannot be kept"
    has = [f"{unspent.tokens:,} tokens"] if unspent.tokens is not None else []
    has += [usd_in_words(unspent.pusd / PUSD_PER_USD)] if unspent.pusd is not None else []
    return (
        f"the budget has {' and '.join(has)} left; a prompt of up to {tokens_in:,} tokens "
        f"and an answer of {max_tokens:,} may take more"
    )


def _share(amount: int | None, parts: int, index: int) -> int | None:
    """An equal part of an amount; the first ones take what does not divide."""
    return None if amount is None else amount // parts + (index < amount % parts)
