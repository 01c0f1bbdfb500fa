"""File names: how a vendor spells a partition, a version and a part in the name of a file.

Belongs here: reading and writing names after a template, and refusing templates that are ambiguous. Does not belong
here: what else a feed promises (``feed``), which of two versions counts (``deliveries``). Invariant: a name stands for
at most one partition, version and part, and from these three the same name is written again.

A template is text with placeholders, none of which comes twice::

    flights_{partition}.csv               the key as it is, of a set of one dimension
    flights_{airport}_{day:%Y%m%d}.csv    the keys of two dimensions, one of them in the vendor's spelling
    {part}_{partition:%m-%d-%Y}.v{version}.csv
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from itertools import pairwise

from sh_core.errors import DeclarationError
from sh_core.partitions import WHOLE, Daily, Dimension, Hourly, Monthly, Multi, Partitions, Static, Unpartitioned
from sh_core.partitions.periods import PeriodSet

VERSION, PART = "version", "part"
"""Placeholders for what is not the key."""

ANY = "*"
"""What stands for a version or a part where people are told which file to expect."""

_KEY = "partition"
_PLACEHOLDER = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")
_VERSION = re.compile(
    r"[0-9]+|(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8})(?:[T_-][0-9]{2}:?[0-9]{2}(?::?[0-9]{2}(?:\.[0-9]+)?)?Z?)?"
)
"""Digits, or a time stamp: a date, with or without hyphens, and maybe a time of day behind ``T``, ``_`` or ``-``."""

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
"""In English, whatever the locale."""

_OLDEST, _NEWEST = 1969, 2068  # what two digits of a year mean, by POSIX

_Write = Callable[[datetime], str]
_CODES: dict[str, tuple[str, _Write]] = {
    "Y": ("[0-9]{4}", lambda at: f"{at.year:04}"),
    "y": ("[0-9]{2}", lambda at: f"{at.year % 100:02}"),
    "m": ("[0-9]{2}", lambda at: f"{at.month:02}"),
    "b": ("|".join(month[:3] for month in _MONTHS), lambda at: _MONTHS[at.month - 1][:3]),
    "B": ("|".join(_MONTHS), lambda at: _MONTHS[at.month - 1]),
    "d": ("[0-9]{2}", lambda at: f"{at.day:02}"),
    "j": ("[0-9]{3}", lambda at: f"{at.timetuple().tm_yday:03}"),
    "G": ("[0-9]{4}", lambda at: f"{at.isocalendar().year:04}"),
    "V": ("[0-9]{2}", lambda at: f"{at.isocalendar().week:02}"),
    "H": ("[0-9]{2}", lambda at: f"{at.hour:02}"),
    "M": ("[0-9]{2}", lambda at: f"{at.minute:02}"),
    "z": ("[+-][0-9]{4}", lambda at: f"{at:%z}"),
}
"""Codes of ``strftime`` that are understood: a pattern, and how each is written."""

_OF_HOURS = frozenset("HMz")
_KNOWN = " ".join(f"%{code}" for code in _CODES)


@dataclass(frozen=True)
class Named:
    """What the name of a file says.

    Attributes:
        partition: Partition key.
        version: The vendor's version, as spelled in the name; None where names have none.
        part: Which of a partition's files it is; None where names do not say.
    """

    partition: str
    version: str | None = None
    part: str | None = None


@dataclass(frozen=True)
class FileNames:
    """The names that the files of one feed may have.

    Attributes:
        template: Text with placeholders.
        partitions: Which keys there are.
    """

    template: str
    partitions: Partitions

    def __post_init__(self) -> None:
        """Refuse a template that does not say which partition a file is of, and of which version and part.

        Raises:
            DeclarationError: If so.
        """
        self._refuse_count()
        self._refuse_touching()
        for name, codes in self._spelled.items():
            _refuse_codes(name, codes, self._sets[name])
        self._refuse_same_names()

    @cached_property
    def open(self) -> frozenset[str]:
        """Which of version and part are in the name; a dimension of that name is a dimension."""
        return frozenset({VERSION, PART}.intersection(self._names).difference(self._sets))

    def write(self, key: str, version: str = ANY, part: str = ANY) -> str:
        """The name of a partition's file, with ``*`` for what is not given.

        Raises:
            DeclarationError: If the key is spelled in another way, and is not one of the set.
        """
        given = self._pieces(key) | {name: {VERSION: version, PART: part}[name] for name in self.open}
        filled = (given[name] + text for name, text in zip(self._names, self._texts[1:], strict=True))
        return self._texts[0] + "".join(filled)

    def prefix(self, key: str) -> str:
        """What the names of all files of a partition begin with, as far as that can be known."""
        return re.split(re.escape(ANY), self.write(key), maxsplit=1)[0] if self.open else self.write(key)

    def read(self, file_name: str) -> Named | None:
        """What a name says; None if it is not one of these."""
        match = self._pattern.fullmatch(file_name)
        if match is None:
            return None
        found = match.groupdict()
        pieces = {name: self._read_piece(name, found[name]) for name in self._sets}
        key = self._joined({name: piece for name, piece in pieces.items() if piece is not None})
        version, part = (found[name] if name in self.open else None for name in (VERSION, PART))
        if key is None or (version is not None and _VERSION.fullmatch(version) is None):
            return None
        try:
            self.partitions.check(key)
        except DeclarationError:
            return None
        written = self.write(key, version or ANY, part or ANY)
        return Named(key, version, part) if written == file_name else None

    # ---- the template

    @cached_property
    def _sets(self) -> Mapping[str, Dimension]:
        """What stands for the key, by placeholder."""
        match self.partitions:
            case Unpartitioned():
                return {}
            case Multi() as multi:
                return multi.dimensions
            case single:
                return {_KEY: single}

    @cached_property
    def _texts(self) -> tuple[str, ...]:
        """The texts before, between and behind the placeholders."""
        return tuple(_PLACEHOLDER.split(self.template)[::3])

    @cached_property
    def _names(self) -> tuple[str, ...]:
        """The placeholders in order."""
        return tuple(_PLACEHOLDER.split(self.template)[1::3])

    @cached_property
    def _spelled(self) -> dict[str, str]:
        """The vendor's spelling, by placeholder, where there is one."""
        found = ((name, codes) for name, codes in _PLACEHOLDER.findall(self.template) if codes)
        return dict(found)

    def _refuse_count(self) -> None:
        wanted = [f"{{{name}}}" for name in self._sets]
        colons = [f"{{{name}:" for name in self._names if f"{{{name}:" in self.template]
        if isinstance(self.partitions, Unpartitioned) and _KEY in self._names:
            often = f"{{{_KEY}}} not at all, as it has no partitions,"
        elif wrong := [f"{{{name}}}" for name in self._sets if self._names.count(name) != 1]:
            often = f"{' and '.join(wrong)} once"
        elif "/" in self.template:
            often = f"{' and '.join(wanted)} once" if wanted else "one name"
        elif unknown := [name for name in self._names if name not in self._sets and name not in self.open]:
            placeholders = ", ".join([*wanted, f"{{{VERSION}}}", f"{{{PART}}}"])
            raise self._wrong(f"has {{{unknown[0]}}}, which stands for nothing; there are {placeholders}")
        elif twice := [name for name in self.open if self._names.count(name) > 1]:
            raise self._wrong(f"has {{{twice[0]}}} twice")
        elif odd := [c for c in colons if c[1:-1] in self.open or c[1:-1] not in self._spelled]:
            raise self._wrong(f"has {odd[0]}…}}, which cannot be spelled in another way; write {odd[0][:-1]}}}")
        else:
            return
        raise self._wrong(f"must contain {often} and no folder")

    @property
    def _neighbours(self) -> Iterator[tuple[tuple[str, str], str]]:
        """Placeholders that follow each other, and the text between them."""
        return zip(pairwise(self._names), self._texts[1:-1], strict=True)

    def _refuse_touching(self) -> None:
        """Refuse ``{version}{part}``: nobody knows where the one ends."""
        for (one, other), between in self._neighbours:
            if not between and not self.open.isdisjoint({one, other}):
                raise self._wrong(f"needs some text between {{{one}}} and {{{other}}}: nobody knows where one ends")

    def _refuse_same_names(self) -> None:
        """Refuse two lists whose keys, one behind the other, give one name: ``{a}_{b}`` of a, b_c and of a_b, c.

        And a key that could as well be another one with the beginning of a version or part behind it.
        """
        if self._sets and all(isinstance(of, Static) for of in self._sets.values()):
            files = Counter(map(self.write, self.partitions.keys()))
            shared = [file for file, partitions in files.items() if partitions > 1]
            if shared:
                msg = f"{shared[0]!r} would be the file of two partitions"
                raise DeclarationError(msg)
        for (one, other), between in self._neighbours:
            keys = self._sets.get(one)
            if isinstance(keys, Static) and other in self.open:
                for key in keys.of:
                    for head in _heads(key, between):
                        if head in keys.of:
                            clash = f"{key!r} could also be {head!r} with {key[len(head + between) :]!r} as {{{other}}}"
                            raise self._wrong(f"is ambiguous: {clash}; put {{{other}}} first")

    def _wrong(self, what: str) -> DeclarationError:
        return DeclarationError(f"file_name {self.template!r} {what}")

    # ---- keys

    def _pieces(self, key: str) -> dict[str, str]:
        """What is written for a key, by placeholder."""
        match self.partitions:
            case Unpartitioned():
                return {}
            case Multi() as multi:
                pieces = multi.pieces(key)
            case _:
                pieces = {_KEY: key}
        return {name: self._write_piece(name, piece) for name, piece in pieces.items()}

    def _joined(self, pieces: dict[str, str]) -> str | None:
        """The key of pieces that were read; None if one of them could not be."""
        if pieces.keys() != self._sets.keys():
            return None
        match self.partitions:
            case Unpartitioned():
                return WHOLE
            case Multi() as multi:
                return multi.joined(pieces)
            case _:
                return pieces[_KEY]

    def _write_piece(self, name: str, key: str) -> str:
        of = self._sets[name]
        if name not in self._spelled or not isinstance(of, PeriodSet):
            return key
        value = of.value(key)
        at = value.astimezone(of.clock) if isinstance(value, datetime) else datetime(value.year, value.month, value.day)  # noqa: DTZ001 - a calendar day
        return re.sub("%(.)", lambda code: _CODES[code[1]][1](at), self._spelled[name])

    def _read_piece(self, name: str, text: str) -> str | None:
        of = self._sets[name]
        if name not in self._spelled or not isinstance(of, PeriodSet):
            return text
        match = self._codes[name].fullmatch(text)
        if match is None:
            raise AssertionError(text)  # it was cut out by the same pattern
        try:
            return _key(of, match.groupdict())
        except (ValueError, OverflowError):  # a day or an hour that no calendar has
            return None

    @cached_property
    def _codes(self) -> dict[str, re.Pattern[str]]:
        """Per spelling, a pattern with a group for each code."""
        return {name: re.compile(_coded(codes, "(?P<{code}>{like})")) for name, codes in self._spelled.items()}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """A pattern of all names, with a group for each placeholder."""
        pattern = re.escape(self._texts[0])
        for name, behind in zip(self._names, self._texts[1:], strict=True):
            pattern += f"(?P<{name}>{self._like(name, behind)}){re.escape(behind)}"
        return re.compile(pattern)

    def _like(self, name: str, behind: str) -> str:
        """What a placeholder may stand for."""
        if name in self.open:
            # Up to where the text behind it comes first, so that there is no choice.
            return f"(?:(?!{re.escape(behind)})[^/])+" if behind else "[^/]+"
        if name in self._spelled:
            return _coded(self._spelled[name], "(?:{like})")
        match self._sets[name]:
            case Static() as keys:
                return "|".join(map(re.escape, sorted(keys.of, key=len, reverse=True)))
            case Hourly():
                return "[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9]{2}:[0-9]{2}(?:[+-][0-9]{4})?"
            case _:
                return "[0-9]{4}-[0-9]{2}-[0-9]{2}"


def _coded(codes: str, group: str) -> str:
    """A pattern of what is written with some codes."""
    texts = re.split("%(.)", codes)
    groups = (group.format(code=code, like=_CODES[code][0]) for code in texts[1::2])
    return re.escape(texts[0]) + "".join(g + re.escape(text) for g, text in zip(groups, texts[2::2], strict=True))


def _heads(key: str, between: str) -> Iterator[str]:
    """What a key begins with, before each place where some text comes in it."""
    for place in range(1, len(key)):
        if key.startswith(between, place):
            yield key[:place]


def _refuse_codes(name: str, codes: str, of: Dimension) -> None:
    """Refuse a spelling that does not say which period is meant."""
    where = f"{{{name}:{codes}}}"
    if isinstance(of, Static):
        msg = f"file_name has {where}, but keys of a list are written as they are; write {{{name}}}"
        raise DeclarationError(msg)
    found = re.findall("%(.?)", codes)
    for code in found:
        if code not in _CODES or found.count(code) > 1:
            why = "twice" if code in _CODES else f"which is not understood; there are {_KNOWN}"
            msg = f"file_name has %{code} in {where}, {why}"
            raise DeclarationError(msg)
    missing, use = _missing(set(found), of)
    if missing:
        msg = f"file_name has {where}, which does not say {missing}; write e.g. {{{name}:{use}}}"
        raise DeclarationError(msg)
    if not isinstance(of, Hourly) and not _OF_HOURS.isdisjoint(found):
        msg = f"file_name has {where}, but {of.NAME} partitions have no time of day; write e.g. {{{name}:{use}}}"
        raise DeclarationError(msg)
    if "y" in found and not (of.start.year >= _OLDEST and (of.end is None or of.end.year <= _NEWEST)):
        msg = f"file_name has {where}, where two digits mean {_OLDEST} to {_NEWEST}, and partitions go beyond; write %Y"
        raise DeclarationError(msg)


def _missing(codes: set[str], of: PeriodSet) -> tuple[str, str]:
    """What some codes do not say of a period, and codes that do."""
    year = not codes.isdisjoint("Yy")
    month = year and not codes.isdisjoint("mbB")
    day = (month and "d" in codes) or (year and "j" in codes)
    match of:
        case Monthly():
            return ("" if month or day else "the month", "%Y%m")
        case Hourly() if day and "H" in codes:
            twice = "z" not in codes and _is_put_back(of)
            return (
                f"which of the two hours when the clock of {of.timezone} is put back" if twice else "",
                "%Y%m%d%H%z",
            )
        case Hourly():
            return ("the hour", "%Y%m%d%H")
        case Daily():
            return ("" if day else "the day", "%Y%m%d")
        case _:
            return ("" if day or {"G", "V"} <= codes else "the week", "%G-W%V")


def _is_put_back(hours: Hourly) -> bool:
    """Whether an hour of the set comes twice on its clock; of one without end, in its first two years."""
    until = hours.end or hours.start + timedelta(days=731)
    begin, end = hours.numbers_of(hours.start, until)
    offsets = (hours.begin(number).astimezone(hours.clock).utcoffset() for number in range(begin, end + 1, 12))
    return len(set(offsets)) > 1


def _key(of: PeriodSet, said: Mapping[str, str]) -> str:
    """The key of the period that is meant.

    Raises:
        ValueError: If no calendar has it.
        OverflowError: Likewise.
    """
    day = _day(said)
    if not isinstance(of, Hourly):
        return day.isoformat()
    minute = said.get("M", f"{of.minute_offset:02}")
    at = datetime.fromisoformat(f"{day}T{said['H']}:{minute}{said.get('z', '')}")
    return of.spell(of.number_at(at if at.tzinfo is not None else at.replace(tzinfo=of.clock)))


def _day(said: Mapping[str, str]) -> date:
    """The day that is meant; the first of a month or week where only that is said."""
    short = int(said.get("y", 0))
    year = int(said["Y"]) if "Y" in said else short + (1900 if short >= _OLDEST % 100 else 2000)
    if said.keys().isdisjoint("mbB"):
        if "j" in said:
            return date(year, 1, 1) + timedelta(days=int(said["j"]) - 1)
        return date.fromisocalendar(int(said["G"]), int(said["V"]), 1)
    names = {month[:3]: number for number, month in enumerate(_MONTHS, start=1)}
    month = int(said["m"]) if "m" in said else names[said.get("B", said.get("b", ""))[:3]]
    return date(year, month, int(said.get("d", 1)))
