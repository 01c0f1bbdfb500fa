"""Declared: the real tables that a drawn world stands for.

Belongs here: from shapes to ``Table`` and ``Contract``, with transforms that run on the real engine too. Does not
belong here: drawing shapes, computing in memory. Invariant: a declared table computes and lets through what ``content``
says of its shape.

``SETS`` is where a further kind of partition set is named; beside it stand its drawing (``drawing``), and the
reference's own idea of it (``calendar``).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime
from functools import lru_cache

import pandera.polars as pa
import polars as pl

from sh_core.columns import LINEAGE
from sh_core.conservation import CONSERVES_ROWS, IN_PARTITION
from sh_core.contract import Contract, Reference, Split, Withhold
from sh_core.feed import Feed
from sh_core.graph import Graph
from sh_core.inputs import Input, Lookup, Partial, Required
from sh_core.mapping import All, Last, PartitionMapping, Window, dimensions_of
from sh_core.partitions import (
    Daily,
    Dimension,
    Hourly,
    Monthly,
    Multi,
    Partitions,
    Periods,
    Static,
    Unpartitioned,
    Weekly,
)
from sh_core.table import Station, Table, Transform
from sh_drills.oracle.content import computed
from sh_drills.oracle.shapes import KEY, RAW, STAGED, Gate, Given, Shape, Span

_DAYS = (Daily, Weekly, Monthly)

_MAPPINGS: Mapping[str, PartitionMapping] = {"all": All(), "last": Last()}

_STATIONS = {RAW: Station.RAW, STAGED: Station.STAGED}

SETS: Mapping[str, Callable[[Span], Partitions]] = {
    "hourly": lambda span: Hourly(_start(span), span.end, column="hour"),
    "daily": lambda span: Daily(_start(span), span.end),
    "weekly": lambda span: Weekly(_start(span), span.end),
    "monthly": lambda span: Monthly(_start(span), span.end),
    "static": lambda span: Static(span.of, column="place"),
    "multi": lambda span: Multi(**{name: _dimension(part) for name, part in span.dims}),
    "whole": lambda _: Unpartitioned(),
}
"""The real set of partitions of each kind of span."""


def graph_of(shapes: Mapping[str, Shape]) -> Graph:
    """The real graph of some shapes."""
    return Graph.of(
        [_table(shape, shapes[shape.reads[0].table].span if shape.reads else shape.span) for shape in shapes.values()]
    )


@lru_cache(maxsize=10_000)
def _table(shape: Shape, mains: Span) -> Table:
    return Table(
        name=shape.name,
        contract=_contract(shape.station, shape.columns, shape.gate, partitions_of(shape.span)),
        partitions=partitions_of(shape.span),
        station=_STATIONS.get(shape.station, Station.MART),
        inputs=tuple(_input(given, mains if i == 0 else None) for i, given in enumerate(shape.reads)),
        transform=None
        if shape.station == RAW
        else _staging(shape)
        if shape.station == STAGED
        else _transform(shape, mains),
        feed=_feed(shape.feed, shape.span, shape.columns) if shape.feed is not None else None,
    )


@lru_cache(maxsize=1024)
def partitions_of(span: Span) -> Partitions:
    """The real set of partitions."""
    return SETS[span.kind](span)


def _dimension(span: Span) -> Dimension:
    partitions = partitions_of(span)
    if not isinstance(partitions, Dimension):
        raise TypeError(span)
    return partitions


def _start(span: Span) -> date:
    if span.start is None:
        raise AssertionError(span)
    return span.start


@lru_cache(maxsize=1024)
def _feed(name: str, span: Span, columns: tuple[str, ...]) -> Feed:
    partitions = partitions_of(span)
    places = "_".join(f"{{{part}}}" if part else "{partition}" for part in span.parts)
    file_name = f"{name}_{places}.csv" if places else f"{name}.csv"
    return Feed(name, file_name, columns, partitions, owner="team:oracle", max_unparsable=1.0)


@lru_cache(maxsize=1024)
def _contract(station: str, columns: tuple[str, ...], gate: Gate, partitions: Partitions) -> Contract:
    own = {column: pa.Column(dtype) for column, dtype in partitions.columns.items()}
    if station == RAW:
        text = {c: pa.Column(pl.String, nullable=True) for c in columns}
        return Contract(pa.DataFrameSchema({**text, **own}), owner="team:oracle", on_breach=Split(1.0))
    values = {c: pa.Column(pl.Int64) for c in columns}
    values[columns[1]] = pa.Column(pl.Int64, pa.Check.le(gate.limit))
    contract = Contract(
        pa.DataFrameSchema({**own, **values}),
        key=(KEY,),
        owner="team:oracle",
        on_breach=Withhold() if gate.share is None else Split(gate.share),
        references=() if gate.refers is None else (Reference((columns[1],), gate.refers, gate.lost),),
    )
    rules = [*([IN_PARTITION] if own else []), *([CONSERVES_ROWS] if station == STAGED else [])]
    return contract.with_rules(*rules)


def _input(given: Given, mains: Span | None) -> Input:
    """An input; the main one (whose span is given) hands over which period its rows are of."""
    period = [] if mains is None else list(partitions_of(mains).columns)
    return Input(
        given.table,
        given.columns if given.columns is None else (*given.columns, *period),
        _MAPPINGS[given.every] if given.every else Window(given.first, given.last),
        Required() if given.least is None else Partial(given.least),
        None if given.by is None else Lookup(given.by[0], (given.by[1],)),
        given.argument,
    )


def _staging(shape: Shape) -> Transform:
    columns, own = shape.columns, list(partitions_of(shape.span).columns)

    def transform(**inputs: pl.LazyFrame) -> pl.LazyFrame:
        (rows,) = inputs.values()
        return rows.select(*own, *(pl.col(c).cast(pl.Int64) for c in columns), *LINEAGE)

    return transform


def _transform(shape: Shape, mains: Span) -> Transform:
    code, own, theirs = shape.code, dimensions_of(partitions_of(shape.span)), dimensions_of(partitions_of(mains))
    if code is None:
        raise AssertionError(shape)
    schema = dict.fromkeys(shape.columns, pl.Int64())
    # What the function holds on to is part of its code version: what is declared about inputs and rules must not be.
    reads = tuple(Given(given.argument, "", by=given.by) for given in shape.reads)
    shape = replace(shape, gate=Gate(0), reads=reads)

    def transform(**inputs: pl.LazyFrame) -> pl.LazyFrame:
        handed = {name: frame.collect() for name, frame in inputs.items()}
        made = pl.LazyFrame(computed(shape, {n: frame.to_dicts() for n, frame in handed.items()}), schema, orient="row")
        # The main input is read over exactly the partition's own period and key, so that any of its rows tells which.
        row = next(handed[code.main].iter_rows(named=True), None)
        values = {} if row is None else {c: v for dim in own.values() for c, v in _value(dim, theirs.values(), row)}
        columns = {column: dtype for dim in own.values() for column, dtype in dim.columns.items()}
        period = [pl.lit(values.get(column), dtype).alias(column) for column, dtype in columns.items()]
        return made.select(*period, *shape.columns)

    return transform


def _value(own: Dimension, theirs: Iterable[Dimension], row: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """What a partition column holds, as a row of the main input tells."""
    for dimension in theirs:
        value = row[dimension.column]
        if isinstance(own, Static) and isinstance(dimension, Static):
            yield own.column, value
        elif isinstance(own, Periods) and isinstance(dimension, Periods):
            day = value.date() if isinstance(value, datetime) else value
            yield own.column, own.floor(day) if isinstance(own, _DAYS) and isinstance(day, date) else value
