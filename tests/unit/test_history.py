"""A Git history of published files, replayed: on little repositories that are made here."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sh_core.errors import FeedError
from sh_core.feed import Feed
from sh_core.partitions import Static
from sh_drills import history
from sh_drills.history import History, Publication, Source, last_replayed, note_replayed
from tests.published import ONE, SALES, TWO, Repository

SHOPS = Feed("shops", "{partition}.csv", ("shop",), Static(("Köln", "Łódź"), column="city"), owner="team:test")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.make(tmp_path / "vendor")


@pytest.fixture
def published(repository: Repository) -> Repository:
    """Added, restated, and something that is no delivery."""
    repository.commit("first", {ONE: "a", "README.md": "about"})
    repository.commit("read me", {"README.md": "more about"})
    repository.commit("second, and a correction", {TWO: "b", ONE: "A"})
    return repository


def replayed(repository: Path, sources: Sequence[Source] = (Source(SALES),), **how: object) -> list[Publication]:
    with History.open(repository) as opened:
        return list(opened.publications(sources, **how))  # type: ignore[arg-type]


def contents(publication: Publication) -> dict[str, bytes | None]:
    return {file.file_name: file.content for file in publication.files}


def landed(landing: Path) -> dict[str, str]:
    return {
        path.relative_to(landing).as_posix(): path.read_text("utf-8")
        for path in landing.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def test_each_commit_is_one_publication_with_its_time_and_what_it_changed(published: Repository) -> None:
    first, second = replayed(published.folder)
    assert (first.commit, first.message, first.at_utc) == (
        published.ids[0],
        "first",
        datetime(2026, 3, 10, 1, tzinfo=UTC),
    )
    assert contents(first) == {ONE: b"a"}
    assert (second.commit, second.message) == (published.ids[2], "second, and a correction")
    assert contents(second) == {ONE: b"A", TWO: b"b"}


def test_a_bundle_is_replayed_like_the_clone_it_was_made_of(published: Repository, tmp_path: Path) -> None:
    published.git("bundle", "create", "-q", str(tmp_path / "feeds.bundle"), "HEAD", "main")
    assert replayed(tmp_path / "feeds.bundle") == replayed(published.folder)


def test_landing_says_what_was_new_replaced_deleted_and_there_already(published: Repository, tmp_path: Path) -> None:
    published.commit("gone", {TWO: None})
    first, second, third = replayed(published.folder)
    landing = tmp_path / "landing"
    assert first.land(landing).new == (f"sales/{ONE}",)
    done = second.land(landing)
    assert (done.new, done.replaced) == ((f"sales/{TWO}",), (f"sales/{ONE}",))
    assert landed(landing) == {f"sales/{ONE}": "A", f"sales/{TWO}": "b"}
    assert third.land(landing).deleted == (f"sales/{TWO}",)
    assert landed(landing) == {f"sales/{ONE}": "A"}


def test_landing_twice_touches_no_file(published: Repository, tmp_path: Path) -> None:
    """A replay that was interrupted lands its last publication again: that must be no second arrival."""
    published.commit("gone", {ONE: None})
    for publication in replayed(published.folder):
        publication.land(tmp_path)
        before = {path: path.stat().st_ino for path in tmp_path.rglob("sales_*")}
        again = publication.land(tmp_path)
        assert (again.new, again.replaced, again.deleted) == ((), (), ())
        assert sorted(again.unchanged) == sorted(f"sales/{name}" for name in contents(publication))
        assert {path: path.stat().st_ino for path in tmp_path.rglob("sales_*")} == before


def test_a_rename_delivers_under_the_new_name_and_deletes_the_old_one(published: Repository) -> None:
    published.git("mv", ONE, "sales_2026-03-03.csv")
    published.commit("wrong day", {})
    assert contents(replayed(published.folder)[-1]) == {ONE: None, "sales_2026-03-03.csv": b"A"}


def test_a_renamed_file_is_never_missing_under_both_names(
    published: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks in between would find the day's file gone."""
    published.git("mv", ONE, "sales_2026-03-03.csv")
    published.commit("wrong day", {})
    landing = tmp_path / "landing"
    *before, last = replayed(published.folder)
    for publication in before:
        publication.land(landing)

    def stops(path: Path, content: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(history, "land", stops)
    with pytest.raises(KeyboardInterrupt):
        last.land(landing)
    assert landed(landing) == {f"sales/{ONE}": "A", f"sales/{TWO}": "b"}


def test_a_file_moved_to_another_folder_stays_where_it_landed(published: Repository, tmp_path: Path) -> None:
    """Its name is the same, so to the feed nothing was deleted."""
    (published.folder / "2026").mkdir()
    published.git("mv", ONE, f"2026/{ONE}")
    published.commit("a folder per year", {})
    publications = replayed(published.folder)
    assert contents(publications[-1]) == {ONE: b"A"}
    for publication in publications:
        last = publication.land(tmp_path)
    assert last.unchanged == (f"sales/{ONE}",)


def test_two_paths_of_one_name_are_refused_unless_a_glob_tells_them_apart(published: Repository) -> None:
    """Otherwise whichever was committed last would pass for the day's file."""
    published.commit("a draft", {f"draft/{TWO}": "x"})
    with pytest.raises(FeedError, match=rf"{TWO} and draft/{TWO} would both be {TWO} of feed sales"):
        replayed(published.folder)
    assert len(replayed(published.folder, [Source(SALES, "sales_*")])) == 2
    (drafts,) = replayed(published.folder, [Source(SALES, "draft/*")])
    assert contents(drafts) == {TWO: b"x"}


def test_what_was_made_on_a_side_branch_is_published_by_its_merge(published: Repository) -> None:
    """Whoever followed the main line could not see it before; its own commits are no publications."""
    published.git("checkout", "-q", "-b", "side")
    published.commit("on the side", {TWO: "side 1"})
    published.commit("more on the side", {TWO: "side 2"})
    published.git("checkout", "-q", "main")
    published.commit("meanwhile", {"sales_2026-03-03.csv": "c"})
    at = "2026-03-11T09:00:00+00:00"
    published.git("merge", "-q", "--no-ff", "-m", "join", "side", GIT_COMMITTER_DATE=at, GIT_AUTHOR_DATE=at)
    *before, meanwhile, join = replayed(published.folder)
    assert [p.message for p in before] == ["first", "second, and a correction"]
    assert (meanwhile.message, contents(meanwhile)) == ("meanwhile", {"sales_2026-03-03.csv": b"c"})
    assert (join.message, contents(join)) == ("join", {TWO: b"side 2"})
    assert join.at_utc == datetime(2026, 3, 11, 9, tzinfo=UTC)


def test_times_are_the_committers_in_utc(repository: Repository) -> None:
    """Written in February in New York, applied in March in Rome: nobody could read it before March."""
    repository.commit("applied", {ONE: "a"}, at="2026-03-10T01:30:00+0100", author="2026-02-01T12:00:00-0500")
    (applied,) = replayed(repository.folder)
    assert applied.at_utc == datetime(2026, 3, 10, 0, 30, tzinfo=UTC)


def test_a_commit_whose_clock_was_behind_keeps_its_place_in_the_history(repository: Repository) -> None:
    """By its own time it would be replayed first, and the older content would win."""
    repository.commit("first", {ONE: "old"}, at="2026-03-10T10:00:00+00:00")
    repository.commit("clock of last year", {ONE: "new"}, at="2025-03-10T10:00:00+00:00")
    repository.commit("third", {TWO: "b"}, at="2026-03-10T11:00:00+00:00")
    found = replayed(repository.folder)
    assert [(p.message, p.at_utc.hour, p.at_utc.year) for p in found] == [
        ("first", 10, 2026),
        ("clock of last year", 10, 2026),
        ("third", 11, 2026),
    ]


def test_a_replay_may_end_at_a_time_or_follow_another_revision(published: Repository) -> None:
    published.git("tag", "v1", published.ids[1])
    assert [p.message for p in replayed(published.folder, revision="v1")] == ["first"]
    assert [p.message for p in replayed(published.folder, revision="v1..main")] == ["second, and a correction"]
    early = datetime(2026, 3, 10, 2, 30, tzinfo=UTC)
    assert [p.message for p in replayed(published.folder, until=early)] == ["first"]
    assert len(replayed(published.folder, until=datetime(2026, 3, 10, 3, tzinfo=UTC))) == 2


def test_names_beyond_ascii_and_lines_that_end_as_on_windows_come_as_they_are(repository: Repository) -> None:
    repository.git("config", "core.autocrlf", "false")
    repository.commit("Filialen: Köln, Łódź", {"läden/Köln.csv": "shop\r\nä\r\n", "läden/Łódź.csv": "shop\n"})
    (publication,) = replayed(repository.folder, [Source(SHOPS, "läden/*")])
    assert publication.message == "Filialen: Köln, Łódź"
    assert contents(publication) == {"Köln.csv": "shop\r\nä\r\n".encode(), "Łódź.csv": b"shop\n"}


def test_two_feeds_of_one_repository_are_published_together(published: Repository, tmp_path: Path) -> None:
    published.commit("both", {ONE: "x", "Köln.csv": "y"})
    last = replayed(published.folder, [Source(SALES), Source(SHOPS)])[-1]
    assert {(f.feed, f.file_name) for f in last.files} == {("sales", ONE), ("shops", "Köln.csv")}


def test_a_link_is_no_file_and_one_that_takes_the_place_of_a_file_deletes_it(published: Repository) -> None:
    (published.folder / "sales_2026-03-03.csv").symlink_to(ONE)
    published.commit("a link", {})
    (published.folder / TWO).unlink()
    (published.folder / TWO).symlink_to(ONE)
    published.commit("a link in its place", {})
    *_, last = replayed(published.folder)
    assert (last.message, contents(last)) == ("a link in its place", {TWO: None})
    assert "a link" not in [p.message for p in replayed(published.folder)]


def test_a_replay_goes_on_where_it_was_left_feed_by_feed(published: Repository, tmp_path: Path) -> None:
    """From the start it would deliver outdated files once more, as if they were restated."""
    published.commit("both", {ONE: "x", "Köln.csv": "y"})
    landing = tmp_path / "landing"
    assert last_replayed(landing, "sales") is None
    note_replayed(landing, "sales", published.ids[2])
    mark = {"sales": last_replayed(landing, "sales") or ""}
    (last,) = replayed(published.folder, replayed=mark)
    assert contents(last) == {ONE: b"x"}
    (last,) = replayed(published.folder, [Source(SALES), Source(SHOPS)], replayed={"sales": published.ids[3]})
    assert contents(last) == {"Köln.csv": b"y"}
    at = {"sales": published.ids[3]}
    assert replayed(published.folder, replayed=at, until=datetime(2026, 3, 10, 3, tzinfo=UTC)) == []
    assert landed(landing) == {}


def test_a_mark_from_another_history_is_refused(published: Repository) -> None:
    with pytest.raises(FeedError, match="replayed up to commit 123456789abc, which is not in the history of HEAD"):
        replayed(published.folder, replayed={"sales": "123456789abcdef"})


def test_the_landing_zone_ends_as_the_history_ends(repository: Repository, tmp_path: Path) -> None:
    """Also with more commits than are compared in one call."""
    for number in range(300):
        name = f"sales_2026-03-{number % 7 + 1:02}.csv"
        there = (repository.folder / name).is_file()
        content = None if there and number % 5 == 0 else f"{number}"
        repository.commit(f"{number}", {name: content}, at=f"2026-03-10T10:{number // 60:02}:{number % 60:02}+00:00")
    for publication in replayed(repository.folder):
        publication.land(tmp_path / "landing")
    last = {f"sales/{path.name}": path.read_text() for path in repository.folder.glob("sales_*")}
    assert landed(tmp_path / "landing") == last
    assert len(last) > 3


@pytest.mark.parametrize("what", ["a folder in a repository", "a file that is no bundle", "nothing"])
def test_what_is_no_history_is_refused_by_name(published: Repository, tmp_path: Path, what: str) -> None:
    """Git would go up to the repository around a folder, and replay that."""
    place = {
        "a folder in a repository": published.folder / "inner",
        "a file that is no bundle": tmp_path / "feeds.bundle",
        "nothing": tmp_path / "missing",
    }[what]
    if what.startswith("a folder"):
        place.mkdir()
    elif what.startswith("a file"):
        place.write_text("no bundle")
    with pytest.raises(FeedError, match=f"^{place} cannot be read as a Git history .*: name the top folder"):
        replayed(place)


@pytest.mark.parametrize("revision", ["missing", "--all", "-n1"])
def test_a_revision_that_is_none_is_refused_and_is_never_an_option(published: Repository, revision: str) -> None:
    with pytest.raises(FeedError, match="bad revision"):
        replayed(published.folder, revision=revision)


def test_a_clone_that_lacks_a_file_is_refused(published: Repository) -> None:
    blob = published.git("rev-parse", f"HEAD:{TWO}")
    (published.folder / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(FeedError, match=f"does not hold all of its files \\({blob} is missing\\): make a full clone"):
        replayed(published.folder)


def test_a_machine_without_git_is_told_so(published: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(FeedError, match="git is not installed"):
        replayed(published.folder)


def test_inside_a_hook_the_named_repository_is_meant(published: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git sets GIT_DIR there, and every other call of Git would read that repository."""
    monkeypatch.setenv("GIT_DIR", "/nowhere/.git")
    assert len(replayed(published.folder)) == 2
