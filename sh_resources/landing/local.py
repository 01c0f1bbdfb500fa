"""A landing zone that is a folder, on a disk of this machine or on a share.

Belongs here: what the operating system knows of files. Does not belong here: what is done with them (``zone``).
Invariants: no link is followed and no pipe waited for; nothing outside of the folder is read.

    <root>/<feed>/<file name>

obstore's LocalStore is not used: it follows links out of the folder, lists folders below, waits for pipes, and leaves
out files that are named like its own temporary ones (``a.csv#1``).
"""

import fcntl
import os
import signal
import stat
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from sh_core.errors import FeedError
from sh_resources.archive import PIECE
from sh_resources.landing.port import UNSURE, Found, Seen, UnfinishedError, UnreadableError, is_unfinished

SETTLED_S = 3.0
"""Seconds for which nothing was written to a file, so that it counts as finished where the system cannot say."""

_GRAIN_NS = 50_000_000
"""Nanoseconds within which two writings of a file may have the same times: clocks of file systems go by ticks."""

_TELL_WRITERS = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"})
"""File systems whose leases tell of every writer; on a share they know nothing of those on other machines."""

_NOT_REGULAR = {
    stat.S_IFLNK: "it is there, but it is a symbolic link; links may lead out of the landing zone, "
    "so deliver the file itself",
    stat.S_IFDIR: "it is there, but it is a folder; deliver a file under this name",
    stat.S_IFIFO: "it is there, but it is a pipe; deliver a file under this name",
}
_NO_FILE = "it is there, but it is a device or a socket; deliver a file under this name"
_WRITTEN = "it is there, but it is still being written; it is taken in once that is done"
_CHANGED = "it is there, but it changed while it was read; it is taken in once it stays as it is"


@dataclass(frozen=True)
class LocalFolder:
    """A folder with one folder per feed.

    Attributes:
        root: The folder.
    """

    root: Path

    def __str__(self) -> str:
        return str(self.root)

    def look(self, feed: str, names: Collection[str]) -> Seen:
        """Ask for each name what it is."""
        folder = self._folder(feed)
        files, refused = dict[str, Found](), dict[str, str]()
        for name in names:
            if not is_unfinished(name) and "/" not in name:
                try:
                    seen = os.lstat(f"{folder}/{name}")
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise _unlisted(feed, folder, error) from error
                _sort(name, seen, files, refused)
        return Seen(files, refused, len(names))

    @property
    def lists_prefixes(self) -> bool:
        """No: a folder is listed whole."""
        return False

    def starting(self, feed: str, prefixes: Collection[str]) -> Seen:
        """Go through the names of the folder, and look at those asked for."""
        folder = self._folder(feed)
        try:
            names = [path.name for path in os.scandir(folder) if path.name.startswith(tuple(prefixes))]
        except FileNotFoundError:  # the vendor has not delivered yet
            return Seen()
        except OSError as error:
            raise _unlisted(feed, folder, error) from error
        return self.look(feed, names)

    def slices(self, feed: str, most: int) -> Iterator[Seen]:
        """Go through the folder, which stays open in between: what comes meanwhile is seen now or the next time."""
        return _Listing(self, feed, most)

    def gone(self, feed: str, known: Mapping[str, str]) -> frozenset[str]:
        """Those whose names are not there, if their folder has changed since they were: deleting changes it.

        Below the place where a disk should be mounted there is another, older folder.
        """
        folder = self._folder(feed)
        try:
            changed_ns = folder.stat().st_mtime_ns
        except FileNotFoundError as error:
            msg = (
                f"feed {feed}: {folder} is not there, and files were known in it; mount the disk it is on, or create it"
            )
            raise FeedError(msg) from error
        found = frozenset(name for name in known if not os.path.lexists(f"{folder}/{name}"))
        newest_ns = max((_inode_changed_ns(known[name]) for name in found), default=0)
        if changed_ns < newest_ns:
            msg = (
                f"feed {feed}: {len(found):,} known files are not in {folder}, which nobody has taken anything out of: "
                "is the disk mounted that should be there?"
            )
            raise FeedError(msg)
        return found

    @contextmanager
    def opened(self, feed: str, file: Found) -> Iterator["LocalFile"]:
        """Open a file that may have been replaced since it was seen."""
        with self._opened(Path(self._folder(feed), file.name)) as content:
            yield LocalFile(content)

    def folders(self) -> Collection[str]:
        """Names in the folder."""
        self._check()
        try:
            return sorted(path.name for path in self.root.iterdir())
        except OSError as error:
            msg = f"{self.root} cannot be listed ({error.strerror}); check that it is a readable folder"
            raise FeedError(msg) from error

    def _opened(self, path: Path) -> BinaryIO:
        """Open a file: follows no link, waits for no pipe."""
        with reading():
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise OSError(None, "no regular file")
            return os.fdopen(descriptor, "rb")

    def _check(self) -> None:
        if not self.root.is_dir():
            msg = f"the landing zone {self.root} is not there; create it, or mount the disk it is on"
            raise FeedError(msg)

    def _folder(self, feed: str) -> Path:
        """The feed's folder, which must not lead out of the landing zone.

        Raises:
            FeedError: If it does, or there is no landing zone: on an unmounted disk every file would look late.
        """
        self._check()
        folder = self.root / feed
        if not folder.resolve().is_relative_to(self.root.resolve()):
            msg = f"feed {feed}: {folder} leads out of the landing zone, to {folder.resolve()}; make it a folder"
            raise FeedError(msg)
        return folder


class LocalFile:
    """One file of a folder, open for reading."""

    def __init__(self, content: BinaryIO) -> None:
        """Begin to read, unless somebody writes."""
        self._content = content
        self._before = os.fstat(content.fileno())
        self.size_bytes = self._before.st_size
        if is_written(content.fileno(), self._before):
            raise UnfinishedError(_WRITTEN)

    def pieces(self) -> Iterator[bytes]:
        """Its content, from the beginning."""
        with reading():
            self._content.seek(0)
        while True:
            with reading():
                piece = self._content.read(PIECE)
            if not piece:
                return
            yield piece

    def stamp(self) -> str:
        """Its inode and times, if they are as they were before it was read."""
        with reading():
            after = os.fstat(self._content.fileno())
        if _stamp(after) != _stamp(self._before) or after.st_size != self.size_bytes:
            raise UnfinishedError(_CHANGED)
        if is_written(self._content.fileno(), after):
            raise UnfinishedError(_WRITTEN)
        # A file that was written to a moment ago may be written to again within the same tick of the disk's clock.
        sure = abs(time.time_ns() - max(after.st_mtime_ns, after.st_ctime_ns)) > _GRAIN_NS
        return _stamp(after) if sure else UNSURE


class _Listing(Iterator[Seen]):
    """A folder being gone through."""

    def __init__(self, place: LocalFolder, feed: str, most: int) -> None:
        self._place, self._feed, self._most = place, feed, most
        self._entries: os._ScandirIterator[str] | None = None

    def __del__(self) -> None:
        """Close the folder of a round that nobody goes on with."""
        if self._entries is not None:
            self._entries.close()

    def __next__(self) -> Seen:
        folder = self._place._folder(self._feed)  # noqa: SLF001 - its own
        files, refused, looked = dict[str, Found](), dict[str, str](), 0
        try:
            if self._entries is None:
                self._entries = os.scandir(folder)
            for entry in islice(self._entries, self._most):
                looked += 1
                if not is_unfinished(entry.name):
                    try:
                        seen = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:  # taken away since it was listed
                        continue
                    _sort(entry.name, seen, files, refused)
        except FileNotFoundError:  # the vendor has not delivered yet
            raise StopIteration from None
        except OSError as error:
            self._entries = None
            raise _unlisted(self._feed, folder, error) from error
        if not looked:
            raise StopIteration
        return Seen(files, refused, looked)


def is_written(descriptor: int, seen: os.stat_result) -> bool:
    """Whether some process has a file open for writing; where the system cannot say, whether it was just written to.

    On Linux a read lease is refused while somebody has the file open for writing. It is given back at once, so that
    nobody who opens it then waits.
    """
    if _tells_writers(seen.st_dev):
        try:
            # Whoever opens the file for writing at this very moment has us signalled, by default with one that kills.
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except BlockingIOError:
            return True
        except OSError:  # for the owner of the file and for root only
            pass
        else:
            return False
    return abs(time.time() - seen.st_mtime) < SETTLED_S


@lru_cache(maxsize=64)
def _tells_writers(device: int) -> bool:
    """Whether leases tell of all who write to files of a device."""
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return False
    wanted = f"{os.major(device)}:{os.minor(device)}"
    kinds = {line.partition(" - ")[2].split()[0] for line in mounts if line.split()[2] == wanted}
    return bool(kinds) and kinds <= _TELL_WRITERS


@contextmanager
def reading() -> Iterator[None]:
    """What the system says of a file that cannot be read, in words."""
    try:
        yield
    except FileNotFoundError as error:
        raise UnreadableError("it was there a moment ago, and is gone") from error
    except OSError as error:
        msg = f"it is there, but it cannot be read ({error.strerror}); give access to it, or deliver it again"
        raise UnreadableError(msg) from error


def _sort(name: str, seen: os.stat_result, files: dict[str, Found], refused: dict[str, str]) -> None:
    if stat.S_ISREG(seen.st_mode):
        files[name] = Found(name, seen.st_size, _stamp(seen), seen.st_mtime_ns)
    else:
        refused[name] = _NOT_REGULAR.get(stat.S_IFMT(seen.st_mode), _NO_FILE)


def _stamp(seen: os.stat_result) -> str:
    return f"{seen.st_ino} {seen.st_mtime_ns} {seen.st_ctime_ns}"


def _inode_changed_ns(stamp: str) -> int:
    """When a file with this stamp was last written to or moved; 0 of a stamp that is no folder's."""
    last = stamp.rpartition(" ")[2]
    return int(last) if last.isdecimal() else 0


def _unlisted(feed: str, folder: Path, error: OSError) -> FeedError:
    msg = f"feed {feed}: {folder} cannot be listed ({error.strerror}); check that it is a readable folder"
    return FeedError(msg)
