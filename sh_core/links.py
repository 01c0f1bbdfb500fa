"""Links: which partitions of one set read which of another, for all of them at once.

Belongs here: mappings as arrays of index ranges, and the few questions that a sweep over every partition asks of them.
Does not belong here: what a mapping means (``mapping``), what is stale (``suspects``). Invariant: for each declared key
the ranges name exactly the declared upstream keys that ``mapped`` names.

Indices are places among the declared keys of a set: a partition's number is its place in ``declared(today)``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sh_core.mapping import Window, mapped
from sh_core.partitions import Partitions

Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]


@lru_cache(maxsize=1024)
def places(partitions: Partitions, today: date) -> Mapping[str, int]:
    """The place of each declared key; in the order of keys.

    Args:
        partitions: The set.
        today: Until when a set without end is declared.
    """
    return {key: place for place, key in enumerate(partitions.declared(today))}


@dataclass(frozen=True, eq=False)
class Links:
    """Ranges of upstream partitions, each read by one partition downstream.

    Attributes:
        readers: How many partitions there are downstream.
        owner: Per range, the partition that reads it; ascending, shape (ranges,).
        first: Per range, its first upstream partition.
        beyond: Per range, the one behind its last.
    """

    readers: int
    owner: Numbers
    first: Numbers
    beyond: Numbers

    def counted(self, mask: Flags) -> Numbers:
        """How many of the upstream partitions that each one reads are in a mask, shape (readers,)."""
        before = np.concatenate(([0], np.cumsum(mask, dtype=np.int64)))
        return self._per_reader(before[self.beyond] - before[self.first])

    def reading(self, mask: Flags) -> Flags:
        """Which partitions read at least one upstream partition of a mask, shape (readers,)."""
        return self.counted(mask) > 0

    def read(self, mask: Flags, upstream: int) -> Flags:
        """Which upstream partitions are read by at least one partition of a mask, shape (upstream,)."""
        steps = np.zeros(upstream + 1, np.int64)
        wanted = mask[self.owner]
        np.add.at(steps, self.first[wanted], 1)
        np.add.at(steps, self.beyond[wanted], -1)
        return np.asarray(np.cumsum(steps[:-1]) > 0, np.bool_)

    @property
    def widths(self) -> Numbers:
        """How many upstream partitions each one reads, shape (readers,)."""
        return self._per_reader(self.beyond - self.first)

    def newest(self, values: Numbers) -> Numbers:
        """The greatest value among the upstream partitions that each one reads; 0 where it reads none."""
        found = np.zeros(self.readers, np.int64)
        some = self.beyond > self.first
        if some.any():
            bounds = np.column_stack((self.first[some], self.beyond[some])).ravel()
            # reduceat goes from each bound to the next: every other result is a range, those between are left out.
            tops = np.maximum.reduceat(np.append(values, 0), bounds)[::2]
            np.maximum.at(found, self.owner[some], tops)
        return found

    def _per_reader(self, per_range: Numbers) -> Numbers:
        return np.bincount(self.owner, weights=per_range, minlength=self.readers).astype(np.int64)


@lru_cache(maxsize=4096)
def links(mapping: Window, downstream: Partitions, upstream: Partitions, today: date) -> Links:
    """Who reads what between two sets.

    Args:
        mapping: As the reading table declares it.
        downstream: Partition set of the table that reads.
        upstream: Partition set of the table that is read.
        today: Until when sets without end are declared.
    """
    place = places(upstream, today)
    owner, first, beyond = list[int](), list[int](), list[int]()
    for number, key in enumerate(places(downstream, today)):
        read = sorted(place[k] for k in mapped(mapping, downstream, upstream, key) if k in place)
        start = 0
        for i in range(1, len(read) + 1):
            if i == len(read) or read[i] != read[i - 1] + 1:
                owner.append(number)
                first.append(read[start])
                beyond.append(read[i - 1] + 1)
                start = i
    readers = len(places(downstream, today))
    return Links(readers, *(np.array(numbers, np.int64) for numbers in (owner, first, beyond)))
