"""Decisions: what is to be requested now of one table, what is not, and why.

Belongs here: the answer that automation acts on, in words that people read. Does not belong here: finding it.
Invariant: no partition is both due and held back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

_NOTHING: Mapping[str, "Hold"] = MappingProxyType({})


class Hold(StrEnum):
    """Why a stale partition is not requested now."""

    WAITING = "waiting for an input"
    ANCESTOR = "an ancestor first"
    PAUSED = "paused"
    BACKING_OFF = "backing off"
    IN_PROGRESS = "in progress"


@dataclass(frozen=True)
class Decision:
    """What automation does about the stale partitions of one table.

    Attributes:
        due: Partitions to be requested, each with what changed, e.g. ``("code changed", "stg_flights changed")``.
        held: Partitions that are stale and not requested now.
    """

    due: Mapping[str, tuple[str, ...]]
    held: Mapping[str, Hold] = field(default_factory=lambda: _NOTHING)


NOTHING = Decision(MappingProxyType({}))
"""No partition is stale."""
