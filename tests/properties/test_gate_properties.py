"""The gate agrees with Pandera row by row, loses no row, and does not care how rows are ordered or batched."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from typing import Any

import pandera.polars as pa
import polars as pl
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from pandera.config import ValidationDepth, config_context
from pandera.errors import SchemaError, SchemaErrorReason, SchemaErrors
from polars.testing import assert_frame_equal

from sh_core.columns import FILE, LINE, RULES, UNPARSED
from sh_core.contract import Contract, Split
from sh_core.gate import Judgement, decide, judge_batch, judge_partitions, merge
from sh_core.gate_rows import quantise
from sh_core.masking import MASK, mask
from sh_core.verdict import Broken, Held, Unknown

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

TEXTS = ("", "a", "ab", "Ab", "abc", "é", "e\u0301", "日本", "🛫", "\x00", " a", "a\n", "N/A", "•••")


@dataclass(frozen=True)
class Kind:
    """A type of column, with values near the bounds that its checks use."""

    dtype: pl.DataType
    values: st.SearchStrategy[Any]
    texts: bool = False
    ordered: bool = True


FLOATS = (-math.inf, -1.5, -0.0, 0.0, 5e-324, 0.1, 0.1 + 0.2, 0.3, 1e308, math.inf, math.nan)
HOUR = datetime(2026, 3, 29, 2, 30)  # noqa: DTZ001  # of a column without a time zone
KINDS = (
    Kind(pl.Int64(), st.sampled_from([-(2**63), -1, 0, 1, 2, 3, 2**53 + 1, 2**63 - 1])),
    Kind(pl.Float64(), st.sampled_from(FLOATS)),
    Kind(pl.String(), st.sampled_from(TEXTS) | st.text(max_size=3), texts=True),
    Kind(pl.Date(), st.sampled_from([date(1, 1, 1), date(1969, 12, 31), date(2024, 2, 29), date(9999, 12, 31)])),
    Kind(pl.Datetime("us"), st.sampled_from([HOUR.replace(year=1), HOUR, HOUR.replace(microsecond=1)])),
    Kind(pl.Boolean(), st.booleans(), ordered=False),
)


def is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


@st.composite
def checks(draw: st.DrawFn, kind: Kind) -> list[pa.Check]:
    """Some of Pandera's own checks, each at most once, with bounds that values fall on."""
    bounds = kind.values.filter(lambda value: not is_nan(value))
    several = st.lists(bounds, min_size=1, max_size=3)
    made: dict[str, Callable[[], pa.Check]] = {
        "eq": lambda: pa.Check.eq(draw(bounds)),
        "ne": lambda: pa.Check.ne(draw(bounds)),
        "isin": lambda: pa.Check.isin(draw(several)),
        "notin": lambda: pa.Check.notin(draw(several)),
    }
    if kind.ordered:
        made |= {
            "ge": lambda: pa.Check.ge(draw(bounds)),
            "gt": lambda: pa.Check.gt(draw(bounds)),
            "le": lambda: pa.Check.le(draw(bounds), ignore_na=draw(st.booleans())),
            "lt": lambda: pa.Check.lt(draw(bounds)),
            "in_range": lambda: pa.Check.in_range(*sorted([draw(bounds), draw(bounds)])),
        }
    if kind.texts:
        made |= {
            "str_matches": lambda: pa.Check.str_matches(draw(st.sampled_from(["[a-z]+$", "^a", "\\s", "é|日"]))),
            "str_contains": lambda: pa.Check.str_contains(draw(st.sampled_from(["b", ".", "[A-Z]"]))),
            "str_startswith": lambda: pa.Check.str_startswith(draw(st.sampled_from(["", "a", "é"]))),
            "str_endswith": lambda: pa.Check.str_endswith(draw(st.sampled_from(["", "a", "本"]))),
            "str_length": lambda: pa.Check.str_length(draw(st.integers(0, 2)), draw(st.integers(2, 4))),
        }
    return [made[name]() for name in draw(st.lists(st.sampled_from(sorted(made)), unique=True, max_size=3))]


@st.composite
def contracts_and_frames(draw: st.DrawFn) -> tuple[Contract, pl.DataFrame]:
    kinds = {f"c{i}": kind for i, kind in enumerate(draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4)))}
    columns = {
        name: pa.Column(kind.dtype, draw(checks(kind)), nullable=draw(st.booleans())) for name, kind in kinds.items()
    }
    across = []
    if draw(st.booleans()):
        name, unwanted = draw(st.sampled_from(sorted(kinds))), draw(kinds["c0"].values)
        ignore_na = draw(st.booleans())
        across = [
            pa.Check(
                lambda d: d.lazyframe.select((pl.col("c0") != unwanted) | pl.col(name).is_null()),
                name="across",
                ignore_na=ignore_na,
            )
        ]
    height = draw(st.integers(0, 8))
    cells = {
        name: draw(st.lists(st.none() | kind.values, min_size=height, max_size=height)) for name, kind in kinds.items()
    }
    frame = pl.DataFrame(cells, schema={name: kind.dtype for name, kind in kinds.items()})
    return Contract(pa.DataFrameSchema(columns, checks=across), on_breach=Split(1.0)), frame


def pandera_says(contract: Contract, frame: pl.DataFrame, *, lazy: bool = False) -> set[str]:
    """Names of the rules that Pandera's own full validation reports."""
    assert isinstance(contract.model, pa.DataFrameSchema)
    try:
        with config_context(validation_depth=ValidationDepth.SCHEMA_AND_DATA):
            if lazy:
                contract.model.validate(frame.lazy(), lazy=True).collect()
            else:
                contract.model.validate(frame, lazy=True)
    except SchemaErrors as report:
        return {rule_of(contract, error) for error in report.schema_errors}
    return set()


def rule_of(contract: Contract, error: SchemaError) -> str:
    column = None if isinstance(error.schema, pa.DataFrameSchema) else error.schema.name
    if error.reason_code is SchemaErrorReason.SERIES_CONTAINS_NULLS:
        return f"{column}__not_null"
    assert error.reason_code is SchemaErrorReason.DATAFRAME_CHECK, error
    of_column = [rule for rule in contract.row_rules if rule.column == column and rule.check is not None]
    return of_column[error.check_index].rule.name


def judge(frame: pl.DataFrame, contract: Contract) -> Judgement:
    return judge_partitions({"p": frame}, contract)["p"]


@patient
@given(contracts_and_frames())
def test_each_row_breaks_exactly_the_rules_that_pandera_reports_for_it_alone(
    made: tuple[Contract, pl.DataFrame],
) -> None:
    contract, frame = made
    note(f"{contract.rules}\n{frame}")
    numbered = frame.with_columns(pl.lit("f").alias(FILE), pl.arange(frame.height, dtype=pl.Int64).alias(LINE))
    judged = judge(numbered, contract)
    expected = {i: pandera_says(contract, frame[i : i + 1]) for i in range(frame.height)}

    assert not isinstance(judged.verdict, Unknown)
    assert {line: set(rules) for line, rules in judged.broken.select(LINE, RULES).iter_rows()} == {
        line: rules for line, rules in expected.items() if rules
    }
    assert judged.rows[LINE].to_list() == [line for line, rules in expected.items() if not rules]
    assert_frame_equal(judged.rows.select(frame.columns), frame[judged.rows[LINE].to_list()], check_exact=True)


@patient
@given(contracts_and_frames(), st.booleans())
def test_a_partition_holds_exactly_if_pandera_passes_it_eager_and_lazy(
    made: tuple[Contract, pl.DataFrame], lazy: bool
) -> None:
    contract, frame = made
    note(f"{contract.rules}\n{frame}")
    verdict = judge(frame, contract).verdict
    reported = {breach.rule for breach in verdict.breaches} if isinstance(verdict, Broken) else set()
    assert reported == pandera_says(contract, frame, lazy=lazy)


# ------------------------------------------------------------------------------------ rows, batches, partitions


def has_some_a(held: pl.LazyFrame) -> pl.LazyFrame:
    return held.select(pl.col("v").str.contains("a").any())


@st.composite
def staged(draw: st.DrawFn) -> tuple[Contract, pl.DataFrame]:
    """A contract with everything in it, and rows that collide, repeat and fail to parse often."""
    row = st.tuples(
        st.none() | st.integers(0, 3),
        st.sampled_from([None, "a", "b", "bad"]),
        st.sampled_from([-0.0, 0.0, 0.104, 0.1, 7.0, math.nan]),
        st.sampled_from([None, [], [], [], ["v"], ["k", "x"], ["*"]]),
    )
    rows = draw(st.lists(row, max_size=12))
    types = {"k": pl.Int64(), "v": pl.String(), "x": pl.Float64(), UNPARSED: pl.List(pl.String())}
    frame = pl.DataFrame(rows, schema=types, orient="row").with_columns(
        pl.lit("f").alias(FILE), pl.arange(len(rows), dtype=pl.Int64).alias(LINE)
    )
    own = pa.Check(lambda d: d.lazyframe.select(pl.col(d.key) < 5), name="own")  # NaN fails
    key = draw(st.sampled_from([(), ("k",), ("k", "x")]))
    columns = {
        "k": pa.Column(pl.Int64),
        "v": pa.Column(pl.String, pa.Check.ne("bad"), nullable=True),
        "x": pa.Column(pl.Float64, own, nullable="x" not in key, metadata={"quantum": 0.01}),
    }
    contract = Contract(
        pa.DataFrameSchema(columns),
        key=key,
        on_breach=Split(draw(st.sampled_from([0.0, 0.3, 1.0]))),
        min_rows=draw(st.integers(0, 3)),
        drop_duplicates=draw(st.booleans()),
        table_rules=draw(st.sampled_from([(), (has_some_a,)])),
    )
    return contract, frame


def same(one: Judgement, other: Judgement) -> None:
    assert one.verdict == other.verdict
    assert (one.publishable, one.rows_judged) == (other.publishable, other.rows_judged)
    for mine, others in (
        (one.rows, other.rows),
        (one.broken, other.broken),
        (one.duplicates, other.duplicates),
    ):
        by = [LINE] if LINE in mine.columns else []
        assert_frame_equal(mine.sort(by) if by else mine, others.sort(by) if by else others, check_exact=True)


@patient
@given(staged())
def test_every_row_is_published_or_broken_or_a_copy_and_never_two_of_them(made: tuple[Contract, pl.DataFrame]) -> None:
    contract, frame = made
    judged = judge(frame, contract)
    lines = [*judged.rows[LINE], *judged.broken[LINE], *judged.duplicates[LINE]]
    assert sorted(lines) == frame[LINE].to_list()
    assert judged.rows_judged == frame.height
    assert all(judged.broken[RULES].list.len() > 0)


@patient
@given(staged())
def test_a_published_row_breaks_no_rule_when_judged_again(made: tuple[Contract, pl.DataFrame]) -> None:
    contract, frame = made
    first = judge(frame, contract)
    again = judge(first.rows, contract)
    assert_frame_equal(again.rows, first.rows, check_exact=True)
    assert again.broken.is_empty()
    assert again.duplicates.is_empty()


@patient
@given(staged(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(made: tuple[Contract, pl.DataFrame], random: Any) -> None:  # noqa: ANN401
    contract, frame = made
    order = list(range(frame.height))
    random.shuffle(order)
    same(judge(frame[order], contract), judge(frame, contract))


@patient
@given(staged(), st.lists(st.integers(0, 12), max_size=4), st.randoms(use_true_random=False))
def test_batches_merged_in_any_order_are_judged_as_the_whole(
    made: tuple[Contract, pl.DataFrame],
    cuts: list[int],
    random: Any,  # noqa: ANN401
) -> None:
    contract, frame = made
    ends = sorted({0, frame.height, *(min(cut, frame.height) for cut in cuts)})
    pieces = [judge_batch(frame[a:b], contract) for a, b in pairwise(ends)]
    pieces.append(judge_batch(frame.clear(), contract))
    random.shuffle(pieces)
    while len(pieces) > 1:
        some = random.randint(1, len(pieces))
        pieces = [merge(pieces[:some]), *pieces[some:]]
        random.shuffle(pieces)
        if some == 1 and random.random() < 0.5:
            pieces = [merge(pieces)]
    same(decide(pieces[0], contract), judge(frame, contract))


@patient
@given(staged(), st.lists(st.integers(0, 12), max_size=4))
def test_a_partition_is_judged_the_same_in_company(made: tuple[Contract, pl.DataFrame], cuts: list[int]) -> None:
    contract, frame = made
    ends = sorted({0, frame.height, *(min(cut, frame.height) for cut in cuts)})
    frames: dict[str, pl.DataFrame] = {str(a): frame[a:b] for a, b in pairwise(ends)}
    frames |= {
        "empty": frame.clear(),
        "other": frame.drop("v"),
        "bare": frame.drop(UNPARSED),
        "no lineage": frame.drop(FILE, LINE),
    }
    together = judge_partitions(frames, contract)
    assert list(together) == list(frames)
    for key, part in frames.items():
        same(together[key], judge(part, contract))


@patient
@given(staged())
def test_publishable_means_held_or_within_what_the_policy_tolerates(made: tuple[Contract, pl.DataFrame]) -> None:
    contract, frame = made
    judged = judge(frame, contract)
    assert isinstance(contract.on_breach, Split)
    if judged.verdict == Held():
        assert judged.publishable
        assert judged.broken.is_empty()
    else:
        assert isinstance(judged.verdict, Broken)
        only_rows = {b.rule for b in judged.verdict.breaches} <= {r.rule.name for r in contract.row_rules} | {"parse"}
        share = judged.verdict.rows_broken / max(1, judged.rows_judged)
        assert judged.publishable == (only_rows and share <= contract.on_breach.max_fraction)


# ----------------------------------------------------------------------------------------- rounding and masking

ANY_FLOAT = st.floats() | st.floats(-1e6, 1e6) | st.sampled_from([-0.0, 0.005, 0.015, 2.675, 1e15 + 0.3])
QUANTA = st.sampled_from([1e-9, 0.001, 0.01, 0.1, 0.125, 0.3, 1.0, 2.5, 60.0]) | st.floats(1e-12, 1e12)


@patient
@given(st.lists(ANY_FLOAT), QUANTA, st.sampled_from([pl.Float64, pl.Float32]))
def test_rounding_is_idempotent_and_moves_a_value_by_half_a_quantum_at_most(
    values: Sequence[float], quantum: float, dtype: type[pl.DataType]
) -> None:
    frame = pl.DataFrame({"x": values}, schema={"x": pl.Float64}).cast(dtype)
    once = quantise(frame, {"x": quantum})
    assert_frame_equal(quantise(once, {"x": quantum}), once, check_exact=True)
    assert once.schema == frame.schema
    finite = pl.DataFrame({"a": frame["x"].cast(pl.Float64), "b": once["x"].cast(pl.Float64)}).filter(
        pl.col("a").is_finite()
    )
    precision = 1e-6 if dtype == pl.Float32 else 1e-14
    tolerated = quantum / 2 + finite["a"].abs() * precision
    assert ((finite["a"] - finite["b"]).abs() <= tolerated).all()


@patient
@given(st.lists(st.none() | st.text()), st.lists(st.none() | st.text()))
def test_what_is_masked_tells_only_whether_a_value_was_there(names: list[str | None], others: list[str | None]) -> None:
    size = min(len(names), len(others))
    frame = pl.DataFrame({"name": names[:size], "x": others[:size]}, schema={"name": pl.String, "x": pl.String})
    masked = mask(frame, {"name"})
    assert masked["name"].to_list() == [None if name is None else MASK for name in names[:size]]
    assert masked["x"].to_list() == others[:size]
