"""Reading a feed's files, whatever their format.

Belongs here: unpacking, limits, and the choice of the format's reader. Does not belong here: any one format. Invariant:
nothing larger than the feed allows is handed to a reader, as delivered or unpacked.
"""

from collections.abc import Mapping
from typing import assert_never

from sh_core.feed import Feed
from sh_core.fingerprint import fingerprint
from sh_core.formats import Csv, JsonLines, Parquet
from sh_resources.raw.csv_files import read_csv
from sh_resources.raw.gzipped import unpack
from sh_resources.raw.json_lines import read_json_lines
from sh_resources.raw.parquet_files import read_parquet
from sh_resources.raw.rows import RawFile, RawPartition, all_unreadable, lines_of, not_read, not_readable, too_large

_VERSION = "raw-2"
"""Raise it when the same bytes are to be read into other rows than before."""


def reader_version(feed: Feed) -> str:
    """Code version of a raw table: what decides, beside the bytes, which rows come out of a feed's files."""
    decides = [repr(feed.format), str(feed.max_bytes)]
    if feed.optional or feed.aliases:  # without them nothing was decided, before there were such
        decides += [repr(sorted(feed.optional)), repr(sorted((c, sorted(names)) for c, names in feed.aliases.items()))]
    return f"{_VERSION}-{fingerprint('sh-reader-1', decides).hex()}"


def read_raw(feed: Feed, files: Mapping[str, RawFile]) -> dict[str, RawPartition]:
    """Read delivered files of one feed.

    Args:
        feed: What the vendor promised.
        files: The files by partition key.

    Returns:
        What each file holds, by partition key, in the order of ``files``.

    Raises:
        DeclarationError: If a key is no partition of the feed. Content never raises.
    """
    read: dict[str, RawPartition] = {}
    contents: dict[str, bytes] = {}
    for key, file in files.items():
        content = _unpacked(feed, key, file)
        if isinstance(content, RawPartition):
            read[key] = content
        else:
            contents[key] = content
    match feed.format:
        case Csv() as layout:
            read |= read_csv(feed, layout, {key: (files[key].name, content) for key, content in contents.items()})
        case JsonLines() as layout:
            read |= {key: read_json_lines(feed, layout, key, files[key].name, c) for key, c in contents.items()}
        case Parquet():
            read |= {key: read_parquet(feed, key, files[key], content) for key, content in contents.items()}
        case _:
            assert_never(feed.format)
    return {key: read[key] for key in files}


def _unpacked(feed: Feed, key: str, file: RawFile) -> bytes | RawPartition:
    """What a reader may be handed; or the whole file as what cannot be read."""
    if file.content is None or file.size_bytes > feed.max_bytes:
        return too_large(feed, key, file)
    layout = feed.format
    if isinstance(layout, Parquet) or layout.compression is None:
        return file.content
    unpacked = unpack(file.content, feed.max_bytes)
    if unpacked.fault is None:
        return unpacked.content
    if unpacked.is_too_large:
        return too_large(feed, key, file, unpacked=True)
    if not unpacked.content:
        return not_read(feed, key, file, unpacked.fault)
    # What came out before the damage is evidence, line by line; published it would look like a quiet day.
    lines = lines_of(unpacked.content, layout.codec, first=2 if isinstance(layout, Csv) else 1)
    return all_unreadable(feed, key, file.name, lines, not_readable(file.name, unpacked.fault))
