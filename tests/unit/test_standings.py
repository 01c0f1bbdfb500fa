"""Where partitions stand, put in the order of the declared keys."""

from datetime import UTC, date, datetime

from hypothesis import given
from hypothesis import strategies as st

from sh_core.partitions import Daily
from sh_core.suspects import Standing, standings

NOW = datetime(2030, 1, 8, 12, tzinfo=UTC)
DAYS = Daily(date(2030, 1, 1))
KEYS = DAYS.declared(NOW)
STRANGERS = ("2029-12-31", "2030-01-09", "gone")


def _rows(keys: list[str]) -> list[Standing]:
    return [(key, n + 1, n + 2, n + 3) for n, key in enumerate(keys)]


@given(st.lists(st.sampled_from([*KEYS, *STRANGERS]), unique=True))
def test_each_stands_in_its_own_place_whatever_the_ledger_answers(keys: list[str]) -> None:
    """The ledger may know keys that are no longer declared, lack some, and answer in any order."""
    rows = _rows(keys)
    by_key = {key: rest for key, *rest in rows}
    found = standings(DAYS, NOW, rows)
    assert [list(each) for each in zip(found.content, found.looked, found.recipe, strict=True)] == [
        by_key.get(key, [0, -1, 0]) for key in KEYS
    ]


def test_all_in_order() -> None:
    """The short way of a sweep: everything is settled, and comes as it is declared."""
    found = standings(DAYS, NOW, _rows(list(KEYS)))
    assert found.content.tolist() == [n + 1 for n in range(len(KEYS))]
    assert found.looked.tolist() == [n + 2 for n in range(len(KEYS))]
    assert found.recipe.tolist() == [n + 3 for n in range(len(KEYS))]
