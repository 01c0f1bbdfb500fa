"""Feeds: what a vendor promises to deliver.

Belongs here: partitions, columns and size of one vendor's deliveries. Does not belong here: how names are spelled
(``file_names``) and bytes laid out (``formats``), finding or reading files (``sh_resources.landing``). Invariant: a
file name maps to at most one partition, and back.
"""

import re
from dataclasses import dataclass, field
from functools import cached_property

from sh_core.deliveries import Several
from sh_core.due import Due, refuse_due
from sh_core.errors import DeclarationError, refuse_other_kinds
from sh_core.file_names import ANY, PART, VERSION, FileNames, Named
from sh_core.formats import Csv, Format
from sh_core.partitions import KINDS, Multi, Partitions, Static, Unpartitioned


@dataclass(frozen=True)
class Feed:
    """One vendor's deliveries.

    Attributes:
        name: Folder below the landing zone, and prefix of the archive.
        file_name: Name of a partition's file with ``{partition}`` where the key stands; with the name of each
            dimension, ``{airport}_{day}.csv``, where there are two; of a feed without partitions the one name. The key
            of a period may have the vendor's spelling, ``{partition:%Y%m%d}``, and ``{version}`` and ``{part}`` may
            stand beside it (``file_names``).
        columns: Columns that the vendor promised, in any order; all cells are text at this station.
        partitions: Which keys are delivered.
        owner: Who to ask, e.g. ``team:flights`` or a mail address.
        description: One sentence for people.
        format: How the bytes are laid out.
        max_unparsable: Share of lines (0 to 1) that may be unreadable before the whole file is withheld.
        pii: Columns that identify a person or what is theirs; masked wherever rows are shown.
        max_bytes: Largest file that is read, in bytes, as delivered and again as unpacked; a larger one is archived and
            withheld. What is read is held in memory, several times over.
        due: When a partition's file is owed; None where the vendor has promised no time. Nothing is late then.
        version_column: Column whose greatest value is the version of a file, where names do not say it: numbers by
            their value, anything else by its letters, as time stamps of one format are ordered.
        several: What several files for one partition mean.
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
    due: Due | None = None
    version_column: str | None = None
    several: Several = Several.LATEST

    def __post_init__(self) -> None:
        """Refuse a declaration that could not name its files or rows."""
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            msg = f"feed {self.name!r}: a name is lower case letters, digits and underscores"
            raise DeclarationError(msg)
        refuse_other_kinds(
            f"feed {self.name}",
            {
                "format": (self.format, Format, "Csv(), JsonLines() or Parquet()"),
                "partitions": (self.partitions, Partitions, KINDS),
                "columns": (self.columns, tuple, "a tuple of names, ('branch', 'item')"),
                "pii": (self.pii, frozenset, "a frozenset of columns, frozenset({'reader'})"),
                "several": (self.several, Several, "one of Several.LATEST, .APPEND, .HOLD"),
            },
        )
        _ = self._names  # refuses a name that does not say which partition a file is of
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
        why = refuse_due(self.due, self.partitions)
        if why is not None:
            raise DeclarationError(f"feed {self.name}: {why}")
        reserved = [c for c in self.columns if c.startswith("_") or c in self.partitions.columns]
        if reserved:
            msg = f"feed {self.name}: {', '.join(reserved)}: such column names are reserved for the framework"
            raise DeclarationError(msg)

        self._refuse_several()

    def _refuse_several(self) -> None:
        """Refuse a feed of which nobody could say in which order its files follow each other."""
        if self.version_column is not None:
            if self.version_column not in self.columns:
                msg = f"feed {self.name}: version_column {self.version_column!r} is no column of it"
                raise DeclarationError(msg)
            if VERSION in self._names.open:
                msg = f"feed {self.name}: a version is in the file's name or in version_column, not in both"
                raise DeclarationError(msg)
        if self.several is Several.APPEND and PART not in self._names.open:
            msg = (
                f"feed {self.name}: Several.APPEND needs {{{PART}}} in file_name {self.file_name!r}, which tells the "
                "files of a partition apart: a file that comes again under its part replaces the one before"
            )
            raise DeclarationError(msg)

    @cached_property
    def _names(self) -> FileNames:
        try:
            return FileNames(self.file_name, self.partitions)
        except DeclarationError as wrong:
            msg = f"feed {self.name}: {wrong}"
            raise DeclarationError(msg) from wrong

    @property
    def is_plain(self) -> bool:
        """Whether a partition has one file, and the last to arrive is it."""
        return self.has_one_name and self.version_column is None and self.several is Several.LATEST

    @property
    def has_one_name(self) -> bool:
        """Whether the file of a partition can have but one name: it holds neither a version nor a part."""
        return not self._names.open

    @property
    def takes(self) -> str:
        """Which files it takes, for people."""
        example = self.expected_file(self.partitions.example)
        match self.partitions:
            case Unpartitioned():
                return f"one file, named {self.file_name}"
            case Static() as keys:
                return f"files named {self.file_name}, with one of {', '.join(keys.of[:5])}, e.g. {example}"
            case Multi() as multi:
                return f"files named {self.file_name}, with {multi.KEY}, e.g. {example}"
            case periods:
                until = "on" if periods.end is None else f"to {periods.end}"
                span = f"{periods.KEY} from {periods.start} {until}"
                return f"files named {self.file_name}, with {span}, e.g. {example}"

    def delivery(self, key: str) -> str:
        """The file of a partition, for people who wait for it."""
        return f"file {self.expected_file(key)} of feed {self.name}"

    def expected_file(self, key: str, version: str = ANY, part: str = ANY) -> str:
        """Name of the file that should hold a partition, with ``*`` for a version and a part that are not given."""
        return self._names.write(key, version, part)

    def prefix(self, key: str) -> str:
        """What the names of all files of a partition begin with; the whole name where there is but one."""
        return self._names.prefix(key)

    def named(self, file_name: str) -> Named | None:
        """What a file name says, or None if the name is not one of this feed's."""
        return self._names.read(file_name)

    def partition_of(self, file_name: str) -> str | None:
        """The partition that a file name stands for, or None if the name is not one of this feed's."""
        named = self.named(file_name)
        return None if named is None else named.partition

    def part_of(self, file_name: str) -> str:
        """Which of a partition's files a name stands for; empty unless files are appended."""
        named = self.named(file_name) if self.several is Several.APPEND else None
        return (named.part or "") if named is not None else ""
