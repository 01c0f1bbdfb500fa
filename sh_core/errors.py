"""The error tree. Every error that this project raises on purpose is one of these.

Belongs here: error classes. Does not belong here: handling. Invariant: a message says what is wrong, where, and what
to do.

    SelfHealError
      ├── DeclarationError      a feed, table, contract or graph was declared wrongly (raised at import, never at run)
      ├── SettingsError         an environment variable or a state folder is unusable
      ├── FeedError             a delivered file cannot be found or read
      ├── TransformError        a transform raised; carries table and partition
      ├── LeaseLostError        this process's lease was taken over: its work is discarded
      ├── CommitConflictError   a Delta commit kept losing against other writers past the retry budget
      ├── StoreError            a table's files contradict the publishing protocol: something else has written to it
      ├── RollbackError         a partition cannot be returned to an earlier snapshot; it stays as it is
      └── LedgerError           the ledger is unreachable, too old or too new for this code
"""

from collections.abc import Mapping
from typing import Any


class SelfHealError(Exception):
    """Base of every error raised on purpose here."""


class DeclarationError(SelfHealError):
    """A feed, table, contract or graph was declared wrongly."""


def refuse_other_kinds(who: str, given: Mapping[str, tuple[object, Any, str]]) -> None:
    """Refuse values of a wrong type where they are declared, rather than where they are used.

    Args:
        who: Whose values they are, for the message.
        given: Per name of a value: the value, the class or union that it must be of, and how to write one.

    Raises:
        DeclarationError: Naming the first one that is wrong, and how to write it.
    """
    for name, (value, kind, example) in given.items():
        if not isinstance(value, kind):
            said = value.__name__ if isinstance(value, type) else f"{type(value).__name__} {value!r:.60}"
            raise DeclarationError(f"{who}: {name} is {example}, not {said}")


class SettingsError(SelfHealError):
    """An environment variable or a state folder is unusable."""


class FeedError(SelfHealError):
    """A delivered file cannot be found or read."""


class TransformError(SelfHealError):
    """A transform raised for one partition.

    Attributes:
        table: Name of the table whose transform raised.
        partition: Partition key, or None when the fault is not tied to one partition.
    """

    def __init__(self, table: str, partition: str | None, cause: str) -> None:
        """Name the table, the partition and what was raised."""
        where = table if partition is None else f"{table}[{partition}]"
        super().__init__(f"the transform of {where} raised {cause}")
        self.table = table
        self.partition = partition
        self.cause = cause


class LeaseLostError(SelfHealError):
    """This process's lease was taken over: whatever it was about to publish is discarded."""


class CommitConflictError(SelfHealError):
    """A Delta commit kept losing against other writers past the retry budget."""


class LedgerError(SelfHealError):
    """The ledger is unreachable, or its schema is too old or too new for this code."""


class RulingError(SelfHealError):
    """A person's word on held files is not about the files that are held; everything stays as it was."""


class RollbackError(SelfHealError):
    """A partition cannot be returned to an earlier snapshot; what readers see stays."""


class StoreError(SelfHealError):
    """A table's files contradict the publishing protocol: something else has written to it."""
