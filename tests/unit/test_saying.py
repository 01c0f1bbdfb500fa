"""Sentences about verdicts, rules and times."""

from datetime import UTC, datetime, timedelta

import pytest

from sh_core.verdict import Broken, Held, Level, RuleBreach, Unknown
from sh_defs.facts.naming import UnknownNameError, address, table_named
from sh_defs.facts.saying import age, moment, rule_of, why
from tests.little import GRAPH

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
STAGED = GRAPH["stg_readings"]


def test_a_verdict_is_told_rule_by_rule() -> None:
    verdict = Broken(
        (RuleBreach("header", Level.TABLE, 1, "a.csv line 1: missing column temp."), RuleBreach("p", Level.ROW, 1200)),
        1200,
    )
    assert why(verdict) == ("header: a.csv line 1: missing column temp", "p: 1,200 rows")
    assert why(Held()) == ()


def test_a_crash_is_told_with_its_rule() -> None:
    assert why(Unknown("transform", "ValueError in x.py, line 3: no")) == (
        "transform crashed: ValueError in x.py, line 3: no",
    )


def test_a_rule_of_one_column_is_found_by_its_whole_name() -> None:
    assert rule_of(STAGED, "parse:minute") == STAGED.contract.rules[3]
    assert rule_of(STAGED, "no_such_rule") is None


@pytest.mark.parametrize(
    ("passed", "said"),
    [
        (timedelta(seconds=20), "just now"),
        (timedelta(minutes=5), "5 min ago"),
        (timedelta(hours=30), "30 h ago"),
        (timedelta(days=1100), "1,100 days ago"),
    ],
    ids=str,
)
def test_ages(passed: timedelta, said: str) -> None:
    assert age(NOW - passed, NOW) == said


def test_what_never_was_has_no_time() -> None:
    assert (age(None, NOW), moment(None)) == ("never", "never")
    assert moment(NOW) == "2030-01-01 12:00 UTC"


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("stg_reading", "did you mean stg_readings or raw_readings?"),
        ("mart", "did you mean mart_sensor_means?"),
        ("zzz", "there is no table 'zzz'. There are raw_readings, stg_readings, mart_sensor_means"),
        ("stg_readings:2030-01-32", "did you mean 2030-01-31?"),
        ("stg_readings:2029-12-31", "did you mean 2030-01-01?"),
        ("stg_readings:", "has no partition ''"),
        ("stg_readings:2030-02", "31 partitions, 2030-01-01 to 2030-01-31"),
    ],
)
def test_a_name_that_does_not_exist_is_answered_by_those_that_look_like_it(typed: str, says: str) -> None:
    with pytest.raises(UnknownNameError) as raised:
        address(GRAPH, typed, NOW)
    assert says in str(raised.value)


def test_names_that_exist_are_found() -> None:
    assert address(GRAPH, "stg_readings", NOW) == (STAGED, None)
    assert address(GRAPH, "stg_readings:2030-01-05", NOW) == (STAGED, "2030-01-05")
    assert table_named(GRAPH, "stg_readings") is STAGED
