"""Links: which partitions all partitions of a table read, at once.

Belongs here: the mapping of ``mapping.mapped`` for every declared partition, by place, in numpy, for sweeps over
thousands of partitions. Does not belong here: keys and states, which the caller has by place. Invariant: what is linked
is what ``mapped`` names, as far as it is declared at the moment asked about.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache

import numpy as np

from sh_core.mapping import ONLY, All, Keys, Last, Pair, PartitionMapping, Window, dimensions_of, paired
from sh_core.partitions import Dimension, Multi, Partitions, Periods, Static, Unpartitioned

Numbers = np.ndarray[tuple[int], np.dtype[np.int64]]
Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True, eq=False)
class Links:
    """Per downstream partition, the upstream partitions that it reads, as ranges of places among the declared ones.

    Attributes:
        n_down: Declared partitions of the table that reads.
        n_up: Declared partitions of the table that is read.
        starts: Where in ``low`` and ``high`` the ranges of each downstream partition start; one more than there are
            partitions, so that the ranges of partition i are those from ``starts[i]`` to before ``starts[i + 1]``.
        low: First place of each range.
        high: Place behind the last one of each range; always more than ``low``.
        widths: How many partitions each reads, those that are mapped and not declared yet included: a month reads 31
            days on its second.
    """

    n_down: int
    n_up: int
    starts: Numbers
    low: Numbers
    high: Numbers
    widths: Numbers

    def reading(self, changed: Flags) -> Flags:
        """Which downstream partitions read at least one of some upstream partitions.

        Args:
            changed: Per upstream partition, whether it is one of them.
        """
        return self.counted(changed) > 0

    def read(self, mask: Flags) -> Flags:
        """Which upstream partitions are read by at least one of some downstream partitions.

        Args:
            mask: Per downstream partition, whether it is one of them.
        """
        steps = np.zeros(self.n_up + 1, np.int64)
        wanted = np.repeat(mask, np.diff(self.starts))
        np.add.at(steps, self.low[wanted], 1)
        np.add.at(steps, self.high[wanted], -1)
        return np.asarray(np.cumsum(steps[:-1]) > 0, np.bool_)

    def counted(self, mask: Flags) -> Numbers:
        """How many of some upstream partitions each downstream partition reads.

        Args:
            mask: Per upstream partition, whether it is one of them.
        """
        before = _sums(mask.astype(np.int64))
        total = _sums(before[self.high] - before[self.low])
        return total[self.starts[1:]] - total[self.starts[:-1]]

    def newest(self, values: Numbers, none: int) -> Numbers:
        """The greatest of some values among the upstream partitions that each downstream partition reads.

        Args:
            values: Per upstream partition, its value.
            none: What a downstream partition gets that reads nothing.
        """
        found = np.full(self.n_down, none, np.int64)
        if self.low.size:
            which, place = self._distinct
            greatest = _greatest(values, which[:, 0], which[:, 1])[place]
            filled = np.flatnonzero(np.diff(self.starts))
            found[filled] = np.maximum.reduceat(greatest, self.starts[filled])
        return found

    @cached_property
    def _distinct(self) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.int64]], Numbers]:
        """Each range once, and which of them each range is."""
        coded, place = np.unique(self.low * (self.n_up + 1) + self.high, return_inverse=True)
        return np.stack(np.divmod(coded, self.n_up + 1), axis=1), place


def places(partitions: Partitions, now_utc: datetime) -> Mapping[str, int]:
    """The place of each declared key, in their order.

    Args:
        partitions: The set.
        now_utc: Up to when periods of a set without end are declared.
    """
    return _places(partitions, _sizes(partitions, now_utc), _AnyTime(now_utc))


def declared(partitions: Partitions, now_utc: datetime) -> Sequence[str]:
    """The declared keys by their place.

    Args:
        partitions: The set.
        now_utc: Up to when periods of a set without end are declared.
    """
    return _declared(partitions, _sizes(partitions, now_utc), _AnyTime(now_utc))


@dataclass(frozen=True, eq=False)
class _AnyTime:
    """A moment that is like any other: keys depend on how many there are, not on the very moment asked about."""

    now_utc: datetime

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _AnyTime)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=512)
def _places(partitions: Partitions, sizes: tuple[int, ...], at: _AnyTime) -> Mapping[str, int]:
    return {key: place for place, key in enumerate(_declared(partitions, sizes, at))}


@lru_cache(maxsize=512)
def _declared(partitions: Partitions, sizes: tuple[int, ...], at: _AnyTime) -> tuple[str, ...]:
    del sizes
    return tuple(partitions.declared(at.now_utc))


def links(mapping: PartitionMapping, downstream: Partitions, upstream: Partitions, now_utc: datetime) -> Links:
    """The links between the declared partitions of two tables.

    Args:
        mapping: How the one reads the other.
        downstream: Partition set of the table that reads.
        upstream: Partition set of the table that is read.
        now_utc: Up to when periods of sets without end are declared.

    Raises:
        DeclarationError: If the mapping cannot work (see ``mapping.refuse``).
    """
    return _links(mapping, downstream, upstream, _sizes(downstream, now_utc), _sizes(upstream, now_utc))


def _sizes(partitions: Partitions, now_utc: datetime) -> tuple[int, ...]:
    """Declared partitions per dimension: all that links know of the time, so that they serve until that changes."""
    return tuple(dimension.size(now_utc) for dimension in dimensions_of(partitions).values())


@lru_cache(maxsize=512)
def _links(
    mapping: PartitionMapping,
    downstream: Partitions,
    upstream: Partitions,
    n_downs: tuple[int, ...],
    n_ups: tuple[int, ...],
) -> Links:
    n_down, n_up = int(np.prod(n_downs, dtype=np.int64)), int(np.prod(n_ups, dtype=np.int64))
    if isinstance(upstream, Unpartitioned):
        return _spread(_alike(All(), 1, 1), np.zeros(n_down, np.int64), 1)
    if isinstance(mapping, All | Last):
        return _spread(_alike(mapping, 1, n_up), np.zeros(n_down, np.int64), n_up)
    pairs = paired(mapping, downstream, upstream)
    own = dict(
        zip(dimensions_of(downstream), zip(dimensions_of(downstream).values(), n_downs, strict=True), strict=True)
    )
    found = [
        _one(pairs[name], own, n_downs, dimension, n)
        for (name, dimension), n in zip(dimensions_of(upstream).items(), n_ups, strict=True)
    ]
    if not isinstance(upstream, Multi):
        return found[0]
    return _crossed(*found)


def _one(
    pair: Pair, own: dict[str, tuple[Dimension, int]], n_downs: tuple[int, ...], upstream: Dimension, n_up: int
) -> Links:
    """The links of all downstream partitions with one upstream dimension."""
    how, by = pair
    place = np.arange(int(np.prod(n_downs, dtype=np.int64)))
    if by is None:
        return _spread(_alike(how, 1, n_up), np.zeros(place.size, np.int64), n_up)
    names = list(own)
    # Combinations are in the order of their first dimension, and of the second within it.
    row = place if by == ONLY else np.divmod(place, n_downs[-1])[names.index(by)]
    downstream, n_down = own[by]
    return _spread(_dimension(how, downstream, n_down, upstream, n_up), row, n_up)


def _alike(mapping: PartitionMapping, n_down: int, n_up: int) -> Links:
    """Everybody reads all, or the last one."""
    first = 0 if isinstance(mapping, All) else max(0, n_up - 1)
    low = np.full(n_down, first, np.int64)
    return _ranges(n_down, n_up, np.arange(n_down), low, np.full(n_down, n_up, np.int64))


def _dimension(mapping: PartitionMapping, downstream: Dimension, n_down: int, upstream: Dimension, n_up: int) -> Links:
    """The links of one dimension with one other."""
    match mapping:
        case Window(first, last) if isinstance(downstream, Periods) and isinstance(upstream, Periods):
            low, high = _overlapping(downstream, n_down, upstream)
            low, high = low + first - upstream.first, high + last + 1 - upstream.first
            until = n_up if upstream.last is None else upstream.last - upstream.first + 1
            most = np.iinfo(np.int64).max if upstream.last is None else until
            widths = np.maximum(0, np.clip(high, 0, most) - np.clip(low, 0, most))
            return _ranges(n_down, n_up, np.arange(n_down), low, high, widths)
        case _:
            own, theirs = (d.of if isinstance(d, Static) else () for d in (downstream, upstream))
            places = {key: place for place, key in enumerate(theirs)}
            said = dict(mapping.of) if isinstance(mapping, Keys) else {}
            read = [sorted({places[k] for k in said.get(key, (key,))}) for key in own]
            rows = np.repeat(np.arange(n_down), [len(r) for r in read])
            low = np.array([place for r in read for place in r], np.int64)
            return _ranges(n_down, n_up, rows, low, low + 1)


def _overlapping(downstream: Periods, n_down: int, upstream: Periods) -> tuple[Numbers, Numbers]:
    """Numbers of the first and the last upstream period that each downstream period overlaps."""
    numbers = np.arange(downstream.first, downstream.first + n_down)
    if downstream.same_periods(upstream):
        return numbers, numbers
    edges = downstream.begins(downstream.first, downstream.first + n_down)
    return upstream.numbers_at(edges[:-1]), upstream.numbers_at(edges[1:] - 1)


def _ranges(n_down: int, n_up: int, rows: Numbers, low: Numbers, high: Numbers, widths: Numbers | None = None) -> Links:
    """Links from ranges that are sorted by the downstream partition they are of; those of nothing are left out."""
    low, high = np.clip(low, 0, n_up), np.clip(high, 0, n_up)
    some = high > low
    rows, low, high = rows[some], low[some], high[some]
    if widths is None:
        widths = np.bincount(rows, weights=high - low, minlength=n_down).astype(np.int64)
    return Links(n_down, n_up, _sums(np.bincount(rows, minlength=n_down)), low, high, widths)


def _spread(of: Links, row: Numbers, n_up: int) -> Links:
    """The links of partitions each of which reads what one row of other links reads."""
    counts = np.diff(of.starts)[row]
    at = _expanded(of.starts[row], counts)
    return Links(row.size, n_up, _sums(counts), of.low[at], of.high[at], of.widths[row])


def _crossed(outer: Links, inner: Links) -> Links:
    """The links with a combination, given those with each of its dimensions."""
    n_inner = inner.n_up
    widths = outer.widths * inner.widths
    whole = np.diff(inner.starts) == 1
    if whole.all() and (inner.low == 0).all() and (inner.high == n_inner).all():
        low, high = outer.low * n_inner, outer.high * n_inner
        return Links(outer.n_down, outer.n_up * n_inner, outer.starts, low, high, widths)
    # One range per place in the outer dimension and range in the inner one.
    lengths = outer.high - outer.low
    places = _expanded(outer.low, lengths)
    first = _sums(lengths)[outer.starts]
    n_outer, n_ranges = np.diff(first), np.diff(inner.starts)
    counts = n_outer * n_ranges
    within = _expanded(np.zeros(counts.size, np.int64), counts)
    row = np.repeat(np.arange(counts.size), counts)
    out, into = np.divmod(within, n_ranges[row])
    base, at = places[first[row] + out] * n_inner, inner.starts[row] + into
    low, high = base + inner.low[at], base + inner.high[at]
    return Links(outer.n_down, outer.n_up * n_inner, _sums(counts), low, high, widths)


# ------------------------------------------------------------------------------------------------------- arithmetic


def _sums(values: Numbers) -> Numbers:
    """0, the first value, the sum of the first two, and so on."""
    sums = np.zeros(values.size + 1, np.int64)
    np.cumsum(values, out=sums[1:])
    return sums


def _expanded(starts: Numbers, counts: Numbers) -> Numbers:
    """So many numbers that count up from the first start, then from the second, and so on."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if ends.size else 0
    numbers: Numbers = np.arange(total, dtype=np.int64) + np.repeat(starts - (ends - counts), counts)
    return numbers


def _greatest(values: Numbers, low: Numbers, high: Numbers) -> Numbers:
    """The greatest value in each range, none of which is empty.

    Level k has the greatest of each 2^k neighbours, and a range is two overlapping ones of its level.
    """
    level = np.frexp((high - low).astype(np.float64))[1] - 1
    found, current = np.empty(low.size, np.int64), values
    for k in range(int(level.max()) + 1):
        if k:
            half = 1 << (k - 1)
            current = np.maximum(current[:-half], current[half:])
        here = level == k
        found[here] = np.maximum(current[low[here]], current[high[here] - (1 << k)])
    return found
