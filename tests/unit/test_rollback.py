"""Which earlier snapshot is meant."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sh_core.bars import Bar
from sh_core.errors import RollbackError
from sh_core.records import Snapshot
from sh_core.rollback import choose, options, returnable
from sh_core.trace import Trace
from sh_core.version import Version

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def snapshot(number: int, attempt: str, root: str, *, tidied: bool = False) -> Snapshot:
    at = NOON + timedelta(days=number)
    version = Version(f"sh1-{root}", {}, (), number)
    path = f"{root}-{attempt}.parquet"
    trace = Trace("code", "contract", frozenset())
    return Snapshot("t", "p", version, path, number, trace, at, attempt, at if tidied else None)


def bar(root: str, attempt: str) -> Bar:
    trace = Trace("code", "contract", frozenset())
    return Bar("t", "p", f"sh1-{root}", trace, trace, attempt_id=attempt)


A, B, C = snapshot(1, "a1", "11aa"), snapshot(2, "b2", "22bb"), snapshot(3, "c3", "33cc")


def test_by_default_the_newest_other_content_that_was_not_rolled_back() -> None:
    assert choose([C, B, A], C, [], None) == B
    assert choose([C, B, A], C, [bar("22bb", "x")], None) == A
    again = snapshot(4, "c4", "33cc")
    assert choose([again, C, B, A], again, [], None) == B, "equal content under a newer file is not earlier content"
    assert choose([C, replace(B, tidied_utc=NOON), A], C, [], None) == A


def test_what_a_rollback_put_there_is_not_rolled_back_again_unless_a_snapshot_is_named() -> None:
    """The command given twice must not go two steps back."""
    back = snapshot(4, "d4", "22bb")
    bars = [bar("33cc", "d4")]
    assert choose([back, C, B, A], back, bars, None) is None
    assert choose([back, C, B, A], back, bars, "a1") == A
    assert choose([back, C, B, A], back, bars, "33cc") == C, "rolling forward is a rollback like any other"
    newer = snapshot(5, "e5", "55ee")
    assert choose([newer, back, C, B, A], newer, bars, None) == back


def test_names_begin_an_attempt_or_a_version_with_or_without_its_algorithm() -> None:
    for to in ("b", "b2", "sh1-22", "22bb"):
        assert choose([C, B, A], C, [], to) == B
    with pytest.raises(RollbackError, match=r"'sh1-' may be any of 3 snapshots of t p \(c3, b2, a1\)"):
        choose([C, B, A], C, [], "sh1-")
    for to in ("", "zz"):
        with pytest.raises(RollbackError, match=r"no snapshot .* can return to b2 \(2 rows, .*a1 \(1 rows"):
            choose([C, B, A], C, [], to)


def test_of_snapshots_with_the_same_content_the_newest_that_has_a_file_is_taken() -> None:
    old, lost = snapshot(0, "a0", "11aa"), snapshot(1, "a1", "11aa", tidied=True)
    assert choose([C, lost, old], C, [], "11aa") == old
    assert choose([C, A, old], C, [], "11aa") == A
    assert returnable([C, A, B, old], C) == [A, B]


def test_what_readers_see_is_nothing_to_return_to() -> None:
    old = snapshot(0, "c0", "33cc")
    assert choose([C, B, old], C, [], "c0") is None
    assert choose([C, B, old], C, [], "c3") is None


def test_what_was_tidied_away_is_said_with_what_is_left() -> None:
    gone = replace(A, tidied_utc=NOON)
    with pytest.raises(RollbackError, match=r"snapshot a1 of t p was tidied away on 2030-01-01; it can return to b2"):
        choose([C, B, gone], C, [], "a1")
    with pytest.raises(RollbackError, match="no earlier content to return to; there is nothing that it can return to"):
        choose([C, gone], C, [], None)
    many = [snapshot(n, f"m{n}", f"{n}") for n in range(10, 0, -1)]
    assert options([C, *many], C).endswith("and 5 older ones")
