"""Parsing: how a staged transform turns delivered text into types without losing evidence.

Belongs here: parsers of cells, and ``parse``, which applies them to a raw table. Does not belong here: meaning (ranges,
units, zones: contracts and transforms), reading files. Invariant: text that is neither parsed nor a declared marker of
absence leaves the name of its typed column in the row's ``_unparsed``; it never becomes a silent null.

    parse(raw_flights, date=year_month_day("year", "month", "day"), flight=integer("flight"), dep_min=hhmm("dep_time"))
"""

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from sh_core.columns import FILE, LINE, TEXT, UNPARSED

NOT_AVAILABLE = ("NA", "")
"""Texts that say "no value here" rather than a value that went wrong."""

_INSTANT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](?:\.[0-9]{1,6})?Z$"
_DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_YEAR_MONTH_DAY = r"^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}$"
_CLOCK = r"^(?:(?:[01]?[0-9]|2[0-3])[0-5][0-9]|[0-5]?[0-9]|2400)$"


@dataclass(frozen=True)
class Parser:
    """How one typed column comes out of delivered text.

    Attributes:
        sources: Columns of the raw table that it reads.
        typed: Their value, null where the text is not of the form asked for. Markers of absence are null in its input.
        can_fail: Whether some text does not parse.
        is_text: Whether it reads delivered text, and not what the framework has typed already.
    """

    sources: tuple[str, ...]
    typed: pl.Expr
    can_fail: bool = True
    is_text: bool = True


def text(source: str) -> Parser:
    """The text as it came (String); every text parses."""
    return Parser((source,), pl.col(source), can_fail=False)


def as_is(source: str) -> Parser:
    """A value that has a type already, such as the partition column of a raw table: the period that the file is of."""
    return Parser((source,), pl.col(source), can_fail=False, is_text=False)


def integer(source: str) -> Parser:
    """A whole number (Int64): digits after an optional sign. ``12.0``, ``1e3``, `` 5`` and overflow are none."""
    return Parser((source,), pl.col(source).cast(pl.Int64, strict=False))


def number(source: str) -> Parser:
    """A finite number (Float64), decimal or with exponent. ``inf``, ``nan`` and ``1,5`` are none."""
    value = pl.col(source).cast(pl.Float64, strict=False)
    return Parser((source,), pl.when(value.is_finite()).then(value))


def hhmm(source: str) -> Parser:
    """A clock time as ``517`` or ``0517``, from 0 to 2400 → whole minutes after midnight (Int64, 0 to 1440)."""
    digits = pl.when(pl.col(source).str.contains(_CLOCK)).then(pl.col(source)).cast(pl.Int64, strict=False)
    return Parser((source,), digits // 100 * 60 + digits % 100)


def day(source: str) -> Parser:
    """A calendar day (Date) as ``2013-03-09``."""
    return Parser((source,), _day_from(pl.col(source), _DAY))


def year_month_day(year: str, month: str, day_of_month: str) -> Parser:
    """A calendar day (Date) delivered in three columns; a year has four digits."""
    sources = (year, month, day_of_month)
    return Parser(sources, _day_from(pl.concat_str(sources, separator="-"), _YEAR_MONTH_DAY))


def instant(source: str) -> Parser:
    """An ISO 8601 instant that says it is UTC, as ``2013-03-10T07:00:00Z``, fractions allowed → Datetime in µs, UTC."""
    iso = _matching(pl.col(source), _INSTANT)
    value = iso.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC", strict=False)
    return Parser((source,), value)


def parse(raw: pl.LazyFrame, /, *, na: Collection[str] = NOT_AVAILABLE, **columns: Parser) -> pl.LazyFrame:
    """Type the rows of a raw table.

    Args:
        raw: Delivered rows: text columns, ``_file``, ``_line``.
        na: Texts that mean "no value" and become null. An absent (null) cell means the same.
        **columns: Name of each typed column and its parser.

    Returns:
        One row per delivered row, in the same order: the typed columns, ``_file``, ``_line``, ``_unparsed``
        (List[String]: the typed columns that are null although text was delivered for them; empty where there is none)
        and ``_text`` (String: the delivered cells of a row with such a column, null for all others).
    """
    read = list(dict.fromkeys(source for parser in columns.values() if parser.is_text for source in parser.sources))
    cells = pl.col(read)
    # A delivered and a typed column may share a name (``flight``), so the delivered ones step aside under ``_text_``.
    present = raw.with_columns(pl.when(~cells.is_in(list(na))).then(cells).name.keep())
    typed = present.select(
        *(parser.typed.alias(name) for name, parser in columns.items()), cells.name.prefix("_text_"), FILE, LINE
    )
    failed = [
        pl.when(
            pl.col(name).is_null() & pl.any_horizontal(pl.col(f"_text_{s}").is_not_null() for s in parser.sources)
        ).then(pl.lit(name))
        for name, parser in columns.items()
        if parser.can_fail
    ]
    unparsed = pl.concat_list(failed).list.drop_nulls() if failed else pl.lit([], dtype=pl.List(pl.String))
    came_as = pl.concat_str(
        [pl.format("{}={}", pl.lit(source), pl.col(f"_text_{source}").fill_null("")) for source in read], separator=" "
    )
    rows = typed.select(*columns, FILE, LINE, unparsed.alias(UNPARSED), came_as.alias(TEXT))
    # Evidence for the quarantine: of a cell that did not parse, nothing else is left of what it said.
    return rows.with_columns(pl.when(pl.col(UNPARSED).list.len() > 0).then(TEXT).alias(TEXT))


def _day_from(text: pl.Expr, pattern: str) -> pl.Expr:
    return _matching(text, pattern).str.to_date("%Y-%m-%d", strict=False)


def _matching(cell: pl.Expr, pattern: str) -> pl.Expr:
    # chrono is lenient about blanks, signs and padding; the pattern is not.
    return pl.when(cell.str.contains(pattern)).then(cell)
