"""Contracts: what every published row of a table satisfies.

Belongs here: the declaration; rules, units, PII marks and quanta derived from it; its version. Does not belong here:
judging rows (``gate``), reading Pandera's checks (``gate_rules``). Invariant: a contract that exists is consistent, and
two contracts that admit different rows, or handle broken ones differently, have different versions.

    class Weather(pa.DataFrameModel):
        origin: str = field(isin=["EWR", "JFK", "LGA"])
        time_hour: pl.Datetime("us", "UTC")
        wind_speed_mph: float = field(unit="mph", quantum=0.01, nullable=True, ge=0, le=250)

    WEATHER = Contract(Weather, key=("origin", "time_hour"), owner="team:weather", on_breach=Split(max_fraction=0.01))
"""

import dataclasses
import inspect
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Annotated, Any, assert_never

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaDefinitionError, SchemaInitError

from sh_core.code_version import code_version
from sh_core.deliveries import Several
from sh_core.errors import DeclarationError
from sh_core.feed import Feed
from sh_core.field_docs import field_docs
from sh_core.fingerprint import fingerprint
from sh_core.gate_rules import RowRule, canonical, refuse_unsupported, row_rules, try_on_nothing
from sh_core.inputs import refuse_text
from sh_core.verdict import Level, Rule

TableRule = Callable[[pl.LazyFrame], bool | pl.LazyFrame]
"""A rule about a whole partition: takes the rows that hold, with the contract's columns, and returns a boolean or a
LazyFrame of one boolean. Its name is the rule's name, its docstring the rule's description. It is not asked about a
partition without rows."""

Utc = Annotated[pl.Datetime, "us", "UTC"]
"""Type of a column of instants, for the body of a model: microseconds, UTC."""

SCHEMA, PARSE, HEADER, READABLE, ACCEPTED = "schema", "parse", "header", "readable", "accepted"
KEY_UNIQUE, ROWS_MIN, ROWS_MAX = "key__unique", "rows__min", "rows__max"


@dataclasses.dataclass(frozen=True)
class Withhold:
    """One broken row withholds the partition."""


@dataclasses.dataclass(frozen=True)
class Split:
    """Broken rows are set aside in quarantine and the others published, up to a limit.

    Attributes:
        max_fraction: Share of broken rows, 0 to 1; a partition with a greater share is withheld.
    """

    max_fraction: float

    def __post_init__(self) -> None:
        """Refuse what is not a share."""
        if not 0 <= self.max_fraction <= 1:
            raise DeclarationError(f"max_fraction is a share between 0 and 1, not {self.max_fraction}")


@dataclasses.dataclass(frozen=True)
class Reference:
    """Values that must occur as the key of another table.

    It is judged over the partition as a whole: a reference table that is a day behind must not quarantine new rows one
    by one, but a partition in which nothing matches any more must not be published.

    Attributes:
        columns: Columns of this table, in the order of the other's key. A row with a null among them refers to nothing.
        table: The other table.
        max_missing: Share of rows, 0 to 1, that may refer to a key that is not there.
    """

    columns: tuple[str, ...]
    table: str
    max_missing: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is not a share, or refers to nothing."""
        refuse_text(self.columns, f"the columns that refer to {self.table}")
        if not self.columns:
            raise DeclarationError(f"a reference to {self.table} needs the columns that hold its key")
        if not 0 <= self.max_missing <= 1:
            raise DeclarationError(f"max_missing is a share between 0 and 1, not {self.max_missing}")

    @property
    def rule(self) -> Rule:
        """The rule that it is."""
        allowed = f"; {100 * self.max_missing:.3g} % of the rows may be without" if self.max_missing else ""
        says = f"{' and '.join(self.columns)} occurs as key of {self.table}{allowed}"
        return Rule(f"{'_'.join(self.columns)}__in_{self.table}", Level.TABLE, self.columns, says)


def field(*, unit: str | None = None, pii: bool = False, quantum: float | None = None, **pandera_kwargs: Any) -> Any:  # noqa: ANN401
    """A column's declaration: ``pandera.Field`` with the marks that a contract adds.

    Args:
        unit: Unit of its values, e.g. ``mph``.
        pii: Whether its values are personal data, to be masked wherever samples are shown.
        quantum: Step, in the column's unit, to which float values are rounded before they are judged and published, so
            that the order of a summation cannot change a published value.
        **pandera_kwargs: What ``pandera.polars.Field`` takes: ``ge``, ``isin``, ``nullable``, ``unique``, …

    Returns:
        A field for the body of a ``DataFrameModel`` (typed Any, as Pandera's own).
    """
    marks = {"unit": unit, "pii": pii or None, "quantum": quantum}
    metadata = {**(pandera_kwargs.pop("metadata", None) or {}), **{k: v for k, v in marks.items() if v is not None}}
    return pa.Field(metadata=metadata or None, **pandera_kwargs)


@dataclasses.dataclass(frozen=True, eq=False)
class Contract:
    """What every published row of a table satisfies, and what happens when one does not.

    Attributes:
        model: Pandera model (or schema): columns, types, nullability, checks of single rows.
        key: Primary key; empty for a table whose rows have no identity (a multiset).
        owner: Who to ask, e.g. ``team:flights``.
        description: One sentence for people.
        on_breach: What happens to a partition with broken rows.
        min_rows: Fewest rows that a partition may hold.
        max_rows: Most rows that a partition may hold; None for no limit.
        drop_duplicates: Whether exact copies (equal in all the contract's columns) are dropped, and counted, rather
            than judged as breaking uniqueness.
        table_rules: Rules about the partition as a whole.
        references: Other tables in which values of this one must occur.
        framework_rules: Rules that the framework adds and judges before the gate, which is handed the breaches; not for
            users.
    """

    model: type[pa.DataFrameModel] | pa.DataFrameSchema
    key: tuple[str, ...] = ()
    owner: str = dataclasses.field(default="", kw_only=True)
    description: str = dataclasses.field(default="", kw_only=True)
    on_breach: Withhold | Split = dataclasses.field(default=Withhold(), kw_only=True)
    min_rows: int = dataclasses.field(default=0, kw_only=True)
    max_rows: int | None = dataclasses.field(default=None, kw_only=True)
    drop_duplicates: bool = dataclasses.field(default=False, kw_only=True)
    table_rules: tuple[TableRule, ...] = dataclasses.field(default=(), kw_only=True)
    references: tuple[Reference, ...] = dataclasses.field(default=(), kw_only=True)
    framework_rules: tuple[Rule, ...] = dataclasses.field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Refuse an inconsistent declaration.

        Raises:
            DeclarationError: Naming the contract, what is wrong and what to do.
        """
        try:
            self._refuse_mistaken()
            refuse_unsupported(self._pandera)
            self._refuse_columns()
            self._refuse_rules()
        except (DeclarationError, SchemaInitError, SchemaDefinitionError) as cause:
            name = self.model.__name__ if isinstance(self.model, type) else self.model.name or "unnamed"
            raise DeclarationError(f"contract {name}: {cause}") from cause

    def _refuse_mistaken(self) -> None:
        if not isinstance(self.on_breach, Withhold | Split):
            raise DeclarationError(f"on_breach is Withhold() or Split(max_fraction=…), not {self.on_breach!r}")
        if isinstance(self.references, Reference):
            raise DeclarationError("references is a tuple: (Reference(…),) with a comma")

    def _refuse_columns(self) -> None:
        if not isinstance(self.key, tuple):
            raise DeclarationError(
                f"key is a tuple of column names, with a comma even for one: ('item',), not {self.key!r}"
            )
        for rule, columns in self.unique.items():
            unknown = [c for c in columns if c not in self.schema]
            if unknown or len(set(columns)) != len(columns):
                there = f"got {', '.join(columns)}; there are {', '.join(self.schema)}"
                raise DeclarationError(f"{rule} needs columns of the model, each once; {there}")
        nullable = [c for c in self.key if self._pandera.columns[c].nullable]
        if nullable:
            raise DeclarationError(f"key column {', '.join(nullable)} is nullable; a row without a key has no identity")
        for column, quantum in self.quanta.items():
            if not self.schema[column].is_float():
                raise DeclarationError(
                    f"column {column} has a quantum, but is {self.schema[column]}; only floats are rounded"
                )
            if not 1e-15 <= quantum <= 1e15:  # noqa: PLR2004  # beyond it, no float could be rounded to it
                raise DeclarationError(f"column {column}: a quantum is a positive number such as 0.01, not {quantum}")

        for reference in self.references:
            unknown = [c for c in reference.columns if c not in self.schema]
            if unknown:
                raise DeclarationError(
                    f"a reference to {reference.table} needs {', '.join(unknown)}, which is no column"
                )

    def _refuse_rules(self) -> None:
        if self.min_rows < 0 or (self.max_rows is not None and self.max_rows < self.min_rows):
            raise DeclarationError(f"rows between {self.min_rows} and {self.max_rows} is no range")
        names = [rule.name for rule in self.rules]
        odd = [name for name in names if not re.fullmatch(r"[A-Za-z0-9_]+", name)]
        if odd:
            raise DeclarationError(f"rule {odd[0]!r}: use letters, digits and underscores; name= names a check")
        twice = [name for name, times in Counter(names).items() if times > 1]
        if twice:
            raise DeclarationError(f"two rules are called {twice[0]}; name= tells them apart")
        for rule in self.row_rules:
            try_on_nothing(rule, self.schema)

    @cached_property
    def _pandera(self) -> pa.DataFrameSchema:
        # Kept, because Pandera builds a model's schema anew in every thread.
        return self.model.to_schema() if isinstance(self.model, type) else self.model

    @cached_property
    def schema(self) -> pl.Schema:
        """Columns and types of the published rows, in order."""
        return pl.Schema({name: column.dtype.type for name, column in self._pandera.columns.items()})

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Column names in the order in which they are published."""
        return tuple(self.schema)

    @cached_property
    def row_rules(self) -> tuple[RowRule, ...]:
        """What judges single rows, ``parse`` aside."""
        return row_rules(self._pandera)

    @cached_property
    def unique(self) -> Mapping[str, tuple[str, ...]]:
        """Columns that identify a row within a partition, per rule: the key, and what Pandera calls unique.

        Two nulls count as equal, as they do for Pandera.
        """
        sets: list[tuple[str, ...]] = [(name,) for name, column in self._pandera.columns.items() if column.unique]
        listed = self._pandera.unique or []
        joint = [listed] if all(isinstance(c, str) for c in listed) else listed
        sets += [tuple(columns) for columns in joint if columns]
        key = {KEY_UNIQUE: self.key} if self.key else {}
        return {**key, **{f"{'_'.join(columns)}__unique": columns for columns in sets}}

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """Every rule, in a fixed order: schema, parsing, rows, then the partition as a whole."""
        every = self.columns
        return (
            Rule(SCHEMA, Level.TABLE, every, "Exactly the declared columns, of the declared types"),
            *self.framework_rules,
            Rule(PARSE, Level.ROW, every, "Every value could be read as its type"),
            *(r.rule for r in self.row_rules),
            *(
                Rule(name, Level.TABLE, columns, f"No two rows share {' and '.join(columns)}")
                for name, columns in self.unique.items()
            ),
            *([Rule(ROWS_MIN, Level.TABLE, (), f"At least {self.min_rows} rows")] if self.min_rows else ()),
            *([Rule(ROWS_MAX, Level.TABLE, (), f"At most {self.max_rows} rows")] if self.max_rows is not None else ()),
            *(reference.rule for reference in self.references),
            *(Rule(f.__name__, Level.TABLE, every, _first_line(f)) for f in self.table_rules),
        )

    def _marks(self, mark: str) -> dict[str, Any]:
        columns = self._pandera.columns.items()
        return {name: column.metadata[mark] for name, column in columns if mark in (column.metadata or {})}

    @cached_property
    def pii(self) -> frozenset[str]:
        """Columns that hold personal data."""
        return frozenset(name for name, marked in self._marks("pii").items() if marked)

    @cached_property
    def units(self) -> Mapping[str, str]:
        """Unit per column that has one."""
        return self._marks("unit")

    @cached_property
    def column_descriptions(self) -> Mapping[str, str]:
        """What is said of a column that anything is said of: its ``description=``, or the docstring below the field."""
        below = field_docs(self.model) if isinstance(self.model, type) else {}
        said = {name: column.description or below.get(name, "") for name, column in self._pandera.columns.items()}
        return {name: text for name, text in said.items() if text}

    @cached_property
    def quanta(self) -> Mapping[str, float]:
        """Rounding step per float column that has one, in the column's unit."""
        return self._marks("quantum")

    @cached_property
    def version(self) -> str:
        """Hash (32 hex digits) over schema, rules and breach policy.

        Not over owner, description, units or PII marks: they do not decide which rows are published. (A check that is a
        method may use all of its model, though, so such a model counts whole.) Computed on first use and not at import,
        when functions that a check calls may not be defined yet.
        """
        decided = {
            "schema": [[name, str(dtype)] for name, dtype in self.schema.items()],
            "quanta": self.quanta,
            "rows": [_identity(rule) for rule in self.row_rules],
            "unique": self.unique,
            "drop_duplicates": self.drop_duplicates,
            "count": [self.min_rows, self.max_rows],
            "table": [[f.__name__, code_version(f).digest] for f in self.table_rules],
            "framework": [rule.name for rule in self.framework_rules],
            "policy": _policy(self.on_breach),
        }
        if self.references:  # only then, so that contracts from before there were any keep their versions
            decided["references"] = [[list(r.columns), r.table, r.max_missing] for r in self.references]
        return fingerprint("sh-contract-1", [json.dumps(canonical(decided))]).hex()

    def with_rules(self, *rules: Rule) -> "Contract":
        """The same contract with rules that the framework judges before the gate."""
        return dataclasses.replace(self, framework_rules=(*self.framework_rules, *rules))


def raw_contract(feed: Feed) -> Contract:
    """The contract of a feed's rows as they came: text that may be null, and the partition column; no key."""
    text = {
        name: pa.Column(pl.String, nullable=True, metadata={"pii": True} if name in feed.pii else None)
        for name in feed.columns
    }
    period = {column: pa.Column(dtype) for column, dtype in feed.partitions.columns.items()}
    is_held = feed.several is Several.HOLD  # only then, so that contracts of other feeds keep their versions
    return Contract(
        pa.DataFrameSchema({**text, **period}, name=f"raw_{feed.name}"),
        owner=feed.owner,
        description=feed.description,
        on_breach=Split(feed.max_unparsable),
        framework_rules=(
            Rule(
                READABLE, Level.TABLE, (), f"The file can be read as {feed.format}, in {feed.max_bytes:,} bytes at most"
            ),
            Rule(HEADER, Level.TABLE, feed.columns, "The file has the promised columns, and no others"),
            *([Rule(ACCEPTED, Level.TABLE, (), "No other file waits to be accepted or rejected")] if is_held else []),
        ),
    )


def _first_line(function: TableRule) -> str:
    said = inspect.getdoc(function)
    return said.splitlines()[0] if said else f"The partition must satisfy {function.__name__}"


def _identity(rule: RowRule) -> list[object]:
    if rule.check is None:
        return [rule.rule.name]
    function = rule.function
    judged_by = rule.built_in if function is None else code_version(function).digest
    check = rule.check
    return [rule.rule.name, judged_by, check.ignore_na, check.element_wise, canonical(check.statistics)]


def _policy(policy: Withhold | Split) -> list[object]:
    match policy:
        case Withhold():
            return ["withhold"]
        case Split(max_fraction):
            return ["split", max_fraction]
        case _:
            assert_never(policy)
