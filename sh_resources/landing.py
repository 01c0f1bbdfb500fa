"""The landing zone, where vendors put files, and the archive, where every ingested byte is kept.

Belongs here: finding delivered files, taking their bytes in, archiving them by content, giving archived bytes back.
Does not belong here: what is in a file (``raw``), recording arrivals (the ledger), when to look.
Invariant: what is hashed, archived and handed on are the same bytes, read once; what stands in the archive under a hash
is complete from its first moment, and is never changed. A file larger than its feed allows goes through in pieces.

    <root>/<feed>/<file name>                       written by vendors, only ever read here
    <archive>/<feed>/<first 2 of hash>/<sha256>     written here, read-only

A name that starts with ``.`` is a file still being written, in both places. A process that is killed leaves such
names behind in the archive at worst; ``selfheal tidy`` deletes them (``abandoned``).
"""

import hashlib
import logging
import os
import re
import stat
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

from sh_core.errors import FeedError
from sh_core.feed import Feed
from sh_core.records import Arrival

_THREADS = 4
"""Files taken in at a time: reading, hashing and syncing release the GIL, and a share on the network answers slowly."""

_PIECE = 2**20
"""Bytes of a large file that are in memory at a time."""

_ZEROS = bytes(_PIECE)

_INCOMING = ".incoming-"
"""How the names of files begin that are still being archived."""
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
        files: Files that may be taken in, by partition key.
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

    def delivered(self, feed: Feed, partitions: Iterable[str]) -> Seen:
        """Which of these partitions have a file, by key and in the order asked.

        Only regular files count: a symbolic link may lead out of the landing zone. It costs one directory listing.

        Raises:
            FeedError: If the landing zone is not there or not readable. (A missing folder of the feed is no error: the
                vendor has not delivered yet.)
        """
        folder = self._folder(feed)
        wanted = {feed.expected_file(key): key for key in partitions}
        files: dict[str, Delivered] = {}
        refused: dict[str, str] = {}
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    key = wanted.get(entry.name)
                    if key is None or entry.name.startswith("."):
                        continue
                    match _stat_or_why_not(entry):
                        case os.stat_result() as found:
                            stamp = (found.st_ino, found.st_mtime_ns, found.st_ctime_ns)
                            files[key] = Delivered(key, entry.name, found.st_size, stamp)
                        case str(why):
                            refused[key] = why
        except FileNotFoundError:
            return Seen({}, {})
        except OSError as error:
            msg = f"feed {feed.name}: {folder} cannot be listed ({error.strerror}); check that it is a readable folder"
            raise FeedError(msg) from error
        return Seen({key: files[key] for key in wanted.values() if key in files}, refused)

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
        folder, shelf = self._folder(feed), self.archive / feed.name
        for file in delivered.values():
            if feed.partition_of(file.file_name) != file.partition:
                msg = f"feed {feed.name}: {file.file_name!r} is no file of partition {file.partition}; nothing was read"
                raise FeedError(msg)
        try:
            with ThreadPoolExecutor(_THREADS, "ingest") as pool:
                results = list(pool.map(partial(_take_in, folder, shelf, feed.max_bytes), delivered.values()))
            taken = tuple(result for result in results if isinstance(result, Ingested))
            # A rename survives a power cut only once its folder is synced; once per folder is enough.
            shelves = {_place(shelf, file.sha256).parent for file in taken}
            for changed in (*shelves, shelf, self.archive) if shelves else ():
                _sync_folder(changed)
        except OSError as error:
            msg = (
                f"feed {feed.name}: the archive {shelf} cannot be written ({error.strerror}); "
                "make room or give access, then run again: files already archived are kept"
            )
            raise FeedError(msg) from error
        refused = {key: why for key, why in zip(delivered, results, strict=True) if isinstance(why, str)}
        return Taken(taken, refused)

    def abandoned(self, feed: Feed, before_utc: datetime) -> list[tuple[Path, int]]:
        """What killed processes left of files that they were archiving, with sizes in bytes.

        Args:
            feed: The feed.
            before_utc: When they were last written to at the latest, aware: younger ones may still be written.
        """
        found: list[tuple[Path, int]] = []
        for path in sorted((self.archive / feed.name).glob(f"**/{_INCOMING}*")):
            with suppress(FileNotFoundError):  # it got its final name since
                seen = path.stat()
                if seen.st_mtime <= before_utc.timestamp():
                    found.append((path, seen.st_size))
        return found

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

    def archived(self, feed: Feed, sha256: str) -> bytes:
        """The content that was ingested under a hash, all of it at once: not for files larger than the feed allows.

        Raises:
            FeedError: If it is not there, or is no longer what was archived.
        """
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            msg = f"feed {feed.name}: {sha256!r} is no SHA-256 in lower-case hex"
            raise FeedError(msg)
        place = _place(self.archive / feed.name, sha256)
        remedy = f"restore it from a backup, or have {feed.owner} deliver the file again"
        try:
            content = place.read_bytes()
        except OSError as error:
            msg = f"feed {feed.name}: archived file {place} cannot be read ({error.strerror}); {remedy}"
            raise FeedError(msg) from error
        if hashlib.sha256(content).hexdigest() != sha256:
            msg = (
                f"feed {feed.name}: archived file {place} is damaged: its hash is not its name; delete it and {remedy}"
            )
            raise FeedError(msg)
        return content

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


def _take_in(folder: Path, shelf: Path, max_bytes: int, file: Delivered) -> Ingested | str:
    """Take one file in, or say why not."""
    path = folder / file.file_name
    try:
        with _opened(path) as source:
            content = _content(source, max_bytes)
            if content is None:
                sha256, size = _archive_in_pieces(shelf, source)
            else:
                sha256, size = hashlib.sha256(content).hexdigest(), len(content)
                _archive(_place(shelf, sha256), content)
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
            piece = source.read(_PIECE)
        if not piece:
            return
        yield piece


def _place(shelf: Path, sha256: str) -> Path:
    return shelf / sha256[:2] / sha256


def _archive(place: Path, content: bytes) -> None:
    """Put content in its place, whole or not at all; what is there already is left alone."""
    if place.exists():
        return
    with _incoming(place.parent) as (file, put):
        file.write(content)
        put(place)


def _archive_in_pieces(shelf: Path, source: BinaryIO) -> tuple[str, int]:
    """Put a large file in its place, likewise; returns its hash and size."""
    seen = hashlib.sha256()
    for piece in _pieces(source):
        seen.update(piece)
    if _place(shelf, seen.hexdigest()).exists():
        return seen.hexdigest(), source.tell()
    # What counts is the hash of what is written: the file may have changed since it was read above.
    written = hashlib.sha256()
    with _incoming(shelf) as (file, put):
        for piece in _pieces(source):
            written.update(piece)
            if piece == _ZEROS:
                file.seek(len(piece), os.SEEK_CUR)  # leaves a hole: a disk image under the wrong name takes no room
            else:
                file.write(piece)
        size = file.tell()
        file.truncate(size)
        put(_place(shelf, written.hexdigest()))
    return written.hexdigest(), size


@contextmanager
def _incoming(folder: Path) -> Iterator[tuple[BinaryIO, Callable[[Path], None]]]:
    """A file to write, on the disk of the archive, and what gives it its final name once it is written."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=_INCOMING, dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:

            def put(place: Path) -> None:
                file.flush()
                os.fchmod(descriptor, stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
                os.fsync(descriptor)
                place.parent.mkdir(exist_ok=True)
                Path(temporary).replace(place)

            yield file, put
    finally:
        Path(temporary).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
