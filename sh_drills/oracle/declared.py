"""Declared: the real tables that a drawn world stands for.

Belongs here: from shapes to ``Table`` and ``Contract``, with transforms that run on the real engine too. Does not
belong here: drawing shapes, computing in memory. Invariant: a declared table computes and lets through what ``content``
says of its shape.

``PERIODS`` is where a further kind of partition set is named; beside it stand its drawing (``drawing``), and the
reference's own idea of it (``calendar``).
"""

from collections.abc import Callable, Mapping
from functools import lru_cache

import pandera.polars as pa
import polars as pl

from sh_core.columns import LINEAGE
from sh_core.conservation import CONSERVES_ROWS, IN_PARTITION
from sh_core.contract import Contract, Reference, Split, Withhold
from sh_core.feed import PLACEHOLDER, Feed
from sh_core.graph import Graph
from sh_core.inputs import Input, Lookup, Partial, Required
from sh_core.mapping import Window
from sh_core.partitions import Daily, Monthly, Partitions, Unpartitioned, Weekly
from sh_core.table import Station, Table, Transform
from sh_drills.oracle.content import computed
from sh_drills.oracle.shapes import KEY, RAW, STAGED, Gate, Given, Shape, Span

_STATIONS = {RAW: Station.RAW, STAGED: Station.STAGED}

PERIODS: Mapping[str, Callable[[Span], Partitions]] = {
    "daily": lambda span: Daily(_start(span), span.end),
    "weekly": lambda span: Weekly(_start(span), span.end),
    "monthly": lambda span: Monthly(_start(span), span.end),
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
        contract=_contract(shape.station, shape.columns, shape.gate, partitions_of(shape.span).column),
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
    return PERIODS[span.kind](span)


def _start(span: Span):  # noqa: ANN202 -- a date, once it is known to be there
    if span.start is None:
        raise AssertionError(span)
    return span.start


@lru_cache(maxsize=1024)
def _feed(name: str, span: Span, columns: tuple[str, ...]) -> Feed:
    partitions = partitions_of(span)
    file_name = f"{name}.csv" if partitions.column is None else f"{name}_{PLACEHOLDER}.csv"
    return Feed(name, file_name, columns, partitions, owner="team:oracle", max_unparsable=1.0)


@lru_cache(maxsize=1024)
def _contract(station: str, columns: tuple[str, ...], gate: Gate, period: str | None) -> Contract:
    own = {} if period is None else {period: pa.Column(pl.Date())}
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
    rules = [*([IN_PARTITION] if period else []), *([CONSERVES_ROWS] if station == STAGED else [])]
    return contract.with_rules(*rules)


def _input(given: Given, mains: Span | None) -> Input:
    """An input; the main one (whose span is given) hands over which period its rows are of."""
    period = None if mains is None else partitions_of(mains).column
    return Input(
        given.table,
        given.columns if given.columns is None or period is None else (*given.columns, period),
        Window(given.first, given.last),
        Required() if given.least is None else Partial(given.least),
        None if given.by is None else Lookup(given.by[0], (given.by[1],)),
        given.argument,
    )


def _staging(shape: Shape) -> Transform:
    columns, period = shape.columns, partitions_of(shape.span).column

    def transform(**inputs: pl.LazyFrame) -> pl.LazyFrame:
        (rows,) = inputs.values()
        own = [] if period is None else [period]
        return rows.select(*own, *(pl.col(c).cast(pl.Int64) for c in columns), *LINEAGE)

    return transform


def _transform(shape: Shape, mains: Span) -> Transform:
    code, partitions, period = shape.code, partitions_of(shape.span), partitions_of(mains).column
    if code is None:
        raise AssertionError(shape)
    schema = dict.fromkeys(shape.columns, pl.Int64())

    def transform(**inputs: pl.LazyFrame) -> pl.LazyFrame:
        handed = {name: frame.collect() for name, frame in inputs.items()}
        made = pl.LazyFrame(computed(shape, {n: frame.to_dicts() for n, frame in handed.items()}), schema, orient="row")
        if not isinstance(partitions, Daily | Weekly | Monthly) or period is None:
            return made
        # The main input is read over exactly the partition's own period, so that any of its rows tells which it is.
        day = next(iter(handed[code.main].get_column(period)), None)
        own = None if day is None else partitions.floor(day)
        return made.select(pl.lit(own, pl.Date).alias(partitions.column), *shape.columns)

    return transform
