"""References: a partition in which too much refers to what is not there is not published."""

import polars as pl
import pytest

from sh_core.contract import Reference
from sh_core.masking import MASK
from sh_core.references import unmatched

KNOWN = pl.DataFrame({"tail": ["N1", "N2"], "seats": [1, 2]})


def judged(rows: pl.DataFrame, reference: Reference, *key: str, pii: tuple[str, ...] = ()) -> str | None:
    """What is said of the one partition."""
    breach = unmatched(reference, {"d1": rows}, KNOWN.select(key), pii).get("d1")
    return breach.detail if breach else None


def flights(*tails: str | None) -> pl.DataFrame:
    return pl.DataFrame({"tail": tails}, schema={"tail": pl.String})


TAIL = Reference(("tail",), "planes")


def test_every_row_refers_to_something_that_is_there() -> None:
    assert judged(flights("N1", "N2", "N1", None), TAIL, "tail") is None
    assert judged(flights(), TAIL, "tail") is None
    said = judged(flights("N1", "N9", "N7"), TAIL, "tail")
    assert said == "2 of 3 rows refer to a key that planes lacks, e.g. N7"


@pytest.mark.parametrize(
    ("lost", "rows", "allowed", "broken"),
    [
        (29, 100, 0.29, False),  # 0.29 * 100 is a little less than 29
        (30, 100, 0.29, True),
        (7, 100, 0.07, False),
        (1, 1, 1.0, False),
        (0, 0, 0.0, False),
    ],
)
def test_the_share_that_may_be_missing_may_be_missing(lost: int, rows: int, allowed: float, *, broken: bool) -> None:
    found = judged(flights(*["N9"] * lost, *["N1"] * (rows - lost)), Reference(("tail",), "planes", allowed), "tail")
    assert (found is not None) is broken


def test_rows_without_a_value_count_among_all_and_not_among_the_missing() -> None:
    assert judged(flights("N9", None), Reference(("tail",), "planes", 0.5), "tail") is None


def test_a_key_of_two_columns_matches_as_a_whole() -> None:
    """Each value occurs, but not in one row."""
    reference = Reference(("plane", "places"), "planes")
    rows = pl.DataFrame({"places": [1, 2, 2, None], "plane": ["N1", "N1", "N2", "N9"]})
    said = judged(rows, reference, "tail", "seats")
    assert said == "1 of 4 rows refer to a key that planes lacks, e.g. N1 2"


def test_what_is_personal_is_masked_in_message_and_sample() -> None:
    rows = pl.DataFrame({"tail": ["N9"], "_file": ["flights/f.csv"], "_line": [7]})
    breach = unmatched(TAIL, {"d1": rows}, KNOWN.select("tail"), ["tail"])["d1"]
    assert breach.detail.endswith(f"e.g. {MASK}")
    assert [row["tail"] for row in breach.sample] == [MASK]


def test_what_has_not_the_declared_columns_is_judged_by_the_schema() -> None:
    assert judged(pl.DataFrame({"tail": [9]}), TAIL, "tail") is None
    assert judged(pl.DataFrame({"wing": ["N9"]}), TAIL, "tail") is None
