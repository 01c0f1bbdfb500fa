"""Arriving: which files are looked for at every tick, and which only by the sweep.

Belongs here: the open windows of a feed. Does not belong here: looking (``sh_resources.intake``), when a file counts as
late. Invariant: how many partitions are open does not grow with the age of a feed.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from itertools import chain, islice, product

from sh_core.feed import Feed
from sh_core.partitions import DELIMITER, Multi, Partitions, Static, Unpartitioned

NEWEST = 3
"""Periods that are open whether or not their file came: the one that has begun last, and those before it."""

HORIZON = 60
"""Periods, counted back from the newest, that are open until their file has come."""

MOST_OPEN = 1000
"""Partitions of one feed that may be open at a time, the newest of them; the others are left to the sweep."""


def open_partitions(feed: Feed, now_utc: datetime, arrived: Collection[str]) -> tuple[str, ...]:
    """Partitions of a feed whose file is expected now, or was recently; the newest first.

    What is no period is always open, as its file may be replaced any time.

    Args:
        feed: The feed.
        now_utc: Periods that have not begun are not open.
        arrived: Of ``recent_partitions`` those of which a file has come.
    """
    came = frozenset(arrived)
    return tuple(key for age, key in _recent(feed.partitions, now_utc) if age < NEWEST or key not in came)


def recent_partitions(feed: Feed, now_utc: datetime) -> tuple[str, ...]:
    """Partitions of a feed that may be open, the newest first."""
    return tuple(key for _, key in _recent(feed.partitions, now_utc))


def is_declared(partitions: Partitions, key: str, now_utc: datetime) -> bool:
    """Whether a key of a set is declared by now: of sets without end, only that of a period that has begun."""
    match partitions:
        case Multi() as multi:
            return all(is_declared(multi.dimensions[name], piece, now_utc) for name, piece in multi.pieces(key).items())
        case Static() | Unpartitioned():
            return True
        case periods:
            return periods.end is not None or periods.has_begun(key, now_utc)


def _recent(partitions: Partitions, now_utc: datetime) -> Iterator[tuple[int, str]]:
    """The newest partitions with their age in periods."""
    by_age = enumerate(_by_age(partitions, now_utc))
    return islice(((age, key) for age, keys in by_age for key in keys), MOST_OPEN)


def _by_age(partitions: Partitions, now_utc: datetime) -> Iterator[Iterable[str]]:
    """Keys of the newest period, of the one before it, and so on."""
    match partitions:
        case Multi() as multi:
            (_, outer), (_, inner) = multi.of
            first, second = ([tuple(keys) for keys in _by_age(of, now_utc)] for of in (outer, inner))
            for age in range(max(len(first), len(second))):
                # As old as the older of the two.
                pairs = chain(
                    product(chain(*first[age : age + 1]), chain(*second[: age + 1])),
                    product(chain(*first[:age]), chain(*second[age : age + 1])),
                )
                yield map(DELIMITER.join, pairs)
        case Static() | Unpartitioned() as fixed:
            yield fixed.keys()
        case periods:
            newest = periods.number_at(now_utc)
            newest = newest if periods.last is None else min(newest, periods.last)
            for number in range(newest, max(periods.first, newest - HORIZON + 1) - 1, -1):
                yield (periods.spell(number),)
