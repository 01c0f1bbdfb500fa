"""Calendar: the reference's own idea of partitions and of which ones a partition reads.

Belongs here: sets as lists of hours or days, windows by counting along them. Does not belong here: anything of the
project: this is the second opinion on ``sh_core.partitions``, ``mapping`` and ``links``. Invariant: naive, so that it
can be seen to be right: it walks from hour to hour, or from day to day.
"""

from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise, product

from sh_drills.oracle.shapes import WHOLE, Given, Span

Period = tuple[str, datetime, datetime]
"""A partition's key, when it begins, and when it is over."""

_AROUND = timedelta(days=100)
"""How far windows may look beyond what is drawn."""


def _begins(kind: str, at: datetime) -> bool:
    """Whether a period of a kind begins at an hour."""
    match kind:
        case "hourly":
            return True
        case "daily":
            return at.hour == 0
        case "weekly":
            return at.hour == 0 and at.isoweekday() == 1
        case "monthly":
            return at.hour == 0 and at.day == 1
        case _:
            raise AssertionError(kind)


@lru_cache(maxsize=1024)
def _line(kind: str, first: date, last: date) -> tuple[Period, ...]:
    """Every period of a kind that begins between two days, whether or not any set has it."""
    step = timedelta(hours=1 if kind == "hourly" else 24)
    begins: list[datetime] = []
    at, until = datetime(first.year, first.month, first.day), datetime(last.year, last.month, last.day)  # noqa: DTZ001
    while at < until + timedelta(days=1):
        if _begins(kind, at):
            begins.append(at)
        at += step
    spelled = "%Y-%m-%d-%H:%M" if kind == "hourly" else "%Y-%m-%d"
    # The last one has no end here, so it is left out: callers ask for more than they need.
    return tuple((b.strftime(spelled), b, e) for b, e in pairwise(begins))


@lru_cache(maxsize=4096)
def _periods(span: Span, today: date) -> tuple[Period, ...]:
    """Declared periods; of a set without end up to the one that today is in."""
    if span.start is None:
        raise AssertionError(span)
    until = today if span.end is None else span.end
    return tuple(p for p in _line(span.kind, span.start, until + _AROUND) if p[1].date() <= until)


@lru_cache(maxsize=4096)
def keys_of(span: Span, today: date) -> tuple[str, ...]:
    """The declared partitions of a set, in order."""
    match span.kind:
        case "whole":
            return (WHOLE,)
        case "static":
            return span.of
        case "multi":
            return tuple("|".join(keys) for keys in product(*(keys_of(part, today) for _, part in span.dims)))
        case _:
            return tuple(key for key, _, _ in _periods(span, today))


@lru_cache(maxsize=200_000)
def read_by(own: Span, upstream: Span, given: Given, key: str, today: date) -> tuple[str, ...]:
    """Partitions of an upstream table that one partition reads.

    Dimensions correspond if both are lists or neither is: what is drawn has no more than one of each.
    """
    if upstream.kind == "whole":
        return (WHOLE,)
    if given.every:
        declared = keys_of(upstream, today)
        return declared if given.every == "all" else declared[-1:]
    pieces = dict(zip(own.parts, key.split("|"), strict=True)) if own.parts else {}
    found: list[tuple[str, ...]] = []
    for dimension in upstream.parts.values():
        same = [n for n, mine in own.parts.items() if (mine.kind == "static") == (dimension.kind == "static")]
        if not same:
            found.append(keys_of(dimension, today))
        elif dimension.kind == "static":
            found.append((pieces[same[0]],))
        else:
            found.append(_overlapping(own.parts[same[0]], dimension, given, pieces[same[0]]))
    return tuple("|".join(keys) for keys in product(*found))


def _overlapping(own: Span, upstream: Span, given: Given, key: str) -> tuple[str, ...]:
    """The periods with an instant in common, and those that the window adds."""
    if own.start is None or upstream.start is None:
        raise AssertionError(own, upstream)
    _, begin, end = next(p for p in _line(own.kind, own.start, own.start + _AROUND) if p[0] == key)
    line = _line(upstream.kind, upstream.start - _AROUND, upstream.start + _AROUND)
    touched = [i for i, (_, first, after) in enumerate(line) if first < end and after > begin]
    wanted = line[max(0, touched[0] + given.first) : max(0, touched[-1] + given.last + 1)]
    last = date.max if upstream.end is None else upstream.end
    return tuple(k for k, first, _ in wanted if upstream.start <= first.date() <= last)
