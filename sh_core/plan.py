"""Plans: what would be run, in which order and why, and what would not.

Belongs here: the plan as data. Does not belong here: making one (``planning``), explaining a reason in full
(``sh_defs.facts.explaining``), carrying it out (``sh_defs.repairing``). Invariant: whoever explains a plan and whoever
carries it out read the same steps.

A *hop* is what can be run at the same time: hop 1 has no ancestor that may change, hop 2 has one in hop 1, and so on.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sh_core.book import Keys
from sh_core.policy import Held, Hold
from sh_core.staleness import Stale

# ---- what becomes of a partition


@dataclass(frozen=True)
class Due:
    """It is stale, and would be computed.

    Attributes:
        stale: Why.
        hop: When it is its turn.
        overrides: Why automation would not request it now, if it would not.
    """

    stale: Stale
    hop: int
    overrides: Held | None = None


@dataclass(frozen=True)
class Landed:
    """A file has landed that was not taken in yet: whether it has other content is not known.

    Attributes:
        file_name: Its name.
        hop: When it is its turn.
    """

    file_name: str
    hop: int


@dataclass(frozen=True)
class Reached:
    """Something that it reads may change: then it is computed, otherwise it is cut off.

    Attributes:
        through: Tables that it reads and that may change before it.
        hop: When it is its turn.
        is_new: Whether it was never decided about, for want of what may come now.
    """

    through: tuple[str, ...]
    hop: int
    is_new: bool


@dataclass(frozen=True)
class HeldBack:
    """It is stale, or may become so, and is not computed now.

    Attributes:
        held: Why not.
        stale: Why it is stale; None if only something that it reads may change.
        through: In that case, which tables.
    """

    held: Held
    stale: Stale | None = None
    through: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outside:
    """It may change, but reads something else too that is due and does not belong to the plan: that comes first.

    Attributes:
        first: Tables of which something comes first.
    """

    first: tuple[str, ...]


@dataclass(frozen=True)
class WaitsFor:
    """It cannot be computed yet.

    Attributes:
        missing: What is not there, in words.
    """

    missing: tuple[str, ...]


Status = Due | Landed | Reached | HeldBack | Outside | WaitsFor
"""What becomes of a partition that is not simply settled: a closed union."""


@dataclass(frozen=True)
class Cost:
    """What one partition of a table costs, by what was recorded.

    Attributes:
        rows: Rows published; None if that was never recorded.
        seconds: Seconds of computing and judging; likewise.
    """

    rows: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Selection:
    """What a plan is asked for.

    Attributes:
        named: Partitions, by table.
        downstream: Whether all that is downstream of them is meant, too.
    """

    named: Keys
    downstream: bool = False


@dataclass(frozen=True)
class Plan:
    """What would be run, and what not.

    Attributes:
        made_utc: When it was made.
        selection: What was asked for; None for everything.
        statuses: By table, in the order of tables and keys, what is not simply settled, of what was asked for and of
            what has to do with it.
        settled: Partitions that were asked for and are settled, by table.
        costs: By table of which something is a step.
    """

    made_utc: datetime
    selection: Selection | None
    statuses: Mapping[str, Mapping[str, Status]]
    settled: Mapping[str, tuple[str, ...]]
    costs: Mapping[str, Cost] = field(default_factory=dict)

    @property
    def hops(self) -> tuple[Mapping[str, tuple[str, ...]], ...]:
        """The steps, hop by hop, by table: what is due or may become so."""
        found: dict[int, dict[str, list[str]]] = {}
        for table, key, status in self:
            match status:
                case Due(hop=hop) | Landed(hop=hop) | Reached(hop=hop):
                    found.setdefault(hop, {}).setdefault(table, []).append(key)
        return tuple({t: tuple(keys) for t, keys in found[hop].items()} for hop in sorted(found))

    @property
    def steps(self) -> Mapping[str, frozenset[str]]:
        """All steps, by table; those held back because another process works on them are not left out."""
        found: dict[str, set[str]] = {}
        for table, key, status in self:
            match status:
                case Due() | Landed() | Reached() | HeldBack(held=Held(hold=Hold.BUSY)):
                    found.setdefault(table, set()).add(key)
        return {table: frozenset(keys) for table, keys in found.items()}

    @property
    def due(self) -> int:
        """How many partitions would be computed for certain."""
        return sum(isinstance(status, Due) for _, _, status in self)

    def __iter__(self) -> Iterator[tuple[str, str, Status]]:
        """Table, partition, status; in order."""
        for table, found in self.statuses.items():
            for key, status in found.items():
                yield table, key, status

    def cost(self, steps: Mapping[str, Collection[str]]) -> Cost:
        """What some steps cost together; None where it is not known of one of their tables."""
        rows: list[float | None] = []
        seconds: list[float | None] = []
        for table, keys in steps.items():
            each = self.costs.get(table, Cost())
            rows.append(None if each.rows is None else each.rows * len(keys))
            seconds.append(None if each.seconds is None else each.seconds * len(keys))
        return Cost(_sum(rows), _sum(seconds))


def _sum(parts: Collection[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
