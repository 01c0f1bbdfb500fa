"""Clocks: what a wall-clock time in a time zone is as an instant.

Belongs here: zones by name, and the two times a year at which a clock is wrong. Does not belong here: periods
(``periods``). Invariant: a wall-clock time means the instant that Dagster takes it for, so that a day that begins at
half past two begins at the same moment here and there, also where that hour is missing or comes twice.
"""

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from difflib import get_close_matches
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from sh_core.errors import DeclarationError

_HOURS_OF_CHANGE = (1, 2, 3)
"""Local hours in which Dagster looks for the change of a clock. Elsewhere it takes what Python says: the first of two,
and of a time that is missing as much after the change as it would be after its beginning."""


@lru_cache(maxsize=64)
def zone(name: str) -> tzinfo:
    """The time zone of a name.

    Raises:
        DeclarationError: If there is none; with names that look like it.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):  # a folder of zones, a path, no text at all
        near = get_close_matches(str(name), sorted(available_timezones()), cutoff=0.5)
        ask = f"; did you mean {' or '.join(near)}?" if near else ""
        msg = f"there is no time zone {name!r}: take a name of the IANA database, such as 'Europe/Berlin'{ask}"
        raise DeclarationError(msg) from None


def instant(day: date, hour: int, minute: int, clock: tzinfo) -> datetime:
    """The instant (UTC) at which a clock shows a time on a day.

    Of a time that it shows twice, the second; of one that it skips, the end of what is skipped.
    """
    wall = datetime.combine(day, time(hour, minute), clock)
    if clock is not UTC and hour in _HOURS_OF_CHANGE:
        if not _exists(wall):
            # As Dagster counts: the change is at the full hour, and by what the clock then is ahead.
            wall = wall.replace(minute=0) + (clock.dst(wall + timedelta(hours=1)) or timedelta())
        elif wall.utcoffset() != wall.replace(fold=1).utcoffset():
            wall = wall.replace(fold=1)
    return wall.astimezone(UTC)


def _exists(wall: datetime) -> bool:
    return wall.astimezone(UTC).astimezone(wall.tzinfo).replace(tzinfo=None, fold=0) == wall.replace(
        tzinfo=None, fold=0
    )
