"""The gate: what each kind of rule rejects, who is withheld for it, and that nobody else is."""

import json
from collections.abc import Callable
from typing import Any

import pandera.polars as pa
import polars as pl
import pytest
from pandera.config import config_context
from polars.testing import assert_frame_equal

from sh_core.columns import FILE, LINE, RULES, TEXT, UNPARSED
from sh_core.contract import Contract, Split, field
from sh_core.gate import Judgement, decide, judge_batch, judge_partitions, merge
from sh_core.masking import LONGEST, MASK, mask
from sh_core.verdict import Broken, Held, Level, RuleBreach, Unknown


class Weather(pa.DataFrameModel):
    origin: str = field(isin=["EWR", "JFK", "LGA"])
    hour: int = field(in_range={"min_value": 0, "max_value": 23})
    wind_mph: float = field(nullable=True, quantum=0.01, le=250)
    observer: str = field(pii=True, nullable=True)


TOLERANT = Split(max_fraction=0.5)
SYSTEM = {FILE: pl.String(), LINE: pl.Int64(), UNPARSED: pl.List(pl.String())}


def weather(**changes: object) -> Contract:
    declared: Any = {"model": Weather, "key": ("origin", "hour"), "on_breach": TOLERANT, **changes}
    return Contract(**declared)


def rows(*given: tuple[Any, ...]) -> pl.DataFrame:
    """Rows of (origin, hour, wind, observer), lines numbered from 2 on, everything parsed."""
    lines = [(*row, "weather/a.csv", line, []) for line, row in enumerate(given, start=2)]
    types = {**weather().schema, **SYSTEM}
    return pl.DataFrame(lines, schema=types, orient="row")


GOOD = ("JFK", 1, 12.0, "Ann")


def judge(frame: pl.DataFrame, contract: Contract | None = None) -> Judgement:
    return judge_partitions({"p": frame}, contract or weather())["p"]


def own(function: Callable[[pa.PolarsData], Any], *, on_frame: bool = False, ignore_na: bool = True) -> Contract:
    """A contract with one check of a user's own, called ``own``."""
    check = pa.Check(function, name="own", ignore_na=ignore_na)
    columns = {"x": pa.Column(int, [] if on_frame else check, nullable=True)}
    return Contract(pa.DataFrameSchema(columns, checks=[check] if on_frame else []), on_breach=TOLERANT)


def numbers(*values: int | None) -> pl.DataFrame:
    return pl.DataFrame({"x": values}, schema={"x": pl.Int64})


def broken_rules(judgement: Judgement) -> list[list[str]]:
    return judgement.broken[RULES].to_list()


def breaches(judgement: Judgement) -> dict[str, RuleBreach]:
    assert isinstance(judgement.verdict, Broken)
    return {breach.rule: breach for breach in judgement.verdict.breaches}


class TestEveryKindOfRuleRejects:
    @pytest.mark.parametrize(
        ("bad", "rule"),
        [
            (("SFO", 2, 1.0, "Bob"), "origin__isin"),
            ((None, 2, 1.0, "Bob"), "origin__not_null"),
            (("EWR", 24, 1.0, "Bob"), "hour__in_range"),
            (("EWR", 2, 1048.0, "Bob"), "wind_mph__le"),
            (("EWR", 2, float("nan"), "Bob"), "wind_mph__le"),
        ],
    )
    def test_a_row(self, bad: tuple[Any, ...], rule: str) -> None:
        judged = judge(rows(GOOD, bad))
        assert broken_rules(judged) == [[rule]]
        assert judged.rows[LINE].to_list() == [2]
        assert judged.publishable
        assert breaches(judged)[rule].count == 1

    @pytest.mark.parametrize(
        ("check", "bad"),
        [
            (pa.Check.eq("ab"), "abc"),
            (pa.Check.ne("abc"), "abc"),
            (pa.Check.gt("abc"), "abc"),
            (pa.Check.ge("abd"), "abc"),
            (pa.Check.lt("abc"), "abc"),
            (pa.Check.le("abb"), "abc"),
            (pa.Check.in_range("a", "ab"), "abc"),
            (pa.Check.isin(["ab"]), "abc"),
            (pa.Check.notin(["abc"]), "abc"),
            (pa.Check.str_matches("b"), "abc"),
            (pa.Check.str_contains("d"), "abc"),
            (pa.Check.str_startswith("b"), "abc"),
            (pa.Check.str_endswith("b"), "abc"),
            (pa.Check.str_length(1, 2), "abc"),
            (pa.Check(lambda d: d.lazyframe.select(pl.col(d.key) == "ab"), name="own"), "abc"),
            (pa.Check(lambda value: value == "ab", name="own", element_wise=True), "abc"),
            (pa.Check.eq("ab", ignore_na=False), None),
        ],
    )
    @pytest.mark.filterwarnings("ignore::polars.exceptions.PolarsInefficientMapWarning")
    def test_a_value(self, check: pa.Check, bad: str | None) -> None:
        contract = Contract(pa.DataFrameSchema({"x": pa.Column(str, check, nullable=True)}), on_breach=Split(1.0))
        judged = judge(pl.DataFrame({"x": [bad]}, schema={"x": pl.String}), contract)
        assert broken_rules(judged) == [[contract.rules[2].name]]
        assert judged.rows.is_empty()

    def test_nan_counts_as_missing_where_a_value_is_needed_as_pandera_has_it(self) -> None:
        contract = Contract(pa.DataFrameSchema({"x": pa.Column(float)}), on_breach=Split(1.0))
        assert broken_rules(judge(pl.DataFrame({"x": [float("nan")]}), contract)) == [["x__not_null"]]

    def test_a_row_names_every_rule_that_it_breaks(self) -> None:
        judged = judge(rows(GOOD, ("SFO", 99, 1048.0, None)))
        assert broken_rules(judged) == [["origin__isin", "hour__in_range", "wind_mph__le"]]
        assert isinstance(judged.verdict, Broken)
        assert judged.verdict.rows_broken == 1

    def test_a_rule_across_columns(self) -> None:
        class Span(pa.DataFrameModel):
            start: int
            end: int

            @pa.dataframe_check
            @classmethod
            def in_order(cls, data: pa.PolarsData) -> pl.LazyFrame:
                return data.lazyframe.select(pl.col("start") <= pl.col("end"))

        judged = judge(pl.DataFrame({"start": [1, 5], "end": [2, 3]}), Contract(Span, on_breach=TOLERANT))
        assert broken_rules(judged) == [["in_order"]]
        assert judged.rows.rows() == [(1, 2)]

    @pytest.mark.parametrize(
        ("options", "rule"),
        [
            ({"min_rows": 3}, "rows__min"),
            ({"max_rows": 1}, "rows__max"),
            ({"key": ("origin",)}, "key__unique"),
        ],
    )
    def test_a_partition(self, options: dict[str, Any], rule: str) -> None:
        judged = judge(rows(GOOD, ("JFK", 2, 1.0, None)), weather(**options))
        assert breaches(judged)[rule].level is Level.TABLE
        assert not judged.publishable

    def test_a_partition_by_a_rule_of_the_user(self) -> None:
        def some_wind(held: pl.LazyFrame) -> pl.LazyFrame:
            return held.select(pl.col("wind_mph").max() > 20)

        judged = judge(rows(GOOD), weather(table_rules=(some_wind,)))
        assert list(breaches(judged)) == ["some_wind"]
        assert not judged.publishable
        assert judge(rows(("JFK", 1, 30.0, "Ann")), weather(table_rules=(some_wind,))).verdict == Held()

    @pytest.mark.parametrize(
        ("frame", "detail"),
        [
            (rows(GOOD).drop("hour"), "column hour is missing"),
            (rows(GOOD).with_columns(pl.col("hour").cast(pl.Int32)), "column hour is Int32, declared as Int64"),
            (rows(GOOD).with_columns(gust=1), "column gust is not declared"),
            (rows(GOOD).with_columns(pl.col(LINE).cast(pl.String)), "column _line is String, declared as Int64"),
            (rows(GOOD).clear().drop("hour"), "column hour is missing"),
        ],
    )
    def test_a_frame_of_another_shape(self, frame: pl.DataFrame, detail: str) -> None:
        judged = judge(frame)
        assert breaches(judged)["schema"].detail == detail
        assert not judged.publishable
        assert broken_rules(judged) == [["schema"]] * frame.height
        assert judged.rows.is_empty()
        assert judged.rows.columns[:4] == list(weather().columns)


class TestPublishing:
    def test_what_holds_is_published_in_the_contracts_order_with_its_lineage(self) -> None:
        judged = judge(rows(GOOD).select(LINE, "hour", "observer", FILE, "origin", UNPARSED, "wind_mph"))
        assert judged.verdict == Held()
        assert judged.rows.columns == ["origin", "hour", "wind_mph", "observer", FILE, LINE]
        assert judged.publishable

    def test_a_table_without_lineage_is_published_without(self) -> None:
        judged = judge(rows(GOOD).drop(SYSTEM))
        assert judged.rows.columns == list(weather().columns)
        assert judged.duplicates.schema == {FILE: pl.String, LINE: pl.Int64}
        assert judged.duplicates.is_empty()

    def test_an_empty_partition_is_fine_because_some_days_nothing_happens(self) -> None:
        def never_asked(held: pl.LazyFrame) -> bool:
            raise AssertionError

        contract = weather(table_rules=(never_asked,))
        assert judge(rows(), contract).verdict == Held()
        assert list(breaches(judge(rows(), weather(min_rows=1)))) == ["rows__min"]

    @pytest.mark.parametrize(("tolerated", "publishable"), [(0.24, False), (0.25, True)])
    def test_a_split_policy_tolerates_its_share_and_no_more(self, tolerated: float, publishable: bool) -> None:
        hours = [("EWR", hour, 1.0, None) for hour in range(3)]
        judged = judge(rows(("EWR", 99, 1.0, None), *hours), weather(on_breach=Split(tolerated)))
        assert judged.publishable is publishable
        assert judged.rows.height == 3

    def test_without_a_policy_one_bad_row_withholds(self) -> None:
        contract = Contract(Weather, key=("origin", "hour"))
        assert not judge(rows(GOOD, ("EWR", 99, 1.0, None)), contract).publishable

    @pytest.mark.parametrize("options", [{"min_rows": 2}, {"max_rows": 2}])
    def test_a_limit_of_rows_may_be_reached(self, options: dict[str, int]) -> None:
        assert judge(rows(GOOD, ("EWR", 1, 1.0, None)), weather(**options)).verdict == Held()

    def test_columns_of_the_framework_are_not_published_and_no_rule_sees_them(self) -> None:
        def sees_the_contract(held: pl.LazyFrame) -> bool:
            return tuple(held.collect_schema()) == weather().columns

        frame = rows(GOOD, ("SFO", 2, 1.0, None)).with_columns(pl.lit("GOOD").alias(TEXT), pl.lit(1).alias("_shard"))
        judged = judge(frame, weather(table_rules=(sees_the_contract,)))
        assert judged.publishable
        assert judged.rows.columns == [*weather().columns, FILE, LINE]
        assert judged.broken.columns == [*frame.columns, RULES]

    def test_counting_speaks_of_rows_that_hold(self) -> None:
        judged = judge(rows(GOOD, ("EWR", 99, 1.0, None)), weather(min_rows=2))
        assert breaches(judged)["rows__min"].detail == "1 rows hold, at least 2 are expected"

    def test_breaches_come_in_the_contracts_order(self) -> None:
        judged = judge(rows(("SFO", 99, 1.0, None), GOOD, GOOD), weather(min_rows=9))
        assert list(breaches(judged)) == ["origin__isin", "hour__in_range", "key__unique", "rows__min"]

    def test_pandera_switched_off_by_its_environment_variable_opens_no_second_door(self) -> None:
        with config_context(validation_enabled=False):
            assert broken_rules(judge(rows(("SFO", 1, 1.0, None)))) == [["origin__isin"]]

    def test_floats_are_rounded_before_they_are_judged_so_that_a_sum_in_another_order_is_the_same_row(self) -> None:
        one, other = 0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1
        assert one != other
        assert_frame_equal(
            judge(rows(("JFK", 1, one, None))).rows, judge(rows(("JFK", 1, other, None))).rows, abs_tol=0
        )
        assert judge(rows(("JFK", 1, 250.004, None))).verdict == Held()

    @pytest.mark.parametrize("value", [None, float("inf"), float("-inf"), 1.7e308, -1e300, 2.0**53 + 2])
    def test_rounding_leaves_alone_what_has_no_fraction(self, value: float | None) -> None:
        contract = Contract(pa.DataFrameSchema({"x": pa.Column(float, nullable=True, metadata={"quantum": 0.01})}))
        assert judge(pl.DataFrame({"x": [value]}, schema={"x": pl.Float64}), contract).rows["x"].to_list() == [value]

    @pytest.mark.parametrize(
        ("quantum", "value", "rounded"),
        [(0.01, 12.344999, 12.34), (0.01, -0.001, 0.0), (0.25, 1.3, 1.25), (5.0, 12.6, 15.0), (0.1, 0.1 + 0.2, 0.3)],
    )
    def test_rounding_yields_the_float_that_people_write(self, quantum: float, value: float, rounded: float) -> None:
        contract = Contract(pa.DataFrameSchema({"x": pa.Column(float, metadata={"quantum": quantum})}))
        assert str(judge(pl.DataFrame({"x": [value]}), contract).rows["x"][0]) == str(rounded)


class TestUniqueness:
    def test_rows_that_share_a_key_are_all_named_since_nobody_knows_which_is_right(self) -> None:
        judged = judge(rows(GOOD, ("JFK", 1, 13.0, "Bob"), ("JFK", 2, 1.0, None)))
        assert broken_rules(judged) == [["key__unique"], ["key__unique"]]
        assert judged.rows[LINE].to_list() == [4]
        assert not judged.publishable
        breach = breaches(judged)["key__unique"]
        assert breach.detail == "2 rows share origin, hour with another row"
        assert [row[LINE] for row in breach.sample] == [2, 3]
        assert isinstance(judged.verdict, Broken)
        assert judged.verdict.rows_broken == 0

    def test_only_rows_that_would_be_published_compete_for_a_key(self) -> None:
        judged = judge(rows(GOOD, ("JFK", 1, 1048.0, "Bob")))
        assert broken_rules(judged) == [["wind_mph__le"]]
        assert judged.publishable

    def test_the_same_key_in_two_partitions_is_no_conflict(self) -> None:
        judged = judge_partitions({"p": rows(GOOD), "q": rows(GOOD)}, weather())
        assert [j.verdict for j in judged.values()] == [Held(), Held()]

    def test_exact_copies_are_dropped_where_declared_and_the_first_is_kept(self) -> None:
        judged = judge(rows(GOOD, ("EWR", 1, 1.0, None), GOOD, GOOD).reverse(), weather(drop_duplicates=True))
        assert judged.verdict == Held()
        assert sorted(judged.rows[LINE]) == [2, 3]
        assert sorted(judged.duplicates[LINE]) == [4, 5]

    def test_exact_copies_break_uniqueness_where_not_declared(self) -> None:
        assert broken_rules(judge(rows(GOOD, GOOD))) == [["key__unique"]] * 2

    def test_a_copy_that_differs_in_one_column_is_a_conflict_not_a_copy(self) -> None:
        judged = judge(rows(GOOD, GOOD, (*GOOD[:3], "Bob")), weather(drop_duplicates=True))
        assert sorted(judged.broken[LINE]) == [2, 4]
        assert judged.duplicates[LINE].to_list() == [3]

    def test_broken_copies_are_broken_not_dropped(self) -> None:
        bad = ("JFK", 99, 1.0, None)
        judged = judge(rows(bad, bad), weather(drop_duplicates=True))
        assert judged.broken.height == 2

    def test_copies_in_a_keyless_table(self) -> None:
        contract = weather(key=(), drop_duplicates=True)
        assert judge(rows(GOOD, GOOD), contract).duplicates[LINE].to_list() == [3]
        assert judge(rows(GOOD, GOOD), weather(key=())).verdict == Held()

    def test_a_table_without_lineage_can_drop_copies_too(self) -> None:
        judged = judge(rows(GOOD, GOOD).drop(SYSTEM), weather(drop_duplicates=True))
        assert (judged.rows.height, judged.duplicates.height) == (1, 1)

    def test_pandera_unique_is_judged_per_partition(self) -> None:
        contract = Contract(pa.DataFrameSchema({"x": pa.Column(int, unique=True)}))
        judged = judge_partitions({"p": numbers(1, 2), "q": numbers(2), "r": numbers(3, 3)}, contract)
        assert [j.verdict == Held() for j in judged.values()] == [True, True, False]
        assert broken_rules(judged["r"]) == [["x__unique"]] * 2

    def test_nested_columns_can_be_compared(self) -> None:
        columns = {"x": pa.Column(pl.List(pl.Int64)), "y": pa.Column(pl.Struct({"a": pl.Int64}))}
        frame = pl.DataFrame({"x": [[1], [1], [2]], "y": [{"a": 1}, {"a": 1}, {"a": 1}]})
        assert judge(frame, Contract(pa.DataFrameSchema(columns), drop_duplicates=True)).duplicates.height == 1
        assert judge(frame, Contract(pa.DataFrameSchema(columns), key=("x",))).broken.height == 2

    def test_equal_hashes_of_different_keys_break_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pl.DataFrame, "hash_rows", lambda frame: pl.repeat(7, frame.height, eager=True))
        assert judge(rows(GOOD, ("EWR", 1, 1.0, None))).verdict == Held()
        assert judge(rows(GOOD, GOOD)).broken.height == 2


class TestParsing:
    def spoilt(self, *unparsed: list[str] | None) -> pl.DataFrame:
        count = len(unparsed)
        return rows(*[("JFK", hour, None, None) for hour in range(count)]).with_columns(
            pl.Series(UNPARSED, unparsed, dtype=pl.List(pl.String))
        )

    def test_a_value_that_could_not_be_read_breaks_parse_and_names_its_column(self) -> None:
        judged = judge(self.spoilt([], ["wind_mph"], None))
        assert broken_rules(judged) == [["parse:wind_mph"]]
        assert breaches(judged)["parse"].count == 1

    def test_a_row_counts_once_however_many_of_its_values_could_not_be_read(self) -> None:
        judged = judge(self.spoilt([], [], [], ["wind_mph", "observer"]))
        assert broken_rules(judged) == [["parse:wind_mph", "parse:observer"]]
        assert breaches(judged)["parse"].count == 1

    def test_it_is_not_also_reported_as_missing(self) -> None:
        frame = self.spoilt(["hour"], []).with_columns(
            hour=pl.Series([None, 1], dtype=pl.Int64), origin=pl.Series([None, "JFK"], dtype=pl.String)
        )
        assert broken_rules(judge(frame)) == [["parse:hour", "origin__not_null"]]

    def test_of_a_line_that_could_not_be_read_at_all_nothing_else_is_said(self) -> None:
        frame = self.spoilt(["*"], []).with_columns(
            hour=pl.Series([None, 1], dtype=pl.Int64), origin=pl.Series([None, "JFK"], dtype=pl.String)
        )
        assert broken_rules(judge(frame)) == [["parse:*"]]

    def test_rules_across_columns_are_not_put_to_a_row_that_was_read_in_part(self) -> None:
        contract = own(lambda d: d.lazyframe.select(pl.col("x").is_not_null()), on_frame=True)
        frame = pl.DataFrame(
            {"x": [None, None, 1], UNPARSED: [["x"], [], []]}, schema={"x": pl.Int64, UNPARSED: pl.List(pl.String)}
        )
        assert broken_rules(judge(frame, contract)) == [["parse:x"], ["own"]]


class TestCrashes:
    """A check that crashes says nothing about the rows: publishing would be a guess, and so would quarantine."""

    def crashing_on(self, value: int) -> Contract:
        def crash(data: pa.PolarsData) -> pl.LazyFrame:
            if value in data.lazyframe.collect()["x"]:
                raise RuntimeError("boom\nand more")
            return data.lazyframe.select(pl.col(data.key) < 10)

        return own(crash)

    def test_a_crashing_check_is_unknown_never_a_broken_row(self) -> None:
        judged = judge(numbers(1, 2), self.crashing_on(1))
        assert judged.verdict == Unknown("x__own", "RuntimeError: boom")
        assert not judged.publishable
        assert (judged.rows.height, judged.broken.height, judged.rows_judged) == (0, 0, 2)

    def test_only_the_partitions_on_which_it_crashes_are_unknown(self) -> None:
        frames = {"p": numbers(1, 2), "q": numbers(3, 4), "r": numbers(5, 99), "s": numbers()}
        judged = judge_partitions(frames, self.crashing_on(1))
        assert list(judged) == ["p", "q", "r", "s"]
        assert [type(j.verdict) for j in judged.values()] == [Unknown, Held, Broken, Held]

    def test_a_panic_inside_polars_is_a_crash_too(self) -> None:
        def panic(data: pa.PolarsData) -> pl.LazyFrame:
            raise pl.exceptions.PanicException("index out of bounds")

        assert judge(numbers(1), own(panic)).verdict == Unknown("x__own", "PanicException: index out of bounds")

    @pytest.mark.parametrize("answer", [True, False])
    @pytest.mark.parametrize("partitions", [1, 3])
    @pytest.mark.parametrize("height", [1, 2])
    def test_one_answer_for_a_whole_frame_is_refused_even_if_it_passes(
        self, answer: bool, partitions: int, height: int
    ) -> None:
        frames = {str(i): numbers(*range(height)) for i in range(partitions)}
        for judged in judge_partitions(frames, own(lambda d: answer)).values():
            assert isinstance(judged.verdict, Unknown)
            assert "make it a table rule" in judged.verdict.cause

    @pytest.mark.parametrize(
        "function",
        [
            lambda d: d.lazyframe.select(pl.col("x").sum() > 0),
            lambda d: d.lazyframe.select(pl.col("x").is_unique()),
            lambda d: d.lazyframe.select(pl.col("x") < 3 * pl.col("x").mean()),
            lambda d: d.lazyframe.select(pl.col("x").diff().fill_null(1) > 0),
            lambda d: d.lazyframe.filter(pl.col("x") > 5).select(pl.col("x") > 0),
            lambda d: d.lazyframe.filter(pl.col("x") > 500).select(pl.col("x") > 0),
        ],
        ids=["one answer", "is_unique", "mean", "neighbour", "filtered", "filtered to nothing"],
    )
    @pytest.mark.parametrize("on_frame", [True, False])
    def test_a_check_that_looks_at_other_rows_is_refused(
        self, function: Callable[[pa.PolarsData], pl.LazyFrame], on_frame: bool
    ) -> None:
        judged = judge_partitions(
            {"p": numbers(1, 2, 3, 4, 90), "q": numbers(1, 2, 3, 80)}, own(function, on_frame=on_frame)
        )
        for judgement in judged.values():
            assert isinstance(judgement.verdict, Unknown)
            assert "make it a table rule" in judgement.verdict.cause

    def test_a_check_that_answers_with_numbers_is_refused(self) -> None:
        judged = judge(numbers(1, 2), own(lambda d: d.lazyframe.select(pl.col("x") * 2), ignore_na=False))
        assert judged.verdict == Unknown("x__own", "TypeError: the check returned Int64, not booleans")

    def test_rows_that_are_not_there_cannot_crash_a_check(self) -> None:
        assert judge(numbers(), own(lambda d: 1 / 0)).verdict == Held()

    @pytest.mark.parametrize(
        ("answer", "cause"),
        [
            (lambda held: held.select("x"), "ValueError"),
            (lambda held: held.select(pl.col("x").first()), "returned int"),
            (lambda held: held.select(pl.lit(None)), "returned NoneType"),
            (lambda held: 1 / 0, "ZeroDivisionError: division by zero"),
        ],
    )
    def test_a_table_rule_without_a_clear_answer_is_unknown(
        self, answer: Callable[[pl.LazyFrame], Any], cause: str
    ) -> None:
        answer.__name__ = "own"
        contract = Contract(pa.DataFrameSchema({"x": pa.Column(int)}), table_rules=(answer,))
        judged = judge_partitions({"p": numbers(1, 2), "q": numbers()}, contract)
        assert isinstance(judged["p"].verdict, Unknown)
        assert judged["p"].verdict.rule == "own"
        assert cause in judged["p"].verdict.cause
        assert judged["q"].verdict == Held()

    def test_a_message_that_may_quote_personal_data_is_not_kept(self) -> None:
        def crash(data: pa.PolarsData) -> pl.LazyFrame:
            raise ValueError("cannot parse 'Ann Smith'")

        columns = {"x": pa.Column(str, pa.Check(crash, name="own"), metadata={"pii": True})}
        judged = judge(pl.DataFrame({"x": ["Ann Smith"]}), Contract(pa.DataFrameSchema(columns)))
        assert isinstance(judged.verdict, Unknown)
        assert "Ann" not in judged.verdict.cause
        assert "ValueError" in judged.verdict.cause


class TestManyPartitions:
    def test_each_gets_its_own_rows_back(self) -> None:
        bad, worse = ("SFO", 3, 1.0, None), ("SFO", 99, 1.0, None)
        frames = {
            "a": rows(GOOD),
            "b": rows(bad, GOOD, worse),
            "c": rows(),
            "d": rows(worse),
            "e": rows(GOOD, GOOD),
        }
        together = judge_partitions(frames, weather())
        for key, frame in frames.items():
            alone = judge(frame)
            assert together[key].verdict == alone.verdict
            assert together[key].publishable == alone.publishable
            assert_frame_equal(together[key].rows, alone.rows)
            assert_frame_equal(together[key].broken, alone.broken)

    def test_a_wrong_schema_in_one_leaves_the_others_alone(self) -> None:
        frames = {"p": rows(GOOD), "q": rows(GOOD).drop("hour"), "r": rows(GOOD).drop(SYSTEM), "s": rows(GOOD)}
        verdicts = [type(j.verdict) for j in judge_partitions(frames, weather()).values()]
        assert verdicts == [Held, Broken, Held, Held]

    def test_no_partitions_no_judgements(self) -> None:
        assert judge_partitions({}, weather()) == {}


class TestFindings:
    """What was found before the gate, a wrong header say, may not be forgotten by it."""

    HEADER = RuleBreach("header", Level.TABLE, 1, "column c is missing")

    def test_a_finding_withholds_rows_that_hold(self) -> None:
        judged = judge_partitions({"p": rows(GOOD), "q": rows(GOOD)}, weather(), {"p": [self.HEADER]})
        assert judged["p"].verdict == Broken((self.HEADER,), 0)
        assert not judged["p"].publishable
        assert judged["q"].verdict == Held()

    def test_a_finding_about_rows_withholds_too_since_nobody_can_set_them_aside(self) -> None:
        finding = RuleBreach("parse", Level.ROW, 1)
        assert not judge_partitions({"p": rows(GOOD)}, weather(), {"p": [finding]})["p"].publishable

    def test_findings_stand_in_the_contracts_order_and_join_the_gates_own(self) -> None:
        findings = [
            self.HEADER,
            RuleBreach("parse", Level.ROW, 2, "two lines"),
            RuleBreach("rows__min", Level.TABLE, 1, "few"),
        ]
        bad = rows(("SFO", 1, 1.0, None)).with_columns(pl.Series(UNPARSED, [["hour"]]))
        found = breaches(judge_partitions({"p": bad}, weather(min_rows=5), {"p": findings})["p"])
        assert list(found) == ["parse", "origin__isin", "rows__min", "header"]
        assert (found["parse"].count, found["parse"].detail) == (3, "two lines")
        assert (found["rows__min"].count, found["rows__min"].detail) == (1, "few; 0 rows hold, at least 5 are expected")

    def test_a_finding_does_not_make_an_unknown_known(self) -> None:
        judged = judge_partitions({"p": numbers(1)}, own(lambda d: 1 / 0), {"p": [self.HEADER]})["p"]
        assert isinstance(judged.verdict, Unknown)


class TestMerging:
    def test_pieces_of_a_partition_are_judged_as_the_whole(self) -> None:
        whole = rows(GOOD, ("SFO", 2, 1.0, None), ("JFK", 2, 999.0, None), GOOD, ("JFK", 1, 5.0, None))
        contract = weather(drop_duplicates=True)
        merged = merge(judge_batch(whole[i : i + 2], contract) for i in (4, 0, 2))
        assert merged.rows_judged == 5
        assert merged.breaches.sum().row(0, named=True) == {"origin__isin": 1, "wind_mph__le": 1}
        assert not merged.breaches.null_count().pipe(lambda counts: any(counts.row(0)))
        judged, pieces = judge(whole, contract), decide(merged, contract)
        assert pieces.verdict == judged.verdict
        assert_frame_equal(pieces.rows, judged.rows, check_row_order=False)
        assert_frame_equal(pieces.broken, judged.broken, check_row_order=False)
        assert_frame_equal(pieces.duplicates, judged.duplicates)

    def test_one_crashing_piece_makes_the_whole_unknown(self) -> None:
        def crash(data: pa.PolarsData) -> pl.LazyFrame:
            if 1 in data.lazyframe.collect()["x"]:
                raise RuntimeError
            return data.lazyframe.select(pl.col(data.key) < 10)

        contract = own(crash)
        merged = merge([judge_batch(numbers(1), contract), judge_batch(numbers(2), contract)])
        assert decide(merged, contract).verdict == Unknown("x__own", "RuntimeError: (no message)")

    def test_one_misfit_piece_makes_the_whole_broken(self) -> None:
        misfit = numbers(1).cast(pl.Int32)
        contract = own(lambda d: d.lazyframe.select(pl.col(d.key) > 0))
        merged = merge([judge_batch(misfit, contract), judge_batch(misfit, contract)])
        assert decide(merged, contract).broken.height == 2


class TestSamples:
    def test_a_sample_is_small_json_with_lineage_and_without_personal_data(self) -> None:
        judged = judge(rows(*[("SFO", 99, float("inf"), "Ann") for _ in range(9)]))
        sample = breaches(judged)["origin__isin"].sample
        assert [row[LINE] for row in sample] == [2, 3, 4, 5, 6]
        assert sample[0]["observer"] == MASK
        assert sample[0]["wind_mph"] == "inf"
        assert RULES not in sample[0]
        json.dumps(sample, allow_nan=False)

    def test_keys_that_are_shared_are_sampled_masked(self) -> None:
        contract = weather(key=("observer",), model=Observers)
        judged = judge(rows(GOOD, (*GOOD[:1], 2, *GOOD[2:])), contract)
        assert {row["observer"] for row in breaches(judged)["key__unique"].sample} == {MASK}

    def test_long_text_is_cut_because_a_garbled_line_may_be_megabytes(self) -> None:
        frame = rows(("S" * 10_000, 1, 1.0, None))
        assert len(breaches(judge(frame))["origin__isin"].sample[0]["origin"]) == LONGEST + 1

    def test_dates_decimals_bytes_and_nested_values_become_plain(self) -> None:
        types: dict[str, Any] = {
            "d": pl.Date,
            "t": pl.Time,
            "m": pl.Decimal(9, 2),
            "l": pl.List(pl.Date),
            "s": pl.Struct({"a": pl.Date}),
        }
        columns = {name: pa.Column(dtype) for name, dtype in types.items()}
        contract = Contract(pa.DataFrameSchema({**columns, "x": pa.Column(int)}))
        frame = pl.DataFrame(
            {"d": ["2026-01-01"], "t": ["10:00:00"], "m": ["1.50"], "x": [None]},
            schema_overrides={"x": pl.Int64},
        ).with_columns(pl.col("d").str.to_date(), pl.col("t").str.to_time(), pl.col("m").cast(pl.Decimal(9, 2)))
        frame = frame.with_columns(l=pl.concat_list("d"), s=pl.struct(a="d"))
        day = "2026-01-01"
        expected = {"d": day, "t": "10:00:00", "m": "1.50", "l": [day], "s": {"a": day}, "x": None}
        assert breaches(judge(frame, contract))["x__not_null"].sample == (expected,)


class Observers(Weather):
    observer: str = field(pii=True)


class TestMasking:
    def test_every_value_looks_the_same_and_what_is_missing_stays_missing(self) -> None:
        frame = pl.DataFrame({"name": ["Ann", "Bob", None], "age": [1, 2, None], "x": [1, 2, 3]})
        masked = mask(frame, {"name", "age", "elsewhere"})
        assert masked["name"].to_list() == [MASK, MASK, None]
        assert masked["age"].to_list() == [MASK, MASK, None]
        assert masked["x"].to_list() == [1, 2, 3]

    def test_the_raw_line_is_masked_as_it_holds_every_column(self) -> None:
        frame = pl.DataFrame({TEXT: ["Ann,1", None], "x": [1, 2]})
        assert mask(frame, {"name"})[TEXT].to_list() == [MASK, None]
        assert mask(frame, set())[TEXT].to_list() == ["Ann,1", None]

    def test_nested_values_are_masked_whole(self) -> None:
        assert mask(pl.DataFrame({"names": [["Ann", "Bob"]]}), {"names"})["names"].to_list() == [MASK]

    def test_nothing_personal_nothing_masked(self) -> None:
        frame = pl.DataFrame({"x": [1]})
        assert_frame_equal(mask(frame, frozenset()), frame)
