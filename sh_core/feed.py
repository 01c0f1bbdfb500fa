"""Feeds: what a vendor promises to deliver.

Belongs here: file naming, partitions, columns and size of one vendor's deliveries. Does not belong here: how bytes are
laid out (``formats``), finding or reading files (``sh_resources.landing``). Invariant: a file name maps to at most one
partition, and back.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sh_core.errors import DeclarationError, refuse_other_kinds
from sh_core.formats import Csv, Format
from sh_core.partitions import KINDS, WHOLE, Dimension, Multi, Partitions, Static, Unpartitioned

PLACEHOLDER = "{partition}"

_PERIOD = "(?P<{name}>[0-9][0-9:+-]*)"
"""What the key of a period looks like."""


@dataclass(frozen=True)
class Feed:
    """One vendor's deliveries: one file per partition.

    Attributes:
        name: Folder below the landing zone, and prefix of the archive.
        file_name: Name of a partition's file with ``{partition}`` where the key stands; with the name of each
            dimension, ``{airport}_{day}.csv``, where there are two; of a feed without partitions the one name.
        columns: Columns that the vendor promised, in any order; all cells are text at this station.
        partitions: Which keys are delivered.
        owner: Who to ask, e.g. ``team:flights`` or a mail address.
        description: One sentence for people.
        format: How the bytes are laid out.
        max_unparsable: Share of lines (0 to 1) that may be unreadable before the whole file is withheld.
        pii: Columns that identify a person or what is theirs; masked wherever rows are shown.
        max_bytes: Largest file that is read, in bytes, as delivered and again as unpacked; a larger one is archived and
            withheld. What is read is held in memory, several times over.
        optional: Columns that a file may lack; their cells are null then.
        aliases: Other names under which a column may come, by column. They are declared, never guessed.
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
    optional: frozenset[str] = frozenset()
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

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
                "optional": (self.optional, frozenset, "a frozenset of columns, frozenset({'reader'})"),
                "aliases": (self.aliases, Mapping, "other names by column, {'branch': ('branch_name',)}"),
            },
        )
        self._refuse_file_name()
        if not self.columns or len(set(self.columns)) != len(self.columns):
            msg = f"feed {self.name}: columns must be named, each once"
            raise DeclarationError(msg)
        if self.max_bytes < 1:
            msg = f"feed {self.name}: max_bytes is a number of bytes, at least 1, not {self.max_bytes}"
            raise DeclarationError(msg)
        for option, named in {"pii": self.pii, "optional": self.optional, "aliases": frozenset(self.aliases)}.items():
            if not named <= set(self.columns):
                unknown = ", ".join(sorted(named - set(self.columns)))
                msg = f"feed {self.name}: {option} names {unknown}, which is no column of it"
                raise DeclarationError(msg)
        self._refuse_names()
        reserved = [c for c in self.columns if c.startswith("_") or c in self.partitions.columns]
        if reserved:
            msg = f"feed {self.name}: {', '.join(reserved)}: such column names are reserved for the framework"
            raise DeclarationError(msg)

    def _refuse_names(self) -> None:
        """Refuse names under which nobody could tell which column is meant, or whether a file is one of the feed's."""
        if self.optional >= set(self.columns):
            msg = f"feed {self.name}: every column is optional; leave out those that each file has"
            raise DeclarationError(msg)
        for column, others in self.aliases.items():
            refuse_other_kinds(
                f"feed {self.name}", {f"aliases of {column}": (others, tuple, "a tuple of names, ('branch_name',)")}
            )
        uses = Counter([*self.columns, *(name for others in self.aliases.values() for name in others)])
        twice = sorted(name for name, count in uses.items() if count > 1)
        if twice or not all(uses):
            wrong = repr(twice[0] if twice else "")
            msg = f"feed {self.name}: {wrong} is not the name of one column; columns and aliases have each name once"
            raise DeclarationError(msg)

    def _refuse_file_name(self) -> None:
        """Refuse a name that does not say which partition a file is of."""
        names = [f"{{{name}}}" for name in self._places]
        wrong = [name for name in names if self.file_name.count(name) != 1]
        if isinstance(self.partitions, Unpartitioned) and PLACEHOLDER in self.file_name:
            often = f"{PLACEHOLDER} not at all, as it has no partitions,"
        elif wrong:
            often = f"{' and '.join(wrong)} once"
        elif "/" in self.file_name:
            often = f"{' and '.join(names)} once" if names else "one name"
        else:
            self._refuse_same_files()
            return
        msg = f"feed {self.name}: file_name {self.file_name!r} must contain {often} and no folder"
        raise DeclarationError(msg)

    def _refuse_same_files(self) -> None:
        """Refuse two lists whose keys, one behind the other, give one name: ``{a}_{b}`` of a, b_c and of a_b, c."""
        if isinstance(self.partitions, Multi) and all(isinstance(of, Static) for _, of in self.partitions.of):
            files = Counter(map(self.expected_file, self.partitions.keys()))
            shared = [file for file, partitions in files.items() if partitions > 1]
            if shared:
                msg = f"feed {self.name}: {shared[0]!r} would be the file of two partitions"
                raise DeclarationError(msg)

    @cached_property
    def names(self) -> Mapping[str, str]:
        """Every name under which a column may come, with the column."""
        others = {name: column for column, names in self.aliases.items() for name in names}
        return {column: column for column in self.columns} | others

    def columns_of(self, header: Sequence[str]) -> tuple[str, ...] | None:
        """The columns that a file's header names, in its order; None if these are not the promised ones."""
        found = tuple(self.names[name] for name in header if name in self.names)
        if (
            len(found) < len(header)
            or len(set(found)) < len(found)
            or not self.optional.issuperset(self._absent(found))
        ):
            return None
        return found

    def _absent(self, found: Sequence[str]) -> list[str]:
        return [column for column in self.columns if column not in found]

    @cached_property
    def _places(self) -> dict[str, str]:
        """What stands for the key in a file's name, by placeholder: a pattern."""
        match self.partitions:
            case Unpartitioned():
                return {}
            case Multi() as multi:
                return {name: _keys_like(name, of) for name, of in multi.dimensions.items()}
            case _:
                return {PLACEHOLDER[1:-1]: "(?P<partition>[^/]+)"}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        pattern = re.escape(self.file_name)
        for name, keys in self._places.items():
            pattern = pattern.replace(re.escape(f"{{{name}}}"), keys)
        return re.compile(pattern)

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

    def expected_file(self, key: str) -> str:
        """Name of the file that should hold a partition."""
        if not isinstance(self.partitions, Multi):
            return self.file_name.replace(PLACEHOLDER, key)
        name = self.file_name
        for dimension, piece in self.partitions.pieces(key).items():
            name = name.replace(f"{{{dimension}}}", piece)
        return name

    def partition_of(self, file_name: str) -> str | None:
        """The partition that a file name stands for, or None if the name is not one of this feed's."""
        if isinstance(self.partitions, Unpartitioned):
            return WHOLE if file_name == self.file_name else None
        match = self._pattern.fullmatch(file_name)
        if match is None:
            return None
        found = match.groupdict()
        key = self.partitions.joined(found) if isinstance(self.partitions, Multi) else found["partition"]
        try:
            self.partitions.check(key)
        except DeclarationError:
            return None
        return key if self.expected_file(key) == file_name else None


def _keys_like(name: str, dimension: Dimension) -> str:
    """A pattern of the keys of a dimension."""
    if isinstance(dimension, Static):
        return f"(?P<{name}>{'|'.join(map(re.escape, sorted(dimension.of, key=len, reverse=True)))})"
    return _PERIOD.format(name=name)
