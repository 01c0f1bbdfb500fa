"""Partition sets: which keys a table or feed has, and the value each key has in the data.

Belongs here: the enumeration of keys, the typed value of a key, the instants that it covers. Does not belong here:
which partitions of one set another one reads (``mapping``, ``links``), Dagster's definitions (``sh_assets`` derives
those from these). Invariant: ``keys()`` is ordered and unique, ``values`` is injective on it, and keys are spelled as
Dagster spells them.

``fixed`` has the whole table and lists of keys, ``periods`` what ``hours`` and ``days`` (weeks and months too) have in
common on any clock (``zones``), ``multi`` the combination of two.
"""

from sh_core.partitions.days import Daily, Monthly, Weekly
from sh_core.partitions.fixed import DELIMITER, WHOLE, Static, Unpartitioned
from sh_core.partitions.hours import Hourly
from sh_core.partitions.multi import Dimension, Multi, Periods

Partitions = Periods | Static | Multi | Unpartitioned
"""The closed union of partition sets."""

KINDS = "Hourly(…), Daily(…), Weekly(…), Monthly(…), Static(…), Multi(…) or Unpartitioned()"
"""How to write one, for messages."""

__all__ = [
    "DELIMITER",
    "KINDS",
    "WHOLE",
    "Daily",
    "Dimension",
    "Hourly",
    "Monthly",
    "Multi",
    "Partitions",
    "Periods",
    "Static",
    "Unpartitioned",
    "Weekly",
]
