"""Versions as algebra: order and batching never show, every change does."""
# ruff: noqa: DTZ001 - naive datetimes are a family of their own

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import reduce
from random import Random
from typing import Any, Literal

import polars as pl
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sh_core.version import PartialVersion, Version, digest, digest_groups, row_hashes

VALUES: dict[str, tuple[pl.DataType, st.SearchStrategy[Any]]] = {
    "number": (pl.Int64(), st.integers(-(2**63), 2**63 - 1)),
    "small": (pl.Int8(), st.integers(-2, 2)),
    "measure": (pl.Float64(), st.floats()),
    "text": (pl.String(), st.text(max_size=5)),
    "flag": (pl.Boolean(), st.booleans()),
    "day": (pl.Date(), st.dates(date(1900, 1, 1), date(2100, 1, 1))),
    "instant": (
        pl.Datetime("us", "UTC"),
        st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    ),
    "price": (pl.Decimal(20, 3), st.decimals(-(10**9), 10**9, places=3, allow_nan=False)),
    "tags": (pl.List(pl.String()), st.lists(st.none() | st.text(max_size=2), max_size=3)),
}
SCHEMA = {"k": pl.Int64(), **{name: kind for name, (kind, _) in VALUES.items()}}
ROW = st.fixed_dictionaries(
    {"k": st.integers(0, 3), **{name: st.none() | values for name, (_, values) in VALUES.items()}}
)
ROWS = st.lists(ROW, max_size=8)
UNIQUE_ROWS = st.lists(ROW, max_size=4, unique_by=lambda r: r["k"])
KEYS = st.sampled_from([(), ("k",), ("small", "k")])

NO_DEADLINE = settings(deadline=None)  # a busy machine is no finding

Row = dict[str, Any]


def frame(rows: Sequence[Row]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SCHEMA)


def version(rows: Sequence[Row], key: Sequence[str]) -> Version:
    return digest(frame(rows), key).finish()


def canonical(value: object) -> object:
    """What two cells must share to be equal in the sense of a version."""
    if isinstance(value, float):
        return "nan" if value != value else value + 0.0  # noqa: PLR0124 - that is what NaN is
    if isinstance(value, Decimal):
        return value.normalize() + 0
    return tuple(value) if isinstance(value, list) else value


def content(rows: Sequence[Row]) -> list[str]:
    return sorted(repr({name: canonical(row[name]) for name in sorted(row)}) for row in rows)


@NO_DEADLINE
@given(ROWS, KEYS, st.randoms(use_true_random=False))
def test_order_of_rows_columns_and_key_never_shows(rows: list[Row], key: tuple[str, ...], random: Random) -> None:
    shuffled, columns, names = list(rows), list(SCHEMA), list(key)
    for order in (shuffled, columns, names):
        random.shuffle(order)
    assert digest(frame(shuffled).select(columns), names) == digest(frame(rows), key)


@NO_DEADLINE
@given(ROWS, ROWS, KEYS)
def test_equal_versions_mean_equal_rows(left: list[Row], right: list[Row], key: tuple[str, ...]) -> None:
    assert (version(left, key) == version(right, key)) == (content(left) == content(right))


@NO_DEADLINE
@given(ROWS, KEYS, st.data())
def test_any_split_into_batches_merged_in_any_order_and_grouping_is_the_whole(
    rows: list[Row], key: tuple[str, ...], data: st.DataObject
) -> None:
    """A Spark executor's batches must not show in the version."""
    batch_of = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    parts = [digest(frame([r for r, b in zip(rows, batch_of, strict=True) if b == n]), key) for n in range(4)]
    parts = data.draw(st.permutations(parts))
    whole = digest(frame(rows), key)
    assert reduce(PartialVersion.merge, parts, PartialVersion()) == whole
    assert parts[0].merge(parts[1]).merge(parts[2].merge(parts[3])) == whole
    assert whole.merge(PartialVersion()) == PartialVersion().merge(whole) == whole


@NO_DEADLINE
@given(st.lists(st.tuples(ROW, st.integers(-1, 4)), max_size=10), KEYS)
def test_many_partitions_at_once_equal_each_by_itself(rows: list[tuple[Row, int]], key: tuple[str, ...]) -> None:
    together = digest_groups(frame([r for r, _ in rows]), key, pl.Series([g for _, g in rows], dtype=pl.Int32), 5)
    assert together == [digest(frame([r for r, g in rows if g == n]), key) for n in range(5)]


@NO_DEADLINE
@given(ROWS.filter(bool), KEYS, st.data())
def test_one_more_copy_of_a_row_always_shows(rows: list[Row], key: tuple[str, ...], data: st.DataObject) -> None:
    again = data.draw(st.sampled_from(rows))
    before = version(rows, key)
    for copies in (1, 2, 3):
        after = version(rows + [again] * copies, key)
        assert all(after.columns[name] != before.columns[name] for name in SCHEMA)


@NO_DEADLINE
@given(UNIQUE_ROWS.filter(bool), st.data())
def test_a_changed_cell_changes_the_root_and_its_own_column_only(rows: list[Row], data: st.DataObject) -> None:
    """The promise behind early cutoff per column: a fix of one column leaves readers of the others alone."""
    name = data.draw(st.sampled_from(sorted(VALUES)))
    n = data.draw(st.integers(0, len(rows) - 1))
    value = data.draw(st.none() | VALUES[name][1])
    assume(repr(canonical(value)) != repr(canonical(rows[n][name])))
    changed = [*rows[:n], {**rows[n], name: value}, *rows[n + 1 :]]
    before, after = version(rows, ["k"]), version(changed, ["k"])
    assert before.root != after.root
    assert {c for c in SCHEMA if before.columns[c] != after.columns[c]} == {name}
    assert all((before.of([c]) != after.of([c])) == (c == name) for c in SCHEMA)
    keyless_before, keyless_after = version(rows, []), version(changed, [])
    assert all(keyless_before.columns[c] != keyless_after.columns[c] for c in SCHEMA)


@NO_DEADLINE
@given(UNIQUE_ROWS, st.data())
def test_two_rows_that_exchange_a_value_show(rows: list[Row], data: st.DataObject) -> None:
    """A column's bag of values stays the same: a sum over values alone would reuse the wrong partition."""
    assume(len(rows) > 1)
    name = data.draw(st.sampled_from(sorted(VALUES)))
    a, b = rows[:2]
    assume(repr(canonical(a[name])) != repr(canonical(b[name])))
    swapped = [{**a, name: b[name]}, {**b, name: a[name]}, *rows[2:]]
    assert version(swapped, ["k"]).columns[name] != version(rows, ["k"]).columns[name]
    if content(swapped) != content(rows):
        assert version(swapped, []).columns[name] != version(rows, []).columns[name]


@NO_DEADLINE
@given(
    st.lists(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)), max_size=5), st.sampled_from(["ms", "us", "ns"])
)
def test_unit_and_zone_of_an_instant_never_show_but_being_one_does(
    moments: list[datetime], unit: Literal["ms", "us", "ns"]
) -> None:
    naive = pl.Series("v", moments, dtype=pl.Datetime("ms"))
    aware = naive.dt.replace_time_zone("UTC")
    moved = aware.dt.convert_time_zone("America/St_Johns").dt.cast_time_unit(unit)
    assert digest(moved.to_frame(), []) == digest(aware.to_frame(), [])
    assert digest(naive.dt.cast_time_unit(unit).to_frame(), []) == digest(naive.to_frame(), [])
    assert digest(naive.to_frame(), []) != digest(aware.to_frame(), [])


@NO_DEADLINE
@given(ROWS, KEYS)
def test_row_hashes_are_equal_exactly_where_rows_and_keys_are(rows: list[Row], key: tuple[str, ...]) -> None:
    hashes = row_hashes(frame(rows), key)
    by_row: dict[Any, Any] = {}
    for row, lanes in zip(rows, hashes.rows.T.tolist(), strict=True):
        assert by_row.setdefault(repr(content([row])), lanes) == lanes
    assert len(set(map(tuple, hashes.rows.T.tolist()))) == len(by_row)
    of_key = {repr([row[name] for name in key]) if key else repr(content([row])) for row in rows}
    assert len(set(map(tuple, hashes.keys.T.tolist()))) == len(of_key)
