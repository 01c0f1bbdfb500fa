"""Row rules: what a Pandera schema says of single rows, under stable names and in plain words.

Belongs here: reading Pandera's columns and checks, and refusing the settings that the gate could not honour. Does not
belong here: judging data. Invariant: one rule per check and one per column that must not be null, in the order of the
schema; what ``canonical`` returns is the same in every process and Python version.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import FunctionType
from typing import Any

import pandera.polars as pa
import polars as pl
from pandera.api.base.model_components import BaseCheckInfo
from pandera.engines.polars_engine import DateTime

from sh_core.columns import is_system
from sh_core.errors import DeclarationError
from sh_core.verdict import Level, Rule

BUILT_IN: Mapping[str, str] = {
    "equal_to": "eq",
    "not_equal_to": "ne",
    "greater_than": "gt",
    "greater_than_or_equal_to": "ge",
    "less_than": "lt",
    "less_than_or_equal_to": "le",
    "in_range": "in_range",
    "isin": "isin",
    "notin": "notin",
    "str_matches": "str_matches",
    "str_contains": "str_contains",
    "str_startswith": "str_startswith",
    "str_endswith": "str_endswith",
    "str_length": "str_length",
}
"""Pandera's own checks of single values → the keyword under which ``field`` takes them."""


@dataclass(frozen=True, eq=False)
class RowRule:
    """One row-level rule and what judges it.

    Attributes:
        rule: Name and words.
        column: The column it judges; None if it looks across columns.
        check: Pandera's check; None means that the column must not be null (nor NaN).
        built_in: The kind of a check that Pandera brings along, e.g. ``in_range``; None for a user's own.
    """

    rule: Rule
    column: str | None
    check: pa.Check | None
    built_in: str | None

    @property
    def function(self) -> Callable[..., Any] | None:
        """The user's function behind a check of their own, None otherwise."""
        if self.check is None or self.built_in is not None:
            return None
        return _own_function(self.check)


def row_rules(schema: pa.DataFrameSchema) -> tuple[RowRule, ...]:
    """Every row-level rule of a schema, columns first, in order.

    Raises:
        DeclarationError: If a check has no usable name, only warns, or could not be told apart from others by content.
    """
    found: list[RowRule] = []
    for name, column in schema.columns.items():
        if not column.nullable:
            rule = Rule(f"{name}__not_null", Level.ROW, (name,), f"{name} must not be null")
            found.append(RowRule(rule, name, None, None))
        found += [_row_rule(check, name, (name,)) for check in column.checks]
    found += [_row_rule(check, None, tuple(schema.columns)) for check in schema.checks]
    return tuple(found)


def _row_rule(check: pa.Check, column: str | None, columns: tuple[str, ...]) -> RowRule:
    function = _own_function(check)
    # By the function and not by the check's name, which a user may have set to that of another check.
    registered = None if isinstance(function, FunctionType) else getattr(function, "__name__", "")
    kind = BUILT_IN.get(registered or "")
    short = str(kind if kind is not None and check.name == registered else check.name)
    rule = Rule(f"{column}__{short}" if column else short, Level.ROW, columns, _sentence(check, kind, column, short))
    if check.raise_warning or check.groupby:
        msg = f"rule {rule.name}: a rule holds or is broken, row by row; drop raise_warning and groupby"
        raise DeclarationError(msg)
    if kind is None and not isinstance(function, FunctionType):
        msg = (
            f"rule {rule.name}: no function that judges rows; if it speaks about the whole table, make it a table rule"
        )
        raise DeclarationError(msg)
    canonical(check.statistics)
    return RowRule(rule, column, check, kind)


def _own_function(check: pa.Check) -> Callable[..., Any]:
    """The function that a user wrote: Pandera wraps the methods of a model in an adapter that closes over them."""
    function: Callable[..., Any] = check._check_fn  # noqa: SLF001  # Pandera has no public way to it
    if isinstance(function, FunctionType):
        for bound in inspect.getclosurevars(function).nonlocals.values():
            if isinstance(bound, BaseCheckInfo):
                return bound.check_fn
    return function


def try_on_nothing(rule: RowRule, schema: pl.Schema) -> None:
    """Put a built-in check to an empty frame, so that a bound of the wrong type or a bad pattern fails at import.

    Raises:
        DeclarationError: If Polars cannot evaluate it on the column's type.
    """
    if rule.check is None or rule.built_in is None:
        return
    try:
        rule.check(schema.to_frame(eager=True).lazy(), rule.column).check_output.collect()
    except (pl.exceptions.PolarsError, TypeError, ValueError) as cause:
        msg = f"rule {rule.rule.name} can never be judged: {str(cause).splitlines()[0]}"
        raise DeclarationError(msg) from cause


def refuse_unsupported(schema: pa.DataFrameSchema) -> None:
    """Refuse what would make Pandera convert, drop or overlook data; the gate judges exactly what is declared.

    Raises:
        DeclarationError: Naming the setting and what to do instead.
    """
    if not schema.columns:
        raise DeclarationError("a contract needs at least one column")
    for what in ("coerce", "drop_invalid_rows", "add_missing_columns", "dtype"):
        if getattr(schema, what, None):
            raise DeclarationError(f"{what} is set: the gate never changes rows; convert them in the transform")
    if schema.strict == "filter":
        raise DeclarationError("strict='filter' drops columns silently; name every column that the transform returns")
    for name, column in schema.columns.items():
        for what, refused in {
            "starts with an underscore, which marks the framework's columns": is_system(name),
            "is a pattern; name each column": column.regex,
            "is optional; every declared column is published": not column.required,
            "has coerce, default or drop_invalid_rows; convert in the transform": bool(
                column.coerce or column.default is not None or column.drop_invalid_rows
            ),
            "has no type": column.dtype is None,
            "leaves its time zone open; state it": isinstance(column.dtype, DateTime)
            and column.dtype.time_zone_agnostic,
            "is of type Object, which cannot be stored": column.dtype is not None and column.dtype.type == pl.Object,
        }.items():
            if refused:
                raise DeclarationError(f"column {name} {what}")


def canonical(value: object) -> object:  # noqa: PLR0911  # one return per type is clearest
    """A value as plain JSON that depends on its content only, not on process, platform or the order of a set.

    Raises:
        DeclarationError: If the value has no such form.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float() | Decimal() | timedelta() | bytes():
            return [type(value).__name__, repr(value)]
        case datetime() | date() | time():
            return [type(value).__name__, value.isoformat()]
        case re.Pattern():
            return ["pattern", str(value.pattern), value.flags]
        case list() | tuple():
            return [canonical(item) for item in value]
        case set() | frozenset():
            return ["set", *sorted((canonical(item) for item in value), key=repr)]
        case Mapping():
            return {str(key): canonical(item) for key, item in sorted(value.items(), key=lambda pair: str(pair[0]))}
        case _:
            msg = f"{value!r} in a rule: a contract's version cannot cover a {type(value).__name__}; use plain values"
            raise DeclarationError(msg)


_LISTED = 12  # values that a sentence names before it only counts the rest

_SENTENCES: Mapping[str, str] = {
    "eq": "be {value}",
    "ne": "not be {value}",
    "gt": "be greater than {min_value}",
    "ge": "be at least {min_value}",
    "lt": "be less than {max_value}",
    "le": "be at most {max_value}",
    "in_range": "be between {min_value} and {max_value}",
    "isin": "be one of {allowed_values}",
    "notin": "be none of {forbidden_values}",
    "str_matches": "match the pattern {pattern} from its start",
    "str_contains": "contain the pattern {pattern}",
    "str_startswith": "start with {string}",
    "str_endswith": "end with {string}",
}


def _sentence(check: pa.Check, kind: str | None, column: str | None, name: str) -> str:
    said = check.description or check.title
    if said:
        return inspect.cleandoc(said).splitlines()[0]
    if kind is None:
        return f"{column or 'the row'} must satisfy {name}"
    given = check.statistics or {}
    if kind == "str_length":
        bounds = {"exact_value": "exactly", "min_value": "at least", "max_value": "at most"}
        lengths = [f"{words} {given[bound]}" for bound, words in bounds.items() if given.get(bound) is not None]
        return f"{column} must have {' and '.join(lengths)} characters"
    ends = {"include_min": "min_value", "include_max": "max_value"}
    open_ends = [str(given[end]) for include, end in ends.items() if given.get(include) is False]
    but = f", but not {' or '.join(open_ends)}" if open_ends else ""
    return f"{column} must {_SENTENCES[kind].format_map({k: _shown(v) for k, v in given.items()})}{but}"


def _shown(value: object) -> str:
    match value:
        case re.Pattern():
            return str(value.pattern)
        case list() | tuple() | set() | frozenset():
            texts = [str(v) for v in (sorted(value, key=repr) if isinstance(value, set | frozenset) else value)]
            more = f", … ({len(texts)} values)" if len(texts) > _LISTED else ""
            return ", ".join(texts[:_LISTED]) + more
        case _:
            return str(value)
