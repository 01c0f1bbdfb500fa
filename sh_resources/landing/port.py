"""The port of the landing zone: what a place where vendors put files can be asked.

Belongs here: the questions, and names by which a file says itself that it is not finished. Does not belong here: the
answers (``local``, ``s3``), partitions and what is news (``intake``). Invariant: a place never changes anything, and
what it hands out as the bytes of one file is one content of that file, whole, or an error.

A file is known by the feed's name and its own; folders below a feed's are not looked into. Its **stamp** is a text
that changes whenever somebody writes to the file: two files with the same name, size and stamp are the same, and the
second is not read.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

UNSURE = ""
"""Stamp of a file that may be written to once more without its times telling: it is read again the next time."""

_UNFINISHED = (".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", ".download", ".upload", "~")
"""How names of files end that a browser, an editor or a transfer program is still writing."""


def is_unfinished(name: str) -> bool:
    """Whether a name says that its file is still being written: it begins with a dot, or ends as those of parts do."""
    return name.startswith(".") or name.lower().endswith(_UNFINISHED)


@dataclass(frozen=True)
class Found:
    """A file as it was seen.

    Attributes:
        name: Its name, without folder.
        size_bytes: Its size.
        stamp: Which writing of the file it is.
        written_ns: When it was last written to by the clock of where it is, in nanoseconds since 1970: good for telling
            which of two files there is the newer one, and for nothing else.
    """

    name: str
    size_bytes: int
    stamp: str
    written_ns: int = 0


@dataclass(frozen=True)
class Seen:
    """What was seen of a feed; what is not there is in neither.

    Attributes:
        files: Files that may be read, by name.
        refused: Why something under a name is not taken, in words, by name.
        looked: How many names it took to see this.
    """

    files: Mapping[str, Found] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    looked: int = 0


class UnreadableError(Exception):
    """Why a file that is there is not read, in words."""


class UnfinishedError(UnreadableError):
    """The same, of a file that somebody is writing: to be looked at again soon, and no news for people."""


class Source(Protocol):
    """One file, open for reading.

    Attributes:
        size_bytes: Its size when it was opened.
    """

    size_bytes: int

    def pieces(self) -> Iterator[bytes]:
        """Its content from the beginning; may be asked for again.

        Raises:
            UnreadableError: If it cannot be read any more.
        """
        ...

    def stamp(self) -> str:
        """Which writing of the file was read: asked once everything was.

        Raises:
            UnfinishedError: If it changed meanwhile, so that what was read may be half of one content and half of
                another.
        """
        ...


class Place(Protocol):
    """Somewhere vendors put files. Every method raises FeedError if it cannot be asked, or looks unmounted.

    Attributes:
        lists_prefixes: Whether it finds names by how they begin without listing all others.
    """

    @property
    def lists_prefixes(self) -> bool: ...  # noqa: D102 - above

    def look(self, feed: str, names: Collection[str]) -> Seen:
        """Look at files by their names, without listing what else there is."""
        ...

    def starting(self, feed: str, prefixes: Collection[str]) -> Seen:
        """Look at all files whose names begin with one of these; what that costs is up to ``lists_prefixes``."""
        ...

    def slices(self, feed: str, most: int) -> Iterator[Seen]:
        """Everything there is, at most so many names at a time; each is seen once if it stays where it is.

        The iterator is the cursor. After an error it may be asked again; it then goes on, or begins anew.
        """
        ...

    def gone(self, feed: str, known: Mapping[str, str]) -> frozenset[str]:
        """Which files, of those given with the stamp under which they were last seen, are not there any more.

        Raises:
            FeedError: Also if they seem to be gone for another reason than somebody having deleted them.
        """
        ...

    def opened(self, feed: str, file: Found) -> AbstractContextManager[Source]:
        """Open a file that was seen.

        Raises:
            UnreadableError: If it is not there any more, or cannot be read.
            UnfinishedError: If somebody is writing it.
        """
        ...

    def folders(self) -> Collection[str]:
        """Names at the top, where each feed has a folder."""
        ...

    def __str__(self) -> str:
        """Where it is, for people."""
        ...
