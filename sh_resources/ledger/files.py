"""Files: what is known of the landing zone, so that no file is read twice.

Belongs here: which content a file had when it was last read, and whether it is still there. Does not belong here: what
counts (``arrivals``), seeing and reading files (``landing``, ``intake``). Invariant: what is noted of a file was
recorded as an arrival before, so that forgetting all of this costs reading every file once more, and nothing else.

A file is known by its feed and its name. Of one partition there may be any number.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, or_, select, update

from sh_resources.ledger.database import Database, chunks, conditions, insert
from sh_resources.ledger.schema import files, utc


@dataclass(frozen=True)
class KnownFile:
    """A file as it was last read.

    Attributes:
        name: Its name, without folder.
        partition: Partition key that its name stands for.
        size_bytes: Its size.
        stamp: Which writing of the file was read; empty if it is to be read once more.
        sha256: Its content, hex.
        seen_utc: When this content was first seen under this name.
        gone_utc: Since when it is not there any more; None while it is.
    """

    name: str
    partition: str
    size_bytes: int
    stamp: str
    sha256: str
    seen_utc: datetime
    gone_utc: datetime | None = None


class Files:
    """The known files of one ledger. Every method raises LedgerError if the ledger cannot be reached."""

    def __init__(self, database: Database) -> None:
        """Keep files in this database."""
        self._database = database

    def known(self, feed: str, names: Collection[str]) -> dict[str, KnownFile]:
        """What is known of files, by name; also of those that are gone."""
        columns = files.c["file_name", "partition_key", "size_bytes", "stamp", "sha256", "seen_utc", "gone_utc"]
        with self._database.read() as connection:
            return {
                row[0]: KnownFile(*row)
                for condition in conditions(files.c.file_name, names)
                for row in connection.execute(select(*columns).where(files.c.feed == feed, condition))
            }

    def there(self, feed: str, after: str, most: int) -> dict[str, str]:
        """Files that are not known to be gone, by name with their stamp: so many, in order, after a name."""
        query = (
            select(*files.c["file_name", "stamp"])
            .where(files.c.feed == feed, files.c.file_name > after, files.c.gone_utc.is_(None))
            .order_by(files.c.file_name)
            .limit(most)
        )
        with self._database.read() as connection:
            return {row.file_name: row.stamp for row in connection.execute(query)}

    def note(self, feed: str, read: Sequence[KnownFile], before: Mapping[str, KnownFile]) -> None:
        """Note files as they were just read and recorded.

        What another process has noted meanwhile stays: then the file is read once more, and not forgotten.

        Args:
            feed: Name of the feed.
            read: Each file once.
            before: What was known of them before they were read, by name, where anything was.
        """
        rows = [
            {
                "feed": feed,
                "file_name": file.name,
                "partition_key": file.partition,
                "size_bytes": file.size_bytes,
                "stamp": file.stamp,
                "sha256": file.sha256,
                "seen_utc": utc(file.seen_utc),
                "gone_utc": None if file.gone_utc is None else utc(file.gone_utc),
                "before": before[file.name].sha256 if file.name in before else "",
            }
            # In order, so that two processes wait for each other instead of dead-locking.
            for file in sorted(read, key=lambda file: file.name)
        ]
        with self._database.write() as connection:
            fresh = insert(connection, files)
            fields = ("partition_key", "size_bytes", "stamp", "sha256", "seen_utc", "gone_utc")
            note = fresh.on_conflict_do_update(
                index_elements=["feed", "file_name"],
                set_={name: fresh.excluded[name] for name in fields},
                where=or_(files.c.sha256 == bindparam("before"), files.c.sha256 == fresh.excluded.sha256),
            )
            for chunk in chunks(rows):
                connection.execute(note, list(chunk))

    def note_gone(self, feed: str, names: Collection[str], now_utc: datetime) -> None:
        """Note that files are not there any more."""
        gone = update(files).values(gone_utc=utc(now_utc)).where(files.c.feed == feed, files.c.gone_utc.is_(None))
        with self._database.write() as connection:
            for condition in conditions(files.c.file_name, names):
                connection.execute(gone.where(condition))
