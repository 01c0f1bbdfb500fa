"""Delivery orders: whatever the order in which a vendor's files come, the same ones count in the end.

The incident: a vendor's retry delivers yesterday's version of a file after today's correction, the older file counts,
and the correction is undone without anybody noticing.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import count, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sh_core.deliveries import Delivery, greatest, rank
from sh_core.records import Arrival
from sh_resources.ledger import Ledger

NOW = datetime(2030, 1, 1, tzinfo=UTC)
FEEDS = (f"feed_{number}" for number in count())
"""A feed of its own for each example, since opening a ledger takes longer than what is tried on it."""


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path_factory.mktemp('orders')}/ledger.sqlite") as opened:
        yield opened


def file(version: str | None, content: str, part: str = "", key: str = "d1", name: str | None = None) -> Delivery:
    return Delivery(key, name or f"{key}_{part}_{version}.csv", content, len(content), version, part, rows=7)


def ends(recorded: Sequence[Arrival]) -> dict[tuple[str, str], tuple[str | None, str]]:
    return {a.chain: (a.version, a.sha256) for a in recorded if a.superseded_by is None}


def delivered_files() -> st.SearchStrategy[list[Delivery]]:
    """Files of a few chains, each with a version of its own in its chain; contents may be equal."""
    one = st.builds(
        file,
        version=st.integers(0, 12).map(str) | st.sampled_from(["007", "2026-01-05", "20260106T1200"]),
        content=st.sampled_from("abc"),
        part=st.sampled_from(["", "east"]),
        key=st.sampled_from(["d1", "d2"]),
    )
    return st.lists(one, min_size=1, max_size=8, unique_by=lambda d: (d.chain, rank(d.version)))


@given(delivered_files(), st.data())
def test_the_same_files_count_in_whatever_order_and_however_often_they_come(
    ledger: Ledger, files: list[Delivery], data: st.DataObject
) -> None:
    again = data.draw(st.lists(st.sampled_from(files), max_size=6))
    order = data.draw(st.permutations([*files, *again]))
    feed, done = next(FEEDS), 0
    while done < len(order):
        together = data.draw(st.integers(1, 4))
        content = {a.chain: a.sha256 for those in ledger.arrivals.counting(feed).values() for a in those}
        serial = ledger.serials.now()
        found = ledger.arrivals.record(feed, order[done : done + together], NOW)
        assert [(a.chain, a.sha256) for a in found] == [(d.chain, d.sha256) for d in order[done : done + together]]
        after = {a.chain: a.sha256 for those in ledger.arrivals.counting(feed).values() for a in those}
        if after != content:
            assert ledger.serials.now() > serial  # whoever reads them has to look
        elif together == 1:
            assert ledger.serials.now() == serial  # nobody has to
        done += together

    newest = {d.chain: d for d in sorted(files, key=lambda d: rank(d.version))}
    expected = {chain: (d.version, d.sha256) for chain, d in newest.items()}
    everything = ledger.arrivals.all(feed)
    assert ends(everything) == expected
    assert {
        a.chain: (a.version, a.sha256) for those in ledger.arrivals.counting(feed).values() for a in those
    } == expected
    # Each was recorded once, under its own version, so that the accounts are the same too.
    assert sorted((a.chain, a.version, a.sha256) for a in everything) == sorted(
        (d.chain, d.version, d.sha256) for d in files
    )


@pytest.mark.parametrize("together", [True, False])
def test_all_orders_of_three_versions_and_a_second_copy(ledger: Ledger, together: bool) -> None:
    one, two, three = (file(version, content) for version, content in zip("123", "aba", strict=True))
    for order in permutations([one, two, three, one]):
        feed = next(FEEDS)
        for batch in [order] if together else [[d] for d in order]:
            ledger.arrivals.record(feed, batch, NOW)
        assert ends(ledger.arrivals.all(feed)) == {("d1", ""): ("3", "a")}
        assert len(ledger.arrivals.all(feed)) == 3


def test_an_older_version_that_comes_late_names_the_one_that_counts(ledger: Ledger) -> None:
    feed = next(FEEDS)
    (second,) = ledger.arrivals.record(feed, [file("2", "b")], NOW)
    serial = ledger.serials.now()
    (first,) = ledger.arrivals.record(feed, [file("1", "a")], NOW)
    assert first.superseded_by == second.id
    assert ledger.arrivals.by_id([first.id]) == {first.id: first}
    assert ledger.arrivals.current(feed) == {"d1": second}
    assert ledger.serials.now() == serial
    assert ledger.serials.changes(serial - 1).arrived[feed] == ["d1"]  # the second one's, told once
    (third,) = ledger.arrivals.record(feed, [file("3", "c")], NOW)
    assert {a.id: a.superseded_by for a in ledger.arrivals.all(feed)} == {
        second.id: third.id,
        first.id: second.id,
        third.id: None,
    }


def test_a_broken_file_without_a_version_counts_as_one_more_of_the_current_version(ledger: Ledger) -> None:
    """It has to show as broken; and what was older than the version before it is still older."""
    feed = next(FEEDS)
    for delivered in (file("5", "a"), file(None, "broken"), file("4", "b")):
        ledger.arrivals.record(feed, [delivered], NOW)
    assert ends(ledger.arrivals.all(feed)) == {("d1", ""): ("5", "broken")}
    ledger.arrivals.record(feed, [file("5", "c")], NOW)
    assert ends(ledger.arrivals.all(feed)) == {("d1", ""): ("5", "c")}


@given(st.lists(st.sampled_from("ab"), min_size=1, max_size=8))
def test_without_versions_the_last_content_to_arrive_counts(ledger: Ledger, contents: list[str]) -> None:
    """A, B, A ends at A."""
    feed = next(FEEDS)
    for content in contents:
        ledger.arrivals.record(feed, [file(None, content, name="d1.csv")], NOW)
    everything = ledger.arrivals.all(feed)
    assert [a.sha256 for a in everything] == [c for c, b in zip(contents, ["", *contents], strict=False) if c != b]
    assert ends(everything) == {("d1", ""): (None, contents[-1])}


def test_a_replaced_file_that_still_lies_there_is_no_delivery(ledger: Ledger) -> None:
    """Where files of a partition have several names, each restart finds all of them; the newest stays current."""
    feed = next(FEEDS)
    old, new = (Delivery("d1", f"{name}.csv", name, 1, modified_ns=ns) for name, ns in (("a", 10), ("b", 20)))
    for _ in range(3):
        ledger.arrivals.record(feed, [old, new], NOW)
        ledger.arrivals.record(feed, [old], NOW)  # the newer one was deleted
        assert [a.sha256 for a in ledger.arrivals.all(feed)] == ["a", "b"]
        assert ledger.arrivals.current(feed)["d1"].sha256 == "b"
    again = Delivery("d1", "a.csv", "a", 1, modified_ns=30)  # written to once more: sent again on purpose
    ledger.arrivals.record(feed, [again], NOW)
    assert ledger.arrivals.current(feed)["d1"].sha256 == "a"


# ---------------------------------------------------------------------------------------------------------- versions


@pytest.mark.parametrize(
    "ascending",
    [
        (None, "0", "1", "2", "10", "0011", "9" * 5000),
        ("20260105", "20260106", "2026-01-05T06:00:00Z", "2026-01-05T06:00:00.5Z", "2026-01-06"),
        ("99999999", "2026-01-05", "draft"),
    ],
)
def test_versions_are_ordered_as_numbers_or_else_as_text(ascending: tuple[str | None, ...]) -> None:
    ranks = [rank(version) for version in ascending]
    assert sorted(ranks) == ranks
    assert len(set(ranks)) == len(ranks)


def test_the_greatest_cell_of_a_column_is_its_files_version() -> None:
    assert greatest(["9", " 10 ", None, ""]) == "10"
    assert greatest(["2026-01-05 06:00", "2026-01-05 07:00"]) == "2026-01-05 07:00"
    assert greatest([None, "", " "]) is None
    assert greatest(["1", "x" * 101]) is None  # no version has so many letters; who knows what the column holds


def test_what_is_the_same_number_is_the_same_version(ledger: Ledger) -> None:
    feed = next(FEEDS)
    for delivered in (file("1", "a"), file("01", "b"), file("1", "a")):
        ledger.arrivals.record(feed, [delivered], NOW)
    assert ends(ledger.arrivals.all(feed)) == {("d1", ""): ("1", "a")}  # in order of arrival
