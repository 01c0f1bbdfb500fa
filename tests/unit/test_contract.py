"""Contracts: what is refused at import, what rules are called, and when a version changes."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pandera.polars as pa
import polars as pl
import pytest
from pandera.engines.polars_engine import DateTime

from sh_core.conservation import CONSERVES_ROWS
from sh_core.contract import Contract, Split, Withhold, field, raw_contract
from sh_core.errors import DeclarationError
from sh_core.feed import Feed
from sh_core.partitions import Daily
from sh_core.verdict import Level


class Weather(pa.DataFrameModel):
    origin: str = field(isin=["EWR", "JFK", "LGA"])
    time_hour: pl.Datetime("us", "UTC")  # type: ignore[valid-type]
    wind_speed_mph: float = field(unit="mph", quantum=0.01, nullable=True, in_range={"min_value": 0, "max_value": 250})
    observer: str = field(pii=True, nullable=True)
    gust_mph: float = pa.Field(nullable=True, ge=0)

    @pa.check("observer")
    @classmethod
    def not_shouting(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """Observers are written in mixed case."""
        return data.lazyframe.select(pl.col(data.key) != pl.col(data.key).str.to_uppercase())

    @pa.dataframe_check
    @classmethod
    def gust_above_wind(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """A gust is no weaker than the wind."""
        return data.lazyframe.select(pl.col("gust_mph") >= pl.col("wind_speed_mph"))


def covers_every_airport(rows: pl.LazyFrame) -> pl.LazyFrame:
    """All three airports report."""
    return rows.select(pl.col("origin").n_unique() == 3)


def weather(**changes: object) -> Contract:
    declared: Any = {"model": Weather, "key": ("origin", "time_hour"), "owner": "team:weather", **changes}
    return Contract(**declared)


def schema(**columns: pa.Column) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(columns)


class TestWhatIsDerived:
    def test_rules_have_stable_names_in_order_because_dashboards_and_alerts_refer_to_them(self) -> None:
        names = [
            rule.name
            for rule in weather(min_rows=1, max_rows=9, table_rules=(covers_every_airport,))
            .with_rules(CONSERVES_ROWS)
            .rules
        ]
        assert names == [
            "schema",
            "conserved",
            "parse",
            "origin__not_null",
            "origin__isin",
            "time_hour__not_null",
            "wind_speed_mph__in_range",
            "observer__not_shouting",
            "gust_mph__ge",
            "gust_above_wind",
            "key__unique",
            "rows__min",
            "rows__max",
            "covers_every_airport",
        ]

    def test_rule_names_are_fit_to_be_names_of_dagster_checks(self) -> None:
        assert all(re.fullmatch(r"[A-Za-z0-9_]+", rule.name) for rule in weather().rules)

    def test_only_rules_about_single_rows_can_quarantine_rows(self) -> None:
        table_level = {
            rule.name for rule in weather(min_rows=1).with_rules(CONSERVES_ROWS).rules if rule.level is Level.TABLE
        }
        assert table_level == {"schema", "conserved", "key__unique", "rows__min"}

    def test_every_rule_says_in_a_sentence_what_it_wants(self) -> None:
        said = {rule.name: rule.description for rule in weather(table_rules=(covers_every_airport,)).rules}
        assert said["wind_speed_mph__in_range"] == "wind_speed_mph must be between 0 and 250"
        assert said["origin__isin"] == "origin must be one of EWR, JFK, LGA"
        assert said["observer__not_shouting"] == "Observers are written in mixed case."
        assert said["gust_above_wind"] == "A gust is no weaker than the wind."
        assert said["covers_every_airport"] == "All three airports report."
        assert all(said.values())

    @pytest.mark.parametrize(
        ("check", "sentence"),
        [
            (pa.Check.eq("a"), "x must be a"),
            (pa.Check.ne("a"), "x must not be a"),
            (pa.Check.gt("a"), "x must be greater than a"),
            (pa.Check.le("a"), "x must be at most a"),
            (pa.Check.lt("a"), "x must be less than a"),
            (pa.Check.in_range("a", "b", include_min=False), "x must be between a and b, but not a"),
            (pa.Check.notin(["a"]), "x must be none of a"),
            (pa.Check.isin({"b", "a"}), "x must be one of a, b"),
            (
                pa.Check.isin([str(i) for i in range(20)]),
                "x must be one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, … (20 values)",
            ),
            (pa.Check.str_matches("[A-Z]+$"), "x must match the pattern [A-Z]+$ from its start"),
            (pa.Check.str_contains(re.compile("[0-9]")), "x must contain the pattern [0-9]"),
            (pa.Check.str_startswith("N"), "x must start with N"),
            (pa.Check.str_endswith("N"), "x must end with N"),
            (pa.Check.str_length(1, 8), "x must have at least 1 and at most 8 characters"),
            (pa.Check.str_length(4), "x must have exactly 4 characters"),
            (pa.Check.ge("a", title="Past the first"), "Past the first"),
            (pa.Check.ge("a", name="late"), "x must be at least a"),
        ],
    )
    def test_built_in_checks_speak_plainly(self, check: pa.Check, sentence: str) -> None:
        contract = Contract(schema(x=pa.Column(str, check, nullable=True)), owner="team:o")
        assert contract.rules[2].description == sentence

    def test_a_check_is_known_by_what_it_does_whatever_a_user_calls_it(self) -> None:
        contract = Contract(schema(x=pa.Column(int, pa.Check.ge(0, name="isin"), nullable=True)), owner="team:o")
        assert (contract.rules[2].name, contract.rules[2].description) == ("x__isin", "x must be at least 0")

    def test_marks_of_columns_are_read_from_the_model(self) -> None:
        contract = weather()
        assert contract.pii == {"observer"}
        assert contract.units == {"wind_speed_mph": "mph"}
        assert contract.quanta == {"wind_speed_mph": 0.01}
        assert contract.columns == ("origin", "time_hour", "wind_speed_mph", "observer", "gust_mph")
        assert contract.schema["time_hour"] == pl.Datetime("us", "UTC")

    def test_a_field_keeps_metadata_of_the_user(self) -> None:
        assert field(unit="s", metadata={"source": "tower"}).metadata == {"source": "tower", "unit": "s"}
        assert field().metadata is None

    def test_pandera_unique_becomes_a_table_rule_because_a_batch_holds_many_partitions(self) -> None:
        columns = {"a": pa.Column(str, unique=True), "b": pa.Column(str), "c": pa.Column(str)}
        contract = Contract(pa.DataFrameSchema(columns, unique=["b", "c"]), owner="team:o")
        assert contract.unique == {"a__unique": ("a",), "b_c__unique": ("b", "c")}
        assert [r.level for r in contract.rules if r.name.endswith("__unique")] == [Level.TABLE, Level.TABLE]

    def test_each_set_of_a_nested_unique_is_a_rule(self) -> None:
        columns = {"a": pa.Column(str), "b": pa.Column(str), "c": pa.Column(str)}
        contract = Contract(pa.DataFrameSchema(columns, unique=[["a", "b"], ["b", "c"]]), owner="team:o")  # type: ignore[list-item]
        assert contract.unique == {"a_b__unique": ("a", "b"), "b_c__unique": ("b", "c")}

    def test_a_raw_table_takes_whatever_text_came_but_knows_when_the_header_is_wrong(self) -> None:
        feed = Feed(
            "bookings",
            "b_{partition}.csv",
            ("id", "name of guest"),
            Daily(date(2026, 1, 1), date(2026, 1, 2)),
            "team:o",
        )
        contract = raw_contract(feed)
        assert contract.schema == pl.Schema({"id": pl.String(), "name of guest": pl.String(), "date": pl.Date()})
        assert contract.key == ()
        assert contract.on_breach == Split(0.05)
        assert [rule.name for rule in contract.rules] == ["schema", "readable", "header", "parse", "date__not_null"]


class TestWhatIsRefused:
    """A contract that contradicts itself must fail at import, not at night."""

    @pytest.mark.parametrize(
        ("declare", "complaint"),
        [
            (lambda: weather(key=("origin", "hour")), "key__unique needs columns of the model"),
            (lambda: weather(key=("origin", "origin")), "each once"),
            (lambda: weather(key="origin"), "key is a tuple"),
            (lambda: weather(key=("origin", "gust_mph")), "key column gust_mph is nullable"),
            (lambda: weather(min_rows=5, max_rows=4), "rows between 5 and 4 is no range"),
            (lambda: weather(min_rows=-1), "is no range"),
            (lambda: weather(table_rules=(lambda rows: True,)), "use letters, digits and underscores"),
            (lambda: weather(table_rules=(covers_every_airport, covers_every_airport)), "two rules are called"),
            (lambda: Split(1.5), "between 0 and 1"),
            (lambda: Split(float("nan")), "between 0 and 1"),
            (lambda: Contract(schema()), "at least one column"),
            (lambda: Contract(schema(_x=pa.Column(str))), "column _x starts with an underscore"),
            (lambda: Contract(schema(x=pa.Column(int, metadata={"quantum": 0.1}))), "only floats are rounded"),
            (lambda: Contract(schema(x=pa.Column(float, metadata={"quantum": 0.0}))), "positive number"),
            (lambda: Contract(schema(x=pa.Column(float, metadata={"quantum": float("inf")}))), "positive number"),
            (lambda: Contract(schema(x=pa.Column(str, coerce=True))), "convert in the transform"),
            (lambda: Contract(schema(x=pa.Column(str, default="?"))), "convert in the transform"),
            (lambda: Contract(schema(x=pa.Column(str, drop_invalid_rows=True))), "convert in the transform"),
            (lambda: Contract(schema(x=pa.Column(str, required=False))), "is optional"),
            (lambda: Contract(pa.DataFrameSchema({"^x.*$": pa.Column(str, regex=True)})), "is a pattern"),
            (lambda: Contract(schema(x=pa.Column())), "has no type"),
            (lambda: Contract(schema(x=pa.Column(pl.Object))), "type Object"),
            (lambda: Contract(pa.DataFrameSchema({"x": pa.Column(str)}, coerce=True)), "coerce is set"),
            (lambda: Contract(pa.DataFrameSchema({"x": pa.Column(str)}, strict="filter")), "drops columns"),
            (lambda: Contract(pa.DataFrameSchema({"x": pa.Column(str)}, drop_invalid_rows=True)), "is set"),
            (lambda: Contract(pa.DataFrameSchema({"x": pa.Column(str)}, unique=["y"])), "y__unique needs"),
            (lambda: Contract(schema(x=pa.Column(str, pa.Check.isin([object()])))), "cannot cover a object"),
            (lambda: Contract(schema(x=pa.Column(str, pa.Check(lambda d: True)))), "name= names a check"),
            (lambda: Contract(schema(x=pa.Column(str, [pa.Check.ge("a"), pa.Check.ge("b")]))), "name= tells"),
            (lambda: Contract(schema(x=pa.Column(str, pa.Check.ge("a", raise_warning=True)))), "raise_warning"),
            (lambda: Contract(schema(x=pa.Column(str, pa.Check.unique_values_eq(["a"])))), "a table rule"),
            (lambda: Contract(schema(x=pa.Column(int, pa.Check.str_matches("a")))), "can never be judged"),
            (lambda: Contract(schema(x=pa.Column(str, pa.Check.str_matches("(?=a)")))), "can never be judged"),
        ],
    )
    def test_with_a_text_that_says_what_to_do(self, declare: Callable[[], object], complaint: str) -> None:
        with pytest.raises(DeclarationError, match=re.escape(complaint)):
            declare()

    def test_a_check_of_a_column_that_does_not_exist(self) -> None:
        class Model(pa.DataFrameModel):
            x: str

            @pa.check("y")
            @classmethod
            def fine(cls, data: pa.PolarsData) -> pl.LazyFrame:
                return data.lazyframe.select(pl.col(data.key) == "")

        with pytest.raises(DeclarationError, match=r"contract Model: .*y"):
            Contract(Model, owner="team:o")

    def test_a_time_zone_left_open(self) -> None:
        agnostic: Any = DateTime(time_zone_agnostic=True)
        with pytest.raises(DeclarationError, match="leaves its time zone open"):
            Contract(schema(x=pa.Column(agnostic)), owner="team:o")


class TestVersion:
    def test_what_people_read_does_not_change_it(self) -> None:
        class Renamed(Weather):
            observer: str = field(nullable=True, title="Who looked")
            wind_speed_mph: float = field(
                unit="miles per hour", quantum=0.01, nullable=True, in_range={"min_value": 0, "max_value": 250}
            )

        plain = weather()
        assert plain.version == weather(owner="someone", description="else").version
        assert plain.version == weather(model=Renamed).version

    @pytest.mark.parametrize(
        "changes",
        [
            {"key": ("origin",)},
            {"key": ()},
            {"on_breach": Split(0.01)},
            {"min_rows": 1},
            {"max_rows": 1},
            {"drop_duplicates": True},
            {"table_rules": (covers_every_airport,)},
        ],
    )
    def test_what_decides_about_rows_changes_it(self, changes: dict[str, Any]) -> None:
        assert weather(**changes).version != weather().version
        assert weather().with_rules(CONSERVES_ROWS).version != weather().version

    def test_the_share_that_a_policy_tolerates_changes_it(self) -> None:
        assert weather(on_breach=Split(0.01)).version != weather(on_breach=Split(0.02)).version
        assert weather(on_breach=Split(0.0)).version != weather(on_breach=Withhold()).version

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (pa.Column(int), pa.Column(float)),
            (pa.Column(int), pa.Column(int, nullable=True)),
            (pa.Column(int), pa.Column(int, unique=True)),
            (pa.Column(int, pa.Check.ge(0)), pa.Column(int, pa.Check.ge(1))),
            (pa.Column(int, pa.Check.ge(0)), pa.Column(int, pa.Check.gt(0))),
            (pa.Column(int, pa.Check.ge(0)), pa.Column(int, pa.Check.ge(0, name="ge", ignore_na=False))),
            (pa.Column(int, pa.Check.in_range(0, 9)), pa.Column(int, pa.Check.in_range(0, 9, include_max=False))),
            (pa.Column(int, pa.Check.isin([1, 2])), pa.Column(int, pa.Check.isin([1, 3]))),
            (pa.Column(float), pa.Column(float, metadata={"quantum": 0.1})),
            (pa.Column(float, metadata={"quantum": 0.1}), pa.Column(float, metadata={"quantum": 0.01})),
            (pa.Column(pl.Datetime("us", "UTC")), pa.Column(pl.Datetime("us"))),
            (pa.Column(pl.Date, pa.Check.ge(date(2026, 1, 1))), pa.Column(pl.Date, pa.Check.ge(date(2026, 1, 2)))),
            (
                pa.Column(pl.Datetime("us", "UTC"), pa.Check.ge(datetime(2026, 1, 1, tzinfo=UTC))),
                pa.Column(pl.Datetime("us", "UTC"), pa.Check.ge(datetime(2026, 1, 2, tzinfo=UTC))),
            ),
            (
                pa.Column(pl.Decimal(9, 2), pa.Check.ge(Decimal("0.10"))),
                pa.Column(pl.Decimal(9, 2), pa.Check.ge(Decimal("0.11"))),
            ),
            (
                pa.Column(str, pa.Check(lambda d: d.lazyframe.select(pl.col(d.key) == "a"), name="own")),
                pa.Column(str, pa.Check(lambda d: d.lazyframe.select(pl.col(d.key) == "b"), name="own")),
            ),
        ],
    )
    def test_every_part_of_a_column_counts(self, one: pa.Column, other: pa.Column) -> None:
        assert Contract(schema(x=one), owner="team:o").version != Contract(schema(x=other), owner="team:o").version

    def test_the_order_of_columns_counts_as_files_are_written_in_it(self) -> None:
        ab = Contract(schema(a=pa.Column(int), b=pa.Column(int)), owner="team:o")
        ba = Contract(schema(b=pa.Column(int), a=pa.Column(int)), owner="team:o")
        assert ab.version != ba.version

    def test_a_changed_body_of_a_model_check_counts(self) -> None:
        class Strict(Weather):
            @pa.dataframe_check
            @classmethod
            def gust_above_wind(cls, data: pa.PolarsData) -> pl.LazyFrame:
                """A gust is no weaker than the wind."""
                return data.lazyframe.select(pl.col("gust_mph") > pl.col("wind_speed_mph"))

        assert weather(model=Strict).version != weather().version

    def test_it_is_the_same_in_every_process_although_sets_are_ordered_by_a_random_hash(self) -> None:
        script = (
            "import pandera.polars as pa; from sh_core.contract import Contract\n"
            "allowed = pa.Check.isin({'EWR', 'JFK', 'LGA', 'SFO', 'BOS', 'ORD'})\n"
            "print(Contract(pa.DataFrameSchema({'x': pa.Column(str, allowed)}), owner='o').version)"
        )
        versions = {
            subprocess.run(
                [sys.executable, "-c", script],
                env={"PYTHONHASHSEED": seed},
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            ).stdout
            for seed in ("1", "2")
        }
        assert len(versions) == 1

    def test_it_can_be_kept_in_a_ledger(self) -> None:
        assert re.fullmatch(r"[0-9a-f]{32}", weather().version)
        assert json.loads(json.dumps(weather().version)) == weather().version
