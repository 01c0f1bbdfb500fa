"""Files of a table's partitions: where each one is, written once and read back.

Belongs here: the layout, and everything that is done to files without knowing which are live. Does not belong here:
which are (``delta``), which can go (``tidying``). Invariant: a path is never written twice, and says which partition
its file is of.

Layout: ``<table>/<column>=<value>/<root>-<attempt>.parquet``, with a folder per partition column: two for a table of
two dimensions, none for one without partitions. Partition columns are in the path, not in the file, as Delta wants it;
their values are percent-encoded as delta-rs encodes them, since readers such as Polars take them from there and not
from the log.
"""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from urllib.parse import quote, unquote

import polars as pl

from sh_core.errors import DeclarationError
from sh_core.partitions import Partitions


@dataclass(frozen=True)
class DataFile:
    """One Parquet file of one partition.

    Attributes:
        partition: Partition key.
        path: Relative to the table's folder.
        rows: Row count.
        size_bytes: Size of the file.
    """

    partition: str
    path: str
    rows: int
    size_bytes: int


@dataclass(frozen=True)
class FoundFile:
    """A Parquet file that is in a table's folder, whether a commit names it or not.

    Attributes:
        partition: Partition key that its folder stands for.
        path: Relative to the table's folder.
        size_bytes: Its size.
        written_utc: When it was last written.
    """

    partition: str
    path: str
    size_bytes: int
    written_utc: datetime


def stem_of(path: str) -> str:
    """Name of a partition's file without its suffix, as ``PartitionFiles.path_of`` was given it."""
    return path.rsplit("/", 1)[-1].removesuffix(".parquet")


class PartitionFiles:
    """The Parquet files in one table's folder."""

    def __init__(self, folder: Path, columns: Mapping[str, pl.DataType], partitions: Partitions) -> None:
        """Describe a folder; nothing is read or written yet.

        Args:
            folder: The table's folder.
            columns: Columns of the files, partition columns left out.
            partitions: The partition set, which names and types the partition columns.

        Raises:
            DeclarationError: If a column has the name of a partition column.
        """
        self.folder = folder
        self.partitions = partitions
        self.columns = pl.Schema(columns)
        taken = sorted(partitions.columns.keys() & columns.keys())
        if taken:
            of = folder.parent.name
            msg = f"table {folder.name}: {', '.join(taken)} is a column of {of} as well: partition by another name"
            raise DeclarationError(msg)
        self.partition_in = cache(self._read_folders)
        """The partition whose files are in some folders, one within the other; relative to the table's."""

    def path_of(self, partition: str, stem: str) -> str:
        """Where a file of a partition belongs, relative to the table's folder.

        Args:
            partition: Partition key.
            stem: Name of the file without its suffix, unique for ever.
        """
        stored = self.partitions.stored(partition)
        return "/".join([*(f"{column}={quote(value, safe='')}" for column, value in stored.items()), f"{stem}.parquet"])

    def _read_folders(self, folders: str) -> str:
        stored = (folder.split("=", 1) for folder in folders.split("/") if folder)
        return self.partitions.key_of({column: unquote(value) for column, value in stored})

    def stage(self, files: Mapping[str, tuple[str, pl.DataFrame]]) -> dict[str, DataFile]:
        """Write files that no reader sees until they are committed.

        Args:
            files: Per partition, the file's stem (unique for ever) and its rows, partition column included or not.

        Returns:
            Per partition, the file that was written. A frame without rows gives a file with 0 rows.
        """

        def write(partition: str) -> DataFile:
            stem, frame = files[partition]
            path = self.path_of(partition, stem)
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            # Exclusive creation: a path that is written twice is a bug, and would change a file that readers may hold.
            with target.open("xb") as sink:
                frame.select(self.columns.names()).write_parquet(sink)
                size = sink.tell()
            return DataFile(partition, path, frame.height, size)

        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            return {f.partition: f for f in pool.map(write, files)}

    def unstage(self, paths: Iterable[str]) -> None:
        """Remove files that no commit names, and none will ever name; missing ones are fine."""
        for path in paths:
            (self.folder / path).unlink(missing_ok=True)

    def found(self, partitions: Collection[str] | None = None) -> list[FoundFile]:
        """Parquet files that are in the table's folder, in order of their path; the log's are none of them.

        Args:
            partitions: Partitions to look at; None looks at all that have a folder.
        """
        if partitions is None:
            columns = self.partitions.columns
            nested = self.folder.glob("/".join(f"{column}=*" for column in columns)) if columns else ()
            folders = {self.partition_in(folder.relative_to(self.folder).as_posix()): folder for folder in nested}
            if not columns:
                folders = {self.partition_in(""): self.folder}
        else:
            folders = {p: (self.folder / self.path_of(p, "any")).parent for p in partitions}
        files: list[FoundFile] = []
        for partition, folder in sorted(folders.items()):
            for path in sorted(folder.glob("*.parquet")):
                with suppress(FileNotFoundError):  # unstaged since it was listed
                    seen = path.stat()
                    written = datetime.fromtimestamp(seen.st_mtime, UTC)
                    files.append(FoundFile(partition, path.relative_to(self.folder).as_posix(), seen.st_size, written))
        return files

    def scan(self, files: Iterable[DataFile], columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """Rows of some files, partition columns included.

        Args:
            files: Which; a file that was replaced meanwhile is still there.
            columns: Columns to read; None reads all. Columns that a file predates are null.

        Returns:
            One row per row of the files; columns as asked, else the partition columns first.
        """
        by = self.partitions.columns
        whole = pl.Schema({**by, **self.columns})
        wanted = list(columns) if columns is not None else whole.names()
        paths = [f"{self.folder}/{f.path}" for f in files]  # pathlib takes longer to join than Polars to read
        if not paths:
            return pl.LazyFrame(schema={c: whole[c] for c in wanted})
        return pl.scan_parquet(
            paths,
            schema=self.columns,
            hive_partitioning=bool(by),
            hive_schema=by or None,
            missing_columns="insert",
            extra_columns="ignore",
        ).select(wanted)
