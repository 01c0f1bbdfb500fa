"""Row accounts: where every delivered row went (DESIGN invariant "rows are conserved").

Belongs here: the terms and their sum. Does not belong here: storing them.
Invariant: ``arrived == published + quarantined + duplicates + pending + superseded`` for every arrival at all times.
"""

from dataclasses import dataclass, fields

from sh_core.records import ArrivalShare


@dataclass(frozen=True)
class RowAccount:
    """The whereabouts of the rows of one arrival (or, summed, of many).

    Attributes:
        arrived: Records in the file, header excluded, unparsable lines included.
        published: Visible in the staged table's current snapshot.
        quarantined: Set aside by a row-level rule, at the raw or the staged table.
        duplicates: Exact copies of another delivered row of the same staged partition, dropped.
        pending: Held or withheld: not yet judged, or in a partition that may not be published.
        superseded: Of an arrival that a later one for the same partition replaced.
    """

    arrived: int = 0
    published: int = 0
    quarantined: int = 0
    duplicates: int = 0
    pending: int = 0
    superseded: int = 0

    @property
    def missing(self) -> int:
        """Rows that no term accounts for. Anything but zero is a bug in this project."""
        return self.arrived - (self.published + self.quarantined + self.duplicates + self.pending + self.superseded)

    def __add__(self, other: "RowAccount") -> "RowAccount":
        """Sum term by term."""
        return RowAccount(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


def account_of(*, superseded: bool, raw: ArrivalShare | None, staged: ArrivalShare | None) -> RowAccount:
    """Where the rows of one arrival are, from what its two stations made of them.

    A superseded arrival's rows all count as superseded, also those that stay visible until its successor is published.
    Rows of a withheld partition are pending, all of them: what else became of them is decided when it is judged again.

    Args:
        superseded: Whether a later arrival for the same partition replaced it.
        raw: What the raw table made of it; None if it was never read, so that nobody knows how many rows it has.
        staged: What the staged table made of the raw rows as they are now; None if it has not judged them yet.
    """
    if raw is None:
        return RowAccount()
    if superseded:
        return RowAccount(arrived=raw.arrived, superseded=raw.arrived)
    if raw.pending:
        return RowAccount(arrived=raw.arrived, pending=raw.arrived)
    if staged is None or staged.pending:
        return RowAccount(
            arrived=raw.arrived, quarantined=raw.quarantined, duplicates=raw.duplicates, pending=raw.published
        )
    return RowAccount(
        arrived=raw.arrived,
        published=staged.published,
        quarantined=raw.quarantined + staged.quarantined,
        duplicates=raw.duplicates + staged.duplicates,
    )
