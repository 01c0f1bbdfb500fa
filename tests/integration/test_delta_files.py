"""Live files that are remembered between looks: never older than the log."""

import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from sh_core.partitions import WHOLE, Daily, Partitions, Unpartitioned
from sh_resources.delta import Change, PartitionedDelta
from sh_resources.delta_files import RecentFiles
from sh_resources.delta_log import CHECKPOINT_EVERY, DeltaLog

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DAYS = Daily(date(2030, 1, 1), date(2030, 1, 31))


def opened(folder: Path, partitions: Partitions = DAYS, recent: RecentFiles | None = None) -> PartitionedDelta:
    return PartitionedDelta(folder, {"n": pl.Int64()}, partitions, recent)


def publish(table: PartitionedDelta, partition: str, stem: str) -> None:
    at = table.prepare([partition]).transactions[partition]
    file = table.stage({partition: (stem, pl.DataFrame({"n": [1]}))})[partition]
    assert table.commit({partition: Change(at, at + 1, file)}, at_utc=NOW, still_mine=lambda keys: keys)


def names(table: PartitionedDelta, *partitions: str) -> list[str]:
    return [file.path.rpartition("/")[2].removesuffix(".parquet") for file in table.files(partitions).values()]


def count_openings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    seen: list[Path] = []
    newest = DeltaLog.newest

    def counted(log: DeltaLog) -> object:
        seen.append(log.folder)
        return newest(log)

    monkeypatch.setattr(DeltaLog, "newest", counted)
    return seen


def test_what_another_process_commits_is_seen_at_once_and_what_nobody_changed_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = opened(tmp_path / "t"), opened(tmp_path / "t")
    assert mine.files(["2030-01-01"]) == {}
    openings = count_openings(monkeypatch)
    for turn in range(3):
        publish(theirs, "2030-01-01", f"a{turn}")
        openings.clear()
        assert [names(mine, "2030-01-01", "2030-01-02") for _ in range(3)] == [[f"a{turn}"]] * 3
        assert len(openings) == 1
    publish(theirs, "2030-01-02", "b")
    assert mine.files() == theirs.state().files
    assert mine.files(["2030-01-02"])["2030-01-02"] == theirs.state().files["2030-01-02"]


def test_a_checkpoint_and_the_cleaning_of_the_log_hide_nothing(tmp_path: Path) -> None:
    table, other = opened(tmp_path / "t"), opened(tmp_path / "t")
    for turn in range(CHECKPOINT_EVERY + 3):
        publish(other, "2030-01-01", f"a{turn}")
        assert names(table, "2030-01-01") == [f"a{turn}"]


def test_a_table_that_was_deleted_and_grew_anew_is_another_one(tmp_path: Path) -> None:
    """It is at the same version as before, with other files."""
    table = opened(tmp_path / "t")
    publish(table, "2030-01-01", "before")
    assert names(table, "2030-01-01") == ["before"]
    shutil.rmtree(table.folder)
    assert table.files(["2030-01-01"]) == {}
    publish(table, "2030-01-01", "after")
    assert names(table, "2030-01-01") == ["after"]


def test_a_table_without_partitions(tmp_path: Path) -> None:
    table = opened(tmp_path / "t", Unpartitioned())
    table.prepare([WHOLE])
    assert table.files([WHOLE]) == {}
    publish(table, WHOLE, "whole")
    assert names(table, WHOLE) == ["whole"]


def test_no_more_is_remembered_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five hundred tables of ten years are two million files: a daemon that remembers them all needs a gigabyte."""
    recent = RecentFiles(kept=3)
    tables = [opened(tmp_path / name, DAYS, recent) for name in "abc"]
    for table in tables:
        for day in ("2030-01-01", "2030-01-02"):
            publish(table, day, day)
    openings = count_openings(monkeypatch)
    for table in tables:
        assert len(table.files()) == 2
    assert sum(frame.height for _, frame in recent._frames.values()) <= 3
    openings.clear()
    tables[2].files()
    tables[0].files()
    assert openings == [tables[0].folder]
