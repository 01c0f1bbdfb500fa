"""What counts as the same content, family by family, and hashes that no platform and no upgrade may change."""
# ruff: noqa: DTZ001 - naive datetimes are a family of their own

import json
import pickle
import subprocess
import sys
from datetime import date, datetime, time, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest

from sh_core.errors import DeclarationError
from sh_core.version import PartialVersion, Version, digest, digest_groups, row_hashes

NAN = float("nan")
MOMENT = datetime(2013, 3, 10, 7, 30, 0, 250_000)

FAMILIES = {
    "null": pl.Series([None, None, None], dtype=pl.Null),
    "bool": pl.Series([True, False, None]),
    "int": pl.Series([0, -1, None], dtype=pl.Int64),
    "unsigned": pl.Series([0, 2**64 - 1, None], dtype=pl.UInt64),
    "float": pl.Series([0.1, NAN, None], dtype=pl.Float64),
    "string": pl.Series(["", "Zürich", None]),
    "binary": pl.Series([b"", b"\xff", None]),
    "decimal": pl.Series([Decimal("1.50"), Decimal(-100), None], dtype=pl.Decimal(38, 2)),
    "date": pl.Series([date(2013, 1, 1), date(1969, 12, 31), None]),
    "time": pl.Series([time(0, 0), time(23, 59, 59, 999_999), None]),
    "datetime": pl.Series([MOMENT, datetime(1969, 12, 31, 23, 59, 59, 999_999), None]),
    "instant": pl.Series([MOMENT, datetime(1969, 12, 31), None]).dt.replace_time_zone("UTC"),
    "duration": pl.Series([timedelta(0), timedelta(microseconds=-1), None]),
    "list": pl.Series([[], ["a", None, "b"], None], dtype=pl.List(pl.String)),
    "struct": pl.Series([{"a": 1, "b": "x"}, {"a": None, "b": "y"}, None]),
}

GOLDEN = {
    "null": "sh1-6ec098a05bcb5f5e3ec8e53521ec374e",
    "bool": "sh1-6586a24363e878e4a1d299c2c93bb395",
    "int": "sh1-eae23406606cc0468a5f4ca205fc4518",
    "unsigned": "sh1-4f4d2bc257762bd4141d375f0da938fb",
    "float": "sh1-c12bf30569ab16851de8dd74287e686c",
    "string": "sh1-ac996a3dddc3dc8cab381804c891262a",
    "binary": "sh1-b1c2871a7815348756044c2e13f9fdd4",
    "decimal": "sh1-edb1b288d8d1b348f618a36e1acc9288",
    "date": "sh1-d67a5938db004d7f118da19810081647",
    "time": "sh1-da6a914289d6a51444eaa9d27fa9627d",
    "datetime": "sh1-2488be026202759d01d054336a393bc7",
    "instant": "sh1-ce1d7a3e774a6e1c9cd41dd2a7c1c8fd",
    "duration": "sh1-b81615c1f6997b6cfa9be3af44b091a1",
    "list": "sh1-440f9f0ec1856eccfbd0206d28e2fa8f",
    "struct": "sh1-b9c3ee7af5e2a34585857b48cc523a5e",
}


def of_one_column(values: pl.Series) -> Version:
    return digest(pl.DataFrame({"k": np.arange(len(values)), "v": values}), ["k"]).finish()


def column(values: pl.Series) -> str:
    return of_one_column(values).columns["v"]


@pytest.mark.parametrize("family", FAMILIES)
def test_golden_an_upgrade_of_polars_or_numpy_must_not_recompute_the_world(family: str) -> None:
    assert column(FAMILIES[family]) == GOLDEN[family]


def test_golden_root_of_all_families_in_one_partition() -> None:
    frame = pl.DataFrame({"k": [1, 2, 3], **FAMILIES})
    assert digest(frame, ["k"]).finish().root == "sh1-1d2925763b93e8d95af8329a07391b80"
    assert digest(frame, []).finish().root == "sh1-9f09b5c54ac4da42f3739cc7a62733b4"


def test_another_process_with_other_hash_seeds_agrees() -> None:
    """A version made on one machine is compared with one made on another: no salted hash may take part."""
    program = (
        "import polars as pl; from sh_core.version import digest;"
        "print(digest(pl.DataFrame({'k': [1, 2], 'c': ['UA', None], 'l': [['a'], []]}), ['k']).finish().root)"
    )
    roots = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path), "POLARS_MAX_THREADS": threads},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed, threads in (("1", "1"), ("2", "2"))
    }
    assert len(roots) == 1


SAME = {
    "widths of integers": [
        pl.Series([1, 127, None], dtype=t)
        for t in (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
    ],
    "widths of floats": [
        pl.Series([0.1, NAN, None], dtype=pl.Float32),
        pl.Series([float(np.float32(0.1)), NAN, None], dtype=pl.Float64),
    ],
    "zeros": [pl.Series([0.0]), pl.Series([-0.0]), pl.Series([-0.0], dtype=pl.Float32)],
    "NaNs": [
        pl.Series([NAN]),
        pl.Series(np.array([0xFFF8_0000_0000_0001], np.uint64).view(np.float64)),
        pl.Series([NAN], dtype=pl.Float32),
    ],
    "units of datetimes": [pl.Series([MOMENT, None]).dt.cast_time_unit(u) for u in ("ms", "us", "ns")],
    "units of durations": [
        pl.Series([timedelta(milliseconds=-1), None]).dt.cast_time_unit(u) for u in ("ms", "us", "ns")
    ],
    "zones of instants": [
        pl.Series([MOMENT]).dt.replace_time_zone("UTC").dt.convert_time_zone(z)
        for z in ("UTC", "America/New_York", "Asia/Kolkata")
    ],
    "ways to hold text": [
        pl.Series(["EWR", None, "JFK"], dtype=t)
        for t in (pl.String, pl.Categorical, pl.Enum(["EWR", "JFK"]), pl.Enum(["JFK", "LGA", "EWR"]))
    ],
    "scales of decimals": [
        pl.Series([Decimal("1.5"), Decimal(100), Decimal(0), None], dtype=pl.Decimal(38, s)) for s in (1, 2, 10)
    ],
    "whole decimals": [pl.Series([Decimal(100), Decimal(0)], dtype=pl.Decimal(38, s)) for s in (0, 3)],
    "lists and arrays": [
        pl.Series([["a", "b"], None], dtype=pl.List(pl.String)),
        pl.Series([["a", "b"], None], dtype=pl.Array(pl.String, 2)),
    ],
    "order of struct fields": [pl.Series([{"a": 1, "b": 2}]), pl.Series([{"b": 2, "a": 1}])],
}


@pytest.mark.parametrize("what", SAME)
def test_what_is_only_layout_recomputes_nothing(what: str) -> None:
    assert len({column(values) for values in SAME[what]}) == 1


def shifted(values: list[int]) -> pl.Series:
    return pl.Series(values, dtype=pl.Int64).cast(pl.Datetime("ns"))


DIFFERENT = {
    "nothing, zero and emptiness": [
        pl.Series([None], dtype=pl.Int64),
        pl.Series([0]),
        pl.Series([None], dtype=pl.Float64),
        pl.Series([NAN]),
        pl.Series([0.0]),
        pl.Series([None], dtype=pl.String),
        pl.Series([""]),
        pl.Series([b""]),
        pl.Series([False]),
        pl.Series(["null"]),
    ],
    "families of the number one": [
        pl.Series([1]),
        pl.Series([1.0]),
        pl.Series([True]),
        pl.Series(["1"]),
        pl.Series([b"1"]),
        pl.Series([Decimal(1)]),
        pl.Series([1]).cast(pl.Date),
        pl.Series([1]).cast(pl.Time),
        pl.Series([1]).cast(pl.Datetime("us")),
        pl.Series([1]).cast(pl.Datetime("us", "UTC")),
        pl.Series([1]).cast(pl.Duration("us")),
        pl.Series([[1]]),
        pl.Series([{"a": 1}]),
    ],
    "the same bits, signed or not": [
        pl.Series([-1]),
        pl.Series([2**64 - 1], dtype=pl.UInt64),
        pl.Series([-(2**63)]),
        pl.Series([2**63], dtype=pl.UInt64),
        pl.Series([2**63 - 1], dtype=pl.UInt64),
    ],
    "parts of a microsecond": [shifted([1_000]), shifted([1_001])],
    "numbers that a float would confuse": [pl.Series([2**53]), pl.Series([2**53 + 1])],
    "unicode forms of é": [pl.Series(["\u00e9"]), pl.Series(["e\u0301"])],
    "white space": [pl.Series(["a"]), pl.Series(["a "]), pl.Series(["a\x00"])],
    "zeros of whole decimals": [pl.Series([Decimal(n)], dtype=pl.Decimal(38, 0)) for n in (1, 10, 100)],
    "empty types": [pl.Series([], dtype=t) for t in (pl.Int64, pl.String, pl.Float64, pl.Null)],
    "lists": [
        pl.Series([v], dtype=pl.List(pl.String))
        for v in (None, [], [None], [""], ["a"], ["a", "b"], ["b", "a"], ["a", "a"], ["ab"])
    ],
    "lists of lists": [pl.Series([v]) for v in ([["a"], ["b"]], [["a", "b"], []], [["a", "b"]], [[], ["a", "b"]])],
    "structs": [
        pl.Series([v], dtype=pl.Struct({"a": pl.Int64, "b": pl.Int64}))
        for v in (None, {"a": None, "b": None}, {"a": 1, "b": 2}, {"a": 2, "b": 1})
    ],
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_what_differs_for_a_reader_is_never_reused(what: str) -> None:
    assert len({column(values) for values in DIFFERENT[what]}) == len(DIFFERENT[what])


def test_a_renamed_column_is_other_content() -> None:
    frame = pl.DataFrame({"k": [1], "a": [1], "b": [2]})
    assert digest(frame, ["k"]).finish() != digest(frame.rename({"a": "b", "b": "a"}), ["k"]).finish()


def test_the_same_value_in_every_row_leaves_no_hole_for_two_rows_that_exchange_keys() -> None:
    """XOR of hashes would cancel out here."""
    frame = pl.DataFrame({"k": [1, 1, 2, 2], "v": [7, 7, 7, 7]})
    other = pl.DataFrame({"k": [3, 3, 4, 4], "v": [7, 7, 7, 7]})
    assert digest(frame, ["k"]).finish().columns["v"] != digest(other, ["k"]).finish().columns["v"]


def test_an_empty_partition_has_a_version_that_depends_on_its_columns() -> None:
    empty = pl.DataFrame(schema={"k": pl.Int64, "v": pl.String})
    roots = {
        digest(frame, ["k"]).finish().root
        for frame in (empty, empty.drop("v"), empty.rename({"v": "w"}), empty.cast({"v": pl.Int64}))
    }
    assert len(roots) == 4
    assert digest(empty, ["k"]).finish() == digest(empty.select("v", "k"), ["k"]).finish()
    assert digest(empty, ["k"]).finish().root != digest(empty, []).finish().root


def test_file_line_and_other_system_columns_never_count() -> None:
    """The same rows delivered in another file must not recompute anything."""
    frame = pl.DataFrame({"k": [1, 2], "v": ["a", "b"]})
    delivered = frame.with_columns(_file=pl.lit("weather/a.csv"), _line=pl.Series([2, 3]), _odd=pl.Series([None, b""]))
    assert digest(delivered, ["k"]).finish() == digest(frame, ["k"]).finish()
    assert (row_hashes(delivered, ["k"]).rows == row_hashes(frame, ["k"]).rows).all()
    assert digest(frame, ["k"]).finish().of(["v", "_file"]) == digest(frame, ["k"]).finish().of(["v"])


def test_of_asks_for_columns_in_any_order_and_adds_the_key() -> None:
    version = digest(pl.DataFrame({"k": [1], "a": [1], "b": [2]}), ["k"]).finish()
    assert version.of(["a", "b"]) == version.of(["b", "k", "a", "a"]) == version.root
    assert version.of(["a"]) != version.of(["b"])
    assert version.of([]) == version.of(["k"]) != version.root


def test_of_ignores_changes_in_other_columns() -> None:
    before = digest(pl.DataFrame({"k": [1, 2], "a": [1, 1], "b": [2, 2]}), ["k"]).finish()
    after = digest(pl.DataFrame({"k": [1, 2], "a": [1, 1], "b": [2, 3]}), ["k"]).finish()
    assert before.of(["a"]) == after.of(["a"])
    assert before.of(["b"]) != after.of(["b"])


def test_versions_survive_the_ledger_and_parts_survive_a_trip_to_an_executor() -> None:
    part = digest(pl.DataFrame({"k": [1], "v": ["a"]}), ["k"])
    version = part.finish()
    assert Version.from_json(json.loads(json.dumps(version.to_json()))) == version
    assert pickle.loads(pickle.dumps(part)) == part


def test_rows_left_out_by_the_gate_do_not_count() -> None:
    frame = pl.DataFrame({"k": [1, 2, 3], "v": ["a", "b", "c"]})
    hashes = row_hashes(frame, ["k"])
    kept = hashes.digest_groups(pl.Series([0, -1, 0]), 1)[0]
    assert kept == digest(frame[[0, 2]], ["k"])


def test_row_hashes_find_copies_and_clashing_keys_across_batches() -> None:
    one = row_hashes(pl.DataFrame({"k": ["a", "b"], "v": [1, 2]}), ["k"])
    two = row_hashes(pl.DataFrame({"v": [1, 3], "k": ["a", "b"]}), ["k"])
    assert (one.keys == two.keys).all()
    assert (one.rows == two.rows).tolist() == [[True, False], [True, False]]


def test_an_index_beyond_the_groups_is_an_error_and_not_a_lost_row() -> None:
    with pytest.raises(IndexError):
        digest_groups(pl.DataFrame({"k": [1]}), ["k"], np.array([1]), 1)


def test_a_batch_without_values_in_a_column_merges_with_one_that_has_them() -> None:
    nulls = digest(pl.DataFrame({"k": [1], "v": [None]}), ["k"])
    texts = digest(pl.DataFrame({"k": [2], "v": ["a"]}), ["k"])
    whole = digest(pl.DataFrame({"k": [1, 2], "v": [None, "a"]}), ["k"])
    assert nulls.merge(texts) == texts.merge(nulls) == whole


@pytest.mark.parametrize(
    "other",
    [
        digest(pl.DataFrame({"k": [1], "w": [1]}), ["k"]),
        digest(pl.DataFrame({"k": [1], "v": [1]}), ["v"]),
        digest(pl.DataFrame({"k": [1], "v": ["1"]}), ["k"]),
        PartialVersion(("k",), 1, digest(pl.DataFrame({"k": [1], "v": [1]}), ["k"]).columns, "sh0"),
    ],
)
def test_batches_of_different_tables_do_not_merge(other: PartialVersion) -> None:
    with pytest.raises(DeclarationError):
        digest(pl.DataFrame({"k": [1], "v": [1]}), ["k"]).merge(other)


@pytest.mark.parametrize(
    "values",
    [
        pl.Series("v", [object()], dtype=pl.Object),
        pl.Series("v", [1], dtype=pl.Int128),
        pl.Series("v", [[1]], dtype=pl.List(pl.Int128)),
    ],
)
def test_a_type_without_canonical_content_is_refused_by_name(values: pl.Series) -> None:
    with pytest.raises(DeclarationError, match="'v"):
        digest(values.to_frame(), [])


def test_a_key_that_is_not_there_is_refused() -> None:
    with pytest.raises(DeclarationError, match="id"):
        digest(pl.DataFrame({"k": [1]}), ["id"])
    with pytest.raises(DeclarationError, match="w"):
        digest(pl.DataFrame({"k": [1]}), ["k"]).finish().of(["w"])
