"""Mappings: which partitions of another table one partition reads; ``tests/graph`` compares them with Dagster's."""

from datetime import UTC, date, datetime

import pytest

from sh_core.errors import DeclarationError
from sh_core.mapping import SAME, Keys, Window, mapped, refuse, width
from sh_core.partitions import WHOLE, Daily, Monthly, Partitions, Unpartitioned, Weekly

DAYS = Daily(date(2024, 1, 1), date(2024, 12, 31))
WEEKS = Weekly(date(2024, 1, 1), date(2024, 12, 29))
MONTHS = Monthly(date(2024, 1, 1), date(2024, 12, 31))
REGISTER = Unpartitioned()
NOW = datetime(2024, 7, 17, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("window", "downstream", "upstream", "key", "read"),
    [
        (SAME, DAYS, DAYS, "2024-03-01", ("2024-03-01",)),
        (Window(-1, 0), DAYS, DAYS, "2024-03-01", ("2024-02-29", "2024-03-01")),
        (Window(-2, -1), DAYS, DAYS, "2024-01-02", ("2024-01-01",)),  # as far back as there is something
        (Window(-2, -1), DAYS, DAYS, "2024-01-01", ()),
        (Window(1, 2), DAYS, DAYS, "2024-12-30", ("2024-12-31",)),
        (SAME, WEEKS, DAYS, "2024-02-26", tuple(DAYS.between(date(2024, 2, 26), date(2024, 3, 3)))),
        (SAME, DAYS, WEEKS, "2024-03-03", ("2024-02-26",)),
        (SAME, DAYS, MONTHS, "2024-03-31", ("2024-03-01",)),
        (Window(-1, -1), DAYS, MONTHS, "2024-03-31", ("2024-02-01",)),
        (Window(-1, 0), MONTHS, MONTHS, "2024-03-01", ("2024-02-01", "2024-03-01")),
        (SAME, WEEKS, MONTHS, "2024-02-26", ("2024-02-01", "2024-03-01")),  # a week may lie in two months
        (SAME, MONTHS, WEEKS, "2024-02-01", ("2024-01-29", "2024-02-05", "2024-02-12", "2024-02-19", "2024-02-26")),
        (Window(2, -2), WEEKS, DAYS, "2024-02-26", ("2024-02-28", "2024-02-29", "2024-03-01")),
        (SAME, DAYS, REGISTER, "2024-03-01", (WHOLE,)),
        (SAME, REGISTER, REGISTER, WHOLE, (WHOLE,)),
    ],
)
def test_mapped(window: Window, downstream: Partitions, upstream: Partitions, key: str, read: tuple[str, ...]) -> None:
    assert mapped(window, downstream, upstream, key, NOW) == read


def test_a_month_reads_all_of_its_days() -> None:
    assert len(mapped(SAME, MONTHS, DAYS, "2024-02-01", NOW)) == 29
    assert mapped(SAME, MONTHS, DAYS, "2024-02-01", NOW)[-1] == "2024-02-29"


@pytest.mark.parametrize(
    ("window", "downstream", "upstream", "why"),
    [
        (SAME, DAYS, DAYS, None),
        (Window(2, -2), WEEKS, DAYS, None),
        (SAME, DAYS, REGISTER, None),
        (Window(0, -1), DAYS, DAYS, "would be read from 0 to -1, which is nothing"),
        (Window(1, 0), DAYS, MONTHS, "would be read from 1 to 0, which is nothing"),
        (Window(1, 0), MONTHS, MONTHS, "would be read from 1 to 0, which is nothing"),
        (Window(-1, 0), DAYS, REGISTER, "has no partitions, so it is read whole: leave the window out"),
        (SAME, REGISTER, DAYS, "has partitions, but a table without partitions cannot say which of them it reads"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused(
    window: Window, downstream: Partitions, upstream: Partitions, why: str | None
) -> None:
    """A table that reads nothing would be published empty, day by day, without anybody waiting for anything."""
    found = refuse(window, downstream, upstream)
    assert (found is None) if why is None else (found is not None and found.startswith(why))


def test_what_was_refused_is_not_mapped_either() -> None:
    with pytest.raises(DeclarationError, match="a table without partitions cannot say which"):
        mapped(SAME, REGISTER, DAYS, WHOLE, NOW)


def test_a_month_weighs_as_much_as_its_days() -> None:
    """The engine handles fewer partitions together where each reads many, or a year of months would fill the memory."""
    assert width(SAME, MONTHS, DAYS, NOW) == 31
    assert width(SAME, WEEKS, DAYS, NOW) == 7
    assert (
        width(SAME, DAYS, DAYS, NOW)
        == width(SAME, DAYS, MONTHS, NOW)
        == width(SAME, DAYS, REGISTER, NOW)
        == width(SAME, REGISTER, REGISTER, NOW)
        == 1
    )


def test_keys_given_as_a_set_are_the_same_declaration_in_each_process() -> None:
    """The incident: a set has another order after each restart, and everything that reads by it is looked at anew."""
    one, other = (Keys({"east": keys}) for keys in (("JFK", "LGA"), ("LGA", "JFK")))
    assert repr(one) == repr(other)
