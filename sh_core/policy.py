"""Policy: when something that is stale is not requested, and when what has failed is tried again.

Belongs here: budgets and pauses. Does not belong here: what is stale (``staleness``), asking (``watch``). Invariant:
every loop ends: a partition is requested a bounded number of times under one trace, and nothing waits for ever.
"""

import sys
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sh_core.book import Tries


class Hold(StrEnum):
    """Why a stale partition is not due; the value is how it is told."""

    ANCESTOR = "an ancestor comes first"
    BUSY = "somebody works on it"
    PAUSED = "paused"
    REQUESTED = "requested a moment ago"
    BACKING_OFF = "failed, is tried again later"
    OTHER_CODE = "computed by other code meanwhile: reload definitions"
    GIVEN_UP = "failed too often, needs a person"


@dataclass(frozen=True)
class Held:
    """Why a stale partition is not due now.

    Attributes:
        hold: Why.
        until_utc: Until when, if that is known.
    """

    hold: Hold
    until_utc: datetime | None = None


@dataclass(frozen=True)
class Policy:
    """When what has failed is tried again, and how long anything waits for anything else.

    Attributes:
        most_tries: Requests of one partition under one trace; past it a person is asked.
        first_pause_s: Seconds from the first request to the second. So long after a request it may be on its way:
            noted, and not known to Dagster yet.
        growth: By how much each pause is longer than the one before.
        longest_pause_s: The longest pause; and how long nothing is requested again that other code has computed since.
        patience_s: How long a partition waits for its ancestors; past it it goes first, with what they have.
        sweep_s: After how many seconds everything is looked at.
        most_looks: Partitions looked at by one tick; the others are looked at by the next ones, and until then hold up
            what reads them.
        compared: Tables whose files are compared with the ledger by one sweep; the next sweep goes on with the others.
    """

    most_tries: int = 5
    first_pause_s: float = 30.0
    growth: float = 4.0
    longest_pause_s: float = 3600.0
    patience_s: float = 1800.0
    sweep_s: float = 300.0
    most_looks: int = 20_000
    compared: int = 50

    def without_bounds(self) -> "Policy":
        """The same for somebody who waits for the answer, however long it takes."""
        return replace(self, most_looks=sys.maxsize, compared=sys.maxsize)

    def next_try_utc(self, tries: Tries) -> datetime | None:
        """When a partition may be requested again; None if it may not."""
        if tries.count >= self.most_tries:
            return None
        pause = min(self.longest_pause_s, self.first_pause_s * self.growth ** (tries.count - 1))
        return tries.last_utc + timedelta(seconds=pause)

    def held(self, tries: Tries, now_utc: datetime) -> Held | None:
        """Why a partition that was tried is not requested again yet; None if it may be."""
        heard_by = tries.last_utc + timedelta(seconds=self.first_pause_s)
        if now_utc < heard_by:
            return Held(Hold.REQUESTED, heard_by)
        again = self.next_try_utc(tries)
        if again is None:
            return Held(Hold.GIVEN_UP)
        return Held(Hold.BACKING_OFF, again) if now_utc < again else None

    def held_elsewhere(self, asked_utc: datetime, otherwise: Held | None, now_utc: datetime) -> Held | None:
        """Why a partition is not requested that other code has looked at since it was requested; None if it may be.

        Args:
            asked_utc: When it was requested last.
            otherwise: Why it would not be, were it not for that.
            now_utc: Current time.
        """
        # Asked again now and then: the other code may have been an older process, which was late.
        again = asked_utc + timedelta(seconds=self.longest_pause_s)
        if asked_utc <= now_utc < again:  # a clock that was set back would otherwise hold it for as much longer
            return Held(Hold.OTHER_CODE, again)
        return None if otherwise is None else replace(otherwise, hold=Hold.OTHER_CODE)
