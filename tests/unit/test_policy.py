"""When a partition that was requested is requested again.

The incident: between a request that was noted and its run that Dagster does not know of yet, the join below it went
ahead on the old input, and ran once more when the input was there.
"""

from datetime import UTC, datetime, timedelta

from sh_core.book import Tries
from sh_core.policy import Held, Hold, Policy

NOW = datetime(2030, 1, 1, tzinfo=UTC)
POLICY = Policy(most_tries=3, first_pause_s=30, growth=4)


def held(count: int, after_s: float) -> Held | None:
    return POLICY.held(Tries(count, NOW), NOW + timedelta(seconds=after_s))


def test_a_request_is_on_its_way_for_a_moment_whichever_it_is() -> None:
    heard_by = NOW + timedelta(seconds=30)
    assert {held(count, 29.9) for count in (1, 2, 3)} == {Held(Hold.REQUESTED, heard_by)}


def test_pauses_grow_and_end() -> None:
    assert held(1, 30) is None
    assert held(2, 30) == Held(Hold.BACKING_OFF, NOW + timedelta(seconds=120))
    assert held(2, 120) is None
    assert held(3, 30) == Held(Hold.GIVEN_UP)
    assert held(3, 1e9) == Held(Hold.GIVEN_UP)


def test_a_person_who_asks_is_not_held_back() -> None:
    at_once = Policy(most_tries=100, first_pause_s=0.0)
    assert at_once.held(Tries(7, NOW), NOW) is None
