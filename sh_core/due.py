"""Due times: when a partition's file, or the partition itself, is owed.

Belongs here: the declaration of a due time, and the instants that follow from it. Does not belong here: what has
arrived (the ledger), what is late and whom it makes late (``lateness``). Invariant: a due time is a pure function of
the declaration and the partition's key; it never moves because somebody was late.

    due=By(time(6), "America/New_York")                    by six in the morning after the day
    due=By(time(18), "Europe/Rome", days_after=0)          the same evening
    due=Within(timedelta(minutes=20))                      twenty minutes after the hour is over
"""

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

from sh_core.errors import DeclarationError
from sh_core.partitions import Hourly, Multi, Partitions, Periods
from sh_core.partitions.zones import instant, zone

_WEEKDAYS = frozenset(range(7))

_MOST_DAYS_CLOSED = 400
"""Days in a row on which nobody delivers, past which the declaration must be wrong."""


@dataclass(frozen=True)
class DaysOff:
    """Calendar days, by weekday and by date.

    Attributes:
        weekdays: Days of the week, Monday being 0 and Sunday 6, as ``date.weekday`` has them.
        dates: Single days, holidays for instance.
    """

    weekdays: frozenset[int] = frozenset()
    dates: frozenset[date] = frozenset()

    def __post_init__(self) -> None:
        """Refuse what is no day of the week."""
        if not self.weekdays < _WEEKDAYS:
            msg = f"weekdays off are some of 0 (Monday) to 6 (Sunday), not {sorted(self.weekdays)}"
            raise DeclarationError(msg)

    def __contains__(self, day: date) -> bool:
        """Whether a day is off."""
        return day.weekday() in self.weekdays or day in self.dates


@dataclass(frozen=True)
class By:
    """By a time of day on a clock.

    Attributes:
        at: The time on that clock. One that the clock skips is when it is put forward; of one that comes twice it is
            the second.
        timezone: Name of the clock's zone in the IANA database.
        days_after: How many days after the period's last day: 1 means the next morning, if ``at`` is in the morning.
        grace: How much later it may be before anybody is told.
        closed: Days on which nobody delivers: what is due then is due on the next day that is not one of these.
        without: Of periods that begin on one of these days nothing is owed at all.
    """

    at: time
    timezone: str = "UTC"
    days_after: int = 1
    grace: timedelta = timedelta()
    closed: DaysOff = field(default_factory=DaysOff)
    without: DaysOff = field(default_factory=DaysOff)

    def __post_init__(self) -> None:
        """Refuse what names no instant."""
        if not isinstance(self.at, time) or self.at.tzinfo is not None or self.at.second or self.at.microsecond:
            msg = f"due at {self.at!r}: name hour and minute, such as time(6, 30), and the zone beside it"
            raise DeclarationError(msg)
        if type(self.days_after) is not int or self.days_after < 0:
            raise DeclarationError(f"days_after is a number of days, at least 0, not {self.days_after!r}")
        _refuse_negative("grace", self.grace)
        zone(self.timezone)


@dataclass(frozen=True)
class Within:
    """Within a time after the end of the period.

    Attributes:
        after: How long after.
        grace: How much later it may be before anybody is told.
    """

    after: timedelta
    grace: timedelta = timedelta()

    def __post_init__(self) -> None:
        """Refuse what would be due before it can be there."""
        _refuse_negative("after", self.after)
        _refuse_negative("grace", self.grace)


Due = By | Within
"""When something is owed: a closed union."""


@dataclass(frozen=True)
class Deadline:
    """When one partition is owed.

    Attributes:
        due_utc: When it is due.
        late_utc: From when on it is late: the grace is over.
    """

    due_utc: datetime
    late_utc: datetime


def refuse_due(due: object, partitions: Partitions) -> str | None:
    """Why a set cannot have a due time, in words; None if it can."""
    if due is None:
        return None
    if not isinstance(due, By | Within):
        return f"due is By(time(6), 'Europe/Berlin') or Within(timedelta(minutes=20)), not {due!r}"
    if not _periods(partitions):
        return "due needs partitions in time: hours, days, weeks or months; nobody can say when a list is late"
    return None


def deadline(due: Due, partitions: Partitions, key: str) -> Deadline | None:
    """When a partition is owed; None if nothing is owed of it.

    Args:
        due: The declared due time.
        partitions: The set; one of periods, or a combination with one.
        key: Partition key of it.

    Raises:
        DeclarationError: If the key is none of the set's.
    """
    if isinstance(partitions, Multi):
        pieces, periods = partitions.pieces(key), _periods(partitions)
        return max(
            (owed for name, of in partitions.of if of in periods if (owed := _deadline(due, of, pieces[name]))),
            key=lambda owed: owed.late_utc,
            default=None,
        )
    return next((_deadline(due, periods, key) for periods in _periods(partitions)), None)


def _deadline(due: Due, periods: Periods, key: str) -> Deadline | None:
    number = periods.number(key)
    match due:
        case Within(after, grace):
            due_utc = periods.begin(number + 1) + after
        case By():
            first, last = _days(periods, number, due)
            if first in due.without:
                return None
            day, grace = _open_day(last + timedelta(days=due.days_after), due.closed), due.grace
            due_utc = instant(day, due.at.hour, due.at.minute, zone(due.timezone))
    return Deadline(due_utc, due_utc + grace)


def _periods(partitions: Partitions) -> tuple[Periods, ...]:
    """The dimensions that are times."""
    dimensions = [of for _, of in partitions.of] if isinstance(partitions, Multi) else [partitions]
    return tuple(of for of in dimensions if isinstance(of, Periods))


def _days(periods: Periods, number: int, due: By) -> tuple[date, date]:
    """First and last calendar day of a period: on its own calendar; of an hour, on the clock of the due time."""
    if isinstance(periods, Hourly):
        clock, moment = zone(due.timezone), timedelta(microseconds=1)
        begin, end = periods.begin(number), periods.begin(number + 1) - moment
        return begin.astimezone(clock).date(), end.astimezone(clock).date()
    first = periods.first_day(number)
    return first, periods.last_day(first)


def _open_day(day: date, closed: DaysOff) -> date:
    for _ in range(_MOST_DAYS_CLOSED):
        if day not in closed:
            return day
        day += timedelta(days=1)
    raise DeclarationError(f"nobody delivers for {_MOST_DAYS_CLOSED} days before {day}: check the days that are closed")


def _refuse_negative(name: str, span: timedelta) -> None:
    if not isinstance(span, timedelta) or span < timedelta():
        raise DeclarationError(f"{name} is a timedelta that is not negative, not {span!r}")
