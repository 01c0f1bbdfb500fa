"""How far a placeholder was from the truth: counts and sums, and no value of a row.

The incident: yesterday's sales stood in, the truth came, and nobody could say whether the morning's decision rested on
numbers that were nearly right or on nonsense.
"""

import math
from decimal import Decimal

import polars as pl
import pytest

from sh_core import reconciliation
from sh_core.reconciliation import Differs, reconcile

MARK = "t[b] from a"
OLD = pl.DataFrame({"shop": ["a", "b", "c"], "euros": [1, 2, 3], "name": ["x", "y", None]})
NEW = pl.DataFrame({"shop": ["b", "c", "d", "e"], "euros": [2, 30, 4, 5], "name": ["y", None, "z", "z"]})


def test_rows_are_told_apart_by_key_and_columns_by_rows() -> None:
    found = reconcile(OLD, NEW, ("shop",), MARK)
    assert (found.rows_placeholder, found.rows_truth) == (3, 4)
    assert (found.only_placeholder, found.only_truth, found.differ) == (1, 2, 1)
    assert found.columns == {"euros": Differs(1, 6, 41)}  # a null is equal to a null


def test_a_row_that_differs_in_two_columns_is_one_row() -> None:
    changed = OLD.with_columns(pl.lit("q").alias("name"), pl.col("euros") + 1)
    found = reconcile(OLD, changed, ("shop",), MARK)
    assert found.differ == 3
    assert found.columns == {"euros": Differs(3, 6, 9), "name": Differs(3)}


def test_what_is_equal_differs_nowhere() -> None:
    found = reconcile(OLD, OLD.reverse(), ("shop",), MARK)
    assert (found.only_placeholder, found.only_truth, found.differ) == (0, 0, 0)
    assert found.columns == {"euros": Differs(0, 6, 6)}


def test_without_a_key_rows_are_there_as_often_as_they_are() -> None:
    found = reconcile(pl.DataFrame({"a": [1, 1, 2]}), pl.DataFrame({"a": [1, 2, 2, 3]}), (), MARK)
    assert (found.only_placeholder, found.only_truth, found.differ) == (1, 2, 0)
    assert found.columns == {"a": Differs(0, 4, 8)}


def test_a_null_in_a_key_is_a_key() -> None:
    some = pl.DataFrame({"k": ["a", None], "v": [1, 2]})
    found = reconcile(some, some.with_columns(v=pl.Series([1, 5])), ("k",), MARK)
    assert (found.only_placeholder, found.only_truth, found.differ) == (0, 0, 1)


def test_personal_data_has_no_sum() -> None:
    """A single row's salary would be its sum."""
    found = reconcile(OLD, NEW, ("shop",), MARK, pii={"euros"})
    assert found.columns == {"euros": Differs(1)}


def test_columns_that_only_one_has_are_passed_over() -> None:
    other = NEW.with_columns(pl.col("euros").cast(pl.Float64), tax=pl.lit(1))
    assert reconcile(OLD, other, ("shop",), MARK).columns == {}


def test_without_the_columns_of_the_key_only_sums_are_compared() -> None:
    found = reconcile(OLD, NEW.with_columns(pl.col("shop").cast(pl.Categorical)), ("shop",), MARK)
    assert (found.only_placeholder, found.differ) == (None, None)
    assert found.columns == {"euros": Differs(None, 6, 41)}


def test_what_is_too_large_is_only_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciliation, "MOST_ROWS", 6)
    found = reconcile(OLD, NEW, ("shop",), MARK)
    assert (found.rows_placeholder, found.rows_truth, found.differ) == (3, 4, None)
    assert found.columns == {"euros": Differs(None, 6, 41)}


def test_a_sum_that_is_no_number_is_none() -> None:
    odd = pl.DataFrame({"k": [1, 2], "f": [math.nan, 1.0], "d": [Decimal("1.5"), Decimal("2.5")], "l": [[1], [2]]})
    found = reconcile(odd, odd, ("k",), MARK)
    assert found.columns == {"f": Differs(0, None, None), "d": Differs(0, 4.0, 4.0)}


def test_nothing_at_all_can_be_compared() -> None:
    found = reconcile(OLD.clear(), NEW, ("shop",), MARK)
    assert (found.rows_placeholder, found.only_truth, found.columns["euros"]) == (0, 4, Differs(0, 0, 41))
    keys = reconcile(OLD.select("shop"), NEW.select("shop"), ("shop",), MARK)
    assert (keys.only_placeholder, keys.only_truth, keys.differ, keys.columns) == (1, 2, 0, {})
