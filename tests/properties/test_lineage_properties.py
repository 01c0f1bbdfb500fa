"""If changing cells of an input changes a column of the output, the lineage has that pair: for any pipeline."""

import operator
from collections.abc import Callable
from functools import reduce
from typing import Literal, get_args

import polars as pl
from hypothesis import given, note
from hypothesis import strategies as st

from sh_core.lineage import of_transform

INPUTS = {
    "a": pl.Schema({"k": pl.Int64(), "t": pl.Int64(), "x": pl.Int64(), "y": pl.Int64()}),
    "b": pl.Schema({"k": pl.Int64(), "t": pl.Int64(), "z": pl.Int64()}),
}
How = Literal["inner", "left", "right", "full", "semi", "anti"]
Step = Callable[[pl.LazyFrame, pl.LazyFrame], pl.LazyFrame]
"""From the rows so far and the second input to new rows; all columns are whole numbers, all results deterministic."""


def names(rows: pl.LazyFrame) -> list[str]:
    return rows.collect_schema().names()


def nth(rows: pl.LazyFrame, n: int) -> str:
    return names(rows)[n % len(names(rows))]


def fresh(rows: pl.LazyFrame, wanted: str) -> str:
    """A name that no column has or ends with, so that it also serves as a suffix."""
    taken = names(rows)
    return next(f"{wanted}_{i}" for i in range(99) if not any(t.endswith(f"{wanted}_{i}") for t in taken))


def every(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.sort(names(rows))


# ---- steps that are more than one call


def joined(rows: pl.LazyFrame, other: pl.LazyFrame, n: int, m: int, how: How) -> pl.LazyFrame:
    left, right = nth(rows, n), nth(other, m)
    if how in ("semi", "anti"):
        return rows.join(other, left_on=left, right_on=right, how=how)
    return rows.join(other, left_on=left, right_on=right, how=how, suffix=fresh(rows, "j"), maintain_order="left_right")


def joined_asof(rows: pl.LazyFrame, other: pl.LazyFrame, n: int, m: int) -> pl.LazyFrame:
    left, right = nth(rows, n), nth(other, m)
    at = every(rows.drop_nulls(left)).sort(left, maintain_order=True)
    found = every(other.drop_nulls(right)).sort(right, maintain_order=True)
    return at.join_asof(found, left_on=left, right_on=right, suffix=fresh(rows, "s"), coalesce=False)


def grouped(rows: pl.LazyFrame, n: int) -> pl.LazyFrame:
    key = nth(rows, n)
    sums = [pl.col(c).sum() for c in names(rows) if c != key]
    return rows.group_by(key, maintain_order=True).agg(*sums, pl.len().cast(pl.Int64).alias(fresh(rows, "n")))


def counted(rows: pl.LazyFrame, n: int) -> pl.LazyFrame:
    key = nth(rows, n)
    counts = rows.group_by(key).agg(pl.len().cast(pl.Int64).alias(fresh(rows, "c")))
    return rows.join(counts, on=key, maintain_order="left_right")


def rolled(rows: pl.LazyFrame, n: int) -> pl.LazyFrame:
    at = nth(rows, n)
    sums = [pl.col(c).sum() for c in names(rows) if c != at]
    return every(rows.drop_nulls(at)).sort(at, maintain_order=True).rolling(at, period="2i").agg(*sums)


def melted(rows: pl.LazyFrame, n: int, m: int) -> pl.LazyFrame:
    index = nth(rows, n)
    on = [c for c in names(rows) if c != index][: 1 + m % 2]
    return rows.unpivot(on, index=index, variable_name="which", value_name=fresh(rows, "v")).drop("which")


def through_struct(rows: pl.LazyFrame, n: int) -> pl.LazyFrame:
    return rows.with_columns(pl.struct(pl.all()).struct.field(nth(rows, n)).alias(fresh(rows, "f")))


N = st.integers(0, 5)
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(
        lambda n, m, op: lambda a, _: a.with_columns(op(pl.col(nth(a, n)), pl.col(nth(a, m))).alias(fresh(a, "d"))),
        N,
        N,
        st.sampled_from([operator.add, operator.sub, operator.mul]),
    ),
    st.builds(lambda n, v: lambda a, _: a.filter(pl.col(nth(a, n)) > v), N, st.integers(-1, 1)),
    st.builds(lambda n: lambda a, _: a.drop(nth(a, n)) if len(names(a)) > 1 else a, N),
    st.builds(lambda n: lambda a, _: a.rename({nth(a, n): fresh(a, "r")}), N),
    st.builds(lambda n, m: lambda a, _: a.with_columns(pl.col(nth(a, n)).sum().over(nth(a, m))), N, N),
    st.builds(lambda n: lambda a, _: a.with_columns(pl.col(nth(a, n)).shift(1)), N),
    st.builds(lambda n: lambda a, _: a.with_columns(pl.col(nth(a, n)).cum_sum()), N),
    st.builds(lambda n, m: lambda a, _: every(a).sort(nth(a, n), maintain_order=True).head(m), N, N),
    st.builds(lambda n: lambda a, _: a.unique(nth(a, n), keep="first", maintain_order=True), N),
    st.just(lambda a, _: a.unique(maintain_order=True)),
    st.just(lambda a, _: pl.concat([a, a.tail(1)])),
    st.just(lambda a, b: pl.concat([a, b], how="diagonal")),
    st.builds(lambda n: lambda a, _: grouped(a, n), N),
    st.builds(lambda n: lambda a, _: counted(a, n), N),
    st.builds(lambda n: lambda a, _: rolled(a, n), N),
    st.builds(lambda n, m: lambda a, _: melted(a, n, m) if len(names(a)) > 1 else a, N, N),
    st.builds(lambda n: lambda a, _: through_struct(a, n), N),
    st.builds(lambda n, m, how: lambda a, b: joined(a, b, n, m, how), N, N, st.sampled_from(get_args(How))),
    st.builds(lambda n, m: lambda a, b: joined_asof(a, b, n, m), N, N),
)


@st.composite
def frames(draw: st.DrawFn) -> dict[str, pl.DataFrame]:
    cell = st.none() | st.integers(-1, 2)
    return {
        name: pl.DataFrame(
            draw(st.lists(st.tuples(*[cell] * len(schema)), min_size=1, max_size=4)), schema=schema, orient="row"
        )
        for name, schema in INPUTS.items()
    }


@given(st.lists(STEPS, min_size=1, max_size=5), frames(), st.data())
def test_whatever_changes_a_column_is_in_its_lineage(
    steps: list[Step], rows: dict[str, pl.DataFrame], data: st.DataObject
) -> None:
    def transform(a: pl.LazyFrame, b: pl.LazyFrame) -> pl.LazyFrame:
        return reduce(lambda made, step: step(made, b), steps, a)

    def run(inputs: dict[str, pl.DataFrame]) -> pl.DataFrame:
        return transform(**{name: frame.lazy() for name, frame in inputs.items()}).collect(engine="in-memory")

    lineage = of_transform(transform, INPUTS)
    assert lineage is not None
    before = run(rows)
    assert list(lineage) == before.columns
    for table, schema in INPUTS.items():
        n = rows[table].height
        for column in schema:
            cells = data.draw(st.lists(st.none() | st.integers(-2, 3), min_size=n, max_size=n))
            after = run({**rows, table: rows[table].with_columns(pl.Series(column, cells, pl.Int64))})
            changed = {c for c in before.columns if not before[c].equals(after[c], null_equal=True)}
            known = {c for c, origins in lineage.items() if (table, column) in origins}
            note(f"{table}.{column} becomes {cells}: changes {changed}, in the lineage of {known}")
            assert changed <= known
