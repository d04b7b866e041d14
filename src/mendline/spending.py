"""What asking a model may cost: requests, tokens and money, per incident and per day, counted before they are spent."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from mendline.classify.prompt import NoAnswer
from mendline.config import Model
from mendline.stores.base import Store


@dataclass(frozen=True, kw_only=True)
class Spent:
    """A sum of requests; `cost` in US dollars, 0 where no prices are configured."""

    request_count: int = 0
    input_token_count: int = 0
    output_token_count: int = 0
    cost: float = 0.0

    @property
    def token_count(self) -> int:
        return self.input_token_count + self.output_token_count

    def plus(self, other: Spent, sign: int = 1) -> Spent:
        """The sum, or with -1 the difference."""
        return Spent(
            request_count=self.request_count + sign * other.request_count,
            input_token_count=self.input_token_count + sign * other.input_token_count,
            output_token_count=self.output_token_count + sign * other.output_token_count,
            cost=max(0.0, self.cost + sign * other.cost),
        )


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """The most that one request can cost, taken off the budget before it is sent."""

    accounts: tuple[str, ...]
    most: Spent


class Purse:
    """The budget of one configured model. Kept in the state database, so it holds over restarts.

    The most that a request can cost is reserved before it is sent and corrected by what it did cost: a crash in between
    leaves the budget too small rather than too large.
    """

    def __init__(self, settings: Model, store: Store, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.settings, self._store, self._now = settings, store, now

    def spent_on(self, incident_id: str) -> Spent:
        """All that was asked for one incident so far."""
        return self._read(_of_incident(incident_id))

    def reserve(self, incident_id: str, input_tokens: int) -> Reservation:
        """Set aside what a request of about so many tokens may cost.

        Raises: `NoAnswer` when it would go beyond a limit; then nothing is set aside.
        """
        most = self._spent(input_tokens, self.settings.max_answer_tokens)
        incident, day = _of_incident(incident_id), f"model:day:{self._now():%Y-%m-%d}"
        self._change(incident, lambda spent: self._within_incident(spent.plus(most)))
        try:
            self._change(day, lambda spent: self._within_day(spent.plus(most)))
        except NoAnswer:
            self._change(incident, lambda spent: spent.plus(most, -1))
            raise
        return Reservation(accounts=(incident, day), most=most)

    def settle(self, reserved: Reservation, input_tokens: int, output_tokens: int) -> None:
        """Replace what was reserved by what the request used; (0, 0) for one that was refused."""
        used = self._spent(input_tokens, output_tokens)
        for account in reserved.accounts:
            self._change(account, lambda spent: spent.plus(reserved.most, -1).plus(used))

    def _within_incident(self, spent: Spent) -> Spent:
        limits = self.settings
        if spent.request_count > limits.max_steps:
            raise NoAnswer(f"its {limits.max_steps} steps for this incident are used up")
        if spent.token_count > limits.max_tokens:
            raise NoAnswer(f"the {limits.max_tokens:,} tokens for this incident do not suffice")
        if limits.max_cost_per_incident is not None and spent.cost > limits.max_cost_per_incident:
            raise NoAnswer("the money for this incident does not suffice")
        return spent

    def _within_day(self, spent: Spent) -> Spent:
        limit = self.settings.max_cost_per_day
        if limit is not None and spent.cost > limit:
            raise NoAnswer("the money for this day does not suffice")
        return spent

    def _spent(self, input_tokens: int, output_tokens: int) -> Spent:
        prices = self.settings.prices
        cost = (input_tokens * prices.input + output_tokens * prices.output) / 1e6 if prices else 0.0
        return Spent(request_count=1, input_token_count=input_tokens, output_token_count=output_tokens, cost=cost)

    def _read(self, account: str) -> Spent:
        return _parsed(self._store.cursor(account))

    def _change(self, account: str, change: Callable[[Spent], Spent]) -> None:
        """Change an account as if nobody else did: other threads, and other workers, may at the same time."""
        while True:
            kept = self._store.cursor(account)
            if self._store.move_cursor(account, kept, json.dumps(asdict(change(_parsed(kept))))):
                return


def _parsed(kept: str | None) -> Spent:
    return Spent(**json.loads(kept)) if kept else Spent()


def _of_incident(incident_id: str) -> str:
    return f"model:incident:{incident_id}"
