"""Which files are live in a Delta table, as its log has them, kept from one look to the next.

Belongs here: live files, without opening a log that has not changed. Does not belong here: committing (``delta``), as
what a commit is based on is always looked at anew. Invariant: what is given back is what the newest
version of the table says, or said a moment ago.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

KEPT = 200_000
"""Live files that are remembered of all tables together, some 150 bytes each; the table asked for last is always
among them."""

Stamp = tuple[str, int, int]
"""The newest file of a log: name, inode, time of change in nanoseconds."""


def stamp_of(table: Path) -> Stamp | None:
    """What identifies the newest version of a table without opening it; None if there is no table.

    The newest commit is never cleaned up, and a table that was deleted and grew anew has other inodes.
    """
    log = table / "_delta_log"
    try:
        with os.scandir(log) as entries:
            newest = max((e.name for e in entries if e.name[:20].isdigit()), default=None)
        if newest is None:
            return None
        found = (log / newest).stat()
    except FileNotFoundError:  # cleaned up since it was listed: there is a newer one, which will be asked for
        return None
    return (newest, found.st_ino, found.st_mtime_ns)


@dataclass
class RecentFiles:
    """The live files of the tables that were asked for last; threads may share it.

    Attributes:
        kept: How many files are remembered at most, of all tables but the last.
    """

    kept: int = KEPT
    _frames: OrderedDict[Path, tuple[Stamp, pl.DataFrame]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, table: Path, read: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        """The live files of a table.

        Args:
            table: Its folder.
            read: Opens the log and gives one row per live file; called where it has changed.
        """
        stamp = stamp_of(table)  # before reading: a version that lands in between is read twice rather than missed
        with self._lock:
            known = self._frames.get(table)
            if stamp is not None and known is not None and known[0] == stamp:
                self._frames.move_to_end(table)
                return known[1]
        frame = read()
        if stamp is not None:
            with self._lock:
                self._frames[table] = (stamp, frame)
                self._frames.move_to_end(table)
                held = sum(f.height for _, f in self._frames.values())
                while held > self.kept and len(self._frames) > 1:
                    _, (_, dropped) = self._frames.popitem(last=False)
                    held -= dropped.height
        return frame
