"""Feeds: what a vendor promises to deliver.

Belongs here: file naming, partitions, columns and size of one vendor's deliveries. Does not belong here: how bytes are
laid out (``formats``), finding or reading files (``sh_resources.landing``). Invariant: a file name maps to at most one
partition, and back.
"""

import re
from dataclasses import dataclass, field
from functools import cached_property

from sh_core.errors import DeclarationError, refuse_other_kinds
from sh_core.formats import Csv, Format
from sh_core.partitions import WHOLE, Partitions, Unpartitioned

PLACEHOLDER = "{partition}"


@dataclass(frozen=True)
class Feed:
    """One vendor's deliveries: one file per partition.

    Attributes:
        name: Folder below the landing zone, and prefix of the archive.
        file_name: Name of a partition's file with ``{partition}`` where the key stands; of a feed without partitions
            the one name.
        columns: Columns that the vendor promised, in any order; all cells are text at this station.
        partitions: Which keys are delivered.
        owner: Who to ask, e.g. ``team:flights`` or a mail address.
        description: One sentence for people.
        format: How the bytes are laid out.
        max_unparsable: Share of lines (0 to 1) that may be unreadable before the whole file is withheld.
        pii: Columns that identify a person or what is theirs; masked wherever rows are shown.
        max_bytes: Largest file that is read, in bytes, as delivered and again as unpacked; a larger one is archived and
            withheld. What is read is held in memory, several times over.
    """

    name: str
    file_name: str
    columns: tuple[str, ...]
    partitions: Partitions
    owner: str
    description: str = ""
    format: Format = field(default_factory=Csv)
    max_unparsable: float = 0.05
    pii: frozenset[str] = frozenset()
    max_bytes: int = 512 * 2**20

    def __post_init__(self) -> None:
        """Refuse a declaration that could not name its files or rows."""
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            msg = f"feed {self.name!r}: a name is lower case letters, digits and underscores"
            raise DeclarationError(msg)
        refuse_other_kinds(
            f"feed {self.name}",
            {
                "format": (self.format, Format, "Csv(), JsonLines() or Parquet()"),
                "partitions": (self.partitions, Partitions, "Daily(…), Weekly(…), Monthly(…) or Unpartitioned()"),
                "columns": (self.columns, tuple, "a tuple of names, ('branch', 'item')"),
                "pii": (self.pii, frozenset, "a frozenset of columns, frozenset({'reader'})"),
            },
        )
        times = 0 if isinstance(self.partitions, Unpartitioned) else 1
        if self.file_name.count(PLACEHOLDER) != times or "/" in self.file_name:
            often = "once" if times else "not at all, as it has no partitions,"
            msg = f"feed {self.name}: file_name {self.file_name!r} must contain {PLACEHOLDER} {often} and no folder"
            raise DeclarationError(msg)
        if not self.columns or len(set(self.columns)) != len(self.columns):
            msg = f"feed {self.name}: columns must be named, each once"
            raise DeclarationError(msg)
        if self.max_bytes < 1:
            msg = f"feed {self.name}: max_bytes is a number of bytes, at least 1, not {self.max_bytes}"
            raise DeclarationError(msg)
        if not self.pii <= set(self.columns):
            unknown = ", ".join(sorted(self.pii - set(self.columns)))
            msg = f"feed {self.name}: pii names {unknown}, which is no column of it"
            raise DeclarationError(msg)
        reserved = [c for c in self.columns if c.startswith("_") or c == self.partitions.column]
        if reserved:
            msg = f"feed {self.name}: {', '.join(reserved)}: such column names are reserved for the framework"
            raise DeclarationError(msg)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        before, _, after = self.file_name.partition(PLACEHOLDER)
        return re.compile(re.escape(before) + r"(?P<key>[^/]+)" + re.escape(after))

    @property
    def takes(self) -> str:
        """Which files it takes, for people."""
        periods = self.partitions
        if isinstance(periods, Unpartitioned):
            return f"one file, named {self.file_name}"
        until = "on" if periods.end is None else f"to {periods.end}"
        example = self.expected_file(periods.start.isoformat())
        return f"files named {self.file_name}, with {periods.KEY} from {periods.start} {until}, e.g. {example}"

    def delivery(self, key: str) -> str:
        """The file of a partition, for people who wait for it."""
        return f"file {self.expected_file(key)} of feed {self.name}"

    def expected_file(self, key: str) -> str:
        """Name of the file that should hold a partition."""
        return self.file_name.replace(PLACEHOLDER, key)

    def partition_of(self, file_name: str) -> str | None:
        """The partition that a file name stands for, or None if the name is not one of this feed's."""
        if isinstance(self.partitions, Unpartitioned):
            return WHOLE if file_name == self.file_name else None
        match = self._pattern.fullmatch(file_name)
        if match is None:
            return None
        try:
            self.partitions.check(match["key"])
        except DeclarationError:
            return None
        return match["key"]
