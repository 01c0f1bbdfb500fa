"""Verdicts: what the gate says of one staged partition.

Belongs here: the closed union ``Verdict`` and its parts. Does not belong here: how it is reached (``gate``).
Invariant: ``Unknown`` is never publishable; ``Broken`` names every rule that was broken, with a count.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """What a rule speaks about: single rows (can be quarantined) or the partition as a whole (can only withhold it)."""

    ROW = "row"
    TABLE = "table"


@dataclass(frozen=True)
class Rule:
    """One rule of a contract, as people and Dagster see it.

    Attributes:
        name: Unique in its contract, letters, digits and underscores only (it is also the asset check's name).
        level: Whether it judges rows or the whole partition.
        columns: The columns it looks at.
        description: One sentence, e.g. ``wind_speed_mph must be between 0 and 250``.
    """

    name: str
    level: Level
    columns: tuple[str, ...]
    description: str


@dataclass(frozen=True)
class RuleBreach:
    """How often one rule was broken in one partition, with a small masked sample.

    Attributes:
        rule: The rule's name.
        level: The rule's level.
        count: Rows that break it (row level), or 1 (table level).
        detail: For table-level rules: what was found, in one sentence. Empty for row-level rules.
        sample: At most ``SAMPLE_ROWS`` broken rows as plain dicts, PII masked, JSON-serialisable.
    """

    rule: str
    level: Level
    count: int
    detail: str = ""
    sample: tuple[dict[str, Any], ...] = ()


SAMPLE_ROWS = 5


@dataclass(frozen=True)
class Held:
    """Every rule holds for every row."""


@dataclass(frozen=True)
class Broken:
    """At least one rule is broken.

    Attributes:
        breaches: One entry per broken rule, in the contract's order of rules.
        rows_broken: Rows that break at least one row-level rule.
    """

    breaches: tuple[RuleBreach, ...]
    rows_broken: int


@dataclass(frozen=True)
class Unknown:
    """The gate could not judge: a check or transform crashed. Never published, never quarantined.

    Attributes:
        rule: The rule that crashed, or ``transform``.
        cause: Exception type and message, one line.
    """

    rule: str
    cause: str


Verdict = Held | Broken | Unknown
