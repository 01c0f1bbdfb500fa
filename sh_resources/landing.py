"""The landing zone, where vendors put files, and the archive, where every ingested byte is kept.

Belongs here: finding delivered files, taking their bytes in, archiving them by content, giving archived bytes back.
Does not belong here: what is in a file (``raw_csv``), recording arrivals (the ledger), when to look.
Invariant: what is hashed, archived and handed on are the same bytes, read once; what stands in the archive under a hash
is complete from its first moment, and is never changed.

    <root>/<feed>/<file name>                       written by vendors, only ever read here
    <archive>/<feed>/<first 2 of hash>/<sha256>     written here, read-only

A name that starts with ``.`` is a file still being written, in both places. A process that is killed leaves such
names behind in the archive at worst; they may be deleted when nothing is ingesting.
"""

import hashlib
import logging
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sh_core.errors import FeedError
from sh_core.feed import Feed

_THREADS = 4
"""Files taken in at a time: reading, hashing and syncing release the GIL, and a share on the network answers slowly."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivered:
    """A file seen in the landing zone.

    Attributes:
        partition: Partition key that its name stands for.
        file_name: Its name, without folder.
        size_bytes: Its size when it was seen.
    """

    partition: str
    file_name: str
    size_bytes: int


@dataclass(frozen=True)
class Ingested:
    """A file whose bytes are safe in the archive.

    Attributes:
        partition: Partition key that its name stands for.
        file_name: Its name, without folder.
        sha256: Hash of its content, hex.
        content: Its bytes, as archived.
    """

    partition: str
    file_name: str
    sha256: str
    content: bytes

    @property
    def size_bytes(self) -> int:
        """Size as ingested, which may differ from the one seen before."""
        return len(self.content)


@dataclass(frozen=True)
class LandingZone:
    """One place where vendors deliver, with its archive.

    Attributes:
        root: Holds one folder per feed.
        archive: Holds every content ever ingested; need not be on the same disk.
    """

    root: Path
    archive: Path

    def delivered(self, feed: Feed, partitions: Iterable[str]) -> dict[str, Delivered]:
        """Which of these partitions have a file, by key and in the order asked.

        Only regular files count: a symbolic link may lead out of the landing zone. It costs one directory listing.

        Raises:
            FeedError: If the landing zone is not there or not readable. (A missing folder of the feed is no error: the
                vendor has not delivered yet.)
        """
        folder = self._folder(feed)
        wanted = {feed.expected_file(key): key for key in partitions}
        seen: dict[str, Delivered] = {}
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    key = wanted.get(entry.name)
                    if key is None or entry.name.startswith("."):
                        continue
                    size = _size_of_regular(entry)
                    if size is not None:
                        seen[key] = Delivered(key, entry.name, size)
        except FileNotFoundError:
            return {}
        except OSError as error:
            msg = f"feed {feed.name}: {folder} cannot be listed ({error.strerror}); check that it is a readable folder"
            raise FeedError(msg) from error
        return {key: seen[key] for key in wanted.values() if key in seen}

    def ingest(self, feed: Feed, delivered: Mapping[str, Delivered]) -> list[Ingested]:
        """Read, hash and archive files, in the order of ``delivered``.

        A file that cannot be read any more (vanished, replaced by a link, not permitted, a disk fault) is left out,
        with a warning in the log: it counts as not delivered, and does not keep the others back.

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
                taken = list(pool.map(partial(_take_in, folder, shelf), delivered.values()))
            # A rename survives a power cut only once its folder is synced; once per folder is enough.
            shelves = {_place(shelf, file.sha256).parent for file in taken if file is not None}
            for changed in (*shelves, shelf, self.archive) if shelves else ():
                _sync_folder(changed)
        except OSError as error:
            msg = (
                f"feed {feed.name}: the archive {shelf} cannot be written ({error.strerror}); "
                "make room or give access, then run again: files already archived are kept"
            )
            raise FeedError(msg) from error
        return [file for file in taken if file is not None]

    def archived(self, feed: Feed, sha256: str) -> bytes:
        """The content that was ingested under a hash.

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


def _size_of_regular(entry: os.DirEntry[str]) -> int | None:
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:  # taken away since it was listed
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _take_in(folder: Path, shelf: Path, file: Delivered) -> Ingested | None:
    try:
        content = _read_regular(folder / file.file_name)
    except OSError as error:
        _log.warning("%s cannot be read (%s): counted as not delivered", folder / file.file_name, error.strerror)
        return None
    sha256 = hashlib.sha256(content).hexdigest()
    _archive(_place(shelf, sha256), content)
    return Ingested(file.partition, file.file_name, sha256, content)


def _read_regular(path: Path) -> bytes:
    """Read a file that may have been replaced since it was listed: follows no link, waits for no pipe."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(None, "no regular file")
        return file.read()


def _place(shelf: Path, sha256: str) -> Path:
    return shelf / sha256[:2] / sha256


def _archive(place: Path, content: bytes) -> None:
    """Put content in its place, whole or not at all; what is there already is left alone."""
    if place.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".incoming-", dir=place.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(descriptor, stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
            os.fsync(descriptor)
        Path(temporary).replace(place)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
