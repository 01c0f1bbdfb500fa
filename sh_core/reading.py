"""Reading: what a partition would be computed from, given what is published upstream.

Belongs here: from declared inputs and published versions to the reads of a trace, or to what is missing. Does not
belong here: finding out what is published, reading rows (``sh_resources.inputs``). Invariant: whoever asks with the
same versions gets the same reads; so what the engine runs on, what automation looks at and what a plan explains cannot
differ.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from sh_core.code_version import CodeVersion
from sh_core.fingerprint import fingerprint
from sh_core.inputs import Input, Partial, Required
from sh_core.mapping import mapped, moves
from sh_core.table import Station, Table
from sh_core.trace import ABSENT, Read
from sh_core.version import Version

Picked = Callable[[Input, str, str], str]
"""The version of the looked-up rows of an input, for a partition to compute and an input partition."""


def handed_over(given: Input, source: Table) -> list[str]:
    """Columns of an upstream table that a transform gets: the declared ones plus the key, or all; in contract order.

    A staged transform gets file and line beside them. They are in no version, so no other transform may see them.
    """
    wanted = source.contract.columns if given.columns is None else {*given.columns, *source.contract.key}
    return [c for c in source.contract.columns if c in wanted]


@dataclass(frozen=True, eq=False)
class Reading:
    """What some partitions of a table would read at one moment.

    Attributes:
        table: The table to compute.
        upstream: Its input tables by name, those that its contract consults included.
        wanted: Per argument, per partition to compute, the input partitions that it reads.
        versions: Per input table, per partition that has something published that can be used: its version.
    """

    table: Table
    upstream: Mapping[str, Table]
    wanted: Mapping[str, Mapping[str, tuple[str, ...]]]
    versions: Mapping[str, Mapping[str, Version]]
    _digests: dict[tuple[str, str], str] = field(default_factory=dict)

    def present(self, given: Input, partition: str) -> list[str]:
        """Partitions of one input that a partition reads and that are published."""
        return [p for p in self.wanted[given.name][partition] if p in self.versions[given.table]]

    def missing(self, partition: str) -> tuple[str, ...]:
        """What keeps a partition waiting, in words; nothing if it can be computed."""
        gaps: list[str] = []
        for given in self.table.reads:
            asked = self.wanted[given.name][partition]
            absent = [f"{given.table}[{p}]" for p in asked if p not in self.versions[given.table]]
            match given.present:
                case Required():
                    gaps += absent
                case Partial(min_present):
                    if len(asked) - len(absent) < min_present:
                        gaps += absent  # none, where fewer exist and all of them are there
        return tuple(dict.fromkeys(gaps))

    def marks(self, partition: str) -> tuple[str, ...]:
        """The placeholders that one partition would rest on: those of everything that it reads."""
        found = (self.versions[g.table][p].marks for g in self.table.reads for p in self.present(g, partition))
        return tuple(sorted({mark for marks in found for mark in marks}))

    def reads(self, partition: str, picked: Picked) -> frozenset[Read]:
        """The part of a trace that says what one partition's transform is handed.

        Args:
            partition: One that misses nothing.
            picked: Asked for the version of looked-up rows.
        """
        found = set[Read]()
        for given in self.table.reads:
            columns, role = self._handed[given.name]
            versions = self.versions[given.table]
            for p in self.wanted[given.name][partition]:
                if p not in versions:
                    digest = ABSENT
                elif given.lookup is not None:
                    digest = picked(given, partition, p)
                else:
                    digest = self._digest(given, columns, p)
                found.add(Read(given.table, p, columns, digest, role))
        return frozenset(found)

    @cached_property
    def _handed(self) -> Mapping[str, tuple[tuple[str, ...], str]]:
        """Per argument, what is said of it in every read: its columns, sorted, and its role."""
        return {g.name: (tuple(sorted(handed_over(g, self.upstream[g.table]))), g.role) for g in self.table.reads}

    def _digest(self, given: Input, columns: tuple[str, ...], p: str) -> str:
        """Version of some columns of an input partition, once for all windows that hold it."""
        known = (given.name, p)
        if known not in self._digests:
            self._digests[known] = self.versions[given.table][p].of(columns)
        return self._digests[known]


def wanted(
    table: Table, upstream: Mapping[str, Table], keys: Collection[str], now_utc: datetime
) -> dict[str, dict[str, tuple[str, ...]]]:
    """Per argument of a table, per partition to compute, the input partitions that it reads.

    Args:
        table: The table to compute.
        upstream: Its input tables by name.
        keys: Its partitions.
        now_utc: Up to when partitions of a set without end are declared.
    """
    return {
        given.name: {
            k: mapped(given.window, table.partitions, upstream[given.table].partitions, k, now_utc) for k in keys
        }
        for given in table.reads
    }


def usable(table: Table, source: Table, version: Version) -> bool:
    """Whether published content can be read: not if it is from before a column was declared that is read now.

    Nor is a placeholder, or what rests on one, by features: what learns from them would learn from what never was.
    """
    needed = {c for given in table.reads if given.table == source.name for c in handed_over(given, source)}
    return needed <= set(version.columns) and not (version.marks and table.station is Station.FEATURE)


def recipe(table: Table, upstream: Mapping[str, Table], code: CodeVersion | str, now_utc: datetime) -> int:
    """A number for all that decides a table's traces beside the data: code, contract, and which inputs are read how.

    As long as it is the same and nothing upstream has been published, no trace can have changed.

    Args:
        table: The table.
        upstream: Its input tables by name.
        code: Code version of its transform, or of the reader of its feed.
        now_utc: Current time: where all partitions of a set without end are read, or the newest, a new one makes a
            difference before anything of it is published.

    Returns:
        63 bits, so that any database keeps it as a number. It only narrows what is looked at.
    """
    digest = code if isinstance(code, str) else code.digest
    named = [digest, table.contract.version, repr(table.partitions)]
    for given in table.reads:
        source = upstream[given.table]
        columns, theirs = handed_over(given, source), source.partitions
        named.append(repr((given.table, given.role, given.window, given.present, columns, theirs)))
        if moves(given.window, table.partitions, theirs):
            named.append(str(theirs.size(now_utc)))
    return int.from_bytes(fingerprint("sh-recipe-1", named)[:8], "big") >> 1
