"""The archive: every content that was ever ingested, under its hash.

Belongs here: keeping delivered bytes, giving them back, finding what was never finished. Does not belong here: where
bytes come from (``landing``), which content counts (the ledger). Invariant: what stands under a hash has that hash, is
complete from its first moment, survives a power cut once it is synced, and is never changed.

    <archive>/<feed>/<first 2 of hash>/<sha256>     read-only

A name that starts with ``.`` is a file still being written. A process that is killed leaves such names behind at worst;
``selfheal tidy`` deletes them (``abandoned``).
"""

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from sh_core.errors import FeedError
from sh_core.feed import Feed

PIECE = 2**20
"""Bytes of a large file that are in memory at a time."""

_ZEROS = bytes(PIECE)

_INCOMING = ".incoming-"
"""How the names of files begin that are still being archived."""


@dataclass(frozen=True)
class Shelf:
    """What the archive has of one feed.

    Attributes:
        feed: The feed.
        folder: The archive's folder for it.
    """

    feed: Feed
    folder: Path

    def keep(self, content: bytes) -> str:
        """Put content in its place, whole or not at all; what is there already is left alone.

        Returns:
            Its SHA-256, hex.

        Raises:
            OSError: If it cannot be written.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        place = self._place(sha256)
        if not place.exists():
            with _incoming(place.parent) as (file, put):
                file.write(content)
                put(place)
        return sha256

    def keep_in_pieces(self, pieces: Callable[[], Iterable[bytes]]) -> tuple[str, int]:
        """Put content that is too large for the memory in its place, likewise.

        Args:
            pieces: Reads it from its beginning, ``PIECE`` bytes at a time; called twice where it is new.

        Returns:
            Its SHA-256, hex, and its size in bytes.

        Raises:
            OSError: If it cannot be written.
        """
        seen, size = hashlib.sha256(), 0
        for piece in pieces():
            seen.update(piece)
            size += len(piece)
        if self._place(seen.hexdigest()).exists():
            return seen.hexdigest(), size
        # What counts is the hash of what is written: the file may have changed since it was read above.
        written = hashlib.sha256()
        with _incoming(self.folder) as (file, put):
            for piece in pieces():
                written.update(piece)
                if piece == _ZEROS:
                    file.seek(len(piece), os.SEEK_CUR)  # leaves a hole: a disk image under the wrong name takes no room
                else:
                    file.write(piece)
            size = file.tell()
            file.truncate(size)
            put(self._place(written.hexdigest()))
        return written.hexdigest(), size

    def sync(self, hashes: Iterable[str]) -> None:
        """Let content that was kept survive a power cut.

        A rename does so only once its folder is synced; once per folder is enough.

        Raises:
            OSError: If the disk refuses.
        """
        folders = {self._place(sha256).parent for sha256 in hashes}
        for changed in (*folders, self.folder, self.folder.parent) if folders else ():
            _sync_folder(changed)

    def content(self, sha256: str) -> bytes:
        """The content that was ingested under a hash, all of it at once: not for files larger than the feed allows.

        Raises:
            FeedError: If it is not there, or is no longer what was archived.
        """
        feed = self.feed
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            msg = f"feed {feed.name}: {sha256!r} is no SHA-256 in lower-case hex"
            raise FeedError(msg)
        place = self._place(sha256)
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

    def abandoned(self, before_utc: datetime) -> list[tuple[Path, int]]:
        """What killed processes left of files that they were archiving, with sizes in bytes.

        Args:
            before_utc: When they were last written to at the latest, aware: younger ones may still be written.
        """
        found: list[tuple[Path, int]] = []
        for path in sorted(self.folder.glob(f"**/{_INCOMING}*")):
            with suppress(FileNotFoundError):  # it got its final name since
                seen = path.stat()
                if seen.st_mtime <= before_utc.timestamp():
                    found.append((path, seen.st_size))
        return found

    def _place(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256


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
