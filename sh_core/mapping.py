"""Mappings: which partitions of an upstream table one partition reads.

Belongs here: the step from a partition to those it reads, as calendar arithmetic. Does not belong here: which of them
are published (``sh_resources.inputs``), Dagster's own mappings (``sh_assets.describing``; a test compares the two).
Invariant: the answer depends on the declarations only, is in order, and names partitions of the upstream set only.
"""

from dataclasses import dataclass

from sh_core.errors import DeclarationError
from sh_core.partitions import WHOLE, Partitions, Unpartitioned


@dataclass(frozen=True)
class Window:
    """Those upstream periods that overlap the partition's own, and so many more (or fewer) at either end.

    ``Window()`` is the same day of a daily table, the days of a month, or the month that a day is in;
    ``Window(-6, 0)`` that and six upstream periods before; ``Window(-1, -1)`` the ones before. Periods that the
    upstream set does not have (before its start, say) are left out, and nobody waits for them. A table without
    partitions is read whole.

    The periods counted are always those of the upstream table, whatever the length of one's own: ``Window(-6, 0)`` of a
    daily table is, for a month, its days and the six before.

    Attributes:
        first: Upstream periods by which the window's beginning is moved; negative is earlier.
        last: The same for its end.
    """

    first: int = 0
    last: int = 0


SAME = Window()
"""The period of the partition itself."""


def mapped(window: Window, downstream: Partitions, upstream: Partitions, key: str) -> tuple[str, ...]:
    """The upstream partitions that a partition reads, in order.

    Args:
        window: As declared.
        downstream: Partition set of the table that reads.
        upstream: Partition set of the table that is read.
        key: The partition that reads.

    Raises:
        DeclarationError: If a table without partitions would read one with periods (see ``refuse``).
    """
    if isinstance(upstream, Unpartitioned):
        return (WHOLE,)
    if isinstance(downstream, Unpartitioned):
        raise DeclarationError(_NO_PERIOD)
    own = downstream.value(key)
    first = upstream.shift(upstream.floor(own), window.first)
    last = upstream.shift(upstream.floor(downstream.last_day(own)), window.last)
    return tuple(upstream.between(first, last))


def refuse(window: Window, downstream: Partitions, upstream: Partitions) -> str | None:
    """Why a declared mapping cannot work; None if it can."""
    if isinstance(upstream, Unpartitioned):
        return None if window == SAME else "has no partitions, so it is read whole: leave the window out"
    if isinstance(downstream, Unpartitioned):
        return _NO_PERIOD
    if window.last < window.first and width(downstream, upstream) == 1:
        return f"would be read from {window.first} to {window.last}, which is nothing: the first comes first"
    return None


def width(downstream: Partitions, upstream: Partitions) -> int:
    """How many upstream partitions each further partition of the reading table adds to what must be read, about."""
    if isinstance(upstream, Unpartitioned) or isinstance(downstream, Unpartitioned):
        return 1
    own = downstream.start
    days = (downstream.last_day(own) - own).days + 1
    step = (upstream.last_day(upstream.floor(own)) - upstream.floor(own)).days + 1
    return max(1, days // step)


_NO_PERIOD = "has partitions, but a table without partitions cannot say which of them it reads: give it periods"
