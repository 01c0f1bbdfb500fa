"""Inputs: what a table reads of the tables upstream, and what must be there for it.

Belongs here: the declaration of one input, from which its part of the trace follows. Does not belong here: reading it
(``sh_resources.inputs``), which partitions a window means (``mapping``). Invariant: nothing is handed to a transform
that is not declared here, so that a change of anything else can never concern it.

    reads={
        # these columns, same partition
        "stg_flights": ("date", "origin", "dest"),
        # the day before, too
        "stg_weather": Input("stg_weather", ("temp_f",), window=Window(-1, 0)),
        # only airports that occur in dest
        "airports": Input("stg_airports", ("zone",), lookup=Lookup("stg_flights", ("dest",))),
    }
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sh_core.errors import DeclarationError
from sh_core.mapping import SAME, PartitionMapping

if TYPE_CHECKING:
    from sh_core.table import Table


def refuse_text(names: object, what: str) -> None:
    """Refuse a text where names are wanted: ``("date")`` is no tuple, and its letters are no columns.

    Raises:
        DeclarationError: If it is one.
    """
    if isinstance(names, str):
        raise DeclarationError(f'{what} are a tuple of names, ("{names}",) with a comma, not "{names}"')


@dataclass(frozen=True)
class Required:
    """Every partition that is read must be published; until then the reading partition waits."""


@dataclass(frozen=True)
class Partial:
    """Some of the partitions that are read may be missing; the transform gets those that are there.

    When a missing one is published later, the reading partition is computed again.

    Attributes:
        min_present: How many must be there. Where fewer exist (the first days of a set), all that exist.
    """

    min_present: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no count."""
        if self.min_present < 0:
            raise DeclarationError(f"min_present is a number of partitions, not {self.min_present}")


@dataclass(frozen=True)
class Lookup:
    """Hand over only those rows of a table whose key occurs in another input: reference data, looked up.

    A change in any other row concerns nobody who looked up these; a key that is missing and appears later does.

    Attributes:
        driver: Argument name of the input in which the keys occur.
        columns: Its columns that hold them, in the order of the looked-up table's key.
    """

    driver: str
    columns: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse a text, which would be taken letter by letter."""
        refuse_text(self.columns, f"the columns of a lookup by {self.driver}")


@dataclass(frozen=True)
class Input:
    """One upstream table, as an argument of the transform.

    Attributes:
        table: Its name.
        columns: Columns handed over (its key is always added); None hands over all of them.
        window: Which of its partitions: ``Window``, ``All``, ``Last``, ``Keys`` or ``Dimensions``.
        present: How many of those must be there.
        lookup: Which of their rows; None hands over all of them.
        argument: The transform's argument; the decorator fills it in.
    """

    table: str
    columns: tuple[str, ...] | None = None
    window: PartitionMapping = SAME
    present: Required | Partial = Required()
    lookup: Lookup | None = None
    argument: str = ""

    def __post_init__(self) -> None:
        """Refuse what is easily written by mistake and would mean something else."""
        refuse_text(self.columns, f"the columns read of {self.table}")
        window: object = self.window
        if not isinstance(window, PartitionMapping):
            kinds = "Window(-6, 0), All(), Last(), Keys(…) or Dimensions(…)"
            raise DeclarationError(f"the window on {self.table} is {kinds}, not {self.window!r}")
        if not isinstance(self.present, Required | Partial):
            raise DeclarationError(f"present of {self.table} is Required() or Partial(…), not {self.present!r}")

    @property
    def name(self) -> str:
        """Name of the argument: that of the table where none is given."""
        return self.argument or self.table

    @property
    def role(self) -> str:
        """Which rows are handed over and as what, in words that a trace can hold.

        Empty for all rows under the table's own name. The argument counts, because a declaration is not part of the
        code: without it, two arguments could be exchanged there and every trace would stay what it was.
        """
        return self.picked if self.name == self.table else f"{self.picked} as {self.name}".lstrip()

    @property
    def picked(self) -> str:
        """Where the keys of looked-up rows occur, in words; empty for all rows."""
        return "" if self.lookup is None else f"{', '.join(self.lookup.columns)} of {self.lookup.driver}"


def refuse_lookup(given: Input, source: "Table", driver: "Table | None", declared: Input | None) -> str | None:
    """Why a declared lookup cannot work; None if it can.

    Args:
        given: The input that is looked up.
        source: Its table.
        driver: The table of the driving input; None if there is no such input.
        declared: The driving input itself.
    """
    if given.lookup is None:
        return None
    wanted, key = given.lookup.columns, source.contract.key
    if driver is None or declared is None or declared.lookup is not None:
        return f"is driven by {given.lookup.driver}, which must be another argument of it, and no lookup itself"
    if not key or len(wanted) != len(key):
        return (
            f"is looked up by {', '.join(wanted)}, but its key is {', '.join(key) or 'nothing'}: name a column for each"
        )
    handed = driver.contract.columns if declared.columns is None else {*declared.columns, *driver.contract.key}
    for mine, theirs in zip(key, wanted, strict=True):
        if theirs not in handed:
            return f"is looked up by {theirs}, which is not among the columns read of {driver.name}"
        if source.contract.schema[mine] != driver.contract.schema[theirs]:
            kinds = f"{driver.contract.schema[theirs]} and {source.contract.schema[mine]}"
            return f"is looked up by {theirs} as {mine}, but their types differ ({kinds})"
    return None
