"""Staleness: whether a partition's recorded trace is still its current one, and if not, why.

Belongs here: comparing two traces, and the reasons as data that automation, plans and people all consume. Does not
belong here: what is looked at (``suspects``), what is done about it and when (``watch``). Invariant: there is a reason
if and only if the traces differ. Staleness is a fact about state, never about an event, so no change is ever missed
because something else happened at the same time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sh_core.placeholder import is_placeholder
from sh_core.trace import ABSENT, Read, Trace


@dataclass(frozen=True)
class FirstTime:
    """Nothing was ever decided about the partition."""


@dataclass(frozen=True)
class CodeChanged:
    """The transform was edited: something else than comments and formatting.

    Attributes:
        before: Code version then.
        now: Code version now.
    """

    before: str
    now: str


@dataclass(frozen=True)
class ContractChanged:
    """Schema, rules or breach policy were edited.

    Attributes:
        before: Contract version then.
        now: Contract version now.
    """

    before: str
    now: str


@dataclass(frozen=True)
class InputChanged:
    """Something that it reads has other content, has appeared, or is gone.

    Attributes:
        source: Upstream table, or the feed of a raw table.
        partition: The partition that is read.
        columns: Columns that are read; none stands for a file.
        rows: Which rows and as which argument, in words; nothing for all of them.
        before: Version then, ``ABSENT`` if there was none.
        now: Version now, ``ABSENT`` if there is none.
    """

    source: str
    partition: str
    columns: tuple[str, ...]
    rows: str
    before: str
    now: str

    @property
    def appeared(self) -> bool:
        """Whether it had been missing."""
        return self.before == ABSENT

    @property
    def gone(self) -> bool:
        """Whether it is missing now."""
        return self.now == ABSENT


@dataclass(frozen=True)
class InputRedeclared:
    """The table declares its inputs differently: other columns, partitions or rows are read.

    Attributes:
        source: Upstream table.
        partition: The partition that is read, or was.
        before: Columns read then; None if it was not read.
        now: Columns read now; None if it is not read any more.
    """

    source: str
    partition: str
    before: tuple[str, ...] | None
    now: tuple[str, ...] | None


@dataclass(frozen=True)
class Astray:
    """What readers see is not what the ledger says was published: somebody else has written to the table."""


@dataclass(frozen=True)
class Overdue:
    """Something that it needs is late, and a placeholder is to stand in."""


@dataclass(frozen=True)
class Landed:
    """What a placeholder has stood in for is there."""


Reason = FirstTime | CodeChanged | ContractChanged | InputChanged | InputRedeclared | Astray | Overdue | Landed
"""Why a partition is stale: a closed union."""


@dataclass(frozen=True)
class Stale:
    """A partition that would be computed from something else than last time.

    Attributes:
        trace: Digest of the trace under which it would be settled now.
        reasons: What differs.
    """

    trace: str
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Look:
    """What some partitions of one table are found to be; those in neither part are settled under their current trace.

    Attributes:
        stale: Those to compute: their inputs are there.
        waiting: Those that cannot be computed yet, with what is missing, in words.
        settled: The others: nothing needs to be done about them.
    """

    stale: Mapping[str, Stale] = field(default_factory=dict)
    waiting: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settled: frozenset[str] = frozenset()


def compare(before: Trace | None, now: Trace) -> tuple[Reason, ...]:
    """Why a partition with a recorded trace is stale; nothing if it is not.

    Args:
        before: Trace under which it was settled; None if it never was.
        now: Trace under which it would be settled now.

    Returns:
        Reasons in a stable order: code, contract, then inputs by name; where a placeholder comes or goes, that alone.
    """
    if is_placeholder(now.code) and (before is None or not is_placeholder(before.code)):
        return (Overdue(),)
    if before is None:
        return (FirstTime(),)
    if is_placeholder(before.code) and not is_placeholder(now.code):
        return (Landed(),)
    reasons: list[Reason] = []
    if before.code != now.code:
        reasons.append(CodeChanged(before.code, now.code))
    if before.contract != now.contract:
        reasons.append(ContractChanged(before.contract, now.contract))
    if before.reads != now.reads:
        reasons += _of_reads(before.reads - now.reads, now.reads - before.reads)
    return tuple(reasons)


def _of_reads(only_before: frozenset[Read], only_now: frozenset[Read]) -> list[Reason]:
    then, today = ({(r.source, r.partition, r.rows, r.columns): r for r in side} for side in (only_before, only_now))
    reasons: list[Reason] = []
    for identity in sorted(then.keys() | today.keys()):
        source, partition, rows, columns = identity
        if identity in then and identity in today:
            old, new = then[identity].digest, today[identity].digest
            reasons.append(InputChanged(source, partition, columns, rows, old, new))
        elif not columns:  # a file: that there is another one, or one less, is no matter of declaring
            old, new = (side[identity].digest if identity in side else ABSENT for side in (then, today))
            reasons.append(InputChanged(source, partition, columns, rows, old, new))
        elif identity in today:
            reasons.append(InputRedeclared(source, partition, _columns(then, identity), columns))
        elif _columns(today, identity) is None:
            reasons.append(InputRedeclared(source, partition, columns, None))
    return reasons


_Identity = tuple[str, str, str, tuple[str, ...]]


def _columns(side: Mapping[_Identity, Read], identity: _Identity) -> tuple[str, ...] | None:
    """The columns that the other side reads of the same rows, if it does."""
    return next((columns for *same, columns in side if same == list(identity[:3])), None)
