"""Calendar: the reference's own idea of partitions and of which ones a window means.

Belongs here: sets as lists of days, windows by counting along them. Does not belong here: anything of the project: this
is the second opinion on ``sh_core.partitions`` and ``sh_core.mapping``. Invariant: naive, so that it can be seen to be
right: it walks from day to day.
"""

from datetime import date, timedelta
from functools import lru_cache

from sh_drills.oracle.shapes import WHOLE, Given, Span

Period = tuple[str, date, date]
"""A partition's key, its first day and its last."""

_BEFORE, _AFTER = timedelta(days=250), timedelta(days=250)


def _begins(kind: str, day: date) -> bool:
    """Whether a period of a kind begins on a day."""
    match kind:
        case "daily":
            return True
        case "weekly":
            return day.isoweekday() == 1
        case "monthly":
            return day.day == 1
        case _:
            raise AssertionError(kind)


@lru_cache(maxsize=1024)
def _line(kind: str, first: date, last: date) -> tuple[Period, ...]:
    """Every period of a kind that begins between two days, whether or not any set has it."""
    found: list[tuple[date, date]] = []
    day = first
    while day <= last:
        if _begins(kind, day):
            found.append((day, day))
        elif found:
            found[-1] = (found[-1][0], day)
        day += timedelta(days=1)
    return tuple((begin.isoformat(), begin, end) for begin, end in found)


@lru_cache(maxsize=1024)
def periods_read(span: Span, today: date) -> tuple[Period, ...]:
    """The declared partitions of a set; those of a set without end up to the one that today is in."""
    if span.start is None:
        return ((WHOLE, date.min, date.max),)
    until = today if span.end is None else span.end
    return tuple(p for p in _line(span.kind, span.start, until))


@lru_cache(maxsize=100_000)
def read_by(own: Span, upstream: Span, given: Given, key: str) -> tuple[str, ...]:
    """Partitions of an upstream table that one partition reads."""
    if upstream.start is None:
        return (WHOLE,)
    if own.start is None:
        raise AssertionError(given)
    line = _line(upstream.kind, upstream.start - _BEFORE, upstream.start + _AFTER)
    _, begin, end = next(p for p in _line(own.kind, own.start, own.start + _AFTER) if p[0] == key)
    touched = [i for i, (_, first, last) in enumerate(line) if first <= end and last >= begin]
    wanted = line[max(0, touched[0] + given.first) : max(0, touched[-1] + given.last + 1)]
    return tuple(
        k for k, first, _ in wanted if first >= upstream.start and (upstream.end is None or first <= upstream.end)
    )
