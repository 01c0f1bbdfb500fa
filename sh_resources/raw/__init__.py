"""From delivered bytes to raw rows: every cell as text, with the file and line that it came from.

Belongs here: splitting a feed's files into records, whatever their format, and saying which of them cannot be read.
Does not belong here: finding or archiving files (``landing``), typing a cell, judging a row (the gate).
Invariant: rows are conserved. Whatever the bytes, everything that a file delivered ends up in exactly one row, no cell
is altered or guessed, and nothing is raised on account of content.

Read in this order: ``rows`` (what comes out, whatever went in) → ``gzipped`` (unpacking) → ``csv_files``,
``json_lines``, ``parquet_files`` with ``parquet_text`` (one format each) → ``reading`` (which of them reads
a feed's files).

What a missing value looks like depends on what the format can say: an empty cell of a CSV file is the empty text; in
JSON lines and Parquet the empty text is the empty text, and null is null. For ``sh_core.parsing`` both mean "no value".
"""

from sh_resources.raw.reading import read_raw, reader_version
from sh_resources.raw.rows import RawFile, RawPartition

__all__ = ["RawFile", "RawPartition", "read_raw", "reader_version"]
