"""Traces: what a snapshot was computed from.

Belongs here: the trace record and its digest. Does not belong here: comparing a recorded trace with the current one in
bulk (staleness). Invariant: equal digests mean that the transform was handed equal content, code and contract.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

ABSENT = "absent"
"""Digest of a mapped input partition that has nothing published (a miss is part of what was read)."""


@dataclass(frozen=True, order=True)
class Read:
    """One thing that a transform was handed.

    Attributes:
        source: Name of the upstream table, or of the feed for a raw table.
        partition: Partition key of the source.
        columns: Columns handed over, sorted; empty means the whole content (a feed's file).
        digest: Version of exactly these columns (of exactly these rows) of that partition, or ``ABSENT``.
        rows: Which rows and as which argument, in words (``Input.role``); empty means all of them, as the argument of
            the source's name.
    """

    source: str
    partition: str
    columns: tuple[str, ...]
    digest: str
    rows: str = ""


@dataclass(frozen=True)
class Trace:
    """Everything that decided a snapshot's content.

    Attributes:
        code: Code version of the transform.
        contract: Contract version.
        reads: What was handed to the transform, in any order.
    """

    code: str
    contract: str
    reads: frozenset[Read]

    @cached_property
    def digest(self) -> str:
        """128-bit hex digest; independent of the order of reads."""
        h = hashlib.blake2b(digest_size=16, person=b"sh-trace-1")
        for part in (self.code, self.contract, *(p for r in sorted(self.reads) for p in _parts(r))):
            raw = part.encode()
            h.update(len(raw).to_bytes(8, "big"))
            h.update(raw)
        return h.hexdigest()


def _parts(read: Read) -> tuple[str, ...]:
    # Rows are named only where they are picked, so that traces from before there were lookups stay what they are.
    picked = f" of {read.rows}" if read.rows else ""
    return (read.source, read.partition, f"{len(read.columns)}{picked}", *read.columns, read.digest)
