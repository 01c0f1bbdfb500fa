"""The landing zone, where vendors put files.

Belongs here: finding delivered files, telling whether they are news, taking their bytes in. Does not belong here:
keeping those bytes (``archive``), what is in a file (``raw``), recording arrivals (the ledger), when to look.
Invariant: nothing is ever written here; what is hashed, archived and handed on are the same bytes, read once, whatever
happens to the file meanwhile. A file larger than its feed allows goes through in pieces.

    <root>/<feed>/<file name>

A name that starts with ``.`` is a file still being written.
"""

import hashlib
import logging
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

from sh_core.errors import FeedError
from sh_core.feed import Feed
from sh_core.records import Arrival
from sh_resources.archive import PIECE, Shelf

_THREADS = 4
"""Files taken in at a time: reading, hashing and syncing release the GIL, and a share on the network answers slowly."""

_SKEW_S = 86400.0
"""Seconds by which the times of files may differ from ours."""

_NOT_REGULAR = {
    stat.S_IFLNK: "it is there, but it is a symbolic link; links may lead out of the landing zone, "
    "so deliver the file itself",
    stat.S_IFDIR: "it is there, but it is a folder; deliver a file under this name",
    stat.S_IFIFO: "it is there, but it is a pipe; deliver a file under this name",
}
_NO_FILE = "it is there, but it is a device or a socket; deliver a file under this name"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivered:
    """A file seen in the landing zone.

    Attributes:
        partition: Partition key that its name stands for.
        file_name: Its name, without folder.
        size_bytes: Its size when it was seen.
        stamp: Its inode and times, in nanoseconds; a file with the same size and stamp is the same file.
    """

    partition: str
    file_name: str
    size_bytes: int
    stamp: tuple[int, ...] = ()


@dataclass(frozen=True)
class Ingested:
    """A file whose bytes are safe in the archive.

    Attributes:
        partition: Partition key that its name stands for.
        file_name: Its name, without folder.
        sha256: Hash of its content, hex.
        size_bytes: Size as ingested, which may differ from the one seen before.
        content: Its bytes, as archived; None if there are more of them than the feed allows.
    """

    partition: str
    file_name: str
    sha256: str
    size_bytes: int
    content: bytes | None


@dataclass(frozen=True)
class Seen:
    """What is in a feed's folder.

    Attributes:
        files: Files that may be taken in, by partition key; by their names where a partition may have several.
        refused: Why something under the name of a partition's file is not taken, in words, by partition key.
    """

    files: Mapping[str, Delivered]
    refused: Mapping[str, str]


@dataclass(frozen=True)
class Taken:
    """What became of files that had been seen.

    Attributes:
        files: Those whose bytes are safe in the archive, in the order asked for.
        refused: Why the others are not, in words, by partition key.
    """

    files: tuple[Ingested, ...]
    refused: Mapping[str, str]


@dataclass(frozen=True)
class LandingZone:
    """One place where vendors deliver, with its archive.

    Attributes:
        root: Holds one folder per feed.
        archive: Holds every content ever ingested; need not be on the same disk.
    """

    root: Path
    archive: Path

    def shelf(self, feed: Feed) -> Shelf:
        """The archive of a feed."""
        return Shelf(feed, self.archive / feed.name)

    def delivered(self, feed: Feed, partitions: Iterable[str]) -> Seen:
        """Which of these partitions have a file, by key and in the order asked.

        Only regular files count: a symbolic link may lead out of the landing zone. It costs one directory listing.

        Raises:
            FeedError: If the landing zone is not there or not readable. (A missing folder of the feed is no error: the
                vendor has not delivered yet.)
        """
        folder = self._folder(feed)
        wanted = {feed.expected_file(key): key for key in partitions}
        several = None if feed.has_one_name else frozenset(wanted.values())
        files: dict[str, Delivered] = {}
        refused: dict[str, str] = {}
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    key = wanted.get(entry.name) if several is None else feed.partition_of(entry.name)
                    if key is None or (several is not None and key not in several) or entry.name.startswith("."):
                        continue
                    match _stat_or_why_not(entry):
                        case os.stat_result() as found:
                            stamp = (found.st_ino, found.st_mtime_ns, found.st_ctime_ns)
                            files[key if several is None else entry.name] = Delivered(
                                key, entry.name, found.st_size, stamp
                            )
                        case str(why):
                            refused[key] = why
        except FileNotFoundError:
            return Seen({}, {})
        except OSError as error:
            msg = f"feed {feed.name}: {folder} cannot be listed ({error.strerror}); check that it is a readable folder"
            raise FeedError(msg) from error
        order = wanted.values() if several is None else sorted(files)
        return Seen({key: files[key] for key in order if key in files}, refused)

    def strays(self, feeds: Collection[Feed], now_utc: datetime) -> dict[str, Feed | None]:
        """What lies in the landing zone under a name that nobody looks for.

        Args:
            feeds: Every feed.
            now_utc: Files of periods that begin later are not looked for yet.

        Returns:
            Path below the landing zone → the feed whose folder it is in; None for a folder that is no feed's.

        Raises:
            FeedError: If the landing zone is not there or not readable.
        """
        by_name = {feed.name: feed for feed in feeds}
        found: dict[str, Feed | None] = {}
        for name in self._names(self.root):
            feed = by_name.get(name)
            if feed is None:
                found[name] = None
            else:
                files = self._names(self._folder(feed))
                found |= {f"{name}/{file}": feed for file in files if not _is_due(feed, file, now_utc)}
        return found

    def _names(self, folder: Path) -> list[str]:
        """Names in a folder, in order, those of files still being written left out."""
        try:
            return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        except OSError as error:
            msg = f"{folder} cannot be listed ({error.strerror}); check that it is a readable folder"
            raise FeedError(msg) from error

    def ingest(self, feed: Feed, delivered: Mapping[str, Delivered]) -> Taken:
        """Read, hash and archive files, in the order of ``delivered``.

        A file that cannot be read any more (vanished, replaced by a link, not permitted, a disk fault) is refused: it
        counts as not delivered, and does not keep the others back.

        Raises:
            FeedError: If a name is not that of the partition's file, or the archive cannot be written, for instance
                because its disk is full. Nothing of what was being written is left under a final name; running again
                is safe.
        """
        folder, shelf = self._folder(feed), self.shelf(feed)
        for file in delivered.values():
            if feed.partition_of(file.file_name) != file.partition:
                msg = f"feed {feed.name}: {file.file_name!r} is no file of partition {file.partition}; nothing was read"
                raise FeedError(msg)
        try:
            with ThreadPoolExecutor(_THREADS, "ingest") as pool:
                results = list(pool.map(partial(_take_in, folder, shelf), delivered.values()))
            taken = tuple(result for result in results if isinstance(result, Ingested))
            shelf.sync(file.sha256 for file in taken)
        except OSError as error:
            msg = (
                f"feed {feed.name}: the archive {shelf.folder} cannot be written ({error.strerror}); "
                "make room or give access, then run again: files already archived are kept"
            )
            raise FeedError(msg) from error
        refused = {f.partition: why for f, why in zip(delivered.values(), results, strict=True) if isinstance(why, str)}
        return Taken(taken, refused)

    def is_news(self, feed: Feed, file: Delivered, known: Arrival | None) -> bool:
        """Whether a file has other content than the arrival that counts for its partition; nothing is taken in.

        Hashed is only what could: a file of the same size that was there a day before that arrival is the one taken in
        then. (A day, since the clock of the landing zone's disk may be another.)
        """
        if known is None or file.size_bytes != known.size_bytes:
            return True
        changed_ns = max(file.stamp[1:], default=0)
        if changed_ns < (known.arrived_utc.timestamp() - _SKEW_S) * 1e9:
            return False
        try:
            with _opened(self._folder(feed) / file.file_name) as source:
                found = hashlib.sha256()
                for piece in _pieces(source):
                    found.update(piece)
        except _UnreadableError:
            return False  # it will not be taken in either
        return found.hexdigest() != known.sha256

    def _folder(self, feed: Feed) -> Path:
        """The feed's folder, which must not lead out of the landing zone.

        Raises:
            FeedError: If it does, or there is no landing zone: on an unmounted disk every file would look late.
        """
        if not self.root.is_dir():
            msg = f"the landing zone {self.root} is not there; create it, or mount the disk it is on"
            raise FeedError(msg)
        folder = self.root / feed.name
        if not folder.resolve().is_relative_to(self.root.resolve()):
            msg = f"feed {feed.name}: {folder} leads out of the landing zone, to {folder.resolve()}; make it a folder"
            raise FeedError(msg)
        return folder


def _is_due(feed: Feed, file_name: str, now_utc: datetime) -> bool:
    """Whether a name stands for a partition that is looked for by now."""
    key = feed.partition_of(file_name)
    return key is not None and feed.partitions.has_begun(key, now_utc)


def _stat_or_why_not(entry: os.DirEntry[str]) -> os.stat_result | str | None:
    """What is known of a regular file, why it is not taken otherwise, None if it is not there any more."""
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:  # taken away since it was listed
        return None
    return found if stat.S_ISREG(found.st_mode) else _NOT_REGULAR.get(stat.S_IFMT(found.st_mode), _NO_FILE)


class _UnreadableError(Exception):
    """Why a delivered file cannot be read, in words; an archive that cannot be written is another matter."""


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise _UnreadableError("it was there a moment ago, and is gone") from error
    except OSError as error:
        msg = f"it is there, but it cannot be read ({error.strerror}); give access to it, or deliver it again"
        raise _UnreadableError(msg) from error


def _take_in(folder: Path, shelf: Shelf, file: Delivered) -> Ingested | str:
    """Take one file in, or say why not."""
    path = folder / file.file_name
    try:
        with _opened(path) as source:
            content = _content(source, shelf.feed.max_bytes)
            if content is None:
                sha256, size = shelf.keep_in_pieces(partial(_pieces, source))
            else:
                sha256, size = shelf.keep(content), len(content)
    except _UnreadableError as why:
        _log.warning("%s: %s; counted as not delivered", path, why)
        return str(why)
    return Ingested(file.partition, file.file_name, sha256, size, content)


def _opened(path: Path) -> BinaryIO:
    """Open a file that may have been replaced since it was listed: follows no link, waits for no pipe."""
    with _reading():
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(None, "no regular file")
        return os.fdopen(descriptor, "rb")


def _content(source: BinaryIO, max_bytes: int) -> bytes | None:
    """All of a file, None if there is more of it than that."""
    with _reading():
        size = os.fstat(source.fileno()).st_size
        if size > max_bytes:
            return None
        content = source.read(size + 1)
        if len(content) > size:  # it grew since
            content += source.read(max(0, max_bytes + 1 - len(content)))
        return content if len(content) <= max_bytes else None


def _pieces(source: BinaryIO) -> Iterator[bytes]:
    with _reading():
        source.seek(0)
    while True:
        with _reading():
            piece = source.read(PIECE)
        if not piece:
            return
        yield piece
