"""Explanations: what exactly differs behind a reason.

Belongs here: the details as data, and finding them by comparing what was with what is. Does not belong here: finding
what was (``sh_defs.facts.explaining``), words. Invariant: what is said to differ does, and was proven by versions;
where that cannot be done any more, it is said so instead.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sh_core.version import Version


@dataclass(frozen=True)
class ColumnsDiffer:
    """Other content of an input partition, by column.

    Attributes:
        columns: Those of the columns that are read that differ, in order.
        rows_before: Rows then.
        rows_now: Rows now.
    """

    columns: tuple[str, ...]
    rows_before: int
    rows_now: int


@dataclass(frozen=True)
class RowsDiffer:
    """Other looked-up rows.

    Attributes:
        changed: Keys that are there as before, with other values.
        appeared: Keys that were a miss then.
        gone: Keys that are a miss now.
        columns: Columns in which the first of these differ.
        keys: The first few keys, in words; personal data is masked.
    """

    changed: int
    appeared: int
    gone: int
    columns: tuple[str, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True)
class KeysDiffer:
    """Rows were looked up by other keys, since those that they are looked up by have changed.

    Attributes:
        columns: Columns that hold these keys, and have changed.
    """

    columns: tuple[str, ...]


@dataclass(frozen=True)
class CodeDiffers:
    """Other code.

    Attributes:
        diff: A unified diff of the normalised sources.
    """

    diff: tuple[str, ...]


@dataclass(frozen=True)
class ClausesDiffer:
    """Another contract, clause by clause.

    Attributes:
        added: What it says now and did not say then.
        removed: What it said then.
        changed: What it says otherwise: then and now.
    """

    added: Mapping[str, str]
    removed: Mapping[str, str]
    changed: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class FileDiffers:
    """Another file.

    Attributes:
        name: Its name.
        bytes_before: Size then; None if there was none.
        bytes_now: Size now.
    """

    name: str
    bytes_before: int | None
    bytes_now: int


@dataclass(frozen=True)
class NotKept:
    """What was then is not kept, so nobody can say more than that it differs.

    Attributes:
        what: What is not kept.
    """

    what: str


Detail = ColumnsDiffer | RowsDiffer | KeysDiffer | CodeDiffers | ClausesDiffer | FileDiffers | NotKept
"""What differs behind a reason: a closed union."""


def columns_differ(columns: Sequence[str], before: str, after: str, history: Sequence[Version]) -> Detail:
    """Which of the columns that are read differ between two contents of a partition.

    Args:
        columns: Columns that are read.
        before: Their version then.
        after: Their version now, or when it was looked at.
        history: Contents of the partition, newest first.
    """
    known = {v.of(columns): v for v in reversed(history) if set(columns) <= set(v.columns)}
    then, now = known.get(before), known.get(after)
    if then is None or now is None:
        return NotKept("the content that was read then")
    differ = tuple(c for c in columns if then.columns.get(c) != now.columns.get(c))
    return ColumnsDiffer(differ, then.rows, now.rows)


def code_differs(before: str | None, now: str) -> Detail:
    """How the code differs, given the normalised source of both."""
    if before is None:
        return NotKept("the code of then")
    lines = difflib.unified_diff(before.splitlines(), now.splitlines(), "then", "now", n=2, lineterm="")
    return CodeDiffers(tuple(lines))


def clauses_differ(before: Mapping[str, str] | None, now: Mapping[str, str]) -> Detail:
    """How the contract differs, given the clauses of both."""
    if before is None:
        return NotKept("what the contract said then")
    return ClausesDiffer(
        {name: said for name, said in now.items() if name not in before},
        {name: said for name, said in before.items() if name not in now},
        {name: (before[name], said) for name, said in now.items() if name in before and before[name] != said},
    )
