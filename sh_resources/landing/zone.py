"""A landing zone with its archive: files taken in.

Belongs here: what a feed's files are in a place, and getting their bytes into the archive. Does not belong here: the
place (``local``, ``s3``), keeping bytes (``archive``), whether a file is news (``intake``). Invariant: what is hashed,
archived and handed on are the same bytes, read once, whatever happens to the file meanwhile. A file larger than its
feed allows goes through in pieces.
"""

import hashlib
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path

from sh_core.errors import FeedError
from sh_core.feed import Feed
from sh_resources.archive import Shelf
from sh_resources.landing.port import Found, Place, Seen, Source, UnfinishedError, UnreadableError, is_unfinished

_THREADS = 4
"""Files taken in at a time: reading, hashing and syncing release the GIL, and a share on the network answers slowly."""

_LOOKED_FOR_STRAYS = 20_000
"""Names of a feed that are looked at to find those that nobody looks for."""

_PAGE = 1000
"""Names that are seen together."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ingested:
    """A file whose bytes are safe in the archive.

    Attributes:
        partition: Partition key that its name stands for.
        file_name: Its name, without folder.
        sha256: Hash of its content, hex.
        size_bytes: Size as ingested, which may differ from the one seen before.
        stamp: Which writing of the file that was.
        content: Its bytes, as archived; None if there are more of them than the feed allows, or they are not wanted.
    """

    partition: str
    file_name: str
    sha256: str
    size_bytes: int
    stamp: str
    content: bytes | None


@dataclass(frozen=True)
class Taken:
    """What became of files that had been seen.

    Attributes:
        files: Those whose bytes are safe in the archive, in the order asked for.
        refused: Why the others are not, in words, by file name.
    """

    files: tuple[Ingested, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LandingZone:
    """One place where vendors deliver, with its archive.

    Attributes:
        place: Holds one folder per feed.
        archive: Holds every content ever ingested; need not be on the same disk.
    """

    place: Place
    archive: Path

    def shelf(self, feed: Feed) -> Shelf:
        """The archive of a feed."""
        return Shelf(feed, self.archive / feed.name)

    def look(self, feed: Feed, names: Collection[str]) -> Seen:
        """Look at files by their names.

        Raises:
            FeedError: If the landing zone cannot be asked. (A missing folder of the feed is no error: the vendor has
                not delivered yet.)
        """
        return self.place.look(feed.name, names)

    def slices(self, feed: Feed, most: int = _PAGE) -> Iterator[Seen]:
        """Everything there is of a feed, so many names at a time; see ``Place.slices``."""
        return self.place.slices(feed.name, most)

    def strays(
        self, feeds: Collection[Feed], now_utc: datetime, most: int = _LOOKED_FOR_STRAYS
    ) -> dict[str, Feed | None]:
        """What lies in the landing zone under a name that nobody looks for.

        Args:
            feeds: Every feed.
            now_utc: Files of periods that begin later are not looked for yet.
            most: Names of each feed that are looked at.

        Returns:
            Path below the landing zone → the feed whose folder it is in; None for a folder that is no feed's.

        Raises:
            FeedError: If the landing zone cannot be asked.
        """
        by_name = {feed.name: feed for feed in feeds}
        found: dict[str, Feed | None] = {}
        for name in self.place.folders():
            feed = by_name.get(name)
            if feed is not None:
                found |= {
                    f"{name}/{file}": feed for file in self._first(feed, most) if not _is_due(feed, file, now_utc)
                }
            elif not is_unfinished(name):
                found[name] = None
        return found

    def _first(self, feed: Feed, most: int) -> list[str]:
        """So many names of a feed, in order, with those of what is no file."""
        names: list[str] = []
        for seen in islice(self.slices(feed), most // _PAGE):
            names += [*seen.files, *seen.refused]
        return sorted(names)

    def ingest(self, feed: Feed, files: Sequence[Found], *, keep: bool = True) -> Taken:
        """Read, hash and archive files.

        A file that cannot be read any more (vanished, replaced by a link, not permitted, a disk fault) is refused: it
        counts as not delivered, and does not keep the others back. Neither does one that somebody is writing.

        Args:
            feed: The feed.
            files: As they were seen, each once.
            keep: Whether to hand their bytes on.

        Raises:
            FeedError: If a name is not that of a file of the feed, or the archive cannot be written, for instance
                because its disk is full. Nothing of what was being written is left under a final name; running again
                is safe.
        """
        shelf = self.shelf(feed)
        partitions = {file.name: feed.partition_of(file.name) for file in files}
        for name, partition in partitions.items():
            if partition is None:
                msg = f"feed {feed.name}: {name!r} is not the name of any of its files; nothing was read"
                raise FeedError(msg)
        try:
            with ThreadPoolExecutor(_THREADS, "ingest") as pool:
                results = list(pool.map(partial(self._take_in, shelf, keep), files, map(str, partitions.values())))
            taken = tuple(result for result in results if isinstance(result, Ingested))
            shelf.sync(file.sha256 for file in taken)
        except OSError as error:
            msg = (
                f"feed {feed.name}: the archive {shelf.folder} cannot be written ({error.strerror}); "
                "make room or give access, then run again: files already archived are kept"
            )
            raise FeedError(msg) from error
        return Taken(taken, {f.name: why for f, why in zip(files, results, strict=True) if isinstance(why, str)})

    def sha256(self, feed: Feed, file: Found) -> str | None:
        """The hash of a file that was seen, read without being taken in; None if it cannot be taken in either."""
        try:
            with self.place.opened(feed.name, file) as source:
                found = hashlib.sha256()
                for piece in source.pieces():
                    found.update(piece)
                source.stamp()
        except UnreadableError:
            return None
        return found.hexdigest()

    def _take_in(self, shelf: Shelf, keep: bool, file: Found, partition: str) -> Ingested | str:  # noqa: FBT001 - for map
        """Take one file in, or say why not."""
        try:
            with self.place.opened(shelf.feed.name, file) as source:
                content = _content(source, shelf.feed.max_bytes)
                if content is None:
                    sha256, size = shelf.keep_in_pieces(partial(_whole, source))
                    stamp = source.stamp()
                else:
                    stamp = source.stamp()
                    sha256, size = shelf.keep(content), len(content)
        except UnreadableError as why:
            level = logging.INFO if isinstance(why, UnfinishedError) else logging.WARNING
            where = f"{self.place}/{shelf.feed.name}/{file.name}"
            _log.log(level, "%s: %s; counted as not delivered", where, why)
            return str(why)
        return Ingested(partition, file.name, sha256, size, stamp, content if keep else None)


def _is_due(feed: Feed, file_name: str, now_utc: datetime) -> bool:
    """Whether a name stands for a partition that is looked for by now."""
    key = feed.partition_of(file_name)
    return key is not None and feed.partitions.has_begun(key, now_utc)


def _whole(source: Source) -> Iterator[bytes]:
    """All of a file, and an error at its end if it changed meanwhile: half a file is evidence of nothing."""
    yield from source.pieces()
    source.stamp()


def _content(source: Source, max_bytes: int) -> bytes | None:
    """All of a file, None if there is more of it than that."""
    if source.size_bytes > max_bytes:
        return None
    pieces, size = list[bytes](), 0
    for piece in source.pieces():
        pieces.append(piece)
        size += len(piece)
        if size > max_bytes:
            return None
    return b"".join(pieces)
