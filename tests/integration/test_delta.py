"""Delta tables, against the real delta-rs on disk.

The incidents: delta-rs alone accepts what the protocol must not. Without transactions two first publishes of a
partition both append and every figure doubles; with them, a lower transaction version on a fresh view is taken all the
same.
"""

import itertools
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.transaction import AddAction

from sh_core.errors import DeclarationError, StoreError
from sh_core.partitions import Daily
from sh_resources import delta_log
from sh_resources.delta import Change, PartitionedDelta
from sh_resources.partition_files import DataFile

DAYS = Daily(date(2030, 1, 1), date(2030, 1, 9))
ONE, TWO = DAYS.keys()[:2]
NOW = datetime(2030, 2, 1, tzinfo=UTC)
COLUMNS = {"n": pl.Int64(), "name": pl.String()}


@pytest.fixture
def table(tmp_path: Path) -> PartitionedDelta:
    """A table that does not exist yet."""
    return PartitionedDelta(tmp_path / "numbers", COLUMNS, DAYS)


_stems = (f"sh1-{n}-{n}" for n in itertools.count())


def staged(table: PartitionedDelta, key: str, *numbers: int) -> DataFile:
    """A file that nobody sees yet."""
    rows = pl.DataFrame({"n": numbers, "name": "x"}, schema=table.columns)
    return table.stage({key: (next(_stems), rows)})[key]


def publish(table: PartitionedDelta, key: str, after: int, *numbers: int) -> set[str]:
    """Publish on top of what is there."""
    return table.commit({key: Change(after, after + 1, staged(table, key, *numbers))}, at_utc=NOW, still_mine=set)


def seen(table: PartitionedDelta) -> dict[str, list[int]]:
    """What any Delta reader sees."""
    rows = pl.read_delta(str(table.folder)).sort("n")
    return {str(day): part["n"].to_list() for (day,), part in rows.partition_by("date", as_dict=True).items()}


def test_of_two_first_publishes_on_the_same_view_one_is_fenced(table: PartitionedDelta) -> None:
    """Both hold what they believe is a lease, and both looked before either published."""
    view = table.prepare([ONE])
    first, second = staged(table, ONE, 1), staged(table, ONE, 2)
    assert table.commit({ONE: Change(0, 1, first)}, at_utc=NOW, still_mine=set, seen=view) == {ONE}
    assert table.commit({ONE: Change(0, 1, second)}, at_utc=NOW, still_mine=set, seen=view) == set()
    assert seen(table) == {ONE: [1]}


def test_of_two_replacements_on_the_same_view_one_is_fenced(table: PartitionedDelta) -> None:
    """The later one would bring back content that the earlier one had replaced."""
    publish(table, ONE, 0, 1)
    view = table.prepare([ONE])
    first, second = staged(table, ONE, 2), staged(table, ONE, 3)
    assert table.commit({ONE: Change(1, 2, first)}, at_utc=NOW, still_mine=set, seen=view) == {ONE}
    assert table.commit({ONE: Change(1, 2, second)}, at_utc=NOW, still_mine=set, seen=view) == set()
    assert seen(table) == {ONE: [2]}


def test_a_writer_of_another_partition_only_makes_one_look_again(table: PartitionedDelta) -> None:
    """Commits to one table conflict even for different partitions; neither may be lost."""
    view = table.prepare([ONE])
    publish(table, TWO, 0, 7)
    assert table.commit({ONE: Change(0, 1, staged(table, ONE, 1))}, at_utc=NOW, still_mine=set, seen=view) == {ONE}
    assert seen(table) == {ONE: [1], TWO: [7]}


def test_in_a_group_only_the_partition_that_was_beaten_is_fenced(table: PartitionedDelta) -> None:
    """One partition that another writer got to first does not take its neighbours along."""
    view = table.prepare([ONE, TWO])
    publish(table, ONE, 0, 1)
    changes = {key: Change(0, 1, staged(table, key, 5)) for key in (ONE, TWO)}
    assert table.commit(changes, at_utc=NOW, still_mine=set, seen=view) == {TWO}
    assert seen(table) == {ONE: [1], TWO: [5]}


def test_without_the_lease_nothing_is_committed(table: PartitionedDelta) -> None:
    """Whoever lost it has been replaced."""
    change = {ONE: Change(0, 1, staged(table, ONE, 1))}
    assert table.commit(change, at_utc=NOW, still_mine=lambda _: set()) == set()
    assert table.state().files == {}


def test_a_commit_that_landed_although_it_was_answered_with_an_error_is_found(table: PartitionedDelta) -> None:
    """Tried again, it is neither repeated nor taken for somebody else's."""
    change = {ONE: Change(0, 1, staged(table, ONE, 1))}
    assert table.commit(change, at_utc=NOW, still_mine=set) == {ONE}
    version = DeltaTable(table.folder).version()
    assert table.commit(change, at_utc=NOW, still_mine=set) == {ONE}
    assert DeltaTable(table.folder).version() == version


def test_after_a_burn_no_earlier_intent_can_commit(table: PartitionedDelta) -> None:
    """The writer that stalled right before its commit, after its last look at the lease."""
    view = table.prepare([ONE])
    late = {ONE: Change(0, 1, staged(table, ONE, 1))}
    assert table.burn([ONE], still_mine=set) == {ONE}
    assert table.state().files == {}
    assert table.commit(late, at_utc=NOW, still_mine=set, seen=view) == set()
    assert publish(table, ONE, 1, 2) == {ONE}
    assert seen(table) == {ONE: [2]}


def test_a_burn_leaves_content_alone(table: PartitionedDelta) -> None:
    """Also that of other partitions."""
    publish(table, ONE, 0, 1)
    publish(table, TWO, 0, 2)
    assert table.burn([ONE], still_mine=set) == {ONE}
    assert seen(table) == {ONE: [1], TWO: [2]}
    assert table.state([ONE, TWO]).transactions == {ONE: 2, TWO: 1}
    assert table.burn([TWO], still_mine=lambda _: set()) == set()


def test_a_path_is_never_written_twice(table: PartitionedDelta) -> None:
    """A reader may be in the middle of it."""
    rows = pl.DataFrame({"n": [1], "name": ["x"]}, schema=table.columns)
    table.stage({ONE: ("same", rows)})
    with pytest.raises(FileExistsError):
        table.stage({ONE: ("same", rows)})


def test_an_empty_partition_is_published_as_such(table: PartitionedDelta) -> None:
    """Not there yet, and there with no rows, are two things."""
    publish(table, ONE, 0)
    state = table.state()
    assert state.files[ONE].rows == 0
    assert table.scan(state.files.values()).collect().schema == {"date": pl.Date, **COLUMNS}


def test_a_foreign_append_is_noticed(table: PartitionedDelta) -> None:
    """Somebody's notebook wrote to the table: better no figure than a doubled one."""
    publish(table, ONE, 0, 1)
    extra = staged(table, ONE, 9)
    foreign = DeltaTable(table.folder)
    add = AddAction(extra.path, extra.size_bytes, {"date": ONE}, 0, data_change=True, stats='{"numRecords": 1}')
    foreign.create_write_transaction([add], "append", foreign.schema(), partition_by=["date"])
    with pytest.raises(StoreError, match="two live files"):
        table.state()


def test_a_new_column_widens_the_table_and_old_files_show_null(table: PartitionedDelta) -> None:
    """A contract grows; what was published before stays readable."""
    publish(table, ONE, 0, 1)
    wider = PartitionedDelta(table.folder, {**COLUMNS, "extra": pl.Float64()}, DAYS)
    rows = pl.DataFrame({"n": [2], "name": ["y"], "extra": [0.5]}, schema=wider.columns)
    file = wider.stage({TWO: ("wide", rows)})[TWO]
    assert wider.commit({TWO: Change(0, 1, file)}, at_utc=NOW, still_mine=set) == {TWO}
    assert wider.scan(wider.state().files.values()).collect().sort("n")["extra"].to_list() == [None, 0.5]
    assert pl.read_delta(str(table.folder)).sort("n")["extra"].to_list() == [None, 0.5]


def test_a_column_that_changes_its_type_is_refused(table: PartitionedDelta) -> None:
    """Delta would hold two types under one name."""
    publish(table, ONE, 0, 1)
    with pytest.raises(DeclarationError, match=r"n was .*long.*give it a new name"):
        PartitionedDelta(table.folder, {**COLUMNS, "n": pl.String()}, DAYS).prepare([ONE])


@pytest.mark.parametrize(
    "dtype", [pl.UInt32(), pl.Time(), pl.Duration(), pl.Categorical(), pl.Datetime("ms"), pl.List(pl.UInt8)]
)
def test_a_type_that_delta_cannot_hold_is_refused_by_name(tmp_path: Path, dtype: pl.DataType) -> None:
    """Some of them delta-rs takes and gives back as another type."""
    with pytest.raises(DeclarationError, match="column odd has type"):
        PartitionedDelta(tmp_path / "odd", {"odd": dtype}, DAYS)


def test_a_short_log_forgets_neither_content_nor_transactions(
    table: PartitionedDelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cleaning that dropped a transaction version would let a long dead writer commit."""
    monkeypatch.setattr(delta_log, "LOG_RETENTION", "interval 0 seconds")
    monkeypatch.setattr(delta_log, "CHECKPOINT_EVERY", 5)
    publish(table, TWO, 0, 42)
    for n in range(23):
        assert publish(table, ONE, n, n) == {ONE}
    assert len(list((table.folder / "_delta_log").glob("*.json"))) < 12
    assert table.state([ONE, TWO]).transactions == {ONE: 23, TWO: 1}
    assert seen(table) == {ONE: [22], TWO: [42]}
    assert publish(table, ONE, 3, 99) == set()
