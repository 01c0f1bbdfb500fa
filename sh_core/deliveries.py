"""Deliveries: which of a partition's files count.

Belongs here: the order of versions, and what a delivery is to those that came before it. Does not belong here: how
names spell a version (``file_names``), recording (``sh_resources.ledger.arrivals``). Invariant: of deliveries with
distinct vendor versions the same one ends up as the current one, in whatever order and however often they come.

Files follow each other in **chains**, one for each partition, or for each part of one where files are appended. The
end of a chain is current. A vendor's version goes before the order of arrival. A file that says no version, since the
vendor gives none or since it is broken, counts as one more delivery of the version that is current as it comes: so a
broken file after version 5 shows as broken, and version 4 still does not replace version 5.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from sh_core.records import Arrival


class Several(Enum):
    """What several files for one partition mean."""

    LATEST = "latest"
    """The newest is the partition: the one with the greatest version, or else the last to arrive."""
    APPEND = "append"
    """All of them together are the partition: the names have a ``{part}``, and of each part the newest counts."""
    HOLD = "hold"
    """The first is the partition. Another one with other content waits until a person accepts or rejects it."""


@dataclass(frozen=True)
class Delivery:
    """One file as found, not yet recorded.

    Attributes:
        partition: Partition key that its name stands for.
        file_name: Name it landed under.
        sha256: Content, hex.
        size_bytes: Size as delivered.
        version: What the vendor numbers it with, as spelled in name or content; None if it does not say.
        part: Which of the partition's files it is; empty unless files are appended.
        modified_ns: When it was last written to, by the landing zone's clock, in nanoseconds since 1970; None if nobody
            knows. Only compared with that of other files of the same partition.
        rows: Records in it, if they were counted.
    """

    partition: str
    file_name: str
    sha256: str
    size_bytes: int
    version: str | None = None
    part: str = ""
    modified_ns: int | None = None
    rows: int | None = None

    @property
    def chain(self) -> tuple[str, str]:
        """Partition and part."""
        return self.partition, self.part


class Place(Enum):
    """What a delivery is to those that were recorded before it."""

    KNOWN = "known"
    """It was recorded before; there is nothing to note."""
    CURRENT = "current"
    """It becomes the end of its chain."""
    LATE = "late"
    """An older version than the current one: replaced before it came."""
    HELD = "held"
    """It waits for a person's word."""


Rank = tuple[int, int, str]


def rank(version: str | None) -> Rank:
    """By what versions are compared: none, then numbers by value, then time stamps and other texts by their letters.

    A ``Z`` at the end does not count: 06:00:00Z is before 06:00:00.5Z.
    """
    if version is None:
        return 0, 0, ""
    if version.isascii() and version.isdigit():
        digits = version.lstrip("0")
        return 1, len(digits), digits
    return 2, 0, version.removesuffix("Z")


def greatest(versions: Iterable[str | None]) -> str | None:
    """The greatest version of a column's cells: spaces around it and empty cells do not count.

    Returns:
        None if there is none, or if it is too long to be one.
    """
    said = [cell.strip() for cell in versions if cell is not None and cell.strip()]
    found = max(said, key=rank, default=None)
    return found if found is None or len(found) <= LONGEST else None


LONGEST = 100
"""Characters of a version."""


def in_order(deliveries: Iterable[Delivery]) -> list[Delivery]:
    """Files that were found together, in the order in which they count as having come: version, time, name."""
    return sorted(deliveries, key=lambda d: (rank(d.version), d.modified_ns or 0, d.file_name))


def place(
    delivery: Delivery, chain: Callable[[], Sequence[Arrival]], current: Arrival | None, several: Several
) -> Place:
    """What a delivery is to those of its chain that were recorded before it.

    Args:
        delivery: The file.
        chain: Asks for every arrival of its chain, late and held ones included, in order of arrival; called only where
            the current one does not decide.
        current: The current one.
        several: The feed's rule.
    """
    if current is None:
        return Place.CURRENT
    version = delivery.version if delivery.version is not None else current.version
    newer, is_older = rank(version) > rank(current.version), rank(version) < rank(current.version)
    if delivery.sha256 == current.sha256:
        # The same rows under a greater number: which versions are older than them has changed, and nothing else.
        if newer:
            return Place.CURRENT
        if not is_older:
            return Place.KNOWN
    if is_older:
        same = any((a.sha256, rank(a.version)) == (delivery.sha256, rank(version)) for a in chain())
        return Place.KNOWN if same else Place.LATE
    if several is Several.HOLD:
        waiting = (a.sha256 == delivery.sha256 for a in chain() if a.is_held and not a.is_accepted)
        return Place.KNOWN if any(waiting) or _lies_there_still(delivery, chain, current) else Place.HELD
    return Place.KNOWN if not newer and _lies_there_still(delivery, chain, current) else Place.CURRENT


def _lies_there_still(delivery: Delivery, chain: Callable[[], Sequence[Arrival]], current: Arrival) -> bool:
    """Whether it is a file of another name that was recorded before the current one, and not written to since.

    Where a partition's files have several names, those that were replaced still lie beside the one that replaced them.
    """
    if delivery.file_name == current.file_name or delivery.modified_ns is None or current.modified_ns is None:
        return False
    before = [a for a in chain() if a.file_name == delivery.file_name]
    if not before or before[-1].sha256 != delivery.sha256:
        return False
    return delivery.modified_ns <= max(current.modified_ns, before[-1].modified_ns or 0)
